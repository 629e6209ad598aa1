//! Which network somebody is on, and the address they have in it.

use std::net::IpAddr;
use std::sync::Arc;

use rand::Rng as _;

use super::agents::Gear;
use super::atlas::{Carrier, Ground};
use super::chance::{Dice, index, luck, mix};
use super::day::{Stay, Today};

const DAILY: u64 = 51;
const HOME: u64 = 52;
const MOBILE: u64 = 53;
/// Addresses that all guests of a hotel share.
const HOTEL_EXITS: u64 = 6;
/// How far a database puts somebody from where they are, kilometres.
const MISPLACED_KM: std::ops::Range<f64> = 150.0..3000.0;

/// A network, and an address in it.
pub(super) struct Line<'a> {
    pub(super) carrier: &'a Carrier,
    pub(super) ground: Ground,
    pub(super) ip: IpAddr,
}

impl<'a> Today<'a> {
    /// How they reach the network of a kind from where they are.
    pub(super) fn line(
        &self,
        stay: &Stay<'_>,
        ground: Ground,
        gear: Gear,
        dice: &mut Dice,
    ) -> Option<Line<'a>> {
        let Today {
            organisation,
            person,
            day,
            ..
        } = *self;
        let scenario = &organisation.scenario;
        let there = organisation.atlas.carriers_in(ground, stay.place);
        let any = |list: &'a [Arc<Carrier>], random| list.get(index(random, list.len()));
        let today = luck(person.key, DAILY, day);
        let (carrier, ip): (&Carrier, IpAddr) = match ground {
            Ground::Home => {
                let carrier = self.home_carrier()?;
                let host = luck(today, gear.of([1, 2, 3]), 0);
                (
                    carrier,
                    carrier.address(person.ipv6, self.household(), host),
                )
            }
            Ground::Mobile => {
                let carrier = any(there, luck(person.key, MOBILE, 0))?;
                // Half of the phones have a /64 of the day, the others share an exit.
                let own = luck(person.key, MOBILE, 1).is_multiple_of(2);
                let exit = dice.gen_range(0..scenario.mobile.exits);
                let ip = if own {
                    carrier.address(true, today, today)
                } else {
                    carrier.exit(exit)
                };
                (carrier, ip)
            }
            Ground::Office => {
                let carrier = any(there, 0)?;
                let exits = organisation.exits(stay.place);
                let ip = match exits {
                    0 => carrier.desk(mix(person.key ^ gear.of([1, 2, 3]))),
                    exits => carrier.exit(person.key % exits),
                };
                (carrier, ip)
            }
            Ground::Hotel => {
                let carrier = any(there, stay.trip?.key)?;
                (carrier, carrier.exit(stay.trip?.key % HOTEL_EXITS))
            }
            Ground::CorporateVpn => {
                let carrier = organisation.corporate_vpn(stay.place)?;
                (carrier, carrier.exit(today % scenario.vpn.exits))
            }
            _ => {
                let carrier = organisation.nearest(ground, stay.place)?;
                (carrier, carrier.exit(dice.r#gen::<u64>() % 16))
            }
        };
        Some(Line {
            carrier,
            ground,
            ip,
        })
    }

    /// Who carries the traffic of their home these days.
    pub(super) fn home_carrier(&self) -> Option<&'a Carrier> {
        let there = self.organisation.atlas.carriers_in(Ground::Home, self.home);
        let choice = index(self.person.carrier(self.day), there.len());
        there.get(choice).map(Arc::as_ref)
    }

    /// What the address of their home follows from these days.
    pub(super) fn household(&self) -> u64 {
        luck(self.person.key, HOME, self.person.lease(self.day))
    }

    /// A mobile network whose exit databases put elsewhere than where the traffic comes from: in
    /// another city, or, for somebody abroad, at home.
    pub(super) fn misplaced(
        &self,
        stay: &Stay<'_>,
        in_town: bool,
        dice: &mut Dice,
    ) -> Option<&'a Carrier> {
        let atlas = &self.organisation.atlas;
        if !in_town {
            let own = atlas.carriers_in(Ground::Mobile, self.home);
            return own
                .get(index(luck(self.person.key, MOBILE, 0), own.len()))
                .map(Arc::as_ref);
        }
        atlas.pick(Ground::Mobile, dice.r#gen(), |carrier| {
            MISPLACED_KM.contains(&atlas.distance_km(stay.place, carrier.place))
        })
    }

    /// A VPN that they rent, with the exit of the day.
    pub(super) fn own_vpn(&self) -> Option<Line<'a>> {
        let Today {
            organisation,
            person,
            day,
            ..
        } = *self;
        let carriers = organisation.atlas.carriers(Ground::Vpn);
        let carrier = carriers.get(index(mix(person.key ^ 0x7), carriers.len()))?;
        let exits = organisation.scenario.vpn.exits;
        let ip = carrier.exit(luck(person.key, DAILY, day) % exits);
        Some(Line {
            carrier,
            ground: Ground::Vpn,
            ip,
        })
    }

    /// The same home under the other version of IP, where it has both.
    pub(super) fn flipped(&self, ip: IpAddr) -> Option<Line<'a>> {
        let carrier = self.home_carrier().filter(|carrier| carrier.is_dual())?;
        let host = luck(self.person.key, DAILY, self.day);
        let ip = carrier.address(ip.is_ipv4(), self.household(), host);
        Some(Line {
            carrier,
            ground: Ground::Home,
            ip,
        })
    }
}
