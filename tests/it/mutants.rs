//! The suite is itself tested: the reference mesh passes it, and each mutant is caught by what is meant for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use futures_util::future::join_all;
use smi_sandbox::mutant::Mutant;
use smi_schemas::report::Status;
use smi_schemas::suite::{BUILTIN, Suite};
use smi_tests::mutants::{caught, meant, run};

/// Mutants at once; most of their time is waiting for limits.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_mesh_passes() {
    let results = run(None).await;
    let bad: Vec<_> =
        results.iter().filter(|result| !matches!(result.status, Status::Pass | Status::Observed)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(caught(&results).is_empty());
}

#[test]
fn every_scored_assertion_has_a_mutant() {
    let (suite, _) = Suite::read(BUILTIN[0]).unwrap();
    let met: BTreeSet<&str> = Mutant::ALL.iter().flat_map(|mutant| meant(*mutant)).copied().collect();
    let unmet: Vec<_> = suite
        .assertions
        .iter()
        .filter(|assertion| assertion.level.is_scored() && !met.contains(assertion.id.as_str()))
        .map(|assertion| &assertion.id)
        .collect();
    assert!(unmet.is_empty(), "no mutant is meant for {unmet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_caught_by_what_is_meant_for_it() {
    let mut seen: BTreeMap<Mutant, BTreeSet<String>> = BTreeMap::new();
    for mutants in Mutant::ALL.chunks(AT_ONCE) {
        let runs = join_all(mutants.iter().map(|mutant| run(Some(*mutant)))).await;
        for (mutant, results) in mutants.iter().zip(runs) {
            let caught = caught(&results);
            for id in meant(*mutant) {
                assert!(caught.iter().any(|by| by.as_str() == *id), "{mutant} survives {id}; caught by {caught:?}");
            }
            let errors: Vec<_> = results.iter().filter(|result| result.status == Status::Error).collect();
            assert!(errors.is_empty(), "{mutant}: {errors:#?}");
            seen.insert(*mutant, caught.into_iter().map(ToString::to_string).collect());
        }
    }
    let path = smi_tests::root().join("tests/MUTANTS.md");
    let table = table(&seen);
    if smi_tests::update() {
        fs::write(&path, &table).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    assert!(stored == table, "tests/MUTANTS.md is not what was seen; SMI_UPDATE=1 writes it:\n{table}");
}

/// The mutants as a page.
fn table(seen: &BTreeMap<Mutant, BTreeSet<String>>) -> String {
    let mut page = "# Mutants\n\n\
        The reference mesh with one deviation each, and the assertions of the draft suite that fail on it: first those that\n\
        are meant to, then those that see it too. `cargo run --release -p smi-tests --bin mutants` runs them, a test writes\n\
        and holds this page.\n\n\
        | Mutant | Deviation | Modelled on | Caught by | and by |\n|---|---|---|---|---|\n"
        .to_owned();
    for (mutant, caught) in seen {
        let meant: Vec<&str> = meant(*mutant).to_vec();
        let too: Vec<&str> = caught.iter().map(String::as_str).filter(|id| !meant.contains(id)).collect();
        let listed = |ids: &[&str]| ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        writeln!(
            page,
            "| `{mutant}` | {} | {} | {} | {} |",
            mutant.deviation(),
            mutant.model(),
            listed(&meant),
            listed(&too)
        )
        .unwrap();
    }
    page
}
