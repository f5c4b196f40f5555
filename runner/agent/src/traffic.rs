//! Traffic: what the probes of a workload came to, counted by who answered. `GET /traffic` shows it, so that an
//! extension API server can serve TrafficMetrics of a cluster's workloads without a mesh.
//!
//! ```json
//! {"server": {"succeeded": 40, "failed": 2, "withinMs": {"1": 41, "4": 1}}}
//! ```
//!
//! Counts begin with the process and only grow. A request failed that was answered with the 5xx it asked for. Beneath
//! `withinMs` a request counts once, at the lowest power of two that its whole probe took no longer than, in
//! milliseconds: probes of one request show its latency, larger ones a bound of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use smi_schemas::names::Slug;

use crate::client::{Probe, ProbeResult};
use crate::exchange::wanted;

/// What was called, by who answered.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<BTreeMap<Slug, Counts>>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    succeeded: u64,
    failed: u64,
    within_ms: BTreeMap<u64, u64>,
}

impl Traffic {
    /// Counts the requests of a probe that were answered.
    pub(crate) fn add(&self, probe: &Probe, result: &ProbeResult) {
        let failed = probe.wanted() != wanted(None);
        let within = result.elapsed_ms.max(1).checked_next_power_of_two().unwrap_or(u64::MAX);
        let mut traffic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (workload, answers) in &result.tally.answered {
            let counts = traffic.entry(workload.clone()).or_default();
            let answers = u64::from(*answers);
            if failed {
                counts.failed += answers;
            } else {
                counts.succeeded += answers;
            }
            *counts.within_ms.entry(within).or_default() += answers;
        }
    }

    /// The counts as they are.
    pub(crate) fn counts(&self) -> BTreeMap<Slug, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::example;

    #[test]
    fn answers_are_counted_by_who_gave_them_and_how() {
        let result = |elapsed_ms| -> ProbeResult {
            let tally = serde_json::json!({"sent": 4, "answered": {"a": 2, "b": 1}, "unanswered": {"reset": 1}});
            serde_json::from_value(serde_json::json!({"tally": tally, "unansweredIds": [], "elapsedMs": elapsed_ms}))
                .unwrap()
        };
        let traffic = Traffic::default();
        traffic.add(&example(), &result(0));
        traffic.add(&example(), &result(3));
        let failing = [("X-Smi-Status".to_owned(), "503".to_owned())];
        traffic.add(&Probe { headers: failing.into(), ..example() }, &result(5));
        let shown = serde_json::json!({
            "a": {"succeeded": 4, "failed": 2, "withinMs": {"1": 2, "4": 2, "8": 2}},
            "b": {"succeeded": 2, "failed": 1, "withinMs": {"1": 1, "4": 1, "8": 1}},
        });
        assert_eq!(serde_json::to_value(traffic.counts()).unwrap(), shown);
    }
}
