//! Every fault, in the order of the stages, and the hands that put it there.

#![allow(clippy::too_many_lines)] // one entry a fault

use std::collections::BTreeMap;

use smi_schemas::Digest;
use smi_schemas::bundle::{Bundle, MAX_BUNDLE_BYTES, PAYLOAD_TYPE, pae};
use smi_schemas::codes::Code;
use smi_schemas::report::{ActionResult, Phase, Status, Tally, Unanswered, Window};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::{Purpose, Statement, Target, Versioned};
use smi_verifier::Stage;

use super::{Fault, claim, draft, edited, key, parsed, slug, statement};

/// Name, rule, the stage that refuses, its code, and the fault.
pub(super) type Row = (&'static str, &'static str, Option<Stage>, Code, Fault);

/// Every fault, in the order of the stages.
pub(super) fn all() -> Vec<Row> {
    let of_results =
        [before_the_statement(), in_the_statement(), in_the_assertions(), in_the_observations(), against_the_policy()];
    of_results.into_iter().flatten().chain(in_the_receipt()).collect()
}

fn in_the_receipt() -> Vec<Row> {
    use Fault::{Cosigned, NoReceipt, Receipt};
    let (checkpoint, inclusion) = (Some(Stage::Checkpoint), Some(Stage::Inclusion));
    vec![
        (
            "receipt-of-another-kind",
            "A log entry is of the kind dsse 0.0.1.",
            Some(Stage::Shape),
            Code::ReceiptShape,
            Fault::Bundle(|bytes| with_log_entry(&bytes, r#"{"kind":"dsse","version":"0.0.2"}"#)),
        ),
        ("receipt-missing", "Where a receipt is required, there is one.", checkpoint, Code::ReceiptMissing, NoReceipt),
        (
            "receipt-checkpoint-changed",
            "The log's key signed the checkpoint as it stands.",
            checkpoint,
            Code::ReceiptCheckpoint,
            Receipt(|entry| entry.checkpoint = entry.checkpoint.replacen("\n7\n", "\n8\n", 1)),
        ),
        (
            "receipt-checkpoint-without-the-log",
            "A checkpoint is signed by the log, whoever else signed it.",
            checkpoint,
            Code::ReceiptCheckpoint,
            Receipt(|entry| {
                let lines = entry.checkpoint.split_inclusive('\n');
                entry.checkpoint = lines.filter(|line| !line.starts_with("\u{2014} log.")).collect();
            }),
        ),
        (
            "receipt-path-changed",
            "The path leads from the leaf to the root.",
            inclusion,
            Code::ReceiptInclusion,
            Receipt(|entry| entry.hashes[1][0] ^= 1),
        ),
        (
            "receipt-path-longer",
            "The path has as many hashes as its index and the tree's size ask for.",
            inclusion,
            Code::ReceiptInclusion,
            Receipt(|entry| entry.hashes.push([0; 32])),
        ),
        (
            "receipt-index-changed",
            "The path is that of the index.",
            inclusion,
            Code::ReceiptInclusion,
            Receipt(|entry| entry.index = 2),
        ),
        (
            "receipt-of-another-bundle",
            "The leaf is the bundle's.",
            inclusion,
            Code::ReceiptInclusion,
            Receipt(|entry| entry.body[200] ^= 1),
        ),
        (
            "receipt-of-another-log",
            "The log entry names the log whose checkpoint it carries.",
            inclusion,
            Code::ReceiptInclusion,
            Receipt(|entry| entry.log_id[31] ^= 1),
        ),
        (
            "receipt-without-quorum",
            "As many witnesses as the keyring asks for cosigned.",
            Some(Stage::Quorum),
            Code::ReceiptQuorum,
            Cosigned(1_767_344_400, 1),
        ),
        (
            "receipt-before-the-end",
            "A result is finished before it is logged.",
            Some(Stage::Freshness),
            Code::ReceiptTimes,
            Cosigned(1_767_338_100, 2), // 2026-01-02T07:15:00Z
        ),
        (
            "receipt-stale",
            "The tree is no older than is asked for.",
            Some(Stage::Freshness),
            Code::ReceiptStale,
            Cosigned(1_767_340_740, 2), // 2026-01-02T07:59:00Z
        ),
    ]
}

/// Puts a log entry of this kind into a bundle, with nothing else that would be refused for its form.
fn with_log_entry(bytes: &[u8], kind: &str) -> Vec<u8> {
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let proof =
        format!(r#"{{"logIndex":"0","rootHash":"{hash}","treeSize":"1","hashes":[],"checkpoint":{{"envelope":""}}}}"#);
    let entry = format!(
        r#"{{"logIndex":"0","logId":{{"keyId":"{hash}"}},"kindVersion":{kind},"integratedTime":"0","inclusionProof":{proof},"canonicalizedBody":""}}"#
    );
    bundle_edited(
        bytes,
        r#""verificationMaterial":{"#,
        &format!(r#""verificationMaterial":{{"tlogEntries":[{entry}],"#),
    )
}

fn before_the_statement() -> Vec<Row> {
    use Fault::{Signature, Signer, WeakKey};
    let (size, shape, signature) = (Some(Stage::Size), Some(Stage::Shape), Some(Stage::Signature));
    vec![
        ("oversized", "A bundle has at most 1 MiB.", size, Code::BundleTooLarge, Fault::Bundle(padded)),
        (
            "truncated",
            "A bundle is a whole JSON document.",
            shape,
            Code::BundleNotJson,
            Fault::Bundle(|bytes| bytes[..bytes.len() / 2].to_vec()),
        ),
        ("empty", "A bundle is a whole JSON document.", shape, Code::BundleNotJson, Fault::Bundle(|_| Vec::new())),
        (
            "second-document",
            "Nothing follows the document.",
            shape,
            Code::BundleNotJson,
            Fault::Bundle(|bytes| [bytes, b"{}".to_vec()].concat()),
        ),
        (
            "too-deep",
            "A bundle nests at most 24 levels.",
            shape,
            Code::BundleTooDeep,
            Fault::Bundle(|bytes| wrapped(bytes, &format!(r#""x":{}{}"#, "[".repeat(24), "]".repeat(24)))),
        ),
        (
            "duplicate-key",
            "No object has a key twice.",
            shape,
            Code::BundleDuplicateKey,
            Fault::Bundle(|bytes| wrapped(bytes, r#""dsseEnvelope":{}"#)),
        ),
        (
            "duplicate-key-escaped",
            "An escaped key is the same key.",
            shape,
            Code::BundleDuplicateKey,
            Fault::Bundle(|bytes| wrapped(bytes, r#""dsse\u0045nvelope":{}"#)),
        ),
        (
            "media-type",
            "The format is Sigstore bundle v0.3.",
            shape,
            Code::BundleShape,
            Fault::Bundle(|bytes| bundle_edited(&bytes, "bundle.v0.3+json", "bundle.v0.2+json")),
        ),
        (
            "lists-for-objects",
            "A bundle has one form: an object is no list.",
            shape,
            Code::BundleShape,
            Fault::Bundle(|bytes| {
                let public = key("vendor").public().key_id();
                bundle_edited(&bytes, &format!(r#"{{"hint":"{public}"}}"#), &format!(r#"["{public}"]"#))
            }),
        ),
        (
            "no-envelope",
            "A bundle has a DSSE envelope.",
            shape,
            Code::BundleShape,
            Fault::Bundle(|bytes| bundle_edited(&bytes, "dsseEnvelope", "messageSignature")),
        ),
        (
            "base64-trailing-bits",
            "Base64 has one form: its unused bits are zero.",
            shape,
            Code::BundleBase64,
            Fault::Bundle(|bytes| sig_edited(bytes, trailing_bits)),
        ),
        (
            "base64-unpadded",
            "Base64 has one form: it is padded.",
            shape,
            Code::BundleBase64,
            Fault::Bundle(|bytes| sig_edited(bytes, |sig| sig.trim_end_matches('=').to_owned())),
        ),
        (
            "base64-line-break",
            "Base64 has one form: it has no white space.",
            shape,
            Code::BundleBase64,
            Fault::Bundle(|bytes| sig_edited(bytes, |sig| format!("{sig}\\n"))),
        ),
        (
            "no-signature",
            "A bundle has exactly one signature.",
            shape,
            Code::BundleSignatures,
            Fault::Bundle(|bytes| signatures_edited(bytes, |_| String::new())),
        ),
        (
            "two-signatures-by-one-key",
            "A key counts once, and a bundle has exactly one signature.",
            shape,
            Code::BundleSignatures,
            Fault::Bundle(|bytes| signatures_edited(bytes, |one| format!("{one},{one}"))),
        ),
        (
            "hint-of-another-key",
            "The bundle's hint is the signature's keyid.",
            shape,
            Code::BundleHint,
            Fault::Bundle(|bytes| {
                let other = key("other-vendor").public().key_id().to_string();
                bundle_edited(
                    &bytes,
                    &format!(r#""hint":"{}""#, key("vendor").public().key_id()),
                    &format!(r#""hint":"{other}""#),
                )
            }),
        ),
        ("unknown-key", "The signer is in the keyring.", signature, Code::KeyUnknown, Signer("stranger")),
        ("revoked-key", "The signer's key is in force.", signature, Code::KeyRevoked, Signer("retired-vendor")),
        (
            "tampered-payload",
            "The signature is one of exactly these bytes.",
            signature,
            Code::SignatureInvalid,
            Fault::Bundle(|bytes| {
                let mut bundle = Bundle::read(&bytes).unwrap_or_else(|error| unreachable!("{error}"));
                bundle.payload = edited(&String::from_utf8_lossy(&bundle.payload), "1.2.3", "1.2.4").into();
                bundle.to_bytes()
            }),
        ),
        (
            "signature-of-another-key",
            "The signature is one of the key that is named.",
            signature,
            Code::SignatureInvalid,
            Signature(|_| key("other-vendor").sign(&pae(PAYLOAD_TYPE, &statement().to_bytes())).to_vec()),
        ),
        (
            "signature-of-the-bare-payload",
            "What is signed is the pre-authentication encoding.",
            signature,
            Code::SignatureInvalid,
            Signature(|_| key("vendor").sign(&statement().to_bytes()).to_vec()),
        ),
        (
            "signature-cut-short",
            "A signature has 64 bytes.",
            signature,
            Code::SignatureInvalid,
            Signature(|sig| sig[..63].to_vec()),
        ),
        (
            "signature-malleable",
            "The scalar of a signature is less than the group's order.",
            signature,
            Code::SignatureInvalid,
            Signature(plus_order),
        ),
        (
            "weak-key",
            "A key of small order, for which anybody can sign, is not registered.",
            None,
            Code::KeyringInvalid,
            WeakKey,
        ),
    ]
}

fn in_the_statement() -> Vec<Row> {
    use Fault::{Payload, PayloadType, Signer};
    let (read, signer, suite) = (Some(Stage::Statement), Some(Stage::Signer), Some(Stage::Suite));
    vec![
        (
            "wrong-payload-type",
            "The payload is an in-toto statement.",
            read,
            Code::PayloadType,
            PayloadType("application/json"),
        ),
        (
            "statement-truncated",
            "The payload is a whole JSON document.",
            read,
            Code::StatementNotJson,
            Payload(|text| text[..text.len() - 1].to_owned()),
        ),
        (
            "statement-duplicate-key",
            "No object of the statement has a key twice.",
            read,
            Code::StatementNotJson,
            Payload(|text| edited(text, r#""attempts":1"#, r#""attempts":0,"attempts":1"#)),
        ),
        (
            "statement-too-deep",
            "A statement nests at most 24 levels.",
            read,
            Code::StatementNotJson,
            Payload(|text| {
                edited(text, r#""overrides":{}"#, &format!(r#""overrides":{}{}"#, "[".repeat(24), "]".repeat(24)))
            }),
        ),
        (
            "wrong-statement-type",
            "The statement is in-toto v1.",
            read,
            Code::StatementType,
            Payload(|text| edited(text, "in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1")),
        ),
        (
            "wrong-predicate-type",
            "The statement is a conformance result.",
            read,
            Code::PredicateType,
            Payload(|text| edited(text, "conformance/result/v1", "conformance/result/v2")),
        ),
        (
            "newer-schema-version",
            "The result has a shape that is known.",
            read,
            Code::SchemaVersion,
            Payload(|text| edited(text, r#""schemaVersion":1"#, r#""schemaVersion":2"#)),
        ),
        (
            "unknown-field",
            "A known shape has no unknown fields.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#""overrides":{}"#, r#""overrides":{"trust":true}"#)),
        ),
        (
            "missing-field",
            "A known shape has all its fields.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#","enforcing":"on""#, "")),
        ),
        (
            "fractional-duration",
            "Numbers are whole.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#""durationMs":1,"#, r#""durationMs":1.0,"#)),
        ),
        (
            "negative-count",
            "Counts are not negative.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#""attempts":1"#, r#""attempts":-1"#)),
        ),
        (
            "time-with-offset",
            "Times are written in UTC, in one form.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, "08:00:00Z", "08:00:00+00:00")),
        ),
        (
            "mesh-with-markup",
            "A mesh's name is a slug.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, "example-mesh", "<b>mesh</b>")),
        ),
        (
            "digest-in-capitals",
            "Digests have one form.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.subject[0].digest.sha256.make_ascii_uppercase()),
        ),
        (
            "sandbox-under-another-name",
            "A sandbox result is about the runner.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.predicate.target = Target::Sandbox {}),
        ),
        (
            "sandbox-with-a-claim",
            "The sandbox claims nothing: it has no vendor.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| {
                as_sandbox(statement);
                claim(statement);
            }),
        ),
        (
            "claim-twice",
            "An API is claimed once.",
            read,
            Code::StatementShape,
            Payload(|text| {
                edited(text, r#""enforcing":"on""#, r#""enforcing":"on","claimedUnsupported":["split","split"]"#)
            }),
        ),
        (
            "list-for-an-object",
            "The statement has one form: an object is no list.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#"{"kind":"kubernetes","version":"v1.34.9"}"#, r#"["kubernetes","v1.34.9"]"#)),
        ),
        (
            "null-for-nothing",
            "The statement has one form: what is left out is not null.",
            read,
            Code::StatementShape,
            Payload(|text| edited(text, r#""overrides":{}"#, r#""overrides":{"limitMs":null}"#)),
        ),
        (
            "no-subject",
            "A statement is about something.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.subject.clear()),
        ),
        (
            "doubled-subject",
            "Subjects are distinct.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.subject.extend_from_within(..)),
        ),
        (
            "crds-out-of-order",
            "CRDs are sorted by name.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.predicate.crds.reverse()),
        ),
        (
            "finished-before-started",
            "A run ends after it starts.",
            read,
            Code::StatementShape,
            Fault::Statement(|statement| statement.predicate.run.finished_at = parsed("2026-01-02T07:59:59Z")),
        ),
        ("key-of-another-role", "Results are signed by vendors.", signer, Code::KeyRole, Signer("reviewer")),
        ("key-of-another-mesh", "A vendor speaks for its own meshes.", signer, Code::KeyMesh, Signer("other-vendor")),
        (
            "unknown-suite",
            "The suite is known.",
            suite,
            Code::SuiteUnknown,
            Fault::Statement(|statement| statement.predicate.suite.version = parsed("9.9.9")),
        ),
        (
            "wrong-suite-digest",
            "The suite is the released one, byte for byte.",
            suite,
            Code::SuiteDigest,
            Fault::Statement(|statement| statement.predicate.suite.digest = Digest::of(b"edited")),
        ),
    ]
}

fn in_the_assertions() -> Vec<Row> {
    let (stage, replay) = (Some(Stage::Assertions), Some(Stage::Replay));
    vec![
        (
            "assertion-dropped",
            "Every assertion is reported.",
            stage,
            Code::AssertionMissing,
            Fault::Statement(|statement| drop(statement.predicate.assertions.remove(2))),
        ),
        (
            "assertion-doubled",
            "Every assertion is reported once.",
            stage,
            Code::AssertionRepeated,
            Fault::Statement(|statement| {
                let again = statement.predicate.assertions[3].clone();
                statement.predicate.assertions.push(again);
            }),
        ),
        (
            "assertion-added",
            "Only the suite's assertions are reported.",
            stage,
            Code::AssertionUnknown,
            Fault::Statement(|statement| {
                let mut new = statement.predicate.assertions[0].clone();
                new.id = parsed("smi.api.udproute");
                statement.predicate.assertions.push(new);
            }),
        ),
        (
            "assertion-reordered",
            "Assertions are reported in suite order.",
            stage,
            Code::AssertionOrder,
            Fault::Statement(|statement| statement.predicate.assertions.swap(2, 3)),
        ),
        (
            "status-does-not-follow",
            "A pass follows from what was observed.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| {
                let window = denied(statement);
                (window.cells[2], window.elapsed_ms) = (delivered(), 60_000);
            }),
        ),
        (
            "relapse-without-a-hold",
            "A denial can be broken in the middle of a hold only once it held.",
            replay,
            Code::ObservationMalformed,
            Fault::Statement(|statement| denied(statement).relapsed = true),
        ),
        (
            "status-lowered",
            "A fail follows from what was observed.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| statement.predicate.assertions[2].status = Status::Fail),
        ),
        (
            "status-declared-unsupported",
            "Support is discovered, not declared.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| statement.predicate.assertions[2].status = Status::NotSupported),
        ),
        (
            "status-claimed-unsupported",
            "What a vendor claims not to support is judged by what was observed.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| {
                claim(statement);
                statement.predicate.assertions[3].status = Status::NotSupported;
            }),
        ),
        (
            "reason-does-not-follow",
            "A reason follows from what was observed.",
            replay,
            Code::ReasonDiffers,
            Fault::Statement(|statement| statement.predicate.assertions[2].reason = Code::RefusedAtAdmission),
        ),
        (
            "kind-not-served",
            "A kind is served in the tested version.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| {
                phase(statement, 0, 0).actions[0] = ActionResult::Served(vec![ApiVersion::V1alpha2]);
            }),
        ),
        (
            "field-not-read-back",
            "A resource keeps every field.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| {
                phase(statement, 1, 0).actions[0] = ActionResult::Lost(vec!["/spec/matches".to_owned()]);
            }),
        ),
        (
            "share-outside-twice",
            "Two batches outside their bounds are a fail.",
            replay,
            Code::StatusDiffers,
            Fault::Statement(|statement| shares(statement).samples[0] = vec![halves(), halves()]),
        ),
        (
            "skipped-without-filter",
            "What is skipped was filtered out.",
            replay,
            Code::ObservationMissing,
            Fault::Statement(|statement| {
                let result = &mut statement.predicate.assertions[2];
                (result.observations, result.attempts) = (None, 0);
            }),
        ),
        (
            "api-left-out",
            "An API that is served is tested.",
            replay,
            Code::ApiContradiction,
            Fault::Statement(|statement| {
                statement.predicate.apis.remove(&Api::Split);
                for index in [1, 3] {
                    let result = &mut statement.predicate.assertions[index];
                    (result.status, result.reason) = (Status::NotSupported, Code::ApiAbsent);
                    (result.observations, result.attempts, result.duration_ms) = (None, 0, 0);
                }
            }),
        ),
        (
            "api-not-served",
            "An API that is tested is served.",
            replay,
            Code::ApiContradiction,
            Fault::Statement(|statement| drop(statement.predicate.crds.remove(2))),
        ),
        (
            "metrics-not-served",
            "Metrics that are tested are listed by discovery.",
            replay,
            Code::ApiContradiction,
            Fault::Statement(|statement| statement.predicate.metrics.clear()),
        ),
        (
            "too-many-attempts",
            "An assertion is attempted twice at most.",
            replay,
            Code::ObservationMalformed,
            Fault::Statement(|statement| statement.predicate.assertions[2].attempts = 3),
        ),
        (
            "faster-than-its-windows",
            "An assertion takes the time of its windows.",
            replay,
            Code::ObservationMalformed,
            Fault::Statement(|statement| statement.predicate.assertions[2].duration_ms = 100),
        ),
        (
            "attempts-of-nothing",
            "What was observed was attempted.",
            replay,
            Code::ObservationMalformed,
            Fault::Statement(|statement| statement.predicate.assertions[2].attempts = 0),
        ),
    ]
}

fn in_the_observations() -> Vec<Row> {
    let stage = Some(Stage::Replay);
    let row = |name, rule, code, fault| (name, rule, stage, code, Fault::Statement(fault));
    vec![
        row("extra-observation", "Only what the suite calls for is observed.", Code::ObservationExtra, |statement| {
            let phases = &mut statement.predicate.assertions[2].observations.get_or_insert_default().phases;
            phases.extend_from_within(1..);
        }),
        row("extra-cell", "Only the suite's cells are observed.", Code::ObservationExtra, |statement| {
            denied(statement).cells.push(delivered());
        }),
        row("extra-batch", "The first batch within its bounds is the last.", Code::ObservationExtra, |statement| {
            shares(statement).samples[0].extend_from_within(..);
        }),
        row("extra-sample", "Only the suite's samples are drawn.", Code::ObservationExtra, |statement| {
            shares(statement).samples.extend_from_within(..);
        }),
        row("extra-action", "Only the suite's actions are done.", Code::ObservationExtra, |statement| {
            phase(statement, 2, 0).actions.push(ActionResult::Done);
        }),
        row("extra-fault", "Nothing breaks after the end.", Code::ObservationExtra, |statement| {
            statement.predicate.assertions[2].observations.get_or_insert_default().fault = Some(Code::ExecFault);
        }),
        row(
            "missing-phase",
            "Every phase up to the deciding one is observed.",
            Code::ObservationMissing,
            |statement| {
                statement.predicate.assertions[2].observations.get_or_insert_default().phases.truncate(1);
            },
        ),
        row("missing-window", "A phase with cells is probed.", Code::ObservationMissing, |statement| {
            phase(statement, 2, 1).window = None;
        }),
        row("missing-cell", "Every cell is probed.", Code::ObservationMissing, |statement| {
            drop(denied(statement).cells.pop());
        }),
        row("missing-sample", "Every sample is drawn.", Code::ObservationMissing, |statement| {
            shares(statement).samples.clear();
        }),
        row(
            "missing-second-batch",
            "A batch outside its bounds is drawn once more.",
            Code::ObservationMissing,
            |statement| shares(statement).samples[0] = vec![halves()],
        ),
        row("missing-action", "Every action's result is reported.", Code::ObservationMissing, |statement| {
            phase(statement, 2, 0).actions.truncate(2);
        }),
        row(
            "missing-convergence",
            "A window that held says when it converged.",
            Code::ObservationMissing,
            |statement| denied(statement).converged_ms = None,
        ),
        row(
            "counts-do-not-add-up",
            "Answered and unanswered are those sent.",
            Code::ObservationMalformed,
            |statement| denied(statement).cells[2].unanswered.clear(),
        ),
        row("count-of-zero", "A count has one form: zero is left out.", Code::ObservationMalformed, |statement| {
            let _ = denied(statement).cells[2].answered.insert(slug("web-v1"), 0);
        }),
        row(
            "more-logged-than-sent",
            "No more requests are logged than are unanswered.",
            Code::ObservationMalformed,
            |statement| denied(statement).cells[2].logged = 21,
        ),
        row(
            "answer-of-a-stranger",
            "Answers come from the suite's workloads.",
            Code::ObservationMalformed,
            |statement| {
                denied(statement).cells[1].answered = BTreeMap::from([(slug("stranger"), 20)]);
            },
        ),
        row("held-too-briefly", "A hold has the suite's number of rounds.", Code::ObservationMalformed, |statement| {
            let window = denied(statement);
            window.held = 19;
            for cell in &mut window.cells {
                for count in cell.answered.values_mut().chain(cell.unanswered.values_mut()).chain([&mut cell.sent]) {
                    *count = 19;
                }
            }
        }),
        row("held-more-than-probed", "The window is among the rounds.", Code::ObservationMalformed, |statement| {
            denied(statement).rounds = 19;
        }),
        row("given-up-before-the-limit", "A mesh has until the limit.", Code::ObservationMalformed, |statement| {
            let window = denied(statement);
            (window.cells[2], window.elapsed_ms) = (delivered(), 59_999);
        }),
        row("converged-after-the-limit", "A mesh has until the limit.", Code::ObservationMalformed, |statement| {
            let window = denied(statement);
            (window.converged_ms, window.elapsed_ms) = (Some(61_001), 70_000);
        }),
        row("without-pauses", "Rounds lie as far apart as is said.", Code::ObservationMalformed, |statement| {
            denied(statement).spacing_ms = 100_000;
        }),
        row("without-settling", "A window settles before it holds.", Code::ObservationMalformed, |statement| {
            denied(statement).rounds = 20;
        }),
        row("converged-after-the-end", "A window converges before it ends.", Code::ObservationMalformed, |statement| {
            denied(statement).converged_ms = Some(u64::MAX);
        }),
        row(
            "batch-too-small",
            "A batch has n answers, or its last request was sent.",
            Code::ObservationMalformed,
            |statement| {
                shares(statement).samples[0] = vec![tally(&[("web-v1", 90), ("web-v2", 10)])];
            },
        ),
        row("batch-too-large", "A batch has no more than n answers.", Code::ObservationMalformed, |statement| {
            shares(statement).samples[0] = vec![tally(&[("web-v1", 1845), ("web-v2", 248)])];
        }),
        row(
            "result-of-another-action",
            "An action has the results of its kind.",
            Code::ObservationMalformed,
            |statement| phase(statement, 0, 0).actions[0] = ActionResult::Done,
        ),
        row("fault-that-is-none", "A fault has a fault's code.", Code::ObservationMalformed, |statement| {
            fault(statement, Code::Delivered);
        }),
        row(
            "interrupted-in-a-whole-run",
            "Only an interrupted run interrupts.",
            Code::ObservationMalformed,
            |statement| fault(statement, Code::Interrupted),
        ),
    ]
}

fn against_the_policy() -> Vec<Row> {
    let stage = Some(Stage::Policy);
    let row = |name, rule, code, fault| (name, rule, stage, code, Fault::Statement(fault));
    vec![
        row("sandbox", "A result comes from a mesh.", Code::PolicySandbox, as_sandbox),
        row("draft", "A result is one of a released suite.", Code::PolicyDraft, |statement| {
            statement.predicate.suite = Versioned { version: parsed("0.1.0-draft"), digest: Digest::of(&draft()) };
        }),
        row("trial", "A published run is official.", Code::PolicyTrial, |statement| {
            statement.predicate.run.purpose = Purpose::Trial;
        }),
        row("partial", "A published run leaves nothing out by filter.", Code::PolicyPartial, |statement| {
            statement.predicate.filters.skip = vec![parsed("smi.nothing.*")];
        }),
        row("interrupted", "A published run reached its end.", Code::PolicyInterrupted, |statement| {
            statement.predicate.run.interrupted = true;
        }),
        row("with-an-error", "A published run has no error of the harness.", Code::PolicyError, |statement| {
            fault(statement, Code::ExecFault);
            let result = &mut statement.predicate.assertions[2];
            (result.status, result.reason) = (Status::Error, Code::ExecFault);
        }),
        row("with-an-override", "A published run keeps to the suite.", Code::PolicyOverride, |statement| {
            statement.predicate.overrides.limit_ms = Some(1000);
        }),
        row("from-the-future", "A run ends before it is verified.", Code::PolicyFuture, |statement| {
            statement.predicate.run.finished_at = parsed("2026-01-02T12:10:01Z");
        }),
        row("too-old", "A run is no older than the caller allows.", Code::PolicyAge, |_| ()),
    ]
}

/// The same run in the sandbox, which is about the runner alone.
fn as_sandbox(statement: &mut Statement) {
    let runner = statement.predicate.runner.digest;
    statement.subject[0].digest.sha256 = runner.hex();
    let predicate = &mut statement.predicate;
    predicate.target = Target::Sandbox {};
    predicate.agent.digest = runner;
    predicate.mesh.slug = slug("sandbox");
    predicate.mesh.profile = runner;
    predicate.crds.clear();
    predicate.metrics.clear();
}

fn phase(statement: &mut Statement, assertion: usize, phase: usize) -> &mut Phase {
    &mut statement.predicate.assertions[assertion].observations.get_or_insert_default().phases[phase]
}

/// The window in which a deleted grant is denied: cells are health, control, expectation.
fn denied(statement: &mut Statement) -> &mut Window {
    phase(statement, 2, 1).window.get_or_insert_default()
}

/// The window after which a share is sampled.
fn shares(statement: &mut Statement) -> &mut Window {
    phase(statement, 3, 1).window.get_or_insert_default()
}

fn fault(statement: &mut Statement, code: Code) {
    let observations = statement.predicate.assertions[2].observations.get_or_insert_default();
    observations.phases.truncate(1);
    observations.fault = Some(code);
}

fn delivered() -> Tally {
    Tally {
        sent: 200,
        answered: BTreeMap::from([(slug("web-v1"), 1)]),
        unanswered: BTreeMap::from([(Unanswered::Http(403), 199)]),
        logged: 0,
    }
}

fn halves() -> Tally {
    tally(&[("web-v1", 1000), ("web-v2", 1000)])
}

fn tally(counts: &[(&str, u32)]) -> Tally {
    Tally {
        sent: counts.iter().map(|(_, count)| count).sum(),
        answered: counts.iter().map(|(name, count)| (slug(name), *count)).collect(),
        ..Tally::default()
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(MAX_BUNDLE_BYTES + 1, b' ');
    bytes
}

/// Adds a field to the bundle's outermost object.
fn wrapped(bytes: Vec<u8>, field: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap_or_default();
    format!("{},{field}}}", text.trim_end_matches('}').to_owned() + "}").into()
}

fn bundle_edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    edited(&String::from_utf8_lossy(bytes), from, to).into()
}

fn sig_edited(bytes: Vec<u8>, edit: fn(&str) -> String) -> Vec<u8> {
    between(bytes, r#""sig":""#, '"', edit)
}

fn signatures_edited(bytes: Vec<u8>, edit: fn(&str) -> String) -> Vec<u8> {
    between(bytes, r#""signatures":["#, ']', edit)
}

/// Edits the text from after `start` to before `end`.
fn between(bytes: Vec<u8>, start: &str, end: char, edit: fn(&str) -> String) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap_or_default();
    let parts = text.split_once(start).and_then(|(head, rest)| Some((head, rest.split_once(end)?)));
    let Some((head, (middle, tail))) = parts else { unreachable!("nothing to edit: {start}") };
    format!("{head}{start}{}{end}{tail}", edit(middle)).into()
}

/// Sets one of the four bits that the last character before `==` does not use.
fn trailing_bits(sig: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (head, last) = sig.trim_end_matches('=').split_at(sig.len() - 3);
    let value = ALPHABET.iter().position(|c| last.as_bytes() == [*c]).unwrap_or_default();
    format!("{head}{}==", char::from(ALPHABET[value | 1]))
}

/// The same signature with the group's order added to its scalar.
fn plus_order(mut sig: Vec<u8>) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in sig[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    sig
}
