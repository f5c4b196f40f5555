//! The engine: what SMI resources mean, as a pure function of them.
//!
//! It knows resources, identities and calls. It does no I/O, draws no random numbers and has never heard of
//! assertions. How it reads the text where there is a choice:
//!
//! - Access is denied unless a TrafficTarget grants it. Targets add up, and so do their rules.
//! - A rule grants the matches of its group that it names, or all of them when it names none. A group, or a match,
//!   that does not exist grants nothing.
//! - A match holds when everything it names holds. A `pathRegex` must match from the start of the path, query
//!   excluded and dot segments resolved, and need not reach its end; a header's expression may match anywhere in the
//!   value.
//! - A TCPRoute or UDPRoute grants the ports that it names, or every port when it names none. It grants no HTTP
//!   request; beside an HTTPRouteGroup in the same target, the ports that TCPRoutes name limit the HTTP requests.
//! - Ports are those that workloads listen on.
//! - A TrafficSplit divides the calls of its root Service, or only the requests that belong to one of its groups; any
//!   other call goes to the root Service. A backend that does not exist, or that lacks the port called, takes no part.
//!   If none is left, the split is as good as absent. Of several splits of a root the first by name is in force.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};
use smi_schemas::names::Slug;
use smi_schemas::smi::{
    Backend, HttpMatch, Kind, Method, Namespace, Resource, Rule, ServiceAccount, TrafficSplit, TrafficTarget,
};
use smi_schemas::suite::{MAX_REGEX_BYTES, Protocol, Service, Shape};

use crate::mutant::Mutant;
use crate::path::resolved;

/// The mesh's state and its one deviation, if it has one.
#[derive(Debug)]
pub struct Engine {
    /// The Services that exist.
    services: Vec<Service>,
    /// The identities that workloads have.
    identities: BTreeSet<ServiceAccount>,
    /// As they are stored.
    resources: BTreeMap<(Kind, Slug), Resource>,
    /// What is made of them: the same, but for what a mutant misreads.
    meant: BTreeMap<(Kind, Slug), Resource>,
    /// Compiled from the groups in `meant`, and replaced with them.
    routes: BTreeMap<Slug, Vec<Route>>,
    mutant: Option<Mutant>,
}

/// A call, as far as SMI can speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// How it is carried.
    pub protocol: Protocol,
    /// The request, over HTTP.
    pub request: Option<Request<'a>>,
}

/// A request, as far as SMI can speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query, byte for byte.
    pub target: &'a str,
    /// Fields by name, in any case.
    pub headers: &'a [(String, String)],
}

/// Where a call to a Service may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To any workload of this Service.
    Service(Slug),
    /// To one of these Services, in proportion to their weights; the sum is not zero.
    Split(Vec<(Slug, u64)>),
}

/// Why a resource was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is one of that name.
    #[error("{0} {1:?} exists already")]
    Exists(Kind, Slug),
    /// There is none of that name.
    #[error("{0} {1:?} does not exist")]
    Absent(Kind, Slug),
}

/// A match, compiled.
#[derive(Debug)]
struct Route {
    name: Slug,
    path: Option<Expression>,
    methods: Option<Vec<Method>>,
    headers: Vec<(String, Expression)>,
}

/// A regular expression, or what was given for one: that matches nothing.
#[derive(Debug)]
struct Expression(Option<Regex>);

impl Engine {
    /// A mesh without resources among the workloads of a shape.
    pub fn new(shape: &Shape, mutant: Option<Mutant>) -> Self {
        let of = |workload: &smi_schemas::suite::Workload| identity(workload.namespace, &workload.service_account);
        Self {
            services: Vec::new(),
            identities: shape.workloads.iter().map(of).collect(),
            resources: BTreeMap::new(),
            meant: BTreeMap::new(),
            routes: BTreeMap::new(),
            mutant,
        }
    }

    /// Says which Services exist.
    pub fn exist(&mut self, services: impl Iterator<Item = Service>) {
        self.services = services.collect();
    }

    /// Creates a resource.
    pub fn create(&mut self, resource: Resource) -> Result<(), Rejected> {
        let key = key(&resource);
        if self.resources.contains_key(&key) {
            return Err(Rejected::Exists(key.0, key.1));
        }
        self.resources.insert(key.clone(), resource);
        self.changed(&key);
        Ok(())
    }

    /// Replaces a resource.
    pub fn replace(&mut self, resource: Resource) -> Result<(), Rejected> {
        let key = key(&resource);
        if !self.resources.contains_key(&key) {
            return Err(Rejected::Absent(key.0, key.1));
        }
        self.resources.insert(key.clone(), resource);
        let ignored = match key.0 {
            Kind::TrafficTarget => self.is(Mutant::IgnoresTargetUpdates),
            Kind::HttpRouteGroup => self.is(Mutant::IgnoresRouteUpdates),
            Kind::TrafficSplit => self.is(Mutant::IgnoresSplitUpdates),
            Kind::TcpRoute | Kind::UdpRoute | Kind::TrafficMetrics => false,
        };
        if !ignored {
            self.changed(&key);
        }
        Ok(())
    }

    /// Deletes a resource.
    pub fn delete(&mut self, kind: Kind, name: &Slug) -> Result<(), Rejected> {
        let key = (kind, name.clone());
        if self.resources.remove(&key).is_none() {
            return Err(Rejected::Absent(kind, name.clone()));
        }
        let kept = match kind {
            Kind::TrafficTarget => self.is(Mutant::KeepsDeletedGrants),
            Kind::TrafficSplit => self.is(Mutant::KeepsDeletedSplits),
            Kind::HttpRouteGroup | Kind::TcpRoute | Kind::UdpRoute | Kind::TrafficMetrics => false,
        };
        if !kept {
            self.changed(&key);
        }
        Ok(())
    }

    /// The resource of that name, as stored.
    pub fn read(&self, kind: Kind, name: &Slug) -> Option<&Resource> {
        self.resources.get(&(kind, name.clone()))
    }

    /// Forgets every resource.
    pub fn clear(&mut self) {
        self.resources.clear();
        self.meant.clear();
        self.routes.clear();
    }

    /// Whether a caller may call a port of a destination. A caller without an identity has no grant.
    pub fn allows(
        &self,
        caller: Option<&ServiceAccount>,
        destination: &ServiceAccount,
        port: u16,
        call: &Call<'_>,
    ) -> bool {
        let targets = || {
            self.meant.values().filter_map(|resource| match resource {
                Resource::TrafficTarget(target) if self.concerns(target, destination, port) => Some(target),
                _ => None,
            })
        };
        if self.is(Mutant::AllowsEverything) || self.is(Mutant::AllowsByDefault) && targets().next().is_none() {
            return true;
        }
        let Some(caller) = caller else { return false };
        let is_source = |target: &&TrafficTarget| {
            let everyone = target.sources.is_empty() && self.is(Mutant::EmptySourcesGrantEveryone);
            everyone || target.sources.iter().any(|source| self.is_same(source, caller))
        };
        let is_route = |target: &&TrafficTarget| self.is(Mutant::GrantsAnyRoute) || self.covers(target, port, call);
        let both = |target: &TrafficTarget| is_source(&target) && is_route(&target);
        match self.mutant {
            Some(Mutant::OneTargetPerDestination) => targets().next_back().is_some_and(both),
            Some(Mutant::OneOfEqualRoutes) => targets().find(is_route).is_some_and(|target| is_source(&target)),
            Some(Mutant::MergesTargets) => {
                targets().any(|target| is_source(&target)) && targets().any(|target| is_route(&target))
            }
            Some(Mutant::UnreferencedRoutesGrant) => {
                let groups = || self.routes.values().flatten();
                let by_any_route =
                    || call.request.is_some_and(|request| groups().any(|route| self.holds(route, &request)));
                targets().any(both) || (targets().any(|target| is_source(&target)) && by_any_route())
            }
            _ => targets().any(both) || self.is(Mutant::GrantsBothWays) && self.answers(caller, destination),
        }
    }

    /// Where a call to a port of a Service goes.
    pub fn route(&self, root: &Service, port: u16, call: &Call<'_>) -> Destination {
        let is_first = root.ports.first().is_some_and(|first| first.port == port);
        let whole = Destination::Service(root.name.clone());
        let is_http = call.protocol.is_http();
        if self.is(Mutant::SplitsFirstPortOnly) && !is_first || self.is(Mutant::SplitsHttpOnly) && !is_http {
            return whole;
        }
        let is_root = |split: &TrafficSplit| {
            let own = root.namespace == Namespace::Main || self.is(Mutant::SplitsEveryNamespace);
            let is_backend = split.backends.iter().any(|backend| backend.service == *root.object());
            own && (split.service == *root.object() || is_backend && self.is(Mutant::SplitsBackendsToo))
        };
        let splits = self.meant.values().filter_map(|resource| match resource {
            Resource::TrafficSplit(split) if is_root(split) => Some(split),
            _ => None,
        });
        for split in splits {
            if let Some(backends) = self.backends(split, port, call) {
                return Destination::Split(backends);
            }
        }
        whole
    }

    /// The Service of that name in the shape.
    pub fn service(&self, name: &Slug) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }

    /// Makes of what is stored what is meant by it.
    fn changed(&mut self, key: &(Kind, Slug)) {
        let stalled =
            self.is(Mutant::StallsOnUngrantable) && self.resources.values().any(|object| self.is_ungrantable(object));
        if stalled {
            return;
        }
        let keys: Vec<(Kind, Slug)> = if self.is(Mutant::StallsOnUngrantable) {
            self.resources.keys().chain(self.meant.keys()).cloned().collect()
        } else {
            vec![key.clone()]
        };
        for key in keys {
            let stored = self.resources.get(&key).cloned();
            let meant = stored.and_then(|stored| match self.mutant {
                None => Some(stored),
                Some(mutant) => mutant.misread(stored),
            });
            if key.0 == Kind::HttpRouteGroup {
                self.routes.remove(&key.1);
            }
            if let Some(Resource::HttpRouteGroup(group)) = &meant {
                self.routes.insert(key.1.clone(), group.matches.iter().map(Route::compile).collect());
            }
            match meant {
                Some(meant) => drop(self.meant.insert(key, meant)),
                None => drop(self.meant.remove(&key)),
            }
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a resource speaks of somebody or something that is not there.
    fn is_ungrantable(&self, resource: &Resource) -> bool {
        let Resource::TrafficTarget(target) = resource else { return false };
        let is_there = |rule: &Rule| self.resources.contains_key(&(rule.kind, rule.name.clone()));
        !target.rules.iter().all(is_there) || !target.sources.iter().all(|source| self.identities.contains(source))
    }

    /// Whether a target speaks of this port of a destination.
    fn concerns(&self, target: &TrafficTarget, destination: &ServiceAccount, port: u16) -> bool {
        let is_port = target.port.is_none_or(|granted| granted == port) || self.is(Mutant::IgnoresDestinationPorts);
        target.destination == *destination && is_port
    }

    /// Whether a source names the caller.
    fn is_same(&self, source: &ServiceAccount, caller: &ServiceAccount) -> bool {
        let is_account = source.service_account == caller.service_account;
        let is_namespace = source.namespace == caller.namespace || self.is(Mutant::IgnoresNamespaces);
        (is_account && is_namespace) || self.is(Mutant::GrantsAnySource)
    }

    /// Whether some target grants the destination anything at the caller.
    fn answers(&self, caller: &ServiceAccount, destination: &ServiceAccount) -> bool {
        self.meant.values().any(|resource| match resource {
            Resource::TrafficTarget(target) => target.destination == *caller && target.sources.contains(destination),
            _ => false,
        })
    }

    /// Whether the rules of a target cover a call.
    fn covers(&self, target: &TrafficTarget, port: u16, call: &Call<'_>) -> bool {
        if target.rules.is_empty() && self.is(Mutant::EmptyRulesGrantEverything) {
            return true;
        }
        let mut rules = target.rules.iter();
        match (call.protocol, &call.request) {
            (Protocol::Tcp, _) => rules.any(|rule| self.covers_port(rule, Kind::TcpRoute, port)),
            (Protocol::Udp, _) if self.is(Mutant::TcpOpensUdp) => rules
                .any(|rule| [Kind::TcpRoute, Kind::UdpRoute].iter().any(|kind| self.covers_port(rule, *kind, port))),
            (Protocol::Udp, _) => rules.any(|rule| self.covers_port(rule, Kind::UdpRoute, port)),
            (Protocol::H2c, _) if self.is(Mutant::OpenOverHttp2) => true,
            (_, None) => false,
            (_, Some(request)) => {
                let mut limits = target.rules.iter().filter(|rule| rule.kind == Kind::TcpRoute).peekable();
                let within = limits.peek().is_none() || limits.any(|rule| self.covers_port(rule, Kind::TcpRoute, port));
                within && rules.any(|rule| self.grants(rule, request))
            }
        }
    }

    fn covers_port(&self, rule: &Rule, kind: Kind, port: u16) -> bool {
        let ignores = match kind {
            Kind::TcpRoute => self.is(Mutant::IgnoresTcpPorts),
            _ => self.is(Mutant::IgnoresUdpPorts),
        };
        let route = self.meant.get(&(kind, rule.name.clone())).filter(|_| rule.kind == kind);
        match route {
            Some(Resource::TcpRoute(route) | Resource::UdpRoute(route)) => {
                let every = route.ports.is_empty() && !self.is(Mutant::EmptyPortsGrantNothing);
                every || ignores || route.ports.contains(&port)
            }
            _ => false,
        }
    }

    fn grants(&self, rule: &Rule, request: &Request<'_>) -> bool {
        if rule.kind != Kind::HttpRouteGroup {
            return false;
        }
        let Some(routes) = self.routes.get(&rule.name) else { return self.is(Mutant::DanglingRulesGrantEverything) };
        let named = |route: &&Route| match &rule.matches {
            None => true,
            Some(names) => names.contains(&route.name),
        };
        let unknown = !routes.iter().any(|route| named(&route)) && self.is(Mutant::DanglingRulesGrantEverything);
        unknown || routes.iter().filter(named).any(|route| self.holds(route, request))
    }

    /// The backends that take part, if the split concerns the call at all.
    fn backends(&self, split: &TrafficSplit, port: u16, call: &Call<'_>) -> Option<Vec<(Slug, u64)>> {
        let belongs = |group: &Slug| {
            let mut routes = self.routes.get(group).into_iter().flatten();
            call.request.is_some_and(|request| routes.any(|route| self.holds(route, &request)))
        };
        let concerned = split.matches.as_ref().is_none_or(|groups| groups.iter().any(belongs));
        if !concerned && !self.is(Mutant::NonMatchSplitEvenly) {
            return None;
        }
        let service = |backend: &Backend| {
            let mut services = self.services.iter();
            services.find(|service| service.namespace == Namespace::Main && *service.object() == backend.service)
        };
        if self.is(Mutant::AbsentBackendsStopSplits) && split.backends.iter().any(|backend| service(backend).is_none())
        {
            return None;
        }
        let takes_part =
            |service: &Service| service.ports.iter().any(|other| other.port == port) || self.is(Mutant::IgnoresPorts);
        let weight = |backend: &Backend| match self.mutant {
            Some(Mutant::UnscaledQuantities) => u64::from(backend.weight),
            _ if concerned => backend.thousandths(),
            _ => 1,
        };
        let present = split.backends.iter().filter_map(|backend| Some((backend, service(backend)?)));
        let taking = present.filter(|(_, service)| takes_part(service));
        let backends: Vec<_> = taking.map(|(backend, service)| (service.name.clone(), weight(backend))).collect();
        backends.iter().any(|(_, weight)| *weight > 0).then_some(backends)
    }

    fn holds(&self, route: &Route, request: &Request<'_>) -> bool {
        let path = request.target.split('?').next().unwrap_or_default();
        let path = if self.is(Mutant::MatchesRawPaths) { path.into() } else { resolved(path) };
        let path_holds = route.path.as_ref().is_none_or(|expression| expression.matches(&path));
        let is_method = |method: &Method| *method == Method::Any || method.as_str() == request.method;
        let method_holds = route.methods.as_ref().is_none_or(|methods| methods.iter().any(is_method));
        let header_holds = |(name, expression): &(String, Expression)| {
            let mut values = request.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
            values.any(|(_, value)| self.is(Mutant::HeaderNamesOnly) || expression.matches(value))
        };
        let mut headers = route.headers.iter();
        let headers_hold = match self.mutant {
            Some(Mutant::OneHeaderSuffices) => route.headers.is_empty() || headers.any(header_holds),
            _ => headers.all(header_holds),
        };
        let either = self.is(Mutant::PathOrHeaders) && route.path.is_some() && !route.headers.is_empty();
        method_holds && if either { path_holds || headers_hold } else { path_holds && headers_hold }
    }
}

impl Route {
    fn compile(matched: &HttpMatch) -> Self {
        let path = |text: &String| Expression::compile(&format!("^(?:{text})"));
        let headers = matched.headers.iter().flatten();
        Self {
            name: matched.name.clone(),
            path: matched.path_regex.as_ref().map(path),
            methods: matched.methods.clone(),
            headers: headers.map(|(name, expression)| (name.clone(), Expression::compile(expression))).collect(),
        }
    }
}

impl Expression {
    fn compile(text: &str) -> Self {
        Self(RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build().ok())
    }

    fn matches(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|expression| expression.is_match(text))
    }
}

fn key(resource: &Resource) -> (Kind, Slug) {
    (resource.kind(), resource.name().clone())
}

/// The identity of a workload.
pub fn identity(namespace: Namespace, service_account: &Slug) -> ServiceAccount {
    ServiceAccount { namespace, service_account: service_account.clone() }
}
