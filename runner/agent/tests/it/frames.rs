//! HTTP/2 by hand, for the other side of what is tested: frames (RFC 9113) and as much of HPACK (RFC 7541) as it takes
//! to write heads without compression, and to find a request's id in a compressed one.

use smi_agent::RequestId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Representations of `:method: GET`, `:method: POST` and `:scheme: http` (RFC 7541, appendix A).
const GET: u8 = 0x82;
const POST: u8 = 0x83;
const HTTP: u8 = 0x86;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub(crate) fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
}

pub(crate) fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A field that is neither compressed nor to be remembered.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

fn string(text: &str) -> Vec<u8> {
    let length = text.len();
    assert!(length < 127 + 128, "a prefix and one byte");
    let prefix = if length < 127 { vec![length] } else { vec![127, length - 127] };
    [prefix.into_iter().map(|byte| u8::try_from(byte).unwrap()).collect(), text.as_bytes().to_vec()].concat()
}

/// The head of a response.
pub(crate) fn response(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(name, value)| literal(name, value));
    // `:status` is the name with index 8.
    [vec![8], string(status)].concat().into_iter().chain(fields).collect()
}

/// The head of a GET or, with a body to come, a POST.
pub(crate) fn request(target: &str, body: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    // `:authority` and `:path` are the names with index 1 and 4.
    let method = if body { POST } else { GET };
    [vec![method, HTTP, 1], string("server.test"), vec![4], string(target), fields].concat()
}

/// The next frame, unless the connection ends before one.
pub(crate) async fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.ok()?;
    let [high, middle, low, kind, flags, number @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(number), payload })
}

/// The next frame of a kind.
pub(crate) async fn next_of(stream: &mut TcpStream, kind: u8) -> Frame {
    loop {
        let frame = next(stream).await.expect("the connection ends");
        if frame.kind == kind {
            return frame;
        }
    }
}

/// Plays the server: reads a client's preface and its first request, of which it tells the stream and the id.
pub(crate) async fn asked(stream: &mut TcpStream) -> (u32, RequestId) {
    let mut preface = vec![0; PREFACE.len()];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    let first = next(stream).await.unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    stream.write_all(&settings()).await.unwrap();
    next_asked(stream).await
}

/// Reads the next request of a connection.
pub(crate) async fn next_asked(stream: &mut TcpStream) -> (u32, RequestId) {
    let head = next_of(stream, HEADERS).await;
    assert_eq!(head.flags, END_STREAM | END_HEADERS);
    (head.stream, last_id(&head.payload).expect("an id at the end of the head"))
}

/// The id that is the value of a head's last field.
fn last_id(head: &[u8]) -> Option<RequestId> {
    // Its 32 digits take 5 or 6 bits each.
    (20..=24).rev().find_map(|length| {
        let (rest, value) = head.split_at_checked(head.len().checked_sub(length)?)?;
        let coded = *rest.last()? == 0x80 | u8::try_from(length).ok()?;
        if coded { digits(value)?.parse().ok() } else { None }
    })
}

/// Hexadecimal digits in Huffman's code (RFC 7541, appendix B).
fn digits(coded: &[u8]) -> Option<String> {
    const SHORT: [(u8, char); 6] = [(0, '0'), (1, '1'), (2, '2'), (3, 'a'), (4, 'c'), (5, 'e')];
    const LONG: [(u8, char); 10] =
        [(25, '3'), (26, '4'), (27, '5'), (28, '6'), (29, '7'), (30, '8'), (31, '9'), (35, 'b'), (36, 'd'), (37, 'f')];
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let mut rest = bits.as_slice();
    let mut text = String::new();
    // What is left at the end is less than a byte, and ones.
    while rest.len() >= 8 || rest.contains(&0) {
        let code = |length: usize| Some(rest.get(..length)?.iter().fold(0, |code, bit| code << 1 | bit));
        let found = |codes: &[(u8, char)], code: Option<u8>| {
            codes.iter().find(|(known, _)| Some(*known) == code).map(|(_, digit)| *digit)
        };
        let (length, digit) =
            found(&SHORT, code(5)).map(|digit| (5, digit)).or(found(&LONG, code(6)).map(|digit| (6, digit)))?;
        text.push(digit);
        rest = &rest[length..];
    }
    Some(text)
}
