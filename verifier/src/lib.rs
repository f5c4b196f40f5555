//! The judge: does this bundle deserve to be believed, and what does it say?
//!
//! [`verify`] reads as one list, cheap before dear:
//!
//! | stage | what holds when it passes |
//! |---|---|
//! | size | not more bytes than any result needs |
//! | shape | a Sigstore bundle with one DSSE signature |
//! | signature | a key of the keyring, in force, signed exactly these bytes |
//! | statement | the bytes are a result in a shape that is known |
//! | signer | the key has the role and the mesh that the result needs |
//! | suite | the suite is known by version and digest |
//! | assertions | each assertion of the suite is there, once, in order |
//! | replay | every status and reason follows from the suite and the observations |
//! | policy | purpose, target and age are what the caller admits |
//! | checkpoint, inclusion, quorum, in-force, freshness | the result is in a publisher's log: see [`receipt`] |
//!
//! The first stage that fails ends the verification and reports everything it found; later ones are `unknown`. What
//! passes is a [`Verified`], which nothing else can make. The verifier asks no clock and touches no file: bytes, trust
//! and time are handed to it.
//!
//! What this cannot find is a signer who forges observations that are consistent. The signature makes that
//! attributable, no more.

pub mod audit;
pub mod bulk;
pub mod capability;
pub mod judge;
pub mod ledger;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
pub mod receipt;
pub mod release;
pub mod said;
pub mod tile;
pub mod verdict;
pub mod view;

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_keys::KeyId;
use smi_keys::keyring::{Entry, Keyring, Role};
use smi_schemas::bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES, PAYLOAD_TYPE};
use smi_schemas::codes::Code;
use smi_schemas::feed::ApiSummary;
use smi_schemas::json::JsonError;
use smi_schemas::names::{AssertionId, Slug};
use smi_schemas::report::{Result as AssertionResult, Status};
use smi_schemas::shown::shown;
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{Predicate, Purpose, Statement, StatementError, Target};
use smi_schemas::suite::Suite;
use smi_schemas::{Digest, Timestamp};

use crate::capability::summarize;
use crate::judge::{Context, MAX_ATTEMPTS, judge};
use crate::policy::{MAX_CLOCK_SKEW_SECONDS, Policy};
use crate::receipt::{Heads, Proven, Receipt};

/// Characters of a finding's detail.
const MAX_DETAIL_CHARS: usize = 300;

/// A stage of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the table above says what each means
pub enum Stage {
    Size,
    Shape,
    Signature,
    Statement,
    Signer,
    Suite,
    Assertions,
    Replay,
    Policy,
    Checkpoint,
    Inclusion,
    Quorum,
    InForce,
    Freshness,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Outcome {
    Pass,
    Fail,
    Unknown,
}

/// One ground for a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of ground.
    pub code: Code,
    /// What and where in this bundle.
    pub detail: String,
}

/// The stage that refused, and everything it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The stage.
    pub stage: Stage,
    /// At least one.
    pub findings: Vec<Finding>,
}

/// A result that passed every stage. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    payload_digest: Digest,
    statement: Statement,
    signer: Slug,
    key_id: KeyId,
    apis: Vec<ApiSummary>,
    withheld: Vec<Code>,
    proven: Proven,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 14] = [
        Self::Size,
        Self::Shape,
        Self::Signature,
        Self::Statement,
        Self::Signer,
        Self::Suite,
        Self::Assertions,
        Self::Replay,
        Self::Policy,
        Self::Checkpoint,
        Self::Inclusion,
        Self::Quorum,
        Self::InForce,
        Self::Freshness,
    ];

    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Shape => "shape",
            Self::Signature => "signature",
            Self::Statement => "statement",
            Self::Signer => "signer",
            Self::Suite => "suite",
            Self::Assertions => "assertions",
            Self::Replay => "replay",
            Self::Policy => "policy",
            Self::Checkpoint => "checkpoint",
            Self::Inclusion => "inclusion",
            Self::Quorum => "quorum",
            Self::InForce => "in-force",
            Self::Freshness => "freshness",
        }
    }
}

impl Verified {
    /// The result's identity.
    pub fn payload_digest(&self) -> Digest {
        self.payload_digest
    }

    /// What was signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The signer's name in the keyring.
    pub fn signer(&self) -> &Slug {
        &self.signer
    }

    /// The signer's key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Capability and compliance of each API.
    pub fn apis(&self) -> &[ApiSummary] {
        &self.apis
    }

    /// Why a publisher would withhold this result; empty when it would not.
    pub fn withheld(&self) -> &[Code] {
        &self.withheld
    }

    /// Its proven place in a log; none when there was nothing to check or nothing to check it against.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.proven.receipt.as_ref()
    }

    /// The stages that could not be decided.
    pub fn undecided(&self) -> Vec<Stage> {
        self.proven.undecided()
    }
}

impl Proven {
    fn undecided(&self) -> Vec<Stage> {
        receipt::STAGES.into_iter().filter(|stage| !self.passed.contains(stage)).collect()
    }
}

/// How each of these stages of a verification ended, of which some could not be decided even where it passed.
pub fn checks<T>(stages: &[Stage], result: &Result<T, Refused>, undecided: &[Stage]) -> Vec<(Stage, Outcome)> {
    let failed = result.as_ref().err().map(|refused| refused.stage);
    let outcome = |stage| match failed {
        Some(failed) if stage == failed => Outcome::Fail,
        Some(failed) if stage > failed => Outcome::Unknown,
        _ if undecided.contains(&stage) => Outcome::Unknown,
        _ => Outcome::Pass,
    };
    stages.iter().map(|stage| (*stage, outcome(*stage))).collect()
}

/// Verifies a bundle's bytes against a policy at a time.
pub fn verify(bytes: &[u8], policy: &Policy, now: Timestamp) -> Result<Verified, Refused> {
    verify_with(bytes, policy, now, &Heads::default())
}

/// The same, with checkpoints that were verified under the policy before.
fn verify_with(bytes: &[u8], policy: &Policy, now: Timestamp, heads: &Heads) -> Result<Verified, Refused> {
    size(bytes)?;
    let bundle = shape(bytes)?;
    let signer = signed(&bundle, &policy.keyring)?;
    if !receipt::decides(&bundle, policy) {
        not_revoked(signer)?;
    }
    let mut verified = result(&bundle, signer, policy, now)?;
    let finished_at = verified.statement.predicate.run.finished_at;
    let payload = verified.payload_digest;
    verified.proven = receipt::check(&bundle, payload, signer, finished_at, policy, now, heads)?;
    Ok(verified)
}

/// The stages from the statement to the policy.
fn result(bundle: &Bundle, signer: &Entry, policy: &Policy, now: Timestamp) -> Result<Verified, Refused> {
    said::alone(bundle)?;
    let statement = statement(bundle, Statement::read)?;
    judged(bundle.payload_digest(), statement, signer, policy, now)
}

/// The stages after the statement, which a bundle's payload was read as and whose digest is known.
fn judged(
    payload_digest: Digest,
    statement: Statement,
    signer: &Entry,
    policy: &Policy,
    now: Timestamp,
) -> Result<Verified, Refused> {
    let predicate = &statement.predicate;
    signer_may(signer, &statement)?;
    let suite = suite(predicate, policy)?;
    assertions(suite, predicate)?;
    replay(suite, predicate)?;
    let withheld = admitted(suite, predicate, policy, now)?;
    Ok(Verified {
        payload_digest,
        apis: summarize(suite, predicate),
        signer: signer.name.clone(),
        key_id: signer.public_key.key_id(),
        withheld,
        proven: Proven::default(),
        statement,
    })
}

fn size(bytes: &[u8]) -> Result<(), Refused> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return refuse(Stage::Size, Code::BundleTooLarge, format!("{} bytes, at most {MAX_BUNDLE_BYTES}", bytes.len()));
    }
    Ok(())
}

fn shape(bytes: &[u8]) -> Result<Bundle, Refused> {
    Bundle::read(bytes).or_else(|error| {
        let code = match &error {
            BundleError::Json(JsonError::TooLarge { .. }) => Code::BundleTooLarge,
            BundleError::Json(JsonError::TooDeep) => Code::BundleTooDeep,
            BundleError::Json(JsonError::DuplicateKey { .. }) => Code::BundleDuplicateKey,
            BundleError::Json(JsonError::Syntax { .. }) => Code::BundleNotJson,
            BundleError::Json(JsonError::Shape { .. }) | BundleError::MediaType { .. } => Code::BundleShape,
            BundleError::Base64 { .. } => Code::BundleBase64,
            BundleError::Signatures { .. } => Code::BundleSignatures,
            BundleError::Hint => Code::BundleHint,
            BundleError::LogEntry { .. } => Code::ReceiptShape,
        };
        refuse(Stage::Shape, code, error)
    })
}

/// The bytes are checked before anything in them is read.
fn signed<'a>(bundle: &Bundle, keyring: &'a Keyring) -> Result<&'a Entry, Refused> {
    let stage = Stage::Signature;
    let keyid = &bundle.signature.keyid;
    let known = keyid.parse().ok().and_then(|keyid: KeyId| keyring.find(&keyid));
    let Some(signer) = known else {
        return refuse(stage, Code::KeyUnknown, format!("key id {keyid:?}"));
    };
    if !signer.public_key.verify(&bundle.signed_bytes(), &bundle.signature.sig) {
        return refuse(stage, Code::SignatureInvalid, format!("key {}", signer.name));
    }
    Ok(signer)
}

/// Without a receipt nothing tells on which side of a revocation a bundle lies.
fn not_revoked(signer: &Entry) -> Result<(), Refused> {
    if signer.revoked.is_some() {
        return refuse(Stage::Signature, Code::KeyRevoked, format!("key {}", signer.name));
    }
    Ok(())
}

fn statement<T>(bundle: &Bundle, read: fn(&[u8]) -> Result<T, StatementError>) -> Result<T, Refused> {
    let stage = Stage::Statement;
    if bundle.payload_type != PAYLOAD_TYPE {
        return refuse(stage, Code::PayloadType, format!("{:?}", bundle.payload_type));
    }
    read(&bundle.payload).or_else(|error| {
        let code = match &error {
            StatementError::Json(JsonError::Shape { .. })
            | StatementError::Subjects
            | StatementError::Times
            | StatementError::Sandbox
            | StatementError::Form { .. } => Code::StatementShape,
            StatementError::Json(_) => Code::StatementNotJson,
            StatementError::Type { .. } => Code::StatementType,
            StatementError::PredicateType { .. } => Code::PredicateType,
            StatementError::SchemaVersion { .. } => Code::SchemaVersion,
        };
        refuse(stage, code, error)
    })
}

fn role_may(signer: &Entry, predicate_type: &str) -> Result<(), Refused> {
    if signer.role.may_sign(predicate_type) {
        return Ok(());
    }
    refuse(Stage::Signer, Code::KeyRole, format!("key {} has the role {}", signer.name, signer.role))
}

fn signer_may(signer: &Entry, statement: &Statement) -> Result<(), Refused> {
    role_may(signer, &statement.predicate_type)?;
    let (stage, mesh) = (Stage::Signer, &statement.predicate.mesh.slug);
    if signer.role == Role::Vendor && !signer.meshes.contains(mesh) {
        return refuse(stage, Code::KeyMesh, format!("key {} does not speak for mesh {mesh}", signer.name));
    }
    Ok(())
}

fn suite<'a>(predicate: &'a Predicate, policy: &'a Policy) -> Result<&'a Suite, Refused> {
    let named = &predicate.suite;
    let mut versions = policy.suites.versions(&named.version).peekable();
    if versions.peek().is_none() {
        return refuse(Stage::Suite, Code::SuiteUnknown, format!("suite {}", named.version));
    }
    match versions.find(|(_, digest)| *digest == named.digest) {
        Some((suite, _)) => Ok(suite),
        None => refuse(Stage::Suite, Code::SuiteDigest, format!("suite {} of {}", named.version, named.digest)),
    }
}

fn assertions(suite: &Suite, predicate: &Predicate) -> Result<(), Refused> {
    let expected: Vec<&AssertionId> = suite.assertions.iter().map(|assertion| &assertion.id).collect();
    let reported: Vec<&AssertionId> = predicate.assertions.iter().map(|result| &result.id).collect();
    let mut findings = Vec::new();
    let mut find = |code, id: &AssertionId| findings.push(Finding { code, detail: id.to_string() });
    let mut seen = BTreeSet::new();
    for id in &reported {
        if !expected.contains(id) {
            find(Code::AssertionUnknown, id);
        } else if !seen.insert(*id) {
            find(Code::AssertionRepeated, id);
        }
    }
    for id in expected.iter().filter(|id| !seen.contains(*id)) {
        find(Code::AssertionMissing, id);
    }
    if findings.is_empty()
        && let Some((_, id)) = expected.iter().zip(&reported).find(|(expected, reported)| expected != reported)
    {
        findings.push(Finding { code: Code::AssertionOrder, detail: id.to_string() });
    }
    all(Stage::Assertions, findings)
}

fn replay(suite: &Suite, predicate: &Predicate) -> Result<(), Refused> {
    discovered(suite, predicate)?;
    let absent = predicate.absent();
    let context = Context::of(suite, predicate, &absent);
    let mut findings = Vec::new();
    for (assertion, result) in suite.assertions.iter().zip(&predicate.assertions) {
        let mut find = |code, detail| findings.push(Finding { code, detail: format!("{}: {detail}", assertion.id) });
        match judge(&context, assertion, result.observations.as_ref()) {
            Err(malformed) => find(malformed.code(), malformed.to_string()),
            Ok(judgement) if judgement.status != result.status => {
                find(Code::StatusDiffers, format!("reported {}, replayed {}", result.status, judgement.status));
            }
            Ok(judgement) if judgement.reason != result.reason => {
                find(Code::ReasonDiffers, format!("reported {}, replayed {}", result.reason, judgement.reason));
            }
            Ok(_) => {
                if let Some(detail) = effort(result) {
                    find(Code::ObservationMalformed, detail);
                }
            }
        }
    }
    all(Stage::Replay, findings)
}

/// On a cluster, an API was tested in a version that its CRDs serve, or discovery lists for metrics, and left out only
/// if they serve none that the suite knows: support is discovered, not declared.
fn discovered(suite: &Suite, predicate: &Predicate) -> Result<(), Refused> {
    if matches!(predicate.target, Target::Sandbox {}) {
        return Ok(());
    }
    let mut findings = Vec::new();
    for api in Api::ALL {
        let group = format!(".{api}.smi-spec.io");
        let crds = predicate.crds.iter().filter(|crd| crd.name.ends_with(&group));
        let mut served: BTreeSet<ApiVersion> = crds.flat_map(|crd| crd.served.iter().copied()).collect();
        if api == Api::Metrics {
            served.clone_from(&predicate.metrics);
        }
        let known = |version: &ApiVersion| {
            suite.assertions.iter().any(|assertion| assertion.versions.get(&api).is_some_and(|v| v.contains(version)))
        };
        let detail = match predicate.apis.get(&api) {
            Some(tested) if !served.contains(tested) => format!("{api} {tested} was tested and is not served"),
            None if served.iter().any(known) => format!("{api} is served and was not tested"),
            _ => continue,
        };
        findings.push(Finding { code: Code::ApiContradiction, detail });
    }
    all(Stage::Replay, findings)
}

/// What is wrong with the number of attempts or their duration, if anything is.
fn effort(result: &AssertionResult) -> Option<String> {
    let windows = result.observations.iter().flat_map(|seen| &seen.phases).filter_map(|phase| phase.window.as_ref());
    let observed_ms = windows.fold(0, |sum: u64, window| sum.saturating_add(window.elapsed_ms));
    let (attempts, duration) = (result.attempts, result.duration_ms);
    match &result.observations {
        None if attempts > 0 || duration > 0 => Some(format!("{attempts} attempts in {duration} ms saw nothing")),
        Some(_) if !(1..=MAX_ATTEMPTS).contains(&attempts) => Some(format!("{attempts} attempts")),
        Some(_) if duration < observed_ms => Some(format!("{observed_ms} ms were observed in {duration} ms")),
        _ => None,
    }
}

/// Refuses what the policy does not admit, and says what a publisher would withhold.
fn admitted(suite: &Suite, predicate: &Predicate, policy: &Policy, now: Timestamp) -> Result<Vec<Code>, Refused> {
    let withheld = withheld(predicate);
    let mut findings = Vec::new();
    let mut find = |code, detail: String| findings.push(Finding { code, detail });
    if matches!(predicate.target, Target::Sandbox {}) && !policy.allow_sandbox {
        find(Code::PolicySandbox, format!("target {}", predicate.target));
    }
    if suite.is_draft() && !policy.allow_draft {
        find(Code::PolicyDraft, format!("suite {}", suite.version));
    }
    if policy.publication {
        for code in &withheld {
            find(*code, format!("run {}", predicate.run.id));
        }
    }
    let finished = predicate.run.finished_at;
    let age = now.unix_seconds() - finished.unix_seconds();
    if age < -MAX_CLOCK_SKEW_SECONDS {
        find(Code::PolicyFuture, format!("finished at {finished}, and it is {now}"));
    }
    if policy.max_age_seconds.is_some_and(|max| age > max) {
        find(Code::PolicyAge, format!("finished at {finished}, and it is {now}"));
    }
    all(Stage::Policy, findings)?;
    Ok(withheld)
}

fn withheld(predicate: &Predicate) -> Vec<Code> {
    let errors = predicate.assertions.iter().any(|result| result.status == Status::Error);
    [
        (predicate.run.purpose == Purpose::Trial, Code::PolicyTrial),
        (!predicate.filters.is_empty(), Code::PolicyPartial),
        (predicate.run.interrupted, Code::PolicyInterrupted),
        (errors, Code::PolicyError),
        (predicate.overrides.limit_ms.is_some(), Code::PolicyOverride),
    ]
    .into_iter()
    .filter_map(|(holds, code)| holds.then_some(code))
    .collect()
}

fn refuse<T>(stage: Stage, code: Code, detail: impl fmt::Display) -> Result<T, Refused> {
    Err(refusal(stage, code, detail))
}

fn refusal(stage: Stage, code: Code, detail: impl fmt::Display) -> Refused {
    Refused { stage, findings: vec![Finding { code, detail: quoted(&detail.to_string()) }] }
}

fn all(stage: Stage, findings: Vec<Finding>) -> Result<(), Refused> {
    if findings.is_empty() { Ok(()) } else { Err(Refused { stage, findings }) }
}

/// A parser's message may quote the bundle, which is not trusted yet: what a terminal would obey is escaped, and what
/// would fill it is cut.
fn quoted(detail: &str) -> String {
    let mut text = shown(detail);
    if let Some((end, _)) = text.char_indices().nth(MAX_DETAIL_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_cannot_fill_a_terminal() {
        assert_eq!(quoted("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(quoted(&"é".repeat(10_000)).chars().count(), MAX_DETAIL_CHARS + 1);
    }
}
