//! The command `watch`: audits again and again, and tells what is new.
//!
//! Each line of standard output is a JSON object with an `event`:
//!
//! | event | with | |
//! |---|---|---|
//! | `checkpoint` | `size`, `root`, `witnesses`, `loggedBy`, `currentAt` | the log has grown, and everything up to here is sound |
//! | `result`, `review`, `withdrawal`, `supersession`, `suite`, `keyring` | `entry` | an entry is new |
//! | `quorum-lost`, `stale`, `checkpoint-invalid`, `unreachable`, `suite-unknown` | `code`, `detail`, `remedy`, `evidence` | nothing is decided |
//! | `recovered` | `from` | it is decided again |
//! | `fork`, `rollback`, `entry-missing`, `view-differs`, … | the same | an alteration, which ends it |
//!
//! The name of an alarm is its code without `audit-`. Its `evidence` are the signed checkpoints that it is about, if
//! any. Entries are told once everything up to them is sound.
//!
//! A round reads what is new. Now and then a whole audit is made instead (`--whole`), which must contain the last: what
//! was read long ago may have been removed or replaced since.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use smi_keys::KeyId;
use smi_schemas::codes::{Code, Exit};
use smi_schemas::feed::{Entry, Says};
use smi_schemas::names::Slug;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::audit::report::{Found, TreeHead};
use smi_verifier::audit::{Alteration, Audit, Check, Sound};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::args;
use crate::audit::{AuditError, Begun, Grounds, begin};
use crate::inputs::now;
use crate::round::{run, runtime};
use crate::source::Source;
use crate::state::remember;

pub(crate) fn watch(arguments: &args::Watch) -> Result<Exit, AuditError> {
    let Begun { audit, source, grounds, sound, .. } = begin(&arguments.audited)?;
    let news = News::new(arguments, sound.as_ref());
    let (whole, under_way) = (Instant::now(), None);
    let mut watching =
        Watching { arguments, audit, source, grounds, told: sound, news, undecided: None, whole, under_way };
    runtime()?.block_on(async {
        // Caught before anybody is told that there is something to stop.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            ended = watching.run() => ended,
            _ = interrupt.recv() => Ok(Exit::Interrupted),
            _ = terminate.recv() => Ok(Exit::Terminated),
        }
    })
}

/// Whom and what to watch, and what is known by now.
struct Watching<'a> {
    arguments: &'a args::Watch,
    audit: Audit,
    source: Source,
    grounds: Grounds,
    /// Up to where everything was told, or is none of this watch's business.
    told: Option<TreeHead>,
    news: News<'a>,
    /// What was last said to stand in the way, while it does.
    undecided: Option<Code>,
    /// When everything was begun to be read, the last time.
    whole: Instant,
    /// When the round began in whose middle the audit is.
    under_way: Option<Timestamp>,
}

/// How a round ended.
enum Round {
    /// There may be another one.
    Next(Exit),
    /// There is no use in another one.
    Last(Exit),
}

impl Watching<'_> {
    async fn run(&mut self) -> Result<Exit, AuditError> {
        let interval = Duration::from_secs(self.arguments.interval);
        loop {
            let round = self.round().await;
            // A crash before here: what was told is told again. The other way round it would never be told. Where nobody
            // listened, what was seen is kept all the same, as not sound.
            self.remember(matches!(round, Ok(Round::Next(Exit::Success))))?;
            match round? {
                Round::Next(_) if !self.arguments.once => sleep(interval).await,
                Round::Next(exit) | Round::Last(exit) => return Ok(exit),
            }
        }
    }

    /// Keeps what was seen, sound or not.
    fn remember(&self, is_sound: bool) -> Result<(), AuditError> {
        if let (Some(last), Some(path)) = (self.audit.last(), &self.arguments.audited.state) {
            remember(path, last, is_sound)?;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<Round, AuditError> {
        // What was not read to its end is read on first, so that an end is reached.
        if self.under_way.is_none()
            && self.whole.elapsed() >= self.arguments.whole
            && let Some(last) = self.audit.last().map(|last| last.note().to_bytes())
        {
            self.audit = self.grounds.begin(Some(&last))?;
            (self.news, self.whole) = (News::new(self.arguments, self.told.as_ref()), Instant::now());
        }
        // How old the checkpoint is was decided when it was asked for, however long the rest of the round takes.
        let now = self.under_way.map_or_else(now, Ok)?;
        let news = &mut self.news;
        let answered = run(&mut self.audit, &self.source, now, |entry| news.take(entry)).await;
        self.under_way = answered.is_err().then_some(now);
        if let Err(unanswered) = answered {
            // What was read is kept, and read on from there.
            return self.stand(&Found::new(Code::AuditUnreachable, unanswered.to_string()), false);
        }
        if let Some(sound) = self.audit.finish(now) {
            self.sound(&sound)?;
            return Ok(Round::Next(Exit::Success));
        }
        let of_tree = self.audit.found().iter().any(|found| found.check() == Check::Tree);
        if of_tree && let Some(last) = self.audit.last().map(|last| last.note().to_bytes()) {
            return self.anew(&last).await;
        }
        self.alarmed()
    }

    /// What is new does not fit what was read before. Everything is read again, to tell whether history was rewritten.
    async fn anew(&mut self, last: &[u8]) -> Result<Round, AuditError> {
        let (mut audit, now) = (self.grounds.begin(Some(last))?, now()?);
        let mut news = News::new(self.arguments, self.told.as_ref());
        if run(&mut audit, &self.source, now, |entry| news.take(entry)).await.is_err() {
            // The alteration stands by itself.
            return self.alarmed();
        }
        (self.audit, self.news, self.whole) = (audit, news, Instant::now());
        match self.audit.finish(now) {
            None => self.alarmed(),
            Some(sound) => {
                self.sound(&sound)?;
                Ok(Round::Next(Exit::Success))
            }
        }
    }

    /// Everything is sound up to a checkpoint: tells what is new.
    fn sound(&mut self, sound: &Sound) -> Result<(), AuditError> {
        if let Some(from) = self.undecided.take() {
            tell(&json!({ "event": "recovered", "from": name(from) }))?;
        }
        let head = TreeHead::of(&sound.head);
        if self.told.as_ref() != Some(&head) {
            let times = sound.times.map(|times| (times.logged_by, times.current_at));
            let (logged_by, current_at) = times.unzip();
            tell(&Checkpoint {
                event: "checkpoint",
                size: head.size,
                root: &head.root,
                witnesses: &sound.witnesses,
                logged_by,
                current_at,
            })?;
        }
        for entry in self.news.entries.drain(..) {
            tell(&Event { event: kind(&entry), entry })?;
        }
        self.news.first = Some(head.size);
        self.told = Some(head);
        Ok(())
    }

    /// Tells what was found.
    fn alarmed(&mut self) -> Result<Round, AuditError> {
        let found = self.audit.found();
        if found.iter().any(Alteration::is_proof) {
            for alteration in found {
                alarm(&Found::of(&self.audit, alteration))?;
            }
            return Ok(Round::Last(Exit::Refused));
        }
        let Some(alteration) = found.first() else { return Ok(Round::Next(Exit::NoVerdict)) };
        let is_final = matches!(alteration, Alteration::SuiteUnknown { .. });
        let found = Found::of(&self.audit, alteration);
        self.audit.retry();
        self.stand(&found, is_final)
    }

    /// Something stands in the way, which is told once.
    fn stand(&mut self, found: &Found, is_final: bool) -> Result<Round, AuditError> {
        if self.undecided != Some(found.code) {
            self.undecided = Some(found.code);
            alarm(found)?;
        }
        let exit = found.code.class().exit();
        Ok(if is_final { Round::Last(exit) } else { Round::Next(exit) })
    }
}

/// Entries that were read and not told yet, of the meshes and keys that are asked for.
struct News<'a> {
    meshes: &'a [Slug],
    keys: &'a [KeyId],
    /// The first entry that was not told yet. Before anything was told, nothing is new.
    first: Option<u64>,
    /// Results that are told, or would have been.
    results: BTreeSet<Digest>,
    entries: Vec<Entry>,
}

impl<'a> News<'a> {
    /// Of a log that is read from its beginning, after what was told.
    fn new(arguments: &'a args::Watch, told: Option<&TreeHead>) -> Self {
        let args::Watch { mesh, key, .. } = arguments;
        let first = told.map(|told| told.size);
        Self { meshes: mesh, keys: key, first, results: BTreeSet::new(), entries: Vec::new() }
    }

    fn take(&mut self, entry: Entry) {
        let is_wanted = match &entry.says {
            Says::Result(tested) => {
                let is_all = self.meshes.is_empty() && self.keys.is_empty();
                let is_by_key = self.keys.iter().any(|key| key.to_string() == entry.key_id);
                is_all || self.meshes.contains(&tested.mesh) || is_by_key
            }
            Says::Review { result, .. } | Says::Withdrawal { result, .. } | Says::Supersession { result, .. } => {
                self.results.contains(result)
            }
            Says::Suite(_) | Says::Keyring { .. } => true,
        };
        if is_wanted {
            self.results.insert(entry.payload);
            if self.first.is_some_and(|first| entry.index >= first) {
                self.entries.push(entry);
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint<'a> {
    event: &'static str,
    size: u64,
    root: &'a str,
    witnesses: &'a [Slug],
    #[serde(skip_serializing_if = "Option::is_none")]
    logged_by: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Event {
    event: &'static str,
    entry: Entry,
}

fn kind(entry: &Entry) -> &'static str {
    match entry.says {
        Says::Result(_) => "result",
        Says::Suite(_) => "suite",
        Says::Keyring { .. } => "keyring",
        Says::Review { .. } => "review",
        Says::Withdrawal { .. } => "withdrawal",
        Says::Supersession { .. } => "supersession",
    }
}

fn name(code: Code) -> &'static str {
    code.as_str().trim_start_matches("audit-")
}

fn alarm(found: &Found) -> Result<(), AuditError> {
    let Found { code, detail, remedy, evidence, .. } = found;
    let mut event = json!({ "event": name(*code), "code": code, "detail": detail, "remedy": remedy });
    if !evidence.is_empty() {
        event["evidence"] = json!(evidence);
    }
    tell(&event)
}

fn tell(event: &impl Serialize) -> Result<(), AuditError> {
    let mut out = io::stdout().lock();
    let line = serde_json::to_string(event).map_err(io::Error::from)?;
    // Who reads must learn of it now; when nobody does, there is nothing left to watch for.
    Ok(writeln!(out, "{line}").and_then(|()| out.flush())?)
}
