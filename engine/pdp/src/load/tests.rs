use proptest::prelude::*;

use super::*;

const SHED_AFTER: u64 = 50_000;

/// A machine that decides so many in a window with as many asking all the time; each takes at least
/// `floor` microseconds. The limit of each window.
fn settles(capacity: usize, asking: usize, most: usize, floor: u64) -> Vec<usize> {
    let mut held = Held {
        limit: most,
        patience: SHED_AFTER,
    };
    let windows = (0..400).map(|_| {
        let at_once = held.limit.min(asking);
        // Each waits for those before it (Little's law).
        let took = (at_once as u64 * micros(WINDOW) / capacity as u64).max(floor);
        let decided = capacity.min(at_once * 100_000 / usize::try_from(took).unwrap());
        let windows = SAMPLE.div_ceil(decided.max(1)).min(10);
        let decided = decided * windows;
        let seen = Seen {
            decided,
            late: if took > held.patience { decided } else { 0 },
            took: took * decided as u64,
            windows: windows as u64,
            is_idle: false,
        };
        held = next(held, most, SHED_AFTER, seen);
        held.limit
    });
    windows.collect()
}

#[test]
fn as_many_are_let_in_as_are_decided_in_time() {
    let last = |limits: Vec<usize>| *limits.last().unwrap();
    // At 4,000 in a window: nobody is shed.
    assert_eq!(last(settles(4000, 1024, 1024, 0)), 1024);
    // At 400 in a window, with 4 times as many asking: about the 200 that are in time, all along.
    let limits = settles(400, 800, 1024, 0);
    let settled = &limits[40..];
    assert!(
        settled.iter().all(|limit| (140..=230).contains(limit)),
        "{settled:?}"
    );
    // However slow it is, some are.
    assert_eq!(last(settles(1, 800, 1024, 0)), LEAST);
    assert_eq!(last(settles(1, 800, 8, 0)), 8);
    // Few ask: nothing changes.
    assert_eq!(last(settles(400, 10, 1024, 0)), 1024);
}

#[test]
fn a_disk_that_is_slow_by_nature_is_no_overload() {
    // 60 ms for each, whatever their number; more than 50 ms is late.
    let limits = settles(4000, 800, 1024, 60_000);
    assert_eq!(*limits.last().unwrap(), 1024, "{limits:?}");
    // No promise is stretched for ever: at 2 s for each, few are let in.
    let limits = settles(4000, 800, 1024, 2_000_000);
    assert_eq!(*limits.last().unwrap(), LEAST);
}

#[test]
fn a_few_late_ones_say_nothing_and_one_window_is_not_the_end() {
    let start = Held {
        limit: 1024,
        patience: SHED_AFTER,
    };
    let after = |decided: usize, late: usize| {
        let seen = Seen {
            decided,
            late,
            took: late as u64 * 80_000,
            windows: 1,
            is_idle: true,
        };
        next(start, 1024, SHED_AFTER, seen).limit
    };
    assert_eq!(after(1, 1), 1024);
    assert_eq!(after(SAMPLE - 1, SAMPLE - 1), 1024);
    assert_eq!(after(100, 10), 1024);
    assert_eq!(after(100, 11), 922);
    assert_eq!(after(100, 100), 768, "from the limit, whoever asked");
}

#[test]
fn when_the_load_is_gone_everybody_is_let_in_again() {
    // Nobody asks for a while, and then many at once.
    let load = Load::new(Duration::from_millis(50), 1000);
    load.limit.store(LEAST, Ordering::Relaxed);
    assert!(load.look(load.since + Duration::from_secs(6)));
    assert_eq!(load.limit.load(Ordering::Relaxed), 1000);
    // Few ask, in time.
    let mut held = Held {
        limit: LEAST,
        patience: SHED_AFTER * 4,
    };
    for _ in 0..60 {
        let seen = Seen {
            decided: 3,
            late: 0,
            took: 3_000,
            windows: 1,
            is_idle: false,
        };
        held = next(held, 1024, SHED_AFTER, seen);
    }
    let whole = Held {
        limit: 1024,
        patience: SHED_AFTER,
    };
    assert_eq!(held, whole);
    // What hangs is not over.
    load.limit.store(LEAST, Ordering::Relaxed);
    let _hangs = load.begin("a", false).unwrap();
    load.look(load.since + Duration::from_secs(60));
    assert_eq!(load.limit.load(Ordering::Relaxed), LEAST);
}

#[test]
fn a_decision_counts_while_it_lasts_and_decisions_go_first() {
    let load = Load::new(Duration::from_millis(50), 4);
    let held: Vec<_> = (0..3).map(|_| load.begin("a", false).unwrap()).collect();
    assert!(load.has_room_for("a"));
    assert!(!load.has_room());
    let fourth = load.begin("a", false).unwrap();
    assert!(!load.has_room_for("a"));
    assert_eq!(load.begin("a", false).unwrap_err(), Overloaded);
    let of_a_batch = load.begin("a", true).unwrap();
    drop((held, fourth, of_a_batch));
    assert_eq!(load.deciding.load(Ordering::Relaxed), 0);
    assert!(load.callers().is_empty());
    assert!(load.has_room());
    let off = Load::new(Duration::ZERO, 1);
    let many: Vec<_> = (0..9).map(|_| off.begin("a", false).unwrap()).collect();
    assert!(off.has_room() && off.has_room_for("a") && many.iter().all(Option::is_none));
}

#[test]
fn whoever_floods_the_engine_turns_away_itself() {
    let load = Load::new(Duration::from_millis(50), 1024);
    load.limit.store(LEAST, Ordering::Relaxed);
    let begin = |caller| load.begin(caller, false);
    let mut flood: Vec<_> = std::iter::from_fn(|| begin("flood").ok()).collect();
    assert_eq!(flood.len(), LEAST);
    // Others have their shares although it is full, and no more.
    let second: Vec<_> = std::iter::from_fn(|| begin("second").ok()).collect();
    assert_eq!(second.len(), LEAST / 2);
    let third: Vec<_> = std::iter::from_fn(|| begin("third").ok()).collect();
    assert_eq!(third.len(), LEAST / 3);
    assert!(begin("flood").is_err() && !load.has_room_for("flood"));
    // What it gives up is not its own again.
    flood.truncate(LEAST / 3);
    assert!(begin("flood").is_err());
}

#[test]
fn what_takes_too_long_lets_fewer_in() {
    let load = Load::new(Duration::from_millis(50), 1000);
    let mut at = load.since;
    for _ in 0..100 {
        at += Duration::from_millis(150);
        load.deciding.store(20, Ordering::Relaxed);
        for _ in 0..20 {
            load.end("a", Duration::from_secs(1), at - WINDOW / 2);
        }
        load.look(at);
    }
    assert_eq!(load.limit.load(Ordering::Relaxed), LEAST);
}

proptest! {
    #[test]
    fn the_limit_stays_within_its_bounds(
        limit in 1_usize..5000,
        most in 1_usize..5000,
        patience in 1_u64..100_000_000,
        decided in 0_usize..100_000,
        late in 0_usize..100_000,
        took in 0_u64..100_000_000,
        windows in 1..=WINDOWS_MAX,
        is_idle in any::<bool>(),
    ) {
        let limit = limit.min(most);
        let held = Held { limit, patience: patience.max(SHED_AFTER) };
        let seen = Seen { decided, late, took, windows, is_idle };
        let next = next(held, most, SHED_AFTER, seen);
        prop_assert!(next.limit >= 1 && next.limit <= most);
        prop_assert!(next.limit >= LEAST.min(most).min(limit));
        prop_assert!(next.patience >= SHED_AFTER);
        let longest = held.patience.max(SHED_AFTER * u64::from(PATIENCE_MAX));
        prop_assert!(next.patience <= longest);
    }
}
