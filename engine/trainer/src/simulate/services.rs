//! Programs that work by themselves, by the clock, from the same few addresses, for ever.

use std::sync::Arc;

use domain::Party;
use jiff::civil::Date;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::atlas::{Carrier, Ground};
use super::calendar::number_of;
use super::chance::{Dice, between, happens, index, luck, mix};
use super::draft::{Draft, Seat, Sitting, benign, later};
use super::people::party;
use super::work::Resource;
use super::{Foundation, Organisation};

const HOURS: f64 = 3600.0;
/// Purposes of luck.
const BACKUP: u64 = 61;
const CLEARING: u64 = 63;

/// A program that works by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its own randomness.
    pub key: u64,
    /// Its client program.
    pub agent: String,
    /// Minutes between its runs.
    pub every_minutes: u32,
    /// What it reads.
    pub resources: Vec<Arc<Resource>>,
    /// Whether it lives with a public cloud instead of the organisation's own data centre.
    pub in_cloud: bool,
    /// All that it saves once a week; empty for a program that saves nothing.
    pub saves: Vec<Arc<Resource>>,
    /// Whether it asks what there is before each run.
    pub lists: bool,
    /// Share of its requests that write.
    pub writes: f64,
    /// Whether it removes old documents, once a week.
    pub clears: bool,
    /// Days between two versions of its client; 0: nothing about it ever changes.
    pub release_days: i64,
}

impl Service {
    pub(super) fn generate(number: usize, foundation: &Foundation<'_>) -> Option<Self> {
        let programs = &foundation.scenario.programs;
        let seed = foundation.scenario.organisation.seed;
        let key = mix(mix(seed ^ 0x5E4_71CE) ^ number as u64);
        let libraries = &foundation.libraries;
        let (_, library) = libraries.iter().nth(index(key, libraries.len()))?;
        let mut dice = Dice::seed_from_u64(key);
        let [few, many] = programs.documents;
        let [often, seldom] = programs.every_minutes;
        let start = dice.gen_range(0..library.len());
        let every_minutes = dice.gen_range(often..=seldom);
        let count = dice.gen_range(few..=many);
        let in_cloud = happens(programs.in_cloud, &mut dice);
        let saves = happens(programs.backups, &mut dice);
        Some(Self {
            id: format!("service-{number:02}"),
            key,
            agent: format!("batch-runner-{number}/2.4"),
            every_minutes,
            resources: library
                .iter()
                .cycle()
                .skip(start)
                .take(count)
                .cloned()
                .collect(),
            in_cloud,
            saves: if saves { library.to_vec() } else { Vec::new() },
            lists: happens(0.5, &mut dice),
            writes: dice.gen_range(0.0_f64..0.5).powi(2),
            clears: happens(programs.clears, &mut dice),
            release_days: programs.release_days,
        })
    }

    /// As a request names it.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        party("Service", &self.id)
    }

    fn agent(&self, day: i64) -> String {
        if self.release_days == 0 {
            return self.agent.clone();
        }
        let offset = i64::try_from(index(self.key, 365)).unwrap_or_default();
        format!("{}.{}", self.agent, (day + offset) / self.release_days % 50)
    }

    /// Where it runs: as a rule, and during a planned move.
    fn regions<'a>(&self, organisation: &'a Organisation) -> Option<[&'a Arc<Carrier>; 2]> {
        if self.in_cloud {
            let clouds = organisation.atlas.carriers(Ground::Hosting);
            let usual = clouds.get(index(self.key, clouds.len()))?;
            // Another region of the same provider, where it has one.
            let other = clouds
                .iter()
                .find(|other| other.asn == usual.asn && other.place != usual.place);
            return Some([usual, other.unwrap_or(usual)]);
        }
        let own = &organisation.regions;
        let choice = 1 + index(self.key, own.len().saturating_sub(1));
        let usual = own.first()?;
        Some([usual, own.get(choice).unwrap_or(usual)])
    }
}

/// The events of one program on one day, UTC.
pub(super) fn of_service(
    organisation: &Organisation,
    service: &Service,
    date: Date,
    dice: &mut Dice,
    drafts: &mut Vec<Draft>,
) {
    let day = number_of(date);
    let midnight = day * 86_400_000;
    let programs = &organisation.scenario.programs;
    let Some((usual, moved)) = seats(organisation, service, day) else {
        return;
    };
    let changes = service.release_days > 0;
    let failover = changes && happens(programs.failover / 1000.0, dice);
    let begins = dice.gen_range(0.0..20.0);
    let away = begins..begins + between(programs.failover_hours, dice);
    let seat_at = |hour: f64| {
        if failover && away.contains(&hour) {
            &moved
        } else {
            &usual
        }
    };
    let words = &organisation.words;
    let put = |at, seat: &Arc<Seat>, action: &Arc<str>, resource: &Arc<Resource>| Draft {
        at,
        seat: seat.clone(),
        action: action.clone(),
        resource: resource.clone(),
        result: None,
    };
    let every = f64::from(service.every_minutes.max(1));
    let mut minute = every * dice.r#gen::<f64>();
    while minute < 1440.0 {
        let mut at = later(midnight, minute * 60.0);
        let seat = seat_at(minute / 60.0);
        if let Some(first) = service.resources.first().filter(|_| service.lists) {
            drafts.push(put(at, seat, &words.list, first));
            at = later(at, dice.gen_range(0.2..2.0));
        }
        for resource in &service.resources {
            let action = if happens(service.writes, dice) {
                &words.write
            } else {
                &words.read
            };
            drafts.push(put(at, seat, action, resource));
            at = later(at, dice.gen_range(0.2..2.0));
        }
        minute += every * dice.gen_range(0.95..1.05);
    }
    let weekday = |purpose| index(luck(service.key, purpose, 0), 7) as u64;
    let today = (day + 3).rem_euclid(7).unsigned_abs();
    if weekday(BACKUP) == today {
        let seat = usual.labelled(benign("backup-job"));
        let mut at = later(midnight, dice.gen_range(1.9..2.1) * HOURS);
        for resource in &service.saves {
            drafts.push(put(at, &seat, &words.read, resource));
            at = later(at, dice.gen_range(0.3..1.5));
        }
    }
    if service.clears && weekday(CLEARING) == today {
        let mut at = later(midnight, dice.gen_range(3.9..4.1) * HOURS);
        let few = dice.gen_range(1..=4);
        for resource in service.resources.choose_multiple(dice, few) {
            drafts.push(put(at, &usual, &words.delete, resource));
            at = later(at, dice.gen_range(0.3..1.5));
        }
    }
}

/// What a program's requests have in common, as a rule and during a planned move.
fn seats(
    organisation: &Organisation,
    service: &Service,
    day: i64,
) -> Option<(Arc<Seat>, Arc<Seat>)> {
    let [usual, other] = service.regions(organisation)?;
    let address = luck(service.key, 62, day) % organisation.scenario.programs.addresses;
    let seat = |carrier: &Carrier, ground, label| {
        Some(Arc::new(Seat {
            sitting: Sitting {
                subject: service.party()?,
                ip: carrier.exit(mix(service.key) ^ address),
                agent: service.agent(day),
                device: None,
                session: None,
                assurance: None,
                label,
            },
            place: carrier.place,
            ground,
            asn: carrier.asn,
        }))
    };
    let ground = if service.in_cloud {
        Ground::Hosting
    } else {
        Ground::DataCentre
    };
    Some((
        seat(usual, ground, None)?,
        seat(other, ground, Some(benign("region-failover")))?,
    ))
}
