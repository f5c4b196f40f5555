//! The verdict: what a verification found, as a document.
//!
//! It is a list of checks with `pass`, `fail` or `unknown`, never one green word, and says which keyring was trusted.
//! What the bundle claims is repeated only once it is verified. The text that people read is made from this document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_keys::KeyId;
use smi_schemas::codes::{Code, Exit};
use smi_schemas::feed::ApiSummary;
use smi_schemas::names::{AssertionId, RunId, Slug, Version};
use smi_schemas::report::Status;
use smi_schemas::statement::{Enforcing, Purpose, Target, Versioned};
use smi_schemas::{Digest, Timestamp};

use crate::policy::Requirement;
use crate::receipt::Receipt;
use crate::{Outcome, Refused, Stage, Verified, checks};

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// What a verification found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether every stage passed that could be decided.
    pub accepted: bool,
    /// Whether every requirement of the caller is met; only for an accepted bundle.
    pub requirements: Vec<RequirementCheck>,
    /// The keyring that was trusted.
    pub keyring: TrustedKeyring,
    /// Every stage, in order.
    pub checks: Vec<Check>,
    /// The accepted result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Accepted>,
    /// How the command ends.
    pub exit: ExitWords,
}

/// A keyring by version and digest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustedKeyring {
    /// Its version.
    pub version: u64,
    /// The digest of its file.
    pub digest: Digest,
}

/// One stage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The stage.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Explained>,
}

/// A code with its texts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The code.
    pub code: Code,
    /// What and where in this bundle.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What is the case.
    pub sentence: String,
    /// What to do.
    pub remedy: String,
}

/// A result that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The result's identity: the digest of its payload.
    pub payload: Digest,
    /// The signer's name in the keyring.
    pub signer: Slug,
    /// The signer's key.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub key_id: KeyId,
    /// The mesh.
    pub mesh: Slug,
    /// The mesh's version as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_version: Option<Version>,
    /// Whether the mesh denied what SMI does not allow.
    pub enforcing: Enforcing,
    /// Where the suite ran.
    pub target: Target,
    /// The suite.
    pub suite: Versioned,
    /// The run.
    pub run: RunId,
    /// What it was for.
    pub purpose: Purpose,
    /// The signer's claim of when it started.
    pub started_at: Timestamp,
    /// The signer's claim of when it ended.
    pub finished_at: Timestamp,
    /// Capability and compliance of each API.
    pub apis: Vec<ApiSummary>,
    /// Its proven place in a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<LogPlace>,
    /// Every assertion.
    pub assertions: Vec<AssertionLine>,
    /// Why a publisher would withhold it.
    pub withheld: Vec<Explained>,
}

/// A proven place in a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPlace {
    /// The log.
    pub origin: String,
    /// The entry's index.
    pub index: u64,
    /// The size of the tree that it is proven under.
    pub size: u64,
    /// The root of that tree, in base64.
    pub root: String,
    /// The witnesses whose cosignatures count.
    pub witnesses: Vec<Slug>,
    /// It was logged no later than this, as witnesses prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_by: Option<Timestamp>,
    /// The tree was the log's newest no earlier than this, as witnesses prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_at: Option<Timestamp>,
}

/// One assertion's replayed status.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct AssertionLine {
    pub id: AssertionId,
    pub status: Status,
    pub reason: Code,
}

/// A requirement of the caller.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequirementCheck {
    /// As written, such as `split=full`.
    pub requirement: String,
    /// Whether the result meets it.
    pub met: bool,
}

/// An exit code in numbers and words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ExitWords {
    pub code: u8,
    pub words: String,
}

impl Verdict {
    /// Puts a verification into a document.
    pub fn new(result: &Result<Verified, Refused>, keyring: TrustedKeyring, required: &[Requirement]) -> Self {
        let requirements: Vec<_> = result
            .iter()
            .flat_map(|verified| required.iter().map(|requirement| (requirement, requirement.is_met(verified.apis()))))
            .map(|(requirement, met)| RequirementCheck { requirement: requirement.to_string(), met })
            .collect();
        let exit = ends(result.is_ok(), &requirements);
        let undecided = result.as_ref().map(Verified::undecided).unwrap_or_default();
        Self {
            schema_version: SCHEMA_VERSION,
            accepted: result.is_ok(),
            requirements,
            keyring,
            checks: listed(&Stage::ALL, result, &undecided),
            result: result.as_ref().ok().map(Accepted::new),
            exit: ExitWords { code: exit.number(), words: exit.words().to_owned() },
        }
    }
}

/// Each of these stages of a verification, with what it found; some could not be decided even where it passed.
pub fn listed<T>(stages: &[Stage], result: &Result<T, Refused>, undecided: &[Stage]) -> Vec<Check> {
    let check = |(stage, outcome)| {
        let refused = result.as_ref().err().filter(|refused| refused.stage == stage);
        let findings = refused.map(|refused| refused.findings.as_slice()).unwrap_or_default();
        let findings = findings.iter().map(|finding| explained(finding.code, &finding.detail)).collect();
        Check { stage, outcome, findings }
    };
    checks(stages, result, undecided).into_iter().map(check).collect()
}

impl Verdict {
    /// How the command ends, for the program itself.
    pub fn ends(&self) -> Exit {
        ends(self.accepted, &self.requirements)
    }
}

fn ends(accepted: bool, requirements: &[RequirementCheck]) -> Exit {
    if !accepted {
        Exit::Refused
    } else if requirements.iter().any(|requirement| !requirement.met) {
        Exit::Unmet
    } else {
        Exit::Success
    }
}

impl Accepted {
    fn new(verified: &Verified) -> Self {
        let predicate = &verified.statement().predicate;
        let line = |result: &smi_schemas::report::Result| AssertionLine {
            id: result.id.clone(),
            status: result.status,
            reason: result.reason,
        };
        Self {
            payload: verified.payload_digest(),
            signer: verified.signer().clone(),
            key_id: *verified.key_id(),
            mesh: predicate.mesh.slug.clone(),
            mesh_version: predicate.mesh.version.clone(),
            enforcing: predicate.mesh.enforcing,
            target: predicate.target.clone(),
            suite: predicate.suite.clone(),
            run: predicate.run.id.clone(),
            purpose: predicate.run.purpose,
            started_at: predicate.run.started_at,
            finished_at: predicate.run.finished_at,
            apis: verified.apis().to_vec(),
            receipt: verified.receipt().map(LogPlace::new),
            assertions: predicate.assertions.iter().map(line).collect(),
            withheld: verified.withheld().iter().map(|code| explained(*code, "")).collect(),
        }
    }
}

impl LogPlace {
    /// What a receipt proves.
    pub fn new(receipt: &Receipt) -> Self {
        Self {
            origin: receipt.origin.clone(),
            index: receipt.index,
            size: receipt.size,
            root: receipt.root.to_base64(),
            witnesses: receipt.witnesses.clone(),
            logged_by: receipt.times.map(|times| times.logged_by),
            current_at: receipt.times.map(|times| times.current_at),
        }
    }
}

fn explained(code: Code, detail: &str) -> Explained {
    Explained {
        code,
        detail: detail.to_owned(),
        sentence: code.sentence().to_owned(),
        remedy: code.remedy().to_owned(),
    }
}
