//! What one verification of a completed bundle costs, beside the crate sigstore-verify on the same bytes.
//!
//! usage: `cargo run --release --locked --manifest-path tests/bench/peer/Cargo.toml [-- BUNDLE KEYRING]`
//!
//! The default is the completed bundle of the vectors with its keyring. Both verifiers are handed the file's bytes and
//! have parsed nothing before, but for keys and trusted root. What both check, and what is compared:
//!
//! - the bundle's shape, the strict signature of the envelope, and that the payload is a statement about its subject;
//! - the leaf, the log's signature of the checkpoint, and the path from the one to the other.
//!
//! Ours is made of the same calls as [`smi_verifier::verify`], which does not let its replay be left out. The quorum of
//! witnesses, which sigstore-verify does not know, and the whole verification with the replay of every status are printed
//! apart. *Cold* is the first verification after the caches of the processor were filled with something else; *warm* is
//! the median of many. The two verifiers take turns.

use std::env;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle as TheirBundle, DerPublicKey, Sha256Hash};
use sigstore_verify::{PublicKeyVerificationPolicy, Verifier};
use smi_keys::export::trusted_root;
use smi_keys::keyring::{Entry, Keyring};
use smi_schemas::Timestamp;
use smi_schemas::bundle::Bundle;
use smi_schemas::leaf::Leaf;
use smi_schemas::statement::Statement;
use smi_verifier::merkle::{Hash, check_inclusion};
use smi_verifier::note::{SignedCheckpoint, open};
use smi_verifier::policy::{Policy, Receipts, Suites};
use smi_verifier::receipt::{log_key, quorum};
use smi_verifier::verify;

const ROUNDS: usize = 301;
/// More than the caches of a processor hold.
const CACHE_BYTES: usize = 128 * 1024 * 1024;

const A_DAY_SECONDS: i64 = 24 * 60 * 60;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors");

fn main() {
    let mut arguments = env::args().skip(1);
    let bundle = arguments.next().unwrap_or_else(|| format!("{VECTORS}/completed.json"));
    let keyring = arguments.next().unwrap_or_else(|| format!("{VECTORS}/keyring.json"));
    let (bundle, keyring) = (fs::read(bundle).unwrap(), Keyring::read(&fs::read(keyring).unwrap()).unwrap().0);
    let mut suites = Suites::builtin().unwrap();
    suites.add(&fs::read(format!("{VECTORS}/suite.json")).unwrap()).unwrap();
    let finished_at = Statement::read(&Bundle::read(&bundle).unwrap().payload).unwrap().predicate.run.finished_at;
    // Whoever cosigned it has done so by then.
    let now = Timestamp::from_unix_seconds(finished_at.unix_seconds() + A_DAY_SECONDS).unwrap();
    let policy = Policy {
        keyring,
        suites,
        allow_sandbox: true,
        allow_draft: false,
        publication: false,
        receipts: Receipts::Require,
        max_age_seconds: None,
    };
    let theirs = Theirs::new(&bundle, &policy.keyring);

    let names = ["sigstore-verify", "ours, the same", "  and quorum", "  and replay"];
    let work: [&dyn Fn(); 4] = [
        &|| theirs.verify(&bundle),
        &|| drop(black_box(proven(&bundle, &policy.keyring))),
        &|| drop(black_box(quorum(&proven(&bundle, &policy.keyring), &policy.keyring).unwrap())),
        &|| drop(black_box(verify(&bundle, &policy, now).unwrap())),
    ];
    println!("peer      {} bytes", bundle.len());
    let (cold, warm) = (measured(&work, true), measured(&work, false));
    for (kind, times) in [("cold", cold), ("warm", warm)] {
        for (name, time) in names.iter().zip(times) {
            let hundredths = time.as_nanos() * 100 / times[0].as_nanos();
            println!(
                "  {kind}    {name:<16} {:>6} us  ratio {}.{:02}",
                time.as_micros(),
                hundredths / 100,
                hundredths % 100
            );
        }
    }
}

/// The median of each, in turns.
fn measured(work: &[&dyn Fn(); 4], cold: bool) -> [Duration; 4] {
    let mut times = [const { Vec::new() }; 4];
    let mut other = vec![0_u64; CACHE_BYTES / 8];
    for round in 0..if cold { ROUNDS / 10 } else { ROUNDS } {
        for (work, times) in work.iter().zip(&mut times) {
            if cold {
                other.iter_mut().for_each(|word| *word = word.wrapping_add(round as u64));
                black_box(&other);
            }
            let started = Instant::now();
            work();
            times.push(started.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

/// Everything but policy, replay and quorum.
fn proven(bytes: &[u8], keyring: &Keyring) -> SignedCheckpoint {
    let bundle = Bundle::read(bytes).unwrap();
    let signer: &Entry = keyring.find(&bundle.signature.keyid.parse().unwrap()).unwrap();
    assert!(signer.public_key.verify(&bundle.signed_bytes(), &bundle.signature.sig));
    black_box(Statement::read(&bundle.payload).unwrap());
    let entry = bundle.log_entry.as_ref().unwrap();
    let head = open(entry.checkpoint.as_bytes(), &log_key(keyring).unwrap()).unwrap();
    let leaf = Leaf::of(&bundle, [signer.public_key.to_spki_pem().as_str()]).to_bytes();
    assert!(leaf == entry.body);
    let path: Vec<Hash> = entry.hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect();
    let checkpoint = head.checkpoint();
    check_inclusion(&Hash::of_leaf(&leaf), entry.index, checkpoint.size(), &path, checkpoint.root()).unwrap();
    head
}

struct Theirs {
    verifier: Verifier,
    policy: PublicKeyVerificationPolicy,
    subject: Sha256Hash,
}

impl Theirs {
    fn new(bundle: &[u8], keyring: &Keyring) -> Self {
        let root = TrustedRoot::from_json(&trusted_root(keyring).unwrap()).unwrap();
        let bundle = Bundle::read(bundle).unwrap();
        let signer = keyring.find(&bundle.signature.keyid.parse().unwrap()).unwrap();
        let subject = Statement::read(&bundle.payload).unwrap().subject.remove(0).digest.sha256;
        Self {
            verifier: Verifier::new(&root).unwrap(),
            policy: PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&signer.public_key.to_spki_pem()).unwrap()),
            subject: Sha256Hash::from_hex(&subject).unwrap(),
        }
    }

    fn verify(&self, bytes: &[u8]) {
        let bundle = TheirBundle::from_json(std::str::from_utf8(bytes).unwrap()).unwrap();
        assert!(self.verifier.verify(self.subject, &bundle, &self.policy).unwrap().tlog_verified());
    }
}
