//! Checkpoints: what a log signs, and what witnesses sign that they saw.
//!
//! The text of a [C2SP checkpoint] is three lines: the log's origin, which is also the name of its key; the number of
//! its entries, in decimal; and the root of their Merkle tree, in base64. Lines beyond these are refused: nobody could
//! audit them.
//!
//! A [C2SP cosignature] is eight bytes, the seconds since 1970, and an Ed25519 signature over the lines
//! `cosignature/v1`, `time SECONDS` and the checkpoint's text. It says that at that time no larger tree of the log was
//! known to the witness, and that this one is consistent with all that the witness saw before.
//!
//! [C2SP checkpoint]: https://c2sp.org/tlog-checkpoint
//! [C2SP cosignature]: https://c2sp.org/tlog-cosignature

use std::fmt;

use smi_keys::SigningKey;

use super::{KeyKind, Note, NoteError, NoteKey, NoteSignature, SIGNATURE_BYTES, decimal, id_of, is_own_name, key_hash};
use crate::merkle::Hash;

/// The latest time that a cosignature may have, in seconds since 1970.
const MAX_TIME: u64 = i64::MAX as u64;

/// A log's size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

/// Why text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a name that a log can have.
    #[error("the checkpoint's origin is not the name of a key")]
    Origin,
    /// Not three lines, each with a newline.
    #[error("a checkpoint is three lines: origin, size and root")]
    Lines,
    /// Not a number in its one decimal form.
    #[error("the checkpoint's size is not a decimal number without leading zeros below 2^64")]
    Size,
    /// Not a hash in its one base64 form.
    #[error("the checkpoint's root is not the canonical base64 of 32 bytes")]
    Root,
    /// A size of 0 and the root of a tree with entries, or the other way round.
    #[error("the checkpoint's size is 0 or its root is that of no entries, but not both")]
    Empty,
}

impl Checkpoint {
    /// The log `origin` with so many entries and this root.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_own_name(origin) {
            return Err(CheckpointError::Origin);
        }
        if (size == 0) != (root == Hash::EMPTY) {
            return Err(CheckpointError::Empty);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a checkpoint's text.
    pub fn read(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        let size = decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).map_err(|_| CheckpointError::Root)?;
        Self::new(origin, size, root)
    }

    /// The log, by the name of its key.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of their Merkle tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }
}

/// Signs a checkpoint as its log.
pub fn sign_checkpoint(checkpoint: &Checkpoint, key: &SigningKey) -> Note {
    let text = checkpoint.to_string();
    let id = id_of(&key_hash(&checkpoint.origin, KeyKind::Log, &key.public()));
    let bytes = key.sign(text.as_bytes()).to_vec();
    Note { text, signatures: vec![NoteSignature { name: checkpoint.origin.clone(), id, bytes }] }
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignError {
    /// Not a name.
    #[error("the witness's name is not the name of a key")]
    Name,
    /// A time that a cosignature cannot have.
    #[error("a cosignature's time is at least 1 and below 2^63 seconds")]
    Time,
}

/// Signs, as the witness `name`, that a checkpoint was seen at a time, which is in seconds since 1970.
pub fn cosign(checkpoint: &Checkpoint, name: &str, key: &SigningKey, time: u64) -> Result<NoteSignature, CosignError> {
    if !is_own_name(name) {
        return Err(CosignError::Name);
    }
    if time == 0 || time > MAX_TIME {
        return Err(CosignError::Time);
    }
    let id = id_of(&key_hash(name, KeyKind::Witness, &key.public()));
    let signature = key.sign(&cosigned(&checkpoint.to_string(), time));
    Ok(NoteSignature { name: name.to_owned(), id, bytes: [&time.to_be_bytes()[..], &signature].concat() })
}

/// A checkpoint that its log signed. Only [`open`] and [`Note::open`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Reads a checkpoint and verifies the log's signature.
pub fn open(bytes: &[u8], log: &NoteKey) -> Result<SignedCheckpoint, NoteError> {
    Note::read(bytes)?.open(log)
}

impl Note {
    /// Verifies the log's signature, and reads the checkpoint that it signed.
    pub fn open(self, log: &NoteKey) -> Result<SignedCheckpoint, NoteError> {
        if log.kind != KeyKind::Log {
            return Err(NoteError::Kind { name: log.name.clone() });
        }
        let mut is_signed = false;
        for signature in self.said_to_be_by(log) {
            if !log.public.verify(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::Signature { name: log.name.clone() });
            }
            is_signed = true;
        }
        if !is_signed {
            return Err(NoteError::Unknown { name: log.name.clone() });
        }
        let checkpoint = Checkpoint::read(&self.text)?;
        if checkpoint.origin != log.name {
            return Err(NoteError::Origin { expected: log.name.clone(), found: checkpoint.origin });
        }
        Ok(SignedCheckpoint { checkpoint, note: self })
    }
}

impl SignedCheckpoint {
    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all signatures.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Which of these witnesses cosigned, by their place in the list, and when, in seconds since 1970.
    ///
    /// A witness counts once, with the earliest of its times, and so does a public key: of two witnesses that share
    /// one, the second never counts, because the signature does not say which of them made it.
    pub fn cosignatures(&self, witnesses: &[NoteKey]) -> Result<Vec<(usize, u64)>, NoteError> {
        let mut counted = Vec::new();
        for (at, witness) in witnesses.iter().enumerate() {
            if witness.kind != KeyKind::Witness {
                return Err(NoteError::Kind { name: witness.name.clone() });
            }
            let times = self.note.said_to_be_by(witness).map(|signature| self.time(witness, signature));
            let times = times.collect::<Result<Vec<_>, _>>()?;
            let is_new = witnesses[..at].iter().all(|other| other.public != witness.public);
            if let Some(time) = times.into_iter().min().filter(|_| is_new) {
                counted.push((at, time));
            }
        }
        Ok(counted)
    }

    /// When the witness made the signature.
    fn time(&self, witness: &NoteKey, signature: &NoteSignature) -> Result<u64, NoteError> {
        let refused = || NoteError::Signature { name: witness.name.clone() };
        let (time, signature) = signature.bytes.split_first_chunk().ok_or_else(refused)?;
        let time = u64::from_be_bytes(*time);
        let is_good = (1..=MAX_TIME).contains(&time)
            && signature.len() == SIGNATURE_BYTES
            && witness.public.verify(&cosigned(&self.note.text, time), signature);
        if is_good { Ok(time) } else { Err(refused()) }
    }
}

/// What a witness signs.
fn cosigned(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// The time after which, for certain, something was made that contains a checkpoint with cosignatures of these times:
/// the (`faulty` + 1)-th largest. So many witnesses may have told a time that had yet to come.
///
/// ```
/// use smi_verifier::note::{lower_bound, upper_bound};
///
/// let times = [1030, 1000, 9999, 1010];
/// assert_eq!((lower_bound(&times, 0), upper_bound(&times, 0)), (Some(9999), Some(1000)));
/// assert_eq!((lower_bound(&times, 1), upper_bound(&times, 1)), (Some(1030), Some(1010)));
/// assert_eq!((lower_bound(&times, 4), upper_bound(&times, 4)), (None, None));
/// ```
pub fn lower_bound(times: &[u64], faulty: usize) -> Option<u64> {
    sorted(times).rev().nth(faulty)
}

/// The time before which, for certain, everything was made that a checkpoint with cosignatures of these times covers:
/// the (`faulty` + 1)-th smallest. So many witnesses may have told a time that was long past.
pub fn upper_bound(times: &[u64], faulty: usize) -> Option<u64> {
    sorted(times).nth(faulty)
}

fn sorted(times: &[u64]) -> impl DoubleEndedIterator<Item = u64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{MAX_NAME_BYTES, MAX_NOTE_BYTES};
    use smi_schemas::Digest;

    const ORIGIN: &str = "results.example.org";
    const TIME: u64 = 1_760_000_000;

    fn key(seed: &str) -> SigningKey {
        SigningKey::from_seed(*Digest::of(seed.as_bytes()).as_bytes())
    }

    fn log() -> NoteKey {
        NoteKey::new(ORIGIN, KeyKind::Log, key("log").public()).unwrap()
    }

    fn witness(name: &str, seed: &str) -> NoteKey {
        NoteKey::new(name, KeyKind::Witness, key(seed).public()).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint::new(ORIGIN, 7, Hash::of_leaf(b"root")).unwrap()
    }

    fn signed() -> Note {
        sign_checkpoint(&checkpoint(), &key("log"))
    }

    fn cosigned_by(name: &str, seed: &str, time: u64) -> NoteSignature {
        cosign(&checkpoint(), name, &key(seed), time).unwrap()
    }

    /// The log's checkpoint with these signatures beside the log's, opened.
    fn opened(signatures: impl IntoIterator<Item = NoteSignature>) -> SignedCheckpoint {
        let mut note = signed();
        signatures.into_iter().for_each(|signature| note.push(signature).unwrap());
        open(&note.to_bytes(), &log()).unwrap()
    }

    #[test]
    fn checkpoints_are_written_as_they_were_read() {
        for (size, root) in [(0, Hash::EMPTY), (1, Hash::of_leaf(b"")), (u64::MAX, Hash::of_leaf(b""))] {
            let checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap();
            assert_eq!((checkpoint.origin(), checkpoint.size(), checkpoint.root()), (ORIGIN, size, &root));
            assert_eq!(Checkpoint::read(&checkpoint.to_string()), Ok(checkpoint));
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let root = Hash::of_leaf(b"").to_base64();
        let read = |text: &str| Checkpoint::read(&text.replace("ROOT", &root)).unwrap_err();
        assert!(Checkpoint::read(&format!("a\n1\n{root}\n")).is_ok());
        for bad in ["", "\n", "a\n1\n", "a\n1\nROOT", "a\n1\nROOT\n\n", "a\n1\nROOT\nextension\n"] {
            assert_eq!(read(bad), CheckpointError::Lines, "{bad:?}");
        }
        for bad in ["\n1\nROOT\n", "a b\n1\nROOT\n", "a+b\n1\nROOT\n", " a\n1\nROOT\n"] {
            assert_eq!(read(bad), CheckpointError::Origin, "{bad:?}");
        }
        let long = format!("{}\n1\nROOT\n", "a".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(read(&long), CheckpointError::Origin);
        for bad in ["a\n\nROOT\n", "a\n01\nROOT\n", "a\n+1\nROOT\n", "a\n1 \nROOT\n", "a\n18446744073709551616\nROOT\n"]
        {
            assert_eq!(read(bad), CheckpointError::Size, "{bad:?}");
        }
        for bad in ["a\n1\n\n", "a\n1\nROOT \n", "a\n1\nROO\n", "a\n1\nAAAA\n"] {
            assert_eq!(read(bad), CheckpointError::Root, "{bad:?}");
        }
        assert_eq!(read("a\n0\nROOT\n"), CheckpointError::Empty);
        assert_eq!(read(&format!("a\n1\n{}\n", Hash::EMPTY.to_base64())), CheckpointError::Empty);
    }

    #[test]
    fn every_changed_checkpoint_is_refused() {
        let good = signed().to_bytes();
        assert_eq!(open(&good, &log()).unwrap().note(), &signed());
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad, &log()).is_err(), "accepted with bit {bit} changed");
        }
        for len in 0..good.len() {
            assert!(open(&good[..len], &log()).is_err(), "accepted {len} bytes");
        }
        for extra in ["\n", " ", "a"] {
            assert!(open(&[&good, extra.as_bytes()].concat(), &log()).is_err());
        }
        assert_eq!(open(&vec![b'\n'; MAX_NOTE_BYTES + 1], &log()), Err(NoteError::Size));
    }

    #[test]
    fn a_log_is_known_by_name_and_id() {
        let bytes = signed().to_bytes();
        let unknown = |name: &str| Err(NoteError::Unknown { name: name.to_owned() });
        let open_as = |name: &str, seed| open(&bytes, &NoteKey::new(name, KeyKind::Log, key(seed).public()).unwrap());
        assert_eq!(open_as(ORIGIN, "other"), unknown(ORIGIN));
        assert_eq!(open_as("other.example.org", "log"), unknown("other.example.org"));
        let refused = NoteError::Kind { name: ORIGIN.to_owned() };
        assert_eq!(open(&bytes, &witness(ORIGIN, "log")), Err(refused));
    }

    #[test]
    fn signatures_of_unknown_keys_are_read_over() {
        let mut note = signed();
        let [signature] = <[_; 1]>::try_from(note.signatures.clone()).unwrap();
        note.push(NoteSignature { name: "other".to_owned(), ..signature.clone() }).unwrap();
        note.push(NoteSignature { id: [0; 4], ..signature.clone() }).unwrap();
        note.push(NoteSignature { id: [0; 4], bytes: vec![0; 5000], ..signature }).unwrap();
        note.signatures.rotate_left(1);
        assert!(open(&note.to_bytes(), &log()).is_ok());
    }

    #[test]
    fn a_bad_signature_of_the_log_beside_a_good_one_is_refused() {
        for bytes in [vec![0; 64], vec![0; 63], key("log").sign(b"another text").to_vec()] {
            for places in 0..2 {
                let mut note = signed();
                note.push(NoteSignature { bytes: bytes.clone(), ..note.signatures[0].clone() }).unwrap();
                note.signatures.rotate_left(places);
                assert_eq!(open(&note.to_bytes(), &log()), Err(NoteError::Signature { name: ORIGIN.to_owned() }));
            }
        }
    }

    #[test]
    fn a_log_signs_for_itself_only_and_nothing_but_checkpoints() {
        let id = log().id();
        let sign = |text: &str| {
            let bytes = key("log").sign(text.as_bytes()).to_vec();
            let note =
                Note { text: text.to_owned(), signatures: vec![NoteSignature { name: ORIGIN.to_owned(), id, bytes }] };
            open(&note.to_bytes(), &log())
        };
        let other = checkpoint().to_string().replace(ORIGIN, "other.example.org");
        let origin = NoteError::Origin { expected: ORIGIN.to_owned(), found: "other.example.org".to_owned() };
        assert!(sign(&checkpoint().to_string()).is_ok());
        assert_eq!(sign(&other), Err(origin));
        assert_eq!(sign("text\n"), Err(NoteError::Checkpoint(CheckpointError::Lines)));
        let extended = format!("{}extension\n", checkpoint());
        assert_eq!(sign(&extended), Err(NoteError::Checkpoint(CheckpointError::Lines)));
    }

    #[test]
    fn witnesses_count_once_each_with_their_earliest_time() {
        let witnesses = [witness("w/1", "one"), witness("w/2", "two"), witness("w/3", "three")];
        assert_eq!(opened([]).cosignatures(&witnesses), Ok(vec![]));
        let signatures =
            [("w/3", "three", 40), ("w/1", "one", 30), ("w/1", "one", 10), ("w/1", "one", 20), ("w/9", "nine", 5)];
        let opened = opened(signatures.map(|(name, seed, time)| cosigned_by(name, seed, time)));
        assert_eq!(opened.cosignatures(&witnesses), Ok(vec![(0, 10), (2, 40)]));
        assert_eq!(opened.cosignatures(&[]), Ok(vec![]));
        assert_eq!(opened.checkpoint(), &checkpoint());
    }

    #[test]
    fn a_public_key_counts_once_whatever_its_names() {
        let witnesses = [witness("w/1", "one"), witness("w/2", "one"), witness("w/1", "one")];
        let opened = opened([cosigned_by("w/1", "one", 10), cosigned_by("w/2", "one", 20)]);
        assert_eq!(opened.cosignatures(&witnesses), Ok(vec![(0, 10)]));
        assert_eq!(opened.cosignatures(&witnesses[1..2]), Ok(vec![(0, 20)]));
    }

    #[test]
    fn every_changed_cosignature_of_a_known_witness_is_refused() {
        let known = witness("w/1", "one");
        let good = cosigned_by("w/1", "one", TIME);
        let check = |bytes: Vec<u8>| {
            let other = cosigned_by("w/1", "one", TIME + 1);
            opened([other, NoteSignature { bytes, ..good.clone() }]).cosignatures(std::slice::from_ref(&known))
        };
        assert_eq!(check(good.bytes.clone()), Ok(vec![(0, TIME)]));
        let refused = Err(NoteError::Signature { name: "w/1".to_owned() });
        for bit in 0..8 * good.bytes.len() {
            let mut bad = good.bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(bad), refused, "bit {bit}");
        }
        for len in 1..good.bytes.len() {
            assert_eq!(check(good.bytes[..len].to_vec()), refused, "{len} bytes");
        }
        assert_eq!(check([&good.bytes[..], &[0]].concat()), refused);
        // The log's kind of signature is none of a witness.
        assert_eq!(check(key("one").sign(checkpoint().to_string().as_bytes()).to_vec()), refused);
    }

    #[test]
    fn no_cosignature_has_a_time_that_cannot_be() {
        for time in [0, MAX_TIME + 1, u64::MAX] {
            assert_eq!(cosign(&checkpoint(), "w/1", &key("one"), time), Err(CosignError::Time));
            let signature = key("one").sign(&cosigned(&checkpoint().to_string(), time));
            let bytes = [&time.to_be_bytes()[..], &signature].concat();
            let signature = NoteSignature { bytes, ..cosigned_by("w/1", "one", TIME) };
            let refused = Err(NoteError::Signature { name: "w/1".to_owned() });
            assert_eq!(opened([signature]).cosignatures(&[witness("w/1", "one")]), refused);
        }
        for time in [1, MAX_TIME] {
            let opened = opened([cosigned_by("w/1", "one", time)]);
            assert_eq!(opened.cosignatures(&[witness("w/1", "one")]), Ok(vec![(0, time)]));
        }
        assert_eq!(cosign(&checkpoint(), "w 1", &key("one"), TIME), Err(CosignError::Name));
    }

    #[test]
    fn of_times_in_any_order_the_outermost_may_lie() {
        for times in [[10, 20, 30, 90], [90, 10, 30, 20]] {
            for (faulty, lower, upper) in [(0, 90, 10), (1, 30, 20), (2, 20, 30), (3, 10, 90)] {
                let found = (lower_bound(&times, faulty), upper_bound(&times, faulty));
                assert_eq!(found, (Some(lower), Some(upper)), "{faulty}");
            }
            assert_eq!((lower_bound(&times, 4), upper_bound(&times, 4)), (None, None));
        }
        assert_eq!((lower_bound(&[], 0), upper_bound(&[], 0)), (None, None));
    }

    #[test]
    fn a_log_is_no_witness() {
        let refused = Err(NoteError::Kind { name: ORIGIN.to_owned() });
        assert_eq!(opened([]).cosignatures(&[witness("w/1", "one"), log()]), refused);
    }
}
