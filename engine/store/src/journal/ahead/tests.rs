//! Power cuts, as far as they can be had: a copy of the folder while it is written, with what a
//! disk may not have kept of the segment.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::{
    Journal, JournalSettings, Link, Recovery, Report, line, read_all, read_from, verify,
};
use super::*;

const SYNCED: JournalSettings = JournalSettings {
    segment_bytes: 64 << 20,
    queue_max: 10_000,
    sync: true,
};

fn open(folder: &Path, drained: Option<&Position>) -> (Journal, Recovery) {
    Journal::open(folder, SYNCED, drained).unwrap()
}

fn check(folder: &Path, drained: Option<&Position>) -> Report {
    verify(folder, drained, &[], |_| {}, |_, _| {}).unwrap()
}

fn segment(folder: &Path) -> PathBuf {
    line::segments(folder).unwrap().pop().unwrap()
}

fn bodies(folder: &Path) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let read = read_all(folder, |body| {
        bodies.push(body.to_vec());
        Ok(())
    });
    assert_eq!(read.unwrap().unreadable, 0);
    bodies
}

fn records(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("{number:08}{}", "x".repeat(length)).into_bytes())
        .collect()
}

/// What the disk has at this moment, the segment as it is left by a power cut.
fn power_cut(folder: &Path, segment_left: &[u8]) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::copy(folder.join(NAME), copy.path().join(NAME)).unwrap();
    let name = line::name_of(&segment(folder));
    fs::write(copy.path().join(name), segment_left).unwrap();
    copy
}

/// A journal with groups of one and of several records, still open, and all that was answered.
async fn written() -> (TempDir, Journal, Vec<Vec<u8>>) {
    let folder = TempDir::new().unwrap();
    let (journal, recovery) = open(folder.path(), None);
    assert_eq!(recovery.restored, 0);
    let journal = Arc::new(journal);
    let all = records(12, 900);
    for record in &all[..4] {
        journal.append(record.clone()).await.unwrap();
    }
    let together = all[4..].iter().map(|record| {
        // Announced, so that they are waited for.
        (journal.announce(), record.clone())
    });
    let together: Vec<_> = together.collect();
    let tasks: Vec<_> = together
        .into_iter()
        .map(|(announced, record)| tokio::spawn(announced.append(record)))
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    (folder, Arc::into_inner(journal).unwrap(), all)
}

#[tokio::test]
async fn what_a_power_cut_takes_from_the_segment_is_put_back() {
    let (folder, journal, all) = written().await;
    let whole = fs::read(segment(folder.path())).unwrap();
    let end = journal.end();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut cuts: Vec<_> = (header..whole.len()).step_by(397).collect();
    cuts.extend((header..whole.len()).filter(|at| whole[at - 1] == b'\n'));
    cuts.push(whole.len());
    for cut in cuts {
        // Nothing where it ended; zeros; what followed over a gap of whole sectors.
        let beyond = usize::midpoint(cut, whole.len()).next_multiple_of(512);
        let beyond = beyond.min(whole.len());
        let gap = [&whole[..cut], &vec![0; beyond - cut], &whole[beyond..]];
        let zeros = [&whole[..cut], &[0; 50]].concat();
        for left in [whole[..cut].to_vec(), zeros, gap.concat()] {
            let left = power_cut(folder.path(), &left);
            // The store may have taken over what was durable, and a reader comes before a start.
            for drained in [None, Some(&end)] {
                let report = check(left.path(), drained);
                assert_eq!((report.records, report.broken), (12, None), "cut at {cut}");
                assert_eq!(report.end, Some(end.clone()));
            }
            let (journal, recovery) = open(left.path(), Some(&end));
            assert_eq!((recovery.last_seq, recovery.damaged), (12, None));
            journal.append(b"next".to_vec()).await.unwrap();
            journal.close();
            let report = check(left.path(), None);
            assert_eq!(
                (report.records, report.ahead_bytes),
                (13, 0),
                "cut at {cut}"
            );
            assert_eq!((report.broken, report.torn_bytes), (None, 0));
            assert_eq!(bodies(left.path())[..12], all);
        }
    }
}

#[tokio::test]
async fn an_orderly_end_leaves_nothing_ahead_and_its_end_cannot_be_cut_off() {
    let (folder, journal, _) = written().await;
    assert!(folder.path().join(NAME).exists());
    journal.close();
    assert!(!folder.path().join(NAME).exists());
    let end = check(folder.path(), None).end.unwrap();
    let whole = fs::read(segment(folder.path())).unwrap();
    fs::write(segment(folder.path()), &whole[..whole.len() - 400]).unwrap();
    assert!(check(folder.path(), Some(&end)).broken.is_some());
}

#[tokio::test]
async fn what_somebody_has_changed_stays_as_evidence() {
    let (folder, journal, _) = written().await;
    // Past the file, so that nothing ahead goes so far.
    journal.append(vec![b'y'; HALF]).await.unwrap();
    journal.append(b"after".to_vec()).await.unwrap();
    let whole = fs::read(segment(folder.path())).unwrap();
    let record = whole.iter().position(|byte| *byte == b'x').unwrap();
    let sector = record.next_multiple_of(512);
    let changes: [(usize, &[u8]); 3] = [(record, b"z"), (record, b"\0"), (sector, &[0; 512])];
    for (at, change) in changes {
        let mut changed = whole.clone();
        changed[at..at + change.len()].copy_from_slice(change);
        let left = power_cut(folder.path(), &changed);
        let path = segment(left.path());
        assert!(check(left.path(), None).broken.is_some());
        let (journal_left, recovery) = open(left.path(), Some(&journal.end()));
        assert!(recovery.damaged.is_some() && recovery.restored == 0);
        journal_left.append(b"next".to_vec()).await.unwrap();
        journal_left.close();
        assert!(fs::read(&path).unwrap() == changed);
    }
}

#[tokio::test]
async fn what_a_checkpoint_was_made_of_is_no_torn_group() {
    let (folder, journal, _) = written().await;
    let mut changed = fs::read(segment(folder.path())).unwrap();
    let last = changed.iter().rposition(|byte| *byte == b'x').unwrap();
    changed[last] = b'z';
    let left = power_cut(folder.path(), &changed);
    let end = journal.end();
    let signed = |seq| Link {
        seq,
        chain: end.chain,
    };
    let report = |signed| verify(left.path(), None, signed, |_| {}, |_, _| {}).unwrap();
    assert_eq!(report(&[]).end.unwrap(), end, "not told from a torn one");
    let report = report(&[signed(end.seq)]);
    assert_eq!((report.end.unwrap().seq, report.ahead_bytes), (11, 0));
}

#[tokio::test]
async fn what_is_ahead_of_a_segment_that_is_gone_goes_on_from_no_other() {
    let folder = TempDir::new().unwrap();
    let settings = JournalSettings {
        segment_bytes: 3000,
        ..SYNCED
    };
    let (journal, _) = Journal::open(folder.path(), settings, None).unwrap();
    for record in records(6, 900) {
        journal.append(record).await.unwrap();
    }
    let (end, paths) = (journal.end(), line::segments(folder.path()).unwrap());
    assert!(paths.len() > 1);
    let left = TempDir::new().unwrap();
    fs::copy(folder.path().join(NAME), left.path().join(NAME)).unwrap();
    for path in &paths[..paths.len() - 1] {
        fs::copy(path, left.path().join(line::name_of(path))).unwrap();
    }
    let report = check(left.path(), Some(&end));
    assert!(report.end.unwrap().seq < end.seq && report.ahead_bytes == 0);
    let (journal, recovery) = Journal::open(left.path(), settings, Some(&end)).unwrap();
    assert!(recovery.damaged.is_some());
    journal.append(b"next".to_vec()).await.unwrap();
    let drained = read_from(left.path(), Some(&end), 7, 10).unwrap();
    assert_eq!(drained.records.len(), 1);
}

#[test]
fn whatever_the_file_has_in_it_is_looked_through_and_no_more() {
    let end = Position {
        segment: String::new(),
        offset: 0,
        seq: 0,
        chain: Chain::GENESIS,
    };
    // Groups that are one within the other, the last of them in the last block.
    let mut all = vec![b'z'; LENGTH];
    all[LENGTH - 1] = b'\n';
    let (mut seq, mut chain) = (0, Chain::GENESIS);
    for at in (0..LENGTH).step_by(BLOCK).rev().take(64) {
        seq += 1;
        let head = format!("+{seq} ").len() + 65;
        chain = chain.after(true, seq, &all[at + head..LENGTH - 1]);
        let text = format!("+{seq} {chain} ");
        all[at..at + head].copy_from_slice(text.as_bytes());
    }
    assert!(
        found_in(&all, &end).is_empty(),
        "a record's text begins no group"
    );
    for filler in ["+", "\n", "+0 ", "+1 0 \n", ".1 0\n"] {
        let all: Vec<u8> = filler.bytes().cycle().take(LENGTH).collect();
        assert!(found_in(&all, &end).is_empty(), "{filler:?}");
    }
}

#[tokio::test]
async fn what_is_written_over_is_durable_in_its_segment() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = open(folder.path(), None);
    // Twenty go into a half; when the last half began, a flush of what is in the other one did too.
    let mut all = records(100, 100_000);
    let mut lengths = vec![fs::metadata(segment(folder.path())).unwrap().len()];
    for record in &all {
        journal.append(record.clone()).await.unwrap();
        lengths.push(fs::metadata(segment(folder.path())).unwrap().len());
    }
    let whole = fs::read(segment(folder.path())).unwrap();
    let left = power_cut(
        folder.path(),
        &whole[..usize::try_from(lengths[60]).unwrap()],
    );
    let (_journal, recovery) = open(left.path(), Some(&journal.end()));
    assert_eq!((recovery.last_seq, recovery.damaged), (100, None));
    assert_eq!(recovery.restored, lengths[100] - lengths[60]);
    assert!(bodies(left.path()) == all);

    // One that is longer than a half goes by the file.
    let long = vec![b'y'; HALF];
    journal.append(long.clone()).await.unwrap();
    journal.append(b"after".to_vec()).await.unwrap();
    all.extend([long, b"after".to_vec()]);
    let whole = fs::read(segment(folder.path())).unwrap();
    let left = power_cut(folder.path(), &whole[..whole.len() - 20]);
    let (_journal, recovery) = open(left.path(), Some(&journal.end()));
    assert_eq!((recovery.last_seq, recovery.damaged), (102, None));
    assert!(bodies(left.path()) == all);
}

#[tokio::test]
async fn a_segment_is_durable_before_the_next_one_begins() {
    let folder = TempDir::new().unwrap();
    let settings = JournalSettings {
        segment_bytes: 5000,
        ..SYNCED
    };
    let (journal, _) = Journal::open(folder.path(), settings, None).unwrap();
    let all = records(20, 900);
    for record in &all {
        journal.append(record.clone()).await.unwrap();
    }
    let paths = line::segments(folder.path()).unwrap();
    assert!(paths.len() > 2);
    // The last one loses all but its first line.
    let last = paths.last().unwrap();
    let text = fs::read(last).unwrap();
    let header = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let left = power_cut(folder.path(), &text[..header]);
    for path in &paths[..paths.len() - 1] {
        fs::copy(path, left.path().join(line::name_of(path))).unwrap();
    }
    let (_journal, recovery) = Journal::open(left.path(), settings, None).unwrap();
    assert_eq!((recovery.last_seq, recovery.damaged), (20, None));
    assert!(bodies(left.path()) == all);
}

#[tokio::test]
async fn without_flushing_there_is_no_such_file_and_none_is_left() {
    let (folder, journal, all) = written().await;
    let whole = fs::read(segment(folder.path())).unwrap();
    let left = power_cut(folder.path(), &whole[..whole.len() - 400]);
    drop(journal);
    let settings = JournalSettings {
        sync: false,
        ..SYNCED
    };
    let (_journal, recovery) = Journal::open(left.path(), settings, None).unwrap();
    assert!(recovery.restored > 0 && bodies(left.path()) == all);
    assert!(!left.path().join(NAME).exists());
}
