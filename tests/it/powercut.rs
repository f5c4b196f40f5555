//! What was acknowledged is there after a power cut.
//!
//! The store lies on an ext4 image that is mounted through a loop device. While many submit to it, the process is
//! stopped at an acknowledgement, and the image's backing file is copied: it holds what reached the device, and
//! nothing of what the kernel still has in memory. The copy is mounted and opened, and must have whatever was
//! acknowledged, then and in every round before. The next round goes on with the copy, so that one store lives through
//! all of the cuts.
//!
//! What this device cannot show is a disk that reorders what was written since it was last told to flush: the loop
//! device keeps everything that it was given.
//!
//! Beside it, as it needs such a device too: what a full disk does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smi_publisher::store::{Addition, CommitError, MAX_BATCH, MAX_ENTRY_BYTES, Mark, SledStore, Store as _};
use smi_schemas::Digest;
use smi_tests::everything;

const MARK: Mark = Mark { demonstration: false };

const ROUNDS: u64 = 20;
const ROUNDS_WITHOUT_BARRIER: u64 = 5;
const IMAGE_BYTES: u64 = 1024 * 1024 * 1024;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long all rounds together may take.
const LIMIT: Duration = Duration::from_secs(150);

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    if !everything("powercut") {
        return;
    }
    let began = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let image = new_image(folder.path());
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let callers = [1, 16, 64][usize::try_from(round % 3).unwrap()];
        let bytes = if round % 5 == 4 { 200_000 } else { 20_000 };
        let barrier = if round % 2 == 0 { "prompt" } else { "late" };
        let before = acknowledged.len();
        let cut = cut(&image, folder.path(), callers, bytes, barrier, random.below(300) + 1, &mut acknowledged);
        fs::rename(cut, &image).unwrap();
        let lost = lost(&image, folder.path(), &acknowledged);
        assert_eq!(lost, Ok(0), "round {round}: of {}", acknowledged.len());
        eprintln!("round {round}: {callers} callers, {} acknowledged, none lost", acknowledged.len() - before);
        assert!(began.elapsed() < LIMIT, "round {round}: {LIMIT:?} are over");
    }
}

#[test]
fn without_the_barrier_this_test_would_fail() {
    if !everything("powercut without barrier") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let mut rounds_with_loss = 0;
    for round in 0..ROUNDS_WITHOUT_BARRIER {
        let image = new_image(folder.path());
        let mut acknowledged = BTreeMap::new();
        let cut = cut(&image, folder.path(), 16, 20_000, "none", random.below(300) + 1, &mut acknowledged);
        fs::rename(cut, &image).unwrap();
        let lost = lost(&image, folder.path(), &acknowledged);
        eprintln!("round {round}: {} acknowledged, lost {lost:?}", acknowledged.len());
        rounds_with_loss += u64::from(lost != Ok(0));
    }
    assert!(rounds_with_loss > 0, "nothing was lost without a barrier: the test does not see power cuts");
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if !everything("full disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::new(&new_image(folder.path()), folder.path());
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

/// The file that takes all the room there is.
const FILLER: &str = "filler";

fn fill(folder: &Path) -> io::Result<()> {
    let mut filler = fs::File::options().create(true).append(true).open(folder.join(FILLER))?;
    for size in [1024 * 1024, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    filler.sync_all()
}

/// Runs `powercut` on the image until it acknowledged `count` more, and returns a copy of what the device then holds.
fn cut(
    image: &Path,
    folder: &Path,
    callers: u64,
    bytes: usize,
    barrier: &str,
    count: u64,
    acknowledged: &mut BTreeMap<Digest, u64>,
) -> PathBuf {
    let mounted = Mounted::new(image, folder);
    let mut running = Running::new(&mounted.path.join("data"), callers, bytes, barrier);
    for _ in 0..count {
        running.acknowledgement(acknowledged);
    }
    running.stop();
    let copy = folder.join("copy");
    mounted.copy_device(image, &copy);
    // What it said before it was stopped.
    running.rest(acknowledged);
    copy
}

/// How many of the acknowledged are not in the store of the image where they were said to be. An error if it does not
/// open.
fn lost(image: &Path, folder: &Path, acknowledged: &BTreeMap<Digest, u64>) -> Result<usize, String> {
    let mounted = Mounted::new(image, folder);
    let store = SledStore::open(&mounted.path.join("data"), MARK);
    let store = store.map_err(|error| error.to_string())?;
    let head = store.head().unwrap();
    for index in 0..head {
        let entry =
            String::from_utf8(store.entry(index).unwrap().unwrap_or_else(|| panic!("a hole at {index}"))).unwrap();
        let mut words = entry.split(' ');
        assert_eq!(words.next().unwrap(), index.to_string());
        let digest: Digest = words.next().unwrap().parse().unwrap();
        assert_eq!(store.index_of(&digest).unwrap(), Some(index));
        assert_eq!(Digest::of(&store.blob(&digest).unwrap().unwrap()), digest);
    }
    Ok(acknowledged.iter().filter(|(digest, index)| store.index_of(digest).unwrap() != Some(**index)).count())
}

/// An image with an empty ext4 on it, on which nothing is written later on its own account.
fn new_image(folder: &Path) -> PathBuf {
    let image = folder.join("image");
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
    fn new(image: &Path, folder: &Path) -> Self {
        let path = folder.join("mounted");
        fs::create_dir_all(&path).unwrap();
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(&path));
        Self { path }
    }

    /// Copies the backing file as it is at one moment: between two looks at the device that show no write.
    fn copy_device(&self, image: &Path, copy: &Path) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let before = self.writes();
            run(Command::new("cp").arg("--sparse=always").arg(image).arg(copy));
            if before.is_some() && self.writes() == before {
                return;
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
    fn new(data: &Path, callers: u64, bytes: usize, barrier: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_powercut"));
        command.arg(data).args([
            "--callers",
            &callers.to_string(),
            "--bytes",
            &bytes.to_string(),
            "--barrier",
            barrier,
        ]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A line is one write to the pipe: it is there as a whole or not at all.
        let read = move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        thread::spawn(read);
        Self { child, lines }
    }

    fn acknowledgement(&mut self, acknowledged: &mut BTreeMap<Digest, u64>) {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
            let _ = self.child.kill();
            let mut said = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("powercut acknowledges nothing: {said}");
        };
        note(&line, acknowledged);
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

    fn rest(mut self, acknowledged: &mut BTreeMap<Digest, u64>) {
        self.child.kill().unwrap();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            note(&line, acknowledged);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn note(line: &str, acknowledged: &mut BTreeMap<Digest, u64>) {
    let (digest, index) = line.split_once(' ').unwrap();
    let before = acknowledged.insert(digest.parse().unwrap(), index.parse().unwrap());
    assert_eq!(before, None, "{line} is acknowledged twice");
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
