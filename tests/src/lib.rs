//! What tests of several rooms share.

pub mod interop;
pub mod mutants;
pub mod page;
pub mod programme;
pub mod published;
pub mod release;
pub mod shares;
pub mod simulate;
pub mod vectors;

use std::path::PathBuf;

/// The variable that switches on tests which need more than Rust. Under it, a missing tool is a failure.
pub const EVERYTHING: &str = "SMI_TESTS";

/// The variable that makes tests rewrite the files they hold equal to something generated.
pub const UPDATE: &str = "SMI_UPDATE";

/// Whether `SMI_TESTS=all`. When it is not, says on standard error which test is left out.
pub fn everything(test: &str) -> bool {
    let all = std::env::var_os(EVERYTHING).is_some_and(|value| value == "all");
    if !all {
        eprintln!("skipped: {test} runs under {EVERYTHING}=all");
    }
    all
}

/// Whether generated files are to be rewritten.
pub fn update() -> bool {
    std::env::var_os(UPDATE).is_some()
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
