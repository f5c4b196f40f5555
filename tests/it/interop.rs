//! Programs that nobody here wrote accept what is signed and published here, and refuse its tampered twins.

use std::fs;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use smi_schemas::bundle::Bundle;
use smi_tests::interop::{Witness, program};
use smi_tests::{everything, vectors};
use tokio::runtime::Runtime;

use crate::twins::{
    BUNDLE, Fault, PAYLOAD, SAMPLE, Twin, add, edited, flip, flipped, larger, neighbour, other_log, other_origin,
    other_root, other_signature, other_signature_at, reword, smaller, spki,
};

fn twins() -> (Bundle, Bundle) {
    let sound = Bundle::read(&vectors::sound()).unwrap();
    let mut tampered = sound.clone();
    let at = tampered.payload.iter().position(|byte| *byte == b'7').unwrap();
    tampered.payload[at] = b'8';
    (sound, tampered)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn openssl_checks_the_pre_authentication_encoding() {
    if !everything("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (sound, tampered) = twins();
    let public = file("vendor.pub", vectors::key("vendor").public().to_spki_pem().as_bytes());
    let signature = file("sig", &sound.signature.sig);
    for (bundle, accepted) in [(sound, true), (tampered, false)] {
        let pae = file("pae", &bundle.signed_bytes());
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]).arg(&public);
        let output = run(openssl.arg("-in").arg(pae).arg("-sigfile").arg(&signature));
        assert_eq!(output.status.success(), accepted, "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn securesystemslib_checks_the_envelope() {
    if !everything("securesystemslib") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("vendor.pub");
    fs::write(&public, vectors::key("vendor").public().to_spki_pem()).unwrap();
    let (sound, tampered) = twins();
    for (bundle, accepted) in [(sound, true), (tampered, false)] {
        let path = folder.path().join("bundle.json");
        fs::write(&path, bundle.to_bytes()).unwrap();
        let (verdict, said) = verdict(python("envelope.py").args([&path, &public]));
        assert_eq!(verdict, accepted, "{said}");
    }
}

#[test]
fn securesystemslib_checks_a_completed_bundle() {
    let twins: &[Fault] = &[
        ("another payload", |twin| twin.json(BUNDLE, |bundle| reword(&mut bundle["dsseEnvelope"]["payload"]))),
        ("another signature", |twin| {
            twin.json(BUNDLE, |bundle| flip(&mut bundle["dsseEnvelope"]["signatures"][0]["sig"]));
        }),
        ("another payload type", |twin| {
            twin.json(BUNDLE, |bundle| bundle["dsseEnvelope"]["payloadType"] = json!("application/json"));
        }),
    ];
    hold("securesystemslib on a completed bundle", twins, |twin| {
        verdict(python("envelope.py").arg(twin.path(BUNDLE)).arg(twin.path("vendor.pub")))
    });
}

#[test]
fn in_toto_attestation_reads_the_statement() {
    let twins: &[Fault] = &[
        ("another statement type", |twin| twin.replace(PAYLOAD, "/Statement/v1\"", "/Statement/v2\"")),
        ("no subject", |twin| twin.json(PAYLOAD, |statement| statement["subject"] = json!([]))),
        ("a subject without digest", |twin| {
            twin.json(PAYLOAD, |statement| statement["subject"][0]["digest"] = json!({}));
        }),
        ("no predicate type", |twin| twin.json(PAYLOAD, |statement| statement["predicateType"] = json!(""))),
        ("a field twice", |twin| twin.replace(PAYLOAD, "{\"_type\":", "{\"_type\":\"\",\"_type\":")),
    ];
    hold("in-toto-attestation", twins, |twin| verdict(python("statement.py").arg(twin.path(PAYLOAD))));
}

/// What is wrong with a completed bundle, or with the keys that it is checked under.
const COMPLETED: &[Fault] = &[
    ("another payload", |twin| twin.json(BUNDLE, |bundle| reword(&mut bundle["dsseEnvelope"]["payload"]))),
    ("another signature", |twin| twin.json(BUNDLE, |bundle| flip(&mut bundle["dsseEnvelope"]["signatures"][0]["sig"]))),
    ("another signer", |twin| twin.copy("log.pub", "vendor.pub")),
    ("no log entry", |twin| {
        twin.json(BUNDLE, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
    }),
    ("another entry", |twin| twin.entry(|entry| flip(&mut entry["canonicalizedBody"]))),
    ("another index", |twin| {
        twin.entry(|entry| {
            let index = &mut entry["inclusionProof"]["logIndex"];
            *index = json!(neighbour(index.as_str().unwrap()));
        });
    }),
    ("another hash in the path", |twin| twin.entry(|entry| flip(&mut entry["inclusionProof"]["hashes"][0]))),
    ("a hash too few", |twin| twin.hashes(|hashes| drop(hashes.pop()))),
    ("a hash too many", |twin| twin.hashes(|hashes| hashes.push(hashes[0].clone()))),
    ("a checkpoint of one entry more", |twin| twin.in_bundle(larger)),
    ("a checkpoint of one entry fewer", |twin| twin.in_bundle(smaller)),
    ("a checkpoint with another root", |twin| twin.in_bundle(other_root)),
    ("a checkpoint of another origin", |twin| twin.in_bundle(other_origin)),
    ("a checkpoint with another signature", |twin| twin.in_bundle(other_signature)),
    ("another log's key", |twin| {
        let key = STANDARD.encode(spki(&twin.text("vendor.pub")));
        twin.json("trusted_root.json", |root| root["tlogs"][0]["publicKey"]["rawBytes"] = json!(key));
    }),
];

#[test]
fn sigstore_for_javascript_verifies_the_completed_bundle() {
    hold("@sigstore/verify", COMPLETED, |twin| {
        let mut node = Command::new(program("node/node").unwrap());
        node.arg(program("node/sigstore.mjs").unwrap());
        verdict(node.args([BUNDLE, "trusted_root.json", "vendor.pub"].map(|name| twin.path(name))))
    });
}

#[test]
fn sigstore_for_rust_verifies_the_completed_bundle() {
    hold("sigstore-verify", COMPLETED, |twin| {
        let mut sigstore = Command::new(program("sigstore/sigstore-rs").unwrap());
        verdict(sigstore.args([BUNDLE, "trusted_root.json", "vendor.pub"].map(|name| twin.path(name))))
    });
}

/// What is wrong with a receipt, with its entry, or with the key that it is checked under.
const RECEIPT: &[Fault] = &[
    ("another entry", |twin| twin.bytes("result.leaf", |leaf| leaf[0] ^= 1)),
    ("an entry with a line break", |twin| twin.bytes("result.leaf", |leaf| leaf.push(b'\n'))),
    ("another index", |twin| {
        twin.receipt(|head, _| {
            let line = head.iter_mut().find(|line| line.starts_with("index ")).unwrap();
            *line = format!("index {}", neighbour(&line["index ".len()..]));
        });
    }),
    ("another hash in the path", |twin| {
        twin.receipt(|head, _| {
            let last = head.pop().unwrap();
            head.push(flipped(&last));
        });
    }),
    ("a hash too few", |twin| twin.receipt(|head, _| drop(head.pop()))),
    ("a hash too many", |twin| twin.receipt(|head, _| head.push(head.last().unwrap().clone()))),
    ("another version of the format", |twin| twin.receipt(|head, _| head[0] += "0")),
    ("a checkpoint of one entry more", |twin| twin.receipt(|_, checkpoint| larger(checkpoint))),
    ("a checkpoint of one entry fewer", |twin| twin.receipt(|_, checkpoint| smaller(checkpoint))),
    ("a checkpoint with another root", |twin| twin.receipt(|_, checkpoint| other_root(checkpoint))),
    ("a checkpoint of another origin", |twin| twin.receipt(|_, checkpoint| other_origin(checkpoint))),
    ("a checkpoint with another signature", |twin| twin.receipt(|_, checkpoint| other_signature(checkpoint))),
    ("no signature", |twin| twin.receipt(|_, checkpoint| checkpoint.truncate(4))),
    ("another log's key", other_log),
];

#[test]
fn sumdb_verifies_the_receipt() {
    hold("golang.org/x/mod on the receipt", RECEIPT, |twin| {
        verdict(tlog("inclusion", twin).args(["result.tlog-proof", "result.leaf"].map(|name| twin.path(name))))
    });
}

#[test]
fn coreutils_and_openssl_verify_the_receipt() {
    hold("inclusion.sh", RECEIPT, |twin| {
        let mut bash = Command::new("bash");
        bash.arg(smi_tests::root().join("tests/interop/inclusion.sh"));
        verdict(bash.args(["result.leaf", "result.tlog-proof", "log.pub"].map(|name| twin.path(name))))
    });
}

#[test]
fn sumdb_verifies_the_checkpoint() {
    let twins: &[Fault] = &[
        ("one entry more", |twin| twin.lines("checkpoint", larger)),
        ("one entry fewer", |twin| twin.lines("checkpoint", smaller)),
        ("another root", |twin| twin.lines("checkpoint", other_root)),
        ("another origin", |twin| twin.lines("checkpoint", other_origin)),
        ("another signature", |twin| twin.lines("checkpoint", other_signature)),
        ("a line more", |twin| twin.lines("checkpoint", |lines| lines.insert(3, "more".to_owned()))),
        ("another log's key", other_log),
    ];
    hold("golang.org/x/mod on the checkpoint", twins, |twin| {
        verdict(tlog("checkpoint", twin).arg(twin.path("checkpoint")))
    });
}

#[test]
fn sumdb_verifies_the_consistency_proof() {
    const PROOF: &str = "consistency.json";
    let twins: &[Fault] = &[
        ("another hash", |twin| twin.json(PROOF, |proof| flip(&mut proof["hashes"][0]))),
        ("a hash too few", |twin| twin.json(PROOF, |proof| drop(proof["hashes"].as_array_mut().unwrap().pop()))),
        ("a hash too many", |twin| {
            twin.json(PROOF, |proof| {
                let hash = proof["hashes"][0].clone();
                proof["hashes"].as_array_mut().unwrap().push(hash);
            });
        }),
        ("another old root", |twin| twin.json(PROOF, |proof| flip(&mut proof["old"]["root"]))),
        ("another new root", |twin| twin.json(PROOF, |proof| flip(&mut proof["new"]["root"]))),
        ("an old tree of one entry more", |twin| twin.json(PROOF, |proof| add(&mut proof["old"]["size"], 1))),
        ("an old tree of one entry fewer", |twin| twin.json(PROOF, |proof| add(&mut proof["old"]["size"], -1))),
        ("a new tree of one entry more", |twin| twin.json(PROOF, |proof| add(&mut proof["new"]["size"], 1))),
        ("another log's key", other_log),
    ];
    hold("golang.org/x/mod on the consistency proof", twins, |twin| {
        verdict(tlog("consistency", twin).args([PROOF, "checkpoint"].map(|name| twin.path(name))))
    });
}

/// What is wrong with a log as it is read.
const TILES: &[Fault] = &[
    ("another entry", |twin| twin.bytes(&twin.first("log/tile/entries/"), |bundle| bundle[100] ^= 1)),
    ("an entry tile that ends early", |twin| {
        twin.bytes(&twin.first("log/tile/entries/"), |bundle| bundle.truncate(bundle.len() - 1));
    }),
    ("no entry tile", |twin| fs::remove_file(twin.path(&twin.first("log/tile/entries/"))).unwrap()),
    ("another hash in a tile", |twin| twin.bytes(&twin.first("log/tile/0/"), |tile| tile[40] ^= 1)),
    ("a tile that ends early", |twin| twin.bytes(&twin.first("log/tile/0/"), |tile| tile.truncate(tile.len() - 32))),
    ("no tile", |twin| fs::remove_file(twin.path(&twin.first("log/tile/0/"))).unwrap()),
    ("a checkpoint of one entry fewer", |twin| twin.lines("log/checkpoint", smaller)),
    ("a checkpoint with another root", |twin| twin.lines("log/checkpoint", other_root)),
    ("a checkpoint with another signature", |twin| twin.lines("log/checkpoint", other_signature)),
    ("no checkpoint", |twin| fs::remove_file(twin.path("log/checkpoint")).unwrap()),
    ("another log's key", other_log),
];

#[test]
fn sumdb_rebuilds_the_log() {
    hold("golang.org/x/mod on tiles", TILES, |twin| verdict(tlog("tiles", twin).arg(twin.path("log"))));
    if everything("golang.org/x/mod over HTTP") {
        let twin = Twin::of(&SAMPLE.folder);
        let (accepted, said) = verdict(tlog("tiles", &twin).arg(twin.text("url").trim()));
        assert!(accepted, "{said}");
    }
}

#[test]
fn fsck_of_tessera_rebuilds_the_log() {
    hold("fsck of Tessera", TILES, |twin| fsck(&format!("file://{}/", twin.path("log").display()), twin));
    if everything("fsck of Tessera over HTTP") {
        let twin = Twin::of(&SAMPLE.folder);
        let (accepted, said) = fsck(twin.text("url").trim(), &twin);
        assert!(accepted, "{said}");
    }
}

/// It always exits 0, so its verdict is in its words; and when a tile is wrong it waits for ever unless it has a
/// worker for every other tile.
fn fsck(url: &str, twin: &Twin) -> (bool, String) {
    let mut fsck = Command::new("timeout");
    fsck.arg("60").arg(program("fsck/fsck").unwrap()).args(["-ui=false", "-N=64", "-storage_url", url, "-public_key"]);
    let output = run(fsck.arg(twin.path("log.vkey")));
    let said = said(&output);
    let verdict = ["fsck failed", "Successfully fsck'd"].map(|words| said.contains(words));
    assert!(output.status.success() && verdict[0] != verdict[1], "it broke: {said}");
    (verdict[1], said)
}

/// A name, how it is refused, and what is shown. Where omniwitness answers otherwise than the specification says, any
/// refusal will do.
type Refused<'a> = (&'a str, Option<StatusCode>, u64, &'a [&'a str], &'a str);

#[test]
fn omniwitness_cosigns_a_log_that_only_grows() {
    if !everything("omniwitness") {
        return;
    }
    let twin = Twin::of(&SAMPLE.folder);
    let (origin, log) = (twin.text("origin"), twin.text("log.vkey"));
    let (old, new) = (twin.text("checkpoint.old"), twin.text("checkpoint"));
    let proof: Value = serde_json::from_str(&twin.text("consistency.json")).unwrap();
    let [from, to] = ["old", "new"].map(|end| proof[end]["size"].as_u64().unwrap());
    let hashes: Vec<&str> = proof["hashes"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap()).collect();
    let other = flipped(hashes[0]);
    let tampered = [&[&*other], &hashes[1..]].concat();

    let witness = Witness::start(&twin.path(""), origin.trim(), log.trim()).unwrap();
    twin.write("policy", &format!("log {}\nwitness w {}\nquorum w\n", log.trim(), witness.vkey));
    let quorum = |checkpoint: &str| {
        twin.write("cosigned", checkpoint);
        verdict(tlog("checkpoint", &twin).arg(twin.path("cosigned")))
    };

    let line = cosignature(show(&witness, 0, &[], &old));
    let (accepted, said) = quorum(&format!("{old}{line}"));
    assert!(accepted, "{said}");
    for (name, checkpoint) in [
        ("no cosignature", old.clone()),
        ("another cosignature", format!("{old}{}", edited(&line, |lines| other_signature_at(lines, 0)))),
        ("a cosignature of another tree", format!("{new}{line}")),
    ] {
        let (accepted, said) = quorum(&checkpoint);
        assert!(!accepted, "accepted with {name}: {said}");
    }

    let refused: &[Refused] = &[
        ("another hash in the proof", Some(StatusCode::UNPROCESSABLE_ENTITY), from, &tampered, &new),
        ("no proof", Some(StatusCode::UNPROCESSABLE_ENTITY), from, &[], &new),
        ("from a smaller tree", Some(StatusCode::CONFLICT), from - 1, &hashes, &new),
        ("from a larger tree", Some(StatusCode::BAD_REQUEST), to + 1, &hashes, &new),
        ("no hash in the proof", Some(StatusCode::BAD_REQUEST), from, &["no hash"], &new),
        ("not signed by the log", None, from, &hashes, &edited(&new, larger)),
        ("not signed at all", None, from, &hashes, &edited(&new, |lines| lines.truncate(4))),
        ("of an unknown log", None, from, &hashes, &edited(&new, other_origin)),
    ];
    for (name, expected, from, proof, checkpoint) in refused {
        let (status, body) = show(&witness, *from, proof, checkpoint);
        assert!(!status.is_success() && expected.is_none_or(|expected| status == expected), "{name}: {status} {body}");
    }

    let line = cosignature(show(&witness, from, &hashes, &new));
    let (accepted, said) = quorum(&format!("{new}{line}"));
    assert!(accepted, "{said}");

    // It does not forget.
    drop(witness);
    let witness = Witness::start(&twin.path(""), origin.trim(), log.trim()).unwrap();
    assert_eq!(show(&witness, from, &[], &old), (StatusCode::CONFLICT, format!("{to}\n")));
}

/// Shows a witness a checkpoint and the proof from what it saw last.
fn show(witness: &Witness, from: u64, proof: &[&str], checkpoint: &str) -> (StatusCode, String) {
    let proof = [proof, &[""]].concat().join("\n");
    let request = Client::new().post(format!("{}/add-checkpoint", witness.url));
    let request = request.body(format!("old {from}\n{proof}\n{checkpoint}"));
    Runtime::new().unwrap().block_on(async {
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    })
}

fn cosignature((status, body): (StatusCode, String)) -> String {
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[test]
fn the_readme_names_the_versions_that_are_pinned() {
    let folder = smi_tests::root().join("tests/interop");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, name, version, file, ..] = cells[..] else { panic!("{row}") };
        let pins = fs::read_to_string(folder.join(file)).unwrap();
        let pinned = pins.lines().any(|line| line.contains(name) && line.contains(version));
        assert!(pinned, "{file} does not pin {name} to {version}");
        count += 1;
    }
    assert!(count >= 8, "{count} programs");
}

/// The sound sample is accepted, and every twin is refused.
fn hold(program: &str, twins: &[Fault], verdict: impl Fn(&Twin) -> (bool, String)) {
    if !everything(program) {
        return;
    }
    let (accepted, said) = verdict(&Twin::of(&SAMPLE.folder));
    assert!(accepted, "{program} on the sound sample: {said}");
    for (name, fault) in twins {
        let twin = Twin::of(&SAMPLE.folder);
        fault(&twin);
        let (accepted, said) = verdict(&twin);
        assert!(!accepted, "{program} accepts {name}: {said}");
    }
}

/// What a program of `tests/interop` decided, and what it said.
fn verdict(command: &mut Command) -> (bool, String) {
    let output = run(command);
    match output.status.code() {
        Some(0) => (true, said(&output)),
        Some(8) => (false, said(&output)),
        _ => panic!("{command:?}: {} {}", output.status, said(&output)),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn python(script: &str) -> Command {
    let mut python = Command::new(program("python/bin/python").unwrap());
    python.arg(smi_tests::root().join("tests/interop").join(script));
    python
}

fn tlog(check: &str, twin: &Twin) -> Command {
    let mut tlog = Command::new(program("tlog/tlog").unwrap());
    tlog.arg(check).arg(twin.path("policy"));
    tlog
}
