//! HTTP/1.1: reads the head of a request, asks what is to become of it, and carries it over or answers in its place.
//!
//! One connection carries one request. The proxy writes `connection: close` into the head it passes on, so the
//! workload closes after its answer, and nothing a client might send behind its first request gets past the engine.

use std::io;

use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::io::InspectReader;

use crate::engine::{Call, Request};
use crate::metrics::Trip;
use crate::proxy::{Decide, Decision, HEAD_TIMEOUT, reach};

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields of a request.
const MAX_FIELDS: usize = 128;

/// A request's head, read but not interpreted.
#[derive(Debug)]
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

/// Serves one connection. What goes wrong ends it, and the client sees that.
pub(crate) async fn connection(mut client: TcpStream, decide: &Decide) -> io::Result<()> {
    let (head, bytes, rest) = timeout(HEAD_TIMEOUT, receive(&mut client)).await??;
    let request = Request { method: &head.method, target: &head.target, headers: &head.headers };
    let ruling = decide(&Call { protocol: Protocol::Http, request: Some(request) });
    match ruling.decision {
        denied @ (Decision::Forbidden | Decision::Unavailable) => {
            let status = denied.status();
            let answer = format!("HTTP/1.1 {status} Denied\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await?;
            client.shutdown().await
        }
        Decision::Forward(address) => {
            let mut workload = reach(address).await?;
            workload.write_all(&closing(&bytes)).await?;
            workload.write_all(&rest).await?;
            let (answer, request) = workload.split();
            let mut workload = tokio::io::join(InspectReader::new(answer, watch(ruling.trip)), request);
            tokio::io::copy_bidirectional(&mut client, &mut workload).await.map(|_| ())
        }
    }
}

/// Bytes of an answer up to the end of its status.
const STATUS_BYTES: usize = "HTTP/1.1 200".len();

/// Tells a trip the status of its answer, as soon as the answer's first bytes are seen, which its client sees later.
fn watch(mut trip: Option<Trip>) -> impl FnMut(&[u8]) {
    let mut head = Vec::with_capacity(STATUS_BYTES);
    move |bytes| {
        head.extend(bytes.iter().take(STATUS_BYTES - head.len()));
        if head.len() == STATUS_BYTES
            && let Some(trip) = trip.take()
        {
            let status = std::str::from_utf8(&head[STATUS_BYTES - 3..]).ok().and_then(|text| text.parse().ok());
            trip.ended(status.unwrap_or_default());
        }
    }
}

/// The head, its bytes, and whatever followed them.
async fn receive(client: &mut TcpStream) -> io::Result<(Head, Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((head, length)) = parse(&bytes)? {
            let rest = bytes.split_off(length);
            return Ok((head, bytes, rest));
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(io::Error::other)? else { return Ok(None) };
    let field =
        |field: &httparse::Header<'_>| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned());
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: request.headers.iter().map(field).collect(),
    };
    Ok(Some((head, length)))
}

/// The same head, asking the workload to close after its answer.
fn closing(head: &[u8]) -> Vec<u8> {
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let is_connection = |line: &&[u8]| line.len() >= 11 && line[..11].eq_ignore_ascii_case(b"connection:");
    let mut kept: Vec<u8> = lines.filter(|line| !is_connection(line)).flatten().copied().collect();
    let end = kept.len() - if kept.ends_with(b"\r\n\r\n") { 2 } else { 1 };
    kept.truncate(end);
    kept.extend_from_slice(b"connection: close\r\n\r\n");
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_passed_on_byte_for_byte_but_closing() {
        let head = b"GET /a/../b HTTP/1.1\r\nHost: web:8080\r\nConnection: keep-alive\r\nX-A: 1\r\n\r\n";
        let sent = b"GET /a/../b HTTP/1.1\r\nHost: web:8080\r\nX-A: 1\r\nconnection: close\r\n\r\n";
        assert_eq!(closing(head), sent);
        let (parsed, length) = parse(head).unwrap().unwrap();
        assert_eq!((parsed.target.as_str(), length), ("/a/../b", head.len()));
        for end in 0..head.len() {
            assert!(parse(&head[..end]).unwrap().is_none(), "{end} bytes are no head");
        }
    }
}
