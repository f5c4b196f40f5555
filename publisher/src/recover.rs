//! What a publisher knows by heart, read from its store when it starts.
//!
//! An entry of the store is the hash of its leaf, 32 bytes, and then the [`feed::Entry`](Entry) that readers are told
//! of, as JSON. Nothing else is read to start, but for the keyrings: leaves and bundles stay where they are. That both
//! follow from the bundle is what `smi-publisher check` computes again, and what every auditor does.

use std::sync::Arc;

use smi_keys::keyring::Keyring;
use smi_schemas::Digest;
use smi_schemas::bundle::Bundle;
use smi_schemas::feed::{Entry, Says};
use smi_schemas::record::{KeyringChange, Record};
use smi_verifier::ledger::Ledger;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::said::Trusted;
use smi_verifier::view::View;

use crate::store::{Damage, Store, StoreError};

/// The folds over all entries of a store.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The hashes of all leaves.
    pub tree: Tree,
    /// What later entries are admitted by.
    pub ledger: Ledger,
    /// What readers are shown.
    pub view: View,
}

impl Recovered {
    /// Reads a store. The view is of its first `shown` entries.
    pub fn read(store: &dyn Store, shown: u64) -> Result<Self, StoreError> {
        let mut recovered = Self::default();
        for index in 0..store.head()? {
            let (hash, entry) = entry(store, index)?;
            let keyring = keyring(store, &entry)?;
            recovered.tree.push(hash);
            if index < shown {
                recovered.view.add(&entry, keyring.as_ref().map(|trusted| &trusted.keyring));
            }
            recovered.ledger.add(&entry, keyring);
        }
        Ok(recovered)
    }
}

/// The bytes of a store's entry.
pub fn encode(leaf: &Hash, entry: &Entry) -> Vec<u8> {
    let mut bytes = leaf.as_bytes().to_vec();
    // Every key is a string and every number an integer, so writing cannot fail.
    bytes.extend(serde_json::to_vec(entry).unwrap_or_default());
    bytes
}

/// The hash of a leaf, and what readers are told of it.
pub fn entry(store: &dyn Store, index: u64) -> Result<(Hash, Entry), StoreError> {
    let damaged = StoreError::Damaged { damage: Damage::Entry { index } };
    let Some(bytes) = store.entry(index)? else { return Err(damaged) };
    let Some((hash, entry)) = bytes.split_first_chunk() else { return Err(damaged) };
    match serde_json::from_slice::<Entry>(entry) {
        Ok(entry) if entry.index == index => Ok((Hash::from_bytes(*hash), entry)),
        _ => Err(damaged),
    }
}

/// The keyring that an entry is, if it is one.
pub fn keyring(store: &dyn Store, entry: &Entry) -> Result<Option<Arc<Trusted>>, StoreError> {
    let Says::Keyring { digest, .. } = &entry.says else { return Ok(None) };
    let blob = store.blob(&entry.payload)?.unwrap_or_default();
    let trusted = read_keyring(&blob).filter(|trusted| trusted.digest == *digest);
    let damaged = StoreError::Damaged { damage: Damage::Blob { index: entry.index } };
    trusted.map(|trusted| Some(Arc::new(trusted))).ok_or(damaged)
}

fn read_keyring(bundle: &[u8]) -> Option<Trusted> {
    let change = Record::<KeyringChange>::read(&Bundle::read(bundle).ok()?.payload).ok()?;
    let (keyring, digest): (Keyring, Digest) = Keyring::read(&change.says.keyring()).ok()?;
    Some(Trusted { keyring, digest })
}
