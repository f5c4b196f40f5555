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
use smi_publisher::log::{Answer, Log, Submission};
use smi_publisher::store::sled::sync_file_system;
use smi_publisher::store::{Mark, SledStore};
use smi_schemas::Digest;

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
    let log = Log::start(Arc::new(store))?;
    let began = Instant::now();
    let end = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    // What one run submits, no other does.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let callers: Vec<_> = (0..arguments.callers)
        .map(|caller| tokio::spawn(call(log.clone(), format!("{run} {caller}"), arguments.bytes, end)))
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
async fn call(log: Log, name: String, bytes: usize, end: Option<Instant>) -> io::Result<u32> {
    let mut number = 0;
    while end.is_none_or(|end| Instant::now() < end) {
        let mut blob = format!("{name} {number} ").into_bytes();
        blob.resize(bytes.max(blob.len()), b'.');
        let digest = Digest::of(&blob);
        // About the size of a leaf.
        let entry = Box::new(move |index| format!("{index} {digest} {:700}", "").into_bytes());
        match log.submit(Submission { digest, blob, entry }).await {
            Ok(Answer::Added { index, digest } | Answer::Present { index, digest }) => {
                writeln!(io::stdout().lock(), "{digest} {index}")?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        number += 1;
    }
    Ok(number)
}
