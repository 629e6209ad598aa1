//! Of whom a stream hears: everybody but those who were taken out, or nobody but those who were
//! added (SSF 1.0 §8.1.3). Pure.

use std::collections::HashSet;

use ssf::Subject;
use ssf::subject::Complex;

/// The subjects that a stream names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subjects {
    added: Named,
    removed: Named,
}

/// Subjects by their form: plain names are looked up, complex ones are gone through.
#[derive(Clone, Debug, Default)]
struct Named {
    plain: HashSet<String>,
    complex: Vec<Complex>,
}

/// A plain name as one text. Mail addresses are one whatever their case: see `Subject::matches`.
fn written(plain: &Subject) -> Option<String> {
    let plain = match plain {
        Subject::Email { email } => &Subject::Email {
            email: email.to_lowercase(),
        },
        plain => plain,
    };
    serde_json::to_string(plain).ok()
}

impl Named {
    fn put(&mut self, subject: Subject) {
        match subject {
            Subject::Complex(complex) => self.complex.push(*complex),
            Subject::Aliases { identifiers } => {
                self.plain.extend(identifiers.iter().filter_map(written));
            }
            plain => self.plain.extend(written(&plain)),
        }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.complex.is_empty()
    }

    fn has(&self, name: &Subject) -> bool {
        match name {
            Subject::Aliases { identifiers } => identifiers.iter().any(|name| self.has(name)),
            plain => written(plain).is_some_and(|name| self.plain.contains(&name)),
        }
    }

    /// Whether one of them may be who this is about.
    fn may_be(&self, who: &Complex) -> bool {
        let by_name = who.user.iter().any(|user| self.has(user));
        let whole = Subject::Complex(Box::new(who.clone()));
        by_name
            || self
                .complex
                .iter()
                .any(|one| Subject::Complex(Box::new(one.clone())).matches(&whole))
    }

    /// Whether one of them surely is who this is about: what it names is all named there as well.
    /// To be silent for one too many would leave a receiver with a session that has ended.
    fn surely_is(&self, who: &Complex) -> bool {
        let by_name = who.user.iter().any(|user| self.has(user));
        let covers = |one: &Complex| {
            let pairs = [
                (&one.user, &who.user),
                (&one.session, &who.session),
                (&one.device, &who.device),
            ];
            let others = [&one.application, &one.tenant, &one.org_unit, &one.group];
            others.iter().all(|facet| facet.is_none())
                && one.others.is_empty()
                && pairs.iter().all(|(named, there)| match (named, there) {
                    (None, _) => true,
                    (Some(named), Some(there)) => named.matches(there),
                    (Some(_), None) => false,
                })
        };
        by_name || self.complex.iter().any(covers)
    }
}

impl Subjects {
    /// Those of the store's rows: the subject and whether it was added.
    pub(crate) fn new(rows: impl IntoIterator<Item = (Subject, bool)>) -> Self {
        let mut all = Self::default();
        for (subject, is_added) in rows {
            if is_added {
                all.added.put(subject);
            } else {
                all.removed.put(subject);
            }
        }
        all
    }

    /// Whether the stream hears of this one, given by all its names.
    pub(crate) fn hear_of(&self, hears_all: bool, who: &Complex) -> bool {
        if hears_all {
            self.removed.is_empty() || !self.removed.surely_is(who)
        } else {
            self.added.may_be(who)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subject(value: Value) -> Subject {
        serde_json::from_value(value).unwrap()
    }

    fn mail(name: &str) -> Value {
        json!({"format": "email", "email": name})
    }

    fn opaque(id: &str) -> Value {
        json!({"format": "opaque", "id": id})
    }

    #[test]
    fn a_stream_hears_of_whom_it_named_and_is_silent_only_of_whom_it_surely_named() {
        let user = json!({"format": "aliases", "identifiers": [
            {"format": "iss_sub", "iss": "https://pdp.example", "sub": "User/alice"},
            mail("alice@example.com")]});
        let who: Complex =
            serde_json::from_value(json!({"user": user, "session": opaque("ses_1")})).unwrap();
        for (named, heard_when_added, silent_when_removed) in [
            (mail("Alice@Example.com"), true, true),
            (
                json!({"format": "iss_sub", "iss": "https://pdp.example", "sub": "User/alice"}),
                true,
                true,
            ),
            (mail("bob@example.com"), false, false),
            (opaque("ses_1"), false, false),
            (
                json!({"format": "complex", "session": opaque("ses_1")}),
                true,
                true,
            ),
            (
                json!({"format": "complex", "session": opaque("ses_2")}),
                false,
                false,
            ),
            (
                json!({"format": "complex", "user": mail("alice@example.com"), "session": opaque("ses_2")}),
                false,
                false,
            ),
            // On which device it was is not known: it may be that one, and surely is not.
            (
                json!({"format": "complex", "user": mail("alice@example.com"), "device": opaque("d")}),
                true,
                false,
            ),
            (
                json!({"format": "complex", "user": mail("alice@example.com"), "tenant": opaque("t")}),
                true,
                false,
            ),
            (
                json!({"format": "complex", "user": mail("alice@example.com"), "brand_new": opaque("t")}),
                true,
                false,
            ),
        ] {
            let added = Subjects::new([(subject(named.clone()), true)]);
            assert_eq!(added.hear_of(false, &who), heard_when_added, "{named}");
            assert!(added.hear_of(true, &who));
            let removed = Subjects::new([(subject(named.clone()), false)]);
            assert_eq!(removed.hear_of(true, &who), !silent_when_removed, "{named}");
            assert!(!removed.hear_of(false, &who));
        }
    }
}
