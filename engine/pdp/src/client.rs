//! What a gateway's client showed, as the engine verified it.

use std::net::IpAddr;

use domain::EntityRef;
use token::Claims;
use token::dpop::Proof;

/// What goes with a question because of whose credential came with the client's request. Nothing,
/// for all other questions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// The session is named by a token of ours that was given in it.
    pub(crate) names_session_by_token: bool,
    /// Whose session it is, where the question is about another: routes may ask about whom a claim
    /// names. Whoever shows a handle is held to what that is good for, whomever is asked about.
    pub(crate) holder: Option<EntityRef>,
    /// The token that came, as ours would say it. A token that is minted with the answer is never
    /// more than this one.
    pub(crate) original: Option<Box<Claims>>,
    /// A proof that holds, and that is not spent yet.
    pub(crate) proof: Option<Proof>,
    /// The subject is whoever comes from there: the route names one for all.
    pub(crate) comes_from: Option<IpAddr>,
}
