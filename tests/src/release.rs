//! The release of a suite: the draft's bytes under another version, once they are known to be fit for it.
//!
//! A release of draft `1.0.0-draft` is `1.0.0`, or a candidate for it, `1.0.0-rc.1` and so on. Nothing but the version
//! changes, so whoever has both files sees with `diff` that nothing else did.

use smi_schemas::names::Version;
use smi_schemas::suite::{Suite, SuiteError};

use crate::shares;

/// Why a draft is not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// What is to be released is no suite.
    #[error("the draft {0}")]
    Suite(#[from] SuiteError),
    /// What is to be released is no draft.
    #[error("{0} is no draft")]
    NoDraft(Version),
    /// The version is none that this draft can be released as.
    #[error("{version} is no release of {draft}: that is {base}, or {base}-rc.1 and so on")]
    Version {
        /// The version asked for.
        version: Version,
        /// The draft's.
        draft: Version,
        /// What it is a draft of.
        base: String,
    },
    /// Share checks with other numbers than those derived.
    #[error("the numbers of these share checks are not the derived ones, which `shares` prints: {}", .0.join(", "))]
    Shares(Vec<String>),
    /// The version does not stand in the file once, as it must be replaced.
    #[error("the draft does not say {0:?} once, in a line of its own")]
    Line(String),
}

/// The bytes of the release of a draft.
pub fn release(draft: &[u8], version: &Version) -> Result<Vec<u8>, ReleaseError> {
    let (suite, _) = Suite::read(draft)?;
    let Some(base) = suite.version.as_str().strip_suffix("-draft") else {
        return Err(ReleaseError::NoDraft(suite.version));
    };
    if !is_release(version.as_str(), base) {
        let base = base.to_owned();
        return Err(ReleaseError::Version { version: version.clone(), draft: suite.version, base });
    }
    let sampled = shares::sampled(&suite);
    let differing = sampled.iter().filter(|(check, derived)| !check.has(derived));
    let differing: Vec<String> = differing.map(|(check, _)| check.assertion.id.to_string()).collect();
    if !differing.is_empty() {
        return Err(ReleaseError::Shares(differing));
    }
    let line = |version: &Version| format!("  \"version\": \"{version}\",\n");
    let (old, text) = (line(&suite.version), String::from_utf8_lossy(draft));
    if text.matches(&old).count() != 1 {
        return Err(ReleaseError::Line(old.trim().to_owned()));
    }
    Ok(text.replacen(&old, &line(version), 1).into_bytes())
}

/// Whether it is the version itself, or a candidate for it.
fn is_release(version: &str, base: &str) -> bool {
    let candidate = version.strip_prefix(base).and_then(|rest| rest.strip_prefix("-rc."));
    let is_number =
        |text: &str| !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    version == base || candidate.is_some_and(is_number)
}
