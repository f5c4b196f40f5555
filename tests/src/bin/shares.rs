//! `shares`: derives the numbers of every share check of the draft suite and says how.
//!
//! usage: `cargo run --release -p smi-tests --bin shares`
//!
//! Exit 1 when the suite has other numbers.

use std::process::ExitCode;

use smi_schemas::suite::{BUILTIN, Suite};
use smi_tests::shares::{CAUGHT, Check, FALSE_FAILURE, STEP, checks, derive, tolerance};

fn main() -> ExitCode {
    let (suite, digest) = match Suite::read(BUILTIN[0]) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let sampled: Vec<Check<'_>> = checks(&suite).into_iter().filter(Check::is_sampled).collect();
    println!("suite {}, {digest}: {} share checks", suite.version, sampled.len());
    println!(
        "A sound mesh fails any of them with a chance of at most {FALSE_FAILURE:e}, two batches of one being outside."
    );
    println!("A mesh off by the tolerance is caught with a chance of at least {CAUGHT}. n is a multiple of {STEP}.");
    let mut differ = 0;
    for check in &sampled {
        let weights = check.weights();
        let derived = derive(&weights, sampled.len());
        let named: Vec<String> = check.split.backends.iter().map(weight).collect();
        println!("\n{}: weights {}", check.assertion.id, named.join(" to "));
        println!("  tolerance  {} points", tolerance(&weights));
        println!("  n          {}", derived.n);
        for (bound, (lo, hi)) in check.shares.bounds.iter().zip(&derived.bounds) {
            println!("  {:<9}  {lo} to {hi}", bound.workload);
        }
        let (at, before) = derived.within;
        println!("  off        lies within bounds with {at:.1e}; with n {}, {before:.1e}", derived.n - STEP);
        let has: Vec<(u32, u32)> = check.shares.bounds.iter().map(|bound| (bound.lo, bound.hi)).collect();
        if (check.shares.n, &has) != (derived.n, &derived.bounds) {
            println!("  BUT the suite has n {} and {has:?}", check.shares.n);
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
