//! `submit`: hands a bundle to a publisher.

use std::io::Write as _;

use smi_keys::files;
use smi_runner::submit::submit as send;
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Exit;

use super::CommandError;
use crate::args::Submit;

pub(crate) fn submit(arguments: &Submit) -> Result<Exit, CommandError> {
    let bundle = files::read(&arguments.bundle, MAX_BUNDLE_BYTES)?.bytes.to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accepted = runtime.block_on(send(bundle, &arguments.to))?;
    let was = if accepted.present { "was there as" } else { "is" };
    let mut out = anstream::stdout().lock();
    writeln!(out, "result    {}\nentry     {was} {}", accepted.payload, accepted.index)?;
    writeln!(out, "address   {}v1/bundles/{}", arguments.to, accepted.payload)?;
    Ok(Exit::Success)
}
