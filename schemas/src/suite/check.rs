//! What a suite must not contradict itself in. All faults are found, not the first.

use std::collections::BTreeSet;
use std::fmt;

use regex::RegexBuilder;

use super::{
    Action, Assertion, Cell, Class, Expect, Flawed, MAX_LIMIT_MS, MAX_REGEX_BYTES, MAX_ROUNDS, MAX_SAMPLE, Phase,
    Scale, Shape, Shares, Suite, Via,
};
use crate::metrics::{Of, Question, Shows};
use crate::names::Slug;
use crate::smi::{Api, Kind, Method, Resource};

/// Where in a suite a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The assertion's id or the shape's name; empty for the suite itself.
    pub within: String,
    /// Number of the phase, from 1.
    pub phase: Option<usize>,
    /// Number of the cell among the phase's controls and expectations, from 1.
    pub cell: Option<usize>,
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the sentences say it
pub enum Fault {
    #[error("limitMs must be 1 to {MAX_LIMIT_MS}, hold, gate and poll 1 to {MAX_ROUNDS}, settle 0 to {MAX_ROUNDS}")]
    Pace,
    #[error("{0:?} is defined twice")]
    Repeated(String),
    #[error("shape {0:?} does not exist")]
    UnknownShape(String),
    #[error("workload {0:?} does not exist in the shape")]
    UnknownWorkload(String),
    #[error("Service {0:?} does not exist in the shape")]
    UnknownService(String),
    #[error("a health cell must be an `allow` by loopback or between workloads outside the mesh")]
    UnhealthyHealth,
    #[error("loopback leads from a workload to itself")]
    LoopbackElsewhere,
    #[error("the method of a request is never `*`")]
    AnyMethod,
    #[error("a path begins with `/` and holds no space or control character")]
    BadPath,
    #[error("requests over TCP and UDP have no method, path or headers")]
    NoHttp,
    #[error("a Service needs ports, each number once, and 0 is none")]
    BadPorts,
    #[error("the destination has no such port")]
    UnknownPort,
    #[error("workload {0:?} is not running at this point")]
    NotRunning(String),
    #[error("workload {0:?} cannot be scaled: it is there from the beginning, or runs as often already")]
    NotScalable(String),
    #[error("{0} cannot have this flaw")]
    OtherFlaw(Kind),
    #[error("{expression:?} is no regular expression that a mesh could be asked to read: {reason}")]
    BadRegex { expression: String, reason: String },
    #[error("{0:?} is no destination of this cell")]
    NoDestination(String),
    #[error("a spread needs two workloads")]
    NarrowSpread,
    #[error("shares need n of 1 to {MAX_SAMPLE}, lo <= hi <= n for every workload, and room for n answers")]
    BadShares,
    #[error("shares need an `only` or `spread` cell with the same caller and destination in the same phase")]
    SharesBlind,
    #[error("a presence assertion probes nothing and needs no shape; a behaviour assertion does both")]
    WrongClass,
    #[error("a behaviour assertion needs an expectation, a presence assertion an action")]
    NothingAsserted,
    #[error("a phase needs an action or a cell")]
    EmptyPhase,
    #[error("a denial counts only beside an `allow` to the same destination, or before the same call as an `allow`")]
    DenyWithoutControl,
    #[error("versions names {given:?} but the assertion uses {uses:?}")]
    WrongVersions { uses: BTreeSet<Api>, given: BTreeSet<Api> },
    #[error("{0} has no version in which the assertion makes sense")]
    NoVersion(Api),
    #[error("{0} {1:?} exists already")]
    AlreadyThere(Kind, String),
    #[error("{0} {1:?} does not exist at this point")]
    NotThere(Kind, String),
    #[error("a suite that asks the metrics API needs a rule for metrics")]
    NoMetricsRule,
    #[error("the metrics API is asked about requests: the phase needs a cell")]
    NothingToCount,
    #[error("of {0:?} the metrics API does not show that")]
    OtherQuestion(Of),
    #[error("lo <= hi <= 100")]
    BadPercent,
    #[error("the weights of TrafficSplit {0:?} add up to zero")]
    ZeroWeight(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.within.is_empty() { "suite" } else { &self.within })?;
        if let Some(phase) = self.phase {
            write!(f, ", phase {phase}")?;
        }
        if let Some(cell) = self.cell {
            write!(f, ", cell {cell}")?;
        }
        Ok(())
    }
}

pub(super) fn listed(faults: &[(Place, Fault)]) -> String {
    faults.iter().map(|(place, fault)| format!("{place}: {fault}")).collect::<Vec<_>>().join("; ")
}

pub(super) fn check(suite: &Suite) -> Vec<(Place, Fault)> {
    let mut found = Vec::new();
    let pace = &suite.pace;
    let counts = [pace.hold, pace.gate, pace.poll].iter().all(|count| (1..=MAX_ROUNDS).contains(count));
    if !counts || pace.settle > MAX_ROUNDS || !(1..=MAX_LIMIT_MS).contains(&pace.limit_ms) {
        found.push((Place { within: String::new(), phase: None, cell: None }, Fault::Pace));
    }
    let asks = |assertion: &Assertion| assertion.uses().contains(&Api::Metrics);
    if suite.rules.metrics.is_none() && suite.assertions.iter().any(asks) {
        found.push((Place { within: String::new(), phase: None, cell: None }, Fault::NoMetricsRule));
    }
    unique(&mut found, "", suite.shapes.iter().map(|shape| shape.name.as_str()));
    unique(&mut found, "", suite.assertions.iter().map(|assertion| assertion.id.as_str()));
    for shape in &suite.shapes {
        check_shape(&mut found, shape);
    }
    for assertion in &suite.assertions {
        check_assertion(&mut found, suite, assertion);
    }
    found
}

fn check_shape(found: &mut Vec<(Place, Fault)>, shape: &Shape) {
    let within = shape.name.as_str();
    unique(found, within, shape.workloads.iter().map(|workload| workload.name.as_str()));
    unique(found, within, shape.services.iter().map(|service| service.name.as_str()));
    for service in &shape.services {
        let ports: BTreeSet<u16> = service.ports.iter().map(|port| port.port).collect();
        let real = service.ports.iter().all(|port| port.port > 0 && port.target_port > 0);
        if ports.is_empty() || ports.len() != service.ports.len() || !real {
            let place = Place { within: format!("{within}, Service {}", service.name), phase: None, cell: None };
            found.push((place, Fault::BadPorts));
        }
    }
    for (number, cell) in shape.health.iter().enumerate() {
        let place = Place { within: within.to_owned(), phase: None, cell: Some(number + 1) };
        let outside = |name| shape.workload(name).is_some_and(|workload| workload.outside);
        let off_the_mesh = match cell.via {
            Via::Loopback => true,
            Via::Pod | Via::Service => outside(&cell.from) && shape.destinations(cell).into_iter().all(outside),
        };
        if cell.expect != Expect::Allow || !off_the_mesh {
            found.push((place.clone(), Fault::UnhealthyHealth));
        }
        check_cell(found, &place, shape, cell);
    }
}

fn check_assertion(found: &mut Vec<(Place, Fault)>, suite: &Suite, assertion: &Assertion) {
    let place = Place { within: assertion.id.to_string(), phase: None, cell: None };
    let given: BTreeSet<Api> = assertion.versions.keys().copied().collect();
    let uses = assertion.uses();
    for (api, versions) in &assertion.versions {
        if versions.is_empty() {
            found.push((place.clone(), Fault::NoVersion(*api)));
        }
    }
    if given != uses {
        found.push((place.clone(), Fault::WrongVersions { uses, given }));
    }
    let probes = assertion.phases.iter().any(Phase::probes);
    let needs_both = assertion.class == Class::Behaviour;
    if probes != needs_both || assertion.shape.is_some() != needs_both {
        found.push((place.clone(), Fault::WrongClass));
    }
    let asserts = match assertion.class {
        Class::Behaviour => assertion.phases.iter().any(Phase::asserts),
        Class::Presence => assertion.phases.iter().any(|phase| !phase.actions.is_empty()),
    };
    if !asserts {
        found.push((place.clone(), Fault::NothingAsserted));
    }
    check_actions(found, assertion);
    let Some(name) = &assertion.shape else { return };
    let Some(shape) = suite.shape(name) else {
        found.push((place, Fault::UnknownShape(name.to_string())));
        return;
    };
    let mut running: BTreeSet<&Slug> =
        shape.workloads.iter().filter(|workload| !workload.absent).map(|workload| &workload.name).collect();
    for (number, phase) in assertion.phases.iter().enumerate() {
        let place = Place { within: assertion.id.to_string(), phase: Some(number + 1), cell: None };
        for action in &phase.actions {
            found.extend(check_workload(shape, &mut running, action).map(|fault| (place.clone(), fault)));
        }
        for (index, cell) in phase.controls.iter().chain(&phase.expect).enumerate() {
            if shape.workload(&cell.from).is_some() && !running.contains(&cell.from) {
                let place = Place { cell: Some(index + 1), ..place.clone() };
                found.push((place, Fault::NotRunning(cell.from.to_string())));
            }
        }
        check_phase(found, assertion, shape, number, phase);
    }
}

/// Follows which workloads run.
fn check_workload<'a>(shape: &Shape, running: &mut BTreeSet<&'a Slug>, action: &'a Action) -> Option<Fault> {
    let (Action::Scale(Scale { workload: name, .. }) | Action::Restart(name)) = action else { return None };
    let Some(workload) = shape.workload(name) else { return Some(Fault::UnknownWorkload(name.to_string())) };
    let sound = match action {
        Action::Scale(Scale { replicas: 1, .. }) => workload.absent && running.insert(name),
        Action::Scale(Scale { replicas: 0, .. }) => workload.absent && running.remove(name),
        Action::Restart(_) if running.contains(name) => true,
        Action::Restart(_) => return Some(Fault::NotRunning(name.to_string())),
        _ => false,
    };
    (!sound).then(|| Fault::NotScalable(name.to_string()))
}

/// Follows what exists from action to action.
fn check_actions(found: &mut Vec<(Place, Fault)>, assertion: &Assertion) {
    let mut there: BTreeSet<(Kind, String)> = BTreeSet::new();
    for (number, phase) in assertion.phases.iter().enumerate() {
        let place = Place { within: assertion.id.to_string(), phase: Some(number + 1), cell: None };
        let mut report = |fault| found.push((place.clone(), fault));
        if phase.actions.is_empty() && !phase.probes() {
            report(Fault::EmptyPhase);
        }
        for action in &phase.actions {
            match action {
                Action::Apply(resource) | Action::ApplyOrRefuse(resource) => {
                    if !there.insert((resource.kind(), resource.name().to_string())) {
                        report(Fault::AlreadyThere(resource.kind(), resource.name().to_string()));
                    }
                }
                Action::Update(resource) => {
                    if !there.contains(&(resource.kind(), resource.name().to_string())) {
                        report(Fault::NotThere(resource.kind(), resource.name().to_string()));
                    }
                }
                Action::Delete(reference) => {
                    if !there.remove(&(reference.kind, reference.name.to_string())) {
                        report(Fault::NotThere(reference.kind, reference.name.to_string()));
                    }
                }
                Action::Refuse(Flawed { flaw, resource }) if flaw.kind() != resource.kind() => {
                    report(Fault::OtherFlaw(resource.kind()));
                }
                Action::Open(_)
                | Action::Discover(_)
                | Action::RoundTrip(_)
                | Action::Release
                | Action::Resources
                | Action::Refuse(_)
                | Action::Scale(_)
                | Action::Restart(_) => {}
            }
            if let Some(Resource::HttpRouteGroup(group)) = action.resource() {
                let paths = group.matches.iter().filter_map(|matched| matched.path_regex.as_ref());
                let headers = group.matches.iter().flat_map(|matched| matched.headers.iter().flatten());
                for expression in paths.chain(headers.map(|(_, expression)| expression)) {
                    if let Err(error) = RegexBuilder::new(expression).size_limit(MAX_REGEX_BYTES).build() {
                        let reason = error.to_string();
                        report(Fault::BadRegex { expression: expression.clone(), reason });
                    }
                }
            }
            if let Some(Resource::TrafficSplit(split)) = action.resource()
                && split.backends.iter().all(|backend| backend.weight == 0)
            {
                report(Fault::ZeroWeight(split.name.to_string()));
            }
        }
    }
}

fn check_phase(found: &mut Vec<(Place, Fault)>, assertion: &Assertion, shape: &Shape, number: usize, phase: &Phase) {
    let within = assertion.id.as_str();
    for (index, cell) in phase.controls.iter().chain(&phase.expect).enumerate() {
        let place = Place { within: within.to_owned(), phase: Some(number + 1), cell: Some(index + 1) };
        check_cell(found, &place, shape, cell);
        if let Expect::Shares(shares) = &cell.expect {
            let watched = phase.rounds(shape).any(|(_, other)| {
                matches!(other.expect, Expect::Only(_) | Expect::Spread(_))
                    && (&other.from, &other.to) == (&cell.from, &cell.to)
            });
            if !watched {
                found.push((place.clone(), Fault::SharesBlind));
            }
            check_shares(found, &place, shares);
        }
        let expected = index >= phase.controls.len();
        if expected && cell.expect == Expect::Deny && !has_control(assertion, shape, number, cell) {
            found.push((place, Fault::DenyWithoutControl));
        }
    }
    let place = Place { within: within.to_owned(), phase: Some(number + 1), cell: None };
    if !phase.metrics.is_empty() && phase.controls.is_empty() && phase.expect.is_empty() {
        found.push((place.clone(), Fault::NothingToCount));
    }
    for question in &phase.metrics {
        found.extend(check_question(shape, question).map(|fault| (place.clone(), fault)));
    }
}

/// What can be asked of whom, and of workloads that exist.
fn check_question(shape: &Shape, question: &Question) -> Option<Fault> {
    let Question { of, edges, labels, restricted, shows } = question;
    let askable = match shows {
        Shows::Object | Shows::Names | Shows::Failures(_) | Shows::Fresh => matches!(of, Of::Pod(_)) && !edges,
        Shows::Includes(_) | Shows::Only(_) => *of == Of::Pods && !edges,
        Shows::Edges(_) => matches!(of, Of::Pod(_)) && *edges,
        Shows::Sum => *of == Of::Namespace && !edges,
        Shows::Backends(_) => matches!(of, Of::Split(_)) && !edges,
        Shows::Denied => *restricted,
    };
    if !askable || (!labels.is_empty() && *of != Of::Pods) {
        return Some(Fault::OtherQuestion(of.clone()));
    }
    if let Shows::Failures(percent) = shows
        && !(percent.lo <= percent.hi && percent.hi <= 100)
    {
        return Some(Fault::BadPercent);
    }
    let named: Vec<&Slug> = match shows {
        Shows::Includes(workloads) | Shows::Only(workloads) => workloads.iter().collect(),
        Shows::Edges(edges) => edges.from.iter().chain(&edges.to).collect(),
        _ => Vec::new(),
    };
    let asked = if let Of::Pod(workload) = of { Some(workload) } else { None };
    let mut workloads = named.into_iter().chain(asked);
    if let Some(unknown) = workloads.find(|name| shape.workload(name).is_none()) {
        return Some(Fault::UnknownWorkload(unknown.to_string()));
    }
    let Shows::Backends(backends) = shows else { return None };
    let mut services = backends.weights.keys().chain([&backends.apex]);
    let unknown = services.find(|name| shape.service(name).is_none())?;
    Some(Fault::UnknownService(unknown.to_string()))
}

/// A denial needs a call to the same destination that must pass in the same phase, or itself passing later.
fn has_control(assertion: &Assertion, shape: &Shape, number: usize, denied: &Cell) -> bool {
    let destinations = shape.destinations(denied);
    let passes = |cell: &Cell| matches!(cell.expect, Expect::Allow | Expect::Only(_) | Expect::Spread(_));
    let beside = |cell: &Cell| passes(cell) && !shape.destinations(cell).is_disjoint(&destinations);
    let same_call = |cell: &Cell| Cell { expect: Expect::Deny, ..cell.clone() } == *denied;
    let cells = |phase: &'_ Phase| phase.controls.iter().chain(&phase.expect).cloned().collect::<Vec<_>>();
    cells(&assertion.phases[number]).iter().any(beside)
        || assertion.phases[number + 1..]
            .iter()
            .any(|later| cells(later).iter().any(|cell| passes(cell) && same_call(cell)))
}

fn check_cell(found: &mut Vec<(Place, Fault)>, place: &Place, shape: &Shape, cell: &Cell) {
    let mut report = |fault| found.push((place.clone(), fault));
    if shape.workload(&cell.from).is_none() {
        report(Fault::UnknownWorkload(cell.from.to_string()));
    }
    match cell.via {
        Via::Service if shape.service(&cell.to).is_none() => report(Fault::UnknownService(cell.to.to_string())),
        Via::Pod | Via::Loopback if shape.workload(&cell.to).is_none() => {
            report(Fault::UnknownWorkload(cell.to.to_string()));
        }
        Via::Loopback if cell.from != cell.to => report(Fault::LoopbackElsewhere),
        Via::Service | Via::Pod | Via::Loopback => {}
    }
    if cell.method == Method::Any {
        report(Fault::AnyMethod);
    }
    let port = shape.port(cell);
    if port.is_none() {
        report(Fault::UnknownPort);
    }
    if port.is_some_and(|(protocol, _)| !protocol.is_http()) {
        if cell.method != Method::Get || !cell.path.is_empty() || !cell.headers.is_empty() {
            report(Fault::NoHttp);
        }
    } else if !cell.path.starts_with('/') || !cell.path.bytes().all(|byte| byte.is_ascii_graphic()) {
        report(Fault::BadPath);
    }
    let named: Vec<_> = match &cell.expect {
        Expect::Allow | Expect::Deny => Vec::new(),
        Expect::Only(workload) => vec![workload],
        Expect::Spread(workloads) => {
            if workloads.len() < 2 {
                report(Fault::NarrowSpread);
            }
            workloads.iter().collect()
        }
        Expect::Shares(shares) => shares.bounds.iter().map(|bound| &bound.workload).collect(),
    };
    let destinations = shape.destinations(cell);
    for workload in named {
        if !destinations.contains(workload) {
            report(Fault::NoDestination(workload.to_string()));
        }
    }
}

fn check_shares(found: &mut Vec<(Place, Fault)>, place: &Place, shares: &Shares) {
    let sum = |side: fn(&super::Bound) -> u32| shares.bounds.iter().map(|bound| u64::from(side(bound))).sum::<u64>();
    let ordered = shares.bounds.iter().all(|bound| bound.lo <= bound.hi && bound.hi <= shares.n);
    let n = u64::from(shares.n);
    let workloads: BTreeSet<_> = shares.bounds.iter().map(|bound| &bound.workload).collect();
    let distinct = workloads.len() == shares.bounds.len();
    if n == 0
        || shares.n > MAX_SAMPLE
        || !ordered
        || !distinct
        || sum(|bound| bound.lo) > n
        || sum(|bound| bound.hi) < n
    {
        found.push((place.clone(), Fault::BadShares));
    }
}

fn unique<'a>(found: &mut Vec<(Place, Fault)>, within: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let place = Place { within: within.to_owned(), phase: None, cell: None };
            found.push((place, Fault::Repeated(name.to_owned())));
        }
    }
}
