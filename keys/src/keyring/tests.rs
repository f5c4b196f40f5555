use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Code;
use smi_schemas::record::KeyringChange;

use super::*;
use crate::{PublicKeyError, SigningKey};

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed([seed; 32]).public()
}

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

fn entry(name: &str, role: Role, seed: u8) -> Entry {
    let vendor = role == Role::Vendor;
    let notes = matches!(role, Role::Log | Role::Witness);
    Entry {
        note_name: notes.then(|| note_name(&format!("{name}.example.org"))),
        meshes: if vendor { BTreeSet::from([slug("mesh")]) } else { BTreeSet::new() },
        publish: vendor.then_some(Publish::Direct),
        ..Entry::new(slug(name), role, key(seed))
    }
}

fn note_name(text: &str) -> NoteName {
    text.parse().unwrap()
}

fn by_name(name: &str) -> KeyRef {
    KeyRef::Name(slug(name))
}

fn example() -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add(entry("acme", Role::Vendor, 1)).unwrap();
    keyring.add(entry("mirror", Role::Witness, 2)).unwrap();
    keyring.revoke(&KeyRef::Name(slug("mirror")), 7).unwrap();
    keyring
}

/// A keyring with every role: two of three roots sign, one of two witnesses cosigns.
fn programme() -> Keyring {
    let mut keyring = Keyring::default();
    let names = [("root-a", Role::Root), ("root-b", Role::Root), ("root-c", Role::Root), ("suite", Role::Suite)];
    let others =
        [("board", Role::Reviewer), ("log", Role::Log), ("witness-a", Role::Witness), ("witness-b", Role::Witness)];
    for (seed, (name, role)) in (10..).zip(names.into_iter().chain(others)) {
        let url = (name == "witness-a").then(|| "https://witness.example.org/w1".parse().unwrap());
        keyring.add(Entry { url, ..entry(name, role, seed) }).unwrap();
    }
    keyring.set(Some(2), Some(1)).unwrap();
    keyring
}

fn names<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<&'a str> {
    entries.map(|entry| entry.name.as_str()).collect()
}

/// What reading says of the programme with `from` replaced by `to`.
fn misread(from: &str, to: &str) -> KeyringError {
    let text = String::from_utf8(programme().to_bytes()).unwrap();
    assert!(text.contains(from), "{text}");
    Keyring::read(text.replacen(from, to, 1).as_bytes()).unwrap_err()
}

/// What reading says of the example with `from` replaced by `to`.
fn edited(from: &str, to: &str) -> KeyringError {
    let text = String::from_utf8(example().to_bytes()).unwrap();
    assert!(text.contains(from), "{text}");
    Keyring::read(text.replacen(from, to, 1).as_bytes()).unwrap_err()
}

fn entry_error(from: &str, to: &str) -> EntryError {
    match edited(from, to) {
        KeyringError::Entry(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_written_is_read() {
    for keyring in [example(), programme()] {
        let bytes = keyring.to_bytes();
        assert_eq!(Keyring::read(&bytes), Ok((keyring, Digest::of(&bytes))));
    }
    assert_eq!(Keyring::read(&Keyring::default().to_bytes()).unwrap().0, Keyring::default());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = programme().to_bytes();
    let whole_but_for_its_line_feed = bytes.len() - 1;
    for len in 0..whole_but_for_its_line_feed {
        assert!(Keyring::read(&bytes[..len]).is_err(), "accepted {len} bytes");
    }
}

#[test]
fn every_changed_byte_is_refused_or_changes_the_keyring() {
    let good = programme().to_bytes();
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let is_space = good[bit / 8].is_ascii_whitespace() && bad[bit / 8].is_ascii_whitespace();
        if let Ok((keyring, digest)) = Keyring::read(&bad) {
            assert!(is_space || keyring != programme(), "bit {bit} changed nothing");
            assert_ne!(digest, Digest::of(&good));
        }
    }
}

#[test]
fn unknown_shapes_are_refused() {
    let newer = edited(r#""schemaVersion": 1"#, r#""future": [], "schemaVersion": 2"#);
    assert_eq!(newer, KeyringError::SchemaVersion { found: 2 });
    for unknown in [r#""comment": "", "version""#, r#""version": 4, "version""#, r#""Version": 4, "version""#] {
        assert!(matches!(edited(r#""version""#, unknown), KeyringError::Json(_)), "{unknown}");
    }
    assert!(matches!(edited(r#""role""#, r#""note": "", "role""#), KeyringError::Json(_)));
    assert!(matches!(edited(r#""fromIndex""#, r#""reason": "", "fromIndex""#), KeyringError::Json(_)));
    assert!(matches!(edited("witness", "owner"), KeyringError::Json(_)));
    assert!(matches!(edited("acme", "a.c.m.e"), KeyringError::Json(_)));
}

#[test]
fn versions_begin_at_one_and_end() {
    assert_eq!(edited(r#""version": 4"#, r#""version": 0"#), KeyringError::Version { found: 0 });
    let beyond = MAX_VERSION + 1;
    assert_eq!(edited(r#""version": 4"#, &format!(r#""version": {beyond}"#)), KeyringError::Version { found: beyond });
    let mut last = Keyring { version: MAX_VERSION, ..example() };
    assert_eq!(last.add(entry("new", Role::Log, 3)), Err(ChangeError::LastVersion));
    assert_eq!(last.revoke(&KeyRef::Name(slug("acme")), 0), Err(ChangeError::LastVersion));
    assert_eq!(last, Keyring { version: MAX_VERSION, ..example() });
}

#[test]
fn public_keys_are_checked() {
    let good = key(1).to_base64();
    let weak = "A".repeat(43) + "=";
    let causes = [
        (weak.as_str(), PublicKeyError::Weak),
        (&good[1..], PublicKeyError::Base64),
        ("AQID", PublicKeyError::Length { len: 3 }),
        ("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PublicKeyError::Point),
    ];
    for (text, cause) in causes {
        assert_eq!(edited(&good, text), KeyringError::PublicKey { name: slug("acme"), cause }, "{text}");
    }
}

#[test]
fn names_and_keys_are_there_once() {
    assert_eq!(entry_error(r#""mirror""#, r#""acme""#), EntryError::NameTaken { name: slug("acme") });
    let twice = entry_error(&key(2).to_base64(), &key(1).to_base64());
    assert_eq!(twice, EntryError::KeyPresent { name: slug("mirror"), present: slug("acme") });
}

#[test]
fn a_vendor_and_nobody_else_has_meshes_and_a_way_to_publish() {
    let (acme, mirror) = (slug("acme"), slug("mirror"));
    assert_eq!(entry_error(r#""mesh""#, ""), EntryError::VendorWithoutMesh { name: acme.clone() });
    let silent = entry_error(",\n      \"publish\": \"direct\"", "");
    assert_eq!(silent, EntryError::VendorWithoutPublish { name: acme.clone() });
    let meshes = entry_error(r#""revoked""#, r#""meshes": ["mesh"], "revoked""#);
    assert_eq!(meshes, EntryError::MeshWithoutVendor { name: mirror.clone(), role: Role::Witness });
    let publish = entry_error(r#""revoked""#, r#""publish": "direct", "revoked""#);
    assert_eq!(publish, EntryError::PublishWithoutVendor { name: mirror, role: Role::Witness });
    let twice = edited(r#""mesh""#, r#""mesh", "mesh""#);
    assert_eq!(twice, KeyringError::MeshTwice { name: acme, mesh: slug("mesh") });
}

#[test]
fn a_change_raises_the_version_and_a_refused_one_changes_nothing() {
    let mut keyring = example();
    assert_eq!(keyring.version(), 4);
    let taken = Some(note_name("mirror.example.org"));
    let url = Some("https://a".parse().unwrap());
    let refusals = [
        (entry("acme", Role::Log, 3), Code::KeyNameTaken),
        (entry("other", Role::Log, 1), Code::KeyPresent),
        (entry("none", Role::Witness, 3), Code::KeyNameReserved),
        (Entry { meshes: BTreeSet::new(), ..entry("other", Role::Vendor, 3) }, Code::RoleMesh),
        (Entry { publish: Some(Publish::Direct), ..entry("other", Role::Log, 3) }, Code::RolePublish),
        (Entry { note_name: None, ..entry("other", Role::Log, 3) }, Code::RoleNoteName),
        (Entry { note_name: taken, ..entry("other", Role::Log, 3) }, Code::NoteNameTaken),
        (Entry { url, ..entry("other", Role::Log, 3) }, Code::RoleUrl),
    ];
    for (refused, code) in refusals {
        assert_eq!(keyring.add(refused).unwrap_err().code(), code);
    }
    assert_eq!(keyring, example());
    keyring.add(entry("other", Role::Log, 3)).unwrap();
    assert_eq!((keyring.version(), keyring.keys().len()), (5, 3));
}

#[test]
fn a_revocation_moves_only_to_an_earlier_index() {
    let mut keyring = example();
    let id = KeyRef::Id(key(2).key_id());
    for index in [7, 8] {
        assert_eq!(
            keyring.revoke(&id, index),
            Err(ChangeError::RevokedAlready { name: slug("mirror"), from_index: 7 })
        );
    }
    assert_eq!(keyring, example());
    assert_eq!(keyring.revoke(&id, 6).unwrap().revoked, Some(Revoked { from_index: 6 }));
    assert_eq!(keyring.version(), 5);
    assert_eq!(keyring.find(&key(2).key_id()).unwrap().revoked, Some(Revoked { from_index: 6 }));
    let unknown = KeyRef::Name(slug("nobody"));
    assert_eq!(keyring.revoke(&unknown, 0), Err(ChangeError::NotFound { key: unknown.clone() }));
}

#[test]
fn every_type_is_signed_by_one_role_and_nothing_else_is_signed() {
    for role in Role::ALL {
        assert_eq!(role.may_sign(statement::RESULT_TYPE), role == Role::Vendor, "{role}");
        assert_eq!(role.may_sign(record::WITHDRAWAL_TYPE), role == Role::Vendor, "{role}");
        assert_eq!(role.may_sign(record::SUPERSESSION_TYPE), role == Role::Vendor, "{role}");
        assert_eq!(role.may_sign(record::KEYRING_TYPE), role == Role::Root, "{role}");
        assert_eq!(role.may_sign(record::REVIEW_TYPE), role == Role::Reviewer, "{role}");
        assert_eq!(role.may_sign(record::SUITE_TYPE), role == Role::Suite, "{role}");
        assert!(!role.may_sign("") && !role.may_sign("https://slsa.dev/provenance/v1"), "{role}");
        assert_eq!(role.as_str().parse(), Ok(role));
    }
}

#[test]
fn a_keyring_of_an_older_release_keeps_its_bytes() {
    let text = format!(
        "{{\n  \"schemaVersion\": 1,\n  \"version\": 2,\n  \"keys\": [\n    {{\n      \"name\": \"suite\",\n      \
         \"role\": \"suite\",\n      \"publicKey\": \"{}\"\n    }}\n  ]\n}}\n",
        key(1).to_base64()
    );
    let (keyring, _) = Keyring::read(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(keyring.to_bytes()).unwrap(), text);
    assert_eq!((keyring.threshold(), keyring.quorum(), keyring.log()), (None, None, None));
}

#[test]
fn who_signs_notes_and_nobody_else_has_a_note_name() {
    let log = slug("log");
    let missing = misread(",\n      \"noteName\": \"log.example.org\"", "");
    assert_eq!(missing, EntryError::NoteNameMissing { name: log.clone(), role: Role::Log }.into());
    let missing = misread(",\n      \"noteName\": \"witness-b.example.org\"", "");
    assert_eq!(missing, EntryError::NoteNameMissing { name: slug("witness-b"), role: Role::Witness }.into());
    let path = misread("log.example.org", "log.example.org/a");
    let note_name = "log.example.org/a".parse().unwrap();
    assert_eq!(path, EntryError::OriginWithPath { name: log.clone(), note_name }.into());
    let twice = misread("witness-b.example.org", "log.example.org");
    let note_name = "log.example.org".parse().unwrap();
    assert_eq!(twice, EntryError::NoteNameTaken { name: slug("witness-b"), present: log, note_name }.into());
    let other = misread(r#""role": "suite""#, r#""noteName": "a", "role": "suite""#);
    assert_eq!(other, EntryError::NoteNameWithoutNote { name: slug("suite"), role: Role::Suite }.into());
    for refused in ["log.example.org:443", "Log.example.org", "", "log..org"] {
        assert!(matches!(misread("log.example.org", refused), KeyringError::Json(_)), "{refused}");
    }
    let path = r#""noteName": "witness-b.example.org/w2""#;
    let text = String::from_utf8(programme().to_bytes()).unwrap();
    assert!(Keyring::read(text.replace(r#""noteName": "witness-b.example.org""#, path).as_bytes()).is_ok());
}

#[test]
fn only_a_witness_has_an_address() {
    let url = r#""url": "https://log.example.org", "role": "log""#;
    let refused = EntryError::UrlWithoutWitness { name: slug("log"), role: Role::Log };
    assert_eq!(misread(r#""role": "log""#, url), refused.into());
    let misshapen = misread("https://witness.example.org/w1", "https://witness.example.org/w1/");
    assert!(matches!(misshapen, KeyringError::Json(_)), "{misshapen}");
    let (url, none) = (Some("https://witness.example.org/w1"), None);
    let keyring = programme();
    let urls: Vec<_> = keyring.witnesses().map(|entry| entry.url.as_ref().map(Url::as_str)).collect();
    assert_eq!(urls, [url, none]);
}

#[test]
fn a_witness_has_no_word_of_the_policy_for_a_name() {
    for reserved in ["none", "quorum-group"] {
        let refused = misread(r#""witness-b""#, &format!("{reserved:?}"));
        assert_eq!(refused, EntryError::NameReserved { name: slug(reserved) }.into());
        programme().add(entry(reserved, Role::Suite, 3)).unwrap();
    }
}

#[test]
fn a_log_has_one_key_at_a_time() {
    let mut keyring = programme();
    let second = entry("log-2", Role::Log, 3);
    let refused = EntryError::SecondLog { name: slug("log-2"), present: slug("log") };
    assert_eq!(keyring.add(second.clone()), Err(refused.into()));
    keyring.revoke(&by_name("log"), 5).unwrap();
    assert_eq!(keyring.log(), None);
    keyring.add(second.clone()).unwrap();
    assert_eq!(keyring.log(), Some(&second));
}

#[test]
fn a_threshold_is_there_where_roots_are_and_no_greater() {
    let roots = 3;
    assert_eq!(misread("\"threshold\": 2,\n  ", ""), CountError::NoThreshold { roots }.into());
    for threshold in [0, 4] {
        let found = misread(r#""threshold": 2"#, &format!(r#""threshold": {threshold}"#));
        assert_eq!(found, CountError::Threshold { threshold, roots }.into());
    }
    let text = String::from_utf8(example().to_bytes()).unwrap();
    let without = Keyring::read(text.replacen(r#""keys""#, r#""threshold": 1, "keys""#, 1).as_bytes());
    assert_eq!(without, Err(CountError::Threshold { threshold: 1, roots: 0 }.into()));
    for refused in ["-1", "1.5", "4294967296", r#""2""#] {
        let misshapen = misread(r#""threshold": 2"#, &format!(r#""threshold": {refused}"#));
        assert!(matches!(misshapen, KeyringError::Json(_)), "{refused}: {misshapen}");
    }
}

#[test]
fn a_quorum_is_no_greater_than_there_are_witnesses() {
    for quorum in [0, 3] {
        let found = misread(r#""quorum": 1"#, &format!(r#""quorum": {quorum}"#));
        assert_eq!(found, CountError::Quorum { quorum, witnesses: 2 }.into());
    }
    assert!(matches!(misread(r#""quorum": 1"#, r#""quorum": null"#), KeyringError::Json(_)));
}

#[test]
fn the_first_root_sets_the_threshold_and_later_ones_leave_it() {
    let mut keyring = example();
    keyring.add(entry("root", Role::Root, 3)).unwrap();
    assert_eq!((keyring.threshold(), keyring.version()), (Some(1), 5));
    keyring.add(entry("root-2", Role::Root, 4)).unwrap();
    assert_eq!(keyring.threshold(), Some(1));
}

#[test]
fn numbers_are_set_together_within_their_bounds() {
    let mut keyring = programme();
    let before = keyring.clone();
    assert_eq!(keyring.set(Some(2), Some(1)), Err(ChangeError::Same));
    assert_eq!(keyring.set(Some(4), Some(1)), Err(CountError::Threshold { threshold: 4, roots: 3 }.into()));
    assert_eq!(keyring.set(None, Some(1)), Err(CountError::NoThreshold { roots: 3 }.into()));
    assert_eq!(keyring.set(Some(2), Some(3)), Err(CountError::Quorum { quorum: 3, witnesses: 2 }.into()));
    assert_eq!(keyring, before);
    keyring.set(Some(3), None).unwrap();
    assert_eq!((keyring.threshold(), keyring.quorum(), keyring.version()), (Some(3), None, before.version() + 1));
}

#[test]
fn as_many_keys_stay_as_must_sign() {
    let mut keyring = programme();
    keyring.revoke(&by_name("root-b"), 9).unwrap();
    keyring.revoke(&by_name("witness-a"), 9).unwrap();
    assert_eq!(names(keyring.roots()), ["root-a", "root-c"]);
    assert_eq!(names(keyring.witnesses()), ["witness-b"]);
    let before = keyring.clone();
    let refused = keyring.revoke(&by_name("root-a"), 9).unwrap_err();
    assert_eq!(refused, CountError::Threshold { threshold: 2, roots: 1 }.into());
    assert_eq!(refused.code(), Code::ThresholdRange);
    let refused = keyring.revoke(&by_name("witness-b"), 9).unwrap_err();
    assert_eq!(refused, CountError::Quorum { quorum: 1, witnesses: 0 }.into());
    assert_eq!(refused.code(), Code::QuorumRange);
    assert_eq!(keyring, before);
    // What is revoked already counts no less from an earlier index on.
    keyring.revoke(&by_name("root-b"), 8).unwrap();
    keyring.set(Some(1), None).unwrap();
    keyring.revoke(&by_name("root-a"), 9).unwrap();
    keyring.revoke(&by_name("witness-b"), 9).unwrap();
    assert_eq!(keyring.revoke(&by_name("root-c"), 9), Err(CountError::Threshold { threshold: 1, roots: 0 }.into()));
}

#[test]
fn a_revoked_key_is_in_force_up_to_its_index() {
    let with = |revoked| Entry { revoked, ..entry("acme", Role::Vendor, 1) };
    assert!(with(None).in_force(u64::MAX));
    let revoked = with(Some(Revoked { from_index: 7 }));
    assert!(revoked.in_force(0) && revoked.in_force(6) && !revoked.in_force(7) && !revoked.in_force(8));
    assert!(!with(Some(Revoked { from_index: 0 })).in_force(0));
}

#[test]
fn a_keyring_follows_by_what_its_commands_do() {
    let first = programme();
    let changes: [fn(&mut Keyring); 4] = [
        |keyring| keyring.add(entry("new", Role::Vendor, 3)).unwrap(),
        |keyring| drop(keyring.revoke(&by_name("suite"), 3).unwrap().clone()),
        |keyring| drop(keyring.revoke(&by_name("suite"), 2).unwrap().clone()),
        |keyring| keyring.set(Some(1), None).unwrap(),
    ];
    let mut keyring = first.clone();
    for change in changes {
        let before = keyring.clone();
        change(&mut keyring);
        assert_eq!(before.check_successor(&keyring), Ok(()));
        assert!(keyring.check_successor(&before).is_err());
        assert!(keyring.check_successor(&keyring).is_err());
    }
    assert_eq!(first.check_successor(&keyring), Ok(()), "all of them together");
    let (previous, found) = (keyring.version(), first.version());
    assert_eq!(keyring.check_successor(&first), Err(SuccessionError::Version { previous, found }));
}

#[test]
fn a_keyring_that_takes_something_back_does_not_follow() {
    let mut first = programme();
    first.revoke(&by_name("suite"), 5).unwrap();
    let refusal = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut next = first.next().unwrap();
        change(&mut next.keys);
        // Only what can be read is ever compared.
        assert_eq!(Keyring::read(&next.to_bytes()).unwrap().0, next);
        first.check_successor(&next).unwrap_err()
    };
    let (root, suite, log) = (slug("root-a"), slug("suite"), slug("log"));
    let revoked = |from_index| Some(Revoked { from_index });

    assert_eq!(refusal(&|keys| drop(keys.remove(0))), SuccessionError::Removed { name: root.clone() });
    assert_eq!(refusal(&|keys| drop(keys.pop())), SuccessionError::Removed { name: slug("witness-b") });
    assert_eq!(refusal(&|keys| keys.swap(0, 1)), SuccessionError::Moved { name: root.clone() });
    let inserted = refusal(&|keys| keys.insert(0, entry("new", Role::Vendor, 3)));
    assert_eq!(inserted, SuccessionError::Moved { name: root.clone() });
    assert_eq!(refusal(&|keys| keys[0].public_key = key(3)), SuccessionError::Removed { name: root.clone() });
    assert_eq!(refusal(&|keys| keys[0].name = slug("renamed")), SuccessionError::Altered { name: root });
    let origin = refusal(&|keys| keys[5].note_name = Some(note_name("other.example.org")));
    assert_eq!(origin, SuccessionError::Altered { name: log });
    assert_eq!(refusal(&|keys| keys[6].url = None), SuccessionError::Altered { name: slug("witness-a") });
    assert_eq!(refusal(&|keys| keys[3].revoked = None), SuccessionError::RevocationLifted { name: suite.clone() });
    let later = SuccessionError::RevocationLater { name: suite, previous: 5, found: 6 };
    assert_eq!(refusal(&|keys| keys[3].revoked = revoked(6)), later);
}

#[test]
fn the_largest_keyring_fits_a_bundle() {
    let keyring = vec![b' '; MAX_KEYRING_BYTES];
    let at = "2026-11-21T08:00:00Z".parse().unwrap();
    let change = KeyringChange::of(MAX_VERSION, &keyring, Some(Digest::of(b"")), at).unwrap();
    let bundle = SigningKey::from_seed([1; 32]).sign_statement(&change.to_bytes());
    assert!(bundle.to_bytes().len() + 64 * 1024 < MAX_BUNDLE_BYTES, "{}", bundle.to_bytes().len());
}

#[test]
fn the_json_schema_names_every_field() {
    let (name, schema) = document();
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(name, "keyring.v1.json");
    let of_the_keyring = ["schemaVersion", "version", "threshold", "quorum", "keys"];
    let of_a_key = ["publicKey", "noteName", "url", "meshes", "publish", "revoked", "fromIndex"];
    for field in of_the_keyring.into_iter().chain(of_a_key) {
        assert!(text.contains(&format!("\"{field}\"")), "{field}: {text}");
    }
}
