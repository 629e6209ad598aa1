//! What the readers of JSON logs share.

use std::io::{self, BufRead};

use serde_json::Value as Json;

use super::Read;
use super::records::{Found, Records};

/// Whether a log that is JSON or something else is JSON.
pub(super) fn begins(log: &mut Box<dyn BufRead>) -> io::Result<bool> {
    let start = log.fill_buf()?;
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    Ok(matches!(
        start.trim_ascii_start().first(),
        Some(b'{' | b'[')
    ))
}

/// Reads a log record by record. `lists` are the names under which its pages hold them.
pub(super) fn each_record(
    log: Box<dyn BufRead>,
    lists: &'static [&'static str],
    read: impl Fn(&Json) -> Read,
    take: &mut dyn FnMut(u64, &str, Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut records = Records::new(log, lists);
    while let Some(found) = records.next()? {
        let read = match found {
            Found::Broken(why) => Read::Reject(why.to_owned()),
            Found::Record => match serde_json::from_slice(&records.text) {
                Ok(record) => read(&record),
                Err(_) => Read::Reject("this is no valid JSON".to_owned()),
            },
        };
        take(records.line, &String::from_utf8_lossy(&records.text), read)?;
    }
    Ok(())
}

/// The text at a place of a record; none when there is none, or nothing in it.
pub(super) fn text<'a>(record: &'a Json, pointer: &str) -> Option<&'a str> {
    let text = record.pointer(pointer)?.as_str()?.trim();
    Some(text).filter(|text| !text.is_empty())
}

/// A yes or no at a place of a record, be it told as such or as text.
pub(super) fn flag(record: &Json, pointer: &str) -> Option<bool> {
    match record.pointer(pointer)? {
        Json::Bool(flag) => Some(*flag),
        Json::String(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// A number at a place of a record, be it told as such or as text.
pub(super) fn number(record: &Json, pointer: &str) -> Option<i64> {
    match record.pointer(pointer)? {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// An address without its port, where a log tells one.
pub(super) fn address(text: &str) -> &str {
    match text.parse::<std::net::SocketAddr>() {
        Ok(_) => {
            let bare = text.rsplit_once(':').map_or(text, |(address, _)| address);
            bare.trim_matches(['[', ']'])
        }
        Err(_) => text,
    }
}

/// An event in JSON, under the checks that every event is under. Members that are `null`, and
/// objects with nothing else in them, say nothing and are left out.
pub(super) fn event(mut event: Json) -> Result<wire::Event, String> {
    prune(&mut event);
    let text = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
    wire::event::parse(&text).map_err(|wire::Malformed(why)| why)
}

fn prune(value: &mut Json) {
    if let Json::Object(members) = value {
        members.values_mut().for_each(prune);
        members.retain(|_, member| match member {
            Json::Null => false,
            Json::Object(members) => !members.is_empty(),
            _ => true,
        });
    }
}

/// The one event of a record.
pub(super) fn one(told: Json) -> Read {
    match event(told) {
        Ok(event) => Read::Events(Box::new(event), 1),
        Err(why) => Read::Reject(why),
    }
}
