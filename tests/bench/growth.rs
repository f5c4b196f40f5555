//! What a log costs that has grown: to append to it, to read it, to start on it, to keep it.
//!
//! usage: `cargo bench -p smi-tests --bench cost -- growth [--entries 1000,100000,1000000] [--folder DIR]`
//!
//! One log is filled and measured at each size; in a folder that is given it stays, and is gone on with by the next run.
//! Every entry is signed and passes the verifier and the log like any other, only not HTTP. What is in a hundred:
//!
//! - 95 results of 200 meshes, each with a vendor and a key of its own, one after the other; a mesh has a new version
//!   after 200 runs. Statements are those of the vectors with a suite of two assertions, so that a million fit a disk.
//!   Their entries, which are what memory and start-up see, are as large as any.
//! - 3 reviews of results of the 6 vendors who publish after one, a withdrawal, and a supersession.
//!
//! Start-up, memory and everything that is read are measured in a process of its own, which has only started. Memory
//! is the growth of its resident set over opening the store and starting the log; database and view are in it. An append
//! is one durable submission that waits for nobody; its floor is what it needs of the disk, two barriers of the file
//! system and the replacement of a file, in the same run. The floor of starting is to read the bytes that are read.

use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use smi_keys::keyring::{Entry, Publish, Role};
use smi_keys::{SigningKey, files};
use smi_publisher::cell::FileCell;
use smi_publisher::feed::Feed;
use smi_publisher::log::{Log, Signer, Submission};
use smi_publisher::page::Matrix;
use smi_publisher::recover::Recovered;
use smi_publisher::store::sled::sync_file_system;
use smi_publisher::store::{Mark, SledStore, Store};
use smi_schemas::Digest;
use smi_schemas::Timestamp;
use smi_schemas::bundle::Bundle;
use smi_schemas::names::RunId;
use smi_schemas::record::{Review, Supersession, Verdict, Withdrawal};
use smi_schemas::statement::{Statement, Versioned};
use smi_schemas::suite::Suite;
use smi_tests::programme;
use smi_tests::vectors::{self, key};
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::receipt::log_key;
use smi_verifier::said::{verify_first, verify_said};

use super::measure::{self, Folder, quantile};

const MESHES: u64 = 200;
/// Vendors whose results are published after review: the first ones.
const REVIEWED: u64 = 6;
/// Runs of one version of a mesh.
const RUNS: u64 = 200;
/// Entries that are prepared and submitted together.
const CHUNK: u64 = 1024;
/// Appends, pages and documents that are timed, and proofs.
const APPENDS: u64 = 100;
const PAGES: u64 = 200;
const DOCUMENTS: u64 = 5;
const PROOFS: u64 = 10_000;

/// Has this program measure a log instead of filling one.
const MEASURED: &str = "SMI_BENCH_GROWN";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Entries at which the log is measured, ascending
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    entries: Vec<u64>,
    /// Where the log is, and stays
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Options {
    /// As little as tells anything.
    pub(crate) fn short() -> Self {
        Self { entries: vec![1000], folder: None }
    }
}

/// Fills and measures.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, options: &Options) {
    if let Some(folder) = env::var_os(MEASURED) {
        return measured(runtime, Path::new(&folder));
    }
    let temporary = options.folder.is_none().then(|| Folder::new("growth", None));
    let folder = temporary.as_ref().map_or_else(|| options.folder.clone().unwrap(), |folder| folder.path().to_owned());
    fs::create_dir_all(&folder).unwrap();
    for entries in &options.entries {
        let started = Instant::now();
        let added = fill(runtime, &folder, *entries);
        if added > 0 {
            println!("growth    {added} entries added in {} s", started.elapsed().as_secs());
        }
        let status = Command::new(env::current_exe().unwrap()).arg("growth").env(MEASURED, &folder).status().unwrap();
        assert!(status.success());
    }
}

/// The log in a folder, and what it begins with if it is new.
fn open(folder: &Path) -> (Arc<dyn Store>, [Duration; 2], Log, Feed) {
    let started = Instant::now();
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&folder.join("data"), Mark { demonstration: false }).unwrap());
    let opened = started.elapsed();
    let recovered = Recovered::read(&*store, store.head().unwrap()).unwrap();
    let cell = Box::new(FileCell::new(&folder.join("data.checkpoint")));
    let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: key("log") };
    let (log, view) = Log::start(Arc::clone(&store), cell, signer, recovered).unwrap();
    let whole = started.elapsed();
    let feed = Feed::new(Arc::clone(&store), log.tree(), view, log_key(&vectors::keyring_with(None)).unwrap());
    (store, [opened, whole], log, feed)
}

/// Fills a log up to a size, and says how many entries that took.
fn fill(runtime: &tokio::runtime::Runtime, folder: &Path, size: u64) -> u64 {
    let (store, _, log, feed) = open(folder);
    drop(feed);
    let programme = Programme::new();
    if store.head().unwrap() == 0 {
        let first = programme::first(&programme.policy.keyring);
        runtime.block_on(log.submit(Submission::new(verify_first(&first).unwrap()))).unwrap();
    }
    let head = store.head().unwrap();
    drop(store);
    let (sender, prepared) = sync_channel(2);
    thread::scope(|scope| {
        let programme = &programme;
        scope.spawn(move || {
            let mut next = head;
            while next < size {
                let end = (next + CHUNK).min(size);
                let indexes: Vec<u64> = (next..end).collect();
                sender.send(measure::on_every_core(&indexes, |index| programme.submission(*index))).unwrap();
                next = end;
            }
        });
        for submissions in prepared {
            // The first time that they are polled, and so queued, is in their order.
            let all = futures_util::future::join_all(submissions.into_iter().map(|one| log.submit(one)));
            for answer in runtime.block_on(all) {
                answer.unwrap();
            }
        }
    });
    runtime.block_on(log.close());
    size.saturating_sub(head)
}

/// Who signs what is in the log, and the policy that admits it.
struct Programme {
    policy: Policy,
    vendors: Vec<SigningKey>,
    reviewer: SigningKey,
    /// What every result is made from.
    statement: Statement,
}

impl Programme {
    fn new() -> Self {
        let mut keyring = vectors::keyring_with(None);
        let name = |mesh: u64| format!("mesh-{mesh}");
        let vendors: Vec<SigningKey> = (0..MESHES).map(|mesh| key(&name(mesh))).collect();
        for (mesh, vendor) in (0..).zip(&vendors) {
            let publish = Some(if mesh < REVIEWED { Publish::AfterReview } else { Publish::Direct });
            let meshes = [name(mesh).parse().unwrap()].into();
            let entry = Entry::new(name(mesh).parse().unwrap(), Role::Vendor, vendor.public());
            keyring.add(Entry { meshes, publish, ..entry }).unwrap();
        }
        let suite = small_suite();
        let mut suites = Suites::default();
        suites.add(&suite).unwrap();
        let (suite, digest) = Suite::read(&suite).unwrap();
        let vectors = vectors::signed(|statement| {
            statement.predicate.assertions.truncate(suite.assertions.len());
            statement.predicate.suite = Versioned { version: suite.version.clone(), digest };
        });
        let statement = Statement::read(&Bundle::read(&vectors).unwrap().payload).unwrap();
        let policy = Policy { suites, ..vectors::policy(keyring, None) };
        Self { policy, vendors, reviewer: key("reviewer"), statement }
    }

    /// The entry at an index, ready to be logged.
    fn submission(&self, index: u64) -> Submission {
        let bundle = self.bundle(index).to_bytes();
        Submission::new(verify_said(&bundle, &self.policy, vectors::now()).unwrap())
    }

    fn bundle(&self, index: u64) -> Bundle {
        let (hundred, place) = (index / 100, index % 100);
        let reason = || format!("Entry {index}.").parse().unwrap();
        let withdrawn = |number: u64| {
            let record = Withdrawal::of(self.payload(number), reason(), vectors::now());
            self.vendor(number).sign_statement(&record.to_bytes())
        };
        match place {
            95..98 => {
                // A little slower than results are made that wait, so that there always is one.
                let of = (3 * hundred + place - 95) * 28 / 30;
                let result = (of / REVIEWED * MESHES + of % REVIEWED).max(1);
                let record = Review::of(self.payload(result), Verdict::Accept, reason(), vectors::now());
                self.reviewer.sign_statement(&record.to_bytes())
            }
            98 if hundred < 5 => withdrawn(10 * hundred + 7),
            99 if hundred < 5 => withdrawn(10 * hundred + 9),
            98 => withdrawn(50 * hundred),
            99 => {
                let result = 50 * hundred + 1;
                let (result, by) = (self.payload(result), self.payload(result + MESHES));
                let record = Supersession::of(result, by, reason(), vectors::now()).unwrap();
                self.vendor(50 * hundred + 1).sign_statement(&record.to_bytes())
            }
            _ => {
                let number = hundred * 95 + place;
                self.vendor(number).sign_statement(&self.result(number))
            }
        }
    }

    /// The statement of the result of this number.
    fn result(&self, number: u64) -> Vec<u8> {
        let mut statement = self.statement.clone();
        let predicate = &mut statement.predicate;
        // A run of every mesh a day, of which the last was done long ago.
        let ended = vectors::now().unix_seconds() - 400_000_000 + i64::try_from(number / MESHES * 86_400).unwrap() / 2;
        predicate.run.id = RunId::new(u128::from(number).to_be_bytes());
        predicate.run.finished_at = Timestamp::from_unix_seconds(ended).unwrap();
        predicate.run.started_at = Timestamp::from_unix_seconds(ended - 300).unwrap();
        predicate.mesh.slug = format!("mesh-{}", number % MESHES).parse().unwrap();
        predicate.mesh.version = Some(format!("1.{}.0", number / MESHES / RUNS).parse().unwrap());
        statement.to_bytes()
    }

    fn payload(&self, number: u64) -> Digest {
        Digest::of(&self.result(number))
    }

    fn vendor(&self, number: u64) -> &SigningKey {
        &self.vendors[usize::try_from(number % MESHES).unwrap()]
    }
}

/// The suite of the vectors without what is probed.
fn small_suite() -> Vec<u8> {
    let mut suite: serde_json::Value = serde_json::from_slice(vectors::SUITE).unwrap();
    suite["assertions"].as_array_mut().unwrap().truncate(2);
    suite["shapes"] = serde_json::json!([]);
    serde_json::to_vec(&suite).unwrap()
}

/// Measures the log in a folder.
fn measured(runtime: &tokio::runtime::Runtime, folder: &Path) {
    let programme = Programme::new();
    let (before, processor) = (measure::resident(), measure::process_time());
    let (store, [opened, started], log, feed) = open(folder);
    let (memory, processor) = (measure::resident() - before, measure::process_time().saturating_sub(processor));
    let size = feed.view().size();
    let (disk, database) = (measure::disk(folder), measure::disk(&folder.join("data/sled")));
    println!("growth    {size} entries");
    println!(
        "  start   {} ms, of which the database {} ms; {} ms of processors; floor: {} MB read in {} ms",
        started.as_millis(),
        opened.as_millis(),
        processor.as_millis(),
        database / 1_000_000,
        read(&folder.join("data/sled")).as_millis()
    );
    println!("  memory  {} bytes an entry, of which hashes {}", memory / size, 64);
    println!("  disk    {} bytes an entry, of which the database {}", disk / size, database / size);

    let submissions: Vec<u64> = (size..size + APPENDS).collect();
    let submissions = measure::on_every_core(&submissions, |index| programme.submission(*index));
    let appended = sorted(submissions.into_iter().map(|submission| {
        let started = Instant::now();
        runtime.block_on(log.submit(submission)).unwrap();
        started.elapsed()
    }));
    let floor = append_floor(folder);
    for (name, times) in [("append", &appended), ("  floor", &floor)] {
        println!("  {name:<7} p50 {} us, p99 {} us", quantile(times, 50).as_micros(), quantile(times, 99).as_micros());
    }
    let size = log.head().borrow().checkpoint.size();
    feed.catch_up(size).unwrap();

    let first = mean(PAGES, |_| drop(black_box(feed.page(None).unwrap())));
    let last = mean(PAGES, |_| drop(black_box(feed.page(Some(size - 101)).unwrap())));
    println!("  page    first {} us, last {} us", first.as_micros(), last.as_micros());
    // A number that has no factor in common with any size of interest visits entries far apart.
    let proof = mean(PROOFS, |number| drop(black_box(feed.inclusion(number * 7_919 % size, size).unwrap())));
    println!("  proof   {} ns", proof.as_nanos());
    let rows = feed.view().rows().len();
    let mut bytes = 0;
    let json = mean(DOCUMENTS, |_| bytes = black_box(feed.view().document().to_bytes()).len());
    println!("  view    {rows} rows, {bytes} bytes in {} us", json.as_micros());
    let page = mean(DOCUMENTS, |_| bytes = black_box(Matrix::new(&feed.view().document(), false).to_string()).len());
    println!("  matrix  {bytes} bytes in {} us", page.as_micros());
    drop((store, feed));
    runtime.block_on(log.close());
}

/// What one append asks of a disk: a barrier, what is small, a barrier, the cell.
fn append_floor(folder: &Path) -> Vec<Duration> {
    let (path, cell) = (folder.join("floor"), folder.join("floor.cell"));
    let handle = File::open(folder).unwrap();
    let mut file = File::create(&path).unwrap();
    fs::write(&cell, b"").unwrap();
    let times = sorted((0..APPENDS).map(|_| {
        let started = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        sync_file_system(&handle).unwrap();
        file.write_all(&[7; 1024]).unwrap();
        sync_file_system(&handle).unwrap();
        files::replace(&cell, &[7; 256]).unwrap();
        started.elapsed()
    }));
    fs::remove_file(path).unwrap();
    fs::remove_file(cell).unwrap();
    times
}

/// Reads everything below a folder.
fn read(folder: &Path) -> Duration {
    let started = Instant::now();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                drop(black_box(fs::read(path).unwrap()));
            }
        }
    }
    started.elapsed()
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times
}

/// Processor time of one, on average: none of these waits for anything, and others may use the machine.
fn mean(count: u64, mut work: impl FnMut(u64)) -> Duration {
    let started = measure::thread_time();
    (0..count).for_each(&mut work);
    measure::thread_time().saturating_sub(started) / u32::try_from(count).unwrap()
}
