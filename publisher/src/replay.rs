//! A log computed again from its bundles, and from nothing else.
//!
//! Whatever a store holds follows from the bundles in it: who may sign at an index is said by the keyrings before it,
//! what may be an entry there by the entries before it, and leaf and entry are functions of the bundle. [`Replay`] does
//! this one bundle after the other; what it computes is what a store must hold, to the byte. [`check`] holds a store
//! against that. Neither needs a key.
//!
//! Results are verified as a publisher verifies them, by the suites of this release. A draft changes from one release
//! to the next; a demonstration whose results are of a draft is checked by the release that it ran on.

use smi_keys::keyring::Keyring;
use smi_schemas::Timestamp;
use smi_schemas::codes::Code;
use smi_schemas::feed::{Entry, Says};
use smi_verifier::Finding;
use smi_verifier::ledger::Ledger;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::said::{verify_first, verify_logged};

use crate::log::Submission;
use crate::recover::{self, Recovered, encode};
use crate::store::{Addition, Damage, Store, StoreError};

/// The fold of the bundles so far.
#[derive(Debug)]
pub struct Replay {
    policy: Policy,
    now: Timestamp,
    ledger: Ledger,
    tree: Tree,
}

/// An entry, computed from its bundle.
#[derive(Debug)]
pub struct Replayed {
    /// What readers are told.
    pub entry: Entry,
    /// What a store holds.
    pub addition: Addition,
}

/// What was found in a store of which everything is as it must be.
#[derive(Debug)]
pub struct Checked {
    /// Everything, to go on from.
    pub replay: Replay,
    /// Entries by what they say.
    pub counts: Counts,
}

/// Entries by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub results: u64,
    pub suites: u64,
    pub keyrings: u64,
    pub reviews: u64,
    pub withdrawals: u64,
    pub supersessions: u64,
}

/// Why something is no entry at an index.
#[derive(Debug, thiserror::Error)]
pub enum WrongEntry {
    /// The bundle does not verify under the keyring in force there.
    #[error("entry {index}: {}", first(findings))]
    Unverified {
        /// The index.
        index: u64,
        /// The grounds, at least one.
        findings: Vec<Finding>,
    },
    /// What is before it does not admit it.
    #[error("entry {index}: {}: {}", finding.code, finding.detail)]
    Inadmissible {
        /// The index.
        index: u64,
        /// The ground.
        finding: Finding,
    },
}

/// Why a store is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be read, or contradicts itself.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It holds something that is no entry.
    #[error("{0}")]
    Entry(#[from] WrongEntry),
}

impl WrongEntry {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Unverified { findings, .. } => findings.first().map_or(Code::EntryWrong, |finding| finding.code),
            Self::Inadmissible { .. } => Code::EntryWrong,
        }
    }
}

impl CheckError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Entry(error) => error.code(),
        }
    }
}

fn first(findings: &[Finding]) -> &str {
    findings.first().map_or("", |finding| finding.detail.as_str())
}

impl Replay {
    /// Begins with no entry. The policy's keyring and what it says of publication and receipts are the log's own.
    pub fn new(policy: Policy, now: Timestamp) -> Self {
        let policy = Policy { publication: true, receipts: Receipts::Ignore, ..policy };
        Self { policy, now, ledger: Ledger::default(), tree: Tree::default() }
    }

    /// Goes on where a store ends whose entries are believed: they were replayed when they were stored.
    pub fn after(recovered: Recovered, policy: Policy, now: Timestamp) -> Self {
        let Recovered { ledger, tree, .. } = recovered;
        let keyring = ledger.trusted().map_or_else(Keyring::default, |trusted| trusted.keyring.clone());
        Self { ledger, tree, ..Self::new(Policy { keyring, ..policy }, now) }
    }

    /// The next entry.
    pub fn next(&mut self, bundle: &[u8]) -> Result<Replayed, WrongEntry> {
        let index = self.ledger.size();
        let signed = match self.ledger.trusted() {
            None => verify_first(bundle),
            Some(_) => verify_logged(bundle, &self.policy, self.now),
        };
        let signed = signed.map_err(|refused| WrongEntry::Unverified { index, findings: refused.findings })?;
        let entry = self.ledger.admit(signed.said()).map_err(|finding| WrongEntry::Inadmissible { index, finding })?;
        let keyring = signed.said().keyring().cloned();
        if let Some(trusted) = &keyring {
            self.policy.keyring = trusted.keyring.clone();
        }
        self.ledger.add(&entry, keyring);
        let Submission { leaf, hash, blob, .. } = Submission::new(signed);
        self.tree.push(hash);
        let addition = Addition { digest: entry.payload, entry: encode(&hash, &entry), leaf, blob };
        Ok(Replayed { entry, addition })
    }

    /// What later entries are admitted by.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The hashes of all leaves.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        let count = match entry.says {
            Says::Result(_) => &mut self.results,
            Says::Suite(_) => &mut self.suites,
            Says::Keyring { .. } => &mut self.keyrings,
            Says::Review { .. } => &mut self.reviews,
            Says::Withdrawal { .. } => &mut self.withdrawals,
            Says::Supersession { .. } => &mut self.supersessions,
        };
        *count += 1;
    }
}

/// Reads everything in a store and computes it again.
pub fn check(store: &dyn Store, policy: Policy, now: Timestamp) -> Result<Checked, CheckError> {
    let mut replay = Replay::new(policy, now);
    let mut counts = Counts::default();
    for index in 0..store.head()? {
        let damaged = |damage| CheckError::Store(StoreError::Damaged { damage });
        let (hash, entry) = recover::entry(store, index)?;
        let leaf = store.leaf(index)?.ok_or(damaged(Damage::Leaf { index }))?;
        if Hash::of_leaf(&leaf) != hash {
            return Err(damaged(Damage::Leaf { index }));
        }
        if store.index_of(&entry.payload)? != Some(index) {
            return Err(damaged(Damage::Index { digest: *entry.payload.as_bytes() }));
        }
        let blob = store.blob(&entry.payload)?.ok_or(damaged(Damage::Blob { index }))?;
        let Replayed { entry: again, addition } = replay.next(&blob)?;
        // What was computed is what must be there, to the byte.
        if addition.leaf != leaf {
            return Err(damaged(Damage::Leaf { index }));
        }
        if addition.blob != blob {
            return Err(damaged(Damage::Blob { index }));
        }
        if store.entry(index)?.as_ref() != Some(&addition.entry) {
            return Err(damaged(Damage::Entry { index }));
        }
        counts.add(&again);
    }
    Ok(Checked { replay, counts })
}
