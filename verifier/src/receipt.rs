//! The receipt: that a bundle is in a publisher's log, from the bundle alone.
//!
//! A completed bundle carries its log entry. What it proves is checked offline against the keyring, which names the
//! log's key, the witnesses and their quorum:
//!
//! | stage | what holds when it passes | unknown without |
//! |---|---|---|
//! | checkpoint | the log signed the size and root of its tree | a log entry in the bundle, a log in the keyring |
//! | inclusion | the bundle is the leaf at its index under that root | the same |
//! | quorum | as many witnesses as the keyring asks for saw no other tree of this log | a quorum in the keyring |
//! | in-force | the signer's key is not revoked at that index | the same as for the checkpoint |
//! | freshness | the log showed this tree no longer ago than was asked | a quorum, and a greatest age |
//!
//! Witnesses sign the time at which they saw a checkpoint. Where the quorum is *k*, fewer than *k* are taken to lie, so
//! that of any *k* one tells the truth. Therefore the bundle was logged **no later than** the *k*-th smallest of the
//! times, and the tree was the log's newest **no earlier than** the *k*-th largest. Without a quorum there is no time but
//! the publisher's word, and none is told. A result that claims to have ended after it was logged is refused.
//!
//! A cosignature of a time that has not come yet is seen to lie, and does not count, neither towards the quorum nor in
//! the bounds: what is left has no more liars than before, so that both bounds hold of it. That one witness lies about
//! the time is therefore no ground against a receipt on which enough others agree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use smi_keys::keyring::{Entry as Key, Keyring, Role};
use smi_schemas::bundle::{Bundle, LogEntry};
use smi_schemas::codes::Code;
use smi_schemas::leaf::Leaf;
use smi_schemas::names::Slug;
use smi_schemas::{Digest, Timestamp};

use crate::merkle::{Hash, check_inclusion};
use crate::note::{KeyKind, NoteKey, SignedCheckpoint, lower_bound, open, upper_bound};
use crate::policy::{MAX_CLOCK_SKEW_SECONDS, Policy, Receipts};
use crate::{Refused, Stage, refusal, refuse};

/// The stages of a receipt, in order.
pub const STAGES: [Stage; 5] = [Stage::Checkpoint, Stage::Inclusion, Stage::Quorum, Stage::InForce, Stage::Freshness];

/// Checkpoints that are remembered while many bundles are verified.
const MAX_HEADS: usize = 1024;

/// A place in a log, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The log.
    pub origin: String,
    /// The index of the entry.
    pub index: u64,
    /// The size of the tree that it is proven under.
    pub size: u64,
    /// The root of that tree.
    pub root: Hash,
    /// The witnesses whose cosignatures count; empty when no quorum is asked for.
    pub witnesses: Vec<Slug>,
    /// What their times prove; none without a quorum.
    pub times: Option<Times>,
}

/// What the times of cosignatures prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The bundle was logged no later than this.
    pub logged_by: Timestamp,
    /// The tree was the log's newest no earlier than this.
    pub current_at: Timestamp,
}

/// What a receipt proved, and which of its stages passed; the others are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) receipt: Option<Receipt>,
    pub(crate) passed: Vec<Stage>,
}

/// Whether a revocation of the signer can be judged by a receipt, which comes last.
pub(crate) fn decides(bundle: &Bundle, policy: &Policy) -> bool {
    policy.receipts != Receipts::Ignore && bundle.log_entry.is_some() && policy.keyring.log().is_some()
}

/// Checks the receipt of a bundle whose signature is verified, and the digest of whose payload is known.
pub(crate) fn check(
    bundle: &Bundle,
    payload: Digest,
    signer: &Key,
    finished_at: Timestamp,
    policy: &Policy,
    now: Timestamp,
    heads: &Heads,
) -> Result<Proven, Refused> {
    let missing = |why: &str| match policy.receipts {
        Receipts::Require => refuse(Stage::Checkpoint, Code::ReceiptMissing, why),
        Receipts::Read | Receipts::Ignore => Ok(Proven::default()),
    };
    let Some(entry) = bundle.log_entry.as_ref().filter(|_| policy.receipts != Receipts::Ignore) else {
        return missing("the bundle has no log entry");
    };
    let Some(log) = log_key(&policy.keyring) else { return missing("the keyring names no log") };
    let mut passed = Vec::new();

    let shared = heads.of(&entry.checkpoint, &log);
    let head = shared.head.as_ref().map_err(Refused::clone)?;
    passed.push(Stage::Checkpoint);

    let leaf = Leaf::with_payload(payload, None, bundle, [signer.public_key.to_spki_pem().as_str()]).to_bytes();
    inclusion(&leaf, entry, &log, head)?;
    passed.push(Stage::Inclusion);

    let (witnesses, times) = shared.quorum.get_or_init(|| quorum_at(head, &policy.keyring, now)).clone()?;
    if times.is_some() {
        passed.push(Stage::Quorum);
    }

    if !signer.in_force(entry.index) {
        return refuse(Stage::InForce, Code::KeyRevoked, format!("key {} at entry {}", signer.name, entry.index));
    }
    passed.push(Stage::InForce);

    if let Some(times) = &times {
        fresh(times, finished_at, policy, now)?;
        passed.extend(policy.max_age_seconds.map(|_| Stage::Freshness));
    }
    let checkpoint = head.checkpoint();
    let receipt = Receipt {
        origin: checkpoint.origin().to_owned(),
        index: entry.index,
        size: checkpoint.size(),
        root: *checkpoint.root(),
        witnesses,
        times,
    };
    Ok(Proven { receipt: Some(receipt), passed })
}

/// Checkpoints that were verified under one keyring at one time: bundles that share one have it verified once.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<BTreeMap<String, Arc<Shared>>>);

/// The witnesses that count, and what their times prove.
pub type Quorum = (Vec<Slug>, Option<Times>);

/// A checkpoint, and what its cosignatures prove once anybody has asked.
#[derive(Debug)]
struct Shared {
    head: Result<SignedCheckpoint, Refused>,
    quorum: OnceLock<Result<Quorum, Refused>>,
}

impl Heads {
    /// A checkpoint by its text, which alone decides what comes of it.
    fn of(&self, text: &str, log: &NoteKey) -> Arc<Shared> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Arc::clone(known);
        }
        // Two that are as fast as each other compute the same.
        let head = open(text.as_bytes(), log);
        let head = head.map_err(|error| refusal(Stage::Checkpoint, Code::ReceiptCheckpoint, error));
        let shared = Arc::new(Shared { head, quorum: OnceLock::new() });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_HEADS {
            known.insert(text.to_owned(), Arc::clone(&shared));
        }
        shared
    }
}

/// The key that signs checkpoints, as notes know it.
pub fn log_key(keyring: &Keyring) -> Option<NoteKey> {
    note_key(keyring.log()?, KeyKind::Log)
}

/// The keys of the witnesses that a keyring trusts at a size of the log, with their names in it.
pub fn witness_keys(keyring: &Keyring, size: u64) -> Vec<(Slug, NoteKey)> {
    let witnesses = keyring.keys().iter().filter(|key| key.role == Role::Witness && key.in_force(size));
    witnesses.filter_map(|key| Some((key.name.clone(), note_key(key, KeyKind::Witness)?))).collect()
}

fn note_key(key: &Key, kind: KeyKind) -> Option<NoteKey> {
    NoteKey::new(key.note_name.as_ref()?.as_str(), kind, key.public_key).ok()
}

fn inclusion(leaf: &[u8], entry: &LogEntry, log: &NoteKey, head: &SignedCheckpoint) -> Result<(), Refused> {
    let refused = |why: String| refusal(Stage::Inclusion, Code::ReceiptInclusion, why);
    if leaf != entry.body {
        return Err(refused("the leaf is that of another bundle".to_owned()));
    }
    let checkpoint = head.checkpoint();
    if entry.log_id != *log.key_hash() || entry.size != checkpoint.size() || entry.root != *checkpoint.root().as_bytes()
    {
        return Err(refused("the log entry names another log or tree than its checkpoint".to_owned()));
    }
    let path: Vec<Hash> = entry.hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect();
    let led = check_inclusion(&Hash::of_leaf(leaf), entry.index, checkpoint.size(), &path, checkpoint.root());
    led.map_err(|error| refused(error.to_string()))
}

/// The witnesses that count, and what their times prove; nothing when the keyring asks for no quorum.
pub fn quorum(head: &SignedCheckpoint, keyring: &Keyring) -> Result<Quorum, Refused> {
    counted(head, keyring, u64::MAX)
}

/// The same for a reader with a clock: what was cosigned later than now, by more than clocks may differ, does not count.
pub fn quorum_at(head: &SignedCheckpoint, keyring: &Keyring, now: Timestamp) -> Result<Quorum, Refused> {
    let latest = now.unix_seconds().saturating_add(MAX_CLOCK_SKEW_SECONDS);
    counted(head, keyring, u64::try_from(latest).unwrap_or(0))
}

/// What the cosignatures prove that are not later than `latest`.
fn counted(head: &SignedCheckpoint, keyring: &Keyring, latest: u64) -> Result<Quorum, Refused> {
    let refused = |why: String| refusal(Stage::Quorum, Code::ReceiptQuorum, why);
    let Some(quorum) = keyring.quorum() else { return Ok((Vec::new(), None)) };
    let (names, keys): (Vec<Slug>, Vec<NoteKey>) = witness_keys(keyring, head.checkpoint().size()).into_iter().unzip();
    let cosigned = head.cosignatures(&keys).map_err(|error| refused(error.to_string()))?;
    let (counted, early): (Vec<_>, Vec<_>) = cosigned.into_iter().partition(|(_, time)| *time <= latest);
    let times: Vec<u64> = counted.iter().map(|(_, time)| *time).collect();
    // Fewer than the quorum are taken to lie.
    let faulty = (quorum as usize).saturating_sub(1);
    let (Some(upper), Some(lower)) = (upper_bound(&times, faulty), lower_bound(&times, faulty)) else {
        let early = match early.len() {
            0 => String::new(),
            early => format!("; {early} more cosigned at a time that has not come yet"),
        };
        return Err(refused(format!("{} witnesses of this keyring cosigned, and {quorum} must{early}", counted.len())));
    };
    let time = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(Timestamp::from_unix_seconds);
        time.ok_or_else(|| refused(format!("a cosignature of the time {seconds}")))
    };
    let times = Times { logged_by: time(upper)?, current_at: time(lower)? };
    Ok((counted.into_iter().filter_map(|(at, _)| names.get(at).cloned()).collect(), Some(times)))
}

fn fresh(times: &Times, finished_at: Timestamp, policy: &Policy, now: Timestamp) -> Result<(), Refused> {
    if finished_at.unix_seconds() - times.logged_by.unix_seconds() > MAX_CLOCK_SKEW_SECONDS {
        let detail = format!("finished at {finished_at}, and logged by {}", times.logged_by);
        return refuse(Stage::Freshness, Code::ReceiptTimes, detail);
    }
    let age = now.unix_seconds() - times.current_at.unix_seconds();
    if policy.max_age_seconds.is_some_and(|max| age > max) {
        let detail = format!("the tree was the newest at {}, and it is {now}", times.current_at);
        return refuse(Stage::Freshness, Code::ReceiptStale, detail);
    }
    Ok(())
}
