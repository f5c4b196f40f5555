//! The client: sends a batch of requests and says of each who answered it, or what was seen instead.
//!
//! A *probe* is `count` equal requests, each with an id of its own, over one of four protocols. A request is
//! **answered by W** over HTTP only if the response has status 200, or the 5xx that the request asks for in
//! `x-smi-status`, repeats the request's id in `x-smi-request-id` and names W in `x-smi-workload`; any other response
//! is somebody else's, and counted by its status. Over TCP and UDP it is answered by W if the [line](crate::line) that
//! comes back repeats the id and names W. What else can be seen is listed in [`Unanswered`]; a name that does not
//! resolve in time is a `name-error`, never a `timeout`, because nothing was sent. The ids of all unanswered requests
//! are returned, so that they can be looked up in the logs of the workloads that might have received them.
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
//! With `"protocol": "h2c"` the same request begins with the fields `:method: GET`, `:scheme: http`, `:authority:
//! server.main.svc.cluster.local:8080` and `:path: /a/../b` instead of the first two lines. Each request has an HTTP/2
//! connection of its own, or one stream follows another on the lane's connection.
//!
//! With `"protocol": "tcp"` or `"udp"` it is a line, and the probe has neither `path` nor `headers`. Each request has a
//! TCP connection or a UDP port of its own, or one follows another over the lane's.
//!
//! Worked example, a probe and its result as they are written in JSON:
//!
//! ```
//! use smi_agent::{Connection, Probe, ProbeResult};
//! use smi_schemas::suite::Protocol;
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
//!
//! let probe: Probe = serde_json::from_str(r#"{
//!   "protocol": "udp", "count": 20, "host": "server.main.svc.cluster.local", "port": 8080, "timeoutMs": 2000, "seed": 7
//! }"#).unwrap();
//! assert_eq!((probe.protocol, probe.path.as_str()), (Protocol::Udp, ""));
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smi_schemas::names::Slug;
use smi_schemas::report::{Tally, Unanswered};
use smi_schemas::smi::Method;
use smi_schemas::suite::Protocol;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::exchange::{self, Carrier, Failure};
use crate::http1::Http1;
use crate::http2::H2c;
use crate::id::{Batch, RequestId};
use crate::line::{TcpLine, UdpLine};
use crate::request;

pub use crate::exchange::{REQUEST_ID_FIELD, STATUS_FIELD, WORKLOAD_FIELD};

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

/// A batch of equal requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// How the requests are carried.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Requests to send, 1 to [`MAX_COUNT`].
    pub count: u32,
    /// Requests under way at once, 1 to [`MAX_CONCURRENCY`].
    #[serde(default = "one")]
    pub concurrency: u32,
    /// Name or address of the destination, as the `Host` field or `:authority` shows it.
    pub host: String,
    /// Port of the destination.
    pub port: u16,
    /// Where to connect instead of resolving `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Method, never `*`; over `tcp` and `udp` always GET, and not sent.
    #[serde(default = "get")]
    pub method: Method,
    /// Request target, sent byte for byte; over `tcp` and `udp` there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Fields to add; over `tcp` and `udp` there are none.
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
    /// A method that HTTP/2 sends without a path.
    #[error("HTTP/2 sends CONNECT without a path, so it cannot be probed over h2c")]
    H2cMethod,
    /// A target that the `h2` library would change or refuse.
    #[error("path cannot be sent as it stands over h2c, only over http: {0:?}")]
    H2cPath(String),
    /// A field that HTTP/2 does not have.
    #[error("header {0:?} has no place in HTTP/2")]
    H2cHeader(String),
    /// Something that a line has no room for.
    #[error("a probe over tcp or udp has no {0}")]
    Line(&'static str),
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

impl Probe {
    /// The status that answers to its requests have.
    pub(crate) fn wanted(&self) -> u16 {
        let named = |(name, _): &(&String, &String)| name.eq_ignore_ascii_case(STATUS_FIELD);
        exchange::wanted(self.headers.iter().find(named).map(|(_, value)| value.as_str()))
    }
}

/// Sends the requests of `probe` and waits for what comes of them.
///
/// Dropping the future stops it at once. It takes at most one timeout for the name and one for each request of a lane.
pub async fn probe(probe: &Probe) -> Result<ProbeResult, ProbeError> {
    request::check(probe)?;
    match probe.protocol {
        Protocol::Http => send(probe, Http1::of(probe)?).await,
        Protocol::H2c => send(probe, H2c::of(probe)?).await,
        Protocol::Tcp => send(probe, TcpLine).await,
        Protocol::Udp => send(probe, UdpLine).await,
    }
}

async fn send<C: Carrier>(probe: &Probe, carrier: C) -> Result<ProbeResult, ProbeError> {
    let started = Instant::now();
    let timeout = Duration::from_millis(probe.timeout_ms);
    let ids = Batch::take(probe.seed, probe.count);
    let mut sent = match exchange::resolve(&probe.host, probe.port, probe.address, started + timeout).await {
        Ok(addresses) => {
            let (count, connection) = (probe.count, probe.connection);
            let run = Run { carrier, connection, ids, addresses, timeout, count, next: AtomicU32::new(0) };
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
struct Run<C> {
    carrier: C,
    connection: Connection,
    ids: Batch,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
    count: u32,
    /// Index of the next request that no lane has taken.
    next: AtomicU32,
}

impl<C: Carrier> Run<C> {
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
            let asked = self.carrier.ask(id, &mut kept, &self.addresses, Instant::now() + self.timeout).await;
            let outcome = match asked {
                Ok(workload) => Ok(workload),
                Err(Failure::Unanswered(outcome)) => Err(outcome),
                Err(Failure::Local(error)) => return Err(error),
            };
            sent.push(Sent { index, id, outcome });
            if self.connection == Connection::Fresh {
                kept = None;
            }
        }
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

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
