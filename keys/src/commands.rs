//! What each command does: from its arguments to what it has to say.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde::Serialize;
use smi_keys::files::{self, Access};
use smi_keys::key_file::{self, KeyFile};
use smi_keys::keyring::{ChangeError, Entry, Keyring, MAX_KEYRING_BYTES, Publish, Role};
use smi_keys::passphrase::Source;
use smi_keys::pem::KeyPem;
use smi_keys::{KeyId, PublicKey, SigningKey};
use smi_schemas::names::Slug;
use smi_schemas::record::Release;
use smi_schemas::shown::shown;
use smi_schemas::statement::Versioned;
use smi_schemas::suite::{MAX_SUITE_BYTES, Suite};
use smi_schemas::{Digest, Timestamp};

use crate::cli::{
    AddArgs, Cli, Format, GenerateArgs, KeyringArgs, KeyringShowArgs, RevokeArgs, ShowArgs, StatementSuiteArgs,
};
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

pub(crate) fn statement_suite(args: &StatementSuiteArgs, source: &Source) -> Result<Outcome, Error> {
    let path = &args.file;
    let bytes = files::read(path, MAX_SUITE_BYTES)?.bytes;
    let (suite, digest) = Suite::read(&bytes).map_err(|cause| Error::Suite { path: path.clone(), cause })?;
    let released = Versioned { version: suite.version, digest };
    let Versioned { version, digest } = released.clone();
    let release = Release::of(released, now()?).map_err(|_| Error::SuiteDraft(path.clone()))?;
    let key = KeyFile::read(&args.key)?.into_private(source)?;
    let bundle = key.sign_statement(&release.to_bytes());
    files::create(&args.out, &bundle.to_bytes(), Access::Default)?;
    let by = format!("released at {} by key {}", release.says.released_at, key.public().key_id());
    Ok(Outcome {
        data: format!("{}\n", bundle.payload_digest()),
        notes: vec![
            format!("wrote {}: suite {version}, {digest}, {by}", args.out.display()),
            format!("next: smi-verifier suite {} --keyring keyring.json --release {}", quoted(path), quoted(&args.out)),
        ],
    })
}

pub(crate) fn keyring_init(args: &KeyringArgs) -> Result<Outcome, Error> {
    let keyring = Keyring::default();
    let bytes = keyring.to_bytes();
    files::create(&args.path, &bytes, Access::Default)?;
    Ok(written(&args.path, &keyring, &bytes, "no keys yet"))
}

pub(crate) fn keyring_add(args: AddArgs) -> Result<Outcome, Error> {
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

pub(crate) fn keyring_revoke(args: &RevokeArgs) -> Result<Outcome, Error> {
    change(&args.keyring.path, |keyring| {
        let entry = keyring.revoke(&args.key, args.from_index)?;
        let (name, id) = (&entry.name, entry.public_key.key_id());
        Ok(format!("revoked {name} from log index {} on, key id {id}", args.from_index))
    })
}

pub(crate) fn keyring_show(args: &KeyringShowArgs) -> Result<Outcome, Error> {
    let path = &args.keyring.path;
    let contents = files::read(path, MAX_KEYRING_BYTES)?;
    let (keyring, digest) = read_keyring(path, &contents.bytes)?;
    let keys = keyring.keys().iter().map(|entry| ShownEntry { key_id: entry.public_key.key_id(), entry }).collect();
    let shown = ShownKeyring { version: keyring.version(), digest, keys };
    let data = match args.output {
        Format::Json => to_json(&shown),
        Format::Text => shown.to_text(),
    };
    Ok(Outcome { data, notes: Vec::new() })
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

fn read_keyring(path: &Path, bytes: &[u8]) -> Result<(Keyring, Digest), Error> {
    Keyring::read(bytes).map_err(|cause| Error::Keyring { path: path.to_owned(), cause })
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

/// The name of a key whose file is called so.
fn name_of(path: &Path) -> Result<Slug, Error> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|error| {
        let message = format!("{} is no name for a key ({error}): give one with --name", shown(&stem));
        Error::Arguments(Cli::command().error(ErrorKind::ValueValidation, message))
    })
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

/// A keyring as `keyring show` prints it.
#[derive(Serialize)]
struct ShownKeyring<'a> {
    version: u64,
    digest: Digest,
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
        let heading = (["NAME", "ROLE", "KEY ID", "PUBLISH", "REVOKED FROM"].map(str::to_owned), "MESHES".to_owned());
        let rows: Vec<_> = [heading].into_iter().chain(self.keys.iter().map(ShownEntry::to_row)).collect();
        let width = |column: usize| rows.iter().map(|(cells, _)| cells[column].len()).max().unwrap_or_default();
        let widths: [usize; 5] = std::array::from_fn(width);

        let mut text = format!("version {}\ndigest  {}\n", self.version, self.digest);
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
        let Entry { name, role, meshes, publish, revoked, .. } = self.entry;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let meshes: Vec<_> = meshes.iter().map(Slug::as_str).collect();
        let aligned = [
            name.to_string(),
            role.to_string(),
            self.key_id.to_string(),
            or_dash(publish.map(|publish| publish.to_string())),
            or_dash(revoked.map(|revoked| revoked.from_index.to_string())),
        ];
        (aligned, or_dash((!meshes.is_empty()).then(|| meshes.join(","))))
    }
}

/// What is shown has keys of text and numbers that are integers, so writing cannot fail.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
