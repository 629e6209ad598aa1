//! Searches: AuthZEN 1.0 §8. Who may, on what, and what may be done.

use serde::Deserialize;

use crate::json::{Object, WrittenObject, object};
use crate::request::{Incoming, Malformed, RawAction, RawParty, RawQuestion, read};

/// What stands where the id or the name of what is sought would stand.
const SOUGHT: &str = "?";

/// What a search looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sought {
    /// Who may do this to that?
    Subject,
    /// What may they do this to?
    Resource,
    /// What may they do to that?
    Action,
}

impl Sought {
    /// The word in paths and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Resource => "resource",
            Self::Action => "action",
        }
    }
}

/// A search as it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// What is sought.
    pub sought: Sought,
    /// The question; the id, or the name, of what is sought means nothing.
    pub incoming: Incoming,
    /// Which page is wanted.
    pub page: PageWish,
    /// Everything that was sent but the page, in one form whatever its order: what a page's token
    /// is bound to.
    pub canonical: Vec<u8>,
}

/// `page` of a request (AuthZEN 1.0 §8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageWish {
    /// The `next_token` of the page before; none for the first.
    pub token: Option<String>,
    /// At most so many results.
    pub limit: Option<u64>,
}

/// The party that is sought: its type, and what is said of whoever it is. An id is passed over.
#[derive(Deserialize)]
struct RawSought {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    properties: Option<Object>,
}

impl From<RawSought> for RawParty {
    fn from(sought: RawSought) -> Self {
        Self {
            kind: sought.kind,
            id: SOUGHT.to_owned(),
            properties: sought.properties,
        }
    }
}

#[derive(Deserialize)]
struct ForSubjects {
    #[serde(default, deserialize_with = "object")]
    subject: Option<RawSought>,
    #[serde(default, deserialize_with = "object")]
    action: Option<RawAction>,
    #[serde(default, deserialize_with = "object")]
    resource: Option<RawParty>,
    context: Option<Object>,
}

#[derive(Deserialize)]
struct ForResources {
    #[serde(default, deserialize_with = "object")]
    subject: Option<RawParty>,
    #[serde(default, deserialize_with = "object")]
    action: Option<RawAction>,
    #[serde(default, deserialize_with = "object")]
    resource: Option<RawSought>,
    context: Option<Object>,
}

#[derive(Deserialize)]
struct ForActions {
    #[serde(default, deserialize_with = "object")]
    subject: Option<RawParty>,
    #[serde(default, deserialize_with = "object")]
    resource: Option<RawParty>,
    context: Option<Object>,
}

#[derive(Deserialize)]
struct Paged {
    #[serde(default, deserialize_with = "object")]
    page: Option<RawPage>,
}

#[derive(Default, Deserialize)]
struct RawPage {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    /// Of the form that AuthZEN wants; the engine knows none.
    #[serde(default, rename = "properties")]
    _properties: Option<Object>,
}

/// Reads a search.
///
/// # Errors
/// When the text is not a JSON object of this form; the message names the member.
pub fn parse(text: &[u8], sought: Sought) -> Result<Search, Malformed> {
    let question = match sought {
        Sought::Subject => {
            let raw: ForSubjects = read(text)?;
            RawQuestion {
                subject: raw.subject.map(RawParty::from),
                action: raw.action,
                resource: raw.resource,
                context: raw.context,
                result: None,
            }
        }
        Sought::Resource => {
            let raw: ForResources = read(text)?;
            RawQuestion {
                subject: raw.subject,
                action: raw.action,
                resource: raw.resource.map(RawParty::from),
                context: raw.context,
                result: None,
            }
        }
        Sought::Action => {
            let raw: ForActions = read(text)?;
            let name = SOUGHT.to_owned();
            RawQuestion {
                subject: raw.subject,
                action: Some(RawAction {
                    name,
                    properties: None,
                }),
                resource: raw.resource,
                context: raw.context,
                result: None,
            }
        }
    };
    let incoming = question.into_incoming()?;
    let Paged { page } = read(text)?;
    let page = page.unwrap_or_default();
    let mut sent: Object = read(text)?;
    sent.0.remove("page");
    Ok(Search {
        sought,
        incoming,
        page: PageWish {
            // The end's empty token, sent again, begins anew as no token does.
            token: page.token.filter(|token| !token.is_empty()),
            limit: page.limit,
        },
        canonical: serde_json::to_vec(&WrittenObject(&sent.0))
            .map_err(|error| Malformed(error.to_string()))?,
    })
}
