//! Any bytes as a note, as the lines of signatures that a witness answers with, and as a key's text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smi_fuzz::key;
use smi_verifier::merkle::Hash;
use smi_verifier::note::{
    Checkpoint, KeyKind, MAX_NAME_BYTES, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteKey, NoteSignature,
    cosign,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::read(bytes) {
        check_note(bytes, note);
    }
    if let Ok(signatures) = NoteSignature::read_lines(bytes) {
        assert!((1..=MAX_SIGNATURES).contains(&signatures.len()));
        assert_eq!(lines(&signatures).as_bytes(), bytes);
        signatures.iter().for_each(check_signature);
    }
    let text = str::from_utf8(bytes).unwrap_or_default();
    if let Ok(key) = text.parse::<NoteKey>() {
        assert_eq!(key.to_string(), text);
        assert!((1..=MAX_NAME_BYTES).contains(&key.name().len()));
        assert_eq!(key.key_hash()[..4], key.id());
        assert_eq!(NoteKey::new(key.name(), key.kind(), *key.public()), Ok(key));
    }
});

fn check_note(bytes: &[u8], mut note: Note) {
    assert!(bytes.len() <= MAX_NOTE_BYTES);
    assert_eq!(note.to_bytes(), bytes);
    let (text, signatures) = (note.text(), note.signatures());
    assert!(text.ends_with('\n') && !text.chars().any(|c| c < ' ' && c != '\n'), "{text:?}");
    assert_eq!([text, &lines(signatures)].join("\n").as_bytes(), bytes);
    assert!((1..=MAX_SIGNATURES).contains(&signatures.len()));
    signatures.iter().for_each(check_signature);

    // What is there is not added again; what is new comes last, and the text stays what it was.
    let first = signatures[0].clone();
    assert_eq!(note.push(first), Ok(()));
    assert_eq!(note.to_bytes(), bytes);
    let size = u64::try_from(bytes.len()).expect("a size");
    let seen = Checkpoint::new("log.example.org", size, Hash::of_leaf(bytes)).expect("a checkpoint");
    let cosignature = cosign(&seen, "witness.example.org/w", &key("witness-1"), 1).expect("a cosignature");
    match note.push(cosignature.clone()) {
        Ok(()) => {
            let longer = note.to_bytes();
            assert_eq!(longer, [bytes, cosignature.to_line().as_bytes()].concat());
            assert_eq!(Note::read(&longer).as_ref(), Ok(&note));
        }
        Err(error) => {
            assert!(matches!(error, NoteError::Signatures | NoteError::Size), "{error}");
            assert_eq!(note.to_bytes(), bytes);
        }
    }
    for kind in [KeyKind::Log, KeyKind::Witness] {
        let stranger = NoteKey::new("log.example.org", kind, key("stranger").public()).expect("a key");
        assert!(note.clone().open(&stranger).is_err());
    }
}

fn check_signature(signature: &NoteSignature) {
    let name = signature.name();
    assert!(!name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace), "{name:?}");
    assert!(!signature.bytes().is_empty());
}

fn lines(signatures: &[NoteSignature]) -> String {
    signatures.iter().map(NoteSignature::to_line).collect()
}
