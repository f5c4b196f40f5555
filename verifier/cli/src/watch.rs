//! The command `watch`: audits again and again, and tells what is new.
//!
//! Each line of standard output is a JSON object with an `event`:
//!
//! | event | with | |
//! |---|---|---|
//! | `checkpoint` | `size`, `root`, `witnesses`, `loggedBy`, `currentAt` | the log has grown, and everything up to here is sound |
//! | `result`, `review`, `withdrawal`, `supersession`, `suite`, `keyring` | `entry` | an entry is new |
//! | `quorum-lost`, `checkpoint-invalid`, `unreachable`, `suite-unknown` | `code`, `detail`, `remedy` | nothing is decided |
//! | `recovered` | `from` | it is decided again |
//! | `fork`, `rollback`, `entry-missing`, `view-differs`, … | the same, and `evidence` | an alteration, which ends it |
//!
//! The name of an alarm is its code without `audit-`. Entries are told once everything up to them is sound.

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
use tokio::time::sleep;

use crate::args;
use crate::audit::{AuditError, Begun, begin, heard, remember};
use crate::round::{run, runtime};
use crate::source::Source;
use crate::verify::now;

pub(crate) fn watch(arguments: &args::Watch) -> Result<Exit, AuditError> {
    let Begun { audit, source, seen } = begin(&arguments.audited, None)?;
    let news = News { meshes: &arguments.mesh, keys: &arguments.key, results: BTreeSet::new(), entries: Vec::new() };
    let mut watching = Watching { arguments, audit, source, told: seen, news, undecided: None };
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
    /// Up to where everything was told, or is none of this watch's business.
    told: Option<TreeHead>,
    news: News<'a>,
    /// What was last said to stand in the way, while it does.
    undecided: Option<Code>,
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
            match self.round().await? {
                Round::Next(_) if !self.arguments.once => sleep(interval).await,
                Round::Next(exit) | Round::Last(exit) => return Ok(exit),
            }
        }
    }

    async fn round(&mut self) -> Result<Round, AuditError> {
        let news = &mut self.news;
        let answered = run(&mut self.audit, &self.source, now()?, |entry| news.take(entry)).await;
        if let Err(unanswered) = answered {
            // What was read is kept, and read on from there.
            return self.stand(&Found::new(Code::AuditUnreachable, unanswered.to_string()), false);
        }
        if let Some(sound) = self.audit.finish() {
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
        let Begun { mut audit, .. } = begin(&self.arguments.audited, Some(last))?;
        let mut news = News { results: BTreeSet::new(), entries: Vec::new(), ..self.news };
        if run(&mut audit, &self.source, now()?, |entry| news.take(entry)).await.is_err() {
            // The alteration stands by itself.
            return self.alarmed();
        }
        (self.audit, self.news) = (audit, news);
        match self.audit.finish() {
            None => self.alarmed(),
            Some(sound) => {
                self.sound(&sound)?;
                Ok(Round::Next(Exit::Success))
            }
        }
    }

    /// Everything is sound up to a checkpoint: tells what is new.
    fn sound(&mut self, sound: &Sound) -> Result<(), AuditError> {
        if let Some(path) = &self.arguments.audited.state {
            remember(path, sound)?;
        }
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
        let first = self.told.as_ref().map_or(head.size, |told| told.size);
        for entry in self.news.drain(first) {
            tell(&Event { event: kind(&entry), entry })?;
        }
        self.told = Some(head);
        Ok(())
    }

    /// Tells what was found.
    fn alarmed(&mut self) -> Result<Round, AuditError> {
        let found = self.audit.found();
        if found.iter().any(Alteration::is_proof) {
            for alteration in found {
                alarm(&Found::from(alteration))?;
            }
            return Ok(Round::Last(Exit::Refused));
        }
        let Some(alteration) = found.first() else { return Ok(Round::Next(Exit::NoVerdict)) };
        let is_final = matches!(alteration, Alteration::SuiteUnknown { .. });
        let found = Found::from(alteration);
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
    /// Results that are told, or would have been.
    results: BTreeSet<Digest>,
    entries: Vec<Entry>,
}

impl News<'_> {
    fn take(&mut self, entry: Entry) {
        let is_wanted = match &entry.says {
            Says::Result(tested) => {
                let by_mesh = self.meshes.is_empty() || self.meshes.contains(&tested.mesh);
                by_mesh && (self.keys.is_empty() || self.keys.iter().any(|key| key.to_string() == entry.key_id))
            }
            Says::Review { result, .. } | Says::Withdrawal { result, .. } | Says::Supersession { result, .. } => {
                self.results.contains(result)
            }
            Says::Suite(_) | Says::Keyring { .. } => true,
        };
        if is_wanted {
            self.results.insert(entry.payload);
            self.entries.push(entry);
        }
    }

    /// What is to be told from an index on. What is before it was told already.
    fn drain(&mut self, first: u64) -> impl Iterator<Item = Entry> {
        self.entries.drain(..).filter(move |entry| entry.index >= first)
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
    // Who reads must learn of it now.
    Ok(heard(writeln!(out, "{line}").and_then(|()| out.flush()))?)
}
