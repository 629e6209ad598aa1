//! What holds of simulated traffic as a whole; its attacks are in `tests/attacks.rs`.

mod attacks;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use domain::{ActionResult, EntityRef};
use jiff::civil::date;
use wire::Event;
use wire::event::Label;

use super::atlas::Ground;
use super::calendar::{date_of, is_weekend, number_of};
use super::draft::Draft;
use super::{Attack, Organisation, Scenario, Stream, shipped_world};

const DAY: i64 = 86_400_000;

/// Many attacks and much silence, so that little time shows everything.
const BUSY: &str = "
[organisation]
people = 120
programs = 7
days = 50
[attacks]
per_thousand_days = 8
on_programs = 20
spray_every_days = 3
[dormancy]
share = 0.2
active_days = [6, 10]
silent_days = 25
wakes_within = 8
[trips]
per_year = 15
[turnover]
joined = 0.6
left = 0.6
[twins]
ip_flip = 60
";

/// An organisation, and everything that happens in it, in order of time.
struct Told {
    organisation: Organisation,
    drafts: Vec<Draft>,
}

static TOLD: LazyLock<Told> = LazyLock::new(|| {
    let organisation = organisation(BUSY);
    let from = number_of(organisation.scenario.organisation.from);
    let days = i64::from(organisation.scenario.organisation.days);
    let mut drafts = Vec::new();
    for day in from..from + days {
        organisation.write_day(date_of(day).unwrap(), true, &mut drafts);
    }
    drafts.sort_by_key(|draft| draft.at);
    Told {
        organisation,
        drafts,
    }
});

impl Told {
    fn labelled(&self, name: &str) -> Vec<&Draft> {
        let found = self.drafts.iter();
        let found: Vec<&Draft> = found.filter(|draft| label(draft) == Some(name)).collect();
        assert!(!found.is_empty(), "no {name} at all");
        found
    }

    /// What everybody does by themselves, by who it is, in order of time.
    fn honest(&self) -> BTreeMap<&EntityRef, Vec<&Draft>> {
        let mut honest: BTreeMap<&EntityRef, Vec<&Draft>> = BTreeMap::new();
        for draft in self.drafts.iter().filter(|draft| !is_attack(draft)) {
            honest.entry(subject(draft)).or_default().push(draft);
        }
        honest
    }
}

fn organisation(text: &str) -> Organisation {
    let scenario = Scenario::parse("test.toml".as_ref(), text).unwrap();
    Organisation::new(&scenario, &shipped_world().unwrap()).unwrap()
}

fn events(text: &str) -> Vec<Event> {
    let organisation = organisation(text);
    let pages: Vec<_> = Stream::new(&organisation).collect();
    pages.iter().flat_map(super::Page::events).collect()
}

fn lines(text: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    for event in events(text) {
        crate::events::write(&mut lines, &event).unwrap();
    }
    lines
}

fn subject(draft: &Draft) -> &EntityRef {
    &draft.seat.sitting.subject.entity
}

fn label(draft: &Draft) -> Option<&str> {
    draft.seat.sitting.label.as_ref().map(|label| match label {
        Label::Attack(name) | Label::Benign(name) => name.as_str(),
    })
}

fn is_attack(draft: &Draft) -> bool {
    matches!(draft.seat.sitting.label, Some(Label::Attack(_)))
}

/// Small enough to be told three times.
const SMALL: &str = "organisation.people = 20\norganisation.days = 12\n";

#[test]
fn the_same_scenario_gives_the_same_bytes_and_another_seed_gives_others() {
    let told = lines(SMALL);
    assert!(!told.is_empty());
    assert_eq!(told, lines(SMALL));
    assert_ne!(told, lines(&format!("{SMALL}organisation.seed = 8")));
}

#[test]
fn one_more_person_changes_nobody_elses_days() {
    let of_the_first = |people: usize| {
        let told = events(&format!(
            "organisation.people = {people}\norganisation.days = 12"
        ));
        let mine = |event: &Event| {
            let id = event.request.subject.entity.id.as_str().to_owned();
            id.starts_with("service-") || (id.starts_with("user-") && *id < *"user-0020")
        };
        told.into_iter().filter(mine).collect::<Vec<_>>()
    };
    assert_eq!(of_the_first(20), of_the_first(21));
}

#[test]
fn times_ascend_and_no_more_than_three_days_are_held() {
    let organisation = organisation("organisation.people = 60\norganisation.days = 20");
    let mut last = i64::MIN;
    for page in Stream::new(&organisation) {
        let times: Vec<i64> = page.events().map(|event| event.time.millis()).collect();
        assert!(times.is_sorted());
        if let (Some(first), Some(latest)) = (times.first(), times.last()) {
            assert!(last <= *first && latest - first <= 3 * DAY);
            last = *latest;
        }
    }
}

#[test]
fn both_shipped_scenarios_show_every_attack_and_every_twin_and_nothing_else() {
    let beside = ["trip-new-device", "new-device"];
    let twins = Attack::ALL.iter().flat_map(|attack| attack.twins());
    let known: BTreeSet<&str> = twins
        .chain(&beside)
        .copied()
        .chain(Attack::ALL.map(Attack::name))
        .collect();
    let other = scenario::OTHER.replace("per_thousand_days = 3.0", "per_thousand_days = 12.0");
    let other = other.replace("people = 250", "people = 60");
    let other = other.replace("[dormancy]\nshare = 0.05", "[dormancy]\nshare = 0.4");
    let told = events(&other);
    let of_other: BTreeSet<&str> = told
        .iter()
        .filter_map(|event| match event.label.as_ref()? {
            Label::Attack(name) | Label::Benign(name) => Some(name.as_str()),
        })
        .collect();
    assert_eq!(of_other, known);
    let of_first: BTreeSet<&str> = TOLD.drafts.iter().filter_map(label).collect();
    assert_eq!(of_first, known);
}

#[test]
fn nobody_honest_travels_faster_than_an_aeroplane() {
    let atlas = &TOLD.organisation.atlas;
    let mut journeys = 0;
    for (who, days) in TOLD.honest() {
        if who.kind.as_str() == "Service" {
            continue;
        }
        for pair in days.windows(2) {
            let km = atlas.distance_km(pair[0].seat.place, pair[1].seat.place);
            let hours = (pair[1].at - pair[0].at) as f64 / 3_600_000.0;
            journeys += usize::from(km > 500.0);
            assert!(km <= 850.0 * hours, "{who:?}: {km} km in {hours} h");
        }
    }
    assert!(journeys > 40, "{journeys}");
}

#[test]
fn clocks_change_under_people_and_not_their_hours() {
    let atlas = &TOLD.organisation.atlas;
    let paris = atlas.find("paris").unwrap();
    let utc_hour = |day| atlas.local(paris, day, 9.0).rem_euclid(DAY) / 3_600_000;
    assert_eq!(utc_hour(date(2026, 3, 28)), 8);
    assert_eq!(utc_hour(date(2026, 3, 30)), 7);
    let new_york = atlas.find("new-york").unwrap();
    // 2:30 does not exist on the day on which the clock jumps.
    let skipped = atlas.local(new_york, date(2026, 3, 8), 2.5).rem_euclid(DAY);
    assert_eq!(skipped, (7 * 60 + 30) * 60_000);
}

#[test]
fn people_work_on_working_days_as_much_as_their_role_wants() {
    // UTC will do for a share.
    let (mut working, mut free) = (BTreeMap::new(), BTreeMap::new());
    for (who, drafts) in TOLD.honest() {
        for draft in drafts.iter().filter(|_| who.kind.as_str() == "User") {
            let day = draft.at.div_euclid(DAY);
            let days = if is_weekend(date_of(day).unwrap()) {
                &mut free
            } else {
                &mut working
            };
            *days.entry((who, day)).or_insert(0.0) += 1.0;
        }
    }
    let requests = working.values().sum::<f64>() / working.len() as f64;
    assert!((15.0..60.0).contains(&requests), "{requests} a working day");
    // Two days of seven, on which few do anything.
    let share = free.len() as f64 / working.len() as f64;
    assert!((0.01..0.12).contains(&share), "{share} on free days");
}

#[test]
fn sign_ins_fail_seldom_and_attacks_are_few() {
    let honest: Vec<&Draft> = TOLD.drafts.iter().filter(|one| !is_attack(one)).collect();
    let with = |result| {
        let logins = honest.iter().filter(|one| &*one.action == "login");
        logins.filter(|one| one.result == Some(result)).count() as f64
    };
    let failed = with(ActionResult::Failure) / with(ActionResult::Success);
    assert!((0.02..0.12).contains(&failed), "{failed}");
    let attacks = 1.0 - honest.len() as f64 / TOLD.drafts.len() as f64;
    assert!((0.01..0.15).contains(&attacks), "{attacks}");
}

#[test]
fn hires_begin_leavers_stop_and_devices_are_replaced() {
    let honest = TOLD.honest();
    let (mut hires, mut leavers, mut replaced) = (0, 0, 0);
    for person in &TOLD.organisation.people {
        let party = person.party().unwrap();
        let Some(days) = honest.get(&party.entity) else {
            continue;
        };
        // A local day may begin up to 14 hours before UTC's, and end as much later.
        if let Some(joined) = person.joined {
            hires += 1;
            assert!(days.iter().all(|draft| draft.at >= (joined - 1) * DAY));
        }
        if let Some(left) = person.left {
            leavers += 1;
            assert!(days.iter().all(|draft| draft.at < (left + 1) * DAY));
        }
        let laptops: BTreeSet<&str> = days
            .iter()
            .filter_map(|draft| draft.seat.sitting.device.as_ref())
            .filter(|device| device.managed == Some(true) && device.os.as_deref() != Some("iOS"))
            .filter_map(|device| device.id.as_deref())
            .collect();
        replaced += usize::from(laptops.len() > person.devices);
    }
    assert!(
        hires > 2 && leavers > 2 && replaced > 2,
        "{hires} {leavers} {replaced}"
    );
}

#[test]
fn an_office_shares_few_addresses_and_homes_do_not() {
    let of = |ground| {
        let mut addresses = BTreeMap::<_, BTreeSet<_>>::new();
        let there = |draft: &&Draft| draft.seat.ground == ground && !is_attack(draft);
        for draft in TOLD.drafts.iter().filter(there) {
            let people = addresses.entry(draft.seat.sitting.ip).or_default();
            people.insert(subject(draft));
        }
        let people: usize = addresses.values().map(BTreeSet::len).sum();
        people as f64 / addresses.len() as f64
    };
    assert!(of(Ground::Mobile) < of(Ground::Office));
    assert!(of(Ground::Home) < 1.5);
}
