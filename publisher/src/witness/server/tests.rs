use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smi_keys::files::FileError;
use smi_verifier::merkle::Tree;
use smi_verifier::note::sign_checkpoint;

use super::*;

const ORIGIN: &str = "log.example.org";
const NAME: &str = "witness.example.org/w1";

fn key(seed: &str) -> SigningKey {
    SigningKey::from_seed(*Digest::of(seed.as_bytes()).as_bytes())
}

fn now() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn log_key(origin: &str) -> NoteKey {
    NoteKey::new(origin, KeyKind::Log, key("log").public()).unwrap()
}

/// A tree of nine entries; from the sixth on there are two histories.
fn tree(fork: bool) -> Tree {
    let mut tree = Tree::default();
    for index in 0..9_u8 {
        tree.push(Hash::of_leaf(&[index, u8::from(fork && index >= 5)]));
    }
    tree
}

fn checkpoint(tree: &Tree, size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, tree.root_at(size).unwrap()).unwrap()
}

/// A request as an honest log makes it.
fn request(old: u64, size: u64) -> Vec<u8> {
    of(&tree(false), old, size)
}

fn of(tree: &Tree, old: u64, size: u64) -> Vec<u8> {
    let proof = tree.consistency(old, size).unwrap_or_default();
    AddCheckpoint { old, proof, note_bytes: sign_checkpoint(&checkpoint(tree, size), &key("log")).to_bytes() }
        .to_bytes()
}

fn with_note(old: u64, note: &[u8]) -> Vec<u8> {
    AddCheckpoint { old, proof: Vec::new(), note_bytes: note.to_owned() }.to_bytes()
}

/// A note of any text, signed as the log would.
fn signed(text: &str, by: &str) -> Vec<u8> {
    let signature = [&log_key(ORIGIN).id()[..], &key(by).sign(text.as_bytes())].concat();
    format!("{text}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature)).into_bytes()
}

fn witness(folder: &Path) -> Witness {
    Witness::open(folder, NAME, key("wit"), [log_key(ORIGIN)]).unwrap()
}

/// The status that a request is answered with.
fn status(witness: &Witness, body: &[u8]) -> u16 {
    witness.add_checkpoint(body, now()).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
}

#[test]
fn each_fault_has_its_status_in_the_order_of_the_specification() {
    let folder = tempfile::tempdir().unwrap();
    let witness = witness(folder.path());
    assert_eq!(status(&witness, &request(0, 5)), 200);
    let root = tree(false).root_at(7).unwrap().to_base64();
    let changed = |from: &str, to: &str| String::from_utf8(request(5, 7)).unwrap().replacen(from, to, 1).into_bytes();
    let elsewhere = sign_checkpoint(&Checkpoint::new("other.example.org", 7, Hash::of_leaf(b"")).unwrap(), &key("log"));
    let by_another = sign_checkpoint(&checkpoint(&tree(false), 7), &key("other"));
    let mut with_more = AddCheckpoint::read(&request(5, 7)).unwrap();
    with_more.proof.push(Hash::EMPTY);
    for (what, body, expected) in [
        ("nothing", Vec::new(), 400),
        ("no old size", changed("old 5\n", ""), 400),
        ("an old size with a leading zero", changed("old 5", "old 05"), 400),
        ("a hash that is no base64", changed("old 5\n", "old 5\nAAAA\n"), 400),
        ("no signature", with_note(5, format!("{ORIGIN}\n7\n{root}\n\n").as_bytes()), 400),
        ("a size with a leading zero", with_note(5, &signed(&format!("{ORIGIN}\n07\n{root}\n"), "log")), 400),
        ("a line beyond the root", with_note(5, &signed(&format!("{ORIGIN}\n7\n{root}\nmore\n"), "log")), 400),
        ("a root that is not canonical", with_note(5, &signed(&format!("{ORIGIN}\n7\n{root}=\n"), "log")), 400),
        ("an unknown log, old beyond the size", with_note(9, &elsewhere.to_bytes()), 404),
        ("another key, old beyond the size", with_note(9, &by_another.to_bytes()), 403),
        ("a bad signature of the key", with_note(9, &signed(&format!("{ORIGIN}\n7\n{root}\n"), "other")), 403),
        ("old beyond the size, and not the last", request(9, 7), 400),
        ("another old size and a false proof", of(&tree(true), 3, 7), 409),
        ("an old size of 0", request(0, 7), 409),
        ("no proof", with_note(5, &sign_checkpoint(&checkpoint(&tree(false), 7), &key("log")).to_bytes()), 422),
        ("a proof with a hash too many", with_more.to_bytes(), 422),
        ("the same size and another root", with_note(5, &signed(&format!("{ORIGIN}\n5\n{root}\n"), "log")), 422),
        ("a size of 0 with a root", with_note(0, &signed(&format!("{ORIGIN}\n0\n{root}\n"), "log")), 422),
        ("what is sound", request(5, 7), 200),
        ("the same again", request(7, 7), 200),
        ("a fork of it", of(&tree(true), 7, 8), 422),
        ("a smaller one", request(7, 6), 400),
        ("one that was before", request(5, 6), 409),
    ] {
        assert_eq!(status(&witness, &body), expected, "{what}");
    }
}

#[test]
fn of_a_log_that_is_new_nothing_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let witness = witness(folder.path());
    let mut proven = AddCheckpoint::read(&request(0, 5)).unwrap();
    proven.proof.push(Hash::EMPTY);
    assert_eq!(status(&witness, &proven.to_bytes()), 422);
    let filled = with_note(0, &signed(&format!("{ORIGIN}\n0\n{}\n", Hash::of_leaf(b"").to_base64()), "log"));
    assert_eq!(status(&witness, &filled), 422);
    let emptied = with_note(0, &signed(&format!("{ORIGIN}\n3\n{}\n", Hash::EMPTY.to_base64()), "log"));
    assert_eq!(status(&witness, &emptied), 422);
    assert_eq!(witness.latest(&hash(ORIGIN)).unwrap(), None, "nothing refused is kept");
    assert_eq!(status(&witness, &request(0, 0)), 200);
    assert_eq!(status(&witness, &request(0, 1)), 200);
}

#[test]
fn what_is_cosigned_is_kept_and_served() {
    let folder = tempfile::tempdir().unwrap();
    let cosignature = witness(folder.path()).add_checkpoint(&request(0, 5), now()).unwrap();
    // A cosignature of another witness is none of ours to hand on.
    let mut foreign = sign_checkpoint(&checkpoint(&tree(false), 7), &key("log"));
    foreign.push(cosign(&checkpoint(&tree(false), 7), "other", &key("other"), 1).unwrap()).unwrap();

    let again = witness(folder.path());
    let kept = open(&again.latest(&hash(ORIGIN)).unwrap().unwrap(), &log_key(ORIGIN)).unwrap();
    assert_eq!(kept.checkpoint(), &checkpoint(&tree(false), 5));
    assert!(kept.note().signatures().contains(&cosignature));
    let time = u64::try_from(now().unix_seconds()).unwrap();
    assert_eq!(kept.cosignatures(&[again.key().clone()]), Ok(vec![(0, time)]));
    assert_eq!(again.latest(&hash("other.example.org")).unwrap(), None);

    let mut asked = AddCheckpoint::read(&request(5, 7)).unwrap();
    asked.note_bytes = foreign.to_bytes();
    again.add_checkpoint(&asked.to_bytes(), now()).unwrap();
    let kept = Note::read(&again.latest(&hash(ORIGIN)).unwrap().unwrap()).unwrap();
    assert_eq!(kept.signatures().iter().map(NoteSignature::name).collect::<Vec<_>>(), [ORIGIN, NAME]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "one file for each log, and its lock");
}

#[test]
fn a_witness_without_a_time_cosigns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let witness = witness(folder.path());
    let refused = witness.add_checkpoint(&request(0, 5), Timestamp::EPOCH).unwrap_err();
    assert_eq!(refused.status().as_u16(), 500);
    assert_eq!(witness.latest(&hash(ORIGIN)).unwrap(), None);
}

#[test]
fn of_requests_at_the_same_time_one_wins() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        // Two processes with one directory, and two requests to each.
        let witnesses = [witness(folder.path()), witness(folder.path())];
        let statuses: Vec<u16> = thread::scope(|scope| {
            let asked = [(0, 3), (1, 5), (0, 7), (1, 8)];
            let asked = asked.map(|(at, size)| {
                scope.spawn({
                    let witness = &witnesses[at];
                    move || status(witness, &request(0, size))
                })
            });
            asked.into_iter().map(|status| status.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 3, "{statuses:?}");
    }
}

/// A cell that is written by somebody else, or fails, or loses power, between reading and swapping.
#[derive(Clone, Default)]
struct Troubled {
    kept: Arc<Mutex<Option<Vec<u8>>>>,
    next: Arc<Mutex<Option<Trouble>>>,
    swaps: Arc<AtomicU32>,
}

#[derive(Clone)]
enum Trouble {
    /// Somebody else writes this first.
    Written(Vec<u8>),
    /// It is written, and whether it is durable is not known.
    Unsure,
}

impl Cell for Troubled {
    fn load(&mut self) -> Result<Option<Vec<u8>>, CellError> {
        Ok(self.kept.lock().unwrap().clone())
    }

    fn swap(&mut self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), CellError> {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let trouble = self.next.lock().unwrap().take();
        let mut kept = self.kept.lock().unwrap();
        if let Some(Trouble::Written(other)) = &trouble {
            *kept = Some(other.clone());
        }
        if kept.as_deref() != expected {
            return Err(CellError::Conflict);
        }
        *kept = Some(new.to_owned());
        match trouble {
            Some(Trouble::Unsure) => {
                let cause = io::Error::other("the folder was not synced");
                Err(CellError::File(FileError::Unwritable { path: PathBuf::new(), cause }))
            }
            _ => Ok(()),
        }
    }
}

fn troubled() -> (Witness, Troubled) {
    let cell = Troubled::default();
    let witness = Witness::new(NAME, key("wit"), [(log_key(ORIGIN), Box::new(cell.clone()) as Box<dyn Cell>)]);
    (witness.unwrap(), cell)
}

#[test]
fn who_lost_the_race_is_told_the_size_that_won() {
    let (witness, cell) = troubled();
    let won = sign_checkpoint(&checkpoint(&tree(false), 8), &key("log")).to_bytes();
    *cell.next.lock().unwrap() = Some(Trouble::Written(won));
    let refused = witness.add_checkpoint(&request(0, 5), now());
    assert!(matches!(refused, Err(Refusal::Conflict { size: 8 })), "{refused:?}");
}

#[test]
fn a_crash_between_swap_and_answer_is_asked_again() {
    let (witness, cell) = troubled();
    *cell.next.lock().unwrap() = Some(Trouble::Unsure);
    assert_eq!(status(&witness, &request(0, 5)), 500);
    let refused = witness.add_checkpoint(&request(0, 5), now());
    assert!(matches!(refused, Err(Refusal::Conflict { size: 5 })), "{refused:?}");
    assert_eq!(status(&witness, &request(5, 5)), 200, "and answers");
    assert_eq!(status(&witness, &of(&tree(true), 5, 7)), 200, "so far the histories are one");
    assert_eq!(status(&witness, &request(7, 8)), 422, "and from here on they are not");
}

#[test]
fn who_asks_again_gets_the_time_and_costs_no_write() {
    let (witness, cell) = troubled();
    let at =
        |seconds: u64| Timestamp::from_unix_seconds(now().unix_seconds() + i64::try_from(seconds).unwrap()).unwrap();
    let time_of = |note: Note| {
        let signed = note.open(&log_key(ORIGIN)).unwrap();
        let [(_, time)] = signed.cosignatures(&[witness.key().clone()]).unwrap()[..] else { panic!("one cosignature") };
        time - u64::try_from(now().unix_seconds()).unwrap()
    };
    let asked = |seconds| {
        let cosignature = witness.add_checkpoint(&request(5, 5), at(seconds)).unwrap();
        let mut note = sign_checkpoint(&checkpoint(&tree(false), 5), &key("log"));
        note.push(cosignature).unwrap();
        time_of(note)
    };
    let kept = || time_of(Note::read(&witness.latest(&hash(ORIGIN)).unwrap().unwrap()).unwrap());
    let swaps = || cell.swaps.load(Ordering::SeqCst);

    witness.add_checkpoint(&request(0, 5), now()).unwrap();
    let before = swaps();
    let minute = MAX_TIME_AGE.as_secs();
    for seconds in [0, 1, minute] {
        assert_eq!(asked(seconds), seconds, "the cosignature is of now");
        assert_eq!((kept(), swaps()), (0, before), "after {seconds} s");
    }
    assert_eq!((asked(minute + 1), kept(), swaps()), (minute + 1, minute + 1, before + 1));
    // The clock was wrong, and is set: once.
    assert_eq!((asked(10), kept(), swaps()), (10, 10, before + 2));
    assert_eq!((asked(11), kept(), swaps()), (11, 10, before + 2));

    // It is no way around what is kept.
    assert_eq!(status(&witness, &of(&tree(true), 5, 5)), 200, "so far the histories are one");
    let forked = Checkpoint::new(ORIGIN, 5, Hash::of_leaf(b"another")).unwrap();
    assert_eq!(status(&witness, &with_note(5, &sign_checkpoint(&forked, &key("log")).to_bytes())), 422);
    assert_eq!(status(&witness, &request(5, 7)), 200, "a larger one is kept whatever its time");
    assert_eq!(
        witness.latest(&hash(ORIGIN)).unwrap().map(|note| open(&note, &log_key(ORIGIN)).unwrap().checkpoint().size()),
        Some(7)
    );
}

#[test]
fn what_is_not_its_state_keeps_it_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    witness(folder.path()).add_checkpoint(&request(0, 5), now()).unwrap();
    let other = NoteKey::new(ORIGIN, KeyKind::Log, key("other").public()).unwrap();
    let open = |logs: Vec<NoteKey>| Witness::open(folder.path(), NAME, key("wit"), logs).map(|_| ());
    let code = |logs| open(logs).map_err(|error| error.code());
    assert_eq!(code(vec![other.clone()]), Err(Code::WitnessState));
    assert_eq!(code(vec![log_key(ORIGIN), other]), Err(Code::WitnessState));
    let two = NoteKey::new("two.example.org", KeyKind::Log, key("two").public()).unwrap();
    let again = NoteKey::new("two.example.org", KeyKind::Log, key("again").public()).unwrap();
    assert_eq!(code(vec![two, again]), Err(Code::WitnessOption));
    let no_log = NoteKey::new(ORIGIN, KeyKind::Witness, key("log").public()).unwrap();
    assert_eq!(code(vec![no_log]), Err(Code::WitnessOption));

    let file = folder.path().join(hash(ORIGIN));
    let running = witness(folder.path());
    std::fs::write(&file, "torn").unwrap();
    assert_eq!(code(vec![log_key(ORIGIN)]), Err(Code::WitnessState));
    assert_eq!(status(&running, &request(5, 7)), 500);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status(&running, &request(0, 7)), 500, "what is gone is not nothing");
    assert!(matches!(running.latest(&hash(ORIGIN)), Err(StateError::Gone)));
}

#[tokio::test]
async fn a_body_is_too_long_by_the_type_of_the_error() {
    let long = to_bytes(Body::from("four"), 3).await.unwrap_err();
    assert!(is_too_long(&long));
    let broken =
        futures_util::stream::iter([Err::<axum::body::Bytes, _>(std::io::Error::other("length limit exceeded"))]);
    assert!(!is_too_long(&to_bytes(Body::from_stream(broken), 3).await.unwrap_err()));
}
