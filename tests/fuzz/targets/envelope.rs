//! A DSSE envelope, in a bundle that is sound around it; and leaves, which are made of envelopes.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use smi_fuzz::{is_signed, json, keyring, value};
use smi_schemas::Digest;
use smi_schemas::bundle::{Bundle, MEDIA_TYPE, pae};
use smi_schemas::leaf::{Leaf, MAX_LEAF_BYTES, envelope_json};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::read(bytes) {
        assert!(bytes.len() <= MAX_LEAF_BYTES);
        assert_eq!(leaf.to_bytes(), bytes);
    }
    let Some(bundle) = enveloped(bytes) else { return };

    let canonical = envelope_json(&bundle);
    // Values have their keys sorted, and are written without white space.
    assert_eq!(serde_json::to_vec(&value(&canonical)).ok().as_ref(), Some(&canonical));
    assert_eq!(enveloped(&canonical).as_ref(), Some(&bundle));

    let signed = bundle.signed_bytes();
    assert_eq!(signed, pae(&bundle.payload_type, &bundle.payload));
    assert_eq!(unpacked(&signed), Some((bundle.payload_type.as_bytes(), &bundle.payload[..])));

    let leaf = Leaf::of(&bundle, bundle.signatures().map(|_| "a PEM\n"));
    assert_eq!((leaf.payload(), leaf.envelope()), (bundle.payload_digest(), Digest::of(&canonical)));
    let body = leaf.to_bytes();
    match Leaf::read(&body) {
        Ok(read) => assert_eq!(read, leaf),
        Err(error) => assert!(body.len() > MAX_LEAF_BYTES, "{error}"),
    }

    for signature in bundle.signatures() {
        let signer = keyring().keys().iter().find(|key| key.public_key.verify(&signed, &signature.sig));
        assert!(signer.is_none() || is_signed(&bundle.payload_digest()), "{signer:?}");
    }
});

fn enveloped(envelope: &[u8]) -> Option<Bundle> {
    let fields: serde_json::Value = serde_json::from_slice(envelope).ok()?;
    let hint = serde_json::to_string(fields["signatures"][0]["keyid"].as_str()?).ok()?;
    let text = str::from_utf8(envelope).ok()?;
    let bundle = format!(
        r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{"hint":{hint}}}}},"dsseEnvelope":{text}}}"#
    );
    Bundle::read(bundle.as_bytes()).ok()
}

/// Reads a pre-authentication encoding as the specification of DSSE says, with nothing of ours.
fn unpacked(encoding: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = encoding.strip_prefix(b"DSSEv1 ")?;
    let (kind, rest) = sized(rest)?;
    let (body, rest) = sized(rest.strip_prefix(b" ")?)?;
    rest.is_empty().then_some((kind, body))
}

/// A length, a space and so many bytes; and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let len: usize = str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    bytes[space + 1..].split_at_checked(len)
}
