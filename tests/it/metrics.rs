//! What readings of the metrics API show, and what they do not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use smi_schemas::codes::Code;
use smi_schemas::metrics::{Listed, Listing, MAX_ITEMS, MAX_RESOURCES, MAX_VERBS, Question, Reading};
use smi_schemas::names::Word;
use smi_schemas::report::{ActionResult, Observations, Phase, Status};
use smi_schemas::smi::{Api, ApiVersion};
use smi_schemas::statement::Filters;
use smi_schemas::suite::{DRAFT, Suite};
use smi_tests::simulate::{self, ideal_reading, ideal_resources};
use smi_verifier::judge::{Context, Judgement, Malformed, judge, shows};

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

/// Questions; changes after which the ideal reading no longer shows what it must; and changes after which it still
/// does.
const CASES: &str = r#"[
  [{"of": {"pod": "server"}, "shows": "object"},
   {"/http": [404], "/list": [{"kind": "Pod"}], "/items": [[]], "/items/0/resource": [null],
    "/items/0/resource/name": ["client"], "/items/0/resource/kind": ["Deployment"], "/items/0/resource/namespace": ["other"]},
   {"/items/0/success": [null]}],
  [{"of": "pods", "shows": {"includes": ["server"]}},
   {"/list": [null], "/list/kind": ["Service"], "/list/name": ["server"], "/list/foreign": [true], "/items": [[]],
    "/items/0/resource": [null], "/items/0/resource/name": ["client"]},
   {}],
  [{"of": "pods", "labels": {"app": "server"}, "shows": {"only": ["server"]}},
   {"/items/0/resource/name": ["client"], "/http": [403]},
   {}],
  [{"of": {"pod": "server"}, "shows": "names"},
   {"/items/0/p90Us": [null], "/items/0/p50Us": [901], "/items/0/p99Us": [899], "/items/0/success": [null],
    "/items/0/failure": [null], "/items/0/others": [1]},
   {"/items/0/p99Us": [5000], "/items/0/p50Us": [900]}],
  [{"of": {"pod": "server"}, "shows": {"failures": {"lo": 40, "hi": 60}}},
   {"/items/0/failure": [39, 91, null], "/items/0/success": [0, null]},
   {"/items/0/failure": [40, 90]}],
  [{"of": {"pod": "server"}, "shows": {"failures": {"lo": 0, "hi": 10}}},
   {"/items/0/success": [0], "/items/0/failure": [12]},
   {"/items/0/failure": [11]}],
  [{"of": {"pod": "server"}, "shows": "fresh"},
   {"/items/0/ageMs": [90001, -30001, null], "/items/0/windowMs": [null, 0]},
   {"/items/0/ageMs": [90000, -30000]}],
  [{"of": {"pod": "server"}, "edges": true, "shows": {"edges": {"from": ["client"], "to": ["other"]}}},
   {"/list": [null], "/list/kind": ["Service"], "/list/foreign": [true], "/items": [[]], "/items/0/edge": [null],
    "/items/0/resource": [null], "/items/0/resource/name": ["client"], "/items/0/edge/direction": [null, "to"],
    "/items/0/edge/side": [null], "/items/0/edge/resource": [null], "/items/0/edge/resource/name": ["idle"]},
   {"/items/0/success": [0], "/items/0/edge/side": ["client"]}],
  [{"of": "namespace", "shows": "sum"},
   {"/items": [[]], "/items/0/success": [100], "/items/0/resource/kind": ["Pod"], "/items/1/success": [12],
    "/items/1/failure": [null]},
   {"/items/1/success": [30, 20]}],
  [{"of": {"split": "a"}, "shows": {"backends": {"apex": "web", "weights": {"v1": 90, "v2": 10}}}},
   {"/items": [[]], "/items/0/backend": [null], "/items/0/backend/apex": ["v1"], "/items/0/backend/weight": [80], "/items/0/backend/name": ["v2"]},
   {}],
  [{"of": {"pod": "server"}, "restricted": true, "shows": "denied"},
   {"/http": [200, 404]},
   {}]
]"#;

#[test]
fn each_deviation_of_a_reading_is_seen() {
    type Changes = BTreeMap<String, Vec<Value>>;
    let cases: Vec<(Question, Changes, Changes)> = serde_json::from_str(CASES).unwrap();
    for (asked, wrong, right) in cases {
        assert!(shown(&asked, |_| ()), "{asked:?}");
        for (changes, still) in [(wrong, false), (right, true)] {
            for (at, value) in changes.iter().flat_map(|(at, values)| values.iter().map(move |value| (at, value))) {
                let (parent, field) = at.rsplit_once('/').unwrap();
                let change = |reading: &mut Value| reading.pointer_mut(parent).unwrap()[field] = value.clone();
                assert_eq!(shown(&asked, change), still, "{asked:?} {at} {value}");
            }
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
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    let discovery = suite.assertions.iter().find(|assertion| assertion.id.as_str() == "smi.metrics.discovery").unwrap();
    let (apis, absent) = ([(Api::Metrics, ApiVersion::V1alpha1)].into(), [].into());
    let filters = Filters::default();
    let context =
        Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms: None, interrupted: false };
    let judged = |change: fn(&mut Value)| {
        let mut listed = serde_json::to_value(ideal_resources()).unwrap();
        change(&mut listed);
        let resources = serde_json::from_value(listed).unwrap();
        let actions = vec![ActionResult::Resources(Listing { http: 200, resources })];
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

/// A report has one reading for each question, and no more in it than is ever transcribed.
#[test]
fn readings_are_as_many_as_questions_and_bounded() {
    let (suite, _) = Suite::read(DRAFT.bytes).unwrap();
    let (apis, absent) = ([(Api::Metrics, ApiVersion::V1alpha1)].into(), [].into());
    let filters = Filters::default();
    let context =
        Context { suite: &suite, apis: &apis, absent: &absent, filters: &filters, limit_ms: None, interrupted: false };
    let results = simulate::results(&context, &simulate::ideal);
    let judged = |id: &str, change: fn(&mut Phase)| {
        let place = suite.assertions.iter().position(|assertion| assertion.id.as_str() == id).unwrap();
        let mut observations = results[place].observations.clone().unwrap();
        change(&mut observations.phases[0]);
        judge(&context, &suite.assertions[place], Some(&observations)).map(|judgement| judgement.status)
    };
    let readings = |change: fn(&mut Phase)| judged("smi.metrics.list-get", change);
    assert_eq!(readings(|_| ()), Ok(Status::Pass));
    let missing = readings(|phase| drop(phase.window.as_mut().unwrap().metrics.pop()));
    assert_eq!(missing, Err(Malformed::Missing { what: "a reading" }));
    let extra = readings(|phase| phase.window.as_mut().unwrap().metrics.push(Reading::default()));
    assert_eq!(extra, Err(Malformed::Extra { what: "a reading" }));
    let too_early = Malformed::Contradiction { what: "a window ended before it was met and before the limit" };
    assert_eq!(readings(|phase| phase.window.as_mut().unwrap().metrics[0].http = 500), Err(too_early));
    assert_eq!(readings(|phase| repeated(phase, MAX_ITEMS)), Err(too_early));
    assert_eq!(
        readings(|phase| repeated(phase, MAX_ITEMS + 1)),
        Err(Malformed::Extra { what: "an item of a reading" })
    );

    let discovery = |change: fn(&mut Vec<Listed>)| {
        let mut listed = ideal_resources();
        change(&mut listed);
        let phases = vec![Phase {
            actions: vec![ActionResult::Resources(Listing { http: 200, resources: listed })],
            window: None,
        }];
        let place = suite.assertions.iter().position(|assertion| assertion.id.as_str() == "smi.metrics.discovery");
        judge(&context, &suite.assertions[place.unwrap()], Some(&Observations { phases, fault: None }))
    };
    let extra = Err(Malformed::Extra { what: "a resource of the metrics API" });
    assert!(discovery(|listed| listed.extend(vec![listed[1].clone(); MAX_RESOURCES - 3])).is_ok());
    assert_eq!(discovery(|listed| listed.extend(vec![listed[1].clone(); MAX_RESOURCES])), extra);
    assert!(discovery(|listed| listed[2].verbs = verbs(MAX_VERBS)).is_ok());
    assert_eq!(discovery(|listed| listed[2].verbs = verbs(MAX_VERBS + 1)), extra);
}

fn repeated(phase: &mut Phase, items: usize) {
    let reading = &mut phase.window.as_mut().unwrap().metrics[0];
    reading.items = vec![reading.items[0].clone(); items];
}

fn verbs(count: usize) -> BTreeSet<Word> {
    (0..count).map(|number| Word::of(&format!("verb-{number}"))).collect()
}
