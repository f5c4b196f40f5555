//! The runner: executes a suite against a target, and puts what it saw into a statement.
//!
//! ```text
//! suite ─► plan ─► execute ─► results ─► statement ─► (key) ─► bundle
//!                    ▲
//!          target: lanes that act and probe
//! ```
//!
//! - [`plan`]: what is chosen of the suite, and the version of each API
//! - [`target`]: what a target is; [`sandbox`] and [`kubernetes`] are the two
//! - [`mesh`]: what must be known of a mesh, as data
//! - [`execute`]: the order of things; it judges nothing by itself
//! - [`statement`]: the results with everything they depend on
//! - [`image`]: the workload as a container image
//! - [`submit`]: a bundle's way to a publisher
//! - [`output`]: what people and their tools read, and [`words`], a suite's data in words

pub mod execute;
pub mod image;
pub mod kubernetes;
pub mod mesh;
pub mod output;
pub mod plan;
pub mod sandbox;
pub mod statement;
pub mod submit;
pub mod target;
pub mod words;
