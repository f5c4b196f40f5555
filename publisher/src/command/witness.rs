//! `witness`: cosigns logs, says where it listens, and stops at a signal.

use std::io::Write as _;
use std::sync::Arc;

use smi_keys::files;
use smi_keys::keyring::{Keyring, MAX_KEYRING_BYTES};
use smi_publisher::http::{self, BODY_TIMEOUT};
use smi_publisher::witness::server::{Witness, router};
use smi_schemas::codes::{Code, Exit};
use smi_verifier::Finding;
use smi_verifier::note::NoteKey;
use smi_verifier::receipt::log_key;
use tokio::net::TcpListener;

use super::opened::private;
use super::serve::signalled;
use super::{CommandError, now};
use crate::args;

pub(crate) fn witness(arguments: &args::Witness) -> Result<Exit, CommandError> {
    let logs = logs(arguments)?;
    let key = private(&arguments.key, arguments.passphrase_file.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Caught before anybody is told that there is something to stop.
        let stop = signalled()?;
        let address = arguments.listen;
        let listener = TcpListener::bind(address).await.map_err(|cause| CommandError::Listen { address, cause })?;
        let witness = Arc::new(Witness::open(&arguments.data, arguments.name.as_str(), key, logs)?);
        let mut err = anstream::stderr().lock();
        writeln!(err, "witness   {}", witness.key())?;
        for log in witness.logs() {
            writeln!(err, "log       {log}")?;
        }
        writeln!(err, "serving   http://{}", listener.local_addr()?)?;
        drop(err);
        http::serve(listener, router(witness, now, BODY_TIMEOUT), stop).await;
        Ok(Exit::Success)
    })
}

/// The keys of the logs, each once.
fn logs(arguments: &args::Witness) -> Result<Vec<NoteKey>, CommandError> {
    let mut logs: Vec<NoteKey> = Vec::new();
    let named = arguments.keyring.as_ref().map(|path| {
        let refused = |detail: String| CommandError::Keyring {
            path: path.clone(),
            finding: Finding { code: Code::KeyringInvalid, detail },
        };
        let bytes = files::read(path, MAX_KEYRING_BYTES)?.bytes;
        let (keyring, _) = Keyring::read(&bytes).map_err(|error| refused(error.to_string()))?;
        log_key(&keyring).ok_or_else(|| refused("it names no log".to_owned()))
    });
    for log in arguments.log.iter().cloned().map(Ok).chain(named) {
        let log = log?;
        if !logs.contains(&log) {
            logs.push(log);
        }
    }
    Ok(logs)
}
