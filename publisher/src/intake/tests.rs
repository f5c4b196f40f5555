use std::sync::Condvar;

use smi_schemas::Digest;
use smi_verifier::policy::Suites;
use smi_verifier::said::verify_first;

use super::*;
use crate::cell::{Cell, CellError};
use crate::honest;
use crate::log::Signer;
use crate::recover::Recovered;
use crate::store::memory::Memory;
use crate::store::{Addition, CommitError, Store, StoreError};

/// How long a test waits for what must come, and looks for what must not.
const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(200);

/// A cell that nobody reads again.
struct Forgetful;

impl Cell for Forgetful {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        Ok(None)
    }

    fn swap(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<(), CellError> {
        Ok(())
    }
}

/// A store whose index can be shut, so that whoever asks it waits.
#[derive(Default)]
struct Shut {
    store: Memory,
    /// Whether it is shut, and how many wait.
    gate: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Shut {
    fn shut(&self, shut: bool) {
        self.gate.lock().unwrap().0 = shut;
        self.changed.notify_all();
    }

    fn waiting(&self) -> usize {
        self.gate.lock().unwrap().1
    }
}

impl Store for Shut {
    fn head(&self) -> Result<u64, StoreError> {
        self.store.head()
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.entry(index)
    }

    fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.leaf(index)
    }

    fn index_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let mut gate = self.gate.lock().unwrap();
        gate.1 += 1;
        gate = self.changed.wait_while(gate, |gate| gate.0).unwrap();
        gate.1 -= 1;
        drop(gate);
        self.store.index_of(digest)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.blob(digest)
    }

    fn commit(&self, expected_head: u64, batch: &[Addition]) -> Result<(), CommitError> {
        self.store.commit(expected_head, batch)
    }
}

/// An intake of a log that has its first entry.
async fn intake(store: Arc<Shut>) -> Intake {
    let signer = Signer { origin: honest::ORIGIN.to_owned(), key: honest::key("log") };
    let (log, _) = Log::start(store, Box::new(Forgetful), signer, Recovered::default()).unwrap();
    log.submit(Submission::new(verify_first(&honest::first()).unwrap())).await.unwrap();
    let policy = Policy::of_log(honest::keyring(), Suites::default());
    Intake::new(policy, DAILY_QUOTA, log).unwrap()
}

async fn until(what: impl Fn() -> bool) {
    let waits = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waits).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_leave_behind_takes_no_more_turns_and_no_more_room_than_there_are() {
    let store = Arc::new(Shut::default());
    let intake = Arc::new(intake(Arc::clone(&store)).await);
    let (turns, room) = (intake.turns.available_permits(), intake.room.available_permits());
    store.shut(true);
    // Each wave hangs up once the first submissions are being verified.
    for wave in 0..4 {
        let wave = (1..=16).map(|number| {
            let (bundle, intake) = (honest::release(wave * 16 + number), Arc::clone(&intake));
            tokio::spawn(async move {
                let mut room = Room::default();
                intake.hold(&mut room, bundle.len()).unwrap();
                let _ = intake.accept(bundle, room, honest::now(), None).await;
            })
        });
        let wave: Vec<_> = wave.collect();
        tokio::time::sleep(A_WHILE).await;
        wave.iter().for_each(tokio::task::JoinHandle::abort);
        for one in wave {
            let _ = one.await;
        }
    }
    let (waiting, held) = (store.waiting(), room - intake.room.available_permits());
    // Before anything is asserted: the runtime of a test that fails waits for whoever waits here.
    store.shut(false);
    assert_eq!(waiting, intake.verifiers.current_num_threads());
    assert!(0 < held && held <= turns * honest::release(64).len(), "{held} bytes are held for {turns} submissions");

    until(|| (intake.turns.available_permits(), intake.room.available_permits()) == (turns, room)).await;
    let accepted = intake.accept(honest::release(100), Room::default(), honest::now(), None).await.unwrap();
    assert!(matches!(accepted.answer, Answer::Added { index: 1, .. }), "nothing of what was left: {accepted:?}");
}
