//! A lane: a pair of namespaces, the workloads of a shape in them, and a session with each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::future::{join_all, try_join_all};
use kube::api::ApiResource;
use serde_json::Value;
use smi_agent::client::{Connection, Probe, ProbeResult};
use smi_agent::control::{Command, Reply};
use smi_agent::{Identity, RequestId};
use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Listing, Question, ROOT, Reading};
use smi_schemas::names::{RunId, Slug};
use smi_schemas::report::{ActionResult, Tally};
use smi_schemas::smi::{Api, Kind, Namespace, Resource};
use smi_schemas::statement::Subject;
use smi_schemas::suite::{Action, Cell, Flawed, Open, Protocol, Scale, Service, Shape, Via, Workload};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, ClusterError, Objects, PATIENCE, answered};
use super::dialect::{self, Dialect, Namespaces};
use super::mesh::{self, container, is_ready, pod_resource};
use super::metrics::{self, Answer};
use super::preflight::PreflightError;
use super::rbac::RESTRICTED_USER;
use super::session::Session;
use super::survey::Survey;
use super::workloads::{self, CONTAINER, Manifests};
use crate::mesh::Profile;
use crate::target::{Fault, Lane, grant, headers};

/// Pause between two rounds of a hold: the suite's 20 rounds then take 5 s.
const SPACING: Duration = Duration::from_millis(250);
/// How long one request may take. A denial by silence costs as much in every round.
const REQUEST_TIMEOUT_MS: u64 = 2_000;
/// How long an answer to a datagram may take, for which silence is the only denial.
const DATAGRAM_TIMEOUT_MS: u64 = 1_000;
/// Requests of one probe under way at once.
const CONCURRENCY: u32 = 16;
/// How long the pods of a lane may take until they are ready.
const POD_TIMEOUT: Duration = Duration::from_mins(2);
/// How often a pod is made again to which the mesh did not add its sidecar.
const SIDECAR_RETRIES: u32 = 3;
/// How long objects that were deleted may still be there.
const WIPE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between looks at what is being deleted; nearly always the first look after it finds nothing.
const WIPE_POLL: Duration = Duration::from_millis(20);
/// How long an agent may take from the start of its pod until it answers.
const AGENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between looks at what is on its way.
const POLL: Duration = Duration::from_millis(250);

/// What all lanes of a run share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) cluster: Cluster,
    pub(super) profile: Arc<Profile>,
    pub(super) survey: Arc<Survey>,
    pub(super) dialect: Arc<Dialect>,
    pub(super) run: RunId,
    pub(super) seed: u64,
    pub(super) image: Arc<str>,
}

/// One shape's workloads on a cluster.
pub struct KubernetesLane {
    common: Common,
    namespaces: Namespaces,
    shape: Option<Shape>,
    /// Those that run.
    workloads: RwLock<BTreeMap<Slug, Arc<Driven>>>,
    /// Probes so far.
    probes: AtomicU64,
    /// Whether the restricted user is known here.
    restricted: OnceCell<()>,
}

/// Where the requests of a cell go.
struct Road {
    protocol: Protocol,
    host: String,
    port: u16,
    address: Option<IpAddr>,
}

/// A workload that is driven by a session, opened anew when it broke.
struct Driven {
    namespace: String,
    pod: String,
    outside: bool,
    address: IpAddr,
    image: Digest,
    /// The image that the mesh added.
    sidecar: Option<Subject>,
    /// What this workload's seeds begin with.
    seed: String,
    session: tokio::sync::Mutex<(u64, Option<Arc<Session>>)>,
}

impl KubernetesLane {
    /// Makes namespaces and workloads and waits until every one of them can be driven.
    pub(super) async fn open(common: Common, name: &str, shape: Option<&Shape>) -> Result<Self, PreflightError> {
        let namespaces = workloads::namespaces(&common.run, name);
        let (workloads, probes) = (RwLock::default(), AtomicU64::new(0));
        let restricted = OnceCell::new();
        let lane = Self { common, namespaces, shape: shape.cloned(), workloads, probes, restricted };
        let (cluster, of) = (&lane.common.cluster, lane.manifests());
        create(cluster, of.namespaces()).await?;
        if let Some(shape) = shape {
            // A pod is refused while its ServiceAccount is not there.
            create(cluster, of.service_accounts(shape)).await?;
            let services = shape.services.iter().filter(|service| !shape.is_absent(service));
            create(cluster, services.map(|service| of.service(service)).collect()).await?;
            let first = || shape.workloads.iter().filter(|workload| !workload.absent);
            create(cluster, first().map(|workload| of.pod(shape, workload)).collect()).await?;
            try_join_all(first().map(|workload| lane.started(shape, workload))).await?;
        }
        Ok(lane)
    }

    /// The digests of the images that its workloads run.
    pub(super) fn images(&self) -> BTreeSet<Digest> {
        self.driven().iter().map(|(_, driven)| driven.image).collect()
    }

    fn manifests(&self) -> Manifests<'_> {
        let Common { run, profile, image, .. } = &self.common;
        Manifests { run, profile, image, namespaces: &self.namespaces }
    }

    /// The workloads that run.
    fn driven(&self) -> Vec<(Slug, Arc<Driven>)> {
        let workloads = self.workloads.read().unwrap_or_else(PoisonError::into_inner);
        workloads.iter().map(|(name, driven)| (name.clone(), Arc::clone(driven))).collect()
    }

    fn workload(&self, name: &Slug) -> Option<Arc<Driven>> {
        self.workloads.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Waits until a workload's pod is ready and drives it. A mesh that adds sidecars may not have seen the namespace
    /// yet when the pod was made; then it is made again.
    async fn started(&self, shape: &Shape, workload: &Workload) -> Result<(), PreflightError> {
        let (cluster, of) = (&self.common.cluster, self.manifests());
        let mut left = SIDECAR_RETRIES;
        let driven = loop {
            match started(&self.common, &of, workload).await {
                Err(PreflightError::SidecarAbsent { pod, .. }) if left > 0 => {
                    left -= 1;
                    let ended = self.gone(&pod_resource(), workload.namespace, &workload.name).await;
                    ended.map_err(|fault| PreflightError::Workload { pod, reason: fault.detail })?;
                    create(cluster, vec![of.pod(shape, workload)]).await?;
                }
                driven => break driven?,
            }
        };
        driven.introduce(&self.common.cluster, &workload.name).await?;
        let mut workloads = self.workloads.write().unwrap_or_else(PoisonError::into_inner);
        workloads.insert(workload.name.clone(), Arc::new(driven));
        Ok(())
    }

    /// Starts a workload, and the Services that are there with it.
    async fn start(&self, name: &Slug) -> Result<(), Fault> {
        let (shape, workload) = self.of_shape(name)?;
        let (cluster, of) = (&self.common.cluster, self.manifests());
        let is_new = |service: &&Service| shape.is_absent(service) && !self.is_populated(shape, service);
        let services = shape.services.iter().filter(|service| service.selects(workload)).filter(is_new);
        create(cluster, services.map(|service| of.service(service)).collect()).await.map_err(PreflightError::fault)?;
        create(cluster, vec![of.pod(shape, workload)]).await.map_err(PreflightError::fault)?;
        self.started(shape, workload).await.map_err(PreflightError::fault)?;
        let sidecars: BTreeSet<String> = self.sidecars().into_iter().map(|subject| subject.digest.sha256).collect();
        if self.images().len() > 1 || sidecars.len() > 1 {
            let detail = format!("{name} was started from another image than the others");
            return Err(Fault { code: Code::AgentFault, detail });
        }
        Ok(())
    }

    /// Ends a workload, and the Services that are there for it alone.
    async fn end(&self, name: &Slug) -> Result<(), Fault> {
        let (shape, workload) = self.of_shape(name)?;
        self.workloads.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let left_alone = |service: &&Service| shape.is_absent(service) && !self.is_populated(shape, service);
        for service in shape.services.iter().filter(|service| service.selects(workload)).filter(left_alone) {
            self.gone(&service_resource(), service.namespace, service.object()).await?;
        }
        self.gone(&pod_resource(), workload.namespace, name).await
    }

    /// Deletes an object and waits until it is gone.
    async fn gone(&self, resource: &ApiResource, namespace: Namespace, name: &Slug) -> Result<(), Fault> {
        let namespace = self.namespaces.of(namespace);
        let objects = self.common.cluster.objects(resource, Some(namespace));
        objects.delete(name.as_str()).await.map_err(ClusterError::fault)?;
        let deadline = Instant::now() + POD_TIMEOUT;
        loop {
            match objects.get(name.as_str()).await {
                Err(ClusterError::Absent(_)) => return Ok(()),
                Err(error) => return Err(error.fault()),
                Ok(_) if Instant::now() >= deadline => {
                    let detail = format!("{namespace}/{name} not gone in {} s", POD_TIMEOUT.as_secs());
                    return Err(Fault { code: Code::KubernetesFault, detail });
                }
                Ok(_) => sleep(POLL).await,
            }
        }
    }

    fn of_shape(&self, name: &Slug) -> Result<(&Shape, &Workload), Fault> {
        let unknown = || Fault { code: Code::AgentFault, detail: format!("no workload {name}") };
        let shape = self.shape.as_ref().ok_or_else(unknown)?;
        Ok((shape, shape.workload(name).ok_or_else(unknown)?))
    }

    fn is_populated(&self, shape: &Shape, service: &Service) -> bool {
        shape.selected(service).any(|workload| self.workload(&workload.name).is_some())
    }

    /// The images that the mesh added to them.
    pub(super) fn sidecars(&self) -> Vec<Subject> {
        self.driven().iter().filter_map(|(_, driven)| driven.sidecar.clone()).collect()
    }

    fn object(&self, resource: &Resource) -> Result<(ApiResource, Value), Fault> {
        let object = self.common.dialect.write(resource, &self.namespaces);
        match (self.resource(resource.kind()), object) {
            (Some(kind), Some(object)) => Ok((kind, object)),
            _ => Err(untested(resource.kind())),
        }
    }

    /// A kind in the version that is tested.
    fn resource(&self, kind: Kind) -> Option<ApiResource> {
        let (api, version) = (kind.api(), self.common.dialect.apis.get(&kind.api())?);
        let group = format!("{api}.smi-spec.io");
        Some(ApiResource {
            api_version: format!("{group}/{version}"),
            group,
            version: version.to_string(),
            kind: kind.as_str().to_owned(),
            plural: kind.plural().to_owned(),
        })
    }

    /// Whether discovery lists the kind in the version that is tested.
    fn serves(&self, kind: Kind) -> bool {
        let tested = self.common.dialect.apis.get(&kind.api());
        let served = self.common.survey.kinds.get(&kind);
        tested.zip(served).is_some_and(|(tested, served)| served.contains(tested))
    }

    fn objects(&self, resource: &ApiResource) -> Objects {
        self.common.cluster.objects(resource, Some(&self.namespaces.main))
    }

    async fn apply(&self, resource: &Resource) -> Result<ActionResult, Fault> {
        let (kind, object) = self.object(resource)?;
        if !self.serves(resource.kind()) {
            return Ok(ActionResult::Refused);
        }
        taken(self.objects(&kind).create(&object).await)
    }

    async fn update(&self, resource: &Resource) -> Result<ActionResult, Fault> {
        let (kind, object) = self.object(resource)?;
        taken(self.objects(&kind).replace(resource.name().as_str(), &object).await)
    }

    async fn delete(&self, kind: Kind, name: &Slug) -> Result<ActionResult, Fault> {
        let resource = self.resource(kind).ok_or_else(|| untested(kind))?;
        taken(self.objects(&resource).delete(name.as_str()).await)
    }

    /// Where TrafficTargets are there, one that allows every request; where they are not, nothing denies.
    async fn grant(&self, open: &Open) -> Result<ActionResult, Fault> {
        let tested = |api| self.common.dialect.apis.contains_key(&api);
        if !tested(Api::Access) || !tested(Api::Specs) {
            return Ok(ActionResult::Done);
        }
        let malformed = || Fault { code: Code::KubernetesFault, detail: "a name of a grant".to_owned() };
        let namespace = self.namespaces.of(open.to.namespace);
        for resource in grant(open, self.common.dialect.port_demanded).ok_or_else(malformed)? {
            let (kind, mut object) = self.object(&resource)?;
            object["metadata"]["namespace"] = namespace.into();
            let objects = self.common.cluster.objects(&kind, Some(namespace));
            if taken(objects.create(&object).await)? == ActionResult::Refused {
                return Ok(ActionResult::Refused);
            }
        }
        Ok(ActionResult::Done)
    }

    async fn round_trip(&self, resource: &Resource) -> Result<ActionResult, Fault> {
        if let ActionResult::Refused = self.apply(resource).await? {
            return Ok(ActionResult::Refused);
        }
        let (kind, written) = self.object(resource)?;
        let objects = self.objects(&kind);
        let read = objects.get(resource.name().as_str()).await.map_err(ClusterError::fault)?;
        objects.delete(resource.name().as_str()).await.map_err(ClusterError::fault)?;
        Ok(ActionResult::Lost(dialect::lost(&written, &read)))
    }

    /// An object that is accepted against all expectation is deleted at once: nobody says how a mesh would read it.
    async fn refuse(&self, Flawed { flaw, resource }: &Flawed) -> Result<ActionResult, Fault> {
        let (kind, mut object) = self.object(resource)?;
        self.common.dialect.spoil(&mut object, *flaw);
        let objects = self.objects(&kind);
        let result = taken(objects.create(&object).await)?;
        if result == ActionResult::Done {
            objects.delete(resource.name().as_str()).await.map_err(ClusterError::fault)?;
        }
        Ok(result)
    }

    /// Lets the restricted user get the edges of the lane's pods, and nothing else.
    async fn restrict(&self) -> Result<(), Fault> {
        let (cluster, of) = (&self.common.cluster, self.manifests());
        // A binding is refused while its role is not there.
        create(cluster, vec![of.role()]).await.map_err(PreflightError::fault)?;
        create(cluster, vec![of.role_binding()]).await.map_err(PreflightError::fault)
    }

    /// What the metrics API answers. That the API server itself refuses to ask it is a fault.
    async fn ask(&self, path: &str, restricted: bool) -> Result<Answer, Fault> {
        let request = http::Request::get(path);
        let request = if restricted { request.header("Impersonate-User", RESTRICTED_USER) } else { request };
        let malformed = |error: http::Error| ClusterError::Malformed(error.to_string()).fault();
        let request = request.body(Vec::new()).map_err(malformed)?;
        let (http, body) = answered(&self.common.cluster.client(), request).await.map_err(ClusterError::fault)?;
        if matches!(http, 401 | 429) || (http == 403 && !restricted) {
            return Err(ClusterError::Denied(format!("GET {path}: {http}")).fault());
        }
        Ok(Answer { http, body, at: SystemTime::now().into() })
    }

    /// What the metrics API lists, asked for a while if it does not answer.
    async fn listing(&self) -> Result<Listing, Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listing = metrics::listing(&self.ask(ROOT, false).await?);
            if listing.http < 500 || Instant::now() >= deadline {
                return Ok(listing);
            }
            sleep(POLL).await;
        }
    }

    fn discovered(&self, kind: Kind) -> ActionResult {
        ActionResult::Served(self.common.survey.kinds.get(&kind).into_iter().flatten().copied().collect())
    }

    /// What a cell speaks, and name, port and, where no name is resolved, address of its destination.
    fn road(&self, cell: &Cell) -> Option<Road> {
        let shape = self.shape.as_ref()?;
        let from = self.workload(&cell.from)?;
        let (protocol, port) = shape.port(cell)?;
        let to_address = |address: IpAddr| (address.to_string(), port.target_port, Some(address));
        let (host, port, address) = match cell.via {
            Via::Service => {
                let service = shape.service(&cell.to)?;
                let (name, namespace) = (service.object().as_str(), self.namespaces.of(service.namespace));
                let host = if from.outside {
                    format!("{name}.{namespace}.svc")
                } else {
                    self.common.profile.address(name, namespace)
                };
                (host, port.port, None)
            }
            Via::Pod => to_address(self.workload(&cell.to)?.address),
            Via::Loopback => to_address(IpAddr::from([127, 0, 0, 1])),
        };
        Some(Road { protocol, host, port, address })
    }

    /// How many of the requests reached any workload at all.
    async fn logged(&self, ids: Vec<RequestId>) -> Result<u32, Fault> {
        if ids.is_empty() {
            return Ok(0);
        }
        let driven = self.driven();
        let logs = try_join_all(driven.iter().map(|(_, driven)| driven.logged(&self.common.cluster, &ids))).await?;
        let arrived: BTreeSet<RequestId> = logs.into_iter().flatten().collect();
        Ok(u32::try_from(arrived.len()).unwrap_or(u32::MAX))
    }
}

impl Lane for KubernetesLane {
    fn spacing(&self) -> Duration {
        SPACING
    }

    async fn act(&self, action: &Action) -> Result<ActionResult, Fault> {
        match action {
            Action::Apply(resource) | Action::ApplyOrRefuse(resource) => self.apply(resource).await,
            Action::Update(resource) => self.update(resource).await,
            Action::Delete(reference) => self.delete(reference.kind, &reference.name).await,
            Action::Open(open) => self.grant(open).await,
            Action::Discover(kind) => Ok(self.discovered(*kind)),
            Action::RoundTrip(resource) => self.round_trip(resource).await,
            // What is tested is known; the judge says whether it is one release.
            Action::Release => Ok(ActionResult::Done),
            Action::Resources => self.listing().await.map(ActionResult::Resources),
            Action::Refuse(flawed) => self.refuse(flawed).await,
            Action::Scale(Scale { workload, replicas: 0 }) => self.end(workload).await.map(|()| ActionResult::Done),
            Action::Scale(Scale { workload, .. }) => self.start(workload).await.map(|()| ActionResult::Done),
            Action::Restart(workload) => {
                self.end(workload).await?;
                self.start(workload).await.map(|()| ActionResult::Done)
            }
        }
    }

    async fn probe(&self, cell: &Cell, requests: u32) -> Result<Tally, Fault> {
        let unknown = || Fault { code: Code::AgentFault, detail: format!("no workload {}", cell.from) };
        let Road { protocol, host, port, address } = self.road(cell).ok_or_else(unknown)?;
        let from = self.workload(&cell.from).ok_or_else(unknown)?;
        let headers = headers(cell, protocol, self.probes.fetch_add(1, Ordering::Relaxed));
        let timeout_ms = if protocol == Protocol::Udp { DATAGRAM_TIMEOUT_MS } else { REQUEST_TIMEOUT_MS };
        let probe = |seed| {
            Command::Probe(Probe {
                count: requests,
                concurrency: CONCURRENCY.min(requests),
                protocol,
                host,
                port,
                address,
                method: cell.method,
                path: cell.path.clone(),
                headers,
                timeout_ms,
                connection: Connection::Fresh,
                seed,
            })
        };
        let result = from.probe(&self.common.cluster, probe).await?;
        let logged = self.logged(result.unanswered_ids).await?;
        Ok(Tally { logged, ..result.tally })
    }

    async fn read(&self, question: &Question) -> Result<Reading, Fault> {
        if question.restricted {
            self.restricted.get_or_try_init(|| self.restrict()).await?;
        }
        let mut answers = Vec::new();
        for path in metrics::paths(question, &self.namespaces) {
            let selector = metrics::selector(question).map(|selector| format!("?{selector}")).unwrap_or_default();
            answers.push(self.ask(&format!("{path}{selector}"), question.restricted).await?);
        }
        Ok(metrics::reading(&answers, &self.namespaces))
    }

    async fn wipe(&self) -> Result<(), Fault> {
        // What cuts one connection silently cuts the others too; each would be found out by a request of its own.
        join_all(self.driven().iter().map(|(_, driven)| driven.check())).await;
        for workload in self.shape.iter().flat_map(|shape| &shape.workloads) {
            match self.workload(&workload.name) {
                Some(_) if workload.absent => self.end(&workload.name).await?,
                // A restart failed half-way.
                None if !workload.absent => self.start(&workload.name).await?,
                _ => {}
            }
        }
        let deadline = Instant::now() + WIPE_TIMEOUT;
        let namespaces = [&self.namespaces.main, &self.namespaces.other];
        let kinds = Kind::STORED.into_iter().filter(|kind| self.serves(*kind));
        for (kind, namespace) in kinds.flat_map(|kind| namespaces.map(|namespace| (kind, namespace))) {
            let Some(resource) = self.resource(kind) else { continue };
            let objects = self.common.cluster.objects(&resource, Some(namespace));
            loop {
                let left = objects.list("").await.map_err(ClusterError::fault)?;
                let metadata = left.iter().map(|object| &object["metadata"]);
                let names = metadata
                    .filter(|metadata| metadata["deletionTimestamp"].is_null())
                    .filter_map(|metadata| metadata["name"].as_str());
                try_join_all(names.map(|name| objects.delete(name))).await.map_err(ClusterError::fault)?;
                if left.is_empty() {
                    break;
                }
                if Instant::now() >= deadline {
                    let detail = format!("{} {kind} not gone in {} s", left.len(), WIPE_TIMEOUT.as_secs());
                    return Err(Fault { code: Code::KubernetesFault, detail });
                }
                sleep(WIPE_POLL).await;
            }
        }
        Ok(())
    }

    /// Its namespaces begin to go; the target waits for all of them at the end.
    async fn close(self) {
        for namespace in [&self.namespaces.main, &self.namespaces.other] {
            // What is not deleted here is deleted at the end, where a failure is told.
            let _ = super::cleanup::delete(&self.common.cluster, namespace).await;
        }
    }
}

impl Driven {
    /// Asks the agent who it is: that it answers, and that it is the one that is meant.
    async fn introduce(&self, cluster: &Cluster, name: &Slug) -> Result<(), PreflightError> {
        let failed = |fault: Fault| PreflightError::Session {
            pod: format!("{}/{}", self.namespace, self.pod),
            detail: fault.detail,
            code: fault.code,
        };
        // A pod is ready when its process has been started, which may not be listening yet.
        let deadline = Instant::now() + AGENT_TIMEOUT;
        loop {
            match self.call(cluster, Command::Identity).await {
                Ok(Reply::Identity(Identity { workload, .. })) if workload == *name => return Ok(()),
                Ok(other) => return Err(failed(unexpected(&other))),
                Err(fault) if Instant::now() >= deadline => return Err(failed(fault)),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// A session that does not answer is ended, so that the next call opens another.
    async fn check(&self) {
        let open = self.session.lock().await.1.clone();
        if let Some(session) = open {
            session.check().await;
        }
    }

    async fn call(&self, cluster: &Cluster, command: Command) -> Result<Reply, Fault> {
        self.session(cluster).await?.1.call(command).await
    }

    async fn probe(&self, cluster: &Cluster, probe: impl FnOnce(u64) -> Command) -> Result<ProbeResult, Fault> {
        let (epoch, session) = self.session(cluster).await?;
        match session.call(probe(self.seed(epoch))).await? {
            Reply::Probe(result) => Ok(result),
            other => Err(unexpected(&other)),
        }
    }

    async fn logged(&self, cluster: &Cluster, ids: &[RequestId]) -> Result<Vec<RequestId>, Fault> {
        match self.call(cluster, Command::Logged(ids.to_vec())).await? {
            Reply::Logged(logged) if logged.dropped == 0 => Ok(logged.ids),
            Reply::Logged(logged) => {
                Err(Fault { code: Code::AgentFault, detail: format!("{} ids have left its log", logged.dropped) })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The session, opened if there is none, and its number.
    async fn session(&self, cluster: &Cluster) -> Result<(u64, Arc<Session>), Fault> {
        let mut held = self.session.lock().await;
        if let (epoch, Some(session)) = &*held
            && session.is_open()
        {
            return Ok((*epoch, Arc::clone(session)));
        }
        let session = Arc::new(Session::open(cluster, &self.namespace, &self.pod).await?);
        let epoch = held.0 + 1;
        *held = (epoch, Some(Arc::clone(&session)));
        Ok((epoch, session))
    }

    /// A seed that no other agent process is given: a session that broke may have ended with its process.
    fn seed(&self, epoch: u64) -> u64 {
        let digest = Digest::of(format!("{}/{epoch}", self.seed).as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_be_bytes(first)
    }
}

async fn create(cluster: &Cluster, objects: Vec<Value>) -> Result<(), PreflightError> {
    try_join_all(objects.iter().map(|object| async {
        let objects = cluster.objects(&resource_of(object), object["metadata"]["namespace"].as_str());
        objects.create(object).await
    }))
    .await?;
    Ok(())
}

/// Waits until a workload's pod is ready.
async fn started(common: &Common, of: &Manifests<'_>, workload: &Workload) -> Result<Driven, PreflightError> {
    let namespace = of.namespaces.of(workload.namespace);
    let pods = common.cluster.objects(&pod_resource(), Some(namespace));
    let name = workload.name.as_str();
    let deadline = Instant::now() + POD_TIMEOUT;
    loop {
        let pod = match pods.get(name).await {
            Err(ClusterError::Unreachable(_)) if Instant::now() < deadline => {
                sleep(POLL).await;
                continue;
            }
            pod => pod?,
        };
        let failed = |reason| PreflightError::Workload { pod: format!("{namespace}/{name}"), reason };
        if is_ready(&pod) {
            let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse::<IpAddr>().ok());
            let subject = mesh::image(&pod, Some(CONTAINER))?;
            let digest = Digest::from_hex(&subject.digest.sha256).ok();
            let (Some(address), Some(image)) = (address, digest) else {
                return Err(failed("ready without an address".to_owned()));
            };
            if address.is_ipv6() {
                return Err(failed(format!("its address is {address}, and the workload listens on IPv4 only")));
            }
            let sidecar = common.profile.sidecar.as_ref().filter(|_| !workload.outside);
            if let Some(sidecar) = sidecar.filter(|sidecar| container(&pod, Some(sidecar.as_str())).is_null()) {
                let (pod, sidecar) = (format!("{namespace}/{name}"), sidecar.clone());
                return Err(PreflightError::SidecarAbsent { pod, sidecar });
            }
            let sidecar = sidecar.map(|sidecar| mesh::image(&pod, Some(sidecar.as_str()))).transpose()?;
            let Common { seed, run, .. } = common;
            return Ok(Driven {
                namespace: namespace.to_owned(),
                pod: name.to_owned(),
                outside: workload.outside,
                address,
                image,
                sidecar,
                // A pod that is started anew has another id.
                seed: format!("{seed}/{run}/{}", pod["metadata"]["uid"]),
                session: tokio::sync::Mutex::new((0, None)),
            });
        }
        if let Some(reason) = hopeless(&pod) {
            return Err(failed(reason));
        }
        if Instant::now() >= deadline {
            return Err(failed(format!("not ready in {} s: {}", POD_TIMEOUT.as_secs(), pending(&pod))));
        }
        sleep(POLL).await;
    }
}

fn service_resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&())
}

fn resource_of(object: &Value) -> ApiResource {
    let kind = object["kind"].as_str().unwrap_or_default();
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}

/// A refusal is an outcome; everything else that keeps an object from being taken is a fault.
fn taken(done: Result<(), ClusterError>) -> Result<ActionResult, Fault> {
    match done {
        Ok(()) => Ok(ActionResult::Done),
        Err(ClusterError::Refused(_)) => Ok(ActionResult::Refused),
        Err(error) => Err(error.fault()),
    }
}

/// Why a pod will not become ready by waiting, if Kubernetes says so.
fn hopeless(pod: &Value) -> Option<String> {
    const REASONS: [&str; 8] = [
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    ];
    let waiting = waiting(pod).find(|(reason, _)| REASONS.contains(reason));
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    waiting.map(|(reason, message)| format!("{reason}: {message}")).or_else(|| ended.then(|| "it ended".to_owned()))
}

/// What Kubernetes says of a pod that is not ready.
fn pending(pod: &Value) -> String {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unmet = conditions.filter(|condition| condition["status"] != "True");
    let said = unmet.filter_map(|condition| condition["message"].as_str().map(str::to_owned));
    let said: Vec<String> = said.chain(waiting(pod).map(|(reason, _)| reason.to_owned())).collect();
    if said.is_empty() { "no reason is given".to_owned() } else { said.join("; ") }
}

fn waiting(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    let fields = ["initContainerStatuses", "containerStatuses"];
    let statuses = fields.into_iter().flat_map(|field| pod["status"][field].as_array().into_iter().flatten());
    statuses.filter_map(|status| {
        let waiting = &status["state"]["waiting"];
        Some((waiting["reason"].as_str()?, waiting["message"].as_str().unwrap_or_default()))
    })
}

fn untested(kind: Kind) -> Fault {
    Fault { code: Code::KubernetesFault, detail: format!("{kind} is of an API that is not tested") }
}

fn unexpected(reply: &Reply) -> Fault {
    let detail = serde_json::to_string(reply).unwrap_or_default();
    Fault { code: Code::AgentFault, detail: format!("not the reply that was asked for: {detail:.200}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_that_cannot_start_is_not_waited_for() {
        let pod = |reason: &str| {
            json!({"status": {"phase": "Pending", "containerStatuses": [
                {"state": {"waiting": {"reason": reason, "message": "why"}}}]}})
        };
        assert_eq!(hopeless(&pod("ErrImagePull")).unwrap(), "ErrImagePull: why");
        assert_eq!(hopeless(&pod("ContainerCreating")), None);
        assert_eq!(hopeless(&json!({"status": {"phase": "Failed"}})).unwrap(), "it ended");
        let unscheduled = json!({"status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]}});
        assert_eq!(pending(&unscheduled), "0/1 nodes are available");
    }

    #[test]
    fn an_object_that_is_refused_is_no_fault() {
        assert_eq!(taken(Err(ClusterError::Refused(String::new()))), Ok(ActionResult::Refused));
        for error in [ClusterError::Busy(String::new()), ClusterError::Denied(String::new())] {
            assert_eq!(taken(Err(error)).unwrap_err().code, Code::KubernetesFault);
        }
    }
}
