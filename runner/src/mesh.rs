#![doc = include_str!("../meshes/README.md")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use smi_schemas::Digest;
use smi_schemas::names::{Slug, Version};
use smi_schemas::smi::Api;
use smi_schemas::statement::{Enforcing, Mesh};
use smi_schemas::suite::Protocol;

/// Bytes of a profile. The longest of ours has a thousand.
pub const MAX_PROFILE_BYTES: usize = 64 * 1024;

/// The mesh that is none.
const NO_MESH: &str = "none";
/// The mesh that is no cluster's.
const SANDBOX: &str = "sandbox";

/// The profiles that this build carries.
const PROFILES: [&[u8]; 8] = [
    include_bytes!("../meshes/none.yaml"),
    include_bytes!("../meshes/traefik-mesh.yaml"),
    include_bytes!("../meshes/open-service-mesh.yaml"),
    include_bytes!("../meshes/fsm.yaml"),
    include_bytes!("../meshes/linkerd.yaml"),
    include_bytes!("../meshes/nginx-service-mesh.yaml"),
    include_bytes!("../meshes/consul.yaml"),
    include_bytes!("../meshes/istio.yaml"),
];

/// What a runner must know of a mesh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in the programme.
    pub slug: Slug,
    /// Its name as people write it.
    pub name: String,
    /// Whether a run was ever made with it. What is said of a mesh that nobody ran is what its documents say.
    #[serde(default = "tried")]
    pub tried: bool,
    /// Its own pods.
    #[serde(default)]
    pub components: Vec<Component>,
    /// The container that it adds to each pod in it.
    #[serde(default)]
    pub sidecar: Option<Slug>,
    /// How workloads are put under it.
    #[serde(default)]
    pub enrol: Enrolment,
    /// What a workload in the mesh calls.
    address: String,
    /// How it is read back whether the mesh denies.
    #[serde(default)]
    pub enforcing: Option<Enforcement>,
    /// APIs that its vendor claims not to support.
    #[serde(default)]
    pub unsupported: BTreeSet<Api>,
}

/// Pods of a mesh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name in this profile.
    pub name: Slug,
    /// Labels that its pods have.
    pub labels: BTreeMap<String, String>,
    /// The container that counts, where it is not the first.
    #[serde(default)]
    pub container: Option<String>,
}

/// Labels and annotations of a lane's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Enrolment {
    /// Of namespaces.
    pub namespace: Marks,
    /// Of pods in the mesh.
    pub pod: Marks,
    /// Of Services, by what is spoken at their ports.
    pub services: BTreeMap<Protocol, Marks>,
    /// The `appProtocol` of their ports, where the mesh knows another word than the usual one.
    #[serde(rename = "app-protocols")]
    pub app_protocols: BTreeMap<Protocol, String>,
    /// Of pods that stay out of the mesh.
    pub outside: Marks,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marks {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// How it is read back whether a mesh denies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Enforcement {
    /// The component to look at.
    pub component: Slug,
    /// What says so.
    pub sign: Sign,
    /// What a person runs to have it deny.
    pub enable: String,
}

/// What says that a mesh denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// What is among the component's arguments then, as it stands or with `=true`.
    Argument(String),
    /// A field of an object.
    Field(Field),
}

/// A field of a Kubernetes object. A namespaced object is in the namespace of the component's pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The object's API group; the empty one is Kubernetes' own.
    pub group: String,
    /// The group's version.
    pub version: String,
    /// The kind, as it stands in paths.
    pub plural: String,
    /// The object's name.
    pub name: String,
    /// Where in the object, as a JSON pointer.
    pub pointer: String,
    /// What is there when the mesh denies.
    pub value: Value,
}

/// An enforcement as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    component: Slug,
    argument: Option<String>,
    field: Option<Field>,
    enable: String,
}

impl TryFrom<Written> for Enforcement {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { component, argument, field, enable } = written;
        let sign = match (argument, field) {
            (Some(argument), None) => Sign::Argument(argument),
            (None, Some(field)) if !field.pointer.starts_with('/') => {
                return Err("field.pointer is a JSON pointer, such as /spec/mode");
            }
            (None, Some(field)) => Sign::Field(field),
            (None, None) | (Some(_), Some(_)) => return Err("either argument or field says that the mesh denies"),
        };
        Ok(Self { component, sign, enable })
    }
}

/// What is not said of a profile.
fn tried() -> bool {
    true
}

/// Why a file is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not the YAML of a profile.
    #[error("{0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// No text at all.
    #[error("the file is not text")]
    NoText,
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Too long.
    #[error("more than {MAX_PROFILE_BYTES} bytes")]
    TooLong,
    /// An address in which a part is missing.
    #[error(
        "address {0:?} must hold {{service}} and {{namespace}} once each, and else letters, digits, dots and hyphens"
    )]
    Address(String),
    /// A mesh that consists of nothing, or no mesh that consists of something.
    #[error(
        "components: a mesh needs them, such as [{{name: controller, labels: {{app: …}}}}], and only {NO_MESH} has none"
    )]
    Components,
    /// A name that is not a mesh's.
    #[error("{0} is the reference mesh in the runner's own process")]
    Slug(Slug),
    /// A component that is not there.
    #[error("enforcing.component: there is no component {0}")]
    Component(Slug),
    /// A component that any pod would belong to.
    #[error("component {0} has no labels")]
    Labels(Slug),
}

impl Profile {
    /// Reads a profile and its digest.
    pub fn read(bytes: &[u8]) -> Result<(Self, Digest), ProfileError> {
        if bytes.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| ProfileError::NoText)?;
        if text.trim().is_empty() {
            return Err(ProfileError::Empty);
        }
        let profile: Self = serde_yaml_ng::from_str(text)?;
        profile.check()?;
        Ok((profile, Digest::of(bytes)))
    }

    /// The profile of that mesh, if this build carries it.
    pub fn builtin(slug: &str) -> Option<(Self, Digest)> {
        Self::all().into_iter().find(|(profile, _)| profile.slug.as_str() == slug)
    }

    /// Every profile that this build carries.
    pub fn all() -> Vec<(Self, Digest)> {
        PROFILES.iter().filter_map(|bytes| Self::read(bytes).ok()).collect()
    }

    /// The meshes whose profiles this build carries.
    pub fn known() -> String {
        let slugs: Vec<String> = Self::all().into_iter().map(|(profile, _)| profile.slug.into()).collect();
        slugs.join(", ")
    }

    /// What a workload in the mesh calls to reach a Service.
    pub fn address(&self, service: &str, namespace: &str) -> String {
        self.address.replace("{service}", service).replace("{namespace}", namespace)
    }

    /// The mesh as a statement has it: what the profile says of it, and what was measured.
    pub fn measured(&self, digest: Digest, version: Option<Version>, enforcing: Enforcing) -> Mesh {
        Mesh {
            slug: self.slug.clone(),
            version,
            profile: digest,
            enforcing,
            claimed_unsupported: self.unsupported.clone(),
        }
    }

    fn check(&self) -> Result<(), ProfileError> {
        let rest = self.address.replacen("{service}", "", 1).replacen("{namespace}", "", 1);
        let named = self.address.len() == rest.len() + "{service}{namespace}".len();
        if !named || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
            return Err(ProfileError::Address(self.address.clone()));
        }
        if self.slug.as_str() == SANDBOX {
            return Err(ProfileError::Slug(self.slug.clone()));
        }
        if self.components.is_empty() != (self.slug.as_str() == NO_MESH) {
            return Err(ProfileError::Components);
        }
        if let Some(component) = self.components.iter().find(|component| component.labels.is_empty()) {
            return Err(ProfileError::Labels(component.name.clone()));
        }
        match &self.enforcing {
            Some(Enforcement { component, .. }) if !self.components.iter().any(|known| known.name == *component) => {
                Err(ProfileError::Component(component.clone()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_profile_is_read_under_a_name_of_its_own() {
        let slugs: Vec<String> = Profile::all().iter().map(|(profile, _)| profile.slug.to_string()).collect();
        let known = "none traefik-mesh open-service-mesh fsm linkerd nginx-service-mesh consul istio";
        assert_eq!(slugs.join(" "), known);
        assert_eq!(slugs.len(), PROFILES.len());
    }

    #[test]
    fn the_page_says_which_profiles_were_never_run() {
        let said = include_str!("../meshes/README.md").split_once(" were never run").unwrap().0;
        let said = said.rsplit_once('\n').unwrap().1;
        for (profile, _) in Profile::all() {
            assert_eq!(said.contains(&format!("`{}`", profile.slug)), !profile.tried, "{}", profile.slug);
        }
    }

    #[test]
    fn the_example_is_a_profile() {
        let page = include_str!("../meshes/README.md");
        let example = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let (profile, digest) = Profile::read(example.as_bytes()).unwrap();
        assert_eq!(profile.address("web", "shop"), "web.shop.svc");
        assert_eq!(digest, Digest::of(example.as_bytes()));
    }

    #[test]
    fn what_a_vendor_claims_is_signed_with_what_was_measured() {
        let sound = "slug: none\nname: A\naddress: '{service}.{namespace}.svc'\n";
        let read = |more: &str| Profile::read(format!("{sound}{more}").as_bytes());
        let claimed = |more| {
            let (profile, digest) = read(more).unwrap();
            profile.measured(digest, None, Enforcing::Off).claimed_unsupported
        };
        assert_eq!(claimed(""), BTreeSet::new());
        assert_eq!(claimed("unsupported: [split, access]\n"), BTreeSet::from([Api::Access, Api::Split]));
        assert!(read("unsupported: [traffic]\n").unwrap_err().to_string().contains("traffic"));
        let linkerd = Profile::builtin("linkerd").unwrap().0;
        assert_eq!(linkerd.unsupported, BTreeSet::from([Api::Access, Api::Specs]));
    }

    #[test]
    fn what_contradicts_itself_is_no_profile() {
        let read = |text: &str| Profile::read(text.as_bytes()).unwrap_err().to_string();
        let sound = "slug: none\nname: A\naddress: '{service}.{namespace}.svc'\n";
        Profile::read(sound.as_bytes()).unwrap();
        assert!(read(&sound.replace("none", "acme")).contains("needs them"));
        assert!(read(&sound.replace("none", "sandbox")).contains("own process"));
        let mesh = sound.replace("none", "acme");
        for address in ["{service}.svc", "{namespace}.svc", "{service}.{namespace}.{zone}", "{service}.{namespace}/"] {
            let text = sound.replace("{service}.{namespace}.svc", address);
            assert!(read(&text).contains("must hold"), "{address}");
        }
        assert!(read(&format!("{sound}colour: red\n")).contains("colour"));
        let component = |labels: &str| format!("{mesh}components: [{{name: a, labels: {labels}}}]\n");
        Profile::read(component("{b: c}").as_bytes()).unwrap();
        assert!(read(&component("{}")).contains("no labels"));
        let enforcing = "enforcing: {component: c, argument: --deny, enable: x}\n";
        assert!(read(&format!("{}{enforcing}", component("{b: c}"))).contains("no component c"));
        let field = "{group: g, version: v1, plural: ps, name: n, pointer: /spec/a, value: false}";
        let enforcing = |by: &str| format!("{}enforcing: {{component: a, enable: x{by}}}\n", component("{b: c}"));
        Profile::read(enforcing(&format!(", field: {field}")).as_bytes()).unwrap();
        for by in ["", &format!(", argument: --deny, field: {field}")] {
            assert!(read(&enforcing(by)).contains("either argument or field"), "{by}");
        }
        assert!(read(&enforcing(&format!(", field: {}", field.replace("/spec", "spec")))).contains("JSON pointer"));
        assert!(read(&enforcing(&format!(", field: {}", field.replace("value", "is")))).contains("unknown field `is`"));
        assert!(read(&" ".repeat(MAX_PROFILE_BYTES + 1)).contains("more than"));
    }
}
