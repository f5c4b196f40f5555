//! The suite as a page: every assertion with its exact procedure, from the data and nothing else.

use std::fmt::Write as _;

use smi_runner::words::{asked, call, deed, expectation, shown};
use smi_schemas::Digest;
use smi_schemas::suite::{Assertion, Class, Phase, Protocol, Service, Shape, Suite, Workload};
use smi_verifier::judge::{LOST_PER_BATCH, MAX_ATTEMPTS, MAX_SKEW_MS};

use crate::shares::{CAUGHT, Check, FALSE_FAILURE, checks};

/// What the programme's first suite called things, and what covers them here. It had 24 steps; those that only made
/// workloads ready have no row of their own.
pub const FORMERLY: [(&str, &str); 12] = [
    ("TA-1.1.1", "smi.api.traffictarget"),
    ("TA-1.2.1", "smi.access.default-deny"),
    ("TA-1.2.2", "smi.specs.tcp-all-ports"),
    ("TA-1.2.3", "smi.access.allow-listed-source"),
    ("TA-1.2.4, TA-1.2.5", "smi.access.revoke-on-delete"),
    ("TS-1.1.1", "smi.api.trafficsplit"),
    ("TS-1.2.2, TS-1.2.3", "smi.split.all-first"),
    ("TS-1.2.4, TS-1.2.5", "smi.split.all-second"),
    ("TS-1.2.6 to TS-1.2.9", "smi.split.weights-90-10"),
    ("TSC-1.1.1", "smi.api.httproutegroup"),
    ("TSC-1.2.1, TSC-1.2.2", "smi.specs.path-literal"),
    ("TSC-1.2.3, TSC-1.2.4", "smi.specs.method-single"),
];

/// The page of a suite.
pub fn page(suite: &Suite, digest: &Digest) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut page, suite, digest);
    page
}

fn head(page: &mut String, suite: &Suite, digest: &Digest) -> std::fmt::Result {
    let how = &suite.pace;
    writeln!(page, "# Suite {}\n\n`{digest}`\n", suite.version)?;
    page.push_str(
        "Written from the suite's data by a test that holds this page; `smi-runner explain ID` prints a part of it.\n",
    );
    writeln!(page, "\n## How an assertion is put to a mesh\n")?;
    writeln!(
        page,
        "Phase after phase: the actions are done, then all cells of the phase are probed in rounds until they agree, for at most \
         {} s. {} rounds more let the mesh settle, and then {} in a row must agree, {} where a phase has controls only. In a round a \
         cell that must be allowed is one request, any other {}, each over a connection of its own. A control that does not \
         hold makes the assertion inconclusive; an expectation that does not, beside healthy controls, fails it; a denial \
         that is broken in the middle of a hold fails it at once. The health of the workloads, by loopback and outside the \
         mesh, is a control of every phase. The first phase that is not met ends the assertion. A fault of the harness is \
         tried {MAX_ATTEMPTS} times.",
        how.limit_ms / 1000,
        how.settle,
        how.hold,
        how.gate,
        how.poll
    )?;
    let sampled = checks(suite).into_iter().filter(Check::is_sampled).count();
    writeln!(
        page,
        "\nShares are drawn after the hold: a batch of n answers, for which at most one request in {LOST_PER_BATCH} may be lost, and \
         once more when a count lies outside its bounds. A mesh that divides at random exactly by weight fails any of the \
         {sampled} share checks of a run with a chance of at most {FALSE_FAILURE:e}; one that is off by 5 points of a hundred (for \
         nine to one, two to one and halves, else 10) is caught with a chance of at least {CAUGHT}. All or nothing is an exact count."
    )?;
    writeln!(
        page,
        "\nThe metrics API is asked in every round, beside the cells whose requests it is to have counted, and its answers in the \
         last round are judged; clocks may differ by {} s.",
        MAX_SKEW_MS / 1000
    )?;
    writeln!(page, "\n## Assertions\n\n| | | |\n|---|---|---|")?;
    for assertion in &suite.assertions {
        let of = format!("{}, {}", assertion.api, assertion.level.as_str());
        writeln!(page, "| [`{}`](#{}) | {of} | {} |", assertion.id, anchor(assertion), assertion.title)?;
    }
    writeln!(page, "\n## What the first suite called them\n\n| | |\n|---|---|")?;
    for (formerly, now) in FORMERLY {
        writeln!(page, "| {formerly} | `{now}` |")?;
    }
    writeln!(page, "\nTS-1.2.1, a Service without a split, is a control of every assertion on splits.")?;
    writeln!(page, "\n## Workloads")?;
    for shape in &suite.shapes {
        self::shape(page, shape)?;
    }
    writeln!(page, "\n## Procedures")?;
    suite.assertions.iter().try_for_each(|assertion| procedure(page, assertion))
}

fn shape(page: &mut String, shape: &Shape) -> std::fmt::Result {
    writeln!(page, "\n### Shape {}\n\n| Workload | ServiceAccount | Labels | |\n|---|---|---|---|", shape.name)?;
    for workload in &shape.workloads {
        let Workload { name, namespace, service_account, labels, outside, absent, .. } = workload;
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let other = *namespace == smi_schemas::smi::Namespace::Other;
        let marks = [(other, "in the other namespace"), (*outside, "outside the mesh"), (*absent, "started later")];
        let marks: Vec<&str> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        writeln!(page, "| {name} | {service_account} | {} | {} |", labels.join(", "), marks.join(", "))?;
    }
    writeln!(page, "\n| Service | Workloads | Ports |\n|---|---|---|")?;
    for service in &shape.services {
        let behind: Vec<&str> = shape.selected(service).map(|workload| workload.name.as_str()).collect();
        writeln!(page, "| {} | {} | {} |", service.name, behind.join(", "), ports(service))?;
    }
    Ok(())
}

fn ports(service: &Service) -> String {
    let protocol = match service.protocol {
        Protocol::Http => "HTTP/1.1",
        Protocol::H2c => "HTTP/2",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let ports = service.ports.iter().map(|port| match (port.port, port.target_port) {
        (port, target) if port == target => format!("{port}"),
        (port, target) => format!("{port} to {target}"),
    });
    format!("{protocol} {}", ports.collect::<Vec<_>>().join(", "))
}

fn procedure(page: &mut String, assertion: &Assertion) -> std::fmt::Result {
    let class = match assertion.class {
        Class::Presence => "presence",
        Class::Behaviour => "behaviour",
    };
    writeln!(page, "\n### {}\n\n{}\n", assertion.id, assertion.requirement)?;
    writeln!(page, "- {}, {class}, of the {} API; {}", assertion.level.as_str(), assertion.api, assertion.spec)?;
    for (api, versions) in &assertion.versions {
        let versions: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
        writeln!(page, "- {api} {}", versions.join(", "))?;
    }
    if let Some(shape) = &assertion.shape {
        writeln!(page, "- shape {shape}{}", if assertion.alone { ", alone, when all others are done" } else { "" })?;
    }
    assertion.phases.iter().enumerate().try_for_each(|(number, phase)| self::phase(page, number + 1, phase))
}

fn phase(page: &mut String, number: usize, phase: &Phase) -> std::fmt::Result {
    writeln!(page, "\nPhase {number}:\n")?;
    for action in &phase.actions {
        match action.resource().map(serde_json::to_string) {
            Some(Ok(resource)) => writeln!(page, "- {}: `{resource}`", deed(action))?,
            _ => writeln!(page, "- {}", deed(action))?,
        }
    }
    for (word, cells) in [("control", &phase.controls), ("expected", &phase.expect)] {
        for cell in cells {
            writeln!(page, "- {word}: {}: {}", call(cell), expectation(&cell.expect))?;
        }
    }
    for question in &phase.metrics {
        writeln!(page, "- expected: {}: {}", asked(question), shown(&question.shows))?;
    }
    Ok(())
}

/// As Markdown makes anchors of headings.
fn anchor(assertion: &Assertion) -> String {
    assertion.id.as_str().replace('.', "")
}
