//! Sends lines, and says who answered them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use smi_schemas::names::Slug;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::{BEGINNING, MAX_ANSWER_BYTES, may_begin, read_answer, request};
use crate::exchange::{self, Carrier, Failure};
use crate::id::RequestId;

/// A line over TCP.
pub(crate) struct TcpLine;

/// A line in a datagram.
pub(crate) struct UdpLine;

impl Carrier for TcpLine {
    type Kept = TcpStream;

    async fn ask(
        &self,
        id: RequestId,
        kept: &mut Option<TcpStream>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Slug, Failure> {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => exchange::connect(addresses, deadline).await?,
        };
        let answered = timeout_at(deadline, over_stream(&mut stream, id)).await;
        let (workload, whole) = answered.unwrap_or(Err(Failure::TIMEOUT))?;
        if whole {
            *kept = Some(stream);
        }
        Ok(workload)
    }
}

/// Who answered; and whether nothing more than an answer came.
async fn over_stream(stream: &mut TcpStream, id: RequestId) -> Result<(Slug, bool), Failure> {
    // A peer may answer and close without reading. What it said counts; only if it said nothing does it matter that
    // sending failed.
    let sent = stream.write_all(request(id).as_bytes()).await;
    let beginning = format!("{BEGINNING}{id} ");
    let mut said = [0; MAX_ANSWER_BYTES + 1];
    let mut length = 0;
    loop {
        let more = stream.read(&mut said[length..]).await?;
        if more == 0 && length == 0 {
            sent?;
            return Err(Failure::EMPTY_REPLY);
        }
        length += more;
        let end = said[..length].iter().position(|byte| *byte == b'\n');
        if let Some(end) = end {
            let workload = read_answer(&said[..=end]).filter(|(answered, _)| *answered == id).map(|(_, name)| name);
            return workload.map(|name| (name, end + 1 == length)).ok_or(Failure::FOREIGN);
        }
        if more == 0 || length > MAX_ANSWER_BYTES || !may_begin(&said[..length], &beginning) {
            return Err(Failure::FOREIGN);
        }
    }
}

impl Carrier for UdpLine {
    type Kept = UdpSocket;

    async fn ask(
        &self,
        id: RequestId,
        kept: &mut Option<UdpSocket>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Slug, Failure> {
        let socket = match kept.take() {
            Some(socket) => socket,
            None => open(addresses).await?,
        };
        let answered = timeout_at(deadline, over_datagrams(&socket, id)).await;
        let workload = answered.unwrap_or(Err(Failure::TIMEOUT))?;
        *kept = Some(socket);
        Ok(workload)
    }
}

/// A socket with a port of its own for the first address that can be sent to from here. The system gives it what comes
/// from that address only, and the news that nobody listens there.
async fn open(addresses: &[SocketAddr]) -> Result<UdpSocket, Failure> {
    let mut first = None;
    for address in addresses {
        let own: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let opened = async {
            let socket = UdpSocket::bind(own).await?;
            socket.connect(address).await?;
            Ok::<_, std::io::Error>(socket)
        };
        match opened.await {
            Ok(socket) => return Ok(socket),
            Err(error) => first = exchange::preferred(first, error),
        }
    }
    Err(first.unwrap_or(Failure::TIMEOUT))
}

async fn over_datagrams(socket: &UdpSocket, id: RequestId) -> Result<Slug, Failure> {
    socket.send(request(id).as_bytes()).await?;
    let mut said = [0; MAX_ANSWER_BYTES + 1];
    loop {
        let length = socket.recv(&mut said).await?;
        match read_answer(&said[..length]) {
            Some((answered, workload)) if answered == id => return Ok(workload),
            // A network may repeat and delay datagrams: this one says nothing of the request.
            Some(_) => {}
            None => return Err(Failure::FOREIGN),
        }
    }
}
