//! Settings: one TOML file, overridden by the environment, checked in one place before a port
//! is opened. All faults are told together.

mod limits;
mod listen;
mod raw;
mod read;
mod section;
mod sessions;
mod shared_signals;
mod signing;
mod tls;
mod trust;
mod url;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::Level;
use geo::GeoPaths;
use wire::batch::BatchLimits;

use crate::hearing::TransmitterSettings;
use crate::issuers::IssuerSettings;
use crate::outbound::OutboundSettings;
use crate::signing::SigningSettings;

pub use shared_signals::{AlertSettings, AlertTarget, SsfSettings};
pub use tls::{TlsClients, TlsSettings};
pub use trust::CertificateSettings;

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the engine listens.
    pub listen: SocketAddr,
    /// Where administration is asked for, which `listen` then does not answer. None: there, too.
    pub admin_listen: Option<SocketAddr>,
    /// Where it listens for Envoy's external authorization over gRPC. None: nowhere.
    pub grpc_listen: Option<GrpcListen>,
    /// What the engine shows to those who connect. None: it speaks in clear.
    pub tls: Option<TlsSettings>,
    /// What gateways ask, and what they get back.
    pub gateway: Arc<gateway::Gateway>,
    /// What the engine is called from outside: issuer and PDP identifier. None: `http://`, or
    /// `https://` with TLS, and the address it listens on.
    pub public_url: Option<String>,
    /// SQLite, journal, keys.
    pub data_dir: PathBuf,
    /// The SQLite file.
    pub store: PathBuf,
    /// Policies and schema.
    pub policies: PathBuf,
    /// Entities; none for the default file, if it is there.
    pub entities: Option<PathBuf>,
    /// Whether the folder of policies is watched, and taken up when it has changed.
    pub watch_policies: bool,
    /// How long policies that could not be renewed are trusted.
    pub stale_deny_after: Duration,
    /// Models.
    pub models: PathBuf,
    /// The model that scores, `name` or `name@version`.
    pub champion: String,
    /// By how much a model may do worse than the champion and still be promoted, 0 to 1.
    pub model_margin: f64,
    /// Address databases.
    pub geo: GeoPaths,
    /// The score.
    pub risk: risk::Settings,
    /// The stored attribute that says how sensitive a resource is.
    pub sensitivity_attribute: String,
    /// The attribute of stored resources that says how large they are, bytes.
    pub size_attribute: String,
    /// Attribute of a subject that says whose work is like its own: a department, a role.
    pub peer_attribute: String,
    /// Sessions.
    pub sessions: SessionSettings,
    /// Looking after live sessions.
    pub monitor: MonitorSettings,
    /// Attribute of a resource that names the service it belongs to.
    pub audience_attribute: String,
    /// Type of the services that the holders of keys act as, if nothing else is said.
    pub service_type: String,
    /// Type of the entities that stand for services at the token endpoint.
    pub audience_type: domain::Name,
    /// Life of tokens that services get for themselves, seconds (X1).
    pub service_token_ttl_seconds: u64,
    /// Life of minted tokens, seconds.
    pub token_ttl_seconds: u64,
    /// The keys that tokens are signed with.
    pub signing: SigningSettings,
    /// Whether access tokens have a place in a status list, and such lists are served.
    pub status_list: bool,
    /// Refresh tokens.
    pub refresh: RefreshSettings,
    /// The journal and the records.
    pub audit: AuditSettings,
    /// Limits on everything that grows.
    pub limits: Limits,
    /// Whose tokens are believed besides our own.
    pub issuers: Vec<IssuerSettings>,
    /// Whose shared signals are heard.
    pub transmitters: Vec<TransmitterSettings>,
    /// Which client certificates are believed.
    pub certificates: CertificateSettings,
    /// Whom the engine may call.
    pub outbound: OutboundSettings,
    /// What the engine tells other systems.
    pub ssf: SsfSettings,
    /// Whom it alerts.
    pub alerts: Vec<AlertSettings>,
}

/// Where gRPC is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcListen {
    /// The address.
    pub address: SocketAddr,
    /// Whether somebody wants it there; where it is only the default, an address that is taken
    /// already is a warning.
    pub is_set: bool,
}

impl GrpcListen {
    /// Where it is unless somebody says otherwise.
    pub const DEFAULT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
        std::net::Ipv4Addr::LOCALHOST,
        8182,
    ));
}

/// How sessions are kept.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// A session that nobody has seen for so long is forgotten; until then it is held against
    /// its birth, however long it was idle.
    pub remember: Duration,
    /// What sessions of each tier may, the least strict first (A1 to A3).
    pub tiers: [TierSettings; 3],
    /// A session that was opened with the engine ends when nobody has used it for so long (E1).
    pub idle: Duration,
    /// A handle that is older is replaced at its next use (E3).
    pub rotate_handle_every: Duration,
    /// For so long after the next handle has first come the one before is as good.
    pub handle_overlap: Duration,
    /// Levels of `acr` and `amr` values.
    pub acr_levels: BTreeMap<String, Level>,
    /// `acr_values` to ask for when a challenge is wanted.
    pub challenge_acr: String,
    /// `acr_values` to ask for when MFA is wanted.
    pub mfa_acr: String,
}

/// How live sessions are looked after.
#[derive(Clone, Copy, Debug)]
pub struct MonitorSettings {
    /// Sessions that were used since are looked at so often (M1).
    pub every: Duration,
    /// All live sessions are looked at so often.
    pub sweep_every: Duration,
    /// A session whose score rose by more points than this since it was granted is acted upon (M6).
    pub rise: u8,
}

/// What sessions of one tier may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierSettings {
    /// One ends then, however busy it is (E2).
    pub absolute: Duration,
    /// Live ones of one subject with a client at most, when one of this tier is opened; the least
    /// recently used makes room (E4).
    pub most: u32,
}

impl SessionSettings {
    /// What sessions of a tier may.
    #[must_use]
    pub const fn tier(&self, tier: domain::Tier) -> TierSettings {
        let [standard, restricted, strict] = self.tiers;
        match tier {
            domain::Tier::Standard => standard,
            domain::Tier::Restricted => restricted,
            domain::Tier::Strict => strict,
        }
    }
}

/// How long refresh tokens live.
#[derive(Clone, Copy, Debug)]
pub struct RefreshSettings {
    /// A family ends then, however often it is used (T3).
    pub ttl: Duration,
    /// A family ends when it was not used for so long.
    pub idle: Duration,
    /// For so long after a refresh the token before may come again, and is answered the same: the
    /// answer may have been lost.
    pub grace: Duration,
}

/// How decisions are recorded.
#[derive(Clone, Copy, Debug)]
pub struct AuditSettings {
    /// The journal.
    pub journal: store::JournalSettings,
    /// Days that records are kept; none: for ever.
    pub keep_days: Option<u32>,
    /// How long new records may be without a checkpoint.
    pub checkpoint_every: Duration,
}

/// Limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body, bytes (413).
    pub body_bytes: usize,
    /// Largest policy set or load of entities, bytes (413).
    pub upload_bytes: usize,
    /// Keys at most (422); one that is over makes room.
    pub keys: usize,
    /// Stored entities at most (422).
    pub entities: usize,
    /// Largest batch (413).
    pub batch: BatchLimits,
    /// Longest name and longest value of a header, bytes (431, G4).
    pub header_bytes: usize,
    /// Requests at work at once (503).
    pub concurrency: usize,
    /// Of one caller (429).
    pub concurrency_per_caller: usize,
    /// Decisions that take longer mean that there are too many of them at once (503); zero: they
    /// never do.
    pub shed_after: Duration,
    /// Open connections.
    pub connections: usize,
    /// How often one caller may ask (429, G1).
    pub caller_rate: Option<Rate>,
    /// How often one subject may be asked about in an access (429, G3).
    pub subject_rate: Option<Rate>,
    /// Most results in a page of a search.
    pub search_results: usize,
    /// Most decisions for a page of a search.
    pub search_evaluations: usize,
    /// Searches at work at once (503).
    pub searches: usize,
    /// Time for a whole request (503).
    pub request_timeout: Duration,
    /// Time for each signal that is not in memory.
    pub signal_timeout: Duration,
    /// How long decisions go on while the store fails, from what is in memory.
    pub store_deny_after: Duration,
    /// Profiles held in memory.
    pub profiles_in_memory: usize,
    /// Sessions held in memory.
    pub sessions_in_memory: usize,
    /// Devices held in memory.
    pub devices_in_memory: usize,
    /// Addresses, networks and autonomous systems whose failures are counted.
    pub sources_in_memory: usize,
    /// Device records at most (422).
    pub devices: u32,
    /// Revocations that are not over (503): some 40 bytes of memory each.
    pub revocations: usize,
}

/// How often somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Once in so long, on average.
    pub every: Duration,
    /// So many at once, after a while without any.
    pub burst: NonZeroU32,
}

impl Default for Settings {
    /// What holds when nothing is set.
    fn default() -> Self {
        // INVARIANT: the defaults pass their own check; a test sees that they do.
        #[expect(clippy::expect_used, reason = "constants that a test checks")]
        raw::Raw::default().check().expect("the defaults are sound")
    }
}

impl Settings {
    /// Reads the file, if one is named or `./portreeve.toml` is there, and the environment.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line or variable.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        read::load(file, environment)?.check()
    }

    /// The file of entities, looked for anew each time: the one that is named, or the one beside
    /// the policies if there is one now.
    #[must_use]
    pub fn entities_file(&self) -> Option<PathBuf> {
        self.entities.clone().or_else(|| {
            let beside = self.entities_beside();
            beside.is_file().then_some(beside)
        })
    }

    /// Where entities lie when no file is named.
    #[must_use]
    pub fn entities_beside(&self) -> PathBuf {
        self.policies.join("entities.json")
    }

    /// The scheme of the URLs that it answers.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The name of the engine from outside, once it is known where it listens.
    #[must_use]
    pub fn public_url(&self, listening: SocketAddr) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("{}://{listening}", self.scheme()))
    }
}
