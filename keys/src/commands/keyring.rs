//! The commands that keep the keyring.

use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde::Serialize;
use smi_keys::KeyId;
use smi_keys::export::{NoLog, tlog_policy, trusted_root};
use smi_keys::files::{self, Access};
use smi_keys::key_file::KeyFile;
use smi_keys::keyring::{ChangeError, Entry, Keyring, MAX_KEYRING_BYTES, Publish, Role};
use smi_schemas::Digest;
use smi_schemas::names::{NoteName, Slug, Url};
use smi_schemas::shown::shown;

use super::{next, read_keyring, to_json};
use crate::cli::{AddArgs, Cli, Format, KeyringArgs, KeyringCommand, KeyringShowArgs, PolicyArgs, RevokeArgs, SetArgs};
use crate::outcome::{Error, Outcome};

pub(crate) fn run(command: KeyringCommand) -> Result<Outcome, Error> {
    match command {
        KeyringCommand::Init(args) => init(&args),
        KeyringCommand::Add(args) => add(args),
        KeyringCommand::Revoke(args) => revoke(&args),
        KeyringCommand::Set(args) => set(&args),
        KeyringCommand::Policy(args) => policy(&args),
        KeyringCommand::TrustedRoot(args) => root(&args),
        KeyringCommand::Show(args) => show(&args),
    }
}

fn init(args: &KeyringArgs) -> Result<Outcome, Error> {
    let keyring = Keyring::default();
    let bytes = keyring.to_bytes();
    files::create(&args.path, &bytes, Access::Default)?;
    Ok(written(&args.path, &keyring, &bytes, "no keys yet"))
}

fn add(args: AddArgs) -> Result<Outcome, Error> {
    let public_key = KeyFile::read(&args.key)?.into_public()?;
    let name = args.name.map_or_else(|| name_of(&args.key), Ok)?;
    let publish = match (args.role, args.after_review) {
        (_, true) => Some(Publish::AfterReview),
        (Role::Vendor, false) => Some(Publish::Direct),
        (_, false) => None,
    };
    let meshes = args.mesh.into_iter().collect();
    let (note_name, url) = (args.note_name, args.url);
    let entry = Entry { note_name, url, meshes, publish, ..Entry::new(name, args.role, public_key) };
    let mut done = format!("added {}, role {}, key id {}", entry.name, entry.role, public_key.key_id());
    change(&args.keyring.path, |keyring| {
        let before = keyring.threshold();
        keyring.add(entry)?;
        if let (None, Some(threshold)) = (before, keyring.threshold()) {
            // Writing to a String cannot fail.
            let _ = write!(done, "; as it is the first root key, the threshold is {threshold}");
        }
        Ok(done)
    })
}

fn revoke(args: &RevokeArgs) -> Result<Outcome, Error> {
    change(&args.keyring.path, |keyring| {
        let from_index = args.extent.start();
        let entry = keyring.revoke(&args.key, from_index)?;
        let (name, id) = (&entry.name, entry.public_key.key_id());
        Ok(format!("revoked {name} from log index {from_index} on, key id {id}"))
    })
}

fn set(args: &SetArgs) -> Result<Outcome, Error> {
    change(&args.keyring.path, |keyring| {
        let threshold = args.counts.threshold.or(keyring.threshold());
        keyring.set(threshold, args.counts.quorum.map_or(keyring.quorum(), |quorum| quorum.0))?;
        Ok(format!("threshold {}, quorum {}", or_none(keyring.threshold()), or_none(keyring.quorum())))
    })
}

fn policy(args: &PolicyArgs) -> Result<Outcome, Error> {
    exported(&args.keyring.path, |keyring| tlog_policy(keyring, args.log_url.as_ref()))
}

fn root(args: &KeyringArgs) -> Result<Outcome, Error> {
    exported(&args.path, trusted_root)
}

fn show(args: &KeyringShowArgs) -> Result<Outcome, Error> {
    let path = &args.keyring.path;
    let (keyring, digest) = read_keyring(path, &files::read(path, MAX_KEYRING_BYTES)?.bytes)?;
    let keys = keyring.keys().iter().map(|entry| ShownEntry { key_id: entry.public_key.key_id(), entry }).collect();
    let (version, threshold, quorum) = (keyring.version(), keyring.threshold(), keyring.quorum());
    let shown = ShownKeyring { version, digest, threshold, quorum, keys };
    let data = match args.output {
        Format::Json => to_json(&shown),
        Format::Text => shown.to_text(),
    };
    Ok(Outcome { data, notes: Vec::new() })
}

/// What `export` writes of a keyring.
fn exported(path: &Path, export: impl FnOnce(&Keyring) -> Result<String, NoLog>) -> Result<Outcome, Error> {
    let (keyring, _) = read_keyring(path, &files::read(path, MAX_KEYRING_BYTES)?.bytes)?;
    let data = export(&keyring).map_err(|cause| Error::NoLog { path: path.to_owned(), cause })?;
    Ok(Outcome { data, notes: Vec::new() })
}

fn or_none(number: Option<u32>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

/// Reads a keyring, changes it, and replaces its file. `apply` says what it did.
fn change(path: &Path, apply: impl FnOnce(&mut Keyring) -> Result<String, ChangeError>) -> Result<Outcome, Error> {
    files::update(path, MAX_KEYRING_BYTES, |bytes| {
        let (mut keyring, _) = read_keyring(path, bytes)?;
        let done = apply(&mut keyring).map_err(|cause| Error::Change { path: path.to_owned(), cause })?;
        let bytes = keyring.to_bytes();
        // What could not be read again, for instance because it has grown too large, is not written.
        read_keyring(path, &bytes)?;
        let outcome = written(path, &keyring, &bytes, &done);
        Ok((bytes, outcome))
    })
}

fn written(path: &Path, keyring: &Keyring, bytes: &[u8], done: &str) -> Outcome {
    let then = if keyring.keys().is_empty() {
        next(&["add", "--role", "vendor", "--mesh", "MESH", "--key", "FILE.pub", "--keyring"], path)
    } else {
        next(&["show", "--keyring"], path)
    };
    Outcome {
        data: format!("{}\n", Digest::of(bytes)),
        notes: vec![format!("wrote {}, version {}: {done}", path.display(), keyring.version()), then],
    }
}

/// The name of a key whose file is called so.
fn name_of(path: &Path) -> Result<Slug, Error> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|error| {
        let message = format!("{} is no name for a key ({error}): give one with --name", shown(&stem));
        Error::Arguments(Cli::command().error(ErrorKind::ValueValidation, message))
    })
}

/// A keyring as `keyring show` prints it.
#[derive(Serialize)]
struct ShownKeyring<'a> {
    version: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorum: Option<u32>,
    keys: Vec<ShownEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEntry<'a> {
    key_id: KeyId,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl ShownKeyring<'_> {
    fn to_text(&self) -> String {
        let heading = (
            ["NAME", "ROLE", "KEY ID", "PUBLISH", "REVOKED FROM"].map(str::to_owned),
            "MESHES, OR NOTE NAME AND ADDRESS".to_owned(),
        );
        let rows: Vec<_> = [heading].into_iter().chain(self.keys.iter().map(ShownEntry::to_row)).collect();
        let width = |column: usize| rows.iter().map(|(cells, _)| cells[column].len()).max().unwrap_or_default();
        let widths: [usize; 5] = std::array::from_fn(width);

        let Self { version, digest, threshold, quorum, .. } = self;
        let mut text = format!("version {version}\ndigest  {digest}\n");
        for (what, number) in [("threshold", threshold), ("quorum   ", quorum)] {
            if let Some(number) = number {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{what} {number}");
            }
        }
        for (cells, last) in &rows {
            for (cell, width) in cells.iter().zip(widths) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{cell:width$}  ");
            }
            text += last;
            text.push('\n');
        }
        text
    }
}

impl ShownEntry<'_> {
    /// The cells that are aligned, and the last one, which may be very long.
    fn to_row(&self) -> ([String; 5], String) {
        let Entry { name, role, note_name, url, meshes, publish, revoked, .. } = self.entry;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let meshes: Vec<_> = meshes.iter().map(Slug::as_str).collect();
        let notes: Vec<_> = note_name.iter().map(NoteName::as_str).chain(url.iter().map(Url::as_str)).collect();
        // A key has meshes or a note name, never both.
        let last = meshes.join(",") + &notes.join(" ");
        let aligned = [
            name.to_string(),
            role.to_string(),
            self.key_id.to_string(),
            or_dash(publish.map(|publish| publish.to_string())),
            or_dash(revoked.map(|revoked| revoked.from_index.to_string())),
        ];
        (aligned, or_dash((!last.is_empty()).then_some(last)))
    }
}
