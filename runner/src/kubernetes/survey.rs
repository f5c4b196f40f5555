//! What a cluster serves, found out and not declared.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ApiResource;
use serde_json::Value;
use smi_schemas::Digest;
use smi_schemas::names::Version;
use smi_schemas::smi::{Api, ApiVersion, Kind};
use smi_schemas::statement::Crd;

use super::cluster::{Cluster, ClusterError, patiently};
use super::dialect::{self, Dialect, HeaderForm, demands_port, fields};
use super::preflight::PreflightError;
use super::rbac::crd_names;

/// What a cluster serves.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The API server's version.
    pub version: Version,
    /// The versions of each API.
    pub served: BTreeMap<Api, BTreeSet<ApiVersion>>,
    /// The versions of each kind.
    pub kinds: BTreeMap<Kind, BTreeSet<ApiVersion>>,
    /// The CRDs.
    pub crds: Vec<Crd>,
    /// How HTTPRouteGroups write headers in each version.
    headers: BTreeMap<ApiVersion, HeaderForm>,
    /// The versions in which a TrafficTarget must name a port.
    port_demanded: BTreeSet<ApiVersion>,
}

impl Survey {
    /// Asks the cluster.
    pub async fn of(cluster: &Cluster) -> Result<Self, PreflightError> {
        let client = cluster.client();
        let info = patiently(|| client.apiserver_version()).await?;
        let version = info.git_version.trim_start_matches('v');
        let version = version.parse().map_err(|_| PreflightError::Foreign(format!("Kubernetes {version}")))?;
        let (kinds, metrics) = kinds(cluster).await?;
        let mut served: BTreeMap<Api, BTreeSet<ApiVersion>> = BTreeMap::new();
        if !metrics.is_empty() {
            served.insert(Api::Metrics, metrics);
        }
        for (kind, versions) in &kinds {
            served.entry(kind.api()).or_default().extend(versions);
        }
        let (mut crds, mut headers, mut port_demanded) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for name in crd_names() {
            if let Some(definition) = definition(cluster, &name).await? {
                if name == Kind::HttpRouteGroup.crd() {
                    headers = header_forms(&definition);
                } else if name == Kind::TrafficTarget.crd() {
                    port_demanded = ports_demanded(&definition);
                }
                crds.push(crd(name, &definition)?);
            }
        }
        Ok(Self { version, served, kinds, crds, headers, port_demanded })
    }

    /// The forms in which these versions are written here.
    pub fn dialect(&self, apis: BTreeMap<Api, ApiVersion>) -> Dialect {
        let headers = apis.get(&Api::Specs).and_then(|version| self.headers.get(version)).copied();
        let port_demanded = apis.get(&Api::Access).is_some_and(|version| self.port_demanded.contains(version));
        Dialect { apis, headers: headers.unwrap_or_default(), port_demanded }
    }
}

/// The versions in which discovery lists each kind, and those of the metrics API, whether it answers or not. An API
/// that is served, but in no version that can be spoken, is not absent: to call it so would hide it.
async fn kinds(
    cluster: &Cluster,
) -> Result<(BTreeMap<Kind, BTreeSet<ApiVersion>>, BTreeSet<ApiVersion>), PreflightError> {
    let client = cluster.client();
    let groups = patiently(|| client.list_api_groups()).await?;
    let mut kinds: BTreeMap<Kind, BTreeSet<ApiVersion>> = BTreeMap::new();
    let mut metrics = BTreeSet::new();
    for api in Api::ALL {
        let name = format!("{api}.smi-spec.io");
        let Some(group) = groups.groups.iter().find(|group| group.name == name) else { continue };
        for served in &group.versions {
            let Some(version) = version(&served.version) else { continue };
            if api == Api::Metrics {
                metrics.insert(version);
            }
            let list = match patiently(|| client.list_api_group_resources(&served.group_version)).await {
                Ok(list) => list,
                // An extension of the API server that does not answer is there all the same, and serves nothing.
                Err(ClusterError::Busy(_) | ClusterError::Absent(_)) if api == Api::Metrics => continue,
                Err(error) => return Err(error.into()),
            };
            for kind in Kind::ALL.into_iter().filter(|kind| kind.api() == api) {
                if list.resources.iter().any(|resource| resource.kind == kind.as_str()) {
                    kinds.entry(kind).or_default().insert(version);
                }
            }
        }
        let spoken = |version: &ApiVersion| dialect::spoken(api).contains(version);
        if !group.versions.iter().filter_map(|served| self::version(&served.version)).any(|version| spoken(&version)) {
            let versions: Vec<&str> = group.versions.iter().map(|served| served.version.as_str()).collect();
            return Err(PreflightError::Unspoken { api, served: versions.join(", ") });
        }
    }
    Ok((kinds, metrics))
}

async fn definition(cluster: &Cluster, name: &str) -> Result<Option<Value>, ClusterError> {
    let resource = ApiResource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    };
    match cluster.objects(&resource, None).get(name).await {
        Ok(definition) => Ok(Some(definition)),
        Err(ClusterError::Absent(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

fn version(text: &str) -> Option<ApiVersion> {
    ApiVersion::ALL.into_iter().find(|known| known.as_str() == text)
}

fn crd(name: String, definition: &Value) -> Result<Crd, PreflightError> {
    let named = |listed: &Value| listed["name"].as_str().and_then(version);
    let is = |listed: &Value, flag: &str| listed[flag].as_bool() == Some(true);
    let served = versions(definition).filter(|listed| is(listed, "served")).filter_map(named).collect();
    let stored = versions(definition).find(|listed| is(listed, "storage")).and_then(named);
    // Objects of serde_json are sorted by key, so a schema has one form.
    let schemas: BTreeMap<&str, &Value> = versions(definition)
        .filter_map(|listed| Some((listed["name"].as_str()?, &listed["schema"]["openAPIV3Schema"])))
        .collect();
    let schema = Digest::of(serde_json::to_string(&schemas).unwrap_or_default().as_bytes());
    match stored {
        Some(stored) => Ok(Crd { name, served, stored, schema }),
        None => Err(PreflightError::Foreign(format!("{name} is stored in a version that SMI does not have"))),
    }
}

fn ports_demanded(definition: &Value) -> BTreeSet<ApiVersion> {
    let demands = |listed: &&Value| demands_port(&listed["schema"]["openAPIV3Schema"]);
    versions(definition).filter(demands).filter_map(|listed| listed["name"].as_str().and_then(version)).collect()
}

fn header_forms(definition: &Value) -> BTreeMap<ApiVersion, HeaderForm> {
    let form = |listed: &Value| {
        let version = listed["name"].as_str().and_then(version)?;
        let headers = &fields(&listed["schema"]["openAPIV3Schema"])["matches"]["items"]["properties"]["headers"];
        let map = headers["type"].as_str() == Some("object");
        Some((version, if map { HeaderForm::Map } else { HeaderForm::List }))
    };
    versions(definition).filter_map(form).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions(text: &str) -> Vec<Value> {
        use serde::Deserialize as _;
        serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
    }

    #[test]
    fn a_crd_is_known_by_what_it_serves_and_by_its_schema() {
        let all = definitions(include_str!("../../../schemas/crds/v0.6.0.yaml"));
        let split = all.iter().find(|crd| crd["metadata"]["name"] == "trafficsplits.split.smi-spec.io").unwrap();
        let fact = crd("trafficsplits.split.smi-spec.io".into(), split).unwrap();
        assert!(fact.served.contains(&ApiVersion::V1alpha4));
        assert!(fact.served.contains(&fact.stored));

        let mut narrower = split.clone();
        narrower["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "another".into();
        assert_ne!(crd(fact.name.clone(), &narrower).unwrap().schema, fact.schema);

        let mut foreign = split.clone();
        for version in foreign["spec"]["versions"].as_array_mut().unwrap() {
            version["storage"] = (version["name"] == "v1").into();
        }
        assert!(crd(fact.name, &foreign).is_err());
    }

    #[test]
    fn whether_a_port_is_demanded_is_the_schemas() {
        let demanded = |text| definitions(text).iter().flat_map(ports_demanded).collect::<Vec<_>>();
        assert_eq!(demanded(include_str!("../../../schemas/crds/v0.4.0.yaml")), [ApiVersion::V1alpha1]);
        assert_eq!(demanded(include_str!("../../../schemas/crds/v0.5.0.yaml")), []);
    }

    #[test]
    fn the_form_of_headers_is_the_schemas() {
        let all = definitions(include_str!("../../../schemas/crds/v0.6.0.yaml"));
        let mut group = all.into_iter().find(|crd| crd["spec"]["names"]["kind"] == "HTTPRouteGroup").unwrap();
        let forms = header_forms(&group);
        assert!(!forms.is_empty() && forms.values().all(|form| *form == HeaderForm::List), "{forms:?}");
        for version in group["spec"]["versions"].as_array_mut().unwrap() {
            let matches = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["matches"];
            matches["items"]["properties"]["headers"] = serde_json::json!({"type": "object"});
        }
        assert!(header_forms(&group).values().all(|form| *form == HeaderForm::Map));
    }
}
