//! The JSON Schemas in `schemas/json/` are those of the types, and the suite's page is that of its data. `SMI_UPDATE=1`
//! writes them anew.

use std::fs;

use smi_schemas::documents;
use smi_schemas::suite::{DRAFT, Suite};

#[test]
fn stored_json_schemas_are_the_generated_ones() {
    let folder = smi_tests::root().join("schemas/json");
    let mut all = documents::all();
    all.push(smi_keys::keyring::document());
    all.push(("verdict.v1.json", documents::of::<smi_verifier::verdict::Verdict>()));
    all.push(("audit.v1.json", documents::of::<smi_verifier::audit::report::Report>()));
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

#[test]
fn the_stored_page_of_the_suite_is_the_generated_one() {
    let (suite, digest) = Suite::read(DRAFT.bytes).unwrap();
    let path = smi_tests::root().join("schemas/suites/v1.md");
    let page = smi_tests::page::page(&suite, &digest);
    if smi_tests::update() {
        fs::write(&path, &page).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == page, "schemas/suites/v1.md has drifted; SMI_UPDATE=1 rewrites it");
    for assertion in &suite.assertions {
        assert!(page.contains(&format!("\n### {}\n", assertion.id)), "{}", assertion.id);
    }
}

#[test]
fn what_the_page_says_of_the_first_suite_exists() {
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    for (formerly, now) in smi_tests::page::FORMERLY {
        assert!(suite.assertions.iter().any(|assertion| assertion.id.as_str() == now), "{formerly}: {now}");
    }
}
