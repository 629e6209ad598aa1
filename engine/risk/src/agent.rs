//! The client program behind a `User-Agent`. What is usual for a subject goes by its family,
//! because versions change with every update (B16); the major version says only whether a session
//! has gone back to an older one.

use woothee::parser::Parser;

const UNKNOWN: &str = "UNKNOWN";

/// A client program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// For example `Firefox`, or the product token of something that is no browser.
    pub family: String,
    /// Its major version, where it says one.
    pub version: Option<u32>,
    /// For example `Windows 10`, where it says so.
    pub os: Option<String>,
    /// `pc`, `smartphone`, `mobilephone`, `appliance`, `crawler`, `misc`, where it says so.
    pub device_type: Option<String>,
}

impl Agent {
    /// Reads a `User-Agent`. None when it holds nothing to go by.
    #[must_use]
    pub fn parse(user_agent: &str) -> Option<Self> {
        let text = user_agent.trim();
        if text.is_empty() {
            return None;
        }
        let known = Parser::new().parse(text);
        let os = known
            .as_ref()
            .filter(|known| known.os != UNKNOWN)
            .map(|known| known.os.to_owned());
        let device_type = known
            .as_ref()
            .filter(|known| known.category != UNKNOWN)
            .map(|known| known.category.to_owned());
        let (family, version) = match known {
            Some(known) if known.name != UNKNOWN => (known.name.to_owned(), major(known.version)),
            _ => product(text)?,
        };
        Some(Self {
            family,
            version,
            os,
            device_type,
        })
    }
}

/// The first product token (RFC 9110 §10.1.5), and the major version behind it.
fn product(text: &str) -> Option<(String, Option<u32>)> {
    let text = text.trim_start_matches(['[', '"']);
    let (token, rest) = match text.find(['/', ' ', ';', ']', '"']) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let version = rest.strip_prefix('/').and_then(major);
    (!token.is_empty()).then(|| (token.to_owned(), version))
}

/// The number that a version begins with.
fn major(version: &str) -> Option<u32> {
    let end = version.find(|character: char| !character.is_ascii_digit());
    version.get(..end.unwrap_or(version.len()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b16_families_survive_updates() {
        for (agent, family, version) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
                "Firefox",
                Some(120),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
                "Firefox",
                Some(131),
            ),
            (
                "Boto3/1.26.165 Python/3.10.6 Linux/5.19.0-46-generic",
                "Boto3",
                Some(1),
            ),
            ("[Boto3/1.26.165 Python/3.10.6]", "Boto3", Some(1)),
            (
                "console.ec2.amazonaws.com",
                "console.ec2.amazonaws.com",
                None,
            ),
            ("nightly-report/2.4", "nightly-report", Some(2)),
            ("agent/next", "agent", None),
            ("agent/99999999999", "agent", None),
        ] {
            let parsed = Agent::parse(agent).map(|agent| (agent.family, agent.version));
            assert_eq!(parsed, Some((family.to_owned(), version)), "{agent}");
        }
        assert_eq!(Agent::parse("   "), None);
    }
}
