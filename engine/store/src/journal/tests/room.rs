//! Room behind the records of the segment that is being written.

use super::*;

#[tokio::test]
async fn room_behind_the_records_is_no_record_and_is_gone_when_the_segment_is() {
    const SYNCED: JournalSettings = JournalSettings {
        segment_bytes: 300 << 10,
        queue_max: 4,
        sync: true,
    };
    let long = || "x".repeat(100 << 10).into_bytes();
    let folder = TempDir::new().unwrap();
    let (journal, _) = Journal::open(folder.path(), SYNCED, None).unwrap();
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    for number in 1..=7_u64 {
        journal.append(long()).await.unwrap();
        let segments = segments(folder.path());
        let end = journal.end();
        // Behind what is written there is room, and behind what is full there is none.
        assert!(size(segments.last().unwrap()) > end.offset, "{number}");
        for path in &segments[..segments.len() - 1] {
            assert!(fs::read(path).unwrap().ends_with(b"\n"), "{number}");
        }
        let report = check(folder.path());
        let found = (report.records, report.broken, report.torn_bytes);
        assert_eq!(found, (number, None, 0));
        assert_eq!(report.end, Some(end));
        let read = read_from(folder.path(), None, u64::MAX, 100).unwrap();
        assert_eq!((read.records.len() as u64, read.damage), (number, None));
        let contents = read_all(folder.path(), |_| Ok(())).unwrap();
        assert_eq!((contents.records, contents.unreadable), (number, 0));
    }
    assert_eq!(segments(folder.path()).len(), 3);

    // What a crash leaves: all as it is.
    let crashed = TempDir::new().unwrap();
    for path in segments(folder.path()) {
        fs::copy(&path, crashed.path().join(path.file_name().unwrap())).unwrap();
    }
    let (again, recovery) = Journal::open(crashed.path(), SYNCED, None).unwrap();
    let whole = Recovery {
        last_seq: 7,
        torn_bytes: 0,
        damaged: None,
    };
    assert_eq!(recovery, whole);
    again.append(long()).await.unwrap();
    again.close();
    let last = segments(crashed.path()).pop().unwrap();
    assert_eq!(size(&last), again.end().offset);
    drop(again);
    let report = check(crashed.path());
    let found = (report.records, report.broken, report.torn_bytes);
    assert_eq!(found, (8, None, 0));

    // A group that was torn in its midst: what is missing of it is room still.
    let mut text = fs::read(&last).unwrap();
    let begins = text.iter().rposition(|byte| *byte == b'+').unwrap();
    text[begins + 5000..begins + 10_000].fill(line::ROOM);
    text.extend_from_slice(&[line::ROOM; 5000]);
    fs::write(&last, &text).unwrap();
    let report = check(crashed.path());
    let found = (report.records, report.broken, report.torn_bytes);
    assert_eq!(found, (7, None, (text.len() - 5000 - begins) as u64));
    let (again, recovery) = Journal::open(crashed.path(), SYNCED, None).unwrap();
    assert_eq!((recovery.last_seq, recovery.damaged), (7, None));
    again.close();
    assert_eq!(size(&last), begins as u64);
}
