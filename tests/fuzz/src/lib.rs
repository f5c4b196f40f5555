//! What the fuzzers share: the programme of the vectors, with its keys, and the forms that every reader is held to.

pub mod json;
pub mod publisher;

use std::sync::LazyLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use smi_keys::SigningKey;
use smi_keys::keyring::Keyring;
use smi_schemas::bundle::Bundle;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::note::NoteKey;
use smi_verifier::policy::{Policy, Receipts, Suites};
use smi_verifier::receipt::log_key;
use smi_verifier::{Finding, Refused};

/// The name of the log.
pub const ORIGIN: &str = "log.example.org";

/// Whoever is trusted, with a quorum of two witnesses.
pub const KEYRING: &[u8] = include_bytes!("../../vectors/keyring.json");

/// The suite of the vectors.
pub const SUITE: &[u8] = include_bytes!("../../vectors/suite.json");

/// A result that is accepted.
pub const SOUND: &[u8] = include_bytes!("../../vectors/sound.json");

/// The same with its log entry.
pub const COMPLETED: &[u8] = include_bytes!("../../vectors/completed.json");

/// Another result of the same key.
pub const CLAIMED: &[u8] = include_bytes!("../../vectors/claimed.json");

/// A change of the keyring that its root key signed, and others: several signatures.
pub const KEYRING_CHANGE: &[u8] = include_bytes!("../corpus/bundle/keyring-change.json");

/// A review.
pub const REVIEW: &[u8] = include_bytes!("../corpus/bundle/review.json");

/// When the vectors are verified.
pub fn now() -> Timestamp {
    static NOW: LazyLock<Timestamp> = LazyLock::new(|| "2026-01-02T12:00:00Z".parse().expect("a time"));
    *NOW
}

/// The key of a name, as in the vectors.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Sha256::digest(name).into())
}

/// The keyring of the vectors.
pub fn keyring() -> &'static Keyring {
    static KEYRING_READ: LazyLock<Keyring> = LazyLock::new(|| Keyring::read(KEYRING).expect("a keyring").0);
    &KEYRING_READ
}

/// The same keys where no witness is needed.
pub fn unwitnessed() -> &'static Keyring {
    static UNWITNESSED: LazyLock<Keyring> = LazyLock::new(|| {
        let mut keyring = Keyring::default();
        for entry in self::keyring().keys() {
            keyring.add(entry.clone()).expect("a keyring with fewer keys");
        }
        keyring
    });
    &UNWITNESSED
}

/// The log's key.
pub fn log() -> &'static NoteKey {
    static LOG: LazyLock<NoteKey> = LazyLock::new(|| log_key(keyring()).expect("a log"));
    &LOG
}

/// A policy that admits all that can be admitted.
pub fn lenient(receipts: Receipts) -> &'static Policy {
    static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| {
        let mut suites = Suites::default();
        suites.add(SUITE).expect("a suite");
        [Receipts::Ignore, Receipts::Read, Receipts::Require].map(|receipts| Policy {
            keyring: keyring().clone(),
            suites: suites.clone(),
            allow_sandbox: true,
            allow_draft: true,
            publication: false,
            receipts,
            max_age_seconds: None,
        })
    });
    POLICIES.iter().find(|policy| policy.receipts == receipts).expect("one of each")
}

/// A publisher's policy, who admits demonstrations too.
pub fn publishing() -> &'static Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let keyring = unwitnessed().clone();
        Policy { publication: true, keyring, ..lenient(Receipts::Ignore).clone() }
    });
    &POLICY
}

/// The payload of a bundle that is one.
pub fn payload(bundle: &[u8]) -> Vec<u8> {
    Bundle::read(bundle).expect("a bundle").payload
}

/// What keys of the programme have signed in the corpus. A fuzzer can make no other signature, unless there is a fault.
pub fn is_signed(payload: &Digest) -> bool {
    static SIGNED: LazyLock<Vec<Digest>> = LazyLock::new(|| {
        let bundles = [SOUND, CLAIMED, KEYRING_CHANGE, REVIEW];
        bundles.into_iter().map(|bundle| Digest::of(&self::payload(bundle))).collect()
    });
    SIGNED.contains(payload)
}

/// Bytes as the document that they are.
pub fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what was read is JSON")
}

/// Whether every part of `document` is in its place in `whole`, unaltered.
pub fn contains(whole: &Value, document: &Value) -> bool {
    match (whole, document) {
        (Value::Object(whole), Value::Object(fields)) => {
            fields.iter().all(|(name, field)| whole.get(name).is_some_and(|whole| contains(whole, field)))
        }
        (Value::Array(whole), Value::Array(items)) => {
            whole.len() == items.len() && whole.iter().zip(items).all(|(whole, item)| contains(whole, item))
        }
        _ => whole == document,
    }
}

/// A refusal says why, in a few words that a terminal can show.
pub fn check_refusal(refused: &Refused) {
    assert!(!refused.findings.is_empty(), "{refused:?}");
    refused.findings.iter().for_each(check_finding);
}

/// The same of one ground.
pub fn check_finding(finding: &Finding) {
    assert!(!finding.code.sentence().is_empty() && !finding.code.remedy().is_empty(), "{finding:?}");
    assert!(!finding.detail.chars().any(char::is_control), "{finding:?}");
    assert!(finding.detail.len() < 2048, "{finding:?}");
}
