//! Reads the log.

use std::time::Duration;

use tokio::time::Instant;

use super::{NotOurs, Redis, Unknown};
use crate::store::log::parse_link;
use crate::store::{LogPage, LogPosition, MAX_LOG_PAGE, StoreError, failed};

/// How often the head is looked at while somebody waits. A subscription would say it sooner, by some
/// milliseconds; but it can be lost without a sign in a failover, and what it said with it. A look
/// costs the server some microseconds, and shows at once that it is there.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Hexadecimal digits of a link.
const LINK_DIGITS: usize = 32;

impl Redis {
    pub(super) async fn head(&self) -> Result<LogPosition, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.numbers()).arg("log_sequence").arg("log_link");
        let found: (Option<Vec<u8>>, Option<Vec<u8>>) = self.read(command).await?;
        let (Some(sequence), Some(link)) = found else { return Err(failed(NotOurs)) };
        position(&sequence, &link)
    }

    /// What came after a position.
    pub(super) async fn after(
        &self,
        after: LogPosition,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        let head = self.head().await?;
        let Some(more) = head.sequence.checked_sub(after.sequence) else {
            return Ok(LogPage::Unknown);
        };
        let limit = u64::try_from(limit.min(MAX_LOG_PAGE)).unwrap_or(u64::MAX);
        let last = after.sequence.saturating_add(more.min(limit));
        // In one command with what follows: as long as the position is there, that is too.
        let mut command = redis::cmd("HMGET");
        let [_, log] = self.keys.log();
        command.arg(log);
        for sequence in after.sequence..=last {
            command.arg(sequence);
        }
        let found: Vec<Option<Vec<u8>>> = self.read(command).await?;
        let mut found = (after.sequence..).zip(found);
        let stands = found.next().and_then(|(_, stands)| stands);
        let stands = stands.as_deref().and_then(|it| it.split_at_checked(LINK_DIGITS));
        if stands.and_then(|(link, _)| parse_link(link)) != Some(after.link) {
            return Ok(LogPage::Unknown);
        }
        let mut entries = Vec::new();
        for (sequence, entry) in found {
            // Begun anew between the two commands.
            let Some(entry) = entry else { return Ok(LogPage::Unknown) };
            let (link, entry) = entry.split_at_checked(LINK_DIGITS).ok_or(failed(Unknown))?;
            let link = parse_link(link).ok_or(failed(Unknown))?;
            entries.push((LogPosition { sequence, link }, entry.to_vec()));
        }
        Ok(LogPage::Entries { entries })
    }

    /// Looks at the head until it is another.
    pub(super) async fn changed(
        &self,
        position: LogPosition,
        wait: Duration,
    ) -> Result<(), StoreError> {
        let deadline = Instant::now().checked_add(wait);
        while self.head().await? == position {
            let next = Instant::now().checked_add(LOOK_EVERY);
            let Some(next) = next.filter(|next| deadline.is_none_or(|end| *next < end)) else {
                if let Some(deadline) = deadline {
                    tokio::time::sleep_until(deadline).await;
                }
                return Ok(());
            };
            tokio::time::sleep_until(next).await;
        }
        Ok(())
    }
}

pub(super) fn position(sequence: &[u8], link: &[u8]) -> Result<LogPosition, StoreError> {
    let sequence = core::str::from_utf8(sequence).ok().and_then(|text| text.parse().ok());
    let position = sequence.zip(parse_link(link));
    position.map(|(sequence, link)| LogPosition { sequence, link }).ok_or_else(|| failed(Unknown))
}
