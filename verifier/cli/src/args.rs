//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use smi_schemas::codes::Exit;
use smi_verifier::policy::Requirement;

#[derive(Parser)]
#[command(name = "smi-verifier", version, about = "Judges SMI conformance results and released suites, offline", after_help = exits())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Verify a bundle: its signature, its suite, and every status by replay
    Verify(Verify),
    /// Check that a suite's file is one that was released, by the signature of its release
    Suite(Suite),
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier verify result.json --keyring keyring.json --require split=full --require access=compliant")]
pub(crate) struct Verify {
    /// The bundle, or - for standard input
    pub(crate) bundle: PathBuf,
    /// Who may sign what
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
    /// Exit 3 unless the result has this: access|specs|split = full|partial|compliant
    #[arg(long, value_name = "API=WHAT")]
    pub(crate) require: Vec<Requirement>,
    /// Refuse a bundle without a receipt that proves it was published, under the log and witnesses of the keyring
    #[arg(long)]
    pub(crate) require_receipt: bool,
    /// Refuse results that were finished longer ago, by their signer's clock, such as 30days; and receipts of a tree
    /// that is older, by the witnesses' clocks
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pub(crate) max_age: Option<std::time::Duration>,
    /// Refuse what a publisher would withhold: trials, partial and interrupted runs, errors, overrides
    #[arg(long)]
    pub(crate) for_publication: bool,
    /// Admit results of the sandbox
    #[arg(long)]
    pub(crate) allow_sandbox: bool,
    /// Admit draft suites, which may still change
    #[arg(long)]
    pub(crate) allow_draft: bool,
    /// Know this suite too, beside those of this release
    #[arg(long, value_name = "FILE")]
    pub(crate) suite: Vec<PathBuf>,
    /// How to print the verdict
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier suite v1.0.0.json --release v1.0.0.sigstore.json --keyring keyring.json")]
pub(crate) struct Suite {
    /// The suite's file
    pub(crate) file: PathBuf,
    /// The bundle of its release
    #[arg(long, value_name = "FILE")]
    pub(crate) release: PathBuf,
    /// Who may sign what
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// Complete and stable, in the shape of verdict.v1.json
    Json,
}

fn exits() -> String {
    let used = [Exit::Success, Exit::Unexpected, Exit::Usage, Exit::Unmet, Exit::Environment, Exit::Refused];
    let lines = used.map(|exit| format!("  {}  {}", exit.number(), exit.words()));
    format!("Exit codes:\n{}", lines.join("\n"))
}
