//! The report: what an audit checked and found, as a document.
//!
//! As a verdict is, it is a list of checks with `pass`, `fail` or `unknown`. The text that people read is made from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_schemas::Timestamp;
use smi_schemas::codes::{Code, Exit};
use smi_schemas::names::Slug;

use super::{Alteration, Audit, Check, Counts, Sound};
use crate::Outcome;
use crate::note::SignedCheckpoint;
use crate::verdict::{ExitWords, TrustedKeyring};

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// What an audit found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The log's name.
    pub origin: String,
    /// Whether everything was checked, and nothing was found.
    pub sound: bool,
    /// What was audited, once the log's key was seen to have signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeHead>,
    /// What an earlier audit saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<TreeHead>,
    /// The keyring that was trusted.
    pub trusted: TrustedKeyring,
    /// The keyring in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<TrustedKeyring>,
    /// How much was checked.
    pub counts: Counts,
    /// The witnesses whose cosignatures count.
    pub witnesses: Vec<Slug>,
    /// Everything was logged no later than this, as witnesses prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_by: Option<Timestamp>,
    /// The tree was the log's newest no earlier than this, as witnesses prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_at: Option<Timestamp>,
    /// Every check, in order.
    pub checks: Vec<CheckLine>,
    /// What is wrong.
    pub findings: Vec<Found>,
    /// How the command ends.
    pub exit: ExitWords,
}

/// A tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TreeHead {
    /// Its entries.
    pub size: u64,
    /// Its root, in base64.
    pub root: String,
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckLine {
    /// The check.
    pub check: Check,
    /// How it ended.
    pub outcome: Outcome,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Its code.
    pub code: Code,
    /// What and where, and what belongs there.
    pub detail: String,
    /// What is the case.
    pub sentence: String,
    /// What to do.
    pub remedy: String,
    /// Signed checkpoints that show it, as notes: two that contradict each other, or the one that was audited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl Report {
    /// Puts an audit into a document: one that ended well, or found something, or did not get an answer, and why.
    pub fn new(audit: &Audit, seen: Option<TreeHead>, sound: Option<&Sound>, unanswered: Option<&str>) -> Self {
        let mut findings: Vec<Found> = audit.found().iter().map(|found| Found::of(audit, found)).collect();
        findings.extend(unanswered.map(|why| Found::new(Code::AuditUnreachable, why.to_owned())));
        let trusted = |trusted: &crate::said::Trusted| TrustedKeyring {
            version: trusted.keyring.version(),
            digest: trusted.digest,
        };
        let head = sound.map(|sound| &sound.head).or(audit.target());
        let times = sound.and_then(|sound| sound.times);
        let exit = ends(&findings);
        Self {
            schema_version: SCHEMA_VERSION,
            origin: audit.origin().to_owned(),
            sound: sound.is_some() && findings.is_empty(),
            tree: head.map(TreeHead::of),
            seen,
            trusted: trusted(&audit.anchor),
            keyring: audit.trusted().map(|now| trusted(now)),
            counts: *audit.counts(),
            witnesses: sound.map(|sound| sound.witnesses.clone()).unwrap_or_default(),
            logged_by: times.map(|times| times.logged_by),
            current_at: times.map(|times| times.current_at),
            checks: Check::ALL.map(|check| CheckLine { check, outcome: outcome(audit, check) }).into(),
            findings,
            exit: ExitWords { code: exit.number(), words: exit.words().to_owned() },
        }
    }

    /// How the command ends, for the program itself.
    pub fn ends(&self) -> Exit {
        ends(&self.findings)
    }
}

/// What is wrong weighs more than what is not known.
fn ends(findings: &[Found]) -> Exit {
    let exits: Vec<Exit> = findings.iter().map(|found| found.code.class().exit()).collect();
    let worst = exits.iter().find(|exit| **exit == Exit::Refused).or(exits.first());
    worst.copied().unwrap_or(Exit::Success)
}

fn outcome(audit: &Audit, check: Check) -> Outcome {
    let of_it = |alteration: &Alteration| alteration.check() == check;
    match audit.found().iter().find(|alteration| of_it(alteration)) {
        Some(Alteration::SuiteUnknown { .. }) => Outcome::Unknown,
        Some(_) => Outcome::Fail,
        None if audit.passed().contains(&check) => Outcome::Pass,
        None => Outcome::Unknown,
    }
}

impl TreeHead {
    /// The tree of a checkpoint.
    pub fn of(head: &SignedCheckpoint) -> Self {
        Self { size: head.checkpoint().size(), root: head.checkpoint().root().to_base64() }
    }
}

impl Found {
    /// Something that an audit found, with what shows it to others.
    pub fn of(audit: &Audit, found: &Alteration) -> Self {
        Self { evidence: audit.evidence(found), ..Self::new(found.code(), found.to_string()) }
    }

    /// A code with what is concretely the case.
    pub fn new(code: Code, detail: String) -> Self {
        let (sentence, remedy) = (code.sentence().to_owned(), code.remedy().to_owned());
        Self { code, detail, sentence, remedy, evidence: Vec::new() }
    }
}
