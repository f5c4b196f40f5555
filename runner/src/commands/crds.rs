//! `crds`: custom resource definitions for a cluster that has none.

use std::io::Write as _;

use smi_schemas::codes::Exit;

use super::CommandError;
use crate::args::{Crds, SmiRelease};

pub(crate) fn crds(arguments: &Crds) -> Result<Exit, CommandError> {
    let text: &[u8] = match arguments.release {
        SmiRelease::Older => include_bytes!("../../../schemas/crds/before-v0.4.0.yaml"),
        SmiRelease::V040 => include_bytes!("../../../schemas/crds/v0.4.0.yaml"),
        SmiRelease::V050 => include_bytes!("../../../schemas/crds/v0.5.0.yaml"),
        SmiRelease::V060 => include_bytes!("../../../schemas/crds/v0.6.0.yaml"),
    };
    anstream::stdout().lock().write_all(text)?;
    Ok(Exit::Success)
}
