//! `submit`: hands a bundle to a publisher, and keeps what proves that it was logged.

use std::io::Write as _;

use smi_keys::files::{self, Access};
use smi_runner::submit::submit as send;
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Exit;

use super::CommandError;
use super::run::free;
use crate::args::Submit;

pub(crate) fn submit(arguments: &Submit) -> Result<Exit, CommandError> {
    for path in [&arguments.out, &arguments.proof].into_iter().flatten() {
        free(path)?;
    }
    let bundle = files::read(&arguments.bundle, MAX_BUNDLE_BYTES)?.bytes.to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accepted = runtime.block_on(send(bundle, &arguments.to))?;
    let was = if accepted.present { "was there as" } else { "is" };
    let mut out = anstream::stdout().lock();
    writeln!(out, "payload   {}\nentry     {was} {}", accepted.payload, accepted.index)?;
    writeln!(out, "address   {}v1/bundles/{}", arguments.to, accepted.payload)?;
    let (Some(bundle), Some(proof)) = (&accepted.bundle, &accepted.tlog_proof) else {
        let status = accepted.status.unwrap_or_default();
        writeln!(
            out,
            "pending   the log's witnesses are still asked: {}{}",
            arguments.to,
            status.trim_start_matches('/')
        )?;
        return Ok(Exit::Success);
    };
    for (path, what, bytes) in
        [(&arguments.out, "receipt", bundle.get().as_bytes()), (&arguments.proof, "proof", proof.as_bytes())]
    {
        if let Some(path) = path {
            files::create(path, bytes, Access::Default)?;
            writeln!(out, "{what:<8}  {}", path.display())?;
        }
    }
    Ok(Exit::Success)
}
