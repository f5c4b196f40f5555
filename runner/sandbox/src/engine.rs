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
use smi_schemas::smi::{Kind, Method, Namespace, Resource, Rule, ServiceAccount, TrafficSplit};
use smi_schemas::suite::{Service, Shape};

use crate::mutant::Mutant;

/// Bytes that one compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The mesh's state and its one deviation, if it has one.
#[derive(Debug)]
pub struct Engine {
    services: Vec<Service>,
    resources: BTreeMap<(Kind, Slug), Resource>,
    /// Compiled from the groups in `resources`, and replaced with them.
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
        Self { services: shape.services.clone(), resources: BTreeMap::new(), routes: BTreeMap::new(), mutant }
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
        self.put(key, resource);
        Ok(())
    }

    /// Deletes a resource.
    pub fn delete(&mut self, kind: Kind, name: &Slug) -> Result<(), Rejected> {
        let key = (kind, name.clone());
        if !self.resources.contains_key(&key) {
            return Err(Rejected::Absent(kind, name.clone()));
        }
        if kind == Kind::TrafficTarget && self.mutant == Some(Mutant::KeepsDeletedGrants) {
            return Ok(());
        }
        self.resources.remove(&key);
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
        self.routes.clear();
    }

    /// Whether a caller may send a request to a destination. A caller without an identity has no grant.
    pub fn allows(&self, caller: Option<&ServiceAccount>, destination: &ServiceAccount, request: &Request<'_>) -> bool {
        let targets = || {
            self.resources.values().filter_map(|resource| match resource {
                Resource::TrafficTarget(target) if target.destination == *destination => Some(target),
                _ => None,
            })
        };
        if self.mutant == Some(Mutant::AllowsByDefault) && targets().next().is_none() {
            return true;
        }
        let Some(caller) = caller else { return false };
        let mut granting = targets().filter(|target| target.sources.contains(caller));
        granting.any(|target| target.rules.iter().any(|rule| self.grants(rule, request)))
    }

    /// Where a call to a Service goes.
    pub fn route(&self, service: &Service, request: &Request<'_>) -> Destination {
        let splits = self.resources.values().filter_map(|resource| match resource {
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
        if let Resource::HttpRouteGroup(group) = &resource {
            let full = self.mutant == Some(Mutant::MatchesWholePaths);
            let routes = group.matches.iter().map(|matched| Route::compile(matched, full)).collect();
            self.routes.insert(key.1.clone(), routes);
        }
        self.resources.insert(key, resource);
    }

    fn grants(&self, rule: &Rule, request: &Request<'_>) -> bool {
        if rule.kind != Kind::HttpRouteGroup {
            return false;
        }
        let named = |route: &&Route| match &rule.matches {
            None => self.mutant != Some(Mutant::OmittedMatchesGrantNothing),
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
        let even = self.mutant == Some(Mutant::NonMatchSplitEvenly);
        if !concerned && !even {
            return None;
        }
        let has_port =
            |name: &Slug| self.services.iter().any(|service| service.name == *name && service.port == root.port);
        let part = split.backends.iter().filter(|backend| has_port(&backend.service));
        let mut backends: Vec<(Slug, u32)> = part.map(|backend| (backend.service.clone(), backend.weight)).collect();
        if !concerned || self.mutant == Some(Mutant::IgnoresWeights) {
            for (_, weight) in &mut backends {
                *weight = 1;
            }
        }
        if self.mutant == Some(Mutant::WeightsFivePointsOff) {
            five_points_off(&mut backends);
        }
        backends.iter().any(|(_, weight)| *weight > 0).then_some(backends)
    }
}

impl Route {
    fn compile(matched: &smi_schemas::smi::HttpMatch, full: bool) -> Self {
        let end = if full { "$" } else { "" };
        let path = |text: &String| Expression::compile(&format!("^(?:{text}){end}"));
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

/// Takes a twentieth of the whole from the backend with the most and gives it to the last other one.
fn five_points_off(backends: &mut [(Slug, u32)]) {
    let sum: u32 = backends.iter().map(|(_, weight)| weight).sum();
    let heaviest = (0..backends.len()).max_by_key(|index| backends[*index].1);
    let other = (0..backends.len()).rev().find(|index| Some(*index) != heaviest && backends[*index].1 > 0);
    let (Some(heaviest), Some(other)) = (heaviest, other) else { return };
    for (_, weight) in backends.iter_mut() {
        *weight *= 20;
    }
    backends[heaviest].1 -= sum;
    backends[other].1 += sum;
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
