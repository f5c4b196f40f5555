//! Where the time of a run on a cluster goes. Lanes run side by side, so times of lanes are summed and longer than the
//! run.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smi_runner::execute::execute;
use smi_runner::image;
use smi_runner::kubernetes::cluster::{Cluster, Options};
use smi_runner::kubernetes::rbac::Metrics;
use smi_runner::kubernetes::{Brought, KubernetesTarget, Survey};
use smi_runner::mesh::Profile;
use smi_runner::plan::{Plan, choose};
use smi_runner::target::{Facts, Fault, Lane, Target};
use smi_schemas::Digest;
use smi_schemas::metrics::{Question, Reading};
use smi_schemas::names::RunId;
use smi_schemas::report::{ActionResult, Result as AssertionResult, Tally};
use smi_schemas::statement::{Filters, Overrides, absent};
use smi_schemas::suite::{Action, Cell, DRAFT, Shape, Suite};
use tokio_util::sync::CancellationToken;

/// Names the mesh on the cluster that `KUBECONFIG` names; without it nothing is measured there.
const MESH: &str = "SMI_BENCH_MESH";

/// Runs the suite once and prints where the time went.
pub(crate) fn run(runtime: &tokio::runtime::Runtime) {
    match env::var(MESH) {
        Ok(mesh) => runtime.block_on(measured(&mesh)),
        Err(_) => println!("cluster   not measured: {MESH} names no mesh"),
    }
}

async fn measured(mesh: &str) {
    let started = Instant::now();
    let cluster = Cluster::connect(&Options::default()).await.unwrap();
    let survey = Survey::of(&cluster).await.unwrap();
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap();
    let apis = choose(&survey.served, &[].into()).unwrap();
    let absent = absent(&apis, &survey.crds);
    let plan = Plan { suite, digest, filters: Filters::default(), overrides: Overrides::default(), apis, absent };
    let id: [u8; 16] =
        Digest::of(format!("{:?}", std::time::SystemTime::now()).as_bytes()).as_bytes()[..16].try_into().unwrap();
    println!("cluster   run {}, to be cleaned up by this id if it breaks off", RunId::new(id));
    let brought = Brought {
        run: RunId::new(id),
        seed: 1,
        runner: Digest::of(b"benchmark"),
        image: image::NAME.to_owned(),
        metrics: Metrics::of(plan.executed()),
    };
    let profile = Profile::builtin(mesh).unwrap();
    let target = KubernetesTarget::prepare(cluster, survey, profile, plan.apis.clone(), brought).await.unwrap();
    let preflight = started.elapsed();
    let spent = Arc::new(Spent::default());
    let timed = Timed { inner: &target, spent: Arc::clone(&spent) };
    let results = execute(&plan, &timed, &CancellationToken::new(), &|_| ()).await.results;
    let ending = Instant::now();
    target.clean_up().await.unwrap();
    let (clean_up, whole) = (ending.elapsed(), started.elapsed());

    let windows = Windows::of(&results);
    let [pods, actions, wipes] = [&spent.open, &spent.act, &spent.wipe].map(|time| time.load(Ordering::Relaxed));
    let assertions: u64 = results.iter().map(|result| result.duration_ms).sum();
    let probed = windows.converging + windows.holding + windows.unmet;
    let samples = assertions.saturating_sub(probed + actions + wipes);
    println!("cluster   {mesh}: the whole run in {}", seconds(millis(whole)));
    println!("  preflight    {}", seconds(millis(preflight)));
    println!("  clean-up     {}", seconds(millis(clean_up)));
    println!("  lanes        {} in all, of which", seconds(pods + assertions));
    for (name, time) in [
        ("pods", pods),
        ("resources", actions + wipes),
        ("convergence", windows.converging),
        ("holds", windows.holding),
        ("limits", windows.unmet),
        ("shares", samples),
    ] {
        println!("    {name:<12} {}", seconds(time));
    }
    println!("  floor        {} of the mesh's own convergence, {} phases", seconds(windows.converging), windows.held);
    println!(
        "  ratio        {}",
        super::ratio(Duration::from_millis(pods + assertions), Duration::from_millis(windows.converging))
    );
}

/// Milliseconds in windows.
#[derive(Default)]
struct Windows {
    /// Windows that held.
    held: u64,
    /// Until the first agreeing round of those.
    converging: u64,
    /// From there to their end.
    holding: u64,
    /// All of those that did not hold.
    unmet: u64,
}

impl Windows {
    fn of(results: &[AssertionResult]) -> Self {
        let mut sum = Self::default();
        let phases = results.iter().flat_map(|result| &result.observations).flat_map(|seen| &seen.phases);
        for window in phases.filter_map(|phase| phase.window.as_ref()) {
            match window.converged_ms {
                Some(converged) => {
                    sum.held += 1;
                    sum.converging += converged;
                    sum.holding += window.elapsed_ms - converged;
                }
                None => sum.unmet += window.elapsed_ms,
            }
        }
        sum
    }
}

/// Milliseconds in calls of a target, over all lanes.
#[derive(Default)]
struct Spent {
    open: AtomicU64,
    act: AtomicU64,
    wipe: AtomicU64,
}

/// A target with a stop watch.
struct Timed<'a, T> {
    inner: &'a T,
    spent: Arc<Spent>,
}

struct TimedLane<L> {
    inner: L,
    spent: Arc<Spent>,
}

impl<T: Target<Lane: Send>> Target for Timed<'_, T> {
    type Lane = TimedLane<T::Lane>;

    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    async fn lane(&self, shape: Option<&Shape>) -> Result<Self::Lane, Fault> {
        let inner = timed(&self.spent.open, self.inner.lane(shape)).await?;
        Ok(TimedLane { inner, spent: Arc::clone(&self.spent) })
    }
}

impl<L: Lane + Send> Lane for TimedLane<L> {
    fn spacing(&self) -> Duration {
        self.inner.spacing()
    }

    async fn act(&self, action: &Action) -> Result<ActionResult, Fault> {
        timed(&self.spent.act, self.inner.act(action)).await
    }

    async fn probe(&self, cell: &Cell, requests: u32) -> Result<Tally, Fault> {
        self.inner.probe(cell, requests).await
    }

    async fn read(&self, question: &Question) -> Result<Reading, Fault> {
        self.inner.read(question).await
    }

    async fn wipe(&self) -> Result<(), Fault> {
        timed(&self.spent.wipe, self.inner.wipe()).await
    }

    async fn close(self) {
        self.inner.close().await;
    }
}

async fn timed<T>(spent: &AtomicU64, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    spent.fetch_add(millis(started.elapsed()), Ordering::Relaxed);
    done
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn seconds(milliseconds: u64) -> String {
    format!("{:>4}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}
