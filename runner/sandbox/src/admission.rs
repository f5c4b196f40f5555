//! Admission: what an API server with SMI's definitions does with an object before a mesh sees it.
//!
//! The definitions are those that `smi-runner crds` prints. An object is checked against the schema of its kind in its
//! version, and what the schema does not know is removed. Of OpenAPI only what these schemas use is read: `type`,
//! `required`, `properties`, `additionalProperties`, `items`, `enum` and `x-kubernetes-int-or-string`.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Map, Value};
use smi_schemas::smi::{ApiVersion, Kind};

use crate::mutant::Mutant;

const DEFINITIONS: [&str; 4] = [
    include_str!("../../../schemas/crds/before-v0.4.0.yaml"),
    include_str!("../../../schemas/crds/v0.4.0.yaml"),
    include_str!("../../../schemas/crds/v0.5.0.yaml"),
    include_str!("../../../schemas/crds/v0.6.0.yaml"),
];

/// Schemas by kind and version.
#[derive(Clone, Debug)]
pub struct Definitions(BTreeMap<(Kind, ApiVersion), Value>);

/// Why an object was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no definition.
    #[error("{0} is not served in {1}")]
    NotServed(Kind, ApiVersion),
    /// A field that must be there is not.
    #[error("{at}: Required value")]
    Required {
        /// JSON pointer.
        at: String,
    },
    /// A value of another type, or not one of those allowed.
    #[error("{at}: Invalid value {value}")]
    Invalid {
        /// JSON pointer.
        at: String,
        /// The value.
        value: Value,
    },
}

impl Definitions {
    /// Every kind in every version, as a mutant would have it.
    pub fn new(mutant: Option<Mutant>) -> Self {
        let mut schemas = BTreeMap::new();
        let documents = DEFINITIONS.iter().flat_map(|text| serde_yaml_ng::Deserializer::from_str(text));
        for definition in documents.filter_map(|document| Value::deserialize(document).ok()) {
            let kind = Kind::STORED.into_iter().find(|kind| definition["spec"]["names"]["kind"] == kind.as_str());
            for listed in definition["spec"]["versions"].as_array().into_iter().flatten() {
                let version = ApiVersion::ALL.into_iter().find(|version| listed["name"] == version.as_str());
                if let (Some(kind), Some(version)) = (kind, version) {
                    let mut schema = listed["schema"]["openAPIV3Schema"].clone();
                    if let Some(mutant) = mutant {
                        mutant.redefine(kind, &mut schema);
                    }
                    schemas.insert((kind, version), schema);
                }
            }
        }
        Self(schemas)
    }

    /// The schema of a kind in a version.
    pub fn schema(&self, kind: Kind, version: ApiVersion) -> Option<&Value> {
        self.0.get(&(kind, version))
    }

    /// Checks an object and removes what its schema does not know.
    pub fn admit(&self, kind: Kind, version: ApiVersion, object: &mut Value) -> Result<(), Refused> {
        let schema = self.schema(kind, version).ok_or(Refused::NotServed(kind, version))?;
        visit(schema, object, "")
    }
}

fn visit(schema: &Value, value: &mut Value, at: &str) -> Result<(), Refused> {
    let invalid = |value: &Value| Err(Refused::Invalid { at: at.to_owned(), value: value.clone() });
    if schema["x-kubernetes-int-or-string"] == true {
        return if value.is_string() || value.is_i64() || value.is_u64() { Ok(()) } else { invalid(value) };
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => false,
    };
    let among = schema["enum"].as_array().is_none_or(|allowed| allowed.contains(value));
    if !fits || !among {
        return invalid(value);
    }
    match value {
        Value::Object(fields) => visit_fields(schema, fields, at),
        Value::Array(items) => {
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, item)| visit(&schema["items"], item, &format!("{at}/{index}")))
        }
        _ => Ok(()),
    }
}

fn visit_fields(schema: &Value, fields: &mut Map<String, Value>, at: &str) -> Result<(), Refused> {
    let mut required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = required.find(|name| !fields.contains_key(*name)) {
        return Err(Refused::Required { at: format!("{at}/{name}") });
    }
    if at == "/metadata" {
        // That is Kubernetes' own.
        return Ok(());
    }
    let others = &schema["additionalProperties"];
    fields.retain(|name, _| !others.is_null() || !schema["properties"][name].is_null());
    for (name, field) in fields {
        let property = &schema["properties"][name];
        visit(if property.is_null() { others } else { property }, field, &format!("{at}/{name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admitted(version: ApiVersion, group: Value) -> Result<Value, String> {
        let mut object = group;
        let admitted = Definitions::new(None).admit(Kind::HttpRouteGroup, version, &mut object);
        admitted.map(|()| object).map_err(|refused| refused.to_string())
    }

    #[test]
    fn every_kind_has_a_schema_in_each_of_its_versions() {
        let of = |kind| {
            let definitions = Definitions::new(None);
            ApiVersion::ALL.into_iter().filter(move |version| definitions.schema(kind, *version).is_some()).count()
        };
        assert_eq!(Kind::STORED.map(of), [3, 4, 4, 1, 4]);
    }

    #[test]
    fn what_the_schema_does_not_know_is_removed() {
        let object = json!({
            "metadata": {"name": "g", "labels": {"a": "b"}}, "matches": [],
            "spec": {"more": 1, "matches": [{"name": "a", "headers": [{"x-a": "1"}], "hosts": ["b"]}]},
        });
        let kept = json!({
            "metadata": {"name": "g", "labels": {"a": "b"}},
            "spec": {"matches": [{"name": "a", "headers": [{"x-a": "1"}]}]},
        });
        assert_eq!(admitted(ApiVersion::V1alpha4, object), Ok(kept));
    }

    #[test]
    fn what_the_schema_does_not_allow_is_refused() {
        let spec = |matches: Value| admitted(ApiVersion::V1alpha3, json!({"spec": {"matches": matches}}));
        assert_eq!(spec(json!([{}])), Err("/spec/matches/0/name: Required value".to_owned()));
        let methods = spec(json!([{"name": "a", "methods": ["GET", "FETCH"]}]));
        assert_eq!(methods, Err("/spec/matches/0/methods/1: Invalid value \"FETCH\"".to_owned()));
        assert_eq!(spec(json!({"name": "a"})), Err("/spec/matches: Invalid value {\"name\":\"a\"}".to_owned()));
        let headers = spec(json!([{"name": "a", "headers": {"x": "y"}}]));
        assert_eq!(headers, Err("/spec/matches/0/headers: Invalid value {\"x\":\"y\"}".to_owned()));
        assert_eq!(
            Definitions::new(None).admit(Kind::UdpRoute, ApiVersion::V1alpha1, &mut json!({})),
            Err(Refused::NotServed(Kind::UdpRoute, ApiVersion::V1alpha1))
        );
    }
}
