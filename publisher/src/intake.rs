//! Intake: from the bytes of a submission to an entry of the log, or a refusal.
//!
//! A result is accepted when it passes the verifier under a publisher's policy: an official, complete run of a
//! released suite, by a vendor whose key is in force. Its identity is the digest of its payload; the same payload
//! again, however it is wrapped, is answered with the index that it has.

use std::sync::Arc;

use smi_keys::keyring::Publish;
use smi_schemas::Timestamp;
use smi_schemas::codes::Code;
use smi_schemas::feed::Entry;
use smi_verifier::policy::Policy;
use smi_verifier::{Finding, Verified, verify};

use crate::log::{Answer, Log, Submission, SubmitError};

/// What is accepted, and where it goes.
#[derive(Debug)]
pub struct Intake {
    policy: Arc<Policy>,
    log: Log,
}

/// Why a submission has no entry.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The verifier refuses the bundle.
    #[error("the verifier refuses the bundle")]
    Unverified(Vec<Finding>),
    /// The signer's results are published after review.
    #[error("results of this signer are published after review")]
    NeedsReview,
    /// The log did not take it.
    #[error("{0}")]
    Log(#[from] SubmitError),
}

impl Refusal {
    /// The grounds, at least one.
    pub fn findings(&self) -> Vec<Finding> {
        let one = |code| vec![Finding { code, detail: self.to_string() }];
        match self {
            Self::Unverified(findings) => findings.clone(),
            Self::NeedsReview => one(Code::ReviewNeeded),
            Self::Log(error) => one(error.code()),
        }
    }
}

impl Intake {
    /// An intake under a policy, which is a publisher's whatever it says about publication.
    pub fn new(policy: Policy, log: Log) -> Self {
        Self { policy: Arc::new(Policy { publication: true, ..policy }), log }
    }

    /// Whether submissions can be taken.
    pub fn is_ready(&self) -> bool {
        self.log.is_running()
    }

    /// Verifies a submission and has it logged. The answer comes when it survives a power cut, and not before.
    pub async fn accept(&self, bytes: Vec<u8>, now: Timestamp) -> Result<Answer, Refusal> {
        let policy = Arc::clone(&self.policy);
        // Signature and replay are work for a processor, not for the threads that wait for sockets.
        let verified = tokio::task::spawn_blocking(move || verify(&bytes, &policy, now)).await;
        let verified = match verified {
            Ok(Ok(verified)) => verified,
            Ok(Err(refused)) => return Err(Refusal::Unverified(refused.findings)),
            Err(_) => return Err(Refusal::Log(SubmitError::Stopped)),
        };
        if self.needs_review(&verified) {
            return Err(Refusal::NeedsReview);
        }
        let entry = entry(&verified, self.policy.keyring.version(), now);
        let submission = Submission {
            digest: verified.payload_digest(),
            blob: verified.bundle().to_bytes(),
            entry: Box::new(move |index| serde_json::to_vec(&Entry { index, ..entry }).unwrap_or_default()),
        };
        Ok(self.log.submit(submission).await?)
    }

    fn needs_review(&self, verified: &Verified) -> bool {
        let signer = self.policy.keyring.find(verified.key_id());
        signer.is_none_or(|signer| signer.publish != Some(Publish::Direct))
    }
}

/// The entry of a result, with an index that the log replaces.
fn entry(verified: &Verified, keyring: u64, now: Timestamp) -> Entry {
    let predicate = &verified.statement().predicate;
    Entry {
        index: 0,
        payload: verified.payload_digest(),
        accepted_at: now,
        signer: verified.signer().clone(),
        key_id: verified.key_id().to_string(),
        keyring,
        mesh: predicate.mesh.slug.clone(),
        mesh_version: predicate.mesh.version.clone(),
        target: predicate.target.to_string(),
        suite: predicate.suite.version.clone(),
        finished_at: predicate.run.finished_at,
        apis: verified.apis().to_vec(),
    }
}
