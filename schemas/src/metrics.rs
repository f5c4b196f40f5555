//! TrafficMetrics: what a suite asks of the metrics API, and what was read there.
//!
//! A *question* is about the lane's main namespace while its workloads call each other. It is asked in every round of
//! a phase, beside the cells whose requests are to be seen in the answer. A *reading* is the answer to the last one,
//! transcribed: counts as whole numbers, latencies in microseconds, names only where they are the lane's own. What
//! follows from it is the judge's to say.
//!
//! Worked example: what is counted of workload `server`, of which at most a tenth may have failed, and what was read.
//!
//! ```
//! use smi_schemas::metrics::{Object, Question, Reading};
//!
//! let question: Question = serde_json::from_str(r#"{
//!   "of": {"pod": "server"},
//!   "shows": {"failures": {"lo": 0, "hi": 10}}
//! }"#).unwrap();
//! assert!(!question.edges);
//!
//! let reading: Reading = serde_json::from_str(r#"{
//!   "http": 200,
//!   "items": [{
//!     "resource": {"kind": "Pod", "name": "server", "namespace": "main"},
//!     "edge": {"direction": "from", "side": "server"},
//!     "ageMs": 812, "windowMs": 30000,
//!     "success": 118, "failure": 0,
//!     "p50Us": 900, "p90Us": 1400, "p99Us": 2100
//!   }]
//! }"#).unwrap();
//! assert_eq!(reading.items[0].resource.as_ref().unwrap().kind.as_str(), "Pod");
//! ```
//!
//! Source: the Traffic Metrics text of SMI, `apis/traffic-metrics/v1alpha1`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{Slug, Word};
use crate::smi::Namespace;

/// Where the API is.
pub const ROOT: &str = "/apis/metrics.smi-spec.io/v1alpha1";

/// Items of a list that are transcribed; a lane has a dozen workloads.
pub const MAX_ITEMS: usize = 64;

/// Resources of the API that are transcribed; the text names eleven, each with its edges.
pub const MAX_RESOURCES: usize = 64;

/// Verbs of a resource that are transcribed; Kubernetes has eight.
pub const MAX_VERBS: usize = 16;

/// A question to the metrics API, and what the answer must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// Of whom.
    pub of: Of,
    /// With whom it exchanged traffic, instead of what it received in all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edges: bool,
    /// Only those with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Slug, Slug>,
    /// Asked by an account that may get the edges of pods and nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
    /// What the answer must show.
    pub shows: Shows,
}

/// Whose metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Of {
    /// One workload.
    Pod(Slug),
    /// Every workload.
    Pods,
    /// The namespace.
    Namespace,
    /// A TrafficSplit.
    Split(Slug),
}

/// What an answer must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shows {
    /// One TrafficMetrics, of what was asked for.
    Object,
    /// A list of TrafficMetrics that names its kind and no object, these workloads among them.
    Includes(BTreeSet<Slug>),
    /// The same of these workloads alone.
    Only(BTreeSet<Slug>),
    /// The five metrics, each once and no other, with latencies that grow.
    Names,
    /// Of a hundred requests that were counted, this many failed.
    Failures(Percent),
    /// A timestamp not older than two windows, and a window.
    Fresh,
    /// Edges with these workloads and no others of the lane.
    Edges(Edges),
    /// Counts that are those of its pods together, which are listed behind it.
    Sum,
    /// One item for each backend of the split, with root and weight.
    Backends(Backends),
    /// Nothing: the account may not see it.
    Denied,
}

/// How a split divides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backends {
    /// The root Service.
    pub apex: Slug,
    /// Backends with their weights.
    pub weights: BTreeMap<Slug, u32>,
}

/// Of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Percent {
    /// At least.
    pub lo: u8,
    /// At most.
    pub hi: u8,
}

/// Whom a workload exchanged traffic with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edges {
    /// Those that called it.
    pub from: BTreeSet<Slug>,
    /// Those that it called.
    pub to: BTreeSet<Slug>,
}

/// An answer of the metrics API, transcribed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reading {
    /// The status of the answer; 504 when none came in time.
    pub http: u16,
    /// What a list says that it is of; absent for a single TrafficMetrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Object>,
    /// The TrafficMetrics in it, the first [`MAX_ITEMS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
}

/// An object that an answer refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// Its kind; empty if the answer names none.
    pub kind: Word,
    /// Its name, where it is a workload's or a resource's of the lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// Its namespace, where it is the lane's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// It has a name that is not the lane's, which is not told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// One TrafficMetrics. What the answer does not have, or not in the form of the text, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Object>,
    /// With whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// The backend that is counted, of a TrafficSplit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<SplitBackend>,
    /// Milliseconds from its timestamp to when it was read; less than none when the clocks differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
    /// The time over which was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// Requests that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<u64>,
    /// Requests that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<u64>,
    /// Microseconds within which half of the requests were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// The same of nine in ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_us: Option<u64>,
    /// The same of 99 in a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// Metrics of other names, and repeated ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u32,
}

/// The other side of traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edge {
    /// Which way the requests went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Who counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Who is there; absent means everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Object>,
}

/// Which way requests went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The resource called.
    To,
    /// The resource was called.
    From,
}

/// Who counted requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The caller's side.
    Client,
    /// The side of who was called.
    Server,
}

/// A backend of a split that is counted on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitBackend {
    /// The root Service.
    pub apex: Slug,
    /// The backend's Service.
    pub name: Slug,
    /// Its weight.
    pub weight: u32,
}

/// What discovery lists of the metrics API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listing {
    /// The status of the answer; 504 when none came in time.
    pub http: u16,
    /// Its resources, the first [`MAX_RESOURCES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Listed>,
}

/// A resource of the metrics API, as discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listed {
    /// Its name, such as `pods` or `pods/edges`.
    pub name: Word,
    /// Its kind.
    pub kind: Word,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: BTreeSet<Word>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
