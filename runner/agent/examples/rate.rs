//! How many requests a second one workload answers on this machine, over each protocol, over fresh and over reused
//! connections:
//!
//! ```text
//! cargo run --release -p smi-agent --example rate
//! ```

use std::future::pending;
use std::sync::Arc;

use smi_agent::client::MAX_COUNT;
use smi_agent::{Connection, Probe, Workload, probe, serve, serve_tcp, serve_udp};
use tokio::net::{TcpListener, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let workload = Arc::new(Workload::new("server".parse()?));
        let anywhere = ("127.0.0.1", 0);
        let (http, tcp) = (TcpListener::bind(anywhere).await?, TcpListener::bind(anywhere).await?);
        let udp = UdpSocket::bind(anywhere).await?;
        let ports = [http.local_addr()?.port(), tcp.local_addr()?.port(), udp.local_addr()?.port()];
        tokio::spawn(serve(http, Arc::clone(&workload), pending()));
        tokio::spawn(serve_tcp(tcp, Arc::clone(&workload), pending()));
        tokio::spawn(serve_udp(udp, workload, pending()));
        for (protocol, port, path) in
            [("http", ports[0], "/"), ("h2c", ports[0], "/"), ("tcp", ports[1], ""), ("udp", ports[2], "")]
        {
            for connection in [Connection::Fresh, Connection::Reuse] {
                for concurrency in [1, 8, 64] {
                    let asked = serde_json::json!({
                        "protocol": protocol, "count": MAX_COUNT, "concurrency": concurrency,
                        "host": "127.0.0.1", "port": port, "path": path,
                        "timeoutMs": 10_000, "connection": connection, "seed": 7,
                    });
                    let result = probe(&serde_json::from_value::<Probe>(asked)?).await?;
                    let rate = u64::from(MAX_COUNT) * 1000 / result.elapsed_ms.max(1);
                    let lost = result.tally.non_answers();
                    println!("{protocol}, {connection:?}, {concurrency:2} at once: {rate} requests/s, {lost} lost");
                }
            }
        }
        Ok(())
    })
}
