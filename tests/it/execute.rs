//! Execution against a target that is nothing but functions, on a clock that does not wait: what comes of meshes,
//! clusters and harnesses that behave badly in time.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smi_runner::execute::{Event, execute};
use smi_runner::plan::Plan;
use smi_runner::target::{Facts, Fault, Lane, Target};
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Question, Reading};
use smi_schemas::report::{ActionResult, Result as AssertionResult, Status, Tally, Unanswered};
use smi_schemas::smi::{Api, ApiVersion, Kind};
use smi_schemas::statement::{self, Enforcing, Filters, Overrides};
use smi_schemas::suite::{Action, Cell, DRAFT, Expect, Shape, Suite, Via};
use smi_tests::simulate::{answered, ideal, ideal_reading, unanswered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What comes of requests of a cell, so long after the lane was opened.
type Mesh = fn(&Shape, &Cell, u32, Duration) -> Tally;

struct Fake {
    facts: Facts,
    mesh: Mesh,
    act: fn(&Action) -> ActionResult,
    spacing: Duration,
    /// Wipes that fail, from the first.
    failing_wipes: usize,
}

struct FakeLane {
    shape: Option<Shape>,
    mesh: Mesh,
    act: fn(&Action) -> ActionResult,
    spacing: Duration,
    opened: Instant,
    wipes: AtomicUsize,
    failing_wipes: usize,
}

impl Target for Fake {
    type Lane = FakeLane;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn lane(&self, shape: Option<&Shape>) -> Result<FakeLane, Fault> {
        Ok(FakeLane {
            shape: shape.cloned(),
            mesh: self.mesh,
            act: self.act,
            spacing: self.spacing,
            opened: Instant::now(),
            wipes: AtomicUsize::new(0),
            failing_wipes: self.failing_wipes,
        })
    }
}

impl Lane for FakeLane {
    fn spacing(&self) -> Duration {
        self.spacing
    }

    async fn act(&self, action: &Action) -> Result<ActionResult, Fault> {
        Ok((self.act)(action))
    }

    async fn probe(&self, cell: &Cell, requests: u32) -> Result<Tally, Fault> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((self.mesh)(self.shape.as_ref().unwrap(), cell, requests, self.opened.elapsed()))
    }

    async fn read(&self, question: &Question) -> Result<Reading, Fault> {
        Ok(ideal_reading(question))
    }

    async fn wipe(&self) -> Result<(), Fault> {
        if self.wipes.fetch_add(1, Ordering::Relaxed) < self.failing_wipes {
            return Err(Fault { code: Code::KubernetesFault, detail: "the API server is away".to_owned() });
        }
        Ok(())
    }

    async fn close(self) {}
}

fn fake(mesh: Mesh, act: fn(&Action) -> ActionResult) -> Fake {
    let digest = Digest::of(b"fake");
    let facts = Facts {
        subject: Vec::new(),
        agent: digest,
        target: statement::Target::Sandbox {},
        mesh: statement::Mesh {
            slug: "fake".parse().unwrap(),
            version: None,
            profile: digest,
            enforcing: Enforcing::On,
            claimed_unsupported: BTreeSet::new(),
        },
        enable: None,
        crds: Vec::new(),
        metrics: [].into(),
    };
    Fake { facts, mesh, act, spacing: Duration::from_millis(250), failing_wipes: 0 }
}

fn done(action: &Action) -> ActionResult {
    match action {
        Action::Discover(_) => ActionResult::Served(ApiVersion::ALL.to_vec()),
        Action::RoundTrip(_) => ActionResult::Lost(Vec::new()),
        Action::Refuse(_) => ActionResult::Refused,
        _ => ActionResult::Done,
    }
}

fn well(shape: &Shape, cell: &Cell, requests: u32, _: Duration) -> Tally {
    ideal(shape, cell, requests)
}

fn off_the_mesh(shape: &Shape, cell: &Cell) -> bool {
    cell.via == Via::Loopback || shape.workload(&cell.from).is_some_and(|from| from.outside)
}

/// Runs the assertions that match, and gives their results in suite order.
async fn run(fake: Fake, only: &[&str]) -> Vec<AssertionResult> {
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap();
    let apis =
        [(Api::Access, ApiVersion::V1alpha3), (Api::Specs, ApiVersion::V1alpha4), (Api::Split, ApiVersion::V1alpha4)];
    let filters = Filters { run: only.iter().map(|glob| glob.parse().unwrap()).collect(), skip: Vec::new() };
    let plan = Plan { suite, digest, filters, overrides: Overrides::default(), apis: apis.into(), absent: [].into() };
    let stop = CancellationToken::new();
    let day = Duration::from_hours(24);
    let executed = tokio::time::timeout(day, execute(&plan, &fake, &stop, &|_| ())).await.expect("it ends");
    executed.results.into_iter().filter(|result| result.observations.is_some()).collect()
}

fn verdicts(results: &[AssertionResult]) -> Vec<(&str, Status, Code)> {
    results.iter().map(|result| (result.id.tail(), result.status, result.reason)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_field_ends_its_assertion() {
    let loses = |action: &Action| match action {
        Action::RoundTrip(resource) if resource.kind() == Kind::HttpRouteGroup => {
            ActionResult::Lost(vec!["/spec/matches/0/headers".to_owned()])
        }
        other => done(other),
    };
    let results = run(fake(well, loses), &["smi.api.roundtrip-specs"]).await;
    assert_eq!(verdicts(&results), [("roundtrip-specs", Status::Fail, Code::FieldLost)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_is_the_cluster_s_fault() {
    let refuses = |action: &Action| match action {
        Action::Delete(_) => ActionResult::Refused,
        other => done(other),
    };
    let results = run(fake(well, refuses), &["smi.access.revoke-on-delete"]).await;
    assert_eq!(verdicts(&results), [("revoke-on-delete", Status::Error, Code::KubernetesFault)]);
    assert_eq!(results[0].attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_falls_silent_ends_the_wait_at_the_limit() {
    let silent: Mesh = |shape, cell, requests, since| match &cell.expect {
        Expect::Spread(workloads) if since > Duration::from_secs(5) => answered(requests, workloads.iter().take(2)),
        _ => ideal(shape, cell, requests),
    };
    let results = run(fake(silent, done), &["smi.split.delete"]).await;
    assert_eq!(verdicts(&results), [("delete", Status::Fail, Code::WrongResponder)]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_may_be_slower_than_the_longest_pause() {
    let late: Mesh = |shape, cell, requests, since| {
        let ready = since > Duration::from_secs(3);
        if ready { ideal(shape, cell, requests) } else { unanswered(requests, Unanswered::Reset) }
    };
    let slow = Fake { spacing: Duration::from_secs(2), ..fake(late, done) };
    let results = run(slow, &["smi.access.allow-listed-source"]).await;
    assert_eq!(verdicts(&results), [("allow-listed-source", Status::Pass, Code::Met)]);
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_is_merely_not_ready_is_not_one_that_denies() {
    let permissive: Mesh = |shape, cell, requests, since| {
        let ready = off_the_mesh(shape, cell) || since > Duration::from_secs(12);
        if ready { answered(requests, shape.destinations(cell)) } else { unanswered(requests, Unanswered::Reset) }
    };
    let results = run(fake(permissive, done), &["smi.access.default-deny"]).await;
    assert_eq!(verdicts(&results), [("default-deny", Status::Fail, Code::Delivered)]);
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_needs_ten_seconds_passes() {
    let slow: Mesh = |shape, cell, requests, since| {
        let ready = off_the_mesh(shape, cell) || since > Duration::from_secs(10);
        if ready { ideal(shape, cell, requests) } else { unanswered(requests, Unanswered::Http(403)) }
    };
    let results = run(fake(slow, done), &["smi.access.multiple-sources"]).await;
    assert_eq!(verdicts(&results), [("multiple-sources", Status::Pass, Code::Met)]);
    let window = results[0].observations.as_ref().unwrap().phases[0].window.as_ref().unwrap();
    assert!(window.converged_ms >= Some(10_000), "{window:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_flaps_is_caught_though_it_denies_most_of_the_time() {
    let flaps: Mesh = |shape, cell, requests, since| {
        let open = cell.expect == Expect::Deny && since.as_secs() % 5 == 4;
        if open { answered(requests, shape.destinations(cell)) } else { ideal(shape, cell, requests) }
    };
    let results = run(fake(flaps, done), &["smi.access.deny-unlisted-source"]).await;
    assert_eq!(verdicts(&results), [("deny-unlisted-source", Status::Fail, Code::Relapsed)]);
}

#[tokio::test(start_paused = true)]
async fn targets_that_share_a_route_must_add_up_whichever_wins() {
    let first: Mesh = |shape, cell, requests, _| wins("client-a", shape, cell, requests);
    let last: Mesh = |shape, cell, requests, _| wins("client-b", shape, cell, requests);
    for mesh in [first, last] {
        let results = run(fake(mesh, done), &["smi.access.additive-overlap"]).await;
        assert_eq!(verdicts(&results), [("additive-overlap", Status::Fail, Code::NotDelivered)]);
    }
}

fn wins(winner: &str, shape: &Shape, cell: &Cell, requests: u32) -> Tally {
    let loses = cell.path.ends_with("/same") && cell.expect == Expect::Allow && cell.from.as_str() != winner;
    let loses = loses && cell.to.as_str() == "server";
    if loses { unanswered(requests, Unanswered::Http(403)) } else { ideal(shape, cell, requests) }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_merely_refuses_splits_passes_none() {
    let refuses = |action: &Action| match action.resource().map(smi_schemas::smi::Resource::kind) {
        Some(Kind::TrafficSplit) => ActionResult::Refused,
        _ => done(action),
    };
    let plain: Mesh = |shape, cell, requests, _| answered(requests, shape.destinations(cell));
    let results = run(fake(plain, refuses), &["smi.split.*"]).await;
    assert!(results.len() > 20);
    assert!(results.iter().all(|result| result.status == Status::Inconclusive), "{:?}", verdicts(&results));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_could_not_be_wiped_is_wiped_before_it_is_used() {
    let only = ["smi.access.default-deny", "smi.access.allow-listed-source", "smi.access.multiple-sources"];
    let unwiped = Fake { failing_wipes: 3, ..fake(well, done) };
    let results = run(unwiped, &only).await;
    let expected = [
        ("default-deny", Status::Error, Code::KubernetesFault),
        ("allow-listed-source", Status::Pass, Code::Met),
        ("multiple-sources", Status::Pass, Code::Met),
    ];
    assert_eq!(verdicts(&results), expected);
    assert_eq!(results.iter().map(|result| result.attempts).collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn lost_requests_do_not_hide_wrong_shares() {
    let lossy: Mesh = |shape, cell, requests, _| match &cell.expect {
        Expect::Shares(shares) => {
            let lost = requests / 90;
            let halves = answered(requests - lost, shares.bounds.iter().map(|bound| &bound.workload));
            let unanswered = [(Unanswered::Reset, lost)].into_iter().filter(|(_, lost)| *lost > 0).collect();
            Tally { sent: requests, unanswered, ..halves }
        }
        _ => ideal(shape, cell, requests),
    };
    let results = run(fake(lossy, done), &["smi.split.weights-90-10"]).await;
    assert_eq!(verdicts(&results), [("weights-90-10", Status::Fail, Code::ShareOutside)]);
}

#[tokio::test(start_paused = true)]
async fn what_may_disturb_others_waits_for_them() {
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap();
    let alone: Vec<_> = suite.assertions.iter().filter(|assertion| assertion.alone).map(|it| it.id.clone()).collect();
    let apis =
        [(Api::Access, ApiVersion::V1alpha3), (Api::Specs, ApiVersion::V1alpha4), (Api::Split, ApiVersion::V1alpha4)];
    let (filters, overrides, apis) = (Filters::default(), Overrides::default(), apis.into());
    let plan = Plan { suite, digest, filters, overrides, apis, absent: [].into() };
    let order = Mutex::new(Vec::new());
    let watch = |event: Event<'_>| match event {
        Event::Started(id) => order.lock().unwrap().push((true, id.clone())),
        Event::Finished(result) => order.lock().unwrap().push((false, result.id.clone())),
        Event::Fault(..) => {}
    };
    execute(&plan, &fake(well, done), &CancellationToken::new(), &watch).await;
    let order = order.into_inner().unwrap();
    let first = order.iter().position(|(_, id)| alone.contains(id)).unwrap();
    let expected: Vec<_> = alone.iter().flat_map(|id| [(true, id.clone()), (false, id.clone())]).collect();
    assert_eq!(order[first..], expected, "one after the other, and nothing beside them");
}
