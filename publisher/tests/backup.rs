//! `check`, `backup` and `restore`, by the binary, on what a publisher wrote and on what somebody made of it.

#![allow(clippy::unwrap_used)] // a test stops where it fails

mod honest;
mod operator;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use operator::{Bench, Running};
use smi_keys::SigningKey;
use smi_keys::keyring::{Entry as KeyEntry, Keyring, Role};
use smi_publisher::admission::policy;
use smi_publisher::recover::encode;
use smi_publisher::replay::{self, Replay};
use smi_publisher::store::{Addition, MAX_BATCH, Mark, SledStore, Store as _};
use smi_schemas::bundle::Bundle;
use smi_schemas::feed::Entry;
use smi_schemas::leaf::Leaf;
use smi_verifier::merkle::Hash;
use smi_verifier::policy::Suites;
use smi_verifier::receipt::log_key;

const CHECK: [&str; 3] = ["check", "--data", "data"];
const CHECK_BACKUP: [&str; 5] = ["check", "--data", "backup/store", "--cell", "backup/checkpoint"];
const RESTORE: [&str; 5] = ["restore", "--from", "backup", "--data", "data"];

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(10);

/// Callers at once.
const CALLERS: u64 = 4;

fn backup(bench: &Bench, running: &Running) -> String {
    bench.done(&[&["backup", "--from", &format!("http://{}", running.address), "--to", "backup"]])
}

/// A log with these releases that runs.
fn running(bench: &Bench, releases: impl IntoIterator<Item = u64>) -> Running {
    bench.init(&[]);
    let running = bench.serve(&[]);
    for number in releases {
        assert_eq!(running.post(&honest::release(number)), 201);
    }
    running
}

/// What a store holds if these bundles are its entries.
fn additions(bundles: &[Vec<u8>]) -> Vec<Addition> {
    let mut replay = Replay::new(policy(Suites::default(), false, false), honest::now());
    bundles.iter().map(|bundle| replay.next(bundle).unwrap().addition).collect()
}

/// Makes a store of additions.
fn store(bench: &Bench, name: &str, additions: &[Addition]) {
    let store = SledStore::open(&bench.path(name), Mark { demonstration: false }).unwrap();
    for batch in additions.chunks(MAX_BATCH) {
        store.commit(store.head().unwrap(), batch).unwrap();
    }
}

#[test]
fn a_backup_under_load_is_whole_and_a_log_goes_on_from_it() {
    let bench = Bench::new();
    bench.init(&[]);
    // More than two tiles, which starting signs: the first entry was, and nobody was told of the others.
    bench.remove("data");
    let bundles: Vec<_> = [honest::first()].into_iter().chain((1..600).map(honest::release)).collect();
    store(&bench, "data", &additions(&bundles));
    let running = bench.serve(&["--quota", "1000000"]);
    let (next, stop) = (AtomicU64::new(600), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(running.post(&honest::release(next.fetch_add(1, Ordering::SeqCst))), 201);
                }
            });
        }
        for _ in 0..4 {
            let said = backup(&bench, &running);
            assert!(said.contains("log.example.org"), "{said}");
            let checked = bench.done(&[&CHECK_BACKUP]);
            assert!(checked.contains("every entry follows from its bundle"), "{checked}");
            thread::sleep(Duration::from_millis(200));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let said = backup(&bench, &running);
    let submitted = next.load(Ordering::SeqCst) - 1;
    assert!(said.contains(&format!(": {} entries, ", submitted + 1)), "{said}");
    assert!(backup(&bench, &running).contains(", 0 of them new"));
    assert!(bench.done(&[&CHECK_BACKUP]).contains(&format!("{submitted} suites, 1 keyrings")));

    let heads = |running: &Running| ["/checkpoint", "/v1/view.json"].map(|path| running.get(path));
    let before = heads(&running);
    assert_eq!(running.signal("-TERM"), Some(0));
    assert!(bench.done(&[&CHECK]).contains(&format!("signed    {} entries", submitted + 1)));

    // The directory is lost, and the cell is not.
    bench.remove("data");
    bench.done(&[&RESTORE]);
    let running = bench.serve(&[]);
    let body = |answer: &String| answer.split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert_eq!(heads(&running).each_ref().map(body), before.each_ref().map(body));
    assert_eq!(running.post(&honest::release(submitted)), 200, "it is there already");
    assert_eq!(running.post(&honest::release(submitted + 1)), 201);
    assert!(backup(&bench, &running).contains(", 1 of them new"), "the backup goes on too");
    assert_eq!(running.signal("-TERM"), Some(0));
    bench.done(&[&CHECK]);
}

#[test]
fn a_backup_without_everything_that_was_signed_is_not_restored() {
    let bench = Bench::new();
    let running = running(&bench, [1]);
    backup(&bench, &running);
    bench.copy("backup", "older");
    assert_eq!(running.post(&honest::release(2)), 201);
    backup(&bench, &running);
    assert_eq!(running.signal("-TERM"), Some(0));
    bench.remove("data");

    let said = bench.fail(&[&["restore", "--from", "older", "--data", "data"]], 6, "store-behind");
    assert!(said.contains("the store has 2 entries, and 3 were signed"), "{said}");
    assert!(!bench.path("data").exists(), "nothing was made");
    bench.fail(&[&RESTORE, &["--cell", "elsewhere"]], 6, "cell-missing");
    bench.fail(&[&["restore", "--from", "nowhere", "--data", "data"]], 6, "backup-missing");
    bench.write("notes", b"notes to myself");
    bench.fail(&[&RESTORE, &["--cell", "notes"]], 6, "cell-foreign");
    assert!(!bench.path("data").exists() && !bench.path("nowhere").exists(), "nothing was made");
    bench.done(&[&RESTORE]);
    // A backup is no log to serve: the last checkpoint is not with it.
    bench.fail(&[&["serve", "--data", "backup/store", "--log-key", "log.pem"], &operator::ANYWHERE], 6, "cell-missing");
}

#[test]
fn restoring_replaces_nothing_and_may_be_repeated() {
    let bench = Bench::new();
    let releases = 1..=40;
    let running = running(&bench, releases.clone());
    backup(&bench, &running);
    assert_eq!(running.signal("-TERM"), Some(0));
    bench.copy("data", "own");
    assert!(bench.done(&[&RESTORE]).contains("41 entries, 0 of them new"), "all of it is there");

    // A crash leaves a part.
    let bundles: Vec<_> = [honest::first()].into_iter().chain(releases.map(honest::release)).collect();
    bench.remove("data");
    store(&bench, "data", &additions(&bundles[..10]));
    bench.refused(&[], 6, "store-behind");
    assert!(bench.done(&[&RESTORE]).contains("41 entries, 31 of them new"));
    for pause in [5, 50, 100, 150, 200, 250, 300] {
        bench.remove("data");
        let mut child = bench.command(&[&RESTORE]).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().unwrap();
        fs::create_dir_all(bench.path("data")).unwrap();
        assert!(bench.done(&[&RESTORE]).contains("41 entries, "), "after {pause} ms");
    }
    assert_eq!(bench.serve(&[]).signal("-TERM"), Some(0));

    // Another log's, and something else.
    bench.remove("data");
    store(&bench, "data", &additions(&[honest::first(), honest::release(41)]));
    let said = bench.fail(&[&RESTORE], 6, "restore-occupied");
    assert!(said.contains("entry 1 is there"), "{said}");
    assert_eq!(SledStore::open(&bench.path("data"), Mark { demonstration: false }).unwrap().head().unwrap(), 2);
    bench.remove("data");
    fs::create_dir(bench.path("data")).unwrap();
    bench.write("data/thesis.tex", b"precious");
    bench.fail(&[&RESTORE], 6, "store-not-ours");
    bench.remove("data");
    bench.copy("own", "data");
    let running = bench.serve(&[]);
    bench.fail(&[&RESTORE], 6, "store-in-use");
    bench.fail(&[&CHECK], 6, "store-in-use");
    assert_eq!(running.post(&honest::release(41)), 201);
}

#[test]
fn a_backup_is_of_one_log_and_of_a_log() {
    let bench = Bench::new();
    let one = running(&bench, [1, 2]);
    backup(&bench, &one);
    let from = |address: &str| {
        ["backup".to_owned(), "--from".into(), format!("http://{address}"), "--to".into(), "backup".into()]
    };
    let fails = |address: &str, exit, code| {
        let arguments = from(address);
        bench.fail(&[&arguments.each_ref().map(String::as_str)], exit, code)
    };
    // The same keyring, and another history: as long, and longer.
    let other = Bench::new();
    let forked = running(&other, [1, 3]);
    fails(&forked.address, 6, "backup-differs");
    assert_eq!(forked.post(&honest::release(4)), 201);
    fails(&forked.address, 6, "backup-differs");
    // Shorter.
    let short = Bench::new();
    let short_one = running(&short, []);
    fails(&short_one.address, 6, "backup-differs");
    // Another log.
    let stranger = Bench::of("other.example.org");
    let strangers = running(&stranger, [1, 2]);
    fails(&strangers.address, 6, "backup-differs");
    // Nobody.
    let nobody = strangers.address.clone();
    drop(strangers);
    fails(&nobody, 9, "publisher-unreachable");
    bench.done(&[&CHECK_BACKUP]);
    assert!(backup(&bench, &one).contains(", 0 of them new"));

    // A demonstration stays one.
    let demonstration = Bench::of("demo.example.org");
    demonstration.init(&["--allow-sandbox"]);
    let running = demonstration.serve(&["--allow-sandbox"]);
    backup(&demonstration, &running);
    assert_eq!(running.signal("-TERM"), Some(0));
    demonstration.remove("data");
    demonstration.done(&[&RESTORE]);
    demonstration.refused(&[], 6, "store-demonstration");
    assert_eq!(demonstration.serve(&["--allow-sandbox"]).signal("-TERM"), Some(0));
}

#[test]
fn nothing_is_backed_up_that_was_changed_on_its_way() {
    let bench = Bench::new();
    let running = running(&bench, [1, 2]);
    for (at, remove) in [
        ("/checkpoint", 0),
        ("/tile/0/", 0),
        ("/tile/entries/", 0),
        ("/v1/bundles/", 0),
        ("/checkpoint", 5),
        ("/tile/0/", 5),
        ("/tile/entries/", 5),
        ("/v1/bundles/", 5),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let from = format!("http://{}", listener.local_addr().unwrap());
        let arguments = ["backup", "--from", from.as_str(), "--to", "backup"];
        thread::scope(|scope| {
            scope.spawn(|| {
                lie(&listener, &running, |path, body| {
                    if path.starts_with(at) {
                        let middle = body.len() / 2;
                        body[middle] ^= u8::from(remove == 0);
                        body.truncate(body.len() - remove);
                    }
                });
            });
            let (exit, said) = bench.run(&[&arguments]);
            // Another connection, to end it.
            drop(TcpStream::connect(listener.local_addr().unwrap()));
            assert!([Some(6), Some(8), Some(9)].contains(&exit), "{at}: {said}");
            assert!(said.contains("remedy: "), "{at}: {said}");
        });
        // What is there by now is a part of the log.
        if bench.path("backup/store").exists() {
            let part = SledStore::open(&bench.path("backup/store"), Mark { demonstration: false }).unwrap();
            replay::check(&part, policy(Suites::default(), false, false), honest::now()).unwrap();
        }
    }
    assert!(backup(&bench, &running).contains(": 3 entries, "));
    bench.done(&[&CHECK_BACKUP]);
}

#[test]
fn another_history_under_the_same_checkpoint_is_not_backed_up() {
    let (bench, other) = (Bench::new(), Bench::new());
    let (one, two) = (running(&bench, [1, 2]), running(&other, [1, 3]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("http://{}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        // Entries and bundles are sound, and not those that were signed.
        scope.spawn(|| {
            lie(&listener, &one, |path, body| {
                if path.starts_with("/tile/entries/") || path.starts_with("/v1/bundles/") {
                    *body = body_of(&two.get_bytes(path)).to_vec();
                }
            });
        });
        let (exit, said) = bench.run(&[&["backup", "--from", &from, "--to", "backup"]]);
        drop(TcpStream::connect(listener.local_addr().unwrap()));
        assert_eq!((exit, said.contains("error[backup-differs]")), (Some(6), true), "{said}");
        assert!(said.contains("the leaf of entry 2 is not the one that was signed"), "{said}");
    });
}

/// A witness that runs, and the keyring of a log that asks for it and for nobody else.
fn witnessed(bench: &Bench) -> (Running, Keyring) {
    bench.key("w1.pem", "w1");
    let (log, name) = (log_key(&honest::keyring()).unwrap().to_string(), "witness.example.org/w1");
    let arguments = ["witness", "--data", "w1", "--key", "w1.pem", "--name", name, "--log", &log];
    let witness = bench.start(&[&arguments, &operator::ANYWHERE]);
    let mut keyring = honest::keyring();
    let mut entry = KeyEntry::new("w1".parse().unwrap(), Role::Witness, honest::key("w1").public());
    entry.note_name = Some(name.parse().unwrap());
    entry.url = Some(format!("http://{}", witness.address).parse().unwrap());
    keyring.add(entry).unwrap();
    keyring.set(Some(1), Some(1)).unwrap();
    bench.write("first.json", &honest::signed(&keyring, None));
    (witness, keyring)
}

#[test]
fn what_the_witnesses_did_not_see_is_not_backed_up() {
    let bench = Bench::new();
    let (_witness, keyring) = witnessed(&bench);
    let running = published(&bench, &[honest::signed(&keyring, None)]);
    assert_unwitnessed(&bench, &running);
    assert!(!bench.path("backup/checkpoint").exists(), "no checkpoint is kept");
    assert!(!bench.path("backup/store").exists(), "nor any entry");

    assert!(backup(&bench, &running).contains(": 300 entries, 300 of them new"));
    let before = fs::read(bench.path("backup/checkpoint")).unwrap();
    assert_unwitnessed(&bench, &running);
    assert_eq!(fs::read(bench.path("backup/checkpoint")).unwrap(), before, "nothing is new");

    // Whom the log asks is said by the keyring in force at the checkpoint: this one asks nobody.
    let mut without = keyring.clone();
    without.set(Some(1), None).unwrap();
    assert_eq!(running.post(&honest::signed(&without, Some(&keyring))), 201);
    assert!(backup(&bench, &running).contains(": 301 entries, 1 of them new"));
    bench.done(&[&CHECK_BACKUP]);
}

#[test]
fn a_keyring_among_what_is_new_may_ask_for_witnesses() {
    let bench = Bench::new();
    let (_witness, keyring) = witnessed(&bench);
    let first = honest::keyring();
    bench.write("first.json", &honest::signed(&first, None));
    let running = published(&bench, &[honest::signed(&first, None), honest::signed(&keyring, Some(&first))]);
    assert_unwitnessed(&bench, &running);
    assert!(!bench.path("backup/store").exists(), "no entry is kept");
    assert!(backup(&bench, &running).contains(": 300 entries, 300 of them new"));
    bench.done(&[&CHECK_BACKUP]);
}

/// A publisher of a log that begins like this and has 300 entries: more than a tile, and more than a batch, so that there
/// is something to commit before the last one.
fn published(bench: &Bench, first: &[Vec<u8>]) -> Running {
    let bundles: Vec<_> = first.iter().cloned().chain((1..).map(honest::release)).take(300).collect();
    bench.init(&[]);
    bench.remove("data");
    store(bench, "data", &additions(&bundles));
    let running = bench.serve(&[]);
    let began = Instant::now();
    while !running.get("/checkpoint").contains("\n300\n") {
        assert!(began.elapsed() < SOON, "{}", running.get("/readyz?verbose"));
        thread::sleep(Duration::from_millis(50));
    }
    running
}

/// Nothing is backed up from a publisher whose checkpoint comes without the witness's cosignature.
fn assert_unwitnessed(bench: &Bench, running: &Running) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("http://{}", listener.local_addr().unwrap());
    let without_witness = |path: &str, body: &mut Vec<u8>| {
        if path == "/checkpoint" {
            let note = String::from_utf8(body.clone()).unwrap();
            let lines = note.split_inclusive('\n').filter(|line| !line.contains("witness.example.org"));
            *body = lines.collect::<String>().into_bytes();
        }
    };
    let (exit, said) = thread::scope(|scope| {
        scope.spawn(|| lie(&listener, running, without_witness));
        let ended = bench.run(&[&["backup", "--from", &from, "--to", "backup"]]);
        drop(TcpStream::connect(listener.local_addr().unwrap()));
        ended
    });
    assert_eq!((exit, said.contains("error[backup-unwitnessed]")), (Some(6), true), "{said}");
}

fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

/// Stands between a reader and a publisher, and changes what is at a path. A connection without a request ends it.
fn lie(listener: &TcpListener, publisher: &Running, change: impl Fn(&str, &mut Vec<u8>)) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            head = format!("{head}{line}\n");
        }
        let Some(path) = head.split(' ').nth(1) else { return };
        let mut body = body_of(&publisher.get_bytes(path)).to_vec();
        change(path, &mut body);
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    }
}

#[test]
fn what_was_changed_is_found_at_its_index() {
    let bench = Bench::new();
    let running = running(&bench, [1, 2, 3]);
    backup(&bench, &running);
    assert_eq!(running.signal("-TERM"), Some(0));
    let said = bench.done(&[&CHECK]);
    assert!(said.contains("4: 0 results, 3 suites, 1 keyrings,"), "{said}");
    assert!(said.contains("signed    4 entries, in data.checkpoint"), "{said}");

    // One bit anywhere in leaves and bundles, of the store and of its backup.
    for name in ["data", "backup/store"] {
        let blobs = fs::File::options().read(true).write(true).open(bench.path(name).join("blobs")).unwrap();
        let length = blobs.metadata().unwrap().len();
        for at in (0..length).step_by(usize::try_from(length / 8).unwrap()) {
            let mut byte = [0];
            blobs.read_exact_at(&mut byte, at).unwrap();
            blobs.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let check: &[&str] = if name == "data" { &CHECK } else { &RESTORE };
            let said = bench.fail(&[check], 6, "store-damaged");
            assert!(said.contains(" of entry "), "{said}");
            blobs.write_all_at(&byte, at).unwrap();
        }
    }
    bench.done(&[&CHECK]);
    bench.done(&[&RESTORE]);
}

#[test]
fn what_may_not_be_in_the_log_is_found_at_its_index() {
    let later = |number| {
        let payload = Bundle::read(&honest::release(number)).unwrap().payload;
        String::from_utf8(payload).unwrap().replace("12:00:00Z", "12:00:01Z").into_bytes()
    };
    // Signed by nobody known; by a key without the role; and a second release of a version.
    let cases: [(&SigningKey, u64, i32, &str); 3] = [
        (&honest::key("stranger"), 3, 8, "key-unknown"),
        (&honest::key("log"), 3, 8, "key-role"),
        (&honest::key("suite"), 1, 6, "entry-wrong"),
    ];
    for (signer, number, exit, code) in cases {
        let bench = Bench::new();
        let running = running(&bench, []);
        assert_eq!(running.signal("-TERM"), Some(0));
        bench.remove("data");
        let mut all = additions(&[honest::first(), honest::release(1), honest::release(2)]);
        all.push(forged(&all[2], &signer.sign_statement(&later(number)), signer, 3));
        store(&bench, "data", &all);
        let said = bench.fail(&[&CHECK], exit, code);
        assert!(said.contains("entry 3: "), "{said}");
    }
}

#[test]
fn what_does_not_follow_from_its_bundle_is_found_at_its_index() {
    let honest = additions(&[honest::first(), honest::release(1), honest::release(2)]);
    let entry: Entry = serde_json::from_slice(&honest[2].entry[32..]).unwrap();
    let hash = Hash::of_leaf(&honest[2].leaf);
    // Readers are told another signer; the leaf is that of another bundle, and its hash too.
    let misquoted = encode(&hash, &Entry { signer: "nobody".parse().unwrap(), ..entry.clone() });
    let leaf = additions(&[honest::first(), honest::release(1), honest::release(3)])[2].leaf.clone();
    let other = encode(&Hash::of_leaf(&leaf), &entry);
    for (wrong, what) in [
        (Addition { entry: misquoted, ..honest[2].clone() }, "entry 2 is"),
        (Addition { entry: other, leaf, ..honest[2].clone() }, "the leaf of entry 2 is"),
    ] {
        let bench = Bench::new();
        bench.init(&[]);
        bench.remove("data");
        store(&bench, "data", &[&honest[..2], &[wrong]].concat());
        let said = bench.fail(&[&CHECK], 6, "store-damaged");
        assert!(said.contains(what), "{said}");
    }
}

/// The entry of a bundle that no publisher would log, consistent in itself.
fn forged(like: &Addition, bundle: &Bundle, signer: &SigningKey, index: u64) -> Addition {
    let leaf = Leaf::of(bundle, [signer.public().to_spki_pem().as_str()]).to_bytes();
    let like: Entry = serde_json::from_slice(&like.entry[32..]).unwrap();
    let entry = Entry { index, payload: bundle.payload_digest(), key_id: bundle.signature.keyid.clone(), ..like };
    let hash = Hash::of_leaf(&leaf);
    Addition { digest: entry.payload, entry: encode(&hash, &entry), leaf, blob: bundle.to_bytes() }
}
