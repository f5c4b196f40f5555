//! The bytes of HTTP/1.1 (RFC 9112), for both sides.
//!
//! Server and client are written over TCP with `httparse`, not over an HTTP library, because a witness may neither
//! clean nor refuse what it is there to see:
//!
//! - A request target travels byte for byte. Libraries parse it into a URI first, which drops what follows a `#`,
//!   rewrites `HTTP://` and refuses `<` and `>`. A server that answers such a request with its own 400 before anyone
//!   can log it turns a delivery into a denial.
//! - A client must tell refused from reset from closed from "these bytes are no HTTP". Libraries fold them together,
//!   or retry.
//!
//! What is left to write is small: heads are `httparse`'s, and bodies have one of four lengths. A message whose length
//! could be read in two ways is refused.

mod client;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub(crate) use client::Http1;

/// Bytes of a message's head, and of a chunked body's trailer.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Fields of a head.
pub(crate) const MAX_FIELDS: usize = 128;
/// Bytes of the line that begins a chunk, extensions included.
const MAX_CHUNK_LINE_BYTES: usize = 1024;
/// Room made for one read.
const READ_BYTES: usize = 4 * 1024;

/// Why a message was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The connection ended before the first byte of the message.
    #[error("closed before a message began")]
    Closed,
    /// The connection ended within the message.
    #[error("closed within a message")]
    CutOff,
    /// Other bytes than those of an HTTP/1.1 head.
    #[error("not HTTP/1.1: {0}")]
    NotHttp(#[from] httparse::Error),
    /// More than [`MAX_HEAD_BYTES`].
    #[error("a head of more than {MAX_HEAD_BYTES} bytes")]
    HeadTooLarge,
    /// More than the reader's limit.
    #[error("a body of more than {limit} bytes")]
    BodyTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The body's length is not said, or said in two ways.
    #[error("a body without one clear length")]
    Framing,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far a body reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// As many bytes.
    Exact(u64),
    /// In chunks that say their own lengths.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

/// A connection, and what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    unused: Vec<u8>,
}

/// The fields of a head, in their order.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// Its bytes, to the empty line and with it.
    pub(crate) raw: Vec<u8>,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    minor_version: u8,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    minor_version: u8,
}

/// A head that can be parsed; `None` while it is incomplete, or its length in bytes and itself.
pub(crate) trait Head: Sized {
    fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, httparse::Error>;
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, unused: Vec::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits for the first byte of the next message; `false` when the connection ends instead.
    pub(crate) async fn begins(&mut self) -> io::Result<bool> {
        Ok(!self.unused.is_empty() || self.fill().await? > 0)
    }

    /// Whether the connection begins with `bytes`, as far as it takes to tell. None of them is used up.
    pub(crate) async fn begins_with(&mut self, bytes: &[u8]) -> io::Result<bool> {
        loop {
            let here = self.unused.len().min(bytes.len());
            if self.unused[..here] != bytes[..here] {
                return Ok(false);
            }
            if here == bytes.len() {
                return Ok(true);
            }
            if self.fill().await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads a head.
    pub(crate) async fn head<H: Head>(&mut self) -> Result<H, ReadError> {
        loop {
            if let Some((length, head)) = H::parse(&self.unused)? {
                self.unused.drain(..length);
                return Ok(head);
            }
            if self.unused.len() >= MAX_HEAD_BYTES {
                return Err(ReadError::HeadTooLarge);
            }
            if self.fill().await? == 0 {
                return Err(if self.unused.is_empty() { ReadError::Closed } else { ReadError::CutOff });
            }
        }
    }

    /// Reads a body of at most `limit` bytes, its chunks put together.
    pub(crate) async fn body(&mut self, length: Length, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut body = Vec::new();
        match length {
            Length::Exact(bytes) => self.take(&mut body, bytes, limit).await?,
            Length::Chunked => loop {
                match self.chunk_length().await? {
                    0 => break self.skip_trailer().await?,
                    bytes => self.take(&mut body, bytes, limit).await?,
                }
                self.skip_line_end().await?;
            },
            Length::UntilClose => loop {
                body.append(&mut self.unused);
                if body.len() > limit {
                    return Err(ReadError::BodyTooLarge { limit });
                }
                if self.fill().await? == 0 {
                    break;
                }
            },
        }
        Ok(body)
    }

    /// Moves the next `bytes` to the end of `body`, if it may then be that long.
    async fn take(&mut self, body: &mut Vec<u8>, bytes: u64, limit: usize) -> Result<(), ReadError> {
        let room = limit - body.len();
        let mut missing = usize::try_from(bytes).unwrap_or(usize::MAX);
        if missing > room {
            return Err(ReadError::BodyTooLarge { limit });
        }
        loop {
            let here = missing.min(self.unused.len());
            body.extend(self.unused.drain(..here));
            missing -= here;
            if missing == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunk_length(&mut self) -> Result<u64, ReadError> {
        loop {
            match httparse::parse_chunk_size(&self.unused) {
                Ok(httparse::Status::Complete((line, length))) => {
                    self.unused.drain(..line);
                    return Ok(length);
                }
                Ok(httparse::Status::Partial) if self.unused.len() < MAX_CHUNK_LINE_BYTES => self.more().await?,
                Ok(httparse::Status::Partial) | Err(_) => return Err(ReadError::Framing),
            }
        }
    }

    async fn skip_line_end(&mut self) -> Result<(), ReadError> {
        while self.unused.len() < 2 {
            self.more().await?;
        }
        if self.unused.drain(..2).eq(*b"\r\n") { Ok(()) } else { Err(ReadError::Framing) }
    }

    async fn skip_trailer(&mut self) -> Result<(), ReadError> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            if let httparse::Status::Complete((length, _)) = httparse::parse_headers(&self.unused, &mut fields)? {
                self.unused.drain(..length);
                return Ok(());
            }
            if self.unused.len() >= MAX_HEAD_BYTES {
                return Err(ReadError::HeadTooLarge);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), ReadError> {
        if self.fill().await? == 0 { Err(ReadError::CutOff) } else { Ok(()) }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.unused.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.unused).await
    }
}

/// What was read and not used comes first.
impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unused.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let here = self.unused.len().min(into.remaining());
        into.put_slice(&self.unused[..here]);
        self.unused.drain(..here);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Head for RequestHead {
    fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, httparse::Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
        let head = Self {
            raw: bytes[..length].to_vec(),
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            minor_version: request.version.unwrap_or_default(),
            fields: Fields::copied(request.headers),
        };
        Ok(Some((length, head)))
    }
}

impl RequestHead {
    pub(crate) fn length(&self) -> Result<Length, ReadError> {
        Ok(self.fields.length()?.unwrap_or(Length::Exact(0)))
    }

    /// Whether another request may follow on the connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.minor_version == 1 && !self.fields.lists("connection", "close")
    }

    /// Whether the client holds its body back until it is told to continue.
    pub(crate) fn expects_continue(&self) -> bool {
        self.minor_version == 1 && self.fields.lists("expect", "100-continue")
    }
}

impl Head for ResponseHead {
    fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, httparse::Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
        let status = response.code.unwrap_or_default();
        if !(100..600).contains(&status) {
            return Err(httparse::Error::Status);
        }
        let minor_version = response.version.unwrap_or_default();
        Ok(Some((length, Self { status, minor_version, fields: Fields::copied(response.headers) })))
    }
}

impl ResponseHead {
    /// The length of the body that follows in answer to `method`.
    pub(crate) fn length(&self, method: &str) -> Result<Length, ReadError> {
        let bodiless = matches!(self.status, 100..=199 | 204 | 304)
            || method == "HEAD"
            || (method == "CONNECT" && (200..300).contains(&self.status));
        if bodiless { Ok(Length::Exact(0)) } else { Ok(self.fields.length()?.unwrap_or(Length::UntilClose)) }
    }

    /// Whether the connection can carry another request, if the body has an end of its own.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.minor_version == 1 && !self.fields.lists("connection", "close")
    }
}

impl Fields {
    fn copied(parsed: &[httparse::Header<'_>]) -> Self {
        Self(parsed.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect())
    }

    /// Names and values as they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The first value of that name, if it is text.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    /// Whether a comma-separated field has the element.
    fn lists(&self, name: &str, element: &str) -> bool {
        let mut items = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(element.as_bytes()))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn length(&self) -> Result<Option<Length>, ReadError> {
        let coding: Vec<_> = self.all("transfer-encoding").collect();
        let length: Vec<_> = self.all("content-length").collect();
        match (coding.as_slice(), length.as_slice()) {
            ([], []) => Ok(None),
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Length::Chunked)),
            ([], [digits]) => decimal(digits).map(|length| Some(Length::Exact(length))).ok_or(ReadError::Framing),
            _ => Err(ReadError::Framing),
        }
    }
}

/// Whether the text is a method or the name of a field.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether the text can be the value of a field as it stands.
pub(crate) fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Whether the text can be a request target as it stands. It need not make sense as one.
pub(crate) fn is_target(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte != b' ' && !byte.is_ascii_control())
}

/// Digits only: `parse` alone would also take a sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// Gives `bytes` one at a time, so that every read ends at every place.
    fn dripping(bytes: &[u8]) -> Wire<impl AsyncRead + Unpin> {
        let (mut from, to) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        tokio::spawn(async move { from.write_all(&bytes).await });
        Wire::new(to)
    }

    async fn request(bytes: &[u8]) -> Result<(RequestHead, Vec<u8>), ReadError> {
        let mut wire = dripping(bytes);
        let head: RequestHead = wire.head().await?;
        let body = wire.body(head.length()?, 16).await?;
        Ok((head, body))
    }

    #[tokio::test]
    async fn targets_are_kept_byte_for_byte() {
        for target in
            ["/a/../b", "//x", "/./", "/%2e", "/a#b", "/<>\"`{}|\\^", "/\u{e9}", "*", "HTTP://H/a", "x:80", "?"]
        {
            let (head, _) = request(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!(head.target, target);
        }
    }

    #[tokio::test]
    async fn bodies_have_one_of_three_lengths_in_requests() {
        let chunks = "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nt: u\r\n\r\n";
        for (head, body, expected) in [
            ("", "", ""),
            ("content-length: 5\r\n", "hello", "hello"),
            ("Transfer-Encoding: Chunked\r\n", chunks, "hello!"),
        ] {
            let (_, read) = request(format!("POST / HTTP/1.1\r\n{head}\r\n{body}").as_bytes()).await.unwrap();
            assert_eq!(read, expected.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_length_that_can_be_read_in_two_ways_is_refused() {
        for fields in [
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: 1, 1\r\n",
            "content-length: +1\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            let read = request(format!("POST / HTTP/1.1\r\n{fields}\r\nx").as_bytes()).await;
            assert!(matches!(read, Err(ReadError::Framing)), "{fields}");
        }
        for chunks in ["x\r\n", "1\r\naXX", "fffffffffffffffff\r\n"] {
            let read =
                request(format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").as_bytes()).await;
            assert!(matches!(read, Err(ReadError::Framing)), "{chunks}");
        }
    }

    #[tokio::test]
    async fn limits_are_exact() {
        let chunked = "transfer-encoding: chunked";
        for (fields, body) in
            [("content-length: 17", ""), (chunked, "11\r\n"), (chunked, "10\r\n0123456789abcdef\r\n1\r\n")]
        {
            let read = request(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n{body}").as_bytes()).await;
            assert!(matches!(read, Err(ReadError::BodyTooLarge { limit: 16 })), "{fields}");
        }
        assert!(request(b"POST / HTTP/1.1\r\ncontent-length: 16\r\n\r\n0123456789abcdef").await.is_ok());

        let endless = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(MAX_HEAD_BYTES));
        assert!(matches!(Wire::new(endless.as_bytes()).head::<RequestHead>().await, Err(ReadError::HeadTooLarge)));
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(Wire::new(fields(MAX_FIELDS).as_bytes()).head::<RequestHead>().await.is_ok());
        assert!(Wire::new(fields(MAX_FIELDS + 1).as_bytes()).head::<RequestHead>().await.is_err());
        let line = format!("POST / HTTP/1.1\r\n{chunked}\r\n\r\n1;{}", "x".repeat(MAX_CHUNK_LINE_BYTES));
        assert!(matches!(request(line.as_bytes()).await, Err(ReadError::Framing)));
    }

    #[tokio::test]
    async fn every_truncation_is_told() {
        let whole = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(request(whole).await.is_ok());
        assert!(matches!(request(b"").await, Err(ReadError::Closed)));
        for end in 1..whole.len() {
            assert!(matches!(request(&whole[..end]).await, Err(ReadError::CutOff)), "{end} bytes");
        }
    }

    #[tokio::test]
    async fn messages_follow_one_another() {
        let mut wire = dripping(b"POST /1 HTTP/1.1\r\ncontent-length: 1\r\n\r\nxGET /2 HTTP/1.1\r\n\r\n");
        let first: RequestHead = wire.head().await.unwrap();
        wire.body(first.length().unwrap(), 1).await.unwrap();
        assert!(wire.begins().await.unwrap());
        let second: RequestHead = wire.head().await.unwrap();
        assert_eq!((first.target.as_str(), second.target.as_str()), ("/1", "/2"));
        assert!(!wire.begins().await.unwrap());
    }

    #[tokio::test]
    async fn responses_say_their_length_by_method_and_status() {
        let length = async |head: &str, method: &str| {
            let head: ResponseHead = Wire::new(head.as_bytes()).head().await.unwrap();
            head.length(method).unwrap()
        };
        let five = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(length(five, "GET").await, Length::Exact(5));
        assert_eq!(length(five, "HEAD").await, Length::Exact(0));
        assert_eq!(length(five, "CONNECT").await, Length::Exact(0));
        assert_eq!(length("HTTP/1.1 204 \r\n\r\n", "GET").await, Length::Exact(0));
        assert_eq!(length("HTTP/1.1 403 Forbidden\r\n\r\n", "CONNECT").await, Length::UntilClose);
        let mut wire = dripping(b"to the end");
        assert_eq!(wire.body(Length::UntilClose, 10).await.unwrap(), b"to the end");
    }

    #[tokio::test]
    async fn a_status_that_no_report_can_hold_is_no_response() {
        for status in ["099", "600", "999"] {
            let head = format!("HTTP/1.1 {status} ?\r\n\r\n");
            assert!(matches!(Wire::new(head.as_bytes()).head::<ResponseHead>().await, Err(ReadError::NotHttp(_))));
        }
    }
}
