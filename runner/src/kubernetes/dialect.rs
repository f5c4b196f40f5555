//! Dialects: a version-neutral SMI resource as a Kubernetes object of one API version.
//!
//! | API | versions | differences |
//! |---|---|---|
//! | access | v1alpha2, v1alpha3 | none that the suite uses |
//! | specs | v1alpha3, v1alpha4 | a TCPRoute has ports from v1alpha4 on; headers are a list or a map, as the CRD says |
//! | split | v1alpha2, v1alpha3, v1alpha4 | matches exist from v1alpha3 on |
//!
//! What a version does not have is left out: the suite does not ask it of that version.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use smi_schemas::smi::{
    Api, ApiVersion, HttpMatch, HttpRouteGroup, Kind, Namespace, Resource, ServiceAccount, TcpRoute, TrafficSplit,
    TrafficTarget,
};

/// Every kind that is spoken.
pub const KINDS: [Kind; 4] = [Kind::TrafficTarget, Kind::HttpRouteGroup, Kind::TcpRoute, Kind::TrafficSplit];

/// How an HTTPRouteGroup writes headers: the SMI text and the CRDs in use differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderForm {
    /// A list of objects with one key each, as the SDK's CRD has it.
    #[default]
    List,
    /// One object, as the text has had it since September 2021.
    Map,
}

/// Names of the two namespaces of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// Where resources live.
    pub main: String,
    /// The second one.
    pub other: String,
}

/// The versions that are spoken, oldest first.
pub fn spoken(api: Api) -> &'static [ApiVersion] {
    match api {
        Api::Access => &[ApiVersion::V1alpha2, ApiVersion::V1alpha3],
        Api::Specs => &[ApiVersion::V1alpha3, ApiVersion::V1alpha4],
        Api::Split => &[ApiVersion::V1alpha2, ApiVersion::V1alpha3, ApiVersion::V1alpha4],
    }
}

/// Every version of every API that is spoken.
pub fn all_spoken() -> BTreeMap<Api, BTreeSet<ApiVersion>> {
    Api::ALL.into_iter().map(|api| (api, spoken(api).iter().copied().collect())).collect()
}

/// A kind as paths of the Kubernetes API write it.
pub fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::TrafficTarget => "traffictargets",
        Kind::HttpRouteGroup => "httproutegroups",
        Kind::TcpRoute => "tcproutes",
        Kind::TrafficSplit => "trafficsplits",
    }
}

/// The object, or nothing when its API has no version in `apis`.
pub fn object(
    resource: &Resource,
    apis: &BTreeMap<Api, ApiVersion>,
    headers: HeaderForm,
    namespaces: &Namespaces,
) -> Option<Value> {
    let api = resource.kind().api();
    let version = *apis.get(&api)?;
    let spec = match resource {
        Resource::TrafficTarget(target) => traffic_target(target, namespaces),
        Resource::HttpRouteGroup(group) => http_route_group(group, headers),
        Resource::TcpRoute(route) => tcp_route(route, version),
        Resource::TrafficSplit(split) => traffic_split(split, version),
    };
    Some(json!({
        "apiVersion": format!("{api}.smi-spec.io/{version}"),
        "kind": resource.kind().as_str(),
        "metadata": {"name": resource.name().as_str(), "namespace": namespaces.main},
        "spec": spec,
    }))
}

fn traffic_target(target: &TrafficTarget, namespaces: &Namespaces) -> Value {
    let rules = target.rules.iter().map(|rule| {
        let mut object = json!({"kind": rule.kind.as_str(), "name": rule.name.as_str()});
        if let Some(matches) = &rule.matches {
            object["matches"] = matches.iter().map(smi_schemas::names::Slug::as_str).collect();
        }
        object
    });
    json!({
        "destination": subject(&target.destination, namespaces),
        "rules": rules.collect::<Vec<_>>(),
        "sources": target.sources.iter().map(|source| subject(source, namespaces)).collect::<Vec<_>>(),
    })
}

fn subject(identity: &ServiceAccount, namespaces: &Namespaces) -> Value {
    let namespace = match identity.namespace {
        Namespace::Main => &namespaces.main,
        Namespace::Other => &namespaces.other,
    };
    json!({"kind": "ServiceAccount", "name": identity.service_account.as_str(), "namespace": namespace})
}

fn http_route_group(group: &HttpRouteGroup, headers: HeaderForm) -> Value {
    let matches: Vec<Value> = group.matches.iter().map(|matched| http_match(matched, headers)).collect();
    json!({"matches": matches})
}

fn http_match(matched: &HttpMatch, form: HeaderForm) -> Value {
    let mut object = json!({"name": matched.name.as_str()});
    if let Some(path) = &matched.path_regex {
        object["pathRegex"] = path.as_str().into();
    }
    if let Some(methods) = &matched.methods {
        object["methods"] = methods.iter().map(|method| method.as_str()).collect();
    }
    if let Some(headers) = &matched.headers {
        let single =
            |(name, value): (&String, &String)| Value::Object(Map::from_iter([(name.clone(), value.as_str().into())]));
        object["headers"] = match form {
            HeaderForm::List => headers.iter().map(single).collect(),
            HeaderForm::Map => json!(headers),
        };
    }
    object
}

fn tcp_route(route: &TcpRoute, version: ApiVersion) -> Value {
    if version < ApiVersion::V1alpha4 { json!({}) } else { json!({"matches": {"ports": route.ports}}) }
}

fn traffic_split(split: &TrafficSplit, version: ApiVersion) -> Value {
    let backend =
        |backend: &smi_schemas::smi::Backend| json!({"service": backend.service.as_str(), "weight": backend.weight});
    let mut spec = json!({
        "service": split.service.as_str(),
        "backends": split.backends.iter().map(backend).collect::<Vec<_>>(),
    });
    if let Some(groups) = split.matches.as_ref().filter(|_| version >= ApiVersion::V1alpha3) {
        let reference = |name: &smi_schemas::names::Slug| json!({"kind": "HTTPRouteGroup", "name": name.as_str()});
        spec["matches"] = groups.iter().map(reference).collect();
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resource: Value, version: (Api, ApiVersion), form: HeaderForm) -> Value {
        let namespaces = Namespaces { main: "m".into(), other: "o".into() };
        let resource: Resource = serde_json::from_value(resource).unwrap();
        object(&resource, &BTreeMap::from([version]), form, &namespaces).unwrap()
    }

    #[test]
    fn a_target_names_both_namespaces() {
        let target = json!({"kind": "TrafficTarget", "name": "t", "destination": {"serviceAccount": "s"},
            "sources": [{"namespace": "other", "serviceAccount": "c"}],
            "rules": [{"kind": "HTTPRouteGroup", "name": "g", "matches": ["a"]}, {"kind": "TCPRoute", "name": "p"}]});
        for version in spoken(Api::Access) {
            assert_eq!(
                written(target.clone(), (Api::Access, *version), HeaderForm::List),
                json!({
                    "apiVersion": format!("access.smi-spec.io/{version}"), "kind": "TrafficTarget",
                    "metadata": {"name": "t", "namespace": "m"},
                    "spec": {
                        "destination": {"kind": "ServiceAccount", "name": "s", "namespace": "m"},
                        "sources": [{"kind": "ServiceAccount", "name": "c", "namespace": "o"}],
                        "rules": [{"kind": "HTTPRouteGroup", "name": "g", "matches": ["a"]}, {"kind": "TCPRoute", "name": "p"}],
                    }
                })
            );
        }
    }

    #[test]
    fn headers_are_a_list_or_a_map() {
        let group = json!({"kind": "HTTPRouteGroup", "name": "g", "matches": [
            {"name": "a", "pathRegex": "/a", "methods": ["GET", "*"], "headers": {"x-a": "1", "x-b": "2"}}, {"name": "b"}]});
        let headers =
            |form| written(group.clone(), (Api::Specs, ApiVersion::V1alpha4), form)["spec"]["matches"].clone();
        let rest = |headers| json!([{"name": "a", "pathRegex": "/a", "methods": ["GET", "*"], "headers": headers}, {"name": "b"}]);
        assert_eq!(headers(HeaderForm::List), rest(json!([{"x-a": "1"}, {"x-b": "2"}])));
        assert_eq!(headers(HeaderForm::Map), rest(json!({"x-a": "1", "x-b": "2"})));
    }

    #[test]
    fn what_a_version_lacks_is_left_out() {
        let route = json!({"kind": "TCPRoute", "name": "r", "ports": [80]});
        let spec = |version| written(route.clone(), (Api::Specs, version), HeaderForm::List)["spec"].clone();
        assert_eq!(spec(ApiVersion::V1alpha3), json!({}));
        assert_eq!(spec(ApiVersion::V1alpha4), json!({"matches": {"ports": [80]}}));
        let split = json!({"kind": "TrafficSplit", "name": "s", "service": "w", "matches": ["g"],
            "backends": [{"service": "a", "weight": 1}]});
        let spec = |version| written(split.clone(), (Api::Split, version), HeaderForm::List)["spec"].clone();
        assert_eq!(spec(ApiVersion::V1alpha2), json!({"service": "w", "backends": [{"service": "a", "weight": 1}]}));
        for version in [ApiVersion::V1alpha3, ApiVersion::V1alpha4] {
            assert_eq!(spec(version)["matches"], json!([{"kind": "HTTPRouteGroup", "name": "g"}]));
        }
    }
}
