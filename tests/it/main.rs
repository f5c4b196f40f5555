//! What holds across rooms.

#![allow(clippy::unwrap_used, clippy::panic)] // a test stops where it fails

mod crds;
mod discrimination;
mod documents;
mod house;
mod interop;
mod judge;
mod mutants;
mod readme;
mod shares;
mod suite;
mod vectors;
