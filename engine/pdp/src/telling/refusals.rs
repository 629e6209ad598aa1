//! Tokens that a receiver refuses for what they are wait on their own, and others go on. Often it
//! is its fault and mends itself (keys that it has not read again, an audience that is not set
//! yet), so they are offered again for a day; what is about the same subject waits behind them,
//! so that the order within a subject holds whatever is refused.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::Timestamp;
use serde_json::Value;
use ssf::Event;
use ssf::stream::Status;
use store::sqlite::{StoreError, ToTell};

use super::pushing::backoff;
use super::registry::Held;
use crate::app::App;
use crate::inputs::Randomness;

/// How long a token is offered to a receiver that refuses it, seconds: a day. Counted from the
/// first refusal that this process has seen.
const OFFERED_SECONDS: i64 = 24 * 3600;
/// Tokens of one stream that wait like this at once. With more it is not the tokens: the stream
/// waits as a whole.
const REFUSED_MOST: usize = 100;
/// Tokens that wait which are looked through for some that need not, in one pass.
const LOOKED_THROUGH_MOST: usize = 10_000;

/// What comes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It waits, and others go on.
    Waits,
    /// So many wait that the others wait with it.
    AllWait,
    /// It was offered long enough.
    LetGo,
}

#[derive(Clone, Debug)]
struct Refused {
    since: Timestamp,
    times: u32,
    next_at: Timestamp,
}

/// The refused tokens of a stream, by `jti`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    all: HashMap<String, Refused>,
}

impl Refusals {
    /// Counts a refusal.
    fn refused(&mut self, jti: &str, now: Timestamp, randomness: &dyn Randomness) -> Refusal {
        if !self.all.contains_key(jti) && self.all.len() >= REFUSED_MOST {
            return Refusal::AllWait;
        }
        let one = self.all.entry(jti.to_owned()).or_insert(Refused {
            since: now,
            times: 0,
            next_at: now,
        });
        if one.since.plus_seconds(OFFERED_SECONDS) <= now {
            return Refusal::LetGo;
        }
        one.times = one.times.saturating_add(1);
        one.next_at = later(now, backoff(one.times, randomness));
        Refusal::Waits
    }

    /// Whether one of them may be offered again.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.all.values().any(|one| one.next_at <= now)
    }

    fn waits(&self, jti: &str, now: Timestamp) -> bool {
        self.all.get(jti).is_some_and(|one| one.next_at > now)
    }

    /// It was taken, or let go.
    pub(crate) fn forget<'j>(&mut self, jtis: impl IntoIterator<Item = &'j String>) {
        for jti in jtis {
            self.all.remove(jti);
        }
    }
}

/// A moment so much later.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_add(millis))
}

/// One pass through what a stream has to tell.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    after: i64,
    looked_through: usize,
    /// Whom tokens are about that wait.
    waiting: HashSet<String>,
    refused: HashSet<String>,
}

impl Pass {
    /// Whether a token may go. One that may not holds up what is about the same.
    fn lets(&mut self, row: &ToTell, refusals: &Refusals, now: Timestamp) -> bool {
        if refusals.all.contains_key(&row.jti) {
            self.refused.insert(row.jti.clone());
        }
        let must_wait = refusals.waits(&row.jti, now);
        if !must_wait && self.waiting.is_empty() {
            return true;
        }
        let names = names(&row.claims);
        let waits = must_wait || names.iter().any(|name| self.waiting.contains(name));
        if waits {
            self.waiting.extend(names);
        }
        !waits
    }

    /// Whether a token may still go, now that another was refused.
    pub(super) fn still_lets(&mut self, row: &ToTell) -> bool {
        self.lets(row, &Refusals::default(), row.at)
    }

    /// A token was refused: what is about the same waits.
    pub(super) fn hold_up(&mut self, row: &ToTell) {
        self.refused.insert(row.jti.clone());
        self.waiting.extend(names(&row.claims));
    }
}

/// Whom a token is about, one by one: all of them must agree that it goes. What befalls a session
/// is nothing that the device under it has to be told of in its order.
fn names(claims: &str) -> Vec<String> {
    let claims: Value = serde_json::from_str(claims).unwrap_or_default();
    let Some(subject) = claims.get("sub_id") else {
        return Vec::new();
    };
    match subject.as_object() {
        Some(members) if subject["format"] == "complex" => members
            .iter()
            .filter(|(name, _)| match name.as_str() {
                "format" => false,
                "device" => !members.contains_key("session"),
                _ => true,
            })
            .map(|(_, value)| value.to_string())
            .collect(),
        _ => vec![subject.to_string()],
    }
}

impl App {
    /// The next tokens of a stream that may go, in their order, about `most` at once. None left
    /// for now: nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn next_to_tell(
        &self,
        held: &Held,
        pass: &mut Pass,
        most: u32,
    ) -> Result<Vec<ToTell>, StoreError> {
        let store = self.state.store();
        while pass.looked_through < LOOKED_THROUGH_MOST {
            let rows = store.to_tell_after(&held.row.id, pass.after, most).await?;
            if rows.is_empty() {
                // Others are not there any more.
                let seen = &pass.refused;
                held.progress
                    .with(|tries| tries.refusals.all.retain(|jti, _| seen.contains(jti)));
                break;
            }
            let found = rows.len();
            let now = self.inputs.clock.now();
            let mut free = Vec::new();
            held.progress.with(|tries| {
                for (number, row) in rows {
                    pass.after = number;
                    if pass.lets(&row, &tries.refusals, now) {
                        free.push(row);
                    }
                }
            });
            // What goes is no work in vain.
            pass.looked_through += found - free.len();
            if !free.is_empty() {
                return Ok(free);
            }
        }
        Ok(Vec::new())
    }

    /// A receiver refused a token: it is offered again, or let go when that has gone on for long,
    /// and then the receiver is told so.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) async fn was_refused(&self, held: &Held, jti: &str) -> Result<Refusal, StoreError> {
        let now = self.inputs.clock.now();
        let refusal = held
            .progress
            .with(|tries| tries.refusals.refused(jti, now, &*self.inputs.randomness));
        if refusal != Refusal::LetGo {
            return Ok(refusal);
        }
        let notice = |lost: u64| {
            let hours = OFFERED_SECONDS / 3600;
            let event = Event::StreamUpdated {
                // When this is read, it flows.
                status: Status::Enabled.as_str().to_owned(),
                reason: Some(format!(
                    "{lost} events were let go: they were refused for {hours} hours, or too many \
                     waited"
                )),
            };
            self.about_stream(held, event)
        };
        let store = self.state.store();
        let lost = store.let_go(&held.row.id, jti, &notice).await?;
        held.progress.with(|tries| {
            tries.refusals.all.remove(jti);
            tries.pending = true;
        });
        if lost {
            self.metrics.telling.lost("set", 1);
            tracing::error!(
                stream = held.row.id,
                jti,
                "a token was refused for {OFFERED_SECONDS} s, and is let go"
            );
        }
        Ok(refusal)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Randomness for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_215_660 + seconds)
    }

    fn row(jti: &str, sub_id: &Value) -> ToTell {
        ToTell {
            stream_id: "str_1".to_owned(),
            jti: jti.to_owned(),
            claims: json!({"sub_id": sub_id}).to_string(),
            at: at(0),
        }
    }

    #[test]
    fn a_refused_token_is_offered_later_and_later_for_a_day_and_not_longer() {
        let mut refusals = Refusals::default();
        let mut now = at(0);
        let mut offered = 0;
        while refusals.refused("a", now, &Fixed) == Refusal::Waits {
            offered += 1;
            assert!(refusals.waits("a", now) && !refusals.is_due(now));
            now = refusals.all["a"].next_at;
            assert!(refusals.is_due(now) && !refusals.waits("a", now));
        }
        assert!(now >= at(OFFERED_SECONDS) && now < at(OFFERED_SECONDS + 300));
        // Not hammered either: 150 to 300 seconds apart in the end.
        assert!((300..700).contains(&offered), "{offered}");
    }

    #[test]
    fn where_too_many_are_refused_all_wait() {
        let mut refusals = Refusals::default();
        for number in 0..REFUSED_MOST {
            let refused = refusals.refused(&number.to_string(), at(0), &Fixed);
            assert_eq!(refused, Refusal::Waits);
        }
        assert_eq!(refusals.refused("more", at(0), &Fixed), Refusal::AllWait);
        assert_eq!(refusals.refused("7", at(0), &Fixed), Refusal::Waits);
        refusals.forget(&["7".to_owned()]);
        assert_eq!(refusals.refused("more", at(0), &Fixed), Refusal::Waits);
    }

    #[test]
    fn what_is_about_the_same_waits_behind_and_others_go() {
        let user = |sub: &str| json!({"format": "iss_sub", "iss": "https://p", "sub": sub});
        let complex = |user: &Value, device: &str| json!({"format": "complex", "user": user, "device": {"format": "opaque", "id": device}});
        let in_session = |user: &Value, device: &str| {
            let mut subject = complex(user, device);
            subject["session"] = json!({"format": "opaque", "id": "ses_1"});
            subject
        };
        let (alice, bob) = (user("alice"), user("bob"));
        let rows = [
            ("1", alice.clone(), false),
            ("2", bob.clone(), true),
            ("3", complex(&alice, "laptop"), false),
            // It is about a device that 3 is about, which waits.
            ("4", complex(&bob, "laptop"), false),
            ("5", bob, false),
            ("6", user("carol"), true),
            ("8", in_session(&user("dora"), "laptop"), true),
            ("7", json!({"format": "opaque", "id": "str_1"}), true),
        ];
        let mut refusals = Refusals::default();
        refusals.refused("1", at(0), &Fixed);
        let mut pass = Pass::default();
        for (jti, about, goes) in &rows {
            let row = row(jti, about);
            assert_eq!(pass.lets(&row, &refusals, at(0)), *goes, "{jti}");
        }
        // When its turn has come, all may go.
        let mut pass = Pass::default();
        for (jti, about, _) in &rows {
            assert!(pass.lets(&row(jti, about), &refusals, at(1)), "{jti}");
        }
        // And wait again when it is refused again.
        pass.hold_up(&row("1", &alice));
        assert!(!pass.still_lets(&row("3", &alice)));
        assert!(pass.still_lets(&row("6", &user("carol"))));
    }
}
