//! Readings of the metrics API against what they must show.

use std::collections::{BTreeMap, BTreeSet};

use smi_schemas::codes::Code;
use smi_schemas::metrics::{
    Backends, Direction, Edges, Item, Listed, Listing, MAX_ITEMS, MAX_RESOURCES, MAX_VERBS, Object, Of, Percent,
    Question, Reading, Shows,
};
use smi_schemas::names::Slug;
use smi_schemas::smi::{Kind, Namespace};

use super::Malformed;

/// Milliseconds by which the clocks of cluster and runner may differ.
pub const MAX_SKEW_MS: i64 = 30_000;

/// Of a hundred requests, as many may be counted for a namespace and not for its pods, or the other way round: the two
/// are not asked in the same instant.
pub const SUM_TOLERANCE: u64 = 10;

const OK: u16 = 200;
const FORBIDDEN: u16 = 403;

/// Whether a reading shows what it must.
pub fn shows(question: &Question, reading: &Reading) -> bool {
    unshown(question, reading).is_none()
}

/// The same of a reading in a report, which has no more than is transcribed.
pub(super) fn unmet(question: &Question, reading: &Reading) -> Result<Option<Code>, Malformed> {
    if reading.items.len() > MAX_ITEMS {
        return Err(Malformed::Extra { what: "an item of a reading" });
    }
    Ok(unshown(question, reading))
}

/// Why a reading does not show what it must, if it does not.
fn unshown(question: &Question, reading: &Reading) -> Option<Code> {
    if question.shows == Shows::Denied {
        return match reading.http {
            FORBIDDEN => None,
            OK => Some(Code::MetricsExposed),
            _ => Some(Code::MetricsUnanswered),
        };
    }
    if reading.http != OK {
        return Some(Code::MetricsUnanswered);
    }
    let unless = |shown: bool, code: Code| (!shown).then_some(code);
    match &question.shows {
        Shows::Denied => None,
        Shows::Object => unless(single(question, reading).is_some(), Code::MetricsMisshapen),
        Shows::Includes(workloads) => listed(reading, |pods| workloads.is_subset(pods)),
        Shows::Only(workloads) => listed(reading, |pods| workloads == pods),
        Shows::Names => of_one(question, reading, |item| unless(is_named(item), Code::MetricsMisshapen)),
        Shows::Fresh => of_one(question, reading, fresh),
        Shows::Failures(percent) => of_one(question, reading, |item| failures(*percent, item)),
        Shows::Edges(edges) => edges_shown(question, edges, reading),
        Shows::Sum => sum(reading),
        Shows::Backends(backends) => backends_shown(backends, reading),
    }
}

/// Why discovery does not list what it must, if it does not: TrafficMetrics that can be read one by one and together,
/// namespaces and pods among them, and only namespaces and nodes outside of namespaces. Of edges the text says nothing.
pub(super) fn unlisted(listing: &Listing) -> Result<Option<Code>, Malformed> {
    let listed = &listing.resources;
    if listed.len() > MAX_RESOURCES || listed.iter().any(|resource| resource.verbs.len() > MAX_VERBS) {
        return Err(Malformed::Extra { what: "a resource of the metrics API" });
    }
    if listing.http != OK {
        return Ok(Some(Code::MetricsUnanswered));
    }
    let reads = |resource: &Listed| {
        ["get", "list"].into_iter().all(|verb| resource.verbs.iter().any(|listed| listed.as_str() == verb))
    };
    let whole: Vec<&Listed> = listed.iter().filter(|resource| !resource.name.as_str().contains('/')).collect();
    let is_there = |name: &str| whole.iter().any(|resource| resource.name.as_str() == name);
    let is_sound = |resource: &&Listed| {
        let clusters = ["namespaces", "nodes"].contains(&resource.name.as_str());
        resource.kind.as_str() == Kind::TrafficMetrics.as_str() && resource.namespaced != clusters && reads(resource)
    };
    let sound = is_there("namespaces") && is_there("pods") && whole.iter().all(is_sound);
    Ok((!sound).then_some(Code::MetricsMisshapen))
}

/// The one TrafficMetrics that an answer is, of the resource that was asked for.
fn single<'a>(question: &Question, reading: &'a Reading) -> Option<&'a Item> {
    let [item] = reading.items.as_slice() else { return None };
    let Of::Pod(workload) = &question.of else { return None };
    (reading.list.is_none() && pod(item.resource.as_ref()?) == Some(workload)).then_some(item)
}

fn of_one(question: &Question, reading: &Reading, judge: impl Fn(&Item) -> Option<Code>) -> Option<Code> {
    single(question, reading).map_or(Some(Code::MetricsMisshapen), judge)
}

/// The workload that an object is.
fn pod(object: &Object) -> Option<&Slug> {
    object.name.as_ref().filter(|_| object.kind.as_str() == "Pod" && object.namespace == Some(Namespace::Main))
}

/// Whether an answer is a list that names its kind and no object.
fn is_of_pods(reading: &Reading) -> bool {
    let is = |list: &Object| list.kind.as_str() == "Pod" && list.name.is_none() && !list.foreign;
    reading.list.as_ref().is_some_and(is)
}

fn listed(reading: &Reading, right: impl Fn(&BTreeSet<Slug>) -> bool) -> Option<Code> {
    let pods: Option<Vec<Slug>> = reading.items.iter().map(|item| pod(item.resource.as_ref()?).cloned()).collect();
    let Some(pods) = pods.filter(|_| is_of_pods(reading)) else { return Some(Code::MetricsMisshapen) };
    let once: BTreeSet<Slug> = pods.iter().cloned().collect();
    if once.len() != pods.len() {
        return Some(Code::MetricsMisshapen);
    }
    (!right(&once)).then_some(Code::MetricsDiffer)
}

fn is_named(item: &Item) -> bool {
    let latencies = match (item.p50_us, item.p90_us, item.p99_us) {
        (Some(p50), Some(p90), Some(p99)) => p50 <= p90 && p90 <= p99,
        _ => false,
    };
    latencies && item.success.is_some() && item.failure.is_some() && item.others == 0
}

fn fresh(item: &Item) -> Option<Code> {
    let (Some(age), Some(window)) = (item.age_ms, item.window_ms.filter(|window| *window > 0)) else {
        return Some(Code::MetricsMisshapen);
    };
    let oldest = i64::try_from(window).unwrap_or(i64::MAX).saturating_mul(2).saturating_add(MAX_SKEW_MS);
    (!(-MAX_SKEW_MS..=oldest).contains(&age)).then_some(Code::MetricsDiffer)
}

fn failures(percent: Percent, item: &Item) -> Option<Code> {
    let (Some(success), Some(failure)) = (item.success, item.failure) else { return Some(Code::MetricsMisshapen) };
    let all = u128::from(success) + u128::from(failure);
    let failed = u128::from(failure) * 100;
    let within = u128::from(percent.lo) * all <= failed && failed <= u128::from(percent.hi) * all;
    (all == 0 || !within).then_some(Code::MetricsDiffer)
}

/// Every edge is of a kind that can be told: direction, side, and who is there.
fn edges_shown(question: &Question, expected: &Edges, reading: &Reading) -> Option<Code> {
    let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
    for item in &reading.items {
        let of_asked = item.resource.as_ref().and_then(pod).is_some_and(|name| question.of == Of::Pod(name.clone()));
        let Some(edge) = item.edge.as_ref().filter(|_| of_asked) else { return Some(Code::MetricsMisshapen) };
        let (Some(direction), Some(_), Some(other)) = (edge.direction, edge.side, &edge.resource) else {
            return Some(Code::MetricsMisshapen);
        };
        // Whoever is not the lane's is nobody that the suite knows of.
        let Some(workload) = pod(other) else { continue };
        match direction {
            Direction::From => from.insert(workload.clone()),
            Direction::To => to.insert(workload.clone()),
        };
    }
    if !is_of_pods(reading) {
        return Some(Code::MetricsMisshapen);
    }
    (Edges { from, to } != *expected).then_some(Code::MetricsDiffer)
}

/// The namespace comes first, its pods behind it.
fn sum(reading: &Reading) -> Option<Code> {
    let Some((namespace, pods)) = reading.items.split_first() else { return Some(Code::MetricsMisshapen) };
    let counts = |item: &Item| Some(item.success?.saturating_add(item.failure?));
    let of_pods: Option<Vec<u64>> = pods.iter().map(counts).collect();
    let is_namespace = namespace.resource.as_ref().is_some_and(|object| object.kind.as_str() == "Namespace");
    let (Some(whole), Some(parts)) = (counts(namespace).filter(|_| is_namespace), of_pods) else {
        return Some(Code::MetricsMisshapen);
    };
    let parts = parts.into_iter().fold(0, u64::saturating_add);
    let apart = u128::from(whole.abs_diff(parts)) * 100;
    (whole == 0 || apart > u128::from(SUM_TOLERANCE) * u128::from(whole)).then_some(Code::MetricsDiffer)
}

fn backends_shown(expected: &Backends, reading: &Reading) -> Option<Code> {
    let backends: Option<Vec<_>> = reading.items.iter().map(|item| item.backend.as_ref()).collect();
    let Some(backends) = backends.filter(|backends| !backends.is_empty()) else { return Some(Code::MetricsMisshapen) };
    let weights: BTreeMap<Slug, u32> = backends.iter().map(|backend| (backend.name.clone(), backend.weight)).collect();
    let of_root = backends.iter().all(|backend| backend.apex == expected.apex);
    (!of_root || weights.len() != backends.len() || weights != expected.weights).then_some(Code::MetricsDiffer)
}
