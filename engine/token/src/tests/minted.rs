//! What is minted holds until it ends, and no longer.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::claims::{ACCESS_TOKEN_TYP, Status, StatusReference};
use crate::claims::{Actor, Confirmation, ContextClaim, IssuedTo, LIFE_MAX_SECONDS, subject};
use crate::keys::{FindKey, VerifyingKey};
use crate::{Refusal, mint, verify};

fn thumbprint() -> impl Strategy<Value = String> {
    any::<[u8; 32]>().prop_map(|bytes| BASE64URL_NOPAD.encode(&bytes))
}

fn who() -> impl Strategy<Value = String> {
    ("[A-Z][a-z:]{0,8}", "[ -~äß]{1,20}").prop_map(|(kind, id)| subject(&kind, &id))
}

fn confirmation() -> impl Strategy<Value = Confirmation> {
    (option::of(thumbprint()), thumbprint(), any::<bool>()).prop_map(|(jkt, x5t, both)| {
        let x5t_s256 = (both || jkt.is_none()).then_some(x5t);
        Confirmation { jkt, x5t_s256 }
    })
}

fn actor() -> impl Strategy<Value = Actor> {
    vec((who(), option::of("[!-~]{1,20}")), 1..=4).prop_map(|chain| {
        let mut actor = None;
        for (sub, client_id) in chain {
            actor = Some(Actor {
                sub,
                client_id,
                act: actor.map(Box::new),
            });
        }
        actor.unwrap()
    })
}

prop_compose! {
    fn claims()(
        sub in who(),
        (aud, client_id, jti) in ("[!-~]{1,40}", "[!-~]{1,20}", "[!-~]{1,40}"),
        (life, wait) in (1..=900_i64, 0..=3_i64),
        scope in vec("[a-z.:]{1,9}", 1..5),
        (cnf, act) in (option::of(confirmation()), option::of(actor())),
        (original_jti, lineage) in (option::of("[!-~]{1,40}"), vec("[!-~]{1,40}", 0..=4)),
        clients in vec(("[!-~]{1,20}", 0..=NOW * 1000), 0..=5),
        (sid, family_id) in (option::of("ses_[a-z0-9]{1,20}"), option::of("[a-z0-9]{1,20}")),
        (auth_time, idx) in (option::of(0..=NOW), option::of(any::<u64>())),
        (ip, device_id) in (option::of(any::<std::net::IpAddr>()), option::of(".{1,20}")),
        risk in option::of(prop_oneof![Just("LOW"), Just("MEDIUM"), Just("HIGH")]),
    ) -> Claims {
        Claims {
            iss: ISSUER.to_owned(), sub, aud, client_id, jti,
            iat: NOW - wait, nbf: NOW - wait, exp: NOW - wait + life.max(wait + 1),
            scope: scope.join(" "), acr: "urn:x".to_owned(),
            sid, auth_time, cnf, act, original_jti, lineage, family_id,
            issued_to: clients.into_iter().map(|(client_id, at)| IssuedTo { client_id, at }).collect(),
            status: idx.map(|idx| Status {
                status_list: StatusReference { idx, uri: "https://pdp.example/s/1".to_owned() },
            }),
            context: ContextClaim { ip, device_id },
            risk: risk.map(str::to_owned),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// T30, J3: to the millisecond.
    #[test]
    fn verify_undoes_mint_until_the_end_and_never_after(claims in claims(), later in 0..100_000_i64) {
        let keys = key_set(Algorithm::Es256);
        let expected = Expected::access_token(ISSUER, Some(&claims.aud));
        let text = mint(keys.signer(), ACCESS_TOKEN_TYP, &claims).unwrap();
        for at in [now(), Timestamp::from_millis(claims.exp * 1000 - 1)] {
            prop_assert_eq!(verify(&text, &keys, &expected, at), Ok(claims.clone()));
        }
        let at = Timestamp::from_seconds(claims.exp + later);
        prop_assert_eq!(verify(&text, &keys, &expected, at), Err(Refusal::Expired));
    }

    /// J1: there is no bit of a token that does not count.
    #[test]
    fn a_token_with_one_bit_turned_is_refused(position in any::<prop::sample::Index>(), bit in 0..7_u8) {
        let keys = key_set(Algorithm::EdDsa);
        let mut text = mint(keys.signer(), ACCESS_TOKEN_TYP, &good()).unwrap().into_bytes();
        let position = position.index(text.len());
        text[position] ^= 1 << bit;
        let text = String::from_utf8(text).unwrap();
        prop_assert!(verify(&text, &keys, &expected(), now()).is_err());
    }

    #[test]
    fn no_text_is_a_token_by_chance(text in "\\PC{0,80}|[A-Za-z0-9_.-]{0,80}") {
        prop_assert!(verify(&text, &key_set(Algorithm::EdDsa), &expected(), now()).is_err());
    }
}

#[test]
fn j7_each_algorithm_signs_and_verifies_and_none_passes_for_another() {
    let sets = Algorithm::ALL.map(key_set);
    for mine in &sets {
        let text = mint(mine.signer(), ACCESS_TOKEN_TYP, &good()).unwrap();
        assert_eq!(
            verify(&text, mine, &expected(), now()),
            Ok(good_claims()),
            "{mine:?}"
        );
        for other in &sets {
            // Under the other key's name and algorithm.
            let text = signed(
                mine.signer(),
                &header_of(other.signer()).to_string(),
                good().to_string().as_bytes(),
            );
            let verified = verify(&text, other, &expected(), now());
            assert_eq!(verified.is_ok(), std::ptr::eq(mine, other), "{mine:?}");
        }
    }
}

/// X24, T20: whatever is asked for, the caps stand.
#[test]
fn caps_and_leeway_cannot_be_raised() {
    let keys = key_set(Algorithm::EdDsa);
    let loose = Expected {
        leeway_seconds: 3600,
        life_max_seconds: 86_400,
        ..expected()
    };
    let check = |name: &str, times: [i64; 3], wanted: Result<(), Refusal>| {
        let mut claims = good();
        for (claim, time) in ["iat", "nbf", "exp"].into_iter().zip(times) {
            claims[claim] = json!(NOW + time);
        }
        let text = mint(keys.signer(), ACCESS_TOKEN_TYP, &claims).unwrap();
        let verified = verify(&text, &keys, &loose, now()).map(|_| ());
        assert_eq!(verified, wanted, "{name}");
    };
    let cap = i64::try_from(LIFE_MAX_SECONDS).unwrap();
    check("whole life", [0, 0, cap], Ok(()));
    check("a second more", [0, 0, cap + 1], Err(Refusal::Life));
    check("over for 4 s", [-60, -60, -4], Ok(()));
    check("over for 5 s", [-60, -60, -5], Err(Refusal::Expired));
    check("from in 5 s", [0, 5, 60], Ok(()));
    check("from in 6 s", [0, 6, 60], Err(Refusal::NotYet("nbf")));
    check("issued in 5 s", [5, 5, 60], Ok(()));
    check("issued in 6 s", [6, 0, 60], Err(Refusal::NotYet("iat")));
    check("ends before it is issued", [5, 0, 3], Err(Refusal::Life));
    check("ends before it begins", [0, 4, 4], Err(Refusal::Life));
}

/// Tells whether a made-up name of a key costs a signature as well.
struct Watched(KeySet, Cell<u32>);

impl FindKey for Watched {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.find(kid)
    }

    fn decoy(&self) -> Option<&VerifyingKey> {
        self.1.set(self.1.get() + 1);
        FindKey::decoy(&self.0)
    }
}

#[test]
fn t32_a_token_of_an_unknown_key_is_as_much_work_as_a_forged_one() {
    let own = Watched(key_set(Algorithm::Es256), Cell::new(0));
    let other = key_set(Algorithm::Es256);
    let text = crate::mint(other.signer(), ACCESS_TOKEN_TYP, &good_claims()).unwrap();
    let refused = verify(&text, &own, &expected(), now());
    assert_eq!(refused.unwrap_err(), Refusal::UnknownKey);
    assert_eq!(own.1.get(), 1);
    let decoy = FindKey::decoy(&own.0).map(VerifyingKey::kid);
    assert_eq!(decoy, Some(own.0.signer().id()));
}
