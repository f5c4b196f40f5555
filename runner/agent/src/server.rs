//! The server: answers every request with who it is and what it was asked, and keeps a log of the requests' ids.
//!
//! On one port it answers HTTP/1.1 and, where a connection begins with the preface of HTTP/2, that. Lines over TCP and
//! UDP have [servers](crate::line) of their own.
//!
//! Whatever the method and the path, the answer is 200, or the 5xx that the request asks for in `x-smi-status`, with
//! the workload's identity and the request as it came: the target byte for byte, the fields in their order (a byte
//! that is no UTF-8 shows as U+FFFD). The id and the name stand in the head as well, because an answer to HEAD has no
//! body and one to CONNECT may have none.
//!
//! ```text
//! GET //a/../b HTTP/1.1                                   HTTP/1.1 200 OK
//! host: server:8080                                       content-type: application/json
//! x-smi-request-id: 4ff190b4c2c573ec999d8db75f206447      x-smi-workload: server
//!                                                         x-smi-request-id: 4ff190b4c2c573ec999d8db75f206447
//!                                                         content-length: …
//!
//! {"workload":"server","agent":"0.1.0","request":{"id":"4ff190b4c2c573ec999d8db75f206447",
//!  "method":"GET","target":"//a/../b","headers":[["host","server:8080"],["x-smi-request-id","4ff1…"]]}}
//! ```
//!
//! Over HTTP/2 the same request is answered with the same fields and body, in which `:authority` is the first header.
//!
//! The id is in the [log](crate::RequestLog) before the first byte of the answer is written, and even if the rest of
//! the request never arrives. A request over HTTP/1.1 **without** the field `x-smi-request-id` whose path is `/call`,
//! `/echo` or `/metrics` is answered as the sample application of Learn Layer5 would ([`layer5`]); with the field it is
//! a probe's and answered like any other, so that assertions may use these paths. Only a build with the feature
//! `traffic`, which tests no mesh, also answers `/traffic`, with what the workload's own probes came to.
//!
//! Other statuses mean that the request could not be read: 400 not HTTP/1.1, 408 too slow, 413 body too
//! large, 431 head too large. In HTTP/1.1 the connection ends with them, in HTTP/2 the stream. What breaks HTTP/2 is
//! answered as the protocol demands, with RST_STREAM or GOAWAY, and has not been logged.
//!
//! Worked example:
//!
//! ```
//! use std::sync::Arc;
//! use smi_agent::{Workload, probe, serve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let port = listener.local_addr()?.port();
//! let workload = Arc::new(Workload::new("server".parse()?));
//! tokio::spawn(serve(listener, Arc::clone(&workload), std::future::pending()));
//!
//! let asked = serde_json::json!({
//!     "count": 3, "host": "127.0.0.1", "port": port, "path": "//a/../b", "timeoutMs": 5000, "seed": 7,
//! });
//! let result = probe(&serde_json::from_value(asked)?).await?;
//! assert_eq!(result.tally.answered, [("server".parse()?, 3)].into());
//! # Ok(()) }) }
//! ```

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answer::{Asked, Response};
use crate::client::REQUEST_ID_FIELD;
use crate::http1::{ReadError, RequestHead, Wire};
use crate::http2;
use crate::id::RequestId;
use crate::layer5;
use crate::workload::Workload;

/// Connections of one listener; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 4096;
/// Requests under way at once on an HTTP/2 connection, on which a proxy may send all of its clients' requests.
pub const MAX_STREAMS: u32 = 128;
/// Bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How long a connection may be idle. Longer than proxies keep idle connections (Envoy: an hour), so that the agent
/// never closes one that a proxy is about to use, which would look like the mesh's reset.
pub const IDLE_TIMEOUT: Duration = Duration::from_hours(2);
/// How long a request may take to arrive after its first byte.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to accept its answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refused client may go on sending before it is cut off.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, for want of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `workload` at `listener` until `shutdown` is ready; then every connection is dropped.
///
/// Dropping the future does the same.
pub async fn serve(listener: TcpListener, workload: Arc<Workload>, shutdown: impl Future<Output = ()>) {
    accept(listener, shutdown, |stream| connection(stream, Arc::clone(&workload))).await;
}

/// Has a conversation with everybody who connects, at most [`MAX_CONNECTIONS`] of them at once.
pub(crate) async fn accept<C>(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    converse: impl Fn(TcpStream) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    // An answer is written at once, so this only saves a delay; without it the answer is as good.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(converse(stream));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Finds out which version a client speaks, and answers it in the same.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, workload: Arc<Workload>) {
    let mut wire = Wire::new(stream);
    if !matches!(timeout(IDLE_TIMEOUT, wire.begins()).await, Ok(Ok(true))) {
        return;
    }
    // A client that is too slow to tell is none of HTTP/2's.
    if let Ok(Ok(true)) = timeout(READ_TIMEOUT, wire.begins_with(http2::PREFACE)).await {
        http2::converse(wire, workload).await;
    } else {
        converse(wire, &workload).await;
    }
}

/// Answers the requests of one connection in HTTP/1.1, one after the other.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>, workload: &Workload) {
    while let Ok(Ok(true)) = timeout(IDLE_TIMEOUT, wire.begins()).await {
        let (bytes, keep) = match timeout(READ_TIMEOUT, receive(&mut wire, workload)).await {
            Ok(Ok(request)) => {
                let response = answer(workload, &request).await;
                // After a 2xx to CONNECT the connection would be a tunnel.
                let keep = request.head.keeps_alive() && request.head.method != "CONNECT";
                (response.encode(&request.head.method, keep), keep)
            }
            Ok(Err(ReadError::Closed | ReadError::CutOff | ReadError::Io(_))) => return,
            Ok(Err(error)) => return refuse(wire, &Response::refusal(&error)).await,
            Err(_) => return refuse(wire, &Response::too_slow()).await,
        };
        if !matches!(timeout(WRITE_TIMEOUT, wire.stream().write_all(&bytes)).await, Ok(Ok(()))) || !keep {
            return;
        }
    }
}

/// Answers what could not be read. Closing with unread bytes would reset the connection and might take the answer
/// with it, so the client is given a moment to stop.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>, response: &Response) {
    let bytes = response.encode("GET", false);
    let farewell = async {
        let stream = wire.stream();
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_BODY_BYTES as u64), &mut tokio::io::sink()).await
    };
    // Whoever does not listen has nothing more to be told.
    let _ = timeout(LINGER, farewell).await;
}

/// A request that arrived as a whole.
struct Request {
    head: RequestHead,
    body: Vec<u8>,
    id: Option<RequestId>,
}

/// Reads a request. Its id is in the log as soon as the head is read.
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    workload: &Workload,
) -> Result<Request, ReadError> {
    let head: RequestHead = wire.head().await?;
    let id = head.fields.first(REQUEST_ID_FIELD).and_then(|text| text.parse().ok());
    if let Some(id) = id {
        workload.log().record(id);
    }
    let length = head.length()?;
    if head.expects_continue() {
        wire.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = wire.body(length, MAX_BODY_BYTES).await?;
    Ok(Request { head, body, id })
}

async fn answer(workload: &Workload, request: &Request) -> Response {
    let head = &request.head;
    if !head.fields.contains(REQUEST_ID_FIELD) {
        #[cfg(feature = "traffic")]
        if head.method == "GET" && head.target == "/traffic" {
            return Response::json(&workload.traffic().counts());
        }
        if let Some(response) = layer5::answer(workload, head, &request.body).await {
            return response;
        }
    }
    let headers = head.fields.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
    Response::to(workload, Asked { id: request.id, method: &head.method, target: &head.target, headers })
}

impl Response {
    fn encode(&self, method: &str, keep_alive: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            408 => "Request Timeout",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        // Writing to a String cannot fail.
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !keep_alive {
            head.push_str("connection: close\r\n");
        }
        // RFC 9110, 9.3.6: a successful answer to CONNECT says no length and has no body.
        if method != "CONNECT" {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if method != "CONNECT" && method != "HEAD" {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client is told that sends `bytes` and then waits. Time passes only while nobody has anything to do.
    async fn told(bytes: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(4 * MAX_BODY_BYTES);
        let workload = Workload::new("server".parse().unwrap());
        let conversation = tokio::spawn(connection(server, Arc::new(workload)));
        client.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        conversation.await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not_waited_for() {
        let begun = tokio::time::Instant::now();
        let answer = told(b"GET / HTTP/1.1\r\nhost").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(begun.elapsed(), READ_TIMEOUT + LINGER);
        let answer = told(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nx").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_without_a_word() {
        let begun = tokio::time::Instant::now();
        assert_eq!(told(b"").await, "");
        assert_eq!(begun.elapsed(), IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_listen_is_dropped() {
        let (mut client, server) = tokio::io::duplex(64);
        let workload = Workload::new("server".parse().unwrap());
        let conversation = tokio::spawn(connection(server, Arc::new(workload)));
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let begun = tokio::time::Instant::now();
        conversation.await.unwrap();
        assert_eq!(begun.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused_by_name() {
        let head = "POST / HTTP/1.1\r\n";
        let large = format!("{head}content-length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
        let long = format!("{head}x: {}", "y".repeat(crate::http1::MAX_HEAD_BYTES));
        let twice = format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n");
        for (bytes, status) in [
            ("hello\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "400"),
            (&twice, "400"),
            (&large, "413"),
            (&long, "431"),
        ] {
            let answer = told(bytes.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
}
