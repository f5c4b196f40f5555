//! `powercut`: logs additions from many callers at once and says of each when it is acknowledged.
//!
//! usage: `powercut FOLDER [--callers N] [--bytes N] [--barrier prompt|late|none] [--seconds N]`
//!
//! For every acknowledgement it prints `DIGEST INDEX`. It runs until it is stopped, or for `--seconds`, and then says
//! how many were acknowledged in a second. `tests/it/powercut.rs` cuts off its disk meanwhile.
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

use clap::{Parser, ValueEnum};
use smi_publisher::cell::FileCell;
use smi_publisher::log::{Answer, Log, Signer, Submission};
use smi_publisher::recover::Recovered;
use smi_publisher::store::sled::sync_file_system;
use smi_publisher::store::{Mark, SledStore, Store};
use smi_schemas::Digest;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_tests::{programme, vectors};
use smi_verifier::policy::Policy;
use smi_verifier::said::{verify_first, verify_said};

#[derive(Clone, Parser)]
#[command(name = "powercut", about = "Logs additions and says of each when it is acknowledged")]
struct Arguments {
    /// Where the store is
    folder: PathBuf,
    /// How many submit at once
    #[arg(long, default_value_t = 16)]
    callers: u64,
    /// Bytes of a blob
    #[arg(long, default_value_t = 20_000)]
    bytes: usize,
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
    let cell = Box::new(FileCell::new(&FileCell::beside(&arguments.folder)));
    let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: vectors::key("log") };
    let (log, _) = Log::start(store, cell, signer, recovered)?;
    let keyring = vectors::keyring_with(None);
    if is_new {
        let first = verify_first(&programme::first(&keyring)).map_err(|refused| format!("{refused:?}"))?;
        log.submit(Submission::new(first)).await?;
    }
    let policy = Arc::new(vectors::policy(keyring, None));
    let began = Instant::now();
    let end = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    // What one run submits, no other does.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let callers: Vec<_> = (0..arguments.callers)
        .map(|caller| tokio::spawn(call(log.clone(), Arc::clone(&policy), format!("{run}-{caller}"), end)))
        .collect();
    let mut acknowledged = 0;
    for caller in callers {
        acknowledged += caller.await??;
    }
    log.close().await;
    eprintln!("{:.0} acknowledged a second", f64::from(acknowledged) / began.elapsed().as_secs_f64());
    Ok(())
}

/// Submits one after the other, and counts.
async fn call(log: Log, policy: Arc<Policy>, name: String, end: Option<Instant>) -> io::Result<u32> {
    let mut number = 0;
    while end.is_none_or(|end| Instant::now() < end) {
        let version = format!("{name}-{number}").parse().map_err(io::Error::other)?;
        let suite = Versioned { version, digest: Digest::of(name.as_bytes()) };
        let release = Release::of(suite, vectors::now()).map_err(io::Error::other)?;
        let bundle = vectors::key("suite").sign_statement(&release.to_bytes()).to_bytes();
        let said = verify_said(&bundle, &policy, vectors::now())
            .map_err(|refused| io::Error::other(format!("{refused:?}")))?;
        match log.submit(Submission::new(said)).await {
            Ok(Answer::Added { index, digest } | Answer::Present { index, digest }) => {
                writeln!(io::stdout().lock(), "{digest} {index}")?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        number += 1;
    }
    Ok(number)
}
