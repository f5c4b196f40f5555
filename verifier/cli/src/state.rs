//! The file that `--state` names: what earlier audits saw.
//!
//! It is the newest checkpoint that was read and found to contain those before it, as a signed note. Where that one was
//! not found sound, as when its witnesses were missing, the newest that was follows after an empty line: the next audit
//! must be consistent with the first, and what a watch has told reaches to the second.

use std::io;
use std::path::Path;

use smi_keys::files::{self, Access, FileError};
use smi_verifier::note::{Checkpoint, MAX_NOTE_BYTES, Note, SignedCheckpoint};

/// Two notes, and the line between them.
const MAX_STATE_BYTES: usize = 2 * MAX_NOTE_BYTES + 1;

/// What ends a note's text, and its signatures where another note follows.
const EMPTY_LINE: &[u8] = b"\n\n";

/// Signed notes, not verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The newest checkpoint that was seen.
    pub(crate) seen: Vec<u8>,
    /// The newest that was sound.
    pub(crate) sound: Vec<u8>,
}

impl State {
    fn read(bytes: &[u8]) -> Self {
        let lines = bytes.windows(EMPTY_LINE.len()).enumerate().filter(|(_, window)| *window == EMPTY_LINE);
        let (seen, sound) = match lines.map(|(at, _)| at).nth(1) {
            Some(end) => (&bytes[..=end], &bytes[end + EMPTY_LINE.len()..]),
            None => (bytes, bytes),
        };
        Self { seen: seen.to_owned(), sound: sound.to_owned() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        if self.seen == self.sound { self.seen.clone() } else { [&self.seen[..], b"\n", &self.sound].concat() }
    }

    /// Another audit may meanwhile have kept a later one.
    fn renew(&mut self, note: &[u8], is_sound: bool) {
        let size = |note: &[u8]| Note::read(note).ok().and_then(|note| Checkpoint::read(note.text()).ok());
        let is_later = |kept: &[u8]| size(kept).map(|kept| kept.size()) > size(note).map(|note| note.size());
        if !is_later(&self.seen) {
            note.clone_into(&mut self.seen);
        }
        if is_sound && !is_later(&self.sound) {
            note.clone_into(&mut self.sound);
        }
    }
}

/// What the last audit kept; nothing before the first.
pub(crate) fn recall(path: &Path) -> Result<Option<State>, FileError> {
    match files::read(path, MAX_STATE_BYTES) {
        Ok(contents) => Ok(Some(State::read(&contents.bytes))),
        Err(FileError::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps the checkpoint that an audit saw last. A crash leaves what was there or what is now, whole.
pub(crate) fn remember(path: &Path, seen: &SignedCheckpoint, is_sound: bool) -> Result<(), FileError> {
    let note = seen.note().to_bytes();
    match files::create_whole(path, &note, Access::Default) {
        Err(FileError::Exists { .. }) => {}
        created => return created,
    }
    files::update(path, MAX_STATE_BYTES, |found| {
        let mut state = State::read(found);
        state.renew(&note, is_sound);
        Ok((state.to_bytes(), ()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test stops where it fails
mod tests {
    use super::*;
    use smi_keys::SigningKey;
    use smi_verifier::merkle::Hash;
    use smi_verifier::note::{KeyKind, NoteKey};
    use smi_verifier::note::{SignedCheckpoint, sign_checkpoint};

    fn head(size: u64) -> SignedCheckpoint {
        let key = SigningKey::from_seed([1; 32]);
        let checkpoint = Checkpoint::new("log.example.org", size, Hash::of_leaf(&size.to_be_bytes())).unwrap();
        let log = NoteKey::new("log.example.org", KeyKind::Log, key.public()).unwrap();
        sign_checkpoint(&checkpoint, &key).open(&log).unwrap()
    }

    #[test]
    fn what_was_seen_and_what_was_sound_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert_eq!(recall(&path).unwrap(), None);
        let sizes = || {
            let State { seen, sound } = recall(&path).unwrap().unwrap();
            [seen, sound].map(|note| Checkpoint::read(Note::read(&note).unwrap().text()).unwrap().size())
        };
        for (size, is_sound, kept) in [
            (90, true, [90, 90]),
            (100, false, [100, 90]),
            (105, false, [105, 90]),
            // Of two audits at the same time, one may be late.
            (95, true, [105, 95]),
            (105, true, [105, 105]),
            (90, false, [105, 105]),
        ] {
            remember(&path, &head(size), is_sound).unwrap();
            assert_eq!(sizes(), kept, "after {size}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), head(105).note().to_bytes());
    }
}
