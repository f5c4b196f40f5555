//! Proxies: they read as much of a call as the mesh may speak of, ask what is to become of it, and carry it over or
//! answer in the workload's place.
//!
//! | | carried over | denied |
//! |---|---|---|
//! | HTTP/1.1 | the request, on a connection of its own | 403, or 503 when nobody is there |
//! | h2c | the request, on a connection of its own | the same |
//! | TCP | the connection | closed without a byte |
//! | UDP | the datagram and its answer | silence |

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smi_schemas::suite::Protocol;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::Call;
use crate::metrics::Trip;
use crate::{h2c, http1};

/// How long the first bytes of a call may take to arrive, and a workload to be reached.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a workload may take to answer a datagram.
const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a datagram.
const MAX_DATAGRAM_BYTES: usize = 1500;
/// What a client says first that speaks HTTP/2 by prior knowledge.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What is to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes to this address.
    Forward(SocketAddr),
    /// Access is denied.
    Forbidden,
    /// A Service does not exist or has no workload.
    Unavailable,
}

/// What is to become of a call, and who is told that it ended.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) decision: Decision,
    /// Of a call that goes on.
    pub(crate) trip: Option<Trip>,
}

/// Decides about calls.
pub(crate) type Decide = dyn Fn(&Call<'_>) -> Ruling + Send + Sync;

/// A socket on loopback that nobody serves yet.
pub(crate) enum Listener {
    /// For everything but UDP.
    Stream(TcpListener),
    /// For UDP.
    Datagram(UdpSocket),
}

impl From<Decision> for Ruling {
    fn from(decision: Decision) -> Self {
        Self { decision, trip: None }
    }
}

impl Decision {
    /// The status of an answer in the workload's place.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Forward(_) => 200,
            Self::Forbidden => 403,
            Self::Unavailable => 503,
        }
    }
}

impl Listener {
    pub(crate) async fn open(protocol: Protocol) -> io::Result<Self> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        Ok(match protocol {
            Protocol::Udp => Self::Datagram(UdpSocket::bind(any).await?),
            Protocol::Http | Protocol::H2c | Protocol::Tcp => Self::Stream(TcpListener::bind(any).await?),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Stream(listener) => listener.local_addr(),
            Self::Datagram(socket) => socket.local_addr(),
        }
    }
}

/// Proxies whatever arrives for as long as the sandbox lives.
pub(crate) async fn serve(listener: Listener, protocol: Protocol, decide: Arc<Decide>) {
    match listener {
        Listener::Datagram(socket) => datagrams(Arc::new(socket), decide).await,
        Listener::Stream(listener) => streams(listener, protocol, decide).await,
    }
}

async fn streams(listener: TcpListener, protocol: Protocol, decide: Arc<Decide>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A connection that is gone before it is accepted is nobody's concern.
                let Ok((client, _)) = accepted else { continue };
                let decide = Arc::clone(&decide);
                // The client sees how its connection ends; there is nobody else to tell.
                connections.spawn(async move { drop(stream(client, protocol, decide).await) });
            }
        }
    }
}

async fn stream(mut client: TcpStream, protocol: Protocol, decide: Arc<Decide>) -> io::Result<()> {
    client.set_nodelay(true)?;
    if protocol == Protocol::Tcp {
        return match decide(&Call { protocol, request: None }).decision {
            Decision::Forward(address) => {
                let mut workload = reach(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut workload).await.map(|_| ())
            }
            Decision::Forbidden | Decision::Unavailable => Ok(()),
        };
    }
    let mut first = [0; PREFACE.len()];
    let seen = timeout(HEAD_TIMEOUT, client.peek(&mut first)).await??;
    if seen == PREFACE.len() && first == PREFACE {
        return h2c::connection(client, decide).await.map_err(io::Error::other);
    }
    http1::connection(client, &*decide).await
}

async fn datagrams(socket: Arc<UdpSocket>, decide: Arc<Decide>) {
    let mut exchanges = JoinSet::new();
    let mut bytes = [0; MAX_DATAGRAM_BYTES];
    loop {
        tokio::select! {
            Some(_) = exchanges.join_next() => {}
            received = socket.recv_from(&mut bytes) => {
                let Ok((length, client)) = received else { continue };
                let decision = decide(&Call { protocol: Protocol::Udp, request: None }).decision;
                if let Decision::Forward(workload) = decision {
                    let (socket, datagram) = (Arc::clone(&socket), bytes[..length].to_vec());
                    // An answer that does not come is silence for the client as well.
                    exchanges.spawn(async move { drop(datagram_answered(&socket, &datagram, client, workload).await) });
                }
            }
        }
    }
}

async fn datagram_answered(
    socket: &UdpSocket,
    datagram: &[u8],
    client: SocketAddr,
    workload: SocketAddr,
) -> io::Result<()> {
    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    own.connect(workload).await?;
    own.send(datagram).await?;
    let mut answer = [0; MAX_DATAGRAM_BYTES];
    let length = timeout(DATAGRAM_TIMEOUT, own.recv(&mut answer)).await??;
    socket.send_to(&answer[..length], client).await.map(|_| ())
}

/// Connects to a workload.
pub(crate) async fn reach(address: SocketAddr) -> io::Result<TcpStream> {
    let workload = timeout(HEAD_TIMEOUT, TcpStream::connect(address)).await??;
    workload.set_nodelay(true)?;
    Ok(workload)
}
