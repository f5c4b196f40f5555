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
async fn every_protocol_is_served_and_probed() {
    let control = format!("smi-agent-test-protocols-{}", std::process::id());
    let anywhere = "127.0.0.1:0";
    let arguments = ["serve", "--workload", "server", "--control", &control];
    let addresses = ["--udp", anywhere, "--tcp", anywhere, "--listen", anywhere, "--tcp", anywhere];
    let mut child = agent(&[&arguments[..], &addresses].concat());
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut listening = Vec::new();
    for _ in 0..4 {
        listening.push(within(stderr.next_line()).await.unwrap().unwrap());
    }
    let mut drive = Drive::start(&control);
    for (line, end, protocols) in
        [(0, "", &["http", "h2c"][..]), (1, " for TCP", &["tcp"]), (2, " for TCP", &["tcp"]), (3, " for UDP", &["udp"])]
    {
        let address = listening[line].strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(end));
        let address: SocketAddr = address.and_then(|address| address.parse().ok()).expect(&listening[line]);
        for protocol in protocols {
            let mut probe = json!({
                "protocol": protocol, "count": 3, "host": "127.0.0.1", "port": address.port(), "timeoutMs": 10_000, "seed": 7,
            });
            if matches!(*protocol, "http" | "h2c") {
                probe["path"] = "/".into();
            }
            let answer = drive.ask(&format!("{}\n", json!({"id": 1, "command": {"probe": probe}}))).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let tally = &answer["reply"]["probe"]["tally"];
            assert_eq!(*tally, json!({"sent": 3, "answered": {"server": 3}}), "{protocol}: {answer}");
        }
    }
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
        // The shell's own: a bare machine has no program of that name.
        let kill = ["-c", "kill \"$0\" \"$1\"", &format!("-{signal}"), &process];
        assert!(Command::new("sh").args(kill).status().await.unwrap().success());
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
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken_datagrams = datagrams.local_addr().unwrap().to_string();
    let free = format!("smi-agent-test-free-{}", std::process::id());
    for (listen, control, code, reason) in [
        (["--listen", &taken], &free, 6, format!("cannot listen on {taken}")),
        (["--tcp", &taken], &free, 6, format!("cannot listen on {taken}")),
        (["--udp", &taken_datagrams], &free, 6, format!("cannot listen on {taken_datagrams}")),
        (
            ["--listen", "127.0.0.1:0"],
            &serve.control,
            6,
            format!("cannot open the control endpoint {:?}", serve.control),
        ),
        (["--listen", "nowhere"], &free, 2, "invalid value 'nowhere'".to_owned()),
        (["--udp", "nowhere"], &free, 2, "invalid value 'nowhere'".to_owned()),
        (["--control", &free], &free, 2, "<--listen <ADDRESS>|--tcp <ADDRESS>|--udp <ADDRESS>>".to_owned()),
    ] {
        let arguments = ["serve", "--workload", "b"];
        let control = if listen[0] == "--control" { &[][..] } else { &["--control", control.as_str()] };
        let second = agent(&[&arguments[..], &listen, control].concat());
        let Output { status, stderr, .. } = within(second.wait_with_output()).await.unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(&reason), "{stderr}");
    }
}
