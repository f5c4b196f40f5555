//! TrafficMetrics: what the proxies counted, as the metrics API serves it.
//!
//! Every request that a proxy carries over is counted once, when the status of its answer is seen, and forgotten after
//! [`WINDOW`]. From that the answers of `metrics.smi-spec.io/v1alpha1` are made, in the very form in which an API
//! server would give them: discovery, namespaces, pods, the edges of pods, and TrafficSplits by their backends. A
//! request that is denied, or that does not go through a proxy, is nobody's traffic.
//!
//! ```text
//! /apis/metrics.smi-spec.io/v1alpha1                                    discovery
//! /apis/metrics.smi-spec.io/v1alpha1/namespaces[/NAMESPACE]
//! /apis/metrics.smi-spec.io/v1alpha1/namespaces/NAMESPACE/pods[/NAME[/edges]]
//! /apis/metrics.smi-spec.io/v1alpha1/namespaces/NAMESPACE/trafficsplits/NAME
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use smi_schemas::Timestamp;
use smi_schemas::metrics::ROOT;
use smi_schemas::names::Slug;
use smi_schemas::smi::{Kind, Namespace, Resource};
use smi_schemas::suite::{Shape, Workload};

use crate::engine::Engine;
use crate::mutant::Mutant;

/// The time over which is counted.
const WINDOW: Duration = Duration::from_millis(200);
/// Seconds that a mutant's timestamps are old.
const STALE_SECONDS: i64 = 3_600;

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<VecDeque<Sample>>);

/// A request that was carried over.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    from: Option<Slug>,
    to: Slug,
    split: Option<(Slug, Slug)>,
    failed: bool,
    micros: u64,
}

/// A request that is being carried over.
#[derive(Debug)]
pub(crate) struct Trip {
    meter: Arc<Meter>,
    begun: Instant,
    from: Option<Slug>,
    to: Slug,
    /// Root and backend, if a split chose.
    split: Option<(Slug, Slug)>,
}

impl Trip {
    pub(crate) fn begin(meter: &Arc<Meter>, from: Option<Slug>, to: Slug, split: Option<(Slug, Slug)>) -> Self {
        Self { meter: Arc::clone(meter), begun: Instant::now(), from, to, split }
    }

    /// It was answered.
    pub(crate) fn ended(self, status: u16) {
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Self { meter, from, to, split, .. } = self;
        let sample = Sample { at: Instant::now(), from, to, split, failed: status >= 500, micros };
        let mut samples = meter.samples();
        samples.push_back(sample);
        forget(&mut samples);
    }
}

impl Meter {
    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.samples().clear();
    }

    /// What was counted of late.
    pub(crate) fn recent(&self) -> Vec<Sample> {
        let mut samples = self.samples();
        forget(&mut samples);
        samples.iter().cloned().collect()
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(samples: &mut VecDeque<Sample>) {
    while samples.front().is_some_and(|sample| sample.at.elapsed() > WINDOW) {
        samples.pop_front();
    }
}

/// The API over what was counted.
pub(crate) struct Metrics<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) engine: &'a Engine,
    pub(crate) samples: Vec<Sample>,
    pub(crate) mutant: Option<Mutant>,
}

impl Metrics<'_> {
    /// Answers a GET of `path`, of objects with these labels. A restricted account may get the edges of pods only.
    pub(crate) fn answer(&self, path: &str, labels: &BTreeMap<Slug, Slug>, restricted: bool) -> (u16, Value) {
        let open = !restricted || path.ends_with("/edges") || self.is(Mutant::OpenMetrics);
        if !open {
            return failed(403, "Forbidden");
        }
        let Some(rest) = path.strip_prefix(ROOT) else { return failed(404, "NotFound") };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let found = match parts[..] {
            [] => Some(self.discovery()),
            ["namespaces"] => {
                Some(self.list("Namespace", None, Namespace::ALL.into_iter().map(|of| self.namespace(of))))
            }
            ["namespaces", name] => namespace(name).map(|of| self.namespace(of)),
            ["namespaces", name, "pods"] => namespace(name).map(|of| self.pods(of, labels)),
            ["namespaces", name, "pods", pod] => self.workload(name, pod).map(|pod| self.pod(pod)),
            ["namespaces", name, "pods", pod, "edges"] => self.workload(name, pod).map(|pod| self.edges(pod)),
            ["namespaces", "main", "trafficsplits", name] => self.split(name),
            _ => None,
        };
        found.map_or_else(|| failed(404, "NotFound"), |found| (200, found))
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn discovery(&self) -> Value {
        let listed = |name: &str, namespaced: bool| json!({"name": name, "namespaced": namespaced, "kind": "TrafficMetrics", "verbs": ["get", "list"]});
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.smi-spec.io/v1alpha1",
            "resources": [
                listed("namespaces", self.is(Mutant::NamespacedNamespaces)),
                listed("pods", true), listed("pods/edges", true), listed("trafficsplits", true),
            ],
        })
    }

    fn workload(&self, namespace: &str, name: &str) -> Option<&Workload> {
        let is = |workload: &&Workload| workload.name.as_str() == name && workload.namespace.as_str() == namespace;
        self.shape.workloads.iter().find(is)
    }

    fn namespace(&self, of: Namespace) -> Value {
        let within: BTreeSet<&Slug> =
            self.shape.workloads.iter().filter(|to| to.namespace == of).map(|to| &to.name).collect();
        let mut received: Vec<&Sample> = self.samples.iter().filter(|sample| within.contains(&sample.to)).collect();
        if self.is(Mutant::CountsBothSides) {
            received.extend(received.clone());
        }
        let object = json!({"kind": "Namespace", "name": of.as_str()});
        self.metrics(&object, &json!({"direction": "from", "side": "server", "resource": null}), &received)
    }

    fn pods(&self, of: Namespace, labels: &BTreeMap<Slug, Slug>) -> Value {
        let carries = |to: &&Workload| {
            let all = labels.iter().all(|(key, value)| to.labels.get(key) == Some(value));
            to.namespace == of && !to.absent && (all || self.is(Mutant::IgnoresSelectors))
        };
        let pods = self.shape.workloads.iter().filter(carries).map(|to| self.pod(to));
        let mut list = self.list("Pod", Some(of), pods);
        if !labels.is_empty() {
            list["selector"] = json!({"matchLabels": labels});
        }
        list
    }

    fn pod(&self, workload: &Workload) -> Value {
        let received: Vec<&Sample> = self.samples.iter().filter(|sample| sample.to == workload.name).collect();
        let edge = json!({"direction": "from", "side": "server", "resource": null});
        self.metrics(&pod(workload), &edge, &received)
    }

    /// An edge for each workload that called this one, and for each that this one called.
    fn edges(&self, workload: &Workload) -> Value {
        let mut sides: BTreeMap<(&str, &Slug), Vec<&Sample>> = BTreeMap::new();
        for sample in &self.samples {
            if let Some(from) = sample.from.as_ref().filter(|_| sample.to == workload.name) {
                sides.entry(("from", from)).or_default().push(sample);
            }
            if sample.from.as_ref() == Some(&workload.name) && !self.is(Mutant::EdgesOfReceivedOnly) {
                sides.entry(("to", &sample.to)).or_default().push(sample);
            }
        }
        let edges = sides.into_iter().filter_map(|((direction, other), samples)| {
            let side = if direction == "to" { "client" } else { "server" };
            let edge = json!({"direction": direction, "side": side, "resource": pod(self.shape.workload(other)?)});
            Some(self.metrics(&pod(workload), &edge, &samples))
        });
        self.list("Pod", Some(workload.namespace), edges)
    }

    fn split(&self, name: &str) -> Option<Value> {
        let Some(Resource::TrafficSplit(split)) = self.engine.read(Kind::TrafficSplit, &name.parse().ok()?) else {
            return None;
        };
        let object = json!({"kind": "TrafficSplit", "name": split.name, "namespace": "main"});
        let items = split.backends.iter().map(|backend| {
            let chosen = |sample: &&Sample| {
                sample.split.as_ref().is_some_and(|(apex, to)| *apex == split.service && *to == backend.service)
            };
            let samples: Vec<&Sample> = self.samples.iter().filter(chosen).collect();
            let mut item =
                self.metrics(&object, &json!({"direction": "to", "side": "client", "resource": null}), &samples);
            if !self.is(Mutant::SplitsWithoutBackends) {
                item["backend"] = json!({"apex": split.service, "name": backend.service, "weight": backend.weight});
            }
            item
        });
        Some(self.list("TrafficSplit", Some(Namespace::Main), items))
    }

    fn list(&self, kind: &str, of: Option<Namespace>, items: impl Iterator<Item = Value>) -> Value {
        let mut list = json!({
            "kind": "TrafficMetricsList", "apiVersion": "metrics.smi-spec.io/v1alpha1",
            "resource": {"kind": kind}, "items": items.collect::<Vec<_>>(),
        });
        if let Some(of) = of {
            list["resource"]["namespace"] = of.as_str().into();
        }
        if self.is(Mutant::ListsWithoutResource) {
            list["resource"] = Value::Null;
        }
        list
    }

    fn metrics(&self, object: &Value, edge: &Value, samples: &[&Sample]) -> Value {
        let mut micros: Vec<u64> = samples.iter().map(|sample| sample.micros).collect();
        micros.sort_unstable();
        let latency = |percent: usize| {
            let within = micros.get((micros.len() * percent / 100).min(micros.len().saturating_sub(1)));
            json!({"name": format!("p{percent}_response_latency"), "unit": "seconds",
                "value": format!("{}u", within.copied().unwrap_or_default())})
        };
        let failures =
            if self.is(Mutant::CountsNoFailures) { 0 } else { samples.iter().filter(|sample| sample.failed).count() };
        let count = |name: &str, count: usize| json!({"name": name, "value": count.to_string()});
        let percentiles = [99, 90, 50].into_iter().filter(|percent| *percent != 90 || !self.is(Mutant::OmitsP90));
        let mut metrics: Vec<Value> = percentiles.map(latency).collect();
        metrics.push(count("success_count", samples.len() - failures));
        metrics.push(count("failure_count", failures));
        json!({
            "kind": "TrafficMetrics", "apiVersion": "metrics.smi-spec.io/v1alpha1", "resource": object, "edge": edge,
            "timestamp": self.now(), "window": format!("{}ms", WINDOW.as_millis()), "metrics": metrics,
        })
    }

    fn now(&self) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        let stale = if self.is(Mutant::StaleMetrics) { STALE_SECONDS } else { 0 };
        Timestamp::from_unix_seconds(seconds - stale).unwrap_or(Timestamp::EPOCH).to_string()
    }
}

fn namespace(name: &str) -> Option<Namespace> {
    Namespace::ALL.into_iter().find(|namespace| namespace.as_str() == name)
}

fn pod(workload: &Workload) -> Value {
    json!({"kind": "Pod", "name": workload.name, "namespace": workload.namespace.as_str()})
}

fn failed(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}))
}
