//! The log of a destination: which requests reached it.
//!
//! An id is in the log from the moment the head of its request has been read, before anything is answered. So a
//! request that was delivered and whose answer was lost on the way back is still known to have been delivered. The log
//! keeps the last [`RequestLog::CAPACITY`] ids and counts those it had to drop; while it has dropped none, an id that
//! is not in it has not arrived so far. A request that its client gave up may still be on its way.
//!
//! ```
//! use smi_agent::{RequestId, RequestLog};
//!
//! let (seen, unseen) = (RequestId::derive(7, 1), RequestId::derive(7, 2));
//! let log = RequestLog::default();
//! log.record(seen);
//! assert!(log.contains(&seen) && !log.contains(&unseen));
//! assert_eq!(log.dropped(), 0);
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::RequestId;

/// The requests that reached one workload.
#[derive(Debug)]
pub struct RequestLog {
    capacity: usize,
    entries: Mutex<Entries>,
}

/// `order` and `ids` hold the same ids.
#[derive(Debug, Default)]
struct Entries {
    order: VecDeque<RequestId>,
    ids: BTreeSet<RequestId>,
    dropped: u64,
}

impl RequestLog {
    /// Ids that a log keeps; about 50 MB when full.
    pub const CAPACITY: usize = 1 << 20;

    /// Notes that a request has arrived. One that arrives again, because a proxy repeated it, is noted once.
    pub fn record(&self, id: RequestId) {
        let mut entries = self.entries();
        if entries.ids.contains(&id) {
            return;
        }
        if entries.order.len() == self.capacity
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.ids.remove(&oldest);
            entries.dropped += 1;
        }
        entries.ids.insert(id);
        entries.order.push_back(id);
    }

    /// Whether a request has arrived, as far as the log reaches back.
    pub fn contains(&self, id: &RequestId) -> bool {
        self.entries().ids.contains(id)
    }

    /// Ids that were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.entries().dropped
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RequestLog {
    fn default() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let log = RequestLog::with_capacity(3);
        let ids: Vec<_> = (0..5).map(|number| RequestId::derive(1, number)).collect();
        for id in &ids {
            log.record(*id);
        }
        let kept: Vec<_> = ids.iter().map(|id| log.contains(id)).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        assert_eq!(log.dropped(), 2);
    }

    #[test]
    fn a_repeated_request_takes_no_room() {
        let log = RequestLog::with_capacity(2);
        let ids: Vec<_> = (0..2).map(|number| RequestId::derive(1, number)).collect();
        for id in [ids[0], ids[0], ids[0], ids[1]] {
            log.record(id);
        }
        assert!(log.contains(&ids[0]) && log.contains(&ids[1]));
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_new_log_has_the_stated_capacity() {
        assert_eq!(RequestLog::default().capacity, RequestLog::CAPACITY);
    }
}
