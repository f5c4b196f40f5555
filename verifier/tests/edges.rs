//! Edge cases that others collected: proofs, signatures, notes and paths that a verifier gets wrong if it is careless.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test stops where it fails

use std::collections::BTreeMap;

use serde::Deserialize;
use smi_keys::{PublicKey, PublicKeyError};
use smi_verifier::merkle::{Hash, check_consistency, check_inclusion};
use smi_verifier::note::{Checkpoint, CheckpointError, KeyKind, Note, NoteError, NoteKey, NoteKeyError, open};
use smi_verifier::proof::{AddCheckpoint, ProofTextError, TlogProof};
use smi_verifier::tile::{TileKind, TilePath};

/// `tests/vectors/merkle.json`; its `source` says where the vectors are from.
#[derive(Deserialize)]
struct Merkle {
    hashes: Vec<String>,
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
struct Inclusion {
    name: String,
    index: u64,
    size: u64,
    leaf: usize,
    root: usize,
    proof: Vec<usize>,
    refused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    name: String,
    old: u64,
    old_root: usize,
    new: u64,
    new_root: usize,
    proof: Vec<usize>,
    refused: bool,
}

impl Merkle {
    fn read() -> Self {
        serde_json::from_str(include_str!("../../tests/vectors/merkle.json")).unwrap()
    }

    /// A hash of the list, where it is one.
    fn hash(&self, at: usize) -> Option<Hash> {
        Hash::from_base64(&self.hashes[at]).ok()
    }

    fn proof(&self, proof: &[usize]) -> Option<Vec<Hash>> {
        proof.iter().map(|at| self.hash(*at)).collect()
    }
}

#[test]
fn proofs_of_inclusion() {
    let merkle = Merkle::read();
    let (mut accepted, mut malformed) = (0, 0);
    for vector in &merkle.inclusion {
        let parsed = (merkle.hash(vector.leaf), merkle.proof(&vector.proof), merkle.hash(vector.root));
        let (Some(leaf), Some(proof), Some(root)) = parsed else {
            assert!(vector.refused, "{}", vector.name);
            malformed += 1;
            continue;
        };
        let checked = check_inclusion(&leaf, vector.index, vector.size, &proof, &root);
        assert_eq!(checked.is_err(), vector.refused, "{}: {checked:?}", vector.name);
        accepted += usize::from(checked.is_ok());
    }
    assert_eq!((merkle.inclusion.len(), accepted, malformed), (98, 6, 26));
}

#[test]
fn proofs_of_consistency() {
    // Roots of twelve bytes, and no proof: the same root twice is consistent to whoever does not look at it.
    const LENIENT: [&str; 2] = [
        "additional/sizes are equal and proof is not empty where both sizes are one",
        "additional/sizes are equal and proof is not empty where both sizes are zero",
    ];
    let merkle = Merkle::read();
    let (mut accepted, mut malformed) = (0, 0);
    for vector in &merkle.consistency {
        let parsed = (merkle.hash(vector.old_root), merkle.proof(&vector.proof), merkle.hash(vector.new_root));
        let (Some(old_root), Some(proof), Some(new_root)) = parsed else {
            assert!(vector.refused || LENIENT.contains(&vector.name.as_str()), "{}", vector.name);
            malformed += 1;
            continue;
        };
        let checked = check_consistency((vector.old, &old_root), (vector.new, &new_root), &proof);
        assert_eq!(checked.is_err(), vector.refused, "{}: {checked:?}", vector.name);
        accepted += usize::from(checked.is_ok());
    }
    assert_eq!((merkle.consistency.len(), accepted, malformed), (97, 5, 26));
}

/// `tests/vectors/ed25519.json`; its `source` says where the vectors are from and how they are written.
#[derive(Deserialize)]
struct Ed25519 {
    flags: Vec<String>,
    keys: Vec<String>,
    commitments: Vec<String>,
    vectors: Vec<(usize, usize, String, u32, u32)>,
}

fn bytes<const N: usize>(digits: &str) -> [u8; N] {
    let bytes: Vec<_> = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16)).collect();
    bytes.into_iter().collect::<Result<Vec<_>, _>>().unwrap().try_into().unwrap()
}

/// What strict verification makes of each flag. What remains, points of mixed order whose small parts cancel out, only
/// who holds the private key can make, and it is accepted under every rule in use.
///
/// The vectors' own description says that `verify_strict` of ed25519-dalek refuses them all. One has no flag, and is
/// a good signature.
#[test]
fn signatures_over_edge_cases_of_the_curve() {
    let set: Ed25519 = serde_json::from_str(include_str!("../../tests/vectors/ed25519.json")).unwrap();
    let mut accepted = BTreeMap::new();
    let mut refused = 0;
    for (key, commitment, scalar, number, mask) in &set.vectors {
        let flags = set.flags.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
        let flags: Vec<_> = flags.map(|(_, flag)| flag.as_str()).collect();
        let has = |flag| flags.contains(&flag);

        let key = PublicKey::from_bytes(&bytes(&set.keys[*key]));
        if has("non_canonical_A") {
            assert_eq!(key, Err(PublicKeyError::Point), "{flags:?}");
        } else if has("low_order_A") {
            assert_eq!(key, Err(PublicKeyError::Weak), "{flags:?}");
        } else {
            assert!(key.is_ok(), "{flags:?}");
        }

        let message = if *number == 0 { "ed25519vectors".to_owned() } else { format!("ed25519vectors {number}") };
        let signature: [u8; 64] = bytes(&format!("{}{scalar}", set.commitments[*commitment]));
        let is_good = key.is_ok_and(|key| key.verify(message.as_bytes(), &signature));
        let refusing = ["low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"];
        let should_be_good = !refusing.iter().any(|flag| has(flag)) && !has("reencoded_k");
        assert_eq!(is_good, should_be_good, "{flags:?} {message}");
        if is_good {
            *accepted.entry(flags).or_insert(0) += 1;
        } else {
            refused += 1;
        }
    }
    let expected =
        [(vec![], 1), (vec!["low_order_component_A"], 7), (vec!["low_order_component_R", "low_order_component_A"], 35)];
    assert_eq!((accepted, refused), (BTreeMap::from(expected), 871));
}

// Of golang.org/x/mod v0.42.0, sumdb/note.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const BY_PETER: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const BY_ENOCH: &str =
    "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// How far a note gets that is no checkpoint: this, where the key's signatures verify.
const VERIFIED: NoteError = NoteError::Checkpoint(CheckpointError::Lines);

fn opened(signatures: &str, key: &str) -> NoteError {
    open(format!("{TEXT}\n{signatures}").as_bytes(), &key.parse().unwrap()).unwrap_err()
}

#[test]
fn notes_of_another_implementation() {
    let both = [BY_PETER, BY_ENOCH].concat();
    for key in [PETER, ENOCH] {
        assert_eq!(opened(&both, key), VERIFIED);
        assert_eq!(opened(&both.repeat(8), key), VERIFIED);
    }
    assert_eq!(opened(BY_ENOCH, PETER), NoteError::Unknown { name: "PeterNeumann".into() });
    assert_eq!(opened(&BY_PETER.repeat(101), PETER), NoteError::Signatures);

    let damaged = |line: &str| format!("{}ABCD{}", &line[..60], &line[60..]);
    let refused = |name: &str| NoteError::Signature { name: name.into() };
    assert_eq!(opened(&damaged(BY_PETER), PETER), refused("PeterNeumann"));
    let mixed = [BY_PETER, BY_PETER, BY_ENOCH, BY_ENOCH, &damaged(BY_ENOCH)].concat();
    assert_eq!(opened(&mixed, PETER), VERIFIED);
    assert_eq!(opened(&mixed, ENOCH), refused("EnochRoot"));
}

#[test]
fn notes_that_another_implementation_refuses() {
    let bad = [
        (TEXT.to_owned(), NoteError::Divider),
        (format!("{TEXT}\n"), NoteError::Unsigned),
        (format!("{TEXT}\n{}", BY_PETER.trim_end()), NoteError::Line { line: 1 }),
        (format!("\u{1}{TEXT}\n{BY_PETER}"), NoteError::Control),
        (format!("{TEXT}\n{}", BY_PETER.replace("PeterNeumann", "Bad Name")), NoteError::Line { line: 1 }),
        (format!("{TEXT}\n{BY_PETER}Unexpected line.\n"), NoteError::Line { line: 2 }),
    ];
    for (note, error) in bad {
        assert_eq!(Note::read(note.as_bytes()), Err(error), "{note:?}");
    }
    let invalid = [b"\xff", TEXT.as_bytes(), b"\n", BY_PETER.as_bytes()].concat();
    assert_eq!(Note::read(&invalid), Err(NoteError::Utf8));
}

#[test]
fn keys_that_another_implementation_refuses() {
    assert_eq!(PETER.parse::<NoteKey>().unwrap().to_string(), PETER);
    for start in 0..=PETER.len() {
        for end in start..=PETER.len() {
            let part = &PETER[start..end];
            assert_eq!(part.parse::<NoteKey>().is_ok(), part == PETER, "{part}");
        }
    }
    for at in 0..PETER.len() {
        for change in 1..=127 {
            let mut key = PETER.as_bytes().to_vec();
            key[at] = (key[at] + change) % 128;
            let key = String::from_utf8(key).unwrap();
            assert!(key.parse::<NoteKey>().is_err(), "{key}");
        }
    }
    // With ids that fit.
    let parse = |key: &str| key.parse::<NoteKey>().unwrap_err();
    let long = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
    assert!(matches!(parse(long), NoteKeyError::Base64 | NoteKeyError::Public(PublicKeyError::Length { .. })));
    let unknown = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(parse(unknown), NoteKeyError::Kind { byte: 0x65 });

    // Of github.com/transparency-dev/formats v0.1.1, note.
    let witness: NoteKey = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2".parse().unwrap();
    assert_eq!((witness.kind(), witness.id()), (KeyKind::Witness, [0xda, 0x77, 0xad, 0xe7]));
    for bad in [
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
        "PRIVATE+KEY+logandmap+38581672+AXJ0FKWOcO2ch6WC8kP705Ed3Gxu7pVtZLhfHAQwp+FE",
    ] {
        assert!(bad.parse::<NoteKey>().is_err(), "{bad}");
    }
}

/// A checkpoint in use, with the signatures of four keys; of github.com/transparency-dev/formats v0.1.1, log. Its
/// signatures verify; its origin has spaces, and such a log is none of ours.
#[test]
fn a_checkpoint_of_another_log() {
    let bytes = "go.sum database tree
6476701
mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=

\u{2014} sum.golang.org Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=
\u{2014} monkeys 202ffh9ve46Mqbhuyb4wnC2Pwdan5EsXQym/tF1ggXJqhjGosU4T5intH4iKMRgDLxrnXuIjRaU2NbvAnaepM6Y+8ww=
\u{2014} bananas z2OfE+2bbsBZ7NLgfuslc0v7NFW2QyexJ7fhePpoL2N/P7N/COd5S+JNHbQEAlYzz2C5sg0E+x/MggS1mDR6t3/9rQw=
\u{2014} witness 8TqG25yWGFLdT7WPf/WoyeG3LwqtkXP+8S3yykOVm6EMh4hPgCke6eSVPU4BdtXNMPJBXKF+UpDbGgCdcpR8SVSoqAU=
";
    for key in [
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT",
        "bananas+cf639f13+AaPjhFnPCQnid/Ql32KWhmh+uk72FVRfK+2DLmO3BI3M",
        "witness+f13a86db+AdYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN",
    ] {
        let refused = NoteError::Checkpoint(CheckpointError::Origin);
        assert_eq!(open(bytes.as_bytes(), &key.parse().unwrap()), Err(refused), "{key}");
    }
}

/// Of github.com/transparency-dev/tessera v1.0.4, internal/parse, and github.com/transparency-dev/formats v0.1.1, log.
#[test]
fn checkpoints_that_other_implementations_refuse() {
    const ROOT: &str = "qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=";
    let read = |text: &str| Checkpoint::read(&text.replace("ROOT", ROOT));
    assert_eq!(read("original.example.com\n42\nROOT\n").unwrap().size(), 42);
    let bad = [
        ("original.example.com\n-42\nROOT\n", CheckpointError::Size),
        ("original.example.com\n42\nthisisnotright\n", CheckpointError::Root),
        ("\n42\nROOT\n", CheckpointError::Origin),
        ("42\nROOT\n", CheckpointError::Lines),
        ("Head\n9944\n", CheckpointError::Lines),
        ("Log\n123\nROOT", CheckpointError::Lines),
        ("Log\nbananas\nROOT\n", CheckpointError::Size),
        ("Log\n3438945738945739845734895735\nROOT\n", CheckpointError::Size),
        ("Log\n123\nThisIsn'tBase64\n", CheckpointError::Root),
        // Of other lengths than a hash's, and with further lines: these they accept.
        ("Log\n123\nYmFuYW5hcw==\n", CheckpointError::Root),
        ("Banana\n9944\ndGhlIHZpZXcgZnJvbSB0aGUgdHJlZSB0b3BzIGlzIGdyZWF0IQ==\n", CheckpointError::Root),
        ("Log\n9944\nROOT\nHere's some associated data.\n", CheckpointError::Lines),
        ("Log\n9944\nROOT\nlots\nof\nlines\n", CheckpointError::Lines),
        ("Log\n9944\nROOT\n\n\n\n", CheckpointError::Lines),
    ];
    for (text, error) in bad {
        assert_eq!(read(text), Err(error), "{text:?}");
    }
}

/// Of github.com/transparency-dev/tessera v1.0.4, api/layout.
#[test]
fn paths_of_another_implementation() {
    let hashes = |level| TileKind::Hashes { level };
    let good = [
        (TileKind::Entries, 0, 256, "entries/000"),
        (TileKind::Entries, 0, 8, "entries/000.p/8"),
        (TileKind::Entries, 255, 256, "entries/255"),
        (TileKind::Entries, 255, 253, "entries/255.p/253"),
        (TileKind::Entries, 123_456_789, 256, "entries/x123/x456/789"),
        (hashes(0), 0, 256, "0/000"),
        (hashes(0), 0, 255, "0/000.p/255"),
        (hashes(1), 0, 256, "1/000"),
        (hashes(15), 455_667, 256, "15/x455/667"),
        (hashes(15), 123_456_789, 41, "15/x123/x456/789.p/41"),
        (hashes(0), 1_234_067, 256, "0/x001/x234/067"),
        (hashes(0), 1_234_067, 89, "0/x001/x234/067.p/89"),
        (hashes(63), 999_999_999_999_999_999, 255, "63/x999/x999/x999/x999/x999/999.p/255"),
        (hashes(0), 1, 256, "0/001"),
    ];
    for (kind, index, width, text) in good {
        let path = TilePath::new(kind, index, width).unwrap();
        assert_eq!((path.to_string().as_str(), text.parse()), (text, Ok(path)));
    }
    for bad in [
        "0/x001/x234/067.p/",
        "0/x001/x234/067.p",
        "0/x001/x234/",
        "0/x001/x234",
        "0/x001/",
        "0/x001",
        "1/x001/.p/abc",
        "64/x001/002",
        "-1/x001/002",
        "abc/x001/002",
        "8/001/002",
        "8/x001/0002",
        "8/x001/-002",
        "8/x001/002.p/256",
        "63/x999/x999/x999/x999/x999/x999/999.p/255",
    ] {
        assert!(bad.parse::<TilePath>().is_err(), "{bad}");
    }
    let of_entry = |entry: u64, size| {
        let mut needed = TilePath::needed(size, entry..entry + 1).filter(|path| path.kind() == TileKind::Entries);
        (needed.next().unwrap().to_string(), needed.next())
    };
    let of_size = [
        (0, 256, "entries/000"),
        (255, 256, "entries/000"),
        (251, 255, "entries/000.p/255"),
        (256, 512, "entries/001"),
        (3, 257, "entries/000"),
        (256, 257, "entries/001.p/1"),
        (123_456_789 * 256, 123_456_790 * 256, "entries/x123/x456/789"),
    ];
    for (entry, size, text) in of_size {
        assert_eq!(of_entry(entry, size), (text.to_owned(), None));
    }
}

/// Of github.com/transparency-dev/formats v0.1.1, proof, and github.com/transparency-dev/witness, witness.
#[test]
fn proofs_as_text_that_other_implementations_refuse() {
    let index = || ProofTextError::Number { label: "index" };
    let long = format!("index 0\n{}\n\n", "a".repeat(65 * 1024));
    let double = format!("index 0\n{}AA==\n\ncheckpoint\n", "A".repeat(84));
    let bad = [
        ("extra !!notbase64!!\nindex 0\n\ncheckpoint\n", ProofTextError::Extra),
        ("\n\ncheckpoint\n", index()),
        ("index notanumber\n\ncheckpoint\n", index()),
        ("index -5\n\ncheckpoint\n", index()),
        ("index 0\n!!notbase64!!\n\ncheckpoint\n", ProofTextError::Hash { at: 0 }),
        (&double, ProofTextError::Hash { at: 0 }),
        (&long, ProofTextError::Hash { at: 0 }),
        // A checkpoint that is no note: this they accept.
        ("index 0\n\ncheckpoint\n", ProofTextError::Note(NoteError::Divider)),
    ];
    for (text, error) in bad {
        let text = format!("c2sp.org/tlog-proof@v1\n{text}");
        assert_eq!(TlogProof::read(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(TlogProof::read(b"wrong-header\nindex 0\n\ncheckpoint\n"), Err(ProofTextError::Format));

    let checkpoint = "transparency.dev/armored-witness/firmware_transparency/ci/2
56
7azctENRYLlBCBQ5OX2qxxIKCTOeCda1KfTwjdt0wdA=

\u{2014} transparency.dev-aw-ftlog-ci-2 93xidocoWXVph2jEuzW2oovU+IjU71+FeVGKtKXQknSla2HCvr6RYHRSdJfxpo4kj5geqxkjrDXcbpiSo7lK96X4Dgc=
";
    let read = |head: &str| AddCheckpoint::read(format!("{head}{checkpoint}").as_bytes());
    let hash = Hash::EMPTY.to_base64();
    let request = read(&format!("old 10\n{hash}\n{hash}\n\n")).unwrap();
    assert_eq!((request.old, request.proof), (10, vec![Hash::EMPTY; 2]));
    assert_eq!(request.note_bytes, checkpoint.as_bytes());
    assert_eq!(Note::read(&request.note_bytes).unwrap().to_bytes(), checkpoint.as_bytes());
    let old = || ProofTextError::Number { label: "old" };
    let bad = [
        // Hashes of two bytes: these they accept.
        ("old 10\nabc=\ndef=\n\n", ProofTextError::Hash { at: 0 }),
        ("10 stuff\nabc=\ndef=\n\n", old()),
        ("10\nZ043\n423ed\n", old()),
        ("10\nabc=\ndef=\n", old()),
        // Without the empty line, the checkpoint's lines are read as hashes.
        ("old 10\n", ProofTextError::Hash { at: 0 }),
    ];
    for (head, error) in bad {
        assert_eq!(read(head), Err(error), "{head:?}");
    }
}
