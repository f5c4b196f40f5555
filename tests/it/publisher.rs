//! The publisher over real sockets, with a real database.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use smi_runner::submit::submit;
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_schemas::names::RunId;
use smi_schemas::report::Status;
use smi_schemas::smi::Api;
use smi_tests::programme::{Running, Settings};
use smi_tests::vectors;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::said::MAX_LOGGED_BYTES;
use smi_verifier::{Stage, verify};
use tempfile::TempDir;

/// What the tests ask of a publisher.
trait Asked {
    async fn get(&self, path: &str) -> Response;
    async fn json(&self, path: &str) -> Value;
    async fn post(&self, bundle: Vec<u8>) -> (StatusCode, Value);
}

impl Asked for Running {
    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.bytes().await.unwrap()).unwrap()
    }

    async fn post(&self, bundle: Vec<u8>) -> (StatusCode, Value) {
        let response = self.client.post(self.url("/v1/bundles")).body(bundle).send().await.unwrap();
        (response.status(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }
}

async fn start(data: &TempDir) -> Running {
    Running::start(data.path(), Settings::default()).await
}

/// The sound bundle of another run.
fn run(number: u8) -> Vec<u8> {
    vectors::signed(|statement| statement.predicate.run.id = RunId::new([number; 16]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_stored_once_whatever_its_white_space() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let (status, first) = publisher.post(vectors::sound()).await;
    assert_eq!((status, &first["index"]), (StatusCode::CREATED, &1.into()), "entry 0 is the keyring");
    let spaced = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&vectors::sound()).unwrap()).unwrap();
    assert_eq!(publisher.post(spaced).await, (StatusCode::OK, first.clone()));
    let (status, again) = publisher.post(serde_json::to_vec(&first["bundle"]).unwrap()).await;
    assert_eq!((status, &again), (StatusCode::OK, &first), "what came back is the same result");
    assert_eq!(publisher.post(run(1)).await.1["index"], 2);

    let payload = first["payload"].as_str().unwrap();
    let served = publisher.get(&format!("/v1/bundles/{payload}")).await;
    assert_eq!(served.headers()["content-type"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(served.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(served.headers()["access-control-allow-origin"], "*");
    assert_eq!(served.bytes().await.unwrap(), vectors::sound());
    publisher.stop().await;

    let again = start(&data).await;
    let (status, later) = again.post(vectors::sound()).await;
    assert_eq!((status, &later["index"]), (StatusCode::OK, &first["index"]));
    assert_eq!(again.json("/v1/feed").await["size"], 3);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bundle_that_is_logged_is_one_that_verifies() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let payload = Bundle::read(&vectors::sound()).unwrap().payload;
    let padded = |spaces: usize| {
        let payload = [payload.clone(), vec![b' '; spaces]].concat();
        vectors::key("vendor").sign_statement(&payload).to_bytes()
    };
    // Three bytes of the payload are four of the bundle.
    let room = (MAX_LOGGED_BYTES - padded(0).len()) / 4 * 3;
    let brink = (room..room + 4096).take_while(|spaces| padded(*spaces).len() <= MAX_LOGGED_BYTES).last().unwrap();
    for spaces in [brink + 1, brink + 4096] {
        let (status, problem) = publisher.post(padded(spaces)).await;
        let refused = (StatusCode::PAYLOAD_TOO_LARGE, Some("bundle-too-large"));
        assert_eq!((status, problem["code"].as_str()), refused, "{}", problem["detail"]);
    }
    let (status, logged) = publisher.post(padded(brink)).await;
    assert_eq!(status, StatusCode::CREATED);
    let completed = publisher.get(&format!("/v1/bundles/{}/completed", logged["payload"].as_str().unwrap())).await;
    let completed = completed.bytes().await.unwrap();
    assert!(completed.len() > MAX_LOGGED_BYTES);
    let policy = Policy { receipts: Receipts::Require, ..vectors::policy(vectors::keyring_with(None), None) };
    assert_eq!(verify(&completed, &policy, vectors::now()).unwrap().receipt().unwrap().index, 1);
    assert_eq!(publisher.post(completed.into()).await.0, StatusCode::OK, "what came back is the same result");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_unsupported_is_told_apart_from_what_is_absent() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    publisher.post(vectors::claimed()).await;
    let without_split = vectors::signed(|statement| {
        let predicate = &mut statement.predicate;
        predicate.run.id = RunId::new([1; 16]);
        predicate.mesh.version = None;
        predicate.mesh.claimed_unsupported = [Api::Split].into();
        predicate.apis.remove(&Api::Split);
        predicate.crds.retain(|crd| !crd.name.ends_with(".split.smi-spec.io"));
        for result in predicate.assertions.iter_mut().filter(|result| result.id.as_str().contains("split")) {
            (result.status, result.reason) = (Status::NotSupported, Code::ApiAbsent);
            (result.attempts, result.duration_ms, result.observations) = (0, 0, None);
        }
    });
    assert_eq!(publisher.post(without_split).await.0, StatusCode::CREATED);

    let feed = publisher.json("/v1/feed").await;
    let claimed = |entry: usize| -> Vec<&str> {
        let apis = feed["entries"][entry]["says"]["result"]["apis"].as_array().unwrap().iter();
        apis.filter(|api| api["claimedUnsupported"] == true).map(|api| api["api"].as_str().unwrap()).collect()
    };
    assert_eq!(claimed(1), ["specs", "split"]);
    assert_eq!(claimed(2), [""; 0], "what is absent is just absent");

    let view = publisher.json("/v1/view.json").await;
    let rows = view["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["meshVersion"] == "1.2.3").unwrap();
    assert_eq!(row["cells"][2]["current"]["summary"]["claimedUnsupported"], true, "{view}");
    let page = publisher.get("/").await.text().await.unwrap();
    assert_eq!(page.matches("<small>claimed unsupported, served in v1alpha4 ·").count(), 2, "{page}");
    assert_eq!(page.matches("<small>absent ·").count(), 1, "{page}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_verifier_refuses_is_refused_with_its_code() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    for vector in vectors::all() {
        let expected = vector.expected;
        if expected.stage.is_none() || expected.max_age_seconds.is_some() {
            continue; // a refused keyring serves nothing, and a publisher sets no age
        }
        if expected.stage > Some(Stage::Policy) {
            continue; // a publisher gives receipts and reads none
        }
        let (status, problem) = publisher.post(vector.bundle).await;
        let oversized = expected.code == Code::BundleTooLarge;
        assert_eq!(status.as_u16(), if oversized { 413 } else { 422 }, "{}: {problem}", expected.name);
        assert_eq!(problem["code"], expected.code.as_str(), "{}: {problem}", expected.name);
        assert_eq!(problem["remedy"], expected.code.remedy());
    }
    assert_eq!(publisher.json("/v1/feed").await["size"], 1);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_submissions_at_once_one_is_new() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let answers = futures_util::future::join_all((0..16).map(|_| publisher.post(vectors::sound()))).await;
    let created = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(created, 1, "{answers:?}");
    assert!(answers.iter().all(|(_, body)| body["index"] == 1));
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_paged_by_index() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let submissions =
        (0..u8::try_from(smi_publisher::feed::PAGE_ENTRIES).unwrap()).map(|number| publisher.post(run(number)));
    futures_util::future::join_all(submissions).await;
    let first = publisher.json("/v1/feed").await;
    assert_eq!((&first["size"], &first["nextAfter"]), (&101.into(), &99.into()));
    let indexes: Vec<u64> =
        first["entries"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..100).collect::<Vec<_>>(), "no hole");
    let second = publisher.json("/v1/feed?after=99").await;
    assert_eq!((second["entries"][0]["index"].as_u64(), &second["nextAfter"]), (Some(100), &Value::Null));
    assert_eq!(publisher.json("/v1/feed?after=100").await["entries"], Value::Array(vec![]));
    assert_eq!(publisher.json(&format!("/v1/feed?after={}", u64::MAX)).await["entries"], Value::Array(vec![]));
    for bad in [
        "?after=-1",
        "?after=x",
        "?after=",
        "?after=%31",
        "?before=1",
        "?after=1&after=2",
        "?after=18446744073709551616",
    ] {
        let answer = publisher.get(&format!("/v1/feed{bad}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    publisher.stop().await;
}

/// Reads events until `count` of them came, or the stream ended.
async fn events(response: &mut Response, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.matches("event: entry").count() < count {
        let Some(chunk) = tokio::time::timeout(Duration::from_secs(10), response.chunk()).await.unwrap().unwrap()
        else {
            break;
        };
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_resume_after_the_last_one_seen() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    publisher.post(run(1)).await;
    let mut from_the_first = publisher.get("/v1/events").await;
    assert_eq!(from_the_first.headers()["content-type"], "text/event-stream");
    assert_eq!(events(&mut from_the_first, 2).await, ["0", "1"]);
    let resumed = publisher.client.get(publisher.url("/v1/events")).header("Last-Event-ID", "0");
    let mut resumed = resumed.send().await.unwrap();
    assert_eq!(events(&mut resumed, 1).await, ["1"]);
    publisher.post(run(2)).await;
    assert_eq!(events(&mut resumed, 1).await, ["2"]);
    assert_eq!(events(&mut from_the_first, 1).await, ["2"]);

    let third = publisher.get("/v1/events").await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE, "streams are bounded");
    assert_eq!(third.headers()["retry-after"], "5");
    let address = publisher.address;
    publisher.stop().await;
    assert!(events(&mut resumed, 1).await.is_empty(), "a stop ends streams");
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn page_and_view_show_the_same() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let empty = publisher.get("/").await.text().await.unwrap();
    assert!(empty.contains("No result has been accepted yet."), "{empty}");
    publisher.post(vectors::sound()).await;
    let view = publisher.json("/v1/view.json").await;
    assert_eq!(view["rows"][0]["mesh"], "example-mesh");
    let page = publisher.get("/").await.text().await.unwrap();
    for cell in view["rows"][0]["cells"].as_array().unwrap() {
        assert!(page.contains(cell["current"]["payload"].as_str().unwrap()));
        let summary = &cell["current"]["summary"];
        let shown =
            format!("{}, <b>{}</b>", summary["capability"].as_str().unwrap(), summary["compliance"].as_str().unwrap());
        assert!(page.contains(&shown), "{shown}\n{page}");
    }
    assert!(!page.contains("<script"), "readable without script");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_in_bytes_and_time() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let mut large = TcpStream::connect(publisher.address).unwrap();
    write!(large, "POST /v1/bundles HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n").unwrap();
    let chunk = vec![b' '; 64 * 1024];
    for _ in 0..1600 {
        if large.write_all(&chunk).is_err() {
            break; // the publisher has heard enough
        }
    }
    let mut answer = String::new();
    let _ = large.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");

    let mut slow = TcpStream::connect(publisher.address).unwrap();
    write!(slow, "POST /v1/bundles HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{{").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request-slow"), "{answer}");

    let (status, _) = publisher.post(vectors::sound()).await;
    assert_eq!(status, StatusCode::CREATED, "and others are served all the while");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_roads_lead_to_a_problem() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    assert_eq!(publisher.get("/livez").await.status(), StatusCode::OK);
    assert_eq!(publisher.get("/readyz").await.status(), StatusCode::OK);
    let absent = format!("/v1/bundles/sha256:{}", "0".repeat(64));
    for (path, status) in [
        ("/nothing", StatusCode::NOT_FOUND),
        ("/v1/bundles", StatusCode::METHOD_NOT_ALLOWED),
        (absent.as_str(), StatusCode::NOT_FOUND),
        ("/v1/bundles/..%2f..%2fetc", StatusCode::NOT_FOUND),
        ("/v1/bundles/%ff", StatusCode::NOT_FOUND),
        ("/tile/%ff", StatusCode::NOT_FOUND),
    ] {
        let answer = publisher.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_is_the_fold_of_the_feed_byte_for_byte() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    publisher.post(run(0)).await;
    publisher.post(run(1)).await;
    let page: smi_schemas::feed::Page =
        serde_json::from_slice(&publisher.get("/v1/feed").await.bytes().await.unwrap()).unwrap();
    let mut view = smi_verifier::view::View::default();
    page.entries.iter().for_each(|entry| view.add(entry, None));
    let served = publisher.get("/v1/view.json").await.bytes().await.unwrap();
    assert_eq!(served, view.document().to_bytes());
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_submits_and_is_told_the_grounds() {
    let data = tempfile::tempdir().unwrap();
    let publisher = start(&data).await;
    let base = publisher.url("/").parse().unwrap();
    let accepted = submit(vectors::sound(), &base).await.unwrap();
    assert_eq!((accepted.index, accepted.present), (1, false));
    assert!(submit(vectors::sound(), &base).await.unwrap().present);
    let trial = vectors::signed(|statement| statement.predicate.run.purpose = smi_schemas::statement::Purpose::Trial);
    let refused = submit(trial, &base).await.unwrap_err();
    assert_eq!(refused.code(), Code::SubmissionRefused);
    assert!(refused.to_string().contains("policy-trial"), "{refused}");
    publisher.stop().await;
    let unreachable = submit(vectors::sound(), &base).await.unwrap_err();
    assert_eq!(unreachable.code(), Code::PublisherUnreachable);
}
