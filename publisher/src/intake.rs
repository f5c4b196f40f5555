//! Intake: from the bytes of a submission to an entry of the log, or a refusal.
//!
//! Whatever becomes an entry passes the verifier under the keyring in force. A result moreover is an official, complete
//! run of a released suite, finished no longer than [`MAX_AGE`] before the newest published head, by the witnesses'
//! clocks if there are any and else by ours; and a key submits at most [`DAILY_QUOTA`] entries in a day of our clock.
//! What order decides is left to the log.
//!
//! A submission is known by the digest of its payload: the same payload again, however it is wrapped, is answered with
//! the index that it has. Signed bundles are public, so whoever likes may submit them again: what is in the log already
//! is found before it is verified, costs its signer nothing, and is judged by no rule that came after it.
//!
//! What waits here is bounded in bytes, [`MAX_UNVERIFIED_BYTES`], and what is verified at once by the processors that
//! there are; both stay taken by the work of a client that has hung up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use smi_keys::KeyId;
use smi_schemas::Timestamp;
use smi_schemas::codes::Code;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::said::{Read, Said, Trusted, What, verify_read};
use smi_verifier::{Finding, Refused};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::log::{Answer, Log, Logged, Submission, SubmitError};

/// How long ago a result may have been finished.
pub const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// Entries that a key may submit in a day, unless the publisher is told otherwise.
pub const DAILY_QUOTA: u32 = 288;

/// Bytes of submissions that are held at most before they are verified.
pub const MAX_UNVERIFIED_BYTES: usize = 256 * 1024 * 1024;

/// Submissions for each thread that verifies: one that it has, and one that it need not wait for.
const TURNS: usize = 2;

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// What is accepted, and where it goes.
#[derive(Debug)]
pub struct Intake {
    rules: Arc<Rules>,
    /// Signature, replay and leaf are work for a processor, not for the threads that wait for sockets: as many threads
    /// as there are processors, so that who came first is answered first, and always the same, whose caches are warm.
    verifiers: ThreadPool,
    /// Submissions that these have, or have ready.
    turns: Arc<Semaphore>,
    /// Bytes that may still be held.
    room: Arc<Semaphore>,
}

/// What submissions are held against.
#[derive(Debug)]
struct Rules {
    policy: RwLock<Arc<Policy>>,
    quota: u32,
    /// The day, and what each key has submitted in it.
    submitted: Mutex<(i64, BTreeMap<KeyId, u32>)>,
    log: Log,
}

/// Room for the bytes of a submission, until it is dropped.
#[derive(Debug, Default)]
pub struct Room(Option<OwnedSemaphorePermit>);

/// Why a submission has no entry.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The verifier refuses the bundle.
    #[error("the verifier refuses the bundle")]
    Unverified(Vec<Finding>),
    /// It is not what is taken here.
    #[error("{}", .0.detail)]
    Policy(Finding),
    /// As many bytes wait to be verified as may.
    #[error("as many bytes of submissions are held as may be")]
    Busy,
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
            Self::Busy => vec![Finding { code: Code::PublisherBusy, detail: self.to_string() }],
            Self::Log(error) => vec![Finding { code: error.code(), detail: error.to_string() }],
        }
    }
}

impl Intake {
    /// An intake under a policy, which is a publisher's whatever it says about publication, and of which the log's own
    /// keyring replaces the keyring.
    pub fn new(policy: Policy, quota: u32, log: Log) -> io::Result<Self> {
        let policy = Policy { publication: true, receipts: Receipts::Ignore, ..policy };
        // Whoever waits for what panicked is told so by a channel that breaks.
        let verifiers = ThreadPoolBuilder::new().thread_name(|_| "verify".to_owned()).panic_handler(drop).build();
        let verifiers = verifiers.map_err(io::Error::other)?;
        let turns = Arc::new(Semaphore::new(TURNS * verifiers.current_num_threads()));
        let room = Arc::new(Semaphore::new(MAX_UNVERIFIED_BYTES));
        let rules = Rules { policy: RwLock::new(Arc::new(policy)), quota, submitted: Mutex::default(), log };
        Ok(Self { rules: Arc::new(rules), verifiers, turns, room })
    }

    /// Whether a submission can be expected to be logged.
    pub fn ready(&self) -> Result<(), SubmitError> {
        self.rules.log.ready()
    }

    /// Takes room for so many more bytes of a submission.
    pub fn hold(&self, room: &mut Room, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::Busy)?;
        let more = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| Refusal::Busy)?;
        match &mut room.0 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// Verifies a submission and has it logged. The answer comes when it survives a power cut and is signed for, and
    /// not before. `head` is the time of the newest published head, where witnesses prove one.
    pub async fn accept(
        &self,
        bytes: Vec<u8>,
        room: Room,
        now: Timestamp,
        head: Option<Timestamp>,
    ) -> Result<Logged, Refusal> {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let (rules, expected) = (Arc::clone(&self.rules), self.rules.log.expect());
        let (answer, answered) = oneshot::channel();
        self.verifiers.spawn_fifo(move || {
            let judged = rules.judged(bytes, now, head.unwrap_or(now));
            // Not before: nobody may be waiting any more, and the work is done all the same.
            drop(turn);
            match judged {
                // What nobody waits for any more is not logged, and costs its signer nothing.
                _ if answer.is_closed() => {}
                Ok(Judged::New(submission)) => match rules.within_quota(submission.said(), now) {
                    Ok(()) => {
                        let tell = |logged: Result<_, SubmitError>| drop(answer.send(logged.map_err(Refusal::from)));
                        rules.log.enqueue(*submission, expected, tell);
                    }
                    Err(refusal) => drop(answer.send(Err(refusal))),
                },
                Ok(Judged::Present(logged)) => drop(answer.send(Ok(logged))),
                Err(refusal) => drop(answer.send(Err(refusal))),
            }
            // The log has made its own, or has refused.
            drop(room);
        });
        answered.await.unwrap_or(Err(Refusal::Log(SubmitError::Stopped)))
    }
}

impl Rules {
    /// What a submission is, if it is sound and no older than may be at the time of the newest head.
    fn judged(&self, bytes: Vec<u8>, now: Timestamp, head: Timestamp) -> Result<Judged, Refusal> {
        let unverified = |refused: Refused| Refusal::Unverified(refused.findings);
        let read = Read::new(&bytes).map_err(unverified)?;
        if let Some(logged) = present(&self.log, &read)? {
            return Ok(Judged::Present(logged));
        }
        let signed = verify_read(read, &self.policy(), now).map_err(unverified)?;
        recent(signed.said(), head)?;
        let (leaf, rewritten) = (signed.leaf(), signed.rewritten());
        Ok(Judged::New(Box::new(Submission::of(signed.into_said(), &leaf, rewritten.unwrap_or(bytes)))))
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

    /// Counts a submission against its signer's day. What the log refuses counts too: it is work all the same.
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

/// What a submission is found to be.
enum Judged {
    Present(Logged),
    New(Box<Submission>),
}

/// Where a bundle is, if exactly this one is in the log. Another one of the same payload is to be verified: it may be
/// another's, who has not signed at all.
fn present(log: &Log, read: &Read<'_>) -> Result<Option<Logged>, SubmitError> {
    let digest = read.payload();
    let Some(stored) = log.logged(&digest)? else { return Ok(None) };
    let answer = Answer::Present { index: stored.index, digest };
    Ok((stored.blob == read.bundle().to_bytes()).then_some(Logged { answer, stored: Some(stored) }))
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

#[cfg(test)]
mod tests;
