//! Settings that a caller can have of its own, from text to what they mean.

use std::sync::Arc;

use domain::Name;
use http::HeaderName;
use ipnet::IpNet;

use super::{CertificateFrom, Credentials, can_be_chosen};
use crate::forwarded::{AddressFrom, OriginalFrom, Trust};
use crate::host::Authority;
use crate::identity::Identity;
use crate::original::{self, Reading, Scheme};
use crate::path::EmptySegments;
use crate::reply::Statuses;
use crate::routes::raw::{RawCaller, RawGateway};
use crate::routes::{Case, check};

/// Who is trusted unless somebody says otherwise: a gateway on the same machine.
const THIS_MACHINE: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// What shared and own settings have in common, as text.
pub(super) struct Settings<'a> {
    trusted: Option<&'a [String]>,
    hops: Option<u8>,
    address_from: Option<&'a str>,
    original_from: Option<&'a str>,
    empty_segments: Option<&'a str>,
    method_override: Option<&'a str>,
    path_override: Option<&'a str>,
    statuses: Option<&'a str>,
    certificate_from: Option<&'a str>,
    certificate_type: Option<&'a str>,
    audiences: Option<&'a [String]>,
    origins: Option<&'a [String]>,
    headers_set: Option<&'a [String]>,
    case: Option<&'a str>,
}

macro_rules! settings_of {
    ($raw:ty) => {
        impl<'a> From<&'a $raw> for Settings<'a> {
            fn from(raw: &'a $raw) -> Self {
                Self {
                    trusted: raw.trusted.as_deref(),
                    hops: raw.hops,
                    address_from: raw.address_from.as_deref(),
                    original_from: raw.original_from.as_deref(),
                    empty_segments: raw.empty_segments.as_deref(),
                    method_override: raw.method_override.as_deref(),
                    path_override: raw.path_override.as_deref(),
                    statuses: raw.statuses.as_deref(),
                    certificate_from: raw.certificate_from.as_deref(),
                    certificate_type: raw.certificate_type.as_deref(),
                    audiences: raw.audiences.as_deref(),
                    origins: raw.origins.as_deref(),
                    headers_set: raw.headers_set.as_deref(),
                    case: raw.case.as_deref(),
                }
            }
        }
    };
}
settings_of!(RawGateway);
settings_of!(RawCaller);

/// The same, checked.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) trust: Trust,
    pub(super) reading: Reading,
    pub(super) statuses: Statuses,
    pub(super) credentials: Credentials,
    pub(super) case: Case,
    pub(super) identity: Arc<Identity>,
}

impl Shared {
    /// What holds where nothing is said. `certificate_type` is that of [`CERTIFICATE_TYPE`].
    pub(super) fn new(certificate_type: Name, identity: Identity) -> Self {
        let networks = THIS_MACHINE
            .iter()
            .filter_map(|network| network.parse().ok());
        Self {
            trust: Trust {
                networks: networks.collect(),
                ..Trust::default()
            },
            reading: Reading::default(),
            statuses: Statuses::default(),
            credentials: Credentials {
                audiences: Vec::new(),
                certificate_from: CertificateFrom::default(),
                certificate_type,
                origins: Vec::new(),
            },
            case: Case::default(),
            identity: Arc::new(identity),
        }
    }
}

impl<'a> Settings<'a> {
    pub(super) fn of<T>(raw: &'a T) -> Self
    where
        Self: From<&'a T>,
    {
        raw.into()
    }

    /// What is not said is as in `base`.
    pub(super) fn check(&self, place: &str, base: &Shared, faults: &mut Vec<String>) -> Shared {
        let mut word = |member: &str, text: Option<&str>, known: &[&str]| -> Option<usize> {
            let text = text?;
            let at = known.iter().position(|word| *word == text);
            if at.is_none() {
                let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
                faults.push(format!(
                    "`{place}.{member}`: `{text}` is none of {}",
                    known.join(", ")
                ));
            }
            at
        };
        let address = [
            ("any", AddressFrom::Any),
            ("forwarded", AddressFrom::Forwarded),
            ("x-forwarded-for", AddressFrom::XForwardedFor),
            ("x-real-ip", AddressFrom::XRealIp),
            ("connection", AddressFrom::Connection),
        ];
        let original = [
            ("any", OriginalFrom::Any),
            ("x-forwarded", OriginalFrom::XForwarded),
            ("x-original", OriginalFrom::XOriginal),
        ];
        let empty = [
            ("refuse", EmptySegments::Refuse),
            ("merge", EmptySegments::Merge),
        ];
        let cases = [
            ("refuse", Case::Refuse),
            ("exact", Case::Exact),
            ("fold", Case::Fold),
        ];
        let overrides = [("refuse", false), ("ignore", true)];
        let certificates = [
            ("client-cert", CertificateFrom::ClientCert),
            (
                "x-forwarded-client-cert",
                CertificateFrom::XForwardedClientCert,
            ),
            ("none", CertificateFrom::Nowhere),
        ];
        let statuses = [
            ("any", Statuses::Any),
            ("auth_request", Statuses::AuthRequest),
        ];
        macro_rules! choose {
            ($member:literal, $text:expr, $known:expr, $base:expr) => {{
                let words = $known.map(|(word, _)| word);
                let at = word($member, $text, &words);
                at.and_then(|at| $known.get(at))
                    .map_or($base, |(_, value)| *value)
            }};
        }
        let (trust, reading) = (&base.trust, &base.reading);
        let address_from = choose!(
            "address_from",
            self.address_from,
            address,
            trust.address_from
        );
        let original_from = choose!(
            "original_from",
            self.original_from,
            original,
            trust.original_from
        );
        let empty_segments = choose!(
            "empty_segments",
            self.empty_segments,
            empty,
            reading.empty_segments
        );
        let ignore_method_override = choose!(
            "method_override",
            self.method_override,
            overrides,
            reading.ignore_method_override
        );
        let ignore_path_override = choose!(
            "path_override",
            self.path_override,
            overrides,
            reading.ignore_path_override
        );
        let statuses = choose!("statuses", self.statuses, statuses, base.statuses);
        let case = choose!("case", self.case, cases, base.case);
        let known = &base.credentials;
        let certificate_from = choose!(
            "certificate_from",
            self.certificate_from,
            certificates,
            known.certificate_from
        );
        let certificate_type = match self.certificate_type.map(Name::new) {
            None => known.certificate_type.clone(),
            Some(Ok(kind)) => kind,
            Some(Err(why)) => {
                faults.push(format!("`{place}.certificate_type` {why}"));
                known.certificate_type.clone()
            }
        };
        let audiences = self
            .audiences
            .map_or_else(|| known.audiences.clone(), <[_]>::to_vec);
        if audiences.iter().any(String::is_empty) {
            faults.push(format!(
                "`{place}.audiences`: one of them is empty; name the services that tokens are for"
            ));
        }
        let origins = match self.origins {
            None => known.origins.clone(),
            Some(texts) => origins(texts, place, faults),
        };
        let identity = match self.headers_set {
            None => Arc::clone(&base.identity),
            Some(texts) => {
                let names = headers_set(texts, place, &base.identity, faults);
                Arc::new(base.identity.vouching(&names))
            }
        };
        if self.hops == Some(0) {
            faults.push(format!(
                "`{place}.hops`: the gateway itself is one; leave it out to go by `trusted`"
            ));
        }
        let networks = match self.trusted {
            None => trust.networks.clone(),
            Some(texts) => networks(texts, place, faults),
        };
        Shared {
            trust: Trust {
                networks,
                hops: self.hops.or(trust.hops),
                address_from,
                original_from,
            },
            reading: Reading {
                empty_segments,
                ignore_method_override,
                ignore_path_override,
            },
            statuses,
            credentials: Credentials {
                audiences,
                certificate_from,
                certificate_type,
                origins,
            },
            case,
            identity,
        }
    }
}

fn origins(texts: &[String], place: &str, faults: &mut Vec<String>) -> Vec<(Scheme, Authority)> {
    let mut origins = Vec::new();
    for text in texts {
        match original::origin(text) {
            Some(origin) => origins.push(origin),
            None => faults.push(format!(
                "`{place}.origins`: `{text}` is no origin, for example `https://app.example`"
            )),
        }
    }
    origins
}

fn networks(texts: &[String], place: &str, faults: &mut Vec<String>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(network) if network.prefix_len() == 0 => faults.push(format!(
                "`{place}.trusted`: `{text}` is everybody; name the networks of your gateways"
            )),
            Ok(network) => networks.push(network),
            Err(_) => faults.push(format!(
                "`{place}.trusted`: `{text}` is no network, for example `10.0.0.0/8` or \
                 `127.0.0.1/32`"
            )),
        }
    }
    networks
}

/// Headers of which the settings say that the gateway sets them or takes them off.
fn headers_set(
    texts: &[String],
    place: &str,
    identity: &Identity,
    faults: &mut Vec<String>,
) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for text in texts {
        let name = text.to_ascii_lowercase().parse::<HeaderName>().ok();
        match name.filter(|name| can_be_chosen(name) && !check::is_secret(name)) {
            Some(name) if identity.names().any(|own| own == name) => faults.push(format!(
                "`{place}.headers_set`: `{text}` is set by the engine (`gateway.identity`), so no \
                 gateway sets it"
            )),
            Some(name) => names.push(name),
            None => faults.push(format!(
                "`{place}.headers_set`: `{text}` is no header's name that can be chosen, for \
                 example `X-Device-Id`"
            )),
        }
    }
    names
}
