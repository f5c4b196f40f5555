//! What each command does, and what stands in its way.

mod backup;
mod check;
mod init;
mod opened;
mod serve;
mod witness;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use smi_keys::files::FileError;
use smi_keys::key_file::ReadError;
use smi_publisher::backup::{BackupError, RestoreError};
use smi_publisher::cell::CellError;
use smi_publisher::feed::FeedError;
use smi_publisher::log::{StartError, SubmitError};
use smi_publisher::replay::CheckError;
use smi_publisher::store::{OpenError, StoreError};
use smi_publisher::witness::server::OpenError as OpenWitnessError;
use smi_schemas::Timestamp;
use smi_schemas::codes::{Code, Exit, error_text};
use smi_schemas::suite::SuiteError;
use smi_verifier::Finding;

pub(crate) use self::backup::{backup, restore};
pub(crate) use self::check::check;
pub(crate) use self::init::init;
use self::opened::Opened;
pub(crate) use self::serve::serve;
pub(crate) use self::witness::witness;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{0}")]
    Key(#[from] ReadError),
    #[error("{}: {}", path.display(), finding.detail)]
    Keyring { path: PathBuf, finding: Finding },
    #[error("the keyring of the log has {wanted} with the role log, and the key given is {given}")]
    LogKey { wanted: String, given: String },
    #[error("{}: no entries", .0.display())]
    Empty(PathBuf),
    #[error("the log is called {origin}")]
    Origin { origin: String },
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("{0}")]
    Log(#[from] StartError),
    #[error("{0}")]
    Check(#[from] CheckError),
    #[error("{0}")]
    Backup(#[from] BackupError),
    #[error("{}", .0.display())]
    NoBackup(PathBuf),
    #[error("{0}")]
    Restore(#[from] RestoreError),
    #[error("{0}")]
    Submit(#[from] SubmitError),
    #[error("{0}")]
    Witness(#[from] OpenWitnessError),
    #[error("{address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("a suite of this release: {0}")]
    Builtin(#[from] SuiteError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<CellError> for CommandError {
    fn from(error: CellError) -> Self {
        Self::Log(error.into())
    }
}

impl CommandError {
    fn code(&self) -> Option<Code> {
        match self {
            Self::File(error) => Some(error.code()),
            Self::Key(error) => Some(error.code()),
            Self::Keyring { finding, .. } => Some(finding.code),
            Self::LogKey { .. } => Some(Code::LogKeyOther),
            Self::Empty(_) => Some(Code::LogEmpty),
            Self::Origin { .. } => Some(Code::OriginDemonstration),
            Self::Open(error) => Some(error.code()),
            Self::Store(error) => Some(error.code()),
            Self::Feed(_) => Some(Code::StoreDamaged),
            Self::Log(error) => error.code(),
            Self::Check(error) => Some(error.code()),
            Self::Backup(error) => Some(error.code()),
            Self::NoBackup(_) => Some(Code::BackupMissing),
            Self::Restore(error) => Some(error.code()),
            Self::Submit(error) => Some(error.code()),
            Self::Witness(error) => Some(error.code()),
            Self::Listen { .. } => Some(Code::AddressTaken),
            Self::Builtin(_) | Self::Io(_) => None,
        }
    }

    /// Prints the error with its remedy, and the exit code in words, on standard error.
    pub(crate) fn report(&self) -> Exit {
        let (text, exit) = error_text(self.code(), self);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        exit
    }
}

/// The system's time; a clock out of all range reads as its nearest end.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::EPOCH)
}
