//! The metrics API: where a question is asked, and how the answer is transcribed.
//!
//! | question | path under `/apis/metrics.smi-spec.io/v1alpha1/namespaces/MAIN` |
//! |---|---|
//! | pod | `/pods/NAME`, or `/pods/NAME/edges` |
//! | pods | `/pods`, with a label selector if there is one |
//! | namespace | none; what must be a sum is followed by `/pods` |
//! | split | `/trafficsplits/NAME` |
//!
//! Counts are quantities, rounded to whole requests. Latencies are quantities of the unit beside them: seconds, as in
//! the text, or milliseconds, as in the SDK. What cannot be read as the text has it is left out, and the judge sees
//! that.

use std::collections::BTreeSet;

use serde_json::Value;
use smi_schemas::metrics::{
    Direction, Edge, Item, Listed, Listing, MAX_ITEMS, MAX_RESOURCES, MAX_VERBS, Object, Of, Question, ROOT, Reading,
    Shows, Side, SplitBackend,
};
use smi_schemas::names::{Slug, Word};
use smi_schemas::smi::Namespace;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::dialect::Namespaces;

/// Decimal places to which quantities are read.
const NANO: i32 = 9;

/// The status of an answer that has metrics.
const OK: u16 = 200;

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) http: u16,
    pub(crate) body: Value,
    /// When it was read.
    pub(crate) at: OffsetDateTime,
}

/// The paths that a question is asked at, one after the other.
pub(crate) fn paths(question: &Question, namespaces: &Namespaces) -> Vec<String> {
    let base = format!("{ROOT}/namespaces/{}", namespaces.main);
    let edges = if question.edges { "/edges" } else { "" };
    match &question.of {
        Of::Pod(name) => vec![format!("{base}/pods/{name}{edges}")],
        Of::Pods => vec![format!("{base}/pods")],
        Of::Namespace if question.shows == Shows::Sum => vec![base.clone(), format!("{base}/pods")],
        Of::Namespace => vec![base],
        Of::Split(name) => vec![format!("{base}/trafficsplits/{name}")],
    }
}

/// The label selector of a question, as a query; nothing if it has none.
pub(crate) fn selector(question: &Question) -> Option<String> {
    let pairs: Vec<String> = question.labels.iter().map(|(key, value)| format!("{key}%3D{value}")).collect();
    (!pairs.is_empty()).then(|| format!("labelSelector={}", pairs.join("%2C")))
}

/// The answers to a question as one reading. The first that is no success is all there is.
pub(crate) fn reading(answers: &[Answer], namespaces: &Namespaces) -> Reading {
    let mut reading = Reading::default();
    for Answer { http, body, at } in answers {
        reading.http = *http;
        if *http != OK {
            return Reading { http: *http, ..Reading::default() };
        }
        if let Some(items) = body["items"].as_array().filter(|_| body["kind"] == "TrafficMetricsList") {
            let of_list = answers.len() == 1;
            reading.list = of_list.then(|| object(&body["resource"], namespaces).unwrap_or_default());
            reading.items.extend(items.iter().map(|document| item(document, *at, namespaces)));
        } else if body["kind"] == "TrafficMetrics" {
            reading.items.push(item(body, *at, namespaces));
        }
    }
    reading.items.truncate(MAX_ITEMS);
    reading
}

/// What discovery lists.
pub(crate) fn listing(Answer { http, body, .. }: &Answer) -> Listing {
    let listed = |resource: &Value| Listed {
        name: word(&resource["name"]),
        kind: word(&resource["kind"]),
        namespaced: resource["namespaced"] == true,
        verbs: resource["verbs"].as_array().into_iter().flatten().take(MAX_VERBS).map(word).collect::<BTreeSet<_>>(),
    };
    let resources = body["resources"].as_array().into_iter().flatten().take(MAX_RESOURCES).map(listed);
    Listing { http: *http, resources: if *http == OK { resources.collect() } else { Vec::new() } }
}

fn item(document: &Value, at: OffsetDateTime, namespaces: &Namespaces) -> Item {
    let stamp = document["timestamp"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let age = stamp.map(|stamp| i64::try_from((at - stamp).whole_milliseconds()).unwrap_or(i64::MAX));
    let window = document["window"].as_str().and_then(|text| humantime::parse_duration(text).ok());
    let mut item = Item {
        resource: object(&document["resource"], namespaces),
        edge: edge(&document["edge"], namespaces),
        backend: backend(&document["backend"]),
        age_ms: age,
        window_ms: window.and_then(|window| u64::try_from(window.as_millis()).ok()),
        ..Item::default()
    };
    for metric in document["metrics"].as_array().into_iter().flatten() {
        let value = quantity(&metric["value"]);
        let (field, value) = match metric["name"].as_str().unwrap_or_default() {
            "success_count" => (&mut item.success, value.map(requests)),
            "failure_count" => (&mut item.failure, value.map(requests)),
            "p50_response_latency" => (&mut item.p50_us, latency(value, &metric["unit"])),
            "p90_response_latency" => (&mut item.p90_us, latency(value, &metric["unit"])),
            "p99_response_latency" => (&mut item.p99_us, latency(value, &metric["unit"])),
            _ => {
                item.others += 1;
                continue;
            }
        };
        if field.is_some() {
            item.others += 1;
        }
        *field = value;
    }
    item
}

fn edge(document: &Value, namespaces: &Namespaces) -> Option<Edge> {
    document.as_object()?;
    let direction = match document["direction"].as_str() {
        Some("to") => Some(Direction::To),
        Some("from") => Some(Direction::From),
        _ => None,
    };
    let side = match document["side"].as_str() {
        Some("client") => Some(Side::Client),
        Some("server") => Some(Side::Server),
        _ => None,
    };
    Some(Edge { direction, side, resource: object(&document["resource"], namespaces) })
}

fn backend(document: &Value) -> Option<SplitBackend> {
    let slug = |value: &Value| value.as_str()?.parse::<Slug>().ok();
    let weight = u32::try_from(document["weight"].as_u64()?).ok()?;
    Some(SplitBackend { apex: slug(&document["apex"])?, name: slug(&document["name"])?, weight })
}

/// Names are the lane's or are not told: what else lives on the cluster is nobody's business. The name of a namespace
/// is the namespace.
fn object(document: &Value, namespaces: &Namespaces) -> Option<Object> {
    let fields = document.as_object().filter(|fields| !fields.is_empty())?;
    let namespace = |name: &Value| {
        let is = |namespace: &Namespace| name == namespaces.of(*namespace);
        Namespace::ALL.into_iter().find(is)
    };
    let kind = word(&document["kind"]);
    let own =
        if kind.as_str() == "Namespace" { namespace(&document["name"]) } else { namespace(&document["namespace"]) };
    let named =
        fields.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && kind.as_str() != "Namespace");
    let name: Option<Slug> = named.filter(|_| own.is_some()).and_then(|name| name.parse().ok());
    let foreign = named.is_some() && name.is_none();
    Some(Object { kind, name, namespace: own, foreign })
}

/// A word of the API.
fn word(value: &Value) -> Word {
    Word::of(value.as_str().unwrap_or_default())
}

/// Whole requests of billionths.
fn requests(nanos: u128) -> u64 {
    u64::try_from(nanos.saturating_add(500_000_000) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// Microseconds of billionths of a unit.
fn latency(nanos: Option<u128>, unit: &Value) -> Option<u64> {
    let per_unit = match unit.as_str()? {
        "s" | "second" | "seconds" => 1_000,
        "ms" | "millisecond" | "milliseconds" => 1_000_000,
        _ => return None,
    };
    u64::try_from(nanos? / per_unit).ok()
}

/// A quantity as Kubernetes writes it, in billionths. None is negative here.
fn quantity(value: &Value) -> Option<u128> {
    const BINARY: [(&str, u32); 4] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    const DECIMAL: [(&str, i32); 7] = [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12)];
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.contains('.') {
        return None;
    }
    let exponent = match suffix.strip_prefix(['e', 'E']) {
        Some(exponent) => Some(exponent.parse::<i32>().ok()?),
        None if suffix.is_empty() => Some(0),
        None => DECIMAL.iter().find(|(known, _)| *known == suffix).map(|(_, exponent)| *exponent),
    };
    let binary = BINARY.iter().find(|(known, _)| *known == suffix).map(|(_, power)| 1_u128 << power);
    let places = exponent.or(binary.map(|_| 0))?.checked_add(NANO)?;
    // As many digits of the fraction as count.
    let kept = fraction.get(..usize::try_from(places).unwrap_or(0).min(fraction.len()))?;
    let digits = format!("0{whole}{kept}");
    let number: u128 = digits.parse().ok()?;
    let shift = places.checked_sub(i32::try_from(kept.len()).ok()?)?;
    let power = 10_u128.checked_pow(shift.unsigned_abs())?;
    let scaled = if shift.is_negative() { number / power } else { number.checked_mul(power)? };
    scaled.checked_mul(binary.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn namespaces() -> Namespaces {
        Namespaces { main: "run-a".to_owned(), other: "run-a-other".to_owned() }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let nano = 1_000_000_000;
        for (text, billionths) in [
            ("0", Some(0)),
            ("10m", Some(10_000_000)),
            ("100", Some(100 * nano)),
            ("1k", Some(1_000 * nano)),
            ("2Ki", Some(2_048 * nano)),
            ("1e3", Some(1_000 * nano)),
            ("12e-3", Some(12_000_000)),
            ("27e-10", Some(2)),
            ("0.5", Some(nano / 2)),
            ("0.0000000019", Some(1)),
            ("900u", Some(900_000)),
            ("7n", Some(7)),
            (".5", Some(nano / 2)),
            ("", None),
            ("-1", None),
            ("1x", None),
            ("1.2.3", None),
            ("123456789012345678", Some(123_456_789_012_345_678 * nano)),
            ("1234567890123456789", None),
            ("1e99", None),
            ("1e2147483647", None),
            ("1e-2147483648", None),
        ] {
            assert_eq!(quantity(&json!(text)), billionths, "{text:?}");
        }
        assert_eq!(quantity(&json!(100)), Some(100 * nano));
    }

    /// The example of the text, but for names.
    #[test]
    fn the_texts_own_example_is_read() {
        let document = json!({
            "apiVersion": "metrics.smi-spec.io/v1alpha1", "kind": "TrafficMetrics",
            "resource": {"name": "foo", "namespace": "run-a", "kind": "Pod"},
            "edge": {"direction": "to", "side": "client",
                "resource": {"name": "baz", "namespace": "elsewhere", "kind": "Pod"}},
            "timestamp": "2019-04-08T22:25:55Z", "window": "30s",
            "metrics": [
                {"name": "p99_response_latency", "unit": "seconds", "value": "10m"},
                {"name": "p90_response_latency", "unit": "ms", "value": "10"},
                {"name": "p50_response_latency", "value": "10m"},
                {"name": "success_count", "value": "100"},
                {"name": "failure_count", "value": "100"},
                {"name": "failure_count", "value": "99500m"},
            ],
        });
        let at = OffsetDateTime::from_unix_timestamp(1_554_762_357).unwrap();
        let answers = [Answer { http: 200, body: document, at }];
        let read = reading(&answers, &namespaces());
        let expected = json!({"http": 200, "items": [{
            "resource": {"kind": "Pod", "name": "foo", "namespace": "main"},
            "edge": {"direction": "to", "side": "client", "resource": {"kind": "Pod", "foreign": true}},
            "ageMs": 2_000, "windowMs": 30_000, "success": 100, "failure": 100, "p90Us": 10_000, "p99Us": 10_000,
            "others": 1,
        }]});
        assert_eq!(serde_json::to_value(&read).unwrap(), expected);
    }

    #[test]
    fn lists_are_read_and_the_names_of_strangers_are_not() {
        let list = json!({
            "kind": "TrafficMetricsList", "resource": {"kind": "Pod", "namespace": "run-a"},
            "items": [
                {
                    "resource": {"kind": "Pod", "namespace": "run-a-other", "name": "foo"},
                    "edge": {"direction": "from", "side": "server", "resource": {"kind": "Namespace", "name": "run-a"}},
                    "metrics": [{"name": "median", "value": "1"}],
                },
                {
                    "resource": {"kind": "Pod", "namespace": "elsewhere", "name": "bar"},
                    "edge": {"direction": "in", "side": "middle"},
                    "backend": {"apex": "web", "name": "web-v1", "weight": 90},
                },
                {"resource": {}, "backend": {"apex": "web", "name": "web-v1"}},
            ],
        });
        let items = json!([
            {
                "resource": {"kind": "Pod", "name": "foo", "namespace": "other"},
                "edge": {"direction": "from", "side": "server", "resource": {"kind": "Namespace", "namespace": "main"}},
                "others": 1,
            },
            {
                "resource": {"kind": "Pod", "foreign": true}, "edge": {},
                "backend": {"apex": "web", "name": "web-v1", "weight": 90},
            },
            {},
        ]);
        let read = |answers: &[&Value]| {
            let at = OffsetDateTime::UNIX_EPOCH;
            let answers: Vec<_> = answers.iter().map(|body| Answer { http: 200, body: (*body).clone(), at }).collect();
            serde_json::to_value(reading(&answers, &namespaces())).unwrap()
        };
        let resource = json!({"kind": "Pod", "namespace": "main"});
        assert_eq!(read(&[&list]), json!({"http": 200, "list": resource, "items": items}));
        // What is asked for a sum is no list, and what is neither kind of answer shows nothing.
        let both = read(&[&json!({"kind": "TrafficMetrics"}), &list]);
        assert_eq!((&both["list"], both["items"].as_array().unwrap().len()), (&Value::Null, 4));
        assert_eq!(read(&[&json!({"kind": "Status", "items": []})]), json!({"http": 200}));
    }

    #[test]
    fn discovery_is_read_word_by_word() {
        let document = json!({"resources": [
            {"name": "pods/edges", "kind": "TrafficMetrics", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "no\u{1b}des", "kind": "x".repeat(65), "namespaced": false},
        ]});
        let listed = json!([
            {"name": "pods/edges", "kind": "TrafficMetrics", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "", "kind": "", "namespaced": false, "verbs": []},
        ]);
        let answer = |http| Answer { http, body: document.clone(), at: OffsetDateTime::UNIX_EPOCH };
        assert_eq!(serde_json::to_value(listing(&answer(200)).resources).unwrap(), listed);
        assert_eq!(listing(&answer(503)), Listing { http: 503, resources: Vec::new() });
    }

    #[test]
    fn an_answer_that_is_none_has_its_status_only() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let answers = [
            Answer { http: 200, body: json!({"kind": "TrafficMetrics"}), at },
            Answer { http: 503, body: json!("down"), at },
        ];
        assert_eq!(reading(&answers, &namespaces()), Reading { http: 503, ..Reading::default() });
    }

    #[test]
    fn questions_have_paths() {
        let of = |json: Value| -> (Vec<String>, Option<String>) {
            let question: Question = serde_json::from_value(json).unwrap();
            (paths(&question, &namespaces()), selector(&question))
        };
        let base = format!("{ROOT}/namespaces/run-a");
        assert_eq!(
            of(json!({"of": {"pod": "a"}, "edges": true, "shows": "denied"})),
            (vec![format!("{base}/pods/a/edges")], None)
        );
        assert_eq!(
            of(json!({"of": "pods", "labels": {"app": "a", "tier": "b"}, "shows": {"only": ["a"]}})),
            (vec![format!("{base}/pods")], Some("labelSelector=app%3Da%2Ctier%3Db".to_owned()))
        );
        assert_eq!(of(json!({"of": "namespace", "shows": "sum"})), (vec![base.clone(), format!("{base}/pods")], None));
        assert_eq!(of(json!({"of": "namespace", "shows": "object"})), (vec![base], None));
    }
}
