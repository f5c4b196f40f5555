//! The keyring's log and witnesses in the words of other tools.
//!
//! - [`tlog_policy`] writes a [trust policy]: the log's vkey, each witness's, and how many must have cosigned.
//!   Whatever reads such policies checks checkpoints and proofs of the log with it.
//! - [`trusted_root`] writes a Sigstore [`TrustedRoot`], version 0.1, which says under which key the entries of bundles
//!   are logged. Its log id is the whole hash of the log's key, as in a bundle's log entry.
//!
//! Both are of keys that are not revoked, and there is neither without a log key. Who may sign what is logged, only the
//! keyring says.
//!
//! Worked example, a log whose one witness must have cosigned, and one that nobody witnesses:
//!
//! ```
//! use smi_keys::SigningKey;
//! use smi_keys::export::{tlog_policy, trusted_root};
//! use smi_keys::keyring::{Entry, Keyring, Role};
//! use smi_schemas::Digest;
//!
//! let key = |seed: &[u8]| SigningKey::from_seed(*Digest::of(seed).as_bytes()).public();
//! let mut keyring = Keyring::default();
//! let note_name = "results.example.org".parse().ok();
//! keyring.add(Entry { note_name, ..Entry::new("log".parse().unwrap(), Role::Log, key(b"log")) }).unwrap();
//! let alone = "log results.example.org+fa2c8b44+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx\n\
//!              quorum none\n";
//! assert_eq!(tlog_policy(&keyring, None).unwrap(), alone);
//!
//! let (note_name, url) = ("witness.example.org/w1".parse().ok(), "https://witness.example.org".parse().ok());
//! let witness = Entry::new("w1".parse().unwrap(), Role::Witness, key(b"wit"));
//! keyring.add(Entry { note_name, url, ..witness }).unwrap();
//! keyring.set(None, Some(1)).unwrap();
//! let witnessed = "log results.example.org+fa2c8b44+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx \
//!                  https://results.example.org\n\
//!                  witness w1 witness.example.org/w1+718e134e+BHun0VNAaOinILs4fYx9M8U2nh2Uos9enWj6iwn0agfE \
//!                  https://witness.example.org\n\
//!                  group quorum-group 1 w1\n\
//!                  quorum quorum-group\n";
//! assert_eq!(tlog_policy(&keyring, "https://results.example.org".parse().ok().as_ref()).unwrap(), witnessed);
//!
//! let root: serde_json::Value = serde_json::from_str(&trusted_root(&keyring).unwrap()).unwrap();
//! let log = &root["tlogs"][0];
//! assert_eq!(log["baseUrl"], "https://results.example.org");
//! assert_eq!(log["logId"]["keyId"], "+iyLRAO/525EEac5ABFEQeohtwr+PQ12HUfj6GyQopc=");
//! assert!(tlog_policy(&Keyring::default(), None).is_err() && trusted_root(&Keyring::default()).is_err());
//! ```
//!
//! [trust policy]: https://c2sp.org/tlog-policy
//! [`TrustedRoot`]: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use smi_schemas::codes::Code;
use smi_schemas::names::Url;

use crate::keyring::{Entry, Keyring};

/// The media type of the trusted root that is written: the version that most verifiers read.
pub const TRUSTED_ROOT_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

/// What the group of witnesses is called in a policy whose quorum it is. No witness has this name.
pub(crate) const GROUP: &str = "quorum-group";

/// What a policy calls the quorum that needs no witness. No witness has this name.
pub(crate) const NO_QUORUM: &str = "none";

/// From when on the log's key counts. The keyring judges by the order of entries and not by clocks, so: always.
const VALID_FROM: &str = "1970-01-01T00:00:00Z";

/// The keyring has no log key that is not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of role log that is not revoked")]
pub struct NoLog;

impl NoLog {
    /// The code for this error.
    pub fn code(self) -> Code {
        Code::LogKeyMissing
    }
}

/// The trust policy, a line for each thing it says; perhaps with the address at which the log is read.
pub fn tlog_policy(keyring: &Keyring, log_url: Option<&Url>) -> Result<String, NoLog> {
    let log = keyring.log().and_then(Entry::vkey).ok_or(NoLog)?;
    let mut text = format!("log {log}");
    let and_url = |text: &mut String, url: Option<&Url>| {
        if let Some(url) = url {
            *text += " ";
            *text += url.as_str();
        }
        text.push('\n');
    };
    and_url(&mut text, log_url);
    for witness in keyring.witnesses() {
        // Every witness has a note name, and so a vkey.
        let _ = write!(text, "witness {} {}", witness.name, witness.vkey().unwrap_or_default());
        and_url(&mut text, witness.url.as_ref());
    }
    let quorum = keyring.quorum().map_or(NO_QUORUM, |quorum| {
        let names: Vec<_> = keyring.witnesses().map(|witness| witness.name.as_str()).collect();
        let _ = writeln!(text, "group {GROUP} {quorum} {}", names.join(" "));
        GROUP
    });
    let _ = writeln!(text, "quorum {quorum}");
    Ok(text)
}

/// The trusted root, as JSON.
pub fn trusted_root(keyring: &Keyring) -> Result<String, NoLog> {
    let log = keyring.log().ok_or(NoLog)?;
    let (origin, hash) = log.note_name.as_ref().zip(log.key_hash()).ok_or(NoLog)?;
    let id = json!({ "keyId": STANDARD.encode(hash) });
    let root = json!({
        "mediaType": TRUSTED_ROOT_TYPE,
        "tlogs": [{
            "baseUrl": format!("https://{origin}"),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(log.public_key.to_spki_der()),
                "keyDetails": "PKIX_ED25519",
                "validFor": { "start": VALID_FROM },
            },
            "logId": id,
            "checkpointKeyId": id,
        }],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    });
    Ok(format!("{root:#}\n"))
}
