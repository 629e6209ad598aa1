//! `portreeve serve`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
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
        let (listener, address) = serve::listen(&app).await.map_err(Failure::unable)?;
        let (stop, stopped) = watch::channel(false);
        let background = Background::start(&app);
        tokio::spawn(heed_signals(Arc::clone(&app), stop));
        tell(&format!("listening on http://{address}"));
        serve::serve(Arc::clone(&app), listener, stopped).await;
        background.finish().await;
        Ok(())
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

/// SIGHUP reloads, SIGTERM and SIGINT finish what was accepted and stop.
async fn heed_signals(app: Arc<App>, stop: watch::Sender<bool>) {
    let signals = (
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals cannot be heard; stop the engine with SIGKILL");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(&app).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: finishing what was accepted");
    stop.send_replace(true);
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
