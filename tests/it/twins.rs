//! A published result, and copies of it with one thing wrong.

#![allow(clippy::ptr_arg)] // all edits of lines are of one type

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use smi_tests::published::{Sample, published};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const BUNDLE: &str = "result.sigstore.json";
pub(crate) const PAYLOAD: &str = "result.payload";

/// What is wrong with a twin: a name, and how to make it so.
pub(crate) type Fault = (&'static str, fn(&Twin));

/// One sample for all tests, with a copy of what its read API serves in its folder `log`.
pub(crate) static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    let sample = published(&folder);
    let url = fs::read_to_string(folder.join("url")).unwrap();
    let checkpoint = fs::read_to_string(folder.join("checkpoint")).unwrap();
    let size = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    for path in resources(size) {
        let bytes = runtime.block_on(async {
            let response = reqwest::get(format!("{}/{path}", url.trim().trim_end_matches('/'))).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(!response.headers().contains_key("content-encoding"), "{path} is encoded, and nobody asked for it");
            response.bytes().await.unwrap()
        });
        let file = folder.join("log").join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(fs::read_to_string(folder.join("log/checkpoint")).unwrap(), checkpoint);
    sample
});

/// Whatever c2sp.org/tlog-tiles serves of a log of this size, and no more.
fn resources(size: u64) -> Vec<String> {
    let mut all = vec!["checkpoint".to_owned()];
    let (mut level, mut hashes) = (0, size);
    while hashes > 0 {
        let full = (0..hashes / 256).map(numbered);
        let partial = (!hashes.is_multiple_of(256)).then(|| format!("{}.p/{}", numbered(hashes / 256), hashes % 256));
        for tile in full.chain(partial) {
            all.push(format!("tile/{level}/{tile}"));
            if level == 0 {
                all.push(format!("tile/entries/{tile}"));
            }
        }
        (level, hashes) = (level + 1, hashes / 256);
    }
    all
}

fn numbered(mut index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    while index >= 1000 {
        index /= 1000;
        path = format!("x{:03}/{path}", index % 1000);
    }
    path
}

#[test]
fn tiles_are_where_c2sp_has_them() {
    assert_eq!(numbered(5), "005");
    assert_eq!(numbered(1_234_067), "x001/x234/067");
    let names =
        ["checkpoint", "tile/0/000", "tile/entries/000", "tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"];
    assert_eq!(resources(300), names);
}

/// A copy of the sample, to tamper with.
pub(crate) struct Twin(TempDir);

impl Twin {
    pub(crate) fn of(sample: &Path) -> Self {
        let twin = tempfile::tempdir().unwrap();
        copy_all(sample, twin.path());
        Self(twin)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        edit(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.text(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replacen(from, to, 1));
    }

    pub(crate) fn lines(&self, name: &str, edit: impl FnOnce(&mut Vec<String>)) {
        self.write(name, &edited(&self.text(name), edit));
    }

    pub(crate) fn json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut document = serde_json::from_str(&self.text(name)).unwrap();
        edit(&mut document);
        self.write(name, &document.to_string());
    }

    /// The log entry of the completed bundle.
    pub(crate) fn entry(&self, edit: impl FnOnce(&mut Value)) {
        self.json(BUNDLE, |bundle| edit(&mut bundle["verificationMaterial"]["tlogEntries"][0]));
    }

    /// The path of the completed bundle.
    pub(crate) fn hashes(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        self.entry(|entry| edit(entry["inclusionProof"]["hashes"].as_array_mut().unwrap()));
    }

    /// The lines of the completed bundle's checkpoint.
    pub(crate) fn in_bundle(&self, edit: fn(&mut Vec<String>)) {
        self.entry(|entry| {
            let checkpoint = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            *checkpoint = json!(edited(checkpoint.as_str().unwrap(), edit));
        });
    }

    /// The lines of the receipt, those before and those of the checkpoint.
    pub(crate) fn receipt(&self, edit: impl FnOnce(&mut Vec<String>, &mut Vec<String>)) {
        self.lines("result.tlog-proof", |lines| {
            let at = lines.iter().position(String::is_empty).unwrap();
            let mut checkpoint = lines.split_off(at + 1);
            lines.pop();
            edit(lines, &mut checkpoint);
            lines.push(String::new());
            lines.append(&mut checkpoint);
        });
    }

    /// The first of the files that the read API serves under a prefix.
    pub(crate) fn first(&self, prefix: &str) -> String {
        let size = self.text("checkpoint").lines().nth(1).unwrap().parse().unwrap();
        resources(size).iter().map(|path| format!("log/{path}")).find(|path| path.starts_with(prefix)).unwrap()
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_all(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// A text with its lines edited.
pub(crate) fn edited(text: &str, edit: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines = text.lines().map(str::to_owned).collect();
    edit(&mut lines);
    lines.push(String::new());
    lines.join("\n")
}

/// The log's key becomes the vendor's, wherever it stands.
pub(crate) fn other_log(twin: &Twin) {
    let (origin, pem) = (twin.text("origin"), twin.text("vendor.pub"));
    let (origin, der) = (origin.trim(), spki(&pem));
    let key = [&[1], &der[der.len() - 32..]].concat();
    let id = Sha256::digest([origin.as_bytes(), b"\n", &key].concat());
    let vkey = format!("{origin}+{:08x}+{}", u32::from_be_bytes(id[..4].try_into().unwrap()), STANDARD.encode(&key));
    let log = twin.text("log.vkey");
    twin.replace("policy", log.trim(), &vkey);
    twin.write("log.vkey", &vkey);
    twin.copy("vendor.pub", "log.pub");
}

/// What a PEM file holds.
pub(crate) fn spki(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

/// The same base64 with one bit in its middle changed.
pub(crate) fn flipped(text: &str) -> String {
    let mut bytes = STANDARD.decode(text).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    STANDARD.encode(bytes)
}

pub(crate) fn flip(value: &mut Value) {
    *value = json!(flipped(value.as_str().unwrap()));
}

/// A digit of a text in base64 becomes another.
pub(crate) fn reword(value: &mut Value) {
    let text = String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    *value = json!(STANDARD.encode(text.replacen('7', "8", 1)));
}

/// Another index of the same log.
pub(crate) fn neighbour(index: &str) -> String {
    index.parse::<u64>().unwrap().checked_sub(1).unwrap_or(1).to_string()
}

pub(crate) fn add(value: &mut Value, number: i64) {
    *value = json!(value.as_i64().unwrap() + number);
}

pub(crate) fn larger(checkpoint: &mut Vec<String>) {
    checkpoint[1] = (checkpoint[1].parse::<u64>().unwrap() + 1).to_string();
}

pub(crate) fn smaller(checkpoint: &mut Vec<String>) {
    checkpoint[1] = (checkpoint[1].parse::<u64>().unwrap() - 1).to_string();
}

pub(crate) fn other_root(checkpoint: &mut Vec<String>) {
    checkpoint[2] = flipped(&checkpoint[2]);
}

pub(crate) fn other_origin(checkpoint: &mut Vec<String>) {
    checkpoint[0] += ".example.com";
}

pub(crate) fn other_signature(checkpoint: &mut Vec<String>) {
    other_signature_at(checkpoint, 4);
}

pub(crate) fn other_signature_at(lines: &mut [String], at: usize) {
    let (name, signature) = lines[at].rsplit_once(' ').unwrap();
    lines[at] = format!("{name} {}", flipped(signature));
}
