//! The draft of suite v1, and what no suite may contain.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use smi_schemas::metrics::Of;
use smi_schemas::smi::{Api, Resource};
use smi_schemas::suite::{Assertion, Class, DRAFT, Fault, Level, Place, Suite, SuiteError, Via};

fn draft() -> Suite {
    Suite::read(DRAFT.bytes).unwrap().0
}

#[test]
fn the_draft_has_every_row() {
    let suite = draft();
    let count = |api, class, level| {
        let of = |assertion: &&Assertion| (assertion.api, assertion.class, assertion.level) == (api, class, level);
        suite.assertions.iter().filter(of).count()
    };
    let counts = |class, level| Api::ALL.map(|api| count(api, class, level));
    assert_eq!(counts(Class::Presence, Level::Core), [2, 3, 2, 0]);
    assert_eq!(counts(Class::Presence, Level::Extended), [2, 3, 1, 2]);
    assert_eq!(counts(Class::Behaviour, Level::Core), [13, 10, 10, 0]);
    assert_eq!(counts(Class::Behaviour, Level::Extended), [13, 11, 13, 5]);
    let informative = suite.assertions.iter().filter(|assertion| assertion.level == Level::Informative);
    let informative: Vec<_> = informative.map(|assertion| assertion.id.as_str()).collect();
    assert_eq!(
        informative,
        [
            "smi.api.release",
            "smi.specs.path-anchor-end",
            "smi.specs.tcp-and-http",
            "smi.specs.unknown-match",
            "smi.split.ab-path-method",
            "smi.split.several-splits",
            "smi.metrics.selector",
            "smi.metrics.aggregate",
            "smi.metrics.split-backend",
            "smi.metrics.rbac",
        ]
    );
}

#[test]
fn what_one_assertion_leaves_behind_cannot_answer_for_the_next() {
    let mut asked = BTreeSet::new();
    for assertion in draft().assertions.iter().filter(|assertion| assertion.api != Api::Split) {
        let cells = assertion.phases.iter().flat_map(|phase| phase.controls.iter().chain(&phase.expect));
        // Connections have nothing by which assertions could be told apart; those begin with a denial of their own.
        let cells = cells.filter(|cell| !cell.path.is_empty());
        let own: BTreeSet<_> = cells
            .map(|cell| (&assertion.shape, cell.from.clone(), cell.to.clone(), cell.path.clone()))
            .map(|(shape, from, to, path)| (shape.clone(), from, to, path))
            .collect();
        for call in own {
            assert!(asked.insert(call.clone()), "{} calls what an earlier assertion called: {call:?}", assertion.id);
        }
        let tail = assertion.id.tail();
        let resources = assertion.phases.iter().flat_map(|phase| &phase.actions).filter_map(|action| action.resource());
        for resource in resources {
            let name = resource.name().as_str();
            assert!(name.starts_with(tail) || name == "roundtrip", "{}: {name}", assertion.id);
            let Resource::HttpRouteGroup(group) = resource else { continue };
            for path in group.matches.iter().filter_map(|matched| matched.path_regex.as_ref()) {
                let own = path.starts_with(&format!("/{tail}")) || path == "/roundtrip/.*";
                assert!(own || (tail == "path-any" && path == ".*"), "{}: {path}", assertion.id);
                assert!(!path.starts_with('^'), "{}: {path} can never match on some meshes", assertion.id);
            }
        }
    }
}

#[test]
fn every_split_begins_with_a_state_that_is_not_the_one_expected() {
    for assertion in draft().assertions.iter().filter(|assertion| assertion.id.as_str().starts_with("smi.split.")) {
        let before = &assertion.phases[0];
        assert!(before.expect.is_empty() && !before.controls.is_empty(), "{}", assertion.id);
    }
}

/// A suite of one assertion that every fault below is put into.
fn sound() -> Value {
    json!({
        "version": "0.1.0-draft",
        "rules": {"window": "window/1", "deny": "deny/1", "shares": "shares/1"},
        "pace": {"limitMs": 60000, "hold": 20, "gate": 5, "settle": 4, "poll": 10},
        "shapes": [{
            "name": "pair",
            "workloads": [
                {"name": "client", "serviceAccount": "client", "labels": {"app": "client"}},
                {"name": "one", "serviceAccount": "web", "labels": {"app": "web"}},
                {"name": "two", "serviceAccount": "web", "labels": {"app": "web"}}
            ],
            "services": [
                {"name": "web", "selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 8080}]},
                {"name": "lines", "selector": {"app": "web"}, "protocol": "tcp", "ports": [{"port": 9, "targetPort": 9}]}
            ],
            "health": [{"from": "one", "to": "one", "via": "loopback", "path": "/health", "expect": "allow"}]
        }],
        "assertions": [{
            "id": "smi.split.sound", "title": "t", "requirement": "r", "spec": "s",
            "api": "split", "class": "behaviour", "level": "core", "shape": "pair",
            "versions": {"split": ["v1alpha4"]},
            "phases": [{
                "actions": [{"apply": {"kind": "TrafficSplit", "name": "s", "service": "web",
                                       "backends": [{"service": "web", "weight": 1}]}}],
                "controls": [{"from": "client", "to": "web", "path": "/a", "expect": {"spread": ["one", "two"]}}],
                "expect": [
                    {"from": "client", "to": "web", "path": "/b", "expect": "deny"},
                    {"from": "client", "to": "web", "path": "/a", "expect": {"shares": {
                        "n": 10, "bounds": [{"workload": "one", "lo": 1, "hi": 9}, {"workload": "two", "lo": 1, "hi": 9}]}}}
                ]
            }]
        }]
    })
}

fn faults(edit: impl FnOnce(&mut Value)) -> Vec<(Place, Fault)> {
    let mut suite = sound();
    edit(&mut suite);
    match Suite::read(&serde_json::to_vec(&suite).unwrap()) {
        Ok(_) => Vec::new(),
        Err(SuiteError::Faults(faults)) => faults,
        other @ Err(_) => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_suite_is_read() {
    Suite::read(&serde_json::to_vec(&sound()).unwrap()).unwrap();
}

#[test]
#[allow(clippy::too_many_lines)] // one line a fault
fn every_contradiction_is_found_with_its_place() {
    type Edit = fn(&mut Value);
    let assertion = "smi.split.sound";
    let (suite, own) = ("suite", "smi.split.sound, phase 1");
    let text = |text: &str| text.to_owned();
    let cases: Vec<(Edit, &str, Fault)> = vec![
        (|s| s["pace"]["hold"] = json!(0), suite, Fault::Pace),
        (|s| s["pace"]["poll"] = json!(u32::MAX), suite, Fault::Pace),
        (|s| s["pace"]["settle"] = json!(1001), suite, Fault::Pace),
        (|s| s["pace"]["limitMs"] = json!(0), suite, Fault::Pace),
        (|s| s["pace"]["limitMs"] = json!(u64::MAX), suite, Fault::Pace),
        (|s| s["shapes"] = json!([s["shapes"][0], s["shapes"][0]]), suite, Fault::Repeated(text("pair"))),
        (
            |s| s["assertions"] = json!([s["assertions"][0], s["assertions"][0]]),
            suite,
            Fault::Repeated(text(assertion)),
        ),
        (|s| s["shapes"][0]["workloads"][0]["name"] = json!("one"), "pair", Fault::Repeated(text("one"))),
        (|s| s["assertions"][0]["shape"] = json!("none"), assertion, Fault::UnknownShape(text("none"))),
        (
            |s| cell(s, 0)["from"] = json!("nobody"),
            "smi.split.sound, phase 1, cell 2",
            Fault::UnknownWorkload(text("nobody")),
        ),
        (
            |s| cell(s, 0)["to"] = json!("nothing"),
            "smi.split.sound, phase 1, cell 2",
            Fault::UnknownService(text("nothing")),
        ),
        (|s| s["shapes"][0]["health"][0]["expect"] = json!("deny"), "pair, cell 1", Fault::UnhealthyHealth),
        (|s| s["shapes"][0]["health"][0]["via"] = json!("pod"), "pair, cell 1", Fault::UnhealthyHealth),
        (|s| s["shapes"][0]["health"][0]["from"] = json!("two"), "pair, cell 1", Fault::LoopbackElsewhere),
        (|s| cell(s, 0)["method"] = json!("*"), "smi.split.sound, phase 1, cell 2", Fault::AnyMethod),
        (|s| cell(s, 0)["path"] = json!("b"), "smi.split.sound, phase 1, cell 2", Fault::BadPath),
        (|s| cell(s, 0)["path"] = json!("/b c"), "smi.split.sound, phase 1, cell 2", Fault::BadPath),
        (|s| cell(s, 0)["port"] = json!(8081), "smi.split.sound, phase 1, cell 2", Fault::UnknownPort),
        (|s| cell(s, 0)["to"] = json!("lines"), "smi.split.sound, phase 1, cell 2", Fault::NoHttp),
        (|s| s["shapes"][0]["services"][0]["ports"] = json!([]), "pair, Service web", Fault::BadPorts),
        (|s| s["shapes"][0]["services"][0]["ports"][0]["targetPort"] = json!(0), "pair, Service web", Fault::BadPorts),
        (
            |s| s["shapes"][0]["workloads"][0]["absent"] = json!(true),
            "smi.split.sound, phase 1, cell 1",
            Fault::NotRunning(text("client")),
        ),
        (|s| act(s, json!({"restart": "nobody"})), own, Fault::UnknownWorkload(text("nobody"))),
        (|s| act(s, json!({"scale": {"workload": "one", "replicas": 1}})), own, Fault::NotScalable(text("one"))),
        (
            |s| {
                s["shapes"][0]["workloads"][2]["absent"] = json!(true);
                act(s, json!({"scale": {"workload": "two", "replicas": 2}}));
            },
            own,
            Fault::NotScalable(text("two")),
        ),
        (
            |s| {
                s["shapes"][0]["workloads"][2]["absent"] = json!(true);
                act(s, json!({"restart": "two"}));
            },
            own,
            Fault::NotRunning(text("two")),
        ),
        (
            |s| {
                let resource = s["assertions"][0]["phases"][0]["actions"][0]["apply"].clone();
                act(s, json!({"refuse": {"flaw": "unnamed-match", "resource": resource}}));
            },
            own,
            Fault::OtherFlaw(smi_schemas::smi::Kind::TrafficSplit),
        ),
        (
            |s| cell(s, 0)["expect"] = json!({"only": "client"}),
            "smi.split.sound, phase 1, cell 2",
            Fault::NoDestination(text("client")),
        ),
        (
            |s| cell(s, 0)["expect"] = json!({"spread": ["one"]}),
            "smi.split.sound, phase 1, cell 2",
            Fault::NarrowSpread,
        ),
        (|s| cell(s, 1)["expect"]["shares"]["n"] = json!(0), "smi.split.sound, phase 1, cell 3", Fault::BadShares),
        (
            |s| cell(s, 1)["expect"]["shares"]["bounds"][0]["lo"] = json!(10),
            "smi.split.sound, phase 1, cell 3",
            Fault::BadShares,
        ),
        (
            |s| cell(s, 1)["expect"]["shares"]["bounds"][0]["hi"] = json!(11),
            "smi.split.sound, phase 1, cell 3",
            Fault::BadShares,
        ),
        (
            |s| cell(s, 1)["expect"]["shares"]["bounds"][1]["workload"] = json!("one"),
            "smi.split.sound, phase 1, cell 3",
            Fault::BadShares,
        ),
        (|s| cell(s, 1)["expect"]["shares"]["n"] = json!(19), "smi.split.sound, phase 1, cell 3", Fault::BadShares),
        (
            |s| s["assertions"][0]["phases"][0]["controls"][0]["expect"] = json!("allow"),
            "smi.split.sound, phase 1, cell 3",
            Fault::SharesBlind,
        ),
        (|s| s["assertions"][0]["class"] = json!("presence"), assertion, Fault::WrongClass),
        (
            |s| {
                s["assertions"][0]["phases"][0].as_object_mut().unwrap().remove("expect");
            },
            assertion,
            Fault::NothingAsserted,
        ),
        (|s| s["assertions"][0]["phases"][0] = json!({}), own, Fault::EmptyPhase),
        (
            |s| s["assertions"][0]["phases"][0]["controls"][0]["to"] = json!("nothing"),
            "smi.split.sound, phase 1, cell 2",
            Fault::DenyWithoutControl,
        ),
        (
            |s| s["assertions"][0]["versions"] = json!({"access": ["v1alpha3"]}),
            assertion,
            Fault::WrongVersions { uses: [Api::Split].into(), given: [Api::Access].into() },
        ),
        (|s| s["assertions"][0]["versions"]["split"] = json!([]), assertion, Fault::NoVersion(Api::Split)),
        (|s| repeat_action(s, "apply"), own, Fault::AlreadyThere(smi_schemas::smi::Kind::TrafficSplit, text("s"))),
        (|s| rename_action(s, "update"), own, Fault::NotThere(smi_schemas::smi::Kind::TrafficSplit, text("s"))),
        (
            |s| s["assertions"][0]["phases"][0]["actions"] = json!([{"delete": {"kind": "TrafficSplit", "name": "s"}}]),
            own,
            Fault::NotThere(smi_schemas::smi::Kind::TrafficSplit, text("s")),
        ),
        (
            |s| s["assertions"][0]["phases"][0]["actions"][0]["apply"]["backends"][0]["weight"] = json!(0),
            own,
            Fault::ZeroWeight(text("s")),
        ),
    ];
    for (edit, place, fault) in cases {
        let found = faults(edit);
        assert!(
            found.iter().any(|(at, what)| at.to_string() == place && *what == fault),
            "{place}: {fault}\nfound {found:?}"
        );
    }
}

fn cell(suite: &mut Value, index: usize) -> &mut Value {
    &mut suite["assertions"][0]["phases"][0]["expect"][index]
}

fn act(suite: &mut Value, action: Value) {
    suite["assertions"][0]["phases"][0]["actions"].as_array_mut().unwrap().push(action);
}

fn repeat_action(suite: &mut Value, word: &str) {
    let actions = &mut suite["assertions"][0]["phases"][0]["actions"];
    let again = json!({ word: actions[0]["apply"] });
    actions.as_array_mut().unwrap().push(again);
}

fn rename_action(suite: &mut Value, word: &str) {
    let actions = &mut suite["assertions"][0]["phases"][0]["actions"];
    *actions = json!([{ word: actions[0]["apply"] }]);
}

#[test]
fn a_regular_expression_that_explodes_is_refused_with_its_place() {
    for expression in ["((a{100}){100}){100}", "/a(", "(a)\\1"] {
        let found = faults(|s| {
            let matches = json!([{"name": "a", "pathRegex": "/a", "headers": {"x-a": expression}}]);
            act(s, json!({"apply": {"kind": "HTTPRouteGroup", "name": "g", "matches": matches}}));
            s["assertions"][0]["versions"]["specs"] = json!(["v1alpha4"]);
        });
        let [(place, Fault::BadRegex { expression: named, reason })] = &found[..] else { panic!("{found:?}") };
        assert_eq!((place.to_string().as_str(), named.as_str()), ("smi.split.sound, phase 1", expression));
        assert!(!reason.is_empty());
    }
}

#[test]
fn a_suite_that_is_too_large_is_refused_unread() {
    let huge = vec![b' '; 10 * 1024 * 1024];
    assert!(matches!(Suite::read(&huge), Err(SuiteError::Json(smi_schemas::json::JsonError::TooLarge { .. }))));
}

#[test]
fn unknown_words_are_refused() {
    for (from, to) in [
        ("\"deny\":\"deny/1\"", "\"deny\":\"deny/2\""),
        ("\"apply\"", "\"exec\""),
        ("\"level\":\"core\"", "\"level\":\"core\",\"weight\":1"),
        ("\"expect\":\"deny\"", "\"expect\":\"maybe\""),
        ("\"kind\":\"TrafficSplit\"", "\"kind\":\"TrafficMirror\""),
        ("\"version\":\"0.1.0-draft\"", "\"version\":\"0.1.0 draft\""),
    ] {
        let text = serde_json::to_string(&sound()).unwrap();
        assert!(text.contains(from), "{from}");
        let edited = text.replacen(from, to, 1);
        assert!(matches!(Suite::read(edited.as_bytes()), Err(SuiteError::Json(_))), "{to}");
    }
}

#[test]
fn loopback_is_only_for_health() {
    for assertion in draft().assertions {
        let cells = assertion.phases.iter().flat_map(|phase| phase.controls.iter().chain(&phase.expect));
        assert!(cells.into_iter().all(|cell| cell.via != Via::Loopback), "{}", assertion.id);
    }
}

/// What is asked of the metrics API, of whom, and beside which requests.
#[test]
fn questions_that_cannot_be_asked_are_found() {
    let asking = |question: Value, edit: fn(&mut Value)| {
        faults(|s| {
            s["rules"]["metrics"] = json!("metrics/1");
            let assertion = &mut s["assertions"][0];
            assertion["versions"]["metrics"] = json!(["v1alpha1"]);
            assertion["phases"][0]["metrics"] = json!([question]);
            edit(s);
        })
    };
    let sound = json!({"of": {"pod": "client"}, "shows": "object"});
    assert_eq!(asking(sound.clone(), |_| ()), []);
    let found = |question: Value, edit: fn(&mut Value)| {
        asking(question, edit).into_iter().map(|(place, fault)| (place.to_string(), fault)).collect::<Vec<_>>()
    };
    let here = |fault| vec![("smi.split.sound, phase 1".to_owned(), fault)];
    let without_rule = found(sound.clone(), |s| drop(s["rules"].as_object_mut().unwrap().remove("metrics")));
    assert_eq!(without_rule, [("suite".to_owned(), Fault::NoMetricsRule)]);
    let silent = found(sound, |s| {
        let phase = s["assertions"][0]["phases"][0].as_object_mut().unwrap();
        phase.remove("controls");
        phase.remove("expect");
    });
    assert!(silent.contains(&here(Fault::NothingToCount)[0]), "{silent:?}");

    let client = || Of::Pod("client".parse().unwrap());
    for (question, of) in [
        (json!({"of": "pods", "shows": "object"}), Of::Pods),
        (json!({"of": {"pod": "client"}, "edges": true, "shows": "names"}), client()),
        (json!({"of": {"pod": "client"}, "shows": {"includes": ["client"]}}), client()),
        (json!({"of": {"pod": "client"}, "shows": {"edges": {"from": [], "to": []}}}), client()),
        (json!({"of": "pods", "shows": "sum"}), Of::Pods),
        (json!({"of": "namespace", "shows": {"backends": {"apex": "web", "weights": {}}}}), Of::Namespace),
        (json!({"of": {"pod": "client"}, "labels": {"app": "client"}, "shows": "object"}), client()),
        (json!({"of": {"pod": "client"}, "shows": "denied"}), client()),
    ] {
        assert_eq!(found(question.clone(), |_| ()), here(Fault::OtherQuestion(of)), "{question}");
    }
    for (lo, hi) in [(6, 5), (0, 101)] {
        let question = json!({"of": {"pod": "client"}, "shows": {"failures": {"lo": lo, "hi": hi}}});
        assert_eq!(found(question, |_| ()), here(Fault::BadPercent));
    }
    for question in [
        json!({"of": {"pod": "nobody"}, "shows": "object"}),
        json!({"of": "pods", "shows": {"only": ["nobody"]}}),
        json!({"of": {"pod": "client"}, "edges": true, "shows": {"edges": {"from": ["nobody"], "to": []}}}),
    ] {
        assert_eq!(found(question, |_| ()), here(Fault::UnknownWorkload("nobody".to_owned())));
    }
    for backends in [json!({"apex": "nothing", "weights": {}}), json!({"apex": "web", "weights": {"nothing": 1}})] {
        let question = json!({"of": {"split": "s"}, "shows": {"backends": backends}});
        assert_eq!(found(question, |_| ()), here(Fault::UnknownService("nothing".to_owned())));
    }
}
