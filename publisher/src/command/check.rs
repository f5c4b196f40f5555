//! `check`: computes a whole store again from its bundles, and holds it against the last checkpoint.
//!
//! It needs no key and asks nobody, and the publisher must not run: it has its store to itself.

use std::io::Write as _;
use std::path::Path;

use smi_publisher::admission::policy;
use smi_publisher::cell::{Cell as _, FileCell};
use smi_publisher::log::agrees;
use smi_publisher::replay::{self, Checked, Counts};
use smi_publisher::store::{Mark, SledStore, Store};
use smi_schemas::codes::Exit;
use smi_verifier::policy::Suites;
use smi_verifier::receipt::log_key;

use super::{CommandError, now};
use crate::args;

pub(crate) fn check(arguments: &args::Check) -> Result<Exit, CommandError> {
    let directory = &arguments.directory;
    let Some(mark) = Mark::of(&directory.data)? else { return Err(CommandError::Empty(directory.data.clone())) };
    let asked = Mark { demonstration: directory.demonstration() || mark.demonstration };
    let store = SledStore::open(&directory.data, asked)?;
    // Without flags, whatever a demonstration admits.
    let every = mark.demonstration && !directory.demonstration();
    let admitted = (every || directory.allow_sandbox, every || directory.allow_draft);
    checked(&store, &directory.data, &directory.cell(), admitted)?;
    Ok(Exit::Success)
}

/// Checks a store in a folder, with sandbox results and drafts or without, against a cell, and says what it holds.
pub(crate) fn checked(
    store: &dyn Store,
    data: &Path,
    cell: &Path,
    (allow_sandbox, allow_draft): (bool, bool),
) -> Result<(), CommandError> {
    let policy = policy(Suites::builtin()?, allow_sandbox, allow_draft);
    let Checked { replay, counts } = replay::check(store, policy, now())?;
    let trusted = replay.ledger().trusted();
    let named = trusted.and_then(|trusted| Some((trusted, log_key(&trusted.keyring)?)));
    let Some((trusted, log)) = named else { return Err(CommandError::Empty(data.to_owned())) };
    let tree = replay.tree();
    let signed = agrees(tree, FileCell::new(cell).load()?.as_deref(), &log)?;

    let Counts { results, suites, keyrings, reviews, withdrawals, supersessions } = counts;
    let mut out = anstream::stdout().lock();
    writeln!(out, "log       {}, in {}", log.name(), data.display())?;
    writeln!(out, "keyring   version {}, {}", trusted.keyring.version(), trusted.digest)?;
    writeln!(
        out,
        "entries   {}: {results} results, {suites} suites, {keyrings} keyrings, {reviews} reviews, {withdrawals} \
         withdrawals, {supersessions} supersessions",
        tree.size()
    )?;
    writeln!(out, "root      {}", tree.root().to_base64())?;
    writeln!(out, "signed    {signed} entries, in {}", cell.display())?;
    writeln!(out, "checked   every entry follows from its bundle, and the tree contains the one that was signed")?;
    Ok(())
}
