//! `serve`: opens everything, says where it listens, and stops at a signal, or with an error when the log has stopped.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use smi_publisher::admission::policy;
use smi_publisher::feed::Feed;
use smi_publisher::heads::{Publishing, RENEWAL, ended, publish};
use smi_publisher::http::{self, BODY_TIMEOUT, MAX_STREAMS, Publisher};
use smi_publisher::intake::Intake;
use smi_publisher::log::SubmitError;
use smi_publisher::meters::Meters;
use smi_publisher::witness::client::Witnesses;
use smi_schemas::codes::Exit;
use smi_verifier::policy::{Policy, Suites};
use smi_verifier::receipt::log_key;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use super::opened::{existing, key, start};
use super::{CommandError, Opened, now};
use crate::args::Serve;

pub(crate) fn serve(arguments: &Serve) -> Result<Exit, CommandError> {
    let key = key(&arguments.log_key)?;
    let suites = Suites::builtin()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Caught before anybody is told that there is something to stop.
        let stop = signalled()?;
        let address = arguments.listen;
        let listener = TcpListener::bind(address).await.map_err(|cause| CommandError::Listen { address, cause })?;
        let opened = start(existing(&arguments.directory)?, &arguments.directory, key, None)?;
        run(listener, arguments, suites, opened, stop).await?;
        Ok(Exit::Success)
    })
}

async fn run(
    listener: TcpListener,
    arguments: &Serve,
    suites: Suites,
    opened: Opened,
    signalled: impl Future<Output = ()>,
) -> Result<(), CommandError> {
    let Opened { store, log, view, published: shown, kept, origin } = opened;
    let directory = &arguments.directory;
    let empty = || CommandError::Empty(directory.data.clone());
    let trusted = log.trusted().ok_or_else(empty)?;
    let keyring = trusted.keyring.clone();
    let note_key = log_key(&keyring).ok_or_else(empty)?;

    let mut err = anstream::stderr().lock();
    writeln!(err, "log       {origin}{}", if directory.demonstration() { ", a demonstration" } else { "" })?;
    writeln!(err, "keyring   version {}, {}", keyring.version(), trusted.digest)?;
    writeln!(err, "entries   {}", log.head().borrow().checkpoint.size())?;
    if let Some(quorum) = keyring.quorum() {
        let published = shown.as_ref().map_or(0, |shown| shown.checkpoint.size());
        writeln!(err, "quorum    {quorum} of {} witnesses, for now {published} entries", keyring.witnesses().count())?;
    }
    writeln!(err, "serving   http://{}", listener.local_addr()?)?;
    drop(err);

    let policy = Policy { keyring, ..policy(suites, directory.allow_sandbox, directory.allow_draft) };
    let intake = Intake::new(policy, arguments.quota, log.clone())?;
    let meters = Arc::new(Meters::default());
    let witnesses = Witnesses::new(note_key.clone(), log.tree(), Arc::clone(&meters), now);
    let feed = Arc::new(Feed::new(store, log.tree(), view, note_key));
    let (show, published) = watch::channel(shown.map(Arc::new));
    let publishing = tokio::spawn(publish(
        log.head(),
        Publishing {
            feed: Arc::clone(&feed),
            witnesses,
            pace: Duration::from_secs(arguments.witness_pace),
            renewal: RENEWAL,
            kept,
            meters: Arc::clone(&meters),
            published: show,
        },
    ));
    let (stop, stopping) = watch::channel(false);
    let roads = Arc::new(Publisher {
        intake,
        feed,
        signed: log.head(),
        published,
        meters,
        patience: Duration::from_secs(arguments.patience),
        stop: stopping,
        demonstration: directory.demonstration(),
        clock: now,
        body_timeout: BODY_TIMEOUT,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    });
    http::serve(listener, http::router(roads), async {
        tokio::select! {
            () = signalled => {}
            // It closes only below, so it has stopped. To go on would be to serve readers what nothing renews; whoever
            // watches this process starts it again, which finds out what is on the disk.
            () = ended(log.head()) => {}
        }
        // Streams have no end of their own, and answers under way must not wait for them.
        let _ = stop.send(true);
    })
    .await;
    let has_stopped = !log.is_running();
    log.close().await;
    publishing.abort();
    if has_stopped { Err(SubmitError::Stopped.into()) } else { Ok(()) }
}

/// Catches the signals that end it, from now on.
pub(super) fn signalled() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
