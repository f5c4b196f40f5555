//! A plan: a suite, what is chosen of it, and the version of each API that it is put to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smi_schemas::Digest;
use smi_schemas::smi::{Api, ApiVersion, Kind};
use smi_schemas::statement::{Filters, Overrides};
use smi_schemas::suite::{Assertion, Suite};
use smi_verifier::judge::{Context, judge};

use crate::kubernetes::dialect;

/// What a run is to do.
#[derive(Debug)]
pub struct Plan {
    /// The suite.
    pub suite: Suite,
    /// The digest of its file.
    pub digest: Digest,
    /// What is chosen of it.
    pub filters: Filters,
    /// Where the run departs from it.
    pub overrides: Overrides,
    /// The version of each API that is tested.
    pub apis: BTreeMap<Api, ApiVersion>,
    /// Kinds that these versions are served without.
    pub absent: BTreeSet<Kind>,
}

/// Why a version cannot be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The cluster does not serve it.
    #[error("{0} {1} is not served")]
    NotServed(Api, ApiVersion),
    /// No dialect of it.
    #[error("{0} {1} is not spoken by this runner")]
    NotSpoken(Api, ApiVersion),
}

impl Plan {
    /// What the judge needs to know.
    pub fn context(&self) -> Context<'_> {
        Context {
            suite: &self.suite,
            apis: &self.apis,
            absent: &self.absent,
            filters: &self.filters,
            limit_ms: self.overrides.limit_ms,
            interrupted: false,
        }
    }

    /// How long the mesh may take until the cells of a phase agree.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.context().limit_ms())
    }

    /// The assertions that are executed: chosen, and of APIs and versions that are there.
    pub fn executed(&self) -> impl Iterator<Item = &Assertion> {
        // An assertion that is exempt is judged without observations; for any other they are missing.
        self.suite.assertions.iter().filter(|assertion| judge(&self.context(), assertion, None).is_err())
    }

    /// Whether anything is chosen.
    pub fn selects(&self) -> bool {
        self.suite.assertions.iter().any(|assertion| self.filters.select(&assertion.id))
    }
}

/// The version of each API to test: the one asked for, or the newest that both sides know. An API that is not served
/// in any version that is spoken has none.
pub fn choose(
    served: &BTreeMap<Api, BTreeSet<ApiVersion>>,
    asked: &BTreeMap<Api, ApiVersion>,
) -> Result<BTreeMap<Api, ApiVersion>, VersionError> {
    let mut chosen = BTreeMap::new();
    for api in Api::ALL {
        let is_served = |version: &ApiVersion| served.get(&api).is_some_and(|versions| versions.contains(version));
        let spoken = dialect::spoken(api);
        match asked.get(&api) {
            Some(version) if !spoken.contains(version) => return Err(VersionError::NotSpoken(api, *version)),
            Some(version) if !is_served(version) => return Err(VersionError::NotServed(api, *version)),
            Some(version) => drop(chosen.insert(api, *version)),
            None => {
                chosen.extend(spoken.iter().rev().find(|version| is_served(version)).map(|version| (api, *version)));
            }
        }
    }
    Ok(chosen)
}
