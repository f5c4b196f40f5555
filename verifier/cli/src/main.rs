//! `smi-verifier`: judges a bundle, or a suite's release, offline.

mod args;
mod suite;
mod text;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use smi_schemas::codes::error_text;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Suite(arguments) => suite::suite(&arguments),
    };
    let exit = done.unwrap_or_else(|error| {
        let (text, exit) = error_text(error.code(), &error);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        exit
    });
    ExitCode::from(exit.number())
}
