//! Answers lines.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{sleep, timeout};

use super::{BEGINNING, REQUEST_BYTES, answer, may_begin, read_request};
use crate::id::RequestId;
use crate::server::{ACCEPT_PAUSE, IDLE_TIMEOUT, READ_TIMEOUT, WRITE_TIMEOUT, accept};
use crate::workload::Workload;

/// Serves `workload` to lines over TCP until `shutdown` is ready; then every connection is dropped.
///
/// Dropping the future does the same.
pub async fn serve_tcp(listener: TcpListener, workload: Arc<Workload>, shutdown: impl Future<Output = ()>) {
    let converse = |stream| {
        let workload = Arc::clone(&workload);
        async move { converse(stream, &workload).await }
    };
    accept(listener, shutdown, converse).await;
}

/// Serves `workload` to lines over UDP until `shutdown` is ready. Dropping the future does the same.
pub async fn serve_udp(socket: UdpSocket, workload: Arc<Workload>, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => {}
        () = datagrams(&socket, &workload) => {}
    }
}

async fn datagrams(socket: &UdpSocket, workload: &Workload) {
    // One more byte than a request has, so that a longer datagram, of which the rest is lost, is told from one.
    let mut datagram = [0; REQUEST_BYTES + 1];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut datagram).await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Some(id) = read_request(&datagram[..length]) {
            workload.log().record(id);
            // Whom an answer cannot reach has sent all the same; the log says so.
            let _ = socket.send_to(answer(id, &workload.identity().workload).as_bytes(), from).await;
        }
    }
}

/// Answers the lines of one connection, one after the other.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, workload: &Workload) {
    while let Some(id) = next(&mut stream).await {
        workload.log().record(id);
        let answer = answer(id, &workload.identity().workload);
        if !matches!(timeout(WRITE_TIMEOUT, stream.write_all(answer.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next request, unless there is none.
async fn next<S: AsyncRead + Unpin>(stream: &mut S) -> Option<RequestId> {
    let mut line = [0; REQUEST_BYTES];
    let mut length = timeout(IDLE_TIMEOUT, stream.read(&mut line)).await.ok()?.ok()?;
    let rest = async {
        // An ended connection leaves a line that may begin a request, but is none.
        let mut more = length;
        while more > 0 && length < REQUEST_BYTES && may_begin(&line[..length], BEGINNING) {
            more = stream.read(&mut line[length..]).await.ok()?;
            length += more;
        }
        read_request(&line[..length])
    };
    timeout(READ_TIMEOUT, rest).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    /// How long a client is borne with that sends `bytes` and then waits, and what it is told. Time passes only while
    /// nobody has anything to do.
    async fn borne(bytes: &[u8], room: usize) -> (Duration, String) {
        let begun = Instant::now();
        let (mut client, server) = tokio::io::duplex(room);
        let workload = Workload::new("server".parse().unwrap());
        let conversation = tokio::spawn(async move { converse(server, &workload).await });
        client.write_all(bytes).await.unwrap();
        conversation.await.unwrap();
        let borne = begun.elapsed();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        (borne, told)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_in_vain() {
        let line = super::super::request(RequestId::derive(7, 1));
        let silence = String::new();
        assert_eq!(borne(b"", 256).await, (IDLE_TIMEOUT, silence.clone()));
        for begun in ["s", "smi/1 4ff1", &line[..REQUEST_BYTES - 1]] {
            assert_eq!(borne(begun.as_bytes(), 256).await, (READ_TIMEOUT, silence.clone()), "{begun}");
        }
        for garbage in ["x", "GET / HTTP/1.1\r\n\r\n", "smi/2 ", &line.replace('\n', " ")] {
            assert_eq!(borne(garbage.as_bytes(), 256).await, (Duration::ZERO, silence.clone()), "{garbage}");
        }
        let (time, _) = borne(line.as_bytes(), REQUEST_BYTES).await;
        assert_eq!(time, WRITE_TIMEOUT, "a client that does not listen");
    }
}
