//! One round of an audit: fetches what it wants, has bundles judged on all processors, and folds in order.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, stream};
use smi_schemas::Timestamp;
use smi_schemas::feed::Entry;
use smi_verifier::audit::{Audit, Examined, Examiner, Resource, Want};
use smi_verifier::tile::TilePath;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

use crate::source::{Answer, CONNECTIONS, PAUSE, Source, Unanswered};

/// Entries that are fetched together, as many as a publisher's feed has on a page.
const CHUNK: usize = 100;
/// Chunks that are under way at once: while one is folded, others are fetched and judged.
const CHUNKS_AHEAD: usize = 3;
/// Bundles that one thread judges before it looks for others.
const AT_A_TIME: usize = 10;
/// Threads beside those that judge.
const OTHER_THREADS: usize = 2;

/// A runtime with a thread for each processor to judge on. Fetching and folding is little beside it, and is done on one
/// thread, where nobody has to be woken.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Builder::new_current_thread().enable_all().max_blocking_threads(processors + OTHER_THREADS).build()
}

/// Goes on with an audit until it wants nothing more. Every entry that is admitted is told.
pub(crate) async fn run(
    audit: &mut Audit,
    source: &Source,
    now: Timestamp,
    mut tell: impl FnMut(Entry),
) -> Result<(), Unanswered> {
    let mut before = None;
    loop {
        match audit.wants() {
            Want::One(what) => {
                if before == Some(what) {
                    tokio::time::sleep(PAUSE).await;
                }
                before = Some(what);
                take(audit, what, source.get(what).await?);
            }
            Want::Tiles(tiles) => read(audit, source, tiles).await?,
            Want::Bundles(entries) => judge(audit, source, now, entries, &mut tell).await?,
            Want::Nothing => return Ok(()),
        }
    }
}

fn take(audit: &mut Audit, what: Resource, answer: Answer) {
    match answer {
        Answer::Bytes(bytes) => audit.give(what, &bytes),
        Answer::Absent => audit.absent(what),
    }
}

async fn read(audit: &mut Audit, source: &Source, tiles: Vec<TilePath>) -> Result<(), Unanswered> {
    let asked = |path| async move { (path, source.get(Resource::Tile(path)).await) };
    let mut answers = stream::iter(tiles).map(asked).buffered(CONNECTIONS);
    while let Some((path, answer)) = answers.next().await {
        take(audit, Resource::Tile(path), answer?);
        if !matches!(audit.wants(), Want::Tiles(_)) {
            break;
        }
    }
    Ok(())
}

/// Entries that were fetched and judged, and the page of the feed that tells of them.
struct Chunk {
    after: Option<u64>,
    page: Answer,
    /// What is not there is named.
    bundles: Vec<Result<Examined, Resource>>,
}

async fn judge(
    audit: &mut Audit,
    source: &Source,
    now: Timestamp,
    entries: Range<u64>,
    tell: &mut impl FnMut(Entry),
) -> Result<(), Unanswered> {
    let addresses: Vec<Option<Resource>> = entries.clone().map(|index| audit.bundle(index)).collect();
    let examiner = RwLock::new(audit.examiner(now));
    let chunks = (entries.start..).step_by(CHUNK).zip(addresses.chunks(CHUNK));
    let fetched = stream::iter(chunks).map(|(first, addresses)| fetch(source, &examiner, first, addresses));
    let mut fetched = fetched.buffered(CHUNKS_AHEAD);
    while let Some(chunk) = fetched.next().await {
        let Chunk { after, page, bundles } = chunk?;
        let mut keyring = audit.trusted().cloned();
        for bundle in bundles {
            let bundle = match bundle {
                Ok(bundle) => bundle,
                Err(what) => {
                    audit.absent(what);
                    return Ok(());
                }
            };
            let Some(entry) = audit.admit(bundle) else { return Ok(()) };
            tell(entry);
            if !same(keyring.as_ref(), audit.trusted()) {
                keyring = audit.trusted().cloned();
                *examiner.write().unwrap_or_else(PoisonError::into_inner) = audit.examiner(now);
            }
        }
        take(audit, Resource::Feed { after }, page);
    }
    Ok(())
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

async fn fetch(
    source: &Source,
    examiner: &RwLock<Examiner>,
    first: u64,
    addresses: &[Option<Resource>],
) -> Result<Chunk, Unanswered> {
    let after = first.checked_sub(1);
    let some = addresses.chunks(AT_A_TIME).map(|addresses| judged(source, examiner, addresses));
    let bundles = try_join_all(some).await?.into_iter().flatten().collect();
    Ok(Chunk { after, page: source.get(Resource::Feed { after }).await?, bundles })
}

/// Fetches bundles and judges them as soon as they are there, so that few are held that nobody has looked at.
async fn judged(
    source: &Source,
    examiner: &RwLock<Examiner>,
    addresses: &[Option<Resource>],
) -> Result<Vec<Result<Examined, Resource>>, Unanswered> {
    let bundle = |address: &Option<Resource>| {
        let address = *address;
        async move {
            match address {
                Some(what) => source.get(what).await.map(|answer| (what, answer)),
                // A leaf that names no bundle is refused without one.
                None => Ok((Resource::Checkpoint, Answer::Bytes(Vec::new()))),
            }
        }
    };
    let bundles = try_join_all(addresses.iter().map(bundle)).await?;
    let examiner = examiner.read().unwrap_or_else(PoisonError::into_inner).clone();
    let judging = spawn_blocking(move || bundles.into_iter().map(|one| examined(&examiner, one)).collect());
    // Nothing that is judged can panic; if it did, nothing was decided.
    judging.await.map_err(|error| Unanswered::new(Resource::Checkpoint, error.to_string()))
}

fn examined(examiner: &Examiner, (what, answer): (Resource, Answer)) -> Result<Examined, Resource> {
    match answer {
        Answer::Bytes(bytes) => Ok(examiner.examine(bytes)),
        Answer::Absent => Err(what),
    }
}
