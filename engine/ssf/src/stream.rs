//! Streams (SSF 1.0 §8.1.1): what a receiver may ask of a transmitter, and whose word counts for
//! which member of a stream's configuration.

use serde::{Deserialize, Serialize};

use crate::event::KNOWN;

/// Events that one stream may ask for at most.
const EVENTS_MAX: usize = 64;
/// Bytes of a description, a URL, a header at most.
const TEXT_MAX: usize = 2048;

/// How tokens of a stream travel, by the URN of the standard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method")]
pub enum Delivery {
    /// The transmitter sends each as it comes.
    #[serde(rename = "urn:ietf:rfc:8935")]
    Push {
        /// Where to.
        endpoint_url: String,
        /// What to say in `Authorization`, each time. It is a secret of the receiver's, and is
        /// not told back.
        #[serde(default, skip_serializing)]
        authorization_header: Option<String>,
    },
    /// The receiver fetches them.
    #[serde(rename = "urn:ietf:rfc:8936")]
    Poll {
        /// Where from: the transmitter says so.
        #[serde(default)]
        endpoint_url: String,
    },
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Push { endpoint_url, .. } => f.debug_tuple("Push").field(endpoint_url).finish(),
            Self::Poll { endpoint_url } => f.debug_tuple("Poll").field(endpoint_url).finish(),
        }
    }
}

/// Whether tokens flow (SSF 1.0 §8.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// They do.
    #[default]
    Enabled,
    /// They are held back.
    Paused,
    /// They are not made.
    Disabled,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// A stream as a transmitter keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The transmitter's name for it.
    pub id: String,
    /// Whom its tokens are for.
    pub aud: Vec<String>,
    /// What the receiver would like to hear.
    pub events_requested: Vec<String>,
    /// How.
    pub delivery: Delivery,
    /// The receiver's words for it.
    pub description: Option<String>,
    /// Whether tokens flow.
    pub status: Status,
}

/// What the transmitter says of every stream.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its own name.
    pub iss: &'a str,
    /// Where polls go to.
    pub poll_url: &'a str,
    /// The events that it can tell of.
    pub events_supported: &'a [&'a str],
    /// Verifications are at least so many seconds apart.
    pub min_verification_interval: u32,
    /// Seconds without a sign of its receiver after which a stream is paused; none: it never is.
    pub inactivity_timeout: Option<u64>,
}

/// What a receiver sends to make or change a stream. Members that are not known are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Transmitter's.
    pub stream_id: Option<String>,
    /// Transmitter's.
    pub iss: Option<String>,
    /// Transmitter's.
    pub aud: Option<Audience>,
    /// Transmitter's.
    pub events_supported: Option<Vec<String>>,
    /// Transmitter's.
    pub events_delivered: Option<Vec<String>>,
    /// Transmitter's.
    pub min_verification_interval: Option<u32>,
    /// Transmitter's.
    pub inactivity_timeout: Option<u64>,
    /// Receiver's.
    pub events_requested: Option<Vec<String>>,
    /// Receiver's.
    pub delivery: Option<Delivery>,
    /// Receiver's.
    pub description: Option<String>,
}

/// One receiver or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Audience {
    fn is(&self, aud: &[String]) -> bool {
        match self {
            Self::One(one) => aud == std::slice::from_ref(one),
            Self::Several(several) => aud == several,
        }
    }
}

/// A stream's configuration as its receiver sees it.
#[derive(Debug, Serialize)]
pub struct Configuration<'a> {
    stream_id: &'a str,
    iss: &'a str,
    aud: &'a [String],
    events_supported: &'a [&'a str],
    events_requested: &'a [String],
    // An empty array must be left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events_delivered: Vec<&'a str>,
    delivery: &'a Delivery,
    min_verification_interval: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactivity_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

/// Why a stream cannot be so (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    /// The transmitter's word counts, and it is another.
    #[error("`{0}` is the transmitter's to say, and is not what you sent; leave it out")]
    NotYours(&'static str),
    /// Too many or too long.
    #[error("`{0}` is too long")]
    TooLong(&'static str),
    /// Nothing that is asked for can be told.
    #[error(
        "`events_requested` names nothing that this transmitter tells of; see `events_supported`"
    )]
    NothingToTell,
    /// The address to push to is none.
    #[error("`delivery.endpoint_url` must be an https URL without a fragment")]
    Endpoint,
    /// The header could not be sent as it is.
    #[error("`delivery.authorization_header` must be visible ASCII")]
    Header,
}

impl Stream {
    /// Makes a stream.
    ///
    /// # Errors
    /// The first thing that is wrong with the wish.
    pub fn create(
        id: String,
        aud: Vec<String>,
        wish: Wish,
        offer: Offer<'_>,
    ) -> Result<Self, BadStream> {
        let new = Self {
            id,
            aud,
            events_requested: Vec::new(),
            delivery: Delivery::Poll {
                endpoint_url: offer.poll_url.to_owned(),
            },
            description: None,
            status: Status::Enabled,
        };
        // A receiver cannot know the names that it will be given.
        if wish.stream_id.is_some() {
            return Err(BadStream::NotYours("stream_id"));
        }
        new.replace(wish, offer)
    }

    /// The stream with what the receiver sends, and without what it leaves out (`PUT`).
    ///
    /// # Errors
    /// The first thing that is wrong with the wish.
    pub fn replace(&self, wish: Wish, offer: Offer<'_>) -> Result<Self, BadStream> {
        let blank = Self {
            events_requested: offer
                .events_supported
                .iter()
                .map(|uri| (*uri).to_owned())
                .collect(),
            delivery: Delivery::Poll {
                endpoint_url: offer.poll_url.to_owned(),
            },
            description: None,
            ..self.clone()
        };
        blank.update(wish, offer)
    }

    /// The stream with what the receiver sends; the rest stays (`PATCH`).
    ///
    /// # Errors
    /// The first thing that is wrong with the wish.
    pub fn update(&self, wish: Wish, offer: Offer<'_>) -> Result<Self, BadStream> {
        let mut changed = self.clone();
        if let Some(events) = wish.events_requested {
            if events.len() > EVENTS_MAX || events.iter().any(|uri| uri.len() > TEXT_MAX) {
                return Err(BadStream::TooLong("events_requested"));
            }
            changed.events_requested = events;
        }
        if let Some(description) = wish.description {
            if description.len() > TEXT_MAX {
                return Err(BadStream::TooLong("description"));
            }
            changed.description = Some(description);
        }
        match wish.delivery {
            None => {}
            Some(Delivery::Poll { endpoint_url }) => {
                if !endpoint_url.is_empty() && endpoint_url != offer.poll_url {
                    return Err(BadStream::NotYours("delivery.endpoint_url"));
                }
                changed.delivery = Delivery::Poll {
                    endpoint_url: offer.poll_url.to_owned(),
                };
            }
            Some(push) => {
                check_push(&push)?;
                changed.delivery = push;
            }
        }
        let delivered = changed.delivered(offer);
        let same = |sent: &[String], ours: &[&str]| {
            sent.len() == ours.len() && sent.iter().all(|uri| ours.contains(&uri.as_str()))
        };
        for (name, differs) in [
            ("stream_id", wish.stream_id.is_some_and(|id| id != self.id)),
            ("iss", wish.iss.is_some_and(|iss| iss != offer.iss)),
            ("aud", wish.aud.is_some_and(|aud| !aud.is(&self.aud))),
            (
                "events_supported",
                wish.events_supported
                    .is_some_and(|events| !same(&events, offer.events_supported)),
            ),
            (
                "events_delivered",
                wish.events_delivered
                    .is_some_and(|events| !same(&events, &delivered)),
            ),
            (
                "min_verification_interval",
                wish.min_verification_interval
                    .is_some_and(|interval| interval != offer.min_verification_interval),
            ),
            (
                "inactivity_timeout",
                wish.inactivity_timeout
                    .is_some_and(|timeout| Some(timeout) != offer.inactivity_timeout),
            ),
        ] {
            if differs {
                return Err(BadStream::NotYours(name));
            }
        }
        if delivered.is_empty() {
            return Err(BadStream::NothingToTell);
        }
        Ok(changed)
    }

    /// What it tells of: what is asked for and can be told.
    #[must_use]
    pub fn delivered<'a>(&self, offer: Offer<'a>) -> Vec<&'a str> {
        offer
            .events_supported
            .iter()
            .copied()
            .filter(|uri| self.events_requested.iter().any(|wanted| wanted == uri))
            .collect()
    }

    /// Its configuration, for its receiver.
    #[must_use]
    pub fn configuration<'a>(&'a self, offer: Offer<'a>) -> Configuration<'a> {
        Configuration {
            stream_id: &self.id,
            iss: offer.iss,
            aud: &self.aud,
            events_supported: offer.events_supported,
            events_requested: &self.events_requested,
            events_delivered: self.delivered(offer),
            delivery: &self.delivery,
            min_verification_interval: offer.min_verification_interval,
            inactivity_timeout: offer.inactivity_timeout,
            description: self.description.as_deref(),
        }
    }
}

/// Whether the address may be called at all is found out when it is called.
fn check_push(push: &Delivery) -> Result<(), BadStream> {
    let Delivery::Push {
        endpoint_url,
        authorization_header,
    } = push
    else {
        return Ok(());
    };
    let is_url = endpoint_url.len() <= TEXT_MAX
        && (endpoint_url.starts_with("https://") || endpoint_url.starts_with("http://"))
        && !endpoint_url.contains('#')
        && endpoint_url.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_url {
        return Err(BadStream::Endpoint);
    }
    let fits = |header: &String| {
        (1..=TEXT_MAX).contains(&header.len())
            && header.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    if !authorization_header.as_ref().is_none_or(fits) {
        return Err(BadStream::Header);
    }
    Ok(())
}

/// Whether a URI is one of an event that is known here.
#[must_use]
pub fn is_known(uri: &str) -> bool {
    KNOWN.contains(&uri)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SUPPORTED: [&str; 2] = [KNOWN[0], KNOWN[7]];
    const OFFER: Offer<'static> = Offer {
        iss: "https://pdp.example",
        poll_url: "https://pdp.example/ssf/poll",
        events_supported: &SUPPORTED,
        min_verification_interval: 60,
        inactivity_timeout: Some(86_400),
    };

    fn wish(value: Value) -> Wish {
        serde_json::from_value(value).unwrap()
    }

    fn create(value: Value) -> Result<Stream, BadStream> {
        Stream::create("s1".to_owned(), vec!["sk_1".to_owned()], wish(value), OFFER)
    }

    fn shown(stream: &Stream) -> Value {
        serde_json::to_value(stream.configuration(OFFER)).unwrap()
    }

    #[test]
    fn a_stream_without_a_delivery_is_polled_and_tells_everything() {
        let stream = create(json!({})).unwrap();
        assert_eq!(
            shown(&stream),
            json!({"stream_id": "s1", "iss": "https://pdp.example", "aud": ["sk_1"],
                "events_supported": SUPPORTED, "events_requested": SUPPORTED, "events_delivered": SUPPORTED,
                "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://pdp.example/ssf/poll"},
                "min_verification_interval": 60, "inactivity_timeout": 86_400})
        );
    }

    #[test]
    fn what_is_asked_for_and_not_supported_is_kept_and_not_delivered() {
        let stream =
            create(json!({"events_requested": [SUPPORTED[0], "urn:new"], "description": "ours"}))
                .unwrap();
        let shown = shown(&stream);
        assert_eq!(shown["events_requested"], json!([SUPPORTED[0], "urn:new"]));
        assert_eq!(shown["events_delivered"], json!([SUPPORTED[0]]));
        assert_eq!(
            create(json!({"events_requested": ["urn:new"]})),
            Err(BadStream::NothingToTell)
        );
    }

    #[test]
    fn patch_keeps_what_is_left_out_and_put_forgets_it() {
        let stream = create(json!({"events_requested": [SUPPORTED[0]], "description": "ours",
            "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/events", "authorization_header": "Bearer secret"}}))
        .unwrap();
        assert!(!format!("{stream:?}{}", shown(&stream)).contains("secret"));
        let patched = stream
            .update(wish(json!({"description": "theirs"})), OFFER)
            .unwrap();
        assert_eq!(patched.delivery, stream.delivery);
        assert_eq!(patched.events_requested, stream.events_requested);
        let put = stream
            .replace(wish(json!({"events_requested": [SUPPORTED[1]]})), OFFER)
            .unwrap();
        assert_eq!(put.description, None);
        assert!(matches!(put.delivery, Delivery::Poll { .. }));
        assert_eq!(put.id, stream.id);
    }

    #[test]
    fn the_transmitters_members_may_be_sent_as_they_are_and_no_otherwise() {
        let stream = create(json!({})).unwrap();
        let same = shown(&stream);
        assert_eq!(stream.update(wish(same.clone()), OFFER), Ok(stream.clone()));
        assert_eq!(stream.replace(wish(same), OFFER), Ok(stream.clone()));
        for (name, value) in [
            ("stream_id", json!("s2")),
            ("iss", json!("https://other.example")),
            ("aud", json!("sk_2")),
            ("events_supported", json!([SUPPORTED[0]])),
            ("events_delivered", json!([])),
            ("min_verification_interval", json!(1)),
            ("inactivity_timeout", json!(1)),
        ] {
            let refused = stream.update(wish(json!({name: value})), OFFER);
            assert_eq!(refused, Err(BadStream::NotYours(name)));
        }
        assert_eq!(
            create(json!({"stream_id": "s1"})),
            Err(BadStream::NotYours("stream_id"))
        );
    }

    #[test]
    fn tokens_are_pushed_to_urls_alone() {
        let push = |url: &str, header: Value| {
            create(
                json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": url, "authorization_header": header}}),
            )
        };
        assert!(push("https://rp.example/events", Value::Null).is_ok());
        for url in [
            "",
            "rp.example",
            "ftp://rp.example",
            "https://rp.example/#x",
            "https://rp.example/ x",
        ] {
            assert_eq!(push(url, Value::Null), Err(BadStream::Endpoint), "{url}");
        }
        for header in ["", "a\nb", "ü"] {
            assert_eq!(
                push("https://rp.example", json!(header)),
                Err(BadStream::Header)
            );
        }
        for delivery in [
            json!({"method": "carrier pigeon"}),
            json!({}),
            json!({"method": "urn:ietf:rfc:8935"}),
        ] {
            assert!(serde_json::from_value::<Wish>(json!({"delivery": delivery})).is_err());
        }
    }
}
