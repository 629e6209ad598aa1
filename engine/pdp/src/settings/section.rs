//! What sections of the settings are made of.

use std::time::Duration;

use serde::Deserialize;

/// A section: its members with their defaults, all of which a file may leave out.
macro_rules! section {
    ($name:ident { $($field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        #[cfg(test)]
        impl $name {
            pub(super) const KEYS: &[&str] = &[$(stringify!($field)),+];
        }
    };
}

pub(super) use section;

/// A length of time: seconds as a number, or text such as `24h` or `50ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a number of seconds, or text such as \"24h\" or \"50ms\""
        )]
        enum Form {
            Seconds(u64),
            Text(String),
        }
        match Form::deserialize(from)? {
            Form::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Form::Text(text) => text
                .parse::<jiff::Span>()
                .ok()
                .and_then(|span| {
                    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                        .ok()
                })
                .and_then(|span| Duration::try_from(span).ok())
                .map(Self)
                .ok_or_else(|| {
                    serde::de::Error::custom(format!(
                        "`{text}` is no length of time: write seconds, or text such as \"24h\""
                    ))
                }),
        }
    }
}
