//! The streams, in memory as the store has them. Only this process changes them; whoever does
//! writes to the store first and has them taken up after.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use domain::Timestamp;
use ssf::stream::{Delivery, Status, Stream};
use ssf::subject::Complex;
use store::sqlite::{StoreError, StreamRow};
use tokio::sync::{MappedMutexGuard, Mutex as AsyncMutex, MutexGuard, Notify};

use super::Telling;
use super::refusals::Refusals;
use super::subjects::Subjects;
use super::words::SUPPORTED;
use crate::app::App;

/// A stream with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// As the store has it.
    pub(crate) row: StreamRow,
    /// The same, as the standard has it.
    pub(crate) stream: Stream,
    subjects: Arc<Subjects>,
    /// How it goes; the same one as long as the stream lives.
    pub(crate) progress: Arc<Progress>,
}

/// How it goes with a stream.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Something was put into its outbox, or it may flow again.
    pub(crate) news: Notify,
    tries: Mutex<Tries>,
}

/// Attempts to deliver.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    /// Whether there may be something in the outbox.
    pub(crate) pending: bool,
    /// In a row that came to nothing.
    pub(crate) failures: u32,
    /// Not before.
    pub(crate) next_at: Option<Timestamp>,
    /// What was refused for what it is.
    pub(crate) refusals: Refusals,
    /// Since the outbox was last held against its limit.
    pub(crate) put: u32,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            // Perhaps of an earlier run.
            pending: true,
            failures: 0,
            next_at: None,
            refusals: Refusals::default(),
            put: 0,
        }
    }
}

impl Progress {
    /// Something was put into the outbox.
    pub(crate) fn filled(&self) {
        self.with(|tries| tries.pending = true);
        self.news.notify_waiters();
    }

    /// Whatever kept tokens from flowing is another now: it is tried at once.
    pub(crate) fn begin_anew(&self) {
        self.with(|tries| {
            *tries = Tries {
                put: tries.put,
                ..Tries::default()
            };
        });
        self.news.notify_waiters();
    }

    /// Changes it.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Tries) -> T) -> T {
        change(&mut self.tries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    /// A stream that is new.
    pub(crate) fn new(row: StreamRow, stream: Stream) -> Self {
        Self {
            row,
            stream,
            subjects: Arc::default(),
            progress: Arc::default(),
        }
    }

    /// The same stream, changed.
    pub(crate) fn with(&self, row: StreamRow, stream: Stream) -> Self {
        Self {
            row,
            stream,
            ..self.clone()
        }
    }

    /// The same stream with these subjects of the store's.
    pub(crate) fn with_subjects(&self, rows: Vec<(String, bool)>) -> Self {
        let read = |(subject, is_added): (String, bool)| match serde_json::from_str(&subject) {
            Ok(subject) => Some((subject, is_added)),
            Err(error) => {
                tracing::error!(%error, stream = self.row.id, "a subject of a stream is damaged");
                None
            }
        };
        let subjects = Subjects::new(rows.into_iter().filter_map(read));
        Self {
            subjects: Arc::new(subjects),
            ..self.clone()
        }
    }

    /// Whether it is to be told of something, by its event's URI and by all names of whom it is
    /// about.
    pub(crate) fn wants(&self, uri: &str, who: &Complex) -> bool {
        self.stream.status != Status::Disabled
            && self.stream.events_requested.iter().any(|one| one == uri)
            && SUPPORTED.contains(&uri)
            && self.subjects.hear_of(self.row.hears_all, who)
    }

    /// Whether it is pushed to, and where.
    pub(crate) fn push(&self) -> Option<(&str, Option<&str>)> {
        match &self.stream.delivery {
            Delivery::Push {
                endpoint_url,
                authorization_header,
            } => Some((endpoint_url, authorization_header.as_deref())),
            Delivery::Poll { .. } => None,
        }
    }
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    all: ArcSwap<BTreeMap<String, Arc<Held>>>,
    /// Whether they have been read from the store.
    is_taken_up: AtomicBool,
    /// Held by whoever changes streams, or fills their outboxes.
    changing: AsyncMutex<()>,
}

/// That streams are not changed by anybody else meanwhile.
pub(crate) type Alone<'r> = MappedMutexGuard<'r, ()>;

impl Registry {
    /// All of them now.
    pub(crate) fn all(&self) -> Arc<BTreeMap<String, Arc<Held>>> {
        self.all.load_full()
    }

    /// One.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Held>> {
        self.all.load().get(id).cloned()
    }

    /// Whether they have been read from the store since the start.
    pub(crate) fn is_taken_up(&self) -> bool {
        self.is_taken_up.load(Ordering::Acquire)
    }

    /// Keeps others from changing streams until what is returned is dropped.
    pub(crate) async fn alone(&self) -> Alone<'_> {
        MutexGuard::map(self.changing.lock().await, |held| held)
    }
}

impl Telling {
    /// Holds a stream as it is now. Whoever does is alone in changing streams.
    pub(crate) fn put_stream(&self, held: Held) -> Arc<Held> {
        let held = Arc::new(held);
        let mut all = BTreeMap::clone(&self.registry.all());
        all.insert(held.row.id.clone(), Arc::clone(&held));
        self.registry.all.store(Arc::new(all));
        held
    }

    /// Holds a stream no more. Whoever does is alone in changing streams.
    pub(crate) fn remove_stream(&self, id: &str) {
        let mut all = BTreeMap::clone(&self.registry.all());
        if let Some(held) = all.remove(id) {
            self.registry.all.store(Arc::new(all));
            held.progress.news.notify_waiters();
        }
    }
}

/// The receiver of a stream is noted to have shown itself this often at most, seconds.
const SEEN_EVERY_SECONDS: i64 = 3600;

/// Where a stream is polled.
pub(crate) fn poll_url(public_url: &str, id: &str) -> String {
    format!("{public_url}/ssf/poll/{id}")
}

impl App {
    /// Takes up the streams of the store. The caller is alone in changing them.
    ///
    /// # Errors
    /// When the store cannot be read. What was known before goes on.
    pub(crate) async fn take_up_streams(&self, _alone: &Alone<'_>) -> Result<(), StoreError> {
        let store = self.state.store();
        let rows = store.streams().await?;
        let mut subjects: HashMap<String, Vec<_>> = HashMap::new();
        for (stream, subject, is_added) in store.stream_subjects().await? {
            let of_stream = subjects.entry(stream).or_default();
            of_stream.push((subject, is_added));
        }
        let mut all = BTreeMap::new();
        for row in rows {
            let subjects = subjects.remove(&row.id).unwrap_or_default();
            let stream = self.read_stream(&row).await;
            let held = Held::new(row, stream).with_subjects(subjects);
            all.insert(held.row.id.clone(), Arc::new(held));
        }
        let registry = &self.telling.registry;
        registry.all.store(Arc::new(all));
        registry.is_taken_up.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes that the receiver of a stream has shown itself: what shows nothing is paused after a
    /// while (`ssf.inactivity`).
    pub(crate) async fn receiver_was_seen(&self, id: &str) {
        let now = self.inputs.clock.now();
        let is_stale = |held: &Held| held.row.active_at.plus_seconds(SEEN_EVERY_SECONDS) <= now;
        if !self
            .telling
            .registry
            .get(id)
            .is_some_and(|held| is_stale(&held))
        {
            return;
        }
        let _alone = self.telling.registry.alone().await;
        let Some(held) = self.telling.registry.get(id) else {
            return;
        };
        let row = StreamRow {
            active_at: now,
            ..held.row.clone()
        };
        match self.state.store().update_stream(&row).await {
            Ok(_) => {
                let stream = held.stream.clone();
                self.telling.put_stream(held.with(row, stream));
            }
            Err(error) => tracing::warn!(%error, "that a receiver showed itself was not noted"),
        }
    }

    /// The stream of a row. What cannot be read of it stands for nothing: no events, no secret.
    async fn read_stream(&self, row: &StreamRow) -> Stream {
        let texts = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let delivery = match &row.endpoint_url {
            Some(endpoint_url) => Delivery::Push {
                endpoint_url: endpoint_url.clone(),
                authorization_header: self.authorization(row).await,
            },
            None => Delivery::Poll {
                endpoint_url: poll_url(self.public_url(), &row.id),
            },
        };
        Stream {
            id: row.id.clone(),
            aud: texts(&row.aud),
            events_requested: texts(&row.events_requested),
            delivery,
            description: row.description.clone(),
            status: match row.status.as_str() {
                "enabled" => Status::Enabled,
                "paused" => Status::Paused,
                _ => Status::Disabled,
            },
        }
    }

    async fn authorization(&self, row: &StreamRow) -> Option<String> {
        let sealed = row.authorization.as_ref()?;
        let Some(kept) = self.telling.unseal(&row.id, sealed) else {
            tracing::error!(
                stream = row.id,
                "what is to be sent in `Authorization` cannot be opened; set \
                 `tokens.key_encryption_key_file` to the key that sealed it, or let the receiver \
                 send it again"
            );
            return None;
        };
        if kept.is_out_of_date
            && let Some(authorization) = self.telling.seal(&row.id, &kept.secret)
        {
            let row = StreamRow {
                authorization: Some(authorization),
                ..row.clone()
            };
            if let Err(error) = self.state.store().update_stream(&row).await {
                tracing::warn!(%error, "the secret of a receiver was not sealed anew");
            }
        }
        Some(kept.secret)
    }
}
