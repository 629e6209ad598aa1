use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> Option<IpAddr> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

#[test]
fn e7_b15_networks_are_compared_after_normalising() {
    for (birth, now, wanted) in [
        ("192.0.2.7", "192.0.2.200", Some(false)),
        ("192.0.2.7", "192.0.3.7", Some(true)),
        // The same address, written as dual-stack sockets write it.
        ("::ffff:192.0.2.7", "192.0.2.9", Some(false)),
        ("192.0.2.7", "::ffff:198.51.100.7", Some(true)),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", Some(false)),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", Some(true)),
        // Dual stack: neither the same nor another.
        ("192.0.2.7", "2001:db8::1", None),
        ("2001:db8::1", "192.0.2.7", None),
        ("", "192.0.2.7", None),
        ("192.0.2.7", "", None),
        // E16: the hijack of the test of that name.
        ("192.0.2.7", "10.0.0.1", Some(true)),
    ] {
        assert_eq!(prefix_changed(ip(birth), ip(now)), wanted, "{birth} {now}");
    }
}

fn born(family: Option<&str>, version: Option<u32>) -> SessionBirth {
    SessionBirth {
        agent_family: family.map(str::to_owned),
        agent_version: version,
        ..SessionBirth::default()
    }
}

fn agent(family: &str, version: Option<u32>) -> Agent {
    Agent {
        family: family.to_owned(),
        version,
        os: None,
        device_type: None,
    }
}

#[test]
fn e8_b16_updates_are_nothing_and_going_back_is_a_signal() {
    let birth = born(Some("Firefox"), Some(128));
    for (family, version, wanted) in [
        ("Firefox", Some(128), Some(false)),
        ("Firefox", Some(141), Some(false)),
        ("Firefox", Some(127), Some(true)),
        ("Firefox", None, None),
        ("Chrome", Some(1), None),
    ] {
        let now = agent(family, version);
        assert_eq!(downgraded(&birth, Some(&now)), wanted, "{family}");
    }
    assert_eq!(downgraded(&birth, None), None);
    let now = agent("Firefox", Some(1));
    assert_eq!(downgraded(&born(Some("Firefox"), None), Some(&now)), None);
}

/// id, fingerprint, os, os version, program, its version; empty is unknown.
type Device<'a> = [&'a str; 6];

fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn alike(birth: Device<'_>, now: Device<'_>) -> Option<i64> {
    let [id, fingerprint, os, os_version, family, version] = birth;
    let born = SessionBirth {
        device_id: told(id),
        fingerprint: told(fingerprint),
        os: told(os),
        os_version: told(os_version),
        ..born(told(family).as_deref(), version.parse().ok())
    };
    let [id, fingerprint, os, os_version, family, version] = now;
    let claim = DeviceClaim {
        id: told(id),
        fingerprint: told(fingerprint),
        os: told(os),
        os_version: told(os_version),
        ..DeviceClaim::default()
    };
    let program = told(family).map(|family| agent(&family, version.parse().ok()));
    similarity(&born, Some(&claim), program.as_ref())
}

#[test]
fn e9_e10_b14_devices_are_compared_attribute_by_attribute() {
    let laptop = ["laptop-1", "f1", "macOS", "15.1", "Safari", "18"];
    for (now, wanted, why) in [
        (laptop, Some(100), "the same"),
        (
            ["laptop-1", "f2", "macOS", "15.2", "Safari", "19"],
            Some(80),
            "updated, with a new fingerprint",
        ),
        (
            ["laptop-1", "f1", "macOS", "15.0", "Safari", "17"],
            Some(90),
            "set back",
        ),
        (
            ["laptop-2", "f2", "Windows", "11", "Safari", "18"],
            Some(21),
            "another, with the same program",
        ),
        (
            ["laptop-2", "f2", "Windows", "11", "Chrome", "140"],
            Some(0),
            "nothing is as it was",
        ),
        (
            ["", "", "macOS", "", "Safari", ""],
            Some(100),
            "what is not known does not count",
        ),
        (
            ["", "f2", "", "", "Safari", "19"],
            Some(50),
            "a new fingerprint after an update",
        ),
        (
            ["", "f2", "", "", "", ""],
            None,
            "one attribute is no picture",
        ),
        (["", "", "", "", "", ""], None, "nothing is known"),
    ] {
        assert_eq!(alike(laptop, now), wanted, "{why}");
    }
}

#[test]
fn versions_are_compared_by_their_numbers() {
    for (one, other, wanted) in [
        ("10.9", "10.15", Ordering::Less),
        ("15", "15.1", Ordering::Equal),
        ("11 (22H2)", "11 (21H2)", Ordering::Greater),
        ("", "1", Ordering::Equal),
        ("99999999999999999999999", "1", Ordering::Equal),
    ] {
        assert_eq!(version_order(one, other), wanted, "{one} {other}");
    }
}

fn any_device() -> impl Strategy<Value = [String; 6]> {
    proptest::array::uniform6("[a-c1-3]{0,2}")
}

proptest! {
    #[test]
    fn b14_to_withhold_an_attribute_never_makes_a_known_one_agree(
        birth in any_device(), now in any_device(), left_out in 0_usize..6,
    ) {
        fn as_text(device: &[String; 6]) -> Device<'_> {
            device.each_ref().map(String::as_str)
        }
        let whole = alike(as_text(&birth), as_text(&now));
        prop_assert!(whole.is_none_or(|share| (0..=100).contains(&share)));
        prop_assert!(alike(as_text(&birth), as_text(&birth)).is_none_or(|share| share == 100));
        // What is unknown on one side is as good as unknown on both.
        let (mut less_now, mut less_both) = (now.clone(), (birth.clone(), now));
        less_now[left_out].clear();
        less_both.0[left_out].clear();
        less_both.1[left_out].clear();
        prop_assert_eq!(
            alike(as_text(&birth), as_text(&less_now)),
            alike(as_text(&less_both.0), as_text(&less_both.1))
        );
    }
}
