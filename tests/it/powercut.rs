//! What was acknowledged, and what was signed for, is there after a power cut.
//!
//! Store and cell lie on ext4 images that are mounted through loop devices: the cell beside the store, or on an image of
//! its own. While many submit, the process is stopped, at an acknowledgement or at any time, and the images' backing
//! files are copied: they hold what reached the devices, and nothing of what the kernel still has in memory. The copies
//! are mounted, and the log started on them. Whatever was acknowledged, then and in every round before, must be at the
//! index that was told, the cell must have every head that anybody saw announced, and each must be one of the log's own
//! past. The next round goes on with the copies, so that one log lives through many cuts.
//!
//! What these devices cannot show is a disk that reorders what was written since it was last told to flush: a loop
//! device keeps everything that it was given.
//!
//! Beside it, as it needs such devices too: what full disks do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smi_publisher::cell::{Cell as _, FileCell};
use smi_publisher::log::{Answer, Log, Signer, StartError, Submission, SubmitError};
use smi_publisher::recover::Recovered;
use smi_publisher::replay::check;
use smi_publisher::store::{Addition, CommitError, MAX_BATCH, MAX_ENTRY_BYTES, Mark, SledStore, Store};
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::record::Release;
use smi_schemas::statement::Versioned;
use smi_tests::{everything, programme, vectors};
use smi_verifier::merkle::{Hash, Tree, check_consistency};
use smi_verifier::note::{Checkpoint, open};
use smi_verifier::receipt::log_key;
use smi_verifier::said::{verify_first, verify_said};

const MARK: Mark = Mark { demonstration: false };

/// Cuts under load, unless [`ROUNDS_VARIABLE`] says how many.
const ROUNDS: u64 = 100;
const ROUNDS_VARIABLE: &str = "SMI_POWERCUT_ROUNDS";
/// Cuts that one log lives through; then there is a new one, on new images.
const ROUNDS_OF_A_LOG: u64 = 20;
/// Cuts of logs that are just being made, and how long that may take, in milliseconds.
const ROUNDS_OF_CREATION: u64 = 20;
const MAKING: u64 = 300;
const ROUNDS_WITHOUT_BARRIER: u64 = 5;
const IMAGE_BYTES: u64 = 1024 * 1024 * 1024;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    if !everything("powercut") {
        return;
    }
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let began = Instant::now();
    let mut random = Random::new();
    let (mut acknowledged, mut announced) = (0, 0);
    for (log, first) in (0..rounds).step_by(usize::try_from(ROUNDS_OF_A_LOG).unwrap()).enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let place = if log % 2 == 0 { Place::Beside } else { Place::Apart };
        let disks = Disks::new(folder.path(), place);
        let mut told = Told::default();
        for round in first..rounds.min(first + ROUNDS_OF_A_LOG) {
            let load = Load {
                callers: [1, 16, 64][usize::try_from(round % 3).unwrap()],
                results: round % 5 == 4,
                barrier: if round % 2 == 0 { "prompt" } else { "late" },
            };
            let at = match round % 4 {
                3 => At::Time(Duration::from_millis(random.below(1500))),
                _ => At::Acknowledgement(random.below(load.callers * 8) + 1),
            };
            let before = (told.entries.len(), told.heads.len());
            disks.cut(&load, at, &mut told);
            let last = round + 1 == rounds.min(first + ROUNDS_OF_A_LOG);
            disks
                .verify(&told, last)
                .unwrap_or_else(|error| panic!("round {round}, {place:?}, {load:?}, {at:?}: {error}"));
            eprintln!(
                "round {round}: cell {place:?}, {load:?}, {at:?}: {} acknowledged, {} heads seen, none lost",
                told.entries.len() - before.0,
                told.heads.len() - before.1,
            );
        }
        (acknowledged, announced) = (acknowledged + told.entries.len(), announced + told.heads.len());
    }
    let seconds = began.elapsed().as_secs();
    eprintln!(
        "{rounds} cuts, {acknowledged} entries acknowledged, {announced} heads announced, 0 lost, in {seconds} s"
    );
}

#[tokio::test]
async fn a_log_that_is_cut_off_while_it_is_made_is_made_again() {
    if !everything("powercut of a new log") {
        return;
    }
    let mut random = Random::new();
    for round in 0..ROUNDS_OF_CREATION {
        let folder = tempfile::tempdir().unwrap();
        let place = if round % 2 == 0 { Place::Beside } else { Place::Apart };
        let disks = Disks::new(folder.path(), place);
        let mut told = Told::default();
        // From before it has begun to after it has been made.
        let at = At::Time(Duration::from_millis(random.below(MAKING)));
        disks.cut(&Load { callers: 1, results: false, barrier: "late" }, at, &mut told);
        let made = {
            let (_mounted, data, cell) = disks.mount();
            let made = (data.join("store").exists(), cell.exists());
            let log = start(&data, &cell).unwrap_or_else(|error| panic!("round {round}, {at:?}: {error}"));
            let answer = log.submit(submission(0)).await.unwrap();
            assert!(matches!(answer, Answer::Added { index: 0, .. } | Answer::Present { index: 0, .. }), "{answer:?}");
            log.close().await;
            made
        };
        disks.verify(&told, true).unwrap_or_else(|error| panic!("round {round}, {at:?}: {error}"));
        let (store, cell) = made;
        let acknowledged = told.entries.len();
        eprintln!("round {round}: {at:?}: store {store}, cell {cell}, {acknowledged} acknowledged, none lost");
    }
}

#[test]
fn without_the_barrier_this_test_would_fail() {
    if !everything("powercut without barrier") {
        return;
    }
    let mut random = Random::new();
    let mut rounds_with_loss = 0;
    for round in 0..ROUNDS_WITHOUT_BARRIER {
        let folder = tempfile::tempdir().unwrap();
        let disks = Disks::new(folder.path(), Place::Beside);
        let mut told = Told::default();
        let load = Load { callers: 16, results: false, barrier: "none" };
        disks.cut(&load, At::Acknowledgement(random.below(300) + 1), &mut told);
        let verified = disks.verify(&told, false);
        eprintln!("round {round}: {} acknowledged: {verified:?}", told.entries.len());
        rounds_with_loss += u64::from(verified.is_err());
    }
    assert!(rounds_with_loss > 0, "nothing was lost without a barrier: the test does not see power cuts");
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if !everything("full disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::new(&new_image(folder.path(), "image"));
    let data = mounted.path.join("data");
    // Batches so large that sled soon needs room that it has not set aside when it started.
    let addition = |number: u64| Addition {
        digest: Digest::of(&number.to_be_bytes()),
        entry: vec![7; MAX_ENTRY_BYTES],
        leaf: Vec::new(),
        blob: number.to_be_bytes().repeat(10),
    };
    let commit = |store: &SledStore| {
        let head = store.head().unwrap();
        store.commit(head, &(head..).take(MAX_BATCH).map(addition).collect::<Vec<_>>())
    };
    let holds = |store: &SledStore, head| {
        assert_eq!(store.head().unwrap(), head);
        (0..head).for_each(|number| {
            assert_eq!(store.blob(&addition(number).digest).unwrap(), Some(addition(number).blob));
        });
    };

    // Nearly full: the batch is refused, and the store goes on when there is room.
    let store = SledStore::open(&data, MARK).unwrap();
    commit(&store).unwrap();
    fill(&data).unwrap();
    let refused = commit(&store).unwrap_err();
    assert!(matches!(refused, CommitError::Full { .. }) && refused.state_known(), "{refused}");
    holds(&store, 256);
    fs::remove_file(data.join(FILLER)).unwrap();
    commit(&store).unwrap();
    holds(&store, 512);
    drop(store);

    // Full all at once, half-way through a commit: the state is not known, and the store takes nothing more.
    let store = SledStore::open_with(&data, MARK, |folder| {
        let folder = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
        if fs::metadata(folder.join("blobs"))?.len() > 3 * 256 * 80 { fill(&folder) } else { Ok(()) }
    })
    .unwrap();
    commit(&store).unwrap();
    let error = commit(&store).unwrap_err();
    assert!(!error.state_known(), "{error}");
    fs::remove_file(data.join(FILLER)).unwrap();
    assert!(!commit(&store).unwrap_err().state_known());
    drop(store);

    let store = SledStore::open(&data, MARK).unwrap();
    let head = store.head().unwrap();
    assert!([768, 1024].contains(&head), "{head}: a batch is there as a whole or not at all");
    holds(&store, head);
    commit(&store).unwrap();
    holds(&store, head + 256);
}

#[tokio::test]
async fn a_log_whose_disk_is_full_refuses_and_goes_on_when_there_is_room() {
    if !everything("full disk of a log") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::new(&new_image(folder.path(), "image"));
    let (data, cell) = (mounted.path.join("data"), folder.path().join("cell"));
    let log = start(&data, &cell).unwrap();
    log.submit(submission(0)).await.unwrap();
    log.submit(submission(1)).await.unwrap();
    fill(&data).unwrap();
    for number in [2, 3] {
        let refused = log.submit(submission(number)).await.unwrap_err();
        assert_eq!(refused.code(), Code::StoreFull, "{refused}");
    }
    assert!(log.is_running());
    assert!(matches!(log.submit(submission(1)).await, Ok(Answer::Present { index: 1, .. })));
    assert_eq!(log.head().borrow().checkpoint.size(), 2);
    fs::remove_file(data.join(FILLER)).unwrap();
    for (index, number) in [(2, 3), (3, 2)] {
        assert!(matches!(log.submit(submission(number)).await, Ok(Answer::Added { index: is, .. }) if is == index));
    }
    log.close().await;
    assert_eq!(whole(&data, &cell).unwrap().size(), 4);
}

#[tokio::test]
async fn a_log_whose_cells_disk_is_full_stops_and_goes_on_when_there_is_room() {
    if !everything("full disk of a cell") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::new(&new_image(folder.path(), "image"));
    let (data, cell) = (folder.path().join("data"), mounted.path.join("cell"));
    let log = start(&data, &cell).unwrap();
    log.submit(submission(0)).await.unwrap();
    log.submit(submission(1)).await.unwrap();
    fill(&mounted.path).unwrap();

    // What is stored and cannot be signed for is told to nobody.
    let stopped = log.submit(submission(2)).await;
    assert!(matches!(stopped, Err(SubmitError::Stopped)), "{stopped:?}");
    assert_eq!(log.head().borrow().checkpoint.size(), 2, "nothing was announced");
    log.close().await;
    for _ in 0..2 {
        let error = start(&data, &cell).map(drop).unwrap_err();
        assert_eq!(error.code(), Some(Code::FileUnwritable), "{error}");
    }
    fs::remove_file(mounted.path.join(FILLER)).unwrap();
    let log = start(&data, &cell).unwrap();
    assert_eq!(log.head().borrow().checkpoint.size(), 3, "it is signed for now");
    assert!(matches!(log.submit(submission(2)).await, Ok(Answer::Present { index: 2, .. })));
    assert!(matches!(log.submit(submission(3)).await, Ok(Answer::Added { index: 3, .. })));
    log.close().await;
    assert_eq!(whole(&data, &cell).unwrap().size(), 4);
    // No half of a file is left behind.
    let left: Vec<_> = fs::read_dir(&mounted.path).unwrap().map(|found| found.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the cell, its lock and lost+found: {left:?}");
}

/// Something to log: 0 is the first keyring, and every other number a release of its own.
fn submission(number: u64) -> Submission {
    let keyring = vectors::keyring_with(None);
    if number == 0 {
        return Submission::new(verify_first(&programme::first(&keyring)).unwrap());
    }
    let suite = Versioned { version: format!("1.0.{number}").parse().unwrap(), digest: Digest::of(b"suite") };
    let release = Release::of(suite, vectors::now()).unwrap();
    let bundle = vectors::key("suite").sign_statement(&release.to_bytes()).to_bytes();
    Submission::new(verify_said(&bundle, &vectors::policy(keyring, None), vectors::now()).unwrap())
}

/// Starts the log that a store and a cell hold.
fn start(data: &Path, cell: &Path) -> Result<Log, StartError> {
    started(opened(data).unwrap(), cell)
}

fn opened(data: &Path) -> Result<Arc<dyn Store>, String> {
    Ok(Arc::new(SledStore::open(data, MARK).map_err(|error| error.to_string())?))
}

fn started(store: Arc<dyn Store>, cell: &Path) -> Result<Log, StartError> {
    let recovered = Recovered::read(&*store, 0)?;
    let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: vectors::key("log") };
    Log::start(store, Box::new(FileCell::new(cell)), signer, recovered).map(|(log, _)| log)
}

/// The tree of a log of which everything follows from its bundles, and which is what the cell says.
fn whole(data: &Path, cell: &Path) -> Result<Tree, String> {
    let store = SledStore::open(data, MARK).map_err(|error| error.to_string())?;
    let policy = vectors::policy(vectors::keyring_with(None), None);
    let checked = check(&store, policy, vectors::now()).map_err(|error| error.to_string())?;
    let kept = checkpoint(&FileCell::new(cell).load().unwrap().ok_or("there is no cell")?);
    let tree = checked.replay.tree();
    if (kept.size(), kept.root()) == (tree.size(), &tree.root()) {
        return Ok(tree.clone());
    }
    Err(format!("the cell has {} entries, and the store {}", kept.size(), tree.size()))
}

fn checkpoint(note: &[u8]) -> Checkpoint {
    open(note, &log_key(&vectors::keyring_with(None)).unwrap()).unwrap().checkpoint().clone()
}

/// The file that takes all the room there is.
const FILLER: &str = "filler";

fn fill(folder: &Path) -> io::Result<()> {
    let mut filler = fs::File::options().create(true).append(true).open(folder.join(FILLER))?;
    for size in [1024 * 1024, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    filler.sync_all()
}

/// Where the cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the store's disk.
    Beside,
    /// On a disk of its own.
    Apart,
}

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
enum At {
    /// When so many were acknowledged.
    Acknowledgement(u64),
    /// So long after the process was begun.
    Time(Duration),
}

/// What the log has to do.
#[derive(Debug)]
struct Load {
    callers: u64,
    results: bool,
    barrier: &'static str,
}

/// What anybody was told.
#[derive(Default)]
struct Told {
    /// The index of every acknowledged entry.
    entries: BTreeMap<Digest, u64>,
    /// Every head that was announced, by its size.
    heads: BTreeMap<u64, Vec<u8>>,
}

/// The disks of one log.
struct Disks {
    data: PathBuf,
    /// The one that the cell is on, if that is another.
    cell: Option<PathBuf>,
}

impl Disks {
    fn new(folder: &Path, place: Place) -> Self {
        let cell = (place == Place::Apart).then(|| new_image(folder, "cell"));
        Self { data: new_image(folder, "data"), cell }
    }

    /// The images, mounted, and where on them store and cell are.
    fn mount(&self) -> (Vec<Mounted>, PathBuf, PathBuf) {
        let mut mounted = vec![Mounted::new(&self.data)];
        mounted.extend(self.cell.as_deref().map(Mounted::new));
        let cell = mounted.last().unwrap().path.join("data.checkpoint");
        let data = mounted[0].path.join("data");
        (mounted, data, cell)
    }

    /// Runs `powercut` until the power is cut: then the images are what the devices hold at that moment.
    fn cut(&self, load: &Load, at: At, told: &mut Told) {
        let (mounted, data, cell) = self.mount();
        let mut running = Running::new(&data, &cell, load);
        match at {
            At::Acknowledgement(mut count) => {
                while count > 0 {
                    count -= u64::from(running.line(told));
                }
            }
            At::Time(after) => thread::sleep(after),
        }
        running.stop();
        let images = [Some(&self.data), self.cell.as_ref()].into_iter().flatten();
        let copies: Vec<_> = mounted.iter().zip(images).map(|(mounted, image)| mounted.copy_device(image)).collect();
        // What it said before it was stopped.
        running.rest(told);
        drop(mounted);
        for (copy, image) in copies {
            fs::rename(copy, image).unwrap();
        }
    }

    /// Starts the log, and says what is missing of what anybody was told; and if it is to be `whole`, what does not
    /// follow from its bundle.
    fn verify(&self, told: &Told, is_whole: bool) -> Result<(), String> {
        let (_mounted, data, cell) = self.mount();
        // As it is before starting mends it: it has whatever anybody has seen.
        let kept = fs::read(&cell).map_or(0, |note| checkpoint(&note).size());
        if let Some((seen, _)) = told.heads.last_key_value().filter(|(seen, _)| **seen > kept) {
            return Err(format!("a head of {seen} entries was announced, and the cell has {kept}"));
        }
        let store = opened(&data)?;
        let log = started(Arc::clone(&store), &cell).map_err(|error| error.to_string())?;
        let (tree, mut announced) = (log.tree(), log.head());
        let head = announced.borrow_and_update().checkpoint.clone();
        drop(log);
        // When nobody can submit any more, it lets go of the store and ends.
        while announced.has_changed().is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        let tree = tree.read().unwrap();

        let lost =
            told.entries.iter().filter(|(digest, index)| store.index_of(digest).unwrap() != Some(**index)).count();
        if lost > 0 {
            return Err(format!("{lost} of {} acknowledged entries are lost", told.entries.len()));
        }
        for index in 0..store.head().unwrap() {
            let leaf = store.leaf(index).unwrap().unwrap_or_else(|| panic!("a hole at {index}"));
            assert_eq!(tree.leaf(index), Some(Hash::of_leaf(&leaf)), "leaf {index}");
        }
        drop(store);
        for note in told.heads.values() {
            let seen = checkpoint(note);
            let proof = tree.consistency(seen.size(), head.size());
            let proof =
                proof.ok_or_else(|| format!("{} entries were signed, and there are {}", seen.size(), head.size()))?;
            check_consistency((seen.size(), seen.root()), (head.size(), head.root()), &proof)
                .map_err(|error| format!("a fork at {} entries: {error}", seen.size()))?;
        }
        if is_whole {
            whole(&data, &cell)?;
        }
        Ok(())
    }
}

/// An image with an empty ext4 on it, on which nothing is written later on its own account.
fn new_image(folder: &Path, name: &str) -> PathBuf {
    let image = folder.join(name);
    fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image));
    image
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A mounted image. It is unmounted when this is dropped, and the loop device goes with it.
struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Mounts it beside itself.
    fn new(image: &Path) -> Self {
        let path = image.with_extension("mounted");
        fs::create_dir_all(&path).unwrap();
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(&path));
        Self { path }
    }

    /// Copies the backing file as it is at one moment: between two looks at the device that show no write.
    /// Returns the copy, and what it is of.
    fn copy_device<'i>(&self, image: &'i Path) -> (PathBuf, &'i Path) {
        let copy = image.with_extension("copy");
        let patience = Instant::now() + PATIENCE;
        loop {
            let before = self.writes();
            run(Command::new("cp").arg("--sparse=always").arg(image).arg(&copy));
            if before.is_some() && self.writes() == before {
                return (copy, image);
            }
            assert!(Instant::now() < patience, "the device is never at rest");
        }
    }

    /// How many writes the device has completed; nothing while it is at one.
    fn writes(&self) -> Option<u64> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().find(|line| line.split(' ').nth(1).is_some_and(|path| Path::new(path) == self.path));
        let device = line.unwrap().split(' ').next().unwrap().trim_start_matches("/dev/");
        let numbers = fs::read_to_string(format!("/sys/block/{device}/stat")).unwrap();
        let number = |at| numbers.split_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
        // Documentation/block/stat.rst: the fifth is write I/Os, the ninth is I/Os in flight.
        (number(8) == 0).then_some(number(4))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.path).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            // Whatever still has it open: it goes when that does.
            let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
        }
    }
}

/// A running `powercut`. It is killed when this is dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn new(data: &Path, cell: &Path, load: &Load) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_powercut"));
        command.arg(data).arg(cell).args(["--callers", &load.callers.to_string(), "--barrier", load.barrier]);
        if load.results {
            command.arg("--results");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A line is one write to the pipe: it is there as a whole or not at all.
        let read = move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        thread::spawn(read);
        Self { child, lines }
    }

    /// Waits for what it says next: whether that is an acknowledgement.
    fn line(&mut self, told: &mut Told) -> bool {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
            let _ = self.child.kill();
            let mut said = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("powercut acknowledges nothing: {said}");
        };
        told.note(&line)
    }

    /// Stops every thread of it where it is; one that waits for the device, when it has waited.
    fn stop(&self) {
        let process = self.child.id();
        // The shell's own: a bare machine has no program of that name.
        run(Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", "-STOP", &process.to_string()]));
        let patience = Instant::now() + PATIENCE;
        let stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // `PID (NAME) STATE …`
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        while !fs::read_dir(format!("/proc/{process}/task")).unwrap().all(|task| stopped(task.unwrap())) {
            assert!(Instant::now() < patience, "powercut does not stop");
        }
    }

    fn rest(mut self, told: &mut Told) {
        self.child.kill().unwrap();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            told.note(&line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Told {
    /// Notes a line of `powercut`: whether it is an acknowledgement.
    fn note(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["entry", digest, index] => {
                let before = self.entries.insert(digest.parse().unwrap(), index.parse().unwrap());
                assert_eq!(before, None, "{line} is acknowledged twice");
                true
            }
            ["head", note] => {
                let note = STANDARD.decode(note).unwrap();
                let size = checkpoint(&note).size();
                let first = self.heads.entry(size).or_insert_with(|| note.clone());
                assert_eq!(*first, note, "two notes about {size} entries");
                false
            }
            _ => panic!("powercut says {line:?}"),
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
