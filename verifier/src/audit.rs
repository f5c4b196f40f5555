//! The audit: is a publisher's log still the one it was, and is everything that is shown what the log says?
//!
//! An [`Audit`] does no I/O. It says what it wants of the publisher ([`Audit::wants`]), is handed the bytes
//! ([`Audit::give`]), and keeps what it finds ([`Audit::found`]). It trusts one keyring, whose digest its caller knows
//! from elsewhere, and through it the log's key; everything else it computes from the log's own bytes, and compares:
//!
//! | step | wanted | what must hold |
//! |---|---|---|
//! | 1 | checkpoint | the log's key signed it, for as many entries as a log can have; the log has not shrunk below what was seen before |
//! | 2 | view, keyring | the view is not older than that checkpoint |
//! | 3 | checkpoint | not older than the view |
//! | 4 | tiles | the entries have the root that was signed, at this size, at that of step 1, and at that of the last audit; the tiles of hashes follow from the entries |
//! | 5 | bundles, feed | each is the one that its entry was made from; the verifier accepts it as it would for publication, under the keyring in force there; the [`crate::ledger`] admits it; no bundle is there twice; the feed tells the same |
//! | 6 | | the fold of the entries is the view, byte for byte; the keyring is the one in force; the trusted one is among the log's; as many witnesses cosigned as the keyring in force asks for, and not too long ago |
//!
//! Whatever else is found, a checkpoint whose tree was read and contains what was seen before is one that the log has
//! signed, and is seen from then on ([`Audit::last`]): a log that shows it to one reader, without its witnesses, and
//! another one later, has forked.
//!
//! How long ago a run was finished when it was submitted, and how many results a key submitted in a day, nobody can
//! tell from the log, and no audit checks.
//!
//! Bundles are judged one by one, by an [`Examiner`] on as many threads as there are; what order decides is folded in
//! order, by [`Audit::admit`]. An audit that ended well can be continued from where it is: it then wants what is new,
//! and that the new tree begins with the old one follows from both roots.

mod alteration;
mod compare;
pub mod report;
mod resource;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_schemas::feed::{Entry, Page};
use smi_schemas::json;
use smi_schemas::leaf::{Leaf, envelope_json};
use smi_schemas::names::Slug;
use smi_schemas::{Digest, Timestamp};

pub use self::alteration::Alteration;
pub use self::resource::{MAX_PAGE_BYTES, MAX_VIEW_BYTES, Resource};
use crate::ledger::Ledger;
use crate::merkle::{Hash, TILE_WIDTH, Tree};
use crate::note::{NoteError, NoteKey, SignedCheckpoint, open};
use crate::policy::{Policy, Suites};
use crate::receipt::{Times, log_key, quorum_at};
use crate::said::{Said, Signed, Trusted, What, verify_first, verify_logged};
use crate::tile::{Needed, TileKind, TilePath, decode_entries, decode_hashes};
use crate::view::{Document, View};
use crate::{Finding, Refused};

/// What is found at most; an audit that found so much ends.
pub const MAX_FOUND: usize = 64;

/// How often a checkpoint is asked for that is older than a view which was served before it, or than one that was seen
/// before. A publisher shows the view a moment before the checkpoint, and a cache may have kept an old one.
pub const CHECKPOINT_TRIES: u32 = 5;

/// Entries of the largest log: a [`View`] counts them in 32 bits.
pub const MAX_ENTRIES: u64 = 1 << 32;

/// Tiles that are wanted at once, whatever size was signed.
pub const TILES_AT_ONCE: usize = 128;

/// How old a checkpoint may be by its witnesses' clocks, unless another age is asked for. A publisher has that of an
/// idle log cosigned anew every ten minutes.
pub const MAX_AGE_SECONDS: i64 = 3600;

/// A part of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The log's key signed the checkpoint.
    Checkpoint,
    /// The log contains the one that was seen before.
    Consistency,
    /// Entries and hashes have the root that was signed.
    Tree,
    /// Each entry belongs there, and its bundle is served.
    Entries,
    /// The view is the fold of the entries.
    View,
    /// The keyring is the one in force, and the trusted one is among the log's.
    Keyring,
    /// The feed tells what the entries say.
    Feed,
    /// As many witnesses cosigned as must.
    Quorum,
    /// They did so lately.
    Freshness,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 9] = [
        Self::Checkpoint,
        Self::Consistency,
        Self::Tree,
        Self::Entries,
        Self::View,
        Self::Keyring,
        Self::Feed,
        Self::Quorum,
        Self::Freshness,
    ];

    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Consistency => "consistency",
            Self::Tree => "tree",
            Self::Entries => "entries",
            Self::View => "view",
            Self::Keyring => "keyring",
            Self::Feed => "feed",
            Self::Quorum => "quorum",
            Self::Freshness => "freshness",
        }
    }
}

/// What is admitted beside official results.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The suites that are known.
    pub suites: Suites,
    /// Results of the sandbox, as a demonstration's log has them.
    pub allow_sandbox: bool,
    /// Draft suites.
    pub allow_draft: bool,
    /// The greatest age of a checkpoint by its witnesses' clocks, such as [`MAX_AGE_SECONDS`]; not checked without a
    /// quorum.
    pub max_age_seconds: i64,
}

/// What an audit wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// This, to be [given](Audit::give).
    One(Resource),
    /// These tiles, [`TILES_AT_ONCE`] at most, to be given in this order. There may be more after them.
    Tiles(Vec<TilePath>),
    /// The bundles of these entries, to be examined and [admitted](Audit::admit) in order.
    Bundles(Range<u64>),
    /// To be [finished](Audit::finish): there is nothing more to ask for.
    Nothing,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // counts of what their names say
pub struct Counts {
    pub results: u64,
    pub reviews: u64,
    pub withdrawals: u64,
    pub supersessions: u64,
    pub suites: u64,
    pub keyrings: u64,
    /// Signatures on all of these.
    pub signatures: u64,
    /// Statuses that were computed again from suite and observations.
    pub statuses: u64,
}

/// Why an audit cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The trusted keyring names no log.
    #[error("keyring version {version} has no key with the role log")]
    NoLog {
        /// Its version.
        version: u64,
    },
    /// What was seen last is not a checkpoint of this log.
    #[error("the last checkpoint: {0}")]
    Last(NoteError),
}

impl BeginError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::NoLog { .. } => Code::AuditLogUnnamed,
            Self::Last(_) => Code::AuditStateInvalid,
        }
    }
}

/// An audit under way.
#[derive(Debug)]
pub struct Audit {
    anchor: Trusted,
    /// The log's keyrings include the trusted one.
    anchored: bool,
    log: NoteKey,
    policy: Arc<Policy>,
    /// What was seen before, in another audit or in this one.
    last: Option<SignedCheckpoint>,
    max_age_seconds: i64,
    round: Round,
    tree: Tree,
    /// What the leaves say whose bundles were not seen yet.
    pending: VecDeque<Result<Logged, String>>,
    payloads: BTreeMap<Digest, u64>,
    ledger: Ledger,
    fold: View,
    /// Entries that were not compared with the feed yet, the last ones of the fold.
    untold: VecDeque<Entry>,
    counts: Counts,
    found: Vec<Alteration>,
}

/// What a leaf names.
#[derive(Clone, Copy, Debug)]
struct Logged {
    payload: Digest,
    envelope: Digest,
}

/// What is known since the audit began, or was continued.
#[derive(Debug, Default)]
struct Round {
    floor: Option<SignedCheckpoint>,
    view: Option<Shown>,
    keyring: Option<Digest>,
    target: Option<SignedCheckpoint>,
    tries: u32,
    /// Tiles that are wanted now.
    tiles: VecDeque<TilePath>,
    /// Those that are wanted after them.
    further: Option<Needed>,
    is_sealed: bool,
    /// Hashes of entries that tiles have otherwise than the entries.
    hashes: BTreeMap<u64, Hash>,
    /// What is wrong with tiles, if the entries are right.
    unequal: Vec<Alteration>,
    /// Digests of the keyrings in force at some size that may have been shown.
    keyrings: Vec<Digest>,
    passed: BTreeSet<Check>,
    /// What was found ends the audit.
    is_over: bool,
}

/// The view, as served.
#[derive(Debug)]
struct Shown {
    size: u64,
    bytes: Vec<u8>,
}

/// What an audit that ended well says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// The checkpoint that everything was held against.
    pub head: SignedCheckpoint,
    /// The keyring in force.
    pub keyring: Arc<Trusted>,
    /// The witnesses whose cosignatures count.
    pub witnesses: Vec<Slug>,
    /// What their times prove; none where no quorum is asked for.
    pub times: Option<Times>,
}

/// Judges bundles, each by itself. Clones are cheap, and may be used on other threads.
#[derive(Clone, Debug)]
pub struct Examiner {
    policy: Arc<Policy>,
    now: Timestamp,
}

/// A bundle that was judged by itself. The bytes of what is sound are let go of where they were read.
#[derive(Debug)]
pub struct Examined(Result<Judged, Undecided>);

/// A keyring, which follows the one in force; or what was refused, perhaps under a keyring that is older or newer.
#[derive(Debug)]
struct Undecided {
    bundle: Vec<u8>,
    now: Timestamp,
}

/// What a bundle says, as the log needs it.
#[derive(Debug)]
struct Judged {
    said: Box<Said>,
    leaf: Hash,
    /// Statuses that were computed again.
    statuses: u64,
}

impl Examiner {
    /// Judges a bundle, as it was served.
    pub fn examine(&self, bundle: Vec<u8>) -> Examined {
        let sound = verify_logged(&bundle, &self.policy, self.now).ok();
        let judged = sound.filter(|signed| signed.said().keyring().is_none()).map(Judged::of);
        Examined(judged.ok_or(Undecided { bundle, now: self.now }))
    }
}

impl Judged {
    fn of(signed: Signed<'_>) -> Self {
        let statuses = match signed.said().says() {
            What::Result(verified) => verified.statement().predicate.assertions.len() as u64,
            _ => 0,
        };
        let leaf = Hash::of_leaf(&signed.leaf().to_bytes());
        Self { said: Box::new(signed.into_said()), leaf, statuses }
    }
}

impl Audit {
    /// An audit that trusts a keyring. `last` is the newest checkpoint that an earlier audit saw, as a signed note.
    pub fn new(anchor: Trusted, rules: Rules, last: Option<&[u8]>) -> Result<Self, BeginError> {
        let no_log = BeginError::NoLog { version: anchor.keyring.version() };
        let log = log_key(&anchor.keyring).ok_or(no_log)?;
        let last = last.map(|note| open(note, &log)).transpose().map_err(BeginError::Last)?;
        let Rules { suites, allow_sandbox, allow_draft, max_age_seconds } = rules;
        let policy = Policy { allow_sandbox, allow_draft, ..Policy::of_log(anchor.keyring.clone(), suites) };
        Ok(Self {
            anchor,
            anchored: false,
            log,
            policy: Arc::new(policy),
            last,
            max_age_seconds,
            round: Round::default(),
            tree: Tree::default(),
            pending: VecDeque::new(),
            payloads: BTreeMap::new(),
            ledger: Ledger::default(),
            fold: View::default(),
            untold: VecDeque::new(),
            counts: Counts::default(),
            found: Vec::new(),
        })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.log.name()
    }

    /// The newest checkpoint that was seen, before this audit or in it: the log signed it, its entries have its root, and
    /// it contains what was seen before it. Whether it was cosigned, and whether all else is as it must be, is not said.
    pub fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// A checkpoint that this log's key signed.
    pub fn open(&self, note: &[u8]) -> Result<SignedCheckpoint, BeginError> {
        open(note, &self.log).map_err(BeginError::Last)
    }

    /// The signed checkpoints that show what was found, as notes: those that contradict each other, or else the one that
    /// everything is held against.
    pub fn evidence(&self, found: &Alteration) -> Vec<String> {
        found.evidence(self.round.target.as_ref().or(self.round.floor.as_ref()))
    }

    /// The checkpoint that is audited, once there is one.
    pub fn target(&self) -> Option<&SignedCheckpoint> {
        self.round.target.as_ref()
    }

    /// How much was checked so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is wrong, in the order in which it was found.
    pub fn found(&self) -> &[Alteration] {
        &self.found
    }

    /// The checks that passed.
    pub fn passed(&self) -> &BTreeSet<Check> {
        &self.round.passed
    }

    /// The keyring in force for the next entry.
    pub fn trusted(&self) -> Option<&Arc<Trusted>> {
        self.ledger.trusted()
    }

    /// What the audit wants next.
    pub fn wants(&self) -> Want {
        let round = &self.round;
        let Some(target) = round.target.as_ref().filter(|_| !round.is_over) else {
            return match round {
                Round { is_over: true, .. } => Want::Nothing,
                Round { floor: Some(_), view: None, .. } => Want::One(Resource::View),
                Round { floor: Some(_), keyring: None, .. } => Want::One(Resource::Keyring),
                _ => Want::One(Resource::Checkpoint),
            };
        };
        let (size, folded) = (target.checkpoint().size(), self.fold.size());
        if !round.is_sealed {
            return Want::Tiles(round.tiles.iter().copied().collect());
        }
        if folded < size {
            return Want::Bundles(folded..size);
        }
        match self.untold.front() {
            Some(entry) => Want::One(Resource::Feed { after: entry.index.checked_sub(1) }),
            None => Want::Nothing,
        }
    }

    /// Takes what was wanted.
    pub fn give(&mut self, what: Resource, bytes: &[u8]) {
        match what {
            Resource::Checkpoint => self.checkpoint(bytes),
            Resource::View => self.view(bytes),
            Resource::Keyring => self.round.keyring = Some(Digest::of(bytes)),
            Resource::Tile(path) => self.tile(path, bytes),
            Resource::Feed { after } => self.page(after, bytes),
            // Bundles are examined first.
            Resource::Bundle(_) => {}
        }
    }

    /// Takes that what was wanted is not there, although the publisher answers.
    pub fn absent(&mut self, what: Resource) {
        let index = match what {
            Resource::Bundle(_) => Some(self.ledger.size()),
            _ => None,
        };
        self.stop(Alteration::Missing { what, index });
    }

    /// Something was found.
    fn find(&mut self, alteration: Alteration) {
        self.found.push(alteration);
        self.round.is_over |= self.found.len() >= MAX_FOUND;
    }

    /// Something was found after which nothing more can be told.
    fn stop(&mut self, alteration: Alteration) {
        self.find(alteration);
        self.round.is_over = true;
    }

    fn checkpoint(&mut self, bytes: &[u8]) {
        let head = match open(bytes, &self.log) {
            Ok(head) => head,
            Err(error) => return self.stop(Alteration::Checkpoint { why: error.to_string() }),
        };
        if head.checkpoint().size() > MAX_ENTRIES {
            return self.stop(Alteration::TooLarge { served: Box::new(head) });
        }
        let seen = self.round.floor.as_ref().or(self.last.as_ref());
        match seen.and_then(|seen| self.not_grown(seen, &head)) {
            // An old copy on the way explains it, until it was asked for often enough.
            Some(Alteration::Rollback { .. }) if self.may_ask_again() => return,
            Some(alteration) => return self.stop(alteration),
            None => {}
        }
        let Some(view) = &self.round.view else {
            (self.round.floor, self.round.tries) = (Some(head), 0);
            return;
        };
        let (view, size) = (view.size, head.checkpoint().size());
        if view > size {
            if !self.may_ask_again() {
                let found = format!("there are {view} entries");
                let expected = format!("the checkpoint that is served after it is of {size}");
                self.stop(Alteration::View { size: view, place: "size".to_owned(), expected, found });
            }
            return;
        }
        self.round.further = Some(TilePath::needed(size, self.tree.size()..size));
        self.round.target = Some(head);
        self.round.passed.insert(Check::Checkpoint);
        self.want_tiles();
    }

    /// Counts an answer that asking again may explain away.
    fn may_ask_again(&mut self) -> bool {
        self.round.tries += 1;
        self.round.tries < CHECKPOINT_TRIES
    }

    /// Wants further tiles once those are read that were wanted; after the last, the tree is whole.
    fn want_tiles(&mut self) {
        if !self.round.tiles.is_empty() {
            return;
        }
        let further = self.round.further.iter_mut().flatten();
        self.round.tiles.extend(further.take(TILES_AT_ONCE));
        if self.round.tiles.is_empty() {
            self.seal();
        }
    }

    /// What is wrong with a checkpoint after another one, as far as sizes and the tree so far tell.
    fn not_grown(&self, seen: &SignedCheckpoint, head: &SignedCheckpoint) -> Option<Alteration> {
        let (before, now) = (seen.checkpoint(), head.checkpoint());
        let fork = |found| Alteration::Fork { seen: Box::new(seen.clone()), served: Box::new(head.clone()), found };
        if now.size() == before.size() {
            return (now.root() != before.root()).then(|| fork(*now.root()));
        }
        if now.size() > before.size() {
            return None;
        }
        // A smaller tree may still be one that the log never had.
        match self.tree.root_at(now.size()) {
            Some(root) if now.size() <= self.tree.size() && root != *now.root() => Some(fork(*now.root())),
            _ => {
                let (seen, served) = (Box::new(seen.clone()), Box::new(head.clone()));
                Some(Alteration::Rollback { seen, served })
            }
        }
    }

    fn view(&mut self, bytes: &[u8]) {
        let floor = self.round.floor.as_ref().map_or(0, |floor| floor.checkpoint().size());
        let view = |size, place: &str, expected: String, found: String| Alteration::View {
            size,
            place: place.to_owned(),
            expected,
            found,
        };
        match json::parse_exact::<Document>(bytes, MAX_VIEW_BYTES) {
            Err(error) => {
                let expected = "a document in the one form that a view has".to_owned();
                self.stop(view(0, "the document", expected, error.to_string()));
            }
            Ok(document) if document.size < floor => {
                let expected = format!("the checkpoint that was served before it is of {floor}");
                self.stop(view(document.size, "size", expected, "it is older".to_owned()));
            }
            Ok(document) => self.round.view = Some(Shown { size: document.size, bytes: bytes.to_owned() }),
        }
    }

    fn tile(&mut self, path: TilePath, bytes: &[u8]) {
        if self.round.tiles.front() != Some(&path) {
            return;
        }
        self.round.tiles.pop_front();
        let taken = match path.kind() {
            TileKind::Entries => self.leaves(path, bytes),
            TileKind::Hashes { level } => self.hashes(path, level, bytes),
        };
        if let Err(alteration) = taken {
            self.stop(alteration);
        } else {
            self.want_tiles();
        }
    }

    fn leaves(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), Alteration> {
        let leaves = decode_entries(bytes, path.width()).map_err(|error| malformed(path, &error))?;
        for (index, leaf) in (path.index() * u64::from(TILE_WIDTH)..).zip(leaves) {
            let found = Hash::of_leaf(leaf);
            match self.tree.leaf(index) {
                Some(signed) if signed != found => return Err(Alteration::Entry { index, signed, found }),
                Some(_) => {}
                None => {
                    self.tree.push(found);
                    let named = |leaf: Leaf| Logged { payload: leaf.payload(), envelope: leaf.envelope() };
                    self.pending.push_back(Leaf::read(leaf).map(named).map_err(|error| error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Which of two is wrong where a tile contradicts the entries is known when all are read.
    fn hashes(&mut self, path: TilePath, level: u8, bytes: &[u8]) -> Result<(), Alteration> {
        let served = decode_hashes(bytes, path.width()).map_err(|error| malformed(path, &error))?;
        let computed = self.tree.hashes(level, path.index(), path.width()).unwrap_or_default();
        let mut unequal = served.iter().zip(&computed).enumerate().filter(|(_, (served, computed))| served != computed);
        if let Some((at, (found, expected))) = unequal.clone().next() {
            let (found, expected) = (found.to_base64(), expected.to_base64());
            let why = format!("hash {at} is {found}, and the entries have {expected} there");
            self.round.unequal.push(Alteration::Tile { tile: Resource::Tile(path), why });
        }
        if level == 0 {
            let first = path.index() * u64::from(TILE_WIDTH);
            self.round.hashes.extend(unequal.by_ref().map(|(at, (served, _))| (first + at as u64, *served)));
        }
        Ok(())
    }

    /// All tiles are read: the tree is the one that was signed, or what was changed is named.
    fn seal(&mut self) {
        let Some(target) = self.round.target.clone() else { return };
        self.round.is_sealed = true;
        let (size, signed) = (target.checkpoint().size(), *target.checkpoint().root());
        let (hashes, unequal) = (std::mem::take(&mut self.round.hashes), std::mem::take(&mut self.round.unequal));
        let found = self.tree.root();
        if found != signed {
            if !hashes.is_empty() && self.tree_with(&hashes).root() == signed {
                for (index, signed) in hashes {
                    let found = self.tree.leaf(index).unwrap_or(Hash::EMPTY);
                    self.stop(Alteration::Entry { index, signed, found });
                }
            } else {
                self.stop(Alteration::Root { size, signed, found });
            }
            return;
        }
        for alteration in unequal {
            self.find(alteration);
        }
        let seen: Vec<_> = [&self.last, &self.round.floor].into_iter().flatten().cloned().collect();
        for seen in seen {
            let found = self.tree.root_at(seen.checkpoint().size()).unwrap_or(Hash::EMPTY);
            if found != *seen.checkpoint().root() {
                return self.stop(Alteration::Fork { seen: Box::new(seen), served: Box::new(target), found });
            }
        }
        self.round.passed.extend([Check::Tree].iter().filter(|_| self.found.is_empty()));
        self.round.passed.extend(self.last.as_ref().map(|_| Check::Consistency));
        // Whatever else is found, and whoever cosigned it: the log signed it.
        self.last = Some(target);
        self.round.keyrings = self.ledger.trusted().map(|trusted| trusted.digest).into_iter().collect();
        self.shown();
    }

    /// The tree of the entries, with other hashes in some places.
    fn tree_with(&self, hashes: &BTreeMap<u64, Hash>) -> Tree {
        let mut tree = Tree::default();
        for index in 0..self.tree.size() {
            let hash = hashes.get(&index).copied().or_else(|| self.tree.leaf(index));
            tree.push(hash.unwrap_or(Hash::EMPTY));
        }
        tree
    }

    /// Where the bundle of an entry is that was not admitted yet; none if its leaf names none.
    pub fn bundle(&self, index: u64) -> Option<Resource> {
        let at = usize::try_from(index.checked_sub(self.ledger.size())?).ok()?;
        self.pending.get(at)?.as_ref().ok().map(|logged| Resource::Bundle(logged.payload))
    }

    /// Judges bundles under the newest keyring so far.
    pub fn examiner(&self, now: Timestamp) -> Examiner {
        Examiner { policy: Arc::clone(&self.policy), now }
    }

    /// Takes the bundle of the next entry, and gives the entry that it is, unless it must not be there. What has no
    /// bundle is taken with empty bytes.
    pub fn admit(&mut self, examined: Examined) -> Option<Entry> {
        if self.round.is_over || !self.round.is_sealed {
            return None;
        }
        let logged = self.pending.pop_front()?;
        match self.admitted(logged, examined) {
            Ok(entry) => Some(entry),
            Err(alteration) => {
                self.stop(alteration);
                None
            }
        }
    }

    fn admitted(&mut self, logged: Result<Logged, String>, examined: Examined) -> Result<Entry, Alteration> {
        let index = self.ledger.size();
        let logged = logged.map_err(|why| {
            let grounds = vec![Finding { code: Code::BundleShape, detail: format!("the leaf: {why}") }];
            let payload = Digest::of(b"");
            Alteration::Refused { index, payload, grounds }
        })?;
        let payload = logged.payload;
        if let Some(first) = self.payloads.insert(payload, index) {
            return Err(Alteration::Repeated { index, first, payload });
        }
        let Judged { said, leaf, statuses } = self.judged(index, &logged, examined)?;
        if self.tree.leaf(index) != Some(leaf) {
            let why = if said.payload() == payload {
                "the same payload, signed or wrapped otherwise".to_owned()
            } else {
                format!("{}, signed by {}", said.payload(), signers(&said))
            };
            return Err(Alteration::Leaf { index, payload, why });
        }
        let entry = self.ledger.admit(&said);
        let entry = entry.map_err(|finding| Alteration::Refused { index, payload, grounds: vec![finding] })?;
        self.counts.statuses += statuses;
        self.add(&entry, &said)?;
        Ok(entry)
    }

    /// A bundle under the keyring in force.
    fn judged(&self, index: u64, logged: &Logged, examined: Examined) -> Result<Judged, Alteration> {
        let Undecided { bundle, now } = match examined.0 {
            Ok(judged) => return Ok(judged),
            Err(undecided) => undecided,
        };
        let refused = match self.ledger.trusted() {
            None => verify_first(&bundle).map(Judged::of),
            Some(_) => verify_logged(&bundle, &self.policy, now).map(Judged::of),
        };
        let payload = logged.payload;
        refused.map_err(|Refused { findings: grounds, .. }| match Bundle::read(&bundle) {
            Err(error) => Alteration::Leaf { index, payload, why: format!("no bundle: {error}") },
            Ok(other) if other.payload_digest() != payload => {
                Alteration::Leaf { index, payload, why: other.payload_digest().to_string() }
            }
            Ok(other) if Digest::of(&envelope_json(&other)) != logged.envelope => {
                Alteration::Leaf { index, payload, why: "the same payload, signed or wrapped otherwise".to_owned() }
            }
            Ok(_) => match &grounds[..] {
                [Finding { code: Code::SuiteUnknown, detail }] => {
                    Alteration::SuiteUnknown { index, payload, detail: detail.clone() }
                }
                _ => Alteration::Refused { index, payload, grounds },
            },
        })
    }

    /// Folds an entry in.
    fn add(&mut self, entry: &Entry, said: &Said) -> Result<(), Alteration> {
        let counts = &mut self.counts;
        counts.signatures += said.signers().len() as u64;
        match said.says() {
            What::Result(_) => counts.results += 1,
            What::Suite(_) => counts.suites += 1,
            What::Keyring(..) => counts.keyrings += 1,
            What::Review(_) => counts.reviews += 1,
            What::Withdrawal(_) => counts.withdrawals += 1,
            What::Supersession(_) => counts.supersessions += 1,
        }
        let keyring = said.keyring();
        self.fold.add(entry, keyring.map(|trusted| &trusted.keyring));
        self.ledger.add(entry, keyring.cloned());
        self.untold.push_back(entry.clone());
        if let Some(trusted) = keyring {
            self.renew(entry.index, trusted)?;
        }
        self.shown();
        Ok(())
    }

    /// Another keyring is in force.
    fn renew(&mut self, index: u64, trusted: &Arc<Trusted>) -> Result<(), Alteration> {
        let (version, anchor) = (self.anchor.keyring.version(), self.anchor.digest);
        if trusted.keyring.version() == version {
            if trusted.digest != anchor {
                let found = format!("{} as version {version}, in entry {index}", trusted.digest);
                return Err(Alteration::Untrusted { version, trusted: anchor, found });
            }
            self.anchored = true;
        }
        self.policy = Arc::new(Policy { keyring: trusted.keyring.clone(), ..Policy::clone(&self.policy) });
        let floor = self.round.floor.as_ref().map_or(0, |floor| floor.checkpoint().size());
        if self.ledger.size() <= floor {
            self.round.keyrings.clear();
        }
        self.round.keyrings.push(trusted.digest);
        Ok(())
    }

    /// Compares the view, if it is of what was folded so far.
    fn shown(&mut self) {
        let size = self.fold.size();
        let Some(view) = self.round.view.as_ref().filter(|view| view.size == size) else { return };
        match compare::views(&self.fold.document(), &view.bytes) {
            None => {
                self.round.passed.insert(Check::View);
            }
            Some(compare::Difference { place, expected, found }) => {
                self.find(Alteration::View { size, place, expected, found });
            }
        }
    }

    /// A page of the feed. Entries that were told before, or that the audited log does not have yet, are read over.
    fn page(&mut self, after: Option<u64>, bytes: &[u8]) {
        if let Err(compare::Difference { place, expected, found }) = self.told(after, bytes) {
            self.untold.clear();
            self.find(Alteration::Feed { place, expected, found });
        }
    }

    fn told(&mut self, after: Option<u64>, bytes: &[u8]) -> Result<(), compare::Difference> {
        let differs = |place: String, expected: String, found: String| compare::Difference { place, expected, found };
        let page = Resource::Feed { after };
        let page: Page = json::parse_exact(bytes, MAX_PAGE_BYTES)
            .map_err(|error| differs(page.to_string(), "a page of entries".to_owned(), error.to_string()))?;
        let size = self.round.target.as_ref().map_or(0, |head| head.checkpoint().size());
        if page.size < size {
            return Err(differs("size".to_owned(), size.to_string(), page.size.to_string()));
        }
        let first = after.map_or(0, |after| after.saturating_add(1));
        let mut next = first;
        for entry in &page.entries {
            if entry.index != next {
                return Err(differs(
                    format!("entry {next}"),
                    "it is there".to_owned(),
                    format!("entry {}", entry.index),
                ));
            }
            next += 1;
            if self.untold.front().is_some_and(|untold| untold.index == entry.index)
                && let Some(untold) = self.untold.pop_front()
                && untold != *entry
            {
                return Err(differs(format!("entry {}", entry.index), compare::text(&untold), compare::text(entry)));
            }
        }
        if next == first && first < page.size {
            return Err(differs(format!("entry {first}"), "it is there".to_owned(), "the page ends".to_owned()));
        }
        let next_after = next.checked_sub(1).filter(|_| first < next && next < page.size);
        if page.next_after != next_after {
            let number = |after: Option<u64>| after.map_or("no further page".to_owned(), |after| after.to_string());
            return Err(differs("nextAfter".to_owned(), number(next_after), number(page.next_after)));
        }
        Ok(())
    }

    /// Ends the audit, or this round of it, which was begun at `now`. What was audited is then what the next round begins
    /// with; after something was found there is none.
    pub fn finish(&mut self, now: Timestamp) -> Option<Sound> {
        let sound = self.ended(now);
        if sound.is_some() {
            let passed = std::mem::take(&mut self.round.passed);
            self.round = Round { passed, ..Round::default() };
        }
        sound
    }

    /// Begins another round after one whose findings asking again may explain away. Nothing changes after others, or
    /// while a round is under way that nothing was found in.
    pub fn retry(&mut self) {
        let lasts = |found: &Alteration| found.is_proof() || matches!(found, Alteration::SuiteUnknown { .. });
        if self.found.is_empty() || self.found.iter().any(lasts) {
            return;
        }
        self.found.clear();
        self.round = Round::default();
    }

    fn ended(&mut self, now: Timestamp) -> Option<Sound> {
        let head = self.round.target.clone().filter(|_| !self.round.is_over && self.wants() == Want::Nothing)?;
        let clean = |found: &[Alteration], check| found.iter().all(|alteration| alteration.check() != check);
        self.round.passed.insert(Check::Entries);
        self.round.passed.extend([Check::Feed].iter().filter(|check| clean(&self.found, **check)));
        let trusted = self.ledger.trusted().cloned();
        if !self.anchored {
            let (version, anchor) = (self.anchor.keyring.version(), self.anchor.digest);
            let found = trusted.as_ref().map(|trusted| format!("version {} as its newest", trusted.keyring.version()));
            let found = found.unwrap_or_else(|| "no keyring".to_owned());
            self.stop(Alteration::Untrusted { version, trusted: anchor, found });
            return None;
        }
        let trusted = trusted?;
        match self.round.keyring {
            Some(found) if !self.round.keyrings.contains(&found) => {
                self.find(Alteration::Keyring { expected: trusted.digest, found });
            }
            _ => {
                self.round.passed.insert(Check::Keyring);
            }
        }
        let size = head.checkpoint().size();
        let (witnesses, times) = match quorum_at(&head, &trusted.keyring, now) {
            Ok(proven) => proven,
            Err(Refused { findings, .. }) => {
                let why = findings.first().map(|finding| finding.detail.clone()).unwrap_or_default();
                self.find(Alteration::Quorum { size, why });
                return None;
            }
        };
        self.round.passed.extend(times.map(|_| Check::Quorum));
        if let Some(Times { current_at, .. }) = times {
            if now.unix_seconds() - current_at.unix_seconds() > self.max_age_seconds {
                self.find(Alteration::Stale { size, current_at, now });
            } else {
                self.round.passed.insert(Check::Freshness);
            }
        }
        self.found.is_empty().then_some(Sound { head, keyring: trusted, witnesses, times })
    }
}

fn malformed(path: TilePath, error: &dyn fmt::Display) -> Alteration {
    Alteration::Tile { tile: Resource::Tile(path), why: error.to_string() }
}

fn signers(said: &Said) -> String {
    said.signers().iter().map(|signer| signer.name.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
