//! Files that a crash does not tear and that nobody overwrites by accident.
//!
//! [`create`] makes a file that was not there, [`create_whole`] too; [`update`] replaces one as a whole, by what it is;
//! [`replace`] replaces it whatever it is. They return only when the bytes and the file's name are on the device. What a
//! crash leaves is said at each step.
//!
//! Who updates a file has the lock of another one, empty and beside it, named `.NAME.lock`. The file itself cannot be
//! locked, as it is replaced; nor its folder, for a network file system refuses an exclusive lock on what is not open
//! for writing. The lock's file is made once and stays: if it were removed, two writers could each lock one of its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use smi_schemas::codes::Code;
use smi_schemas::digest::hex;
use zeroize::Zeroizing;

use crate::NoRandomness;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// It is there already.
    #[error("{}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written, and nothing of it is left.
    #[error("{}: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// It is written, whole, and a power cut may undo that.
    #[error("{}: {cause}; it is written, and a power cut may undo that", path.display())]
    Unsettled {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Other writers could not be kept out, so nothing was changed.
    #[error("{}: {cause}", path.display())]
    Unlockable {
        /// The file that is locked in its place.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Writing failed, and what was written could not be removed.
    #[error("{}: {cause}; what was written of it is still there: remove it", path.display())]
    LeftBehind {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// There is no name for a temporary file.
    #[error("a name for a temporary file: {0}")]
    Randomness(#[from] NoRandomness),
}

impl FileError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::FileUnreadable,
            Self::Exists { .. } => Code::FileExists,
            Self::Unwritable { .. } | Self::LeftBehind { .. } => Code::FileUnwritable,
            Self::Unsettled { .. } => Code::FileUnsettled,
            Self::Unlockable { .. } => Code::FileUnlockable,
            Self::Randomness(_) => Code::NoRandomness,
        }
    }
}

/// Who may read a file that is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone: mode 0600 from the first moment, where the system has modes.
    Owner,
    /// Whom the system's default allows.
    Default,
}

/// What was read.
#[derive(Debug)]
pub struct Contents {
    /// The bytes, wiped when they are dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The permission bits; where the system has none, those of a file that is its owner's alone.
    pub mode: u32,
}

/// Reads a file's first `limit` bytes, and one more if there are more, so that a parser with that limit refuses it.
pub fn read(path: &Path, limit: usize) -> Result<Contents, FileError> {
    let unreadable = |cause| FileError::Unreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    let mode = mode(&file.metadata().map_err(unreadable)?);
    // The room is made at once: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Contents { bytes, mode })
}

/// Writes a file that was not there.
///
/// A crash leaves no file, or the first part of one, which the next call refuses to overwrite.
pub fn create(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let mut file = new_file(path, access).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Unwritable { path: path.to_owned(), cause },
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| open_folder(path)?.sync());
    written.map_err(|cause| discard(path, cause))
}

/// The same, where a part of a file would be mistaken for the file. The file system must know hard links.
///
/// A crash leaves no file, or the whole of it, and perhaps a temporary file beside it, named `.NAME.RANDOM`, that nobody
/// reads.
pub fn create_whole(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let unwritable = |cause| FileError::Unwritable { path: path.to_owned(), cause };
    let temporary = temporary_name(path)?;
    let mut file = new_file(&temporary, access).map_err(unwritable)?;
    let linked = file
        .write_all(bytes)
        .and_then(|()| file.sync_all()) // a crash before here: the temporary file
        .and_then(|()| fs::hard_link(&temporary, path)); // and after here: the file, whole, and perhaps both
    let removed = fs::remove_file(&temporary);
    linked.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ if removed.is_err() => FileError::LeftBehind { path: temporary, cause },
        _ => unwritable(cause),
    })?;
    open_folder(path).and_then(|folder| folder.sync()).map_err(|cause| discard(path, cause))
}

/// Puts a file that is there, and its name, on the device, whoever wrote it and whatever became of them.
pub fn settle(path: &Path) -> Result<(), FileError> {
    let opened = path.canonicalize().and_then(|path| Ok((File::open(&path)?, open_folder(&path)?)));
    let (file, folder) = opened.map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    let settled = file.sync_all().and_then(|()| folder.sync());
    settled.map_err(|cause| FileError::Unsettled { path: path.to_owned(), cause })
}

/// Replaces a file by what `change` makes of its bytes, of which it gets at most `limit` and one more.
///
/// A crash leaves the old file or the new one, and perhaps a temporary file beside it, named `.NAME.RANDOM`, that
/// nobody reads. Two calls at the same time follow one another; where the file cannot be locked, nothing is changed.
pub fn update<T, E: From<FileError>>(
    path: &Path,
    limit: usize,
    change: impl FnOnce(&[u8]) -> Result<(Vec<u8>, T), E>,
) -> Result<T, E> {
    // Through a symbolic link the file is replaced, not the link.
    let path = &path.canonicalize().map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    let unwritable = |cause| FileError::Unwritable { path: path.clone(), cause };

    let folder = open_folder(path).map_err(unwritable)?;
    let _locked = lock(path)?;
    let (bytes, outcome) = change(&read(path, limit)?.bytes)?;

    let permissions = fs::metadata(path).map_err(unwritable)?.permissions();
    put(path, &bytes, Some(permissions), &folder)?;
    Ok(outcome)
}

/// Puts a file in the place of the one that is there, if there is one. Nothing is locked: of two calls at the same time
/// the later one wins.
///
/// A crash leaves what was or the new file, and perhaps a temporary file beside it, as [`update`] does.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = open_folder(path).map_err(|cause| FileError::Unwritable { path: path.to_owned(), cause })?;
    put(path, bytes, None, &folder)
}

/// Writes a temporary file and gives it this name.
fn put(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>, folder: &Folder) -> Result<(), FileError> {
    let unwritable = |cause| FileError::Unwritable { path: path.to_owned(), cause };
    let temporary = temporary_name(path)?;
    // Where others may read it, that is said last.
    let access = if permissions.is_some() { Access::Owner } else { Access::Default };
    let mut file = new_file(&temporary, access).map_err(unwritable)?;
    let replaced = file
        .write_all(bytes)
        .and_then(|()| permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions)))
        .and_then(|()| file.sync_all()) // a crash before here: what was, and the temporary file
        .and_then(|()| fs::rename(&temporary, path)); // and after here: one of the two files, whole
    replaced.map_err(|cause| match discard(&temporary, cause) {
        FileError::Unwritable { cause, .. } => unwritable(cause),
        left_behind => left_behind,
    })?;
    folder.sync().map_err(|cause| FileError::Unsettled { path: path.to_owned(), cause })
}

/// Waits for other writers, and keeps them out until what is returned is dropped.
fn lock(path: &Path) -> Result<File, FileError> {
    let path = beside(path, "lock");
    let locked = || {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|cause| FileError::Unlockable { path: path.clone(), cause })
}

/// Removes what `create` wrote; the error says what failed before and whether anything is left.
pub(crate) fn discard(path: &Path, cause: io::Error) -> FileError {
    match fs::remove_file(path) {
        Ok(()) => FileError::Unwritable { path: path.to_owned(), cause },
        Err(_) => FileError::LeftBehind { path: path.to_owned(), cause },
    }
}

fn new_file(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

fn temporary_name(path: &Path) -> Result<PathBuf, FileError> {
    Ok(beside(path, &hex(&crate::random::<8>()?)))
}

/// The name that begins with a point and ends with this, for what belongs to a file.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}

/// The folder that a file's name is in, where the system lets folders be opened.
struct Folder(Option<File>);

fn open_folder(path: &Path) -> io::Result<Folder> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(Folder(if cfg!(unix) { Some(File::open(folder)?) } else { None }))
}

impl Folder {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), File::sync_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"first", Access::Default).unwrap();
        assert!(matches!(create(&path, b"second", Access::Default), Err(FileError::Exists { .. })));
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"first");
    }

    #[test]
    fn a_file_is_replaced_whatever_it_is_and_whoever_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        for text in [&b"first"[..], b"second"] {
            replace(&path, text).unwrap();
            assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_whole_file_is_created_once_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create_whole(&path, b"first", Access::Default).unwrap();
        assert!(matches!(create_whole(&path, b"second", Access::Default), Err(FileError::Exists { .. })));
        settle(&path).unwrap();
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(create_whole(&folder.path().join("absent/file"), b"", Access::Default).is_err());
        assert!(settle(&folder.path().join("absent")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_for_its_owner_has_mode_0600() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"", Access::Owner).unwrap();
        assert_eq!(read(&path, 64).unwrap().mode, 0o600);
    }

    #[test]
    fn reading_stops_one_byte_after_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, &[7; 100], Access::Default).unwrap();
        assert_eq!(read(&path, 10).unwrap().bytes.len(), 11);
        assert_eq!(read(&path, 100).unwrap().bytes.len(), 100);
    }

    #[test]
    fn an_update_that_fails_changes_nothing_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"first", Access::Default).unwrap();
        let refused = update(&path, 64, |_| Err::<(Vec<u8>, ()), _>(FileError::Exists { path: path.clone() }));
        assert!(refused.is_err());
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn updates_at_the_same_time_all_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"", Access::Default).unwrap();
        let append = || update(&path, 64, |old| Ok::<_, FileError>(([old, b"x"].concat(), ()))).unwrap();
        std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(append))));
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), [b'x'; 16]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn an_update_waits_for_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"first", Access::Default).unwrap();
        let held = File::create(folder.path().join(".file.lock")).unwrap();
        held.lock().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| update(&path, 64, |_| Ok::<_, FileError>((b"second".to_vec(), ()))));
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"first");
            held.unlock().unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"second");
    }

    #[test]
    fn what_cannot_be_locked_is_not_updated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"first", Access::Default).unwrap();
        fs::create_dir(folder.path().join(".file.lock")).unwrap();
        let refused = update(&path, 64, |_| Ok::<_, FileError>((b"second".to_vec(), ()))).unwrap_err();
        assert!(matches!(refused, FileError::Unlockable { .. }), "{refused}");
        assert_eq!(refused.code(), Code::FileUnlockable);
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"first");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_written_and_not_durable_is_not_called_unwritten() {
        use std::os::fd::OwnedFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // A pipe is nothing that can be synced.
        let (pipe, _end) = io::pipe().unwrap();
        let unsyncable = Folder(Some(File::from(OwnedFd::from(pipe))));
        let error = put(&path, b"new", None, &unsyncable).unwrap_err();
        assert!(matches!(error, FileError::Unsettled { .. }), "{error}");
        assert_eq!(error.code(), Code::FileUnsettled);
        assert_eq!(read(&path, 64).unwrap().bytes.as_slice(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn an_update_keeps_the_mode_and_the_link() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        create(&path, b"first", Access::Default).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        update(&link, 64, |_| Ok::<_, FileError>((b"second".to_vec(), ()))).unwrap();
        let contents = read(&path, 64).unwrap();
        assert_eq!((contents.bytes.as_slice(), contents.mode), (&b"second"[..], 0o640));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
