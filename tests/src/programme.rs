//! A whole programme for tests: a keyring with every role, and a publisher of its log over real sockets, at the
//! vectors' time and with the vectors' suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)] // a test stops where it fails

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Client;
use smi_keys::keyring::Keyring;
use smi_publisher::cell::FileCell;
use smi_publisher::feed::Feed;
use smi_publisher::heads::{Kept, PACE, Publishing, RENEWAL, publish, recover};
use smi_publisher::http::{self, Publisher};
use smi_publisher::intake::{DAILY_QUOTA, Intake};
use smi_publisher::log::{Log, Signer, Submission};
use smi_publisher::meters::Meters;
use smi_publisher::store::{Mark, SledStore, Store};
use smi_publisher::witness::client::Witnesses;
use smi_schemas::Digest;
use smi_schemas::record::{KeyringChange, Release, Review, Supersession, Verdict, Withdrawal};
use smi_schemas::statement::Versioned;
use smi_verifier::policy::Policy;
use smi_verifier::receipt::log_key;
use smi_verifier::said::verify_first;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use crate::vectors::{self, key};

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Submissions of [`Running::fill`] that are under way.
const AT_ONCE: usize = 32;
/// Event streams at once.
pub const STREAMS: usize = 2;

/// A publisher that runs.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Asks it.
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

/// How a publisher is to be.
pub struct Settings {
    /// The keyring that a new log begins with.
    pub keyring: Keyring,
    /// What is admitted.
    pub policy: Policy,
    /// Entries that a key may submit in a day.
    pub quota: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let keyring = vectors::keyring_with(None);
        Self { policy: vectors::policy(keyring.clone(), None), keyring, quota: DAILY_QUOTA }
    }
}

impl Running {
    /// Opens the log in a folder, or makes it there, and serves it.
    pub async fn start(folder: &Path, settings: Settings) -> Self {
        let store: Arc<dyn Store> =
            Arc::new(SledStore::open(&folder.join("data"), Mark { demonstration: false }).unwrap());
        let kept = Kept::within(&folder.join("data"));
        let (recovered, shown) = recover(&*store, &kept).unwrap();
        let is_new = recovered.ledger.size() == 0;
        let cell = Box::new(FileCell::new(&folder.join("data.checkpoint")));
        let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: key("log") };
        let (log, view) = Log::start(Arc::clone(&store), cell, signer, recovered).unwrap();
        if is_new {
            log.submit(Submission::new(verify_first(&first(&settings.keyring)).unwrap())).await.unwrap();
        }
        let note_key = log_key(&settings.keyring).unwrap();
        let meters = Arc::new(Meters::default());
        let witnesses = Witnesses::new(note_key.clone(), log.tree(), Arc::clone(&meters), vectors::now);
        let feed = Arc::new(Feed::new(store, log.tree(), view, note_key));
        let (show, published) = watch::channel(shown.map(Arc::new));
        let publishing = Publishing {
            feed: Arc::clone(&feed),
            witnesses,
            pace: PACE,
            renewal: RENEWAL,
            kept,
            meters: Arc::clone(&meters),
            published: show,
        };
        let publishing = tokio::spawn(publish(log.head(), publishing));
        let (stopping, stopped) = watch::channel(false);
        let roads = Arc::new(Publisher {
            intake: Intake::new(settings.policy, settings.quota, log.clone()).unwrap(),
            feed,
            signed: log.head(),
            published,
            meters,
            patience: Duration::from_secs(10),
            stop: stopped,
            demonstration: false,
            clock: vectors::now,
            body_timeout: BODY_TIMEOUT,
            streams: Arc::new(Semaphore::new(STREAMS)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, signal) = oneshot::channel();
        let ended = tokio::spawn(async move {
            http::serve(listener, http::router(roads), async {
                let _ = signal.await;
                let _ = stopping.send(true);
            })
            .await;
            log.close().await;
            publishing.abort();
            // It has a hand on the store until it is gone.
            let _ = publishing.await;
        });
        Self { address, client: Client::new(), stop: Some(stop), ended }
    }

    /// Submits many bundles, some at a time; each must be new.
    pub async fn fill(&self, bundles: impl IntoIterator<Item = Vec<u8>>) {
        let submit = |bundle| async {
            let request = self.client.post(self.url("/v1/bundles")).body::<Vec<u8>>(bundle);
            assert_eq!(request.send().await.unwrap().status(), 201);
        };
        futures_util::stream::iter(bundles).map(submit).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// The address of a road.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops it, and waits until it has let go of the store.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(Duration::from_secs(10), self.ended).await.expect("it stops").unwrap();
    }
}

/// The first keyring of a log, signed by its root key.
pub fn first(keyring: &Keyring) -> Vec<u8> {
    changed(keyring, None, &["root"])
}

/// A keyring that follows another, signed by these root keys.
pub fn changed(keyring: &Keyring, previous: Option<Digest>, roots: &[&str]) -> Vec<u8> {
    let change = KeyringChange::of(keyring.version(), &keyring.to_bytes(), previous, vectors::now()).unwrap();
    let mut bundle = key(roots[0]).sign_statement(&change.to_bytes());
    for root in &roots[1..] {
        bundle.further.push(key(root).sign_statement(&change.to_bytes()).signature);
    }
    bundle.to_bytes()
}

/// The release of a suite, which is the smallest entry, by its number.
pub fn release(number: u64) -> Vec<u8> {
    let suite = Versioned { version: format!("0.{number}").parse().unwrap(), digest: Digest::of(b"a suite") };
    key("suite").sign_statement(&Release::of(suite, vectors::now()).unwrap().to_bytes()).to_bytes()
}

/// A review by a key.
pub fn review(reviewer: &str, result: Digest, verdict: Verdict) -> Vec<u8> {
    let record = Review::of(result, verdict, "Looked at.".parse().unwrap(), vectors::now());
    key(reviewer).sign_statement(&record.to_bytes()).to_bytes()
}

/// A withdrawal by a key.
pub fn withdrawal(vendor: &str, result: Digest) -> Vec<u8> {
    let record = Withdrawal::of(result, "Wrong build.".parse().unwrap(), vectors::now());
    key(vendor).sign_statement(&record.to_bytes()).to_bytes()
}

/// A supersession by a key.
pub fn supersession(vendor: &str, result: Digest, by: Digest) -> Vec<u8> {
    let record = Supersession::of(result, by, "Measured again.".parse().unwrap(), vectors::now()).unwrap();
    key(vendor).sign_statement(&record.to_bytes()).to_bytes()
}
