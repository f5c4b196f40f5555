//! Refusals on the wire: `application/problem+json` (RFC 9457) with the codes of the one registry.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use smi_schemas::codes::{Class, Code};
use smi_verifier::Finding;

/// Where problem types are named. Names, not addresses.
const TYPES: &str = "https://smi-spec.io/conformance/problems/";
/// After how many seconds a request that found no room may be tried again.
const RETRY_SECONDS: &str = "5";

/// A refusal with its grounds, of which there is at least one.
#[derive(Debug)]
pub struct Problem(Vec<Finding>);

/// The body of a refusal.
#[derive(Serialize)]
struct Body {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: Code,
    remedy: &'static str,
    findings: Vec<Ground>,
}

#[derive(Serialize)]
struct Ground {
    code: Code,
    detail: String,
    sentence: &'static str,
    remedy: &'static str,
}

impl Problem {
    /// A refusal on one ground.
    pub fn new(code: Code, detail: &str) -> Self {
        Self(vec![Finding { code, detail: detail.to_owned() }])
    }
}

impl From<Vec<Finding>> for Problem {
    fn from(findings: Vec<Finding>) -> Self {
        Self(findings)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, detail) = match self.0.first() {
            Some(first) => (first.code, first.detail.clone()),
            None => (Code::PublisherFault, String::new()),
        };
        let status = status(code);
        let ground = |finding: Finding| Ground {
            code: finding.code,
            detail: finding.detail,
            sentence: finding.code.sentence(),
            remedy: finding.code.remedy(),
        };
        let body = Body {
            r#type: format!("{TYPES}{code}"),
            title: code.sentence(),
            status: status.as_u16(),
            detail,
            code,
            remedy: code.remedy(),
            findings: self.0.into_iter().map(ground).collect(),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        response
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::BundleTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestMalformed => StatusCode::BAD_REQUEST,
        Code::RequestSlow => StatusCode::REQUEST_TIMEOUT,
        Code::QuotaSpent => StatusCode::TOO_MANY_REQUESTS,
        _ if matches!(code.class(), Class::Refusal | Class::Submission) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
