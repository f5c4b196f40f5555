//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "smi-publisher", version, about = "Publishes SMI conformance results")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Take bundles, store what is accepted, and serve feed, matrix and API
    Serve(Serve),
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher serve --data /var/lib/smi-publisher --keyring keyring.json --listen 127.0.0.1:8080

Stops at SIGINT or SIGTERM, after the answers that are under way.")]
pub(crate) struct Serve {
    /// The directory of the database; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Who may sign what
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Admit results of the sandbox; marks the database as a demonstration for ever
    #[arg(long)]
    pub(crate) allow_sandbox: bool,
    /// Admit draft suites; marks the database as a demonstration for ever
    #[arg(long)]
    pub(crate) allow_draft: bool,
}
