//! Devices: enrolment, posture, possession (R1, R2, M9, M10).

use serde_json::{Value, json};

use crate::harness::{Client, Response, Site, alice_reads, eventually, from_now};
use crate::refreshing::{is_active, sign_in, text};

const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const OTHER_KEY: &str = "1ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn put(client: &mut Client, id: &str, body: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    let path = format!("/v1/devices/{id}");
    client.send("PUT", &path, &headers, body.to_string().as_bytes())
}

fn owner(id: &str) -> Value {
    json!({ "type": "User", "id": id })
}

#[test]
fn r1_r2_a_device_is_enrolled_checked_and_listed() {
    let site = Site::new();
    let operator = site.key("operator");
    let engine = site.start();
    let mut client = engine.client(&operator);
    let first = json!({ "owner": owner("alice"), "key": { "jkt": KEY }, "trust": 90, "compliant": true, "source": "mdm" });
    for (id, body) in [
        ("d-1", first.clone()),
        (
            "d-2",
            json!({ "owner": owner("alice"), "key": { "x5t#S256": KEY } }),
        ),
        ("d-3", json!({ "owner": owner("bob") })),
        ("d-4", json!({ "trust": 5 })),
    ] {
        let written = put(&mut client, id, &body);
        assert_eq!(written.status, 204, "{id}: {}", text(&written));
    }
    let read = client.get("/v1/devices/d-1").json();
    assert_eq!(
        (&read["key"], &read["source"]),
        (&json!({ "jkt": KEY }), &json!("mdm"))
    );
    for member in ["enrolled_at", "checked_at"] {
        assert!(read[member].is_string(), "{member}: {read}");
    }
    let other = client.get("/v1/devices/d-4").json();
    assert!(other.get("enrolled_at").is_none(), "{other}");

    // Written again it is enrolled since the first time; to somebody else, since now.
    assert_eq!(put(&mut client, "d-1", &first).status, 204);
    let again = client.get("/v1/devices/d-1").json();
    assert_eq!(again["enrolled_at"], read["enrolled_at"]);
    // What was found out earlier never goes over what was found out later.
    let mut older = first.clone();
    older["checked_at"] = json!(from_now(-60));
    older["compliant"] = json!(false);
    assert_eq!(put(&mut client, "d-1", &older).status, 409);
    assert_eq!(client.get("/v1/devices/d-1").json()["compliant"], true);
    // That it may not be used any more is no posture.
    older["revoked"] = json!(true);
    assert_eq!(put(&mut client, "d-1", &older).status, 204);
    let revoked = client.get("/v1/devices/d-1").json();
    assert_eq!(
        (&revoked["revoked"], &revoked["compliant"]),
        (&json!(true), &json!(true))
    );

    let ids = |page: &Value| -> Vec<String> {
        let all = page["devices"].as_array().unwrap().iter();
        all.map(|device| device["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = client.get("/v1/devices?limit=3").json();
    assert_eq!(
        (ids(&page), &page["next"]),
        (
            ["d-1", "d-2", "d-3"].map(str::to_owned).into(),
            &json!("d-3")
        )
    );
    let page = client.get("/v1/devices?after=d-3").json();
    assert_eq!(
        (ids(&page), &page["next"]),
        (vec!["d-4".to_owned()], &Value::Null)
    );
    let page = client.get("/v1/devices?owner=User%2Falice").json();
    assert_eq!(ids(&page), ["d-1", "d-2"]);

    for bad in [
        json!({ "key": { "jkt": KEY } }),
        json!({ "owner": owner("alice"), "key": { "jkt": KEY, "x5t#S256": KEY } }),
        json!({ "owner": owner("alice"), "key": { "jkt": "short" } }),
        json!({ "owner": owner("alice"), "key": {} }),
        json!({ "compliant": true, "checked_at": from_now(3600) }),
        json!({ "compliant": true, "checked_at": "yesterday" }),
        json!({ "owner": owner("alice"), "enrolled_at": from_now(3600) }),
        json!({ "source": "" }),
    ] {
        assert_eq!(put(&mut client, "bad", &bad).status, 400, "{bad}");
    }
    assert_eq!(client.get("/v1/devices/bad").status, 404);
}

#[test]
fn r1_a_device_is_proven_by_its_key() {
    let site = Site::new();
    let (gateway, admin) = (site.key("gateway"), site.key("admin"));
    let engine = site.start();
    let (mut asker, mut writer) = (engine.client(&gateway), engine.client(&admin));
    let mut proven = |cnf: Option<Value>| {
        let mut question = alice_reads();
        if let Some(cnf) = cnf {
            question["context"]["device"]["cnf"] = cnf;
        }
        let answer = asker.ask(&question);
        let id = answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let record = eventually("the record is drained", || {
            let response = writer.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        });
        record["facts"]["signals"]["device_proven"].clone()
    };
    assert_eq!(
        proven(Some(json!({ "jkt": KEY }))),
        Value::Null,
        "nothing is enrolled"
    );
    let device = json!({ "owner": owner("alice"), "key": { "jkt": KEY } });
    let written = put(&mut engine.client(&admin), "alice-laptop", &device);
    assert_eq!(written.status, 204, "{}", text(&written));
    for (cnf, is) in [
        (None, false),
        (Some(json!({ "jkt": KEY })), true),
        (Some(json!({ "x5t#S256": KEY })), false),
    ] {
        assert_eq!(proven(cnf.clone()), json!(is), "{cnf:?}");
    }
}

#[test]
fn m9_m10_who_takes_a_device_out_ends_what_is_open_on_it() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut app, mut writer) = (engine.client(&gateway), engine.client(&operator));
    let device = json!({ "owner": owner("alice"), "compliant": true });
    assert_eq!(put(&mut writer, "alice-laptop", &device).status, 204);
    let session = sign_in(&mut app);
    let elsewhere = app.post(
        "/v1/sessions",
        &json!({ "subject": owner("alice"), "context": { "device": { "id": "alice-phone" } } }),
    );
    let (id, other) = (session["id"].as_str().unwrap(), elsewhere.json());
    let deleted = writer.send("DELETE", "/v1/devices/alice-laptop", &[], b"");
    assert_eq!(deleted.status, 204);
    // With the answer, and not some time later.
    let read = app.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(read["active"], false, "{read}");
    let why = read["ended_reason"].as_str().unwrap();
    assert!(why.starts_with("Health check failed: "), "{why}");
    assert!(!is_active(
        &mut app,
        session["token"]["access_token"].as_str().unwrap()
    ));
    let path = format!("/v1/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(app.get(&path).json()["active"], true);
}

#[test]
fn m9_a_device_that_is_enrolled_to_nobody_or_anew_ends_what_is_open_on_it() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut app, mut writer) = (engine.client(&gateway), engine.client(&operator));
    let device = json!({ "owner": owner("alice"), "compliant": true });
    for after in [
        json!({ "compliant": true }),
        json!({ "owner": owner("bob"), "compliant": true }),
        json!({ "owner": owner("alice"), "compliant": true, "key": { "jkt": KEY } }),
    ] {
        let mut keyed = device.clone();
        if after.get("key").is_some() {
            keyed["key"] = json!({ "jkt": OTHER_KEY });
        }
        assert_eq!(put(&mut writer, "alice-laptop", &keyed).status, 204);
        let session = sign_in(&mut app);
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        // The same once more changes nothing.
        assert_eq!(put(&mut writer, "alice-laptop", &keyed).status, 204);
        assert_eq!(app.get(&path).json()["active"], true);
        // What was read, and sent back with the change: the moment in it is of the one before.
        let mut changed = writer.get("/v1/devices/alice-laptop").json();
        let before = changed["enrolled_at"].clone();
        for name in ["owner", "key", "enrolled_at"] {
            if name == "enrolled_at" && after.get("owner").is_some() {
                continue;
            }
            changed.as_object_mut().unwrap().remove(name);
            if let Some(value) = after.get(name) {
                changed[name] = value.clone();
            }
        }
        let written = put(&mut writer, "alice-laptop", &changed);
        assert_eq!(written.status, 204, "{changed}: {}", text(&written));
        let read = writer.get("/v1/devices/alice-laptop").json();
        assert!(
            read.get("enrolled_at").is_none_or(|at| *at != before),
            "{read}"
        );
        eventually("its session has ended", || {
            (app.get(&path).json()["active"] == false).then_some(())
        });
    }
}
