//! Dialects: a version-neutral SMI resource as a Kubernetes object of one API version, and back.
//!
//! | API | versions | differences |
//! |---|---|---|
//! | access | v1alpha1 | fields at the root of the object; `specs` for rules; a destination may have a port, and some CRDs demand one |
//! | | v1alpha2 | fields under `spec`; `rules`; a destination may have a port |
//! | | v1alpha3 | no port; rules may name a UDPRoute |
//! | specs | v1alpha1 | matches at the root of the object, without headers; a TCPRoute has no fields |
//! | | v1alpha2 | matches may have headers, a list or a map as the CRD says |
//! | | v1alpha3 | matches under `spec` |
//! | | v1alpha4 | TCPRoute and UDPRoute have ports |
//! | split | v1alpha1 | weights are quantities: `1` is `1000m` |
//! | | v1alpha2 | weights are whole numbers |
//! | | v1alpha3, v1alpha4 | matches |
//! | metrics | v1alpha1 | nothing is written |
//!
//! What a version does not have is left out: the suite does not ask it of that version. Where a CRD demands a port and
//! the suite names none, [`HTTP_PORT`] is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use smi_schemas::names::Slug;
use smi_schemas::smi::{
    Api, ApiVersion, Backend, HttpMatch, HttpRouteGroup, Kind, Method, Namespace, Ports, Resource, Rule,
    ServiceAccount, TrafficSplit, TrafficTarget,
};
use smi_schemas::suite::Flaw;

/// The port at which suites have workloads speak HTTP.
pub const HTTP_PORT: u16 = 8080;

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

/// Names for where there is no cluster.
impl Default for Namespaces {
    fn default() -> Self {
        Self { main: Namespace::Main.as_str().to_owned(), other: Namespace::Other.as_str().to_owned() }
    }
}

impl Namespaces {
    /// The name of one of the two.
    pub fn of(&self, namespace: Namespace) -> &str {
        match namespace {
            Namespace::Main => &self.main,
            Namespace::Other => &self.other,
        }
    }
}

/// One version of each API, in the forms that the CRDs in force ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The versions.
    pub apis: BTreeMap<Api, ApiVersion>,
    /// How headers are written.
    pub headers: HeaderForm,
    /// Whether a TrafficTarget must name a port.
    pub port_demanded: bool,
}

/// The versions that are spoken, oldest first.
pub fn spoken(api: Api) -> &'static [ApiVersion] {
    match api {
        Api::Access => &[ApiVersion::V1alpha1, ApiVersion::V1alpha2, ApiVersion::V1alpha3],
        Api::Specs | Api::Split => &ApiVersion::ALL,
        Api::Metrics => &[ApiVersion::V1alpha1],
    }
}

/// Every version of every API that is spoken.
pub fn all_spoken() -> BTreeMap<Api, BTreeSet<ApiVersion>> {
    Api::ALL.into_iter().map(|api| (api, spoken(api).iter().copied().collect())).collect()
}

impl Dialect {
    /// The object, or nothing when its API has no version.
    pub fn write(&self, resource: &Resource, namespaces: &Namespaces) -> Option<Value> {
        let version = *self.apis.get(&resource.kind().api())?;
        let fields = match resource {
            Resource::TrafficTarget(target) => self.target(target, version, namespaces),
            Resource::HttpRouteGroup(group) => self.group(group, version),
            Resource::TcpRoute(route) | Resource::UdpRoute(route) => ports(route, version),
            Resource::TrafficSplit(split) => traffic_split(split, version),
        };
        let mut object = json!({
            "apiVersion": format!("{}.smi-spec.io/{version}", resource.kind().api()),
            "kind": resource.kind().as_str(),
            "metadata": {"name": resource.name().as_str(), "namespace": namespaces.main},
        });
        match fields {
            Value::Object(fields) if is_flat(resource.kind(), version) => object.as_object_mut()?.extend(fields),
            fields => object["spec"] = fields,
        }
        Some(object)
    }

    /// The resource that an object stands for, as a mesh reads it. Nothing when it is none.
    pub fn read(&self, object: &Value, namespaces: &Namespaces) -> Option<Resource> {
        let kind = Kind::ALL.into_iter().find(|kind| object["kind"] == kind.as_str())?;
        let version = *self.apis.get(&kind.api())?;
        let name: Slug = slug(&object["metadata"]["name"])?;
        let fields = if is_flat(kind, version) { object } else { &object["spec"] };
        Some(match kind {
            Kind::TrafficTarget => Resource::TrafficTarget(read_target(fields, name, version, namespaces)?),
            Kind::HttpRouteGroup => Resource::HttpRouteGroup(self.read_group(fields, name)?),
            Kind::TcpRoute => Resource::TcpRoute(read_ports(fields, name)?),
            Kind::UdpRoute => Resource::UdpRoute(read_ports(fields, name)?),
            Kind::TrafficSplit => Resource::TrafficSplit(read_split(fields, name)?),
            Kind::TrafficMetrics => return None,
        })
    }

    /// Puts a flaw into an object that was written here.
    pub fn spoil(&self, object: &mut Value, flaw: Flaw) {
        let kind = flaw.kind();
        let at_root = self.apis.get(&kind.api()).is_some_and(|version| is_flat(kind, *version));
        let rules = if self.apis.get(&Api::Access) == Some(&ApiVersion::V1alpha1) { "specs" } else { "rules" };
        let fields = if at_root { object } else { &mut object["spec"] };
        let remove = |object: &mut Value, field: &str| drop(object.as_object_mut().map(|object| object.remove(field)));
        match flaw {
            Flaw::NoDestination => remove(fields, "destination"),
            Flaw::NoRules => remove(fields, rules),
            Flaw::NoSources => remove(fields, "sources"),
            Flaw::UnknownRuleKind => fields[rules][0]["kind"] = "GRPCRoute".into(),
            Flaw::UnnamedMatch => remove(&mut fields["matches"][0], "name"),
            Flaw::UnknownMethod => fields["matches"][0]["methods"] = json!(["FETCH"]),
            Flaw::NoService => remove(fields, "service"),
            Flaw::NoBackends => remove(fields, "backends"),
            Flaw::NoWeight => remove(&mut fields["backends"][0], "weight"),
        }
    }

    fn target(&self, target: &TrafficTarget, version: ApiVersion, namespaces: &Namespaces) -> Value {
        let rules = target.rules.iter().map(|rule| {
            let mut object = json!({"kind": rule.kind.as_str(), "name": rule.name.as_str()});
            if let Some(matches) = &rule.matches {
                object["matches"] = matches.iter().map(Slug::as_str).collect();
            }
            object
        });
        let mut destination = subject(&target.destination, namespaces);
        let port = target.port.or(self.port_demanded.then_some(HTTP_PORT));
        if let Some(port) = port.filter(|_| version < ApiVersion::V1alpha3) {
            destination["port"] = port.into();
        }
        json!({
            "destination": destination,
            rules_field(version): rules.collect::<Vec<_>>(),
            "sources": target.sources.iter().map(|source| subject(source, namespaces)).collect::<Vec<_>>(),
        })
    }

    fn group(&self, group: &HttpRouteGroup, version: ApiVersion) -> Value {
        let written = |matched: &HttpMatch| {
            let mut object = json!({"name": matched.name.as_str()});
            if let Some(path) = &matched.path_regex {
                object["pathRegex"] = path.as_str().into();
            }
            if let Some(methods) = &matched.methods {
                object["methods"] = methods.iter().map(|method| method.as_str()).collect();
            }
            if let Some(headers) = matched.headers.as_ref().filter(|_| version > ApiVersion::V1alpha1) {
                let single = |(name, value): (&String, &String)| {
                    Value::Object(Map::from_iter([(name.clone(), value.as_str().into())]))
                };
                object["headers"] = match self.headers {
                    HeaderForm::List => headers.iter().map(single).collect(),
                    HeaderForm::Map => json!(headers),
                };
            }
            object
        };
        json!({"matches": group.matches.iter().map(written).collect::<Vec<_>>()})
    }

    fn read_group(&self, fields: &Value, name: Slug) -> Option<HttpRouteGroup> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read = |object: &Value| {
            let headers = match (&object["headers"], self.headers) {
                (Value::Array(list), HeaderForm::List) => Some(list.iter().filter_map(Value::as_object).collect()),
                (Value::Object(map), HeaderForm::Map) => Some(vec![map]),
                _ => None,
            };
            let pairs = |objects: Vec<&Map<String, Value>>| {
                let fields = objects.into_iter().flatten();
                fields.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
            };
            Some(HttpMatch {
                name: slug(&object["name"])?,
                path_regex: text(&object["pathRegex"]),
                methods: object["methods"].as_array().map(|methods| methods.iter().filter_map(method).collect()),
                headers: headers.map(pairs),
            })
        };
        Some(HttpRouteGroup { name, matches: fields["matches"].as_array()?.iter().filter_map(read).collect() })
    }
}

/// What an object's schema says of its fields: those under `spec`, or at the root of the object in old versions.
pub fn fields(schema: &Value) -> &Value {
    let root = &schema["properties"];
    if root["spec"].is_null() { root } else { &root["spec"]["properties"] }
}

/// Whether the schema of a TrafficTarget demands a port.
pub fn demands_port(schema: &Value) -> bool {
    let required = fields(schema)["destination"]["required"].as_array();
    required.is_some_and(|required| required.iter().any(|name| name == "port"))
}

/// Fields that were written and are not read back as they were, as JSON pointers.
pub fn lost(written: &Value, read: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, value) in written.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            missing(value, &read[name], &format!("/{name}"), &mut lost);
        }
    }
    lost
}

fn missing(written: &Value, read: &Value, at: &str, lost: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                missing(value, &read[name], &format!("{at}/{name}"), lost);
            }
        }
        (Value::Array(values), Value::Array(found)) if values.len() == found.len() => {
            for (index, (value, found)) in values.iter().zip(found).enumerate() {
                missing(value, found, &format!("{at}/{index}"), lost);
            }
        }
        _ if written == read => {}
        // What is empty says nothing, whether it is stored or not.
        (Value::Object(fields), Value::Null) if fields.is_empty() => {}
        (Value::Array(values), Value::Null) if values.is_empty() => {}
        _ => lost.push(at.to_owned()),
    }
}

/// Whether a kind has its fields at the root of the object.
fn is_flat(kind: Kind, version: ApiVersion) -> bool {
    match kind {
        Kind::TrafficTarget => version == ApiVersion::V1alpha1,
        Kind::HttpRouteGroup | Kind::TcpRoute | Kind::UdpRoute => version <= ApiVersion::V1alpha2,
        Kind::TrafficSplit | Kind::TrafficMetrics => false,
    }
}

fn rules_field(version: ApiVersion) -> &'static str {
    if version == ApiVersion::V1alpha1 { "specs" } else { "rules" }
}

fn subject(identity: &ServiceAccount, namespaces: &Namespaces) -> Value {
    let namespace = namespaces.of(identity.namespace);
    json!({"kind": "ServiceAccount", "name": identity.service_account.as_str(), "namespace": namespace})
}

fn ports(route: &Ports, version: ApiVersion) -> Value {
    if version < ApiVersion::V1alpha4 { json!({}) } else { json!({"matches": {"ports": route.ports}}) }
}

fn traffic_split(split: &TrafficSplit, version: ApiVersion) -> Value {
    let backend = |backend: &Backend| {
        let weight: Value = if backend.milli && version == ApiVersion::V1alpha1 {
            format!("{}m", backend.weight).into()
        } else {
            backend.weight.into()
        };
        json!({"service": backend.service.as_str(), "weight": weight})
    };
    let mut spec = json!({
        "service": split.service.as_str(),
        "backends": split.backends.iter().map(backend).collect::<Vec<_>>(),
    });
    if let Some(groups) = split.matches.as_ref().filter(|_| version >= ApiVersion::V1alpha3) {
        let reference = |name: &Slug| json!({"kind": "HTTPRouteGroup", "name": name.as_str()});
        spec["matches"] = groups.iter().map(reference).collect();
    }
    spec
}

fn read_target(fields: &Value, name: Slug, version: ApiVersion, namespaces: &Namespaces) -> Option<TrafficTarget> {
    let identity = |subject: &Value| {
        let namespace =
            if subject["namespace"] == namespaces.other.as_str() { Namespace::Other } else { Namespace::Main };
        Some(ServiceAccount { namespace, service_account: slug(&subject["name"])? })
    };
    let rule = |object: &Value| {
        let kind = Kind::ALL.into_iter().find(|kind| object["kind"] == kind.as_str())?;
        let matches = object["matches"].as_array().map(|names| names.iter().filter_map(slug).collect());
        Some(Rule { kind, name: slug(&object["name"])?, matches })
    };
    let port = fields["destination"]["port"].as_u64();
    Some(TrafficTarget {
        name,
        destination: identity(&fields["destination"])?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        sources: fields["sources"].as_array().into_iter().flatten().filter_map(identity).collect(),
        rules: fields[rules_field(version)].as_array().into_iter().flatten().filter_map(rule).collect(),
    })
}

fn read_ports(fields: &Value, name: Slug) -> Option<Ports> {
    let ports = fields["matches"]["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok()));
    Some(Ports { name, ports: ports.collect::<Option<_>>()? })
}

fn read_split(fields: &Value, name: Slug) -> Option<TrafficSplit> {
    let backend = |object: &Value| {
        let (weight, milli) = match &object["weight"] {
            Value::String(quantity) => match quantity.strip_suffix('m') {
                Some(thousandths) => (thousandths.parse().ok()?, true),
                None => (quantity.parse().ok()?, false),
            },
            number => (u32::try_from(number.as_u64()?).ok()?, false),
        };
        Some(Backend { service: slug(&object["service"])?, weight, milli })
    };
    let matches = fields["matches"].as_array();
    Some(TrafficSplit {
        name,
        service: slug(&fields["service"])?,
        backends: fields["backends"].as_array()?.iter().filter_map(backend).collect(),
        matches: matches.map(|groups| groups.iter().filter_map(|group| slug(&group["name"])).collect()),
    })
}

fn slug(value: &Value) -> Option<Slug> {
    value.as_str()?.parse().ok()
}

fn method(value: &Value) -> Option<Method> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ApiVersion::{V1alpha1, V1alpha2, V1alpha3, V1alpha4};

    fn namespaces() -> Namespaces {
        Namespaces { main: "m".into(), other: "o".into() }
    }

    fn dialect(api: Api, version: ApiVersion) -> Dialect {
        Dialect { apis: BTreeMap::from([(api, version)]), ..Dialect::default() }
    }

    /// The fields of an object, wherever they are, after a mesh read it and wrote it again.
    fn written(resource: &Value, dialect: &Dialect) -> Value {
        let resource: Resource = serde_json::from_value(resource.clone()).unwrap();
        let mut object = dialect.write(&resource, &namespaces()).unwrap();
        let read = dialect.read(&object, &namespaces()).unwrap();
        assert_eq!((read.kind(), read.name()), (resource.kind(), resource.name()));
        assert_eq!(dialect.write(&read, &namespaces()), Some(object.clone()));
        let (api, version) = dialect.apis.first_key_value().unwrap();
        assert_eq!(object["apiVersion"], format!("{api}.smi-spec.io/{version}"));
        for field in ["apiVersion", "kind", "metadata"] {
            object.as_object_mut().unwrap().remove(field);
        }
        object
    }

    #[test]
    fn what_is_spoken_is_what_the_table_names() {
        let expected = [
            (Api::Access, [V1alpha1, V1alpha2, V1alpha3].into()),
            (Api::Specs, ApiVersion::ALL.into()),
            (Api::Split, ApiVersion::ALL.into()),
            (Api::Metrics, [V1alpha1].into()),
        ];
        assert_eq!(all_spoken(), expected.into());
    }

    #[test]
    fn a_target_names_both_namespaces() {
        let target = json!({"kind": "TrafficTarget", "name": "t", "destination": {"serviceAccount": "s"}, "port": 9000,
            "sources": [{"namespace": "other", "serviceAccount": "c"}],
            "rules": [{"kind": "HTTPRouteGroup", "name": "g", "matches": ["a"]}, {"kind": "TCPRoute", "name": "p"}]});
        let rules =
            json!([{"kind": "HTTPRouteGroup", "name": "g", "matches": ["a"]}, {"kind": "TCPRoute", "name": "p"}]);
        let sources = json!([{"kind": "ServiceAccount", "name": "c", "namespace": "o"}]);
        let destination = json!({"kind": "ServiceAccount", "name": "s", "namespace": "m"});
        let mut ported = destination.clone();
        ported["port"] = 9000.into();
        let of = |version| written(&target, &dialect(Api::Access, version));
        assert_eq!(of(V1alpha1), json!({"destination": ported, "specs": rules, "sources": sources}));
        assert_eq!(of(V1alpha2), json!({"spec": {"destination": ported, "rules": rules, "sources": sources}}));
        assert_eq!(of(V1alpha3), json!({"spec": {"destination": destination, "rules": rules, "sources": sources}}));
    }

    #[test]
    fn a_port_is_written_where_it_is_demanded() {
        let target = json!({"kind": "TrafficTarget", "name": "t", "destination": {"serviceAccount": "s"},
            "sources": [], "rules": []});
        let of = |port_demanded| {
            written(&target, &Dialect { port_demanded, ..dialect(Api::Access, V1alpha1) })["destination"]["port"]
                .clone()
        };
        assert_eq!((of(false), of(true)), (Value::Null, HTTP_PORT.into()));
    }

    #[test]
    fn a_schema_demands_a_port_where_it_has_its_fields() {
        let demands = |required: Value| {
            let fields = json!({"destination": {"required": required}});
            let at_root = demands_port(&json!({"properties": fields}));
            let in_spec = demands_port(&json!({"properties": {"spec": {"properties": fields}}}));
            assert_eq!(at_root, in_spec);
            at_root
        };
        assert!(demands(json!(["name", "port"])));
        assert!(!demands(json!(["name"])));
        assert!(!demands(Value::Null));
    }

    #[test]
    fn headers_are_a_list_or_a_map() {
        let group = json!({"kind": "HTTPRouteGroup", "name": "g", "matches": [
            {"name": "a", "pathRegex": "/a", "methods": ["GET", "*"], "headers": {"x-a": "1", "x-b": "2"}}, {"name": "b"}]});
        let of = |version, headers| written(&group, &Dialect { headers, ..dialect(Api::Specs, version) });
        let rest = |headers| json!({"matches": [{"name": "a", "pathRegex": "/a", "methods": ["GET", "*"], "headers": headers}, {"name": "b"}]});
        let (list, map) = (json!([{"x-a": "1"}, {"x-b": "2"}]), json!({"x-a": "1", "x-b": "2"}));
        assert_eq!(of(V1alpha2, HeaderForm::List), rest(list.clone()));
        assert_eq!(of(V1alpha2, HeaderForm::Map), rest(map.clone()));
        for version in [V1alpha3, V1alpha4] {
            assert_eq!(of(version, HeaderForm::List)["spec"], rest(list.clone()));
            assert_eq!(of(version, HeaderForm::Map)["spec"], rest(map.clone()));
        }
        assert_eq!(of(V1alpha1, HeaderForm::List)["matches"][0]["headers"], Value::Null);
    }

    #[test]
    fn what_a_version_lacks_is_left_out() {
        let route = json!({"kind": "TCPRoute", "name": "r", "ports": [80]});
        let of = |version| written(&route, &dialect(Api::Specs, version));
        assert_eq!((of(V1alpha1), of(V1alpha2), of(V1alpha3)), (json!({}), json!({}), json!({"spec": {}})));
        assert_eq!(of(V1alpha4), json!({"spec": {"matches": {"ports": [80]}}}));
        let split = json!({"kind": "TrafficSplit", "name": "s", "service": "w", "matches": ["g"],
            "backends": [{"service": "a", "weight": 1}, {"service": "b", "weight": 500, "milli": true}]});
        let of = |version| written(&split, &dialect(Api::Split, version))["spec"].clone();
        let whole = json!([{"service": "a", "weight": 1}, {"service": "b", "weight": 500}]);
        let quantities = json!([{"service": "a", "weight": 1}, {"service": "b", "weight": "500m"}]);
        assert_eq!(of(V1alpha1), json!({"service": "w", "backends": quantities}));
        assert_eq!(of(V1alpha2), json!({"service": "w", "backends": whole}));
        let groups = json!([{"kind": "HTTPRouteGroup", "name": "g"}]);
        assert_eq!(of(V1alpha3), json!({"service": "w", "backends": whole, "matches": groups}));
        assert_eq!(of(V1alpha4), of(V1alpha3));
    }

    #[test]
    fn what_is_not_read_back_is_pointed_at() {
        let spec = json!({"service": "web", "backends": [{"service": "a", "weight": 1}], "matches": [{"name": "g"}]});
        let written = json!({"kind": "TrafficSplit", "metadata": {"name": "s"}, "spec": spec});
        let of = |spec: Value| lost(&written, &json!({"spec": spec}));
        assert_eq!(of(spec.clone()), Vec::<String>::new());
        let mut defaulted = spec.clone();
        defaulted["backends"][0]["added"] = 1.into();
        assert_eq!(of(defaulted), Vec::<String>::new());
        let pruned = json!({"service": "web", "backends": [{"service": "a"}]});
        assert_eq!(of(pruned), ["/spec/backends/0/weight", "/spec/matches"]);
        let changed = json!({"service": "web", "backends": [], "matches": [{"name": "g"}]});
        assert_eq!(of(changed), ["/spec/backends"]);
        assert_eq!(of(Value::Null), ["/spec"]);
        assert_eq!(lost(&json!({"spec": {}, "matches": []}), &json!({})), Vec::<String>::new());
        assert_eq!(lost(&json!({"matches": [{"name": "a"}]}), &json!({"matches": [{}]})), ["/matches/0/name"]);
    }

    #[test]
    fn a_flaw_is_put_where_the_version_has_the_field() {
        let spoilt = |resource: Value, api, version, flaw| {
            let (dialect, resource) = (dialect(api, version), serde_json::from_value(resource).unwrap());
            let mut object = dialect.write(&resource, &namespaces()).unwrap();
            let sound = object.clone();
            dialect.spoil(&mut object, flaw);
            assert_ne!(object, sound);
            object
        };
        let target = json!({"kind": "TrafficTarget", "name": "t", "destination": {"serviceAccount": "s"},
            "sources": [{"serviceAccount": "c"}], "rules": [{"kind": "TCPRoute", "name": "p"}]});
        let of = |version, flaw| spoilt(target.clone(), Api::Access, version, flaw);
        assert_eq!(of(V1alpha1, Flaw::NoRules)["specs"], Value::Null);
        assert_eq!(of(V1alpha2, Flaw::UnknownRuleKind)["spec"]["rules"][0]["kind"], "GRPCRoute");
        assert_eq!(of(V1alpha3, Flaw::NoDestination)["spec"]["destination"], Value::Null);
        assert_eq!(of(V1alpha3, Flaw::NoSources)["spec"]["sources"], Value::Null);
        let group = json!({"kind": "HTTPRouteGroup", "name": "g", "matches": [{"name": "a", "methods": ["GET"]}]});
        let of = |version, flaw| spoilt(group.clone(), Api::Specs, version, flaw);
        assert_eq!(of(V1alpha2, Flaw::UnnamedMatch)["matches"], json!([{"methods": ["GET"]}]));
        assert_eq!(of(V1alpha4, Flaw::UnknownMethod)["spec"]["matches"][0]["methods"], json!(["FETCH"]));
        let split =
            json!({"kind": "TrafficSplit", "name": "s", "service": "w", "backends": [{"service": "a", "weight": 1}]});
        let of = |flaw| spoilt(split.clone(), Api::Split, V1alpha4, flaw)["spec"].clone();
        assert_eq!(of(Flaw::NoService), json!({"backends": [{"service": "a", "weight": 1}]}));
        assert_eq!(of(Flaw::NoBackends), json!({"service": "w"}));
        assert_eq!(of(Flaw::NoWeight), json!({"service": "w", "backends": [{"service": "a"}]}));
    }
}
