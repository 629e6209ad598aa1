//! Sessions that are watched: stories over hours as data in `tests/scenarios/sessions`, one `check`
//! for all of them, by the engine as it is and a clock that the story moves (M1 to M10, B14 to B16,
//! B19, B20).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Client, Response, root};

mod form;
mod lives;
mod proofs;
mod silent_streams;
mod world;

use form::{Step, Story, Want};
use world::{World, opening, ordinary, without};

#[test]
fn every_story_of_a_watched_session_holds() {
    let folder = root().join("tests/scenarios/sessions");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let stories: Vec<(String, Story)> = names
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let story = serde_yaml_ng::from_str(&text);
            let story = story.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, story)
        })
        .collect();
    let half = stories.len().div_ceil(2);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = stories
            .chunks(half)
            .map(|stories| scope.spawn(|| stories.iter().filter_map(told).collect::<Vec<_>>()))
            .collect();
        let joined = halves.into_iter().map(|half| half.join().unwrap());
        joined.flatten().collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let covered: BTreeSet<&str> = stories
        .iter()
        .flat_map(|(_, story)| story.covers.iter().map(String::as_str))
        .collect();
    for needed in ["M1", "M3", "M6", "M7", "M8", "M9", "M10", "B19", "B20"] {
        assert!(covered.contains(needed), "no story covers {needed}");
    }
}

fn told((name, story): &(String, Story)) -> Option<String> {
    let why = check(story).err()?;
    Some(format!("{name}: {}\n    {why}", story.about))
}

/// Plays a story and holds every step against what is wanted.
fn check(story: &Story) -> Result<(), String> {
    let mut player = Player {
        world: World::new(story),
        sessions: BTreeMap::new(),
        decision: None,
    };
    for number in 0..story.history {
        let answer = player.world.gateway.ask(&ordinary(&Value::Null));
        if answer["decision"] != true {
            return Err(format!("access {number} of the history: {answer}"));
        }
        // Six an hour apart, then the next day.
        let is_last = number % 6 == 5;
        player
            .world
            .pass(if is_last { 86_400 - 5 * 3600 } else { 3600 });
    }
    player.world.told();
    for (number, step) in story.steps.iter().enumerate() {
        let at_step = |why: String| format!("step {}: {why}", number + 1);
        player.world.pass(step.after);
        for time in 1..=step.times {
            let done = player.play(step).map_err(at_step)?;
            if time == step.times {
                player.hold(&step.want, &done).map_err(at_step)?;
            } else {
                player.world.pass(1);
            }
        }
    }
    Ok(())
}

/// What a step came to.
#[derive(Default)]
struct Done {
    status: Option<u16>,
    answer: Value,
    looked: Option<usize>,
}

impl Done {
    fn of(response: &Response) -> Self {
        Self {
            status: Some(response.status),
            answer: serde_json::from_slice(&response.body).unwrap_or_default(),
            looked: None,
        }
    }
}

/// Method, path and body.
type Call = (&'static str, String, Option<Value>);

struct Player {
    world: World,
    /// Id and handles, the last one the current one, by name.
    sessions: BTreeMap<String, (String, Vec<String>)>,
    /// The last one.
    decision: Option<String>,
}

impl Player {
    fn play(&mut self, step: &Step) -> Result<Done, String> {
        let mut done = Done::default();
        if let Some(name) = &step.open {
            let request = opening(&self.world.timed(&step.request));
            let response = self.world.gateway.post("/v1/sessions", &request);
            done = Done::of(&response);
            let opened = &done.answer;
            if let (Some(id), Some(handle)) = (opened["id"].as_str(), opened["handle"].as_str()) {
                let session = (id.to_owned(), vec![handle.to_owned()]);
                self.sessions.insert(name.clone(), session);
            } else if step.want.status.is_none() {
                return Err(format!("no session was opened: {opened}"));
            }
        }
        if let Some(name) = &step.ask {
            let mut question = ordinary(&self.world.timed(&step.request));
            let (id, handles) = self.session(name)?;
            let handle = match step.stolen {
                Some(place) => handles.get(place),
                None => handles.last(),
            };
            let handle = handle.cloned().ok_or("the session never had it")?;
            question["context"]["session_id"] = json!(if step.by_id || step.by_another {
                id
            } else {
                handle
            });
            let response = self.client(step).post("/access/v1/evaluation", &question);
            done = Done::of(&response);
            let context = &done.answer["context"];
            self.decision = context["decision_id"].as_str().map(str::to_owned);
            // The handle goes on as the engine says; a thief keeps his to himself.
            if step.stolen.is_none() && !step.by_another {
                let next = context["session"]["handle"].as_str().map(str::to_owned);
                self.hand_out(name, next);
            }
        }
        if let Some(name) = &step.step_up {
            let (id, _) = self.session(name)?;
            let path = format!("/v1/sessions/{id}/step-up");
            let level = json!({ "level": step.level.unwrap_or(3) });
            done = Done::of(&self.world.gateway.post(&path, &level));
            let next = done.answer["handle"].as_str().map(str::to_owned);
            self.hand_out(name, next);
            if step.want.status.is_none() && done.status != Some(200) {
                return Err(format!("the step-up was not taken: {}", done.answer));
            }
        }
        if let Some(level) = step.passes {
            let id = self.decision.clone().ok_or("nothing was decided yet")?;
            let path = format!("/v1/decisions/{id}/step-up");
            let response = self.client(step).post(&path, &json!({ "level": level }));
            done = Done::of(&response);
            if step.want.status.is_none() && response.status >= 300 {
                return Err(format!("the step-up was not taken: {}", done.answer));
            }
            let session = &done.answer["session"];
            let is_of = |known: &(String, Vec<String>)| session["id"] == known.0.as_str();
            let named = self.sessions.iter().find(|(_, known)| is_of(known));
            if let Some(name) = named.map(|(name, _)| name.clone()) {
                self.hand_out(&name, session["handle"].as_str().map(str::to_owned));
            }
        }
        if let Some(name) = &step.fact {
            let fact = json!({
                "time": "$now",
                "subject": { "type": "User", "id": "alice" },
                "action": { "name": "mfa" },
                "resource": { "type": "Application", "id": "mail" },
                "context": { "session_id": self.session(name)?.0 },
                "result": "success",
            });
            let fact = self.world.timed(&fact);
            done = Done::of(&self.client(step).post("/v1/events", &fact));
            if done.answer["taken"] != 1 {
                return Err(format!("the fact was not taken: {}", done.answer));
            }
        }
        for (method, path, body) in self.calls(step)? {
            let json = ("Content-Type", "application/json");
            let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
            let response = self.world.admin.send(method, &path, &[json], &body);
            done = Done::of(&response);
            if step.want.status.is_none() && response.status >= 300 {
                return Err(format!("{method} {path}: {}", done.answer));
            }
        }
        if step.no_key {
            done.status = Some(self.world.revoke_key());
        }
        if let Some(sql) = &step.sql {
            self.world.sql(sql);
        }
        if step.monitor {
            match (self.world.monitor(), step.want.fails) {
                (Ok(looked), false) => done.looked = Some(looked),
                (Err(_), true) => {}
                (made, _) => return Err(format!("the round came to {made:?}")),
            }
        }
        Ok(done)
    }

    fn client(&mut self, step: &Step) -> &mut Client {
        if step.by_another {
            &mut self.world.another
        } else {
            &mut self.world.gateway
        }
    }

    /// What an administrator does.
    fn calls(&self, step: &Step) -> Result<Vec<Call>, String> {
        let mut calls = Vec::new();
        let text = |members: &BTreeMap<String, Value>, name: &str| {
            let found = members.get(name).and_then(Value::as_str);
            found
                .map(str::to_owned)
                .ok_or(format!("`{name}` is missing"))
        };
        if let Some(device) = &step.device {
            let path = format!("/v1/devices/{}", text(device, "id")?);
            calls.push(("PUT", path, Some(without(device, &["id"]))));
        }
        if let Some(id) = &step.no_device {
            calls.push(("DELETE", format!("/v1/devices/{id}"), None));
        }
        if let Some(entity) = &step.entity {
            let path = format!(
                "/v1/entities/{}/{}",
                text(entity, "type")?,
                text(entity, "id")?
            );
            calls.push(("PUT", path, Some(without(entity, &["type", "id"]))));
        }
        if let Some(name) = &step.no_entity {
            calls.push(("DELETE", format!("/v1/entities/{name}"), None));
        }
        Ok(calls)
    }

    fn hand_out(&mut self, name: &str, handle: Option<String>) {
        if let (Some(handle), Some((_, handles))) = (handle, self.sessions.get_mut(name))
            && handles.last() != Some(&handle)
        {
            handles.push(handle);
        }
    }

    fn session(&self, name: &str) -> Result<(String, Vec<String>), String> {
        let found = self.sessions.get(name).cloned();
        found.ok_or(format!("no session `{name}` was opened"))
    }

    fn hold(&mut self, want: &Want, done: &Done) -> Result<(), String> {
        let context = &done.answer["context"];
        let differs = |what: &str, is: &Value| Err(format!("{what} is {is}: {}", done.answer));
        if let Some(outcome) = &want.outcome
            && context["outcome"] != **outcome
        {
            return differs("outcome", &context["outcome"]);
        }
        if let Some(cause) = &want.cause
            && !context["reason_admin"]["en"]
                .as_str()
                .is_some_and(|reason| reason.contains(cause.as_str()))
        {
            return differs("the reason", &context["reason_admin"]);
        }
        if let Some([least, most]) = want.score {
            let score = &context["risk"]["score"];
            if !score
                .as_i64()
                .is_some_and(|score| (least..=most).contains(&score))
            {
                return differs("score", score);
            }
        }
        if want.status.is_some() && want.status != done.status {
            return differs("status", &json!(done.status));
        }
        if want.looked.is_some() && want.looked != done.looked {
            return differs("looked", &json!(done.looked));
        }
        let recorded = want.recorded.map(|_| self.world.recorded());
        if recorded != want.recorded {
            return differs("the number of records", &json!(recorded));
        }
        for (name, wanted) in &want.handles {
            let (_, handles) = self.session(name)?;
            if handles.len() != *wanted {
                return Err(format!(
                    "`{name}` had {} handles: {}",
                    handles.len(),
                    done.answer
                ));
            }
        }
        for (name, members) in &want.session {
            let (id, _) = self.session(name)?;
            let shown = self.world.admin.get(&format!("/v1/sessions/{id}")).json();
            for (member, wanted) in members {
                if !is_as_wanted(&shown[member], wanted) {
                    return Err(format!(
                        "`{member}` of session `{name}` is another: {shown}"
                    ));
                }
            }
        }
        if let Some(wanted) = &want.told {
            let mut told = self.world.told();
            let mut wanted = wanted.clone();
            told.sort();
            wanted.sort();
            if told != wanted {
                return Err(format!("told is {told:?}"));
            }
        }
        Ok(())
    }
}

fn is_as_wanted(is: &Value, wanted: &Value) -> bool {
    match (
        is.as_str(),
        wanted.as_str().and_then(|text| text.strip_suffix('…')),
    ) {
        (Some(text), Some(beginning)) => text.starts_with(beginning),
        _ => is == wanted,
    }
}
