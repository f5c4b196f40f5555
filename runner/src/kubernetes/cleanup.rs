//! The end of a run: its namespaces, and with them everything it made, are gone.

use std::time::Duration;

use kube::api::ApiResource;
use serde_json::Value;
use smi_schemas::codes::Code;
use smi_schemas::names::RunId;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, ClusterError};
use super::workloads::RUN_LABEL;

/// How long namespaces may take to go. Up to 25 s of it a broken APIService may block them even after it is removed.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Looks in a row that must find nothing.
const EMPTY_LOOKS: u32 = 2;
/// Pause between looks.
const POLL: Duration = Duration::from_millis(500);

/// Why something is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleanupError {
    /// The cluster.
    #[error("run {run}: {cause}")]
    Cluster {
        /// The run.
        run: RunId,
        /// Why.
        cause: ClusterError,
    },
    /// Namespaces that are deleted and do not go.
    #[error("run {run}: {}", .left.join("; "))]
    Left {
        /// The run.
        run: RunId,
        /// Each with what Kubernetes says of it.
        left: Vec<String>,
    },
}

impl CleanupError {
    /// The code.
    pub fn code(&self) -> Code {
        match self {
            Self::Cluster { cause, .. } => cause.code(),
            Self::Left { .. } => Code::NamespaceStuck,
        }
    }
}

/// Deletes a run's namespaces, waits until they are gone, and names them. A run that left nothing has none.
///
/// Nothing is believed to be gone at the first look: what a run was about to create when it was stopped may still come.
/// After the first look, what the cluster does not answer is asked again until the time is over.
pub async fn clean_up(cluster: &Cluster, run: &RunId) -> Result<Vec<String>, CleanupError> {
    let failed = |cause| CleanupError::Cluster { run: run.clone(), cause };
    let namespaces = cluster.objects(&resource(), None);
    let labels = format!("{RUN_LABEL}={run}");
    let deadline = Instant::now() + TIMEOUT;
    let mut found: Vec<String> = Vec::new();
    let mut present = namespaces.list(&labels).await.map_err(failed)?;
    let mut empty = 0;
    loop {
        empty = if present.is_empty() { empty + 1 } else { 0 };
        if empty == EMPTY_LOOKS {
            return Ok(found);
        }
        let mut cause = None;
        for namespace in &present {
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if namespace["metadata"]["deletionTimestamp"].is_null() {
                cause = namespaces.delete(&name).await.err().or(cause);
            }
            if !found.contains(&name) {
                found.push(name);
            }
        }
        if Instant::now() >= deadline {
            let left = || CleanupError::Left { run: run.clone(), left: present.iter().map(why).collect() };
            return Err(cause.map_or_else(left, failed));
        }
        sleep(POLL).await;
        match namespaces.list(&labels).await {
            Ok(seen) => present = seen,
            Err(cause) if Instant::now() >= deadline => return Err(failed(cause)),
            // What was seen last is as good a guess as any.
            Err(_) => empty = 0,
        }
    }
}

/// Begins to delete one namespace.
pub(super) async fn delete(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    cluster.objects(&resource(), None).delete(namespace).await
}

fn resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&())
}

/// A namespace and what keeps it, as its conditions say.
fn why(namespace: &Value) -> String {
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
    let said: Vec<&str> = conditions
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    if said.is_empty() { format!("{name} is still going") } else { format!("{name}: {}", said.join(", ")) }
}
