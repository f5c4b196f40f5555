//! What people and their tools read of a run: one function for each format.
//!
//! Facts come first, then one line for each assertion as it ends, on failure with requirement, expectation and
//! observation, then the summary, in which capability and compliance stand apart.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use smi_schemas::codes::Code;
use smi_schemas::feed::ApiSummary;
use smi_schemas::metrics::{Direction, Item, Listing, Object, Reading};
use smi_schemas::names::Word;
use smi_schemas::report::{ActionResult, Phase as Seen, Result as AssertionResult, Status, Tally};
use smi_schemas::statement::{Enforcing, Predicate, Purpose, Target};
use smi_schemas::suite::{Assertion, Phase, Role, Shape, Suite};
use smi_verifier::judge::{agrees, shows, within};

use crate::mesh::Profile;
use crate::plan::Plan;
use crate::statement::Begun;
use crate::target::Facts;
use crate::words::{asked, call, expectation, shown};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const OPEN: Style = AnsiColor::Yellow.on_default();

/// The suite and the run, before anything is done: whoever ends a run the hard way needs its id.
pub fn heading(out: &mut (impl Write + ?Sized), plan: &Plan, begun: &Begun) -> io::Result<()> {
    let purpose = match begun.purpose {
        Purpose::Official => "official",
        Purpose::Trial => "trial",
    };
    writeln!(out, "suite     {}, {}", plan.suite.version, plan.digest)?;
    writeln!(out, "run       {}, {purpose}", begun.id)
}

/// That a profile is one that nobody ran.
pub fn untried(out: &mut (impl Write + ?Sized), profile: &Profile) -> io::Result<()> {
    let name = &profile.name;
    writeln!(out, "profile   {OPEN}never run against {name}: what it says of it is taken from documents{OPEN:#}")
}

/// What is about to be tested, and on what.
pub fn facts(out: &mut (impl Write + ?Sized), plan: &Plan, facts: &Facts, begun: &Begun) -> io::Result<()> {
    let version = facts.mesh.version.as_ref().map_or("of unknown version", |version| version.as_str());
    let enforcing = match facts.mesh.enforcing {
        Enforcing::On => "enforcing",
        Enforcing::Off => "not enforcing",
        Enforcing::Unknown => "enforcing or not is unknown",
    };
    let claimed = |api| if facts.mesh.claimed_unsupported.contains(api) { " (claimed unsupported)" } else { "" };
    let apis: Vec<String> = plan.apis.iter().map(|(api, version)| format!("{api} {version}{}", claimed(api))).collect();
    writeln!(out, "target    {}", facts.target)?;
    writeln!(out, "mesh      {} {version}, {enforcing}", facts.mesh.slug)?;
    for image in &facts.subject {
        writeln!(out, "image     {}@sha256:{}", image.name, image.digest.sha256)?;
    }
    if let Some(command) = &facts.enable {
        writeln!(
            out,
            "enforce   {OPEN}the mesh allows what no TrafficTarget does; to have it deny: {command}{OPEN:#}"
        )?;
    }
    writeln!(out, "apis      {}", if apis.is_empty() { "none is served".to_owned() } else { apis.join(", ") })?;
    let reasons = unpublishable(plan, facts, begun.purpose);
    if !reasons.is_empty() {
        writeln!(out)?;
        writeln!(out, "{OPEN}An official publisher will not take this result:{OPEN:#}")?;
    }
    for code in reasons {
        writeln!(out, "  {code:<16}  {}", code.sentence())?;
    }
    writeln!(out)
}

/// What is known before a run to keep its result from being published.
fn unpublishable(plan: &Plan, facts: &Facts, purpose: Purpose) -> Vec<Code> {
    let reasons = [
        (matches!(facts.target, Target::Sandbox {}), Code::PolicySandbox),
        (plan.suite.is_draft(), Code::PolicyDraft),
        (purpose == Purpose::Trial, Code::PolicyTrial),
        (!plan.filters.is_empty(), Code::PolicyPartial),
        (plan.overrides.limit_ms.is_some(), Code::PolicyOverride),
    ];
    reasons.into_iter().filter_map(|(holds, code)| holds.then_some(code)).collect()
}

/// One assertion, and on anything but a pass what was expected and what was seen.
pub fn assertion(out: &mut (impl Write + ?Sized), suite: &Suite, result: &AssertionResult) -> io::Result<()> {
    let Some(index) = suite.assertions.iter().position(|assertion| assertion.id == result.id) else { return Ok(()) };
    let (assertion, total) = (&suite.assertions[index], suite.assertions.len());
    let style = style(result.status);
    let attempts = if result.attempts > 1 { format!(", {} attempts", result.attempts) } else { String::new() };
    let (word, id, seconds) = (result.status, &result.id, seconds(result.duration_ms));
    writeln!(out, "{style}{word:<14}{style:#} {:>3}/{total}  {id}  {seconds}{attempts}", index + 1)?;
    if matches!(result.status, Status::Pass | Status::Skipped | Status::NotSupported | Status::NotApplicable) {
        return Ok(());
    }
    for (label, text) in explanation(suite, assertion, result) {
        writeln!(out, "    {label:<12} {text}")?;
    }
    Ok(())
}

/// Capability and compliance of each API, and how many assertions ended how.
pub fn summary(out: &mut (impl Write + ?Sized), apis: &[ApiSummary], results: &[AssertionResult]) -> io::Result<()> {
    writeln!(out)?;
    writeln!(out, "{}", ApiSummary::HEADER)?;
    for api in apis {
        writeln!(out, "{api}")?;
    }
    writeln!(out)?;
    let counted: Vec<String> = STATUSES
        .iter()
        .map(|status| (status, results.iter().filter(|result| result.status == *status).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    writeln!(out, "{} assertions: {}", results.len(), counted.join(", "))
}

const STATUSES: [Status; 8] = [
    Status::Pass,
    Status::Fail,
    Status::Inconclusive,
    Status::Error,
    Status::NotSupported,
    Status::NotApplicable,
    Status::Skipped,
    Status::Observed,
];

/// JUnit XML: a suite for each API, failures for failed assertions, errors for the harness's.
pub fn junit(suite: &Suite, predicate: &Predicate) -> Report {
    let mut report = Report::new("smi-conformance");
    for api in smi_schemas::smi::Api::ALL {
        let mut cases = TestSuite::new(format!("smi.{api}"));
        cases.add_property(("suite", predicate.suite.digest.to_string().as_str()));
        cases.add_property(("mesh", predicate.mesh.slug.as_str()));
        let results = suite.assertions.iter().zip(&predicate.assertions);
        for (assertion, result) in results.filter(|(assertion, _)| assertion.api == api) {
            let mut case = TestCase::new(result.id.as_str(), junit_status(suite, assertion, result));
            case.set_classname(format!("smi.{api}")).set_time(std::time::Duration::from_millis(result.duration_ms));
            cases.add_test_case(case);
        }
        report.add_test_suite(cases);
    }
    report
}

fn junit_status(suite: &Suite, assertion: &Assertion, result: &AssertionResult) -> TestCaseStatus {
    let mut status = match result.status {
        Status::Pass | Status::Observed => return TestCaseStatus::success(),
        Status::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Inconclusive | Status::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Status::NotSupported | Status::NotApplicable | Status::Skipped => TestCaseStatus::skipped(),
    };
    let lines = explanation(suite, assertion, result).into_iter().map(|(label, text)| format!("{label}: {text}"));
    status.set_message(result.reason.sentence()).set_type(result.reason.as_str());
    status.set_description(lines.collect::<Vec<_>>().join("\n"));
    status
}

/// Requirement, what decided, and why: label and text.
fn explanation(suite: &Suite, assertion: &Assertion, result: &AssertionResult) -> Vec<(&'static str, String)> {
    let mut lines = vec![("requirement", assertion.requirement.clone()), ("section", assertion.spec.clone())];
    let shape = assertion.shape.as_ref().and_then(|name| suite.shape(name));
    let phases = result.observations.iter().flat_map(|observations| &observations.phases);
    if let Some((number, (phase, seen))) = assertion.phases.iter().zip(phases).enumerate().last() {
        if assertion.phases.len() > 1 {
            lines.push(("phase", format!("{} of {}", number + 1, assertion.phases.len())));
        }
        lines.extend(seen.actions.iter().filter_map(action).map(|text| ("observed", text)));
        lines.extend(shape.map(|shape| unmet(shape, phase, seen)).unwrap_or_default());
    }
    lines.push(("reason", format!("{}: {}", result.reason, result.reason.sentence())));
    lines
}

/// Results of actions that say something.
fn action(result: &ActionResult) -> Option<String> {
    match result {
        ActionResult::Done => None,
        ActionResult::Refused => Some("the cluster refused the resource".to_owned()),
        ActionResult::Served(versions) if versions.is_empty() => Some("no version is served".to_owned()),
        ActionResult::Served(versions) => {
            let versions: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
            Some(format!("served in {}", versions.join(", ")))
        }
        ActionResult::Lost(fields) if fields.is_empty() => None,
        ActionResult::Lost(fields) => Some(format!("not read back: {}", fields.join(", "))),
        ActionResult::Resources(Listing { http, resources }) => {
            let listed = resources.iter().map(|resource| {
                let scope = if resource.namespaced { "namespaced" } else { "not namespaced" };
                let verbs: Vec<&str> = resource.verbs.iter().map(Word::as_str).collect();
                format!("{} ({}, {scope}, {})", resource.name, resource.kind, verbs.join(" and "))
            });
            Some(format!("HTTP {http}, listed: {}", listed.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Every cell that did not agree, as what was expected and what was observed.
fn unmet(shape: &Shape, phase: &Phase, seen: &Seen) -> Vec<(&'static str, String)> {
    let Some(window) = &seen.window else { return Vec::new() };
    let rounds = phase.rounds(shape).zip(&window.cells).filter(|((_, cell), tally)| !agrees(shape, cell, tally));
    let rounds = rounds.map(|((role, cell), tally)| (role, cell, vec![tally]));
    let samples = phase.samples(shape).zip(&window.samples);
    let samples = samples.filter(|((_, _, shares), batches)| !batches.iter().any(|batch| within(shares, batch)));
    let samples = samples.map(|((role, cell, _), batches)| (role, cell, batches.iter().collect()));
    let lines = rounds.chain(samples).flat_map(|(role, cell, tallies)| {
        let label = if role == Role::Control { "control" } else { "expected" };
        let expected = (label, format!("{}: {}", call(cell), expectation(&cell.expect)));
        [expected].into_iter().chain(tallies.into_iter().map(|tally| ("observed", counts(tally))))
    });
    let questions = phase.metrics.iter().zip(&window.metrics).filter(|(question, reading)| !shows(question, reading));
    let readings = questions.flat_map(|(question, reading)| {
        [("expected", format!("{}: {}", asked(question), shown(&question.shows))), ("observed", read(reading))]
    });
    lines.chain(readings).collect()
}

/// An answer of the metrics API, as much of it as a judgement looks at.
fn read(reading: &Reading) -> String {
    const SHOWN: usize = 8;
    let object = |object: &Option<Object>| match object {
        Some(Object { kind, name: Some(name), .. }) => format!("{kind} {name}"),
        Some(Object { kind, .. }) => kind.to_string(),
        None => "nobody".to_owned(),
    };
    let number = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let item = |item: &Item| {
        let edge = item.edge.as_ref().filter(|edge| edge.resource.is_some()).map(|edge| {
            let direction = match edge.direction {
                Some(Direction::To) => "to",
                Some(Direction::From) => "from",
                None => "with",
            };
            format!(" {direction} {}", object(&edge.resource))
        });
        let backend = item.backend.as_ref().map(|to| format!(" by {} to {} weight {}", to.apex, to.name, to.weight));
        let latencies = [item.p50_us, item.p90_us, item.p99_us].map(number).join("/");
        format!(
            "{}{}{} succeeded {} failed {} within {latencies} us, {} others",
            object(&item.resource),
            edge.unwrap_or_default(),
            backend.unwrap_or_default(),
            number(item.success),
            number(item.failure),
            item.others
        )
    };
    let list = reading.list.as_ref().map(|list| format!(", a list of {}", list.kind)).unwrap_or_default();
    let items: Vec<String> = reading.items.iter().take(SHOWN).map(item).collect();
    let more = reading.items.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("HTTP {}{list}: {}{more}", reading.http, items.join("; "))
}

fn counts(tally: &Tally) -> String {
    let answered = tally.answered.iter().map(|(workload, count)| format!("{count} answered by {workload}"));
    let unanswered = tally.unanswered.iter().map(|(outcome, count)| format!("{count} {outcome}"));
    let logged = (tally.logged > 0).then(|| format!("{} of the unanswered arrived", tally.logged));
    let parts: Vec<String> = answered.chain(unanswered).chain(logged).collect();
    format!("{} sent: {}", tally.sent, parts.join(", "))
}

fn style(status: Status) -> Style {
    match status {
        Status::Pass => GOOD,
        Status::Fail | Status::Error => BAD,
        Status::Inconclusive => OPEN,
        Status::NotSupported | Status::NotApplicable | Status::Skipped | Status::Observed => Style::new(),
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}
