//! What readers are told of the log.
//!
//! Everything that the publisher's log holds is an [`Entry`], numbered from 0 without a hole: results, and what is said
//! of results, keys and suites. Readers get them in [`Page`]s. An entry says who signed, and in short what; the bundle
//! behind it is served by its payload's digest, for whoever does not want to take the publisher's word. It follows from
//! that bundle, its index and the keyring in force there, so that an auditor writes the same.
//!
//! ```
//! use smi_schemas::feed::{Entry, Says};
//!
//! let entry: Entry = serde_json::from_str(r#"{
//!   "index": 1,
//!   "payload": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
//!   "signer": "acme",
//!   "keyId": "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3c",
//!   "says": {"result": {
//!     "run": "000102030405060708090a0b0c0d0e0f",
//!     "mesh": "acme-mesh",
//!     "meshVersion": "1.2.3",
//!     "target": "kubernetes v1.34.9",
//!     "suite": "1.0.0",
//!     "finishedAt": "2026-01-02T08:05:00Z",
//!     "apis": [{"api": "split", "version": "v1alpha4", "capability": "full", "compliance": "compliant",
//!               "passed": 12, "failed": 0, "scored": 12}]
//!   }}
//! }"#).unwrap();
//! let Says::Result(result) = &entry.says else { panic!() };
//! assert_eq!(result.apis[0].to_string(), "split     v1alpha4   full        compliant          12       0  12");
//!
//! let entry: Entry = serde_json::from_str(r#"{
//!   "index": 2,
//!   "payload": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
//!   "signer": "jury",
//!   "keyId": "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3d",
//!   "says": {"review": {
//!     "result": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
//!     "verdict": "accept",
//!     "reason": "Reproduced on two clusters."
//!   }}
//! }"#).unwrap();
//! assert!(matches!(entry.says, Says::Review { .. }));
//! ```
//!
//! What a vendor claims not to support is told apart from what is absent, and tested all the same:
//!
//! ```
//! use smi_schemas::feed::ApiSummary;
//!
//! let summary: ApiSummary = serde_json::from_str(r#"{"api": "split", "version": "v1alpha4", "capability": "none",
//!     "compliance": "non-compliant", "passed": 2, "failed": 10, "scored": 12, "claimedUnsupported": true}"#).unwrap();
//! assert_eq!(summary.presence(), "claimed unsupported, served in v1alpha4");
//! assert!(summary.to_string().ends_with("  2      10  12  claimed unsupported, served in v1alpha4"));
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::names::{Reason, RunId, Slug, Version};
use crate::record::Verdict;
use crate::smi::{Api, ApiVersion};
use crate::statement::Versioned;
use crate::time::Timestamp;

/// An entry of the log, as readers are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 0.
    pub index: u64,
    /// What it is known by: the digest of its payload.
    pub payload: Digest,
    /// The signer's name in the keyring; of several, the first.
    pub signer: Slug,
    /// The signer's key.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub key_id: String,
    /// What it says.
    pub says: Says,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Says {
    /// What a mesh did.
    Result(Box<Tested>),
    /// A suite is released.
    Suite(Versioned),
    /// A keyring is in force from the next entry on.
    Keyring {
        /// Its version.
        version: u64,
        /// The digest of its file.
        digest: Digest,
    },
    /// A result that waits is published, or is not.
    Review {
        /// The result.
        result: Digest,
        /// Whether it is.
        verdict: Verdict,
        /// Why.
        reason: Reason,
    },
    /// A signer no longer stands by a result.
    Withdrawal {
        /// The result.
        result: Digest,
        /// Why.
        reason: Reason,
    },
    /// A signer no longer stands by a result, and names another of its own in its place.
    Supersession {
        /// The result.
        result: Digest,
        /// The one in its place.
        by: Digest,
        /// Why.
        reason: Reason,
    },
}

/// A result, as readers are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tested {
    /// The run.
    pub run: RunId,
    /// The mesh.
    pub mesh: Slug,
    /// The mesh's version as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_version: Option<Version>,
    /// Where the suite ran: `sandbox`, or `kubernetes` and its version.
    pub target: String,
    /// The suite's version.
    pub suite: Version,
    /// The signer's claim of when the run ended.
    pub finished_at: Timestamp,
    /// Results of this signer are published after review, by the keyring in force.
    #[serde(default, skip_serializing_if = "is_false")]
    pub after_review: bool,
    /// Capability and compliance of each API.
    pub apis: Vec<ApiSummary>,
}

/// Entries in order, from after the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Page {
    /// Entries in all at this time.
    pub size: u64,
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// Where the next page begins: ask for the entries after this index. None when this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// What is supported of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Capability {
    Full,
    Partial,
    None,
    Unknown,
}

/// Whether what is supported behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Compliance {
    Compliant,
    NonCompliant,
    Undecided,
}

/// One API in one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiSummary {
    /// The API.
    pub api: Api,
    /// The version tested; none when the API is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ApiVersion>,
    /// What is supported.
    pub capability: Capability,
    /// Whether it behaves.
    pub compliance: Compliance,
    /// Scored assertions that passed.
    pub passed: u32,
    /// Scored assertions that failed.
    pub failed: u32,
    /// Scored assertions that exist in this version.
    pub scored: u32,
    /// The vendor claims not to support it, and it is served. One that is not served is just absent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub claimed_unsupported: bool,
}

impl Capability {
    /// The word used in JSON, flags and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

impl Compliance {
    /// The word used in JSON, flags and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::NonCompliant => "non-compliant",
            Self::Undecided => "undecided",
        }
    }
}

impl ApiSummary {
    /// The heading of a table whose lines are [`ApiSummary`]s.
    pub const HEADER: &str = "api       version    capability  compliance     passed  failed  of";

    /// What is there of it, in words: a version, nothing, or a version in spite of what the vendor claims.
    pub fn presence(&self) -> String {
        match self.version {
            None => "absent".to_owned(),
            Some(version) if self.claimed_unsupported => {
                format!("claimed unsupported, served in {}", version.as_str())
            }
            Some(version) => version.as_str().to_owned(),
        }
    }
}

/// A line of a table.
impl fmt::Display for ApiSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.map_or("absent", ApiVersion::as_str);
        let Self { api, capability, compliance, passed, failed, scored, .. } = self;
        write!(f, "{api:<8}  {version:<9}  {capability:<10}  {compliance:<13}  {passed:>6}  {failed:>6}  {scored:>2}")?;
        if self.claimed_unsupported { write!(f, "  {}", self.presence()) } else { Ok(()) }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Compliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
