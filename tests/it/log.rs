//! The log over real sockets: head, tiles and proofs, and what a completed bundle proves.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use smi_schemas::Digest;
use smi_schemas::bundle::Bundle;
use smi_schemas::leaf::Leaf;
use smi_tests::programme::{Running, Settings, release};
use smi_tests::vectors;
use smi_verifier::merkle::{Hash, Tree, check_consistency, check_inclusion};
use smi_verifier::note::{Checkpoint, open};
use smi_verifier::policy::{Policy, Receipts};
use smi_verifier::proof::TlogProof;
use smi_verifier::receipt::log_key;
use smi_verifier::tile::{TileKind, TilePath, decode_entries, decode_hashes};
use smi_verifier::{Stage, verify};
use tempfile::TempDir;

/// Entries of the log: a full tile and a partial one, and a second level.
const SIZE: u64 = 259;

async fn logged() -> (Running, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let publisher = Running::start(data.path(), Settings { quota: u32::MAX, ..Settings::default() }).await;
    publisher.fill([vectors::sound()]).await;
    publisher.fill((2..SIZE).map(release)).await;
    (publisher, data)
}

async fn post(publisher: &Running, bundle: Vec<u8>) -> Value {
    let response = publisher.client.post(publisher.url("/v1/bundles")).body(bundle).send().await.unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn get(publisher: &Running, path: &str) -> Response {
    publisher.client.get(publisher.url(path)).send().await.unwrap()
}

async fn bytes(publisher: &Running, path: &str) -> Vec<u8> {
    let response = get(publisher, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.bytes().await.unwrap().to_vec()
}

async fn json(publisher: &Running, path: &str) -> Value {
    serde_json::from_slice(&bytes(publisher, path).await).unwrap()
}

fn hash(value: &Value) -> Hash {
    Hash::from_base64(value.as_str().unwrap()).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

async fn head(publisher: &Running) -> Checkpoint {
    let note = bytes(publisher, "/checkpoint").await;
    open(&note, &log_key(&vectors::keyring()).unwrap()).unwrap().checkpoint().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_are_the_tree_of_the_checkpoint() {
    let (publisher, _data) = logged().await;
    let checkpoint = head(&publisher).await;
    assert_eq!((checkpoint.origin(), checkpoint.size()), (vectors::ORIGIN, SIZE));
    let mut tree = Tree::default();
    for path in ["entries/000", "entries/001.p/3"] {
        let tile = bytes(&publisher, &format!("/tile/{path}")).await;
        let width = path.parse::<TilePath>().unwrap().width();
        for leaf in decode_entries(&tile, width).unwrap() {
            let payload = Leaf::read(leaf).unwrap().payload();
            let place = json(&publisher, &format!("/v1/lookup?sha256={}", payload.hex())).await;
            assert_eq!((place["index"].as_u64(), &place["published"]), (Some(tree.size()), &Value::Bool(true)));
            assert_eq!(hash(&place["leafHash"]), Hash::of_leaf(leaf));
            tree.push(Hash::of_leaf(leaf));
        }
    }
    assert_eq!(tree.root(), *checkpoint.root());
    for path in TilePath::needed(SIZE, 0..SIZE) {
        let TileKind::Hashes { level } = path.kind() else { continue };
        let response = get(&publisher, &format!("/tile/{path}")).await;
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let served = decode_hashes(&response.bytes().await.unwrap(), path.width()).unwrap();
        assert_eq!(Some(served), tree.hashes(level, path.index(), path.width()), "{path}");
    }
    let response = get(&publisher, "/checkpoint").await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    for absent in
        ["0/001.p/4", "0/001", "entries/001.p/4", "1/001.p/1", "2/000.p/1", "0/0", "0/000.p/256", "64/000", "x"]
    {
        let answer = get(&publisher, &format!("/tile/{absent}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{absent}");
    }
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_by_endpoint_lead_to_the_root() {
    let (publisher, _data) = logged().await;
    let checkpoint = head(&publisher).await;
    for index in [0, 1, 2, 127, 255, 256, 258] {
        for size in [index + 1, SIZE] {
            let proof = json(&publisher, &format!("/v1/inclusion?index={index}&size={size}")).await;
            let (leaf, root) = (hash(&proof["leafHash"]), hash(&proof["root"]));
            assert_eq!(check_inclusion(&leaf, index, size, &hashes(&proof["hashes"]), &root), Ok(()));
            assert!(size < SIZE || root == *checkpoint.root());
        }
    }
    for old in [1, 2, 255, 256, 257, SIZE] {
        let proof = json(&publisher, &format!("/v1/consistency?old={old}&new={SIZE}")).await;
        let (older, newer) = (hash(&proof["old"]["root"]), hash(&proof["new"]["root"]));
        assert_eq!(check_consistency((old, &older), (SIZE, &newer), &hashes(&proof["hashes"])), Ok(()));
        assert_eq!(newer, *checkpoint.root());
    }
    for (path, status) in [
        ("/v1/inclusion?index=259&size=259", StatusCode::NOT_FOUND),
        ("/v1/inclusion?index=0&size=260", StatusCode::NOT_FOUND),
        ("/v1/inclusion?index=0", StatusCode::BAD_REQUEST),
        ("/v1/inclusion?size=1&index=0", StatusCode::BAD_REQUEST),
        ("/v1/consistency?old=9&new=8", StatusCode::NOT_FOUND),
        ("/v1/consistency?old=1&new=18446744073709551615", StatusCode::NOT_FOUND),
        ("/v1/consistency?old=1&new=18446744073709551616", StatusCode::BAD_REQUEST),
        ("/v1/lookup?sha256=00", StatusCode::BAD_REQUEST),
        ("/v1/lookup", StatusCode::BAD_REQUEST),
    ] {
        let answer = get(&publisher, path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let absent = get(&publisher, &format!("/v1/lookup?sha256={}", "0".repeat(64))).await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_bundle_proves_itself() {
    let (publisher, _data) = logged().await;
    let keyring = vectors::keyring_with(None);
    let policy = Policy { receipts: Receipts::Require, ..vectors::policy(keyring.clone(), None) };
    let answered = post(&publisher, vectors::sound()).await;
    let payload = answered["payload"].as_str().unwrap().to_owned();
    let fetched = bytes(&publisher, &format!("/v1/bundles/{payload}/completed")).await;
    for completed in [serde_json::to_vec(&answered["bundle"]).unwrap(), fetched.clone()] {
        let verified = verify(&completed, &policy, vectors::now()).unwrap();
        let receipt = verified.receipt().unwrap();
        assert_eq!(
            (receipt.index, receipt.size, verified.undecided()),
            (1, SIZE, vec![Stage::Quorum, Stage::Freshness])
        );
    }
    let leaf = STANDARD.decode(
        serde_json::from_slice::<Value>(&fetched).unwrap()["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"]
            .as_str()
            .unwrap(),
    );
    let leaf = Hash::of_leaf(&leaf.unwrap());
    let text = bytes(&publisher, &format!("/v1/bundles/{payload}/tlog-proof")).await;
    assert_eq!(Some(String::from_utf8_lossy(&text).as_ref()), answered["tlogProof"].as_str());
    let proof = TlogProof::read(&text).unwrap();
    assert_eq!(proof.verify(&leaf, &log_key(&keyring).unwrap()).unwrap().checkpoint(), &head(&publisher).await);

    let revoked = {
        let mut keyring = keyring.clone();
        keyring.revoke(&"vendor".parse().unwrap(), 2).unwrap();
        keyring
    };
    let later = Policy { keyring: revoked, ..policy.clone() };
    assert!(verify(&fetched, &later, vectors::now()).is_ok(), "logged before the revocation");
    assert!(verify(&vectors::sound(), &later, vectors::now()).is_err(), "without its receipt nobody knows that");
    let at_once = {
        let mut keyring = keyring;
        keyring.revoke(&"vendor".parse().unwrap(), 1).unwrap();
        Policy { keyring, ..policy }
    };
    let refused = verify(&fetched, &at_once, vectors::now()).unwrap_err();
    assert_eq!((refused.stage, refused.findings[0].code.as_str()), (Stage::InForce, "key-revoked"));
    publisher.stop().await;
}

/// The answer to who accepts these encodings.
async fn encoded(publisher: &Running, path: &str, accepted: &str) -> Response {
    publisher.client.get(publisher.url(path)).header("accept-encoding", accepted).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_repeats_itself_is_compressed_for_who_asks() {
    let (publisher, _data) = logged().await;
    let payload = Digest::of(&Bundle::read(&vectors::sound()).unwrap().payload);
    let bundle = format!("/v1/bundles/{payload}");
    for path in ["/tile/entries/000", "/tile/entries/001.p/3", &bundle, "/v1/view.json"] {
        let plain = bytes(&publisher, path).await;
        for accepted in ["identity", "br", "gzip;q=0", "gzip;q=0.5, identity"] {
            let answer = encoded(&publisher, path, accepted).await;
            assert_eq!((answer.status(), answer.headers().get("content-encoding")), (StatusCode::OK, None), "{path}");
            assert_eq!(answer.headers()["vary"], "accept-encoding", "{path}, or a cache mixes them up");
            assert_eq!(answer.bytes().await.unwrap(), plain, "{path}");
        }
        let answer = encoded(&publisher, path, "br, gzip").await;
        assert_eq!(
            (&answer.headers()["content-encoding"], &answer.headers()["vary"]),
            (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
        );
        let (packed, mut unpacked) = (answer.bytes().await.unwrap(), Vec::new());
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain && packed.len() < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
        let refused = encoded(&publisher, path, "identity;q=0").await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
    }
    for path in ["/tile/0/000", "/checkpoint", "/tile/entries/009", "/v1/events"] {
        assert_eq!(encoded(&publisher, path, "gzip").await.headers().get("content-encoding"), None, "{path}");
    }

    let tag = |answer: &Response| answer.headers()["etag"].to_str().unwrap().to_owned();
    let (plain, packed) = (tag(&get(&publisher, &bundle).await), tag(&encoded(&publisher, &bundle, "gzip").await));
    assert_eq!((&plain, &packed), (&format!("\"{payload}\""), &format!("W/\"{payload}\"")), "other bytes");
    for tag in [plain, packed] {
        let known = publisher.client.get(publisher.url(&bundle)).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!(
            (known.status(), &known.headers()["vary"]),
            (StatusCode::NOT_MODIFIED, &"accept-encoding".parse().unwrap()),
            "{tag}"
        );
    }
    publisher.stop().await;
}
