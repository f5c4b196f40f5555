//! Proofs as text: what is handed to those who do not have the log.
//!
//! Both forms are a line with a number, a line of base64 for each hash, an empty line, and a checkpoint as it is. Every
//! line ends with a newline.
//!
//! A [`TlogProof`] is a [C2SP tlog-proof]: that an entry is in the log, for whoever has the entry and the log's key.
//! Its first line names the format; the second may carry data that nobody signed.
//!
//! An [`AddCheckpoint`] is what a log sends to a [C2SP tlog-witness]: a checkpoint, and the proof that its tree begins
//! with the one the witness saw last. The witness answers with the lines of cosignatures
//! ([`NoteSignature::read_lines`]), or, where it saw another tree last, with that one's size ([`read_size`]).
//!
//! The third of three entries, `c`, in a log whose key has as its seed the SHA-256 of `log`:
//!
//! ```
//! use smi_keys::SigningKey;
//! use smi_schemas::Digest;
//! use smi_verifier::merkle::{Hash, Tree};
//! use smi_verifier::note::{Checkpoint, KeyKind, NoteKey, sign_checkpoint};
//! use smi_verifier::proof::{AddCheckpoint, TlogProof};
//!
//! let key = SigningKey::from_seed(*Digest::of(b"log").as_bytes());
//! let log = NoteKey::new("results.example.org", KeyKind::Log, key.public()).unwrap();
//! let mut tree = Tree::default();
//! for entry in [b"a", b"b", b"c"] {
//!     tree.push(Hash::of_leaf(entry));
//! }
//! let checkpoint = Checkpoint::new("results.example.org", 3, tree.root()).unwrap();
//! let note = sign_checkpoint(&checkpoint, &key);
//!
//! let proof = TlogProof { index: 2, hashes: tree.inclusion(2, 3).unwrap(), checkpoint: note.clone(), extra: None };
//! let text = String::from_utf8(proof.to_bytes()).unwrap();
//! assert!(text.starts_with("c2sp.org/tlog-proof@v1
//! index 2
//! sTeYX/SE+2ANuTEHx3sDZcgNePW0Kd7Q/Zc2HQd5mes=
//!
//! results.example.org
//! 3
//! "));
//! let proof = TlogProof::read(text.as_bytes()).unwrap();
//! assert_eq!(proof.verify(&Hash::of_leaf(b"c"), &log).unwrap().checkpoint(), &checkpoint);
//! assert!(proof.verify(&Hash::of_leaf(b"b"), &log).is_err());
//!
//! let request = AddCheckpoint { old: 2, proof: tree.consistency(2, 3).unwrap(), note_bytes: note.to_bytes() };
//! assert!(request.to_bytes().starts_with(b"old 2\n"));
//! assert_eq!(AddCheckpoint::read(&request.to_bytes()), Ok(request));
//! ```
//!
//! [`NoteSignature::read_lines`]: crate::note::NoteSignature::read_lines
//! [C2SP tlog-proof]: https://c2sp.org/tlog-proof
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::{Hash, MAX_PROOF_HASHES, ProofError, check_inclusion};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError, NoteKey, SignedCheckpoint, decimal};

/// The first line of a proof of inclusion.
pub const TLOG_PROOF: &str = "c2sp.org/tlog-proof@v1";

/// The media type in which a witness tells a size.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// Bytes of the lines before a checkpoint. Most of it is for data that nobody signed.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Bytes of a proof with its checkpoint, and of the empty line between.
pub const MAX_BYTES: usize = MAX_HEAD_BYTES + 1 + MAX_NOTE_BYTES;

/// Why text is not a proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofTextError {
    /// More bytes than a proof needs.
    #[error("the proof has more than {MAX_HEAD_BYTES} bytes before its checkpoint, or the checkpoint too many")]
    Size,
    /// No empty line, or not text before it.
    #[error("the proof is not lines of text, an empty line and a checkpoint")]
    Divider,
    /// Another first line.
    #[error("the proof does not begin with {TLOG_PROOF:?}")]
    Format,
    /// Data that are not base64 in its one canonical form.
    #[error("the proof's extra data are not canonical base64")]
    Extra,
    /// No number, or not in its one decimal form.
    #[error("the proof has no line \"{label} NUMBER\", without leading zeros and below 2^64")]
    Number {
        /// The word before the number.
        label: &'static str,
    },
    /// More hashes than any proof has.
    #[error("the proof has more than {MAX_PROOF_HASHES} hashes")]
    Hashes,
    /// A line that is not a hash.
    #[error("hash {at} of the proof is not the canonical base64 of 32 bytes")]
    Hash {
        /// Which, counted from 0.
        at: usize,
    },
    /// What follows is not a note.
    #[error("{0}")]
    Note(#[from] NoteError),
}

/// That an entry is in a log, to be verified offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry's index.
    pub index: u64,
    /// From the entry's sibling to the root's child, at most [`MAX_PROOF_HASHES`].
    pub hashes: Vec<Hash>,
    /// The checkpoint whose tree has the entry, nothing of it verified.
    pub checkpoint: Note,
    /// Data that nobody signed.
    pub extra: Option<Vec<u8>>,
}

/// Why a proof does not prove that an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The checkpoint is not one of the log.
    #[error("{0}")]
    Checkpoint(#[from] NoteError),
    /// The entry is not under the checkpoint.
    #[error("{0}")]
    Inclusion(#[from] ProofError),
}

impl TlogProof {
    /// Takes a proof's bytes apart.
    pub fn read(bytes: &[u8]) -> Result<Self, ProofTextError> {
        let (head, note) = split(bytes)?;
        let head =
            head.strip_prefix(TLOG_PROOF).and_then(|head| head.strip_prefix('\n')).ok_or(ProofTextError::Format)?;
        let (extra, head) = match head.strip_prefix("extra ").and_then(|head| head.split_once('\n')) {
            Some((extra, head)) => (Some(STANDARD.decode(extra).map_err(|_| ProofTextError::Extra)?), head),
            None => (None, head),
        };
        let (index, hashes) = read_head("index", head)?;
        Ok(Self { index, hashes, checkpoint: Note::read(note)?, extra })
    }

    /// The proof's bytes: those it was read from.
    pub fn to_bytes(&self) -> Vec<u8> {
        let extra = self.extra.as_ref().map(|extra| format!("extra {}\n", STANDARD.encode(extra)));
        let head = head("index", self.index, &self.hashes);
        let head = format!("{TLOG_PROOF}\n{}{head}", extra.unwrap_or_default());
        [head.into_bytes(), self.checkpoint.to_bytes()].concat()
    }

    /// Verifies that the entry with this hash is in the log, and returns the checkpoint. Whom the log has shown that
    /// checkpoint to, its cosignatures tell.
    pub fn verify(&self, leaf: &Hash, log: &NoteKey) -> Result<SignedCheckpoint, NotProven> {
        let signed = self.checkpoint.clone().open(log)?;
        let checkpoint = signed.checkpoint();
        check_inclusion(leaf, self.index, checkpoint.size(), &self.hashes, checkpoint.root())?;
        Ok(signed)
    }
}

/// What a log asks a witness to cosign: the body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness saw last, or 0.
    pub old: u64,
    /// That the tree of that size is the beginning of the new one, at most [`MAX_PROOF_HASHES`] hashes.
    pub proof: Vec<Hash>,
    /// The new checkpoint, as it is.
    pub note_bytes: Vec<u8>,
}

impl AddCheckpoint {
    /// Takes a request's bytes apart. The checkpoint is not read.
    pub fn read(bytes: &[u8]) -> Result<Self, ProofTextError> {
        let (head, note) = split(bytes)?;
        let (old, proof) = read_head("old", head)?;
        Ok(Self { old, proof, note_bytes: note.to_owned() })
    }

    /// The request's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [head("old", self.old, &self.proof).into_bytes(), self.note_bytes.clone()].concat()
    }
}

/// The size that a witness tells: a number and a newline.
pub fn read_size(bytes: &[u8]) -> Option<u64> {
    str::from_utf8(bytes).ok()?.strip_suffix('\n').and_then(decimal)
}

/// The line in which a witness tells a size.
pub fn write_size(size: u64) -> String {
    format!("{size}\n")
}

/// The lines before the first empty line, and what follows it.
fn split(bytes: &[u8]) -> Result<(&str, &[u8]), ProofTextError> {
    if bytes.len() > MAX_BYTES {
        return Err(ProofTextError::Size);
    }
    let divider = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(ProofTextError::Divider)?;
    let (head, note) = (&bytes[..=divider], &bytes[divider + 2..]);
    if head.len() > MAX_HEAD_BYTES || note.len() > MAX_NOTE_BYTES {
        return Err(ProofTextError::Size);
    }
    Ok((str::from_utf8(head).map_err(|_| ProofTextError::Divider)?, note))
}

/// A line with a number, and a line for each hash.
fn read_head(label: &'static str, head: &str) -> Result<(u64, Vec<Hash>), ProofTextError> {
    let mut lines = head.split_terminator('\n');
    let number = lines.next().and_then(|line| line.strip_prefix(label)?.strip_prefix(' ')).and_then(decimal);
    let number = number.ok_or(ProofTextError::Number { label })?;
    let mut hashes = Vec::new();
    for (at, line) in lines.enumerate() {
        if at == MAX_PROOF_HASHES {
            return Err(ProofTextError::Hashes);
        }
        hashes.push(Hash::from_base64(line).map_err(|_| ProofTextError::Hash { at })?);
    }
    Ok((number, hashes))
}

/// What [`read_head`] reads, and the empty line.
fn head(label: &str, number: u64, hashes: &[Hash]) -> String {
    let hashes: String = hashes.iter().map(|hash| hash.to_base64() + "\n").collect();
    format!("{label} {number}\n{hashes}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Tree;
    use crate::note::{Checkpoint, KeyKind, sign_checkpoint};
    use smi_keys::SigningKey;

    const ORIGIN: &str = "results.example.org";

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn log() -> NoteKey {
        NoteKey::new(ORIGIN, KeyKind::Log, key().public()).unwrap()
    }

    fn leaf(index: u64) -> Hash {
        Hash::of_leaf(&index.to_be_bytes())
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for index in 0..20 {
            tree.push(leaf(index));
        }
        tree
    }

    fn note(size: u64) -> Note {
        sign_checkpoint(&Checkpoint::new(ORIGIN, size, tree().root_at(size).unwrap()).unwrap(), &key())
    }

    fn proof(index: u64, size: u64, extra: Option<&[u8]>) -> TlogProof {
        let hashes = tree().inclusion(index, size).unwrap();
        TlogProof { index, hashes, checkpoint: note(size), extra: extra.map(<[u8]>::to_vec) }
    }

    #[test]
    fn proofs_are_written_as_they_were_read_and_verify() {
        for size in 1..=20 {
            for index in 0..size {
                for extra in [None, Some(&b""[..]), Some(&b"\0\xff"[..])] {
                    let proof = proof(index, size, extra);
                    assert_eq!(TlogProof::read(&proof.to_bytes()).as_ref(), Ok(&proof));
                    assert_eq!(proof.verify(&leaf(index), &log()).unwrap().checkpoint().size(), size);
                }
            }
        }
    }

    #[test]
    fn every_changed_proof_is_refused() {
        let good = proof(5, 7, None).to_bytes();
        let verify = |bytes: &[u8]| TlogProof::read(bytes).is_ok_and(|proof| proof.verify(&leaf(5), &log()).is_ok());
        assert!(verify(&good));
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&bad), "accepted with bit {bit} changed");
        }
        for len in 0..good.len() {
            assert!(!verify(&good[..len]), "accepted {len} bytes");
        }
    }

    #[test]
    fn a_proof_says_why_it_does_not_prove() {
        let proof = proof(5, 7, None);
        assert_eq!(proof.verify(&leaf(4), &log()), Err(NotProven::Inclusion(ProofError::Root)));
        let elsewhere = TlogProof { index: 7, ..proof.clone() };
        let beyond = NotProven::Inclusion(ProofError::Index { index: 7, size: 7 });
        assert_eq!(elsewhere.verify(&leaf(5), &log()), Err(beyond));
        let stranger = NoteKey::new("other.example.org", KeyKind::Log, key().public()).unwrap();
        let unknown = NoteError::Unknown { name: "other.example.org".to_owned() };
        assert_eq!(proof.verify(&leaf(5), &stranger), Err(NotProven::Checkpoint(unknown)));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let hash = leaf(0).to_base64();
        let good = format!("{TLOG_PROOF}\nextra AA==\nindex 0\n{hash}\n\n{}", note_text());
        let read = |from: &str, to: &str| {
            assert!(good.contains(from), "{from:?}");
            TlogProof::read(good.replacen(from, to, 1).as_bytes())
        };
        assert!(read("", "").is_ok());
        assert!(read("extra AA==\n", "").is_ok());
        assert_eq!(TlogProof::read(b""), Err(ProofTextError::Divider));
        assert_eq!(TlogProof::read(b"\n\n"), Err(ProofTextError::Format));
        assert_eq!(TlogProof::read(b"\xff\n\n"), Err(ProofTextError::Divider));
        assert_eq!(TlogProof::read(format!("{TLOG_PROOF}\n\n").as_bytes()), Err(number("index")));
        for (from, to) in [("@v1", "@v2"), ("@v1\n", "@v1 \n"), ("c2sp", " c2sp"), ("@v1\n", "@v1\r\n")] {
            assert_eq!(read(from, to), Err(ProofTextError::Format), "{from:?} as {to:?}");
        }
        for (from, to) in [("AA==", "AA"), ("AA==", "AB=="), ("AA==", "AA== "), ("extra ", "extra  ")] {
            assert_eq!(read(from, to), Err(ProofTextError::Extra), "{from:?} as {to:?}");
        }
        for (from, to) in [
            ("index 0", "index 00"),
            ("index 0", "index +1"),
            ("index 0", "index -1"),
            ("index 0", "index  0"),
            ("index 0", "index 0 "),
            ("index 0", "index"),
            ("index 0", "index0"),
            ("index 0", "Index 0"),
            ("index 0", "index 18446744073709551616"),
            ("index 0\n", ""),
            ("extra AA==\n", "extra AA==\nextra AA==\n"),
            ("extra ", "Extra "),
        ] {
            assert_eq!(read(from, to), Err(number("index")), "{from:?} as {to:?}");
        }
        for to in ["AAAA", " ", &hash[1..], "extra AA=="] {
            assert_eq!(read(&hash, to), Err(ProofTextError::Hash { at: 0 }), "{to:?}");
        }
        // An empty line ends the hashes, and what follows is the note.
        let early = read(&format!("{hash}\n"), "\n").unwrap();
        assert!(early.hashes.is_empty() && early.checkpoint.text().starts_with('\n'));
        assert_eq!(read("\u{2014}", "-"), Err(ProofTextError::Note(NoteError::Line { line: 1 })));
    }

    fn number(label: &'static str) -> ProofTextError {
        ProofTextError::Number { label }
    }

    fn note_text() -> String {
        String::from_utf8(note(7).to_bytes()).unwrap()
    }

    #[test]
    fn limits_are_kept_to_the_byte() {
        let with = |hashes: usize, extra: usize| {
            let hashes = vec![leaf(0); hashes];
            let proof = TlogProof { index: 0, hashes, checkpoint: note(7), extra: Some(vec![0; extra]) };
            TlogProof::read(&proof.to_bytes()).map(|_| ())
        };
        assert_eq!(with(MAX_PROOF_HASHES, 0), Ok(()));
        assert_eq!(with(MAX_PROOF_HASHES + 1, 0), Err(ProofTextError::Hashes));
        let fixed = format!("{TLOG_PROOF}\nextra \nindex 0\n").len();
        let fits = (MAX_HEAD_BYTES - fixed) / 4 * 3;
        assert_eq!(with(0, fits), Ok(()));
        assert_eq!(with(0, fits + 1), Err(ProofTextError::Size));
        let read = |head: usize, note: usize| {
            let head = format!("{}\n", "a".repeat(head - 1));
            let bytes = [head.as_bytes(), b"\n", &vec![b'\n'; note]].concat();
            split(&bytes).map(|(head, note)| (head.len(), note.len()))
        };
        assert_eq!(read(MAX_HEAD_BYTES, MAX_NOTE_BYTES), Ok((MAX_HEAD_BYTES, MAX_NOTE_BYTES)));
        assert_eq!(read(MAX_HEAD_BYTES + 1, 1), Err(ProofTextError::Size));
        assert_eq!(read(MAX_HEAD_BYTES - 1, MAX_NOTE_BYTES + 1), Err(ProofTextError::Size));
        assert_eq!(TlogProof::read(&vec![b'a'; MAX_BYTES + 1]), Err(ProofTextError::Size));
    }

    #[test]
    fn requests_are_written_as_they_were_read() {
        for new in 1..=20 {
            for old in 0..=new {
                let proof = tree().consistency(old, new).unwrap();
                let request = AddCheckpoint { old, proof, note_bytes: note(new).to_bytes() };
                assert_eq!(AddCheckpoint::read(&request.to_bytes()), Ok(request));
            }
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let hash = leaf(0).to_base64();
        let read = |text: &str| AddCheckpoint::read(text.as_bytes()).map(|_| ());
        assert_eq!(read("old 1\n\n"), Ok(()));
        assert_eq!(read(&format!("old 1\n{hash}\n\nnote")), Ok(()));
        for bad in ["", "old 1\n", "old 1", &format!("old 1\n{hash}\n")] {
            assert_eq!(read(bad), Err(ProofTextError::Divider), "{bad:?}");
        }
        for bad in
            ["\n\n", "old\n\n", "old 01\n\n", "old +1\n\n", "new 1\n\n", "old 1 \n\n", "old  1\n\n", "old 1\r\n\n"]
        {
            assert_eq!(read(bad), Err(number("old")), "{bad:?}");
        }
        assert_eq!(read(&format!("old 1\n{hash}\nAA==\n\n")), Err(ProofTextError::Hash { at: 1 }));
        let many = format!("{hash}\n").repeat(MAX_PROOF_HASHES);
        assert_eq!(read(&format!("old 1\n{many}\n")), Ok(()));
        assert_eq!(read(&format!("old 1\n{many}{hash}\n\n")), Err(ProofTextError::Hashes));
    }

    #[test]
    fn sizes_have_one_line() {
        for size in [0, 7, u64::MAX] {
            assert_eq!(read_size(write_size(size).as_bytes()), Some(size));
        }
        for bad in [&b"7"[..], b"", b"\n", b"07\n", b"7\n\n", b"7\r\n", b" 7\n", b"\xff\n"] {
            assert_eq!(read_size(bad), None, "{bad:?}");
        }
    }
}
