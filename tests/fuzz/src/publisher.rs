//! A publisher in the fuzzer's process: its roads, over a store and a cell in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use smi_keys::keyring::Keyring;
use smi_publisher::cell::{Cell, CellError};
use smi_publisher::feed::{Feed, Published};
use smi_publisher::http::{Publisher, router};
use smi_publisher::intake::Intake;
use smi_publisher::log::{Head, Log, Signer, Submission};
use smi_publisher::meters::Meters;
use smi_publisher::recover::Recovered;
use smi_publisher::store::{Addition, CommitError, MAX_BATCH, MAX_BLOB_BYTES, MAX_ENTRY_BYTES, MAX_LEAF_BYTES};
use smi_publisher::store::{Store, StoreError};
use smi_schemas::Digest;
use smi_schemas::record::{KeyringChange, Review, Verdict};
use smi_schemas::statement::Statement;
use smi_verifier::receipt::log_key;
use smi_verifier::said::{verify_first, verify_said};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::{ORIGIN, SOUND, key, now, payload, publishing, unwitnessed};

/// Entries of the log that every publisher begins with.
pub const ENTRIES: u64 = 4;

/// The run of the second result. The seeds have one that stands in the place of the first.
const SECOND_RUN: &str = "ffffffffffffffffffffffffffffffff";

/// A publisher that takes submissions. Dropped, it ends.
pub struct Running {
    /// Its roads.
    pub roads: Router,
    showing: JoinHandle<()>,
    // Closed, it would end every event stream.
    _stop: watch::Sender<bool>,
}

impl Running {
    /// A publisher of a log in a store, of which it has a copy. It needs a runtime around it.
    pub fn start(store: &Memory) -> Self {
        let store: Arc<dyn Store> = Arc::new(store.copy());
        let recovered = Recovered::read(&*store, store.head().expect("a head")).expect("a store");
        let signer = Signer { origin: ORIGIN.to_owned(), key: key("log") };
        let cell = Box::new(MemoryCell::signed(&recovered, &signer));
        let (log, view) = Log::start(Arc::clone(&store), cell, signer, recovered).expect("a log");
        let feed = Arc::new(Feed::new(store, log.tree(), view, log_key(unwitnessed()).expect("a log key")));
        let (show, published) = watch::channel(Some(shown(&feed, &log.head().borrow())));
        let (mut heads, follower) = (log.head(), Arc::clone(&feed));
        let showing = tokio::spawn(async move {
            while heads.changed().await.is_ok() {
                let head = Arc::clone(&heads.borrow_and_update());
                show.send_replace(Some(shown(&follower, &head)));
            }
        });
        let (stop, stopped) = watch::channel(false);
        let roads = router(Arc::new(Publisher {
            intake: Intake::new(publishing().clone(), u32::MAX, log.clone()).expect("threads"),
            feed,
            signed: log.head(),
            published,
            meters: Arc::new(Meters::default()),
            patience: Duration::from_mins(1),
            stop: stopped,
            demonstration: true,
            clock: now,
            body_timeout: Duration::from_mins(1),
            streams: Arc::new(Semaphore::new(2)),
        }));
        Self { roads, showing, _stop: stop }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.showing.abort();
    }
}

/// A head that readers are shown, as no witness is asked for.
fn shown(feed: &Feed, head: &Head) -> Arc<Published> {
    feed.catch_up(head.checkpoint.size()).expect("entries up to the head");
    Arc::new(Published::unwitnessed(head).expect("a note"))
}

/// The store of a log of [`ENTRIES`]: a keyring, two results that wait for a review, and that of the first.
pub async fn stocked() -> Memory {
    let store = Memory::default();
    let signer = Signer { origin: ORIGIN.to_owned(), key: key("log") };
    let (log, _) = Log::start(Arc::new(store.clone()), Box::new(MemoryCell::default()), signer, Recovered::default())
        .expect("a new log");
    log.submit(Submission::new(verify_first(&first_keyring(unwitnessed())).expect("a keyring")))
        .await
        .expect("the first");
    let mut statement = Statement::read(&payload(SOUND)).expect("a result");
    let result = key("careful-vendor").sign_statement(&statement.to_bytes());
    statement.predicate.run.id = SECOND_RUN.parse().expect("a run id");
    let second = key("careful-vendor").sign_statement(&statement.to_bytes());
    let reason = "Looked at.".parse().expect("a reason");
    let review = Review::of(result.payload_digest(), Verdict::Accept, reason, now());
    for bundle in [result, second, key("reviewer").sign_statement(&review.to_bytes())] {
        let bundle = bundle.to_bytes();
        let verified = verify_said(&bundle, publishing(), now()).expect("it is sound");
        log.submit(Submission::new(verified)).await.expect("it is admitted");
    }
    log.close().await;
    store
}

/// The first keyring of a log, signed by its root key.
pub fn first_keyring(keyring: &Keyring) -> Vec<u8> {
    let change = KeyringChange::of(keyring.version(), &keyring.to_bytes(), None, now()).expect("a keyring");
    key("root").sign_statement(&change.to_bytes()).to_bytes()
}

/// A store in memory. Clones share what is in it.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Clone, Default)]
struct Contents {
    additions: Vec<Addition>,
    index: BTreeMap<Digest, usize>,
}

impl Memory {
    /// Another store with the same in it.
    fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.contents(Contents::clone))))
    }

    fn contents<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.0.lock().expect("nobody panicked"))
    }

    fn addition<T>(&self, index: u64, part: impl FnOnce(&Addition) -> T) -> Option<T> {
        self.contents(|contents| Some(part(contents.additions.get(usize::try_from(index).ok()?)?)))
    }
}

impl Store for Memory {
    fn head(&self) -> Result<u64, StoreError> {
        Ok(self.contents(|contents| contents.additions.len() as u64))
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.addition(index, |addition| addition.entry.clone()))
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.addition(index, |addition| addition.leaf.clone()))
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.contents(|contents| contents.index.get(digest).map(|index| *index as u64)))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.contents(|contents| contents.index.get(digest).map(|index| contents.additions[*index].blob.clone())))
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        let mut contents = self.0.lock().expect("nobody panicked");
        assert_eq!(contents.additions.len() as u64, expected_head);
        assert!(batch.len() <= MAX_BATCH);
        for addition in batch {
            let Addition { digest, entry, leaf, blob } = addition;
            assert!(entry.len() <= MAX_ENTRY_BYTES && leaf.len() <= MAX_LEAF_BYTES && blob.len() <= MAX_BLOB_BYTES);
            let index = contents.additions.len();
            assert_eq!(contents.index.insert(*digest, index), None, "twice in the store");
            contents.additions.push(addition.clone());
        }
        Ok(())
    }
}

/// A cell in memory, with what is in it.
#[derive(Default)]
pub struct MemoryCell(pub Option<Vec<u8>>);

impl MemoryCell {
    /// What a log with these entries has signed last.
    fn signed(recovered: &Recovered, signer: &Signer) -> Self {
        use smi_verifier::note::{Checkpoint, sign_checkpoint};
        let tree = &recovered.tree;
        let checkpoint = Checkpoint::new(&signer.origin, tree.size(), tree.root()).expect("a checkpoint");
        Self(Some(sign_checkpoint(&checkpoint, &signer.key).to_bytes()))
    }
}

impl Cell for MemoryCell {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        Ok(self.0.clone())
    }

    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError> {
        assert_eq!(self.0.as_deref(), expected);
        self.0 = Some(new.to_vec());
        Ok(())
    }
}
