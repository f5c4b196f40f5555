//! What each command does: from its arguments to what it has to say.

pub(crate) mod keyring;
pub(crate) mod statement;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use smi_keys::key_file::{self, KeyFile};
use smi_keys::keyring::Keyring;
use smi_keys::passphrase::Source;
use smi_keys::pem::KeyPem;
use smi_keys::{KeyId, PublicKey, SigningKey};
use smi_schemas::shown::shown;
use smi_schemas::{Digest, Timestamp};

use crate::cli::{Format, GenerateArgs, ShowArgs};
use crate::outcome::{Error, Outcome};

pub(crate) fn generate(args: &GenerateArgs, source: &Source) -> Result<Outcome, Error> {
    let private = &args.out;
    let public = public_path(private);
    let passphrase = if args.no_encrypt { None } else { Some(source.chosen(private)?) };
    let key = SigningKey::generate()?;
    key_file::create(&key, passphrase.as_ref(), private, &public)?;
    let protection = if args.no_encrypt { "not encrypted" } else { "encrypted" };
    Ok(Outcome {
        data: format!("{}\n", key.public().key_id()),
        notes: vec![
            format!("wrote {}: the private key, {protection}, for you alone", private.display()),
            format!("wrote {}: the public key, for the keyring", public.display()),
            next(&["add", "--keyring", "keyring.json", "--role", "vendor", "--mesh", "MESH", "--key"], &public),
        ],
    })
}

pub(crate) fn show(args: &ShowArgs, source: &Source) -> Result<Outcome, Error> {
    let keys = args.files.iter().map(|path| shown_key(path, source)).collect::<Result<Vec<_>, _>>()?;
    let data = match args.output {
        Format::Json => to_json(&keys),
        Format::Text => keys.iter().map(ShownKey::to_text).collect::<Vec<_>>().join("\n"),
    };
    Ok(Outcome { data, notes: Vec::new() })
}

fn read_keyring(path: &Path, bytes: &[u8]) -> Result<(Keyring, Digest), Error> {
    Keyring::read(bytes).map_err(|cause| Error::Keyring { path: path.to_owned(), cause })
}

/// The next useful command, which is one of the keyring's.
fn next(words: &[&str], path: &Path) -> String {
    format!("next: smi-keys keyring {} {}", words.join(" "), quoted(path))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if path.chars().all(is_plain) { path.into_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn now() -> Result<Timestamp, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Error::Clock)?;
    i64::try_from(since.as_secs()).ok().and_then(Timestamp::from_unix_seconds).ok_or(Error::Clock)
}

/// Where the public half goes: `vendor.pem` has `vendor.pub` beside it, and any other name gets `.pub` added.
fn public_path(private: &Path) -> PathBuf {
    if private.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pem")) {
        return private.with_extension("pub");
    }
    let mut name = OsString::from(private);
    name.push(".pub");
    name.into()
}

fn shown_key(path: &Path, source: &Source) -> Result<ShownKey, Error> {
    let file = KeyFile::read(path)?;
    let (kind, key) = match file.key() {
        KeyPem::Public(key) => ("public", *key),
        KeyPem::Private(key) => ("private", key.public()),
        KeyPem::Encrypted(_) => ("encrypted private", file.into_private(source)?.public()),
    };
    Ok(ShownKey::new(path, kind, &key))
}

/// A key file as `show` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownKey {
    file: String,
    kind: &'static str,
    key_id: KeyId,
    public_key: String,
    pem: String,
}

impl ShownKey {
    fn new(path: &Path, kind: &'static str, key: &PublicKey) -> Self {
        let file = path.display().to_string();
        Self { file, kind, key_id: key.key_id(), public_key: key.to_base64(), pem: key.to_spki_pem() }
    }

    fn to_text(&self) -> String {
        let Self { file, kind, key_id, public_key, pem } = self;
        format!("file        {} ({kind} key)\nkey id      {key_id}\npublic key  {public_key}\n{pem}", shown(file))
    }
}

/// What is shown has keys of text and numbers that are integers, so writing cannot fail.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
