//! `list`: the assertions of the suite.

use std::io::Write as _;

use smi_schemas::codes::Exit;
use smi_schemas::suite::Suite;

use super::CommandError;
use crate::args::{List, Output};

pub(crate) fn list(arguments: &List) -> Result<Exit, CommandError> {
    let bytes = arguments.suite.chosen.bytes;
    let (suite, digest) = Suite::read(bytes)?;
    let mut out = anstream::stdout().lock();
    match arguments.output {
        // The suite's own bytes: complete, and the file that the digest is of.
        Output::Json => out.write_all(bytes)?,
        Output::Text => {
            writeln!(out, "suite {}, {digest}\n", suite.version)?;
            for assertion in &suite.assertions {
                let level = assertion.level.as_str();
                writeln!(out, "{:<36}  {level:<11}  {}", assertion.id, assertion.title)?;
            }
        }
    }
    Ok(Exit::Success)
}
