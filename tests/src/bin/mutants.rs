//! `mutants`: runs the draft suite against deviations of the reference mesh.
//!
//! usage: `cargo run --release -p smi-tests --bin mutants [-- --mutant NAME]`
//!
//! Prints each mutant with the assertions that caught it, those that were meant to and did not, and what nothing
//! followed from. Exit 1 when one survives the assertions that are meant for it.

use std::process::ExitCode;

use clap::Parser;
use smi_sandbox::mutant::Mutant;
use smi_schemas::report::Status;
use smi_tests::mutants::{caught, meant, run};

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
    for mutant in &mutants {
        let results = run(Some(*mutant)).await;
        let caught = caught(&results);
        let missed: Vec<_> = meant(*mutant).iter().filter(|id| !caught.iter().any(|by| by.as_str() == **id)).collect();
        let undecided = results.iter().filter(|result| result.status == Status::Inconclusive).count();
        println!("{mutant}: {}", if missed.is_empty() { "killed" } else { "SURVIVED" });
        for id in &caught {
            println!("  by      {id}");
        }
        for id in &missed {
            println!("  missed  {id}");
        }
        if undecided > 0 {
            println!("  and {undecided} inconclusive");
        }
        killed += usize::from(missed.is_empty());
    }
    println!("{killed} of {} mutants killed", mutants.len());
    if killed == mutants.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
