//! The one writer of the log: whatever becomes an entry of the log passes through here, one batch after another.
//!
//! ```text
//! verify ─► queue ─► compute ─► commit ─► announce ─► answer
//!  caller   bounded  entries    durable   new head    every caller of the batch
//! ```
//!
//! A caller has verified what it submits, and waits. A thread takes all that wait, as one batch, up to the store's
//! [`MAX_BATCH`] and [`MAX_BATCH_BYTES`]; while it commits, the next batch gathers. So one barrier on the device
//! serves many callers, and a lone one waits for nobody.
//!
//! The same digest is committed once: who submits it again, whether in the same batch, a year later or after a crash,
//! is told where it is. That makes submitting safe to repeat, which is all that a caller needs to do after an error.
//!
//! Two kinds of failure are kept apart. A batch that failed changed nothing: its callers are told, and the log goes
//! on. When the store's state is not known, the log stops: everything that waits and everything that comes is refused,
//! until the store is opened again.
//!
//! Starting is the last two steps of a batch with nobody to answer: the head is read from the store and announced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, io, thread};

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::store::{Addition, CommitError, MAX_BATCH, MAX_BLOB_BYTES, MAX_ENTRY_BYTES, Store, StoreError};

/// Bytes of the blobs of the largest batch, unless one blob alone has more.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Submissions that wait at most.
pub const MAX_WAITING: usize = 1024;

/// Bytes that submissions occupy at most while they wait.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The way into the log. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Log {
    queue: mpsc::Sender<Message>,
    /// Bytes that may still wait.
    room: Arc<Semaphore>,
    /// Its sender belongs to the writer: it is gone when the writer is.
    head: watch::Receiver<u64>,
}

/// Something to be logged.
pub struct Submission {
    /// What it is known by: submissions of the same digest are the same.
    pub digest: Digest,
    /// What the store keeps for it, at most [`MAX_BLOB_BYTES`].
    pub blob: Vec<u8>,
    /// Its entry for the index that it gets, at most [`MAX_ENTRY_BYTES`]. Called at most once, on the writer's thread:
    /// it computes and does not wait.
    pub entry: Box<dyn FnOnce(u64) -> Vec<u8> + Send>,
}

/// Where a submission is, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was added.
    Added {
        /// At this index.
        index: u64,
        /// What it is known by.
        digest: Digest,
    },
    /// It was there already.
    Present {
        /// At this index.
        index: u64,
        /// What it is known by.
        digest: Digest,
    },
}

/// Why a submission was not logged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait. This one was not taken.
    #[error("too many submissions wait")]
    Busy,
    /// The batch it was in failed. Nothing of it is in the store.
    #[error("{cause}")]
    Failed {
        /// What the store said.
        cause: Arc<CommitError>,
    },
    /// The log takes nothing any more. Whether this submission is in the store is known once it is opened again.
    #[error("the log has stopped")]
    Stopped,
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The head could not be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// There is no thread to be had.
    #[error("a thread for the log: {0}")]
    Thread(#[from] io::Error),
}

impl Log {
    /// Starts the writer on a store, and announces its head.
    pub fn start(store: Arc<dyn Store>) -> Result<Self, StartError> {
        let (announce, head) = watch::channel(store.head()?);
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            write(&*store, queue, &announce);
            // The store is let go before `announce` is, which says that the log has ended.
            drop(store);
        })?;
        Ok(Self { queue: sender, room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)), head })
    }

    /// Logs a submission, and returns when it survives a power cut.
    ///
    /// A caller that stops waiting does not take its submission back.
    pub async fn submit(&self, submission: Submission) -> Result<Answer, SubmitError> {
        within("blob", submission.blob.len(), MAX_BLOB_BYTES)?;
        // What waits occupies room for its entry too.
        let bytes = u32::try_from(submission.blob.len() + MAX_ENTRY_BYTES).map_err(|_| SubmitError::Busy)?;
        let room = self.room.clone().try_acquire_many_owned(bytes).map_err(|_| SubmitError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let message = Message::Submit(Waiting { submission, caller: Caller { answer, _room: room } });
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })?;
        answered.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// The number of entries, as announced: every entry below it is durable. It closes when the log has ended.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    /// Whether submissions are taken. Once false, it stays so.
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Takes nothing more, finishes what was taken, and returns when the writer has let go of the store.
    pub async fn close(self) {
        // It fails when the writer has stopped already.
        let _ = self.queue.send(Message::Close).await;
        let mut head = self.head;
        while head.changed().await.is_ok() {}
    }
}

impl SubmitError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Busy => Code::LogBusy,
            Self::Failed { cause } => cause.code(),
            Self::Stopped => Code::LogStopped,
        }
    }
}

enum Message {
    Submit(Waiting),
    Close,
}

struct Waiting {
    submission: Submission,
    caller: Caller,
}

/// The writer's thread. It ends when the queue is closed and empty, or when it no longer knows what is on disk; both
/// drop the queue, which refuses whatever waits in it and whatever comes.
fn write(store: &dyn Store, queue: mpsc::Receiver<Message>, announce: &watch::Sender<u64>) {
    let mut batches = Batches { queue, next: None };
    while let Some(batch) = batches.gather() {
        if let Err(unanswered) = batch_of(store, batch, announce) {
            // In this order, so that who is told that the log has stopped finds it so.
            drop(batches);
            drop(unanswered);
            return;
        }
    }
}

/// Who waits for an answer, and the room that is occupied meanwhile. Dropped, it is the answer that the log has
/// stopped.
struct Caller {
    answer: oneshot::Sender<Result<Answer, SubmitError>>,
    _room: OwnedSemaphorePermit,
}

/// One batch, from what was submitted to the answers. Callers are left when the store's state is not known.
fn batch_of(store: &dyn Store, batch: Vec<Waiting>, announce: &watch::Sender<u64>) -> Result<(), Vec<Caller>> {
    let (submissions, callers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.submission, waiting.caller)).unzip();

    // A crash from here to the commit leaves the store as it was, and one in the commit all of the batch or nothing.
    // No caller was told either: their connections break, and they submit again.
    let answers = commit(store, submissions);

    if let Err(cause) = &answers
        && !cause.state_known()
    {
        tracing::error!(%cause, "the log stops");
        return Err(callers);
    }

    // A crash from here on leaves the batch. Whoever submits one of it again is told where it is, and starting
    // announces the head that was not announced. A head that cannot be read is announced with the next batch.
    if let Ok(head) = store.head() {
        announce.send_if_modified(|announced| std::mem::replace(announced, head) != head);
    }

    // A crash among the answers is the same for those who have none yet. Who no longer waits is not answered.
    match answers {
        Ok(answers) => {
            for (caller, answer) in callers.into_iter().zip(answers) {
                let _ = caller.answer.send(answer);
            }
        }
        Err(cause) => {
            let cause = Arc::new(cause);
            for caller in callers {
                let _ = caller.answer.send(Err(SubmitError::Failed { cause: Arc::clone(&cause) }));
            }
        }
    }
    Ok(())
}

/// Gives every submission that is new an index and its entry, and commits these; an answer for every submission.
fn commit(store: &dyn Store, submissions: Vec<Submission>) -> Result<Vec<Result<Answer, SubmitError>>, CommitError> {
    let head = store.head()?;
    let mut answers = Vec::with_capacity(submissions.len());
    let mut additions = Vec::new();
    let mut added = BTreeMap::new();
    let mut next = head;
    for Submission { digest, blob, entry } in submissions {
        let present = match added.get(&digest) {
            Some(index) => Some(*index),
            None => store.index_of(&digest)?,
        };
        if let Some(index) = present {
            answers.push(Ok(Answer::Present { index, digest }));
            continue;
        }
        let entry = entry(next);
        // It must not fail the batch of others.
        if let Err(error) = within("entry", entry.len(), MAX_ENTRY_BYTES) {
            answers.push(Err(error));
            continue;
        }
        answers.push(Ok(Answer::Added { index: next, digest }));
        added.insert(digest, next);
        additions.push(Addition { digest, entry, blob });
        next += 1;
    }
    if !additions.is_empty() {
        store.commit(head, &additions)?;
    }
    Ok(answers)
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), SubmitError> {
    if size <= limit {
        return Ok(());
    }
    Err(SubmitError::Failed { cause: Arc::new(CommitError::TooLarge { what, size, limit }) })
}

/// What waits, in the order in which it came.
struct Batches {
    queue: mpsc::Receiver<Message>,
    /// The first one of the next batch, for which the last had no room.
    next: Option<Waiting>,
}

impl Batches {
    /// Waits for one submission and takes what else has come by then; nothing when the queue is closed and empty.
    fn gather(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.next.take() {
            Some(first) => first,
            None => self.wait()?,
        };
        let mut bytes = first.submission.blob.len();
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(message) = self.queue.try_recv()
        {
            let Some(waiting) = self.taken(message) else { continue };
            bytes += waiting.submission.blob.len();
            if bytes > MAX_BATCH_BYTES {
                self.next = Some(waiting);
                break;
            }
            batch.push(waiting);
        }
        Some(batch)
    }

    fn wait(&mut self) -> Option<Waiting> {
        loop {
            let message = self.queue.blocking_recv()?;
            if let Some(waiting) = self.taken(message) {
                return Some(waiting);
            }
        }
    }

    fn taken(&mut self, message: Message) -> Option<Waiting> {
        match message {
            Message::Submit(waiting) => Some(waiting),
            Message::Close => {
                // What is in the queue is still received.
                self.queue.close();
                None
            }
        }
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("digest", &self.digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
