//! `[[issuers]]`: whose tokens are believed besides our own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::EntityRef;
use serde::Deserialize;
use token::Refusal;
use token::claims::is_scope_word;

use super::NotBelieved;
use crate::hearing::SubjectNames;
use crate::outbound::{Allowed, is_callable};

/// Longest life of a foreign token that may be set, seconds.
pub(crate) const LIFE_MAX_SECONDS: u64 = 24 * 3600;
/// Longest time for which keys may be kept while their source fails, seconds.
const STALE_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// An issuer, as the settings have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawIssuer {
    issuer: String,
    jwks_uri: Option<String>,
    jwks_file: Option<PathBuf>,
    audience: String,
    #[serde(default = "kinds")]
    typ: Vec<String>,
    #[serde(default = "subject_type")]
    subject_type: String,
    #[serde(default = "subject_claim")]
    subject_claim: String,
    #[serde(default)]
    azp: Vec<String>,
    #[serde(default)]
    scopes: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default = "hour")]
    life_max_seconds: u64,
    #[serde(default = "hour")]
    stale_max_seconds: u64,
}

fn kinds() -> Vec<String> {
    ["at+jwt", "JWT"].map(str::to_owned).into()
}

fn subject_type() -> String {
    "User".to_owned()
}

fn subject_claim() -> String {
    "sub".to_owned()
}

const fn hour() -> u64 {
    3600
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At this URL.
    Url(String),
    /// In this file.
    File(PathBuf),
}

/// An issuer, checked.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Its name, letter for letter as `iss` has it.
    pub issuer: String,
    /// Where its keys are.
    pub keys: Source,
    /// What it calls us (`aud`).
    pub audience: String,
    /// Kinds of token that are taken (`typ`).
    pub kinds: Vec<String>,
    /// The type of the subjects that it speaks of. Two issuers that share one share its people.
    pub subject_type: SubjectNames,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// Its clients whose tokens are taken although they are for others as well (`azp`).
    pub parties: Vec<String>,
    /// What each of its scopes is here. None: the same word.
    pub scopes: Option<BTreeMap<String, Vec<String>>>,
    /// Longest life of its tokens, seconds.
    pub life_max_seconds: u64,
    /// For how long its keys are trusted while they cannot be fetched, seconds.
    pub stale_max_seconds: u64,
}

impl IssuerSettings {
    /// What scopes of this issuer are here. Where the settings say what its words mean, one that
    /// they leave out means nothing.
    pub(super) fn translated(&self, scope: &str) -> String {
        let Some(meanings) = &self.scopes else {
            return scope.to_owned();
        };
        let ours = scope.split(' ').filter_map(|word| meanings.get(word));
        let mut words: Vec<&str> = ours.flatten().map(String::as_str).collect();
        words.sort_unstable();
        words.dedup();
        words.join(" ")
    }
}

impl RawIssuer {
    /// Checks all issuers, and tells all that is wrong.
    pub(crate) fn check_all(
        raw: Vec<Self>,
        allowed: &[Allowed],
        faults: &mut Vec<String>,
    ) -> Vec<IssuerSettings> {
        let mut checked: Vec<IssuerSettings> = Vec::new();
        for (number, issuer) in raw.into_iter().enumerate() {
            let place = format!("`issuers` {} ({})", number + 1, issuer.issuer);
            if checked.iter().any(|other| other.issuer == issuer.issuer) {
                faults.push(format!("{place}: named twice"));
            }
            match issuer.check(allowed) {
                Ok(issuer) => checked.push(issuer),
                Err(why) => faults.extend(why.into_iter().map(|why| format!("{place}: {why}"))),
            }
        }
        checked
    }

    fn check(self, allowed: &[Allowed]) -> Result<IssuerSettings, Vec<String>> {
        let mut faults = Vec::new();
        let keys = match (self.jwks_uri, self.jwks_file) {
            (Some(url), None) => {
                if !is_callable(&url, allowed) {
                    faults.push(format!(
                        "`jwks_uri` `{url}` must be https, or its host:port named in \
                         `limits.outbound_allow`"
                    ));
                }
                Source::Url(url)
            }
            (None, Some(file)) => Source::File(file),
            _ => {
                faults.push("set `jwks_uri` or `jwks_file`, one of them".to_owned());
                Source::File(PathBuf::new())
            }
        };
        for (name, text) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("subject_claim", &self.subject_claim),
        ] {
            if text.is_empty() || text.len() > 512 {
                faults.push(format!("`{name}` is empty or longer than 512 bytes"));
            }
        }
        if self.typ.is_empty() || self.typ.iter().any(String::is_empty) {
            faults.push("`typ` names no kind of token, for example [\"at+jwt\"]".to_owned());
        }
        // What says something else than who somebody is never opens a door.
        let others = ["dpop+jwt", "secevent+jwt", "logout+jwt", "statuslist+jwt"];
        for typ in &self.typ {
            if others.contains(&typ.to_ascii_lowercase().trim_start_matches("application/")) {
                faults.push(format!("`typ` `{typ}` is not that of an access token"));
            }
        }
        if self.azp.iter().any(String::is_empty) {
            faults.push("`azp` has a client without a name".to_owned());
        }
        let ours = self.scopes.iter().flat_map(BTreeMap::values).flatten();
        for word in ours.filter(|word| !is_scope_word(word)) {
            faults.push(format!("`scopes` gives `{word}`, which is no scope"));
        }
        let subject_type = SubjectNames::read(&self.subject_type);
        if let Err(why) = &subject_type {
            faults.push(format!("`subject_type` {why}"));
        }
        for (name, value, most) in [
            ("life_max_seconds", self.life_max_seconds, LIFE_MAX_SECONDS),
            (
                "stale_max_seconds",
                self.stale_max_seconds,
                STALE_MAX_SECONDS,
            ),
        ] {
            if !(1..=most).contains(&value) {
                faults.push(format!("`{name}` is {value}: 1 to {most}"));
            }
        }
        match subject_type {
            Ok(subject_type) if faults.is_empty() => Ok(IssuerSettings {
                issuer: self.issuer,
                keys,
                audience: self.audience,
                kinds: self.typ,
                subject_type,
                subject_claim: self.subject_claim,
                parties: self.azp,
                scopes: self.scopes,
                life_max_seconds: self.life_max_seconds,
                stale_max_seconds: self.stale_max_seconds,
            }),
            _ => Err(faults),
        }
    }
}

impl IssuerSettings {
    /// Whom it calls by this name.
    pub(super) fn subject(&self, sub: &str) -> Result<EntityRef, NotBelieved> {
        match &self.subject_type {
            SubjectNames::Of(kind) => {
                EntityRef::new(kind.as_str(), sub).map_err(NotBelieved::Subject)
            }
            SubjectNames::Typed => token::claims::parse_subject(sub)
                .ok_or_else(|| Refusal::Malformed("subject").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Form {
            issuers: Vec<RawIssuer>,
        }
        let form: Form = toml::from_str(text).unwrap();
        let mut faults = Vec::new();
        RawIssuer::check_all(form.issuers, &[], &mut faults);
        faults
    }

    #[test]
    fn scopes_of_an_issuer_are_words_of_its_own_where_the_settings_say_so() {
        let settings = |more: &str| {
            let text = format!(
                "issuer = 'https://idp.example'\naudience = 'pdp'\njwks_file = 'x'\n{more}"
            );
            let raw: RawIssuer = toml::from_str(&text).unwrap();
            raw.check(&[]).unwrap()
        };
        let same = settings("");
        let other = settings("scopes = { 'docs.ro' = ['read'], 'docs.rw' = ['read', 'write'] }");
        let none = settings("scopes = {}");
        for (scope, as_it_is, mapped) in [
            ("read", "read", ""),
            ("docs.ro", "docs.ro", "read"),
            (
                "docs.rw docs.ro write2",
                "docs.rw docs.ro write2",
                "read write",
            ),
            ("", "", ""),
        ] {
            assert_eq!(same.translated(scope), as_it_is);
            assert_eq!(other.translated(scope), mapped);
            assert_eq!(none.translated(scope), "");
        }
    }

    #[test]
    fn what_is_wrong_with_an_issuer_is_said() {
        let good = "[[issuers]]\nissuer = 'https://idp.example'\naudience = 'pdp'\n";
        let url = format!("{good}jwks_uri = 'https://idp.example/keys'\n");
        assert_eq!(faults(&url), Vec::<String>::new());
        for (text, word) in [
            (good.to_owned(), "one of them"),
            (format!("{url}jwks_file = 'x'\n"), "one of them"),
            (
                format!("{good}jwks_uri = 'http://idp.example/keys'"),
                "https",
            ),
            (format!("{good}jwks_uri = 'x'"), "https"),
            (format!("{url}typ = []"), "`typ`"),
            (format!("{url}typ = ['application/DPoP+jwt']"), "`typ`"),
            (format!("{url}azp = ['']"), "`azp`"),
            (format!("{url}scopes = {{ a = ['b c'] }}"), "`scopes`"),
            (format!("{url}life_max_seconds = 0"), "life_max_seconds"),
            (format!("{url}subject_type = ''"), "subject_type"),
            (format!("{url}{url}"), "twice"),
        ] {
            let told = faults(&text).join("\n");
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
