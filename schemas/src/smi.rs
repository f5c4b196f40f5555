//! SMI resources, written once for every API version.
//!
//! The suite says what a resource *means*; a target writes it in the dialect of the API versions it found (`spec` or
//! none, `rules` or `specs`, headers as list or map). So nothing here has an `apiVersion`, and a namespace is one of
//! the two that a lane owns, not a name.
//!
//! ```
//! use smi_schemas::smi::Resource;
//!
//! let target: Resource = serde_json::from_str(r#"{
//!   "kind": "TrafficTarget",
//!   "name": "b-may-call-a",
//!   "destination": {"serviceAccount": "a"},
//!   "sources": [{"serviceAccount": "b"}, {"namespace": "other", "serviceAccount": "b"}],
//!   "rules": [{"kind": "HTTPRouteGroup", "name": "routes", "matches": ["reads"]}]
//! }"#).unwrap();
//! assert_eq!((target.kind().as_str(), target.name().as_str()), ("TrafficTarget", "b-may-call-a"));
//! ```

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::Slug;

/// An SMI API: a group of kinds with versions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `access.smi-spec.io`: who may call whom.
    Access,
    /// `specs.smi-spec.io`: what a route is.
    Specs,
    /// `split.smi-spec.io`: which backend answers.
    Split,
    /// `metrics.smi-spec.io`: what was counted. It is served by an extension of the API server and stores nothing.
    Metrics,
}

/// A version of an API that SMI published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ApiVersion {
    V1alpha1,
    V1alpha2,
    V1alpha3,
    V1alpha4,
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Kind {
    TrafficTarget,
    #[serde(rename = "HTTPRouteGroup")]
    HttpRouteGroup,
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    #[serde(rename = "UDPRoute")]
    UdpRoute,
    TrafficSplit,
    TrafficMetrics,
}

/// One of the two namespaces of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Where resources and most workloads live.
    #[default]
    Main,
    /// A second one, for what crosses a border.
    Other,
}

/// A resource in the lane's main namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
#[allow(missing_docs)]
pub enum Resource {
    TrafficTarget(TrafficTarget),
    #[serde(rename = "HTTPRouteGroup")]
    HttpRouteGroup(HttpRouteGroup),
    #[serde(rename = "TCPRoute")]
    TcpRoute(Ports),
    #[serde(rename = "UDPRoute")]
    UdpRoute(Ports),
    TrafficSplit(TrafficSplit),
}

/// Grants sources the routes of its rules at a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficTarget {
    /// Name of the object.
    pub name: Slug,
    /// All pods with this ServiceAccount.
    pub destination: ServiceAccount,
    /// The one port of the destination that is granted; absent means every port. Versions from v1alpha3 on have no such
    /// field, and a dialect leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Who may call.
    pub sources: Vec<ServiceAccount>,
    /// What may be called; rules add up.
    pub rules: Vec<Rule>,
}

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    /// Where it lives.
    #[serde(default, skip_serializing_if = "is_main")]
    pub namespace: Namespace,
    /// Its name.
    pub service_account: Slug,
}

/// Routes that a target grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Kind of the routes' object.
    pub kind: Kind,
    /// Name of the routes' object.
    pub name: Slug,
    /// Names of its matches; absent means every match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<Slug>>,
}

/// Named HTTP matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRouteGroup {
    /// Name of the object.
    pub name: Slug,
    /// Alternatives: a request belongs to the group when one of them holds.
    pub matches: Vec<HttpMatch>,
}

/// A match: what it names must hold together, what it omits is free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// Key within the group.
    pub name: Slug,
    /// Regular expression, anchored at the start of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_regex: Option<String>,
    /// Methods; `*` is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<Method>>,
    /// Regular expressions for header values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// The methods that the CRD admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Method {
    #[serde(rename = "*")]
    Any,
    Get,
    Head,
    Put,
    Post,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// Ports of TCP or UDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ports {
    /// Name of the object.
    pub name: Slug,
    /// Ports; none means every port. Versions before v1alpha4 have no ports, and a dialect leaves them out.
    pub ports: Vec<u16>,
}

/// Divides the calls of a Service among backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSplit {
    /// Name of the object.
    pub name: Slug,
    /// The root Service, which clients call.
    pub service: Slug,
    /// Who answers, by weight.
    pub backends: Vec<Backend>,
    /// Names of HTTPRouteGroups; when given, only requests that belong to one of them are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<Slug>>,
}

/// A Service and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// The Service.
    pub service: Slug,
    /// Its weight relative to the sum.
    pub weight: u32,
    /// The weight counts thousandths: 500 is `500m`, a half. Only split v1alpha1 can write that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub milli: bool,
}

impl Namespace {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Main, Self::Other];

    /// The word used in JSON, and where there is no cluster to have names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Other => "other",
        }
    }
}

impl Api {
    /// Every API, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Access, Self::Specs, Self::Split, Self::Metrics];

    /// The word used in flags, JSON and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Specs => "specs",
            Self::Split => "split",
            Self::Metrics => "metrics",
        }
    }
}

/// A release of SMI: only a label for a set of API versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Release {
    V040,
    V050,
    V060,
}

impl Release {
    /// Every release, oldest first.
    pub const ALL: [Self; 3] = [Self::V040, Self::V050, Self::V060];

    /// The version of an API in this release.
    pub fn version(self, api: Api) -> ApiVersion {
        use ApiVersion::{V1alpha1, V1alpha2, V1alpha3, V1alpha4};
        match (self, api) {
            (Self::V040, Api::Access) | (_, Api::Metrics) => V1alpha1,
            (Self::V040, Api::Specs) | (Self::V050, Api::Access) => V1alpha2,
            (Self::V040 | Self::V050, Api::Split) | (Self::V050, Api::Specs) | (Self::V060, Api::Access) => V1alpha3,
            (Self::V060, Api::Specs | Api::Split) => V1alpha4,
        }
    }
}

impl ApiVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V1alpha1, Self::V1alpha2, Self::V1alpha3, Self::V1alpha4];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1alpha1 => "v1alpha1",
            Self::V1alpha2 => "v1alpha2",
            Self::V1alpha3 => "v1alpha3",
            Self::V1alpha4 => "v1alpha4",
        }
    }
}

impl Method {
    /// As HTTP writes it; `*` stands for all of them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

impl Backend {
    /// Its weight in thousandths.
    pub fn thousandths(&self) -> u64 {
        u64::from(self.weight) * if self.milli { 1 } else { 1_000 }
    }
}

impl Kind {
    /// Every kind, in the order of their APIs.
    pub const ALL: [Self; 6] = [
        Self::TrafficTarget,
        Self::HttpRouteGroup,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::TrafficSplit,
        Self::TrafficMetrics,
    ];

    /// The kinds that are stored, which have CRDs.
    pub const STORED: [Self; 5] =
        [Self::TrafficTarget, Self::HttpRouteGroup, Self::TcpRoute, Self::UdpRoute, Self::TrafficSplit];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrafficTarget => "TrafficTarget",
            Self::HttpRouteGroup => "HTTPRouteGroup",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::TrafficSplit => "TrafficSplit",
            Self::TrafficMetrics => "TrafficMetrics",
        }
    }

    /// As paths of the Kubernetes API write it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::TrafficTarget => "traffictargets",
            Self::HttpRouteGroup => "httproutegroups",
            Self::TcpRoute => "tcproutes",
            Self::UdpRoute => "udproutes",
            Self::TrafficSplit => "trafficsplits",
            Self::TrafficMetrics => "trafficmetrics",
        }
    }

    /// The name of its CRD.
    pub fn crd(self) -> String {
        format!("{}.{}.smi-spec.io", self.plural(), self.api())
    }

    /// The API that has this kind.
    pub fn api(self) -> Api {
        match self {
            Self::TrafficTarget => Api::Access,
            Self::HttpRouteGroup | Self::TcpRoute | Self::UdpRoute => Api::Specs,
            Self::TrafficSplit => Api::Split,
            Self::TrafficMetrics => Api::Metrics,
        }
    }
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::TrafficTarget(_) => Kind::TrafficTarget,
            Self::HttpRouteGroup(_) => Kind::HttpRouteGroup,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
            Self::TrafficSplit(_) => Kind::TrafficSplit,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Slug {
        match self {
            Self::TrafficTarget(object) => &object.name,
            Self::HttpRouteGroup(object) => &object.name,
            Self::TcpRoute(object) | Self::UdpRoute(object) => &object.name,
            Self::TrafficSplit(object) => &object.name,
        }
    }

    /// The kinds it refers to, its own first.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![self.kind()];
        match self {
            Self::TrafficTarget(target) => kinds.extend(target.rules.iter().map(|rule| rule.kind)),
            Self::TrafficSplit(split) if split.matches.is_some() => kinds.push(Kind::HttpRouteGroup),
            Self::TrafficSplit(_) | Self::HttpRouteGroup(_) | Self::TcpRoute(_) | Self::UdpRoute(_) => {}
        }
        kinds
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn is_main(namespace: &Namespace) -> bool {
    *namespace == Namespace::Main
}
