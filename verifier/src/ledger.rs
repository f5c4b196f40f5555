//! The ledger: what order decides.
//!
//! Some rules depend on nothing but what is in the log before an entry. The publisher asks [`Ledger::admit`] before it
//! appends, an auditor asks the same of every entry, and both fold what was admitted with [`Ledger::add`]:
//!
//! | entry | holds when it is admitted |
//! |---|---|
//! | any | its signers are keys of the keyring in force, and not revoked at this index |
//! | the first | is a keyring, signed by its own root keys, that names the log's key |
//! | keyring | follows the one in force: a later version, its digest, nothing taken back; the log's key stays |
//! | suite | no suite of this version is released |
//! | result | the key has no other result of the run |
//! | review | is about a result that is published after review, which has not ended |
//! | withdrawal | is about a result of the same key, which has not ended |
//! | supersession | the same, and its successor is another such result about the same mesh |
//!
//! A keyring that is admitted is in force from the next entry on.
//!
//! A revocation looks back: what the key signed from an index on does not count, and so stands in nobody's way. A
//! version that only such a release has is free, and a result that only such an entry ended has not. Run ids need no
//! such care: they are a key's own, and a key that lost one is revoked. Which of two results is the later one matters to
//! nobody here: the [`crate::view`] lets nothing but a later run fill the cell of one that has ended, whatever its
//! successor is.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use smi_schemas::Digest;
use smi_schemas::codes::Code;
use smi_schemas::feed::{Entry, Says, Tested};
use smi_schemas::names::{RunId, Slug, Version};
use smi_schemas::record::Record;
use smi_schemas::statement::Versioned;

use smi_keys::KeyId;
use smi_keys::keyring::Publish;

use crate::said::{Said, Signer, Trusted, What};
use crate::{Finding, Verified};

/// The fold of all entries that later ones are admitted by.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    size: u64,
    trusted: Option<Arc<Trusted>>,
    keys: BTreeMap<String, u32>,
    /// The keys whose results are published after review. No keyring changes that of a key.
    reviewed: BTreeSet<u32>,
    meshes: BTreeMap<Slug, u32>,
    runs: BTreeSet<(u32, RunBits)>,
    results: BTreeMap<Digest, Known>,
    suites: BTreeMap<Version, Vec<Release>>,
}

/// Bytes, because a number would be aligned, and so take more room.
type RunBits = [u8; 16];

/// What is known of a result, in few bytes: there is one for nearly every entry.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: u32,
    mesh: u32,
    /// The entry of its key that ended it. The first entry is a keyring, and 2^32 are more than any memory holds.
    ended: Option<NonZeroU32>,
}

/// A release of a suite. It is forgotten only when it is taken back: the revocation that voids it may be, too.
#[derive(Clone, Copy, Debug)]
struct Release {
    index: u64,
    key: u32,
}

impl Ledger {
    /// Entries that were folded: the index of the next one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The keyring in force for the next entry; none before the first.
    pub fn trusted(&self) -> Option<&Arc<Trusted>> {
        self.trusted.as_ref()
    }

    /// The entry that this would be, if it may be the next one.
    pub fn admit(&self, said: &Said) -> Result<Entry, Finding> {
        let Some(first) = said.signers().first() else { return refuse(Code::KeyUnknown, "nobody signed".to_owned()) };
        match (&self.trusted, said.says()) {
            (None, What::Keyring(first, None)) if first.keyring.log().is_some() => {}
            (None, _) => return refuse(Code::LogOnly, "the log has no keyring yet that names its key".to_owned()),
            (Some(_), What::Keyring(_, None)) => {
                return refuse(Code::LogOnly, "a keyring that follows none".to_owned());
            }
            (Some(trusted), What::Keyring(next, Some(previous))) => {
                if *previous != trusted.digest {
                    let detail = format!("it follows {previous}, and {} is in force", trusted.digest);
                    return refuse(Code::KeyringNotNext, detail);
                }
                let follows = trusted.keyring.check_successor(&next.keyring);
                follows.or_else(|error| refuse(Code::KeyringNotNext, error.to_string()))?;
                if next.keyring.log() != trusted.keyring.log() {
                    return refuse(Code::KeyringNotNext, "it names another key of the log".to_owned());
                }
            }
            (Some(trusted), _) => self.in_force(trusted, said.signers())?,
        }
        Ok(Entry {
            index: self.size,
            payload: said.payload(),
            signer: first.name.clone(),
            key_id: first.key.key_id().to_string(),
            says: self.says(said.says(), first)?,
        })
    }

    /// That the signers are what the keyring in force says. It may have changed since they were verified.
    fn in_force(&self, trusted: &Trusted, signers: &[Signer]) -> Result<(), Finding> {
        for signer in signers {
            let known = trusted.keyring.find(&signer.key.key_id()).filter(|key| key.name == signer.name);
            let Some(key) = known else { return refuse(Code::KeyUnknown, format!("key {}", signer.name)) };
            if !key.in_force(self.size) {
                return refuse(Code::KeyRevoked, format!("key {}", signer.name));
            }
        }
        Ok(())
    }

    fn says(&self, what: &What, signer: &Signer) -> Result<Says, Finding> {
        Ok(match what {
            What::Result(verified) => Says::Result(Box::new(self.tested(verified, signer)?)),
            What::Suite(Record { subject, says }) => {
                let mut releases = self.suites.get(&says.version).into_iter().flatten();
                if releases.any(|release| self.counts(release.key, release.index)) {
                    return refuse(Code::SuiteReleased, format!("suite {}", says.version));
                }
                Says::Suite(Versioned { version: says.version.clone(), digest: *subject })
            }
            What::Keyring(next, _) => Says::Keyring { version: next.keyring.version(), digest: next.digest },
            What::Review(Record { subject, says }) => {
                let known = self.known(subject)?;
                if !self.reviewed.contains(&known.key) {
                    return refuse(Code::ReviewUncalled, format!("result {subject}"));
                }
                self.stands(subject, known)?;
                Says::Review { result: *subject, verdict: says.verdict, reason: says.reason.clone() }
            }
            What::Withdrawal(Record { subject, says }) => {
                self.theirs(subject, signer)?;
                Says::Withdrawal { result: *subject, reason: says.reason.clone() }
            }
            What::Supersession(Record { subject, says }) => {
                let (result, by) = (self.theirs(subject, signer)?, self.theirs(&says.by, signer)?);
                if result.mesh != by.mesh {
                    return refuse(Code::SuccessorOther, format!("result {}", says.by));
                }
                Says::Supersession { result: *subject, by: says.by, reason: says.reason.clone() }
            }
        })
    }

    fn tested(&self, verified: &Verified, signer: &Signer) -> Result<Tested, Finding> {
        let predicate = &verified.statement().predicate;
        let run = &predicate.run.id;
        let key = self.keys.get(&signer.key.key_id().to_string());
        if key.is_some_and(|key| self.runs.contains(&(*key, bits(run)))) {
            return refuse(Code::RunLogged, format!("run {run}"));
        }
        let trusted = self.trusted.as_ref().and_then(|trusted| trusted.keyring.find(&signer.key.key_id()));
        Ok(Tested {
            run: run.clone(),
            mesh: predicate.mesh.slug.clone(),
            mesh_version: predicate.mesh.version.clone(),
            target: predicate.target.to_string(),
            suite: predicate.suite.version.clone(),
            finished_at: predicate.run.finished_at,
            after_review: trusted.is_none_or(|key| key.publish != Some(Publish::Direct)),
            apis: verified.apis().to_vec(),
        })
    }

    fn known(&self, result: &Digest) -> Result<Known, Finding> {
        self.results.get(result).copied().map_or_else(|| refuse(Code::ResultUnknown, format!("result {result}")), Ok)
    }

    /// A result of this signer that has not ended.
    fn theirs(&self, result: &Digest, signer: &Signer) -> Result<Known, Finding> {
        let known = self.known(result)?;
        if self.keys.get(&signer.key.key_id().to_string()) != Some(&known.key) {
            return refuse(Code::ResultOther, format!("result {result}"));
        }
        self.stands(result, known)?;
        Ok(known)
    }

    /// That a result has not ended.
    fn stands(&self, result: &Digest, known: Known) -> Result<(), Finding> {
        match known.ended {
            Some(ended) if self.counts(known.key, ended.get().into()) => {
                refuse(Code::ResultEnded, format!("result {result}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether no revocation voids what a key signed at an index. Few ask, so that no second way to the keys is kept.
    fn counts(&self, key: u32, index: u64) -> bool {
        let id = self.keys.iter().find(|(_, place)| **place == key).and_then(|(id, _)| id.parse::<KeyId>().ok());
        let keyring = self.trusted.as_ref().map(|trusted| &trusted.keyring);
        let known = keyring.zip(id).and_then(|(keyring, id)| keyring.find(&id));
        known.is_none_or(|key| key.in_force(index))
    }

    /// Takes back what was folded in last, before which `keyring` was in force.
    pub fn take_back(&mut self, entry: &Entry, keyring: Option<Arc<Trusted>>) {
        match &entry.says {
            Says::Result(tested) => {
                self.results.remove(&entry.payload);
                if let Some(key) = self.keys.get(&entry.key_id) {
                    self.runs.remove(&(*key, bits(&tested.run)));
                }
            }
            Says::Suite(suite) => {
                if let Some(releases) = self.suites.get_mut(&suite.version) {
                    releases.retain(|release| release.index != entry.index);
                }
            }
            Says::Withdrawal { result, .. } | Says::Supersession { result, .. } => {
                if let Some(known) = self.results.get_mut(result) {
                    known.ended = None;
                }
            }
            Says::Review { .. } | Says::Keyring { .. } => {}
        }
        self.trusted = keyring;
        self.size -= 1;
    }

    /// Folds in an entry that was admitted, with its keyring if it is one.
    pub fn add(&mut self, entry: &Entry, keyring: Option<Arc<Trusted>>) {
        match &entry.says {
            Says::Result(tested) => {
                let key = place(&mut self.keys, &entry.key_id);
                let mesh = place(&mut self.meshes, &tested.mesh);
                self.runs.insert((key, bits(&tested.run)));
                if tested.after_review {
                    self.reviewed.insert(key);
                }
                self.results.insert(entry.payload, Known { key, mesh, ended: None });
            }
            Says::Suite(suite) => {
                let key = place(&mut self.keys, &entry.key_id);
                self.suites.entry(suite.version.clone()).or_default().push(Release { index: entry.index, key });
            }
            Says::Withdrawal { result, .. } | Says::Supersession { result, .. } => {
                if let Some(known) = self.results.get_mut(result) {
                    known.ended = u32::try_from(entry.index).ok().and_then(NonZeroU32::new);
                }
            }
            Says::Review { .. } | Says::Keyring { .. } => {}
        }
        if let Some(keyring) = keyring {
            self.trusted = Some(keyring);
        }
        self.size += 1;
    }
}

fn refuse<T>(code: Code, detail: String) -> Result<T, Finding> {
    Err(Finding { code, detail })
}

fn place<T: Ord + Clone>(places: &mut BTreeMap<T, u32>, name: &T) -> u32 {
    if let Some(place) = places.get(name) {
        return *place;
    }
    let place = u32::try_from(places.len()).unwrap_or(u32::MAX);
    places.insert(name.clone(), place);
    place
}

/// A run id is 32 hexadecimal digits by construction.
fn bits(run: &RunId) -> RunBits {
    u128::from_str_radix(run.as_str(), 16).unwrap_or_default().to_be_bytes()
}
