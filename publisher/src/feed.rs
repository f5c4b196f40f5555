//! Entries for readers: pages of the feed, and the view, both from the store alone.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use smi_schemas::feed::{Entry, Page};
use smi_verifier::view::View;

use crate::store::{Store, StoreError};

/// Entries of one page.
pub const PAGE_ENTRIES: u64 = 100;

/// The store as readers see it, and the fold of all its entries.
pub struct Feed {
    store: Arc<dyn Store>,
    view: RwLock<View>,
}

/// Why an entry could not be told.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An entry is not there, or is not one.
    #[error("entry {index} is missing or unreadable")]
    Entry {
        /// Its index.
        index: u64,
    },
}

impl Feed {
    /// Folds everything that the store holds.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, FeedError> {
        let feed = Self { store, view: RwLock::new(View::default()) };
        feed.catch_up()?;
        Ok(feed)
    }

    /// Folds the entries that were committed since the last time.
    pub fn catch_up(&self) -> Result<(), FeedError> {
        let head = self.store.head()?;
        // The fold is left consistent by whatever panicked: an entry is added whole or not at all.
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for index in view.size()..head {
            view.add(&self.entry(index)?);
        }
        Ok(())
    }

    /// The fold so far.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store behind it.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The entries after an index, or from the first.
    pub fn page(&self, after: Option<u64>) -> Result<Page, FeedError> {
        let size = self.view().size();
        let first = after.map_or(0, |after| after.saturating_add(1));
        let end = first.saturating_add(PAGE_ENTRIES).min(size);
        let entries = (first..end).map(|index| self.entry(index)).collect::<Result<_, _>>()?;
        let next_after = (first < end && end < size).then(|| end - 1);
        Ok(Page { size, entries, next_after })
    }

    /// One entry.
    pub fn entry(&self, index: u64) -> Result<Entry, FeedError> {
        let bytes = self.store.entry(index)?.ok_or(FeedError::Entry { index })?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|_| FeedError::Entry { index })?;
        if entry.index == index { Ok(entry) } else { Err(FeedError::Entry { index }) }
    }
}
