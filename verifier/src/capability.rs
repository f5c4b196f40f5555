//! Capability and compliance of each API: what is there, kept apart from whether it behaves.
//!
//! Only scored assertions (core and extended) count, and an assertion that does not exist in the tested version counts
//! for nothing. Where the suite has no core behaviour of an API, as of metrics, its extended ones stand for it. That
//! an API is *present* is no behaviour: a cluster that merely has the CRDs has no capability.
//!
//! | capability | |
//! |---|---|
//! | `full` | every scored assertion passed |
//! | `partial` | at least one core behaviour passed, and the rest cannot make it full |
//! | `none` | the API is absent, or no core behaviour passed |
//! | `unknown` | something inconclusive, skipped or in error prevents the decision, or the suite asks nothing |
//!
//! | compliance | |
//! |---|---|
//! | `non-compliant` | something scored failed |
//! | `compliant` | at least one core behaviour passed, and nothing scored failed or was skipped |
//! | `undecided` | neither |
//!
//! What a vendor claims not to support changes neither; a summary says beside them that the API is served in spite of
//! it.

use smi_schemas::feed::{ApiSummary, Capability, Compliance};
use smi_schemas::report::{Result as AssertionResult, Status};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::Predicate;
use smi_schemas::suite::{Assertion, Class, Level, Suite};

/// Sums up every API of a result, in the order in which APIs are shown.
pub fn summarize(suite: &Suite, predicate: &Predicate) -> Vec<ApiSummary> {
    Api::ALL
        .into_iter()
        .map(|api| {
            let level = decisive(api, suite);
            let results = suite.assertions.iter().zip(&predicate.assertions);
            let scored: Vec<_> = results
                .filter(|(assertion, result)| counts(api, assertion, result))
                .map(|(assertion, result)| (decides(level, assertion), result.status))
                .collect();
            let summary = summary(api, predicate.apis.get(&api).copied(), &scored);
            let claimed_unsupported = summary.version.is_some() && predicate.mesh.claimed_unsupported.contains(&api);
            ApiSummary { claimed_unsupported, ..summary }
        })
        .collect()
}

fn counts(api: Api, assertion: &Assertion, result: &AssertionResult) -> bool {
    assertion.api == api && assertion.level.is_scored() && result.status != Status::NotApplicable
}

/// The level whose behaviours decide whether an API is there at all.
fn decisive(api: Api, suite: &Suite) -> Level {
    let core = suite.assertions.iter().any(|assertion| assertion.api == api && decides(Level::Core, assertion));
    if core { Level::Core } else { Level::Extended }
}

fn decides(level: Level, assertion: &Assertion) -> bool {
    assertion.level == level && assertion.class == Class::Behaviour
}

/// `scored` says of each assertion whether it is a core behaviour, and its status.
fn summary(api: Api, version: Option<ApiVersion>, scored: &[(bool, Status)]) -> ApiSummary {
    let undecided = |status| matches!(status, Status::Inconclusive | Status::Error | Status::Skipped);
    let passed = scored.iter().filter(|(_, status)| *status == Status::Pass).count();
    let failed = scored.iter().filter(|(_, status)| *status == Status::Fail).count();
    let behaves = scored.iter().any(|(core, status)| *core && *status == Status::Pass);
    let may_behave = scored.iter().any(|(core, status)| *core && undecided(*status));
    let may_be_full = scored.iter().all(|(_, status)| *status == Status::Pass || undecided(*status));
    let capability = if version.is_none() {
        Capability::None
    } else if passed == scored.len() && behaves {
        Capability::Full
    } else if behaves && may_be_full {
        Capability::Unknown
    } else if behaves {
        Capability::Partial
    } else if may_behave || scored.is_empty() {
        Capability::Unknown
    } else {
        Capability::None
    };
    let compliance = if failed > 0 {
        Compliance::NonCompliant
    } else if behaves && !scored.iter().any(|(_, status)| *status == Status::Skipped) {
        Compliance::Compliant
    } else {
        Compliance::Undecided
    };
    let count = |assertions: usize| u32::try_from(assertions).unwrap_or(u32::MAX);
    ApiSummary {
        api,
        version,
        capability,
        compliance,
        passed: count(passed),
        failed: count(failed),
        scored: count(scored.len()),
        claimed_unsupported: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Error, Fail, Inconclusive, NotSupported, Pass, Skipped};

    fn of(scored: &[(bool, Status)]) -> (Capability, Compliance) {
        let summary = summary(Api::Split, Some(ApiVersion::V1alpha4), scored);
        (summary.capability, summary.compliance)
    }

    #[test]
    fn capability_and_compliance_are_decided_apart() {
        const CORE: bool = true;
        const OTHER: bool = false;
        type Case = (&'static [(bool, Status)], Capability, Compliance);
        let cases: [Case; 15] = [
            (&[(CORE, Pass), (OTHER, Pass)], Capability::Full, Compliance::Compliant),
            (&[(CORE, Pass), (CORE, Fail)], Capability::Partial, Compliance::NonCompliant),
            (&[(CORE, Pass), (OTHER, Fail)], Capability::Partial, Compliance::NonCompliant),
            (&[(CORE, Pass), (CORE, NotSupported)], Capability::Partial, Compliance::Compliant),
            (&[(CORE, Pass), (OTHER, Inconclusive)], Capability::Unknown, Compliance::Compliant),
            (&[(CORE, Pass), (CORE, Fail), (CORE, Error)], Capability::Partial, Compliance::NonCompliant),
            (&[(CORE, Fail), (CORE, Inconclusive)], Capability::Unknown, Compliance::NonCompliant),
            (&[(CORE, Fail), (OTHER, Pass)], Capability::None, Compliance::NonCompliant),
            (&[(CORE, Fail), (OTHER, Error)], Capability::None, Compliance::NonCompliant),
            (&[(CORE, Inconclusive), (OTHER, Pass)], Capability::Unknown, Compliance::Undecided),
            (&[(CORE, Pass), (CORE, Skipped)], Capability::Unknown, Compliance::Undecided),
            (&[(CORE, Fail), (CORE, Skipped)], Capability::Unknown, Compliance::NonCompliant),
            (&[(CORE, Skipped), (OTHER, Pass)], Capability::Unknown, Compliance::Undecided),
            (&[(OTHER, Pass)], Capability::None, Compliance::Undecided),
            (&[], Capability::Unknown, Compliance::Undecided),
        ];
        for (scored, capability, compliance) in cases {
            assert_eq!(of(scored), (capability, compliance), "{scored:?}");
        }
    }

    #[test]
    fn an_api_that_is_not_served_has_no_capability() {
        let absent = summary(Api::Access, None, &[(true, NotSupported)]);
        assert_eq!((absent.capability, absent.compliance), (Capability::None, Compliance::Undecided));
    }
}
