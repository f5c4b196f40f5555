//! What a workload answers, and what it remembers.

use std::sync::Arc;

use serde_json::{Value, json};
use smi_agent::server::MAX_BODY_BYTES;
use smi_agent::{Probe, RequestId, Workload, probe, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::{field, head, listener, probe_to, told, within, workload};

const ID: &str = "4ff190b4c2c573ec999d8db75f206447";

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn an_answer_says_who_and_what_was_asked() {
    let (workload, address) = workload("server").await;
    let request = format!(
        "PUT //a/../b?c#d HTTP/1.1\r\nHost: x\r\nX-Smi-Request-Id: {ID}\r\nA: 1\r\na: 2\r\nConnection: close\r\n\r\n"
    );
    let answer = told(address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!((field(&answer, "x-smi-workload"), field(&answer, "x-smi-request-id")), (Some("server"), Some(ID)));
    assert_eq!(
        body(&answer),
        json!({
            "workload": "server", "agent": smi_agent::VERSION,
            "request": {
                "id": ID, "method": "PUT", "target": "//a/../b?c#d",
                "headers": [["Host", "x"], ["X-Smi-Request-Id", ID], ["A", "1"], ["a", "2"], ["Connection", "close"]],
            },
        })
    );
    assert!(workload.log().contains(&ID.parse().unwrap()));
}

#[tokio::test]
async fn a_request_without_a_well_formed_id_is_answered_and_not_logged() {
    let (_, address) = workload("server").await;
    for fields in ["", "x-smi-request-id: 4FF190B4C2C573EC999D8DB75F206447\r\n", "x-smi-request-id: \u{fffd}\r\n"] {
        let answer = told(address, &format!("GET / HTTP/1.1\r\n{fields}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!((field(&answer, "x-smi-request-id"), &body(&answer)["request"]["id"]), (None, &Value::Null));
    }
}

#[tokio::test]
async fn targets_travel_byte_for_byte() {
    let (_, address) = workload("server").await;
    for target in [
        "/a/../b",
        "/./",
        "//x",
        "/%2e%2E",
        "/a#b",
        "/<>\"`{}|\\^~",
        "/\u{e9}\u{1f980}",
        "*",
        "http://h/../a",
        "a",
        "?",
    ] {
        let (relay, relay_address) = listener().await;
        let asked = Probe { path: target.to_owned(), ..probe_to(relay_address) };
        let (result, request) = tokio::join!(
            within(probe(&asked)),
            within(async {
                let (mut near, _) = relay.accept().await.unwrap();
                let request = head(&mut near).await;
                near.write_all(told(address, &request).await.as_bytes()).await.unwrap();
                request
            })
        );
        assert_eq!(result.unwrap().tally.answers(), 1, "{target}");
        assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{request}");
        assert_eq!(body(&told(address, &request).await)["request"]["target"], target);
    }
}

#[tokio::test]
async fn a_request_is_logged_before_it_has_arrived_as_a_whole() {
    let (workload, address) = workload("server").await;
    let id: RequestId = ID.parse().unwrap();
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("POST / HTTP/1.1\r\nx-smi-request-id: {ID}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(workload.log().contains(&id));
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(field(&head(&mut stream).await, "x-smi-request-id"), Some(ID));
    })
    .await;
    let other = RequestId::derive(1, 1);
    let too_large =
        format!("POST / HTTP/1.1\r\nx-smi-request-id: {other}\r\ncontent-length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    assert!(told(address, &too_large).await.starts_with("HTTP/1.1 413 "));
    assert!(workload.log().contains(&other));
}

#[tokio::test]
async fn what_a_client_lost_is_found_in_the_log() {
    let (workload, address) = workload("server").await;
    let (relay, relay_address) = listener().await;
    let asked = probe_to(relay_address);
    let (result, ()) = tokio::join!(
        within(probe(&asked)),
        within(async {
            let (mut near, _) = relay.accept().await.unwrap();
            let request = head(&mut near).await;
            told(address, &request).await;
        })
    );
    let lost = result.unwrap().unanswered_ids;
    assert!(lost.len() == 1 && workload.log().contains(&lost[0]));
}

#[tokio::test]
async fn heads_carry_the_answer_where_bodies_may_not() {
    let (_, address) = workload("server").await;
    for (method, length) in [("HEAD", true), ("CONNECT", false)] {
        let answer =
            told(address, &format!("{method} / HTTP/1.1\r\nx-smi-request-id: {ID}\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(field(&answer, "x-smi-request-id"), Some(ID));
        assert_eq!(field(&answer, "content-length").is_some(), length, "{answer}");
    }
}

#[tokio::test]
async fn requests_follow_one_another_on_a_connection() {
    let (_, address) = workload("server").await;
    let chunked = "POST /1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answers =
        told(address, &format!("{chunked}GET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.0\r\n\r\nGET /4 HTTP/1.1\r\n\r\n")).await;
    let targets: Vec<_> = answers.split("\"target\":\"").skip(1).map(|rest| &rest[..2]).collect();
    assert_eq!(targets, ["/1", "/2", "/3"], "nothing follows HTTP/1.0");
}

#[tokio::test]
async fn many_workloads_live_in_one_process() {
    let mut seen = Vec::new();
    for number in 0..50 {
        let name = format!("workload-{number}");
        let (_, address) = workload(&name).await;
        let result = within(probe(&probe_to(address))).await.unwrap();
        seen.push(result.tally.answered.contains_key(&name.parse().unwrap()));
    }
    assert!(seen.into_iter().all(|answered| answered));
}

#[tokio::test]
async fn shutdown_ends_connections_and_frees_the_address() {
    // No other test listens at this address and could take over the port.
    let listener = TcpListener::bind("127.0.0.9:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let workload = Arc::new(Workload::new("server".parse().unwrap()));
    let served = tokio::spawn(serve(listener, workload, async {
        let _ = stopped.await;
    }));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    within(head(&mut idle)).await;
    stop.send(()).unwrap();
    within(served).await.unwrap();
    // Ended or reset, but ended.
    let _ = within(idle.read_to_end(&mut Vec::new())).await;
    assert!(TcpStream::connect(address).await.is_err());
}
