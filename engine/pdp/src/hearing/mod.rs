//! Shared signals of others (SSF 1.0): taken, checked, acted on.
//!
//! A token comes by push or is fetched; [`Hearing::open`] checks it, [`take`] notes in one
//! transaction that it was taken and what is to be done, and only then is it acknowledged. What it
//! says is done at once ([`effects`]), in the order in which it was taken, and again after a crash
//! until it is done: every effect may be done twice.

mod effects;
mod forgetting;
pub(crate) mod polling;
mod settings;
mod who;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::{EntityRef, Heard, Timestamp};
use ssf::delivery::{ErrorCode, SetError};
use ssf::set::{Received, TYP};
use store::Store;
use store::sqlite::{HeardRow, StoreError};
use token::Refusal;
use token::jws::{key_id, open_signed};
use tokio::sync::Mutex;

use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;
use crate::issuers::KeySource;

pub(crate) use forgetting::{clear, tidy};
pub use settings::{PollSettings, RawTransmitter, SubjectNames, TransmitterSettings, file_faults};

/// A token that is older says nothing that should still be acted on, and could be one of which
/// nobody remembers that it was taken, seconds.
const AGE_MAX_SECONDS: i64 = 30 * 86_400;
/// For how long it is remembered which tokens were taken, seconds: longer than they may be old.
const REMEMBERED_SECONDS: i64 = AGE_MAX_SECONDS + 86_400;
/// Longest `jti`, bytes.
const JTI_BYTES_MAX: usize = 512;
/// Subjects of whom something is remembered, at most; some 200 bytes each.
const SUBJECTS_MOST: usize = 1_000_000;
/// Tokens that are acted on in one go.
const BATCH: u32 = 100;

/// Why a token was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It never will be. What is said of it names nothing that would have been right.
    Refused(ErrorCode, String),
    /// It may be, another time: its keys or the store are not at hand.
    NotNow,
}

impl NotTaken {
    fn refused(code: ErrorCode, why: impl Into<String>) -> Self {
        Self::Refused(code, why.into())
    }

    /// What a transmitter is told. None: nothing yet.
    pub(crate) fn told(self) -> Option<SetError> {
        match self {
            Self::Refused(err, description) => Some(SetError { err, description }),
            Self::NotNow => None,
        }
    }
}

/// What one who tells of subjects says of one.
type Said = BTreeMap<Arc<str>, Heard>;

/// Whose signals are heard, and what they said of subjects.
#[derive(Debug, Default)]
pub struct Hearing {
    transmitters: Vec<Transmitter>,
    /// Everything that is remembered of subjects: few of them, and decisions ask for each.
    said: RwLock<HashMap<EntityRef, Said>>,
    /// Held by the one who acts on what was taken, so that it is done in order and once at a time.
    acting: Mutex<()>,
}

/// One of those who are heard.
#[derive(Debug)]
pub(crate) struct Transmitter {
    pub(crate) settings: TransmitterSettings,
    name: Arc<str>,
    keys: KeySource,
}

impl Hearing {
    /// Those of the settings, with what is remembered of what they said.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn restore(
        settings: &[TransmitterSettings],
        store: &Store,
    ) -> Result<Self, StoreError> {
        let transmitters = settings.iter().map(|settings| Transmitter {
            name: settings.issuer.as_str().into(),
            keys: KeySource::new(
                &settings.issuer,
                settings.keys.clone(),
                settings::STALE_MAX_SECONDS,
            ),
            settings: settings.clone(),
        });
        let mut said: HashMap<EntityRef, Said> = HashMap::new();
        for HeardRow {
            subject,
            iss,
            heard,
        } in store.heard().await?
        {
            // Who is not heard any more says nothing: nobody could take it back.
            if !settings.iter().any(|settings| settings.issuer == iss) {
                continue;
            }
            let of = said.entry(subject).or_default();
            of.insert(iss.into(), heard);
        }
        Ok(Self {
            transmitters: transmitters.collect(),
            said: RwLock::new(said),
            acting: Mutex::default(),
        })
    }

    /// Whether anybody is heard.
    #[must_use]
    pub(crate) const fn is_deaf(&self) -> bool {
        self.transmitters.is_empty()
    }

    /// Those who are polled.
    pub(crate) fn polled(&self) -> impl Iterator<Item = usize> {
        let all = self.transmitters.iter().enumerate();
        all.filter(|(_, one)| one.settings.poll.is_some())
            .map(|(place, _)| place)
    }

    pub(crate) fn transmitter(&self, place: usize) -> Option<&Transmitter> {
        self.transmitters.get(place)
    }

    fn named(&self, issuer: &str) -> Option<&Transmitter> {
        let mut all = self.transmitters.iter();
        all.find(|one| one.settings.issuer == issuer)
    }

    /// What was said of a subject, by all together. None: nothing.
    #[must_use]
    pub(crate) fn of(&self, subject: &EntityRef, now: Timestamp) -> Option<Heard> {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.get(subject)
            .map(|said| Heard::together(said.values(), now))
    }

    fn said_by(&self, transmitter: &Transmitter, subject: &EntityRef) -> Heard {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        let of = said.get(subject);
        of.and_then(|of| of.get(&transmitter.name))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes over into memory what is kept.
    fn note(&self, transmitter: &Transmitter, subject: &EntityRef, heard: Heard) {
        let mut said = self.said.write().unwrap_or_else(PoisonError::into_inner);
        let of = said.entry(subject.clone()).or_default();
        of.insert(Arc::clone(&transmitter.name), heard);
    }

    fn is_full_for(&self, subject: &EntityRef) -> bool {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.len() >= SUBJECTS_MOST && !said.contains_key(subject)
    }

    /// Those who push with this `Authorization`. Every secret is compared, and in full.
    pub(crate) async fn who_sends(&self, authorization: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        for (place, one) in self.transmitters.iter().enumerate() {
            let Some(file) = &one.settings.authorization_file else {
                continue;
            };
            match tokio::fs::read(file).await {
                Ok(secret) => {
                    let secret = secret.trim_ascii();
                    let is_it = verify_slices_are_equal(secret, authorization).is_ok();
                    if is_it && !secret.is_empty() {
                        found.push(place);
                    }
                }
                Err(error) => tracing::error!(
                    file = %file.display(), %error, "what a transmitter must send cannot be read"
                ),
            }
        }
        found
    }

    /// Which of these a token says that it is of.
    ///
    /// # Errors
    /// When it is of none of them.
    pub(crate) fn of_these(&self, places: &[usize], text: &str) -> Result<&Transmitter, NotTaken> {
        let issuer = token::jws::claimed_issuer(text).ok_or_else(|| {
            NotTaken::refused(
                ErrorCode::InvalidRequest,
                "the body is no signed token with `iss`",
            )
        })?;
        let mut all = places
            .iter()
            .filter_map(|place| self.transmitters.get(*place));
        all.find(|one| one.settings.issuer == issuer)
            .ok_or_else(|| {
                NotTaken::refused(ErrorCode::InvalidIssuer, "its issuer is not heard here")
            })
    }
}

impl Transmitter {
    /// Checks a token: form, signature, whom it is from and for, what it holds.
    async fn open(&self, app: &App, text: &str, now: Timestamp) -> Result<Checked, NotTaken> {
        let kid = key_id(text, &[TYP]).map_err(|why| refused(&why))?;
        let keys = self.keys.keys_for(&kid, &app.outbound, now).await;
        let keys = keys.ok_or(NotTaken::NotNow)?;
        if self.keys.may_have(&kid, &keys, now) {
            return Err(NotTaken::NotNow);
        }
        let (claims, _) = open_signed(text, TYP, &*keys).map_err(|why| refused(&why))?;
        let text = serde_json::Value::Object(claims.clone()).to_string();
        let set = Received::read(claims).map_err(|why| {
            // Its words are of the token's own members.
            NotTaken::refused(ErrorCode::InvalidRequest, why.to_string())
        })?;
        if set.iss != self.settings.issuer {
            let why = "its issuer is not who sends it";
            return Err(NotTaken::refused(ErrorCode::InvalidIssuer, why));
        }
        if !set.aud.contains(&self.settings.audience) {
            let why = "it is meant for somebody else";
            return Err(NotTaken::refused(ErrorCode::InvalidAudience, why));
        }
        if set.jti.len() > JTI_BYTES_MAX {
            let why = format!("`jti` is longer than {JTI_BYTES_MAX} bytes");
            return Err(NotTaken::refused(ErrorCode::InvalidRequest, why));
        }
        let issued = Timestamp::from_seconds(set.iat);
        if issued > now.plus_seconds(CLOCK_SKEW_SECONDS) {
            let why = "`iat` lies in the future";
            return Err(NotTaken::refused(ErrorCode::InvalidRequest, why));
        }
        if issued < now.plus_seconds(-AGE_MAX_SECONDS) {
            let why = "it is too old to be acted on";
            return Err(NotTaken::refused(ErrorCode::InvalidRequest, why));
        }
        Ok(Checked { set, text })
    }
}

/// A token whose signature and claims hold.
struct Checked {
    set: Received,
    /// Its claims, as they are kept.
    text: String,
}

fn refused(why: &Refusal) -> NotTaken {
    match why {
        Refusal::UnknownKey | Refusal::Signature | Refusal::Algorithm => NotTaken::refused(
            ErrorCode::InvalidKey,
            "no key of its issuer has signed it as it says",
        ),
        why => NotTaken::refused(ErrorCode::InvalidRequest, why.to_string()),
    }
}

/// Takes a token of a transmitter: checks it, makes durable what is to be done, and does it. Taken
/// again it is as taken as before.
///
/// # Errors
/// Why it was not taken; nothing remembers it then, so that a better one of the same name can be.
pub(crate) async fn take(app: &App, transmitter: &Transmitter, text: &str) -> Result<(), NotTaken> {
    let checked = check(app, transmitter, text, None).await?;
    keep(app, checked).await.map(|_| ())
}

/// Checks a token, and counts it where it is refused. `named` is what it is called where it was
/// fetched.
async fn check(
    app: &App,
    transmitter: &Transmitter,
    text: &str,
    named: Option<&str>,
) -> Result<Checked, NotTaken> {
    let now = app.inputs.clock.now();
    let checked = transmitter.open(app, text, now).await;
    let checked = checked.and_then(|checked| {
        if named.is_some_and(|named| named != checked.set.jti) {
            let why = "its `jti` is another than the one that it was given by";
            return Err(NotTaken::refused(ErrorCode::InvalidRequest, why));
        }
        Ok(checked)
    });
    if let Err(why) = &checked {
        let result = match why {
            NotTaken::Refused(..) => "refused",
            NotTaken::NotNow => "not_now",
        };
        app.metrics.heard(&transmitter.settings.issuer, result);
    }
    checked
}

/// Keeps a token that holds, and does what it says. False: it was taken before.
async fn keep(app: &App, Checked { set, text }: Checked) -> Result<bool, NotTaken> {
    let now = app.inputs.clock.now();
    let taken = app.state.store().hear(&set.iss, &set.jti, &text, now).await;
    let (result, done) = match taken {
        Ok(Some(_)) => {
            // It is durable: whatever becomes of it now, it is done in the end.
            act(app).await;
            ("taken", Ok(true))
        }
        Ok(None) => ("again", Ok(false)),
        Err(error) => {
            tracing::error!(%error, "a security event token could not be kept");
            ("not_now", Err(NotTaken::NotNow))
        }
    };
    app.metrics.heard(&set.iss, result);
    done
}

/// Does what was taken and is not done yet.
pub(crate) async fn act(app: &App) {
    let _alone = app.hearing.acting.lock().await;
    loop {
        let waiting = match app.state.store().heard_sets(BATCH).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "what was heard cannot be read; it is tried again");
                return;
            }
        };
        if waiting.is_empty() {
            return;
        }
        for one in waiting {
            if let Err(error) = effects::of(app, &one.claims).await {
                tracing::error!(%error, "what was heard is not done; it is tried again");
                return;
            }
            if let Err(error) = app.state.store().heard_done(one.number).await {
                tracing::error!(%error, "what was heard is done, and is done again");
                return;
            }
        }
    }
}
