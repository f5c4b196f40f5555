//! The verdict as people read it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use smi_schemas::codes::Exit;
use smi_schemas::feed::ApiSummary;
use smi_schemas::report::Status;
use smi_schemas::shown::shown;
use smi_verifier::audit::report::{CheckLine, Report};
use smi_verifier::audit::{Check as AuditCheck, Counts};
use smi_verifier::release::{Released, STAGES};
use smi_verifier::verdict::{Accepted, Check, Explained, LogPlace, TrustedKeyring, Verdict, listed};
use smi_verifier::{Outcome, Refused, Stage};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
const OPEN: Style = AnsiColor::Yellow.on_default();

/// Facts first, then the checks, then what the result says, then the end in words.
pub(crate) fn verdict(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    if let Some(result) = &verdict.result {
        facts(out, result)?;
    }
    trusted(out, &verdict.keyring)?;
    checks(out, &verdict.checks, verdict.accepted)?;
    if let Some(result) = &verdict.result {
        writeln!(out)?;
        writeln!(out, "{}", ApiSummary::HEADER)?;
        for api in &result.apis {
            writeln!(out, "{api}")?;
        }
        exceptions(out, result)?;
        withheld(out, result)?;
    }
    for requirement in &verdict.requirements {
        let (style, word) = if requirement.met { (GOOD, "met") } else { (BAD, "unmet") };
        writeln!(out, "{style}{word:<8}{style:#}  --require {}", requirement.requirement)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", if verdict.accepted { "The bundle is accepted." } else { "The bundle is refused." })?;
    writeln!(out, "exit {}: {}", verdict.exit.code, verdict.exit.words)
}

/// The same of a suite and its release.
pub(crate) fn suite(
    out: &mut impl Write,
    keyring: &TrustedKeyring,
    result: &Result<Released, Refused>,
    exit: Exit,
) -> io::Result<()> {
    if let Ok(released) = result {
        let release = released.release();
        writeln!(out, "suite     {}, {}", release.says.version, release.subject)?;
        writeln!(out, "signer    {}, key {}", released.signer(), released.key_id())?;
        writeln!(out, "claimed   released at {}", release.says.released_at)?;
        released.receipt().map_or(Ok(()), |receipt| place(out, &LogPlace::new(receipt)))?;
    }
    trusted(out, keyring)?;
    let undecided = result.as_ref().map(Released::undecided).unwrap_or_default();
    checks(out, &listed(&STAGES, result, &undecided), result.is_ok())?;
    writeln!(out)?;
    writeln!(out, "{}", if result.is_ok() { "The suite is released." } else { "The release is refused." })?;
    writeln!(out, "exit {}: {}", exit.number(), exit.words())
}

/// The same of an audit: what was read, what it was held against, the checks, what is wrong.
pub(crate) fn audit(out: &mut impl Write, report: &Report) -> io::Result<()> {
    match &report.tree {
        Some(tree) => writeln!(out, "log       {}, {} entries, root {}", report.origin, tree.size, tree.root)?,
        None => writeln!(out, "log       {}", report.origin)?,
    }
    match &report.seen {
        Some(seen) => writeln!(out, "before    {} entries, root {}", seen.size, seen.root)?,
        None => writeln!(out, "before    nothing was seen before")?,
    }
    writeln!(out, "trusted   keyring version {}, {}", report.trusted.version, report.trusted.digest)?;
    if let Some(keyring) = &report.keyring {
        writeln!(out, "in force  keyring version {}, {}", keyring.version, keyring.digest)?;
    }
    let Counts { results, reviews, withdrawals, supersessions, suites, keyrings, signatures, statuses } = report.counts;
    writeln!(
        out,
        "entries   results {results}, reviews {reviews}, withdrawals {withdrawals}, supersessions {supersessions}, \
         suites {suites}, keyrings {keyrings}"
    )?;
    writeln!(out, "verified  {signatures} signatures, {statuses} statuses by replay")?;
    if let (Some(logged_by), Some(current_at)) = (report.logged_by, report.current_at) {
        let witnesses = report.witnesses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(out, "proven    all of it by {logged_by}, seen as the newest at {current_at}, by {witnesses}")?;
    }
    writeln!(out)?;
    for CheckLine { check, outcome } in &report.checks {
        let (style, word) = shade(*outcome);
        let note = match (check, outcome) {
            (AuditCheck::Consistency, Outcome::Unknown) if report.seen.is_none() => "nothing was seen before",
            (AuditCheck::Quorum, Outcome::Unknown) if report.sound => "no witnesses: others may be shown another log",
            (AuditCheck::Freshness, Outcome::Unknown) if report.sound => "no witnesses: newer entries may be withheld",
            _ => "",
        };
        writeln!(out, "{}", format!("{style}{word:<8}{style:#}  {:<11}  {note}", check.as_str()).trim_end())?;
    }
    for found in &report.findings {
        writeln!(out)?;
        writeln!(out, "{BAD}{}{BAD:#}  {}", found.code, found.detail)?;
        writeln!(out, "{} {}", found.sentence, found.remedy)?;
        for note in &found.evidence {
            writeln!(out)?;
            note.lines().try_for_each(|line| writeln!(out, "    {}", shown(line)))?;
        }
    }
    writeln!(out)?;
    let words = match report.ends() {
        Exit::Success => "The log is sound, and view, keyring, feed, tiles and bundles are what it says.",
        Exit::Refused => "The log, or what is served of it, was altered.",
        _ => "Nothing was decided.",
    };
    writeln!(out, "{words}")?;
    writeln!(out, "exit {}: {}", report.exit.code, report.exit.words)
}

fn trusted(out: &mut impl Write, keyring: &TrustedKeyring) -> io::Result<()> {
    writeln!(out, "keyring   version {}, {}\n", keyring.version, keyring.digest)
}

fn facts(out: &mut impl Write, result: &Accepted) -> io::Result<()> {
    let version = result.mesh_version.as_ref().map_or("of unknown version", |version| version.as_str());
    let enforcing = match result.enforcing {
        smi_schemas::statement::Enforcing::On => "enforcing",
        smi_schemas::statement::Enforcing::Off => "not enforcing",
        smi_schemas::statement::Enforcing::Unknown => "enforcing or not is unknown",
    };
    let purpose = match result.purpose {
        smi_schemas::statement::Purpose::Official => "official",
        smi_schemas::statement::Purpose::Trial => "trial",
    };
    writeln!(out, "result    {}", result.payload)?;
    writeln!(out, "signer    {}, key {}", result.signer, result.key_id)?;
    writeln!(out, "mesh      {} {version}, {enforcing}", result.mesh)?;
    writeln!(out, "target    {}", result.target)?;
    writeln!(out, "suite     {}, {}", result.suite.version, result.suite.digest)?;
    writeln!(out, "run       {}, {purpose}", result.run)?;
    writeln!(out, "claimed   from {} to {}", result.started_at, result.finished_at)?;
    match &result.receipt {
        Some(receipt) => place(out, receipt),
        None => Ok(()),
    }
}

fn place(out: &mut impl Write, receipt: &LogPlace) -> io::Result<()> {
    writeln!(out, "log       {}, entry {} of {}", receipt.origin, receipt.index, receipt.size)?;
    if let (Some(logged_by), Some(current_at)) = (receipt.logged_by, receipt.current_at) {
        let witnesses = receipt.witnesses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(out, "proven    logged by {logged_by}, seen as the newest at {current_at}, by {witnesses}")?;
    }
    Ok(())
}

fn checks(out: &mut impl Write, checks: &[Check], accepted: bool) -> io::Result<()> {
    for check in checks {
        let (style, word) = shade(check.outcome);
        let note = match (check.stage, check.outcome) {
            (Stage::Checkpoint, Outcome::Unknown) if accepted => "no receipt: whether this was logged is not known",
            (Stage::Quorum, Outcome::Unknown) if accepted => "no witnesses: its time is its signer's word",
            (Stage::Freshness, Outcome::Unknown) if accepted => "what was revoked or withdrawn since is not known",
            (Stage::Freshness, Outcome::Pass) => "it was logged: whether it was withdrawn, no receipt says",
            _ => "",
        };
        writeln!(out, "{}", format!("{style}{word:<8}{style:#}  {:<10}  {note}", check.stage.as_str()).trim_end())?;
        for finding in &check.findings {
            explained(out, finding)?;
        }
    }
    Ok(())
}

fn shade(outcome: Outcome) -> (Style, &'static str) {
    match outcome {
        Outcome::Pass => (GOOD, "pass"),
        Outcome::Fail => (BAD, "fail"),
        Outcome::Unknown => (OPEN, "unknown"),
    }
}

fn explained(out: &mut impl Write, finding: &Explained) -> io::Result<()> {
    writeln!(out, "          {BAD}{}{BAD:#}  {}", finding.code, finding.detail)?;
    writeln!(out, "          {} {}", finding.sentence, finding.remedy)
}

/// Every assertion that did not pass.
fn exceptions(out: &mut impl Write, result: &Accepted) -> io::Result<()> {
    let mut lines = result.assertions.iter().filter(|line| line.status != Status::Pass).peekable();
    if lines.peek().is_some() {
        writeln!(out)?;
    }
    for line in lines {
        let style = if line.status == Status::Fail { BAD } else { OPEN };
        writeln!(out, "{style}{:<14}{style:#}  {}  ({})", line.status, line.id, line.reason)?;
    }
    Ok(())
}

fn withheld(out: &mut impl Write, result: &Accepted) -> io::Result<()> {
    if result.withheld.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "A publisher would withhold it:")?;
    for reason in &result.withheld {
        writeln!(out, "  {OPEN}{}{OPEN:#}  {} {}", reason.code, reason.sentence, reason.remedy)?;
    }
    Ok(())
}

/// A reader that went away has read enough; the exit code still says what was found.
pub(crate) fn heard(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
