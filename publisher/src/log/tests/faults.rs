//! The fault table. Every write that a batch or a start makes fails, once or twice in a row; then the callers submit
//! again, to the log as it is where it goes on, or to one that was started again. After every step the whole log is
//! verified: see [`World::verify`].
//!
//! | write | what a fault may leave |
//! |---|---|
//! | the store's commit | nothing, or everything; and the store knows which, or not |
//! | of the engine on disk: the barrier before the tree, the one after it | the blobs; everything |
//! | of the same when it opens: the barrier before it recovers, the one after | what was there |
//! | the swap of the cell, in a batch and in a start | the old checkpoint, or the new one |

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, Weak};

use smi_keys::files::FileError;
use smi_verifier::merkle::check_consistency;
use tempfile::TempDir;

use super::*;
use crate::cell::FileCell;
use crate::recover;
use crate::replay::check;
use crate::store::{Mark, SledStore};

/// What fails, and what comes of it.
struct Row {
    engine: Engine,
    when: When,
    write: Write,
    /// Whether the log goes on after it.
    goes_on: bool,
    /// Whether the entries of the batch are there when everything is started again.
    stored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Memory,
    Sled,
}

/// In which of a log's doings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The first start of all.
    Creation,
    /// A start, with entries that nobody signed yet.
    Start,
    Batch,
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Commit(Fault),
    Swap(SwapFault),
    /// The first of the two barriers that opening has, and a commit.
    BarrierBefore,
    BarrierAfter,
}

/// How a swap fails. The name is the whole specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SwapFault {
    FailAndDrop,
    FailButStore,
}

/// How the callers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// They submit again, to the same log if it goes on.
    Retry,
    /// The log is started again first.
    Restart,
}

use Engine::{Memory as InMemory, Sled};
use When::{Batch, Creation, Start};
use Write::{BarrierAfter, BarrierBefore, Commit, Swap};

#[rustfmt::skip]
const TABLE: [Row; 20] = [
    Row { engine: InMemory, when: Batch, write: Commit(Fault::FailAndDrop), goes_on: true, stored: false },
    // Against the contract of stores: it is found out at the next commit.
    Row { engine: InMemory, when: Batch, write: Commit(Fault::FailButStore), goes_on: true, stored: true },
    Row { engine: InMemory, when: Batch, write: Commit(Fault::UnknownAndDrop), goes_on: false, stored: false },
    Row { engine: InMemory, when: Batch, write: Commit(Fault::UnknownButStore), goes_on: false, stored: true },
    Row { engine: InMemory, when: Batch, write: Swap(SwapFault::FailAndDrop), goes_on: false, stored: true },
    Row { engine: InMemory, when: Batch, write: Swap(SwapFault::FailButStore), goes_on: false, stored: true },
    Row { engine: InMemory, when: Start, write: Swap(SwapFault::FailAndDrop), goes_on: false, stored: true },
    Row { engine: InMemory, when: Start, write: Swap(SwapFault::FailButStore), goes_on: false, stored: true },
    Row { engine: InMemory, when: Creation, write: Swap(SwapFault::FailAndDrop), goes_on: false, stored: false },
    Row { engine: InMemory, when: Creation, write: Swap(SwapFault::FailButStore), goes_on: false, stored: false },
    Row { engine: Sled, when: Batch, write: BarrierBefore, goes_on: false, stored: false },
    // The kernel has all of it: only a power cut would take it away.
    Row { engine: Sled, when: Batch, write: BarrierAfter, goes_on: false, stored: true },
    Row { engine: Sled, when: Batch, write: Swap(SwapFault::FailAndDrop), goes_on: false, stored: true },
    Row { engine: Sled, when: Batch, write: Swap(SwapFault::FailButStore), goes_on: false, stored: true },
    Row { engine: Sled, when: Start, write: BarrierBefore, goes_on: false, stored: true },
    Row { engine: Sled, when: Start, write: BarrierAfter, goes_on: false, stored: true },
    Row { engine: Sled, when: Start, write: Swap(SwapFault::FailButStore), goes_on: false, stored: true },
    Row { engine: Sled, when: Creation, write: BarrierBefore, goes_on: false, stored: false },
    Row { engine: Sled, when: Creation, write: BarrierAfter, goes_on: false, stored: false },
    Row { engine: Sled, when: Creation, write: Swap(SwapFault::FailAndDrop), goes_on: false, stored: false },
];

#[tokio::test]
async fn whatever_fails_nothing_acknowledged_is_lost_and_nothing_forks() {
    let (mut cases, mut acknowledged, mut signed) = (0, 0, 0);
    for row in &TABLE {
        for times in [1, 2] {
            for then in [Then::Retry, Then::Restart] {
                let name = format!("{:?} {:?} {:?} {times}x {then:?}", row.engine, row.when, row.write);
                let world = case(row, times, then, &name).await;
                (cases, acknowledged) = (cases + 1, acknowledged + world.acknowledged.len());
                signed += world.journal().signed.len();
            }
        }
    }
    eprintln!("{cases} cases, {acknowledged} acknowledged entries, {signed} signed checkpoints");
}

/// The batch that meets the fault, and what comes before it. 0 is the first keyring.
const BEFORE: Range<u64> = 0..3;
const BATCH: Range<u64> = 3..6;

async fn case(row: &Row, times: usize, then: Then, name: &str) -> World {
    let mut world = World::new(row.engine);
    if row.when == Creation {
        world.arm(row, times);
    }
    let mut log = world.start_until_it_starts(name);
    if row.when == Creation {
        // What was stored is not written a second time.
        assert_eq!(world.faults(), if row.write.is_stored_swap() { 1 } else { times }, "{name}");
        world.disarm();
    }
    for number in BEFORE {
        // One after the other, so that there are many heads.
        assert!(world.submit(&log, [number]).await[0].is_ok(), "{name}");
    }
    world.verify(&log, name);

    if row.when == Start {
        let (rounds, in_a_row) = if row.write.is_stored_swap() { (times, 1) } else { (1, times) };
        for round in 0..rounds {
            // Entries that nobody signed: their batch met a cell that failed.
            world.journal().swaps.push_back(Some(SwapFault::FailAndDrop));
            let new = 100 + round as u64;
            world.submit(&log, BATCH.chain([new])).await;
            assert!(!log.is_running(), "{name}");
            log.close().await;
            let before = world.faults();
            world.arm(row, in_a_row);
            log = world.start_until_it_starts(name);
            assert_eq!(world.faults(), before + in_a_row, "{name}");
            world.verify(&log, name);
        }
    }
    if row.when == Batch {
        world.arm(row, times);
        for time in 0..times {
            let before = world.faults();
            // What was stored nonetheless would be there already, and there would be nothing to write: so one is new.
            let new = 100 + time as u64;
            let answers = world.submit(&log, BATCH.chain([new])).await;
            assert!(answers.iter().all(Result::is_err), "{name}: {answers:?}");
            let stopped = |answer: &_| matches!(answer, Err(SubmitError::Stopped));
            let met = world.faults() > before;
            // A store that stored what it says it did not is found out by the next batch.
            assert_eq!(met, time == 0 || then == Then::Restart || !row.write.is_liar(), "{name}");
            let goes_on = met && row.goes_on;
            assert_eq!(log.is_running(), goes_on, "{name}");
            if !goes_on {
                assert!(answers.iter().all(stopped), "{name}: {answers:?}");
                assert!(world.submit(&log, [200]).await.iter().all(stopped), "{name}");
            }
            if then == Then::Restart || !goes_on {
                log.close().await;
                log = world.start_until_it_starts(name);
                let is_there = BATCH.map(|number| world.index_of(number)).any(|index| index.is_some());
                assert_eq!(is_there, row.stored, "{name}");
            }
            world.verify(&log, name);
        }
    }

    world.disarm();

    // The callers do again what failed, and go on.
    if then == Then::Restart {
        log.close().await;
        log = world.start_until_it_starts(name);
    }
    if row.write.is_liar() && log.is_running() {
        // The store said that nothing changed, and it did: nobody is told anything before it is read again.
        assert!(world.submit(&log, BATCH).await.iter().all(Result::is_err) != log.is_running(), "{name}");
        log.close().await;
        log = world.start_until_it_starts(name);
    }
    for numbers in [BATCH, 6..9, BEFORE] {
        let answers = world.submit(&log, numbers).await;
        assert!(answers.iter().all(Result::is_ok), "{name}: {answers:?}");
        world.verify(&log, name);
    }
    assert_eq!(world.acknowledged.len(), 9, "{name}");
    log.close().await;
    log = world.start_until_it_starts(name);
    world.verify(&log, name);
    log.close().await;
    world
}

impl Write {
    /// Whether the store breaks its own contract.
    fn is_liar(self) -> bool {
        matches!(self, Commit(Fault::FailButStore))
    }

    /// Whether the swap that is reported as failed is one that there is nothing left to do for.
    fn is_stored_swap(self) -> bool {
        matches!(self, Swap(SwapFault::FailButStore))
    }
}

/// The disks, and what everybody was told.
struct World {
    disk: Disk,
    store: Option<Weak<Gated>>,
    journal: Arc<Mutex<Journal>>,
    acknowledged: BTreeMap<Digest, u64>,
}

enum Disk {
    Memory(Memory, Kept),
    Folder(TempDir),
}

/// What the cell was asked for, and how it is to answer.
#[derive(Default)]
struct Journal {
    /// How the next swaps end; those after them succeed.
    swaps: VecDeque<Option<SwapFault>>,
    met: usize,
    /// Every note that was to be put into the cell, whether or not it was: all were signed.
    signed: Vec<Vec<u8>>,
    /// Every head that anybody could see.
    announced: Vec<Head>,
    /// Where a rule of the cell was broken.
    broken: Vec<String>,
    /// What the store holds while the cell is swapped.
    store: Option<Weak<Gated>>,
}

/// How the next barriers end; those after them succeed. One test uses it, and one case at a time.
static BARRIERS: Mutex<(VecDeque<bool>, usize)> = Mutex::new((VecDeque::new(), 0));

/// It puts nothing on the device: nobody cuts the power here.
fn barrier(_: &File) -> io::Result<()> {
    let mut barriers = BARRIERS.lock().unwrap();
    if barriers.0.pop_front().unwrap_or(false) {
        barriers.1 += 1;
        return Err(io::Error::other("a fault"));
    }
    Ok(())
}

impl World {
    fn new(engine: Engine) -> Self {
        let disk = match engine {
            InMemory => Disk::Memory(Memory::default(), Kept::default()),
            Sled => Disk::Folder(tempfile::tempdir().unwrap()),
        };
        *BARRIERS.lock().unwrap() = (VecDeque::new(), 0);
        Self { disk, store: None, journal: Arc::default(), acknowledged: BTreeMap::new() }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap()
    }

    /// Has the next `times` writes of this kind fail.
    fn arm(&mut self, row: &Row, times: usize) {
        for time in 0..times {
            match row.write {
                Commit(fault) => {
                    let Disk::Memory(memory, _) = &self.disk else { unreachable!("{fault:?}") };
                    memory.fail_next([Some(fault)]);
                }
                Swap(fault) => {
                    if row.when == Batch && time > 0 && fault == SwapFault::FailAndDrop {
                        // The start between two batches signs what the first one left.
                        self.journal().swaps.push_back(None);
                    }
                    self.journal().swaps.push_back(Some(fault));
                }
                BarrierBefore | BarrierAfter => {
                    let barriers = &mut BARRIERS.lock().unwrap().0;
                    if row.when == Batch && time > 0 {
                        // The start between two batches has two of them.
                        barriers.extend([false, false]);
                    }
                    barriers.extend(matches!(row.write, BarrierAfter).then_some(false));
                    barriers.push_back(true);
                }
            }
        }
    }

    /// Has whatever was to fail yet succeed.
    fn disarm(&self) {
        if let Disk::Memory(memory, _) = &self.disk {
            memory.fail_no_more();
        }
        BARRIERS.lock().unwrap().0.clear();
        self.journal().swaps.clear();
    }

    /// How many faults were met.
    fn faults(&self) -> usize {
        let memory = match &self.disk {
            Disk::Memory(memory, _) => memory.faults(),
            Disk::Folder(_) => BARRIERS.lock().unwrap().1,
        };
        memory + self.journal().met
    }

    fn start(&mut self) -> Result<Log, String> {
        let store: Arc<dyn Store> = match &self.disk {
            Disk::Memory(memory, _) => Arc::new(memory.reopen()),
            Disk::Folder(folder) => {
                let mark = Mark { demonstration: false };
                let opened = SledStore::open_with(&folder.path().join("data"), mark, barrier);
                Arc::new(opened.map_err(|error| error.to_string())?)
            }
        };
        let store = Gated::new(store);
        self.store = Some(Arc::downgrade(&store));
        self.journal().store.clone_from(&self.store);
        let cell: Box<dyn Cell> = match &self.disk {
            Disk::Memory(_, kept) => Box::new(kept.clone()),
            Disk::Folder(folder) => Box::new(FileCell::new(&folder.path().join("cell"))),
        };
        let cell = Box::new(Faulty { cell, journal: Arc::clone(&self.journal) });
        let log = super::open(store, cell).map_err(|error| error.to_string())?;
        let head = Head::clone(&log.head().borrow());
        self.journal().announced.push(head);
        Ok(log)
    }

    /// Starts until there is no fault left that keeps it from it. Every failure is one that was asked for.
    fn start_until_it_starts(&mut self, name: &str) -> Log {
        loop {
            let before = self.faults();
            match self.start() {
                Ok(log) => return log,
                Err(error) => assert_eq!(self.faults(), before + 1, "{name}: {error}"),
            }
        }
    }

    /// Submits all as one batch, and notes what is answered and what can be seen by then.
    async fn submit(&mut self, log: &Log, numbers: impl IntoIterator<Item = u64>) -> Vec<Result<Answer, SubmitError>> {
        let submissions: Vec<_> = numbers.into_iter().map(submission).collect();
        let all = join_all(submissions.into_iter().map(|submission| async {
            let answer = log.submit(submission).await;
            (answer, Head::clone(&log.head().borrow()))
        }));
        let is_one = self.acknowledged.is_empty() || !log.is_running();
        let answered = if is_one {
            all.await
        } else {
            // What is there already needs no write, and the others gather behind it.
            let (first, all) = behind(&self.store(), log.submit(submission(0)), all).await;
            assert!(matches!(first, Ok(Answer::Present { index: 0, .. }) | Err(SubmitError::Stopped)), "{first:?}");
            all
        };
        let mut answers = Vec::new();
        for (answer, head) in answered {
            if let Ok(Answer::Added { index, digest } | Answer::Present { index, digest }) = answer {
                let told = *self.acknowledged.entry(digest).or_insert(index);
                assert_eq!(told, index, "{digest} moved");
                assert!(index < head.checkpoint.size(), "{digest} was answered before its head was announced");
            }
            let kept = open_note(&self.cell(), &signer().public().unwrap()).checkpoint().size();
            assert!(head.checkpoint.size() <= kept, "a head was announced, and the cell has {kept} entries");
            self.journal().announced.push(head);
            answers.push(answer);
        }
        answers
    }

    fn store(&self) -> Arc<Gated> {
        self.store.as_ref().unwrap().upgrade().expect("a log that runs, or did not yet let go")
    }

    fn cell(&self) -> Vec<u8> {
        let cell = match &self.disk {
            Disk::Memory(_, kept) => kept.clone().load(),
            Disk::Folder(folder) => FileCell::new(&folder.path().join("cell")).load(),
        };
        cell.unwrap().expect("a log that was started has a cell")
    }

    fn index_of(&self, number: u64) -> Option<u64> {
        self.store().index_of(&digest(number)).unwrap()
    }

    /// The whole log: every entry follows from its bundle, every leaf hashes to the tree, every acknowledged entry is
    /// where it was said to be, and of all trees that were ever signed each contains the one before.
    fn verify(&self, log: &Log, name: &str) {
        let store = self.store();
        let journal = self.journal();
        assert_eq!(journal.broken, Vec::<String>::new(), "{name}");

        let checked = check(&*store, policy(), honest::now()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let head = store.head().unwrap();
        let mut leaves = Vec::new();
        for index in 0..head {
            let (hash, _) = recover::entry(&*store, index).unwrap();
            let leaf = store.leaf(index).unwrap().unwrap();
            assert_eq!(Hash::of_leaf(&leaf), hash, "{name}: leaf {index}");
            // Of what a store holds against its word, the tree knows nothing.
            let known = log.tree().read().unwrap().leaf(index);
            assert!(known.is_none_or(|known| known == hash), "{name}: leaf {index} of the tree");
            leaves.push(leaf);
        }
        assert_eq!(log.tree().read().unwrap().size(), log.head().borrow().checkpoint.size(), "{name}");
        for (digest, index) in &self.acknowledged {
            assert_eq!(store.index_of(digest).unwrap(), Some(*index), "{name}: an acknowledged entry is lost");
        }

        let key = signer().public().unwrap();
        let cell = self.cell();
        let seen = journal.announced.iter().map(|head| &head.note).chain([&cell]);
        // A signed tree is a promise, whoever has seen it.
        let mut promised = BTreeMap::new();
        for note in journal.signed.iter().chain(seen) {
            let checkpoint = open_note(note, &key).checkpoint().clone();
            let size = checkpoint.size();
            assert!(size <= head, "{name}: {size} entries were signed, and there are {head}");
            let root = root_of(&leaves[..usize::try_from(size).unwrap()]);
            assert_eq!(*checkpoint.root(), root, "{name}: the root of {size} entries");
            assert_eq!(promised.entry(size).or_insert(note), &note, "{name}: two notes about {size} entries");
        }
        let roots: Vec<_> =
            promised.keys().map(|size| (*size, checked.replay.tree().root_at(*size).unwrap())).collect();
        for pair in roots.windows(2) {
            let [(old, older), (new, newer)] = pair else { unreachable!() };
            let proof = checked.replay.tree().consistency(*old, *new).unwrap();
            assert_eq!(check_consistency((*old, older), (*new, newer), &proof), Ok(()), "{name}: {old} to {new}");
        }
        let cell = open_note(&cell, &key).checkpoint().size();
        for Head { checkpoint, note, .. } in &journal.announced {
            assert!(checkpoint.size() <= cell, "{name}: {} was announced, and the cell has {cell}", checkpoint.size());
            assert!(journal.signed.contains(note), "{name}: a head was announced that never went to the cell");
        }
    }
}

fn open_note(note: &[u8], key: &NoteKey) -> smi_verifier::note::SignedCheckpoint {
    smi_verifier::note::open(note, key).unwrap()
}

/// The root as RFC 6962 defines it, and by no code of ours but the two hashes.
fn root_of(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [leaf] => Hash::of_leaf(leaf),
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::of_node(&root_of(left), &root_of(right))
        }
    }
}

/// A cell that fails when it is told to, and that notices when it is used wrongly.
struct Faulty {
    cell: Box<dyn Cell>,
    journal: Arc<Mutex<Journal>>,
}

impl Cell for Faulty {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        self.cell.load()
    }

    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError> {
        let mut journal = self.journal.lock().unwrap();
        let found = self.cell.load().unwrap();
        journal.inspect(found.as_deref(), expected, new);
        journal.signed.push(new.to_owned());
        let fault = journal.swaps.pop_front().flatten();
        journal.met += usize::from(fault.is_some());
        if fault != Some(SwapFault::FailAndDrop) {
            self.cell.swap(expected, new)?;
        }
        let path = "the cell".into();
        fault.map_or(Ok(()), |_| Err(FileError::Unwritable { path, cause: io::Error::other("a fault") }.into()))
    }
}

impl Journal {
    /// The rules of whoever has a cell: it says what it found there, replaces it by a tree that has grown, and has
    /// stored every entry of that tree before.
    fn inspect(&mut self, found: Option<&[u8]>, expected: Option<&[u8]>, new: &[u8]) {
        let key = signer().public().unwrap();
        let mut broken = Vec::new();
        if found != expected {
            broken.push("something else was expected in the cell");
        }
        let new = open_note(new, &key);
        let old = found.map_or(0, |found| open_note(found, &key).checkpoint().size());
        if found.is_some() && new.checkpoint().size() <= old {
            broken.push("the tree has not grown");
        }
        let store = self.store.as_ref().and_then(Weak::upgrade).expect("who swaps has a store");
        let leaves: Option<Vec<_>> = (0..new.checkpoint().size()).map(|index| store.leaf(index).unwrap()).collect();
        if leaves.is_none_or(|leaves| root_of(&leaves) != *new.checkpoint().root()) {
            broken.push("the tree is signed before it is stored");
        }
        self.broken.extend(broken.into_iter().map(str::to_owned));
    }
}

#[tokio::test]
async fn of_two_who_write_one_log_one_stops_and_nothing_forks() {
    // Two copies of one store, and one cell: each alone is sound.
    let cell = Kept::default();
    let (one, two) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    let start = |store: &Arc<Memory>| super::open(Arc::clone(store) as Arc<dyn Store>, Box::new(cell.clone()));
    let first = start(&one).unwrap();
    let second = start(&two).unwrap();
    assert!(first.submit(submission(0)).await.is_ok());
    assert!(first.submit(submission(1)).await.is_ok());

    let other = second.submit(submission(0)).await;
    assert!(matches!(other, Err(SubmitError::Stopped)), "{other:?}");
    assert_eq!(second.head().borrow().checkpoint.size(), 0, "nothing was announced");
    assert!(!second.is_running());
    second.close().await;
    let behind = start(&Arc::new(two.reopen())).map(drop).unwrap_err();
    assert_eq!(behind.code(), Some(Code::StoreBehind), "{behind}");
    two.commit(1, &[addition_of(2)]).unwrap();
    let differs = start(&Arc::new(two.reopen())).map(drop).unwrap_err();
    assert_eq!(differs.code(), Some(Code::StoreDiffers), "{differs}");
    assert!(first.submit(submission(3)).await.is_ok(), "the other is not disturbed");
}

/// The entry at index 1 that a release would be.
fn addition_of(number: u64) -> Addition {
    let mut replay = crate::replay::Replay::new(policy(), honest::now());
    replay.next(&honest::first()).unwrap();
    replay.next(&honest::release(number)).unwrap().addition
}
