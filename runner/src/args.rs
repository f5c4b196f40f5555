//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use reqwest::Url;
use smi_runner::mesh::Profile;
use smi_schemas::codes::Exit;
use smi_schemas::names::{Glob, RunId, Slug};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::Purpose;
use smi_schemas::suite::{Carried, MAX_LIMIT_MS, NEWEST, carried};

#[derive(Parser)]
#[command(name = "smi-runner", version, about = "Runs the SMI conformance suite and signs what it observes", after_help = exits())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the suite
    Run(Box<Run>),
    /// List the assertions of the suite
    List(List),
    /// Print what a run would apply and probe, touching nothing
    Plan(Plan),
    /// Hand a bundle to a publisher
    Submit(Submit),
    /// Remove what a run left on a cluster
    Cleanup(Cleanup),
    /// Print the least that a run must be permitted to do, as a ClusterRole
    Rbac(Rbac),
    /// Print SMI CRDs for a cluster that has none
    Crds(Crds),
    /// Write the workload image as an OCI image archive
    Image(Image),
    /// Explain an assertion, or a code that any of the programs gives
    Explain(Explain),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  smi-runner run
  smi-runner run --key vendor.pem --out result.json --purpose official
  smi-runner run --target kubernetes --mesh traefik-mesh --key vendor.pem --purpose official
  smi-runner run --run 'smi.split.*' --junit junit.xml")]
pub(crate) struct Run {
    /// Where the suite runs
    #[arg(long, value_enum, default_value_t = TargetKind::Sandbox)]
    pub(crate) target: TargetKind,
    #[command(flatten)]
    pub(crate) mesh: MeshOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    /// The workload image, as the cluster's nodes know it [default: as `smi-runner image` names it]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) agent_image: Option<String>,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Sign with this private key; without it there is a report but no bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The passphrase of the key; else SMI_KEY_PASSPHRASE, else a prompt
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Write the bundle here [with --key, default: result.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// What the run is for; only official runs are published
    #[arg(long, value_parser = purpose, default_value = "trial", value_name = "official|trial")]
    pub(crate) purpose: Purpose,
    /// Give the mesh this many milliseconds instead of the suite's limit; such a run is not published
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT_MS))]
    pub(crate) limit_ms: Option<u64>,
    /// Write a JUnit report here
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Which mesh.
#[derive(Args)]
pub(crate) struct MeshOptions {
    #[arg(long, value_name = "SLUG", conflicts_with = "profile", help = mesh())]
    pub(crate) mesh: Option<Slug>,
    /// The mesh on the cluster, by a profile of your own
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
}

/// Which cluster; kubectl's own ways to say it.
#[derive(Args, Clone)]
pub(crate) struct ClusterOptions {
    /// The kubeconfig [default: the files in KUBECONFIG, ~/.kube/config, or the pod's own account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// What is chosen of the suite.
#[derive(Args)]
pub(crate) struct Choice {
    #[command(flatten)]
    pub(crate) suite: SuiteOption,
    /// Only assertions whose id matches; * stands for any text
    #[arg(long, value_name = "GLOB")]
    pub(crate) run: Vec<Glob>,
    /// No assertion whose id matches
    #[arg(long, value_name = "GLOB")]
    pub(crate) skip: Vec<Glob>,
    /// Test this version of an API instead of the newest, such as access=v1alpha2
    #[arg(long, value_name = "API=VERSION", value_parser = api_version)]
    pub(crate) api_version: Vec<(Api, ApiVersion)>,
}

/// Which suite.
#[derive(Args)]
pub(crate) struct SuiteOption {
    /// The suite; a draft may still change, and its results are not published
    #[arg(long = "suite", value_name = "VERSION", value_parser = suite(), default_value = NEWEST.version)]
    pub(crate) chosen: Carried,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) suite: SuiteOption,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) choice: Choice,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-runner submit result.json --to https://results.example --out result.sigstore.json

It may be a result, or anything that `smi-keys statement` signed.")]
pub(crate) struct Submit {
    /// The bundle
    pub(crate) bundle: PathBuf,
    /// The publisher
    #[arg(long, value_name = "URL", value_parser = publisher)]
    pub(crate) to: Url,
    /// Write the completed bundle here, which proves that it is in the log
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write the proof alone here, as a C2SP tlog-proof
    #[arg(long, value_name = "FILE")]
    pub(crate) proof: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  smi-runner cleanup --run 000102030405060708090a0b0c0d0e0f")]
pub(crate) struct Cleanup {
    /// The run's id, from the line `run` that it prints before anything else is done
    #[arg(long, value_name = "ID")]
    pub(crate) run: RunId,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
}

#[derive(Args)]
#[command(after_help = "\
With a mesh, what its profile reads of the mesh's own configuration is in it too.")]
pub(crate) struct Rbac {
    #[command(flatten)]
    pub(crate) mesh: MeshOptions,
    /// With what a run needs where TrafficMetrics are served
    #[arg(long)]
    pub(crate) metrics: bool,
}

#[derive(Args)]
pub(crate) struct Crds {
    /// The SMI release
    #[arg(value_enum, default_value_t = SmiRelease::V060)]
    pub(crate) release: SmiRelease,
}

#[derive(Args)]
pub(crate) struct Image {
    /// The archive to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The static smi-agent binary [default: the one beside smi-runner]
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) suite: SuiteOption,
    /// The assertion's id, or the code; without it all codes are listed
    #[arg(value_name = "ID|CODE")]
    pub(crate) what: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetKind {
    /// The embedded reference mesh, in this process
    Sandbox,
    /// A mesh on a cluster
    Kubernetes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SmiRelease {
    /// access v1alpha1, specs v1alpha1, split v1alpha1 and v1alpha2, before releases had numbers
    #[value(name = "before-v0.4.0")]
    Older,
    /// access v1alpha1, specs v1alpha2, split v1alpha3
    #[value(name = "v0.4.0")]
    V040,
    /// access v1alpha2, specs v1alpha3, split v1alpha3
    #[value(name = "v0.5.0")]
    V050,
    /// access v1alpha3, specs v1alpha4, split v1alpha4
    #[value(name = "v0.6.0")]
    V060,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Choice {
    /// The versions that are asked for.
    pub(crate) fn versions(&self) -> BTreeMap<Api, ApiVersion> {
        self.api_version.iter().copied().collect()
    }
}

fn suite() -> impl TypedValueParser<Value = Carried> {
    let versions = carried().map(|suite| suite.version);
    PossibleValuesParser::new(versions)
        .try_map(|text| carried().find(|suite| suite.version == text).ok_or("no such suite"))
}

fn purpose(text: &str) -> Result<Purpose, String> {
    match text {
        "official" => Ok(Purpose::Official),
        "trial" => Ok(Purpose::Trial),
        _ => Err("official or trial".to_owned()),
    }
}

fn api_version(text: &str) -> Result<(Api, ApiVersion), String> {
    const FORM: &str = "access, specs or split, =, and v1alpha1 to v1alpha4";
    let (api, version) = text.split_once('=').ok_or(FORM)?;
    let api = Api::ALL.into_iter().find(|known| known.as_str() == api).ok_or(FORM)?;
    let version = ApiVersion::ALL.into_iter().find(|known| known.as_str() == version).ok_or(FORM)?;
    Ok((api, version))
}

/// An address that paths can be put behind.
fn publisher(text: &str) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("an http:// or https:// address".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn mesh() -> String {
    format!("The mesh on the cluster, by a profile that this program has: {}", Profile::known())
}

fn exits() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {:>3}  {}", exit.number(), exit.words()));
    format!("Exit codes:\n{}", lines.join("\n"))
}
