//! `verify --archive`: every bundle of a directory, on all processors, and a line for each.
//!
//! Bundles are its regular files whose names end with `.json`. One that cannot be read is refused, and the others are
//! verified all the same.
//!
//! With `-o json`, each line is a JSON object: for a bundle its `file`, whether it is `accepted`, its `payload` if so,
//! whether requirements are `unmet`, and else its `findings`; the last line counts them and says how it ends.

use std::fs;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use smi_schemas::Digest;
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::{Code, Exit};
use smi_schemas::shown::shown;
use smi_verifier::bulk::Bulk;
use smi_verifier::policy::{Policy, Requirement};
use smi_verifier::verdict::{ExitWords, TrustedKeyring};
use smi_verifier::{Finding, Refused, Verified};

use crate::args::{Output, Verify};
use crate::inputs::{InputError, now, read};
use crate::text::heard;

/// What became of one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    file: String,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Digest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unmet: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
}

/// What became of all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    keyring: TrustedKeyring,
    accepted: usize,
    refused: usize,
    unmet: usize,
    exit: ExitWords,
}

pub(crate) fn archive(
    folder: &Path,
    policy: &Policy,
    trusted: &TrustedKeyring,
    arguments: &Verify,
) -> Result<Exit, InputError> {
    let files = files(folder)?;
    let lines = verified(&files, &Bulk::new(policy, now()?), &arguments.require);
    let refused = lines.iter().filter(|line| !line.accepted).count();
    let unmet = lines.iter().filter(|line| !line.unmet.is_empty()).count();
    let exit = match (refused, unmet) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Unmet,
        _ => Exit::Refused,
    };
    let words = ExitWords { code: exit.number(), words: exit.words().to_owned() };
    let summary = Summary { keyring: *trusted, accepted: lines.len() - refused, refused, unmet, exit: words };
    let mut out = anstream::stdout().lock();
    let printed = match arguments.output {
        Output::Text => text(&mut out, &lines, &summary),
        Output::Json => json(&mut out, &lines, &summary),
    };
    heard(printed.and_then(|()| out.flush())).map_err(InputError::Output)?;
    Ok(exit)
}

/// The bundles of a directory, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unreadable = |cause| InputError::Unreadable { path: folder.to_owned(), cause };
    let mut files = Vec::new();
    for file in fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        let is_named = path.extension().is_some_and(|extension| extension == "json");
        // Whatever a directory is called, it is no bundle, and a pipe may never end. What has no kind cannot be read.
        if is_named && fs::metadata(&path).map_or(true, |metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(InputError::Empty(folder.to_owned())) } else { Ok(files) }
}

/// Every file takes its turn with whichever thread is free; the lines are in the files' order.
fn verified(files: &[PathBuf], bulk: &Bulk, required: &[Requirement]) -> Vec<Line> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut lines = Vec::new();
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(file) = files.get(at)
        {
            let verified = read(file, MAX_BUNDLE_BYTES)
                .map_err(unread)
                .and_then(|bytes| bulk.verify(&bytes).map_err(|Refused { findings, .. }| findings));
            lines.push((at, Line::new(file, verified, required)));
        }
        lines
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let done: Vec<Vec<(usize, Line)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A thread that panicked would have left files out: its panic goes on.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut lines: Vec<_> = done.into_iter().flatten().collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// A file that says nothing.
fn unread(error: InputError) -> Vec<Finding> {
    let detail = match error {
        // The line names the file.
        InputError::Unreadable { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    vec![Finding { code: Code::FileUnreadable, detail }]
}

impl Line {
    fn new(file: &Path, result: Result<Verified, Vec<Finding>>, required: &[Requirement]) -> Self {
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match result {
            Ok(verified) => {
                let unmet = required.iter().filter(|requirement| !requirement.is_met(verified.apis()));
                let unmet = unmet.map(ToString::to_string).collect();
                let payload = Some(verified.payload_digest());
                Self { file, accepted: true, payload, unmet, findings: Vec::new() }
            }
            Err(findings) => Self { file, accepted: false, payload: None, unmet: Vec::new(), findings },
        }
    }
}

fn text(out: &mut impl Write, lines: &[Line], summary: &Summary) -> io::Result<()> {
    const GOOD: Style = AnsiColor::Green.on_default();
    const BAD: Style = AnsiColor::Red.on_default();
    let TrustedKeyring { version, digest } = summary.keyring;
    writeln!(out, "keyring   version {version}, {digest}\n")?;
    for Line { file, payload, unmet, findings, .. } in lines {
        let file = shown(file);
        match payload {
            Some(payload) if unmet.is_empty() => writeln!(out, "{GOOD}accepted{GOOD:#}  {file}  {payload}")?,
            Some(payload) => writeln!(out, "{BAD}unmet{BAD:#}     {file}  {payload}  {}", unmet.join(", "))?,
            None => {
                let grounds = findings.iter().map(|finding| format!("{} ({})", finding.code, finding.detail));
                writeln!(out, "{BAD}refused{BAD:#}   {file}  {}", grounds.collect::<Vec<_>>().join("; "))?;
            }
        }
    }
    let Summary { accepted, refused, unmet, exit, .. } = summary;
    writeln!(out)?;
    writeln!(out, "Of {} bundles, {accepted} are accepted and {refused} refused.", lines.len())?;
    if *unmet > 0 {
        writeln!(out, "{unmet} do not meet what is required.")?;
    }
    writeln!(out, "exit {}: {}", exit.code, exit.words)
}

fn json(out: &mut impl Write, lines: &[Line], summary: &Summary) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
    }
    serde_json::to_writer(&mut *out, summary)?;
    writeln!(out)
}
