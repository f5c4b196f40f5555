//! Any bytes as a bundle.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use smi_fuzz::{check_refusal, contains, is_signed, json, lenient, now, value};
use smi_schemas::bundle::{Bundle, MAX_BUNDLE_BYTES, MAX_PROOF_HASHES, MAX_SIGNATURES};
use smi_verifier::policy::Receipts;
use smi_verifier::said::verify_said;
use smi_verifier::verify;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    let policy = lenient(Receipts::Read);
    let verified = verify(bytes, policy, now());
    let said = verify_said(bytes, policy, now());
    let Ok(bundle) = Bundle::read(bytes) else {
        assert!(verified.is_err() && said.is_err());
        check_refusal(&verified.unwrap_err());
        return;
    };
    assert!(bytes.len() <= MAX_BUNDLE_BYTES);
    assert!((1..=MAX_SIGNATURES).contains(&bundle.signatures().count()));
    assert!(bundle.log_entry.as_ref().is_none_or(|entry| entry.hashes.len() <= MAX_PROOF_HASHES));

    // What is written is what was read, and has one form.
    let written = bundle.to_bytes();
    assert!(written.len() <= bytes.len());
    assert!(contains(&value(bytes), &value(&written)));
    let again = Bundle::read(&written).expect("what was written is read");
    assert_eq!(again, bundle);
    assert_eq!(again.to_bytes(), written);

    let bare = bundle.clone().into_bare();
    assert_eq!(Bundle::read(&bare.to_bytes()).as_ref(), Ok(&bare));
    assert_eq!((bare.log_entry.as_ref(), bare.signed_bytes()), (None, bundle.signed_bytes()));

    // Nothing but what was signed is accepted, and the log entry decides nothing else than itself.
    match &verified {
        Ok(verified) => {
            assert!(is_signed(&verified.payload_digest()));
            assert_eq!(verified.statement().to_bytes(), bundle.payload);
        }
        Err(refused) => check_refusal(refused),
    }
    match &said {
        Ok(signed) => assert!(is_signed(&signed.said().payload()) && *signed.bundle() == bare),
        Err(refused) => check_refusal(refused),
    }
    let form = verify(&written, policy, now());
    assert_eq!(form.is_ok(), verified.is_ok());
});
