//! The suite is itself tested: the reference mesh passes it, and each mutant is caught by what is meant for it.

use smi_sandbox::mutant::Mutant;
use smi_schemas::report::Status;
use smi_tests::mutants::{caught, meant, run};

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_mesh_passes() {
    let results = run(None).await;
    let bad: Vec<_> =
        results.iter().filter(|result| !matches!(result.status, Status::Pass | Status::Observed)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(caught(&results).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_caught_by_what_is_meant_for_it() {
    for mutant in Mutant::ALL {
        let results = run(Some(mutant)).await;
        let caught = caught(&results);
        for id in meant(mutant) {
            assert!(caught.iter().any(|by| by.as_str() == *id), "{mutant} survives {id}; caught by {caught:?}");
        }
        let errors: Vec<_> = results.iter().filter(|result| result.status == Status::Error).collect();
        assert!(errors.is_empty(), "{mutant}: {errors:#?}");
    }
}
