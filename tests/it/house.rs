//! The house: which room may know of what.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that a package needs to be built, itself included.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(smi_tests::root())
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "-p",
            package,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
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
    let output = Command::new(env!("CARGO"))
        .current_dir(smi_tests::root())
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "features",
            "--prefix",
            "none",
            "-i",
            "time",
            "-p",
            "smi-verifier",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("time feature \"parsing\""), "cargo tree says nothing: {text}");
    assert!(!text.contains("time feature \"std\""), "with its feature std, time reads the clock");
}

#[test]
fn arrows_point_one_way() {
    let allowed: [(&str, &[&str]); 4] = [
        ("smi-schemas", &[]),
        ("smi-keys", &["smi-schemas"]),
        ("smi-verifier", &["smi-schemas", "smi-keys"]),
        ("smi-verifier-cli", &["smi-schemas", "smi-keys", "smi-verifier"]),
    ];
    for (package, below) in allowed {
        let found = dependencies(package);
        let ours = found.iter().filter(|name| name.starts_with("smi-") && *name != package);
        let above: Vec<_> = ours.filter(|name| !below.contains(&name.as_str())).collect();
        assert!(above.is_empty(), "{package} depends on {above:?}");
    }
}
