//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use smi_keys::keyring::{KeyRef, Role};
use smi_schemas::Digest;
use smi_schemas::names::{NoteName, Reason, Slug, Url};

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
    /// Sign what the programme says beside results: releases, keyrings, reviews, withdrawals, supersessions
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
    /// Sign, as the first of its root keys, that a keyring is in force from the next entry of the log on
    #[command(
        after_help = "Example: smi-keys statement keyring v3.json --previous v2.json --key root.pem --out change.json"
    )]
    Keyring(StatementKeyringArgs),
    /// Sign whether a result that waits is published
    #[command(after_help = "Example: smi-keys statement review --bundle result.json --accept --reason 'Looked at.' \
                      --key board.pem --out review.json")]
    Review(ReviewArgs),
    /// Sign that you no longer stand by a result of yours
    #[command(after_help = "Example: smi-keys statement withdrawal --bundle result.json --reason 'A debug build.' \
                      --key vendor.pem --out withdrawal.json")]
    Withdrawal(WithdrawalArgs),
    /// Sign that you no longer stand by a result, and name another of yours in its place
    #[command(after_help = "Example: smi-keys statement supersession --bundle old.json --by-bundle new.json \
                      --reason 'Measured again.' --key vendor.pem --out supersession.json")]
    Supersession(SupersessionArgs),
    /// Add a root key's signature to a change of the keyring
    #[command(after_help = "Example: smi-keys statement sign change.json --key root-2.pem --out change-2.json")]
    Sign(StatementSignArgs),
}

impl StatementCommand {
    /// Who signs.
    pub(crate) fn sign(&self) -> &SignArgs {
        match self {
            Self::Suite(args) => &args.sign,
            Self::Keyring(args) => &args.sign,
            Self::Review(args) => &args.sign,
            Self::Withdrawal(args) => &args.sign,
            Self::Supersession(args) => &args.sign,
            Self::Sign(args) => &args.sign,
        }
    }
}

/// Who signs, and where it is written.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The private key; a keyring must have its public half with the role that signs this
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The bundle to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

/// A result.
#[derive(Debug, Args)]
#[group(id = "of", required = true, multiple = false)]
pub(crate) struct ResultArgs {
    /// The result, by the digest of its payload
    #[arg(long, value_name = "DIGEST")]
    pub(crate) result: Option<Digest>,
    /// The result, by its bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}

/// Another result.
#[derive(Debug, Args)]
#[group(id = "other", required = true, multiple = false)]
pub(crate) struct ByArgs {
    /// The result that stands in its place, by the digest of its payload
    #[arg(long, value_name = "DIGEST")]
    pub(crate) by: Option<Digest>,
    /// The result that stands in its place, by its bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) by_bundle: Option<PathBuf>,
}

/// What a reviewer decides.
#[derive(Debug, Args)]
#[group(id = "verdict", required = true, multiple = false)]
pub(crate) struct VerdictArgs {
    /// The result is published
    #[arg(long)]
    pub(crate) accept: bool,
    /// The result is not published
    #[arg(long)]
    pub(crate) reject: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatementSuiteArgs {
    /// The suite's file, which is no draft
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatementKeyringArgs {
    /// The keyring's file
    pub(crate) file: PathBuf,
    /// The keyring in force, which it was made from; none for the first keyring of a log
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    #[command(flatten)]
    pub(crate) of: ResultArgs,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    /// Why, in one line, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WithdrawalArgs {
    #[command(flatten)]
    pub(crate) of: ResultArgs,
    /// Why, in one line, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SupersessionArgs {
    #[command(flatten)]
    pub(crate) of: ResultArgs,
    #[command(flatten)]
    pub(crate) by: ByArgs,
    /// Why, in one line, for everybody to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatementSignArgs {
    /// The bundle of the change, which other root keys have signed
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) sign: SignArgs,
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
    /// Revoke a key, for ever: a revocation only ever moves to an earlier entry
    #[command(after_help = "Example: smi-keys keyring revoke --keyring keyring.json --key acme --from-index 1200")]
    Revoke(RevokeArgs),
    /// Set how many root keys must sign a change, and how many witnesses must have cosigned
    #[command(after_help = "Example: smi-keys keyring set --keyring keyring.json --threshold 2 --quorum none")]
    Set(SetArgs),
    /// Print the log and its witnesses as a trust policy, which other tools check checkpoints with
    #[command(after_help = "Example: smi-keys keyring policy --keyring keyring.json --log-url https://log.example.org")]
    Policy(PolicyArgs),
    /// Print the log as a Sigstore trusted root, which other tools check logged bundles with
    #[command(after_help = "Example: smi-keys keyring trusted-root --keyring keyring.json")]
    TrustedRoot(KeyringArgs),
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
    #[command(flatten)]
    pub(crate) extent: ExtentArgs,
}

/// How far back a revocation looks. Nobody guesses that: too far cannot be undone.
#[derive(Debug, Args)]
#[group(id = "extent", required = true, multiple = false)]
pub(crate) struct ExtentArgs {
    /// The first log entry that does not count if the key signed it. A key that is replaced: the log's size now, and what
    /// it signed stays. A key that was stolen: the first entry that is not trusted
    #[arg(long, value_name = "N")]
    from_index: Option<u64>,
    /// Nothing that the key ever signed counts, from entry 0 on
    #[arg(long)]
    all: bool,
}

impl ExtentArgs {
    /// The first entry that does not count.
    pub(crate) fn start(&self) -> u64 {
        // Without an index, it is all.
        self.from_index.unwrap_or(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) keyring: KeyringArgs,
    #[command(flatten)]
    pub(crate) counts: CountArgs,
}

/// What is set; what is not given stays.
#[derive(Debug, Args)]
#[group(id = "counts", required = true, multiple = true)]
pub(crate) struct CountArgs {
    /// How many root keys must sign a change of the keyring
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u32>,
    /// How many witness keys must have cosigned a checkpoint
    #[arg(long, value_name = "N|none")]
    pub(crate) quorum: Option<Quorum>,
}

/// A quorum, or that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quorum(pub(crate) Option<u32>);

impl FromStr for Quorum {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))).map_err(|_| "neither a number nor none"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(flatten)]
    pub(crate) keyring: KeyringArgs,
    /// The address at which the log is read
    #[arg(long, value_name = "URL")]
    pub(crate) log_url: Option<Url>,
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
