//! A cluster's API: how it is found, and what its errors mean.
//!
//! A cluster is found as kubectl finds it: `--kubeconfig`, else the files that `KUBECONFIG` lists, else
//! `~/.kube/config`, else the service account of the pod that the runner runs in. `--context` chooses within a
//! kubeconfig.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client};
use serde_json::Value;
use smi_schemas::codes::Code;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::target::Fault;

/// How long the API server may take to answer one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection to it may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request is repeated that the server, or a webhook behind it, was not ready for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between such repetitions.
const PAUSE: Duration = Duration::from_millis(500);

/// Which cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// A client of a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

/// Why the cluster did not do what it was asked for. The text is the server's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig, or it does not say what is needed.
    #[error("{0}")]
    Kubeconfig(String),
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// Who the runner is may not do this.
    #[error("{0}")]
    Denied(String),
    /// The schema, a webhook or a policy refuses the object.
    #[error("{0}")]
    Refused(String),
    /// There is no such object, or no such API.
    #[error("{0}")]
    Absent(String),
    /// The object was there already, or was changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The server or a webhook is not ready.
    #[error("{0}")]
    Busy(String),
    /// What was to be written, or was read, is not what it should be.
    #[error("{0}")]
    Malformed(String),
}

impl ClusterError {
    /// The code, where nothing more precise is known.
    pub fn code(&self) -> Code {
        match self {
            Self::Kubeconfig(_) => Code::KubeconfigInvalid,
            Self::Unreachable(_) => Code::ClusterUnreachable,
            Self::Denied(_) => Code::ClusterDenied,
            Self::Refused(_) | Self::Absent(_) | Self::Conflict(_) | Self::Busy(_) | Self::Malformed(_) => {
                Code::ClusterRefused
            }
        }
    }

    /// The same in the course of a run, when it can only be a fault of the harness.
    pub(super) fn fault(self) -> Fault {
        Fault { code: Code::KubernetesFault, detail: self.to_string() }
    }
}

impl Cluster {
    /// Finds the cluster. Nothing is asked of it yet.
    pub async fn connect(options: &Options) -> Result<Self, ClusterError> {
        let mut config = config(options).await?;
        // The kubeconfig's own proxy is meant for its cluster; the environment's does not hold where NO_PROXY says so.
        let mut proxies = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
        let of_environment = proxies.any(|proxy| proxy.parse().ok() == config.proxy_url);
        if of_environment && Matcher::from_env().intercept(&config.cluster_url).is_none() {
            config.proxy_url = None;
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // What is worth repeating is repeated here, where the last answer is told.
        config.default_retry = false;
        // A credential plugin is a program, and is waited for.
        let client = spawn_blocking(move || Client::try_from(config)).await;
        let client = client.map_err(|error| ClusterError::Kubeconfig(error.to_string()))?;
        Ok(Self { client: client.map_err(|error| ClusterError::Kubeconfig(said(&error)))? })
    }

    /// The underlying client, for what only that can do.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Objects of a kind, in one namespace or in all.
    pub(super) fn objects(&self, resource: &ApiResource, namespace: Option<&str>) -> Objects {
        let client = self.client.clone();
        Objects(match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        })
    }

    /// The pods of a namespace, as exec asks for them.
    pub(super) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Objects of one kind.
pub(super) struct Objects(Api<DynamicObject>);

impl Objects {
    /// Creates an object. What the server is not ready for is asked again for a while.
    pub(super) async fn create(&self, object: &Value) -> Result<(), ClusterError> {
        let object = dynamic(object)?;
        patiently(|| async { self.0.create(&PostParams::default(), &object).await.map(drop) }).await
    }

    /// Replaces an object that is there.
    pub(super) async fn replace(&self, name: &str, object: &Value) -> Result<(), ClusterError> {
        let mut object = dynamic(object)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let present = self.read(name).await?;
            object.metadata.resource_version = present.metadata.resource_version;
            let replaced =
                patiently(|| async { self.0.replace(name, &PostParams::default(), &object).await.map(drop) }).await;
            match replaced {
                Err(ClusterError::Conflict(_)) if Instant::now() < deadline => sleep(PAUSE).await,
                replaced => return replaced,
            }
        }
    }

    /// An object's fields, as they are stored.
    pub(super) async fn get(&self, name: &str) -> Result<Value, ClusterError> {
        let object = self.read(name).await?;
        serde_json::to_value(object).map_err(|error| ClusterError::Malformed(error.to_string()))
    }

    async fn read(&self, name: &str) -> Result<DynamicObject, ClusterError> {
        patiently(|| self.0.get(name)).await
    }

    /// Deletes an object; one that is not there is deleted already.
    pub(super) async fn delete(&self, name: &str) -> Result<(), ClusterError> {
        match patiently(|| async { self.0.delete(name, &DeleteParams::default()).await.map(drop) }).await {
            Err(ClusterError::Absent(_)) => Ok(()),
            deleted => deleted,
        }
    }

    /// Every object, or those with labels.
    pub(super) async fn list(&self, labels: &str) -> Result<Vec<Value>, ClusterError> {
        let parameters = ListParams::default().labels(labels);
        let list = patiently(|| self.0.list(&parameters)).await?;
        let objects = list.items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>();
        objects.map_err(|error| ClusterError::Malformed(error.to_string()))
    }
}

/// The status of an answer and what is in it, if that is JSON. One that does not come in time has the status of a
/// gateway that waits in vain.
pub(super) async fn answered(client: &Client, request: http::Request<Vec<u8>>) -> Result<(u16, Value), ClusterError> {
    const GATEWAY_TIMEOUT: u16 = 504;
    let exchange = async {
        let response = client.send(request.map(Body::from)).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect_bytes().await?))
    };
    match timeout(REQUEST_TIMEOUT, exchange).await {
        Ok(Ok((status, bytes))) => Ok((status, serde_json::from_slice(&bytes).unwrap_or_default())),
        Ok(Err(error)) => Err(sorted(&error)),
        Err(_) => Ok((GATEWAY_TIMEOUT, Value::Null)),
    }
}

/// Waits for one request, but not for ever.
pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| sorted(&error)),
        Err(_) => Err(ClusterError::Unreachable(format!("no answer in {} s", REQUEST_TIMEOUT.as_secs()))),
    }
}

/// Repeats a request for as long as the server says that it is not ready.
pub(super) async fn patiently<T, F>(request: impl Fn() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = kube::Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match within(request()).await {
            Err(ClusterError::Busy(_)) if Instant::now() < deadline => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// What an error means.
///
/// A refusal of the object is told from a refusal of the caller by its text: both can be 403.
fn sorted(error: &kube::Error) -> ClusterError {
    let kube::Error::Api(status) = error else { return ClusterError::Unreachable(said(error)) };
    let text = shortened(&status.message);
    let says = |words: &str| text.contains(words);
    let about_the_object = ["denied the request", "denied request", "violates PodSecurity", "exceeded quota"];
    match status.code {
        _ if about_the_object.into_iter().any(says) && !says("failed calling webhook") => ClusterError::Refused(text),
        401 | 403 => ClusterError::Denied(text),
        404 => ClusterError::Absent(text),
        409 => ClusterError::Conflict(text),
        429 | 500.. => ClusterError::Busy(text),
        _ => ClusterError::Refused(text),
    }
}

/// An error with its causes: the outermost one rarely says what happened.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    shortened(&text)
}

/// Servers may say a lot.
fn shortened(text: &str) -> String {
    const MOST: usize = 500;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn dynamic(object: &Value) -> Result<DynamicObject, ClusterError> {
    serde_json::from_value(object.clone()).map_err(|error| ClusterError::Malformed(error.to_string()))
}

async fn config(options: &Options) -> Result<Config, ClusterError> {
    let invalid = |error: KubeconfigError| ClusterError::Kubeconfig(said(&error));
    let chosen = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let listed = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    let home = std::env::home_dir().map(|home| home.join(".kube").join("config"));
    let files: Vec<PathBuf> = match (&options.kubeconfig, &listed) {
        (Some(path), _) => vec![path.clone()],
        (None, Some(list)) => std::env::split_paths(list).filter(|path| path.exists()).collect(),
        (None, None) => home.into_iter().filter(|path| path.exists()).collect(),
    };
    let mut merged: Option<Kubeconfig> = None;
    for file in &files {
        let read = Kubeconfig::read_from(file).map_err(|error| {
            // A parser's message may have a drawing of the place below its first line.
            let said = said(&error);
            let first = said.lines().next().unwrap_or_default();
            ClusterError::Kubeconfig(format!("{}: {first}", file.display()))
        })?;
        merged = Some(match merged {
            None => read,
            Some(first) => first.merge(read).map_err(invalid)?,
        });
    }
    let nothing = |and: &str| ClusterError::Kubeconfig(format!("there is no kubeconfig{and}"));
    match merged {
        Some(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &chosen).await.map_err(invalid),
        None if listed.is_some() => Err(nothing(": KUBECONFIG names no file that exists")),
        None if options.context.is_some() => Err(nothing(" that could have the context")),
        None => Config::incluster().map_err(|_| nothing(", and this is no pod of a cluster")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> ClusterError {
        let status: kube::core::Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": code, "message": message, "reason": "x"
        }))
        .unwrap();
        sorted(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_refused_object_is_told_from_a_refused_caller() {
        let refused = |error| matches!(error, ClusterError::Refused(_));
        assert!(refused(status(400, "admission webhook \"v.example\" denied the request: weights")));
        assert!(refused(status(403, "admission webhook \"v.example\" denied the request: no")));
        assert!(refused(status(500, "admission webhook \"v.example\" denied the request: no")));
        assert!(refused(status(403, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no")));
        assert!(refused(status(403, "pods \"a\" is forbidden: exceeded quota: q")));
        assert!(refused(status(422, "TrafficSplit is invalid: spec.backends[0].weight")));
        let rbac = r#"pods is forbidden: User "a" cannot create resource "pods" in API group """#;
        assert!(matches!(status(403, rbac), ClusterError::Denied(_)));
        assert!(matches!(status(401, "Unauthorized"), ClusterError::Denied(_)));
    }

    #[test]
    fn a_webhook_that_is_not_there_yet_refuses_nothing() {
        let text = "Internal error occurred: failed calling webhook \"v.example\": connection refused";
        assert!(matches!(status(500, text), ClusterError::Busy(_)));
        assert!(matches!(status(503, "x"), ClusterError::Busy(_)));
        assert!(matches!(status(429, "x"), ClusterError::Busy(_)));
        assert!(matches!(status(404, "x"), ClusterError::Absent(_)));
        assert!(matches!(status(409, "x"), ClusterError::Conflict(_)));
    }

    #[test]
    fn what_a_server_says_is_cut() {
        let ClusterError::Refused(text) = status(422, &"é".repeat(2_000)) else { panic!() };
        assert_eq!(text.chars().count(), 501);
    }
}
