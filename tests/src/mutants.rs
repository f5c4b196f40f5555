//! The suite against mutants of the reference mesh: what does it see?

use std::collections::{BTreeMap, BTreeSet};

use smi_runner::execute::execute;
use smi_runner::kubernetes::dialect;
use smi_runner::plan::{Plan, choose};
use smi_runner::sandbox::SandboxTarget;
use smi_sandbox::mutant::Mutant;
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::AssertionId;
use smi_schemas::report::{Result, Status};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{Filters, Overrides};
use smi_schemas::suite::{DRAFT, Suite};
use tokio_util::sync::CancellationToken;

/// How long a mutant may take until cells agree; most of them never do somewhere.
const LIMIT_MS: u64 = 1_000;
/// The same for the reference mesh, which needs no time at all, but the machine may be busy.
pub const REFERENCE_LIMIT_MS: u64 = 20_000;

/// The assertions that are meant to catch each mutant.
const MEANT: &[(Mutant, &[&str])] = &[
    (Mutant::NoTrafficTarget, &["smi.api.traffictarget"]),
    (Mutant::NoHttpRouteGroup, &["smi.api.httproutegroup"]),
    (Mutant::NoTcpRoute, &["smi.api.tcproute"]),
    (Mutant::NoUdpRoute, &["smi.api.udproute"]),
    (Mutant::NoTrafficSplit, &["smi.api.trafficsplit"]),
    (Mutant::PrunesRuleMatches, &["smi.api.roundtrip-access"]),
    (Mutant::PrunesHeaders, &["smi.api.roundtrip-specs"]),
    (Mutant::PrunesUdpPorts, &["smi.api.roundtrip-udproute"]),
    (Mutant::PrunesSplitMatches, &["smi.api.roundtrip-split"]),
    (
        Mutant::ValidatesNothing,
        &[
            "smi.api.rejects-invalid-access",
            "smi.api.rejects-incomplete-access",
            "smi.api.rejects-invalid-specs",
            "smi.api.rejects-invalid-split",
        ],
    ),
    (Mutant::AllowsEverything, &["smi.access.default-deny", "smi.access.default-deny-tcp"]),
    (Mutant::AllowsByDefault, &["smi.access.default-deny", "smi.access.default-deny-tcp"]),
    (Mutant::GrantsNothing, &["smi.access.allow-listed-source"]),
    (Mutant::GrantsAnySource, &["smi.access.deny-unlisted-source"]),
    (Mutant::GrantsAnyRoute, &["smi.access.deny-unlisted-route"]),
    (Mutant::FirstSourceOnly, &["smi.access.multiple-sources"]),
    (Mutant::OneTargetPerDestination, &["smi.access.additive-targets"]),
    (Mutant::OneOfEqualRoutes, &["smi.access.additive-overlap"]),
    (Mutant::MergesTargets, &["smi.access.l7-table"]),
    (Mutant::IgnoresTargetUpdates, &["smi.access.update-sources"]),
    (Mutant::IgnoresRouteUpdates, &["smi.access.update-route"]),
    (Mutant::FirstRuleOnly, &["smi.access.rules-or"]),
    (Mutant::DanglingRulesGrantEverything, &["smi.access.dangling-route"]),
    (Mutant::EmptyRulesGrantEverything, &["smi.access.invalid-target-rules"]),
    (Mutant::EmptySourcesGrantEveryone, &["smi.access.invalid-target-sources"]),
    (Mutant::StallsOnUngrantable, &["smi.access.isolation"]),
    (Mutant::OwnNamespaceOnly, &["smi.access.cross-namespace"]),
    (Mutant::GrantsBothWays, &["smi.access.one-direction"]),
    (Mutant::IgnoresDestinationPorts, &["smi.access.http-port"]),
    (Mutant::NewPodsAreOpen, &["smi.access.replicas"]),
    (Mutant::NewPodsAreShut, &["smi.access.replicas"]),
    (
        Mutant::LeaksOneInFifty,
        &["smi.access.default-deny", "smi.access.deny-unlisted-source", "smi.access.deny-unlisted-route"],
    ),
    (
        Mutant::RecognizesProbes,
        &["smi.access.default-deny", "smi.access.deny-unlisted-source", "smi.access.deny-unlisted-route"],
    ),
    (Mutant::AnswersFromAnywhere, &["smi.access.allow-listed-source", "smi.specs.path-literal"]),
    (Mutant::KeepsDeletedGrants, &["smi.access.revoke-on-delete"]),
    (Mutant::GrantsWholeGroups, &["smi.access.matches-subset"]),
    (Mutant::OmittedMatchesGrantNothing, &["smi.access.matches-omitted"]),
    (Mutant::IdentityByLabel, &["smi.access.serviceaccount-identity"]),
    (Mutant::IgnoresNamespaces, &["smi.access.namespace-identity"]),
    (Mutant::IdentityBySourceAddress, &["smi.access.deny-unlisted-source", "smi.access.server-side"]),
    (Mutant::ClientSideOnly, &["smi.access.server-side"]),
    (Mutant::IgnoresLastSegment, &["smi.specs.path-literal"]),
    (Mutant::FirstAlternativeOnly, &["smi.specs.path-regex"]),
    (Mutant::UnanchoredPaths, &["smi.specs.path-anchor-start"]),
    (Mutant::MatchesWholePaths, &["smi.specs.path-anchor-end"]),
    (Mutant::DotStarIsLiteral, &["smi.specs.path-any"]),
    (Mutant::IgnoresMethods, &["smi.specs.method-single"]),
    (Mutant::StarOmitsPatch, &["smi.specs.method-any"]),
    (Mutant::FirstMethodOnly, &["smi.specs.method-list"]),
    (Mutant::OmittedMethodsMatchGet, &["smi.specs.method-omitted"]),
    (Mutant::OmittedPathsMatchNothing, &["smi.specs.path-omitted"]),
    (Mutant::MatchesRawPaths, &["smi.specs.path-traversal"]),
    (Mutant::IgnoresHeaders, &["smi.specs.header-match"]),
    (Mutant::HeaderNamesOnly, &["smi.specs.header-match"]),
    (Mutant::OneHeaderSuffices, &["smi.specs.header-and"]),
    (Mutant::PathOrHeaders, &["smi.specs.header-path-method"]),
    (Mutant::OpenOverHttp2, &["smi.specs.http2"]),
    (Mutant::IgnoresTcpPorts, &["smi.specs.tcp-port"]),
    (Mutant::EmptyPortsGrantNothing, &["smi.specs.tcp-all-ports"]),
    (Mutant::IgnoresUdpPorts, &["smi.specs.udp-port"]),
    (Mutant::TcpOpensUdp, &["smi.specs.udp-port"]),
    (Mutant::UnreferencedRoutesGrant, &["smi.specs.unreferenced"]),
    (Mutant::PathOrMethod, &["smi.specs.path-and-method"]),
    (Mutant::FirstMatchOnly, &["smi.specs.matches-or", "smi.specs.header-or"]),
    (Mutant::SplitsNothing, &["smi.split.all-first"]),
    (Mutant::FirstBackendOnly, &["smi.split.all-second"]),
    (Mutant::IgnoresSingleBackends, &["smi.split.single-backend"]),
    (Mutant::IgnoresWeights, &["smi.split.all-first", "smi.split.weights-90-10"]),
    (Mutant::WeightsFivePointsOff, &["smi.split.weights-90-10", "smi.split.weights-relative"]),
    (Mutant::WeightsAreCapped, &["smi.split.weights-relative", "smi.split.scale-invariant"]),
    (Mutant::TwoBackendsAtMost, &["smi.split.three-backends"]),
    (Mutant::UnscaledQuantities, &["smi.split.quantity"]),
    (Mutant::AbsentBackendsStopSplits, &["smi.split.absent-backend"]),
    (Mutant::SplitsBackendsToo, &["smi.split.direct-backend"]),
    (Mutant::SplitsForEveryone, &["smi.split.client-side"]),
    (Mutant::UsesRootsTargetPort, &["smi.split.target-port"]),
    (Mutant::SplitsFirstPortOnly, &["smi.split.multi-port"]),
    (Mutant::SticksClientsToBackends, &["smi.split.per-client"]),
    (Mutant::SplitsEveryNamespace, &["smi.split.namespace-scope"]),
    (Mutant::SplitsHttpOnly, &["smi.split.tcp"]),
    (Mutant::IgnoresSplitUpdates, &["smi.split.update"]),
    (Mutant::KeepsDeletedSplits, &["smi.split.delete", "smi.split.walkthrough"]),
    (Mutant::FirstSplitGroupOnly, &["smi.split.ab-merge"]),
    (Mutant::IgnoresPorts, &["smi.split.port-mismatch"]),
    (Mutant::IgnoresSplitMatches, &["smi.split.ab-nomatch"]),
    (Mutant::NonMatchSplitEvenly, &["smi.split.ab-nomatch"]),
    (Mutant::IgnoresMatchedSplits, &["smi.split.ab-match"]),
    (Mutant::NoTrafficMetrics, &["smi.api.trafficmetrics"]),
    (Mutant::NamespacedNamespaces, &["smi.metrics.discovery"]),
    (Mutant::ListsWithoutResource, &["smi.metrics.list-get"]),
    (Mutant::OmitsP90, &["smi.metrics.names"]),
    (Mutant::CountsNoFailures, &["smi.metrics.success-failure"]),
    (Mutant::StaleMetrics, &["smi.metrics.window"]),
    (Mutant::IgnoresSelectors, &["smi.metrics.selector"]),
    (Mutant::EdgesOfReceivedOnly, &["smi.metrics.edges"]),
    (Mutant::CountsBothSides, &["smi.metrics.aggregate"]),
    (Mutant::SplitsWithoutBackends, &["smi.metrics.split-backend"]),
    (Mutant::OpenMetrics, &["smi.metrics.rbac"]),
];

/// The assertions that are meant to catch a mutant.
pub fn meant(mutant: Mutant) -> &'static [&'static str] {
    MEANT.iter().find(|(of, _)| *of == mutant).map_or(&[], |(_, meant)| meant)
}

/// The versions that a mutant is put to: the newest, but where it deviates in something that they no longer have.
pub fn versions(mutant: Option<Mutant>) -> BTreeMap<Api, ApiVersion> {
    let older: BTreeMap<Api, ApiVersion> = match mutant {
        Some(Mutant::IgnoresDestinationPorts) => {
            [(Api::Access, ApiVersion::V1alpha2), (Api::Specs, ApiVersion::V1alpha3)].into()
        }
        Some(Mutant::UnscaledQuantities) => [(Api::Split, ApiVersion::V1alpha1)].into(),
        _ => BTreeMap::new(),
    };
    choose(&dialect::all_spoken(), &older).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Runs the draft on a mutant, or on the reference mesh itself.
pub async fn run(mutant: Option<Mutant>, apis: BTreeMap<Api, ApiVersion>) -> Vec<Result> {
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap_or_else(|error| unreachable!("{error}"));
    let version = env!("CARGO_PKG_VERSION").parse().unwrap_or_else(|error| unreachable!("{error}"));
    let mut target = SandboxTarget::new(version, Digest::of(b"mutants"), apis.clone(), 1);
    if let Some(mutant) = mutant {
        target = target.with_mutant(mutant);
    }
    let limit_ms = Some(mutant.map_or(REFERENCE_LIMIT_MS, |_| LIMIT_MS));
    let overrides = Overrides { limit_ms };
    let plan = Plan { suite, digest, filters: Filters::default(), overrides, apis, absent: BTreeSet::new() };
    execute(&plan, &target, &CancellationToken::new(), &|_| ()).await.results
}

/// The assertions that see something: a failure, or an informative value that is not the reference mesh's.
pub fn caught(results: &[Result]) -> BTreeSet<&AssertionId> {
    let sees = |result: &&Result| match result.status {
        Status::Fail => true,
        // What is tested is the caller's choice.
        Status::Observed => !matches!(result.reason, Code::Met | Code::ReleasesMixed),
        _ => false,
    };
    results.iter().filter(sees).map(|result| &result.id).collect()
}
