//! A run under way: what happens between the options and the bundle, what is printed meanwhile, and signals.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use smi_runner::execute::{Event, Executed, execute};
use smi_runner::kubernetes::cleanup::{CleanupError, clean_up};
use smi_runner::kubernetes::rbac::Metrics;
use smi_runner::kubernetes::{Brought, KubernetesTarget, Survey};
use smi_runner::mesh::Profile;
use smi_runner::plan::{Plan, choose};
use smi_runner::sandbox::SandboxTarget;
use smi_runner::statement::Begun;
use smi_runner::target::{Facts, Target};
use smi_runner::{image, output};
use smi_schemas::Digest;
use smi_schemas::codes::warning_text;
use smi_schemas::statement::absent;
use tokio_util::sync::CancellationToken;

use super::live::{HEARTBEAT, Live, Signals};
use super::{CommandError, connected};
use crate::args::Run;

/// How a run went.
pub(super) enum Outcome {
    Ended(Box<Ended>),
    /// A signal came before the first assertion.
    Unbegun {
        left: bool,
    },
}

/// What came of a run.
pub(super) struct Ended {
    pub(super) plan: Plan,
    pub(super) facts: Facts,
    pub(super) executed: Executed,
    /// Whether something of it is left on the cluster.
    pub(super) left: bool,
}

/// A run under way.
pub(super) struct Conduct<'a> {
    pub(super) begun: &'a Begun,
    pub(super) text: bool,
    pub(super) signals: Signals,
    /// The number of the first signal.
    pub(super) stopped_by: Option<u8>,
}

impl Conduct<'_> {
    pub(super) async fn in_sandbox(&mut self, plan: Plan) -> Result<Ended, CommandError> {
        let Begun { runner, seed, .. } = self.begun;
        let target = SandboxTarget::new(runner.version.clone(), runner.digest, plan.apis.clone(), *seed);
        self.say(|out| output::heading(out, &plan, self.begun))?;
        self.say(|out| output::facts(out, &plan, target.facts(), self.begun))?;
        let executed = self.watched(&plan, &target).await;
        Ok(Ended { facts: target.facts().clone(), plan, executed, left: false })
    }

    pub(super) async fn on_kubernetes(
        &mut self,
        arguments: &Run,
        plan: Plan,
        profile: (Profile, Digest),
    ) -> Result<Outcome, CommandError> {
        let slug = profile.0.slug.clone();
        let found = async {
            let cluster = connected(&arguments.cluster).await?;
            let survey = Survey::of(&cluster).await?;
            Ok::<_, CommandError>((cluster, survey))
        };
        let (cluster, survey) = tokio::select! {
            found = found => found?,
            number = self.signals.next() => {
                self.stopped_by = Some(number);
                return Ok(Outcome::Unbegun { left: false });
            }
        };
        let apis = choose(&survey.served, &arguments.choice.versions())?;
        let plan = Plan { absent: absent(&apis, &survey.crds), apis, ..plan };
        if !self.text {
            // The document comes at the end; whoever ends the run the hard way needs this before.
            writeln!(anstream::stderr().lock(), "run       {}", self.begun.id)?;
        }
        self.say(|out| output::heading(out, &plan, self.begun))?;
        if !profile.0.tried {
            self.say(|out| output::untried(out, &profile.0))?;
        }
        let brought = Brought {
            run: self.begun.id.clone(),
            seed: self.begun.seed,
            runner: self.begun.runner.digest,
            image: arguments.agent_image.clone().unwrap_or_else(|| image::NAME.to_owned()),
            metrics: Metrics::of(plan.executed()),
        };
        let prepared = KubernetesTarget::prepare(cluster.clone(), survey, profile, plan.apis.clone(), brought);
        let prepared = tokio::select! {
            prepared = prepared => prepared.map(Some),
            number = self.signals.next() => {
                self.stopped_by = Some(number);
                Ok(None)
            }
        };
        let target = match prepared {
            Ok(Some(target)) => target,
            unprepared => {
                let cleaned = self.or_second_signal(clean_up(&cluster, &self.begun.id)).await;
                let left = is_left(&cleaned);
                unprepared?;
                return Ok(Outcome::Unbegun { left });
            }
        };
        self.say(|out| output::facts(out, &plan, target.facts(), self.begun))?;
        let executed = self.watched(&plan, &target).await;
        let ending = async {
            // A mesh that cannot be measured any more is not one that is known to have changed.
            let changed = !executed.interrupted && target.is_unchanged().await == Ok(false);
            (changed, target.clean_up().await)
        };
        let (changed, cleaned) = self.or_second_signal(ending).await;
        let left = is_left(&cleaned);
        if changed {
            return Err(CommandError::MeshChanged(slug));
        }
        Ok(Outcome::Ended(Box::new(Ended { facts: target.facts().clone(), plan, executed, left })))
    }

    /// Executes the plan, prints what happens, and stops it at the first signal.
    async fn watched(&mut self, plan: &Plan, target: &impl Target) -> Executed {
        let stop = CancellationToken::new();
        let live = Mutex::new(self.text.then(Live::new));
        let locked = || live.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = |event: Event<'_>| {
            if let Some(live) = locked().as_mut() {
                live.show(plan, &event);
            }
        };
        let run = execute(plan, target, &stop, &watch);
        let mut run = std::pin::pin!(run);
        let mut beat = tokio::time::interval(HEARTBEAT / 2);
        loop {
            tokio::select! {
                executed = &mut run => return executed,
                _ = beat.tick() => {
                    if let Some(live) = locked().as_mut() {
                        live.beat();
                    }
                }
                number = self.signals.next() => {
                    if self.stopped_by.replace(number).is_some() {
                        self.leave(number);
                    }
                    stop.cancel();
                    if let Some(live) = locked().as_mut() {
                        live.print(|out| writeln!(out, "stopping and cleaning up; another signal ends it at once"));
                    }
                }
            }
        }
    }

    /// Waits for the end of a run, unless a signal says that even that is too long.
    async fn or_second_signal<T>(&mut self, ending: impl Future<Output = T>) -> T {
        let mut ending = std::pin::pin!(ending);
        loop {
            tokio::select! {
                ended = &mut ending => return ended,
                number = self.signals.next() => {
                    if self.stopped_by.replace(number).is_some() {
                        self.leave(number);
                    }
                }
            }
        }
    }

    /// Ends the process as it stands.
    fn leave(&self, signal: u8) -> ! {
        let hint = format!("if it was on a cluster: smi-runner cleanup --run {}\n", self.begun.id);
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().lock().write_all(hint.as_bytes());
        std::process::exit(128 + i32::from(signal))
    }

    fn say(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
        if !self.text {
            return Ok(());
        }
        let mut out = anstream::stdout().lock();
        heard(write(&mut out).and_then(|()| out.flush()))
    }
}

/// A reader that went away has heard enough; the run goes on for the bundle's sake.
pub(super) fn heard(told: io::Result<()>) -> io::Result<()> {
    match told {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// Tells where errors are told that clean-up failed, if it did. What was seen is still worth its bundle.
fn is_left<T>(cleaned: &Result<T, CleanupError>) -> bool {
    let Err(error) = cleaned else { return false };
    let said = warning_text(error.code(), error);
    // With standard error gone there is nobody left to tell.
    let _ = anstream::stderr().lock().write_all(said.as_bytes());
    true
}
