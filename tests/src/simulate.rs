//! Observations without a target: what a runner would report of a mesh that is nothing but a function.
//!
//! The mesh is asked what becomes of the requests of one cell at a point of an assertion. The probing around it is
//! reduced to its outcome: a window that held at once, or one that was given up at the limit.

use std::collections::BTreeMap;

use smi_schemas::metrics::{
    Backends, Direction, Edge, Item, Listed, Listing, Object, Of, Question, Reading, Shows, Side, SplitBackend,
};
use smi_schemas::names::{Slug, Word};
use smi_schemas::report::{ActionResult, Observations, Phase as Seen, Result, Tally, Unanswered, Window};
use smi_schemas::smi::{Api, ApiVersion, Namespace};
use smi_schemas::suite::{Action, Assertion, Cell, Expect, Phase, Shape, Suite};
use smi_verifier::judge::{Context, judge};

/// What becomes of `requests` requests of a cell.
pub type Mesh<'a> = dyn Fn(&Shape, &Cell, u32) -> Tally + 'a;

const SPACING_MS: u32 = 250;
const CONVERGED_MS: u64 = 1000;

/// A result for every assertion of the suite, judged.
pub fn results(context: &Context<'_>, mesh: &Mesh<'_>) -> Vec<Result> {
    let assertions = &context.suite.assertions;
    assertions.iter().map(|assertion| result(context, assertion, mesh)).collect()
}

fn result(context: &Context<'_>, assertion: &Assertion, mesh: &Mesh<'_>) -> Result {
    let exempt = judge(context, assertion, None).ok();
    let observations = if exempt.is_some() { None } else { Some(observe(context, assertion, mesh)) };
    let judgement = exempt.map_or_else(|| judge(context, assertion, observations.as_ref()), Ok);
    let judgement = judgement.unwrap_or_else(|malformed| unreachable!("{}: {malformed}", assertion.id));
    let executed = u32::from(observations.is_some());
    Result {
        id: assertion.id.clone(),
        status: judgement.status,
        reason: judgement.reason,
        attempts: executed,
        duration_ms: u64::from(executed) + observed_ms(observations.as_ref()),
        observations,
    }
}

/// How long the windows took together.
fn observed_ms(observations: Option<&Observations>) -> u64 {
    let phases = observations.into_iter().flat_map(|seen| &seen.phases);
    phases.filter_map(|phase| phase.window.as_ref()).map(|window| window.elapsed_ms).sum()
}

/// Goes on from phase to phase for as long as the judge does.
fn observe(context: &Context<'_>, assertion: &Assertion, mesh: &Mesh<'_>) -> Observations {
    let mut seen = Observations::default();
    for phase in &assertion.phases {
        let actions = phase.actions.iter().map(|action| done(context.apis, action)).collect();
        let shape = assertion.shape.as_ref().and_then(|name| context.suite.shape(name));
        let window = shape.filter(|_| phase.probes()).map(|shape| window(context.suite, shape, phase, mesh));
        seen.phases.push(Seen { actions, window });
        if judge(context, assertion, Some(&seen)).is_ok() {
            break;
        }
    }
    seen
}

fn done(apis: &BTreeMap<Api, ApiVersion>, action: &Action) -> ActionResult {
    match action {
        Action::Discover(kind) => ActionResult::Served(apis.get(&kind.api()).copied().into_iter().collect()),
        Action::RoundTrip(_) => ActionResult::Lost(Vec::new()),
        Action::Refuse(_) => ActionResult::Refused,
        Action::Resources => ActionResult::Resources(Listing { http: 200, resources: ideal_resources() }),
        _ => ActionResult::Done,
    }
}

fn window(suite: &Suite, shape: &Shape, phase: &Phase, mesh: &Mesh<'_>) -> Window {
    let pace = &suite.pace;
    let held = if phase.asserts() { pace.hold } else { pace.gate };
    let ask = |cell: &Cell| match cell.expect {
        Expect::Allow => mesh(shape, cell, held),
        _ => mesh(shape, cell, held * pace.poll),
    };
    let cells: Vec<Tally> = phase.rounds(shape).map(|(_, cell)| ask(cell)).collect();
    let agree = phase.rounds(shape).zip(&cells).all(|((_, cell), tally)| agrees(shape, cell, tally));
    let rounds = held + pace.settle + 1;
    if !agree {
        let elapsed_ms = pace.limit_ms;
        let relapsed = false;
        return Window {
            rounds,
            held,
            relapsed,
            spacing_ms: SPACING_MS,
            converged_ms: None,
            elapsed_ms,
            cells,
            samples: vec![],
            metrics: phase.metrics.iter().map(ideal_reading).collect(),
        };
    }
    let samples = phase.samples(shape).map(|(_, cell, shares)| {
        let first = mesh(shape, cell, shares.n);
        let within = shares.bounds.iter().all(|bound| {
            let count = first.answered.get(&bound.workload).copied().unwrap_or(0);
            (bound.lo..=bound.hi).contains(&count)
        }) && first.answered.keys().all(|name| shares.bounds.iter().any(|bound| bound.workload == *name));
        if within { vec![first] } else { vec![first, mesh(shape, cell, shares.n)] }
    });
    Window {
        rounds,
        held,
        relapsed: false,
        spacing_ms: SPACING_MS,
        converged_ms: Some(CONVERGED_MS),
        elapsed_ms: CONVERGED_MS + u64::from(rounds * SPACING_MS),
        samples: samples.collect(),
        metrics: phase.metrics.iter().map(ideal_reading).collect(),
        cells,
    }
}

/// Agreement as the probing target sees it, in words of its own.
fn agrees(shape: &Shape, cell: &Cell, tally: &Tally) -> bool {
    let answered: Vec<&Slug> = tally.answered.keys().collect();
    let all = tally.answers() == u64::from(tally.sent);
    match &cell.expect {
        Expect::Deny => {
            tally.answers() == 0 && tally.logged == 0 && !tally.unanswered.contains_key(&Unanswered::NameError)
        }
        Expect::Allow => all && answered.iter().all(|name| shape.destinations(cell).contains(name)),
        Expect::Only(workload) => all && answered == [workload],
        Expect::Spread(workloads) => all && answered.into_iter().eq(workloads),
        Expect::Shares(_) => true,
    }
}

/// A mesh that does exactly what every cell expects.
pub fn ideal(shape: &Shape, cell: &Cell, requests: u32) -> Tally {
    match &cell.expect {
        Expect::Deny => unanswered(requests, Unanswered::Http(403)),
        Expect::Allow => answered(requests, shape.destinations(cell)),
        Expect::Only(workload) => answered(requests, [workload]),
        Expect::Spread(workloads) => answered(requests, workloads),
        Expect::Shares(shares) => {
            let mut rest = requests;
            let mut counts = BTreeMap::new();
            for (index, bound) in shares.bounds.iter().enumerate() {
                let last = index + 1 == shares.bounds.len();
                let count = if last { rest } else { u32::midpoint(bound.lo, bound.hi) };
                rest -= count;
                counts.insert(bound.workload.clone(), count);
            }
            Tally { sent: requests, answered: counts, ..Tally::default() }
        }
    }
}

/// What discovery must list of the metrics API, and no more.
pub fn ideal_resources() -> Vec<Listed> {
    let listed = |name: &str, namespaced| Listed {
        name: Word::of(name),
        kind: Word::of("TrafficMetrics"),
        namespaced,
        verbs: ["get", "list"].map(Word::of).into(),
    };
    vec![listed("namespaces", false), listed("pods", true), listed("pods/edges", true)]
}

/// What a mesh reads that counts everything as it is.
pub fn ideal_reading(question: &Question) -> Reading {
    let main = Some(Namespace::Main);
    let pod = |name: &Slug| Object { kind: Word::of("Pod"), name: Some(name.clone()), namespace: main, foreign: false };
    let item = |object: Object, edge: Edge| Item {
        resource: Some(object),
        edge: Some(edge),
        backend: None,
        age_ms: Some(1_500),
        window_ms: Some(30_000),
        success: Some(50),
        failure: Some(0),
        p50_us: Some(800),
        p90_us: Some(900),
        p99_us: Some(900),
        others: 0,
    };
    let received = || Edge { direction: Some(Direction::From), side: Some(Side::Server), resource: None };
    let of_kind = |kind: &str| Object { kind: Word::of(kind), name: None, namespace: main, foreign: false };
    let list = |kind: &str, items| Reading { http: 200, list: Some(of_kind(kind)), items };
    let one = |item| Reading { http: 200, list: None, items: vec![item] };
    match (&question.shows, &question.of) {
        (Shows::Denied, _) => Reading { http: 403, ..Reading::default() },
        (Shows::Failures(percent), Of::Pod(name)) => {
            let failed = u64::from(percent.lo);
            one(Item { success: Some(100 - failed), failure: Some(failed), ..item(pod(name), received()) })
        }
        (Shows::Includes(names) | Shows::Only(names), _) => {
            list("Pod", names.iter().map(|name| item(pod(name), received())).collect())
        }
        (Shows::Edges(edges), Of::Pod(name)) => {
            let edge = |direction, other: &Slug| {
                let side = if direction == Direction::From { Side::Server } else { Side::Client };
                let edge = Edge { direction: Some(direction), side: Some(side), resource: Some(pod(other)) };
                item(pod(name), edge)
            };
            let from = edges.from.iter().map(|other| edge(Direction::From, other));
            list("Pod", from.chain(edges.to.iter().map(|other| edge(Direction::To, other))).collect())
        }
        (Shows::Backends(Backends { apex, weights }), Of::Split(name)) => {
            let split =
                Object { kind: Word::of("TrafficSplit"), name: Some(name.clone()), namespace: main, foreign: false };
            let of = |(backend, weight): (&Slug, &u32)| Item {
                backend: Some(SplitBackend { apex: apex.clone(), name: backend.clone(), weight: *weight }),
                ..item(split.clone(), received())
            };
            list("TrafficSplit", weights.iter().map(of).collect())
        }
        (Shows::Sum, _) => {
            let whole = item(of_kind("Namespace"), received());
            let part = || Item { success: Some(25), ..item(of_kind("Pod"), received()) };
            Reading { http: 200, list: None, items: vec![whole, part(), part()] }
        }
        (_, Of::Pod(name)) => one(item(pod(name), received())),
        _ => Reading { http: 404, ..Reading::default() },
    }
}

/// Requests answered in equal parts by some workloads.
pub fn answered<'a>(requests: u32, by: impl IntoIterator<Item = &'a Slug>) -> Tally {
    let by: Vec<&Slug> = by.into_iter().collect();
    let parts = u32::try_from(by.len()).unwrap_or(u32::MAX).max(1);
    let part = |index: u32| requests / parts + u32::from(index < requests % parts);
    let counts = (0..parts).zip(by).map(|(index, name)| (name.clone(), part(index)));
    Tally { sent: requests, answered: counts.filter(|(_, count)| *count > 0).collect(), ..Tally::default() }
}

/// Requests that nobody answered.
pub fn unanswered(requests: u32, outcome: Unanswered) -> Tally {
    Tally { sent: requests, unanswered: BTreeMap::from([(outcome, requests)]), ..Tally::default() }
}
