//! Execution: from a plan and a target to results. Observing is the target's, judging is the verifier's; here is only
//! the order of things.
//!
//! Assertions that share a shape run one after the other in one lane, lanes run side by side; those that may disturb
//! others run when all lanes are through, one at a time. After each assertion its lane is wiped. A fault of the
//! harness is tried once more. A stop ends every lane at its next await; what is under way is reported as interrupted,
//! what was not begun as never executed.

mod window;

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use smi_schemas::codes::Code;
use smi_schemas::names::{AssertionId, Slug};
use smi_schemas::report::{Observations, Phase as Seen, Result as AssertionResult, Status};
use smi_schemas::suite::{Assertion, Phase, Shape};
use smi_verifier::judge::{Context, Judgement, MAX_ATTEMPTS, Malformed, action_ends, judge};
use tokio_util::sync::CancellationToken;

use crate::plan::Plan;
use crate::target::{Fault, Lane, Target};

/// What happens while a plan is executed, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// An assertion begins.
    Started(&'a AssertionId),
    /// An assertion ended.
    Finished(&'a AssertionResult),
    /// The harness failed; the text is for the terminal only.
    Fault(&'a AssertionId, &'a Fault),
}

/// Results of every assertion of the suite, in suite order.
#[derive(Debug)]
pub struct Executed {
    /// The results.
    pub results: Vec<AssertionResult>,
    /// Whether the run was stopped early.
    pub interrupted: bool,
}

/// Executes a plan.
pub async fn execute<T: Target>(
    plan: &Plan,
    target: &T,
    stop: &CancellationToken,
    watch: &(dyn Fn(Event<'_>) + Sync),
) -> Executed {
    let mut lanes: BTreeMap<Option<&Slug>, Vec<&Assertion>> = BTreeMap::new();
    for assertion in plan.executed() {
        lanes.entry(assertion.shape.as_ref()).or_default().push(assertion);
    }
    let runs = lanes.into_iter().map(|(shape, assertions)| {
        let shape = shape.and_then(|name| plan.suite.shape(name));
        let (alone, together) = assertions.into_iter().partition(|assertion| assertion.alone);
        Run { plan, stop, watch, shape }.opened(target, together, alone)
    });
    let mut seen: BTreeMap<&AssertionId, Attempted> = BTreeMap::new();
    let mut opened = Vec::new();
    for (run, lane, alone, attempted) in Box::pin(join_all(runs)).await {
        seen.extend(attempted);
        opened.extend(lane.map(|lane| (run, lane, alone)));
    }
    for (run, lane, alone) in &opened {
        seen.extend(Box::pin(run.all(lane, alone)).await);
    }
    join_all(opened.into_iter().map(|(_, lane, _)| lane.close())).await;
    let interrupted = stop.is_cancelled();
    let context = Context { interrupted, ..plan.context() };
    let results = plan.suite.assertions.iter().map(|assertion| result(&context, assertion, seen.remove(&assertion.id)));
    Executed { results: results.collect(), interrupted }
}

/// What came of the attempts at an assertion.
#[derive(Debug, Default)]
struct Attempted {
    attempts: u32,
    duration_ms: u64,
    observations: Observations,
}

fn result(context: &Context<'_>, assertion: &Assertion, attempted: Option<Attempted>) -> AssertionResult {
    let mut attempted = attempted;
    let observations = attempted.as_ref().map(|attempted| &attempted.observations);
    let Judgement { status, reason } = judge(context, assertion, observations).unwrap_or_else(|_| {
        // The runner's own observations are sound; if they ever are not, they are not shown, and it is an error.
        let fault = Some(Code::AgentFault);
        attempted.get_or_insert_default().observations = Observations { phases: Vec::new(), fault };
        Judgement { status: Status::Error, reason: Code::AgentFault }
    });
    AssertionResult {
        id: assertion.id.clone(),
        status,
        reason,
        attempts: attempted.as_ref().map_or(0, |attempted| attempted.attempts),
        duration_ms: attempted.as_ref().map_or(0, |attempted| attempted.duration_ms),
        observations: attempted.map(|attempted| attempted.observations),
    }
}

/// One lane of a run.
struct Run<'a> {
    plan: &'a Plan,
    stop: &'a CancellationToken,
    watch: &'a (dyn Fn(Event<'_>) + Sync),
    shape: Option<&'a Shape>,
}

/// What came of assertions.
type Results<'a> = Vec<(&'a AssertionId, Attempted)>;

impl<'a> Run<'a> {
    /// Opens the lane and goes through what can be executed beside other lanes. Without a lane, everything has failed.
    async fn opened<T: Target>(
        self,
        target: &T,
        together: Vec<&'a Assertion>,
        alone: Vec<&'a Assertion>,
    ) -> (Self, Option<T::Lane>, Vec<&'a Assertion>, Results<'a>) {
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return (self, None, alone, Vec::new()),
            opened = target.lane(self.shape) => opened,
        };
        match opened {
            Ok(lane) => {
                let seen = self.all(&lane, &together).await;
                (self, Some(lane), alone, seen)
            }
            Err(fault) => {
                let failed = |assertion: &&'a Assertion| {
                    (self.watch)(Event::Fault(&assertion.id, &fault));
                    let observations = Observations { phases: Vec::new(), fault: Some(fault.code) };
                    (&assertion.id, self.ended(assertion, Attempted { attempts: 1, duration_ms: 0, observations }))
                };
                let seen = together.iter().chain(&alone).map(failed).collect();
                (self, None, alone, seen)
            }
        }
    }

    /// Goes through assertions in one lane, until the run is stopped.
    async fn all(&self, lane: &impl Lane, assertions: &[&'a Assertion]) -> Results<'a> {
        let mut seen = Vec::new();
        for assertion in assertions {
            if self.stop.is_cancelled() {
                break;
            }
            seen.push((&assertion.id, self.assertion(lane, assertion).await));
        }
        seen
    }

    async fn assertion(&self, lane: &impl Lane, assertion: &Assertion) -> Attempted {
        (self.watch)(Event::Started(&assertion.id));
        let started = Instant::now();
        let mut attempted = Attempted::default();
        while attempted.attempts < MAX_ATTEMPTS {
            attempted.attempts += 1;
            attempted.observations = self.attempt(lane, assertion).await;
            match attempted.observations.fault {
                Some(code) if code != Code::Interrupted => {}
                _ => break,
            }
        }
        attempted.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ended(assertion, attempted)
    }

    fn ended(&self, assertion: &Assertion, attempted: Attempted) -> Attempted {
        let interrupted = attempted.observations.fault == Some(Code::Interrupted);
        let context = Context { interrupted, ..self.plan.context() };
        let Attempted { attempts, duration_ms, observations } = attempted;
        let copy = Attempted { attempts, duration_ms, observations: observations.clone() };
        (self.watch)(Event::Finished(&result(&context, assertion, Some(copy))));
        Attempted { attempts, duration_ms, observations }
    }

    /// One attempt: a clean lane, phase after phase for as long as the judge goes on, and a clean lane again. A stop
    /// ends it where it is: the lane is about to go.
    async fn attempt(&self, lane: &impl Lane, assertion: &Assertion) -> Observations {
        let mut observations = Observations::default();
        if let Err(fault) = self.unless_stopped(lane.wipe()).await {
            self.fault(assertion, &fault);
            observations.fault = Some(fault.code);
            return observations;
        }
        for phase in &assertion.phases {
            match self.unless_stopped(self.phase(lane, phase)).await {
                Ok(seen) => observations.phases.push(seen),
                Err(fault) => {
                    self.fault(assertion, &fault);
                    observations.fault = Some(fault.code);
                    break;
                }
            }
            let goes_on = judge(&self.plan.context(), assertion, Some(&observations));
            if !matches!(goes_on, Err(Malformed::Missing { .. })) {
                break;
            }
        }
        if observations.fault == Some(Code::Interrupted) {
            return observations;
        }
        if let Err(fault) = self.unless_stopped(lane.wipe()).await {
            self.fault(assertion, &fault);
            // What this one left is in doubt, and with it what it saw.
            observations.phases.clear();
            observations.fault = Some(fault.code);
        }
        observations
    }

    async fn unless_stopped<D>(&self, work: impl Future<Output = Result<D, Fault>>) -> Result<D, Fault> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Fault { code: Code::Interrupted, detail: String::new() }),
            done = work => done,
        }
    }

    fn fault(&self, assertion: &Assertion, fault: &Fault) {
        if fault.code != Code::Interrupted {
            (self.watch)(Event::Fault(&assertion.id, fault));
        }
    }

    async fn phase(&self, lane: &impl Lane, phase: &Phase) -> Result<Seen, Fault> {
        let mut actions = Vec::new();
        for action in &phase.actions {
            let done = lane.act(action).await?;
            let ends = action_ends(&self.plan.context(), action, &done)
                .map_err(|malformed| Fault { code: Code::KubernetesFault, detail: malformed.to_string() })?;
            actions.push(done);
            if ends {
                return Ok(Seen { actions, window: None });
            }
        }
        let window = match self.shape {
            Some(shape) if phase.probes() => {
                Some(window::observe(lane, shape, phase, &self.plan.suite.pace, self.plan.limit()).await?)
            }
            _ => None,
        };
        Ok(Seen { actions, window })
    }
}
