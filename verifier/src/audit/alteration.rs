//! What an audit finds: one variant for each way in which a log, or what is served of it, can be other than it must.

use smi_schemas::codes::Code;
use smi_schemas::{Digest, Timestamp};

use super::{Check, MAX_ENTRIES, Resource};
use crate::Finding;
use crate::merkle::Hash;
use crate::note::SignedCheckpoint;

/// Something that is not as the log says, or a log that is not as it was. Each names the place and what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alteration {
    /// What is served is not a checkpoint that the log's key signed.
    #[error("/checkpoint: {why}")]
    Checkpoint {
        /// Why not.
        why: String,
    },
    /// The log has shrunk.
    #[error(
        "the checkpoint is of {} entries, and one of {} entries was seen before",
        served.checkpoint().size(), seen.checkpoint().size()
    )]
    Rollback {
        /// The checkpoint seen before.
        seen: Box<SignedCheckpoint>,
        /// The one that is served, however often it is asked for.
        served: Box<SignedCheckpoint>,
    },
    /// More entries than a log can have.
    #[error("the checkpoint is of {} entries, and a log has {MAX_ENTRIES} at most", served.checkpoint().size())]
    TooLarge {
        /// The checkpoint that is served.
        served: Box<SignedCheckpoint>,
    },
    /// Two checkpoints that no one log can have.
    #[error(
        "at {} entries the root was {}, and the tree of {} entries that is signed now has {} there",
        seen.checkpoint().size(), seen.checkpoint().root().to_base64(), served.checkpoint().size(), found.to_base64()
    )]
    Fork {
        /// The checkpoint seen before.
        seen: Box<SignedCheckpoint>,
        /// The checkpoint that is served.
        served: Box<SignedCheckpoint>,
        /// The root that the served log has at the size seen before.
        found: Hash,
    },
    /// The entries have another root than was signed, and it does not show which of them was changed.
    #[error("the {size} entries have the root {}, and {} was signed", found.to_base64(), signed.to_base64())]
    Root {
        /// The size that was signed.
        size: u64,
        /// The root that was signed.
        signed: Hash,
        /// The root of what is served.
        found: Hash,
    },
    /// An entry is not the one that was signed.
    #[error("entry {index} hashes to {}, and {} was signed", found.to_base64(), signed.to_base64())]
    Entry {
        /// Its index.
        index: u64,
        /// The hash that the signed tree has there.
        signed: Hash,
        /// The hash of what is served.
        found: Hash,
    },
    /// A tile is malformed, or does not follow from the entries.
    #[error("{tile}: {why}")]
    Tile {
        /// The tile.
        tile: Resource,
        /// What is wrong with it, and where.
        why: String,
    },
    /// Something that must be served is not there.
    #[error("{what} is not there{}", index.map(|index| format!(", which entry {index} needs")).unwrap_or_default())]
    Missing {
        /// What was asked for.
        what: Resource,
        /// The entry that needs it, if it is one.
        index: Option<u64>,
    },
    /// The bundle that is served for an entry is another one.
    #[error("entry {index} is {payload}, and what is served for it is {why}")]
    Leaf {
        /// The entry's index.
        index: u64,
        /// The payload that the entry names.
        payload: Digest,
        /// What is served instead.
        why: String,
    },
    /// An entry must not be in the log.
    #[error("entry {index}, {payload}: {}", listed(grounds))]
    Refused {
        /// Its index.
        index: u64,
        /// What it is known by.
        payload: Digest,
        /// Why not, at least one ground.
        grounds: Vec<Finding>,
    },
    /// A bundle is in the log twice.
    #[error("entries {first} and {index} are both {payload}")]
    Repeated {
        /// The later index.
        index: u64,
        /// The earlier index.
        first: u64,
        /// What both are known by.
        payload: Digest,
    },
    /// The view that is served is not the fold.
    #[error("the view of {size} entries, {place}: {found}; the entries say: {expected}")]
    View {
        /// The size that the view states.
        size: u64,
        /// The row and cell, or whatever is different.
        place: String,
        /// What follows from the entries.
        expected: String,
        /// What is served.
        found: String,
    },
    /// The feed tells something else.
    #[error("the feed, {place}: {found}; the entries say: {expected}")]
    Feed {
        /// The entry or field.
        place: String,
        /// What follows from the entries.
        expected: String,
        /// What is served.
        found: String,
    },
    /// The keyring that is served is not the one in force.
    #[error("/v1/keyring.json is {found}, and in force is {expected}")]
    Keyring {
        /// The digest of the keyring in force.
        expected: Digest,
        /// The digest of what is served.
        found: Digest,
    },
    /// The keyrings of the log do not include the one that is trusted.
    #[error("keyring version {version} of {trusted} is trusted, and the log has {found}")]
    Untrusted {
        /// The version that is trusted.
        version: u64,
        /// The digest of the keyring that is trusted.
        trusted: Digest,
        /// What the log has instead.
        found: String,
    },
    /// Too few witnesses cosigned.
    #[error("the checkpoint of {size} entries: {why}")]
    Quorum {
        /// The checkpoint's size.
        size: u64,
        /// How many cosigned, and how many must.
        why: String,
    },
    /// The witnesses cosigned it too long ago.
    #[error("the checkpoint of {size} entries was the newest at {current_at}, and it is {now}")]
    Stale {
        /// The checkpoint's size.
        size: u64,
        /// When it was the log's newest at least, by the witnesses' clocks.
        current_at: Timestamp,
        /// When this round of the audit began.
        now: Timestamp,
    },
    /// A suite is not known here, so that an entry cannot be judged.
    #[error("entry {index}, {payload}: {detail}")]
    SuiteUnknown {
        /// The entry's index.
        index: u64,
        /// What it is known by.
        payload: Digest,
        /// Which suite.
        detail: String,
    },
}

impl Alteration {
    /// The code.
    pub fn code(&self) -> Code {
        match self {
            Self::Checkpoint { .. } => Code::AuditCheckpointInvalid,
            Self::Rollback { .. } => Code::AuditRollback,
            Self::TooLarge { .. } => Code::AuditTooLarge,
            Self::Fork { .. } => Code::AuditFork,
            Self::Root { .. } => Code::AuditRootDiffers,
            Self::Entry { .. } => Code::AuditEntryDiffers,
            Self::Tile { .. } => Code::AuditTileDiffers,
            Self::Missing { .. } => Code::AuditEntryMissing,
            Self::Leaf { .. } => Code::AuditLeafDiffers,
            Self::Refused { .. } => Code::AuditEntryRefused,
            Self::Repeated { .. } => Code::AuditEntryRepeated,
            Self::View { .. } => Code::AuditViewDiffers,
            Self::Feed { .. } => Code::AuditFeedDiffers,
            Self::Keyring { .. } => Code::AuditKeyringDiffers,
            Self::Untrusted { .. } => Code::AuditKeyringUntrusted,
            Self::Quorum { .. } => Code::AuditQuorumLost,
            Self::Stale { .. } => Code::AuditStale,
            Self::SuiteUnknown { .. } => Code::AuditSuiteUnknown,
        }
    }

    /// The check that it fails.
    pub fn check(&self) -> Check {
        match self {
            Self::Checkpoint { .. } | Self::TooLarge { .. } => Check::Checkpoint,
            Self::Rollback { .. } | Self::Fork { .. } => Check::Consistency,
            Self::Root { .. } | Self::Entry { .. } | Self::Tile { .. } => Check::Tree,
            Self::Missing { what, .. } => what.check(),
            Self::Leaf { .. } | Self::Refused { .. } | Self::Repeated { .. } | Self::SuiteUnknown { .. } => {
                Check::Entries
            }
            Self::View { .. } => Check::View,
            Self::Feed { .. } => Check::Feed,
            Self::Keyring { .. } | Self::Untrusted { .. } => Check::Keyring,
            Self::Quorum { .. } => Check::Quorum,
            Self::Stale { .. } => Check::Freshness,
        }
    }

    /// Whether it shows by itself that something was altered, so that asking again could not explain it away.
    pub fn is_proof(&self) -> bool {
        let explained = matches!(self, Self::Checkpoint { .. } | Self::Quorum { .. } | Self::Stale { .. });
        !explained && !matches!(self, Self::SuiteUnknown { .. })
    }

    /// The signed checkpoints that show it, as notes: of two that contradict each other, both, and else the one that was
    /// audited. None where nothing of the log is wrong, or nothing was signed.
    pub(super) fn evidence(&self, audited: Option<&SignedCheckpoint>) -> Vec<String> {
        let heads: Vec<&SignedCheckpoint> = match self {
            Self::Fork { seen, served, .. } | Self::Rollback { seen, served } => vec![seen, served],
            Self::TooLarge { served } => vec![served],
            Self::Checkpoint { .. } | Self::SuiteUnknown { .. } => Vec::new(),
            _ => audited.into_iter().collect(),
        };
        heads.into_iter().map(|head| String::from_utf8_lossy(&head.note().to_bytes()).into_owned()).collect()
    }
}

fn listed(grounds: &[Finding]) -> String {
    let ground = |finding: &Finding| format!("{} ({})", finding.code, finding.detail);
    grounds.iter().map(ground).collect::<Vec<_>>().join("; ")
}
