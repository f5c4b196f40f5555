//! What an audit asks a publisher for: where it is, and how large it may be.

use std::fmt;

use smi_keys::keyring::MAX_KEYRING_BYTES;
use smi_schemas::Digest;
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::leaf::MAX_LEAF_BYTES;

use super::Check;
use crate::merkle::TILE_WIDTH;
use crate::note::MAX_NOTE_BYTES;
use crate::tile::{MAX_HASH_TILE_BYTES, TileKind, TilePath};

/// Bytes of the largest view: a row for every mesh, version and suite, and each result that waits.
pub const MAX_VIEW_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of the largest page of the feed.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of the largest tile of entries: two of them give the length of each.
const MAX_LEAF_TILE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_LEAF_BYTES);

/// Something that a publisher serves. Its text is the path of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The newest checkpoint.
    Checkpoint,
    /// The fold of all entries.
    View,
    /// The keyring in force.
    Keyring,
    /// The entries after an index, or from the first.
    Feed {
        /// The index.
        after: Option<u64>,
    },
    /// A tile of the log.
    Tile(TilePath),
    /// A bundle by its payload.
    Bundle(Digest),
}

impl Resource {
    /// Bytes at most; what has more is not read.
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Checkpoint => MAX_NOTE_BYTES,
            Self::View => MAX_VIEW_BYTES,
            Self::Keyring => MAX_KEYRING_BYTES,
            Self::Feed { .. } => MAX_PAGE_BYTES,
            Self::Tile(path) => match path.kind() {
                TileKind::Entries => MAX_LEAF_TILE_BYTES,
                TileKind::Hashes { .. } => MAX_HASH_TILE_BYTES,
            },
            Self::Bundle(_) => MAX_BUNDLE_BYTES,
        }
    }

    /// The check that it is needed for.
    pub fn check(self) -> Check {
        match self {
            Self::Checkpoint => Check::Checkpoint,
            Self::View => Check::View,
            Self::Keyring => Check::Keyring,
            Self::Feed { .. } => Check::Feed,
            Self::Tile(_) => Check::Tree,
            Self::Bundle(_) => Check::Entries,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("/checkpoint"),
            Self::View => f.write_str("/v1/view.json"),
            Self::Keyring => f.write_str("/v1/keyring.json"),
            Self::Feed { after: None } => f.write_str("/v1/feed"),
            Self::Feed { after: Some(after) } => write!(f, "/v1/feed?after={after}"),
            Self::Tile(path) => write!(f, "/tile/{path}"),
            Self::Bundle(payload) => write!(f, "/v1/bundles/{payload}"),
        }
    }
}
