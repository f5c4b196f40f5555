//! The target itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::names::{RunId, Slug};
use smi_schemas::smi::{Api, ApiVersion, Namespace};
use smi_schemas::statement::{Enforcing, Subject, Target as Kind};
use smi_schemas::suite::{Shape, Workload};

use super::cleanup::{CleanupError, clean_up};
use super::cluster::Cluster;
use super::lane::{Common, KubernetesLane};
use super::mesh::{Measured, Readiness, in_order, measure};
use super::preflight::{PreflightError, permissions};
use super::rbac::Metrics;
use super::survey::Survey;
use crate::mesh::Profile;
use crate::target::{Facts, Fault, Lane as _, Target};

/// The lane for assertions without workloads, and for the one pod of the preflight.
const BARE: &str = "bare";
const PREFLIGHT: &str = "preflight";

/// A mesh on a cluster, ready for a run.
pub struct KubernetesTarget {
    common: Common,
    facts: Facts,
    runner: Digest,
    measured: Measured,
    sidecar: Option<Subject>,
}

/// What a run brings with it.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Its id.
    pub run: RunId,
    /// What its request ids are derived from.
    pub seed: u64,
    /// The digest of the runner.
    pub runner: Digest,
    /// The workload image, as pods ask for it.
    pub image: String,
    /// What is asked of the metrics API.
    pub metrics: Metrics,
}

impl KubernetesTarget {
    /// Looks whether a run can be made, and measures what it is about. One pod of the workload image is started and
    /// driven; whatever comes of that, namespaces may be left that [`Self::clean_up`], or [`clean_up`], removes.
    pub async fn prepare(
        cluster: Cluster,
        survey: Survey,
        (profile, profile_digest): (Profile, Digest),
        apis: BTreeMap<Api, ApiVersion>,
        brought: Brought,
    ) -> Result<Self, PreflightError> {
        permissions(&cluster, &profile, brought.metrics).await?;
        let measured = measure(&cluster, &profile, brought.runner, Readiness::Required).await?;
        let common = Common {
            cluster,
            profile: Arc::new(profile),
            dialect: Arc::new(survey.dialect(apis)),
            survey: Arc::new(survey),
            run: brought.run,
            seed: brought.seed,
            image: brought.image.into(),
        };
        let (agent, sidecar) = images(&common).await?;
        let Measured { mut subject, version, enforcing } = measured.clone();
        subject.extend(sidecar.clone().filter(|sidecar| !subject.contains(sidecar)));
        in_order(&mut subject);
        let enable = common.profile.enforcing.as_ref().filter(|_| enforcing != Enforcing::On);
        let facts = Facts {
            subject,
            agent,
            target: Kind::Kubernetes { version: common.survey.version.clone() },
            mesh: common.profile.measured(profile_digest, version, enforcing),
            crds: common.survey.crds.clone(),
            metrics: common.survey.served.get(&Api::Metrics).cloned().unwrap_or_default(),
            enable: enable.map(|enforcing| enforcing.enable.clone()),
        };
        Ok(Self { common, facts, runner: brought.runner, measured, sidecar })
    }

    /// Whether the mesh is still the one that the facts are about.
    pub async fn is_unchanged(&self) -> Result<bool, PreflightError> {
        let Common { cluster, profile, .. } = &self.common;
        Ok(measure(cluster, profile, self.runner, Readiness::Ignored).await? == self.measured)
    }

    /// Removes everything that the run made.
    pub async fn clean_up(&self) -> Result<Vec<String>, CleanupError> {
        clean_up(&self.common.cluster, &self.common.run).await
    }
}

impl Target for KubernetesTarget {
    type Lane = KubernetesLane;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn lane(&self, shape: Option<&Shape>) -> Result<KubernetesLane, Fault> {
        let name = shape.map_or(BARE, |shape| shape.name.as_str());
        let opened = KubernetesLane::open(self.common.clone(), name, shape).await;
        let lane = opened.map_err(PreflightError::fault)?;
        let agent = lane.images().into_iter().find(|image| *image != self.facts.agent);
        let sidecar = lane.sidecars().into_iter().find(|image| Some(image) != self.sidecar.as_ref());
        let fault = match (agent, sidecar) {
            (None, None) => return Ok(lane),
            (Some(other), _) => {
                Fault { code: Code::AgentFault, detail: format!("a node has another workload image, {other}") }
            }
            (None, Some(Subject { name, digest })) => {
                let detail = format!("the mesh adds another sidecar, {name}@sha256:{}", digest.sha256);
                Fault { code: Code::KubernetesFault, detail }
            }
        };
        lane.close().await;
        Err(fault)
    }
}

/// Starts one pod of the workload image, drives it, and tells its digest and the sidecar's image.
async fn images(common: &Common) -> Result<(Digest, Option<Subject>), PreflightError> {
    let foreign = |error: smi_schemas::names::NameError| PreflightError::Foreign(error.to_string());
    let name: Slug = PREFLIGHT.parse().map_err(foreign)?;
    let workload = Workload {
        name: name.clone(),
        namespace: Namespace::Main,
        service_account: name.clone(),
        labels: BTreeMap::new(),
        outside: false,
        listens: BTreeSet::new(),
        absent: false,
    };
    let shape = Shape { name, workloads: vec![workload], services: Vec::new(), health: Vec::new() };
    let lane = KubernetesLane::open(common.clone(), PREFLIGHT, Some(&shape)).await?;
    let (images, sidecar) = (lane.images(), lane.sidecars().into_iter().next());
    lane.close().await;
    let agent = images.first().copied().ok_or_else(|| PreflightError::Foreign("no workload".to_owned()))?;
    Ok((agent, sidecar))
}
