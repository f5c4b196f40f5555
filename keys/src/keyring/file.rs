//! The keyring's JSON: its fields as they are written, not yet held to the rules between them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_schemas::names::{NoteName, Slug, Url};

use super::{Entry, KeyringError, MAX_VERSION, Publish, Revoked, Role};
use crate::PublicKey;

/// Enough of a keyring to know which reader it needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) schema_version: u32,
}

/// The keyring's JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Keyring")]
pub(super) struct File {
    pub(super) schema_version: u32,
    #[schemars(range(min = 1, max = MAX_VERSION))]
    pub(super) version: u64,
    /// How many root keys must sign a change of the keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(super) threshold: Option<u32>,
    /// How many witness keys must have cosigned a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(super) quorum: Option<u32>,
    pub(super) keys: Vec<FileEntry>,
}

/// A key and what it may sign.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Key")]
pub(super) struct FileEntry {
    /// Its name for people.
    name: Slug,
    /// What it may sign.
    role: Role,
    /// The key's 32 bytes in base64.
    #[schemars(regex(pattern = r"^[A-Za-z0-9+/]{43}=$"))]
    public_key: String,
    /// The log's origin, or a witness's name in signed notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note_name: Option<NoteName>,
    /// Where a witness takes checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<Url>,
    /// The meshes that a vendor's key speaks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    meshes: Vec<Slug>,
    /// How a vendor's results are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish: Option<Publish>,
    /// From where on it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revoked>,
}

impl From<Entry> for FileEntry {
    fn from(entry: Entry) -> Self {
        let Entry { name, role, public_key, note_name, url, meshes, publish, revoked } = entry;
        let (public_key, meshes) = (public_key.to_base64(), Vec::from_iter(meshes));
        Self { name, role, public_key, note_name, url, meshes, publish, revoked }
    }
}

impl TryFrom<FileEntry> for Entry {
    type Error = KeyringError;

    fn try_from(entry: FileEntry) -> Result<Self, Self::Error> {
        let FileEntry { name, role, public_key, note_name, url, meshes: listed, publish, revoked } = entry;
        let public_key = PublicKey::from_base64(&public_key)
            .map_err(|cause| KeyringError::PublicKey { name: name.clone(), cause })?;
        let mut meshes = BTreeSet::new();
        for mesh in listed {
            if let Some(mesh) = meshes.replace(mesh) {
                return Err(KeyringError::MeshTwice { name, mesh });
            }
        }
        Ok(Self { name, role, public_key, note_name, url, meshes, publish, revoked })
    }
}
