//! A run as it is watched: a line for each assertion that ended, what is under way, and signals.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use smi_runner::execute::Event;
use smi_runner::output;
use smi_runner::plan::Plan;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// After so much silence a run without a terminal says that it is alive. CI systems end what says nothing for long.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);

/// Signals that end a run, caught from the moment this is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let of = |kind| signal(kind);
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hangup: of(SignalKind::hangup())?,
        })
    }

    /// The number of the next one. A terminal that went away asks for the same as SIGTERM.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 15,
        }
    }
}

/// A line for each assertion that ended, and below them what is under way: live on a terminal, as a line now and then
/// elsewhere.
pub(super) struct Live {
    under_way: ProgressBar,
    running: Vec<String>,
    said: Instant,
}

impl Live {
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let under_way = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        under_way.set_style(ProgressStyle::default_spinner());
        under_way.enable_steady_tick(Duration::from_millis(200));
        Self { under_way, running: Vec::new(), said: Instant::now() }
    }

    pub(super) fn show(&mut self, plan: &Plan, event: &Event<'_>) {
        match event {
            Event::Started(id) => self.running.push(id.to_string()),
            Event::Finished(result) => {
                self.running.retain(|id| *id != result.id.as_str());
                self.print(|out| output::assertion(out, &plan.suite, result));
            }
            Event::Fault(id, fault) => self.print(|out| writeln!(out, "    {id}: {fault}")),
        }
        self.under_way.set_message(self.running.join(", "));
    }

    /// Says what is under way, where nothing else has been said for a while and no terminal shows it.
    pub(super) fn beat(&mut self) {
        if self.under_way.is_hidden() && self.said.elapsed() >= HEARTBEAT {
            let running = if self.running.is_empty() { "preparing".to_owned() } else { self.running.join(", ") };
            self.print(|out| writeln!(out, "under way      {running}"));
        }
    }

    pub(super) fn print(&mut self, write: impl Fn(&mut dyn io::Write) -> io::Result<()>) {
        self.said = Instant::now();
        self.under_way.suspend(|| {
            // With standard output gone there is nobody left to tell; the bundle is still written.
            let _ = write(&mut anstream::stdout().lock());
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.under_way.finish_and_clear();
    }
}
