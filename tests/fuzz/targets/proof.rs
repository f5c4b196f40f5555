//! Any bytes as proofs in text; and proofs of a small tree, altered, which must prove only what is true.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use smi_fuzz::{ORIGIN, key, log};
use smi_verifier::merkle::{Frontier, Hash, MAX_PROOF_HASHES, Tree, check_consistency, check_inclusion};
use smi_verifier::note::{Checkpoint, MAX_NOTE_BYTES, Note, sign_checkpoint};
use smi_verifier::proof::{AddCheckpoint, MAX_BYTES, MAX_HEAD_BYTES, TlogProof, read_size, write_size};

/// Entries of the tree.
const SIZE: u64 = 70;

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree::default();
    (0..SIZE).for_each(|index| tree.push(leaf(index)));
    tree
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TlogProof::read(bytes) {
        assert!(bytes.len() <= MAX_BYTES && proof.hashes.len() <= MAX_PROOF_HASHES);
        assert_eq!(proof.to_bytes(), bytes);
        // The log has signed the seed's tree only.
        if proof.verify(&leaf(proof.index), log()).is_ok() {
            assert_eq!(proof.checkpoint.text(), seed().text());
            assert_eq!(Some(&proof.hashes), TREE.inclusion(proof.index, SIZE).as_ref());
        }
    }
    if let Ok(request) = AddCheckpoint::read(bytes) {
        assert!(
            request.note_bytes.len() <= MAX_NOTE_BYTES && bytes.len() - request.note_bytes.len() <= MAX_HEAD_BYTES + 1
        );
        assert!(request.proof.len() <= MAX_PROOF_HASHES);
        assert_eq!(request.to_bytes(), bytes);
    }
    if let Some(size) = read_size(bytes) {
        assert_eq!(write_size(size).as_bytes(), bytes);
    }
    if let Some((choices, rest)) = bytes.split_first_chunk() {
        check_altered(*choices, rest);
    }
});

/// The choices are: an index or old size, a size, the same again as claimed, and what is done to the proof. Only the
/// size under a signature is the tree's; with another, a proof has what the specification gives it, and no more.
fn check_altered([at, size, claimed_at, claimed_size, alter]: [u8; 5], rest: &[u8]) {
    let size = u64::from(size) % SIZE + 1;
    let (index, old) = (u64::from(at) % size, u64::from(at) % (size + 1));
    let number = |claim: u8, truth: u64| match claim {
        0..=127 => truth,
        128..=220 => u64::from(claim - 128),
        _ => rest.first_chunk().map_or(u64::MAX, |number| u64::from_be_bytes(*number)),
    };
    let root = |size| TREE.root_at(size).expect("a root");

    let mut proof = TREE.inclusion(index, size).expect("a proof");
    assert_eq!(check_inclusion(&leaf(index), index, size, &proof, &root(size)), Ok(()));
    altered(&mut proof, alter, rest);
    let (claimed, of) = (number(claimed_at, index), number(claimed_size, size));
    let is_proven = check_inclusion(&leaf(index), claimed, of, &proof, &root(size)).is_ok();
    assert_eq!(is_proven, includes(leaf(index), claimed, of, &proof, root(size)));
    assert!(!is_proven || of != size || (claimed == index && Some(&proof) == TREE.inclusion(index, size).as_ref()));

    let mut proof = TREE.consistency(old, size).expect("a proof");
    assert_eq!(check_consistency((old, &root(old)), (size, &root(size)), &proof), Ok(()));
    altered(&mut proof, alter, rest);
    let (claimed, of) = (number(claimed_at, old), number(claimed_size, size));
    let is_proven = check_consistency((claimed, &root(old)), (of, &root(size)), &proof).is_ok();
    assert_eq!(is_proven, extends((claimed, root(old)), (of, root(size)), &proof));
    // Nothing is known of what follows no entries.
    let is_true = claimed == 0 || (claimed == old && Some(&proof) == TREE.consistency(old, size).as_ref());
    assert!(!is_proven || of != size || is_true);

    let mut frontier = Frontier::default();
    (0..size).for_each(|index| frontier.push(leaf(index)));
    assert_eq!((frontier.size(), frontier.root()), (size, root(size)));

    let note = sign_checkpoint(&Checkpoint::new(ORIGIN, size, root(size)).expect("a checkpoint"), &key("log"));
    let proof = TlogProof { index: claimed, hashes: proof, checkpoint: note, extra: None };
    assert!(proof.hashes.len() > MAX_PROOF_HASHES || TlogProof::read(&proof.to_bytes()).as_ref() == Ok(&proof));
}

/// Changes a proof in one or two places.
fn altered(proof: &mut Vec<Hash>, alter: u8, rest: &[u8]) {
    let at = usize::from(alter & 0x0f);
    let given = rest.first_chunk().map_or(Hash::EMPTY, |bytes| Hash::from_bytes(*bytes));
    match alter >> 4 {
        0..=3 => {}
        4 | 5 if at < proof.len() => {
            let mut bytes = *proof[at].as_bytes();
            let bit = usize::from(rest.first().copied().unwrap_or_default());
            bytes[bit / 8] ^= 1 << (bit % 8);
            proof[at] = Hash::from_bytes(bytes);
        }
        6 | 7 if at < proof.len() => drop(proof.remove(at)),
        8 if at < proof.len() => proof.insert(at, proof[at]),
        9 if at < proof.len() => {
            let last = proof.len() - 1;
            proof.swap(at, last);
        }
        10 => proof.insert(at.min(proof.len()), given),
        11 => proof.extend(vec![given; rest.len()]),
        12 => proof.truncate(at),
        _ => proof.clear(),
    }
}

fn leaf(index: u64) -> Hash {
    Hash::of_leaf(&index.to_be_bytes())
}

/// The checkpoint in the corpus.
fn seed() -> Note {
    sign_checkpoint(&Checkpoint::new(ORIGIN, SIZE, TREE.root()).expect("a checkpoint"), &key("log"))
}

/// Inclusion as RFC 9162 checks it, section 2.1.3.2.
fn includes(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Consistency as RFC 9162 checks it, section 2.1.4.2; and of the cases that it leaves out, what is true.
fn extends(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    if old.0 == 0 || old.0 >= new.0 {
        let is_same = old == new;
        return proof.is_empty() && (is_same || (old.0 == 0 && new.0 > 0)) && (old.0 > 0 || old.1 == Hash::EMPTY);
    }
    let mut path = proof.to_vec();
    if old.0.is_power_of_two() {
        path.insert(0, old.1);
    }
    let Some((first, path)) = path.split_first() else { return false };
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old_root, mut new_root) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_root = Hash::of_node(sibling, &old_root);
            new_root = Hash::of_node(sibling, &new_root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new_root = Hash::of_node(&new_root, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old_root == old.1 && new_root == new.1
}
