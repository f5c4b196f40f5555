//! What the README says of the programs is what they do.

use std::fs;

use smi_schemas::codes::Exit;

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
