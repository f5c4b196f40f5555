//! The JSON Schemas of the documents that others read and write, generated from the types.
//!
//! The files in `schemas/json/` are these; a test holds them equal.
//!
//! ```
//! let names: Vec<_> = smi_schemas::documents::all().into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, [
//!     "bundle.v0.3.json", "feed.v1.json", "keyring-change.v1.json", "release.v1.json", "result.v1.json",
//!     "review.v1.json", "suite.v1.json", "supersession.v1.json", "withdrawal.v1.json",
//! ]);
//! ```

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::{bundle, feed, record, statement, suite};

/// File name and JSON Schema (2020-12) of every document.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("bundle.v0.3.json", of::<bundle::File>()),
        ("feed.v1.json", of::<feed::Page>()),
        ("keyring-change.v1.json", of::<record::File<record::KeyringChange>>()),
        ("release.v1.json", of::<record::File<record::Release>>()),
        ("result.v1.json", of::<statement::Statement>()),
        ("review.v1.json", of::<record::File<record::Review>>()),
        ("suite.v1.json", of::<suite::Suite>()),
        ("supersession.v1.json", of::<record::File<record::Supersession>>()),
        ("withdrawal.v1.json", of::<record::File<record::Withdrawal>>()),
    ]
}

/// The schema of one type, in the settings that all documents share.
pub fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}
