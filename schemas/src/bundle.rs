//! A bundle: the signed statement as a file.
//!
//! The statement's bytes are signed as a [DSSE] v1 envelope with pure Ed25519, and the envelope travels as a
//! [Sigstore bundle] v0.3 with a public-key hint. The signed bytes are the *pre-authentication encoding* of the
//! payload's type and bytes ([`pae`]); nothing is ever serialised again to be verified. A bundle holds one signature:
//! its `keyid` is the TUF key id of the signer and equals the bundle's hint. Both are hints; the signature decides.
//!
//! A bundle may carry a publisher's log entries and timestamps beside the envelope; they are not signed by the vendor
//! and, like every field that is not named here, are not part of the result. A result's identity is the digest of its
//! payload.
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

/// Bytes of a bundle, log entry and all.
pub const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

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
    /// The one signature.
    pub signature: Signature,
}

/// A signature over the pre-authentication encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key is said to have signed.
    pub keyid: String,
    /// The signature's bytes.
    pub sig: Vec<u8>,
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
    /// Not exactly one signature.
    #[error("{count} signatures where a bundle has exactly one")]
    Signatures {
        /// Signatures found.
        count: usize,
    },
    /// The two hints name different keys.
    #[error("publicKey.hint and the signature's keyid differ")]
    Hint,
}

impl Bundle {
    /// An in-toto statement and its signature.
    pub fn new(payload: &[u8], signature: Signature) -> Self {
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload: payload.to_owned(), signature }
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
        let [signature] =
            <[FileSignature; 1]>::try_from(envelope.signatures).map_err(|_| BundleError::Signatures { count })?;
        if file.verification_material.public_key.hint != signature.keyid {
            return Err(BundleError::Hint);
        }
        let decode = |text: &str, field| STANDARD.decode(text).map_err(|_| BundleError::Base64 { field });
        Ok(Self {
            payload_type: envelope.payload_type,
            payload: decode(&envelope.payload, "payload")?,
            signature: Signature { keyid: signature.keyid, sig: decode(&signature.sig, "sig")? },
        })
    }

    /// The bundle's bytes. The same bundle always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material { public_key: PublicKey { hint: self.signature.keyid.clone() } },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(&self.payload),
                payload_type: self.payload_type.clone(),
                signatures: vec![FileSignature {
                    sig: STANDARD.encode(&self.signature.sig),
                    keyid: self.signature.keyid.clone(),
                }],
            },
        };
        // Strings and lists of strings cannot fail to be written.
        serde_json::to_vec(&file).unwrap_or_default()
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
    [document, material, &material["publicKey"], envelope].into_iter().chain(signatures).all(|part| !part.is_array())
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
