//! `smi-verifier`, where the tests of this package find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    smi_verifier_cli::main()
}
