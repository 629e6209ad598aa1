//! Reading the settings: the file, and the environment over it.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize as _;

use super::SettingsError;
use super::raw::Raw;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "portreeve.toml";
/// What environment variables begin with; `__` stands between levels.
const PREFIX: &str = "PORTREEVE_";

/// Sections that are promised and not built yet: refused with a clear word, never ignored.
const NOT_BUILT: [&str; 1] = ["redis"];

/// Reads file and environment.
pub(super) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Raw, SettingsError> {
    let one = |message: String| SettingsError(vec![message]);
    let named = file.is_some();
    let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => String::new(),
        Err(error) => return Err(one(format!("{}: {error}", path.display()))),
    };
    let in_file = |error: toml::de::Error| one(format!("{}: {error}", path.display()));
    let mut table: toml::Table = toml::from_str(&text).map_err(in_file)?;
    let faults = not_built(&table, &path.display().to_string());
    if !faults.is_empty() {
        return Err(SettingsError(faults));
    }
    // By itself first, because only then do faults have a line.
    toml::from_str::<Raw>(&text).map_err(in_file)?;

    let mut overrides = overrides(environment).map_err(one)?;
    overrides.sort();
    for (name, value) in overrides {
        let keys: Vec<String> = name
            .strip_prefix(PREFIX)
            .unwrap_or(&name)
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        let alone = nest(&keys, value_of(&value));
        let faults = not_built(&alone, &name);
        if !faults.is_empty() {
            return Err(SettingsError(faults));
        }
        Raw::deserialize(alone.clone())
            .map_err(|error| one(format!("environment variable {name}: {}", error.message())))?;
        merge(&mut table, alone);
    }
    Raw::deserialize(table).map_err(|error| one(error.message().to_owned()))
}

/// The variables that are settings. One that is not text is a fault: to pass over it would be to
/// run with another setting than the one that somebody made.
fn overrides(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, String> {
    environment
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| {
            let shown = name.to_string_lossy().into_owned();
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                _ => Err(format!("environment variable {shown}: is not UTF-8")),
            }
        })
        .collect()
}

fn not_built(table: &toml::Table, origin: &str) -> Vec<String> {
    let mut faults: Vec<String> = NOT_BUILT
        .into_iter()
        .filter(|name| table.contains_key(*name))
        .map(|name| format!("{origin}: `{name}` is not built yet; take it out"))
        .collect();
    let url = table
        .get("store")
        .and_then(|store| store.get("url"))
        .and_then(toml::Value::as_str);
    if url.is_some_and(|url| url.starts_with("postgres")) {
        faults.push(format!(
            "{origin}: `store.url`: PostgreSQL is not built yet; write `sqlite:FILE` or take it out"
        ));
    }
    faults
}

/// Numbers, booleans and arrays as TOML writes them; anything else is text.
fn value_of(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn nest(keys: &[String], value: toml::Value) -> toml::Table {
    let mut table = toml::Table::new();
    match keys {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            table.insert(key.clone(), toml::Value::Table(nest(rest, value)));
        }
    }
    table
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(value)) => merge(below, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
