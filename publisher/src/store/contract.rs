//! What every engine promises, as a test that any of them can be put to.
//!
//! It says nothing of power cuts: for these an engine needs a device that can be cut off, see `tests/it/powercut.rs`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)] // a test stops where it fails

use smi_schemas::Digest;

use super::{Addition, CommitError, MAX_BATCH, MAX_BLOB_BYTES, MAX_ENTRY_BYTES, MAX_LEAF_BYTES, Store};

/// Puts a store to the test and panics where it breaks a promise.
///
/// The first call of `open` gives an empty store; every later one opens the same again, after the one before was
/// dropped.
pub fn contract<S: Store>(mut open: impl FnMut() -> S) {
    let store = open();
    let mut expected = Vec::new();
    holds(&store, &expected);

    append(&store, &mut expected, vec![addition(0)]);
    append(&store, &mut expected, (1..20).map(addition).collect());
    append(&store, &mut expected, Vec::new());
    let store = reopen(store, &mut open, &expected);

    refusals_change_nothing(&store, &expected);
    let store = reopen(store, &mut open, &expected);

    let empty = Addition { entry: Vec::new(), leaf: Vec::new(), blob: Vec::new(), ..addition(20) };
    let largest = Addition {
        entry: vec![7; MAX_ENTRY_BYTES],
        leaf: vec![9; MAX_LEAF_BYTES],
        blob: vec![8; MAX_BLOB_BYTES],
        ..addition(21)
    };
    let same_bytes = Addition { digest: addition(22).digest, ..largest.clone() };
    append(&store, &mut expected, vec![empty, largest, same_bytes]);
    let store = reopen(store, &mut open, &expected);

    let full = |n| Addition { entry: vec![1; MAX_ENTRY_BYTES], leaf: vec![2; MAX_LEAF_BYTES], ..addition(n) };
    let fullest = (23..).take(MAX_BATCH).map(full).collect();
    append(&store, &mut expected, fullest);
    let store = reopen(store, &mut open, &expected);

    one_of_many_wins(&store, &mut expected);
    reopen(store, &mut open, &expected);
}

/// The store holds exactly what was committed.
fn holds(store: &impl Store, expected: &[Addition]) {
    let head = expected.len() as u64;
    assert_eq!(store.head().unwrap(), head);
    for (index, Addition { digest, entry, leaf, blob }) in (0..).zip(expected) {
        assert_eq!(store.entry(index).unwrap().as_ref(), Some(entry), "entry {index}");
        assert_eq!(store.leaf(index).unwrap().as_ref(), Some(leaf), "leaf {index}");
        assert_eq!(store.index_of(digest).unwrap(), Some(index), "index of {digest}");
        assert_eq!(store.blob(digest).unwrap().as_ref(), Some(blob), "blob {index}");
    }
    for index in [head, head + 1, u64::MAX] {
        assert_eq!(store.entry(index).unwrap(), None, "beyond the head");
        assert_eq!(store.leaf(index).unwrap(), None, "beyond the head");
    }
    absent(store, &addition(u64::MAX).digest);
}

fn absent(store: &impl Store, digest: &Digest) {
    assert_eq!(store.index_of(digest).unwrap(), None);
    assert_eq!(store.blob(digest).unwrap(), None);
}

fn append(store: &impl Store, expected: &mut Vec<Addition>, batch: Vec<Addition>) {
    store.commit(expected.len() as u64, &batch).unwrap();
    expected.extend(batch);
    holds(store, expected);
}

fn reopen<S: Store>(store: S, open: &mut impl FnMut() -> S, expected: &[Addition]) -> S {
    drop(store);
    let store = open();
    holds(&store, expected);
    store
}

fn refusals_change_nothing(store: &impl Store, expected: &[Addition]) {
    let head = expected.len() as u64;
    let refused = |at: u64, batch: &[Addition]| {
        let error = store.commit(at, batch).unwrap_err();
        assert!(error.state_known(), "{error}");
        holds(store, expected);
        error
    };
    let (new, newer) = (addition(1000), addition(1001));

    for at in [0, head - 1, head + 1, u64::MAX] {
        let error = refused(at, std::slice::from_ref(&new));
        assert!(
            matches!(error, CommitError::Conflict { expected, head: is } if (expected, is) == (at, head)),
            "{error}"
        );
    }
    let old = Addition { entry: b"another entry".to_vec(), blob: b"another blob".to_vec(), ..expected[3].clone() };
    let error = refused(head, &[new.clone(), old]);
    assert!(matches!(error, CommitError::Present { index: 3, digest } if digest == expected[3].digest), "{error}");

    let twin = Addition { blob: b"another blob".to_vec(), ..new.clone() };
    let error = refused(head, &[new.clone(), newer.clone(), twin]);
    assert!(matches!(error, CommitError::Repeated { digest } if digest == new.digest), "{error}");

    let large_entry = Addition { entry: vec![0; MAX_ENTRY_BYTES + 1], ..newer.clone() };
    let large_leaf = Addition { leaf: vec![0; MAX_LEAF_BYTES + 1], ..newer.clone() };
    let large_blob = Addition { blob: vec![0; MAX_BLOB_BYTES + 1], ..newer.clone() };
    let large_batch: Vec<_> = (1000..).take(MAX_BATCH + 1).map(addition).collect();
    for large in [large_entry, large_leaf, large_blob] {
        let error = refused(head, &[new.clone(), large]);
        assert!(matches!(error, CommitError::TooLarge { .. }), "{error}");
    }
    let error = refused(head, &large_batch);
    assert!(matches!(error, CommitError::TooLarge { .. }), "{error}");
    absent(store, &new.digest);
    absent(store, &newer.digest);
}

/// Of commits to the same head one succeeds, and readers never see half of it.
fn one_of_many_wins(store: &impl Store, expected: &mut Vec<Addition>) {
    const COMMITTERS: u64 = 4;
    let head = expected.len() as u64;
    let batch = |committer: u64| (0..3).map(|n| addition(2000 + committer * 3 + n)).collect::<Vec<_>>();
    let winners: Vec<u64> = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while store.head().unwrap() == head {
                for committer in 0..COMMITTERS {
                    let [first, _, last] = batch(committer).try_into().unwrap();
                    if store.index_of(&last.digest).unwrap().is_some() {
                        assert_eq!(store.blob(&first.digest).unwrap(), Some(first.blob), "half of a batch");
                    }
                }
            }
            assert_eq!(store.head().unwrap(), head + 3, "half of a batch");
            assert!(store.entry(head + 2).unwrap().is_some(), "half of a batch");
        });
        let commit = |committer| match store.commit(head, &batch(committer)) {
            Ok(()) => Some(committer),
            Err(CommitError::Conflict { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        let committers: Vec<_> = (0..COMMITTERS).map(|committer| scope.spawn(move || commit(committer))).collect();
        let winners = committers.into_iter().filter_map(|committer| committer.join().unwrap()).collect();
        reader.join().unwrap();
        winners
    });
    let [winner] = winners[..] else { panic!("{} commits to one head succeeded", winners.len()) };
    expected.extend(batch(winner));
    holds(store, expected);
}

/// Something to append: the same for the same number.
fn addition(number: u64) -> Addition {
    let name = format!("addition {number}");
    let blob = name.repeat(usize::try_from(number % 50).unwrap() + 1).into_bytes();
    let leaf = format!("leaf {number}").into_bytes();
    Addition { digest: Digest::of(name.as_bytes()), entry: name.into_bytes(), leaf, blob }
}
