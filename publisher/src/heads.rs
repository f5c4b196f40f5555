//! From a head that is signed to a head that readers are shown.
//!
//! ```text
//! log ─► signed head ─► witnesses: quorum? ─► keep ─► feed folds ─► published head ─► readers, waiting callers
//! ```
//!
//! Whether witnesses are asked is said by the keyring in force at the head. Where it asks for no quorum, a head is
//! shown at once.
//!
//! Where it does, the newest signed head is shown to all witnesses at the same time, in rounds that begin no sooner
//! after one another than a pace; what was signed meanwhile goes with the next round. The quorum decides, and nobody
//! waits for the others: what they answer later is added while there is nothing newer. A head that does not reach the
//! quorum is shown to nobody. The next round asks about the newest again, of those who have not cosigned it; meanwhile
//! the log goes on, and its callers are told where to ask.
//!
//! A head that stays the newest is shown to the witnesses again every so often, for their times prove how fresh it is.
//! Whoever starts with a head that was kept counts from its times: one that is old is shown to them at once.
//!
//! The note of the head that was published last is [`Kept`] in a file, so that a publisher that starts while its
//! witnesses are away shows what it showed before. The file is believed nothing: what it says is verified anew, and
//! where it does not hold, nothing is shown until the witnesses have answered. Where the keyring no longer asks for a
//! quorum, what is in the file is of the past, and whoever starts removes it.
//!
//! A crash before the note is kept leaves a head that is signed and not published; starting asks again. A crash after
//! it leaves one that has its quorum and that nobody was shown; starting shows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smi_keys::files::{self, FileError};
use smi_keys::keyring::Keyring;
use smi_schemas::names::Slug;
use smi_verifier::note::{Checkpoint, MAX_NOTE_BYTES, Note, NoteKey};
use smi_verifier::receipt::{log_key, quorum};
use smi_verifier::said::Trusted;
use smi_verifier::view::View;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};

use crate::feed::{Feed, Published};
use crate::log::Head;
use crate::meters::Meters;
use crate::recover::{self, Recovered};
use crate::store::{Store, StoreError};
use crate::witness::client::{Cosigned, Witnesses};

/// How long after a failure the same is tried again, at the earliest.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a round without a quorum the next one begins, at the latest: whoever asks seldom has its quorum back
/// soon after its witnesses are.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The time between two requests to a witness, for a publisher that says nothing else.
pub const PACE: Duration = Duration::from_secs(1);

/// The renewal, for a publisher that says nothing else. What witnesses sign is a time, and a receipt whose time is old
/// says nothing of the revocations since.
pub const RENEWAL: Duration = Duration::from_mins(10);

/// What it takes to publish.
pub struct Publishing {
    /// Folds what is published.
    pub feed: Arc<Feed>,
    /// Who is asked where a quorum is.
    pub witnesses: Witnesses,
    /// The time from the beginning of one round of requests to that of the next.
    pub pace: Duration,
    /// How long a head that is shown stays the newest before the witnesses are asked about it again.
    pub renewal: Duration,
    /// Where the last published note is kept.
    pub kept: Kept,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// Who is told. What is in it at first was published before.
    pub published: watch::Sender<Option<Arc<Published>>>,
}

/// The file of the note that was published last.
#[derive(Clone, Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// The file in a store's folder. It need not be there.
    pub fn within(folder: &Path) -> Self {
        Self(folder.join("published"))
    }

    /// The note, of which nothing is verified.
    fn load(&self) -> Option<Note> {
        match files::read(&self.0, MAX_NOTE_BYTES) {
            Ok(contents) => Note::read(&contents.bytes).ok(),
            Err(_) => None,
        }
    }

    /// Replaces the note. A crash leaves the one or the other.
    fn save(&self, note: &Note) -> Result<(), FileError> {
        // Nobody else replaces it: whoever has the store open has it to itself.
        files::replace(&self.0, &note.to_bytes())
    }

    /// Removes the note. Where that fails, or a crash undoes it, the next start is as slow as this one.
    fn forget(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads a store, with a view of what was published, and the head that says so.
///
/// Without a quorum there is no such head, and the view is of everything.
pub fn recover(store: &dyn Store, kept: &Kept) -> Result<(Recovered, Option<Published>), StoreError> {
    let head = store.head()?;
    let note = kept.load();
    let checkpoint = note.as_ref().and_then(|note| Checkpoint::read(note.text()).ok());
    let size = checkpoint.map_or(head, |checkpoint| checkpoint.size());
    let mut recovered = Recovered::read(store, size.min(head))?;
    if asked_by(recovered.ledger.trusted()).is_none() {
        if size < head {
            // The note is from before a keyring that asks nobody, which is known only now.
            recovered = Recovered::read(store, head)?;
            kept.forget();
        }
        return Ok((recovered, None));
    }
    let published = note.and_then(|note| verified(note, store, &recovered));
    if published.is_none() {
        recovered.view = View::default();
    }
    Ok((recovered, published))
}

/// What a note shows, if it is one that may be published: the log signed it, of this tree, and as many witnesses
/// cosigned it as the keyring asks for that was in force then.
fn verified(note: Note, store: &dyn Store, recovered: &Recovered) -> Option<Published> {
    let signed = note.open(&log_key(&recovered.ledger.trusted()?.keyring)?).ok()?;
    let checkpoint = signed.checkpoint();
    if recovered.tree.root_at(checkpoint.size())? != *checkpoint.root() || recovered.view.size() != checkpoint.size() {
        return None;
    }
    let (_, entry) = recover::entry(store, recovered.view.keyring()?.index).ok()?;
    let trusted = recover::keyring(store, &entry).ok()??;
    let (_, times) = quorum(&signed, &trusted.keyring).ok()?;
    Some(Published { checkpoint: checkpoint.clone(), note: signed.note().clone(), times })
}

/// The keyring that asks for a quorum, if it does.
fn asked_by(trusted: Option<&Arc<Trusted>>) -> Option<&Keyring> {
    trusted.map(|trusted| &trusted.keyring).filter(|keyring| keyring.quorum().is_some())
}

/// Publishes signed heads until the log ends.
pub async fn publish(mut heads: watch::Receiver<Arc<Head>>, publishing: Publishing) {
    let mut collected = None;
    // When the next round may begin.
    let mut due = Instant::now();
    let mut renewing = false;
    // How long the head that is shown may stay so.
    let mut renewal = publishing.renewal_of_kept();
    loop {
        let mut head = Arc::clone(&heads.borrow_and_update());
        let is_asked = asked_by(head.trusted.as_ref()).is_some();
        let is_shown = if !is_asked {
            publishing.meters.asks_nobody();
            publishing.unwitnessed(&head).await
        } else if !renewing && publishing.is_published(&head) {
            true
        } else {
            publishing.waits(&head);
            publishing.keep_unwitnessed().await;
            sleep_until(due).await;
            due = Instant::now() + publishing.pace;
            // What came meanwhile goes with it.
            head = Arc::clone(&heads.borrow_and_update());
            if asked_by(head.trusted.as_ref()).is_none() {
                continue;
            }
            publishing.waits(&head);
            renewal = publishing.renewal;
            let collected = Collected::of(&mut collected, &head, publishing.renewal);
            publishing.round(&head, collected, &heads, due).await
        };
        if !is_shown {
            if publishing.pause(is_asked, &mut heads).await.is_err() {
                return;
            }
            due = Instant::now();
            continue;
        }
        tokio::select! {
            changed = heads.changed() => match changed {
                Ok(()) => renewing = false,
                Err(_) => return,
            },
            () = sleep(renewal), if is_asked => (renewing, collected) = (true, None),
        }
    }
}

/// Waits until the log has ended, whether it was closed or has stopped.
pub async fn ended(mut heads: watch::Receiver<Arc<Head>>) {
    while heads.changed().await.is_ok() {}
}

/// The pause after a round without a quorum.
fn after_failure(pace: Duration) -> Duration {
    pace.clamp(RETRY, MAX_RETRY)
}

/// Who has cosigned a head so far.
struct Collected {
    head: Arc<Head>,
    began: Instant,
    cosigned: Vec<Cosigned>,
}

impl Collected {
    /// What was collected of this head, if it is recent: of another one it is of no use, and with old times the head
    /// would be shown as one that stands still.
    fn of<'a>(collected: &'a mut Option<Self>, head: &Arc<Head>, recent: Duration) -> &'a mut Self {
        let of_it = |collected: &Self| collected.head == *head && collected.began.elapsed() < recent;
        let kept = collected.take().filter(of_it);
        let new = || Self { head: Arc::clone(head), began: Instant::now(), cosigned: Vec::new() };
        collected.insert(kept.unwrap_or_else(new))
    }

    fn names(&self) -> Vec<Slug> {
        self.cosigned.iter().map(|cosigned| cosigned.name.clone()).collect()
    }

    /// The head with its cosignatures, once they are as many as the keyring asks for.
    fn published(&self, log: &NoteKey) -> Option<Published> {
        let mut note = Note::read(&self.head.note).ok()?;
        for Cosigned { signature, .. } in &self.cosigned {
            note.push(signature.clone()).ok()?;
        }
        let signed = note.open(log).ok()?;
        let (_, times) = quorum(&signed, asked_by(self.head.trusted.as_ref())?).ok()?;
        Some(Published { checkpoint: signed.checkpoint().clone(), note: signed.note().clone(), times })
    }
}

impl Publishing {
    fn is_published(&self, head: &Head) -> bool {
        self.published.borrow().as_ref().is_some_and(|published| published.checkpoint == head.checkpoint)
    }

    /// A head that is not published waits for its quorum from now on.
    fn waits(&self, head: &Head) {
        if !self.is_published(head) {
            self.meters.waits();
        }
    }

    /// Waits after a failure, unless it was a quorum that the newest head no longer needs. An error when the log has
    /// ended.
    async fn pause(&self, was_asked: bool, heads: &mut watch::Receiver<Arc<Head>>) -> Result<(), RecvError> {
        let over = Instant::now() + if was_asked { after_failure(self.pace) } else { RETRY };
        loop {
            tokio::select! {
                () = sleep_until(over) => return Ok(()),
                changed = heads.changed() => changed?,
            }
            let newest = Arc::clone(&heads.borrow());
            if asked_by(newest.trusted.as_ref()).is_some() {
                self.waits(&newest);
            } else if was_asked {
                return Ok(());
            }
        }
    }

    /// How long the head that was kept may still be shown without being renewed. Only a start asks: clocks of witnesses
    /// that are wrong must not make every renewal due at once.
    fn renewal_of_kept(&self) -> Duration {
        let current_at = self.published.borrow().as_ref().and_then(|published| published.current_at());
        let Some(current_at) = current_at else { return self.renewal };
        let seconds = self.witnesses.now().unix_seconds().saturating_sub(current_at.unix_seconds());
        let age = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        self.meters.was_reached(age);
        self.renewal.saturating_sub(age)
    }

    /// Shows a head that no witness is asked about, unless something failed.
    async fn unwitnessed(&self, head: &Head) -> bool {
        match Published::unwitnessed(head) {
            Some(published) => self.show(published, false).await,
            None => false,
        }
    }

    /// Where a keyring has just begun to ask for a quorum, keeps what was published without one: it is shown until the
    /// witnesses have answered, whoever starts in between.
    async fn keep_unwitnessed(&self) {
        let published = self.published.borrow().clone();
        if let Some(published) = published.filter(|published| published.times.is_none()) {
            self.keep(published).await;
        }
    }

    /// Asks all witnesses about a head, and shows it as soon as the quorum has cosigned. It ends when all have
    /// answered, or when it is shown and the next round is due.
    async fn round(
        &self,
        head: &Arc<Head>,
        collected: &mut Collected,
        heads: &watch::Receiver<Arc<Head>>,
        due: Instant,
    ) -> bool {
        let Some(keyring) = asked_by(head.trusted.as_ref()) else { return false };
        let began = std::time::Instant::now();
        let mut answers = self.witnesses.ask(head, keyring, &collected.names());
        // If it could not be shown in the last round, there may be nobody left to ask.
        let mut is_shown = self.reached(collected, heads, began).await;
        loop {
            tokio::select! {
                biased;
                answer = answers.join_next() => {
                    let Some(answer) = answer else { return is_shown };
                    let mut more = Some(answer);
                    while let Some(answer) = more {
                        collected.cosigned.extend(answer.ok().flatten());
                        more = answers.try_join_next();
                    }
                    is_shown = self.reached(collected, heads, began).await || is_shown;
                }
                () = next_is_due(heads.clone(), head, due), if is_shown => {
                    // Who is slow is not cut off: it would never be heard out.
                    answers.detach_all();
                    return true;
                }
            }
        }
    }

    /// Shows what was collected, if it is enough.
    async fn reached(
        &self,
        collected: &Collected,
        heads: &watch::Receiver<Arc<Head>>,
        began: std::time::Instant,
    ) -> bool {
        let Some(published) = collected.published(self.witnesses.log()) else { return false };
        let is_shown = self.show(published, true).await;
        if is_shown {
            // What was signed later has waited since this round began, at the longest.
            let is_newest = *heads.borrow() == collected.head;
            self.meters.reached((!is_newest).then_some(began));
        }
        is_shown
    }

    /// Shows a head, unless something failed.
    async fn show(&self, published: Published, keep: bool) -> bool {
        let (feed, size) = (Arc::clone(&self.feed), published.checkpoint.size());
        let published = Arc::new(published);
        if keep {
            self.keep(Arc::clone(&published)).await;
        }
        // Whoever is told of the head must find its entries.
        match tokio::task::spawn_blocking(move || feed.catch_up(size)).await {
            Ok(Ok(())) => {
                self.published.send_replace(Some(published));
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a head cannot be shown");
                false
            }
            Err(_) => false,
        }
    }

    /// Keeps a note for the next start. Where that fails, only the next start suffers.
    async fn keep(&self, published: Arc<Published>) {
        let kept = self.kept.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || kept.save(&published.note)).await {
            tracing::error!(%error, "the head that was published cannot be kept");
        }
    }
}

/// Waits until there is a newer head, and the time has come to ask about it.
async fn next_is_due(mut heads: watch::Receiver<Arc<Head>>, head: &Arc<Head>, due: Instant) {
    if heads.wait_for(|newest| newest != head).await.is_err() {
        // The log has ended, and there will be none.
        std::future::pending::<()>().await;
    }
    sleep_until(due).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_repeated_neither_at_once_nor_after_an_hour() {
        for (pace, pause) in [(0, 1), (1, 1), (7, 7), (30, 30), (3600, 30)] {
            assert_eq!(after_failure(Duration::from_secs(pace)), Duration::from_secs(pause), "a pace of {pace} s");
        }
    }
}
