//! What a target is to the runner: facts, and lanes in which things are done and seen. Targets only observe.

use std::time::Duration;

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::Slug;
use smi_schemas::report::{ActionResult, Tally};
use smi_schemas::smi::{HttpMatch, HttpRouteGroup, Kind, Method, Resource, Rule, TrafficTarget};
use smi_schemas::statement::{self, Crd, Mesh, Subject};
use smi_schemas::suite::{Action, Cell, Open, Shape};

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

    /// Removes every SMI resource of the lane.
    fn wipe(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes what the lane is made of.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The resources that let callers reach a workload with every request, where TrafficTargets are what a mesh needs.
/// Nothing when their name would be too long.
pub(crate) fn grant(open: &Open) -> Option<[Resource; 2]> {
    let name: Slug = format!("open-{}", open.to.service_account).parse().ok()?;
    let everything = HttpMatch {
        name: name.clone(),
        path_regex: Some("/.*".to_owned()),
        methods: Some(vec![Method::Any]),
        headers: None,
    };
    let routes = HttpRouteGroup { name: name.clone(), matches: vec![everything] };
    let rule = Rule { kind: Kind::HttpRouteGroup, name: name.clone(), matches: Some(vec![name.clone()]) };
    let target = TrafficTarget { name, destination: open.to.clone(), sources: open.from.clone(), rules: vec![rule] };
    Some([Resource::HttpRouteGroup(routes), Resource::TrafficTarget(target)])
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
