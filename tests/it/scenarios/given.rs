//! What the engine would have gathered, as a story gives it.

use super::*;

pub(crate) fn place(name: &str) -> Result<Place, String> {
    let (country, city, latitude, longitude) = match name {
        "paris" => ("FR", "Paris", 48.8566, 2.3522),
        "versailles" => ("FR", "Versailles", 48.8049, 2.1204),
        "lyon" => ("FR", "Lyon", 45.764, 4.8357),
        "brussels" => ("BE", "Brussels", 50.8503, 4.3517),
        "osaka" => ("JP", "Osaka", 34.6937, 135.5023),
        "new-york" => ("US", "New York", 40.7128, -74.006),
        "lagos" => ("NG", "Lagos", 6.5244, 3.3792),
        other => return Err(format!("no place `{other}`")),
    };
    Ok(Place {
        country: Country::new(country),
        city: Some(city.to_owned()),
        spot: Some(Spot {
            latitude,
            longitude,
            radius_km: 20.0,
        }),
        time_zone: None,
    })
}

/// `absent` and `unavailable` for any source.
pub(super) fn known<T>(
    given: Option<&Value>,
    otherwise: Signal<T>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Signal<T>, String> {
    match given {
        None => Ok(otherwise),
        Some(Value::String(word)) if word == "absent" => Ok(Signal::Absent),
        Some(Value::String(word)) if word == "unavailable" => Ok(Signal::Unavailable),
        Some(value) => read(value).map(Signal::Known),
    }
}

pub(super) fn signals(
    given: &GivenSignals,
    request: &domain::AccessRequest,
    subject: &EntityRef,
    (profile, crowd): (&Arc<Profile>, &Arc<Crowd>),
    now: Timestamp,
) -> Result<Signals, String> {
    let place_given = given.place.as_ref().map(|name| Value::String(name.clone()));
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    // Without an address nobody can say where it is.
    let located = request.context.ip.is_some();
    let ordinary_place = if located {
        Signal::Known(place("paris")?)
    } else {
        Signal::Absent
    };
    let network = |asn: u32| Network {
        asn,
        organisation: None,
    };
    let ordinary_network = if located {
        Signal::Known(network(64_496))
    } else {
        Signal::Absent
    };
    let ordinary_anonymity = if located {
        Signal::Known(Anonymity::default())
    } else {
        Signal::Absent
    };
    let mut tally = Tally::default();
    for other in 0..given.failed_here {
        tally.add(&Attempt {
            at: now,
            sources: [None; 3],
            subject: Key::number(other),
            failed: true,
            score: 0,
        });
    }
    Ok(Signals {
        crowds: Crowds {
            group: Arc::clone(crowd),
            everyone: Arc::clone(crowd),
        },
        tallies: [Some(tally), Some(tally), None],
        place: known(place_given.as_ref(), ordinary_place, |value| {
            place(value.as_str().unwrap_or_default())
        })?,
        network: known(given.network.as_ref(), ordinary_network, |value| {
            let asn = value.as_u64().and_then(|asn| u32::try_from(asn).ok());
            asn.map(network).ok_or_else(|| "no AS number".to_owned())
        })?,
        anonymity: known(given.anonymity.as_ref(), ordinary_anonymity, |value| {
            let flags = value.as_array().ok_or("no list of flags")?;
            let has = |flag: &str| flags.iter().any(|known| known == flag);
            Ok(Anonymity {
                vpn: has("vpn"),
                public_proxy: has("proxy"),
                residential_proxy: false,
                tor: has("tor"),
                hosting: has("hosting"),
                relay: has("relay"),
                corporate_exit: has("corporate-exit"),
                threat: has("threat"),
            })
        })?,
        agent: request
            .context
            .user_agent
            .as_deref()
            .and_then(Agent::parse)
            .map(Arc::new),
        profile: match given.profile.as_deref() {
            Some("unavailable") => Signal::Unavailable,
            Some(other) => return Err(format!("profile `{other}`")),
            None if profile.history() == 0 && **profile == Profile::default() => Signal::Absent,
            None => Signal::Known(Arc::clone(profile)),
        },
        device: known(given.device.as_ref(), Signal::Absent, |value| {
            let owner = text(value, "owner").map(|id| EntityRef::new("User", id));
            Ok(DeviceRecord {
                id: "laptop-1".to_owned(),
                owner: owner.transpose().map_err(|error| error.to_string())?,
                trust: value["trust"]
                    .as_u64()
                    .and_then(|trust| u8::try_from(trust).ok()),
                managed: value["managed"].as_bool(),
                compliant: value["compliant"].as_bool(),
                os: None,
                os_version: None,
                revoked: value["revoked"].as_bool().unwrap_or_default(),
                enrolled_at: None,
                key: text(value, "jkt").map(KeyThumbprint::Jkt),
                checked_at: value["checked_days_ago"]
                    .as_i64()
                    .map(|days| now.plus_seconds(-days * 86_400)),
                posture_source: None,
                updated_at: START,
            })
        })?,
        session: known(given.session.as_ref(), Signal::Absent, |value| {
            let born = now.plus_seconds(-value["ago"].as_i64().unwrap_or(600));
            let began = place(value["place"].as_str().unwrap_or("paris"))?;
            let of = text(value, "of").map(|id| EntityRef::new("User", id));
            let level = value["level"]
                .as_i64()
                .and_then(Level::from_number)
                .unwrap_or_default();
            let level_ago = value["level_ago"].as_i64().unwrap_or_default();
            Ok(SessionRecord {
                id: request.context.session_id.clone().unwrap_or_default(),
                subject: of
                    .transpose()
                    .map_err(|error| error.to_string())?
                    .unwrap_or_else(|| subject.clone()),
                birth: SessionBirth {
                    at: born,
                    ip: text(value, "ip")
                        .map(|ip| ip.parse())
                        .transpose()
                        .map_err(|_| "no address")?,
                    country: began.country,
                    asn: Some(value["network"].as_u64().map_or(64_496, |asn| asn as u32)),
                    agent_family: Some(text(value, "agent").unwrap_or_else(|| "Firefox".into())),
                    device_id: Some(text(value, "device").unwrap_or_else(|| "laptop-1".into())),
                    agent_version: value["agent_version"].as_u64().map(|major| major as u32),
                    os: text(value, "os"),
                    os_version: text(value, "os_version"),
                    fingerprint: text(value, "fingerprint"),
                },
                last_seen: now,
                sight: None,
                assurance: Assurance::of(level, Some(now.plus_seconds(-level_ago))),
                ended: value["ended"].as_bool().unwrap_or_default(),
                terms: None,
            })
        })?,
        sensitivity: known(given.sensitivity.as_ref(), Signal::Known(0), |value| {
            value.as_i64().ok_or_else(|| "no sensitivity".to_owned())
        })?,
        size: known(given.size.as_ref(), Signal::Absent, |value| {
            value.as_i64().ok_or_else(|| "no size".to_owned())
        })?,
        behaviour: given.behaviour.as_ref().map(behaviour).transpose()?,
        handle_superseded: false,
        heard: given.heard.as_ref().map(|value| {
            let ago = |hours: &str| {
                value[hours]
                    .as_i64()
                    .map(|hours| now.plus_seconds(-hours * 3600))
            };
            let levels = [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High];
            let named = |level: &RiskLevel| Some(level.as_str()) == value["risk"].as_str();
            Heard {
                disabled: value["disabled"].as_bool().map(|disabled| (disabled, now)),
                credential_at: ago("credential_hours_ago"),
                risk: levels
                    .into_iter()
                    .find(named)
                    .map(|level| (level, ago("risk_hours_ago").unwrap_or(now))),
            }
        }),
        given_up: given.given_up,
    })
}

fn behaviour(given: &Behaviour) -> Result<Analysis, String> {
    let pattern = |name: &String| Pattern::from_word(name).ok_or(format!("no pattern `{name}`"));
    Ok(Analysis {
        anomaly_score: given.anomaly,
        features: Default::default(),
        deviations: Vec::new(),
        suspicious_patterns: given
            .patterns
            .iter()
            .map(pattern)
            .collect::<Result<_, _>>()?,
        recommendation: Default::default(),
    })
}
