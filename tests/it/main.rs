//! What holds across rooms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test stops where it fails

mod audit;
mod claimed;
mod crds;
mod discrimination;
mod documents;
mod entries;
mod execute;
mod fuzz;
mod house;
mod intake;
mod interop;
mod judge;
mod log;
mod metrics;
mod mutants;
mod pages;
mod powercut;
mod publisher;
mod readme;
mod release;
mod sampling;
mod shares;
mod suite;
mod twins;
mod vectors;
