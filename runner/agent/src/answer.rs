//! What a workload answers over HTTP, whatever the version.

use std::borrow::Cow;

use serde::Serialize;

use crate::exchange::{REQUEST_ID_FIELD, STATUS_FIELD, WORKLOAD_FIELD, wanted};
use crate::http1::ReadError;
use crate::id::RequestId;
use crate::workload::{Identity, Workload};

/// A response before it is written.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// The request as it came.
#[derive(Serialize)]
pub(crate) struct Asked<'a> {
    pub(crate) id: Option<RequestId>,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(&'a str, Cow<'a, str>)>,
}

/// The body of an answer.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    request: Asked<'a>,
}

impl Response {
    /// The workload's answer to a request.
    pub(crate) fn to(workload: &Workload, request: Asked<'_>) -> Self {
        let id = request.id;
        let field = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(STATUS_FIELD));
        let status = wanted(field.map(|(_, value)| value.as_ref()));
        let mut response = Self::json(&Answer { identity: workload.identity(), request });
        response.status = if response.status == 200 { status } else { response.status };
        response.fields.push((WORKLOAD_FIELD, workload.identity().workload.to_string()));
        response.fields.extend(id.map(|id| (REQUEST_ID_FIELD, id.to_string())));
        response
    }

    /// What is told to a request that could not be read.
    pub(crate) fn refusal(error: &ReadError) -> Self {
        let status = match error {
            ReadError::BodyTooLarge { .. } => 413,
            ReadError::HeadTooLarge => 431,
            _ => 400,
        };
        Self::text(status, &error.to_string())
    }

    /// What is told to a request that does not come to its end.
    pub(crate) fn too_slow() -> Self {
        Self::text(408, "the request did not arrive in time")
    }

    pub(crate) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, fields: vec![("content-type", "application/json".to_owned())], body },
            Err(error) => Self::text(500, &error.to_string()),
        }
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::bytes(status, text.as_bytes().to_vec())
    }

    pub(crate) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, fields: vec![("content-type", "text/plain; charset=utf-8".to_owned())], body }
    }
}
