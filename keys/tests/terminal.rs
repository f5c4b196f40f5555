//! The questions on a terminal, which `script` of util-linux provides; they run where `SMI_TESTS=all` is set.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the binary on a terminal on which `typed` is typed. Gives what the terminal shows and the exit code.
fn on_a_terminal(folder: &Path, arguments: &str, typed: &str) -> (String, Option<i32>) {
    let program = format!("{} {arguments}", env!("CARGO_BIN_EXE_smi-keys"));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--echo", "never", "--command", &program, "/dev/null"])
        .current_dir(folder)
        .env_remove("SMI_KEY_PASSPHRASE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("script: {error}"));
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_passphrase_is_asked_for_twice_where_it_is_chosen_and_once_where_it_is_used() {
    if std::env::var("SMI_TESTS").as_deref() != Ok("all") {
        println!("skipped: needs script (SMI_TESTS=all)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (screen, exit) = on_a_terminal(folder.path(), "generate --out a.pem", "secret\nother\n");
    assert!(screen.contains("error[passphrase-mismatch]"), "{screen}");
    assert_eq!((exit, fs::read_dir(folder.path()).unwrap().count()), (Some(6), 0));

    let (screen, exit) = on_a_terminal(folder.path(), "generate --out a.pem", "secret\nsecret\n");
    assert!(screen.contains("Passphrase for a.pem: ") && screen.contains("The same again"), "{screen}");
    assert!(!screen.contains("secret"), "{screen}");
    assert_eq!(exit, Some(0), "{screen}");

    let (screen, exit) = on_a_terminal(folder.path(), "show a.pem", "secret\n");
    assert!(screen.contains("Passphrase of a.pem: ") && screen.contains("encrypted private key"), "{screen}");
    assert_eq!(exit, Some(0), "{screen}");
    assert_eq!(on_a_terminal(folder.path(), "show a.pem", "wrong\n").1, Some(6));
}
