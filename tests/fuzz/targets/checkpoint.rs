//! Any text as a checkpoint, and any bytes as one that the log of the vectors signed.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use smi_fuzz::{COMPLETED, ORIGIN, key, keyring, log};
use smi_schemas::bundle::Bundle;
use smi_verifier::merkle::Hash;
use smi_verifier::note::{
    Checkpoint, KeyKind, Note, NoteKey, SignedCheckpoint, cosign, lower_bound, open, sign_checkpoint, upper_bound,
};
use smi_verifier::receipt::{quorum, witness_keys};

fuzz_target!(|bytes: &[u8]| {
    check_opened(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let read = Checkpoint::read(text);

    // The log signs whatever this is: it is opened where it is a checkpoint of that log, and nowhere else.
    let signature = STANDARD.encode([&log().id()[..], &key("log").sign(bytes)].concat());
    let note = format!("{text}\n\u{2014} {ORIGIN} {signature}\n");
    let opened = open(note.as_bytes(), log()).ok();
    assert_eq!(
        opened.as_ref().map(SignedCheckpoint::checkpoint),
        read.as_ref().ok().filter(|it| it.origin() == ORIGIN)
    );

    let Ok(checkpoint) = read else { return };
    assert_eq!(checkpoint.to_string(), text);
    assert_eq!(checkpoint.size() == 0, *checkpoint.root() == Hash::EMPTY);
    let same = Checkpoint::new(checkpoint.origin(), checkpoint.size(), *checkpoint.root());
    assert_eq!(same.as_ref(), Ok(&checkpoint));
    check_signed(&checkpoint);
});

/// What was opened is what the log has signed before.
fn check_opened(bytes: &[u8]) {
    let Ok(signed) = open(bytes, log()) else { return };
    assert_eq!(signed.note().to_bytes(), bytes);
    let entry = Bundle::read(COMPLETED).expect("a bundle").log_entry.expect("a log entry");
    let seed = Note::read(entry.checkpoint.as_bytes()).expect("a note");
    assert_eq!(signed.note().text(), seed.text());
    let (_, witnesses): (Vec<_>, Vec<_>) = witness_keys(keyring(), signed.checkpoint().size()).into_iter().unzip();
    let known = open(entry.checkpoint.as_bytes(), log()).and_then(|seed| seed.cosignatures(&witnesses));
    if let (Ok(known), Ok(counted)) = (known, signed.cosignatures(&witnesses)) {
        assert!(counted.iter().all(|one| known.contains(one)), "{counted:?}");
        let is_enough = counted.len() >= keyring().quorum().map_or(0, |quorum| quorum as usize);
        assert_eq!(quorum(&signed, keyring()).is_ok(), is_enough);
    }
}

/// A checkpoint of whatever log, signed by it and by witnesses.
fn check_signed(checkpoint: &Checkpoint) {
    let log = NoteKey::new(checkpoint.origin(), KeyKind::Log, key("log").public()).expect("the name of a key");
    let mut note = sign_checkpoint(checkpoint, &key("log"));
    let time = checkpoint.size();
    let names = ["witness-1", "witness-2"];
    let witness = |name: &str| NoteKey::new(name, KeyKind::Witness, key(name).public()).expect("a key");
    let mut times = Vec::new();
    for name in names {
        match cosign(checkpoint, name, &key(name), time) {
            Ok(cosignature) => {
                note.push(cosignature).expect("room");
                times.push(time);
            }
            Err(_) => assert!(time == 0 || i64::try_from(time).is_err()),
        }
    }
    let signed = open(&note.to_bytes(), &log).expect("it is signed");
    assert_eq!(signed.checkpoint(), checkpoint);
    let counted = signed.cosignatures(&names.map(witness)).expect("they are sound");
    assert_eq!(counted, times.iter().copied().enumerate().collect::<Vec<_>>());
    assert_eq!((lower_bound(&times, 0), upper_bound(&times, 0)), (times.first().copied(), times.first().copied()));
    assert!(signed.cosignatures(&[log]).is_err());
}
