//! Any bytes as a key file, and any text as whatever else has one form: keys, digests, times, names.
#![no_main]

use std::cmp::Ordering;
use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use smi_keys::keyring::KeyRef;
use smi_keys::pem::{KeyPem, MAX_KEY_FILE_BYTES, encode_plain};
use smi_keys::{KeyId, PublicKey};
use smi_schemas::names::{AssertionId, Glob, NoteName, Reason, RunId, Slug, Url, Version, Word};
use smi_schemas::shown::shown;
use smi_schemas::{Digest, Timestamp};
use smi_verifier::merkle::Hash;
use smi_verifier::policy::Requirement;

fuzz_target!(|bytes: &[u8]| {
    match KeyPem::parse(bytes) {
        Ok(KeyPem::Public(key)) => assert_eq!(key.to_spki_pem().as_bytes(), bytes),
        Ok(KeyPem::Private(key)) => {
            let written = encode_plain(&key).expect("a key that was read");
            assert!(
                matches!(KeyPem::parse(written.as_bytes()), Ok(KeyPem::Private(again)) if again.public() == key.public())
            );
        }
        // To open it may cost as much as a passphrase should.
        Ok(KeyPem::Encrypted(_)) => assert!(bytes.len() <= MAX_KEY_FILE_BYTES),
        Err(error) => assert!(!error.code().remedy().is_empty()),
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(key) = PublicKey::from_base64(text) {
        assert_eq!(key.to_base64(), text);
        assert_eq!(PublicKey::from_bytes(key.as_bytes()), Ok(key));
        assert_eq!(PublicKey::from_spki_pem(&key.to_spki_pem()), Ok(key));
    }
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(Timestamp::from_unix_seconds(time.unix_seconds()), Some(time));
    }
    let are_read = [
        is_one_form::<Digest>(text),
        is_one_form::<KeyId>(text),
        is_one_form::<KeyRef>(text),
        is_one_form::<Timestamp>(text),
        is_one_form::<Slug>(text),
        is_one_form::<Version>(text),
        is_one_form::<AssertionId>(text),
        is_one_form::<RunId>(text),
        is_one_form::<Glob>(text),
        is_one_form::<Word>(text),
        is_one_form::<Reason>(text),
        is_one_form::<NoteName>(text),
        is_one_form::<Url>(text),
        is_one_form::<Requirement>(text),
    ];
    // A name is fit for a terminal, a page and a file's name as it is.
    if are_read.contains(&true) {
        assert!(
            !text.chars().any(|character| character.is_control() || "\u{202e}\u{2028}".contains(character)),
            "{text:?}"
        );
    }
    let displayed = shown(text);
    assert!(!displayed.chars().any(char::is_control), "{displayed:?}");
    check_patterns(text);
    check_order(text);
});

fn is_one_form<T: FromStr + Display>(text: &str) -> bool {
    match text.parse::<T>() {
        Ok(read) => {
            assert_eq!(read.to_string(), text);
            true
        }
        Err(_) => false,
    }
}

/// Two lines: a pattern, and what it may match. Matching is as the naive definition says.
fn check_patterns(text: &str) {
    let Some((pattern, text)) = text.split_once('\n') else { return };
    if let Ok(glob) = pattern.parse::<Glob>()
        && text.len() <= 64
    {
        let text: Vec<char> = text.chars().collect();
        let matches = glob.matches(&text.iter().collect::<String>());
        assert_eq!(matches, matches_naively(pattern.as_bytes(), &text), "{pattern} on {text:?}");
    }
}

fn matches_naively(pattern: &[u8], text: &[char]) -> bool {
    // By position in the pattern, whether the text so far is matched up to there.
    let mut reached: Vec<bool> = vec![false; pattern.len() + 1];
    reached[0] = true;
    let skip_stars = |reached: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            if reached[at] && pattern[at] == b'*' {
                reached[at + 1] = true;
            }
        }
    };
    skip_stars(&mut reached);
    for character in text {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|at| reached[*at]) {
            match pattern[at] {
                b'*' => next[at] = true,
                b'?' => next[at + 1] = true,
                byte => next[at + 1] |= char::from(byte) == *character,
            }
        }
        skip_stars(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// Versions in lines are ordered, all of them.
fn check_order(text: &str) {
    let versions: Vec<Version> = text.lines().take(4).filter_map(|line| line.parse().ok()).collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(a.natural_cmp(b), b.natural_cmp(a).reverse());
            assert_eq!(a.natural_cmp(b) == Ordering::Equal, a == b);
            for c in &versions {
                let rises = a.natural_cmp(b).is_le() && b.natural_cmp(c).is_le();
                assert!(!rises || a.natural_cmp(c).is_le(), "{a} {b} {c}");
            }
        }
    }
}
