use std::collections::BTreeMap;
use std::sync::mpsc as channel;

use futures_util::future::join_all;
use tokio::time::Duration;

use super::*;
use crate::store::memory::{Fault, Memory};

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn entry_of(index: u64, digest: Digest) -> Vec<u8> {
    format!("{index} {digest}").into_bytes()
}

fn submission(number: u64) -> Submission {
    let digest = digest(number);
    Submission { digest, blob: number.to_string().into_bytes(), entry: Box::new(move |index| entry_of(index, digest)) }
}

/// What comes of `rest`, which is begun while the writer is busy with submission 0 and ends after it.
async fn behind<T>(log: &Log, rest: impl Future<Output = T>) -> T {
    let (busy, is_busy) = oneshot::channel();
    let (release, released) = channel::channel::<()>();
    let first = submission(0);
    let digest = first.digest;
    let entry = move |index| {
        let _ = busy.send(());
        let _ = released.recv();
        entry_of(index, digest)
    };
    let first = log.submit(Submission { entry: Box::new(entry), ..first });
    let (first, rest, ()) = tokio::join!(
        first,
        async {
            is_busy.await.unwrap();
            rest.await
        },
        async {
            // Long enough for the rest to have been polled, and to wait in the queue.
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(release);
        }
    );
    assert_eq!(first.unwrap(), Answer::Added { index: 0, digest });
    rest
}

fn start(store: &Arc<Memory>) -> Log {
    Log::start(Arc::clone(store) as Arc<dyn Store>).unwrap()
}

/// What callers were told, held against what is in the store.
#[derive(Default)]
struct Acknowledged(BTreeMap<Digest, u64>);

impl Acknowledged {
    async fn submit(&mut self, log: &Log, numbers: std::ops::Range<u64>) -> Vec<Result<Answer, SubmitError>> {
        let answers = join_all(numbers.map(|number| log.submit(submission(number)))).await;
        for answer in answers.iter().flatten() {
            match *answer {
                Answer::Added { index, digest } => {
                    assert_eq!(self.0.insert(digest, index), None, "{digest} added twice");
                }
                Answer::Present { index, digest } => {
                    assert_eq!(*self.0.entry(digest).or_insert(index), index, "{digest} moved");
                }
            }
        }
        answers
    }

    /// Nothing acknowledged is lost, there is no hole, and whatever is acknowledged is announced.
    fn check(&self, store: &Memory, log: &Log) {
        let head = store.head().unwrap();
        for (digest, index) in &self.0 {
            assert_eq!(store.index_of(digest).unwrap(), Some(*index));
            assert_eq!(store.entry(*index).unwrap(), Some(entry_of(*index, *digest)));
            assert!(*index < *log.head().borrow(), "{index} is not announced");
        }
        assert!((0..head).all(|index| store.entry(index).unwrap().is_some()));
        assert!(*log.head().borrow() <= head);
    }
}

#[tokio::test]
async fn whatever_fails_nothing_acknowledged_is_lost() {
    for fault in Fault::ALL {
        for (times, reopening) in [(1, false), (1, true), (2, false), (2, true)] {
            let mut store = Arc::new(Memory::default());
            let mut log = start(&store);
            let mut acknowledged = Acknowledged::default();
            acknowledged.submit(&log, 0..3).await;
            for _ in 0..times {
                store.fail_next([Some(fault)]);
                let answers = acknowledged.submit(&log, 3..6).await;
                assert!(answers.iter().any(Result::is_err), "{fault:?}");
                let known = matches!(fault, Fault::FailAndDrop | Fault::FailButStore);
                assert_eq!(log.is_running(), known, "{fault:?}");
                if !known {
                    assert!(answers.iter().all(|answer| matches!(answer, Err(SubmitError::Stopped))), "{fault:?}");
                    assert!(matches!(log.submit(submission(9)).await, Err(SubmitError::Stopped)), "{fault:?}");
                }
                if reopening || !known {
                    log.close().await;
                    store = Arc::new(store.reopen());
                    log = start(&store);
                }
                acknowledged.check(&store, &log);
                // What was stored nonetheless is now there already, and there would be nothing to commit.
                acknowledged.submit(&log, 6..7).await;
                if matches!(fault, Fault::FailButStore | Fault::UnknownButStore) {
                    break;
                }
            }
            // The callers do again what failed, and go on.
            let answers = acknowledged.submit(&log, 3..9).await;
            assert!(answers.iter().all(Result::is_ok), "{fault:?}");
            acknowledged.check(&store, &log);
            assert_eq!((store.head().unwrap(), acknowledged.0.len()), (9, 9), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn the_same_is_logged_once() {
    let store = Arc::new(Memory::default());
    let log = start(&store);
    let answers = behind(&log, join_all([1, 2, 1, 0].map(|number| log.submit(submission(number))))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let added = |number| Answer::Added { index: number, digest: digest(number) };
    let present = |number| Answer::Present { index: number, digest: digest(number) };
    assert_eq!(answers, [added(1), added(2), present(1), present(0)]);
    assert_eq!(store.batches(), [1, 2]);

    let again = start(&Arc::new(store.reopen())).submit(submission(2)).await.unwrap();
    assert_eq!(again, present(2));
    assert_eq!(store.batches(), [1, 2], "nothing was committed for it");
}

#[tokio::test]
async fn a_full_queue_is_busy_and_recovers() {
    let store = Arc::new(Memory::default());
    let log = start(&store);
    let large = |number| Submission { blob: vec![0; MAX_BLOB_BYTES], ..submission(number) };
    let fitting = (MAX_WAITING_BYTES / (MAX_BLOB_BYTES + MAX_ENTRY_BYTES)) as u64;
    let answers = behind(&log, join_all((1..=fitting + 1).map(|number| log.submit(large(number))))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(SubmitError::Busy))).count();
    assert_eq!((busy, answers.iter().flatten().count() as u64), (1, fitting));
    assert_eq!(store.batches()[..2], [1, MAX_BATCH_BYTES / MAX_BLOB_BYTES]);
    assert!(log.submit(large(fitting + 1)).await.is_ok(), "room is given back");
}

#[tokio::test]
async fn many_small_ones_are_batches_of_the_largest_size() {
    let store = Arc::new(Memory::default());
    let log = start(&store);
    let answers = behind(&log, join_all((1..=600).map(|number| log.submit(submission(number))))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(store.batches(), [1, MAX_BATCH, MAX_BATCH, 600 - 2 * MAX_BATCH]);
}

#[tokio::test]
async fn closing_finishes_what_was_taken() {
    let store = Arc::new(Memory::default());
    let log = start(&store);
    let taken = join_all((1..5).map(|number| log.submit(submission(number))));
    let (answers, ()) = behind(&log, async { tokio::join!(taken, log.clone().close()) }).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(!log.is_running());
    assert!(matches!(log.submit(submission(6)).await, Err(SubmitError::Stopped)));
    assert_eq!(Arc::strong_count(&store), 1, "the writer has let go of it");
}

#[tokio::test]
async fn what_is_too_large_fails_alone() {
    let store = Arc::new(Memory::default());
    let log = start(&store);
    let large_entry = Submission { entry: Box::new(|_| vec![0; MAX_ENTRY_BYTES + 1]), ..submission(1) };
    let large_blob = Submission { blob: vec![0; MAX_BLOB_BYTES + 1], ..submission(2) };
    let all = [large_entry, large_blob, submission(3)];
    let answers = behind(&log, join_all(all.map(|submission| log.submit(submission)))).await;
    assert!(answers[..2].iter().all(|answer| matches!(answer, Err(SubmitError::Failed { .. }))));
    assert_eq!(answers[2].as_ref().unwrap(), &Answer::Added { index: 1, digest: digest(3) });
}

#[tokio::test]
async fn the_head_is_announced_before_the_answer() {
    let store = Arc::new(Memory::default());
    start(&store).submit(submission(0)).await.unwrap();
    let log = start(&Arc::new(store.reopen()));
    assert_eq!(*log.head().borrow(), 1, "starting announces");
    log.submit(submission(1)).await.unwrap();
    assert_eq!(*log.head().borrow(), 2);
}
