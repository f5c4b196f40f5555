//! The contract of Learn Layer5's sample application, so that what drives that application can drive a workload.
//!
//! | Endpoint | Method | Answer |
//! |---|---|---|
//! | `/call` | POST | 200 and the body of the response to the request `{url, method, body, headers}`, which it makes |
//! | `/echo` | any | the request as it came |
//! | `/metrics` | GET | `{"ReqReceived":[…],"RespSucceeded":[…],"RespFailed":[…]}` |
//! | `/metrics` | DELETE | clears the three lists |
//! | `/metrics` | other | 400 |
//!
//! It holds for requests over HTTP/1.1 without the field `x-smi-request-id` only; see [`server`](crate::server).
//!
//! A call carries the name of the workload that makes it in the field `ServiceName`. `/call` and `/echo` append the
//! caller's to `ReqReceived`, or `Unidentified`. A call that is answered with 2xx or 3xx is appended to
//! `RespSucceeded`, one with another status to `RespFailed`. A call without an answer gives 500 and is in neither
//! list: the contract says so, although it hides the denials of a mesh that resets connections. As in the original,
//! `/call` with another method or without a body does nothing and gives 200, a body is sent with POST, PUT and PATCH
//! only, and `Headers` is null where a call named none. Unlike the original, redirects are not followed and only
//! `http://` URLs are called.
//!
//! ```json
//! {"ReqReceived": ["productpage"],
//!  "RespSucceeded": [{"URL": "http://b:9091/echo", "Method": "GET", "Headers": {"h1": "v1"}}],
//!  "RespFailed": []}
//! ```
//!
//! Source: `service/main.go` of layer5io/learn-layer5.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::answer::Response;
use crate::exchange::{self, Failure};
use crate::http1::{self, RequestHead, Wire};
use crate::workload::Workload;

/// Entries of each list; the oldest make room.
pub const MAX_ENTRIES: usize = 4096;
/// Bytes of a caller's name in `ReqReceived`; one with a longer name is `Unidentified`.
pub const MAX_NAME_BYTES: usize = 256;
/// Bytes of the head of a request that `/call` makes, and so, nearly, of an entry.
pub const MAX_CALL_HEAD_BYTES: usize = 8 * 1024;
/// How long a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the response's body to a call.
pub const MAX_CALLED_BYTES: usize = 1024 * 1024;

/// Field that names the caller.
const SERVICE_NAME: &str = "ServiceName";

/// What the application has received and called.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Lists>);

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Lists {
    req_received: VecDeque<String>,
    resp_succeeded: VecDeque<Called>,
    resp_failed: VecDeque<Called>,
}

/// A call that was answered.
#[derive(Debug, Serialize)]
struct Called {
    #[serde(rename = "URL")]
    url: String,
    #[serde(rename = "Method")]
    method: String,
    #[serde(rename = "Headers")]
    headers: Option<BTreeMap<String, String>>,
}

/// A call to make.
#[derive(Debug, Deserialize)]
struct Call {
    url: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    body: String,
    headers: Option<BTreeMap<String, String>>,
}

/// Answers a request of the contract; any other is none of its business.
pub(crate) async fn answer(workload: &Workload, head: &RequestHead, body: &[u8]) -> Option<Response> {
    let path = head.target.split('?').next().unwrap_or_default();
    let record = workload.record();
    match (path, head.method.as_str()) {
        ("/call", method) => {
            record.received(head);
            if method != "POST" || body.is_empty() {
                return Some(Response::text(200, ""));
            }
            Some(call(workload, body).await)
        }
        ("/echo", _) => {
            record.received(head);
            Some(Response::bytes(200, [&head.raw, body].concat()))
        }
        ("/metrics", "GET") => Some(Response::json(&*record.lists())),
        ("/metrics", "DELETE") => {
            *record.lists() = Lists::default();
            Some(Response::text(200, ""))
        }
        ("/metrics", _) => Some(Response::text(400, "Method not defined")),
        _ => None,
    }
}

async fn call(workload: &Workload, body: &[u8]) -> Response {
    let Ok(call) = serde_json::from_slice::<Call>(body) else {
        return Response::text(400, "Error parsing body");
    };
    let Some((host, port, request)) = call.request(workload.identity().workload.as_str()) else {
        return Response::text(400, "Error creating request");
    };
    match exchange(&host, port, call.method(), &request).await {
        Ok((status, body)) => {
            workload.record().called(call, status);
            Response::bytes(200, body)
        }
        Err(_) => Response::text(500, "Error completing the request"),
    }
}

async fn exchange(host: &str, port: u16, method: &str, request: &[u8]) -> Result<(u16, Vec<u8>), Failure> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let addresses = exchange::resolve(host, port, None, deadline).await?;
    let mut wire = Wire::new(exchange::connect(&addresses, deadline).await?);
    let head = exchange::send(&mut wire, request, deadline).await?;
    let (body, _) = exchange::body(&mut wire, &head, method, MAX_CALLED_BYTES, deadline).await?;
    Ok((head.status, body))
}

impl Call {
    /// No method is GET, as in Go.
    fn method(&self) -> &str {
        if self.method.is_empty() { "GET" } else { &self.method }
    }

    /// Host, port and bytes of the request, if there can be one.
    fn request(&self, service_name: &str) -> Option<(String, u16, Vec<u8>)> {
        let Url { authority, host, port, target } = Url::parse(&self.url)?;
        let method = self.method();
        let fields = self.headers.iter().flatten();
        let sendable = |(name, value): (&String, &String)| http1::is_token(name) && http1::is_field_value(value);
        if !http1::is_token(method) || !http1::is_target(&target) || !fields.clone().all(sendable) {
            return None;
        }
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
        let own = |name: &str| ["host", "connection", "content-length", "transfer-encoding"].contains(&name);
        // Writing to a String cannot fail.
        for (name, value) in fields.filter(|(name, _)| !own(&name.to_ascii_lowercase())) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let mut body = "";
        if matches!(method, "POST" | "PUT" | "PATCH") {
            body = &self.body;
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        let _ = write!(text, "{SERVICE_NAME}: {service_name}\r\nConnection: close\r\n\r\n");
        if text.len() > MAX_CALL_HEAD_BYTES {
            return None;
        }
        text.push_str(body);
        Some((host.to_owned(), port, text.into_bytes()))
    }
}

/// The parts of an `http://` URL.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    authority: &'a str,
    host: &'a str,
    port: u16,
    target: String,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (_, rest) = url.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(in_host) {
            return None;
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Some(Self { authority, host, port, target })
    }
}

impl Record {
    fn received(&self, head: &RequestHead) {
        let name = head.fields.first(SERVICE_NAME).filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()));
        let name = name.unwrap_or("Unidentified");
        push(&mut self.lists().req_received, name.to_owned());
    }

    fn called(&self, call: Call, status: u16) {
        let called = Called { method: call.method().to_owned(), url: call.url, headers: call.headers };
        let mut lists = self.lists();
        let list = if (200..400).contains(&status) { &mut lists.resp_succeeded } else { &mut lists.resp_failed };
        push(list, called);
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() == MAX_ENTRIES {
        list.pop_front();
    }
    list.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, authority, host, port, target) in [
            ("http://b", "b", "b", 80, "/"),
            ("http://b:9091/echo", "b:9091", "b", 9091, "/echo"),
            (
                "HTTP://b.ns.svc.cluster.local.:9091//x?y=/z#f",
                "b.ns.svc.cluster.local.:9091",
                "b.ns.svc.cluster.local.",
                9091,
                "//x?y=/z",
            ),
            ("http://b?x", "b", "b", 80, "/?x"),
            ("http://[::1]:80/", "[::1]:80", "::1", 80, "/"),
            ("http://[::1]", "[::1]", "::1", 80, "/"),
        ] {
            assert_eq!(Url::parse(url), Some(Url { authority, host, port, target: target.to_owned() }), "{url}");
        }
        for url in ["", "b", "https://b", "://b", "http://", "http://:80", "http://b:x", "http://a@b", "http://a\r\nb"]
        {
            assert_eq!(Url::parse(url), None, "{url}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let mut list = VecDeque::new();
        (0..=MAX_ENTRIES).for_each(|entry| push(&mut list, entry));
        assert_eq!((list.len(), list.front()), (MAX_ENTRIES, Some(&1)));
    }

    #[test]
    fn a_call_cannot_smuggle_a_second_request() {
        let call = |json: &str| serde_json::from_str::<Call>(json).unwrap().request("a");
        assert!(call(r#"{"url":"http://b/ HTTP/1.1\r\n\r\nGET /"}"#).is_none());
        assert!(call(r#"{"url":"http://b/","method":"GET / HTTP/1.1\r\n"}"#).is_none());
        assert!(call(r#"{"url":"http://b/","headers":{"a":"b\r\nc: d"}}"#).is_none());
        let long = format!(r#"{{"url":"http://b/{}"}}"#, "x".repeat(MAX_CALL_HEAD_BYTES));
        assert!(call(&long).is_none());
        let (_, _, bytes) =
            call(r#"{"url":"http://b/","method":"PUT","body":"x","headers":{"Content-Length":"9"}}"#).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nServiceName: a\r\nConnection: close\r\n\r\nx",
        );
    }
}
