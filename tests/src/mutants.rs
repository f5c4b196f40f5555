//! The suite against mutants of the reference mesh: what does it see?

use std::collections::BTreeSet;

use smi_runner::execute::execute;
use smi_runner::kubernetes::dialect;
use smi_runner::plan::{Plan, choose};
use smi_runner::sandbox::SandboxTarget;
use smi_sandbox::mutant::Mutant;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::AssertionId;
use smi_schemas::report::{Result, Status};
use smi_schemas::statement::{Filters, Overrides};
use smi_schemas::suite::{BUILTIN, Suite};
use tokio_util::sync::CancellationToken;

/// How long a mutant may take until cells agree. The reference mesh needs no time at all, but the machine may be busy.
const LIMIT_MS: u64 = 1_000;

/// The assertions that are meant to catch each mutant.
pub fn meant(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::NoTrafficTarget => &["smi.api.traffictarget"],
        Mutant::NoHttpRouteGroup => &["smi.api.httproutegroup"],
        Mutant::NoTcpRoute => &["smi.api.tcproute"],
        Mutant::NoTrafficSplit => &["smi.api.trafficsplit"],
        Mutant::PrunesRuleMatches => &["smi.api.roundtrip-access"],
        Mutant::PrunesHeaders => &["smi.api.roundtrip-specs"],
        Mutant::PrunesSplitMatches => &["smi.api.roundtrip-split"],
        Mutant::AllowsByDefault => &["smi.access.default-deny"],
        Mutant::GrantsNothing => &["smi.access.allow-listed-source"],
        Mutant::GrantsAnySource => &["smi.access.deny-unlisted-source"],
        Mutant::GrantsAnyRoute => &["smi.access.deny-unlisted-route"],
        Mutant::FirstSourceOnly => &["smi.access.multiple-sources"],
        Mutant::OneTargetPerDestination | Mutant::OneOfEqualRoutes => &["smi.access.additive-targets"],
        Mutant::KeepsDeletedGrants => &["smi.access.revoke-on-delete"],
        Mutant::GrantsWholeGroups => &["smi.access.matches-subset"],
        Mutant::OmittedMatchesGrantNothing => &["smi.access.matches-omitted"],
        Mutant::IdentityByLabel => &["smi.access.serviceaccount-identity"],
        Mutant::IgnoresNamespaces => &["smi.access.namespace-identity"],
        Mutant::IdentityBySourceAddress => &["smi.access.deny-unlisted-source", "smi.access.server-side"],
        Mutant::ClientSideOnly => &["smi.access.server-side"],
        Mutant::IgnoresLastSegment => &["smi.specs.path-literal"],
        Mutant::FirstAlternativeOnly => &["smi.specs.path-regex"],
        Mutant::UnanchoredPaths => &["smi.specs.path-anchor-start"],
        Mutant::MatchesWholePaths => &["smi.specs.path-anchor-end"],
        Mutant::DotStarIsLiteral => &["smi.specs.path-any"],
        Mutant::IgnoresMethods => &["smi.specs.method-single"],
        Mutant::StarOmitsPatch => &["smi.specs.method-any"],
        Mutant::PathOrMethod => &["smi.specs.path-and-method"],
        Mutant::FirstMatchOnly => &["smi.specs.matches-or"],
        Mutant::SplitsNothing => &["smi.split.all-first"],
        Mutant::FirstBackendOnly => &["smi.split.all-second"],
        Mutant::IgnoresSingleBackends => &["smi.split.single-backend"],
        Mutant::IgnoresWeights => &["smi.split.all-first", "smi.split.weights-90-10"],
        Mutant::WeightsFivePointsOff => &["smi.split.weights-90-10", "smi.split.weights-relative"],
        Mutant::WeightsAreCapped => &["smi.split.weights-relative"],
        Mutant::IgnoresUpdates => &["smi.split.update"],
        Mutant::KeepsDeletedSplits => &["smi.split.delete"],
        Mutant::IgnoresPorts => &["smi.split.port-mismatch"],
        Mutant::IgnoresSplitMatches | Mutant::NonMatchSplitEvenly => &["smi.split.ab-nomatch"],
        Mutant::IgnoresMatchedSplits => &["smi.split.ab-match"],
    }
}

/// Runs the draft on a mutant, or on the reference mesh itself.
pub async fn run(mutant: Option<Mutant>) -> Vec<Result> {
    let (suite, digest) = Suite::read(BUILTIN[0]).unwrap_or_else(|error| unreachable!("{error}"));
    let version = env!("CARGO_PKG_VERSION").parse().unwrap_or_else(|error| unreachable!("{error}"));
    let mut target = SandboxTarget::new(version, Digest::of(b"mutants"), 1);
    if let Some(mutant) = mutant {
        target = target.with_mutant(mutant);
    }
    let apis = choose(&dialect::all_spoken(), &[].into()).unwrap_or_else(|error| unreachable!("{error}"));
    let overrides = Overrides { limit_ms: Some(LIMIT_MS) };
    let plan = Plan { suite, digest, filters: Filters::default(), overrides, apis };
    execute(&plan, &target, &CancellationToken::new(), &|_| ()).await.results
}

/// The assertions that see something: a failure, or an informative value that is not the reference mesh's.
pub fn caught(results: &[Result]) -> BTreeSet<&AssertionId> {
    let sees = |result: &&Result| match result.status {
        Status::Fail => true,
        Status::Observed => result.reason != Code::Met,
        _ => false,
    };
    results.iter().filter(sees).map(|result| &result.id).collect()
}
