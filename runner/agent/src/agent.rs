//! The agent as a process, `smi-agent serve`: one workload, its addresses, and its control endpoint.
//!
//! It says on standard error where it listens, one line for each address; after the last one everything is open:
//!
//! ```text
//! listening on 0.0.0.0:8080
//! listening on 0.0.0.0:9000 for TCP
//! listening on 0.0.0.0:9000 for UDP
//! ```
//!
//! It ends on SIGTERM or SIGINT, at once and with success, dropping everything under way. It handles both itself, so
//! that it may be the first process of a container.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smi_schemas::names::Slug;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::workload::Workload;
use crate::{control, line, server};

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Another agent runs in this pod, or the name is too long.
    #[error("cannot open the control endpoint {name:?}: {source}")]
    Control {
        /// Name of the abstract socket.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// No event loop, or no signals.
    #[error("this machine does not let the agent run: {0}")]
    System(#[from] io::Error),
}

/// Where an agent answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP/1.1 and HTTP/2.
    pub http: Vec<SocketAddr>,
    /// Lines over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Lines over UDP.
    pub udp: Vec<SocketAddr>,
}

/// Serves the workload `name` at all `addresses`, and its control endpoint, until the process is told to end.
///
/// One thread does it all: it is enough for more requests than any mesh passes on, and a pod's share of a processor
/// is small.
pub fn serve(name: Slug, addresses: &Addresses, control: &str) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(until_signalled(name, addresses, control));
    // A name that is still being resolved must not hold the process.
    runtime.shutdown_background();
    served
}

async fn until_signalled(name: Slug, addresses: &Addresses, control: &str) -> Result<(), StartError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let workload = Arc::new(Workload::new(name));
    let endpoint = control::listen(control);
    let endpoint = endpoint.map_err(|source| StartError::Control { name: control.to_owned(), source })?;
    let mut endpoints = JoinSet::new();
    endpoints.spawn(control::serve(endpoint, Arc::clone(&workload), std::future::pending()));
    for &address in &addresses.http {
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
        eprintln!("listening on {}", listener.local_addr()?);
        endpoints.spawn(server::serve(listener, Arc::clone(&workload), std::future::pending()));
    }
    for &address in &addresses.tcp {
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
        eprintln!("listening on {} for TCP", listener.local_addr()?);
        endpoints.spawn(line::serve_tcp(listener, Arc::clone(&workload), std::future::pending()));
    }
    for &address in &addresses.udp {
        let socket = UdpSocket::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
        eprintln!("listening on {} for UDP", socket.local_addr()?);
        endpoints.spawn(line::serve_udp(socket, Arc::clone(&workload), std::future::pending()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
