//! Released suites are the bytes that were released, and the command that makes them changes nothing but a version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use smi_schemas::Digest;
use smi_schemas::suite::{Carried, DRAFT, NEWEST, RELEASED, Suite, carried};
use smi_tests::release::{ReleaseError, release};

/// The digest of every released suite: what `sha256sum` says of its file. Lines are added and never changed, except
/// that of a candidate which nobody was given yet.
const PINS: [(&str, &str); 1] = [("1.0.0-rc.1", "927477bae7dffc307e4817ac6b773f583f15203ed3095f5ccec995897168f7fe")];

fn folder() -> PathBuf {
    smi_tests::root().join("schemas/suites")
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
        .filter(|name| name.ends_with(".json"))
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
