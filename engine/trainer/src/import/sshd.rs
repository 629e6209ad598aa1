//! The log of sshd: who signed in from where, and who failed to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::{
    AccessRequest, Action, ActionResult, EntityRef, Name, Party, RequestContext, Timestamp, Value,
};
use jiff::civil::{Date, DateTime};
use regex::Regex;
use wire::Event;

use super::Read;

/// `Mar 27 13:06:56 host sshd[1291]: message`
#[expect(clippy::unwrap_used, reason = "literals that a test compiles")]
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\w{3}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (\S+) ([\w-]+)(?:\[\d+\])?: (.*)$")
        .unwrap()
});

/// `Accepted password for alice from 192.0.2.7 port 50000 ssh2`, perhaps repeated.
#[expect(clippy::unwrap_used, reason = "literals that a test compiles")]
static SIGN_IN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:message repeated (\d+) times: \[ )?(Accepted|Failed) (\S+) for (?:(invalid user) )?(.*?) from (\S+) port \d+",
    )
    .unwrap()
});

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads lines; the log's lines have no year, so it keeps count.
pub(super) struct Reader {
    year: i16,
    month: i8,
}

impl Reader {
    pub(super) const fn new(year: i16) -> Self {
        Self { year, month: 0 }
    }

    pub(super) fn read(&mut self, text: &str) -> Read {
        if text.trim().is_empty() {
            return Read::PassOver("empty line".into());
        }
        let Some(line) = LINE.captures(text.trim_end()) else {
            return Read::Reject("no line of syslog".to_owned());
        };
        let (_, [month, day, hour, minute, second, host, program, message]) = line.extract();
        if program != "sshd" {
            return Read::PassOver("another program than sshd".into());
        }
        let Some(sign_in) = SIGN_IN.captures(message) else {
            return Read::PassOver("sshd, but no sign-in".into());
        };
        let part = |number: usize| sign_in.get(number).map(|part| part.as_str());
        let numbers = [day, hour, minute, second].map(|part| part.parse::<i8>().ok());
        let Some(time) = self.time(month, numbers) else {
            return Read::Reject("no such day or time".to_owned());
        };
        let times = part(1)
            .and_then(|times| times.parse().ok())
            .unwrap_or(1)
            .clamp(1, 1000);
        let accepted = part(2) == Some("Accepted");
        let Ok(ip) = part(6).unwrap_or_default().parse::<std::net::IpAddr>() else {
            return Read::Reject("no address after `from`".to_owned());
        };
        let (Ok(subject), Ok(door), Ok(action)) = (
            EntityRef::new("User", part(5).unwrap_or_default()),
            EntityRef::new("Application", format!("ssh@{host}")),
            Name::new("login"),
        ) else {
            return Read::Reject("the user's name is empty or not printable".to_owned());
        };
        let mut extra = BTreeMap::from([(
            "method".to_owned(),
            Value::Text(part(3).unwrap_or_default().to_owned()),
        )]);
        if part(4).is_some() {
            extra.insert("unknown_user".to_owned(), Value::Bool(true));
        }
        let event = Event {
            request: AccessRequest {
                subject: Party {
                    entity: subject,
                    properties: BTreeMap::new(),
                },
                action: Action {
                    name: action,
                    properties: BTreeMap::new(),
                },
                resource: Party {
                    entity: door,
                    properties: BTreeMap::new(),
                },
                context: RequestContext {
                    ip: Some(ip.to_canonical()),
                    user_agent: Some("ssh".to_owned()),
                    extra,
                    ..RequestContext::default()
                },
                result: Some(if accepted {
                    ActionResult::Success
                } else {
                    ActionResult::Failure
                }),
            },
            time,
            assurance: None,
            label: None,
        };
        Read::Events(Box::new(event), times)
    }

    fn time(&mut self, month: &str, numbers: [Option<i8>; 4]) -> Option<Timestamp> {
        let month = MONTHS.iter().position(|name| *name == month)?;
        let month = i8::try_from(month + 1).ok()?;
        if month < self.month {
            // December is over.
            self.year += 1;
        }
        self.month = month;
        let [Some(day), Some(hour), Some(minute), Some(second)] = numbers else {
            return None;
        };
        let date = Date::new(self.year, month, day).ok()?;
        let time = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
        let at = DateTime::from_parts(date, time)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?;
        Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_ins_are_read_and_the_rest_is_named() {
        let mut reader = Reader::new(2017);
        let mut read = |text: &str| match reader.read(text) {
            Read::Events(event, times) => {
                let who = event.request.subject.entity.id.as_str().to_owned();
                format!(
                    "{who} {:?} {times} {}",
                    event.request.result.unwrap(),
                    wire::time::format(event.time)
                )
            }
            Read::PassOver(what) => what.into_owned(),
            Read::Several(_) => "several".to_owned(),
            Read::Reject(why) => why,
        };
        let host = "ip-10-77-20-248";
        assert_eq!(
            read(&format!(
                "Mar 27 13:06:56 {host} sshd[1]: Accepted publickey for ubuntu from 85.245.107.41 port 54259 ssh2: RSA SHA256:x"
            )),
            "ubuntu Success 1 2017-03-27T13:06:56.000Z"
        );
        assert_eq!(
            read(&format!(
                "Mar  2 01:02:03 {host} sshd[1]: Failed password for invalid user admin from 2001:db8::1 port 1 ssh2"
            )),
            "admin Failure 1 2017-03-02T01:02:03.000Z"
        );
        assert_eq!(
            read(&format!(
                "Mar  2 01:02:03 {host} sshd[1]: message repeated 2 times: [ Failed password for root from 1.2.3.4 port 1 ssh2]"
            )),
            "root Failure 2 2017-03-02T01:02:03.000Z"
        );
        assert_eq!(
            read(&format!("Mar  2 01:02:03 {host} sudo: x")),
            "another program than sshd"
        );
        assert_eq!(
            read(&format!(
                "Mar  2 01:02:03 {host} sshd[1]: Connection closed"
            )),
            "sshd, but no sign-in"
        );
        assert_eq!(read("garbage"), "no line of syslog");
        assert_eq!(
            read(&format!(
                "Jan  1 00:00:00 {host} sshd[1]: Failed none for invalid user  from 1.2.3.4 port 1 ssh2"
            )),
            "the user's name is empty or not printable"
        );
        assert_eq!(
            read(&format!(
                "Feb 31 00:00:00 {host} sshd[1]: Failed none for x from 1.2.3.4 port 1 ssh2"
            )),
            "no such day or time"
        );
    }
}
