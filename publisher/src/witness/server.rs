//! A witness: cosigns a log's checkpoint, if the log's tree begins with the one that was cosigned last.
//!
//! | road | |
//! |---|---|
//! | `POST /add-checkpoint` | a checkpoint with the proof that its tree begins with the last one; 200 with the cosignature |
//! | `GET /HASH/checkpoint` | the checkpoint that was cosigned last, of the log whose origin has this SHA-256 |
//! | `GET /` | who this is, and which logs it knows |
//! | `GET /livez` | whether the process lives |
//!
//! A request is judged in the order of [C2SP tlog-witness], and the first thing that is wrong with it is its answer:
//!
//! | | |
//! |---|---|
//! | 400 | it is no such request, or its note is no checkpoint |
//! | 404 | the origin is of no log that is known here |
//! | 403 | the log's key did not sign it |
//! | 400 | the old size is beyond the checkpoint's |
//! | 409 | the old size is not that of the checkpoint cosigned last, which is told |
//! | 422 | the proof does not lead from that checkpoint to this one, or they have one size and two roots |
//!
//! Two roots of one size are a 422 since the revision of July 2026, before which the specification had a 409 for them
//! that told no size: it is a proof that fails, and not a size to ask again from.
//!
//! What is kept of a log is that one checkpoint, as a signed note, in a file that is named by the SHA-256 of the origin
//! and is empty before the first. It changes by compare and swap only, under a lock, so that of two requests at the same
//! time one wins and the other is told so, even if two processes share the directory.
//!
//! ```text
//! verify ─► cosign ─► swap ─► answer
//! ```
//!
//! Everybody has what a request needs that asks again about the checkpoint that was cosigned last: the log publishes it.
//! Therefore such a request is answered without the swap, unless the time in the file is older than [`MAX_TIME_AGE`];
//! and what only reads waits for no device.
//!
//! A crash before the swap leaves what was. One after it leaves a checkpoint that was cosigned and of which the log did
//! not hear: it asks again, is told the size, and gets another cosignature of the same. A cosignature that somebody has
//! is in every case of a checkpoint that the file has, or had before a later one.
//!
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use smi_keys::SigningKey;
use smi_schemas::codes::Code;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::merkle::{Hash, ProofError, check_consistency};
use smi_verifier::note::{
    Checkpoint, CheckpointError, CosignError, KeyKind, Note, NoteError, NoteKey, NoteKeyError, NoteSignature, cosign,
    open,
};
use smi_verifier::proof::{AddCheckpoint, ProofTextError, SIZE_MEDIA_TYPE, write_size};

use crate::cell::{Cell, CellError, FileCell};

/// Bytes of a request: the longest proof, and a checkpoint with signatures of every kind that is in use.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// How old the time in the kept checkpoint may be when its tree is cosigned again and it is not written anew. Whoever
/// reads it there is told a time that is so much too old at most, as long as the log asks.
pub const MAX_TIME_AGE: Duration = Duration::from_mins(1);

/// A witness and what it cosigned last.
pub struct Witness {
    key: NoteKey,
    signing: SigningKey,
    /// By the SHA-256 of the origin, in hexadecimal.
    logs: BTreeMap<String, Watched>,
}

/// A log that is known.
struct Watched {
    key: NoteKey,
    kept: Mutex<Kept>,
}

/// What was cosigned last, and where it is kept.
struct Kept {
    cell: Box<dyn Cell>,
    last: Last,
}

/// What was cosigned last.
struct Last {
    /// What is in the cell.
    bytes: Vec<u8>,
    size: u64,
    root: Hash,
    /// When this witness says that it cosigned it, in seconds of the Unix epoch.
    time: Option<u64>,
}

/// Why a witness did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory could not be made.
    #[error("{}: {cause}", folder.display())]
    Folder {
        /// The directory.
        folder: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Its name is none that a key can have.
    #[error("{0}")]
    Name(#[from] NoteKeyError),
    /// The key is not one that signs a log.
    #[error("the key of {origin} is not one that signs a log")]
    Kind {
        /// Whose key.
        origin: String,
    },
    /// Two keys were given for one log.
    #[error("two keys for {origin}")]
    Twice {
        /// The log.
        origin: String,
    },
    /// What it has of a log could not be read.
    #[error("{origin}: {cause}")]
    State {
        /// The log.
        origin: String,
        /// Why not.
        cause: StateError,
    },
}

/// Why it is not known what was cosigned last.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be read or written.
    #[error("{0}")]
    Cell(#[from] CellError),
    /// It has gone since the witness started.
    #[error("the file has gone in which the last checkpoint was")]
    Gone,
    /// It is not a checkpoint of this log.
    #[error("what was cosigned last is not a checkpoint of this log: {0}")]
    Foreign(#[from] NoteError),
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not such a request.
    #[error("{0}")]
    Request(#[from] ProofTextError),
    /// Not a note.
    #[error("{0}")]
    Note(NoteError),
    /// Not a checkpoint.
    #[error("{0}")]
    Checkpoint(CheckpointError),
    /// Nobody told this witness of the log.
    #[error("no log is known here with this origin")]
    Origin,
    /// The log's key did not sign it.
    #[error("{0}")]
    Signature(NoteError),
    /// The tree would shrink.
    #[error("the old size {old} is beyond the checkpoint's, {size}")]
    Beyond {
        /// The old size in the request.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// Another checkpoint was cosigned last.
    #[error("the checkpoint that was cosigned last has {size} entries")]
    Conflict {
        /// Its size.
        size: u64,
    },
    /// Not the continuation of what was cosigned last.
    #[error("{0}")]
    Proof(#[from] ProofError),
    /// It is not known what was cosigned last, or the new checkpoint could not be kept. Nothing is told of why.
    #[error("this witness cannot keep what it cosigns")]
    State(#[from] StateError),
    /// This machine's clock has no time that could be signed.
    #[error("this witness does not know the time")]
    Clock(#[from] CosignError),
}

impl OpenError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Folder { .. } => Code::StoreUnusable,
            Self::Name(_) | Self::Kind { .. } | Self::Twice { .. } => Code::WitnessOption,
            Self::State { cause: StateError::Cell(CellError::File(error)), .. } => error.code(),
            Self::State { .. } => Code::WitnessState,
        }
    }
}

impl Refusal {
    /// How it is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Checkpoint(CheckpointError::Empty) | Self::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Request(_) | Self::Note(_) | Self::Checkpoint(_) | Self::Beyond { .. } => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::NOT_FOUND,
            Self::Signature(_) => StatusCode::FORBIDDEN,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::State(_) | Self::Clock(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Witness {
    /// A witness that keeps what it cosigns in a directory, which is made if it is not there.
    pub fn open(
        folder: &Path,
        name: &str,
        key: SigningKey,
        logs: impl IntoIterator<Item = NoteKey>,
    ) -> Result<Self, OpenError> {
        let unusable = |cause| OpenError::Folder { folder: folder.to_owned(), cause };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let cell = |log: NoteKey| {
            let cell = FileCell::new(&folder.join(hash(log.name())));
            (log, Box::new(cell) as Box<dyn Cell>)
        };
        Self::new(name, key, logs.into_iter().map(cell))
    }

    /// A witness that keeps what it cosigns of each log in a cell.
    pub fn new(
        name: &str,
        signing: SigningKey,
        logs: impl IntoIterator<Item = (NoteKey, Box<dyn Cell>)>,
    ) -> Result<Self, OpenError> {
        let key = NoteKey::new(name, KeyKind::Witness, signing.public())?;
        let mut witness = Self { key, signing, logs: BTreeMap::new() };
        for (log, mut cell) in logs {
            let origin = || log.name().to_owned();
            if log.kind() != KeyKind::Log {
                return Err(OpenError::Kind { origin: origin() });
            }
            // A file that is made empty cannot be torn, and from then on it is replaced as a whole.
            let made = match cell.load() {
                Ok(None) => cell.swap(None, b""),
                loaded => loaded.map(|_| ()),
            };
            let mut kept = Kept { cell, last: Last::NONE };
            let read = made.map_err(StateError::from).and_then(|()| kept.last(&log, &witness.key).map(|_| ()));
            read.map_err(|cause| OpenError::State { origin: origin(), cause })?;
            let origin = origin();
            if witness.logs.insert(hash(&origin), Watched { key: log, kept: Mutex::new(kept) }).is_some() {
                return Err(OpenError::Twice { origin });
            }
        }
        Ok(witness)
    }

    /// Its name and public key.
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// The keys of the logs that it knows, by origin.
    pub fn logs(&self) -> Vec<&NoteKey> {
        let mut logs: Vec<_> = self.logs.values().map(|log| &log.key).collect();
        logs.sort_by_key(|log| log.name());
        logs
    }

    /// Judges the body of an `add-checkpoint`, and cosigns its checkpoint. When the cosignature is returned, it survives
    /// a power cut that this tree was cosigned.
    pub fn add_checkpoint(&self, body: &[u8], now: Timestamp) -> Result<NoteSignature, Refusal> {
        let AddCheckpoint { old, proof, note_bytes } = AddCheckpoint::read(body)?;
        let note = Note::read(&note_bytes).map_err(Refusal::Note)?;
        match Checkpoint::read(note.text()) {
            // This one is judged with the proof: it is about what the log claims, not about how it is written.
            Ok(_) | Err(CheckpointError::Empty) => {}
            Err(error) => return Err(Refusal::Checkpoint(error)),
        }
        let origin = note.text().lines().next().unwrap_or_default();
        let log = self.logs.get(&hash(origin)).ok_or(Refusal::Origin)?;
        let signed = note.open(&log.key).map_err(|error| match error {
            NoteError::Checkpoint(error) => Refusal::Checkpoint(error),
            error => Refusal::Signature(error),
        })?;
        let checkpoint = signed.checkpoint();
        let size = checkpoint.size();
        if old > size {
            return Err(Refusal::Beyond { old, size });
        }

        // A cell is what it was, whoever panicked.
        let mut kept = log.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.last(&log.key, &self.key)?;
        if old != last.size {
            return Err(Refusal::Conflict { size: last.size });
        }
        check_consistency((last.size, &last.root), (size, checkpoint.root()), &proof)?;

        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        let cosignature = cosign(checkpoint, self.key.name(), &self.signing, seconds)?;
        // What is kept is there to refuse another tree, and it does so by size and root. A cosignature of the same may
        // have a later time than the kept one: a crash takes away when it was made, and nothing that it promised.
        if size == last.size && last.is_recent(seconds) {
            return Ok(cosignature);
        }
        let new = new_state(signed.note(), &log.key, &cosignature).map_err(StateError::Foreign)?;
        let expected = last.bytes.clone();
        // A crash from here on leaves this checkpoint or the last one, whole; nobody has the cosignature yet.
        match kept.cell.swap(Some(&expected), &new) {
            Ok(()) => Ok(cosignature),
            Err(CellError::Conflict) => Err(Refusal::Conflict { size: kept.last(&log.key, &self.key)?.size }),
            Err(error) => Err(StateError::Cell(error).into()),
        }
    }

    /// The checkpoint that was cosigned last of the log whose origin has this hash; none before the first, and none of
    /// a log that is not known.
    pub fn latest(&self, hash: &str) -> Result<Option<Vec<u8>>, StateError> {
        let Some(log) = self.logs.get(hash) else { return Ok(None) };
        let mut kept = log.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.last(&log.key, &self.key)?;
        Ok(Some(last.bytes.clone()).filter(|bytes| !bytes.is_empty()))
    }

    /// Who this is, for people.
    fn about(&self) -> String {
        let mut text = format!("witness  {}\nkey      {}\n", self.key.name(), self.key);
        for log in self.logs() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "log      {log}\n         /{}/checkpoint", hash(log.name()));
        }
        text
    }
}

/// The checkpoint with the log's signature and this witness's, without what others signed.
fn new_state(note: &Note, log: &NoteKey, cosignature: &NoteSignature) -> Result<Vec<u8>, NoteError> {
    let by_log = note.signatures().iter().find(|by| by.name() == log.name() && by.id() == log.id());
    let lines: String = by_log.into_iter().chain([cosignature]).map(NoteSignature::to_line).collect();
    Ok(Note::read(format!("{}\n{lines}", note.text()).as_bytes())?.to_bytes())
}

/// What a log's file is called, and its road.
fn hash(origin: &str) -> String {
    Digest::of(origin.as_bytes()).hex()
}

impl Kept {
    /// What was cosigned last: read from the cell every time, for another process may have written it, and verified when
    /// it is not what was read before.
    fn last(&mut self, log: &NoteKey, witness: &NoteKey) -> Result<&Last, StateError> {
        let bytes = self.cell.load()?.ok_or(StateError::Gone)?;
        if bytes != self.last.bytes {
            self.last = Last::read(bytes, log, witness)?;
        }
        Ok(&self.last)
    }
}

impl Last {
    /// Before the first checkpoint.
    const NONE: Self = Self { bytes: Vec::new(), size: 0, root: Hash::EMPTY, time: None };

    fn read(bytes: Vec<u8>, log: &NoteKey, witness: &NoteKey) -> Result<Self, StateError> {
        if bytes.is_empty() {
            return Ok(Self::NONE);
        }
        let signed = open(&bytes, log)?;
        let checkpoint = signed.checkpoint();
        let (size, root) = (checkpoint.size(), *checkpoint.root());
        // Without a time of its own, as after a change of its key, it writes the note anew.
        let cosigned = signed.cosignatures(std::slice::from_ref(witness)).unwrap_or_default();
        Ok(Self { size, root, time: cosigned.first().map(|(_, time)| *time), bytes })
    }

    /// Whether its time need not be written anew. One that is yet to come is not recent: the clock was set back.
    fn is_recent(&self, now: u64) -> bool {
        let age = self.time.and_then(|time| now.checked_sub(time));
        age.is_some_and(|age| age <= MAX_TIME_AGE.as_secs())
    }
}

/// What the roads lead to.
struct Roads {
    witness: Arc<Witness>,
    clock: fn() -> Timestamp,
    body_timeout: Duration,
}

/// The roads of a witness. Bodies may take `body_timeout` to arrive.
pub fn router(witness: Arc<Witness>, clock: fn() -> Timestamp, body_timeout: Duration) -> Router {
    Router::new()
        .route("/", get(async |roads: extract::State<Arc<Roads>>| text(StatusCode::OK, roads.witness.about())))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{hash}/checkpoint", get(latest))
        .route("/livez", get(async || text(StatusCode::OK, "alive\n")))
        .fallback(async || text(StatusCode::NOT_FOUND, "no such road\n"))
        .with_state(Arc::new(Roads { witness, clock, body_timeout }))
}

/// Whether a body was not read because it has more bytes than were asked for.
fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

async fn add_checkpoint(extract::State(roads): extract::State<Arc<Roads>>, body: Body) -> Response {
    let bytes = match tokio::time::timeout(roads.body_timeout, to_bytes(body, MAX_REQUEST_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_too_long(&error) => {
            return text(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {MAX_REQUEST_BYTES} bytes\n"));
        }
        Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the body broke off\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
    };
    // Two signatures and a barrier on the device are not for the threads that wait for sockets.
    let judged = tokio::task::spawn_blocking(move || {
        let now = (roads.clock)();
        roads.witness.add_checkpoint(&bytes, now)
    });
    match judged.await {
        Ok(Ok(cosignature)) => text(StatusCode::OK, cosignature.to_line()),
        Ok(Err(Refusal::Conflict { size })) => {
            let media_type = HeaderValue::from_static(SIZE_MEDIA_TYPE);
            (StatusCode::CONFLICT, [(CONTENT_TYPE, media_type)], write_size(size)).into_response()
        }
        Ok(Err(refusal)) => {
            if let Refusal::State(cause) = &refusal {
                tracing::error!(%cause, "a checkpoint cannot be kept");
            }
            text(refusal.status(), format!("{refusal}\n"))
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "this witness failed\n"),
    }
}

async fn latest(
    extract::State(roads): extract::State<Arc<Roads>>,
    extract::Path(hash): extract::Path<String>,
) -> Response {
    match tokio::task::spawn_blocking(move || roads.witness.latest(&hash)).await {
        Ok(Ok(Some(note))) => text(StatusCode::OK, note),
        Ok(Ok(None)) => text(StatusCode::NOT_FOUND, "no checkpoint of such a log was cosigned\n"),
        Ok(Err(cause)) => {
            tracing::error!(%cause, "a checkpoint cannot be read");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this witness cannot read what it cosigned\n")
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "this witness failed\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    (status, headers, body.into()).into_response()
}

#[cfg(test)]
mod tests;
