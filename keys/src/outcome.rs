//! What a command has to say, and how it ends: data on standard output, everything else on standard error, and the
//! exit code in words as the last line of a command that fails.

use std::io::{self, Write as _};
use std::path::PathBuf;

use smi_keys::export::NoLog;
use smi_keys::files::FileError;
use smi_keys::key_file::{CreateError, ReadError};
use smi_keys::keyring::{ChangeError, KeyringError, SuccessionError};
use smi_keys::passphrase::PassphraseError;
use smi_keys::{KeyId, NoRandomness};
use smi_schemas::Digest;
use smi_schemas::bundle::{BundleError, MAX_SIGNATURES, PAYLOAD_TYPE};
use smi_schemas::codes::{Code, Exit, error_text};
use smi_schemas::shown::shown;
use smi_schemas::statement::StatementError;
use smi_schemas::suite::SuiteError;

/// What a command that succeeds has to say.
pub(crate) struct Outcome {
    /// For programs: standard output.
    pub(crate) data: String,
    /// For people: standard error.
    pub(crate) notes: Vec<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments are wrong, or ask for help.
    #[error(transparent)]
    Arguments(clap::Error),
    #[error("{0}")]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    #[error(transparent)]
    ReadKey(#[from] ReadError),
    #[error(transparent)]
    CreateKey(#[from] CreateError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}: {cause}", path.display())]
    Keyring { path: PathBuf, cause: KeyringError },
    #[error("{}: {cause}", path.display())]
    Change { path: PathBuf, cause: ChangeError },
    #[error("{}: {cause}", path.display())]
    Suite { path: PathBuf, cause: SuiteError },
    #[error("{}", .0.display())]
    SuiteDraft(PathBuf),
    #[error("{}: {cause}", path.display())]
    Succession { path: PathBuf, cause: SuccessionError },
    #[error("{}: {cause}", path.display())]
    NoLog { path: PathBuf, cause: NoLog },
    #[error("{}: {cause}", path.display())]
    Bundle { path: PathBuf, cause: BundleError },
    #[error("{}: payloadType is {found:?}, not {PAYLOAD_TYPE:?}", path.display())]
    PayloadType { path: PathBuf, found: String },
    #[error("{}: {cause}", path.display())]
    Payload { path: PathBuf, cause: StatementError },
    #[error("{}: predicateType is {found:?}", path.display())]
    SignedByOne { path: PathBuf, found: String },
    #[error("{}: key id {key}", path.display())]
    NotRoot { path: PathBuf, key: KeyId },
    #[error("{}: key id {key}", path.display())]
    SignedAlready { path: PathBuf, key: KeyId },
    #[error("{}: {MAX_SIGNATURES} signatures", .0.display())]
    SignaturesFull(PathBuf),
    #[error("{}: the signature that names {keyid:?} is of no root key of the keyring", path.display())]
    SignatureInvalid { path: PathBuf, keyid: String },
    #[error("{0}")]
    SupersedesItself(Digest),
    #[error("the clock of this machine is out of any range")]
    Clock,
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl Error {
    /// The code for this error. Wrong arguments have none, for clap says what is wrong with them, nor has a clock.
    fn code(&self) -> Option<Code> {
        match self {
            Self::Arguments(_) | Self::Clock => None,
            Self::NoRandomness(_) => Some(Code::NoRandomness),
            Self::Passphrase(error) => Some(error.code()),
            Self::ReadKey(error) => Some(error.code()),
            Self::CreateKey(error) => Some(error.code()),
            Self::File(error) => Some(error.code()),
            Self::Keyring { cause, .. } => Some(cause.code()),
            Self::Change { cause, .. } => Some(cause.code()),
            Self::Suite { .. } => Some(Code::SuiteInvalid),
            Self::SuiteDraft(_) => Some(Code::SuiteDraft),
            Self::Succession { cause, .. } => Some(cause.code()),
            Self::NoLog { cause, .. } => Some(cause.code()),
            Self::Bundle { .. } | Self::PayloadType { .. } | Self::Payload { .. } => Some(Code::BundleInvalid),
            Self::SignedByOne { .. } => Some(Code::SignedByOne),
            Self::NotRoot { .. } => Some(Code::SignerNotRoot),
            Self::SignedAlready { .. } => Some(Code::SignedAlready),
            Self::SignaturesFull(_) => Some(Code::SignaturesFull),
            Self::SignatureInvalid { .. } => Some(Code::SignatureInvalid),
            Self::SupersedesItself(_) => Some(Code::SupersedesItself),
            Self::Output(_) => Some(Code::FileUnwritable),
        }
    }
}

/// Says how a command ended. Nothing is left to be done where even that cannot be said.
pub(crate) fn report(outcome: Result<Outcome, Error>) -> Exit {
    match outcome.and_then(|outcome| print(&outcome)) {
        Ok(()) => Exit::Success,
        Err(Error::Arguments(error)) if error.exit_code() == 0 => {
            let _ = error.print();
            Exit::Success
        }
        Err(Error::Arguments(error)) => {
            let _ = error.print();
            let exit = Exit::Usage;
            let _ = writeln!(anstream::stderr().lock(), "exit {}: {}", exit.number(), exit.words());
            exit
        }
        Err(error) => {
            let (text, exit) = error_text(error.code(), &error);
            let _ = anstream::stderr().lock().write_all(text.as_bytes());
            exit
        }
    }
}

fn print(outcome: &Outcome) -> Result<(), Error> {
    let mut stderr = anstream::stderr().lock();
    for note in &outcome.notes {
        let _ = writeln!(stderr, "{}", shown(note));
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(outcome.data.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::Output),
    }
}
