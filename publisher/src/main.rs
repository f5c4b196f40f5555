//! `smi-publisher`: serves a log of accepted results, or witnesses logs.

mod args;
mod command;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Init(arguments) => command::init(&arguments),
        Command::Serve(arguments) => command::serve(&arguments),
        Command::Witness(arguments) => command::witness(&arguments),
        Command::Check(arguments) => command::check(&arguments),
        Command::Backup(arguments) => command::backup(&arguments),
        Command::Restore(arguments) => command::restore(&arguments),
    };
    let exit = done.unwrap_or_else(|error| error.report());
    ExitCode::from(exit.number())
}
