//! The command line.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use smi_keys::keyring::{KeyRef, Role};
use smi_schemas::names::{NoteName, Slug, Url};

/// Keys of SMI Conformance, and the keyring that says who may sign what
#[derive(Debug, Parser)]
#[command(name = "smi-keys", version, after_help = "Example: smi-keys generate --out vendor.pem")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key pair: a private key file, and its public half beside it
    #[command(after_help = "Example: smi-keys generate --out vendor.pem   (writes vendor.pem and vendor.pub)")]
    Generate(GenerateArgs),
    /// Print the key id and the public key of key files, private or public
    #[command(after_help = "Example: smi-keys show vendor.pub")]
    Show(ShowArgs),
    /// Sign a statement other than a result
    #[command(
        subcommand,
        after_help = "Example: smi-keys statement suite v1.0.0.json --key suite.pem --out v1.0.0.sigstore.json"
    )]
    Statement(StatementCommand),
    /// Keep the keyring
    #[command(subcommand, after_help = "Example: smi-keys keyring init --keyring keyring.json")]
    Keyring(KeyringCommand),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The private key's file. The public key goes beside it, with .pub for .pem, or .pub added
    #[arg(long, value_name = "FILE", value_parser = private_path())]
    pub(crate) out: PathBuf,
    /// Leave the private key unencrypted
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) no_encrypt: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Key files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PassphraseArgs {
    /// A file with the private key's passphrase; without it, SMI_KEY_PASSPHRASE is used, or the terminal asked
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StatementCommand {
    /// Sign that a suite is released: this file under its version, for ever
    #[command(after_help = "Example: smi-keys statement suite v1.0.0.json --key suite.pem --out v1.0.0.sigstore.json")]
    Suite(StatementSuiteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatementSuiteArgs {
    /// The suite's file, which is no draft
    pub(crate) file: PathBuf,
    /// The private key; a keyring must have its public half with the role suite
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The bundle to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyringCommand {
    /// Write a keyring without keys
    #[command(after_help = "Example: smi-keys keyring init --keyring keyring.json")]
    Init(KeyringArgs),
    /// Add a public key
    #[command(
        after_help = "Example: smi-keys keyring add --keyring keyring.json --role vendor --mesh istio --key acme.pub"
    )]
    Add(AddArgs),
    /// Revoke a key
    #[command(after_help = "Example: smi-keys keyring revoke --keyring keyring.json --key acme --from-index 1200")]
    Revoke(RevokeArgs),
    /// Print the keyring's version, digest and keys
    #[command(after_help = "Example: smi-keys keyring show --keyring keyring.json")]
    Show(KeyringShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyringArgs {
    /// The keyring's file
    #[arg(long = "keyring", value_name = "FILE")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) keyring: KeyringArgs,
    /// What the key may sign
    #[arg(long, value_parser = role())]
    pub(crate) role: Role,
    /// A mesh that a vendor's key speaks for; may be given again for another
    #[arg(long, value_name = "SLUG")]
    pub(crate) mesh: Vec<Slug>,
    /// The key's name in the keyring; without it, the name of the public key's file
    #[arg(long)]
    pub(crate) name: Option<Slug>,
    /// A log's or witness's name in signed notes; the log's is its origin, a bare host name
    #[arg(long, value_name = "NAME")]
    pub(crate) note_name: Option<NoteName>,
    /// Where a witness takes checkpoints: the prefix of its add-checkpoint
    #[arg(long)]
    pub(crate) url: Option<Url>,
    /// Publish a vendor's results only after review
    #[arg(long)]
    pub(crate) after_review: bool,
    /// The public key's file
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) keyring: KeyringArgs,
    /// The key's name or key id
    #[arg(long, value_name = "NAME|KEYID")]
    pub(crate) key: KeyRef,
    /// The first log entry that does not count; 0 means that none does
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from_index: u64,
}

#[derive(Debug, Args)]
pub(crate) struct KeyringShowArgs {
    #[command(flatten)]
    pub(crate) keyring: KeyringArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// A form of output.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| text.parse::<Role>())
}

fn private_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match (path.file_name(), path.extension()) {
        (None, _) => Err("not the name of a file"),
        (_, Some(extension)) if extension.eq_ignore_ascii_case("pub") => {
            Err("the name is for the private key, and .pub is for public ones")
        }
        _ => Ok(path),
    })
}
