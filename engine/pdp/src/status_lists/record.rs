//! A token's place, as the journal holds it.

use std::borrow::Cow;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use store::sqlite::TokenStatusRow;
use token::Claims;
use token::claims::IssuedTo;
use token::revocation::{Lineage, issued_at};
use wire::record::RECORD_VERSION;

const KIND: &str = "token_status";

/// One line of the journal. Its first members are in this order.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    kind: &'static str,
    at: String,
    list: &'a str,
    place: u32,
    exp: i64,
    #[serde(flatten)]
    body: Body<'a>,
}

/// What a token is held against revocations by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body<'a> {
    token_id: Cow<'a, str>,
    iat: i64,
    sub: Cow<'a, str>,
    client_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_jti: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    lineage: Cow<'a, [String]>,
    #[serde(default, skip_serializing_if = "<[IssuedTo]>::is_empty")]
    issued_to: Cow<'a, [IssuedTo]>,
}

impl<'a> Body<'a> {
    pub(super) fn of(claims: &'a Claims) -> Self {
        let optional = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Self {
            token_id: Cow::Borrowed(&claims.jti),
            iat: claims.iat,
            sub: Cow::Borrowed(&claims.sub),
            client_id: Cow::Borrowed(&claims.client_id),
            sid: optional(&claims.sid),
            family_id: optional(&claims.family_id),
            original_jti: optional(&claims.original_jti),
            lineage: Cow::Borrowed(&claims.lineage),
            issued_to: Cow::Borrowed(&claims.issued_to),
        }
    }

    pub(super) fn lineage(&self) -> Lineage<'_> {
        Lineage {
            jti: &self.token_id,
            original_jti: self.original_jti.as_deref(),
            ancestors: &self.lineage,
            family: self.family_id.as_deref(),
            sid: self.sid.as_deref(),
            sub: &self.sub,
            client_id: &self.client_id,
            issued_at: issued_at(&self.token_id, self.iat),
            issued_to: &self.issued_to,
        }
    }
}

/// The line for a token that was given a place.
pub(super) fn write(list: &str, place: u32, claims: &Claims, at: Timestamp) -> Option<Vec<u8>> {
    serde_json::to_vec(&Line {
        v: RECORD_VERSION,
        kind: KIND,
        at: wire::time::format(at),
        list,
        place,
        exp: claims.exp,
        body: Body::of(claims),
    })
    .ok()
}

#[derive(Deserialize)]
struct ReadLine {
    v: u32,
    kind: String,
    list: String,
    place: u32,
    exp: i64,
    #[serde(flatten)]
    body: Body<'static>,
}

/// The store's row for a line of the journal. None for what is no such line.
pub(crate) fn row(line: &[u8]) -> Option<TokenStatusRow> {
    // Most lines are of something else, and are not parsed twice for this.
    let head = line.get(..48).unwrap_or(line);
    let kind = format!("\"{KIND}\"");
    if !head.windows(kind.len()).any(|part| part == kind.as_bytes()) {
        return None;
    }
    let line: ReadLine = serde_json::from_slice(line).ok()?;
    if line.v != RECORD_VERSION || line.kind != KIND {
        return None;
    }
    Some(TokenStatusRow {
        list: line.list,
        place: line.place,
        expires_at: Timestamp::from_seconds(line.exp),
        body: serde_json::to_string(&line.body).ok()?,
    })
}
