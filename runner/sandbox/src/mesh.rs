//! The mesh in force: where workloads are, which of them run, and what becomes of a call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;
use smi_agent::{RequestId, Workload as AgentWorkload};
use smi_schemas::names::Slug;
use smi_schemas::smi::{Namespace, ServiceAccount};
use smi_schemas::suite::{Cell, Protocol, Service, Shape, Via, Workload};

use crate::engine::{Call, Destination, Engine, identity};
use crate::metrics::{Meter, Metrics, Trip};
use crate::mutant::Mutant;
use crate::nowhere;
use crate::proxy::{Decision, Ruling};

/// What the proxies share.
#[derive(Debug)]
pub(crate) struct Mesh {
    shape: Shape,
    pub(crate) engine: RwLock<Engine>,
    endpoints: BTreeMap<Slug, Endpoint>,
    /// The workloads that run.
    running: RwLock<BTreeMap<Slug, Age>>,
    random: Mutex<fastrand::Rng>,
    meter: Arc<Meter>,
    mutant: Option<Mutant>,
}

/// Where a workload is.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) agent: Arc<AgentWorkload>,
    /// By what is spoken, and the port that a cluster would have.
    pub(crate) sockets: BTreeMap<(Protocol, u16), Socket>,
    /// Where it sends its calls to a port of a Service.
    pub(crate) outbound: BTreeMap<(Slug, u16), SocketAddr>,
}

/// A port of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    /// The agent itself.
    pub(crate) server: SocketAddr,
    /// Where others call it.
    pub(crate) inbound: SocketAddr,
}

/// When a workload was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// With the sandbox.
    Old,
    /// Later.
    New,
}

impl Endpoint {
    /// A workload without sockets.
    pub(crate) fn of(agent: Arc<AgentWorkload>) -> Self {
        Self { agent, sockets: BTreeMap::new(), outbound: BTreeMap::new() }
    }

    fn socket(&self, protocol: Protocol, port: u16) -> Option<Socket> {
        self.sockets.get(&(protocol.listener(), port)).copied()
    }
}

impl Mesh {
    pub(crate) fn new(shape: Shape, endpoints: BTreeMap<Slug, Endpoint>, mutant: Option<Mutant>, seed: u64) -> Self {
        let mesh = Self {
            engine: RwLock::new(Engine::new(&shape, mutant)),
            shape,
            endpoints,
            running: RwLock::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            meter: Arc::default(),
            mutant,
        };
        mesh.reset();
        mesh
    }

    pub(crate) fn engine(&self) -> RwLockReadGuard<'_, Engine> {
        // The engine is left consistent by whatever panicked.
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the workloads run that run from the beginning.
    pub(crate) fn reset(&self) {
        let first = self.shape.workloads.iter().filter(|workload| !workload.absent);
        let first = first.map(|workload| (workload.name.clone(), Age::Old)).collect();
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = first;
        self.meter.clear();
        self.populate();
    }

    /// Starts a workload, or ends it.
    pub(crate) fn scale(&self, workload: &Slug, runs: bool) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        if runs {
            running.insert(workload.clone(), Age::New);
        } else {
            running.remove(workload);
        }
        drop(running);
        self.populate();
    }

    /// What a cell speaks, the `Host` of its requests, and where its caller connects.
    pub(crate) fn road(&self, cell: &Cell) -> (Protocol, String, SocketAddr) {
        let Some((protocol, port)) = self.shape.port(cell) else {
            return (Protocol::Http, cell.to.to_string(), nowhere());
        };
        let from = self.endpoints.get(&cell.from);
        let to = self.endpoints.get(&cell.to).and_then(|to| to.socket(protocol, port.target_port));
        let (host, address) = match cell.via {
            Via::Service => {
                let outbound = from.and_then(|from| from.outbound.get(&(cell.to.clone(), port.port)).copied());
                (Some(cell.to.to_string()), outbound)
            }
            Via::Pod => (None, to.map(|to| to.inbound)),
            Via::Loopback => (None, to.map(|to| to.server)),
        };
        let address = address.unwrap_or_else(nowhere);
        (protocol, host.unwrap_or_else(|| address.ip().to_string()), address)
    }

    /// Decides about a call to a workload's own address. It comes from nobody in particular.
    pub(crate) fn admit(&self, to: &Slug, port: u16, call: &Call<'_>) -> Ruling {
        let Some(to) = self.shape.workload(to) else { return Decision::Unavailable.into() };
        let decision = if self.is(Mutant::ClientSideOnly) {
            self.reach(to, port, call)
        } else {
            self.deliver(None, to, port, call)
        };
        self.ruled(decision, None, to, None)
    }

    /// Decides about a call that a workload sends to a Service.
    pub(crate) fn send(&self, from: &Slug, service: &Slug, port: u16, call: &Call<'_>) -> Ruling {
        let engine = self.engine();
        let (Some(from), Some(root)) = (self.shape.workload(from), engine.service(service)) else {
            return Decision::Unavailable.into();
        };
        let divided = !from.outside || self.is(Mutant::SplitsForEveryone);
        let destination =
            if divided { engine.route(root, port, call) } else { Destination::Service(root.name.clone()) };
        let (picked, split) = match destination {
            Destination::Service(name) => (name, None),
            Destination::Split(backends) => {
                let picked = self.pick(from, &backends);
                (picked.clone(), Some((root.name.clone(), picked)))
            }
        };
        let Some(picked) = engine.service(&picked) else { return Decision::Unavailable.into() };
        let of = |service: &Service| {
            service.ports.iter().find(|other| other.port == port).or(service.ports.first()).copied()
        };
        let target = if self.is(Mutant::UsesRootsTargetPort) { of(root) } else { of(picked) };
        match (self.workload(picked), target) {
            (Some(to), Some(target)) => {
                let caller = (!from.outside).then_some(from);
                let decision = self.deliver(caller, to, target.target_port, call);
                self.ruled(decision, caller, to, split)
            }
            _ => Decision::Unavailable.into(),
        }
    }

    /// Answers a GET of the metrics API.
    pub(crate) fn metrics(&self, path: &str, labels: &BTreeMap<Slug, Slug>, restricted: bool) -> (u16, Value) {
        let (engine, samples) = (self.engine(), self.meter.recent());
        Metrics { shape: &self.shape, engine: &engine, samples, mutant: self.mutant }.answer(path, labels, restricted)
    }

    /// A call that goes on is counted when it ends.
    fn ruled(&self, decision: Decision, from: Option<&Workload>, to: &Workload, split: Option<(Slug, Slug)>) -> Ruling {
        let goes_on = matches!(decision, Decision::Forward(_));
        let from = from.map(|from| from.name.clone());
        Ruling { decision, trip: goes_on.then(|| Trip::begin(&self.meter, from, to.name.clone(), split)) }
    }

    pub(crate) fn any_logged(&self, id: &RequestId) -> bool {
        self.endpoints.values().any(|endpoint| endpoint.agent.log().contains(id))
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self, workload: &Slug) -> Option<Age> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).get(workload).copied()
    }

    /// Tells the engine which Services there are.
    fn populate(&self) {
        let is_there = |service: &&Service| {
            !self.shape.is_absent(service) || self.shape.selected(service).any(|to| self.age(&to.name).is_some())
        };
        let services: Vec<Service> = self.shape.services.iter().filter(is_there).cloned().collect();
        self.engine.write().unwrap_or_else(PoisonError::into_inner).exist(services.into_iter());
    }

    fn deliver(&self, caller: Option<&Workload>, to: &Workload, port: u16, call: &Call<'_>) -> Decision {
        let engine = self.engine();
        let destination = identity(to.namespace, &to.service_account);
        let callers = self.identities(caller);
        let is_browser =
            |(name, value): &(String, String)| name.eq_ignore_ascii_case("user-agent") && value.contains("Mozilla");
        let waved_through = match self.mutant {
            Some(Mutant::NewPodsAreOpen) => self.age(&to.name) == Some(Age::New),
            Some(Mutant::NewPodsAreShut) if self.age(&to.name) == Some(Age::New) => return Decision::Unavailable,
            Some(Mutant::LeaksOneInFifty) => self.random().u32(..50) == 0,
            Some(Mutant::RecognizesProbes) => {
                call.request.is_some_and(|request| request.headers.iter().any(is_browser))
            }
            _ => false,
        };
        let allowed = engine.allows(None, &destination, port, call)
            || callers.iter().any(|caller| engine.allows(Some(caller), &destination, port, call));
        if !(to.outside || allowed || waved_through) {
            return Decision::Forbidden;
        }
        let elsewhere = caller.filter(|_| self.is(Mutant::AnswersFromAnywhere)).and_then(|caller| {
            let mut others = self.shape.workloads.iter().filter(|other| !other.outside && other.name != caller.name);
            others.find(|other| other.name != to.name && matches!(self.reach(other, port, call), Decision::Forward(_)))
        });
        self.reach(elsewhere.unwrap_or(to), port, call)
    }

    fn reach(&self, to: &Workload, port: u16, call: &Call<'_>) -> Decision {
        let runs = self.age(&to.name).is_some();
        let socket = self.endpoints.get(&to.name).filter(|_| runs).and_then(|to| to.socket(call.protocol, port));
        socket.map_or(Decision::Unavailable, |socket| Decision::Forward(socket.server))
    }

    /// Who a caller is: one, or nobody when it is none of the mesh's, but for mutants.
    fn identities(&self, caller: Option<&Workload>) -> Vec<ServiceAccount> {
        let of = |workload: &Workload| identity(workload.namespace, &workload.service_account);
        let mut identities: Vec<ServiceAccount> = caller.map(of).into_iter().collect();
        match self.mutant {
            Some(Mutant::IdentityBySourceAddress) => {
                identities = self.shape.workloads.iter().filter(|workload| !workload.outside).map(of).collect();
            }
            Some(Mutant::IdentityByLabel) => {
                let labels = caller.iter().flat_map(|caller| &caller.labels).filter(|(key, _)| key.as_str() == "app");
                identities.extend(labels.map(|(_, app)| identity(Namespace::Main, app)));
            }
            _ => {}
        }
        identities
    }

    /// One of the backends, in proportion to their weights.
    fn pick(&self, from: &Workload, backends: &[(Slug, u64)]) -> Slug {
        let sum: u64 = backends.iter().map(|(_, weight)| weight).sum::<u64>().max(1);
        let mut point = match self.mutant {
            Some(Mutant::SticksClientsToBackends) => {
                from.name.as_str().bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte)) % sum
            }
            _ => self.random().u64(0..sum),
        };
        for (name, weight) in backends {
            match point.checked_sub(*weight) {
                Some(rest) => point = rest,
                None => return name.clone(),
            }
        }
        backends[0].0.clone()
    }

    /// One of a Service's workloads that run, all alike.
    fn workload<'a>(&'a self, service: &'a Service) -> Option<&'a Workload> {
        let runs = |to: &&Workload| self.age(&to.name).is_some();
        let workloads: Vec<&Workload> = self.shape.selected(service).filter(runs).collect();
        if workloads.is_empty() { None } else { Some(workloads[self.random().usize(..workloads.len())]) }
    }
}
