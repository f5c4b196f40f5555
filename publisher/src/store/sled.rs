//! The store on one machine: sled 0.34.7 for what is small, one file for the blobs.
//!
//! # On disk
//!
//! ```text
//! store      what this folder is (see folder)
//! blobs      for every entry its leaf and its blob, one after the other, nothing between them
//! sled/      one tree of three kinds of keys; all numbers are big-endian
//!   h            →  entries: u64 · bytes of `blobs`: u64 · index at which the last batch begins: u64
//!   e INDEX      →  digest: 32 bytes · offset of the leaf in `blobs`: u64 · its length: u32 · the entry
//!   r DIGEST     →  index: u64 · offset in `blobs`: u64 · length: u32 · CRC-32 of the blob: u32
//! ```
//!
//! # Why it survives a power cut
//!
//! sled 0.34.7 alone does not: its `flush` calls `sync_file_range`, which writes neither the file's new length nor the
//! device's cache, and pages that do not fit a quarter of a segment go to files of their own that it never syncs.
//! Four things make up for it. The first was measured (`tests/it/powercut.rs` loses everything without it); the others
//! follow from sled's source:
//!
//! - **A barrier, `syncfs`, after `flush`**, before anything is acknowledged or seen by a reader.
//! - **Blobs are not in sled.** `blobs` only grows, is never rewritten, and is behind a barrier before sled hears of
//!   it. So no page of the tree outgrows its segment, and no acknowledged blob is ever moved.
//! - **sled does not move pages on its own.** It reuses a segment once the pages in it are superseded by pages two
//!   segments further on, believing those to be durable. That is true if there is a barrier at least every two
//!   segments; so its background thread is off, and two of `SEGMENT_BYTES` hold any batch several times over.
//! - **A barrier before sled recovers.** Recovery wipes what it found to be superseded. After a mere kill it would
//!   judge by pages that only the kernel has yet.
//!
//! One thing is given away: without the background thread, sled does not compact. Its folder is a few times larger
//! than the entries in it; `blobs`, where nearly all bytes are, has no slack at all.
//!
//! # Why what is read is what was stored
//!
//! sled keeps a CRC-32 of each of its pages, and we keep one of each blob, against a device that lies. Whoever alters a
//! store on purpose alters these too, and is found out by whoever holds bundle and leaf against what the log signed.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ::sled::{Batch, Db};
use smi_schemas::Digest;

use super::folder::Folder;
use super::{Addition, Cause, CommitError, Damage, Mark, OpenError, Store, StoreError, check};

/// Bytes of one of sled's segments, which a store keeps for ever. Two of them are several times what sled writes for
/// the largest batch, 3 to 5 MB: its entries, and the pages that it rewrites for them.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of the file system that commits leave free, so that sled, which does not recover from it, never meets a full
/// disk: what is refused is a batch, with nothing changed.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;

/// How long to wait for sled's lock. We hold the folder's, so only threads of a store that was just dropped have it.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Puts everything that was written to the file system of a folder on its device.
pub type Barrier = fn(&File) -> io::Result<()>;

/// A store in a folder.
#[derive(Debug)]
pub struct SledStore {
    // Fields are dropped in this order: the folder, and with it the lock, last.
    tree: Db,
    blobs: File,
    /// Entries that are durable; readers see no others. Written only with `writing` held.
    head: AtomicU64,
    /// Whoever commits holds it.
    writing: Mutex<Writing>,
    barrier: Barrier,
    folder: Folder,
}

/// What the next commit starts from.
#[derive(Debug)]
struct Writing {
    tip: Tip,
    /// Whether `tip` is what is on disk. False while steps run of which a failure, or a panic, leaves that open.
    known: bool,
}

/// The record `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tip {
    entries: u64,
    blob_bytes: u64,
    last_batch: u64,
}

/// The record `e INDEX`.
struct Record {
    digest: [u8; 32],
    leaf: u64,
    leaf_length: u32,
    entry: Vec<u8>,
}

/// The record `r DIGEST`.
struct Place {
    index: u64,
    offset: u64,
    length: u32,
    crc: u32,
}

impl SledStore {
    /// Opens the store in a folder, or creates it there.
    ///
    /// It checks that head, entries, index and blobs agree for the last batch, which is where a power cut that broke
    /// a promise would show.
    pub fn open(folder: &Path, mark: Mark) -> Result<Self, OpenError> {
        Self::open_with(folder, mark, sync_file_system)
    }

    /// The same with another barrier: for measuring what the barrier is worth.
    pub fn open_with(folder: &Path, mark: Mark, barrier: Barrier) -> Result<Self, OpenError> {
        let mut folder = Folder::open(folder, mark)?;
        let path = folder.path().to_owned();
        let unusable = |cause: Cause| OpenError::Unusable { folder: path.clone(), cause };

        prepare(&folder).map_err(|cause| unusable(cause.into()))?;
        // What a killed process wrote is made durable before sled judges by it.
        barrier(folder.handle()).map_err(|cause| unusable(cause.into()))?;
        let blobs = open_blobs(&path).map_err(|cause| unusable(cause.into()))?;
        let tree = open_tree(&path.join("sled")).map_err(|cause| unusable(cause.into()))?;

        if folder.is_new() {
            let none = Tip { entries: 0, blob_bytes: 0, last_batch: 0 };
            tree.insert(b"h", &none.to_bytes()).and_then(|_| tree.flush()).map_err(|cause| unusable(cause.into()))?;
            // A crash before here leaves a new folder; after, a store.
            barrier(folder.handle()).and_then(|()| folder.created()).map_err(|cause| unusable(cause.into()))?;
        } else {
            // What recovery wrote.
            barrier(folder.handle()).map_err(|cause| unusable(cause.into()))?;
        }

        let failed = |error| match error {
            StoreError::Unreadable { cause } => unusable(cause),
            StoreError::Damaged { damage } => OpenError::Damaged { folder: path.clone(), damage },
        };
        let tip = read_tip(&tree).map_err(failed)?;
        let writing = Mutex::new(Writing { tip, known: true });
        let store = Self { tree, blobs, head: AtomicU64::new(tip.entries), writing, barrier, folder };
        store.check_last_batch(tip).map_err(failed)?;
        Ok(store)
    }

    /// Where the index leads; nowhere beyond the head that readers may see.
    fn place(&self, digest: &[u8; 32]) -> Result<Option<Place>, StoreError> {
        let Some(bytes) = self.tree.get(place_key(digest)).map_err(unreadable)? else { return Ok(None) };
        let damaged = StoreError::Damaged { damage: Damage::Index { digest: *digest } };
        let place = Place::from_bytes(&bytes).ok_or(damaged)?;
        Ok(Some(place).filter(|place| place.index < self.head.load(Ordering::Acquire)))
    }

    fn read_blob(&self, place: &Place) -> Result<Vec<u8>, StoreError> {
        let damaged = StoreError::Damaged { damage: Damage::Blob { index: place.index } };
        let mut blob = vec![0; place.length as usize];
        match self.blobs.read_exact_at(&mut blob, place.offset) {
            Ok(()) if crc32fast::hash(&blob) == place.crc => Ok(blob),
            Ok(()) => Err(damaged),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn read_leaf(&self, index: u64) -> Result<Vec<u8>, StoreError> {
        let Record { leaf: offset, leaf_length, .. } = self.record(index)?;
        let mut leaf = vec![0; leaf_length as usize];
        self.blobs.read_exact_at(&mut leaf, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::Damaged { damage: Damage::Leaf { index } },
            _ => unreadable(error),
        })?;
        Ok(leaf)
    }

    /// The record of an entry below the head.
    fn record(&self, index: u64) -> Result<Record, StoreError> {
        let bytes = self.tree.get(entry_key(index)).map_err(unreadable)?;
        let record = bytes.and_then(|bytes| Record::from_bytes(&bytes));
        record.ok_or(StoreError::Damaged { damage: Damage::Entry { index } })
    }

    fn check_last_batch(&self, tip: Tip) -> Result<(), StoreError> {
        let damaged = |damage| StoreError::Damaged { damage };
        if self.tree.get(entry_key(tip.entries)).map_err(unreadable)?.is_some() {
            return Err(damaged(Damage::Beyond { index: tip.entries }));
        }
        let mut end = None;
        for index in tip.last_batch..tip.entries {
            let digest = self.record(index)?.digest;
            let place = self.place(&digest)?.filter(|place| place.index == index);
            let place = place.ok_or(damaged(Damage::Index { digest }))?;
            self.read_blob(&place)?;
            end = Some(place.offset + u64::from(place.length));
        }
        if end.is_some_and(|end| end != tip.blob_bytes) {
            return Err(damaged(Damage::Head));
        }
        Ok(())
    }

    /// Refuses a batch for which there is no room, before anything is written.
    fn check_room(&self, bytes: usize) -> Result<(), CommitError> {
        let room = rustix::fs::fstatvfs(self.folder.handle()).map_err(failed)?;
        let available = room.f_bavail.saturating_mul(room.f_frsize);
        let needed = RESERVE_BYTES + bytes as u64;
        if available < needed { Err(CommitError::Full { available, needed }) } else { Ok(()) }
    }
}

impl Store for SledStore {
    fn head(&self) -> Result<u64, StoreError> {
        Ok(self.head.load(Ordering::Acquire))
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if index >= self.head.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.record(index).map(|record| Some(record.entry))
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if index >= self.head.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.read_leaf(index).map(Some)
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.place(digest.as_bytes())?.map(|place| place.index))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.place(digest.as_bytes())?.map(|place| self.read_blob(&place)).transpose()
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        let Ok(mut writing) = self.writing.lock() else { return Err(unknown("a commit panicked")) };
        if !writing.known {
            return Err(unknown("an earlier commit failed half-way"));
        }
        check(self, expected_head, batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let tip = writing.tip;
        let bytes = |addition: &Addition| addition.leaf.len() + addition.blob.len() + addition.entry.len();
        self.check_room(batch.iter().map(bytes).sum())?;

        // A crash or a failure here leaves bytes beyond the end that `h` records. The next commit overwrites them.
        let parts = batch.iter().flat_map(|addition| [&addition.leaf, &addition.blob]);
        let mut parts: Vec<_> = parts.map(|part| IoSlice::new(part)).collect();
        write_all_at(&self.blobs, &mut parts, tip.blob_bytes).map_err(failed)?;

        // From here on a failure is not retried: after a sync that failed, the kernel may have dropped what it could
        // not write, and the next one would succeed without it.
        writing.known = false;
        // A crash leaves the same as above, whether or not the blobs were durable.
        (self.barrier)(self.folder.handle()).map_err(unknown)?;

        let (changes, tip) = plan(tip, batch);
        // A crash leaves the tree with all of the batch or, as sled writes batches, without any of it, and the blobs
        // of which it knows are there. Nobody was told; whoever submits it again is told where it is.
        self.tree.apply_batch(changes).map_err(unknown)?;
        self.tree.flush().map_err(unknown)?;
        (self.barrier)(self.folder.handle()).map_err(unknown)?;

        // A crash leaves the batch, here and from now on.
        *writing = Writing { tip, known: true };
        self.head.store(tip.entries, Ordering::Release);
        Ok(())
    }
}

/// The barrier that [`SledStore::open`] takes.
#[cfg(target_os = "linux")]
pub fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Good for a developer's machine: where there is no `syncfs`, `sync` may return before the device has everything.
#[cfg(not(target_os = "linux"))]
pub fn sync_file_system(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Writes parts one after the other. One call to the kernel for all of them costs half of what one for each does.
fn write_all_at(file: &File, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    // Empty ones at the beginning.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match rustix::io::pwritev(file, parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut parts, written);
                offset += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What a batch changes in the tree, and the tip after it.
fn plan(tip: Tip, batch: &[Addition]) -> (Batch, Tip) {
    let mut changes = Batch::default();
    let mut next = Tip { last_batch: tip.entries, ..tip };
    for Addition { digest, entry, leaf, blob } in batch {
        // Lengths are below 2^32: `check` held them to their limits.
        #[allow(clippy::cast_possible_truncation)]
        let (leaf_length, length) = (leaf.len() as u32, blob.len() as u32);
        let record = Record { digest: *digest.as_bytes(), leaf: next.blob_bytes, leaf_length, entry: entry.clone() };
        next.blob_bytes += u64::from(leaf_length);
        let place = Place { index: next.entries, offset: next.blob_bytes, length, crc: crc32fast::hash(blob) };
        changes.insert(place_key(digest.as_bytes()).as_slice(), place.to_bytes());
        changes.insert(entry_key(next.entries).as_slice(), record.to_bytes());
        next.entries += 1;
        next.blob_bytes += u64::from(length);
    }
    changes.insert(b"h", next.to_bytes().as_slice());
    (changes, next)
}

/// Removes what must not be there when sled starts.
fn prepare(folder: &Folder) -> io::Result<()> {
    let sled = folder.path().join("sled");
    if folder.is_new() {
        // What a crash left of creating it. Nothing in it was ever acknowledged.
        for result in [fs::remove_dir_all(&sled), fs::remove_file(folder.path().join("blobs"))] {
            result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        }
        return Ok(());
    }
    // sled summarises its log when it starts. If a crash tears the summary in the making, sled takes it for the newest
    // and refuses to start ever after. It is only a summary.
    for found in fs::read_dir(&sled)? {
        let found = found?;
        if found.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(found.path())?;
        }
    }
    Ok(())
}

fn open_blobs(folder: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(folder.join("blobs"))
}

fn open_tree(path: &Path) -> ::sled::Result<Db> {
    let config =
        ::sled::Config::new().path(path).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let mut attempt = 0;
    loop {
        match config.open() {
            // sled says it in words only.
            Err(::sled::Error::Io(error)) if attempt < LOCK_ATTEMPTS && error.to_string().contains("acquire lock") => {
                attempt += 1;
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn read_tip(tree: &Db) -> Result<Tip, StoreError> {
    let bytes = tree.get(b"h").map_err(unreadable)?;
    bytes.and_then(|bytes| Tip::from_bytes(&bytes)).ok_or(StoreError::Damaged { damage: Damage::Head })
}

fn unreadable(error: impl Into<Cause>) -> StoreError {
    StoreError::Unreadable { cause: error.into() }
}

fn failed(error: impl Into<Cause>) -> CommitError {
    CommitError::Failed { cause: error.into() }
}

fn unknown(error: impl Into<Cause>) -> CommitError {
    CommitError::Unknown { cause: error.into() }
}

fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

fn place_key(digest: &[u8; 32]) -> [u8; 33] {
    let mut key = [b'r'; 33];
    key[1..].copy_from_slice(digest);
    key
}

impl Tip {
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, number) in
            bytes.as_chunks_mut::<8>().0.iter_mut().zip([self.entries, self.blob_bytes, self.last_batch])
        {
            *part = number.to_be_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [entries, blob_bytes, last_batch] = bytes.as_chunks::<8>().0 else { return None };
        let tip = Self {
            entries: u64::from_be_bytes(*entries),
            blob_bytes: u64::from_be_bytes(*blob_bytes),
            last_batch: u64::from_be_bytes(*last_batch),
        };
        (bytes.len() == 24 && tip.last_batch <= tip.entries).then_some(tip)
    }
}

impl Record {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.digest as &[u8], &self.leaf.to_be_bytes(), &self.leaf_length.to_be_bytes(), &self.entry].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk()?;
        let (leaf, rest) = rest.split_first_chunk()?;
        let (leaf_length, entry) = rest.split_first_chunk()?;
        Some(Self {
            digest: *digest,
            leaf: u64::from_be_bytes(*leaf),
            leaf_length: u32::from_be_bytes(*leaf_length),
            entry: entry.to_vec(),
        })
    }
}

impl Place {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { index, offset, length, crc } = self;
        [&index.to_be_bytes() as &[u8], &offset.to_be_bytes(), &length.to_be_bytes(), &crc.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, crc) = rest.split_first_chunk()?;
        Some(Self {
            index: u64::from_be_bytes(*index),
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
            crc: u32::from_be_bytes(crc.try_into().ok()?),
        })
    }
}
