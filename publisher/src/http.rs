//! The roads in and out.
//!
//! | road | |
//! |---|---|
//! | `POST /v1/bundles` | 201 with `{"index","payload"}` when it is durable; 200 with the same when it was there |
//! | `GET /v1/bundles/sha256:PAYLOAD` | the bundle, immutable |
//! | `GET /v1/feed?after=INDEX` | entries after an index, or from the first; at most [`PAGE_ENTRIES`](crate::feed::PAGE_ENTRIES) |
//! | `GET /v1/events` | entries as they come (SSE), from the first, or after `Last-Event-ID` |
//! | `GET /v1/view.json` | the fold of all entries |
//! | `GET /` | the same as a page |
//! | `GET /livez`, `GET /readyz` | whether the process lives, and whether it takes submissions |
//!
//! Refusals are `application/problem+json`. Reads may be made from any origin. Connections, streams, heads and bodies
//! are bounded in number, bytes and time. A stop lets answers that are under way be finished.

mod serve;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use serde::Serialize;
use smi_schemas::bundle::{MAX_BUNDLE_BYTES, MEDIA_TYPE};
use smi_schemas::codes::Code;
use smi_schemas::{Digest, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::feed::{Feed, FeedError};
use crate::intake::Intake;
use crate::log::Answer;
use crate::page::Matrix;
use crate::problem::Problem;

pub use serve::{MAX_CONNECTIONS, STOP_TIMEOUT, serve};

/// Event streams at once.
pub const MAX_STREAMS: usize = 256;
/// How long a body may take to arrive, for a publisher that says nothing else.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a stream without events says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");

/// What the roads lead to.
pub struct Publisher {
    /// Takes submissions.
    pub intake: Intake,
    /// Tells entries.
    pub feed: Feed,
    /// Entries that readers may be told of, as a number that only grows.
    pub head: watch::Receiver<u64>,
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

/// What a submission is answered with.
#[derive(Serialize)]
struct Accepted {
    index: u64,
    payload: Digest,
}

/// The roads of a publisher.
pub fn router(publisher: Arc<Publisher>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/v1/bundles", post(submit))
        .route("/v1/bundles/{payload}", get(bundle))
        .route("/v1/feed", get(feed))
        .route("/v1/events", get(events))
        .route("/v1/view.json", get(view))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .fallback(async || Problem::new(Code::NotFound, "no such road"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "see Allow"))
        .layer(map_response(common))
        .with_state(publisher)
}

/// What every answer carries.
async fn common(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(FRESH);
    response
}

async fn submit(State(publisher): State<Arc<Publisher>>, body: Body) -> Result<Response, Problem> {
    // One byte more is read than is admitted, so that the verifier says what is wrong.
    let read = tokio::time::timeout(publisher.body_timeout, to_bytes(body, MAX_BUNDLE_BYTES + 1)).await;
    let bytes = match read {
        Err(_) => return Err(Problem::new(Code::RequestSlow, "the body did not arrive in time")),
        Ok(Err(error)) => return Err(unread(&error)),
        Ok(Ok(bytes)) => bytes,
    };
    let answer = publisher.intake.accept(bytes.into(), (publisher.clock)()).await;
    let (status, index, payload) = match answer.map_err(|refusal| Problem::from(refusal.findings()))? {
        Answer::Added { index, digest } => (StatusCode::CREATED, index, digest),
        Answer::Present { index, digest } => (StatusCode::OK, index, digest),
    };
    // Whoever reads the answer may go on to the feed, and must find the entry there.
    publisher.feed.catch_up().map_err(|error| failed(&error))?;
    let location = HeaderValue::from_str(&format!("/v1/bundles/{payload}"));
    let mut response = (status, axum::Json(Accepted { index, payload })).into_response();
    response.headers_mut().extend(location.ok().map(|location| (axum::http::header::LOCATION, location)));
    Ok(response)
}

/// A body that is too large, or that broke off.
fn unread(error: &axum::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.to_string().contains("length limit exceeded") {
            return Problem::new(Code::BundleTooLarge, "the body has more bytes than any bundle");
        }
        cause = inner.source();
    }
    Problem::new(Code::RequestMalformed, "the body broke off")
}

async fn bundle(
    State(publisher): State<Arc<Publisher>>,
    Path(payload): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest: Digest = payload.parse().map_err(|_| Problem::new(Code::NotFound, "not sha256: and 64 digits"))?;
    let etag = HeaderValue::from_str(&format!("\"{digest}\"")).map_err(|_| Problem::new(Code::PublisherFault, ""))?;
    let found = publisher.feed.store().blob(&digest).map_err(|error| failed(&error.into()))?;
    let blob = found.ok_or_else(|| Problem::new(Code::NotFound, "no such result"))?;
    let fixed = [(ETAG, etag.clone()), (CACHE_CONTROL, IMMUTABLE)];
    if headers.get(IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    Ok((fixed, [(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], blob).into_response())
}

async fn feed(State(publisher): State<Arc<Publisher>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let after = after(query.as_deref())?;
    let page = publisher.feed.page(after).map_err(|error| failed(&error))?;
    Ok(axum::Json(page).into_response())
}

async fn view(State(publisher): State<Arc<Publisher>>) -> Response {
    axum::Json(publisher.feed.view().document()).into_response()
}

async fn page(State(publisher): State<Arc<Publisher>>) -> Result<Response, Problem> {
    const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    let document = publisher.feed.view().document();
    let html = Matrix::new(&document, publisher.demonstration).render();
    let html = html.map_err(|_| Problem::new(Code::PublisherFault, "the page could not be made"))?;
    Ok(([(CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response())
}

async fn ready(State(publisher): State<Arc<Publisher>>) -> Result<&'static str, Problem> {
    if publisher.intake.is_ready() {
        Ok("ready\n")
    } else {
        Err(Problem::new(Code::PublisherFault, "the log has stopped taking submissions"))
    }
}

/// A stream's next entry, what it waits for, and its place among the streams.
struct Follow {
    publisher: Arc<Publisher>,
    next: u64,
    head: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

async fn events(
    State(publisher): State<Arc<Publisher>>,
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
        head: publisher.head.clone(),
        stop: publisher.stop.clone(),
        publisher,
        _place: place,
    };
    let stream = Sse::new(followed(follow)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store")), unbuffered], stream).into_response())
}

/// Entries as they are committed, each once, in order. It ends with the publisher, or when an entry cannot be told.
fn followed(follow: Follow) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(follow, |mut follow| async move {
        let wanted = follow.next;
        tokio::select! {
            biased;
            _ = follow.stop.wait_for(|stop| *stop) => return None,
            head = follow.head.wait_for(|head| *head > wanted) => drop(head.ok()?),
        }
        let entry = follow.publisher.feed.entry(wanted).ok()?;
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
    Problem::new(Code::PublisherFault, &error.to_string())
}
