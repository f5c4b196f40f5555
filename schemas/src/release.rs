//! The release of a suite, as an in-toto Statement v1.
//!
//! With it the programme says that a file is the suite of that version, for ever. Its one subject is the file, by its
//! name, `vVERSION.json`, and the SHA-256 of its bytes; its predicate has the version and the time of the release, by
//! the signer's clock. A draft has no release. It travels as a result does: a DSSE envelope in a [`crate::bundle`].
//!
//! The predicate type is a name, frozen for ever, and not an address. A reader that knows a `schemaVersion` refuses
//! fields it does not know.
//!
//! ```
//! use smi_schemas::release::Release;
//!
//! let text = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"v1.0.0.json","digest":{"sha256":"2222222222222222222222222222222222222222222222222222222222222222"}}],"predicateType":"https://smi-spec.io/conformance/suite/v1","predicate":{"schemaVersion":1,"version":"1.0.0","releasedAt":"2026-11-21T08:00:00Z"}}"#;
//! let release = Release::read(text).unwrap();
//! assert_eq!(release.suite().version.as_str(), "1.0.0");
//! assert_eq!(release.to_bytes(), text, "one statement, one byte form");
//!
//! let other = String::from_utf8_lossy(text).replace("v1.0.0.json", "suite.json");
//! assert!(Release::read(other.as_bytes()).is_err(), "the file is called by its version");
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::digest::Digest;
use crate::json;
use crate::names::Version;
use crate::statement::{DigestSet, Head, SCHEMA_VERSION, STATEMENT_TYPE, StatementError, Subject, Versioned};
use crate::suite::is_draft;
use crate::time::Timestamp;

/// The predicate type of a release. A name, frozen for ever.
pub const SUITE_TYPE: &str = "https://smi-spec.io/conformance/suite/v1";

/// The release of a suite that is no draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    suite: Versioned,
    released_at: Timestamp,
}

impl Release {
    /// The release of a suite, unless it is a draft.
    pub fn new(suite: Versioned, released_at: Timestamp) -> Result<Self, StatementError> {
        if is_draft(&suite.version) { Err(StatementError::Release) } else { Ok(Self { suite, released_at }) }
    }

    /// Reads a payload. Who signed it is not judged here.
    pub fn read(payload: &[u8]) -> Result<Self, StatementError> {
        Head::expect(payload, SUITE_TYPE)?;
        let File { subject, predicate, .. } = json::parse_exact(payload, MAX_BUNDLE_BYTES)?;
        let Predicate { version, released_at, .. } = predicate;
        let [Subject { name, digest }] = &subject[..] else { return Err(StatementError::Release) };
        let digest = Digest::from_hex(&digest.sha256).map_err(|_| StatementError::Release)?;
        if *name == file_name(&version) {
            Self::new(Versioned { version, digest }, released_at)
        } else {
            Err(StatementError::Release)
        }
    }

    /// The statement's bytes. The same release always has the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { suite: Versioned { version, digest }, released_at } = self;
        let file = File {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: file_name(version), digest: DigestSet { sha256: digest.hex() } }],
            predicate_type: SUITE_TYPE.to_owned(),
            predicate: Predicate {
                schema_version: SCHEMA_VERSION,
                version: version.clone(),
                released_at: *released_at,
            },
        };
        // Every key is a string and every number an integer, so writing cannot fail.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// The suite, by version and digest.
    pub fn suite(&self) -> &Versioned {
        &self.suite
    }

    /// The signer's clock when it was released.
    pub fn released_at(&self) -> Timestamp {
        self.released_at
    }
}

/// An in-toto statement about a suite, as it is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Release")]
pub(crate) struct File {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    statement_type: String,
    /// The suite's file, by the name that its version gives it.
    #[schemars(length(min = 1, max = 1))]
    subject: Vec<Subject>,
    /// [`SUITE_TYPE`].
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// What is said of it.
    predicate: Predicate,
}

/// What is said of a released suite.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Predicate {
    /// The version of this shape, which is 1.
    schema_version: u32,
    /// The suite's version, which is no draft's.
    version: Version,
    /// The signer's clock when it was released.
    released_at: Timestamp,
}

/// The name of a suite's file.
fn file_name(version: &Version) -> String {
    format!("v{version}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Result<Release, StatementError> {
        let suite = Versioned { version: version.parse().unwrap(), digest: Digest::of(b"suite") };
        Release::new(suite, "2026-11-21T08:00:00Z".parse().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let release = release("1.0.0-rc.1").unwrap();
        assert_eq!(Release::read(&release.to_bytes()), Ok(release));
    }

    #[test]
    fn a_draft_has_no_release() {
        assert_eq!(release("1.0.0-draft"), Err(StatementError::Release));
        let text = String::from_utf8(release("1.0.0").unwrap().to_bytes()).unwrap();
        assert_eq!(Release::read(text.replace("1.0.0", "1.0.0-draft").as_bytes()), Err(StatementError::Release));
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
            assert!(Release::read(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} as {to}");
        }
    }
}
