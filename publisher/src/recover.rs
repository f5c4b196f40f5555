//! What a publisher knows by heart, read from its store when it starts.
//!
//! An entry of the store is the hash of its leaf, 32 bytes, and then the [`feed::Entry`](Entry) that readers are told
//! of, as JSON. Nothing else is read to start, but for the keyrings: leaves and bundles stay where they are. That both
//! follow from the bundle is what `smi-publisher check` computes again, and what every auditor does.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

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
    ///
    /// Reading and folding take about as long as one another, so a second thread reads ahead.
    pub fn read(store: &dyn Store, shown: u64) -> Result<Self, StoreError> {
        let mut recovered = Self::default();
        let head = store.head()?;
        thread::scope(|scope| {
            let part = |from: u64| {
                let indexes = from..from.saturating_add(PART).min(head);
                let read = move || indexes.map(|index| one(store, index)).collect::<Result<Vec<_>, _>>();
                (from < head).then(|| scope.spawn(read))
            };
            let mut next = part(0);
            let mut folded = 0;
            while let Some(reading) = next {
                let entries = reading.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                folded += entries.len() as u64;
                next = part(folded);
                for one in entries {
                    recovered.fold(one, shown);
                }
            }
            Ok(recovered)
        })
    }

    fn fold(&mut self, (hash, entry, keyring): One, shown: u64) {
        self.tree.push(hash);
        if entry.index < shown {
            self.view.add(&entry, keyring.as_ref().map(|trusted| &trusted.keyring));
        }
        self.ledger.add(&entry, keyring);
    }
}

/// Entries that are read ahead.
const PART: u64 = 4096;

/// An entry with the hash of its leaf, and the keyring that it is, if it is one.
type One = (Hash, Entry, Option<Arc<Trusted>>);

fn one(store: &dyn Store, index: u64) -> Result<One, StoreError> {
    let (hash, entry) = entry(store, index)?;
    let keyring = keyring(store, &entry)?;
    Ok((hash, entry, keyring))
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
