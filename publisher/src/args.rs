//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, value_parser};
use smi_publisher::cell::FileCell;
use smi_publisher::heads::{PACE, RENEWAL};
use smi_publisher::intake::DAILY_QUOTA;
use smi_schemas::names::{NoteName, Url};
use smi_verifier::note::NoteKey;

/// No pace would be a witness asked without end.
const MIN_PACE_SECONDS: u64 = 1;

/// As often as a head that is shown is cosigned again: what waits longer is taken for a log that stands still.
const MAX_PACE_SECONDS: u64 = RENEWAL.as_secs();

#[derive(Parser)]
#[command(name = "smi-publisher", version, about = "Publishes SMI conformance results as a transparency log")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a log: its first entry is its keyring
    Init(Init),
    /// Take submissions, log what is accepted, and serve log, feed, matrix and API
    Serve(Serve),
    /// Be a witness: cosign the checkpoints of logs that show everybody the same tree
    Witness(Witness),
    /// Compute everything in a store again, and hold it against the last checkpoint; needs no key
    Check(Check),
    /// Copy a log from what its publisher serves, while it runs
    Backup(Backup),
    /// Bring a backup back that has everything that was signed
    Restore(Restore),
}

/// Where a log is, and what it is for.
#[derive(Args)]
pub(crate) struct Directory {
    /// The directory of the database
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The file of the last signed checkpoint, best on another disk [default: DIR.checkpoint]
    #[arg(long = "cell", value_name = "FILE")]
    cell: Option<PathBuf>,
    /// Admit results of the sandbox; marks the log as a demonstration for ever
    #[arg(long)]
    pub(crate) allow_sandbox: bool,
    /// Admit draft suites; marks the log as a demonstration for ever
    #[arg(long)]
    pub(crate) allow_draft: bool,
}

/// What the log signs with.
#[derive(Args)]
pub(crate) struct LogKey {
    /// The log's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: PathBuf,
    /// The passphrase of the key; else SMI_KEY_PASSPHRASE, else a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl Directory {
    pub(crate) fn cell(&self) -> PathBuf {
        self.cell.clone().unwrap_or_else(|| FileCell::beside(&self.data))
    }

    pub(crate) fn demonstration(&self) -> bool {
        self.allow_sandbox || self.allow_draft
    }
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher init --data /var/lib/smi-publisher --keyring keyring.sigstore.json --log-key log.pem

The keyring is one that its root keys signed with `smi-keys statement keyring`. It names the log's key, and with it the
log: a bare host name, which of a demonstration begins with `demo.`.")]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// The signed keyring
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: PathBuf,
    #[command(flatten)]
    pub(crate) log_key: LogKey,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher serve --data /var/lib/smi-publisher --log-key log.pem --listen 127.0.0.1:8080

Stops at SIGINT or SIGTERM, after the answers that are under way; and by itself, with exit code 9, when it no longer
knows what is on its disk: to be started again.")]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) directory: Directory,
    #[command(flatten)]
    pub(crate) log_key: LogKey,
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Entries that a key may submit in a day
    #[arg(long, value_name = "N", default_value_t = DAILY_QUOTA)]
    pub(crate) quota: u32,
    /// How long a submission waits for the witnesses before it is answered with where to ask
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) patience: u64,
    /// The time between two requests to a witness, 1 to 600; what is signed meanwhile goes with the next one
    #[arg(long, value_name = "SECONDS", default_value_t = PACE.as_secs(), value_parser = pace())]
    pub(crate) witness_pace: u64,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher witness --data w1 --key w1.pem --name witness.example.org/w1 \\
    --keyring keyring.json --listen 127.0.0.1:8081

The directory holds what was cosigned last of every log. A witness that loses it, or goes back to an
older copy, may cosign a fork. Stops at SIGINT or SIGTERM, after the answers that are under way.")]
#[command(group = ArgGroup::new("logs").required(true).multiple(true).args(["log", "keyring"]))]
pub(crate) struct Witness {
    /// The directory of what was cosigned last
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The witness's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The passphrase of the key; else SMI_KEY_PASSPHRASE, else a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The witness's name in signed notes, such as witness.example.org/w1
    #[arg(long, value_name = "NAME")]
    pub(crate) name: NoteName,
    /// A log to cosign, by its key, written NAME+ID+KEY; may be given more than once
    #[arg(long, value_name = "VKEY")]
    pub(crate) log: Vec<NoteKey>,
    /// A keyring whose log to cosign
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher check --data /var/lib/smi-publisher

The publisher must not be running. What a demonstration admits is what it was made for, or less if flags say so. A
backup in DIR is checked with --data DIR/store --cell DIR/checkpoint.")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher backup --from https://results.example.org --to /srv/backup

Done again, it fetches what is new. The last checkpoint is no part of it: keep that apart, where `serve` has it.")]
pub(crate) struct Backup {
    /// The publisher's address
    #[arg(long, value_name = "URL")]
    pub(crate) from: Url,
    /// The directory of the backup
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-publisher restore --from /srv/backup --data /var/lib/smi-publisher

A backup without everything that was signed is refused: make a newer one from whoever has more of the log. Nothing is
replaced; what was interrupted is done again with the same command.")]
pub(crate) struct Restore {
    /// The directory of the backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The directory of the database
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The file of the last signed checkpoint [default: DIR.checkpoint]
    #[arg(long = "cell", value_name = "FILE")]
    cell: Option<PathBuf>,
}

impl Restore {
    pub(crate) fn cell(&self) -> PathBuf {
        self.cell.clone().unwrap_or_else(|| FileCell::beside(&self.data))
    }
}

fn pace() -> RangedU64ValueParser {
    value_parser!(u64).range(MIN_PACE_SECONDS..=MAX_PACE_SECONDS)
}
