//! Every outcome of HTTP/2, made to happen by a peer written by hand.

use std::net::SocketAddr;

use smi_agent::{Connection, Probe, RequestId};
use smi_schemas::report::Unanswered;
use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, asked, frame, goaway, next_asked,
    response, rst_stream, settings,
};
use crate::outcomes::{outcome, sent};
use crate::{head, listener, over, probe_to, within, workload};

fn probe_h2c(address: SocketAddr) -> Probe {
    over(Protocol::H2c, probe_to(address))
}

/// What a request is called when a server does this with the first connection.
async fn outcome_of(behaviour: impl AsyncFnOnce(&mut TcpStream)) -> Unanswered {
    let (listener, address) = listener().await;
    let probe = probe_h2c(address);
    let (outcome, ()) = tokio::join!(outcome(&probe), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        behaviour(&mut stream).await;
    });
    outcome
}

/// What a request is called when a server has read it, writes these bytes and ends the connection.
async fn outcome_of_bytes(bytes: impl FnOnce(u32, RequestId) -> Vec<u8>) -> Unanswered {
    outcome_of(async |stream| {
        let (number, id) = asked(stream).await;
        stream.write_all(&bytes(number, id)).await.unwrap();
    })
    .await
}

/// The same, when the connection is held until the client ends it.
async fn outcome_of_held(bytes: impl FnOnce(u32, RequestId) -> Vec<u8>) -> Unanswered {
    outcome_of(async |stream| {
        let (number, id) = asked(stream).await;
        stream.write_all(&bytes(number, id)).await.unwrap();
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    })
    .await
}

/// The head of an answer.
fn answer(number: u32, id: RequestId, flags: u8) -> Vec<u8> {
    let id = id.to_string();
    let head = response("200", &[("x-smi-workload", "server"), ("x-smi-request-id", &id)]);
    frame(HEADERS, END_HEADERS | flags, number, &head)
}

#[tokio::test]
async fn reset() {
    let after_request = outcome_of(async |stream| {
        asked(stream).await;
        stream.set_zero_linger().unwrap();
    });
    assert_eq!(after_request.await, Unanswered::Reset);
    let at_once = outcome_of(async |stream| stream.set_zero_linger().unwrap());
    assert_eq!(at_once.await, Unanswered::Reset);
}

#[tokio::test]
async fn reset_by_rst_stream() {
    // NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, HTTP_1_1_REQUIRED
    for code in [0, 1, 7, 8, 13] {
        let seen = outcome_of_held(|number, _| rst_stream(number, code));
        assert_eq!(seen.await, Unanswered::Reset, "{code}");
    }
}

#[tokio::test]
async fn goaway_is_an_orderly_end_or_a_reset() {
    // NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM
    for (code, name) in [(0, Unanswered::EmptyReply), (2, Unanswered::Reset), (11, Unanswered::Reset)] {
        assert_eq!(outcome_of_held(|_, _| goaway(0, code)).await, name, "without the stream: {code}");
        assert_eq!(outcome_of_bytes(|_, _| goaway(0, code)).await, name, "without the stream, closed: {code}");
        assert_eq!(outcome_of_bytes(|number, _| goaway(number, code)).await, name, "with the stream, closed: {code}");
    }
}

#[tokio::test]
async fn empty_reply() {
    let unread = outcome_of(async |stream| {
        head(stream).await;
    });
    // Whether the rest of the preface was still unread decides how the system ends the connection.
    assert!(matches!(unread.await, Unanswered::EmptyReply | Unanswered::Reset));
    let nothing = outcome_of(async |stream| {
        let mut request = vec![0; 4096];
        while within(stream.read(&mut request)).await.unwrap() == request.len() {}
        stream.shutdown().await.unwrap();
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    });
    assert_eq!(nothing.await, Unanswered::EmptyReply);
    assert_eq!(outcome_of_bytes(|_, _| Vec::new()).await, Unanswered::EmptyReply, "after SETTINGS");
    let informational = outcome_of_bytes(|number, _| frame(HEADERS, END_HEADERS, number, &response("100", &[]))).await;
    assert_eq!(informational, Unanswered::EmptyReply);
}

#[tokio::test]
async fn not_http() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    for first in [
        &b"garbage"[..],
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1",
        b"\0\0\0\x04\0\0\0\0",
        b"\0\0\x06\x04\0\0\0\0\0",
        b"smi/1 4ff190b4c2c573ec999d8db75f206447\n",
        &ping,
    ] {
        for held in [false, true] {
            let whole_frame = first.len() >= 9 && !first.starts_with(b"\0\0\x06");
            if held && !whole_frame {
                continue; // it might still become one of HTTP/2
            }
            let seen = outcome_of(async |stream| {
                // As a server of HTTP/1.1 that reads the preface.
                head(stream).await;
                stream.write_all(first).await.unwrap();
                if !held {
                    stream.shutdown().await.unwrap();
                }
                let _ = within(stream.read_to_end(&mut Vec::new())).await;
            });
            assert_eq!(seen.await, Unanswered::NotHttp, "{:?}, held: {held}", String::from_utf8_lossy(first));
        }
    }
}

#[tokio::test]
async fn half_a_response_is_not_http() {
    for end in 1..9 + 70 {
        let seen = outcome_of_bytes(|number, id| answer(number, id, END_STREAM)[..end].to_vec()).await;
        assert_eq!(seen, Unanswered::NotHttp, "{end} bytes");
    }
    let open = outcome_of_bytes(|number, _| frame(HEADERS, 0, number, &response("200", &[]))).await;
    assert_eq!(open, Unanswered::NotHttp, "fields without an end");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_not_http() {
    // Each field counts 32 bytes more than it has.
    let large = response("200", &vec![("a", "b"); 1_000]);
    for (reason, bytes) in [
        ("DATA before a head", frame(DATA, END_STREAM, 1, b"x")),
        ("DATA of no stream", frame(DATA, 0, 0, b"x")),
        ("HEADERS of no stream", frame(HEADERS, END_HEADERS, 0, &response("200", &[]))),
        ("no HPACK", frame(HEADERS, END_HEADERS, 1, &[0xff; 16])),
        ("no status", frame(HEADERS, END_HEADERS | END_STREAM, 1, &crate::frames::literal("a", "b"))),
        ("a status of nobody", frame(HEADERS, END_HEADERS, 1, &response("999", &[]))),
        ("a status of two digits", frame(HEADERS, END_HEADERS, 1, &response("20", &[]))),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[])),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[])),
        ("too large a frame", frame(HEADERS, END_HEADERS, 1, &vec![0; 1 << 15])),
        ("too large a head", frame(HEADERS, END_HEADERS, 1, &large)),
        ("RST_STREAM of three bytes", frame(3, 0, 1, &[0; 3])),
    ] {
        assert_eq!(outcome_of_held(|_, _| bytes).await, Unanswered::NotHttp, "{reason}");
    }
}

#[tokio::test]
async fn timeout() {
    let no_stream_ever = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]);
    let half_a_head = frame(HEADERS, 0, 1, &response("200", &[]));
    let informational = frame(HEADERS, END_HEADERS, 1, &response("103", &[]));
    for (reason, bytes) in [
        ("silence", vec![]),
        ("half a frame", settings()[..5].to_vec()),
        ("settings and no more", settings()),
        ("no room for a stream", no_stream_ever),
        ("half a head", [settings(), half_a_head].concat()),
        ("an informational response", [settings(), informational].concat()),
    ] {
        let (listener, address) = listener().await;
        let probe = Probe { timeout_ms: 100, ..probe_h2c(address) };
        let (seen, ()) = tokio::join!(outcome(&probe), async {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let _ = within(stream.read_to_end(&mut Vec::new())).await;
        });
        assert_eq!(seen, Unanswered::Timeout, "{reason}");
    }
}

#[tokio::test]
async fn a_response_of_somebody_else() {
    let other = "4ff190b4c2c573ec999d8db75f206447";
    for (status, id, workload, name) in [
        ("403", None, None, 403),
        ("404", None, None, 404),
        ("503", Some("{id}"), Some("server"), 503),
        ("200", None, None, 200),
        ("200", Some("{id}"), None, 200),
        ("200", None, Some("server"), 200),
        ("200", Some("{id}"), Some("No Slug"), 200),
        ("200", Some(other), Some("server"), 200),
        ("204", Some("{id}"), Some("server"), 204),
    ] {
        let seen = outcome_of_held(|number, asked| {
            let asked = asked.to_string();
            let id = id.map(|id| ("x-smi-request-id", if id == other { other } else { &asked }));
            let fields: Vec<_> = id.into_iter().chain(workload.map(|name| ("x-smi-workload", name))).collect();
            let early = frame(HEADERS, END_HEADERS, number, &response("103", &fields));
            [early, frame(HEADERS, END_HEADERS | END_STREAM, number, &response(status, &fields))].concat()
        });
        assert_eq!(seen.await, Unanswered::Http(name), "{status} {id:?} {workload:?}");
    }
}

/// Answers when a server has read the first request and writes these bytes.
async fn answers(bytes: impl FnOnce(u32, RequestId) -> Vec<u8>) -> u64 {
    let (listener, address) = listener().await;
    let probe = probe_h2c(address);
    let (result, ()) = tokio::join!(sent(&probe), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let (number, id) = within(asked(&mut stream)).await;
        stream.write_all(&bytes(number, id)).await.unwrap();
    });
    result.tally.answers()
}

#[tokio::test]
async fn an_answer_counts_whatever_follows_it() {
    assert_eq!(answers(|number, id| answer(number, id, END_STREAM)).await, 1);
    assert_eq!(answers(|number, id| answer(number, id, 0)).await, 1, "a body that breaks off");
    assert_eq!(answers(|number, id| [answer(number, id, 0), frame(DATA, END_STREAM, number, b"x")].concat()).await, 1);
    assert_eq!(answers(|number, id| [answer(number, id, 0), rst_stream(number, 8)].concat()).await, 1);
    assert_eq!(answers(|number, id| [answer(number, id, 0), goaway(0, 2)].concat()).await, 1);
    assert_eq!(answers(|number, id| [answer(number, id, 0), b"HTTP/1.1 400 \r\n".to_vec()].concat()).await, 1);
    let in_two_frames = |number, id| {
        let whole = answer(number, id, END_STREAM);
        let (first, second) = whole[9..].split_at(20);
        [frame(HEADERS, END_STREAM, number, first), frame(CONTINUATION, END_HEADERS, number, second)].concat()
    };
    assert_eq!(answers(in_two_frames).await, 1);
}

#[tokio::test]
async fn what_a_peer_says_before_it_resets_counts() {
    let seen = outcome_of(async |stream| {
        // It reads none of the request.
        let denied = frame(HEADERS, END_HEADERS | END_STREAM, 1, &response("403", &[]));
        stream.write_all(&[settings(), denied].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    });
    assert_eq!(seen.await, Unanswered::Http(403));
}

#[tokio::test]
async fn a_fresh_connection_is_left_with_a_word() {
    let (listener, address) = listener().await;
    let probe = probe_h2c(address);
    let (result, last) = tokio::join!(sent(&probe), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let (number, id) = within(asked(&mut stream)).await;
        stream.write_all(&answer(number, id, END_STREAM)).await.unwrap();
        within(frames::next_of(&mut stream, frames::GOAWAY)).await
    });
    assert_eq!(result.tally.answers(), 1);
    assert_eq!(last.payload[4..8], [0; 4], "NO_ERROR");
}

#[tokio::test]
async fn streams_follow_one_another_on_a_kept_connection() {
    let (listener, address) = listener().await;
    let probe = Probe { count: 4, connection: Connection::Reuse, ..probe_h2c(address) };
    let (result, streams) = tokio::join!(sent(&probe), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let mut streams = Vec::new();
        let (mut number, mut id) = within(asked(&mut stream)).await;
        for place in 0..probe.count {
            if place > 0 {
                (number, id) = within(next_asked(&mut stream)).await;
            }
            streams.push(number);
            stream.write_all(&answer(number, id, 0)).await.unwrap();
            stream.write_all(&frame(DATA, END_STREAM, number, b"{}")).await.unwrap();
        }
        streams
    });
    assert_eq!((result.tally.answers(), streams), (4, vec![1, 3, 5, 7]));
}

#[tokio::test]
async fn a_connection_that_the_other_side_gives_up_is_not_kept() {
    let (listener, address) = listener().await;
    let probe = Probe { count: 3, connection: Connection::Reuse, ..probe_h2c(address) };
    let (result, ()) = tokio::join!(sent(&probe), async {
        for _ in 0..probe.count {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            let (number, id) = within(asked(&mut stream)).await;
            stream.write_all(&[answer(number, id, END_STREAM), goaway(number, 0)].concat()).await.unwrap();
        }
    });
    assert_eq!(result.tally.answers(), 3, "{result:?}");
}

#[tokio::test]
async fn ids_of_unanswered_requests_are_those_that_were_sent() {
    let (listener, address) = listener().await;
    let probe = Probe { count: 5, ..probe_h2c(address) };
    let (result, seen) = tokio::join!(sent(&probe), async {
        let mut seen = Vec::new();
        for _ in 0..probe.count {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            seen.push(within(asked(&mut stream)).await.1);
        }
        seen
    });
    assert_eq!(result.unanswered_ids, seen);
}

#[tokio::test]
async fn a_server_of_http_1_1_only_is_told_apart() {
    let (_, behind) = workload("server").await;
    let (listener, address) = listener().await;
    let probe = probe_h2c(address);
    let (seen, ()) = tokio::join!(outcome(&probe), async {
        let (mut near, _) = within(listener.accept()).await.unwrap();
        head(&mut near).await;
        // The preface makes sense to no server of HTTP/1.1; this one is told of a version 1.2.
        near.write_all(crate::told(behind, "PRI * HTTP/1.2\r\n\r\n").await.as_bytes()).await.unwrap();
        let _ = within(near.read_to_end(&mut Vec::new())).await;
    });
    assert_eq!(seen, Unanswered::NotHttp);
}
