//! Every stored vector is refused for the one rule it breaks, and accepted without its fault.
//!
//! `SMI_UPDATE=1` writes the files anew. A vector that was ever released is not to change.

use std::fs;
use std::path::PathBuf;

use smi_keys::keyring::Keyring;
use smi_schemas::codes::{Class, Code};
use smi_tests::vectors::{self, Expected};
use smi_verifier::policy::Receipts;
use smi_verifier::{Stage, receipt, verify};

fn folder() -> PathBuf {
    smi_tests::root().join("tests/vectors")
}

fn stored() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(folder().join("vectors.json")).unwrap()).unwrap()
}

#[test]
fn stored_vectors_are_the_generated_ones() {
    let all = vectors::all();
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("sound.json".into(), vectors::sound()),
        ("claimed.json".into(), vectors::claimed()),
        ("completed.json".into(), vectors::completed()),
        ("keyring.json".into(), vectors::keyring().to_bytes()),
        ("suite-draft.json".into(), vectors::draft()),
    ];
    let index: Vec<&Expected> = all.iter().map(|vector| &vector.expected).collect();
    files.push(("vectors.json".into(), serde_json::to_vec_pretty(&index).unwrap()));
    for vector in &all {
        files.push((format!("bundles/{}", vector.expected.name), vector.bundle.clone()));
        if vector.expected.keyring != "keyring.json" {
            files.push((vector.expected.keyring.clone(), vector.keyring.clone()));
        }
    }
    if smi_tests::update() {
        let _ = fs::remove_dir_all(folder().join("bundles"));
        fs::create_dir_all(folder().join("bundles")).unwrap();
        for (name, bytes) in &files {
            fs::write(folder().join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in files {
        assert!(fs::read(folder().join(&name)).unwrap() == bytes, "{name} has drifted; SMI_UPDATE=1 rewrites it");
    }
    assert_eq!(fs::read_dir(folder().join("bundles")).unwrap().count(), all.len(), "one file a vector, no others");
}

#[test]
fn each_is_refused_for_its_own_rule_alone() {
    for expected in stored() {
        let bundle = fs::read(folder().join("bundles").join(&expected.name)).unwrap();
        let keyring = fs::read(folder().join(&expected.keyring)).unwrap();
        let Some(stage) = expected.stage else {
            assert!(Keyring::read(&keyring).is_err(), "{}: the keyring was read", expected.name);
            continue;
        };
        let (keyring, _) = Keyring::read(&keyring).unwrap();
        let mut policy = vectors::policy(keyring, expected.max_age_seconds);
        if expected.require_receipt {
            policy.receipts = Receipts::Require;
        }
        let refused = verify(&bundle, &policy, vectors::now()).err();
        let refused = refused.unwrap_or_else(|| panic!("{} was accepted", expected.name));
        let codes: Vec<Code> = refused.findings.iter().map(|finding| finding.code).collect();
        assert_eq!((refused.stage, codes), (stage, vec![expected.code]), "{}: {:?}", expected.name, refused.findings);
    }
}

#[test]
fn without_its_fault_each_is_accepted() {
    let (keyring, _) = Keyring::read(&fs::read(folder().join("keyring.json")).unwrap()).unwrap();
    let sound = fs::read(folder().join("sound.json")).unwrap();
    let policy = vectors::policy(keyring, None);
    let verified = verify(&sound, &policy, vectors::now()).unwrap();
    assert_eq!(verified.withheld(), [] as [Code; 0]);
    for summary in verified.apis() {
        // The vectors' suite has no assertion about specs.
        assert_eq!(summary.passed, summary.scored, "{summary:?}");
    }
}

#[test]
fn a_receipt_proves_its_place_and_its_time() {
    let (keyring, _) = Keyring::read(&fs::read(folder().join("keyring.json")).unwrap()).unwrap();
    let completed = fs::read(folder().join("completed.json")).unwrap();
    let four_hours = Some(4 * 3600);
    let policy = smi_verifier::policy::Policy { receipts: Receipts::Require, ..vectors::policy(keyring, four_hours) };
    let verified = verify(&completed, &policy, vectors::now()).unwrap();
    let receipt = verified.receipt().unwrap();
    assert_eq!((receipt.origin.as_str(), receipt.index, receipt.size), (vectors::ORIGIN, 3, 7));
    assert_eq!(receipt.witnesses.len(), 2);
    let times = receipt.times.unwrap();
    // Of two that cosigned a second apart, one may lie.
    assert_eq!(times.logged_by.to_string(), "2026-01-02T09:00:01Z");
    assert_eq!(times.current_at.to_string(), "2026-01-02T09:00:00Z");
    assert_eq!(verified.undecided(), [] as [Stage; 0]);

    let policy = vectors::policy(vectors::keyring_with(None), None);
    let verified = verify(&completed, &policy, vectors::now()).unwrap();
    assert_eq!(verified.undecided(), [Stage::Quorum, Stage::Freshness], "nobody's time is proven without a quorum");
    let verified = verify(&vectors::sound(), &policy, vectors::now()).unwrap();
    assert_eq!(verified.undecided(), receipt::STAGES);
}

#[test]
fn a_witness_that_cosigns_ahead_of_time_counts_for_nothing() {
    let (keyring, _) = Keyring::read(&fs::read(folder().join("keyring.json")).unwrap()).unwrap();
    let completed = fs::read(folder().join("completed.json")).unwrap();
    let verified = |now: &str| verify(&completed, &vectors::policy(keyring.clone(), None), now.parse().unwrap());
    // They cosigned at nine and a second later; clocks may differ by ten minutes.
    assert_eq!(verified("2026-01-02T08:50:01Z").unwrap().receipt().unwrap().witnesses.len(), 2);
    for now in ["2026-01-02T08:50:00Z", "2026-01-02T08:45:00Z"] {
        let refused = verified(now).unwrap_err();
        assert_eq!((refused.stage, refused.findings[0].code), (Stage::Quorum, Code::ReceiptQuorum));
        let detail = &refused.findings[0].detail;
        assert!(detail.ends_with("more cosigned at a time that has not come yet"), "{detail}");
    }
}

#[test]
fn every_refusal_has_a_vector() {
    let covered: Vec<Code> = stored().into_iter().map(|expected| expected.code).collect();
    let refusals = Code::ALL.iter().filter(|code| code.class() == Class::Refusal);
    let missing: Vec<_> = refusals.filter(|code| !covered.contains(code)).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

#[test]
fn no_change_of_a_byte_is_overlooked() {
    let (keyring, _) = Keyring::read(&fs::read(folder().join("keyring.json")).unwrap()).unwrap();
    let policy = vectors::policy(keyring, None);
    let sound = fs::read(folder().join("sound.json")).unwrap();
    let payload = verify(&sound, &policy, vectors::now()).unwrap().payload_digest();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        if let Ok(verified) = verify(&bytes, &policy, vectors::now()) {
            panic!("byte {at} was changed and the bundle accepted as {} ({payload})", verified.payload_digest());
        }
    }
    for end in 0..sound.len() {
        assert!(verify(&sound[..end], &policy, vectors::now()).is_err(), "accepted {end} bytes");
    }
}
