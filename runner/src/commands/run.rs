//! `run`: executes the suite, prints what happens, and writes the bundle.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use smi_keys::SigningKey;
use smi_keys::files::{self, Access};
use smi_keys::key_file::KeyFile;
use smi_keys::passphrase::{Source, VARIABLE};
use smi_runner::execute::Executed;
use smi_runner::output;
use smi_runner::plan::Plan;
use smi_runner::statement::{Begun, own_digest, statement};
use smi_schemas::codes::Exit;
use smi_schemas::feed::ApiSummary;
use smi_schemas::names::{RunId, Version};
use smi_schemas::report::Status;
use smi_schemas::statement::{Statement, Target as Kind, Versioned};
use smi_schemas::{Digest, Timestamp};
use smi_verifier::capability::summarize;

use super::conduct::{Conduct, Ended, Outcome, heard};
use super::live::Signals;
use super::{CommandError, planned, profile};
use crate::args::{ClusterOptions, Output, Run, TargetKind};

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
    mesh_options(arguments)?;
    // What a cluster serves can only take away from this: a typing error is told before any key is asked for.
    let plan = planned(&arguments.choice, arguments.limit_ms)?;
    let profile = profile(&arguments.mesh)?;
    let signing = signing(arguments)?;
    if let Some(junit) = &arguments.junit {
        free(junit)?;
        if signing.as_ref().is_some_and(|(_, out)| out == junit) {
            return Err(CommandError::OutExists(junit.clone()));
        }
    }
    let begun = begin(arguments)?;
    let text = arguments.output == Output::Text;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (ended, stopped_by) = runtime.block_on(async {
        let mut conduct = Conduct { begun: &begun, text, signals: Signals::new()?, stopped_by: None };
        let ended = match profile {
            None => Outcome::Ended(Box::new(conduct.in_sandbox(plan).await?)),
            Some(profile) => conduct.on_kubernetes(arguments, plan, profile).await?,
        };
        Ok::<_, CommandError>((ended, conduct.stopped_by))
    })?;
    let Ended { plan, facts, executed, left } = match ended {
        Outcome::Ended(ended) => *ended,
        Outcome::Unbegun { left } => return Ok(unbegun(stopped_by, left, text)?),
    };
    let statement = statement(&begun, &plan, &facts, &executed, now()?);
    let apis = summarize(&plan.suite, &statement.predicate);
    let bundle = signing.map(|(key, out)| sign(&key, &out, &statement).map(|payload| (out, payload))).transpose()?;
    let exit = exit(&plan, &executed, stopped_by, left);
    let (path, payload) =
        bundle.as_ref().map_or((None, None), |(path, payload)| (Some(path.as_path()), Some(*payload)));
    let printed = Printed { exit: exit.number(), payload, bundle: path, apis: &apis, statement: &statement };
    heard(if text { print_text(&printed, &plan) } else { print_json(&printed) })?;
    if let Some(path) = &arguments.junit {
        let report = output::junit(&plan.suite, &statement.predicate).to_string().map_err(io::Error::other)?;
        let written = File::create_new(path).and_then(|mut file| file.write_all(report.as_bytes()));
        written.map_err(|cause| CommandError::Junit { path: path.clone(), cause })?;
    }
    if text {
        heard(writeln!(anstream::stdout().lock(), "\nexit {}: {}", exit.number(), exit.words()))?;
    }
    Ok(exit)
}

/// A run that a signal ended before its first assertion: there is nothing to report.
fn unbegun(stopped_by: Option<u8>, left: bool, text: bool) -> io::Result<Exit> {
    let exit = if stopped_by == Some(15) { Exit::Terminated } else { Exit::Interrupted };
    if text {
        let words = exit.words();
        let rest = if left { "" } else { "; nothing is left on the cluster" };
        heard(writeln!(
            anstream::stdout().lock(),
            "\nstopped before the first assertion{rest}\n\nexit {}: {words}",
            exit.number()
        ))?;
    }
    Ok(exit)
}

/// Options of a cluster go with a cluster only.
fn mesh_options(arguments: &Run) -> Result<(), CommandError> {
    let mesh = arguments.mesh.mesh.is_some() || arguments.mesh.profile.is_some();
    let ClusterOptions { kubeconfig, context } = &arguments.cluster;
    let others = kubeconfig.is_some() || context.is_some() || arguments.agent_image.is_some();
    match arguments.target {
        TargetKind::Kubernetes if !mesh => {
            Err(CommandError::MeshOption("--target kubernetes was given, and neither --mesh nor --profile"))
        }
        TargetKind::Sandbox if mesh => {
            Err(CommandError::MeshOption("--mesh or --profile was given, but the target is the sandbox"))
        }
        TargetKind::Sandbox if others => Err(CommandError::MeshOption(
            "--kubeconfig, --context or --agent-image was given, but the target is the sandbox",
        )),
        TargetKind::Kubernetes | TargetKind::Sandbox => Ok(()),
    }
}

fn print_text(printed: &Printed<'_>, plan: &Plan) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    output::summary(&mut out, printed.apis, &printed.statement.predicate.assertions)?;
    if let (Some(path), Some(payload)) = (printed.bundle, printed.payload) {
        let shown = path.display();
        writeln!(out, "\nbundle    {shown}\nresult    {payload}")?;
        let sandbox = matches!(printed.statement.predicate.target, Kind::Sandbox {});
        let sandbox = if sandbox { " --allow-sandbox" } else { "" };
        let draft = if plan.suite.is_draft() { " --allow-draft" } else { "" };
        writeln!(out, "verify    smi-verifier verify {shown} --keyring KEYRING{sandbox}{draft}")?;
    }
    Ok(())
}

fn print_json(printed: &Printed<'_>) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    serde_json::to_writer_pretty(&mut out, printed)?;
    writeln!(out)
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
    free(&out)?;
    let source = Source::new(arguments.passphrase_file.clone(), std::env::var_os(VARIABLE), io::stdin().is_terminal());
    Ok(Some((KeyFile::read(key)?.into_private(&source)?, out)))
}

/// A file can be written there, as far as can be known before a run.
pub(super) fn free(path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.symlink_metadata().is_ok() {
        Err(CommandError::OutExists(path.to_owned()))
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        Err(CommandError::OutFolder(path.to_owned()))
    } else {
        Ok(())
    }
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

fn sign(key: &SigningKey, out: &Path, statement: &Statement) -> Result<Digest, CommandError> {
    let bundle = key.sign_statement(&statement.to_bytes());
    if let Err(error) = files::create(out, &bundle.to_bytes(), Access::Default) {
        // A run may have taken long. What cannot be written is printed, so that it is not lost.
        let mut shown = anstream::stdout().lock();
        shown.write_all(&bundle.to_bytes()).and_then(|()| writeln!(shown))?;
        return Err(error.into());
    }
    Ok(bundle.payload_digest())
}

/// The worst thing that happened: a signal, something left on the cluster, the harness, a failure, something undecided,
/// something left out.
fn exit(plan: &Plan, executed: &Executed, stopped_by: Option<u8>, left: bool) -> Exit {
    let any = |status| executed.results.iter().any(|result| result.status == status);
    match stopped_by {
        Some(2) => Exit::Interrupted,
        Some(_) => Exit::Terminated,
        None if left => Exit::Environment,
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
