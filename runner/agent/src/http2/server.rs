//! Answers requests over HTTP/2, each on its stream, as [`server`](crate::server) does over HTTP/1.1.
//!
//! A peer that is slow with a frame or a head, with its first frame, or with taking what it is sent, is dropped by
//! [`Patient`], one that is slow with a body or with its flow control by [`respond`].

use std::borrow::Cow;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::PREFACE;
use super::frames::{Frames, NotHttp2};
use crate::answer::{Asked, Response};
use crate::client::REQUEST_ID_FIELD;
use crate::http1::{MAX_HEAD_BYTES, ReadError};
use crate::id::RequestId;
use crate::server::{IDLE_TIMEOUT, MAX_BODY_BYTES, MAX_STREAMS, READ_TIMEOUT, WRITE_TIMEOUT};
use crate::workload::Workload;

/// Answers the requests of one connection, whose first bytes are the [`PREFACE`].
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, workload: Arc<Workload>) {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(MAX_STREAMS);
    builder.max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    let Ok(mut connection) = builder.handshake::<_, Bytes>(Patient::new(stream)).await else { return };
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = streams.join_next() => {}
            accepted = connection.accept() => {
                // What ended the connection has ended its streams.
                let Some(Ok((request, responder))) = accepted else { return };
                let id = request.headers().get(REQUEST_ID_FIELD).and_then(id);
                if let Some(id) = id {
                    workload.log().record(id);
                }
                streams.spawn(respond(request, id, responder, Arc::clone(&workload)));
            }
        }
    }
}

fn id(field: &http::HeaderValue) -> Option<RequestId> {
    field.to_str().ok()?.parse().ok()
}

/// Answers one request when it has arrived as a whole.
async fn respond(
    request: Request<RecvStream>,
    id: Option<RequestId>,
    mut responder: SendResponse<Bytes>,
    workload: Arc<Workload>,
) {
    let (head, body) = request.into_parts();
    if head.headers.get("expect").is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let mut go_on = http::Response::new(());
        *go_on.status_mut() = StatusCode::CONTINUE;
        // A client that is not told goes on as well, later.
        let _ = responder.send_informational(go_on);
    }
    let response = match timeout(READ_TIMEOUT, skip(body)).await {
        Ok(Ok(())) => answer(&workload, &head, id),
        Ok(Err(ReadError::Io(_))) => return,
        Ok(Err(error)) => Response::refusal(&error),
        Err(_) => Response::too_slow(),
    };
    // A stream that is not taken in time is reset.
    let _ = timeout(WRITE_TIMEOUT, send(&mut responder, &head.method, response)).await;
}

/// Waits for the end of a body. There is nothing in it that would be answered.
async fn skip(mut body: RecvStream) -> Result<(), ReadError> {
    let mut room = MAX_BODY_BYTES;
    while let Some(data) = body.data().await {
        let data = data.map_err(io::Error::other)?;
        room = room.checked_sub(data.len()).ok_or(ReadError::BodyTooLarge { limit: MAX_BODY_BYTES })?;
        body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
    }
    Ok(())
}

fn answer(workload: &Workload, head: &Parts, id: Option<RequestId>) -> Response {
    // `:authority` is the only field of a request's head that is told nowhere else.
    let authority = head.uri.authority().map(|authority| (":authority", Cow::Borrowed(authority.as_str())));
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
    // CONNECT has no path: it asks for an authority.
    let target = head
        .uri
        .path_and_query()
        .map_or_else(|| head.uri.authority().map_or("", |authority| authority.as_str()), |path| path.as_str());
    let headers = authority.into_iter().chain(fields).collect();
    Response::to(workload, Asked { id, method: head.method.as_str(), target, headers })
}

async fn send(responder: &mut SendResponse<Bytes>, method: &Method, response: Response) -> Result<(), h2::Error> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(response.status).unwrap_or_default();
    for (name, value) in response.fields {
        // Names and slugs are always values of fields.
        if let Ok(value) = HeaderValue::try_from(value) {
            head.headers_mut().insert(name, value);
        }
    }
    // RFC 9110, 9.3.6: a successful answer to CONNECT says no length.
    if method != Method::CONNECT {
        head.headers_mut().insert("content-length", response.body.len().into());
    }
    let bodiless = method == Method::HEAD || method == Method::CONNECT;
    let mut rest = if bodiless { Bytes::new() } else { Bytes::from(response.body) };
    let mut stream = responder.send_response(head, rest.is_empty())?;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let part = rest.split_to(capacity?.min(rest.len()));
        stream.send_data(part, rest.is_empty())?;
    }
    Ok(())
}

/// A stream whose peer may be idle between two frames, but not slow within one.
struct Patient<S> {
    stream: S,
    frames: Frames,
    reading: Pin<Box<Sleep>>,
    /// Since when the peer takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S) -> Self {
        let (frames, reading) = (Frames::after(PREFACE.len()), Box::pin(sleep(READ_TIMEOUT)));
        Self { stream, frames, reading, writing: None }
    }

    fn idle(&self) -> bool {
        self.frames.begun() && self.frames.between()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if read.is_pending() {
            return self.reading.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()));
        }
        let (idle, finished) = (self.idle(), self.frames.finished());
        if let Err(NotHttp2) = self.frames.feed(&into.filled()[before..]) {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        if self.idle() {
            self.reading.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
        } else if idle || self.frames.finished() != finished {
            self.reading.as_mut().reset(Instant::now() + READ_TIMEOUT);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let writing = self.writing.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        writing.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const NO_WINDOW: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    /// `GET /`, as a whole; and `POST /` with a body to come.
    const GET: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
    const POST: &[u8] = b"\0\0\x03\x01\x04\0\0\0\x01\x83\x86\x84";

    /// How long a client is borne with that says `bytes` after the preface, and what it is told. Time passes only
    /// while nobody has anything to do.
    async fn borne(bytes: &[&[u8]]) -> (Duration, Vec<u8>) {
        let begun = Instant::now();
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let workload = Arc::new(Workload::new("server".parse().unwrap()));
        let conversation = tokio::spawn(converse(server, workload));
        client.write_all(&[PREFACE, &bytes.concat()].concat()).await.unwrap();
        conversation.await.unwrap();
        let borne = begun.elapsed();
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        (borne, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_idle_but_not_slow() {
        assert_eq!(borne(&[SETTINGS]).await.0, IDLE_TIMEOUT);
        assert_eq!(borne(&[SETTINGS, GET]).await.0, IDLE_TIMEOUT);
        for (reason, bytes) in [
            ("no frame at all", &[&b""[..]][..]),
            ("half a frame", &[&SETTINGS[..5]]),
            ("half a frame after others", &[SETTINGS, GET, &GET[..10]]),
            ("half a head", &[SETTINGS, b"\0\0\x03\x01\x01\0\0\0\x01\x82\x86\x84"]),
        ] {
            assert_eq!(borne(bytes).await.0, READ_TIMEOUT, "{reason}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_begins_with_another_frame_is_dropped() {
        assert_eq!(borne(&[GET]).await.0, Duration::ZERO);
        assert_eq!(borne(&[b"\0\0\0\x04\x01\0\0\0\0"]).await.0, Duration::ZERO, "an acknowledgement");
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_drips_is_slow() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let workload = Arc::new(Workload::new("server".parse().unwrap()));
        let begun = Instant::now();
        let conversation = tokio::spawn(converse(server, workload));
        client.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        for byte in GET {
            sleep(READ_TIMEOUT / 4).await;
            let _ = client.write_all(&[*byte]).await;
        }
        conversation.await.unwrap();
        assert!(begun.elapsed() <= READ_TIMEOUT * 3);
        assert!(client.write_all(GET).await.is_err(), "it was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_refused() {
        let (time, told) = borne(&[SETTINGS, POST]).await;
        assert_eq!(time, IDLE_TIMEOUT, "the connection itself goes on");
        let reason = Response::too_slow().body;
        assert!(told.windows(reason.len()).any(|bytes| bytes == reason), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_given_up() {
        // RST_STREAM with CANCEL.
        let (_, told) = borne(&[NO_WINDOW, GET]).await;
        assert!(told.ends_with(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"), "{told:?}");
        let (mut client, server) = tokio::io::duplex(64);
        let conversation = tokio::spawn(converse(server, Arc::new(Workload::new("server".parse().unwrap()))));
        client.write_all(&[PREFACE, SETTINGS, GET].concat()).await.unwrap();
        let begun = Instant::now();
        conversation.await.unwrap();
        assert_eq!(begun.elapsed(), WRITE_TIMEOUT, "a client that reads nothing");
    }
}
