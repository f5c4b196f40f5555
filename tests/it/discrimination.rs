//! What the draft says of meshes that an expert would judge at a glance.

use std::collections::{BTreeMap, BTreeSet};

use smi_schemas::feed::{ApiSummary, Capability, Compliance};
use smi_schemas::names::Slug;
use smi_schemas::report::{Result, Status, Tally, Unanswered};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{Filters, Predicate};
use smi_schemas::suite::{Assertion, Cell, Class, DRAFT, Expect, Level, Shape, Suite, Via};
use smi_tests::simulate::{self, answered, unanswered};
use smi_tests::vectors;
use smi_verifier::capability::summarize;
use smi_verifier::judge::Context;
use smi_verifier::verify;

fn run(apis: &[(Api, ApiVersion)], mesh: &simulate::Mesh<'_>) -> (Suite, Vec<Result>) {
    let suite = Suite::read(DRAFT.bytes).unwrap().0;
    let apis: BTreeMap<_, _> = apis.iter().copied().collect();
    let filters = Filters::default();
    let absent = BTreeSet::new();
    let context =
        Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms: None, interrupted: false };
    let results = simulate::results(&context, mesh);
    (suite, results)
}

/// The newest version of each API. What has no mesh has no metrics either: the last one is its extension's.
const NEWEST: [(Api, ApiVersion); 4] = [
    (Api::Access, ApiVersion::V1alpha3),
    (Api::Specs, ApiVersion::V1alpha4),
    (Api::Split, ApiVersion::V1alpha4),
    (Api::Metrics, ApiVersion::V1alpha1),
];

/// What exists in the tested versions.
fn executed<'a>(suite: &'a Suite, results: &'a [Result]) -> impl Iterator<Item = (&'a Assertion, &'a Result)> {
    suite.assertions.iter().zip(results).filter(|(_, result)| result.status != Status::NotApplicable)
}

/// Results of the scored behaviours.
fn behaviours<'a>(suite: &'a Suite, results: &'a [Result]) -> impl Iterator<Item = &'a Result> {
    let scored = executed(suite, results).filter(|(assertion, _)| assertion.level.is_scored());
    scored.filter(|(assertion, _)| assertion.class == Class::Behaviour).map(|(_, result)| result)
}

fn status(results: &[Result], id: &str) -> Status {
    results.iter().find(|result| result.id.as_str() == id).unwrap().status
}

/// Health never crosses the mesh, so it is well whatever the mesh does.
fn off_the_mesh(shape: &Shape, cell: &Cell) -> bool {
    cell.via == Via::Loopback || shape.workload(&cell.from).is_some_and(|from| from.outside && cell.via == Via::Service)
}

/// Every request arrives, and a Service spreads them over its workloads.
fn plain_kubernetes(shape: &Shape, cell: &Cell, requests: u32) -> Tally {
    let runs = |name: &&Slug| shape.workload(name).is_some_and(|workload| !workload.absent);
    answered(requests, shape.destinations(cell).into_iter().filter(runs))
}

#[test]
fn a_mesh_that_does_everything_passes_everything() {
    let (suite, results) = run(&NEWEST, &simulate::ideal);
    for (assertion, result) in executed(&suite, &results) {
        let expected = if assertion.level.is_scored() { Status::Pass } else { Status::Observed };
        assert_eq!(result.status, expected, "{}", result.id);
    }
}

#[test]
fn without_a_mesh_no_behaviour_passes() {
    let (suite, results) = run(&NEWEST[..3], &plain_kubernetes);
    for result in behaviours(&suite, &results) {
        if result.id.as_str().starts_with("smi.metrics.") {
            assert_eq!(result.status, Status::NotSupported, "{}", result.id);
            continue;
        }
        assert!(matches!(result.status, Status::Fail | Status::Inconclusive), "{} {}", result.id, result.status);
    }
    for id in [
        "smi.access.default-deny",
        "smi.access.deny-unlisted-source",
        "smi.access.deny-unlisted-route",
        "smi.access.revoke-on-delete",
        "smi.access.namespace-identity",
        "smi.access.server-side",
        "smi.split.all-first",
        "smi.split.single-backend",
    ] {
        assert_eq!(status(&results, id), Status::Fail, "{id}");
    }
    for id in
        ["smi.access.allow-listed-source", "smi.access.multiple-sources", "smi.specs.path-any", "smi.split.ab-nomatch"]
    {
        assert_eq!(status(&results, id), Status::Inconclusive, "{id}: an open door is no grant");
    }
}

#[test]
fn a_mesh_that_denies_everything_fails_its_grants_and_proves_no_denial() {
    let closed = |shape: &Shape, cell: &Cell, requests: u32| {
        if off_the_mesh(shape, cell) {
            plain_kubernetes(shape, cell, requests)
        } else {
            unanswered(requests, Unanswered::Reset)
        }
    };
    let (suite, results) = run(&NEWEST, &closed);
    assert!(behaviours(&suite, &results).all(|result| matches!(result.status, Status::Fail | Status::Inconclusive)));
    assert_eq!(status(&results, "smi.access.allow-listed-source"), Status::Fail);
    assert_eq!(status(&results, "smi.specs.path-literal"), Status::Fail);
    for id in ["smi.access.default-deny", "smi.access.deny-unlisted-source", "smi.access.server-side"] {
        assert_eq!(status(&results, id), Status::Inconclusive, "{id}: a denial beside no grant proves nothing");
    }
}

#[test]
fn names_that_do_not_resolve_decide_nothing() {
    let nameless = |shape: &Shape, cell: &Cell, requests: u32| {
        let by_name = cell.via == Via::Service && !off_the_mesh(shape, cell);
        if by_name { unanswered(requests, Unanswered::NameError) } else { simulate::ideal(shape, cell, requests) }
    };
    let (suite, results) = run(&NEWEST, &nameless);
    assert!(behaviours(&suite, &results).all(|result| result.status == Status::Inconclusive));
}

#[test]
fn a_dead_workload_is_never_the_mesh_s_failure() {
    let dead = |shape: &Shape, cell: &Cell, requests: u32| {
        if cell.via == Via::Loopback {
            unanswered(requests, Unanswered::Refused)
        } else {
            plain_kubernetes(shape, cell, requests)
        }
    };
    let (suite, results) = run(&NEWEST, &dead);
    assert!(behaviours(&suite, &results).all(|result| result.status == Status::Inconclusive));
}

#[test]
fn a_broken_cluster_network_is_never_the_mesh_s_failure() {
    let broken = |shape: &Shape, cell: &Cell, requests: u32| {
        if cell.via == Via::Loopback {
            plain_kubernetes(shape, cell, requests)
        } else {
            unanswered(requests, Unanswered::Timeout)
        }
    };
    let (suite, results) = run(&NEWEST, &broken);
    assert!(behaviours(&suite, &results).all(|result| result.status == Status::Inconclusive));
}

#[test]
fn an_answer_of_the_wrong_pod_is_no_grant() {
    let stranger: Slug = "server-b".parse().unwrap();
    let wrong = |shape: &Shape, cell: &Cell, requests: u32| {
        let meant_for_server = cell.to.as_str() == "server" && cell.via == Via::Service && cell.expect == Expect::Allow;
        if meant_for_server { answered(requests, [&stranger]) } else { simulate::ideal(shape, cell, requests) }
    };
    let (_, results) = run(&NEWEST, &wrong);
    assert_eq!(status(&results, "smi.access.allow-listed-source"), Status::Fail);
    assert_eq!(status(&results, "smi.specs.path-literal"), Status::Fail);
}

#[test]
fn a_request_that_is_logged_was_not_denied_whatever_the_client_saw() {
    let leaky = |shape: &Shape, cell: &Cell, requests: u32| {
        let tally = simulate::ideal(shape, cell, requests);
        if cell.expect == Expect::Deny { Tally { logged: requests, ..tally } } else { tally }
    };
    let (_, results) = run(&NEWEST, &leaky);
    assert_eq!(status(&results, "smi.access.deny-unlisted-source"), Status::Fail);
    assert_eq!(status(&results, "smi.access.default-deny"), Status::Fail);
}

#[test]
fn an_api_that_is_not_served_is_not_supported_and_an_older_one_not_applicable() {
    let (_, results) = run(&[(Api::Split, ApiVersion::V1alpha2)], &simulate::ideal);
    assert_eq!(status(&results, "smi.api.traffictarget"), Status::NotSupported);
    assert_eq!(status(&results, "smi.specs.path-literal"), Status::NotSupported);
    assert_eq!(status(&results, "smi.split.all-first"), Status::Pass);
    assert_eq!(status(&results, "smi.split.ab-match"), Status::NotSupported, "its routes are of an absent API");
    let older = [(Api::Specs, ApiVersion::V1alpha4), (Api::Split, ApiVersion::V1alpha2)];
    let (_, results) = run(&older, &simulate::ideal);
    assert_eq!(status(&results, "smi.split.ab-match"), Status::NotApplicable);
}

/// What is said of each API when these assertions fail and all others pass.
fn summaries(apis: &[(Api, ApiVersion)], fails: impl Fn(&Assertion) -> bool) -> Vec<ApiSummary> {
    let (suite, mut results) = run(apis, &simulate::ideal);
    for (assertion, result) in suite.assertions.iter().zip(&mut results) {
        if result.status == Status::Pass && fails(assertion) {
            result.status = Status::Fail;
        }
    }
    let scored = executed(&suite, &results).filter(|(assertion, _)| assertion.level.is_scored()).count();
    let sound = verify(&vectors::sound(), &vectors::policy(vectors::keyring(), None), vectors::now()).unwrap();
    let apis = apis.iter().copied().collect();
    let predicate = Predicate { apis, assertions: results, ..sound.statement().predicate.clone() };
    let summaries = summarize(&suite, &predicate);
    assert_eq!(summaries.iter().map(|summary| summary.scored as usize).sum::<usize>(), scored);
    summaries
}

#[test]
fn core_behaviours_decide_and_where_there_are_none_the_extended_ones_do() {
    use Capability::{Full, None as Nothing, Partial};
    use Compliance::{Compliant, NonCompliant};
    let core = |assertion: &Assertion| (assertion.level, assertion.class) == (Level::Core, Class::Behaviour);
    // Access, specs and split have core behaviours, metrics has not.
    let said = |fails: &dyn Fn(&Assertion) -> bool| -> Vec<_> {
        summaries(&NEWEST, fails).iter().map(|summary| (summary.capability, summary.compliance)).collect()
    };
    let (all, failing) = ((Full, Compliant), (Nothing, NonCompliant));
    assert_eq!(said(&|_| false), [all; 4]);
    assert_eq!(said(&core), [failing, failing, failing, all]);
    let partial = (Partial, NonCompliant);
    assert_eq!(said(&|assertion| !core(assertion)), [partial, partial, partial, failing]);
    // What does not exist in an older version takes nothing away; what is not served is not there.
    let older = summaries(&[(Api::Specs, ApiVersion::V1alpha4), (Api::Split, ApiVersion::V1alpha2)], |_| false);
    assert_eq!(older.iter().map(|summary| summary.capability).collect::<Vec<_>>(), [Nothing, Nothing, Full, Nothing]);
}
