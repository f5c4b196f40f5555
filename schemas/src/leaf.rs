//! The leaf: what the log says of one signed statement.
//!
//! Its bytes are the body of a Rekor `dsse` entry, version 0.0.1, so that Sigstore's verifiers read it: JSON with sorted
//! keys and no white space, which names the envelope and the payload by SHA-256 and repeats every signature with the
//! public key that made it (base64 of its SPKI PEM text). The envelope's hash is that of its canonical JSON, again with
//! sorted keys and no white space ([`envelope_json`]); it is the one thing that is serialised to be hashed.
//!
//! A leaf follows from a bundle and the keys of its signers alone, so whoever has both computes the same bytes.
//!
//! ```
//! use smi_schemas::bundle::{Bundle, Signature};
//! use smi_schemas::leaf::{Leaf, envelope_json};
//! use smi_schemas::Digest;
//!
//! let bundle = Bundle::new(b"{}", Signature { keyid: "57742b03".into(), sig: vec![0; 3] });
//! let envelope = br#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"57742b03","sig":"AAAA"}]}"#;
//! assert_eq!(envelope_json(&bundle), envelope);
//!
//! let leaf = Leaf::of(&bundle, ["a PEM\n"]);
//! assert_eq!(
//!     String::from_utf8(leaf.to_bytes()).unwrap(),
//!     format!(
//!         r#"{{"apiVersion":"0.0.1","kind":"dsse","spec":{{"envelopeHash":{{"algorithm":"sha256","value":"{}"}},"payloadHash":{{"algorithm":"sha256","value":"{}"}},"signatures":[{{"signature":"AAAA","verifier":"YSBQRU0K"}}]}}}}"#,
//!         Digest::of(envelope).hex(),
//!         Digest::of(b"{}").hex(),
//!     )
//! );
//! assert_eq!(Leaf::read(&leaf.to_bytes()).unwrap(), leaf);
//! assert_eq!(leaf.payload(), bundle.payload_digest());
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, MAX_SIGNATURES};
use crate::digest::Digest;
use crate::json::{self, JsonError};

/// Bytes of the largest leaf, which has [`MAX_SIGNATURES`].
pub const MAX_LEAF_BYTES: usize = 4096;

/// A leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    envelope: Digest,
    payload: Digest,
    file: File,
}

impl Leaf {
    /// The leaf of a bundle. Each signature has its key, as SPKI PEM text, in the same order.
    pub fn of<'a>(bundle: &Bundle, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with_payload(bundle.payload_digest(), None, bundle, keys)
    }

    /// The same for whoever has the digest of the bundle's payload already, and perhaps [its text](Bundle::payload_text).
    pub fn with_payload<'a>(
        payload: Digest,
        text: Option<&[u8]>,
        bundle: &Bundle,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let envelope = Digest::of_parts(|sink| write_envelope(bundle, text, sink));
        let signature = |(signature, key): (&crate::bundle::Signature, &str)| FileSignature {
            signature: STANDARD.encode(&signature.sig),
            verifier: STANDARD.encode(key),
        };
        let hash = |digest: Digest| FileHash { algorithm: ALGORITHM.to_owned(), value: digest.hex() };
        let signatures = bundle.signatures().zip(keys).map(signature).collect();
        let spec = Spec { envelope_hash: hash(envelope), payload_hash: hash(payload), signatures };
        let file = File { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), spec };
        Self { envelope, payload, file }
    }

    /// Reads a leaf, in its one form.
    pub fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        let file: File = json::parse_exact(bytes, MAX_LEAF_BYTES)?;
        let shape = |message: &str| JsonError::Shape { message: message.to_owned() };
        let digest = |hash: &FileHash| {
            let digest = Digest::from_hex(&hash.value).ok().filter(|_| hash.algorithm == ALGORITHM);
            digest.ok_or_else(|| shape("a hash that is no SHA-256"))
        };
        let (envelope, payload) = (digest(&file.spec.envelope_hash)?, digest(&file.spec.payload_hash)?);
        let leaf = Self { envelope, payload, file };
        let File { api_version, kind, spec } = &leaf.file;
        if api_version != API_VERSION || kind != KIND || !(1..=MAX_SIGNATURES).contains(&spec.signatures.len()) {
            return Err(shape("no dsse entry of version 0.0.1 with as many signatures as may be"));
        }
        if leaf.to_bytes() == bytes { Ok(leaf) } else { Err(shape("written in another form than the specified one")) }
    }

    /// The leaf's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and lists of strings cannot fail to be written.
        serde_json::to_vec(&self.file).unwrap_or_default()
    }

    /// What the entry is known by: the digest of its payload.
    pub fn payload(&self) -> Digest {
        self.payload
    }

    /// The digest of the envelope's canonical JSON.
    pub fn envelope(&self) -> Digest {
        self.envelope
    }
}

/// An envelope's canonical JSON.
pub fn envelope_json(bundle: &Bundle) -> Vec<u8> {
    let mut json = Vec::new();
    write_envelope(bundle, None, &mut |part| json.extend_from_slice(part));
    json
}

/// Writes an envelope's canonical JSON in parts: the payload, which is nearly all of it, is in memory once.
fn write_envelope(bundle: &Bundle, text: Option<&[u8]>, sink: &mut dyn FnMut(&[u8])) {
    /// Bytes that are encoded at once: groups of three, so that there is no padding in between.
    const PART: usize = 3 * 1024;
    // A string cannot fail to be written.
    let quoted = |text: &str| serde_json::to_vec(text).unwrap_or_default();
    let mut encoded = [0; PART / 3 * 4];
    sink(br#"{"payload":""#);
    match text {
        Some(text) => sink(text),
        None => {
            for part in bundle.payload.chunks(PART) {
                // There is room for every part.
                let length = STANDARD.encode_slice(part, &mut encoded).unwrap_or_default();
                sink(&encoded[..length]);
            }
        }
    }
    sink(br#"","payloadType":"#);
    sink(&quoted(&bundle.payload_type));
    sink(br#","signatures":["#);
    for (number, signature) in bundle.signatures().enumerate() {
        sink(if number == 0 { br#"{"keyid":"# } else { br#",{"keyid":"# });
        sink(&quoted(&signature.keyid));
        sink(br#","sig":""#);
        sink(STANDARD.encode(&signature.sig).as_bytes());
        sink(br#""}"#);
    }
    sink(b"]}");
}

const API_VERSION: &str = "0.0.1";
const KIND: &str = "dsse";
const ALGORITHM: &str = "sha256";

/// The fields of all of these are in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    spec: Spec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    envelope_hash: FileHash,
    payload_hash: FileHash,
    signatures: Vec<FileSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHash {
    algorithm: String,
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    signature: String,
    verifier: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Signature;

    #[test]
    fn an_envelope_has_sorted_keys_and_no_white_space() {
        let signature = |keyid: &str| Signature { keyid: keyid.to_owned(), sig: vec![7; 64] };
        for length in [0, 1, 2, 3, 3071, 3072, 3073, 6144, 100_000] {
            let mut bundle = Bundle::new(&vec![b'a'; length], signature("one"));
            bundle.further = vec![signature("\"two\"\n"), signature("three")];
            let json = envelope_json(&bundle);
            // An object of serde_json has sorted keys.
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json, serde_json::to_vec(&value).unwrap());
            assert_eq!(STANDARD.decode(value["payload"].as_str().unwrap()).unwrap(), bundle.payload);
            assert_eq!(value["signatures"][1]["keyid"], "\"two\"\n");
            assert_eq!(value["signatures"].as_array().unwrap().len(), 3);
            assert_eq!(Leaf::of(&bundle, ["a"]).envelope(), Digest::of(&json));
            let bytes = bundle.to_bytes();
            let text = bundle.payload_text(&bytes).unwrap();
            assert_eq!(
                Leaf::with_payload(bundle.payload_digest(), Some(text), &bundle, ["a"]),
                Leaf::of(&bundle, ["a"])
            );
        }
    }
}
