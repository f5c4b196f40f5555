//! The vectors of `tests/vectors/`: bundles that a verifier must refuse, one fault each.
//!
//! Every vector is made from the same sound bundle by exactly one fault, and signed again unless the fault is in
//! the signature or around it. So undoing the fault gives the sound bundle back, which is accepted. Keys come from
//! public seeds (the SHA-256 of their names) and serve no other purpose.

mod faults;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use smi_keys::SigningKey;
use smi_keys::keyring::{Entry, Keyring, Publish, Revoked, Role};
use smi_schemas::bundle::{Bundle, LogEntry, PAYLOAD_TYPE, Signature, pae};
use smi_schemas::codes::Code;
use smi_schemas::leaf::Leaf;
use smi_schemas::names::Slug;
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{
    Agent, Crd, DigestSet, Enforcing, Filters, Mesh, Overrides, Predicate, Purpose, Run, Statement, Subject, Target,
    Versioned,
};
use smi_schemas::suite::Suite;
use smi_schemas::{Digest, Timestamp, digest};
use smi_verifier::Stage;
use smi_verifier::judge::Context;
use smi_verifier::merkle::{Hash, Tree};
use smi_verifier::note::{Checkpoint, KeyKind, NoteKey, cosign, sign_checkpoint};
use smi_verifier::policy::{Policy, Receipts, Suites};

use crate::simulate;

/// The suite of the vectors, frozen.
pub const SUITE: &[u8] = include_bytes!("../vectors/suite.json");

/// What time it is when the vectors are verified.
pub const NOW: &str = "2026-01-02T12:00:00Z";

/// What a vector must be refused for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// The file, in `bundles/`.
    pub name: String,
    /// The rule that it breaks.
    pub rule: String,
    /// The stage that refuses; none when the keyring itself is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The one code given.
    pub code: Code,
    /// The keyring that goes with it.
    pub keyring: String,
    /// A receipt is required.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_receipt: bool,
    /// The greatest age admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<i64>,
}

/// A vector with its files' bytes.
pub struct Vector {
    /// What it is for.
    pub expected: Expected,
    /// The bundle.
    pub bundle: Vec<u8>,
    /// The keyring.
    pub keyring: Vec<u8>,
}

/// The one thing that is wrong.
enum Fault {
    /// The statement, before it is written and signed.
    Statement(fn(&mut Statement)),
    /// The statement's text, before it is signed.
    Payload(fn(&str) -> String),
    /// The type that is signed with the payload.
    PayloadType(&'static str),
    /// The key that signs.
    Signer(&'static str),
    /// The bundle's bytes, after signing.
    Bundle(fn(Vec<u8>) -> Vec<u8>),
    /// The signature's bytes, after signing.
    Signature(fn(Vec<u8>) -> Vec<u8>),
    /// The receipt, after the bundle was completed.
    Receipt(fn(&mut LogEntry)),
    /// The time at which witnesses cosigned, and how many of them.
    Cosigned(u64, usize),
    /// There is no receipt, and one is required.
    NoReceipt,
    /// The signer's public key is the neutral point, for which anybody can sign.
    WeakKey,
}

/// The sound bundle that every vector is made from.
pub fn sound() -> Vec<u8> {
    made(None).0
}

/// The sound bundle with another statement, signed by the vendor.
pub fn signed(edit: impl FnOnce(&mut Statement)) -> Vec<u8> {
    let mut statement = statement();
    edit(&mut statement);
    key("vendor").sign_statement(&statement.to_bytes()).to_bytes()
}

/// The sound bundle of a mesh whose vendor claims not to support what it serves.
pub fn claimed() -> Vec<u8> {
    signed(claim)
}

/// Has the vendor claim not to support two APIs, which are served.
fn claim(statement: &mut Statement) {
    statement.predicate.mesh.claimed_unsupported = [Api::Specs, Api::Split].into();
}

/// The name of the log.
pub const ORIGIN: &str = "log.example.org";

/// The witnesses that the keyring names, of whom [`QUORUM`] must cosign.
pub const WITNESSES: [&str; 3] = ["witness-1", "witness-2", "witness-3"];

/// How many witnesses must cosign a receipt.
pub const QUORUM: u32 = 2;

/// The keyring of all vectors but those about keyrings.
pub fn keyring() -> Keyring {
    keyring_with(Some(QUORUM))
}

/// The same keyring with another quorum.
pub fn keyring_with(quorum: Option<u32>) -> Keyring {
    keyring_at(quorum, &[])
}

/// The same, with the addresses of its witnesses.
pub fn keyring_at(quorum: Option<u32>, witnesses: &[String]) -> Keyring {
    let mut keyring = Keyring::default();
    for (name, role, meshes) in [
        ("vendor", Role::Vendor, &["example-mesh", "sandbox"][..]),
        ("other-vendor", Role::Vendor, &["other-mesh"]),
        ("retired-vendor", Role::Vendor, &["example-mesh"]),
        ("careful-vendor", Role::Vendor, &["example-mesh"]),
        ("reviewer", Role::Reviewer, &[]),
        ("root", Role::Root, &[]),
        ("suite", Role::Suite, &[]),
        ("log", Role::Log, &[]),
        (WITNESSES[0], Role::Witness, &[]),
        (WITNESSES[1], Role::Witness, &[]),
        (WITNESSES[2], Role::Witness, &[]),
    ] {
        let publish = if name == "careful-vendor" { Publish::AfterReview } else { Publish::Direct };
        let note_name = match role {
            Role::Log => Some(parsed(ORIGIN)),
            Role::Witness => Some(parsed(&format!("{name}.example.org/w"))),
            _ => None,
        };
        let entry = Entry {
            meshes: meshes.iter().copied().map(slug).collect(),
            publish: (role == Role::Vendor).then_some(publish),
            note_name,
            url: WITNESSES
                .iter()
                .position(|witness| *witness == name)
                .and_then(|at| witnesses.get(at))
                .map(|url| parsed(url)),
            revoked: (name == "retired-vendor").then_some(Revoked { from_index: 0 }),
            ..Entry::new(slug(name), role, key(name).public())
        };
        keyring.add(entry).unwrap_or_else(|error| unreachable!("{error}"));
    }
    if quorum.is_some() {
        keyring.set(keyring.threshold(), quorum).unwrap_or_else(|error| unreachable!("{error}"));
    }
    keyring
}

/// The policy that vectors are verified under: a publisher's.
pub fn policy(keyring: Keyring, max_age_seconds: Option<i64>) -> Policy {
    let mut suites = Suites::default();
    for bytes in [SUITE.to_vec(), draft()] {
        suites.add(&bytes).unwrap_or_else(|error| unreachable!("{error}"));
    }
    Policy { receipts: Receipts::Read, max_age_seconds, ..Policy::of_log(keyring, suites) }
}

/// The same suite as a draft.
pub fn draft() -> Vec<u8> {
    edited(&String::from_utf8_lossy(SUITE), r#""version": "0.1.0""#, r#""version": "0.1.0-draft""#).into()
}

/// The key of a name.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Sha256::digest(name).into())
}

/// The time at which vectors are verified.
pub fn now() -> Timestamp {
    NOW.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// Every vector.
pub fn all() -> Vec<Vector> {
    faults::all()
        .into_iter()
        .map(|(name, rule, stage, code, fault)| {
            let keyring_name = if matches!(fault, Fault::WeakKey) { "keyring-weak.json" } else { "keyring.json" };
            let (bundle, keyring) = made(Some(&fault));
            let expected = Expected {
                name: format!("{name}.json"),
                rule: rule.to_owned(),
                stage,
                code,
                keyring: keyring_name.to_owned(),
                require_receipt: matches!(fault, Fault::NoReceipt),
                max_age_seconds: match code {
                    Code::PolicyAge => Some(3600),
                    Code::ReceiptStale => Some(4 * 3600),
                    _ => None,
                },
            };
            Vector { expected, bundle, keyring }
        })
        .collect()
}

fn made(fault: Option<&Fault>) -> (Vec<u8>, Vec<u8>) {
    let mut statement = statement();
    if let Some(Fault::Statement(edit)) = fault {
        edit(&mut statement);
    }
    let mut payload = String::from_utf8(statement.to_bytes()).unwrap_or_default();
    if let Some(Fault::Payload(edit)) = fault {
        payload = edit(&payload);
    }
    let payload_type = if let Some(Fault::PayloadType(other)) = fault { other } else { PAYLOAD_TYPE };
    let signer = key(if let Some(Fault::Signer(other)) = fault { other } else { "vendor" });
    let mut sig = signer.sign(&pae(payload_type, payload.as_bytes())).to_vec();
    if let Some(Fault::Signature(edit)) = fault {
        sig = edit(sig);
    }
    let mut keyid = signer.public().key_id().to_string();
    let mut keyring = keyring().to_bytes();
    if let Some(Fault::WeakKey) = fault {
        let neutral: [u8; 32] = std::array::from_fn(|index| u8::from(index == 0));
        sig = [neutral, [0; 32]].concat();
        keyid = weak_key_id(&neutral);
        let text = String::from_utf8(keyring).unwrap_or_default();
        let neutral = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        keyring = edited(&text, &signer.public().to_base64(), neutral).into();
    }
    let mut bundle = Bundle {
        payload_type: payload_type.to_owned(),
        payload: payload.into_bytes(),
        signature: Signature { keyid, sig },
        further: Vec::new(),
        log_entry: None,
    };
    match fault {
        Some(Fault::Receipt(edit)) => {
            let mut entry = log_entry(&bundle, "vendor", COSIGNED, 2);
            edit(&mut entry);
            bundle.log_entry = Some(entry);
        }
        Some(Fault::Cosigned(time, witnesses)) => {
            bundle.log_entry = Some(log_entry(&bundle, "vendor", *time, *witnesses));
        }
        _ => {}
    }
    let bytes = bundle.to_bytes();
    (if let Some(Fault::Bundle(edit)) = fault { edit(bytes) } else { bytes }, keyring)
}

/// When the witnesses cosigned, unless that is the fault: 2026-01-02T09:00:00Z.
const COSIGNED: u64 = 1_767_344_400;

/// The sound bundle with its receipt.
pub fn completed() -> Vec<u8> {
    let bundle = Bundle::read(&sound()).unwrap_or_else(|error| unreachable!("{error}"));
    logged(bundle, "vendor", QUORUM as usize).to_bytes()
}

/// A bundle that a key signed, with its receipt at [`INDEX`], which so many witnesses cosigned at 09:00 of [`NOW`]'s day.
pub fn logged(mut bundle: Bundle, signer: &str, witnesses: usize) -> Bundle {
    bundle.log_entry = Some(log_entry(&bundle, signer, COSIGNED, witnesses));
    bundle
}

/// Where bundles are that have a receipt.
pub const INDEX: u64 = 3;

/// The place of a bundle in a log of seven entries, of which it is the fourth.
fn log_entry(bundle: &Bundle, signer: &str, time: u64, witnesses: usize) -> LogEntry {
    let body = Leaf::of(bundle, [key(signer).public().to_spki_pem().as_str()]).to_bytes();
    let mut tree = Tree::default();
    for index in 0..7 {
        tree.push(if index == INDEX { Hash::of_leaf(&body) } else { Hash::of_leaf(&[0]) });
    }
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap_or_else(|error| unreachable!("{error}"));
    let mut note = sign_checkpoint(&checkpoint, &key("log"));
    for (name, at) in WITNESSES[..witnesses].iter().zip(time..) {
        let cosignature = cosign(&checkpoint, &format!("{name}.example.org/w"), &key(name), at);
        let pushed = cosignature.map(|cosignature| note.push(cosignature));
        assert!(matches!(pushed, Ok(Ok(()))), "{name} cosigns");
    }
    let Ok(log) = NoteKey::new(ORIGIN, KeyKind::Log, key("log").public()) else { unreachable!("a name") };
    LogEntry {
        index: INDEX,
        log_id: *log.key_hash(),
        root: *tree.root().as_bytes(),
        size: tree.size(),
        hashes: tree.inclusion(INDEX, 7).unwrap_or_default().iter().map(|hash| *hash.as_bytes()).collect(),
        checkpoint: String::from_utf8_lossy(&note.to_bytes()).into_owned(),
        body,
    }
}

fn weak_key_id(key: &[u8; 32]) -> String {
    let public = digest::hex(key);
    Digest::of(format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#).as_bytes())
        .hex()
}

fn statement() -> Statement {
    let (suite, digest) = Suite::read(SUITE).unwrap_or_else(|error| unreachable!("{error}"));
    let apis = BTreeMap::from([
        (Api::Access, ApiVersion::V1alpha3),
        (Api::Specs, ApiVersion::V1alpha4),
        (Api::Split, ApiVersion::V1alpha4),
        (Api::Metrics, ApiVersion::V1alpha1),
    ]);
    let filters = Filters::default();
    let absent = BTreeSet::new();
    let context =
        Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms: None, interrupted: false };
    let assertions = simulate::results(&context, &simulate::ideal);
    let made_up = |what: &str| Digest::of(what.as_bytes());
    let crd = |name: &str, version| Crd {
        name: format!("{name}.smi-spec.io"),
        served: vec![version],
        stored: version,
        schema: made_up(name),
    };
    let predicate = Predicate {
        schema_version: smi_schemas::statement::SCHEMA_VERSION,
        run: Run {
            id: parsed("000102030405060708090a0b0c0d0e0f"),
            purpose: Purpose::Official,
            started_at: parsed("2026-01-02T08:00:00Z"),
            finished_at: parsed("2026-01-02T08:05:00Z"),
            seed: "0001020304050607".to_owned(),
            interrupted: false,
        },
        suite: Versioned { version: suite.version.clone(), digest },
        runner: Versioned { version: parsed("0.1.0"), digest: made_up("runner") },
        agent: Agent { digest: made_up("agent") },
        target: Target::Kubernetes { version: parsed("v1.34.9") },
        mesh: Mesh {
            slug: slug("example-mesh"),
            version: Some(parsed("1.2.3")),
            profile: made_up("profile"),
            enforcing: Enforcing::On,
            claimed_unsupported: BTreeSet::new(),
        },
        metrics: [ApiVersion::V1alpha1].into(),
        crds: vec![
            crd("httproutegroups.specs", ApiVersion::V1alpha4),
            crd("tcproutes.specs", ApiVersion::V1alpha4),
            crd("trafficsplits.split", ApiVersion::V1alpha4),
            crd("traffictargets.access", ApiVersion::V1alpha3),
            crd("udproutes.specs", ApiVersion::V1alpha4),
        ],
        filters: filters.clone(),
        overrides: Overrides::default(),
        apis: apis.clone(),
        assertions,
    };
    let image = Subject {
        name: "registry.example/mesh/proxy".to_owned(),
        digest: DigestSet { sha256: made_up("image").hex() },
    };
    Statement::new(vec![image], predicate)
}

/// Replaces the first occurrence, which must exist.
fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "nothing to edit: {from}");
    text.replacen(from, to, 1)
}

fn slug(text: &str) -> Slug {
    parsed(text)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| unreachable!("{text}: {error}"))
}
