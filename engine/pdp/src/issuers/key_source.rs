//! The keys of one who signs: fetched when they are needed, by one request at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use domain::Timestamp;
use token::keys::{Admitted, FindKey as _, admit_jwks};
use tokio::sync::Mutex;

use super::Source;
use super::cache::{KeyCache, Plan};
use crate::outbound::{Outbound, Purpose};

/// How long a request waits for newer keys than those that are there.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where somebody's keys are, and those that were fetched.
#[derive(Debug)]
pub(crate) struct KeySource {
    name: String,
    source: Source,
    cache: Arc<KeyCache>,
    /// Held by the one that fetches.
    fetching: Arc<Mutex<()>>,
}

impl KeySource {
    /// Nothing is fetched yet.
    pub(crate) fn new(name: &str, source: Source, stale_max_seconds: u64) -> Self {
        Self {
            name: name.to_owned(),
            source,
            cache: Arc::new(KeyCache::new(stale_max_seconds)),
            fetching: Arc::default(),
        }
    }

    /// How many keys there are, and when they were fetched.
    pub(crate) fn standing(&self) -> Option<(usize, Timestamp)> {
        self.cache.standing()
    }

    /// The keys to verify a token with that names this one.
    pub(crate) async fn keys_for(
        &self,
        kid: &str,
        outbound: &Arc<Outbound>,
        now: Timestamp,
    ) -> Option<Arc<Admitted>> {
        match self.cache.plan(kid, now) {
            Plan::Use(keys) => return Some(keys),
            Plan::Nothing if self.fetching.try_lock().is_ok() => return None,
            // Somebody fetches already, and there is one to go on with.
            Plan::Fetch(Some(keys)) if keys.find(kid).is_some() && self.is_fetching() => {
                return Some(keys);
            }
            Plan::Nothing | Plan::Fetch(_) => {}
        }
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        let (begins, fallback) = match self.cache.plan(kid, now) {
            Plan::Use(keys) => return Some(keys),
            Plan::Nothing => return None,
            Plan::Fetch(keys) => (now, keys),
        };
        self.cache.begins(begins);
        // On its own: whoever asked may lose patience, and the next would begin anew.
        let (source, name) = (self.source.clone(), self.name.clone());
        let (cache, outbound, kid) = (
            Arc::clone(&self.cache),
            Arc::clone(outbound),
            kid.to_owned(),
        );
        let fetched = tokio::spawn(async move {
            let _turn = turn;
            match fetch(&source, &outbound).await {
                Ok(admitted) => {
                    for (kid, why) in &admitted.passed_over {
                        tracing::debug!(issuer = name, kid, %why, "a key is passed over");
                    }
                    let keys = Arc::new(admitted);
                    cache.fetched(Arc::clone(&keys), &kid, now);
                    Some(keys)
                }
                Err(why) => {
                    tracing::warn!(issuer = name, why, "its keys could not be fetched");
                    cache.failed();
                    None
                }
            }
        });
        let Some(keys) = fallback else {
            return fetched.await.ok().flatten();
        };
        // A source that hangs is as one that fails: the keys that are there are good enough.
        match tokio::time::timeout(PATIENCE, fetched).await {
            Ok(Ok(Some(fetched))) => Some(fetched),
            _ => Some(keys),
        }
    }

    /// Whether a key that these lack may be there all the same: it was not looked for since it may
    /// have come, or in vain because its source did not answer.
    pub(crate) fn may_have(&self, kid: &str, keys: &Admitted, now: Timestamp) -> bool {
        keys.find(kid).is_none() && !self.cache.is_nobodys(kid, now)
    }

    fn is_fetching(&self) -> bool {
        self.fetching.try_lock().is_err()
    }
}

async fn fetch(source: &Source, outbound: &Outbound) -> Result<Admitted, String> {
    let text = match source {
        Source::Url(url) => {
            let accept = "application/jwk-set+json, application/json";
            let answer = outbound.get(Purpose::Keys(url), url, accept).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status != StatusCode::OK {
                return Err(format!("{url} answered {}", answer.status));
            }
            String::from_utf8(answer.body).map_err(|_| format!("{url} answered no text"))?
        }
        Source::File(path) => {
            let read = tokio::fs::read_to_string(path).await;
            read.map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    admit_jwks(&text).map_err(|error| error.to_string())
}
