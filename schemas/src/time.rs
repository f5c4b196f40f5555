//! Times, to the second, in UTC.
//!
//! ```
//! use smi_schemas::Timestamp;
//!
//! let time: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
//! assert_eq!(time.unix_seconds(), 1_795_248_000);
//! assert_eq!(time.to_string(), "2026-11-21T08:00:00Z");
//! assert!("2026-11-21T08:00:00+00:00".parse::<Timestamp>().is_err(), "one form for one time");
//! assert!("2026-11-21T08:00:00.5Z".parse::<Timestamp>().is_err(), "no fractions");
//! ```

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: RFC 3339, whole seconds, `Z`. In memory it is the seconds since 1970, because a log has many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(#[schemars(with = "String", regex(pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"))] i64);

/// The text is not a time in the one form that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written YYYY-MM-DDTHH:MM:SSZ")]
pub struct ParseTimestampError;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The time `seconds` after 1970-01-01T00:00:00Z, if it lies in the years 0 to 9999.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        (0..=9999).contains(&time.year()).then_some(Self(seconds))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ParseTimestampError)?;
        let parsed = Self::from_unix_seconds(time.unix_timestamp()).ok_or(ParseTimestampError)?;
        if parsed.to_string() == text { Ok(parsed) } else { Err(ParseTimestampError) }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = ParseTimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every value is one that a time has.
        let at = OffsetDateTime::from_unix_timestamp(self.0).map_err(|_| fmt::Error)?;
        let (date, time) = (at.date(), at.time());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let (hour, minute, second) = time.as_hms();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
