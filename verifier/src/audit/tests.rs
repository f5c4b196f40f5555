//! A log in memory, made as a publisher makes it, and every way to alter what is served of it.

use smi_keys::SigningKey;
use smi_keys::keyring::{Entry as Key, Keyring, Role};
use smi_schemas::bundle::Signature;
use smi_schemas::record::{KeyringChange, Record, Release};
use smi_schemas::statement::Versioned;

use super::*;
use crate::note::{Checkpoint, Note, cosign, sign_checkpoint};
use crate::said::{Signed, verify_said};
use crate::tile::{encode_entries, encode_hashes};

const ORIGIN: &str = "results.example.org";
const WITNESS: &str = "witness.example.org/w1";

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(*Digest::of(name.as_bytes()).as_bytes())
}

fn now() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn first_keyring() -> Keyring {
    let mut keyring = Keyring::default();
    for (name, role, note_name) in [
        ("root", Role::Root, None),
        ("log", Role::Log, Some(ORIGIN)),
        ("suites", Role::Suite, None),
        ("w1", Role::Witness, Some(WITNESS)),
    ] {
        let mut entry = Key::new(name.parse().unwrap(), role, key(name).public());
        entry.note_name = note_name.map(|name| name.parse().unwrap());
        keyring.add(entry).unwrap();
    }
    keyring
}

fn trusted(keyring: &Keyring) -> Trusted {
    Trusted { digest: Digest::of(&keyring.to_bytes()), keyring: keyring.clone() }
}

fn signed(payload: &[u8], names: &[&str]) -> Vec<u8> {
    let mut bundle = key(names[0]).sign_statement(payload);
    for name in &names[1..] {
        let sig = key(name).sign(&bundle.signed_bytes()).to_vec();
        bundle.further.push(Signature { keyid: key(name).public().key_id().to_string(), sig });
    }
    bundle.to_bytes()
}

fn keyring_bundle(keyring: &Keyring, previous: Option<&Keyring>) -> Vec<u8> {
    let previous = previous.map(|previous| Digest::of(&previous.to_bytes()));
    let change = KeyringChange::of(keyring.version(), &keyring.to_bytes(), previous, now()).unwrap();
    signed(&change.to_bytes(), &["root"])
}

fn release_bundle(number: u64) -> Vec<u8> {
    let version = format!("1.0.{number}").parse().unwrap();
    let digest = Digest::of(&number.to_be_bytes());
    let release: Record<Release> = Release::of(Versioned { version, digest }, now()).unwrap();
    signed(&release.to_bytes(), &["suites"])
}

/// A publisher in memory.
#[derive(Clone, Default)]
struct Served {
    leaves: Vec<Vec<u8>>,
    tree: Tree,
    bundles: BTreeMap<Digest, Vec<u8>>,
    entries: Vec<Entry>,
    ledger: Ledger,
    fold: View,
    cosigners: Vec<(&'static str, &'static str)>,
}

impl Served {
    /// A log of a keyring and so many releases.
    fn of(releases: u64) -> Self {
        let mut served = Self::default();
        served.push(&keyring_bundle(&first_keyring(), None));
        for number in 0..releases {
            served.push(&release_bundle(number));
        }
        served
    }

    fn push(&mut self, bundle: &[u8]) {
        let signed = match self.ledger.trusted() {
            None => verify_first(bundle).unwrap(),
            Some(trusted) => verify_said(bundle, &policy(trusted.keyring.clone()), now()).unwrap(),
        };
        let entry = self.ledger.admit(signed.said()).unwrap();
        self.push_unchecked(bundle, &signed, entry);
    }

    fn push_unchecked(&mut self, bundle: &[u8], signed: &Signed, entry: Entry) {
        let leaf = signed.leaf().to_bytes();
        let keyring = signed.said().keyring();
        self.tree.push(Hash::of_leaf(&leaf));
        self.leaves.push(leaf);
        self.bundles.insert(signed.said().payload(), bundle.to_owned());
        self.fold.add(&entry, keyring.map(|trusted| &trusted.keyring));
        self.ledger.add(&entry, keyring.cloned());
        self.entries.push(entry);
    }

    fn checkpoint(&self) -> Vec<u8> {
        let checkpoint = Checkpoint::new(ORIGIN, self.tree.size(), self.tree.root()).unwrap();
        let mut note: Note = sign_checkpoint(&checkpoint, &key("log"));
        for (name, note_name) in &self.cosigners {
            note.push(cosign(&checkpoint, note_name, &key(name), 1_767_355_000).unwrap()).unwrap();
        }
        note.to_bytes()
    }

    fn get(&self, what: Resource) -> Option<Vec<u8>> {
        Some(match what {
            Resource::Checkpoint => self.checkpoint(),
            Resource::View => self.fold.document().to_bytes(),
            Resource::Keyring => self.ledger.trusted()?.keyring.to_bytes(),
            Resource::Feed { after } => {
                let first = after.map_or(0, |after| after + 1);
                let end = (first + 100).min(self.tree.size());
                let entries = self.entries[at(first)..at(end)].to_vec();
                let next_after = (end < self.tree.size()).then(|| end - 1);
                serde_json::to_vec(&Page { size: self.tree.size(), entries, next_after }).unwrap()
            }
            Resource::Tile(path) => match path.kind() {
                TileKind::Hashes { level } => {
                    encode_hashes(&self.tree.hashes(level, path.index(), path.width())?).unwrap()
                }
                TileKind::Entries => {
                    let first = at(path.index()) * usize::from(TILE_WIDTH);
                    encode_entries(self.leaves.get(first..first + usize::from(path.width()))?).unwrap()
                }
            },
            Resource::Bundle(payload) => self.bundles.get(&payload)?.clone(),
        })
    }
}

fn at(index: u64) -> usize {
    usize::try_from(index).unwrap()
}

fn rules() -> Rules {
    // No result is judged here.
    Rules { suites: Suites::default(), allow_sandbox: false, allow_draft: false, max_age_seconds: MAX_AGE_SECONDS }
}

fn policy(keyring: Keyring) -> Policy {
    let audit = Audit::new(trusted(&first_keyring()), rules(), None).unwrap();
    Policy { keyring, ..Policy::clone(&audit.policy) }
}

fn begun(last: Option<&[u8]>) -> Audit {
    Audit::new(trusted(&first_keyring()), rules(), last).unwrap()
}

/// Goes on with an audit until it wants nothing more.
fn run(audit: &mut Audit, get: &dyn Fn(Resource) -> Option<Vec<u8>>) -> Option<Sound> {
    let take = |audit: &mut Audit, what| match get(what) {
        Some(bytes) => audit.give(what, &bytes),
        None => audit.absent(what),
    };
    loop {
        match audit.wants() {
            Want::One(what) => take(audit, what),
            Want::Tiles(tiles) => take(audit, Resource::Tile(tiles[0])),
            Want::Bundles(entries) => match audit.bundle(entries.start) {
                None => drop(audit.admit(audit.examiner(now()).examine(Vec::new()))),
                Some(what) => match get(what) {
                    Some(bundle) => drop(audit.admit(audit.examiner(now()).examine(bundle))),
                    None => audit.absent(what),
                },
            },
            Want::Nothing => return audit.finish(now()),
        }
    }
}

fn sound(audit: &mut Audit, served: &Served) -> Sound {
    let sound = run(audit, &|what| served.get(what));
    sound.unwrap_or_else(|| panic!("{:?}", audit.found()))
}

/// What an audit finds first, where one answer is changed.
fn altered(served: &Served, of: impl Fn(Resource) -> bool, change: impl Fn(&mut Vec<u8>)) -> Alteration {
    let mut audit = begun(None);
    let get = |what| {
        let mut bytes = served.get(what)?;
        if of(what) {
            change(&mut bytes);
        }
        Some(bytes)
    };
    assert!(run(&mut audit, &get).is_none(), "an alteration was overlooked");
    let [found] = audit.found() else { panic!("{:?}", audit.found()) };
    found.clone()
}

fn tile(text: &str) -> Resource {
    Resource::Tile(text.parse().unwrap())
}

#[test]
fn a_sound_log_passes_at_every_size() {
    for releases in [0, 1, 2, 99, 100, 254, 255, 256, 300] {
        let served = Served::of(releases);
        let mut audit = begun(None);
        let sound = sound(&mut audit, &served);
        assert_eq!(sound.head.checkpoint().size(), releases + 1);
        assert_eq!((sound.keyring.keyring.version(), sound.times), (first_keyring().version(), None));
        let unknown: Vec<_> = Check::ALL.into_iter().filter(|check| !audit.passed().contains(check)).collect();
        assert_eq!(unknown, [Check::Consistency, Check::Quorum, Check::Freshness]);
        let counts = Counts { suites: releases, keyrings: 1, signatures: releases + 1, ..Counts::default() };
        assert_eq!(audit.counts(), &counts);
    }
}

#[test]
fn an_audit_goes_on_from_where_it_was() {
    let mut served = Served::of(0);
    let mut audit = begun(None);
    for round in 0..300 {
        let before = sound(&mut audit, &served).head.checkpoint().size();
        assert_eq!(before, round + 1);
        assert_eq!(audit.passed().contains(&Check::Consistency), round > 0);
        served.push(&release_bundle(round));
    }
    let last = sound(&mut audit, &served).head.note().to_bytes();
    served.push(&release_bundle(300));
    let mut other = begun(Some(&last));
    sound(&mut other, &served);
    assert!(other.passed().contains(&Check::Consistency));
}

#[test]
fn a_log_that_shrinks_is_told_from_one_that_forks() {
    let (short, long) = (Served::of(5), Served::of(9));
    let mut audit = begun(None);
    let last = sound(&mut audit, &long).head.note().to_bytes();
    for audit in [&mut audit, &mut begun(Some(&last))] {
        assert!(run(audit, &|what| short.get(what)).is_none());
        let [rollback @ Alteration::Rollback { seen, served }] = audit.found() else { panic!("{:?}", audit.found()) };
        assert_eq!((seen.checkpoint().size(), served.checkpoint().size()), (10, 6));
        assert_eq!(audit.evidence(rollback).concat().into_bytes(), [last.clone(), short.checkpoint()].concat());
    }

    let mut other = Served::of(4);
    for number in 100..120 {
        other.push(&release_bundle(number));
    }
    let mut audit = begun(Some(&last));
    assert!(run(&mut audit, &|what| other.get(what)).is_none());
    let [fork @ Alteration::Fork { seen, served, found }] = audit.found() else { panic!("{:?}", audit.found()) };
    assert_eq!((seen.checkpoint().size(), served.checkpoint().size()), (10, 25));
    assert_eq!(Some(*found), other.tree.root_at(10));
    let evidence = audit.evidence(fork);
    assert_eq!(evidence.len(), 2);
    assert_eq!(open(evidence[0].as_bytes(), &audit.log).as_ref(), Ok(&**seen));

    // At the same size it shows at once, and at a smaller one to whoever has read the log.
    let mut same = Served::of(4);
    (100..105).for_each(|number| same.push(&release_bundle(number)));
    let mut audit = begun(Some(&last));
    assert!(run(&mut audit, &|what| same.get(what)).is_none());
    assert!(matches!(audit.found(), [Alteration::Fork { .. }]));
    let mut smaller = Served::of(4);
    smaller.push(&release_bundle(100));
    let mut audit = begun(None);
    sound(&mut audit, &long);
    assert!(run(&mut audit, &|what| smaller.get(what)).is_none());
    assert!(matches!(audit.found(), [Alteration::Fork { .. }]));
}

#[test]
fn the_checkpoint_is_the_logs() {
    let served = Served::of(2);
    let other = {
        let checkpoint = Checkpoint::new(ORIGIN, 3, served.tree.root()).unwrap();
        sign_checkpoint(&checkpoint, &key("other")).to_bytes()
    };
    let is_checkpoint = |what| what == Resource::Checkpoint;
    let found = altered(&served, is_checkpoint, |bytes| bytes.clone_from(&other));
    assert_eq!(found.code(), Code::AuditCheckpointInvalid);
    assert!(!found.is_proof());
    let found = altered(&served, is_checkpoint, |bytes| *bytes = b"<html>".to_vec());
    assert_eq!(found.code(), Code::AuditCheckpointInvalid);
}

#[test]
fn what_is_wrong_with_tiles_is_named() {
    let served = Served::of(299);
    let last = served.tree.leaf(299).unwrap();
    let found = altered(
        &served,
        |what| what == tile("entries/001.p/44"),
        |bytes| {
            let mut leaves: Vec<_> = served.leaves[256..].to_vec();
            leaves[43].clone_from(&served.leaves[7]);
            *bytes = encode_entries(&leaves).unwrap();
        },
    );
    assert_eq!(found, Alteration::Entry { index: 299, signed: last, found: served.tree.leaf(7).unwrap() });

    let found = altered(&served, |what| what == tile("entries/000"), |bytes| bytes.truncate(1000));
    assert!(matches!(found, Alteration::Tile { tile: at, .. } if at == tile("entries/000")), "{found}");
    for (path, at) in [("0/000", 3), ("0/001.p/44", 43), ("1/000.p/1", 0)] {
        let found = altered(&served, |what| what == tile(path), |bytes| bytes[32 * at] ^= 1);
        let Alteration::Tile { tile: found, why } = found else { panic!("{found}") };
        assert_eq!(found, tile(path));
        assert!(why.starts_with(&format!("hash {at} is ")), "{why}");
    }
    let found = altered(&served, |what| what == tile("0/001.p/44"), |bytes| bytes.truncate(32));
    assert_eq!(found.code(), Code::AuditTileDiffers);

    // Entry and hash changed alike: the root tells.
    let other = Served::of(298);
    let mut audit = begun(None);
    let get = |what| {
        let checkpoint = Checkpoint::new(ORIGIN, 300, other.tree.root()).unwrap();
        let lie = sign_checkpoint(&checkpoint, &key("log")).to_bytes();
        if what == Resource::Checkpoint { Some(lie) } else { served.get(what) }
    };
    assert!(run(&mut audit, &get).is_none());
    assert!(matches!(audit.found(), [Alteration::Root { size: 300, .. }]));
}

#[test]
fn what_is_not_there_is_named_with_its_entry() {
    let served = Served::of(5);
    let payload = served.entries[3].payload;
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what).filter(|_| what != Resource::Bundle(payload))).is_none());
    let [missing @ Alteration::Missing { what, index: Some(3) }] = audit.found() else { panic!("{:?}", audit.found()) };
    assert_eq!(*what, Resource::Bundle(payload));
    assert_eq!(audit.evidence(missing).concat().into_bytes(), served.checkpoint(), "what commits to it is shown");
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what).filter(|_| what != tile("0/000.p/6"))).is_none());
    assert_eq!(audit.found(), [Alteration::Missing { what: tile("0/000.p/6"), index: None }]);
}

#[test]
fn a_bundle_is_the_one_that_was_logged() {
    let served = Served::of(5);
    let [asked, other] = [3, 4].map(|index| served.entries[index].payload);
    let of = |what| what == Resource::Bundle(asked);
    let found = altered(&served, of, |bytes| bytes.clone_from(&served.bundles[&other]));
    let Alteration::Leaf { index: 3, payload, why } = found else { panic!("{found}") };
    assert!(payload == asked && why.contains(&other.to_string()), "{why}");
    let found = altered(&served, of, |bytes| bytes.truncate(100));
    assert!(matches!(found, Alteration::Leaf { index: 3, .. }), "{found}");
    // The same payload, with a signature that is none.
    let found = altered(&served, of, |bytes| {
        let mut bundle = Bundle::read(bytes).unwrap();
        bundle.signature.sig[0] ^= 1;
        *bytes = bundle.to_bytes();
    });
    assert!(matches!(found, Alteration::Leaf { index: 3, .. }), "{found}");
}

#[test]
fn what_must_not_be_in_the_log_is_refused_although_it_was_signed() {
    // A release of a version that was released before: the ledger would not admit it.
    let mut served = Served::of(3);
    let release = Release::of(Versioned { version: "1.0.1".parse().unwrap(), digest: Digest::of(b"other") }, now());
    let bundle = signed(&release.unwrap().to_bytes(), &["suites"]);
    let signed = verify_said(&bundle, &policy(first_keyring()), now()).unwrap();
    let entry = Entry { index: 4, payload: signed.said().payload(), ..served.entries[3].clone() };
    served.push_unchecked(&bundle, &signed, entry);
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what)).is_none());
    let [Alteration::Refused { index: 4, grounds, .. }] = audit.found() else { panic!("{:?}", audit.found()) };
    assert_eq!(grounds[0].code, Code::SuiteReleased);

    // The same bundle again.
    let mut served = Served::of(3);
    let (payload, bundle) = served.bundles.iter().find(|(payload, _)| **payload == served.entries[2].payload).unwrap();
    let (payload, bundle) = (*payload, bundle.clone());
    let signed = verify_said(&bundle, &policy(first_keyring()), now()).unwrap();
    let entry = Entry { index: 4, ..served.entries[2].clone() };
    served.push_unchecked(&bundle, &signed, entry);
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what)).is_none());
    assert_eq!(audit.found(), [Alteration::Repeated { index: 4, first: 2, payload }]);
}

#[test]
fn the_view_is_the_fold_byte_for_byte() {
    let served = Served::of(5);
    let view = |what| what == Resource::View;
    let edit = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            *bytes = text.replacen(from, to, 1).into_bytes();
        }
    };
    let place = |found: Alteration| match found {
        Alteration::View { size: 6, place, .. } => place,
        other => panic!("{other}"),
    };
    assert_eq!(place(altered(&served, view, edit("1.0.3", "1.0.9"))), "suite 1.0.3");
    let version = |to| edit(r#""version":5"#, to);
    assert_eq!(place(altered(&served, view, version(r#""version":1"#))), "keyring");
    let spaced = altered(&served, view, edit(r#""size":6"#, r#""size": 6"#));
    assert_eq!(place(spaced), "the document");

    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(if view(what) { Resource::Keyring } else { what })).is_none());
    assert_eq!(audit.evidence(&audit.found()[0]).concat().into_bytes(), served.checkpoint());

    // A view that stays behind, and one that runs ahead.
    let (older, newer) = (Served::of(3), Served::of(9));
    let found = altered(&served, view, |bytes| *bytes = older.get(Resource::View).unwrap());
    assert!(matches!(found, Alteration::View { size: 4, .. }), "{found}");
    let found = altered(&served, view, |bytes| *bytes = newer.get(Resource::View).unwrap());
    assert!(matches!(found, Alteration::View { size: 10, .. }), "{found}");
}

#[test]
fn a_log_may_grow_while_it_is_audited() {
    let stages = [Served::of(3), Served::of(5), Served::of(8)];
    for stage_of_view in [0, 1, 2] {
        let asked = std::cell::Cell::new(0);
        let get = |what| {
            let stage = match what {
                Resource::Checkpoint => asked.replace(2),
                Resource::View => stage_of_view,
                Resource::Keyring => 0,
                _ => 2,
            };
            stages[stage].get(what)
        };
        let mut audit = begun(None);
        let sound = run(&mut audit, &get).unwrap_or_else(|| panic!("{:?}", audit.found()));
        assert_eq!(sound.head.checkpoint().size(), 9);
    }
}

#[test]
fn the_feed_tells_what_the_entries_say() {
    let served = Served::of(150);
    let first = |what| what == Resource::Feed { after: None };
    let page = |edit: fn(&mut Page)| {
        move |bytes: &mut Vec<u8>| {
            let mut page: Page = serde_json::from_slice(bytes).unwrap();
            edit(&mut page);
            *bytes = serde_json::to_vec(&page).unwrap();
        }
    };
    let place = |found: Alteration| match found {
        Alteration::Feed { place, .. } => place,
        other => panic!("{other}"),
    };
    let other_signer = page(|page| page.entries[7].signer = "other".parse().unwrap());
    assert_eq!(place(altered(&served, first, other_signer)), "entry 7");
    assert_eq!(place(altered(&served, first, page(|page| drop(page.entries.remove(7))))), "entry 7");
    assert_eq!(place(altered(&served, first, page(|page| page.entries.clear()))), "entry 0");
    assert_eq!(place(altered(&served, first, page(|page| page.next_after = None))), "nextAfter");
    assert_eq!(place(altered(&served, first, page(|page| page.size -= 1))), "size");
    let second = |what| matches!(what, Resource::Feed { after: Some(_) });
    assert_eq!(place(altered(&served, second, page(|page| page.next_after = Some(150)))), "nextAfter");
    assert_eq!(altered(&served, first, |bytes| bytes.truncate(9)).code(), Code::AuditFeedDiffers);
}

/// A keyring that follows another.
fn next(keyring: &Keyring, name: &str) -> Keyring {
    let mut next = keyring.clone();
    next.add(Key::new(name.parse().unwrap(), Role::Reviewer, key(name).public())).unwrap();
    next
}

#[test]
fn any_keyring_of_the_log_can_be_the_trusted_one_and_no_other() {
    let (first, mut served) = (first_keyring(), Served::of(2));
    let second = next(&first, "jury");
    served.push(&keyring_bundle(&second, Some(&first)));
    served.push(&release_bundle(2));
    for keyring in [&first, &second] {
        let mut audit = Audit::new(trusted(keyring), rules(), None).unwrap();
        assert_eq!(sound(&mut audit, &served).keyring.keyring, second);
    }
    for (other, why) in [(next(&first, "other"), "in entry 3"), (next(&second, "other"), "as its newest")] {
        let mut audit = Audit::new(trusted(&other), rules(), None).unwrap();
        assert!(run(&mut audit, &|what| served.get(what)).is_none());
        let [Alteration::Untrusted { found, .. }] = audit.found() else { panic!("{:?}", audit.found()) };
        assert!(found.ends_with(why), "{found}");
    }
    let found = altered(&served, |what| what == Resource::Keyring, |bytes| *bytes = first_keyring().to_bytes());
    assert_eq!(found.code(), Code::AuditKeyringDiffers);
    let unnamed = Audit::new(trusted(&Keyring::default()), rules(), None).unwrap_err();
    assert_eq!(unnamed.code(), Code::AuditLogUnnamed);
    let foreign = sign_checkpoint(&Checkpoint::new(ORIGIN, 1, Hash::of_leaf(b"")).unwrap(), &key("other"));
    let foreign = Audit::new(trusted(&first), rules(), Some(&foreign.to_bytes())).unwrap_err();
    assert_eq!(foreign.code(), Code::AuditStateInvalid);
}

#[test]
fn a_revocation_counts_from_its_index_on() {
    let (first, mut served) = (first_keyring(), Served::of(2));
    let mut revoked = first.clone();
    // From the sixth entry on: what was verified before the change may be logged after it.
    revoked.revoke(&smi_keys::keyring::KeyRef::Name("suites".parse().unwrap()), 5).unwrap();
    served.push(&keyring_bundle(&revoked, Some(&first)));
    let late = release_bundle(7);
    let signed = verify_said(&late, &policy(first), now()).unwrap();
    let entry = served.ledger.admit(signed.said()).unwrap();
    served.push_unchecked(&late, &signed, entry.clone());
    sound(&mut begun(None), &served);

    let later = release_bundle(8);
    let signed = verify_said(&later, &policy(first_keyring()), now()).unwrap();
    let entry = Entry { index: 5, payload: signed.said().payload(), ..entry };
    served.push_unchecked(&later, &signed, entry);
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what)).is_none());
    let [Alteration::Refused { index: 5, grounds, .. }] = audit.found() else { panic!("{:?}", audit.found()) };
    assert_eq!(grounds[0].code, Code::KeyRevoked);
}

#[test]
fn a_quorum_that_is_lost_can_be_found_again() {
    let (first, mut served) = (first_keyring(), Served::of(2));
    let mut witnessed = first.clone();
    witnessed.set(Some(1), Some(1)).unwrap();
    served.push(&keyring_bundle(&witnessed, Some(&first)));
    let mut audit = begun(None);
    assert!(run(&mut audit, &|what| served.get(what)).is_none());
    assert!(matches!(audit.found(), [found @ Alteration::Quorum { size: 4, .. }] if !found.is_proof()));
    audit.retry();
    served.push(&release_bundle(2));
    assert!(run(&mut audit, &|what| served.get(what)).is_none());
    audit.retry();
    served.cosigners.push(("w1", WITNESS));
    let sound = sound(&mut audit, &served);
    assert_eq!(sound.witnesses, ["w1".parse().unwrap()]);
    assert_eq!(sound.times.map(|times| times.current_at.unix_seconds()), Some(1_767_355_000));
    assert!(audit.passed().contains(&Check::Quorum));
}

/// A log that asks for a cosignature, and has one.
fn witnessed() -> Served {
    let (first, mut served) = (first_keyring(), Served::of(2));
    let mut witnessed = first.clone();
    witnessed.set(Some(1), Some(1)).unwrap();
    served.push(&keyring_bundle(&witnessed, Some(&first)));
    served.cosigners.push(("w1", WITNESS));
    served
}

/// The time of the cosignature, and so many seconds.
fn cosigned_and(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_767_355_000 + seconds).unwrap()
}

/// Goes on with an audit that begins at some time.
fn run_at(audit: &mut Audit, served: &Served, now: Timestamp) -> Option<Sound> {
    loop {
        match audit.wants() {
            Want::One(what) => audit.give(what, &served.get(what).unwrap()),
            Want::Tiles(tiles) => {
                tiles
                    .iter()
                    .map(|tile| Resource::Tile(*tile))
                    .for_each(|tile| audit.give(tile, &served.get(tile).unwrap()));
            }
            Want::Bundles(entries) => {
                let bundle = served.get(audit.bundle(entries.start).unwrap()).unwrap();
                drop(audit.admit(audit.examiner(now).examine(bundle)));
            }
            Want::Nothing => return audit.finish(now),
        }
    }
}

#[test]
fn a_log_that_stands_still_is_stale_until_it_is_cosigned_anew() {
    let served = witnessed();
    let mut audit = begun(None);
    assert!(run_at(&mut audit, &served, cosigned_and(MAX_AGE_SECONDS + 1)).is_none());
    let [stale @ Alteration::Stale { size: 4, .. }] = audit.found() else { panic!("{:?}", audit.found()) };
    assert_eq!((stale.code(), stale.is_proof()), (Code::AuditStale, false));
    assert_eq!(audit.evidence(stale).concat().into_bytes(), served.checkpoint());
    audit.retry();
    assert!(run_at(&mut audit, &served, cosigned_and(MAX_AGE_SECONDS)).is_some());
    assert!(audit.passed().contains(&Check::Freshness));
}

#[test]
fn a_cosignature_from_the_future_counts_for_nothing() {
    use crate::policy::MAX_CLOCK_SKEW_SECONDS;
    let served = witnessed();
    let mut audit = begun(None);
    assert!(run_at(&mut audit, &served, cosigned_and(-MAX_CLOCK_SKEW_SECONDS - 1)).is_none());
    let [Alteration::Quorum { why, .. }] = audit.found() else { panic!("{:?}", audit.found()) };
    let expected = "0 witnesses of this keyring cosigned, and 1 must; 1 more cosigned at a time that has not come yet";
    assert_eq!(why, expected);
    assert!(run_at(&mut begun(None), &served, cosigned_and(-MAX_CLOCK_SKEW_SECONDS)).is_some());
}

#[test]
fn a_size_that_no_log_has_allocates_nothing() {
    let signed = |size| {
        let checkpoint = Checkpoint::new(ORIGIN, size, Hash::of_leaf(b"")).unwrap();
        sign_checkpoint(&checkpoint, &key("log")).to_bytes()
    };
    for size in [MAX_ENTRIES + 1, 1 << 50] {
        let mut audit = begun(None);
        audit.give(Resource::Checkpoint, &signed(size));
        assert_eq!(audit.wants(), Want::Nothing);
        let [found @ Alteration::TooLarge { .. }] = audit.found() else { panic!("{:?}", audit.found()) };
        assert_eq!((found.code(), found.is_proof()), (Code::AuditTooLarge, true));
        assert_eq!(audit.evidence(found).concat().into_bytes(), signed(size));
    }
    // The largest log is wanted bit by bit.
    let served = Served::of(300);
    let mut audit = begun(None);
    audit.give(Resource::Checkpoint, &signed(MAX_ENTRIES));
    let mut view = served.fold.document();
    view.size = MAX_ENTRIES;
    audit.give(Resource::View, &view.to_bytes());
    audit.give(Resource::Keyring, &first_keyring().to_bytes());
    audit.give(Resource::Checkpoint, &signed(MAX_ENTRIES));
    let Want::Tiles(tiles) = audit.wants() else { panic!("{:?}", audit.wants()) };
    let firsts = |count: u64| (0..count).map(|index| TilePath::new(TileKind::Entries, index, TILE_WIDTH).unwrap());
    assert_eq!(tiles, firsts(TILES_AT_ONCE as u64).collect::<Vec<_>>());
    let leaves = encode_entries(&served.leaves[..256]).unwrap();
    for tile in tiles {
        audit.give(Resource::Tile(tile), &leaves);
    }
    let Want::Tiles(tiles) = audit.wants() else { panic!("{:?}", audit.wants()) };
    assert_eq!(tiles[0], firsts(TILES_AT_ONCE as u64 + 1).next_back().unwrap());
    assert_eq!(tiles.len(), TILES_AT_ONCE);
}

#[test]
fn what_the_log_signed_was_seen_whoever_cosigned_it() {
    let mut served = witnessed();
    let mut audit = begun(None);
    let sound = sound(&mut audit, &served);
    // Later entries are signed, and no witness sees them.
    let mut other = served.clone();
    served.cosigners.clear();
    served.push(&release_bundle(2));
    let mut later = begun(Some(&sound.head.note().to_bytes()));
    for audit in [&mut audit, &mut later] {
        assert!(run(audit, &|what| served.get(what)).is_none());
        assert!(matches!(audit.found(), [Alteration::Quorum { size: 5, .. }]));
        assert_eq!(audit.last().map(|last| last.note().to_bytes()), Some(served.checkpoint()));
    }
    // They are gone, and others are there, which all witnesses see.
    (3..6).for_each(|number| other.push(&release_bundle(number)));
    let mut audit = begun(later.last().map(|last| last.note().to_bytes()).as_deref());
    assert!(run(&mut audit, &|what| other.get(what)).is_none());
    assert!(matches!(audit.found(), [Alteration::Fork { .. }]), "{:?}", audit.found());
}

#[test]
fn an_old_copy_on_the_way_is_no_rollback() {
    let (old, new) = (Served::of(5), Served::of(9));
    let mut audit = begun(None);
    sound(&mut audit, &new);
    for (copies, is_rollback) in [(CHECKPOINT_TRIES - 1, false), (CHECKPOINT_TRIES, true)] {
        let asked = std::cell::Cell::new(0);
        let get = |what| {
            let is_old = what == Resource::Checkpoint && asked.replace(asked.get() + 1) < copies;
            if is_old { old.get(what) } else { new.get(what) }
        };
        assert_eq!(run(&mut audit, &get).is_none(), is_rollback, "{:?}", audit.found());
    }
    assert!(matches!(audit.found(), [Alteration::Rollback { .. }]));
}
