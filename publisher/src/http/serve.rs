//! Connections: as many as there is room for, none that takes forever, and an end that loses no answer.
//!
//! A client that is silent where it should speak loses its place: while the head of its request is awaited, also of
//! the next one on a connection that is kept, and while its answer is to be read. Roads see to bodies. A stream of
//! events has no end, but a heartbeat, which somebody has to read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::progress::Progress;

/// Connections at once; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1024;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may read nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel is asked to hold of an answer; it holds twice as many. It asks for more when a third is gone,
/// so that whoever reads a few kilobytes a second is seen to read within [`WRITE_TIMEOUT`].
const SEND_BYTES: usize = 128 * 1024;
/// Bytes that a connection buffers, and so the longest head.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long answers that are under way may take when the publisher stops.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a connection could not be accepted, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready, and then until every answer under way is given or [`STOP_TIMEOUT`] is over.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed, so a place is only waited for.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            (place, accepted) = accepted => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                (place, stream)
            }
        };
        let connection = connections.watch(connection(stream, router.clone(), WRITE_TIMEOUT));
        tokio::spawn(async move {
            // The client sees how its connection ends; there is nobody else to tell.
            let _ = connection.await;
            drop(place);
        });
    }
    // What is still open after that is cut off with the process.
    let _ = tokio::time::timeout(STOP_TIMEOUT, connections.shutdown()).await;
}

type Connection = http1::Connection<TokioIo<Progress<TcpStream>>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router, write_timeout: Duration) -> Connection {
    // Without it an answer is as good, only later.
    let _ = stream.set_nodelay(true);
    // Without it a client that reads very slowly may be taken for one that does not.
    let _ = set_socket_send_buffer_size(&stream, SEND_BYTES);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Progress::new(stream, write_timeout)), TowerToHyperService::new(router))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Instant;

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::task::JoinHandle;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(400);
    const PAUSE: Duration = Duration::from_millis(600);
    /// More than the kernel holds for a connection.
    const LARGE: usize = 32 * 1024 * 1024;

    /// A client that asked for a road and can hold so many bytes, and the end of its connection.
    async fn asked(road: &str, bytes: u32) -> (TcpStream, JoinHandle<()>) {
        let beats = || {
            let beat = async |count: u32| {
                tokio::time::sleep(PAUSE).await;
                (count < 3).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"beat")), count + 1))
            };
            Body::from_stream(stream::unfold(0, beat))
        };
        let router =
            Router::new().route("/large", get(async || vec![0; LARGE])).route("/beats", get(async move || beats()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        let mut client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let served = connection(listener.accept().await.unwrap().0, router, TIMEOUT);
        let request = format!("GET {road} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        (client, tokio::spawn(async { drop(served.await) }))
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_loses_its_place() {
        let (client, ended) = asked("/large", 4096).await;
        tokio::time::timeout(TIMEOUT * 20, ended).await.unwrap().unwrap();
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_told_everything() {
        let (mut client, ended) = asked("/large", 256 * 1024).await;
        let (began, mut read, mut buffer) = (Instant::now(), 0, vec![0; LARGE / 8]);
        loop {
            if began.elapsed() < TIMEOUT * 3 {
                tokio::time::sleep(TIMEOUT / 4).await;
            }
            match client.read(&mut buffer).await.unwrap() {
                0 => break,
                bytes => read += bytes,
            }
        }
        assert!(read > LARGE && began.elapsed() > TIMEOUT * 2, "{read} bytes");
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_pauses_is_not_a_client_that_does() {
        let (mut client, ended) = asked("/beats", 4096).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.matches("beat").count(), 3, "{answer}");
        ended.await.unwrap();
    }
}
