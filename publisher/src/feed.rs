//! The log for readers: entries, tiles, proofs and the view, all of them up to the head that was published.
//!
//! Whatever is asked of it may wait for the store, and so may block; but not what says otherwise.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::body::Bytes;
use smi_schemas::bundle::{Bundle, LogEntry};
use smi_schemas::codes::Code;
use smi_schemas::feed::{Entry, Page};
use smi_schemas::{Digest, Timestamp};
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, Note, NoteKey};
use smi_verifier::proof::TlogProof;
use smi_verifier::receipt::Times;
use smi_verifier::said::Trusted;
use smi_verifier::tile::{TileKind, TilePath, encode_entries, encode_hashes};
use smi_verifier::view::View;

use crate::recover;
use crate::store::{Damage, Store, StoreError, Stored};

/// Entries of one page.
pub const PAGE_ENTRIES: u64 = 100;

/// Entries that are in memory to be folded. A head that was not shown for long has more, and they are folded in parts.
const FOLDED_AT_ONCE: u64 = 1024;

/// A head that readers are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The note, with the cosignatures of witnesses.
    pub note: Note,
    /// What the cosignatures prove; none where no quorum is asked for.
    pub times: Option<Times>,
}

/// A bundle with its log entry, in parts that follow one another: nearly all of it is what was stored, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed(pub [Bytes; 3]);

/// An entry, and the keyring that it is.
type Read = (Entry, Option<Arc<Trusted>>);

/// The log as readers see it, and the fold of its entries.
pub struct Feed {
    store: Arc<dyn Store>,
    tree: Arc<RwLock<Tree>>,
    view: RwLock<View>,
    log: NoteKey,
}

/// Why something could not be told.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It is not there, or not there yet.
    #[error("{what} is not there")]
    Absent {
        /// What was asked for.
        what: &'static str,
    },
}

impl FeedError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Store(_) => Code::PublisherFault,
            Self::Absent { .. } => Code::NotFound,
        }
    }
}

/// What is known of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its index.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf: Hash,
    /// Whether readers are shown it: it is under a published head.
    pub is_published: bool,
}

impl Feed {
    /// The store, the tree over it, and a view of the entries that were published.
    pub fn new(store: Arc<dyn Store>, tree: Arc<RwLock<Tree>>, view: View, log: NoteKey) -> Self {
        Self { store, tree, view: RwLock::new(view), log }
    }

    /// Folds the entries below `size` in, all of them or none: readers are shown no size between two heads.
    pub fn catch_up(&self, size: u64) -> Result<(), FeedError> {
        let shown = self.view().size();
        if size <= shown + FOLDED_AT_ONCE {
            // Readers of the view do not wait for the store.
            let entries = self.read(shown..size)?;
            // The fold is left consistent by whatever panicked: an entry is added whole or not at all.
            fold(&mut self.view.write().unwrap_or_else(PoisonError::into_inner), entries);
            return Ok(());
        }
        let mut next = self.view().clone();
        while next.size() < size {
            let end = size.min(next.size() + FOLDED_AT_ONCE);
            let entries = self.read(next.size()..end)?;
            fold(&mut next, entries);
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have caught up meanwhile.
        if view.size() < size {
            *view = next;
        }
        Ok(())
    }

    fn read(&self, indexes: Range<u64>) -> Result<Vec<Read>, FeedError> {
        let read = |index| {
            let (_, entry) = recover::entry(&*self.store, index)?;
            let keyring = recover::keyring(&*self.store, &entry)?;
            Ok((entry, keyring))
        };
        indexes.map(read).collect()
    }

    /// The fold so far.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries after an index, or from the first.
    pub fn page(&self, after: Option<u64>) -> Result<Page, FeedError> {
        let size = self.view().size();
        let first = after.map_or(0, |after| after.saturating_add(1));
        let end = first.saturating_add(PAGE_ENTRIES).min(size);
        let entries = (first..end).map(|index| self.entry(index)).collect::<Result<_, _>>()?;
        let next_after = (first < end && end < size).then(|| end - 1);
        Ok(Page { size, entries, next_after })
    }

    /// One published entry.
    pub fn entry(&self, index: u64) -> Result<Entry, FeedError> {
        if index >= self.view().size() {
            return Err(FeedError::Absent { what: "the entry" });
        }
        Ok(recover::entry(&*self.store, index)?.1)
    }

    /// The keyring that an entry is, if it is one.
    pub fn keyring(&self, index: u64) -> Result<Option<Arc<Trusted>>, FeedError> {
        Ok(recover::keyring(&*self.store, &self.entry(index)?)?)
    }

    /// Where something is that was logged, published or not.
    pub fn place(&self, payload: &Digest) -> Result<Option<Place>, FeedError> {
        let Some(index) = self.store.index_of(payload)? else { return Ok(None) };
        let (leaf, _) = recover::entry(&*self.store, index)?;
        Ok(Some(Place { index, leaf, is_published: index < self.view().size() }))
    }

    /// A published bundle, as it was signed.
    pub fn bundle(&self, payload: &Digest) -> Result<Vec<u8>, FeedError> {
        let absent = FeedError::Absent { what: "the bundle" };
        match self.store.index_of(payload)? {
            Some(index) if index < self.view().size() => self.store.blob(payload)?.ok_or(absent),
            _ => Err(absent),
        }
    }

    /// What is stored of a published entry.
    pub fn stored(&self, payload: &Digest) -> Result<Stored, FeedError> {
        let absent = || FeedError::Absent { what: "the entry" };
        let index = self.store.index_of(payload)?.filter(|index| *index < self.view().size()).ok_or_else(absent)?;
        let (leaf, blob) = self.store.leaf(index)?.zip(self.store.blob(payload)?).ok_or_else(absent)?;
        Ok(Stored { index, leaf, blob })
    }

    /// The proof of an entry under a head that was published. It waits for nobody.
    pub fn tlog_proof(&self, index: u64, published: &Published) -> Result<TlogProof, FeedError> {
        let hashes = self.tree().inclusion(index, published.checkpoint.size());
        let hashes = hashes.ok_or(FeedError::Absent { what: "the entry" })?;
        Ok(TlogProof { index, hashes, checkpoint: published.note.clone(), extra: None })
    }

    /// Proves what is stored under a head that was published, in the bundle and alone. It waits for nobody.
    pub fn prove(&self, stored: Stored, published: &Published) -> Result<(Completed, TlogProof), FeedError> {
        let Stored { index, leaf, blob } = stored;
        self.check_leaf(index, &leaf)?;
        let proof = self.tlog_proof(index, published)?;
        let entry = LogEntry {
            index,
            log_id: *self.log.key_hash(),
            root: *published.checkpoint.root().as_bytes(),
            size: published.checkpoint.size(),
            hashes: proof.hashes.iter().map(|hash| *hash.as_bytes()).collect(),
            checkpoint: String::from_utf8_lossy(&published.note.to_bytes()).into_owned(),
            body: leaf,
        };
        let completion = Bundle::completion(&blob, &entry);
        let (place, text) = completion.ok_or(StoreError::Damaged { damage: Damage::Blob { index } })?;
        let mut before = Bytes::from(blob);
        let after = before.split_off(place);
        Ok((Completed([before, text.into(), after]), proof))
    }

    /// The proof that an entry is in the tree of a size.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, FeedError> {
        let published = size <= self.view().size();
        let proof = self.tree().inclusion(index, size).filter(|_| published);
        proof.ok_or(FeedError::Absent { what: "the entry, or a tree of this size," })
    }

    /// The proof that the tree of one size contains that of another.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, FeedError> {
        let published = new <= self.view().size();
        let proof = self.tree().consistency(old, new).filter(|_| published);
        proof.ok_or(FeedError::Absent { what: "a tree of one of these sizes" })
    }

    /// The root of the tree of a size that was published.
    pub fn root(&self, size: u64) -> Result<Hash, FeedError> {
        let root = self.tree().root_at(size).filter(|_| size <= self.view().size());
        root.ok_or(FeedError::Absent { what: "a tree of this size" })
    }

    /// The hash of a published entry's leaf.
    pub fn leaf_hash(&self, index: u64) -> Result<Hash, FeedError> {
        let leaf = self.tree().leaf(index).filter(|_| index < self.view().size());
        leaf.ok_or(FeedError::Absent { what: "the entry" })
    }

    /// A tile of the tree that was published.
    pub fn tile(&self, path: &TilePath) -> Result<Vec<u8>, FeedError> {
        let absent = || FeedError::Absent { what: "the tile" };
        if !path.exists_at(self.view().size()) {
            return Err(absent());
        }
        match path.kind() {
            TileKind::Hashes { level } => {
                let hashes = self.tree().hashes(level, path.index(), path.width()).ok_or_else(absent)?;
                encode_hashes(&hashes).map_err(|_| absent())
            }
            TileKind::Entries => {
                let first = path.index() * u64::from(smi_verifier::merkle::TILE_WIDTH);
                let leaves = (first..first + u64::from(path.width()))
                    .map(|index| self.leaf(index))
                    .collect::<Result<Vec<_>, _>>()?;
                encode_entries(&leaves).map_err(|_| absent())
            }
        }
    }

    fn leaf(&self, index: u64) -> Result<Vec<u8>, FeedError> {
        let leaf = self.store.leaf(index)?.ok_or(FeedError::Absent { what: "the leaf" })?;
        self.check_leaf(index, &leaf)?;
        Ok(leaf)
    }

    /// That a leaf hashes to what the tree has. No reader is given another.
    fn check_leaf(&self, index: u64, leaf: &[u8]) -> Result<(), FeedError> {
        if self.tree().leaf(index) == Some(Hash::of_leaf(leaf)) {
            Ok(())
        } else {
            Err(StoreError::Damaged { damage: Damage::Leaf { index } }.into())
        }
    }
}

fn fold(view: &mut View, entries: Vec<Read>) {
    for (entry, keyring) in entries {
        // Somebody else may have caught up meanwhile.
        if entry.index == view.size() {
            view.add(&entry, keyring.as_ref().map(|trusted| &trusted.keyring));
        }
    }
}

impl Published {
    /// A head that no witness is asked about.
    pub fn unwitnessed(head: &crate::log::Head) -> Option<Self> {
        let note = Note::read(&head.note).ok()?;
        Some(Self { checkpoint: head.checkpoint.clone(), note, times: None })
    }

    /// The time that witnesses prove the head to be of, if they do.
    pub fn current_at(&self) -> Option<Timestamp> {
        self.times.map(|times| times.current_at)
    }
}

#[cfg(test)]
mod tests;
