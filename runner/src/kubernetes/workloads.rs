//! The objects of a lane: two namespaces, and in them ServiceAccounts, Services and pods. Each carries the run's id,
//! and every pod satisfies Kubernetes' restricted profile, which its namespace enforces unless the mesh's profile says
//! otherwise, for the sake of what a mesh injects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use smi_schemas::names::{RunId, Slug};
use smi_schemas::suite::{Port, Protocol, Service, Shape, Workload};

use super::dialect::{HTTP_PORT, Namespaces};
use super::rbac::RESTRICTED_USER;
use crate::mesh::{Marks, Profile};

/// The label that carries a run's id.
pub(super) const RUN_LABEL: &str = "conformance.smi-spec.io/run";

/// The container in which the agent runs.
pub(super) const CONTAINER: &str = "agent";

/// Digits of the run's id in a namespace's name, for people; the label has all of them.
const ID_DIGITS: usize = 10;

/// What the objects of a run have in common.
#[derive(Clone, Copy)]
pub(super) struct Manifests<'a> {
    pub(super) run: &'a RunId,
    pub(super) profile: &'a Profile,
    pub(super) image: &'a str,
    pub(super) namespaces: &'a Namespaces,
}

/// Names of the namespaces of a lane.
pub(super) fn namespaces(run: &RunId, lane: &str) -> Namespaces {
    let id: String = run.as_str().chars().take(ID_DIGITS).collect();
    // A shape's name has at most 63 characters, a namespace's as well.
    let lane: String = lane.chars().take(40).collect();
    Namespaces { main: format!("smi-{id}-{lane}"), other: format!("smi-{id}-{lane}-other") }
}

/// What a workload speaks where.
fn listens(shape: &Shape, workload: &Workload) -> BTreeSet<(Protocol, u16)> {
    let ports = shape.listens(workload);
    if ports.is_empty() { BTreeSet::from([(Protocol::Http, HTTP_PORT)]) } else { ports }
}

impl Manifests<'_> {
    /// Both namespaces.
    pub(super) fn namespaces(&self) -> Vec<Value> {
        let Marks { labels, annotations } = &self.profile.enrol.namespace;
        let mut all = BTreeMap::from([("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())]);
        all.extend(labels.clone());
        all.insert(RUN_LABEL.to_owned(), self.run.to_string());
        let namespace = |name: &String| {
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": all, "annotations": annotations},
            })
        };
        [&self.namespaces.main, &self.namespaces.other].map(namespace).into()
    }

    /// The ServiceAccounts of a shape's workloads, each once.
    pub(super) fn service_accounts(&self, shape: &Shape) -> Vec<Value> {
        let accounts: BTreeSet<(&str, &Slug)> = shape
            .workloads
            .iter()
            .map(|workload| (self.namespaces.of(workload.namespace), &workload.service_account))
            .collect();
        let object = |(namespace, name): (&str, &Slug)| {
            json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": self.metadata(name, namespace, &BTreeMap::new(), &Marks::default()),
                "automountServiceAccountToken": false,
            })
        };
        accounts.into_iter().map(object).collect()
    }

    /// What the restricted user may do: get the edges of pods.
    pub(super) fn role(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": self.restricted(),
            "rules": [{"apiGroups": ["metrics.smi-spec.io"], "resources": ["pods/edges"], "verbs": ["get"]}],
        })
    }

    /// That it is the restricted user who may.
    pub(super) fn role_binding(&self) -> Value {
        let group = "rbac.authorization.k8s.io";
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": self.restricted(),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": RESTRICTED_USER},
            "subjects": [{"apiGroup": group, "kind": "User", "name": RESTRICTED_USER}],
        })
    }

    /// A Service.
    pub(super) fn service(&self, service: &Service) -> Value {
        let (transport, usual) = match service.protocol {
            Protocol::Http => ("TCP", Some("http")),
            Protocol::H2c => ("TCP", Some("kubernetes.io/h2c")),
            Protocol::Tcp => ("TCP", Some("tcp")),
            Protocol::Udp => ("UDP", None),
        };
        let own = self.profile.enrol.app_protocols.get(&service.protocol);
        let application = own.map(String::as_str).or(usual);
        let port = |port: &Port| {
            json!({
                "name": port_name(service.protocol, port.port),
                "appProtocol": application,
                "protocol": transport,
                "port": port.port,
                "targetPort": port.target_port,
            })
        };
        let none = Marks::default();
        let marks = self.profile.enrol.services.get(&service.protocol).unwrap_or(&none);
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(service.object(), self.namespaces.of(service.namespace), &BTreeMap::new(), marks),
            "spec": {"selector": service.selector, "ports": service.ports.iter().map(port).collect::<Vec<_>>()},
        })
    }

    /// The pod of a workload.
    pub(super) fn pod(&self, shape: &Shape, workload: &Workload) -> Value {
        let listens = listens(shape, workload);
        let mut arguments = vec!["serve".to_owned(), "--workload".to_owned(), workload.name.to_string()];
        arguments.extend(listens.iter().map(|(protocol, port)| match protocol {
            Protocol::Http | Protocol::H2c => format!("--listen=0.0.0.0:{port}"),
            Protocol::Tcp => format!("--tcp=0.0.0.0:{port}"),
            Protocol::Udp => format!("--udp=0.0.0.0:{port}"),
        }));
        let named = |(protocol, port): &(Protocol, u16)| {
            let transport = if *protocol == Protocol::Udp { "UDP" } else { "TCP" };
            json!({"name": port_name(*protocol, *port), "containerPort": port, "protocol": transport})
        };
        let enrol = &self.profile.enrol;
        let marks = if workload.outside { &enrol.outside } else { &enrol.pod };
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.metadata(&workload.name, self.namespaces.of(workload.namespace), &workload.labels, marks),
            "spec": {
                "serviceAccountName": workload.service_account,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": CONTAINER,
                    "image": self.image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                    "ports": listens.iter().map(named).collect::<Vec<_>>(),
                    "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": true,
                    },
                }],
            },
        })
    }

    fn restricted(&self) -> Value {
        json!({
            "name": RESTRICTED_USER,
            "namespace": self.namespaces.main,
            "labels": {RUN_LABEL: self.run.to_string()},
        })
    }

    fn metadata(&self, name: &Slug, namespace: &str, labels: &BTreeMap<Slug, Slug>, marks: &Marks) -> Value {
        let mut all = marks.labels.clone();
        all.extend(labels.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        all.insert(RUN_LABEL.to_owned(), self.run.to_string());
        json!({"name": name, "namespace": namespace, "labels": all, "annotations": marks.annotations})
    }
}

fn port_name(protocol: Protocol, port: u16) -> String {
    let protocol = match protocol {
        Protocol::Http => "http",
        Protocol::H2c => "h2c",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{protocol}-{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use smi_schemas::suite::{DRAFT, Suite};

    #[test]
    fn every_shape_becomes_objects_that_carry_the_run() {
        let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
        let run = RunId::new([7; 16]);
        for (profile, _) in Profile::all() {
            for shape in &suite.shapes {
                let namespaces = namespaces(&run, shape.name.as_str());
                let of = Manifests { run: &run, profile: &profile, image: "image:1", namespaces: &namespaces };
                let mut objects = of.namespaces();
                objects.extend(of.service_accounts(shape));
                objects.extend(shape.services.iter().map(|service| of.service(service)));
                objects.extend(shape.workloads.iter().map(|workload| of.pod(shape, workload)));
                let mut names = BTreeSet::new();
                for object in &objects {
                    let metadata = &object["metadata"];
                    assert_eq!(metadata["labels"][RUN_LABEL], run.as_str(), "{object}");
                    let name = metadata["name"].as_str().unwrap();
                    assert!(name.len() <= 63, "{name}");
                    assert!(names.insert((object["kind"].as_str(), metadata["namespace"].as_str(), name)), "{object}");
                }
                for pod in objects.iter().filter(|object| object["kind"] == "Pod") {
                    assert!(objects.iter().any(|account| account["kind"] == "ServiceAccount"
                        && account["metadata"]["name"] == pod["spec"]["serviceAccountName"]
                        && account["metadata"]["namespace"] == pod["metadata"]["namespace"]));
                }
            }
        }
    }

    #[test]
    fn names_of_namespaces_stay_short() {
        let names = namespaces(&RunId::new([0xab; 16]), &"x".repeat(63));
        assert!(names.main.len() <= 63 && names.other.len() <= 63);
        assert_eq!(namespaces(&RunId::new([0xab; 16]), "access").other, "smi-ababababab-access-other");
    }
}
