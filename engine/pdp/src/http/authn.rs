//! Who asks: the key in `Authorization: Bearer`, or a token of ours, and what the caller has under
//! way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Problem;
use super::bearer::{Came, Holder, Presented, Scheme, is_like_a_token, recognise};
use super::body::Sender;
use super::client_certificate::Connected;
use crate::access::{Caller, Credential, NotAdmitted, Permission};
use crate::app::App;
use crate::load::Overloaded;
use crate::serve::Place;
use crate::sessions::ending::By;

const OF_A_SUBJECT: &str = "the token is that of a subject, which reaches its own sessions alone; \
                            send a key, or a token that the client got for itself";

/// A caller that was recognised; counts as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) caller: Caller,
    _under_way: Entered,
    app: Arc<App>,
}

/// Who asks where subjects may ask as well, for what is their own.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A client.
    Client(Authenticated),
    /// A subject.
    Holder {
        holder: Box<Holder>,
        _under_way: Entered,
    },
}

/// Leaves a trace of somebody who failed to show who they are.
pub(super) fn note_failed(app: &App, how: Credential, from: Option<IpAddr>) {
    app.metrics.tokens.not_authenticated(how.as_str());
    let from = from.map(|from| from.to_canonical());
    app.failed.note(how, from, app.inputs.clock.now());
}

impl Authenticated {
    /// Counts a request of a caller that was recognised as under way.
    ///
    /// # Errors
    /// When the caller asks too often, or has too much under way.
    pub(crate) fn enter(app: &Arc<App>, caller: Caller) -> Result<Self, Problem> {
        let under_way = Entered::client(app, &caller.client_id)?;
        Ok(Self {
            caller,
            _under_way: under_way,
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

impl Asker {
    /// Goes on only if they may do this: by role, or by the scope of the token.
    ///
    /// # Errors
    /// 403 when they may not.
    pub(super) fn require(&self, permission: Permission) -> Result<(), Problem> {
        match self {
            Self::Client(asker) => asker.require(permission),
            Self::Holder { holder, .. } => holder.require(permission),
        }
    }

    /// What records call them: a key's id and that of its token, or the subject as tokens say it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Client(asker) => asker.caller.by(),
            Self::Holder { holder, .. } => holder.claims.sub.clone(),
        }
    }

    /// The same, for what they end.
    pub(super) fn by<'a>(&self, name: &'a str) -> By<'a> {
        match self {
            Self::Client(asker) => By::client(&asker.caller, name),
            Self::Holder { .. } => By::holder(name),
        }
    }
}

/// Notes that a client is at the other end of the connection that a request came over.
pub(super) fn note_known(parts: &Parts, caller: &Caller) {
    if let Some(place) = parts.extensions.get::<Arc<Place>>() {
        place.know(&caller.client_id);
    }
}

/// Whom what came with a request lets in: its `Authorization`, or else the certificate of the
/// connection, where that is `connected`. Nothing is counted yet.
///
/// # Errors
/// 401, or 429 when too many made-up keys came.
async fn present(
    parts: &Parts,
    connected: Option<&Connected>,
    app: &App,
) -> Result<Presented, Problem> {
    let presented = looked_at(parts, connected, app).await?;
    if let Presented::Client(caller) = &presented {
        note_known(parts, caller);
    }
    Ok(presented)
}

async fn looked_at(
    parts: &Parts,
    connected: Option<&Connected>,
    app: &App,
) -> Result<Presented, Problem> {
    let mut sent = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(header) = sent.next() else {
        // With both, `Authorization` says who asks, and the certificate only how it came.
        let connected = connected.ok_or_else(Problem::unauthenticated)?;
        let caller = connected.caller(app);
        let caller = caller.inspect_err(|_| {
            note_failed(app, Credential::Certificate, Came::of(parts).peer);
        });
        let caller = caller.map_err(|_| Problem::unauthenticated())?;
        return Ok(Presented::Client(caller));
    };
    // A proxy in front may have looked at the other one.
    if sent.next().is_some() {
        return Err(Problem::malformed(
            "there is more than one `Authorization`; send one",
        ));
    }
    let (scheme, credential) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .and_then(|(scheme, credential)| Some((Scheme::read(scheme)?, credential.trim())))
        .ok_or_else(Problem::unauthenticated)?;
    let now = app.inputs.clock.now();
    // Told apart by their form, so that a token costs nothing of what protects the store from
    // made-up keys.
    if scheme == Scheme::DPoP || is_like_a_token(credential) {
        let came = Came::of(parts);
        let recognised = recognise(app, came, scheme, credential, now).await;
        let recognised = recognised.inspect_err(|_| note_failed(app, Credential::Token, came.peer));
        return Ok(recognised?);
    }
    app.keys
        .admit(credential, app.state.store(), now)
        .await
        .map(Presented::Client)
        .inspect_err(|_| note_failed(app, Credential::Key, Came::of(parts).peer))
        .map_err(|why| match why {
            NotAdmitted::Refused(_) => Problem::unauthenticated(),
            NotAdmitted::TooManyRefused => Problem::too_many_refused(),
            NotAdmitted::NotLookedUp => Problem::unavailable(
                "whether the key is valid cannot be told at the moment; ask again",
            ),
        })
}

/// The gateway that asks, by its key, a token that it got for itself, or the certificate that it
/// connected with. Its requests are its own, whatever proxies are trusted. Nothing is counted yet.
///
/// # Errors
/// As for any caller; 403 for the token of a subject.
pub(crate) async fn gateway(parts: &Parts, app: &App) -> Result<Caller, Problem> {
    match present(parts, parts.extensions.get::<Connected>(), app).await? {
        Presented::Client(caller) => Ok(caller),
        Presented::Holder(_) => Err(Problem::refused(OF_A_SUBJECT)),
    }
}

impl FromRequestParts<Arc<App>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let connected = parts.extensions.get::<Connected>();
        match present(parts, connected.and_then(Connected::alone), app).await? {
            Presented::Client(caller) => {
                if !app.load.has_room_for(&caller.client_id) {
                    app.metrics.door.shed();
                    return Err(Problem::unavailable(Overloaded.to_string()));
                }
                let entered = Authenticated::enter(app, caller)?;
                let sender = Sender(entered.caller.client_id.clone());
                parts.extensions.insert(sender);
                Ok(Self::Client(entered))
            }
            Presented::Holder(holder) => {
                let counted = app.rates.subject(&holder.subject, None);
                counted.map_err(Problem::too_often)?;
                let _under_way = Entered::new(app, holder.claims.sub.clone())?;
                parts.extensions.insert(Sender(holder.claims.sub.clone()));
                Ok(Self::Holder { holder, _under_way })
            }
        }
    }
}

impl FromRequestParts<Arc<App>> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Asker::from_request_parts(parts, app).await? {
            Asker::Client(asker) => Ok(asker),
            Asker::Holder { .. } => Err(Problem::refused(OF_A_SUBJECT)),
        }
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

/// A request that counts as under way, by client or subject, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    name: String,
    app: Arc<App>,
}

impl Entered {
    /// Counts one of a client.
    ///
    /// # Errors
    /// When it asks too often, or has too much under way.
    pub(crate) fn client(app: &Arc<App>, client_id: &str) -> Result<Self, Problem> {
        app.rates.caller(client_id).map_err(Problem::too_often)?;
        Self::new(app, client_id.to_owned())
    }

    /// Counts it.
    ///
    /// # Errors
    /// When they have too much under way.
    fn new(app: &Arc<App>, name: String) -> Result<Self, Problem> {
        let most = app.settings.limits.concurrency_per_caller;
        if !app.under_way.enter(&name, most) {
            return Err(Problem::too_many());
        }
        Ok(Self {
            name,
            app: Arc::clone(app),
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.app.under_way.leave(&self.name);
    }
}

/// Requests under way by caller. Holds only callers that have one.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<HashMap<String, usize>>);

impl UnderWay {
    /// Whether nobody has anything under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

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
