use std::sync::{Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use axum::body::to_bytes;
use axum::http::header::RETRY_AFTER;
use serde_json::Value;
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::receipt::log_key;
use smi_verifier::said::verify_first;

use super::*;
use crate::cell::{Cell, CellError};
use crate::honest;
use crate::intake::{DAILY_QUOTA, MAX_UNVERIFIED_BYTES, Room};
use crate::log::{Log, Signer, Submission};
use crate::recover::Recovered;
use crate::store::memory::{Fault, Memory};
use crate::store::{Addition, CommitError, Damage, Store, StoreError};

/// A cell that nobody reads again.
struct Forgetful;

impl Cell for Forgetful {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        Ok(None)
    }

    fn swap(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<(), CellError> {
        Ok(())
    }
}

/// A store that knows who asked it.
#[derive(Default)]
struct Watched {
    store: Memory,
    by: Mutex<Vec<ThreadId>>,
}

impl Watched {
    fn by(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.by.lock().unwrap()
    }

    fn asked(&self) -> &Memory {
        self.by().push(thread::current().id());
        &self.store
    }
}

impl Store for Watched {
    fn head(&self) -> Result<u64, StoreError> {
        self.asked().head()
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked().entry(index)
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked().leaf(index)
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.asked().index_of(digest)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked().blob(digest)
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        self.asked().commit(expected_head, batch)
    }
}

/// A publisher whose first entry is published, and of which nothing later is.
struct Bench {
    store: Arc<Watched>,
    publisher: Arc<Publisher>,
    _stop: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Self {
        let store = Arc::new(Watched::default());
        let signer = Signer { origin: honest::ORIGIN.to_owned(), key: honest::key("log") };
        let readable = Arc::clone(&store) as Arc<dyn Store>;
        let (log, view) = Log::start(Arc::clone(&readable), Box::new(Forgetful), signer, Recovered::default()).unwrap();
        log.submit(Submission::new(verify_first(&honest::first()).unwrap())).await.unwrap();
        let feed = Arc::new(Feed::new(readable, log.tree(), view, log_key(&honest::keyring()).unwrap()));
        feed.catch_up(1).unwrap();
        let shown = Published::unwitnessed(&log.head().borrow()).map(Arc::new);
        let policy = Policy::of_log(honest::keyring(), Suites::default());
        let (stop, stopped) = watch::channel(false);
        let publisher = Publisher {
            intake: Intake::new(policy, DAILY_QUOTA, log.clone()).unwrap(),
            feed,
            signed: log.head(),
            published: watch::channel(shown).1,
            meters: Arc::default(),
            patience: Duration::ZERO,
            stop: stopped,
            demonstration: false,
            clock: honest::now,
            body_timeout: BODY_TIMEOUT,
            streams: Arc::new(Semaphore::new(2)),
        };
        Self { store, publisher: Arc::new(publisher), _stop: stop }
    }

    async fn submit(&self, bundle: Vec<u8>) -> Response {
        let Roads { publisher, reads, .. } = self.roads();
        submit(State(publisher), State(reads), Body::from(bundle)).await
    }

    fn roads(&self) -> Roads {
        Roads::new(Arc::clone(&self.publisher))
    }

    /// The code that `/readyz` answers with, if not that it is ready.
    async fn unready(&self) -> Option<Value> {
        match ready(State(Arc::clone(&self.publisher)), RawQuery(None)).await {
            Ok(_) => None,
            Err(problem) => Some(code(problem.into_response()).await),
        }
    }
}

async fn code(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "5");
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["code"].clone()
}

#[tokio::test]
async fn readiness_says_what_stands_in_the_way() {
    let bench = Bench::new().await;
    assert_eq!(bench.unready().await, None);
    bench.store.store.fail_next([Some(Fault::Full), None, Some(Fault::UnknownAndDrop)]);
    assert_eq!(code(bench.submit(honest::release(1)).await).await, "store-full");
    assert_eq!(bench.unready().await, Some("store-full".into()));
    assert_eq!(bench.submit(honest::release(2)).await.status(), StatusCode::ACCEPTED);
    assert_eq!(bench.unready().await, None, "there is room again");
    assert_eq!(code(bench.submit(honest::release(3)).await).await, "log-stopped");
    assert_eq!(bench.unready().await, Some("log-stopped".into()));
}

#[tokio::test]
async fn bodies_are_not_read_where_no_room_is_left_for_them() {
    let bench = Bench::new().await;
    let mut held = Room::default();
    bench.publisher.intake.hold(&mut held, MAX_UNVERIFIED_BYTES - 100).unwrap();
    assert_eq!(code(bench.submit(honest::release(1)).await).await, "publisher-busy");
    drop(held);
    assert_eq!(bench.submit(honest::release(1)).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_store_is_not_asked_where_sockets_are_waited_for() {
    let bench = Bench::new().await;
    let payload = Digest::of(&smi_schemas::bundle::Bundle::read(&honest::first()).unwrap().payload);
    let Roads { publisher, reads, rendered } = bench.roads();
    bench.store.by().clear();
    let (state, part, query) =
        (|| State(reads.clone()), || Part(payload.to_string()), |query: &str| RawQuery(Some(query.to_owned())));
    for response in [
        bundle(state(), part(), HeaderMap::new()).await,
        completed(State(Arc::clone(&publisher)), state(), part()).await,
        tlog_proof(State(Arc::clone(&publisher)), state(), part()).await,
        tile(state(), Part("entries/000.p/1".to_owned())).await,
        lookup(state(), query(&format!("sha256={}", payload.hex()))).await,
        inclusion(state(), query("index=0&size=1")).await,
        consistency(state(), query("old=1&new=1")).await,
        keyring(state()).await,
        feed(state(), RawQuery(None)).await,
        view(State(Roads { publisher, reads: reads.clone(), rendered })).await,
        Ok(bench.submit(honest::first()).await),
    ] {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    assert!(!bench.store.by().is_empty() && !bench.store.by().contains(&thread::current().id()));
}

#[tokio::test]
async fn a_view_is_made_once_for_a_size() {
    let bench = Bench::new().await;
    let (feed, rendered) = (&bench.publisher.feed, Rendered::new(false));
    for form in [Rendered::json, Rendered::page] {
        let first = form(&rendered, feed).unwrap();
        assert_eq!(form(&rendered, feed).unwrap().as_ptr(), first.as_ptr());
    }
    let before = rendered.json(feed).unwrap();
    bench.submit(honest::release(1)).await;
    feed.catch_up(2).unwrap();
    let after = rendered.json(feed).unwrap();
    assert!(before != after && after == feed.view().document().to_bytes());
}

#[test]
fn damage_is_told_to_whoever_operates_the_publisher() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let (writer, damage) = (lines.clone(), StoreError::Damaged { damage: Damage::Leaf { index: 7 } });
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        failed(&FeedError::Absent { what: "the entry" });
        failed(&FeedError::Store(damage));
    });
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("ERROR") && lines.contains("store-damaged") && lines.contains("entry 7"), "{lines}");
}

#[test]
fn damage_that_a_commit_finds_keeps_its_code() {
    let damage = StoreError::Damaged { damage: Damage::Head };
    assert_eq!(CommitError::from(damage).code(), Code::StoreDamaged);
}
