//! One long-lived session with the agent of a pod: `smi-agent drive` by exec, calls in and answers out, a line each.
//!
//! It never goes through the mesh. Calls may be under way at the same time; answers find theirs by id. When the
//! stream ends, every call under way ends with it, as an `exec-fault`: what it did is not known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::AttachParams;
use smi_agent::client::Probe;
use smi_agent::control::{Answer, Call, Command, MAX_LINE_BYTES, Reply};
use smi_schemas::codes::Code;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::cluster::{Cluster, within};
use super::workloads::CONTAINER;
use crate::target::Fault;

/// What an answer may take beyond the time that its command needs.
const MARGIN: Duration = Duration::from_secs(30);
/// How long the reason may take to arrive after the stream's end.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// What is said of a session that does not answer.
const SILENT: &str = "the session fell silent";
/// What is said where there is no other reason.
const ENDED: &str = "the session ended";
/// Lines that wait to be written.
const QUEUED_LINES: usize = 32;
/// Bytes between the web socket and either side.
const PIPE_BYTES: usize = 64 * 1024;

/// Calls without an answer yet; once the stream has ended, why.
type Waiting = Arc<Mutex<Result<BTreeMap<u64, oneshot::Sender<Reply>>, String>>>;

/// A session. Dropping it ends it.
pub(super) struct Session {
    /// Whole lines: whoever stops waiting for an answer leaves no half of one behind.
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next: AtomicU64,
    tasks: [JoinHandle<()>; 2],
    /// Whatever must live for as long as the streams.
    _process: Box<dyn Send + Sync>,
}

impl Session {
    /// Opens a session with the agent of a pod.
    pub(super) async fn open(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Self, Fault> {
        let parameters = AttachParams::default()
            .container(CONTAINER)
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdin_buf_size(PIPE_BYTES)
            .max_stdout_buf_size(PIPE_BYTES);
        let pods = cluster.pods(namespace);
        let command = ["/smi-agent", "drive"];
        let refused =
            |detail: String| Fault { code: Code::ExecFault, detail: format!("exec in {namespace}/{pod}: {detail}") };
        let opened = within(pods.exec(pod, command, &parameters)).await;
        let mut process = opened.map_err(|error| refused(error.to_string()))?;
        let (Some(input), Some(output)) = (process.stdin(), process.stdout()) else {
            return Err(refused("no streams".to_owned()));
        };
        let status = process.take_status();
        let status = async move {
            let status = status?.await?;
            status.message.filter(|message| !message.is_empty())
        };
        Ok(Self::over(input, output, status, Box::new(Mutex::new(process))))
    }

    fn over(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncRead + Send + Unpin + 'static,
        status: impl Future<Output = Option<String>> + Send + 'static,
        process: Box<dyn Send + Sync>,
    ) -> Self {
        let waiting: Waiting = Arc::new(Mutex::new(Ok(BTreeMap::new())));
        let (lines, written) = mpsc::channel(QUEUED_LINES);
        let tasks = [
            tokio::spawn(read(output, status, Arc::clone(&waiting))),
            tokio::spawn(write(input, written, Arc::clone(&waiting))),
        ];
        Self { lines, waiting, next: AtomicU64::new(1), tasks, _process: process }
    }

    /// Whether answers can still come.
    pub(super) fn is_open(&self) -> bool {
        locked(&self.waiting).is_ok()
    }

    /// Ends the session if its agent does not answer at once: a connection can fall silent without a word.
    pub(super) async fn check(&self) {
        if timeout(PING_TIMEOUT, self.answered(Command::Ping)).await.is_err() {
            end(&self.waiting, SILENT);
        }
    }

    /// Has the agent carry out a command.
    pub(super) async fn call(&self, command: Command) -> Result<Reply, Fault> {
        let patience = MARGIN + time_needed(&command);
        match timeout(patience, self.answered(command)).await {
            Ok(Ok(Reply::Error(fault))) => Err(Fault { code: Code::AgentFault, detail: fault.message }),
            Ok(answered) => answered,
            Err(_) => {
                // A stream that fell silent does not always say so. The next call opens another.
                let silence = format!("no answer in {} s", patience.as_secs());
                end(&self.waiting, &silence);
                Err(cut(&silence))
            }
        }
    }

    async fn answered(&self, command: Command) -> Result<Reply, Fault> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        match &mut *locked(&self.waiting) {
            Ok(waiting) => waiting.insert(id, tell),
            Err(why) => return Err(cut(why)),
        };
        let mut line = serde_json::to_vec(&Call { id, command }).map_err(|error| cut(&error.to_string()))?;
        line.push(b'\n');
        // Whether it is written or not: when the stream ends, `told` says so.
        let _ = self.lines.send(line).await;
        told.await.map_err(|_| match &*locked(&self.waiting) {
            Err(why) => cut(why),
            Ok(_) => cut(ENDED),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Writes lines until the stream takes no more.
async fn write(mut input: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Vec<u8>>, waiting: Waiting) {
    while let Some(line) = lines.recv().await {
        if input.write_all(&line).await.is_err() || input.flush().await.is_err() {
            break;
        }
    }
    end(&waiting, ENDED);
}

/// Hands answers to whoever waits for them, until the stream ends or says what is no answer.
async fn read(output: impl AsyncRead + Unpin, status: impl Future<Output = Option<String>>, waiting: Waiting) {
    let mut lines = BufReader::with_capacity(PIPE_BYTES, output);
    let mut line = Vec::new();
    let mut status = std::pin::pin!(status);
    let why = loop {
        line.clear();
        // One byte more than a line may have tells one that is too long from one that is not.
        let most = MAX_LINE_BYTES as u64 + 1;
        let mut bounded = (&mut lines).take(most);
        // When the connection is lost, the process is known to have ended, but its output does not end.
        let read = tokio::select! {
            read = bounded.read_until(b'\n', &mut line) => read,
            why = &mut status => break why,
        };
        let answer = match read {
            Ok(read) if read > 0 && line.ends_with(b"\n") => serde_json::from_slice(&line).ok(),
            _ => None,
        };
        let Some(Answer { id: Some(id), reply }) = answer else {
            break timeout(STATUS_TIMEOUT, &mut status).await.ok().flatten();
        };
        let teller = locked(&waiting).as_mut().ok().and_then(|waiting| waiting.remove(&id));
        if let Some(teller) = teller {
            // Whoever gave up waiting does not hear it.
            let _ = teller.send(reply);
        }
    };
    end(&waiting, why.as_deref().unwrap_or(ENDED));
}

/// With their senders gone, all who wait learn that nothing comes, and why. The first reason is kept.
fn end(waiting: &Waiting, why: &str) {
    let mut waiting = locked(waiting);
    if waiting.is_ok() {
        *waiting = Err(why.to_owned());
    }
}

/// How long the agent may take for it.
fn time_needed(command: &Command) -> Duration {
    match command {
        Command::Probe(Probe { count, concurrency, timeout_ms, .. }) => {
            Duration::from_millis(u64::from(count.div_ceil((*concurrency).max(1))) * timeout_ms)
        }
        Command::Logged(_) | Command::Identity | Command::Ping => Duration::ZERO,
    }
}

fn cut(detail: &str) -> Fault {
    Fault { code: Code::ExecFault, detail: detail.to_owned() }
}

fn locked(waiting: &Waiting) -> MutexGuard<'_, Result<BTreeMap<u64, oneshot::Sender<Reply>>, String>> {
    // Each change of the map is a single step, so it is sound whoever panicked.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smi_agent::{RequestId, Workload, control};
    use tokio::io::{DuplexStream, duplex, split};

    /// A session, and the far end of its stream.
    fn session() -> (Session, DuplexStream) {
        let (near, far) = duplex(256);
        let (output, input) = split(near);
        (Session::over(input, output, std::future::pending(), Box::new(())), far)
    }

    #[tokio::test]
    async fn answers_of_a_real_agent_find_their_calls() {
        let (session, far) = session();
        let workload = Arc::new(Workload::new("client".parse().unwrap()));
        let seen = RequestId::derive(7, 1);
        workload.log().record(seen);
        let (input, output) = split(far);
        tokio::spawn(control::session(input, output, workload));
        let (ping, identity, logged) = tokio::join!(
            session.call(Command::Ping),
            session.call(Command::Identity),
            session.call(Command::Logged(vec![seen, RequestId::derive(7, 2)])),
        );
        assert_eq!(ping.unwrap(), Reply::Pong);
        let Reply::Identity(identity) = identity.unwrap() else { panic!() };
        assert_eq!(identity.workload.as_str(), "client");
        let Reply::Logged(logged) = logged.unwrap() else { panic!() };
        assert_eq!((logged.ids, logged.dropped), (vec![seen], 0));
    }

    #[tokio::test]
    async fn what_an_agent_refuses_is_its_fault() {
        let (session, far) = session();
        let (input, output) = split(far);
        tokio::spawn(control::session(input, output, Arc::new(Workload::new("client".parse().unwrap()))));
        let probe =
            serde_json::from_str(r#"{"count":0,"host":"a","port":1,"path":"/","timeoutMs":1,"seed":1}"#).unwrap();
        assert_eq!(session.call(Command::Probe(probe)).await.unwrap_err().code, Code::AgentFault);
        assert!(session.is_open());
    }

    #[tokio::test]
    async fn a_stream_that_ends_takes_its_calls_with_it() {
        let (session, mut far) = session();
        let ends = async {
            let mut some = [0; 8];
            far.read_exact(&mut some).await.unwrap();
            drop(far);
        };
        let (called, ()) = tokio::join!(session.call(Command::Ping), ends);
        assert_eq!(called.unwrap_err().code, Code::ExecFault);
        while session.is_open() {
            tokio::task::yield_now().await;
        }
        assert_eq!(session.call(Command::Ping).await.unwrap_err().detail, ENDED);
    }

    #[tokio::test]
    async fn a_process_that_ends_takes_its_calls_with_it_though_the_stream_stays() {
        let (near, _far) = duplex(256);
        let (output, input) = split(near);
        let (tell, told) = oneshot::channel::<String>();
        let session = Session::over(input, output, async { told.await.ok() }, Box::new(()));
        let (called, ()) = tokio::join!(session.call(Command::Ping), async {
            tokio::task::yield_now().await;
            tell.send("the connection was lost".to_owned()).unwrap();
        });
        assert_eq!(called.unwrap_err().detail, "the connection was lost");
        assert!(!session.is_open());
    }

    #[tokio::test]
    async fn whatever_is_no_answer_ends_the_session() {
        for text in [
            "exec failed\n".to_owned(),
            "{\"id\":null,\"reply\":\"pong\"}\n".to_owned(),
            "x".repeat(MAX_LINE_BYTES + 1),
        ] {
            let (session, mut far) = session();
            let says = async {
                // The session hangs up on a line without end.
                let _ = far.write_all(text.as_bytes()).await;
            };
            let (called, ()) = tokio::join!(session.call(Command::Ping), says);
            assert_eq!(called.unwrap_err().code, Code::ExecFault);
            assert!(!session.is_open());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (session, _far) = session();
        assert!(session.call(Command::Ping).await.unwrap_err().detail.contains("no answer in 30 s"));
        assert!(!session.is_open(), "another one is opened");
    }
}
