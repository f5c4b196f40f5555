//! A result as it is published, for programs that nobody here wrote.
//!
//! One folder holds whatever they need:
//!
//! | file | what it is |
//! |---|---|
//! | `origin` | the log's origin, a bare host name such as `log.example.org` |
//! | `log.vkey` `log.pub` | the log's key: as a signed-note verifier key, and as SPKI PEM |
//! | `vendor.pub` | the signer's key as SPKI PEM |
//! | `trusted_root.json` | a Sigstore TrustedRoot 0.1 whose one log has the `baseUrl` `https://<origin>` |
//! | `policy` | the C2SP tlog-policy: the log, its witnesses, the quorum |
//! | `checkpoint` | the log's checkpoint, with cosignatures that meet the policy |
//! | `result.sigstore.json` | the completed bundle, under this checkpoint |
//! | `result.tlog-proof` `result.leaf` | the receipt, under this checkpoint, and the entry's exact bytes |
//! | `result.payload` | the statement's bytes |
//! | `consistency.json` | `{"old":{"size":m,"root":base64},"new":{"size":n,"root":base64},"hashes":[base64…]}`: the proof that a smaller tree, 0 < m < n, is a prefix of this checkpoint's |
//! | `checkpoint.old` | the checkpoint of the smaller tree, as the log signed it |
//! | `url` | the base URL of the read API, plain HTTP on loopback: `URL/checkpoint`, `URL/tile/…` |
//!
//! A line break at the end of `origin`, `log.vkey` and `url` does no harm. The log has at least two entries, and
//! `URL/checkpoint` is the file `checkpoint`, byte for byte. With more than 256 entries, the programs see full tiles and
//! a second level.

use std::any::Any;
use std::path::{Path, PathBuf};

/// A folder of the files above, and the server behind its `url`.
pub struct Sample {
    /// The folder.
    pub folder: PathBuf,
    /// Serves the read API until it is dropped.
    pub serving: Box<dyn Any + Send + Sync>,
}

/// Publishes a result and writes the files into a folder that exists.
pub fn published(folder: &Path) -> Sample {
    unimplemented!("publish a result into {}", folder.display())
}
