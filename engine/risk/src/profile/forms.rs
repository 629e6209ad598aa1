//! How profiles are written, and how those written by older engines are read.

use domain::Timestamp;
use serde::Deserialize;

use super::{Fix, Home, Key, Profile};
use crate::counts::{Fading, Peaks, Usual};
use crate::stamp;

/// The form that profiles are written in today: postcard of [`Profile`].
pub const FORM: u32 = 3;

/// Why a stored profile cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A newer engine wrote it.
    #[error("form {0} is unknown to this engine; forms 1 to {FORM} are known")]
    Unknown(u32),
    /// It is damaged.
    #[error("a profile of form {0} is damaged")]
    Damaged(u32),
}

impl Profile {
    /// The profile in today's form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // INVARIANT: nothing in a profile can fail to serialise.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a profile of any known form. What an older form did not hold is as if it had not
    /// been seen yet; what waited for a step-up is dropped.
    ///
    /// # Errors
    /// When the form is unknown or the bytes are damaged.
    pub fn from_bytes(form: u32, bytes: &[u8]) -> Result<Self, FormError> {
        let damaged = |_| FormError::Damaged(form);
        match form {
            1 => postcard::from_bytes::<First>(bytes)
                .map(Self::from)
                .map_err(damaged),
            // It ended before the last two members.
            2 => postcard::from_bytes(&[bytes, &last_members()].concat()).map_err(damaged),
            FORM => postcard::from_bytes(bytes).map_err(damaged),
            newer => Err(FormError::Unknown(newer)),
        }
    }
}

/// The members that form 2 lacked, as they are in a profile that has seen nothing.
fn last_members() -> Vec<u8> {
    let Profile {
        bytes, usual_bytes, ..
    } = Profile::default();
    // INVARIANT: numbers cannot fail to serialise.
    postcard::to_stdvec(&(bytes, usual_bytes)).unwrap_or_default()
}

/// Form 1. Its last members, recent resources, events and what waited, are left unread.
#[derive(Deserialize)]
struct First {
    learnt: u32,
    #[serde(with = "stamp::option")]
    last_trusted: Option<Timestamp>,
    last_fix: Option<Fix>,
    countries: Usual,
    asns: Usual,
    prefixes: Usual,
    agents: Usual,
    devices: Usual,
    resources: Usual,
    actions: Usual,
    homes: Vec<Home>,
    hours: Vec<u8>,
    _requests: Fading,
    _objects: Fading,
    failures: Fading,
    usual_requests: FirstPeaks,
    usual_objects: FirstPeaks,
    _recent_objects: Vec<Key>,
    recent_events: Vec<Key>,
}

#[derive(Deserialize)]
struct FirstPeaks {
    mean: f32,
    windows: u16,
    peak: f32,
    began: u32,
}

impl From<FirstPeaks> for Peaks {
    fn from(old: FirstPeaks) -> Self {
        Self::of(old.mean, old.windows, old.peak, old.began)
    }
}

impl From<First> for Profile {
    fn from(old: First) -> Self {
        let [minutes, _, _] = <[Peaks; 3]>::default();
        Self {
            learnt: old.learnt,
            last_trusted: old.last_trusted,
            last_fix: old.last_fix,
            countries: old.countries.sorted(),
            asns: old.asns.sorted(),
            prefixes: old.prefixes.sorted(),
            agents: old.agents.sorted(),
            devices: old.devices.sorted(),
            resources: old.resources.sorted(),
            actions: old.actions.sorted(),
            homes: old.homes,
            hours: old.hours,
            failures: old.failures,
            // It counted requests in five minutes and resources in an hour.
            usual_requests: [old.usual_requests.into(), minutes, minutes],
            usual_objects: [minutes, old.usual_objects.into(), minutes],
            recent_events: old.recent_events,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile that the first released form wrote: 30 accesses of one subject.
    const WRITTEN: &str = include_str!("form_1.hex");

    #[test]
    fn a_profile_of_the_first_form_is_read() {
        let bytes = hex::decode(WRITTEN.trim()).unwrap();
        let profile = Profile::from_bytes(1, &bytes).unwrap();
        assert_eq!(profile.history(), 30);
        assert!(profile.is_settled() && profile.last_fix().is_some());
        let again = Profile::from_bytes(FORM, &profile.to_bytes()).unwrap();
        assert_eq!(again, profile);
    }

    #[test]
    fn a_profile_of_the_second_form_is_read() {
        let bytes = hex::decode(WRITTEN.trim()).unwrap();
        let profile = Profile::from_bytes(1, &bytes).unwrap();
        // Form 2 is form 3 without its end.
        let mut second = profile.to_bytes();
        second.truncate(second.len() - last_members().len());
        assert_eq!(Profile::from_bytes(2, &second).unwrap(), profile);
        second.pop();
        assert_eq!(Profile::from_bytes(2, &second), Err(FormError::Damaged(2)));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(
            Profile::from_bytes(FORM + 1, &[]),
            Err(FormError::Unknown(FORM + 1))
        );
        assert_eq!(
            Profile::from_bytes(FORM, &[1, 2, 3]),
            Err(FormError::Damaged(FORM))
        );
        assert_eq!(Profile::from_bytes(1, &[9]), Err(FormError::Damaged(1)));
    }
}
