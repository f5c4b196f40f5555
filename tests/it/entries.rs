//! What the log admits besides results, in which order, and what readers are shown of it: through a publisher.

use reqwest::StatusCode;
use serde_json::Value;
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::RunId;
use smi_schemas::record::{Release, Verdict};
use smi_schemas::statement::{Statement, Versioned};
use smi_tests::programme::{self, Running, Settings};
use smi_tests::vectors::{self, key};
use smi_verifier::ledger::Ledger;
use smi_verifier::said::{Said, verify_first, verify_said};
use tempfile::TempDir;

/// A publisher, with the log that it has so far.
struct Log {
    publisher: Running,
    _data: TempDir,
}

impl Log {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { publisher: Running::start(data.path(), Settings::default()).await, _data: data }
    }

    async fn submit(&self, bundle: &[u8]) -> (StatusCode, Value) {
        let request = self.publisher.client.post(self.publisher.url("/v1/bundles")).body(bundle.to_vec());
        let response = request.send().await.unwrap();
        (response.status(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    async fn accepted(&self, bundle: &[u8]) -> Digest {
        let (status, logged) = self.submit(bundle).await;
        assert_eq!(status, StatusCode::CREATED, "{logged}");
        logged["payload"].as_str().unwrap().parse().unwrap()
    }

    async fn refused(&self, bundle: &[u8], code: Code) {
        let before = self.json("/v1/feed").await["size"].clone();
        let (status, problem) = self.submit(bundle).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(code.as_str())),
            "{problem}"
        );
        assert_eq!(self.json("/v1/feed").await["size"], before);
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.publisher.client.get(self.publisher.url(path)).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn state(&self, result: Digest) -> String {
        let found = self.json(&format!("/v1/lookup?sha256={}", result.hex())).await;
        found["state"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
    }

    /// What the verifier says of what waits, and where it puts the bundles.
    fn waiting(&self) -> (String, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("keyring.json");
        std::fs::write(&keyring, vectors::keyring_with(None).to_bytes()).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_verifier"));
        command
            .arg("waiting")
            .arg(self.publisher.url(""))
            .arg("--keyring")
            .arg(keyring)
            .arg("--fetch")
            .arg(folder.path());
        let suite = smi_tests::root().join("tests/vectors/suite.json");
        let output = command.arg("--suite").arg(suite).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), folder)
    }

    /// The results that the cells of the first row show; `None` for a cell whose result has ended.
    async fn shown(&self) -> Vec<Option<Digest>> {
        let view = self.json("/v1/view.json").await;
        let cells = view["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        let payload = |cell: &Value| cell["current"]["payload"].as_str().map(|payload| payload.parse().unwrap());
        let mut shown: Vec<_> = cells.iter().map(payload).collect();
        shown.dedup();
        shown
    }
}

/// A result of a vendor: the hour at which its run ended tells results apart.
fn result(vendor: &str, hour: u8) -> Vec<u8> {
    let mut statement =
        Statement::read(&smi_schemas::bundle::Bundle::read(&vectors::sound()).unwrap().payload).unwrap();
    statement.predicate.run.id = RunId::new([hour; 16]);
    statement.predicate.run.started_at = format!("2026-01-02T{hour:02}:00:00Z").parse().unwrap();
    statement.predicate.run.finished_at = format!("2026-01-02T{hour:02}:30:00Z").parse().unwrap();
    key(vendor).sign_statement(&statement.to_bytes()).to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_wait_for_a_review_where_the_keyring_says_so() {
    let log = Log::new().await;
    let first = log.accepted(&result("careful-vendor", 1)).await;
    let second = log.accepted(&result("careful-vendor", 2)).await;
    assert_eq!(log.state(first).await, "waiting");
    assert_eq!(log.shown().await, [], "what waits is not shown");
    let waiting = log.json("/v1/view.json").await["waiting"].clone();
    assert_eq!(
        (waiting[0]["payload"].as_str(), waiting[1]["index"].as_u64()),
        (Some(first.to_string().as_str()), Some(2))
    );

    let (said, folder) = log.waiting();
    assert!(said.contains("2 results wait for a review.") && said.matches("verdict   accepted").count() == 2, "{said}");
    let file = folder.path().join(format!("{}.json", first.hex()));
    assert_eq!(std::fs::read(file).unwrap(), result("careful-vendor", 1));

    log.refused(&programme::review("vendor", first, Verdict::Accept), Code::KeyRole).await;
    log.accepted(&programme::review("reviewer", first, Verdict::Accept)).await;
    log.accepted(&programme::review("reviewer", second, Verdict::Reject)).await;
    assert_eq!((log.state(first).await, log.state(second).await), ("published".into(), "rejected".into()));
    assert_eq!(log.shown().await, [Some(first)]);
    assert_eq!(log.json("/v1/view.json").await["waiting"], Value::Array(Vec::new()));

    let direct = log.accepted(&result("vendor", 3)).await;
    assert_eq!(log.state(direct).await, "published", "others are published at once");
    log.refused(&programme::review("reviewer", direct, Verdict::Reject), Code::ReviewUncalled).await;
    log.refused(&programme::review("reviewer", Digest::of(b"nothing"), Verdict::Accept), Code::ResultUnknown).await;
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_cell_stays_so_until_a_later_run() {
    let log = Log::new().await;
    let earlier = log.accepted(&result("vendor", 2)).await;
    let latest = log.accepted(&result("vendor", 3)).await;
    log.refused(&programme::withdrawal("careful-vendor", latest), Code::ResultOther).await;
    log.accepted(&programme::withdrawal("vendor", latest)).await;
    log.refused(&programme::supersession("vendor", latest, earlier), Code::ResultEnded).await;
    assert_eq!((log.shown().await, log.state(latest).await), (vec![None], "withdrawn".into()));
    log.accepted(&result("vendor", 1)).await;
    assert_eq!(log.shown().await, [None], "an older run does not fill the cell");
    let page = log.publisher.client.get(log.publisher.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("withdrawn"), "{page}");
    let later = log.accepted(&result("vendor", 4)).await;
    assert_eq!(log.shown().await, [Some(later)]);
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_cell_stays_so_until_a_later_run() {
    let log = Log::new().await;
    let (earlier, later) = (log.accepted(&result("vendor", 2)).await, log.accepted(&result("vendor", 3)).await);
    log.accepted(&programme::supersession("vendor", later, earlier)).await;
    assert_eq!((log.shown().await, log.state(later).await), (vec![None], "superseded".into()));
    let view = log.json("/v1/view.json").await;
    assert_eq!(view["rows"][0]["cells"][0]["supersededBy"], earlier.to_string(), "{view}");
    let page = log.publisher.client.get(log.publisher.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"class="cell superseded""#) && page.contains(&format!("/v1/bundles/{earlier}")), "{page}");
    log.accepted(&result("vendor", 1)).await;
    assert_eq!(log.shown().await, [None], "an older run does not fill the cell");

    log.refused(&programme::withdrawal("vendor", later), Code::ResultEnded).await;
    log.refused(&programme::supersession("vendor", earlier, later), Code::ResultEnded).await;
    log.refused(&programme::supersession("vendor", earlier, Digest::of(b"nothing")), Code::ResultUnknown).await;
    let latest = log.accepted(&result("vendor", 4)).await;
    log.accepted(&programme::supersession("vendor", earlier, latest)).await;
    assert_eq!(log.shown().await, [Some(latest)]);
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_has_ended_is_not_reviewed() {
    let log = Log::new().await;
    let shown = log.accepted(&result("careful-vendor", 1)).await;
    log.accepted(&programme::review("reviewer", shown, Verdict::Accept)).await;
    let waits = log.accepted(&result("careful-vendor", 2)).await;
    for ended in [shown, waits] {
        log.accepted(&programme::withdrawal("careful-vendor", ended)).await;
        log.refused(&programme::review("reviewer", ended, Verdict::Reject), Code::ResultEnded).await;
    }
    assert_eq!(log.shown().await, [None], "what was shown says that it is withdrawn");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revocation_voids_stands_in_nobody_s_way() {
    let log = Log::new().await;
    let waits = log.accepted(&result("careful-vendor", 1)).await;
    log.accepted(&released("suite", "2.0.0", b"sound")).await;
    log.accepted(&released("suite", "2.1.0", b"stolen")).await;
    log.accepted(&programme::withdrawal("careful-vendor", waits)).await;
    assert_eq!(log.state(waits).await, "withdrawn");
    log.refused(&released("suite", "2.1.0", b"honest"), Code::SuiteReleased).await;

    let next = without("suite", 3, "careful-vendor", 4);
    log.accepted(&programme::changed(&next, Some(in_force()), &["root"])).await;
    assert_eq!(log.state(waits).await, "waiting", "who withdrew it had no say");
    log.accepted(&programme::review("reviewer", waits, Verdict::Accept)).await;
    assert_eq!(log.shown().await, [Some(waits)]);
    log.refused(&released("suite-2", "2.0.0", b"honest"), Code::SuiteReleased).await;
    log.accepted(&released("suite-2", "2.1.0", b"honest")).await;
    log.refused(&released("suite-2", "2.1.0", b"another"), Code::SuiteReleased).await;
    let view = log.json("/v1/view.json").await;
    let shown: Vec<_> = view["suites"].as_array().unwrap().iter().map(|suite| suite["digest"].clone()).collect();
    assert_eq!(shown, [Digest::of(b"sound").to_string(), Digest::of(b"honest").to_string()]);
    log.publisher.stop().await;
}

/// A batch that was not committed may hold the revocation, too.
#[test]
fn what_is_taken_back_was_never_said() {
    let before = vectors::keyring_with(None);
    let mut policy = vectors::policy(before.clone(), None);
    let (mut ledger, mut said) = (Ledger::default(), Vec::new());
    let add = |ledger: &mut Ledger, said: &Said| {
        let entry = ledger.admit(said).unwrap();
        let trusted = ledger.trusted().cloned();
        ledger.add(&entry, said.keyring().cloned());
        (entry, trusted)
    };
    add(&mut ledger, verify_first(&programme::first(&before)).unwrap().said());
    add(&mut ledger, verify_said(&released("suite", "2.1.0", b"stolen"), &policy, vectors::now()).unwrap().said());
    let next = without("suite", 1, "careful-vendor", 1);
    let change = programme::changed(&next, Some(in_force()), &["root"]);
    said.push(add(&mut ledger, verify_said(&change, &policy, vectors::now()).unwrap().said()));
    policy.keyring = next;
    let honest = released("suite-2", "2.1.0", b"honest");
    let honest = verify_said(&honest, &policy, vectors::now()).unwrap();
    said.push(add(&mut ledger, honest.said()));
    assert_eq!(ledger.admit(honest.said()).unwrap_err().code, Code::SuiteReleased);

    let (entry, trusted) = said.pop().unwrap();
    ledger.take_back(&entry, trusted);
    assert_eq!(ledger.admit(honest.said()).unwrap(), entry);
    let (entry, trusted) = said.pop().unwrap();
    ledger.take_back(&entry, trusted);
    policy.keyring = before;
    let again = released("suite", "2.1.0", b"again");
    let again = verify_said(&again, &policy, vectors::now()).unwrap();
    assert_eq!(
        ledger.admit(again.said()).unwrap_err().code,
        Code::SuiteReleased,
        "nothing voids the first release any more"
    );
}

/// A release by a key, of a file of these bytes.
fn released(by: &str, version: &str, file: &[u8]) -> Vec<u8> {
    let suite = Versioned { version: version.parse().unwrap(), digest: Digest::of(file) };
    key(by).sign_statement(&Release::of(suite, vectors::now()).unwrap().to_bytes()).to_bytes()
}

/// The digest of the keyring that a log begins with.
fn in_force() -> Digest {
    Digest::of(&vectors::keyring_with(None).to_bytes())
}

/// The next keyring: two keys are revoked, each from an index on, and another may release suites.
fn without(one: &str, from: u64, other: &str, other_from: u64) -> Keyring {
    let mut next = vectors::keyring_with(None);
    let version = next.version() + 1;
    next.revoke(&one.parse().unwrap(), from).unwrap();
    next.revoke(&other.parse().unwrap(), other_from).unwrap();
    next.add(Entry::new("suite-2".parse().unwrap(), Role::Suite, key("suite-2").public())).unwrap();
    // Each of these was a version of its own.
    let (text, steps) = (String::from_utf8(next.to_bytes()).unwrap(), next.version());
    let text = text.replacen(&format!(r#""version": {steps}"#), &format!(r#""version": {version}"#), 1);
    Keyring::read(text.as_bytes()).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_result_of_a_run() {
    let log = Log::new().await;
    log.accepted(&result("vendor", 1)).await;
    let other = vectors::signed(|statement| {
        statement.predicate.run.id = RunId::new([1; 16]);
        statement.predicate.mesh.version = None;
    });
    log.refused(&other, Code::RunLogged).await;
    log.refused(&result("careful-vendor", 1), Code::PayloadTaken).await;
    log.accepted(&result("careful-vendor", 2)).await;
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_is_released_once() {
    let log = Log::new().await;
    log.refused(&released("vendor", "2.0.0", b"a file"), Code::KeyRole).await;
    log.accepted(&released("suite", "2.0.0", b"a file")).await;
    log.refused(&released("suite", "2.0.0", b"another file"), Code::SuiteReleased).await;
    assert_eq!(log.json("/v1/view.json").await["suites"][0]["version"], "2.0.0");
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_follows_the_one_in_force_and_looks_back() {
    let log = Log::new().await;
    let kept = log.accepted(&result("vendor", 1)).await;
    let stolen = log.accepted(&result("vendor", 2)).await;
    assert_eq!(log.shown().await, [Some(stolen)]);

    let before = vectors::keyring_with(None);
    let previous = Digest::of(&before.to_bytes());
    let mut next = before.clone();
    next.revoke(&"vendor".parse().unwrap(), 2).unwrap();
    log.refused(&programme::changed(&next, Some(Digest::of(b"another")), &["root"]), Code::KeyringNotNext).await;
    log.refused(&programme::changed(&next, None, &["root"]), Code::LogOnly).await;
    log.refused(&programme::changed(&next, Some(previous), &["reviewer"]), Code::KeyringThreshold).await;
    // What is decided together is one change.
    next.revoke(&"suite".parse().unwrap(), 9).unwrap();
    log.accepted(&programme::changed(&next, Some(previous), &["root"])).await;
    let again = programme::changed(&next, Some(Digest::of(&next.to_bytes())), &["root"]);
    log.refused(&again, Code::KeyringNotNext).await;

    assert_eq!(log.json("/v1/view.json").await["keyring"]["version"], next.version());
    assert_eq!(log.json("/v1/keyring.json").await["version"], next.version());
    assert_eq!(log.shown().await, [Some(kept)], "what the key signed from the index on does not count");
    assert_eq!((log.state(kept).await, log.state(stolen).await), ("published".into(), "revoked".into()));
    log.refused(&result("vendor", 3), Code::KeyRevoked).await;
    log.accepted(&result("careful-vendor", 3)).await;
    log.publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_daily_quota_and_results_are_recent() {
    let data = tempfile::tempdir().unwrap();
    let publisher = Running::start(data.path(), Settings { quota: 2, ..Settings::default() }).await;
    let log = Log { publisher, _data: data };
    let old = vectors::signed(|statement| {
        statement.predicate.run.started_at = "2025-12-03T11:00:00Z".parse().unwrap();
        statement.predicate.run.finished_at = "2025-12-03T11:59:59Z".parse().unwrap();
    });
    log.refused(&old, Code::RunOld).await;
    log.accepted(&result("vendor", 1)).await;
    log.accepted(&result("vendor", 2)).await;
    let (status, problem) = log.submit(&result("vendor", 3)).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::TOO_MANY_REQUESTS, Some("quota-spent")), "{problem}");
    log.accepted(&result("careful-vendor", 3)).await;
    log.publisher.stop().await;
}
