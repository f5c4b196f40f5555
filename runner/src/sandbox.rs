//! The target `sandbox`: the embedded reference mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use smi_sandbox::Sandbox;
use smi_sandbox::mutant::Mutant;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::{Slug, Version};
use smi_schemas::report::{ActionResult, Tally};
use smi_schemas::smi::{Api, ApiVersion, Kind, Resource};
use smi_schemas::statement::{DigestSet, Enforcing, Mesh, Subject, Target as TargetKind};
use smi_schemas::suite::{Action, Cell, Open, Shape};

use crate::kubernetes::dialect;
use crate::target::{Facts, Fault, Lane, Target, grant};

/// Pause between rounds. The engine has no delay; the pause lets both lanes have their turn.
const SPACING: Duration = Duration::from_millis(1);

/// The runner's own process as a target.
#[derive(Debug)]
pub struct SandboxTarget {
    facts: Facts,
    mutant: Option<Mutant>,
    seed: u64,
}

impl SandboxTarget {
    /// A sandbox in this process, whose image is the runner's own bytes.
    pub fn new(version: Version, runner: Digest, seed: u64) -> Self {
        let facts = Facts {
            subject: vec![Subject { name: "smi-runner".to_owned(), digest: DigestSet { sha256: runner.hex() } }],
            agent: runner,
            target: TargetKind::Sandbox {},
            // The reference mesh has no profile: it is what the runner's own bytes make it.
            mesh: Mesh { slug: own_slug(), version: Some(version), profile: runner, enforcing: Enforcing::On },
            crds: Vec::new(),
            enable: None,
        };
        Self { facts, mutant: None, seed }
    }

    /// The same with one deviation, to test a suite.
    #[must_use]
    pub fn with_mutant(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
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
        let sandbox = Sandbox::start(shape.unwrap_or(&bare), self.mutant, self.seed).await;
        Ok(SandboxLane { sandbox: sandbox.map_err(|error| no_socket(&error))?, served: dialect::all_spoken(), omits })
    }
}

/// One shape's sandbox.
#[derive(Debug)]
pub struct SandboxLane {
    sandbox: Sandbox,
    served: BTreeMap<Api, BTreeSet<ApiVersion>>,
    omits: Option<Kind>,
}

impl SandboxLane {
    fn open(&self, open: &Open) -> ActionResult {
        let Some([routes, target]) = grant(open) else { return ActionResult::Refused };
        let mut engine = self.sandbox.engine_mut();
        let created = engine.create(routes).and_then(|()| engine.create(target));
        taken(&created)
    }

    fn round_trip(&self, resource: &Resource) -> ActionResult {
        let mut engine = self.sandbox.engine_mut();
        if engine.create(resource.clone()).is_err() {
            return ActionResult::Refused;
        }
        let lost = match engine.read(resource.kind(), resource.name()) {
            Some(stored) if stored == resource => Vec::new(),
            _ => vec!["/spec".to_owned()],
        };
        // It was created above under this lock, so it is there.
        let _ = engine.delete(resource.kind(), resource.name());
        ActionResult::Lost(lost)
    }
}

impl Lane for SandboxLane {
    fn spacing(&self) -> Duration {
        SPACING
    }

    async fn act(&self, action: &Action) -> Result<ActionResult, Fault> {
        Ok(match action {
            Action::Apply(resource) | Action::ApplyOrRefuse(resource) => {
                taken(&self.sandbox.engine_mut().create(resource.clone()))
            }
            Action::Update(resource) => taken(&self.sandbox.engine_mut().replace(resource.clone())),
            Action::Delete(reference) => taken(&self.sandbox.engine_mut().delete(reference.kind, &reference.name)),
            Action::Open(open) => self.open(open),
            Action::Discover(kind) if self.omits == Some(*kind) => ActionResult::Served(Vec::new()),
            Action::Discover(kind) => {
                ActionResult::Served(self.served.get(&kind.api()).into_iter().flatten().copied().collect())
            }
            Action::RoundTrip(resource) => self.round_trip(resource),
        })
    }

    async fn probe(&self, cell: &Cell, requests: u32) -> Result<Tally, Fault> {
        let result = self.sandbox.probe(cell, requests).await;
        result.map_err(|error| Fault { code: Code::AgentFault, detail: error.to_string() })
    }

    async fn wipe(&self) -> Result<(), Fault> {
        self.sandbox.engine_mut().clear();
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
