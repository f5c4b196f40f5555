//! `smi-keys`: makes keys, shows them, signs what the programme says beside results, and keeps the keyring.

mod cli;
mod commands;
mod outcome;

use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use smi_keys::passphrase::{Source, VARIABLE};

use crate::cli::{Cli, Command};
use crate::outcome::{Error, Outcome};

fn main() -> ExitCode {
    let outcome = Cli::try_parse().map_err(Error::Arguments).and_then(|cli| run(cli.command));
    ExitCode::from(outcome::report(outcome).number())
}

fn run(command: Command) -> Result<Outcome, Error> {
    let source = |file| Source::new(file, env::var_os(VARIABLE), io::stdin().is_terminal());
    match command {
        Command::Generate(args) => commands::generate(&args, &source(args.passphrase.passphrase_file.clone())),
        Command::Show(args) => commands::show(&args, &source(args.passphrase.passphrase_file.clone())),
        Command::Statement(command) => {
            commands::statement::run(&command, &source(command.sign().passphrase.passphrase_file.clone()))
        }
        Command::Keyring(command) => commands::keyring::run(command),
    }
}
