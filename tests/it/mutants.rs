//! The suite is itself tested: the reference mesh passes it, and each mutant is caught by what is meant for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use futures_util::{StreamExt as _, stream};
use smi_sandbox::mutant::Mutant;
use smi_schemas::codes::Code;
use smi_schemas::report::Status;
use smi_schemas::smi::ApiVersion::{V1alpha1, V1alpha2, V1alpha3, V1alpha4};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::suite::{DRAFT, Suite};
use smi_tests::mutants::{caught, meant, run, versions};

/// Mutants at once; most of their time is waiting for limits.
const AT_ONCE: usize = 8;

/// Versions of access, specs, split and metrics: those of the releases, newest first, those before them, and a mixture
/// that a real mesh serves.
const VERSIONS: [[ApiVersion; 4]; 5] = [
    [V1alpha3, V1alpha4, V1alpha4, V1alpha1],
    [V1alpha2, V1alpha3, V1alpha3, V1alpha1],
    [V1alpha1, V1alpha2, V1alpha3, V1alpha1],
    [V1alpha1, V1alpha1, V1alpha1, V1alpha1],
    [V1alpha3, V1alpha4, V1alpha2, V1alpha1],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_mesh_passes_in_every_version() {
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
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
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    let met: BTreeSet<&str> = Mutant::ALL.iter().flat_map(|mutant| meant(*mutant)).copied().collect();
    assert!(Mutant::ALL.iter().all(|mutant| !meant(*mutant).is_empty()), "each mutant is there for an assertion");
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
    let seen = stream::iter(Mutant::ALL).map(|mutant| seen(*mutant)).buffered(AT_ONCE);
    let mut seen: Vec<Seen> = seen.collect().await;
    for seen in &mut seen {
        // A machine that is busy with many at once may be too slow for what is waited for.
        if !smi_tests::update() && !seen.is_as_stored(&stored) {
            *seen = self::seen(seen.mutant).await;
        }
    }
    if smi_tests::update() {
        let rows: String = seen.iter().map(Seen::row).collect();
        fs::write(&path, format!("{HEAD}{rows}")).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    let survivors: Vec<&Seen> = seen.iter().filter(|seen| !seen.is_killed()).collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
    let others: Vec<String> = seen.iter().filter(|seen| !seen.is_as_stored(&stored)).map(Seen::row).collect();
    assert!(others.is_empty(), "tests/MUTANTS.md does not say so; SMI_UPDATE=1 writes it:\n{}", others.concat());
    assert_eq!(stored.lines().count(), HEAD.lines().count() + Mutant::ALL.len(), "a row a mutant");
}

const HEAD: &str = "# Mutants\n\n\
    The reference mesh with one deviation each, and the assertions of the draft suite that fail on it: first those that\n\
    are meant to, then those that see it too. `cargo run --release -p smi-tests --bin mutants` runs them, a test writes\n\
    and holds this page.\n\n\
    | Mutant | Deviation | Modelled on | Caught by | and by |\n|---|---|---|---|---|\n";

/// What came of a mutant.
#[derive(Debug)]
struct Seen {
    mutant: Mutant,
    caught: Vec<String>,
    errors: usize,
}

async fn seen(mutant: Mutant) -> Seen {
    let results = run(Some(mutant), versions(Some(mutant))).await;
    let caught = caught(&results).into_iter().map(ToString::to_string).collect();
    let errors = results.iter().filter(|result| result.status == Status::Error).count();
    Seen { mutant, caught, errors }
}

impl Seen {
    fn is_killed(&self) -> bool {
        self.errors == 0 && meant(self.mutant).iter().all(|id| self.caught.iter().any(|by| by == id))
    }

    /// Whether the page has its row, and everything in it that caught the mutant.
    fn is_as_stored(&self, page: &str) -> bool {
        let begin = self.row_begin();
        let row = page.lines().find_map(|row| row.strip_prefix(&begin));
        let named = |id: &&String| row.is_some_and(|row| row.contains(&format!("`{id}`")));
        let known = self.mutant.by_chance() || self.too().iter().all(named);
        self.is_killed() && row.is_some() && known
    }

    fn row(&self) -> String {
        let too: Vec<String> = self.too().into_iter().map(|id| format!("`{id}`")).collect();
        let too = if self.mutant.by_chance() { "others, by chance".to_owned() } else { too.join(", ") };
        format!("{}{too} |\n", self.row_begin())
    }

    fn row_begin(&self) -> String {
        let meant: Vec<String> = meant(self.mutant).iter().map(|id| format!("`{id}`")).collect();
        let (deviation, model) = (self.mutant.deviation(), self.mutant.model());
        format!("| `{}` | {deviation} | {model} | {} | ", self.mutant, meant.join(", "))
    }

    /// What caught it without being meant to.
    fn too(&self) -> Vec<&String> {
        self.caught.iter().filter(|id| !meant(self.mutant).contains(&id.as_str())).collect()
    }
}
