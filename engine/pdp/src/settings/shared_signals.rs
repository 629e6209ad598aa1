//! What the engine tells others: streams of shared signals (SSF 1.0), and alerts.

use std::path::PathBuf;
use std::time::Duration;

use domain::SecurityEventKind;
use serde::Deserialize;
use token::keys::Algorithm;

use crate::outbound::{Allowed, is_callable};
use crate::signing::SigningSettings;
use crate::telling::Severity;

/// Alert channels at most.
const CHANNELS_MAX: usize = 16;

/// How streams are kept.
#[derive(Clone, Debug)]
pub struct SsfSettings {
    /// The keys that security event tokens are signed with: a ring of their own.
    pub signing: SigningSettings,
    /// Whether a new stream hears of everybody, or of nobody but those that its receiver adds.
    pub hears_all: bool,
    /// The stored attribute of a subject that is its mail address and may be told; none: subjects
    /// are named as tokens name them.
    pub email_attribute: Option<String>,
    /// Tokens that are held for a stream that is paused, or whose receiver is away. Past it the
    /// oldest are let go, and the stream is told how many.
    pub held: u32,
    /// Streams of one client at most.
    pub streams: u32,
    /// Subjects that one stream names at most.
    pub subjects: u32,
    /// Between two verifications of a stream.
    pub min_verification_interval: Duration,
    /// A stream whose receiver has not shown itself for so long is paused; 0 for never.
    pub inactivity: Duration,
}

/// Where alerts go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertTarget {
    /// A URL, signed with a secret (`Portreeve-Signature`).
    Webhook {
        /// Where to.
        url: String,
        /// The secret, 16 bytes or more.
        secret_file: PathBuf,
    },
    /// Syslog over UDP (RFC 5424, RFC 5426).
    Syslog {
        /// Host and port.
        address: String,
    },
    /// The engine's standard output, a line each.
    Stdout,
}

/// An alert channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Where to.
    pub target: AlertTarget,
    /// Nothing that is less urgent.
    pub severity: Severity,
    /// Which kinds of security events.
    pub events: Vec<SecurityEventKind>,
}

impl AlertSettings {
    /// The channel's name: what waits for it in the store is kept under it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            AlertTarget::Webhook { url, .. } => format!("webhook {url}"),
            AlertTarget::Syslog { address } => format!("syslog {address}"),
            AlertTarget::Stdout => "stdout".to_owned(),
        }
    }
}

/// Checks what the settings say of streams.
pub(super) fn check(
    algorithm: &str,
    tokens: &SigningSettings,
    settings: SsfSettings,
    default_subjects: &str,
    faults: &mut Vec<String>,
) -> SsfSettings {
    let algorithm = Algorithm::named(algorithm).unwrap_or_else(|| {
        faults.push(format!(
            "`ssf.algorithm` is `{algorithm}`: RS256, which every receiver has, ES256 or EdDSA"
        ));
        Algorithm::Rs256
    });
    if !["ALL", "NONE"].contains(&default_subjects) {
        faults.push(format!(
            "`ssf.default_subjects` is `{default_subjects}`: \"ALL\", or \"NONE\" where receivers \
             name whom they hear of"
        ));
    }
    for (name, value, most) in [
        ("held", settings.held, 10_000_000),
        ("streams", settings.streams, 1000),
        ("subjects", settings.subjects, 100_000),
    ] {
        if !(1..=most).contains(&value) {
            faults.push(format!("`ssf.{name}` is {value}: 1 to {most}"));
        }
    }
    if settings.min_verification_interval > Duration::from_secs(3600) {
        faults.push("`ssf.min_verification_interval`: 0 to an hour".to_owned());
    }
    let inactivity = settings.inactivity;
    if !inactivity.is_zero() && inactivity < Duration::from_secs(3600) {
        faults.push("`ssf.inactivity` must be an hour or more; 0 for never".to_owned());
    }
    let mut signing = tokens.clone();
    signing.schedule.algorithm = algorithm;
    SsfSettings {
        signing,
        ..settings
    }
}

/// A channel as text holds it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlert {
    kind: String,
    url: Option<String>,
    secret_file: Option<PathBuf>,
    address: Option<String>,
    #[serde(default = "medium")]
    severity: String,
    events: Option<Vec<String>>,
}

fn medium() -> String {
    "medium".to_owned()
}

impl RawAlert {
    pub(super) fn check_all(
        all: Vec<Self>,
        allow: &[Allowed],
        faults: &mut Vec<String>,
    ) -> Vec<AlertSettings> {
        if all.len() > CHANNELS_MAX {
            faults.push(format!("`alerts`: {CHANNELS_MAX} channels at most"));
        }
        let mut channels: Vec<AlertSettings> = Vec::new();
        for raw in all {
            let Some(channel) = raw.check(allow, faults) else {
                continue;
            };
            if channels.iter().any(|known| known.name() == channel.name()) {
                faults.push(format!("`alerts`: `{}` is there twice", channel.name()));
            }
            channels.push(channel);
        }
        channels
    }

    fn check(self, allow: &[Allowed], faults: &mut Vec<String>) -> Option<AlertSettings> {
        let before = faults.len();
        let target = self.target(allow, faults);
        let severity = Severity::from_word(&self.severity);
        if severity.is_none() {
            faults.push(format!(
                "`alerts.severity` is `{}`: low, medium or high",
                self.severity
            ));
        }
        let words = self.events.unwrap_or_else(|| vec!["alert".to_owned()]);
        let mut events = Vec::new();
        for word in &words {
            match SecurityEventKind::from_word(word) {
                Some(kind) => events.push(kind),
                None => faults.push(format!(
                    "`alerts.events`: `{word}` is none of {}",
                    SecurityEventKind::ALL
                        .map(SecurityEventKind::as_str)
                        .join(", ")
                )),
            }
        }
        (faults.len() == before).then_some(AlertSettings {
            target: target?,
            severity: severity?,
            events,
        })
    }

    fn target(&self, allow: &[Allowed], faults: &mut Vec<String>) -> Option<AlertTarget> {
        match (
            self.kind.as_str(),
            &self.url,
            &self.secret_file,
            &self.address,
        ) {
            ("webhook", Some(url), Some(secret_file), None) => {
                if !is_callable(url, allow) {
                    faults.push(format!(
                        "`alerts.url`: `{url}` is no https URL; plain http goes only to who is \
                         named in `limits.outbound_allow`"
                    ));
                }
                Some(AlertTarget::Webhook {
                    url: url.clone(),
                    secret_file: secret_file.clone(),
                })
            }
            ("syslog", None, None, Some(address)) => {
                let host = address.strip_prefix("udp://");
                let Some(host) = host.filter(|host| Allowed::parse(host).is_some()) else {
                    faults.push(format!(
                        "`alerts.address`: `{address}` is not `udp://host:port`, for example \
                         \"udp://127.0.0.1:514\""
                    ));
                    return None;
                };
                Some(AlertTarget::Syslog {
                    address: host.to_owned(),
                })
            }
            ("stdout", None, None, None) => Some(AlertTarget::Stdout),
            _ => {
                faults.push(
                    "`alerts`: each has `kind = \"webhook\"` with `url` and `secret_file`, \
                     `kind = \"syslog\"` with `address`, or `kind = \"stdout\"`"
                        .to_owned(),
                );
                None
            }
        }
    }
}
