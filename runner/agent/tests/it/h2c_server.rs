//! What a workload answers over HTTP/2, and whom it does not bear with.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use smi_agent::server::{MAX_BODY_BYTES, MAX_STREAMS};
use smi_agent::{Probe, RequestId, Workload, probe, serve};
use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, next, next_of, request, settings,
};
use crate::{over, probe_to, told, within, workload};

const ID: &str = "4ff190b4c2c573ec999d8db75f206447";
/// `:status: 200` in the static table of HPACK.
const STATUS_200: u8 = 0x88;

/// A connection that has said its first words.
async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[PREFACE, &settings()].concat()).await.unwrap();
    stream
}

fn get(stream: u32, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request(target, false, fields))
}

/// The body of the next answer.
async fn body(stream: &mut TcpStream) -> Value {
    let head = within(next_of(stream, HEADERS)).await;
    assert_eq!(head.payload[0], STATUS_200, "{head:?}");
    let mut body = Vec::new();
    loop {
        let data = within(next_of(stream, DATA)).await;
        body.extend(data.payload);
        if data.flags & END_STREAM != 0 {
            return serde_json::from_slice(&body).unwrap();
        }
    }
}

/// Whether a server has ended this connection, by whatever it says last.
async fn ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.is_ok() || !rest.is_empty()
}

#[tokio::test]
async fn an_answer_says_who_and_what_was_asked() {
    let (workload, address) = workload("server").await;
    let mut stream = connect(address).await;
    let fields = [("x-smi-request-id", ID), ("a", "1"), ("a", "2")];
    stream.write_all(&get(1, "//a/../b?c", &fields)).await.unwrap();
    assert_eq!(
        body(&mut stream).await,
        json!({
            "workload": "server", "agent": smi_agent::VERSION,
            "request": {
                "id": ID, "method": "GET", "target": "//a/../b?c",
                "headers": [[":authority", "server.test"], ["x-smi-request-id", ID], ["a", "1"], ["a", "2"]],
            },
        })
    );
    assert!(workload.log().contains(&ID.parse().unwrap()));
}

#[tokio::test]
async fn requests_are_answered_side_by_side_and_logged_before_they_arrive_as_a_whole() {
    let (workload, address) = workload("server").await;
    let mut stream = connect(address).await;
    let unfinished = request("/1", true, &[("x-smi-request-id", ID)]);
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &unfinished)).await.unwrap();
    stream.write_all(&get(3, "/3", &[])).await.unwrap();
    assert_eq!(body(&mut stream).await["request"]["target"], "/3");
    assert!(workload.log().contains(&ID.parse().unwrap()));
    stream.write_all(&frame(DATA, END_STREAM, 1, b"hello")).await.unwrap();
    assert_eq!(
        body(&mut stream).await["request"],
        json!({
            "id": ID, "method": "POST", "target": "/1",
            "headers": [[":authority", "server.test"], ["x-smi-request-id", ID]],
        })
    );
}

#[tokio::test]
async fn a_request_without_a_well_formed_id_is_answered_and_not_logged() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    for (number, fields) in [(1, vec![]), (3, vec![("x-smi-request-id", "4FF190B4C2C573EC999D8DB75F206447")])] {
        stream.write_all(&get(number, "/metrics", &fields)).await.unwrap();
        let answer = body(&mut stream).await;
        assert_eq!((&answer["workload"], &answer["request"]["id"]), (&json!("server"), &Value::Null));
    }
}

#[tokio::test]
async fn targets_travel_byte_for_byte_or_not_at_all() {
    let (_, address) = workload("server").await;
    for target in
        ["/a/../b", "/./", "//x", "/%2e%2E", "/\"{}|\\^~", "/\u{e9}\u{1f980}", "*", "/?x=//y", "http://h/../a", "a"]
    {
        let asked = Probe { path: target.to_owned(), ..over(Protocol::H2c, probe_to(address)) };
        match within(probe(&asked)).await {
            Ok(result) => {
                assert_eq!(result.tally.answers(), 1, "{target}: {result:?}");
                let mut stream = connect(address).await;
                stream.write_all(&get(1, target, &[])).await.unwrap();
                assert_eq!(body(&mut stream).await["request"]["target"], target);
            }
            Err(error) => assert!(error.to_string().starts_with("path cannot"), "{target}: {error}"),
        }
    }
}

/// Sends a body as the server's flow control allows, and reads the head of what is answered.
async fn upload(stream: &mut TcpStream, number: u32, mut left: usize) -> Frame {
    let (mut of_stream, mut of_connection) = (65_535, 65_535);
    loop {
        let part = left.min(of_stream).min(of_connection).min(16_384);
        if part > 0 {
            let flags = if part == left { END_STREAM } else { 0 };
            stream.write_all(&frame(DATA, flags, number, &vec![b'x'; part])).await.unwrap();
            (left, of_stream, of_connection) = (left - part, of_stream - part, of_connection - part);
            continue;
        }
        let frame = within(next(stream)).await.expect("the connection ends");
        match (frame.kind, frame.stream) {
            (HEADERS, _) => return frame,
            (WINDOW_UPDATE, 0) => of_connection += increment(&frame),
            (WINDOW_UPDATE, _) => of_stream += increment(&frame),
            _ => {}
        }
    }
}

fn increment(frame: &Frame) -> usize {
    u32::from_be_bytes(frame.payload[..].try_into().unwrap()) as usize
}

#[tokio::test]
async fn bodies_are_read_to_their_limit() {
    let (_, address) = workload("server").await;
    for (bytes, answered) in [(0, true), (100_000, true), (MAX_BODY_BYTES, true), (MAX_BODY_BYTES + 1, false)] {
        let mut stream = connect(address).await;
        let flags = END_HEADERS | if bytes == 0 { END_STREAM } else { 0 };
        stream.write_all(&frame(HEADERS, flags, 1, &request("/", true, &[]))).await.unwrap();
        let head = upload(&mut stream, 1, bytes).await;
        assert_eq!(head.payload[0] == STATUS_200, answered, "{bytes} bytes: {head:?}");
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    let head = request("/", true, &[("expect", "100-continue")]);
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head)).await.unwrap();
    let go_on = within(next_of(&mut stream, HEADERS)).await;
    assert_eq!((go_on.stream, go_on.flags), (1, END_HEADERS));
    stream.write_all(&frame(DATA, END_STREAM, 1, b"x")).await.unwrap();
    assert_eq!(body(&mut stream).await["workload"], "server");
}

#[tokio::test]
async fn curl_understands_it() {
    // A client whose HTTP/2 is neither ours nor the library's.
    let version = Command::new("curl").arg("--version").output().await;
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains(" HTTP2 ")) {
        eprintln!("not checked: there is no curl with HTTP/2 here");
        return;
    }
    let (workload, address) = workload("server").await;
    let id = format!("x-smi-request-id: {ID}");
    let url = format!("http://{address}/a?b");
    let large = "x".repeat(MAX_BODY_BYTES + 1);
    for (arguments, input, status) in [
        (vec![], "", "200"),
        (vec!["--head"], "", "200"),
        (vec!["--data-binary", "@-"], "hello", "200"),
        (vec!["--data-binary", "@-", "--header", "expect: 100-continue"], "hello", "200"),
        (vec!["--data-binary", "@-"], &large, "413"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--include", "--http2-prior-knowledge", "--path-as-is", "--header", &id, &url]);
        let mut child = curl.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
        let output = within(child.wait_with_output()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let last = said.rsplit("HTTP/2 ").next().unwrap();
        assert!(last.starts_with(status), "{arguments:?}: {said}");
        if status == "200" {
            assert!(last.contains(&format!("\r\nx-smi-workload: server\r\nx-smi-request-id: {ID}\r\n")), "{said}");
            assert_eq!(last.contains("\"target\":\"/a?b\""), arguments != ["--head"], "{said}");
        }
    }
    assert!(workload.log().contains(&ID.parse().unwrap()));
}

#[tokio::test]
async fn http_2_begins_with_the_first_byte_of_a_connection_only() {
    let (_, address) = workload("server").await;
    let preface = str::from_utf8(PREFACE).unwrap();
    let answers = told(address, &format!("GET / HTTP/1.1\r\n\r\n{preface}")).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 Bad Request\r\n"), "{answers}");

    let mut stream = TcpStream::connect(address).await.unwrap();
    for byte in [PREFACE, &settings(), &get(1, "/", &[])].concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(body(&mut stream).await["workload"], "server");
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let (workload, address) = workload("server").await;
    for (reason, bytes) in [
        ("no SETTINGS", [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()),
        ("text", [PREFACE, b"GET / HTTP/1.1\r\n\r\n"].concat()),
        ("too large a frame", [PREFACE, &settings(), &frame(DATA, 0, 1, &vec![0; 1 << 15])].concat()),
        ("DATA of no stream", [PREFACE, &settings(), &frame(DATA, 0, 0, b"x")].concat()),
        ("no HPACK", [PREFACE, &settings(), &frame(HEADERS, END_HEADERS, 1, &[0xff; 16])].concat()),
        ("CONTINUATION of nothing", [PREFACE, &settings(), &frame(CONTINUATION, END_HEADERS, 1, &[])].concat()),
        ("SETTINGS of five bytes", [PREFACE, &settings(), &frame(SETTINGS, 0, 0, &[0; 5])].concat()),
        ("a name in capitals", [PREFACE, &settings(), &get(1, "/", &[("X", "y")])].concat()),
        ("half a frame", [PREFACE, &settings(), b"\0\0\x08\x06"].concat()),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        if reason == "half a frame" {
            stream.shutdown().await.unwrap();
        }
        assert!(ended(&mut stream).await, "{reason}");
    }
    assert_eq!(within(probe(&over(Protocol::H2c, probe_to(address)))).await.unwrap().tally.answers(), 1);
    assert_eq!(workload.log().dropped(), 0);
}

/// What is said on a stream, once the server has said its last on it.
async fn last_words(stream: &mut TcpStream, number: u32) -> Frame {
    loop {
        let frame = within(next(stream)).await.expect("the connection ends");
        if frame.stream == number && (frame.kind == RST_STREAM || frame.flags & END_STREAM != 0) {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_ends_its_stream_only() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    let large = vec![("x", "y"); 1_000];
    stream.write_all(&get(3, "/", &[("connection", "close")])).await.unwrap();
    assert_eq!(last_words(&mut stream, 3).await.kind, RST_STREAM, "a field that HTTP/2 does not have");
    stream.write_all(&get(5, "/<>", &[])).await.unwrap();
    assert_eq!(last_words(&mut stream, 5).await.kind, RST_STREAM, "a target that the library refuses");
    stream.write_all(&get(7, "/", &large)).await.unwrap();
    let refused = last_words(&mut stream, 7).await;
    assert!(refused.kind == HEADERS && refused.payload != [STATUS_200], "431: {refused:?}");
    stream.write_all(&get(9, "/9", &[])).await.unwrap();
    assert_eq!(body(&mut stream).await["request"]["target"], "/9");
}

#[tokio::test]
async fn streams_are_bounded() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    let allowed = within(next_of(&mut stream, SETTINGS)).await;
    let told = allowed.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(told[2..], MAX_STREAMS.to_be_bytes());
    let open = request("/", true, &[]);
    for place in 0..=MAX_STREAMS {
        stream.write_all(&frame(HEADERS, END_HEADERS, 2 * place + 1, &open)).await.unwrap();
    }
    let refused = within(next_of(&mut stream, RST_STREAM)).await;
    assert_eq!((refused.stream, refused.payload), (2 * MAX_STREAMS + 1, vec![0, 0, 0, 7]), "REFUSED_STREAM");
    stream.write_all(&frame(DATA, END_STREAM, 1, &[])).await.unwrap();
    assert_eq!(body(&mut stream).await["workload"], "server");
}

#[tokio::test]
async fn a_client_that_resets_its_streams_again_and_again_is_dropped() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    let flood: Vec<u8> = (0..2_000)
        .flat_map(|place| [get(2 * place + 1, "/", &[]), crate::frames::rst_stream(2 * place + 1, 8)].concat())
        .collect();
    let _ = stream.write_all(&flood).await;
    assert!(ended(&mut stream).await);
    assert_eq!(within(probe(&over(Protocol::H2c, probe_to(address)))).await.unwrap().tally.answers(), 1);
}

#[tokio::test]
async fn many_connections_are_served_side_by_side() {
    let (_, address) = workload("server").await;
    let mut connections = Vec::new();
    for _ in 0..200 {
        connections.push(connect(address).await);
    }
    for stream in &mut connections {
        stream.write_all(&get(1, "/", &[("x-smi-request-id", &RequestId::derive(9, 9).to_string())])).await.unwrap();
    }
    for stream in &mut connections {
        assert_eq!(body(stream).await["workload"], "server");
    }
}

#[tokio::test]
async fn pings_and_settings_are_acknowledged() {
    let (_, address) = workload("server").await;
    let mut stream = connect(address).await;
    stream.write_all(&frame(PING, 0, 0, b"12345678")).await.unwrap();
    let pong = within(next_of(&mut stream, PING)).await;
    assert_eq!((pong.flags, pong.payload.as_slice()), (ACK, &b"12345678"[..]));
}

#[tokio::test]
async fn shutdown_ends_connections() {
    let listener = TcpListener::bind("127.0.0.10:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let workload = Arc::new(Workload::new("server".parse().unwrap()));
    let served = tokio::spawn(serve(listener, workload, async {
        let _ = stopped.await;
    }));
    let mut idle = connect(address).await;
    idle.write_all(&get(1, "/", &[])).await.unwrap();
    body(&mut idle).await;
    stop.send(()).unwrap();
    within(served).await.unwrap();
    // Ended or reset, but ended.
    let _ = within(idle.read_to_end(&mut Vec::new())).await;
    assert!(TcpStream::connect(address).await.is_err());
}
