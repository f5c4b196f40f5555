//! Keys of SMI Conformance: signing, strict verification, key files and the keyring.
//!
//! Every signature is pure Ed25519 ([RFC 8032]) over a DSSE pre-authentication encoding. Three rules are stricter
//! than the RFC, so that a key and a signature have one form each and no two verifiers disagree:
//!
//! - A public key is 32 bytes that are the canonical encoding of a point which is not of small order. Signatures for
//!   a key of small order can be made without a private key. [`PublicKey`] cannot be built of anything else.
//! - Verification is strict: a scalar that is not reduced, or a commitment of small order, is refused. Signatures are
//!   verified one by one: the equation that checks many at once takes one for valid that strict verification refuses,
//!   if its commitment has a part of small order and its signer has tried a few times. To see that a commitment has
//!   none costs as much as verifying the signature.
//! - A key is named by its TUF key id: the SHA-256, as 64 lower-case hexadecimal digits, of the key's canonical JSON
//!   `{"keytype":"ed25519","keyval":{"public":"HEX"},"scheme":"ed25519"}`. It is the `keyid` of an envelope and the
//!   `hint` of a bundle; both are hints, the signature decides.
//!
//! Worked example, which securesystemslib also verifies: the key whose seed is the SHA-256 of `vendor` signs `{}`.
//!
//! ```
//! use smi_keys::SigningKey;
//! use smi_schemas::Digest;
//!
//! let key = SigningKey::from_seed(*Digest::of(b"vendor").as_bytes());
//! let public = key.public();
//! assert_eq!(public.to_hex(), "e2eaff3fe9f83104d0ff701049a0d4c8f005bc5247b275f104fbdcc28f5a6135");
//! assert_eq!(public.to_base64(), "4ur/P+n4MQTQ/3AQSaDUyPAFvFJHsnXxBPvcwo9aYTU=");
//! assert_eq!(public.key_id().to_string(), "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3c");
//!
//! let bundle = key.sign_statement(b"{}");
//! let signed = b"DSSEv1 28 application/vnd.in-toto+json 2 {}";
//! assert_eq!(bundle.signed_bytes(), signed);
//! assert!(public.verify(signed, &bundle.signature.sig));
//! assert!(!public.verify(b"DSSEv1 28 application/vnd.in-toto+json 2 []", &bundle.signature.sig));
//!
//! let text = String::from_utf8(bundle.to_bytes()).unwrap();
//! let signature = "ZOgb+Py6zknqWIyHCV8sUV6FvxKwscZuuYRu9ZYiCCvd2aqttWU235SlxIxc0uMJTCil5I0/kyt2Q438ewFUCg==";
//! assert!(text.contains(&format!(r#""sig":"{signature}","keyid":"{}""#, public.key_id())));
//! ```
//!
//! Beside it: [`keyring`], who may sign what; [`pem`], keys as text; [`key_file`], keys as files; [`passphrase`], what
//! private keys are encrypted with; [`files`], writing that a crash does not tear; [`vkey`], keys of signed notes; and
//! [`export`], the keyring in the words of other tools.
//!
//! [RFC 8032]: https://www.rfc-editor.org/rfc/rfc8032

pub mod export;
pub mod files;
pub mod key_file;
pub mod keyring;
pub mod passphrase;
pub mod pem;
pub mod vkey;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use smi_schemas::Digest;
use smi_schemas::bundle::{self, Bundle};
use smi_schemas::digest::{ParseDigestError, hex};
use zeroize::{Zeroize as _, Zeroizing};

/// A public key that signatures may be checked against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    point: VerifyingKey,
    id: KeyId,
}

/// Why 32 bytes are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not base64 in its one canonical form.
    #[error("the public key is not canonical base64")]
    Base64,
    /// More or fewer bytes than a key has.
    #[error("the public key has {len} bytes, not 32")]
    Length {
        /// Bytes given.
        len: usize,
    },
    /// Not the canonical encoding of a point on the curve.
    #[error("the public key is not the canonical encoding of a point on the curve")]
    Point,
    /// A point of small order.
    #[error("the public key is of small order")]
    Weak,
}

impl PublicKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError::Point)?;
        // The library decodes leniently (ZIP 215), and one point under two encodings would be two keys.
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(PublicKeyError::Point);
        }
        if key.is_weak() {
            return Err(PublicKeyError::Weak);
        }
        Ok(Self::of(key))
    }

    /// The key in canonical base64, as a keyring has it.
    pub fn from_base64(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = STANDARD.decode(text).map_err(|_| PublicKeyError::Base64)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|bytes: Vec<u8>| PublicKeyError::Length { len: bytes.len() })?;
        Self::from_bytes(&bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.point.as_bytes()
    }

    /// The 32 bytes in base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The 32 bytes in lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex(self.as_bytes())
    }

    /// The key's name.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` was made over `message` by this key, strictly.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.point.verify_strict(message, &signature).is_ok())
    }

    fn of(point: VerifyingKey) -> Self {
        let public = hex(point.as_bytes());
        let json = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
        Self { point, id: KeyId(Digest::of(json.as_bytes())) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_hex())
    }
}

/// The TUF key id of a public key.
///
/// ```
/// use smi_keys::KeyId;
///
/// let text = "57742b03f31d83cb250126d26311ba9e6f01f6d13b113aaaa2c86ff434944d3c";
/// assert_eq!(text.parse::<KeyId>().unwrap().to_string(), text);
/// assert!(text.to_uppercase().parse::<KeyId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Digest);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 64 lower-case hexadecimal digits")]
pub struct ParseKeyIdError;

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Digest::from_hex(text).map(Self).map_err(|ParseDigestError| ParseKeyIdError)
    }
}

impl TryFrom<String> for KeyId {
    type Error = ParseKeyIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.hex())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key. Its memory is wiped when it is dropped, and printing it shows the public half.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoRandomness(getrandom::Error);

impl SigningKey {
    /// A new key, from the operating system's randomness and nothing else.
    pub fn generate() -> Result<Self, NoRandomness> {
        let seed = Zeroizing::new(random()?);
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// The key of a seed, for vectors and for seeds kept elsewhere. Who knows the seed has the key.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&seed));
        seed.zeroize();
        key
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        // Never weak: a scalar is clamped to a multiple of 8 below 2^255, and the first that is also a multiple of the
        // group's prime order lies beyond.
        PublicKey::of(self.0.verifying_key())
    }

    /// Signs bytes. What is signed must say what it is for; statements are signed with [`Self::sign_statement`].
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Signs an in-toto statement's bytes.
    pub fn sign_statement(&self, payload: &[u8]) -> Bundle {
        let keyid = self.public().key_id().to_string();
        let mut bundle = Bundle::new(payload, bundle::Signature { keyid, sig: Vec::new() });
        bundle.signature.sig = self.sign(&bundle.signed_bytes()).to_vec();
        bundle
    }

    fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public())
    }
}

/// Bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::Verifier as _;

    fn vendor() -> SigningKey {
        SigningKey::from_seed(*Digest::of(b"vendor").as_bytes())
    }

    /// 2^255 - 19 + `excess`, little-endian: the non-canonical encodings of the small numbers.
    fn beyond_the_prime(excess: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + excess;
        bytes[31] = 0x7f;
        bytes
    }

    #[test]
    fn keys_of_small_order_are_weak() {
        let orders_1_2_4_8 = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ];
        for digits in orders_1_2_4_8 {
            let bytes = Digest::from_hex(digits).unwrap();
            assert_eq!(PublicKey::from_bytes(bytes.as_bytes()), Err(PublicKeyError::Weak), "{digits}");
        }
    }

    #[test]
    fn points_have_one_encoding() {
        let lenient: Vec<_> =
            (0..19).map(beyond_the_prime).filter(|bytes| VerifyingKey::from_bytes(bytes).is_ok()).collect();
        assert!(lenient.iter().any(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak())));
        for bytes in lenient {
            assert_eq!(PublicKey::from_bytes(&bytes), Err(PublicKeyError::Point), "{}", hex(&bytes));
        }
    }

    #[test]
    fn bytes_off_the_curve_are_no_key() {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert_eq!(PublicKey::from_bytes(&bytes), Err(PublicKeyError::Point));
    }

    #[test]
    fn every_changed_signature_is_refused() {
        let (key, message) = (vendor(), b"message");
        let good = key.sign(message);
        assert!(key.public().verify(message, &good));
        for bit in 0..8 * good.len() {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().verify(message, &bad), "accepted with bit {bit} changed");
        }
        for len in 0..good.len() {
            assert!(!key.public().verify(message, &good[..len]), "accepted {len} bytes");
        }
        assert!(!key.public().verify(message, &[&good[..], &[0]].concat()));
    }

    #[test]
    fn a_commitment_of_small_order_is_refused() {
        // Made with the private key for a commitment to the neutral element: the RFC accepts it.
        const SCALAR: &str = "ba81bdbc1c18a8acb26fa3324809ab52f639ad81252e4a3ca46d9b9bba38520e";
        let mut signature = [0; 64];
        signature[0] = 1;
        signature[32..].copy_from_slice(Digest::from_hex(SCALAR).unwrap().as_bytes());
        let key = vendor().public();
        assert!(key.point.verify(b"message", &Signature::from_bytes(&signature)).is_ok());
        assert!(!key.verify(b"message", &signature));
    }

    #[test]
    fn one_equation_for_many_signatures_would_admit_what_is_refused_here() {
        // Made with the private key for a commitment that is the sum of a proper one and a point of order 8. It is the
        // canonical encoding of a point that is not of small order, so that no look at the commitment alone finds it.
        const COMMITMENT: &str = "99e078d056763dca46099c11c8fce4f62ca39f82091a309e0de107a5405ab262";
        const SCALAR: &str = "b83917d67f459f5b328aeb70954d0690e8a55f1c6c663ba2797f77badf39dd03";
        let [commitment, scalar] = [COMMITMENT, SCALAR].map(|digits| *Digest::from_hex(digits).unwrap().as_bytes());
        assert!(PublicKey::from_bytes(&commitment).is_ok());
        let signature = Signature::from_components(commitment, scalar);
        let key = vendor().public();
        assert!(!key.verify(b"message", &signature.to_bytes()));
        assert!(ed25519_dalek::verify_batch(&[b"message"], &[signature], &[key.point]).is_ok());
    }

    #[test]
    fn a_scalar_that_is_not_reduced_is_refused() {
        // The order of the base point, little-endian; s + order verifies where reduction is not asked for.
        const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let order = Digest::from_hex(ORDER).unwrap();
        let (key, message) = (vendor(), b"message");
        let mut signature = key.sign(message);
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order.as_bytes()) {
            let sum = u16::from(*byte) + u16::from(*add) + carry;
            (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        assert!(!key.public().verify(message, &signature));
    }

    #[test]
    fn every_changed_base64_is_refused_or_another_key() {
        let key = vendor().public();
        let good = key.to_base64();
        assert_eq!(PublicKey::from_base64(&good), Ok(key));
        for len in 0..good.len() {
            assert!(PublicKey::from_base64(&good[..len]).is_err(), "accepted {len} characters");
        }
        for position in 0..good.len() {
            for other in (0_u8..128).filter(|byte| *byte != good.as_bytes()[position]) {
                let mut bad = good.clone().into_bytes();
                bad[position] = other;
                let bad = String::from_utf8(bad).unwrap();
                assert_ne!(PublicKey::from_base64(&bad), Ok(key), "{bad}");
            }
        }
        assert_eq!(PublicKey::from_base64("AQID"), Err(PublicKeyError::Length { len: 3 }));
    }

    #[test]
    fn generated_keys_differ_and_sign() {
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert!(one.public().verify(b"", &one.sign(b"")) && !two.public().verify(b"", &one.sign(b"")));
        assert_eq!(PublicKey::from_bytes(one.public().as_bytes()), Ok(one.public()));
    }

    #[test]
    fn a_printed_key_shows_its_public_half_only() {
        let printed = format!("{:?}", vendor());
        assert!(printed.contains(&vendor().public().to_hex()));
        assert!(!printed.contains(&hex(vendor().seed())));
        assert_eq!(printed.len(), "SigningKey(PublicKey())".len() + 64);
    }
}
