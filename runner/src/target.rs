//! What a target is to the runner: facts, and lanes in which things are done and seen. Targets only observe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Question, Reading};
use smi_schemas::names::Slug;
use smi_schemas::report::{ActionResult, Tally};
use smi_schemas::smi::{
    ApiVersion, HttpMatch, HttpRouteGroup, Kind, Method, Namespace, Ports, Resource, Rule, TrafficTarget,
};
use smi_schemas::statement::{self, Crd, Mesh, Subject};
use smi_schemas::suite::{Action, Cell, Open, Protocol, Shape};

/// A place where a suite runs.
pub trait Target: Sync {
    /// Its lanes.
    type Lane: Lane;

    /// What is known of it before anything is done.
    fn facts(&self) -> &Facts;

    /// Makes the workloads of a shape, or of none, and waits until they are ready.
    fn lane(&self, shape: Option<&Shape>) -> impl Future<Output = Result<Self::Lane, Fault>> + Send;
}

/// A pair of namespaces with the workloads of one shape.
pub trait Lane: Sync {
    /// Pause between two rounds of a hold.
    fn spacing(&self) -> Duration;

    /// Does what the action says.
    fn act(&self, action: &Action) -> impl Future<Output = Result<ActionResult, Fault>> + Send;

    /// Sends requests of a cell, each over a connection of its own.
    fn probe(&self, cell: &Cell, requests: u32) -> impl Future<Output = Result<Tally, Fault>> + Send;

    /// Asks the metrics API.
    fn read(&self, question: &Question) -> impl Future<Output = Result<Reading, Fault>> + Send;

    /// Removes every SMI resource of the lane.
    fn wipe(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes what the lane is made of.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The resources that let callers reach a workload, where TrafficTargets are what a mesh needs. They belong into the
/// namespace of the workload. A target for each port where one must be named. Nothing when a name would be too long.
pub(crate) fn grant(open: &Open, port_demanded: bool) -> Option<Vec<Resource>> {
    let namespace = if open.to.namespace == Namespace::Other { "other-" } else { "" };
    let protocol = if open.tcp.is_some() { "tcp-" } else { "" };
    let name: Slug = format!("open-{protocol}{namespace}{}", open.to.service_account).parse().ok()?;
    let (routes, kind, matches) = if let Some(port) = open.tcp {
        (Resource::TcpRoute(Ports { name: name.clone(), ports: vec![port] }), Kind::TcpRoute, None)
    } else {
        let everything = HttpMatch {
            name: name.clone(),
            path_regex: Some("/.*".to_owned()),
            methods: Some(vec![Method::Any]),
            headers: None,
        };
        let routes = HttpRouteGroup { name: name.clone(), matches: vec![everything] };
        (Resource::HttpRouteGroup(routes), Kind::HttpRouteGroup, Some(vec![name.clone()]))
    };
    let rules = vec![Rule { kind, name: name.clone(), matches }];
    let target = |name: Slug, port| {
        let (destination, sources, rules) = (open.to.clone(), open.from.clone(), rules.clone());
        Resource::TrafficTarget(TrafficTarget { name, destination, port, sources, rules })
    };
    let mut resources = vec![routes];
    if port_demanded && !open.ports.is_empty() {
        for port in &open.ports {
            resources.push(target(format!("{name}-{port}").parse().ok()?, Some(*port)));
        }
    } else {
        resources.push(target(name, open.tcp));
    }
    Some(resources)
}

/// What clients of all kinds say they are; the last one says nothing.
const USER_AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "curl/8.14.1",
    "Go-http-client/1.1",
    "",
];

/// The headers of the requests of one probe: those of the cell, and over HTTP a User-Agent of many, so that no mesh can
/// know a test by it.
pub(crate) fn headers(cell: &Cell, protocol: Protocol, probe: u64) -> BTreeMap<String, String> {
    let mut headers = cell.headers.clone();
    let named = headers.keys().any(|name| name.eq_ignore_ascii_case("user-agent"));
    // Spread, so that no cell of a round of five meets the same one in every round.
    let spread = probe.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let agent = USER_AGENTS[usize::try_from(spread % USER_AGENTS.len() as u64).unwrap_or_default()];
    if protocol.is_http() && !named && !agent.is_empty() {
        headers.insert("user-agent".to_owned(), agent.to_owned());
    }
    headers
}

/// What is known of a target before anything is done.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is tested, by digest.
    pub subject: Vec<Subject>,
    /// The workload image.
    pub agent: Digest,
    /// Where it is.
    pub target: statement::Target,
    /// The mesh.
    pub mesh: Mesh,
    /// The SMI CRDs.
    pub crds: Vec<Crd>,
    /// The versions of the metrics API that discovery lists.
    pub metrics: BTreeSet<ApiVersion>,
    /// The command with which a person has a mesh deny that does not.
    pub enable: Option<String>,
}

/// Kubernetes, exec or the agent failed; the mesh is not to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// What kind of failure, which the report carries.
    pub code: Code,
    /// What happened, for the terminal only.
    pub detail: String,
}
