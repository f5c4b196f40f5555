//! The publisher: takes bundles, verifies them, stores what it accepts, and tells everybody.
//!
//! ```text
//! POST ─► intake: verify ─► log: one writer, batches, durable ─► answer
//!                                   │
//!                                 view ─► page, feed, events, view.json
//! ```
//!
//! - [`intake`]: from bytes to a numbered entry, or a refusal
//! - [`log`]: the one writer; [`store`]: what it writes to
//! - [`heads`]: from a signed head to one that is shown; [`witness`]: who is asked in between
//! - [`cell`]: the last signed head, apart from the store; [`recover`]: what is read when a publisher starts
//! - [`replay`]: a log computed again from its bundles; [`backup`]: copied from what is served, and brought back
//! - [`admission`]: what a log is for, and so what it takes
//! - [`feed`]: entries for readers, from the log alone
//! - [`page`]: the view as HTML
//! - [`http`]: the roads in and out; [`problem`]: refusals on the wire; [`meters`]: what is counted
//!
//! Everything that is shown is a fold over the entries; the publisher adds nothing to it.

pub mod admission;
pub mod backup;
pub mod cell;
pub mod feed;
pub mod heads;
pub mod http;
pub mod intake;
pub mod log;
pub mod meters;
mod outbound;
pub mod page;
pub mod problem;
pub mod recover;
pub mod replay;
pub mod store;
pub mod witness;

#[cfg(test)]
#[path = "../tests/honest/mod.rs"]
mod honest;
