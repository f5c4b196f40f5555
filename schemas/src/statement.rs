//! The statement: a report with everything it depends on, as an in-toto Statement v1.
//!
//! Its subjects are the images of the mesh by digest, as seen running; in the sandbox, and on a cluster without a
//! mesh, the runner itself. Its predicate binds what was tested, by what, on what, with which choices, and every
//! assertion of the suite exactly once and in suite order. There are no floats, no unordered maps and no fractions of
//! a second in it, so the same inputs give the same bytes. It holds no node names, addresses, tokens or logs.
//!
//! The predicate type is a name, frozen for ever, and not an address. A reader that knows a `schemaVersion` refuses
//! fields it does not know; a change of shape is a new `schemaVersion` beside the old one.
//!
//! Worked example, a run in which nothing was selected, of a suite with one assertion:
//!
//! ```
//! use smi_schemas::statement::{Statement, StatementError};
//!
//! let text = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"smi-runner","digest":{"sha256":"1111111111111111111111111111111111111111111111111111111111111111"}}],"predicateType":"https://smi-spec.io/conformance/result/v1","predicate":{"schemaVersion":1,"run":{"id":"000102030405060708090a0b0c0d0e0f","purpose":"trial","startedAt":"2026-11-21T08:00:00Z","finishedAt":"2026-11-21T08:00:01Z","seed":"0001020304050607","interrupted":false},"suite":{"version":"1.0.0-draft","digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222"},"runner":{"version":"0.1.0","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"agent":{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"target":{"kind":"sandbox"},"mesh":{"slug":"sandbox","version":"0.1.0","profile":"sha256:1111111111111111111111111111111111111111111111111111111111111111","enforcing":"on"},"apis":{"access":"v1alpha3","specs":"v1alpha4"},"crds":[],"filters":{"run":["nothing"],"skip":[]},"overrides":{},"assertions":[{"id":"smi.access.default-deny","status":"skipped","reason":"filtered","attempts":0,"durationMs":0}]}}"#;
//! let statement = Statement::read(text).unwrap();
//! assert_eq!(statement.to_bytes(), text, "one statement, one byte form");
//!
//! let newer = String::from_utf8_lossy(text).replace(r#""schemaVersion":1"#, r#""schemaVersion":2"#);
//! assert_eq!(Statement::read(newer.as_bytes()), Err(StatementError::SchemaVersion { found: 2 }));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::names::{AssertionId, Glob, RunId, Slug, Version};
use crate::report::Result as AssertionResult;
use crate::smi::{Api, ApiVersion, Kind};
use crate::time::Timestamp;

/// The type of every in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The predicate type of a result. A name, frozen for ever.
pub const RESULT_TYPE: &str = "https://smi-spec.io/conformance/result/v1";

/// The version of the predicate's shape that is written and read. Its shape is fixed with the first suite that is no
/// candidate; until then version 1 may gain fields.
pub const SCHEMA_VERSION: u32 = 1;

/// An in-toto statement about a mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What was tested.
    #[schemars(length(min = 1))]
    pub subject: Vec<Subject>,
    /// [`RESULT_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What was found.
    pub predicate: Predicate,
}

/// An artefact by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Image name without tag, or `smi-runner`.
    pub name: String,
    /// Its digest.
    pub digest: DigestSet,
}

/// A digest as in-toto writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestSet {
    /// 64 lower-case hexadecimal digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run.
    pub run: Run,
    /// The suite.
    pub suite: Versioned,
    /// The runner.
    pub runner: Versioned,
    /// The workload image, which is the witness of every observation.
    pub agent: Agent,
    /// Where the suite ran.
    pub target: Target,
    /// The mesh.
    pub mesh: Mesh,
    /// The version of each API that was tested. An API that is not served has none.
    pub apis: BTreeMap<Api, ApiVersion>,
    /// The SMI CRDs found, by name.
    pub crds: Vec<Crd>,
    /// The versions of the metrics API that discovery lists: it has no CRD. The sandbox has none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub metrics: BTreeSet<ApiVersion>,
    /// What was chosen of the suite.
    pub filters: Filters,
    /// Where the run departed from the suite.
    pub overrides: Overrides,
    /// Every assertion of the suite, once, in suite order.
    pub assertions: Vec<AssertionResult>,
}

/// One execution of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// Its id, which everything it made on the cluster carries.
    pub id: RunId,
    /// What it is for.
    pub purpose: Purpose,
    /// The runner's clock at the start.
    pub started_at: Timestamp,
    /// The runner's clock at the end.
    pub finished_at: Timestamp,
    /// What request ids were derived from: 16 hexadecimal digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{16}$"))]
    pub seed: String,
    /// Whether it was stopped before the suite's end.
    pub interrupted: bool,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To be published.
    Official,
    /// To be looked at.
    Trial,
}

/// Something with a version, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Versioned {
    /// Its version.
    pub version: Version,
    /// Its bytes' digest.
    pub digest: Digest,
}

/// The workload image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// Its digest.
    pub digest: Digest,
}

/// Where a suite ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// In the runner's own process.
    Sandbox {},
    /// On a Kubernetes cluster.
    Kubernetes {
        /// The API server's version.
        version: Version,
    },
}

/// The mesh that was tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mesh {
    /// Its name in the programme.
    pub slug: Slug,
    /// Its version as measured, if it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The digest of its profile.
    pub profile: Digest,
    /// Whether it denies what SMI does not allow, as read back from it.
    pub enforcing: Enforcing,
    /// APIs that its vendor claims not to support, by the profile. No status follows from that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed_unsupported: BTreeSet<Api>,
}

/// A mesh's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforcing {
    /// It denies.
    On,
    /// It does not.
    Off,
    /// It could not be read back.
    Unknown,
}

/// A CRD as served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crd {
    /// `plural.group`.
    #[schemars(regex(pattern = r"^[a-z]+\.[a-z]+\.smi-spec\.io$"))]
    pub name: String,
    /// Versions served.
    pub served: Vec<ApiVersion>,
    /// The version stored.
    pub stored: ApiVersion,
    /// Digest of the schemas, as canonical JSON.
    pub schema: Digest,
}

/// What was chosen of the suite, as patterns in which `*` stands for any text and `?` for one character.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filters {
    /// Only assertions that match one of these; none means all.
    pub run: Vec<Glob>,
    /// No assertion that matches one of these.
    pub skip: Vec<Glob>,
}

/// Where a run departed from the suite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// Another limit than the suite's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
}

/// Why a payload is not a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not the JSON of a result.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// Not an in-toto Statement v1.
    #[error("_type is {found:?}, not {STATEMENT_TYPE:?}")]
    Type {
        /// The type found.
        found: String,
    },
    /// A statement of something else.
    #[error("predicateType is {found:?}, not {wanted:?}")]
    PredicateType {
        /// The type found.
        found: String,
        /// The type that is read here.
        wanted: &'static str,
    },
    /// A shape this reader does not know.
    #[error("schemaVersion is {found}, and this reader knows {SCHEMA_VERSION}")]
    SchemaVersion {
        /// The version found.
        found: u32,
    },
    /// A statement about nothing, or about the same thing twice.
    #[error(
        "subjects must be at least one, distinct, named, and given by a SHA-256 of 64 lower-case hexadecimal digits"
    )]
    Subjects,
    /// The run ends before it starts.
    #[error("finishedAt lies before startedAt")]
    Times,
    /// A sandbox result that is about something else than the runner that carries the sandbox.
    #[error(
        "a sandbox result is about mesh `sandbox`, which claims nothing, and the runner, whose digest stands for agent and profile"
    )]
    Sandbox,
    /// A field in another form than the specification's.
    #[error("{field} is not of the specified form")]
    Form {
        /// The field.
        field: &'static str,
    },
}

impl Statement {
    /// A result about `subject`.
    pub fn new(subject: Vec<Subject>, predicate: Predicate) -> Self {
        Self { statement_type: STATEMENT_TYPE.to_owned(), subject, predicate_type: RESULT_TYPE.to_owned(), predicate }
    }

    /// Reads a payload. What it claims is not judged here.
    pub fn read(payload: &[u8]) -> Result<Self, StatementError> {
        if let Some(statement) = Self::read_written(payload) {
            return Ok(statement);
        }
        Head::expect(payload, RESULT_TYPE)?;
        let statement: Self = json::exact(payload)?;
        statement.check()?;
        Ok(statement)
    }

    /// Reads a payload that is a result, and byte for byte what [`Self::to_bytes`] writes. What is wrong with any other
    /// is for [`Self::read`] to say.
    fn read_written(payload: &[u8]) -> Option<Self> {
        let statement: Self = json::parse_written(payload, MAX_BUNDLE_BYTES)?;
        let is_result = statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == RESULT_TYPE
            && statement.predicate.schema_version == SCHEMA_VERSION
            && statement.check().is_ok();
        is_result.then_some(statement)
    }

    /// The statement's bytes. The same statement always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Every key is a string and every number an integer, so writing cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), StatementError> {
        let mut seen = BTreeSet::new();
        let subjects_hold = self.subject.iter().all(|subject| {
            is_image_name(&subject.name)
                && Digest::from_hex(&subject.digest.sha256).is_ok()
                && seen.insert((&subject.name, &subject.digest.sha256))
        });
        if self.subject.is_empty() || !subjects_hold {
            return Err(StatementError::Subjects);
        }
        if matches!(self.predicate.target, Target::Sandbox {}) && !self.is_about_the_runner() {
            return Err(StatementError::Sandbox);
        }
        let run = &self.predicate.run;
        if run.finished_at < run.started_at {
            return Err(StatementError::Times);
        }
        if run.seed.len() != 16 || !run.seed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(StatementError::Form { field: "run.seed" });
        }
        let crds = &self.predicate.crds;
        if !crds.iter().all(|crd| is_crd_name(&crd.name)) || !crds.is_sorted_by(|a, b| a.name < b.name) {
            return Err(StatementError::Form { field: "crds" });
        }
        Ok(())
    }
}

impl Statement {
    fn is_about_the_runner(&self) -> bool {
        let Predicate { runner, agent, mesh, crds, metrics, .. } = &self.predicate;
        let [subject] = &self.subject[..] else { return false };
        mesh.slug.as_str() == "sandbox"
            && subject.digest.sha256 == runner.digest.hex()
            && agent.digest == runner.digest
            && mesh.profile == runner.digest
            && mesh.claimed_unsupported.is_empty()
            && crds.is_empty()
            && metrics.is_empty()
    }
}

impl Predicate {
    /// Kinds that the tested versions are served without, as the CRDs say. The sandbox has every kind.
    pub fn absent(&self) -> BTreeSet<Kind> {
        if matches!(self.target, Target::Sandbox {}) {
            return BTreeSet::new();
        }
        absent(&self.apis, &self.crds)
    }
}

/// Kinds that the tested versions are served without.
pub fn absent(apis: &BTreeMap<Api, ApiVersion>, crds: &[Crd]) -> BTreeSet<Kind> {
    let serves = |kind: &Kind, version: &ApiVersion| {
        let name = kind.crd();
        crds.iter().any(|crd| crd.name == name && crd.served.contains(version))
    };
    let is_absent = |kind: &Kind| apis.get(&kind.api()).is_some_and(|tested| !serves(kind, tested));
    Kind::STORED.into_iter().filter(is_absent).collect()
}

impl Filters {
    /// Whether the assertion is chosen.
    pub fn select(&self, id: &AssertionId) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(id.as_str()));
        (self.run.is_empty() || any(&self.run)) && !any(&self.skip)
    }

    /// Whether nothing is left out by pattern.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty() && self.skip.is_empty()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox {} => f.write_str("sandbox"),
            Self::Kubernetes { version } => write!(f, "kubernetes {version}"),
        }
    }
}

/// Enough of a statement to know which reader it needs.
#[derive(Deserialize)]
pub(crate) struct Head {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: PredicateHead,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PredicateHead {
    schema_version: u32,
}

/// A payload, read as far as it takes to know which reader it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A result, which [`Statement::read`] would read the same.
    Result(Box<Statement>),
    /// A statement of this predicate type, of which nothing else was read.
    Other(String),
}

impl Payload {
    /// Reads a payload once, where that is enough.
    pub fn read(payload: &[u8]) -> Result<Self, StatementError> {
        match Statement::read_written(payload) {
            Some(statement) => Ok(Self::Result(Box::new(statement))),
            None => predicate_type(payload).map(Self::Other),
        }
    }
}

/// The predicate type of a payload that is an in-toto statement.
fn predicate_type(payload: &[u8]) -> Result<String, StatementError> {
    let head: Head = json::parse(payload, MAX_BUNDLE_BYTES)?;
    if head.statement_type == STATEMENT_TYPE {
        Ok(head.predicate_type)
    } else {
        Err(StatementError::Type { found: head.statement_type })
    }
}

impl Head {
    /// Refuses a payload that needs another reader than that of `wanted`, or that no strict reader takes.
    pub(crate) fn expect(payload: &[u8], wanted: &'static str) -> Result<(), StatementError> {
        let head: Self = json::parse(payload, MAX_BUNDLE_BYTES)?;
        if head.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type { found: head.statement_type });
        }
        if head.predicate_type != wanted {
            return Err(StatementError::PredicateType { found: head.predicate_type, wanted });
        }
        if head.predicate.schema_version != SCHEMA_VERSION {
            return Err(StatementError::SchemaVersion { found: head.predicate.schema_version });
        }
        Ok(())
    }
}

/// The characters of an OCI image name, its registry's port included.
fn is_image_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/:".contains(&byte))
}

fn is_crd_name(name: &str) -> bool {
    let mut parts = name.splitn(3, '.');
    let word = |part: Option<&str>| {
        part.is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    word(parts.next()) && word(parts.next()) && parts.next() == Some("smi-spec.io")
}
