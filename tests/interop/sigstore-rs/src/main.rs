//! Verifies a completed bundle with the crate sigstore-verify: signature, subject, log entry, checkpoint and path.
//!
//! usage: sigstore-rs BUNDLE TRUSTED_ROOT PUBLIC_KEY_PEM
//!
//! The artefact is whatever the statement names first. Exit 0: accepted. Exit 8: refused, with the reason. Anything
//! else: something else broke.

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use serde_json::Value;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle, DerPublicKey, Sha256Hash, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, Verifier};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [bundle, root, key] = arguments.as_slice() else {
        return Err("usage: sigstore-rs BUNDLE TRUSTED_ROOT PUBLIC_KEY_PEM".into());
    };
    let verifier = Verifier::new(&TrustedRoot::from_json(&fs::read_to_string(root)?)?)?;
    let policy = PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&fs::read_to_string(key)?)?);
    let text = fs::read_to_string(bundle)?;
    let verdict = Bundle::from_json(&text).map_err(|error| error.to_string()).and_then(|bundle| {
        let artefact = artefact(&bundle).map_err(|error| error.to_string())?;
        verifier.verify(artefact, &bundle, &policy).map_err(|error| error.to_string())
    });
    match verdict {
        Ok(result) if result.tlog_verified() => {
            println!("accepted");
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => Err("accepted without a log".into()),
        Err(reason) => {
            println!("refused: {reason}");
            Ok(ExitCode::from(8))
        }
    }
}

fn artefact(bundle: &Bundle) -> Result<Sha256Hash, Box<dyn Error>> {
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err("no DSSE envelope".into());
    };
    let statement: Value = serde_json::from_slice(envelope.payload.as_bytes())?;
    let digest = statement.pointer("/subject/0/digest/sha256").and_then(Value::as_str);
    Ok(Sha256Hash::from_hex(digest.ok_or("no subject with a SHA-256 digest")?)?)
}
