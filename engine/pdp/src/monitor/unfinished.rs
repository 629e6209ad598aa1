//! What was planned and could not be made durable: it waits here, and is done when the store can be
//! written again. Whoever comes next may be somebody else, so that a look would find nothing to do.

use std::collections::HashMap;

use store::sqlite::StoreError;

use super::act::{Grounds, carry_out};
use super::lock;
use super::plan::{Plan, still};
use crate::app::App;

/// Sessions that wait at most; further ones are looked at as all others are.
const MOST: usize = 10_000;

/// Plans by session: of each the one that comes to most.
#[derive(Debug, Default)]
pub(super) struct Unfinished(HashMap<String, (Plan, Grounds)>);

impl Unfinished {
    /// Notes a plan that could not be carried out.
    pub(super) fn add(&mut self, id: &str, plan: Plan, grounds: Grounds) {
        let has_room = self.0.len() < MOST;
        match self.0.get_mut(id) {
            Some(known) if plan.exceeds(&known.0) => *known = (plan, grounds),
            Some(_) => {}
            None if has_room => {
                self.0.insert(id.to_owned(), (plan, grounds));
            }
            None => {}
        }
    }
}

/// Does what could not be done before. What fails again waits on.
///
/// # Errors
/// When the store still cannot be read or written.
pub(super) async fn finish(app: &App) -> Result<(), StoreError> {
    let waiting = std::mem::take(&mut lock(&app.monitor.unfinished).0);
    let mut left = waiting.into_iter();
    while let Some((id, (plan, grounds))) = left.next() {
        if let Err(error) = again(app, &id, &plan, &grounds).await {
            let mut unfinished = lock(&app.monitor.unfinished);
            unfinished.add(&id, plan, grounds);
            left.for_each(|(id, (plan, grounds))| unfinished.add(&id, plan, grounds));
            return Err(error);
        }
    }
    Ok(())
}

async fn again(app: &App, id: &str, plan: &Plan, grounds: &Grounds) -> Result<(), StoreError> {
    let now = app.inputs.clock.now();
    for session in app.state.sessions_among([id.to_owned()]).await? {
        if let Some(terms) = session.terms.as_ref().filter(|_| !session.is_over(now)) {
            let plan = still(&session, terms, plan);
            carry_out(app, &session, terms, &plan, grounds).await?;
        }
    }
    Ok(())
}
