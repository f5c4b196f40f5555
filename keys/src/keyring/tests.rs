use super::*;
use crate::SigningKey;

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed([seed; 32]).public()
}

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

fn entry(name: &str, role: Role, seed: u8) -> Entry {
    let vendor = role == Role::Vendor;
    Entry {
        name: slug(name),
        role,
        public_key: key(seed),
        meshes: if vendor { BTreeSet::from([slug("mesh")]) } else { BTreeSet::new() },
        publish: vendor.then_some(Publish::Direct),
        revoked: None,
    }
}

fn example() -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add(entry("acme", Role::Vendor, 1)).unwrap();
    keyring.add(entry("mirror", Role::Witness, 2)).unwrap();
    keyring.revoke(&KeyRef::Name(slug("mirror")), 7).unwrap();
    keyring
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
    let bytes = example().to_bytes();
    assert_eq!(Keyring::read(&bytes), Ok((example(), Digest::of(&bytes))));
    assert_eq!(Keyring::read(&Keyring::default().to_bytes()).unwrap().0, Keyring::default());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = example().to_bytes();
    let whole_but_for_its_line_feed = bytes.len() - 1;
    for len in 0..whole_but_for_its_line_feed {
        assert!(Keyring::read(&bytes[..len]).is_err(), "accepted {len} bytes");
    }
}

#[test]
fn every_changed_byte_is_refused_or_changes_the_keyring() {
    let good = example().to_bytes();
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let is_space = good[bit / 8].is_ascii_whitespace() && bad[bit / 8].is_ascii_whitespace();
        if let Ok((keyring, digest)) = Keyring::read(&bad) {
            assert!(is_space || keyring != example(), "bit {bit} changed nothing");
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
    let refusals = [
        (entry("acme", Role::Log, 3), Code::KeyNameTaken),
        (entry("other", Role::Log, 1), Code::KeyPresent),
        (Entry { meshes: BTreeSet::new(), ..entry("other", Role::Vendor, 3) }, Code::RoleMesh),
        (Entry { publish: Some(Publish::Direct), ..entry("other", Role::Log, 3) }, Code::RolePublish),
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
fn only_a_vendor_signs_results_and_nobody_anything_else() {
    for role in Role::ALL {
        assert_eq!(role.may_sign(statement::RESULT_TYPE), role == Role::Vendor, "{role}");
        assert_eq!(role.may_sign(release::SUITE_TYPE), role == Role::Suite, "{role}");
        assert!(!role.may_sign("") && !role.may_sign("https://slsa.dev/provenance/v1"), "{role}");
        assert_eq!(role.as_str().parse(), Ok(role));
    }
}

#[test]
fn the_json_schema_names_every_field() {
    let (name, schema) = document();
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(name, "keyring.v1.json");
    for field in ["schemaVersion", "version", "keys", "publicKey", "meshes", "publish", "revoked", "fromIndex"] {
        assert!(text.contains(&format!("\"{field}\"")), "{field}: {text}");
    }
}
