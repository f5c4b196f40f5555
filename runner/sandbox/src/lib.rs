//! The sandbox: a reference mesh and its workloads, in this process, over real sockets on loopback.
//!
//! The [`engine`] says what SMI resources mean. Here it is put into force: every workload is an agent's server at an
//! address of its own, and in front of it are two proxies, one at the address by which others call the workload, one
//! that the workload sends its own calls through. The latter knows whose calls they are; that is how a caller gets
//! its identity, as a sidecar's certificate would give it. A workload outside the mesh has no identity, and its calls
//! are spread over a Service's workloads as plain Kubernetes would.
//!
//! ```text
//! client ─► its outbound proxy ─► server        by Service: identity, split, access
//! anyone ─► the server's inbound proxy ─► server   by address: access, no identity
//! ```
//!
//! [`mutant`]s are deviations of this mesh; the runner's sandbox has none.

pub mod engine;
pub mod mutant;
mod proxy;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use smi_agent::{Connection, Probe, ProbeError, Workload as AgentWorkload};
use smi_schemas::names::Slug;
use smi_schemas::report::Tally;
use smi_schemas::smi::{Namespace, ServiceAccount};
use smi_schemas::suite::{Cell, Protocol, Service, Shape, Via, Workload};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::engine::{Destination, Engine, Request, identity};
use crate::mutant::Mutant;
use crate::proxy::{Decision, Head};

/// Milliseconds that a request may take; the mesh itself needs less than one.
const TIMEOUT_MS: u64 = 5_000;
/// Requests of one cell under way at once.
const CONCURRENCY: u32 = 16;
/// What a proxy answers when access is denied.
const FORBIDDEN: u16 = 403;
/// What a proxy answers when a Service does not exist or has no workload.
const UNAVAILABLE: u16 = 503;

/// One shape's workloads behind one mesh. Dropping it closes every socket.
#[derive(Debug)]
pub struct Sandbox {
    mesh: Arc<Mesh>,
    seed: u64,
    _sockets: JoinSet<()>,
}

/// What the proxies share.
#[derive(Debug)]
struct Mesh {
    shape: Shape,
    engine: RwLock<Engine>,
    endpoints: BTreeMap<Slug, Endpoint>,
    random: Mutex<fastrand::Rng>,
    mutant: Option<Mutant>,
}

#[derive(Debug)]
struct Endpoint {
    agent: Arc<AgentWorkload>,
    /// The agent itself.
    server: SocketAddr,
    /// Where others call it.
    inbound: SocketAddr,
    /// Where it sends its own calls.
    outbound: SocketAddr,
}

impl Sandbox {
    /// Opens the sockets of a shape's workloads. `seed` decides which backend a split picks, and the request ids.
    pub async fn start(shape: &Shape, mutant: Option<Mutant>, seed: u64) -> io::Result<Self> {
        let mut endpoints = BTreeMap::new();
        let mut listeners = Vec::new();
        for workload in &shape.workloads {
            let [server, inbound, outbound] = [listen().await?, listen().await?, listen().await?];
            let endpoint = Endpoint {
                agent: Arc::new(AgentWorkload::new(workload.name.clone())),
                server: server.local_addr()?,
                inbound: inbound.local_addr()?,
                outbound: outbound.local_addr()?,
            };
            endpoints.insert(workload.name.clone(), endpoint);
            listeners.push((workload.clone(), server, inbound, outbound));
        }
        let mesh = Arc::new(Mesh {
            shape: shape.clone(),
            engine: RwLock::new(Engine::new(shape, mutant)),
            endpoints,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            mutant,
        });
        let mut sockets = JoinSet::new();
        for (workload, server, inbound, outbound) in listeners {
            if let Some(endpoint) = mesh.endpoints.get(&workload.name) {
                sockets.spawn(smi_agent::serve(server, Arc::clone(&endpoint.agent), std::future::pending()));
            }
            let called = workload.clone();
            sockets.spawn(accept(inbound, Arc::clone(&mesh), move |mesh, head| mesh.admit(&called, head)));
            sockets.spawn(accept(outbound, Arc::clone(&mesh), move |mesh, head| mesh.send(&workload, head)));
        }
        Ok(Self { mesh, seed, _sockets: sockets })
    }

    /// The engine, to be asked.
    pub fn engine(&self) -> RwLockReadGuard<'_, Engine> {
        self.mesh.engine()
    }

    /// The engine, to be changed.
    pub fn engine_mut(&self) -> RwLockWriteGuard<'_, Engine> {
        // The engine is left consistent by whatever panicked.
        self.mesh.engine.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `count` requests of a cell from its workload, each over a connection of its own.
    pub async fn probe(&self, cell: &Cell, count: u32) -> Result<Tally, ProbeError> {
        let (host, address) = self.mesh.road(cell);
        let probe = Probe {
            protocol: Protocol::Http,
            count,
            concurrency: CONCURRENCY,
            host,
            port: address.port(),
            address: Some(address.ip()),
            method: cell.method,
            path: cell.path.clone(),
            headers: cell.headers.clone(),
            timeout_ms: TIMEOUT_MS,
            connection: Connection::Fresh,
            seed: self.seed,
        };
        let result = smi_agent::probe(&probe).await?;
        let arrived = result.unanswered_ids.iter().filter(|id| self.mesh.any_logged(id));
        let logged = u32::try_from(arrived.count()).unwrap_or(u32::MAX);
        Ok(Tally { logged, ..result.tally })
    }
}

impl Mesh {
    fn engine(&self) -> RwLockReadGuard<'_, Engine> {
        // The engine is left consistent by whatever panicked.
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `Host` of a cell's requests, and where its caller connects.
    fn road(&self, cell: &Cell) -> (String, SocketAddr) {
        let endpoint = |name: &Slug| self.endpoints.get(name);
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        match cell.via {
            Via::Service => (cell.to.to_string(), endpoint(&cell.from).map_or(nowhere, |from| from.outbound)),
            Via::Pod => {
                let address = endpoint(&cell.to).map_or(nowhere, |to| to.inbound);
                (address.ip().to_string(), address)
            }
            Via::Loopback => {
                let address = endpoint(&cell.from).map_or(nowhere, |from| from.server);
                (address.ip().to_string(), address)
            }
        }
    }

    /// Decides about a call to a workload's own address. It comes from nobody in particular.
    fn admit(&self, to: &Workload, head: &Head) -> Decision {
        if self.mutant == Some(Mutant::ClientSideOnly) {
            return self
                .endpoints
                .get(&to.name)
                .map_or(Decision::Answer(UNAVAILABLE), |to| Decision::Forward(to.server));
        }
        self.deliver(None, to, head)
    }

    /// Decides about a call that a workload sends to a Service.
    fn send(&self, from: &Workload, head: &Head) -> Decision {
        let engine = self.engine();
        let Some(root) = engine.service(head.host()) else { return Decision::Answer(UNAVAILABLE) };
        let destination =
            if from.outside { Destination::Service(root.name.clone()) } else { engine.route(root, &request(head)) };
        let picked = match destination {
            Destination::Service(name) => name,
            Destination::Split(backends) => self.pick(&backends),
        };
        let service = engine.service(picked.as_str());
        let Some(to) = service.and_then(|service| self.workload(service)) else { return Decision::Answer(UNAVAILABLE) };
        self.deliver((!from.outside).then_some(from), to, head)
    }

    fn deliver(&self, caller: Option<&Workload>, to: &Workload, head: &Head) -> Decision {
        let Some(endpoint) = self.endpoints.get(&to.name) else { return Decision::Answer(UNAVAILABLE) };
        let (engine, request) = (self.engine(), request(head));
        let destination = identity(to.namespace, &to.service_account);
        let callers = self.identities(caller);
        let allowed = engine.allows(None, &destination, &request)
            || callers.iter().any(|caller| engine.allows(Some(caller), &destination, &request));
        if to.outside || allowed { Decision::Forward(endpoint.server) } else { Decision::Answer(FORBIDDEN) }
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
    fn pick(&self, backends: &[(Slug, u32)]) -> Slug {
        let sum: u64 = backends.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut point = self.random().u64(0..sum.max(1));
        for (name, weight) in backends {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return name.clone(),
            }
        }
        backends[0].0.clone()
    }

    /// One of a Service's workloads, all alike.
    fn workload<'a>(&'a self, service: &'a Service) -> Option<&'a Workload> {
        let workloads: Vec<&Workload> = self.shape.selected(service).collect();
        if workloads.is_empty() { None } else { Some(workloads[self.random().usize(..workloads.len())]) }
    }

    fn any_logged(&self, id: &smi_agent::RequestId) -> bool {
        self.endpoints.values().any(|endpoint| endpoint.agent.log().contains(id))
    }
}

async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

/// Accepts connections for as long as the sandbox lives.
async fn accept<D>(listener: TcpListener, mesh: Arc<Mesh>, decide: D)
where
    D: Fn(&Mesh, &Head) -> Decision + Send + Sync + 'static,
{
    let decide = Arc::new(decide);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A connection that is gone before it is accepted is nobody's concern.
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(serve(client, Arc::clone(&mesh), Arc::clone(&decide)));
            }
        }
    }
}

async fn serve<D>(client: TcpStream, mesh: Arc<Mesh>, decide: Arc<D>)
where
    D: Fn(&Mesh, &Head) -> Decision,
{
    // The client sees how its connection ends; there is nobody else to tell.
    let _ = proxy::connection(client, |head| decide(&mesh, head)).await;
}

fn request(head: &Head) -> Request<'_> {
    Request { method: &head.method, target: &head.target, headers: &head.headers }
}
