//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reqwest::Url;
use smi_keys::KeyId;
use smi_schemas::codes::Exit;
use smi_schemas::names::Slug;
use smi_verifier::policy::Requirement;

#[derive(Parser)]
#[command(name = "smi-verifier", version, about = "Judges SMI conformance results and released suites, offline, and audits publishers", after_help = exits())]
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
    /// Audit a publisher: read its whole log and hold everything that it serves against it
    Audit(Audit),
    /// List what waits at a publisher for a review, each verified
    Waiting(Waiting),
    /// Audit a publisher again and again, and tell what is new, one JSON object a line
    Watch(Watch),
}

/// Which publisher, and what is trusted.
#[derive(Args)]
pub(crate) struct Asked {
    /// The publisher's address, such as https://results.example.org
    pub(crate) url: Url,
    /// A keyring of the log, of whatever version, that is known to be right
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
    /// Admit results of the sandbox, as the log of a demonstration has them
    #[arg(long)]
    pub(crate) allow_sandbox: bool,
    /// Admit draft suites, which may still change
    #[arg(long)]
    pub(crate) allow_draft: bool,
    /// Know this suite too, beside those of this release
    #[arg(long, value_name = "FILE")]
    pub(crate) suite: Vec<PathBuf>,
}

/// Whose log, and from where on.
#[derive(Args)]
pub(crate) struct Audited {
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// What earlier audits saw: the log must contain it. Written after every audit that could read the log's tree,
    /// whether witnesses cosigned it or not
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Decide nothing about a checkpoint that is older, by its witnesses' clocks: a publisher has that of an idle log
    /// cosigned anew every ten minutes. Without a quorum in the keyring there are no such clocks, and no age
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) max_age: Duration,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier audit https://results.example.org --keyring keyring.json --state results.example.org.checkpoint")]
pub(crate) struct Audit {
    #[command(flatten)]
    pub(crate) audited: Audited,
    /// How to print what was checked and found
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier watch https://results.example.org --keyring keyring.json --state last.checkpoint --mesh acme-mesh

Without --state, what is new is what comes after the first audit; with it, what came after the last one that was sound.
What is new is told before it is remembered: after a crash some of it is told again. With --mesh and --key, a result is
told that is of one of these meshes or by one of these keys. Ends at what proves an alteration, and when nobody reads
what it tells; where the publisher is unreachable, its witnesses are, or it stands still, it says so once and goes on.")]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) audited: Audited,
    /// Seconds from one audit to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) interval: u64,
    /// How long after a whole audit, as the first one is, everything is read anew and not only what is new: what was
    /// removed or replaced since is found then
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    pub(crate) whole: Duration,
    /// Tell results of this mesh, and what is said of them; all results when neither a mesh nor a key is named
    #[arg(long, value_name = "SLUG")]
    pub(crate) mesh: Vec<Slug>,
    /// Tell results by this key too, by its id, of whatever mesh, and what is said of them
    #[arg(long, value_name = "KEYID")]
    pub(crate) key: Vec<KeyId>,
    /// Audit once, and end
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier waiting https://results.example.org --keyring keyring.json --fetch .

What a file says in full, `smi-verifier verify FILE` prints. To decide, sign with `smi-keys statement review --bundle
FILE` and submit.")]
pub(crate) struct Waiting {
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Write each bundle into this directory, by the digest of its payload
    #[arg(long, value_name = "DIR")]
    pub(crate) fetch: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-verifier verify result.json --keyring keyring.json --require split=full --require access=compliant
  smi-verifier verify --archive results/ --keyring keyring.json --require-receipt")]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct Verify {
    /// The bundle, or - for standard input
    #[arg(required_unless_present = "archive")]
    pub(crate) bundle: Option<PathBuf>,
    /// Verify every regular file *.json in this directory instead, on all processors
    #[arg(long, value_name = "DIR", conflicts_with = "bundle")]
    pub(crate) archive: Option<PathBuf>,
    /// Who may sign what
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
    /// Exit 3 unless the result has this: access|specs|split = full|partial|compliant
    #[arg(long, value_name = "API=WHAT")]
    pub(crate) require: Vec<Requirement>,
    /// Refuse a bundle without a receipt that proves it was logged, under the log and witnesses of the keyring. What
    /// waits for a review is logged too, and so is what was rejected, or withdrawn later: what is shown, the view says
    #[arg(long)]
    pub(crate) require_receipt: bool,
    /// Refuse results that were finished longer ago, by their signer's clock, such as 30days; and receipts of a tree
    /// that is older, by the witnesses' clocks. A fresh receipt does not rule out that the result was withdrawn, or its
    /// key revoked, before or since
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pub(crate) max_age: Option<Duration>,
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
    /// Complete and stable, in the shape of verdict.v1.json or audit.v1.json
    Json,
}

fn exits() -> String {
    let used = [
        Exit::Success,
        Exit::Unexpected,
        Exit::Usage,
        Exit::Unmet,
        Exit::Environment,
        Exit::Refused,
        Exit::NoVerdict,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    let lines = used.map(|exit| format!("  {}  {}", exit.number(), exit.words()));
    format!("Exit codes:\n{}", lines.join("\n"))
}
