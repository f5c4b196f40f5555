//! The keyring: who may sign what. It is the one file that trust is written in.
//!
//! A keyring is a JSON document of at most [`MAX_KEYRING_BYTES`], read strictly: no unknown field, no key twice. It has
//! a `schemaVersion`, which is 1, a `version`, which every change raises by one from 1 on, and its `keys`. A key has
//!
//! - a `name` for people, which no other key in the keyring has;
//! - a `role`, which says what it may sign (below);
//! - its `publicKey`, 32 bytes in canonical base64, which no other key in the keyring has: one key holds one role;
//! - with role `vendor`, and only then, the `meshes` that it speaks for, at least one and each once, and `publish`,
//!   which says whether its results are published `direct` or `after-review`;
//! - where it is revoked, `revoked`: entries of the log from index `fromIndex` on do not count if it signed them. 0
//!   means that none does. A revocation is never undone; it can be moved to an earlier index.
//!
//! | role       | may sign the predicate type                    |
//! |------------|------------------------------------------------|
//! | `vendor`   | `https://smi-spec.io/conformance/result/v1`    |
//! | `root`     | none: its keys together sign keyrings          |
//! | `suite`    | `https://smi-spec.io/conformance/suite/v1`     |
//! | `reviewer` | none: it signs reviews                         |
//! | `log`      | none: it signs checkpoints                     |
//! | `witness`  | none: it cosigns checkpoints                   |
//!
//! The keyring's bytes are what is distributed, and their digest names them; whoever trusts a keyring says which.
//!
//! ```
//! use smi_keys::keyring::{Keyring, Publish, Role};
//! use smi_schemas::{Digest, statement};
//!
//! let text = br#"{
//!   "schemaVersion": 1,
//!   "version": 2,
//!   "keys": [
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
//! assert_eq!((keyring.version(), digest), (2, Digest::of(text)));
//! assert_eq!(keyring.to_bytes(), text);
//!
//! let id = "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3c".parse().unwrap();
//! let key = keyring.find(&id).unwrap();
//! assert!(key.role.may_sign(statement::RESULT_TYPE) && !Role::Reviewer.may_sign(statement::RESULT_TYPE));
//! assert!(key.meshes.contains(&"acme-mesh".parse().unwrap()));
//! assert_eq!(key.publish, Some(Publish::Direct));
//! ```

mod file;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use smi_schemas::codes::Code;
use smi_schemas::json::{self, JsonError};
use smi_schemas::names::Slug;
use smi_schemas::{Digest, documents, release, statement};

use self::file::{File, FileEntry, Head};
use crate::{KeyId, PublicKey, PublicKeyError};

/// Bytes of the largest keyring that is read: room for some thousands of keys.
pub const MAX_KEYRING_BYTES: usize = 1024 * 1024;

/// The version of the keyring's shape that is written and read.
pub const SCHEMA_VERSION: u32 = 1;

/// The last version a keyring can have: the greatest integer that every JSON reader keeps exact.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// Keys and what they may sign. It holds every rule of this module by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    version: u64,
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
const MAY_SIGN: &[(Role, &str)] = &[(Role::Vendor, statement::RESULT_TYPE), (Role::Suite, release::SUITE_TYPE)];

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

/// Why bytes are not a keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Not the JSON of a keyring.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A shape that is not known here.
    #[error("schemaVersion is {found}, not {SCHEMA_VERSION}")]
    SchemaVersion {
        /// The version found.
        found: u32,
    },
    /// A version that no keyring has.
    #[error("version is {found}, not 1 to {MAX_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// Something that is no public key, or a weak one.
    #[error("key {name}: {cause}")]
    PublicKey {
        /// The key's name.
        name: Slug,
        /// Why not.
        cause: PublicKeyError,
    },
    /// A mesh twice in one key.
    #[error("key {name} has mesh {mesh} twice")]
    MeshTwice {
        /// The key's name.
        name: Slug,
        /// The mesh.
        mesh: Slug,
    },
    /// A key that does not belong beside the others.
    #[error("{0}")]
    Entry(#[from] EntryError),
}

impl KeyringError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        Code::KeyringInvalid
    }
}

/// Why a key does not belong in a keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Another key has the name.
    #[error("key {name} is there already")]
    NameTaken {
        /// The name.
        name: Slug,
    },
    /// The public key is there already.
    #[error("key {name} has the same public key as {present}")]
    KeyPresent {
        /// The key's name.
        name: Slug,
        /// The name that the key has already.
        present: Slug,
    },
    /// A vendor's key that speaks for no mesh.
    #[error("key {name} has role vendor and no mesh")]
    VendorWithoutMesh {
        /// The key's name.
        name: Slug,
    },
    /// A key that speaks for a mesh and is no vendor's.
    #[error("key {name} has role {role} and a mesh")]
    MeshWithoutVendor {
        /// The key's name.
        name: Slug,
        /// Its role.
        role: Role,
    },
    /// A vendor's key that does not say how its results are published.
    #[error("key {name} has role vendor and does not say how to publish")]
    VendorWithoutPublish {
        /// The key's name.
        name: Slug,
    },
    /// A key that says how results are published and is no vendor's.
    #[error("key {name} has role {role} and says how to publish")]
    PublishWithoutVendor {
        /// The key's name.
        name: Slug,
        /// Its role.
        role: Role,
    },
}

/// Why a keyring was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The key to add does not belong there.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// There is no such key.
    #[error("no key {key}")]
    NotFound {
        /// What was looked for.
        key: KeyRef,
    },
    /// The key is revoked from the same index or an earlier one.
    #[error("key {name} is revoked from index {from_index} on")]
    RevokedAlready {
        /// The key's name.
        name: Slug,
        /// From where on it does not count.
        from_index: u64,
    },
    /// There is no version after this one.
    #[error("version {MAX_VERSION} is the last that a keyring can have")]
    LastVersion,
}

impl ChangeError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Entry(EntryError::NameTaken { .. }) => Code::KeyNameTaken,
            Self::Entry(EntryError::KeyPresent { .. }) => Code::KeyPresent,
            Self::Entry(EntryError::VendorWithoutMesh { .. } | EntryError::MeshWithoutVendor { .. }) => Code::RoleMesh,
            Self::Entry(EntryError::VendorWithoutPublish { .. } | EntryError::PublishWithoutVendor { .. }) => {
                Code::RolePublish
            }
            Self::NotFound { .. } => Code::KeyNotInRing,
            Self::RevokedAlready { .. } => Code::KeyRevokedAlready,
            Self::LastVersion => Code::KeyringInvalid,
        }
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

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Id(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self { version: 1, keys: Vec::new() }
    }
}

impl Keyring {
    /// Reads a keyring. Its digest is that of the bytes.
    pub fn read(bytes: &[u8]) -> Result<(Self, Digest), KeyringError> {
        let head: Head = json::parse(bytes, MAX_KEYRING_BYTES)?;
        if head.schema_version != SCHEMA_VERSION {
            return Err(KeyringError::SchemaVersion { found: head.schema_version });
        }
        let file: File = json::parse(bytes, MAX_KEYRING_BYTES)?;
        if !(1..=MAX_VERSION).contains(&file.version) {
            return Err(KeyringError::Version { found: file.version });
        }
        let mut keyring = Self { version: file.version, keys: Vec::new() };
        for entry in file.keys {
            keyring.push(Entry::try_from(entry)?)?;
        }
        // Last, so that a broken rule is named before a mere form.
        json::parse_exact::<File>(bytes, MAX_KEYRING_BYTES)?;
        Ok((keyring, Digest::of(bytes)))
    }

    /// The keyring's bytes. The same keyring always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.keys.iter().cloned().map(FileEntry::from).collect();
        let file = File { schema_version: SCHEMA_VERSION, version: self.version, keys };
        // Every key is a string and every number an integer, so writing cannot fail.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// How often it was changed, and one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every key, in the order in which they were added.
    pub fn keys(&self) -> &[Entry] {
        &self.keys
    }

    /// The key with this id, revoked or not.
    pub fn find(&self, id: &KeyId) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.public_key.key_id() == *id)
    }

    /// Adds a key.
    pub fn add(&mut self, entry: Entry) -> Result<(), ChangeError> {
        let version = self.next_version()?;
        self.push(entry)?;
        self.version = version;
        Ok(())
    }

    /// Revokes a key from a log index on, or moves its revocation to an earlier index, and returns its entry.
    pub fn revoke(&mut self, key: &KeyRef, from_index: u64) -> Result<&Entry, ChangeError> {
        let version = self.next_version()?;
        let entry = self
            .keys
            .iter_mut()
            .find(|entry| match key {
                KeyRef::Name(name) => entry.name == *name,
                KeyRef::Id(id) => entry.public_key.key_id() == *id,
            })
            .ok_or_else(|| ChangeError::NotFound { key: key.clone() })?;
        match entry.revoked {
            Some(Revoked { from_index: earlier }) if earlier <= from_index => {
                return Err(ChangeError::RevokedAlready { name: entry.name.clone(), from_index: earlier });
            }
            _ => entry.revoked = Some(Revoked { from_index }),
        }
        self.version = version;
        Ok(entry)
    }

    fn next_version(&self) -> Result<u64, ChangeError> {
        if self.version < MAX_VERSION { Ok(self.version + 1) } else { Err(ChangeError::LastVersion) }
    }

    /// Every key comes in here, read or added.
    fn push(&mut self, entry: Entry) -> Result<(), EntryError> {
        let Entry { name, role, .. } = entry.clone();
        match (role == Role::Vendor, entry.meshes.is_empty(), entry.publish) {
            (true, true, _) => return Err(EntryError::VendorWithoutMesh { name }),
            (true, false, None) => return Err(EntryError::VendorWithoutPublish { name }),
            (false, false, _) => return Err(EntryError::MeshWithoutVendor { name, role }),
            (false, true, Some(_)) => return Err(EntryError::PublishWithoutVendor { name, role }),
            (true, false, Some(_)) | (false, true, None) => {}
        }
        for present in &self.keys {
            if present.name == name {
                return Err(EntryError::NameTaken { name });
            }
            if present.public_key == entry.public_key {
                return Err(EntryError::KeyPresent { name, present: present.name.clone() });
            }
        }
        self.keys.push(entry);
        Ok(())
    }
}

/// Name and JSON Schema of a keyring's file.
pub fn document() -> (&'static str, Schema) {
    ("keyring.v1.json", documents::of::<File>())
}

#[cfg(test)]
mod tests;
