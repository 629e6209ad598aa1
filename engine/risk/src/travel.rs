//! Distances on the earth and what they imply.

use domain::signal::Spot;

/// Mean radius of the earth (IUGG), kilometres.
const EARTH_KM: f64 = 6371.0088;

/// Two requests closer in time than this are taken as this far apart: clocks and networks are
/// not finer.
pub const TIME_FLOOR_SECONDS: f64 = 60.0;

/// Great-circle distance by the haversine formula, kilometres.
#[must_use]
pub fn distance_km(from: Spot, to: Spot) -> f64 {
    let (lat1, lat2) = (from.latitude.to_radians(), to.latitude.to_radians());
    let half_lat = (lat2 - lat1) / 2.0;
    let half_lon = (to.longitude - from.longitude).to_radians() / 2.0;
    let a = half_lat.sin().powi(2) + lat1.cos() * lat2.cos() * half_lon.sin().powi(2);
    2.0 * EARTH_KM * a.sqrt().clamp(0.0, 1.0).asin()
}

/// The distance that is left when both points may be anywhere within their accuracy radius:
/// `max(0, d − r1 − r2)`.
#[must_use]
pub fn sure_distance_km(from: Spot, to: Spot) -> f64 {
    (distance_km(from, to) - from.radius_km - to.radius_km).max(0.0)
}

/// Kilometres per hour.
#[must_use]
pub fn speed_kmh(distance_km: f64, seconds: f64) -> f64 {
    distance_km * 3600.0 / seconds.max(TIME_FLOOR_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn spot(latitude: f64, longitude: f64, radius_km: f64) -> Spot {
        Spot {
            latitude,
            longitude,
            radius_km,
        }
    }

    #[test]
    fn known_distances() {
        let paris = spot(48.8566, 2.3522, 20.0);
        let osaka = spot(34.6937, 135.5023, 50.0);
        assert!((distance_km(paris, osaka) - 9633.6).abs() < 1.0);
        assert!((sure_distance_km(paris, osaka) - distance_km(paris, osaka) + 70.0).abs() < 1e-9);
        assert!(distance_km(paris, paris).abs() < f64::EPSILON);
        let antipodes = distance_km(spot(0.0, 0.0, 0.0), spot(0.0, 180.0, 0.0));
        assert!((antipodes - 20_015.0).abs() < 1.0);
    }

    #[test]
    fn r4_radii_and_the_time_floor_tame_the_speed() {
        let near = sure_distance_km(spot(51.5, -0.12, 100.0), spot(51.75, -1.25, 76.0));
        assert!(
            near.abs() < f64::EPSILON,
            "within both radii nobody has moved"
        );
        assert!((speed_kmh(500.0, 0.0) - 30_000.0).abs() < 1e-6);
        assert!((speed_kmh(900.0, 3600.0) - 900.0).abs() < 1e-9);
    }
}
