//! The contract of Learn Layer5's sample application.

use serde_json::{Value, json};
use smi_agent::{Probe, probe};
use smi_schemas::smi::Method;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

use crate::{closed, head, listener, probe_to, told, within, workload};

/// Status and body of what is answered to a request with this body.
async fn ask(address: SocketAddr, request: &str, body: &str) -> (u16, String) {
    let text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = told(address, &text).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn metrics(address: SocketAddr) -> Value {
    let (status, body) = ask(address, "GET /metrics", "").await;
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_call_reaches_another_workload_and_both_note_it() {
    let (_, a) = workload("service-a").await;
    let (_, b) = workload("service-b").await;
    let url = format!("http://localhost:{}/echo?x=//y", b.port());
    let call = json!({"url": url, "method": "POST", "body": "hello", "headers": {"h1": "v1"}});
    let (status, body) = ask(a, "POST /call", &call.to_string()).await;
    assert_eq!(status, 200);
    let expected = format!(
        "POST /echo?x=//y HTTP/1.1\r\nHost: localhost:{}\r\nh1: v1\r\nContent-Length: 5\r\n\
         ServiceName: service-a\r\nConnection: close\r\n\r\nhello",
        b.port()
    );
    assert_eq!(body, expected, "the request as it came");
    let called = json!({"URL": url, "Method": "POST", "Headers": {"h1": "v1"}});
    assert_eq!(metrics(a).await, json!({"ReqReceived": ["Unidentified"], "RespSucceeded": [called], "RespFailed": []}));
    assert_eq!(metrics(b).await, json!({"ReqReceived": ["service-a"], "RespSucceeded": [], "RespFailed": []}));
}

#[tokio::test]
async fn responses_are_sorted_by_status() {
    let (_, a) = workload("service-a").await;
    for (status, list) in [(204, "RespSucceeded"), (302, "RespSucceeded"), (403, "RespFailed"), (503, "RespFailed")] {
        let (upstream, address) = listener().await;
        let url = format!("http://{address}/");
        let call = json!({"url": url, "method": "GET", "body": ""}).to_string();
        let ((answered, body), ()) = tokio::join!(
            ask(a, "POST /call", &call),
            within(async {
                let (mut stream, _) = upstream.accept().await.unwrap();
                head(&mut stream).await;
                stream.write_all(format!("HTTP/1.1 {status} ?\r\n\r\nupstream").as_bytes()).await.unwrap();
            })
        );
        assert_eq!((answered, body.as_str()), (200, if status == 204 { "" } else { "upstream" }));
        let expected = json!({"URL": url, "Method": "GET", "Headers": null});
        assert_eq!(metrics(a).await[list].as_array().unwrap().last(), Some(&expected), "{status}");
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_in_neither_list() {
    let (_, a) = workload("service-a").await;
    let (_closed, address) = closed();
    for url in [format!("http://{address}/"), "http://no-such-name.invalid/".to_owned()] {
        let (status, _) = ask(a, "POST /call", &json!({"url": url}).to_string()).await;
        assert_eq!(status, 500, "{url}");
    }
    let metrics = metrics(a).await;
    assert_eq!((&metrics["RespSucceeded"], &metrics["RespFailed"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn what_is_no_call_is_refused_or_ignored() {
    let (_, a) = workload("service-a").await;
    for (request, body, status) in [
        ("POST /call", "{", 400),
        ("POST /call", "{}", 400),
        ("POST /call", r#"{"url":"https://b/"}"#, 400),
        ("POST /call", r#"{"url":"http://b/","method":"A B"}"#, 400),
        ("POST /call", "", 200),
        ("GET /call", r#"{"url":"http://b/"}"#, 200),
        ("PUT /metrics", "", 400),
    ] {
        assert_eq!(ask(a, request, body).await.0, status, "{request} {body}");
    }
}

#[tokio::test]
async fn metrics_are_cleared() {
    let (_, a) = workload("service-a").await;
    ask(a, "GET /echo", "").await;
    assert_eq!(metrics(a).await["ReqReceived"], json!(["Unidentified"]));
    assert_eq!(ask(a, "DELETE /metrics", "").await, (200, String::new()));
    assert_eq!(metrics(a).await, json!({"ReqReceived": [], "RespSucceeded": [], "RespFailed": []}));
}

#[tokio::test]
async fn a_probe_is_answered_as_a_probe_on_these_paths_too() {
    let (_, address) = workload("server").await;
    for path in ["/call", "/echo", "/metrics", "/metrics?x"] {
        for method in [Method::Get, Method::Post, Method::Delete] {
            let asked = Probe { path: path.to_owned(), method, ..probe_to(address) };
            assert_eq!(within(probe(&asked)).await.unwrap().tally.answers(), 1, "{method:?} {path}");
        }
    }
    assert_eq!(metrics(address).await["ReqReceived"], json!([]));
}
