//! The limits on everything that grows, as text holds them, and their check.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use wire::batch::BatchLimits;

use super::Limits;
use super::section::{Span, section};

/// What no limit may exceed: more is a slip, or "no limit", which none of them has.
const LIMIT_MAX: usize = 1_000_000_000;

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
    connections: usize = 4096,
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
        connections: raw.connections,
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
