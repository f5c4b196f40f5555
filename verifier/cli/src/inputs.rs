//! What the commands are given: files, standard input, and the time.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smi_keys::keyring::{Keyring, KeyringError, MAX_KEYRING_BYTES};
use smi_schemas::Timestamp;
use smi_schemas::codes::Code;
use smi_schemas::suite::{MAX_SUITE_BYTES, SuiteError};
use smi_verifier::policy::Suites;
use smi_verifier::verdict::TrustedKeyring;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}: {cause}", path.display())]
    Keyring { path: PathBuf, cause: KeyringError },
    #[error("{}: {cause}", path.display())]
    Suite { path: PathBuf, cause: SuiteError },
    #[error("a suite of this release: {0}")]
    Builtin(SuiteError),
    #[error("{}: no file in it ends with .json", .0.display())]
    Empty(PathBuf),
    #[error("the clock of this machine is out of any range")]
    Clock,
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl InputError {
    /// The code, unless this can only be a defect of the program or its output.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Unreadable { .. } => Some(Code::FileUnreadable),
            Self::Empty(_) => Some(Code::ArchiveEmpty),
            Self::Keyring { .. } => Some(Code::KeyringInvalid),
            Self::Suite { .. } => Some(Code::SuiteInvalid),
            Self::Builtin(_) | Self::Clock | Self::Output(_) => None,
        }
    }
}

/// The keyring that is trusted.
pub(crate) fn keyring(path: &Path) -> Result<(Keyring, TrustedKeyring), InputError> {
    let (keyring, digest) = Keyring::read(&read(path, MAX_KEYRING_BYTES)?)
        .map_err(|cause| InputError::Keyring { path: path.to_owned(), cause })?;
    let trusted = TrustedKeyring { version: keyring.version(), digest };
    Ok((keyring, trusted))
}

/// The suites of this release, and those in these files.
pub(crate) fn suites(paths: &[PathBuf]) -> Result<Suites, InputError> {
    let mut suites = Suites::builtin().map_err(InputError::Builtin)?;
    for path in paths {
        suites.add(&read(path, MAX_SUITE_BYTES)?).map_err(|cause| InputError::Suite { path: path.clone(), cause })?;
    }
    Ok(suites)
}

/// Reads one byte more than the limit at most: the parser says that it is too large, whatever follows.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, InputError> {
    let unreadable = |cause| InputError::Unreadable { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let limit = max as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(bytes)
}

/// An age, as long as any where it is longer.
pub(crate) fn seconds(age: Duration) -> i64 {
    i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn now() -> Result<Timestamp, InputError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| InputError::Clock)?;
    i64::try_from(since.as_secs()).ok().and_then(Timestamp::from_unix_seconds).ok_or(InputError::Clock)
}
