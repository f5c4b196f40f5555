//! The CRDs that are ours, for clusters that have none.

use std::fs;

use serde::Deserialize as _;
use serde_yaml_ng::{Deserializer, Value};

fn crds(release: &str) -> Vec<Value> {
    let text = fs::read_to_string(smi_tests::root().join(format!("schemas/crds/{release}.yaml"))).unwrap();
    Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn served(release: &str) -> Vec<String> {
    crds(release)
        .iter()
        .map(|crd| {
            let names = &crd["spec"]["names"];
            let (group, plural) = (crd["spec"]["group"].as_str().unwrap(), names["plural"].as_str().unwrap());
            assert_eq!(crd["metadata"]["name"].as_str(), Some(format!("{plural}.{group}").as_str()));
            assert_eq!(crd["apiVersion"].as_str(), Some("apiextensions.k8s.io/v1"));
            assert_eq!(crd["spec"]["scope"].as_str(), Some("Namespaced"));
            let versions = crd["spec"]["versions"].as_sequence().unwrap();
            let stored = versions.iter().filter(|version| version["storage"].as_bool().unwrap());
            assert_eq!(stored.count(), 1, "{plural}");
            let served = versions.iter().map(|version| {
                assert!(version["served"].as_bool().unwrap());
                structural(&version["schema"]["openAPIV3Schema"], plural);
                version["name"].as_str().unwrap()
            });
            format!("{} {group}/{}", names["kind"].as_str().unwrap(), served.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// Every node has a type, and what it has inside fits it.
fn structural(schema: &Value, path: &str) {
    if schema["x-kubernetes-int-or-string"].as_bool() == Some(true) {
        return;
    }
    let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type"));
    let properties = schema["properties"].as_mapping();
    assert!(properties.is_none() || kind == "object", "{path}");
    for (name, property) in properties.into_iter().flatten() {
        structural(property, &format!("{path}.{}", name.as_str().unwrap()));
    }
    if kind == "array" {
        structural(&schema["items"], &format!("{path}[]"));
    }
    for required in schema["required"].as_sequence().into_iter().flatten() {
        assert!(properties.is_some_and(|properties| properties.contains_key(required)), "{path}: {required:?}");
    }
}

#[test]
fn each_release_serves_its_versions() {
    assert_eq!(
        served("before-v0.4.0"),
        [
            "TrafficTarget access.smi-spec.io/v1alpha1",
            "HTTPRouteGroup specs.smi-spec.io/v1alpha1",
            "TCPRoute specs.smi-spec.io/v1alpha1",
            "TrafficSplit split.smi-spec.io/v1alpha1 v1alpha2",
        ]
    );
    assert_eq!(
        served("v0.4.0"),
        [
            "TrafficTarget access.smi-spec.io/v1alpha1",
            "HTTPRouteGroup specs.smi-spec.io/v1alpha2",
            "TCPRoute specs.smi-spec.io/v1alpha2",
            "TrafficSplit split.smi-spec.io/v1alpha3",
        ]
    );
    assert_eq!(
        served("v0.5.0"),
        [
            "TrafficTarget access.smi-spec.io/v1alpha2",
            "HTTPRouteGroup specs.smi-spec.io/v1alpha3",
            "TCPRoute specs.smi-spec.io/v1alpha3",
            "TrafficSplit split.smi-spec.io/v1alpha3",
        ]
    );
    assert_eq!(
        served("v0.6.0"),
        [
            "TrafficTarget access.smi-spec.io/v1alpha3",
            "HTTPRouteGroup specs.smi-spec.io/v1alpha4",
            "TCPRoute specs.smi-spec.io/v1alpha4",
            "UDPRoute specs.smi-spec.io/v1alpha4",
            "TrafficSplit split.smi-spec.io/v1alpha4",
        ]
    );
}
