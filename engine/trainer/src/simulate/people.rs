//! Who they are and what they usually do.

use domain::{EntityRef, Name, Party, Value};
use geo::world::Use;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::{Dice, Organisation, index, mix};

/// Departments of the organisation.
pub(super) const DEPARTMENTS: [&str; 5] =
    ["engineering", "finance", "legal", "operations", "sales"];
/// Documents of each department.
const DOCUMENTS: usize = 120;
/// Documents that a person keeps coming back to.
const FAVOURITES: usize = 14;

/// Client programs: family, and the text with `{}` for its version.
const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36 Edg/{}.0.0.0",
];
const PHONES: [&str; 2] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.4 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
];

/// Somebody who works here.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their own randomness: habits follow from it.
    pub key: u64,
    /// Where they live and work.
    pub place: String,
    /// Their department.
    pub department: String,
    /// What they work with: type, id, sensitivity.
    pub favourites: Vec<Resource>,
    /// What else they may touch now and then.
    pub others: Vec<Resource>,
    /// Hour of the day at which they begin, local time.
    pub begins: f64,
    /// Requests in an ordinary working day.
    pub requests: f64,
    /// Share of days at home.
    pub at_home: f64,
    /// Whether they reach the office by its VPN when at home.
    pub office_vpn: bool,
    /// Whether they sometimes switch a VPN of their own on.
    pub own_vpn: bool,
    /// Whether they use MFA when they sign in.
    pub mfa: bool,
    /// Whether they never travel, are never on leave, and keep their devices.
    pub settled: bool,
}

/// Something to be accessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// 0 public to 3 secret.
    pub sensitivity: i64,
}

impl Resource {
    /// As a request names it.
    pub(crate) fn party(&self) -> Option<Party> {
        Some(Party {
            entity: EntityRef::new(self.kind.as_str(), self.id.as_str()).ok()?,
            properties: [("sensitivity".to_owned(), Value::Long(self.sensitivity))].into(),
        })
    }
}

/// A program that works by itself.
#[derive(Clone, Debug, PartialEq)]
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
    pub resources: Vec<Resource>,
}

impl Person {
    /// The person of this number.
    pub(super) fn generate(number: usize, organisation: &Organisation, seed: u64) -> Self {
        let offices = organisation.places(Use::Office);
        let key = mix(seed ^ mix(number as u64));
        let place = offices
            .get(index(key, offices.len()))
            .copied()
            .unwrap_or_default();
        let department = DEPARTMENTS
            .get(index(key >> 8, DEPARTMENTS.len()))
            .copied()
            .unwrap_or_default();
        Self::new(
            format!("user-{number:04}"),
            key,
            place,
            department,
            &documents(department),
        )
    }

    /// A person of this name, with habits that follow from the key.
    #[must_use]
    pub fn new(
        id: String,
        key: u64,
        place: &str,
        department: &str,
        documents: &[Resource],
    ) -> Self {
        let mut dice = Dice::seed_from_u64(key);
        let mut known = documents.to_vec();
        known.shuffle(&mut dice);
        let others = known.split_off(FAVOURITES.min(known.len()));
        Self {
            id,
            key,
            place: place.to_owned(),
            department: department.to_owned(),
            favourites: known,
            others,
            begins: 8.6 + dice.gen_range(-1.2..1.4),
            requests: dice.gen_range(12.0..50.0),
            at_home: dice.gen_range(0.1..0.7),
            office_vpn: dice.gen_bool(0.3),
            own_vpn: dice.gen_bool(0.06),
            mfa: dice.gen_bool(0.5),
            settled: false,
        }
    }

    /// The id of their laptop or phone in use on a day; replaced every year or so.
    pub fn device(&self, phone: bool, day: i64) -> String {
        let kind = if phone { "phone" } else { "laptop" };
        format!("{}-{kind}-{}", self.id, self.generation(phone, day))
    }

    fn generation(&self, phone: bool, day: i64) -> i64 {
        if self.settled {
            return 1;
        }
        let offset = index(mix(self.key ^ u64::from(phone)), 500);
        (day + i64::try_from(offset).unwrap_or_default()) / 500
    }

    /// The `User-Agent` of their laptop or phone on a day; browsers update every four weeks.
    pub fn agent(&self, phone: bool, day: i64) -> String {
        let version = (120 + day.rem_euclid(7300) / 28).to_string();
        let known: &[&str] = if phone { &PHONES } else { &BROWSERS };
        let choice = index(mix(self.key ^ 11), known.len());
        known
            .get(choice)
            .copied()
            .unwrap_or_default()
            .replace("{}", &version)
    }

    /// As a request names them.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        party("User", &self.id)
    }
}

impl Service {
    pub(super) fn generate(number: usize) -> Self {
        let key = mix(0x5E4_71CE ^ number as u64);
        let department = DEPARTMENTS
            .get(index(key, DEPARTMENTS.len()))
            .copied()
            .unwrap_or_default();
        let mut resources = documents(department);
        resources.truncate(8);
        Self {
            id: format!("service-{number:02}"),
            key,
            agent: format!("batch-runner-{number}/2.4"),
            every_minutes: 20 + u32::try_from(index(key >> 5, 70)).unwrap_or_default(),
            resources,
        }
    }

    /// As a request names it.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        party("Service", &self.id)
    }
}

fn party(kind: &str, id: &str) -> Option<Party> {
    let entity = EntityRef {
        kind: Name::new(kind).ok()?,
        id: Name::new(id).ok()?,
    };
    Some(Party {
        entity,
        properties: std::collections::BTreeMap::new(),
    })
}

/// The documents of a department: most of them internal, some confidential, a few secret.
#[must_use]
pub fn documents(department: &str) -> Vec<Resource> {
    (0..DOCUMENTS)
        .map(|number| Resource {
            kind: "Document".to_owned(),
            id: format!("{department}-{number:03}"),
            sensitivity: match number % 20 {
                0..4 => 0,
                4..15 => 1,
                15..19 => 2,
                _ => 3,
            },
        })
        .collect()
}
