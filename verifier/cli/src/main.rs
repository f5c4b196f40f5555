//! `smi-verifier`: judges a bundle offline.

mod args;
mod text;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use smi_schemas::codes::error_text;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command: Command::Verify(arguments) } = Arguments::parse();
    let exit = verify::verify(&arguments).unwrap_or_else(|error| {
        let (text, exit) = error_text(error.code(), &error);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        exit
    });
    ExitCode::from(exit.number())
}
