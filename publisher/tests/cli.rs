//! The binary as an operator meets it: how it starts, what keeps it from starting, and how it stops.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod honest;
mod operator;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use operator::{ANYWHERE, Bench, INIT, Reached, SERVE};
use smi_keys::keyring::Keyring;
use smi_publisher::admission::policy;
use smi_publisher::replay::Replay;
use smi_publisher::store::{Mark, SledStore, Store as _};
use smi_verifier::policy::Suites;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn it_serves_and_stops_at_either_signal() {
    let bench = Bench::new();
    bench.init(&[]);
    for (signal, number) in [("-INT", 1), ("-TERM", 2)] {
        let running = bench.serve(&[]);
        assert!(running.get("/readyz").starts_with("HTTP/1.1 200"));
        assert!(!running.get("/").contains("Demonstration"));
        assert_eq!(running.post(&honest::release(number)), 201);
        assert_eq!(running.post(&honest::release(1)), 200);
        assert_eq!(running.signal(signal), Some(0));
    }
}

#[test]
fn a_log_that_stopped_ends_the_process_with_an_error() {
    let bench = Bench::new();
    bench.init(&[]);
    let said = fs::File::create(bench.path("said")).unwrap();
    let mut child = bench.command(&[&SERVE, &ANYWHERE]).stderr(said).spawn().unwrap();
    let said = || fs::read_to_string(bench.path("said")).unwrap();
    let began = Instant::now();
    let address = loop {
        if let Some(address) = said().lines().find_map(|line| line.strip_prefix("serving   http://").map(str::to_owned))
        {
            break address;
        }
        assert!(began.elapsed() < SOON, "{}", said());
        sleep(Duration::from_millis(10));
    };
    let running = Reached(address);
    assert_eq!(running.post(&honest::release(1)), 201);
    // Somebody else has the cell: another publisher, on a copy of the store.
    let cell = fs::read(bench.path("data.checkpoint")).unwrap();
    bench.write("data.checkpoint", b"another checkpoint");
    assert_eq!(running.post(&honest::release(2)), 503);
    let began = Instant::now();
    let exit = loop {
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        if began.elapsed() > SOON {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on: {}", said());
        }
        sleep(Duration::from_millis(10));
    };
    let said = said();
    assert_eq!(exit.code(), Some(9), "{said}");
    assert!(said.contains("error[log-stopped]: ") && said.contains("remedy: Start the publisher again"), "{said}");

    // Who starts it again is told what is the matter, until it is mended.
    bench.refused(&[], 6, "cell-foreign");
    bench.write("data.checkpoint", &cell);
    let running = bench.serve(&[]);
    assert_eq!(running.post(&honest::release(2)), 200, "it was stored, and is signed for now");
    assert_eq!(running.signal("-TERM"), Some(0));
}

#[test]
fn witnesses_are_asked_at_a_pace() {
    let bench = Bench::new();
    for pace in ["0", "601"] {
        let (exit, said) = bench.run(&[&SERVE, &ANYWHERE, &["--witness-pace", pace]]);
        assert_eq!((exit, said.contains("--witness-pace")), (Some(2), true), "{said}");
    }
    // Only that there is no log stands in the way of this one.
    bench.refused(&["--witness-pace", "1"], 6, "log-empty");
}

#[test]
fn a_stop_does_not_wait_for_an_idle_connection() {
    let bench = Bench::new();
    bench.init(&[]);
    let running = bench.serve(&[]);
    let _idle = TcpStream::connect(&running.address).unwrap();
    assert_eq!(running.signal("-TERM"), Some(0));
}

#[test]
fn a_log_is_made_once_and_making_it_may_be_repeated() {
    let bench = Bench::new();
    assert!(bench.init(&[]).contains("is entry 0"));
    assert!(bench.init(&[]).contains("was there as entry 0"));
    bench.write("first.json", &honest::signed(&honest::keyring_of("other.example.org"), None));
    bench.fail(&[&INIT], 10, "log-only");
}

#[test]
fn a_demonstration_is_one_for_ever_and_is_called_one() {
    let bench = Bench::of("demo.example.org");
    bench.fail(&[&INIT], 6, "origin-demonstration");
    assert!(!bench.path("data").exists(), "no store was created, of whatever kind");
    bench.init(&["--allow-sandbox"]);
    let running = bench.serve(&["--allow-sandbox"]);
    assert!(running.get("/").contains("Demonstration"));
    assert_eq!(running.signal("-TERM"), Some(0));
    bench.refused(&[], 6, "store-demonstration");

    let bench = Bench::new();
    bench.fail(&[&INIT, &["--allow-draft"]], 6, "origin-demonstration");
    bench.init(&[]);
    bench.refused(&["--allow-draft"], 6, "store-official");
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let bench = Bench::new();
    bench.init(&[]);
    let running = bench.serve(&[]);
    bench.refused(&[], 6, "store-in-use");
    drop(running);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = Bench::new();
    unused.fail(&[&SERVE, &["--listen", &taken.local_addr().unwrap().to_string()]], 6, "address-taken");
    assert!(!unused.path("data").exists(), "no store was created, of whatever kind");

    fs::remove_file(bench.path("log.pem")).unwrap();
    let said = bench.refused(&[], 2, "file-unreadable");
    assert!(said.ends_with("exit 2: the command was called with something it cannot use\n"), "{said}");
    bench.write("first.json", b"{}");
    bench.key("log.pem", "log");
    bench.fail(&[&INIT], 8, "bundle-shape");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let bench = Bench::new();
    fs::create_dir(bench.path("data")).unwrap();
    bench.write("data/thesis.tex", b"precious");
    bench.fail(&[&INIT], 6, "store-not-ours");
    bench.refused(&[], 6, "store-not-ours");
    let left: Vec<_> = fs::read_dir(bench.path("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A log with its keyring and these releases, that was stopped.
fn stopped(bench: &Bench, releases: impl IntoIterator<Item = u64>) {
    if !bench.path("data").exists() {
        bench.init(&[]);
    }
    let running = bench.serve(&[]);
    for number in releases {
        assert_eq!(running.post(&honest::release(number)), 201);
    }
    assert_eq!(running.signal("-TERM"), Some(0));
}

#[test]
fn nothing_is_served_and_nothing_made_where_no_log_is() {
    let bench = Bench::new();
    bench.refused(&[], 6, "log-empty");
    bench.fail(&[&["check", "--data", "data"]], 6, "log-empty");
    assert!(!bench.path("data").exists());
    // What a crash may leave of making it.
    fs::create_dir(bench.path("data")).unwrap();
    bench.refused(&[], 6, "log-empty");
    bench.write("data/store.new", b"torn");
    bench.refused(&[], 6, "log-empty");
    bench.init(&[]);
    bench.serve(&[]);
}

#[test]
fn only_the_logs_own_key_signs_it() {
    let bench = Bench::new();
    bench.key("other.pem", "other");
    let other = ["--data", "data", "--log-key", "other.pem"];
    bench.fail(&[&["init"], &other, &["--keyring", "first.json"]], 6, "log-key-other");
    assert!(!bench.path("data").exists(), "nothing was made for it");
    bench.init(&[]);
    let said = bench.fail(&[&["serve"], &other, &ANYWHERE], 6, "log-key-other");
    assert!(said.contains("Give the private key whose public half the keyring has with the role log."), "{said}");

    let mut no_log = Keyring::default();
    for key in honest::keyring().keys().iter().filter(|key| key.note_name.is_none()) {
        no_log.add(key.clone()).unwrap();
    }
    bench.write("first.json", &honest::signed(&no_log, None));
    bench.fail(&[&INIT], 6, "keyring-invalid");
}

#[test]
fn without_the_last_checkpoint_nothing_is_signed() {
    let bench = Bench::new();
    stopped(&bench, [1]);
    fs::rename(bench.path("data.checkpoint"), bench.path("elsewhere")).unwrap();
    let said = bench.refused(&[], 6, "cell-missing");
    assert!(said.contains("Put it back; it is the file beside the data directory, or where --cell said."), "{said}");
    bench.fail(&[&INIT], 6, "cell-missing");
    assert!(!bench.path("data.checkpoint").exists());
    drop(bench.serve(&["--cell", "elsewhere"]));
    for within in ["data/last", "data/sled/last", "./data/../data/last"] {
        bench.copy("elsewhere", within);
        bench.refused(&["--cell", within], 6, "cell-within");
        bench.remove(within);
    }
    let unused = Bench::new();
    unused.fail(&[&INIT, &["--cell", "data/last"]], 6, "cell-within");
    assert!(!unused.path("data").exists());
    fs::rename(bench.path("elsewhere"), bench.path("data.checkpoint")).unwrap();
    drop(bench.serve(&[]));
}

#[test]
fn a_checkpoint_that_is_not_this_logs_is_left_as_it_is() {
    let bench = Bench::new();
    stopped(&bench, [1]);
    let other = Bench::of("other.example.org");
    stopped(&other, [1]);
    let sound = fs::read(bench.path("data.checkpoint")).unwrap();
    let foreign = [
        fs::read(other.path("data.checkpoint")).unwrap(),
        b"notes to myself".to_vec(),
        Vec::new(),
        sound[..sound.len() - 1].to_vec(),
        String::from_utf8(sound.clone()).unwrap().replacen("\n2\n", "\n1\n", 1).into_bytes(),
    ];
    for foreign in foreign {
        assert_ne!(foreign, sound);
        bench.write("data.checkpoint", &foreign);
        let said = bench.refused(&[], 6, "cell-foreign");
        assert!(said.contains("the checkpoint that belongs to the data directory"), "{said}");
        assert_eq!(fs::read(bench.path("data.checkpoint")).unwrap(), foreign);
    }
    // And where there is no log yet, it is as little overwritten.
    let unused = Bench::new();
    unused.write("data.checkpoint", b"notes to myself");
    unused.fail(&[&INIT], 6, "cell-foreign");
    assert_eq!(fs::read(unused.path("data.checkpoint")).unwrap(), b"notes to myself");
}

#[test]
fn an_older_copy_of_the_directory_signs_nothing() {
    let bench = Bench::new();
    stopped(&bench, [1]);
    bench.copy("data", "older");
    stopped(&bench, [2, 3]);
    bench.copy("data", "newest");
    bench.copy("older", "data");
    let said = bench.refused(&[], 6, "store-behind");
    assert!(said.contains("the store has 2 entries, and 4 were signed"), "{said}");
    assert!(said.contains("nothing is signed until it has every entry that was"), "{said}");
    bench.fail(&[&INIT], 6, "store-behind");
    bench.fail(&[&["check", "--data", "data"]], 6, "store-behind");

    // With everything lost but the checkpoint, there is no beginning anew either.
    bench.remove("data");
    bench.fail(&[&INIT], 6, "store-behind");
    bench.copy("newest", "data");
    stopped(&bench, [4]);
}

#[test]
fn a_directory_with_other_entries_than_were_signed_signs_nothing() {
    let (bench, other) = (Bench::new(), Bench::new());
    stopped(&bench, [1, 2]);
    stopped(&other, [1, 3]);
    fs::rename(bench.path("data"), bench.path("own")).unwrap();
    fs::rename(other.path("data"), bench.path("data")).unwrap();
    let said = bench.refused(&[], 6, "store-differs");
    assert!(said.contains("the first 3 entries of the store are not those that were signed"), "{said}");
    assert!(said.contains("Restore the directory and its last checkpoint from copies that belong together."), "{said}");
    bench.fail(&[&["check", "--data", "data"]], 6, "store-differs");

    // One bit of one hash.
    bench.remove("data");
    let mut replay = Replay::new(policy(Suites::default(), false, false), honest::now());
    let bundles = [honest::first(), honest::release(1), honest::release(2)];
    let mut additions: Vec<_> = bundles.iter().map(|bundle| replay.next(bundle).unwrap().addition).collect();
    additions[1].entry[7] ^= 1;
    let store = SledStore::open(&bench.path("data"), Mark { demonstration: false }).unwrap();
    store.commit(0, &additions).unwrap();
    drop(store);
    bench.refused(&[], 6, "store-differs");
    let said = bench.fail(&[&["check", "--data", "data"]], 6, "store-damaged");
    assert!(said.contains("the leaf of entry 1 is missing or changed"), "{said}");
    bench.copy("own", "data");
    stopped(&bench, [3]);
}
