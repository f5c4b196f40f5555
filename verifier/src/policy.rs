//! What a verifier accepts.

use std::fmt;
use std::str::FromStr;

use smi_keys::keyring::Keyring;
use smi_schemas::Digest;
use smi_schemas::feed::{ApiSummary, Capability, Compliance};
use smi_schemas::names::Version;
use smi_schemas::smi::Api;
use smi_schemas::suite::{Suite, SuiteError, carried};

/// How far a signer's clock may run ahead of the verifier's.
pub const MAX_CLOCK_SKEW_SECONDS: i64 = 600;

/// What is trusted and what is demanded.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who may sign what.
    pub keyring: Keyring,
    /// The suites that are known.
    pub suites: Suites,
    /// Admits results of the sandbox.
    pub allow_sandbox: bool,
    /// Admits draft suites.
    pub allow_draft: bool,
    /// Demands what a publisher demands: an official, complete run of the whole suite as it stands.
    pub publication: bool,
    /// What is made of a receipt.
    pub receipts: Receipts,
    /// The greatest age of a result, by its signer's clock, and of its receipt's tree, by the witnesses'.
    pub max_age_seconds: Option<i64>,
}

impl Policy {
    /// What a log admits that is no demonstration.
    pub fn of_log(keyring: Keyring, suites: Suites) -> Self {
        Self {
            keyring,
            suites,
            allow_sandbox: false,
            allow_draft: false,
            publication: true,
            receipts: Receipts::Ignore,
            max_age_seconds: None,
        }
    }
}

/// What is made of the log entry in a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    /// Nothing.
    Ignore,
    /// It is checked where there is one.
    #[default]
    Read,
    /// A bundle without one is refused.
    Require,
}

/// Suites by version and digest.
#[derive(Clone, Debug, Default)]
pub struct Suites(Vec<(Suite, Digest)>);

impl Suites {
    /// The suites that this build carries.
    pub fn builtin() -> Result<Self, SuiteError> {
        let mut suites = Self::default();
        for suite in carried() {
            suites.add(suite.bytes)?;
        }
        Ok(suites)
    }

    /// Adds a suite by the bytes of its file.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), SuiteError> {
        self.0.push(Suite::read(bytes)?);
        Ok(())
    }

    /// The suites of a version, which differ in their bytes.
    pub fn versions<'a>(&'a self, version: &'a Version) -> impl Iterator<Item = &'a (Suite, Digest)> {
        self.0.iter().filter(move |(suite, _)| suite.version == *version)
    }
}

/// Something that is demanded of an API: `split=full`, `access=partial`, `specs=compliant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    api: Api,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Full,
    Partial,
    Compliant,
}

/// The text is no requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a requirement is API=full, API=partial or API=compliant, and an API is access, specs or split")]
pub struct ParseRequirementError;

impl Requirement {
    /// Whether the result meets it. `full` is also `partial`.
    pub fn is_met(self, summaries: &[ApiSummary]) -> bool {
        summaries.iter().filter(|summary| summary.api == self.api).any(|summary| match self.wanted {
            Wanted::Full => summary.capability == Capability::Full,
            Wanted::Partial => matches!(summary.capability, Capability::Full | Capability::Partial),
            Wanted::Compliant => summary.compliance == Compliance::Compliant,
        })
    }
}

impl FromStr for Requirement {
    type Err = ParseRequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (api, wanted) = text.split_once('=').ok_or(ParseRequirementError)?;
        let api = Api::ALL.into_iter().find(|known| known.as_str() == api).ok_or(ParseRequirementError)?;
        let wanted = match wanted {
            "full" => Wanted::Full,
            "partial" => Wanted::Partial,
            "compliant" => Wanted::Compliant,
            _ => return Err(ParseRequirementError),
        };
        Ok(Self { api, wanted })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = match self.wanted {
            Wanted::Full => "full",
            Wanted::Partial => "partial",
            Wanted::Compliant => "compliant",
        };
        write!(f, "{}={wanted}", self.api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_back_as_written() {
        for text in ["access=full", "specs=partial", "split=compliant"] {
            assert_eq!(text.parse::<Requirement>().map(|requirement| requirement.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "split", "split=", "split=none", "mesh=full", "split=full ", "split==full"] {
            assert_eq!(text.parse::<Requirement>(), Err(ParseRequirementError), "{text}");
        }
    }
}
