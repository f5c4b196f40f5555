//! `explain`: what a code means, offline.

use std::io::Write as _;

use smi_schemas::codes::{Code, Exit};

use super::CommandError;
use crate::args::Explain;

pub(crate) fn explain(arguments: &Explain) -> Result<Exit, CommandError> {
    let mut out = anstream::stdout().lock();
    let Some(text) = &arguments.code else {
        for code in Code::ALL {
            writeln!(out, "{code:<24}  {}", code.sentence())?;
        }
        return Ok(Exit::Success);
    };
    let code: Code = text.parse().map_err(|_| CommandError::CodeUnknown(text.clone()))?;
    writeln!(out, "{code}\n\n  {}", code.sentence())?;
    writeln!(out, "  cause   {}\n  remedy  {}", code.cause(), code.remedy())?;
    Ok(Exit::Success)
}
