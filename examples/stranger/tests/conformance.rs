//! Both forms of the codec keep every rule that binds a filter.

use stranger::{Record, Splitter, SplittingActor};
use versile_io::component::stock::Filter;
use versile_io::proto::link::Rule::{self, *};
use versile_io::testkit::{Report, conformance};

/// What the kit judges of a filter.
const JUDGED: [Rule; 18] = [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, X1, M1, M2, F1];

/// The records as `Specimen` writes them: the same bytes, and a separator behind the last record if it has none.
fn records(input: &[u8]) -> Vec<u8> {
    let mut all = input.to_vec();
    if all.last().is_some_and(|last| *last != b';') {
        all.push(b';');
    }
    all
}

fn conforms(report: &Report) {
    report.assert_conforms();
    assert_eq!(report.held(), JUDGED, "\n{report}");
    println!("{report}");
}

#[test]
fn the_part_conforms() {
    let report = conformance::filter(|| {
        let (inlet, outlet, _) = Splitter::at(b';', 100_000).start();
        (inlet, outlet)
    });
    conforms(&report.oracle(records).run());
}

#[test]
fn the_actor_conforms() {
    conforms(&conformance::filter(|| SplittingActor::start_at(b';', 100_000)).oracle(records).run());
}

/// The kit is worth something only if it finds what is wrong: a codec that forgets its last record.
#[test]
fn a_codec_that_forgets_its_last_record_is_found() {
    struct Forgetful(Splitter);
    impl Filter for Forgetful {
        type In = bytes::Bytes;
        type Out = Record;
        fn apply(
            &mut self,
            item: bytes::Bytes,
            out: &mut versile_io::component::stock::Outbox<Record>,
        ) -> versile_io::component::stock::PartResult {
            self.0.apply(item, out)
        }
    }
    let report = conformance::filter(|| {
        let (inlet, outlet, _) = Forgetful(Splitter::at(b';', 100_000)).start();
        (inlet, outlet)
    });
    let report = report.oracle(records).run();
    assert_eq!(report.broken(), [E2], "\n{report}");
}
