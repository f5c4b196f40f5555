//! The command `audit`: asks the publisher, prints what was checked, and remembers the checkpoint, whatever was found.

use std::io::{self, Write as _};

use smi_keys::files::FileError;
use smi_schemas::codes::{Code, Exit};
use smi_verifier::audit::report::{Report, TreeHead};
use smi_verifier::audit::{Audit, BeginError, Rules};
use smi_verifier::said::Trusted;
use smi_verifier::verdict::TrustedKeyring;

use crate::args::{self, Audited, Output};
use crate::inputs::{InputError, keyring, now, seconds, suites};
use crate::round::{run, runtime};
use crate::source::Source;
use crate::state::{recall, remember};
use crate::text::{self, heard};

/// Why nothing is audited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("{0}")]
    File(#[from] InputError),
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
    let Begun { mut audit, source, seen, .. } = begin(&arguments.audited)?;
    let now = now()?;
    let answered = runtime()?.block_on(run(&mut audit, &source, now, drop));
    let sound = answered.as_ref().ok().and_then(|()| audit.finish(now));
    let unanswered = answered.err().map(|unanswered| unanswered.to_string());
    let report = Report::new(&audit, seen, sound.as_ref(), unanswered.as_deref());
    if let (Some(last), Some(path)) = (audit.last(), &arguments.audited.state) {
        remember(path, last, sound.is_some())?;
    }
    heard(print(&report, arguments.output))?;
    Ok(report.ends())
}

/// An audit that nothing was asked for yet.
pub(crate) struct Begun {
    pub(crate) audit: Audit,
    pub(crate) source: Source,
    pub(crate) grounds: Grounds,
    /// What earlier audits saw.
    pub(crate) seen: Option<TreeHead>,
    /// What of it was sound.
    pub(crate) sound: Option<TreeHead>,
}

/// What audits of a log are begun with, however often.
pub(crate) struct Grounds {
    trusted: Trusted,
    rules: Rules,
}

impl Grounds {
    /// An audit of the whole log, which must contain `last`.
    pub(crate) fn begin(&self, last: Option<&[u8]>) -> Result<Audit, BeginError> {
        Audit::new(self.trusted.clone(), self.rules.clone(), last)
    }
}

/// Begins after what earlier audits kept.
pub(crate) fn begin(arguments: &Audited) -> Result<Begun, AuditError> {
    let asked = &arguments.asked;
    let (keyring, TrustedKeyring { digest, .. }) = keyring(&asked.keyring)?;
    let rules = Rules {
        suites: suites(&asked.suite)?,
        allow_sandbox: asked.allow_sandbox,
        allow_draft: asked.allow_draft,
        max_age_seconds: seconds(arguments.max_age),
    };
    let grounds = Grounds { trusted: Trusted { keyring, digest }, rules };
    let state = arguments.state.as_deref().map(recall).transpose()?.flatten();
    let audit = grounds.begin(state.as_ref().map(|state| &state.seen[..]))?;
    let seen = audit.last().map(TreeHead::of);
    let sound = state.map(|state| audit.open(&state.sound)).transpose()?;
    let source = Source::new(&asked.url).map_err(AuditError::Client)?;
    Ok(Begun { audit, source, grounds, seen, sound: sound.as_ref().map(TreeHead::of) })
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
