//! What both tests of the binary need: a vendor's key, and a verifier that knows it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use smi_keys::SigningKey;
use smi_keys::keyring::{Entry, Keyring, Publish, Role};
use smi_verifier::policy::{Policy, Receipts, Suites};
use smi_verifier::{Verified, verify};

/// Writes a key file without a passphrase.
pub(crate) fn key(path: &Path, mode: u32) -> SigningKey {
    let key = SigningKey::from_seed([7; 32]);
    fs::write(path, smi_keys::pem::encode_plain(&key).unwrap().as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    key
}

/// Verifies a bundle by the key of that mesh's vendor.
pub(crate) fn verified(bundle: &Path, key: &SigningKey, mesh: &str) -> Verified {
    let mut keyring = Keyring::default();
    let entry = Entry {
        meshes: [mesh.parse().unwrap()].into(),
        publish: Some(Publish::Direct),
        ..Entry::new("vendor".parse().unwrap(), Role::Vendor, key.public())
    };
    keyring.add(entry).unwrap();
    let policy = Policy {
        keyring,
        suites: Suites::builtin().unwrap(),
        allow_sandbox: mesh == "sandbox",
        allow_draft: true,
        publication: false,
        receipts: Receipts::Read,
        max_age_seconds: None,
    };
    let now = "2999-01-01T00:00:00Z".parse().unwrap();
    verify(&fs::read(bundle).unwrap(), &policy, now).unwrap()
}
