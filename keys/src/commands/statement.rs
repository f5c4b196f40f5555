//! The commands that sign what the programme says beside results.

use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use smi_keys::export::NoLog;
use smi_keys::files::{self, Access};
use smi_keys::key_file::KeyFile;
use smi_keys::keyring::{Keyring, MAX_KEYRING_BYTES, Role};
use smi_keys::passphrase::Source;
use smi_keys::{KeyId, SigningKey};
use smi_schemas::Digest;
use smi_schemas::bundle::{Bundle, MAX_BUNDLE_BYTES, MAX_SIGNATURES, PAYLOAD_TYPE, Signature};
use smi_schemas::record::{KeyringChange, Predicate, Record, Release, Review, Supersession, Verdict, Withdrawal};
use smi_schemas::statement::{Statement, StatementError, Versioned};
use smi_schemas::suite::{MAX_SUITE_BYTES, Suite};

use super::{now, quoted, read_keyring};
use crate::cli::{
    Cli, ReviewArgs, SignArgs, StatementCommand, StatementKeyringArgs, StatementSignArgs, StatementSuiteArgs,
    SupersessionArgs, WithdrawalArgs,
};
use crate::outcome::{Error, Outcome};

pub(crate) fn run(command: &StatementCommand, source: &Source) -> Result<Outcome, Error> {
    match command {
        StatementCommand::Suite(args) => suite(args, source),
        StatementCommand::Keyring(args) => keyring(args, source),
        StatementCommand::Review(args) => review(args, source),
        StatementCommand::Withdrawal(args) => withdrawal(args, source),
        StatementCommand::Supersession(args) => supersession(args, source),
        StatementCommand::Sign(args) => sign(args, source),
    }
}

fn suite(args: &StatementSuiteArgs, source: &Source) -> Result<Outcome, Error> {
    let path = &args.file;
    let bytes = files::read(path, MAX_SUITE_BYTES)?.bytes;
    let (suite, digest) = Suite::read(&bytes).map_err(|cause| Error::Suite { path: path.clone(), cause })?;
    let version = suite.version.clone();
    let released = Versioned { version: suite.version, digest };
    let release = Release::of(released, now()?).map_err(|_| Error::SuiteDraft(path.clone()))?;
    let said = format!("suite {version}, {digest}, released at {}", release.says.released_at);
    let mut outcome = signed(&release, &said, &args.sign, source)?;
    let (path, out) = (quoted(path), quoted(&args.sign.out));
    outcome.notes.insert(1, format!("next: smi-verifier suite {path} --keyring keyring.json --release {out}"));
    Ok(outcome)
}

fn keyring(args: &StatementKeyringArgs, source: &Source) -> Result<Outcome, Error> {
    let path = &args.file;
    let bytes = files::read(path, MAX_KEYRING_BYTES)?.bytes;
    let (keyring, digest) = read_keyring(path, &bytes)?;
    let previous = match &args.previous {
        Some(path) => Some((path, read_keyring(path, &files::read(path, MAX_KEYRING_BYTES)?.bytes)?)),
        None if keyring.log().is_none() => return Err(Error::NoLog { path: path.clone(), cause: NoLog }),
        None => None,
    };
    if let Some((_, (previous, _))) = &previous {
        let does_not_follow = |cause| Error::Succession { path: path.clone(), cause };
        previous.check_successor(&keyring).map_err(does_not_follow)?;
    }
    let before = previous.as_ref().map(|(_, (_, digest))| *digest);
    let change = KeyringChange::of(keyring.version(), &bytes, before, now()?)
        .map_err(|cause| Error::Payload { path: path.clone(), cause })?;
    let key = private(&args.sign, source)?;
    // As many must agree as either keyring asks for, so the first to sign is a root key of both.
    expect_root(path, &keyring, &key)?;
    let mut asked = keyring.threshold();
    if let Some((path, (previous, _))) = &previous {
        expect_root(path, previous, &key)?;
        asked = asked.max(previous.threshold());
    }
    let bundle = key.sign_statement(&change.to_bytes());
    let said = format!("keyring version {}, {digest}, {}", keyring.version(), after(before));
    written_change(&bundle, &said, asked, &args.sign)
}

fn review(args: &ReviewArgs, source: &Source) -> Result<Outcome, Error> {
    let result = result(args.of.result, args.of.bundle.as_deref())?;
    let verdict = if args.verdict.accept { Verdict::Accept } else { Verdict::Reject };
    let record = Review::of(result, verdict, args.reason.clone(), now()?);
    signed(&record, &format!("review of {result}: {}", verdict.as_str()), &args.sign, source)
}

fn withdrawal(args: &WithdrawalArgs, source: &Source) -> Result<Outcome, Error> {
    let result = result(args.of.result, args.of.bundle.as_deref())?;
    let record = Withdrawal::of(result, args.reason.clone(), now()?);
    signed(&record, &format!("withdrawal of {result}"), &args.sign, source)
}

fn supersession(args: &SupersessionArgs, source: &Source) -> Result<Outcome, Error> {
    let old = result(args.of.result, args.of.bundle.as_deref())?;
    let new = result(args.by.by, args.by.by_bundle.as_deref())?;
    let record = Supersession::of(old, new, args.reason.clone(), now()?).map_err(|_| Error::SupersedesItself(old))?;
    signed(&record, &format!("supersession of {old} by {new}"), &args.sign, source)
}

/// Adds a signature. The log entry that a bundle may carry is of other signatures, and goes.
fn sign(args: &StatementSignArgs, source: &Source) -> Result<Outcome, Error> {
    let path = &args.bundle;
    let mut bundle = read_bundle(path)?.into_bare();
    let change = Record::<KeyringChange>::read(&bundle.payload).map_err(|cause| match cause {
        StatementError::PredicateType { found, .. } => Error::SignedByOne { path: path.clone(), found },
        cause => Error::Payload { path: path.clone(), cause },
    })?;
    let (keyring, digest) = read_keyring(path, &change.says.keyring())?;
    if change.says.version != keyring.version() {
        return Err(Error::Payload { path: path.clone(), cause: StatementError::Form { field: "version" } });
    }
    let key = private(&args.sign, source)?;
    expect_root(path, &keyring, &key)?;
    let id = key.public().key_id();
    if bundle.signatures().any(|signature| signature.keyid == id.to_string()) {
        return Err(Error::SignedAlready { path: path.clone(), key: id });
    }
    if bundle.signatures().count() >= MAX_SIGNATURES {
        return Err(Error::SignaturesFull(path.clone()));
    }
    expect_signatures(path, &keyring, &bundle)?;
    bundle.further.push(key.sign_statement(&bundle.payload).signature);
    let said = format!("keyring version {}, {digest}, {}", keyring.version(), after(change.says.previous));
    // The keyring before, which is not at hand, may ask for more.
    written_change(&bundle, &said, keyring.threshold(), &args.sign)
}

/// The digest of a result, given as it is or by a bundle. Of the two there is exactly one.
fn result(digest: Option<Digest>, bundle: Option<&Path>) -> Result<Digest, Error> {
    match (digest, bundle) {
        (Some(digest), _) => Ok(digest),
        (None, Some(path)) => {
            let bundle = read_bundle(path)?;
            match Statement::read(&bundle.payload) {
                Ok(_) => Ok(bundle.payload_digest()),
                Err(cause) => Err(Error::Payload { path: path.to_owned(), cause }),
            }
        }
        (None, None) => Err(Error::Arguments(Cli::command().error(ErrorKind::MissingRequiredArgument, "no result"))),
    }
}

fn read_bundle(path: &Path) -> Result<Bundle, Error> {
    let bundle = Bundle::read(&files::read(path, MAX_BUNDLE_BYTES)?.bytes)
        .map_err(|cause| Error::Bundle { path: path.to_owned(), cause })?;
    if bundle.payload_type == PAYLOAD_TYPE {
        Ok(bundle)
    } else {
        Err(Error::PayloadType { path: path.to_owned(), found: bundle.payload_type })
    }
}

fn private(args: &SignArgs, source: &Source) -> Result<SigningKey, Error> {
    Ok(KeyFile::read(&args.key)?.into_private(source)?)
}

/// Refuses a key whose signature under a change of the keyring would not count.
fn expect_root(path: &Path, keyring: &Keyring, key: &SigningKey) -> Result<(), Error> {
    let key = key.public().key_id();
    if keyring.roots().any(|entry| entry.public_key.key_id() == key) {
        Ok(())
    } else {
        Err(Error::NotRoot { path: path.to_owned(), key })
    }
}

/// Refuses a bundle with a signature that no root key of the keyring made: nobody would take it, however many sign.
fn expect_signatures(path: &Path, keyring: &Keyring, bundle: &Bundle) -> Result<(), Error> {
    let message = bundle.signed_bytes();
    for Signature { keyid, sig } in bundle.signatures() {
        let named = keyid.parse::<KeyId>().ok().and_then(|id| keyring.find(&id));
        if !named.is_some_and(|entry| entry.role == Role::Root && entry.public_key.verify(&message, sig)) {
            return Err(Error::SignatureInvalid { path: path.to_owned(), keyid: keyid.clone() });
        }
    }
    Ok(())
}

/// Signs a record that speaks for its one signer, and writes its bundle.
fn signed<P: Predicate>(record: &Record<P>, said: &str, args: &SignArgs, source: &Source) -> Result<Outcome, Error> {
    let key = private(args, source)?;
    let bundle = key.sign_statement(&record.to_bytes());
    let said = format!("{said}, signed by key {}", key.public().key_id());
    written(&bundle, &said, submission(args), args)
}

/// Writes the bundle of a change of the keyring, which so many root keys must sign.
fn written_change(bundle: &Bundle, said: &str, asked: Option<u32>, args: &SignArgs) -> Result<Outcome, Error> {
    let (count, asked) = (bundle.signatures().count(), asked.unwrap_or_default());
    let next = if u32::try_from(count).is_ok_and(|count| count < asked) {
        format!("next: smi-keys statement sign {} --key ROOT.pem --out FILE", quoted(&args.out))
    } else {
        submission(args)
    };
    written(bundle, &format!("{said}, signatures {count} of {asked}"), next, args)
}

fn written(bundle: &Bundle, said: &str, next: String, args: &SignArgs) -> Result<Outcome, Error> {
    files::create(&args.out, &bundle.to_bytes(), Access::Default)?;
    Ok(Outcome {
        data: format!("{}\n", bundle.payload_digest()),
        notes: vec![format!("wrote {}: {said}", args.out.display()), next],
    })
}

fn submission(args: &SignArgs) -> String {
    format!("next: smi-runner submit {} --to URL", quoted(&args.out))
}

/// What a keyring comes after, for people.
fn after(previous: Option<Digest>) -> String {
    previous.map_or_else(|| "the first of a log".to_owned(), |digest| format!("after {digest}"))
}
