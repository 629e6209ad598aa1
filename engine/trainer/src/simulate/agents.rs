//! Devices, and the client programs on them.

use super::chance::index;

/// One of a person's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gear {
    /// Everybody has one; the organisation manages it.
    Laptop,
    /// The second device.
    Phone,
    /// The third.
    Tablet,
}

impl Gear {
    /// In ids.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Phone => "phone",
            Self::Tablet => "tablet",
        }
    }

    /// Of three things, that of this device.
    pub(super) const fn of<T: Copy>(self, [laptop, phone, tablet]: [T; 3]) -> T {
        match self {
            Self::Laptop => laptop,
            Self::Phone => phone,
            Self::Tablet => tablet,
        }
    }
}

/// An operating system with a browser on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Platform {
    pub(super) os: &'static str,
    pub(super) os_version: &'static str,
    /// The `User-Agent`, with `{}` for the browser's version.
    pub(super) agent: &'static str,
    /// How far its browser's version is behind the one that counts furthest.
    behind: i64,
    /// Whether its maker runs a privacy relay.
    pub(super) relayed: bool,
}

impl Platform {
    /// Whether a `User-Agent` is of this platform.
    fn wrote(&self, agent: &str) -> bool {
        let fixed = self.agent.split("{}").next();
        fixed.is_some_and(|fixed| agent.starts_with(fixed))
    }

    /// The `User-Agent` of a browser that was last updated on a day.
    pub(super) fn agent_of(&self, day: i64) -> String {
        let version = (day / RELEASE_DAYS - RELEASES_BEFORE - self.behind).max(1);
        self.agent.replace("{}", &version.to_string())
    }
}

/// Days between two versions of a browser, and how many there would have been before the first:
/// so that Chrome is at 145 in March 2026.
const RELEASE_DAYS: i64 = 28;
const RELEASES_BEFORE: i64 = 587;
/// Safari's versions are named after years.
const SAFARI_BEHIND: i64 = 119;

const LAPTOPS: [Platform; 4] = [
    Platform {
        os: "Windows",
        os_version: "11",
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        behind: 0,
        relayed: false,
    },
    Platform {
        os: "macOS",
        os_version: "15",
        agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.1 Safari/605.1.15",
        behind: SAFARI_BEHIND,
        relayed: false,
    },
    Platform {
        os: "Linux",
        os_version: "6",
        agent: "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
        behind: 0,
        relayed: false,
    },
    Platform {
        os: "Windows",
        os_version: "11",
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36 Edg/{}.0.0.0",
        behind: 0,
        relayed: false,
    },
];
const PHONES: [Platform; 2] = [
    Platform {
        os: "iOS",
        os_version: "18",
        agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.4 Mobile/15E148 Safari/604.1",
        behind: SAFARI_BEHIND,
        relayed: true,
    },
    Platform {
        os: "Android",
        os_version: "15",
        agent: "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
        behind: 0,
        relayed: false,
    },
];
const TABLETS: [Platform; 2] = [
    Platform {
        os: "iPadOS",
        os_version: "18",
        agent: "Mozilla/5.0 (iPad; CPU OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.4 Mobile/15E148 Safari/604.1",
        behind: SAFARI_BEHIND,
        relayed: true,
    },
    Platform {
        os: "Android",
        os_version: "15",
        agent: "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        behind: 0,
        relayed: false,
    },
];

/// Browsers that strangers come with: the whole market.
pub(super) const STRANGERS: [Platform; 5] = [
    stranger(
        "Linux",
        "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    ),
    stranger(
        "Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    ),
    stranger(
        "Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    ),
    stranger(
        "macOS",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    ),
    stranger(
        "Android",
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
    ),
];

const fn stranger(os: &'static str, agent: &'static str) -> Platform {
    Platform {
        os,
        os_version: "",
        agent,
        behind: 0,
        relayed: false,
    }
}
/// What passwords are tried with.
pub(super) const TOOLS: [&str; 4] = [
    "python-requests/2.31.0",
    "Go-http-client/2.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Safari/537.36",
    "okhttp/4.9.3",
];
/// What stolen keys are used with.
pub(super) const KEY_TOOLS: [&str; 4] = [
    "Boto3/1.34.0 Python/3.11.7",
    "curl/8.5.0",
    "aws-cli/2.15.10 Python/3.11.6 Linux/6.5.0",
    "Go-http-client/1.1",
];

/// The operating system that a browser tells of.
pub(super) fn system_of(agent: &str) -> Option<&'static str> {
    let known = PHONES
        .iter()
        .chain(&TABLETS)
        .chain(&LAPTOPS)
        .chain(&STRANGERS);
    known
        .filter(|platform| platform.wrote(agent))
        .map(|platform| platform.os)
        .next()
}

/// What somebody of this key has on a device of this kind.
pub(super) fn platform(gear: Gear, key: u64) -> Platform {
    let known: &[Platform] = match gear {
        Gear::Laptop => &LAPTOPS,
        Gear::Phone => &PHONES,
        Gear::Tablet => &TABLETS,
    };
    let found = known.get(index(key, known.len())).copied();
    found.unwrap_or(LAPTOPS[0])
}
