//! What the README says of the programs is what they do.

use std::fs;

use smi_schemas::codes::Exit;
use smi_schemas::suite::{DRAFT, Level, NEWEST, Suite};

#[test]
fn its_suites_are_those_that_are_carried() {
    let text = fs::read_to_string(smi_tests::root().join("README.md")).unwrap().replace('\n', " ");
    let suite = Suite::read(NEWEST.bytes).unwrap().0;
    let count = |is: fn(Level) -> bool| suite.assertions.iter().filter(|assertion| is(assertion.level)).count();
    let (scored, core) = (count(Level::is_scored), count(|level| level == Level::Core));
    let informative = suite.assertions.len() - scored;
    for said in [
        format!(
            " {}, of {scored} scored assertions, {core} of them core, and {informative} informative",
            NEWEST.version
        ),
        format!("`--suite {}`", DRAFT.version),
    ] {
        assert!(text.contains(&said), "{said}");
    }
}

#[test]
fn its_exit_codes_are_those_of_the_programs() {
    let text = fs::read_to_string(smi_tests::root().join("README.md")).unwrap();
    let table = text.split_once("## Exit codes").unwrap().1;
    let rows =
        table.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |")).filter(|line| *line != "| | |");
    let stated: Vec<&str> = rows.collect();
    let actual: Vec<String> =
        Exit::ALL.iter().map(|exit| format!("| {} | {} |", exit.number(), exit.words())).collect();
    assert_eq!(stated, actual);
}
