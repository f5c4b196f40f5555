//! The control protocol, over a real abstract socket.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::sync::Arc;

use serde_json::{Value, json};
use smi_agent::control::{self, MAX_LINE_BYTES, MAX_RUNNING};
use smi_agent::{RequestId, Workload};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::{closed, head, listener, within, workload};

/// A session with a workload; `name` is the test's own.
fn session(name: &str) -> (BufReader<UnixStream>, Arc<Workload>) {
    let name = format!("smi-agent-test-{name}-{}", std::process::id());
    let workload = Arc::new(Workload::new("client".parse().unwrap()));
    tokio::spawn(control::serve(control::listen(&name).unwrap(), Arc::clone(&workload), std::future::pending()));
    (connect(&name), workload)
}

fn connect(name: &str) -> BufReader<UnixStream> {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    stream.set_nonblocking(true).unwrap();
    BufReader::new(UnixStream::from_std(stream).unwrap())
}

async fn say(session: &mut BufReader<UnixStream>, line: &str) {
    within(session.write_all(format!("{line}\n").as_bytes())).await.unwrap();
}

async fn hear(session: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    within(session.read_line(&mut line)).await.unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

async fn ask(session: &mut BufReader<UnixStream>, line: &str) -> Value {
    say(session, line).await;
    hear(session).await
}

fn probe(id: u64, address: SocketAddr, count: u32) -> String {
    json!({"id": id, "command": {"probe": {
        "count": count, "concurrency": 4, "host": "127.0.0.1", "port": address.port(),
        "method": "GET", "path": "/", "timeoutMs": 10_000, "seed": 7,
    }}})
    .to_string()
}

#[tokio::test]
async fn commands_are_answered_under_their_ids() {
    let (mut session, workload) = session("commands");
    assert_eq!(ask(&mut session, r#"{"id":1,"command":"ping"}"#).await, json!({"id": 1, "reply": "pong"}));
    let identity = json!({"workload": "client", "agent": smi_agent::VERSION});
    let largest = u64::MAX;
    assert_eq!(
        ask(&mut session, &format!(r#"{{"id":{largest},"command":"identity"}}"#)).await,
        json!({"id": largest, "reply": {"identity": identity}})
    );
    let (seen, unseen) = (RequestId::derive(1, 1), RequestId::derive(1, 2));
    workload.log().record(seen);
    assert_eq!(
        ask(&mut session, &json!({"id": 2, "command": {"logged": [unseen, seen]}}).to_string()).await,
        json!({"id": 2, "reply": {"logged": {"ids": [seen], "dropped": 0}}})
    );
}

#[tokio::test]
async fn a_probe_is_executed_by_the_agent() {
    let (mut session, _) = session("probe");
    let (server, address) = workload("server").await;
    let answer = ask(&mut session, &probe(1, address, 20)).await;
    assert_eq!(answer["reply"]["probe"]["tally"], json!({"sent": 20, "answered": {"server": 20}}));
    assert_eq!(server.log().dropped(), 0);
}

#[tokio::test]
async fn the_largest_probe_fits_into_a_line() {
    let (mut session, _) = session("largest");
    let (_closed, address) = closed();
    let answer = ask(&mut session, &probe(1, address, smi_agent::client::MAX_COUNT)).await;
    let ids = answer["reply"]["probe"]["unansweredIds"].as_array().unwrap();
    assert_eq!(ids.len(), 10_000);
    let logged = ask(&mut session, &json!({"id": 2, "command": {"logged": ids}}).to_string()).await;
    assert_eq!(logged, json!({"id": 2, "reply": {"logged": {"ids": [], "dropped": 0}}}));
}

#[tokio::test]
async fn what_is_no_call_is_answered_and_the_session_goes_on() {
    let (mut session, _) = session("malformed");
    for (line, id) in [
        ("", None),
        ("sing", None),
        (r#"{"id":1}"#, Some(1)),
        (r#"{"id":-1,"command":"ping"}"#, None),
        (r#"{"id":1,"command":"sing"}"#, Some(1)),
        (r#"{"id":1,"command":"ping","also":2}"#, Some(1)),
        (r#"{"id":1,"id":2,"command":"ping"}"#, None),
        (r#"{"id":1,"command":{"probe":{"count":1}}}"#, Some(1)),
        (r#"{"id":1,"command":{"logged":["x"]}}"#, Some(1)),
        ("\u{0}\u{fffd}", None),
    ] {
        let answer = ask(&mut session, line).await;
        assert_eq!(answer["id"], json!(id), "{line}: {answer}");
        assert_eq!(answer["reply"]["error"]["kind"], "malformed", "{line}: {answer}");
    }
    let unsendable = probe(3, "127.0.0.1:9".parse().unwrap(), 0);
    assert_eq!(ask(&mut session, &unsendable).await["reply"]["error"]["kind"], "refused");
    assert_eq!(ask(&mut session, r#"{"id":4,"command":"ping"}"#).await["reply"], "pong");
}

#[tokio::test]
async fn an_overlong_line_is_answered_and_the_session_goes_on() {
    let (mut session, _) = session("overlong");
    let answer = ask(&mut session, &"x".repeat(3 * MAX_LINE_BYTES)).await;
    assert_eq!((&answer["id"], &answer["reply"]["error"]["kind"]), (&Value::Null, &json!("overlong")));
    assert_eq!(ask(&mut session, r#"{"id":1,"command":"ping"}"#).await["reply"], "pong");
}

#[tokio::test]
async fn a_fault_of_the_machine_is_told_apart() {
    let (mut session, _) = session("local");
    let call = json!({"id": 1, "command": {"probe": {
        "count": 1, "host": "a", "port": 9, "address": "fe80::1", "path": "/", "timeoutMs": 1000, "seed": 7,
    }}});
    assert_eq!(ask(&mut session, &call.to_string()).await["reply"]["error"]["kind"], "local");
}

#[tokio::test]
async fn a_slow_command_holds_up_no_other_until_there_are_too_many() {
    let (mut session, _) = session("slow");
    let (silent, address) = listener().await;
    for id in 1..MAX_RUNNING as u64 {
        say(&mut session, &probe(id, address, 1)).await;
    }
    let mut held = Vec::new();
    for _ in 1..MAX_RUNNING {
        held.push(within(silent.accept()).await.unwrap().0);
    }
    assert_eq!(ask(&mut session, r#"{"id":100,"command":"ping"}"#).await["id"], 100);
    say(&mut session, &probe(101, address, 1)).await;
    held.push(within(silent.accept()).await.unwrap().0);

    // Every place is taken. The ping is read when one of the probes is over.
    say(&mut session, r#"{"id":102,"command":"ping"}"#).await;
    drop(held.pop());
    assert_eq!(hear(&mut session).await["id"], 101);
    assert_eq!(hear(&mut session).await["id"], 102);
}

#[tokio::test]
async fn the_end_of_the_calls_lets_those_under_way_finish() {
    let (mut session, _) = session("drain");
    let (silent, address) = listener().await;
    say(&mut session, &probe(1, address, 1)).await;
    let (mut stream, _) = within(silent.accept()).await.unwrap();
    head(&mut stream).await;
    session.shutdown().await.unwrap();
    drop(stream);
    assert_eq!(hear(&mut session).await["reply"]["probe"]["tally"]["unanswered"], json!({"empty-reply": 1}));
    assert_eq!(within(session.read_u8()).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn an_interrupted_session_drops_what_is_under_way() {
    let (mut session, _) = session("interrupted");
    let (silent, address) = listener().await;
    say(&mut session, &probe(1, address, 1)).await;
    let (mut stream, _) = within(silent.accept()).await.unwrap();
    head(&mut stream).await;
    session.write_all(br#"{"id":2,"comm"#).await.unwrap();
    drop(session);
    // The line that was cut off is answered, and so it is found that nobody listens any more.
    assert!(within(stream.read_u8()).await.is_err());
}

#[tokio::test]
async fn sessions_exist_side_by_side() {
    let (mut first, _) = session("side");
    let mut second = connect(&format!("smi-agent-test-side-{}", std::process::id()));
    assert_eq!(ask(&mut second, r#"{"id":1,"command":"ping"}"#).await["reply"], "pong");
    assert_eq!(ask(&mut first, r#"{"id":1,"command":"ping"}"#).await["reply"], "pong");
}
