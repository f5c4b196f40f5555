//! What a run may do on a cluster: the least that it needs, in one table. `smi-runner rbac` prints it as a ClusterRole,
//! and preflight asks the cluster for every line of it.

use serde_json::{Value, json};
use smi_schemas::smi::{Api, Kind};
use smi_schemas::suite::Assertion;

use crate::mesh::{Field, Profile, Sign};

/// Verbs on the resources of a group.
pub struct Rule {
    /// The API group; the empty one is Kubernetes' own.
    pub group: &'static str,
    /// Its resources.
    pub resources: &'static [&'static str],
    /// What is done with them.
    pub verbs: &'static [&'static str],
}

/// The name of the role.
pub const ROLE: &str = "smi-conformance-runner";

/// Everything. Namespaces are made by a run itself, under names nobody can know before, so that the rest cannot be
/// confined to any by RBAC.
pub const RULES: [Rule; 8] = [
    Rule { group: "", resources: &["namespaces"], verbs: &["create", "delete", "get", "list"] },
    Rule { group: "", resources: &["pods"], verbs: &["create", "delete", "get", "list"] },
    // Servers ask for `create` or `get`, by the version of Kubernetes.
    Rule { group: "", resources: &["pods/exec"], verbs: &["create", "get"] },
    Rule { group: "", resources: &["serviceaccounts"], verbs: &["create"] },
    Rule { group: "", resources: &["services"], verbs: &["create", "delete"] },
    Rule { group: "access.smi-spec.io", resources: &["traffictargets"], verbs: SMI },
    Rule { group: "specs.smi-spec.io", resources: &["httproutegroups", "tcproutes", "udproutes"], verbs: SMI },
    Rule { group: "split.smi-spec.io", resources: &["trafficsplits"], verbs: SMI },
];

const SMI: &[&str] = &["create", "delete", "get", "list", "update"];

/// What asking the metrics API needs besides.
pub const METRICS_RULES: [Rule; 2] = [
    Rule {
        group: "metrics.smi-spec.io",
        resources: &["namespaces", "pods", "pods/edges", "trafficsplits"],
        verbs: &["get"],
    },
    Rule { group: "metrics.smi-spec.io", resources: &["pods"], verbs: &["list"] },
];

/// What it needs besides to ask as an account that may get the edges of pods only. Nobody can grant what they may not
/// do themselves.
pub const RESTRICTED_RULES: [Rule; 1] =
    [Rule { group: "rbac.authorization.k8s.io", resources: &["rolebindings", "roles"], verbs: &["create"] }];

/// Who asks as such an account: a name that a run gives its rights to, in its own namespaces, and takes on.
pub const RESTRICTED_USER: &str = "smi-conformance-edges-only";

/// How much of the metrics API a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metrics {
    /// Nothing.
    None,
    /// Metrics, as itself.
    Own,
    /// Also as the restricted account.
    Restricted,
}

impl Metrics {
    /// What assertions ask.
    pub fn of<'a>(assertions: impl Iterator<Item = &'a Assertion>) -> Self {
        let of = |assertion: &Assertion| {
            let mut questions = assertion.phases.iter().flat_map(|phase| &phase.metrics);
            if questions.any(|question| question.restricted) {
                Self::Restricted
            } else if assertion.uses().contains(&Api::Metrics) {
                Self::Own
            } else {
                Self::None
            }
        };
        assertions.map(of).max().unwrap_or(Self::None)
    }

    /// The lines of the table that this needs.
    pub fn rules(self) -> impl Iterator<Item = &'static Rule> {
        let own: &[Rule] = if self >= Self::Own { &METRICS_RULES } else { &[] };
        let restricted: &[Rule] = if self == Self::Restricted { &RESTRICTED_RULES } else { &[] };
        RULES.iter().chain(own).chain(restricted)
    }
}

/// The CRDs that are read, by name, in order.
pub fn crd_names() -> Vec<String> {
    let mut names = Kind::STORED.map(Kind::crd).to_vec();
    names.sort_unstable();
    names
}

/// What is read of the mesh's own configuration, if its profile says that anything is.
pub(super) fn read_of(profile: &Profile) -> Option<&Field> {
    match &profile.enforcing.as_ref()?.sign {
        Sign::Argument(_) => None,
        Sign::Field(field) => Some(field),
    }
}

/// The table as a ClusterRole, for runs with that profile that ask as much of the metrics API.
pub fn cluster_role(profile: Option<&Profile>, metrics: Metrics) -> Value {
    let mut rules: Vec<Value> = metrics
        .rules()
        .map(|rule| json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs}))
        .collect();
    rules.push(json!({
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "resourceNames": crd_names(),
        "verbs": ["get"],
    }));
    rules.extend(profile.and_then(read_of).map(|Field { group, plural, name, .. }| {
        json!({"apiGroups": [group], "resources": [plural], "resourceNames": [name], "verbs": ["get"]})
    }));
    if metrics == Metrics::Restricted {
        rules.push(json!({
            "apiGroups": [""],
            "resources": ["users"],
            "resourceNames": [RESTRICTED_USER],
            "verbs": ["impersonate"],
        }));
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": rules,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_meshs_configuration_one_object_is_read_and_only_with_its_profile() {
        let rules = |slug: &str| {
            let profile = Profile::builtin(slug);
            cluster_role(profile.as_ref().map(|(profile, _)| profile), Metrics::None)["rules"]
                .as_array()
                .unwrap()
                .clone()
        };
        let any = rules("");
        assert_eq!(rules("traefik-mesh"), any);
        let read = json!({
            "apiGroups": ["config.openservicemesh.io"],
            "resources": ["meshconfigs"],
            "resourceNames": ["osm-mesh-config"],
            "verbs": ["get"],
        });
        assert_eq!(rules("open-service-mesh"), [any, vec![read]].concat());
    }
}
