//! What is usual for many: the people of one peer group, and everybody of one type.
//!
//! A subject without enough history is held against its group, and a group against everybody.
//! Crowds learn from the same trusted accesses as profiles, a little after them.

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::counts::{Belief, Bound, Usual, narrow};
use crate::key::Key;
use crate::profile::{Habit, Observation, Profile, WEEK_HOURS, Window, hour_of_week};

/// How a crowd's tables are bounded: more values than a person's, and a count for each minute.
const fn bound(habit: Habit) -> Bound {
    let most = match habit {
        Habit::Country | Habit::Agent | Habit::Action => 64,
        Habit::System | Habit::DeviceType => 16,
        Habit::Asn => 256,
        Habit::Resource => 512,
        // Nobody shares these.
        Habit::Address | Habit::Prefix | Habit::Device => 0,
    };
    Bound {
        most,
        gain_seconds: 60.0,
    }
}

/// Weight of one access in how high its group usually gets.
const LEARNING_RATE: f32 = 0.002;

/// What is usual for a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    learnt: u32,
    countries: Usual,
    asns: Usual,
    agents: Usual,
    systems: Usual,
    device_types: Usual,
    resources: Usual,
    actions: Usual,
    /// Accesses in each hour of the week, UTC, Monday first.
    hours: Vec<u32>,
    /// How high its members usually get, by window.
    requests: [f32; Window::ALL.len()],
    objects: [f32; Window::ALL.len()],
    /// Form 1 ended before it.
    bytes: [f32; Window::ALL.len()],
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            learnt: 0,
            countries: Usual::default(),
            asns: Usual::default(),
            agents: Usual::default(),
            systems: Usual::default(),
            device_types: Usual::default(),
            resources: Usual::default(),
            actions: Usual::default(),
            hours: vec![0; WEEK_HOURS],
            requests: [0.0; Window::ALL.len()],
            objects: [0.0; Window::ALL.len()],
            bytes: [0.0; Window::ALL.len()],
        }
    }
}

/// The form that crowds are written in: postcard of [`Crowd`].
pub const FORM: u32 = 2;

impl Crowd {
    /// The crowd in today's form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // INVARIANT: nothing in a crowd can fail to serialise.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a crowd of a known form; none when the form is unknown or the bytes are damaged.
    #[must_use]
    pub fn from_bytes(form: u32, bytes: &[u8]) -> Option<Self> {
        let nothing = [0; size_of::<[f32; Window::ALL.len()]>()];
        match form {
            1 => postcard::from_bytes(&[bytes, &nothing].concat()).ok(),
            FORM => postcard::from_bytes(bytes).ok(),
            _ => None,
        }
    }

    /// Accesses learnt from.
    #[must_use]
    pub const fn history(&self) -> u32 {
        self.learnt
    }

    /// What anybody does, in one respect; none where a crowd says nothing.
    pub(crate) const fn habit(&self, habit: Habit) -> Option<&Usual> {
        match habit {
            Habit::Country => Some(&self.countries),
            Habit::Asn => Some(&self.asns),
            Habit::Agent => Some(&self.agents),
            Habit::System => Some(&self.systems),
            Habit::DeviceType => Some(&self.device_types),
            Habit::Resource => Some(&self.resources),
            Habit::Action => Some(&self.actions),
            Habit::Address | Habit::Prefix | Habit::Device => None,
        }
    }

    /// How likely a value is, for somebody of this group of whom nothing else is known.
    pub(crate) fn expected(&self, habit: Habit, key: Key, prior: f64, now: Timestamp) -> f64 {
        self.habit(habit)
            .map_or(prior, |table| table.share(key, prior, now))
    }

    /// What an hour of the week is believed to be for anybody of the group: a share.
    pub(crate) fn hour_share(&self, hour: usize) -> f64 {
        const PRIOR: f64 = 168.0;
        let count = |hour: usize| {
            self.hours
                .get(hour % WEEK_HOURS)
                .map_or(0.0, |count| f64::from(*count))
        };
        let around =
            0.25 * count(hour + WEEK_HOURS - 1) + 0.5 * count(hour) + 0.25 * count(hour + 1);
        let total: f64 = self.hours.iter().map(|count| f64::from(*count)).sum();
        (around + PRIOR / WEEK_HOURS as f64) / (total + PRIOR)
    }

    /// How many requests its members usually get to within a window.
    #[must_use]
    pub fn usual_requests(&self, window: Window) -> Option<f32> {
        known(self.requests.get(window as usize))
    }

    /// How many different resources its members usually get to within a window.
    #[must_use]
    pub fn usual_objects(&self, window: Window) -> Option<f32> {
        known(self.objects.get(window as usize))
    }

    /// How many bytes its members usually get to within a window.
    #[must_use]
    pub fn usual_bytes(&self, window: Window) -> Option<f32> {
        known(self.bytes.get(window as usize))
    }

    /// Learns from a trusted access of a member, who stands as told.
    pub fn learn(&mut self, seen: &Observation, standing: &Standing) {
        self.learnt = self.learnt.saturating_add(1);
        for (habit, key) in seen.keys() {
            let bound = bound(habit);
            if bound.most > 0
                && let Some(key) = key
                && let Some(table) = self.habit_mut(habit)
            {
                table.add(key, seen.at, bound);
            }
        }
        if let Some(count) = self.hours.get_mut(hour_of_week(seen.at)) {
            *count = count.saturating_add(1);
            // Half of it goes once a hundred thousand are in one hour: it forgets, too.
            if *count >= 100_000 {
                self.hours.iter_mut().for_each(|count| *count /= 2);
            }
        }
        for (slot, usual) in self.requests.iter_mut().zip(standing.requests) {
            blend(slot, usual);
        }
        for (slot, usual) in self.objects.iter_mut().zip(standing.objects) {
            blend(slot, usual);
        }
        for (slot, usual) in self.bytes.iter_mut().zip(standing.bytes) {
            blend(slot, usual);
        }
    }

    const fn habit_mut(&mut self, habit: Habit) -> Option<&mut Usual> {
        match habit {
            Habit::Country => Some(&mut self.countries),
            Habit::Asn => Some(&mut self.asns),
            Habit::Agent => Some(&mut self.agents),
            Habit::System => Some(&mut self.systems),
            Habit::DeviceType => Some(&mut self.device_types),
            Habit::Resource => Some(&mut self.resources),
            Habit::Action => Some(&mut self.actions),
            Habit::Address | Habit::Prefix | Habit::Device => None,
        }
    }
}

fn known(value: Option<&f32>) -> Option<f32> {
    value.copied().filter(|value| *value > 0.0)
}

fn blend(slot: &mut f32, usual: Option<f32>) {
    if let Some(usual) = usual {
        *slot = if *slot > 0.0 {
            narrow(f64::from(*slot + (usual - *slot) * LEARNING_RATE))
        } else {
            usual
        };
    }
}

/// Which crowds a subject belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdKeys {
    /// Those who do the same work; everybody, where nobody knows what work that is.
    pub group: Key,
    /// Everybody of the same type.
    pub everyone: Key,
}

impl CrowdKeys {
    /// Of a subject of this type, whose peers share this word (a department, a role).
    #[must_use]
    pub fn of(subject_type: &str, peers: Option<&str>) -> Self {
        let everyone = Key::of(subject_type);
        Self {
            group: peers.map_or(everyone, |word| Key::of_pair(subject_type, word)),
            everyone,
        }
    }

    /// Each of them once.
    pub fn each(self) -> impl Iterator<Item = Key> {
        let group = (self.group != self.everyone).then_some(self.group);
        std::iter::once(self.everyone).chain(group)
    }
}

/// How high a member usually gets; nothing, for one without history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    requests: [Option<f32>; Window::ALL.len()],
    objects: [Option<f32>; Window::ALL.len()],
    bytes: [Option<f32>; Window::ALL.len()],
}

impl Standing {
    /// Of this profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        if !profile.is_settled() {
            return Self::default();
        }
        Self {
            requests: Window::ALL.map(|window| profile.usual_requests(window)),
            objects: Window::ALL.map(|window| profile.usual_objects(window)),
            bytes: Window::ALL.map(|window| profile.usual_bytes(window)),
        }
    }
}

/// The two crowds that a subject belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers<'a> {
    /// Those who do the same work.
    pub(crate) group: &'a Crowd,
    /// Everybody of the same type.
    pub(crate) everyone: &'a Crowd,
}

impl Peers<'_> {
    /// How likely a value is for one of the group, backed off to everybody.
    pub(crate) fn expected(self, habit: Habit, key: Key, now: Timestamp) -> f64 {
        let anybody = self.everyone.expected(habit, key, habit.prior(), now);
        self.group.expected(habit, key, anybody, now)
    }

    /// What is believed of a value before anything is known of the subject.
    pub(crate) fn descend(
        self,
        profile: &Profile,
        habit: Habit,
        key: Key,
        above: Belief,
        now: Timestamp,
    ) -> Belief {
        profile
            .habit(habit)
            .descend(key, above, habit.prior(), self.everyone.habit(habit), now)
    }
}
