//! What runs on a cluster of a mesh, as measured: images by digest, version, enforcing mode.

use std::collections::BTreeSet;

use kube::api::ApiResource;
use serde_json::Value;
use smi_schemas::Digest;
use smi_schemas::names::Version;
use smi_schemas::statement::{DigestSet, Enforcing, Subject};

use super::cluster::{Cluster, ClusterError, patiently};
use super::preflight::PreflightError;
use crate::mesh::{Component, Field, Profile, Sign};

/// What runs of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// Its images.
    pub(super) subject: Vec<Subject>,
    /// Its version.
    pub(super) version: Option<Version>,
    /// Whether it denies.
    pub(super) enforcing: Enforcing,
}

/// Whether pods that are not ready are measured too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// A run does not begin on a mesh that is not ready.
    Required,
    /// What became of it by the end does not change what it is.
    Ignored,
}

/// Measures a mesh. Where there is none by the profile's own word, the runner itself is what the result is about.
pub(super) async fn measure(
    cluster: &Cluster,
    profile: &Profile,
    runner: Digest,
    readiness: Readiness,
) -> Result<Measured, PreflightError> {
    if profile.components.is_empty() {
        let subject = vec![Subject { name: "smi-runner".to_owned(), digest: DigestSet { sha256: runner.hex() } }];
        return Ok(Measured { subject, version: None, enforcing: Enforcing::Off });
    }
    let mut measured = Measured { subject: Vec::new(), version: None, enforcing: Enforcing::Unknown };
    for (index, component) in profile.components.iter().enumerate() {
        let pods = pods(cluster, profile, component, readiness).await?;
        let name = component.container.as_deref();
        for pod in &pods {
            let subject = image(pod, name)?;
            if !measured.subject.contains(&subject) {
                measured.subject.push(subject);
            }
        }
        if index == 0 {
            measured.version = unanimous(pods.iter().map(|pod| version(container(pod, name)))).flatten();
        }
        if let Some(enforcing) = profile.enforcing.as_ref().filter(|enforcing| enforcing.component == component.name) {
            let modes = match &enforcing.sign {
                Sign::Argument(argument) => pods.iter().map(|pod| mode(container(pod, name), argument)).collect(),
                Sign::Field(field) => modes(cluster, profile, field, &pods).await?,
            };
            measured.enforcing = unanimous(modes.into_iter()).unwrap_or(Enforcing::Unknown);
        }
    }
    in_order(&mut measured.subject);
    Ok(measured)
}

/// Images in the order in which a statement has them.
pub(super) fn in_order(images: &mut [Subject]) {
    images.sort_by(|a, b| (&a.name, &a.digest.sha256).cmp(&(&b.name, &b.digest.sha256)));
}

/// What all say; nothing when they differ.
fn unanimous<T: PartialEq>(mut said: impl Iterator<Item = T>) -> Option<T> {
    let first = said.next()?;
    said.all(|other| other == first).then_some(first)
}

/// Pods, as an API resource.
pub(super) fn pod_resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
}

/// A pod's container of that name, or its first. Kubernetes lists sidecars of its own kind among the init containers.
pub(super) fn container<'a>(pod: &'a Value, name: Option<&str>) -> &'a Value {
    let named = |container: &&Value| name.is_none_or(|name| container["name"] == name);
    listed(&pod["spec"], ["containers", "initContainers"]).find(named).unwrap_or(&Value::Null)
}

fn listed<'a>(of: &'a Value, fields: [&str; 2]) -> impl Iterator<Item = &'a Value> {
    fields.map(|field| of[field].as_array()).into_iter().flatten().flatten()
}

/// The image that a pod's container runs, by the digest under which registries know it.
pub(super) fn image(pod: &Value, name: Option<&str>) -> Result<Subject, PreflightError> {
    let container = container(pod, name);
    let mut statuses = listed(&pod["status"], ["containerStatuses", "initContainerStatuses"]);
    let status = statuses.find(|status| status["name"] == container["name"]);
    let id = status.and_then(|status| status["imageID"].as_str()).unwrap_or_default();
    let named = id.rsplit_once("://").map_or(id, |(_, named)| named);
    let parts = named.split_once("@sha256:").filter(|(name, hex)| !name.is_empty() && Digest::from_hex(hex).is_ok());
    match parts {
        Some((name, hex)) => Ok(Subject { name: name.to_owned(), digest: DigestSet { sha256: hex.to_owned() } }),
        None => Err(PreflightError::ImageUnnamed {
            pod: full_name(pod),
            image: container["image"].as_str().unwrap_or_default().to_owned(),
            id: id.to_owned(),
        }),
    }
}

/// Whether Kubernetes says that the pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn full_name(pod: &Value) -> String {
    let of = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", of("namespace"), of("name"))
}

async fn pods(
    cluster: &Cluster,
    profile: &Profile,
    component: &Component,
    readiness: Readiness,
) -> Result<Vec<Value>, PreflightError> {
    let labels: Vec<String> = component.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = labels.join(",");
    let mut pods = cluster.objects(&pod_resource(), None).list(&labels).await?;
    // Pods on their way out serve nobody any more.
    pods.retain(|pod| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
    });
    if pods.is_empty() {
        let (mesh, component) = (profile.slug.clone(), component.name.clone());
        return Err(PreflightError::MeshAbsent { mesh, component, labels });
    }
    match pods.iter().find(|pod| !is_ready(pod)) {
        Some(pod) if readiness == Readiness::Required => Err(PreflightError::MeshNotReady(full_name(pod))),
        _ => Ok(pods),
    }
}

/// The tag of the image, without the `v` that many put before a version.
fn version(container: &Value) -> Option<Version> {
    let image = container["image"].as_str()?;
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let tag = image.rsplit_once('/').map_or(image, |(_, last)| last).split_once(':')?.1;
    let numbered = tag.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    numbered.unwrap_or(tag).parse().ok()
}

/// What the arguments say. Without the argument the mesh does not deny, unless something else may have told it to.
fn mode(container: &Value, argument: &str) -> Enforcing {
    let values = |field: &str| container[field].as_array().cloned().unwrap_or_default();
    let given = [values("command"), values("args")].concat();
    let is = |text: &str| given.iter().any(|given| given == text);
    if is(argument) || is(&format!("{argument}=true")) {
        Enforcing::On
    } else if is(&format!("{argument}=false")) || (values("env").is_empty() && values("envFrom").is_empty()) {
        Enforcing::Off
    } else {
        Enforcing::Unknown
    }
}

/// What the object says, in each namespace in which the component has pods.
async fn modes(
    cluster: &Cluster,
    profile: &Profile,
    field: &Field,
    pods: &[Value],
) -> Result<Vec<Enforcing>, PreflightError> {
    let Field { group, version, plural, name, .. } = field;
    let absent = |place: &str| {
        let of = if group.is_empty() { String::new() } else { format!(".{group}") };
        PreflightError::ModeAbsent {
            mesh: profile.slug.clone(),
            object: format!("{plural}{of}/{name} in {version}{place}"),
        }
    };
    let client = cluster.client();
    let core = group.is_empty();
    let api_version = if core { version.clone() } else { format!("{group}/{version}") };
    let listed = if core {
        patiently(|| client.list_core_api_resources(&api_version)).await
    } else {
        patiently(|| client.list_api_group_resources(&api_version)).await
    };
    let served = match listed {
        Err(ClusterError::Absent(_)) => return Err(absent("")),
        served => served?,
    };
    let kind = served.resources.iter().find(|resource| resource.name == *plural).ok_or_else(|| absent(""))?;
    let resource = ApiResource {
        group: group.clone(),
        version: version.clone(),
        api_version,
        kind: kind.kind.clone(),
        plural: plural.clone(),
    };
    let namespaces: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["metadata"]["namespace"].as_str()).collect();
    let places: Vec<Option<&str>> =
        if kind.namespaced { namespaces.into_iter().map(Some).collect() } else { vec![None] };
    let mut modes = Vec::new();
    for place in places {
        match cluster.objects(&resource, place).get(name).await {
            Err(ClusterError::Absent(_)) => {
                return Err(absent(&place.map(|namespace| format!(", namespace {namespace}")).unwrap_or_default()));
            }
            object => modes.push(said(&object?, field)),
        }
    }
    Ok(modes)
}

/// What a field says; nothing where it is not there.
fn said(object: &Value, field: &Field) -> Enforcing {
    match object.pointer(&field.pointer) {
        None | Some(Value::Null) => Enforcing::Unknown,
        Some(value) if *value == field.value => Enforcing::On,
        Some(_) => Enforcing::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HEX: &str = "4f3c0f2f7d2f0a9c8f7d2f0a9c8f7d2f0a9c8f7d2f0a9c8f7d2f0a9c8f7d2f0a";

    fn pod(image: &str, id: &str) -> Value {
        json!({
            "metadata": {"namespace": "mesh", "name": "controller"},
            "spec": {"containers": [{"name": "controller", "image": image}, {"name": "sidecar"}]},
            "status": {"containerStatuses": [
                {"name": "sidecar", "imageID": "x"}, {"name": "controller", "imageID": id}]},
        })
    }

    #[test]
    fn an_image_is_named_by_its_digest_or_not_at_all() {
        for id in [format!("docker.io/a/b@sha256:{HEX}"), format!("docker-pullable://docker.io/a/b@sha256:{HEX}")] {
            let subject = image(&pod("a/b:v1", &id), None).unwrap();
            assert_eq!((subject.name.as_str(), subject.digest.sha256.as_str()), ("docker.io/a/b", HEX));
        }
        for id in [format!("sha256:{HEX}"), format!("@sha256:{HEX}"), format!("a@sha256:{}", &HEX[1..]), String::new()]
        {
            let error = image(&pod("a/b:v1", &id), None).unwrap_err();
            assert_eq!(error.code(), smi_schemas::codes::Code::ImageUnnamed, "{id}");
        }
    }

    #[test]
    fn a_proxy_beside_it_is_not_taken_for_the_container() {
        let mut pod = pod("a/b:1", &format!("a/b@sha256:{HEX}"));
        pod["spec"]["containers"].as_array_mut().unwrap().reverse();
        assert_eq!(image(&pod, Some("controller")).unwrap().name, "a/b");
        assert!(image(&pod, None).is_err() && image(&pod, Some("absent")).is_err());
    }

    #[test]
    fn a_version_is_the_tag_of_what_runs() {
        let of = |image: &str| version(&json!({"image": image})).map(|version| version.to_string());
        assert_eq!(of("registry.example:5000/a/b:v1.4.8").as_deref(), Some("1.4.8"));
        assert_eq!(of(&format!("a/b:1.4.8@sha256:{HEX}")).as_deref(), Some("1.4.8"));
        assert_eq!(of("a/b:vanilla").as_deref(), Some("vanilla"));
        assert_eq!(of("registry.example:5000/a/b"), None);
    }

    #[test]
    fn a_mode_is_read_where_it_can_be() {
        let mode = |arguments: &[&str], env: Value| mode(&json!({"args": arguments, "env": env}), "--acl");
        assert_eq!(mode(&["--x", "--acl"], Value::Null), Enforcing::On);
        assert_eq!(mode(&["--acl=true"], json!([{"name": "A"}])), Enforcing::On);
        assert_eq!(mode(&["--acl=false"], json!([{"name": "A"}])), Enforcing::Off);
        assert_eq!(mode(&["--aclx"], Value::Null), Enforcing::Off);
        assert_eq!(mode(&[], json!([{"name": "A"}])), Enforcing::Unknown);
    }
    #[test]
    fn a_field_says_what_its_value_is() {
        let field = |pointer: &str, value: Value| Field {
            group: "g".into(),
            version: "v1".into(),
            plural: "ps".into(),
            name: "n".into(),
            pointer: pointer.into(),
            value,
        };
        let object = json!({"spec": {"permissive": false, "mode": "deny", "empty": null, "list": [{"a/b": 1}]}});
        let said = |pointer: &str, value: Value| said(&object, &field(pointer, value));
        assert_eq!(said("/spec/permissive", false.into()), Enforcing::On);
        assert_eq!(said("/spec/permissive", true.into()), Enforcing::Off);
        assert_eq!(said("/spec/mode", "deny".into()), Enforcing::On);
        assert_eq!(said("/spec/mode", "allow".into()), Enforcing::Off);
        assert_eq!(said("/spec/list/0/a~1b", 1.into()), Enforcing::On);
        for nowhere in ["/spec/empty", "/spec/other", "/spec/mode/x"] {
            assert_eq!(said(nowhere, false.into()), Enforcing::Unknown, "{nowhere}");
        }
    }

    #[test]
    fn a_sidecar_among_the_init_containers_is_found() {
        let mut pod = pod("a/b:1", &format!("a/b@sha256:{HEX}"));
        pod["spec"]["initContainers"] = json!([{"name": "proxy", "image": "p:1"}]);
        pod["status"]["initContainerStatuses"] = json!([{"name": "proxy", "imageID": format!("p@sha256:{HEX}")}]);
        assert_eq!(image(&pod, Some("proxy")).unwrap().name, "p");
        assert_eq!(image(&pod, None).unwrap().name, "a/b");
    }
}
