//! The view: what pages and feeds show, as a fold over all entries.
//!
//! It is pure and deterministic, and its JSON is canonical: whoever has the entries computes the same bytes. It is a
//! list of rows, one for each mesh, version of the mesh and version of the suite, and in each row a cell for every API
//! and version of it that was tested; beside it the keyring in force, the suites that were released, and the results
//! that wait for a review.
//!
//! A cell shows the *current* result: the one whose run ended last, by its signer's claim. An older run that is
//! accepted later never replaces a newer one; of two that ended at the same second the later entry counts. Results of
//! distinct signers are counted by signer, each with its own current one, and where these differ the cell says so:
//! disagreement is shown, never averaged. Beyond that:
//!
//! - A result of a signer who publishes after review counts once a review accepts it; the latest review decides.
//! - A result that has *ended*, because it is withdrawn or superseded, stays where it was and says nothing: if it is a
//!   signer's current one, the signer says nothing about the cell until a later run is accepted, and if nobody else
//!   does, the cell is withdrawn, or superseded by the result that the signer named. The one named does not count for
//!   being named: it counts where its own run says. A review of what has ended changes nothing.
//! - An entry does not count if its signer is revoked from its index or an earlier one on, whenever that is said.
//!
//! ```
//! use smi_schemas::feed::{Capability, Entry};
//! use smi_verifier::view::View;
//!
//! let entry = |index: u64, signer: &str, finished: &str, capability: &str| -> Entry {
//!     serde_json::from_value(serde_json::json!({
//!         "index": index, "payload": format!("sha256:{index:064}"),
//!         "signer": signer, "keyId": format!("{:064}", signer.len()),
//!         "says": {"result": {"run": format!("{index:032}"), "mesh": "m", "meshVersion": "1",
//!             "target": "kubernetes v1", "suite": "1.0.0", "finishedAt": finished,
//!             "apis": [{"api": "split", "version": "v1alpha4", "capability": capability, "compliance": "undecided",
//!                       "passed": 1, "failed": 0, "scored": 2}]}}
//!     })).unwrap()
//! };
//! let mut view = View::default();
//! view.add(&entry(0, "acme", "2026-01-02T08:00:00Z", "full"), None);
//! view.add(&entry(1, "acme", "2026-01-01T08:00:00Z", "none"), None); // an older run, accepted later
//! view.add(&entry(2, "other", "2026-01-01T09:00:00Z", "partial"), None);
//! let cell = view.rows().remove(0).cells.remove(0);
//! let current = cell.current.unwrap();
//! assert_eq!((current.index, current.summary.capability, cell.signers, cell.disagreement), (0, Capability::Full, 2, true));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_keys::keyring::Keyring;
use smi_schemas::Digest;
use smi_schemas::Timestamp;
use smi_schemas::feed::{ApiSummary, Entry, Says, Tested};
use smi_schemas::names::{Slug, Version};
use smi_schemas::record::Verdict;
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::Versioned;

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// The fold of all entries.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every entry, in short: a revocation may look back.
    entries: Vec<Folded>,
    /// The index of each result, beside the first bytes of its digest: the whole digest is with the entry.
    results: BTreeSet<(u64, u32)>,
    keyring: Option<InForce>,
    revoked: BTreeMap<u32, u64>,
    meshes: Names<Slug>,
    versions: Names<Option<Version>>,
    signers: Names<(Slug, String)>,
    targets: Names<String>,
    tests: Names<Vec<Test>>,
    kinds: Names<Kind>,
    counted: Counted,
}

/// What follows from the entries that count.
#[derive(Clone, Debug, Default)]
struct Counted {
    rows: BTreeMap<RowKey, BTreeMap<u32, BTreeMap<u32, Runs>>>,
    waiting: BTreeSet<u32>,
    suites: Vec<ReleasedSuite>,
    /// What became of results, where something did.
    fates: BTreeMap<u32, Fate>,
}

/// Mesh, its version, and the suite's, by their places among the names.
type RowKey = (u32, u32, u32);

/// An API in the version in which it was tested; none when it is not served.
type Test = (Api, Option<ApiVersion>);

/// A run: when it ended, and its index.
type Run = (Timestamp, u32);

/// A signer's runs of the same tests, by when they ended and their index, of which the entries know the former. A run
/// is nearly always added at the end.
type Runs = Vec<u32>;

/// What was said of a result.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    accepted: Option<bool>,
    ended: Option<End>,
}

/// Why a signer no longer stands by a result.
#[derive(Clone, Copy, Debug)]
enum End {
    Withdrawn,
    Superseded { by: u32 },
}

/// An entry, as far as the fold needs it again.
#[derive(Clone, Debug)]
struct Folded {
    signer: u32,
    says: FoldedSays,
}

#[derive(Clone, Debug)]
enum FoldedSays {
    Result(FoldedResult),
    Review { result: u32, accepted: bool },
    Withdrawal { result: u32 },
    Supersession { result: u32, by: u32 },
    Suite(Box<Versioned>),
    Keyring,
}

#[derive(Clone, Debug)]
struct FoldedResult {
    payload: Digest,
    finished_at: Timestamp,
    kind: u32,
    after_review: bool,
}

/// What many results have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    row: RowKey,
    target: u32,
    tests: u32,
    summaries: Briefs,
}

/// What is said of each API.
type Briefs = [Option<Brief>; Api::ALL.len()];

/// An API's summary without what others say already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Brief {
    capability: smi_schemas::feed::Capability,
    compliance: smi_schemas::feed::Compliance,
    claimed_unsupported: bool,
    passed: u16,
    failed: u16,
    scored: u16,
}

/// Texts that many entries share, each once.
#[derive(Clone, Debug)]
struct Names<T> {
    places: BTreeMap<T, u32>,
    names: Vec<T>,
}

/// The view as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Entries that were folded.
    pub size: u64,
    /// The keyring in force for the next entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<InForce>,
    /// Suites that were released, in the order of their entries.
    pub suites: Vec<ReleasedSuite>,
    /// Results that wait for a review, in the order of their entries.
    pub waiting: Vec<Waiting>,
    /// Rows, by mesh, version and suite.
    pub rows: Vec<Row>,
}

/// A keyring in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InForce {
    /// Its entry.
    pub index: u64,
    /// Its version.
    pub version: u64,
    /// The digest of its file.
    pub digest: Digest,
}

/// A suite that was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleasedSuite {
    /// Its entry.
    pub index: u64,
    /// Its version.
    pub version: Version,
    /// The digest of its file.
    pub digest: Digest,
}

/// A result that waits for a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiting {
    /// Its entry.
    pub index: u64,
    /// Its identity.
    pub payload: Digest,
    /// Who signed it.
    pub signer: Slug,
    /// The mesh.
    pub mesh: Slug,
    /// Its version as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_version: Option<Version>,
    /// The suite.
    pub suite: Version,
    /// When the run ended, by its signer's claim.
    pub finished_at: Timestamp,
}

/// A mesh in one version under one version of the suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    /// The mesh.
    pub mesh: Slug,
    /// Its version as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_version: Option<Version>,
    /// The suite.
    pub suite: Version,
    /// Cells, by API and version.
    pub cells: Vec<Cell>,
}

/// What is currently known of one API in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cell {
    /// The API.
    pub api: Api,
    /// Its version; none when it is not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ApiVersion>,
    /// The current result. None: the cell is withdrawn or superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Current>,
    /// Where the cell is superseded, the result that its signer named in the place of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Digest>,
    /// Signers with a current result for this cell that has not ended.
    pub signers: u32,
    /// Whether these results differ in capability or compliance.
    pub disagreement: bool,
}

/// The current result of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Current {
    /// What it says.
    pub summary: ApiSummary,
    /// Its entry.
    pub index: u64,
    /// Its identity.
    pub payload: Digest,
    /// Who signed it.
    pub signer: Slug,
    /// Where the suite ran.
    pub target: String,
    /// When the run ended, by its signer's claim.
    pub finished_at: Timestamp,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It counts.
    Published,
    /// It waits for a review.
    Waiting,
    /// A review rejected it.
    Rejected,
    /// Its signer withdrew it.
    Withdrawn,
    /// Its signer named another result in its place.
    Superseded,
    /// Its signer's key was revoked.
    Revoked,
}

impl View {
    /// Folds the next entry in, with the keyring if it is one.
    ///
    /// The entry is one that [`crate::ledger`] admits; what refers to nothing is passed over.
    pub fn add(&mut self, entry: &Entry, keyring: Option<&Keyring>) {
        // 2^32 entries are more than any memory holds.
        let Ok(index) = u32::try_from(self.entries.len()) else { return };
        let signer = self.signers.place(&(entry.signer.clone(), entry.key_id.clone()));
        let result = |digest: &Digest| self.find(digest).unwrap_or(u32::MAX);
        let says = match &entry.says {
            Says::Result(tested) => {
                self.results.insert((prefix(&entry.payload), index));
                FoldedSays::Result(self.folded(entry.payload, tested))
            }
            Says::Review { result: of, verdict, .. } => {
                FoldedSays::Review { result: result(of), accepted: *verdict == Verdict::Accept }
            }
            Says::Withdrawal { result: of, .. } => FoldedSays::Withdrawal { result: result(of) },
            Says::Supersession { result: of, by, .. } => {
                FoldedSays::Supersession { result: result(of), by: result(by) }
            }
            Says::Suite(suite) => FoldedSays::Suite(Box::new(suite.clone())),
            Says::Keyring { version, digest } => {
                self.keyring = Some(InForce { index: entry.index, version: *version, digest: *digest });
                FoldedSays::Keyring
            }
        };
        self.entries.push(Folded { signer, says });
        if let Some(keyring) = keyring
            && self.revoke(keyring)
        {
            self.counted = Counted::default();
            for index in 0..=index {
                self.count(index);
            }
        } else {
            self.count(index);
        }
    }

    /// Takes over the keyring's revocations, and says whether one of them looks back.
    fn revoke(&mut self, keyring: &Keyring) -> bool {
        let mut looks_back = false;
        for key in keyring.keys() {
            let Some(revoked) = key.revoked else { continue };
            let signer = self.signers.place(&(key.name.clone(), key.public_key.key_id().to_string()));
            let before = self.revoked.insert(signer, revoked.from_index);
            looks_back |= before != Some(revoked.from_index) && revoked.from_index < self.entries.len() as u64;
        }
        looks_back
    }

    /// Counts an entry, after all before it.
    fn count(&mut self, index: u32) {
        let Some(Folded { signer, says }) = self.entries.get(index as usize) else { return };
        let signer = *signer;
        if self.is_revoked(signer, index) {
            return;
        }
        match says {
            FoldedSays::Result(result) if result.after_review => {
                self.counted.waiting.insert(index);
            }
            FoldedSays::Result(_) => self.show(index),
            FoldedSays::Review { result, accepted } => {
                let (result, accepted) = (*result, *accepted);
                let fate = self.counted.fates.entry(result).or_default();
                // What was shown when it ended stays, so that nobody makes the cell forget it.
                if fate.ended.is_some() {
                    return;
                }
                fate.accepted = Some(accepted);
                self.counted.waiting.remove(&result);
                self.hide(result);
                if accepted {
                    self.show(result);
                }
            }
            FoldedSays::Withdrawal { result } => self.end(*result, End::Withdrawn),
            FoldedSays::Supersession { result, by } => self.end(*result, End::Superseded { by: *by }),
            FoldedSays::Suite(suite) => {
                let Versioned { version, digest } = (**suite).clone();
                self.counted.suites.push(ReleasedSuite { index: u64::from(index), version, digest });
            }
            FoldedSays::Keyring => {}
        }
    }

    /// Ends a result where it is.
    fn end(&mut self, result: u32, end: End) {
        self.counted.fates.entry(result).or_default().ended.get_or_insert(end);
        self.counted.waiting.remove(&result);
    }

    fn ended(&self, result: u32) -> Option<End> {
        self.counted.fates.get(&result).and_then(|fate| fate.ended)
    }

    fn is_revoked(&self, signer: u32, index: u32) -> bool {
        self.revoked.get(&signer).is_some_and(|from| u64::from(index) >= *from)
    }

    fn kind(&self, result: &FoldedResult) -> Option<Kind> {
        self.kinds.name(result.kind).copied()
    }

    /// A run, as runs are ordered.
    fn run(&self, index: u32) -> Run {
        (self.result(index).map_or(Timestamp::EPOCH, |(_, result)| result.finished_at), index)
    }

    fn result(&self, index: u32) -> Option<(u32, &FoldedResult)> {
        match self.entries.get(index as usize) {
            Some(Folded { signer, says: FoldedSays::Result(result) }) => Some((*signer, result)),
            _ => None,
        }
    }

    /// The index of the last result of this digest.
    fn find(&self, payload: &Digest) -> Option<u32> {
        let prefix = prefix(payload);
        let mut alike = self.results.range((prefix, 0)..=(prefix, u32::MAX)).rev();
        alike
            .find(|(_, index)| self.result(*index).is_some_and(|(_, result)| result.payload == *payload))
            .map(|(_, index)| *index)
    }

    fn show(&mut self, index: u32) {
        let Some((signer, result)) = self.result(index) else { return };
        let Some(Kind { row, tests, .. }) = self.kind(result).filter(|_| !self.is_revoked(signer, index)) else {
            return;
        };
        let run = self.run(index);
        let mut runs = mem::take(self.runs(row, tests, signer));
        if runs.last().is_none_or(|last| self.run(*last) < run) {
            runs.push(index);
        } else if let Err(place) = runs.binary_search_by(|other| self.run(*other).cmp(&run)) {
            runs.insert(place, index);
        }
        *self.runs(row, tests, signer) = runs;
    }

    fn runs(&mut self, row: RowKey, tests: u32, signer: u32) -> &mut Runs {
        self.counted.rows.entry(row).or_default().entry(tests).or_default().entry(signer).or_default()
    }

    fn hide(&mut self, index: u32) {
        let Some((signer, result)) = self.result(index) else { return };
        let Some(Kind { row, tests, .. }) = self.kind(result) else { return };
        let Some(groups) = self.counted.rows.get_mut(&row) else { return };
        if let Some(signers) = groups.get_mut(&tests) {
            if let Some(runs) = signers.get_mut(&signer) {
                runs.retain(|other| *other != index);
                if runs.is_empty() {
                    signers.remove(&signer);
                }
            }
            if signers.is_empty() {
                groups.remove(&tests);
            }
        }
        if groups.is_empty() {
            self.counted.rows.remove(&row);
        }
    }

    fn folded(&mut self, payload: Digest, tested: &Tested) -> FoldedResult {
        let mut briefs = [None; Api::ALL.len()];
        for (slot, api) in briefs.iter_mut().zip(Api::ALL) {
            *slot = tested.apis.iter().find(|summary| summary.api == api).map(Brief::of);
        }
        let tests = tested.apis.iter().map(|summary| (summary.api, summary.version)).collect();
        let kind = Kind {
            row: (
                self.meshes.place(&tested.mesh),
                self.versions.place(&tested.mesh_version),
                self.versions.place(&Some(tested.suite.clone())),
            ),
            target: self.targets.place(&tested.target),
            tests: self.tests.place(&tests),
            summaries: briefs,
        };
        let kind = self.kinds.place(&kind);
        FoldedResult { payload, finished_at: tested.finished_at, kind, after_review: tested.after_review }
    }

    /// Entries that were folded.
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The keyring in force for the next entry.
    pub fn keyring(&self) -> Option<&InForce> {
        self.keyring.as_ref()
    }

    /// What became of a result; none if there is no such result.
    pub fn state(&self, payload: &Digest) -> Option<State> {
        let index = self.find(payload)?;
        let (signer, result) = self.result(index)?;
        let fate = self.counted.fates.get(&index).copied().unwrap_or_default();
        Some(match fate {
            _ if self.is_revoked(signer, index) => State::Revoked,
            Fate { ended: Some(End::Superseded { .. }), .. } => State::Superseded,
            Fate { ended: Some(End::Withdrawn), .. } => State::Withdrawn,
            Fate { accepted: Some(false), .. } => State::Rejected,
            Fate { accepted: None, .. } if result.after_review => State::Waiting,
            Fate { .. } => State::Published,
        })
    }

    /// The rows, by mesh, version and suite.
    pub fn rows(&self) -> Vec<Row> {
        let row = |((mesh, mesh_version, suite), groups): (&RowKey, &BTreeMap<u32, BTreeMap<u32, Runs>>)| {
            Some(Row {
                mesh: self.meshes.name(*mesh)?.clone(),
                mesh_version: self.versions.name(*mesh_version)?.clone(),
                suite: self.versions.name(*suite)?.clone()?,
                cells: self.cells(groups),
            })
        };
        let mut rows: Vec<Row> = self.counted.rows.iter().filter_map(row).collect();
        rows.sort_by(|a, b| {
            let by_mesh_version = match (&a.mesh_version, &b.mesh_version) {
                (Some(a), Some(b)) => a.natural_cmp(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            a.mesh.cmp(&b.mesh).then(by_mesh_version).then_with(|| a.suite.natural_cmp(&b.suite))
        });
        rows
    }

    fn cells(&self, groups: &BTreeMap<u32, BTreeMap<u32, Runs>>) -> Vec<Cell> {
        // For each API and version, the current run of each signer, over all that tested it.
        let mut cells: BTreeMap<Test, BTreeMap<u32, Run>> = BTreeMap::new();
        for (tests, signers) in groups {
            for (signer, runs) in signers {
                let Some(last) = runs.last().map(|last| self.run(*last)) else { continue };
                for test in self.tests.name(*tests).into_iter().flatten() {
                    let current = cells.entry(*test).or_default().entry(*signer).or_insert(last);
                    *current = (*current).max(last);
                }
            }
        }
        cells.into_iter().map(|(test, signers)| self.cell(test, &signers)).collect()
    }

    fn cell(&self, (api, version): Test, signers: &BTreeMap<u32, Run>) -> Cell {
        let standing: Vec<_> = signers.values().filter(|(_, index)| self.ended(*index).is_none()).copied().collect();
        let current = standing.iter().max().and_then(|(_, index)| self.current(*index, api, version));
        let last = signers.values().max().filter(|_| standing.is_empty());
        let superseded_by = last.and_then(|(_, index)| match self.ended(*index)? {
            End::Superseded { by } => self.result(by).map(|(_, result)| result.payload),
            End::Withdrawn => None,
        });
        let says = |(_, index): &Run| {
            let brief = self.result(*index).and_then(|(_, result)| self.brief(result, api));
            brief.map(|brief| (brief.capability, brief.compliance))
        };
        Cell {
            api,
            version,
            signers: u32::try_from(standing.len()).unwrap_or(u32::MAX),
            disagreement: standing.iter().any(|other| says(other) != says(&standing[0])),
            current,
            superseded_by,
        }
    }

    fn current(&self, index: u32, api: Api, version: Option<ApiVersion>) -> Option<Current> {
        let (signer, result) = self.result(index)?;
        let Brief { capability, compliance, claimed_unsupported, passed, failed, scored } = self.brief(result, api)?;
        Some(Current {
            summary: ApiSummary {
                api,
                version,
                capability,
                compliance,
                passed: passed.into(),
                failed: failed.into(),
                scored: scored.into(),
                claimed_unsupported,
            },
            index: index.into(),
            payload: result.payload,
            signer: self.signers.name(signer)?.0.clone(),
            target: self.targets.name(self.kind(result)?.target)?.clone(),
            finished_at: result.finished_at,
        })
    }

    fn brief(&self, result: &FoldedResult, api: Api) -> Option<Brief> {
        let at = Api::ALL.iter().position(|known| *known == api)?;
        self.kind(result)?.summaries[at]
    }

    fn waiting(&self, index: u32) -> Option<Waiting> {
        let (signer, result) = self.result(index)?;
        let (mesh, mesh_version, suite) = self.kind(result)?.row;
        Some(Waiting {
            index: index.into(),
            payload: result.payload,
            signer: self.signers.name(signer)?.0.clone(),
            mesh: self.meshes.name(mesh)?.clone(),
            mesh_version: self.versions.name(mesh_version)?.clone(),
            suite: self.versions.name(suite)?.clone()?,
            finished_at: result.finished_at,
        })
    }

    /// The view as a document, whose JSON has one form.
    pub fn document(&self) -> Document {
        Document {
            schema_version: SCHEMA_VERSION,
            size: self.size(),
            keyring: self.keyring.clone(),
            suites: self.counted.suites.clone(),
            waiting: self.counted.waiting.iter().filter_map(|index| self.waiting(*index)).collect(),
            rows: self.rows(),
        }
    }
}

impl Document {
    /// The document's bytes, as publishers serve them.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Every key is a string and every number an integer, so writing cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Brief {
    fn of(summary: &ApiSummary) -> Self {
        // No suite has so many assertions.
        let count = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            capability: summary.capability,
            compliance: summary.compliance,
            claimed_unsupported: summary.claimed_unsupported,
            passed: count(summary.passed),
            failed: count(summary.failed),
            scored: count(summary.scored),
        }
    }
}

fn prefix(digest: &Digest) -> u64 {
    let [first, ..] = digest.as_bytes().as_chunks().0 else { return 0 };
    u64::from_be_bytes(*first)
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), names: Vec::new() }
    }
}

impl<T: Ord + Clone> Names<T> {
    fn place(&mut self, name: &T) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.places.insert(name.clone(), place);
        self.names.push(name.clone());
        place
    }

    fn name(&self, place: u32) -> Option<&T> {
        self.names.get(place as usize)
    }
}

#[cfg(test)]
mod tests;
