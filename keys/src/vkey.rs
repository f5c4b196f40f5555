//! Keys of signed notes, as the tools of the transparency-log world write them: *vkeys* ([signed note]).
//!
//! A vkey is `NAME+ID+KEY`: the key's name, its id in 8 hexadecimal digits, and in base64 a byte for the kind of its
//! signatures and the 32 bytes of the public key. The id is the first 4 bytes of the key's *hash*, the SHA-256 of the
//! name, a line feed, the byte of the kind, and the 32 bytes; so one key has another id under another name.
//!
//! Worked example, which Go's `note` package also reads: the keys whose seeds are the SHA-256 of `log` and of `wit`.
//!
//! ```
//! use smi_keys::SigningKey;
//! use smi_keys::vkey::{VkeyKind, key_hash, vkey};
//! use smi_schemas::Digest;
//!
//! let key = |seed: &[u8]| SigningKey::from_seed(*Digest::of(seed).as_bytes()).public();
//! assert_eq!(
//!     vkey("results.example.org", VkeyKind::Log, &key(b"log")),
//!     "results.example.org+fa2c8b44+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx",
//! );
//! assert_eq!(
//!     vkey("witness.example.org/w1", VkeyKind::Witness, &key(b"wit")),
//!     "witness.example.org/w1+718e134e+BHun0VNAaOinILs4fYx9M8U2nh2Uos9enWj6iwn0agfE",
//! );
//! assert_eq!(key_hash("results.example.org", VkeyKind::Log, &key(b"log"))[..4], [0xfa, 0x2c, 0x8b, 0x44]);
//! ```
//!
//! [signed note]: https://c2sp.org/signed-note

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smi_schemas::Digest;
use smi_schemas::digest::hex;

use crate::PublicKey;
use crate::keyring::{Entry, Role};

/// Bytes of a key's hash that are its id.
const ID_BYTES: usize = 4;

/// The kind of a key's signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VkeyKind {
    /// Ed25519 over a note's text: a log's.
    Log,
    /// Ed25519 over a checkpoint and a time: a witness's.
    Witness,
}

impl VkeyKind {
    /// The byte that stands for it.
    pub fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A key as a vkey.
pub fn vkey(name: &str, kind: VkeyKind, key: &PublicKey) -> String {
    let id = hex(&key_hash(name, kind, key)[..ID_BYTES]);
    let typed = [&[kind.byte()], &key.as_bytes()[..]].concat();
    format!("{name}+{id}+{}", STANDARD.encode(typed))
}

/// The hash that names a key under a name.
pub fn key_hash(name: &str, kind: VkeyKind, key: &PublicKey) -> [u8; 32] {
    *Digest::of(&[name.as_bytes(), b"\n", &[kind.byte()], key.as_bytes()].concat()).as_bytes()
}

impl Entry {
    /// A log's or witness's key as a vkey; no other key has one.
    pub fn vkey(&self) -> Option<String> {
        self.note_key().map(|(name, kind)| vkey(name, kind, &self.public_key))
    }

    /// The hash of a log's or witness's key; no other key has one.
    pub fn key_hash(&self) -> Option<[u8; 32]> {
        self.note_key().map(|(name, kind)| key_hash(name, kind, &self.public_key))
    }

    fn note_key(&self) -> Option<(&str, VkeyKind)> {
        let kind = match self.role {
            Role::Log => VkeyKind::Log,
            Role::Witness => VkeyKind::Witness,
            Role::Root | Role::Suite | Role::Vendor | Role::Reviewer => return None,
        };
        self.note_name.as_ref().map(|name| (name.as_str(), kind))
    }
}
