//! What a publisher takes: durable submissions that are answered with their proof, over HTTP, from clients that keep
//! their connections.
//!
//! usage: `cargo bench -p smi-tests --bench cost -- logged [--clients N,…] [--bundles N] [--folder DIR] [--peer PROGRAM]`
//!
//! Each bundle is the whole released suite, once run in the sandbox, under a run id of its own; all are made and signed
//! before a clock starts. The store lies on a disk: under `target/tmp`, or in a folder that is given and must not be a
//! tmpfs. No witness is asked. Clients wait for one answer before they submit the next bundle, so a client's latency
//! cannot be less than the number of clients divided by the throughput; that quotient is printed beside it.
//!
//! Floors, in the same run and with the same bundles:
//!
//! - **verify**: each bundle verified strictly, parsed and replayed once (`verify_said`), on every core, and nothing
//!   else. It is measured before and after the load. Wall time depends on who else uses the machine, so processor time
//!   for one bundle is printed too; the load's has the clients in it, whose part is named.
//! - **carry**: as many bytes carried there and back by the same clients, to a server on the same runtime that reads each
//!   submission and answers with as many bytes as the publisher, and does nothing else.
//! - **disk**: as many bytes as the load's, appended to a file in batches with one `syncfs` each, and with two, as the
//!   store needs them. Memory that a machine lends for the first time is dear on a virtual one, so it is as much.
//! - **Tessera**: its POSIX storage under its own load tool, where `--peer` names the program that `tests/bench/tessera`
//!   builds. It verifies nothing, and its entries are as large as a leaf.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smi_publisher::log::MAX_BATCH_BYTES;
use smi_publisher::store::sled::sync_file_system;
use smi_runner::execute::execute;
use smi_runner::plan::Plan;
use smi_runner::sandbox::SandboxTarget;
use smi_runner::statement::{Begun, statement};
use smi_runner::target::Target as _;
use smi_schemas::Digest;
use smi_schemas::names::RunId;
use smi_schemas::statement::{Filters, Overrides, Purpose, Versioned};
use smi_schemas::suite::{NEWEST, Suite};
use smi_tests::mutants::versions;
use smi_tests::programme::{Running, Settings};
use smi_tests::vectors::{self, key};
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::said::verify_said;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::measure::{self, Folder, per_second, process_time, quantile, thread_time};

/// A run id that stands where each bundle's own is put.
const PLACE: [u8; 16] = [0xab; 16];

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Clients at once
    #[arg(long, value_delimiter = ',', default_value = "64,128,256")]
    clients: Vec<usize>,
    /// Bundles of each load
    #[arg(long, default_value_t = 4000)]
    bundles: usize,
    /// Where the stores are made
    #[arg(long)]
    folder: Option<PathBuf>,
    /// What measures Tessera's storage, such as `tests/bench/tessera`
    #[arg(long)]
    peer: Option<PathBuf>,
}

impl Options {
    /// As little as tells anything.
    pub(crate) fn short() -> Self {
        Self { clients: vec![64], bundles: 1500, folder: None, peer: None }
    }
}

/// Measures every number of clients.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, options: &Options) {
    let payload = runtime.block_on(sandbox_result());
    let policy = policy();
    println!("logged    {} bytes of statement, {} bundles for each load", payload.len(), options.bundles);
    let mut ids = 0..;
    for clients in &options.clients {
        let bundles = Arc::new(signed(&payload, &mut ids, options.bundles));
        let before = floor(&bundles[..options.bundles / 4], &policy);
        let loaded = load(runtime, &policy, &bundles, *clients, options.folder.as_deref());
        let after = floor(&bundles[options.bundles / 4..options.bundles / 2], &policy);
        let carried = carry(runtime, &bundles, *clients, loaded.answer_bytes);
        let written = disk(&bundles, *clients, options.folder.as_deref());
        report(&loaded, &bundles, *clients, Cost::mean(&[before, after]), [carried, written]);
    }
    if let Some(peer) = &options.peer {
        let folder = Folder::new("tessera", options.folder.as_deref());
        let status = Command::new(peer).arg(folder.path()).status().unwrap();
        assert!(status.success(), "{} failed", peer.display());
    }
}

/// The statement of a run of the whole suite in the sandbox, with [`PLACE`] for its run id.
pub(super) async fn sandbox_result() -> Vec<u8> {
    let (suite, digest) = Suite::read(NEWEST.bytes).unwrap();
    let apis = versions(None);
    let runner = Versioned { version: env!("CARGO_PKG_VERSION").parse().unwrap(), digest: Digest::of(b"benchmark") };
    let target = SandboxTarget::new(runner.version.clone(), runner.digest, apis.clone(), 1);
    let (filters, overrides) = (Filters::default(), Overrides::default());
    let plan = Plan { suite, digest, filters, overrides, apis, absent: [].into() };
    let executed = execute(&plan, &target, &CancellationToken::new(), &|_| ()).await;
    let (id, purpose, now) = (RunId::new(PLACE), Purpose::Official, vectors::now());
    let begun = Begun { id, seed: 1, purpose, started_at: now, runner };
    statement(&begun, &plan, target.facts(), &executed, now).to_bytes()
}

/// A publisher's, of the built-in suites, that admits the sandbox.
pub(super) fn policy() -> Policy {
    let vectors = vectors::policy(vectors::keyring_with(None), None);
    Policy { suites: Suites::builtin().unwrap(), allow_sandbox: true, ..vectors }
}

/// As many bundles, each of a run of its own.
pub(super) fn signed(payload: &[u8], ids: &mut impl Iterator<Item = u64>, count: usize) -> Vec<Vec<u8>> {
    let ids: Vec<u64> = ids.take(count).collect();
    let place = RunId::new(PLACE);
    let at = payload.windows(32).position(|window| window == place.as_str().as_bytes()).unwrap();
    measure::on_every_core(&ids, |id| {
        let mut payload = payload.to_owned();
        payload[at..at + 32].copy_from_slice(format!("{id:032x}").as_bytes());
        key("vendor").sign_statement(&payload).to_bytes()
    })
}

/// Time of a wall and of processors, for one bundle.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    pub(super) processor: Duration,
}

impl Cost {
    pub(super) fn of(count: usize, work: impl FnOnce()) -> Self {
        let (started, processor) = (Instant::now(), process_time());
        work();
        let count = u32::try_from(count).unwrap();
        Self { wall: started.elapsed() / count, processor: process_time().saturating_sub(processor) / count }
    }

    pub(super) fn mean(costs: &[Self]) -> Self {
        let count = u32::try_from(costs.len()).unwrap();
        let sum = |of: fn(&Self) -> Duration| costs.iter().map(of).sum::<Duration>() / count;
        Self { wall: sum(|cost| cost.wall), processor: sum(|cost| cost.processor) }
    }
}

/// Each bundle verified once, on every core.
fn floor(bundles: &[Vec<u8>], policy: &Policy) -> Cost {
    Cost::of(bundles.len(), || {
        measure::on_every_core(bundles, |bundle| drop(verify_said(bundle, policy, vectors::now()).unwrap()));
    })
}

struct Loaded {
    cost: Cost,
    clients: Duration,
    latencies: Vec<Duration>,
    answer_bytes: usize,
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    answer_bytes: usize,
    processor: Duration,
}

/// Submits every bundle to a publisher of its own.
fn load(
    runtime: &tokio::runtime::Runtime,
    policy: &Policy,
    bundles: &Arc<Vec<Vec<u8>>>,
    clients: usize,
    folder: Option<&Path>,
) -> Loaded {
    let folder = Folder::new("logged", folder);
    let keyring = vectors::keyring_with(None);
    let settings = Settings { keyring, policy: policy.clone(), quota: u32::MAX };
    let running = runtime.block_on(Running::start(folder.path(), settings));
    let (address, bundles, count) = (running.address, Arc::clone(bundles), bundles.len());
    let mut outcome = None;
    let cost = Cost::of(count, || {
        outcome = Some(thread::spawn(move || submitted(address, &bundles, clients)).join().unwrap());
    });
    runtime.block_on(running.stop());
    let Seen { latencies, answer_bytes, processor } = outcome.unwrap();
    Loaded { cost, clients: processor / u32::try_from(count).unwrap(), latencies, answer_bytes }
}

/// Carries every bundle to a server that only answers.
fn carry(runtime: &tokio::runtime::Runtime, bundles: &Arc<Vec<Vec<u8>>>, clients: usize, answer_bytes: usize) -> Cost {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (address, bundles, count) = (listener.local_addr().unwrap(), Arc::clone(bundles), bundles.len());
    let answer: Arc<[u8]> = {
        let head = "HTTP/1.1 201 Created\r\ncontent-length: ";
        let body = vec![b'a'; answer_bytes];
        [format!("{head}{answer_bytes}\r\n\r\n").as_bytes(), &body].concat().into()
    };
    let server = runtime.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while message(&mut stream, &mut request).await {
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    let cost = Cost::of(count, || {
        thread::spawn(move || submitted(address, &bundles, clients)).join().unwrap();
    });
    server.abort();
    cost
}

/// Submits every bundle, from clients that are all on this thread: the latencies in order, and the thread's time.
fn submitted(address: SocketAddr, bundles: &[Vec<u8>], clients: usize) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (next, before) = (AtomicUsize::new(0), thread_time());
    let all = (0..clients).map(|_| client(address, bundles, &next));
    let mut seen = Seen::default();
    for (latencies, answer_bytes) in runtime.block_on(futures_util::future::join_all(all)) {
        seen.latencies.extend(latencies);
        seen.answer_bytes = seen.answer_bytes.max(answer_bytes);
    }
    seen.latencies.sort();
    Seen { processor: thread_time().saturating_sub(before), ..seen }
}

/// Latencies, and the bytes of the last answer.
async fn client(address: SocketAddr, bundles: &[Vec<u8>], next: &AtomicUsize) -> (Vec<Duration>, usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    let mut answer = Vec::new();
    while let Some(bundle) = bundles.get(next.fetch_add(1, Ordering::Relaxed)) {
        let head = format!("POST /v1/bundles HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", bundle.len());
        let started = Instant::now();
        stream.write_all(&[head.as_bytes(), bundle].concat()).await.unwrap();
        assert!(message(&mut stream, &mut answer).await, "the publisher hung up");
        latencies.push(started.elapsed());
        assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
    }
    (latencies, answer.len())
}

/// Reads one message, head and body, unless the other side hung up.
async fn message(stream: &mut TcpStream, message: &mut Vec<u8>) -> bool {
    message.clear();
    let mut end = None;
    while end.is_none_or(|end| message.len() < end) {
        message.reserve(64 * 1024);
        if stream.read_buf(message).await.unwrap() == 0 {
            return false;
        }
        if end.is_none()
            && let Some(head) = message.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&message[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            end = Some(head + 4 + length.unwrap());
        }
    }
    true
}

fn report(loaded: &Loaded, bundles: &[Vec<u8>], clients: usize, floor: Cost, [carried, written]: [Cost; 2]) {
    let Loaded { cost, latencies, .. } = loaded;
    let all = floor.processor + carried.processor + written.processor;
    let bound = cost.wall * u32::try_from(clients).unwrap();
    println!("logged    {clients} clients, {} bytes a bundle", bundles[0].len());
    println!("  rate    {} bundles/s", per_second(cost.wall));
    println!("  p50     {} ms", quantile(latencies, 50).as_millis());
    println!("  p99     {} ms", quantile(latencies, 99).as_millis());
    println!("  bound   {clients} clients / {} a second = {} ms", per_second(cost.wall), bound.as_millis());
    println!("  floor   {} bundles/s verified, parsed and replayed once", per_second(floor.wall));
    println!("  ratio   {}", super::ratio(cost.wall, floor.wall));
    println!(
        "  cpu     {} us a bundle, of which clients {}; floor {}; ratio {}, without clients {}",
        cost.processor.as_micros(),
        loaded.clients.as_micros(),
        floor.processor.as_micros(),
        super::ratio(cost.processor, floor.processor),
        super::ratio(cost.processor.saturating_sub(loaded.clients), floor.processor),
    );
    println!(
        "  all     {} us: the floor, {} us to carry {} and {} bytes, {} us to write; ratio {}",
        all.as_micros(),
        carried.processor.as_micros(),
        bundles[0].len(),
        loaded.answer_bytes,
        written.processor.as_micros(),
        super::ratio(cost.processor, all),
    );
}

/// As many bytes as the load's, made durable in batches and nothing else: what it costs with as many barriers as the
/// store needs.
fn disk(bundles: &[Vec<u8>], clients: usize, folder: Option<&Path>) -> Cost {
    let folder = Folder::new("disk", folder);
    let batch = clients.min(MAX_BATCH_BYTES / bundles[0].len());
    let (batches, contents) = (bundles.len() / batch, bundles[..batch].concat());
    let each = [1, 2].map(|barriers| {
        let path = folder.path().join("batches");
        let mut file = File::create(&path).unwrap();
        let handle = File::open(folder.path()).unwrap();
        let each = Cost::of(batches * batch, || {
            for _ in 0..batches {
                file.write_all(&contents).unwrap();
                sync_file_system(&handle).unwrap();
                if barriers == 2 {
                    // Where the store writes what is small.
                    file.write_all(&contents[..batch]).unwrap();
                    sync_file_system(&handle).unwrap();
                }
            }
        });
        println!("disk      {} bundles/s in batches of {batch} with {barriers} barriers", per_second(each.wall));
        fs::remove_file(path).unwrap();
        each
    });
    each[1]
}
