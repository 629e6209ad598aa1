//! Certificates that OpenSSL made, each with one thing wrong.

use super::*;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/certificates/", $name))
    };
}

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);
const ORDERS: &str = "spiffe://example.org/ns/shop/sa/orders";

fn der(pem: &[u8]) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

fn roots() -> Roots {
    Roots::new(file!("root.pem"), vec!["example.org".to_owned()]).unwrap()
}

fn verified(roots: &Roots, leaf: &[u8]) -> Result<ClientCertificate, CertificateRefusal> {
    let between = [der(file!("issuing.pem")), der(file!("orders.pem"))];
    roots.verify(&der(leaf), &between, NOW)
}

#[test]
fn x9_x22_a_certificate_says_who_its_client_is() {
    let orders = verified(&roots(), file!("orders.pem")).unwrap();
    assert_eq!(orders.spiffe, SpiffeId::parse(ORDERS));
    assert_eq!(orders, describe(file!("orders.pem")).unwrap());
    // openssl x509 -outform DER | openssl dgst -sha256 -binary | base64, without padding.
    assert_eq!(orders.thumbprint.len(), 43);
    let plain = verified(&roots(), file!("plain.pem")).unwrap();
    assert_eq!(plain.spiffe, None);
    assert_ne!(plain.thumbprint, orders.thumbprint);
}

#[test]
fn b13_each_thing_that_is_wrong_is_seen() {
    let roots = roots();
    for (pem, why) in [
        (file!("expired.pem").as_slice(), "CertExpired"),
        (file!("server.pem"), "RequiredEku"),
        (file!("any-use.pem"), "RequiredEku"),
        (file!("by-stranger.pem"), "InvalidSignature"),
        (file!("by-leaf.pem"), ""),
        (file!("authority.pem"), "CaUsedAsEndEntity"),
        (file!("two-names.pem"), "only URI"),
        (file!("bad-path.pem"), "malformed"),
        (file!("other-domain.pem"), "`example.com` is not in"),
        (file!("root.pem"), ""),
    ] {
        let refused = verified(&roots, pem).unwrap_err().to_string();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let orders = der(file!("orders.pem"));
    assert!(roots.verify(&orders, &[], NOW).is_err(), "no chain");
    let early = Timestamp::from_seconds(0);
    let issuing = [der(file!("issuing.pem"))];
    assert!(roots.verify(&orders, &issuing, early).is_err(), "too early");
    assert!(roots.verify(b"x", &issuing, NOW).is_err());
    assert!(roots.verify(&[0x30; 20_000], &issuing, NOW).is_err());
    let many = vec![der(file!("issuing.pem")); CHAIN_MAX + 1];
    assert!(roots.verify(&orders, &many, NOW).is_err());
    for bit in 0..orders.len() {
        let mut bent = orders.clone();
        bent[bit] ^= 1;
        assert!(roots.verify(&bent, &issuing, NOW).is_err(), "{bit}");
    }
}

#[test]
fn b13_what_was_revoked_is_refused_and_so_is_what_nobody_can_tell() {
    assert!(verified(&roots(), file!("revoked.pem")).is_ok(), "no lists");
    let current = roots().with_revoked(file!("crls.pem")).unwrap();
    assert!(verified(&current, file!("orders.pem")).is_ok());
    let refused = verified(&current, file!("revoked.pem")).unwrap_err();
    assert!(refused.to_string().contains("CertRevoked"), "{refused}");
    let stale = roots().with_revoked(file!("stale-crl.pem")).unwrap();
    assert!(verified(&stale, file!("orders.pem")).is_err());
}

#[test]
fn what_is_no_authority_is_said_so() {
    assert!(Roots::new(b"", vec![]).is_err());
    assert!(Roots::new(file!("crls.pem"), vec![]).is_err());
    assert!(roots().with_revoked(file!("root.pem")).is_err());
}

#[test]
fn x22_a_spiffe_id_is_written_in_one_way() {
    for good in [ORDERS, "spiffe://example.org", "spiffe://a-b_c.d/X/y.z"] {
        assert!(SpiffeId::parse(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "spiffe://",
        "spiffe:///x",
        "SPIFFE://example.org/x",
        "spiffe://Example.org/x",
        "spiffe://example.org/",
        "spiffe://example.org//x",
        "spiffe://example.org/x/",
        "spiffe://example.org/./x",
        "spiffe://example.org/../x",
        "spiffe://example.org/x?y",
        "spiffe://example.org/x#y",
        "spiffe://example.org/%41",
        "spiffe://example.org:443/x",
        "spiffe://u@example.org/x",
        "https://example.org/x",
    ] {
        assert!(SpiffeId::parse(bad).is_none(), "{bad}");
    }
}
