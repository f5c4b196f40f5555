//! The engine: what SMI resources mean, as a pure function of them.
//!
//! It knows resources, identities and requests. It does no I/O, draws no random numbers and has never heard of
//! assertions. How it reads the text where there is a choice:
//!
//! - Access is denied unless a TrafficTarget grants it. Targets add up, and so do their rules.
//! - A rule grants the matches of its group that it names, or all of them when it names none. A group, or a match,
//!   that does not exist grants nothing.
//! - A match holds when everything it names holds. A `pathRegex` must match from the start of the path, query
//!   excluded, and need not reach its end; a header's expression may match anywhere in the value.
//! - A TrafficSplit divides the calls of its root Service, or only those that belong to one of its groups; any other
//!   call goes to the root Service. A backend without the root's port takes no part. If none is left, the split is as
//!   good as absent.
//! - A TCPRoute speaks of ports and grants no HTTP request.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use smi_schemas::names::Slug;
use smi_schemas::smi::{
    HttpMatch, Kind, Method, Namespace, Resource, Rule, ServiceAccount, TrafficSplit, TrafficTarget,
};
use smi_schemas::suite::{Service, Shape};

use crate::mutant::Mutant;

/// Bytes that one compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The mesh's state and its one deviation, if it has one.
#[derive(Debug)]
pub struct Engine {
    services: Vec<Service>,
    /// As they are stored.
    resources: BTreeMap<(Kind, Slug), Resource>,
    /// What is made of them: the same, but for what a mutant misreads.
    meant: BTreeMap<(Kind, Slug), Resource>,
    /// Compiled from the groups in `meant`, and replaced with them.
    routes: BTreeMap<Slug, Vec<Route>>,
    mutant: Option<Mutant>,
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
    Split(Vec<(Slug, u32)>),
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
    /// A mesh without resources among the Services of a shape.
    pub fn new(shape: &Shape, mutant: Option<Mutant>) -> Self {
        let services = shape.services.clone();
        Self { services, resources: BTreeMap::new(), meant: BTreeMap::new(), routes: BTreeMap::new(), mutant }
    }

    /// Creates a resource.
    pub fn create(&mut self, resource: Resource) -> Result<(), Rejected> {
        let key = key(&resource);
        if self.resources.contains_key(&key) {
            return Err(Rejected::Exists(key.0, key.1));
        }
        self.put(key, resource);
        Ok(())
    }

    /// Replaces a resource.
    pub fn replace(&mut self, resource: Resource) -> Result<(), Rejected> {
        let key = key(&resource);
        if !self.resources.contains_key(&key) {
            return Err(Rejected::Absent(key.0, key.1));
        }
        if key.0 == Kind::TrafficSplit && self.is(Mutant::IgnoresUpdates) {
            self.resources.insert(key, resource);
        } else {
            self.put(key, resource);
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
            Kind::HttpRouteGroup | Kind::TcpRoute => false,
        };
        if kept {
            return Ok(());
        }
        self.meant.remove(&key);
        if kind == Kind::HttpRouteGroup {
            self.routes.remove(name);
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

    /// Whether a caller may send a request to a destination. A caller without an identity has no grant.
    pub fn allows(&self, caller: Option<&ServiceAccount>, destination: &ServiceAccount, request: &Request<'_>) -> bool {
        let targets = || {
            self.meant.values().filter_map(|resource| match resource {
                Resource::TrafficTarget(target) if target.destination == *destination => Some(target),
                _ => None,
            })
        };
        if self.is(Mutant::AllowsByDefault) && targets().next().is_none() {
            return true;
        }
        let Some(caller) = caller else { return false };
        let is_source = |target: &&TrafficTarget| target.sources.iter().any(|source| self.is_same(source, caller));
        let is_route = |target: &&TrafficTarget| {
            self.is(Mutant::GrantsAnyRoute) || target.rules.iter().any(|rule| self.grants(rule, request))
        };
        match self.mutant {
            Some(Mutant::OneTargetPerDestination) => {
                targets().next_back().is_some_and(|target| is_source(&target) && is_route(&target))
            }
            Some(Mutant::OneOfEqualRoutes) => targets().find(is_route).is_some_and(|target| is_source(&target)),
            _ => targets().any(|target| is_source(&target) && is_route(&target)),
        }
    }

    /// Where a call to a Service goes.
    pub fn route(&self, service: &Service, request: &Request<'_>) -> Destination {
        let splits = self.meant.values().filter_map(|resource| match resource {
            Resource::TrafficSplit(split) if split.service == service.name => Some(split),
            _ => None,
        });
        for split in splits {
            if let Some(backends) = self.backends(service, split, request) {
                return Destination::Split(backends);
            }
        }
        Destination::Service(service.name.clone())
    }

    /// The Service of that name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }

    fn put(&mut self, key: (Kind, Slug), resource: Resource) {
        let stored = match self.mutant {
            None => resource,
            Some(mutant) => mutant.stored(resource),
        };
        let meant = match self.mutant {
            None => Some(stored.clone()),
            Some(mutant) => mutant.misread(stored.clone()),
        };
        if let Some(Resource::HttpRouteGroup(group)) = &meant {
            self.routes.insert(key.1.clone(), group.matches.iter().map(Route::compile).collect());
        }
        self.resources.insert(key.clone(), stored);
        match meant {
            Some(meant) => drop(self.meant.insert(key, meant)),
            None => drop(self.meant.remove(&key)),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a source names the caller.
    fn is_same(&self, source: &ServiceAccount, caller: &ServiceAccount) -> bool {
        let is_account = source.service_account == caller.service_account;
        let is_namespace = source.namespace == caller.namespace || self.is(Mutant::IgnoresNamespaces);
        (is_account && is_namespace) || self.is(Mutant::GrantsAnySource)
    }

    fn grants(&self, rule: &Rule, request: &Request<'_>) -> bool {
        if rule.kind != Kind::HttpRouteGroup {
            return false;
        }
        let named = |route: &&Route| match &rule.matches {
            None => true,
            Some(names) => names.contains(&route.name),
        };
        let mut routes = self.routes.get(&rule.name).into_iter().flatten().filter(named);
        routes.any(|route| route.holds(request))
    }

    /// The backends that take part, if the split concerns the request at all.
    fn backends(&self, root: &Service, split: &TrafficSplit, request: &Request<'_>) -> Option<Vec<(Slug, u32)>> {
        let belongs =
            |group: &Slug| self.routes.get(group).is_some_and(|routes| routes.iter().any(|r| r.holds(request)));
        let concerned = split.matches.as_ref().is_none_or(|groups| groups.iter().any(belongs));
        let even = self.is(Mutant::NonMatchSplitEvenly);
        if !concerned && !even {
            return None;
        }
        let is_port = |service: &Service| service.port == root.port || self.is(Mutant::IgnoresPorts);
        let has_port = |name: &Slug| self.services.iter().any(|service| service.name == *name && is_port(service));
        let part = split.backends.iter().filter(|backend| has_port(&backend.service));
        let mut backends: Vec<(Slug, u32)> = part.map(|backend| (backend.service.clone(), backend.weight)).collect();
        if !concerned {
            for (_, weight) in &mut backends {
                *weight = 1;
            }
        }
        backends.iter().any(|(_, weight)| *weight > 0).then_some(backends)
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

    fn holds(&self, request: &Request<'_>) -> bool {
        let path = request.target.split('?').next().unwrap_or_default();
        let path_holds = self.path.as_ref().is_none_or(|expression| expression.matches(path));
        let is_method = |method: &Method| *method == Method::Any || method.as_str() == request.method;
        let method_holds = self.methods.as_ref().is_none_or(|methods| methods.iter().any(is_method));
        let header_holds = |(name, expression): &(String, Expression)| {
            let mut values = request.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
            values.any(|(_, value)| expression.matches(value))
        };
        path_holds && method_holds && self.headers.iter().all(header_holds)
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
