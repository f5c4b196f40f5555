//! One request over one connection, and the names of everything that can come of it instead of a response.
//!
//! | What happened | Outcome |
//! |---|---|
//! | the name has no address, or none in time | `name-error`; nothing was sent, so this is never a denial |
//! | connection refused | `refused` |
//! | reset, while connecting, sending or waiting | `reset` |
//! | no route, or forbidden by this machine's packet filter | `unreachable` |
//! | closed before a byte of response | `empty-reply` |
//! | bytes that are no head of an HTTP/1.1 response, or only half of one | `not-http` |
//! | no head in time | `timeout` |
//! | this machine's own fault: no descriptors, no ports, no such address family | none; the probe ends in an error |
//!
//! Nothing is ever sent twice, and no redirect is followed.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use smi_schemas::report::Unanswered;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::http1::{Length, ReadError, ResponseHead, Wire};

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
pub(crate) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<Wire<TcpStream>, Failure> {
    let mut first = None;
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is written at once, so this only saves a delay; without it nothing else is seen.
                let _ = stream.set_nodelay(true);
                return Ok(Wire::new(stream));
            }
            Ok(Err(error)) => {
                if matches!(first, None | Some(Failure::Local(_))) {
                    first = Some(error.into());
                }
            }
            Err(_) => return Err(first.unwrap_or(Failure::TIMEOUT)),
        }
    }
    Err(first.unwrap_or(Failure::TIMEOUT))
}

/// Sends a request and reads the head of the response that counts.
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
        Err(Failure::Unanswered(Unanswered::NotHttp))
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
    const TIMEOUT: Self = Self::Unanswered(Unanswered::Timeout);
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Unanswered(Unanswered::Refused),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Unanswered(Unanswered::Reset)
            }
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
            ReadError::Closed => Self::Unanswered(Unanswered::EmptyReply),
            ReadError::Io(error) => error.into(),
            ReadError::CutOff
            | ReadError::NotHttp(_)
            | ReadError::HeadTooLarge
            | ReadError::BodyTooLarge { .. }
            | ReadError::Framing => Self::Unanswered(Unanswered::NotHttp),
        }
    }
}
