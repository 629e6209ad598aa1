//! Attacks have what makes them attacks, keep what their makers would know of their victims, and
//! their twins have the same loudest signal; and nothing else gives them away.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ActionResult, Name};

use super::super::Person;
use super::super::atlas::Ground;
use super::super::draft::Draft;
use super::{DAY, TOLD, is_attack, label, subject};

/// The events of one attack or twin after the other: the same subject, no more than an hour
/// between.
fn episodes(name: &str) -> Vec<Vec<&'static Draft>> {
    let mut by_subject = BTreeMap::<_, Vec<&'static Draft>>::new();
    for draft in TOLD.labelled(name) {
        by_subject.entry(subject(draft)).or_default().push(draft);
    }
    by_subject
        .into_values()
        .flat_map(|drafts| {
            drafts
                .chunk_by(|one, next| next.at - one.at < 3_600_000)
                .map(<[_]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The last thing that the subject did by themselves before an event.
fn before(draft: &Draft) -> Option<&'static Draft> {
    let end = TOLD.drafts.partition_point(|other| other.at < draft.at);
    TOLD.drafts[..end]
        .iter()
        .rev()
        .find(|other| subject(other) == subject(draft) && !is_attack(other))
}

fn person(draft: &Draft) -> &'static Person {
    let people = &TOLD.organisation.people;
    let id = subject(draft).id.as_str();
    people.iter().find(|person| person.id == id).unwrap()
}

#[test]
fn impossible_travel_is_impossible_and_its_twins_seem_so() {
    let atlas = &TOLD.organisation.atlas;
    for attack in episodes("impossible-travel") {
        let seen = before(attack[0]).unwrap();
        let km = atlas.distance_km(seen.seat.place, attack[0].seat.place);
        let hours = (attack[0].at - seen.at) as f64 / 3_600_000.0;
        assert!(km > 900.0 * hours, "{km} km in {hours} h");
    }
    // The networks of twins are elsewhere than the people on them.
    for (name, ground) in [("vpn", Ground::Vpn), ("geo-error", Ground::Mobile)] {
        for draft in TOLD.labelled(name) {
            assert_eq!(draft.seat.ground, ground);
            let carriers = atlas.carriers_in(ground, draft.seat.place);
            let there = |asn| carriers.iter().any(|carrier| carrier.asn == asn);
            assert!(name == "geo-error" || !there(draft.seat.asn) || carriers.len() > 1);
        }
    }
}

#[test]
fn a_stolen_session_was_born_elsewhere_and_so_was_one_handed_over() {
    let born = |draft: &Draft| {
        let session = draft.seat.sitting.session.as_ref().unwrap();
        let same = |other: &&Draft| other.seat.sitting.session.as_ref() == Some(session);
        TOLD.drafts.iter().find(same).unwrap()
    };
    for name in ["stolen-session", "stolen-session-alike"] {
        for attack in episodes(name) {
            let (birth, stolen) = (born(attack[0]), attack[0]);
            assert_eq!(subject(birth), subject(stolen));
            assert_eq!(birth.seat.sitting.assurance, stolen.seat.sitting.assurance);
            assert!(birth.at < stolen.at);
            let network = (birth.seat.asn, birth.seat.sitting.ip);
            assert_ne!(network, (stolen.seat.asn, stolen.seat.sitting.ip));
        }
    }
    let handed_over = episodes("handover").iter().any(|twin| {
        let birth = born(twin[0]);
        birth.seat.asn != twin[0].seat.asn && subject(birth) == subject(twin[0])
    });
    assert!(handed_over);
    for twin in episodes("browser-update") {
        let agents = |draft: &Draft| draft.seat.sitting.agent.clone();
        let session = |draft: &Draft| draft.seat.sitting.session.clone();
        let seen = before(twin[0]).unwrap();
        assert!(session(seen) != session(twin[0]) || agents(seen) != agents(twin[0]));
    }
}

#[test]
fn a_spray_fails_on_many_and_comes_in_with_some() {
    let spray = TOLD.labelled("spray");
    assert!(
        spray
            .iter()
            .all(|one| one.result == Some(ActionResult::Failure))
    );
    let unknown = |one: &&&Draft| !subject(one).id.as_str().starts_with("user-");
    let share = spray.iter().filter(unknown).count() as f64 / spray.len() as f64;
    assert!((0.35..0.55).contains(&share), "{share}");
    for attack in episodes("stuffing") {
        assert!(!person(attack[0]).mfa, "a password alone does not open it");
        let networks = |one: &&&Draft| one.seat.asn == attack[0].seat.asn;
        let near = |one: &&&Draft| (one.at - attack[0].at).abs() < DAY;
        assert!(spray.iter().filter(networks).any(|one| near(&one)));
        assert_eq!(attack[0].seat.ground, Ground::Hosting);
    }
    let typos = episodes("monday-typos");
    let failed = |one: &&&Draft| one.result == Some(ActionResult::Failure);
    assert!(typos.iter().all(|twin| twin.iter().any(|one| failed(&one))));
}

#[test]
fn prompts_are_refused_until_one_is_not() {
    for (name, least) in [("push-fatigue", 3), ("missed-prompt", 1)] {
        for told in episodes(name) {
            let prompts: Vec<_> = told.iter().filter(|one| &*one.action == "mfa").collect();
            let failed = |one: &&&&Draft| one.result == Some(ActionResult::Failure);
            assert!(prompts.iter().filter(failed).count() >= least, "{name}");
            assert_eq!(
                prompts.last().unwrap().result,
                Some(ActionResult::Success),
                "{name}"
            );
        }
    }
    for attack in episodes("push-fatigue") {
        assert!(person(attack[0]).mfa, "who has no prompts cannot give in");
    }
}

#[test]
fn an_account_was_silent_before_anybody_woke_it() {
    for name in ["dormant-account", "long-leave"] {
        let mut woken = BTreeMap::new();
        for draft in TOLD.labelled(name) {
            woken.entry(subject(draft)).or_insert(draft);
        }
        for draft in woken.into_values() {
            let silent = draft.at - before(draft).unwrap().at;
            assert!(silent >= 24 * DAY, "{name}: {} days", silent / DAY);
        }
    }
}

#[test]
fn insiders_and_reports_go_through_more_than_people_do() {
    let distinct = |told: &[&Draft]| {
        let documents: BTreeSet<&str> = told.iter().map(|one| one.resource.id.as_str()).collect();
        documents.len()
    };
    let ordinary = TOLD.honest().into_values().flat_map(|drafts| {
        let plain = |one: &&&Draft| label(one).is_none() && one.resource.kind == "Document";
        let plain: Vec<&Draft> = drafts.iter().filter(plain).copied().collect();
        let hours = plain.chunk_by(|one, next| one.at / 3_600_000 == next.at / 3_600_000);
        hours.map(distinct).collect::<Vec<_>>()
    });
    let mut ordinary: Vec<usize> = ordinary.collect();
    ordinary.sort_unstable();
    let usual = ordinary[ordinary.len() * 99 / 100];
    for name in ["bulk-download", "quarter-end", "backup-job"] {
        let mut sizes: Vec<usize> = episodes(name).iter().map(|told| distinct(told)).collect();
        sizes.sort_unstable();
        let median = sizes[sizes.len() / 2];
        assert!(median > 2 * usual, "{name}: {median}, usually {usual}");
    }
}

#[test]
fn a_stolen_key_comes_from_elsewhere_or_with_another_program_and_a_failover_does_not_show_one() {
    let usual = |draft: &Draft| {
        let plain = |one: &&Draft| subject(one) == subject(draft) && label(one).is_none();
        TOLD.drafts.iter().find(plain).unwrap()
    };
    for attack in episodes("service-key") {
        let (seen, stolen) = (usual(attack[0]), attack[0]);
        assert_ne!(seen.seat.sitting.agent, stolen.seat.sitting.agent);
    }
    for twin in episodes("region-failover") {
        let (seen, moved) = (usual(twin[0]), twin[0]);
        assert_ne!(
            (seen.seat.asn, seen.seat.place),
            (moved.seat.asn, moved.seat.place)
        );
        let name = |draft: &Draft| {
            let agent = &draft.seat.sitting.agent;
            agent.rsplit_once('.').map(|(name, _)| name.to_owned())
        };
        assert_eq!(name(seen), name(moved), "the program stays the same");
    }
}

/// What a request looks like apart from its values.
fn form(draft: &Draft) -> impl Ord + std::fmt::Debug + use<> {
    let sitting = &draft.seat.sitting;
    let device = sitting.device.as_ref().map(|device| {
        let id = device.id.as_deref().unwrap_or_default();
        (
            (id.len(), id.starts_with("d-")),
            device.managed,
            device.compliant.is_some(),
            (device.os.is_some(), device.os_version.is_some()),
        )
    });
    let session = sitting.session.as_deref();
    let session = session.map(|session| (session.len(), session.starts_with("s-")));
    let assurance = sitting.assurance.as_ref();
    let properties: Vec<String> = sitting.subject.properties.keys().cloned().collect();
    (
        Name::clone(&subject(draft).kind).as_str().to_owned(),
        properties,
        device,
        session,
        assurance.map(|claim| (claim.level, claim.auth_time.is_some())),
        draft.action.to_string(),
        draft.result.map(|result| result == ActionResult::Success),
    )
}

#[test]
fn no_form_of_a_request_gives_an_attack_away() {
    let of = |attacks: bool| {
        let wanted = TOLD.drafts.iter().filter(|one| is_attack(one) == attacks);
        // An account that does not exist has no properties: that is what a spray is known by.
        let exists = |one: &&Draft| {
            let id = subject(one).id.as_str();
            id.starts_with("user-") || id.starts_with("service-")
        };
        wanted.filter(exists).map(form).collect::<BTreeSet<_>>()
    };
    let honest = of(false);
    for form in of(true) {
        assert!(honest.contains(&form), "only attacks look like {form:?}");
    }
}
