//! Connections: as many as there is room for, none that takes forever, and an end that loses no answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1024;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
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
        let connection = connections.watch(connection(stream, router.clone()));
        tokio::spawn(async move {
            // The client sees how its connection ends; there is nobody else to tell.
            let _ = connection.await;
            drop(place);
        });
    }
    // What is still open after that is cut off with the process.
    let _ = tokio::time::timeout(STOP_TIMEOUT, connections.shutdown()).await;
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // Without it an answer is as good, only later.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
