//! What is counted, for whoever operates a publisher: what became of submissions and of requests to witnesses, and how
//! long the quorum has been waited for.
//!
//! Counts begin at 0 with the process. Nothing that is published depends on them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use smi_keys::keyring::Keyring;
use smi_schemas::Timestamp;
use smi_schemas::names::Slug;

use crate::witness::client::AskError;

/// What is counted.
#[derive(Debug, Default)]
pub struct Meters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    submissions: BTreeMap<Submitted, u64>,
    requests: BTreeMap<(Slug, Outcome), u64>,
    witnesses: BTreeMap<Slug, Told>,
    quorum: Quorum,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Submitted {
    /// It was added and is published.
    Added,
    /// It was there already.
    Present,
    /// It was added or there, and waits for the witnesses.
    Waiting,
    /// It was refused for what it is.
    Refused,
    /// Nothing was decided.
    Failed,
}

/// What became of a request to a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It cosigned.
    Cosigned,
    /// It saw another size last.
    Conflict,
    /// It refused.
    Refused,
    /// It answered with something that does not count.
    Unsound,
    /// It did not answer in time.
    Slow,
    /// It did not answer.
    Unreachable,
}

/// What is known of a witness since the process began.
#[derive(Clone, Debug, Default)]
struct Told {
    /// When it cosigned last, and which size.
    cosigned: Option<(Timestamp, u64)>,
    /// When it last did not, and why not, if that was later.
    failed: Option<(Timestamp, String)>,
}

/// How it stands with the quorum.
#[derive(Clone, Copy, Debug, Default)]
struct Quorum {
    reached: Option<Instant>,
    /// Since when a head that was signed has waited.
    waiting: Option<Instant>,
}

impl Submitted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Present => "present",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cosigned => "cosigned",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unsound => "unsound",
            Self::Slow => "slow",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Meters {
    fn with<T>(&self, read: impl FnOnce(&mut Counts) -> T) -> T {
        // Counts are right, or nearly so, whoever panicked.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A submission was answered.
    pub fn submission(&self, submitted: Submitted) {
        self.with(|counts| *counts.submissions.entry(submitted).or_default() += 1);
    }

    /// A request to a witness ended.
    pub(crate) fn request(&self, witness: &Slug, outcome: Outcome) {
        self.with(|counts| *counts.requests.entry((witness.clone(), outcome)).or_default() += 1);
    }

    /// A witness cosigned a size, or did not.
    pub(crate) fn answered(&self, witness: &Slug, now: Timestamp, answer: Result<u64, &AskError>) {
        if let Err(error) = &answer {
            tracing::warn!(witness = witness.as_str(), %error, "a witness did not cosign");
        }
        self.with(|counts| {
            let told = counts.witnesses.entry(witness.clone()).or_default();
            match answer {
                Ok(size) => *told = Told { cosigned: Some((now, size)), failed: None },
                Err(error) => told.failed = Some((now, error.to_string())),
            }
        });
    }

    /// A head is shown to the witnesses and has not reached the quorum yet.
    pub(crate) fn waits(&self) {
        self.with(|counts| {
            counts.quorum.waiting.get_or_insert_with(Instant::now);
        });
    }

    /// A head reached the quorum. A newer one has waited since a time, if there is one.
    pub(crate) fn reached(&self, newer_waits_since: Option<Instant>) {
        self.with(|counts| counts.quorum = Quorum { reached: Some(Instant::now()), waiting: newer_waits_since });
    }

    /// The lines on quorum and witnesses in `/readyz?verbose`, under the keyring in force. How long ago the quorum was
    /// reached is known by the head that was published, if not since the start.
    pub fn readiness(&self, keyring: Option<&Keyring>, published: Option<Duration>) -> String {
        let Some((keyring, quorum)) = keyring.and_then(|keyring| Some((keyring, keyring.quorum()?))) else {
            return "quorum     none is asked for\n".to_owned();
        };
        self.with(|counts| {
            let reached = counts.quorum.reached.map(|reached| reached.elapsed()).or(published);
            let reached = reached.map_or("never".to_owned(), |ago| format!("{} s ago", ago.as_secs()));
            let mut text = format!("quorum     {quorum} of {}, last reached {reached}\n", keyring.witnesses().count());
            for witness in keyring.witnesses() {
                let told = counts.witnesses.get(&witness.name).cloned().unwrap_or_default();
                let said = if witness.url.is_some() { told.to_string() } else { "has no address".to_owned() };
                // Writing to a string cannot fail.
                let _ = writeln!(text, "witness    {}: {said}", witness.name);
            }
            text
        })
    }

    /// Everything in Prometheus's text format, with the sizes of the newest signed and published heads.
    pub fn metrics(&self, (signed, published): (u64, u64)) -> String {
        self.with(|counts| {
            let lag = signed.saturating_sub(published);
            let waiting = counts.quorum.waiting.filter(|_| lag > 0).map_or(0.0, |since| since.elapsed().as_secs_f64());
            let mut text = String::new();
            for (name, help, value) in [
                ("signed_entries", "Entries under the newest signed head.", signed.to_string()),
                ("published_entries", "Entries under the newest published head.", published.to_string()),
                ("quorum_lag_entries", "Entries that are signed and not published.", lag.to_string()),
                (
                    "quorum_lag_seconds",
                    "How long the oldest of them has waited for the quorum.",
                    format!("{waiting:.3}"),
                ),
            ] {
                family(&mut text, name, "gauge", help, [(String::new(), value)]);
            }
            let submissions = counts.submissions.iter();
            let submissions = submissions.map(|(outcome, count)| (labels(&[("outcome", outcome.as_str())]), *count));
            family(&mut text, "submissions_total", "counter", "Submissions, by what became of them.", submissions);
            let requests = counts.requests.iter().map(|((witness, outcome), count)| {
                (labels(&[("witness", witness.as_str()), ("outcome", outcome.as_str())]), *count)
            });
            let help = "Requests to witnesses, by what became of them.";
            family(&mut text, "witness_requests_total", "counter", help, requests);
            text
        })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cosigned, &self.failed) {
            (None, None) => f.write_str("not asked yet"),
            (Some((at, size)), None) => write!(f, "cosigned {size} entries at {at}"),
            (None, Some((at, why))) => write!(f, "{why}, at {at}; it has not cosigned since the start"),
            (Some((before, _)), Some((at, why))) => write!(f, "{why}, at {at}; it cosigned last at {before}"),
        }
    }
}

/// A metric with all its values.
fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, impl fmt::Display)>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP smi_publisher_{name} {help}\n# TYPE smi_publisher_{name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "smi_publisher_{name}{labels} {value}");
    }
}

/// Labels whose values need no escape: words of this module, and names of keys.
fn labels(labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    fn lag(meters: &Meters, sizes: (u64, u64)) -> f64 {
        let text = meters.metrics(sizes);
        let value = text.lines().find_map(|line| line.strip_prefix("smi_publisher_quorum_lag_seconds "));
        value.unwrap().parse().unwrap()
    }

    #[test]
    fn the_lag_is_that_of_the_oldest_that_waits() {
        let long = Duration::from_millis(200);
        let meters = Meters::default();
        assert!(lag(&meters, (0, 0)).abs() < f64::EPSILON);
        meters.waits();
        sleep(long);
        meters.waits();
        assert!(lag(&meters, (3, 1)) >= long.as_secs_f64(), "it began to wait with the first");
        assert!(lag(&meters, (1, 1)).abs() < f64::EPSILON, "nothing waits");
        meters.reached(Some(Instant::now()));
        assert!(lag(&meters, (4, 3)) < long.as_secs_f64(), "what came later has waited for less");
        meters.reached(None);
        sleep(long);
        meters.waits();
        assert!(lag(&meters, (5, 4)) < long.as_secs_f64(), "what was reached is over");
    }

    #[test]
    fn counts_are_in_the_format_of_prometheus() {
        let meters = Meters::default();
        for submitted in [Submitted::Added, Submitted::Added, Submitted::Refused] {
            meters.submission(submitted);
        }
        meters.request(&"w1".parse().unwrap(), Outcome::Slow);
        let text = meters.metrics((7, 5));
        for part in [
            "# HELP smi_publisher_signed_entries Entries under the newest signed head.\n",
            "# TYPE smi_publisher_signed_entries gauge\nsmi_publisher_signed_entries 7\n",
            "smi_publisher_quorum_lag_entries 2\n",
            "# TYPE smi_publisher_submissions_total counter\nsmi_publisher_submissions_total{outcome=\"added\"} 2\n",
            "smi_publisher_submissions_total{outcome=\"refused\"} 1\n",
            "smi_publisher_witness_requests_total{witness=\"w1\",outcome=\"slow\"} 1\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }
}
