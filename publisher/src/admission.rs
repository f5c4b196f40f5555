//! What a log is for: results that are published, or a demonstration for ever.
//!
//! A demonstration may admit results of the sandbox, drafts, or both, and its log is called so that nobody takes one for
//! the other. What was admitted when it was logged is what a check of the store and a backup admit.

use smi_keys::keyring::Keyring;
use smi_verifier::policy::{Policy, Suites};

/// What the name of a demonstration's log begins with.
const DEMONSTRATION: &str = "demo.";

/// Whether a log of this name is a demonstration.
pub fn is_demonstration(origin: &str) -> bool {
    origin.starts_with(DEMONSTRATION)
}

/// What results are verified by when they are logged. Its keyring is empty: the log's own takes its place.
pub fn policy(suites: Suites, allow_sandbox: bool, allow_draft: bool) -> Policy {
    Policy { allow_sandbox, allow_draft, ..Policy::of_log(Keyring::default(), suites) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demonstration_is_known_by_its_first_label() {
        for (origin, is_one) in
            [("demo.example.org", true), ("demo.localhost", true), ("demolition.example.org", false)]
        {
            assert_eq!(is_demonstration(origin), is_one, "{origin}");
        }
        assert!(!is_demonstration("log.demo.example.org"));
    }
}
