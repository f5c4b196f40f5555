//! The line that travels over TCP and UDP, and the line that answers it.
//!
//! Bare bytes do not say who sent them. So a probe sends a line with its request's id, and a workload repeats the line
//! with its name at the end. Lines are ASCII with single spaces, and end with one line feed (`⏎`):
//!
//! ```text
//! → smi/1 4ff190b4c2c573ec999d8db75f206447⏎
//! ← smi/1 4ff190b4c2c573ec999d8db75f206447 server⏎
//! ```
//!
//! A request is always 39 bytes long and an answer at most 103. Neither can be taken for the other, so two workloads
//! never answer each other. The client speaks first, and what it says begins no protocol that a proxy might look for.
//!
//! **Over TCP** requests may follow one another on a connection; each is answered before the next is read. What is no
//! request, or does not arrive in time, ends the connection without a word. The limits are those of the
//! [HTTP server](crate::server).
//!
//! **Over UDP** a datagram is one line. What is no request is ignored, so that nobody can make a workload send to a
//! third party more than 64 bytes beyond what it received. Nothing is sent twice.
//!
//! Worked example:
//!
//! ```
//! use std::sync::Arc;
//! use smi_agent::{Workload, serve_tcp, serve_udp};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream, UdpSocket};
//!
//! const REQUEST: &[u8] = b"smi/1 4ff190b4c2c573ec999d8db75f206447\n";
//! const ANSWER: &[u8] = b"smi/1 4ff190b4c2c573ec999d8db75f206447 server\n";
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let workload = Arc::new(Workload::new("server".parse()?));
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut stream = TcpStream::connect(listener.local_addr()?).await?;
//! tokio::spawn(serve_tcp(listener, Arc::clone(&workload), std::future::pending()));
//! stream.write_all(REQUEST).await?;
//! let mut answer = [0; ANSWER.len()];
//! stream.read_exact(&mut answer).await?;
//! assert_eq!(answer, ANSWER);
//!
//! let served = UdpSocket::bind("127.0.0.1:0").await?;
//! let socket = UdpSocket::bind("127.0.0.1:0").await?;
//! socket.connect(served.local_addr()?).await?;
//! tokio::spawn(serve_udp(served, Arc::clone(&workload), std::future::pending()));
//! socket.send(REQUEST).await?;
//! let length = socket.recv(&mut answer).await?;
//! assert_eq!(&answer[..length], ANSWER);
//!
//! assert!(workload.log().contains(&"4ff190b4c2c573ec999d8db75f206447".parse()?));
//! # Ok(()) }) }
//! ```

mod client;
mod server;

use smi_schemas::names::Slug;

use crate::id::RequestId;

pub(crate) use client::{TcpLine, UdpLine};
pub use server::{serve_tcp, serve_udp};

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 39;
/// Bytes of the longest answer.
pub const MAX_ANSWER_BYTES: usize = 103;

/// What both lines begin with: the name of the format and its version.
const BEGINNING: &str = "smi/1 ";

fn request(id: RequestId) -> String {
    format!("{BEGINNING}{id}\n")
}

fn answer(id: RequestId, workload: &Slug) -> String {
    format!("{BEGINNING}{id} {workload}\n")
}

fn read_request(line: &[u8]) -> Option<RequestId> {
    content(line)?.parse().ok()
}

fn read_answer(line: &[u8]) -> Option<(RequestId, Slug)> {
    let (id, workload) = content(line)?.split_once(' ')?;
    Some((id.parse().ok()?, workload.parse().ok()?))
}

/// What stands between the beginning of a line and its end.
fn content(line: &[u8]) -> Option<&str> {
    str::from_utf8(line).ok()?.strip_prefix(BEGINNING)?.strip_suffix('\n')
}

/// Whether `bytes` may still become a line that begins like this.
fn may_begin(bytes: &[u8], beginning: &str) -> bool {
    bytes.iter().zip(beginning.as_bytes()).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_stated_lengths_and_are_read_back() {
        let id = RequestId::derive(7, 1);
        for name in ["a".to_owned(), "a".repeat(63)] {
            let workload: Slug = name.parse().unwrap();
            let (request, answer) = (request(id), answer(id, &workload));
            assert_eq!((request.len(), answer.len()), (REQUEST_BYTES, REQUEST_BYTES + 1 + name.len()));
            assert!(answer.len() <= MAX_ANSWER_BYTES);
            assert_eq!(read_request(request.as_bytes()), Some(id));
            assert_eq!(read_answer(answer.as_bytes()), Some((id, workload)));
            assert_eq!((read_request(answer.as_bytes()), read_answer(request.as_bytes())), (None, None));
        }
    }

    #[test]
    fn one_form_is_read() {
        let id = "4ff190b4c2c573ec999d8db75f206447";
        for line in [
            String::new(),
            "\n".to_owned(),
            format!("smi/1 {id}"),
            format!("smi/1 {id}\r\n"),
            format!("smi/1 {id}\n\n"),
            format!("smi/1  {id}\n"),
            format!(" smi/1 {id}\n"),
            format!("smi/1 {id} \n"),
            format!("smi/2 {id}\n"),
            format!("SMI/1 {id}\n"),
            format!("smi/1 {}\n", id.to_uppercase()),
            format!("smi/1 {id} a b\n"),
            format!("smi/1 {id} A\n"),
            format!("smi/1 {id} \u{e9}\n"),
            format!("smi/1 {id}  a\n"),
            format!("smi/1 {id} a\r\n"),
        ] {
            assert_eq!((read_request(line.as_bytes()), read_answer(line.as_bytes())), (None, None), "{line:?}");
        }
        assert_eq!(read_answer(b"smi/1 \xff\n"), None);
    }
}
