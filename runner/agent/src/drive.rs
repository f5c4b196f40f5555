//! `smi-agent drive`: joins standard input and output to the agent that runs in the same pod.
//!
//! It ends when the agent has closed the session: with success if that is because the input had ended, and with an
//! error if the agent went away. Nothing here waits longer than the agent's own
//! [`DRAIN_TIMEOUT`](crate::control::DRAIN_TIMEOUT) after the end of the input.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::control;

/// Why a session could not be held to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Nobody serves the endpoint.
    #[error("no agent serves the control endpoint {name:?} here; start `smi-agent serve` in this pod: {source}")]
    NoAgent {
        /// Name of the abstract socket.
        name: String,
        /// Why it could not be reached.
        source: io::Error,
    },
    /// The agent went away while there might have been more to ask.
    #[error("the agent ended the session")]
    Ended,
    /// An answer could not be passed on.
    #[error("the answers could not be passed on: {0}")]
    Output(#[source] io::Error),
}

/// Passes `input` to the agent and its answers to `output`.
///
/// The thread that reads `input` is left behind when the agent goes away first; the process is expected to end.
pub fn drive(control: &str, mut input: impl Read + Send + 'static, output: &mut impl Write) -> Result<(), DriveError> {
    let no_agent = |source| DriveError::NoAgent { name: control.to_owned(), source };
    let address = control::address(control).map_err(no_agent)?;
    let mut answers = UnixStream::connect_addr(&address).map_err(no_agent)?;
    let mut calls = answers.try_clone().map_err(no_agent)?;

    let ended = Arc::new(AtomicBool::new(false));
    let input_ended = Arc::clone(&ended);
    thread::spawn(move || {
        let copied = io::copy(&mut input, &mut calls);
        input_ended.store(copied.is_ok(), Ordering::Release);
        // The agent takes it as the end of the calls, and finishes. If it is gone, there is nobody to tell.
        let _ = calls.shutdown(Shutdown::Write);
    });

    io::copy(&mut answers, output).and_then(|_| output.flush()).map_err(DriveError::Output)?;
    if ended.load(Ordering::Acquire) { Ok(()) } else { Err(DriveError::Ended) }
}
