use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smi_keys::SigningKey;
use smi_keys::keyring::Role;
use smi_schemas::Digest;
use smi_verifier::merkle::Hash;
use smi_verifier::note::{Checkpoint, cosign, sign_checkpoint};
use smi_verifier::proof::write_size;
use tokio::net::TcpListener;

use super::*;

const ORIGIN: &str = "log.example.org";
const NAME: &str = "witness.example.org/w1";
const TIME: u64 = 1_760_000_000;

fn key(seed: &str) -> SigningKey {
    SigningKey::from_seed(*Digest::of(seed.as_bytes()).as_bytes())
}

fn now() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn checkpoint(origin: &str, size: u64) -> Checkpoint {
    Checkpoint::new(origin, size, tree().root_at(size).unwrap()).unwrap()
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    for index in 0..9_u8 {
        tree.push(Hash::of_leaf(&[index]));
    }
    tree
}

fn head(size: u64) -> Arc<Head> {
    let checkpoint = checkpoint(ORIGIN, size);
    let note = sign_checkpoint(&checkpoint, &key("log")).to_bytes();
    Arc::new(Head { checkpoint, note, trusted: None })
}

/// The line with which an honest witness answers.
fn cosigned(size: u64) -> Response {
    cosign(&checkpoint(ORIGIN, size), NAME, &key("wit"), TIME).unwrap().to_line().into_response()
}

fn saw(size: u64) -> Response {
    (StatusCode::CONFLICT, [(CONTENT_TYPE, SIZE_MEDIA_TYPE)], write_size(size)).into_response()
}

/// A witness that answers as it is told to, and remembers what it was asked.
struct Fake {
    witnesses: Witnesses,
    entry: Entry,
    asked: Arc<Mutex<Vec<AddCheckpoint>>>,
}

type Script = Arc<dyn Fn(usize) -> Option<Response> + Send + Sync>;

impl Fake {
    /// `script` answers each request by its number, or never.
    async fn start(script: impl Fn(usize) -> Option<Response> + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<AddCheckpoint>>> = Arc::default();
        let state = (Arc::clone(&asked), Arc::new(script) as Script);
        let answer = async |State((asked, script)): State<(Arc<Mutex<Vec<AddCheckpoint>>>, Script)>, body: Bytes| {
            let number = {
                let mut asked = asked.lock().unwrap();
                asked.push(AddCheckpoint::read(&body).unwrap());
                asked.len()
            };
            match script(number) {
                Some(response) => response,
                None => std::future::pending().await,
            }
        };
        let router = Router::new().route("/w/add-checkpoint", post(answer)).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        tokio::spawn(crate::http::serve(listener, router, std::future::pending()));
        let mut entry = Entry::new("w1".parse().unwrap(), Role::Witness, key("wit").public());
        (entry.note_name, entry.url) = (Some(NAME.parse().unwrap()), Some(url.parse().unwrap()));
        let log = NoteKey::new(ORIGIN, KeyKind::Log, key("log").public()).unwrap();
        let witnesses = Witnesses::new(log, Arc::new(RwLock::new(tree())), Arc::default(), now);
        Self { witnesses: witnesses.with_timeout(Duration::from_millis(300)), entry, asked }
    }

    async fn ask(&self, size: u64) -> Result<NoteSignature, AskError> {
        let (question, seen) = self.witnesses.question(&head(size), &self.entry).unwrap();
        question.ask(seen, |_| ()).await
    }

    /// The old sizes of the requests, each of which has a proof from there.
    fn olds(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        for AddCheckpoint { old, proof, note_bytes } in &*asked {
            let log = NoteKey::new(ORIGIN, KeyKind::Log, key("log").public()).unwrap();
            let signed = smi_verifier::note::open(note_bytes, &log).unwrap();
            let new = signed.checkpoint();
            let from = tree().root_at(*old).unwrap();
            smi_verifier::merkle::check_consistency((*old, &from), (new.size(), new.root()), proof).unwrap();
        }
        asked.iter().map(|request| request.old).collect()
    }
}

#[tokio::test]
async fn it_goes_on_from_what_the_witness_saw() {
    let fake = Fake::start(|number| Some(if number == 1 { saw(2) } else { cosigned([5, 8][number - 2]) })).await;
    fake.ask(5).await.unwrap();
    fake.ask(8).await.unwrap();
    assert_eq!(fake.olds(), [0, 2, 5]);
}

#[tokio::test]
async fn it_asks_once_more_and_no_more() {
    let fickle = Fake::start(|number| Some(saw(number as u64))).await;
    assert!(matches!(fickle.ask(5).await, Err(AskError::Fickle { seen: 2 })));
    assert_eq!(fickle.olds(), [0, 1]);
    let ahead = Fake::start(|_| Some(saw(6))).await;
    assert!(matches!(ahead.ask(5).await, Err(AskError::Ahead { seen: 6, size: 5 })));
    assert_eq!(ahead.olds(), [0]);
    // The newest head is what is asked about next, and there the witness is not ahead.
    assert!(matches!(ahead.ask(8).await, Err(AskError::Fickle { .. })));
    assert_eq!(ahead.olds(), [0, 6, 6]);
}

#[tokio::test]
async fn only_a_size_of_the_right_kind_is_one() {
    let text = (StatusCode::CONFLICT, "2\n").into_response();
    let refused = (StatusCode::CONFLICT, [(CONTENT_TYPE, SIZE_MEDIA_TYPE)], "02\n").into_response();
    for response in [text, refused] {
        let response = Mutex::new(Some(response));
        let fake = Fake::start(move |_| response.lock().unwrap().take()).await;
        assert!(matches!(fake.ask(5).await, Err(AskError::Refused { status: StatusCode::CONFLICT, .. })));
    }
}

/// A cosignature with a time that [`cosign`] would refuse.
fn at(time: u64, text: &str) -> String {
    let witness = NoteKey::new(NAME, KeyKind::Witness, key("wit").public()).unwrap();
    let signature = key("wit").sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let bytes = [&witness.id()[..], &time.to_be_bytes(), &signature].concat();
    format!("\u{2014} {NAME} {}\n", STANDARD.encode(bytes))
}

#[tokio::test]
async fn what_does_not_hold_does_not_count() {
    let line = |signature: NoteSignature| signature.to_line();
    let other_root = Checkpoint::new(ORIGIN, 5, Hash::of_leaf(b"other")).unwrap();
    let text = checkpoint(ORIGIN, 5).to_string();
    assert!(answered(at(TIME, &text)).await.is_ok(), "the test's own signatures hold");
    let latest = u64::try_from(now().unix_seconds() + MAX_CLOCK_SKEW_SECONDS).unwrap();
    assert!(answered(at(latest, &text)).await.is_ok(), "clocks differ");
    let ahead = latest + 1;
    let unsound: [(&str, String, Expected); 11] = [
        ("nothing", String::new(), |error| matches!(error, AskError::Answer(_))),
        ("no signature", "thank you\n".to_owned(), |error| matches!(error, AskError::Answer(_))),
        ("another size", line(cosign(&checkpoint(ORIGIN, 4), NAME, &key("wit"), TIME).unwrap()), is_false),
        ("another root", line(cosign(&other_root, NAME, &key("wit"), TIME).unwrap()), is_false),
        ("another log", line(cosign(&checkpoint("other.example.org", 5), NAME, &key("wit"), TIME).unwrap()), is_false),
        ("another key", line(cosign(&checkpoint(ORIGIN, 5), NAME, &key("other"), TIME).unwrap()), is_unsigned),
        ("another name", line(cosign(&checkpoint(ORIGIN, 5), "other", &key("wit"), TIME).unwrap()), is_unsigned),
        ("no time", at(0, &text), is_false),
        ("a time beyond all calendars", at(1 << 62, &text), |error| matches!(error, AskError::Time { .. })),
        ("a time to come", at(ahead, &text), |error| matches!(error, AskError::Time { .. })),
        ("no newline at the end", at(TIME, &text).trim_end().to_owned(), |error| matches!(error, AskError::Answer(_))),
    ];
    for (what, body, expected) in unsound {
        let error = answered(body).await.unwrap_err();
        assert!(expected(&error) && error.outcome() == Outcome::Unsound, "{what}: {error:?}");
    }
    // Signatures of other keys beside its own are read over.
    let both = line(cosign(&other_root, "other", &key("other"), TIME).unwrap()) + &at(TIME, &text);
    assert_eq!(answered(both).await.unwrap().name(), NAME);
}

type Expected = fn(&AskError) -> bool;

fn is_false(error: &AskError) -> bool {
    matches!(error, AskError::Signature(_))
}

fn is_unsigned(error: &AskError) -> bool {
    matches!(error, AskError::Unsigned)
}

async fn answered(body: String) -> Result<NoteSignature, AskError> {
    Fake::start(move |_| Some(body.clone().into_response())).await.ask(5).await
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let hanging = Fake::start(|_| None).await;
    assert!(matches!(hanging.ask(5).await, Err(AskError::Slow)));
    // Neither when the answer has begun.
    let slow = Fake::start(|_| {
        let begun = futures_util::stream::once(async { Ok::<_, Infallible>("\u{2014} ") });
        let never = futures_util::stream::pending();
        Some(Body::from_stream(futures_util::StreamExt::chain(begun, never)).into_response())
    })
    .await;
    assert!(matches!(slow.ask(5).await, Err(AskError::Slow)));
    let broken = Fake::start(|_| {
        let breaks = futures_util::stream::iter([Ok("\u{2014} "), Err(std::io::Error::other("power"))]);
        Some(Body::from_stream(breaks).into_response())
    })
    .await;
    assert!(matches!(broken.ask(5).await, Err(AskError::Unreachable(_))));
}

#[tokio::test]
async fn no_more_is_read_than_a_witness_has_to_say() {
    let long = Fake::start(|_| Some("x".repeat(MAX_ANSWER_BYTES + 1).into_response())).await;
    assert!(matches!(long.ask(5).await, Err(AskError::TooLong)));
    let refusing = Fake::start(|_| Some((StatusCode::FORBIDDEN, "no\x1b".repeat(100)).into_response())).await;
    let error = refusing.ask(5).await.unwrap_err();
    assert!(!error.to_string().contains('\x1b') && error.to_string().len() < 1024, "{error}");
}

#[tokio::test]
async fn nobody_else_is_asked() {
    let other = Fake::start(|_| Some(cosigned(5))).await;
    let there = format!("{}/add-checkpoint", other.entry.url.as_ref().unwrap());
    let sending =
        Fake::start(move |_| Some((StatusCode::PERMANENT_REDIRECT, [(LOCATION, there.clone())]).into_response())).await;
    assert!(matches!(sending.ask(5).await, Err(AskError::Refused { status: StatusCode::PERMANENT_REDIRECT, .. })));
    assert_eq!(other.olds().len(), 0);
}

#[tokio::test]
async fn who_is_being_asked_is_not_asked_again() {
    let fake = Fake::start(|number| (number > 1).then(|| cosigned(8))).await;
    let (question, seen) = fake.witnesses.question(&head(5), &fake.entry).unwrap();
    assert!(fake.witnesses.question(&head(8), &fake.entry).is_none());
    assert!(matches!(question.ask(seen, |_| ()).await, Err(AskError::Slow)));
    fake.ask(8).await.unwrap();
}
