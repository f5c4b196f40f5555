//! Whatever may become an entry of the log, verified: results, and records of every kind.
//!
//! [`verify_said`] goes through the stages of a verification that do not depend on order: size, shape, signature and
//! statement as for a result, of which the size leaves room for the log entry that completes it; **signer**, that the key has the role that signs such a thing, and for a keyring that as
//! many of its root keys signed as its threshold says; and for a result everything else that [`crate::verify()`] checks.
//! What depends on what is in the log already is for the [`crate::ledger`] to admit.
//!
//! A keyring is signed by the root keys of the keyring before it and by its own, in one envelope: as many of each as
//! that keyring's threshold says. The first keyring of a log has only its own ([`verify_first`]); whoever trusts it says
//! so by its digest.

use std::collections::BTreeSet;
use std::sync::Arc;

use smi_keys::keyring::{Entry as Key, Keyring, Role};
use smi_keys::{KeyId, PublicKey};
use smi_schemas::bundle::{Bundle, MAX_BUNDLE_BYTES, MAX_PROOF_HASHES, Signature};
use smi_schemas::codes::Code;
use smi_schemas::leaf::{Leaf, MAX_LEAF_BYTES};
use smi_schemas::names::Slug;
use smi_schemas::record::{
    KEYRING_TYPE, KeyringChange, Predicate, REVIEW_TYPE, Record, Release, Review, SUITE_TYPE, SUPERSESSION_TYPE,
    Supersession, WITHDRAWAL_TYPE, Withdrawal,
};
use smi_schemas::statement::Payload;
use smi_schemas::{Digest, Timestamp};

use crate::note::{MAX_NAME_BYTES, MAX_SIGNATURES};
use crate::policy::Policy;
use crate::{Refused, Stage, Verified, judged, refusal, refuse, result, role_may, shape, size, statement};
use crate::{not_revoked, signed as signed_by};

/// What a publisher adds to a bundle to complete it, where every text in it is empty.
const EMPTY_ENTRY: &str = r#","tlogEntries":[{"logIndex":"","logId":{"keyId":""},"kindVersion":{"kind":"dsse","version":"0.0.1"},"integratedTime":"0","inclusionProof":{"logIndex":"","rootHash":"","treeSize":"","hashes":[],"checkpoint":{"envelope":""}},"canonicalizedBody":""}]"#;

/// Bytes of the largest number.
const NUMBER_BYTES: usize = 20;

/// Bytes of a hash in base64.
const HASH_BYTES: usize = base64_bytes(32);

/// Bytes of a checkpoint's text with the empty line behind it, in JSON, where the end of a line has two.
const CHECKPOINT_BYTES: usize = MAX_NAME_BYTES + NUMBER_BYTES + HASH_BYTES + 4 * 2;

/// Bytes of a signature's line, in JSON: dash, name, and base64 of the key's id, a witness's time and the signature. No
/// name that a keyring knows has anything to escape.
const SIGNATURE_LINE_BYTES: usize = "\u{2014} ".len() + MAX_NAME_BYTES + 1 + base64_bytes(4 + 8 + 64) + 2;

/// Bytes that a log entry adds to a bundle at most: index, size, root, the longest proof, the checkpoint with as many
/// signatures as a note has, and the largest leaf.
pub const MAX_LOG_ENTRY_BYTES: usize =
    EMPTY_ENTRY.len() + 3 * NUMBER_BYTES + 2 * HASH_BYTES + MAX_PROOF_HASHES * (HASH_BYTES + r#""","#.len()) - 1
        + CHECKPOINT_BYTES
        + MAX_SIGNATURES * SIGNATURE_LINE_BYTES
        + base64_bytes(MAX_LEAF_BYTES);

/// Bytes of the largest bundle that becomes an entry, as it is stored: completed, it is still a bundle.
pub const MAX_LOGGED_BYTES: usize = MAX_BUNDLE_BYTES - MAX_LOG_ENTRY_BYTES;

const fn base64_bytes(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// A bundle that passed every stage which does not depend on order. Only this module makes one.
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    bytes: &'a [u8],
    bundle: Bundle,
    said: Said,
}

/// What such a bundle says, and who says it.
#[derive(Clone, Debug)]
pub struct Said {
    payload: Digest,
    signers: Vec<Signer>,
    says: What,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The name in the keyring.
    pub name: Slug,
    /// The key.
    pub key: PublicKey,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum What {
    /// A result.
    Result(Box<Verified>),
    /// A suite's release.
    Suite(Record<Release>),
    /// A keyring, and the digest of the one that it says it follows.
    Keyring(Arc<Trusted>, Option<Digest>),
    /// A review.
    Review(Record<Review>),
    /// A withdrawal.
    Withdrawal(Record<Withdrawal>),
    /// A supersession.
    Supersession(Record<Supersession>),
}

/// A keyring with the digest of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The keyring.
    pub keyring: Keyring,
    /// The digest of its file.
    pub digest: Digest,
}

impl Signed<'_> {
    /// The bundle as it was signed, without what a publisher added.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Its bytes as they are stored, unless those are the bytes that it was read from, as they nearly always are.
    pub fn rewritten(&self) -> Option<Vec<u8>> {
        self.bundle.payload_text(self.bytes).is_none().then(|| self.bundle.to_bytes())
    }

    /// What it says.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// What it says, as far as a log needs it: without the bundle and without the observations of a result. They are
    /// most of its memory, and are let go of most cheaply where they were read.
    #[must_use]
    pub fn into_said(self) -> Said {
        let mut said = self.said;
        if let What::Result(verified) = &mut said.says {
            verified.statement.predicate.assertions = Vec::new();
        }
        said
    }

    /// Its leaf.
    pub fn leaf(&self) -> Leaf {
        let keys: Vec<String> = self.said.signers.iter().map(|signer| signer.key.to_spki_pem()).collect();
        let text = self.bundle.payload_text(self.bytes);
        Leaf::with_payload(self.said.payload, text, &self.bundle, keys.iter().map(String::as_str))
    }
}

impl Said {
    /// What it is known by: the digest of its payload.
    pub fn payload(&self) -> Digest {
        self.payload
    }

    /// Who signed, at least one, in the order of the signatures.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// What was said.
    pub fn says(&self) -> &What {
        &self.says
    }

    /// The keyring that it is, if it is one.
    pub fn keyring(&self) -> Option<&Arc<Trusted>> {
        match &self.says {
            What::Keyring(trusted, _) => Some(trusted),
            _ => None,
        }
    }
}

/// A bundle as it is stored, without what a publisher added and with room for it; nothing of it verified. Only
/// [`Read::new`] makes one.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    bytes: &'a [u8],
    bundle: Bundle,
    payload: Digest,
}

impl<'a> Read<'a> {
    /// Goes through the stages before the signature: size and shape.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Refused> {
        size(bytes)?;
        let bundle = shape(bytes)?.into_bare();
        // It is never written with more bytes than it was read from, so that few have to be written to be measured.
        if bytes.len() > MAX_LOGGED_BYTES {
            let stored = bundle.to_bytes().len();
            if stored > MAX_LOGGED_BYTES {
                let detail = format!("{stored} bytes without a log entry, at most {MAX_LOGGED_BYTES}");
                return refuse(Stage::Size, Code::BundleTooLarge, detail);
            }
        }
        Ok(Self { payload: bundle.payload_digest(), bundle, bytes })
    }

    /// What it says it is.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What it is known by, if it is what it says.
    pub fn payload(&self) -> Digest {
        self.payload
    }
}

/// Verifies a bundle's bytes, whatever it says, against a policy at a time.
pub fn verify_said<'a>(bytes: &'a [u8], policy: &Policy, now: Timestamp) -> Result<Signed<'a>, Refused> {
    verify_read(Read::new(bytes)?, policy, now)
}

/// The same of a bundle that was read.
pub fn verify_read<'a>(read: Read<'a>, policy: &Policy, now: Timestamp) -> Result<Signed<'a>, Refused> {
    let signer = signed_by(&read.bundle, &policy.keyring)?;
    not_revoked(signer)?;
    said(read, signer, policy, now)
}

/// The same of what is in a log, where not the verifier but the [`crate::ledger`] tells whether a key is revoked: its
/// index decides. Keyrings that follow one another change nothing else of a key, so that what is verified under one of
/// them is verified under every one that has the signer's key.
pub fn verify_logged<'a>(bytes: &'a [u8], policy: &Policy, now: Timestamp) -> Result<Signed<'a>, Refused> {
    let read = Read::new(bytes)?;
    let signer = signed_by(&read.bundle, &policy.keyring)?;
    said(read, signer, policy, now)
}

fn said<'a>(read: Read<'a>, signer: &Key, policy: &Policy, now: Timestamp) -> Result<Signed<'a>, Refused> {
    let Read { bytes, bundle, payload } = read;
    let says = match statement(&bundle, Payload::read)? {
        Payload::Result(statement) => {
            alone(&bundle)?;
            What::Result(Box::new(judged(payload, *statement, signer, policy, now)?))
        }
        Payload::Other(predicate_type) => match predicate_type.as_str() {
            KEYRING_TYPE => return keyring(Read { bytes, bundle, payload }, Some(&policy.keyring)),
            SUITE_TYPE => What::Suite(record(&bundle, signer)?),
            REVIEW_TYPE => What::Review(record(&bundle, signer)?),
            WITHDRAWAL_TYPE => What::Withdrawal(record(&bundle, signer)?),
            SUPERSESSION_TYPE => What::Supersession(record(&bundle, signer)?),
            // What is no type at all is refused as no result.
            _ => What::Result(Box::new(result(&bundle, signer, policy, now)?)),
        },
    };
    let signers = vec![Signer::of(signer)];
    Ok(Signed { bytes, bundle, said: Said { payload, signers, says } })
}

/// Verifies the first keyring of a log, which nothing but itself speaks for.
pub fn verify_first(bytes: &[u8]) -> Result<Signed<'_>, Refused> {
    keyring(Read::new(bytes)?, None)
}

fn record<P: Predicate>(bundle: &Bundle, signer: &Key) -> Result<Record<P>, Refused> {
    alone(bundle)?;
    let record = statement(bundle, Record::read)?;
    role_may(signer, P::TYPE)?;
    Ok(record)
}

/// Only a keyring is signed by several.
pub(crate) fn alone(bundle: &Bundle) -> Result<(), Refused> {
    if bundle.further.is_empty() {
        return Ok(());
    }
    let count = bundle.signatures().count();
    refuse(Stage::Shape, Code::BundleSignatures, format!("{count} signatures where one is enough"))
}

fn keyring<'a>(read: Read<'a>, before: Option<&Keyring>) -> Result<Signed<'a>, Refused> {
    let Read { bytes, bundle, payload } = read;
    if let Some(before) = before {
        signed(&bundle, before)?;
    }
    let Record { subject: digest, says } = statement(&bundle, Record::<KeyringChange>::read)?;
    let shape = |detail: String| refusal(Stage::Statement, Code::StatementShape, detail);
    let (keyring, _) = Keyring::read(&says.keyring()).map_err(|error| shape(format!("the keyring: {error}")))?;
    if keyring.version() != says.version {
        let detail = format!("the keyring has version {}, and the statement says {}", keyring.version(), says.version);
        return Err(shape(detail));
    }
    let signers = signed(&bundle, &keyring)?;
    if signers.len() != bundle.signatures().count() {
        return refuse(Stage::Signature, Code::SignatureInvalid, "a signature that no root key of the keyring made");
    }
    if let Some(before) = before {
        let follows = before.check_successor(&keyring);
        follows.or_else(|error| refuse(Stage::Signer, Code::KeyringNotNext, error))?;
    }
    let trusted = Arc::new(Trusted { keyring, digest });
    let says = What::Keyring(trusted, says.previous);
    Ok(Signed { bytes, bundle, said: Said { payload, signers, says } })
}

/// The root keys of a keyring that signed, if there are as many in force as its threshold says.
fn signed(bundle: &Bundle, keyring: &Keyring) -> Result<Vec<Signer>, Refused> {
    let message = bundle.signed_bytes();
    let mut seen = BTreeSet::new();
    let mut signers = Vec::new();
    let mut in_force = 0;
    for Signature { keyid, sig } in bundle.signatures() {
        let Ok(id) = keyid.parse::<KeyId>() else { continue };
        let Some(key) = keyring.find(&id).filter(|key| key.role == Role::Root) else { continue };
        if key.public_key.verify(&message, sig) && seen.insert(id) {
            signers.push(Signer::of(key));
            in_force += u32::from(key.revoked.is_none());
        }
    }
    let threshold = keyring.threshold().unwrap_or(1);
    if in_force < threshold {
        let version = keyring.version();
        let detail = format!("{in_force} root keys of keyring version {version} signed, and {threshold} must");
        return refuse(Stage::Signature, Code::KeyringThreshold, detail);
    }
    Ok(signers)
}

impl Signer {
    fn of(key: &Key) -> Self {
        Self { name: key.name.clone(), key: key.public_key }
    }
}

#[cfg(test)]
mod tests {
    use smi_keys::SigningKey;
    use smi_schemas::bundle::LogEntry;

    use super::*;
    use crate::merkle::Hash;
    use crate::note::{Checkpoint, cosign, sign_checkpoint};

    #[test]
    fn the_largest_log_entry_has_as_many_bytes_as_room_is_left_for() {
        let key = SigningKey::from_seed([7; 32]);
        let name = |number: usize| format!("{number:a>MAX_NAME_BYTES$}");
        let checkpoint = Checkpoint::new(&name(0), u64::MAX, Hash::of_leaf(b"")).unwrap();
        let mut note = sign_checkpoint(&checkpoint, &key);
        for number in 1..MAX_SIGNATURES {
            note.push(cosign(&checkpoint, &name(number), &key, 1).unwrap()).unwrap();
        }
        assert!(
            note.push(cosign(&checkpoint, &name(MAX_SIGNATURES), &key, 1).unwrap()).is_err(),
            "one more is refused"
        );
        let entry = LogEntry {
            index: u64::MAX,
            log_id: [7; 32],
            root: [7; 32],
            size: u64::MAX,
            hashes: vec![[7; 32]; MAX_PROOF_HASHES],
            checkpoint: String::from_utf8(note.to_bytes()).unwrap(),
            body: vec![7; MAX_LEAF_BYTES],
        };
        let bare = key.sign_statement(b"{}").to_bytes();
        let added = Bundle::completion(&bare, &entry).unwrap().1.len();
        // The log's own signature has no time: its base64 has twelve characters fewer.
        assert_eq!(added + 12, MAX_LOG_ENTRY_BYTES);
    }
}
