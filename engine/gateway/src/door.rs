//! `[gateway]`, checked: everything that a gateway's question meets.

mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::Name;
use http::{HeaderName, header};

use crate::forwarded::Trust;
use crate::host::Authority;
use crate::identity::{self, Identity, Says};
use crate::original::{Reading, Scheme};
use crate::reply::Statuses;
use crate::reply::cookie::CookieName;
use crate::reply::login::{Login, ReturnHost};
use crate::routes::raw::{RawGateway, RawLogin};
use crate::routes::{Route, Routes, StepUp, check, doubts, reach};
use settings::{Settings, Shared};

/// Headers that make a request what it is: no text of ours has a place there.
const PROTOCOL: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::SET_COOKIE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// The session cookie unless somebody says otherwise.
const COOKIE: &str = "__Host-portreeve";
/// The type of those whom a certificate names, unless somebody says otherwise.
const CERTIFICATE_TYPE: &str = "Service";

/// The checked section.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Door,
    callers: BTreeMap<String, Door>,
    warnings: Vec<String>,
}

/// What counts as a client's credential, beside what is verified of each.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Audiences that tokens of ours may have, beside the engine itself.
    pub audiences: Vec<String>,
    /// Where the client's certificate stands.
    pub certificate_from: CertificateFrom,
    /// The type of those whom a certificate names.
    pub certificate_type: Name,
    /// Further origins whose pages may change something with the session cookie.
    pub origins: Vec<(Scheme, Authority)>,
}

impl Credentials {
    /// Whether a token of ours for this audience counts.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|known| known == audience)
    }
}

/// In which header the gateway passes the client's certificate on. One alone: what it does not
/// write itself, it may let through as the client wrote it. Over gRPC Envoy tells of it beside the
/// headers, which counts whatever is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateFrom {
    /// `Client-Cert` (RFC 9440).
    ClientCert,
    /// `X-Forwarded-Client-Cert`, as Envoy has it.
    XForwardedClientCert,
    /// None: unless somebody says otherwise, since most gateways pass on the client's own header.
    #[default]
    Nowhere,
}

/// What holds for one caller.
#[derive(Clone, Debug)]
pub struct Door {
    /// Whom to believe about clients.
    pub trust: Trust,
    /// How strictly requests are read.
    pub reading: Reading,
    /// Which statuses the gateway can pass on.
    pub statuses: Statuses,
    /// What it lets count as a client's credential.
    pub credentials: Credentials,
    /// Its routes.
    pub routes: Routes,
    /// Identity headers.
    pub identity: Arc<Identity>,
    /// Where browsers go for a step-up.
    pub login: Option<Arc<Login>>,
    /// The session cookie.
    pub cookie: CookieName,
}

/// Everything that is wrong with `[gateway]`: one sentence each, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct GatewayFaults(pub Vec<String>);

impl Gateway {
    /// What holds for a caller, by its key's name. None: for whoever has nothing of their own.
    #[must_use]
    pub fn door(&self, caller: Option<&str>) -> &Door {
        caller
            .and_then(|caller| self.callers.get(caller))
            .unwrap_or(&self.shared)
    }

    /// What is allowed and hardly meant: one sentence each, with its place.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Callers with something of their own.
    pub fn callers(&self) -> impl Iterator<Item = &str> {
        self.callers.keys().map(String::as_str)
    }
}

impl RawGateway {
    /// Checks the section.
    ///
    /// # Errors
    /// With all that is wrong.
    pub fn check(self) -> Result<Gateway, GatewayFaults> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        let identity = self.identity(&mut faults);
        let login = self
            .login
            .as_ref()
            .and_then(|login| login.check(&mut faults));
        let login = login.map(Arc::new);
        let cookie = self.cookie.as_deref().unwrap_or(COOKIE);
        let cookie = CookieName::parse(cookie).map_err(|why| {
            faults.push(format!("`gateway.cookie`: {why}"));
        });
        let Ok(service) = Name::new(CERTIFICATE_TYPE) else {
            // Never: it is a name.
            return Err(GatewayFaults(faults));
        };
        let base = Shared::new(service, identity);
        let shared = Settings::of(&self).check("gateway", &base, &mut faults);
        let mut said = check::Said {
            faults: &mut faults,
            warnings: &mut warnings,
        };
        let read = |raw: &[_], place: &str, settings: &Shared, said: &mut check::Said<'_>| {
            let routes = check::routes(raw, place, &settings.identity, settings.case, said);
            redirects(&routes, login.is_some(), said.faults);
            routes
        };
        let place = "gateway.routes";
        let routes = read(&self.routes, place, &shared, &mut said);
        // Whoever says how methods are read has thought of it.
        let says_methods = self.method_override.is_some();
        if !says_methods {
            let doubt = doubts::by_form(&routes, shared.case, place);
            said.warnings.extend(doubt);
        }

        let mut own = Vec::new();
        for (name, raw) in &self.callers {
            let place = format!("gateway.callers.{name}");
            let settings = Settings::of(raw).check(&place, &shared, said.faults);
            let own_place = format!("{place}.routes");
            let own_routes = read(&raw.routes, &own_place, &settings, &mut said);
            if !says_methods && raw.method_override.is_none() {
                let doubt = doubts::by_form(&own_routes, settings.case, &own_place);
                said.warnings.extend(doubt);
            }
            let others: &[_] = if raw.only_own_routes { &[] } else { &routes };
            if raw.headers_set.is_some() {
                check::vouched(others, &settings.identity, &place, said.faults);
            }
            let table: Vec<_> = own_routes.iter().chain(others).cloned().collect();
            reach::across(
                &table,
                own_routes.len(),
                settings.case,
                &place,
                said.warnings,
            );
            own.push((name.clone(), settings, table));
        }
        let (Ok(cookie), true) = (cookie, faults.is_empty()) else {
            return Err(GatewayFaults(faults));
        };
        let door = |settings: Shared, routes| Door {
            trust: settings.trust,
            reading: settings.reading,
            statuses: settings.statuses,
            credentials: settings.credentials,
            routes: Routes::new(routes, settings.case),
            identity: settings.identity,
            login: login.clone(),
            cookie: cookie.clone(),
        };
        let callers = own
            .into_iter()
            .map(|(name, settings, table)| (name, door(settings, table)))
            .collect();
        Ok(Gateway {
            shared: door(shared, routes),
            callers,
            warnings,
        })
    }

    fn identity(&self, faults: &mut Vec<String>) -> Identity {
        let mut headers: Vec<(HeaderName, Says)> = Vec::new();
        let mut name = |place: &str, text: &str| {
            let name = text.to_ascii_lowercase().parse::<HeaderName>().ok();
            if !name.as_ref().is_some_and(can_be_chosen) {
                faults.push(format!(
                    "`{place}`: `{text}` is no header's name that can be chosen, for example `X-User-Id`"
                ));
            }
            name
        };
        let mut wrong = Vec::new();
        for (header, says) in &self.identity {
            let Some(header) = name("gateway.identity", header) else {
                continue;
            };
            let says = match says.as_str() {
                "subject.id" => Says::SubjectId,
                "subject.type" => Says::SubjectType,
                other => match other.strip_prefix("claim.").filter(|path| !path.is_empty()) {
                    Some(path) => Says::Claim(path.into()),
                    None => {
                        wrong.push(format!(
                            "`gateway.identity.{header}`: `{other}` is none of `subject.id`, \
                             `subject.type`, `claim.NAME`"
                        ));
                        continue;
                    }
                },
            };
            if headers.iter().any(|(known, _)| *known == header) {
                wrong.push(format!(
                    "`gateway.identity.{header}`: is there in another case already"
                ));
            }
            headers.push((header, says));
        }
        let strip: Vec<HeaderName> = self
            .strip
            .iter()
            .filter_map(|text| name("gateway.strip", text))
            .collect();
        faults.append(&mut wrong);
        Identity::new(headers, &strip, &[])
    }
}

/// Whether a header is neither HTTP's nor the engine's.
fn can_be_chosen(name: &HeaderName) -> bool {
    !PROTOCOL.contains(name) && identity::is_free(name)
}

/// A route cannot send browsers to a page that nobody named.
fn redirects(routes: &[Arc<Route>], has_login: bool, faults: &mut Vec<String>) {
    let first = routes
        .iter()
        .find(|route| route.step_up == StepUp::Redirect);
    if let Some(route) = first.filter(|_| !has_login) {
        faults.push(format!(
            "`{}.step_up`: `redirect` needs `gateway.login`, with `url` and `return_hosts`",
            route.place
        ));
    }
}

impl RawLogin {
    fn check(&self, faults: &mut Vec<String>) -> Option<Login> {
        let mut hosts = Vec::new();
        for text in &self.return_hosts {
            match ReturnHost::parse(text) {
                Some(host) => hosts.push(host),
                None => faults.push(format!(
                    "`gateway.login.return_hosts`: `{text}` is no host, for example \
                     `shop.example`, `*.shop.example` or `shop.example:8443`"
                )),
            }
        }
        if self.return_hosts.is_empty() {
            faults.push(
                "`gateway.login.return_hosts`: is empty, so that nobody could come back; name the \
                 hosts that the gateway serves"
                    .to_owned(),
            );
        }
        let parameter = self.return_parameter.as_deref().unwrap_or("return_to");
        Login::new(&self.url, parameter, hosts)
            .map_err(|why| faults.push(format!("`gateway.login`: {why}")))
            .ok()
    }
}
