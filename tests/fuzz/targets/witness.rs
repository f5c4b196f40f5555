//! Any bytes as what a log asks a witness, who has cosigned its tree of 33 entries before.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use smi_fuzz::publisher::MemoryCell;
use smi_fuzz::{ORIGIN, key, log, now};
use smi_publisher::cell::Cell;
use smi_publisher::witness::server::{Refusal, Witness};
use smi_schemas::Digest;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, Note, open, sign_checkpoint};
use smi_verifier::proof::AddCheckpoint;

/// Entries of the tree that was cosigned last.
const SEEN: u64 = 33;

/// The tree of the seeds.
static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree::default();
    (0..70_u64).for_each(|index| tree.push(Hash::of_leaf(&index.to_be_bytes())));
    tree
});

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The log signs whatever checkpoint this is, and asks again.
    let Ok(request) = AddCheckpoint::read(bytes) else { return };
    let Ok(note) = Note::read(&request.note_bytes) else { return };
    if let Ok(checkpoint) = Checkpoint::read(note.text()) {
        check(
            &AddCheckpoint { note_bytes: sign_checkpoint(&checkpoint, &key("log")).to_bytes(), ..request }.to_bytes(),
        );
    }
});

fn check(request: &[u8]) {
    let seen = signed(SEEN);
    let cell: Box<dyn Cell> = Box::new(MemoryCell(Some(seen.clone())));
    let witness =
        Witness::new("witness-1.example.org/w", key("witness-1"), [(log().clone(), cell)]).expect("a witness");
    let road = Digest::of(ORIGIN.as_bytes()).hex();
    let latest = || witness.latest(&road).expect("a cell").expect("a checkpoint");
    let answer = witness.add_checkpoint(request, now());
    let after = latest();
    match answer {
        Ok(cosignature) => {
            let AddCheckpoint { old, note_bytes, .. } = AddCheckpoint::read(request).expect("what was judged");
            let signed = open(&note_bytes, log()).expect("the log signed it");
            let (size, root) = (signed.checkpoint().size(), *signed.checkpoint().root());
            assert!(old == SEEN && size >= SEEN);
            // Nobody finds a proof for any other tree; how large it is said to be, is for the log to answer for.
            assert!((0..=TREE.size()).any(|size| TREE.root_at(size) == Some(root)), "another tree");
            assert!(size != SEEN || Some(root) == TREE.root_at(SEEN), "two trees of one size");
            // It is kept, with both signatures, and is what comes next.
            let kept = open(&after, log()).expect("the log signed it");
            assert_eq!(kept.checkpoint(), signed.checkpoint());
            let counted = kept.cosignatures(std::slice::from_ref(witness.key())).expect("it cosigned");
            assert_eq!(counted, [(0, now().unix_seconds().unsigned_abs())]);
            assert_eq!(kept.note().signatures()[1..], [cosignature]);
            let again = AddCheckpoint { old: size, proof: Vec::new(), note_bytes }.to_bytes();
            assert!(witness.add_checkpoint(&again, now()).is_ok());
            assert!(size == SEEN || matches!(witness.add_checkpoint(request, now()), Err(Refusal::Conflict { .. })));
        }
        Err(refusal) => {
            assert!(refusal.status().is_client_error(), "{refusal}");
            assert!(!refusal.to_string().chars().any(char::is_control));
            assert_eq!(after, seen);
            if let Refusal::Conflict { size } = refusal {
                assert_eq!(size, SEEN);
            }
        }
    }
}

fn signed(size: u64) -> Vec<u8> {
    let root = TREE.root_at(size).expect("a root");
    sign_checkpoint(&Checkpoint::new(ORIGIN, size, root).expect("a checkpoint"), &key("log")).to_bytes()
}
