//! What operators have to put right at their gateways: said once in a while, however often it
//! happens.

use std::sync::{Mutex, PoisonError};

use domain::Timestamp;

/// Least time between two lines about one thing, seconds: clients must not fill the log.
const EVERY_SECONDS: i64 = 60;

/// What is wrong with how a gateway asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It sends no key of its own.
    NoKey,
    /// It sends one that is none, or is over.
    WrongKey,
    /// It sends a key of another client than its certificate is of.
    KeyOfAnother,
    /// Its key is of a role that asks nothing.
    Role,
    /// It is not in `gateway.trusted`.
    NotTrusted,
    /// No route is for a request.
    NoRoute,
    /// A route wants a token for its app, and there is none.
    NoToken,
    /// A client's token is one of ours, for another audience.
    Audience,
    /// Whether its key is valid cannot be told.
    KeyUnknown,
    /// The certificate that it connected with is not believed.
    NotBelieved,
    /// Its question is in no form that can be read.
    NotRead,
}

impl Complaint {
    const ALL: usize = 11;

    const fn text(self) -> &'static str {
        match self {
            Self::NoKey => {
                "a gateway asks without its key; have it set `Portreeve-Key` to a key that \
                 `portreeve keys create --role gateway` makes"
            }
            Self::WrongKey => {
                "a gateway asks with a key that is not valid; `portreeve keys list` shows which are"
            }
            Self::KeyOfAnother => {
                "a gateway asks with the certificate of one client and the key of another; have it \
                 set `Portreeve-Key` to its own key, or remove what its clients send"
            }
            Self::Role => {
                "a gateway asks with a key that may not; make it one with `portreeve keys create \
                 --role gateway`"
            }
            Self::NotTrusted => {
                "a gateway asks from an address that is not in `gateway.trusted`; add its network"
            }
            Self::NoRoute => {
                "no route is for a request, so it was refused; `portreeve gateway explain` says why"
            }
            Self::NoToken => {
                "a route wants a token for its app, and none could be minted; `why` says what to \
                 put right"
            }
            Self::Audience => {
                "a client's token is for another audience than this gateway's, so it was refused; \
                 add the audience to `gateway.audiences` where it is one of the gateway's"
            }
            Self::KeyUnknown => {
                "whether a gateway's key is valid could not be told, so it was answered 503: too \
                 many made-up keys came, or the store does not answer"
            }
            Self::NotBelieved => {
                "a gateway asks with a certificate that is not believed (any more), so its \
                 requests were refused; `why` says what is wrong with it"
            }
            Self::NotRead => {
                "what a gateway asks over gRPC cannot be read, so it was refused; `why` says what \
                 to put right: a message that is too large needs a larger `limits.body_bytes`, or \
                 a gateway that sends less"
            }
        }
    }
}

/// What was not said yet.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<[Untold; Complaint::ALL]>);

#[derive(Clone, Copy, Debug, Default)]
struct Untold {
    count: u64,
    told_at: Option<Timestamp>,
}

impl Complaints {
    /// Notes one, and says it if that was not done lately.
    pub(crate) fn note(&self, what: Complaint, now: Timestamp) {
        self.note_why(what, now, None);
    }

    /// The same with the reason of the one that is told of: what to put right differs by it.
    pub(crate) fn note_why(&self, what: Complaint, now: Timestamp, why: Option<&str>) {
        if let Some(count) = self.due(what, now) {
            tracing::warn!(event = "gateway_fault", count, why, "{}", what.text());
        }
    }

    /// How many to tell of now, this one among them.
    fn due(&self, what: Complaint, now: Timestamp) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = all.get_mut(what as usize)?;
        untold.count += 1;
        // A clock that went back does not keep anybody quiet.
        let is_soon = untold
            .told_at
            .is_some_and(|at| at <= now && now.whole_seconds_since(at) < EVERY_SECONDS);
        if is_soon {
            return None;
        }
        untold.told_at = Some(now);
        Some(std::mem::take(&mut untold.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_at_once_and_then_once_a_minute() {
        let complaints = Complaints::default();
        let at = |seconds: i64| Timestamp::from_seconds(1_795_215_660 + seconds);
        for (what, seconds, told) in [
            (Complaint::NoKey, 0, Some(1)),
            (Complaint::NoKey, 1, None),
            (Complaint::NoToken, 1, Some(1)),
            (Complaint::NoKey, 60, Some(2)),
            (Complaint::NoKey, -600, Some(1)),
        ] {
            assert_eq!(
                complaints.due(what, at(seconds)),
                told,
                "{what:?} {seconds}"
            );
        }
    }
}
