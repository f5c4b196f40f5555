//! Requests to a publisher, and what it answers. An input is a request as HTTP/1.1 writes it: its line, its headers, an
//! empty line and a body. A header `sign: NAME` has that key sign the body as a statement's payload, so that what is
//! behind the signature is reached.
//!
//! Nothing makes it fail: every refusal is a problem with a code, and what is taken is there afterwards, with its proof.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::Value;
use smi_fuzz::publisher::{ENTRIES, Memory, Running, stocked};
use smi_fuzz::{CLAIMED, json, key, lenient, log, now, unwitnessed, value};
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_verifier::merkle::Hash;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::proof::TlogProof;
use smi_verifier::verify;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// What answers may have; nothing of ours fails here.
const STATUSES: [u16; 8] = [200, 201, 304, 400, 404, 405, 413, 422];

/// Keys that a body may be signed with.
const SIGNERS: [&str; 5] = ["vendor", "careful-vendor", "reviewer", "root", "suite"];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
/// How readers verify what the publisher completed.
static READING: LazyLock<Policy> =
    LazyLock::new(|| Policy { keyring: unwitnessed().clone(), ..lenient(Receipts::Require).clone() });
/// What every publisher begins with, once it has shown that it takes what is sound.
static STOCK: LazyLock<Memory> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let stock = stocked().await;
        let sound = Request::post("/v1/bundles").body(CLAIMED.to_vec()).expect("a request");
        assert!(check(&Running::start(&stock), sound).await, "a sound bundle is not taken");
        stock
    })
});

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // The body of a request is mostly JSON.
    match body_at(&data[..size]) {
        Some(at) if at < size && !seed.is_multiple_of(4) => {
            at + json::mutate(&mut data[at..], size - at, max_size - at, seed / 4)
        }
        _ => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(request) = request(bytes) else { return Corpus::Reject };
    let stock = &*STOCK;
    RUNTIME.block_on(async {
        // Every input meets the same log: a publisher that took something is replaced.
        let running = match RUNNING.take() {
            Some(running) => running,
            None => Running::start(stock),
        };
        if !check(&running, request).await {
            RUNNING.set(Some(running));
        }
    });
    Corpus::Keep
});

/// Sends a request and checks the answer. Whether the log has changed.
async fn check(running: &Running, request: Request<Vec<u8>>) -> bool {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = answer(running, request).await;
    assert!(STATUSES.contains(&answer.status), "{answer:?}");
    if answer.status >= 400 {
        check_problem(&method, &answer);
        return false;
    }
    assert!(method != Method::HEAD || answer.body.is_empty());
    if method == Method::GET {
        check_read(&path, &answer);
        return false;
    }
    if method == Method::POST {
        check_logged(running, &answer).await;
    }
    answer.status == 201
}

#[derive(Debug)]
struct Answer {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

async fn answer(running: &Running, request: Request<Vec<u8>>) -> Answer {
    let response: Response =
        running.roads.clone().oneshot(request.map(Body::from)).await.unwrap_or_else(|error| match error {});
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!((header("access-control-allow-origin"), header("x-content-type-options")), ("*", "nosniff"));
    assert!(!header("cache-control").is_empty());
    let (status, kind) = (response.status().as_u16(), header("content-type").to_owned());
    let mut body = Vec::new();
    if kind == "text/event-stream" {
        // What is there already; it would go on with what is to come.
        let mut stream = response.into_body();
        while let Some(Some(Ok(frame))) = stream.frame().now_or_never() {
            body.extend(frame.into_data().unwrap_or_default());
        }
    } else {
        body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole body").into();
    }
    Answer { status, kind, body }
}

fn check_problem(method: &Method, answer: &Answer) {
    assert_eq!(answer.kind, "application/problem+json", "{answer:?}");
    if *method == Method::HEAD {
        return;
    }
    let problem = value(&answer.body);
    let code: Code = problem["code"].as_str().and_then(|code| code.parse().ok()).expect("a code of the registry");
    assert_eq!(problem["status"], answer.status);
    assert_eq!((problem["title"].as_str(), problem["remedy"].as_str()), (Some(code.sentence()), Some(code.remedy())));
    assert!(problem["type"].as_str().is_some_and(|name| name.ends_with(&format!("/{code}"))));
    assert!(problem["findings"].as_array().is_some_and(|findings| findings[0]["code"] == problem["code"]));
    assert!(
        !matches!(code, Code::PublisherFault | Code::PublisherBusy | Code::LogStopped | Code::LogBusy),
        "{problem}"
    );
}

fn check_read(path: &str, answer: &Answer) {
    let text = || str::from_utf8(&answer.body).expect("text");
    match path {
        "/v1/view.json" | "/v1/keyring.json" | "/v1/lookup" | "/v1/inclusion" | "/v1/consistency" => {
            assert!(value(&answer.body).is_object());
        }
        "/v1/feed" => {
            let page = value(&answer.body);
            assert_eq!(page["size"], ENTRIES);
            assert!(page["entries"].as_array().is_some_and(|entries| entries.len() as u64 <= ENTRIES));
        }
        "/v1/events" => {
            assert!(text().matches("event: entry\n").count() as u64 <= ENTRIES);
        }
        "/checkpoint" => assert!(smi_verifier::note::open(&answer.body, log()).is_ok()),
        "/" => assert!(text().starts_with("<!DOCTYPE html>") || text().starts_with("<!doctype html>")),
        _ => {}
    }
}

/// Something was taken, or was there: it can be read, and it proves itself.
async fn check_logged(running: &Running, logged: &Answer) {
    let logged = value(&logged.body);
    let (payload, index) =
        (logged["payload"].as_str().expect("a payload"), logged["index"].as_u64().expect("an index"));
    assert!(index <= ENTRIES);
    let get = async |path: String| {
        let answer = answer(running, Request::get(path).body(Vec::new()).expect("a request")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let bundle = Bundle::read(&get(format!("/v1/bundles/{payload}")).await).expect("the bundle");
    assert_eq!(bundle.payload_digest().to_string(), payload);
    let completed = get(format!("/v1/bundles/{payload}/completed")).await;
    assert_eq!(value(&completed), logged["bundle"]);
    let completed = Bundle::read(&completed).expect("the completed bundle");
    assert_eq!(completed.clone().into_bare(), bundle);
    let entry = completed.log_entry.as_ref().expect("a log entry");
    assert_eq!(entry.index, index);

    let proof = get(format!("/v1/bundles/{payload}/tlog-proof")).await;
    let leaf = Hash::of_leaf(&entry.body);
    let proven = TlogProof::read(&proof).expect("a proof").verify(&leaf, log());
    assert!(proven.is_ok_and(|signed| signed.checkpoint().size() > index));
    let hex = payload.strip_prefix("sha256:").expect("a digest");
    let found = value(&get(format!("/v1/lookup?sha256={hex}")).await);
    assert_eq!(
        (&found["index"], &found["published"], &found["leafHash"]),
        (&Value::from(index), &Value::from(true), &Value::from(leaf.to_base64()),)
    );
    let view = value(&get("/v1/view.json".to_owned()).await);
    assert!(view.is_object());
    assert!(get("/".to_owned()).await.starts_with(b"<!"));

    // What is said of a result is what the receipt in it proves.
    if let Ok(verified) = verify(&completed.to_bytes(), &READING, now()) {
        assert_eq!(verified.receipt().map(|receipt| receipt.index), Some(index));
    }
}

/// Where the body begins.
fn body_at(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}

fn request(bytes: &[u8]) -> Option<Request<Vec<u8>>> {
    let (head, body) = bytes.split_at(body_at(bytes)?);
    let mut lines = str::from_utf8(head).ok()?.lines();
    let (method, rest) = lines.next()?.split_once(' ')?;
    let target = rest.strip_suffix(" HTTP/1.1").unwrap_or(rest);
    let mut request = Request::builder().method(method).uri(target);
    let mut signer = None;
    for line in lines.filter(|line| !line.is_empty()) {
        match line.split_once(": ")? {
            ("sign", name) => signer = Some(SIGNERS.into_iter().find(|known| *known == name)?),
            (name, value) => request = request.header(name, value),
        }
    }
    let body = signer.map_or_else(|| body.to_vec(), |name| key(name).sign_statement(body).to_bytes());
    // A server is asked for what is on it, not for what is elsewhere.
    let request = request.body(body).ok()?;
    (request.uri().path().starts_with('/') && *request.method() != Method::CONNECT).then_some(request)
}
