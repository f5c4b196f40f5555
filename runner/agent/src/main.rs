//! `smi-agent serve` is the workload; `smi-agent drive` is how a runner talks to it.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smi_agent::agent::{self, Addresses};
use smi_agent::{control, drive};
use smi_schemas::codes::Exit;
use smi_schemas::names::Slug;

/// The workload that SMI Conformance runs among.
#[derive(Parser)]
#[command(name = "smi-agent", version)]
struct Args {
    #[command(subcommand)]
    role: Role,
    /// Name of the control endpoint, an abstract Unix socket.
    #[arg(long, global = true, default_value = control::SOCKET_NAME)]
    control: String,
}

#[derive(Subcommand)]
enum Role {
    /// Answer requests, and probe when told to. Ends on SIGTERM or SIGINT.
    Serve {
        /// Name that the answers carry.
        #[arg(long)]
        workload: Slug,
        #[command(flatten)]
        listening: Listening,
    },
    /// Join standard input and output to the agent in this pod: JSON calls in, JSON answers out, one a line.
    Drive,
}

/// At least one address.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Listening {
    /// Address and port to listen on for HTTP/1.1 and HTTP/2; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Address and port to listen on for lines over TCP; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    tcp: Vec<SocketAddr>,
    /// Address and port to listen on for lines over UDP; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    udp: Vec<SocketAddr>,
}

fn main() -> ExitCode {
    let Args { role, control } = Args::parse();
    let ended = match role {
        Role::Serve { workload, listening: Listening { listen, tcp, udp } } => {
            let addresses = Addresses { http: listen, tcp, udp };
            agent::serve(workload, &addresses, &control).map_err(|error| error.to_string())
        }
        Role::Drive => drive(&control, std::io::stdin(), &mut std::io::stdout()).map_err(|error| error.to_string()),
    };
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("smi-agent: {error}\nexit {}: {}", Exit::Environment.number(), Exit::Environment.words());
    ExitCode::from(Exit::Environment.number())
}
