//! Intake on its own, at times that a test chooses: what repeating a submission costs, and what it is answered.

use std::sync::Arc;

use smi_keys::keyring::Keyring;
use smi_publisher::cell::FileCell;
use smi_publisher::intake::{Intake, Refusal, Room};
use smi_publisher::log::{Answer, Log, Logged, Signer, Submission};
use smi_publisher::recover::Recovered;
use smi_publisher::store::{Mark, SledStore};
use smi_schemas::bundle::Bundle;
use smi_schemas::codes::Code;
use smi_schemas::{Digest, Timestamp};
use smi_tests::programme::{changed, first, release};
use smi_tests::vectors::{self, key};
use smi_verifier::said::verify_first;
use tempfile::TempDir;

/// An intake of a log whose first entry is the keyring of the vectors.
struct Bench {
    intake: Intake,
    _folder: TempDir,
}

impl Bench {
    async fn new(quota: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let store = Arc::new(SledStore::open(&data, Mark { demonstration: false }).unwrap());
        let signer = Signer { origin: vectors::ORIGIN.to_owned(), key: key("log") };
        let cell = Box::new(FileCell::new(&FileCell::beside(&data)));
        let (log, _) = Log::start(store, cell, signer, Recovered::default()).unwrap();
        log.submit(Submission::new(verify_first(&first(&keyring())).unwrap())).await.unwrap();
        Self { intake: Intake::new(vectors::policy(keyring(), None), quota, log).unwrap(), _folder: folder }
    }

    async fn accept(&self, bundle: &[u8], now: Timestamp) -> Result<Logged, Refusal> {
        self.intake.accept(bundle.to_vec(), Room::default(), now, None).await
    }

    /// The index of what is new, and is stored as it came.
    async fn added(&self, bundle: &[u8]) -> u64 {
        let Logged { answer, stored } = self.accept(bundle, vectors::now()).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{answer:?}"));
        assert!(matches!(answer, Answer::Added { index, .. } if index == stored.index && stored.blob == bundle));
        stored.index
    }

    /// The index of what is there, with the bytes that are stored.
    async fn present(&self, bundle: &[u8], now: Timestamp) -> u64 {
        let Logged { answer, stored } = self.accept(bundle, now).await.unwrap();
        assert_eq!(stored.map(|stored| stored.blob).as_deref(), Some(bundle));
        match answer {
            Answer::Present { index, digest } => {
                assert_eq!(digest, Bundle::read(bundle).unwrap().payload_digest());
                index
            }
            added @ Answer::Added { .. } => panic!("{added:?}"),
        }
    }

    async fn refused(&self, bundle: &[u8]) -> Code {
        self.accept(bundle, vectors::now()).await.unwrap_err().findings()[0].code
    }
}

fn keyring() -> Keyring {
    vectors::keyring_with(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_log_spends_nobodys_quota() {
    let bench = Bench::new(2).await;
    assert_eq!(bench.added(&release(1)).await, 1);
    for _ in 0..4 {
        assert_eq!(bench.present(&release(1), vectors::now()).await, 1);
    }
    assert_eq!(bench.added(&release(2)).await, 2);
    assert_eq!(bench.refused(&release(3)).await, Code::QuotaSpent);
    assert_eq!(bench.present(&release(2), vectors::now()).await, 2, "nor does it need any");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_may_be_submitted_again() {
    let bench = Bench::new(9).await;
    let mut next = keyring();
    next.revoke(&"vendor".parse().unwrap(), 1).unwrap();
    let next = changed(&next, Some(Digest::of(&keyring().to_bytes())), &["root"]);
    assert_eq!(bench.added(&next).await, 1);
    assert_eq!(bench.present(&next, vectors::now()).await, 1);
    assert_eq!(bench.present(&first(&keyring()), vectors::now()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_may_be_submitted_again_a_year_later_and_by_a_key_that_was_revoked() {
    let bench = Bench::new(9).await;
    assert_eq!(bench.added(&vectors::sound()).await, 1);
    let mut next = keyring();
    next.revoke(&"vendor".parse().unwrap(), 2).unwrap();
    bench.added(&changed(&next, Some(Digest::of(&keyring().to_bytes())), &["root"])).await;
    let later = "2027-01-02T12:00:00Z".parse().unwrap();
    assert_eq!(bench.present(&vectors::sound(), later).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bundle_of_a_payload_that_is_there_is_verified() {
    let bench = Bench::new(9).await;
    assert_eq!(bench.added(&vectors::sound()).await, 1);
    let mut bundle = Bundle::read(&vectors::sound()).unwrap();
    let other = key("careful-vendor").sign_statement(&bundle.payload).to_bytes();
    assert_eq!(bench.refused(&other).await, Code::PayloadTaken);
    bundle.signature.sig[0] ^= 1;
    assert_eq!(bench.refused(&bundle.to_bytes()).await, Code::SignatureInvalid);
}
