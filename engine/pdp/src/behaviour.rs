//! What is done in sessions, while they are in use: the accesses of their last minutes, in memory
//! alone, and what they look like (M4, M5, M11 to M15).
//!
//! Each access that was answered is taken in, and the session's window analysed anew; the next
//! question of the session is decided with what was found. A restart forgets it: five minutes
//! later it is known again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{AccessRequest, Signal, Timestamp};
use risk::behaviour::{
    ACTS_LEAST, Act, Activity, Analysis, Answer, Baseline, Pattern, analyse, analyse_again,
};
use risk::{Key, Profile};

use crate::access::Caller;
use crate::app::App;
use crate::engine::{Outcome, Snapshot};
use crate::monitor::Look;
use crate::sessions;

/// Parts of the map, each with a lock of its own.
const PARTS: usize = 16;
/// Accesses that are kept for each session that may be in memory, in the mean; some 70 bytes each.
const ACTS_EACH: usize = 8;
/// When there is no room, what was not used for so long goes.
const CROWDED_SECONDS: i64 = 60;

/// The windows of the sessions that are in use.
#[derive(Debug)]
pub(crate) struct Behaviour {
    parts: Vec<Mutex<Part>>,
    hashing: RandomState,
    most: usize,
}

#[derive(Debug, Default)]
struct Part {
    windows: HashMap<Box<str>, Window>,
    acts: usize,
}

#[derive(Debug)]
struct Window {
    activity: Activity,
    last: Timestamp,
    found: Analysis,
}

impl Behaviour {
    /// Room for the accesses of about so many sessions in use.
    pub(crate) fn new(sessions: usize) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hashing: RandomState::new(),
            most: sessions.saturating_mul(ACTS_EACH).div_ceil(PARTS),
        }
    }

    fn part(&self, key: &str) -> Option<MutexGuard<'_, Part>> {
        let place = self.hashing.hash_one(key) % PARTS as u64;
        let part = self.parts.get(usize::try_from(place).ok()?)?;
        // The lock guards plain data that every holder leaves whole.
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an access in. The patterns that its session shows with it and did not before.
    fn add(&self, key: &str, act: Act, baseline: Baseline<'_>) -> Vec<Pattern> {
        let Some(mut part) = self.part(key) else {
            return Vec::new();
        };
        if part.acts >= self.most && !part.make_room(act.at, self.most) {
            return Vec::new();
        }
        let Part { windows, acts } = &mut *part;
        if !windows.contains_key(key) {
            let nothing = analyse(&Activity::default(), baseline, act.at);
            let window = Window {
                activity: Activity::default(),
                last: act.at,
                found: nothing,
            };
            windows.insert(key.into(), window);
        }
        let Some(window) = windows.get_mut(key) else {
            return Vec::new();
        };
        let held = window.activity.len();
        window.activity.add(act);
        *acts = (*acts + window.activity.len()).saturating_sub(held);
        window.last = window.last.max(act.at);
        let before = std::mem::replace(
            &mut window.found,
            analyse(&window.activity, baseline, act.at),
        );
        let shown = window.found.suspicious_patterns.iter();
        shown
            .filter(|pattern| !before.suspicious_patterns.contains(pattern))
            .copied()
            .collect()
    }

    /// What the window of a session looks like by now. None: nothing was done in it.
    fn look(&self, key: &str, baseline: Baseline<'_>, now: Timestamp) -> Option<Analysis> {
        let mut part = self.part(key)?;
        let window = part.windows.get_mut(key)?;
        if window.activity.is_quiet(now) {
            return None;
        }
        // What was found with the last access stands, unless time may have taken it back.
        if window.last != now {
            window.found = analyse_again(&window.found, &window.activity, baseline, now);
        }
        Some(window.found.clone())
    }

    /// Forgets what no window reaches any more.
    pub(crate) fn tidy(&self, now: Timestamp) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.forget(|window| window.activity.is_quiet(now));
        }
    }
}

impl Part {
    /// False when all of it is in use.
    fn make_room(&mut self, now: Timestamp, most: usize) -> bool {
        self.forget(|window| window.activity.is_quiet(now));
        // So that the next ones need not look at everything again.
        if self.acts > most - most / 4 {
            let old = now.plus_seconds(-CROWDED_SECONDS);
            self.forget(|window| window.last < old);
        }
        self.acts < most
    }

    fn forget(&mut self, is_over: impl Fn(&Window) -> bool) {
        self.windows.retain(|_, window| !is_over(window));
        self.acts = self.windows.values().map(|it| it.activity.len()).sum();
        if self.windows.capacity() > 4 * self.windows.len() {
            self.windows.shrink_to_fit();
        }
    }
}

/// What the window of the session under this key looks like, for its next question: once there
/// is enough in it to tell.
pub(crate) fn gathered(
    app: &App,
    key: &str,
    request: &AccessRequest,
    profile: &Signal<Arc<Profile>>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Analysis> {
    let unseen = Profile::default();
    let profile = profile.known().map_or(&unseen, |profile| profile);
    let kind = request.subject.entity.kind.as_str();
    let found = app
        .behaviour
        .look(key, baseline(profile, kind, snapshot), now)?;
    (found.features.accesses >= ACTS_LEAST).then_some(found)
}

/// What the window of a session looks like, for whoever asks about it.
pub(crate) fn described(
    app: &App,
    key: &str,
    kind: &str,
    profile: Option<&Profile>,
    now: Timestamp,
) -> Analysis {
    let unseen = Profile::default();
    let snapshot = app.live.current();
    let baseline = baseline(profile.unwrap_or(&unseen), kind, &snapshot);
    let found = app.behaviour.look(key, baseline, now);
    found.unwrap_or_else(|| analyse(&Activity::default(), baseline, now))
}

fn baseline<'a>(profile: &'a Profile, kind: &str, snapshot: &Snapshot) -> Baseline<'a> {
    Baseline {
        profile,
        interactive: snapshot.settings.is_interactive(kind),
        levels: snapshot.settings.levels,
    }
}

/// Takes in an access of a session that was answered. A pattern that is new in it is told to
/// whoever watches, and the monitor looks at the session at once.
pub(crate) fn note(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    outcome: &Outcome,
    profile: &Signal<Arc<Profile>>,
    snapshot: &Snapshot,
) {
    let context = &request.context;
    let Some(name) = context.session_id.as_deref() else {
        return;
    };
    // What happened at another moment is in no window of now.
    if context.time.is_some() {
        return;
    }
    let decision = &outcome.decision;
    if decision.cause.is_of_the_moment() {
        return;
    }
    let audience = context.token.as_ref().map(|wish| wish.audience.as_str());
    let application = Key::of_pair(&caller.client_id, audience.unwrap_or_default());
    let answer = Answer::of(decision.rung, decision.cause, request.result);
    let act = Act::of(request, &outcome.evidence, application, answer);
    // Of whom nothing is known, nothing is far above the usual; probing shows all the same.
    let unseen = Profile::default();
    let profile = profile.known().map_or(&unseen, |profile| profile);
    let kind = request.subject.entity.kind.as_str();
    let key = sessions::key(&caller.client_id, name);
    let shown = app
        .behaviour
        .add(&key, act, baseline(profile, kind, snapshot));
    if shown.is_empty() {
        return;
    }
    for pattern in &shown {
        app.metrics.suspicious(pattern.as_str());
    }
    tracing::warn!(
        event = "suspicious_behaviour",
        session = name,
        subject = %request.subject.entity,
        client = %caller.client_id,
        patterns = Pattern::names(&shown),
        "what is done in a session looks suspicious"
    );
    if sessions::name::is_id(name) {
        let look = Look::Session(name.to_owned());
        app.monitor.look_at(look, "behaviour");
    }
}

#[cfg(test)]
mod tests;
