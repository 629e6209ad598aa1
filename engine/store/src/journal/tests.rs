use std::fs;
use std::path::{Path, PathBuf};

use domain::Timestamp;
use tempfile::TempDir;

use super::*;

const TINY: JournalSettings = JournalSettings {
    segment_bytes: 600,
    queue_max: 4,
    sync: false,
};

fn record(number: usize) -> Vec<u8> {
    format!(
        r#"{{"decision_id":"{number:08}","padding":"{}"}}"#,
        "x".repeat(40)
    )
    .into_bytes()
}

/// A journal of this many records, each a group of its own, closed again.
async fn filled(count: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (journal, recovery) = Journal::open(folder.path(), TINY, None).unwrap();
    assert_eq!(recovery.last_seq, 0);
    for number in 0..count {
        journal.append(record(number)).await.unwrap();
    }
    journal.close();
    folder
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    line::segments(folder).unwrap()
}

fn check(folder: &Path) -> Report {
    verify(folder, None, &[], |_| {}, |_, _| {}).unwrap()
}

#[tokio::test]
async fn what_was_appended_is_read_back_across_segments() {
    let folder = filled(20).await;
    assert!(segments(folder.path()).len() > 3);
    let report = check(folder.path());
    assert_eq!(
        (report.records, report.broken, report.torn_bytes),
        (20, None, 0)
    );

    let mut position = None;
    let mut bodies = Vec::new();
    loop {
        let read = read_from(folder.path(), position.as_ref(), 20, 3).unwrap();
        assert_eq!(read.damage, None);
        let records = read.records;
        let Some(last) = records.last() else { break };
        position = Some(last.after.clone());
        bodies.extend(records.into_iter().map(|record| record.body));
    }
    assert_eq!(bodies, (0..20).map(record).collect::<Vec<_>>());
    let durable_only = read_from(folder.path(), None, 7, 100).unwrap();
    assert_eq!(
        durable_only.records.len(),
        7,
        "what is not durable yet is not read"
    );
}

#[tokio::test]
async fn a_torn_tail_is_repaired_wherever_it_is_torn() {
    let folder = filled(3).await;
    let path = segments(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let last_line = whole.iter().rposition(|byte| *byte == b'+').unwrap();
    for cut in last_line..whole.len() {
        for filler in [&b""[..], b"\0\0\0\0", b"\n\n", b"garbage"] {
            let mut torn = whole[..cut].to_vec();
            torn.extend_from_slice(filler);
            if torn.starts_with(&whole) {
                continue; // The filler has mended it.
            }
            fs::write(&path, &torn).unwrap();
            let report = check(folder.path());
            assert_eq!((report.records, report.broken), (2, None), "cut at {cut}");
            assert_eq!(report.torn_bytes, (torn.len() - last_line) as u64);

            let (journal, recovery) = Journal::open(folder.path(), TINY, None).unwrap();
            assert_eq!((recovery.last_seq, recovery.damaged), (2, None));
            journal.append(record(2)).await.unwrap();
            journal.close();
            let report = check(folder.path());
            assert_eq!(
                (report.records, report.broken, report.torn_bytes),
                (3, None, 0)
            );
        }
    }
}

#[tokio::test]
async fn every_change_to_what_was_durable_breaks_the_chain() {
    let folder = filled(20).await;
    for (number, path) in segments(folder.path()).iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let is_last = number + 1 == segments(folder.path()).len();
        let last_line = whole
            .iter()
            .rposition(|byte| *byte == b'+')
            .unwrap_or(whole.len());
        for position in (0..whole.len()).step_by(7) {
            if is_last && position >= last_line {
                continue; // Not to be told from a torn tail.
            }
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(path, &changed).unwrap();
            let report = check(folder.path());
            let broken = report
                .broken
                .unwrap_or_else(|| panic!("byte {position} of {number}"));
            assert_eq!(broken.segment, *path);
            let line = whole[..position]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count() as u64
                + 1;
            assert_eq!(broken.line, line, "byte {position} of {number}");
        }
        fs::write(path, &whole).unwrap();
    }
    assert_eq!(check(folder.path()).broken, None);
}

#[tokio::test]
async fn records_cannot_be_taken_out_or_moved() {
    let folder = filled(20).await;
    let path = segments(folder.path())[1].clone();
    let whole = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = whole.lines().collect();
    lines.swap(1, 2);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert_eq!(check(folder.path()).broken.unwrap().line, 2);
    lines.swap(1, 2);
    lines.remove(1);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert_eq!(check(folder.path()).broken.unwrap().line, 2);
    fs::remove_file(&path).unwrap();
    let broken = check(folder.path()).broken.unwrap();
    assert!(broken.what.contains("should come next"), "{}", broken.what);
}

#[tokio::test]
async fn damage_does_not_keep_the_engine_from_starting_and_stays_visible() {
    let folder = filled(20).await;
    let path = segments(folder.path()).pop().unwrap();
    let mut whole = fs::read(&path).unwrap();
    let first_record = whole.iter().position(|byte| *byte == b'+').unwrap();
    whole[first_record + 90] ^= 1;
    fs::write(&path, &whole).unwrap();
    let (journal, recovery) = Journal::open(folder.path(), TINY, None).unwrap();
    assert!(recovery.damaged.is_some());
    journal.append(record(99)).await.unwrap();
    journal.close();
    let broken = check(folder.path()).broken.unwrap();
    assert_eq!((broken.segment, broken.line), (path, 2));
}

#[tokio::test]
async fn two_engines_cannot_write_one_journal() {
    let folder = filled(1).await;
    let (_journal, _) = Journal::open(folder.path(), TINY, None).unwrap();
    let second = Journal::open(folder.path(), TINY, None).unwrap_err();
    assert!(second.to_string().contains("another engine"), "{second}");
}

#[tokio::test]
async fn a_closed_journal_refuses() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = Journal::open(folder.path(), TINY, None).unwrap();
    journal.close();
    assert_eq!(journal.append(record(0)).await, Err(AppendError::Closed));
}

#[tokio::test]
async fn groups_are_answered_together_and_in_order() {
    let folder = TempDir::new().unwrap();
    let settings = JournalSettings {
        queue_max: 1000,
        ..TINY
    };
    let (journal, _) = Journal::open(folder.path(), settings, None).unwrap();
    let journal = std::sync::Arc::new(journal);
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let journal = std::sync::Arc::clone(&journal);
            tokio::spawn(async move { journal.append(record(number)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(*journal.durable().borrow(), 200);
    journal.close();
    assert_eq!(check(folder.path()).records, 200);
}

#[tokio::test]
async fn what_is_old_and_drained_is_removed_and_the_rest_still_verifies() {
    let folder = filled(20).await;
    let all = segments(folder.path()).len();
    let end = check(folder.path()).end.unwrap();
    let (long_ago, later) = (
        Timestamp::from_millis(0),
        Timestamp::from_millis(4_000_000_000_000),
    );
    let remove = |drained, before| {
        let outdated = outdated(folder.path(), drained, before).unwrap();
        let before = segments(folder.path()).len();
        if let Some(outdated) = outdated {
            let until = outdated.until;
            outdated.remove().unwrap();
            assert_eq!(check(folder.path()).begins_after, Some(until));
        }
        before - segments(folder.path()).len()
    };
    assert_eq!(check(folder.path()).begins_after, Some(Link::GENESIS));
    assert_eq!(remove(&end, long_ago), 0, "none is that old");
    let mut early = read_from(folder.path(), None, 20, 8).unwrap();
    let early = early.records.pop().unwrap();
    let few = remove(&early.after, later);
    assert!((1..all - 1).contains(&few), "only what is drained: {few}");
    assert_eq!(few + remove(&end, later), all - 1, "never the last one");
    let report = check(folder.path());
    assert!(report.broken.is_none() && report.end.unwrap() == end);
    let (journal, recovery) = Journal::open(folder.path(), TINY, None).unwrap();
    assert_eq!(recovery.last_seq, 20);
    journal.append(record(20)).await.unwrap();
    journal.close();
    assert!(check(folder.path()).broken.is_none());
}

/// The segment that the next rotation will make, begun and broken off.
fn break_off_rotation(folder: &Path) -> PathBuf {
    let end = check(folder).end.unwrap();
    let name = folder.join(line::segment_name(end.seq + 1));
    fs::write(&name, line::header(end.seq + 1, end.chain)).unwrap();
    name
}

/// A journal whose segment is full, so that its next record begins another one.
async fn full() -> (TempDir, Journal, u64) {
    let folder = TempDir::new().unwrap();
    let (journal, _) = Journal::open(folder.path(), TINY, None).unwrap();
    let mut count = 0;
    while fs::metadata(&segments(folder.path())[0]).unwrap().len() < TINY.segment_bytes {
        journal.append(record(0)).await.unwrap();
        count += 1;
    }
    (folder, journal, count)
}

#[tokio::test]
async fn a_rotation_that_broke_off_is_taken_up_again() {
    let (folder, journal, count) = full().await;
    let begun = break_off_rotation(folder.path());
    journal.append(record(1)).await.unwrap();
    assert!(begun.exists());
    journal.close();
    let report = check(folder.path());
    assert_eq!((report.records, report.broken), (count + 1, None));
    assert_eq!(report.segments, 2);
}

#[tokio::test]
async fn where_no_segment_can_be_begun_the_old_one_takes_more() {
    let (folder, journal, count) = full().await;
    let in_the_way = folder.path().join("segment.new");
    fs::create_dir(&in_the_way).unwrap();
    journal.append(record(1)).await.unwrap();
    assert_eq!(segments(folder.path()).len(), 1);
    fs::remove_dir(&in_the_way).unwrap();
    journal.append(record(2)).await.unwrap();
    journal.close();
    let report = check(folder.path());
    assert_eq!((report.records, report.broken), (count + 2, None));
    assert_eq!(report.segments, 2);
}

#[tokio::test]
async fn a_draft_left_by_a_crash_does_not_empty_its_segment() {
    let (folder, journal, count) = full().await;
    drop(journal);
    let path = segments(folder.path()).pop().unwrap();
    fs::hard_link(&path, folder.path().join("segment.new")).unwrap();
    let (journal, _) = Journal::open(folder.path(), TINY, None).unwrap();
    journal.append(record(1)).await.unwrap();
    journal.close();
    assert_eq!(check(folder.path()).records, count + 1);
}

/// The lines of a file, each with its end.
fn lines(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(path).unwrap();
    text.split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// A whole journal with other records in it, its chain worked out as it should be.
fn written_anew(folder: &Path) {
    let mut chain = Chain::GENESIS;
    let mut seq = 0;
    for path in segments(folder) {
        let mut text = line::header(seq + 1, chain).into_bytes();
        for old in &lines(&path)[1..] {
            let old = line::parse(old.strip_suffix(b"\n").unwrap()).unwrap();
            let record = [b" ", old.record].concat();
            seq += 1;
            chain = chain.after(old.first, seq, &record);
            line::write(&mut text, old.first, seq, chain, &record);
        }
        fs::write(&path, text).unwrap();
    }
}

type Deed = fn(&Path);

/// What somebody may do to a stopped journal of twenty records, all of them in the store, so
/// that what is left looks whole, or torn by a crash.
const DEEDS: [(&str, Deed); 7] = [
    (
        "a record changed, the marks after it taken away",
        |folder| {
            let path = segments(folder).pop().unwrap();
            let mut lines = lines(&path);
            lines[1][90] ^= 1;
            for line in &mut lines[1..] {
                line[0] = b'.';
            }
            fs::write(&path, lines.concat()).unwrap();
        },
    ),
    ("the end cut off", |folder| {
        let path = segments(folder).pop().unwrap();
        let mut lines = lines(&path);
        lines.pop();
        fs::write(&path, lines.concat()).unwrap();
    }),
    ("the end torn", |folder| {
        let path = segments(folder).pop().unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    }),
    ("the last segment removed", |folder| {
        fs::remove_file(segments(folder).pop().unwrap()).unwrap();
    }),
    (
        "the last segment removed, the one before it torn",
        |folder| {
            fs::remove_file(segments(folder).pop().unwrap()).unwrap();
            let path = segments(folder).pop().unwrap();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        },
    ),
    ("everything removed", |folder| {
        for path in segments(folder) {
            fs::remove_file(path).unwrap();
        }
    }),
    ("everything written anew", written_anew),
];

#[tokio::test]
async fn what_the_store_has_taken_over_must_be_there_and_be_the_same() {
    for (what, deed) in DEEDS {
        let folder = filled(20).await;
        let drained = check(folder.path()).end.unwrap();
        deed(folder.path());
        let left: Vec<_> = segments(folder.path())
            .into_iter()
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect();
        let (journal, recovery) = Journal::open(folder.path(), TINY, Some(&drained)).unwrap();
        assert!(recovery.damaged.is_some(), "{what}");
        assert_eq!((recovery.last_seq, recovery.torn_bytes), (20, 0), "{what}");
        journal.append(record(20)).await.unwrap();
        assert_eq!(*journal.durable().borrow(), 21, "{what}");
        journal.close();
        for (text, path) in left {
            assert!(fs::read(&path).unwrap() == text, "{what}: evidence is kept");
        }
        let next = read_from(folder.path(), Some(&drained), 21, 9).unwrap();
        assert_eq!(next.records.len(), 1, "{what}: the drain goes on");
        let report = verify(folder.path(), Some(&drained), &[], |_| {}, |_, _| {}).unwrap();
        let is_seen = report.broken.is_some() || report.records < 20;
        assert!(is_seen, "{what}: it stays visible");
    }
}

#[tokio::test]
async fn a_mark_is_part_of_the_chain() {
    let folder = filled(20).await;
    let path = segments(folder.path()).pop().unwrap();
    let mut lines = lines(&path);
    lines.last_mut().unwrap()[0] = b'.';
    fs::write(&path, lines.concat()).unwrap();
    assert!(check(folder.path()).broken.is_some());
}

#[tokio::test]
async fn damage_before_the_last_segment_is_told_and_does_not_stop_it() {
    let folder = filled(20).await;
    let mut early = read_from(folder.path(), None, 20, 8).unwrap();
    let early = early.records.pop().unwrap();
    let (journal, recovery) = Journal::open(folder.path(), TINY, Some(&early.after)).unwrap();
    assert_eq!(recovery.damaged, None, "the rest is drained later");
    drop(journal);
    written_anew(folder.path());
    let (_journal, recovery) = Journal::open(folder.path(), TINY, Some(&early.after)).unwrap();
    assert!(recovery.damaged.unwrap().contains("written anew"));
    assert_eq!(recovery.last_seq, 20);
}

#[tokio::test]
async fn everything_is_handed_over_and_damage_is_counted() {
    let folder = filled(20).await;
    let read = || {
        let mut bodies = Vec::new();
        let contents = read_all(folder.path(), |body| {
            bodies.push(body.to_vec());
            Ok(())
        });
        (contents.unwrap(), bodies)
    };
    let (contents, bodies) = read();
    assert_eq!((contents.records, contents.unreadable), (20, 0));
    assert_eq!(bodies, (0..20).map(record).collect::<Vec<_>>());

    let paths = segments(folder.path());
    let mut text = fs::read(&paths[0]).unwrap();
    let second = text.iter().rposition(|byte| *byte == b'+').unwrap();
    text[second] = b'?';
    fs::write(&paths[0], text).unwrap();
    let last = paths.last().unwrap();
    let mut text = fs::read(last).unwrap();
    text.extend_from_slice(b"+21 being written");
    fs::write(last, text).unwrap();
    let (contents, bodies) = read();
    assert_eq!((contents.records, contents.unreadable), (19, 1));
    assert_eq!(bodies.len(), 19);
    assert!(contents.first_unreadable.unwrap().contains(".log:"));
}

#[tokio::test]
async fn what_is_damaged_is_passed_over_by_the_drain() {
    let folder = filled(20).await;
    let whole: Vec<_> = segments(folder.path())
        .into_iter()
        .map(|path| (lines(&path), path))
        .collect();
    // Each segment's line, one after another, headers too; how many records that costs.
    for (before, path) in &whole {
        for number in 0..before.len() {
            let mut lines = before.clone();
            let end = lines[number].len().min(9);
            lines[number][..end].copy_from_slice(&b"garbage\nx"[..end]);
            fs::write(path, lines.concat()).unwrap();
            let read = read_from(folder.path(), None, 20, 100).unwrap();
            assert!(read.damage.is_some(), "{} {number}", path.display());
            let wanted = if number == 0 { 20 } else { 19 };
            assert_eq!(read.records.len(), wanted, "{} {number}", path.display());
            for record in &read.records {
                assert_eq!(read_at(folder.path(), &record.place).unwrap(), record.body);
            }
        }
        fs::remove_file(path).unwrap();
        let read = read_from(folder.path(), None, 20, 100).unwrap();
        assert_eq!(read.records.len(), 20 - (before.len() - 1));
        fs::write(path, before.concat()).unwrap();
    }
}

#[tokio::test]
async fn a_signed_link_tells_a_journal_that_was_written_anew() {
    let (folder, other) = (filled(20).await, TempDir::new().unwrap());
    let read = read_from(folder.path(), None, 20, 20).unwrap();
    let link = |seq: usize| Link {
        seq: seq as u64,
        chain: read.records[seq - 1].after.chain,
    };
    let signed = [link(4), link(4), link(11), link(20)];
    let report = verify(folder.path(), None, &signed, |_| {}, |_, _| {}).unwrap();
    assert_eq!((report.records, report.broken), (20, None));
    // Every record is another from the tenth on, and the chain is whole again.
    let (journal, _) = Journal::open(other.path(), TINY, None).unwrap();
    for number in 0..20 {
        let body = record(if number < 9 { number } else { number + 100 });
        journal.append(body).await.unwrap();
    }
    assert_eq!(journal.end().seq, 20);
    journal.close();
    assert_eq!(
        verify(other.path(), None, &[], |_| {}, |_, _| {})
            .unwrap()
            .broken,
        None
    );
    let broken = verify(other.path(), None, &signed, |_| {}, |_, _| {})
        .unwrap()
        .broken;
    let broken = broken.unwrap();
    assert_eq!(broken.seq, 11);
    assert!(broken.what.contains("has signed"), "{}", broken.what);
}

#[tokio::test]
async fn a_checkpoint_lies_beside_its_segment_and_goes_with_it() {
    let folder = filled(20).await;
    let names: Vec<String> = segments(folder.path())
        .iter()
        .map(|path| line::name_of(path))
        .collect();
    for name in &names[..3] {
        keep_checkpoint(folder.path(), name, "first").unwrap();
        keep_checkpoint(folder.path(), name, &format!("of {name}")).unwrap();
    }
    assert!(keep_checkpoint(folder.path(), "../x.log", "elsewhere").is_err());
    let texts: Vec<String> = checkpoints(folder.path())
        .unwrap()
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        texts,
        names[..3]
            .iter()
            .map(|name| format!("of {name}"))
            .collect::<Vec<_>>()
    );
    let read = read_from(folder.path(), None, 20, 20).unwrap();
    let end = &read.records[19].after;
    let later = Timestamp::from_seconds(4_000_000_000);
    let outdated = outdated(folder.path(), end, later).unwrap().unwrap();
    outdated.remove().unwrap();
    assert!(checkpoints(folder.path()).unwrap().is_empty());
}
