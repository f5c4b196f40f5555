//! The binary as a user meets it: what it writes, prints and refuses, and how it exits.

#![cfg(test)]

#[path = "cli/statements.rs"] // a file beside this one would be a test of its own
mod statements;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use smi_keys::keyring::Keyring;
use smi_keys::vkey::{VkeyKind, vkey};
use tempfile::TempDir;

/// A folder to run the binary in.
struct Bench {
    folder: TempDir,
}

/// What a run of the binary left to see.
struct Run {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smi-keys"));
        command.args(arguments.split_whitespace()).current_dir(&self.folder);
        command.env_remove("SMI_KEY_PASSPHRASE").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Runs what must succeed and returns its data.
    fn done(&self, arguments: &str) -> String {
        let run = self.run(arguments);
        assert_eq!(run.exit, Some(0), "{arguments}: {}", run.stderr);
        run.stdout
    }

    /// Runs what must be refused with a code, and holds the refusal to its form.
    fn refused(&self, arguments: &str, exit: i32, code: &str) -> String {
        let run = self.run(arguments);
        run.assert_refused(exit, code);
        run.stderr
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn assert_refused(&self, exit: i32, code: &str) {
        let lines: Vec<_> = self.stderr.lines().collect();
        let [error, .., remedy, last] = lines.as_slice() else { panic!("{}", self.stderr) };
        assert!(error.starts_with(&format!("error[{code}]: ")), "{}", self.stderr);
        assert!(remedy.starts_with("remedy: "), "{}", self.stderr);
        assert!(last.starts_with(&format!("exit {exit}: ")), "{}", self.stderr);
        assert_eq!((self.exit, self.stdout.as_str()), (Some(exit), ""), "{}", self.stderr);
    }

    fn assert_usage(&self, about: &str) {
        let last = "exit 2: the command was called with something it cannot use";
        assert!(self.stderr.contains(about), "{}", self.stderr);
        assert_eq!((self.exit, self.stderr.lines().last()), (Some(2), Some(last)), "{}", self.stderr);
    }
}

fn line<'a>(text: &'a str, beginning: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(beginning)).unwrap_or_else(|| panic!("no {beginning:?} in {text}"))
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_generated_pair_shows_one_key() {
    let bench = Bench::new();
    bench.write("passphrase", "secret\n");
    let id = bench.done("generate --out vendor.pem --passphrase-file passphrase");
    assert_eq!(id.trim_end().len(), 64);
    #[cfg(unix)]
    assert_eq!(mode(&bench.path("vendor.pem")), 0o600);

    let private = bench.done("show vendor.pem --passphrase-file passphrase");
    let public = bench.done("show vendor.pub");
    assert_eq!(line(&private, "file        "), "vendor.pem (encrypted private key)");
    assert_eq!(line(&public, "file        "), "vendor.pub (public key)");
    for shown in [&private, &public] {
        assert_eq!(line(shown, "key id      "), id.trim_end());
        assert!(shown.ends_with(&bench.read("vendor.pub")), "{shown}");
    }
}

#[test]
fn a_pair_is_never_overwritten() {
    let bench = Bench::new();
    bench.done("generate --out vendor.pem --no-encrypt");
    let (private, public) = (bench.read("vendor.pem"), bench.read("vendor.pub"));
    assert!(bench.refused("generate --out vendor.pem --no-encrypt", 2, "file-exists").contains("  vendor.pem\n"));
    fs::remove_file(bench.path("vendor.pem")).unwrap();
    assert!(bench.refused("generate --out vendor.pem --no-encrypt", 2, "file-exists").contains("  vendor.pub\n"));
    assert_eq!((bench.files(), bench.read("vendor.pub")), (vec!["vendor.pub".to_owned()], public));
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
}

#[test]
fn the_public_file_is_named_after_the_private_one() {
    let bench = Bench::new();
    bench.done("generate --out one.PEM --no-encrypt");
    bench.done("generate --out two.key --no-encrypt");
    assert_eq!(bench.files(), ["one.PEM", "one.pub", "two.key", "two.key.pub"]);
}

#[test]
fn a_passphrase_is_needed_unless_encryption_is_declined() {
    let bench = Bench::new();
    bench.write("empty", "\n");
    bench.refused("generate --out vendor.pem", 6, "passphrase-missing");
    bench.refused("generate --out vendor.pem --passphrase-file empty", 6, "passphrase-empty");
    bench.refused("generate --out vendor.pem --passphrase-file missing", 2, "file-unreadable");
    Run::of(bench.command("generate --out vendor.pem").env("SMI_KEY_PASSPHRASE", ""))
        .assert_refused(6, "passphrase-empty");
    bench.write("long", "x".repeat(1024));
    bench.refused("generate --out vendor.pem --passphrase-file long", 6, "passphrase-too-long");
    assert_eq!(bench.files(), ["empty", "long"]);
}

#[test]
fn a_passphrase_comes_from_the_file_before_the_variable() {
    let bench = Bench::new();
    bench.write("right", "right\n");
    let with = |arguments, variable| Run::of(bench.command(arguments).env("SMI_KEY_PASSPHRASE", variable));
    assert_eq!(with("generate --out vendor.pem", "right").exit, Some(0));
    assert_eq!(with("show vendor.pem", "right").exit, Some(0));
    assert_eq!(with("show vendor.pem --passphrase-file right", "wrong").exit, Some(0));
    with("show vendor.pem", "wrong").assert_refused(6, "passphrase-wrong");
    bench.refused("show vendor.pem", 6, "passphrase-missing");
}

#[test]
fn arguments_that_contradict_each_other_are_usage_errors() {
    let bench = Bench::new();
    bench.write("passphrase", "secret\n");
    bench.run("generate --out vendor.pub --no-encrypt").assert_usage(".pub is for public ones");
    bench.run("generate --out .. --no-encrypt").assert_usage("not the name of a file");
    bench.run("generate --out a.pem --no-encrypt --passphrase-file passphrase").assert_usage("cannot be used with");
    bench.run("generate --no-encrypt").assert_usage("--out");
    bench.run("keyring add --keyring k --role owner --key a.pub").assert_usage("witness");
    bench.run("keyring revoke --keyring k --key UPPER").assert_usage("neither the name of a key");
    bench.run("keyring add --keyring k --role log --note-name Log --key a.pub").assert_usage("note name");
    bench.run("keyring add --keyring k --role witness --url ftp://a --key a.pub").assert_usage("address");
    bench.run("unknown").assert_usage("unknown");
    bench.run("").assert_usage("Usage: ");
    assert_eq!(bench.files(), ["passphrase"]);
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.done("generate --out vendor.pem --no-encrypt");
    fs::set_permissions(bench.path("vendor.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(bench.refused("show vendor.pem", 6, "key-file-permissions").contains("vendor.pem has mode 0640"));
    assert_eq!(bench.run("show vendor.pub").exit, Some(0));
}

#[test]
fn show_prints_json_for_several_files() {
    let bench = Bench::new();
    let id = bench.done("generate --out vendor.pem --no-encrypt");
    let shown: serde_json::Value = serde_json::from_str(&bench.done("show vendor.pem vendor.pub -o json")).unwrap();
    for (index, kind) in ["private", "public"].into_iter().enumerate() {
        assert_eq!(shown[index]["kind"], kind);
        assert_eq!(shown[index]["keyId"], id.trim_end());
        assert_eq!(shown[index]["pem"], bench.read("vendor.pub"));
        assert_eq!(shown[index]["publicKey"].as_str().map(str::len), Some(44));
    }
    assert_eq!(shown.as_array().map(Vec::len), Some(2));
}

#[test]
fn what_is_no_key_is_refused() {
    let bench = Bench::new();
    bench.write("text", "hello\n");
    bench.write("large", "-".repeat(20_000));
    bench.write("ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    bench.refused("show text", 6, "key-file-format");
    bench.refused("show large", 6, "key-file-format");
    assert!(bench.refused("show ssh", 6, "key-file-format").contains("OPENSSH PRIVATE KEY"));
    bench.refused("show missing", 2, "file-unreadable");
    bench.refused("show .", 2, "file-unreadable");
}

/// A bench with a keyring and one key pair.
fn with_keyring() -> (Bench, String) {
    let bench = Bench::new();
    let id = bench.done("generate --out acme.pem --no-encrypt");
    bench.done("keyring init --keyring ring.json");
    (bench, id.trim_end().to_owned())
}

#[test]
fn a_keyring_is_kept_from_its_first_key_to_its_revocation() {
    let (bench, id) = with_keyring();
    let digest = bench.done("keyring add --keyring ring.json --role vendor --mesh b --mesh a --key acme.pub");
    let shown = bench.done("keyring show --keyring ring.json");
    assert_eq!((line(&shown, "version "), line(&shown, "digest  ")), ("2", digest.trim_end()));
    let row: Vec<_> = line(&shown, "acme").split_whitespace().collect();
    assert_eq!(row, ["vendor", &id, "direct", "-", "a,b"]);

    bench.done(&format!("keyring revoke --keyring ring.json --key {id} --from-index 12"));
    bench.refused("keyring revoke --keyring ring.json --key acme --from-index 12", 2, "key-revoked-already");
    bench.done("keyring revoke --keyring ring.json --key acme --all");
    let shown: serde_json::Value =
        serde_json::from_str(&bench.done("keyring show --keyring ring.json -o json")).unwrap();
    assert_eq!(shown["version"], 4);
    assert_eq!(shown["keys"][0]["keyId"], id.as_str());
    assert_eq!(shown["keys"][0]["meshes"], serde_json::json!(["a", "b"]));
    assert_eq!(shown["keys"][0]["revoked"]["fromIndex"], 0);
    assert_eq!(bench.files(), [".ring.json.lock", "acme.pem", "acme.pub", "ring.json"]);
}

#[test]
fn how_far_back_a_revocation_looks_is_said_and_not_guessed() {
    let (bench, _) = with_keyring();
    bench.done("keyring add --keyring ring.json --role vendor --mesh a --key acme.pub");
    let before = bench.read("ring.json");
    for extent in ["", " --all --from-index 3", " --from-index"] {
        let run = bench.run(&format!("keyring revoke --keyring ring.json --key acme{extent}"));
        assert_eq!((run.exit, run.stdout.as_str()), (Some(2), ""), "{extent}: {}", run.stderr);
        assert_eq!(bench.read("ring.json"), before, "{extent}");
    }
    let neither = bench.run("keyring revoke --keyring ring.json --key acme").stderr;
    assert!(neither.contains("--from-index <N>|--all"), "{neither}");
    let help = bench.done("keyring revoke --help");
    for part in ["replaced: the log's size now", "stolen: the first entry that is not trusted", "--all"] {
        assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{part}: {help}");
    }
    let done = bench.run("keyring revoke --keyring ring.json --key acme --from-index 3");
    assert!(done.stderr.contains("revoked acme from log index 3 on"), "{}", done.stderr);
    let done = bench.run("keyring revoke --keyring ring.json --key acme --all");
    assert!(done.stderr.contains("revoked acme from log index 0 on"), "{}", done.stderr);
}

#[test]
fn a_refused_change_leaves_the_keyring_as_it_was() {
    let (bench, _) = with_keyring();
    bench.done("generate --out other.pem --no-encrypt");
    bench.done("keyring add --keyring ring.json --role vendor --mesh acme-mesh --key acme.pub");
    let before = bench.read("ring.json");
    let add = |arguments: &str, exit, code| {
        bench.refused(&format!("keyring add --keyring ring.json {arguments}"), exit, code)
    };
    add("--role suite --name acme --key other.pub", 2, "key-name-taken");
    add("--role suite --name other --key acme.pub", 2, "key-present");
    add("--role vendor --key other.pub", 2, "role-mesh");
    add("--role log --mesh acme-mesh --key other.pub", 2, "role-mesh");
    add("--role log --after-review --key other.pub", 2, "role-publish");
    add("--role log --key other.pub", 2, "role-note-name");
    add("--role suite --note-name log.example.org --key other.pub", 2, "role-note-name");
    add("--role log --note-name log.example.org/a --key other.pub", 2, "role-note-name");
    add("--role log --note-name log.example.org --url https://a --key other.pub", 2, "role-url");
    add("--role witness --note-name w --name none --key other.pub", 2, "key-name-reserved");
    add("--role log --key missing.pub", 2, "file-unreadable");
    let refusal = add("--role log --key other.pem", 6, "key-file-format");
    assert!(refusal.contains("a private key, where the public one is needed"), "{refusal}");
    bench.write("weak.pub", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n");
    add("--role log --key weak.pub", 2, "key-weak");
    bench.refused("keyring revoke --keyring ring.json --key nobody --all", 2, "key-not-in-ring");
    bench.refused("keyring init --keyring ring.json", 2, "file-exists");
    assert_eq!(bench.read("ring.json"), before);
}

#[test]
fn the_first_root_key_sets_the_threshold_and_says_so() {
    let (bench, _) = with_keyring();
    bench.done("generate --out other.pem --no-encrypt");
    let add = |key: &str| bench.run(&format!("keyring add --keyring ring.json --role root --key {key}"));
    assert!(add("acme.pub").stderr.contains("as it is the first root key, the threshold is 1\n"));
    assert!(!add("other.pub").stderr.contains("threshold"));
    bench.done("keyring revoke --keyring ring.json --key acme --all");
    bench.refused("keyring revoke --keyring ring.json --key other --all", 2, "threshold-range");
}

#[test]
fn a_file_name_that_is_no_key_name_needs_a_name() {
    let (bench, _) = with_keyring();
    fs::rename(bench.path("acme.pub"), bench.path("Acme_Key.pub")).unwrap();
    bench.run("keyring add --keyring ring.json --role suite --key Acme_Key.pub").assert_usage("give one with --name");
    bench.done("keyring add --keyring ring.json --role suite --key Acme_Key.pub --name acme");
}

#[test]
fn results_are_published_after_review_where_that_is_asked_for() {
    let (bench, _) = with_keyring();
    bench.done("keyring add --keyring ring.json --role vendor --mesh a --after-review --key acme.pub");
    assert!(bench.read("ring.json").contains(r#""publish": "after-review""#));
}

#[test]
fn an_invalid_keyring_is_neither_read_nor_changed() {
    let (bench, _) = with_keyring();
    for broken in ["", "{}", r#"{"schemaVersion":1,"version":0,"keys":[]}"#, r#"{"schemaVersion":2}"#] {
        bench.write("ring.json", broken);
        bench.refused("keyring show --keyring ring.json", 6, "keyring-invalid");
        bench.refused("keyring add --keyring ring.json --role log --key acme.pub", 6, "keyring-invalid");
        bench.refused("keyring revoke --keyring ring.json --key acme --all", 6, "keyring-invalid");
        assert_eq!(bench.read("ring.json"), broken);
    }
    bench.write("ring.json", " ".repeat(2 << 20));
    bench.refused("keyring show --keyring ring.json", 6, "keyring-invalid");
    bench.refused("keyring show --keyring missing.json", 2, "file-unreadable");
    bench.refused("keyring init --keyring missing/ring.json", 2, "file-unwritable");
}

#[test]
fn a_keyring_that_could_not_be_read_again_is_not_written() {
    let (bench, _) = with_keyring();
    bench.done("keyring add --keyring ring.json --role vendor --mesh a --key acme.pub");
    bench.done("generate --out other.pem --no-encrypt");
    let small = bench.read("ring.json");
    let mesh = |index: usize| format!("\"m{index:05}\",\n        ");
    let count = (256 * 1024 - small.len() - 64) / mesh(0).len();
    let full = small.replace("\"a\"", &format!("{}\"a\"", (0..count).map(mesh).collect::<String>()));
    bench.write("ring.json", &full);
    bench.done("keyring show --keyring ring.json");
    let refusal = bench.refused("keyring add --keyring ring.json --role suite --key other.pub", 6, "keyring-invalid");
    assert!(refusal.contains("at most 262144"), "{refusal}");
    assert_eq!(bench.read("ring.json"), full);
}

#[test]
fn names_from_others_do_not_reach_the_terminal_raw() {
    let bench = Bench::new();
    bench.write("ring.json", "{\"schemaVersion\":1,\"version\":1,\"keys\":[],\"\\u001b[2Jx\":1}");
    let refusal = bench.refused("keyring show --keyring ring.json", 6, "keyring-invalid");
    assert!(refusal.contains("\\u{1b}[2Jx") && !refusal.contains('\u{1b}'), "{refusal}");
}

/// A bench with a keyring of a log and three root keys in three versions: in `v5.json` one root key must sign, in
/// `v6.json` two, and in `v7.json` there is a vendor.
fn with_roots() -> Bench {
    let bench = Bench::new();
    bench.done("keyring init --keyring ring.json");
    bench.done("generate --out log.pem --no-encrypt");
    bench.done("keyring add --keyring ring.json --role log --note-name log.example.org --key log.pub");
    for root in ["a", "b", "c"] {
        bench.done(&format!("generate --out {root}.pem --no-encrypt"));
        bench.done(&format!("keyring add --keyring ring.json --role root --key {root}.pub"));
    }
    fs::copy(bench.path("ring.json"), bench.path("v5.json")).unwrap();
    bench.done("keyring set --keyring ring.json --threshold 2");
    fs::copy(bench.path("ring.json"), bench.path("v6.json")).unwrap();
    bench.done("generate --out acme.pem --no-encrypt");
    bench.done("keyring add --keyring ring.json --role vendor --mesh acme-mesh --key acme.pub");
    fs::rename(bench.path("ring.json"), bench.path("v7.json")).unwrap();
    bench
}

#[test]
fn threshold_and_quorum_are_set_within_their_bounds() {
    let bench = with_roots();
    let set = |rest: &str| format!("keyring set --keyring v7.json {rest}");
    let before = bench.read("v7.json");
    bench.refused(&set("--threshold 4"), 2, "threshold-range");
    bench.refused(&set("--threshold 0"), 2, "threshold-range");
    bench.refused(&set("--quorum 1"), 2, "quorum-range");
    bench.refused(&set("--threshold 2"), 2, "keyring-same");
    bench.refused(&set("--quorum none"), 2, "keyring-same");
    bench.run(&set("")).assert_usage("--threshold");
    bench.run(&set("--quorum all")).assert_usage("neither a number nor none");
    bench.run(&set("--threshold none")).assert_usage("--threshold");
    assert_eq!(bench.read("v7.json"), before);

    bench.done("generate --out w.pem --no-encrypt");
    bench.done("keyring add --keyring v7.json --role witness --note-name w.example.org/1 --key w.pub");
    let run = bench.run(&set("--threshold 3 --quorum 1"));
    assert!(run.stderr.contains("version 9: threshold 3, quorum 1\n"), "{}", run.stderr);
    let shown = bench.done("keyring show --keyring v7.json");
    assert_eq!((line(&shown, "threshold "), line(&shown, "quorum    ")), ("3", "1"));
    bench.refused("keyring revoke --keyring v7.json --key w --all", 2, "quorum-range");
    bench.refused("keyring revoke --keyring v7.json --key a --all", 2, "threshold-range");
    bench.done(&set("--quorum none"));
    let shown: serde_json::Value = serde_json::from_str(&bench.done("keyring show --keyring v7.json -o json")).unwrap();
    assert_eq!((&shown["threshold"], &shown["quorum"]), (&serde_json::json!(3), &serde_json::Value::Null));
    assert_eq!(shown["keys"][5]["noteName"], "w.example.org/1");
}

/// A bench with a log's key, and two witnesses' of which one is known by an address.
fn with_log() -> Bench {
    let bench = Bench::new();
    bench.done("keyring init --keyring ring.json");
    for key in ["log", "w1", "w2"] {
        bench.done(&format!("generate --out {key}.pem --no-encrypt"));
    }
    bench.done("keyring add --keyring ring.json --role log --note-name log.example.org --key log.pub");
    let witness = |rest: &str| bench.done(&format!("keyring add --keyring ring.json --role witness {rest}"));
    witness("--note-name w.example.org/1 --url https://w.example.org/a --key w1.pub");
    witness("--note-name w.example.org/2 --key w2.pub");
    bench
}

#[test]
fn other_tools_are_told_of_log_and_witnesses() {
    let bench = with_log();
    let (keyring, _) = Keyring::read(bench.read("ring.json").as_bytes()).unwrap();
    let [log, w1, w2] = &keyring.keys().iter().map(|entry| entry.vkey().unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{keyring:?}")
    };
    assert_eq!(*log, vkey("log.example.org", VkeyKind::Log, &keyring.keys()[0].public_key));
    let witnesses = format!("witness w1 {w1} https://w.example.org/a\nwitness w2 {w2}\n");
    let policy = bench.done("keyring policy --keyring ring.json");
    assert_eq!(policy, format!("log {log}\n{witnesses}quorum none\n"));

    bench.done("keyring set --keyring ring.json --quorum 2");
    let policy = bench.done("keyring policy --keyring ring.json --log-url https://log.example.org/smi");
    let group = "group quorum-group 2 w1 w2\nquorum quorum-group\n";
    assert_eq!(policy, format!("log {log} https://log.example.org/smi\n{witnesses}{group}"));
    bench.run("keyring policy --keyring ring.json --log-url log.example.org").assert_usage("address");

    let root: serde_json::Value =
        serde_json::from_str(&bench.done("keyring trusted-root --keyring ring.json")).unwrap();
    assert_eq!(root["mediaType"], "application/vnd.dev.sigstore.trustedroot+json;version=0.1");
    let tlog = &root["tlogs"][0];
    let spki = bench.read("log.pub").lines().nth(1).unwrap().to_owned();
    assert_eq!((&tlog["baseUrl"], &tlog["publicKey"]["rawBytes"]), (&"https://log.example.org".into(), &spki.into()));
    assert_eq!(tlog["logId"], tlog["checkpointKeyId"]);
    assert_eq!(tlog["logId"]["keyId"].as_str().map(str::len), Some(44));
    assert_eq!(root["tlogs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn without_a_log_key_nothing_is_said_of_it() {
    let bench = with_log();
    let row = bench.done("keyring show --keyring ring.json");
    assert!(line(&row, "w1").ends_with("w.example.org/1 https://w.example.org/a"), "{row}");
    bench.done("keyring revoke --keyring ring.json --key log --from-index 9");
    bench.refused("keyring policy --keyring ring.json", 2, "log-key-missing");
    bench.refused("keyring trusted-root --keyring ring.json", 2, "log-key-missing");
    bench.done("generate --out log-2.pem --no-encrypt");
    let again = "keyring add --keyring ring.json --role log --note-name log.example.org --key log-2.pub";
    bench.refused(again, 2, "note-name-taken");
    bench.done("keyring add --keyring ring.json --role log --note-name log-2.example.org --key log-2.pub");
    bench.done("generate --out log-3.pem --no-encrypt");
    let second = "keyring add --keyring ring.json --role log --note-name log-3.example.org --key log-3.pub";
    bench.refused(second, 2, "log-key-present");
}

#[test]
fn the_next_command_can_be_pasted() {
    let bench = Bench::new();
    let run = Run::of(bench.command("generate --no-encrypt --out").arg("the vendor's.pem"));
    assert!(run.stderr.ends_with("--key 'the vendor'\\''s.pub'\n"), "{}", run.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_nobody_can_take_is_no_panic() {
    let bench = Bench::new();
    bench.done("generate --out vendor.pem --no-encrypt");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Run::of(bench.command("show vendor.pub").stdout(full));
    run.assert_refused(2, "file-unwritable");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = Run::of(bench.command("show vendor.pub").stdout(writer));
    assert_eq!((run.exit, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn every_help_has_an_example() {
    let bench = Bench::new();
    let commands = [
        "",
        "generate",
        "show",
        "statement",
        "statement suite",
        "statement keyring",
        "statement review",
        "statement withdrawal",
        "statement supersession",
        "statement sign",
        "keyring",
        "keyring init",
        "keyring add",
        "keyring revoke",
        "keyring set",
        "keyring policy",
        "keyring trusted-root",
        "keyring show",
    ];
    for command in commands {
        let help = bench.done(&format!("{command} --help"));
        assert!(help.contains(format!("Example: smi-keys {command}").trim_end()), "{help}");
    }
    assert!(bench.done("--version").starts_with("smi-keys "));
}
