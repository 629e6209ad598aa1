//! Attacks, each labelled with its name, and the names of the honest days that share their
//! loudest signal.

mod cookies;
mod insider;
pub(super) mod keys;
pub(super) mod spray;
mod stranger;

use domain::ActionResult;
use jiff::civil::Date;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use wire::event::Label;

use super::Organisation;
use super::calendar::number_of;
use super::chance::{Dice, happens};
use super::draft::{Draft, Seat, attack, later};
use super::people::Person;
use super::work::Resource;

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Passwords tried from a cloud, once on each account, existing ones and others; all fail.
    Spray,
    /// One of these passwords fits.
    Stuffing,
    /// A known password, used through somebody's home in the victim's own city.
    TargetedStuffing,
    /// A stolen password, used from a country where its owner never was.
    Takeover,
    /// The same, shortly after its owner was seen elsewhere.
    ImpossibleTravel,
    /// A stolen session cookie, used from another network with another program.
    StolenSession,
    /// The same from the victim's country with the victim's program.
    StolenSessionAlike,
    /// Its own owner takes everything along.
    BulkDownload,
    /// Prompts by night until somebody gives in.
    PushFatigue,
    /// A program's key, used by somebody else.
    ServiceKey,
    /// An account that nobody has used for long, used by somebody else.
    DormantAccount,
}

impl Attack {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Spray,
        Self::Stuffing,
        Self::TargetedStuffing,
        Self::Takeover,
        Self::ImpossibleTravel,
        Self::StolenSession,
        Self::StolenSessionAlike,
        Self::BulkDownload,
        Self::PushFatigue,
        Self::ServiceKey,
        Self::DormantAccount,
    ];

    /// Those that come over a person on an ordinary day of theirs.
    const ON_PEOPLE: [Self; 7] = [
        Self::TargetedStuffing,
        Self::Takeover,
        Self::ImpossibleTravel,
        Self::StolenSession,
        Self::StolenSessionAlike,
        Self::BulkDownload,
        Self::PushFatigue,
    ];

    /// The name in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spray => "spray",
            Self::Stuffing => "stuffing",
            Self::TargetedStuffing => "targeted-stuffing",
            Self::Takeover => "takeover",
            Self::ImpossibleTravel => "impossible-travel",
            Self::StolenSession => "stolen-session",
            Self::StolenSessionAlike => "stolen-session-alike",
            Self::BulkDownload => "bulk-download",
            Self::PushFatigue => "push-fatigue",
            Self::ServiceKey => "service-key",
            Self::DormantAccount => "dormant-account",
        }
    }

    /// Names of the honest days that look most like it. Beside them stand `trip-new-device` and
    /// `new-device`, which look like nothing in particular and must not be denied.
    #[must_use]
    pub const fn twins(self) -> &'static [&'static str] {
        match self {
            Self::Spray | Self::Stuffing => &["monday-typos"],
            Self::TargetedStuffing => &["home-ip-change"],
            Self::Takeover => &["trip"],
            Self::ImpossibleTravel => &["vpn", "geo-error", "relay"],
            Self::StolenSession => &["handover", "ip-flip"],
            Self::StolenSessionAlike => &["browser-update"],
            Self::BulkDownload => &["quarter-end", "backup-job"],
            Self::PushFatigue => &["missed-prompt"],
            Self::ServiceKey => &["region-failover"],
            Self::DormantAccount => &["long-leave"],
        }
    }

    fn label(self) -> Label {
        attack(self.name())
    }
}

/// A person's day, on which an attack is to be set.
struct Scene<'a> {
    organisation: &'a Organisation,
    person: &'a Person,
    date: Date,
    /// What they do on it by themselves.
    ordinary: &'a [Draft],
}

/// Sets attacks on somebody's day, whose ordinary events are those from `begin` on.
pub(super) fn on_person(
    organisation: &Organisation,
    person: &Person,
    date: Date,
    begin: usize,
    dice: &mut Dice,
    drafts: &mut Vec<Draft>,
) {
    let scenario = &organisation.scenario;
    let scene = Scene {
        organisation,
        person,
        date,
        ordinary: drafts.get(begin..).unwrap_or_default(),
    };
    let mut attacks = Vec::new();
    let taken = person.silence.and_then(|silence| silence.taken);
    if taken == Some(number_of(date)) && scenario.rate(Attack::DormantAccount) > 0.0 {
        attacks.extend(stranger::wakes_an_account(&scene, dice));
    }
    if !scene.ordinary.is_empty() {
        for attack in Attack::ON_PEOPLE {
            let rate = scenario.rate(attack) / occasions(scenario, attack);
            if happens(rate, dice) {
                attacks.extend(scene.attacked(attack, dice).unwrap_or_default());
            }
        }
    }
    drafts.append(&mut attacks);
}

/// Share of people on whom an attack can be made at all: where it is small, they have it the
/// more often, so that there are as many as the scenario says.
fn occasions(scenario: &super::Scenario, attack: Attack) -> f64 {
    let mfa = scenario.sessions.mfa;
    let share = match attack {
        Attack::PushFatigue => mfa,
        Attack::Stuffing => 1.0 - mfa,
        _ => 1.0,
    };
    share.max(0.05)
}

impl<'a> Scene<'a> {
    /// The events of an attack; none when the day gives no occasion for it.
    fn attacked(&self, attack: Attack, dice: &mut Dice) -> Option<Vec<Draft>> {
        match attack {
            Attack::TargetedStuffing => stranger::from_next_door(self, dice),
            Attack::Takeover => stranger::from_afar(self, dice),
            Attack::ImpossibleTravel => stranger::too_fast(self, dice),
            Attack::PushFatigue => stranger::asks_again_and_again(self, dice),
            Attack::StolenSession => cookies::elsewhere(self, dice),
            Attack::StolenSessionAlike => cookies::alike(self, dice),
            Attack::BulkDownload => insider::takes_everything(self, dice),
            Attack::Spray | Attack::Stuffing | Attack::ServiceKey | Attack::DormantAccount => None,
        }
    }

    fn seen(&self, dice: &mut Dice) -> Option<&'a Draft> {
        self.ordinary.choose(dice)
    }

    /// What somebody does who has come in: looks around, and takes along.
    fn inside(
        &self,
        seat: Seat,
        mut at: i64,
        pause_seconds: std::ops::Range<f64>,
        dice: &mut Dice,
    ) -> Vec<Draft> {
        let seat = std::sync::Arc::new(seat);
        let words = &self.organisation.words;
        let attacks = &self.organisation.scenario.attacks;
        let [few, many] = attacks.requests;
        let mut drafts = Vec::new();
        for _ in 0..dice.gen_range(few..=many) {
            at = later(at, dice.gen_range(pause_seconds.clone()));
            let resource = if happens(attacks.curious, dice) {
                self.person.anything(dice)
            } else {
                self.person.usual(number_of(self.date), dice)
            };
            let action = match dice.gen_range(0..100) {
                0..60 => &words.read,
                60..90 => &words.download,
                90..96 => &words.share,
                _ => &words.write,
            };
            drafts.extend(resource.map(|resource| Draft {
                at,
                seat: seat.clone(),
                action: action.clone(),
                resource: resource.clone(),
                result: None,
            }));
        }
        drafts
    }
}

/// One event at the front door.
fn at_the_door(
    organisation: &Organisation,
    seat: &std::sync::Arc<Seat>,
    at: i64,
    action: &std::sync::Arc<str>,
    result: ActionResult,
) -> Draft {
    let door: &std::sync::Arc<Resource> = &organisation.words.door;
    Draft {
        at,
        seat: seat.clone(),
        action: action.clone(),
        resource: door.clone(),
        result: Some(result),
    }
}
