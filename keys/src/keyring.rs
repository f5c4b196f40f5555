//! The keyring: who may sign what. It is the one file that trust is written in.
//!
//! A keyring is a JSON document of at most [`MAX_KEYRING_BYTES`], read strictly: no unknown field, no key twice. It has
//! a `schemaVersion`, which is 1, a `version`, which every change raises by one from 1 on, its `keys`, and
//!
//! - where there is a root key that is not revoked, and only then, a `threshold`: how many of these must sign a change
//!   of the keyring, one at least and all of them at most;
//! - perhaps a `quorum`: how many witness keys must have cosigned a checkpoint, one at least and all that are not
//!   revoked at most. Without it none need.
//!
//! A key has
//!
//! - a `name` for people, which no other key in the keyring has; a witness is called neither `none` nor `quorum-group`,
//!   which are words of the trust policy that is written from the keyring;
//! - a `role`, which says what it may sign (below); of the keys with role `log`, one at most is not revoked;
//! - its `publicKey`, 32 bytes in canonical base64, which no other key in the keyring has: one key holds one role;
//! - with role `log` or `witness`, and only then, a `noteName`, its name in signed notes, which no other key in the
//!   keyring has. The log's is its origin, a bare host name; a witness's may have a path;
//! - with role `witness`, perhaps a `url`, the prefix under which it takes checkpoints;
//! - with role `vendor`, and only then, the `meshes` that it speaks for, at least one and each once, and `publish`,
//!   which says whether its results are published `direct` or `after-review`;
//! - where it is revoked, `revoked`: entries of the log from index `fromIndex` on do not count if it signed them. 0
//!   means that none does. A revocation is never undone; it can be moved to an earlier index.
//!
//! | role       | may sign the predicate type                           |
//! |------------|-------------------------------------------------------|
//! | `root`     | `keyring/v1`, as many together as the threshold says  |
//! | `suite`    | `suite/v1`                                            |
//! | `vendor`   | `result/v1`, `withdrawal/v1`, `supersession/v1`       |
//! | `reviewer` | `review/v1`                                           |
//! | `log`      | none: it signs checkpoints                            |
//! | `witness`  | none: it cosigns checkpoints                          |
//!
//! Each of these stands for `https://smi-spec.io/conformance/…`; [`smi_schemas::record`] says what they are.
//!
//! A keyring follows another ([`Keyring::check_successor`]) that has an earlier version, and of which every key is in
//! its place, unaltered but for its revocation. New keys come last.
//!
//! The keyring's bytes are what is distributed, and their digest names them; whoever trusts a keyring says which.
//!
//! ```
//! use smi_keys::keyring::{Keyring, Publish, Role};
//! use smi_schemas::{Digest, statement};
//!
//! let text = br#"{
//!   "schemaVersion": 1,
//!   "version": 6,
//!   "threshold": 1,
//!   "quorum": 1,
//!   "keys": [
//!     {
//!       "name": "root",
//!       "role": "root",
//!       "publicKey": "F4BvPyD8vGkQ1ueSxfJ9ff/qTxJSr9+lJ9dCqGjth4M="
//!     },
//!     {
//!       "name": "log",
//!       "role": "log",
//!       "publicKey": "mx+EeRz8dmMEWFTTid61ypVEnYdfJ2qDhAsGCrOc/HE=",
//!       "noteName": "results.example.org"
//!     },
//!     {
//!       "name": "witness",
//!       "role": "witness",
//!       "publicKey": "e6fRU0Bo6Kcguzh9jH0zxTaeHZSiz16daPqLCfRqB8Q=",
//!       "noteName": "witness.example.org/w1",
//!       "url": "https://witness.example.org/add"
//!     },
//!     {
//!       "name": "acme",
//!       "role": "vendor",
//!       "publicKey": "4ur/P+n4MQTQ/3AQSaDUyPAFvFJHsnXxBPvcwo9aYTU=",
//!       "meshes": [
//!         "acme-mesh"
//!       ],
//!       "publish": "direct"
//!     }
//!   ]
//! }
//! "#;
//! let (keyring, digest) = Keyring::read(text).unwrap();
//! assert_eq!((keyring.version(), digest), (6, Digest::of(text)));
//! assert_eq!(keyring.to_bytes(), text);
//!
//! let id = "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3c".parse().unwrap();
//! let key = keyring.find(&id).unwrap();
//! assert!(key.role.may_sign(statement::RESULT_TYPE) && !Role::Reviewer.may_sign(statement::RESULT_TYPE));
//! assert!(key.meshes.contains(&"acme-mesh".parse().unwrap()));
//! assert_eq!(key.publish, Some(Publish::Direct));
//! assert_eq!((keyring.roots().count(), keyring.threshold()), (1, Some(1)));
//! assert_eq!((keyring.witnesses().count(), keyring.quorum()), (1, Some(1)));
//! assert_eq!(keyring.log().and_then(|log| log.note_name.as_ref()).unwrap().as_str(), "results.example.org");
//! ```

mod error;
mod file;
mod succession;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use smi_schemas::names::{NoteName, Slug, Url};
use smi_schemas::{Digest, documents, json, record, statement};

pub use self::error::{ChangeError, CountError, EntryError, KeyringError};
use self::file::{File, FileEntry, Head};
pub use self::succession::SuccessionError;
use crate::{KeyId, PublicKey, export};

/// Bytes of the largest keyring that is read: room for about a thousand keys, and little enough for a bundle, which has
/// it as base64 of base64.
pub const MAX_KEYRING_BYTES: usize = 256 * 1024;

/// The version of the keyring's shape that is written and read.
pub const SCHEMA_VERSION: u32 = 1;

/// The last version a keyring can have: the greatest integer that every JSON reader keeps exact.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// What a witness is not called: words that have another meaning among the witnesses of a trust policy.
const RESERVED: [&str; 2] = [export::NO_QUORUM, export::GROUP];

/// Keys and what they may sign. It holds every rule of this module by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    version: u64,
    threshold: Option<u32>,
    quorum: Option<u32>,
    keys: Vec<Entry>,
}

/// A key and what it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "FileEntry")]
pub struct Entry {
    /// Its name for people.
    pub name: Slug,
    /// What it may sign.
    pub role: Role,
    /// The key.
    pub public_key: PublicKey,
    /// Its name in signed notes: the log's origin, or a witness's name.
    pub note_name: Option<NoteName>,
    /// Where a witness takes checkpoints.
    pub url: Option<Url>,
    /// The meshes that a vendor's key speaks for.
    pub meshes: BTreeSet<Slug>,
    /// How a vendor's results are published.
    pub publish: Option<Publish>,
    /// From where on it does not count.
    pub revoked: Option<Revoked>,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs keyrings, together with others.
    Root,
    /// Signs releases of the suite.
    Suite,
    /// Signs results of its meshes.
    Vendor,
    /// Signs reviews.
    Reviewer,
    /// Signs checkpoints of the log.
    Log,
    /// Cosigns checkpoints of the log.
    Witness,
}

/// How a vendor's results are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Publish {
    /// When they are accepted.
    Direct,
    /// When they are accepted and reviewed.
    AfterReview,
}

/// A revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revoked {
    /// Index of the first log entry that does not count.
    pub from_index: u64,
}

/// Which predicate types each role may sign. What is not listed may not.
const MAY_SIGN: &[(Role, &str)] = &[
    (Role::Root, record::KEYRING_TYPE),
    (Role::Suite, record::SUITE_TYPE),
    (Role::Vendor, statement::RESULT_TYPE),
    (Role::Vendor, record::WITHDRAWAL_TYPE),
    (Role::Vendor, record::SUPERSESSION_TYPE),
    (Role::Reviewer, record::REVIEW_TYPE),
];

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [Self::Root, Self::Suite, Self::Vendor, Self::Reviewer, Self::Log, Self::Witness];

    /// Whether a key of this role may sign statements of this predicate type.
    pub fn may_sign(self, predicate_type: &str) -> bool {
        MAY_SIGN.contains(&(self, predicate_type))
    }

    /// The role as a keyring has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Suite => "suite",
            Self::Vendor => "vendor",
            Self::Reviewer => "reviewer",
            Self::Log => "log",
            Self::Witness => "witness",
        }
    }
}

/// The text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such role")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(ParseRoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::AfterReview => "after-review",
        })
    }
}

/// A key of a keyring by its name or its id. No text is both: a name has at most 63 characters, an id has 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// Its name.
    Name(Slug),
    /// Its id.
    Id(KeyId),
}

/// The text is neither a key's name nor a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither the name of a key (1 to 63 of a-z, 0-9 and -) nor a key id (64 lower-case hexadecimal digits)")]
pub struct ParseKeyRefError;

impl FromStr for KeyRef {
    type Err = ParseKeyRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.parse().map(Self::Id).ok();
        id.or_else(|| text.parse().map(Self::Name).ok()).ok_or(ParseKeyRefError)
    }
}

impl KeyRef {
    fn is_of(&self, entry: &Entry) -> bool {
        match self {
            Self::Name(name) => entry.name == *name,
            Self::Id(id) => entry.public_key.key_id() == *id,
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Id(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl Entry {
    /// A key with nothing but name and role.
    pub fn new(name: Slug, role: Role, public_key: PublicKey) -> Self {
        let (note_name, url, meshes, publish, revoked) = (None, None, BTreeSet::new(), None, None);
        Self { name, role, public_key, note_name, url, meshes, publish, revoked }
    }

    /// Whether it counts for the entry of the log at this index.
    pub fn in_force(&self, index: u64) -> bool {
        self.revoked.is_none_or(|Revoked { from_index }| index < from_index)
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self { version: 1, threshold: None, quorum: None, keys: Vec::new() }
    }
}

impl Keyring {
    /// Reads a keyring. Its digest is that of the bytes.
    pub fn read(bytes: &[u8]) -> Result<(Self, Digest), KeyringError> {
        let head: Head = json::parse(bytes, MAX_KEYRING_BYTES)?;
        if head.schema_version != SCHEMA_VERSION {
            return Err(KeyringError::SchemaVersion { found: head.schema_version });
        }
        let File { version, threshold, quorum, keys, .. } = json::parse(bytes, MAX_KEYRING_BYTES)?;
        if !(1..=MAX_VERSION).contains(&version) {
            return Err(KeyringError::Version { found: version });
        }
        let mut keyring = Self { version, threshold, quorum, keys: Vec::new() };
        for entry in keys {
            keyring.push(Entry::try_from(entry)?)?;
        }
        keyring.check_counts()?;
        // Last, so that a broken rule is named before a mere form.
        json::parse_exact::<File>(bytes, MAX_KEYRING_BYTES)?;
        Ok((keyring, Digest::of(bytes)))
    }

    /// The keyring's bytes. The same keyring always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { version, threshold, quorum, ref keys } = *self;
        let keys = keys.iter().cloned().map(FileEntry::from).collect();
        let file = File { schema_version: SCHEMA_VERSION, version, threshold, quorum, keys };
        // Every key is a string and every number an integer, so writing cannot fail.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// How often it was changed, and one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many root keys must sign a change of the keyring. There is a number exactly where there are [`Self::roots`].
    pub fn threshold(&self) -> Option<u32> {
        self.threshold
    }

    /// How many witness keys must have cosigned a checkpoint; none need where there is no number.
    pub fn quorum(&self) -> Option<u32> {
        self.quorum
    }

    /// Every key, in the order in which they were added.
    pub fn keys(&self) -> &[Entry] {
        &self.keys
    }

    /// The root keys that are not revoked.
    pub fn roots(&self) -> impl Iterator<Item = &Entry> {
        self.unrevoked(Role::Root)
    }

    /// The log's key that is not revoked.
    pub fn log(&self) -> Option<&Entry> {
        self.unrevoked(Role::Log).next()
    }

    /// The witness keys that are not revoked.
    pub fn witnesses(&self) -> impl Iterator<Item = &Entry> {
        self.unrevoked(Role::Witness)
    }

    /// The key with this id, revoked or not.
    pub fn find(&self, id: &KeyId) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.public_key.key_id() == *id)
    }

    /// Adds a key. With the first root key, the threshold becomes one.
    pub fn add(&mut self, entry: Entry) -> Result<(), ChangeError> {
        let mut next = self.next()?;
        next.push(entry)?;
        if next.threshold.is_none() && next.roots().next().is_some() {
            next.threshold = Some(1);
        }
        next.check_counts()?;
        *self = next;
        Ok(())
    }

    /// Revokes a key from a log index on, or moves its revocation to an earlier index, and returns its entry. As many
    /// root and witness keys must stay as threshold and quorum ask for.
    pub fn revoke(&mut self, key: &KeyRef, from_index: u64) -> Result<&Entry, ChangeError> {
        let mut next = self.next()?;
        let place = self.keys.iter().position(|entry| key.is_of(entry));
        let place = place.ok_or_else(|| ChangeError::NotFound { key: key.clone() })?;
        let entry = &mut next.keys[place];
        match entry.revoked {
            Some(Revoked { from_index: earlier }) if earlier <= from_index => {
                return Err(ChangeError::RevokedAlready { name: entry.name.clone(), from_index: earlier });
            }
            _ => entry.revoked = Some(Revoked { from_index }),
        }
        next.check_counts()?;
        *self = next;
        Ok(&self.keys[place])
    }

    /// Sets threshold and quorum.
    pub fn set(&mut self, threshold: Option<u32>, quorum: Option<u32>) -> Result<(), ChangeError> {
        if (threshold, quorum) == (self.threshold, self.quorum) {
            return Err(ChangeError::Same);
        }
        let next = Self { threshold, quorum, ..self.next()? };
        next.check_counts()?;
        *self = next;
        Ok(())
    }

    /// The same keyring under the next version.
    fn next(&self) -> Result<Self, ChangeError> {
        let version = self.version + 1;
        if version > MAX_VERSION { Err(ChangeError::LastVersion) } else { Ok(Self { version, ..self.clone() }) }
    }

    fn unrevoked(&self, role: Role) -> impl Iterator<Item = &Entry> {
        self.keys.iter().filter(move |entry| entry.role == role && entry.revoked.is_none())
    }

    /// Every key comes in here, read or added.
    fn push(&mut self, entry: Entry) -> Result<(), EntryError> {
        entry.check()?;
        let name = || entry.name.clone();
        for present in &self.keys {
            if present.name == entry.name {
                return Err(EntryError::NameTaken { name: name() });
            }
            if present.public_key == entry.public_key {
                return Err(EntryError::KeyPresent { name: name(), present: present.name.clone() });
            }
            if let Some(note_name) = entry.note_name.clone().filter(|_| present.note_name == entry.note_name) {
                return Err(EntryError::NoteNameTaken { name: name(), present: present.name.clone(), note_name });
            }
        }
        if entry.role == Role::Log
            && entry.revoked.is_none()
            && let Some(present) = self.log()
        {
            return Err(EntryError::SecondLog { name: name(), present: present.name.clone() });
        }
        self.keys.push(entry);
        Ok(())
    }

    fn check_counts(&self) -> Result<(), CountError> {
        let count = |role| u32::try_from(self.unrevoked(role).count()).unwrap_or(u32::MAX);
        let (roots, witnesses) = (count(Role::Root), count(Role::Witness));
        match self.threshold {
            None if roots > 0 => return Err(CountError::NoThreshold { roots }),
            Some(threshold) if !(1..=roots).contains(&threshold) => {
                return Err(CountError::Threshold { threshold, roots });
            }
            _ => {}
        }
        match self.quorum {
            Some(quorum) if !(1..=witnesses).contains(&quorum) => Err(CountError::Quorum { quorum, witnesses }),
            _ => Ok(()),
        }
    }
}

impl Entry {
    /// The rules that concern one key alone.
    fn check(&self) -> Result<(), EntryError> {
        let (name, role) = (self.name.clone(), self.role);
        match (role == Role::Vendor, self.meshes.is_empty(), self.publish) {
            (true, true, _) => return Err(EntryError::VendorWithoutMesh { name }),
            (true, false, None) => return Err(EntryError::VendorWithoutPublish { name }),
            (false, false, _) => return Err(EntryError::MeshWithoutVendor { name, role }),
            (false, true, Some(_)) => return Err(EntryError::PublishWithoutVendor { name, role }),
            (true, false, Some(_)) | (false, true, None) => {}
        }
        match (role, &self.note_name) {
            (Role::Log | Role::Witness, None) => return Err(EntryError::NoteNameMissing { name, role }),
            (Role::Log, Some(note_name)) if !note_name.is_host() => {
                return Err(EntryError::OriginWithPath { name, note_name: note_name.clone() });
            }
            (Role::Log | Role::Witness, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(EntryError::NoteNameWithoutNote { name, role }),
        }
        if role != Role::Witness {
            return if self.url.is_some() { Err(EntryError::UrlWithoutWitness { name, role }) } else { Ok(()) };
        }
        if RESERVED.contains(&name.as_str()) { Err(EntryError::NameReserved { name }) } else { Ok(()) }
    }
}

/// Name and JSON Schema of a keyring's file.
pub fn document() -> (&'static str, Schema) {
    ("keyring.v1.json", documents::of::<File>())
}

#[cfg(test)]
mod tests;
