//! Points in time as text: RFC 3339 in, RFC 3339 in UTC with milliseconds out.

use domain::Timestamp;

/// Reads an RFC 3339 time. None when it is not one, or lies before 1970 or after 9999.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.trim().parse().ok()?;
    let millis = at.as_millisecond();
    let at = Timestamp::from_millis(millis);
    (at.millis() == millis).then_some(at)
}

/// Writes a time, for example `2026-11-20T23:01:00.000Z`.
#[must_use]
pub fn format(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.millis())
        .map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// A time that is written as text when it is serialised.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl serde::Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_and_absurd_ones_are_refused() {
        let at = parse("2026-11-20T23:01:00+02:00").unwrap();
        assert_eq!(format(at), "2026-11-20T21:01:00.000Z");
        for absurd in [
            "",
            "yesterday",
            "1969-12-31T23:59:59Z",
            "+010000-01-01T00:00:00Z",
            "12",
        ] {
            assert_eq!(parse(absurd), None, "{absurd}");
        }
    }
}
