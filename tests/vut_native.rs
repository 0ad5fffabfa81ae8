//! The native profile of VUT against vectors that other code made, and the attacks that its document names.
#![cfg(feature = "vut")]

use serde_json::Value;
use std::time::Duration;
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::frames::{Frame, FrameWriter, Frames};
use versile_io::proto::vut::native::handshake::{Handshake, Heard, Own, Settled};
use versile_io::proto::vut::native::keys::{Aead, Ephemeral, HandshakeKeys};
use versile_io::proto::vut::native::negotiation::{AeadMask, Offer, Refusal};
use versile_io::proto::vut::native::packet::{ConnectionId, HEADER, OVERHEAD, OpenError, Opened, Sealer};
use versile_io::proto::vut::native::path::{Address, Arrival, Keeps, Path, PathEffect, PathTimes, Switch as Moved};
use versile_io::proto::vut::native::role::{Role, Secrets};
use versile_io::proto::vut::native::switch::{Input, Mode, State, Switch, Verdict};

const PTO: Duration = Duration::from_millis(100);

fn vectors() -> Value {
    serde_json::from_str(include_str!("golden/vut_native_vectors.json")).expect("JSON")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("the length")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().and_then(|text| text.parse().ok()).expect("a number"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// The side of a vector in the given role.
fn side_of(vector: &Value, role: Role) -> Handshake {
    let (own, peer) = role.ordered("lo", "hi");
    let secrets = Secrets::new(&hex(&vector[own]), &hex(&vector[peer])).expect("safe");
    assert_eq!(secrets.role(), role);
    let keys = HandshakeKeys::new(&secrets, &hex(&vector["context"])).expect("short");
    let side = &vector["sides"][own];
    let offer = Offer {
        public: [0; 32],
        random: array(&side["random"]),
        id: ConnectionId(array(&side["id"])),
        aeads: AeadMask::from_bits(u8::try_from(number(&side["mask"])).expect("small")),
        largest: u16::try_from(number(&side["largest"])).expect("small"),
        window: number(&side["window"]),
        idle: u16::try_from(number(&side["idle"])).expect("small"),
    };
    Handshake::new(secrets, keys, Own { ephemeral: Ephemeral::new(array(&side["private"])), offer })
}

#[test]
fn negotiations_keys_packets_and_exports_are_those_of_the_vectors() {
    for vector in list(&vectors()["connections"]) {
        let name = &vector["name"];
        let (mut lo, mut hi) = (side_of(vector, Role::Lo), side_of(vector, Role::Hi));
        assert_eq!(lo.datagram(), hex(&vector["n"]["lo"]), "{name}");
        assert_eq!(hi.datagram(), hex(&vector["n"]["hi"]), "{name}");
        assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
        assert_eq!(hi.handle_negotiation(lo.datagram()), Heard::Newest);
        let (from_lo, from_hi) = (lo.sealer().expect("keys"), hi.sealer().expect("keys"));
        let (mut lo, mut hi) = (settled(lo, &packets(vector, "hi")[0].2), settled(hi, &packets(vector, "lo")[0].2));

        let aead = if vector["aead"] == "AES-128-GCM" { Aead::Aes128Gcm } else { Aead::ChaCha20Poly1305 };
        assert_eq!((lo.opener.aead(), hi.opener.aead()), (aead, aead));
        check_packets(from_lo, &mut hi, &packets(vector, "lo"));
        check_packets(from_hi, &mut lo, &packets(vector, "hi"));
        for export in list(&vector["exports"]) {
            let mut out = vec![0; hex(&export["out"]).len()];
            lo.exporter().export(&hex(&export["label"]), &hex(&export["context"]), &mut out).expect("short");
            assert_eq!(out, hex(&export["out"]), "{name}");
        }
    }
}

/// Number, phase, datagram, frames.
fn packets(vector: &Value, from: &str) -> Vec<(u64, bool, Vec<u8>, Vec<u8>)> {
    let ours = list(&vector["packets"]).iter().filter(|packet| packet["from"] == from);
    ours.map(|p| (number(&p["number"]), p["phase"] == 1, hex(&p["datagram"]), hex(&p["frames"]))).collect()
}

fn settled(mut side: Handshake, first: &[u8]) -> Settled {
    side.open(&mut first.to_vec(), Time::ZERO, PTO).expect("opens");
    side.settle().expect("a packet has opened")
}

/// Seals what the vectors say and compares; opens all but the first, which the handshake had.
fn check_packets(mut sealer: Sealer, at: &mut Settled, packets: &[(u64, bool, Vec<u8>, Vec<u8>)]) {
    let to = ConnectionId(packets[0].2[1..9].try_into().expect("8"));
    for (i, (number, phase, datagram, frames)) in packets.iter().enumerate() {
        if *phase != sealer.phase() {
            sealer.on_acknowledged(sealer.next_number() - 1);
            assert!(sealer.update());
        }
        sealer.skip_to(*number);
        let mut ours = vec![0; OVERHEAD + frames.len()];
        ours[HEADER..HEADER + frames.len()].copy_from_slice(frames);
        assert_eq!(sealer.seal(to, &mut ours), Ok(*number));
        assert_eq!(&ours, datagram, "packet {number}");
        let opened = at.opener.open(&mut ours, Time::ZERO, PTO);
        if i == 0 {
            assert_eq!(opened, Err(OpenError::Seen));
            continue;
        }
        let opened = opened.expect("opens");
        assert_eq!((opened.number, &ours[opened.frames]), (*number, &frames[..]));
        assert_eq!(at.opener.phase(), *phase);
    }
}

/// A frame as the vectors write it.
fn text(frame: &Frame<'_>) -> String {
    let octets = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    match frame {
        Frame::Pad(count) => format!("PAD {count}"),
        Frame::Ping => "PING".to_owned(),
        Frame::Ack(ack) => {
            let ranges: String = ack.ranges().map(|(low, high)| format!(" {low}-{high}")).collect();
            let ecn = ack.ecn.map_or(String::new(), |ecn| format!(" ecn {} {} {}", ecn.ect0, ecn.ect1, ecn.ce));
            format!("ACK{ranges} delay {}{ecn}", ack.delay)
        }
        Frame::Window(n) => format!("WINDOW {n}"),
        Frame::Challenge(data) => format!("CHALLENGE {}", octets(data)),
        Frame::Response(data) => format!("RESPONSE {}", octets(data)),
        Frame::Fin(n) => format!("FIN {n}"),
        Frame::Abort(n) => format!("ABORT {n}"),
        Frame::Stop => "STOP".to_owned(),
        Frame::Done(n) => format!("DONE {n}"),
        Frame::Stream { offset, data } => format!("STREAM {offset} {}", octets(data)),
    }
}

#[test]
fn frames_are_those_of_the_vectors() {
    let vectors = vectors();
    for vector in list(&vectors["frames"]) {
        let octets = hex(&vector["hex"]);
        let frames: Vec<_> = Frames::checked(&octets).expect("well formed").collect();
        assert_eq!(frames.len(), 1);
        assert_eq!(text(&frames[0]), vector["frame"].as_str().expect("text"));
        let mut buffer = [0; 100];
        let mut writer = FrameWriter::new(&mut buffer);
        writer.frame(&frames[0]).expect("room");
        // a count of ranges takes one octet as long as it can
        assert_eq!(writer.len(), octets.len(), "{}", vector["frame"]);
        assert_eq!(buffer[..octets.len()], octets);
    }
    for vector in list(&vectors["malformed"]) {
        let octets = hex(&vector["hex"]);
        let error = Frames::checked(&octets).expect_err("malformed");
        assert_eq!(format!("{error:?}"), vector["error"].as_str().expect("text"), "{octets:02x?}");
    }
}

/// A side of connection number `run`, always with the same two secrets.
fn side(role: Role, run: u8) -> Handshake {
    let (own, peer) = role.ordered([1; 32], [2; 32]);
    let secrets = Secrets::new(&own, &peer).expect("safe");
    let keys = HandshakeKeys::new(&secrets, b"").expect("short");
    let seed = if role == Role::Lo { run } else { 100 + run };
    let offer = Offer {
        public: [0; 32],
        random: [seed; 16],
        // the same in every connection: the worst case for replays
        id: ConnectionId([if role == Role::Lo { 0xaa } else { 0xbb }; 8]),
        aeads: AeadMask::new(true),
        largest: 1452,
        window: 1 << 20,
        idle: 60,
    };
    Handshake::new(secrets, keys, Own { ephemeral: Ephemeral::new([seed; 32]), offer })
}

fn seal(sealer: &mut Sealer, to: Role, frames: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; OVERHEAD + frames.len()];
    datagram[HEADER..HEADER + frames.len()].copy_from_slice(frames);
    let to = ConnectionId([if to == Role::Lo { 0xaa } else { 0xbb }; 8]);
    sealer.seal(to, &mut datagram).expect("sealed");
    datagram
}

/// A whole connection: both settled, both sealers, and every datagram that was sent to lo and to hi.
struct Connection {
    lo: Settled,
    hi: Settled,
    from_lo: Sealer,
    from_hi: Sealer,
    to_lo: Vec<Vec<u8>>,
    to_hi: Vec<Vec<u8>>,
}

fn connect(run: u8) -> Connection {
    let (mut lo, mut hi) = (side(Role::Lo, run), side(Role::Hi, run));
    let (mut to_lo, mut to_hi) = (vec![hi.datagram().to_vec()], vec![lo.datagram().to_vec()]);
    assert_eq!(lo.handle_negotiation(&to_lo[0]), Heard::Newest);
    assert_eq!(hi.handle_negotiation(&to_hi[0]), Heard::Newest);
    let (mut from_lo, mut from_hi) = (lo.sealer().expect("keys"), hi.sealer().expect("keys"));
    to_hi.push(seal(&mut from_lo, Role::Hi, &[1]));
    to_lo.push(seal(&mut from_hi, Role::Lo, &[1]));
    let (mut lo, mut hi) = (settled(lo, &to_lo[1]), settled(hi, &to_hi[1]));
    for count in 0..20u8 {
        to_hi.push(seal(&mut from_lo, Role::Hi, &vec![0; count.into()]));
        to_lo.push(seal(&mut from_hi, Role::Lo, &vec![0; count.into()]));
        hi.opener.open(&mut to_hi[2 + usize::from(count)].clone(), Time::ZERO, PTO).expect("opens");
        lo.opener.open(&mut to_lo[2 + usize::from(count)].clone(), Time::ZERO, PTO).expect("opens");
    }
    Connection { lo, hi, from_lo, from_hi, to_lo, to_hi }
}

fn exported(side: &Settled) -> [u8; 32] {
    let mut out = [0; 32];
    side.exporter().export(b"test", b"", &mut out).expect("short");
    out
}

#[test]
fn the_same_secrets_twice_give_different_keys() {
    let (one, two) = (connect(1), connect(2));
    assert_eq!(exported(&one.lo), exported(&one.hi));
    assert_ne!(exported(&one.lo), exported(&two.lo));
    // the same plain text under the same number looks different, in both directions
    let same = |a: &[Vec<u8>], b: &[Vec<u8>]| a.iter().zip(b).filter(|(a, b)| a[HEADER..] == b[HEADER..]).count();
    assert_eq!((same(&one.to_hi, &two.to_hi), same(&one.to_lo, &two.to_lo)), (0, 0));
    assert_ne!(one.to_hi[1][HEADER..], one.to_lo[1][HEADER..], "nor do both directions share a key");
}

#[test]
fn one_connection_replayed_into_the_next_changes_nothing() {
    let mut old = connect(1);
    // into a handshake: the recorded N is a candidate, but nothing recorded opens
    let (mut lo, mut hi) = (side(Role::Lo, 2), side(Role::Hi, 2));
    assert_eq!(lo.handle_negotiation(&old.to_lo[0]), Heard::Newest);
    for datagram in &old.to_lo[1..] {
        assert_eq!(lo.open(&mut datagram.clone(), Time::ZERO, PTO), Err(OpenError::Forged));
    }
    let lo = lo.settle().expect_err("not settled");
    // into the connection that comes about all the same
    let mut lo = *lo;
    assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
    assert_eq!(hi.handle_negotiation(lo.datagram()), Heard::Newest);
    let mut from_hi = hi.sealer().expect("keys");
    let mut lo = settled(lo, &seal(&mut from_hi, Role::Lo, &[1]));
    for datagram in &old.to_lo {
        let result = lo.opener.open(&mut datagram.clone(), Time::ZERO, PTO);
        assert!(matches!(result, Err(OpenError::Forged | OpenError::NotAPacket)));
        assert_eq!(lo.answer(datagram, Time::ZERO), None);
    }
    assert_eq!(lo.opener.highest(), Some(0));
    // and into itself
    for datagram in old.to_lo[1..].iter().chain(&old.to_lo[1..]) {
        assert_eq!(old.lo.opener.open(&mut datagram.clone(), Time::ZERO, PTO), Err(OpenError::Seen));
    }
    assert_eq!(old.lo.opener.forged(), 0);
}

#[test]
fn a_peer_that_reflects_is_heard_by_nobody() {
    let mut selfie = side(Role::Lo, 1);
    let own = selfie.datagram().to_vec();
    assert_eq!(selfie.handle_negotiation(&own), Heard::Refused(Refusal::Tag));
    assert!(selfie.sealer().is_none());
    let mut connection = connect(1);
    for datagram in &connection.to_hi {
        let mut reflected = datagram.clone();
        assert!(connection.lo.opener.open(&mut reflected.clone(), Time::ZERO, PTO).is_err());
        reflected[1..9].copy_from_slice(&[0xaa; 8]);
        assert!(connection.lo.opener.open(&mut reflected, Time::ZERO, PTO).is_err());
    }
    assert!(connection.hi.opener.open(&mut connection.to_lo[3].clone(), Time::ZERO, PTO).is_err());
}

#[test]
fn a_bit_stripped_by_a_third_party_never_leads_to_0_8_data() {
    // native drops it, auto is aborted by the true N, and after the true hello it means nothing
    for (mode, before, end) in [
        (Mode::Native, None, State::Proven),
        (Mode::Auto, None, State::Aborted),
        (Mode::Native, Some(Input::HelloWithBit), State::Proven),
        (Mode::Auto, Some(Input::HelloWithBit), State::Proven),
    ] {
        let mut switch = Switch::new(mode);
        before.into_iter().for_each(|input| assert_eq!(switch.handle(input), Verdict::BecomeNative));
        for input in [Input::HelloWithout, Input::Negotiation, Input::Packet] {
            let _ = switch.handle(input);
        }
        assert_eq!(switch.state(), end, "{mode} {before:?}");
        assert_eq!(switch.handle(Input::Legacy), Verdict::Drop);
    }
}

#[test]
fn eight_old_n_before_the_true_one_do_no_harm() {
    let (mut lo, mut hi) = (side(Role::Lo, 9), side(Role::Hi, 9));
    let mut sealer = None;
    for run in 1..=8 {
        assert_eq!(lo.handle_negotiation(side(Role::Hi, run).datagram()), Heard::Newest);
        let sealer = sealer.get_or_insert_with(|| lo.sealer().expect("keys"));
        lo.rekey(sealer);
        seal(sealer, Role::Hi, &[1]);
    }
    let mut sealer = sealer.expect("made");
    assert_eq!(lo.handle_negotiation(hi.datagram()), Heard::Newest);
    assert_eq!(hi.handle_negotiation(lo.datagram()), Heard::Newest);
    lo.rekey(&mut sealer);
    let mut packet = seal(&mut sealer, Role::Hi, &[1]);
    assert_eq!(hi.open(&mut packet, Time::ZERO, PTO).map(|opened| opened.number), Ok(8));
    let mut from_hi = hi.sealer().expect("keys");
    let lo = settled(lo, &seal(&mut from_hi, Role::Lo, &[1]));
    assert_eq!(exported(&lo), exported(&hi.settle().expect("opened")));
}

#[test]
fn forged_packets_change_nothing_but_a_counter() {
    let mut connection = connect(1);
    let mut random = fastrand::Rng::with_seed(1);
    for count in 1..=30_000 {
        let mut forged = vec![0; random.usize(OVERHEAD..100)];
        random.fill(&mut forged);
        forged[0] = 4 | (forged[0] & 1);
        forged[1..9].copy_from_slice(&[0xaa; 8]);
        assert_eq!(connection.lo.opener.open(&mut forged, Time::ZERO, PTO), Err(OpenError::Forged));
        assert_eq!(connection.lo.opener.forged(), count);
    }
    assert_eq!(connection.lo.opener.highest(), Some(20));
    let mut true_one = seal(&mut connection.from_hi, Role::Lo, &[1]);
    assert!(connection.lo.opener.open(&mut true_one, Time::ZERO, PTO).is_ok());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u8, u16);

impl Address for At {
    fn same_host(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

const TIMES: PathTimes = PathTimes { pto: PTO, rtt: Duration::from_millis(40) };
const HOME: At = At(1, 1000);
const REBOUND: At = At(1, 2000);
const ELSEWHERE: At = At(2, 1000);

/// What comes to hi from an address: opened, and if it opened, told to the path.
fn arrives(connection: &mut Connection, path: &mut Path<At>, datagram: &[u8], from: At, now: u64) -> PathEffect<At> {
    let mut datagram = datagram.to_vec();
    let now = Time::from_millis(now);
    let Ok(Opened { highest, frames, .. }) = connection.hi.opener.open(&mut datagram, now, PTO) else {
        return PathEffect::None;
    };
    let octets = datagram.len();
    let effect = path.on_packet(Arrival { from, highest, octets }, now, TIMES, || [7; 8]);
    for frame in Frames::checked(&datagram[frames]).expect("well formed") {
        if let Frame::Response(octets) = frame {
            return path.on_response(from, octets, now, TIMES);
        }
    }
    effect
}

#[test]
fn an_address_change_is_believed_only_if_it_is_real() {
    let mut connection = connect(1);
    let ping = |connection: &mut Connection| seal(&mut connection.from_lo, Role::Hi, &[1]);
    let response = |connection: &mut Connection| seal(&mut connection.from_lo, Role::Hi, &[6, 7, 7, 7, 7, 7, 7, 7, 7]);
    let mut path = Path::new(HOME);
    let first = ping(&mut connection);
    assert_eq!(arrives(&mut connection, &mut path, &first, HOME, 0), PathEffect::None);
    assert!(path.is_validated());

    // forged, and replayed: nothing
    let mut forged = ping(&mut connection);
    forged[20] ^= 1;
    assert_eq!(arrives(&mut connection, &mut path, &forged, ELSEWHERE, 10), PathEffect::None);
    assert_eq!(arrives(&mut connection, &mut path, &first, ELSEWHERE, 10), PathEffect::None);

    // copied ahead of the original: a challenge goes there, the data does not, and the next packet from home ends it
    let copied = ping(&mut connection);
    let challenge = PathEffect::Challenge { to: ELSEWHERE, octets: [7; 8] };
    assert_eq!(arrives(&mut connection, &mut path, &copied, ELSEWHERE, 20), challenge);
    assert_eq!(
        arrives(&mut connection, &mut path, &copied, HOME, 21),
        PathEffect::None,
        "the original is a replay now"
    );
    assert_eq!(path.current(), HOME);
    let next = ping(&mut connection);
    assert_eq!(arrives(&mut connection, &mut path, &next, HOME, 22), PathEffect::Stayed);

    // real: a NAT's new port keeps what is known, another host does not
    for (from, keeps, now) in [(REBOUND, Keeps::All, 100), (ELSEWHERE, Keeps::Nothing, 500)] {
        let moved = ping(&mut connection);
        let challenge = PathEffect::Challenge { to: from, octets: [7; 8] };
        assert_eq!(arrives(&mut connection, &mut path, &moved, from, now), challenge);
        let answer = response(&mut connection);
        assert_eq!(
            arrives(&mut connection, &mut path, &answer, from, now + 40),
            PathEffect::Moved(Moved { to: from, keeps })
        );
        assert_eq!(path.current(), from);
    }
}

#[test]
fn the_number_wraps_its_32_bits_across_a_key_update() {
    let mut connection = connect(1);
    for step in [1u64 << 30, 1 << 31, 3 << 30, (1 << 32) - 2] {
        connection.from_lo.skip_to(step);
        let mut packet = seal(&mut connection.from_lo, Role::Hi, &[1]);
        assert_eq!(connection.hi.opener.open(&mut packet, Time::ZERO, PTO).map(|o| o.number), Ok(step));
    }
    let mut last_of_phase = seal(&mut connection.from_lo, Role::Hi, &[1]);
    connection.from_lo.on_acknowledged((1 << 32) - 2);
    assert!(connection.from_lo.update());
    let mut after = [0; 2].map(|_| seal(&mut connection.from_lo, Role::Hi, &[1]));
    let mut number = |datagram: &mut [u8]| connection.hi.opener.open(datagram, Time::ZERO, PTO).map(|o| o.number);
    assert_eq!(number(&mut after[1]), Ok((1 << 32) + 1));
    assert_eq!(number(&mut last_of_phase), Ok((1 << 32) - 1));
    assert_eq!(number(&mut after[0]), Ok(1 << 32));
    assert!(connection.hi.opener.phase());
}
