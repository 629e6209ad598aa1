//! `portreeve audit verify`: is the record whole, and how far is that proven?

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use domain::Timestamp;
use serde_json::{Value, json};
use store::Store;
use store::journal::{self, Break, Link, Position, Report};
use token::VerifyingKey;
use token::keys::{Admitted, FindKey, admit_jwks};

use super::super::Failure;
use super::super::output::{Output, bar};
use super::proof;
use crate::checkpoints::{
    self, Checkpoint, IDLE_SECONDS, Kept, SIGNS_WITHIN, UNSIGNED_RECORDS_MAX, Unsigned,
};
use crate::inputs::Inputs;
use crate::settings::Settings;
use crate::signing::{Listing, look};

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Check a file that `audit export` wrote, by itself: neither journal nor store is needed
    #[arg(long, value_name = "FILE")]
    pub(super) export: Option<PathBuf>,
    /// Trust these public keys alone: a JWK Set that was kept elsewhere. Otherwise the keys in
    /// `data_dir`, or those in the export, count
    #[arg(long, value_name = "FILE")]
    pub(super) keys: Option<PathBuf>,
    /// Hold the journal against the checkpoints in this file, too: an earlier export, kept where
    /// nobody who has the disk can change it
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoints: Vec<PathBuf>,
}

/// Whose signatures count.
pub(super) enum Trusted {
    /// The engine's own keys, those that are over included.
    Own(Listing),
    /// Those that somebody gave.
    Given(Admitted),
}

impl FindKey for Trusted {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        match self {
            Self::Own(keys) => keys.find(kid),
            Self::Given(keys) => keys.find(kid).filter(|key| key.thumbprint() == kid),
        }
    }
}

/// The keys of a JWK Set in a file.
pub(super) fn given(path: &Path) -> Result<Admitted, Failure> {
    let told = |why: String| Failure::Unable(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    admit_jwks(&text).map_err(|refusal| told(refusal.to_string()))
}

/// A journal, looked through.
pub(super) struct Examined {
    pub(super) report: Report,
    pub(super) kept: Kept,
    /// What engines found at their start, and no signature vouched for.
    gaps: Vec<Unsigned>,
    /// The same, as far as it is more than a crash leaves: what is said of it.
    pub(super) gap_faults: Vec<(Unsigned, String)>,
    /// What is wrong, if anything is.
    pub(super) what: Option<String>,
    has_store: bool,
}

impl Examined {
    /// The last record that a signature vouches for.
    pub(super) fn signed(&self) -> Option<&Checkpoint> {
        let end = self.end();
        let mut proven = self.kept.proven.iter().rev();
        let last = proven.find(|(checkpoint, _)| checkpoint.end.seq <= end)?;
        Some(&last.0)
    }

    /// The first record that the last signature vouches for: before it are those that nobody had
    /// vouched for when they were found.
    fn signed_from(&self, signed: &Checkpoint) -> u64 {
        let begins = self.report.begins_after.unwrap_or(Link::GENESIS).seq;
        let gaps = self.gaps.iter().map(|gap| gap.to);
        let before = gaps.filter(|to| *to < signed.end.seq).max();
        before.unwrap_or(0).max(begins) + 1
    }

    /// All that is wrong, what was signed by nobody included.
    fn fault(&self) -> Option<&str> {
        let gap = self.gap_faults.first().map(|(_, fault)| fault.as_str());
        self.what.as_deref().or(gap)
    }

    pub(super) fn end(&self) -> u64 {
        self.report.end.as_ref().map_or(0, |end| end.seq)
    }
}

pub(super) async fn run(
    args: &VerifyArgs,
    folder: &Path,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let trusted = match &args.keys {
        Some(path) => Trusted::Given(given(path)?),
        None => Trusted::Own(own(settings)?),
    };
    let examined = examine(args, folder, settings, &trusted).await?;
    let (value, text) = told(&examined, settings);
    output.print(&value, &text)?;
    examined
        .fault()
        .map_or(Ok(()), |fault| Err(Failure::No(fault.to_owned())))
}

/// The engine's own keys, as they lie there; none where it has never started.
pub(super) fn own(settings: &Settings) -> Result<Listing, Failure> {
    let now = Inputs::system().clock.now();
    let seen = look(&settings.data_dir, &settings.signing, now);
    seen.map(|seen| seen.keys).map_err(|error| {
        Failure::Unable(format!(
            "{error}. Without the engine's keys, give the public ones with `--keys`"
        ))
    })
}

/// Looks through the whole journal, with all that is known of it.
pub(super) async fn examine(
    args: &VerifyArgs,
    folder: &Path,
    settings: &Settings,
    trusted: &Trusted,
) -> Result<Examined, Failure> {
    let bytes = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let store = if settings.store.is_file() {
        let store = Store::open(&settings.store).await;
        Some(store.map_err(Failure::unable)?)
    } else {
        None
    };
    // What must be there is read before the journal, removed after it: an engine may be at work
    // meanwhile.
    let drained = match &store {
        Some(store) => store.drained().await.map_err(Failure::unable)?,
        None => None,
    };
    let mut kept = checkpoints::gather(store.as_ref(), folder, trusted)
        .await
        .map_err(Failure::unable)?;
    for path in &args.checkpoints {
        for text in proof::checkpoints_in(path)? {
            kept.add(&text, &path.display().to_string(), trusted);
        }
    }
    let bar = bar(bytes, "verifying");
    let mut unsigned_at_a_start = Vec::new();
    let report = journal::verify(
        folder,
        drained.as_ref(),
        &kept.links(),
        |read| bar.inc(read),
        |_, record| unsigned_at_a_start.extend(Unsigned::read(record)),
    )?;
    bar.finish_and_clear();
    let removed = match &store {
        Some(store) => Some(store.removed().await.map_err(Failure::unable)?),
        None => None,
    };
    let end = report.end.as_ref().map_or(0, |end| end.seq);
    // An engine at work has signed more meanwhile.
    let later = checkpoints::gather(store.as_ref(), folder, trusted).await;
    let later = later.map_err(Failure::unable)?;
    let since = match trusted {
        Trusted::Own(keys) => keys.since(),
        Trusted::Given(_) => None,
    };
    let since = since.into_iter().chain(kept.since()).min();
    let gap_faults = unsigned_at_a_start.iter();
    let gap_faults = gap_faults
        .filter_map(|gap| Some((gap.clone(), gap.fault(since)?)))
        .collect();
    let what = report
        .broken
        .as_ref()
        .map(place)
        .or_else(|| without_beginning(folder, &report, removed?))
        .or_else(|| without_end(folder, end, drained.as_ref(), &kept))
        .or_else(|| unproven(&kept))
        .or_else(|| unsigned(&report, &kept, trusted))
        .or_else(|| long_unsigned(end, kept.last()?, &later));
    Ok(Examined {
        report,
        kept,
        gaps: unsigned_at_a_start,
        gap_faults,
        what,
        has_store: store.is_some(),
    })
}

fn told(examined: &Examined, settings: &Settings) -> (Value, String) {
    let (report, what) = (&examined.report, examined.fault());
    let now = Inputs::system().clock.now();
    let (end, signed) = (examined.end(), examined.signed());
    let broken = report.broken.as_ref();
    let value = json!({
        "ok": what.is_none(),
        "segments": report.segments,
        "records": report.records,
        "last_seq": end,
        "chain": report.end.as_ref().map(|end| end.chain.to_string()),
        "torn_bytes": report.torn_bytes,
        "ahead_bytes": report.ahead_bytes,
        "held_against_store": examined.has_store,
        "checkpoints": examined.kept.proven.len(),
        "signed_until": signed.map(|signed| json!({
            "seq": signed.end.seq,
            "at": wire::time::format(signed.at),
            "kid": signed.kid,
            "from": examined.signed_from(signed),
            "age_seconds": now.whole_seconds_since(signed.at),
            "is_late": is_late(signed, settings, now),
        })),
        "unsigned": examined.gaps,
        "broken": what.as_ref().map(|what| json!({
            "segment": broken.map(|broken| broken.segment.display().to_string()),
            "line": broken.map(|broken| broken.line),
            "seq": broken.map(|broken| broken.seq),
            "what": what,
        })),
    });
    let mut text = format!(
        "{} records, {} segments; the chain is {}",
        report.records,
        report.segments,
        if what.is_none() { "whole" } else { "BROKEN" }
    );
    match signed {
        Some(signed) => {
            text.push_str(&format!(
                "\nrecords {} to {} are proven: signed at {} with the key {}; {} records after \
                 them rest on the chain alone",
                examined.signed_from(signed),
                signed.end.seq,
                wire::time::format(signed.at),
                signed.kid,
                end - signed.end.seq
            ));
            if is_late(signed, settings, now) {
                text.push_str(&format!(
                    "\nthat was {} seconds ago, and a running engine signs more often: either it \
                     has been down since, or what it wrote later was taken away with its \
                     signatures. Its log names number and chain of each (\"the journal is \
                     signed\"); `--checkpoints` holds the journal against an export that was kept \
                     elsewhere",
                    now.whole_seconds_since(signed.at)
                ));
            }
        }
        None => text.push_str("\nnothing of it is signed, so it rests on the chain alone"),
    }
    for gap in &examined.gaps {
        text.push_str(&format!("\n{}", words(gap)));
    }
    if report.ahead_bytes > 0 {
        text.push_str(&format!(
            "\n{} bytes at the end are in the write-ahead file and not in the segment yet: being \
             written, or taken by a power cut; the next start puts them there",
            report.ahead_bytes
        ));
    }
    if report.torn_bytes > 0 {
        text.push_str(&format!(
            "\n{} bytes at the end belong to a group that was never answered: being written, or \
             torn by a crash; the next start repairs it",
            report.torn_bytes
        ));
    }
    if !examined.has_store {
        text.push_str(&format!(
            "\n{}: no store, so nothing to hold the chain against but itself and what lies beside \
             it",
            settings.store.display()
        ));
    }
    (value, text)
}

/// Whether a running engine would have signed again by now.
fn is_late(last: &Checkpoint, settings: &Settings, now: Timestamp) -> bool {
    let every = settings.audit.checkpoint_every.as_secs().max(IDLE_SECONDS);
    let may_be = i64::try_from(every).unwrap_or(i64::MAX - 60) + 60;
    now.whole_seconds_since(last.at) > may_be
}

/// A gap, in words.
pub(super) fn words(gap: &Unsigned) -> String {
    format!(
        "records {} to {} were found at a start ({}), and no signature vouched for them then: an \
         engine that was killed leaves a few seconds so, more is not its doing",
        gap.from, gap.to, gap.at
    )
}

fn place(broken: &Break) -> String {
    format!(
        "{}:{}: the chain breaks at record {} (byte {}): {}",
        broken.segment.display(),
        broken.line,
        broken.seq,
        broken.offset,
        broken.what
    )
}

/// Whether older segments are gone than were removed when their time was over.
fn without_beginning(folder: &Path, report: &Report, removed: Link) -> Option<String> {
    let begins = report.begins_after?;
    if begins.seq < removed.seq || begins == removed {
        return None;
    }
    Some(format!(
        "{}: the journal begins after record {}, but only records up to {} were removed because \
         their time was over: its beginning is gone, or was written anew",
        folder.display(),
        begins.seq,
        removed.seq
    ))
}

/// Whether the store has seen, or the engine signed, more than there is.
fn without_end(folder: &Path, end: u64, drained: Option<&Position>, kept: &Kept) -> Option<String> {
    let cut = |seq: u64, how: String| {
        (seq > end).then(|| {
            format!(
                "{}: the journal ends at record {end}, but record {seq} {how}: its end has been \
                 cut off",
                folder.display()
            )
        })
    };
    let signed = kept.last().and_then(|last| {
        let at = wire::time::format(last.at);
        cut(last.end.seq, format!("was signed at {at}"))
    });
    signed.or_else(|| cut(drained?.seq, "was in the store already".to_owned()))
}

/// Whether a checkpoint is none of the engine's.
fn unproven(kept: &Kept) -> Option<String> {
    let (origin, fault) = kept.faults.first()?;
    Some(format!(
        "{origin}: {fault}: somebody has put it there, or a signing key is gone"
    ))
}

/// Whether more records have no signature than a crash leaves. `later` are the checkpoints that
/// were there when the end had been read.
fn long_unsigned(end: u64, last: &Checkpoint, later: &Kept) -> Option<String> {
    let signed = later.last().map_or(0, |later| later.end.seq);
    let signed = signed.max(last.end.seq);
    (end.saturating_sub(signed) > UNSIGNED_RECORDS_MAX).then(|| {
        format!(
            "records {} to {end} are signed by nobody, and a crash leaves {UNSIGNED_RECORDS_MAX} \
             at most: their checkpoints were taken away, or they were added by somebody",
            signed + 1
        )
    })
}

/// Whether there are records of an engine that has its key for long, and nothing is signed.
fn unsigned(report: &Report, kept: &Kept, trusted: &Trusted) -> Option<String> {
    let Trusted::Own(keys) = trusted else {
        return None;
    };
    let now = Inputs::system().clock.now();
    let since = keys.since()?;
    let is_long = now.whole_seconds_since(since) > SIGNS_WITHIN;
    (is_long && report.records > 0 && kept.proven.is_empty()).then(|| {
        format!(
            "no checkpoint is left, though the engine has had its key since {}: they were taken \
             away, or it never ran for a minute",
            wire::time::format(since)
        )
    })
}
