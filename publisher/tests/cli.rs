//! The binary as an operator meets it: how it starts, what keeps it from starting, and how it stops.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod honest;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use smi_keys::files::{self, Access};
use smi_keys::pem::encode_plain;
use tempfile::TempDir;

const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];
const SERVE: [&str; 5] = ["serve", "--data", "data", "--log-key", "log.pem"];
const INIT: [&str; 7] = ["init", "--data", "data", "--log-key", "log.pem", "--keyring", "first.json"];

/// A folder with a log's key and its first keyring.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self::of(honest::ORIGIN)
    }

    /// Of a log with this name.
    fn of(origin: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.write("first.json", &honest::signed(&honest::keyring_of(origin), None));
        bench.key("log.pem", "log");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the key of a name.
    fn key(&self, file: &str, name: &str) {
        let pem = encode_plain(&honest::key(name)).unwrap();
        files::create(&self.path(file), pem.as_bytes(), Access::Owner).unwrap();
    }

    fn command(&self, arguments: &[&[&str]]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-publisher"));
        command.args(arguments.concat()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end: the exit code, and what it says.
    fn run(&self, arguments: &[&[&str]]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Makes the log, and says what was said.
    fn init(&self, arguments: &[&str]) -> String {
        let (exit, said) = self.run(&[&INIT, arguments]);
        assert_eq!(exit, Some(0), "{said}");
        said
    }

    /// Starts it, and waits until it says where it listens.
    fn serve(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(&[&SERVE, &ANYWHERE, arguments]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("serving   http://").map(str::to_owned)).unwrap();
        Running { child, address }
    }

    /// Runs it where it fails with a code and its remedy.
    fn fail(&self, arguments: &[&[&str]], exit: i32, code: &str) -> String {
        let (found, said) = self.run(arguments);
        assert_eq!(found, Some(exit), "{said}");
        assert!(said.contains(&format!("error[{code}]")) && said.contains("remedy: "), "{said}");
        said
    }

    fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> String {
        self.fail(&[&SERVE, &ANYWHERE, arguments], exit, code)
    }
}

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), b"")
    }

    /// Submits a bundle: the status.
    fn post(&self, bundle: &[u8]) -> u16 {
        let head = "POST /v1/bundles HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ";
        let answer = self.send(&format!("{head}{}\r\n\r\n", bundle.len()), bundle);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn send(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
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
    bench.init(&[]);
    for (signal, number) in [("-INT", 1), ("-TERM", 2)] {
        let running = bench.serve(&[]);
        assert!(running.get("/readyz").starts_with("HTTP/1.1 200"));
        assert!(!running.get("/").contains("Demonstration"));
        assert_eq!(running.post(&honest::release(number)), 201);
        assert_eq!(running.post(&honest::release(1)), 200);
        assert_eq!(running.signal(signal), Some(0));
    }
}

#[test]
fn a_stop_does_not_wait_for_an_idle_connection() {
    let bench = Bench::new();
    bench.init(&[]);
    let running = bench.serve(&[]);
    let _idle = TcpStream::connect(&running.address).unwrap();
    assert_eq!(running.signal("-TERM"), Some(0));
}

#[test]
fn a_log_is_made_once_and_making_it_may_be_repeated() {
    let bench = Bench::new();
    assert!(bench.init(&[]).contains("is entry 0"));
    assert!(bench.init(&[]).contains("was there as entry 0"));
    bench.write("first.json", &honest::signed(&honest::keyring_of("other.example.org"), None));
    bench.fail(&[&INIT], 10, "log-only");
}

#[test]
fn a_demonstration_is_one_for_ever_and_is_called_one() {
    let bench = Bench::of("demo.example.org");
    bench.fail(&[&INIT], 6, "origin-demonstration");
    fs::remove_dir_all(bench.path("data")).unwrap();
    bench.init(&["--allow-sandbox"]);
    let running = bench.serve(&["--allow-sandbox"]);
    assert!(running.get("/").contains("Demonstration"));
    assert_eq!(running.signal("-TERM"), Some(0));
    bench.refused(&[], 6, "store-demonstration");

    let bench = Bench::new();
    bench.fail(&[&INIT, &["--allow-draft"]], 6, "origin-demonstration");
    fs::remove_dir_all(bench.path("data")).unwrap();
    bench.init(&[]);
    bench.refused(&["--allow-draft"], 6, "store-official");
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let bench = Bench::new();
    bench.init(&[]);
    let running = bench.serve(&[]);
    bench.refused(&[], 6, "store-in-use");
    drop(running);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = Bench::new();
    unused.fail(&[&SERVE, &["--listen", &taken.local_addr().unwrap().to_string()]], 6, "address-taken");
    assert!(!unused.path("data").exists(), "no store was created, of whatever kind");

    fs::remove_file(bench.path("log.pem")).unwrap();
    let said = bench.refused(&[], 2, "file-unreadable");
    assert!(said.ends_with("exit 2: the command was called with something it cannot use\n"), "{said}");
    bench.write("first.json", b"{}");
    bench.key("log.pem", "log");
    bench.fail(&[&INIT], 8, "bundle-shape");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let bench = Bench::new();
    fs::create_dir(bench.path("data")).unwrap();
    bench.write("data/thesis.tex", b"precious");
    bench.fail(&[&INIT], 6, "store-not-ours");
    bench.refused(&[], 6, "store-not-ours");
    let left: Vec<_> = fs::read_dir(bench.path("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
