//! Pages whose commands are run as they stand, from the first to the last.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use smi_schemas::suite::DRAFT;
use smi_tests::root;

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A folder in which the commands of a page are run, with the programs at hand.
struct Reader {
    folder: tempfile::TempDir,
    path: std::ffi::OsString,
    /// Ports that a page names, and those that are used for them.
    ports: Vec<(&'static str, String)>,
    running: Vec<Child>,
}

impl Reader {
    fn new(ports: &[&'static str]) -> Self {
        let path = [programs().as_os_str(), "/usr/bin".as_ref(), "/bin".as_ref()].join(":".as_ref());
        let free = |port: &&'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            (*port, listener.local_addr().unwrap().to_string())
        };
        let ports = ports.iter().map(free).collect();
        Self { folder: tempfile::tempdir().unwrap(), path, ports, running: Vec::new() }
    }

    /// Runs the lines behind `$ `. What ends with `&` goes on running, and is waited for until it listens.
    fn follow(&mut self, page: &str) {
        for line in page.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let line = line.replace("cargo run --quiet -p smi-tests --bin release --", "release");
            let line = self.ports.iter().fold(line, |line, (named, used)| line.replace(named, used));
            let mut shell = Command::new("sh");
            shell.current_dir(&self.folder).env("PATH", &self.path).env("SMI_KEY_PASSPHRASE", "secret");
            if let Some(program) = line.strip_suffix(" &") {
                self.running.push(shell.args(["-euc", &format!("exec {program}")]).spawn().unwrap());
                let address = self.ports.iter().find(|(_, used)| line.contains(&format!("--listen {used}")));
                wait_for(&address.unwrap().1);
                continue;
            }
            let output = shell.args(["-euc", &line]).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(output.status.success(), "{line}\n{said}");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for program in &mut self.running {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn wait_for(address: &str) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < START, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_the_page_for_maintainers_says_is_done() {
    let mut reader = Reader::new(&[]);
    let suites = reader.folder.path().join("schemas/suites");
    fs::create_dir_all(&suites).unwrap();
    reader.follow(&fs::read_to_string(root().join("schemas/suites/README.md")).unwrap());
    let base = DRAFT.version.strip_suffix("-draft").unwrap();
    assert!(suites.join(format!("v{base}.sigstore.json")).exists(), "the page goes all the way");
}

#[test]
fn what_the_page_for_holders_of_root_keys_says_is_done() {
    let mut reader = Reader::new(&["127.0.0.1:8080", "127.0.0.1:8081"]);
    reader.follow(&fs::read_to_string(root().join("keys/README.md")).unwrap());
    let audited = fs::read_to_string(reader.folder.path().join("results.example.org.checkpoint")).unwrap();
    assert!(audited.starts_with("results.example.org\n4\n"), "four keyrings were logged: {audited}");
}

/// The folder of the programs, which are built if they are not there.
fn programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_release")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["build", "--quiet", "--locked"]);
    for package in ["smi-keys", "smi-verifier-cli", "smi-publisher", "smi-runner"] {
        cargo.args(["-p", package]);
    }
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the programs were not built");
    folder.to_owned()
}
