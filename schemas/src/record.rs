//! Records: everything that the programme says beside results, as in-toto Statements v1.
//!
//! A record is about one thing, its one subject, by name and SHA-256, and travels as a result does: a DSSE envelope in a
//! [`crate::bundle`]. Each kind has a predicate type of its own, a name that is frozen for ever and no address:
//!
//! | record           | `https://smi-spec.io/conformance/…` | signed by | subject | says |
//! |------------------|------------------|---------------------|--------------------|------|
//! | [`Release`]      | `suite/v1`       | a `suite` key       | `vVERSION.json`    | this file is the suite of that version, for ever |
//! | [`KeyringChange`]| `keyring/v1`     | its `root` keys     | `keyring.vN.json`  | from the next entry on this keyring is in force |
//! | [`Review`]       | `review/v1`      | a `reviewer` key    | `result`           | a result that waits is published, or is not |
//! | [`Withdrawal`]   | `withdrawal/v1`  | the result's key    | `result`           | the signer no longer stands by a result |
//! | [`Supersession`] | `supersession/v1`| the result's key    | `result`           | the same, and names another result in its place |
//!
//! A result is named by the digest of its payload. Times are their signer's claim. A reader that knows a
//! `schemaVersion` refuses fields it does not know.
//!
//! ```
//! use smi_schemas::record::{Record, Release, Review, Verdict};
//!
//! let text = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"v1.0.0.json","digest":{"sha256":"2222222222222222222222222222222222222222222222222222222222222222"}}],"predicateType":"https://smi-spec.io/conformance/suite/v1","predicate":{"schemaVersion":1,"version":"1.0.0","releasedAt":"2026-11-21T08:00:00Z"}}"#;
//! let release = Record::<Release>::read(text).unwrap();
//! assert_eq!(release.says.version.as_str(), "1.0.0");
//! assert_eq!(release.to_bytes(), text, "one statement, one byte form");
//!
//! let other = String::from_utf8_lossy(text).replace("v1.0.0.json", "suite.json");
//! assert!(Record::<Release>::read(other.as_bytes()).is_err(), "the file is called by its version");
//!
//! let text = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"result","digest":{"sha256":"2222222222222222222222222222222222222222222222222222222222222222"}}],"predicateType":"https://smi-spec.io/conformance/review/v1","predicate":{"schemaVersion":1,"verdict":"reject","reason":"The images named are no release.","reviewedAt":"2026-11-21T08:00:00Z"}}"#;
//! assert_eq!(Record::<Review>::read(text).unwrap().says.verdict, Verdict::Reject);
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json;
use crate::names::{Reason, Version};
use crate::statement::{DigestSet, Head, SCHEMA_VERSION, STATEMENT_TYPE, StatementError, Subject, Versioned};
use crate::suite::is_draft;
use crate::time::Timestamp;

/// The predicate type of a suite's release.
pub const SUITE_TYPE: &str = "https://smi-spec.io/conformance/suite/v1";
/// The predicate type of a change of the keyring.
pub const KEYRING_TYPE: &str = "https://smi-spec.io/conformance/keyring/v1";
/// The predicate type of a review.
pub const REVIEW_TYPE: &str = "https://smi-spec.io/conformance/review/v1";
/// The predicate type of a withdrawal.
pub const WITHDRAWAL_TYPE: &str = "https://smi-spec.io/conformance/withdrawal/v1";
/// The predicate type of a supersession.
pub const SUPERSESSION_TYPE: &str = "https://smi-spec.io/conformance/supersession/v1";

/// Something that is said of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<P> {
    /// What it is said of.
    pub subject: Digest,
    /// What is said.
    pub says: P,
}

/// What a kind of record says.
pub trait Predicate: Serialize + DeserializeOwned {
    /// Its predicate type.
    const TYPE: &'static str;

    /// What the subject is called.
    fn subject_name(&self) -> String;

    /// The field that contradicts the rest, if one does.
    fn flaw(&self, subject: &Digest) -> Option<&'static str>;
}

impl<P: Predicate> Record<P> {
    /// Something said of a subject.
    pub fn new(subject: Digest, says: P) -> Result<Self, StatementError> {
        match says.flaw(&subject) {
            Some(field) => Err(StatementError::Form { field }),
            None => Ok(Self { subject, says }),
        }
    }

    /// Reads a payload. Who signed it is not judged here.
    pub fn read(payload: &[u8]) -> Result<Self, StatementError> {
        Head::expect(payload, P::TYPE)?;
        let File { subject, predicate, .. } = json::exact::<File<P>>(payload)?;
        let [Subject { name, digest }] = &subject[..] else { return Err(StatementError::Subjects) };
        let digest = Digest::from_hex(&digest.sha256).map_err(|_| StatementError::Subjects)?;
        if *name != predicate.subject_name() {
            return Err(StatementError::Subjects);
        }
        Self::new(digest, predicate)
    }

    /// The statement's bytes. The same record always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let name = self.says.subject_name();
        let file = File {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name, digest: DigestSet { sha256: self.subject.hex() } }],
            predicate_type: P::TYPE.to_owned(),
            predicate: &self.says,
        };
        // Every key is a string and every number an integer, so writing cannot fail.
        serde_json::to_vec(&file).unwrap_or_default()
    }
}

/// An in-toto statement, as it is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "{P}Record")]
pub(crate) struct File<P> {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    statement_type: String,
    /// What it is said of.
    #[schemars(length(min = 1, max = 1))]
    subject: Vec<Subject>,
    /// The kind of record.
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// What is said.
    predicate: P,
}

/// A file is the suite of a version, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    schema_version: u32,
    /// The suite's version, which is no draft's.
    pub version: Version,
    /// The signer's clock when it was released.
    pub released_at: Timestamp,
}

/// A keyring is in force from the next entry of the log on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyringChange {
    schema_version: u32,
    /// The keyring's version.
    pub version: u64,
    /// The digest of the keyring before it; none for the first of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The keyring's file, in base64: its bytes are what the subject is the digest of.
    keyring: String,
    /// The signer's clock when it was written.
    pub changed_at: Timestamp,
}

/// Whether a result that waits is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Review {
    schema_version: u32,
    /// Whether it is.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The signer's clock when it was reviewed.
    pub reviewed_at: Timestamp,
}

/// What a reviewer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Verdict {
    Accept,
    Reject,
}

/// A signer no longer stands by a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Withdrawal {
    schema_version: u32,
    /// Why.
    pub reason: Reason,
    /// The signer's clock when it was withdrawn.
    pub withdrawn_at: Timestamp,
}

/// A signer no longer stands by a result, and names another of its own in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Supersession {
    schema_version: u32,
    /// The result that is named in its place.
    pub by: Digest,
    /// Why.
    pub reason: Reason,
    /// The signer's clock when it was superseded.
    pub superseded_at: Timestamp,
}

impl Release {
    /// The release of a suite, unless it is a draft.
    pub fn of(suite: Versioned, released_at: Timestamp) -> Result<Record<Self>, StatementError> {
        let Versioned { version, digest } = suite;
        Record::new(digest, Self { schema_version: SCHEMA_VERSION, version, released_at })
    }
}

impl KeyringChange {
    /// The change to a keyring's file from the one before it.
    pub fn of(
        version: u64,
        keyring: &[u8],
        previous: Option<Digest>,
        changed_at: Timestamp,
    ) -> Result<Record<Self>, StatementError> {
        let file = STANDARD.encode(keyring);
        let says = Self { schema_version: SCHEMA_VERSION, version, previous, keyring: file, changed_at };
        Record::new(Digest::of(keyring), says)
    }

    /// The bytes of the keyring's file.
    pub fn keyring(&self) -> Vec<u8> {
        // `flaw` has seen that it is base64.
        STANDARD.decode(&self.keyring).unwrap_or_default()
    }
}

impl Review {
    /// A review of a result.
    pub fn of(result: Digest, verdict: Verdict, reason: Reason, reviewed_at: Timestamp) -> Record<Self> {
        Record { subject: result, says: Self { schema_version: SCHEMA_VERSION, verdict, reason, reviewed_at } }
    }
}

impl Withdrawal {
    /// The withdrawal of a result.
    pub fn of(result: Digest, reason: Reason, withdrawn_at: Timestamp) -> Record<Self> {
        Record { subject: result, says: Self { schema_version: SCHEMA_VERSION, reason, withdrawn_at } }
    }
}

impl Supersession {
    /// The supersession of a result by another.
    pub fn of(
        result: Digest,
        by: Digest,
        reason: Reason,
        superseded_at: Timestamp,
    ) -> Result<Record<Self>, StatementError> {
        Record::new(result, Self { schema_version: SCHEMA_VERSION, by, reason, superseded_at })
    }
}

impl Verdict {
    /// The word used in JSON, flags and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

/// The name of a result as a subject.
const RESULT: &str = "result";

impl Predicate for Release {
    const TYPE: &'static str = SUITE_TYPE;

    fn subject_name(&self) -> String {
        format!("v{}.json", self.version)
    }

    fn flaw(&self, _: &Digest) -> Option<&'static str> {
        is_draft(&self.version).then_some("version")
    }
}

impl Predicate for KeyringChange {
    const TYPE: &'static str = KEYRING_TYPE;

    fn subject_name(&self) -> String {
        format!("keyring.v{}.json", self.version)
    }

    fn flaw(&self, subject: &Digest) -> Option<&'static str> {
        let keyring = STANDARD.decode(&self.keyring).ok();
        keyring.is_none_or(|keyring| Digest::of(&keyring) != *subject).then_some("keyring")
    }
}

impl Predicate for Review {
    const TYPE: &'static str = REVIEW_TYPE;

    fn subject_name(&self) -> String {
        RESULT.to_owned()
    }

    fn flaw(&self, _: &Digest) -> Option<&'static str> {
        None
    }
}

impl Predicate for Withdrawal {
    const TYPE: &'static str = WITHDRAWAL_TYPE;

    fn subject_name(&self) -> String {
        RESULT.to_owned()
    }

    fn flaw(&self, _: &Digest) -> Option<&'static str> {
        None
    }
}

impl Predicate for Supersession {
    const TYPE: &'static str = SUPERSESSION_TYPE;

    fn subject_name(&self) -> String {
        RESULT.to_owned()
    }

    fn flaw(&self, subject: &Digest) -> Option<&'static str> {
        (self.by == *subject).then_some("by")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Result<Record<Release>, StatementError> {
        let suite = Versioned { version: version.parse().unwrap(), digest: Digest::of(b"suite") };
        Release::of(suite, at())
    }

    fn at() -> Timestamp {
        "2026-11-21T08:00:00Z".parse().unwrap()
    }

    fn reads_back<P: Predicate + Clone + PartialEq + std::fmt::Debug>(record: &Record<P>) {
        assert_eq!(Record::read(&record.to_bytes()).as_ref(), Ok(record));
    }

    #[test]
    fn what_is_written_is_read() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let reason: Reason = "Measured on a debug build.".parse().unwrap();
        reads_back(&release("1.0.0-rc.1").unwrap());
        reads_back(&KeyringChange::of(2, b"{}", Some(one), at()).unwrap());
        reads_back(&Review::of(one, Verdict::Accept, reason.clone(), at()));
        reads_back(&Withdrawal::of(one, reason.clone(), at()));
        reads_back(&Supersession::of(one, two, reason.clone(), at()).unwrap());
        assert_eq!(Supersession::of(one, one, reason, at()), Err(StatementError::Form { field: "by" }));
    }

    #[test]
    fn a_draft_has_no_release() {
        assert_eq!(release("1.0.0-draft"), Err(StatementError::Form { field: "version" }));
        let text = String::from_utf8(release("1.0.0").unwrap().to_bytes()).unwrap();
        assert!(Record::<Release>::read(text.replace("1.0.0", "1.0.0-draft").as_bytes()).is_err());
    }

    #[test]
    fn a_keyring_is_the_one_that_the_subject_names() {
        let text = String::from_utf8(KeyringChange::of(1, b"{}", None, at()).unwrap().to_bytes()).unwrap();
        for (from, to) in [("e30=", "e31="), ("e30=", "e30"), (r#""version":1,"#, r#""version":2,"#)] {
            assert!(text.contains(from), "{from}");
            assert!(Record::<KeyringChange>::read(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} as {to}");
        }
    }

    #[test]
    fn another_form_is_no_release() {
        let text = String::from_utf8(release("1.0.0").unwrap().to_bytes()).unwrap();
        let digest = Digest::of(b"suite").hex();
        let subject = format!(r#"{{"name":"v1.0.0.json","digest":{{"sha256":"{digest}"}}}}"#);
        let doubled = format!("{subject},{subject}");
        for (from, to) in [
            (r#""version":"1.0.0""#, r#""version":"1.0.1""#),
            ("v1.0.0.json", "1.0.0.json"),
            (&digest[..], &digest[1..]),
            (&digest[..], &digest.to_uppercase()),
            (&subject[..], ""),
            (&subject[..], &doubled[..]),
            ("08:00:00Z", "08:00:00.5Z"),
            ("08:00:00Z", "08:00:00+00:00"),
            (r#""schemaVersion":1"#, r#""schemaVersion":2"#),
            (r#""schemaVersion":1"#, r#""schemaVersion":1,"note":"""#),
            ("Statement/v1", "Statement/v2"),
            ("conformance/suite/v1", "conformance/result/v1"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Record::<Release>::read(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} as {to}");
        }
    }
}
