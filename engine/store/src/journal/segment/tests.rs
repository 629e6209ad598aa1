//! What becomes of groups that are refused, and of flushes that fail.

use tempfile::TempDir;

use super::super::verify;
use super::*;

/// A segment with a write-ahead file, in a folder of its own.
fn begun() -> (TempDir, Segment) {
    let folder = TempDir::new().unwrap();
    let opened = Folder::open(folder.path()).unwrap();
    let (mut segment, _) = Segment::recover(&opened, None).unwrap();
    segment.ahead = Some(Ahead::open(&opened).unwrap());
    (folder, segment)
}

/// The text of a group that comes next, and where it ends.
fn group(segment: &Segment, records: &[&[u8]]) -> (Vec<u8>, (u64, Chain)) {
    let (mut seq, mut chain) = (segment.end.seq, segment.end.chain);
    let mut text = Vec::new();
    for (number, record) in records.iter().enumerate() {
        seq += 1;
        chain = chain.after(number == 0, seq, record);
        line::write(&mut text, number == 0, seq, chain, record);
    }
    (text, (seq, chain))
}

fn put(segment: &mut Segment, records: &[&[u8]]) -> Vec<u8> {
    let (mut text, last) = group(segment, records);
    segment.write(&mut text, last, true).unwrap();
    text
}

/// A group that the file takes none of, or a part of, before it fails.
fn refuse(folder: &Path, segment: &mut Segment, records: &[&[u8]], part: usize) {
    let (mut text, last) = group(segment, records);
    let path = folder.join(&segment.end.segment);
    let whole = std::mem::replace(&mut segment.file, Arc::new(File::open(&path).unwrap()));
    assert!(segment.write(&mut text, last, true).is_err());
    segment.file = whole;
    let part = text.get(..part).unwrap();
    segment.file.write_all_at(part, segment.end.offset).unwrap();
}

/// What the next start makes of it, held against what was answered.
fn check(folder: &Path, end: &Position, answered: &[Vec<u8>]) {
    for drained in [None, Some(end)] {
        let report = verify(folder, drained, &[], |_| {}, |_, _| {}).unwrap();
        assert_eq!((report.broken, report.end.as_ref()), (None, Some(end)));
    }
    let (_, recovery) = Segment::recover(&Folder::open(folder).unwrap(), Some(end)).unwrap();
    assert_eq!((recovery.damaged, recovery.last_seq), (None, end.seq));
    let text = fs::read(folder.join(&end.segment)).unwrap();
    assert!(text.ends_with(&answered.concat()));
}

#[test]
fn what_was_refused_stands_nowhere_where_something_was_answered() {
    let long = [b'r'; 3000];
    let half = vec![b'a'; ahead::HALF - 9000];
    let larger = [b'b'; 20_000];
    // What is refused, and what comes after it: into the same place, and into the other half.
    for (first, next) in [(&b"one"[..], &b"answered"[..]), (&half[..], &larger[..])] {
        let (folder, mut segment) = begun();
        let mut answered = vec![put(&mut segment, &[first])];
        refuse(folder.path(), &mut segment, &[&long, &long], 5000);
        answered.push(put(&mut segment, &[next]));
        // The disk has the segment as the answered group found it.
        let left = segment.settled.offset;
        assert_eq!(left, segment.end.offset - answered[1].len() as u64);
        answered.push(put(&mut segment, &[b"two", b"three"]));
        let end = segment.end.clone();
        segment.file.set_len(left).unwrap();
        check(folder.path(), &end, &answered);
    }
}

#[test]
fn a_group_that_was_refused_last_may_come_back_and_breaks_nothing() {
    let (folder, mut segment) = begun();
    put(&mut segment, &[b"one"]);
    refuse(folder.path(), &mut segment, &[b"two", b"three"], 100);
    drop(segment);
    let opened = Folder::open(folder.path()).unwrap();
    let (mut segment, recovery) = Segment::recover(&opened, None).unwrap();
    assert_eq!((recovery.last_seq, recovery.damaged), (3, None));
    segment.ahead = Some(Ahead::open(&opened).unwrap());
    let last = put(&mut segment, &[b"four"]);
    segment.settle().unwrap();
    check(folder.path(), &segment.end.clone(), &[last]);
}

#[test]
fn what_was_refused_is_known_as_that_until_the_disk_has_none_of_it() {
    let (folder, mut segment) = begun();
    put(&mut segment, &[b"one"]);
    let begin = segment.end.offset;
    put(&mut segment, &[&[b'x'; 3000]]);
    let put_last = put(&mut segment, &[b"three"]);
    refuse(folder.path(), &mut segment, &[b"four", b"five"], 100);
    let end = segment.end.clone();
    // A flush that fails, and would again.
    segment.doubtful = true;
    segment.settled.seq += 100;
    let path = folder.path().join(&end.segment);
    let written = fs::read(&path).unwrap();
    assert!(segment.tidy().is_err());
    drop(segment);
    // The disk has the length as it was, and not all of what came before.
    let mut left = written;
    let sector = usize::try_from(begin).unwrap().next_multiple_of(512);
    left[sector..sector + 512].fill(0);
    fs::write(&path, left).unwrap();
    let report = verify(folder.path(), Some(&end), &[], |_| {}, |_, _| {}).unwrap();
    assert_eq!(report.broken, None);
    let opened = Folder::open(folder.path()).unwrap();
    let (_, recovery) = Segment::recover(&opened, Some(&end)).unwrap();
    assert_eq!((recovery.last_seq, recovery.damaged), (5, None));
    let text = fs::read(&path).unwrap();
    assert!(text.windows(put_last.len()).any(|found| found == put_last));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_the_file_keeps_what_room_it_has() {
    let folder = TempDir::new().unwrap();
    let opened = Folder::open(folder.path()).unwrap();
    let path = folder.path().join("ahead");
    // What takes no length and no bytes.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    assert!(Ahead::open(&opened).is_err());
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn what_a_flush_that_failed_may_have_dropped_is_written_once_more() {
    let (folder, mut segment) = begun();
    let mut all = Vec::new();
    for settle in [Segment::settle, Segment::settle_behind] {
        let begin = segment.end.offset;
        let texts: Vec<_> = (0..3)
            .map(|_| put(&mut segment, &[b"one", b"two"]))
            .collect();
        // A group that is refused meanwhile is none of it.
        refuse(folder.path(), &mut segment, &[b"refused"], 9);
        let text = texts.concat();
        segment
            .file
            .write_all_at(&vec![0; text.len()], begin)
            .unwrap();
        let failed = || Err(io::Error::other("the disk is broken"));
        segment.settling = Some(Settling {
            thread: std::thread::spawn(failed),
            end: segment.end.clone(),
        });
        segment.tidy().unwrap();
        settle(&mut segment).unwrap();
        assert!(!segment.doubtful);
        all.push(text);
        check(folder.path(), &segment.end.clone(), &all);
    }
}

#[test]
fn what_is_ahead_goes_on_from_no_segment_that_was_begun_after_damage() {
    let (folder, mut segment) = begun();
    put(&mut segment, &[b"one111"]);
    put(&mut segment, &[b"two222"]);
    put(&mut segment, &[b"three", b"four", b"five"]);
    let path = folder.path().join(&segment.end.segment);
    drop(segment);
    let mut text = fs::read(&path).unwrap();
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|found| found == what);
    let changed = find(&text, b"two222").unwrap();
    text[changed] = b'X';
    text.truncate(find(&text, b"four").unwrap() + 5);
    fs::write(&path, &text).unwrap();
    let opened = Folder::open(folder.path()).unwrap();
    let (mut segment, recovery) = Segment::recover(&opened, None).unwrap();
    assert!(recovery.damaged.is_some() && recovery.last_seq == 4);
    assert!(folder.path().join("ahead.damaged-4").exists());
    segment.ahead = Some(Ahead::open(&opened).unwrap());
    let begin = segment.end.offset;
    let next = put(&mut segment, &[b"answered"]);
    segment.file.set_len(begin).unwrap();
    let (segment, recovery) = Segment::recover(&opened, None).unwrap();
    assert_eq!((recovery.last_seq, recovery.damaged), (5, None));
    let text = fs::read(folder.path().join(&segment.end.segment)).unwrap();
    assert!(text.ends_with(&next));
}
