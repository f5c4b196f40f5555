//! `rbac`: the least that a run must be permitted to do.

use std::io::{self, Write as _};

use smi_runner::kubernetes::rbac::{ROLE, cluster_role};
use smi_schemas::codes::Exit;

use super::CommandError;

pub(crate) fn rbac() -> Result<Exit, CommandError> {
    let role = serde_yaml_ng::to_string(&cluster_role()).map_err(io::Error::other)?;
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "# What a run does on a cluster. It makes namespaces of its own and works in them only. Bind it with"
    )?;
    writeln!(out, "# kubectl create clusterrolebinding {ROLE} --clusterrole={ROLE} --serviceaccount=NAMESPACE:NAME")?;
    write!(out, "{role}")?;
    Ok(Exit::Success)
}
