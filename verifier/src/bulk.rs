//! Many bundles under one policy: each gets the verdict that it gets alone, and what they share is verified once.
//!
//! Bundles that came back from one publisher on one day carry the same few checkpoints, each with the signatures of the
//! log and its witnesses; of a whole archive these are most signatures. A [`Bulk`] may be used by many threads.
//!
//! Signatures of bundles are verified one by one. One equation for many of them costs a third of the time, and admits
//! what strict verification refuses: a commitment that is neither non-canonical nor of small order, but the sum of a
//! proper one and a point of small order, passes for one in eight choices or more, and its signer makes the choice. To
//! see that a commitment has no such part costs as much as verifying the signature; a test of `smi-keys` has such a
//! signature. There is little to be had: of the time that the bundle of a whole suite takes, the curve's share is a
//! fortieth. Reading and replaying it are most of the work, and that is what more threads are for.

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
