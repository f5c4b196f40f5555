//! `smi-agent serve` is the workload; `smi-agent drive` is how a runner talks to it.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smi_agent::{agent, control, drive};
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
        /// Address and port to listen on; may be repeated.
        #[arg(long, required = true)]
        listen: Vec<SocketAddr>,
    },
    /// Join standard input and output to the agent in this pod: JSON calls in, JSON answers out, one a line.
    Drive,
}

fn main() -> ExitCode {
    let Args { role, control } = Args::parse();
    let ended = match role {
        Role::Serve { workload, listen } => {
            agent::serve(workload, &listen, &control).map_err(|error| error.to_string())
        }
        Role::Drive => drive(&control, std::io::stdin(), &mut std::io::stdout()).map_err(|error| error.to_string()),
    };
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("smi-agent: {error}\nexit {}: {}", Exit::Environment.number(), Exit::Environment.words());
    ExitCode::from(Exit::Environment.number())
}
