//! `shares`: derives the numbers of every share check of the draft suite and says how.
//!
//! usage: `cargo run --release -p smi-tests --bin shares`
//!
//! Exit 1 when the suite has other numbers.

use std::process::ExitCode;

use smi_schemas::suite::{DRAFT, Suite};
use smi_tests::shares::{CAUGHT, FALSE_FAILURE, STEP, sampled, tolerance};

fn main() -> ExitCode {
    let (suite, digest) = match Suite::read(DRAFT.bytes) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let sampled = sampled(&suite);
    println!("suite {}, {digest}: {} share checks", suite.version, sampled.len());
    println!(
        "A sound mesh fails any of them with a chance of at most {FALSE_FAILURE:e}, two batches of one being outside."
    );
    println!("A mesh off by the tolerance is caught with a chance of at least {CAUGHT}. n is a multiple of {STEP}.");
    let mut differ = 0;
    for (check, derived) in &sampled {
        let weights = check.weights();
        let named: Vec<String> = check.split.backends.iter().map(weight).collect();
        println!("\n{}: weights {}", check.assertion.id, named.join(" to "));
        println!("  tolerance  {} points", tolerance(&weights));
        println!("  n          {}", derived.n);
        for (bound, (lo, hi)) in check.shares.bounds.iter().zip(&derived.bounds) {
            println!("  {:<9}  {lo} to {hi}", bound.workload);
        }
        let (at, before) = derived.within;
        println!("  off        lies within bounds with {at:.1e}; with n {}, {before:.1e}", derived.n - STEP);
        if !check.has(derived) {
            println!("  BUT the suite has n {} and {:?}", check.shares.n, check.shares.bounds);
            differ += 1;
        }
    }
    if differ == 0 {
        println!("\nThe suite has these numbers.");
        return ExitCode::SUCCESS;
    }
    println!("\n{differ} differ.");
    ExitCode::FAILURE
}

fn weight(backend: &smi_schemas::smi::Backend) -> String {
    format!("{}{}", backend.weight, if backend.milli { "m" } else { "" })
}
