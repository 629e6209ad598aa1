//! Records that an engine found at a start and that no signature vouched for: how many a crash
//! leaves, and what is more than that.

use std::path::Path;
use std::time::Duration;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, AppendError, Position};
use wire::record::RECORD_VERSION;

use super::CHECKPOINT_RECORDS;
use crate::app::App;

/// Most records that a crash leaves unsigned. The engine signs as soon as there are
/// [`CHECKPOINT_RECORDS`]; as many again may come while it does.
pub const UNSIGNED_RECORDS_MAX: u64 = 2 * CHECKPOINT_RECORDS;

/// An engine signs within seconds of its first start; whoever has had his key for longer than
/// this, seconds, has signed something.
pub const SIGNS_WITHIN: i64 = 3600;

/// How the record of such a gap begins, so that it is found among millions.
const UNSIGNED_BEGINS: &[u8] = br#"{"kind":"unsigned","#;

/// Records that an engine found at a start and that no signature vouched for: it may have been
/// killed before it signed them, or they are of an earlier version, or somebody took the
/// checkpoints away. It goes on from them, and a later checkpoint ties them up; so that this
/// proves no more than it should, the journal itself says so, at that place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsigned {
    /// The first of them.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// When they were found.
    pub at: String,
    /// From the first of them to the last, seconds, by their own times; none where they have none.
    #[serde(default)]
    pub seconds: Option<i64>,
    /// `audit.checkpoint_every` at that start, seconds.
    #[serde(default)]
    pub checkpoint_every: Option<u64>,
}

impl Unsigned {
    /// Reads it from a record; none where the record is another.
    #[must_use]
    pub fn read(record: &[u8]) -> Option<Self> {
        if !record.starts_with(UNSIGNED_BEGINS) {
            return None;
        }
        serde_json::from_slice(record).ok()
    }

    /// Why this is more than a crash leaves; none where it is not. `keys_since` is the first
    /// moment at which the engine is known to have had a key.
    #[must_use]
    pub fn fault(&self, keys_since: Option<Timestamp>) -> Option<String> {
        let records = (self.to + 1).saturating_sub(self.from);
        let said = |why: String| {
            Some(format!(
                "records {} to {} were signed by nobody when a start found them ({}): {why}. \
                 Checkpoints were taken away, or the engine could not keep them for long; hold the \
                 journal against what was kept elsewhere, with `--checkpoints`",
                self.from, self.to, self.at
            ))
        };
        if records > UNSIGNED_RECORDS_MAX {
            return said(format!(
                "a crash leaves {UNSIGNED_RECORDS_MAX} at most, not {records}"
            ));
        }
        let every = self
            .checkpoint_every
            .and_then(|every| i64::try_from(every).ok());
        if let (Some(seconds), Some(every)) = (self.seconds, every)
            && seconds > 60 + every.saturating_mul(10)
        {
            return said(format!(
                "they are of {seconds} seconds, and the engine signs every {every}"
            ));
        }
        let (since, at) = (keys_since?, wire::time::parse(&self.at)?);
        if self.from == 1 && at.whole_seconds_since(since) > SIGNS_WITHIN {
            return said(format!(
                "they are all that there was, and the engine has had a key since {}",
                wire::time::format(since)
            ));
        }
        None
    }
}

/// From the first record after a place to record `until`, seconds, by their times. None where one
/// has no time, or there are more than a crash leaves: that is fault enough.
fn seconds_of(folder: &Path, signed: Option<&Position>, until: u64) -> Option<i64> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        at: std::borrow::Cow<'a, str>,
    }
    let most = usize::try_from(UNSIGNED_RECORDS_MAX).ok()?;
    let read = journal::read_from(folder, signed, until, most).ok()?;
    let at = |record: &journal::Record| {
        let head = serde_json::from_slice::<Head<'_>>(&record.body).ok()?;
        wire::time::parse(&head.at)
    };
    let (first, last) = (read.records.first()?, read.records.last()?);
    (last.seq == until).then_some(())?;
    Some(at(last)?.whole_seconds_since(at(first)?))
}

impl App {
    /// Puts on record that a start went on from records that nothing vouches for, if it did. Those
    /// after `signed`, up to record `found`. What is more than a crash leaves is told, and shows as
    /// damage.
    ///
    /// # Errors
    /// When it could not be journalled.
    pub(crate) async fn record_unsigned(
        &self,
        signed: Option<&Position>,
        keys_since: Option<Timestamp>,
        found: u64,
    ) -> Result<Option<String>, AppendError> {
        let from = signed.map_or(0, |signed| signed.seq) + 1;
        if found < from {
            return Ok(None);
        }
        let every: Duration = self.settings.audit.checkpoint_every;
        let gap = Unsigned {
            from,
            to: found,
            at: wire::time::format(self.inputs.clock.now()),
            seconds: seconds_of(self.journal.folder(), signed, found),
            checkpoint_every: Some(every.as_secs()),
        };
        let fault = gap.fault(keys_since);
        if fault.is_some() {
            self.journal_is_damaged();
        }
        let seconds = gap
            .seconds
            .map_or("null".to_owned(), |seconds| seconds.to_string());
        let record = format!(
            r#"{{"kind":"unsigned","v":{RECORD_VERSION},"at":"{}","from":{from},"to":{found},"seconds":{seconds},"checkpoint_every":{}}}"#,
            gap.at,
            every.as_secs()
        );
        self.journal.append(record.into_bytes()).await?;
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_more_than_a_crash_leaves_is_told_from_one_that_is_not() {
        let found = Timestamp::from_seconds(1_795_000_000);
        let gap = |from, to, seconds, every| Unsigned {
            from,
            to,
            at: wire::time::format(found),
            seconds,
            checkpoint_every: every,
        };
        let most = UNSIGNED_RECORDS_MAX;
        for (from, to, seconds, every, key_age, wanted) in [
            (12, 40, Some(9), Some(10), 90_000, None),
            (12, 11 + most, Some(100), Some(10), 90_000, None),
            (
                12,
                12 + most,
                Some(9),
                Some(10),
                90_000,
                Some("a crash leaves"),
            ),
            (12, 40, Some(160), Some(10), 90_000, None),
            (12, 40, Some(161), Some(10), 90_000, Some("of 161 seconds")),
            (12, 40, Some(3000), Some(3600), 90_000, None),
            // A clock that was set back; records of a version that did not say.
            (12, 40, Some(-5000), Some(10), 90_000, None),
            (12, 40, None, None, 90_000, None),
            (1, 40, Some(9), Some(10), SIGNS_WITHIN, None),
            (
                1,
                40,
                Some(9),
                Some(10),
                SIGNS_WITHIN + 1,
                Some("all that there was"),
            ),
        ] {
            let since = found.plus_seconds(-key_age);
            let fault = gap(from, to, seconds, every).fault(Some(since));
            let said = fault.as_deref().unwrap_or_default();
            assert_eq!(fault.is_some(), wanted.is_some(), "{from} {to}: {said}");
            assert!(said.contains(wanted.unwrap_or_default()), "{said}");
        }
        assert_eq!(gap(1, 40, Some(9), Some(10)).fault(None), None);
        let read = br#"{"kind":"unsigned","v":1,"at":"x","from":3,"to":9}"#;
        let read = Unsigned::read(read).unwrap();
        assert_eq!((read.from, read.to, read.seconds), (3, 9, None));
        assert_eq!(Unsigned::read(br#"{"v":1,"kind":"unsigned"}"#), None);
    }
}
