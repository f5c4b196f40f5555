//! Every outcome of lines over TCP and UDP, made to happen.

use std::net::{Ipv4Addr, SocketAddr};

use smi_agent::line::{MAX_ANSWER_BYTES, REQUEST_BYTES};
use smi_agent::{Connection, Probe, ProbeResult, RequestId};
use smi_schemas::report::Unanswered;
use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::outcomes::{outcome, sent};
use crate::{listener, over, probe_to, told, within, workload};

const OTHER: &str = "4ff190b4c2c573ec999d8db75f206447";

fn id_of(line: &[u8]) -> RequestId {
    let line = str::from_utf8(line).unwrap();
    line.strip_prefix("smi/1 ").and_then(|rest| rest.strip_suffix('\n')).unwrap().parse().unwrap()
}

/// Reads one request.
async fn asked(stream: &mut TcpStream) -> RequestId {
    let mut line = [0; REQUEST_BYTES];
    within(stream.read_exact(&mut line)).await.unwrap();
    id_of(&line)
}

/// What comes of a probe when a server does this with the first connection.
async fn result_of(
    probe: impl FnOnce(SocketAddr) -> Probe,
    behaviour: impl AsyncFnOnce(&mut TcpStream),
) -> ProbeResult {
    let (listener, address) = listener().await;
    let probe = over(Protocol::Tcp, probe(address));
    let (result, ()) = tokio::join!(sent(&probe), async {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        behaviour(&mut stream).await;
    });
    result
}

/// What a request is called when a server does this with its connection.
async fn outcome_of(behaviour: impl AsyncFnOnce(&mut TcpStream)) -> Unanswered {
    let result = result_of(probe_to, behaviour).await;
    *result.tally.unanswered.keys().next().expect("an answer")
}

#[tokio::test]
async fn reset() {
    let after_request = outcome_of(async |stream| {
        asked(stream).await;
        stream.set_zero_linger().unwrap();
    });
    assert_eq!(after_request.await, Unanswered::Reset);
    assert_eq!(outcome_of(async |stream| stream.set_zero_linger().unwrap()).await, Unanswered::Reset);
}

#[tokio::test]
async fn empty_reply() {
    let seen = outcome_of(async |stream| {
        asked(stream).await;
    });
    assert_eq!(seen.await, Unanswered::EmptyReply);
}

/// Text that answers nobody's request, when `{id}` stands for the request's id.
const FOREIGN: [&str; 12] = [
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
    "\u{15}\u{3}\u{1}\0\u{2}\u{2}F",
    "x",
    "\n",
    "smi/1\n",
    "smi/1 {id}\n",
    "smi/1 {id} \n",
    "smi/1 {id} No Slug\n",
    "smi/1 {id} server\r\n",
    "smi/1 {id} server 2\n",
    "smi/2 {id} server\n",
    "smi/1  {id} server\n",
];

#[tokio::test]
async fn foreign_over_tcp() {
    let endless = format!("smi/1 {{id}} {}\n", "a".repeat(MAX_ANSWER_BYTES));
    let of_another = format!("smi/1 {OTHER} server\n");
    for text in FOREIGN.into_iter().chain([endless.as_str(), &of_another]) {
        for held in [false, true] {
            let seen = outcome_of(async |stream| {
                let text = text.replace("{id}", &asked(stream).await.to_string());
                stream.write_all(text.as_bytes()).await.unwrap();
                if held {
                    let _ = within(stream.read_to_end(&mut Vec::new())).await;
                }
            });
            assert_eq!(seen.await, Unanswered::Foreign, "{text:?}, held: {held}");
        }
    }
}

#[tokio::test]
async fn half_an_answer_is_foreign_when_it_ends_and_a_timeout_when_it_does_not() {
    for end in [1, 6, 20, 38, 39, 45] {
        let half = |id: RequestId| format!("smi/1 {id} server\n")[..end].to_owned();
        let ended = outcome_of(async |stream| {
            let id = asked(stream).await;
            stream.write_all(half(id).as_bytes()).await.unwrap();
        });
        assert_eq!(ended.await, Unanswered::Foreign, "{end} bytes");
        let short = |address| Probe { timeout_ms: 50, ..probe_to(address) };
        let held = result_of(short, async |stream| {
            let id = asked(stream).await;
            stream.write_all(half(id).as_bytes()).await.unwrap();
            let _ = within(stream.read_to_end(&mut Vec::new())).await;
        });
        assert_eq!(held.await.tally.unanswered, [(Unanswered::Timeout, 1)].into(), "{end} bytes");
    }
}

#[tokio::test]
async fn what_a_peer_says_before_it_resets_counts() {
    let seen = outcome_of(async |stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        asked(stream).await;
    });
    assert_eq!(seen.await, Unanswered::Foreign);
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let result = result_of(probe_to, async |stream| {
        let answer = format!("smi/1 {} server\n", asked(stream).await);
        for byte in answer.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(result.await.tally.answered, [("server".parse().unwrap(), 1)].into());
}

#[tokio::test]
async fn a_connection_is_kept_unless_more_than_an_answer_came() {
    let reuse = |address| Probe { count: 3, connection: Connection::Reuse, ..probe_to(address) };
    let kept = result_of(reuse, async |stream| {
        for _ in 0..3 {
            let answer = format!("smi/1 {} server\n", asked(stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(kept.await.tally.answers(), 3);

    let (listener, address) = listener().await;
    let probe = over(Protocol::Tcp, reuse(address));
    let (result, ()) = tokio::join!(sent(&probe), async {
        for _ in 0..probe.count {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            let answer = format!("smi/1 {} server\nx", asked(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = within(stream.read_to_end(&mut Vec::new())).await;
        }
    });
    assert_eq!(result.tally.answers(), 3);
}

#[tokio::test]
async fn http_and_lines_do_not_understand_each_other() {
    let (_, http) = workload("server").await;
    assert_eq!(outcome(&over(Protocol::Tcp, probe_to(http))).await, Unanswered::Foreign);
    let (_, line) = crate::workload_over(Protocol::Tcp, "server").await;
    for protocol in [Protocol::Http, Protocol::H2c] {
        let seen = outcome(&over(protocol, probe_to(line))).await;
        // It ends with unread bytes or without.
        assert!(matches!(seen, Unanswered::Reset | Unanswered::EmptyReply), "{protocol:?} {seen}");
    }
    assert_eq!(told(line, "GET / HTTP/1.1\r\n\r\n").await, "");
}

/// A socket that answers by hand.
async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next request, and who sent it.
async fn received(socket: &UdpSocket) -> (RequestId, SocketAddr) {
    let mut datagram = [0; 2 * REQUEST_BYTES];
    let (length, from) = within(socket.recv_from(&mut datagram)).await.unwrap();
    (id_of(&datagram[..length]), from)
}

#[tokio::test]
async fn foreign_over_udp() {
    let (socket, address) = socket().await;
    let probe = over(Protocol::Udp, probe_to(address));
    let endless = format!("smi/1 {{id}} {}\n", "a".repeat(MAX_ANSWER_BYTES));
    let twice = "smi/1 {id} server\nsmi/1 {id} server\n".to_owned();
    for text in FOREIGN.into_iter().chain(["", "smi/1 {id} serve", endless.as_str(), &twice]) {
        let (seen, ()) = tokio::join!(outcome(&probe), async {
            let (id, from) = received(&socket).await;
            socket.send_to(text.replace("{id}", &id.to_string()).as_bytes(), from).await.unwrap();
        });
        assert_eq!(seen, Unanswered::Foreign, "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_to_another_datagram_is_passed_over() {
    let (socket, address) = socket().await;
    let probe = Probe { timeout_ms: 300, count: 2, ..over(Protocol::Udp, probe_to(address)) };
    let (result, ()) = tokio::join!(sent(&probe), async {
        for answered in [true, false] {
            let (id, from) = received(&socket).await;
            socket.send_to(format!("smi/1 {OTHER} server\n").as_bytes(), from).await.unwrap();
            if answered {
                socket.send_to(format!("smi/1 {id} server\n").as_bytes(), from).await.unwrap();
            }
        }
    });
    assert_eq!((result.tally.answers(), result.tally.unanswered), (1, [(Unanswered::Timeout, 1)].into()));
}

#[tokio::test]
async fn a_datagram_of_a_stranger_is_no_answer() {
    let (socket, address) = socket().await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let probe = Probe { timeout_ms: 100, ..over(Protocol::Udp, probe_to(address)) };
    let (seen, ()) = tokio::join!(outcome(&probe), async {
        let (id, from) = received(&socket).await;
        stranger.send_to(format!("smi/1 {id} stranger\n").as_bytes(), from).await.unwrap();
    });
    assert_eq!(seen, Unanswered::Timeout);
}

#[tokio::test]
async fn datagrams_are_sent_once_from_a_port_of_their_own_or_of_their_lane() {
    for (connection, expected) in [(Connection::Fresh, 4), (Connection::Reuse, 1)] {
        let (socket, address) = socket().await;
        let probe = Probe { count: 4, connection, ..over(Protocol::Udp, probe_to(address)) };
        let (result, ports) = tokio::join!(sent(&probe), async {
            let mut ports = Vec::new();
            for _ in 0..4 {
                let (id, from) = received(&socket).await;
                // Time to send it again.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                socket.send_to(format!("smi/1 {id} server\n").as_bytes(), from).await.unwrap();
                ports.push(from.port());
            }
            ports.sort_unstable();
            ports.dedup();
            ports.len()
        });
        assert_eq!((result.tally.answers(), ports), (4, expected), "{connection:?}");
        assert_eq!(socket.try_recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
