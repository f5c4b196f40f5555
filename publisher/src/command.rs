//! `serve`: opens everything, says where it listens, and stops at a signal.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use smi_keys::files::{self, FileError};
use smi_keys::keyring::{Keyring, KeyringError, MAX_KEYRING_BYTES};
use smi_publisher::feed::{Feed, FeedError};
use smi_publisher::http::{self, BODY_TIMEOUT, MAX_STREAMS, Publisher};
use smi_publisher::intake::Intake;
use smi_publisher::log::{Log, StartError};
use smi_publisher::store::{Mark, OpenError, SledStore, Store};
use smi_schemas::Timestamp;
use smi_schemas::codes::{Code, Exit, error_text};
use smi_schemas::suite::SuiteError;
use smi_verifier::policy::{Policy, Suites};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::args::Serve;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{}: {cause}", path.display())]
    Keyring { path: PathBuf, cause: KeyringError },
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("{0}")]
    Log(#[from] StartError),
    #[error("{address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("a suite of this release: {0}")]
    Builtin(#[from] SuiteError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CommandError {
    fn code(&self) -> Option<Code> {
        match self {
            Self::File(error) => Some(error.code()),
            Self::Keyring { .. } => Some(Code::KeyringInvalid),
            Self::Open(error) => Some(error.code()),
            Self::Feed(_) | Self::Log(_) => Some(Code::StoreDamaged),
            Self::Listen { .. } => Some(Code::AddressTaken),
            Self::Builtin(_) | Self::Io(_) => None,
        }
    }

    /// Prints the error with its remedy, and the exit code in words, on standard error.
    pub(crate) fn report(&self) -> Exit {
        let (text, exit) = error_text(self.code(), self);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        exit
    }
}

pub(crate) fn serve(arguments: &Serve) -> Result<Exit, CommandError> {
    let (keyring, digest) = Keyring::read(&files::read(&arguments.keyring, MAX_KEYRING_BYTES)?.bytes)
        .map_err(|cause| CommandError::Keyring { path: arguments.keyring.clone(), cause })?;
    let version = keyring.version();
    let demonstration = arguments.allow_sandbox || arguments.allow_draft;
    let policy = Policy {
        keyring,
        suites: Suites::builtin()?,
        allow_sandbox: arguments.allow_sandbox,
        allow_draft: arguments.allow_draft,
        publication: true,
        max_age_seconds: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Caught before anybody is told that there is something to stop.
        let stop = signalled()?;
        let address = arguments.listen;
        let listener = TcpListener::bind(address).await.map_err(|cause| CommandError::Listen { address, cause })?;
        // Not before the address is known to be free: what a store is for is fixed when it is created.
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&arguments.data, Mark { demonstration })?);
        let feed = Feed::open(Arc::clone(&store))?;
        let mut err = anstream::stderr().lock();
        writeln!(err, "keyring   version {version}, {digest}")?;
        writeln!(
            err,
            "data      {}{}",
            arguments.data.display(),
            if demonstration { ", a demonstration" } else { "" }
        )?;
        writeln!(err, "entries   {}", feed.view().size())?;
        writeln!(err, "serving   http://{}", listener.local_addr()?)?;
        drop(err);
        run(listener, policy, store, feed, demonstration, stop).await?;
        Ok(Exit::Success)
    })
}

async fn run(
    listener: TcpListener,
    policy: Policy,
    store: Arc<dyn Store>,
    feed: Feed,
    demonstration: bool,
    signalled: impl Future<Output = ()>,
) -> Result<(), CommandError> {
    let log = Log::start(store)?;
    let (stop, stopping) = watch::channel(false);
    let publisher = Arc::new(Publisher {
        head: log.head(),
        intake: Intake::new(policy, log.clone()),
        feed,
        stop: stopping,
        demonstration,
        clock: now,
        body_timeout: BODY_TIMEOUT,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    });
    http::serve(listener, http::router(publisher), async {
        signalled.await;
        // Streams have no end of their own, and answers under way must not wait for them.
        let _ = stop.send(true);
    })
    .await;
    log.close().await;
    Ok(())
}

/// Catches the signals that end it, from now on.
fn signalled() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The system's time; a clock out of all range reads as its nearest end.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::EPOCH)
}
