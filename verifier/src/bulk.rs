//! Many bundles under one policy: each gets the verdict that it gets alone, and what they share is verified once.
//!
//! Bundles that came back from one publisher on one day carry the same few checkpoints, each with the signatures of the
//! log and its witnesses; of a whole archive these are most signatures. A [`Bulk`] may be used by many threads.
//!
//! Signatures of bundles are verified one by one. Checking many of them with one equation costs a quarter of the time,
//! and admits what strict verification refuses: a commitment that is neither non-canonical nor of small order, but the
//! sum of a proper one and a point of small order, passes for one in eight choices, and its signer makes the choice. To
//! rule that out, each commitment must be seen to have no such part, and that costs as much as the signature's own
//! verification. `keys` has the test.

use smi_schemas::Timestamp;

use crate::policy::Policy;
use crate::receipt::Heads;
use crate::{Refused, Verified, verify_with};

/// Verifies bundles under one policy.
#[derive(Debug)]
pub struct Bulk<'a> {
    policy: &'a Policy,
    now: Timestamp,
    heads: Heads,
}

impl<'a> Bulk<'a> {
    /// Nothing was verified yet.
    pub fn new(policy: &'a Policy, now: Timestamp) -> Self {
        Self { policy, now, heads: Heads::default() }
    }

    /// The same as [`crate::verify()`].
    pub fn verify(&self, bytes: &[u8]) -> Result<Verified, Refused> {
        verify_with(bytes, self.policy, self.now, &self.heads)
    }
}
