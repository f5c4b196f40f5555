//! Where the log's entries and the bundles behind them are kept.
//!
//! A store is a sequence of *entries*, numbered from 0 without a hole, and for each entry one *leaf* and one *blob*. The
//! blob is found by the digest that was given with it. All are bytes that the store does not look into; an entry is
//! what is read of all of them when a publisher starts, so it is small and lies beside the others, while leaves and
//! blobs are read when somebody asks. What is in it never changes
//! and is never removed; the only thing that can be done to a store is to append to it.
//!
//! An engine is one file beside this one and keeps these promises, which [`contract()`] tests:
//!
//! - [`Store::commit`] appends a batch as a whole or not at all, and only to the head that the caller names;
//! - when it returns `Ok`, **the batch survives a power cut**, not only the end of the process;
//! - readers, on any thread, see an entry, its blob and its place in the index together, and only once they are durable;
//! - an error says whether the store is as it was ([`CommitError::state_known`]). When that is not known, the store
//!   refuses every later commit, and may refuse to read: close it, open it again, and look.
//!
//! A store lies in a [`folder`] that says what it is: an official one or a demonstration, for ever.
//!
//! Queries never reach the store. Whoever wants to know more than these calls tell folds the entries once and keeps
//! what came of it.

pub mod contract;
pub mod folder;
#[cfg(test)]
pub(crate) mod memory;
pub mod sled;

use std::collections::BTreeSet;

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::digest::hex;

pub use self::contract::contract;
pub use self::folder::{Mark, OpenError};
pub use self::sled::SledStore;

/// Bytes of the largest entry.
pub const MAX_ENTRY_BYTES: usize = 4096;

/// Bytes of the largest leaf.
pub const MAX_LEAF_BYTES: usize = smi_schemas::leaf::MAX_LEAF_BYTES;

/// Bytes of the largest blob. Bundles are smaller, so that they can be completed.
pub const MAX_BLOB_BYTES: usize = 1024 * 1024;

/// Additions of the largest batch. With [`MAX_ENTRY_BYTES`] it bounds what an engine writes between two barriers.
pub const MAX_BATCH: usize = 256;

/// What an engine or the operating system said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An append-only sequence of entries with their blobs. Every call may block.
pub trait Store: Send + Sync + 'static {
    /// The number of entries, which is the index of the next one.
    fn head(&self) -> Result<u64, StoreError>;

    /// An entry's bytes; none at the head or beyond it.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The leaf of an entry; none at the head or beyond it.
    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The index of the entry that was committed with the blob of this digest.
    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError>;

    /// The blob of this digest.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Appends `batch` at the indexes from `expected_head` on: all of it, durably, or nothing.
    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError>;
}

/// What one commit appends at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// What the blob is found by. It is the caller's: the store does not compute it.
    pub digest: Digest,
    /// The entry, at most [`MAX_ENTRY_BYTES`].
    pub entry: Vec<u8>,
    /// The leaf, at most [`MAX_LEAF_BYTES`].
    pub leaf: Vec<u8>,
    /// The blob, at most [`MAX_BLOB_BYTES`].
    pub blob: Vec<u8>,
}

/// What is stored at an index, beside the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The index.
    pub index: u64,
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The blob.
    pub blob: Vec<u8>,
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store cannot be read: {cause}")]
    Unreadable {
        /// What it said.
        cause: Cause,
    },
    /// What was read contradicts what was committed.
    #[error("the store is damaged: {damage}")]
    Damaged {
        /// Where.
        damage: Damage,
    },
}

/// Where a store contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is no record of the head, or not one of its form.
    #[error("the head is missing or malformed")]
    Head,
    /// An entry below the head is missing, malformed or changed.
    #[error("entry {index} is missing, malformed or changed")]
    Entry {
        /// Its index.
        index: u64,
    },
    /// There is an entry at the head.
    #[error("there is an entry {index}, but the head is not beyond it")]
    Beyond {
        /// Its index.
        index: u64,
    },
    /// The index does not lead from a digest to its entry.
    #[error("the index does not lead from {} to its entry", hex(digest))]
    Index {
        /// The digest.
        digest: [u8; 32],
    },
    /// A leaf is missing, cut off or changed.
    #[error("the leaf of entry {index} is missing or changed")]
    Leaf {
        /// The entry's index.
        index: u64,
    },
    /// A blob is missing, cut off or changed.
    #[error("the blob of entry {index} is missing or changed")]
    Blob {
        /// The entry's index.
        index: u64,
    },
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The head is another than the caller expected. Nothing changed.
    #[error("the head is {head}, not {expected}")]
    Conflict {
        /// What the caller expected.
        expected: u64,
        /// What it is.
        head: u64,
    },
    /// A digest is in the store already. Nothing changed.
    #[error("{digest} is committed already, at index {index}")]
    Present {
        /// The digest.
        digest: Digest,
        /// Where it is.
        index: u64,
    },
    /// A digest is in the batch twice. Nothing changed.
    #[error("{digest} is twice in the batch")]
    Repeated {
        /// The digest.
        digest: Digest,
    },
    /// An addition, or the batch, exceeds a limit of this module. Nothing changed.
    #[error("the {what} has {size}, and the limit is {limit}")]
    TooLarge {
        /// `entry`, `leaf`, `blob` or `batch`.
        what: &'static str,
        /// Bytes, or additions of a batch.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The file system has too little room left. Nothing changed.
    #[error("{available} bytes are free, and {needed} are needed")]
    Full {
        /// Bytes that are free.
        available: u64,
        /// Bytes that the batch needs, with the reserve that the engine keeps.
        needed: u64,
    },
    /// The store could not be read. Nothing changed.
    #[error("{0}")]
    Unread(#[from] StoreError),
    /// The store could not be written. Nothing changed.
    #[error("the store cannot be written: {cause}")]
    Failed {
        /// What the engine said.
        cause: Cause,
    },
    /// The batch may be committed or not: only opening the store again tells.
    #[error("the store's state is not known: {cause}")]
    Unknown {
        /// What the engine said.
        cause: Cause,
    },
}

impl StoreError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::StoreUnusable,
            Self::Damaged { .. } => Code::StoreDamaged,
        }
    }
}

impl CommitError {
    /// Whether the store is known to be as it was before. Otherwise stop: nothing more may be committed or answered.
    pub fn state_known(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }

    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Full { .. } => Code::StoreFull,
            Self::Unread(error) => error.code(),
            _ => Code::StoreUnusable,
        }
    }
}

/// The rules of [`Store::commit`] that are the same for every engine and need nothing written. Engines call it first.
pub(crate) fn check(store: &impl Store, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
    let within =
        |what, size, limit| if size <= limit { Ok(()) } else { Err(CommitError::TooLarge { what, size, limit }) };
    within("batch", batch.len(), MAX_BATCH)?;
    let head = store.head()?;
    if head != expected_head {
        return Err(CommitError::Conflict { expected: expected_head, head });
    }
    let mut seen = BTreeSet::new();
    for Addition { digest, entry, leaf, blob } in batch {
        within("entry", entry.len(), MAX_ENTRY_BYTES)?;
        within("leaf", leaf.len(), MAX_LEAF_BYTES)?;
        within("blob", blob.len(), MAX_BLOB_BYTES)?;
        if !seen.insert(digest) {
            return Err(CommitError::Repeated { digest: *digest });
        }
        if let Some(index) = store.index_of(digest)? {
            return Err(CommitError::Present { digest: *digest, index });
        }
    }
    Ok(())
}
