//! The command `waiting`: what waits at a publisher for a review, each verified anew, and on request as files.
//!
//! It takes the publisher's word for what waits, and for nothing else: that each is a result by a key of the keyring,
//! and what it says, is verified from its bundle, and told from there. A bundle of another payload is not that result,
//! however good it is: whoever decided about it would decide about what was never shown. Whoever wants to know that
//! nothing was left out audits the publisher.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use reqwest::Url;
use smi_keys::files::{self, Access, FileError};
use smi_schemas::bundle::{Bundle, MAX_BUNDLE_BYTES};
use smi_schemas::codes::{Code, Exit};
use smi_schemas::feed::ApiSummary;
use smi_schemas::json::{self, JsonError};
use smi_schemas::shown::shown;
use smi_schemas::statement::Predicate;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::audit::Resource;
use smi_verifier::policy::Policy;
use smi_verifier::view::{Document, Waiting};
use smi_verifier::{Finding, Refused, Verified, verify};

use crate::args;
use crate::inputs::{InputError, keyring, now, suites};
use crate::round::runtime;
use crate::source::{Answer, Source, Unanswered};
use crate::text::{BAD, GOOD, heard};

/// Why it is not known what waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitingError {
    #[error("{0}")]
    File(#[from] InputError),
    #[error("{0}")]
    Write(#[from] FileError),
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    #[error("{url}: the view is not one: {cause}")]
    View { url: Url, cause: JsonError },
    #[error("{url}: the publisher says that {what} waits, and does not have it")]
    Absent { url: Url, what: String },
    #[error("{0}")]
    Client(#[from] reqwest::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl WaitingError {
    /// The code, unless this can only be a defect of the program or its output.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::File(error) => error.code(),
            Self::Write(error) => Some(error.code()),
            Self::Unanswered(_) | Self::View { .. } | Self::Absent { .. } => Some(Code::PublisherUnreachable),
            Self::Client(_) | Self::Io(_) => None,
        }
    }
}

pub(crate) fn waiting(arguments: &args::Waiting) -> Result<Exit, WaitingError> {
    let asked = &arguments.asked;
    let (keyring, _) = keyring(&asked.keyring)?;
    let (allow_sandbox, allow_draft) = (asked.allow_sandbox, asked.allow_draft);
    let policy = Policy { allow_sandbox, allow_draft, ..Policy::of_log(keyring, suites(&asked.suite)?) };
    let source = Source::new(&asked.url)?;
    let runtime = runtime()?;
    let fetch = |what| match runtime.block_on(source.get(what))? {
        Answer::Bytes(bytes) => Ok(bytes),
        Answer::Absent => Err(WaitingError::Absent { url: asked.url.clone(), what: what.to_string() }),
    };
    let view = fetch(Resource::View)?;
    let document: Document = json::parse(&view, Resource::View.max_bytes())
        .map_err(|cause| WaitingError::View { url: asked.url.clone(), cause })?;
    let now = now()?;
    let mut exit = Exit::Success;
    let mut out = anstream::stdout().lock();
    for waiting in &document.waiting {
        let bundle = fetch(Resource::Bundle(waiting.payload))?;
        let judged = Judged::of(&bundle, &waiting.payload, &policy, now);
        heard(told(&mut out, waiting, &judged))?;
        if let Judged::Other(Finding { code, .. }) = judged {
            exit = code.class().exit();
        } else if let Some(folder) = &arguments.fetch {
            let path = folder.join(file_name(waiting));
            write(&path, &bundle)?;
            heard(writeln!(out, "file      {}\n", path.display()))?;
        }
    }
    heard(told_in_all(&mut out, document.waiting.len(), exit))?;
    Ok(exit)
}

/// Writes a bundle, unless the very bytes are there.
fn write(path: &Path, bundle: &[u8]) -> Result<(), FileError> {
    match files::create(path, bundle, Access::Default) {
        Err(FileError::Exists { .. }) if *files::read(path, MAX_BUNDLE_BYTES)?.bytes == bundle => Ok(()),
        written => written,
    }
}

fn file_name(waiting: &Waiting) -> PathBuf {
    format!("{}.json", waiting.payload.hex()).into()
}

/// What a verification says of a result that waits.
pub(crate) enum Judged {
    /// It is that result.
    Accepted(Box<Verified>),
    /// It is of that payload, and the verifier refuses it.
    Refused(Refused),
    /// It is something else.
    Other(Finding),
}

impl Judged {
    fn of(bundle: &[u8], payload: &Digest, policy: &Policy, now: Timestamp) -> Self {
        let verified = verify(bundle, policy, now);
        let found = match &verified {
            Ok(verified) => Ok(verified.payload_digest()),
            Err(_) => Bundle::read(bundle).map(|bundle| bundle.payload_digest()),
        };
        match (found, verified) {
            (Ok(found), Ok(verified)) if found == *payload => Self::Accepted(Box::new(verified)),
            (Ok(found), Err(refused)) if found == *payload => Self::Refused(refused),
            (Ok(found), _) => Self::differs(payload, &found.to_string()),
            (Err(error), _) => Self::differs(payload, &format!("no bundle: {error}")),
        }
    }

    fn differs(payload: &Digest, found: &str) -> Self {
        let detail = shown(&format!("{payload} waits, and what is served for it is {found}"));
        Self::Other(Finding { code: Code::WaitingDiffers, detail })
    }
}

/// A result that waits for a review, as its verification says. Of the publisher's word nothing is repeated but what
/// waits.
fn told(out: &mut impl Write, waiting: &Waiting, judged: &Judged) -> io::Result<()> {
    writeln!(out, "entry     {}, {}", waiting.index, waiting.payload)?;
    match judged {
        Judged::Accepted(verified) => {
            let Predicate { mesh, run, suite, .. } = &verified.statement().predicate;
            let version = mesh.version.as_ref().map_or("of unknown version", |version| version.as_str());
            writeln!(out, "signer    {}", verified.signer())?;
            writeln!(out, "mesh      {} {version}, suite {}", mesh.slug, suite.version)?;
            writeln!(out, "claimed   finished at {}", run.finished_at)?;
            writeln!(out, "verdict   {GOOD}accepted{GOOD:#}")?;
            writeln!(out, "          {}", ApiSummary::HEADER)?;
            for api in verified.apis() {
                writeln!(out, "          {api}")?;
            }
        }
        Judged::Refused(refused) => {
            writeln!(out, "verdict   {BAD}refused{BAD:#} at {}", refused.stage.as_str())?;
            for finding in &refused.findings {
                writeln!(out, "          {BAD}{}{BAD:#}  {}", finding.code, finding.detail)?;
            }
        }
        Judged::Other(finding) => {
            let Finding { code, detail } = finding;
            writeln!(out, "verdict   {BAD}none{BAD:#}")?;
            writeln!(out, "          {BAD}{code}{BAD:#}  {detail}")?;
            writeln!(out, "          {} {}", code.sentence(), code.remedy())?;
        }
    }
    writeln!(out)
}

/// How many wait, and the end in words.
fn told_in_all(out: &mut impl Write, count: usize, exit: Exit) -> io::Result<()> {
    writeln!(out, "{count} {} for a review.", if count == 1 { "result waits" } else { "results wait" })?;
    writeln!(out, "exit {}: {}", exit.number(), exit.words())
}
