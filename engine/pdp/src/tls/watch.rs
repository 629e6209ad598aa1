//! Notices that the files of the door have changed, by their stamps, once a second: whoever renews
//! certificates need tell nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::settings::TlsSettings;

/// How often the stamps are looked at; what has not changed for as long is taken up, so that half
/// of a pair is not.
const EVERY: Duration = Duration::from_secs(1);

/// A file as it lies there: when it was written, how long it is, which one it is, and when any of
/// that, or whose it is, last changed. None of it where it is gone.
type Stamp = Option<(Option<SystemTime>, u64, u64, (i64, i64))>;

/// Takes up the files whenever they have changed and come to rest. What could not be taken up is
/// tried again each time: why it could not be is not always in the files, and is said once.
pub(crate) async fn watch(app: Arc<App>) {
    let Some(settings) = app.settings.tls.clone() else {
        return std::future::pending().await;
    };
    let files = files(&settings);
    let look = || {
        let files = files.clone();
        tokio::task::spawn_blocking(move || {
            files.iter().map(|file| stamp(file)).collect::<Vec<_>>()
        })
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    let mut tried = None;
    loop {
        ticks.tick().await;
        let Ok(seen) = look().await else { continue };
        let rests = last.as_ref() == Some(&seen);
        // What the start has read may have changed before the first look; to read it once more
        // costs nothing.
        let is_new = tried.as_ref() != Some(&seen);
        if rests && (is_new || app.tls.fault().is_some()) {
            match app.renew_tls().await {
                Ok(()) if tried.is_some() => {
                    tracing::info!("the files of `[tls]` have changed and were taken up");
                }
                Err(why) if is_new => {
                    app.metrics.reload_failed();
                    tracing::error!("{why}; what was there before goes on");
                }
                Ok(()) | Err(_) => {}
            }
            tried = Some(seen.clone());
        }
        last = Some(seen);
    }
}

fn files(settings: &TlsSettings) -> Vec<PathBuf> {
    let clients = settings.clients.as_ref();
    let revoked = clients.and_then(|clients| clients.revoked.clone());
    let roots = clients.map(|clients| clients.roots.clone());
    [settings.certificate.clone(), settings.key.clone()]
        .into_iter()
        .chain(roots)
        .chain(revoked)
        .collect()
}

fn stamp(file: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(file).ok()?;
    let changed = (about.ctime(), about.ctime_nsec());
    Some((about.modified().ok(), about.len(), about.ino(), changed))
}
