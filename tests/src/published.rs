//! A result as it is published, for programs that nobody here wrote.
//!
//! One folder holds whatever they need:
//!
//! | file | what it is |
//! |---|---|
//! | `origin` | the log's origin, a bare host name such as `log.example.org` |
//! | `log.vkey` `log.pub` | the log's key: as a signed-note verifier key, and as SPKI PEM |
//! | `vendor.pub` | the signer's key as SPKI PEM |
//! | `trusted_root.json` | a Sigstore TrustedRoot 0.1 whose one log has the `baseUrl` `https://<origin>` |
//! | `policy` | the C2SP tlog-policy: the log, its witnesses, the quorum |
//! | `checkpoint` | the log's checkpoint, with cosignatures that meet the policy |
//! | `result.sigstore.json` | the completed bundle, under this checkpoint |
//! | `result.tlog-proof` `result.leaf` | the receipt, under this checkpoint, and the entry's exact bytes |
//! | `result.payload` | the statement's bytes |
//! | `consistency.json` | `{"old":{"size":m,"root":base64},"new":{"size":n,"root":base64},"hashes":[base64…]}`: the proof that a smaller tree, 0 < m < n, is a prefix of this checkpoint's |
//! | `checkpoint.old` | the checkpoint of the smaller tree, as the log signed it |
//! | `url` | the base URL of the read API, plain HTTP on loopback: `URL/checkpoint`, `URL/tile/…` |
//!
//! A line break at the end of `origin`, `log.vkey` and `url` does no harm. `URL/checkpoint` is the file `checkpoint`,
//! byte for byte. The log has more than 256 entries, so that the programs see full tiles and a second level.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test stops where it fails

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smi_keys::export::{tlog_policy, trusted_root};
use smi_keys::keyring::Keyring;
use smi_publisher::http;
use smi_publisher::witness::server::{self, Witness};
use smi_schemas::Digest;
use smi_schemas::bundle::Bundle;
use smi_verifier::receipt::{log_key, witness_keys};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::programme::{BODY_TIMEOUT, Running, Settings, release};
use crate::vectors::{self, key};

/// Entries before the smaller tree ends, and in all.
const ENTRIES: [u64; 2] = [100, 300];

/// How long the witnesses beyond the quorum may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder of the files above, and the server behind its `url`.
pub struct Sample {
    /// The folder.
    pub folder: PathBuf,
    /// Serves the read API until it is dropped.
    pub serving: Box<dyn Any + Send + Sync>,
}

/// Publishes a result, with a quorum of witnesses, and writes the files into a folder that exists.
pub fn published(folder: &Path) -> Sample {
    let runtime = Runtime::new().unwrap();
    let running = runtime.block_on(publish(folder));
    // In this order the tasks are still there when their handle goes.
    Sample { folder: folder.to_owned(), serving: Box::new((running, runtime)) }
}

async fn publish(folder: &Path) -> Running {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let keyring = witnessed(folder).await;
    let data = folder.join("publisher");
    fs::create_dir(&data).unwrap();
    let policy = vectors::policy(keyring.clone(), None);
    let running = Running::start(&data, Settings { keyring: keyring.clone(), policy, quota: u32::MAX }).await;

    let fetched = async |path: &str| {
        let response = running.client.get(running.url(path)).send().await.unwrap().error_for_status().unwrap();
        response.bytes().await.unwrap()
    };
    let sound = vectors::sound();
    running.fill([sound.clone()]).await;
    running.fill((0..ENTRIES[0]).map(release)).await;
    let old = fetched("/checkpoint").await;
    write("checkpoint.old", &old);
    running.fill((ENTRIES[0]..ENTRIES[1]).map(release)).await;

    // The quorum publishes a head, and the witnesses beyond it are added to it: from then on it stays as it is.
    let signed = |checkpoint: &[u8]| String::from_utf8_lossy(checkpoint).matches("\u{2014} ").count();
    let checkpoint = tokio::time::timeout(PATIENCE, async {
        loop {
            let checkpoint = fetched("/checkpoint").await;
            if signed(&checkpoint) == 1 + keyring.witnesses().count() {
                return checkpoint;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let checkpoint = checkpoint.await.unwrap();
    let payload = Bundle::read(&sound).unwrap().payload;
    let result = format!("/v1/bundles/{}", Digest::of(&payload));
    let completed = fetched(&format!("{result}/completed")).await;
    let (before, after) = (size(&old), size(&checkpoint));
    write("checkpoint", &checkpoint);
    write("result.leaf", &Bundle::read(&completed).unwrap().log_entry.unwrap().body);
    write("result.sigstore.json", &completed);
    write("result.tlog-proof", &fetched(&format!("{result}/tlog-proof")).await);
    write("result.payload", &payload);
    write("consistency.json", &fetched(&format!("/v1/consistency?old={before}&new={after}")).await);

    write("origin", vectors::ORIGIN.as_bytes());
    write("url", running.url("").as_bytes());
    write("log.vkey", log_key(&keyring).unwrap().to_string().as_bytes());
    write("log.pub", key("log").public().to_spki_pem().as_bytes());
    write("vendor.pub", key("vendor").public().to_spki_pem().as_bytes());
    write("policy", tlog_policy(&keyring, None).unwrap().as_bytes());
    write("trusted_root.json", trusted_root(&keyring).unwrap().as_bytes());
    running
}

/// The vectors' keyring with addresses for its witnesses, which serve there until the runtime ends.
async fn witnessed(folder: &Path) -> Keyring {
    let unwitnessed = vectors::keyring();
    let mut addresses = Vec::new();
    for (name, note_key) in witness_keys(&unwitnessed, 0) {
        let logs = [log_key(&unwitnessed).unwrap()];
        let state = folder.join(name.as_str());
        let witness = Witness::open(&state, note_key.name(), key(name.as_str()), logs).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let roads = server::router(Arc::new(witness), vectors::now, BODY_TIMEOUT);
        tokio::spawn(http::serve(listener, roads, std::future::pending()));
    }
    addressed(&addresses)
}

fn addressed(addresses: &[SocketAddr]) -> Keyring {
    vectors::keyring_at(Some(vectors::QUORUM), &addresses.iter().map(|at| format!("http://{at}")).collect::<Vec<_>>())
}

/// The size in the second line of a checkpoint.
fn size(checkpoint: &[u8]) -> u64 {
    String::from_utf8_lossy(checkpoint).lines().nth(1).unwrap().parse().unwrap()
}
