//! A bundle: the signed statement as a file.
//!
//! The statement's bytes are signed as a [DSSE] v1 envelope with pure Ed25519, and the envelope travels as a
//! [Sigstore bundle] v0.3 with a public-key hint. The signed bytes are the *pre-authentication encoding* of the
//! payload's type and bytes ([`pae`]); nothing is ever serialised again to be verified. The `keyid` of the first
//! signature is the TUF key id of the signer and equals the bundle's hint. Both are hints; the signature decides. A
//! Sigstore bundle has one signature, and so has everything that is signed by one; only a keyring, which several sign
//! together, has more, up to [`MAX_SIGNATURES`].
//!
//! What a payload says is known by the digest of the payload. A bundle that came back from a publisher is *completed*:
//! beside the envelope it carries its [`LogEntry`], the proof that it is in the log, in the form of a Sigstore
//! transparency-log entry. That, like every field that is not named here, is not signed by the vendor.
//!
//! ```
//! use smi_schemas::bundle::{Bundle, Signature, pae};
//!
//! assert_eq!(pae("application/vnd.in-toto+json", b"{}"), b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
//!
//! let bundle = Bundle::new(b"{}", Signature { keyid: "57742b03".into(), sig: vec![0; 64] });
//! let bytes = bundle.to_bytes();
//! assert!(bytes.starts_with(br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":"#));
//! assert_eq!(Bundle::read(&bytes).unwrap(), bundle);
//! ```
//!
//! [DSSE]: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
//! [Sigstore bundle]: https://docs.sigstore.dev/about/bundle/

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::json::{self, JsonError};

/// The integrated time of every entry.
const UNTIMED: &str = "0";

/// Bytes of a bundle, log entry and all.
pub const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// Signatures of one envelope.
pub const MAX_SIGNATURES: usize = 12;

/// Hashes of the longest inclusion proof.
pub const MAX_PROOF_HASHES: usize = 63;

/// The media type of the bundle format that is written and read.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The payload type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An envelope taken apart: bytes as they were signed, nothing verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The type that is signed together with the payload.
    pub payload_type: String,
    /// The statement's bytes.
    pub payload: Vec<u8>,
    /// The signature, or the first of several.
    pub signature: Signature,
    /// The signatures after the first.
    pub further: Vec<Signature>,
    /// Where it is in a log, as somebody says.
    pub log_entry: Option<LogEntry>,
}

/// A signature over the pre-authentication encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key is said to have signed.
    pub keyid: String,
    /// The signature's bytes.
    pub sig: Vec<u8>,
}

/// The place of a bundle in a log, with the proof of it; nothing of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// The hash that names the log's key.
    pub log_id: [u8; 32],
    /// The root that the proof is said to lead to. The checkpoint decides.
    pub root: [u8; 32],
    /// The size of the tree. The checkpoint decides.
    pub size: u64,
    /// The hashes from the leaf to the root.
    pub hashes: Vec<[u8; 32]>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
    /// The leaf's bytes.
    pub body: Vec<u8>,
}

/// Why bytes are not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not the JSON of a bundle.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// Another format or another version of it.
    #[error("mediaType is {found:?}, not {MEDIA_TYPE:?}")]
    MediaType {
        /// The media type found.
        found: String,
    },
    /// Not base64 in its one canonical form.
    #[error("{field} is not canonical base64")]
    Base64 {
        /// The field.
        field: &'static str,
    },
    /// No signature, or too many.
    #[error("{count} signatures, where a bundle has one to {MAX_SIGNATURES}")]
    Signatures {
        /// Signatures found.
        count: usize,
    },
    /// The two hints name different keys.
    #[error("publicKey.hint and the signature's keyid differ")]
    Hint,
    /// Something in the place of a log entry that is none.
    #[error("tlogEntries: {why}")]
    LogEntry {
        /// Why not.
        why: &'static str,
    },
}

impl Bundle {
    /// An in-toto statement and its signature.
    pub fn new(payload: &[u8], signature: Signature) -> Self {
        let (further, log_entry) = (Vec::new(), None);
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload: payload.to_owned(), signature, further, log_entry }
    }

    /// Takes a bundle's bytes apart.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        let document: Value = json::parse(bytes, MAX_BUNDLE_BYTES)?;
        if !is_made_of_objects(&document) {
            let message = "a list stands where an object belongs".to_owned();
            return Err(BundleError::Json(JsonError::Shape { message }));
        }
        let file: File = serde_json::from_value(document)
            .map_err(|error| BundleError::Json(JsonError::Shape { message: error.to_string() }))?;
        if file.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType { found: file.media_type });
        }
        let envelope = file.dsse_envelope;
        let count = envelope.signatures.len();
        if !(1..=MAX_SIGNATURES).contains(&count) {
            return Err(BundleError::Signatures { count });
        }
        let decoded =
            |file: FileSignature| Ok::<_, BundleError>(Signature { keyid: file.keyid, sig: decode(&file.sig, "sig")? });
        let mut signatures = envelope.signatures.into_iter().map(decoded).collect::<Result<Vec<_>, _>>()?.into_iter();
        let signature = signatures.next().ok_or(BundleError::Signatures { count })?;
        if file.verification_material.public_key.hint != signature.keyid {
            return Err(BundleError::Hint);
        }
        Ok(Self {
            payload_type: envelope.payload_type,
            payload: decode(&envelope.payload, "payload")?,
            signature,
            further: signatures.collect(),
            log_entry: log_entry(file.verification_material.tlog_entries)?,
        })
    }

    /// The bundle's bytes. The same bundle always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signature = |signature: &Signature| FileSignature {
            sig: STANDARD.encode(&signature.sig),
            keyid: signature.keyid.clone(),
        };
        let file = File {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material {
                public_key: PublicKey { hint: self.signature.keyid.clone() },
                tlog_entries: self.log_entry.iter().map(FileLogEntry::from).collect(),
            },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(&self.payload),
                payload_type: self.payload_type.clone(),
                signatures: self.signatures().map(signature).collect(),
            },
        };
        // Strings and lists of strings cannot fail to be written.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// The payload in base64, as it stands among the bytes that this bundle was read from, if these are the bytes that
    /// [`Self::to_bytes`] writes. The payload, which is nearly all of them, is not even read again to find out: what was
    /// decoded strictly is encoded in one way, and the text of it has more characters if any of them is escaped.
    ///
    /// ```
    /// # use smi_schemas::bundle::{Bundle, Signature};
    /// let bundle = Bundle::new(&[255; 3], Signature { keyid: "57742b03".into(), sig: vec![0; 64] });
    /// let text = String::from_utf8(bundle.to_bytes()).unwrap();
    /// assert_eq!(bundle.payload_text(text.as_bytes()), Some(&b"////"[..]));
    /// for other in [text.replace("////", r"\/\/\/\/"), text.replace(':', ": ")] {
    ///     assert_eq!(Bundle::read(other.as_bytes()).unwrap(), bundle);
    ///     assert_eq!(bundle.payload_text(other.as_bytes()), None);
    /// }
    /// ```
    pub fn payload_text<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Self { payload_type, signature, further, log_entry, .. } = self;
        let (payload_type, signature) = (payload_type.clone(), signature.clone());
        let (further, log_entry) = (further.clone(), log_entry.clone());
        let around = Self { payload_type, payload: Vec::new(), signature, further, log_entry }.to_bytes();
        let name = br#""payload":""#;
        let at = around.windows(name.len()).position(|window| window == name)?;
        let (before, after) = around.split_at(at + name.len());
        let text = bytes.strip_prefix(before)?.strip_suffix(after)?;
        (text.len() == self.payload.len().div_ceil(3) * 4).then_some(text)
    }

    /// What completes a bundle, from its bytes as [`Self::to_bytes`] wrote them before: text, and the place among the
    /// bytes where it belongs. Nothing is read again. Nothing for bytes that are not so written.
    ///
    /// ```
    /// # use smi_schemas::bundle::{Bundle, LogEntry, Signature};
    /// # let (root, checkpoint) = ([0; 32], String::new());
    /// # let entry = LogEntry { index: 3, log_id: root, root, size: 7, hashes: vec![], checkpoint, body: vec![] };
    /// let mut bundle = Bundle::new(b"{}", Signature { keyid: "57742b03".into(), sig: vec![0; 64] });
    /// let written = bundle.to_bytes();
    /// let (place, text) = Bundle::completion(&written, &entry).unwrap();
    /// bundle.log_entry = Some(entry);
    /// assert_eq!([&written[..place], &text, &written[place..]].concat(), bundle.to_bytes());
    /// ```
    pub fn completion(written: &[u8], entry: &LogEntry) -> Option<(usize, Vec<u8>)> {
        let opening = format!(r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{"hint":""#);
        let rest = written.strip_prefix(opening.as_bytes())?;
        let hint = rest.iter().position(|byte| *byte == b'"').filter(|end| !rest[..*end].contains(&b'\\'))?;
        let place = opening.len() + hint + br#""}"#.len();
        let (before, after) = written.split_at(place);
        if !before.ends_with(br#""}"#) || !after.starts_with(br#"},"dsseEnvelope":"#) {
            return None;
        }
        let mut text = br#","tlogEntries":"#.to_vec();
        serde_json::to_writer(&mut text, &[FileLogEntry::from(entry)]).ok()?;
        Some((place, text))
    }

    /// Every signature.
    pub fn signatures(&self) -> impl Iterator<Item = &Signature> {
        std::iter::once(&self.signature).chain(&self.further)
    }

    /// The bundle as it was before a publisher completed it.
    #[must_use]
    pub fn into_bare(self) -> Self {
        Self { log_entry: None, ..self }
    }

    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }

    /// The result's identity.
    pub fn payload_digest(&self) -> Digest {
        Digest::of(&self.payload)
    }
}

fn decode(text: &str, field: &'static str) -> Result<Vec<u8>, BundleError> {
    STANDARD.decode(text).map_err(|_| BundleError::Base64 { field })
}

/// One entry at most, of the one kind that is known here.
fn log_entry(entries: Vec<FileLogEntry>) -> Result<Option<LogEntry>, BundleError> {
    let malformed = |why| BundleError::LogEntry { why };
    let mut entries = entries.into_iter();
    let Some(entry) = entries.next() else { return Ok(None) };
    if entries.next().is_some() {
        return Err(malformed("more than one entry"));
    }
    let FileLogEntry { log_index, log_id, kind_version, integrated_time, inclusion_proof, canonicalized_body } = entry;
    if kind_version != KindVersion::default() {
        return Err(malformed("an entry of another kind than dsse 0.0.1"));
    }
    let number = |text: &str| {
        let parsed: Option<u64> = text.parse().ok();
        parsed.filter(|number| number.to_string() == text).ok_or_else(|| malformed("a number is not one"))
    };
    let hash =
        |text: &str, field| <[u8; 32]>::try_from(decode(text, field)?).map_err(|_| malformed("a hash is not 32 bytes"));
    if integrated_time != UNTIMED || inclusion_proof.log_index != log_index {
        return Err(malformed("a time, or two indexes"));
    }
    if inclusion_proof.hashes.len() > MAX_PROOF_HASHES {
        return Err(malformed("a proof that is longer than any"));
    }
    Ok(Some(LogEntry {
        index: number(&log_index)?,
        log_id: hash(&log_id.key_id, "logId.keyId")?,
        root: hash(&inclusion_proof.root_hash, "rootHash")?,
        size: number(&inclusion_proof.tree_size)?,
        hashes: inclusion_proof.hashes.iter().map(|text| hash(text, "hashes")).collect::<Result<_, _>>()?,
        checkpoint: inclusion_proof.checkpoint.envelope,
        body: decode(&canonicalized_body, "canonicalizedBody")?,
    }))
}

impl From<&LogEntry> for FileLogEntry {
    fn from(entry: &LogEntry) -> Self {
        Self {
            log_index: entry.index.to_string(),
            log_id: LogId { key_id: STANDARD.encode(entry.log_id) },
            kind_version: KindVersion::default(),
            integrated_time: UNTIMED.to_owned(),
            inclusion_proof: InclusionProof {
                log_index: entry.index.to_string(),
                root_hash: STANDARD.encode(entry.root),
                tree_size: entry.size.to_string(),
                hashes: entry.hashes.iter().map(|hash| STANDARD.encode(hash)).collect(),
                checkpoint: FileCheckpoint { envelope: entry.checkpoint.clone() },
            },
            canonicalized_body: STANDARD.encode(&entry.body),
        }
    }
}

/// DSSE's pre-authentication encoding, version 1.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// serde also reads an object's fields from a list; a bundle has one form.
fn is_made_of_objects(document: &Value) -> bool {
    let material = &document["verificationMaterial"];
    let envelope = &document["dsseEnvelope"];
    let signatures = envelope["signatures"].as_array().into_iter().flatten();
    let entries = material["tlogEntries"].as_array().into_iter().flatten();
    let of_entries = entries.flat_map(|entry| {
        let proof = &entry["inclusionProof"];
        [entry, &entry["logId"], &entry["kindVersion"], proof, &proof["checkpoint"]]
    });
    let parts = [document, material, &material["publicKey"], envelope].into_iter().chain(signatures).chain(of_entries);
    parts.into_iter().all(|part| !part.is_array())
}

/// The bundle's JSON. Fields that are not named here are read over.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Bundle")]
pub(crate) struct File {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: PublicKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<FileLogEntry>,
}

/// A Sigstore transparency-log entry. Its numbers are strings.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FileLogEntry {
    log_index: String,
    log_id: LogId,
    kind_version: KindVersion,
    /// Always 0: no time but a witness's is proven.
    integrated_time: String,
    inclusion_proof: InclusionProof,
    /// The leaf.
    canonicalized_body: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(PartialEq, Serialize, Deserialize, JsonSchema)]
struct KindVersion {
    kind: String,
    version: String,
}

impl Default for KindVersion {
    fn default() -> Self {
        Self { kind: "dsse".to_owned(), version: "0.0.1".to_owned() }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InclusionProof {
    log_index: String,
    root_hash: String,
    tree_size: String,
    hashes: Vec<String>,
    checkpoint: FileCheckpoint,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Checkpoint")]
struct FileCheckpoint {
    envelope: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct PublicKey {
    hint: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct FileSignature {
    sig: String,
    keyid: String,
}
