//! `[[ssf.transmitters]]`: whose signals are heard.

use std::path::PathBuf;
use std::time::Duration;

use domain::{EntityRef, Name, NameError};
use serde::Deserialize;

use crate::issuers::{IssuerSettings, Source, key_file_fault};
use crate::outbound::{Allowed, is_callable};

/// The word for transmitters whose names of subjects say the type, as our own tokens do.
const TYPED: &str = "*";
/// For how long the keys of a transmitter are trusted while they cannot be fetched, seconds.
pub(super) const STALE_MAX_SECONDS: u64 = 24 * 3600;
/// Between two polls, where nobody says otherwise.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// A transmitter, as the settings have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTransmitter {
    issuer: String,
    jwks_uri: Option<String>,
    jwks_file: Option<PathBuf>,
    audience: String,
    authorization_file: Option<PathBuf>,
    poll_url: Option<String>,
    poll_authorization_file: Option<PathBuf>,
    poll_every_seconds: Option<u64>,
    #[serde(default = "subject_type")]
    subject_type: String,
    email_attribute: Option<String>,
    #[serde(default)]
    speaks_for: Vec<String>,
    #[serde(default)]
    may_lift: bool,
    #[serde(default)]
    may_vouch_for_devices: bool,
}

fn subject_type() -> String {
    "User".to_owned()
}

/// How a transmitter is polled (RFC 8936).
#[derive(Clone, Debug)]
pub struct PollSettings {
    /// Where.
    pub url: String,
    /// What is sent in `Authorization`, a file that is read each time.
    pub authorization_file: Option<PathBuf>,
    /// How long nobody asks after there was nothing.
    pub every: Duration,
}

/// What a transmitter's names of subjects mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectNames {
    /// Ids of subjects of this type.
    Of(Name),
    /// Type and id, as our own tokens say a subject: `User/alice`.
    Typed,
}

impl SubjectNames {
    /// What a word of the settings means.
    pub(crate) fn read(word: &str) -> Result<Self, NameError> {
        if word == TYPED {
            return Ok(Self::Typed);
        }
        Name::new(word).map(Self::Of)
    }
}

/// A transmitter, checked.
#[derive(Clone, Debug)]
pub struct TransmitterSettings {
    /// Its name, letter for letter as `iss` has it.
    pub issuer: String,
    /// Where its keys are.
    pub keys: Source,
    /// What it calls us (`aud`).
    pub audience: String,
    /// What it must send in `Authorization` when it pushes, a file that is read each time. None:
    /// it does not push.
    pub authorization_file: Option<PathBuf>,
    /// How it is polled. None: it pushes.
    pub poll: Option<PollSettings>,
    /// What its names of subjects mean.
    pub names: SubjectNames,
    /// The stored attribute of subjects that is the mail address it may name them by.
    pub email_attribute: Option<String>,
    /// Other issuers whose subjects and sessions it may speak of, beside its own.
    pub speaks_for: Vec<String>,
    /// Whether it may say that more was proven in a session than is known here. That less was,
    /// it may always say.
    pub may_lift: bool,
    /// Whether it may say that a device meets the rules, and speak of devices that are nobody's.
    pub may_vouch_for_devices: bool,
}

impl TransmitterSettings {
    /// The issuers whose subjects and sessions it speaks of.
    pub(super) fn issuers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.issuer.as_str()).chain(self.speaks_for.iter().map(String::as_str))
    }

    /// Whether it may speak of a subject.
    pub(super) fn speaks_of(&self, subject: &EntityRef) -> bool {
        match &self.names {
            SubjectNames::Of(kind) => subject.kind == *kind,
            SubjectNames::Typed => true,
        }
    }
}

impl RawTransmitter {
    /// Checks all transmitters, and tells all that is wrong. `issuers`: whose tokens are believed.
    pub(crate) fn check_all(
        raw: Vec<Self>,
        issuers: &[IssuerSettings],
        allowed: &[Allowed],
        faults: &mut Vec<String>,
    ) -> Vec<TransmitterSettings> {
        let mut checked: Vec<TransmitterSettings> = Vec::new();
        for (number, one) in raw.into_iter().enumerate() {
            let place = format!("`ssf.transmitters` {} ({})", number + 1, one.issuer);
            if checked.iter().any(|other| other.issuer == one.issuer) {
                faults.push(format!("{place}: named twice"));
            }
            // What others call subjects, and sessions, is known from their tokens alone.
            let is_believed = |name: &&String| issuers.iter().any(|issuer| issuer.issuer == **name);
            for name in one.speaks_for.iter().filter(|name| !is_believed(name)) {
                faults.push(format!(
                    "{place}: `speaks_for` `{name}` is none of `[[issuers]]`, letter for letter; \
                     add it there, or take it out here"
                ));
            }
            match one.check(allowed) {
                Ok(one) => checked.push(one),
                Err(why) => faults.extend(why.into_iter().map(|why| format!("{place}: {why}"))),
            }
        }
        checked
    }

    fn check(self, allowed: &[Allowed]) -> Result<TransmitterSettings, Vec<String>> {
        let mut faults = Vec::new();
        let mut callable = |name: &str, url: &str| {
            if !is_callable(url, allowed) {
                faults.push(format!(
                    "`{name}` `{url}` must be https, or its host:port named in \
                     `limits.outbound_allow`"
                ));
            }
        };
        let keys = match (self.jwks_uri, self.jwks_file) {
            (Some(url), None) => {
                callable("jwks_uri", &url);
                Some(Source::Url(url))
            }
            (None, Some(file)) => Some(Source::File(file)),
            _ => None,
        };
        if let Some(url) = &self.poll_url {
            callable("poll_url", url);
        }
        if keys.is_none() {
            faults.push("set `jwks_uri` or `jwks_file`, one of them".to_owned());
        }
        // An endpoint that takes whatever anybody has kept of a stream would be open.
        if self.poll_url.is_none() && self.authorization_file.is_none() {
            faults.push(
                "set `authorization_file` (what it must send when it pushes), `poll_url`, or both"
                    .to_owned(),
            );
        }
        if self.poll_url.is_none()
            && (self.poll_authorization_file.is_some() || self.poll_every_seconds.is_some())
        {
            faults.push(
                "`poll_authorization_file` and `poll_every_seconds` need `poll_url`".to_owned(),
            );
        }
        let every = self
            .poll_every_seconds
            .map_or(POLL_EVERY, Duration::from_secs);
        if every.is_zero() || every > Duration::from_secs(3600) {
            faults.push("`poll_every_seconds`: 1 to 3600".to_owned());
        }
        for (name, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.is_empty() || text.len() > 512 {
                faults.push(format!("`{name}` is empty or longer than 512 bytes"));
            }
        }
        let names = SubjectNames::read(&self.subject_type)
            .map_err(|why| faults.push(format!("`subject_type` {why}")))
            .ok();
        match (keys, names) {
            (Some(keys), Some(names)) if faults.is_empty() => Ok(TransmitterSettings {
                issuer: self.issuer,
                keys,
                audience: self.audience,
                authorization_file: self.authorization_file,
                poll: self.poll_url.map(|url| PollSettings {
                    url,
                    authorization_file: self.poll_authorization_file,
                    every,
                }),
                names,
                email_attribute: self.email_attribute,
                speaks_for: self.speaks_for,
                may_lift: self.may_lift,
                may_vouch_for_devices: self.may_vouch_for_devices,
            }),
            _ => Err(faults),
        }
    }
}

/// What is wrong with the files that transmitters need, for who looks before a start. Nothing is
/// fetched.
#[must_use]
pub fn file_faults(transmitters: &[TransmitterSettings]) -> Vec<String> {
    let faults = transmitters.iter().flat_map(|one| {
        let polled = one.poll.as_ref();
        let secrets = [
            one.authorization_file.as_ref(),
            polled.and_then(|poll| poll.authorization_file.as_ref()),
        ];
        let secrets = secrets.into_iter().flatten().filter_map(|path| {
            let why = match std::fs::read(path) {
                Ok(text) if text.trim_ascii().is_empty() => "it is empty".to_owned(),
                Ok(_) => return None,
                Err(error) => error.to_string(),
            };
            Some(format!("{}: {why}", path.display()))
        });
        let all: Vec<String> = key_file_fault(&one.keys)
            .into_iter()
            .chain(secrets)
            .map(|why| format!("`ssf.transmitters` ({}): {why}", one.issuer))
            .collect();
        all
    });
    faults.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_transmitter_is_said() {
        #[derive(Deserialize)]
        struct Form {
            all: Vec<RawTransmitter>,
        }
        let faults = |text: &str| {
            let form: Form = toml::from_str(text).unwrap();
            let mut faults = Vec::new();
            RawTransmitter::check_all(form.all, &[], &[], &mut faults);
            faults.join("\n")
        };
        let keys = "[[all]]\nissuer = 'https://idp.example'\naudience = 'pdp'\njwks_file = 'x'\n";
        let good = format!("{keys}authorization_file = 'y'\n");
        assert_eq!(faults(&good), "");
        assert_eq!(
            faults(&format!("{keys}poll_url = 'https://idp.example/poll'")),
            ""
        );
        for (text, word) in [
            (keys.to_owned(), "authorization_file"),
            (
                format!("{good}jwks_uri = 'https://idp.example/keys'"),
                "one of them",
            ),
            (
                format!("{good}poll_url = 'http://idp.example/poll'"),
                "https",
            ),
            (format!("{good}poll_every_seconds = 5"), "need `poll_url`"),
            (
                format!("{good}poll_url = 'https://idp.example/poll'\npoll_every_seconds = 0"),
                "poll_every_seconds",
            ),
            (format!("{good}subject_type = ''"), "subject_type"),
            (
                format!("{good}speaks_for = ['https://other.example']"),
                "`speaks_for` `https://other.example` is none of `[[issuers]]`",
            ),
            (format!("{good}{good}"), "twice"),
        ] {
            let told = faults(&text);
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
