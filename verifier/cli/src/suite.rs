//! The command `suite`: reads the files, asks the judge, prints what it found.

use std::io;
use std::io::Write as _;

use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Exit;
use smi_schemas::suite::{MAX_SUITE_BYTES, Suite};
use smi_verifier::release::verify_release;

use crate::args;
use crate::inputs::{InputError, keyring, now, read};
use crate::text;

pub(crate) fn suite(arguments: &args::Suite) -> Result<Exit, InputError> {
    let (keyring, trusted) = keyring(&arguments.keyring)?;
    let path = &arguments.file;
    let known = Suite::read(&read(path, MAX_SUITE_BYTES)?);
    let known = known.map_err(|cause| InputError::Suite { path: path.clone(), cause })?;
    let result = verify_release(&read(&arguments.release, MAX_BUNDLE_BYTES)?, &keyring, &known, now()?);
    let exit = if result.is_ok() { Exit::Success } else { Exit::Refused };
    let mut out = anstream::stdout().lock();
    match text::suite(&mut out, &trusted, &result, exit).and_then(|()| out.flush()) {
        // A reader that went away has read enough; the exit code still says what was found.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.map_err(InputError::Output)?,
    }
    Ok(exit)
}
