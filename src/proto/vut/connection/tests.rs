//! Whole connections in ways that only their insides allow: far positions, and a peer of the old kind by hand.

use super::*;
use crate::proto::vut::wire::{DATAGRAM_MAX, Datagram, Flags, Header, View};
use crate::proto::vut::{FIRST_END, HELLO};

fn secrets() -> Secrets {
    Secrets::new([1; 32], [2; 32]).expect("safe")
}

/// A connection of ours and a peer whose datagrams are written by hand.
struct Script {
    ours: Connection,
    keys: Keys,
    now: Time,
}

impl Script {
    fn new() -> Self {
        let keys = Keys::new(&secrets().swapped());
        let mut script =
            Self { ours: Connection::new(Config::default(), &secrets(), Time::ZERO), keys, now: Time::ZERO };
        script.ours.set_read_limit(Time::ZERO, 100_000);
        script
    }

    /// The handshake is done, and the peer's end is that of an existing peer.
    fn connected() -> Self {
        let mut script = Self::new();
        script.sent();
        script.hear(Flags::NONE, 0, 17, 128, HELLO);
        script.hear(Flags::NONE, 17, 17, 65_535, b"");
        script.sent();
        script
    }

    /// The peer sends, with `end` as its end.
    fn hear(&mut self, flags: Flags, seq: u64, ack: u64, end: u64, data: &[u8]) {
        let header = Header { flags, seq, ack, win: end - ack };
        let mut buf = [0; DATAGRAM_MAX];
        let len = Datagram { header, data: data.to_vec() }.emit(&self.keys.send, &mut buf).expect("fits");
        self.ours.handle_datagram(self.now, &buf[..len]);
    }

    /// What ours sends now.
    fn sent(&mut self) -> Vec<Datagram> {
        let mut buf = [0; DATAGRAM_MAX];
        let mut sent = Vec::new();
        while let Some(len) = self.ours.poll_transmit(self.now, &mut buf) {
            sent.push(View::open(&self.keys.receive, &buf[..len]).expect("authentic").to_owned());
        }
        sent
    }

    /// Time passes to the next timer, and so on for `length`; what ours sends meanwhile, and when.
    fn wait(&mut self, length: Duration) -> Vec<(Time, Datagram)> {
        let until = self.now + length;
        let mut sent = Vec::new();
        loop {
            let now = self.now;
            sent.extend(self.sent().into_iter().map(|datagram| (now, datagram)));
            match self.ours.poll_timeout(now) {
                Some(at) if at <= until => self.now = at.max(now + Duration::from_micros(1)),
                _ => break,
            }
            self.ours.handle_timeout(self.now);
        }
        self.now = until;
        sent
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.ours.poll_event()).collect()
    }
}

#[test]
fn a_close_waits_until_the_window_shows_that_all_was_read() {
    let mut script = Script::connected();
    script.ours.write(Bytes::from(vec![7; 40_000])).expect("credit");
    let mut acked = 17;
    for _ in 0..200 {
        for datagram in script.sent() {
            acked = datagram.header.seq + datagram.data.len() as u64;
            script.now += Duration::from_micros(100);
            script.hear(Flags::NONE, 17, acked, 65_535, b"");
        }
        script.now += Duration::from_millis(1);
        script.ours.handle_timeout(script.now);
    }
    assert_eq!(acked, 40_017);
    script.ours.finish(script.now);
    let sent = script.wait(Duration::from_secs(20));
    assert!(sent.iter().all(|(_, sent)| sent.header.flags == Flags::NONE), "no close: it has read nothing that shows");
    assert!((15..=25).contains(&sent.len()), "a ping a second: {}", sent.len());
    assert!(sent.iter().all(|(_, sent)| (sent.header.seq, &sent.data[..]) == (40_016, &[7][..])), "of the last octet");
    // (40017 + 65536) / 13107 * 13107
    script.hear(Flags::NONE, 17, acked, 91_749, b"");
    let sent = script.wait(Duration::from_secs(10));
    assert!(sent.iter().all(|(_, sent)| sent.header.flags == Flags::NONE), "one step is missing");
    script.hear(Flags::NONE, 17, acked, 104_856, b"");
    let from = script.now;
    let sent = script.wait(Duration::from_secs(1));
    let (at, close) = &sent[0];
    assert_eq!(*at - from, Duration::from_millis(50));
    assert_eq!((close.header.flags, close.header.seq, close.data.len()), (Flags::CLOSE, 40_017, 0), "alone at first");
    let (_, again) = &sent[1];
    assert_eq!((again.header.flags, again.header.seq, again.data.len()), (Flags::CLOSE, 40_016, 1), "then on old data");
    script.hear(Flags::ACK_CLOSE, 17, acked, 104_856, b"");
    assert!(script.events().contains(&Event::Finished(Proof::Unproven)));
}

#[test]
fn a_window_that_never_shows_it_holds_the_close_for_its_time_only() {
    let mut script = Script::connected();
    script.ours.write(Bytes::from_static(&[7; 300])).expect("credit");
    script.ours.finish(script.now);
    script.sent();
    // a step of 200, of which all would have been read at 1200
    script.ours.steps = Steps::default();
    script.ours.steps.on_end(1000);
    script.ours.flow.sender.jump_end(1000);
    script.hear(Flags::NONE, 17, 317, 1000, b"");
    let from = script.now;
    let sent = script.wait(Duration::from_secs(31));
    let (at, _) = sent.iter().find(|(_, sent)| sent.header.flags == Flags::CLOSE).expect("in the end");
    assert!((30_000..30_200).contains(&(*at - from).as_millis()), "{at}");
}

#[test]
fn a_spoilt_datagram_is_read_as_it_was_meant() {
    let mut script = Script::connected();
    script.ours.write(Bytes::from(vec![7; 242])).expect("credit");
    script.sent();
    script.hear(Flags::NONE, 17, 259, 65_535, b"");
    // flags 0, seq 17, ack 259 (f7 0c), the low octet of -259, and then the data
    let mut datagram = vec![0x00, 0x11, 0xf7, 0x0c, 253];
    datagram.extend(b"all of these octets");
    datagram.extend(script.keys.send.tag(&datagram));
    script.ours.handle_datagram(script.now, &datagram);
    assert_eq!(script.ours.read(script.now, 100).expect("taken"), "all of these octets");
    assert_eq!(script.ours.stats().repaired, 1);
    let answer = &script.sent()[0];
    assert_eq!(answer.header.ack, 17 + 19);
}

#[test]
fn an_end_of_the_peer_is_not_exceeded_and_a_ping_asks_for_news() {
    let mut script = Script::new();
    script.sent();
    script.hear(Flags::NONE, 0, 17, 128, HELLO);
    script.hear(Flags::NONE, 17, 17, 128, b"");
    assert_eq!(script.ours.credit(), 111);
    assert!(matches!(script.ours.write(Bytes::from(vec![1; 112])), Err(WriteError::NoCredit(_))));
    script.ours.write(Bytes::from(vec![1; 111])).expect("credit");
    let sent = script.sent();
    assert_eq!(sent.iter().map(|sent| sent.data.len()).sum::<usize>(), 111);
    script.now += Duration::from_millis(10);
    script.hear(Flags::NONE, 17, 128, 128, b"");
    let sent = script.wait(Duration::from_secs(16));
    let pings: Vec<_> = sent.iter().filter(|(_, sent)| sent.data.len() == 1).collect();
    assert!(pings.iter().all(|(_, ping)| ping.header.seq == 127), "never beyond the end");
    assert!((4..10).contains(&pings.len()), "soon, then each 5 s: {}", pings.len());
    script.hear(Flags::NONE, 17, 128, 500, b"");
    assert_eq!(script.ours.credit(), 372);
}

#[test]
fn a_held_octet_is_acknowledged_with_the_grant_that_it_waited_for() {
    let mut script = Script::connected();
    let full = vec![5; 400];
    for n in 0..250 {
        script.hear(Flags::NONE, 17 + 400 * n, 17, 65_535, &full);
    }
    script.sent();
    script.hear(Flags::NONE, 100_017, 17, 65_535, b"x");
    let answer = script.sent();
    assert_eq!(answer.iter().map(|sent| (sent.header.ack, sent.header.win)).collect::<Vec<_>>(), [(100_017, 0)]);
    assert_eq!(script.ours.held(), 100_001);
    script.ours.set_read_limit(script.now, 150_000);
    let answer = script.sent();
    assert_eq!(
        answer.iter().map(|sent| (sent.header.ack, sent.header.end())).collect::<Vec<_>>(),
        [(100_018, 150_017)]
    );
}

#[test]
fn repeated_closes_are_answered_as_often_as_they_should() {
    let mut script = Script::connected();
    script.hear(Flags::CLOSE, 17, 17, 65_535, b"");
    let answer = script.sent();
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].header.flags, Flags::ACK_CLOSE);
    assert!(script.events().contains(&Event::PeerEnded(Proof::Unproven)));
    // without data: at most one in 100 ms
    for _ in 0..50 {
        script.now += Duration::from_millis(10);
        script.hear(Flags::CLOSE, 17, 17, 65_535, b"");
    }
    let answers = script.sent().len() + script.wait(Duration::from_millis(100)).len();
    assert!(answers <= 2, "{answers}");
    // with old data: each one
    for _ in 0..5 {
        script.hear(Flags::CLOSE, 16, 17, 65_535, b"8");
    }
    assert_eq!(script.sent().len(), 5);
    // both flags, our stream being open: it stopped reading, so ours ends as well; and both again are never answered
    script.hear(Flags::CLOSE | Flags::ACK_CLOSE, 17, 17, 65_535, b"");
    assert!(script.events().contains(&Event::PeerStopped));
    let sent = script.wait(Duration::from_millis(10));
    assert_eq!(sent.last().expect("ours").1.header.flags, Flags::CLOSE | Flags::ACK_CLOSE);
    script.hear(Flags::CLOSE | Flags::ACK_CLOSE, 17, 17, 65_535, b"");
    script.wait(Duration::from_secs(1));
    for _ in 0..10 {
        script.hear(Flags::CLOSE | Flags::ACK_CLOSE, 17, 17, 65_535, b"");
        assert_eq!(script.sent().len(), 0);
    }
}

/// Both ends of ours, their streams moved on by `by`, exchange data and close.
fn far(by: u64, limit: u64) {
    let now = Time::ZERO;
    let mut ends = [
        Connection::new(Config::default(), &secrets(), now),
        Connection::new(Config::default(), &secrets().swapped(), now),
    ];
    let mut buf = [0; DATAGRAM_MAX];
    let mut carry = |ends: &mut [Connection; 2], now: Time| {
        let mut longest = 0;
        loop {
            let mut quiet = true;
            for n in [0, 1] {
                ends[n].handle_timeout(now);
                while let Some(len) = ends[n].poll_transmit(now, &mut buf) {
                    longest = longest.max(len);
                    ends[1 - n].handle_datagram(now, &buf[..len]);
                    quiet = false;
                }
            }
            if quiet {
                return longest;
            }
        }
    };
    carry(&mut ends, now);
    for end in &mut ends {
        assert!(end.is_connected());
        end.flow.sender.jump(by);
        end.receiver.jump(by);
        end.set_read_limit(now, by + limit);
    }
    carry(&mut ends, now);
    let (mut read, mut longest) = ([0, 0], 0);
    for ms in 1..5000 {
        let now = Time::from_millis(ms);
        for n in [0, 1] {
            let left = (100_000 - (ends[n].written() - by)).min(ends[n].credit());
            if left > 0 {
                ends[n].write(Bytes::from(vec![n as u8; left as usize])).expect("credit");
            }
            if left == 0 && ends[n].written() == by + 100_000 {
                ends[n].finish(now);
            }
            while let Some(data) = ends[n].read(now, 1 << 20) {
                assert!(data.iter().all(|octet| *octet == 1 - n as u8));
                read[n] += data.len();
            }
        }
        longest = longest.max(carry(&mut ends, now));
    }
    assert_eq!(read, [100_000, 100_000], "at {by}");
    assert!((490..=DATAGRAM_MAX).contains(&longest), "{longest}");
    for end in &mut ends {
        let events: Vec<_> = std::iter::from_fn(|| end.poll_event()).collect();
        assert!(matches!(events.last(), Some(Event::Closed(reason)) if reason.is_end()), "at {by}: {events:?}");
        assert_eq!((end.stats().malformed, end.stats().refused), (0, 0));
    }
}

#[test]
fn positions_beyond_four_gib_and_numbers_of_any_size() {
    for by in [(1 << 32) - 20_000, 5 << 30, (1 << 40) - 20_000, (1 << 48) - 20_000, 1 << 60] {
        far(by, 200_000);
        // a window whose number leaves no room beside a full segment: it is said by datagrams without data
        far(by, 1 << 61);
    }
}

#[test]
fn an_abort_is_told_three_times_or_until_it_is_answered() {
    let mut script = Script::connected();
    script.ours.abort(script.now);
    let sent = script.wait(Duration::from_secs(20));
    assert_eq!(sent.iter().filter(|(_, sent)| sent.header.flags == Flags::FAIL).count(), 3);
    assert!(script.ours.is_gone());
    let mut script = Script::connected();
    script.ours.abort(script.now);
    assert_eq!(script.sent().len(), 1);
    script.hear(Flags::CLOSE | Flags::ACK_CLOSE, 17, 17, FIRST_END, b"");
    assert_eq!((script.sent().len(), script.ours.is_gone()), (0, true));
    assert!(script.events().contains(&Event::Closed(CloseReason::Aborted)));
}
