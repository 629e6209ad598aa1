//! Routes that ask what the policies have never heard of: such a question is always denied. And those
//! that want a token which nobody gets.

use std::collections::BTreeSet;

use ::gateway::Route;
use ::gateway::routes::{ActionRule, SubjectRule};
use policy::Policies;

use crate::engine::Snapshot;
use crate::settings::Settings;

/// A sentence for each route whose actions or types the schema does not have, and for each whose
/// resources do not belong to the service that its token is for.
pub(crate) fn unknown(settings: &Settings, snapshot: &Snapshot) -> Vec<String> {
    let gateway = &settings.gateway;
    let callers = gateway.callers().map(Some);
    let mut told = BTreeSet::new();
    for caller in [None].into_iter().chain(callers) {
        for route in gateway.door(caller).routes.iter() {
            told.extend(unknown_in(route, &snapshot.policies));
            told.extend(token_of_nobody(route, settings, snapshot));
        }
    }
    told.into_iter().collect()
}

fn unknown_in(route: &Route, policies: &Policies) -> Vec<String> {
    let subject = match &route.subject {
        SubjectRule::Credential { kind, .. } => kind.as_ref(),
        SubjectRule::Claim { kind, .. } => Some(kind),
        SubjectRule::Fixed(entity) => Some(&entity.kind),
    };
    let actions: Vec<&str> = match &route.action {
        ActionRule::One(name) => vec![name.as_str()],
        ActionRule::ByMethod(all) => all.iter().map(|(_, name)| name.as_str()).collect(),
    };
    let resource = route.resource_type.as_str();
    let subject = subject.map(|kind| kind.as_str());
    let place = format!("warning: `{}` ({})", route.place, route.name);
    let unknown = |action: &str| match policies.knows_action(action) {
        false => Some(format!(
            "{place}: the policies' schema has no action `{action}`, so the answer is always no; \
             add it there, or name another"
        )),
        true if policies.has_kind(action, subject, resource) => None,
        true => {
            let by = subject.map_or(String::new(), |subject| format!(" by `{subject}`"));
            Some(format!(
                "{place}: the policies' schema has `{action}` for other types than on \
                 `{resource}`{by}, so the answer is always no; change `appliesTo` there, or the route"
            ))
        }
    };
    actions.into_iter().filter_map(unknown).collect()
}

fn token_of_nobody(route: &Route, settings: &Settings, snapshot: &Snapshot) -> Option<String> {
    let wanted = route.token.as_ref()?.audience.as_str();
    let kind = route.resource_type.as_str();
    let of_type = match snapshot.policies.audience_of(kind) {
        // The engine itself, whose URL may not be known before it listens.
        Some("") => Some(settings.public_url.as_deref().unwrap_or(wanted)),
        named => named,
    };
    let attribute = &settings.audience_attribute;
    let is_stored = || {
        let stored = snapshot.directory.with_text(Some(kind), attribute, wanted);
        !stored.is_empty()
    };
    if of_type == Some(wanted) || is_stored() {
        return None;
    }
    Some(format!(
        "warning: `{}` ({}): no `{kind}` belongs to the service `{wanted}`, so its app gets no \
         token; write `@audience(\"{wanted}\")` before the type in the schema, or store it as \
         `{attribute}`",
        route.place, route.name
    ))
}
