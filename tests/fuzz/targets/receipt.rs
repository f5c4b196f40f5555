//! Completed bundles, put together anew from parts of several and altered: what is accepted is what was signed, and what
//! is said to be logged was logged there.
//!
//! Three bundles: one with its receipt, the same signer's other result, and that with a receipt of its own. An input is a byte that says which one it begins with, another for the policy, and a list of edits: what is
//! done, to which value, and with what.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use smi_fuzz::{CLAIMED, COMPLETED, ORIGIN, check_refusal, key, lenient, log, now, value};
use smi_schemas::Digest;
use smi_schemas::bundle::{Bundle, LogEntry};
use smi_schemas::leaf::Leaf;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, cosign, sign_checkpoint};
use smi_verifier::policy::Receipts;
use smi_verifier::receipt::Receipt;
use smi_verifier::verify;

/// When the first witness cosigned each receipt, in seconds since 1970; the others did in the two seconds after.
const COSIGNED: i64 = 1_767_344_400;

/// A bundle, and the place that its own receipt proves.
struct Sound {
    document: Value,
    payload: Digest,
    receipt: Option<Receipt>,
}

static SOUND: LazyLock<Vec<Sound>> = LazyLock::new(|| {
    let bundles = [COMPLETED.to_vec(), CLAIMED.to_vec(), other_completed()];
    bundles.iter().map(|bytes| sound(bytes)).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let [from, policy, edits @ ..] = bytes else { return };
    let mut document = SOUND[usize::from(*from) % SOUND.len()].document.clone();
    for edit in edits.as_chunks().0 {
        apply(&mut document, *edit);
    }
    let text = serde_json::to_vec(&document).expect("JSON");
    let receipts = [Receipts::Read, Receipts::Require, Receipts::Ignore][usize::from(*policy) % 3];
    let verified = match verify(&text, lenient(receipts), now()) {
        Ok(verified) => verified,
        Err(refused) => return check_refusal(&refused),
    };
    let payload = verified.payload_digest();
    assert!(SOUND.iter().any(|sound| sound.payload == payload), "accepted with another payload");
    match (receipts, verified.receipt()) {
        (Receipts::Read, None) => assert!(Bundle::read(&text).is_ok_and(|bundle| bundle.log_entry.is_none())),
        (Receipts::Ignore, None) => {}
        (Receipts::Ignore, Some(_)) | (Receipts::Require, None) => panic!("{receipts:?}, {:?}", verified.receipt()),
        (_, Some(receipt)) => assert!(SOUND.iter().any(|sound| sound.payload == payload && proves(sound, receipt))),
    }
});

/// Whether this is the bundle's own receipt, of which a witness beyond the quorum may be left out.
fn proves(sound: &Sound, receipt: &Receipt) -> bool {
    let place = |receipt: &Receipt| (receipt.origin.clone(), receipt.index, receipt.size, receipt.root);
    let is_own = sound.receipt.as_ref().is_some_and(|own| place(own) == place(receipt));
    let within = COSIGNED..=COSIGNED + 2;
    let is_dated = receipt.times.is_some_and(|times| {
        [times.logged_by, times.current_at].iter().all(|time| within.contains(&time.unix_seconds()))
    });
    let distinct: BTreeSet<_> = receipt.witnesses.iter().collect();
    is_own && is_dated && distinct.len() == receipt.witnesses.len() && distinct.len() >= 2
}

fn sound(bytes: &[u8]) -> Sound {
    let verified = verify(bytes, lenient(Receipts::Read), now()).expect("a sound bundle");
    Sound { document: value(bytes), payload: verified.payload_digest(), receipt: verified.receipt().cloned() }
}

/// The other result at the end of a tree of five, which the log has signed too.
fn other_completed() -> Vec<u8> {
    let mut bundle = Bundle::read(CLAIMED).expect("a bundle");
    let body = Leaf::of(&bundle, [key("vendor").public().to_spki_pem().as_str()]).to_bytes();
    let mut tree = Tree::default();
    (0..4).for_each(|_| tree.push(Hash::of_leaf(&[0])));
    tree.push(Hash::of_leaf(&body));
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).expect("a checkpoint");
    let mut note = sign_checkpoint(&checkpoint, &key("log"));
    for (name, time) in ["witness-1", "witness-2", "witness-3"].into_iter().zip(COSIGNED.unsigned_abs()..) {
        let cosignature = cosign(&checkpoint, &format!("{name}.example.org/w"), &key(name), time);
        note.push(cosignature.expect("a cosignature")).expect("room");
    }
    bundle.log_entry = Some(LogEntry {
        index: 4,
        log_id: *log().key_hash(),
        root: *tree.root().as_bytes(),
        size: tree.size(),
        hashes: tree.inclusion(4, 5).expect("a proof").iter().map(|hash| *hash.as_bytes()).collect(),
        checkpoint: String::from_utf8(note.to_bytes()).expect("text"),
        body,
    });
    bundle.to_bytes()
}

/// Where something can be changed. The last two are within a log entry's list of hashes.
const PLACES: [&str; 20] = [
    "/mediaType",
    "/dsseEnvelope",
    "/dsseEnvelope/payload",
    "/dsseEnvelope/payloadType",
    "/dsseEnvelope/signatures",
    "/dsseEnvelope/signatures/0/sig",
    "/dsseEnvelope/signatures/0/keyid",
    "/verificationMaterial/publicKey/hint",
    "/verificationMaterial/tlogEntries",
    "/verificationMaterial/tlogEntries/0",
    "/verificationMaterial/tlogEntries/0/logIndex",
    "/verificationMaterial/tlogEntries/0/logId/keyId",
    "/verificationMaterial/tlogEntries/0/canonicalizedBody",
    "/verificationMaterial/tlogEntries/0/inclusionProof",
    "/verificationMaterial/tlogEntries/0/inclusionProof/logIndex",
    "/verificationMaterial/tlogEntries/0/inclusionProof/rootHash",
    "/verificationMaterial/tlogEntries/0/inclusionProof/treeSize",
    "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope",
    "/verificationMaterial/tlogEntries/0/inclusionProof/hashes",
    "/verificationMaterial/tlogEntries/0/inclusionProof/hashes/0",
];

fn apply(document: &mut Value, [what, place, at, with]: [u8; 4]) {
    let place = PLACES[usize::from(place) % PLACES.len()];
    let Some(value) = document.pointer_mut(place) else { return };
    let other = SOUND[usize::from(with) % SOUND.len()].document.pointer(place);
    match (what % 8, value) {
        // Most of what is told apart is told by where a part is from.
        (0..=2, value) => *value = other.cloned().unwrap_or_default(),
        (3, Value::String(text)) => *text = flipped(text, at, with),
        (4, Value::String(text)) => {
            let mut bytes = std::mem::take(text).into_bytes();
            let end = bytes.len();
            match bytes.get_mut(usize::from(at) * end / 256) {
                Some(byte) => *byte = with,
                None => bytes.push(with),
            }
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        (4, Value::Array(items)) => {
            if let Some(first) = items.first().cloned() {
                items.insert(usize::from(at) % (items.len() + 1), first);
            }
        }
        (5, Value::Array(items)) if !items.is_empty() => drop(items.remove(usize::from(at) % items.len())),
        (5, Value::String(text)) => *text = relined(text, at, with),
        (6, value) => {
            let others = [json!(null), json!([]), json!({}), json!(at), json!(at.to_string())];
            *value = others[usize::from(with) % others.len()].clone();
        }
        (7, Value::Object(fields)) => {
            let name = fields.keys().nth(usize::from(at) % fields.len().max(1)).cloned();
            name.map(|name| fields.remove(&name));
        }
        _ => {}
    }
}

/// One bit changed of what base64 stands for.
fn flipped(text: &str, at: u8, bit: u8) -> String {
    let Ok(mut bytes) = STANDARD.decode(text) else { return text.to_owned() };
    let place = usize::from(at) * bytes.len() / 256;
    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
    STANDARD.encode(bytes)
}

/// A line of a note moved, left out or doubled.
fn relined(text: &str, at: u8, to: u8) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return String::new();
    }
    let (at, to) = (usize::from(at) % lines.len(), usize::from(to) % (2 * lines.len()));
    let line = lines.remove(at);
    if to <= lines.len() {
        lines.insert(to, line);
    } else if to % 2 == 0 {
        lines.splice(at..at, [line, line]);
    }
    lines.concat()
}
