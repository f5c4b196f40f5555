//! `smi-runner`: runs the suite and signs what was observed.

mod args;
mod commands;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::List(arguments) => commands::list::list(&arguments),
        Command::Plan(arguments) => commands::plan::plan(&arguments),
        Command::Submit(arguments) => commands::submit::submit(&arguments),
        Command::Cleanup(arguments) => commands::cleanup::cleanup(&arguments),
        Command::Rbac(arguments) => commands::rbac::rbac(&arguments),
        Command::Crds(arguments) => commands::crds::crds(&arguments),
        Command::Image(arguments) => commands::image::image(&arguments),
        Command::Explain(arguments) => commands::explain::explain(&arguments),
    };
    let exit = done.unwrap_or_else(|error| error.report());
    // With its standard streams gone there is nobody left to tell.
    let _ = anstream::stdout().flush();
    ExitCode::from(exit.number())
}
