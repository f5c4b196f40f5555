//! An operator of the binary: a folder, the commands run in it, and a publisher that runs there.

#![allow(dead_code, unreachable_pub)] // each test uses a part
#![allow(clippy::unwrap_used)] // a test stops where it fails

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use smi_keys::files::{self, Access};
use smi_keys::pem::encode_plain;
use tempfile::TempDir;

use crate::honest;

pub const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];
pub const SERVE: [&str; 5] = ["serve", "--data", "data", "--log-key", "log.pem"];
pub const INIT: [&str; 7] = ["init", "--data", "data", "--log-key", "log.pem", "--keyring", "first.json"];

/// A folder with a log's key and its first keyring.
pub struct Bench(TempDir);

impl Bench {
    pub fn new() -> Self {
        Self::of(honest::ORIGIN)
    }

    /// Of a log with this name.
    pub fn of(origin: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.write("first.json", &honest::signed(&honest::keyring_of(origin), None));
        bench.key("log.pem", "log");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the key of a name.
    pub fn key(&self, file: &str, name: &str) {
        let pem = encode_plain(&honest::key(name)).unwrap();
        files::create(&self.path(file), pem.as_bytes(), Access::Owner).unwrap();
    }

    pub fn command(&self, arguments: &[&[&str]]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-publisher"));
        command.args(arguments.concat()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Takes a folder or file away.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap();
    }

    /// Copies a folder or file, which replaces what is there.
    pub fn copy(&self, from: &str, to: &str) {
        if self.path(to).exists() {
            self.remove(to);
        }
        copy(&self.path(from), &self.path(to));
    }

    /// Runs it to its end, which is a good one: what it says.
    pub fn done(&self, arguments: &[&[&str]]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    }

    /// Runs it to its end: the exit code, and what it says.
    pub fn run(&self, arguments: &[&[&str]]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Makes the log, and says what was said.
    pub fn init(&self, arguments: &[&str]) -> String {
        self.done(&[&INIT, arguments])
    }

    /// Starts it, and waits until it says where it listens.
    pub fn serve(&self, arguments: &[&str]) -> Running {
        self.start(&[&SERVE, &ANYWHERE, arguments])
    }

    /// The same of whatever serves.
    pub fn start(&self, arguments: &[&[&str]]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("serving   http://").map(str::to_owned)).unwrap();
        Running { child, address }
    }

    /// Runs it where it fails with a code and its remedy.
    pub fn fail(&self, arguments: &[&[&str]], exit: i32, code: &str) -> String {
        let (found, said) = self.run(arguments);
        assert_eq!(found, Some(exit), "{said}");
        assert!(said.contains(&format!("error[{code}]")) && said.contains("remedy: "), "{said}");
        said
    }

    pub fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> String {
        self.fail(&[&SERVE, &ANYWHERE, arguments], exit, code)
    }
}

pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: String,
}

/// A publisher at an address.
pub struct Reached(pub String);

impl Running {
    fn reached(&self) -> Reached {
        Reached(self.address.clone())
    }

    pub fn get(&self, path: &str) -> String {
        self.reached().get(path)
    }

    /// Submits a bundle: the status.
    pub fn post(&self, bundle: &[u8]) -> u16 {
        self.reached().post(bundle)
    }

    /// The same of what is no text.
    pub fn get_bytes(&self, path: &str) -> Vec<u8> {
        self.reached().get_bytes(path)
    }

    pub fn signal(mut self, name: &str) -> Option<i32> {
        // The shell's own: a bare machine has no program of that name.
        Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", name, &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Reached {
    pub fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), b"")
    }

    /// Submits a bundle: the status.
    pub fn post(&self, bundle: &[u8]) -> u16 {
        let head = "POST /v1/bundles HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ";
        let answer = self.send(&format!("{head}{}\r\n\r\n", bundle.len()), bundle);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn send(&self, head: &str, body: &[u8]) -> String {
        String::from_utf8(self.send_bytes(head, body)).unwrap()
    }

    /// The same of what is no text.
    pub fn get_bytes(&self, path: &str) -> Vec<u8> {
        self.send_bytes(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), b"")
    }

    fn send_bytes(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.0).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let name = found.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}
