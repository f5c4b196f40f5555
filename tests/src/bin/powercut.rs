//! `powercut`: logs from many callers at once, and says of each entry when it is acknowledged and of each head when it
//! is announced.
//!
//! usage: `powercut FOLDER CELL [--callers N] [--results] [--barrier prompt|late|none] [--seconds N]`
//!
//! It prints a line `entry DIGEST INDEX` for every acknowledgement and `head NOTE`, in base64, for every head that it
//! sees announced. It runs until it is stopped, or for `--seconds`, and then says how many were acknowledged in a second.
//! `tests/it/powercut.rs` cuts off its disks meanwhile.
//!
//! The barriers: `prompt` is the publisher's; `late` waits before it, so that there is more time in which what was
//! written is not yet durable; `none` is what a store would be worth without one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, ValueEnum};
use smi_publisher::cell::FileCell;
use smi_publisher::log::{Answer, Head, Log, Signer, Submission};
use smi_publisher::recover::Recovered;
use smi_publisher::store::sled::sync_file_system;
use smi_publisher::store::{Mark, SledStore, Store};
use smi_schemas::Digest;
use smi_schemas::names::RunId;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_tests::{programme, vectors};
use smi_verifier::policy::Policy;
use smi_verifier::said::{verify_first, verify_said};
use tokio::sync::watch;

#[derive(Clone, Parser)]
#[command(name = "powercut", about = "Logs from many callers at once and says what is acknowledged and announced")]
struct Arguments {
    /// Where the store is
    folder: PathBuf,
    /// Where the last checkpoint is
    cell: PathBuf,
    /// How many submit at once
    #[arg(long, default_value_t = 16)]
    callers: u64,
    /// Submit results, which are larger and take longer to verify, and not releases of suites
    #[arg(long)]
    results: bool,
    /// How what was written is made durable
    #[arg(long, value_enum, default_value_t = Barrier::Prompt)]
    barrier: Barrier,
    /// Stop after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Barrier {
    Prompt,
    Late,
    None,
}

impl Barrier {
    fn function(self) -> fn(&File) -> io::Result<()> {
        match self {
            Self::Prompt => sync_file_system,
            Self::Late => |folder| {
                thread::sleep(Duration::from_millis(5));
                sync_file_system(folder)
            },
            Self::None => |_| Ok(()),
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("powercut: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let barrier = arguments.barrier.function();
    let store = SledStore::open_with(&arguments.folder, Mark { demonstration: false }, barrier)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let recovered = Recovered::read(&*store, 0)?;
    let is_new = recovered.ledger.size() == 0;
    let cell = Box::new(FileCell::new(&arguments.cell));
    let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: vectors::key("log") };
    let (log, _) = Log::start(store, cell, signer, recovered)?;
    tokio::spawn(follow(log.head()));
    let keyring = vectors::keyring_with(None);
    if is_new {
        let first = programme::first(&keyring);
        let first = verify_first(&first).map_err(|refused| format!("{refused:?}"))?;
        say(log.submit(Submission::new(first)).await?)?;
    }
    let policy = Arc::new(vectors::policy(keyring, None));
    let began = Instant::now();
    let end = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    // What one run submits, no other does.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let callers: Vec<_> = (0..arguments.callers)
        .map(|caller| {
            let said = if arguments.results { result } else { release };
            tokio::spawn(call(log.clone(), Arc::clone(&policy), format!("{run}-{caller}"), said, end))
        })
        .collect();
    let mut acknowledged = 0;
    for caller in callers {
        acknowledged += caller.await??;
    }
    log.close().await;
    eprintln!("{:.0} acknowledged a second", f64::from(acknowledged) / began.elapsed().as_secs_f64());
    Ok(())
}

/// Says of every head that it sees that it is announced. One of them may have taken the place of others by then.
async fn follow(mut heads: watch::Receiver<Arc<Head>>) -> io::Result<()> {
    loop {
        let note = STANDARD.encode(&heads.borrow_and_update().note);
        writeln!(io::stdout().lock(), "head {note}")?;
        if heads.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Submits one after the other, and counts.
async fn call(
    log: Log,
    policy: Arc<Policy>,
    name: String,
    said: fn(&str) -> Vec<u8>,
    end: Option<Instant>,
) -> io::Result<u32> {
    let mut number = 0;
    while end.is_none_or(|end| Instant::now() < end) {
        let bundle = said(&format!("{name}-{number}"));
        let said = verify_said(&bundle, &policy, vectors::now());
        let said = said.map_err(|refused| io::Error::other(format!("{refused:?}")))?;
        say(log.submit(Submission::new(said)).await.map_err(io::Error::other)?)?;
        number += 1;
    }
    Ok(number)
}

fn say((Answer::Added { index, digest } | Answer::Present { index, digest }): Answer) -> io::Result<()> {
    writeln!(io::stdout().lock(), "entry {digest} {index}")
}

/// The release of a suite of this version.
fn release(version: &str) -> Vec<u8> {
    let version = version.parse().unwrap_or_else(|error| unreachable!("{error}"));
    let suite = Versioned { version, digest: Digest::of(b"suite") };
    let release = Release::of(suite, vectors::now()).unwrap_or_else(|error| unreachable!("{error}"));
    vectors::key("suite").sign_statement(&release.to_bytes()).to_bytes()
}

/// The result of a run that has this name.
fn result(run: &str) -> Vec<u8> {
    let digest = Digest::of(run.as_bytes());
    let id: [u8; 16] = std::array::from_fn(|at| digest.as_bytes()[at]);
    vectors::signed(|statement| statement.predicate.run.id = RunId::new(id))
}
