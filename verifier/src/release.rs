//! Is this file a suite that the programme released?
//!
//! [`verify_release`] goes through those stages of a verification that a release has: size, shape, signature and
//! statement as for a result; **signer**, that the key has the role that signs releases; **suite**, that the file is
//! the one that was released, by version and digest. What passes is a [`Released`], which nothing else can make.
//!
//! The time of the release is its signer's claim.

use smi_keys::KeyId;
use smi_keys::keyring::Keyring;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::Slug;
use smi_schemas::record::{Record, Release, SUITE_TYPE};
use smi_schemas::statement::Versioned;
use smi_schemas::suite::Suite;

use crate::{Refused, Stage, refuse, role_may, shape, signature, size, statement};

/// The stages of a release's verification, in order.
pub const STAGES: [Stage; 6] =
    [Stage::Size, Stage::Shape, Stage::Signature, Stage::Statement, Stage::Signer, Stage::Suite];

/// A release that passed every stage. Only [`verify_release`] makes one.
#[derive(Clone, Debug)]
pub struct Released {
    release: Record<Release>,
    signer: Slug,
    key_id: KeyId,
}

impl Released {
    /// What was signed.
    pub fn release(&self) -> &Record<Release> {
        &self.release
    }

    /// The signer's name in the keyring.
    pub fn signer(&self) -> &Slug {
        &self.signer
    }

    /// The signer's key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}

/// Verifies a release's bytes against a keyring and the suite that it is said to be of, as [`Suite::read`] gives it.
pub fn verify_release(bytes: &[u8], keyring: &Keyring, (suite, digest): &(Suite, Digest)) -> Result<Released, Refused> {
    size(bytes)?;
    let bundle = shape(bytes)?;
    let signer = signature(&bundle, keyring)?;
    let release = statement(&bundle, Record::<Release>::read)?;
    role_may(signer, SUITE_TYPE)?;
    let released = Versioned { version: release.says.version.clone(), digest: release.subject };
    same(&released, &Versioned { version: suite.version.clone(), digest: *digest })?;
    Ok(Released { release, signer: signer.name.clone(), key_id: signer.public_key.key_id() })
}

fn same(released: &Versioned, file: &Versioned) -> Result<(), Refused> {
    if released.version != file.version {
        let detail = format!("suite {} was released, and the file is suite {}", released.version, file.version);
        return refuse(Stage::Suite, Code::SuiteDigest, detail);
    }
    if released.digest != file.digest {
        let detail = format!("suite {} of {}, and the file is {}", released.version, released.digest, file.digest);
        return refuse(Stage::Suite, Code::SuiteDigest, detail);
    }
    Ok(())
}
