//! Submission: hands a bundle to a publisher. A command of its own, because clusters and the internet are different
//! networks.
//!
//! The publisher answers 201 when the bundle is in its log, 200 when it was already, both with the completed bundle,
//! which proves it; 202 when it is in the log and the log's witnesses are still asked; and otherwise with a problem
//! document that names the grounds. Only its answer counts: whatever else happens decides nothing, and the same
//! submission may be made again.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use smi_schemas::Digest;
use smi_schemas::bundle::MEDIA_TYPE;
use smi_schemas::codes::Code;
use smi_schemas::shown::causes;

/// How long the whole exchange may take.
pub const TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes of the longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What the publisher says of an accepted bundle.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its entry.
    pub index: u64,
    /// Its identity.
    pub payload: Digest,
    /// Whether the entry was there before.
    #[serde(skip)]
    pub present: bool,
    /// The completed bundle, as the publisher wrote it; none while its witnesses are asked.
    #[serde(default)]
    pub bundle: Option<Box<RawValue>>,
    /// The proof alone.
    #[serde(default)]
    pub tlog_proof: Option<String>,
    /// Where to ask for its state, while its witnesses are asked.
    #[serde(default)]
    pub status: Option<String>,
}

/// One ground of a refusal, as the publisher gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Ground {
    /// Its code; another release may have codes that are unknown here.
    pub code: String,
    /// What and where.
    pub detail: String,
    /// What is the case.
    pub sentence: String,
    /// What to do.
    pub remedy: String,
}

/// Why a bundle is not published.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The publisher refused it.
    #[error("{status}: {}", listed(grounds))]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The grounds it names.
        grounds: Vec<Ground>,
    },
    /// The publisher decided nothing.
    #[error("{status}: {}", listed(grounds))]
    Undecided {
        /// HTTP status.
        status: StatusCode,
        /// The grounds it names.
        grounds: Vec<Ground>,
    },
    /// No answer, or none of a publisher's.
    #[error("{0}")]
    Unreachable(String),
}

impl SubmitError {
    /// The code.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::SubmissionRefused,
            Self::Undecided { .. } => Code::PublisherFault,
            Self::Unreachable(_) => Code::PublisherUnreachable,
        }
    }
}

/// The body of a problem document, as far as it is read.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    findings: Vec<Ground>,
}

/// Hands a bundle's bytes to the publisher at `base`.
pub async fn submit(bundle: Vec<u8>, base: &Url) -> Result<Accepted, SubmitError> {
    let unreachable = |error: reqwest::Error| SubmitError::Unreachable(causes(&error));
    let address = base.join("v1/bundles").map_err(|error| SubmitError::Unreachable(error.to_string()))?;
    let client = Client::builder().timeout(TIMEOUT).build().map_err(unreachable)?;
    let request = client.post(address).header(reqwest::header::CONTENT_TYPE, MEDIA_TYPE).body(bundle);
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(SubmitError::Unreachable(format!("{status} with more than {MAX_ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    answer(status, &body)
}

fn answer(status: StatusCode, body: &[u8]) -> Result<Accepted, SubmitError> {
    let stranger = || SubmitError::Unreachable(format!("{status}, and the answer is not a publisher's"));
    if matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED) {
        let accepted: Accepted = serde_json::from_slice(body).map_err(|_| stranger())?;
        return Ok(Accepted { present: status == StatusCode::OK, ..accepted });
    }
    let problem: Problem = serde_json::from_slice(body).map_err(|_| stranger())?;
    let grounds = problem.findings;
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        Err(SubmitError::Undecided { status, grounds })
    } else {
        Err(SubmitError::Refused { status, grounds })
    }
}

fn listed(grounds: &[Ground]) -> String {
    let line = |ground: &Ground| format!("{} ({}). {}", ground.code, ground.detail, ground.remedy);
    grounds.iter().map(line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_publisher_s_answer_counts() {
        let body =
            br#"{"index":7,"payload":"sha256:1111111111111111111111111111111111111111111111111111111111111111"}"#;
        assert_eq!(
            answer(StatusCode::CREATED, body).map(|accepted| (accepted.index, accepted.present)).ok(),
            Some((7, false))
        );
        assert_eq!(answer(StatusCode::OK, body).map(|accepted| accepted.present).ok(), Some(true));
        assert_eq!(answer(StatusCode::ACCEPTED, body).map(|accepted| accepted.present).ok(), Some(false));
        let code = |status, body: &[u8]| answer(status, body).unwrap_err().code();
        let problem = br#"{"findings":[{"code":"key-unknown","detail":"d","remedy":"R."}]}"#;
        assert_eq!(code(StatusCode::UNPROCESSABLE_ENTITY, problem), Code::SubmissionRefused);
        assert_eq!(code(StatusCode::SERVICE_UNAVAILABLE, problem), Code::PublisherFault);
        assert_eq!(code(StatusCode::REQUEST_TIMEOUT, problem), Code::PublisherFault);
        for (status, body) in
            [(StatusCode::OK, &b"<html>"[..]), (StatusCode::BAD_GATEWAY, b"<html>"), (StatusCode::FOUND, b"")]
        {
            assert_eq!(code(status, body), Code::PublisherUnreachable, "{status}");
        }
    }
}
