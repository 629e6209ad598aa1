//! Certificates that are renewed while the engine is asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::secure::{Dialler, file, install, site};
use crate::harness::{alice_reads, eventually};

const EVALUATION: (&str, &str) = ("POST", "/access/v1/evaluation");

#[test]
fn a_certificate_is_renewed_under_traffic_and_a_broken_one_changes_nothing() {
    let site = site("", "");
    let folder = site.folder.path();
    let key = site.key("admin");
    let engine = site.start();
    let address = engine.address;
    let dialler = Dialler::new(None);
    let der = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap().to_vec();
    let shown = || dialler.dial(address).unwrap().shown();
    assert_eq!(shown(), der("https.pem"));
    let ready = || {
        let path = ("GET", "/readyz");
        dialler.ask(address, path, &key, &Value::Null).unwrap()
    };
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for keeps_connection in [true, true, false, false] {
            let (dialler, key, stop, answered) = (&dialler, &key, &stop, &answered);
            scope.spawn(move || {
                let mut connection = dialler.dial(address).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if !keeps_connection {
                        connection = dialler.dial(address).unwrap();
                    }
                    let answer = connection.ask(EVALUATION, key, &alice_reads());
                    assert_eq!(answer.expect("no request is refused").status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Nobody says anything: the files have changed.
        install(folder, "https-new");
        eventually("the new one is shown", || {
            (shown() == der("https-new.pem")).then_some(())
        });
        assert_eq!(ready().status, 200);

        // A pair that does not fit, by a signal.
        let old_key = std::fs::read(file("https.key")).unwrap();
        std::fs::write(folder.join("door.key"), old_key).unwrap();
        engine.signal("HUP");
        let told = eventually("it is said", || {
            let told = ready();
            (told.status == 503).then(|| told.json())
        });
        assert_eq!(told["status"], "degraded");
        assert!(told["tls"]["stale_since"].is_string(), "{told}");
        let fault = told["tls"]["fault"].as_str().unwrap();
        assert!(fault.starts_with("`tls.key`"), "{fault}");
        let without = dialler.ask(address, ("GET", "/readyz"), "", &Value::Null);
        assert_eq!(without.unwrap().json()["tls"]["fault"], json!(null));
        assert_eq!(shown(), der("https-new.pem"));

        // Put right, it is noticed by itself.
        install(folder, "https");
        eventually("the first one is shown again", || {
            (shown() == der("https.pem")).then_some(())
        });
        eventually("nothing is wrong any more", || {
            (ready().status == 200).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 20);
}

#[test]
fn what_could_not_be_read_is_tried_again() {
    let site = site("", "");
    let folder = site.folder.path();
    let engine = site.start();
    let dialler = Dialler::new(None);
    let status = || {
        let asked = dialler.ask(engine.address, ("GET", "/readyz"), "", &Value::Null);
        asked.unwrap().status
    };
    let key = folder.join("door.key");
    let good = std::fs::read(&key).unwrap();
    std::fs::write(&key, vec![b' '; good.len()]).unwrap();
    eventually("it is said", || (status() == 503).then_some(()));
    // It can be read again, and the file looks as it did.
    let before = std::fs::metadata(&key).unwrap();
    std::fs::write(&key, &good).unwrap();
    let opened = std::fs::File::options().write(true).open(&key).unwrap();
    opened.set_modified(before.modified().unwrap()).unwrap();
    let after = std::fs::metadata(&key).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(before.len(), after.len());
    eventually("it is taken up", || (status() == 200).then_some(()));
    // What is wrong is said once, however often it was tried.
    let log = engine.stop();
    let said = log.matches("what was there before goes on").count();
    assert_eq!(said, 1, "{log}");
}
