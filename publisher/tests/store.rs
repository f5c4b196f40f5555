//! The store on real files: its promises, and what it says of files that are not as it left them.

#![allow(clippy::unwrap_used)] // a test stops where it fails

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use smi_publisher::store::{Addition, Damage, Mark, OpenError, SledStore, Store, StoreError, contract};
use smi_schemas::Digest;

const MARK: Mark = Mark { demonstration: false };

fn open(folder: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(folder, MARK)
}

/// A store in which entries 0 and 1 are a batch, and 2 and 3 the last one. Leaf and blob of each have 100 bytes.
fn stored(folder: &Path) {
    let store = open(folder).unwrap();
    store.commit(0, &[addition(0), addition(1)]).unwrap();
    store.commit(2, &[addition(2), addition(3)]).unwrap();
}

fn addition(number: u8) -> Addition {
    let bytes = |len| vec![number; len];
    Addition { digest: Digest::of(&[number]), entry: bytes(10), leaf: bytes(20), blob: bytes(80) }
}

fn damage(folder: &Path) -> Damage {
    match open(folder) {
        Err(OpenError::Damaged { damage, .. }) => damage,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn sled_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract(|| open(folder.path()).unwrap());
}

#[test]
fn a_store_is_opened_as_what_it_is_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
    drop(store);
    let demonstration = SledStore::open(folder.path(), Mark { demonstration: true });
    assert!(matches!(demonstration, Err(OpenError::Official { .. })));
    open(folder.path()).unwrap();
}

#[test]
fn large_entries_need_no_files_of_their_own() {
    // sled would write values that it finds large to such files, and never sync them.
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for batch in 0..8 {
        let addition = |number: u64| Addition {
            digest: Digest::of(&number.to_be_bytes()),
            entry: vec![7; smi_publisher::store::MAX_ENTRY_BYTES],
            leaf: Vec::new(),
            blob: Vec::new(),
        };
        let batch: Vec<_> = (batch * 256..).take(256).map(addition).collect();
        store.commit(store.head().unwrap(), &batch).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("sled/blobs")).unwrap().count(), 0);
    }
}

#[test]
fn blobs_that_are_cut_off_or_changed_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path());
    let blobs = fs::File::options().write(true).open(folder.path().join("blobs")).unwrap();

    blobs.write_all_at(b"x", 350).unwrap();
    assert_eq!(damage(folder.path()), Damage::Blob { index: 3 });
    blobs.write_all_at(&[3], 350).unwrap();
    open(folder.path()).unwrap();

    // Before the last batch it shows when it is read.
    blobs.write_all_at(b"x", 50).unwrap();
    let store = open(folder.path()).unwrap();
    let read = store.blob(&addition(0).digest);
    assert!(matches!(read, Err(StoreError::Damaged { damage: Damage::Blob { index: 0 } })));
    assert_eq!(store.blob(&addition(1).digest).unwrap(), Some(addition(1).blob));
    drop(store);

    blobs.set_len(399).unwrap();
    assert_eq!(damage(folder.path()), Damage::Blob { index: 3 });
}

#[test]
fn a_lost_index_is_damage_and_not_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path());
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    fs::create_dir(folder.path().join("sled")).unwrap();
    assert_eq!(damage(folder.path()), Damage::Head);
}

#[test]
fn blobs_beyond_the_end_are_overwritten() {
    // What a crash before the tree knows of them leaves.
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path());
    let blobs = fs::File::options().write(true).open(folder.path().join("blobs")).unwrap();
    blobs.write_all_at(&[9; 1000], 400).unwrap();
    let store = open(folder.path()).unwrap();
    store.commit(4, &[addition(4)]).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().blob(&addition(4).digest).unwrap(), Some(addition(4).blob));
}

#[test]
fn a_torn_summary_of_sled_does_not_shut_it() {
    let folder = tempfile::tempdir().unwrap();
    stored(folder.path());
    let torn = folder.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating");
    fs::write(&torn, "torn").unwrap();
    assert_eq!(open(folder.path()).unwrap().head().unwrap(), 4);
    assert!(!torn.exists());
}

#[test]
fn after_a_barrier_that_failed_nothing_more_is_taken() {
    // A barrier is a function and no closure, so what it counts with is not the test's own.
    static BARRIERS: AtomicU32 = AtomicU32::new(0);
    for failing in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        stored(folder.path());
        BARRIERS.store(100, Ordering::SeqCst);
        let store = SledStore::open_with(folder.path(), MARK, |_| match BARRIERS.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::Error::other("a fault")),
            _ => Ok(()),
        });
        let store = store.unwrap();
        BARRIERS.store(failing, Ordering::SeqCst);
        for number in [4, 5] {
            let error = store.commit(4, &[addition(number)]).unwrap_err();
            assert!(!error.state_known(), "{error}");
        }
        assert_eq!(store.head().unwrap(), 4, "readers see nothing of it");
        assert_eq!(store.blob(&addition(4).digest).unwrap(), None);
        drop(store);
        let store = open(folder.path()).unwrap();
        assert_eq!(store.head().unwrap(), 4 + u64::from(failing), "before the tree, or after it");
        store.commit(store.head().unwrap(), &[addition(6)]).unwrap();
    }
}
