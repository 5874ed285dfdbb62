//! What is counted of the tokens of providers.

use wardgate_core::time::UnixSeconds;

use super::{ISSUER, Manner, Stand, fetch, keep};
use crate::usage::{TokenType, TokenUsageBy, token_report};

impl Stand {
    /// The counts of alice: issued and refreshed.
    async fn counts(&self) -> (u64, u64) {
        self.usage.flush(&*self.store).await.unwrap();
        let now = self.clock.now();
        let report = token_report(&*self.store, TokenUsageBy::User, UnixSeconds(0), now).await;
        let rows = report.unwrap().rows;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.name.as_str(), row.issuer.as_deref()), ("alice", Some(ISSUER)));
        assert_eq!(row.token_type, TokenType::Social);
        (row.counts.issued, row.counts.refreshed)
    }
}

#[tokio::test]
async fn what_a_provider_gives_counts_once_however_many_ask() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let (vault, other) = (stand.vault(), stand.vault());
    keep(&vault).await;
    assert_eq!(stand.counts().await, (1, 0));
    fetch(&vault).await.unwrap();
    assert_eq!(stand.counts().await, (1, 0), "it was handed out as it was");
    stand.clock.advance(3600);
    let (one, two, three) = tokio::join!(fetch(&vault), fetch(&vault), fetch(&other));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(stand.counts().await, (1, 1));
    // A provider that gives nothing refreshes nothing.
    stand.provider.behave(Manner::Fails(503));
    stand.clock.advance(3600);
    fetch(&vault).await.unwrap_err();
    assert_eq!((stand.counts().await, stand.provider.times()), ((1, 1), 2));
    // The user has logged in there again.
    keep(&vault).await;
    assert_eq!(stand.counts().await, (2, 1));
}
