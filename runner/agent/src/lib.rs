//! The workload that assertions run among, and the one witness of every observation.
//!
//! A workload plays both parts. As a destination it answers every request with its name and the request's id, over
//! [HTTP/1.1 and HTTP/2](server) or as a [line over TCP and UDP](mod@line), and keeps a [log](RequestLog) of the ids
//! that reached it. As a source it [probes](client): it sends requests and says of each whether a workload answered it
//! or what was seen instead. Bytes are not an answer; only the repeated id is.
//!
//! In a cluster it is a process, `smi-agent serve`, driven over a [control protocol](control) by a runner that comes
//! in through `kubectl exec … smi-agent drive`. In the sandbox it is this library: [`serve`], [`serve_tcp`] and
//! [`serve_udp`] for every workload, and [`probe`].
//!
//! ```text
//! runner ⇄ kubectl exec ⇄ drive ⇄ abstract socket ⇄ serve (client) → mesh → serve (server, log)
//! ```
//!
//! Read it from the bytes up: [`RequestId`], `http1` (why there is no HTTP library), `http2` (why there is one),
//! [`line`](mod@line), `exchange` (what can come of a request), [`client`], [`server`], [`layer5`], [`control`],
//! [`agent`].

pub mod agent;
mod answer;
pub mod client;
pub mod control;
mod drive;
mod exchange;
mod http1;
mod http2;
mod id;
pub mod layer5;
pub mod line;
mod log;
mod request;
pub mod server;
#[cfg(feature = "traffic")]
pub mod traffic;
mod workload;

pub use client::{Connection, Probe, ProbeError, ProbeResult, probe};
pub use drive::{DriveError, drive};
pub use id::{ParseRequestIdError, RequestId};
pub use line::{serve_tcp, serve_udp};
pub use log::RequestLog;
pub use server::serve;
pub use workload::{Identity, VERSION, Workload};
