//! What a vendor claims not to support is recorded and shown, and changes nothing.

use std::collections::BTreeSet;

use smi_runner::execute::Executed;
use smi_runner::mesh::Profile;
use smi_runner::output;
use smi_runner::plan::Plan;
use smi_runner::statement::{Begun, statement};
use smi_runner::target::Facts;
use smi_schemas::feed::{ApiSummary, Capability, Compliance};
use smi_schemas::report::Status;
use smi_schemas::smi::Api;
use smi_schemas::statement::{Enforcing, Predicate, Purpose};
use smi_schemas::suite::Suite;
use smi_tests::vectors;
use smi_verifier::capability::summarize;
use smi_verifier::{Verified, verify};

fn verified(bundle: &[u8]) -> Verified {
    verify(bundle, &vectors::policy(vectors::keyring(), None), vectors::now()).unwrap()
}

fn split(predicate: &Predicate) -> ApiSummary {
    let (suite, _) = Suite::read(vectors::SUITE).unwrap();
    summarize(&suite, predicate).into_iter().find(|summary| summary.api == Api::Split).unwrap()
}

#[test]
fn a_claim_changes_no_status_and_no_summary() {
    let (sound, claimed) = (verified(&vectors::sound()), verified(&vectors::claimed()));
    assert_eq!(sound.statement().predicate.assertions, claimed.statement().predicate.assertions);
    assert_ne!(sound.apis(), claimed.apis());
    let unclaimed: Vec<ApiSummary> =
        claimed.apis().iter().map(|summary| ApiSummary { claimed_unsupported: false, ..*summary }).collect();
    assert_eq!(sound.apis(), unclaimed);
}

#[test]
fn what_fails_fails_whatever_is_claimed() {
    let mut predicate = verified(&vectors::claimed()).statement().predicate.clone();
    let behaviour = predicate.assertions.iter_mut().find(|result| result.id.as_str() == "smi.split.weights").unwrap();
    behaviour.status = Status::Fail;
    let summary = split(&predicate);
    assert_eq!((summary.capability, summary.compliance), (Capability::None, Compliance::NonCompliant));
    assert_eq!(summary.presence(), "claimed unsupported, served in v1alpha4");
}

#[test]
fn what_is_absent_is_just_absent() {
    let mut predicate = verified(&vectors::claimed()).statement().predicate.clone();
    predicate.apis.remove(&Api::Split);
    let summary = split(&predicate);
    assert!(!summary.claimed_unsupported && summary.presence() == "absent");
    assert!(!summary.to_string().contains("claimed"), "{summary}");
}

#[test]
fn a_run_says_it_before_and_after_and_signs_it() {
    let profile = "slug: none\nname: A\naddress: '{service}.{namespace}.svc'\nunsupported: [split]\n";
    let (profile, digest) = Profile::read(profile.as_bytes()).unwrap();
    let Predicate { run, runner, agent, target, apis, crds, metrics, filters, overrides, assertions, .. } =
        verified(&vectors::sound()).statement().predicate.clone();
    let (suite, suite_digest) = Suite::read(vectors::SUITE).unwrap();
    let plan = Plan { suite, digest: suite_digest, filters, overrides, apis, absent: BTreeSet::new() };
    let mesh = profile.measured(digest, None, Enforcing::Off);
    let facts = Facts { subject: Vec::new(), agent: agent.digest, target, mesh, crds, metrics, enable: None };
    let begun = Begun { id: run.id, seed: 0, purpose: Purpose::Official, started_at: run.started_at, runner };

    let mut told = Vec::new();
    output::facts(&mut told, &plan, &facts, &begun).unwrap();
    let told = String::from_utf8(told).unwrap();
    let line = "apis      access v1alpha3, specs v1alpha4, split v1alpha4 (claimed unsupported)";
    assert!(told.contains(line), "{told}");

    let executed = Executed { results: assertions, interrupted: false };
    let statement = statement(&begun, &plan, &facts, &executed, run.finished_at);
    let signed = String::from_utf8(statement.to_bytes()).unwrap();
    assert!(signed.contains(r#""enforcing":"off","claimedUnsupported":["split"]"#), "{signed}");

    let mut told = Vec::new();
    let apis = summarize(&plan.suite, &statement.predicate);
    output::summary(&mut told, &apis, &statement.predicate.assertions).unwrap();
    let told = String::from_utf8(told).unwrap();
    let lines: Vec<&str> =
        told.lines().filter(|line| line.contains("claimed unsupported, served in v1alpha4")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("split     v1alpha4   full        compliant"), "{told}");
}
