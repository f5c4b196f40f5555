//! Mutants: the reference mesh with one named deviation, modelled on what real meshes were seen or read to do where
//! there is such a one.
//!
//! They exist so that the suite can be tested: an assertion that no mutant fails sees nothing. Some have other
//! definitions of resources, most misread resources; the rest decide otherwise, and the engine and the data path ask
//! for them by name.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use smi_schemas::smi::{HttpMatch, Kind, Method, Namespace, Resource, TrafficSplit};

macro_rules! mutants {
    ($($variant:ident $name:literal $deviation:literal $model:literal)+) => {
        /// One deviation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(
                #[doc = $deviation]
                $variant,
            )+
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it does, in one sentence.
            pub fn deviation(self) -> &'static str {
                match self { $(Self::$variant => $deviation),+ }
            }

            /// What it is modelled on; empty where it is only a mistake that could be made.
            pub fn model(self) -> &'static str {
                match self { $(Self::$variant => $model),+ }
            }
        }
    };
}

mutants! {
    // Presence.
    NoTrafficTarget "no-traffictarget" "Discovery does not list TrafficTarget." ""
    NoHttpRouteGroup "no-httproutegroup" "Discovery does not list HTTPRouteGroup." ""
    NoTcpRoute "no-tcproute" "Discovery does not list TCPRoute." ""
    NoUdpRoute "no-udproute" "Discovery does not list UDPRoute." "Open Service Mesh, FSM"
    NoTrafficSplit "no-trafficsplit" "Discovery does not list TrafficSplit." ""
    PrunesRuleMatches "prunes-rule-matches" "A TrafficTarget is stored without the matches of its rules." ""
    PrunesHeaders "prunes-headers" "An HTTPRouteGroup is stored without headers." "CRDs with headers of the other form, list or map"
    PrunesUdpPorts "prunes-udp-ports" "A UDPRoute is stored without its ports." ""
    PrunesSplitMatches "prunes-split-matches" "A TrafficSplit is stored without its matches." "CRDs of split v1alpha2"
    ValidatesNothing "validates-nothing" "No field is required and every word is allowed." "CRDs that preserve unknown fields"

    // Access.
    AllowsEverything "allows-everything" "Every call passes." "Meshes in their permissive mode"
    AllowsByDefault "allows-by-default" "A destination that no target names is open to everyone." "Meshes that are permissive until told otherwise"
    GrantsNothing "grants-nothing" "Targets grant nothing." "A controller that misses objects"
    GrantsAnySource "grants-any-source" "A target grants its routes to every caller of the mesh." ""
    GrantsAnyRoute "grants-any-route" "A target grants its sources every route." "Traefik Mesh, as its code reads, for a target without HTTP rules"
    FirstSourceOnly "first-source-only" "Of several sources only the first is granted." ""
    OneTargetPerDestination "one-target-per-destination" "Of several targets for a destination only the last by name counts." ""
    OneOfEqualRoutes "one-of-equal-routes" "Of several targets that grant a request, only the first by name looks at its caller." "Traefik Mesh 1.4.8, as observed"
    MergesTargets "merges-targets" "Every source of a destination's targets is granted the routes of all of them." "Meshes whose policy is a list of callers and a list of routes"
    KeepsDeletedGrants "keeps-deleted-grants" "A deleted target goes on granting." "A proxy that misses a deletion"
    IgnoresTargetUpdates "ignores-target-updates" "A target that is changed stays as it was." ""
    IgnoresRouteUpdates "ignores-route-updates" "A group that is changed stays as it was." "Controllers that watch targets only"
    FirstRuleOnly "first-rule-only" "Of several rules only the first is read." ""
    GrantsWholeGroups "grants-whole-groups" "A rule grants every match of its group, whichever it names." ""
    OmittedMatchesGrantNothing "omitted-matches-grant-nothing" "A rule without matches grants nothing." "Open Service Mesh, FSM"
    DanglingRulesGrantEverything "dangling-rules-grant-everything" "A rule whose group or matches do not exist grants every request." ""
    EmptyRulesGrantEverything "empty-rules-grant-everything" "A target without rules grants every request." "Traefik Mesh, issue 747"
    EmptySourcesGrantEveryone "empty-sources-grant-everyone" "A target without sources grants everyone." ""
    StallsOnUngrantable "stalls-on-ungrantable" "While a target names a group or a source that is not there, no change takes effect." "Traefik Mesh with Traefik 2.11, as observed"
    IdentityByLabel "identity-by-label" "A caller is also what its label app says." "Meshes whose identities are Services or Deployments"
    IgnoresNamespaces "ignores-namespaces" "A ServiceAccount is the same in every namespace." "Meshes without cross-namespace identities"
    OwnNamespaceOnly "own-namespace-only" "Sources of another namespace are passed over." ""
    GrantsBothWays "grants-both-ways" "Who may be called may call back." "Policies on pairs of workloads"
    IgnoresDestinationPorts "ignores-destination-ports" "A target's port does not count." ""
    NewPodsAreOpen "new-pods-are-open" "A pod that is started after a policy does not enforce it." "Sidecars that start open"
    NewPodsAreShut "new-pods-are-shut" "A pod that is started after a policy answers nobody." "Controllers that compute addresses once"
    LeaksOneInFifty "leaks-one-in-fifty" "Of the requests that are denied, one in fifty passes." "A proxy among several that missed a change"
    RecognizesProbes "recognizes-probes" "Whoever sends no User-Agent of a browser is a test, and only tests are enforced." "A mesh made to pass"
    AnswersFromAnywhere "answers-from-anywhere" "A call that is granted is answered by another workload." ""
    IdentityBySourceAddress "identity-by-source-address" "A caller is whoever lives at its address; behind one address that is everyone." "Traefik Mesh, behind a shared address"
    ClientSideOnly "client-side-only" "Only the caller's side enforces; a call to a workload's own address passes." "Traefik Mesh"

    // Specs.
    IgnoresLastSegment "ignores-last-segment" "A path without special characters matches its neighbours too." ""
    FirstAlternativeOnly "first-alternative-only" "Of alternatives in a path only the first is read." ""
    UnanchoredPaths "unanchored-paths" "A path may match anywhere." ""
    MatchesWholePaths "matches-whole-paths" "A path must match to its end." "Open Service Mesh"
    DotStarIsLiteral "dot-star-is-literal" "The path .* is taken literally." ""
    IgnoresMethods "ignores-methods" "Methods do not count." ""
    FirstMethodOnly "first-method-only" "Of several methods only the first is read." ""
    OmittedMethodsMatchGet "omitted-methods-match-get" "A match without methods matches GET only." ""
    OmittedPathsMatchNothing "omitted-paths-match-nothing" "A match without a path matches nothing." "Proxies whose routes begin with a path"
    StarOmitsPatch "star-omits-patch" "The method * does not cover PATCH." "Proxies with a list of known methods"
    PathOrMethod "path-or-method" "A path or a method is enough where both are named." ""
    MatchesRawPaths "matches-raw-paths" "Dot segments of a path are not resolved before it is matched." "Envoy without path normalization"
    IgnoresHeaders "ignores-headers" "Headers do not count." ""
    HeaderNamesOnly "header-names-only" "A header counts by its name, whatever its value." ""
    OneHeaderSuffices "one-header-suffices" "Of several headers in a match one is enough." ""
    PathOrHeaders "path-or-headers" "A path or the headers are enough where both are named." ""
    OpenOverHttp2 "open-over-http2" "Rules do not count for requests over HTTP/2." ""
    IgnoresTcpPorts "ignores-tcp-ports" "A TCPRoute grants every port." "Traefik Mesh, as its code reads"
    EmptyPortsGrantNothing "empty-ports-grant-nothing" "A route without ports grants none." ""
    IgnoresUdpPorts "ignores-udp-ports" "A UDPRoute grants every port." ""
    TcpOpensUdp "tcp-opens-udp" "A TCPRoute grants the same ports of UDP." ""
    UnreferencedRoutesGrant "unreferenced-routes-grant" "A group grants its routes whether a target names it or not." ""
    FirstMatchOnly "first-match-only" "Of several matches of a group only the first is read." ""

    // Split.
    SplitsNothing "splits-nothing" "Splits are not applied." "A controller that misses objects"
    FirstBackendOnly "first-backend-only" "The first backend receives everything." ""
    IgnoresSingleBackends "ignores-single-backends" "A split with one backend is not applied." ""
    IgnoresWeights "ignores-weights" "Backends of any weight share evenly." ""
    WeightsFivePointsOff "weights-five-points-off" "Five of a hundred requests go to another backend than the weights say." ""
    WeightsAreCapped "weights-are-capped" "A weight above 100 counts as 100." "Meshes whose own weights are percentages"
    TwoBackendsAtMost "two-backends-at-most" "Of more than two backends the rest are passed over." "Traffic splitting made for canaries"
    UnscaledQuantities "unscaled-quantities" "The weight 500m counts as 500, the weight 1 as 1." "The conversion of smi-sdk-go"
    AbsentBackendsStopSplits "absent-backends-stop-splits" "A split with a backend that does not exist is not applied." ""
    SplitsBackendsToo "splits-backends-too" "Calls to a backend are divided like those to the root." ""
    SplitsForEveryone "splits-for-everyone" "Callers outside the mesh are divided too." "Splitting by Endpoints"
    UsesRootsTargetPort "uses-roots-target-port" "A backend is called at the root's target port." ""
    SplitsFirstPortOnly "splits-first-port-only" "Only the first port of a root is divided." ""
    SticksClientsToBackends "sticks-clients-to-backends" "Every client stays with one backend; only all clients together follow the weights." "Proxies with session affinity"
    SplitsEveryNamespace "splits-every-namespace" "A split divides every Service of its root's name, whatever the namespace." ""
    SplitsHttpOnly "splits-http-only" "TCP connections are not divided." "Linkerd, in practice"
    IgnoresSplitUpdates "ignores-split-updates" "A split that is changed stays as it was." ""
    KeepsDeletedSplits "keeps-deleted-splits" "A deleted split goes on dividing." "A proxy that misses a deletion"
    IgnoresPorts "ignores-ports" "A backend takes part whatever its port." ""
    IgnoresSplitMatches "ignores-split-matches" "A split with matches divides every request." "Meshes that read split v1alpha2 only"
    IgnoresMatchedSplits "ignores-matched-splits" "A split with matches is not applied." ""
    FirstSplitGroupOnly "first-split-group-only" "Of several groups that a split's matches name only the first is read." ""
    NonMatchSplitEvenly "non-match-split-evenly" "Requests that a split's matches do not concern are divided evenly among its backends." "FSM"

    // Metrics.
    NoTrafficMetrics "no-trafficmetrics" "Discovery does not list TrafficMetrics." "Meshes without smi-metrics"
    NamespacedNamespaces "namespaced-namespaces" "Discovery says that namespaces live in namespaces." ""
    ListsWithoutResource "lists-without-resource" "A list does not say what it is of." ""
    OmitsP90 "omits-p90" "One of the five metrics is left out." "Dashboards with two percentiles"
    CountsNoFailures "counts-no-failures" "An answer of 5xx counts as a success." "Counters of connections"
    StaleMetrics "stale-metrics" "Timestamps are an hour old." "A cache that is never filled again"
    IgnoresSelectors "ignores-selectors" "Label selectors do not count." ""
    EdgesOfReceivedOnly "edges-of-received-only" "Edges are shown at the side that was called only." "Meshes that count at the server"
    CountsBothSides "counts-both-sides" "A namespace counts each request at its caller and once more at who was called." ""
    SplitsWithoutBackends "splits-without-backends" "Metrics of a split do not say of which backend." "smi-metrics, whose change for splits was never merged"
    OpenMetrics "open-metrics" "Whoever asks for metrics is told." ""
}

/// Characters that make a path more than a text.
const SPECIAL: [char; 14] = ['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\'];

/// The text is no mutant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such mutant")]
pub struct ParseMutantError;

impl Mutant {
    /// Whether it deviates in a part of the requests only, so that what sees it is a matter of chance.
    pub fn by_chance(self) -> bool {
        matches!(self, Self::LeaksOneInFifty | Self::RecognizesProbes | Self::WeightsFivePointsOff)
    }

    /// The kind that discovery does not list.
    pub fn omits(self) -> Option<Kind> {
        match self {
            Self::NoTrafficTarget => Some(Kind::TrafficTarget),
            Self::NoHttpRouteGroup => Some(Kind::HttpRouteGroup),
            Self::NoTcpRoute => Some(Kind::TcpRoute),
            Self::NoUdpRoute => Some(Kind::UdpRoute),
            Self::NoTrafficSplit => Some(Kind::TrafficSplit),
            Self::NoTrafficMetrics => Some(Kind::TrafficMetrics),
            _ => None,
        }
    }

    /// The schema of a kind as this mutant's CRD has it.
    pub(crate) fn redefine(self, kind: Kind, schema: &mut Value) {
        match (self, kind) {
            (Self::PrunesRuleMatches, Kind::TrafficTarget) | (Self::PrunesSplitMatches, Kind::TrafficSplit) => {
                forget(schema, "matches");
            }
            (Self::PrunesHeaders, Kind::HttpRouteGroup) => forget(schema, "headers"),
            (Self::PrunesUdpPorts, Kind::UdpRoute) => forget(schema, "ports"),
            (Self::ValidatesNothing, _) => loosen(schema),
            _ => {}
        }
    }

    /// What the mesh takes a resource for; nothing when it passes over it.
    pub(crate) fn misread(self, mut resource: Resource) -> Option<Resource> {
        match (self, &mut resource) {
            (Self::GrantsNothing, Resource::TrafficTarget(_)) => return None,
            (Self::FirstSourceOnly, Resource::TrafficTarget(target)) => target.sources.truncate(1),
            (Self::GrantsWholeGroups, Resource::TrafficTarget(target)) => {
                target.rules.iter_mut().for_each(|rule| rule.matches = None);
            }
            (Self::OmittedMatchesGrantNothing, Resource::TrafficTarget(target)) => {
                target.rules.retain(|rule| rule.matches.is_some());
            }
            (Self::FirstRuleOnly, Resource::TrafficTarget(target)) => target.rules.truncate(1),
            (Self::OwnNamespaceOnly, Resource::TrafficTarget(target)) => {
                target.sources.retain(|source| source.namespace == Namespace::Main);
            }
            (Self::FirstMatchOnly, Resource::HttpRouteGroup(group)) => group.matches.truncate(1),
            (Self::PathOrMethod, Resource::HttpRouteGroup(group)) => {
                group.matches = group.matches.iter().flat_map(either).collect();
            }
            (_, Resource::HttpRouteGroup(group)) => {
                group.matches.iter_mut().for_each(|matched| self.misread_match(matched));
            }
            (_, Resource::TrafficSplit(split)) if !self.applies(split) => return None,
            (Self::FirstBackendOnly, Resource::TrafficSplit(split)) => {
                split.backends.truncate(1);
                split.backends.iter_mut().for_each(|backend| backend.weight = 1);
            }
            (Self::IgnoresWeights, Resource::TrafficSplit(split)) => {
                split.backends.iter_mut().for_each(|backend| backend.weight = 1);
            }
            (Self::WeightsAreCapped, Resource::TrafficSplit(split)) => {
                split.backends.iter_mut().for_each(|backend| backend.weight = backend.weight.min(100));
            }
            (Self::TwoBackendsAtMost, Resource::TrafficSplit(split)) => split.backends.truncate(2),
            (Self::FirstSplitGroupOnly, Resource::TrafficSplit(split)) => {
                split.matches.iter_mut().for_each(|groups| groups.truncate(1));
            }
            (Self::WeightsFivePointsOff, Resource::TrafficSplit(split)) => five_points_off(split),
            (Self::IgnoresSplitMatches, Resource::TrafficSplit(split)) => split.matches = None,
            _ => {}
        }
        Some(resource)
    }

    fn misread_match(self, matched: &mut HttpMatch) {
        match (self, &mut matched.path_regex, &mut matched.methods) {
            (Self::IgnoresMethods, _, methods) => *methods = None,
            (Self::IgnoresHeaders, ..) => matched.headers = None,
            (Self::FirstMethodOnly, _, Some(methods)) => methods.truncate(1),
            (Self::OmittedMethodsMatchGet, _, methods @ None) => *methods = Some(vec![Method::Get]),
            (Self::OmittedPathsMatchNothing, path @ None, _) => *path = Some("[^/]".to_owned()),
            (Self::StarOmitsPatch, _, Some(methods)) if methods.contains(&Method::Any) => {
                use Method::{Delete, Get, Head, Options, Post, Put};
                *methods = vec![Get, Head, Put, Post, Delete, Options];
            }
            (Self::IgnoresLastSegment, Some(path), _) if !path.contains(SPECIAL) => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                *path = format!("{parent}/[^/]*");
            }
            (Self::FirstAlternativeOnly, Some(path), _) => {
                while let Some((before, rest)) = path.split_once('|') {
                    *path = format!("{before}{}", rest.find(')').map_or("", |end| &rest[end..]));
                }
            }
            (Self::UnanchoredPaths, Some(path), _) => *path = format!(".*{path}"),
            (Self::MatchesWholePaths, Some(path), _) => *path = format!("(?:{path})$"),
            (Self::DotStarIsLiteral, Some(path), _) if path == ".*" => *path = regex::escape(path),
            _ => {}
        }
    }

    fn applies(self, split: &TrafficSplit) -> bool {
        match self {
            Self::SplitsNothing => false,
            Self::IgnoresSingleBackends => split.backends.len() != 1,
            Self::IgnoresMatchedSplits => split.matches.is_none(),
            _ => true,
        }
    }
}

/// Takes a field out of a schema, wherever it is, so that it is pruned.
fn forget(schema: &mut Value, field: &str) {
    match schema {
        Value::Object(fields) => {
            for part in ["properties", "required"] {
                match fields.get_mut(part) {
                    Some(Value::Object(properties)) => drop(properties.remove(field)),
                    Some(Value::Array(required)) => required.retain(|name| name != field),
                    _ => {}
                }
            }
            fields.values_mut().for_each(|inside| forget(inside, field));
        }
        Value::Array(values) => values.iter_mut().for_each(|inside| forget(inside, field)),
        _ => {}
    }
}

/// Takes every demand out of a schema but for types.
fn loosen(schema: &mut Value) {
    if let Value::Object(fields) = schema {
        fields.remove("required");
        fields.remove("enum");
        fields.values_mut().for_each(loosen);
    }
}

/// A match that names a path and a method, as two that name one each.
fn either(matched: &HttpMatch) -> Vec<HttpMatch> {
    let particular = matched.methods.as_ref().is_some_and(|methods| !methods.contains(&Method::Any));
    if matched.path_regex.is_none() || !particular {
        return vec![matched.clone()];
    }
    vec![HttpMatch { path_regex: None, ..matched.clone() }, HttpMatch { methods: None, ..matched.clone() }]
}

/// Takes a twentieth of the whole from the backend with the most and gives it to the last other one.
fn five_points_off(split: &mut TrafficSplit) {
    let backends = &mut split.backends;
    let sum: u32 = backends.iter().map(|backend| backend.weight).sum();
    let heaviest = (0..backends.len()).max_by_key(|index| backends[*index].weight);
    let other = (0..backends.len()).rev().find(|index| Some(*index) != heaviest && backends[*index].weight > 0);
    let (Some(heaviest), Some(other)) = (heaviest, other) else { return };
    for backend in backends.iter_mut() {
        backend.weight *= 20;
    }
    backends[heaviest].weight -= sum;
    backends[other].weight += sum;
}

impl FromStr for Mutant {
    type Err = ParseMutantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|mutant| mutant.as_str() == text).copied().ok_or(ParseMutantError)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
