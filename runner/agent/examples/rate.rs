//! How many requests a second one workload answers on this machine, over fresh and over reused connections:
//!
//! ```text
//! cargo run --release -p smi-agent --example rate
//! ```

use std::sync::Arc;

use smi_agent::client::MAX_COUNT;
use smi_agent::{Connection, Probe, Workload, probe, serve};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let workload = Arc::new(Workload::new("server".parse()?));
        tokio::spawn(serve(listener, workload, std::future::pending()));
        for connection in [Connection::Fresh, Connection::Reuse] {
            for concurrency in [1, 8, 64] {
                let asked = serde_json::json!({
                    "count": MAX_COUNT, "concurrency": concurrency, "host": "127.0.0.1", "port": port,
                    "path": "/", "timeoutMs": 10_000, "connection": connection, "seed": 7,
                });
                let result = probe(&serde_json::from_value::<Probe>(asked)?).await?;
                let rate = u64::from(MAX_COUNT) * 1000 / result.elapsed_ms.max(1);
                println!(
                    "{connection:?}, {concurrency:2} at once: {rate} requests/s, {} lost",
                    result.tally.non_answers()
                );
            }
        }
        Ok(())
    })
}
