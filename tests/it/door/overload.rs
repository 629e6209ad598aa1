//! More is asked than can be decided in time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Site, alice_reads, eventually};

#[test]
fn past_what_can_be_decided_in_time_the_rest_is_told_so_at_once() {
    // No decision is that quick, so that any machine has too much to do.
    let site = Site::with("[limits]\nshed_after = \"1ms\"");
    let key = site.key("gateway");
    let engine = site.start();
    let shed = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..160 {
            let mut client = engine.client(&key);
            let (shed, stop) = (&shed, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let response = client.post("/access/v1/evaluation", &alice_reads());
                    if response.status == 503 {
                        assert_eq!(response.header("retry-after"), Some("1"));
                        assert_eq!(response.json()["status"], 503);
                        shed.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(response.status, 200);
                        assert_eq!(response.json()["decision"], true);
                    }
                }
            });
        }
        eventually("somebody is told", || {
            (shed.load(Ordering::Relaxed) > 50).then_some(())
        });
        // Probes are answered all the time, and fewer at once are let in, not nobody.
        let mut probe = engine.client("");
        for _ in 0..20 {
            assert_eq!(probe.get("/healthz").status, 200);
            assert_eq!(probe.get("/readyz").status, 200);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Nobody is turned away any more, though each is as slow as before.
    let mut client = engine.client(&key);
    for _ in 0..50 {
        client.ask(&alice_reads());
    }
    let page = String::from_utf8(client.get("/metrics").body).unwrap();
    let mut counted = page
        .lines()
        .filter_map(|line| line.strip_prefix("portreeve_requests_shed_total "));
    let counted: usize = counted.next().unwrap().parse().unwrap();
    assert!(counted >= shed.load(Ordering::Relaxed), "{counted}");
}
