//! The command `verify`: reads the files, asks the judge, prints the verdict.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smi_keys::keyring::{Keyring, KeyringError, MAX_KEYRING_BYTES};
use smi_schemas::Timestamp;
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::{Code, Exit};
use smi_schemas::suite::{MAX_SUITE_BYTES, SuiteError};
use smi_verifier::policy::{Policy, Receipts, Suites};
use smi_verifier::verdict::{TrustedKeyring, Verdict};

use crate::archive::archive;
use crate::args::{Output, Verify};
use crate::text;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
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

impl VerifyError {
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

pub(crate) fn verify(arguments: &Verify) -> Result<Exit, VerifyError> {
    let (keyring, trusted) = keyring(&arguments.keyring)?;
    let suites = suites(&arguments.suite)?;
    let policy = Policy {
        keyring,
        suites,
        allow_sandbox: arguments.allow_sandbox,
        allow_draft: arguments.allow_draft,
        publication: arguments.for_publication,
        receipts: if arguments.require_receipt { Receipts::Require } else { Receipts::Read },
        max_age_seconds: arguments.max_age.map(seconds),
    };
    let bundle = match (&arguments.archive, &arguments.bundle) {
        (Some(folder), _) => return archive(folder, &policy, &trusted, arguments),
        (None, Some(bundle)) => bundle,
        // The command line asks for one of them.
        (None, None) => return Ok(Exit::Usage),
    };
    let bytes = read(bundle, MAX_BUNDLE_BYTES)?;
    let result = smi_verifier::verify(&bytes, &policy, now()?);
    let verdict = Verdict::new(&result, trusted, &arguments.require);
    match print(&verdict, arguments.output) {
        // A reader that went away has read enough; the exit code still says what the verdict is.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.map_err(VerifyError::Output)?,
    }
    Ok(verdict.ends())
}

/// The keyring that is trusted.
pub(crate) fn keyring(path: &Path) -> Result<(Keyring, TrustedKeyring), VerifyError> {
    let (keyring, digest) = Keyring::read(&read(path, MAX_KEYRING_BYTES)?)
        .map_err(|cause| VerifyError::Keyring { path: path.to_owned(), cause })?;
    let trusted = TrustedKeyring { version: keyring.version(), digest };
    Ok((keyring, trusted))
}

/// The suites of this release, and those in these files.
pub(crate) fn suites(paths: &[PathBuf]) -> Result<Suites, VerifyError> {
    let mut suites = Suites::builtin().map_err(VerifyError::Builtin)?;
    for path in paths {
        suites.add(&read(path, MAX_SUITE_BYTES)?).map_err(|cause| VerifyError::Suite { path: path.clone(), cause })?;
    }
    Ok(suites)
}

/// Reads one byte more than the limit at most: the parser says that it is too large, whatever follows.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, VerifyError> {
    let unreadable = |cause| VerifyError::Unreadable { path: path.to_owned(), cause };
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

pub(crate) fn now() -> Result<Timestamp, VerifyError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| VerifyError::Clock)?;
    i64::try_from(since.as_secs()).ok().and_then(Timestamp::from_unix_seconds).ok_or(VerifyError::Clock)
}

fn print(verdict: &Verdict, output: Output) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        Output::Text => text::verdict(&mut out, verdict)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, verdict)?;
            writeln!(out)?;
        }
    }
    out.flush()
}
