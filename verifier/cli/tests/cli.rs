//! The binary, with good and bad input, as a stranger would call it.

#![allow(clippy::unwrap_used)] // a test stops where it fails

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use smi_keys::SigningKey;
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_schemas::Timestamp;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_schemas::suite::{DRAFT, NEWEST};
use smi_verifier::policy::{Policy, Receipts, Suites};

fn vectors(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

/// `verify BUNDLE` with the vectors' keyring and suite.
fn verify(bundle: PathBuf, more: &[&str]) -> Output {
    verify_with(bundle, vectors("keyring.json"), more)
}

fn verify_with(bundle: PathBuf, keyring: PathBuf, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
    command.arg("verify").arg(bundle).arg("--keyring").arg(keyring).arg("--suite").arg(vectors("suite.json"));
    command.args(more).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_sound_bundle_is_accepted_and_ends_in_words() {
    let output = verify(vectors("sound.json"), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("The bundle is accepted.\nexit 0: success\n"), "{text}");
    assert!(text.contains("unknown   checkpoint"), "what is not checked is said: {text}");
    assert!(!text.contains('\u{1b}'), "no colours where no terminal is");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_receipt_is_checked_from_the_one_file() {
    let output = verify(vectors("completed.json"), &["--require-receipt"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("log       log.example.org, entry 3 of 7\n"), "{text}");
    let proven = "proven    logged by 2026-01-02T09:00:01Z, seen as the newest at 2026-01-02T09:00:00Z, by witness-1, witness-2\n";
    assert!(text.contains(proven), "{text}");
    for stage in ["checkpoint", "inclusion", "quorum", "in-force"] {
        assert!(text.contains(&format!("pass      {stage}\n")), "{stage}: {text}");
    }
    assert!(text.contains("unknown   freshness"), "{text}");
}

#[test]
fn every_vector_is_refused_with_its_code() {
    let index: serde_json::Value = serde_json::from_slice(&fs::read(vectors("vectors.json")).unwrap()).unwrap();
    for vector in index.as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let code = vector["code"].as_str().unwrap();
        let draft = vectors("suite-draft.json");
        // Times are fixed in the vectors and run on outside them.
        if ["policy-future", "receipt-stale"].contains(&code) {
            continue;
        }
        let bundle = vectors("bundles").join(name);
        let keyring = vectors(vector["keyring"].as_str().unwrap());
        let more = ["--for-publication", "--suite", draft.to_str().unwrap()];
        let own: &[&str] = match code {
            "policy-age" => &["--max-age", "1s"],
            "receipt-missing" => &["--require-receipt"],
            _ => &[],
        };
        let more = [&more, own].concat();
        let output = verify_with(bundle, keyring, &more);
        if code == "keyring-invalid" {
            assert_eq!(output.status.code(), Some(6), "{name}");
            assert!(stderr(&output).contains("error[keyring-invalid]"), "{name}: {}", stderr(&output));
        } else {
            let text = stdout(&output);
            assert_eq!(output.status.code(), Some(8), "{name}: {text}");
            assert!(text.contains(code) && text.ends_with("exit 8: refused\n"), "{name}: {text}");
        }
    }
}

#[test]
fn json_says_what_text_says() {
    let output = verify(vectors("bundles/status-does-not-follow.json"), &["-o", "json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(8));
    assert_eq!(verdict["accepted"], false);
    assert_eq!(verdict["exit"]["code"], 8);
    let outcomes: Vec<&str> =
        verdict["checks"].as_array().unwrap().iter().map(|c| c["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, [vec!["pass"; 7], vec!["fail"], vec!["unknown"; 6]].concat());
    assert_eq!(verdict["checks"][7]["findings"][0]["code"], "status-differs");
    assert!(verdict.get("result").is_none(), "nothing is repeated of a bundle that is not believed");
}

#[test]
fn what_is_claimed_unsupported_and_served_is_said() {
    let output = verify(vectors("claimed.json"), &["--require", "split=full"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "a claim changes nothing: {text}");
    for api in ["specs", "split"] {
        let line = text.lines().find(|line| line.starts_with(api)).unwrap();
        assert!(line.ends_with("  claimed unsupported, served in v1alpha4"), "{text}");
    }
    assert_eq!(text.matches("claimed unsupported").count(), 2, "{text}");
    let output = verify(vectors("claimed.json"), &["-o", "json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["result"]["apis"][2]["claimedUnsupported"], true);
    assert!(verdict["result"]["apis"][0].get("claimedUnsupported").is_none());
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    for (name, exit) in [("sound.json", 0), ("bundles/status-does-not-follow.json", 8)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
        command.arg("verify").arg(vectors(name)).arg("--keyring").arg(vectors("keyring.json"));
        let mut child = command.arg("--suite").arg(vectors("suite.json")).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(exit), "{name}");
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_seconds(i64::try_from(since.as_secs()).unwrap()).unwrap()
}

/// `verify --archive FOLDER`, and its lines.
fn archive(folder: &Path, more: &[&str]) -> (Option<i32>, Vec<serde_json::Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
    command.arg("verify").arg("--archive").arg(folder).arg("--keyring").arg(vectors("keyring.json"));
    command.arg("--suite").arg(vectors("suite.json")).arg("--suite").arg(vectors("suite-draft.json"));
    let output = command.args(["-o", "json"]).args(more).output().unwrap();
    let lines = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines)
}

#[test]
fn in_an_archive_each_bundle_gets_the_verdict_that_it_gets_alone() {
    let folder = vectors("bundles");
    let mut suites = Suites::builtin().unwrap();
    for name in ["suite.json", "suite-draft.json"] {
        suites.add(&fs::read(vectors(name)).unwrap()).unwrap();
    }
    let policy = Policy {
        keyring: Keyring::read(&fs::read(vectors("keyring.json")).unwrap()).unwrap().0,
        suites,
        allow_sandbox: false,
        allow_draft: false,
        publication: true,
        receipts: Receipts::Read,
        max_age_seconds: None,
    };
    let (exit, mut lines) = archive(&folder, &["--for-publication"]);
    let summary = lines.pop().unwrap();
    let mut refused = 0;
    for line in &lines {
        let bundle = fs::read(folder.join(line["file"].as_str().unwrap())).unwrap();
        let alone = smi_verifier::verify(&bundle, &policy, now());
        assert_eq!(line["accepted"], alone.is_ok(), "{line}");
        let grounds = alone.err().map(|refused| refused.findings).unwrap_or_default();
        let told: Vec<_> =
            line["findings"].as_array().into_iter().flatten().map(|found| found["code"].clone()).collect();
        let grounds: Vec<_> = grounds.iter().map(|finding| serde_json::json!(finding.code)).collect();
        assert_eq!(told, grounds, "{line}");
        refused += u64::from(line["accepted"] == false);
    }
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!((exit, lines.len(), summary["refused"].as_u64()), (Some(8), files, Some(refused)), "{summary}");
}

#[test]
fn an_archive_is_accepted_when_all_of_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, vector: &str| fs::copy(vectors(vector), folder.path().join(name)).map(drop).unwrap();
    let (exit, lines) = archive(folder.path(), &[]);
    assert_eq!((exit, lines.len()), (Some(6), 0), "an empty one was not meant");
    for name in ["b.json", "a.json", "c.json"] {
        put(name, "completed.json");
    }
    put("notes.txt", "vectors.json");
    let (exit, lines) = archive(folder.path(), &["--require-receipt"]);
    let names: Vec<_> = lines.iter().filter_map(|line| line["file"].as_str()).collect();
    assert_eq!((exit, names), (Some(0), vec!["a.json", "b.json", "c.json"]));
    assert_eq!((&lines[3]["accepted"], &lines[3]["exit"]["code"]), (&3.into(), &0.into()));
    let (exit, lines) = archive(folder.path(), &["--require", "specs=full"]);
    assert_eq!((exit, &lines[0]["unmet"][0]), (Some(3), &"specs=full".into()));
    // Checkpoints that differ in a byte are different ones.
    put("d.json", "bundles/receipt-checkpoint-changed.json");
    put("e.json", "bundles/receipt-without-quorum.json");
    let (exit, lines) = archive(folder.path(), &[]);
    let accepted: Vec<_> = lines.iter().filter(|line| line["accepted"] == true).collect();
    assert_eq!((exit, accepted.len()), (Some(8), 3));
    assert_eq!(lines[3]["findings"][0]["code"], "receipt-checkpoint");
    assert_eq!(lines[4]["findings"][0]["code"], "receipt-quorum");

    let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
    command.arg("verify").arg("--archive").arg(folder.path()).arg("--keyring").arg(vectors("keyring.json"));
    let text = stdout(&command.arg("--suite").arg(vectors("suite.json")).output().unwrap());
    assert!(
        text.contains("accepted  a.json  sha256:") && text.contains("refused   d.json  receipt-checkpoint ("),
        "{text}"
    );
    assert!(text.ends_with("Of 5 bundles, 3 are accepted and 2 refused.\nexit 8: refused\n"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_from_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::copy(vectors("completed.json"), path("a.json")).unwrap();
    fs::copy(vectors("completed.json"), path("d.json")).unwrap();
    // Neither is a file, and nobody ever writes into the second.
    fs::create_dir(path("b.json")).unwrap();
    assert!(Command::new("mkfifo").arg(path("c.json")).status().unwrap().success());
    let (exit, lines) = archive(folder.path(), &[]);
    let names: Vec<_> = lines.iter().filter_map(|line| line["file"].as_str()).collect();
    assert_eq!((exit, names), (Some(0), vec!["a.json", "d.json"]));
    // One that leads nowhere.
    std::os::unix::fs::symlink(path("nothing"), path("b1.json")).unwrap();
    let (exit, lines) = archive(folder.path(), &[]);
    let accepted: Vec<_> = lines.iter().filter_map(|line| line["accepted"].as_bool()).collect();
    assert_eq!((exit, accepted), (Some(8), vec![true, false, true]), "{lines:#?}");
    assert_eq!((&lines[1]["file"], &lines[1]["findings"][0]["code"]), (&"b1.json".into(), &"file-unreadable".into()));
}

#[test]
fn requirements_decide_the_exit_and_nothing_else() {
    let output = verify(vectors("sound.json"), &["--require", "split=full", "--require", "access=compliant"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let output = verify(vectors("sound.json"), &["--require", "specs=full"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("The bundle is accepted.") && text.contains("unmet     --require specs=full"), "{text}");
    let output = verify(vectors("sound.json"), &["--require", "mesh=full"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn what_is_withheld_is_accepted_unless_publication_is_asked_for() {
    let trial = vectors("bundles/trial.json");
    let output = verify(trial.clone(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("A publisher would withhold it:\n  policy-trial"), "{}", stdout(&output));
    assert_eq!(verify(trial, &["--for-publication"]).status.code(), Some(8));
}

#[test]
fn the_sandbox_and_drafts_are_admitted_only_when_asked() {
    let sandbox = vectors("bundles/sandbox.json");
    assert_eq!(verify(sandbox.clone(), &[]).status.code(), Some(8));
    assert_eq!(verify(sandbox, &["--allow-sandbox"]).status.code(), Some(0));
    let draft = vectors("suite-draft.json");
    let known = ["--suite", draft.to_str().unwrap()];
    assert_eq!(verify(vectors("bundles/draft.json"), &known).status.code(), Some(8));
    assert_eq!(
        verify(vectors("bundles/draft.json"), &[&known[..], &["--allow-draft"]].concat()).status.code(),
        Some(0)
    );
}

#[test]
fn a_released_suite_is_told_from_any_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let key = SigningKey::from_seed([7; 32]);
    let mut keyring = Keyring::default();
    keyring.add(Entry::new("programme".parse().unwrap(), Role::Suite, key.public())).unwrap();
    let keyring = write("keyring.json", &keyring.to_bytes());
    let versioned =
        Versioned { version: NEWEST.version.parse().unwrap(), digest: smi_schemas::Digest::of(NEWEST.bytes) };
    let release = Release::of(versioned, "2026-01-02T08:00:00Z".parse().unwrap()).unwrap();
    let release = write("release.json", &key.sign_statement(&release.to_bytes()).to_bytes());
    let check = |file: &PathBuf, release: &PathBuf| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
        command.arg("suite").arg(file).arg("--release").arg(release).arg("--keyring").arg(&keyring).output().unwrap()
    };

    let suite = write("suite.json", NEWEST.bytes);
    let output = check(&suite, &release);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(text.starts_with(&format!("suite     {}, sha256:", NEWEST.version)), "{text}");
    assert!(text.contains("signer    programme, key ") && text.contains("released at 2026-01-02T08:00:00Z"), "{text}");
    assert!(text.contains("pass      suite\nunknown   checkpoint  no receipt"), "{text}");
    assert!(text.ends_with("\n\nThe suite is released.\nexit 0: success\n"), "{text}");

    let longer = write("longer.json", &[NEWEST.bytes, b" "].concat());
    for (file, release, code) in [
        (&longer, &release, "suite-digest"),
        (&write("draft.json", DRAFT.bytes), &release, "suite-digest"),
        (&suite, &vectors("sound.json"), "key-unknown"),
        (&suite, &suite, "bundle-shape"),
    ] {
        let output = check(file, release);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(8), "{code}: {text}");
        assert!(text.contains(code) && text.ends_with("The release is refused.\nexit 8: refused\n"), "{text}");
        assert!(!text.contains("claimed"), "nothing is repeated of a release that is not believed: {text}");
    }
    let output = check(&keyring, &release);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error[suite-invalid]"), "{}", stderr(&output));
}

#[test]
fn a_bundle_may_come_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smi-verifier"));
    command.args(["verify", "-", "--keyring"]).arg(vectors("keyring.json")).arg("--suite").arg(vectors("suite.json"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(vectors("sound.json")).unwrap()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn files_that_cannot_be_used_are_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.json");
    let garbage = folder.path().join("garbage.json");
    fs::write(&garbage, "{").unwrap();
    let cases = [
        (verify(absent.clone(), &[]), 2, "file-unreadable", &absent),
        (verify(folder.path().to_owned(), &[]), 2, "file-unreadable", &folder.path().to_owned()),
        (verify_with(vectors("sound.json"), absent.clone(), &[]), 2, "file-unreadable", &absent),
        (verify_with(vectors("sound.json"), garbage.clone(), &[]), 6, "keyring-invalid", &garbage),
        (verify(vectors("sound.json"), &["--suite", garbage.to_str().unwrap()]), 2, "suite-invalid", &garbage),
    ];
    for (output, exit, code, path) in cases {
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        assert!(text.contains(&format!("error[{code}]")) && text.contains("remedy: "), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.lines().last().unwrap().starts_with(&format!("exit {exit}: ")), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_endless_bundle_is_not_read_to_its_end() {
    let output = verify(PathBuf::from("/dev/zero"), &[]);
    assert_eq!(output.status.code(), Some(8));
    assert!(stdout(&output).contains("bundle-too-large"), "{}", stdout(&output));
}
