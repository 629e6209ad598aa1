//! What a search found: its answer (AuthZEN 1.0 §8), and its one record.

use domain::record::Revisions;
use domain::{AccessRequest, Name, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

use crate::event::{WrittenAction, WrittenContext};
use crate::json::WrittenObject;
use crate::record::RECORD_VERSION;
use crate::search::Sought;
use crate::time::Rfc3339;

/// What a search found, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct FoundView<'a> {
    /// What was sought.
    pub sought: Sought,
    /// The type of what was sought; none for actions.
    pub kind: Option<&'a Name>,
    /// Ids or names.
    pub found: &'a [Name],
    /// The token of the next page; none at the end.
    pub next_token: Option<&'a str>,
    /// The id of the search's record.
    pub search_id: &'a str,
    /// Decisions that were made for this page.
    pub evaluated: usize,
    /// What decided.
    pub revisions: &'a Revisions,
}

/// What a search for subjects supposes, in words.
const SUPPOSED: &str = "Everybody is taken to be at risk 0, without history and without a session; \
                        who really asks may be asked for more, or denied.";

impl Serialize for FoundView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            page: Page<'a>,
            context: Context<'a>,
            results: Results<'a>,
        }
        #[derive(Serialize)]
        struct Page<'a> {
            next_token: &'a str,
            count: usize,
        }
        #[derive(Serialize)]
        struct Context<'a> {
            search_id: &'a str,
            evaluated: usize,
            policy_revision: &'a str,
            entities_revision: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            assumed: Option<Assumed>,
            #[serde(skip_serializing_if = "Option::is_none")]
            note: Option<English>,
        }
        #[derive(Serialize)]
        struct Assumed {
            risk: u8,
        }
        #[derive(Serialize)]
        struct English {
            en: &'static str,
        }
        let supposes = self.sought == Sought::Subject;
        Whole {
            page: Page {
                next_token: self.next_token.unwrap_or_default(),
                count: self.found.len(),
            },
            context: Context {
                search_id: self.search_id,
                evaluated: self.evaluated,
                policy_revision: &self.revisions.policies,
                entities_revision: &self.revisions.entities,
                assumed: supposes.then_some(Assumed { risk: 0 }),
                note: supposes.then_some(English { en: SUPPOSED }),
            },
            results: Results(self),
        }
        .serialize(to)
    }
}

struct Results<'a>(&'a FoundView<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entity<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            id: &'a str,
        }
        #[derive(Serialize)]
        struct Action<'a> {
            name: &'a str,
        }
        let mut results = to.serialize_seq(Some(self.0.found.len()))?;
        for found in self.0.found {
            let id = found.as_str();
            match self.0.kind {
                Some(kind) => results.serialize_element(&Entity {
                    kind: kind.as_str(),
                    id,
                })?,
                None => results.serialize_element(&Action { name: id })?,
            }
        }
        results.end()
    }
}

/// The one record of a search, as the journal holds it.
#[derive(Clone, Copy, Debug)]
pub struct SearchRecord<'a> {
    /// Its id.
    pub search_id: &'a str,
    /// When it was made, by the engine's own clock.
    pub at: Timestamp,
    /// The moment that was decided for.
    pub time: Timestamp,
    /// Who asked: the id of the caller's key.
    pub caller: &'a str,
    /// `jti` of the token of ours that the caller came with, in place of the key.
    pub caller_token: Option<&'a str>,
    /// The caller's `X-Request-ID`.
    pub request_id: &'a str,
    /// What was sought.
    pub sought: Sought,
    /// The question.
    pub request: &'a AccessRequest,
    /// Where in the order the page began.
    pub from: usize,
    /// Most results that were wanted.
    pub limit: usize,
    /// Results.
    pub count: usize,
    /// Whether it was the last page.
    pub complete: bool,
    /// Decisions that were made.
    pub evaluated: usize,
    /// What decided.
    pub revisions: &'a Revisions,
}

impl Serialize for SearchRecord<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            v: u32,
            kind: &'a str,
            search_id: &'a str,
            sought: &'a str,
            at: Rfc3339,
            time: Rfc3339,
            caller: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            caller_token: Option<&'a str>,
            request_id: &'a str,
            request: Request<'a>,
            page: Page,
            evaluated: usize,
            revisions: crate::record::Revisions<'a>,
        }
        #[derive(Serialize)]
        struct Request<'a> {
            subject: Party<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            action: Option<WrittenAction<'a>>,
            resource: Party<'a>,
            context: WrittenContext<'a>,
        }
        #[derive(Serialize)]
        struct Party<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            properties: Option<WrittenObject<'a>>,
        }
        #[derive(Serialize)]
        struct Page {
            from: usize,
            limit: usize,
            count: usize,
            complete: bool,
        }
        fn party(party: &domain::Party, sought: bool) -> Party<'_> {
            let properties = &party.properties;
            Party {
                kind: party.entity.kind.as_str(),
                id: (!sought).then_some(party.entity.id.as_str()),
                properties: (!properties.is_empty()).then_some(WrittenObject(properties)),
            }
        }
        Whole {
            v: RECORD_VERSION,
            kind: "search",
            search_id: self.search_id,
            sought: self.sought.as_str(),
            at: Rfc3339(self.at),
            time: Rfc3339(self.time),
            caller: self.caller,
            caller_token: self.caller_token,
            request_id: self.request_id,
            request: Request {
                subject: party(&self.request.subject, self.sought == Sought::Subject),
                action: (self.sought != Sought::Action).then_some(WrittenAction(self.request)),
                resource: party(&self.request.resource, self.sought == Sought::Resource),
                context: WrittenContext {
                    context: &self.request.context,
                    assurance: None,
                    time: self.request.context.time,
                },
            },
            page: Page {
                from: self.from,
                limit: self.limit,
                count: self.count,
                complete: self.complete,
            },
            evaluated: self.evaluated,
            revisions: crate::record::Revisions::of(self.revisions),
        }
        .serialize(to)
    }
}
