use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, mpsc as channel};
use std::task::Poll;

use futures_util::future::join_all;
use smi_schemas::bundle::Bundle;
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::said::{verify_first, verify_said};

use super::*;
use crate::honest;
use crate::store::memory::{Fault, Memory};

mod faults;

/// A cell that survives the handle, as a file does.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

impl Cell for Kept {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError> {
        let mut kept = self.0.lock().unwrap();
        if kept.as_deref() != expected {
            return Err(CellError::Conflict);
        }
        *kept = Some(new.to_owned());
        Ok(())
    }
}

/// A store that can hold up whoever begins a batch.
struct Gated {
    store: Arc<dyn Store>,
    held: Mutex<Option<(oneshot::Sender<()>, channel::Receiver<()>)>>,
}

impl Gated {
    fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, held: Mutex::default() })
    }

    /// Holds up whoever next asks for the head, until what is returned second is dropped; the first says that somebody
    /// waits there.
    fn hold(&self) -> (oneshot::Receiver<()>, channel::Sender<()>) {
        let ((waits, is_waiting), (release, released)) = (oneshot::channel(), channel::channel());
        *self.held.lock().unwrap() = Some((waits, released));
        (is_waiting, release)
    }
}

impl Store for Gated {
    fn head(&self) -> Result<u64, StoreError> {
        let held = self.held.lock().unwrap().take();
        if let Some((waits, released)) = held {
            let _ = waits.send(());
            let _ = released.recv();
        }
        self.store.head()
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.entry(index)
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.leaf(index)
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.store.index_of(digest)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.blob(digest)
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        self.store.commit(expected_head, batch)
    }
}

/// What comes of `rest`, which is begun while the writer is busy with `first` and ends after it.
async fn behind<A, B>(gate: &Gated, first: impl Future<Output = A>, rest: impl Future<Output = B>) -> (A, B) {
    let (busy, release) = gate.hold();
    tokio::join!(first, async {
        busy.await.unwrap();
        let mut rest = pin!(rest);
        // Polled once, it has put into the queue whatever it submits.
        let polled = poll_fn(|context| Poll::Ready(rest.as_mut().poll(context))).await;
        drop(release);
        match polled {
            Poll::Ready(done) => done,
            Poll::Pending => rest.await,
        }
    })
}

/// Something to submit: 0 is the first keyring, and every other number a release of its own.
fn submission(number: u64) -> Submission {
    match number {
        0 => Submission::new(verify_first(&honest::first()).unwrap()),
        number => Submission::new(verify_said(&honest::release(number), &policy(), honest::now()).unwrap()),
    }
}

fn digest(number: u64) -> Digest {
    submission(number).said().payload()
}

fn policy() -> Policy {
    Policy::of_log(honest::keyring(), Suites::default())
}

fn open(store: Arc<dyn Store>, cell: Box<dyn Cell>) -> Result<Log, StartError> {
    let recovered = Recovered::read(&*store, store.head()?)?;
    Log::start(store, cell, signer(), recovered).map(|(log, _)| log)
}

fn signer() -> Signer {
    Signer { origin: honest::ORIGIN.to_owned(), key: honest::key("log") }
}

/// A log with its first entry, in memory.
struct Bench {
    store: Arc<Memory>,
    gate: Arc<Gated>,
    cell: Kept,
    log: Log,
}

impl Bench {
    async fn new() -> Self {
        let bench = Self::start(Arc::default(), Kept::default());
        assert_eq!(bench.log.submit(submission(0)).await.unwrap(), Answer::Added { index: 0, digest: digest(0) });
        bench
    }

    /// The same, started again.
    async fn again(self) -> Self {
        self.log.close().await;
        Self::start(Arc::new(self.store.reopen()), self.cell)
    }

    fn start(store: Arc<Memory>, cell: Kept) -> Self {
        let gate = Gated::new(Arc::clone(&store) as Arc<dyn Store>);
        let log = open(Arc::clone(&gate) as Arc<dyn Store>, Box::new(cell.clone())).unwrap();
        Self { store, gate, cell, log }
    }

    async fn submit(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<Result<Answer, SubmitError>> {
        join_all(numbers.into_iter().map(|number| self.log.submit(submission(number)))).await
    }

    /// What comes of `rest`, which is begun while the writer is busy with submission 1 and ends after it.
    async fn behind<T>(&self, rest: impl Future<Output = T>) -> T {
        let (first, rest) = behind(&self.gate, self.log.submit(submission(1)), rest).await;
        assert_eq!(first.unwrap(), Answer::Added { index: 1, digest: digest(1) });
        rest
    }
}

#[tokio::test]
async fn the_same_is_logged_once() {
    let bench = Bench::new().await;
    let answers = bench.behind(bench.submit([2, 3, 2, 1])).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let added = |number| Answer::Added { index: number, digest: digest(number) };
    let present = |number| Answer::Present { index: number, digest: digest(number) };
    assert_eq!(answers, [added(2), added(3), present(2), present(1)]);
    assert_eq!(bench.store.batches(), [1, 1, 2]);

    let bench = bench.again().await;
    assert_eq!(bench.log.submit(submission(3)).await.unwrap(), present(3));
    assert_eq!(bench.store.batches(), [1, 1, 2], "nothing was committed for it");
}

#[tokio::test]
async fn what_the_ledger_refuses_is_refused_alone() {
    let bench = Bench::new().await;
    let mut twin = honest::release(2);
    // The same version of a suite, with another time.
    let release = Bundle::read(&twin).unwrap().payload;
    let later = String::from_utf8(release).unwrap().replace("12:00:00Z", "12:00:01Z");
    twin = honest::key("suite").sign_statement(later.as_bytes()).to_bytes();
    let twin = || Submission::new(verify_said(&twin, &policy(), honest::now()).unwrap());
    let both = async { tokio::join!(bench.submit([2]), bench.log.submit(twin()), bench.submit([3])) };
    let (one, refused, other) = bench.behind(both).await;
    assert!(one[0].is_ok() && other[0].is_ok());
    assert!(matches!(&refused, Err(error) if error.code() == Code::SuiteReleased), "{refused:?}");
    assert_eq!(bench.store.batches(), [1, 1, 2], "in one batch");
    assert_eq!(bench.log.head().borrow().checkpoint.size(), 4);

    // And of a batch that failed, nothing stands in the way of anything.
    bench.store.fail_next([Some(Fault::FailAndDrop)]);
    let refused = bench.submit([4]).await.remove(0);
    assert!(matches!(refused, Err(SubmitError::Failed { .. })), "{refused:?}");
    assert_eq!(bench.submit([4]).await.remove(0).unwrap(), Answer::Added { index: 4, digest: digest(4) });
}

#[tokio::test]
async fn a_keyring_is_in_force_once_it_is_signed_for_and_not_when_its_batch_failed() {
    let bench = Bench::new().await;
    let next = || Submission::new(verify_said(&honest::second(), &policy(), honest::now()).unwrap());
    let version = || bench.log.trusted().unwrap().keyring.version();
    let before = version();
    bench.store.fail_next([Some(Fault::FailAndDrop)]);
    assert!(bench.log.submit(next()).await.is_err());
    assert_eq!(version(), before);
    assert!(bench.log.submit(next()).await.is_ok());
    assert_eq!(version(), before + 1);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_recovers() {
    let bench = Bench::new().await;
    let large = |number| Submission { blob: vec![0; MAX_BLOB_BYTES], ..submission(number) };
    let fitting = (MAX_WAITING_BYTES / (MAX_BLOB_BYTES + MAX_ENTRY_BYTES)) as u64;
    let all = join_all((2..=fitting + 2).map(|number| bench.log.submit(large(number))));
    let answers = bench.behind(all).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(SubmitError::Busy))).count();
    assert_eq!((busy, answers.iter().flatten().count() as u64), (1, fitting));
    assert_eq!(bench.store.batches()[..3], [1, 1, MAX_BATCH_BYTES / MAX_BLOB_BYTES]);
    assert!(bench.log.submit(large(fitting + 2)).await.is_ok(), "room is given back");
}

#[tokio::test]
async fn many_small_ones_are_batches_of_the_largest_size() {
    let bench = Bench::new().await;
    let answers = bench.behind(bench.submit(2..=601)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.store.batches(), [1, 1, MAX_BATCH, MAX_BATCH, 600 - 2 * MAX_BATCH]);
}

/// Otherwise a device that is fast makes many small batches of a load, and each costs what it costs.
#[tokio::test]
async fn a_batch_waits_for_what_is_on_its_way_but_not_for_long() {
    let bench = Bench::new().await;
    let log = &bench.log;
    let (began, expected) = (Instant::now(), log.expect());
    let submitted = async |number: u64| {
        tokio::time::sleep(PACE / 20 * u32::try_from(number).unwrap()).await;
        log.submit(submission(number)).await.unwrap();
    };
    join_all((1..100).map(submitted)).await;
    let (batches, most) = (bench.store.batches().len(), began.elapsed().as_millis() / PACE.as_millis() + 2);
    assert!(batches as u128 <= most, "{batches} batches where there is time for {most}");
    drop(expected);
    assert_eq!(log.expected.load(Ordering::Relaxed), 0, "nothing more is on its way");
}

#[tokio::test]
async fn closing_finishes_what_was_taken() {
    let bench = Bench::new().await;
    let closing = async { tokio::join!(bench.submit(2..6), bench.log.clone().close()) };
    let (answers, ()) = bench.behind(closing).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(!bench.log.is_running());
    assert!(matches!(bench.submit([6]).await[..], [Err(SubmitError::Stopped)]));
    assert_eq!(Arc::strong_count(&bench.gate), 1, "the writer has let go of it");
}

#[tokio::test]
async fn what_is_too_large_fails_alone() {
    let bench = Bench::new().await;
    let large = Submission { blob: vec![0; MAX_BLOB_BYTES + 1], ..submission(2) };
    let both = async { tokio::join!(bench.log.submit(large), bench.log.submit(submission(3))) };
    let (large, other) = bench.behind(both).await;
    assert!(matches!(large, Err(SubmitError::Failed { .. })), "{large:?}");
    assert_eq!(other.unwrap(), Answer::Added { index: 2, digest: digest(3) });
}

#[tokio::test]
async fn the_head_is_announced_before_the_answer() {
    let bench = Bench::new().await.again().await;
    let size = || bench.log.head().borrow().checkpoint.size();
    assert_eq!(size(), 1, "starting announces");
    bench.submit([1]).await.remove(0).unwrap();
    assert_eq!(size(), 2);
}

#[test]
fn a_failure_is_held_against_the_log_for_a_while() {
    let cause = Arc::new(CommitError::Full { available: 0, needed: 1 });
    let failure = Failure { at: Instant::now(), cause };
    assert!(failure.stands(failure.at));
    assert!(!failure.stands(failure.at + UNREADY));
}
