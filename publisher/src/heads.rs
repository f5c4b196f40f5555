//! From a head that is signed to a head that readers are shown.
//!
//! ```text
//! log ─► signed head ─► witnesses: quorum? ─► feed folds ─► published head ─► readers, waiting callers
//! ```
//!
//! Where the keyring asks for a quorum, the newest signed head is shown to the witnesses, at most once in every
//! [`Pace::between`]; what came while they were asked goes with the next one. A head that does not reach the quorum is
//! not shown to anybody: it is tried again, and meanwhile the log goes on and its callers are told where to ask. A
//! crash anywhere in here leaves a head that is signed and not published; starting asks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::feed::{Feed, Published};
use crate::log::Head;

/// How long after a failure the same is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes signed heads until the log ends.
pub async fn publish(
    mut heads: watch::Receiver<Arc<Head>>,
    feed: Arc<Feed>,
    published: watch::Sender<Option<Arc<Published>>>,
) {
    loop {
        let head = Arc::clone(&heads.borrow_and_update());
        if show(&head, &feed, &published).await {
            if heads.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Shows a head, unless something failed.
async fn show(head: &Head, feed: &Arc<Feed>, published: &watch::Sender<Option<Arc<Published>>>) -> bool {
    let Some(shown) = Published::unwitnessed(head) else { return false };
    let (reader, size) = (Arc::clone(feed), shown.checkpoint.size());
    // Whoever is told of the head must find its entries.
    match tokio::task::spawn_blocking(move || reader.catch_up(size)).await {
        Ok(Ok(())) => {
            published.send_replace(Some(Arc::new(shown)));
            true
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a head cannot be shown");
            false
        }
        Err(_) => false,
    }
}
