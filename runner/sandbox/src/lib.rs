//! The sandbox: a reference mesh and its workloads, in this process, over real sockets on loopback.
//!
//! The [`engine`] says what SMI resources mean, [`admission`] which objects an API server would take. Here the engine
//! is put into force: every workload is an agent's servers at addresses of its own, and between workloads stand two
//! proxies, one at the address by which others call a workload, one that the workload sends its own calls through. The
//! latter knows whose calls they are; that is how a caller gets its identity, as a sidecar's certificate would give
//! it. A workload outside the mesh has no identity, and its calls are spread over a Service's workloads as plain
//! Kubernetes would.
//!
//! ```text
//! client ─► its outbound proxy ─► server        by Service: identity, split, access
//! anyone ─► the server's inbound proxy ─► server   by address: access, no identity
//! ```
//!
//! [`mutant`]s are deviations of this mesh; the runner's sandbox has none.

pub mod admission;
pub mod engine;
mod h2c;
mod http1;
mod mesh;
mod metrics;
pub mod mutant;
mod path;
mod proxy;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use smi_agent::{Connection, Probe, ProbeError, Workload as AgentWorkload};
use smi_schemas::names::Slug;
use smi_schemas::report::Tally;
use smi_schemas::suite::{Cell, Protocol, Shape};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::mesh::{Endpoint, Mesh, Socket};
use crate::mutant::Mutant;
use crate::proxy::Listener;

/// Milliseconds that a request may take; the mesh itself needs less than one.
const TIMEOUT_MS: u64 = 5_000;
/// The same for a datagram, for which silence is a denial.
const DATAGRAM_TIMEOUT_MS: u64 = 200;
/// Requests of one cell under way at once.
const CONCURRENCY: u32 = 16;

/// One shape's workloads behind one mesh. Dropping it closes every socket.
#[derive(Debug)]
pub struct Sandbox {
    mesh: Arc<Mesh>,
    seed: u64,
    _sockets: JoinSet<()>,
}

impl Sandbox {
    /// Opens the sockets of a shape's workloads. `seed` decides which backend a split picks, and the request ids.
    pub async fn start(shape: &Shape, mutant: Option<Mutant>, seed: u64) -> io::Result<Self> {
        let mut endpoints = BTreeMap::new();
        let mut opened = Opened::default();
        for workload in &shape.workloads {
            let mut endpoint = Endpoint::of(Arc::new(AgentWorkload::new(workload.name.clone())));
            for (protocol, port) in shape.listens(workload) {
                let agent = Arc::clone(&endpoint.agent);
                let [server, inbound] = [Listener::open(protocol).await?, Listener::open(protocol).await?];
                let socket = Socket { server: server.address()?, inbound: inbound.address()? };
                endpoint.sockets.insert((protocol, port), socket);
                opened.servers.push((server, protocol, agent));
                opened.inbound.push((inbound, protocol, workload.name.clone(), port));
            }
            for service in &shape.services {
                for port in &service.ports {
                    let outbound = Listener::open(service.protocol).await?;
                    endpoint.outbound.insert((service.name.clone(), port.port), outbound.address()?);
                    let (from, to) = (workload.name.clone(), service.name.clone());
                    opened.outbound.push((outbound, service.protocol, from, to, port.port));
                }
            }
            endpoints.insert(workload.name.clone(), endpoint);
        }
        let mesh = Arc::new(Mesh::new(shape.clone(), endpoints, mutant, seed));
        Ok(Self { mesh: Arc::clone(&mesh), seed, _sockets: opened.serve(&mesh) })
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

    /// Starts a workload, or ends it.
    pub fn scale(&self, workload: &Slug, runs: bool) {
        self.mesh.scale(workload, runs);
    }

    /// Ends a workload and starts it anew.
    pub fn restart(&self, workload: &Slug) {
        self.mesh.scale(workload, true);
    }

    /// Forgets every resource, and has the workloads run that run from the beginning.
    pub fn reset(&self) {
        self.engine_mut().clear();
        self.mesh.reset();
    }

    /// Answers a GET of the metrics API, of objects with these labels. A restricted account may get the edges of pods
    /// only.
    pub fn metrics(&self, path: &str, labels: &BTreeMap<Slug, Slug>, restricted: bool) -> (u16, Value) {
        self.mesh.metrics(path, labels, restricted)
    }

    /// Sends `count` requests of a cell from its workload, each over a connection of its own.
    pub async fn probe(&self, cell: &Cell, headers: BTreeMap<String, String>, count: u32) -> Result<Tally, ProbeError> {
        let (protocol, host, address) = self.mesh.road(cell);
        let probe = Probe {
            count,
            concurrency: CONCURRENCY,
            protocol,
            host,
            port: address.port(),
            address: Some(address.ip()),
            method: cell.method,
            path: cell.path.clone(),
            headers,
            timeout_ms: if protocol == Protocol::Udp { DATAGRAM_TIMEOUT_MS } else { TIMEOUT_MS },
            connection: Connection::Fresh,
            seed: self.seed,
        };
        let result = smi_agent::probe(&probe).await?;
        let arrived = result.unanswered_ids.iter().filter(|id| self.mesh.any_logged(id));
        let logged = u32::try_from(arrived.count()).unwrap_or(u32::MAX);
        Ok(Tally { logged, ..result.tally })
    }
}

/// Sockets that nobody serves yet, for the mesh must know all of them first.
#[derive(Default)]
struct Opened {
    servers: Vec<(Listener, Protocol, Arc<AgentWorkload>)>,
    inbound: Vec<(Listener, Protocol, Slug, u16)>,
    outbound: Vec<(Listener, Protocol, Slug, Slug, u16)>,
}

impl Opened {
    fn serve(self, mesh: &Arc<Mesh>) -> JoinSet<()> {
        let mut sockets = JoinSet::new();
        for (listener, protocol, agent) in self.servers {
            let stop = std::future::pending();
            match (listener, protocol) {
                (Listener::Datagram(socket), _) => drop(sockets.spawn(smi_agent::serve_udp(socket, agent, stop))),
                (Listener::Stream(listener), Protocol::Tcp) => {
                    drop(sockets.spawn(smi_agent::serve_tcp(listener, agent, stop)));
                }
                (Listener::Stream(listener), _) => drop(sockets.spawn(smi_agent::serve(listener, agent, stop))),
            }
        }
        for (listener, protocol, workload, port) in self.inbound {
            let mesh = Arc::clone(mesh);
            sockets.spawn(proxy::serve(listener, protocol, Arc::new(move |call| mesh.admit(&workload, port, call))));
        }
        for (listener, protocol, from, service, port) in self.outbound {
            let mesh = Arc::clone(mesh);
            let decide = Arc::new(move |call: &engine::Call<'_>| mesh.send(&from, &service, port, call));
            sockets.spawn(proxy::serve(listener, protocol, decide));
        }
        sockets
    }
}

/// An address at which nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
