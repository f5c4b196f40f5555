//! The strict JSON reader that everything signed, submitted or configured goes through.
//!
//! `serde_json` keeps the last of two equal keys of a map and skips what a type does not name, duplicates included.
//! Two readers that keep different ones disagree about what was signed, so [`parse`] walks the whole document once
//! before it is given a type, and refuses: more bytes than the caller's limit, more than [`MAX_DEPTH`] levels, an
//! object with the same key twice, and anything after the document.
//!
//! ```
//! use smi_schemas::json::{self, JsonError};
//!
//! let twice = br#"{"status":"pass","status":"fail"}"#;
//! assert_eq!(
//!     json::parse::<serde_json::Value>(twice, 1024),
//!     Err(JsonError::DuplicateKey { key: "status".into() }),
//! );
//! ```

use std::collections::BTreeSet;
use std::{fmt, io};

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::ser::Formatter;

/// Levels of objects and arrays in one document. A statement needs 14.
pub const MAX_DEPTH: usize = 24;

/// Why a document was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than the reader's limit; nothing was parsed.
    #[error("{len} bytes where at most {max} are read")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Objects and arrays nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An object names a key twice.
    #[error("key {key:?} appears twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Not JSON, or cut off.
    #[error("not JSON: {message}")]
    Syntax {
        /// What the parser met and where.
        message: String,
    },
    /// JSON of another shape than the one expected.
    #[error("{message}")]
    Shape {
        /// What was expected and where.
        message: String,
    },
}

/// Reads one JSON document of at most `max` bytes into `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, JsonError> {
    if bytes.len() > max {
        return Err(JsonError::TooLarge { len: bytes.len(), max });
    }
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| JsonError::Shape { message: error.to_string() })
}

/// Reads one JSON document of at most `max` bytes into `T`, and refuses any other form than the one that `T` is written
/// in: a list where an object stands, `null` for what is left out, a default that is spelt out. The order of keys and
/// white space are free.
pub fn parse_exact<T: DeserializeOwned + Serialize>(bytes: &[u8], max: usize) -> Result<T, JsonError> {
    if let Some(value) = parse_written(bytes, max) {
        return Ok(value);
    }
    if bytes.len() > max {
        return Err(JsonError::TooLarge { len: bytes.len(), max });
    }
    check(bytes)?;
    exact(bytes)
}

/// The same of a document that [`parse`] took before, which is not walked again.
pub(crate) fn exact<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, JsonError> {
    let shape = |error: serde_json::Error| JsonError::Shape { message: error.to_string() };
    let value: T = serde_json::from_slice(bytes).map_err(shape)?;
    // What is signed is most often written without white space, and then this says the same in a third of the time.
    if serde_json::to_vec(&value).map_err(shape)? == bytes {
        return Ok(value);
    }
    let read: serde_json::Value = serde_json::from_slice(bytes).map_err(shape)?;
    if serde_json::to_value(&value).map_err(shape)? == read {
        Ok(value)
    } else {
        Err(JsonError::Shape { message: "written in another form than the specified one".to_owned() })
    }
}

/// Reads a document of at most `max` bytes that is byte for byte what `T` writes, as nearly every one is: in one pass,
/// and one to compare. For any other there is nothing, and [`parse_exact`] to ask.
///
/// It admits nothing that [`parse_exact`] would refuse. What `T` writes has no key twice in an object (as long as `T` is
/// derived and its maps have distinct keys), nothing that `T` does not name and nothing after it; and the levels are
/// counted as they are written.
pub(crate) fn parse_written<T: DeserializeOwned + Serialize>(bytes: &[u8], max: usize) -> Option<T> {
    if bytes.len() > max {
        return None;
    }
    let value: T = serde_json::from_slice(bytes).ok()?;
    let mut expected = Expected(bytes);
    let mut writer = serde_json::Serializer::with_formatter(&mut expected, Levels { depth: 0 });
    value.serialize(&mut writer).ok()?;
    expected.0.is_empty().then_some(value)
}

/// Takes what is written if it is what comes next in these bytes.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as `serde_json` does, and no deeper than [`MAX_DEPTH`].
struct Levels {
    depth: usize,
}

impl Levels {
    fn deeper<W: ?Sized + io::Write>(&mut self, writer: &mut W, opening: &[u8]) -> io::Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.depth += 1;
        writer.write_all(opening)
    }

    fn back<W: ?Sized + io::Write>(&mut self, writer: &mut W, closing: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(closing)
    }
}

impl Formatter for Levels {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.deeper(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.back(writer, b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.deeper(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.back(writer, b"}")
    }
}

fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut violation = None;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk { depth: 0, violation: &mut violation }.deserialize(&mut reader).and_then(|()| reader.end());
    match (violation, walked) {
        (Some(violation), _) => Err(violation),
        (None, Err(error)) => Err(JsonError::Syntax { message: error.to_string() }),
        (None, Ok(())) => Ok(()),
    }
}

/// Visits a value without keeping it. The first violation is left in `violation` and ends the walk.
struct Walk<'a> {
    depth: usize,
    violation: &'a mut Option<JsonError>,
}

impl Walk<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<Walk<'_>, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.stop(JsonError::TooDeep));
        }
        Ok(Walk { depth: self.depth + 1, violation: self.violation })
    }

    fn stop<E: serde::de::Error>(&mut self, violation: JsonError) -> E {
        let error = E::custom(&violation);
        *self.violation = Some(violation);
        error
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(self.stop(JsonError::DuplicateKey { key }));
            }
            keys.insert(key);
            fields.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn depth_is_counted_at_its_edge() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse::<Value>(nested(MAX_DEPTH).as_bytes(), 1024).is_ok());
        assert_eq!(parse::<Value>(nested(MAX_DEPTH + 1).as_bytes(), 1024), Err(JsonError::TooDeep));
    }

    #[test]
    fn duplicates_are_found_where_a_type_would_not_look() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Named {}
        let hidden = br#"{"ignored":[{"a":1,"b":2,"a":3}]}"#;
        assert_eq!(parse::<Named>(hidden, 64), Err(JsonError::DuplicateKey { key: "a".into() }));
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        let escaped = br#"{"a":1,"\u0061":2}"#;
        assert_eq!(parse::<Value>(escaped, 64), Err(JsonError::DuplicateKey { key: "a".into() }));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = br#"{"a":[1,{"b":"c"}],"d":null}"#;
        assert!(parse::<Value>(whole, 64).is_ok());
        for end in 0..whole.len() {
            assert!(parse::<Value>(&whole[..end], 64).is_err(), "accepted {end} bytes");
        }
    }

    #[test]
    fn the_size_limit_is_exact() {
        assert!(parse::<Value>(b"[1]", 3).is_ok());
        assert_eq!(parse::<Value>(b"[1]", 2), Err(JsonError::TooLarge { len: 3, max: 2 }));
    }

    #[test]
    fn an_exact_reader_takes_one_form() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Pair {
            a: u8,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            b: Option<u8>,
        }
        assert_eq!(parse_exact(br#"{ "a": 1 }"#, 64), Ok(Pair { a: 1, b: None }));
        for other in [&b"[1]"[..], b"[1,null]", br#"{"a":1,"b":null}"#] {
            assert!(parse::<Pair>(other, 64).is_ok());
            assert!(parse_exact::<Pair>(other, 64).is_err(), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn what_is_written_is_read_at_once_and_nothing_else() {
        use std::collections::BTreeMap;
        type Counts = BTreeMap<String, u8>;
        let written = br#"{"a":1,"b":2}"#;
        assert_eq!(parse_written::<Counts>(written, 64), parse_exact(written, 64).ok());
        assert_eq!(parse_written::<Counts>(written, written.len() - 1), None);
        for other in [
            &br#"{"b":2,"a":1}"#[..],
            br#"{"a":1, "b":2}"#,
            br#"{"a":1,"b":2} "#,
            br#"{"\u0061":1,"b":2}"#,
            br#"{"a":1,"b":2,"b":2}"#,
            br#"{"a":1,"a":1,"b":2}"#,
            br#"{"a":1,"b":2}{}"#,
            br#"{"a":1,"b":2"#,
        ] {
            assert_eq!(parse_written::<Counts>(other, 64), None, "{}", String::from_utf8_lossy(other));
        }
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_written::<Value>(nested(MAX_DEPTH).as_bytes(), 1024).is_some());
        assert_eq!(parse_written::<Value>(nested(MAX_DEPTH + 1).as_bytes(), 1024), None);
        assert_eq!(parse_exact::<Value>(nested(MAX_DEPTH + 1).as_bytes(), 1024), Err(JsonError::TooDeep));
    }

    #[test]
    fn nothing_follows_the_document() {
        assert!(matches!(parse::<Value>(b"{} {}", 64), Err(JsonError::Syntax { .. })));
    }
}
