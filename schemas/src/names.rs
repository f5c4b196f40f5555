//! Names that travel into terminals, pages, feeds and file names.
//!
//! Each has a narrow character set and a length, checked when it is read, so that nothing downstream has to ask what
//! a name may contain.
//!
//! ```
//! use smi_schemas::names::{AssertionId, Slug};
//!
//! assert!("traefik-mesh".parse::<Slug>().is_ok());
//! assert!("../etc".parse::<Slug>().is_err());
//! assert_eq!("smi.access.default-deny".parse::<AssertionId>().unwrap().tail(), "default-deny");
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// The text does not have the form of the name it was read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {rule}")]
pub struct NameError {
    /// What was expected, such as `slug`.
    pub kind: &'static str,
    /// What such a name looks like.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $pattern:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        pub struct $name(#[schemars(with = "String", regex(pattern = $pattern))] String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                text.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) { Ok(Self(text)) } else { Err(NameError { kind: $kind, rule: $rule }) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A mesh, a key or a Kubernetes object: a DNS label.
    Slug,
    "slug",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "1 to 63 of a-z, 0-9 and -, with no - at either end",
    |text| is_label(text)
);

name!(
    /// A version as its owner writes it: of a mesh, of the suite, of Kubernetes.
    Version,
    "version",
    r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$",
    "1 to 64 of A-Z, a-z, 0-9 and . + _ -, beginning with a letter or digit",
    |text| {
        (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+_-".contains(&byte))
    }
);

name!(
    /// An assertion: `smi.AREA.NAME`.
    AssertionId,
    "assertion id",
    r"^smi\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "smi.AREA.NAME, where AREA and NAME are 1 to 63 of a-z, 0-9 and -",
    |text| {
        let mut parts = text.split('.');
        parts.next() == Some("smi")
            && parts.next().is_some_and(is_label)
            && parts.next().is_some_and(is_label)
            && parts.next().is_none()
    }
);

name!(
    /// 128 random bits as 32 hexadecimal digits. It names a run and everything the run makes.
    RunId,
    "run id",
    r"^[0-9a-f]{32}$",
    "32 lower-case hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
);

name!(
    /// A pattern for assertion ids: `*` stands for any text, `?` for one character.
    Glob,
    "pattern",
    r"^[a-z0-9.*?-]{1,128}$",
    "1 to 128 of a-z, 0-9, ., -, * and ?",
    |text| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || b".-*?".contains(&byte))
    }
);

name!(
    /// A word of somebody else's API, such as a kind or a verb; empty where there is none.
    #[derive(Default)]
    Word,
    "word",
    r"^[A-Za-z0-9./_-]{0,64}$",
    "up to 64 of A-Z, a-z, 0-9 and . / _ -",
    |text| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_-".contains(&byte))
);

name!(
    /// Why somebody decided something, in their words.
    Reason,
    "reason",
    r"^[^\x00-\x1f\x7f]{1,500}$",
    "1 to 500 letters, digits, spaces and marks of ASCII, in one line that neither begins nor ends with a space",
    |text| {
        (1..=500).contains(&text.chars().count())
            && text.trim() == text
            && text.chars().all(|c| c.is_alphanumeric() || (' '..='~').contains(&c))
    }
);

name!(
    /// The name of a key that signs notes: a host name, and for a witness perhaps a path below one.
    NoteName,
    "note name",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([./][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
    "at most 253 of a-z, 0-9 and -, in labels divided by . and /, such as log.example.org or witness.example.org/w1",
    |text| text.len() <= 253 && text.split(['.', '/']).all(is_label)
);

name!(
    /// An address that paths are put behind.
    Url,
    "address",
    r"^https?://[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*(:[1-9][0-9]{0,4})?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$",
    "http:// or https://, a lower-case host, perhaps a port and a path of A-Z, a-z, 0-9 and . _ ~ -, without / at the \
     end and at most 200 characters long",
    |text| text.len() <= 200 && is_url(text)
);

impl NoteName {
    /// Whether it is a host name and nothing else, as a log's is.
    pub fn is_host(&self) -> bool {
        !self.0.contains('/')
    }
}

impl Word {
    /// The text, or none if it is no word.
    pub fn of(text: &str) -> Self {
        text.parse().unwrap_or_default()
    }
}

impl Glob {
    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        WildMatch::new(&self.0).matches(text)
    }
}

impl AssertionId {
    /// The last part, which is unique within its area.
    pub fn tail(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }
}

impl Version {
    /// Compares as people count: 2.9 comes before 2.10. Versions that differ are never equal.
    pub fn natural_cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (runs(&self.0), runs(&other.0));
        loop {
            let order = match (left.next(), right.next()) {
                (None, None) => return self.0.cmp(&other.0),
                (left, right) => left.cmp(&right),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
    }
}

/// Runs of digits, by value, and of other characters. A number has no limit, so it is compared by length and digits.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).map(|run| {
        let run = std::str::from_utf8(run).unwrap_or_default(); // versions are ASCII
        if run.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = run.trim_start_matches('0');
            (digits.len(), digits)
        } else {
            (usize::MAX, run)
        }
    })
}

impl RunId {
    /// The id for `bits` of randomness.
    pub fn new(bits: [u8; 16]) -> Self {
        Self(crate::digest::hex(&bits))
    }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let mut parts = rest.split('/');
    let authority = parts.next().unwrap_or_default();
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_port = |text: &str| text.parse().is_ok_and(|port: u16| port > 0 && port.to_string() == text);
    let is_step = |step: &str| {
        !step.is_empty()
            && !step.starts_with('.')
            && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
    };
    host.split('.').all(is_label) && port.is_none_or(is_port) && parts.all(is_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_dns_labels() {
        let longest = "a".repeat(63);
        for accepted in ["a", "0", "traefik-mesh", longest.as_str()] {
            assert!(accepted.parse::<Slug>().is_ok(), "{accepted}");
        }
        let too_long = "a".repeat(64);
        for refused in ["", "-a", "a-", "A", "a.b", "a_b", "a\u{202e}b", "a b", too_long.as_str()] {
            assert!(refused.parse::<Slug>().is_err(), "{refused}");
        }
    }

    #[test]
    fn versions_hold_no_markup() {
        for accepted in ["1.4.8", "v1.34.9+k3s1", "1.0.0-draft", "2023_06"] {
            assert!(accepted.parse::<Version>().is_ok(), "{accepted}");
        }
        for refused in ["", ".1", "1 2", "<b>", "1\n2", "é"] {
            assert!(refused.parse::<Version>().is_err(), "{refused}");
        }
    }

    #[test]
    fn words_hold_nothing_that_a_terminal_reads() {
        for refused in ["Pod\n", "Traffic Metrics", "\u{202e}Pod", "<b>", &"a".repeat(65)] {
            assert!(refused.parse::<Word>().is_err(), "{refused}");
            assert_eq!(Word::of(refused), Word::default(), "what is no word is not made one");
        }
        assert_eq!(Word::of("pods/edges").as_str(), "pods/edges");
        assert_eq!("".parse(), Ok(Word::default()));
    }

    #[test]
    fn reasons_hold_nothing_that_a_terminal_obeys() {
        for accepted in ["Wrong build.", "Ärger mit 1.2", "<b> is only text"] {
            assert!(accepted.parse::<Reason>().is_ok(), "{accepted}");
        }
        for refused in ["", " ", "a ", "a\nb", "a\u{1b}[2J", "a\u{202e}b", &"a".repeat(501)] {
            assert!(refused.parse::<Reason>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn note_names_are_hosts_or_paths_below_one() {
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(longest.len(), 253);
        for accepted in ["log.example.org", "localhost", "witness.example.org/w1", "a.b/c.d/e", longest.as_str()] {
            let name: NoteName = accepted.parse().unwrap();
            assert_eq!(name.is_host(), !accepted.contains('/'), "{accepted}");
        }
        let too_long = format!("{longest}d");
        for refused in [
            "",
            "Log.example.org",
            "log.example.org.",
            ".org",
            "a..b",
            "-a",
            "a-",
            "/a",
            "a/",
            "a//b",
            "a/..",
            "log.example.org:443",
            "https://log.example.org",
            "a+b",
            "a b",
            "a\n",
            "\u{e9}",
            too_long.as_str(),
        ] {
            assert!(refused.parse::<NoteName>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn addresses_have_one_narrow_form() {
        let longest = format!("https://a/{}", "b".repeat(190));
        assert_eq!(longest.len(), 200);
        for accepted in [
            "https://witness.example.org",
            "http://127.0.0.1:8080",
            "https://a/b/C_d~e-f.g",
            "https://a:65535/~x",
            longest.as_str(),
        ] {
            assert!(accepted.parse::<Url>().is_ok(), "{accepted}");
        }
        let too_long = format!("{longest}b");
        for refused in [
            "",
            "ftp://a",
            "a.example",
            "https://",
            "https:///b",
            "HTTPS://a",
            "https://A",
            "https://a/",
            "https://a//b",
            "https://a/../b",
            "https://a/.b",
            "https://a:0",
            "https://a:080",
            "https://a:+80",
            "https://a:65536",
            "https://a:",
            "https://user@a",
            "https://user:word@a",
            "https://[::1]",
            "https://a?b",
            "https://a/b#c",
            "https://a/%2e",
            "https://a b",
            "https://a\n",
            too_long.as_str(),
        ] {
            assert!(refused.parse::<Url>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn versions_are_ordered_as_people_count() {
        let ordered = ["1.0.0-draft", "1.4.8", "2.9", "2.010", "2.10", "10", "v1.9.0", "v1.34.9"];
        let versions: Vec<Version> = ordered.iter().map(|text| text.parse().unwrap()).collect();
        for (place, left) in versions.iter().enumerate() {
            for (other, right) in versions.iter().enumerate() {
                assert_eq!(left.natural_cmp(right), place.cmp(&other), "{left} {right}");
            }
        }
    }

    #[test]
    fn assertion_ids_have_three_parts() {
        for refused in ["smi.access", "smi.access.a.b", "smi..a", "osm.access.a", "smi.Access.a", ""] {
            assert!(refused.parse::<AssertionId>().is_err(), "{refused}");
        }
    }
}
