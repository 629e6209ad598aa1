//! From the store's rows to memory and to the journal, and away again when they are over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Timestamp;
use store::Store;
use store::sqlite::{RevocationRow, StoreError};
use token::revocation::Kind;

use super::{KEPT_SECONDS, Revocations, entry_of};
use crate::access::signed;
use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;

/// Rows that are read at once at a start.
const PAGE: u32 = 10_000;
/// Rows that are recorded at once: far fewer than the journal's queue takes.
const GROUP: u32 = 256;

/// How far the store's rows were taken up.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last that is in memory and in the journal.
    number: u64,
    /// The last that the store knows to be in the journal.
    noted: u64,
}

impl Revocations {
    /// Reads every row. The first that is not on record yet stops the progress, so that it is
    /// taken up once more.
    pub(super) async fn read_all(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let mut progress = self.taken_up.lock().await;
        let mut after = 0;
        let mut all_on_record = true;
        let mut ahead = Ahead::of(now.plus_seconds(CLOCK_SKEW_SECONDS));
        // This clock may be ahead; what is over does no harm.
        let now = now.plus_seconds(-KEPT_SECONDS);
        loop {
            let rows = store.revocations_after(after, now, PAGE).await?;
            let Some(last) = rows.last().map(|row| row.number) else {
                ahead.tell();
                return Ok(());
            };
            for row in &rows {
                ahead.count(row);
                self.shares.count(row);
                self.put(row);
                all_on_record &= row.journalled;
                if all_on_record {
                    progress.number = row.number;
                    progress.noted = row.number;
                }
            }
            after = last;
        }
    }

    /// Whether that says more than was known. What cannot be read is said, and passed over: the
    /// version that wrote it would refuse what this one lets through.
    fn put(&self, row: &RevocationRow) -> bool {
        match entry_of(row) {
            Some(entry) => self.list.put(&entry, row.until),
            None => {
                tracing::error!(
                    number = row.number,
                    kind = row.kind,
                    "a revocation is of no kind that this version knows; it has no effect here"
                );
                false
            }
        }
    }

    /// Counts anew who made how many of them.
    pub(crate) async fn recount(&self, store: &Store) -> Result<(), StoreError> {
        self.shares.recount(store).await
    }

    /// Removes from memory what is over, a part at a time.
    pub(crate) fn tidy(&self, now: Timestamp) {
        self.list.tidy(self.over_before(now));
        self.meters.set_entries(self.list.len());
    }
}

impl App {
    /// Takes up what was written to the store since the last time, by whomever: in effect at once,
    /// then on record. What fails is tried again by the background.
    pub(crate) async fn take_up_revocations(&self) {
        let revocations = &self.revocations;
        let done = self.take_up_new_revocations().await;
        let failed_before = revocations
            .is_unfinished
            .swap(done.is_err(), Ordering::Relaxed);
        // Said once, and not ten times a second.
        if let Err(error) = done
            && !failed_before
        {
            tracing::error!(%error, "revocations were not taken up or not recorded; trying again");
        }
    }

    async fn take_up_new_revocations(
        &self,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let revocations = &self.revocations;
        // One after another, so that each is recorded once; those who wait are done together.
        let mut progress = revocations.taken_up.lock().await;
        loop {
            let now = self.inputs.clock.now();
            let store = self.state.store();
            let since = now.plus_seconds(-KEPT_SECONDS);
            let rows = store
                .revocations_after(progress.number, since, GROUP)
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            // All in effect before any is recorded.
            for row in &rows {
                if revocations.put(row) && !row.journalled {
                    let millis = now.millis().saturating_sub(row.at.millis());
                    let lag = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
                    revocations.meters.in_effect_after(lag);
                }
            }
            // Sessions too, whoever ended them and whatever broke off then.
            let sessions = sessions_of(&rows);
            if !sessions.is_empty() {
                self.state.sessions_ended(&sessions);
            }
            let new = rows.iter().filter(|row| !row.journalled);
            let records = new.clone().map(|row| self.journal.append(record(row)));
            futures_util::future::try_join_all(records).await?;
            for entry in new.filter_map(entry_of) {
                revocations.meters.revoked(entry.kind());
            }
            self.record_replaced(progress.number).await?;
            progress.number = last.number;
        }
    }

    /// Puts on record what others took the place of before it was. Up to `recorded` it is.
    async fn record_replaced(
        &self,
        recorded: u64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let store = self.state.store();
        let rows = store.replaced_revocations(GROUP).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        let new = rows.iter().filter(|row| row.number > recorded);
        let records = new.map(|row| self.journal.append(record(row)));
        futures_util::future::try_join_all(records).await?;
        store.forget_replaced_revocations(last.number).await?;
        Ok(())
    }

    /// Notes in the store what is on record. After a crash before that, those few are recorded
    /// twice.
    pub(crate) async fn note_recorded_revocations(&self) -> Result<(), StoreError> {
        let number = {
            let progress = self.revocations.taken_up.lock().await;
            if progress.noted == progress.number {
                return Ok(());
            }
            progress.number
        };
        let store = self.state.store();
        store.note_revocations_journalled(number).await?;
        self.revocations.taken_up.lock().await.noted = number;
        Ok(())
    }
}

/// Revocations that count up to a moment that lies ahead: they were made under a clock that was
/// ahead, and refuse whoever they are of until this one gets there.
#[derive(Debug)]
struct Ahead {
    of: Timestamp,
    count: u64,
    last: Option<Timestamp>,
}

impl Ahead {
    const fn of(of: Timestamp) -> Self {
        Self {
            of,
            count: 0,
            last: None,
        }
    }

    fn count(&mut self, row: &RevocationRow) {
        if let Some(before) = row.before.filter(|before| *before > self.of) {
            self.count += 1;
            self.last = self.last.max(Some(before));
        }
    }

    fn tell(&self) {
        if let Some(last) = self.last {
            tracing::warn!(
                event = "revocations_ahead",
                count = self.count,
                last = wire::time::format(last),
                "revocations count up to a moment that lies ahead, since the clock was ahead when \
                 they were made; what their subjects and clients are given is refused until then. \
                 `GET /v1/revocations` lists them (`ahead`); ARCHITECTURE.md says what to do if \
                 that is too long"
            );
        }
    }
}

/// The ids of the sessions that rows revoke.
fn sessions_of(rows: &[RevocationRow]) -> Vec<String> {
    let sessions = rows.iter().filter(|row| row.kind == Kind::Session.as_str());
    sessions.map(|row| row.id.clone()).collect()
}

/// A revocation, as the journal holds it.
fn record(row: &RevocationRow) -> Vec<u8> {
    signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "revocation",
            "number": row.number,
            "what": row.kind,
            "id": row.id,
            "before": row.before.map(wire::time::format),
            "until": wire::time::format(row.until),
            "at": wire::time::format(row.at),
            "subject": row.subject,
            "reason": row.reason,
        }),
        &row.by,
    )
    .to_string()
    .into_bytes()
}
