//! Passphrases of private key files, and where they come from.
//!
//! In this order: a file, whose one trailing line feed is not part of it; the variable [`VARIABLE`]; a question on the
//! terminal. A passphrase is 1 to [`MAX_PASSPHRASE_BYTES`] bytes, whatever they are, and is wiped after use.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use smi_schemas::codes::Code;
use zeroize::Zeroizing;

use crate::files::{self, FileError};

/// Bytes of the longest passphrase, which is also the longest that openssl reads.
pub const MAX_PASSPHRASE_BYTES: usize = 1023;

/// The environment variable that may hold a passphrase.
pub const VARIABLE: &str = "SMI_KEY_PASSPHRASE";

/// A passphrase.
#[derive(PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// It has no bytes.
    #[error("{origin}")]
    Empty {
        /// Where it was to come from.
        origin: String,
    },
    /// It has more than [`MAX_PASSPHRASE_BYTES`] bytes.
    #[error("{origin}")]
    TooLong {
        /// Where it came from.
        origin: String,
    },
    /// There is neither file nor variable nor terminal.
    #[error("{}", key.display())]
    Missing {
        /// The key file it is for.
        key: PathBuf,
    },
    /// The terminal did not answer.
    #[error("{}: the terminal gave no answer: {cause}", key.display())]
    Terminal {
        /// The key file it is for.
        key: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// It was typed in two ways.
    #[error("{}", key.display())]
    Mismatch {
        /// The key file it is for.
        key: PathBuf,
    },
    /// The file that holds it was not read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl PassphraseError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Empty { .. } => Code::PassphraseEmpty,
            Self::TooLong { .. } => Code::PassphraseTooLong,
            Self::Missing { .. } | Self::Terminal { .. } => Code::PassphraseMissing,
            Self::Mismatch { .. } => Code::PassphraseMismatch,
            Self::File(error) => error.code(),
        }
    }
}

impl Passphrase {
    /// A passphrase of these bytes. `origin` says in an error where they came from.
    pub fn new(bytes: Zeroizing<Vec<u8>>, origin: &str) -> Result<Self, PassphraseError> {
        match bytes.len() {
            0 => Err(PassphraseError::Empty { origin: origin.to_owned() }),
            1..=MAX_PASSPHRASE_BYTES => Ok(Self(bytes)),
            _ => Err(PassphraseError::TooLong { origin: origin.to_owned() }),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn read(path: &Path) -> Result<Self, PassphraseError> {
        // One byte of the limit is for the line feed.
        let mut bytes = files::read(path, MAX_PASSPHRASE_BYTES + 1)?.bytes;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Self::new(bytes, &path.display().to_string())
    }

    fn ask(question: &str, key: &Path) -> Result<Self, PassphraseError> {
        let answer = rpassword::prompt_password(format!("{question} {}: ", key.display()))
            .map_err(|cause| PassphraseError::Terminal { key: key.to_owned(), cause })?;
        Self::new(Zeroizing::new(answer.into_bytes()), "the terminal")
    }

    fn confirmed(self, repetition: &Self, key: &Path) -> Result<Self, PassphraseError> {
        if self == *repetition { Ok(self) } else { Err(PassphraseError::Mismatch { key: key.to_owned() }) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Where passphrases come from.
#[derive(Default)]
pub struct Source {
    file: Option<PathBuf>,
    variable: Option<Zeroizing<Vec<u8>>>,
    terminal: bool,
}

impl Source {
    /// The caller's file, the value of [`VARIABLE`], and whether somebody sits at a terminal.
    pub fn new(file: Option<PathBuf>, variable: Option<OsString>, terminal: bool) -> Self {
        let variable = variable.map(|value| Zeroizing::new(value.into_encoded_bytes()));
        Self { file, variable, terminal }
    }

    /// The passphrase of a key file that exists.
    pub fn existing(&self, key: &Path) -> Result<Passphrase, PassphraseError> {
        self.given(key)?.map_or_else(|| Passphrase::ask("Passphrase of", key), Ok)
    }

    /// A passphrase for a key file to be written. A terminal is asked twice.
    pub fn chosen(&self, key: &Path) -> Result<Passphrase, PassphraseError> {
        if let Some(passphrase) = self.given(key)? {
            return Ok(passphrase);
        }
        let passphrase = Passphrase::ask("Passphrase for", key)?;
        passphrase.confirmed(&Passphrase::ask("The same again, for", key)?, key)
    }

    /// From file or variable, or nothing if the terminal is to be asked.
    fn given(&self, key: &Path) -> Result<Option<Passphrase>, PassphraseError> {
        match (&self.file, &self.variable) {
            (Some(file), _) => Passphrase::read(file).map(Some),
            (None, Some(value)) => Passphrase::new(value.clone(), VARIABLE).map(Some),
            (None, None) if self.terminal => Ok(None),
            (None, None) => Err(PassphraseError::Missing { key: key.to_owned() }),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        Passphrase::new(Zeroizing::new(bytes.to_vec()), "test")
    }

    fn from_file(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Source::new(Some(file.path().to_owned()), Some("variable".into()), true).existing(Path::new("key.pem"))
    }

    #[test]
    fn one_trailing_line_feed_is_not_part_of_it() {
        for (file, passphrase) in [("secret\n", "secret"), ("secret", "secret"), ("secret\n\n", "secret\n"), (" ", " ")]
        {
            assert_eq!(from_file(file.as_bytes()).unwrap().as_bytes(), passphrase.as_bytes());
        }
    }

    #[test]
    fn its_length_has_limits() {
        assert!(matches!(of(b""), Err(PassphraseError::Empty { .. })));
        assert!(matches!(from_file(b"\n"), Err(PassphraseError::Empty { .. })));
        let longest = [b'x'; MAX_PASSPHRASE_BYTES];
        assert!(of(&longest).is_ok() && from_file(&[&longest[..], b"\n"].concat()).is_ok());
        assert!(matches!(of(&[b'x'; MAX_PASSPHRASE_BYTES + 1]), Err(PassphraseError::TooLong { .. })));
        assert!(matches!(from_file(&b"x".repeat(1 << 20)), Err(PassphraseError::TooLong { .. })));
    }

    #[test]
    fn the_variable_is_used_where_there_is_no_file_and_nothing_is_guessed() {
        let key = Path::new("key.pem");
        let source = Source::new(None, Some("variable".into()), false);
        assert_eq!(source.existing(key).unwrap().as_bytes(), b"variable");
        assert_eq!(source.chosen(key).unwrap().as_bytes(), b"variable");
        assert!(matches!(Source::default().chosen(key), Err(PassphraseError::Missing { .. })));
        assert!(matches!(Source::default().existing(key), Err(PassphraseError::Missing { .. })));
    }

    #[test]
    fn a_repetition_must_be_the_same() {
        let key = Path::new("key.pem");
        assert!(of(b"one").unwrap().confirmed(&of(b"one").unwrap(), key).is_ok());
        let mismatch = of(b"one").unwrap().confirmed(&of(b"two").unwrap(), key);
        assert_eq!(mismatch.unwrap_err().code(), Code::PassphraseMismatch);
    }

    #[test]
    fn nothing_printed_shows_it() {
        assert_eq!(format!("{:?}", of(b"secret").unwrap()), "Passphrase");
        assert!(!format!("{:?}", Source::new(None, Some("secret".into()), false)).contains("secret"));
    }
}
