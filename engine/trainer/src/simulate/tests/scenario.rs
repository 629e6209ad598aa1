//! Scenario files: those that come along, and how wrong ones are refused.

use super::super::{Organisation, Scenario, shipped_world};

/// The organisation that is held out.
pub(super) const OTHER: &str = include_str!("../../../../../data/simulate/other.toml");

#[test]
fn the_shipped_scenarios_have_no_office_department_or_seed_in_common() {
    let world = shipped_world().unwrap();
    let first = Scenario::shipped().unwrap();
    let other = Scenario::parse("other.toml".as_ref(), OTHER).unwrap();
    for scenario in [&first, &other] {
        let organisation = Organisation::new(scenario, &world).unwrap();
        assert_eq!(
            organisation.people.len(),
            scenario.organisation.people,
            "everybody is found a home"
        );
    }
    assert_ne!(first.organisation.seed, other.organisation.seed);
    for office in &first.office {
        assert!(other.office.iter().all(|one| one.place != office.place));
    }
    for role in &first.role {
        assert!(
            other
                .role
                .iter()
                .all(|one| one.department != role.department)
        );
    }
}

#[test]
fn wrong_scenarios_are_refused_with_the_key_and_what_would_do() {
    for (text, told) in [
        (
            "people = 3",
            vec!["test.toml", "unknown field `people`", "`organisation`"],
        ),
        (
            "[trips]\nnight = 2",
            vec!["unknown field `night`", "`nights`", "`trips`"],
        ),
        (
            "[trips]\nnights = [2, 40]",
            vec!["trips.nights go from 1 to 10"],
        ),
        (
            "[trips]\nper_year = 'many'",
            vec!["invalid type", "`trips.per_year`"],
        ),
        (
            "[homes]\nipv6 = 1.5",
            vec!["homes.ipv6 is a share, from 0 to 1, not 1.5"],
        ),
        (
            "[work]\nsittings = [5, 3]",
            vec!["work.sittings goes from 5 to 3"],
        ),
        (
            "[work]\npause_seconds = 0",
            vec!["work.pause_seconds must be more than 0"],
        ),
        (
            "organisation.from = '2 March'",
            vec!["`2 March` is not a date"],
        ),
        (
            "attacks.weights = { spry = 2 }",
            vec!["there is no attack `spry`"],
        ),
        (
            "dormancy.taken = 0.9",
            vec!["dormancy.taken and dormancy.back"],
        ),
        ("office = []", vec!["there must be an [[office]]"]),
        ("[broken", vec!["test.toml", "TOML parse error at line 1"]),
    ] {
        let refused = Scenario::parse("test.toml".as_ref(), text).unwrap_err();
        let refused = refused.to_string();
        for words in told {
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }
}

#[test]
fn a_scenario_in_a_world_without_its_places_says_what_there_is() {
    let world = shipped_world().unwrap();
    for (text, told) in [
        (
            "vpn.places = ['rome']",
            ["vpn.places", "no place `rome`", "frankfurt"],
        ),
        (
            "vpn.places = ['tokyo']",
            ["vpn.places", "tokyo", "corporate-vpn"],
        ),
    ] {
        let scenario = Scenario::parse("test.toml".as_ref(), text).unwrap();
        let refused = Organisation::new(&scenario, &world)
            .unwrap_err()
            .to_string();
        for words in told {
            assert!(refused.contains(words), "{refused}");
        }
    }
}
