//! The client: sends a batch of requests and says of each who answered it, or what was seen instead.
//!
//! A *probe* is `count` equal requests, each with an id of its own. A request is **answered by W** only if the
//! response has status 200, repeats the request's id in `x-smi-request-id` and names W in `x-smi-workload`; any other
//! response is somebody else's, and counted by its status. What else can be seen is listed in
//! [`Unanswered`]; a name that does not resolve in time is a `name-error`, never a
//! `timeout`, because nothing was sent. The ids of all unanswered requests are returned, so that they can be looked
//! up in the logs of the workloads that might have received them.
//!
//! A request is sent as it stands, once: the target byte for byte, no cleaning, no retry, no redirect. This is what is
//! sent for the probe below (`Host` leaves out port 80, and brackets an IPv6 address):
//!
//! ```text
//! GET /a/../b HTTP/1.1
//! Host: server.main.svc.cluster.local:8080
//! x-team: blue
//! x-smi-request-id: 4ff190b4c2c573ec999d8db75f206447
//! Connection: close
//! ```
//!
//! With `"connection": "reuse"` the last line is left out and each of the `concurrency` lanes keeps its connection for
//! as long as the other side does. The name is resolved once for a probe.
//!
//! Worked example, a probe and its result as they are written in JSON:
//!
//! ```
//! use smi_agent::{Connection, Probe, ProbeResult};
//!
//! let probe: Probe = serde_json::from_str(r#"{
//!   "count": 20, "concurrency": 4,
//!   "host": "server.main.svc.cluster.local", "port": 8080,
//!   "method": "GET", "path": "/a/../b", "headers": {"x-team": "blue"},
//!   "timeoutMs": 2000, "seed": 7
//! }"#).unwrap();
//! assert_eq!((probe.address, probe.connection), (None, Connection::Fresh));
//!
//! let result: ProbeResult = serde_json::from_str(r#"{
//!   "tally": {"sent": 20, "answered": {"server": 19}, "unanswered": {"reset": 1}},
//!   "unansweredIds": ["4ff190b4c2c573ec999d8db75f206447"],
//!   "elapsedMs": 31
//! }"#).unwrap();
//! assert_eq!((result.tally.answers(), result.tally.non_answers()), (19, 1));
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smi_schemas::names::Slug;
use smi_schemas::report::{Tally, Unanswered};
use smi_schemas::smi::Method;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::exchange::{self, Failure};
use crate::http1::{self, ResponseHead, Wire};
use crate::id::{Batch, RequestId};

/// Field that carries a request's id, in the request and in the answer to it.
pub const REQUEST_ID_FIELD: &str = "x-smi-request-id";
/// Field of an answer that carries the name of the workload that gave it.
pub const WORKLOAD_FIELD: &str = "x-smi-workload";

/// Requests of one probe. The ids of all of them fit into one line of the control protocol.
pub const MAX_COUNT: u32 = 10_000;
/// Requests of one probe under way at once.
pub const MAX_CONCURRENCY: u32 = 64;
/// Milliseconds that one request may take.
pub const MAX_TIMEOUT_MS: u64 = 60_000;
/// Fields that a probe may add to its requests; proxies refuse more than 100 in all.
pub const MAX_REQUEST_FIELDS: usize = 64;
/// Bytes of one request, half of what a workload accepts, so that proxies have room for fields of their own.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Bytes of a response's body that are read before the connection is given up. An answer has a few hundred.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Fields that the agent writes itself, and that would change where a request ends or who it is for.
const OWN_FIELDS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", REQUEST_ID_FIELD];

/// A batch of equal requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Requests to send, 1 to [`MAX_COUNT`].
    pub count: u32,
    /// Requests under way at once, 1 to [`MAX_CONCURRENCY`].
    #[serde(default = "one")]
    pub concurrency: u32,
    /// Name or address of the destination, as the `Host` field shows it.
    pub host: String,
    /// Port of the destination.
    pub port: u16,
    /// Where to connect instead of resolving `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Method, never `*`.
    #[serde(default = "get")]
    pub method: Method,
    /// Request target, sent byte for byte.
    pub path: String,
    /// Fields to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Milliseconds from connecting to the head of the response, 1 to [`MAX_TIMEOUT_MS`].
    pub timeout_ms: u64,
    /// A connection for every request, or for every lane.
    #[serde(default)]
    pub connection: Connection,
    /// Seed of the requests' ids; one that no other agent process was given.
    pub seed: u64,
}

/// How connections are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// Every request has its own.
    #[default]
    Fresh,
    /// A request follows another as long as the other side keeps the connection.
    Reuse,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeResult {
    /// The requests, counted. Its `logged` is 0: only the destinations know.
    pub tally: Tally,
    /// Ids of the unanswered requests, all of them, in the order in which they were sent.
    pub unanswered_ids: Vec<RequestId>,
    /// From the look-up of the name to the last response, in whole milliseconds.
    pub elapsed_ms: u64,
}

/// Why a probe gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Too few requests, or too many.
    #[error("count must be 1 to {MAX_COUNT}, not {0}")]
    Count(u32),
    /// Too few at once, or too many.
    #[error("concurrency must be 1 to {MAX_CONCURRENCY}, not {0}")]
    Concurrency(u32),
    /// No time, or too much.
    #[error("timeoutMs must be 1 to {MAX_TIMEOUT_MS}, not {0}")]
    Timeout(u64),
    /// A host that no `Host` field can hold.
    #[error("host must be a name or an address, not {0:?}")]
    Host(String),
    /// Port 0, where nobody listens.
    #[error("port must be 1 to 65535")]
    Port,
    /// `*` stands for all methods and can not be sent.
    #[error("the method of a request is never `*`")]
    AnyMethod,
    /// A target that would end the request line early.
    #[error("path must not be empty or hold a space or control character: {0:?}")]
    Path(String),
    /// A field that is not one, or that the agent writes itself.
    #[error("header {0:?} is not a field name and value, or is written by the agent itself")]
    Header(String),
    /// Too many fields.
    #[error("a probe adds at most {MAX_REQUEST_FIELDS} headers, not {0}")]
    Headers(usize),
    /// Too many bytes.
    #[error("a request has at most {MAX_REQUEST_BYTES} bytes, not {0}")]
    TooLarge(usize),
    /// This machine could not send; nothing was observed.
    #[error("this machine could not send the requests: {0}")]
    Local(#[source] io::Error),
}

/// Sends the requests of `probe` and waits for what comes of them.
///
/// Dropping the future stops it at once. It takes at most one timeout for the name and one for each request of a lane.
pub async fn probe(probe: &Probe) -> Result<ProbeResult, ProbeError> {
    let started = Instant::now();
    let timeout = Duration::from_millis(probe.timeout_ms);
    let template = Template::of(probe)?;
    let ids = Batch::take(probe.seed, probe.count);
    let mut sent = match exchange::resolve(&probe.host, probe.port, probe.address, started + timeout).await {
        Ok(addresses) => {
            let run = Run { template, ids, addresses, timeout, count: probe.count, next: AtomicU32::new(0) };
            run.lanes(probe.concurrency).await?
        }
        Err(Failure::Unanswered(outcome)) => {
            (0..probe.count).map(|index| Sent { index, id: ids.id(index), outcome: Err(outcome) }).collect()
        }
        Err(Failure::Local(error)) => return Err(ProbeError::Local(error)),
    };
    // Lanes end in any order; a result has one.
    sent.sort_unstable_by_key(|request| request.index);
    Ok(ProbeResult::of(sent, started.elapsed()))
}

/// One request and what came of it.
struct Sent {
    index: u32,
    id: RequestId,
    outcome: Result<Slug, Unanswered>,
}

/// A probe under way, shared by its lanes.
struct Run {
    template: Template,
    ids: Batch,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
    count: u32,
    /// Index of the next request that no lane has taken.
    next: AtomicU32,
}

impl Run {
    async fn lanes(self, concurrency: u32) -> Result<Vec<Sent>, ProbeError> {
        let run = Arc::new(self);
        let lanes: JoinSet<_> = (0..concurrency.min(run.count)).map(|_| Arc::clone(&run).lane()).collect();
        let mut sent = Vec::new();
        for lane in lanes.join_all().await {
            sent.append(&mut lane.map_err(ProbeError::Local)?);
        }
        Ok(sent)
    }

    async fn lane(self: Arc<Self>) -> io::Result<Vec<Sent>> {
        let mut sent = Vec::new();
        let mut kept = None;
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return Ok(sent);
            }
            let id = self.ids.id(index);
            let outcome = match self.request(id, &mut kept).await {
                Ok(workload) => Ok(workload),
                Err(Failure::Unanswered(outcome)) => Err(outcome),
                Err(Failure::Local(error)) => return Err(error),
            };
            sent.push(Sent { index, id, outcome });
        }
    }

    /// Sends one request, on the connection that was `kept` or on a new one, and leaves there what can be used again.
    async fn request(&self, id: RequestId, kept: &mut Option<Wire<TcpStream>>) -> Result<Slug, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => exchange::connect(&self.addresses, deadline).await?,
        };
        let head = exchange::send(&mut wire, &self.template.with(id), deadline).await?;
        // The head decides. The body is read so that nobody sees the connection break off, and for the next request.
        let body = exchange::body(&mut wire, &head, self.template.method, MAX_RESPONSE_BYTES, deadline).await;
        if let Ok((_, true)) = body
            && self.template.connection == Connection::Reuse
        {
            *kept = Some(wire);
        }
        author(&head, id).ok_or(Failure::Unanswered(Unanswered::Http(head.status)))
    }
}

/// The workload that gave this answer to the request `id`, if it is one.
fn author(head: &ResponseHead, id: RequestId) -> Option<Slug> {
    let echoed = head.fields.first(REQUEST_ID_FIELD)?.parse() == Ok(id);
    if head.status == 200 && echoed { head.fields.first(WORKLOAD_FIELD)?.parse().ok() } else { None }
}

/// The bytes of a probe's requests, which differ in their ids only.
struct Template {
    method: &'static str,
    connection: Connection,
    before_id: String,
    after_id: &'static str,
}

impl Template {
    fn of(probe: &Probe) -> Result<Self, ProbeError> {
        let method = check(probe)?;
        let mut before_id = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", probe.path, host_field(probe));
        for (name, value) in &probe.headers {
            // Writing to a String cannot fail.
            let _ = write!(before_id, "{name}: {value}\r\n");
        }
        if matches!(probe.method, Method::Post | Method::Put | Method::Patch) {
            before_id.push_str("Content-Length: 0\r\n");
        }
        before_id.push_str(REQUEST_ID_FIELD);
        before_id.push_str(": ");
        let after_id = match probe.connection {
            Connection::Fresh => "\r\nConnection: close\r\n\r\n",
            Connection::Reuse => "\r\n\r\n",
        };
        let template = Self { method, connection: probe.connection, before_id, after_id };
        let bytes = template.with(RequestId::derive(0, 0)).len();
        if bytes > MAX_REQUEST_BYTES { Err(ProbeError::TooLarge(bytes)) } else { Ok(template) }
    }

    fn with(&self, id: RequestId) -> Vec<u8> {
        format!("{}{id}{}", self.before_id, self.after_id).into_bytes()
    }
}

/// Everything that must hold before the request's bytes are put together; its method.
fn check(probe: &Probe) -> Result<&'static str, ProbeError> {
    if !(1..=MAX_COUNT).contains(&probe.count) {
        return Err(ProbeError::Count(probe.count));
    }
    if !(1..=MAX_CONCURRENCY).contains(&probe.concurrency) {
        return Err(ProbeError::Concurrency(probe.concurrency));
    }
    if !(1..=MAX_TIMEOUT_MS).contains(&probe.timeout_ms) {
        return Err(ProbeError::Timeout(probe.timeout_ms));
    }
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if probe.host.is_empty() || !probe.host.bytes().all(in_host) {
        return Err(ProbeError::Host(probe.host.clone()));
    }
    if probe.port == 0 {
        return Err(ProbeError::Port);
    }
    if !http1::is_target(&probe.path) {
        return Err(ProbeError::Path(probe.path.clone()));
    }
    if probe.headers.len() > MAX_REQUEST_FIELDS {
        return Err(ProbeError::Headers(probe.headers.len()));
    }
    let own = |name: &str| OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
    for (name, value) in &probe.headers {
        if own(name) || !http1::is_token(name) || !http1::is_field_value(value) {
            return Err(ProbeError::Header(name.clone()));
        }
    }
    method_token(probe.method).ok_or(ProbeError::AnyMethod)
}

/// `host:port`; the port is left out if it is 80, and an IPv6 address stands in brackets.
fn host_field(probe: &Probe) -> String {
    let host = if probe.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", probe.host) } else { probe.host.clone() };
    if probe.port == 80 { host } else { format!("{host}:{}", probe.port) }
}

fn method_token(method: Method) -> Option<&'static str> {
    match method {
        Method::Any => None,
        Method::Get => Some("GET"),
        Method::Head => Some("HEAD"),
        Method::Put => Some("PUT"),
        Method::Post => Some("POST"),
        Method::Delete => Some("DELETE"),
        Method::Connect => Some("CONNECT"),
        Method::Options => Some("OPTIONS"),
        Method::Trace => Some("TRACE"),
        Method::Patch => Some("PATCH"),
    }
}

impl ProbeResult {
    fn of(sent: Vec<Sent>, elapsed: Duration) -> Self {
        let mut tally = Tally::default();
        let mut unanswered_ids = Vec::new();
        for request in sent {
            tally.sent += 1;
            match request.outcome {
                Ok(workload) => *tally.answered.entry(workload).or_default() += 1,
                Err(outcome) => {
                    *tally.unanswered.entry(outcome).or_default() += 1;
                    unanswered_ids.push(request.id);
                }
            }
        }
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Self { tally, unanswered_ids, elapsed_ms }
    }
}

fn one() -> u32 {
    1
}

fn get() -> Method {
    Method::Get
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Probe {
        Probe {
            count: 1,
            concurrency: 1,
            host: "server".to_owned(),
            port: 8080,
            address: None,
            method: Method::Get,
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            timeout_ms: 1000,
            connection: Connection::Fresh,
            seed: 7,
        }
    }

    fn text(probe: &Probe) -> String {
        String::from_utf8(Template::of(probe).unwrap().with(RequestId::derive(7, 1))).unwrap()
    }

    #[test]
    fn a_request_is_what_the_specification_shows() {
        let probe = Probe {
            host: "server.main.svc.cluster.local".to_owned(),
            path: "/a/../b".to_owned(),
            headers: BTreeMap::from([("x-team".to_owned(), "blue".to_owned())]),
            ..example()
        };
        let specification =
            include_str!("client.rs").split("//! ```text").nth(1).and_then(|rest| rest.split("```").next());
        let shown: Vec<_> = specification.unwrap().lines().filter_map(|line| line.strip_prefix("//! ")).collect();
        let shown = shown.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n"));
        assert_eq!(text(&probe), shown.collect::<String>() + "\r\n");
    }

    #[test]
    fn a_body_is_announced_where_one_is_usual() {
        for (method, announced) in
            [(Method::Post, true), (Method::Put, true), (Method::Get, false), (Method::Trace, false)]
        {
            let probe = Probe { method, connection: Connection::Reuse, ..example() };
            assert_eq!(text(&probe).contains("Content-Length: 0\r\n"), announced, "{method:?}");
            assert!(!text(&probe).contains("Connection"), "{method:?}");
        }
    }

    #[test]
    fn the_host_field_leaves_out_port_80_only() {
        for (host, port, field) in [
            ("server", 80, "server"),
            ("server", 8080, "server:8080"),
            ("server.", 443, "server.:443"),
            ("10.0.0.1", 80, "10.0.0.1"),
            ("::1", 80, "[::1]"),
            ("::1", 8080, "[::1]:8080"),
        ] {
            assert_eq!(host_field(&Probe { host: host.to_owned(), port, ..example() }), field);
        }
    }

    #[test]
    fn what_cannot_be_sent_as_it_stands_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_REQUEST_BYTES));
        let probes = [
            ("count must be", Probe { count: 0, ..example() }),
            ("count must be", Probe { count: MAX_COUNT + 1, ..example() }),
            ("concurrency must be", Probe { concurrency: 0, ..example() }),
            ("concurrency must be", Probe { concurrency: MAX_CONCURRENCY + 1, ..example() }),
            ("timeoutMs must be", Probe { timeout_ms: 0, ..example() }),
            ("timeoutMs must be", Probe { timeout_ms: MAX_TIMEOUT_MS + 1, ..example() }),
            ("host must be", Probe { host: String::new(), ..example() }),
            ("host must be", Probe { host: "a\r\nb: c".to_owned(), ..example() }),
            ("port must be", Probe { port: 0, ..example() }),
            ("the method", Probe { method: Method::Any, ..example() }),
            ("path must", Probe { path: String::new(), ..example() }),
            ("path must", Probe { path: "/ HTTP/1.1\r\n".to_owned(), ..example() }),
            ("a request has at most", Probe { path: long, ..example() }),
            ("header", with_headers([("x y".to_owned(), "")])),
            ("header", with_headers([("x".to_owned(), "a\nb")])),
            ("header", with_headers([("X-Smi-Request-Id".to_owned(), "a")])),
            ("header", with_headers([("HOST".to_owned(), "a")])),
            ("a probe adds at most", with_headers((0..=MAX_REQUEST_FIELDS).map(|number| (number.to_string(), "")))),
        ];
        for (reason, probe) in probes {
            let refused = Template::of(&probe).err().map(|error| error.to_string());
            assert!(refused.as_ref().is_some_and(|text| text.starts_with(reason)), "{reason}: {refused:?}");
        }
    }

    fn with_headers(headers: impl IntoIterator<Item = (String, &'static str)>) -> Probe {
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Probe { headers, ..example() }
    }
}
