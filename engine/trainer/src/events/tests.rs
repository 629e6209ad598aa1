use std::path::PathBuf;

use domain::Timestamp;
use tempfile::TempDir;

use super::*;

const LINES: [&str; 3] = [
    r#"{"time":"2026-03-02T09:00:00.000Z","subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook","properties":{"sensitivity":2}},"context":{"ip":"192.0.2.7","user_agent":"Firefox/145.0","session_id":"s1","device":{"id":"d1","managed":true}}}"#,
    r#"{"time":"2026-03-02T08:00:00.001Z","subject":{"type":"Service","id":"nightly \"report\""},"action":{"name":"write","properties":{"bytes":0.1}},"resource":{"type":"Application","id":"日本"},"context":{"ip":"2001:db8::7","device":{"compliant":false},"assurance":{"level":3},"shift":[1,-2.5e-7,[]]},"result":"failure","label":{"attack":"stuffing"}}"#,
    r#"{"time":"1970-01-01T00:00:00.000Z","subject":{"type":"User","id":"bob"},"action":{"name":"login"},"resource":{"type":"Application","id":"sso"},"context":{},"result":"success","label":{"benign":"trip"}}"#,
];

fn events(count: usize) -> Vec<Event> {
    let parsed: Vec<Event> = LINES
        .iter()
        .map(|line| parse(line.as_bytes()).unwrap())
        .collect();
    (0..count)
        .map(|number| {
            let mut event = parsed[number % LINES.len()].clone();
            event.time = event.time.plus_seconds(number as i64 % 977);
            event
        })
        .collect()
}

fn write_all(path: &Path, events: &[Event]) {
    let mut to = Writer::create(Some(path)).unwrap();
    for event in events {
        to.write(event).unwrap();
    }
    to.finish().unwrap();
}

fn convert(from: &Path, to: &Path) {
    let paths = [from.to_owned()];
    let events: Result<Vec<Event>, _> = read(&paths).collect();
    write_all(to, &events.unwrap());
}

#[test]
fn lines_become_a_table_and_the_same_lines_again() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    // More than one row group, and a last one that is not full.
    write_all(&path("a.jsonl"), &events(2500));
    convert(&path("a.jsonl"), &path("a.parquet"));
    convert(&path("a.parquet"), &path("b.jsonl.gz"));
    convert(&path("b.jsonl.gz"), &path("b.parquet"));
    // Known by what it begins with too.
    std::fs::rename(path("b.parquet"), path("b")).unwrap();
    convert(&path("b"), &path("c.jsonl"));
    let bytes = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(bytes("a.jsonl") == bytes("c.jsonl"), "byte for byte");
    assert!(bytes("a.parquet") == bytes("b"), "same events, same bytes");
    assert!(bytes("a.parquet").len() * 3 < bytes("a.jsonl").len());
    let first = bytes("a.jsonl");
    assert!(first.starts_with(format!("{}\n", LINES[0]).as_bytes()));
}

#[test]
fn no_events_are_a_table_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("none.parquet");
    write_all(&path, &[]);
    assert_eq!(read(&[path]).count(), 0);
}

#[test]
fn what_is_no_table_of_events_is_refused_and_never_panics() {
    let folder = TempDir::new().unwrap();
    let path: PathBuf = folder.path().join("x.parquet");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let paths = [path.clone()];
        let read: Result<Vec<Event>, _> = read(&paths).collect();
        read.map_err(|error| error.to_string())
    };
    assert!(refused(b"").is_err());
    assert!(refused(b"PAR1 and nothing else").is_err());
    write_all(&path, &events(300));
    let good = std::fs::read(&path).unwrap();
    for cut in (0..good.len()).step_by(97) {
        assert!(refused(&good[..cut]).is_err(), "cut at {cut}");
    }
    // Whatever a damaged byte does: an error or another event, but an answer.
    for place in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[place] ^= 0x55;
        let _ = refused(&bad);
    }
}

#[test]
fn events_are_sorted_by_time_and_otherwise_keep_their_order() {
    for bytes in [1 << 30, 20_000] {
        let mut sorter = Sorter::holding(bytes);
        let events = events(2000);
        for event in &events {
            sorter.push(event).unwrap();
        }
        let mut wanted = events;
        wanted.sort_by_key(|event| event.time);
        let mut sorted = Vec::new();
        sorter
            .finish(|event| {
                sorted.push(event.clone());
                Ok(())
            })
            .unwrap();
        assert!(sorted == wanted, "holding {bytes} bytes");
    }
    assert!(events(1)[0].time > Timestamp::MIN);
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = TempDir::new().unwrap();
    let (absent, bad) = (folder.path().join("absent"), folder.path().join("bad"));
    std::fs::write(&bad, format!("{}\n\n{{}}\n", LINES[0])).unwrap();
    let paths = [absent, bad];
    let all: Vec<String> = read(&paths)
        .map(|read| read.map_or_else(|error| error.to_string(), |_| "event".to_owned()))
        .collect();
    assert!(all[0].contains("absent: No such file"), "{}", all[0]);
    assert_eq!(all[1], "event");
    assert!(
        all[2].contains("bad:3: ") && all[2].contains("time"),
        "{}",
        all[2]
    );
    assert_eq!(all.len(), 3);
}
