//! Is this file a suite that the programme released?
//!
//! [`verify_release`] goes through those stages of a verification that a release has: size, shape, signature and
//! statement as for a result; **signer**, that the key has the role that signs releases; **suite**, that the file is
//! the one that was released, by version and digest; and the stages of a [`receipt`], where the bundle was completed by
//! a publisher and the keyring names its log. What passes is a [`Released`], which nothing else can make.
//!
//! Suites outlive the key that released them. A revocation of it is judged by the index in the receipt, as for a
//! result; a release that has none is refused once its key is revoked, from whichever index on.
//!
//! The time of the release is its signer's claim, which the receipt bounds.

use smi_keys::KeyId;
use smi_keys::keyring::Keyring;
use smi_schemas::codes::Code;
use smi_schemas::names::Slug;
use smi_schemas::record::{Record, Release, SUITE_TYPE};
use smi_schemas::statement::Versioned;
use smi_schemas::suite::Suite;
use smi_schemas::{Digest, Timestamp};

use crate::policy::{Policy, Receipts, Suites};
use crate::receipt::{self, Heads, Proven, Receipt};
use crate::said::alone;
use crate::{Refused, Stage, not_revoked, refuse, role_may, shape, signed, size, statement};

/// The stages of a release's verification, in order.
pub const STAGES: [Stage; 11] = [
    Stage::Size,
    Stage::Shape,
    Stage::Signature,
    Stage::Statement,
    Stage::Signer,
    Stage::Suite,
    Stage::Checkpoint,
    Stage::Inclusion,
    Stage::Quorum,
    Stage::InForce,
    Stage::Freshness,
];

/// A release that passed every stage. Only [`verify_release`] makes one.
#[derive(Clone, Debug)]
pub struct Released {
    release: Record<Release>,
    signer: Slug,
    key_id: KeyId,
    proven: Proven,
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

    /// Its proven place in a log; none when there was nothing to check or nothing to check it against.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.proven.receipt.as_ref()
    }

    /// The stages that could not be decided.
    pub fn undecided(&self) -> Vec<Stage> {
        self.proven.undecided()
    }
}

/// Verifies a release's bytes against a keyring and the suite that it is said to be of, as [`Suite::read`] gives it, at a
/// time.
pub fn verify_release(
    bytes: &[u8],
    keyring: &Keyring,
    (suite, digest): &(Suite, Digest),
    now: Timestamp,
) -> Result<Released, Refused> {
    size(bytes)?;
    let bundle = shape(bytes)?;
    alone(&bundle)?;
    let policy = policy(keyring);
    let signer = signed(&bundle, &policy.keyring)?;
    if !receipt::decides(&bundle, &policy) {
        not_revoked(signer)?;
    }
    let release = statement(&bundle, Record::<Release>::read)?;
    role_may(signer, SUITE_TYPE)?;
    let released = Versioned { version: release.says.version.clone(), digest: release.subject };
    same(&released, &Versioned { version: suite.version.clone(), digest: *digest })?;
    let (payload, claimed) = (bundle.payload_digest(), release.says.released_at);
    let proven = receipt::check(&bundle, payload, signer, claimed, &policy, now, &Heads::default())?;
    Ok(Released { release, signer: signer.name.clone(), key_id: signer.public_key.key_id(), proven })
}

/// What a receipt is judged by: the keyring alone. A release is as good as it was, however old it is.
fn policy(keyring: &Keyring) -> Policy {
    Policy { receipts: Receipts::Read, ..Policy::of_log(keyring.clone(), Suites::default()) }
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
