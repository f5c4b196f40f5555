//! The fuzzers in `tests/fuzz`: what they begin with is made of the vectors, and what they are built of is what is
//! shipped. `SMI_UPDATE=1` writes the seeds anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use smi_keys::SigningKey;
use smi_keys::keyring::Keyring;
use smi_keys::pem::encode_plain;
use smi_schemas::Digest;
use smi_schemas::bundle::Bundle;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_schemas::suite::{Assertion, DRAFT, Suite};
use smi_tests::programme::{changed, review, supersession, withdrawal};
use smi_tests::vectors::{self, ORIGIN, key};
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, Note, NoteSignature, sign_checkpoint};
use smi_verifier::proof::{AddCheckpoint, TlogProof};
use smi_verifier::receipt::log_key;

/// Seeds by target and name. Beside them are others, which were written by hand or found by a fuzzer.
#[derive(Default)]
struct Seeds(BTreeMap<String, Vec<u8>>);

impl Seeds {
    fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        assert!(self.0.insert(path.to_owned(), bytes.into()).is_none(), "{path} twice");
    }
}

#[test]
fn seeds_are_made_of_the_vectors() {
    let mut seeds = Seeds::default();
    bundles(&mut seeds);
    suites(&mut seeds);
    notes(&mut seeds);
    keys(&mut seeds);
    requests(&mut seeds);
    let folder = smi_tests::root().join("tests/fuzz/corpus");
    for (path, seed) in &seeds.0 {
        let path = folder.join(path);
        if smi_tests::update() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, seed).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_default();
        assert!(stored == *seed, "{} has drifted; SMI_UPDATE=1 rewrites it", path.display());
    }
}

/// What was signed: bundles, their envelopes, their payloads.
fn bundles(seeds: &mut Seeds) {
    let sound = vectors::sound();
    let result = Bundle::read(&sound).unwrap().payload_digest();
    // The log of the fuzzer for requests has both.
    let second = vectors::signed(|statement| statement.predicate.run.id = "f".repeat(32).parse().unwrap());
    let second = Bundle::read(&second).unwrap().payload_digest();
    let first = vectors::keyring_with(None);
    let mut next = first.clone();
    next.set(Some(1), Some(1)).unwrap();
    let suite = Versioned { version: "1.0.0".parse().unwrap(), digest: Digest::of(vectors::SUITE) };
    let release = Release::of(suite, vectors::now()).unwrap();
    let change = changed(&next, Some(Digest::of(&first.to_bytes())), &["root", "vendor", "reviewer"]);
    let all = [
        ("sound", sound),
        ("claimed", vectors::claimed()),
        ("keyring-change", change),
        ("review", review("reviewer", result, smi_schemas::record::Verdict::Accept)),
        ("release", key("suite").sign_statement(&release.to_bytes()).to_bytes()),
        ("withdrawal", withdrawal("vendor", result)),
        ("supersession", supersession("vendor", result, second)),
    ];
    for (name, bytes) in all {
        let bundle = Bundle::read(&bytes).unwrap();
        seeds.put(&format!("statement/{name}.json"), bundle.payload);
        // These are signed by keys of the keyring, and the fuzzers know of no others that are.
        if ["sound", "claimed", "keyring-change", "review"].contains(&name) {
            let file: Value = serde_json::from_slice(&bytes).unwrap();
            seeds.put(&format!("envelope/{name}.json"), file["dsseEnvelope"].to_string());
            seeds.put(&format!("bundle/{name}.json"), bytes);
        }
    }
    let completed = vectors::completed();
    seeds.put("envelope/leaf.json", Bundle::read(&completed).unwrap().log_entry.unwrap().body);
    seeds.put("bundle/completed.json", completed);
}

/// The vectors' suite; and of the draft an assertion for each word that none before it has, each as a suite.
fn suites(seeds: &mut Seeds) {
    seeds.put("suite/vectors.json", vectors::SUITE);
    let (draft, _) = Suite::read(DRAFT.bytes).unwrap();
    let mut known = BTreeSet::new();
    for assertion in &draft.assertions {
        let shapes = draft.shapes.iter().filter(|shape| Some(&shape.name) == assertion.shape.as_ref());
        let suite = Suite { assertions: vec![assertion.clone()], shapes: shapes.cloned().collect(), ..draft.clone() };
        let words = words(assertion);
        if !words.is_subset(&known) {
            known.extend(words);
            let bytes = serde_json::to_vec(&suite).unwrap();
            assert!(Suite::read(&bytes).is_ok(), "{}", assertion.id);
            seeds.put(&format!("suite/{}.json", assertion.id.tail()), bytes);
        }
    }
}

/// The words of the suite's vocabulary that an assertion is written in: the names of actions, expectations, questions
/// and flaws.
fn words(assertion: &Assertion) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let of = |value: &Value| match value {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => other.to_string(),
    };
    for phase in &assertion.phases {
        let phase = serde_json::to_value(phase).unwrap();
        let list = |name: &str| phase[name].as_array().cloned().unwrap_or_default();
        words.extend(list("actions").iter().map(of));
        words.extend(list("actions").iter().map(|action| action["refuse"]["flaw"].to_string()));
        words.extend(list("expect").iter().map(|cell| of(&cell["expect"])));
        words.extend(list("metrics").iter().map(|question| of(&question["shows"])));
    }
    words
}

/// What the log and its witnesses sign, and what is proven under it.
fn notes(seeds: &mut Seeds) {
    let entry = Bundle::read(&vectors::completed()).unwrap().log_entry.unwrap();
    let note = Note::read(entry.checkpoint.as_bytes()).unwrap();
    seeds.put("note/checkpoint", note.to_bytes());
    let cosignatures: String = note.signatures()[1..].iter().map(NoteSignature::to_line).collect();
    seeds.put("note/cosignatures", cosignatures);
    seeds.put("note/vkey", log_key(&vectors::keyring()).unwrap().to_string());
    seeds.put("checkpoint/note", note.to_bytes());
    seeds.put("checkpoint/text", note.text());
    seeds.put("checkpoint/empty", Checkpoint::new(ORIGIN, 0, Hash::EMPTY).unwrap().to_string());
    let largest = Checkpoint::new("a", u64::MAX, Hash::of_leaf(b"")).unwrap();
    seeds.put("checkpoint/largest", largest.to_string());

    // The tree of the fuzzer for proofs.
    let mut tree = Tree::default();
    (0..70_u64).for_each(|index| tree.push(Hash::of_leaf(&index.to_be_bytes())));
    let checkpoint = sign_checkpoint(&Checkpoint::new(ORIGIN, 70, tree.root()).unwrap(), &key("log"));
    let proof = |index, extra: Option<&[u8]>| TlogProof {
        index,
        hashes: tree.inclusion(index, 70).unwrap(),
        checkpoint: checkpoint.clone(),
        extra: extra.map(<[u8]>::to_vec),
    };
    seeds.put("proof/first", proof(0, None).to_bytes());
    seeds.put("proof/last-with-extra", proof(69, Some(b"not signed")).to_bytes());
    let note_bytes = checkpoint.to_bytes();
    let request =
        |old| AddCheckpoint { old, proof: tree.consistency(old, 70).unwrap(), note_bytes: note_bytes.clone() };
    for old in [0, 33, 64] {
        seeds.put(&format!("proof/from-{old}"), request(old).to_bytes());
        seeds.put(&format!("witness/from-{old}"), request(old).to_bytes());
    }
    // What the fuzzer's witness saw last, once more.
    let again = sign_checkpoint(&Checkpoint::new(ORIGIN, 33, tree.root_at(33).unwrap()).unwrap(), &key("log"));
    let again = AddCheckpoint { old: 33, proof: Vec::new(), note_bytes: again.to_bytes() };
    seeds.put("witness/again", again.to_bytes());
    seeds.put("proof/size", "70\n");
}

/// Keyrings, and keys as text.
fn keys(seeds: &mut Seeds) {
    seeds.put("keyring/vectors.json", vectors::keyring().to_bytes());
    let compact = |keyring: &Keyring| -> Vec<u8> {
        let value: Value = serde_json::from_slice(&keyring.to_bytes()).unwrap();
        value.to_string().into()
    };
    seeds.put("keyring/compact.json", compact(&vectors::keyring_with(None)));
    seeds.put("text/public.pem", key("vendor").public().to_spki_pem());
    // From a seed that everybody knows.
    seeds.put("text/private.pem", encode_plain(&SigningKey::from_seed([7; 32])).unwrap().as_bytes());
    seeds.put("text/public.base64", key("vendor").public().to_base64());
    seeds.put("text/key-id", key("vendor").public().key_id().to_string());
    seeds.put("text/digest", Digest::of(b"").to_string());
    seeds.put("text/time", vectors::NOW);
}

/// Submissions. The fuzzer signs the body with the key that a header names.
fn requests(seeds: &mut Seeds) {
    let statements: Vec<(String, Vec<u8>)> = seeds
        .0
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix("statement/")?.to_owned(), bytes.clone())))
        .collect();
    for (name, payload) in statements {
        let signer = match name.as_str() {
            "keyring-change.json" => "root",
            "release.json" => "suite",
            "review.json" => "reviewer",
            "withdrawal.json" | "supersession.json" => "careful-vendor",
            _ => "vendor",
        };
        let head = format!("POST /v1/bundles HTTP/1.1\nsign: {signer}\n\n");
        seeds.put(&format!("http/submit-{}", name.trim_end_matches(".json")), [head.into_bytes(), payload].concat());
    }
    let head = b"POST /v1/bundles HTTP/1.1\n\n";
    seeds.put("http/submit-signed", [&head[..], &vectors::completed()].concat());
    let payload = Bundle::read(&vectors::sound()).unwrap().payload_digest();
    for (name, path) in [
        ("bundle", format!("/v1/bundles/{payload}")),
        ("completed", format!("/v1/bundles/{payload}/completed")),
        ("tlog-proof", format!("/v1/bundles/{payload}/tlog-proof")),
        ("lookup", format!("/v1/lookup?sha256={}", payload.hex())),
    ] {
        seeds.put(&format!("http/read-{name}"), format!("GET {path} HTTP/1.1\n\n"));
    }
}

#[test]
fn fuzzers_are_built_of_what_is_shipped() {
    let locked = |path: &str| -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(smi_tests::root().join(path)).unwrap();
        let field = |package: &str, name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            line.unwrap_or_default().trim_end_matches('"').to_owned()
        };
        text.split("[[package]]").skip(1).map(|package| (field(package, "name"), field(package, "version"))).collect()
    };
    let (shipped, fuzzed) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    let own = ["arbitrary", "libfuzzer-sys", "smi-fuzz"];
    let other: Vec<_> = fuzzed.difference(&shipped).filter(|(name, _)| !own.contains(&name.as_str())).collect();
    assert!(fuzzed.len() > own.len() && other.is_empty(), "not in Cargo.lock: {other:?}; see tests/fuzz/README.md");
}
