//! The house: which room may know of what.

use std::collections::BTreeSet;
use std::process::Command;

fn tree(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(smi_tests::root()).args(["tree", "--locked", "--offline", "--prefix", "none"]);
    let output = cargo.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Crates that a package needs to be built, itself included.
fn dependencies(package: &str) -> BTreeSet<String> {
    let text = tree(&["--edges", "normal", "--format", "{p}", "-p", package]);
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn schemas_keys_and_verifier_touch_no_world() {
    const FORBIDDEN: [&str; 14] = [
        "tokio",
        "async-std",
        "smol",
        "mio",
        "hyper",
        "reqwest",
        "ureq",
        "rustls",
        "native-tls",
        "socket2",
        "chrono",
        "kube",
        "k8s-openapi",
        "axum",
    ];
    for package in ["smi-schemas", "smi-keys", "smi-verifier"] {
        let found = dependencies(package);
        assert!(found.contains("serde"), "{package}: cargo tree says nothing");
        let forbidden: Vec<_> = FORBIDDEN.iter().filter(|name| found.contains(**name)).collect();
        assert!(forbidden.is_empty(), "{package} depends on {forbidden:?}");
    }
}

#[test]
fn time_has_no_clock_in_the_libraries() {
    let text = tree(&["--edges", "features", "-i", "time", "-p", "smi-verifier"]);
    assert!(text.contains("time feature \"parsing\""), "cargo tree says nothing: {text}");
    assert!(!text.contains("time feature \"std\""), "with its feature std, time reads the clock");
}

#[test]
fn arrows_point_one_way() {
    let allowed: [(&str, &[&str]); 8] = [
        ("smi-schemas", &[]),
        ("smi-keys", &["smi-schemas"]),
        ("smi-verifier", &["smi-schemas", "smi-keys"]),
        ("smi-verifier-cli", &["smi-schemas", "smi-keys", "smi-verifier"]),
        ("smi-agent", &["smi-schemas"]),
        ("smi-sandbox", &["smi-schemas", "smi-agent"]),
        ("smi-runner", &["smi-schemas", "smi-keys", "smi-verifier", "smi-agent", "smi-sandbox"]),
        ("smi-publisher", &["smi-schemas", "smi-keys", "smi-verifier"]),
    ];
    for (package, below) in allowed {
        let found = dependencies(package);
        let ours = found.iter().filter(|name| name.starts_with("smi-") && *name != package);
        let above: Vec<_> = ours.filter(|name| !below.contains(&name.as_str())).collect();
        assert!(above.is_empty(), "{package} depends on {above:?}");
    }
}
