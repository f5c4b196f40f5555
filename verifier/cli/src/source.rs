//! Where an audit's bytes come from: a publisher's address, asked over HTTP.
//!
//! Connections are kept and bounded in number, answers in bytes and time. What fails is tried again a few times, for
//! a publisher that is being started anew should not end an audit; what is not there is asked for again too, for one of
//! several machines behind an address may be a moment late.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CACHE_CONTROL;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use smi_schemas::shown::causes;
use smi_verifier::audit::Resource;
use tokio::sync::Semaphore;

/// Requests at once.
pub(crate) const CONNECTIONS: usize = 32;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the same is asked for.
const TRIES: u32 = 3;
/// How long after a failure the same is asked for again; each time twice as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// Redirections of one request.
const REDIRECTIONS: usize = 3;

/// A publisher's address.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    base: Arc<str>,
    client: Client,
    room: Arc<Semaphore>,
}

/// What a publisher answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The bytes, of which one more is read than there may be.
    Bytes(Vec<u8>),
    /// It does not have it.
    Absent,
}

/// The publisher gave no answer, or none that decides anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Unanswered {
    what: Resource,
    why: String,
}

impl Unanswered {
    pub(crate) fn new(what: Resource, why: String) -> Self {
        Self { what, why }
    }
}

impl Source {
    pub(crate) fn new(address: &Url) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(CONNECTIONS)
            .redirect(Policy::limited(REDIRECTIONS))
            .build()?;
        let base = address.as_str().trim_end_matches('/').into();
        Ok(Self { base, client, room: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    pub(crate) async fn get(&self, what: Resource) -> Result<Answer, Unanswered> {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let answer = self.ask(what).await;
            let is_final = matches!(answer, Ok(Answer::Bytes(_))) || tries == TRIES;
            match answer {
                // An address without a checkpoint is no publisher's.
                Ok(Answer::Absent) if is_final && what == Resource::Checkpoint => {
                    return Err(Unanswered { what, why: "it is not there".to_owned() });
                }
                answer if is_final => return answer.map_err(|why| Unanswered { what, why }),
                _ => tokio::time::sleep(pause).await,
            }
            tries += 1;
            pause *= 2;
        }
    }

    async fn ask(&self, what: Resource) -> Result<Answer, String> {
        // It is never closed.
        let _place = self.room.acquire().await;
        let failed = |error: reqwest::Error| causes(&error.without_url());
        let mut request = self.client.get(format!("{}{what}", self.base));
        if what == Resource::Checkpoint {
            // A cache that has kept an old one would make the log look shrunk.
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        let mut response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Absent),
            other => return Err(other.to_string()),
        }
        // Room for all of it at once, if what it says of its length is true.
        let said = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(said.min(what.max_bytes()));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let room = what.max_bytes() + 1 - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if bytes.len() > what.max_bytes() {
                break;
            }
        }
        Ok(Answer::Bytes(bytes))
    }
}
