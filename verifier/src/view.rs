//! The view: what pages and feeds show, as a fold over all entries.
//!
//! It is pure and deterministic, and its JSON is canonical: whoever has the entries computes the same bytes. It is a
//! list of rows, one for each mesh, version of the mesh and version of the suite, and in each row a cell for every API
//! and version of it that was tested.
//!
//! A cell shows the *current* result: the one whose run ended last, by its signer's claim. An older run that is
//! accepted later never replaces a newer one; of two that ended at the same second the later entry counts. Results of
//! distinct signers are counted by signer, each with its own current one, and where these differ the cell says so:
//! disagreement is shown, never averaged.
//!
//! ```
//! use smi_schemas::feed::{Capability, Entry};
//! use smi_verifier::view::View;
//!
//! let entry = |index: u64, signer: &str, finished: &str, capability: &str| -> Entry {
//!     serde_json::from_value(serde_json::json!({
//!         "index": index, "payload": format!("sha256:{index:064}"), "acceptedAt": "2026-01-02T09:00:00Z",
//!         "signer": signer, "keyId": format!("{:064}", signer.len()), "keyring": 1, "mesh": "m", "meshVersion": "1",
//!         "target": "kubernetes v1", "suite": "1.0.0", "finishedAt": finished,
//!         "apis": [{"api": "split", "version": "v1alpha4", "capability": capability, "compliance": "undecided",
//!                   "passed": 1, "failed": 0, "scored": 2}]
//!     })).unwrap()
//! };
//! let mut view = View::default();
//! view.add(&entry(0, "acme", "2026-01-02T08:00:00Z", "full"));
//! view.add(&entry(1, "acme", "2026-01-01T08:00:00Z", "none")); // an older run, accepted later
//! view.add(&entry(2, "other", "2026-01-01T09:00:00Z", "partial"));
//! let cell = &view.rows()[0].cells[0];
//! assert_eq!((cell.index, cell.summary.capability, cell.signers, cell.disagreement), (0, Capability::Full, 2, true));
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_schemas::Digest;
use smi_schemas::Timestamp;
use smi_schemas::feed::{ApiSummary, Entry};
use smi_schemas::names::{Slug, Version};
use smi_schemas::smi::{Api, ApiVersion};

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// The fold of all entries.
#[derive(Clone, Debug, Default)]
pub struct View {
    size: u64,
    rows: BTreeMap<RowKey, Cells>,
}

/// Mesh, its version, and the suite's.
type RowKey = (Slug, Option<Version>, Version);

/// For each API and version, the current result of each signer, by key.
type Cells = BTreeMap<(Api, Option<ApiVersion>), BTreeMap<String, Current>>;

/// One signer's current result.
#[derive(Clone, Debug)]
struct Current {
    index: u64,
    payload: Digest,
    signer: Slug,
    target: String,
    finished_at: Timestamp,
    summary: ApiSummary,
}

/// The view as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Entries that were folded.
    pub size: u64,
    /// Rows, by mesh, version and suite.
    pub rows: Vec<Row>,
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
    /// The current result.
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
    /// Signers with a result for this cell.
    pub signers: u32,
    /// Whether the current results of these signers differ in capability or compliance.
    pub disagreement: bool,
}

impl View {
    /// Folds the next entry in.
    pub fn add(&mut self, entry: &Entry) {
        self.size = self.size.max(entry.index.saturating_add(1));
        let row = (entry.mesh.clone(), entry.mesh_version.clone(), entry.suite.clone());
        let cells = self.rows.entry(row).or_default();
        for summary in &entry.apis {
            let signers = cells.entry((summary.api, summary.version)).or_default();
            let newer = Current {
                index: entry.index,
                payload: entry.payload,
                signer: entry.signer.clone(),
                target: entry.target.clone(),
                finished_at: entry.finished_at,
                summary: *summary,
            };
            let current = signers.get(&entry.key_id);
            if current.is_none_or(|current| current.order() < newer.order()) {
                signers.insert(entry.key_id.clone(), newer);
            }
        }
    }

    /// Entries that were folded.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The rows, by mesh, version and suite.
    pub fn rows(&self) -> Vec<Row> {
        let row = |((mesh, mesh_version, suite), cells): (&RowKey, &Cells)| Row {
            mesh: mesh.clone(),
            mesh_version: mesh_version.clone(),
            suite: suite.clone(),
            cells: cells.values().filter_map(cell).collect(),
        };
        let mut rows: Vec<Row> = self.rows.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let by_mesh_version = match (&a.mesh_version, &b.mesh_version) {
                (Some(a), Some(b)) => a.natural_cmp(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            a.mesh.cmp(&b.mesh).then(by_mesh_version).then_with(|| a.suite.natural_cmp(&b.suite))
        });
        rows
    }

    /// The view as a document, whose JSON has one form.
    pub fn document(&self) -> Document {
        Document { schema_version: SCHEMA_VERSION, size: self.size, rows: self.rows() }
    }
}

impl Current {
    fn order(&self) -> (Timestamp, u64) {
        (self.finished_at, self.index)
    }
}

fn cell(signers: &BTreeMap<String, Current>) -> Option<Cell> {
    let current = signers.values().max_by_key(|current| current.order())?;
    let says = |current: &Current| (current.summary.capability, current.summary.compliance);
    Some(Cell {
        summary: current.summary,
        index: current.index,
        payload: current.payload,
        signer: current.signer.clone(),
        target: current.target.clone(),
        finished_at: current.finished_at,
        signers: u32::try_from(signers.len()).unwrap_or(u32::MAX),
        disagreement: signers.values().any(|other| says(other) != says(current)),
    })
}
