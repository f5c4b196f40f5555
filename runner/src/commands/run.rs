//! `run`: executes the suite, prints what happens, and writes the bundle.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use smi_keys::SigningKey;
use smi_keys::files::{self, Access};
use smi_keys::key_file::KeyFile;
use smi_keys::passphrase::{Source, VARIABLE};
use smi_runner::execute::{Event, Executed, execute};
use smi_runner::output;
use smi_runner::plan::Plan;
use smi_runner::sandbox::SandboxTarget;
use smi_runner::statement::{Begun, own_digest, statement};
use smi_runner::target::Target;
use smi_schemas::codes::Exit;
use smi_schemas::feed::ApiSummary;
use smi_schemas::names::{RunId, Version};
use smi_schemas::report::Status;
use smi_schemas::statement::{Statement, Versioned};
use smi_schemas::{Digest, Timestamp};
use smi_verifier::capability::summarize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandError, exists, planned};
use crate::args::{Output, Run};

/// Where a bundle goes when nothing else is said.
const DEFAULT_OUT: &str = "result.json";

/// What is printed of a run; `run -o json` prints it as it stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<&'a Path>,
    apis: &'a [ApiSummary],
    statement: &'a Statement,
}

pub(crate) fn run(arguments: &Run) -> Result<Exit, CommandError> {
    let plan = planned(&arguments.choice, arguments.limit_ms)?;
    let signing = signing(arguments)?;
    let begun = begin(arguments)?;
    let target = SandboxTarget::new(begun.runner.version.clone(), begun.runner.digest, begun.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    let text = arguments.output == Output::Text;
    if text {
        heard(output::facts(&mut anstream::stdout().lock(), &plan, target.facts(), &begun))?;
    }
    let stopped_by = AtomicU8::new(0);
    let executed = runtime.block_on(watched(&plan, &target, text, &stopped_by, signals));
    let statement = statement(&begun, &plan, target.facts(), &executed, now()?);
    let apis = summarize(&plan.suite, &statement.predicate);
    let bundle = signing.map(|(key, out)| sign(&key, &out, &statement).map(|payload| (out, payload))).transpose()?;
    if let Some(path) = &arguments.junit {
        let report = output::junit(&plan.suite, &statement.predicate).to_string().map_err(io::Error::other)?;
        std::fs::write(path, report).map_err(|cause| super::CommandError::Junit { path: path.clone(), cause })?;
    }
    let exit = exit(&plan, &executed, stopped_by.load(Ordering::Relaxed));
    let (path, payload) =
        bundle.as_ref().map_or((None, None), |(path, payload)| (Some(path.as_path()), Some(*payload)));
    let printed = Printed { exit: exit.number(), payload, bundle: path, apis: &apis, statement: &statement };
    heard(if text { print_text(&printed, exit) } else { print_json(&printed) })?;
    Ok(exit)
}

fn print_text(printed: &Printed<'_>, exit: Exit) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    output::summary(&mut out, printed.apis, &printed.statement.predicate.assertions)?;
    if let (Some(path), Some(payload)) = (printed.bundle, printed.payload) {
        let shown = path.display();
        writeln!(out, "\nbundle    {shown}\nresult    {payload}")?;
        writeln!(out, "verify    smi-verifier verify {shown} --keyring KEYRING --allow-sandbox --allow-draft")?;
    }
    writeln!(out, "\nexit {}: {}", exit.number(), exit.words())
}

fn print_json(printed: &Printed<'_>) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    serde_json::to_writer_pretty(&mut out, printed)?;
    writeln!(out)
}

/// A reader that went away has heard enough; the run goes on for the bundle's sake.
fn heard(told: io::Result<()>) -> io::Result<()> {
    match told {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// The key and where the bundle goes, both known to be usable before anything is run.
fn signing(arguments: &Run) -> Result<Option<(SigningKey, PathBuf)>, CommandError> {
    let Some(key) = &arguments.key else {
        return match &arguments.out {
            None => Ok(None),
            Some(out) => Err(CommandError::KeyNeeded(out.clone())),
        };
    };
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_OUT));
    if exists(&out) {
        return Err(CommandError::OutExists(out));
    }
    let source = Source::new(arguments.passphrase_file.clone(), std::env::var_os(VARIABLE), io::stdin().is_terminal());
    Ok(Some((KeyFile::read(key)?.into_private(&source)?, out)))
}

fn begin(arguments: &Run) -> Result<Begun, CommandError> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(CommandError::Randomness)?;
    let (id, seed) = random.split_at(16);
    let unexpected = |_| CommandError::Unexpected("random bytes have another length than was asked for");
    let version: Version = env!("CARGO_PKG_VERSION").parse().map_err(|_| CommandError::Unexpected("own version"))?;
    Ok(Begun {
        id: RunId::new(id.try_into().map_err(unexpected)?),
        seed: u64::from_be_bytes(seed.try_into().map_err(unexpected)?),
        purpose: arguments.purpose,
        started_at: now()?,
        runner: Versioned { version, digest: own_digest()? },
    })
}

/// Executes the plan, prints what happens, and stops it at the first signal. The second one ends the process.
async fn watched(
    plan: &Plan,
    target: &impl Target,
    text: bool,
    stopped_by: &AtomicU8,
    mut signals: Signals,
) -> Executed {
    let stop = CancellationToken::new();
    let live = Mutex::new(text.then(Live::new));
    let watch = |event: Event<'_>| {
        if let Some(live) = live.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            live.show(plan, &event);
        }
    };
    let run = execute(plan, target, &stop, &watch);
    let mut run = std::pin::pin!(run);
    loop {
        tokio::select! {
            executed = &mut run => return executed,
            number = signals.next() => {
                stopped_by.store(number, Ordering::Relaxed);
                if stop.is_cancelled() {
                    std::process::exit(128 + i32::from(number));
                }
                stop.cancel();
            }
        }
    }
}

/// Signals that end a run, caught from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

fn sign(key: &SigningKey, out: &Path, statement: &Statement) -> Result<Digest, CommandError> {
    let bundle = key.sign_statement(&statement.to_bytes());
    files::create(out, &bundle.to_bytes(), Access::Default)?;
    Ok(bundle.payload_digest())
}

/// The worst thing that happened: a signal, the harness, a failure, something undecided, something left out.
fn exit(plan: &Plan, executed: &Executed, signal: u8) -> Exit {
    let any = |status| executed.results.iter().any(|result| result.status == status);
    match signal {
        2 => Exit::Interrupted,
        15 => Exit::Terminated,
        _ if any(Status::Error) => Exit::Harness,
        _ if any(Status::Fail) => Exit::Unmet,
        _ if any(Status::Inconclusive) => Exit::NoVerdict,
        _ if !plan.filters.is_empty() => Exit::Partial,
        _ => Exit::Success,
    }
}

fn now() -> Result<Timestamp, CommandError> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.and_then(Timestamp::from_unix_seconds).ok_or(CommandError::Unexpected("the clock is out of any range"))
}

/// A line for each assertion that ended, and on a terminal below them what is under way.
struct Live {
    under_way: ProgressBar,
    running: Vec<String>,
}

impl Live {
    fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let under_way = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        under_way.set_style(ProgressStyle::default_spinner());
        under_way.enable_steady_tick(Duration::from_millis(200));
        Self { under_way, running: Vec::new() }
    }

    fn show(&mut self, plan: &Plan, event: &Event<'_>) {
        match event {
            Event::Started(id) => self.running.push(id.to_string()),
            Event::Finished(result) => {
                self.running.retain(|id| *id != result.id.as_str());
                self.print(|out| output::assertion(out, &plan.suite, result));
            }
            Event::Fault(id, fault) => self.print(|out| writeln!(out, "    {id}: {fault}")),
        }
        self.under_way.set_message(self.running.join(", "));
    }

    fn print(&self, write: impl Fn(&mut dyn io::Write) -> io::Result<()>) {
        self.under_way.suspend(|| {
            // With standard output gone there is nobody left to tell; the bundle is still written.
            let _ = write(&mut anstream::stdout().lock());
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.under_way.finish_and_clear();
    }
}
