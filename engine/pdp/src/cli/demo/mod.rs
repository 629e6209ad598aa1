//! `portreeve demo`: the whole engine on one machine, with a day to look at.
//!
//! Nothing here is special: a real engine on a real port, asked over HTTP by a client that does
//! what a gateway does, step-ups of honest people included.

mod cast;
mod client;
mod day;
mod report;
mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::geo::{GeoPaths, World};
use clap::Args;
use store::sqlite::DeviceChange;
use tokio::sync::watch;
use wire::Event;
use wire::event::Label;

use super::output::{Output, bar, is_watched, tell};
use super::{Failure, runtime, strangers};
use crate::access::Role;
use crate::app;
use crate::background::Background;
use crate::inputs::Inputs;
use crate::serve;
use crate::settings::Settings;
use client::{Answer, Client};
use watched::Listening;

/// Where the demo's files are, seen from the project's folder.
const POLICIES: &str = "policies";
const MODELS: &str = "models";
const WORLD: &str = "data/geo/demo.toml";
const DATABASE: &str = "data/geo/demo.mmdb";
/// Questions under way at once. Those of one subject keep their order.
const WORKERS: usize = 8;

#[derive(Clone, Debug, Args)]
pub(super) struct DemoArgs {
    /// Play these events instead of the built-in day
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Stop after the table; so does a run without a terminal
    #[arg(long)]
    once: bool,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8181")]
    listen: SocketAddr,
}

/// Whose laptop is stolen after the day.
const STOLEN: &str = "dave";

/// An event with the answer it got.
#[derive(Clone, Debug)]
struct Played {
    event: Event,
    answer: Answer,
}

pub(super) fn run(args: DemoArgs, output: Output) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("portreeve-demo-")
        .tempdir()?;
    let result = runtime()?.block_on(play(args, output, folder.path()));
    // The engine has stopped; nothing writes there any more.
    let _ = folder.close();
    result
}

async fn play(args: DemoArgs, output: Output, folder: &Path) -> Result<(), Failure> {
    let events = match &args.events {
        None => None,
        Some(path) => Some(read_events(path)?),
    };
    let (policies, entities) = prepare_policies(folder, events.as_deref())?;
    let mut listening = Listening::open().await?;
    let mut settings = settings(folder, &policies, &entities, args.listen);
    settings.outbound.allow.extend(listening.allowed());
    let built = app::build(settings, Inputs::system())
        .await
        .map_err(Failure::unable)?;
    let app = built.app;
    let keeper = app
        .create_key("demo", Role::Keeper)
        .await
        .map_err(Failure::unable)?;
    let listeners = match serve::listen(&app).await {
        Ok(listening) => listening,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            return Err(Failure::Unable(format!(
                "{} is in use; choose another address with `--listen 127.0.0.1:0`",
                args.listen
            )));
        }
        Err(error) => return Err(Failure::unable(error)),
    };
    let address = listeners.address();
    let (stop, stopped) = watch::channel(false);
    let background = Background::start(&app);
    let server = tokio::spawn(serve::serve(Arc::clone(&app), listeners, stopped));
    tell(&format!("listening on http://{address}"));

    let client = Client::new(address, &keeper.key);
    let verdict = match events {
        Some(events) => play_file(&client, events, output).await,
        None => play_day(&client, (&app, address), &mut listening, output).await,
    };
    if let Ok(desk) = &verdict
        && !args.once
        && is_watched()
    {
        invite(address, &keeper.key, desk);
        wait_for_interrupt().await;
    }
    stop.send_replace(true);
    let _ = server.await;
    background.finish().await;
    verdict.map(|_| ())
}

/// Where alice was last, when, and with what: for the question that a person may try.
#[derive(Clone, Debug)]
struct Desk {
    /// As a member of the context, if the moment is another than now.
    time: String,
    ip: String,
    device: String,
    user_agent: String,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            time: String::new(),
            ip: "192.0.2.7".to_owned(),
            device: "laptop-1".to_owned(),
            user_agent: "Firefox/145.0".to_owned(),
        }
    }
}

impl Desk {
    /// As the last of somebody's events has it.
    fn of(who: &str, events: &[Event]) -> Option<Self> {
        let theirs = |event: &&Event| event.request.subject.entity.id.as_str() == who;
        let last = events.iter().rfind(theirs)?;
        let context = &last.request.context;
        Some(Self {
            time: format!(
                "\"time\":\"{}\",",
                wire::time::format(last.time.plus_seconds(1200))
            ),
            ip: context.ip?.to_string(),
            device: context.device.as_ref()?.id.clone()?,
            user_agent: context.user_agent.clone()?,
        })
    }
}

fn settings(folder: &Path, policies: &Path, entities: &Path, listen: SocketAddr) -> Settings {
    let database = Some(PathBuf::from(DATABASE));
    Settings {
        listen,
        data_dir: folder.join("var"),
        store: folder.join("var/portreeve.db"),
        policies: policies.to_owned(),
        entities: Some(entities.to_owned()),
        models: PathBuf::from(MODELS),
        geo: GeoPaths {
            city: database.clone(),
            asn: database.clone(),
            anonymous: database,
            threats: Vec::new(),
        },
        ..Settings::default()
    }
}

/// The shipped policies and entities, and with them whom the demo is about.
fn prepare_policies(
    folder: &Path,
    events: Option<&[Event]>,
) -> Result<(PathBuf, PathBuf), Failure> {
    let shipped = Path::new(POLICIES).join("entities.json");
    let text = fs::read_to_string(&shipped).map_err(|error| {
        Failure::Unable(format!(
            "{}: {error}; run the demo in the project's folder",
            shipped.display()
        ))
    })?;
    let mut entities: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(Failure::unable)?;
    let policies = folder.join("policies");
    fs::create_dir(&policies)?;
    for file in policy::source::read_folder(Path::new(POLICIES))? {
        let name = Path::new(&file.name).file_name().unwrap_or_default();
        fs::write(policies.join(name), &file.text)?;
    }
    match events {
        None => entities.extend(cast::documents_as_entities()),
        Some(events) => {
            let parties = |of: fn(&Event) -> &domain::EntityRef| events.iter().map(of).cloned();
            let subjects = parties(|event| &event.request.subject.entity).collect();
            let resources = parties(|event| &event.request.resource.entity).collect();
            strangers::add(&mut entities, &subjects, &resources);
            fs::write(policies.join("90-imported.cedar"), strangers::POLICY)?;
        }
    }
    let path = folder.join("entities.json");
    fs::write(
        &path,
        serde_json::to_vec(&entities).map_err(Failure::unable)?,
    )?;
    Ok((policies, path))
}

fn read_events(path: &Path) -> Result<Vec<Event>, Failure> {
    let paths = [path.to_owned()];
    let events: Result<Vec<Event>, _> = trainer::events::read(&paths).collect();
    let mut events = events.map_err(Failure::unable)?;
    if events.is_empty() {
        return Err(Failure::Unable(format!(
            "{}: no events in it",
            path.display()
        )));
    }
    events.sort_by_key(|event| event.time);
    Ok(events)
}

async fn play_file(client: &Client, events: Vec<Event>, output: Output) -> Result<Desk, Failure> {
    let desk = Desk::of("alice", &events).unwrap_or_default();
    let played = play_all(client, events, "playing").await?;
    report::of_file(&played, output).map(|()| desk)
}

async fn play_day(
    client: &Client,
    (app, address): (&Arc<app::App>, SocketAddr),
    listening: &mut Listening,
    output: Output,
) -> Result<Desk, Failure> {
    let text = fs::read_to_string(WORLD)?;
    let world = World::parse(Path::new(WORLD), &text).map_err(Failure::unable)?;
    let day = day::Day::build(&world, app.inputs.clock.now()).map_err(Failure::unable)?;
    for device in &day.devices {
        app.state
            .change_device(&device.id, u32::MAX, |_| {
                Some(DeviceChange {
                    record: device.clone(),
                    events: Vec::new(),
                })
            })
            .await
            .map_err(Failure::unable)?;
    }
    let desk = Desk::of("alice", &day.today).unwrap_or_default();
    let thief = Desk::of(STOLEN, &day.today).unwrap_or_default();
    let learnt = day.history.len();
    play_all(client, day.history, "history").await?;
    let played = play_all(client, day.today, "the day").await?;
    let watched = watched::watch(app, address, listening, (STOLEN, &thief)).await?;
    report::of_day(&played, &day.scenes, learnt, &watched, output).map(|()| desk)
}

/// Plays events through the engine: several at once, those of one subject in order. Honest
/// people pass the step-ups that they are asked for, attackers do not.
async fn play_all(client: &Client, events: Vec<Event>, what: &str) -> Result<Vec<Played>, Failure> {
    let bar = bar(events.len() as u64, what);
    let mut lanes: Vec<Vec<(usize, Event)>> = (0..WORKERS).map(|_| Vec::new()).collect();
    let mut lane_of: BTreeMap<domain::EntityRef, usize> = BTreeMap::new();
    for (position, event) in events.into_iter().enumerate() {
        let next = lane_of.len() % WORKERS;
        let lane = *lane_of
            .entry(event.request.subject.entity.clone())
            .or_insert(next);
        if let Some(lane) = lanes.get_mut(lane) {
            lane.push((position, event));
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    for lane in lanes {
        let (client, bar) = (client.clone(), bar.clone());
        tasks.spawn(async move {
            let mut played = Vec::with_capacity(lane.len());
            for (position, event) in lane {
                if !event.is_question() && event.is_tellable() {
                    client.tell(&event).await?;
                    bar.inc(1);
                    continue;
                }
                let answer = client.ask(&event).await?;
                let honest = !matches!(event.label, Some(Label::Attack(_))) && event.is_question();
                if honest && let Some(level) = answer.step_up_level() {
                    client
                        .step_up(&answer.decision_id, level, event.time)
                        .await?;
                }
                bar.inc(1);
                played.push((position, Played { event, answer }));
            }
            Ok::<_, Failure>(played)
        });
    }
    let mut played = Vec::new();
    while let Some(done) = tasks.join_next().await {
        played.extend(done.map_err(Failure::unable)??);
    }
    bar.finish_and_clear();
    played.sort_by_key(|(position, _)| *position);
    Ok(played.into_iter().map(|(_, played)| played).collect())
}

/// Leaves the person with something to try.
fn invite(address: SocketAddr, key: &str, desk: &Desk) {
    let Desk {
        time,
        ip,
        device,
        user_agent,
    } = desk;
    tell(&format!(
        "\nThe engine is still running. Ask it whether alice may read the handbook, twenty minutes after \
         she was last seen:\n\n\
         curl -s http://{address}/access/v1/evaluation \\\n  \
         -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  \
         -d '{{\"subject\":{{\"type\":\"User\",\"id\":\"alice\"}},\"action\":{{\"name\":\"read\"}},\
         \"resource\":{{\"type\":\"Document\",\"id\":\"handbook\"}},\
         \"context\":{{{time}\"ip\":\"{ip}\",\"device\":{{\"id\":\"{device}\"}},\
         \"user_agent\":\"{user_agent}\"}}}}'\n\n\
         Then change the address to 198.51.100.200, which is far away, and the device.\n\
         http://{address}/metrics has the numbers. Ctrl-C ends it."
    ));
}

async fn wait_for_interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
