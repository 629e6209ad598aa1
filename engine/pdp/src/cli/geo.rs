//! `portreeve geo`: address databases.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ::geo::{Geo, GeoPaths, World, build};
use clap::Subcommand;
use domain::Signal;
use serde_json::json;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum GeoCommand {
    /// Build a database from a readable file of places and networks
    Build {
        /// The file, as data/geo/demo.toml
        source: PathBuf,
        /// Where to write the database
        #[arg(long)]
        out: PathBuf,
        /// Seconds since 1970 to note as the time of the build; the same source and time give
        /// the same bytes
        #[arg(long, default_value_t = 0)]
        built_at: u64,
    },
    /// Say what the databases know of an address
    Lookup {
        /// The address
        address: IpAddr,
        /// A database to ask instead of those in the settings
        #[arg(long, value_name = "FILE")]
        database: Option<PathBuf>,
    },
}

pub(super) fn run(command: GeoCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        GeoCommand::Build {
            source,
            out,
            built_at,
        } => {
            let text = fs::read_to_string(&source)
                .map_err(|error| Failure::Unable(format!("{}: {error}", source.display())))?;
            let world =
                World::parse(&source, &text).map_err(|error| Failure::No(error.to_string()))?;
            let bytes = build::build(&world, built_at)
                .map_err(|error| Failure::No(format!("{}: {error}", source.display())))?;
            // Beside its place first: a reader must never see half a database.
            let draft = out.with_extension("mmdb.new");
            fs::write(&draft, &bytes)
                .and_then(|()| fs::rename(&draft, &out))
                .map_err(|error| Failure::Unable(format!("{}: {error}", out.display())))?;
            let report = json!({
                "database": out,
                "bytes": bytes.len(),
                "networks": world.network.len(),
                "places": world.place.len(),
            });
            let text = format!(
                "{}: {} networks, {} places, {} bytes",
                out.display(),
                world.network.len(),
                world.place.len(),
                bytes.len()
            );
            output.print(&report, &text)
        }
        GeoCommand::Lookup { address, database } => {
            let paths = database.map_or_else(
                || settings.geo.clone(),
                |path| GeoPaths {
                    city: Some(path.clone()),
                    asn: Some(path.clone()),
                    anonymous: Some(path),
                    threats: settings.geo.threats.clone(),
                },
            );
            if paths == GeoPaths::default() {
                return Err(Failure::Unable(
                    "no database: name one with `--database`, or set `geo.city`, `geo.asn`, \
                     `geo.anonymous`"
                        .to_owned(),
                ));
            }
            let geo = Geo::open(&paths).map_err(Failure::unable)?;
            let found = geo.locate(address.to_canonical());
            let place = found.place.known();
            let network = found.network.known();
            let anonymity = found.anonymity.known().copied().unwrap_or_default();
            let spot = place.and_then(|place| place.spot);
            let flags: Vec<&str> = [
                ("vpn", anonymity.vpn),
                ("public proxy", anonymity.public_proxy),
                ("residential proxy", anonymity.residential_proxy),
                ("tor", anonymity.tor),
                ("hosting", anonymity.hosting),
                ("relay", anonymity.relay),
                ("corporate exit", anonymity.corporate_exit),
                ("known to attack", anonymity.threat),
            ]
            .into_iter()
            .filter_map(|(name, set)| set.then_some(name))
            .collect();
            let country = place.and_then(|place| place.country);
            let report = json!({
                "address": address,
                "country": country.as_ref().map(domain::signal::Country::as_str),
                "city": place.and_then(|place| place.city.as_deref()),
                "latitude": spot.map(|spot| spot.latitude),
                "longitude": spot.map(|spot| spot.longitude),
                "accuracy_radius_km": spot.map(|spot| spot.radius_km),
                "time_zone": place.and_then(|place| place.time_zone.as_deref()),
                "asn": network.map(|network| network.asn),
                "organisation": network.and_then(|network| network.organisation.as_deref()),
                "flags": flags,
            });
            let mut text = vec![format!("{address}")];
            if let Some(place) = place {
                let city = place.city.as_deref().unwrap_or("no city");
                let country = place
                    .country
                    .as_ref()
                    .map_or("??", |country| country.as_str());
                text.push(format!("place    {city}, {country}"));
            }
            if let Some(spot) = spot {
                text.push(format!(
                    "point    {:.4}, {:.4} within {} km",
                    spot.latitude, spot.longitude, spot.radius_km
                ));
            }
            if let Some(network) = network {
                let whose = network.organisation.as_deref().unwrap_or_default();
                text.push(format!("network  AS{} {whose}", network.asn));
            }
            if !flags.is_empty() {
                text.push(format!("flags    {}", flags.join(", ")));
            }
            let nothing = !matches!(found.place, Signal::Known(_))
                && !matches!(found.network, Signal::Known(_))
                && flags.is_empty();
            if nothing {
                text.push("nothing is known of it".to_owned());
            }
            output.print(&report, &text.join("\n"))?;
            if nothing {
                Err(Failure::No(String::new()))
            } else {
                Ok(())
            }
        }
    }
}
