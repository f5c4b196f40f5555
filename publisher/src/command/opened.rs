//! A log that is opened, by the arguments that every command has which writes to it.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use smi_keys::SigningKey;
use smi_keys::key_file::KeyFile;
use smi_keys::keyring::Keyring;
use smi_keys::passphrase::{Source, VARIABLE};
use smi_publisher::admission::is_demonstration;
use smi_publisher::cell::FileCell;
use smi_publisher::feed::Published;
use smi_publisher::heads::{Kept, recover};
use smi_publisher::log::{Log, Signer};
use smi_publisher::store::{Mark, SledStore, Store};
use smi_verifier::view::View;

use super::CommandError;
use crate::args::{Directory, LogKey};

/// A log in a directory.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Log,
    /// What readers are shown at first, and the head that says so, if witnesses are asked.
    pub(crate) view: View,
    pub(crate) published: Option<Published>,
    pub(crate) kept: Kept,
    pub(crate) origin: String,
}

/// The store in a directory, locked.
pub(crate) fn store(directory: &Directory) -> Result<Arc<dyn Store>, CommandError> {
    let mark = Mark { demonstration: directory.demonstration() };
    Ok(Arc::new(SledStore::open(&directory.data, mark)?))
}

/// The store in a directory that has one, locked.
pub(crate) fn existing(directory: &Directory) -> Result<Arc<dyn Store>, CommandError> {
    match Mark::of(&directory.data)? {
        Some(_) => store(directory),
        None => Err(CommandError::Empty(directory.data.clone())),
    }
}

/// Starts the log that a store holds. Its keyring is the store's own, or that of the entry that is to be its first.
pub(crate) fn start(
    store: Arc<dyn Store>,
    directory: &Directory,
    key: SigningKey,
    first: Option<&Keyring>,
) -> Result<Opened, CommandError> {
    let kept = Kept::within(&directory.data);
    let (recovered, published) = recover(&*store, &kept)?;
    let trusted = recovered.ledger.trusted().cloned();
    let keyring = trusted.as_ref().map(|trusted| &trusted.keyring).or(first);
    let keyring = keyring.ok_or_else(|| CommandError::Empty(directory.data.clone()))?;
    let origin = origin(keyring, directory, &key)?;
    let cell = Box::new(FileCell::new(&directory.cell()));
    let signer = Signer { origin: origin.clone(), key };
    let (log, view) = Log::start(Arc::clone(&store), cell, signer, recovered)?;
    let published = published.or_else(|| at_once(&log, &view));
    Ok(Opened { store, log, view, published, kept, origin })
}

/// Where no witness is asked, the head that was signed last is shown from the first request on.
fn at_once(log: &Log, view: &View) -> Option<Published> {
    let head = log.head().borrow().clone();
    let asked = log.trusted().is_none_or(|trusted| trusted.keyring.quorum().is_some());
    if asked || view.size() != head.checkpoint.size() { None } else { Published::unwitnessed(&head) }
}

/// The name of the log that a keyring names, if the key is the log's, the directory is for such a log, and the cell is
/// not in it.
pub(crate) fn origin(keyring: &Keyring, directory: &Directory, key: &SigningKey) -> Result<String, CommandError> {
    let log = keyring.log().ok_or_else(|| CommandError::Empty(directory.data.clone()))?;
    if log.public_key != key.public() {
        let (wanted, given) = (log.public_key.key_id().to_string(), key.public().key_id().to_string());
        return Err(CommandError::LogKey { wanted, given });
    }
    let origin = log.note_name.as_ref().map(ToString::to_string).unwrap_or_default();
    if is_demonstration(&origin) != directory.demonstration() {
        return Err(CommandError::Origin { origin });
    }
    let cell = directory.cell();
    if is_within(&cell, &directory.data) {
        return Err(CommandError::CellWithin(cell));
    }
    Ok(origin)
}

fn is_within(file: &Path, folder: &Path) -> bool {
    let holder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(holder).starts_with(real(folder))
}

/// The log's private key.
pub(crate) fn key(arguments: &LogKey) -> Result<SigningKey, CommandError> {
    private(&arguments.log_key, arguments.passphrase_file.clone())
}

/// The private key in a file.
pub(crate) fn private(path: &Path, passphrase_file: Option<PathBuf>) -> Result<SigningKey, CommandError> {
    let variable = std::env::var_os(VARIABLE);
    let source = Source::new(passphrase_file, variable, io::stdin().is_terminal());
    Ok(KeyFile::read(path)?.into_private(&source)?)
}
