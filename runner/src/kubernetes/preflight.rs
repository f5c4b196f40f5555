//! What must hold before a run begins, and what is said when it does not.

use futures_util::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use smi_schemas::codes::Code;
use smi_schemas::names::Slug;
use smi_schemas::smi;

use super::cluster::{Cluster, ClusterError, patiently};
use super::rbac::{Metrics, RESTRICTED_USER, read_of};
use crate::mesh::Profile;
use crate::target::Fault;

/// Why a run does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The cluster.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// What the runner may not do.
    #[error("not permitted: {}", .0.join("; "))]
    Permissions(Vec<String>),
    /// An API in versions that nobody here speaks.
    #[error("{api}.smi-spec.io is served in {served}")]
    Unspoken {
        /// The API.
        api: smi::Api,
        /// Its versions.
        served: String,
    },
    /// Something that cannot be written into a report.
    #[error("{0}")]
    Foreign(String),
    /// No pod of a component.
    #[error("no pod has the labels {labels} of component {component} of {mesh}")]
    MeshAbsent {
        /// The mesh.
        mesh: Slug,
        /// The component.
        component: Slug,
        /// Its labels.
        labels: String,
    },
    /// Nothing that would say whether the mesh denies.
    #[error("{mesh} has no {object}")]
    ModeAbsent {
        /// The mesh.
        mesh: Slug,
        /// The object that its profile names.
        object: String,
    },
    /// A pod of the run that the mesh did not take in.
    #[error("the mesh did not add the container {sidecar} to pod {pod}")]
    SidecarAbsent {
        /// The pod.
        pod: String,
        /// The container that its profile names.
        sidecar: Slug,
    },
    /// A pod of the mesh that is not ready.
    #[error("pod {0} of the mesh is not ready")]
    MeshNotReady(String),
    /// A pod of the mesh whose image has no digest.
    #[error("pod {pod} runs {image}, whose image ID is {id:?}")]
    ImageUnnamed {
        /// The pod.
        pod: String,
        /// The image as it was asked for.
        image: String,
        /// What the cluster calls it.
        id: String,
    },
    /// A workload did not start.
    #[error("pod {pod}: {reason}")]
    Workload {
        /// The pod.
        pod: String,
        /// What Kubernetes says.
        reason: String,
    },
    /// A workload started and cannot be driven.
    #[error("pod {pod}: {detail}")]
    Session {
        /// The pod.
        pod: String,
        /// What went wrong.
        detail: String,
        /// Exec or the agent.
        code: Code,
    },
}

impl PreflightError {
    /// The same as what broke an assertion.
    pub(super) fn fault(self) -> Fault {
        let code = match self {
            Self::Session { code, .. } => code,
            _ => Code::KubernetesFault,
        };
        Fault { code, detail: self.to_string() }
    }

    /// The code.
    pub fn code(&self) -> Code {
        match self {
            Self::Cluster(error) => error.code(),
            Self::Permissions(_) => Code::ClusterDenied,
            Self::Unspoken { .. } | Self::Foreign(_) => Code::ApiVersionUnknown,
            Self::MeshAbsent { .. } => Code::MeshNotFound,
            Self::ModeAbsent { .. } | Self::SidecarAbsent { .. } => Code::MeshNotAsProfiled,
            Self::MeshNotReady(_) => Code::MeshNotReady,
            Self::ImageUnnamed { .. } => Code::ImageUnnamed,
            Self::Workload { .. } | Self::Session { .. } => Code::WorkloadNotStarted,
        }
    }
}

/// Asks for everything that a run does whether it may be done.
pub(super) async fn permissions(cluster: &Cluster, profile: &Profile, metrics: Metrics) -> Result<(), PreflightError> {
    let questions = metrics.rules().flat_map(|rule| {
        let of_rule = rule.resources.iter().flat_map(|resource| rule.verbs.iter().map(move |verb| (*resource, *verb)));
        of_rule.map(|(resource, verb)| (rule.group, resource, verb, None))
    });
    let field =
        read_of(profile).map(|field| (field.group.as_str(), field.plural.as_str(), "get", Some(field.name.as_str())));
    let user = (metrics == Metrics::Restricted).then_some(("", "users", "impersonate", Some(RESTRICTED_USER)));
    let asked = questions.chain(field).chain(user).map(|(group, resource, verb, name)| async move {
        let allowed = may(cluster, group, resource, verb, name).await?;
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        Ok::<_, ClusterError>((!allowed).then(|| format!("{verb} {resource}{name}")))
    });
    let missing: Vec<String> = try_join_all(asked).await?.into_iter().flatten().collect();
    // Either verb is enough for exec, and which one depends on the server.
    let exec = missing.iter().filter(|missing| missing.ends_with("pods/exec")).count();
    let missing: Vec<String> =
        missing.into_iter().filter(|missing| exec > 1 || !missing.ends_with("pods/exec")).collect();
    if missing.is_empty() { Ok(()) } else { Err(PreflightError::Permissions(missing)) }
}

async fn may(
    cluster: &Cluster,
    group: &str,
    resource: &str,
    verb: &str,
    name: Option<&str>,
) -> Result<bool, ClusterError> {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(of, sub)| (of, Some(sub)));
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let parameters = PostParams::default();
    let review = patiently(|| reviews.create(&parameters, &review)).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}
