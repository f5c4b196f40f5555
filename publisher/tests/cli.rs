//! The binary as an operator meets it: how it starts, what keeps it from starting, and how it stops.

#![allow(clippy::unwrap_used)] // a test stops where it fails

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use smi_keys::keyring::Keyring;
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keyring.json"), Keyring::default().to_bytes()).unwrap();
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-publisher"));
        command.args(["serve", "--data", "data", "--keyring", "keyring.json"]).args(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it says where it listens.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut child =
            self.command(arguments).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("serving   http://").map(str::to_owned)).unwrap();
        Running { child, address }
    }

    /// Starts it where it cannot start: the exit code, and what it says.
    fn fail(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(mut self, name: &str) -> Option<i32> {
        // The shell's own: a bare machine has no program of that name.
        Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", name, &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_and_stops_at_either_signal() {
    let bench = Bench::new();
    for signal in ["-INT", "-TERM"] {
        let running = bench.start(&[]);
        assert!(running.get("/readyz").starts_with("HTTP/1.1 200"));
        assert!(!running.get("/").contains("Demonstration"));
        assert_eq!(running.signal(signal), Some(0));
    }
}

#[test]
fn a_stop_does_not_wait_for_an_idle_connection() {
    let bench = Bench::new();
    let running = bench.start(&[]);
    let _idle = TcpStream::connect(&running.address).unwrap();
    assert_eq!(running.signal("-TERM"), Some(0));
}

#[test]
fn a_demonstration_is_one_for_ever() {
    let bench = Bench::new();
    let running = bench.start(&["--allow-sandbox"]);
    assert!(running.get("/").contains("Demonstration"));
    assert_eq!(running.signal("-TERM"), Some(0));
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0"]);
    assert_eq!(exit, Some(6), "{said}");
    assert!(said.contains("error[store-demonstration]") && said.contains("remedy: "), "{said}");

    let bench = Bench::new();
    assert_eq!(bench.start(&[]).signal("-TERM"), Some(0));
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0", "--allow-draft"]);
    assert_eq!((exit, said.contains("error[store-official]")), (Some(6), true), "{said}");
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let bench = Bench::new();
    let running = bench.start(&[]);
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0"]);
    assert_eq!((exit, said.contains("error[store-in-use]")), (Some(6), true), "{said}");
    drop(running);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = Bench::new();
    let (exit, said) = unused.fail(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!((exit, said.contains("error[address-taken]")), (Some(6), true), "{said}");
    assert!(!unused.0.path().join("data").exists(), "no store was created, of whatever kind");

    fs::write(bench.0.path().join("keyring.json"), "{}").unwrap();
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0"]);
    assert_eq!((exit, said.contains("error[keyring-invalid]")), (Some(6), true), "{said}");
    fs::remove_file(bench.0.path().join("keyring.json")).unwrap();
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0"]);
    assert_eq!((exit, said.contains("error[file-unreadable]")), (Some(2), true), "{said}");
    assert!(said.ends_with("exit 2: the command was called with something it cannot use\n"), "{said}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let bench = Bench::new();
    fs::create_dir(bench.0.path().join("data")).unwrap();
    fs::write(bench.0.path().join("data/thesis.tex"), "precious").unwrap();
    let (exit, said) = bench.fail(&["--listen", "127.0.0.1:0"]);
    assert_eq!((exit, said.contains("error[store-not-ours]")), (Some(6), true), "{said}");
    let left: Vec<_> = fs::read_dir(bench.0.path().join("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
