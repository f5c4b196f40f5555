//! The command `audit`: asks the publisher, prints what was checked, and remembers the checkpoint.

use std::io::{self, Write as _};
use std::path::Path;

use smi_keys::files::{self, Access, FileError};
use smi_schemas::codes::{Code, Exit};
use smi_verifier::audit::report::{Report, TreeHead};
use smi_verifier::audit::{Audit, BeginError, Rules, Sound};
use smi_verifier::note::{Checkpoint, MAX_NOTE_BYTES, Note};
use smi_verifier::said::Trusted;
use smi_verifier::verdict::TrustedKeyring;

use crate::args::{self, Audited, Output};
use crate::round::{run, runtime};
use crate::source::Source;
use crate::text;
use crate::verify::{VerifyError, keyring, now, suites};

/// Why nothing is audited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("{0}")]
    File(#[from] VerifyError),
    #[error("{0}")]
    State(#[from] FileError),
    #[error("{0}")]
    Begin(#[from] BeginError),
    #[error("{0}")]
    Client(reqwest::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl AuditError {
    /// The code, unless this can only be a defect of the program or its output.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::File(error) => error.code(),
            Self::State(error) => Some(error.code()),
            Self::Begin(error) => Some(error.code()),
            Self::Client(_) | Self::Io(_) => None,
        }
    }
}

pub(crate) fn audit(arguments: &args::Audit) -> Result<Exit, AuditError> {
    let Begun { mut audit, source, seen } = begin(&arguments.audited, None)?;
    let now = now()?;
    let answered = runtime()?.block_on(run(&mut audit, &source, now, drop));
    let sound = answered.as_ref().ok().and_then(|()| audit.finish());
    let unanswered = answered.err().map(|unanswered| unanswered.to_string());
    let report = Report::new(&audit, seen, sound.as_ref(), unanswered.as_deref());
    if let (Some(sound), Some(path)) = (&sound, &arguments.audited.state) {
        remember(path, sound)?;
    }
    heard(print(&report, arguments.output))?;
    Ok(report.ends())
}

/// An audit that nothing was asked for yet.
pub(crate) struct Begun {
    pub(crate) audit: Audit,
    pub(crate) source: Source,
    /// What the last audit saw.
    pub(crate) seen: Option<TreeHead>,
}

/// Begins after `last`, or else after what the last audit kept.
pub(crate) fn begin(arguments: &Audited, last: Option<&[u8]>) -> Result<Begun, AuditError> {
    let asked = &arguments.asked;
    let (keyring, TrustedKeyring { digest, .. }) = keyring(&asked.keyring)?;
    let rules =
        Rules { suites: suites(&asked.suite)?, allow_sandbox: asked.allow_sandbox, allow_draft: asked.allow_draft };
    let last = match last {
        Some(last) => Some(last.to_owned()),
        None => arguments.state.as_deref().map(recall).transpose()?.flatten(),
    };
    let audit = Audit::new(Trusted { keyring, digest }, rules, last.as_deref())?;
    let seen = audit.last().map(TreeHead::of);
    let source = Source::new(&asked.url).map_err(AuditError::Client)?;
    Ok(Begun { audit, source, seen })
}

/// The checkpoint of the last audit; none before the first.
fn recall(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match files::read(path, MAX_NOTE_BYTES) {
        Ok(contents) => Ok(Some(contents.bytes.to_vec())),
        Err(FileError::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps the checkpoint of a sound audit, unless another audit has meanwhile kept a later one. A crash leaves the one
/// before or this one, whole.
pub(crate) fn remember(path: &Path, sound: &Sound) -> Result<(), FileError> {
    let note = sound.head.note().to_bytes();
    match files::create(path, &note, Access::Default) {
        Err(FileError::Exists { .. }) => {}
        created => return created,
    }
    files::update(path, MAX_NOTE_BYTES, |found| {
        let found_size = Note::read(found).ok().and_then(|found| Checkpoint::read(found.text()).ok());
        let is_later = found_size.is_some_and(|found| found.size() > sound.head.checkpoint().size());
        Ok((if is_later { found.to_owned() } else { note.clone() }, ()))
    })
}

fn print(report: &Report, output: Output) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        Output::Text => text::audit(&mut out, report)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// A reader that went away has read enough; the exit code still says what was found.
pub(crate) fn heard(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
