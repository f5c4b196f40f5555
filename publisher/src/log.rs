//! The one writer of the log: whatever becomes an entry of the log passes through here, one batch after another.
//!
//! ```text
//! verify ─► queue ─► compute ─► commit ─► sign ─► swap ─► announce ─► answer
//!  caller   bounded  admitted,  durable   new     the     new head    every caller of the batch
//!                    leaves               head    cell
//! ```
//!
//! A caller has verified what it submits, and waits. A thread takes all that wait, as one batch, up to the store's
//! [`MAX_BATCH`] and [`MAX_BATCH_BYTES`]; while it commits, the next batch gathers, and goes on gathering for [`PACE`]
//! as long as somebody said that more is on its way (`Log::expect`). So one barrier on the device serves many callers
//! however fast the device is, and a lone one waits for nobody.
//!
//! What order decides is asked of the [`Ledger`], one submission after the other. The same digest is committed once:
//! who submits it again, whether in the same batch, a year later or after a crash, is told where it is. That makes
//! submitting safe to repeat, which is all that a caller needs to do after an error. What would no longer be admitted
//! is safe to repeat too, once it is signed for: callers ask [`Log::logged`] before they verify.
//!
//! Two kinds of failure are kept apart. A batch that failed changed nothing: its callers are told, and the log goes
//! on. When it is not known what the store or the cell holds, the log stops: everything that waits and everything that
//! comes is refused, until it is started again.
//!
//! Starting is the same steps with nobody to answer: entries that were committed and not signed are signed and
//! announced. Before that, what is in the store is held against what was signed last, and a store that has lost or
//! changed anything of it is refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use smi_keys::SigningKey;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::feed::Entry;
use smi_schemas::leaf::Leaf;
use smi_verifier::Finding;
use smi_verifier::ledger::Ledger;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, CheckpointError, KeyKind, NoteKey, NoteKeyError, open, sign_checkpoint};
use smi_verifier::said::{Said, Signed, Trusted};
use smi_verifier::view::View;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::cell::{Cell, CellError};
use crate::recover::{self, Recovered, encode};
use crate::store::{Addition, CommitError, MAX_BATCH, MAX_BLOB_BYTES, MAX_ENTRY_BYTES, Store, StoreError, Stored};

/// Bytes of the blobs of the largest batch, unless one blob alone has more.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Submissions that wait at most.
pub const MAX_WAITING: usize = 1024;

/// Bytes that submissions occupy at most while they wait.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How long after one batch the next one begins, at the latest, while more is on its way to be in it.
pub const PACE: Duration = Duration::from_millis(20);

/// How long a batch that failed is held against the log: somebody must be let through to find out that it no longer does.
pub const UNREADY: Duration = Duration::from_secs(30);

/// The way into the log. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Log {
    queue: mpsc::Sender<Message>,
    /// Bytes that may still wait.
    room: Arc<Semaphore>,
    /// Submissions that are on their way.
    expected: Arc<AtomicUsize>,
    /// Its sender belongs to the writer: it is gone when the writer is.
    head: watch::Receiver<Arc<Head>>,
    trusted: watch::Receiver<Option<Arc<Trusted>>>,
    tree: Arc<RwLock<Tree>>,
    /// The writer's, and gone with it.
    store: Weak<dyn Store>,
    /// What became of the last batch, if it failed.
    failing: watch::Receiver<Option<Failure>>,
}

/// A batch that failed.
#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    cause: Arc<CommitError>,
}

impl Failure {
    fn stands(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < UNREADY
    }
}

/// A tree that was signed: every entry under it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: Vec<u8>,
    /// The keyring in force at this size, which says what witnesses are asked; none before the first.
    pub trusted: Option<Arc<Trusted>>,
}

/// Who signs the log.
#[derive(Debug)]
pub struct Signer {
    /// The log's name.
    pub origin: String,
    /// The log's key.
    pub key: SigningKey,
}

/// Something to be logged.
#[derive(Debug)]
pub struct Submission {
    said: Said,
    pub(crate) leaf: Vec<u8>,
    pub(crate) hash: Hash,
    pub(crate) blob: Vec<u8>,
}

impl Submission {
    /// Computes all that can be computed of an entry before its place is known.
    pub fn new(signed: Signed<'_>) -> Self {
        let (leaf, blob) = (signed.leaf(), signed.bundle().to_bytes());
        Self::of(signed.into_said(), &leaf, blob)
    }

    /// The same for whoever has its leaf, and its bytes as they are stored.
    pub(crate) fn of(said: Said, leaf: &Leaf, blob: Vec<u8>) -> Self {
        let leaf = leaf.to_bytes();
        Self { hash: Hash::of_leaf(&leaf), leaf, blob, said }
    }

    /// What is to be logged.
    pub fn said(&self) -> &Said {
        &self.said
    }
}

/// That a submission is on its way to the log, until it is there or this is dropped.
#[derive(Debug)]
pub(crate) struct Expected(Arc<AtomicUsize>);

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

/// What came of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where it is.
    pub answer: Answer,
    /// What is stored, if that is what was submitted.
    pub stored: Option<Stored>,
}

/// Why a submission was not logged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait. This one was not taken.
    #[error("too many submissions wait")]
    Busy,
    /// What is in the log already does not admit it.
    #[error("{}", .0.detail)]
    Refused(Finding),
    /// The store failed, or the batch it was in. Nothing of it was added.
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
    /// The cell could not be read or written.
    #[error("{0}")]
    Cell(#[from] CellError),
    /// There are entries, and nothing says what was signed of them.
    #[error("the store has {stored} entries, and there is no last checkpoint")]
    CellMissing {
        /// Entries of the store.
        stored: u64,
    },
    /// The cell holds something that this log's key did not sign.
    #[error("the last checkpoint is not one that {origin} signed with this key: {why}")]
    CellForeign {
        /// The log.
        origin: String,
        /// Why not.
        why: String,
    },
    /// The store has fewer entries than were signed.
    #[error("the store has {stored} entries, and {signed} were signed")]
    Behind {
        /// Entries of the store.
        stored: u64,
        /// Entries that were signed.
        signed: u64,
    },
    /// The store's entries are not those that were signed.
    #[error("the first {signed} entries of the store are not those that were signed")]
    Differs {
        /// Entries that were signed.
        signed: u64,
    },
    /// The log's name or key is none.
    #[error("{0}")]
    Name(#[from] NoteKeyError),
    /// The log's name is none that a checkpoint can have.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// There is no thread to be had.
    #[error("a thread for the log: {0}")]
    Thread(#[from] io::Error),
}

impl Log {
    /// Starts the writer on a store of which everything was read, once the cell agrees with it.
    pub fn start(
        store: Arc<dyn Store>,
        mut cell: Box<dyn Cell>,
        signer: Signer,
        recovered: Recovered,
    ) -> Result<(Self, View), StartError> {
        let Recovered { tree, ledger, view } = recovered;
        let last = cell.load()?;
        agrees(&tree, last.as_deref(), &signer.public()?)?;

        // A crash in here leaves the head that was signed last, or the new one, and in both cases the same entries.
        let head = signer.sign(&tree, ledger.trusted())?;
        if last.as_ref() != Some(&head.note) {
            cell.swap(last.as_deref(), &head.note)?;
        }

        let (announce, announced) = watch::channel(Arc::new(head));
        let (trust, trusted) = watch::channel(ledger.trusted().cloned());
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let tree = Arc::new(RwLock::new(tree));
        let readable = Arc::downgrade(&store);
        let (fail, failing) = watch::channel(None);
        let writer = Writer { store, cell, signer, ledger, tree: Arc::clone(&tree), fail, announce, trust };
        let expected = Arc::default();
        let timer = runtime::Builder::new_current_thread().enable_time().build()?;
        let batches = Batches { queue, expected: Arc::clone(&expected), next: None, due: Instant::now(), timer };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(batches))?;
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Ok((Self { queue: sender, room, expected, head: announced, trusted, tree, store: readable, failing }, view))
    }

    /// Logs a submission, and returns when it survives a power cut.
    ///
    /// A caller that stops waiting does not take its submission back.
    pub async fn submit(&self, submission: Submission) -> Result<Answer, SubmitError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(submission, self.expect(), move |logged| drop(answer.send(logged)));
        Ok(answered.await.unwrap_or(Err(SubmitError::Stopped))?.answer)
    }

    /// The same for whoever said before that it was on its way, does not wait, and has use for what is stored of it. When
    /// the log stops, `tell` may be dropped without being called.
    pub(crate) fn enqueue(
        &self,
        submission: Submission,
        expected: Expected,
        tell: impl FnOnce(Result<Logged, SubmitError>) + Send + 'static,
    ) {
        let room = match self.room_for(&submission) {
            Ok(room) => room,
            Err(error) => return tell(Err(error)),
        };
        let caller = Caller { tell: Box::new(tell), _room: room };
        let sent = self.queue.try_send(Message::Submit(Box::new(Waiting { submission, expected, caller })));
        let (message, error) = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(message)) => (message, SubmitError::Busy),
            Err(TrySendError::Closed(message)) => (message, SubmitError::Stopped),
        };
        if let Message::Submit(waiting) = message {
            (waiting.caller.tell)(Err(error));
        }
    }

    fn room_for(&self, submission: &Submission) -> Result<OwnedSemaphorePermit, SubmitError> {
        within("blob", submission.blob.len(), MAX_BLOB_BYTES)?;
        // What waits occupies room for its entry too.
        let bytes = u32::try_from(submission.blob.len() + MAX_ENTRY_BYTES).map_err(|_| SubmitError::Busy)?;
        self.room.clone().try_acquire_many_owned(bytes).map_err(|_| SubmitError::Busy)
    }

    /// Says that a submission is on its way.
    pub(crate) fn expect(&self) -> Expected {
        self.expected.fetch_add(1, Ordering::Relaxed);
        Expected(Arc::clone(&self.expected))
    }

    /// What is stored under this digest, if it is signed for. It may block.
    pub fn logged(&self, digest: &Digest) -> Result<Option<Stored>, SubmitError> {
        let store = self.store.upgrade().filter(|_| self.is_running()).ok_or(SubmitError::Stopped)?;
        let read = || {
            let signed = self.head.borrow().checkpoint.size();
            let Some(index) = store.index_of(digest)?.filter(|index| *index < signed) else { return Ok(None) };
            let stored = store.leaf(index)?.zip(store.blob(digest)?);
            Ok(stored.map(|(leaf, blob)| Stored { index, leaf, blob }))
        };
        read().map_err(|error: StoreError| SubmitError::Failed { cause: Arc::new(error.into()) })
    }

    /// The head, as announced: every entry under it is durable, and it is signed. It closes when the log has ended.
    pub fn head(&self) -> watch::Receiver<Arc<Head>> {
        self.head.clone()
    }

    /// The keyring in force for the next entry; none before the first.
    pub fn trusted(&self) -> Option<Arc<Trusted>> {
        self.trusted.borrow().clone()
    }

    /// The hashes of all leaves, of which the last may not be signed yet.
    pub fn tree(&self) -> Arc<RwLock<Tree>> {
        Arc::clone(&self.tree)
    }

    /// Whether a submission can be expected to be logged: not when the log has stopped, and not for [`UNREADY`] after a
    /// batch that failed, unless one was committed since.
    pub fn ready(&self) -> Result<(), SubmitError> {
        if !self.is_running() {
            return Err(SubmitError::Stopped);
        }
        let failing = self.failing.borrow().clone().filter(|failure| failure.stands(Instant::now()));
        failing.map_or(Ok(()), |Failure { cause, .. }| Err(SubmitError::Failed { cause }))
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
            Self::Refused(finding) => finding.code,
            Self::Failed { cause } => cause.code(),
            Self::Stopped => Code::LogStopped,
        }
    }
}

impl StartError {
    /// The code for this error, unless it can only be a defect.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Store(error) => Some(error.code()),
            Self::Cell(CellError::Conflict) => Some(Code::StoreInUse),
            Self::Cell(CellError::File(error)) => Some(error.code()),
            Self::CellMissing { .. } => Some(Code::CellMissing),
            Self::CellForeign { .. } => Some(Code::CellForeign),
            Self::Behind { .. } => Some(Code::StoreBehind),
            Self::Differs { .. } => Some(Code::StoreDiffers),
            Self::Name(_) | Self::Checkpoint(_) => Some(Code::KeyringInvalid),
            Self::Thread(_) => None,
        }
    }
}

impl Signer {
    /// Signs the head of a tree, with whose last entry this keyring is in force.
    fn sign(&self, tree: &Tree, trusted: Option<&Arc<Trusted>>) -> Result<Head, CheckpointError> {
        let checkpoint = Checkpoint::new(&self.origin, tree.size(), tree.root())?;
        let note = sign_checkpoint(&checkpoint, &self.key).to_bytes();
        Ok(Head { checkpoint, note, trusted: trusted.cloned() })
    }

    fn public(&self) -> Result<NoteKey, NoteKeyError> {
        NoteKey::new(&self.origin, KeyKind::Log, self.key.public())
    }
}

/// How many entries were signed, if a tree contains the one that was signed last.
pub fn agrees(tree: &Tree, last: Option<&[u8]>, log: &NoteKey) -> Result<u64, StartError> {
    let stored = tree.size();
    let Some(last) = last else {
        // A crash when the store was created may have left it without a cell, and without entries.
        return if stored == 0 { Ok(0) } else { Err(StartError::CellMissing { stored }) };
    };
    let foreign = |why: String| StartError::CellForeign { origin: log.name().to_owned(), why };
    let last = open(last, log).map_err(|error| foreign(error.to_string()))?;
    let signed = last.checkpoint().size();
    match tree.root_at(signed) {
        Some(root) if root == *last.checkpoint().root() => Ok(signed),
        Some(_) => Err(StartError::Differs { signed }),
        None => Err(StartError::Behind { stored, signed }),
    }
}

enum Message {
    Submit(Box<Waiting>),
    Close,
}

struct Waiting {
    submission: Submission,
    expected: Expected,
    caller: Caller,
}

/// What the writer's thread has to itself.
struct Writer {
    // Fields are dropped in this order: the store is let go before `announce` is, which says that the log has ended.
    store: Arc<dyn Store>,
    cell: Box<dyn Cell>,
    signer: Signer,
    ledger: Ledger,
    tree: Arc<RwLock<Tree>>,
    trust: watch::Sender<Option<Arc<Trusted>>>,
    fail: watch::Sender<Option<Failure>>,
    announce: watch::Sender<Arc<Head>>,
}

impl Writer {
    /// It ends when the queue is closed and empty, or when it no longer knows what is on disk; both drop the queue,
    /// which refuses whatever waits in it and whatever comes.
    fn run(mut self, mut batches: Batches) {
        while let Some(batch) = batches.gather() {
            if let Err(unanswered) = self.batch(batch) {
                // In this order, so that who is told that the log has stopped finds it so.
                drop(batches);
                drop(unanswered);
                return;
            }
        }
    }

    /// One batch, from what was submitted to the answers. Callers are left when the state on disk is not known.
    fn batch(&mut self, batch: Vec<(Submission, Caller)>) -> Result<(), Vec<Caller>> {
        let (submissions, callers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();

        // A crash from here to the commit leaves the store as it was, and one in the commit all of the batch or
        // nothing. No caller was told either: their connections break, and they submit again.
        let answers = match self.commit(submissions) {
            Err(cause) if !cause.state_known() => return stop(&cause, callers),
            answers => answers,
        };

        // A crash from here to the end of the swap leaves entries that nobody signed. Starting signs them, and whoever
        // submits one of them again is told where it is.
        if let Err(cause) = self.sign() {
            return stop(&cause, callers);
        }

        // A crash among the answers is the same for those who have none yet.
        match answers {
            Ok(answers) => {
                for (caller, answer) in callers.into_iter().zip(answers) {
                    (caller.tell)(answer);
                }
            }
            Err(cause) => {
                tracing::error!(%cause, "a batch failed");
                let cause = Arc::new(cause);
                self.fail.send_replace(Some(Failure { at: Instant::now(), cause: Arc::clone(&cause) }));
                for caller in callers {
                    (caller.tell)(Err(SubmitError::Failed { cause: Arc::clone(&cause) }));
                }
            }
        }
        Ok(())
    }

    /// Gives every submission that is new and admitted an index and its entry, and commits these; an answer for each.
    fn commit(&mut self, submissions: Vec<Submission>) -> Result<Vec<Result<Logged, SubmitError>>, CommitError> {
        let head = self.store.head()?;
        if head != self.ledger.size() {
            let cause = format!("the store has {head} entries, and {} were committed", self.ledger.size()).into();
            return Err(CommitError::Unknown { cause });
        }
        let mut answers = Vec::with_capacity(submissions.len());
        let mut batch = Adding { additions: Vec::new(), hashes: Vec::new(), entries: Vec::new(), at: BTreeMap::new() };
        for submission in submissions {
            match self.add(submission, &mut batch) {
                Ok(answer) => answers.push(answer),
                Err(error) => return Err(self.take_back(batch.entries, error.into())),
            }
        }
        let Adding { additions, hashes, entries, .. } = batch;
        if !additions.is_empty()
            && let Err(error) = self.store.commit(head, &additions)
        {
            return Err(self.take_back(entries, error));
        }
        if !hashes.is_empty() {
            self.fail.send_replace(None);
        }
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes {
            tree.push(hash);
        }
        // Those that were added are in the order of what was.
        let mut additions = additions.into_iter();
        let mut logged = |answer| {
            let Answer::Added { index, .. } = answer else { return Logged { answer, stored: None } };
            let stored = additions.next().map(|Addition { leaf, blob, .. }| Stored { index, leaf, blob });
            Logged { answer, stored }
        };
        Ok(answers.into_iter().map(|answer| answer.map(&mut logged)).collect())
    }

    /// Adds one submission to the batch, if it is new and admitted.
    fn add(&mut self, submission: Submission, batch: &mut Adding) -> Result<Result<Answer, SubmitError>, StoreError> {
        let Submission { said, leaf, hash, blob } = submission;
        let digest = said.payload();
        if let Some((index, signer)) = self.present(&digest, batch)? {
            let same = said.signers().first().is_some_and(|first| first.key.key_id().to_string() == signer);
            let taken = Finding { code: Code::PayloadTaken, detail: format!("entry {index}, by key {signer}") };
            return Ok(if same { Ok(Answer::Present { index, digest }) } else { Err(SubmitError::Refused(taken)) });
        }
        let entry = match self.ledger.admit(&said) {
            Ok(entry) => entry,
            Err(finding) => return Ok(Err(SubmitError::Refused(finding))),
        };
        let bytes = encode(&hash, &entry);
        // It must not fail the batch of others.
        if let Err(error) = within("entry", bytes.len(), MAX_ENTRY_BYTES) {
            return Ok(Err(error));
        }
        let before = self.ledger.trusted().cloned();
        self.ledger.add(&entry, said.keyring().cloned());
        let index = entry.index;
        batch.at.insert(digest, batch.entries.len());
        batch.additions.push(Addition { digest, entry: bytes, leaf, blob });
        batch.hashes.push(hash);
        batch.entries.push((entry, before));
        Ok(Ok(Answer::Added { index, digest }))
    }

    /// Where a payload is already, and the key that signed it there.
    fn present(&self, digest: &Digest, batch: &Adding) -> Result<Option<(u64, String)>, StoreError> {
        if let Some(at) = batch.at.get(digest) {
            let (entry, _) = &batch.entries[*at];
            return Ok(Some((entry.index, entry.key_id.clone())));
        }
        let Some(index) = self.store.index_of(digest)? else { return Ok(None) };
        Ok(Some((index, recover::entry(&*self.store, index)?.1.key_id)))
    }

    /// Makes the ledger what it was before a batch that was not committed.
    fn take_back(&mut self, entries: Vec<(Entry, Option<Arc<Trusted>>)>, error: CommitError) -> CommitError {
        for (entry, before) in entries.into_iter().rev() {
            self.ledger.take_back(&entry, before);
        }
        error
    }

    /// Signs the tree if it has grown, and announces it once the cell has it.
    fn sign(&mut self) -> Result<(), SignError> {
        let head = {
            let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
            if tree.size() == self.announce.borrow().checkpoint.size() {
                return Ok(());
            }
            self.signer.sign(&tree, self.ledger.trusted())?
        };
        let before = Arc::clone(&self.announce.borrow());
        self.cell.swap(Some(&before.note), &head.note)?;
        // A crash from here on leaves what was signed. Starting announces it.
        self.trust.send_if_modified(|trusted| {
            let now = self.ledger.trusted();
            let changed = trusted.as_ref().map(|trusted| trusted.digest) != now.map(|trusted| trusted.digest);
            if changed {
                *trusted = now.cloned();
            }
            changed
        });
        self.announce.send_replace(Arc::new(head));
        Ok(())
    }
}

/// A batch in the making.
struct Adding {
    additions: Vec<Addition>,
    hashes: Vec<Hash>,
    /// What was folded into the ledger, with the keyring before it.
    entries: Vec<(Entry, Option<Arc<Trusted>>)>,
    /// The place of each payload among the entries.
    at: BTreeMap<Digest, usize>,
}

/// Why a head was not signed and kept.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Cell(#[from] CellError),
}

fn stop<T>(cause: &dyn fmt::Display, callers: Vec<Caller>) -> Result<T, Vec<Caller>> {
    tracing::error!(%cause, "the log stops");
    Err(callers)
}

/// Who waits for an answer, and the room that is occupied meanwhile. Dropped, it is the answer that the log has
/// stopped.
struct Caller {
    tell: Box<dyn FnOnce(Result<Logged, SubmitError>) + Send>,
    _room: OwnedSemaphorePermit,
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
    /// Submissions that are on their way and not in the queue.
    expected: Arc<AtomicUsize>,
    /// Until when the next batch may wait for them.
    due: Instant,
    /// What it is waited with.
    timer: Runtime,
    /// The first one of the next batch, for which the last had no room.
    next: Option<Box<Waiting>>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Batches {
    /// Waits for one submission and takes what else has come by then, or comes while it may be waited for; nothing when
    /// the queue is closed and empty.
    fn gather(&mut self) -> Option<Vec<(Submission, Caller)>> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some(waiting) = self.next.take().or_else(|| self.receive(batch.is_empty()))
        {
            bytes += waiting.submission.blob.len();
            if bytes > MAX_BATCH_BYTES && !batch.is_empty() {
                self.next = Some(waiting);
                break;
            }
            // It has come, and is waited for no longer.
            let Waiting { submission, caller, expected } = *waiting;
            drop(expected);
            batch.push((submission, caller));
        }
        self.due = Instant::now() + PACE;
        (!batch.is_empty()).then_some(batch)
    }

    /// The next submission; for the first of a batch it is waited for as long as it takes.
    fn receive(&mut self, is_first: bool) -> Option<Box<Waiting>> {
        loop {
            let message = match self.queue.try_recv() {
                Ok(message) => message,
                Err(_) if is_first => self.queue.blocking_recv()?,
                Err(_) if self.expected.load(Ordering::Relaxed) == 0 => return None,
                Err(_) => {
                    let next = self.queue.recv();
                    self.timer.block_on(async { timeout_at(self.due.into(), next).await.ok().flatten() })?
                }
            };
            match message {
                Message::Submit(waiting) => return Some(waiting),
                // What is in the queue is still received.
                Message::Close => self.queue.close(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
