//! Where a view that is served differs from the one that follows from the entries.

use serde::Serialize;
use smi_schemas::json;

use super::MAX_VIEW_BYTES;
use crate::quoted;
use crate::view::{Cell, Document, Row};

/// A place, and what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) place: String,
    pub(super) expected: String,
    pub(super) found: String,
}

/// The first difference, none where the bytes are equal.
pub(super) fn views(expected: &Document, served: &[u8]) -> Option<Difference> {
    if expected.to_bytes() == served {
        return None;
    }
    let found = json::parse::<Document>(served, MAX_VIEW_BYTES);
    Some(match found {
        Ok(found) => documents(expected, &found),
        Err(error) => differs("the document", "a view", &error.to_string()),
    })
}

fn documents(expected: &Document, found: &Document) -> Difference {
    same("schemaVersion", &expected.schema_version, &found.schema_version)
        .or_else(|| same("size", &expected.size, &found.size))
        .or_else(|| same("keyring", &expected.keyring, &found.keyring))
        .or_else(|| lists(&expected.suites, &found.suites, |suite| format!("suite {}", suite.version), same))
        .or_else(|| lists(&expected.waiting, &found.waiting, |result| format!("result {}", result.payload), same))
        .or_else(|| lists(&expected.rows, &found.rows, row_name, rows))
        .unwrap_or_else(|| differs("the document", "the same in its one form", "other bytes"))
}

fn same<T: PartialEq + Serialize>(place: &str, expected: &T, found: &T) -> Option<Difference> {
    (expected != found).then(|| differs(place, &text(expected), &text(found)))
}

fn rows(place: &str, expected: &Row, found: &Row) -> Option<Difference> {
    lists(&expected.cells, &found.cells, |cell| format!("{place}, {}", cell_name(cell)), same)
}

/// The first item that only one of two lists has, or that both have and that differs; at last, one in another place.
fn lists<T>(
    expected: &[T],
    found: &[T],
    name: impl Fn(&T) -> String,
    differ: impl Fn(&str, &T, &T) -> Option<Difference>,
) -> Option<Difference> {
    let names: Vec<String> = found.iter().map(&name).collect();
    for item in expected {
        let place = name(item);
        match names.iter().position(|name| *name == place) {
            None => return Some(differs(&place, "it is there", "it is not there")),
            Some(at) => {
                if let Some(difference) = differ(&place, item, &found[at]) {
                    return Some(difference);
                }
            }
        }
    }
    let expected: Vec<String> = expected.iter().map(&name).collect();
    if let Some(extra) = names.iter().find(|name| !expected.contains(name)) {
        return Some(differs(extra, "it is not there", "it is there"));
    }
    let moved = expected.iter().zip(&names).find(|(expected, found)| expected != found);
    if let Some((expected, found)) = moved {
        return Some(differs("the order", expected, found));
    }
    (expected.len() != names.len()).then(|| differs("the order", "each once", "one of them twice"))
}

fn row_name(row: &Row) -> String {
    let version = row.mesh_version.as_ref().map_or("of unknown version", |version| version.as_str());
    format!("row {} {version}, suite {}", row.mesh, row.suite)
}

fn cell_name(cell: &Cell) -> String {
    format!("cell {} {}", cell.api, cell.version.map_or("absent", |version| version.as_str()))
}

fn differs(place: &str, expected: &str, found: &str) -> Difference {
    Difference { place: quoted(place), expected: quoted(expected), found: quoted(found) }
}

/// Something as JSON, cut where it is long.
pub(super) fn text(value: &impl Serialize) -> String {
    quoted(&serde_json::to_string(value).unwrap_or_default())
}
