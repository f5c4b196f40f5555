//! The suite is itself tested: the reference mesh passes it, and each mutant is caught by what is meant for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use futures_util::{StreamExt as _, stream};
use smi_sandbox::mutant::Mutant;
use smi_schemas::codes::Code;
use smi_schemas::names::AssertionId;
use smi_schemas::report::Status;
use smi_schemas::smi::ApiVersion::{V1alpha1, V1alpha2, V1alpha3, V1alpha4};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::suite::{BUILTIN, Suite};
use smi_tests::mutants::{caught, meant, run, versions};

/// Mutants at once; most of their time is waiting for limits.
const AT_ONCE: usize = 8;

/// Versions of access, specs and split: those of the releases, newest first, those before them, and a mixture that a real
/// mesh serves.
const VERSIONS: [[ApiVersion; 3]; 5] = [
    [V1alpha3, V1alpha4, V1alpha4],
    [V1alpha2, V1alpha3, V1alpha3],
    [V1alpha1, V1alpha2, V1alpha3],
    [V1alpha1, V1alpha1, V1alpha1],
    [V1alpha3, V1alpha4, V1alpha2],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_mesh_passes_in_every_version() {
    let (suite, _) = Suite::read(BUILTIN[0]).unwrap();
    let mut passed = BTreeSet::new();
    for versions in VERSIONS {
        let apis: BTreeMap<Api, ApiVersion> = Api::ALL.into_iter().zip(versions).collect();
        for (assertion, result) in suite.assertions.iter().zip(run(None, apis.clone()).await) {
            let exists = assertion.versions.iter().all(|(api, versions)| versions.contains(&apis[api]));
            let expected = match (exists, assertion.level.is_scored()) {
                (true, true) => Status::Pass,
                (true, false) => Status::Observed,
                (false, _) => Status::NotApplicable,
            };
            assert_eq!(result.status, expected, "{versions:?} {result:#?}");
            let mixed = result.reason == Code::ReleasesMixed;
            assert!(expected != Status::Observed || result.reason == Code::Met || mixed, "{versions:?} {result:#?}");
            passed.extend(
                exists
                    .then(|| apis.clone().into_iter().map(|tested| (assertion.id.clone(), tested)))
                    .into_iter()
                    .flatten(),
            );
        }
    }
    for assertion in &suite.assertions {
        for (api, version) in assertion.versions.iter().flat_map(|(api, all)| all.iter().map(move |one| (*api, *one))) {
            assert!(
                passed.contains(&(assertion.id.clone(), (api, version))),
                "{} was not run with {api} {version}",
                assertion.id
            );
        }
    }
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
    if cfg!(debug_assertions) {
        eprintln!("skipped: every_mutant_is_caught_by_what_is_meant_for_it runs in release builds");
        return;
    }
    let path = smi_tests::root().join("tests/MUTANTS.md");
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let rows = stream::iter(Mutant::ALL).map(|mutant| row(*mutant)).buffered(AT_ONCE);
    let mut rows: Vec<String> = rows.collect().await;
    for (row, mutant) in rows.iter_mut().zip(Mutant::ALL) {
        // A machine that is busy with many at once may be too slow for what is waited for.
        if !stored.contains(row.as_str()) {
            *row = self::row(*mutant).await;
        }
    }
    let table = format!("{HEAD}{}", rows.concat());
    if smi_tests::update() {
        fs::write(&path, &table).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    assert!(stored == table, "tests/MUTANTS.md is not what was seen; SMI_UPDATE=1 writes it:\n{table}");
    assert!(!table.contains(SURVIVES), "{table}");
}

const HEAD: &str = "# Mutants\n\n\
    The reference mesh with one deviation each, and the assertions of the draft suite that fail on it: first those that\n\
    are meant to, then those that see it too. `cargo run --release -p smi-tests --bin mutants` runs them, a test writes\n\
    and holds this page.\n\n\
    | Mutant | Deviation | Modelled on | Caught by | and by |\n|---|---|---|---|---|\n";

/// What stands in a row of a mutant that nothing meant for it caught, or that broke the harness.
const SURVIVES: &str = "SURVIVES";

/// A mutant's row of the page.
async fn row(mutant: Mutant) -> String {
    let results = run(Some(mutant), versions(Some(mutant))).await;
    let caught: Vec<&str> = caught(&results).into_iter().map(AssertionId::as_str).collect();
    let meant = meant(mutant);
    let sound =
        meant.iter().all(|id| caught.contains(id)) && results.iter().all(|result| result.status != Status::Error);
    let too: Vec<&str> = caught.into_iter().filter(|id| !meant.contains(id)).collect();
    let listed = |ids: &[&str]| ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let by = if sound { listed(meant) } else { SURVIVES.to_owned() };
    let too = if mutant.by_chance() { "others, by chance".to_owned() } else { listed(&too) };
    format!("| `{mutant}` | {} | {} | {by} | {too} |\n", mutant.deviation(), mutant.model())
}
