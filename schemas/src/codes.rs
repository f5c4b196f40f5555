//! The one registry of codes.
//!
//! A status has a code for its reason, a refusal has a code for its ground, an error has a code for its cause, and a
//! code is the same in the runner's output, the verifier's JSON and the publisher's answers. Each has a sentence that
//! says what is the case, a cause and a remedy. A code's meaning never changes; one that is no longer given stays.
//!
//! ```
//! use smi_schemas::codes::{Class, Code};
//!
//! let code: Code = "status-differs".parse().unwrap();
//! assert_eq!((code.class(), code.class().exit().number()), (Class::Refusal, 8));
//! assert!(code.sentence().ends_with('.') && code.cause().ends_with('.') && code.remedy().ends_with('.'));
//! ```

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shown::shown;

/// What a code is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The reason of an assertion's status.
    Reason,
    /// The harness failed, not the mesh.
    Fault,
    /// A bundle is refused.
    Refusal,
    /// A requirement of the caller is not met.
    Unmet,
    /// The command was called with something it cannot use.
    Usage,
    /// The command was asked for nothing.
    Selection,
    /// A publisher refuses a request.
    Submission,
    /// A publisher's log is not what it was, or is not what it serves.
    Alteration,
    /// Nothing was decided; the same request may be made again.
    Retry,
    /// A file, the machine or the cluster stands in the way.
    Environment,
}

/// How a program ends, the same for every binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// An error nobody foresaw.
    Unexpected,
    /// Wrong arguments.
    Usage,
    /// An assertion failed, or a requirement is not met.
    Unmet,
    /// No assertion was chosen.
    NothingSelected,
    /// The run left something out.
    Partial,
    /// A file, the machine or the cluster stands in the way.
    Environment,
    /// The harness failed.
    Harness,
    /// The bundle is refused.
    Refused,
    /// Nothing was decided.
    NoVerdict,
    /// A publisher refused the submission.
    NotPublished,
    /// Stopped by SIGINT, as Ctrl-C sends it.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Unexpected,
        Self::Usage,
        Self::Unmet,
        Self::NothingSelected,
        Self::Partial,
        Self::Environment,
        Self::Harness,
        Self::Refused,
        Self::NoVerdict,
        Self::NotPublished,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process's exit code.
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Unmet => 3,
            Self::NothingSelected => 4,
            Self::Partial => 5,
            Self::Environment => 6,
            Self::Harness => 7,
            Self::Refused => 8,
            Self::NoVerdict => 9,
            Self::NotPublished => 10,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The same in words, for the last line printed.
    pub fn words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unexpected => "unexpected error",
            Self::Usage => "the command was called with something it cannot use",
            Self::Unmet => "a conformance failure, or a requirement that is not met",
            Self::NothingSelected => "no assertion was selected",
            Self::Partial => "a part of the suite was left out",
            Self::Environment => "a file, this machine or the cluster stands in the way",
            Self::Harness => "the harness failed, not the mesh",
            Self::Refused => "refused",
            Self::NoVerdict => "nothing was decided; try again",
            Self::NotPublished => "the publisher refused the submission",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

impl Class {
    /// How a program ends on such a code.
    pub fn exit(self) -> Exit {
        match self {
            Self::Reason | Self::Unmet => Exit::Unmet,
            Self::Fault => Exit::Harness,
            Self::Refusal | Self::Alteration => Exit::Refused,
            Self::Usage => Exit::Usage,
            Self::Selection => Exit::NothingSelected,
            Self::Submission => Exit::NotPublished,
            Self::Retry => Exit::NoVerdict,
            Self::Environment => Exit::Environment,
        }
    }
}

/// An error as every program prints it: its code and sentence, what is concretely wrong, the remedy, and the exit code
/// in words. Without a code it is one that nobody foresaw.
pub fn error_text(code: Option<Code>, detail: &dyn fmt::Display) -> (String, Exit) {
    let exit = code.map_or(Exit::Unexpected, |code| code.class().exit());
    let said = match code {
        Some(code) => warning_text(code, detail),
        None => format!("error: {}\n", shown(&detail.to_string())),
    };
    (format!("{said}exit {}: {}\n", exit.number(), exit.words()), exit)
}

/// The same of something that is not what ends the program.
pub fn warning_text(code: Code, detail: &dyn fmt::Display) -> String {
    let detail = shown(&detail.to_string());
    format!("error[{code}]: {}\n  {detail}\nremedy: {}\n", code.sentence(), code.remedy())
}

macro_rules! codes {
    ($($class:ident { $($variant:ident $code:literal $sentence:literal $cause:literal $remedy:literal)+ })+) => {
        /// A code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $($(
                #[doc = $sentence]
                #[serde(rename = $code)]
                $variant,
            )+)+
        }

        impl Code {
            /// Every code, by class.
            pub const ALL: &[Self] = &[$($(Self::$variant),+),+];

            /// The code itself.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $code),+),+ }
            }

            /// What it is given for.
            pub fn class(self) -> Class {
                match self { $($(Self::$variant => Class::$class),+),+ }
            }

            /// What is the case.
            pub fn sentence(self) -> &'static str {
                match self { $($(Self::$variant => $sentence),+),+ }
            }

            /// How it usually comes about.
            pub fn cause(self) -> &'static str {
                match self { $($(Self::$variant => $cause),+),+ }
            }

            /// What to do.
            pub fn remedy(self) -> &'static str {
                match self { $($(Self::$variant => $remedy),+),+ }
            }
        }
    };
}

codes! {
    Reason {
        Met "met"
            "Everything the assertion requires was seen, beside healthy controls."
            "The mesh does what the assertion asks."
            "Nothing to do."
        RefusedAtAdmission "refused-at-admission"
            "The cluster refused the resource, which the assertion allows as an equivalent outcome."
            "An admission webhook or the CRD's schema rejects what the specification calls a misconfiguration."
            "Nothing to do."
        Delivered "delivered"
            "A request that must be denied reached its destination."
            "The mesh does not enforce, grants more than the resources say, or keeps a grant that was withdrawn."
            "Compare the cell's counts with the resources that `smi-runner plan` prints, and check the enforcing mode."
        NotDelivered "not-delivered"
            "A request that must be allowed got no answer from its destination, although workloads and network were healthy."
            "The mesh does not act on the resource, or grants less than it says."
            "Compare the cell's outcomes with the resources that `smi-runner plan` prints."
        WrongResponder "wrong-responder"
            "A request was answered by a workload that must not receive it."
            "The split is not applied, or is applied to other requests than the resource says."
            "Compare who answered with the backends of the TrafficSplit."
        ShareOutside "share-outside"
            "Two batches in a row were divided outside the bounds of the split's weights."
            "The mesh ignores or rounds the weights."
            "Compare the counts of both batches with the bounds of the suite."
        NotServed "not-served"
            "The API is served, but not this kind of it."
            "A CRD is missing, or is not served in the tested version."
            "Install the mesh's CRD for the kind."
        FieldLost "field-lost"
            "A resource was stored without a field that it was written with."
            "The CRD's schema lacks the field, so the API server prunes it."
            "Compare the CRD with the one that the mesh's release ships."
        ApiAbsent "api-absent"
            "The cluster does not serve an API that the assertion uses."
            "The mesh does not implement the API."
            "Nothing to do, unless the mesh claims the API: then install its CRDs."
        OtherVersion "other-version"
            "The assertion does not exist in the tested version of the API."
            "An older or newer version of the API lacks the feature."
            "Test another version in another run, if the cluster serves one."
        Filtered "filtered"
            "The assertion was left out by --run or --skip."
            "The run was asked for a part of the suite."
            "Run without filters to have it executed."
        Interrupted "interrupted"
            "The run was stopped before the assertion was finished."
            "A signal ended the run early."
            "Run again."
        ControlUnmet "control-unmet"
            "A control did not hold, so nothing follows from what was seen."
            "A workload or the network was not healthy, the mesh was not ready, or it was open before the assertion began."
            "Look at the control's counts, make it hold, and run again."
        NameUnresolved "name-unresolved"
            "A destination's name did not resolve, which is neither a grant nor a denial."
            "Cluster DNS, or the mesh's own names in it, did not work."
            "Resolve the name from a pod of the same namespace, and run again when it does."
        SampleUnclean "sample-unclean"
            "So many requests of a batch were lost that its shares say nothing."
            "Connections were reset, typically while proxies were taking up a change."
            "Run again on a quieter cluster."
        KindAbsent "kind-absent"
            "A kind of resource that the assertion needs is not served in the tested version."
            "The mesh brings the API without this kind."
            "Install the mesh's own definition of the kind if it has one."
        InvalidAccepted "invalid-accepted"
            "The cluster accepted a resource that lacks a required field or uses a word that is not allowed."
            "The CRD's schema is wider than the specification, and no webhook refuses what it lets through."
            "Compare the schema with that of `smi-runner crds`."
        ReleasesMixed "releases-mixed"
            "The tested versions are not those of one SMI release."
            "The mesh serves versions that SMI never released together. That is allowed."
            "Nothing needs to be done; `--api-version` chooses others where there are any."
        Relapsed "relapsed"
            "A request was delivered after requests like it had been denied for longer than settling takes."
            "The mesh changes its mind, some of its proxies disagree, or a small part of the requests gets through."
            "Send many such requests and watch which proxy lets them through."
        MetricsUnanswered "metrics-unanswered"
            "The metrics API did not answer a question with metrics."
            "The extension API server is not there, does not know the resource, or has seen no traffic of it."
            "Ask it with `kubectl get --raw` for the path that `smi-runner explain ID` names."
        MetricsMisshapen "metrics-misshapen"
            "An answer of the metrics API is not of the form that the specification gives it."
            "A field, a metric or a reference is missing, misnamed or of another kind."
            "Compare the reading with the form of TrafficMetrics in the specification."
        MetricsDiffer "metrics-differ"
            "What the metrics API says does not follow the traffic."
            "Requests are not counted, counted as what they were not, or shown for the wrong resource."
            "Compare the reading with the requests of the phase's cells."
        MetricsExposed "metrics-exposed"
            "An account was shown metrics that it may not get."
            "The extension API server answers before, or without, the API server's authorization."
            "Check that the extension API server only takes requests from the API server's front proxy."
        ObjectRefused "object-refused"
            "The cluster refused a resource that the specification allows, so nothing could be seen."
            "An admission webhook or the CRD's schema is narrower than the specification."
            "Apply the resource that `smi-runner plan` prints and read the API server's message."
    }

    Fault {
        KubernetesFault "kubernetes-fault"
            "Kubernetes did not do what it was asked to do."
            "The API server was unreachable, overloaded, or a pod did not become ready."
            "Look at the cluster's events, and run again."
        ExecFault "exec-fault"
            "The session with a workload broke off."
            "The pod was restarted, or exec is not permitted."
            "Look at the pod's events, and run again."
        AgentFault "agent-fault"
            "A workload answered its driver with something it must never answer."
            "The workload image is not the runner's own, or of another release."
            "Load the image that `smi-runner image` writes, and run again."
    }

    Refusal {
        BundleTooLarge "bundle-too-large"
            "The bundle has more bytes than any result needs."
            "Another file was given, or the bundle was padded."
            "Give the file that `smi-runner run --out` wrote."
        BundleNotJson "bundle-not-json"
            "The bundle is not a JSON document."
            "The file was cut off, or is something else."
            "Give the whole file that `smi-runner run --out` wrote."
        BundleTooDeep "bundle-too-deep"
            "The bundle nests deeper than any result does."
            "The file was not written by the runner."
            "Give the file that `smi-runner run --out` wrote."
        BundleDuplicateKey "bundle-duplicate-key"
            "An object in the bundle has the same key twice, so that two readers may read it differently."
            "The file was edited."
            "Give the file as `smi-runner run --out` wrote it."
        BundleShape "bundle-shape"
            "The JSON is not a Sigstore bundle v0.3 with a DSSE envelope and a public-key hint."
            "Another kind of bundle, or another version of the format."
            "Give the file that `smi-runner run --out` wrote."
        BundleBase64 "bundle-base64"
            "A field of the envelope is not canonical base64."
            "The file was edited or written by another tool."
            "Encode with the standard alphabet, padding and no stray bits."
        BundleSignatures "bundle-signatures"
            "The envelope does not have exactly one signature."
            "Signatures were added or removed after the run."
            "Submit one bundle for each signer."
        BundleHint "bundle-hint"
            "The bundle's hint and the signature's keyid name different keys."
            "The file was edited."
            "Give the file as `smi-runner run --out` wrote it."
        PayloadType "payload-type"
            "The signed payload is not an in-toto statement."
            "Something else was signed with this key."
            "Sign with `smi-runner run --key`."
        KeyUnknown "key-unknown"
            "The key that signed is not in the keyring."
            "The signer is not registered, or the keyring is an old one."
            "Register the key with `smi-keys keyring add`, or fetch the current keyring."
        KeyRevoked "key-revoked"
            "The key that signed is revoked."
            "The signer's key was lost, stolen or replaced."
            "Sign again with a key in force; a result logged before the revocation needs its receipt."
        SignatureInvalid "signature-invalid"
            "The signature does not belong to the payload and the key."
            "The payload was changed after it was signed, or another key signed it."
            "Discard the bundle and ask the signer for the original."
        StatementNotJson "statement-not-json"
            "The signed payload is not a JSON document that can be read in only one way."
            "It is cut off, nests too deep, or has a key twice."
            "Sign what the runner writes, unchanged."
        StatementType "statement-type"
            "The payload is not an in-toto Statement v1."
            "Another version of in-toto, or something else that is JSON."
            "Sign what the runner writes, unchanged."
        PredicateType "predicate-type"
            "The statement is about something else than what is to be verified."
            "The signer also signs other statements."
            "Give the bundle of a run to verify a result, and that of a release to verify a suite."
        SchemaVersion "schema-version"
            "The result has a shape that this verifier does not know."
            "It was written by a newer runner."
            "Verify with a newer release."
        StatementShape "statement-shape"
            "The result lacks a field, has one that does not belong there, or one of the wrong form."
            "It was not written by the runner."
            "Sign what the runner writes, unchanged."
        KeyRole "key-role"
            "The key is registered, but not to sign this."
            "A key of another role was used."
            "Sign what is about results as vendor, reviews as reviewer, releases of the suite as suite, keyrings as root."
        KeyMesh "key-mesh"
            "The key is registered for other meshes."
            "The result names a mesh that the signer does not speak for."
            "Sign with the mesh's own key, or run with the right --mesh."
        SuiteUnknown "suite-unknown"
            "The suite's version is not known here."
            "It is newer than this verifier, or was never released."
            "Verify with a newer release, or name the suite's file with --suite."
        SuiteDigest "suite-digest"
            "The suite has other bytes than the one that is named."
            "The suite was edited, or is of another version."
            "Take the suite as released, in the version that is named."
        AssertionMissing "assertion-missing"
            "The result leaves out an assertion of its suite."
            "An unwelcome result was removed, or the runner stopped without saying so."
            "Report every assertion; those not executed are skipped."
        AssertionUnknown "assertion-unknown"
            "The result has an assertion that its suite does not have."
            "An assertion was added or renamed."
            "Report the suite's assertions and no others."
        AssertionRepeated "assertion-repeated"
            "The result has an assertion twice."
            "Two runs were joined."
            "Report every assertion once."
        AssertionOrder "assertion-order"
            "The result has the suite's assertions in another order."
            "The result was edited."
            "Report the assertions in suite order."
        ApiContradiction "api-contradiction"
            "The APIs that were tested are not those that the cluster's CRDs serve."
            "An API was left out to have it reported as not supported, or added without being served."
            "Report what discovery found."
        StatusDiffers "status-differs"
            "A status does not follow from the suite and the observations."
            "The status was edited, or the runner judges by other rules."
            "Report what the judge of this suite computes."
        ReasonDiffers "reason-differs"
            "A reason does not follow from the suite and the observations."
            "The reason was edited, or the runner judges by other rules."
            "Report what the judge of this suite computes."
        ObservationMissing "observation-missing"
            "An observation is missing that the suite calls for."
            "It was removed, or the runner stopped early without saying so."
            "Report every observation up to the phase that decided."
        ObservationExtra "observation-extra"
            "There is an observation that the suite does not call for."
            "It was added, or the assertion went on after it was decided."
            "Report no more than the suite calls for."
        ObservationMalformed "observation-malformed"
            "An observation's numbers contradict each other or the suite."
            "It was edited by hand."
            "Report the counts as they were made."
        PolicySandbox "policy-sandbox"
            "The result comes from the sandbox, not from a mesh."
            "The sandbox is for trying the tools."
            "Run against a cluster, or allow the sandbox with --allow-sandbox."
        PolicyDraft "policy-draft"
            "The suite is a draft, which may still change."
            "The runner was built between two releases of the suite."
            "Run a released suite, or allow drafts with --allow-draft."
        PolicyTrial "policy-trial"
            "The run's purpose is trial, and trials are not published."
            "The run was started without --purpose official."
            "Run again with --purpose official."
        PolicyPartial "policy-partial"
            "The run left out assertions by filter, and partial runs are not published."
            "It was started with --run or --skip."
            "Run the whole suite."
        PolicyInterrupted "policy-interrupted"
            "The run was interrupted, and incomplete runs are not published."
            "A signal ended it early."
            "Run again to the end."
        PolicyError "policy-error"
            "An assertion ended in an error of the harness, and such runs are not published."
            "Kubernetes, exec or the agent failed during the run."
            "Mend the cause that the assertion's reason names, and run again."
        PolicyOverride "policy-override"
            "The run departed from the suite, and such runs are not published."
            "It was started with another limit than the suite's."
            "Run with the suite's own settings."
        ReceiptShape "receipt-shape"
            "What stands in the place of the bundle's log entry is none of this log's form."
            "Another log completed the bundle, or the entry was changed."
            "Fetch the completed bundle from the publisher again, or remove the entry."
        ReceiptMissing "receipt-missing"
            "A receipt is required, and there is none that can be checked."
            "The bundle was never completed by a publisher, or the keyring names no log."
            "Fetch the completed bundle from the publisher, and use the keyring that it serves."
        ReceiptCheckpoint "receipt-checkpoint"
            "The checkpoint is not one that the log signed."
            "It was changed, or belongs to another log."
            "Fetch the completed bundle from the publisher again."
        ReceiptInclusion "receipt-inclusion"
            "The proof does not lead from the bundle to the root of the checkpoint."
            "The proof, its index or the bundle was changed, or they belong to different bundles."
            "Fetch the completed bundle from the publisher again."
        ReceiptQuorum "receipt-quorum"
            "Too few witnesses cosigned the checkpoint."
            "The publisher showed a tree that the witnesses did not see, or the keyring is another one."
            "Fetch the completed bundle again; if it stays so, tell the witnesses."
        ReceiptTimes "receipt-times"
            "What was signed claims a later time than that of its entry in the log."
            "The signer's clock is wrong, or its claim is."
            "Set the clock, and make and sign it again."
        ReceiptStale "receipt-stale"
            "The receipt's tree is older than is asked for."
            "Revocations and withdrawals since then are not known from it."
            "Fetch the completed bundle from the publisher again."
        PolicyFuture "policy-future"
            "The result says that it was finished in the future."
            "The runner's clock is wrong, or this machine's is."
            "Set the clocks and run again."
        PolicyAge "policy-age"
            "The result is older than --max-age allows."
            "It was signed too long ago by its own clock."
            "Run again, or allow a greater age."
    }

    Unmet {
        RequirementUnmet "requirement-unmet"
            "The bundle is accepted, but a --require is not met."
            "The mesh's capability or compliance is lower than asked for."
            "See the statuses that decide the API."
    }

    Usage {
        FileUnreadable "file-unreadable"
            "A file could not be read."
            "It does not exist, or this user may not read it."
            "Check the path and its permissions."
        FileExists "file-exists"
            "A file to be written exists already, and nothing was overwritten."
            "The command was run before."
            "Choose another name, or move the file away."
        FileUnwritable "file-unwritable"
            "A file could not be written."
            "The folder does not exist, is read-only or full."
            "Check the path, its permissions and the free space."
        FileUnsettled "file-unsettled"
            "A file was written, and a power cut may undo that."
            "The disk fails, or its file system cannot sync a folder."
            "Check the disk, or use another one, and run the command again."
        FileUnlockable "file-unlockable"
            "A file could not be locked, so it was not changed."
            "The file system knows no locks, or another user made the lock's file, .NAME.lock beside the file."
            "Let this user write the lock's file, or keep the file where files can be locked, such as on a local disk."
        WitnessOption "witness-option"
            "A witness has a name, and one key for each log that it knows."
            "A log was named twice with different keys, or the key is not one that signs a log."
            "Give for each log the one key that signs it, written NAME+ID+KEY."
        RequirementSyntax "requirement-syntax"
            "A requirement is not API=full, API=partial or API=compliant."
            "The API is misspelt, or capability and compliance are mixed up."
            "Write for example --require split=full --require access=compliant."
        KeyNameTaken "key-name-taken"
            "The keyring already has a key of that name."
            "Names are taken from file names unless --name is given."
            "Give another name with --name."
        KeyPresent "key-present"
            "The keyring already has that public key; one key holds one role."
            "The key was added before, perhaps under another name."
            "Use a key of its own for every role."
        KeyWeak "key-weak"
            "The public key is weak: signatures can be made for it without a private key."
            "It is one of the few points of small order on the curve."
            "Generate a key with `smi-keys generate`."
        KeyNotInRing "key-not-in-ring"
            "The keyring has no such key."
            "The name or key id is misspelt."
            "List the keys with `smi-keys keyring show`."
        KeyRevokedAlready "key-revoked-already"
            "The key is revoked already."
            "It was revoked in an earlier version of the keyring."
            "Nothing to do."
        RoleMesh "role-mesh"
            "A vendor's key needs a mesh, and only a vendor's key has one."
            "The mesh is missing, or was given with another role."
            "Give --mesh SLUG with --role vendor, and leave it out with any other role."
        RolePublish "role-publish"
            "A vendor's key says how its results are published, and only a vendor's key does."
            "The choice is missing, or was given with another role."
            "Give --after-review with --role vendor only."
        RoleNoteName "role-note-name"
            "A key of the log or of a witness has a note name, and no other key does."
            "The name is missing, was given with another role, or is no bare host name where it is the log's."
            "Give --note-name NAME with --role log or witness only; the log's is its host, such as log.example.org."
        NoteNameTaken "note-name-taken"
            "The keyring already has a key of that note name."
            "The keys that sign a note are told apart by these names, and a name is never used again."
            "Give another name with --note-name."
        RoleUrl "role-url"
            "Only a witness's key has an address."
            "The address was given with another role."
            "Give --url with --role witness only."
        LogKeyPresent "log-key-present"
            "The keyring already has a log key that is not revoked."
            "A log has one key at a time."
            "Revoke that key first with `smi-keys keyring revoke`."
        KeyNameReserved "key-name-reserved"
            "A witness's key cannot be called by this name."
            "The name means something else in the trust policy that is written from the keyring."
            "Give another name with --name."
        ThresholdRange "threshold-range"
            "The threshold does not lie between one and the number of root keys that are not revoked."
            "It was set too high, or too few root keys would be left to change the keyring."
            "Add root keys first, or lower the threshold with `smi-keys keyring set --threshold`."
        QuorumRange "quorum-range"
            "The quorum does not lie between one and the number of witness keys that are not revoked."
            "It was set too high, or too few witness keys would be left to cosign."
            "Add witness keys first, or lower the quorum with `smi-keys keyring set --quorum`."
        LogKeyMissing "log-key-missing"
            "The keyring has no log key that is not revoked."
            "The log's key was never added, or was revoked and not replaced."
            "Add it with `smi-keys keyring add --role log --note-name HOST`."
        KeyringSame "keyring-same"
            "The keyring has this threshold and this quorum already."
            "They were set in an earlier version of the keyring."
            "Nothing to do."
        KeyringSuccession "keyring-succession"
            "The keyring does not follow the one before it."
            "The version is not a later one, or a key was removed, moved, or altered beyond its revocation."
            "Copy the keyring in force, and change the copy with `smi-keys keyring` only."
        SignerNotRoot "signer-not-root"
            "The key is not one of the root keys that may sign the keyring."
            "Another key was given, or the root key is revoked or not in the keyring before."
            "Sign with a key that `smi-keys keyring show` lists as root and not revoked."
        SignedAlready "signed-already"
            "The key has signed this already."
            "A key counts once, however often it signs."
            "Have another root key sign."
        SignaturesFull "signatures-full"
            "The bundle has as many signatures as a bundle can have."
            "More root keys signed than any threshold asks for."
            "Submit it as it is."
        SignedByOne "signed-by-one"
            "Only a change of the keyring is signed by several keys."
            "The bundle is of a result, or of a record that speaks for its one signer."
            "Have every signer sign a statement of its own."
        BundleInvalid "bundle-invalid"
            "The file is not a bundle of what the command needs."
            "Another file was given, or it was edited."
            "Give a result as `smi-runner run --out` wrote it, or a change of the keyring to sign that."
        SupersedesItself "supersedes-itself"
            "A result cannot stand in its own place."
            "The same result was given twice."
            "Name the newer result with --by or --by-bundle."
        VersionNotTestable "version-not-testable"
            "An API cannot be tested in the version that was asked for."
            "The cluster does not serve it, or this runner has no dialect for it."
            "Leave out --api-version to test the newest version that both sides know."
        KeyNeeded "key-needed"
            "A bundle is signed, and there is no key to sign it with."
            "The option --out was given without --key."
            "Give --key, or leave out --out to look at the report only."
        CodeUnknown "code-unknown"
            "There is no such code or assertion."
            "It is misspelt, or belongs to a newer release."
            "List the codes with `smi-runner explain`, and the assertions with `smi-runner list`."
        SuiteInvalid "suite-invalid"
            "The file is not a suite, or contradicts itself."
            "It was edited by hand."
            "Mend the places that are listed."
        SuiteDraft "suite-draft"
            "The suite is a draft, which may still change and has no release."
            "The draft was named instead of the file that was made of it."
            "Make a released suite of the draft, as schemas/suites/README.md says, and sign that."
    }

    Usage {
        MeshOption "mesh-option"
            "A run on Kubernetes needs a mesh, and only such a run has one."
            "The target kubernetes was given without --mesh or --profile, or an option of it with the sandbox."
            "Give --target kubernetes together with --mesh SLUG, such as --mesh none for a cluster without a mesh."
        MeshUnknown "mesh-unknown"
            "There is no profile of that mesh in this program."
            "The name is misspelt, or nobody has written the profile yet."
            "Give one of those named, or a profile of your own with --profile."
        ProfileInvalid "profile-invalid"
            "The file is not a mesh profile."
            "A field is missing, misspelt or contradicts another one."
            "Mend the place that is named; `runner/meshes` has examples."
        AgentAbsent "agent-absent"
            "The workload binary could not be read."
            "It is not beside smi-runner, or the path is wrong."
            "Name a static smi-agent binary with --agent."
        AgentBinary "agent-binary"
            "The file is not a workload binary that runs from an empty image."
            "It was built without static linking, or for another system."
            "Build it with RUSTFLAGS='-C target-feature=+crt-static' cargo build --release -p smi-agent --target x86_64-unknown-linux-gnu."
    }

    Selection {
        NothingSelected "nothing-selected"
            "No assertion of the suite matches --run and --skip."
            "A pattern is misspelt; it must match the whole id."
            "List the ids with `smi-runner list`, and use * for any text, such as 'smi.split.*'."
    }

    Submission {
        NotFound "not-found"
            "There is nothing at this address."
            "The digest is of another result, or the path is misspelt."
            "Find results in /v1/feed."
        MethodNotAllowed "method-not-allowed"
            "The address does not take this method."
            "A bundle was sent to the wrong address, or a page was asked for with POST."
            "Send bundles with POST to /v1/bundles, and read with GET."
        RequestMalformed "request-malformed"
            "The request cannot be understood."
            "A parameter has another form, or the body broke off."
            "Correct the request as its detail says."
        ReviewNeeded "review-needed"
            "Results of this signer are published after review, and this publisher takes no reviews."
            "The signer's key is marked after-review in the keyring."
            "Have the programme mark the key direct."
        RunLogged "run-logged"
            "The log has a result of this run by this key already."
            "A run was signed twice, with another content."
            "Run again: a run has one result."
        PayloadTaken "payload-taken"
            "Another key signed the same statement, and it is in the log."
            "A statement was copied and signed by somebody else, or two keys signed one run."
            "Sign a run of your own; if the run was yours, tell the programme."
        RunOld "run-old"
            "The run was finished longer ago than a publisher takes."
            "The bundle was kept back, or its signer's clock was wrong."
            "Run again, and submit within 30 days."
        QuotaSpent "quota-spent"
            "The key has submitted as many entries today as it may."
            "A pipeline submits every build, or a key is used by somebody else."
            "Submit again tomorrow, and official runs only."
        ResultUnknown "result-unknown"
            "The log has no result of this digest."
            "The record names a result that was never accepted, or something that is no result."
            "Submit the result first, or correct the digest."
        ResultOther "result-other"
            "The record is about a result that another key signed."
            "Only the key that signed a result withdraws or supersedes it."
            "Sign with the key of the result, or have the programme revoke it."
        ResultEnded "result-ended"
            "The result is withdrawn or superseded already."
            "Its signer no longer stands by it, and nothing that is said of it later changes that."
            "Nothing to do; a later run, once it is accepted, stands in its place."
        ReviewUncalled "review-uncalled"
            "The result does not wait for a review."
            "Results of its signer are published directly."
            "Nothing to do; to withdraw a key's results, revoke the key."
        SuccessorOther "successor-other"
            "The successor is a result about another mesh."
            "Results in the place of others are about the same mesh."
            "Withdraw the result instead."
        SuiteReleased "suite-released"
            "A suite of this version is released already."
            "A version names one file, for ever."
            "Release the file under another version."
        KeyringThreshold "keyring-threshold"
            "Fewer root keys signed the keyring than must."
            "A signature is missing, or was made for other bytes."
            "Add signatures with `smi-keys statement sign`, and submit again."
        KeyringNotNext "keyring-not-next"
            "The keyring does not follow the one in force."
            "Its version is not a later one, it names another predecessor, or it changes what a keyring must keep."
            "Make it from the keyring that the publisher serves, `GET /v1/keyring.json`, with smi-keys."
        LogOnly "log-only"
            "The first entry of a log is its keyring, and it has no other first."
            "The log was made already, or something else was submitted to a log without a keyring."
            "Submit what follows the log's keyring."
        SubmissionRefused "submission-refused"
            "The publisher refused the bundle."
            "Its answer names the grounds."
            "Mend what the answer names, and submit again."
    }

    Alteration {
        AuditCheckpointInvalid "audit-checkpoint-invalid"
            "What is served as the log's checkpoint is not one that the log's key signed."
            "Another log is served, its key was replaced, or something else answers at the address."
            "Check the address and the keyring; if both are right, keep what was served and tell the programme."
        AuditRollback "audit-rollback"
            "The log is smaller than it was."
            "The publisher was restored from an old copy, shows some readers an old state, or took entries back."
            "Keep the checkpoint that was seen before and the one that is served, and show both to the programme."
        AuditFork "audit-fork"
            "The log's key signed two trees of which neither contains the other."
            "History was rewritten, or readers are shown different logs."
            "Keep both checkpoints: together they are the proof. Show them to the programme and to the witnesses."
        AuditRootDiffers "audit-root-differs"
            "The entries that are served do not have the root that was signed."
            "Entries or hashes were changed, removed or reordered behind the log."
            "Compare with a copy of the log, and show the checkpoint and the tiles to the programme."
        AuditEntryDiffers "audit-entry-differs"
            "An entry that is served is not the one that was signed."
            "The entry was replaced behind the log."
            "Keep the tile and the checkpoint, and show both to the programme."
        AuditTileDiffers "audit-tile-differs"
            "A tile is cut off, malformed, or does not follow from the entries."
            "The file was changed or damaged behind the log, or a cache in between is broken."
            "Fetch the tile again from the publisher itself; if it is still so, show it to the programme."
        AuditEntryMissing "audit-entry-missing"
            "Something that the log commits to is not served."
            "An entry, a tile or a bundle was removed behind the log."
            "Ask for it again; if it stays away, show the checkpoint to the programme."
        AuditLeafDiffers "audit-leaf-differs"
            "The bundle that is served for an entry is not the one that was logged."
            "The bundle was replaced or damaged behind the log."
            "Keep the bundle and the entry's proof, and show both to the programme."
        AuditEntryRefused "audit-entry-refused"
            "An entry is in the log that must not be there."
            "The publisher logged what the verifier refuses, or what the entries before it do not admit."
            "Verify the bundle by itself; if the grounds hold, show it and the entry's proof to the programme."
        AuditEntryRepeated "audit-entry-repeated"
            "The same bundle is in the log twice."
            "An old statement was logged again, as if it had been said anew."
            "Show both indexes to the programme."
        AuditViewDiffers "audit-view-differs"
            "The view that is served is not the fold of the entries."
            "A result is hidden, invented, outdated or misquoted on the public page."
            "Believe the entries, and show the view and the checkpoint to the programme."
        AuditFeedDiffers "audit-feed-differs"
            "The feed tells something else than the entries say."
            "An entry is hidden, invented or misquoted in the feed."
            "Believe the entries, and show the page and the checkpoint to the programme."
        AuditKeyringDiffers "audit-keyring-differs"
            "The keyring that is served is not the one in force in the log."
            "The file was replaced behind the log."
            "Do not use the keyring that is served; take the one of the newest keyring entry."
        AuditKeyringUntrusted "audit-keyring-untrusted"
            "The log's keyrings do not include the one that is trusted."
            "It is another log, or its first keyring was replaced."
            "Check the keyring's digest with whoever gave it; if it is right, trust nothing of this log."
        AuditQuorumLost "audit-quorum-lost"
            "Fewer witnesses cosigned the checkpoint than the keyring asks for."
            "Witnesses are down, or refuse to cosign what they are shown."
            "Ask again later; if it stays so, ask the witnesses what they saw."
        AuditTooLarge "audit-too-large"
            "The log's key signed a tree of more entries than a log here can have."
            "The key signs for somebody else, or the publisher is broken."
            "Keep the checkpoint, and show it to the programme."
        WaitingDiffers "waiting-differs"
            "The bundle that is served for a result that waits is not that result."
            "The bundle was replaced behind the log, or something in between is broken."
            "Decide nothing about it; audit the publisher, and show the programme what was served."
    }

    Retry {
        RequestSlow "request-slow"
            "The request did not arrive in time."
            "The connection is slow, or broke off silently."
            "Send it again."
        PublisherBusy "publisher-busy"
            "The publisher has as much to do as it takes on."
            "Many submissions or streams at once."
            "Try again in a few seconds."
        PublisherFault "publisher-fault"
            "The publisher could not finish the request."
            "Its disk is full or failing, or it is stopping."
            "Try again later; a submission that was stored is answered with its index."
        StoreFull "store-full"
            "Too little room is left for another result."
            "The file system of the data directory is nearly full."
            "Make room and submit again; what was acknowledged is kept."
        LogBusy "log-busy"
            "More submissions wait than the log takes on."
            "Results arrive faster than they can be made durable."
            "Submit again later; the same result is never logged twice."
        LogStopped "log-stopped"
            "The log takes no submissions any more."
            "The publisher is shutting down, or no longer knows what is on its disk."
            "Start the publisher again and submit again; the same result is never logged twice."
        NotWitnessed "not-witnessed"
            "It is in the log, and waits for the witnesses to cosign."
            "Too few witnesses answered in time, so the publisher shows nothing new."
            "Ask the address that was answered for its state; nothing needs to be submitted again."
        AuditUnreachable "audit-unreachable"
            "The publisher did not answer, so nothing was decided."
            "The address is wrong, or the network or the publisher is down or overloaded."
            "Check the address, and audit again."
        AuditStale "audit-stale"
            "The witnesses cosigned the checkpoint longer ago than a publisher leaves an idle log."
            "The publisher stands still, is cut off from its witnesses, or shows an old state and hides what came since."
            "Ask again later and from elsewhere; if it stays so, ask the witnesses what they saw last."
        AuditSuiteUnknown "audit-suite-unknown"
            "A result's suite is not known here, so its statuses could not be replayed."
            "The suite is newer than this verifier."
            "Audit with a newer release, or name the suite's file with --suite."
        PublisherUnreachable "publisher-unreachable"
            "The publisher did not answer."
            "The address is wrong, or the network or the publisher is down."
            "Check the address, and try again; a submission that was stored is answered with its index."
    }

    Environment {
        KubeconfigInvalid "kubeconfig-invalid"
            "No cluster can be found from the kubeconfig."
            "There is no kubeconfig, or it does not have the context, or a file that it names is missing."
            "Check --kubeconfig, KUBECONFIG and --context with `kubectl config get-contexts`."
        ClusterUnreachable "cluster-unreachable"
            "The cluster does not answer."
            "Its address is wrong, it is down, the network is in between, or its certificate is not trusted."
            "Try `kubectl version` with the same kubeconfig and context."
        ClusterDenied "cluster-denied"
            "The cluster does not permit what a run does."
            "The account has fewer rights than a run needs, or its credentials have expired."
            "Apply what `smi-runner rbac` prints and bind it to the account, or log in again."
        ClusterRefused "cluster-refused"
            "The cluster did not take what a run needs, or is not ready to."
            "A quota, a policy or an admission webhook stands in the way, or the API server is overloaded."
            "Mend what the cluster's answer names, or wait, and run again."
        ApiVersionUnknown "api-version-unknown"
            "The cluster serves something in a version that this runner does not speak."
            "Its CRDs are newer, older or another project's."
            "Use a release of the runner that speaks the version, or install the mesh's own CRDs."
        MeshNotFound "mesh-not-found"
            "The mesh does not run on this cluster."
            "Another mesh or context was named, or the mesh's pods have other labels than the profile says."
            "Check with `kubectl get pods -A --show-labels`, and give --profile where the labels differ."
        MeshNotAsProfiled "mesh-not-as-profiled"
            "The mesh is not as its profile says."
            "It is another version, or was installed under another name, so that a label or an object of the profile means nothing to it."
            "Compare what the profile says with a namespace that is in the mesh and with the mesh's own, and give --profile."
        MeshNotReady "mesh-not-ready"
            "The mesh is not ready."
            "It is starting, or failing."
            "Wait until its pods are ready, and run again."
        MeshChanged "mesh-changed"
            "The mesh was changed during the run, so the results are about no one thing, and nothing was signed."
            "It was upgraded, reconfigured or restarted with another image."
            "Leave the mesh alone, and run again."
        ImageUnnamed "image-unnamed"
            "An image has no digest by which a registry knows it, so a result could not say what was tested."
            "The image was loaded into the node by hand, without its digest."
            "Pull it from a registry, or load it with `ctr --namespace k8s.io images import --digests --base-name NAME ARCHIVE`."
        WorkloadNotStarted "workload-not-started"
            "A pod of the workload image did not become ready, or could not be driven."
            "The nodes do not have the image and cannot pull it, have no room for the pod, or exec does not get through."
            "Load the image that `smi-runner image` writes into every node, or push it and name it with --agent-image."
        NamespaceStuck "namespace-stuck"
            "Namespaces of the run could not be removed."
            "The cluster went away, or an APIService that is not available blocks every deletion of a namespace."
            "Look at `kubectl get apiservices`, mend or remove what is not available, and run `smi-runner cleanup --run` with the run's id."
        AddressTaken "address-taken"
            "The address cannot be listened on."
            "Another program has it, or it is not this machine's."
            "Choose another address, or port 0 for a free one."
        StoreNotOurs "store-not-ours"
            "The data directory is neither empty nor a store of this publisher."
            "The path is wrong, or a file was put into the directory before the store was created."
            "Name an empty directory, one that does not exist yet, or the store's own."
        StoreFormat "store-format"
            "The store has a format that this publisher does not know."
            "It was written by a newer release."
            "Start the release that wrote it."
        StoreDemonstration "store-demonstration"
            "The store is a demonstration, which it stays for ever."
            "It was created with --allow-sandbox or --allow-draft."
            "Start with the same flags, or name another directory for official results."
        StoreOfficial "store-official"
            "The store is an official one and takes no results of sandboxes or drafts."
            "It was created without --allow-sandbox and --allow-draft."
            "Start without these flags, or name another directory for the demonstration."
        StoreInUse "store-in-use"
            "Another process has the store open."
            "A publisher is running on the same directory."
            "Stop it first; one publisher at a time writes a store."
        StoreDamaged "store-damaged"
            "The store contradicts itself, and nothing is read from it."
            "The disk failed, or a file of the store was changed, removed or restored alone."
            "Restore the whole directory from a copy."
        StoreBehind "store-behind"
            "The store has lost entries that were signed."
            "The directory was replaced by an older copy, or the disk lost what it had."
            "Restore a newer copy of the directory; nothing is signed until it has every entry that was."
        StoreDiffers "store-differs"
            "The store has other entries than were signed."
            "A file of the store was changed, or the last checkpoint belongs to another store."
            "Restore the directory and its last checkpoint from copies that belong together."
        EntryWrong "entry-wrong"
            "The log has an entry that may not be there."
            "The store was altered, or a defective publisher wrote it."
            "Restore the directory from a backup; if the entry was published, stop the publisher and say so."
        CellMissing "cell-missing"
            "There is no last checkpoint, so it is not known what was signed."
            "The file was removed or not copied along, or --cell names another place."
            "Put it back; it is the file beside the data directory, or where --cell said."
        CellForeign "cell-foreign"
            "The last checkpoint was not signed by this log."
            "Another private key was given, or the file belongs to another log."
            "Give the log's own key, and the checkpoint that belongs to the data directory."
        WitnessState "witness-state"
            "It is not known what the witness cosigned last of a log."
            "The file was changed or belongs to another log, or --log gives another key for the same origin."
            "Put the file back, or give the log's own key; a witness that forgets would cosign a fork."
        CellWithin "cell-within"
            "The last checkpoint would lie in the data directory."
            "The file that --cell names is there, where it would be lost and restored with the store that it is held against."
            "Name a file elsewhere, best on another disk."
        LogKeyOther "log-key-other"
            "The private key is not the one that the log's keyring names."
            "The file holds another key."
            "Give the private key whose public half the keyring has with the role log."
        LogEmpty "log-empty"
            "The directory holds no log yet."
            "The log was never made, or the path is wrong."
            "Make it with `smi-publisher init`, from a signed keyring."
        BackupDiffers "backup-differs"
            "What is served is no log, or not the one that is in the backup."
            "Another log answers at the address, something in between is broken, or history was rewritten."
            "Keep the backup and what is served, check the address, and audit the log."
        BackupUnwitnessed "backup-unwitnessed"
            "Too few witnesses cosigned the tree that is served, so it was not backed up."
            "This reader is shown a tree that the witnesses did not see."
            "Keep what is served, compare it with what others are shown, and tell the witnesses."
        BackupMissing "backup-missing"
            "The directory holds no backup."
            "The path is wrong, or the first backup was not finished."
            "Name the directory that `smi-publisher backup --to` wrote."
        RestoreOccupied "restore-occupied"
            "The directory holds entries that the backup does not."
            "It is another log's, or newer than the backup."
            "Name an empty directory; nothing that is there is replaced."
        OriginDemonstration "origin-demonstration"
            "The name of the log and what the store is for do not belong together."
            "A demonstration's name begins with `demo.`, and no other's does."
            "Name the log's key in the keyring accordingly, or leave out --allow-sandbox and --allow-draft."
        StoreUnusable "store-unusable"
            "The store could not be read or written."
            "The directory is not writable, or the disk failed."
            "Check the directory, its permissions and the disk; what was acknowledged is kept."
        ArchiveEmpty "archive-empty"
            "The directory holds no bundles."
            "The path is wrong, or the files have other names."
            "Name the directory whose *.json files are the bundles."
        AuditStateInvalid "audit-state-invalid"
            "The file of the last audit is not a checkpoint of this log."
            "It belongs to another log, or was changed."
            "Give the file that an audit of this log wrote, or another name to start anew."
        AuditLogUnnamed "audit-log-unnamed"
            "The keyring names no log, so nothing can be held against it."
            "It is a keyring from before the log was made, or of another use."
            "Give a keyring that has a key with the role log."
        KeyringInvalid "keyring-invalid"
            "The keyring cannot be trusted as it stands."
            "It is not the JSON of a keyring, or breaks one of its rules."
            "Mend the place that is named, or fetch the keyring again."
        KeyFileFormat "key-file-format"
            "The file is not an Ed25519 key in PEM."
            "It holds another kind of key, or a public key where a private one is needed, or the reverse."
            "Make one with `smi-keys generate`, or with `openssl genpkey -algorithm ed25519`."
        KeyFileEncryption "key-file-encryption"
            "The private key is encrypted in a way that is not read here."
            "An old tool encrypted it, or at a cost beyond all need."
            "Encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in OLD -out NEW`."
        KeyFilePermissions "key-file-permissions"
            "Other users of this machine may read the private key."
            "The file's mode is wider than 0600."
            "Run chmod 600 on the file; if others may have read it, generate a new key."
        PassphraseMissing "passphrase-missing"
            "The private key is encrypted and there is no passphrase for it."
            "There is no terminal to ask on."
            "Give --passphrase-file, or set SMI_KEY_PASSPHRASE."
        PassphraseWrong "passphrase-wrong"
            "The passphrase does not open the private key."
            "It is misspelt, or belongs to another key."
            "Try again with the right passphrase."
        PassphraseEmpty "passphrase-empty"
            "The passphrase is empty, which would be no protection."
            "The file or the variable that should hold it is empty."
            "Choose a passphrase, or ask for --no-encrypt."
        PassphraseTooLong "passphrase-too-long"
            "The passphrase is longer than 1023 bytes, which openssl would not read."
            "Another file was given by mistake."
            "Give a file that holds the passphrase and nothing else."
        PassphraseMismatch "passphrase-mismatch"
            "The passphrase and its repetition differ."
            "One of them is misspelt."
            "Try again."
        NoRandomness "no-randomness"
            "The operating system gave no randomness."
            "The machine is just starting, or is confined too narrowly."
            "Try again later, or on another machine."
    }
}

/// The text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such code")]
pub struct ParseCodeError;

impl FromStr for Code {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|code| code.as_str() == text).copied().ok_or(ParseCodeError)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_kebab_case() {
        let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in codes {
            assert!(
                code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit()),
                "{code}"
            );
        }
    }

    #[test]
    fn every_text_is_one_sentence() {
        for code in Code::ALL {
            for text in [code.sentence(), code.cause(), code.remedy()] {
                assert!(text.ends_with('.') && text.starts_with(|c: char| c.is_uppercase()), "{code}: {text}");
            }
        }
    }
}
