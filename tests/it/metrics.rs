//! What readings of the metrics API show, and what they do not.

use serde_json::{Value, json};
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Question, Reading};
use smi_schemas::report::{ActionResult, Observations, Phase, Status};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::Filters;
use smi_schemas::suite::{BUILTIN, Suite};
use smi_tests::simulate::{ideal_reading, ideal_resources};
use smi_verifier::judge::{Context, Judgement, judge, shows};

fn question(value: Value) -> Question {
    serde_json::from_value(value).unwrap()
}

/// Whether the ideal reading shows what it must once this was done to it.
fn shown(question: &Question, change: impl Fn(&mut Value)) -> bool {
    let mut reading = serde_json::to_value(ideal_reading(question)).unwrap();
    change(&mut reading);
    let reading: Reading = serde_json::from_value(reading).unwrap();
    shows(question, &reading)
}

/// What is right, and each way of being wrong, by the change that makes it so.
#[test]
fn each_deviation_of_a_reading_is_seen() {
    type Change = (&'static str, Value);
    let failing = json!({"failures": {"lo": 40, "hi": 60}});
    let edges = json!({"edges": {"from": ["client"], "to": ["other"]}});
    let cases: Vec<(Value, Vec<Change>, Vec<Change>)> = vec![
        (
            json!({"of": {"pod": "server"}, "shows": "object"}),
            vec![("/http", json!(404)), ("/list", json!({"kind": "Pod"})), ("/items", json!([]))],
            vec![("/items/0/success", Value::Null)],
        ),
        (
            json!({"of": {"pod": "server"}, "shows": "object"}),
            vec![
                ("/items/0/resource/name", json!("client")),
                ("/items/0/resource/kind", json!("Deployment")),
                ("/items/0/resource/namespace", json!("other")),
                ("/items/0/resource", Value::Null),
            ],
            vec![],
        ),
        (
            json!({"of": "pods", "shows": {"includes": ["server"]}}),
            vec![
                ("/list", Value::Null),
                ("/list/kind", json!("Service")),
                ("/list/name", json!("server")),
                ("/items/0/resource", Value::Null),
                ("/items/0/resource/name", json!("client")),
                ("/items", json!([])),
            ],
            vec![],
        ),
        (
            json!({"of": "pods", "labels": {"app": "server"}, "shows": {"only": ["server"]}}),
            vec![("/items/0/resource/name", json!("client")), ("/http", json!(403))],
            vec![],
        ),
        (
            json!({"of": {"pod": "server"}, "shows": "names"}),
            vec![
                ("/items/0/p90Us", Value::Null),
                ("/items/0/p50Us", json!(901)),
                ("/items/0/p99Us", json!(899)),
                ("/items/0/success", Value::Null),
                ("/items/0/failure", Value::Null),
                ("/items/0/others", json!(1)),
            ],
            vec![("/items/0/p99Us", json!(5_000)), ("/items/0/p50Us", json!(900))],
        ),
        (
            json!({"of": {"pod": "server"}, "shows": failing}),
            vec![
                ("/items/0/failure", json!(39)),
                ("/items/0/failure", json!(91)),
                ("/items/0/failure", Value::Null),
                ("/items/0/success", json!(0)),
            ],
            vec![("/items/0/failure", json!(90))],
        ),
        (
            json!({"of": {"pod": "server"}, "shows": {"failures": {"lo": 0, "hi": 10}}}),
            vec![("/items/0/success", json!(0)), ("/items/0/failure", json!(12))],
            vec![("/items/0/failure", json!(11))],
        ),
        (
            json!({"of": {"pod": "server"}, "shows": "fresh"}),
            vec![
                ("/items/0/ageMs", json!(90_001)),
                ("/items/0/ageMs", json!(-30_001)),
                ("/items/0/ageMs", Value::Null),
                ("/items/0/windowMs", Value::Null),
                ("/items/0/windowMs", json!(0)),
            ],
            vec![("/items/0/ageMs", json!(90_000)), ("/items/0/ageMs", json!(-30_000))],
        ),
        (
            json!({"of": {"pod": "server"}, "edges": true, "shows": edges}),
            vec![
                ("/list", Value::Null),
                ("/items/0/edge", Value::Null),
                ("/items/0/edge/direction", Value::Null),
                ("/items/0/edge/direction", json!("to")),
                ("/items/0/edge/side", Value::Null),
                ("/items/0/edge/resource", Value::Null),
                ("/items/0/edge/resource/name", json!("idle")),
                ("/items", json!([])),
            ],
            vec![("/items/0/success", json!(0)), ("/items/0/edge/side", json!("client"))],
        ),
        (
            json!({"of": "namespace", "shows": "sum"}),
            vec![
                ("/items/0/success", json!(100)),
                ("/items/1/success", json!(12)),
                ("/items/1/failure", Value::Null),
                ("/items/0/resource/kind", json!("Pod")),
                ("/items", json!([])),
            ],
            vec![("/items/1/success", json!(30)), ("/items/1/success", json!(20))],
        ),
        (
            json!({"of": {"split": "a"}, "shows": {"backends": {"v1": 90, "v2": 10}}}),
            vec![
                ("/items/0/backend", Value::Null),
                ("/items/0/backend/weight", json!(80)),
                ("/items/0/backend/name", json!("v2")),
                ("/items", json!([])),
            ],
            vec![],
        ),
        (
            json!({"of": {"pod": "server"}, "restricted": true, "shows": "denied"}),
            vec![("/http", json!(200)), ("/http", json!(404))],
            vec![],
        ),
    ];
    for (asked, wrong, right) in cases {
        let asked = question(asked);
        assert!(shown(&asked, |_| ()), "{asked:?}");
        let change = |(at, value): &Change, reading: &mut Value| {
            let (parent, field) = at.rsplit_once('/').unwrap();
            reading.pointer_mut(parent).unwrap()[field] = value.clone();
        };
        for case in &wrong {
            assert!(!shown(&asked, |reading| change(case, reading)), "{asked:?} {case:?}");
        }
        for case in &right {
            assert!(shown(&asked, |reading| change(case, reading)), "{asked:?} {case:?}");
        }
    }
}

#[test]
fn a_pod_is_listed_once() {
    let asked = question(json!({"of": "pods", "shows": {"includes": ["server"]}}));
    let twice = |reading: &mut Value| {
        let item = reading["items"][0].clone();
        reading["items"].as_array_mut().unwrap().push(item);
    };
    assert!(!shown(&asked, twice));
}

#[test]
fn discovery_must_list_what_the_text_lists() {
    let (suite, _) = Suite::read(BUILTIN[0]).unwrap();
    let discovery = suite.assertions.iter().find(|assertion| assertion.id.as_str() == "smi.metrics.discovery").unwrap();
    let (apis, absent) = ([(Api::Metrics, ApiVersion::V1alpha1)].into(), [].into());
    let filters = Filters::default();
    let context =
        Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms: None, interrupted: false };
    let judged = |change: fn(&mut Value)| {
        let mut listed = serde_json::to_value(ideal_resources()).unwrap();
        change(&mut listed);
        let actions = vec![ActionResult::Resources(serde_json::from_value(listed).unwrap())];
        let phases = vec![Phase { actions, window: None }];
        judge(&context, discovery, Some(&Observations { phases, fault: None })).unwrap()
    };
    let failed = Judgement { status: Status::Fail, reason: Code::MetricsMisshapen };
    assert_eq!(judged(|_| ()).status, Status::Pass);
    assert_eq!(judged(|listed| listed[2]["verbs"] = json!(["get"])).status, Status::Pass, "edges are only got");
    let nodes = |listed: &mut Value| {
        let nodes =
            json!({"name": "nodes", "kind": "TrafficMetrics", "namespaced": false, "verbs": ["get", "list", "watch"]});
        listed.as_array_mut().unwrap().push(nodes);
    };
    assert_eq!(judged(nodes).status, Status::Pass);
    let changes: [fn(&mut Value); 7] = [
        |listed| listed[0]["namespaced"] = json!(true),
        |listed| listed[1]["namespaced"] = json!(false),
        |listed| listed[1]["kind"] = json!("Pod"),
        |listed| listed[0]["verbs"] = json!(["list"]),
        |listed| listed[0]["name"] = json!("nodes"),
        |listed| drop(listed.as_array_mut().unwrap().remove(1)),
        |listed| *listed = json!([]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(judged(change), failed, "change {number}");
    }
}
