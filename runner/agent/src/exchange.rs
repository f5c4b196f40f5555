//! One request over one connection, and the names of everything that can come of it instead of an answer.
//!
//! Whatever the protocol:
//!
//! | What happened | Outcome |
//! |---|---|
//! | the name has no address, or none in time | `name-error`; nothing was sent, so this is never a denial |
//! | no route, or forbidden by this machine's packet filter | `unreachable` |
//! | no answer in time | `timeout` |
//! | this machine's own fault: no descriptors, no ports, no such address family | none; the probe ends in an error |
//!
//! | What happened | `http` | `h2c` | `tcp` | `udp` |
//! |---|---|---|---|---|
//! | connection refused | `refused` | `refused` | `refused` | |
//! | ICMP says that nobody listens at the port | | | | `refused` |
//! | reset, while connecting, sending or waiting | `reset` | `reset` | `reset` | |
//! | closed before a byte of an answer | `empty-reply` | `empty-reply` | `empty-reply` | |
//! | a response of somebody else | `http-NNN` | `http-NNN` | | |
//! | other bytes than an answer, or only half of one | `not-http` | `not-http` | `foreign` | `foreign` |
//!
//! An answer begins with the head of an HTTP/1.1 response, with the HEADERS frame of the request's stream, or with the
//! first byte of a line. In HTTP/2 that leaves these:
//!
//! | What happened in HTTP/2, before the head of a response | Outcome |
//! |---|---|
//! | the first bytes are no SETTINGS frame, as when the peer speaks HTTP/1.1 | `not-http` |
//! | RST_STREAM, with any code | `reset` |
//! | GOAWAY with NO_ERROR that excludes the stream, or after which the connection is closed: an orderly end | `empty-reply` |
//! | GOAWAY with another code that excludes the stream, or after which the connection is closed | `reset` |
//! | closed between two frames, without GOAWAY | `empty-reply` |
//! | closed within a frame or within the fields of a head | `not-http` |
//! | frames or fields that break the protocol | `not-http` |
//! | no room for another stream, ever | `timeout` |
//!
//! A datagram that is a workload's answer to another request is a late or repeated one: it is passed over, and waiting
//! goes on. On a connection a workload's answer to another request is somebody else's: `http-200` over HTTP, `foreign`
//! over TCP.
//!
//! Nothing is ever sent twice, and no redirect is followed.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use smi_schemas::names::Slug;
use smi_schemas::report::Unanswered;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::http1::{Length, ReadError, ResponseHead, Wire};
use crate::id::RequestId;

/// Field that carries a request's id, in the request and in the answer to it.
pub const REQUEST_ID_FIELD: &str = "x-smi-request-id";
/// Field of an answer that carries the name of the workload that gave it.
pub const WORKLOAD_FIELD: &str = "x-smi-workload";
/// Field of a request that asks for an answer which is a failure.
pub const STATUS_FIELD: &str = "x-smi-status";

/// Informational responses (1xx) that may come before the one that counts.
const MAX_INFORMATIONAL: usize = 8;

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An observation.
    Unanswered(Unanswered),
    /// Nothing was observed: the fault is this machine's.
    Local(io::Error),
}

/// A protocol, as a client speaks it.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// What can carry another request.
    type Kept: Send;

    /// Sends one request, over what was `kept` or something new, and leaves there what can be used again. Tells the
    /// workload that answered.
    fn ask(
        &self,
        id: RequestId,
        kept: &mut Option<Self::Kept>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> impl Future<Output = Result<Slug, Failure>> + Send;
}

/// The addresses of a host, the preferred one first.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    address: Option<IpAddr>,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(address) = address {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unresolved = || Failure::Unanswered(Unanswered::NameError);
    let found = timeout_at(deadline, tokio::net::lookup_host((host, port))).await.map_err(|_| unresolved())?;
    let addresses: Vec<_> = found.map_err(|_| unresolved())?.collect();
    if addresses.is_empty() { Err(unresolved()) } else { Ok(addresses) }
}

/// Connects to the first address that accepts. If none does, the preferred address's outcome is told, unless it could
/// not be tried from this machine and another one could.
pub(crate) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut first = None;
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is written at once, so this only saves a delay; without it nothing else is seen.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => first = preferred(first, error),
            Err(_) => return Err(first.unwrap_or(Failure::TIMEOUT)),
        }
    }
    Err(first.unwrap_or(Failure::TIMEOUT))
}

/// What is told of several addresses, of which the next one could not be used either.
pub(crate) fn preferred(first: Option<Failure>, next: io::Error) -> Option<Failure> {
    if matches!(first, None | Some(Failure::Local(_))) { Some(next.into()) } else { first }
}

/// The status that an answer has, by the field [`STATUS_FIELD`] of its request: a 5xx that it asks for, else 200.
pub(crate) fn wanted(field: Option<&str>) -> u16 {
    field.and_then(|value| value.parse().ok()).filter(|status| (500..=599).contains(status)).unwrap_or(200)
}

/// The workload that gave a response with this status and these fields, if it is its answer to the request `id`.
pub(crate) fn author(
    (status, wanted): (u16, u16),
    echoed: Option<&str>,
    workload: Option<&str>,
    id: RequestId,
) -> Result<Slug, Failure> {
    let echoed = echoed.is_some_and(|echoed| echoed.parse() == Ok(id));
    let workload = workload.and_then(|name| name.parse().ok());
    workload.filter(|_| status == wanted && echoed).ok_or(Failure::Unanswered(Unanswered::Http(status)))
}

/// Sends a request over HTTP/1.1 and reads the head of the response that counts.
pub(crate) async fn send(
    wire: &mut Wire<TcpStream>,
    request: &[u8],
    deadline: Instant,
) -> Result<ResponseHead, Failure> {
    let exchange = async {
        // A peer may answer and close without reading. What it said counts; only if it said nothing does it matter
        // that sending failed.
        let sent = wire.stream().write_all(request).await;
        for _ in 0..=MAX_INFORMATIONAL {
            let head: ResponseHead = match wire.head().await {
                Err(ReadError::Closed) => {
                    sent?;
                    return Err(ReadError::Closed.into());
                }
                head => head?,
            };
            if head.status == 101 || head.status >= 200 {
                return Ok(head);
            }
        }
        Err(Failure::NOT_HTTP)
    };
    timeout_at(deadline, exchange).await.unwrap_or(Err(Failure::TIMEOUT))
}

/// Reads the body that follows `head`. `Ok` also says whether the connection can carry another request.
pub(crate) async fn body(
    wire: &mut Wire<TcpStream>,
    head: &ResponseHead,
    method: &str,
    limit: usize,
    deadline: Instant,
) -> Result<(Vec<u8>, bool), Failure> {
    let length = head.length(method)?;
    let body = timeout_at(deadline, wire.body(length, limit)).await.map_err(|_| Failure::TIMEOUT)??;
    Ok((body, head.keeps_alive() && length != Length::UntilClose))
}

impl Failure {
    pub(crate) const TIMEOUT: Self = Self::Unanswered(Unanswered::Timeout);
    pub(crate) const FOREIGN: Self = Self::Unanswered(Unanswered::Foreign);
    pub(crate) const NOT_HTTP: Self = Self::Unanswered(Unanswered::NotHttp);
    pub(crate) const EMPTY_REPLY: Self = Self::Unanswered(Unanswered::EmptyReply);
    pub(crate) const RESET: Self = Self::Unanswered(Unanswered::Reset);
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Unanswered(Unanswered::Refused),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::RESET,
            ErrorKind::TimedOut => Self::TIMEOUT,
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::PermissionDenied => Self::Unanswered(Unanswered::Unreachable),
            _ => Self::Local(error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::EMPTY_REPLY,
            ReadError::Io(error) => error.into(),
            ReadError::CutOff
            | ReadError::NotHttp(_)
            | ReadError::HeadTooLarge
            | ReadError::BodyTooLarge { .. }
            | ReadError::Framing => Self::NOT_HTTP,
        }
    }
}
