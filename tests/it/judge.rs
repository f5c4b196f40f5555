//! The judge's rules where vectors and whole meshes do not reach: their edges.

use std::collections::{BTreeMap, BTreeSet};

use smi_schemas::codes::Code;
use smi_schemas::names::Slug;
use smi_schemas::report::{ActionResult, Observations, Phase, Status, Tally, Unanswered, Window};
use smi_schemas::smi::{Api, ApiVersion, Kind};
use smi_schemas::statement::Filters;
use smi_schemas::suite::{Assertion, DRAFT, Suite};
use smi_tests::simulate;
use smi_verifier::judge::{Context, Judgement, Malformed, action_ends, agrees, judge, may_agree, within};

struct Case {
    suite: Suite,
    apis: BTreeMap<Api, ApiVersion>,
    absent: BTreeSet<Kind>,
    filters: Filters,
}

impl Case {
    fn new() -> Self {
        let apis = [
            (Api::Access, ApiVersion::V1alpha3),
            (Api::Specs, ApiVersion::V1alpha4),
            (Api::Split, ApiVersion::V1alpha4),
        ];
        Self {
            suite: Suite::read(DRAFT.bytes).unwrap().0,
            apis: apis.into(),
            absent: BTreeSet::new(),
            filters: Filters::default(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            suite: &self.suite,
            apis: &self.apis,
            absent: &self.absent,
            filters: &self.filters,
            limit_ms: None,
            interrupted: false,
        }
    }

    fn assertion(&self, id: &str) -> &Assertion {
        self.suite.assertions.iter().find(|assertion| assertion.id.as_str() == id).unwrap()
    }

    /// What an ideal mesh shows.
    fn ideal(&self, id: &str) -> Observations {
        let results = simulate::results(&self.context(), &simulate::ideal);
        results.into_iter().find(|result| result.id.as_str() == id).unwrap().observations.unwrap()
    }

    fn judge(&self, id: &str, seen: &Observations) -> Result<(Status, Code), Malformed> {
        let judged = judge(&self.context(), self.assertion(id), Some(seen));
        judged.map(|Judgement { status, reason }| (status, reason))
    }
}

fn window(seen: &mut Observations, phase: usize) -> &mut Window {
    seen.phases[phase].window.as_mut().unwrap()
}

/// The same window with its cells probed in fewer or more rounds than those of the suite.
fn hold(window: &mut Window, held: u32) {
    let scaled = |count: &mut u32| *count = *count / window.held * held;
    for cell in &mut window.cells {
        scaled(&mut cell.sent);
        cell.answered.values_mut().chain(cell.unanswered.values_mut()).for_each(scaled);
        cell.answered.retain(|_, count| *count > 0);
        cell.unanswered.retain(|_, count| *count > 0);
    }
    window.held = held;
}

fn counts(answered: &[(&str, u32)], unanswered: &[(Unanswered, u32)]) -> Tally {
    let answered: BTreeMap<Slug, u32> = answered.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect();
    let unanswered: BTreeMap<Unanswered, u32> = unanswered.iter().copied().collect();
    let sent = answered.values().chain(unanswered.values()).sum();
    Tally { sent, answered, unanswered, logged: 0 }
}

const DENY: &str = "smi.access.deny-unlisted-route";
const SHARES: &str = "smi.split.weights-90-10";
/// Its first phase is a control spread over three workloads.
const SPREAD: &str = SHARES;
/// Cells before the phase's own: the health of the shape `access`.
const HEALTH: usize = 4;

#[test]
fn every_shape_of_denial_counts_but_an_unresolved_name() {
    let case = Case::new();
    for (outcome, expected) in [
        (Unanswered::Http(403), Ok((Status::Pass, Code::Met))),
        (Unanswered::Http(200), Ok((Status::Pass, Code::Met))),
        (Unanswered::Refused, Ok((Status::Pass, Code::Met))),
        (Unanswered::Reset, Ok((Status::Pass, Code::Met))),
        (Unanswered::EmptyReply, Ok((Status::Pass, Code::Met))),
        (Unanswered::NotHttp, Ok((Status::Pass, Code::Met))),
        (Unanswered::Timeout, Ok((Status::Pass, Code::Met))),
        (Unanswered::Unreachable, Ok((Status::Pass, Code::Met))),
        (Unanswered::NameError, Ok((Status::Inconclusive, Code::NameUnresolved))),
    ] {
        let mut seen = case.ideal(DENY);
        window(&mut seen, 0).cells[HEALTH + 1] = counts(&[], &[(outcome, 200)]);
        window(&mut seen, 0).elapsed_ms = 60_000;
        assert_eq!(case.judge(DENY, &seen), expected, "{outcome}");
    }
}

#[test]
fn one_delivery_in_the_hold_is_a_failure() {
    let case = Case::new();
    let mut seen = case.ideal(DENY);
    window(&mut seen, 0).cells[HEALTH + 1] = counts(&[("server", 1)], &[(Unanswered::Http(403), 199)]);
    window(&mut seen, 0).elapsed_ms = 60_000;
    assert_eq!(case.judge(DENY, &seen), Ok((Status::Fail, Code::Delivered)));
}

#[test]
fn a_control_decides_before_an_expectation() {
    let case = Case::new();
    let mut seen = case.ideal(DENY);
    let window = window(&mut seen, 0);
    window.cells[HEALTH] = counts(&[], &[(Unanswered::Http(403), 20)]);
    window.cells[HEALTH + 1] = counts(&[("server", 200)], &[]);
    window.elapsed_ms = 60_000;
    assert_eq!(case.judge(DENY, &seen), Ok((Status::Inconclusive, Code::ControlUnmet)));
}

#[test]
fn a_plain_violation_decides_before_an_unresolved_name() {
    let case = Case::new();
    let mut seen = case.ideal(DENY);
    let window = window(&mut seen, 0);
    window.cells[HEALTH + 1] = counts(&[], &[(Unanswered::NameError, 200)]);
    window.cells[HEALTH + 2] = counts(&[("server", 200)], &[]);
    window.elapsed_ms = 60_000;
    assert_eq!(case.judge(DENY, &seen), Ok((Status::Fail, Code::Delivered)));
}

#[test]
fn a_short_window_decides_only_when_something_in_it_disagrees() {
    let case = Case::new();
    let seen = |denied: Tally| {
        let mut seen = case.ideal(DENY);
        let window = window(&mut seen, 0);
        (window.held, window.elapsed_ms) = (1, 60_000);
        for cell in &mut window.cells {
            let denied = !cell.unanswered.is_empty();
            *cell = if denied { counts(&[], &[(Unanswered::Timeout, 10)]) } else { counts(&[("server", 1)], &[]) };
        }
        for (cell, server) in window.cells.iter_mut().zip(["server", "server-twin", "server-b", "outside-server"]) {
            *cell = counts(&[(server, 1)], &[]);
        }
        window.cells[HEALTH + 1] = denied;
        seen
    };
    assert_eq!(case.judge(DENY, &seen(counts(&[("server", 10)], &[]))), Ok((Status::Fail, Code::Delivered)));
    let agreeing = case.judge(DENY, &seen(counts(&[], &[(Unanswered::Timeout, 10)])));
    assert!(matches!(agreeing, Err(Malformed::Contradiction { .. })), "{agreeing:?}");
}

#[test]
fn an_overridden_limit_is_the_limit() {
    let case = Case::new();
    let mut seen = case.ideal(DENY);
    window(&mut seen, 0).cells[HEALTH + 1] = counts(&[("server", 200)], &[]);
    window(&mut seen, 0).elapsed_ms = 2_000;
    window(&mut seen, 0).converged_ms = None;
    let judged = |limit_ms| judge(&Context { limit_ms, ..case.context() }, case.assertion(DENY), Some(&seen));
    assert_eq!(judged(Some(2_000)).unwrap().status, Status::Fail);
    assert!(judged(Some(2_001)).is_err());
    assert!(judged(None).is_err());
}

/// The phase of 90/10 in which shares are drawn, with these batches.
fn batches(case: &Case, batches: Vec<Tally>) -> Result<(Status, Code), Malformed> {
    let mut seen = case.ideal(SHARES);
    window(&mut seen, 2).samples[0] = batches;
    case.judge(SHARES, &seen)
}

#[test]
fn counts_that_do_not_add_up_are_no_observation() {
    let case = Case::new();
    let all = || counts(&[("server", 20)], &[]);
    for (control, what) in [
        (Tally { sent: 20, ..counts(&[("server", 19)], &[]) }, "a request is lost"),
        (Tally { logged: 1, ..all() }, "more is logged than went unanswered"),
        (counts(&[("server", 20)], &[(Unanswered::Timeout, 0)]), "zero is a count"),
        (counts(&[("stranger", 20)], &[]), "a stranger answers"),
        (counts(&[("server", 19)], &[]), "a round is missing"),
    ] {
        let mut seen = case.ideal(DENY);
        window(&mut seen, 0).cells[HEALTH] = control;
        window(&mut seen, 0).elapsed_ms = 60_000;
        assert_eq!(case.judge(DENY, &seen).map_err(Malformed::code), Err(Code::ObservationMalformed), "{what}");
    }
}

#[test]
fn bounds_of_shares_are_inclusive() {
    let case = Case::new();
    let batch = |first: u32| counts(&[("web-v1", first), ("web-v2", 2100 - first)], &[]);
    for within in [1839, 1938] {
        assert_eq!(batches(&case, vec![batch(within)]), Ok((Status::Pass, Code::Met)));
        assert_eq!(batches(&case, vec![batch(1000), batch(within)]), Ok((Status::Pass, Code::Met)));
    }
    for outside in [1838, 1939] {
        assert_eq!(batches(&case, vec![batch(outside), batch(outside)]), Ok((Status::Fail, Code::ShareOutside)));
    }
}

#[test]
fn a_workload_without_a_share_must_not_answer() {
    let case = Case::new();
    let strayed = counts(&[("web-v1", 1889), ("web-v2", 210), ("web-v3", 1)], &[]);
    assert_eq!(batches(&case, vec![strayed.clone(), strayed]), Ok((Status::Fail, Code::ShareOutside)));
}

#[test]
fn lost_requests_are_drawn_again_and_never_counted_as_shares() {
    let case = Case::new();
    let reset = |lost| (Unanswered::Reset, lost);
    let topped_up = counts(&[("web-v1", 1890), ("web-v2", 210)], &[reset(21)]);
    assert_eq!(batches(&case, vec![topped_up]), Ok((Status::Pass, Code::Met)));
    let unclean = counts(&[("web-v1", 1889), ("web-v2", 210)], &[reset(22)]);
    assert_eq!(batches(&case, vec![unclean.clone(), unclean.clone()]), Ok((Status::Inconclusive, Code::SampleUnclean)));
    let outside = counts(&[("web-v1", 1050), ("web-v2", 1050)], &[]);
    assert_eq!(batches(&case, vec![outside, unclean]), Ok((Status::Inconclusive, Code::SampleUnclean)));
    let too_many = counts(&[("web-v1", 1890), ("web-v2", 210)], &[reset(22)]);
    assert!(batches(&case, vec![too_many]).is_err());
}

/// A batch that lost too many requests is outside when no answer to those could have brought it within.
#[test]
fn what_lost_requests_could_not_have_mended_is_outside() {
    let case = Case::new();
    let outside = || counts(&[("web-v1", 1050), ("web-v2", 1050)], &[]);
    let unclean = Ok((Status::Inconclusive, Code::SampleUnclean));
    let failed = Ok((Status::Fail, Code::ShareOutside));
    for (answered, expected) in [
        (&[("web-v1", 1938), ("web-v2", 100)][..], unclean),
        (&[("web-v1", 1939), ("web-v2", 100)], failed),
        (&[("web-v1", 1800), ("web-v2", 200), ("web-v3", 1)], failed),
    ] {
        let lost = 2121 - answered.iter().map(|(_, count)| count).sum::<u32>();
        let batch = counts(answered, &[(Unanswered::Reset, lost)]);
        assert_eq!(batches(&case, vec![outside(), batch]), expected, "{answered:?}");
    }
}

#[test]
fn a_sample_is_one_batch_or_two() {
    let case = Case::new();
    let batch = |first: u32| counts(&[("web-v1", first), ("web-v2", 2100 - first)], &[]);
    let (within, outside) = (batch(1890), batch(1050));
    let code = |drawn: Vec<Tally>| batches(&case, drawn).unwrap_err().code();
    assert_eq!(code(vec![]), Code::ObservationMissing);
    assert_eq!(code(vec![outside.clone()]), Code::ObservationMissing);
    assert_eq!(code(vec![within.clone(), within.clone()]), Code::ObservationExtra);
    assert_eq!(code(vec![outside.clone(), outside, within]), Code::ObservationExtra);
    let large = counts(&[("web-v1", 1890), ("web-v2", 211)], &[]);
    assert_eq!(code(vec![large]), Code::ObservationMalformed);
}

#[test]
fn a_refusal_at_admission_meets_only_an_assertion_that_allows_it() {
    let case = Case::new();
    let refused = |id: &str, phase: usize| {
        let mut seen = case.ideal(id);
        seen.phases.truncate(phase + 1);
        let mut actions = std::mem::take(&mut seen.phases[phase].actions);
        *actions.last_mut().unwrap() = ActionResult::Refused;
        seen.phases[phase] = Phase { actions, window: None };
        case.judge(id, &seen)
    };
    assert_eq!(refused("smi.split.port-mismatch", 2), Ok((Status::Pass, Code::RefusedAtAdmission)));
    assert_eq!(refused("smi.split.port-mismatch", 1), Ok((Status::Inconclusive, Code::ObjectRefused)));
    assert_eq!(refused("smi.split.all-first", 1), Ok((Status::Inconclusive, Code::ObjectRefused)));
    assert_eq!(refused("smi.api.roundtrip-split", 0), Ok((Status::Fail, Code::ObjectRefused)));
}

#[test]
fn what_must_be_refused_and_is_accepted_is_a_failure() {
    let case = Case::new();
    let id = "smi.api.rejects-invalid-split";
    let mut seen = case.ideal(id);
    assert_eq!(case.judge(id, &seen), Ok((Status::Pass, Code::Met)));
    seen.phases[0].actions = vec![ActionResult::Refused, ActionResult::Done];
    assert_eq!(case.judge(id, &seen), Ok((Status::Fail, Code::InvalidAccepted)));
}

#[test]
fn a_field_that_is_lost_or_a_version_that_is_not_served_is_a_failure() {
    let case = Case::new();
    for (id, result, expected) in [
        ("smi.api.roundtrip-split", ActionResult::Lost(vec!["/spec/matches".into()]), Code::FieldLost),
        ("smi.api.trafficsplit", ActionResult::Served(vec![ApiVersion::V1alpha2]), Code::NotServed),
    ] {
        let mut seen = case.ideal(id);
        seen.phases[0].actions = vec![result];
        assert_eq!(case.judge(id, &seen), Ok((Status::Fail, expected)), "{id}");
    }
}

#[test]
fn versions_of_several_releases_are_recorded() {
    let mut case = Case::new();
    let id = "smi.api.release";
    let seen = case.ideal(id);
    assert_eq!(case.judge(id, &seen), Ok((Status::Observed, Code::Met)));
    case.apis.insert(Api::Split, ApiVersion::V1alpha2);
    assert_eq!(case.judge(id, &seen), Ok((Status::Observed, Code::ReleasesMixed)));
}

#[test]
fn without_a_kind_only_what_needs_it_is_not_supported() {
    let mut case = Case::new();
    case.absent = [Kind::UdpRoute].into();
    let exempt = |id: &str| judge(&case.context(), case.assertion(id), None).ok().map(|it| (it.status, it.reason));
    let unsupported = Some((Status::NotSupported, Code::KindAbsent));
    assert_eq!(exempt("smi.specs.udp-port"), unsupported);
    assert_eq!(exempt("smi.api.roundtrip-udproute"), unsupported);
    assert_eq!(exempt("smi.api.udproute"), None, "discovery is asked");
    assert_eq!(exempt("smi.specs.tcp-port"), None);
}

#[test]
fn a_denial_that_relapses_decides_at_once() {
    let case = Case::new();
    let relapsed = |denied: Tally, held: u32, rounds: u32, converged_ms: Option<u64>| {
        let mut seen = case.ideal(DENY);
        let window = window(&mut seen, 0);
        hold(window, held);
        window.cells[HEALTH + 1] = denied;
        (window.relapsed, window.rounds, window.converged_ms) = (true, rounds, converged_ms);
        case.judge(DENY, &seen)
    };
    let broken = |held: u32| counts(&[("server", 1)], &[(Unanswered::Http(403), held * 10 - 1)]);
    assert_eq!(relapsed(broken(20), 20, 24, Some(0)), Ok((Status::Fail, Code::Relapsed)));
    assert_eq!(relapsed(broken(2), 2, 6, Some(0)), Ok((Status::Fail, Code::Relapsed)));
    assert!(relapsed(broken(2), 2, 5, Some(0)).is_err(), "it had not held");
    assert!(relapsed(broken(20), 20, 24, None).is_err(), "it never converged");
    assert!(relapsed(broken(20), 20, 24, Some(60_000)).is_err(), "it converged after it ended");
    let whole = counts(&[], &[(Unanswered::Http(403), 200)]);
    assert!(relapsed(whole, 20, 24, Some(0)).is_err(), "nothing was delivered");
}

#[test]
fn rounds_take_their_time() {
    let case = Case::new();
    let sound = |rounds: u32, converged_ms: u64, elapsed_ms: u64, spacing_ms: u32| {
        let mut seen = case.ideal(DENY);
        let window = window(&mut seen, 0);
        (window.rounds, window.spacing_ms) = (rounds, spacing_ms);
        (window.converged_ms, window.elapsed_ms) = (Some(converged_ms), elapsed_ms);
        match case.judge(DENY, &seen) {
            Ok(judged) => judged == (Status::Pass, Code::Met),
            Err(malformed) => malformed.code() != Code::ObservationMalformed,
        }
    };
    for (rounds, converged_ms, elapsed_ms, spacing_ms, expected) in [
        // Nineteen pauses, but for the millisecond that whole milliseconds hide.
        (24, 1_000, 5_749, 250, true),
        (24, 1_000, 5_748, 250, false),
        // Without settling only at the limit.
        (23, 1_000, 5_750, 250, false),
        (23, 1_000, 59_999, 250, false),
        (23, 1_000, 60_000, 250, true),
        // Converged before it ended, and no later than a pause after the limit.
        (24, 1_000, 1_000, 0, true),
        (24, 1_001, 1_000, 0, false),
        (24, 61_000, 66_000, 250, true),
        (24, 61_001, 66_000, 250, false),
    ] {
        let case = (rounds, converged_ms, elapsed_ms, spacing_ms);
        assert_eq!(sound(rounds, converged_ms, elapsed_ms, spacing_ms), expected, "{case:?}");
    }
    let mut seen = case.ideal(DENY);
    window(&mut seen, 0).converged_ms = None;
    assert_eq!(case.judge(DENY, &seen).map_err(Malformed::code), Err(Code::ObservationMissing), "it held at no time");
}

#[test]
fn a_window_holds_at_least_one_round_and_no_more_than_were_made_or_needed() {
    let case = Case::new();
    let judged = |held: u32, rounds: u32| {
        let mut seen = case.ideal(SPREAD);
        seen.phases.truncate(1);
        let window = window(&mut seen, 0);
        hold(window, held);
        // One workload answers everything that is to be spread over three.
        let spread = window.cells.last_mut().unwrap();
        spread.answered = [("web-v1".parse().unwrap(), spread.sent)].into();
        spread.answered.retain(|_, count| *count > 0);
        (window.rounds, window.converged_ms, window.elapsed_ms) = (rounds, None, 60_000);
        case.judge(SPREAD, &seen)
    };
    let unmet = Ok((Status::Inconclusive, Code::ControlUnmet));
    for (held, rounds, sound) in [(5, 9, true), (5, 5, true), (1, 1, true), (6, 9, false), (5, 4, false), (0, 9, false)]
    {
        let seen = judged(held, rounds);
        assert!(if sound { seen == unmet } else { seen.is_err() }, "{held} of {rounds}: {seen:?}");
    }
}

/// What the runner asks while it probes is what is judged when it has.
#[test]
fn a_runner_stops_where_the_judge_does() {
    let case = Case::new();
    let assertion = case.assertion(SHARES);
    let shape = case.suite.shape(assertion.shape.as_ref().unwrap()).unwrap();
    let (_, spread) = assertion.phases[0].rounds(shape).last().unwrap();
    let lost = (Unanswered::Reset, 1);
    for (tally, agreed, may) in [
        (counts(&[("web-v1", 1), ("web-v2", 1), ("web-v3", 1)], &[]), true, true),
        (counts(&[("web-v1", 1)], &[]), false, true),
        (counts(&[("web-v1", 1), ("client", 1)], &[]), false, false),
        (counts(&[("web-v1", 1)], &[lost]), false, false),
        (counts(&[("client", 1)], &[lost]), false, false),
    ] {
        assert_eq!((agrees(shape, spread, &tally), may_agree(shape, spread, &tally)), (agreed, may), "{tally:?}");
    }
    let (_, only) = assertion.phases[1].rounds(shape).last().unwrap();
    assert!(may_agree(shape, only, &counts(&[("web-v1", 1)], &[])));
    assert!(!may_agree(shape, only, &counts(&[("web-v2", 1)], &[])));
    let (_, _, shares) = assertion.phases[2].samples(shape).next().unwrap();
    for (first, second, expected) in [(1890, 210, true), (1000, 1100, false), (1890, 209, false), (1890, 211, false)] {
        let batch = counts(&[("web-v1", first), ("web-v2", second)], &[]);
        assert_eq!(within(shares, &batch), expected, "{first} {second}");
    }
    let action = &assertion.phases[0].actions[0];
    for (result, expected) in [(ActionResult::Done, Some(false)), (ActionResult::Refused, Some(true))] {
        assert_eq!(action_ends(&case.context(), action, &result).ok(), expected, "{result:?}");
    }
    assert!(action_ends(&case.context(), action, &ActionResult::Lost(Vec::new())).is_err());
}

#[test]
fn nothing_is_observed_after_what_decided() {
    let case = Case::new();
    let whole = case.ideal(DENY);
    let mut repeated = whole.clone();
    repeated.phases.push(whole.phases[0].clone());
    let faulty = Observations { fault: Some(Code::KubernetesFault), ..whole.clone() };
    let mut refused = whole.clone();
    refused.phases[0].actions = vec![ActionResult::Refused];
    let mut more = whole.clone();
    more.phases[0].actions.push(ActionResult::Done);
    for seen in [repeated, faulty, refused, more] {
        assert_eq!(case.judge(DENY, &seen).map_err(Malformed::code), Err(Code::ObservationExtra), "{seen:?}");
    }
}

#[test]
fn a_fault_is_an_error_and_an_interruption_is_not() {
    let case = Case::new();
    let broken = |fault| Observations { phases: Vec::new(), fault: Some(fault) };
    assert_eq!(case.judge(DENY, &broken(Code::KubernetesFault)), Ok((Status::Error, Code::KubernetesFault)));
    for (fault, why) in [(Code::Interrupted, "the run was not"), (Code::Met, "it is no fault")] {
        let judged = case.judge(DENY, &broken(fault)).map_err(Malformed::code);
        assert_eq!(judged, Err(Code::ObservationMalformed), "{why}");
    }
    let interrupted = Context { interrupted: true, ..case.context() };
    let judged = judge(&interrupted, case.assertion(DENY), Some(&broken(Code::Interrupted))).unwrap();
    assert_eq!((judged.status, judged.reason), (Status::Skipped, Code::Interrupted));
    let never_begun = judge(&interrupted, case.assertion(DENY), None).unwrap();
    assert_eq!((never_begun.status, never_begun.reason), (Status::Skipped, Code::Interrupted));
}

#[test]
fn a_filter_goes_before_everything_else() {
    let mut case = Case::new();
    case.filters = Filters { run: vec!["smi.split.*".parse().unwrap()], skip: Vec::new() };
    let judged = judge(&case.context(), case.assertion(DENY), None).unwrap();
    assert_eq!((judged.status, judged.reason), (Status::Skipped, Code::Filtered));
}

/// Whatever single count of an ideal report is changed, the report no longer says what it said: the judge sees every
/// number that it is given.
#[test]
fn no_count_is_ignored() {
    let case = Case::new();
    let exists = |assertion: &&Assertion| judge(&case.context(), assertion, None).is_err();
    for assertion in case.suite.assertions.iter().filter(exists) {
        let id = assertion.id.as_str();
        let ideal = case.ideal(id);
        let text = serde_json::to_value(&ideal).unwrap();
        for pointer in numbers(&text) {
            // The target's own pace: recorded, judged only where it contradicts something.
            if ["rounds", "spacingMs", "convergedMs", "elapsedMs"].iter().any(|field| pointer.ends_with(field)) {
                continue;
            }
            let mut edited = text.clone();
            let number = edited.pointer_mut(&pointer).unwrap();
            *number = (number.as_u64().unwrap() + 1).into();
            let seen: Observations = serde_json::from_value(edited).unwrap();
            let judged = case.judge(id, &seen);
            assert!(!matches!(judged, Ok((_, Code::Met))), "{id} {pointer}: {judged:?}");
        }
    }
}

fn numbers(value: &serde_json::Value) -> Vec<String> {
    let children: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Number(_) => return vec![String::new()],
        serde_json::Value::Array(items) => items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect(),
        serde_json::Value::Object(fields) => fields.iter().map(|(key, item)| (key.clone(), item)).collect(),
        _ => Vec::new(),
    };
    let below = |(key, child): (String, &serde_json::Value)| {
        numbers(child).into_iter().map(move |rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    children.into_iter().flat_map(below).collect()
}
