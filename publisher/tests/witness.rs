//! A publisher and its witnesses, over real sockets: a quorum decides what is shown.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod honest;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use smi_keys::files::{self, Access};
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_keys::pem::encode_plain;
use smi_publisher::cell::FileCell;
use smi_publisher::feed::Feed;
use smi_publisher::heads::{Kept, Publishing, RENEWAL, publish, recover};
use smi_publisher::http::{self, Publisher};
use smi_publisher::intake::{DAILY_QUOTA, Intake};
use smi_publisher::log::{Log, Signer, Submission};
use smi_publisher::meters::Meters;
use smi_publisher::store::{Mark, OpenError, SledStore, Store};
use smi_publisher::witness::client::Witnesses;
use smi_publisher::witness::server::{MAX_REQUEST_BYTES, Witness, router};
use smi_schemas::{Digest, Timestamp};
use smi_verifier::note::{KeyKind, NoteKey, open};
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::receipt::{log_key, quorum};
use smi_verifier::said::verify_first;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

/// How long a submission waits for the witnesses.
const PATIENCE: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_millis(50);
/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(10);

/// A server that can be stopped and that lets go of its port.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Serving {
    async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(SOON, self.ended).await.unwrap().unwrap();
    }
}

/// Three witnesses, each with its directory and its port.
struct Bench {
    folder: TempDir,
    witnesses: Vec<Option<Serving>>,
    ports: Vec<SocketAddr>,
}

impl Bench {
    async fn new() -> Self {
        let mut bench = Self { folder: tempfile::tempdir().unwrap(), witnesses: Vec::new(), ports: Vec::new() };
        for at in 0..3 {
            bench.witnesses.push(None);
            bench.ports.push("127.0.0.1:0".parse().unwrap());
            bench.start(at).await;
        }
        bench
    }

    /// The log's first keyring: any two of the three witnesses are a quorum.
    fn keyring(&self) -> Keyring {
        let mut keyring = honest::keyring();
        for (at, port) in self.ports.iter().enumerate() {
            let name = format!("w{at}");
            let mut entry = Entry::new(name.parse().unwrap(), Role::Witness, honest::key(&name).public());
            entry.note_name = Some(format!("witness.example.org/{name}").parse().unwrap());
            entry.url = Some(format!("http://{port}").parse().unwrap());
            keyring.add(entry).unwrap();
        }
        keyring.set(Some(1), Some(2)).unwrap();
        keyring
    }

    async fn start(&mut self, at: usize) {
        let (name, folder) = (format!("witness.example.org/w{at}"), self.folder.path().join(format!("w{at}")));
        let log = log_key(&honest::keyring()).unwrap();
        let witness = Witness::open(&folder, &name, honest::key(&format!("w{at}")), [log]).unwrap();
        let listener = TcpListener::bind(self.ports[at]).await.unwrap();
        let address = listener.local_addr().unwrap();
        self.ports[at] = address;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(Arc::new(witness), honest::now, Duration::from_millis(500));
        let ended = tokio::spawn(http::serve(listener, router, async {
            let _ = stopped.await;
        }));
        self.witnesses[at] = Some(Serving { address, stop, ended });
    }

    async fn stop(&mut self, at: usize) {
        self.witnesses[at].take().unwrap().stop().await;
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A publisher whose log begins with this keyring.
    async fn publisher(&self, keyring: &Keyring) -> Running {
        Running::start(&self.data(), keyring).await
    }
}

/// The store, once the last connection of the one before has let go of it.
async fn opened(data: &Path) -> SledStore {
    let began = Instant::now();
    loop {
        match SledStore::open(data, Mark { demonstration: false }) {
            Err(OpenError::InUse { .. }) if began.elapsed() < SOON => tokio::time::sleep(PACE).await,
            opened => return opened.unwrap(),
        }
    }
}

struct Running {
    serving: Serving,
    client: Client,
}

impl Running {
    async fn start(data: &Path, keyring: &Keyring) -> Self {
        Self::paced(data, keyring, PACE, RENEWAL).await
    }

    async fn paced(data: &Path, keyring: &Keyring, pace: Duration, renewal: Duration) -> Self {
        Self::at(data, keyring, (pace, renewal), honest::now).await
    }

    /// By a clock of its own.
    async fn at(
        data: &Path,
        keyring: &Keyring,
        (pace, renewal): (Duration, Duration),
        clock: fn() -> Timestamp,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(opened(data).await);
        let kept = Kept::within(data);
        let (recovered, shown) = recover(&*store, &kept).unwrap();
        let is_new = recovered.ledger.size() == 0;
        let signer = Signer { origin: honest::ORIGIN.to_owned(), key: honest::key("log") };
        let cell = Box::new(FileCell::new(&FileCell::beside(data)));
        let (log, view) = Log::start(Arc::clone(&store), cell, signer, recovered).unwrap();
        if is_new {
            let first = honest::signed(keyring, None);
            log.submit(Submission::new(verify_first(&first).unwrap())).await.unwrap();
        }
        let note_key = log_key(keyring).unwrap();
        let meters = Arc::new(Meters::default());
        let witnesses = Witnesses::new(note_key.clone(), log.tree(), Arc::clone(&meters), clock);
        let feed = Arc::new(Feed::new(store, log.tree(), view, note_key));
        let (show, published) = watch::channel(shown.map(Arc::new));
        let publishing = tokio::spawn(publish(
            log.head(),
            Publishing {
                feed: Arc::clone(&feed),
                witnesses: witnesses.with_timeout(Duration::from_secs(2)),
                pace,
                renewal,
                kept,
                meters: Arc::clone(&meters),
                published: show,
            },
        ));
        let policy = Policy::of_log(keyring.clone(), Suites::default());
        let (stopping, stopped) = watch::channel(false);
        let roads = Arc::new(Publisher {
            intake: Intake::new(policy, DAILY_QUOTA, log.clone()).unwrap(),
            feed,
            signed: log.head(),
            published,
            meters,
            patience: PATIENCE,
            stop: stopped,
            demonstration: false,
            clock,
            body_timeout: Duration::from_secs(2),
            streams: Arc::new(Semaphore::new(2)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, signal) = oneshot::channel::<()>();
        let ended = tokio::spawn(async move {
            http::serve(listener, http::router(roads), async {
                let _ = signal.await;
                let _ = stopping.send(true);
            })
            .await;
            log.close().await;
            // It ends with the log, whether its witnesses answer or not.
            tokio::time::timeout(SOON / 2, publishing).await.unwrap().unwrap();
        });
        Self { serving: Serving { address, stop, ended }, client: Client::new() }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.client.get(format!("http://{}{path}", self.serving.address)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Submits the release of a number.
    async fn post(&self, number: u64) -> (StatusCode, Value) {
        self.submit(honest::release(number)).await
    }

    async fn submit(&self, bundle: Vec<u8>) -> (StatusCode, Value) {
        let address = format!("http://{}/v1/bundles", self.serving.address);
        let response = self.client.post(address).body(bundle).send().await.unwrap();
        (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// The size of the published head, which holds under the keyring with so many cosignatures; 0 if there is none.
    async fn published(&self, keyring: &Keyring) -> (u64, usize) {
        let (status, note) = self.get("/checkpoint").await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(note.contains("not-witnessed"), "{note}");
            return (0, 0);
        }
        let signed = open(note.as_bytes(), &log_key(keyring).unwrap()).unwrap();
        let (witnesses, _) = quorum(&signed, keyring).unwrap();
        (signed.checkpoint().size(), witnesses.len())
    }

    /// Waits until a size is published.
    async fn until(&self, size: u64, keyring: &Keyring) {
        let began = Instant::now();
        while self.published(keyring).await.0 != size {
            assert!(began.elapsed() < SOON, "{}", self.get("/readyz?verbose").await.1);
            tokio::time::sleep(PACE).await;
        }
    }

    /// The value of a metric, of all that are called so.
    async fn metric(&self, name: &str) -> Option<f64> {
        let (_, metrics) = self.get("/metrics").await;
        metrics.lines().find_map(|line| line.strip_prefix("smi_publisher_")?.strip_prefix(name)?.trim().parse().ok())
    }

    /// Requests to the first witness with this outcome.
    async fn requests(&self, outcome: &str) -> f64 {
        self.metric(&format!("witness_requests_total{{witness=\"w0\",outcome=\"{outcome}\"}}")).await.unwrap_or(0.0)
    }

    async fn feed_size(&self) -> Value {
        serde_json::from_str::<Value>(&self.get("/v1/feed").await.1).unwrap()["size"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_decide_and_one_alone_does_not() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    let (status, logged) = publisher.post(1).await;
    assert_eq!((status, &logged["index"]), (StatusCode::CREATED, &1.into()), "{logged}");
    assert!(logged["bundle"].is_object() && logged["status"].is_null());
    publisher.until(2, &keyring).await;

    bench.stop(0).await;
    assert_eq!(publisher.post(2).await.0, StatusCode::CREATED);
    assert_eq!(publisher.published(&keyring).await, (3, 2));

    bench.stop(1).await;
    let (status, logged) = publisher.post(3).await;
    assert_eq!((status, &logged["index"]), (StatusCode::ACCEPTED, &3.into()), "{logged}");
    assert!(logged["bundle"].is_null());
    let asked = publisher.get(logged["status"].as_str().unwrap()).await;
    assert_eq!(serde_json::from_str::<Value>(&asked.1).unwrap()["published"], false, "{asked:?}");
    assert_eq!(publisher.published(&keyring).await, (3, 2));
    assert_eq!(publisher.feed_size().await, 3);
    let payload = logged["payload"].as_str().unwrap();
    assert_eq!(publisher.get(&format!("/v1/bundles/{payload}")).await.0, StatusCode::NOT_FOUND);

    let (status, ready) = publisher.get("/readyz?verbose").await;
    assert_eq!(status, StatusCode::OK);
    for line in ["signed     4\n", "published  3\n", "lag        1\n", "quorum     2 of 3, last reached ", " s ago\n"] {
        assert!(ready.contains(line), "{ready}");
    }
    assert!(ready.contains("witness    w0: no answer: "), "{ready}");
    assert!(ready.contains("witness    w2: cosigned 4 entries at 2026-01-02T12:00:00Z\n"), "{ready}");
    let (_, metrics) = publisher.get("/metrics").await;
    for line in [
        "smi_publisher_signed_entries 4\n",
        "smi_publisher_published_entries 3\n",
        "smi_publisher_quorum_lag_entries 1\n",
        "smi_publisher_submissions_total{outcome=\"added\"} 2\n",
        "smi_publisher_submissions_total{outcome=\"waiting\"} 1\n",
        "smi_publisher_witness_requests_total{witness=\"w0\",outcome=\"unreachable\"} ",
        "smi_publisher_witness_requests_total{witness=\"w2\",outcome=\"cosigned\"} ",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let lag = metrics.lines().find_map(|line| line.strip_prefix("smi_publisher_quorum_lag_seconds ")).unwrap();
    assert!(lag.parse::<f64>().unwrap() >= PATIENCE.as_secs_f64(), "{lag}");

    // Nothing is submitted again.
    bench.start(1).await;
    publisher.until(4, &keyring).await;
    let asked = publisher.get(logged["status"].as_str().unwrap()).await;
    assert_eq!(serde_json::from_str::<Value>(&asked.1).unwrap()["published"], true, "{asked:?}");
    assert!(publisher.get("/metrics").await.1.contains("smi_publisher_quorum_lag_seconds 0.000\n"));
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_is_asked_once_about_a_head() {
    let bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    publisher.until(1, &keyring).await;
    while publisher.published(&keyring).await != (1, 3) {
        tokio::time::sleep(PACE).await; // who is not needed comes into the note too
    }
    tokio::time::sleep(PACE * 10).await;
    let (_, metrics) = publisher.get("/metrics").await;
    for at in 0..3 {
        let line = format!("smi_publisher_witness_requests_total{{witness=\"w{at}\",outcome=\"cosigned\"}} 1\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    publisher.serving.stop().await;

    // What has its quorum is not asked about again by whoever starts.
    let publisher = bench.publisher(&keyring).await;
    assert_eq!(publisher.published(&keyring).await, (1, 3));
    tokio::time::sleep(PACE * 10).await;
    assert!(!publisher.get("/metrics").await.1.contains("smi_publisher_witness_requests_total{"));
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_log_is_shown_to_its_witnesses_again() {
    let bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = Running::paced(&bench.data(), &keyring, PACE, PACE * 2).await;
    publisher.until(1, &keyring).await;
    let asked_again = async {
        let line = "smi_publisher_witness_requests_total{witness=\"w0\",outcome=\"cosigned\"} ";
        loop {
            let (_, metrics) = publisher.get("/metrics").await;
            let count = metrics.lines().find_map(|told| told.strip_prefix(line)?.parse::<u32>().ok());
            if count.is_some_and(|count| count > 2) {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::time::timeout(SOON, asked_again).await.unwrap();
    assert!(publisher.published(&keyring).await.1 >= 2, "and is shown with their newest words");
    publisher.serving.stop().await;
}

/// Three days later than everything else in this file.
fn three_days_later() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_with_an_old_head_has_it_renewed_at_once() {
    let bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    while publisher.published(&keyring).await != (1, 3) {
        tokio::time::sleep(PACE).await;
    }
    publisher.serving.stop().await;

    let publisher = Running::at(&bench.data(), &keyring, (PACE, RENEWAL), three_days_later).await;
    assert_eq!(publisher.published(&keyring).await.0, 1, "meanwhile it is shown as it was");
    let began = Instant::now();
    while publisher.requests("cosigned").await < 1.0 {
        assert!(began.elapsed() < SOON, "{}", publisher.get("/metrics").await.1);
        tokio::time::sleep(PACE).await;
    }
    // Once, though its witnesses' clocks are wrong.
    tokio::time::sleep(PACE * 10).await;
    assert!((publisher.requests("cosigned").await - 1.0).abs() < f64::EPSILON);
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_log_that_lost_its_quorum_says_so() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = Running::paced(&bench.data(), &keyring, PACE, PACE * 2).await;
    publisher.until(1, &keyring).await;
    bench.stop(0).await;
    bench.stop(1).await;
    let long = Duration::from_secs(4);
    tokio::time::sleep(long).await;
    let age = publisher.metric("quorum_age_seconds ").await.unwrap();
    assert!((3.0..5.0).contains(&age), "{age}");
    let (_, ready) = publisher.get("/readyz?verbose").await;
    assert!(ready.contains("last reached 3 s ago") || ready.contains("last reached 4 s ago"), "{ready}");
    assert_eq!(publisher.metric("quorum_lag_seconds ").await, Some(0.0), "nothing waits");

    // What waits now waits since now.
    let began = Instant::now();
    assert_eq!(publisher.post(1).await.0, StatusCode::ACCEPTED);
    let lag = publisher.metric("quorum_lag_seconds ").await.unwrap();
    assert!(lag > 0.0 && lag <= began.elapsed().as_secs_f64(), "{lag}");
    publisher.serving.stop().await;

    // Who starts has not forgotten.
    let publisher = Running::at(&bench.data(), &keyring, (PACE, RENEWAL), three_days_later).await;
    let age = publisher.metric("quorum_age_seconds ").await.unwrap();
    assert!((259_200.0..259_260.0).contains(&age), "{age}");
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_that_are_away_are_not_asked_without_pause() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    for at in 0..3 {
        bench.stop(at).await;
    }
    let publisher = Running::paced(&bench.data(), &keyring, Duration::ZERO, RENEWAL).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let asked = publisher.requests("unreachable").await;
    assert!((1.0..=3.0).contains(&asked), "{asked}");
    assert_eq!(publisher.metric("quorum_age_seconds ").await, Some(f64::INFINITY), "it never was reached");
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_after_a_keyring_dropped_the_quorum_shows_everything() {
    let bench = Bench::new().await;
    let asking = bench.keyring();
    let publisher = bench.publisher(&asking).await;
    publisher.until(1, &asking).await;
    let mut without = asking.clone();
    without.set(Some(1), None).unwrap();
    assert_eq!(publisher.submit(honest::signed(&without, Some(&asking))).await.0, StatusCode::CREATED);
    assert_eq!(publisher.post(1).await.0, StatusCode::CREATED);
    assert_eq!(publisher.feed_size().await, 3);
    assert_eq!(publisher.metric("quorum_age_seconds ").await, None, "nobody is asked");
    publisher.serving.stop().await;

    let kept = Kept::within(&bench.data());
    assert!(bench.data().join("published").exists(), "it is of the time with a quorum");
    for when in ["at first", "and later"] {
        let store = opened(&bench.data()).await;
        let (recovered, shown) = recover(&store, &kept).unwrap();
        assert!(shown.is_none());
        assert_eq!(recovered.view.size(), 3, "{when}");
        assert!(!bench.data().join("published").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_while_the_witnesses_are_away_shows_what_was_shown() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    assert_eq!(publisher.post(1).await.0, StatusCode::CREATED);
    bench.stop(0).await;
    bench.stop(1).await;
    assert_eq!(publisher.post(2).await.0, StatusCode::ACCEPTED);
    let before = publisher.get("/checkpoint").await;
    publisher.serving.stop().await;

    let publisher = bench.publisher(&keyring).await;
    assert_eq!(publisher.get("/checkpoint").await, before);
    assert_eq!(publisher.feed_size().await, 2);
    let (_, ready) = publisher.get("/readyz?verbose").await;
    assert!(
        ready.contains("signed     3\npublished  2\nlag        1\nquorum     2 of 3, last reached 0 s ago\n"),
        "{ready}"
    );
    let payload = serde_json::from_str::<Value>(&publisher.get("/v1/feed").await.1).unwrap()["entries"][1]["payload"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(publisher.get(&format!("/v1/bundles/{payload}/tlog-proof")).await.0, StatusCode::OK);
    assert_eq!(publisher.post(2).await.0, StatusCode::ACCEPTED, "it is there, and still waits");
    publisher.serving.stop().await;

    bench.start(0).await;
    let publisher = bench.publisher(&keyring).await;
    publisher.until(3, &keyring).await;
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_is_believed_nothing() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    assert_eq!(publisher.post(1).await.0, StatusCode::CREATED);
    // Once the third is in the note that is shown, nothing is still to be kept.
    while publisher.published(&keyring).await != (2, 3) {
        tokio::time::sleep(PACE).await;
    }
    publisher.serving.stop().await;
    for at in 0..3 {
        bench.stop(at).await;
    }

    let file = bench.data().join("published");
    let kept = std::fs::read_to_string(&file).unwrap();
    let cosigned: Vec<&str> = kept.lines().filter(|line| line.contains("witness.example.org")).collect();
    assert!(cosigned.len() >= 2, "{kept}");
    let by_one = kept.replace(&format!("{}\n", cosigned[0]), "").replace(&format!("{}\n", cosigned[1]), "");
    let of_more = kept.replacen("\n2\n", "\n3\n", 1);
    let of_another = kept.replacen(honest::ORIGIN, "other.example.org", 1);
    for (what, contents) in [
        ("too few cosignatures", Some(by_one)),
        ("another size", Some(of_more)),
        ("another log", Some(of_another)),
        ("torn", Some(kept[..kept.len() / 2].to_owned())),
        ("empty", Some(String::new())),
        ("not there", None),
    ] {
        match contents {
            Some(contents) => std::fs::write(&file, contents).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let publisher = bench.publisher(&keyring).await;
        assert_eq!(publisher.published(&keyring).await, (0, 0), "{what}");
        assert_eq!(publisher.feed_size().await, 0, "{what}");
        assert_eq!(publisher.get("/readyz").await.0, StatusCode::OK, "{what}");
        publisher.serving.stop().await;
    }
    std::fs::write(&file, kept).unwrap();
    let publisher = bench.publisher(&keyring).await;
    assert_eq!(publisher.published(&keyring).await.0, 2);
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_begins_to_ask_for_a_quorum() {
    let mut bench = Bench::new().await;
    let with = bench.keyring();
    let mut without = Keyring::default();
    for entry in with.keys() {
        without.add(entry.clone()).unwrap();
    }
    let publisher = bench.publisher(&without).await;
    assert_eq!(publisher.post(1).await.0, StatusCode::CREATED);
    assert_eq!(publisher.published(&without).await, (2, 0));
    assert!(publisher.get("/readyz?verbose").await.1.contains("quorum     none is asked for\n"));

    bench.stop(0).await;
    bench.stop(1).await;
    let mut asking = without.clone();
    asking.set(Some(1), Some(2)).unwrap();
    let change = honest::signed(&asking, Some(&without));
    assert_eq!(publisher.submit(change).await.0, StatusCode::ACCEPTED, "its own entry is under its own rule");
    assert_eq!(publisher.published(&without).await, (2, 0));
    publisher.serving.stop().await;

    // What was shown without a quorum stays so.
    let publisher = bench.publisher(&without).await;
    assert_eq!((publisher.published(&without).await, publisher.feed_size().await), ((2, 0), 2.into()));
    bench.start(0).await;
    publisher.until(3, &without).await;
    assert_eq!(publisher.published(&asking).await, (3, 2));
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_who_is_not_needed() {
    let mut bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    publisher.until(1, &keyring).await;
    // Something takes connections in the place of a witness, and never says a word.
    bench.stop(0).await;
    let hanging = TcpListener::bind(bench.ports[0]).await.unwrap();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = hanging.accept().await {
            held.push(connection);
        }
    });
    for number in 1..5 {
        let began = Instant::now();
        assert_eq!(publisher.post(number).await.0, StatusCode::CREATED);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
    let (_, ready) = publisher.get("/readyz?verbose").await;
    assert!(ready.contains("signed     5\npublished  5\n"), "{ready}");
    held.abort();
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_faster_than_the_pace_goes_together() {
    let bench = Bench::new().await;
    let keyring = bench.keyring();
    let pace = Duration::from_millis(500);
    let publisher = Running::paced(&bench.data(), &keyring, pace, RENEWAL).await;
    publisher.until(1, &keyring).await;
    let began = Instant::now();
    let answers = futures_util::future::join_all((1..=20).map(async |number| {
        tokio::time::sleep(Duration::from_millis(20 * number)).await;
        publisher.post(number).await.0
    }));
    assert!(answers.await.iter().all(|status| *status == StatusCode::CREATED));
    // The first round was before, and one is under way.
    let rounds = began.elapsed().as_millis().div_ceil(pace.as_millis()) + 1;
    let (_, metrics) = publisher.get("/metrics").await;
    let line = "smi_publisher_witness_requests_total{witness=\"w0\",outcome=\"cosigned\"} ";
    let asked: u128 = metrics.lines().find_map(|at| at.strip_prefix(line)).unwrap().parse().unwrap();
    assert!(asked <= rounds, "{asked} requests in {rounds} rounds");
    publisher.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_says_over_http_what_it_says() {
    let bench = Bench::new().await;
    let keyring = bench.keyring();
    let publisher = bench.publisher(&keyring).await;
    publisher.until(1, &keyring).await;
    let url = format!("http://{}", bench.ports[0]);
    let client = Client::new();
    let text = async |path: &str| {
        let response = client.get(format!("{url}{path}")).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    let (_, about) = text("/").await;
    let log: NoteKey = log_key(&keyring).unwrap();
    assert!(about.contains("witness  witness.example.org/w0\n") && about.contains(&log.to_string()), "{about}");
    assert_eq!(text("/livez").await, (StatusCode::OK, "alive\n".to_owned()));
    let hash = Digest::of(honest::ORIGIN.as_bytes()).hex();
    let (_, note) = text(&format!("/{hash}/checkpoint")).await;
    assert_eq!(open(note.as_bytes(), &log).unwrap().checkpoint().size(), 1);
    assert_eq!(text(&format!("/{}/checkpoint", "0".repeat(64))).await.0, StatusCode::NOT_FOUND);

    let post = async |body: Vec<u8>| {
        let response = client.post(format!("{url}/add-checkpoint")).body(body).send().await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), media_type, response.text().await.unwrap())
    };
    let plain = "text/plain; charset=utf-8";
    let again = post(format!("old 0\n\n{note}").into_bytes()).await;
    assert_eq!(again, (409, "text/x.tlog.size".to_owned(), "1\n".to_owned()));
    let (status, media_type, cosignature) = post(format!("old 1\n\n{note}").into_bytes()).await;
    assert_eq!((status, media_type.as_str()), (200, plain));
    assert!(cosignature.starts_with("\u{2014} witness.example.org/w0 ") && cosignature.ends_with('\n'));
    assert_eq!(post(b"hello".to_vec()).await.0, 400);
    assert_eq!(post(vec![b'x'; MAX_REQUEST_BYTES + 1]).await.0, 413);
    assert_eq!(client.get(format!("{url}/add-checkpoint")).send().await.unwrap().status(), 405);
    publisher.serving.stop().await;
}

/// The binary as a witness, which is killed when it is dropped.
struct Child(std::process::Child, String);

impl Child {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-publisher"));
        command.arg("witness").args(arguments).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("serving   ").map(str::to_owned)).unwrap();
        Self(child, address)
    }

    fn signal(mut self, name: &str) -> Option<i32> {
        // The shell's own: a bare machine has no program of that name.
        Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", name, &self.0.id().to_string()]).status().unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_is_a_witness() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| files::create(&folder.path().join(name), bytes, Access::Owner).unwrap();
    write("w0.pem", encode_plain(&honest::key("w0")).unwrap().as_bytes());
    write("keyring.json", &honest::keyring().to_bytes());
    let log = log_key(&honest::keyring()).unwrap().to_string();
    let common = ["--data", "w0", "--key", "w0.pem", "--name", "witness.example.org/w0", "--listen", "127.0.0.1:0"];
    for signal in ["-INT", "-TERM"] {
        let both = [&common[..], &["--keyring", "keyring.json", "--log", &log]].concat();
        let child = Child::start(folder.path(), &both);
        let about = reqwest::get(&child.1).await.unwrap().text().await.unwrap();
        assert_eq!(about.matches(&log).count(), 1, "{about}");
        assert_eq!(child.signal(signal), Some(0));
    }

    let fail = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-publisher"));
        command.arg("witness").args(common).args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(fail(&[]).0, Some(2), "of no log there is nothing to cosign");
    assert_eq!(fail(&["--log", "log.example.org"]).0, Some(2));
    let other = NoteKey::new(honest::ORIGIN, KeyKind::Log, honest::key("other").public()).unwrap().to_string();
    let (exit, said) = fail(&["--log", &log, "--log", &other]);
    assert_eq!((exit, said.contains("error[witness-option]")), (Some(2), true), "{said}");
    std::fs::write(folder.path().join("w0").join(Digest::of(honest::ORIGIN.as_bytes()).hex()), "torn").unwrap();
    let (exit, said) = fail(&["--log", &log]);
    assert_eq!((exit, said.contains("error[witness-state]")), (Some(6), true), "{said}");
}
