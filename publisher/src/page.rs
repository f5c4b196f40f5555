//! The view as a page: a matrix of meshes and APIs that needs no script.

use askama::Template;
use smi_schemas::feed::{Capability, Compliance};
use smi_schemas::smi::{Api, ApiVersion};
use smi_verifier::view::{Cell, Current, Document, Row};

/// The page. What it shows is the document's, and everything is escaped.
#[derive(Template)]
#[template(path = "matrix.html")]
pub struct Matrix<'a> {
    document: &'a Document,
    demonstration: bool,
}

#[allow(clippy::unused_self)] // a template calls methods
impl<'a> Matrix<'a> {
    /// The page of a view.
    pub fn new(document: &'a Document, demonstration: bool) -> Self {
        Self { document, demonstration }
    }

    fn apis(&self) -> [Api; 4] {
        Api::ALL
    }

    /// The row's cells of one API.
    fn cells<'r>(&self, row: &'r Row, api: &Api) -> Vec<&'r Cell> {
        row.cells.iter().filter(|cell| cell.api == *api).collect()
    }

    /// A sign beside the word, for who cannot tell the colours apart. Unknown has one of its own.
    fn sign(&self, current: &Current) -> &'static str {
        match current.summary.capability {
            Capability::Full => "●",
            Capability::Partial => "◐",
            Capability::None => "○",
            Capability::Unknown => "?",
        }
    }

    fn class(&self, cell: &Cell) -> &'static str {
        let Some(current) = &cell.current else {
            return if cell.superseded_by.is_some() { "superseded" } else { "withdrawn" };
        };
        match current.summary.compliance {
            Compliance::Compliant => "compliant",
            Compliance::NonCompliant => "non-compliant",
            Compliance::Undecided => "undecided",
        }
    }

    /// The version, or that there is none.
    fn version(&self, cell: &Cell) -> &'static str {
        cell.version.map_or("absent", ApiVersion::as_str)
    }
}
