//! The target `sandbox`: the embedded reference mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use smi_sandbox::Sandbox;
use smi_sandbox::admission::Definitions;
use smi_sandbox::mutant::Mutant;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Question, ROOT, Reading};
use smi_schemas::names::{Slug, Version};
use smi_schemas::report::{ActionResult, Tally};
use smi_schemas::smi::{Api, ApiVersion, Kind, Resource};
use smi_schemas::statement::{DigestSet, Enforcing, Mesh, Subject, Target as TargetKind};
use smi_schemas::suite::{Action, Cell, Flawed, Open, Protocol, Shape};

use crate::kubernetes::dialect::{self, Dialect, Namespaces};
use crate::kubernetes::metrics::{self, Answer};
use crate::target::{Facts, Fault, Lane, Target, grant, headers};

/// Pause between rounds. The engine has no delay; the pause lets every lane have its turn.
const SPACING: Duration = Duration::from_millis(1);

/// The runner's own process as a target.
#[derive(Debug)]
pub struct SandboxTarget {
    facts: Facts,
    dialect: Dialect,
    definitions: Arc<Definitions>,
    mutant: Option<Mutant>,
    seed: u64,
}

impl SandboxTarget {
    /// A sandbox in this process, whose image is the runner's own bytes.
    pub fn new(version: Version, runner: Digest, apis: BTreeMap<Api, ApiVersion>, seed: u64) -> Self {
        let facts = Facts {
            subject: vec![Subject { name: "smi-runner".to_owned(), digest: DigestSet { sha256: runner.hex() } }],
            agent: runner,
            target: TargetKind::Sandbox {},
            // The reference mesh has no profile: it is what the runner's own bytes make it.
            mesh: Mesh {
                slug: own_slug(),
                version: Some(version),
                profile: runner,
                enforcing: Enforcing::On,
                claimed_unsupported: BTreeSet::new(),
            },
            crds: Vec::new(),
            metrics: BTreeSet::new(),
            enable: None,
        };
        let definitions = Definitions::new(None);
        let schema = apis.get(&Api::Access).and_then(|version| definitions.schema(Kind::TrafficTarget, *version));
        let port_demanded = schema.is_some_and(dialect::demands_port);
        let dialect = Dialect { apis, port_demanded, ..Dialect::default() };
        Self { facts, dialect, definitions: Arc::new(definitions), mutant: None, seed }
    }

    /// The same with one deviation, to test a suite.
    #[must_use]
    pub fn with_mutant(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), definitions: Arc::new(Definitions::new(Some(mutant))), ..self }
    }
}

impl Target for SandboxTarget {
    type Lane = SandboxLane;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn lane(&self, shape: Option<&Shape>) -> Result<SandboxLane, Fault> {
        let bare = Shape { name: self.facts.mesh.slug.clone(), workloads: vec![], services: vec![], health: vec![] };
        let omits = self.mutant.and_then(Mutant::omits);
        let shape = shape.unwrap_or(&bare).clone();
        let sandbox = Sandbox::start(&shape, self.mutant, self.seed).await.map_err(|error| no_socket(&error))?;
        Ok(SandboxLane {
            sandbox,
            shape,
            dialect: self.dialect.clone(),
            definitions: Arc::clone(&self.definitions),
            served: dialect::all_spoken(),
            omits,
            probes: AtomicU64::new(0),
        })
    }
}

/// One shape's sandbox.
#[derive(Debug)]
pub struct SandboxLane {
    sandbox: Sandbox,
    shape: Shape,
    dialect: Dialect,
    definitions: Arc<Definitions>,
    served: BTreeMap<Api, BTreeSet<ApiVersion>>,
    omits: Option<Kind>,
    /// Probes so far.
    probes: AtomicU64,
}

impl SandboxLane {
    /// What the metrics API answers.
    fn get(&self, path: &str, question: Option<&Question>) -> Answer {
        let nothing = BTreeMap::new();
        let (labels, restricted) = question.map_or((&nothing, false), |asked| (&asked.labels, asked.restricted));
        let (http, body) = self.sandbox.metrics(path, labels, restricted);
        Answer { http, body, at: SystemTime::now().into() }
    }

    /// The object as the tested version writes it.
    fn object(&self, resource: &Resource) -> Option<Value> {
        self.dialect.write(resource, &Namespaces::default())
    }

    /// What is left of an object once its schema has had its say; nothing when it refuses the object.
    fn admitted(&self, kind: Kind, mut object: Value) -> Option<Value> {
        let version = *self.dialect.apis.get(&kind.api())?;
        self.definitions.admit(kind, version, &mut object).ok()?;
        Some(object)
    }

    /// What the mesh reads of a resource, after it was written, admitted and stored.
    fn stored(&self, resource: &Resource) -> Option<Resource> {
        let object = self.admitted(resource.kind(), self.object(resource)?)?;
        self.dialect.read(&object, &Namespaces::default())
    }

    fn create(&self, resource: &Resource) -> ActionResult {
        match self.stored(resource) {
            Some(stored) => taken(&self.sandbox.engine_mut().create(stored)),
            None => ActionResult::Refused,
        }
    }

    fn update(&self, resource: &Resource) -> ActionResult {
        match self.stored(resource) {
            Some(stored) => taken(&self.sandbox.engine_mut().replace(stored)),
            None => ActionResult::Refused,
        }
    }

    fn open(&self, open: &Open) -> ActionResult {
        let Some(resources) = grant(open, self.dialect.port_demanded) else { return ActionResult::Refused };
        let mut results = resources.iter().map(|resource| self.create(resource));
        results.find(|result| *result != ActionResult::Done).unwrap_or(ActionResult::Done)
    }

    fn round_trip(&self, resource: &Resource) -> ActionResult {
        let Some(written) = self.object(resource) else { return ActionResult::Refused };
        match self.admitted(resource.kind(), written.clone()) {
            Some(stored) => ActionResult::Lost(dialect::lost(&written, &stored)),
            None => ActionResult::Refused,
        }
    }

    fn refuse(&self, Flawed { flaw, resource }: &Flawed) -> ActionResult {
        let Some(mut object) = self.object(resource) else { return ActionResult::Refused };
        self.dialect.spoil(&mut object, *flaw);
        if self.admitted(resource.kind(), object).is_some() { ActionResult::Done } else { ActionResult::Refused }
    }
}

impl Lane for SandboxLane {
    fn spacing(&self) -> Duration {
        SPACING
    }

    async fn act(&self, action: &Action) -> Result<ActionResult, Fault> {
        Ok(match action {
            Action::Apply(resource) | Action::ApplyOrRefuse(resource) => self.create(resource),
            Action::Update(resource) => self.update(resource),
            Action::Delete(reference) => taken(&self.sandbox.engine_mut().delete(reference.kind, &reference.name)),
            Action::Open(open) => self.open(open),
            Action::Discover(kind) if self.omits == Some(*kind) => ActionResult::Served(Vec::new()),
            Action::Discover(kind) => {
                ActionResult::Served(self.served.get(&kind.api()).into_iter().flatten().copied().collect())
            }
            Action::RoundTrip(resource) => self.round_trip(resource),
            Action::Release => ActionResult::Done,
            Action::Resources => ActionResult::Resources(metrics::listing(&self.get(ROOT, None))),
            Action::Refuse(flawed) => self.refuse(flawed),
            Action::Scale(scale) => {
                self.sandbox.scale(&scale.workload, scale.replicas > 0);
                ActionResult::Done
            }
            Action::Restart(workload) => {
                self.sandbox.restart(workload);
                ActionResult::Done
            }
        })
    }

    async fn probe(&self, cell: &Cell, requests: u32) -> Result<Tally, Fault> {
        let protocol = self.shape.port(cell).map_or(Protocol::Http, |(protocol, _)| protocol);
        let headers = headers(cell, protocol, self.probes.fetch_add(1, Ordering::Relaxed));
        let result = self.sandbox.probe(cell, headers, requests).await;
        result.map_err(|error| Fault { code: Code::AgentFault, detail: error.to_string() })
    }

    async fn read(&self, question: &Question) -> Result<Reading, Fault> {
        let paths = metrics::paths(question, &Namespaces::default());
        let answers: Vec<Answer> = paths.iter().map(|path| self.get(path, Some(question))).collect();
        Ok(metrics::reading(&answers, &Namespaces::default()))
    }

    async fn wipe(&self) -> Result<(), Fault> {
        self.sandbox.reset();
        Ok(())
    }

    async fn close(self) {}
}

/// The sandbox's name among meshes.
fn own_slug() -> Slug {
    "sandbox".parse().unwrap_or_else(|error| unreachable!("{error}"))
}

fn taken<E>(result: &Result<(), E>) -> ActionResult {
    if result.is_ok() { ActionResult::Done } else { ActionResult::Refused }
}

fn no_socket(error: &io::Error) -> Fault {
    Fault { code: Code::AgentFault, detail: format!("the sandbox could not open its sockets on loopback: {error}") }
}
