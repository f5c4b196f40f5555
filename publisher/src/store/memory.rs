//! A store in memory that fails when it is told to, and that notices when it is used wrongly.
//!
//! What is in it survives the handle, as a disk does: clones made with [`Memory::reopen`] share it. A commit that would
//! change or remove something, or leave a hole, fails the test rather than the commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use smi_schemas::Digest;

use super::{Addition, CommitError, Store, StoreError, check};

/// How a commit fails. The name is the whole specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    FailAndDrop,
    Full,
    /// Against the contract: the log is to lose nothing even so.
    FailButStore,
    UnknownAndDrop,
    UnknownButStore,
}

/// One opening of the store.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    disk: Arc<Mutex<Disk>>,
    /// Whoever commits holds it.
    writing: Arc<Mutex<()>>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Disk {
    additions: Vec<Addition>,
    index: BTreeMap<Digest, u64>,
    /// How the next commits end; those after them succeed.
    faults: VecDeque<Option<Fault>>,
    /// The sizes of the batches that were to be committed.
    batches: Vec<usize>,
    /// Faults that were met.
    met: usize,
}

impl Memory {
    /// The same store, opened again.
    pub(crate) fn reopen(&self) -> Self {
        let (disk, writing) = (Arc::clone(&self.disk), Arc::clone(&self.writing));
        Self { disk, writing, stopped: AtomicBool::new(false) }
    }

    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.disk.lock().unwrap().faults.extend(faults);
    }

    pub(crate) fn fail_no_more(&self) {
        self.disk.lock().unwrap().faults.clear();
    }

    /// How many commits failed as they were told to.
    pub(crate) fn faults(&self) -> usize {
        self.disk.lock().unwrap().met
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.disk.lock().unwrap().batches.clone()
    }
}

impl Store for Memory {
    fn head(&self) -> Result<u64, StoreError> {
        Ok(self.disk.lock().unwrap().additions.len() as u64)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = self.disk.lock().unwrap();
        Ok(usize::try_from(index)
            .ok()
            .and_then(|index| disk.additions.get(index))
            .map(|addition| addition.entry.clone()))
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = self.disk.lock().unwrap();
        Ok(usize::try_from(index)
            .ok()
            .and_then(|index| disk.additions.get(index))
            .map(|addition| addition.leaf.clone()))
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.disk.lock().unwrap().index.get(digest).copied())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = self.disk.lock().unwrap();
        let addition = disk.index.get(digest).map(|index| &disk.additions[usize::try_from(*index).unwrap()]);
        Ok(addition.map(|addition| addition.blob.clone()))
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        assert!(!self.stopped.load(Ordering::SeqCst), "a commit after the state was not known");
        let _writing = self.writing.lock().unwrap();
        check(self, expected_head, batch)?;
        let mut disk = self.disk.lock().unwrap();
        disk.batches.push(batch.len());
        let fault = disk.faults.pop_front().flatten();
        disk.met += usize::from(fault.is_some());
        if matches!(fault, None | Some(Fault::FailButStore | Fault::UnknownButStore)) {
            for addition in batch {
                let index = disk.additions.len() as u64;
                assert_eq!(
                    disk.index.insert(addition.digest, index),
                    None,
                    "{} is twice in the store",
                    addition.digest
                );
                disk.additions.push(addition.clone());
            }
        }
        match fault {
            None => Ok(()),
            Some(Fault::FailAndDrop | Fault::FailButStore) => Err(CommitError::Failed { cause: "a fault".into() }),
            Some(Fault::Full) => Err(CommitError::Full { available: 0, needed: 1 }),
            Some(Fault::UnknownAndDrop | Fault::UnknownButStore) => {
                self.stopped.store(true, Ordering::SeqCst);
                Err(CommitError::Unknown { cause: "a fault".into() })
            }
        }
    }
}

#[test]
fn memory_keeps_the_contract() {
    let memory = Memory::default();
    super::contract(|| memory.reopen());
}
