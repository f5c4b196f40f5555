//! The roads in and out.
//!
//! | road | |
//! |---|---|
//! | `POST /v1/bundles` | 201 with [`Taken`] when it is durable, signed and published; 200 when it was there already; 202 when the witnesses are still asked |
//! | `GET /v1/bundles/sha256:PAYLOAD` | the bundle as it was signed, immutable |
//! | `GET /v1/bundles/sha256:PAYLOAD/completed` | the same with its log entry: a Sigstore bundle that proves itself |
//! | `GET /v1/bundles/sha256:PAYLOAD/tlog-proof` | the proof alone, as a C2SP tlog-proof |
//! | `GET /v1/lookup?sha256=PAYLOAD` | where a payload is, and what became of it: [`Found`] |
//! | `GET /v1/feed?after=INDEX` | entries after an index, or from the first; at most [`PAGE_ENTRIES`](crate::feed::PAGE_ENTRIES) |
//! | `GET /v1/events` | entries as they come (SSE), from the first, or after `Last-Event-ID` |
//! | `GET /v1/view.json` | the fold of all entries |
//! | `GET /v1/keyring.json` | the keyring in force |
//! | `GET /checkpoint` | the newest published head, a signed note |
//! | `GET /tile/…` | hashes and leaves of the log, as C2SP tlog-tiles, immutable |
//! | `GET /v1/inclusion?index=I&size=N` | the proof that an entry is in the tree of a size: [`Inclusion`] |
//! | `GET /v1/consistency?old=M&new=N` | the proof that a tree contains an older one: [`Consistency`] |
//! | `GET /` | the view as a page |
//! | `GET /livez`, `GET /readyz` | whether the process lives, and whether it takes submissions; `?verbose` says more, also of each witness |
//! | `GET /metrics` | what is counted, in Prometheus's text format |
//!
//! Entry tiles, bundles as they were signed and the view are sent in gzip to whoever accepts it.
//!
//! Refusals are `application/problem+json`. Reads may be made from any origin. Connections, streams, heads and bodies
//! are bounded in number, bytes and time, and so are answers in time, while nobody reads them. Whatever may wait for the
//! store is done on threads that may block, [`MAX_READS`] at once. A stop lets answers that are under way be finished.

mod progress;
mod rendered;
mod serve;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRef, FromRequestParts, Path, RawQuery, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use axum::middleware::map_response;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::{Stream, stream};
use http_body_util::BodyExt as _;
use serde::Serialize;
use smi_schemas::bundle::{MAX_BUNDLE_BYTES, MEDIA_TYPE};
use smi_schemas::codes::Code;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::merkle::Hash;
use smi_verifier::proof::TlogProof;
use smi_verifier::tile::{TileKind, TilePath};
use smi_verifier::view::State as ResultState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::feed::{Completed, Feed, FeedError, Published};
use crate::intake::{Intake, Room};
use crate::log::{Answer, Head, Logged};
use crate::meters::{Meters, Submitted};
use crate::problem::Problem;

use rendered::{Bytes, Rendered};
pub use serve::{MAX_CONNECTIONS, STOP_TIMEOUT, serve};

/// Questions that are asked of the store at once; more wait. There are fewer than threads that may block, which
/// submissions and publishing need too.
pub const MAX_READS: usize = 64;
/// Event streams at once.
pub const MAX_STREAMS: usize = 256;
/// How long a body may take to arrive, for a publisher that says nothing else.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a stream without events says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");

/// What the roads lead to.
pub struct Publisher {
    /// Takes submissions.
    pub intake: Intake,
    /// Tells entries.
    pub feed: Arc<Feed>,
    /// The newest signed head.
    pub signed: watch::Receiver<Arc<Head>>,
    /// The newest published head.
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// How long a submission waits for its head to be published.
    pub patience: Duration,
    /// Becomes true when streams are to end.
    pub stop: watch::Receiver<bool>,
    /// Whether sandbox results or draft suites are admitted.
    pub demonstration: bool,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Room for event streams.
    pub streams: Arc<Semaphore>,
}

/// What a submission is answered with: JSON with these fields, of which `proof` is two, `bundle`, the completed bundle,
/// and `tlogProof`, the proof alone as text.
#[derive(Debug)]
pub struct Taken {
    /// Its index.
    pub index: u64,
    /// What it is known by.
    pub payload: Digest,
    /// The completed bundle and the proof alone, once its head is published.
    pub proof: Option<(Completed, TlogProof)>,
    /// Where to ask for its state, while its head is not published.
    pub status: Option<String>,
}

/// What is known of a payload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// What was asked for.
    pub payload: Digest,
    /// Its index.
    pub index: u64,
    /// The hash of its leaf, in base64.
    pub leaf_hash: String,
    /// Whether it is under a published head.
    pub published: bool,
    /// What became of it, if it is a result that is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ResultState>,
}

/// The proof that an entry is in a tree. Hashes are in base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inclusion {
    /// The entry.
    pub index: u64,
    /// The tree's size.
    pub size: u64,
    /// The tree's root.
    pub root: String,
    /// The hash of the entry's leaf.
    pub leaf_hash: String,
    /// From the leaf's sibling upwards.
    pub hashes: Vec<String>,
}

/// The proof that one tree contains another. Hashes are in base64.
#[derive(Debug, Serialize)]
pub struct Consistency {
    /// The older tree.
    pub old: TreeHead,
    /// The newer tree.
    pub new: TreeHead,
    /// The proof.
    pub hashes: Vec<String>,
}

/// A tree.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct TreeHead {
    pub size: u64,
    pub root: String,
}

/// What the roads share.
#[derive(Clone)]
struct Roads {
    publisher: Arc<Publisher>,
    reads: Reads,
    rendered: Arc<Rendered>,
}

/// The way to the feed.
#[derive(Clone)]
struct Reads {
    feed: Arc<Feed>,
    turns: Arc<Semaphore>,
}

impl Roads {
    fn new(publisher: Arc<Publisher>) -> Self {
        let reads = Reads { feed: Arc::clone(&publisher.feed), turns: Arc::new(Semaphore::new(MAX_READS)) };
        let rendered = Arc::new(Rendered::new(publisher.demonstration));
        Self { publisher, reads, rendered }
    }
}

impl Reads {
    /// Asks the feed, where it may block. Who no longer waits has its turn until it is over.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Feed) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, Problem> {
        let feed = Arc::clone(&self.feed);
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let asked = spawn_blocking(move || {
            let answer = question(&feed);
            drop(turn);
            answer
        });
        match asked.await {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(_) => Err(Problem::new(Code::PublisherFault, "the question was not answered")),
        }
    }
}

impl FromRef<Roads> for Arc<Publisher> {
    fn from_ref(roads: &Roads) -> Self {
        Arc::clone(&roads.publisher)
    }
}

impl FromRef<Roads> for Reads {
    fn from_ref(roads: &Roads) -> Self {
        roads.reads.clone()
    }
}

/// The roads of a publisher.
pub fn router(publisher: Arc<Publisher>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile).layer(gzip()))
        .route("/v1/bundles", post(submit))
        .route("/v1/bundles/{payload}", get(bundle).layer(gzip()))
        .route("/v1/bundles/{payload}/completed", get(completed))
        .route("/v1/bundles/{payload}/tlog-proof", get(tlog_proof))
        .route("/v1/lookup", get(lookup))
        .route("/v1/inclusion", get(inclusion))
        .route("/v1/consistency", get(consistency))
        .route("/v1/keyring.json", get(keyring))
        .route("/v1/feed", get(feed))
        .route("/v1/events", get(events))
        .route("/v1/view.json", get(view).layer(gzip()))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || Problem::new(Code::NotFound, "no such road"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "see Allow"))
        .layer(map_response(common))
        .with_state(Roads::new(publisher))
}

impl Publisher {
    fn published(&self) -> Result<Arc<Published>, Problem> {
        let published = self.published.borrow().clone();
        published.ok_or_else(|| Problem::new(Code::NotWitnessed, "nothing is published yet"))
    }

    /// The sizes of the newest signed and published heads.
    fn sizes(&self) -> (u64, u64) {
        let published = self.published.borrow().as_ref().map_or(0, |head| head.checkpoint.size());
        (self.signed.borrow().checkpoint.size(), published)
    }

    /// What `/readyz?verbose` says, a line for each thing.
    fn readiness(&self) -> String {
        let (signed, published) = self.sizes();
        let lag = signed.saturating_sub(published);
        let trusted = self.signed.borrow().trusted.clone();
        let quorum = self.meters.readiness(trusted.as_ref().map(|trusted| &trusted.keyring));
        format!("ready\nlog        running\nsigned     {signed}\npublished  {published}\nlag        {lag}\n{quorum}")
    }

    /// Waits until an entry is published, but not for ever.
    async fn publication(&self, index: u64) -> Option<Arc<Published>> {
        let mut published = self.published.clone();
        let covers = |head: &Option<Arc<Published>>| head.as_ref().is_some_and(|head| head.checkpoint.size() > index);
        let head = tokio::time::timeout(self.patience, published.wait_for(covers)).await;
        head.ok()?.ok()?.clone()
    }
}

/// Marks an answer that is worth compressing. Hashes are not.
#[derive(Clone, Copy)]
struct Repetitive;

type IsRepetitive = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Sends what is [`Repetitive`] in gzip, the one encoding that tlog-tiles names, to whoever accepts it.
fn gzip() -> CompressionLayer<IsRepetitive> {
    let is_repetitive: IsRepetitive = |_, _, _, extensions| extensions.get::<Repetitive>().is_some();
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_repetitive)
}

/// What every answer carries.
async fn common(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_ACCEPTABLE {
        let detail = "Accept-Encoding admits neither identity nor gzip";
        response = Problem::new(Code::RequestMalformed, detail).into_response();
    }
    let headers = response.headers_mut();
    // The same resource in other bytes: a strong tag names one of them.
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(weak) = headers.get(ETAG).and_then(|tag| format!("W/{}", tag.to_str().ok()?).parse().ok())
    {
        headers.insert(ETAG, weak);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(FRESH);
    response
}

async fn submit(State(publisher): State<Arc<Publisher>>, State(reads): State<Reads>, body: Body) -> Response {
    let response = submitted(&publisher, &reads, body).await.into_response();
    publisher.meters.submission(match response.status() {
        StatusCode::CREATED => Submitted::Added,
        StatusCode::OK => Submitted::Present,
        StatusCode::ACCEPTED => Submitted::Waiting,
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => Submitted::Refused,
        _ => Submitted::Failed,
    });
    response
}

async fn submitted(publisher: &Publisher, reads: &Reads, body: Body) -> Result<Response, Problem> {
    let read = tokio::time::timeout(publisher.body_timeout, read(&publisher.intake, body)).await;
    let slow = |_| Problem::new(Code::RequestSlow, "the body did not arrive in time");
    let (bytes, room) = read.map_err(slow)??;
    let head = publisher.published.borrow().as_ref().and_then(|head| head.current_at());
    let answer = publisher.intake.accept(bytes, room, (publisher.clock)(), head).await;
    let Logged { answer, stored } = answer.map_err(|refusal| Problem::from(refusal.findings()))?;
    let (status, index, payload) = match answer {
        Answer::Added { index, digest } => (StatusCode::CREATED, index, digest),
        Answer::Present { index, digest } => (StatusCode::OK, index, digest),
    };
    let (status, location, body) = match publisher.publication(index).await {
        None => {
            let status = format!("/v1/lookup?sha256={}", payload.hex());
            let taken = Taken { index, payload, proof: None, status: Some(status.clone()) };
            (StatusCode::ACCEPTED, status, taken.into_json())
        }
        Some(head) => {
            let stored = match stored {
                Some(stored) => stored,
                None => reads.ask(move |feed| feed.stored(&payload)).await?,
            };
            let proof = publisher.feed.prove(stored, &head).map_err(|error| failed(&error))?;
            let taken = Taken { index, payload, proof: Some(proof), status: None };
            (status, format!("/v1/bundles/{payload}"), taken.into_json())
        }
    };
    let json = HeaderValue::from_static("application/json");
    let mut response = (status, [(CONTENT_TYPE, json)], in_parts(body)).into_response();
    response.headers_mut().extend(HeaderValue::from_str(&location).ok().map(|location| (LOCATION, location)));
    Ok(response)
}

impl Taken {
    /// The answer, in parts. The bundle is JSON that was written here, so that it is put in as it is.
    fn into_json(self) -> Vec<Bytes> {
        let Self { index, payload, proof, status } = self;
        let mut parts = vec![format!(r#"{{"index":{index},"payload":"{payload}""#).into()];
        if let Some((Completed(bundle), proof)) = proof {
            let proof = serde_json::Value::from(String::from_utf8_lossy(&proof.to_bytes()));
            parts.push(Bytes::from_static(br#","bundle":"#));
            parts.extend(bundle);
            parts.push(format!(r#","tlogProof":{proof}"#).into());
        }
        if let Some(status) = status {
            // It is a path that has no mark in it.
            parts.push(format!(r#","status":"{status}""#).into());
        }
        parts.push(Bytes::from_static(b"}"));
        parts
    }
}

/// An answer of parts, which are sent as they are instead of being copied into one.
fn in_parts(parts: Vec<Bytes>) -> impl IntoResponse {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let body = Body::from_stream(stream::iter(parts.into_iter().map(Ok::<_, Infallible>)));
    ([(CONTENT_LENGTH, HeaderValue::from(length))], body)
}

/// Reads a submission. Room is taken as it arrives: who declares much and sends nothing holds none.
async fn read(intake: &Intake, mut body: Body) -> Result<(Vec<u8>, Room), Problem> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(declared.min(MAX_BUNDLE_BYTES));
    let mut room = Room::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::RequestMalformed, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        // One byte more is read than is admitted, so that the verifier says what is wrong.
        if bytes.len() + data.len() > MAX_BUNDLE_BYTES + 1 {
            return Err(Problem::new(Code::BundleTooLarge, "the body has more bytes than any bundle"));
        }
        intake.hold(&mut room, data.len()).map_err(|refusal| Problem::from(refusal.findings()))?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, room))
}

async fn bundle(State(reads): State<Reads>, Part(payload): Part, headers: HeaderMap) -> Result<Response, Problem> {
    let digest = digest(&payload)?;
    let etag = HeaderValue::from_str(&format!("\"{digest}\"")).map_err(|_| Problem::new(Code::PublisherFault, ""))?;
    let blob = reads.ask(move |feed| feed.bundle(&digest)).await?;
    let fixed = [(ETAG, etag.clone()), (CACHE_CONTROL, IMMUTABLE), (VARY, HeaderValue::from_static("accept-encoding"))];
    let known = headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
    if known.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag)) == Some(etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    Ok((fixed, [(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], Extension(Repetitive), blob).into_response())
}

async fn completed(
    State(publisher): State<Arc<Publisher>>,
    State(reads): State<Reads>,
    Part(payload): Part,
) -> Result<Response, Problem> {
    let (payload, head) = (digest(&payload)?, publisher.published()?);
    let (Completed(bundle), _) = reads.ask(move |feed| feed.prove(feed.stored(&payload)?, &head)).await?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], in_parts(bundle.into())).into_response())
}

async fn tlog_proof(
    State(publisher): State<Arc<Publisher>>,
    State(reads): State<Reads>,
    Part(payload): Part,
) -> Result<Response, Problem> {
    let (payload, head) = (digest(&payload)?, publisher.published()?);
    let proof = reads.ask(move |feed| {
        let place = feed.place(&payload)?.ok_or(FeedError::Absent { what: "the entry" })?;
        feed.tlog_proof(place.index, &head)
    });
    let proof = proof.await?;
    Ok(([(CONTENT_TYPE, TEXT)], proof.to_bytes()).into_response())
}

async fn checkpoint(State(publisher): State<Arc<Publisher>>) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, TEXT)], publisher.published()?.note.to_bytes()).into_response())
}

async fn tile(State(reads): State<Reads>, Part(path): Part) -> Result<Response, Problem> {
    let path: TilePath = path.parse().map_err(|_| Problem::new(Code::NotFound, "no tile has this path"))?;
    let repetitive = matches!(path.kind(), TileKind::Entries).then_some(Extension(Repetitive));
    let bytes = reads.ask(move |feed| feed.tile(&path)).await?;
    let binary = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, binary), (CACHE_CONTROL, IMMUTABLE)], repetitive, bytes).into_response())
}

async fn lookup(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let [hex] = fields(query.as_deref(), ["sha256"])?;
    let payload = Digest::from_hex(hex).map_err(|_| Problem::new(Code::RequestMalformed, "sha256=64 digits"))?;
    let asked = reads.ask(move |feed| Ok((feed.place(&payload)?, feed.view().state(&payload))));
    let (place, state) = asked.await?;
    let place = place.ok_or_else(|| Problem::new(Code::NotFound, "the log has no such payload"))?;
    Ok(axum::Json(Found {
        payload,
        index: place.index,
        leaf_hash: place.leaf.to_base64(),
        published: place.is_published,
        state,
    })
    .into_response())
}

async fn inclusion(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let [at, size] = fields(query.as_deref(), ["index", "size"])?;
    let (at, size) = (index(at)?, index(size)?);
    let proof = reads.ask(move |feed| {
        Ok(Inclusion {
            index: at,
            size,
            hashes: base64(&feed.inclusion(at, size)?),
            root: feed.root(size)?.to_base64(),
            leaf_hash: feed.leaf_hash(at)?.to_base64(),
        })
    });
    Ok(axum::Json(proof.await?).into_response())
}

async fn consistency(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let [old, new] = fields(query.as_deref(), ["old", "new"])?;
    let (old, new) = (index(old)?, index(new)?);
    let proof = reads.ask(move |feed| {
        let head = |size| Ok::<_, FeedError>(TreeHead { size, root: feed.root(size)?.to_base64() });
        Ok(Consistency { hashes: base64(&feed.consistency(old, new)?), old: head(old)?, new: head(new)? })
    });
    Ok(axum::Json(proof.await?).into_response())
}

async fn keyring(State(reads): State<Reads>) -> Result<Response, Problem> {
    let asked = reads.ask(|feed| {
        let index = feed.view().keyring().map(|keyring| keyring.index);
        index.map_or(Ok(None), |index| feed.keyring(index))
    });
    let trusted = asked.await?.ok_or_else(|| Problem::new(Code::NotFound, "the log has no keyring yet"))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], trusted.keyring.to_bytes()).into_response())
}

/// The part of an address that is not fixed.
struct Part(String);

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let part = Path::from_request_parts(parts, state).await;
        part.map(|Path(part)| Self(part)).map_err(|_| Problem::new(Code::NotFound, "not UTF-8"))
    }
}

/// `sha256:` and 64 digits, as part of an address.
fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound, "not sha256: and 64 digits"))
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_base64).collect()
}

/// The values of a query that has these fields, in this order, and no others.
fn fields<'q, const N: usize>(query: Option<&'q str>, names: [&str; N]) -> Result<[&'q str; N], Problem> {
    let malformed = || Problem::new(Code::RequestMalformed, &format!("a query ?{}=…", names.join("=…&")));
    let mut given = query.unwrap_or_default().split('&');
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        let field = given.next().and_then(|field| field.strip_prefix(name)?.strip_prefix('='));
        *value = field.ok_or_else(malformed)?;
    }
    if given.next().is_some() { Err(malformed()) } else { Ok(values) }
}

async fn feed(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let after = after(query.as_deref())?;
    let page = reads.ask(move |feed| feed.page(after)).await?;
    Ok(axum::Json(page).into_response())
}

/// The view in one of its forms, made if need be.
async fn rendered(roads: Roads, form: fn(&Rendered, &Feed) -> Option<Bytes>) -> Result<Bytes, Problem> {
    let bytes = roads.reads.ask(move |feed| Ok(form(&roads.rendered, feed))).await?;
    bytes.ok_or_else(|| Problem::new(Code::PublisherFault, "the page could not be made"))
}

async fn view(State(roads): State<Roads>) -> Result<Response, Problem> {
    let json = HeaderValue::from_static("application/json");
    let bytes = rendered(roads, Rendered::json).await?;
    Ok(([(CONTENT_TYPE, json)], Extension(Repetitive), bytes).into_response())
}

async fn page(State(roads): State<Roads>) -> Result<Response, Problem> {
    const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    Ok(([(CONTENT_SECURITY_POLICY, POLICY)], Html(rendered(roads, Rendered::page).await?)).into_response())
}

async fn ready(State(publisher): State<Arc<Publisher>>, RawQuery(query): RawQuery) -> Result<String, Problem> {
    publisher.intake.ready().map_err(|error| Problem::new(error.code(), &error.to_string()))?;
    match query.as_deref() {
        None | Some("") => Ok("ready\n".to_owned()),
        Some("verbose") => Ok(publisher.readiness()),
        Some(_) => Err(Problem::new(Code::RequestMalformed, "only ?verbose is understood")),
    }
}

async fn metrics(State(publisher): State<Arc<Publisher>>) -> Response {
    const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, PROMETHEUS)], publisher.meters.metrics(publisher.sizes())).into_response()
}

/// A stream's next entry, what it waits for, and its place among the streams.
struct Follow {
    reads: Reads,
    next: u64,
    head: watch::Receiver<Option<Arc<Published>>>,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

async fn events(
    State(publisher): State<Arc<Publisher>>,
    State(reads): State<Reads>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    const LAST: HeaderName = HeaderName::from_static("last-event-id");
    let last = match headers.get(LAST) {
        Some(value) => Some(index(value.to_str().unwrap_or_default())?),
        None => after(query.as_deref())?,
    };
    let place = Arc::clone(&publisher.streams).try_acquire_owned();
    let place = place.map_err(|_| Problem::new(Code::PublisherBusy, "as many streams are open as may be"))?;
    let follow = Follow {
        next: last.map_or(0, |last| last.saturating_add(1)),
        head: publisher.published.clone(),
        stop: publisher.stop.clone(),
        reads,
        _place: place,
    };
    let stream = Sse::new(followed(follow)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store")), unbuffered], stream).into_response())
}

/// Entries as they are published, each once, in order. It ends with the publisher, or when an entry cannot be told.
fn followed(follow: Follow) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(follow, |mut follow| async move {
        let wanted = follow.next;
        tokio::select! {
            biased;
            _ = follow.stop.wait_for(|stop| *stop) => return None,
            head = follow.head.wait_for(|head| head.as_ref().is_some_and(|head| head.checkpoint.size() > wanted)) =>
                drop(head.ok()?),
        }
        let entry = follow.reads.ask(move |feed| feed.entry(wanted)).await.ok()?;
        let event = Event::default().id(wanted.to_string()).event("entry").json_data(&entry).ok()?;
        follow.next += 1;
        Some((Ok(event), follow))
    })
}

/// The index in `after=INDEX`, the one thing that may be asked.
fn after(query: Option<&str>) -> Result<Option<u64>, Problem> {
    match query {
        None | Some("") => Ok(None),
        Some(query) => match query.strip_prefix("after=") {
            Some(value) => Ok(Some(index(value)?)),
            None => Err(Problem::new(Code::RequestMalformed, "only ?after=INDEX is understood")),
        },
    }
}

fn index(text: &str) -> Result<u64, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text.parse().ok().filter(|_| digits);
    parsed.ok_or_else(|| Problem::new(Code::RequestMalformed, "an index is a whole number from 0"))
}

fn failed(error: &FeedError) -> Problem {
    if let FeedError::Store(cause) = error {
        // A stranger is told that something failed; whoever can mend it reads this.
        tracing::error!(code = %cause.code(), %cause, "the store cannot be read");
    }
    Problem::new(error.code(), &error.to_string())
}

#[cfg(test)]
mod tests;
