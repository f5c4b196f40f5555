//! `explain`: what a code means or what an assertion does, offline.

use std::io::{self, Write};

use smi_runner::words::{asked, call, deed, expectation, shown};
use smi_schemas::codes::{Code, Exit};
use smi_schemas::suite::{Assertion, Cell, Class, Expect, NEWEST, Phase, Suite};

use super::CommandError;
use crate::args::Explain;

pub(crate) fn explain(arguments: &Explain) -> Result<Exit, CommandError> {
    let mut out = anstream::stdout().lock();
    let Some(text) = &arguments.what else {
        for code in Code::ALL {
            writeln!(out, "{code:<24}  {}", code.sentence())?;
        }
        return Ok(Exit::Success);
    };
    let (suite, _) = Suite::read(arguments.suite.chosen.bytes)?;
    if let Some(known) = suite.assertions.iter().find(|assertion| assertion.id.as_str() == text) {
        assertion(&mut out, &suite, known)?;
        return Ok(Exit::Success);
    }
    let code: Code = text.parse().map_err(|_| CommandError::CodeUnknown(text.clone()))?;
    writeln!(out, "{code}\n\n  {}", code.sentence())?;
    writeln!(out, "  cause   {}\n  remedy  {}", code.cause(), code.remedy())?;
    Ok(Exit::Success)
}

fn assertion(out: &mut impl Write, suite: &Suite, assertion: &Assertion) -> io::Result<()> {
    let class = match assertion.class {
        Class::Presence => "presence",
        Class::Behaviour => "behaviour",
    };
    writeln!(out, "{}: {}\n\n  {}\n", assertion.id, assertion.title, assertion.requirement)?;
    writeln!(out, "  suite     {}", suite.version)?;
    writeln!(out, "  level     {}, {class}, of the {} API", assertion.level.as_str(), assertion.api)?;
    writeln!(out, "  section   {}", assertion.spec)?;
    for (api, versions) in &assertion.versions {
        let versions: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
        writeln!(out, "  needs     {api} {}", versions.join(", "))?;
    }
    for (number, phase) in assertion.phases.iter().enumerate() {
        writeln!(out, "\n  Phase {} of {}", number + 1, assertion.phases.len())?;
        for action in &phase.actions {
            writeln!(out, "    do        {}", deed(action))?;
        }
        cells(out, suite, phase)?;
    }
    let (version, id) = (&suite.version, &assertion.id);
    let other = if version.as_str() == NEWEST.version { String::new() } else { format!(" --suite {version}") };
    writeln!(out, "\n`smi-runner plan --run {id}{other}` prints the resources.")
}

fn cells(out: &mut impl Write, suite: &Suite, phase: &Phase) -> io::Result<()> {
    let roles = [("control", &phase.controls), ("expect", &phase.expect)];
    for (word, cell) in roles.into_iter().flat_map(|(word, cells)| cells.iter().map(move |cell| (word, cell))) {
        writeln!(out, "    {word:<8}  {}: {}", call(cell), expectation(&cell.expect))?;
    }
    for question in &phase.metrics {
        writeln!(out, "    expect    {}: {}", asked(question), shown(&question.shows))?;
    }
    if phase.probes() {
        let rounds = suite.pace.needed(phase);
        writeln!(out, "    for       {rounds} rounds in a row, within {} s", suite.pace.limit_ms / 1000)?;
    }
    if phase.expect.iter().any(|cell: &Cell| matches!(cell.expect, Expect::Shares(_))) {
        writeln!(out, "    then      the counted answers, once more if they are out of bounds")?;
    }
    Ok(())
}
