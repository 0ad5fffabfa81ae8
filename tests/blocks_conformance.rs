//! The building blocks pass the conformance kit. A file of its own: the kit's systems are not in step with the census of other tests.
#![cfg(feature = "testkit")]

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;

use bytes::Bytes;
use flow::*;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use versile_io::component::block::*;
use versile_io::component::stock::Sink;
use versile_io::component::{InletRef, join};
use versile_io::proto::link::{Rule, Window};
use versile_io::testkit::conformance;

fn conforms(start: impl Fn() -> Ports + 'static) {
    conformance::filter(start).seeds(6).run().assert_conforms();
}

/// A consumer for a port that is not looked at.
fn anybody() -> InletRef<Bytes> {
    Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) }.start().0
}

#[test]
fn maps_conform() {
    conforms(|| ports(map(|b: Bytes| b)));
    conforms(|| ports(filter_map(|b: Bytes| Some(b))));
    conforms(|| ports(keep_if(|_: &Bytes| true)));
    conforms(|| ports(inspect(|_: &Bytes| {})));
}

#[test]
fn a_chunker_a_limiter_a_meter_and_a_buffer_conform() {
    conforms(|| ports(Chunker::bytes(size(1009))));
    conforms(|| ports(Limiter::new(u64::MAX, AfterLimit::Fail).0));
    conforms(|| ports(Meter::new().0));
    conforms(|| ports(progress(std::time::Duration::from_millis(10), |_| {})));
    conforms(|| ports(Buffer::new(Window { quantity: 1 << 20, messages: 64 })));
}

#[test]
fn a_gate_conforms() {
    conforms(|| {
        let gate = gate(true);
        (gate.inlet, gate.outlet)
    });
}

#[test]
fn a_throttle_conforms() {
    conforms(|| {
        let throttle = throttle(per_second(2_000_000));
        (throttle.inlet, throttle.outlet)
    });
}

#[cfg(unix)]
#[test]
fn a_spill_conforms() {
    use versile_io::agent::spill::{SpillOptions, spill};
    conforms(|| {
        let memory = Window { quantity: 2000, messages: 16 };
        let spill = spill(SpillOptions::new(3000, std::env::temp_dir()).memory(memory));
        (spill.inlet, spill.outlet)
    });
}

#[test]
fn a_switch_conforms() {
    let report = conformance::filter(|| {
        let switch = switch::<Bytes>(WhenBack::Stay);
        (switch.inlet, switch.primary)
    });
    // that a consumer's abort does not reach the producer is what it is for
    assert_eq!(report.seeds(6).run().broken(), [Rule::A1]);
}

#[test]
fn a_fallback_conforms() {
    let report = conformance::filter(|| {
        let fallback = fallback::<Bytes>();
        (fallback.primary, fallback.outlet)
    });
    // that a producer's abort does not reach the consumer, and that an unclean end waits for the stand-by, is what it is for
    assert_eq!(report.seeds(6).run().broken(), [Rule::E2, Rule::A1]);
}

#[test]
fn a_tee_conforms() {
    for beside in [Branch::wait(), Branch::drop(), Branch::detach(Window::default())] {
        conforms(move || {
            let tee = tee::<Bytes>([Branch::wait(), beside]);
            join(&tee.right, &anybody(), None);
            (tee.inlet, tee.left)
        });
    }
}
