//! The keyring's JSON: its fields as they are written, not yet held to the rules between them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_schemas::names::Slug;

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
        let Entry { name, role, public_key, meshes, publish, revoked } = entry;
        Self { name, role, public_key: public_key.to_base64(), meshes: Vec::from_iter(meshes), publish, revoked }
    }
}

impl TryFrom<FileEntry> for Entry {
    type Error = KeyringError;

    fn try_from(entry: FileEntry) -> Result<Self, Self::Error> {
        let FileEntry { name, role, public_key, meshes: listed, publish, revoked } = entry;
        let public_key = PublicKey::from_base64(&public_key)
            .map_err(|cause| KeyringError::PublicKey { name: name.clone(), cause })?;
        let mut meshes = BTreeSet::new();
        for mesh in listed {
            if let Some(mesh) = meshes.replace(mesh) {
                return Err(KeyringError::MeshTwice { name, mesh });
            }
        }
        Ok(Self { name, role, public_key, meshes, publish, revoked })
    }
}
