//! Every outcome of HTTP/1.1, made to happen, and those that all protocols have in common.

use std::net::{IpAddr, SocketAddr};

use smi_agent::{Connection, Probe, ProbeError, ProbeResult, RequestId, probe};
use smi_schemas::report::Unanswered;
use smi_schemas::smi::Method;
use smi_schemas::suite::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::{PROTOCOLS, closed, field, head, listener, over, probe_to, within, workload, workload_over};

const ID: &str = "x-smi-request-id";

pub(crate) async fn sent(asked: &Probe) -> ProbeResult {
    within(probe(asked)).await.unwrap()
}

/// What a single unanswered request is called.
pub(crate) async fn outcome(asked: &Probe) -> Unanswered {
    let result = sent(asked).await;
    assert_eq!((result.tally.sent, result.unanswered_ids.len()), (1, 1), "{result:?}");
    let (outcome, count) = result.tally.unanswered.into_iter().next().unwrap();
    assert_eq!(count, 1);
    outcome
}

/// What it is called when a server does this with the first connection.
async fn outcome_of(behaviour: impl AsyncFnOnce(TcpStream)) -> Unanswered {
    let (listener, address) = listener().await;
    let asked = probe_to(address);
    let (outcome, ()) = tokio::join!(outcome(&asked), async {
        let (stream, _) = within(listener.accept()).await.unwrap();
        behaviour(stream).await;
    });
    outcome
}

/// What it is called when a server answers a request with this text, in which `{id}` stands for the request's id.
async fn outcome_of_answer(text: &str) -> Unanswered {
    outcome_of(async |mut stream| {
        let request = head(&mut stream).await;
        let text = text.replace("{id}", field(&request, ID).unwrap());
        stream.write_all(text.as_bytes()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn answered_with_the_failure_that_was_asked_for() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let (workload, address) = workload_over(protocol, "server").await;
        let asking = |status: &str| Probe {
            headers: [("x-smi-status".to_owned(), status.to_owned())].into(),
            ..over(protocol, probe_to(address))
        };
        for status in ["503", "599", "200", "404", "x"] {
            let result = sent(&asking(status)).await;
            assert_eq!(result.tally.answered, [("server".parse().unwrap(), 1)].into(), "{protocol:?} {status}");
        }
        let mut raw = TcpStream::connect(address).await.unwrap();
        let id = RequestId::derive(1, 1);
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{ID}: {id}\r\nx-smi-status: 503\r\n\r\n");
        raw.write_all(request.as_bytes()).await.unwrap();
        let answer = head(&mut raw).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("x-smi-workload: server"), "{answer}");
        assert!(workload.log().contains(&id));
    }
}

#[tokio::test]
async fn a_failure_of_somebody_else_is_no_answer() {
    let failing = "HTTP/1.1 503 No\r\nx-smi-request-id: {id}\r\nx-smi-workload: server\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(outcome_of_answer(failing).await, Unanswered::Http(503));
}

#[tokio::test]
async fn answered() {
    for protocol in PROTOCOLS {
        for connection in [Connection::Fresh, Connection::Reuse] {
            let (workload, address) = workload_over(protocol, "server").await;
            let asked = Probe { count: 5, concurrency: 2, connection, ..over(protocol, probe_to(address)) };
            let result = sent(&asked).await;
            assert_eq!(result.tally.sent, 5);
            assert_eq!(result.tally.answered, [("server".parse().unwrap(), 5)].into(), "{protocol:?} {connection:?}");
            assert_eq!((result.tally.non_answers(), result.unanswered_ids.len()), (0, 0));
            assert_eq!(workload.log().dropped(), 0);
        }
    }
}

#[tokio::test]
async fn refused() {
    let (_closed, address) = closed();
    for protocol in PROTOCOLS {
        assert_eq!(outcome(&over(protocol, probe_to(address))).await, Unanswered::Refused, "{protocol:?}");
    }
}

#[tokio::test]
async fn reset() {
    let seen = outcome_of(async |mut stream| {
        head(&mut stream).await;
        stream.set_zero_linger().unwrap();
    });
    assert_eq!(seen.await, Unanswered::Reset);
}

#[tokio::test]
async fn reset_before_the_request_was_read() {
    assert_eq!(outcome_of(async |stream| stream.set_zero_linger().unwrap()).await, Unanswered::Reset);
}

#[tokio::test]
async fn reset_within_a_response() {
    let seen = outcome_of(async |mut stream| {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200").await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    // Linux gives out what arrived before the reset, or not; both are what happened.
    assert!(matches!(seen.await, Unanswered::Reset | Unanswered::NotHttp));
}

#[tokio::test]
async fn empty_reply() {
    let seen = outcome_of(async |mut stream| {
        head(&mut stream).await;
    });
    assert_eq!(seen.await, Unanswered::EmptyReply);
}

#[tokio::test]
async fn not_http() {
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(64 * 1024));
    let settings_frame = "\0\0\0\u{4}\0\0\0\0\0";
    for text in ["garbage", "garbage\r\n\r\n", "HTTP/1.1 2", "HTTP/1.1 999 ?\r\n\r\n", settings_frame, &long] {
        assert_eq!(outcome_of_answer(text).await, Unanswered::NotHttp, "{text:.40}");
    }
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    assert_eq!(outcome_of_answer(&endless).await, Unanswered::NotHttp);
}

#[tokio::test]
async fn timeout() {
    let (_never_accepts, address) = listener().await;
    let _never_answers = UdpSocket::bind(address).await.unwrap();
    for protocol in PROTOCOLS {
        let asked = Probe { timeout_ms: 50, ..over(protocol, probe_to(address)) };
        assert_eq!(outcome(&asked).await, Unanswered::Timeout, "{protocol:?}");
    }
}

#[tokio::test]
async fn timeout_within_a_response() {
    let (listener, address) = listener().await;
    let asked = Probe { timeout_ms: 50, ..probe_to(address) };
    let holding = async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        stream
    };
    let (outcome, _stream) = tokio::join!(outcome(&asked), holding);
    assert_eq!(outcome, Unanswered::Timeout);
}

#[tokio::test]
async fn unreachable() {
    let broadcast: IpAddr = "255.255.255.255".parse().unwrap();
    for protocol in PROTOCOLS {
        let asked = over(protocol, probe_to(SocketAddr::new(broadcast, 9)));
        let seen = outcome(&Probe { address: Some(broadcast), ..asked }).await;
        assert_eq!(seen, Unanswered::Unreachable, "{protocol:?}");
    }
}

#[tokio::test]
async fn name_error() {
    let (_, address) = workload("server").await;
    for protocol in PROTOCOLS {
        let asked = Probe { count: 3, host: "no-such-name.invalid".to_owned(), address: None, ..probe_to(address) };
        let result = sent(&Probe { timeout_ms: 500, ..over(protocol, asked) }).await;
        assert_eq!(result.tally.unanswered, [(Unanswered::NameError, 3)].into(), "{protocol:?}");
        assert_eq!(result.unanswered_ids.len(), 3);
    }
}

#[tokio::test]
async fn names_are_resolved() {
    let (_, address) = workload("server").await;
    for protocol in [Protocol::Http, Protocol::H2c] {
        let named = Probe { host: "localhost".to_owned(), address: None, ..probe_to(address) };
        assert_eq!(sent(&over(protocol, named)).await.tally.answers(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_response_of_somebody_else() {
    for (text, status) in [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", 403),
        ("HTTP/1.0 503 Service Unavailable\r\n\r\nno healthy upstream", 503),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", 404),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", 101),
        ("HTTP/1.1 200 OK\r\n\r\n{id}", 200),
        ("HTTP/1.1 200 OK\r\nx-smi-request-id: {id}\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\nx-smi-request-id: {id}\r\nx-smi-workload: No Slug\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\nx-smi-request-id: 4ff190b4c2c573ec999d8db75f206447\r\nx-smi-workload: a\r\n\r\n", 200),
        ("HTTP/1.1 503 Unavailable\r\nx-smi-request-id: {id}\r\nx-smi-workload: a\r\n\r\n", 503),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 200),
    ] {
        assert_eq!(outcome_of_answer(text).await, Unanswered::Http(status), "{text}");
    }
}

#[tokio::test]
async fn what_a_peer_says_before_it_resets_counts() {
    let (listener, address) = listener().await;
    let asked = Probe { headers: [("x".to_owned(), "y".repeat(8000))].into(), ..probe_to(address) };
    let (seen, ()) = tokio::join!(outcome(&asked), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        head(&mut stream).await;
    });
    assert_eq!(seen, Unanswered::Http(403));
}

#[tokio::test]
async fn an_answer_whose_body_breaks_off_is_an_answer() {
    let (listener, address) = listener().await;
    let asked = probe_to(address);
    let (result, ()) = tokio::join!(sent(&asked), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let id = field(&head(&mut stream).await, ID).unwrap().to_owned();
        let answer =
            format!("HTTP/1.1 200 OK\r\n{ID}: {id}\r\nx-smi-workload: server\r\ncontent-length: 100\r\n\r\npart of it");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    assert_eq!(result.tally.answers(), 1);
}

#[tokio::test]
async fn a_fault_of_this_machine_is_no_outcome() {
    // A link-local address without an interface.
    for protocol in PROTOCOLS {
        let nowhere = Probe { address: Some("fe80::1".parse().unwrap()), ..probe_to("127.0.0.1:9".parse().unwrap()) };
        assert!(matches!(within(probe(&over(protocol, nowhere))).await, Err(ProbeError::Local(_))), "{protocol:?}");
    }
}

#[tokio::test]
async fn ids_of_unanswered_requests_are_those_that_were_sent() {
    let (listener, address) = listener().await;
    let asked = Probe { count: 5, concurrency: 1, ..probe_to(address) };
    let (result, seen) = tokio::join!(sent(&asked), async {
        let mut seen: Vec<RequestId> = Vec::new();
        for _ in 0..asked.count {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            seen.push(field(&head(&mut stream).await, ID).unwrap().parse().unwrap());
        }
        seen
    });
    assert_eq!(result.unanswered_ids, seen);
}

#[tokio::test]
async fn every_method_is_sent_and_answered() {
    let (_, address) = workload("server").await;
    for method in [
        Method::Get,
        Method::Head,
        Method::Put,
        Method::Post,
        Method::Delete,
        Method::Connect,
        Method::Options,
        Method::Trace,
        Method::Patch,
    ] {
        for connection in [Connection::Fresh, Connection::Reuse] {
            let asked = Probe { method, connection, count: 2, ..probe_to(address) };
            let result = sent(&asked).await;
            assert_eq!(result.tally.answers(), 2, "{method:?} {connection:?}: {result:?}");
            if method != Method::Connect {
                let result = sent(&over(Protocol::H2c, asked)).await;
                assert_eq!(result.tally.answers(), 2, "h2c {method:?} {connection:?}: {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn connections_are_fresh_or_reused() {
    for (connection, expected) in [(Connection::Fresh, 4), (Connection::Reuse, 1)] {
        let (listener, address) = listener().await;
        let (_, behind) = workload("server").await;
        let accepting = async {
            let mut accepted = 0;
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                accepted += 1;
                let mut far = TcpStream::connect(behind).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.unwrap();
                if connection == Connection::Reuse || accepted == 4 {
                    return accepted;
                }
            }
        };
        let asked = Probe { count: 4, connection, ..probe_to(address) };
        let (result, accepted) = tokio::join!(sent(&asked), within(accepting));
        assert_eq!((result.tally.answers(), accepted), (4, expected));
    }
}

#[tokio::test]
async fn a_connection_that_the_other_side_closes_is_not_reused() {
    let (listener, address) = listener().await;
    let asked = Probe { count: 2, connection: Connection::Reuse, ..probe_to(address) };
    let (result, ()) = tokio::join!(sent(&asked), async {
        for connection in ["close", "Keep-Alive, Close"] {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            head(&mut stream).await;
            let response = format!("HTTP/1.1 403 Forbidden\r\nconnection: {connection}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(result.tally.unanswered, [(Unanswered::Http(403), 2)].into());
}
