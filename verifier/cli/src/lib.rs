//! `smi-verifier`: judges a bundle, or a suite's release, offline, and audits what a publisher makes of them.
//!
//! The binary is this library's [`main`], and the library is there for tests that hold a publisher against it.

mod archive;
mod args;
mod audit;
mod inputs;
mod round;
mod source;
mod state;
mod suite;
mod text;
mod verify;
mod waiting;
mod watch;

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use smi_schemas::codes::{Code, Exit, error_text};

use crate::args::{Arguments, Command};

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let exit = match Arguments::parse().command {
        Command::Verify(arguments) => verify::verify(&arguments).map_err(|error| failed(error.code(), &error)),
        Command::Suite(arguments) => suite::suite(&arguments).map_err(|error| failed(error.code(), &error)),
        Command::Audit(arguments) => audit::audit(&arguments).map_err(|error| failed(error.code(), &error)),
        Command::Waiting(arguments) => waiting::waiting(&arguments).map_err(|error| failed(error.code(), &error)),
        Command::Watch(arguments) => watch::watch(&arguments).map_err(|error| failed(error.code(), &error)),
    };
    let exit = exit.unwrap_or_else(|exit| exit);
    ExitCode::from(exit.number())
}

fn failed(code: Option<Code>, error: &dyn fmt::Display) -> Exit {
    let (text, exit) = error_text(code, error);
    // With standard error gone there is nobody left to tell.
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
    exit
}
