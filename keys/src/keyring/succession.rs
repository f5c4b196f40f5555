//! Which keyring may follow which.

use smi_schemas::codes::Code;
use smi_schemas::names::Slug;

use super::{Entry, Keyring, Revoked};

/// Why a keyring does not follow another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// Its version is not a later one.
    #[error("version {found} is not later than version {previous}")]
    Version {
        /// The version of the keyring before.
        previous: u64,
        /// The version found.
        found: u64,
    },
    /// A key is gone.
    #[error("key {name} was removed")]
    Removed {
        /// Its name.
        name: Slug,
    },
    /// A key is in another place.
    #[error("key {name} was moved to another place")]
    Moved {
        /// Its name.
        name: Slug,
    },
    /// Something of a key is different that is not its revocation.
    #[error("key {name} was altered")]
    Altered {
        /// Its name.
        name: Slug,
    },
    /// A revocation is gone.
    #[error("key {name} is no longer revoked")]
    RevocationLifted {
        /// The key's name.
        name: Slug,
    },
    /// A key counts for longer than it did.
    #[error("key {name} was revoked from index {previous} on, and is from index {found} on")]
    RevocationLater {
        /// The key's name.
        name: Slug,
        /// From where on it did not count.
        previous: u64,
        /// From where on it does not count now.
        found: u64,
    },
}

impl SuccessionError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        Code::KeyringSuccession
    }
}

impl Keyring {
    /// Whether `next` may follow this keyring: its version is later, for several changes may be decided together; every
    /// key is in its place and unaltered but for a revocation that was added or moved to an earlier index, and new keys
    /// come last. Threshold and quorum are its own. Who signed it is not judged here.
    pub fn check_successor(&self, next: &Self) -> Result<(), SuccessionError> {
        if next.version <= self.version {
            return Err(SuccessionError::Version { previous: self.version, found: next.version });
        }
        self.keys.iter().enumerate().try_for_each(|(place, entry)| {
            let name = || entry.name.clone();
            match next.keys.get(place) {
                Some(successor) if successor.public_key == entry.public_key => check_entry(entry, successor),
                _ if next.find(&entry.public_key.key_id()).is_some() => Err(SuccessionError::Moved { name: name() }),
                _ => Err(SuccessionError::Removed { name: name() }),
            }
        })
    }
}

fn check_entry(entry: &Entry, next: &Entry) -> Result<(), SuccessionError> {
    let name = || entry.name.clone();
    match (entry.revoked, next.revoked) {
        (Some(_), None) => return Err(SuccessionError::RevocationLifted { name: name() }),
        (Some(Revoked { from_index: previous }), Some(Revoked { from_index: found })) if found > previous => {
            return Err(SuccessionError::RevocationLater { name: name(), previous, found });
        }
        _ => {}
    }
    let unrevoked = |entry: &Entry| Entry { revoked: None, ..entry.clone() };
    if unrevoked(entry) == unrevoked(next) { Ok(()) } else { Err(SuccessionError::Altered { name: name() }) }
}
