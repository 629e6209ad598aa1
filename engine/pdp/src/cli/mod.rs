//! The command line.
//!
//! Exit status: 0 done, 1 the answer is "no" (a check found faults, the demo went wrong), 2 wrong
//! use or something that cannot be read. What a machine may want goes to standard output, with
//! `--json` as JSON; what people may want to follow goes to standard error.

mod audit;
mod bench;
mod check;
mod data;
mod demo;
mod gateway;
mod geo;
mod keys;
mod model;
mod output;
mod policy;
mod serve;
mod sessions;
mod signing_keys;
mod strangers;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Settings, SettingsError};
use output::Output;

/// A Zero Trust policy decision point: scores each request, evaluates Cedar policies, answers
/// allow, challenge, mfa or deny, and has it on record.
#[derive(Debug, Parser)]
#[command(name = "portreeve", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
struct Common {
    /// Settings; ./portreeve.toml if it is there. PORTREEVE_… variables override it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer gateways over HTTP (the default)
    Serve,
    /// Load settings, policies, entities, model and databases, say what was found, and stop
    Check,
    /// Play a day of a small organisation, with five attacks in it, through the real engine
    Demo(demo::DemoArgs),
    /// Keys of callers
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Sessions that were opened with the engine: list them, end them
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Keys that tokens and checkpoints are signed with
    #[command(subcommand)]
    SigningKeys(signing_keys::SigningKeysCommand),
    /// Policies: check, test, replay, publish, shadow, promote, go back
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Models: train, compare, shadow, promote, roll back, watch for drift
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Events: simulate them, import logs, export what was decided
    #[command(subcommand)]
    Data(data::DataCommand),
    /// The record of decisions: verify its chain, read its end
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// What gateways ask: which route a request takes
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Address databases: build one, look an address up
    #[command(subcommand)]
    Geo(geo::GeoCommand),
}

/// Why a command did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// The answer is no. The message, if there is one, says what to do.
    No(String),
    /// It could not be done at all.
    Unable(String),
}

impl Failure {
    fn unable(why: impl ToString) -> Self {
        Self::Unable(why.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::unable(error)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::unable(error)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    output::start_log();
    let output = Output {
        json: cli.common.json,
    };
    let settings = || Settings::load(cli.common.config.as_deref(), environment());
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => settings().map_err(Failure::from).and_then(serve::run),
        Command::Check => settings()
            .map_err(Failure::from)
            .and_then(|s| check::run(&s, output)),
        Command::Demo(args) => demo::run(args, output),
        Command::Keys(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| keys::run(command, &s, output)),
        Command::Sessions(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| sessions::run(command, &s, output)),
        Command::SigningKeys(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| signing_keys::run(&command, &s, output)),
        Command::Policy(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| policy::run(command, &s, output)),
        Command::Model(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| model::run(command, &s, output)),
        Command::Data(command) => data::run(command, settings, output),
        Command::Audit(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| audit::run(command, &s, output)),
        Command::Gateway(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| gateway::run(command, &s, output)),
        Command::Geo(command) => settings()
            .map_err(Failure::from)
            .and_then(|s| geo::run(command, &s, output)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No(message)) => {
            output::complain(&message);
            ExitCode::from(1)
        }
        Err(Failure::Unable(message)) => {
            output::complain(&message);
            ExitCode::from(2)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Who runs this command, for the record. A user of the machine who may write the store could
/// write any name there: this is for honest people to find each other.
fn os_user() -> String {
    let named = |wanted: &str| {
        environment()
            .find(|(name, value)| name == wanted && !value.is_empty())
            .and_then(|(_, value)| value.into_string().ok())
    };
    let number = || {
        use std::os::unix::fs::MetadataExt as _;
        let own = std::fs::metadata("/proc/self").ok()?;
        Some(format!("uid-{}", own.uid()))
    };
    let user = named("USER").or_else(|| named("LOGNAME")).or_else(number);
    format!("os:{}", user.as_deref().unwrap_or("unknown"))
}

/// An async runtime for a command that needs the engine or its store.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        // Policies may nest, within the limit that is held against them before they are parsed.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .map_err(Failure::unable)
}
