//! What is known of a live session while nobody asks for anything in it.

use domain::{AccessRequest, Timestamp};

use super::{Evidence, Signals, extract};
use crate::settings::Settings;

/// The action that asks whether a live session may go on, on the session itself.
pub const CONTINUE: &str = "session.continue";
/// The action that asks whether one may begin.
pub const CREATE: &str = "session.create";

/// Whether a question is about a session itself: its id is new each time, and no news.
pub(crate) fn is_about_session(request: &AccessRequest) -> bool {
    matches!(request.action.name.as_str(), CREATE | CONTINUE)
}

/// The evidence for [`CONTINUE`]: a session as it was last seen, at `seen_at`, with what is known
/// by `now` of its device, its address and its subject.
///
/// Hours and journeys are held against the moment of that sight: nobody is there now. What the
/// subject does elsewhere, and what others try on the subject, is left out: failed logins would
/// otherwise end the sessions of those who are attacked.
#[must_use]
pub fn extract_live(
    request: &AccessRequest,
    signals: &Signals,
    settings: &Settings,
    seen_at: Timestamp,
    now: Timestamp,
) -> Evidence {
    let mut evidence = extract(request, signals, settings, seen_at);
    evidence.features.leave_activity_out();
    let facts = &mut evidence.facts;
    if let Some(session) = signals.session.known() {
        facts.session.age_seconds = Some(now.whole_seconds_since(session.birth.at));
    }
    let words = &mut facts.signals;
    for word in [
        &mut words.requests_5m,
        &mut words.request_rate_percent,
        &mut words.requests_1h,
        &mut words.request_rate_1h_percent,
        &mut words.peer_request_percent,
        &mut words.requests_1d,
        &mut words.request_rate_1d_percent,
        &mut words.new_objects_1m,
        &mut words.objects_5m,
        &mut words.object_rate_5m_percent,
        &mut words.objects_1h,
        &mut words.object_rate_percent,
        &mut words.peer_object_percent,
        &mut words.objects_1d,
        &mut words.object_rate_1d_percent,
        &mut words.bytes_5m,
        &mut words.bytes_1h,
        &mut words.bytes_1d,
        &mut words.byte_rate_percent,
        &mut words.peer_byte_percent,
        &mut words.recent_failures,
        &mut words.refused_prompts,
        &mut words.recent_risk,
    ] {
        *word = None;
    }
    words.new_action = None;
    evidence
}
