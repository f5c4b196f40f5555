//! The folder that a store lies in, and the mark that says what it is.
//!
//! The mark is the file `store`, three lines:
//!
//! ```text
//! smi-publisher store
//! format 3
//! official
//! ```
//!
//! The second line changes when what is on disk can no longer be read by an older publisher. The third is `official`
//! or `demonstration`; it is written once and never changed, so that results of a sandbox can never become official
//! ones, nor stand among them.
//!
//! Creating a store begins with the mark under the name `store.new` and ends with its renaming. Where a crash left
//! `store.new` and no `store`, nothing was ever acknowledged, and creation begins anew.
//!
//! Whoever has a [`Folder`] is the only process that has it.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use smi_schemas::codes::Code;

use super::{Cause, Damage};

/// The format that is written and read.
pub const FORMAT: u64 = 3;

const MARK: &str = "store";
const NEW_MARK: &str = "store.new";
const TITLE: &str = "smi-publisher store\n";
const OFFICIAL: &str = "official\n";
const DEMONSTRATION: &str = "demonstration\n";

/// Bytes that are read of a mark: more than any has.
const MAX_MARK_BYTES: u64 = 256;

/// What a store is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether its entries may come from sandboxes and drafts.
    pub demonstration: bool,
}

impl Mark {
    /// What the store in a folder is; none where there is nothing, or what a crash left of creating one. It locks
    /// nothing and makes nothing.
    pub fn of(folder: &Path) -> Result<Option<Self>, OpenError> {
        let unusable = |cause: io::Error| OpenError::Unusable { folder: folder.to_owned(), cause: cause.into() };
        let not_ours = || OpenError::NotOurs { folder: folder.to_owned() };
        if !folder.try_exists().map_err(unusable)? {
            return Ok(None);
        }
        let Some(text) = read_mark(&folder.join(MARK)).map_err(unusable)? else {
            return if is_blank(folder).map_err(unusable)? { Ok(None) } else { Err(not_ours()) };
        };
        match parse_mark(&text).ok_or_else(not_ours)? {
            (FORMAT, OFFICIAL) => Ok(Some(Self { demonstration: false })),
            (FORMAT, DEMONSTRATION) => Ok(Some(Self { demonstration: true })),
            (FORMAT, _) => Err(not_ours()),
            (found, _) => Err(OpenError::Format { folder: folder.to_owned(), found }),
        }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is something else in the folder.
    #[error("{}: neither empty nor a store", folder.display())]
    NotOurs {
        /// The folder.
        folder: PathBuf,
    },
    /// It was written by a publisher that this one does not understand.
    #[error("{}: format {found}, and this publisher knows {FORMAT}", folder.display())]
    Format {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It is a demonstration, and an official store was asked for.
    #[error("{}: a demonstration", folder.display())]
    Demonstration {
        /// The folder.
        folder: PathBuf,
    },
    /// It is official, and a demonstration was asked for.
    #[error("{}: not a demonstration", folder.display())]
    Official {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process has it open.
    #[error("{}: in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It contradicts itself.
    #[error("{}: {damage}", folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// Where.
        damage: Damage,
    },
    /// It could not be read or written.
    #[error("{}: {cause}", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the engine or the operating system said.
        cause: Cause,
    },
}

impl OpenError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::NotOurs { .. } => Code::StoreNotOurs,
            Self::Format { .. } => Code::StoreFormat,
            Self::Demonstration { .. } => Code::StoreDemonstration,
            Self::Official { .. } => Code::StoreOfficial,
            Self::InUse { .. } => Code::StoreInUse,
            Self::Damaged { .. } => Code::StoreDamaged,
            Self::Unusable { .. } => Code::StoreUnusable,
        }
    }
}

/// A folder that is locked and is, or is about to become, a store of the kind that was asked for.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The folder itself. The lock on it ends when this is dropped.
    handle: File,
    is_new: bool,
}

impl Folder {
    /// Locks the folder at `path`, which is made if it is not there, and checks its mark.
    ///
    /// A crash leaves an empty folder, or one with `store.new`: both are new when they are opened again.
    pub fn open(path: &Path, mark: Mark) -> Result<Self, OpenError> {
        let folder = || path.to_owned();
        let unusable = |cause: io::Error| OpenError::Unusable { folder: folder(), cause: cause.into() };
        fs::create_dir_all(path).map_err(unusable)?;
        let handle = File::open(path).map_err(unusable)?;
        handle.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse { folder: folder() },
            TryLockError::Error(cause) => unusable(cause),
        })?;

        let found = Mark::of(path)?;
        let is_new = found.is_none();
        match found {
            Some(found) => check_mark(found, mark, path)?,
            None => write_mark(&path.join(NEW_MARK), mark).and_then(|()| handle.sync_all()).map_err(unusable)?,
        }
        Ok(Self { path: path.to_owned(), handle, is_new })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as a file, for what works on the file system that it lies on.
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// Whether nothing was ever acknowledged here: the engine starts from nothing, whatever it finds.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Makes a new folder a store, when the engine's own files are durable.
    ///
    /// A crash before this returns leaves a new folder or a store, which is empty.
    pub fn created(&mut self) -> io::Result<()> {
        fs::rename(self.path.join(NEW_MARK), self.path.join(MARK))?;
        self.handle.sync_all()?;
        self.is_new = false;
        Ok(())
    }
}

/// Whether there is nothing in the folder, or what a crash left of creating a store. A file system that was just made
/// has a `lost+found`.
fn is_blank(path: &Path) -> io::Result<bool> {
    if path.join(NEW_MARK).exists() {
        return Ok(true);
    }
    for found in fs::read_dir(path)? {
        if found?.file_name() != OsStr::new("lost+found") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_mark(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_MARK_BYTES).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_mark(path: &Path, mark: Mark) -> io::Result<()> {
    let mut file = File::create(path)?;
    let line = if mark.demonstration { DEMONSTRATION } else { OFFICIAL };
    file.write_all(format!("{TITLE}format {FORMAT}\n{line}").as_bytes())?;
    file.sync_all()
}

/// Whether a store with this mark is what was asked for.
fn check_mark(found: Mark, asked: Mark, folder: &Path) -> Result<(), OpenError> {
    match (found.demonstration, asked.demonstration) {
        (false, true) => Err(OpenError::Official { folder: folder.to_owned() }),
        (true, false) => Err(OpenError::Demonstration { folder: folder.to_owned() }),
        _ => Ok(()),
    }
}

/// The format, and what follows it, which is the kind where the format is ours.
fn parse_mark(text: &str) -> Option<(u64, &str)> {
    let (format, rest) = text.strip_prefix(TITLE)?.strip_prefix("format ")?.split_once('\n')?;
    Some((format.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICIAL_MARK: Mark = Mark { demonstration: false };
    const DEMONSTRATION_MARK: Mark = Mark { demonstration: true };

    fn open(path: &Path, mark: Mark) -> Result<(), OpenError> {
        let mut folder = Folder::open(path, mark)?;
        if folder.is_new() {
            folder.created().unwrap();
        }
        Ok(())
    }

    #[test]
    fn a_store_stays_what_it_was_created_as() {
        let folder = tempfile::tempdir().unwrap();
        let (official, demonstration) = (folder.path().join("a"), folder.path().join("b"));
        open(&official, OFFICIAL_MARK).unwrap();
        open(&demonstration, DEMONSTRATION_MARK).unwrap();
        for _ in 0..2 {
            assert!(matches!(open(&official, DEMONSTRATION_MARK), Err(OpenError::Official { .. })));
            assert!(matches!(open(&demonstration, OFFICIAL_MARK), Err(OpenError::Demonstration { .. })));
            open(&official, OFFICIAL_MARK).unwrap();
            open(&demonstration, DEMONSTRATION_MARK).unwrap();
        }
        assert_eq!(fs::read(official.join(MARK)).unwrap(), b"smi-publisher store\nformat 3\nofficial\n");
    }

    #[test]
    fn what_is_not_a_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("letter");
        fs::write(&file, "dear").unwrap();
        assert!(matches!(open(folder.path(), OFFICIAL_MARK), Err(OpenError::NotOurs { .. })));
        fs::remove_file(&file).unwrap();
        fs::write(folder.path().join(MARK), "groceries\n").unwrap();
        assert!(matches!(open(folder.path(), OFFICIAL_MARK), Err(OpenError::NotOurs { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARK), "smi-publisher store\nformat 4\nsharded\n").unwrap();
        assert!(matches!(open(folder.path(), OFFICIAL_MARK), Err(OpenError::Format { found: 4, .. })));
    }

    #[test]
    fn one_process_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::open(folder.path(), OFFICIAL_MARK).unwrap();
        assert!(matches!(open(folder.path(), OFFICIAL_MARK), Err(OpenError::InUse { .. })));
        drop(held);
        open(folder.path(), OFFICIAL_MARK).unwrap();
    }

    #[test]
    fn creation_that_a_crash_interrupted_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        drop(Folder::open(folder.path(), DEMONSTRATION_MARK).unwrap());
        fs::write(folder.path().join("leftover"), "").unwrap();
        assert!(Folder::open(folder.path(), OFFICIAL_MARK).unwrap().is_new());
        open(folder.path(), OFFICIAL_MARK).unwrap();
        assert!(!Folder::open(folder.path(), OFFICIAL_MARK).unwrap().is_new());
    }
}
