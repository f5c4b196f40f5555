//! A log asks its witnesses to cosign.
//!
//! Every witness is asked at the same time, and no request takes longer than [`REQUEST_TIMEOUT`]. Of each is remembered
//! the size that it saw last, from which the proof leads to the new checkpoint. Where it saw another one, it says so,
//! and is asked once more from there.
//!
//! What a witness answers is verified before it counts: over exactly the checkpoint that it was asked about, with the
//! key that the keyring has for it. Signatures by other keys are read over.
//!
//! Nothing here is kept on disk. A crash leaves witnesses that cosigned what nobody published; asked again, they say
//! which size they saw last, and cosign again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use smi_keys::keyring::{Entry, Keyring};
use smi_schemas::Timestamp;
use smi_schemas::names::{Slug, Url};
use smi_verifier::merkle::Tree;
use smi_verifier::note::{KeyKind, Note, NoteError, NoteKey, NoteSignature};
use smi_verifier::policy::MAX_CLOCK_SKEW_SECONDS;
use smi_verifier::proof::{AddCheckpoint, SIZE_MEDIA_TYPE, read_size};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::log::Head;
use crate::meters::{Meters, Outcome};
use crate::outbound::{self, causes};

/// How long a witness may take to answer a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Bytes of a refusal that are told.
const MAX_TOLD_BYTES: usize = 200;
/// Requests about one checkpoint: one from what is remembered, and one from what the witness says.
const MAX_REQUESTS: usize = 2;

/// The witnesses of one log.
pub struct Witnesses {
    /// Made when somebody is to be asked: it looks for the system's certificates, which a log without witnesses need
    /// not have.
    http: OnceLock<Result<Client, String>>,
    log: NoteKey,
    tree: Arc<RwLock<Tree>>,
    meters: Arc<Meters>,
    clock: fn() -> Timestamp,
    timeout: Duration,
    /// The size that each saw last, by its key; locked while it is being asked.
    seen: Mutex<BTreeMap<String, Arc<AsyncMutex<u64>>>>,
}

/// A witness did cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name in the keyring.
    pub name: Slug,
    /// Its cosignature, verified.
    pub signature: NoteSignature,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing, or not everything, came back.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Nothing came back in time.
    #[error("no answer in time")]
    Slow,
    /// More came back than is read.
    #[error("an answer of more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// It refused.
    #[error("{status}: {said:?}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The beginning of what it said.
        said: String,
    },
    /// It saw more entries than the checkpoint has.
    #[error("it saw {seen} entries, and was asked about {size}")]
    Ahead {
        /// Entries that it saw.
        seen: u64,
        /// Entries that it was asked about.
        size: u64,
    },
    /// It named a size, and then another one.
    #[error("it named the size {seen} that it saw last, and then refused a proof from there")]
    Fickle {
        /// What it named first.
        seen: u64,
    },
    /// What came back are no signatures.
    #[error("an answer that is no cosignature: {0}")]
    Answer(NoteError),
    /// None of the signatures is by the witness's key.
    #[error("an answer without a signature by its key")]
    Unsigned,
    /// The signature is not over this checkpoint, or its time is none.
    #[error("a cosignature that does not hold: {0}")]
    Signature(NoteError),
    /// The cosignature's time has not come yet: no reader would count it.
    #[error("a cosignature of the time {time}, and it is {now}")]
    Time {
        /// Seconds since 1970, by the witness's clock.
        time: u64,
        /// What time it was here.
        now: Timestamp,
    },
}

impl AskError {
    /// What is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable(_) => Outcome::Unreachable,
            Self::Slow => Outcome::Slow,
            Self::Refused { .. } => Outcome::Refused,
            Self::Ahead { .. } | Self::Fickle { .. } => Outcome::Conflict,
            Self::TooLong | Self::Answer(_) | Self::Unsigned | Self::Signature(_) | Self::Time { .. } => {
                Outcome::Unsound
            }
        }
    }
}

/// Who is asked about what.
struct Question {
    http: Result<Client, String>,
    address: String,
    log: NoteKey,
    witness: NoteKey,
    tree: Arc<RwLock<Tree>>,
    head: Arc<Head>,
    clock: fn() -> Timestamp,
    timeout: Duration,
}

impl Witnesses {
    /// The witnesses of a log with this key, whose tree can be asked for proofs.
    pub fn new(log: NoteKey, tree: Arc<RwLock<Tree>>, meters: Arc<Meters>, clock: fn() -> Timestamp) -> Self {
        let (http, seen) = (OnceLock::new(), Mutex::default());
        Self { http, log, tree, meters, clock, timeout: REQUEST_TIMEOUT, seen }
    }

    /// The same with less patience.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The log's key.
    pub fn log(&self) -> &NoteKey {
        &self.log
    }

    /// What time it is here.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Asks every witness of a keyring that has an address, except those of these names and those from whom an answer
    /// is still awaited. Each that cosigns is told as it does; one that does not is only counted.
    pub fn ask(&self, head: &Arc<Head>, keyring: &Keyring, except: &[Slug]) -> JoinSet<Option<Cosigned>> {
        let mut answers = JoinSet::new();
        for entry in keyring.witnesses().filter(|entry| !except.contains(&entry.name)) {
            let Some((question, seen)) = self.question(head, entry) else { continue };
            let (name, meters, clock) = (entry.name.clone(), Arc::clone(&self.meters), self.clock);
            answers.spawn(async move {
                let answer = question.ask(seen, |outcome| meters.request(&name, outcome)).await;
                meters.answered(&name, clock(), answer.as_ref().map(|_| head_size(&question)));
                Some(Cosigned { name, signature: answer.ok()? })
            });
        }
        answers
    }

    /// Nothing, where the witness has no address or is being asked.
    fn question(&self, head: &Arc<Head>, entry: &Entry) -> Option<(Question, OwnedMutexGuard<u64>)> {
        let address = format!("{}/add-checkpoint", entry.url.as_ref().map(Url::as_str)?);
        let witness = NoteKey::new(entry.note_name.as_ref()?.as_str(), KeyKind::Witness, entry.public_key).ok()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Arc::clone(seen.entry(witness.to_string()).or_default()).try_lock_owned().ok()?;
        let question = Question {
            http: self.http.get_or_init(client).clone(),
            address,
            log: self.log.clone(),
            witness,
            tree: Arc::clone(&self.tree),
            head: Arc::clone(head),
            clock: self.clock,
            timeout: self.timeout,
        };
        Some((question, seen))
    }
}

fn client() -> Result<Client, String> {
    outbound::client().build().map_err(|error| causes(&error))
}

fn head_size(question: &Question) -> u64 {
    question.head.checkpoint.size()
}

/// What a witness made of one request.
enum Answer {
    Cosigned(NoteSignature),
    /// It saw this size last.
    Saw(u64),
}

impl Question {
    /// Asks, and once more if the witness saw another size than is remembered. `count` is told of every request.
    async fn ask(&self, mut seen: OwnedMutexGuard<u64>, count: impl Fn(Outcome)) -> Result<NoteSignature, AskError> {
        let size = self.head.checkpoint.size();
        for _ in 0..MAX_REQUESTS {
            // What is remembered may be of a later head than this one.
            let old = (*seen).min(size);
            let answer = match tokio::time::timeout(self.timeout, self.request(old)).await {
                Ok(answer) => answer,
                Err(_) => Err(AskError::Slow),
            };
            match answer {
                Ok(Answer::Cosigned(signature)) => {
                    count(Outcome::Cosigned);
                    *seen = size;
                    return Ok(signature);
                }
                Ok(Answer::Saw(size)) => {
                    count(Outcome::Conflict);
                    *seen = size;
                }
                Err(error) => {
                    count(error.outcome());
                    return Err(error);
                }
            }
            if *seen > size {
                return Err(AskError::Ahead { seen: *seen, size });
            }
        }
        Err(AskError::Fickle { seen: *seen })
    }

    /// One request, with the proof from a size.
    async fn request(&self, old: u64) -> Result<Answer, AskError> {
        let size = self.head.checkpoint.size();
        let proof = self.tree.read().unwrap_or_else(PoisonError::into_inner).consistency(old, size);
        // The tree has every head that was signed, so there is a proof from every size up to this one's.
        let request = AddCheckpoint { old, proof: proof.unwrap_or_default(), note_bytes: self.head.note.clone() };
        let http = self.http.as_ref().map_err(|why| AskError::Unreachable(why.clone()))?;
        let request = http.post(&self.address).header(CONTENT_TYPE, "text/plain").body(request.to_bytes());
        let unreachable = |error: reqwest::Error| AskError::Unreachable(causes(&error));
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let is_size = response.headers().get(CONTENT_TYPE).is_some_and(|is| is == SIZE_MEDIA_TYPE);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(AskError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => self.cosignature(&body).map(Answer::Cosigned),
            StatusCode::CONFLICT if is_size && read_size(&body).is_some() => {
                Ok(Answer::Saw(read_size(&body).unwrap_or_default()))
            }
            _ => {
                let said = String::from_utf8_lossy(&body[..body.len().min(MAX_TOLD_BYTES)]).trim_end().to_owned();
                Err(AskError::Refused { status, said })
            }
        }
    }

    /// The witness's cosignature in an answer, verified over the checkpoint it was asked about.
    fn cosignature(&self, body: &[u8]) -> Result<NoteSignature, AskError> {
        let lines = NoteSignature::read_lines(body).map_err(AskError::Answer)?;
        let is_theirs = |by: &NoteSignature| by.name() == self.witness.name() && by.id() == self.witness.id();
        // One is enough. More would count no more, and would be carried along for ever.
        let signature = lines.into_iter().find(is_theirs).ok_or(AskError::Unsigned)?;
        let mut note = Note::read(&self.head.note).map_err(AskError::Signature)?;
        note.push(signature.clone()).map_err(AskError::Signature)?;
        let signed = note.open(&self.log).map_err(AskError::Signature)?;
        let counted = signed.cosignatures(std::slice::from_ref(&self.witness)).map_err(AskError::Signature)?;
        let [(_, time)] = counted[..] else { return Err(AskError::Unsigned) };
        let now = (self.clock)();
        let latest = now.unix_seconds().saturating_add(MAX_CLOCK_SKEW_SECONDS);
        if i64::try_from(time).is_ok_and(|time| time <= latest) {
            Ok(signature)
        } else {
            Err(AskError::Time { time, now })
        }
    }
}

#[cfg(test)]
mod tests;
