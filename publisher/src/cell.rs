//! The cell: the last checkpoint that was signed, in a place of its own.
//!
//! A log must never sign two trees of which neither contains the other. Its store may be lost, or be replaced by an
//! older copy; so what was signed last is kept apart from the store, best on another disk, and changes only by
//! *compare and swap*: whoever writes says what it replaces. A checkpoint is in the cell, durably, before anybody sees
//! it. Who starts with a store that the cell contradicts is told so, and signs nothing.
//!
//! The cell is one file, which holds the signed note and nothing else. It is small enough to be copied by hand. Who
//! swaps it has the lock of another file beside it, `.NAME.lock`; where that cannot be locked, nothing is swapped.

use std::io;
use std::path::{Path, PathBuf};

use smi_keys::files::{self, Access, FileError};

/// Bytes of a cell at most: a checkpoint with the log's own signature.
pub const MAX_CELL_BYTES: usize = 4096;

/// Why a cell was not read or swapped.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// Somebody else swapped it. Nothing changed.
    #[error("the last checkpoint was replaced by somebody else")]
    Conflict,
    /// It could not be read or written. Which of the two is in it is known when it is read again.
    #[error("{0}")]
    File(#[from] FileError),
}

/// A place for one checkpoint.
pub trait Cell: Send + 'static {
    /// What is in it; none before the first swap. What it returns survives a power cut, even where a swap failed or was
    /// cut off that put it there.
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError>;

    /// Puts `new` in the place of `expected`. When it returns `Ok`, `new` survives a power cut.
    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError>;
}

/// A cell in a file.
#[derive(Debug)]
pub struct FileCell {
    path: PathBuf,
    /// What is known to be on the device, as it was swapped or settled through here. Whatever else is found in the file
    /// was written by somebody of whom it is not known how far they came.
    durable: Option<Vec<u8>>,
}

impl FileCell {
    /// The cell in this file, which need not be there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), durable: None }
    }

    /// The cell that belongs to a store's folder: a file beside it, not in it.
    pub fn beside(folder: &Path) -> PathBuf {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".checkpoint");
        folder.with_file_name(name)
    }
}

impl Cell for FileCell {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        match files::read(&self.path, MAX_CELL_BYTES) {
            Ok(contents) => {
                let found = contents.bytes.to_vec();
                if self.durable.as_ref() != Some(&found) {
                    files::settle(&self.path)?;
                    self.durable = Some(found.clone());
                }
                Ok(Some(found))
            }
            Err(FileError::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError> {
        self.durable = None;
        match expected {
            // A crash leaves none, or the whole of it: a part would be taken for somebody else's.
            None => files::create_whole(&self.path, new, Access::Default).map_err(|error| match error {
                FileError::Exists { .. } => CellError::Conflict,
                error => error.into(),
            })?,
            // A crash leaves the one or the other, whole.
            Some(expected) => files::update(&self.path, MAX_CELL_BYTES, |found| {
                if found == expected { Ok((new.to_owned(), ())) } else { Err(CellError::Conflict) }
            })?,
        }
        self.durable = Some(new.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.checkpoint");
        assert_eq!(FileCell::beside(&folder.path().join("data")), path);
        let mut cell = FileCell::new(&path);
        assert_eq!(cell.load().unwrap(), None);
        cell.swap(None, b"one").unwrap();
        assert!(matches!(cell.swap(None, b"two"), Err(CellError::Conflict)));
        assert!(matches!(cell.swap(Some(b"two"), b"three"), Err(CellError::Conflict)));
        assert_eq!(cell.load().unwrap().as_deref(), Some(&b"one"[..]));
        cell.swap(Some(b"one"), b"two").unwrap();
        assert_eq!(FileCell::new(&path).load().unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn what_cannot_be_locked_is_not_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.checkpoint");
        let mut cell = FileCell::new(&path);
        cell.swap(None, b"one").unwrap();
        // Nobody can write what is no file, and so nobody can lock it.
        std::fs::create_dir(folder.path().join(".data.checkpoint.lock")).unwrap();
        let refused = cell.swap(Some(b"one"), b"two");
        assert!(matches!(refused, Err(CellError::File(FileError::Unlockable { .. }))), "{refused:?}");
        assert_eq!(cell.load().unwrap().as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn what_somebody_else_wrote_is_made_durable_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.checkpoint");
        let mut cell = FileCell::new(&path);
        cell.swap(None, b"one").unwrap();
        assert_eq!(cell.durable.as_deref(), Some(&b"one"[..]), "by who swapped it");
        FileCell::new(&path).swap(Some(b"one"), b"two").unwrap();
        assert_eq!(cell.load().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(cell.durable.as_deref(), Some(&b"two"[..]));
        assert!(matches!(cell.swap(Some(b"one"), b"three"), Err(CellError::Conflict)));
        assert_eq!(cell.durable, None, "after a swap that failed nothing is known");
    }
}
