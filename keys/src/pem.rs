//! Keys as text: the PEM that openssl reads and writes.
//!
//! - A public key is an X.509 `SubjectPublicKeyInfo` under the label `PUBLIC KEY` ([RFC 8410]): 12 fixed bytes and
//!   the key's 32. It has one form, down to the last line feed, and no other is read.
//! - A private key is PKCS#8 version 1: 16 fixed bytes and the seed's 32. It is encrypted with PBES2 (AES-256-CBC, its
//!   key derived from a passphrase with scrypt) under the label `ENCRYPTED PRIVATE KEY`, or in the clear under
//!   `PRIVATE KEY`. Version 2, which carries the public key too, is read; its two halves must belong together. PBES2 is
//!   read with AES and with PBKDF2 or scrypt of bearable cost; older ways of encryption are not read.
//!
//! Worked example, the key of the crate's example:
//!
//! ```
//! use smi_keys::pem::{self, KeyPem};
//! use smi_keys::{PublicKey, SigningKey};
//! use smi_schemas::Digest;
//!
//! let key = SigningKey::from_seed(*Digest::of(b"vendor").as_bytes());
//! let public = "-----BEGIN PUBLIC KEY-----\n\
//!               MCowBQYDK2VwAyEA4ur/P+n4MQTQ/3AQSaDUyPAFvFJHsnXxBPvcwo9aYTU=\n\
//!               -----END PUBLIC KEY-----\n";
//! assert_eq!(key.public().to_spki_pem(), public);
//! assert_eq!(PublicKey::from_spki_pem(public), Ok(key.public()));
//!
//! let private = "-----BEGIN PRIVATE KEY-----\n\
//!                MC4CAQAwBQYDK2VwBCIEIGMLoJRIr1IhVPOO92he8fRLDz6UMPgIKaA84k9ADzdU\n\
//!                -----END PRIVATE KEY-----\n";
//! assert_eq!(*pem::encode_plain(&key).unwrap(), private);
//! assert!(matches!(KeyPem::parse(private.as_bytes()), Ok(KeyPem::Private(read)) if read.public() == key.public()));
//! ```
//!
//! [RFC 8410]: https://www.rfc-editor.org/rfc/rfc8410

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, pem};
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Salt, ScryptParams};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use smi_schemas::codes::Code;
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::{NoRandomness, PublicKey, PublicKeyError, SigningKey};

/// Bytes of the largest key file that is read. An encrypted Ed25519 key needs about 400.
pub const MAX_KEY_FILE_BYTES: usize = 16 * 1024;

/// N of the scrypt that we encrypt with. With [`SCRYPT_R`] it takes 16 MiB; openssl refuses more than 32.
pub const SCRYPT_N: u64 = 1 << 14;

/// r of the scrypt that we encrypt with.
pub const SCRYPT_R: u16 = 8;

/// p of the scrypt that we encrypt with. At this N it makes guessing as dear as N = 2^17 with p = 1, by OWASP's table.
pub const SCRYPT_P: u16 = 5;

/// Bytes of memory beyond which scrypt is refused.
pub const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;

/// Passes over that memory beyond which scrypt is refused.
pub const MAX_SCRYPT_PASSES: u16 = 16;

/// Iterations beyond which PBKDF2 is refused.
pub const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SPKI_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const PKCS8_PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

const PUBLIC_BEGIN: &str = "-----BEGIN PUBLIC KEY-----\n";
const PUBLIC_END: &str = "\n-----END PUBLIC KEY-----\n";

/// A key as text has it.
#[derive(Debug)]
pub enum KeyPem {
    /// A public key.
    Public(PublicKey),
    /// A private key in the clear.
    Private(SigningKey),
    /// A private key that needs a passphrase.
    Encrypted(EncryptedKey),
}

/// A private key that needs a passphrase, well formed and of bearable cost.
#[derive(Debug)]
pub struct EncryptedKey(SecretDocument);

/// Why a text is not an Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// More bytes than [`MAX_KEY_FILE_BYTES`].
    #[error("more than {MAX_KEY_FILE_BYTES} bytes")]
    TooLarge,
    /// Not PEM.
    #[error("not PEM")]
    NotPem,
    /// The PEM of something else.
    #[error("PEM of {label:?}, which is none of {PUBLIC:?}, {PRIVATE:?} and {ENCRYPTED:?}")]
    Label {
        /// What it says it is.
        label: String,
    },
    /// Not an Ed25519 public key in the one form that is read.
    #[error("not an Ed25519 public key byte for byte as `openssl pkey -pubout` writes it")]
    NotSpki,
    /// Ed25519 by its form, but no key.
    #[error("{0}")]
    PublicKey(#[from] PublicKeyError),
    /// Not PKCS#8.
    #[error("not the DER of PKCS#8")]
    NotPkcs8,
    /// A private key for another algorithm.
    #[error("a private key for algorithm {oid}, where Ed25519 is {ED25519}")]
    Algorithm {
        /// The algorithm found.
        oid: String,
    },
    /// Ed25519 by its algorithm, but not a seed of 32 bytes.
    #[error("not an Ed25519 seed of 32 bytes")]
    Seed,
    /// A version 2 key whose two halves do not belong together.
    #[error("its public key is not that of its private key")]
    OtherPublic,
    /// Encrypted in a way that is not read.
    #[error("not encrypted with PBES2 of AES and PBKDF2 or scrypt")]
    Encryption,
    /// It asks for more work or memory than a passphrase needs, or for none.
    #[error("the cost of deriving a key from the passphrase is zero, malformed or beyond all need")]
    Cost,
}

impl FormatError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::PublicKey(PublicKeyError::Weak) => Code::KeyWeak,
            Self::Encryption | Self::Cost => Code::KeyFileEncryption,
            _ => Code::KeyFileFormat,
        }
    }
}

impl KeyPem {
    /// Reads a key's PEM. What is encrypted stays so.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_KEY_FILE_BYTES {
            return Err(FormatError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| FormatError::NotPem)?;
        let der = || SecretDocument::from_pem(text).map(|(_, der)| der).map_err(|_| FormatError::NotPem);
        match pem::decode_label(bytes).map_err(|_| FormatError::NotPem)? {
            PUBLIC => PublicKey::from_spki_pem(text).map(Self::Public),
            PRIVATE => decode_private(&der()?).map(Self::Private),
            ENCRYPTED => EncryptedKey::new(der()?).map(Self::Encrypted),
            label => Err(FormatError::Label { label: label.to_owned() }),
        }
    }
}

impl PublicKey {
    /// The key as PEM.
    pub fn to_spki_pem(&self) -> String {
        format!("{PUBLIC_BEGIN}{}{PUBLIC_END}", STANDARD.encode(self.to_spki_der()))
    }

    /// The key as the DER in that PEM.
    pub fn to_spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX, self.as_bytes()].concat()
    }

    /// Reads a key's PEM.
    pub fn from_spki_pem(text: &str) -> Result<Self, FormatError> {
        let base64 = text.strip_prefix(PUBLIC_BEGIN).and_then(|rest| rest.strip_suffix(PUBLIC_END));
        let der = base64.and_then(|base64| STANDARD.decode(base64).ok()).ok_or(FormatError::NotSpki)?;
        let bytes =
            der.strip_prefix(SPKI_PREFIX).and_then(|bytes| bytes.try_into().ok()).ok_or(FormatError::NotSpki)?;
        Ok(Self::from_bytes(bytes)?)
    }
}

/// Why an encrypted key was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The passphrase is another one.
    #[error("the passphrase does not open the key")]
    Passphrase,
    /// It opens, but what is inside is no Ed25519 key.
    #[error("{0}")]
    Format(#[from] FormatError),
}

impl EncryptedKey {
    fn new(der: SecretDocument) -> Result<Self, FormatError> {
        let info = EncryptedPrivateKeyInfoRef::from_der(der.as_bytes()).map_err(|_| FormatError::Encryption)?;
        let parameters = info.encryption_algorithm.pbes2().ok_or(FormatError::Encryption)?;
        if is_bearable(&parameters.kdf) { Ok(Self(der)) } else { Err(FormatError::Cost) }
    }

    /// Decrypts the key.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SigningKey, OpenError> {
        use pkcs8::pkcs5::Error::DecryptFailed;
        let info = EncryptedPrivateKeyInfoRef::from_der(self.0.as_bytes()).map_err(|_| FormatError::Encryption)?;
        // A wrong passphrase shows in the padding or, once in 256 times, in that what is inside is no DER.
        let der = info.decrypt(passphrase.as_bytes()).map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(DecryptFailed) | pkcs8::Error::Asn1(_) => OpenError::Passphrase,
            _ => OpenError::Format(FormatError::Encryption),
        })?;
        Ok(decode_private(&der)?)
    }
}

/// Why a private key was not encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There is no salt.
    #[error("a salt for the passphrase: {0}")]
    Randomness(#[from] NoRandomness),
    /// The library refused.
    #[error("encoding the private key: {0}")]
    Library(#[from] pkcs8::Error),
}

impl EncodeError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Randomness(_) => Code::NoRandomness,
            Self::Library(_) => Code::FileUnwritable,
        }
    }
}

/// A private key as PEM in the clear.
pub fn encode_plain(key: &SigningKey) -> Result<Zeroizing<String>, EncodeError> {
    let pem = pem::encode_string(PRIVATE, LineEnding::LF, &pkcs8_der(key)).map_err(pkcs8::Error::from)?;
    Ok(Zeroizing::new(pem))
}

/// A private key as PEM that needs a passphrase.
pub fn encode_encrypted(key: &SigningKey, passphrase: &Passphrase) -> Result<Zeroizing<String>, EncodeError> {
    let (salt, iv) = (crate::random::<16>()?, crate::random()?);
    let encrypt = || {
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new(salt)?,
            cost_parameter: SCRYPT_N,
            block_size: SCRYPT_R,
            parallelization: SCRYPT_P,
            key_length: None,
        });
        let parameters = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv } };
        let encrypted = parameters.encrypt(passphrase.as_bytes(), &pkcs8_der(key))?;
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: parameters.into(),
            encrypted_data: OctetStringRef::new(&encrypted)?,
        };
        pkcs8::Result::Ok(SecretDocument::try_from(&info)?.to_pem(ENCRYPTED, LineEnding::LF)?)
    };
    Ok(encrypt()?)
}

fn pkcs8_der(key: &SigningKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([PKCS8_PREFIX, key.seed()].concat())
}

fn decode_private(der: &SecretDocument) -> Result<SigningKey, FormatError> {
    let info = PrivateKeyInfoRef::from_der(der.as_bytes()).map_err(|_| FormatError::NotPkcs8)?;
    if info.algorithm.oid != ED25519 {
        return Err(FormatError::Algorithm { oid: info.algorithm.oid.to_string() });
    }
    // The seed is an OCTET STRING inside PKCS#8's OCTET STRING.
    let seed: Option<&[u8; 32]> =
        info.private_key.as_bytes().strip_prefix(b"\x04\x20").and_then(|seed| seed.try_into().ok());
    let (Some(seed), None) = (seed, info.algorithm.parameters) else {
        return Err(FormatError::Seed);
    };
    let key = SigningKey::from_seed(*seed);
    match info.public_key {
        Some(public) if public.as_bytes() != Some(key.public().as_bytes()) => Err(FormatError::OtherPublic),
        _ => Ok(key),
    }
}

/// A key file may ask for any cost, and the library would panic on some and exhaust the machine on others.
fn is_bearable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Scrypt(scrypt) => {
            let memory = scrypt.cost_parameter.checked_mul(128 * u64::from(scrypt.block_size));
            scrypt.cost_parameter > 1
                && scrypt.cost_parameter.is_power_of_two()
                && memory.is_some_and(|memory| (1..=MAX_SCRYPT_BYTES).contains(&memory))
                && (1..=MAX_SCRYPT_PASSES).contains(&scrypt.parallelization)
        }
        Kdf::Pbkdf2(pbkdf2) => (1..=MAX_PBKDF2_ITERATIONS).contains(&pbkdf2.iteration_count),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pkcs8::pkcs5::pbes2::Pbkdf2Params;
    use smi_schemas::Digest;

    fn vendor() -> SigningKey {
        SigningKey::from_seed(*Digest::of(b"vendor").as_bytes())
    }

    fn passphrase(text: impl Into<Vec<u8>>) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into()), "test").unwrap()
    }

    fn parse_der(label: &str, der: &[u8]) -> Result<KeyPem, FormatError> {
        KeyPem::parse(pem::encode_string(label, LineEnding::LF, der).unwrap().as_bytes())
    }

    /// A file that asks for this cost, with any bytes where the encrypted ones belong.
    fn asking_for(kdf: Kdf, encrypted: &[u8]) -> Result<KeyPem, FormatError> {
        let parameters = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv: [0; 16] } };
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: parameters.into(),
            encrypted_data: OctetStringRef::new(encrypted).unwrap(),
        };
        parse_der(ENCRYPTED, SecretDocument::try_from(&info).unwrap().as_bytes())
    }

    /// These bytes encrypted with `right`, at the least cost there is.
    fn cheaply_encrypted(der: &[u8]) -> EncryptedKey {
        let parameters = Parameters { kdf: pbkdf2(1), encryption: EncryptionScheme::Aes256Cbc { iv: [0; 16] } };
        match asking_for(pbkdf2(1), &parameters.encrypt("right", der).unwrap()) {
            Ok(KeyPem::Encrypted(key)) => key,
            other => panic!("{other:?}"),
        }
    }

    fn pbkdf2(iterations: u32) -> Kdf {
        Kdf::Pbkdf2(Pbkdf2Params { iteration_count: iterations, ..Pbkdf2Params::hmac_sha256(1, &[0; 16]).unwrap() })
    }

    fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Kdf {
        let salt = Salt::new([0; 16]).unwrap();
        Kdf::Scrypt(ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None })
    }

    #[test]
    fn every_truncated_public_key_is_refused() {
        let good = vendor().public().to_spki_pem();
        for len in 0..good.len() {
            assert!(KeyPem::parse(&good.as_bytes()[..len]).is_err(), "accepted {len} bytes");
        }
        assert!(KeyPem::parse(format!("{good}\n").as_bytes()).is_err());
        assert!(KeyPem::parse(format!("\n{good}").as_bytes()).is_err());
        assert!(KeyPem::parse(good.replace('\n', "\r\n").as_bytes()).is_err());
    }

    #[test]
    fn every_changed_public_key_is_refused_or_another() {
        let key = vendor().public();
        let good = key.to_spki_pem();
        for bit in 0..8 * good.len() {
            let mut bad = good.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            match KeyPem::parse(&bad) {
                Ok(KeyPem::Public(other)) => assert_ne!(other, key, "bit {bit} changed nothing"),
                Ok(other) => panic!("bit {bit} made it {other:?}"),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn every_truncated_private_key_is_refused() {
        let good = encode_plain(&vendor()).unwrap();
        let whole_but_for_its_line_feed = good.len() - 1;
        for len in 0..whole_but_for_its_line_feed {
            assert!(KeyPem::parse(&good.as_bytes()[..len]).is_err(), "accepted {len} bytes");
        }
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let text = encode_encrypted(&vendor(), &passphrase("right")).unwrap();
        let Ok(KeyPem::Encrypted(key)) = KeyPem::parse(text.as_bytes()) else { panic!("{}", *text) };
        assert_eq!(key.open(&passphrase("right")).unwrap().public(), vendor().public());
        assert_eq!(key.open(&passphrase("wrong")).unwrap_err(), OpenError::Passphrase);
        assert_ne!(text, encode_encrypted(&vendor(), &passphrase("right")).unwrap(), "the salt was used twice");
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_wrong_key() {
        let key = cheaply_encrypted(&pkcs8_der(&vendor()));
        assert!(key.open(&passphrase("right")).is_ok());
        // Some of so many leave a padding that is right by chance.
        for number in 0..2000 {
            assert_eq!(key.open(&passphrase(number.to_string())).unwrap_err(), OpenError::Passphrase, "{number}");
        }
        let other = cheaply_encrypted(b"\x30\x00").open(&passphrase("right"));
        assert_eq!(other.unwrap_err(), OpenError::Format(FormatError::NotPkcs8));
    }

    #[test]
    fn what_is_no_pem_is_refused() {
        for bytes in [&b""[..], b"key", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----", &[0; 64]] {
            assert_eq!(KeyPem::parse(bytes).unwrap_err(), FormatError::NotPem);
        }
        assert_eq!(KeyPem::parse(&b"-".repeat(MAX_KEY_FILE_BYTES + 1)).unwrap_err(), FormatError::TooLarge);
    }

    #[test]
    fn other_kinds_of_key_are_refused_by_name() {
        let refusal = parse_der("OPENSSH PRIVATE KEY", b"").unwrap_err();
        assert_eq!(refusal, FormatError::Label { label: "OPENSSH PRIVATE KEY".into() });
        let x25519 = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20", &[7; 32][..]].concat();
        assert_eq!(parse_der(PRIVATE, &x25519).unwrap_err(), FormatError::Algorithm { oid: "1.3.101.110".into() });
        assert_eq!(parse_der(PRIVATE, b"\x30\x00").unwrap_err(), FormatError::NotPkcs8);
        assert_eq!(parse_der(PUBLIC, &x25519).unwrap_err(), FormatError::NotSpki);
    }

    #[test]
    fn a_seed_has_32_bytes() {
        let short = b"\x30\x2d\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x21\x04\x1f";
        assert_eq!(parse_der(PRIVATE, &[short, &[7; 31][..]].concat()).unwrap_err(), FormatError::Seed);
    }

    #[test]
    fn a_weak_public_key_is_refused() {
        let weak = [SPKI_PREFIX, &[0; 32]].concat();
        let refusal = parse_der(PUBLIC, &weak).unwrap_err();
        assert_eq!((&refusal, refusal.code()), (&FormatError::PublicKey(PublicKeyError::Weak), Code::KeyWeak));
    }

    #[test]
    fn the_halves_of_a_version_2_key_belong_together() {
        let head = b"\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let of = |public: &PublicKey| [head, &vendor().seed()[..], b"\x81\x21\x00", public.as_bytes()].concat();
        let good = parse_der(PRIVATE, &of(&vendor().public()));
        assert!(matches!(good, Ok(KeyPem::Private(key)) if key.public() == vendor().public()));
        let other = SigningKey::from_seed([7; 32]).public();
        assert_eq!(parse_der(PRIVATE, &of(&other)).unwrap_err(), FormatError::OtherPublic);
    }

    #[test]
    fn unbearable_costs_are_refused_before_they_are_paid() {
        let refusal = |kdf| asking_for(kdf, &[0; 64]).err();
        assert_eq!(refusal(scrypt(SCRYPT_N, SCRYPT_R, SCRYPT_P)), None);
        assert_eq!(refusal(scrypt(MAX_SCRYPT_BYTES / 1024, 8, MAX_SCRYPT_PASSES)), None);
        assert_eq!(refusal(pbkdf2(MAX_PBKDF2_ITERATIONS)), None);
        for iterations in [0, MAX_PBKDF2_ITERATIONS + 1] {
            assert_eq!(refusal(pbkdf2(iterations)), Some(FormatError::Cost), "{iterations}");
        }
        let costs = [(0, 8, 1), (1, 8, 1), (3, 8, 1), (1 << 14, 0, 1), (1 << 14, 8, 0), (1 << 63, 8, 1)];
        let dear = [(MAX_SCRYPT_BYTES / 512, 8, 1), (1 << 14, 8, MAX_SCRYPT_PASSES + 1), (2, u16::MAX, u16::MAX)];
        for (n, r, p) in costs.into_iter().chain(dear) {
            assert_eq!(refusal(scrypt(n, r, p)), Some(FormatError::Cost), "N={n} r={r} p={p}");
        }
    }
}
