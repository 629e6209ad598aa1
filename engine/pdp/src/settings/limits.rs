//! The limits on everything that grows, as text holds them, and their check.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use wire::batch::BatchLimits;

use super::section::{Span, section};
use super::{Limits, Rate};

/// What no limit may exceed: more is a slip, or "no limit", which none of them has.
const LIMIT_MAX: usize = 1_000_000_000;

/// How often in a second somebody may be let to ask: once in an hour, to what nobody reaches.
const RATES: std::ops::RangeInclusive<f64> = 0.000_27..=1_000_000.0;

/// How long a whole allowance may take to come back.
const ALLOWANCE_MAX: Duration = Duration::from_secs(86_400);

section!(RawLimits {
    body_bytes: usize = 256 << 10,
    upload_bytes: usize = 16 << 20,
    keys: usize = 10_000,
    entities: usize = 1_000_000,
    devices: usize = 1_000_000,
    batch_items: usize = 100,
    batch_bytes: usize = 1 << 20,
    header_bytes: usize = 8192,
    concurrency: usize = 1024,
    concurrency_per_caller: usize = 512,
    shed_after: Span = Span(Duration::from_millis(200)),
    connections: usize = 4096,
    caller_per_second: f64 = 0.0,
    caller_burst: u32 = 0,
    subject_per_second: f64 = 0.0,
    subject_burst: u32 = 0,
    search_results: usize = 1000,
    search_evaluations: usize = 10_000,
    searches: usize = 2,
    request_timeout: Span = Span(Duration::from_secs(2)),
    signal_timeout: Span = Span(Duration::from_millis(50)),
    store_deny_after: Span = Span(Duration::from_secs(300)),
    profiles_in_memory: usize = 100_000,
    sessions_in_memory: usize = 200_000,
    devices_in_memory: usize = 100_000,
    sources_in_memory: usize = 100_000,
    revocations: usize = 5_000_000,
    outbound_allow: Vec<String> = Vec::new(),
    outbound_ca: Option<PathBuf> = None,
});

/// Checks them.
pub(super) fn check(raw: &RawLimits, faults: &mut Vec<String>) -> Limits {
    for (name, value) in [
        ("body_bytes", raw.body_bytes),
        ("upload_bytes", raw.upload_bytes),
        ("keys", raw.keys),
        ("entities", raw.entities),
        ("devices", raw.devices),
        ("batch_items", raw.batch_items),
        ("batch_bytes", raw.batch_bytes),
        ("header_bytes", raw.header_bytes),
        ("concurrency", raw.concurrency),
        ("concurrency_per_caller", raw.concurrency_per_caller),
        ("connections", raw.connections),
        ("search_results", raw.search_results),
        ("search_evaluations", raw.search_evaluations),
        ("searches", raw.searches),
        ("profiles_in_memory", raw.profiles_in_memory),
        ("sessions_in_memory", raw.sessions_in_memory),
        ("devices_in_memory", raw.devices_in_memory),
        ("sources_in_memory", raw.sources_in_memory),
        ("revocations", raw.revocations),
    ] {
        if !(1..=LIMIT_MAX).contains(&value) {
            faults.push(format!("`limits.{name}` is {value}: 1 to {LIMIT_MAX}"));
        }
    }
    for (name, span) in [
        ("request_timeout", raw.request_timeout),
        ("signal_timeout", raw.signal_timeout),
    ] {
        if span.0.is_zero() {
            faults.push(format!("`limits.{name}` must be longer than nothing"));
        }
    }
    Limits {
        body_bytes: raw.body_bytes,
        upload_bytes: raw.upload_bytes,
        keys: raw.keys,
        entities: raw.entities,
        devices: u32::try_from(raw.devices).unwrap_or(u32::MAX),
        batch: BatchLimits {
            items: raw.batch_items,
            bytes: raw.batch_bytes,
        },
        header_bytes: raw.header_bytes,
        concurrency: raw.concurrency,
        concurrency_per_caller: raw.concurrency_per_caller,
        shed_after: raw.shed_after.0,
        connections: raw.connections,
        caller_rate: check_rate("caller", raw.caller_per_second, raw.caller_burst, faults),
        subject_rate: check_rate("subject", raw.subject_per_second, raw.subject_burst, faults),
        search_results: raw.search_results,
        search_evaluations: raw.search_evaluations,
        searches: raw.searches,
        request_timeout: raw.request_timeout.0,
        signal_timeout: raw.signal_timeout.0,
        store_deny_after: raw.store_deny_after.0,
        profiles_in_memory: raw.profiles_in_memory,
        sessions_in_memory: raw.sessions_in_memory,
        devices_in_memory: raw.devices_in_memory,
        sources_in_memory: raw.sources_in_memory,
        revocations: raw.revocations,
    }
}

/// How often somebody may ask; none for 0. Without a burst, as much as there is in a second.
fn check_rate(who: &str, per_second: f64, burst: u32, faults: &mut Vec<String>) -> Option<Rate> {
    if per_second == 0.0 {
        if burst != 0 {
            faults.push(format!(
                "`limits.{who}_burst` is {burst}, and there is no `limits.{who}_per_second` that it \
                 goes with"
            ));
        }
        return None;
    }
    if !RATES.contains(&per_second) {
        faults.push(format!(
            "`limits.{who}_per_second` is {per_second}: 0 for no limit, or {} to {}; 0.1 is once in \
             ten seconds",
            RATES.start(),
            RATES.end()
        ));
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a million at most"
    )]
    let in_a_second = per_second.ceil() as u32;
    let burst = NonZeroU32::new(burst)
        .or(NonZeroU32::new(in_a_second))
        .unwrap_or(NonZeroU32::MIN);
    let every = Duration::from_secs_f64(1.0 / per_second);
    if every.saturating_mul(burst.get()) > ALLOWANCE_MAX {
        faults.push(format!(
            "`limits.{who}_burst` is {burst}, which takes more than a day to come by at \
             `limits.{who}_per_second` = {per_second}; at most {}",
            ALLOWANCE_MAX.as_nanos() / every.as_nanos().max(1)
        ));
        return None;
    }
    Some(Rate { every, burst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_comes_back_within_a_day() {
        let checked = |per_second, burst| {
            let mut faults = Vec::new();
            let rate = check_rate("caller", per_second, burst, &mut faults);
            (rate.map(|rate| rate.burst.get()), faults)
        };
        assert_eq!(checked(0.0, 0), (None, vec![]));
        assert_eq!(checked(2.5, 0), (Some(3), vec![]));
        assert_eq!(checked(0.001, 86), (Some(86), vec![]));
        assert_eq!(checked(1_000_000.0, u32::MAX), (Some(u32::MAX), vec![]));
        for (per_second, burst) in [(0.001, 87), (0.001, u32::MAX), (1.0, 86_401)] {
            let (rate, faults) = checked(per_second, burst);
            assert_eq!(rate, None);
            assert!(faults.len() == 1, "{faults:?}");
            assert!(faults[0].contains("at most 86"), "{faults:?}");
        }
    }
}
