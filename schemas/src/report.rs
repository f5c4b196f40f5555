//! What a run saw and what follows from it.
//!
//! A *report* has one [`Result`] for every assertion of the suite, in suite order. A result carries *observations*,
//! counts only, and a *status* with a *reason code*, which the judge computes from the suite and the observations and
//! which anyone can compute again. Nothing here is a float and no map is unordered, so a report has one byte form.
//!
//! Worked example: one phase of one cell. After the phase's action was done, the target probed in rounds, 250 ms
//! apart; 26 rounds in all, the first agreeing one 1.3 s after the action, and the last 20 of them are the window
//! that is judged. In it the destination answered all 20 requests.
//!
//! ```
//! use smi_schemas::report::{Result, Status};
//!
//! let result: Result = serde_json::from_str(r#"{
//!   "id": "smi.access.allow-listed-source",
//!   "status": "pass",
//!   "reason": "met",
//!   "attempts": 1,
//!   "durationMs": 6712,
//!   "observations": {"phases": [{
//!     "actions": ["done"],
//!     "window": {
//!       "rounds": 26, "held": 20, "spacingMs": 250, "convergedMs": 1304, "elapsedMs": 6690,
//!       "cells": [{"sent": 20, "answered": {"server": 20}}]
//!     }
//!   }]}
//! }"#).unwrap();
//! assert_eq!(result.status, Status::Pass);
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::metrics::{Listing, Reading};
use crate::names::{AssertionId, Slug};
use crate::smi::ApiVersion;

/// The result of one assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Result {
    /// The assertion.
    pub id: AssertionId,
    /// Follows from the observations.
    pub status: Status,
    /// Why this status.
    pub reason: Code,
    /// Times the assertion was executed; the observations are the last one's. 0 when it was not.
    pub attempts: u32,
    /// All attempts together, in whole milliseconds.
    pub duration_ms: u64,
    /// What was seen; absent when nothing was executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observations: Option<Observations>,
}

/// What is said of one assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Observed, and as required.
    Pass,
    /// Observed, and not as required, beside healthy controls.
    Fail,
    /// The API is not served.
    NotSupported,
    /// The assertion does not exist in the tested version of the API.
    NotApplicable,
    /// Not executed by choice or by interruption.
    Skipped,
    /// Executed, but a control did not hold, so nothing follows.
    Inconclusive,
    /// Kubernetes, exec or the agent failed.
    Error,
    /// Informative: a value was recorded.
    Observed,
}

/// What was seen of one assertion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observations {
    /// One for every phase that was reached and completed, in order.
    pub phases: Vec<Phase>,
    /// What broke in the phase after these, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Code>,
}

/// What was seen of one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    /// How each action of the phase ended, in order, up to the first refusal that ends the phase.
    pub actions: Vec<ActionResult>,
    /// The probes; absent when the phase has none or an action ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionResult {
    /// Kubernetes took it.
    Done,
    /// Kubernetes, its schema or an admission webhook refused the object.
    Refused,
    /// Versions in which discovery lists the kind.
    Served(Vec<ApiVersion>),
    /// Fields that were written and not read back, as JSON pointers; none is the good case.
    Lost(Vec<String>),
    /// What discovery lists of the metrics API.
    Resources(Listing),
}

/// Probing until the phase's cells agree, and then holding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Rounds in all.
    pub rounds: u32,
    /// The last rounds, which `cells` counts: the hold's, or those before the limit.
    pub held: u32,
    /// In the last round a request was delivered that had been denied for longer than settling takes. That ends the
    /// probing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relapsed: bool,
    /// Pause between rounds, the target's choice.
    pub spacing_ms: u32,
    /// From the last action to the first of the agreeing rounds that the probing ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged_ms: Option<u64>,
    /// From the last action to the end of the last round.
    pub elapsed_ms: u64,
    /// One for every cell probed in rounds: the shape's health, the controls, the expectations.
    pub cells: Vec<Tally>,
    /// For every cell with shares: its batch, and the second one if the first was not within its bounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Vec<Tally>>,
    /// For every question to the metrics API, the answer in the last round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Reading>,
}

/// Requests of one cell, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tally {
    /// Requests sent.
    pub sent: u32,
    /// Answers that echoed the request's id, by the workload that gave them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered: BTreeMap<Slug, u32>,
    /// Requests without such an answer, by what the client saw instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unanswered: BTreeMap<Unanswered, u32>,
    /// Unanswered requests whose id a workload logged all the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub logged: u32,
}

/// What a client saw when the destination did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Unanswered {
    /// An HTTP response of somebody else, by its status.
    Http(u16),
    /// Connection refused.
    Refused,
    /// Connection reset.
    Reset,
    /// Connection closed before a byte of response.
    EmptyReply,
    /// Bytes that are no HTTP response.
    NotHttp,
    /// Bytes over TCP or UDP that are no workload's answer.
    Foreign,
    /// No answer in time.
    Timeout,
    /// No route to the address.
    Unreachable,
    /// The name does not resolve. This is never taken for a denial.
    NameError,
}

/// The text names no way of being left without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "one of http-100 to http-599, refused, reset, empty-reply, not-http, foreign, timeout, unreachable, name-error"
)]
pub struct ParseUnansweredError;

impl Status {
    /// The word used in JSON, flags and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotSupported => "not-supported",
            Self::NotApplicable => "not-applicable",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
            Self::Observed => "observed",
        }
    }
}

impl Tally {
    /// Counts more requests of the same cell.
    pub fn add(&mut self, more: &Self) {
        self.sent += more.sent;
        self.logged += more.logged;
        for (workload, count) in &more.answered {
            *self.answered.entry(workload.clone()).or_default() += count;
        }
        for (outcome, count) in &more.unanswered {
            *self.unanswered.entry(*outcome).or_default() += count;
        }
    }

    /// Requests that were answered by anybody.
    pub fn answers(&self) -> u64 {
        self.answered.values().map(|count| u64::from(*count)).sum()
    }

    /// Requests that were not.
    pub fn non_answers(&self) -> u64 {
        self.unanswered.values().map(|count| u64::from(*count)).sum()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Unanswered {
    const NAMED: [(Self, &str); 8] = [
        (Self::Refused, "refused"),
        (Self::Reset, "reset"),
        (Self::EmptyReply, "empty-reply"),
        (Self::NotHttp, "not-http"),
        (Self::Foreign, "foreign"),
        (Self::Timeout, "timeout"),
        (Self::Unreachable, "unreachable"),
        (Self::NameError, "name-error"),
    ];
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Http(status) = self {
            return f.pad(&format!("http-{status}"));
        }
        let named = Self::NAMED.iter().find(|(outcome, _)| outcome == self);
        f.pad(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for Unanswered {
    type Err = ParseUnansweredError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        if let Some(status) = text.strip_prefix("http-") {
            let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
            return match status.parse() {
                Ok(status @ 100..=599) if digits => Ok(Self::Http(status)),
                _ => Err(ParseUnansweredError),
            };
        }
        let named = Self::NAMED.iter().find(|(_, name)| *name == text);
        named.map(|(outcome, _)| *outcome).ok_or(ParseUnansweredError)
    }
}

impl TryFrom<String> for Unanswered {
    type Error = ParseUnansweredError;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Unanswered> for String {
    fn from(outcome: Unanswered) -> Self {
        outcome.to_string()
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
