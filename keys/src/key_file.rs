//! Key files: a private key for its owner alone, and its public half beside it.

use std::fs;
use std::path::{Path, PathBuf};

use smi_schemas::codes::Code;

use crate::files::{self, Access, FileError};
use crate::passphrase::{Passphrase, PassphraseError, Source};
use crate::pem::{self, EncodeError, FormatError, KeyPem, MAX_KEY_FILE_BYTES, OpenError};
use crate::{PublicKey, SigningKey};

/// A key and the file it is in.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: KeyPem,
}

/// Why a key was not had from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file was not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was read is no key.
    #[error("{}: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: FormatError,
    },
    /// Others may read the private key.
    #[error("{} has mode {mode:04o}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a public key where a private one is needed.
    #[error("{}: a public key where a private one is needed", path.display())]
    Public {
        /// The file.
        path: PathBuf,
    },
    /// It is a private key where a public one is needed.
    #[error("{}: a private key, where the public one is needed that is in the .pub file beside it", path.display())]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase is another one.
    #[error("{}", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
}

impl ReadError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::Format { cause, .. } => cause.code(),
            Self::Permissions { .. } => Code::KeyFilePermissions,
            Self::Public { .. } | Self::Private { .. } => Code::KeyFileFormat,
            Self::Passphrase(error) => error.code(),
            Self::WrongPassphrase { .. } => Code::PassphraseWrong,
        }
    }
}

impl KeyFile {
    /// Reads a key file. A private key that others may read is refused.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let contents = files::read(path, MAX_KEY_FILE_BYTES)?;
        let path = path.to_owned();
        match (KeyPem::parse(&contents.bytes), contents.mode) {
            (Ok(KeyPem::Private(_) | KeyPem::Encrypted(_)), mode) if mode & 0o044 != 0 => {
                Err(ReadError::Permissions { path, mode })
            }
            (Ok(key), _) => Ok(Self { path, key }),
            (Err(cause), _) => Err(ReadError::Format { path, cause }),
        }
    }

    /// The key as the file has it.
    pub fn key(&self) -> &KeyPem {
        &self.key
    }

    /// The public key of a file that holds no private one.
    pub fn into_public(self) -> Result<PublicKey, ReadError> {
        match self.key {
            KeyPem::Public(key) => Ok(key),
            KeyPem::Private(_) | KeyPem::Encrypted(_) => Err(ReadError::Private { path: self.path }),
        }
    }

    /// The private key, with a passphrase from `source` if it needs one.
    pub fn into_private(self, source: &Source) -> Result<SigningKey, ReadError> {
        let path = self.path;
        match self.key {
            KeyPem::Public(_) => Err(ReadError::Public { path }),
            KeyPem::Private(key) => Ok(key),
            KeyPem::Encrypted(key) => key.open(&source.existing(&path)?).map_err(|error| match error {
                OpenError::Passphrase => ReadError::WrongPassphrase { path },
                OpenError::Format(cause) => ReadError::Format { path, cause },
            }),
        }
    }
}

/// Why a key pair was not written. Neither file is left, unless the error says so.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The private key was not encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// One of the two files was not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The public key's file was not written, and the private key's could not be removed.
    #[error("{public}; {} is still there: remove it", private.display())]
    PrivateLeft {
        /// The private key's file.
        private: PathBuf,
        /// What was wrong with the public key's.
        public: FileError,
    },
}

impl CreateError {
    /// The code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Encode(error) => error.code(),
            Self::File(error) | Self::PrivateLeft { public: error, .. } => error.code(),
        }
    }
}

/// Writes a key to two files that were not there: the private key, encrypted if there is a passphrase, and the public.
///
/// A crash between the two leaves the private key, whole; its public half follows from it.
pub fn create(
    key: &SigningKey,
    passphrase: Option<&Passphrase>,
    private: &Path,
    public: &Path,
) -> Result<(), CreateError> {
    let text =
        passphrase.map_or_else(|| pem::encode_plain(key), |passphrase| pem::encode_encrypted(key, passphrase))?;
    files::create(private, text.as_bytes(), Access::Owner)?;
    files::create(public, key.public().to_spki_pem().as_bytes(), Access::Default).map_err(
        |public| match fs::remove_file(private) {
            Ok(()) => CreateError::File(public),
            Err(_) => CreateError::PrivateLeft { private: private.to_owned(), public },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;
    use zeroize::Zeroizing;

    fn pair(passphrase: Option<&str>) -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("vendor.pem"), folder.path().join("vendor.pub"));
        let passphrase = passphrase.map(|text| Passphrase::new(Zeroizing::new(text.into()), "test").unwrap());
        create(&SigningKey::from_seed([7; 32]), passphrase.as_ref(), &private, &public).unwrap();
        (folder, private, public)
    }

    #[test]
    fn a_pair_is_read_as_it_was_written() {
        let key = SigningKey::from_seed([7; 32]).public();
        for passphrase in [None, Some("secret")] {
            let (_folder, private, public) = pair(passphrase);
            assert_eq!(KeyFile::read(&public).unwrap().into_public().unwrap(), key);
            let source = Source::new(None, passphrase.map(Into::into), false);
            assert_eq!(KeyFile::read(&private).unwrap().into_private(&source).unwrap().public(), key);
        }
    }

    #[test]
    fn neither_half_is_taken_for_the_other() {
        let (_folder, private, public) = pair(None);
        assert!(matches!(KeyFile::read(&private).unwrap().into_public(), Err(ReadError::Private { .. })));
        let refused = KeyFile::read(&public).unwrap().into_private(&Source::default());
        assert!(matches!(refused, Err(ReadError::Public { .. })));
    }

    #[test]
    fn where_one_file_exists_none_is_written() {
        let (_folder, private, public) = pair(None);
        for (kept, removed) in [(&private, &public), (&public, &private)] {
            let before = fs::read(kept).unwrap();
            fs::remove_file(removed).unwrap();
            let refused = create(&SigningKey::from_seed([8; 32]), None, &private, &public);
            assert!(matches!(refused, Err(CreateError::File(FileError::Exists { path })) if path == *kept));
            assert!(!removed.exists(), "left {}", removed.display());
            assert_eq!(fs::read(kept).unwrap(), before);
            fs::write(removed, b"").unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        for passphrase in [None, Some("secret")] {
            let (_folder, private, public) = pair(passphrase);
            assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
            for mode in [0o640, 0o604, 0o644, 0o444] {
                fs::set_permissions(&private, fs::Permissions::from_mode(mode)).unwrap();
                fs::set_permissions(&public, fs::Permissions::from_mode(mode)).unwrap();
                let refused = KeyFile::read(&private);
                assert!(matches!(refused, Err(ReadError::Permissions { mode: found, .. }) if found == mode));
                assert!(KeyFile::read(&public).is_ok());
            }
            fs::set_permissions(&private, fs::Permissions::from_mode(0o400)).unwrap();
            assert!(KeyFile::read(&private).is_ok());
        }
    }
}
