//! Notes: text that is signed by one or more keys, as [C2SP signed notes].
//!
//! A note is its text, which ends with a newline, an empty line, and a line for each signature: an em dash, the name of
//! the key, and the base64 of four bytes that hint at the key and the signature. The text is signed, its last newline
//! included, the empty line not. The *last* empty line is the one that divides. Notes are UTF-8 without control
//! characters except newlines; names of keys are not empty and have no Unicode spaces and no `+`.
//!
//! The four bytes, a key's *id*, are the first of the SHA-256 of the name, a newline, one byte for the kind of key, and
//! the 32 bytes of the public key. A key's text, a *vkey*, is name, id and base64 of kind and key, joined with `+`.
//! Two kinds are known: 0x01, with which a log signs the text itself, and 0x04, with which a witness signs that it saw
//! the text at a time. Both are Ed25519, verified strictly.
//!
//! Signatures of unknown keys are read over. The signature of a known key, which is one with that name *and* id, must
//! verify, or the whole note is refused. What is read is in its one canonical form, and is written back byte for byte.
//!
//! The notes of logs are checkpoints; here is one, signed by a log and by a witness, whose keys have as seeds the
//! SHA-256 of `log` and of `wit`:
//!
//! ```
//! use smi_keys::SigningKey;
//! use smi_schemas::Digest;
//! use smi_verifier::merkle::Hash;
//! use smi_verifier::note::{Checkpoint, KeyKind, NoteKey, cosign, open, sign_checkpoint};
//!
//! let [log, witness] = [b"log", b"wit"].map(|seed| SigningKey::from_seed(*Digest::of(seed).as_bytes()));
//! let log_key = NoteKey::new("results.example.org", KeyKind::Log, log.public()).unwrap();
//! let vkey = "results.example.org+fa2c8b44+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx";
//! assert_eq!(log_key.to_string(), vkey);
//! assert_eq!(vkey.parse(), Ok(log_key.clone()));
//! let witness_key = NoteKey::new("witness.example.org/w1", KeyKind::Witness, witness.public()).unwrap();
//! let vkey = "witness.example.org/w1+718e134e+BHun0VNAaOinILs4fYx9M8U2nh2Uos9enWj6iwn0agfE";
//! assert_eq!(witness_key.to_string(), vkey);
//!
//! let root = Hash::from_base64("3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=").unwrap();
//! let checkpoint = Checkpoint::new("results.example.org", 7, root).unwrap();
//! let mut note = sign_checkpoint(&checkpoint, &log);
//! note.push(cosign(&checkpoint, "witness.example.org/w1", &witness, 1_760_000_000).unwrap()).unwrap();
//!
//! let bytes = "results.example.org
//! 7
//! 3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=
//!
//! — results.example.org +iyLRP5rCCr9ECXlMf0Od4l/6yFxofYxXQrtxlduvNk4Zv4WosxjI76lT8F9u+VbCLo+bSQUYiUsQe3fEs5Yz8nHvgY=
//! — witness.example.org/w1 cY4TTgAAAABo53gA01vJ2zl3vMRpQOu8h/1Ak+EdFXvLiB7U/rL6dRwiGCSv06WzZy3a/L2VVE9ZkrhiGoE5blOdr7+2lYFxwYa/Bg==
//! ".as_bytes();
//! assert_eq!(note.to_bytes(), bytes);
//!
//! let opened = open(bytes, &log_key).unwrap();
//! assert_eq!(opened.checkpoint(), &checkpoint);
//! assert_eq!(opened.cosignatures(&[witness_key]), Ok(vec![(0, 1_760_000_000)]));
//! ```
//!
//! [C2SP signed notes]: https://c2sp.org/signed-note

mod checkpoint;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use smi_keys::{PublicKey, PublicKeyError};
use smi_schemas::digest::hex;

pub use self::checkpoint::{
    Checkpoint, CheckpointError, CosignError, SignedCheckpoint, cosign, lower_bound, open, sign_checkpoint, upper_bound,
};

/// Bytes of a note. Signatures that others make to outlast quantum computers have up to 7,000 each.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;

/// Signatures on a note. Every reader must admit 16.
pub const MAX_SIGNATURES: usize = 64;

/// Bytes of a name that is used here: formats for newer kinds of keys have one byte for the length.
pub const MAX_NAME_BYTES: usize = 255;

/// What begins the line of a signature.
const DASH: &str = "\u{2014} ";

/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// A note's text itself.
    Log,
    /// That a checkpoint was seen at a time, as [C2SP cosignatures](https://c2sp.org/tlog-cosignature).
    Witness,
}

impl KeyKind {
    /// The byte that stands for it in key ids and vkeys.
    fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A public key with a name, as notes know keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: KeyKind,
    public: PublicKey,
    hash: [u8; 32],
}

/// Why text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteKeyError {
    /// Not a name.
    #[error("a name has 1 to {MAX_NAME_BYTES} bytes, no space, no control character and no `+`")]
    Name,
    /// Not three parts.
    #[error("a key is written NAME+ID+KEY")]
    Parts,
    /// Another id than the key has, or not in eight lower-case hexadecimal digits.
    #[error("the key's id is not {expected}")]
    Id {
        /// The id that the key has.
        expected: String,
    },
    /// Not base64 in its one canonical form, or empty.
    #[error("the key is not canonical base64")]
    Base64,
    /// Another kind of key.
    #[error("the kind of key 0x{byte:02x} is not known; known are 0x01 and 0x04")]
    Kind {
        /// The byte found.
        byte: u8,
    },
    /// Not a public key of Ed25519.
    #[error("{0}")]
    Public(#[from] PublicKeyError),
}

impl NoteKey {
    /// A key of this name.
    pub fn new(name: &str, kind: KeyKind, public: PublicKey) -> Result<Self, NoteKeyError> {
        if !is_own_name(name) {
            return Err(NoteKeyError::Name);
        }
        Ok(Self { name: name.to_owned(), kind, public, hash: key_hash(name, kind, &public) })
    }

    /// Whose key it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The id with which its signatures begin.
    pub fn id(&self) -> [u8; 4] {
        id_of(&self.hash)
    }

    /// The whole hash that the id is the beginning of. Sigstore names logs by it.
    pub fn key_hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()], &self.public.as_bytes()[..]].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), STANDARD.encode(key))
    }
}

impl FromStr for NoteKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('+').ok_or(NoteKeyError::Parts)?;
        let (id, key) = rest.split_once('+').ok_or(NoteKeyError::Parts)?;
        let key = STANDARD.decode(key).map_err(|_| NoteKeyError::Base64)?;
        let (kind, public) = key.split_first().ok_or(NoteKeyError::Base64)?;
        let kind = match kind {
            0x01 => KeyKind::Log,
            0x04 => KeyKind::Witness,
            byte => return Err(NoteKeyError::Kind { byte: *byte }),
        };
        let public = public.try_into().map_err(|_| PublicKeyError::Length { len: public.len() })?;
        let key = Self::new(name, kind, PublicKey::from_bytes(public)?)?;
        let expected = hex(&key.id());
        if id == expected { Ok(key) } else { Err(NoteKeyError::Id { expected }) }
    }
}

/// A note taken apart: nothing verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature on a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// Why a note is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than a note needs.
    #[error("the note has more than {MAX_NOTE_BYTES} bytes")]
    Size,
    /// Not UTF-8.
    #[error("the note is not UTF-8")]
    Utf8,
    /// A control character that is not a newline.
    #[error("the note has a control character that is not a newline")]
    Control,
    /// No empty line divides text and signatures, or nothing is before it.
    #[error("the note has no empty line between its text and its signatures")]
    Divider,
    /// No line of a signature.
    #[error("the note has no signature")]
    Unsigned,
    /// More signatures than are read.
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    Signatures,
    /// A line that should be a signature and is not.
    #[error("line {line} of the signatures is not an em dash, a name and the canonical base64 of id and signature")]
    Line {
        /// The line, counted from 1.
        line: usize,
    },
    /// A key of another kind than the operation needs.
    #[error("the key of {name:?} is of another kind")]
    Kind {
        /// Whose key.
        name: String,
    },
    /// None of the signatures is by the key.
    #[error("the note is not signed by {name:?}")]
    Unknown {
        /// Whose key.
        name: String,
    },
    /// A signature by the key that does not verify.
    #[error("a signature of {name:?} does not verify")]
    Signature {
        /// Whose key.
        name: String,
    },
    /// The text is not a checkpoint.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    Origin {
        /// The log whose key was given.
        expected: String,
        /// The log that the checkpoint names.
        found: String,
    },
}

impl Note {
    /// Takes a note's bytes apart.
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Size);
        }
        let note = str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
        let divider = note.rfind("\n\n").ok_or(NoteError::Divider)?;
        let (text, signatures) = (&note[..=divider], &note[divider + 2..]);
        let signatures = NoteSignature::read_lines(signatures.as_bytes())?;
        if text.bytes().any(is_control) {
            return Err(NoteError::Control);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The note's bytes: those it was read from.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.to_line());
        }
        note.into_bytes()
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, which is not verified; one that is there already is not added again.
    pub fn push(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::Signatures);
        }
        if self.to_bytes().len() + signature.to_line().len() > MAX_NOTE_BYTES {
            return Err(NoteError::Size);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The signatures that say they are by this key.
    fn said_to_be_by(&self, key: &NoteKey) -> impl Iterator<Item = &NoteSignature> {
        self.signatures.iter().filter(|signature| signature.name == key.name && signature.id == key.id())
    }
}

impl NoteSignature {
    /// Reads the lines of signatures, as they end a note and as a witness answers: at least one.
    pub fn read_lines(bytes: &[u8]) -> Result<Vec<Self>, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Size);
        }
        if bytes.iter().copied().any(is_control) {
            return Err(NoteError::Control);
        }
        let text = str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
        if text.is_empty() {
            return Err(NoteError::Unsigned);
        }
        if text.split_inclusive('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Signatures);
        }
        let lines = text.split_inclusive('\n').enumerate();
        lines.map(|(at, line)| Self::read_line(line).ok_or(NoteError::Line { line: at + 1 })).collect()
    }

    /// Whose key is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that is said to have signed.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What the key made, without its id.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The line of the signature, with its newline.
    pub fn to_line(&self) -> String {
        let signature = STANDARD.encode([&self.id[..], &self.bytes].concat());
        format!("{DASH}{} {signature}\n", self.name)
    }

    fn read_line(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_suffix('\n')?.strip_prefix(DASH)?.split_once(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let (id, bytes) = signature.split_first_chunk()?;
        let is_whole = is_name(name) && !bytes.is_empty();
        is_whole.then(|| Self { name: name.to_owned(), id: *id, bytes: bytes.to_owned() })
    }
}

/// The hash that a key's id is the beginning of.
fn key_hash(name: &str, kind: KeyKind, public: &PublicKey) -> [u8; 32] {
    Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind.byte()])
        .chain_update(public.as_bytes())
        .finalize()
        .into()
}

fn id_of(hash: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = *hash;
    [a, b, c, d]
}

/// Whether keys of others may have this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+')
}

/// Whether keys that are used here may have this name.
fn is_own_name(name: &str) -> bool {
    is_name(name) && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\n'
}

/// A number in its one decimal form.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if is_canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smi_keys::SigningKey;
    use smi_schemas::Digest;

    const LOG: &str = "results.example.org+fa2c8b44+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx";

    fn key(seed: &[u8]) -> SigningKey {
        SigningKey::from_seed(*Digest::of(seed).as_bytes())
    }

    /// A signature's line of this name, with these bytes of id and signature.
    fn line(name: &str, bytes: &[u8]) -> String {
        format!("\u{2014} {name} {}\n", STANDARD.encode(bytes))
    }

    #[test]
    fn notes_are_written_as_they_were_read() {
        let signature = line("a", &[1; 5]);
        for text in ["\n", "a\n", "a\n\nb\n", "a\n\n", "\n\n\n", "\u{2014} a AQEBAQE=\n", "ed \u{e8} sera\n\u{7f}\n"] {
            for count in [1, 2, 16, MAX_SIGNATURES] {
                let bytes = format!("{text}\n{}", signature.repeat(count)).into_bytes();
                let note = Note::read(&bytes).unwrap();
                assert_eq!((note.text(), note.signatures().len()), (text, count));
                assert_eq!(note.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn the_last_empty_line_divides() {
        let forged = format!("text\n\n{}\n{}", line("a", &[1; 5]), line("b", &[2; 5]));
        let note = Note::read(forged.as_bytes()).unwrap();
        assert_eq!(note.text(), format!("text\n\n{}", line("a", &[1; 5])));
        assert_eq!(note.signatures()[0].name(), "b");
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = line("a", &[1; 5]);
        let read = |text: String| Note::read(text.as_bytes()).unwrap_err();
        assert_eq!(read(String::new()), NoteError::Divider);
        assert_eq!(read(format!("a\n{good}")), NoteError::Divider);
        assert_eq!(read(format!("\n{good}")), NoteError::Divider);
        assert_eq!(read("a\n\n".into()), NoteError::Unsigned);
        assert_eq!(read(format!("a\r\n\n{good}")), NoteError::Control);
        assert_eq!(read(format!("a\n\n{}\r\n", good.trim_end())), NoteError::Control);
        assert_eq!(read(format!("a\0\n\n{good}")), NoteError::Control);
        assert_eq!(read(format!("a\n\n{}", good.repeat(MAX_SIGNATURES + 1))), NoteError::Signatures);
        assert_eq!(read(format!("{}\n\n{good}", "a".repeat(MAX_NOTE_BYTES))), NoteError::Size);
        assert_eq!(Note::read(b"\xff\n\n"), Err(NoteError::Utf8));
        for bad in [
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            good.replace('\u{2014}', "\u{2013}"),
            good.replace("\u{2014} ", "\u{2014}"),
            good.replace(" a ", "  "),
            good.replace(" a ", " a  "),
            good.replace(" a ", " a+b "),
            good.replace(" a ", " a\u{a0}b "),
            good.replace(" a ", " a\u{2003}b "),
            good.replace('=', ""),
            good.replace('=', "=="),
            good.replace("E=", "F="),
            good.replace('\n', " \n"),
            line("a", &[1; 4]),
            line("a", &[]),
            "\u{2014} a\n".to_owned(),
            "x\n".to_owned(),
        ] {
            assert_ne!(bad, good);
            assert_eq!(read(format!("a\n\n{bad}")), NoteError::Line { line: 1 }, "{bad:?}");
            assert_eq!(read(format!("a\n\n{good}{bad}")), NoteError::Line { line: 2 }, "{bad:?}");
        }
    }

    #[test]
    fn a_note_never_grows_beyond_what_is_read() {
        let mut note = Note::read(format!("a\n\n{}", line("a", &[1; 5])).as_bytes()).unwrap();
        let [same] = <[_; 1]>::try_from(note.signatures().to_vec()).unwrap();
        assert_eq!(note.push(same.clone()), Ok(()));
        assert_eq!(note.signatures().len(), 1);
        let large = NoteSignature { bytes: vec![0; MAX_NOTE_BYTES], ..same.clone() };
        assert_eq!(note.push(large), Err(NoteError::Size));
        for count in 2..=MAX_SIGNATURES {
            assert_eq!(note.push(NoteSignature { bytes: vec![0; count], ..same.clone() }), Ok(()));
        }
        assert_eq!(note.push(NoteSignature { bytes: vec![0; 1], ..same }), Err(NoteError::Signatures));
        assert_eq!(Note::read(&note.to_bytes()), Ok(note));
    }

    #[test]
    fn limits_are_kept_to_the_byte() {
        let signature = line("a", &[1; 5]);
        let text = "a".repeat(MAX_NOTE_BYTES - signature.len() - 3);
        let note = |text: &str| Note::read(format!("{text}\n\n{signature}").as_bytes());
        assert_eq!(note(&format!("a{text}")).unwrap().to_bytes().len(), MAX_NOTE_BYTES);
        assert_eq!(note(&format!("aa{text}")), Err(NoteError::Size));

        // A note with room for one signature more, and with one byte less.
        let more = line("b", &[1; 5]);
        let [more] = <[_; 1]>::try_from(NoteSignature::read_lines(more.as_bytes()).unwrap()).unwrap();
        let mut full = note(&text[more.to_line().len() - 1..]).unwrap();
        assert_eq!(full.push(more.clone()), Ok(()));
        assert_eq!(full.to_bytes().len(), MAX_NOTE_BYTES);
        let mut full = note(&text[more.to_line().len() - 2..]).unwrap();
        assert_eq!(full.push(more), Err(NoteError::Size));

        let name = "a".repeat(MAX_NOTE_BYTES - signature.len() + 1);
        assert_eq!(NoteSignature::read_lines(line(&name, &[1; 5]).as_bytes()).unwrap().len(), 1);
        let longer = line(&format!("a{name}"), &[1; 5]);
        assert_eq!(NoteSignature::read_lines(longer.as_bytes()), Err(NoteError::Size));
    }

    #[test]
    fn what_witnesses_answer_is_read_as_in_a_note() {
        let answer = [line("a", &[1; 76]), line("b", &[2; 76])].concat();
        let lines = NoteSignature::read_lines(answer.as_bytes()).unwrap();
        assert_eq!(lines.iter().map(NoteSignature::to_line).collect::<String>(), answer);
        assert_eq!((lines[1].name(), lines[1].id(), lines[1].bytes()), ("b", [2; 4], &[2; 72][..]));
        assert_eq!(NoteSignature::read_lines(b""), Err(NoteError::Unsigned));
        assert_eq!(NoteSignature::read_lines(b"\n"), Err(NoteError::Line { line: 1 }));
        assert_eq!(NoteSignature::read_lines(&vec![b'a'; MAX_NOTE_BYTES + 1]), Err(NoteError::Size));
    }

    #[test]
    fn keys_have_one_text() {
        let log: NoteKey = LOG.parse().unwrap();
        assert_eq!((log.name(), log.kind()), ("results.example.org", KeyKind::Log));
        assert_eq!(log.public(), &key(b"log").public());
        assert_eq!(STANDARD.encode(log.key_hash()), "+iyLRAO/525EEac5ABFEQeohtwr+PQ12HUfj6GyQopc=");
        assert_eq!(log.id(), [0xfa, 0x2c, 0x8b, 0x44]);
        let expected = || "fa2c8b44".to_owned();
        let parse = |text: &str| text.parse::<NoteKey>().unwrap_err();
        assert_eq!(parse(&LOG.replace("fa2c", "FA2C")), NoteKeyError::Id { expected: expected() });
        assert_eq!(parse(&LOG.replace("fa2c8b44", "fa2c8b45")), NoteKeyError::Id { expected: expected() });
        assert_eq!(parse(&LOG.replace("fa2c8b44", "")), NoteKeyError::Id { expected: expected() });
        assert!(matches!(parse(&LOG.replace("results", "result")), NoteKeyError::Id { .. }));
        assert_eq!(parse(&LOG.replace("+AZ", "+AZ+")), NoteKeyError::Base64);
        assert_eq!(parse(&LOG.replace("results.example.org", "")), NoteKeyError::Name);
        assert_eq!(parse(&LOG.replace("results.example", "results example")), NoteKeyError::Name);
        assert_eq!(parse(&LOG[..28]), NoteKeyError::Parts);
        assert_eq!(parse("results.example.org"), NoteKeyError::Parts);
        assert_eq!(parse(&format!("{}+", &LOG[..28])), NoteKeyError::Base64);
        assert_eq!(parse(&format!("{LOG}\n")), NoteKeyError::Base64);
        // The id of one kind is not that of another.
        let witness = NoteKey::new("results.example.org", KeyKind::Witness, key(b"log").public()).unwrap();
        let swapped = witness.to_string().replace(&hex(&witness.id()), "fa2c8b44");
        assert_eq!(parse(&swapped), NoteKeyError::Id { expected: hex(&witness.id()) });
        let public = |bytes: &[u8]| parse(&format!("a+00000000+{}", STANDARD.encode(bytes)));
        for byte in (0..=u8::MAX).filter(|byte| ![0x01, 0x04].contains(byte)) {
            let key = [&[byte][..], key(b"log").public().as_bytes()].concat();
            assert_eq!(public(&key), NoteKeyError::Kind { byte });
        }
        assert_eq!(public(&[1; 32]), NoteKeyError::Public(PublicKeyError::Length { len: 31 }));
        assert_eq!(public(&[&[1][..], &[0; 32]].concat()), NoteKeyError::Public(PublicKeyError::Weak));
    }

    #[test]
    fn names_are_whole_and_short() {
        let public = key(b"log").public();
        let new = |name: &str| NoteKey::new(name, KeyKind::Log, public);
        for name in ["a", "example.com/log2", "\u{e8}", &"a".repeat(MAX_NAME_BYTES)] {
            let key = new(name).unwrap();
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for name in ["", "a b", "a+b", "a\n", "\u{3000}", "a\0", "a\u{85}", "a\u{7f}", &"a".repeat(MAX_NAME_BYTES + 1)]
        {
            assert_eq!(new(name), Err(NoteKeyError::Name), "{name:?}");
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 10, u64::MAX] {
            assert_eq!(decimal(&number.to_string()), Some(number));
        }
        for bad in ["", "00", "01", "+1", "-1", "1 ", " 1", "1.0", "0x1", "\u{661}", "18446744073709551616"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }
}
