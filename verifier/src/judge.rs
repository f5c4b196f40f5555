//! The judge: from an assertion and what was observed to a status and its reason.
//!
//! A pure function of integers. The runner calls it to fill a report, the verifier calls it again to check one; no
//! status is written by hand. What the runner observes and what is judged from it are kept apart: an observation that
//! contradicts itself or the suite is not judged but [`Malformed`].
//!
//! The rules, in the order in which they are applied:
//!
//! 1. An assertion that the run's filters leave out is `skipped`. One that uses an API which is not served is
//!    `not-supported`; one that does not exist in the tested version is `not-applicable`; one that cannot do without a
//!    kind which that version is served without is `not-supported`.
//! 2. Phases are judged in order, and the first that is not met ends the assertion. A fault in the phase after the
//!    last one observed is an `error`, or `skipped` when the fault is the interruption of the run.
//! 3. Actions. A kind that discovery does not list in the tested version, or a field that is not read back, is a
//!    `fail`. A refused object is `inconclusive`, except where the assertion allows a refusal: then it is met there; or
//!    where it demands one: then what is accepted is a `fail`.
//! 4. `window/1`. A phase is met when its last rounds, as many as the suite asks for, agree in every cell. Otherwise
//!    the limit must have passed, or a denial that held for longer than settling was broken, which decides. A control that does not agree makes the assertion `inconclusive`; if all controls
//!    agree, an expectation that does not makes it `fail`, unless all that went wrong is that names did not resolve.
//! 5. `deny/1`. A request is denied when no workload answered it and none logged it. Any shape of denial counts but an
//!    unresolved name, which is neither.
//! 6. `shares/1`. A batch is within bounds when exactly n requests were answered, each workload's count lies within
//!    its bounds and nobody else answered. The first batch within bounds is the last one drawn. Two outside are a
//!    `fail`; when in one of the two too many requests were lost to reach n, the sample is `inconclusive`.
//! 7. Metrics are judged by what was read in the last round; an answer that does not show what it must is an unmet
//!    expectation. Discovery that does not list what the text lists is a `fail`.
//! 8. What would be a pass or a fail of an informative assertion is `observed`; its reason is what was recorded.

mod metrics;

use std::collections::{BTreeMap, BTreeSet};

use smi_schemas::codes::{Class, Code};
use smi_schemas::names::Slug;
use smi_schemas::report::{ActionResult, Observations, Phase as Seen, Status, Tally, Unanswered, Window};
use smi_schemas::smi::{Api, ApiVersion, Kind, Release};
use smi_schemas::statement::{Filters, Predicate};
use smi_schemas::suite::{Action, Assertion, Cell, Expect, Phase, Role, Shape, Shares, Suite};

pub use metrics::{MAX_SKEW_MS, SUM_TOLERANCE, shows};

/// Requests beyond n that a batch may lose, as a fraction of n.
pub const LOST_PER_BATCH: u32 = 100;

/// The longest pause between two rounds while the cells do not agree.
pub const MAX_PAUSE_MS: u64 = 1_000;

/// Executions of an assertion, when faults of the harness end it.
pub const MAX_ATTEMPTS: u32 = 2;

/// What a run fixes for all of its assertions.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// The version of each API that is tested; an API that is not served has none.
    pub apis: &'a BTreeMap<Api, ApiVersion>,
    /// Kinds that the tested versions are served without.
    pub absent: &'a BTreeSet<Kind>,
    /// What was chosen of the suite.
    pub filters: &'a Filters,
    /// How long the mesh was given, in place of the suite's own limit.
    pub limit_ms: Option<u64>,
    /// Whether the run was stopped early.
    pub interrupted: bool,
}

impl<'a> Context<'a> {
    /// What a result says of its run. What is [absent](Predicate::absent) of it is computed, and so comes apart.
    pub fn of(suite: &'a Suite, predicate: &'a Predicate, absent: &'a BTreeSet<Kind>) -> Self {
        Self {
            suite,
            apis: &predicate.apis,
            absent,
            filters: &predicate.filters,
            limit_ms: predicate.overrides.limit_ms,
            interrupted: predicate.run.interrupted,
        }
    }

    /// How long the mesh was given.
    pub fn limit_ms(&self) -> u64 {
        self.limit_ms.unwrap_or(self.suite.pace.limit_ms)
    }
}

/// A status and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The status.
    pub status: Status,
    /// Its reason.
    pub reason: Code,
}

/// Observations that cannot be judged, and the code to refuse them with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Less was reported than the suite calls for.
    #[error("{what} is missing")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// More was reported than the suite calls for.
    #[error("{what} has no place in the suite")]
    Extra {
        /// What is too much.
        what: &'static str,
    },
    /// Numbers contradict each other or the suite.
    #[error("{what}")]
    Contradiction {
        /// What does not add up.
        what: &'static str,
    },
}

impl Malformed {
    /// The code.
    pub fn code(self) -> Code {
        match self {
            Self::Missing { .. } => Code::ObservationMissing,
            Self::Extra { .. } => Code::ObservationExtra,
            Self::Contradiction { .. } => Code::ObservationMalformed,
        }
    }
}

/// Judges one assertion.
pub fn judge(
    context: &Context<'_>,
    assertion: &Assertion,
    observations: Option<&Observations>,
) -> Result<Judgement, Malformed> {
    if let Some(reason) = exempt(context, assertion) {
        return match observations {
            None => Ok(reason),
            Some(_) => Err(Malformed::Extra { what: "an observation of an assertion that is not executed" }),
        };
    }
    let Some(observations) = observations else {
        return if context.interrupted {
            Ok(Judgement { status: Status::Skipped, reason: Code::Interrupted })
        } else {
            Err(Malformed::Missing { what: "every observation" })
        };
    };
    let judgement = follow(context, assertion, observations)?;
    let decided = matches!(judgement.status, Status::Pass | Status::Fail);
    let status = if decided && !assertion.level.is_scored() { Status::Observed } else { judgement.status };
    Ok(Judgement { status, ..judgement })
}

/// Follows the phases to the one that decides.
fn follow(context: &Context<'_>, assertion: &Assertion, observations: &Observations) -> Result<Judgement, Malformed> {
    for (index, phase) in assertion.phases.iter().enumerate() {
        let Some(seen) = observations.phases.get(index) else {
            return broken(context, observations.fault);
        };
        let ends = Judge { context, assertion, phase }.phase(seen)?;
        if let Some(judgement) = ends {
            return ended(observations, index, judgement);
        }
    }
    let last = assertion.phases.len().saturating_sub(1);
    ended(observations, last, Judgement { status: Status::Pass, reason: Code::Met })
}

/// Whether an action's result decides the assertion, so that nothing more is done.
pub fn action_ends(context: &Context<'_>, action: &Action, result: &ActionResult) -> Result<bool, Malformed> {
    Ok(judge_action(context, action, result)?.is_some())
}

/// Whether the requests of a cell are what it expects.
pub fn agrees(shape: &Shape, cell: &Cell, tally: &Tally) -> bool {
    disagrees(shape, cell, tally).is_none()
}

/// Whether requests may be a part of what the cell expects: a part of a spread need not show every workload.
pub fn may_agree(shape: &Shape, cell: &Cell, tally: &Tally) -> bool {
    match &cell.expect {
        Expect::Spread(workloads) => {
            tally.non_answers() == 0 && tally.answered.keys().all(|workload| workloads.contains(workload))
        }
        Expect::Allow | Expect::Deny | Expect::Only(_) | Expect::Shares(_) => agrees(shape, cell, tally),
    }
}

/// Whether a batch is within its bounds, so that it is the last one drawn.
pub fn within(shares: &Shares, batch: &Tally) -> bool {
    matches!(batch_within(shares, batch), Ok(Batch::Within))
}

/// Why an assertion is not executed at all.
fn exempt(context: &Context<'_>, assertion: &Assertion) -> Option<Judgement> {
    if !context.filters.select(&assertion.id) {
        return Some(Judgement { status: Status::Skipped, reason: Code::Filtered });
    }
    let tested = |api: &Api| context.apis.get(api);
    if assertion.versions.keys().any(|api| tested(api).is_none()) {
        return Some(Judgement { status: Status::NotSupported, reason: Code::ApiAbsent });
    }
    let mut versions = assertion.versions.iter();
    let exists = versions.all(|(api, versions)| tested(api).is_some_and(|version| versions.contains(version)));
    if !exists {
        return Some(Judgement { status: Status::NotApplicable, reason: Code::OtherVersion });
    }
    let lacks = !assertion.needs().is_disjoint(context.absent);
    lacks.then_some(Judgement { status: Status::NotSupported, reason: Code::KindAbsent })
}

/// An assertion that did not reach its next phase.
fn broken(context: &Context<'_>, fault: Option<Code>) -> Result<Judgement, Malformed> {
    match fault {
        None => Err(Malformed::Missing { what: "a phase" }),
        Some(Code::Interrupted) if !context.interrupted => {
            Err(Malformed::Contradiction { what: "an assertion was interrupted in a run that was not" })
        }
        Some(Code::Interrupted) => Ok(Judgement { status: Status::Skipped, reason: Code::Interrupted }),
        Some(reason) if reason.class() == Class::Fault => Ok(Judgement { status: Status::Error, reason }),
        Some(_) => Err(Malformed::Contradiction { what: "the fault's code is not one of a fault" }),
    }
}

/// A judgement stands only if nothing was observed after it.
fn ended(observations: &Observations, index: usize, judgement: Judgement) -> Result<Judgement, Malformed> {
    if observations.phases.len() > index + 1 {
        Err(Malformed::Extra { what: "a phase after the one that decided" })
    } else if observations.fault.is_some() {
        Err(Malformed::Extra { what: "a fault after the phase that decided" })
    } else {
        Ok(judgement)
    }
}

struct Judge<'a> {
    context: &'a Context<'a>,
    assertion: &'a Assertion,
    phase: &'a Phase,
}

/// `None` while the assertion goes on.
type Verdict = Result<Option<Judgement>, Malformed>;

impl Judge<'_> {
    fn phase(&self, seen: &Seen) -> Verdict {
        if let Some(judgement) = self.actions(&seen.actions)? {
            return match seen.window {
                None => Ok(Some(judgement)),
                Some(_) => Err(Malformed::Extra { what: "a window after an action that decided" }),
            };
        }
        match (&seen.window, self.phase.probes(), self.shape()) {
            (Some(window), true, Some(shape)) => self.window(shape, window),
            (None, true, _) => Err(Malformed::Missing { what: "a window" }),
            (Some(_), _, _) => Err(Malformed::Extra { what: "a window in a phase that probes nothing" }),
            (None, false, _) => Ok(None),
        }
    }

    fn shape(&self) -> Option<&Shape> {
        self.assertion.shape.as_ref().and_then(|name| self.context.suite.shape(name))
    }

    fn actions(&self, results: &[ActionResult]) -> Verdict {
        let mut results = results.iter();
        for action in &self.phase.actions {
            let result = results.next().ok_or(Malformed::Missing { what: "an action's result" })?;
            let judgement = judge_action(self.context, action, result)?;
            if judgement.is_some() {
                return no_more(results, judgement);
            }
        }
        no_more(results, None)
    }

    fn window(&self, shape: &Shape, window: &Window) -> Verdict {
        let pace = &self.context.suite.pace;
        let needed = pace.needed(self.phase);
        if window.held > needed || window.held > window.rounds || window.held == 0 {
            return Err(Malformed::Contradiction { what: "the window counts other rounds than were made or needed" });
        }
        if !window.relapsed {
            self.times(window, needed)?;
        }
        let mut tallies = window.cells.iter();
        let mut unmet = Vec::new();
        for (role, cell) in self.phase.rounds(shape) {
            let tally = tallies.next().ok_or(Malformed::Missing { what: "a cell" })?;
            add_up(shape, tally)?;
            if u64::from(tally.sent) != u64::from(window.held) * u64::from(pace.requests(cell)) {
                return Err(Malformed::Contradiction { what: "a cell was not probed once in every round" });
            }
            unmet.extend(disagrees(shape, cell, tally).map(|reason| (role, reason)));
        }
        if tallies.next().is_some() {
            return Err(Malformed::Extra { what: "a cell" });
        }
        let mut readings = window.metrics.iter();
        for question in &self.phase.metrics {
            let reading = readings.next().ok_or(Malformed::Missing { what: "a reading" })?;
            unmet.extend(metrics::unmet(question, reading)?.map(|reason| (Role::Expectation, reason)));
        }
        if readings.next().is_some() {
            return Err(Malformed::Extra { what: "a reading" });
        }
        if window.relapsed {
            return self.relapsed(shape, window);
        }
        if window.held == needed && unmet.is_empty() {
            if window.converged_ms.is_none() {
                return Err(Malformed::Missing { what: "the time at which a window that held converged" });
            }
            return self.samples(shape, &window.samples);
        }
        if !window.samples.is_empty() {
            return Err(Malformed::Extra { what: "a sample of a window that did not hold" });
        }
        if unmet.is_empty() || window.elapsed_ms < self.context.limit_ms() {
            return Err(Malformed::Contradiction { what: "a window ended before it was met and before the limit" });
        }
        Ok(decide(&unmet))
    }

    /// A denial was broken in the middle of a hold.
    fn relapsed(&self, shape: &Shape, window: &Window) -> Verdict {
        let contradiction = |what| Err(Malformed::Contradiction { what });
        let held = window.converged_ms.is_some_and(|converged| converged <= window.elapsed_ms);
        if !held || window.rounds <= self.context.suite.pace.settle + 1 {
            return contradiction("a denial was broken that had not held");
        }
        if !window.samples.is_empty() {
            return Err(Malformed::Extra { what: "a sample of a window that did not hold" });
        }
        let cells = self.phase.rounds(shape).zip(&window.cells);
        let broken: Vec<_> = cells
            .filter(|((_, cell), tally)| cell.expect == Expect::Deny && not_denied(tally) == Some(Code::Delivered))
            .map(|((role, _), _)| (role, Code::Relapsed))
            .collect();
        if broken.is_empty() {
            return contradiction("a denial was broken by no request");
        }
        Ok(decide(&broken))
    }

    /// Rounds take the time that lies between them, and a window that held converged in time and settled.
    fn times(&self, window: &Window, needed: u32) -> Result<(), Malformed> {
        let contradiction = |what| Err(Malformed::Contradiction { what });
        let pace = &self.context.suite.pace;
        let limit = self.context.limit_ms();
        let Some(converged) = window.converged_ms else { return Ok(()) };
        if converged > window.elapsed_ms {
            return contradiction("a window converged after it ended");
        }
        if converged > limit.saturating_add(MAX_PAUSE_MS) {
            return contradiction("a window converged after the limit");
        }
        let pauses = u64::from(window.held - 1) * u64::from(window.spacing_ms);
        if window.elapsed_ms - converged + 1 < pauses {
            return contradiction("a window's rounds lie closer together than their pauses");
        }
        if window.elapsed_ms < limit && u64::from(window.rounds) < u64::from(needed) + u64::from(pace.settle) {
            return contradiction("a window held without settling");
        }
        Ok(())
    }

    fn samples(&self, shape: &Shape, samples: &[Vec<Tally>]) -> Verdict {
        let mut samples = samples.iter();
        let mut unmet = Vec::new();
        for (role, _, shares) in self.phase.samples(shape) {
            let batches = samples.next().ok_or(Malformed::Missing { what: "a sample" })?;
            for batch in batches {
                add_up(shape, batch)?;
            }
            let outcomes = batches.iter().map(|batch| batch_within(shares, batch)).collect::<Result<Vec<_>, _>>()?;
            let reason = match outcomes[..] {
                [Batch::Within] | [Batch::Outside | Batch::Unclean, Batch::Within] => None,
                [Batch::Outside, Batch::Outside] => Some(Code::ShareOutside),
                [Batch::Outside | Batch::Unclean, Batch::Outside | Batch::Unclean] => Some(Code::SampleUnclean),
                [] | [_] => return Err(Malformed::Missing { what: "a batch" }),
                _ => return Err(Malformed::Extra { what: "a batch" }),
            };
            unmet.extend(reason.map(|reason| (role, reason)));
        }
        if samples.next().is_some() {
            return Err(Malformed::Extra { what: "a sample" });
        }
        Ok(decide(&unmet))
    }
}

fn judge_action(context: &Context<'_>, action: &Action, result: &ActionResult) -> Verdict {
    let judged = |status, reason| Ok(Some(Judgement { status, reason }));
    match (action, result) {
        (
            Action::Apply(_)
            | Action::ApplyOrRefuse(_)
            | Action::Update(_)
            | Action::Delete(_)
            | Action::Open(_)
            | Action::Scale(_)
            | Action::Restart(_),
            ActionResult::Done,
        )
        | (Action::Refuse(_), ActionResult::Refused) => Ok(None),
        (Action::Release, ActionResult::Done) => {
            let is_of = |release: &Release| context.apis.iter().all(|(api, version)| release.version(*api) == *version);
            if Release::ALL.iter().any(is_of) { Ok(None) } else { judged(Status::Fail, Code::ReleasesMixed) }
        }
        (Action::Refuse(_), ActionResult::Done) => judged(Status::Fail, Code::InvalidAccepted),
        (Action::ApplyOrRefuse(_), ActionResult::Refused) => judged(Status::Pass, Code::RefusedAtAdmission),
        (Action::Apply(_) | Action::Update(_) | Action::Open(_), ActionResult::Refused) => {
            judged(Status::Inconclusive, Code::ObjectRefused)
        }
        (Action::Resources, ActionResult::Resources(listing)) => {
            Ok(metrics::unlisted(listing)?.map(|reason| Judgement { status: Status::Fail, reason }))
        }
        (Action::RoundTrip(_), ActionResult::Refused) => judged(Status::Fail, Code::ObjectRefused),
        (Action::RoundTrip(_), ActionResult::Lost(fields)) if fields.is_empty() => Ok(None),
        (Action::RoundTrip(_), ActionResult::Lost(_)) => judged(Status::Fail, Code::FieldLost),
        (Action::Discover(kind), ActionResult::Served(versions)) => {
            let tested = context.apis.get(&kind.api());
            if tested.is_some_and(|tested| versions.contains(tested)) {
                Ok(None)
            } else {
                judged(Status::Fail, Code::NotServed)
            }
        }
        _ => Err(Malformed::Contradiction { what: "an action's result is not one that this action can have" }),
    }
}

fn no_more<'a>(mut results: impl Iterator<Item = &'a ActionResult>, judgement: Option<Judgement>) -> Verdict {
    match results.next() {
        None => Ok(judgement),
        Some(_) => Err(Malformed::Extra { what: "an action's result" }),
    }
}

/// An unmet control decides before any expectation, and an expectation that is plainly not met before one that only
/// could not be seen.
fn decide(unmet: &[(Role, Code)]) -> Option<Judgement> {
    let inconclusive = |reason| Some(Judgement { status: Status::Inconclusive, reason });
    let unseen = |reason| matches!(reason, Code::NameUnresolved | Code::SampleUnclean);
    if let Some((_, reason)) = unmet.iter().find(|(role, _)| *role == Role::Control) {
        return inconclusive(if unseen(*reason) { *reason } else { Code::ControlUnmet });
    }
    match unmet.iter().find(|(_, reason)| !unseen(*reason)).or(unmet.first()) {
        None => None,
        Some((_, reason)) if unseen(*reason) => inconclusive(*reason),
        Some((_, reason)) => Some(Judgement { status: Status::Fail, reason: *reason }),
    }
}

/// Why the requests of a cell are not what it expects, if they are not.
fn disagrees(shape: &Shape, cell: &Cell, tally: &Tally) -> Option<Code> {
    let only_expected = match &cell.expect {
        Expect::Deny => return not_denied(tally),
        Expect::Allow => tally.answered.keys().all(|workload| shape.may_answer(cell, workload)),
        Expect::Only(only) => tally.answered.keys().all(|workload| workload == only),
        Expect::Spread(workloads) => tally.answered.keys().all(|workload| workloads.contains(workload)),
        Expect::Shares(_) => return None,
    };
    if !only_expected {
        return Some(Code::WrongResponder);
    }
    if tally.non_answers() > 0 {
        let unresolved = tally.unanswered.keys().all(|outcome| *outcome == Unanswered::NameError);
        return Some(if unresolved { Code::NameUnresolved } else { Code::NotDelivered });
    }
    let Expect::Spread(workloads) = &cell.expect else { return None };
    let silent = |workload: &Slug| !tally.answered.contains_key(workload);
    workloads.iter().any(silent).then_some(Code::WrongResponder)
}

fn not_denied(tally: &Tally) -> Option<Code> {
    if tally.answers() > 0 || tally.logged > 0 {
        Some(Code::Delivered)
    } else {
        tally.unanswered.contains_key(&Unanswered::NameError).then_some(Code::NameUnresolved)
    }
}

#[derive(Clone, Copy)]
enum Batch {
    Within,
    Outside,
    /// Too many requests were lost to reach n answers.
    Unclean,
}

fn batch_within(shares: &Shares, batch: &Tally) -> Result<Batch, Malformed> {
    let most = u64::from(shares.n) + u64::from(shares.n / LOST_PER_BATCH);
    let (sent, answers) = (u64::from(batch.sent), batch.answers());
    if answers > u64::from(shares.n) || sent > most {
        return Err(Malformed::Contradiction { what: "a batch is larger than its n allows" });
    }
    let count = |workload| batch.answered.get(workload).copied().unwrap_or(0);
    let others = batch.answered.keys().any(|workload| shares.bounds.iter().all(|bound| bound.workload != *workload));
    if answers < u64::from(shares.n) {
        let beyond = others || shares.bounds.iter().any(|bound| count(&bound.workload) > bound.hi);
        return if sent == most {
            // What no lost request could have mended is outside all the same.
            Ok(if beyond { Batch::Outside } else { Batch::Unclean })
        } else {
            Err(Malformed::Contradiction { what: "a batch ended before n answers and before its last request" })
        };
    }
    let named = shares.bounds.iter().all(|bound| (bound.lo..=bound.hi).contains(&count(&bound.workload)));
    Ok(if named && !others { Batch::Within } else { Batch::Outside })
}

/// Counts must add up, be counts of something, and name workloads that exist.
fn add_up(shape: &Shape, tally: &Tally) -> Result<(), Malformed> {
    let contradiction = |what| Err(Malformed::Contradiction { what });
    if tally.answers() + tally.non_answers() != u64::from(tally.sent) {
        return contradiction("answered and unanswered requests are not those sent");
    }
    if u64::from(tally.logged) > tally.non_answers() {
        return contradiction("more unanswered requests were logged than there are");
    }
    if tally.answered.values().chain(tally.unanswered.values()).any(|count| *count == 0) {
        return contradiction("a count of zero is left out, not written");
    }
    if tally.answered.keys().any(|workload| shape.workload(workload).is_none()) {
        return contradiction("a workload answered that the suite does not have");
    }
    Ok(())
}
