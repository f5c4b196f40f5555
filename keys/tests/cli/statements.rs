//! The statements that are signed, and those that are not.

use std::fs;

use smi_keys::SigningKey;
use smi_keys::keyring::Keyring;
use smi_schemas::Digest;
use smi_schemas::bundle::{Bundle, LogEntry, MAX_SIGNATURES, Signature};
use smi_schemas::record::{KeyringChange, Predicate, Record, Release, Review, Supersession, Verdict, Withdrawal};
use smi_schemas::suite::{DRAFT, NEWEST};

use super::{Bench, Run, with_roots};

#[test]
fn a_released_suite_is_signed_and_a_draft_is_not() {
    let bench = Bench::new();
    let key_id = bench.done("generate --out suite.pem --no-encrypt");
    fs::write(bench.path("released.json"), NEWEST.bytes).unwrap();
    let payload = bench.done("statement suite released.json --key suite.pem --out released.sigstore.json");
    let bundle = Bundle::read(bench.read("released.sigstore.json").as_bytes()).unwrap();
    assert_eq!(payload, format!("{}\n", bundle.payload_digest()));
    assert_eq!(bundle.signature.keyid, key_id.trim_end());
    let release = Record::<Release>::read(&bundle.payload).unwrap();
    assert_eq!((release.says.version.as_str(), release.subject), (NEWEST.version, Digest::of(NEWEST.bytes)));

    let sign = |file: &str, key: &str| format!("statement suite {file} --key {key} --out x.json");
    bench.refused("statement suite released.json --key suite.pem --out released.sigstore.json", 2, "file-exists");
    fs::write(bench.path("draft.json"), DRAFT.bytes).unwrap();
    bench.refused(&sign("draft.json", "suite.pem"), 2, "suite-draft");
    bench.write("torn.json", "{");
    bench.refused(&sign("torn.json", "suite.pem"), 2, "suite-invalid");
    bench.refused(&sign("absent.json", "suite.pem"), 2, "file-unreadable");
    bench.refused(&sign("released.json", "suite.pub"), 6, "key-file-format");
    assert!(!bench.path("x.json").exists());
}

/// A bench with the bundles of two results and a key.
fn with_results() -> Bench {
    const RESULT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"smi-runner","digest":{"sha256":"1111111111111111111111111111111111111111111111111111111111111111"}}],"predicateType":"https://smi-spec.io/conformance/result/v1","predicate":{"schemaVersion":1,"run":{"id":"000102030405060708090a0b0c0d0e0f","purpose":"trial","startedAt":"2026-11-21T08:00:00Z","finishedAt":"2026-11-21T08:00:01Z","seed":"0001020304050607","interrupted":false},"suite":{"version":"1.0.0-draft","digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222"},"runner":{"version":"0.1.0","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"agent":{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"target":{"kind":"sandbox"},"mesh":{"slug":"sandbox","version":"0.1.0","profile":"sha256:1111111111111111111111111111111111111111111111111111111111111111","enforcing":"on"},"apis":{"access":"v1alpha3","specs":"v1alpha4"},"crds":[],"filters":{"run":["nothing"],"skip":[]},"overrides":{},"assertions":[]}}"#;
    let bench = Bench::new();
    bench.done("generate --out key.pem --no-encrypt");
    let key = SigningKey::from_seed([1; 32]);
    bench.write("old.json", key.sign_statement(RESULT.as_bytes()).to_bytes());
    let newer = RESULT.replace("08:00:01Z", "09:00:00Z");
    bench.write("new.json", key.sign_statement(newer.as_bytes()).to_bytes());
    bench.write("other.json", key.sign_statement(b"{}").to_bytes());
    let mut untyped = key.sign_statement(RESULT.as_bytes());
    untyped.payload_type = "text/plain".to_owned();
    bench.write("untyped.json", untyped.to_bytes());
    bench
}

fn payload(bench: &Bench, name: &str) -> Digest {
    Bundle::read(bench.read(name).as_bytes()).unwrap().payload_digest()
}

/// What was signed, by whom it says it was, and the digest that was printed.
fn record<P: Predicate>(bench: &Bench, name: &str, printed: &str) -> Record<P> {
    let bundle = Bundle::read(bench.read(name).as_bytes()).unwrap();
    assert_eq!(printed, format!("{}\n", bundle.payload_digest()));
    assert_eq!((bundle.further.len(), bundle.log_entry), (0, None));
    Record::read(&bundle.payload).unwrap()
}

#[test]
fn a_review_says_yes_or_no_of_a_result() {
    let bench = with_results();
    let (old, mut reviewed) = (payload(&bench, "old.json"), Vec::new());
    let by_digest = format!("--result {old} --reject");
    for (of, out) in [("--bundle old.json --accept", "yes.json"), (by_digest.as_str(), "no.json")] {
        let mut command = bench.command(&format!("statement review {of} --key key.pem --out {out}"));
        let run = Run::of(command.args(["--reason", "The images are of release 2.3."]));
        assert!(run.stderr.ends_with(&format!("next: smi-runner submit {out} --to URL\n")), "{}", run.stderr);
        let review = record::<Review>(&bench, out, &run.stdout);
        assert_eq!((review.subject, review.says.reason.as_str()), (old, "The images are of release 2.3."));
        reviewed.push(review.says.verdict);
    }
    assert_eq!(reviewed, [Verdict::Accept, Verdict::Reject]);
}

#[test]
fn a_result_is_withdrawn() {
    let bench = with_results();
    let printed =
        bench.done("statement withdrawal --bundle old.json --reason Mistaken. --key key.pem --out withdrawal.json");
    let withdrawal = record::<Withdrawal>(&bench, "withdrawal.json", &printed);
    assert_eq!((withdrawal.subject, withdrawal.says.reason.as_str()), (payload(&bench, "old.json"), "Mistaken."));
    let again = "statement withdrawal --bundle old.json --reason Mistaken. --key key.pem --out withdrawal.json";
    bench.refused(again, 2, "file-exists");
}

#[test]
fn a_result_stands_in_the_place_of_another_but_not_of_itself() {
    let bench = with_results();
    let (old, new) = (payload(&bench, "old.json"), payload(&bench, "new.json"));
    let of = |old: &str, new: &str, out: &str| {
        format!("statement supersession {old} {new} --reason Again. --key key.pem --out {out}")
    };
    let by_digest = (format!("--result {old}"), format!("--by {new}"));
    for (out, old_arg, new_arg) in
        [("a.json", "--bundle old.json", "--by-bundle new.json"), ("b.json", &by_digest.0, &by_digest.1)]
    {
        let printed = bench.done(&of(old_arg, new_arg, out));
        let supersession = record::<Supersession>(&bench, out, &printed);
        assert_eq!((supersession.subject, supersession.says.by), (old, new));
    }
    bench.refused(&of("--bundle old.json", &format!("--by {old}"), "c.json"), 2, "supersedes-itself");
    bench.run(&of("--bundle old.json", "", "c.json")).assert_usage("--by");
    bench.run(&of("--bundle old.json", &format!("--by {new} --by-bundle new.json"), "c.json")).assert_usage("--by");
    assert!(!bench.path("c.json").exists());
}

#[test]
fn what_a_record_is_about_is_a_result_given_once() {
    let bench = with_results();
    let old = payload(&bench, "old.json");
    let review = |rest: &str| format!("statement review {rest} --key key.pem --out x.json");
    bench.run(&review("--accept --reason Fine.")).assert_usage("--result");
    let both = format!("--bundle old.json --result {old} --accept --reason Fine.");
    bench.run(&review(&both)).assert_usage("--result");
    bench.run(&review("--bundle old.json --reason Fine.")).assert_usage("--accept");
    bench.run(&review("--bundle old.json --accept --reject --reason Fine.")).assert_usage("--accept");
    bench.run(&review("--bundle old.json --accept")).assert_usage("--reason");
    bench.run(&review(&format!("--result {} --accept --reason Fine.", old.hex()))).assert_usage("sha256:");
    let long = "x".repeat(501);
    bench.run(&review(&format!("--bundle old.json --accept --reason {long}"))).assert_usage("1 to 500");
    bench.write("torn.json", "{");
    for (file, about) in
        [("torn.json", "not JSON"), ("other.json", "_type"), ("untyped.json", "payloadType is \"text/plain\"")]
    {
        let refusal = bench.refused(&review(&format!("--bundle {file} --accept --reason Fine.")), 2, "bundle-invalid");
        assert!(refusal.contains(file) && refusal.contains(about), "{refusal}");
    }
    bench.refused(&review("--bundle absent.json --accept --reason Fine."), 2, "file-unreadable");
    let public = "statement review --bundle old.json --accept --reason Fine. --key key.pub --out x.json";
    bench.refused(public, 6, "key-file-format");
    assert!(!bench.path("x.json").exists());
}

#[test]
fn a_first_keyring_and_a_change_of_it_are_signed() {
    let bench = with_roots();
    let run = bench.run("statement keyring v6.json --key a.pem --out first.json");
    assert!(run.stderr.contains("keyring version 6, ") && run.stderr.contains("the first of a log"), "{}", run.stderr);
    assert!(run.stderr.contains("signatures 1 of 2\nnext: smi-keys statement sign first.json"), "{}", run.stderr);
    let first = record::<KeyringChange>(&bench, "first.json", &run.stdout);
    assert_eq!((first.says.version, first.says.previous), (6, None));
    assert_eq!(first.says.keyring(), bench.read("v6.json").into_bytes());

    let printed = bench.done("statement keyring v7.json --previous v6.json --key b.pem --out change.json");
    let change = record::<KeyringChange>(&bench, "change.json", &printed);
    assert_eq!(change.subject, Digest::of(bench.read("v7.json").as_bytes()));
    assert_eq!(change.says.previous, Some(Digest::of(bench.read("v6.json").as_bytes())));

    let run = bench.run("statement keyring v5.json --key a.pem --out one.json");
    assert!(run.stderr.ends_with("signatures 1 of 1\nnext: smi-runner submit one.json --to URL\n"), "{}", run.stderr);
}

#[test]
fn as_many_must_sign_as_either_keyring_asks_for() {
    let bench = with_roots();
    fs::copy(bench.path("v7.json"), bench.path("v8.json")).unwrap();
    bench.done("keyring set --keyring v8.json --threshold 1");
    for (raised_or_lowered, before) in [("v6.json", "v5.json"), ("v8.json", "v7.json")] {
        let change = format!("statement keyring {raised_or_lowered} --previous {before} --key a.pem --out to-{before}");
        let run = bench.run(&change);
        assert!(run.stderr.contains("signatures 1 of 2\nnext: smi-keys statement sign to-v"), "{}", run.stderr);
    }
}

#[test]
fn a_keyring_that_does_not_follow_is_not_signed() {
    let bench = with_roots();
    let sign = |new: &str, old: &str| format!("statement keyring {new} --previous {old} --key a.pem --out x.json");
    bench.refused(&sign("v6.json", "v6.json"), 2, "keyring-succession");
    let refusal = bench.refused(&sign("v6.json", "v7.json"), 2, "keyring-succession");
    assert!(refusal.contains("v6.json: version 6 is not later than version 7"), "{refusal}");
    bench.write("renamed.json", bench.read("v7.json").replace(r#""name": "b""#, r#""name": "d""#));
    assert!(bench.refused(&sign("renamed.json", "v6.json"), 2, "keyring-succession").contains("key b was altered"));
    bench.write("torn.json", "{");
    bench.refused(&sign("torn.json", "v6.json"), 6, "keyring-invalid");
    bench.refused(&sign("v7.json", "torn.json"), 6, "keyring-invalid");
    bench.refused(&sign("v7.json", "absent.json"), 2, "file-unreadable");
    assert!(!bench.path("x.json").exists());
}

#[test]
fn only_a_root_key_in_force_signs_keyrings() {
    let bench = with_roots();
    let refusal = bench.refused("statement keyring v7.json --key acme.pem --out x.json", 2, "signer-not-root");
    assert!(refusal.contains("v7.json: key id "), "{refusal}");
    fs::copy(bench.path("v7.json"), bench.path("v8.json")).unwrap();
    bench.done("keyring revoke --keyring v8.json --key c --all");
    let revoked = "statement keyring v8.json --previous v7.json --key c.pem --out x.json";
    bench.refused(revoked, 2, "signer-not-root");
    bench.done("generate --out new.pem --no-encrypt");
    fs::copy(bench.path("v8.json"), bench.path("v9.json")).unwrap();
    bench.done("keyring add --keyring v9.json --role root --key new.pub");
    let added = "statement keyring v9.json --previous v8.json --key new.pem --out x.json";
    assert!(bench.refused(added, 2, "signer-not-root").contains("v8.json: key id "));
    bench.done("keyring init --keyring empty.json");
    bench.refused("statement keyring empty.json --key a.pem --out x.json", 2, "log-key-missing");
    assert!(!bench.path("x.json").exists());
}

#[test]
fn a_change_is_signed_by_one_root_after_the_other() {
    let bench = with_roots();
    bench.done("statement keyring v7.json --previous v6.json --key a.pem --out one.json");
    // What a publisher added is of the bundle before, and goes.
    let one = Bundle::read(bench.read("one.json").as_bytes()).unwrap();
    let entry = LogEntry {
        index: 0,
        log_id: [0; 32],
        root: [0; 32],
        size: 1,
        hashes: Vec::new(),
        checkpoint: String::new(),
        body: Vec::new(),
    };
    bench.write("logged.json", Bundle { log_entry: Some(entry), ..one.clone() }.to_bytes());

    let run = bench.run("statement sign logged.json --key b.pem --out two.json");
    assert!(run.stderr.contains("keyring version 7, "), "{}", run.stderr);
    assert!(run.stderr.ends_with("signatures 2 of 2\nnext: smi-runner submit two.json --to URL\n"), "{}", run.stderr);
    let two = Bundle::read(bench.read("two.json").as_bytes()).unwrap();
    assert_eq!(run.stdout, format!("{}\n", one.payload_digest()));
    assert_eq!((&two.payload, &two.signature, two.further.len()), (&one.payload, &one.signature, 1));
    assert_eq!(two.log_entry, None);
    let (keyring, _) = Keyring::read(bench.read("v7.json").as_bytes()).unwrap();
    for signature in two.signatures() {
        let key = keyring.find(&signature.keyid.parse().unwrap()).unwrap().public_key;
        assert!(key.verify(&two.signed_bytes(), &signature.sig));
    }
    bench.done("statement sign two.json --key c.pem --out three.json");

    for key in ["a.pem", "b.pem"] {
        bench.refused(&format!("statement sign two.json --key {key} --out x.json"), 2, "signed-already");
    }
    bench.refused("statement sign two.json --key acme.pem --out x.json", 2, "signer-not-root");
    bench.refused("statement sign two.json --key c.pem --out one.json", 2, "file-exists");
    bench.refused("statement sign v7.json --key c.pem --out x.json", 2, "bundle-invalid");
    bench.refused("statement sign absent.json --key c.pem --out x.json", 2, "file-unreadable");

    let lying = Record::<KeyringChange>::read(&one.payload).unwrap().says;
    let lying = KeyringChange::of(8, &lying.keyring(), lying.previous, lying.changed_at).unwrap();
    bench.write("lying.json", SigningKey::from_seed([1; 32]).sign_statement(&lying.to_bytes()).to_bytes());
    bench.refused("statement sign lying.json --key c.pem --out x.json", 2, "bundle-invalid");

    let mut forged = two.clone();
    forged.further[0].sig[0] ^= 1;
    bench.write("forged.json", forged.to_bytes());
    let refusal = bench.refused("statement sign forged.json --key c.pem --out x.json", 8, "signature-invalid");
    assert!(refusal.contains("is of no root key of the keyring"), "{refusal}");
    let stranger = SigningKey::from_seed([1; 32]).sign_statement(&one.payload);
    bench.write("stranger.json", stranger.to_bytes());
    bench.refused("statement sign stranger.json --key c.pem --out x.json", 8, "signature-invalid");
    let strangers =
        (two.signatures().count()..MAX_SIGNATURES).map(|number| Signature { keyid: number.to_string(), sig: vec![0] });
    let mut full = two.clone();
    full.further.extend(strangers);
    bench.write("full.json", full.to_bytes());
    bench.refused("statement sign full.json --key c.pem --out x.json", 2, "signatures-full");
    assert!(!bench.path("x.json").exists());
}

#[test]
fn what_speaks_for_one_signer_is_signed_by_one() {
    let bench = with_results();
    bench.done("statement withdrawal --bundle old.json --reason Mistaken. --key key.pem --out withdrawal.json");
    for (file, kind) in [("old.json", "result/v1"), ("withdrawal.json", "withdrawal/v1")] {
        let refusal = bench.refused(&format!("statement sign {file} --key key.pem --out x.json"), 2, "signed-by-one");
        assert!(refusal.contains(kind), "{refusal}");
    }
    bench.refused("statement sign untyped.json --key key.pem --out x.json", 2, "bundle-invalid");
    assert!(!bench.path("x.json").exists());
}
