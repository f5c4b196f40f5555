//! What a run, a verification and a log cost, each beside a floor that is measured in the same run.
//!
//! usage: `[SMI_BENCH_MESH=traefik-mesh KUBECONFIG=…] cargo bench -p smi-tests [--bench cost -- PART [OPTION…]]`
//!
//! - **sandbox**: the whole draft suite; its floor is the same number of requests, each over a connection of its own,
//!   sent to a bare agent without a mesh in between, from as many lanes as the run has.
//! - **cluster**, where a mesh is named: one run, its time broken down; its floor is the mesh's own convergence.
//! - **verify**: a bundle of the whole draft suite; its floor is one strict verification of its signature.
//! - **bulk**: an archive verified and a log audited, on every core; [`bulk`] names the floor.
//! - **logged**: durable submissions that are answered with their proof; [`logged`] names the floors.
//! - **growth**: what a log costs that has grown; [`growth`] says what is in it.
//!
//! A PART alone is measured as it says. Without one each is measured, and the last three with little: they are long.
//!
//! Medians of [`RUNS`] but for the cluster, because machines are noisy. The ratios are what to compare.

#![allow(clippy::unwrap_used)] // a benchmark stops where it fails

mod bulk;
mod cluster;
mod growth;
mod logged;
mod measure;

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use smi_agent::{Connection, Probe, Workload, probe, serve};
use smi_schemas::report::{Result as AssertionResult, Tally, Window};
use smi_schemas::smi::Method;
use smi_schemas::suite::{Assertion, DRAFT, Protocol, Suite};
use smi_tests::mutants::{REFERENCE_LIMIT_MS, versions};
use smi_tests::vectors;
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::verify;

const RUNS: usize = 9;
const LANES: u32 = 4;
const CONCURRENCY: u32 = 16;
const MAX_COUNT: u32 = 10_000;
const VERIFICATIONS: u32 = 50;

#[derive(Parser)]
#[command(name = "cost")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// What cargo says to every benchmark
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Part {
    Sandbox,
    Verify,
    Cluster,
    Bulk(bulk::Options),
    Logged(logged::Options),
    Growth(growth::Options),
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match Arguments::parse().part {
        Some(Part::Sandbox) => sandbox(&runtime),
        Some(Part::Verify) => verification(&runtime),
        Some(Part::Cluster) => cluster::run(&runtime),
        Some(Part::Bulk(options)) => bulk::run(&runtime, &options),
        Some(Part::Logged(options)) => logged::run(&runtime, &options),
        Some(Part::Growth(options)) => growth::run(&runtime, &options),
        None => {
            sandbox(&runtime);
            verification(&runtime);
            cluster::run(&runtime);
            bulk::run(&runtime, &bulk::Options::short());
            logged::run(&runtime, &logged::Options::short());
            growth::run(&runtime, &growth::Options::short());
        }
    }
}

fn sandbox(runtime: &tokio::runtime::Runtime) {
    let suite = Suite::read(DRAFT.bytes).unwrap().0;
    let mut requests = 0;
    let suite_time = median(|| {
        let started = Instant::now();
        let results = runtime.block_on(smi_tests::mutants::run(None, versions(None)));
        let elapsed = started.elapsed();
        requests = sent(&suite, &results);
        elapsed
    });
    let floor = median(|| runtime.block_on(bare(requests)));
    println!("sandbox   {requests} requests in {} ms", suite_time.as_millis());
    println!("  floor   the same to a bare agent in {} ms", floor.as_millis());
    println!("  ratio   {}", ratio(suite_time, floor));
}

/// Requests that a run sent, from what it reports of rounds and batches.
fn sent(suite: &Suite, results: &[AssertionResult]) -> u32 {
    let of = |assertion: &Assertion, result: &AssertionResult| -> u32 {
        let shape = assertion.shape.as_ref().and_then(|name| suite.shape(name));
        let phases = result.observations.iter().flat_map(|observations| &observations.phases);
        let windows =
            assertion.phases.iter().zip(phases).filter_map(|(phase, seen)| Some((phase, seen.window.as_ref()?)));
        let in_window = |(phase, window): (&smi_schemas::suite::Phase, &Window)| {
            let rounds = shape.into_iter().flat_map(|shape| phase.rounds(shape));
            let round: u32 = rounds.map(|(_, cell)| suite.pace.requests(cell)).sum();
            round * window.rounds + window.samples.iter().flatten().map(|batch: &Tally| batch.sent).sum::<u32>()
        };
        windows.map(in_window).sum()
    };
    suite.assertions.iter().zip(results).map(|(assertion, result)| of(assertion, result)).sum()
}

/// Sends so many requests to an agent with nothing in between.
async fn bare(requests: u32) -> Duration {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let workload = Arc::new(Workload::new("bare".parse().unwrap()));
    let server = tokio::spawn(serve(listener, workload, std::future::pending()));
    let started = Instant::now();
    let lanes = (0..LANES).map(|_| async {
        let mut left = requests / LANES;
        while left > 0 {
            let count = left.min(MAX_COUNT);
            let wanted = Probe {
                count,
                concurrency: CONCURRENCY,
                protocol: Protocol::Http,
                host: address.ip().to_string(),
                port: address.port(),
                address: None,
                method: Method::Get,
                path: "/bare".to_owned(),
                headers: [].into(),
                timeout_ms: 5_000,
                connection: Connection::Fresh,
                seed: 1,
            };
            assert_eq!(probe(&wanted).await.unwrap().tally.answers(), u64::from(count));
            left -= count;
        }
    });
    futures_util::future::join_all(lanes).await;
    let elapsed = started.elapsed();
    server.abort();
    elapsed
}

fn verification(runtime: &tokio::runtime::Runtime) {
    let results = runtime.block_on(smi_tests::mutants::run(None, versions(None)));
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap();
    let bundle = vectors::signed(|statement| {
        statement.predicate.suite.version = suite.version.clone();
        statement.predicate.suite.digest = digest;
        statement.predicate.overrides.limit_ms = Some(REFERENCE_LIMIT_MS);
        statement.predicate.assertions = results;
    });
    let policy = Policy {
        suites: Suites::builtin().unwrap(),
        allow_draft: true,
        publication: false,
        ..vectors::policy(vectors::keyring(), None)
    };
    let whole = median(|| timed(|| drop(black_box(verify(&bundle, &policy, vectors::now()).unwrap()))));
    let taken = smi_schemas::bundle::Bundle::read(&bundle).unwrap();
    let (signed, public) = (taken.signed_bytes(), vectors::key("vendor").public());
    let floor = median(|| timed(|| assert!(black_box(public.verify(&signed, &taken.signature.sig)))));
    println!("verify    {} bytes in {} us", bundle.len(), whole.as_micros());
    println!("  floor   its signature alone in {} us", floor.as_micros());
    println!("  ratio   {}", ratio(whole, floor));
}

/// One of [`VERIFICATIONS`], on average.
fn timed(work: impl Fn()) -> Duration {
    let started = Instant::now();
    for _ in 0..VERIFICATIONS {
        work();
    }
    started.elapsed() / VERIFICATIONS
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| measure()).collect();
    times.sort();
    times[RUNS / 2]
}

fn ratio(time: Duration, floor: Duration) -> String {
    let hundredths = time.as_nanos() * 100 / floor.as_nanos().max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
