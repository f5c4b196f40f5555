//! A suite's data in words: what is done, what is called, and what must come of it.

use std::collections::BTreeSet;

use smi_schemas::metrics::{Of, Question, Shows};
use smi_schemas::names::Slug;
use smi_schemas::smi::{Resource, ServiceAccount};
use smi_schemas::suite::{Action, Cell, Expect, Flaw, Flawed, Scale, Via};
use smi_verifier::judge::SUM_TOLERANCE;

use crate::kubernetes::dialect::Namespaces;
use crate::kubernetes::metrics::paths;

/// An action in words.
pub fn deed(action: &Action) -> String {
    let object = |resource: &Resource| format!("{} {}", resource.kind(), resource.name());
    match action {
        Action::Apply(resource) => format!("create {}", object(resource)),
        Action::ApplyOrRefuse(resource) => format!("create {}, which may be refused", object(resource)),
        Action::Update(resource) => format!("change {}", object(resource)),
        Action::RoundTrip(resource) => format!("create {}, read it back, delete it", object(resource)),
        Action::Delete(reference) => format!("delete {} {}", reference.kind, reference.name),
        Action::Refuse(Flawed { flaw, resource }) => {
            format!("create {} with {}, which must be refused", object(resource), flaw_words(*flaw))
        }
        Action::Discover(kind) => format!("ask in which versions {kind} is served"),
        Action::Resources => "ask which resources the metrics API lists".to_owned(),
        Action::Release => "look whether the tested versions are those of one SMI release".to_owned(),
        Action::Scale(Scale { workload, replicas: 0 }) => format!("end {workload}"),
        Action::Scale(Scale { workload, .. }) => format!("start {workload}"),
        Action::Restart(workload) => format!("restart {workload}"),
        Action::Open(open) => {
            let names = |accounts: &[ServiceAccount]| {
                accounts.iter().map(|account| account.service_account.as_str()).collect::<Vec<_>>().join(", ")
            };
            let to = open.to.service_account.as_str();
            let over = open.tcp.map(|port| format!(" over TCP at port {port}")).unwrap_or_default();
            format!("let {} reach {to}{over} by whatever the mesh needs", names(&open.from))
        }
    }
}

/// A cell's call in words.
pub fn call(cell: &Cell) -> String {
    let road = match cell.via {
        Via::Service => "",
        Via::Pod => " by its own address",
        Via::Loopback => " by loopback",
    };
    let port = cell.port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let headers: Vec<String> = cell.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
    let request = match cell.path.as_str() {
        "" => String::new(),
        path => format!(", {} {path}{}", cell.method.as_str(), headers.concat()),
    };
    format!("{} calls {}{port}{road}{request}", cell.from, cell.to)
}

/// What must come of a cell, in words.
pub fn expectation(expect: &Expect) -> String {
    match expect {
        Expect::Allow => "allowed".to_owned(),
        Expect::Deny => "denied".to_owned(),
        Expect::Only(workload) => format!("answered by {workload} only"),
        Expect::Spread(workloads) => {
            let names: Vec<&str> = workloads.iter().map(smi_schemas::names::Slug::as_str).collect();
            format!("answered by each of {} and nobody else", names.join(", "))
        }
        Expect::Shares(shares) => {
            let bounds = shares.bounds.iter().map(|bound| match (bound.lo, bound.hi) {
                (lo, hi) if lo == hi => format!("{} {lo}", bound.workload),
                (lo, hi) => format!("{} {lo} to {hi}", bound.workload),
            });
            format!("of {} answers {}", shares.n, bounds.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A question to the metrics API in words.
pub fn asked(question: &Question) -> String {
    let of = match &question.of {
        Of::Pod(name) => format!("pod {name}"),
        Of::Pods => "all pods".to_owned(),
        Of::Namespace => "the namespace".to_owned(),
        Of::Split(name) => format!("TrafficSplit {name}"),
    };
    let edges = if question.edges { "edges of " } else { "" };
    let labels: Vec<String> = question.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(", ")) };
    let who = if question.restricted { ", as an account that may get the edges of pods only" } else { "" };
    let path = paths(question, &Namespaces::default()).join(" and ");
    format!("metrics, {edges}{of}{labels}{who} (GET {path})")
}

/// What an answer of the metrics API must show, in words.
pub fn shown(shows: &Shows) -> String {
    let names = |workloads: &BTreeSet<Slug>| {
        let names: Vec<&str> = workloads.iter().map(Slug::as_str).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    match shows {
        Shows::Object => "one TrafficMetrics, of what was asked for".to_owned(),
        Shows::Includes(workloads) => format!("a list of the kind with {} in it", names(workloads)),
        Shows::Only(workloads) => format!("a list of the kind with {} in it and nobody else", names(workloads)),
        Shows::Names => "the five metrics by name, each once, latencies that grow".to_owned(),
        Shows::Failures(percent) => format!("{} to {} failures in a hundred requests", percent.lo, percent.hi),
        Shows::Fresh => "a window, and a timestamp not older than two".to_owned(),
        Shows::Edges(edges) => format!("edges from {}, to {}, and no others", names(&edges.from), names(&edges.to)),
        Shows::Sum => format!("the counts of its pods together, to {SUM_TOLERANCE} in a hundred"),
        Shows::Backends(backends) => {
            let weights = backends.weights.iter().map(|(name, weight)| format!("{name} with weight {weight}"));
            let weights: Vec<String> = weights.collect();
            format!("one item for each backend of {}: {}", backends.apex, weights.join(", "))
        }
        Shows::Denied => "denied, with 403".to_owned(),
    }
}

fn flaw_words(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::NoDestination => "no destination",
        Flaw::NoRules => "no rules",
        Flaw::NoSources => "no sources",
        Flaw::UnknownRuleKind => "a rule of an unknown kind",
        Flaw::UnnamedMatch => "a match without a name",
        Flaw::UnknownMethod => "a method that HTTP does not have",
        Flaw::NoService => "no root Service",
        Flaw::NoBackends => "no backends",
        Flaw::NoWeight => "a backend without a weight",
    }
}
