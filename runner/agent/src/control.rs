//! The control protocol: how a runner has a workload probe, and reads its log.
//!
//! JSON, one document a line, both ways. A line to the agent is a [`Call`]: a command under an id of the caller's
//! choice. A line back is an [`Answer`] under the same id. Commands run at the same time, so answers come in any
//! order. A line that is no call is answered with an error, under its id if it has one, and the session goes on.
//!
//! ```text
//! → {"id":1,"command":"ping"}
//! → {"id":2,"command":"identity"}
//! → {"id":3,"command":{"probe":{"count":1,"host":"server","port":8080,"path":"/","timeoutMs":2000,"seed":7}}}
//! → {"id":4,"command":{"logged":["4ff190b4c2c573ec999d8db75f206447"]}}
//! → {"id":5,"command":"sing"}
//! ← {"id":1,"reply":"pong"}
//! ← {"id":2,"reply":{"identity":{"workload":"client","agent":"0.1.0"}}}
//! ← {"id":4,"reply":{"logged":{"ids":[],"dropped":0}}}
//! ← {"id":5,"reply":{"error":{"kind":"malformed","message":"unknown variant `sing`, expected …"}}}
//! ← {"id":3,"reply":{"probe":{"tally":{"sent":1,"answered":{"server":1}},"unansweredIds":[],"elapsedMs":2}}}
//! ```
//!
//! The endpoint is an abstract Unix socket: it needs no file system, exists only in the pod's own network namespace,
//! and is no port that a mesh could see or intercept. `smi-agent drive` joins it to its standard input and output,
//! which is how a runner gets there with one `kubectl exec`.
//!
//! A session ends when the other side has closed its direction and the commands under way are answered, at most
//! [`DRAIN_TIMEOUT`] later, or when the other side stops reading for [`WRITE_TIMEOUT`]. What is still under way then is
//! dropped.
//!
//! ```
//! use smi_agent::control::{Answer, Call, Command, Reply};
//!
//! let call = Call { id: 1, command: Command::Ping };
//! assert_eq!(serde_json::to_string(&call).unwrap(), r#"{"id":1,"command":"ping"}"#);
//! let answer: Answer = serde_json::from_str(r#"{"id":1,"reply":"pong"}"#).unwrap();
//! assert_eq!(answer, Answer { id: Some(1), reply: Reply::Pong });
//! ```

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smi_schemas::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Probe, ProbeError, ProbeResult, probe};
use crate::id::RequestId;
use crate::workload::{Identity, Workload};

/// Name of the abstract socket, unless another is asked for.
pub const SOCKET_NAME: &str = "smi-agent";
/// Bytes of a line, either way, without its end. The ids of the largest probe take a third of it.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Commands of one session under way at once; further lines wait.
pub const MAX_RUNNING: usize = 32;
/// Sessions at once; more wait to be accepted.
pub const MAX_SESSIONS: usize = 16;
/// How long commands may still run after the last line.
pub const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the other side may take to accept an answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// Room made for one read.
const READ_BYTES: usize = 64 * 1024;
/// Pause after a session could not be accepted, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One line to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Chosen by the caller and repeated in the answer.
    pub id: u64,
    /// What to do.
    pub command: Command,
}

/// What an agent can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Send requests and say what came of them.
    Probe(Probe),
    /// Say which of these requests have reached this workload.
    Logged(Vec<RequestId>),
    /// Say who you are.
    Identity,
    /// Say that you are there.
    Ping,
}

/// One line from the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The call's id; null if the line had none that could be read.
    pub id: Option<u64>,
    /// What came of it.
    pub reply: Reply,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// To `probe`.
    Probe(ProbeResult),
    /// To `logged`.
    Logged(Logged),
    /// To `identity`.
    Identity(Identity),
    /// To `ping`.
    Pong,
    /// Instead of any of these.
    Error(Fault),
}

/// What the log says of the ids it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logged {
    /// Those that arrived, in the order in which they were asked for.
    pub ids: Vec<RequestId>,
    /// Ids that the log has dropped; unless it is 0, an id that is missing may have arrived all the same.
    pub dropped: u64,
}

/// Why there is no other reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Whose fault it is.
    pub kind: FaultKind,
    /// The same in words.
    pub message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The caller's: the line is no call.
    Malformed,
    /// The caller's: the line is longer than [`MAX_LINE_BYTES`].
    Overlong,
    /// The caller's: requests like these cannot be sent.
    Refused,
    /// This machine's: nothing was observed.
    Local,
}

/// Opens the endpoint of that name.
pub fn listen(name: &str) -> io::Result<UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind_addr(&address(name)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// The address of the endpoint of that name.
pub(crate) fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Holds sessions with whoever connects, until `shutdown` is ready; then every session is dropped.
///
/// Dropping the future does the same.
pub async fn serve(listener: UnixListener, workload: Arc<Workload>, shutdown: impl Future<Output = ()>) {
    let mut sessions = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept(), if sessions.len() < MAX_SESSIONS => match accepted {
                Ok((stream, _)) => {
                    sessions.spawn(connected(stream, Arc::clone(&workload)));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn connected(mut stream: UnixStream, workload: Arc<Workload>) -> io::Result<()> {
    let (input, output) = stream.split();
    session(input, output, workload).await
}

/// Holds one session. An error means that the other side is gone, or no longer listens.
pub async fn session(
    input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    workload: Arc<Workload>,
) -> io::Result<()> {
    let mut lines = Lines { input, buffer: Vec::new(), skipping: false };
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            line = lines.next(), if running.len() < MAX_RUNNING => match line?.map(read) {
                Some(Ok(call)) => {
                    running.spawn(run(call, Arc::clone(&workload)));
                }
                Some(Err(answer)) => write(&mut output, &answer).await?,
                None => break,
            },
            Some(answer) = running.join_next() => write(&mut output, &answer?).await?,
        }
    }
    let drain = async {
        while let Some(answer) = running.join_next().await {
            write(&mut output, &answer?).await?;
        }
        output.shutdown().await
    };
    timeout(DRAIN_TIMEOUT, drain).await?
}

async fn run(call: Call, workload: Arc<Workload>) -> Answer {
    let reply = match call.command {
        Command::Ping => Reply::Pong,
        Command::Identity => Reply::Identity(workload.identity().clone()),
        Command::Logged(ids) => Reply::Logged(Logged {
            ids: ids.into_iter().filter(|id| workload.log().contains(id)).collect(),
            dropped: workload.log().dropped(),
        }),
        Command::Probe(asked) => match probe(&asked).await {
            Ok(result) => {
                #[cfg(feature = "traffic")]
                workload.traffic().add(&asked, &result);
                Reply::Probe(result)
            }
            Err(error @ ProbeError::Local(_)) => Reply::error(FaultKind::Local, &error),
            Err(error) => Reply::error(FaultKind::Refused, &error),
        },
    };
    Answer { id: Some(call.id), reply }
}

/// The call on a line, or what is answered to a line that has none.
fn read(line: Line) -> Result<Call, Answer> {
    let Line::Whole(bytes) = line else {
        let reply = Reply::error(FaultKind::Overlong, &format_args!("a line has at most {MAX_LINE_BYTES} bytes"));
        return Err(Answer { id: None, reply });
    };
    json::parse(&bytes, MAX_LINE_BYTES).map_err(|error| {
        let id = serde_json::from_slice(&bytes).ok().map(|Id { id }| id);
        Answer { id, reply: Reply::error(FaultKind::Malformed, &error) }
    })
}

/// What is left of a call that cannot be read otherwise.
#[derive(Deserialize)]
struct Id {
    id: u64,
}

async fn write(output: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let written = async {
        output.write_all(&line).await?;
        output.flush().await
    };
    timeout(WRITE_TIMEOUT, written).await?
}

impl Reply {
    fn error(kind: FaultKind, message: &impl ToString) -> Self {
        Self::Error(Fault { kind, message: message.to_string() })
    }
}

/// Cuts bytes into lines. Whoever stops waiting for a line loses nothing of it.
struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The buffer is in the middle of a line that was too long.
    skipping: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was too long, and is skipped to its end.
    Overlong,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line; `None` at the end. The last line need not be ended.
    async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some(if end > MAX_LINE_BYTES { Line::Overlong } else { Line::Whole(line) }));
                }
                continue;
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                self.buffer.clear();
                if !std::mem::replace(&mut self.skipping, true) {
                    return Ok(Some(Line::Overlong));
                }
            }
            self.buffer.reserve(READ_BYTES);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                let rest = std::mem::take(&mut self.buffer);
                return Ok((!rest.is_empty() && !self.skipping).then_some(Line::Whole(rest)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: Vec<u8>) -> Vec<Line> {
        let mut lines = Lines { input: text.as_slice(), buffer: Vec::new(), skipping: false };
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_limit() {
        let whole = |length: usize| Line::Whole(vec![b'x'; length]);
        let text = |length: usize| [vec![b'x'; length], b"\nnext\n".to_vec()].concat();
        let next = || Line::Whole(b"next".to_vec());
        assert_eq!(lines(text(MAX_LINE_BYTES)).await, [whole(MAX_LINE_BYTES), next()]);
        assert_eq!(lines(text(MAX_LINE_BYTES + 1)).await, [Line::Overlong, next()]);
        assert_eq!(lines(text(5 * MAX_LINE_BYTES)).await, [Line::Overlong, next()]);
        assert_eq!(lines(vec![b'x'; 5 * MAX_LINE_BYTES]).await, [Line::Overlong]);
    }

    #[tokio::test]
    async fn the_last_line_need_not_be_ended() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines(b"a\n\nb".to_vec()).await, [whole("a"), whole(""), whole("b")]);
        assert_eq!(lines(b"a\n".to_vec()).await, [whole("a")]);
        assert_eq!(lines(Vec::new()).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_listen_is_dropped() {
        let (mut caller, agent) = tokio::io::duplex(64);
        let (input, output) = tokio::io::split(agent);
        let workload = Arc::new(Workload::new("client".parse().unwrap()));
        let held = tokio::spawn(session(input, output, workload));
        let begun = tokio::time::Instant::now();
        caller.write_all(b"{\"id\":1,\"command\":\"identity\"}\n").await.unwrap();
        assert_eq!(held.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), WRITE_TIMEOUT);
    }
}
