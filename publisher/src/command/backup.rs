//! `backup` and `restore`: a log copied from what is served, and brought back.

use std::io::Write as _;

use smi_publisher::backup::{self, BackedUp, checkpoint_of, store_of};
use smi_publisher::cell::{Cell as _, FileCell};
use smi_publisher::log::agrees;
use smi_publisher::recover::Recovered;
use smi_publisher::store::{Mark, SledStore, Store as _};
use smi_schemas::codes::Exit;
use smi_verifier::policy::Suites;
use smi_verifier::receipt::log_key;

use super::check::checked;
use super::{CommandError, now};
use crate::args;

pub(crate) fn backup(arguments: &args::Backup) -> Result<Exit, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let copying = backup::backup(&arguments.from, &arguments.to, Suites::builtin()?, now());
    let BackedUp { checkpoint, new, first } = runtime.block_on(copying)?;
    let mut err = anstream::stderr().lock();
    writeln!(err, "log       {}, whose first keyring is {first}", checkpoint.origin())?;
    writeln!(err, "backup    {}: {} entries, {new} of them new", arguments.to.display(), checkpoint.size())?;
    writeln!(err, "root      {}", checkpoint.root().to_base64())?;
    Ok(Exit::Success)
}

pub(crate) fn restore(arguments: &args::Restore) -> Result<Exit, CommandError> {
    let (data, cell) = (&arguments.data, arguments.cell());
    let from = store_of(&arguments.from);
    let Some(mark) = Mark::of(&from)? else { return Err(CommandError::NoBackup(arguments.from.clone())) };
    let backup = SledStore::open(&from, mark)?;
    let admitted = (mark.demonstration, mark.demonstration);
    checked(&backup, &from, &checkpoint_of(&arguments.from), admitted)?;

    // Before anything is written: whether it has everything that was signed.
    let recovered = Recovered::read(&backup, 0)?;
    let log = recovered.ledger.trusted().and_then(|trusted| log_key(&trusted.keyring));
    let log = log.ok_or_else(|| CommandError::NoBackup(arguments.from.clone()))?;
    agrees(&recovered.tree, FileCell::new(&cell).load()?.as_deref(), &log)?;

    let store = SledStore::open(data, mark)?;
    // A crash from here on leaves a part of the backup, with which nothing starts.
    let new = backup::restore(&backup, &store)?;
    checked(&store, data, &cell, admitted)?;
    let mut err = anstream::stderr().lock();
    writeln!(err, "restored  {}: {} entries, {new} of them new", data.display(), store.head()?)?;
    Ok(Exit::Success)
}
