//! The command `waiting`: what waits at a publisher for a review, each verified anew, and on request as files.
//!
//! It takes the publisher's word for what waits, and for nothing else: that each is a result by a key of the keyring,
//! and what it says, is verified from its bundle. Whoever wants to know that nothing was left out audits the publisher.

use std::io::{self, Write as _};
use std::path::PathBuf;

use reqwest::Url;
use smi_keys::files::{self, Access, FileError};
use smi_schemas::codes::{Code, Exit};
use smi_schemas::json::{self, JsonError};
use smi_verifier::audit::Resource;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::view::{Document, Waiting};
use smi_verifier::{Refused, Verified, verify};

use crate::args;
use crate::round::runtime;
use crate::source::{Answer, Source, Unanswered};
use crate::text;
use crate::verify::{VerifyError, keyring, now, suites};

/// Why it is not known what waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitingError {
    #[error("{0}")]
    File(#[from] VerifyError),
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
    let policy = Policy {
        keyring,
        suites: suites(&asked.suite)?,
        allow_sandbox: asked.allow_sandbox,
        allow_draft: asked.allow_draft,
        publication: true,
        receipts: Receipts::Ignore,
        max_age_seconds: None,
    };
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
    let mut out = anstream::stdout().lock();
    for waiting in &document.waiting {
        let bundle = fetch(Resource::Bundle(waiting.payload))?;
        let result = verify(&bundle, &policy, now);
        heard(text::waiting(&mut out, waiting, &result))?;
        if let Some(folder) = &arguments.fetch {
            let path = folder.join(file_name(waiting));
            match files::create(&path, &bundle, Access::Default) {
                // It is named by its content's digest.
                Err(FileError::Exists { .. }) => {}
                written => written?,
            }
            heard(writeln!(out, "file      {}\n", path.display()))?;
        }
    }
    heard(text::waiting_in_all(&mut out, document.waiting.len()))?;
    Ok(Exit::Success)
}

fn file_name(waiting: &Waiting) -> PathBuf {
    format!("{}.json", waiting.payload.hex()).into()
}

/// A reader that went away has read enough.
fn heard(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// What a verification says of a result that waits.
pub(crate) type Judged = Result<Verified, Refused>;
