use smi_keys::SigningKey;
use smi_keys::keyring::{Entry as Key, Publish, Role};
use smi_schemas::record::Verdict;

use super::*;

const SIGNERS: [&str; 3] = ["acme", "other", "third"];

fn keyring() -> Keyring {
    let mut keyring = Keyring::default();
    for name in SIGNERS {
        let public = SigningKey::from_seed(*Digest::of(name.as_bytes()).as_bytes()).public();
        let meshes = ["mesh".parse().unwrap()].into();
        let key = Key::new(name.parse().unwrap(), Role::Vendor, public);
        keyring.add(Key { meshes, publish: Some(Publish::Direct), ..key }).unwrap();
    }
    keyring
}

fn payload(index: u64) -> Digest {
    Digest::of(&index.to_be_bytes())
}

fn entry(index: u64, signer: usize, says: Says) -> Entry {
    let public = SigningKey::from_seed(*Digest::of(SIGNERS[signer].as_bytes()).as_bytes()).public();
    let (signer, key_id) = (SIGNERS[signer].parse().unwrap(), public.key_id().to_string());
    Entry { index, payload: payload(index), signer, key_id, says }
}

fn result(index: u64, finished: i64, after_review: bool) -> Says {
    let summary = |api: &str, passed: u64| {
        serde_json::json!({"api": api, "version": "v1alpha4", "capability": "partial", "compliance": "undecided",
            "passed": passed, "failed": 0, "scored": 90})
    };
    let apis = [summary("split", index), summary("specs", index)];
    Says::Result(Box::new(Tested {
        run: format!("{index:032x}").parse().unwrap(),
        mesh: "mesh".parse().unwrap(),
        mesh_version: Some("1".parse().unwrap()),
        target: "kubernetes v1".to_owned(),
        suite: "1.0.0".parse().unwrap(),
        finished_at: Timestamp::from_unix_seconds(1_767_000_000 + finished).unwrap(),
        after_review,
        apis: apis[..=usize::from(index.is_multiple_of(2))]
            .iter()
            .map(|api| serde_json::from_value(api.clone()).unwrap())
            .collect(),
    }))
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn folding_on_and_folding_anew_are_the_same() {
    let mut numbers = Numbers(7);
    for _ in 0..200 {
        let (mut view, mut keyring, mut results) = (View::default(), keyring(), Vec::new());
        for index in 0..40 {
            let signer = usize::try_from(numbers.below(3)).unwrap();
            let of = results.get(usize::try_from(numbers.below(results.len().max(1) as u64)).unwrap()).copied();
            let reason = || "R.".parse().unwrap();
            let (says, changed) = match (numbers.below(12), of) {
                (0, _) => {
                    let name = SIGNERS[signer].parse().unwrap();
                    let _ = keyring.revoke(&name, numbers.below(index + 5));
                    let digest = Digest::of(&keyring.to_bytes());
                    (Says::Keyring { version: keyring.version(), digest }, true)
                }
                (1, Some(result)) => {
                    let verdict = if numbers.below(2) == 0 { Verdict::Accept } else { Verdict::Reject };
                    (Says::Review { result, verdict, reason: reason() }, false)
                }
                (2, Some(result)) => (Says::Withdrawal { result, reason: reason() }, false),
                (3, Some(result)) => (Says::Supersession { result, by: payload(0), reason: reason() }, false),
                _ => {
                    results.push(payload(index));
                    (result(index, i64::try_from(numbers.below(20)).unwrap(), numbers.below(3) == 0), false)
                }
            };
            view.add(&entry(index, signer, says), changed.then_some(&keyring));
            let mut anew = view.clone();
            anew.counted = Counted::default();
            for index in 0..u32::try_from(anew.entries.len()).unwrap() {
                anew.count(index);
            }
            assert_eq!(view.document(), anew.document(), "after entry {index}");
        }
    }
}

#[test]
fn a_revocation_looks_back_and_ahead() {
    let (mut view, mut keyring) = (View::default(), keyring());
    view.add(&entry(0, 0, result(0, 5, false)), None);
    view.add(&entry(1, 0, result(1, 6, false)), None);
    view.add(&entry(2, 1, Says::Withdrawal { result: payload(0), reason: "R.".parse().unwrap() }), None);
    assert_eq!(view.state(&payload(0)), Some(State::Withdrawn));
    keyring.revoke(&"acme".parse().unwrap(), 1).unwrap();
    view.add(&entry(3, 2, Says::Keyring { version: 2, digest: payload(9) }), Some(&keyring));
    assert_eq!(view.state(&payload(1)), Some(State::Revoked));
    keyring.revoke(&"other".parse().unwrap(), 2).unwrap();
    view.add(&entry(4, 2, Says::Keyring { version: 3, digest: payload(9) }), Some(&keyring));
    assert_eq!(view.state(&payload(0)), Some(State::Published), "a withdrawal by a revoked key does not count either");
    view.add(&entry(5, 0, result(5, 9, false)), None);
    assert_eq!(view.state(&payload(5)), Some(State::Revoked));
}

#[test]
fn a_signer_s_runs_of_different_apis_are_one_current_run_a_cell() {
    let mut view = View::default();
    view.add(&entry(0, 0, result(0, 1, false)), None); // split and specs
    view.add(&entry(1, 0, result(1, 2, false)), None); // split alone, later
    let rows = view.rows();
    let shown: Vec<_> = rows[0].cells.iter().map(|cell| (cell.api, cell.current.as_ref().unwrap().index)).collect();
    assert_eq!(shown, [(Api::Specs, 0), (Api::Split, 1)]);
    assert_eq!(rows[0].cells.iter().map(|cell| cell.signers).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_has_ended_stays_until_a_later_run() {
    let reason = || "R.".parse().unwrap();
    let withdrawal = Says::Withdrawal { result: payload(1), reason: reason() };
    let supersession = Says::Supersession { result: payload(1), by: payload(0), reason: reason() };
    for (says, state, by) in [(withdrawal, State::Withdrawn, None), (supersession, State::Superseded, Some(payload(0)))]
    {
        let mut view = View::default();
        let ended = |view: &View, after: &str| {
            let cell = &view.rows()[0].cells[1];
            let expected = Cell {
                api: Api::Split,
                version: Some(ApiVersion::V1alpha4),
                current: None,
                superseded_by: by,
                signers: 0,
                disagreement: false,
            };
            assert_eq!((cell, view.state(&payload(1))), (&expected, Some(state)), "after {after}");
        };
        view.add(&entry(0, 0, result(0, 1, false)), None);
        view.add(&entry(1, 0, result(1, 5, true)), None);
        let review = |verdict| Says::Review { result: payload(1), verdict, reason: reason() };
        view.add(&entry(2, 2, review(Verdict::Accept)), None);
        view.add(&entry(3, 0, says), None);
        ended(&view, "its end");
        view.add(&entry(4, 2, review(Verdict::Reject)), None);
        ended(&view, "a rejection");
        view.add(&entry(5, 2, review(Verdict::Accept)), None);
        ended(&view, "another review");
        view.add(&entry(6, 0, result(6, 4, false)), None);
        ended(&view, "an older run");
        view.add(&entry(7, 0, result(7, 6, true)), None);
        ended(&view, "a later run that waits");
        let accept = Says::Review { result: payload(7), verdict: Verdict::Accept, reason: reason() };
        view.add(&entry(8, 2, accept), None);
        let cell = &view.rows()[0].cells[1];
        assert_eq!((cell.current.as_ref().map(|current| current.index), cell.superseded_by), (Some(7), None));
    }
}

#[test]
fn what_ended_before_it_was_accepted_is_never_shown() {
    let mut view = View::default();
    view.add(&entry(0, 0, result(0, 1, true)), None);
    view.add(&entry(1, 0, Says::Withdrawal { result: payload(0), reason: "R.".parse().unwrap() }), None);
    let accept = Says::Review { result: payload(0), verdict: Verdict::Accept, reason: "R.".parse().unwrap() };
    view.add(&entry(2, 2, accept), None);
    assert_eq!((view.rows(), view.state(&payload(0))), (Vec::new(), Some(State::Withdrawn)));
}

#[test]
fn who_still_stands_by_a_result_is_shown_beside_one_that_ended() {
    let mut view = View::default();
    view.add(&entry(0, 1, result(0, 1, false)), None);
    view.add(&entry(1, 0, result(1, 5, false)), None);
    let supersession = Says::Supersession { result: payload(1), by: payload(0), reason: "R.".parse().unwrap() };
    view.add(&entry(2, 0, supersession), None);
    let cell = &view.rows()[0].cells[1];
    assert_eq!((cell.current.as_ref().map(|current| current.index), cell.signers), (Some(0), 1));
    assert_eq!(cell.superseded_by, None);
}
