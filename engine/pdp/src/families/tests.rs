//! What holds of a family, whatever is asked of it in whatever order: B1, B2, T8 to T11.

use proptest::prelude::*;

use super::*;
use crate::inputs::Randomness;

const GRACE_SECONDS: i64 = 10;
const IDLE_SECONDS: i64 = 1000;
const LIFE_SECONDS: i64 = 5000;

/// The bytes 0, 1, 2 and so on.
#[derive(Debug)]
struct Counting;

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (number, byte) in (0..).zip(bytes) {
            *byte = number;
        }
    }
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.unsigned_abs())
}

fn settings() -> RefreshSettings {
    RefreshSettings {
        ttl: seconds(LIFE_SECONDS),
        idle: seconds(IDLE_SECONDS),
        grace: seconds(GRACE_SECONDS),
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody presents one of the tokens that were issued; 0 is the newest.
    Present {
        back: usize,
        owner: bool,
        right_key: bool,
    },
    /// Time passes; a clock may be put back a little.
    Pass(i64),
    /// The session ends.
    EndSession,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let present = (
        prop_oneof![4 => Just(0_usize), 3 => Just(1), 1 => 2..6_usize],
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(back, owner, right_key)| Step::Present {
            back,
            owner,
            right_key,
        });
    let pass = prop_oneof![4 => -2..6_i64, 1 => 8..14_i64, 1 => 900..1100_i64];
    let step = prop_oneof![
        12 => present,
        6 => pass.prop_map(Step::Pass),
        1 => Just(Step::EndSession),
    ];
    prop::collection::vec(step, 1..60)
}

/// A family as the store would keep it.
struct World {
    key: RefreshKey,
    row: RefreshFamily,
    session_ended: bool,
    now: Timestamp,
    /// Every token that was handed out, by generation.
    issued: Vec<RefreshToken>,
}

impl World {
    fn new() -> Self {
        let key = RefreshKey::new(&[7; 32]);
        let (family, first) = key.first(&Counting);
        let now = Timestamp::from_seconds(1_795_215_660);
        let row = RefreshFamily {
            id: family,
            client_id: "owner".to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            session: Some("ses_1".to_owned()),
            audience: "https://docs.example".to_owned(),
            scope: "read".to_owned(),
            jkt: Some("key".to_owned()),
            x5t_s256: None,
            birth: "{}".to_owned(),
            created_at: now,
            generation: 0,
            current_sha256: first.sha256(),
            previous_sha256: None,
            rotated_at: None,
            repeats: 0,
            idle_expires_at: now.plus_seconds(IDLE_SECONDS),
            expires_at: now.plus_seconds(LIFE_SECONDS),
            revoked: None,
        };
        Self {
            key,
            row,
            session_ended: false,
            now,
            issued: vec![first],
        }
    }

    fn ask(&self, token: &str, owner: bool, right_key: bool) -> Option<(Verdict, FamilyChange)> {
        let presented = self.key.read(token)?;
        let proven = Confirmation {
            jkt: right_key.then(|| "key".to_owned()),
            x5t_s256: None,
        };
        let asked = Asked {
            presented: &presented,
            next: self.key.successor(&presented),
            client_id: if owner { "owner" } else { "thief" },
            proven: &proven,
        };
        let ended = SessionEnded(self.session_ended);
        Some(plan(&self.row, ended, &asked, &settings(), self.now))
    }

    /// As the store does it.
    fn apply(&mut self, change: &FamilyChange) {
        let row = &mut self.row;
        match change {
            FamilyChange::Stay => {}
            FamilyChange::Repeat => row.repeats += 1,
            FamilyChange::Revoke | FamilyChange::RevokeAndTell(_) => {
                row.revoked = Some((self.now, REUSE.to_owned()));
                self.session_ended = true;
            }
            FamilyChange::Rotate {
                next_sha256,
                at,
                idle_expires_at,
            } => {
                row.previous_sha256 = Some(row.current_sha256);
                row.current_sha256 = *next_sha256;
                row.generation += 1;
                row.rotated_at = Some(*at);
                row.repeats = 0;
                row.idle_expires_at = *idle_expires_at;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn t8_to_t11_b1_b2_whatever_happens_one_line_of_tokens_lives(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            let (back, owner, right_key) = match step {
                Step::Pass(seconds) => {
                    world.now = world.now.plus_seconds(seconds);
                    continue;
                }
                Step::EndSession => {
                    world.session_ended = true;
                    continue;
                }
                Step::Present { back, owner, right_key } => (back, owner, right_key),
            };
            let Some(place) = world.issued.len().checked_sub(back + 1) else { continue };
            let token = world.issued[place].clone();
            let (verdict, change) = world.ask(token.as_str(), owner, right_key).unwrap();
            let rightful = owner && right_key;
            let age = world.row.rotated_at.map(|at| world.now.millis().abs_diff(at.millis()));
            let in_grace = age.is_some_and(|age| age <= GRACE_SECONDS.unsigned_abs() * 1000);
            let over = world.row.revoked.is_some() || world.now >= world.row.expires_at;
            match verdict {
                Verdict::Rotate => {
                    prop_assert!(back == 0 && rightful && !over && !world.session_ended);
                    prop_assert!(world.now < world.row.idle_expires_at);
                    let presented = world.key.read(token.as_str()).unwrap();
                    world.issued.push(world.key.successor(&presented));
                }
                Verdict::Repeat => {
                    prop_assert!(back == 1 && rightful && !over && !world.session_ended);
                    prop_assert!(in_grace);
                    let presented = world.key.read(token.as_str()).unwrap();
                    let again = world.key.successor(&presented);
                    prop_assert_eq!(Some(&again), world.issued.last());
                }
                Verdict::Reuse => {
                    prop_assert!(back > 0 && !over);
                    prop_assert!(back > 1 || !in_grace || !rightful);
                }
                Verdict::Refuse(why) => {
                    prop_assert_eq!(&change, &FamilyChange::Stay);
                    // An old token is never just refused while the family lives.
                    prop_assert!(back < 2 || over, "{}", why);
                }
            }
            world.apply(&change);
            // One token a generation, and the newest is the current one.
            prop_assert_eq!(world.row.generation, world.issued.len() as u64 - 1);
            let newest = world.issued.last().map(RefreshToken::sha256);
            prop_assert_eq!(newest, Some(world.row.current_sha256));
            prop_assert!(world.row.idle_expires_at <= world.row.expires_at);
        }
    }

    #[test]
    fn a_token_that_was_not_issued_touches_nothing(
        place in 0_usize..200, other in "[A-Za-z0-9_.-]", foreign in any::<[u8; 32]>()
    ) {
        let world = World::new();
        let token = world.issued[0].as_str();
        let place = place % token.len();
        let mut forged = token.to_owned();
        forged.replace_range(place..=place, &other);
        prop_assert_eq!(world.key.read(&forged).is_some(), forged == token);
        // The same family and generation, by somebody who does not have the key.
        prop_assume!(foreign != [7; 32]);
        let (_, theirs) = RefreshKey::new(&foreign).first(&Counting);
        prop_assert!(world.key.read(theirs.as_str()).is_none());
        prop_assert!(world.key.read(&"rt_".repeat(1000)).is_none());
    }
}

#[test]
fn a_token_of_a_later_time_than_the_store_is_not_known() {
    let mut world = World::new();
    let first = world.key.read(world.issued[0].as_str()).unwrap();
    let next = world.key.successor(&first);
    let (verdict, change) = world.ask(next.as_str(), true, true).unwrap();
    assert_eq!(verdict, Verdict::Refuse(Refusal::Unknown));
    assert_eq!(change, FamilyChange::Stay);
    // Two hundred and fifty-six windows of one client are served, one more is not.
    let (_, change) = world.ask(first.token.as_str(), true, true).unwrap();
    world.apply(&change);
    let answers: Vec<Verdict> = (0..=judge::REPEATS_MAX)
        .map(|_| {
            let (verdict, change) = world.ask(first.token.as_str(), true, true).unwrap();
            world.apply(&change);
            verdict
        })
        .collect();
    let served = answers
        .iter()
        .filter(|verdict| **verdict == Verdict::Repeat);
    assert_eq!(served.count(), judge::REPEATS_MAX as usize);
    assert_eq!(answers.last(), Some(&Verdict::Refuse(Refusal::TooOften)));
}

#[test]
fn t3_e1_e2_the_lives_that_hold_when_nothing_is_set() {
    let settings = crate::settings::Settings::default();
    let refresh = settings.refresh;
    let lives = [refresh.ttl, refresh.idle, refresh.grace];
    assert_eq!(lives.map(|life| life.as_secs()), [604_800, 86_400, 10]);
    let sessions = settings.sessions;
    assert_eq!(sessions.idle.as_secs(), 1800);
    let tiers = sessions
        .tiers
        .map(|tier| (tier.absolute.as_secs(), tier.most));
    assert_eq!(tiers, [(28_800, 5), (7200, 2), (1800, 1)], "A1 to A3");
}
