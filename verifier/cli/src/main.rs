//! The binary `smi-verifier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    smi_verifier_cli::main()
}
