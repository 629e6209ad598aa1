//! From a folder of text to a policy set that may decide: parsed, merged, validated strictly.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{PolicyId, PolicySet, Schema, SchemaFragment};
use cedar_policy_core::ast::{self, EntityType, EntityUID};
use cedar_policy_core::validator::types::Attributes as AttributeTypes;
use cedar_policy_core::validator::{ValidatorActionId, ValidatorSchema};
use domain::{DecidingPolicy, EntityRef};
use miette::Diagnostic as _;
use smol_str::SmolStr;

use crate::annotated::AnnotatedTypes;
use crate::freshness;
use crate::links;
use crate::mentions::{self, Mentions};
use crate::nesting;
use crate::problem::{Problem, Problems};
use crate::shape::ContextShape;
use crate::slice::Slices;
use crate::source::{self, SourceFile};
use crate::validate::validate;

/// A policy set with its schema: immutable, whole, of one revision.
#[derive(Debug)]
pub struct Policies {
    schema: Schema,
    /// By the action's id; several when namespaces share one.
    actions: HashMap<SmolStr, Vec<ActionPlan>>,
    pub(crate) annotated: AnnotatedTypes,
    pub(crate) policies: Vec<Policy>,
    pub(crate) slices: Slices,
    /// Types of principals and resources by name: to parse one for each request would cost more
    /// than a policy.
    types: HashMap<SmolStr, EntityType>,
    set: PolicySet,
    files: Arc<[SourceFile]>,
    sees_clock: bool,
    revision: String,
    schema_revision: String,
    warnings: Problems,
}

/// One policy, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) told: Arc<DecidingPolicy>,
    pub(crate) effect: ast::Effect,
    /// What `when` and `unless` say, as one expression; the scope is left to the slices.
    pub(crate) condition: Option<Arc<ast::Expr>>,
    /// What must be true of the two parties alone for the condition to hold.
    pub(crate) of_parties: Vec<Arc<ast::Expr>>,
    pub(crate) policy: ast::Policy,
    /// The name of the file that it stands in.
    pub(crate) file: Arc<str>,
}

/// What the schema says of one action.
#[derive(Debug)]
pub(crate) struct ActionPlan {
    pub(crate) action: EntityUID,
    pub(crate) context: ContextShape,
    principals: HashSet<EntityType>,
    resources: HashSet<EntityType>,
}

impl ActionPlan {
    pub(crate) fn applies_to(&self, principal: &EntityUID, resource: &EntityUID) -> bool {
        self.principals.contains(principal.entity_type())
            && self.resources.contains(resource.entity_type())
    }
}

impl Policies {
    /// Loads a set from the texts of its files.
    ///
    /// # Errors
    /// Every problem found, when one of them is an error; the set is then not usable at all.
    pub fn load(files: &[SourceFile]) -> Result<Self, Problems> {
        let mut problems: Vec<Problem> = files.iter().filter_map(nesting::refuse).collect();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let fragments = parse_schemas(files, &mut problems);
        let (mut set, mut places) = parse_policies(files, &mut problems);
        links::link(files, &mut set, &mut places, &mut problems);
        let Some(schema) = merge_schemas(files, &fragments, &mut problems) else {
            return Err(Problems(problems));
        };
        validate(&schema, &set, &places, &mut problems);
        freshness::refuse(&set, &places, &mut problems);
        let core: &ValidatorSchema = schema.as_ref();
        let annotated = AnnotatedTypes::new(core, &fragments);
        let policies = prepare(&set, &places);
        let mut mentions = Mentions::default();
        for condition in policies
            .iter()
            .filter_map(|policy| policy.condition.as_ref())
        {
            mentions.add(condition);
        }
        let actions = plan_actions(core, files, &mentions, &mut problems);
        let slices = Slices::new(policies.iter().map(|policy| &policy.policy), |group| {
            members(core, group)
        });
        let types = core
            .entity_type_names()
            .map(|kind| (SmolStr::from(kind.to_string()), kind.clone()))
            .collect();
        let mut problems = Problems(problems);
        problems.sort();
        if problems.has_errors() {
            return Err(problems);
        }
        Ok(Self {
            schema,
            actions,
            annotated,
            policies,
            slices,
            types,
            set,
            files: Arc::from(files),
            sees_clock: mentions.sees_clock(),
            revision: source::revision(files),
            schema_revision: source::revision(
                &files
                    .iter()
                    .filter(|file| file.is_schema())
                    .cloned()
                    .collect::<Vec<_>>(),
            ),
            warnings: problems,
        })
    }

    /// Content hash, as recorded with every decision.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The texts that it was loaded from: schemas and policies.
    #[must_use]
    pub const fn files(&self) -> &Arc<[SourceFile]> {
        &self.files
    }

    /// Whether both sets have the same schema, so that the same directory fits both.
    #[must_use]
    pub fn has_schema_of(&self, other: &Self) -> bool {
        self.schema_revision == other.schema_revision
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Every policy as answers tell of it, in the order of the files.
    pub fn told(&self) -> impl Iterator<Item = &DecidingPolicy> {
        self.policies.iter().map(|policy| &*policy.told)
    }

    /// Whether there is none, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Whether a policy looks at the subject's own clock; if none does, nobody need work it out.
    #[must_use]
    pub const fn sees_clock(&self) -> bool {
        self.sees_clock
    }

    /// What is odd about the set without keeping it from deciding.
    #[must_use]
    pub const fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// The set as Cedar's own authorizer takes it: to compare, and to measure against.
    #[must_use]
    pub const fn as_cedar(&self) -> &PolicySet {
        &self.set
    }

    /// The merged schema.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether the schema has this action, `Action::"read"` or `Shop::Action::"read"`; true of an
    /// id that no action has, which is denied as unknown.
    #[must_use]
    pub fn may_mean(&self, action: &EntityRef) -> bool {
        let plans = self.plans(action.id.as_str());
        let is_meant =
            |plan: &ActionPlan| plan.action.entity_type().to_string() == action.kind.as_str();
        plans.is_empty() || plans.iter().any(is_meant)
    }

    /// Whether some action of the schema has this id.
    #[must_use]
    pub fn knows_action(&self, action: &str) -> bool {
        !self.plans(action).is_empty()
    }

    pub(crate) fn plans(&self, action: &str) -> &[ActionPlan] {
        self.actions.get(action).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn action_names(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(SmolStr::as_str)
    }

    /// The Cedar name of an entity, if the schema knows its type.
    pub(crate) fn uid_of(&self, entity: &EntityRef) -> Option<EntityUID> {
        let kind = self.types.get(entity.kind.as_str())?.clone();
        Some(EntityUID::from_components(
            kind,
            ast::Eid::new(entity.id.as_str()),
            None,
        ))
    }

    /// The service that resources of a type belong to, by the type's `@audience`. Empty
    /// where that has no value: the engine itself.
    #[must_use]
    pub fn audience_of(&self, kind: &str) -> Option<&str> {
        let kind = self.types.get(kind)?;
        self.annotated.audiences.get(kind).map(SmolStr::as_str)
    }

    pub(crate) fn is_stored_type(&self, kind: &EntityType) -> bool {
        self.annotated.stored.contains(kind)
    }

    /// Whether only what is stored of this type counts, and nothing that a caller says.
    pub(crate) fn is_stored_alone(&self, kind: &EntityType) -> bool {
        self.annotated.alone.contains(kind)
    }

    /// The `@stored` types whose entities can be this party, and lack this attribute, which a
    /// caller then fills in.
    pub(crate) fn filled_types(
        &self,
        party: ast::Var,
        attribute: &str,
    ) -> impl Iterator<Item = &EntityType> {
        let may_lack = move |kind: &&EntityType| {
            let plans = self.actions.values().flatten();
            let mut types = plans.map(|plan| match party {
                ast::Var::Principal => &plan.principals,
                _ => &plan.resources,
            });
            let attributes = self.attributes_of(kind);
            !self.is_stored_alone(kind)
                && types.any(|types| types.contains(*kind))
                && attributes
                    .and_then(|attributes| attributes.get_attr(attribute))
                    .is_some_and(|attribute| !attribute.is_required())
        };
        self.annotated.stored.iter().filter(may_lack)
    }

    pub(crate) fn attributes_of(&self, kind: &EntityType) -> Option<&AttributeTypes> {
        let schema: &ValidatorSchema = self.schema.as_ref();
        schema.get_entity_type(kind).map(|kind| kind.attributes())
    }
}

/// The actions that an action group holds, itself among them.
pub(crate) fn members(schema: &ValidatorSchema, group: &EntityUID) -> Vec<EntityUID> {
    let below = schema
        .get_action_id(group)
        .into_iter()
        .flat_map(|group| group.descendants());
    below.chain([group]).cloned().collect()
}

/// The kind of what is wrong with a schema.
const SCHEMA: &str = "cedar::schema";

/// Where each policy stands: file and byte offset.
pub(crate) type Places<'a> = HashMap<PolicyId, (&'a SourceFile, usize)>;

fn parse_schemas(files: &[SourceFile], problems: &mut Vec<Problem>) -> Vec<SchemaFragment> {
    let mut fragments = Vec::new();
    for file in files.iter().filter(|file| file.is_schema()) {
        match SchemaFragment::from_cedarschema_str(&file.text) {
            Ok((fragment, warnings)) => {
                problems.extend(warnings.map(|warning| {
                    Problem::from_cedar(file, &warning)
                        .as_warning()
                        .of_kind(SCHEMA)
                }));
                fragments.push(fragment);
            }
            Err(error) => problems.push(Problem::from_cedar(file, &error).of_kind(SCHEMA)),
        }
    }
    fragments
}

fn merge_schemas(
    files: &[SourceFile],
    fragments: &[SchemaFragment],
    problems: &mut Vec<Problem>,
) -> Option<Schema> {
    let schemas: Vec<&SourceFile> = files.iter().filter(|file| file.is_schema()).collect();
    if schemas.is_empty() {
        problems.push(
            Problem::error("policies", "there is no schema")
                .of_kind(SCHEMA)
                .with_help("put a `*.cedarschema` file beside the policies"),
        );
        return None;
    }
    if fragments.len() < schemas.len() {
        // Those that do not parse are reported; what is missing in the rest would mislead.
        return None;
    }
    match Schema::from_schema_fragments(fragments.iter().cloned()) {
        Ok(schema) => Some(schema),
        Err(error) => {
            let names: Vec<_> = schemas.iter().map(|file| file.name.as_str()).collect();
            let problem = match schemas.as_slice() {
                [only] => Problem::from_cedar(only, &error),
                _ => {
                    let problem = Problem::error(names.join(" + "), error.to_string());
                    match error.help() {
                        Some(help) => problem.with_help(help.to_string()),
                        None => problem,
                    }
                }
            };
            problems.push(problem.of_kind(SCHEMA));
            None
        }
    }
}

fn parse_policies<'a>(
    files: &'a [SourceFile],
    problems: &mut Vec<Problem>,
) -> (PolicySet, Places<'a>) {
    let mut merged = PolicySet::new();
    let mut places = Places::new();
    for file in files.iter().filter(|file| file.is_policies()) {
        let set = match PolicySet::from_str(&file.text) {
            Ok(set) => set,
            Err(errors) => {
                let errors = errors.iter();
                problems.extend(
                    errors.map(|error| Problem::from_cedar(file, error).of_kind("cedar::syntax")),
                );
                continue;
            }
        };
        let templates = set.templates().map(|template| {
            let given = template.annotation("id");
            (given, template.id(), links::place_of(template), None)
        });
        let policies = set.policies().map(|policy| {
            let core: &ast::Policy = policy.as_ref();
            let offset = offset_of(core.template().loc());
            (policy.annotation("id"), policy.id(), offset, Some(policy))
        });
        for (given, own, offset, policy) in templates.chain(policies) {
            let id = match given {
                Some(id) if !id.trim().is_empty() => PolicyId::new(id),
                _ => {
                    let id = format!("{}#{own}", base_name(&file.name));
                    problems.push(
                        Problem::error(&file.name, "the policy has no `@id`")
                            .at(file, offset)
                            .of_kind("policy::no-id")
                            .with_help("begin it with `@id(\"what-it-is-for\")`: answers and records name it")
                            .as_warning(),
                    );
                    PolicyId::new(id)
                }
            };
            if places.contains_key(&id) {
                problems.push(
                    Problem::error(&file.name, format!("`@id(\"{id}\")` is taken"))
                        .at(file, offset)
                        .of_kind("policy::duplicate-id")
                        .with_help(links::stands(&id, &places)),
                );
                continue;
            }
            let added = match (policy, set.template(own)) {
                (Some(policy), _) => merged.add(policy.new_id(id.clone())),
                (None, Some(template)) => merged.add_template(template.new_id(id.clone())),
                (None, None) => continue,
            };
            if added.is_ok() {
                places.insert(id, (file, offset));
            }
        }
    }
    (merged, places)
}

fn plan_actions(
    schema: &ValidatorSchema,
    files: &[SourceFile],
    mentions: &Mentions,
    problems: &mut Vec<Problem>,
) -> HashMap<SmolStr, Vec<ActionPlan>> {
    let mut plans: HashMap<SmolStr, Vec<ActionPlan>> = HashMap::new();
    // Actions share their contexts: what is wrong with one is said once, at the first of them.
    let mut wrong: BTreeMap<String, BTreeMap<String, &ValidatorActionId>> = BTreeMap::new();
    for action in schema.action_ids() {
        match ContextShape::new(action.context_type(), mentions) {
            Ok(context) => {
                plans
                    .entry(action.name().eid().clone().into_smolstr())
                    .or_default()
                    .push(ActionPlan {
                        action: action.name().clone(),
                        context,
                        principals: action.applies_to_principals().cloned().collect(),
                        resources: action.applies_to_resources().cloned().collect(),
                    });
            }
            Err(messages) => {
                for message in messages {
                    let actions = wrong.entry(message).or_default();
                    actions.insert(action.name().to_string(), action);
                }
            }
        }
    }
    for (message, actions) in wrong {
        let Some((name, first)) = actions.first_key_value() else {
            continue;
        };
        let others = match actions.len() - 1 {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let message = format!("action {name}{others}: {message}");
        problems.push(
            at_action(files.iter(), first, message)
                .of_kind("policy::reserved-name")
                .with_help("reserved names of `context` have the types that the engine gives them"),
        );
    }
    for same in plans.values_mut() {
        // A request names an action by its id alone: the same answer each time.
        same.sort_by(|a, b| a.action.cmp(&b.action));
        refuse_ambiguous(schema, files, same, problems);
    }
    plans
}

/// Two namespaces may share the id of an action only where no request could mean both.
fn refuse_ambiguous(
    schema: &ValidatorSchema,
    files: &[SourceFile],
    same: &[ActionPlan],
    problems: &mut Vec<Problem>,
) {
    for (position, plan) in same.iter().enumerate() {
        let other = same.iter().take(position).find(|other| {
            !plan.principals.is_disjoint(&other.principals)
                && !plan.resources.is_disjoint(&other.resources)
        });
        if let (Some(other), Some(action)) = (other, schema.get_action_id(&plan.action)) {
            let message = format!(
                "a request for `{}` could mean {} as well as {}",
                plan.action.eid().escaped(),
                other.action,
                plan.action
            );
            problems.push(
                at_action(files.iter(), action, message)
                    .of_kind("policy::ambiguous-action")
                    .with_help(
                        "requests name actions by their id alone: give one another id, or other \
                         types of principal or resource",
                    ),
            );
        }
    }
}

/// A problem where a schema declares an action.
pub(crate) fn at_action<'a>(
    files: impl Iterator<Item = &'a SourceFile> + Clone,
    action: &ValidatorActionId,
    message: String,
) -> Problem {
    let mut schemas = files.filter(|file| file.is_schema());
    let loc = action.loc();
    let declared = loc.and_then(|loc| {
        let file = schemas.clone().find(|file| file.text == *loc.src)?;
        Some((file, loc))
    });
    match declared {
        Some((file, loc)) => {
            let length = loc.end() - loc.start();
            Problem::error(&file.name, message).over(file, loc.start(), length)
        }
        None => Problem::error(schemas.next().map_or("schema", |file| &file.name), message),
    }
}

fn prepare(set: &PolicySet, places: &Places<'_>) -> Vec<Policy> {
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    let mut policies: Vec<Policy> = set
        .policies()
        .map(|policy| {
            let core: &ast::Policy = policy.as_ref();
            let condition = core.non_scope_constraints_arc().cloned();
            Policy {
                of_parties: condition
                    .as_ref()
                    .map_or_else(Vec::new, mentions::of_parties),
                told: Arc::new(DecidingPolicy {
                    id: Arc::from(policy.id().to_string()),
                    reason: policy.annotation("reason").map(Arc::from),
                    severity: policy.annotation("severity").map(Arc::from),
                    alert: policy.annotation("alert").map(Arc::from),
                }),
                effect: core.effect(),
                condition,
                policy: core.clone(),
                file: places
                    // What is said of a link is said of its template.
                    .get(policy.template_id().unwrap_or(policy.id()))
                    .map(|(file, _)| {
                        let name = names.entry(&file.name);
                        Arc::clone(name.or_insert_with(|| Arc::from(&*file.name)))
                    })
                    .unwrap_or_default(),
            }
        })
        .collect();
    // In the order in which they stand in the files, so that answers list them the same way
    // each time.
    policies.sort_by_cached_key(|policy| {
        let offset = offset_of(policy.policy.template().loc());
        // The links of one template stand at one place.
        (
            Arc::clone(&policy.file),
            offset,
            Arc::clone(&policy.told.id),
        )
    });
    policies
}

pub(crate) fn whole_number(expr: &ast::Expr) -> Option<i64> {
    match expr.expr_kind() {
        ast::ExprKind::Lit(ast::Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

pub(crate) fn offset_of(loc: Option<&cedar_policy_core::parser::Loc>) -> usize {
    loc.map_or(0, |loc| loc.span.offset())
}

fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
