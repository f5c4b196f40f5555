//! HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3), for both sides.
//!
//! HTTP/1.1 is written here over TCP, because a witness may neither clean nor refuse what it is there to see
//! (see `http1`). HTTP/2 leaves a peer much less room: a target is the value of `:path`, a body's end is a flag, and
//! what breaks the rules is answered with a code. So frames, field compression and flow control are the `h2` library's,
//! and what it would hide is seen by us, one layer below and above it:
//!
//! - Below it, every byte is looked at on its way: where frames begin and end (`frames`), how the connection ended, and
//!   whether the peer speaks HTTP/2 at all.
//! - It takes only paths of the grammar of URIs, and cuts them at a `#`. A probe whose path it would not send byte for
//!   byte is refused, and told to use HTTP/1.1. A workload that is sent such a path by somebody else resets the stream
//!   and logs nothing.
//! - Field names are in lower case, as HTTP/2 demands, whatever the probe says.
//!
//! A client's connection, and what it sends of its own:
//!
//! ```text
//! → PRI * HTTP/2.0 …, SETTINGS, HEADERS with END_STREAM        ← SETTINGS, HEADERS, DATA with END_STREAM
//! ```

mod client;
mod frames;
mod server;

pub(crate) use client::H2c;
pub(crate) use server::converse;

/// What a client's connection begins with (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
