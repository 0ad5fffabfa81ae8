//! The recorded conversations of the existing peers, replayed into a connection of ours, and what ours does with each datagram that
//! is wrong in some way, which often differs from what they did.
#![cfg(feature = "vut")]

#[path = "support/vut.rs"]
mod support;

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use support::{list, number, octets, vectors};
use versile_io::proto::time::Time;
use versile_io::proto::vut::wire::{DATAGRAM_MAX, Datagram, Flags, Header, Mac, Secrets, View};
use versile_io::proto::vut::{Config, Connection, Event};

/// A connection of ours and what came out of it.
struct Ours {
    connection: Connection,
    mac: Mac,
    received: Vec<u8>,
    events: Vec<Event>,
    /// Header and data length of each datagram since it was last asked.
    sent: Vec<(Header, usize)>,
    now: Time,
}

impl Ours {
    fn new(local: &[u8], remote: &[u8]) -> Self {
        let secrets = Secrets::allow_unsafe(local, remote);
        Self {
            connection: Connection::new(Config::default(), &secrets, Time::ZERO),
            mac: Mac::new(local, remote),
            received: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            now: Time::ZERO,
        }
    }

    fn take(&mut self, now: Time, datagram: &[u8]) {
        self.now = self.now.max(now);
        self.connection.handle_timeout(self.now);
        self.connection.handle_datagram(self.now, datagram);
        self.turn();
    }

    fn turn(&mut self) {
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..2 {
            while let Some(len) = self.connection.poll_transmit(self.now, &mut buf) {
                let view = View::open(&self.mac, &buf[..len]).expect("ours is authentic");
                self.sent.push((view.header, view.data.len()));
            }
            while let Some(data) = self.connection.read(self.now, usize::MAX) {
                self.received.extend_from_slice(&data);
            }
            while let Some(event) = self.connection.poll_event() {
                self.events.push(event);
            }
        }
    }
}

fn at(value: &Value) -> Time {
    Time::from_nanos((value.as_f64().expect("a time") * 1e9) as u64)
}

#[test]
fn each_side_of_each_conversation_reaches_the_same_stream_with_acknowledgements_at_the_same_places() {
    let Some(vectors) = vectors() else { return };
    for conversation in list(&vectors, "conversations") {
        let name = conversation["name"].as_str().expect("a name");
        for (side, peer) in [("A", "B"), ("B", "A")] {
            let end = &conversation["endpoints"][side];
            if end["received_len"].is_null() {
                continue; // recorded at its peer only
            }
            let secret = |end: &str| octets(&conversation["endpoints"][end]["secret"]);
            let mut ours = Ours::new(&secret(side), &secret(peer));
            let probed = name == "window_probe" && side == "B";
            ours.connection.set_read_limit(Time::ZERO, if probed { 1000 - 17 } else { 1 << 20 });
            ours.turn();
            let mut ends = BTreeSet::from([0]);
            for case in list(conversation, "datagrams") {
                if case["to"] != side || case["lost"] == true {
                    continue;
                }
                let (seq, len) = (number(&case["seq"]) as u64, number(&case["data_len"]) as u64);
                ends.insert(seq + len);
                let now = at(&case["t"]);
                if probed && now >= Time::from_millis(1200) {
                    ours.connection.set_read_limit(now, 1 << 20);
                }
                ours.take(now, &octets(&case["hex"]));
                assert!(
                    !probed || now >= Time::from_millis(1200) || ours.received.len() <= 983,
                    "no more than granted"
                );
            }
            let told = format!("{name}, {side}");
            assert!(ours.events.contains(&Event::Connected), "{told}");
            assert_eq!(ours.connection.stats().forged + ours.connection.stats().malformed, 0, "{told}");
            // all that arrived is in order and is the pattern
            let shift = ours.received.first().copied().unwrap_or(0);
            let right = |(n, got): (usize, &u8)| *got == ((7 * n + (n >> 8)) as u8).wrapping_add(shift);
            assert!(ours.received.iter().enumerate().all(right), "{told}");
            let whole = number(&end["received_len"]) as usize;
            assert!(ours.received.len() >= whole, "{told}: {} of {whole}", ours.received.len());
            let hash = Sha256::digest(&ours.received[..whole]);
            assert_eq!(hash[..], octets(&end["received_sha256"]), "{told}");
            // acknowledgements fall on ends of what was sent to us, and on all of it in the end
            for (header, _) in &ours.sent {
                assert!(ends.contains(&header.ack), "{told}: ack {} is no boundary", header.ack);
            }
            let acked = ours.sent.iter().map(|(header, _)| header.ack).max().expect("something");
            assert_eq!(acked, 17 + ours.received.len() as u64, "{told}");
            if name == "close_flag_with_data" && side == "B" {
                assert_eq!(ours.received.len(), 30_000, "the tail that the recorded peer lost");
            }
            if end["eof"] == true && name != "abort_both" {
                assert!(ours.events.iter().any(|event| matches!(event, Event::PeerEnded(_))), "{told}");
            }
        }
    }
}

/// What ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Nothing is said, nothing changes.
    Drops,
    /// It is answered, and its data is not taken (now).
    Acknowledges,
    /// Its data is taken, this many octets.
    Accepts(usize),
    /// The peer's stream has ended after this many octets.
    Ends(usize),
    /// The connection is given up.
    Fails,
}

use Does::{Accepts, Acknowledges, Drops, Ends, Fails};

/// For each case what ours does, whether it still answers a ping, and which rule says so.
const TABLE: &[(&str, Does, bool, &str)] = &[
    ("baseline_data", Accepts(3), true, ""),
    ("bad_mac", Drops, true, "silence on everything unauthenticated"),
    ("wrong_key", Drops, true, "silence on everything unauthenticated"),
    ("len20_mac_only", Drops, true, "section 1, step 2"),
    ("len19", Drops, true, "section 1, step 2"),
    ("flags_only", Drops, true, "section 1: step 5 is a drop"),
    ("no_win", Drops, true, "section 1: step 5 is a drop"),
    ("truncated_posint", Drops, true, "section 1: step 5 is a drop"),
    ("noncanonical_posint_win", Accepts(3), true, "section 2: non-minimal forms"),
    ("seq_8byte_max_nodata", Drops, true, "section 2: 2^62 and more is malformed"),
    ("seq_9byte_nodata", Drops, true, "section 2: 2^62 and more is malformed"),
    ("seq_2p64plus17_data", Drops, true, "section 2: 2^62 and more is malformed"),
    ("win_huge", Drops, true, "section 2: 2^62 and more is malformed"),
    ("win_9byte", Drops, true, "section 2: 2^62 and more is malformed"),
    ("len508", Accepts(482), true, "section 1: only the datagram's size counts"),
    ("len509_badmac", Drops, true, "section 1: step 4 is a drop"),
    ("len1400", Drops, true, "section 1: step 4 is a drop"),
    ("unknown_flags_1f", Accepts(3), true, "section 10: unassigned bits"),
    ("flag_fail_1f", Fails, true, "section 9: a received 20 is an abort; it is answered while lingering"),
    ("ack_unknown_18", Drops, true, "section 6: others are ignored"),
    ("ack_lower_0", Accepts(3), true, "section 6: never an error"),
    ("past_window", Acknowledges, true, "beyond the grant"),
    ("at_window_edge_fits", Acknowledges, true, "queued"),
    ("probe_1_at_window_end", Acknowledges, true, "section 7: held, not acknowledged"),
    ("beyond_window_1", Acknowledges, true, "beyond the grant"),
    ("ooo_queue", Acknowledges, true, "queued"),
    ("ooo_same_again", Acknowledges, true, "queued"),
    ("ooo_same_start_longer", Acknowledges, true, "section 13: overlapping: drop, ack, count"),
    ("ooo_same_start_longer_overlap_next", Accepts(300), true, "section 13: the first two stay"),
    ("ooo_same_range_other_bytes", Acknowledges, true, "section 13: differing: drop, ack, count"),
    ("ooo_overlap_head", Acknowledges, true, "section 13: overlapping: drop, ack, count"),
    ("inorder_overlaps_queue", Acknowledges, true, "section 13: overlapping: drop, ack, count"),
    ("inorder_covers_queue_exact_end", Acknowledges, true, "section 13: overlapping: drop, ack, count"),
    ("old_straddle", Accepts(50), true, "section 6: the whole datagram's data is ignored"),
    ("old_straddle_then_rest", Accepts(100), true, "section 6"),
    ("close_nodata", Ends(0), true, ""),
    ("close_nodata_then_octet_close", Ends(0), true, "repeated: answered, it has data"),
    ("close_octet_old_first", Ends(0), true, ""),
    ("close_with_data", Ends(3), true, "section 9: with the data, not before it"),
    ("close_below_received", Accepts(3), true, "section 9: ignored"),
    ("close_below_queued", Acknowledges, true, "section 9: ignored"),
    ("data_past_close", Acknowledges, true, "dropped, acknowledged"),
    ("close_ahead_then_fill_with_flag", Ends(10), true, "section 9: may come before the data"),
    ("ackclose_premature", Acknowledges, true, "section 9: the peer stopped reading; our close follows"),
    ("close_ackclose_both", Ends(0), true, "section 9"),
    ("old_octet_keepalive", Acknowledges, true, "section 12: a ping"),
    ("hello_again", Acknowledges, true, "old data"),
    ("hello_again_other_text", Acknowledges, true, "old data"),
    ("hello_ok", Accepts(0), true, ""),
    ("hello_ok_flags1f", Accepts(0), true, "section 10"),
    ("hello_noack", Accepts(0), true, "answered with our hello"),
    ("hello_longer", Fails, false, "nothing can come of another version; the peer is told by 20"),
    ("hello_plus_data", Fails, false, "section 13: alone"),
    ("hello_split", Drops, false, "section 13: whole"),
    ("ack_only_before_hello", Accepts(0), true, "section 5"),
    ("ack_only_seq17_before_hello", Accepts(0), true, "section 5"),
    ("hello_then_data_in_hswindow", Accepts(3), true, "section 5"),
    ("ack_5_before_hello", Accepts(0), true, "the acknowledgement is ignored, the hello is not"),
    ("hello_with_close", Ends(0), true, "section 5"),
    ("hello_win_posint9", Drops, false, "section 2: 2^62 and more is malformed, and the hello will come again"),
];

/// Our connection as the tester finds it at a stage.
fn at_stage(stage: &str, local: &[u8], tester: &[u8]) -> Ours {
    let mut ours = Ours::new(local, tester);
    ours.connection.set_read_limit(Time::ZERO, 65_535 - 17);
    ours.turn();
    if stage == "validated" {
        let mac = Mac::new(tester, local);
        let mut send = |seq, data: &[u8], ack, win| {
            let header = Header { flags: Flags::NONE, seq, ack, win };
            let mut buf = [0; DATAGRAM_MAX];
            let len = Datagram { header, data: data.to_vec() }.emit(&mac, &mut buf).expect("fits");
            ours.take(Time::ZERO, &buf[..len]);
        };
        send(0, b"VUDPTransport-0.8", 17, 111);
        send(17, b"", 17, 65_518);
    }
    ours.sent.clear();
    ours
}

#[test]
fn each_malformed_case_is_met_as_the_rules_say() {
    let Some(vectors) = vectors() else { return };
    let malformed = &vectors["malformed"];
    let (local, tester) = (octets(&malformed["reference_secret"]), octets(&malformed["tester_secret"]));
    let cases = list(malformed, "cases");
    assert_eq!(cases.len(), TABLE.len(), "each case is in the table");
    let mut wrong = Vec::new();
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let (_, does, answers, rule) = TABLE.iter().find(|(of, ..)| *of == name).expect("in the table");
        let mut ours = at_stage(case["stage"].as_str().expect("a stage"), &local, &tester);
        let (mut replies, mut pinged) = (Vec::new(), None);
        let exchange = list(&case["python"], "exchange").iter().filter(|entry| entry["dir"] == "to_reference");
        for (n, entry) in exchange.enumerate() {
            let ping = entry["note"].as_str().is_some_and(|note| note.starts_with("ping"));
            ours.take(Time::from_millis(10 * n as u64 + 10), &octets(&entry["hex"]));
            let sent = std::mem::take(&mut ours.sent);
            if ping {
                pinged = Some(sent);
            } else {
                replies.extend(sent);
            }
        }
        let ended = ours.events.iter().any(|event| matches!(event, Event::PeerEnded(_)));
        let failed = ours.events.iter().any(|event| matches!(event, Event::Closed(reason) if !reason.is_end()));
        let did = match (ended, failed, replies.is_empty()) {
            (_, true, _) => Fails,
            (true, ..) => Ends(ours.received.len()),
            _ if !ours.received.is_empty() => Accepts(ours.received.len()),
            _ if ours.connection.is_connected() && case["stage"] == "before_hello" => Accepts(0),
            (.., true) => Drops,
            _ => Acknowledges,
        };
        let acked = |replies: &[(Header, usize)]| replies.iter().map(|(header, _)| header.ack).max();
        let silent = pinged.as_ref().is_none_or(|sent| sent.is_empty());
        if did != *does || silent == *answers {
            wrong.push(format!(
                "{name}: {did:?}, answers ping {}, not {does:?} {answers} ({rule}): {replies:?} {pinged:?}",
                !silent
            ));
        }
        // never an acknowledgement beyond what was taken, nor a 509th octet, nor a close with data
        for (header, data) in replies.iter().chain(pinged.iter().flatten()) {
            assert!(header.ack <= 17 + ours.received.len() as u64, "{name}");
            assert!(*data == 0 || *data == 17 || !header.flags.contains(Flags::CLOSE), "{name}");
        }
        if *does == Acknowledges {
            assert_eq!(acked(&replies), Some(17), "{name}");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
