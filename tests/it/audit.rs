//! The audit against a real publisher: it passes, and every alteration that is made behind the publisher's back is found
//! and named. Between the two stands a proxy that changes one answer; where a log is rolled back or forks, there are two
//! publishers.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_publisher::http::serve;
use smi_publisher::witness::server::{Witness, router};
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_schemas::names::RunId;
use smi_schemas::record::Verdict;
use smi_schemas::statement::Statement;
use smi_schemas::{Digest, Timestamp};
use smi_tests::programme::{self, Running, Settings};
use smi_tests::vectors::{self, key};
use smi_verifier::merkle::Hash;
use smi_verifier::receipt::log_key;
use smi_verifier::tile::{decode_entries, encode_entries};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A publisher with a log: its keyring, two results that are published and one that waits, a review, a withdrawal.
struct Log {
    publisher: Running,
    folder: TempDir,
    results: Vec<Digest>,
}

/// A result of a vendor: the hour at which its run ended tells results apart.
fn result(vendor: &str, hour: u8) -> Vec<u8> {
    let mut statement = Statement::read(&Bundle::read(&vectors::sound()).unwrap().payload).unwrap();
    statement.predicate.run.id = RunId::new([hour; 16]);
    statement.predicate.run.started_at = format!("2026-01-02T{hour:02}:00:00Z").parse().unwrap();
    statement.predicate.run.finished_at = format!("2026-01-02T{hour:02}:30:00Z").parse().unwrap();
    key(vendor).sign_statement(&statement.to_bytes()).to_bytes()
}

/// What the log of [`Log::new`] begins with.
fn keyring() -> Keyring {
    vectors::keyring_with(None)
}

impl Log {
    async fn empty(keyring: Keyring) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keyring.json"), keyring.to_bytes()).unwrap();
        fs::write(folder.path().join("suite.json"), vectors::SUITE).unwrap();
        let settings = Settings { keyring, ..Settings::default() };
        Self { publisher: Running::start(folder.path(), settings).await, folder, results: Vec::new() }
    }

    async fn new() -> Self {
        let mut log = Self::empty(keyring()).await;
        for (vendor, hour) in [("vendor", 1), ("vendor", 2), ("careful-vendor", 3)] {
            log.submit(&result(vendor, hour)).await;
        }
        log.submit(&programme::review("reviewer", log.results[2], Verdict::Accept)).await;
        log.submit(&programme::withdrawal("vendor", log.results[0])).await;
        log
    }

    async fn submit(&mut self, bundle: &[u8]) {
        let request = Client::new().post(self.publisher.url("/v1/bundles")).body(bundle.to_vec());
        let response = request.send().await.unwrap();
        let status = response.status();
        let logged: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(status, StatusCode::CREATED, "{logged}");
        self.results.push(logged["payload"].as_str().unwrap().parse().unwrap());
    }

    async fn get(&self, path: &str) -> Vec<u8> {
        Client::new().get(self.publisher.url(path)).send().await.unwrap().bytes().await.unwrap().into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of the verifier, with the arguments that trust this log.
    fn command(&self, command: &str, address: &str) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_verifier"));
        process.arg(command).arg(address).arg("--keyring").arg(self.path("keyring.json"));
        process.arg("--suite").arg(self.path("suite.json"));
        process
    }

    async fn audit(&self, address: &str, more: &[&str]) -> Audited {
        let mut command = self.command("audit", address);
        // The publisher lives at the vectors' time, and the verifier at this one.
        command.args(["-o", "json", "--max-age", "100years"]).args(more);
        ended(command).await
    }

    /// What is found where an answer is changed.
    async fn altered(&self, change: impl Fn(&str, &mut Option<Vec<u8>>) + Send + Sync + 'static) -> (Code, String) {
        let proxy = proxy(self.publisher.address, change).await;
        let audited = self.audit(&proxy, &[]).await;
        audited.is_refused()
    }
}

/// How an audit ended.
struct Audited {
    exit: Option<i32>,
    report: Value,
}

impl Audited {
    /// The one thing that was found.
    fn is_refused(&self) -> (Code, String) {
        let Self { exit, report } = self;
        assert_eq!(*exit, Some(8), "{report:#}");
        let [found] = &report["findings"].as_array().unwrap()[..] else { panic!("{report:#}") };
        assert_eq!(report["sound"], false);
        let failed = report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "fail").count();
        assert_eq!(failed, 1, "{report:#}");
        (found["code"].as_str().unwrap().parse().unwrap(), found["detail"].as_str().unwrap().to_owned())
    }

    fn is_sound(&self) -> &Value {
        let Self { exit, report } = self;
        assert_eq!((*exit, &report["sound"]), (Some(0), &true.into()), "{report:#}");
        report
    }

    fn outcome(&self, check: &str) -> &str {
        let checks = self.report["checks"].as_array().unwrap();
        checks.iter().find(|line| line["check"] == check).unwrap()["outcome"].as_str().unwrap()
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn ended(command: Command) -> Audited {
    let Output { status, stdout, stderr } = output(command).await;
    let report = serde_json::from_slice(&stdout).unwrap_or_else(|_| String::from_utf8_lossy(&stderr).into());
    Audited { exit: status.code(), report }
}

/// A proxy before a publisher, which may change an answer, or take it away.
async fn proxy(upstream: SocketAddr, change: impl Fn(&str, &mut Option<Vec<u8>>) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let change = Arc::new(change);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass(stream, upstream, Arc::clone(&change)));
        }
    });
    address
}

async fn pass<F: Fn(&str, &mut Option<Vec<u8>>)>(mut stream: TcpStream, upstream: SocketAddr, change: Arc<F>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap_or(b'\n'));
        if head.len() > 8192 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let answer = Client::new().get(format!("http://{upstream}{path}")).send().await.unwrap();
    let is_there = answer.status() == StatusCode::OK;
    let mut body = Some(answer.bytes().await.unwrap().to_vec()).filter(|_| is_there);
    change(path, &mut body);
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

/// Changes the answer at one path.
fn at(path: &'static str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&str, &mut Option<Vec<u8>>) {
    move |asked, body| {
        if asked == path {
            *body = body.take().map(&change);
        }
    }
}

/// Changes the answer at one path that is JSON.
fn json(path: &'static str, change: impl Fn(&mut String)) -> impl Fn(&str, &mut Option<Vec<u8>>) {
    at(path, move |body| {
        let mut text = String::from_utf8(body).unwrap();
        let before = text.clone();
        change(&mut text);
        assert_ne!(text, before, "nothing was changed");
        text.into_bytes()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_log_passes_and_is_remembered() {
    let mut log = Log::new().await;
    let address = log.publisher.url("");
    let state = log.path("state");
    let with_state = ["--state", state.to_str().unwrap()];
    let first = log.audit(&address, &with_state).await;
    let report = first.is_sound();
    let statuses =
        3 * Statement::read(&Bundle::read(&vectors::sound()).unwrap().payload).unwrap().predicate.assertions.len();
    assert_eq!(
        report["counts"],
        serde_json::json!({"results": 3, "reviews": 1, "withdrawals": 1, "supersessions": 0, "suites": 0,
            "keyrings": 1, "signatures": 6, "statuses": statuses})
    );
    assert_eq!((report["tree"]["size"].as_u64(), report.get("seen")), (Some(6), None));
    for (check, outcome) in [("consistency", "unknown"), ("quorum", "unknown"), ("view", "pass"), ("feed", "pass")] {
        assert_eq!(first.outcome(check), outcome, "{check}");
    }
    assert_eq!(fs::read(&state).unwrap(), log.get("/checkpoint").await, "the state is the checkpoint");

    log.submit(&result("vendor", 4)).await;
    let second = log.audit(&address, &with_state).await;
    let report = second.is_sound();
    assert_eq!((report["tree"]["size"].as_u64(), report["seen"]["size"].as_u64()), (Some(7), Some(6)));
    assert_eq!(second.outcome("consistency"), "pass");
    assert_eq!(fs::read(&state).unwrap(), log.get("/checkpoint").await);

    let text = output(log.command("audit", &address)).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("log       log.example.org, 7 entries, root "), "{text}");
    let end = "The log is sound, and view, keyring, feed, tiles and bundles are what it says.\nexit 0: success\n";
    assert!(text.contains("pass      view\n") && text.ends_with(end), "{text}");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_tiles_that_were_changed_are_named() {
    let log = Log::new().await;
    let hashes = log.get("/tile/0/000.p/6").await;
    let (code, detail) = log
        .altered(at("/tile/entries/000.p/6", |body| {
            let mut leaves = decode_entries(&body, 6).unwrap();
            leaves[2] = leaves[1];
            encode_entries(&leaves).unwrap()
        }))
        .await;
    let [first, second] = [1, 2].map(|at| Hash::from_bytes(hashes[32 * at..][..32].try_into().unwrap()).to_base64());
    assert_eq!(
        (code, detail),
        (Code::AuditEntryDiffers, format!("entry 2 hashes to {first}, and {second} was signed"))
    );

    let (code, detail) = log.altered(at("/tile/entries/000.p/6", |body| body[..700].to_vec())).await;
    assert_eq!(code, Code::AuditTileDiffers);
    assert!(detail.starts_with("/tile/entries/000.p/6: the tile ends within its entry "), "{detail}");
    let (code, detail) = log.altered(at("/tile/0/000.p/6", |body| body[..32 * 5].to_vec())).await;
    assert_eq!(
        (code, detail.as_str()),
        (Code::AuditTileDiffers, "/tile/0/000.p/6: the tile of hashes has 160 bytes, not 192")
    );
    let (code, detail) = log
        .altered(at("/tile/0/000.p/6", |mut body| {
            body[32 * 4] ^= 1;
            body
        }))
        .await;
    assert_eq!(code, Code::AuditTileDiffers);
    assert!(detail.starts_with("/tile/0/000.p/6: hash 4 is "), "{detail}");

    let (code, detail) = log.altered(|path, body| *body = body.take().filter(|_| path != "/tile/0/000.p/6")).await;
    assert_eq!((code, detail.as_str()), (Code::AuditEntryMissing, "/tile/0/000.p/6 is not there"));
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_that_were_taken_away_or_replaced_are_named() {
    let log = Log::new().await;
    let [gone, other] = [log.results[1], log.results[2]];
    let path = format!("/v1/bundles/{gone}");
    let asked = path.clone();
    let (code, detail) = log.altered(move |path, body| *body = body.take().filter(|_| path != asked)).await;
    assert_eq!((code, detail), (Code::AuditEntryMissing, format!("{path} is not there, which entry 2 needs")));

    let replaced = |with: Vec<u8>| {
        let asked = path.clone();
        move |path: &str, body: &mut Option<Vec<u8>>| {
            if path == asked {
                *body = Some(with.clone());
            }
        }
    };
    let (code, detail) = log.altered(replaced(log.get(&format!("/v1/bundles/{other}")).await)).await;
    let expected = format!("entry 2 is {gone}, and what is served for it is {other}, signed by careful-vendor");
    assert_eq!((code, detail), (Code::AuditLeafDiffers, expected));
    // The very payload, signed by another vendor of the mesh.
    let payload = Bundle::read(&result("vendor", 2)).unwrap().payload;
    let (code, detail) = log.altered(replaced(key("careful-vendor").sign_statement(&payload).to_bytes())).await;
    assert_eq!(code, Code::AuditLeafDiffers, "{detail}");
    assert!(detail.ends_with("the same payload, signed or wrapped otherwise"), "{detail}");
    let (code, _) = log.altered(replaced(b"<html>".to_vec())).await;
    assert_eq!(code, Code::AuditLeafDiffers);
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_not_the_fold_is_named() {
    let log = Log::new().await;
    let row = "row example-mesh 1.2.3, suite 0.1.0";
    // The result that is shown hidden: its row is not there.
    let (code, detail) = log
        .altered(json("/v1/view.json", |view| {
            let rows = view.find(r#""rows":["#).unwrap();
            view.replace_range(rows.., r#""rows":[]}"#);
        }))
        .await;
    assert_eq!(code, Code::AuditViewDiffers);
    assert_eq!(detail, format!("the view of 6 entries, {row}: it is not there; the entries say: it is there"));
    let (code, detail) = log
        .altered(json("/v1/view.json", |view| {
            *view = view.replacen(r#""compliance":"compliant""#, r#""compliance":"undecided""#, 1);
        }))
        .await;
    assert_eq!(code, Code::AuditViewDiffers);
    assert!(detail.starts_with(&format!("the view of 6 entries, {row}, cell ")), "{detail}");
    // Frozen at what it was before the withdrawal.
    let (code, detail) =
        log.altered(json("/v1/view.json", |view| *view = view.replacen(r#""size":6"#, r#""size":5"#, 1))).await;
    assert_eq!((code, detail.contains("it is older")), (Code::AuditViewDiffers, true), "{detail}");
    let (code, detail) = log
        .altered(json("/v1/feed", |feed| {
            *feed = feed.replacen(r#""signer":"careful-vendor""#, r#""signer":"vendor""#, 1);
        }))
        .await;
    assert_eq!(code, Code::AuditFeedDiffers);
    assert!(detail.starts_with("the feed, entry 3: "), "{detail}");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keyrings_are_those_of_the_log() {
    let mut log = Log::new().await;
    let mut next = keyring();
    next.revoke(&"other-vendor".parse().unwrap(), 0).unwrap();
    let (code, _) = log
        .altered(at("/v1/keyring.json", {
            let next = next.to_bytes();
            move |_| next.clone()
        }))
        .await;
    assert_eq!(code, Code::AuditKeyringDiffers);
    // A log whose first keyring is another one than is trusted.
    fs::write(log.path("keyring.json"), next.to_bytes()).unwrap();
    let (code, detail) = log.audit(&log.publisher.url(""), &[]).await.is_refused();
    assert_eq!(code, Code::AuditKeyringUntrusted, "{detail}");
    // It follows the first, and both can be trusted then.
    let previous = Digest::of(&keyring().to_bytes());
    log.submit(&programme::changed(&next, Some(previous), &["root"])).await;
    for keyring in [next, keyring()] {
        fs::write(log.path("keyring.json"), keyring.to_bytes()).unwrap();
        log.audit(&log.publisher.url(""), &[]).await.is_sound();
    }
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_back_or_forks_is_found_by_who_has_seen_it() {
    let mut log = Log::new().await;
    let state = log.path("state");
    let with_state = ["--state", state.to_str().unwrap()];
    let old = log.get("/checkpoint").await;
    log.submit(&result("vendor", 4)).await;
    log.audit(&log.publisher.url(""), &with_state).await.is_sound();
    let seen = fs::read(&state).unwrap();

    // The old checkpoint is served, to somebody who has seen a newer one.
    let rolled_back = proxy(log.publisher.address, at("/checkpoint", move |_| old.clone())).await;
    let (code, detail) = log.audit(&rolled_back, &with_state).await.is_refused();
    assert_eq!(code, Code::AuditRollback);
    assert_eq!(detail, "the checkpoint is of 6 entries, and one of 7 entries was seen before");
    assert_eq!(fs::read(&state).unwrap(), seen, "what was seen is kept");

    // Another store with the same key and the same beginning.
    let mut other = Log::empty(keyring()).await;
    for hour in 5..10 {
        other.submit(&result("vendor", hour)).await;
    }
    let (code, _) = log.audit(&other.publisher.url(""), &with_state).await.is_refused();
    assert_eq!(code, Code::AuditRollback, "it is smaller");
    for hour in 10..12 {
        other.submit(&result("vendor", hour)).await;
        let audited = log.audit(&other.publisher.url(""), &with_state).await;
        let (code, detail) = audited.is_refused();
        assert_eq!(code, Code::AuditFork, "{detail}");
        let evidence = audited.report["findings"][0]["evidence"].as_array().unwrap().clone();
        assert_eq!(evidence[0].as_str().unwrap().as_bytes(), seen);
        assert_eq!(evidence[1].as_str().unwrap().as_bytes(), other.get("/checkpoint").await);
    }
    // Who has seen nothing sees no fault in it.
    log.audit(&other.publisher.url(""), &[]).await.is_sound();

    let foreign = Log::new().await;
    fs::write(&state, b"nothing\n\n").unwrap();
    let broken = foreign.audit(&foreign.publisher.url(""), &with_state).await;
    assert_eq!(broken.exit, Some(6), "{}", broken.report);
    assert!(broken.report.as_str().unwrap().contains("error[audit-state-invalid]"), "{}", broken.report);
    for log in [log, other, foreign] {
        log.publisher.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_is_what_the_keyring_says() {
    let Witnessed { log, witness: _witness } = Witnessed::new(vectors::now).await;

    let audited = log.audit(&log.publisher.url(""), &[]).await;
    let report = audited.is_sound();
    assert_eq!((&report["witnesses"][0], &report["currentAt"]), (&"witness".into(), &vectors::NOW.into()));
    assert_eq!((audited.outcome("quorum"), audited.outcome("freshness")), ("pass", "pass"));
    // Nobody cosigned it since.
    let mut command = log.command("audit", &log.publisher.url(""));
    command.args(["-o", "json"]);
    let audited = ended(command).await;
    assert_eq!((audited.exit, audited.outcome("freshness")), (Some(9), "fail"), "{:#}", audited.report);
    let found = &audited.report["findings"][0];
    assert_eq!((&found["code"], found["evidence"].as_array().unwrap().len()), (&"audit-stale".into(), 1), "{found}");
    let (code, detail) = log
        .altered(json("/checkpoint", |note| {
            let line = note.find("\u{2014} witness").unwrap();
            note.truncate(line);
        }))
        .await;
    assert_eq!(code, Code::AuditQuorumLost);
    assert_eq!(detail, "the checkpoint of 2 entries: 0 witnesses of this keyring cosigned, and 1 must");
    let (code, _) =
        log.altered(json("/checkpoint", |note| *note = note.replace("log.example.org", "log.example.com"))).await;
    assert_eq!(code, Code::AuditCheckpointInvalid);

    // What the log signed is kept, whoever cosigned it.
    let state = log.path("state");
    let unwitnessed =
        proxy(log.publisher.address, json("/checkpoint", |note| note.truncate(note.find("\u{2014} witness").unwrap())))
            .await;
    log.audit(&unwitnessed, &["--state", state.to_str().unwrap()]).await.is_refused();
    assert!(log.get("/checkpoint").await.starts_with(&fs::read(&state).unwrap()));
    log.publisher.stop().await;
}

/// A log whose keyring asks for a cosignature, with a result; and its witness, by whatever clock.
struct Witnessed {
    log: Log,
    witness: TempDir,
}

impl Witnessed {
    async fn new(clock: fn() -> Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = "witness.example.org/w";
        let witness = Witness::open(folder.path(), name, key("witness"), [log_key(&keyring()).unwrap()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let witness = router(Arc::new(witness), clock, Duration::from_secs(1));
        tokio::spawn(serve(listener, witness, std::future::pending()));
        let mut witnessed = keyring();
        let mut entry = Entry::new("witness".parse().unwrap(), Role::Witness, key("witness").public());
        entry.note_name = Some(name.parse().unwrap());
        entry.url = Some(format!("http://{address}").parse().unwrap());
        witnessed.add(entry).unwrap();
        witnessed.set(witnessed.threshold(), Some(1)).unwrap();
        let mut log = Log::empty(witnessed).await;
        log.submit(&result("vendor", 1)).await;
        Self { log, witness: folder }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_once_that_a_log_stands_still() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_unix_seconds(vectors::now().unix_seconds() + AHEAD.load(Ordering::Relaxed)).unwrap()
    }
    let Witnessed { mut log, witness: _witness } = Witnessed::new(clock).await;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let age = since - u64::try_from(vectors::now().unix_seconds()).unwrap();
    let mut command = log.command("watch", &log.publisher.url(""));
    command.args(["--max-age", &format!("{}s", age + 5)]);
    let watched = Watched::start(command);
    assert_eq!(watched.next().await["event"], "checkpoint");
    let stale = watched.next().await;
    assert_eq!((&stale["event"], &stale["code"]), (&"stale".into(), &"audit-stale".into()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    AHEAD.store(300, Ordering::Relaxed);
    log.submit(&result("vendor", 2)).await;
    let recovered = watched.next().await;
    assert_eq!((&recovered["event"], &recovered["from"]), (&"recovered".into(), &"stale".into()), "told once");
    drop(watched);
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_makes_a_whole_audit_now_and_then() {
    let mut log = Log::new().await;
    let gone = format!("/v1/bundles/{}", log.results[0]);
    let is_gone = Arc::new(AtomicBool::new(false));
    let take = Arc::clone(&is_gone);
    let proxy = proxy(log.publisher.address, move |path, body| {
        if path == gone && take.load(Ordering::Relaxed) {
            *body = None;
        }
    })
    .await;
    let mut command = log.command("watch", &proxy);
    command.args(["--whole", "1ms", "--state"]).arg(log.path("state"));
    let watched = Watched::start(command);
    assert_eq!(watched.next().await["size"], 6);
    // What is new is told once, however often all of it is read.
    log.submit(&result("vendor", 4)).await;
    assert_eq!(watched.next().await["size"], 7);
    assert_eq!(watched.next().await["entry"]["index"], 6);
    tokio::time::sleep(Duration::from_secs(3)).await;
    is_gone.store(true, Ordering::Relaxed);
    let alarm = watched.next().await;
    assert_eq!(alarm["event"], "entry-missing", "{alarm:#}");
    assert_eq!(alarm["evidence"][0].as_str().unwrap().as_bytes(), log.get("/checkpoint").await);
    assert_eq!(watched.ended().await, Some(8));
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_before_it_remembers_and_ends_when_nobody_listens() {
    let log = Log::new().await;
    let mut command = log.command("watch", &log.publisher.url(""));
    command.args(["--once", "--state"]).arg(log.path("no-such-folder/state"));
    let told = output(command).await;
    let [out, err] = [told.stdout, told.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(out.contains(r#""event":"checkpoint""#) && err.contains("error[file-unwritable]"), "{out}{err}");

    let mut command = log.command("watch", &log.publisher.url(""));
    let mut process = command.args(["--interval", "1"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(process.stdout.take());
    let mut ended = None;
    for _ in 0..600 {
        ended = process.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _ = process.kill();
    assert_eq!(ended.expect("it ended").code(), Some(1));
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_a_mesh_or_of_a_key() {
    let mut log = Log::new().await;
    let state = log.path("state");
    log.audit(&log.publisher.url(""), &["--state", state.to_str().unwrap()]).await.is_sound();
    let of_other_mesh = vectors::signed(|statement| statement.predicate.mesh.slug = "other-mesh".parse().unwrap());
    let of_other_mesh = key("other-vendor").sign_statement(&Bundle::read(&of_other_mesh).unwrap().payload);
    for bundle in [result("vendor", 5), result("careful-vendor", 6), of_other_mesh.to_bytes()] {
        log.submit(&bundle).await;
    }
    let mut command = log.command("watch", &log.publisher.url(""));
    let key = key("careful-vendor").public().key_id().to_string();
    command.args(["--once", "--mesh", "other-mesh", "--key", &key, "--state"]).arg(&state);
    let told = String::from_utf8(output(command).await.stdout).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<_> = told.iter().filter_map(|event| event["entry"]["index"].as_u64()).collect();
    assert_eq!(results, [7, 8], "{told:#?}");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_what_is_shown_of_it() {
    let mut log = Log::new().await;
    for hour in [5, 6] {
        log.submit(&result("careful-vendor", hour)).await;
    }
    let [first, second] = [log.results[5], log.results[6]];
    let other = log.get(&format!("/v1/bundles/{}", log.results[0])).await;
    let asked = format!("/v1/bundles/{first}");
    let proxy = proxy(log.publisher.address, move |path, body| {
        if path == asked {
            *body = Some(other.clone());
        }
        if path == "/v1/view.json" {
            let view = String::from_utf8(body.take().unwrap()).unwrap();
            *body = Some(view.replace("example-mesh", "another-mesh").into_bytes());
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let waiting = |address: &str| {
        let mut command = log.command("waiting", address);
        command.arg("--fetch").arg(folder.path());
        output(command)
    };
    let said = waiting(&proxy).await;
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(8), "{text}");
    let finding = format!("waiting-differs  {first} waits, and what is served for it is {}", log.results[0]);
    assert!(text.contains(&finding) && text.ends_with("exit 8: refused\n"), "{text}");
    // What is told is told from the bundle.
    assert!(text.contains("mesh      example-mesh 1.2.3") && !text.contains("another-mesh"), "{text}");
    let file = |payload: Digest| folder.path().join(format!("{}.json", payload.hex()));
    assert!(!file(first).exists() && file(second).exists());

    // What is there is the same, or is not taken for it.
    assert_eq!(waiting(&log.publisher.url("")).await.status.code(), Some(0));
    fs::write(file(second), b"{}").unwrap();
    let said = waiting(&log.publisher.url("")).await;
    assert!(String::from_utf8(said.stderr).unwrap().contains("error[file-exists]"));
    assert_eq!(fs::read(file(second)).unwrap(), b"{}");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_reached_is_not_judged() {
    let log = Log::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let audited = log.audit(&format!("http://{nobody}"), &[]).await;
    assert_eq!(audited.exit, Some(9), "{}", audited.report);
    assert_eq!(audited.report["findings"][0]["code"], "audit-unreachable");
    assert!(audited.report["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "unknown"));
    // A suite that is not known is no alteration.
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    command.args(["audit", &log.publisher.url(""), "-o", "json", "--keyring"]).arg(log.path("keyring.json"));
    let audited = ended(command).await;
    assert_eq!((audited.exit, &audited.report["findings"][0]["code"]), (Some(9), &"audit-suite-unknown".into()));
    log.publisher.stop().await;
}

/// The lines of a watch, as they come.
struct Watched {
    process: std::process::Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Watched {
    fn start(mut command: Command) -> Self {
        let mut process = command.args(["--interval", "1"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reader, sink) = (std::io::BufReader::new(process.stdout.take().unwrap()), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(reader) {
                sink.lock().unwrap().push(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { process, lines }
    }

    /// Waits for the next event.
    async fn next(&self) -> Value {
        for _ in 0..600 {
            {
                let mut lines = self.lines.lock().unwrap();
                if !lines.is_empty() {
                    return lines.remove(0);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no event came");
    }

    async fn ended(self) -> Option<i32> {
        let mut watched = self;
        tokio::task::spawn_blocking(move || watched.wait()).await.unwrap()
    }

    fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

/// A test that fails leaves no watch behind.
impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_new_and_ends_at_an_alteration() {
    let mut log = Log::new().await;
    let hidden = Arc::new(Mutex::new(""));
    let hide = Arc::clone(&hidden);
    let proxy = proxy(log.publisher.address, move |path, body| match *hide.lock().unwrap() {
        "everything" => *body = None,
        "row" if path == "/v1/view.json" => {
            let view = String::from_utf8(body.take().unwrap()).unwrap();
            *body = Some(view.replacen("example-mesh", "another-mesh", 1).into_bytes());
        }
        _ => {}
    })
    .await;
    let mut command = log.command("watch", &proxy);
    command.args(["--mesh", "example-mesh"]);
    let watched = Watched::start(command);
    let first = watched.next().await;
    assert_eq!((&first["event"], &first["size"]), (&"checkpoint".into(), &6.into()));

    log.submit(&result("vendor", 4)).await;
    log.submit(&programme::withdrawal("vendor", log.results[1])).await;
    let mut news = Vec::new();
    while news.len() < 2 {
        news.extend(Some(watched.next().await).filter(|event| event["event"] != "checkpoint"));
    }
    assert_eq!((&news[0]["event"], &news[0]["entry"]["index"]), (&"result".into(), &6.into()));
    assert_eq!((&news[1]["event"], &news[1]["entry"]["index"]), (&"withdrawal".into(), &7.into()));

    *hidden.lock().unwrap() = "everything";
    assert_eq!(watched.next().await["event"], "unreachable");
    tokio::time::sleep(Duration::from_secs(4)).await;
    *hidden.lock().unwrap() = "";
    let recovered = watched.next().await;
    assert_eq!((&recovered["event"], &recovered["from"]), (&"recovered".into(), &"unreachable".into()), "told once");
    *hidden.lock().unwrap() = "row";
    let alarm = watched.next().await;
    assert_eq!((&alarm["event"], &alarm["code"]), (&"view-differs".into(), &"audit-view-differs".into()));
    assert_eq!(watched.ended().await, Some(8));
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_finds_a_fork_under_its_eyes() {
    let mut log = Log::new().await;
    let mut other = Log::empty(keyring()).await;
    for hour in 5..12 {
        other.submit(&result("vendor", hour)).await;
    }
    // From one moment on, the other log is served.
    let upstream = Arc::new(Mutex::new(log.publisher.address));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let current = Arc::clone(&upstream);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = *current.lock().unwrap();
            tokio::spawn(pass(stream, upstream, Arc::new(|_: &str, _: &mut Option<Vec<u8>>| {})));
        }
    });
    let mut command = log.command("watch", &address);
    command.arg("--state").arg(log.path("state"));
    let watched = Watched::start(command);
    assert_eq!(watched.next().await["size"], 6);
    log.submit(&result("vendor", 4)).await;
    assert_eq!(watched.next().await["size"], 7);
    assert_eq!(watched.next().await["event"], "result");
    *upstream.lock().unwrap() = other.publisher.address;
    let alarm = watched.next().await;
    assert_eq!(alarm["event"], "fork", "{alarm:#}");
    assert_eq!(alarm["evidence"].as_array().unwrap().len(), 2);
    assert_eq!(watched.ended().await, Some(8));

    // Who comes back with what was seen is told the same.
    let mut command = log.command("watch", &other.publisher.url(""));
    command.arg("--once").arg("--state").arg(log.path("state"));
    let once = output(command).await;
    assert_eq!(once.status.code(), Some(8));
    assert!(String::from_utf8(once.stdout).unwrap().starts_with(r#"{"code":"audit-fork""#));
    for log in [log, other] {
        log.publisher.stop().await;
    }
}
