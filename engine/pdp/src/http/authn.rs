//! Who asks: the key in `Authorization: Bearer`, and what the caller has under way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Problem;
use crate::access::{Caller, NotAdmitted, Permission};
use crate::app::App;

/// A caller whose key was accepted; counts as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) caller: Caller,
    app: Arc<App>,
}

impl Authenticated {
    /// Counts a request of a caller that was recognised as under way.
    ///
    /// # Errors
    /// When the caller has too much under way.
    pub(crate) fn enter(app: &Arc<App>, caller: Caller) -> Result<Self, Problem> {
        let most = app.settings.limits.concurrency_per_caller;
        if !app.under_way.enter(&caller.client_id, most) {
            return Err(Problem::too_many());
        }
        Ok(Self {
            caller,
            app: Arc::clone(app),
        })
    }

    /// Goes on only if the caller may do this.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), Problem> {
        if self.app.keys.permits(&self.caller, permission) {
            Ok(())
        } else {
            Err(Problem::forbidden(permission.action()))
        }
    }
}

impl FromRequestParts<Arc<App>> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut sent = parts.headers.get_all(AUTHORIZATION).iter();
        let header = sent.next().ok_or_else(Problem::unauthenticated)?;
        // A proxy in front may have looked at the other one.
        if sent.next().is_some() {
            return Err(Problem::malformed(
                "there is more than one `Authorization`; send one",
            ));
        }
        let key = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or_else(Problem::unauthenticated)?;
        let caller = app
            .keys
            .admit(key, app.state.store(), app.inputs.clock.now())
            .await
            .map_err(|why| match why {
                NotAdmitted::Refused(_) => Problem::unauthenticated(),
                NotAdmitted::TooManyRefused => Problem::too_many_refused(),
            })?;
        Self::enter(app, caller)
    }
}

/// Where nobody needs a key: what asks without one, or with a wrong one, is nobody.
impl OptionalFromRequestParts<Arc<App>> for Authenticated {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Option<Self>, Infallible> {
        let asker = <Self as FromRequestParts<_>>::from_request_parts(parts, app).await;
        Ok(asker.ok())
    }
}

impl Drop for Authenticated {
    fn drop(&mut self) {
        self.app.under_way.leave(&self.caller.client_id);
    }
}

/// Requests under way by caller. Holds only callers that have one.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<HashMap<String, usize>>);

impl UnderWay {
    fn enter(&self, caller: &str, most: usize) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(caller) {
            Some(count) if *count >= most => false,
            Some(count) => {
                *count += 1;
                true
            }
            None => {
                counts.insert(caller.to_owned(), 1);
                true
            }
        }
    }

    fn leave(&self, caller: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(caller);
            }
        }
    }
}
