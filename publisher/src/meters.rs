//! What is counted, for whoever operates a publisher: what became of submissions and of requests to witnesses, and how
//! long the quorum has been waited for.
//!
//! | metric, after `smi_publisher_` | |
//! |---|---|
//! | `signed_entries`, `published_entries` | entries under the newest signed and the newest published head |
//! | `quorum_lag_entries` | entries that are signed and not published |
//! | `quorum_lag_seconds` | how long the oldest of them has waited for the quorum; 0 when none does |
//! | `quorum_age_seconds` | how long ago the quorum was reached last; `+Inf` when never, and nothing where none is asked for |
//! | `submissions_total` | submissions, by `outcome` |
//! | `witness_requests_total` | requests to witnesses, by `witness` and `outcome` |
//!
//! A log that is idle has no lag, whoever is away: that its quorum is lost is told by the age, which stays below the
//! renewal while all is well.
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
    /// Where one is asked for.
    quorum: Option<Quorum>,
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
    reached: Option<Reached>,
    /// Since when a head that is not published has waited.
    waiting: Option<Instant>,
}

/// When the quorum was reached last: so long before a time of this process.
#[derive(Clone, Copy, Debug)]
struct Reached {
    before: Duration,
    at: Instant,
}

impl Quorum {
    /// How long ago the quorum was reached last, if it ever was.
    fn age(&self) -> Option<Duration> {
        self.reached.map(|reached| reached.before.saturating_add(reached.at.elapsed()))
    }
}

impl Reached {
    fn ago(before: Duration) -> Self {
        Self { before, at: Instant::now() }
    }
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

    /// No quorum is asked for.
    pub(crate) fn asks_nobody(&self) {
        self.with(|counts| counts.quorum = None);
    }

    /// A head that is not published is shown to the witnesses.
    pub(crate) fn waits(&self) {
        self.with(|counts| {
            counts.quorum.get_or_insert_default().waiting.get_or_insert_with(Instant::now);
        });
    }

    /// A head reached the quorum. A newer one has waited since a time, if there is one.
    pub(crate) fn reached(&self, newer_waits_since: Option<Instant>) {
        let reached = Some(Reached::ago(Duration::ZERO));
        self.with(|counts| counts.quorum = Some(Quorum { reached, waiting: newer_waits_since }));
    }

    /// The head that this process began with had reached the quorum so long before.
    pub(crate) fn was_reached(&self, before: Duration) {
        self.with(|counts| counts.quorum.get_or_insert_default().reached = Some(Reached::ago(before)));
    }

    /// The lines on quorum and witnesses in `/readyz?verbose`, under the keyring in force.
    pub fn readiness(&self, keyring: Option<&Keyring>) -> String {
        let Some((keyring, quorum)) = keyring.and_then(|keyring| Some((keyring, keyring.quorum()?))) else {
            return "quorum     none is asked for\n".to_owned();
        };
        self.with(|counts| {
            let reached = counts.quorum.and_then(|quorum| quorum.age());
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
            let waiting = counts.quorum.and_then(|quorum| quorum.waiting).filter(|_| lag > 0);
            let waiting = waiting.map_or(0.0, |since| since.elapsed().as_secs_f64());
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
            let age = counts.quorum.map(|quorum| quorum.age());
            let age = age.map(|age| age.map_or("+Inf".to_owned(), |age| format!("{:.3}", age.as_secs_f64())));
            let help = "How long ago the quorum was reached last.";
            family(&mut text, "quorum_age_seconds", "gauge", help, age.map(|age| (String::new(), age)));
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

    use smi_keys::SigningKey;
    use smi_keys::keyring::{Entry, Role};

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
    fn the_quorums_age_is_the_same_in_metrics_and_readiness() {
        let mut keyring = Keyring::default();
        let mut witness = Entry::new("w1".parse().unwrap(), Role::Witness, SigningKey::from_seed([7; 32]).public());
        witness.note_name = Some("witness.example.org/w1".parse().unwrap());
        keyring.add(witness).unwrap();
        keyring.set(None, Some(1)).unwrap();
        let meters = Meters::default();
        let told = || {
            let (metrics, ready) = (meters.metrics((1, 1)), meters.readiness(Some(&keyring)));
            let age = metrics.lines().find_map(|line| line.strip_prefix("smi_publisher_quorum_age_seconds "));
            let last = ready.lines().next().unwrap().split_once("last reached ").unwrap().1;
            (age.map(str::to_owned), last.to_owned())
        };
        assert_eq!(told(), (None, "never".to_owned()), "nobody was asked yet");
        meters.waits();
        assert_eq!(told(), (Some("+Inf".to_owned()), "never".to_owned()));
        meters.was_reached(Duration::from_hours(72));
        let (age, last) = told();
        assert!(age.unwrap().starts_with("259200."));
        assert_eq!(last, "259200 s ago", "it goes on where it was before the start");
        meters.reached(None);
        sleep(Duration::from_millis(50));
        let (age, last) = told();
        assert!((0.05..1.0).contains(&age.unwrap().parse::<f64>().unwrap()));
        assert_eq!(last, "0 s ago");
        meters.asks_nobody();
        assert_eq!(told().0, None);
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
