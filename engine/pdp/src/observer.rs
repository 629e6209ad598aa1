//! Facts observed elsewhere.
//!
//! No decision is made here. Each fact is in the journal before it counts.

use std::convert::Infallible;
use std::sync::Arc;

use domain::{ActionResult, Assurance, Level, Timestamp};
use futures_util::future::try_join_all;
use risk::{Key, Lesson};
use wire::Event;

use crate::access::{Caller, Permission, signed};
use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;
use crate::engine::Snapshot;
use crate::pip;
use crate::sessions::ending::By;
use crate::sessions::name::{is_handle, is_opened_by};
use crate::sessions::{self, Named, STEP_UP, lift};
use crate::step_up::ToldError;

/// Facts older than this are history, which only those who may replay can tell.
const BEHIND_SECONDS: i64 = 24 * 3600;

/// What an observed fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Login,
    Passed(Level),
}

/// A fact that can be taken in.
#[derive(Debug)]
struct Fact<'a> {
    event: &'a Event,
    kind: Kind,
    failed: bool,
    exists: bool,
    key: Key,
    line: &'a [u8],
}

/// A line that was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its number; the first is 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Takes in observed facts, one event a line, and says which it did not take. Those taken are
/// durable.
///
/// # Errors
/// When they cannot be made durable.
pub async fn observe(
    app: &App,
    caller: &Caller,
    text: &[u8],
) -> Result<(usize, Vec<Rejected>), ToldError> {
    let now = app.inputs.clock.now();
    let snapshot = app.live.current();
    let mut rejected = Vec::new();
    let mut events = Vec::new();
    for (position, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match wire::event::parse(line) {
            Ok(event) => events.push((position + 1, line, event)),
            Err(error) => rejected.push(Rejected {
                line: position + 1,
                reason: error.to_string(),
            }),
        }
    }
    let may_replay = app.keys.permits(caller, Permission::Replay);
    let mut facts = Vec::new();
    for (number, line, event) in &events {
        match check(event, line, caller, &snapshot, now, may_replay) {
            Ok(fact) => facts.push(fact),
            Err(reason) => rejected.push(Rejected {
                line: *number,
                reason,
            }),
        }
    }
    rejected.sort_by_key(|rejected| rejected.line);

    // Together, so that they share the journal's groups. What was told before is on record.
    let is_new = |fact: &&Fact<'_>| app.facts_told.get(&fact.key).is_none();
    let written = facts.iter().filter(is_new).map(|fact| {
        let told = signed(
            serde_json::json!({
                "v": wire::record::RECORD_VERSION,
                "kind": "event",
                "at": wire::time::format(now),
                "event": serde_json::from_slice::<serde_json::Value>(fact.line).unwrap_or_default(),
            }),
            &caller.by(),
        );
        app.journal.append(told.to_string().into_bytes())
    });
    try_join_all(written).await?;
    // In their order: what happened first is the past of the rest.
    for fact in &facts {
        if is_first(app, fact.key) {
            let taken = take_in(app, caller, &snapshot, fact, now).await;
            // It will be sent again, and what is left of it has to be done then.
            taken.inspect_err(|_| {
                app.facts_told.remove(&fact.key);
            })?;
        }
    }
    Ok((facts.len(), rejected))
}

fn check<'a>(
    event: &'a Event,
    line: &'a [u8],
    caller: &Caller,
    snapshot: &Snapshot,
    now: Timestamp,
    may_replay: bool,
) -> Result<Fact<'a>, String> {
    let request = &event.request;
    let kind = match request.action.name.as_str() {
        "login" => Kind::Login,
        "challenge" => Kind::Passed(Level::Challenge),
        "mfa" => Kind::Passed(Level::Mfa),
        other => {
            return Err(format!(
                "`action.name` is `{other}`: facts are about `login`, `challenge` or `mfa`"
            ));
        }
    };
    let result = request
        .result
        .ok_or("`result` is missing: say `success` or `failure`")?;
    if event.time > now.plus_seconds(CLOCK_SKEW_SECONDS) {
        return Err("`time` lies in the future".to_owned());
    }
    if !may_replay && now.whole_seconds_since(event.time) > BEHIND_SECONDS {
        return Err("`time` is more than a day ago, which takes a key that may replay".to_owned());
    }
    // The line goes on record as it is.
    if let Some(name) = &request.context.session_id
        && is_handle(name)
    {
        return Err("`context.session_id` is a handle, which is secret; send the id".to_owned());
    }
    let failed = result == ActionResult::Failure;
    let exists = snapshot
        .directory
        .admits(&snapshot.policies, &request.subject.entity);
    // That somebody tries names that do not exist says much about where it comes from.
    if !exists && !failed {
        return Err(format!("{} is not known here", request.subject.entity));
    }
    Ok(Fact {
        event,
        kind,
        failed,
        exists,
        // By caller: what one says must not take the effect from what another says.
        key: Key::of(&format!(
            "{}\n{}",
            caller.client_id,
            String::from_utf8_lossy(line.trim_ascii())
        )),
        line,
    })
}

/// Whether a fact is told for the first time; of several who tell it at once, one is the first.
fn is_first(app: &App, fact: Key) -> bool {
    let mut is_first = false;
    let note = || {
        is_first = true;
        Ok::<_, Infallible>(())
    };
    match app.facts_told.get_or_insert_with(&fact, note) {
        Ok(()) => is_first,
        Err(never) => match never {},
    }
}

async fn take_in(
    app: &App,
    caller: &Caller,
    snapshot: &Arc<Snapshot>,
    fact: &Fact<'_>,
    now: Timestamp,
) -> Result<(), ToldError> {
    let event = fact.event;
    let request = &event.request;
    let subject = &request.subject.entity;
    let named = match &request.context.session_id {
        Some(name) => Named::Kept {
            key: sessions::key(&caller.client_id, name),
            handle: None,
            by_token: false,
        },
        None => Named::Nothing,
    };
    let signals = pip::gather(app, request, &named, snapshot, false, now).await;
    let evidence = risk::extract(request, &signals, &snapshot.settings, event.time);
    drop(signals);
    let may_assert = app.keys.permits(caller, Permission::AssertAssurance);
    let passed = match fact.kind {
        Kind::Passed(level) if !fact.failed && may_assert => Some(level),
        _ => None,
    };
    // Whoever has caught password and code can sign in: that alone makes nothing usual. The
    // access that follows does, if it is allowed.
    let delta = evidence.delta(fact.key, Lesson::Counters);
    if !fact.exists {
        app.state.count_attempt(&delta.attempt);
        return Ok(());
    }
    let crowds = pip::crowds(app, request, snapshot);
    if app.state.learn(subject, crowds, &delta) {
        app.state.count_attempt(&delta.attempt);
    }
    if let (Some(level), Some(id)) = (passed, &request.context.session_id) {
        let key = sessions::key(&caller.client_id, id);
        let assurance = Assurance::of(level, Some(event.time.min(now)));
        let name = caller.by();
        let by = By::client(caller, &name);
        // Of another client's session nobody tells what was proven in it.
        let session = app.state.session_surely(&key, now).await?;
        if session.is_some_and(|session| is_opened_by(&session, &caller.client_id)) {
            lift(app, &key, subject, assurance, None, by, STEP_UP).await?;
        }
    }
    Ok(())
}
