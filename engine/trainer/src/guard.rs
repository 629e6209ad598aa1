//! The guard against poisoned training data: nobody may make up so much of the events that what
//! is ordinary becomes what he does.
//!
//! A subject dominates when it has more than `share` of all events and more than `times` the
//! median subject's; a source (an address's network) when the same holds among sources, and its
//! events are also more than `crowd` times what its established subjects would account for. An
//! office behind one address has most of the events and most of the people, and is left alone; a
//! spraying host has many events and nobody who is known for anything else.
//!
//! Who dominates is thinned to the limit, evenly over its events in their order, and not dropped:
//! a busy program is still a program that the model must know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// When somebody dominates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Share of all events, 0 to 1.
    pub share: f64,
    /// Times the median of their like.
    pub times: f64,
    /// Sources only: times the share of established subjects seen there.
    pub crowd: f64,
    /// Events from which on a subject is established.
    pub established: u64,
}

impl Default for Limits {
    /// One in a hundred, twenty times the median; established as the profiles have it, from the
    /// tenth event.
    fn default() -> Self {
        Self {
            share: 0.01,
            times: 20.0,
            crowd: 3.0,
            established: 10,
        }
    }
}

/// The events of each pair of a subject and a source; none where the source is unknown.
pub type Counts = BTreeMap<(String, Option<String>), u64>;

/// What a source is called: its autonomous system and its /24 or /64. None without an address.
#[must_use]
pub fn source_of(ip: Option<IpAddr>, asn: Option<u32>) -> Option<String> {
    let ip = ip?;
    let length = if ip.is_ipv4() { 24 } else { 64 };
    let net = ipnet::IpNet::new(ip, length).ok()?.trunc();
    Some(match asn {
        Some(asn) => format!("AS{asn} {net}"),
        None => net.to_string(),
    })
}

/// Somebody who dominated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dominant {
    /// `subject` or `source`.
    pub kind: String,
    /// Who.
    pub name: String,
    /// How many events there were of it; of a source, after its subjects were thinned.
    pub events: u64,
    /// How many of them are kept.
    pub kept: u64,
}

/// Which events to keep. Ask it about every event once, in order.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    subjects: BTreeMap<String, Thinning>,
    sources: BTreeMap<String, Thinning>,
}

/// Keeps `keep` out of `of`, evenly.
#[derive(Clone, Copy, Debug)]
struct Thinning {
    keep: u64,
    of: u64,
    seen: u64,
}

impl Thinning {
    fn next(&mut self) -> bool {
        let kept =
            |seen: u64| u128::from(seen) * u128::from(self.keep) / u128::from(self.of.max(1));
        let before = kept(self.seen);
        self.seen += 1;
        kept(self.seen) > before
    }
}

impl Guard {
    /// Works out who dominates.
    #[must_use]
    pub fn new(counts: &Counts, limits: &Limits) -> Self {
        let mut by_subject: BTreeMap<&str, u64> = BTreeMap::new();
        for ((subject, _), count) in counts {
            *by_subject.entry(subject).or_default() += count;
        }
        let all: u64 = by_subject.values().sum();
        let limit = limit(by_subject.values().copied(), all, limits);
        let subjects: BTreeMap<String, Thinning> = by_subject
            .iter()
            .filter(|(_, count)| **count > limit)
            .map(|(subject, count)| ((*subject).to_owned(), Thinning::to(limit, *count)))
            .collect();

        // What is left of each source once its subjects are thinned, and whom it is home to.
        let mut by_source: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
        for ((subject, source), count) in counts {
            let Some(source) = source else { continue };
            let share = subjects
                .get(subject)
                .map_or(1.0, |thinning| thinning.keep as f64 / thinning.of as f64);
            let entry = by_source.entry(source).or_default();
            entry.0 += *count as f64 * share;
            if by_subject.get(subject.as_str()).copied() >= Some(limits.established) {
                entry.1 += 1;
            }
        }
        let established = by_subject
            .values()
            .filter(|count| **count >= limits.established)
            .count()
            .max(1);
        let left = |events: f64| whole(events);
        let all: u64 = by_source.values().map(|(events, _)| left(*events)).sum();
        let limit = self::limit(
            by_source.values().map(|(events, _)| left(*events)),
            all,
            limits,
        );
        let sources = by_source
            .iter()
            .filter_map(|(source, (events, known))| {
                let events = left(*events);
                let crowd = limits.crowd * *known as f64 / established as f64 * all as f64;
                let limit = limit.max(whole(crowd));
                (events > limit).then(|| ((*source).to_owned(), Thinning::to(limit, events)))
            })
            .collect();
        Self { subjects, sources }
    }

    /// Whether to keep the next event of this subject from this source.
    pub fn keeps(&mut self, subject: &str, source: Option<&str>) -> bool {
        let of_subject = self.subjects.get_mut(subject).is_none_or(Thinning::next);
        // A source is thinned from what its subjects leave.
        of_subject
            && source
                .and_then(|source| self.sources.get_mut(source))
                .is_none_or(Thinning::next)
    }

    /// Who dominated, those of whom most is dropped first.
    #[must_use]
    pub fn dominant(&self) -> Vec<Dominant> {
        let told = |kind: &str, of: &BTreeMap<String, Thinning>| -> Vec<Dominant> {
            of.iter()
                .map(|(name, thinning)| Dominant {
                    kind: kind.to_owned(),
                    name: name.clone(),
                    events: thinning.of,
                    kept: thinning.keep,
                })
                .collect()
        };
        let mut all = told("subject", &self.subjects);
        all.extend(told("source", &self.sources));
        all.sort_by_key(|dominant| std::cmp::Reverse(dominant.events - dominant.kept));
        all
    }
}

impl Thinning {
    const fn to(keep: u64, of: u64) -> Self {
        Self { keep, of, seen: 0 }
    }
}

/// How many events one of them may have: the share of all or the times of the median, whichever
/// is more, and one at least.
fn limit(counts: impl Iterator<Item = u64>, all: u64, limits: &Limits) -> u64 {
    let mut counts: Vec<u64> = counts.collect();
    counts.sort_unstable();
    let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
    let most = (limits.share * all as f64).max(limits.times * median as f64);
    whole(most).max(1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of events are never negative, and far below 2^53"
)]
fn whole(events: f64) -> u64 {
    events.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred people with 100 events each: half from the office, half from home.
    fn organisation() -> Counts {
        let mut counts = Counts::new();
        for person in 0..100 {
            let name = format!("person-{person}");
            counts.insert((name.clone(), Some("office".to_owned())), 50);
            counts.insert((name, Some(format!("home-{person}"))), 50);
        }
        counts
    }

    fn with(more: &[(&str, Option<&str>, u64)]) -> Counts {
        let mut counts = organisation();
        for (subject, source, events) in more {
            let pair = ((*subject).to_owned(), source.map(str::to_owned));
            counts.insert(pair, *events);
        }
        counts
    }

    fn dominant(counts: &Counts) -> Vec<(String, u64, u64)> {
        Guard::new(counts, &Limits::default())
            .dominant()
            .into_iter()
            .map(|it| (format!("{} {}", it.kind, it.name), it.events, it.kept))
            .collect()
    }

    #[test]
    fn an_office_is_no_poisoner() {
        assert_eq!(dominant(&organisation()), []);
    }

    #[test]
    fn a_subject_of_too_many_events_is_thinned_to_the_limit() {
        // 20 times the median of 100 is 2,000: more than a hundredth of 110,000.
        let counts = with(&[("robot", Some("rack"), 100_000)]);
        let all = dominant(&counts);
        assert_eq!(all[0], ("subject robot".to_owned(), 100_000, 2000));
    }

    #[test]
    fn a_spraying_source_is_thinned_though_each_of_its_subjects_is_small() {
        let mut counts = organisation();
        for made_up in 0..20_000 {
            let pair = (format!("made-up-{made_up}"), Some("sprayer".to_owned()));
            counts.insert(pair, 1);
        }
        // 20 times the median source of 50.
        assert_eq!(
            dominant(&counts),
            [("source sprayer".to_owned(), 20_000, 1000)]
        );
    }

    #[test]
    fn a_few_stolen_accounts_on_one_host_are_thinned() {
        let more: Vec<(String, u64)> = (0..5).map(|it| (format!("person-{it}"), 1800)).collect();
        let more: Vec<(&str, Option<&str>, u64)> = more
            .iter()
            .map(|(name, events)| (name.as_str(), Some("host"), *events))
            .collect();
        let all = dominant(&with(&more));
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, "source host");
        assert!(all[0].1 == 9000 && all[0].2 < 3000, "{all:?}");
    }

    #[test]
    fn without_an_address_only_the_subject_counts() {
        assert_eq!(dominant(&with(&[("quiet", None, 900)])), []);
        assert_eq!(
            dominant(&with(&[("loud", None, 50_000)])),
            [("subject loud".to_owned(), 50_000, 2000)]
        );
        assert_eq!(dominant(&Counts::new()), []);
    }

    #[test]
    fn exactly_the_limit_is_kept_and_evenly_over_time() {
        let mut guard = Guard::new(&with(&[("robot", None, 10_000)]), &Limits::default());
        let kept: Vec<usize> = (0..10_000).filter(|_| guard.keeps("robot", None)).collect();
        assert_eq!(kept.len(), 2000);
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == 5));
        assert!(
            guard.keeps("person-1", Some("office")),
            "nobody else suffers"
        );
    }

    #[test]
    fn sources_are_networks() {
        let source = |ip: &str, asn| source_of(Some(ip.parse().unwrap()), asn).unwrap();
        assert_eq!(source("192.0.2.77", Some(64500)), "AS64500 192.0.2.0/24");
        assert_eq!(source("2001:db8:1:2:3::4", None), "2001:db8:1:2::/64");
        assert_eq!(source_of(None, Some(1)), None);
    }
}
