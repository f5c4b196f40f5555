//! Programs that nobody here wrote: where they are, and a witness that runs.
//!
//! `tests/interop/README.md` lists them, `tests/interop/install` installs them.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The variable that names the folder which `tests/interop/install` printed.
pub const PROGRAMS: &str = "SMI_TESTS_INTEROP";

/// How long a witness may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program by its path in the folder of programs.
pub fn program(path: &str) -> io::Result<PathBuf> {
    let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
    let folder = std::env::var_os(PROGRAMS)
        .ok_or_else(|| missing(format!("{PROGRAMS} must be what tests/interop/install prints")))?;
    let program = Path::new(&folder).join(path);
    if program.exists() { Ok(program) } else { Err(missing(format!("no {}", program.display()))) }
}

/// A witness of one log, on loopback, until it is dropped.
///
/// It is omniwitness, unmodified. It takes the first checkpoint that it is shown for the log's tree, and later ones
/// with a proof.
pub struct Witness {
    /// Where it takes `POST /add-checkpoint`: this is the prefix.
    pub url: String,
    /// Its verifier key, of type 0x04.
    pub vkey: String,
    running: Child,
}

impl Witness {
    /// The name that witnesses cosign under.
    pub const NAME: &str = "witness.example.org/w1";

    /// Starts a witness of the log with this origin and verifier key. Its key, database and output are files in the
    /// folder; in the same folder, it is the same witness again.
    pub fn start(folder: &Path, origin: &str, log: &str) -> io::Result<Self> {
        let file = |name: &str| folder.join(name);
        if !file("witness.key").exists() {
            let mut generate = Command::new(program("witness/generate_keys")?);
            generate.args(["-origin", Self::NAME, "-out_priv"]).arg(file("witness.key"));
            let output = generate.arg("-out_pub").arg(file("witness.vkey")).output()?;
            if !output.status.success() {
                return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        fs::write(file("logs.yaml"), format!("Logs:\n  - Origin: \"{origin}\"\n    PublicKey: \"{log}\"\n"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut witness = Command::new(program("witness/omniwitness")?);
        witness.args(["-listen", &address.to_string(), "-metrics_listen", "", "-private_key_path"]);
        witness.arg(file("witness.key")).arg("-additional_logs").arg(file("logs.yaml"));
        witness.arg("-db_file").arg(file("witness.db"));
        witness.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(file("witness.log"))?);
        let mut witness = Self {
            url: format!("http://{address}"),
            vkey: fs::read_to_string(file("witness.vkey"))?.trim().to_owned(),
            running: witness.spawn()?,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > PATIENCE || witness.running.try_wait()?.is_some() {
                return Err(io::Error::other(fs::read_to_string(file("witness.log"))?));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(witness)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
