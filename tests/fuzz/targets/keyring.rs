//! Any bytes as a keyring, and what may follow it.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;
use smi_fuzz::{json, key, value};
use smi_keys::export::{tlog_policy, trusted_root};
use smi_keys::keyring::{Entry, KeyRef, Keyring, MAX_KEYRING_BYTES, MAX_VERSION, Role};
use smi_schemas::Digest;
use smi_schemas::names::NoteName;
use smi_verifier::note::NoteKey;
use smi_verifier::receipt::{log_key, witness_keys};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    let (keyring, digest) = match Keyring::read(bytes) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty() && !error.code().sentence().is_empty()),
    };
    assert!(bytes.len() <= MAX_KEYRING_BYTES);
    assert_eq!(digest, Digest::of(bytes));
    let written = keyring.to_bytes();
    // There is a short way for what has no white space. It leads to the same.
    for bytes in [[b" ", bytes].concat(), value(&written).to_string().into_bytes()] {
        assert_eq!(Keyring::read(&bytes).ok().map(|(read, _)| read).as_ref(), Some(&keyring));
    }
    assert_eq!(with_meshes_in_order(value(bytes)), value(&written));
    if written.len() <= MAX_KEYRING_BYTES {
        let (again, _) = Keyring::read(&written).expect("what was written is read");
        assert_eq!(again, keyring);
        assert_eq!(again.to_bytes(), written);
    }
    check_rules(&keyring);
    check_note_keys(&keyring);
    check_followers(&keyring);
});

/// The meshes of a key are a set. They are written in order, and read in any.
fn with_meshes_in_order(mut keyring: Value) -> Value {
    for key in keyring["keys"].as_array_mut().into_iter().flatten() {
        if let Some(meshes) = key.get_mut("meshes").and_then(Value::as_array_mut) {
            meshes.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    keyring
}

/// The rules of the format, in other words.
fn check_rules(keyring: &Keyring) {
    let keys = keyring.keys();
    let distinct = |names: BTreeSet<String>, count| assert_eq!(names.len(), count);
    distinct(keys.iter().map(|key| key.name.to_string()).collect(), keys.len());
    distinct(keys.iter().map(|key| key.public_key.to_hex()).collect(), keys.len());
    let named: Vec<_> = keys.iter().filter_map(|key| key.note_name.as_ref()).collect();
    distinct(named.iter().map(ToString::to_string).collect(), named.len());
    for key in keys {
        assert_eq!(key.note_name.is_some(), matches!(key.role, Role::Log | Role::Witness));
        assert_eq!(
            (!key.meshes.is_empty(), key.publish.is_some()),
            (key.role == Role::Vendor, key.role == Role::Vendor)
        );
        assert!(key.url.is_none() || key.role == Role::Witness);
        assert_eq!(keyring.find(&key.public_key.key_id()), Some(key));
    }
    let unrevoked = |role| keys.iter().filter(|key| key.role == role && key.revoked.is_none()).count();
    let (roots, witnesses) = (unrevoked(Role::Root), unrevoked(Role::Witness));
    assert!(unrevoked(Role::Log) <= 1);
    assert!((1..=MAX_VERSION).contains(&keyring.version()));
    let within = |count: u32, most: usize| count >= 1 && count as usize <= most;
    assert_eq!(keyring.threshold().is_some(), roots > 0);
    assert!(keyring.threshold().is_none_or(|threshold| within(threshold, roots)));
    assert!(keyring.quorum().is_none_or(|quorum| within(quorum, witnesses)));
}

/// Two rooms know keys of notes: they agree.
fn check_note_keys(keyring: &Keyring) {
    for key in keyring.keys() {
        let Some(vkey) = key.vkey() else { continue };
        let read: NoteKey = vkey.parse().expect("a vkey");
        assert_eq!((Some(read.name()), *read.public()), (key.note_name.as_ref().map(NoteName::as_str), key.public_key));
        assert_eq!(key.key_hash().as_ref(), Some(read.key_hash()));
    }
    assert_eq!(log_key(keyring).map(|log| log.to_string()), keyring.log().and_then(Entry::vkey));
    let all = keyring.keys().iter().filter(|key| key.role == Role::Witness).count();
    let never = |key: &&Entry| key.role == Role::Witness && !key.in_force(0);
    assert_eq!(witness_keys(keyring, 0).len(), all - keyring.keys().iter().filter(never).count());

    let (policy, root) = (tlog_policy(keyring, None), trusted_root(keyring));
    assert_eq!((policy.is_ok(), root.is_ok()), (keyring.log().is_some(), keyring.log().is_some()));
    if let (Ok(policy), Ok(root)) = (policy, root) {
        let words = ["log ", "witness ", "group ", "quorum "];
        assert!(policy.lines().all(|line| words.iter().any(|word| line.starts_with(word))), "{policy}");
        assert!(value(root.as_bytes()).is_object());
    }
}

/// Whatever changes a keyring makes one that may follow it, and no other way round.
fn check_followers(keyring: &Keyring) {
    assert!(keyring.check_successor(keyring).is_err());
    let follows = |next: &Keyring| {
        assert_eq!(next.version(), keyring.version() + 1);
        assert_eq!(keyring.check_successor(next), Ok(()));
        assert!(next.check_successor(keyring).is_err());
        let bytes = next.to_bytes();
        assert!(bytes.len() > MAX_KEYRING_BYTES || Keyring::read(&bytes).is_ok_and(|(read, _)| read == *next));
        check_rules(next);
    };
    let mut more = keyring.clone();
    let newcomer = Entry::new("newcomer".parse().expect("a name"), Role::Reviewer, key("newcomer").public());
    match more.add(newcomer) {
        Ok(()) => follows(&more),
        Err(_) => assert_eq!(more, *keyring),
    }
    for (at, entry) in keyring.keys().iter().enumerate() {
        let mut fewer = keyring.clone();
        let from = at as u64;
        match fewer.revoke(&KeyRef::Name(entry.name.clone()), from).map(|entry| entry.in_force(from)) {
            Ok(in_force) => {
                assert!(!in_force);
                follows(&fewer);
            }
            Err(_) => assert_eq!(fewer, *keyring),
        }
    }
    let mut other = keyring.clone();
    match other.set(keyring.threshold(), None) {
        Ok(()) => follows(&other),
        Err(_) => assert_eq!(other, *keyring),
    }
}
