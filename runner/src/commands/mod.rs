//! The commands, and what can keep one from being carried out.

pub(crate) mod cleanup;
mod conduct;
pub(crate) mod crds;
pub(crate) mod explain;
pub(crate) mod image;
pub(crate) mod list;
mod live;
pub(crate) mod plan;
pub(crate) mod rbac;
pub(crate) mod run;
pub(crate) mod submit;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::PathBuf;

use smi_keys::files::{self, FileError};
use smi_keys::key_file::ReadError;
use smi_runner::kubernetes::cleanup::CleanupError;
use smi_runner::kubernetes::cluster::{Cluster, ClusterError, Options};
use smi_runner::kubernetes::dialect;
use smi_runner::kubernetes::preflight::PreflightError;
use smi_runner::mesh::{MAX_PROFILE_BYTES, Profile, ProfileError};
use smi_runner::plan::{Plan, VersionError, choose};
use smi_runner::submit::SubmitError;
use smi_schemas::Digest;
use smi_schemas::codes::{Code, Exit, error_text};
use smi_schemas::names::Slug;
use smi_schemas::statement::{Filters, Overrides};
use smi_schemas::suite::{Suite, SuiteError};

use crate::args::{Choice, ClusterOptions, MeshOptions};
use crate::commands::image::ImageError;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{0}")]
    Key(#[from] ReadError),
    #[error("--out {}", .0.display())]
    KeyNeeded(PathBuf),
    #[error("{}", .0.display())]
    OutExists(PathBuf),
    #[error("{}: its folder does not exist", .0.display())]
    OutFolder(PathBuf),
    #[error("{}: {cause}", path.display())]
    Junit { path: PathBuf, cause: io::Error },
    #[error("{0}")]
    Version(#[from] VersionError),
    #[error("--run and --skip leave nothing of {0} assertions")]
    NothingSelected(usize),
    #[error("{0:?}")]
    CodeUnknown(String),
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    Submit(#[from] SubmitError),
    #[error("{0}")]
    MeshOption(&'static str),
    #[error("{0} is not one of {known}", known = Profile::known())]
    MeshUnknown(Slug),
    #[error("{}: {cause}", path.display())]
    Profile { path: PathBuf, cause: ProfileError },
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    #[error("{0}")]
    Preflight(#[from] PreflightError),
    #[error("{0}")]
    Cleanup(#[from] CleanupError),
    #[error("images, version or enforcing mode of {0} are not what they were when the run began")]
    MeshChanged(Slug),
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
    #[error("a suite of this release: {0}")]
    Builtin(#[from] SuiteError),
    #[error("{0}")]
    Unexpected(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CommandError {
    fn code(&self) -> Option<Code> {
        match self {
            Self::File(error) => Some(error.code()),
            Self::Key(error) => Some(error.code()),
            Self::KeyNeeded(_) => Some(Code::KeyNeeded),
            Self::OutExists(_) => Some(Code::FileExists),
            Self::OutFolder(_) | Self::Junit { .. } => Some(Code::FileUnwritable),
            Self::Version(_) => Some(Code::VersionNotTestable),
            Self::NothingSelected(_) => Some(Code::NothingSelected),
            Self::CodeUnknown(_) => Some(Code::CodeUnknown),
            Self::Image(error) => Some(error.code()),
            Self::Submit(error) => Some(error.code()),
            Self::MeshOption(_) => Some(Code::MeshOption),
            Self::MeshUnknown(_) => Some(Code::MeshUnknown),
            Self::Profile { .. } => Some(Code::ProfileInvalid),
            Self::Cluster(error) => Some(error.code()),
            Self::Preflight(error) => Some(error.code()),
            Self::Cleanup(error) => Some(error.code()),
            Self::MeshChanged(_) => Some(Code::MeshChanged),
            Self::Randomness(_) => Some(Code::NoRandomness),
            Self::Builtin(_) | Self::Unexpected(_) | Self::Io(_) => None,
        }
    }

    /// Prints the error with its remedy, and the exit code in words, on standard error.
    pub(crate) fn report(&self) -> Exit {
        if let Self::Io(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return Exit::Success; // the reader has heard enough
        }
        let (text, exit) = error_text(self.code(), self);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        exit
    }
}

/// The suite, what is chosen of it, and the versions it is put to where every spoken one is served.
fn planned(choice: &Choice, limit_ms: Option<u64>) -> Result<Plan, CommandError> {
    let (suite, digest) = Suite::read(choice.suite.chosen.bytes)?;
    let filters = Filters { run: choice.run.clone(), skip: choice.skip.clone() };
    let apis = choose(&dialect::all_spoken(), &choice.versions())?;
    let plan = Plan { suite, digest, filters, overrides: Overrides { limit_ms }, apis, absent: BTreeSet::new() };
    if plan.selects() { Ok(plan) } else { Err(CommandError::NothingSelected(plan.suite.assertions.len())) }
}

/// The profile that is asked for, and its digest.
fn profile(options: &MeshOptions) -> Result<Option<(Profile, Digest)>, CommandError> {
    if let Some(path) = &options.profile {
        let bytes = files::read(path, MAX_PROFILE_BYTES)?.bytes;
        return Profile::read(&bytes).map(Some).map_err(|cause| CommandError::Profile { path: path.clone(), cause });
    }
    let builtin = |slug: &Slug| Profile::builtin(slug.as_str()).ok_or_else(|| CommandError::MeshUnknown(slug.clone()));
    options.mesh.as_ref().map(builtin).transpose()
}

/// The cluster that is asked for.
async fn connected(options: &ClusterOptions) -> Result<Cluster, ClusterError> {
    let ClusterOptions { kubeconfig, context } = options.clone();
    Cluster::connect(&Options { kubeconfig, context }).await
}
