//! Many bundles at once: an archive of files, and a whole log that is audited over HTTP, on every core.
//!
//! usage: `cargo bench -p smi-tests --bench cost -- bulk [--bundles N] [--folder DIR]`
//!
//! Bundles are those of [`super::logged`], submitted to a publisher without witnesses and fetched from it completed, as
//! an archive has them. Then `smi-verifier verify --archive --require-receipt` and `smi-verifier audit` are run like a
//! user runs them, each a process of its own; the publisher that the audit asks runs beside it and on the same cores.
//!
//! The floor is what no verification can leave out, on every core and from memory: signatures in batches of [`BATCH`]
//! (which ours are not: `smi_verifier::bulk` says why), the digest of the payload, envelope and statement parsed, every
//! status replayed. It is measured before and after each, and printed as wall and processor time of one bundle.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ed25519_dalek::{Signature, VerifyingKey, verify_batch};
use smi_schemas::bundle::Bundle;
use smi_schemas::statement::Statement;
use smi_tests::programme::{Running, Settings};
use smi_verifier::judge::{Context, judge};
use smi_verifier::policy::Policy;

use super::logged::{Cost, policy, sandbox_result, signed};
use super::measure::{self, Folder, children_time, per_second};

/// Signatures of one equation.
const BATCH: usize = 64;

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Bundles of the archive and of the log
    #[arg(long, default_value_t = 3000)]
    bundles: usize,
    /// Where archive and store are made
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Options {
    /// As little as tells anything.
    pub(crate) fn short() -> Self {
        Self { bundles: 1000, folder: None }
    }
}

/// Measures both.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, options: &Options) {
    let folder = Folder::new("bulk", options.folder.as_deref());
    let (policy, keyring) = (policy(), folder.path().join("keyring.json"));
    fs::write(&keyring, policy.keyring.to_bytes()).unwrap();
    let bundles = signed(&runtime.block_on(sandbox_result()), &mut (0..), options.bundles);
    let settings = Settings { keyring: policy.keyring.clone(), policy: policy.clone(), quota: u32::MAX };
    let publisher = runtime.block_on(Running::start(folder.path(), settings));
    let archive = folder.path().join("archive");
    let bundles = runtime.block_on(completed(&publisher, bundles, &archive));
    println!("bulk      {} bundles of {} bytes", bundles.len(), bundles[0].len());

    let mut verify = verifier("verify", &keyring);
    report("archive", &bundles, &policy, verify.arg("--archive").arg(&archive).arg("--require-receipt"));
    let mut audit = verifier("audit", &keyring);
    report("audit", &bundles, &policy, audit.arg(publisher.url("")));
    runtime.block_on(publisher.stop());
}

fn verifier(command: &str, keyring: &Path) -> Command {
    let mut verifier = Command::new(env!("CARGO_BIN_EXE_verifier"));
    verifier.arg(command).arg("--keyring").arg(keyring).arg("--allow-sandbox").stdout(Stdio::null());
    verifier
}

/// Every bundle as the publisher completed it, in files of a folder and in memory.
async fn completed(publisher: &Running, bundles: Vec<Vec<u8>>, folder: &Path) -> Vec<Vec<u8>> {
    fs::create_dir(folder).unwrap();
    let payloads: Vec<_> = bundles.iter().map(|bundle| Bundle::read(bundle).unwrap().payload_digest()).collect();
    publisher.fill(bundles).await;
    let mut completed = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let address = publisher.url(&format!("/v1/bundles/{payload}/completed"));
        let answer = publisher.client.get(address).send().await.unwrap().error_for_status().unwrap();
        let bytes = answer.bytes().await.unwrap().to_vec();
        fs::write(folder.join(format!("{}.json", payload.hex())), &bytes).unwrap();
        completed.push(bytes);
    }
    completed
}

fn report(name: &str, bundles: &[Vec<u8>], policy: &Policy, command: &mut Command) {
    let before = floor(bundles, policy);
    let processor = children_time();
    let mut cost = Cost::of(bundles.len(), || assert!(command.status().unwrap().success(), "{command:?}"));
    cost.processor = children_time().saturating_sub(processor) / u32::try_from(bundles.len()).unwrap();
    let floor = Cost::mean(&[before, floor(bundles, policy)]);
    println!("{name:<9} {} bundles/s, {} us of processors a bundle", per_second(cost.wall), cost.processor.as_micros());
    println!("  floor   {} bundles/s, {} us of processors", per_second(floor.wall), floor.processor.as_micros());
    println!(
        "  reached {} of the floor's rate, {} by processor time",
        super::ratio(floor.wall, cost.wall),
        super::ratio(floor.processor, cost.processor)
    );
}

/// What no verification of all these bundles can leave out.
fn floor(bundles: &[Vec<u8>], policy: &Policy) -> Cost {
    let batches: Vec<&[Vec<u8>]> = bundles.chunks(BATCH).collect();
    Cost::of(bundles.len(), || drop(measure::on_every_core(&batches, |batch| parsed_and_replayed(batch, policy))))
}

fn parsed_and_replayed(batch: &[Vec<u8>], policy: &Policy) {
    let bundles: Vec<Bundle> = batch.iter().map(|bytes| Bundle::read(bytes).unwrap()).collect();
    let messages: Vec<Vec<u8>> = bundles.iter().map(Bundle::signed_bytes).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let (mut signatures, mut keys) = (Vec::new(), Vec::new());
    for Bundle { signature, .. } in &bundles {
        signatures.push(Signature::from_slice(&signature.sig).unwrap());
        let signer = policy.keyring.find(&signature.keyid.parse().unwrap()).unwrap();
        keys.push(VerifyingKey::from_bytes(signer.public_key.as_bytes()).unwrap());
    }
    verify_batch(&messages, &signatures, &keys).unwrap();
    for bundle in &bundles {
        black_box(bundle.payload_digest());
        let Statement { predicate, .. } = Statement::read(&bundle.payload).unwrap();
        let mut suites = policy.suites.versions(&predicate.suite.version);
        let (suite, _) = suites.find(|(_, digest)| *digest == predicate.suite.digest).unwrap();
        let absent = predicate.absent();
        let context = Context::of(suite, &predicate, &absent);
        for (assertion, result) in suite.assertions.iter().zip(&predicate.assertions) {
            assert!(judge(&context, assertion, result.observations.as_ref()).unwrap().status == result.status);
        }
    }
}
