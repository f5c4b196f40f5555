//! A suite: what a mesh must do, as data.
//!
//! An *assertion* is a record. Its *phases* apply, update or delete SMI resources and then state what must be seen,
//! as *cells*: one workload calls one destination, and the request is allowed, denied, answered by one workload only,
//! spread over several, or shared in proportions. The vocabulary is closed: no loops, no conditions, no expressions.
//!
//! Cells come in two kinds. An **expectation** is the assertion itself; unmet at the limit it is a `fail`. A
//! **control** shows that a verdict would mean something: unmet at the limit the assertion is `inconclusive`. The
//! shape's **health** cells are controls of every phase; they never cross the mesh's policy, so that a dead workload
//! or a broken cluster network cannot be blamed on the mesh.
//!
//! A phase with an expectation is held for [`Pace::hold`] rounds, one with controls only for [`Pace::gate`] rounds.
//! In a round, `allow` is one request, `deny`, `only` and `spread` are [`Pace::poll`] requests. `shares` are not
//! probed in rounds: after the hold, a batch is drawn until `n` requests are answered, and a batch outside its bounds
//! is drawn once more.
//!
//! Questions to the metrics API are asked in every round beside the cells, whose requests they are about; the answers
//! in the last round are recorded.
//!
//! A Service has one protocol, and a cell speaks that of the Service it calls. What a cell calls by address listens
//! where the first Service leads that selects it.
//!
//! Paths begin with the last part of the assertion's id wherever a grant is at stake, so that what one assertion
//! leaves behind cannot answer for the next.
//!
//! Worked example, a suite of one assertion:
//!
//! ```
//! use smi_schemas::suite::Suite;
//!
//! let text = br#"{
//!   "version": "0.1.0-draft",
//!   "rules": {"window": "window/1", "deny": "deny/1", "shares": "shares/1"},
//!   "pace": {"limitMs": 60000, "hold": 20, "gate": 5, "settle": 4, "poll": 10},
//!   "shapes": [{
//!     "name": "pair",
//!     "workloads": [
//!       {"name": "client", "serviceAccount": "client", "labels": {"app": "client"}},
//!       {"name": "server", "serviceAccount": "server", "labels": {"app": "server"}}
//!     ],
//!     "services": [{"name": "server", "selector": {"app": "server"}, "ports": [{"port": 8080, "targetPort": 8080}]}],
//!     "health": [{"from": "server", "to": "server", "via": "loopback", "path": "/health", "expect": "allow"}]
//!   }],
//!   "assertions": [{
//!     "id": "smi.access.default-deny",
//!     "title": "Nothing is allowed by default",
//!     "requirement": "While no TrafficTarget exists, every request between workloads of the mesh must be denied.",
//!     "spec": "Traffic Access Control, Specification",
//!     "api": "access", "class": "behaviour", "level": "core", "shape": "pair",
//!     "versions": {"access": ["v1alpha3"], "specs": ["v1alpha4"]},
//!     "phases": [
//!       {"expect": [{"from": "client", "to": "server", "path": "/default-deny/a", "expect": "deny"}]},
//!       {"actions": [
//!          {"apply": {"kind": "HTTPRouteGroup", "name": "all",
//!                     "matches": [{"name": "all", "pathRegex": "/default-deny/.*"}]}},
//!          {"apply": {"kind": "TrafficTarget", "name": "client-server",
//!                     "destination": {"serviceAccount": "server"}, "sources": [{"serviceAccount": "client"}],
//!                     "rules": [{"kind": "HTTPRouteGroup", "name": "all"}]}}],
//!        "controls": [{"from": "client", "to": "server", "path": "/default-deny/a", "expect": "allow"}]}
//!     ]
//!   }]
//! }"#;
//! let (suite, digest) = Suite::read(text).unwrap();
//! assert!(suite.is_draft());
//! assert_eq!(digest, smi_schemas::Digest::of(text), "a suite's digest is that of its bytes");
//! ```

mod check;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::metrics::Question;
use crate::names::{AssertionId, Slug, Version};
use crate::smi::{Api, ApiVersion, Kind, Method, Namespace, Resource, ServiceAccount};

pub use check::{Fault, Place};

/// Bytes of a suite file. The draft has about 120 KiB.
pub const MAX_SUITE_BYTES: usize = 1024 * 1024;

/// Answered requests of the largest batch; with those that may be lost, 10,000 are sent.
pub const MAX_SAMPLE: u32 = 9_900;

/// The longest limit: an hour.
pub const MAX_LIMIT_MS: u64 = 60 * 60 * 1000;

/// Bytes that one compiled regular expression may take.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Rounds of the longest hold, gate or settling, and requests of the largest poll.
pub const MAX_ROUNDS: u32 = 1_000;

/// A suite, checked: every name it uses exists and no expectation lacks its control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// Its version. One that ends in `-draft` may still change and is not published.
    pub version: Version,
    /// The judging rules it was written for.
    pub rules: Rules,
    /// How long and how often.
    pub pace: Pace,
    /// The workloads that assertions run among.
    pub shapes: Vec<Shape>,
    /// The assertions, in the order of every report.
    pub assertions: Vec<Assertion>,
}

/// Judging rules by number. The code behind a number never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rules {
    /// How rounds become met or unmet.
    pub window: WindowRule,
    /// What counts as denied.
    pub deny: DenyRule,
    /// How batches become met or unmet.
    pub shares: SharesRule,
    /// What answers of the metrics API show, in a suite that asks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsRule>,
}

/// Rules for rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowRule {
    /// Converge, then hold.
    #[serde(rename = "window/1")]
    Window1,
}

/// Rules for denials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DenyRule {
    /// Not logged and not answered; a name that does not resolve is no denial.
    #[serde(rename = "deny/1")]
    Deny1,
}

/// Rules for shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SharesRule {
    /// One batch within its bounds is enough, two outside fail.
    #[serde(rename = "shares/1")]
    Shares1,
}

/// Rules for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricsRule {
    /// The answers in the last round decide; clocks may differ by half a minute, a sum by a tenth.
    #[serde(rename = "metrics/1")]
    Metrics1,
}

/// How long and how often a target probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pace {
    /// How long a mesh may take until the cells of a phase agree.
    pub limit_ms: u64,
    /// Consecutive agreeing rounds that a phase with expectations needs.
    pub hold: u32,
    /// The same for a phase with controls only.
    pub gate: u32,
    /// Agreeing rounds before the hold, which are not counted.
    pub settle: u32,
    /// Requests of a `deny`, `only` or `spread` cell in one round.
    pub poll: u32,
}

/// Workloads and Services that assertions run among.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    /// Its name.
    pub name: Slug,
    /// One pod each.
    pub workloads: Vec<Workload>,
    /// Services.
    pub services: Vec<Service>,
    /// Controls of every phase.
    pub health: Vec<Cell>,
}

/// A pod that calls and answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Its name, which its answers carry.
    pub name: Slug,
    /// Where it lives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Namespace,
    /// Its identity.
    pub service_account: Slug,
    /// Labels that Services select by.
    pub labels: BTreeMap<Slug, Slug>,
    /// Kept out of the mesh: no sidecar, and it calls by plain Kubernetes names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outside: bool,
    /// Where it listens, if not wherever a Service leads that selects it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub listens: BTreeSet<u16>,
    /// Not there until it is scaled to one. A Service that selects only such workloads is not there before them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub absent: bool,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Its name in the shape.
    pub name: Slug,
    /// Where it and its workloads live.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Namespace,
    /// Its name in Kubernetes, where a Service of the other namespace has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Slug>,
    /// Labels of its workloads.
    pub selector: BTreeMap<Slug, Slug>,
    /// What its workloads speak at all of its ports.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Its ports; a cell that names none calls the first.
    pub ports: Vec<Port>,
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The port that clients call.
    pub port: u16,
    /// The port that its workloads listen on.
    pub target_port: u16,
}

/// One thing a mesh must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assertion {
    /// Its id.
    pub id: AssertionId,
    /// A few words.
    pub title: String,
    /// The requirement, in one sentence.
    pub requirement: String,
    /// Section of the SMI text.
    pub spec: String,
    /// The API whose capability and compliance it decides.
    pub api: Api,
    /// Presence of an API, or behaviour of a mesh.
    pub class: Class,
    /// Its weight.
    pub level: Level,
    /// The workloads it needs; presence needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Slug>,
    /// It may disturb what other assertions see at the same time, so it is executed when they are done, one after the
    /// other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alone: bool,
    /// Every API it uses, with the versions in which it makes sense.
    pub versions: BTreeMap<Api, BTreeSet<ApiVersion>>,
    /// What is done and what must be seen.
    pub phases: Vec<Phase>,
}

/// What an assertion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// An API is there. True on any cluster with the CRDs.
    Presence,
    /// A mesh acts. Never true without a mesh.
    Behaviour,
}

/// How much an assertion weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Scored, and decides whether an API is there at all.
    Core,
    /// Scored.
    Extended,
    /// Recorded, never scored.
    Informative,
}

/// What is done, and what must then be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    /// Done first, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Without these nothing follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Cell>,
    /// The assertion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Cell>,
    /// What the metrics API must say of the cells' requests. That is the assertion too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Question>,
}

/// Something done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Create a resource.
    Apply(Resource),
    /// Create a resource that Kubernetes may refuse; a refusal meets the assertion.
    ApplyOrRefuse(Resource),
    /// Replace a resource that exists.
    Update(Resource),
    /// Delete a resource.
    Delete(Reference),
    /// Let workloads reach others by whatever this mesh needs.
    Open(Open),
    /// Ask which versions of a kind are served.
    Discover(Kind),
    /// Write a resource with every field and read it back.
    RoundTrip(Resource),
    /// Ask whether the tested versions are those of one SMI release.
    Release,
    /// Ask which resources the metrics API lists.
    Resources,
    /// Write a resource with a flaw, which Kubernetes must refuse.
    Refuse(Flawed),
    /// Start a workload that is not there, or end one.
    Scale(Scale),
    /// End a workload's pod and start it anew.
    Restart(Slug),
}

/// A resource that its API's schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flawed {
    /// What is wrong with it.
    pub flaw: Flaw,
    /// The same without the flaw.
    pub resource: Resource,
}

/// What is wrong with a resource: one of its required fields is left out, or a word is not one of those allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// A TrafficTarget without a destination.
    NoDestination,
    /// A TrafficTarget without rules.
    NoRules,
    /// A TrafficTarget without sources.
    NoSources,
    /// A rule whose kind is no kind of route.
    UnknownRuleKind,
    /// A match without a name.
    UnnamedMatch,
    /// A method that HTTP does not have.
    UnknownMethod,
    /// A TrafficSplit without a root Service.
    NoService,
    /// A TrafficSplit without backends.
    NoBackends,
    /// A backend without a weight.
    NoWeight,
}

/// How many pods a workload has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The workload.
    pub workload: Slug,
    /// 0 or 1: each pod is a workload of its own, so that it is known which one answered.
    pub replicas: u8,
}

/// A resource by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Slug,
}

/// Who must reach whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Open {
    /// Callers.
    pub from: Vec<ServiceAccount>,
    /// Those called.
    pub to: ServiceAccount,
    /// What is spoken to them: HTTP, or TCP at this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u16>,
    /// The ports at which they speak HTTP, if it is not the usual one only: some versions cannot grant every port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

/// One call and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cell {
    /// The workload that calls.
    pub from: Slug,
    /// What it calls: a Service, or a workload when `via` says so.
    pub to: Slug,
    /// By which road.
    #[serde(default, skip_serializing_if = "is_default")]
    pub via: Via,
    /// The port that it calls; absent means the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Method, never `*`.
    #[serde(default = "get", skip_serializing_if = "is_get")]
    pub method: Method,
    /// Request target, sent byte for byte. TCP and UDP have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What must come of it.
    pub expect: Expect,
}

/// How a request is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// A line over TCP, which the workload repeats under its name.
    Tcp,
    /// The same in one datagram.
    Udp,
}

/// The road to a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The Service, by the name this mesh listens to.
    #[default]
    Service,
    /// The workload's own address.
    Pod,
    /// The caller itself, inside its own pod.
    Loopback,
}

/// What must come of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// The destination answers.
    Allow,
    /// It neither answers nor sees the request.
    Deny,
    /// This workload answers every request.
    Only(Slug),
    /// These workloads answer, each of them, and nobody else.
    Spread(BTreeSet<Slug>),
    /// These workloads answer in these proportions.
    Shares(Shares),
}

/// A sample and its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shares {
    /// Answered requests in a batch.
    pub n: u32,
    /// Answers of each workload; a workload that is not named must not answer.
    pub bounds: Vec<Bound>,
}

/// How many answers one workload may give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bound {
    /// The workload.
    pub workload: Slug,
    /// At least.
    pub lo: u32,
    /// At most.
    pub hi: u32,
}

/// Why a suite was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// Not the JSON of a suite.
    #[error("not a suite: {0}")]
    Json(#[from] JsonError),
    /// A suite that contradicts itself, with every place where it does.
    #[error("{}", check::listed(.0))]
    Faults(Vec<(Place, Fault)>),
}

/// A suite that this build carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its version, which its bytes say too.
    pub version: &'static str,
    /// The bytes of its file.
    pub bytes: &'static [u8],
}

/// The released suites, oldest first. Their bytes never change.
pub const RELEASED: [Carried; 1] =
    [Carried { version: "1.0.0-rc.1", bytes: include_bytes!("../suites/v1.0.0-rc.1.json") }];

/// The released suite that is run unless another is asked for.
pub const NEWEST: Carried = RELEASED[RELEASED.len() - 1];

/// What the next release is made of.
pub const DRAFT: Carried = Carried { version: "1.0.0-draft", bytes: include_bytes!("../suites/v1.0.0-draft.json") };

/// Every suite that this build carries.
pub fn carried() -> impl Iterator<Item = Carried> {
    RELEASED.into_iter().chain([DRAFT])
}

impl Suite {
    /// Reads a suite and its digest from the bytes of its file, and checks it.
    pub fn read(bytes: &[u8]) -> Result<(Self, Digest), SuiteError> {
        let suite: Self = json::parse(bytes, MAX_SUITE_BYTES)?;
        let faults = check::check(&suite);
        if faults.is_empty() { Ok((suite, Digest::of(bytes))) } else { Err(SuiteError::Faults(faults)) }
    }

    /// Whether it may still change.
    pub fn is_draft(&self) -> bool {
        is_draft(&self.version)
    }

    /// The shape of that name.
    pub fn shape(&self, name: &Slug) -> Option<&Shape> {
        self.shapes.iter().find(|shape| shape.name == *name)
    }
}

impl Protocol {
    /// Whether its requests are HTTP's, with method, path and headers.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::H2c)
    }

    /// What a listener for it is said to speak: HTTP/1.1 and HTTP/2 share theirs.
    #[must_use]
    pub fn listener(self) -> Self {
        if self.is_http() { Self::Http } else { self }
    }
}

impl Flaw {
    /// The kind that can have it.
    pub fn kind(self) -> Kind {
        match self {
            Self::NoDestination | Self::NoRules | Self::NoSources | Self::UnknownRuleKind => Kind::TrafficTarget,
            Self::UnnamedMatch | Self::UnknownMethod => Kind::HttpRouteGroup,
            Self::NoService | Self::NoBackends | Self::NoWeight => Kind::TrafficSplit,
        }
    }
}

impl Pace {
    /// Agreeing rounds that a phase needs.
    pub fn needed(&self, phase: &Phase) -> u32 {
        if phase.asserts() { self.hold } else { self.gate }
    }

    /// Requests of a cell in one round.
    pub fn requests(&self, cell: &Cell) -> u32 {
        match cell.expect {
            Expect::Deny | Expect::Only(_) | Expect::Spread(_) => self.poll,
            Expect::Allow | Expect::Shares(_) => 1,
        }
    }
}

impl Shape {
    /// The workload of that name.
    pub fn workload(&self, name: &Slug) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == *name)
    }

    /// The Service of that name.
    pub fn service(&self, name: &Slug) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }

    /// The workloads that may answer a cell.
    pub fn destinations<'a>(&'a self, cell: &'a Cell) -> BTreeSet<&'a Slug> {
        match cell.via {
            Via::Pod | Via::Loopback => BTreeSet::from([&cell.to]),
            Via::Service => {
                let services = self.service(&cell.to).into_iter();
                services.flat_map(|service| self.selected(service)).map(|workload| &workload.name).collect()
            }
        }
    }

    /// Whether the workload of that name is one of these.
    pub fn may_answer(&self, cell: &Cell, workload: &Slug) -> bool {
        match cell.via {
            Via::Pod | Via::Loopback => *workload == cell.to,
            Via::Service => {
                let service = self.service(&cell.to);
                service.zip(self.workload(workload)).is_some_and(|(service, workload)| service.selects(workload))
            }
        }
    }

    /// The ports that a workload listens on, with what is spoken there. HTTP/1.1 and HTTP/2 share theirs.
    pub fn listens(&self, workload: &Workload) -> BTreeSet<(Protocol, u16)> {
        let services = self.services.iter().filter(|service| service.selects(workload));
        let ports = services.flat_map(|service| service.ports.iter().map(|port| (service.protocol, port.target_port)));
        let shared = ports.map(|(protocol, port)| (protocol.listener(), port));
        shared.filter(|(_, port)| workload.listens.is_empty() || workload.listens.contains(port)).collect()
    }

    /// What a cell's requests speak, and the port they go to: a Service's by name, a workload's own by address.
    pub fn port(&self, cell: &Cell) -> Option<(Protocol, Port)> {
        let leads_there = |service: &&Service| match cell.via {
            Via::Service => service.name == cell.to,
            Via::Pod | Via::Loopback => self.workload(&cell.to).is_some_and(|to| service.selects(to)),
        };
        let service = self.services.iter().find(leads_there)?;
        let called = |port: &&Port| match cell.via {
            Via::Service => cell.port.is_none_or(|called| called == port.port),
            Via::Pod | Via::Loopback => cell.port.is_none_or(|called| called == port.target_port),
        };
        Some((service.protocol, *service.ports.iter().find(called)?))
    }

    /// Whether a Service is there only once one of its workloads is started.
    pub fn is_absent(&self, service: &Service) -> bool {
        let mut selected = self.selected(service).peekable();
        selected.peek().is_some() && selected.all(|workload| workload.absent)
    }

    /// The workloads behind a Service.
    pub fn selected<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Workload> {
        self.workloads.iter().filter(|workload| service.selects(workload))
    }
}

impl Service {
    /// Whether the workload lives beside it and its labels carry the whole selector.
    pub fn selects(&self, workload: &Workload) -> bool {
        let carries = self.selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value));
        self.namespace == workload.namespace && carries
    }

    /// Its name in Kubernetes.
    pub fn object(&self) -> &Slug {
        self.object.as_ref().unwrap_or(&self.name)
    }
}

impl Phase {
    /// The cells probed in rounds, in the order in which they are reported: health, controls, expectations.
    pub fn rounds<'a>(&'a self, shape: &'a Shape) -> impl Iterator<Item = (Role, &'a Cell)> {
        self.cells(shape).filter(|(_, cell)| !matches!(cell.expect, Expect::Shares(_)))
    }

    /// The cells drawn in batches, in the order in which they are reported.
    pub fn samples<'a>(&'a self, shape: &'a Shape) -> impl Iterator<Item = (Role, &'a Cell, &'a Shares)> {
        self.cells(shape).filter_map(|(role, cell)| match &cell.expect {
            Expect::Shares(shares) => Some((role, cell, shares)),
            Expect::Allow | Expect::Deny | Expect::Only(_) | Expect::Spread(_) => None,
        })
    }

    /// Whether more is stated than controls.
    pub fn asserts(&self) -> bool {
        !self.expect.is_empty() || !self.metrics.is_empty()
    }

    /// Whether anything is probed.
    pub fn probes(&self) -> bool {
        !self.controls.is_empty() || self.asserts()
    }

    fn cells<'a>(&'a self, shape: &'a Shape) -> impl Iterator<Item = (Role, &'a Cell)> {
        let controls = shape.health.iter().chain(&self.controls).map(|cell| (Role::Control, cell));
        controls.chain(self.expect.iter().map(|cell| (Role::Expectation, cell)))
    }
}

/// What an unmet cell means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing follows.
    Control,
    /// The mesh failed.
    Expectation,
}

impl Action {
    /// The resource it writes, if it writes one.
    pub fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Apply(resource)
            | Self::ApplyOrRefuse(resource)
            | Self::Update(resource)
            | Self::RoundTrip(resource)
            | Self::Refuse(Flawed { resource, .. }) => Some(resource),
            Self::Delete(_)
            | Self::Open(_)
            | Self::Discover(_)
            | Self::Release
            | Self::Resources
            | Self::Scale(_)
            | Self::Restart(_) => None,
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Delete(reference) => vec![reference.kind],
            Self::Discover(kind) => vec![*kind],
            Self::RoundTrip(resource) | Self::Refuse(Flawed { resource, .. }) => vec![resource.kind()],
            Self::Apply(resource) | Self::ApplyOrRefuse(resource) | Self::Update(resource) => resource.kinds(),
            Self::Resources => vec![Kind::TrafficMetrics],
            Self::Open(_) | Self::Release | Self::Scale(_) | Self::Restart(_) => Vec::new(),
        }
    }
}

impl Assertion {
    /// The APIs whose kinds it writes, deletes or asks for.
    pub fn uses(&self) -> BTreeSet<Api> {
        let actions = self.phases.iter().flat_map(|phase| &phase.actions);
        actions.flat_map(Action::kinds).map(Kind::api).chain(self.asks()).chain([self.api]).collect()
    }

    /// The metrics API, if it is asked.
    fn asks(&self) -> Option<Api> {
        self.phases.iter().any(|phase| !phase.metrics.is_empty()).then_some(Api::Metrics)
    }

    /// The kinds that it cannot do without. To ask for one is not to need it.
    pub fn needs(&self) -> BTreeSet<Kind> {
        let actions = self.phases.iter().flat_map(|phase| &phase.actions);
        actions.filter(|action| !matches!(action, Action::Discover(_))).flat_map(Action::kinds).collect()
    }
}

impl Level {
    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Extended => "extended",
            Self::Informative => "informative",
        }
    }

    /// Whether capability and compliance take it into account.
    pub fn is_scored(self) -> bool {
        self != Self::Informative
    }
}

/// Whether a version is that of a draft.
pub(crate) fn is_draft(version: &Version) -> bool {
    version.as_str().ends_with("-draft")
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn get() -> Method {
    Method::Get
}

fn is_get(method: &Method) -> bool {
    *method == Method::Get
}
