//! `release`: makes a released suite of the draft.
//!
//! usage: `cargo run -p smi-tests --bin release -- VERSION [--out FILE]`, at the root of the workspace
//!
//! Writes the draft's bytes under another version, prints their digest, and says what comes next. Refuses a version
//! that is no release of the draft, a draft with other share numbers than those derived, and a file that is there.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use smi_keys::files::{self, Access, FileError};
use smi_schemas::Digest;
use smi_schemas::codes::Exit;
use smi_schemas::names::Version;
use smi_schemas::suite::DRAFT;
use smi_tests::release::{ReleaseError, release};

#[derive(Parser)]
#[command(name = "release", about = "Makes a released suite of the draft")]
struct Arguments {
    /// The release's version: what the draft is a draft of, or a candidate for it, such as 1.0.0-rc.1
    version: Version,
    /// The file to write [default: schemas/suites/vVERSION.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Release(#[from] ReleaseError),
    #[error("{cause}: {sentence}", cause = .0, sentence = .0.code().sentence())]
    File(#[from] FileError),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match write(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(Exit::Usage.number())
        }
    }
}

fn write(Arguments { version, out }: &Arguments) -> Result<(), Refusal> {
    let bytes = release(DRAFT.bytes, version)?;
    let path = out.clone().unwrap_or_else(|| format!("schemas/suites/v{version}.json").into());
    files::create(&path, &bytes, Access::Default)?;
    println!("{}\n{}", path.display(), Digest::of(&bytes));
    println!("next: list it in RELEASED (schemas/src/suite.rs), pin its digest (tests/it/release.rs), sign it");
    println!("      (schemas/suites/README.md)");
    Ok(())
}
