//! How often the last five minutes of a session show a suspicious pattern, in simulated traffic.
//!
//! `cargo run --release -p trainer --example behaviour -- [PEOPLE] [DAYS] [SCENARIO]`, from the
//! root of the repository. The first third of the days only teaches. Attacks are as often as the
//! scenario says and taken to have been let through. Figures are for half, three quarters, all
//! and one and a half of the thresholds. Programs name no session and have no window.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "an example that cannot go on must stop"
)]

use std::path::Path;

use geo::{Geo, GeoPaths};
use risk::behaviour::{Pattern, Thresholds};
use trainer::simulate::{Organisation, Scenario, Stream, shipped_world};
use trainer::windows::Windows;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |otherwise: u32| {
        let given = args.next();
        given.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (people, days) = (number(1000), number(60));
    let mut scenario = match args.next() {
        Some(path) => {
            let text = std::fs::read_to_string(&path).unwrap();
            Scenario::parse(Path::new(&path), &text).unwrap()
        }
        None => Scenario::shipped().unwrap(),
    };
    scenario.organisation.people = people.try_into().unwrap();
    scenario.organisation.days = days;
    let organisation = Organisation::new(&scenario, &shipped_world().unwrap()).unwrap();
    let database = Some("data/geo/demo.mmdb".into());
    let paths = GeoPaths {
        city: database.clone(),
        asn: database.clone(),
        anonymous: database,
        threats: Vec::new(),
    };
    let geo = Geo::open(&paths).unwrap();
    let (model, _) = risk::artifact::load(Path::new("models/behaviour/1")).unwrap();
    let settings = risk::Settings::default();
    let shares = [0.5, 0.75, 1.0, 1.5];
    let trials = shares.map(|share| Thresholds::CALIBRATED.times(share));
    let mut windows = Windows::new(&geo, &settings, &model, trials);
    let pages = Stream::new(&organisation);
    let all = pages.days();
    for (day, page) in pages.enumerate() {
        for mut event in page.events() {
            windows.step(&mut event, 3 * day as u64 >= all);
        }
    }
    let names: Vec<&str> = Pattern::ALL
        .iter()
        .map(|pattern| pattern.as_str())
        .collect();
    for (share, (_, seen)) in shares.iter().zip(windows.seen()) {
        println!("\nthresholds times {share}");
        println!(
            "label | windows | suspicious % | {} | asked % | sessions | of these caught %",
            names.join(" % | ")
        );
        for (label, seen) in seen {
            let share = |count: u64| 100.0 * count as f64 / seen.windows as f64;
            let each: Vec<String> = seen
                .by_pattern
                .iter()
                .map(|it| format!("{:.3}", share(*it)))
                .collect();
            println!(
                "{} | {} | {:.3} | {} | {:.3} | {} | {:.2}",
                if label.is_empty() { "ordinary" } else { label },
                seen.windows,
                share(seen.suspicious),
                each.join(" | "),
                share(seen.asked),
                seen.sessions(),
                100.0 * seen.caught() as f64 / seen.sessions() as f64,
            );
        }
    }
}
