//! Any bytes as a suite, and a report of the vectors' suite judged by it.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use smi_fuzz::{SOUND, check_refusal, json, key, lenient, now, payload};
use smi_schemas::Digest;
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{Filters, Statement, Versioned};
use smi_schemas::suite::{Class, Expect, MAX_SUITE_BYTES, Phase, Shape, Suite};
use smi_verifier::judge::{Context, judge};
use smi_verifier::policy::{Policy, Receipts, Suites};
use smi_verifier::verify;

/// What is accepted by the suite that it was made for.
static STATEMENT: LazyLock<Statement> = LazyLock::new(|| {
    assert!(verify(SOUND, lenient(Receipts::Ignore), now()).is_ok());
    Statement::read(&payload(SOUND)).expect("a statement")
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    let (suite, digest) = match Suite::read(bytes) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(bytes.len() <= MAX_SUITE_BYTES);
    assert_eq!(digest, Digest::of(bytes));
    let written = serde_json::to_vec(&suite).expect("a suite is JSON");
    let (again, _) = Suite::read(&written).expect("what was written is read");
    assert_eq!(again, suite);
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written));

    check_names(&suite);
    let apis = BTreeMap::from([
        (Api::Access, ApiVersion::V1alpha3),
        (Api::Specs, ApiVersion::V1alpha4),
        (Api::Split, ApiVersion::V1alpha4),
        (Api::Metrics, ApiVersion::V1alpha1),
    ]);
    for apis in [BTreeMap::new(), apis] {
        let (filters, absent) = (Filters::default(), BTreeSet::new());
        let (limit_ms, interrupted) = (None, false);
        let context = Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms, interrupted };
        for assertion in &suite.assertions {
            let unseen = judge(&context, assertion, None);
            assert!(unseen.is_ok() || !apis.is_empty(), "{}: no API is served, and {unseen:?}", assertion.id);
        }
    }

    // The same observations are judged by whatever suite says that it is theirs.
    let mut statement = STATEMENT.clone();
    statement.predicate.suite = Versioned { version: suite.version.clone(), digest };
    let mut suites = Suites::default();
    suites.add(bytes).expect("it was read before");
    let policy = Policy { suites, ..lenient(Receipts::Ignore).clone() };
    match verify(&key("vendor").sign_statement(&statement.to_bytes()).to_bytes(), &policy, now()) {
        Ok(verified) => assert!(verified.statement().predicate.assertions.len() == suite.assertions.len()),
        Err(refused) => check_refusal(&refused),
    }
});

/// Every name that a suite uses is defined, once.
fn check_names(suite: &Suite) {
    let ids: BTreeSet<_> = suite.assertions.iter().map(|assertion| &assertion.id).collect();
    assert_eq!(ids.len(), suite.assertions.len());
    let shapes: BTreeSet<_> = suite.shapes.iter().map(|shape| &shape.name).collect();
    assert_eq!(shapes.len(), suite.shapes.len());
    for assertion in &suite.assertions {
        let shape = assertion.shape.as_ref().map(|name| suite.shape(name).expect("its shape"));
        assert_eq!(shape.is_some(), assertion.class == Class::Behaviour);
        assert!(assertion.uses().iter().eq(assertion.versions.keys()));
        for phase in &assertion.phases {
            assert!(!phase.actions.is_empty() || phase.probes());
            if let Some(shape) = shape {
                check_phase(shape, phase);
            }
        }
    }
}

fn check_phase(shape: &Shape, phase: &Phase) {
    let sampled = phase.samples(shape).map(|(role, cell, _)| (role, cell));
    for (_, cell) in phase.rounds(shape).chain(sampled) {
        assert!(shape.workload(&cell.from).is_some() && shape.port(cell).is_some(), "{cell:?}");
        let destinations = shape.destinations(cell);
        match &cell.expect {
            Expect::Only(workload) => assert!(destinations.contains(workload)),
            Expect::Spread(workloads) => {
                assert!(workloads.len() > 1 && workloads.iter().all(|workload| destinations.contains(workload)));
            }
            Expect::Shares(shares) => {
                let sum = |side: fn(_) -> u32| shares.bounds.iter().map(|bound| u64::from(side(bound))).sum::<u64>();
                let (lo, hi) = (sum(|bound: &smi_schemas::suite::Bound| bound.lo), sum(|bound| bound.hi));
                assert!((lo..=hi).contains(&u64::from(shares.n)), "{shares:?}");
            }
            Expect::Allow | Expect::Deny => {}
        }
    }
}
