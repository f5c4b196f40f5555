//! The statement of a run: results bound to everything they depend on.

use smi_schemas::digest::hex;
use smi_schemas::names::RunId;
use smi_schemas::statement::{Agent, Predicate, Purpose, Run, SCHEMA_VERSION, Statement, Versioned};
use smi_schemas::{Digest, Timestamp};

use crate::execute::Executed;
use crate::plan::Plan;
use crate::target::Facts;

/// What is fixed before a run begins.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its id.
    pub id: RunId,
    /// What request ids are derived from.
    pub seed: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// When it began.
    pub started_at: Timestamp,
    /// The runner by version and digest.
    pub runner: Versioned,
}

/// Puts a run into a statement.
pub fn statement(begun: &Begun, plan: &Plan, facts: &Facts, executed: &Executed, finished_at: Timestamp) -> Statement {
    let predicate = Predicate {
        schema_version: SCHEMA_VERSION,
        run: Run {
            id: begun.id.clone(),
            purpose: begun.purpose,
            started_at: begun.started_at,
            // A clock that was set back during the run must not make the statement contradict itself.
            finished_at: finished_at.max(begun.started_at),
            seed: hex(&begun.seed.to_be_bytes()),
            interrupted: executed.interrupted,
        },
        suite: Versioned { version: plan.suite.version.clone(), digest: plan.digest },
        runner: begun.runner.clone(),
        agent: Agent { digest: facts.agent },
        target: facts.target.clone(),
        mesh: facts.mesh.clone(),
        apis: plan.apis.clone(),
        crds: facts.crds.clone(),
        metrics: facts.metrics.clone(),
        filters: plan.filters.clone(),
        overrides: plan.overrides.clone(),
        assertions: executed.results.clone(),
    };
    Statement::new(facts.subject.clone(), predicate)
}

/// The digest of the program that runs, for its statement.
pub fn own_digest() -> std::io::Result<Digest> {
    Ok(Digest::of(&std::fs::read(std::env::current_exe()?)?))
}
