//! A person's word on a decision: "this was me", or "this was not".

use std::convert::Infallible;
use std::sync::Arc;

use domain::EntityRef;
use risk::Key;
use tokio::sync::Mutex;
use wire::record::RecordHead;

use crate::access::{Caller, signed};
use crate::app::App;
use crate::recorder;
use crate::step_up::ToldError;

/// What was said of one decision so far. Held while a further word is taken in.
#[derive(Debug, Default)]
pub(crate) struct Words(Mutex<Said>);

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    last: Option<bool>,
    /// Whether it was learnt from, once "this was me" was said.
    legitimate: Option<bool>,
    /// "This was not me" was said.
    disowned: bool,
}

/// Takes a person's word on a decision. None when no such decision is on record; whether it was
/// learnt from otherwise.
///
/// The same word again answers the same and changes nothing. Another word than the last goes on
/// record, for people change their minds; but each of the two counts once for a decision.
///
/// # Errors
/// When it cannot be made durable.
pub async fn feedback(
    app: &App,
    caller: &Caller,
    decision_id: &str,
    legitimate: bool,
) -> Result<Option<bool>, ToldError> {
    let now = app.inputs.clock.now();
    let Some(record) = recorder::find(app, decision_id).await? else {
        return Ok(None);
    };
    let Some(head) = RecordHead::read(&record).filter(|head| head.manner == "access") else {
        return Ok(None);
    };
    let Ok(subject) = EntityRef::new(head.subject.0, head.subject.1) else {
        return Ok(None);
    };
    let words = match app
        .words
        .get_or_insert_with(decision_id, || Ok::<_, Infallible>(Arc::default()))
    {
        Ok(words) => words,
        Err(never) => match never {},
    };
    let mut said = words.0.lock().await;
    if said.last != Some(legitimate) {
        let told = signed(
            serde_json::json!({
                "v": wire::record::RECORD_VERSION,
                "kind": "feedback",
                "decision_id": decision_id,
                "at": wire::time::format(now),
                "legitimate": legitimate,
            }),
            &caller.by(),
        );
        app.journal.append(told.to_string().into_bytes()).await?;
        said.last = Some(legitimate);
    }
    let event = Key::of(decision_id);
    // In the time of the event: as long after it as the word came after the decision.
    let moment = head.time.plus_seconds(now.whole_seconds_since(head.at));
    if legitimate {
        let learnt = match said.legitimate {
            Some(learnt) => learnt,
            None => app.state.confirm(&subject, event, moment).await,
        };
        said.legitimate = Some(learnt);
        return Ok(Some(learnt));
    }
    if !said.disowned {
        app.state.disown(&subject, event, moment).await;
        said.disowned = true;
    }
    Ok(Some(false))
}
