//! The binary as a user meets it: what it runs, writes, prints and refuses, and how it exits.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use smi_keys::SigningKey;
use smi_schemas::codes::Code;
use smi_schemas::report::Status;
use smi_schemas::suite::{DRAFT, NEWEST, Suite};
use smi_verifier::Verified;
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A key file of `seed`, without a passphrase.
    fn key(&self, mode: u32) -> SigningKey {
        common::key(&self.path("key.pem"), mode)
    }

    fn verified(&self, bundle: &str, key: &SigningKey) -> Verified {
        common::verified(&self.path(bundle), key, "sandbox")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-runner"));
        command.args(arguments).current_dir(self.0.path()).env_remove("SMI_KEY_PASSPHRASE").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_whole_run_is_signed_and_replayed() {
    let bench = Bench::new();
    let key = bench.key(0o600);
    let output = bench.run(&["run", "--key", "key.pem", "--purpose", "official", "--junit", "junit.xml"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(
        text.ends_with("exit 0: success\n") && text.contains("verify    smi-verifier verify result.json"),
        "{text}"
    );
    let verified = bench.verified("result.json", &key);
    assert_eq!(verified.withheld(), []);
    for api in verified.apis() {
        assert_eq!((api.passed, api.failed), (api.scored, 0), "{api}");
    }
    let junit = fs::read_to_string(bench.path("junit.xml")).unwrap();
    assert!(junit.contains(r#"<testcase name="smi.split.weights-90-10""#) && !junit.contains("<failure"), "{junit}");
}

#[test]
fn a_second_run_overwrites_nothing_and_says_so_before_it_begins() {
    let bench = Bench::new();
    bench.key(0o600);
    fs::write(bench.path("result.json"), "precious").unwrap();
    let output = bench.run(&["run", "--key", "key.pem"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error[file-exists]") && stderr(&output).ends_with("it cannot use\n"));
    assert!(output.stdout.is_empty(), "nothing was run");
    assert_eq!(fs::read_to_string(bench.path("result.json")).unwrap(), "precious");
}

#[test]
fn a_junit_report_takes_no_other_files_place() {
    let bench = Bench::new();
    bench.key(0o600);
    let key = fs::read(bench.path("key.pem")).unwrap();
    for junit in ["key.pem", "result.json"] {
        let output = bench.run(&["run", "--key", "key.pem", "--junit", junit]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("error[file-exists]") && output.stdout.is_empty(), "{junit}");
    }
    assert_eq!(fs::read(bench.path("key.pem")).unwrap(), key);
    let output = bench.run(&["run", "--junit", "absent/junit.xml"]);
    assert!(stderr(&output).contains("error[file-unwritable]") && output.stdout.is_empty(), "before the run");
}

#[test]
fn a_part_of_the_suite_is_signed_and_never_published() {
    let bench = Bench::new();
    let key = bench.key(0o600);
    let output = bench.run(&[
        "run",
        "--run",
        "smi.access.*",
        "--skip",
        "*.server-side",
        "--key",
        "key.pem",
        "--out",
        "part.json",
    ]);
    assert_eq!(output.status.code(), Some(5), "{}", stdout(&output));
    let verified = bench.verified("part.json", &key);
    assert_eq!(verified.withheld(), [Code::PolicyTrial, Code::PolicyPartial]);
    let executed = verified.statement().predicate.assertions.iter().filter(|result| result.status == Status::Pass);
    assert_eq!(executed.count(), 24);
}

#[test]
fn an_interrupted_run_says_so_in_its_bundle() {
    let bench = Bench::new();
    let key = bench.key(0o600);
    let mut child = bench.command(&["run", "--key", "key.pem"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("smi.access.default-deny")), "the run never got under way");
    // The shell's own: a bare machine has no program of that name.
    Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", "-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    let verified = bench.verified("result.json", &key);
    assert!(verified.withheld().contains(&Code::PolicyInterrupted));
    let results = &verified.statement().predicate.assertions;
    assert!(results.iter().any(|result| result.reason == Code::Interrupted && result.status == Status::Skipped));
    assert!(results.iter().any(|result| result.status == Status::Pass), "what was done is kept");
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let bench = Bench::new();
    let key = bench.key(0o600);
    let mut child =
        bench.command(&["run", "--key", "key.pem"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert!(bench.verified("result.json", &key).apis().iter().all(|api| api.failed == 0));
}

fn suite() -> Suite {
    Suite::read(NEWEST.bytes).unwrap().0
}

#[test]
fn json_is_one_document() {
    let bench = Bench::new();
    let output = bench.run(&["run", "--run", "smi.api.*", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!((&document["exit"], &document["bundle"]), (&5.into(), &serde_json::Value::Null));
    assert_eq!(document["statement"]["predicate"]["assertions"].as_array().unwrap().len(), suite().assertions.len());
}

#[test]
fn an_older_version_is_tested_when_asked_for() {
    let bench = Bench::new();
    let output = bench.run(&["run", "--run", "smi.split.ab-*", "--api-version", "split=v1alpha2"]);
    let text = stdout(&output);
    assert!(text.contains("split v1alpha2") && text.contains("4 not-applicable"), "{text}");
}

#[test]
fn what_cannot_be_run_is_refused_with_a_remedy() {
    let bench = Bench::new();
    bench.key(0o644);
    fs::write(bench.path("profile.yaml"), "slug: a\nname: A\naddress: nowhere\n").unwrap();
    let nothing = ["run", "--run", "smi.nothing"];
    let kubernetes = ["run", "--target", "kubernetes"];
    let with = |option: &'static str, value| [&kubernetes[..], &[option, value]].concat();
    let [unknown, contradicting] = [with("--mesh", "marsh"), with("--profile", "profile.yaml")];
    let cases: [(&[&str], i32, &str); 14] = [
        (&kubernetes, 2, "mesh-option"),
        (&["run", "--mesh", "none"], 2, "mesh-option"),
        (&["run", "--context", "here"], 2, "mesh-option"),
        (&unknown, 2, "mesh-unknown"),
        (&contradicting, 2, "profile-invalid"),
        (&["run", "--key", "key.pem", "--out", "absent/x.json"], 2, "file-unwritable"),
        (&nothing, 4, "nothing-selected"),
        (&["plan", "--skip", "*"], 4, "nothing-selected"),
        (&["run", "--out", "x.json"], 2, "key-needed"),
        (&["run", "--key", "absent.pem"], 2, "file-unreadable"),
        (&["run", "--key", "key.pem"], 6, "key-file-permissions"),
        (&["run", "--api-version", "access=v1alpha4"], 2, "version-not-testable"),
        (&["explain", "no-such-code"], 2, "code-unknown"),
        (&["image", "--out", "agent.tar", "--agent", "key.pem"], 2, "agent-binary"),
    ];
    for (arguments, exit, code) in cases {
        let output = bench.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {text}");
        assert!(text.contains(&format!("error[{code}]")) && text.contains("remedy: "), "{arguments:?}: {text}");
        assert!(text.lines().last().unwrap().starts_with(&format!("exit {exit}: ")), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    for arguments in
        [&["run", "--run", "SMI"][..], &["run", "--purpose", "fun"], &["run", "--api-version", "mesh=1"], &[]]
    {
        assert_eq!(bench.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(!bench.path("agent.tar").exists());
}

#[test]
fn a_bundle_that_cannot_be_written_is_printed() {
    let bench = Bench::new();
    let key = bench.key(0o600);
    let output = bench.run(&["run", "--run", "smi.api.*", "--key", "key.pem", "--out", "/proc/result.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error[file-unwritable]"), "{}", stderr(&output));
    let text = stdout(&output);
    fs::write(bench.path("saved.json"), text.lines().last().unwrap()).unwrap();
    assert_eq!(bench.verified("saved.json", &key).withheld(), [Code::PolicyTrial, Code::PolicyPartial]);
}

#[test]
fn a_plan_is_yaml_and_touches_nothing() {
    let bench = Bench::new();
    let output = bench.run(&["plan", "--run", "smi.split.ab-match"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let documents: Vec<serde_yaml_ng::Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect();
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["HTTPRouteGroup", "TrafficSplit"], "{text}");
    assert!(
        text.contains("# expect: client calls web, GET /ab-match/a x-smi-group: beta: answered by web-v2 only"),
        "{text}"
    );
}

#[test]
fn lists_explanations_and_crds_are_printed() {
    let bench = Bench::new();
    let assertion = stdout(&bench.run(&["explain", "smi.split.weights-90-10"]));
    for part in ["Weights of 90 and 10", "core, behaviour", "change TrafficSplit", "web-v1 1839 to 1938", "20 rounds"] {
        assert!(assertion.contains(part), "{part}: {assertion}");
    }
    let list = stdout(&bench.run(&["list"]));
    assert!(list.contains("smi.access.default-deny") && list.lines().count() == suite().assertions.len() + 2, "{list}");
    assert_eq!(bench.run(&["list", "-o", "json"]).stdout, NEWEST.bytes);
    for code in Code::ALL {
        let text = stdout(&bench.run(&["explain", code.as_str()]));
        assert!(text.contains(code.sentence()) && text.contains(code.remedy()), "{code}: {text}");
    }
    assert_eq!(stdout(&bench.run(&["explain"])).lines().count(), Code::ALL.len());
    for release in ["before-v0.4.0", "v0.4.0", "v0.5.0", "v0.6.0"] {
        assert!(stdout(&bench.run(&["crds", release])).contains("kind: CustomResourceDefinition"));
    }
}

#[test]
fn the_newest_released_suite_is_meant_unless_another_is_named() {
    let bench = Bench::new();
    let one = ["--run", "smi.api.release"];
    for (asked, version) in [(&[][..], NEWEST.version), (&["--suite", DRAFT.version], DRAFT.version)] {
        let with = |command: &[&'static str]| stdout(&bench.run(&[command, asked].concat()));
        let run = with(&[&["run"], &one[..]].concat());
        assert!(run.starts_with(&format!("suite     {version}, sha256:")), "{run}");
        assert_eq!(run.contains("policy-draft"), version == DRAFT.version, "{run}");
        assert!(with(&["list"]).starts_with(&format!("suite {version}, sha256:")));
        assert!(with(&[&["plan"], &one[..]].concat()).starts_with(&format!("# suite {version}, sha256:")));
        let explained = with(&["explain", "smi.api.release"]);
        assert!(explained.contains(&format!("  suite     {version}\n")), "{explained}");
        let hint = explained.lines().last().unwrap();
        assert_eq!(hint.contains(&format!("--suite {}", DRAFT.version)), version == DRAFT.version, "{hint}");
    }
    assert_eq!(bench.run(&["list", "-o", "json", "--suite", DRAFT.version]).stdout, DRAFT.bytes);
    for command in [&["run"][..], &["list"], &["plan"], &["explain", "smi.api.release"]] {
        let output = bench.run(&[command, &["--suite", "0.9.0"]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        assert!(said.contains("'0.9.0'") && output.stdout.is_empty(), "{said}");
        assert!(said.contains(NEWEST.version) && said.contains(DRAFT.version), "those known are listed: {said}");
    }
}
