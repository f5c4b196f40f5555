//! Why a keyring is not read, and why it is not changed.

use smi_schemas::codes::Code;
use smi_schemas::json::JsonError;
use smi_schemas::names::{NoteName, Slug};

use super::{KeyRef, MAX_VERSION, Role, SCHEMA_VERSION};
use crate::PublicKeyError;

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
    /// A number of signatures that its keys cannot make.
    #[error("{0}")]
    Count(#[from] CountError),
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
    /// A witness whose name means something else in a trust policy.
    #[error("a key of role witness cannot be called {name}")]
    NameReserved {
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
    /// A key that signs notes and has no name there.
    #[error("key {name} has role {role} and no note name")]
    NoteNameMissing {
        /// The key's name.
        name: Slug,
        /// Its role.
        role: Role,
    },
    /// A key that signs no notes and has a name there.
    #[error("key {name} has role {role} and a note name")]
    NoteNameWithoutNote {
        /// The key's name.
        name: Slug,
        /// Its role.
        role: Role,
    },
    /// A log whose note name has a path.
    #[error("key {name} has role log, and its note name {note_name} is no bare host name")]
    OriginWithPath {
        /// The key's name.
        name: Slug,
        /// Its note name.
        note_name: NoteName,
    },
    /// Another key has the note name.
    #[error("key {name} has the same note name as {present}: {note_name}")]
    NoteNameTaken {
        /// The key's name.
        name: Slug,
        /// The key that has the note name already.
        present: Slug,
        /// The note name.
        note_name: NoteName,
    },
    /// A key that has an address and is no witness's.
    #[error("key {name} has role {role} and an address")]
    UrlWithoutWitness {
        /// The key's name.
        name: Slug,
        /// Its role.
        role: Role,
    },
    /// A log key beside another one, neither of them revoked.
    #[error("key {name} has role log, and so has {present}, which is not revoked")]
    SecondLog {
        /// The key's name.
        name: Slug,
        /// The log key that is there already.
        present: Slug,
    },
}

impl EntryError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::NameTaken { .. } => Code::KeyNameTaken,
            Self::NameReserved { .. } => Code::KeyNameReserved,
            Self::KeyPresent { .. } => Code::KeyPresent,
            Self::VendorWithoutMesh { .. } | Self::MeshWithoutVendor { .. } => Code::RoleMesh,
            Self::VendorWithoutPublish { .. } | Self::PublishWithoutVendor { .. } => Code::RolePublish,
            Self::NoteNameMissing { .. } | Self::NoteNameWithoutNote { .. } | Self::OriginWithPath { .. } => {
                Code::RoleNoteName
            }
            Self::NoteNameTaken { .. } => Code::NoteNameTaken,
            Self::UrlWithoutWitness { .. } => Code::RoleUrl,
            Self::SecondLog { .. } => Code::LogKeyPresent,
        }
    }
}

/// Why threshold and quorum do not belong to the keys. Keys that are revoked do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// There are root keys, and it is not said how many of them must sign.
    #[error("there is no threshold, and root keys that are not revoked: {roots}")]
    NoThreshold {
        /// How many there are.
        roots: u32,
    },
    /// As many root keys as must sign there are not, or none must.
    #[error("the threshold is {threshold}, and root keys that are not revoked: {roots}")]
    Threshold {
        /// How many must sign.
        threshold: u32,
        /// How many there are.
        roots: u32,
    },
    /// As many witness keys as must cosign there are not, or none must.
    #[error("the quorum is {quorum}, and witness keys that are not revoked: {witnesses}")]
    Quorum {
        /// How many must cosign.
        quorum: u32,
        /// How many there are.
        witnesses: u32,
    },
}

impl CountError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::NoThreshold { .. } | Self::Threshold { .. } => Code::ThresholdRange,
            Self::Quorum { .. } => Code::QuorumRange,
        }
    }
}

/// Why a keyring was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The key to add does not belong there.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// Threshold or quorum would no longer belong to the keys.
    #[error("{0}")]
    Count(#[from] CountError),
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
    /// Threshold and quorum are what they were.
    #[error("nothing would be changed")]
    Same,
    /// There is no version after this one.
    #[error("version {MAX_VERSION} is the last that a keyring can have")]
    LastVersion,
}

impl ChangeError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Entry(error) => error.code(),
            Self::Count(error) => error.code(),
            Self::NotFound { .. } => Code::KeyNotInRing,
            Self::RevokedAlready { .. } => Code::KeyRevokedAlready,
            Self::Same => Code::KeyringSame,
            Self::LastVersion => Code::KeyringInvalid,
        }
    }
}
