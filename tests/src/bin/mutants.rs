//! `mutants`: runs the draft suite against deviations of the reference mesh.
//!
//! usage: `cargo run --release -p smi-tests --bin mutants [-- --mutant NAME]`
//!
//! Prints each mutant with the assertions that caught it, those that were meant to and did not, and what nothing
//! followed from. Exit 1 when one survives the assertions that are meant for it.

use std::process::ExitCode;

use clap::Parser;
use futures_util::{StreamExt as _, stream};
use smi_sandbox::mutant::Mutant;
use smi_schemas::report::Status;
use smi_tests::mutants::{caught, meant, run, versions};

/// Mutants at once; much of their time is waiting for limits.
const AT_ONCE: usize = 4;

#[derive(Parser)]
#[command(name = "mutants", about = "Runs the suite against deviations of the reference mesh")]
struct Arguments {
    /// Only this mutant
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let chosen = Arguments::parse().mutant;
    let mutants: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| chosen.is_none_or(|one| one == *mutant)).collect();
    let mut killed = 0;
    let runs =
        stream::iter(&mutants).map(|mutant| async move { (mutant, run(Some(*mutant), versions(Some(*mutant))).await) });
    let mut runs = runs.buffered(AT_ONCE);
    while let Some((mutant, results)) = runs.next().await {
        let caught = caught(&results);
        let missed: Vec<_> = meant(*mutant).iter().filter(|id| !caught.iter().any(|by| by.as_str() == **id)).collect();
        let undecided = results.iter().filter(|result| result.status == Status::Inconclusive).count();
        println!("{mutant}: {}", if missed.is_empty() { "killed" } else { "SURVIVED" });
        for id in &caught {
            println!("  by      {id}");
        }
        for result in results.iter().filter(|result| missed.iter().any(|id| **id == result.id.as_str())) {
            println!("  missed  {} ({}, {})", result.id, result.status, result.reason);
        }
        if undecided > 0 {
            println!("  and {undecided} inconclusive");
        }
        killed += usize::from(missed.is_empty());
    }
    println!("{killed} of {} mutants killed", mutants.len());
    if killed == mutants.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
