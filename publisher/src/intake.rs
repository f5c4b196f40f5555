//! Intake: from the bytes of a submission to an entry of the log, or a refusal.
//!
//! Whatever becomes an entry passes the verifier under the keyring in force. A result moreover is an official, complete
//! run of a released suite, finished no longer than [`MAX_AGE`] before the newest published head, by the witnesses'
//! clocks if there are any and else by ours; and a key submits at most [`DAILY_QUOTA`] entries in a day of our clock.
//! What order decides is left to the log.
//!
//! A submission is known by the digest of its payload: the same payload again, however it is wrapped, is answered with
//! the index that it has.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use smi_keys::KeyId;
use smi_schemas::Timestamp;
use smi_schemas::codes::Code;
use smi_verifier::Finding;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::said::{Said, Trusted, What, verify_said};
use tokio::sync::Semaphore;

use crate::log::{Answer, Log, Submission, SubmitError};

/// How long ago a result may have been finished.
pub const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// Entries that a key may submit in a day, unless the publisher is told otherwise.
pub const DAILY_QUOTA: u32 = 288;

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// What is accepted, and where it goes.
#[derive(Debug)]
pub struct Intake {
    policy: RwLock<Arc<Policy>>,
    quota: u32,
    /// The day, and what each key has submitted in it.
    submitted: Mutex<(i64, BTreeMap<KeyId, u32>)>,
    /// Verifications at once.
    turns: Semaphore,
    log: Log,
}

/// A submission that has an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it is.
    pub answer: Answer,
    /// The bundle as it was stored, if it was added.
    pub stored: Option<Vec<u8>>,
}

/// Why a submission has no entry.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The verifier refuses the bundle.
    #[error("the verifier refuses the bundle")]
    Unverified(Vec<Finding>),
    /// It is not what is taken here.
    #[error("{}", .0.detail)]
    Policy(Finding),
    /// The log did not take it.
    #[error("{0}")]
    Log(#[from] SubmitError),
}

impl Refusal {
    /// The grounds, at least one.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Unverified(findings) => findings.clone(),
            Self::Policy(finding) => vec![finding.clone()],
            Self::Log(error) => vec![Finding { code: error.code(), detail: error.to_string() }],
        }
    }
}

impl Intake {
    /// An intake under a policy, which is a publisher's whatever it says about publication, and of which the log's own
    /// keyring replaces the keyring.
    pub fn new(policy: Policy, quota: u32, log: Log) -> Self {
        let policy = Policy { publication: true, receipts: Receipts::Ignore, ..policy };
        let turns = Semaphore::new(thread::available_parallelism().map_or(1, NonZeroUsize::get));
        Self { policy: RwLock::new(Arc::new(policy)), quota, submitted: Mutex::default(), turns, log }
    }

    /// Whether submissions can be taken.
    pub fn is_ready(&self) -> bool {
        self.log.is_running()
    }

    /// Verifies a submission and has it logged. The answer comes when it survives a power cut and is signed for, and
    /// not before. `head` is the time of the newest published head, where witnesses prove one.
    pub async fn accept(&self, bytes: Vec<u8>, now: Timestamp, head: Option<Timestamp>) -> Result<Accepted, Refusal> {
        let policy = self.policy();
        // Signature, replay and leaf are work for a processor, not for the threads that wait for sockets; and no more at
        // once than there are processors, so that who came first is answered first. The semaphore is never closed.
        let turn = self.turns.acquire().await.ok();
        let said = tokio::task::spawn_blocking(move || verify_said(&bytes, &policy, now).map(Submission::new)).await;
        drop(turn);
        let submission = match said {
            Ok(Ok(submission)) => submission,
            Ok(Err(refused)) => return Err(Refusal::Unverified(refused.findings)),
            Err(_) => return Err(Refusal::Log(SubmitError::Stopped)),
        };
        recent(submission.said(), head.unwrap_or(now))?;
        self.within_quota(submission.said(), now)?;
        let stored = submission.blob().to_owned();
        let answer = self.log.submit(submission).await?;
        // What was there already may be another bundle of the same payload.
        let stored = matches!(answer, Answer::Added { .. }).then_some(stored);
        Ok(Accepted { answer, stored })
    }

    /// The policy with the keyring in force.
    fn policy(&self) -> Arc<Policy> {
        let policy = Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner));
        match self.log.trusted() {
            Some(trusted) if trusted.keyring != policy.keyring => self.renew(&trusted),
            _ => policy,
        }
    }

    fn renew(&self, trusted: &Trusted) -> Arc<Policy> {
        let mut policy = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        let renewed = Arc::new(Policy { keyring: trusted.keyring.clone(), ..Policy::clone(&policy) });
        *policy = Arc::clone(&renewed);
        renewed
    }

    /// Counts a submission against its signer's day. What is refused later, or was there already, counts too: it is
    /// work all the same.
    fn within_quota(&self, said: &Said, now: Timestamp) -> Result<(), Refusal> {
        let Some(signer) = said.signers().first() else { return Ok(()) };
        let today = now.unix_seconds().div_euclid(SECONDS_OF_A_DAY);
        let mut submitted = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
        if submitted.0 != today {
            *submitted = (today, BTreeMap::new());
        }
        let count = submitted.1.entry(signer.key.key_id()).or_default();
        if *count >= self.quota {
            let detail = format!("key {}, {} a day", signer.name, self.quota);
            return Err(Refusal::Policy(Finding { code: Code::QuotaSpent, detail }));
        }
        *count += 1;
        Ok(())
    }
}

fn recent(said: &Said, head: Timestamp) -> Result<(), Refusal> {
    let What::Result(verified) = said.says() else { return Ok(()) };
    let finished_at = verified.statement().predicate.run.finished_at;
    let age = head.unix_seconds() - finished_at.unix_seconds();
    if u64::try_from(age).is_ok_and(|age| age > MAX_AGE.as_secs()) {
        let detail = format!("finished at {finished_at}, and the log is at {head}");
        return Err(Refusal::Policy(Finding { code: Code::RunOld, detail }));
    }
    Ok(())
}
