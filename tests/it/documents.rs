//! The JSON Schemas in `schemas/json/` are those of the types. `SMI_UPDATE=1` writes them anew.

use std::fs;

use smi_schemas::documents;

#[test]
fn stored_json_schemas_are_the_generated_ones() {
    let folder = smi_tests::root().join("schemas/json");
    let mut all = documents::all();
    all.push(smi_keys::keyring::document());
    all.push(("verdict.v1.json", documents::of::<smi_verifier::verdict::Verdict>()));
    for (name, schema) in &all {
        let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if smi_tests::update() {
            fs::write(folder.join(name), &text).unwrap();
        }
        let stored = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(stored == text, "schemas/json/{name} has drifted; SMI_UPDATE=1 rewrites it");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), all.len(), "one file a document, no others");
}
