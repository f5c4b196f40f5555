//! The agent against real sockets: what a client calls what it sees, what a server answers, and both as a process.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;
mod frames;
mod h2c;
mod h2c_server;
mod layer5;
mod line;
mod line_server;
mod outcomes;
mod process;
mod server;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smi_agent::{Connection, Probe, Workload, serve, serve_tcp, serve_udp};
use smi_schemas::smi::Method;
use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// No step of a test takes longer; one that does has failed.
const LIMIT: Duration = Duration::from_secs(20);

const PROTOCOLS: [Protocol; 4] = [Protocol::Http, Protocol::H2c, Protocol::Tcp, Protocol::Udp];

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("a step of this test hangs")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens, and nobody else can while the socket is kept.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A workload that is served over HTTP until the test's runtime ends.
async fn workload(name: &str) -> (Arc<Workload>, SocketAddr) {
    workload_over(Protocol::Http, name).await
}

/// The same over any protocol.
async fn workload_over(protocol: Protocol, name: &str) -> (Arc<Workload>, SocketAddr) {
    let workload = Arc::new(Workload::new(name.parse().unwrap()));
    let (served, forever) = (Arc::clone(&workload), std::future::pending());
    let (listener, address) = listener().await;
    match protocol {
        Protocol::Http | Protocol::H2c => tokio::spawn(serve(listener, served, forever)),
        Protocol::Tcp => tokio::spawn(serve_tcp(listener, served, forever)),
        Protocol::Udp => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            tokio::spawn(serve_udp(socket, served, forever));
            return (workload, address);
        }
    };
    (workload, address)
}

/// The same probe over another protocol.
fn over(protocol: Protocol, probe: Probe) -> Probe {
    let line = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    let path = if line { String::new() } else { probe.path };
    Probe { protocol, path, ..probe }
}

/// One GET of `/`.
fn probe_to(address: SocketAddr) -> Probe {
    Probe {
        protocol: Protocol::Http,
        count: 1,
        concurrency: 1,
        host: "server.test".to_owned(),
        port: address.port(),
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        method: Method::Get,
        path: "/".to_owned(),
        headers: BTreeMap::new(),
        timeout_ms: 10_000,
        connection: Connection::Fresh,
        seed: 7,
    }
}

/// What a server says to `bytes` until it closes the connection.
async fn told(address: SocketAddr, bytes: &str) -> String {
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

/// Reads the head of one request, as text.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The value of a field of a head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}
