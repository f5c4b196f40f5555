//! Request ids: how a request is told apart from every other one, wherever it ends up.
//!
//! An id is 128 bits, written as 32 lower-case hexadecimal digits. It is the first half of the SHA-256 of 16 bytes: a
//! seed and a number, both as 64-bit big-endian integers. The seed is the caller's, the number counts the requests of
//! this process, so that within a process no id is ever given twice, whatever seeds are used. Between processes it is
//! the seed that keeps ids apart: a caller gives every agent process, and every restart of one, a seed of its own.
//!
//! ```
//! use smi_agent::RequestId;
//!
//! // printf '\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\1' | sha256sum | head -c 32
//! let id = RequestId::derive(7, 1);
//! assert_eq!(id.to_string(), "4ff190b4c2c573ec999d8db75f206447");
//! assert_eq!("4ff190b4c2c573ec999d8db75f206447".parse(), Ok(id));
//! assert!("4ff190b4c2c573ec999d8db75f206447".to_uppercase().parse::<RequestId>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use smi_schemas::Digest;

/// Requests for which this process has taken a number.
static ISSUED: AtomicU64 = AtomicU64::new(0);

/// The id of one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId([u8; 16]);

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 32 lower-case hexadecimal digits")]
pub struct ParseRequestIdError;

impl RequestId {
    /// The id for a seed and a number.
    pub fn derive(seed: u64, number: u64) -> Self {
        let mut preimage = [0; 16];
        let (high, low) = preimage.split_at_mut(8);
        high.copy_from_slice(&seed.to_be_bytes());
        low.copy_from_slice(&number.to_be_bytes());
        Self::first_half(&Digest::of(&preimage))
    }

    fn first_half(digest: &Digest) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        Self(id)
    }
}

/// Ids that nobody else in this process is given.
#[derive(Debug)]
pub(crate) struct Batch {
    seed: u64,
    first: u64,
}

impl Batch {
    /// Takes the next `count` numbers of this process.
    pub(crate) fn take(seed: u64, count: u32) -> Self {
        Self { seed, first: ISSUED.fetch_add(u64::from(count), Ordering::Relaxed) }
    }

    /// The id of the batch's request `index`, counted from 0 and less than the batch's count.
    pub(crate) fn id(&self, index: u32) -> RequestId {
        RequestId::derive(self.seed, self.first.wrapping_add(u64::from(index)))
    }
}

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseRequestIdError);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| ParseRequestIdError)?;
        Ok(Self(value.to_be_bytes()))
    }
}

impl TryFrom<String> for RequestId {
    type Error = ParseRequestIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_form_is_read() {
        let id = "0000000000000000000000000000000a";
        assert_eq!(id.parse::<RequestId>().unwrap().to_string(), id);
        let padded = format!("+{}", &id[1..]);
        for refused in
            ["", "a", &id[1..], &format!("{id}0"), &id.to_uppercase(), padded.as_str(), &id.replace('a', "g")]
        {
            assert_eq!(refused.parse::<RequestId>(), Err(ParseRequestIdError), "{refused}");
        }
    }

    #[test]
    fn batches_of_one_seed_do_not_overlap() {
        let batches = [Batch::take(7, 3), Batch::take(7, 3), Batch::take(8, 3)];
        let ids: BTreeSet<_> = batches.iter().flat_map(|batch| (0..3).map(|index| batch.id(index))).collect();
        assert_eq!(ids.len(), 9);
    }
}
