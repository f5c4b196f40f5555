//! `cleanup`: removes what a run left that was killed.

use std::io::Write as _;

use smi_runner::kubernetes::cleanup::clean_up;
use smi_schemas::codes::Exit;

use super::{CommandError, connected};
use crate::args::Cleanup;

pub(crate) fn cleanup(arguments: &Cleanup) -> Result<Exit, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let removed = runtime.block_on(async {
        let cluster = connected(&arguments.cluster).await?;
        Ok::<_, CommandError>(clean_up(&cluster, &arguments.run).await?)
    })?;
    let mut out = anstream::stdout().lock();
    for namespace in &removed {
        writeln!(out, "removed   namespace {namespace}")?;
    }
    if removed.is_empty() {
        writeln!(out, "nothing on this cluster carries run {}", arguments.run)?;
    }
    Ok(Exit::Success)
}
