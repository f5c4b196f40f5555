//! The command `verify`: reads the files, asks the judge, prints the verdict.

use std::io::{self, Write as _};

use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::Exit;
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::verdict::Verdict;

use crate::archive::archive;
use crate::args::{Output, Verify};
use crate::inputs::{InputError, keyring, now, read, seconds, suites};
use crate::text;

pub(crate) fn verify(arguments: &Verify) -> Result<Exit, InputError> {
    let (keyring, trusted) = keyring(&arguments.keyring)?;
    let suites = suites(&arguments.suite)?;
    let policy = Policy {
        keyring,
        suites,
        allow_sandbox: arguments.allow_sandbox,
        allow_draft: arguments.allow_draft,
        publication: arguments.for_publication,
        receipts: if arguments.require_receipt { Receipts::Require } else { Receipts::Read },
        max_age_seconds: arguments.max_age.map(seconds),
    };
    let bundle = match (&arguments.archive, &arguments.bundle) {
        (Some(folder), _) => return archive(folder, &policy, &trusted, arguments),
        (None, Some(bundle)) => bundle,
        // The command line asks for one of them.
        (None, None) => return Ok(Exit::Usage),
    };
    let bytes = read(bundle, MAX_BUNDLE_BYTES)?;
    let result = smi_verifier::verify(&bytes, &policy, now()?);
    let verdict = Verdict::new(&result, trusted, &arguments.require);
    match print(&verdict, arguments.output) {
        // A reader that went away has read enough; the exit code still says what the verdict is.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.map_err(InputError::Output)?,
    }
    Ok(verdict.ends())
}

fn print(verdict: &Verdict, output: Output) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        Output::Text => text::verdict(&mut out, verdict)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, verdict)?;
            writeln!(out)?;
        }
    }
    out.flush()
}
