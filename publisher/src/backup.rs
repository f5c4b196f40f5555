//! A copy of a log from what its publisher serves, and the way back.
//!
//! A publisher that runs has its store to itself, and what sled has on disk at a moment is no store. But everything
//! that a store holds follows from the bundles in it ([`crate::replay`]), and bundles are served; so is the signed
//! checkpoint that says which they are. Therefore [`backup`] is a reader like any other: it needs no access to the
//! publisher's machine and no key, takes nothing on trust but the log's first keyring, and what it wrote is what was
//! published, or it would not have been written. What was signed and not yet published is not in it.
//!
//! ```text
//! DIR/store        a store like a publisher's
//! DIR/checkpoint   the newest checkpoint that it was held against
//! ```
//!
//! The next backup into the same directory fetches what is new. The steps, and what a crash leaves:
//!
//! 1. the checkpoint: signed by the key that the log's keyring names, over a tree that contains what is here already;
//! 2. hashes up to its size, which lead to its root. Until here nothing is written;
//! 3. leaves and bundles: a leaf has its hash, a bundle makes the leaf and may be an entry. They are committed in
//!    batches; a crash leaves a part of what was published, and the next backup goes on from there;
//! 4. the quorum: which witnesses must have cosigned the checkpoint is said by the keyring in force at its size, so it is
//!    known when all is replayed, and asked before the last batch is committed;
//! 5. the checkpoint is written, last.
//!
//! What this reader alone is shown must not get into the backup in the batches before the last one: it would never again
//! agree with what is published. Where the checkpoint has not the quorum of the keyring that is in force before what is
//! new, step 3 is therefore done twice, and the first time nothing is committed.
//!
//! [`restore`] is the same in the other direction, held against the cell, which is kept apart: the last checkpoint
//! that was signed. A backup that lacks anything of it is refused, for a log that went on from there would sign other
//! entries at indexes that have some. What a directory has already is compared and what it lacks is appended: a crash
//! leaves a part, with which no publisher starts, as the cell says that there is more; restoring goes on from there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::try_join_all;
use reqwest::{Client, StatusCode};
use smi_keys::files::{self, FileError};
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Code;
use smi_schemas::leaf::Leaf;
use smi_schemas::names::Url;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::merkle::{Hash, TILE_WIDTH, Tree};
use smi_verifier::note::{Checkpoint, MAX_NOTE_BYTES, Note, NoteKey, SignedCheckpoint, open};
use smi_verifier::policy::Suites;
use smi_verifier::receipt::{log_key, quorum};
use smi_verifier::said::{Trusted, verify_first};
use smi_verifier::tile::{
    MAX_ENTRY_TILE_BYTES, MAX_HASH_TILE_BYTES, TileKind, TilePath, decode_entries, decode_hashes,
};

use crate::admission::{is_demonstration, policy};
use crate::log::MAX_BATCH_BYTES;
use crate::outbound::{self, causes};
use crate::recover::{self, Recovered};
use crate::replay::{Replay, WrongEntry};
use crate::store::{Addition, CommitError, MAX_BATCH, Mark, OpenError, SledStore, Store, StoreError};

/// How long the publisher may take to answer a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bundles that are fetched at once.
const AT_ONCE: usize = 8;

/// What a backup has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// What it was held against.
    pub checkpoint: Checkpoint,
    /// Entries that it did not have before.
    pub new: u64,
    /// The digest of the log's first keyring, which was believed.
    pub first: Digest,
}

/// Why a log was not backed up. What was backed up before is there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing, or not everything, came back.
    #[error("{path}: {why}")]
    Unreachable {
        /// What was asked for.
        path: String,
        /// What happened.
        why: String,
    },
    /// What is served is not a log, or not the one that is in the backup.
    #[error("{0}")]
    Differs(String),
    /// The witnesses did not see what is served.
    #[error("{0}")]
    Unwitnessed(String),
    /// Something is served as an entry that is none.
    #[error("{0}")]
    Entry(#[from] WrongEntry),
    /// The backup's store was not opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// It was not read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It was not written.
    #[error("{0}")]
    Commit(#[from] CommitError),
    /// The checkpoint was not written.
    #[error("{0}")]
    File(#[from] FileError),
}

/// Why a backup was not brought back. Nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory has an entry that the backup has not.
    #[error("entry {index} is there, and the backup has another or none")]
    Occupied {
        /// The first such entry.
        index: u64,
    },
    /// One of the stores was not read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It was not written.
    #[error("{0}")]
    Commit(#[from] CommitError),
}

impl BackupError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code::PublisherUnreachable,
            Self::Differs(_) => Code::BackupDiffers,
            Self::Unwitnessed(_) => Code::BackupUnwitnessed,
            Self::Entry(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Commit(error) => error.code(),
            Self::File(error) => error.code(),
        }
    }
}

impl RestoreError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Occupied { .. } => Code::RestoreOccupied,
            Self::Store(error) => error.code(),
            Self::Commit(error) => error.code(),
        }
    }
}

/// The store of a backup in a directory.
pub fn store_of(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// The newest checkpoint that a backup was held against.
pub fn checkpoint_of(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

/// Backs a log up into a directory, whether or not there is a backup of it already.
pub async fn backup(from: &Url, folder: &Path, suites: Suites, now: Timestamp) -> Result<BackedUp, BackupError> {
    let remote = Remote::new(from)?;
    let bytes = remote.fetch("checkpoint", MAX_NOTE_BYTES).await?;
    let path = store_of(folder);
    let mark = Mark::of(&path)?;
    let store = mark.map(|mark| SledStore::open(&path, mark)).transpose()?;
    let anchor = match store.as_ref().map(Anchor::of).transpose()?.flatten() {
        Some(anchor) => anchor,
        None => remote.anchor(&bytes).await?,
    };
    let is_ours = Mark { demonstration: is_demonstration(anchor.log.name()) };
    if mark.is_some_and(|mark| mark != is_ours) {
        return Err(differs(&format!(
            "{} does not belong into the backup of a log of another kind",
            anchor.log.name()
        )));
    }
    let read =
        |store: Option<&SledStore>| store.map_or_else(|| Ok(Recovered::default()), |store| Recovered::read(store, 0));
    let recovered = read(store.as_ref())?;
    let had = recovered.tree.size();
    let signed = signed(&bytes, &anchor.log, had)?;
    let size = signed.checkpoint().size();
    let tree = remote.tree(recovered.tree.clone(), &signed).await?;
    let admits = is_ours.demonstration;
    let replay = |recovered| Replay::after(recovered, policy(suites.clone(), admits, admits), now);

    let in_force = recovered.ledger.trusted().map_or(&anchor.first.keyring, |trusted| &trusted.keyring);
    // Where nobody had to cosign so far, a keyring among what is new may say that somebody must.
    if in_force.quorum().is_none() || quorum(&signed, in_force).is_err() {
        let replay = replay(read(store.as_ref())?);
        Copy { remote: &remote, signed: &signed, tree: &tree, replay, store: None }.run().await?;
    }
    // A crash from here on leaves entries of that tree, from the first one on.
    let store = store.map_or_else(|| SledStore::open(&path, is_ours), Ok)?;
    let replay = replay(recovered);
    Copy { remote: &remote, signed: &signed, tree: &tree, replay, store: Some(&store) }.run().await?;

    // A crash before here leaves entries of a newer tree than the checkpoint's.
    files::replace(&checkpoint_of(folder), &bytes)?;
    Ok(BackedUp { checkpoint: signed.checkpoint().clone(), new: size - had, first: anchor.first.digest })
}

/// The checkpoint, if the log's key signed it and it has no fewer entries than are here.
fn signed(bytes: &[u8], log: &NoteKey, here: u64) -> Result<SignedCheckpoint, BackupError> {
    let signed = open(bytes, log).map_err(|error| differs(&format!("the checkpoint: {error}")))?;
    let served = signed.checkpoint().size();
    if served < here {
        return Err(differs(&format!("{served} entries are served, and the backup has {here}")));
    }
    Ok(signed)
}

/// Which log it is.
struct Anchor {
    log: NoteKey,
    /// Its first keyring.
    first: Trusted,
}

impl Anchor {
    /// That of a store, if it has entries.
    fn of(store: &SledStore) -> Result<Option<Self>, BackupError> {
        if store.head()? == 0 {
            return Ok(None);
        }
        let (_, entry) = recover::entry(store, 0)?;
        let trusted = recover::keyring(store, &entry)?;
        trusted.and_then(|trusted| Self::named_by(&trusted)).map(Some).ok_or_else(|| differs("no log in the backup"))
    }

    /// The log that its first keyring names.
    fn named_by(first: &Trusted) -> Option<Self> {
        Some(Self { log: log_key(&first.keyring)?, first: first.clone() })
    }
}

/// A backup that is being made.
struct Copy<'a> {
    remote: &'a Remote,
    signed: &'a SignedCheckpoint,
    /// What was signed.
    tree: &'a Tree,
    replay: Replay,
    /// None, where it is only found out whether it may be made.
    store: Option<&'a SledStore>,
}

impl Copy<'_> {
    /// Adds everything that is new. A crash leaves the batches that were committed.
    async fn run(mut self) -> Result<(), BackupError> {
        let (had, size) = (self.replay.tree().size(), self.signed.checkpoint().size());
        let mut batch = Batch::default();
        for tile in TilePath::needed(size, had..size).filter(|tile| tile.kind() == TileKind::Entries) {
            self.entries(&tile, &mut batch).await?;
        }
        self.is_witnessed()?;
        self.commit(&mut batch)
    }

    /// Replays what is new of a tile's entries, and puts it into a batch; one that is full is committed.
    async fn entries(&mut self, tile: &TilePath, batch: &mut Batch) -> Result<(), BackupError> {
        let bytes = self.remote.tile(tile, MAX_ENTRY_TILE_BYTES).await?;
        let leaves = decode_entries(&bytes, tile.width()).map_err(|error| differs(&format!("{tile}: {error}")))?;
        let here = self.replay.tree().size();
        let new: Vec<_> = (first_of(tile)..).zip(leaves).filter(|(index, _)| *index >= here).collect();
        for some in new.chunks(AT_ONCE) {
            let wanted = some.iter().map(|(index, leaf)| self.remote.bundle(*index, leaf, self.tree));
            let bundles = try_join_all(wanted).await?;
            for ((index, leaf), bundle) in some.iter().zip(bundles) {
                let addition = self.replay.next(&bundle)?.addition;
                if addition.leaf != *leaf {
                    return Err(differs(&format!("the bundle of entry {index} makes another leaf")));
                }
                if batch.is_full_with(&addition) {
                    self.commit(batch)?;
                }
                batch.push(addition);
            }
        }
        Ok(())
    }

    /// Whether the checkpoint has the quorum of the keyring that is in force at its size.
    fn is_witnessed(&self) -> Result<(), BackupError> {
        let Some(trusted) = self.replay.ledger().trusted() else { return Err(differs("the log has no keyring")) };
        match quorum(self.signed, &trusted.keyring) {
            Ok(_) => Ok(()),
            Err(refused) => {
                let why = refused.findings.into_iter().next().map_or_else(String::new, |finding| finding.detail);
                Err(BackupError::Unwitnessed(why))
            }
        }
    }

    fn commit(&self, batch: &mut Batch) -> Result<(), BackupError> {
        let Some(store) = self.store else {
            *batch = Batch::default();
            return Ok(());
        };
        Ok(batch.commit(store)?)
    }
}

/// Puts into a store what a backup has and it has not. Both are read, and nothing is replaced.
pub fn restore(backup: &dyn Store, into: &dyn Store) -> Result<u64, RestoreError> {
    let (size, there) = (backup.head()?, into.head()?);
    for index in 0..there {
        if addition(backup, index)?.is_none_or(|ours| addition(into, index).ok().flatten() != Some(ours)) {
            return Err(RestoreError::Occupied { index });
        }
    }
    let mut batch = Batch::default();
    for index in there..size {
        let Some(addition) = addition(backup, index)? else { break };
        if batch.is_full_with(&addition) {
            batch.commit(into)?;
        }
        batch.push(addition);
    }
    batch.commit(into)?;
    Ok(size - there)
}

/// Everything of an entry; nothing beyond the head.
fn addition(store: &dyn Store, index: u64) -> Result<Option<Addition>, StoreError> {
    let Some(entry) = store.entry(index)? else { return Ok(None) };
    let digest = recover::entry(store, index)?.1.payload;
    let leaf = store.leaf(index)?.unwrap_or_default();
    let blob = store.blob(&digest)?.unwrap_or_default();
    Ok(Some(Addition { digest, entry, leaf, blob }))
}

/// Additions that are committed together, one after the other where the store ends.
#[derive(Default)]
struct Batch {
    additions: Vec<Addition>,
    bytes: usize,
}

impl Batch {
    fn is_full_with(&self, next: &Addition) -> bool {
        self.additions.len() == MAX_BATCH || self.bytes + next.blob.len() > MAX_BATCH_BYTES
    }

    fn push(&mut self, addition: Addition) {
        self.bytes += addition.blob.len();
        self.additions.push(addition);
    }

    fn commit(&mut self, store: &dyn Store) -> Result<(), CommitError> {
        let Self { additions, .. } = std::mem::take(self);
        if additions.is_empty() { Ok(()) } else { store.commit(store.head()?, &additions) }
    }
}

/// A publisher that is asked.
struct Remote {
    client: Client,
    base: String,
}

impl Remote {
    fn new(from: &Url) -> Result<Self, BackupError> {
        let client = outbound::client().timeout(REQUEST_TIMEOUT).build();
        let client = client.map_err(|error| unreachable(from.as_str(), &error))?;
        Ok(Self { client, base: from.as_str().to_owned() })
    }

    /// The bytes at a path below the publisher's address.
    async fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, BackupError> {
        let failed = |error: &dyn std::error::Error| unreachable(path, error);
        let mut answer =
            self.client.get(format!("{}/{path}", self.base)).send().await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            let why = format!("the publisher answered {}", answer.status());
            return Err(BackupError::Unreachable { path: path.to_owned(), why });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                return Err(differs(&format!("{path} has more than {limit} bytes")));
            }
        }
        Ok(bytes)
    }

    async fn tile(&self, tile: &TilePath, limit: usize) -> Result<Vec<u8>, BackupError> {
        self.fetch(&format!("tile/{tile}"), limit).await
    }

    /// The bundle of a leaf, which is one of the tree.
    async fn bundle(&self, index: u64, leaf: &[u8], tree: &Tree) -> Result<Vec<u8>, BackupError> {
        if tree.leaf(index) != Some(Hash::of_leaf(leaf)) {
            return Err(differs(&format!("the leaf of entry {index} is not the one that was signed")));
        }
        self.bundle_of(leaf).await
    }

    async fn bundle_of(&self, leaf: &[u8]) -> Result<Vec<u8>, BackupError> {
        let leaf = Leaf::read(leaf).map_err(|error| differs(&format!("a leaf: {error}")))?;
        self.fetch(&format!("v1/bundles/{}", leaf.payload()), MAX_BUNDLE_BYTES).await
    }

    /// The tree that was signed, from what is here of it and the hashes that are served.
    async fn tree(&self, mut tree: Tree, signed: &SignedCheckpoint) -> Result<Tree, BackupError> {
        let size = signed.checkpoint().size();
        let hashes = |tile: &TilePath| tile.kind() == TileKind::Hashes { level: 0 };
        for tile in TilePath::needed(size, tree.size()..size).filter(hashes) {
            let bytes = self.tile(&tile, MAX_HASH_TILE_BYTES).await?;
            let hashes = decode_hashes(&bytes, tile.width()).map_err(|error| differs(&format!("{tile}: {error}")))?;
            for (index, hash) in (first_of(&tile)..).zip(hashes) {
                if index == tree.size() {
                    tree.push(hash);
                }
            }
        }
        if (tree.size(), tree.root()) == (size, *signed.checkpoint().root()) {
            return Ok(tree);
        }
        Err(differs(&format!("the {size} entries that are served do not begin with those of the backup")))
    }

    /// Which log it is, by its first entry, which nothing but itself speaks for.
    async fn anchor(&self, checkpoint: &[u8]) -> Result<Anchor, BackupError> {
        let note = Note::read(checkpoint).map_err(|error| differs(&format!("the checkpoint: {error}")))?;
        // Only its size, to know the tile by.
        let checkpoint = Checkpoint::read(note.text()).map_err(|error| differs(&format!("the checkpoint: {error}")))?;
        let tile = TilePath::needed(checkpoint.size(), 0..1).find(|tile| tile.kind() == TileKind::Entries);
        let tile = tile.ok_or_else(|| differs("the log has no entries"))?;
        let bytes = self.tile(&tile, MAX_ENTRY_TILE_BYTES).await?;
        let leaves = decode_entries(&bytes, tile.width()).map_err(|error| differs(&format!("{tile}: {error}")))?;
        let bundle = self.bundle_of(leaves.first().copied().unwrap_or_default()).await?;
        let first = verify_first(&bundle);
        let first = first.map_err(|refused| WrongEntry::Unverified { index: 0, findings: refused.findings })?;
        let anchor = first.said().keyring().and_then(|keyring| Anchor::named_by(keyring));
        anchor.ok_or_else(|| differs("the log's first keyring names no log"))
    }
}

/// The index of a tile's first entry.
fn first_of(tile: &TilePath) -> u64 {
    tile.index().saturating_mul(u64::from(TILE_WIDTH))
}

fn differs(why: &str) -> BackupError {
    BackupError::Differs(why.to_owned())
}

fn unreachable(path: &str, error: &dyn std::error::Error) -> BackupError {
    BackupError::Unreachable { path: path.to_owned(), why: causes(error) }
}
