//! Shapes, bytes, digests and codes of SMI Conformance: everything that is signed, stored or served, and the suite.
//!
//! Read it in the order in which a result comes to be:
//!
//! - [`suite`]: what a mesh must do, [`smi`]: the resources it is asked with, and [`metrics`]: what it must count
//! - [`report`]: what was seen and what follows from it
//! - [`statement`]: the report bound to everything it depends on
//! - [`bundle`]: the statement's bytes, signed, as a file
//! - [`feed`]: what readers are told of it
//! - [`record`]: what is said beside results, each a statement of its own
//! - [`leaf`]: what the log says of a signed statement
//!
//! and beside them [`codes`], the one registry of what can be said of any of these; [`names`], [`Digest`] and
//! [`Timestamp`], the words they are made of; [`json`], the one reader; [`mod@shown`], for what comes from outside;
//! and [`documents`], their JSON Schemas.
//!
//! There are no keys here, no I/O, no async, no clock.

pub mod bundle;
pub mod codes;
pub mod digest;
pub mod documents;
pub mod feed;
pub mod json;
pub mod leaf;
pub mod metrics;
pub mod names;
pub mod record;
pub mod report;
pub mod shown;
pub mod smi;
pub mod statement;
pub mod suite;
pub mod time;

pub use digest::Digest;
pub use time::Timestamp;
