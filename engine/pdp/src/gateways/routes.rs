//! Routes that ask what the policies have never heard of: such a question is always denied.

use std::collections::BTreeSet;

use ::gateway::Route;
use ::gateway::routes::{ActionRule, SubjectRule};
use policy::Policies;

use crate::settings::Settings;

/// A sentence for each route whose actions or types the schema does not have.
pub(crate) fn unknown(settings: &Settings, policies: &Policies) -> Vec<String> {
    let gateway = &settings.gateway;
    let callers = gateway.callers().map(Some);
    let mut told = BTreeSet::new();
    for caller in [None].into_iter().chain(callers) {
        for route in gateway.door(caller).routes.iter() {
            told.extend(unknown_in(route, policies));
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
