//! Key files, held against openssl: it reads what we write, we read what it writes, and each verifies the other.
//!
//! These tests need openssl 3 and run where `SMI_TESTS=all` is set.

#![cfg(test)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use smi_keys::SigningKey;
use smi_keys::key_file::KeyFile;
use smi_keys::passphrase::Source;
use smi_schemas::bundle;
use tempfile::TempDir;

/// A folder with the binary and openssl.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// Nothing, said so, where these tests are not asked for.
    fn new() -> Option<Self> {
        if std::env::var("SMI_TESTS").as_deref() == Ok("all") {
            return Some(Self { folder: tempfile::tempdir().unwrap() });
        }
        println!("skipped: needs openssl (SMI_TESTS=all)");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, arguments: &str) -> Output {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).current_dir(&self.folder).stdin(Stdio::null());
        command.env_remove("SMI_KEY_PASSPHRASE").output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    fn run(&self, program: &str, arguments: &str) -> String {
        let output = self.command(program, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn smi_keys(&self, arguments: &str) -> String {
        self.run(env!("CARGO_BIN_EXE_smi-keys"), arguments)
    }

    fn openssl(&self, arguments: &str) -> String {
        self.run("openssl", arguments)
    }

    /// The private key in a file, whose passphrase, if it has one, is `secret`.
    fn private(&self, name: &str) -> SigningKey {
        let source = Source::new(None, Some("secret".into()), false);
        KeyFile::read(&self.path(name)).unwrap().into_private(&source).unwrap()
    }
}

#[test]
fn openssl_reads_an_encrypted_key() {
    let Some(bench) = Bench::new() else { return };
    fs::write(bench.path("passphrase"), "secret\n").unwrap();
    bench.smi_keys("generate --out a.pem --passphrase-file passphrase");
    let public = bench.openssl("pkey -in a.pem -passin pass:secret -pubout");
    assert_eq!(public, fs::read_to_string(bench.path("a.pub")).unwrap());
    assert_eq!(public, bench.openssl("pkey -in a.pem -passin file:passphrase -pubout"));
    assert!(!bench.command("openssl", "pkey -in a.pem -passin pass:wrong -pubout").status.success());
}

#[test]
fn openssl_reads_a_plain_key_and_writes_it_alike() {
    let Some(bench) = Bench::new() else { return };
    bench.smi_keys("generate --out a.pem --no-encrypt");
    assert_eq!(bench.openssl("pkey -in a.pem"), fs::read_to_string(bench.path("a.pem")).unwrap());
    assert_eq!(bench.openssl("pkey -in a.pem -pubout"), fs::read_to_string(bench.path("a.pub")).unwrap());
    assert_eq!(bench.openssl("pkey -in a.pub -pubin"), fs::read_to_string(bench.path("a.pub")).unwrap());
}

#[test]
fn the_longest_passphrase_is_the_same_for_both() {
    let Some(bench) = Bench::new() else { return };
    fs::write(bench.path("passphrase"), "x".repeat(1023) + "\n").unwrap();
    bench.smi_keys("generate --out a.pem --passphrase-file passphrase");
    bench.openssl("pkey -in a.pem -passin file:passphrase -noout");
}

#[test]
fn what_openssl_writes_is_read() {
    let Some(bench) = Bench::new() else { return };
    bench.openssl("genpkey -algorithm ed25519 -out plain.pem");
    bench.openssl("pkey -in plain.pem -pubout -out a.pub");
    let public = KeyFile::read(&bench.path("a.pub")).unwrap().into_public().unwrap();
    assert_eq!(bench.private("plain.pem").public(), public);
    for (name, how) in [
        ("pbkdf2.pem", "-v2 aes-256-cbc"),
        ("aes128.pem", "-v2 aes-128-cbc -v2prf hmacWithSHA512"),
        ("scrypt.pem", "-scrypt"),
        ("dear.pem", "-scrypt -scrypt_N 32768 -scrypt_r 4 -scrypt_p 2"),
    ] {
        bench.openssl(&format!("pkcs8 -topk8 {how} -in plain.pem -out {name} -passout pass:secret"));
        assert_eq!(bench.private(name).public(), public, "{how}");
    }
}

#[test]
fn what_openssl_writes_for_others_is_refused() {
    let Some(bench) = Bench::new() else { return };
    bench.openssl("genpkey -algorithm ed25519 -out ed.pem");
    bench.openssl("genpkey -algorithm x25519 -out x.pem");
    bench.openssl("genpkey -algorithm rsa -out rsa.pem");
    bench.openssl("pkcs8 -topk8 -in rsa.pem -out rsa-encrypted.pem -passout pass:secret");
    bench.openssl("pkey -in rsa.pem -pubout -out rsa.pub");
    bench.openssl("pkcs8 -topk8 -v2 des3 -in ed.pem -out des.pem -passout pass:secret");
    bench.openssl("pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -in ed.pem -out sha1.pem -passout pass:secret");
    fs::write(bench.path("passphrase"), "secret\n").unwrap();
    for (file, code) in [
        ("x.pem", "key-file-format"),
        ("rsa.pem", "key-file-format"),
        ("rsa-encrypted.pem", "key-file-format"),
        ("rsa.pub", "key-file-format"),
        ("des.pem", "key-file-encryption"),
        ("sha1.pem", "key-file-encryption"),
    ] {
        let arguments = format!("show {file} --passphrase-file passphrase");
        let output = bench.command(env!("CARGO_BIN_EXE_smi-keys"), &arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("error[{code}]: ")), "{file}: {stderr}");
        assert_eq!(output.status.code(), Some(6), "{file}: {stderr}");
    }
}

#[test]
fn each_verifies_what_the_other_signed() {
    let Some(bench) = Bench::new() else { return };
    bench.smi_keys("generate --out a.pem --no-encrypt");
    let key = bench.private("a.pem");
    let pae = bundle::pae(bundle::PAYLOAD_TYPE, b"{}");
    fs::write(bench.path("pae"), &pae).unwrap();
    fs::write(bench.path("ours"), key.sign_statement(b"{}").signature.sig).unwrap();
    bench.openssl("pkeyutl -verify -rawin -in pae -sigfile ours -pubin -inkey a.pub");
    bench.openssl("pkeyutl -sign -rawin -in pae -inkey a.pem -out theirs");
    let theirs = fs::read(bench.path("theirs")).unwrap();
    assert!(key.public().verify(&pae, &theirs));
    assert_eq!(theirs, fs::read(bench.path("ours")).unwrap());
}
