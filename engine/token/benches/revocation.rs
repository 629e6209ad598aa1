//! What a look at the list of revocations costs, and how that grows (V2, V5):
//!
//! `cargo bench -p token --bench revocation` with 1,000, 1 million and 50 million entries, or
//! `-- --entries N` for one size. 50 million take some 2.5 GB.
//!
//! A check is of a token with a session, a family and a client, in a list that has entries of
//! every kind: five names are hashed and looked up before it is known that nothing revokes it.
//! Times are medians over batches of 100 checks of as many different tokens, with the tenth of
//! them that went fastest and slowest: on a machine that does other things, the fast ones are those
//! that were left alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on must stop, and prints what it finds"
)]

use std::hint::black_box;
use std::time::Instant;

use domain::Timestamp;
use token::revocation::{
    Entry, FilterSettings, Filtered, Kind, Lineage, Live, Mark, RemoteError, RemoteList,
    RevocationList, RevokedBy, Seed,
};

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);
const BATCH: usize = 100;
const BATCHES: usize = 20_000;

/// A token, in the ids that one has.
struct Token {
    jti: String,
    sid: String,
    family: String,
    sub: String,
    client: String,
}

impl Token {
    fn lineage(&self) -> Lineage<'_> {
        Lineage {
            jti: &self.jti,
            original_jti: None,
            ancestors: &[],
            family: Some(&self.family),
            sid: Some(&self.sid),
            sub: &self.sub,
            client_id: &self.client,
            issued_at: NOW,
            issued_to: &[],
        }
    }
}

/// SplitMix64: numbers that tell nothing of their order.
fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn token(number: u64) -> Token {
    let x = mixed(number);
    Token {
        jti: format!("01a1fb31-13e0-7{:03x}-8000-{:012x}", x & 0xfff, x >> 16),
        sid: format!("ses_{x:022x}"),
        family: format!("{x:024x}"),
        sub: format!("User/person{number}@example.com"),
        // Another for each: a few that all have would be few samples of the filter.
        client: format!("sk_{x:08x}"),
    }
}

/// Which entry revokes the token of a number: of every ten one subject, two families, three
/// sessions and four tokens.
fn entry(number: u64) -> Entry {
    let token = token(number);
    match number % 10 {
        0 => Entry::SubjectNotBefore {
            subject: token.sub,
            before: NOW,
        },
        1 | 2 => Entry::Family(token.family),
        3..=5 => Entry::Session(token.sid),
        _ => Entry::Jti(token.jti),
    }
}

fn resident_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / (1 << 20) as f64
}

/// The median over batches in ns for one check, with the tenth and the ninetieth percentile.
fn measure(
    list: &dyn RevocationList,
    number: impl Fn(u64) -> u64,
    wanted: Option<RevokedBy>,
) -> String {
    let mut times = Vec::with_capacity(BATCHES);
    for batch in 0..BATCHES {
        let tokens: Vec<Token> = (0..BATCH)
            .map(|one| token(number((batch * BATCH + one) as u64)))
            .collect();
        let started = Instant::now();
        let mut as_wanted = 0;
        for token in &tokens {
            let found = list.check(black_box(&token.lineage()), NOW);
            as_wanted += usize::from(found == wanted);
        }
        times.push(started.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
        assert!(as_wanted * 100 >= BATCH * 90, "{as_wanted} of {BATCH}");
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[BATCHES * percent / 100];
    format!("{:.0} ns ({:.0} to {:.0})", at(50), at(10), at(90))
}

fn live(entries: u64) {
    let before = resident_mib();
    let list = Live::new(Seed::new([7; 16]), usize::MAX);
    list.put(
        &Entry::Client {
            client_id: "sk_other".to_owned(),
            before: NOW,
        },
        Timestamp::MAX,
    );
    let started = Instant::now();
    for number in 0..entries {
        list.put(&entry(number), Timestamp::MAX);
    }
    let built = started.elapsed().as_secs_f64();
    let memory = resident_mib() - before;
    let spread = |at: u64| mixed(at) % (entries / 10) * 10;
    let miss = measure(&list, |at| entries + at, None);
    let session = measure(&list, |at| spread(at) + 3, Some(RevokedBy::Session));
    let jti = measure(&list, |at| spread(at) + 6, Some(RevokedBy::Token));
    let started = Instant::now();
    let mut slowest = 0.0_f64;
    for _ in 0..16 {
        let part = Instant::now();
        list.tidy(NOW);
        slowest = slowest.max(part.elapsed().as_secs_f64());
    }
    let tidied = started.elapsed().as_secs_f64();
    println!(
        "exact, {entries:>10} entries: miss {miss}, hit at the session {session}, hit at the jti \
         {jti}; {memory:.0} MiB; {:.0} ns to add one; tidied in {:.0} ms, the longest slice {:.1} ms",
        built * 1e9 / entries as f64,
        tidied * 1e3,
        slowest * 1e3,
    );
}

/// Nothing is there, however often it is asked for.
#[derive(Debug)]
struct Nothing;

impl RemoteList for Nothing {
    fn look_up(&self, _: Kind, _: &str) -> Result<Option<Mark>, RemoteError> {
        Ok(None)
    }
}

fn filter(entries: u64) {
    let before = resident_mib();
    let settings = FilterSettings {
        entries: entries as usize,
        ..FilterSettings::default()
    };
    let local = Live::new(Seed::new([8; 16]), 1000);
    let list = Filtered::new(local, Seed::new([7; 16]), Nothing, settings);
    let started = Instant::now();
    for number in 0..entries {
        let entry = entry(number);
        list.note_name(entry.kind(), entry.id());
    }
    let built = started.elapsed().as_secs_f64();
    let memory = resident_mib() - before;
    let miss = measure(&list, |at| entries + at, None);
    let layers = list.layers();
    let names = layers.filter + layers.remote_absent;
    println!(
        "filter, {entries:>10} entries: miss {miss}; {memory:.1} MiB; false positives {:.4} % of \
         {names} names; {:.0} ns to add one",
        layers.remote_absent as f64 * 100.0 / names as f64,
        built * 1e9 / entries as f64,
    );
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--entries");
    let sizes = match arguments.nth(1) {
        Some(entries) => vec![entries.parse().unwrap()],
        None => vec![1000, 1_000_000, 50_000_000],
    };
    // The filters first: what a list gives back would hide what a filter takes.
    for entries in &sizes {
        filter(*entries);
    }
    for entries in &sizes {
        live(*entries);
    }
}
