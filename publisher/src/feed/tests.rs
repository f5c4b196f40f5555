use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, Weak};

use smi_verifier::ledger::Ledger;
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::receipt::log_key;
use smi_verifier::said::verify_first;

use super::*;
use crate::honest;
use crate::log::Submission;
use crate::replay::Replay;
use crate::store::memory::Memory;
use crate::store::{Addition, CommitError, MAX_BATCH};

/// A store that looks, whenever it is read, whether the view can be.
#[derive(Default)]
struct Looking {
    store: Memory,
    feed: OnceLock<Weak<Feed>>,
    reads: AtomicUsize,
}

impl Looking {
    fn looked(&self) -> &Memory {
        if let Some(feed) = self.feed.get().and_then(Weak::upgrade) {
            assert!(feed.view.try_read().is_ok(), "readers of the view wait for the store");
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        &self.store
    }
}

impl Store for Looking {
    fn head(&self) -> Result<u64, StoreError> {
        self.looked().head()
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.looked().entry(index)
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.looked().leaf(index)
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.looked().index_of(digest)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.looked().blob(digest)
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        self.looked().commit(expected_head, batch)
    }
}

#[test]
fn what_is_published_is_read_before_anybody_has_to_wait() {
    let first = honest::first();
    let first = verify_first(&first).unwrap();
    let entry = Ledger::default().admit(first.said()).unwrap();
    let Submission { leaf, hash, blob, .. } = Submission::new(first);
    let store = Arc::new(Looking::default());
    let addition = Addition { digest: entry.payload, entry: recover::encode(&hash, &entry), leaf, blob };
    store.commit(0, &[addition]).unwrap();
    let mut tree = Tree::default();
    tree.push(hash);
    let (readable, tree) = (Arc::clone(&store) as Arc<dyn Store>, Arc::new(RwLock::new(tree)));
    let feed = Arc::new(Feed::new(readable, tree, View::default(), log_key(&honest::keyring()).unwrap()));
    store.feed.set(Arc::downgrade(&feed)).unwrap();

    assert!(matches!(feed.leaf_hash(0), Err(FeedError::Absent { .. })), "it is in the tree, and not published");
    feed.catch_up(1).unwrap();
    assert!(store.reads.load(Ordering::SeqCst) > 0);
    assert_eq!((feed.view().size(), feed.leaf_hash(0).unwrap()), (1, hash));
    feed.catch_up(1).unwrap();
    assert_eq!(feed.view().size(), 1, "what is there is not added again");
}

#[test]
fn a_head_that_was_not_shown_for_long_is_folded_in_parts() {
    let mut replay = Replay::new(Policy::of_log(honest::keyring(), Suites::default()), honest::now());
    let size = 2 * FOLDED_AT_ONCE + 1;
    let bundles = std::iter::once(honest::first()).chain((1..size).map(honest::release));
    let additions: Vec<_> = bundles.map(|bundle| replay.next(&bundle).unwrap().addition).collect();
    let store = Arc::new(Memory::default());
    for batch in additions.chunks(MAX_BATCH) {
        store.commit(store.head().unwrap(), batch).unwrap();
    }
    let tree = Arc::new(RwLock::new(replay.tree().clone()));
    let feed = Feed::new(store, tree, View::default(), log_key(&honest::keyring()).unwrap());
    assert!(feed.catch_up(size + 1).is_err(), "there is no such entry");
    assert_eq!(feed.view().size(), 0, "all of them or none");
    feed.catch_up(size).unwrap();
    assert_eq!(feed.view().size(), size);
    let page = feed.page(Some(size - 3)).unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [size - 2, size - 1]);
}
