//! Honest entries, for tests of whatever logs them: a first keyring, and releases of suites, of which there are as many
//! as one likes and which cost little. Keys come from public seeds, the SHA-256 of their names.

#![allow(dead_code, unreachable_pub)] // each test uses a part
#![allow(clippy::unwrap_used)] // a test stops where it fails

use smi_keys::SigningKey;
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_schemas::record::{KeyringChange, Release};
use smi_schemas::statement::Versioned;
use smi_schemas::{Digest, Timestamp};

/// The log's name.
pub const ORIGIN: &str = "log.example.org";

/// The key of a name.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(*Digest::of(name.as_bytes()).as_bytes())
}

/// When everything is signed, and what time it is.
pub fn now() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

/// A keyring with a root, a log of this name, and a suite key.
pub fn keyring_of(origin: &str) -> Keyring {
    let mut keyring = Keyring::default();
    for role in [Role::Root, Role::Log, Role::Suite] {
        let name = role.as_str();
        let mut entry = Entry::new(name.parse().unwrap(), role, key(name).public());
        entry.note_name = (role == Role::Log).then(|| origin.parse().unwrap());
        keyring.add(entry).unwrap();
    }
    keyring
}

/// The same, of the log that is called [`ORIGIN`].
pub fn keyring() -> Keyring {
    keyring_of(ORIGIN)
}

/// A signed keyring.
pub fn signed(keyring: &Keyring, previous: Option<&Keyring>) -> Vec<u8> {
    let previous = previous.map(|previous| Digest::of(&previous.to_bytes()));
    let change = KeyringChange::of(keyring.version(), &keyring.to_bytes(), previous, now()).unwrap();
    key("root").sign_statement(&change.to_bytes()).to_bytes()
}

/// The signed keyring that a log begins with.
pub fn first() -> Vec<u8> {
    signed(&keyring(), None)
}

/// The signed keyring after the first, with one key more.
pub fn second() -> Vec<u8> {
    let mut next = keyring();
    next.add(Entry::new("reviewer".parse().unwrap(), Role::Reviewer, key("reviewer").public())).unwrap();
    signed(&next, Some(&keyring()))
}

/// The signed release of a suite: the same for the same number, and another for another.
pub fn release(number: u64) -> Vec<u8> {
    let suite =
        Versioned { version: format!("1.0.{number}").parse().unwrap(), digest: Digest::of(&number.to_be_bytes()) };
    key("suite").sign_statement(&Release::of(suite, now()).unwrap().to_bytes()).to_bytes()
}
