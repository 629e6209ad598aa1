//! One engine tells, another hears it, over real HTTP: E30, V20.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::question;
use crate::harness::{Client, Engine, Site, eventually, run};
use crate::refreshing::{is_active, sign_in, text};

const TELLS: &str = "Bearer the-first-engine-sends-this";

/// An address that is free a moment later, too, most likely.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn member(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

/// A key of a receiver, and the name that streams call its client by.
fn receiver(site: &Site) -> (String, String) {
    let mut command = site.command();
    command.args([
        "keys", "create", "--name", "second", "--role", "receiver", "--json",
    ]);
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let made: Value = serde_json::from_str(&ran.out).unwrap();
    (member(&made, "key"), member(&made, "key_id"))
}

/// Two engines; what happens at the first is told to the second, of subjects by the name that the
/// first has for them, or by an attribute of theirs that is a mail address in all but its form.
fn pair(polls: bool, by_mail: bool) -> (Engine, Engine, [String; 3], [Site; 2]) {
    let address = free();
    let (told, heard) = if by_mail {
        // Its own names for subjects mean nobody here.
        (
            "email_attribute = 'department'",
            "subject_type = 'User'\nemail_attribute = 'department'",
        )
    } else {
        ("", "subject_type = '*'")
    };
    let first_site = Site::with(&format!(
        "[limits]\noutbound_allow = ['{address}']\n[ssf]\n{told}\n"
    ));
    let (key, client) = receiver(&first_site);
    let keys = first_site.key("admin");
    let first = first_site.start();
    let delivery = if polls {
        json!({ "method": "urn:ietf:rfc:8936" })
    } else {
        json!({
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": format!("http://{address}/ssf/receive"),
            "authorization_header": TELLS,
        })
    };
    let caep = |name: &str| format!("https://schemas.openid.net/secevent/caep/event-type/{name}");
    let wish = json!({
        "events_requested": [caep("session-revoked"), caep("device-compliance-change")],
        "delivery": delivery,
    });
    let made = first.client(&key).post("/ssf/streams", &wish);
    assert_eq!(made.status, 201, "{}", text(&made));
    let stream = made.json();

    let at = first.address;
    let secrets = first_site.folder.path();
    let (pushed, polled) = (secrets.join("pushed"), secrets.join("polled"));
    std::fs::write(&pushed, TELLS).unwrap();
    std::fs::write(&polled, format!("Bearer {key}")).unwrap();
    let how = if polls {
        let url = member(&stream["delivery"], "endpoint_url");
        format!(
            "poll_url = '{url}'\npoll_authorization_file = '{}'\npoll_every_seconds = 1\n",
            polled.display()
        )
    } else {
        format!("authorization_file = '{}'\n", pushed.display())
    };
    let second_site = Site::with(&format!(
        "[limits]\noutbound_allow = ['{at}']\n[[ssf.transmitters]]\nissuer = 'http://{at}'\n\
         jwks_uri = 'http://{at}/.well-known/jwks.json'\naudience = '{client}'\n\
         {heard}\nmay_vouch_for_devices = true\n{how}\
         [[issuers]]\nissuer = 'http://{at}'\njwks_uri = 'http://{at}/.well-known/jwks.json'\n\
         audience = 'https://docs.example'\nsubject_type = '*'\n"
    ));
    let (gateway, admin) = (second_site.key("gateway"), second_site.key("admin"));
    let mut command = second_site.command();
    let second = Engine::start(command.env("PORTREEVE_LISTEN", &address));
    (
        first,
        second,
        [keys, gateway, admin],
        [first_site, second_site],
    )
}

fn is_over(client: &mut Client, id: &str) -> Option<()> {
    let session = client.get(&format!("/v1/sessions/{id}")).json();
    (session["active"] == false).then_some(())
}

fn a_logout_reaches_everybody(polls: bool, by_mail: bool) {
    let (first, second, [admin, gateway, second_admin], _sites) = pair(polls, by_mail);
    let (mut there, mut here) = (first.client(&admin), second.client(&gateway));
    let theirs = sign_in(&mut there);
    // With what the first gave in its session; another session of hers came of nothing there.
    let ours = here.post(
        "/v1/sessions",
        &json!({
            "subject_token": theirs["token"]["access_token"],
            "context": {
                "ip": "10.10.4.7",
                "device": { "id": "alice-laptop" },
                "token": { "audience": "https://docs.example", "scope": "read" },
            },
        }),
    );
    assert_eq!(ours.status, 201, "{}", text(&ours));
    let ours = ours.json();
    let own = sign_in(&mut here);
    let bobs = here.post(
        "/v1/sessions",
        &json!({ "subject": { "type": "User", "id": "bob" }, "context": { "ip": "10.10.4.7" } }),
    );
    assert_eq!(bobs.status, 201, "{}", text(&bobs));
    let access = member(&ours["token"], "access_token");
    assert!(is_active(&mut here, &access));

    let path = format!("/v1/sessions/{}", member(&theirs, "id"));
    assert_eq!(there.send("DELETE", &path, &[], b"").status, 204);
    let id = member(&ours, "id");
    eventually("the other engine has ended it too", || {
        is_over(&mut here, &id)
    });
    assert!(!is_active(&mut here, &access), "and what it was given");
    assert!(is_over(&mut here, &member(&bobs.json(), "id")).is_none());
    assert!(is_over(&mut here, &member(&own, "id")).is_none());
    assert!(is_active(&mut here, &member(&own["token"], "access_token")));

    // What the one says of a device, the other knows.
    let mut other = second.client(&second_admin);
    for compliant in [false, true] {
        let device = json!({ "owner": { "type": "User", "id": "bob" }, "compliant": compliant });
        let body = device.to_string();
        let headers = [("Content-Type", "application/json")];
        let written = there.send("PUT", "/v1/devices/bob-laptop", &headers, body.as_bytes());
        assert_eq!(written.status, 204, "{}", text(&written));
        eventually("the other engine knows of the device", || {
            let response = other.get("/v1/devices/bob-laptop");
            (response.status == 200 && response.json()["compliant"] == compliant).then_some(())
        });
    }
    let answer = here.ask(&question("bob"));
    assert_eq!(answer["context"]["outcome"], "allow", "{answer}");
}

#[test]
fn e30_what_one_engine_pushes_the_other_does() {
    a_logout_reaches_everybody(false, false);
}

#[test]
fn e30_what_one_engine_has_the_other_fetches() {
    a_logout_reaches_everybody(true, false);
}

#[test]
fn e30_of_subjects_that_are_named_by_their_mail_address_the_same_is_done() {
    a_logout_reaches_everybody(false, true);
}
