//! Sends requests over HTTP/2, and says what came instead of a response.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use smi_schemas::names::Slug;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::frames::{Frames, NotHttp2};
use crate::client::{MAX_RESPONSE_BYTES, Probe, ProbeError, REQUEST_ID_FIELD, WORKLOAD_FIELD};
use crate::exchange::{self, Carrier, Failure};
use crate::http1::{Http1, MAX_HEAD_BYTES};
use crate::id::RequestId;
use crate::request::{host_field, method_token};

/// Fields of HTTP/1.1 about a connection, which HTTP/2 does not have (RFC 9113, 8.2.2).
const CONNECTION_FIELDS: [&str; 4] = ["keep-alive", "proxy-connection", "te", "upgrade"];

/// The head of a probe's requests, but for the id.
pub(crate) struct H2c {
    head: Request<()>,
    wanted: u16,
    reuse: bool,
}

impl H2c {
    pub(crate) fn of(probe: &Probe) -> Result<Self, ProbeError> {
        // As large as it may be over HTTP/1.1.
        Http1::of(probe)?;
        let method = method_token(probe.method)?.parse::<Method>().map_err(|_| ProbeError::AnyMethod)?;
        if method == Method::CONNECT {
            return Err(ProbeError::H2cMethod);
        }
        let mut head = Request::new(());
        *head.method_mut() = method;
        *head.uri_mut() = uri(probe)?;
        for (name, value) in &probe.headers {
            let refused = || ProbeError::H2cHeader(name.clone());
            let field = HeaderName::try_from(name.as_str()).map_err(|_| refused())?;
            if CONNECTION_FIELDS.contains(&field.as_str()) {
                return Err(refused());
            }
            head.headers_mut().append(field, HeaderValue::try_from(value.as_str()).map_err(|_| refused())?);
        }
        Ok(Self { head, wanted: probe.wanted(), reuse: probe.connection == crate::client::Connection::Reuse })
    }

    fn with(&self, id: RequestId) -> Result<Request<()>, Failure> {
        let value = HeaderValue::try_from(id.to_string()).map_err(|error| Failure::Local(io::Error::other(error)))?;
        let mut request = self.head.clone();
        request.headers_mut().insert(REQUEST_ID_FIELD, value);
        Ok(request)
    }
}

/// What `:scheme`, `:authority` and `:path` are taken from.
fn uri(probe: &Probe) -> Result<Uri, ProbeError> {
    let authority: Authority = host_field(probe).parse().map_err(|_| ProbeError::Host(probe.host.clone()))?;
    let refused = || ProbeError::H2cPath(probe.path.clone());
    let path: PathAndQuery = probe.path.parse().map_err(|_| refused())?;
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path);
    let uri = uri.build().map_err(|_| refused())?;
    if uri.path_and_query().is_some_and(|path| path.as_str() == probe.path) { Ok(uri) } else { Err(refused()) }
}

impl Carrier for H2c {
    type Kept = Session;

    async fn ask(
        &self,
        id: RequestId,
        kept: &mut Option<Session>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Slug, Failure> {
        let left = match kept.take() {
            Some(session) => session.that_goes_on().await,
            None => None,
        };
        let mut session = match left {
            Some(session) => session,
            None => Session::open(exchange::connect(addresses, deadline).await?, deadline).await?,
        };
        let request = self.with(id)?;
        let response = timeout_at(deadline, session.exchange(request)).await.unwrap_or(Err(Failure::TIMEOUT))?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if !(100..600).contains(&status) {
            return Err(Failure::NOT_HTTP);
        }
        // The head decides. The body is read so that nobody sees the stream break off, and for the next request.
        let whole = timeout_at(deadline, session.read(body)).await.unwrap_or(false);
        if whole && self.reuse {
            *kept = Some(session);
        } else {
            // Whoever does not listen has nothing more to be told.
            let _ = timeout_at(deadline, session.close()).await;
        }
        let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        exchange::author((status, self.wanted), field(REQUEST_ID_FIELD), field(WORKLOAD_FIELD), id)
    }
}

/// A connection. It is only driven while something is asked of it.
pub(crate) struct Session {
    requests: SendRequest<Bytes>,
    connection: Connection<Tap<TcpStream>>,
    seen: Arc<Mutex<Seen>>,
}

impl Session {
    async fn open(stream: TcpStream, deadline: Instant) -> Result<Self, Failure> {
        let seen = Arc::new(Mutex::new(Seen { frames: Frames::after(0), end: None, unsent: None }));
        let tap = Tap { stream, seen: Arc::clone(&seen) };
        let mut builder = Builder::new();
        builder.enable_push(false).max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let opened = timeout_at(deadline, builder.handshake(tap)).await.map_err(|_| Failure::TIMEOUT)?;
        let (requests, connection) = opened.map_err(|error| failure(error, &seen))?;
        Ok(Self { requests, connection, seen })
    }

    /// Itself, unless it has arrived that the other side takes no other request.
    async fn that_goes_on(mut self) -> Option<Self> {
        let ended = poll_fn(|cx| {
            let ended = Pin::new(&mut self.connection).poll(cx).is_ready();
            Poll::Ready(ended || matches!(self.requests.poll_ready(cx), Poll::Ready(Err(_))))
        });
        if ended.await { None } else { Some(self) }
    }

    /// Sends a request and waits for the head of the response that counts.
    async fn exchange(&mut self, request: Request<()>) -> Result<http::Response<RecvStream>, Failure> {
        let Self { requests, connection, seen } = self;
        let exchange = async {
            poll_fn(|cx| requests.poll_ready(cx)).await?;
            let (response, _) = requests.send_request(request, true)?;
            response.await
        };
        let (response, ended) = driving(connection, exchange).await;
        // What a stream is told at the end of a connection leaves out why the peer ended it.
        response.map_err(|error| failure(ended.filter(h2::Error::is_remote).unwrap_or(error), seen))
    }

    /// Reads a body to its end; whether it had one.
    async fn read(&mut self, mut body: RecvStream) -> bool {
        let read = async {
            let mut room = MAX_RESPONSE_BYTES;
            while let Some(data) = body.data().await {
                let Ok(data) = data else { return false };
                let Some(left) = room.checked_sub(data.len()) else { return false };
                room = left;
                if body.flow_control().release_capacity(data.len()).is_err() {
                    return false;
                }
            }
            true
        };
        driving(&mut self.connection, read).await.0
    }

    /// Says goodbye.
    async fn close(self) -> Result<(), h2::Error> {
        drop(self.requests);
        self.connection.await
    }
}

/// Waits for something that a connection brings about. If it has ended meanwhile, with an error, that is told as well.
async fn driving<T>(
    connection: &mut Connection<Tap<TcpStream>>,
    something: impl Future<Output = T>,
) -> (T, Option<h2::Error>) {
    let mut something = pin!(something);
    let mut ended = None;
    let something = poll_fn(|cx| {
        if ended.is_none()
            && let Poll::Ready(end) = Pin::new(&mut *connection).poll(cx)
        {
            ended = Some(end);
        }
        something.as_mut().poll(cx)
    });
    (something.await, ended.and_then(Result::err))
}

/// The name of what came instead of a response; see the table of `exchange`.
fn failure(error: h2::Error, seen: &Mutex<Seen>) -> Failure {
    if error.is_remote() {
        let orderly = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
        return if orderly { Failure::EMPTY_REPLY } else { Failure::RESET };
    }
    if error.is_library() {
        return Failure::NOT_HTTP;
    }
    let mut seen = lock(seen);
    match seen.end.take() {
        Some(End::NotHttp2) => Failure::NOT_HTTP,
        Some(End::Failed(error)) => error.into(),
        Some(End::Closed) if !seen.frames.between() => Failure::NOT_HTTP,
        Some(End::Closed) => seen.unsent.take().map_or(Failure::EMPTY_REPLY, Failure::from),
        None => Failure::Local(error.into_io().unwrap_or_else(|| io::Error::other("HTTP/2 was misused"))),
    }
}

/// What is seen of a connection, below HTTP/2.
struct Seen {
    frames: Frames,
    end: Option<End>,
    /// Why the peer did not get what it was sent. What it said all the same counts, so this matters only if it said
    /// nothing.
    unsent: Option<io::Error>,
}

/// How the peer's bytes ended.
enum End {
    Closed,
    Failed(io::Error),
    NotHttp2,
}

/// A stream whose every byte is seen.
struct Tap<S> {
    stream: S,
    seen: Arc<Mutex<Seen>>,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into));
        let mut seen = lock(&self.seen);
        let (end, told) = match read {
            Err(error) => {
                let copy = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                (End::Failed(copy), Err(error))
            }
            Ok(()) if into.filled().len() == before => (End::Closed, Ok(())),
            Ok(()) => match seen.frames.feed(&into.filled()[before..]) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(NotHttp2) => (End::NotHttp2, Err(ErrorKind::InvalidData.into())),
            },
        };
        seen.end.get_or_insert(end);
        Poll::Ready(told)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(written.or_else(|error| {
            lock(&self.seen).unsent = Some(error);
            // The peer's last words are still to be read.
            Ok(bytes.len())
        }))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
