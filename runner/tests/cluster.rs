//! The runner against a real cluster, which `KUBECONFIG` names and `tests/cluster` brings up. `SMI_TESTS_CLUSTER` says
//! what is on it: `none`, SMI's CRDs and no mesh; `traefik-mesh`; `traefik-mesh-open`, the same with ACL mode off;
//! `traefik-mesh-wrong-weights`, the same with a proxy that was made to divide HTTP requests evenly;
//! `open-service-mesh`; `open-service-mesh-permissive`, the same in permissive mode; `metrics`, an extension API
//! server that serves TrafficMetrics, and neither mesh nor CRDs. Without it these tests are left out.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smi_keys::SigningKey;
use smi_schemas::codes::Code;
use smi_schemas::names::Glob;
use smi_schemas::report::Status;
use smi_schemas::smi::Api;
use smi_schemas::statement::Enforcing;
use smi_schemas::suite::{Class, DRAFT, Suite};
use smi_verifier::Verified;
use tempfile::TempDir;

/// What may be on the cluster.
const NO_MESH: &str = "none";
const TRAEFIK_MESH: &str = "traefik-mesh";
const TRAEFIK_MESH_OPEN: &str = "traefik-mesh-open";
const TRAEFIK_MESH_WRONG_WEIGHTS: &str = "traefik-mesh-wrong-weights";
const OPEN_SERVICE_MESH: &str = "open-service-mesh";
const OPEN_SERVICE_MESH_PERMISSIVE: &str = "open-service-mesh-permissive";
const METRICS: &str = "metrics";
const STATES: [&str; 8] = [
    "",
    NO_MESH,
    TRAEFIK_MESH,
    TRAEFIK_MESH_OPEN,
    TRAEFIK_MESH_WRONG_WEIGHTS,
    OPEN_SERVICE_MESH,
    OPEN_SERVICE_MESH_PERMISSIVE,
    METRICS,
];

/// One cluster, one test at a time.
static CLUSTER: Mutex<()> = Mutex::new(());

struct Cluster {
    folder: TempDir,
    key: SigningKey,
    _turn: MutexGuard<'static, ()>,
}

/// The cluster, if that is what is on it.
fn cluster(with: &str, test: &str) -> Option<Cluster> {
    let on_it = std::env::var("SMI_TESTS_CLUSTER").unwrap_or_default();
    assert!(STATES.contains(&on_it.as_str()), "SMI_TESTS_CLUSTER={on_it}");
    if on_it != with {
        eprintln!("skipped: {test} runs under SMI_TESTS_CLUSTER={with}");
        return None;
    }
    let turn = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let key = common::key(&folder.path().join("key.pem"), 0o600);
    Some(Cluster { folder, key, _turn: turn })
}

impl Cluster {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runner(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-runner"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        if arguments.first() == Some(&"run") {
            // What the next release is made of: a released suite was run here before it was one.
            command.args(["--suite", DRAFT.version]);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.runner(arguments).output().unwrap();
        eprintln!("{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
        output
    }

    /// Starts a run and waits for its first line that begins with `line`; gives the run's id too.
    fn started(&self, arguments: &[&str], line: &str) -> (Child, String, BufReader<std::process::ChildStdout>) {
        let mut child = self.runner(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (mut id, mut read) = (None, String::new());
        while !read.starts_with(line) {
            read.clear();
            assert_ne!(output.read_line(&mut read).unwrap(), 0, "the run ended before {line:?}");
            if let Some(rest) = read.strip_prefix("run       ") {
                id = rest.split(',').next().map(str::to_owned);
            }
        }
        (child, id.unwrap(), output)
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("kubectl");
        command.args(arguments).current_dir(self.folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}");
        text(&output.stdout)
    }

    /// Namespaces that any run made and that are not gone.
    fn left(&self) -> String {
        self.kubectl(&["get", "namespaces", "-l", "conformance.smi-spec.io/run", "-o", "name"], "")
    }

    /// Everything that is not a run's, but for what a cluster writes down of itself.
    fn others(&self) -> BTreeMap<String, Value> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "-o", "name"], "");
        let mut found = BTreeMap::new();
        for kind in kinds.lines() {
            if ["events", "leases"].iter().any(|own| kind.starts_with(own)) || kind.contains(".metrics.") {
                continue;
            }
            let list: Value = serde_json::from_str(&self.kubectl(&["get", kind, "-A", "-o", "json"], "")).unwrap();
            for object in list["items"].as_array().unwrap() {
                let mut object = object.clone();
                let at = format!("{kind} {} {}", object["metadata"]["namespace"], object["metadata"]["name"]);
                object.as_object_mut().unwrap().remove("status");
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.retain(|field, _| field != "resourceVersion" && field != "managedFields");
                found.insert(at, object);
            }
        }
        found
    }

    /// A run changes nothing that is not its own. What a mesh made of its Services goes when it has seen them go.
    fn is_as_before(&self, before: &BTreeMap<String, Value>) {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut after = self.others();
        while after != *before && Instant::now() < deadline {
            thread::sleep(Duration::from_secs(1));
            after = self.others();
        }
        let differs = |(at, object): (&String, &Value)| (before.get(at) != Some(object)).then(|| at.clone());
        let gone = before.keys().filter(|at| !after.contains_key(*at)).cloned();
        let changed: Vec<String> = after.iter().filter_map(differs).chain(gone).collect();
        assert!(changed.is_empty(), "{changed:#?}");
    }

    fn verified(&self, bundle: &str, mesh: &str) -> Verified {
        common::verified(&self.path(bundle), &self.key, mesh)
    }

    /// The kubeconfig with something else in it.
    fn kubeconfig(&self, change: impl Fn(&mut Value)) -> String {
        let text = self.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"], "");
        let mut config: Value = serde_json::from_str(&text).unwrap();
        change(&mut config);
        fs::write(self.path("kubeconfig"), config.to_string()).unwrap();
        "kubeconfig".to_owned()
    }

    /// The run is refused before it begins, for this reason, and leaves nothing.
    fn refused(&self, arguments: &[&str], code: &str, exit: i32) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert!(said.contains(&format!("error[{code}]: ")), "{arguments:?}: {said}");
        assert!(said.contains("\nremedy: "), "{said}");
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
        assert_eq!(self.left(), "");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn signal(child: &Child, name: &str) {
    // The shell's own: a bare machine has no program of that name.
    let kill = ["-c", "kill \"$0\" \"$1\"", name, &child.id().to_string()];
    assert!(Command::new("sh").args(kill).status().unwrap().success());
}

const NONE: [&str; 5] = ["run", "--target", "kubernetes", "--mesh", "none"];

/// Assertions that run one after the other in the lane `access`.
const A_LANE: [&str; 4] = ["--run", "smi.access.deny-*", "--run", "smi.access.m*"];

fn none<'a>(more: &[&'a str]) -> Vec<&'a str> {
    NONE.iter().chain(more).copied().collect()
}

#[test]
fn without_a_mesh_no_behaviour_passes() {
    let Some(cluster) = cluster(NO_MESH, "without_a_mesh_no_behaviour_passes") else { return };
    let before = cluster.others();
    // The suite's own limit would have every assertion waited for a minute; no mesh reacts in no time.
    let output = cluster.run(&none(&["--limit-ms", "2000", "--key", "key.pem", "--out", "r.json"]));
    assert_eq!(output.status.code(), Some(3), "what is open where it must be closed fails");
    let verified = cluster.verified("r.json", "none");
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    for (assertion, result) in suite.assertions.iter().zip(&verified.statement().predicate.assertions) {
        if assertion.api == Api::Metrics {
            assert_eq!((result.status, result.reason), (Status::NotSupported, Code::ApiAbsent), "{}", result.id);
            continue;
        }
        match assertion.class {
            Class::Presence => assert_eq!(result.status == Status::Pass, assertion.level.is_scored(), "{}", result.id),
            Class::Behaviour => assert!(
                matches!(result.status, Status::Fail | Status::Inconclusive | Status::NotApplicable)
                    || !assertion.level.is_scored(),
                "{}: {}",
                result.id,
                result.status
            ),
        }
    }
    assert_eq!(cluster.left(), "");
    cluster.is_as_before(&before);
}

#[test]
fn what_rbac_prints_is_enough_and_is_asked_for() {
    let Some(cluster) = cluster(NO_MESH, "what_rbac_prints_is_enough_and_is_asked_for") else { return };
    let run = none(&["--run", "smi.api.*", "--run", "smi.access.default-deny", "--limit-ms", "1000"]);
    with_least_permissions(&cluster, &run, &["rbac"], 13);
}

/// A run is refused to an account that may do nothing, and made by one that may do what `rbac` prints.
fn with_least_permissions(cluster: &Cluster, run: &[&str], rbac: &[&str], present: usize) {
    let (account, role) = ("serviceaccount/smi-least", "clusterrole/smi-conformance-runner");
    cluster.kubectl(&["create", "serviceaccount", "smi-least", "-n", "default"], "");
    let token = cluster.kubectl(&["create", "token", "smi-least", "-n", "default"], "");
    let kubeconfig = cluster.kubeconfig(|config| config["users"][0]["user"] = json!({"token": token.trim()}));
    let run = [run, &["--kubeconfig", &kubeconfig]].concat();
    cluster.refused(&run, "cluster-denied", 6);

    let printed = text(&cluster.run(rbac).stdout);
    cluster.kubectl(&["apply", "-f", "-"], &printed);
    let bind = ["--clusterrole=smi-conformance-runner", "--serviceaccount=default:smi-least"];
    cluster.kubectl(&[&["create", "clusterrolebinding", "smi-least"], &bind[..]].concat(), "");
    let output = cluster.run(&run);
    let said = text(&output.stdout);
    assert_eq!(said.matches("\npass ").count(), present, "{said}");
    assert!(!said.contains("\nerror "), "{said}");
    assert_eq!(cluster.left(), "");
    cluster.kubectl(&["delete", "clusterrolebinding/smi-least", role], "");
    cluster.kubectl(&["delete", account, "-n", "default"], "");
}

#[test]
fn what_stands_in_the_way_is_told_before_a_run_begins() {
    let Some(cluster) = cluster(NO_MESH, "what_stands_in_the_way_is_told_before_a_run_begins") else { return };
    cluster.refused(&none(&["--kubeconfig", "absent"]), "kubeconfig-invalid", 6);
    cluster.refused(&none(&["--context", "absent"]), "kubeconfig-invalid", 6);
    let nowhere =
        cluster.kubeconfig(|config| config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into());
    cluster.refused(&none(&["--kubeconfig", &nowhere]), "cluster-unreachable", 6);
    let stranger = cluster.kubeconfig(|config| config["users"][0]["user"] = json!({"token": "nobody"}));
    cluster.refused(&none(&["--kubeconfig", &stranger]), "cluster-denied", 6);
    cluster.refused(&["run", "--target", "kubernetes", "--mesh", "traefik-mesh"], "mesh-not-found", 6);
    let untried = cluster.run(&["run", "--target", "kubernetes", "--mesh", "fsm"]);
    assert!(text(&untried.stdout).contains("\nprofile   never run against FSM"), "{}", text(&untried.stdout));
    cluster.refused(&none(&["--agent-image", "smi-conformance.local/absent:1"]), "workload-not-started", 6);
    cluster.refused(&none(&["--agent-image", "Not An Image"]), "workload-not-started", 6);
    cluster.refused(&none(&["--api-version", "access=v1alpha2"]), "version-not-testable", 2);
}

#[test]
fn an_api_in_unknown_versions_is_not_called_absent() {
    let Some(cluster) = cluster(NO_MESH, "an_api_in_unknown_versions_is_not_called_absent") else { return };
    let crds = text(&cluster.run(&["crds", "v0.6.0"]).stdout);
    let split = crds.split("\n---\n").find(|document| document.contains("plural: trafficsplits")).unwrap();
    let name = "crd/trafficsplits.split.smi-spec.io";
    let start = split.find("apiVersion:").unwrap();
    let foreign = split[start..].replace("v1alpha", "v2beta");
    cluster.kubectl(&["delete", name], "");
    cluster.kubectl(&["apply", "-f", "-"], &foreign);
    cluster.kubectl(&["wait", "--for=condition=Established", name], "");
    cluster.refused(&NONE, "api-version-unknown", 6);
    cluster.kubectl(&["delete", name], "");
    cluster.kubectl(&["apply", "-f", "-"], &crds);
    cluster.kubectl(&["wait", "--for=condition=Established", name], "");
}

#[test]
fn an_interrupted_run_leaves_a_bundle_and_no_namespace() {
    let Some(cluster) = cluster(NO_MESH, "an_interrupted_run_leaves_a_bundle_and_no_namespace") else { return };
    let run = none(&["--key", "key.pem", "--out", "r.json", "--limit-ms", "3000"]);
    let (mut child, _, output) = cluster.started(&run, "fail");
    signal(&child, "-INT");
    let rest: Vec<String> = output.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rest.last().unwrap(), "exit 130: interrupted");
    let verified = cluster.verified("r.json", "none");
    assert!(verified.statement().predicate.run.interrupted);
    assert!(!verified.withheld().is_empty(), "nobody publishes a part of a run");
    assert_eq!(cluster.left(), "");

    // Before the first assertion there is nothing to write down.
    let (mut child, _, output) = cluster.started(&none(&["--key", "key.pem", "--out", "none.json"]), "run ");
    signal(&child, "-TERM");
    let rest: Vec<String> = output.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(rest.iter().any(|line| line.starts_with("stopped before the first assertion")), "{rest:?}");
    assert!(!cluster.path("none.json").exists());
    assert_eq!(cluster.left(), "");
}

#[test]
fn what_a_killed_run_left_is_cleaned_up_by_its_id() {
    let Some(cluster) = cluster(NO_MESH, "what_a_killed_run_left_is_cleaned_up_by_its_id") else { return };
    let (mut child, id, _output) = cluster.started(&none(&["--limit-ms", "3000"]), "fail");
    child.kill().unwrap();
    child.wait().unwrap();
    // Those of the preflight and of presence are on their way out by themselves.
    let lanes = ["-access", "-specs", "-ports", "-split"];
    let of_lanes = |name: &&str| lanes.iter().any(|lane| name.contains(lane));
    let left: BTreeSet<String> = cluster.left().lines().filter(of_lanes).map(str::to_owned).collect();
    assert_eq!(left.len(), 2 * lanes.len(), "it was killed while it had all its lanes: {left:?}");

    let other = cluster.run(&["cleanup", "--run", &"0".repeat(32)]);
    assert_eq!(other.status.code(), Some(0));
    assert!(text(&other.stdout).starts_with("nothing on this cluster carries run"));
    let still = cluster.left();
    assert!(left.iter().all(|name| still.contains(name.as_str())), "another run's namespaces are not touched");

    let output = cluster.run(&["cleanup", "--run", &id]);
    assert_eq!(output.status.code(), Some(0));
    for namespace in left {
        let line = namespace.replace("namespace/", "removed   namespace ");
        assert!(text(&output.stdout).contains(&line), "{line}");
    }
    assert_eq!(cluster.left(), "");
}

#[test]
fn a_workload_that_goes_away_is_nobodys_failure() {
    let Some(cluster) = cluster(NO_MESH, "a_workload_that_goes_away_is_nobodys_failure") else { return };
    let run = none(&[&A_LANE[..], &["--limit-ms", "3000", "--key", "key.pem", "--out", "r.json"]].concat());
    let (mut child, id, output) = cluster.started(&run, "fail");
    let namespace = format!("smi-{}-access", &id[..10]);
    cluster.kubectl(&["delete", "pod", "server", "-n", &namespace, "--grace-period=0", "--force"], "");
    let rest: Vec<String> = output.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(rest.last().unwrap(), "exit 7: the harness failed, not the mesh");
    let verified = cluster.verified("r.json", "none");
    let results = verified.statement().predicate.assertions.iter();
    let chosen = results.filter(|result| result.status != Status::Skipped);
    let mut after = chosen.skip_while(|result| result.status != Status::Error).peekable();
    assert!(after.peek().is_some(), "the pod was noticed");
    assert!(after.all(|result| result.status == Status::Error && result.attempts > 0), "nothing was judged without it");
    assert_eq!(cluster.left(), "");
}

/// A road to the API server that can be cut.
struct Road {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Road {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), server.to_owned());
        let open = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::clone(&open);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(&server).unwrap());
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        // However a direction ends, the other one ends with it.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                opened.lock().unwrap().push(near);
            }
        });
        Self { port, open }
    }

    /// Cuts every connection, and says how many there were.
    fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.open.lock().unwrap());
        for connection in &connections {
            // One that has ended cannot be cut.
            let _ = connection.shutdown(Shutdown::Both);
        }
        connections.len()
    }
}

#[test]
fn what_is_cut_is_opened_anew() {
    let Some(cluster) = cluster(NO_MESH, "what_is_cut_is_opened_anew") else { return };
    let at = cluster.kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"], "");
    let road = Road::to(at.strip_prefix("https://").unwrap());
    let kubeconfig = cluster.kubeconfig(|config| {
        config["clusters"][0]["cluster"]["server"] = format!("https://127.0.0.1:{}", road.port).into();
    });
    let run = none(&[&A_LANE[..], &["--limit-ms", "3000", "--key", "key.pem", "--out", "r.json"]].concat());
    let run: Vec<&str> = run.into_iter().chain(["--kubeconfig", &kubeconfig]).collect();
    let (mut child, _, output) = cluster.started(&run, "fail");
    thread::sleep(Duration::from_secs(1)); // into the middle of the next assertion
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    let access = suite.shapes.iter().find(|shape| shape.name.as_str() == "access").unwrap();
    let sessions = access.workloads.iter().filter(|workload| !workload.absent).count();
    assert!(road.cut() > sessions, "a session for each workload, and the API's own connections");
    let rest: Vec<String> = output.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:#?}");
    let verified = cluster.verified("r.json", "none");
    let results = &verified.statement().predicate.assertions;
    assert!(results.iter().all(|result| result.status != Status::Error));
    // Those that still had something to do: the callers of what came after the cut.
    let after = suite.assertions.iter().filter(|assertion| assertion.id.as_str().starts_with("smi.access.m"));
    let cells =
        after.flat_map(|assertion| &assertion.phases).flat_map(|phase| phase.controls.iter().chain(&phase.expect));
    let callers: BTreeSet<_> = cells.chain(&access.health).map(|cell| &cell.from).collect();
    assert!(road.cut() >= callers.len(), "every session that was needed was opened anew: {callers:?}");
    assert_eq!(cluster.left(), "");
}

#[test]
fn what_keeps_namespaces_from_going_is_named() {
    let Some(cluster) = cluster(NO_MESH, "what_keeps_namespaces_from_going_is_named") else { return };
    let blocking = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.blocking.example"},
        "spec": {"group": "blocking.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "absent"}},
    });
    cluster.kubectl(&["apply", "-f", "-"], &blocking.to_string());
    let output = cluster.run(&none(&["--run", "smi.api.traffictarget", "--key", "key.pem", "--out", "r.json"]));
    cluster.kubectl(&["delete", "apiservice", "v1.blocking.example"], "");
    assert_eq!(output.status.code(), Some(6));
    let said = text(&output.stderr);
    assert!(said.contains("error[namespace-stuck]") && said.contains("blocking.example"), "{said}");
    assert!(cluster.path("r.json").exists(), "what was seen is not lost");
    let id = text(&output.stdout).split_once("run       ").unwrap().1[..32].to_owned();
    assert_eq!(cluster.run(&["cleanup", "--run", &id]).status.code(), Some(0));
    assert_eq!(cluster.left(), "");
}

#[test]
fn traefik_mesh_is_as_its_notes_say() {
    let Some(cluster) = cluster(TRAEFIK_MESH, "traefik_mesh_is_as_its_notes_say") else { return };
    let notes = include_str!("../meshes/traefik-mesh.md");
    let verified = is_as_its_notes_say(&cluster, "traefik-mesh", notes);
    let pods = cluster.kubectl(&["get", "pods", "-n", "traefik-mesh", "-o", "json"], "");
    for subject in &verified.statement().subject {
        assert!(pods.contains(&format!("{}@sha256:{}", subject.name, subject.digest.sha256)), "{subject:?}");
    }
    assert_eq!(verified.statement().subject.len(), 2, "controller and proxy");
    let version = verified.statement().predicate.mesh.version.as_ref().unwrap();
    assert!(notes.contains(&format!("Traefik Mesh {version}")));
}

#[test]
fn open_service_mesh_is_as_its_notes_say() {
    let Some(cluster) = cluster(OPEN_SERVICE_MESH, "open_service_mesh_is_as_its_notes_say") else { return };
    let notes = include_str!("../meshes/open-service-mesh.md");
    let verified = is_as_its_notes_say(&cluster, "open-service-mesh", notes);
    let pods = cluster.kubectl(&["get", "pods", "-n", "osm-system", "-o", "json"], "");
    let (own, others): (Vec<_>, Vec<_>) = verified.statement().subject.iter().partition(|subject| {
        // The images are in the pods' status, and the sidecar's is in no pod of the mesh.
        pods.contains(&format!("{}@sha256:{}", subject.name, subject.digest.sha256))
    });
    assert_eq!(own.len(), 3, "controller, injector and bootstrap");
    assert!(others.len() == 1 && others[0].name.ends_with("/envoy"), "{others:?}");
    let mesh = &verified.statement().predicate.mesh;
    assert_eq!(mesh.enforcing, Enforcing::On);
    assert!(notes.contains(&format!("Open Service Mesh {}", mesh.version.as_ref().unwrap())));
}

/// A whole run of a mesh that enforces. A row of the notes is an assertion that does not pass, its status and its
/// reason; one whose status `varies` passes or fails, one whose reason does was observed with one or another.
fn is_as_its_notes_say(cluster: &Cluster, mesh: &str, notes: &str) -> Verified {
    let before = cluster.others();
    let run = ["run", "--target", "kubernetes", "--mesh", mesh, "--key", "key.pem", "--out", "r.json"];
    // Half of the suite's own limit is twice what these meshes ever took, and what fails takes all of it.
    let output = cluster.run(&[&run[..], &["--limit-ms", "30000"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let verified = cluster.verified("r.json", mesh);
    let results = &verified.statement().predicate.assertions;
    let judged = |id: &str| {
        let result = results.iter().find(|result| result.id.as_str() == id).unwrap();
        (result.status, result.reason)
    };
    let ids: Vec<&str> = results.iter().map(|result| result.id.as_str()).collect();
    let expected = noted(notes, &ids, judged);
    let seen: BTreeSet<String> = results
        .iter()
        .filter(|result| result.status != Status::Pass)
        .map(|result| format!("{} {} {}", result.id, result.status, result.reason))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(cluster.left(), "");
    cluster.is_as_before(&before);
    verified
}

/// What the rows of the notes say of everything that did not pass. An id may be a pattern of several.
fn noted(notes: &str, ids: &[&str], judged: impl Fn(&str) -> (Status, Code)) -> BTreeSet<String> {
    let rows = notes.lines().filter(|line| line.starts_with("| `smi."));
    let cells = |row: &str| row.split('|').skip(1).take(3).map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    let each = |row: Vec<String>| {
        let (of, rest) = row.split_first().unwrap();
        let glob: Glob = of.parse().unwrap();
        let matching = ids.iter().filter(|id| glob.matches(id)).map(|id| [&[(*id).to_owned()], rest].concat());
        let matching: Vec<_> = matching.collect();
        assert!(!matching.is_empty(), "no assertion is {of}");
        matching
    };
    let said = |row: Vec<String>| match &row[..] {
        [id, status, reason] if status == "varies" => {
            (judged(id).0 != Status::Pass).then(|| format!("{id} fail {reason}"))
        }
        [id, status, reason] if reason == "varies" => Some(format!("{id} {status} {}", judged(id).1)),
        row => Some(row.join(" ")),
    };
    rows.map(cells).flat_map(each).filter_map(said).collect()
}

#[test]
fn what_varies_passes_or_fails_as_the_notes_say() {
    let notes = "| `smi.a` | varies | not-delivered | by chance |\n| `smi.b` | fail | delivered | always |\n\
        | `smi.c*` | observed | varies | one or another |\n";
    let ids = ["smi.a", "smi.b", "smi.c"];
    let of = |status| noted(notes, &ids, |_| (status, Code::WrongResponder));
    let said = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(of(Status::Pass), said(&["smi.b fail delivered", "smi.c observed wrong-responder"]));
    let failed = ["smi.a fail not-delivered", "smi.b fail delivered", "smi.c observed wrong-responder"];
    assert_eq!(of(Status::Fail), said(&failed));
}

#[test]
fn with_access_control_off_what_must_be_denied_fails() {
    let Some(cluster) = cluster(TRAEFIK_MESH_OPEN, "with_access_control_off_what_must_be_denied_fails") else { return };
    what_must_be_denied_fails(&cluster, "traefik-mesh", "--set acl=true", &[]);
}

#[test]
fn in_permissive_mode_what_must_be_denied_fails() {
    let Some(cluster) = cluster(OPEN_SERVICE_MESH_PERMISSIVE, "in_permissive_mode_what_must_be_denied_fails") else {
        return;
    };
    // Its mutual TLS stays, and keeps out who is not in the mesh.
    what_must_be_denied_fails(&cluster, "open-service-mesh", "kubectl patch meshconfig", &["server-side"]);
}

/// A mesh that does not enforce: the run says so, and with which command it would. Nothing passes but what is denied
/// in any mode.
fn what_must_be_denied_fails(cluster: &Cluster, mesh: &str, enable: &str, anyway: &[&str]) {
    let mut run = vec!["run", "--target", "kubernetes", "--mesh", mesh, "--run", "smi.access.*"];
    run.extend(["--limit-ms", "3000", "--key", "key.pem", "--out", "r.json"]);
    let output = cluster.run(&run);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stdout);
    assert!(said.contains("not enforcing") && said.contains(enable), "{said}");
    let verified = cluster.verified("r.json", mesh);
    let results = &verified.statement().predicate.assertions;
    let exists = |status: Status| status != Status::NotApplicable;
    let of_access = results.iter().filter(|result| result.id.as_str().starts_with("smi.access."));
    for result in of_access.filter(|result| exists(result.status)) {
        let fails = matches!(result.status, Status::Fail | Status::Inconclusive);
        assert_ne!(fails, anyway.contains(&result.id.tail()), "{}: {}", result.id, result.status);
    }
    for name in ["default-deny", "deny-unlisted-source", "deny-unlisted-route", "revoke-on-delete"] {
        let result = results.iter().find(|result| result.id.tail() == name).unwrap();
        assert_eq!((result.status, result.reason), (Status::Fail, Code::Delivered), "{name}");
    }
    assert_eq!(cluster.left(), "");
}

#[test]
fn an_extension_api_server_that_counts_is_as_the_text_says() {
    let Some(cluster) = cluster(METRICS, "an_extension_api_server_that_counts_is_as_the_text_says") else { return };
    let before = cluster.others();
    fs::write(cluster.path("profile.yaml"), include_str!("../../tests/cluster/metrics-api/profile.yaml")).unwrap();
    let run = ["run", "--target", "kubernetes", "--profile", "profile.yaml", "--key", "key.pem", "--out", "r.json"];
    let output = cluster.run(&run);
    assert_eq!(output.status.code(), Some(0), "nothing else is served, so nothing else is asked for");
    let verified = cluster.verified("r.json", "metrics-api");
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    for (assertion, result) in suite.assertions.iter().zip(&verified.statement().predicate.assertions) {
        let uses = assertion.versions.keys().all(|api| *api == Api::Metrics);
        let expected = match (uses && assertion.api == Api::Metrics, assertion.level.is_scored()) {
            (true, true) => (Status::Pass, Code::Met),
            (true, false) => (Status::Observed, Code::Met),
            (false, _) => (Status::NotSupported, Code::ApiAbsent),
        };
        assert_eq!((result.status, result.reason), expected, "{}", result.id);
    }
    assert_eq!(cluster.left(), "");
    cluster.is_as_before(&before);
}

#[test]
fn asking_for_metrics_is_permitted_by_name() {
    let Some(cluster) = cluster(METRICS, "asking_for_metrics_is_permitted_by_name") else { return };
    fs::write(cluster.path("profile.yaml"), include_str!("../../tests/cluster/metrics-api/profile.yaml")).unwrap();
    let profile = ["--profile", "profile.yaml"];
    let run = ["run", "--target", "kubernetes", "--run", "smi.metrics.rbac", "--run", "smi.metrics.discovery"];
    with_least_permissions(&cluster, &[&run[..], &profile].concat(), &["rbac", "--metrics"], 1);
}

#[test]
fn a_proxy_whose_weights_are_wrong_is_found_out() {
    let Some(cluster) = cluster(TRAEFIK_MESH_WRONG_WEIGHTS, "a_proxy_whose_weights_are_wrong_is_found_out") else {
        return;
    };
    // A backend of weight 0 still gets nothing, and TCP connections are divided by another part of the proxy.
    let expected = [
        ("all-first", Status::Pass, Code::Met),
        ("weights-90-10", Status::Fail, Code::ShareOutside),
        ("weights-relative", Status::Fail, Code::ShareOutside),
        ("tcp", Status::Pass, Code::Met),
    ];
    let chosen = expected.map(|(name, ..)| format!("smi.split.{name}"));
    let mut run =
        vec!["run", "--target", "kubernetes", "--mesh", "traefik-mesh", "--key", "key.pem", "--out", "r.json"];
    run.extend(chosen.iter().flat_map(|id| ["--run", id]));
    let output = cluster.run(&run);
    assert_eq!(output.status.code(), Some(3));
    let verified = cluster.verified("r.json", "traefik-mesh");
    let results = verified.statement().predicate.assertions.iter();
    let results: Vec<_> = results.filter(|result| chosen.iter().any(|id| result.id.as_str() == id)).collect();
    let seen: Vec<_> = results.iter().map(|result| (result.id.tail(), result.status, result.reason)).collect();
    assert_eq!(seen, expected);
    // It failed for what is wrong with this proxy: both batches were divided evenly.
    let observed = results[1].observations.as_ref().unwrap();
    let batches = &observed.phases.last().unwrap().window.as_ref().unwrap().samples[0];
    assert_eq!(batches.len(), 2);
    for batch in batches {
        let shares: Vec<_> = batch.answered.values().map(|answers| answers * 100 / batch.sent).collect();
        assert!(shares.len() == 2 && shares.iter().all(|share| (48..=52).contains(share)), "{batch:?}");
    }
    let subjects = &verified.statement().subject;
    assert!(subjects.iter().any(|subject| subject.name.ends_with("/traefik-wrong-weights")), "{subjects:?}");
    assert_eq!(cluster.left(), "");
}

#[test]
fn what_a_profile_reads_of_a_mesh_is_permitted_by_name() {
    let Some(cluster) = cluster(OPEN_SERVICE_MESH, "what_a_profile_reads_of_a_mesh_is_permitted_by_name") else {
        return;
    };
    let mesh = ["--mesh", "open-service-mesh"];
    let run = ["run", "--target", "kubernetes", "--run", "smi.api.*"];
    // It serves no UDPRoute.
    with_least_permissions(&cluster, &[&run[..], &mesh].concat(), &[&["rbac"], &mesh[..]].concat(), 11);
}

#[test]
fn a_profile_that_the_mesh_belies_is_refused() {
    let Some(cluster) = cluster(OPEN_SERVICE_MESH, "a_profile_that_the_mesh_belies_is_refused") else {
        return;
    };
    let profile = include_str!("../meshes/open-service-mesh.yaml");
    let run = ["run", "--target", "kubernetes", "--profile", "profile.yaml", "--run", "smi.api.*"];
    let write = |changes: &[(&str, &str)]| {
        let mut changed = profile.to_owned();
        for (from, to) in changes {
            assert!(changed.contains(from), "{from}");
            changed = changed.replace(from, to);
        }
        fs::write(cluster.path("profile.yaml"), changed).unwrap();
    };
    let refused = |from: &str, to: &str, code: &str| {
        write(&[(from, to)]);
        cluster.refused(&run, code, 6);
    };
    for (from, to) in [
        ("name: osm-mesh-config", "name: absent"),
        ("plural: meshconfigs", "plural: absents"),
        ("version: v1alpha2", "version: v1beta9"),
    ] {
        refused(from, to, "mesh-not-as-profiled");
    }
    refused("sidecar: envoy", "sidecar: absent", "mesh-not-as-profiled");
    refused("monitored-by: osm", "monitored-by: another", "mesh-not-as-profiled");
    refused("container: osm-controller", "container: absent", "image-unnamed");

    // What Kubernetes' own group serves is read too.
    let preset = [
        ("group: config.openservicemesh.io", "group: ''"),
        ("version: v1alpha2", "version: v1"),
        ("plural: meshconfigs", "plural: configmaps"),
        ("name: osm-mesh-config", "name: preset-mesh-config"),
        ("/spec/traffic/enablePermissiveTrafficPolicyMode", "/metadata/namespace"),
        ("value: false", "value: osm-system"),
    ];
    write(&preset);
    let output = cluster.run(&run);
    assert!(text(&output.stdout).contains("open-service-mesh 1.2.4, enforcing\n"), "{}", text(&output.stdout));
}
