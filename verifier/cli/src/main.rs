//! `smi-verifier`: judges a bundle offline.

mod args;
mod text;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use smi_schemas::codes::Exit;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command: Command::Verify(arguments) } = Arguments::parse();
    let exit = match verify::verify(&arguments) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.code().map_or(Exit::Unexpected, |code| code.class().exit());
            text::error(&error, exit);
            exit
        }
    };
    ExitCode::from(exit.number())
}
