//! `init`: makes a log, whose first entry is its keyring.

use std::io::Write as _;

use smi_keys::files;
use smi_publisher::log::{Answer, Submission};
use smi_schemas::bundle::MAX_BUNDLE_BYTES;
use smi_schemas::codes::{Code, Exit};
use smi_verifier::Finding;
use smi_verifier::said::verify_first;

use super::opened::{key, origin, start, store};
use super::{CommandError, Opened};
use crate::args::Init;

pub(crate) fn init(arguments: &Init) -> Result<Exit, CommandError> {
    let path = &arguments.keyring;
    let refused = |finding| CommandError::Keyring { path: path.clone(), finding };
    let bundle = files::read(path, MAX_BUNDLE_BYTES)?.bytes;
    let first = verify_first(&bundle).map_err(|refusal| {
        let nothing = Finding { code: Code::KeyringInvalid, detail: String::new() };
        refused(refusal.findings.into_iter().next().unwrap_or(nothing))
    })?;
    let Some(trusted) = first.said().keyring().cloned() else { return Ok(Exit::Unexpected) };
    let key = key(&arguments.log_key)?;
    if trusted.keyring.log().is_none() {
        return Err(refused(Finding { code: Code::KeyringInvalid, detail: "it names no key of a log".to_owned() }));
    }
    // What a store is for is fixed when it is created.
    origin(&trusted.keyring, &arguments.directory, &key)?;
    let store = store(&arguments.directory)?;
    if store.head()? > 0 && store.index_of(&first.said().payload())? != Some(0) {
        return Err(refused(Finding {
            code: Code::LogOnly,
            detail: "there is a log with another first keyring".to_owned(),
        }));
    }
    let Opened { log, origin, .. } = start(store, &arguments.directory, key, Some(&trusted.keyring))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let answer = runtime.block_on(log.submit(Submission::new(first)));
    let was = match answer? {
        Answer::Added { .. } => "is",
        Answer::Present { .. } => "was there as",
    };
    runtime.block_on(log.close());
    let mut err = anstream::stderr().lock();
    writeln!(err, "log       {origin}, in {}", arguments.directory.data.display())?;
    writeln!(err, "keyring   version {} {was} entry 0, {}", trusted.keyring.version(), trusted.digest)?;
    writeln!(
        err,
        "cell      {}: the last checkpoint that was signed; keep it, apart from the data",
        arguments.directory.cell().display()
    )?;
    Ok(Exit::Success)
}
