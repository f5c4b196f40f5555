//! `plan`: what a run would apply and probe, as YAML with comments, touching nothing.

use std::io::{self, Write};

use smi_runner::kubernetes::dialect::{Dialect, Namespaces};
use smi_runner::plan::Plan;
use smi_runner::words::{asked, call, deed, expectation, shown};
use smi_schemas::codes::Exit;
use smi_schemas::suite::{Action, Assertion, Cell, Flawed};

use super::{CommandError, planned};
use crate::args;

pub(crate) fn plan(arguments: &args::Plan) -> Result<Exit, CommandError> {
    let plan = planned(&arguments.choice, None)?;
    let mut out = anstream::stdout().lock();
    let apis: Vec<String> = plan.apis.iter().map(|(api, version)| format!("{api} {version}")).collect();
    writeln!(out, "# suite {}, {}", plan.suite.version, plan.digest)?;
    writeln!(out, "# {}", apis.join(", "))?;
    writeln!(out, "# A run has namespaces of its own; here they are called main and other.")?;
    for assertion in plan.executed() {
        print(&mut out, &plan, assertion)?;
    }
    Ok(Exit::Success)
}

fn print(out: &mut impl Write, plan: &Plan, assertion: &Assertion) -> io::Result<()> {
    writeln!(out, "---\n# {}\n# {}", assertion.id, assertion.requirement)?;
    for (number, phase) in assertion.phases.iter().enumerate() {
        writeln!(out, "---\n# {}, phase {} of {}", assertion.id, number + 1, assertion.phases.len())?;
        for action in &phase.actions {
            print_action(out, plan, action)?;
        }
        print_cells(out, "control", &phase.controls)?;
        print_cells(out, "expect", &phase.expect)?;
        for question in &phase.metrics {
            writeln!(out, "# expect: {}: {}", asked(question), shown(&question.shows))?;
        }
    }
    Ok(())
}

fn print_action(out: &mut impl Write, plan: &Plan, action: &Action) -> io::Result<()> {
    let word = deed(action);
    let namespaces = Namespaces::default();
    let dialect = Dialect { apis: plan.apis.clone(), ..Dialect::default() };
    let mut object = action.resource().and_then(|resource| dialect.write(resource, &namespaces));
    if let (Some(object), Action::Refuse(Flawed { flaw, .. })) = (&mut object, action) {
        dialect.spoil(object, *flaw);
    }
    match object {
        None => writeln!(out, "# {word}"),
        Some(object) => {
            let text = serde_yaml_ng::to_string(&object).map_err(io::Error::other)?;
            write!(out, "---\n# {word}\n{text}")
        }
    }
}

fn print_cells(out: &mut impl Write, word: &str, cells: &[Cell]) -> io::Result<()> {
    for cell in cells {
        writeln!(out, "# {word}: {}: {}", call(cell), expectation(&cell.expect))?;
    }
    Ok(())
}
