//! `rbac`: the least that a run must be permitted to do.

use std::io::{self, Write as _};

use smi_runner::kubernetes::rbac::{Metrics, ROLE, cluster_role};
use smi_schemas::codes::Exit;

use super::{CommandError, profile};
use crate::args::Rbac;

pub(crate) fn rbac(arguments: &Rbac) -> Result<Exit, CommandError> {
    let profile = profile(&arguments.mesh)?;
    let metrics = if arguments.metrics { Metrics::Restricted } else { Metrics::None };
    let role = cluster_role(profile.as_ref().map(|(profile, _)| profile), metrics);
    let role = serde_yaml_ng::to_string(&role).map_err(io::Error::other)?;
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "# What a run does on a cluster. It makes namespaces of its own and changes nothing else. Bind it with"
    )?;
    writeln!(out, "# kubectl create clusterrolebinding {ROLE} --clusterrole={ROLE} --serviceaccount=NAMESPACE:NAME")?;
    write!(out, "{role}")?;
    Ok(Exit::Success)
}
