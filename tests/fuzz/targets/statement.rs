//! Any bytes as a payload: a result, or a record of any kind. What is one is signed by whoever may sign it, verified,
//! judged, admitted to a log and folded into the view.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use smi_fuzz::publisher::first_keyring;
use smi_fuzz::{
    SOUND, check_finding, check_refusal, contains, json, key, keyring, lenient, now, publishing, unwitnessed, value,
};
use smi_publisher::recover;
use smi_publisher::store::MAX_ENTRY_BYTES;
use smi_schemas::Digest;
use smi_schemas::leaf::{Leaf, MAX_LEAF_BYTES};
use smi_schemas::record::{
    KEYRING_TYPE, KeyringChange, Predicate, REVIEW_TYPE, Record, Release, Review, SUITE_TYPE, Supersession, Withdrawal,
};
use smi_schemas::statement::{Payload, RESULT_TYPE, Statement};
use smi_verifier::ledger::Ledger;
use smi_verifier::merkle::Hash;
use smi_verifier::policy::{Receipts, Requirement};
use smi_verifier::said::{Signed, What, verify_first, verify_said};
use smi_verifier::verdict::{TrustedKeyring, Verdict};
use smi_verifier::view::View;
use smi_verifier::{Verified, verify};

/// A log of one keyring and of what a publisher would admit.
static LEDGER: LazyLock<(Ledger, View)> = LazyLock::new(|| {
    let (mut ledger, mut view) = (Ledger::default(), View::default());
    let first = first_keyring(unwitnessed());
    let first = verify_first(&first).expect("a keyring");
    let entry = ledger.admit(first.said()).expect("the first");
    ledger.add(&entry, first.said().keyring().cloned());
    view.add(&entry, first.said().keyring().map(|trusted| &trusted.keyring));
    let sound = verify_said(SOUND, publishing(), now()).expect("the sound bundle");
    assert!(ledger.admit(sound.said()).is_ok(), "the sound bundle is not admitted");
    (ledger, view)
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    let result = Statement::read(bytes);
    let mut written: Vec<Vec<u8>> = result.iter().map(Statement::to_bytes).collect();
    written.extend(record::<Release>(bytes));
    written.extend(record::<KeyringChange>(bytes));
    written.extend(record::<Review>(bytes));
    written.extend(record::<Withdrawal>(bytes));
    written.extend(record::<Supersession>(bytes));
    assert!(written.len() <= 1, "a payload is one thing");
    // There is a short way for what is written as we write it. It leads to the same.
    assert_eq!(Statement::read(&[b" ", bytes].concat()).ok().as_ref(), result.as_ref().ok());
    let kind = match Payload::read(bytes) {
        Ok(Payload::Result(read)) => {
            assert_eq!(Ok(&*read), result.as_ref());
            Some(RESULT_TYPE.to_owned())
        }
        Ok(Payload::Other(kind)) => Some(kind),
        Err(_) => None,
    };
    if let Some(written) = written.first() {
        assert!(kind.is_some() && written.len() <= bytes.len());
        // One form, but for the order of keys and white space.
        assert_eq!(value(bytes), value(written));
        if let Ok(result) = &result {
            assert_eq!(Statement::read(written).as_ref(), Ok(result));
        }
    }

    let signer = match kind.as_deref() {
        Some(SUITE_TYPE) => "suite",
        Some(KEYRING_TYPE) => "root",
        Some(REVIEW_TYPE) => "reviewer",
        _ => "vendor",
    };
    let bundle = key(signer).sign_statement(bytes).to_bytes();
    let verified = verify(&bundle, lenient(Receipts::Read), now());
    match &verified {
        Ok(verified) => check_verified(verified, bytes, &bundle),
        Err(refused) => check_refusal(refused),
    }
    assert!(verified.is_err() || result.is_ok());
    let requirements: Vec<Requirement> =
        ["access=full", "split=compliant"].map(|text| text.parse().expect("one")).into();
    let trusted = TrustedKeyring { version: keyring().version(), digest: Digest::of(b"") };
    let verdict = Verdict::new(&verified, trusted, &requirements);
    assert_eq!(verdict.accepted, verified.is_ok());
    let document = serde_json::to_vec(&verdict).expect("a verdict is JSON");
    assert!(serde_json::from_slice::<Verdict>(&document).is_ok_and(|read| read.exit.code == verdict.ends().number()));

    match verify_said(&bundle, publishing(), now()) {
        Ok(signed) => {
            assert!(!written.is_empty() && signed.said().payload() == Digest::of(bytes));
            assert_eq!(signed.bundle().to_bytes(), bundle);
            check_admission(&signed);
        }
        Err(refused) => check_refusal(&refused),
    }
});

/// Reads a record, and writes it.
fn record<P: Predicate + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = Record::<P>::read(bytes).ok()?;
    let written = record.to_bytes();
    assert_eq!(Record::read(&written).as_ref(), Ok(&record));
    assert!(contains(&value(bytes), &value(&written)));
    Some(written)
}

fn check_verified(verified: &Verified, bytes: &[u8], bundle: &[u8]) {
    assert_eq!(verified.payload_digest(), Digest::of(bytes));
    assert_eq!(Statement::read(bytes).as_ref(), Ok(verified.statement()));
    assert!(verified.receipt().is_none());
    let summed = |count: fn(&smi_schemas::feed::ApiSummary) -> u32| verified.apis().iter().map(count).sum::<u32>();
    assert!(summed(|api| api.passed) + summed(|api| api.failed) <= summed(|api| api.scored));
    assert!(verify(bundle, lenient(Receipts::Require), now()).is_err());
    let late = smi_schemas::Timestamp::EPOCH;
    let skew = smi_verifier::policy::MAX_CLOCK_SKEW_SECONDS;
    let is_future = verified.statement().predicate.run.finished_at.unix_seconds() > skew;
    assert_eq!(verify(bundle, lenient(Receipts::Ignore), late).is_err(), is_future);
}

/// What is admitted can be stored, told and shown.
fn check_admission(signed: &Signed<'_>) {
    let (said, leaf) = (signed.said(), signed.leaf().to_bytes());
    assert!(leaf.len() <= MAX_LEAF_BYTES);
    assert!(Leaf::read(&leaf).is_ok_and(|leaf| leaf.payload() == said.payload()));
    let (ledger, view) = &*LEDGER;
    let entry = match ledger.admit(said) {
        Ok(entry) => entry,
        Err(finding) => return check_finding(&finding),
    };
    assert_eq!((entry.index, entry.payload), (ledger.size(), said.payload()));
    let stored = recover::encode(&Hash::of_leaf(&leaf), &entry);
    assert!(stored.len() <= MAX_ENTRY_BYTES, "{entry:?}");
    assert_eq!(serde_json::from_slice(&stored[32..]).ok().as_ref(), Some(&entry));

    let next = said.keyring().cloned();
    let (mut ledger, mut view) = (ledger.clone(), view.clone());
    view.add(&entry, next.as_ref().map(|trusted| &trusted.keyring));
    assert_eq!(view.size(), entry.index + 1);
    assert!(value(&view.document().to_bytes()).is_object());
    let before = ledger.trusted().cloned();
    ledger.add(&entry, next);
    if let What::Result(_) = said.says() {
        assert!(ledger.admit(said).is_err(), "a run is logged once");
    }
    ledger.take_back(&entry, before);
    assert_eq!(ledger.admit(said).as_ref(), Ok(&entry));
}
