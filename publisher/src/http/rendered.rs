//! The view as JSON and as a page, each made once for a published size, however many ask for it.

use std::sync::{Mutex, PoisonError};

use askama::Template as _;
pub(super) use axum::body::Bytes;

use crate::feed::Feed;
use crate::page::Matrix;

/// What was made last.
pub(super) struct Rendered {
    demonstration: bool,
    json: Mutex<Option<(u64, Bytes)>>,
    page: Mutex<Option<(u64, Bytes)>>,
}

impl Rendered {
    pub(super) fn new(demonstration: bool) -> Self {
        Self { demonstration, json: Mutex::default(), page: Mutex::default() }
    }

    /// The view's document.
    pub(super) fn json(&self, feed: &Feed) -> Option<Bytes> {
        last(&self.json, feed, || {
            // The view is let go of before it is written down.
            let document = feed.view().document();
            Some(document.to_bytes())
        })
    }

    /// The view's page; none if it cannot be made.
    pub(super) fn page(&self, feed: &Feed) -> Option<Bytes> {
        last(&self.page, feed, || {
            let document = feed.view().document();
            Matrix::new(&document, self.demonstration).render().ok().map(String::into_bytes)
        })
    }
}

/// What was made last if it is of the published size, and else what is made now. Who asks meanwhile waits for it: a
/// second copy would not be ready sooner.
fn last(kept: &Mutex<Option<(u64, Bytes)>>, feed: &Feed, make: impl FnOnce() -> Option<Vec<u8>>) -> Option<Bytes> {
    // It is replaced whole, so that it is sound whoever panicked.
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    // Read before it is made: what is made may be of a larger size, and is then made again.
    let size = feed.view().size();
    if let Some((of, bytes)) = &*kept
        && *of == size
    {
        return Some(bytes.clone());
    }
    let bytes = Bytes::from(make()?);
    *kept = Some((size, bytes.clone()));
    Some(bytes)
}
