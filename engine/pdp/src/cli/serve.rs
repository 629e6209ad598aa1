//! `portreeve serve`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::{is_watched, tell};
use super::{Failure, runtime};
use crate::access::Role;
use crate::app::{self, App};
use crate::background::Background;
use crate::inputs::Inputs;
use crate::serve;
use crate::settings::Settings;

pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let built = app::build(settings, Inputs::system())
            .await
            .map_err(Failure::unable)?;
        for note in &built.notes {
            tracing::warn!("{note}");
        }
        let app = built.app;
        first_key(&app).await?;
        let listeners = serve::listen(&app).await.map_err(Failure::unable)?;
        let signals = Signals::new()?;
        let (stop, stopped) = watch::channel(false);
        let mut background = Background::start(&app);
        let hearing = tokio::spawn(heed_signals(Arc::clone(&app), signals));
        for url in listeners.urls() {
            tell(&format!("listening on {url}"));
        }
        let serving = serve::serve(Arc::clone(&app), listeners, stopped);
        tokio::pin!(serving);
        let fault = tokio::select! {
            heard = hearing => heard.err().map(|error| format!("signals were heard: {error}")),
            task = background.lost() => Some(task),
            () = &mut serving => Some("connections were accepted".to_owned()),
        };
        stop.send_replace(true);
        if fault.is_none() {
            tracing::info!("stopping: finishing what was accepted");
            serving.await;
        }
        background.finish().await;
        match fault {
            None => Ok(()),
            Some(fault) => Err(Failure::Unable(format!(
                "the engine stopped, because a task of its own ended by which {fault}; please \
                 report this"
            ))),
        }
    })
}

/// The first start without keys makes one, or nobody could ask anything. Shown once to a
/// person; otherwise left where only the owner can read it.
async fn first_key(app: &App) -> Result<(), Failure> {
    if !app
        .state
        .store()
        .keys()
        .await
        .map_err(Failure::unable)?
        .is_empty()
    {
        return Ok(());
    }
    let new = app
        .create_key("first", Role::Gateway)
        .await
        .map_err(Failure::unable)?;
    if is_watched() {
        tell(&format!(
            "first key, role gateway, shown only now: {}",
            new.key
        ));
        return Ok(());
    }
    let path = app.settings.data_dir.join("first-key");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))?;
    writeln!(file, "{}", new.key)?;
    tracing::info!(path = %path.display(), "the first key, role gateway, is in this file");
    Ok(())
}

/// What an operator tells a running engine.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// SIGHUP reloads; returns at SIGTERM and SIGINT.
async fn heed_signals(app: Arc<App>, mut signals: Signals) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => reload(&app).await,
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
        }
    }
}

async fn reload(app: &Arc<App>) {
    match app.reload().await {
        Ok(notes) => {
            for note in notes {
                tracing::warn!("{note}");
            }
            let revision = app.live.current().revisions.policies.clone();
            tracing::info!(%revision, "reloaded");
        }
        Err(faults) => {
            app.metrics.reload_failed();
            for fault in faults {
                tracing::error!("reload: {fault}");
            }
            tracing::error!("the reload failed; what could not be renewed stays as it was");
        }
    }
}
