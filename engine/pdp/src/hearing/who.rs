//! Whom a signal is about: its subject identifier, in our words.

use domain::EntityRef;
use ssf::Subject;
use ssf::subject::Complex;

use super::{SubjectNames, Transmitter};
use crate::app::App;
use crate::sessions::name::is_id;

/// What `acct` URIs begin with (RFC 7565); behind it stands what looks like a mail address.
const ACCT: &str = "acct:";

/// Whom a signal is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Who {
    /// Subjects that are known by the name.
    pub(super) subjects: Vec<EntityRef>,
    /// A session, by the name that the transmitter has for it.
    pub(super) session: Option<String>,
    /// A device.
    pub(super) device: Option<String>,
    /// Somebody is named, whether or not it is anybody here.
    pub(super) names_user: bool,
    /// A part of it cannot be held against anything here (an application, a tenant, a group, a
    /// session in a format that is not known): what it narrows would be done to more than is meant,
    /// so it is done to none.
    pub(super) is_beyond_us: bool,
}

/// Finds out whom a signal is about. A transmitter names subjects by its own names or by their
/// mail addresses; what another calls them means something only where tokens of that other are
/// believed as well, and the transmitter may speak for it. Of whom the directory does not admit
/// nobody can be hurt, and names made up would fill the store.
pub(super) fn resolve(app: &App, transmitter: &Transmitter, subject: &Subject) -> Who {
    let mut who = named(app, transmitter, subject);
    let snapshot = app.live.current();
    who.subjects.retain(|subject| {
        transmitter.settings.speaks_of(subject)
            && snapshot.directory.admits(&snapshot.policies, subject)
    });
    who
}

fn named(app: &App, transmitter: &Transmitter, subject: &Subject) -> Who {
    match subject {
        Subject::Complex(complex) => Who {
            subjects: complex
                .user
                .as_ref()
                .map(|user| subjects(app, transmitter, user))
                .unwrap_or_default(),
            session: complex.session.as_ref().and_then(word),
            device: complex.device.as_ref().and_then(word),
            names_user: complex.user.is_some(),
            is_beyond_us: is_beyond_us(complex),
        },
        Subject::Opaque { id } if is_id(id) => Who {
            session: Some(id.clone()),
            ..Who::default()
        },
        Subject::Opaque { id } => Who {
            device: Some(id.clone()),
            ..Who::default()
        },
        plain => Who {
            subjects: subjects(app, transmitter, plain),
            names_user: true,
            ..Who::default()
        },
    }
}

/// Whether a facet is there that means nothing here, be it for its name or for its format. A name
/// with nothing behind it is no facet.
fn is_beyond_us(complex: &Complex) -> bool {
    let unread = [&complex.session, &complex.device]
        .into_iter()
        .flatten()
        .any(|facet| word(facet).is_none());
    let known = [
        &complex.application,
        &complex.tenant,
        &complex.org_unit,
        &complex.group,
    ];
    unread
        || known.into_iter().any(Option::is_some)
        || complex.others.values().any(|facet| !facet.is_null())
}

/// The one word of a plain identifier.
fn word(subject: &Subject) -> Option<String> {
    let word = match subject {
        Subject::Opaque { id } => id,
        Subject::IssSub { sub, .. } => sub,
        Subject::Account { uri } | Subject::Uri { uri } => uri,
        Subject::Email { email } => email,
        Subject::PhoneNumber { phone_number } => phone_number,
        Subject::Did { url } => url,
        Subject::JwtId { jti, .. } => jti,
        Subject::Aliases { identifiers } => return identifiers.iter().find_map(word),
        Subject::Complex(_) | Subject::Unknown => return None,
    };
    Some(word.clone())
}

/// The subjects that a plain identifier names.
fn subjects(app: &App, transmitter: &Transmitter, subject: &Subject) -> Vec<EntityRef> {
    let settings = &transmitter.settings;
    let one = |sub: &str| match &settings.names {
        SubjectNames::Of(kind) => EntityRef::new(kind.as_str(), sub).ok(),
        SubjectNames::Typed => token::claims::parse_subject(sub),
    };
    match subject {
        Subject::IssSub { iss, sub } if *iss == settings.issuer => one(sub).into_iter().collect(),
        Subject::IssSub { iss, sub } if settings.speaks_for.contains(iss) => {
            app.issuers.subject(iss, sub).into_iter().collect()
        }
        Subject::Email { email } => by_email(app, transmitter, email),
        Subject::Account { uri } => match uri.strip_prefix(ACCT) {
            Some(address) => by_email(app, transmitter, address),
            None => Vec::new(),
        },
        Subject::Aliases { identifiers } => {
            let mut all: Vec<EntityRef> = identifiers
                .iter()
                .flat_map(|name| subjects(app, transmitter, name))
                .collect();
            all.sort_by(|one, other| (&one.kind, &one.id).cmp(&(&other.kind, &other.id)));
            all.dedup();
            all
        }
        _ => Vec::new(),
    }
}

fn by_email(app: &App, transmitter: &Transmitter, email: &str) -> Vec<EntityRef> {
    let settings = &transmitter.settings;
    let Some(attribute) = &settings.email_attribute else {
        return Vec::new();
    };
    let kind = match &settings.names {
        SubjectNames::Of(kind) => Some(kind.as_str()),
        SubjectNames::Typed => None,
    };
    let snapshot = app.live.current();
    snapshot.directory.with_text(kind, attribute, email)
}
