//! Programs that nobody here wrote accept what is signed here, and refuse its tampered twin.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use smi_schemas::bundle::Bundle;
use smi_tests::{everything, vectors};

fn twins() -> (Bundle, Bundle) {
    let sound = Bundle::read(&vectors::sound()).unwrap();
    let mut tampered = sound.clone();
    let at = tampered.payload.iter().position(|byte| *byte == b'7').unwrap();
    tampered.payload[at] = b'8';
    (sound, tampered)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn openssl_checks_the_pre_authentication_encoding() {
    if !everything("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (sound, tampered) = twins();
    let public = file("vendor.pub", vectors::key("vendor").public().to_spki_pem().as_bytes());
    let signature = file("sig", &sound.signature.sig);
    for (bundle, accepted) in [(sound, true), (tampered, false)] {
        let pae = file("pae", &bundle.signed_bytes());
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]).arg(&public);
        let output = run(openssl.arg("-in").arg(pae).arg("-sigfile").arg(&signature));
        assert_eq!(output.status.success(), accepted, "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn securesystemslib_checks_the_envelope() {
    if !everything("securesystemslib") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("vendor.pub");
    fs::write(&public, vectors::key("vendor").public().to_spki_pem()).unwrap();
    let script = smi_tests::root().join("tests/interop/envelope.py");
    // Where tests/interop/install puts the packages that requirements.txt pins.
    let python = std::env::var_os("SMI_TESTS_PYTHON").unwrap_or_else(|| "python3".into());
    let (sound, tampered) = twins();
    for (bundle, accepted) in [(sound, true), (tampered, false)] {
        let path = folder.path().join("bundle.json");
        fs::write(&path, bundle.to_bytes()).unwrap();
        let output = run(Command::new(&python).args([script.as_path(), &path, &public] as [&Path; 3]));
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(if accepted { 0 } else { 8 }), "{said}");
    }
}
