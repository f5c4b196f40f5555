//! Released suites are the bytes that were released, the command that makes them changes nothing but a version, and
//! that they are released is signed by whom it takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use smi_keys::keyring::{Entry, KeyRef, Keyring, Publish, Role};
use smi_schemas::Digest;
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_schemas::suite::{Carried, DRAFT, NEWEST, RELEASED, Suite, carried};
use smi_tests::release::{ReleaseError, release};
use smi_tests::{root, vectors};
use smi_verifier::release::{Released, verify_release};
use smi_verifier::{Refused, Stage, verify};

/// The digest of every released suite: what `sha256sum` says of its file. Lines are added and never changed, except
/// that of a candidate which nobody was given yet.
const PINS: [(&str, &str); 1] = [("1.0.0-rc.1", "9fe8cdf2c7cdb8dadb17633e4e5a7c9a59dcb3467432381444f46f5251325a2b")];

fn folder() -> PathBuf {
    root().join("schemas/suites")
}

fn is_pinned(version: &str, bytes: &[u8]) -> bool {
    PINS.contains(&(version, Digest::of(bytes).hex().as_str()))
}

#[test]
fn every_released_suite_has_its_pinned_bytes() {
    assert_eq!(RELEASED.map(|suite| suite.version), PINS.map(|(version, _)| version), "a pin for every release");
    for Carried { version, bytes } in RELEASED {
        assert!(is_pinned(version, bytes), "suite {version} is {}, which is not what was released", Digest::of(bytes));
    }
}

#[test]
fn a_pin_notices_any_change() {
    let Carried { version, bytes } = NEWEST;
    assert!(is_pinned(version, bytes) && !is_pinned(DRAFT.version, bytes));
    assert!(!is_pinned(version, DRAFT.bytes));
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert!(!is_pinned(version, &changed), "byte {at} was changed");
    }
    assert!(!is_pinned(version, &bytes[..bytes.len() - 1]) && !is_pinned(version, &[bytes, b"\n"].concat()));
}

#[test]
fn suites_are_the_files_and_are_called_what_they_say() {
    let mut files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.strip_suffix(".json").is_some_and(|stem| !stem.ends_with(".sigstore")))
        .collect();
    for Carried { version, bytes } in carried() {
        let name = format!("v{version}.json");
        assert!(fs::read(folder().join(&name)).unwrap() == bytes && files.remove(&name), "{name}");
        let (suite, digest) = Suite::read(bytes).unwrap();
        assert_eq!((suite.version.as_str(), digest), (version, Digest::of(bytes)));
        assert_eq!(suite.is_draft(), version == DRAFT.version, "{version}");
    }
    assert!(files.is_empty(), "suites that no build carries: {files:?}");
}

#[test]
fn a_release_is_the_draft_but_for_its_version() {
    let base = DRAFT.version.strip_suffix("-draft").unwrap();
    for version in [base.to_owned(), format!("{base}-rc.1"), format!("{base}-rc.20")] {
        let made = release(DRAFT.bytes, &version.parse().unwrap()).unwrap();
        let (mut suite, _) = Suite::read(&made).unwrap();
        assert_eq!((suite.version.as_str(), suite.is_draft()), (version.as_str(), false));
        suite.version = DRAFT.version.parse().unwrap();
        assert_eq!(suite, Suite::read(DRAFT.bytes).unwrap().0);
        let lines = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect();
        let (made, draft): (Vec<String>, Vec<String>) = (lines(&made), lines(DRAFT.bytes));
        assert_eq!(made.len(), draft.len());
        assert_eq!(made.iter().zip(&draft).filter(|(made, draft)| made != draft).count(), 1);
    }
}

#[test]
fn a_draft_that_is_not_fit_is_not_released() {
    let base = DRAFT.version.strip_suffix("-draft").unwrap();
    let draft = String::from_utf8(DRAFT.bytes.to_vec()).unwrap();
    let edited = |from: &str, to: &str| {
        assert!(draft.contains(from), "{from}");
        release(draft.replacen(from, to, 1).as_bytes(), &base.parse().unwrap()).map(drop).unwrap_err()
    };
    assert!(matches!(edited("\"hold\": 20", "\"hold\": 0"), ReleaseError::Suite(_)));
    assert!(matches!(edited(DRAFT.version, "1.0.0-rc.1"), ReleaseError::NoDraft(_)));
    assert!(matches!(edited("\"version\": ", "\"version\":  "), ReleaseError::Line(_)));
    let ReleaseError::Shares(found) = edited("\"lo\": 1839", "\"lo\": 1838") else { panic!("released") };
    assert_eq!(found, ["smi.split.weights-90-10"]);
}

#[test]
fn the_command_writes_one_file_once_and_only_a_release_of_the_draft() {
    let temporary = tempfile::tempdir().unwrap();
    let suites = temporary.path().join("schemas/suites");
    fs::create_dir_all(&suites).unwrap();
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_release"));
        command.args(arguments).current_dir(temporary.path()).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    let base = DRAFT.version.strip_suffix("-draft").unwrap();
    let output = run(&[base]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let written = fs::read(suites.join(format!("v{base}.json"))).unwrap();
    assert_eq!(written, release(DRAFT.bytes, &base.parse().unwrap()).unwrap());
    for part in [format!("schemas/suites/v{base}.json\n"), Digest::of(&written).to_string(), "next: ".to_owned()] {
        assert!(said(&output).contains(&part), "{}", said(&output));
    }

    let again = run(&[base]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).starts_with("error: ") && said(&again).contains(base), "{}", said(&again));
    assert_eq!(run(&[base, "--out", "elsewhere.json"]).status.code(), Some(0), "another file is another matter");
    assert_eq!(fs::read(Path::new(temporary.path()).join("elsewhere.json")).unwrap(), written);

    let others = [
        DRAFT.version.to_owned(),
        "0.9.0".to_owned(),
        format!("{base}.1"),
        format!("{base}-rc"),
        format!("{base}-rc.0"),
        format!("{base}-rc.01"),
        format!("{base}-rc.+1"),
        format!("{base}-rc.1-draft"),
        "../etc".to_owned(),
    ];
    for version in others {
        let output = run(&[&version, "--out", "never.json"]);
        assert_eq!(output.status.code(), Some(2), "{version}: {}", said(&output));
    }
    assert!(!temporary.path().join("never.json").exists());
}

/// A keyring with a key of each role, which has the role's name.
fn keyring() -> Keyring {
    let mut keyring = Keyring::default();
    for role in Role::ALL {
        let vendor = role == Role::Vendor;
        let note = matches!(role, Role::Log | Role::Witness);
        let entry = Entry {
            meshes: vendor.then(|| "example-mesh".parse().unwrap()).into_iter().collect(),
            publish: vendor.then_some(Publish::Direct),
            note_name: note.then(|| format!("{role}.example.org").parse().unwrap()),
            ..Entry::new(role.as_str().parse().unwrap(), role, vectors::key(role.as_str()).public())
        };
        keyring.add(entry).unwrap();
    }
    keyring
}

/// The release of the newest suite, signed by the key of a name.
fn signed(by: &str) -> Bundle {
    let (suite, digest) = Suite::read(NEWEST.bytes).unwrap();
    let release = Release::of(Versioned { version: suite.version, digest }, vectors::now()).unwrap();
    vectors::key(by).sign_statement(&release.to_bytes())
}

fn verified(bundle: &[u8], keyring: &Keyring, suite: &(Suite, Digest)) -> Result<Released, (Stage, Code)> {
    let result = verify_release(bundle, keyring, suite, vectors::now());
    result.map_err(|Refused { stage, findings }| (stage, findings[0].code))
}

#[test]
fn a_release_is_signed_by_the_role_suite_alone() {
    let (keyring, newest) = (keyring(), Suite::read(NEWEST.bytes).unwrap());
    for role in Role::ALL {
        let result = verified(&signed(role.as_str()).to_bytes(), &keyring, &newest);
        if role == Role::Suite {
            let released = result.unwrap();
            assert_eq!((released.signer().as_str(), released.release().says.released_at), ("suite", vectors::now()));
            assert_eq!(released.release().says.version.as_str(), NEWEST.version);
        } else {
            assert_eq!(result.unwrap_err(), (Stage::Signer, Code::KeyRole), "{role}");
        }
    }
    let stranger = signed("stranger").to_bytes();
    assert_eq!(verified(&stranger, &keyring, &newest).unwrap_err(), (Stage::Signature, Code::KeyUnknown));
}

#[test]
fn a_release_is_of_these_bytes_under_this_version() {
    let (keyring, newest) = (keyring(), Suite::read(NEWEST.bytes).unwrap());
    let bundle = signed("suite").to_bytes();
    let edited = String::from_utf8(NEWEST.bytes.to_vec()).unwrap().replacen("\"hold\": 20", "\"hold\": 10", 1);
    let refused = verified(&bundle, &keyring, &Suite::read(edited.as_bytes()).unwrap()).unwrap_err();
    assert_eq!(refused, (Stage::Suite, Code::SuiteDigest), "the same version, other bytes");
    let refused = verified(&bundle, &keyring, &Suite::read(DRAFT.bytes).unwrap()).unwrap_err();
    assert_eq!(refused, (Stage::Suite, Code::SuiteDigest), "another version");

    let mut revoked = keyring.clone();
    revoked.revoke(&KeyRef::Name("suite".parse().unwrap()), 0).unwrap();
    assert_eq!(verified(&bundle, &revoked, &newest).unwrap_err(), (Stage::Signature, Code::KeyRevoked));

    for at in 0..bundle.len() {
        let mut changed = bundle.clone();
        changed[at] ^= 1;
        assert!(verified(&changed, &keyring, &newest).is_err(), "byte {at} was changed");
        assert!(verified(&bundle[..at], &keyring, &newest).is_err(), "accepted {at} bytes");
    }
}

/// The release of the newest suite at an hour of the day on which receipts are cosigned at nine.
fn released_at(hour: u8) -> Bundle {
    let (suite, digest) = Suite::read(NEWEST.bytes).unwrap();
    let time = format!("2026-01-02T{hour:02}:00:00Z").parse().unwrap();
    let release = Release::of(Versioned { version: suite.version, digest }, time).unwrap();
    vectors::key("suite").sign_statement(&release.to_bytes())
}

#[test]
fn a_release_is_judged_by_its_index_where_it_has_a_receipt() {
    let newest = Suite::read(NEWEST.bytes).unwrap();
    let revoked = |from| {
        let mut keyring = vectors::keyring();
        keyring.revoke(&KeyRef::Name("suite".parse().unwrap()), from).unwrap();
        keyring
    };
    let (bare, logged) = (released_at(8), vectors::logged(released_at(8), "suite", 2));
    for keyring in [vectors::keyring(), revoked(vectors::INDEX + 1)] {
        let released = verified(&logged.to_bytes(), &keyring, &newest).unwrap();
        let receipt = released.receipt().unwrap();
        assert_eq!((receipt.index, receipt.witnesses.len()), (vectors::INDEX, 2));
        assert_eq!(released.undecided(), [Stage::Freshness]);
    }
    let refused = |bundle: &Bundle, keyring| verified(&bundle.to_bytes(), &keyring, &newest).unwrap_err();
    assert_eq!(refused(&logged, revoked(vectors::INDEX)), (Stage::InForce, Code::KeyRevoked));
    assert_eq!(refused(&bare, revoked(vectors::INDEX + 1)), (Stage::Signature, Code::KeyRevoked), "no index is known");
    assert!(verified(&bare.to_bytes(), &vectors::keyring(), &newest).unwrap().receipt().is_none());

    let refused = |bundle: &Bundle| refused(bundle, vectors::keyring());
    let lonely = vectors::logged(released_at(8), "suite", 1);
    assert_eq!(refused(&lonely), (Stage::Quorum, Code::ReceiptQuorum));
    let later = vectors::logged(released_at(10), "suite", 2);
    assert_eq!(refused(&later), (Stage::Freshness, Code::ReceiptTimes));
    let borrowed = Bundle { log_entry: later.log_entry, ..bare };
    assert_eq!(refused(&borrowed), (Stage::Inclusion, Code::ReceiptInclusion));
}

#[test]
fn a_release_has_one_signature() {
    let mut bundle = signed("suite");
    bundle.further.push(signed("root").signature);
    let refused = verified(&bundle.to_bytes(), &keyring(), &Suite::read(NEWEST.bytes).unwrap()).unwrap_err();
    assert_eq!(refused, (Stage::Shape, Code::BundleSignatures));
}

#[test]
fn a_release_is_no_result_and_a_result_no_release() {
    let release = signed("suite").to_bytes();
    let refused = verify(&release, &vectors::policy(keyring(), None), vectors::now()).unwrap_err();
    assert_eq!((refused.stage, refused.findings[0].code), (Stage::Statement, Code::PredicateType));
    let result = verified(&vectors::sound(), &vectors::keyring(), &Suite::read(NEWEST.bytes).unwrap()).unwrap_err();
    assert_eq!(result, (Stage::Statement, Code::PredicateType));
}
