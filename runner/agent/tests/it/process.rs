//! The real binary: `serve` and `drive`.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::within;

const PING: &str = "{\"id\":1,\"command\":\"ping\"}\n";
const PONG: &str = "{\"id\":1,\"reply\":\"pong\"}\n";

/// A process that is killed with its test.
fn agent(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smi-agent"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

/// `smi-agent serve`, which has said where it listens.
struct Serve {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: SocketAddr,
    control: String,
}

impl Serve {
    async fn start(test: &str) -> Self {
        let control = format!("smi-agent-test-{test}-{}", std::process::id());
        let mut child = agent(&["serve", "--workload", "server", "--listen", "127.0.0.1:0", "--control", &control]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        within(stderr.read_line(&mut line)).await.unwrap();
        let address = line.trim_end().strip_prefix("listening on ");
        Self { child, stderr, address: address.unwrap().parse().unwrap(), control }
    }

    fn drive(&self) -> Drive {
        Drive::start(&self.control)
    }
}

/// `smi-agent drive`.
struct Drive {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drive {
    fn start(control: &str) -> Self {
        let mut child = agent(&["drive", "--control", control]);
        let (calls, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, calls, answers }
    }

    async fn ask(&mut self, call: &str) -> String {
        self.calls.write_all(call.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(self.answers.read_line(&mut answer)).await.unwrap();
        answer
    }

    /// Exit code and standard error.
    async fn end(self) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = within(self.child.wait_with_output()).await.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }
}

#[tokio::test]
async fn drive_passes_calls_and_answers() {
    let serve = Serve::start("drive").await;
    let (mut first, mut second) = (serve.drive(), serve.drive());
    let probe = json!({"id": 2, "command": {"probe": {
        "count": 50, "concurrency": 4, "host": "127.0.0.1", "port": serve.address.port(),
        "path": "/", "timeoutMs": 10_000, "seed": 7,
    }}});
    assert_eq!(first.ask(PING).await, PONG);
    let answer: Value = serde_json::from_str(&first.ask(&format!("{probe}\n")).await).unwrap();
    assert_eq!(answer["reply"]["probe"]["tally"], json!({"sent": 50, "answered": {"server": 50}}));
    assert_eq!(second.ask(PING).await, PONG, "beside the first");
}

#[tokio::test]
async fn drive_ends_with_its_input_when_everything_is_answered() {
    let serve = Serve::start("end").await;
    let mut drive = serve.drive();
    drive.calls.write_all(PING.as_bytes()).await.unwrap();
    let Drive { child, calls, mut answers } = drive;
    drop(calls);
    let mut rest = String::new();
    within(answers.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, PONG);
    assert_eq!(within(child.wait_with_output()).await.unwrap().status.code(), Some(0));
}

#[tokio::test]
async fn drive_without_an_agent_says_so() {
    let (code, stderr) = Drive::start("smi-agent-test-nobody").end().await;
    assert_eq!(code, Some(6));
    assert!(stderr.contains("no agent serves the control endpoint \"smi-agent-test-nobody\""), "{stderr}");
    assert_eq!(stderr.lines().last(), Some("exit 6: a file, this machine or the cluster stands in the way"));
}

#[tokio::test]
async fn drive_says_when_its_agent_goes_away() {
    let mut serve = Serve::start("away").await;
    let mut drive = serve.drive();
    assert_eq!(drive.ask(PING).await, PONG);
    within(serve.child.kill()).await.unwrap();
    let (code, stderr) = drive.end().await;
    assert_eq!(code, Some(6));
    assert!(stderr.contains("the agent ended the session"), "{stderr}");
}

#[tokio::test]
async fn signals_end_it_at_once_and_well() {
    for signal in ["TERM", "INT"] {
        let mut serve = Serve::start(&format!("signal-{signal}")).await;
        // Neither a session holds it, nor a name that is being resolved.
        let mut drive = serve.drive();
        let lookup = json!({"id": 2, "command": {"probe": {
            "count": 1, "host": "no-such-name.invalid", "port": 80, "path": "/", "timeoutMs": 60_000, "seed": 7,
        }}});
        drive.ask(&format!("{PING}{lookup}\n")).await;

        let begun = Instant::now();
        let process = serve.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().await.unwrap().success());
        assert_eq!(within(serve.child.wait()).await.unwrap().code(), Some(0), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{signal}");
        let mut said = String::new();
        within(serve.stderr.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "", "{signal}");
        assert_eq!(drive.end().await.0, Some(6), "{signal}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let serve = Serve::start("taken").await;
    let taken = serve.address.to_string();
    for (listen, control, code, reason) in [
        (taken.as_str(), "smi-agent-test-free", 6, format!("cannot listen on {taken}")),
        ("127.0.0.1:0", &serve.control, 6, format!("cannot open the control endpoint {:?}", serve.control)),
        ("nowhere", "smi-agent-test-free", 2, "invalid value 'nowhere'".to_owned()),
    ] {
        let second = agent(&["serve", "--workload", "b", "--listen", listen, "--control", control]);
        let Output { status, stderr, .. } = within(second.wait_with_output()).await.unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(&reason), "{stderr}");
    }
}
