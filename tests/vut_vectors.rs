//! The golden vectors of VUT 0.8: integers, MACs, datagrams. They were recorded from the existing peers.
#![cfg(feature = "vut")]

#[path = "support/vut.rs"]
mod support;

use support::{list, number, octets, vectors};
use versile_io::proto::vut::wire::posint::{self, PosintError};
use versile_io::proto::vut::wire::{DATAGRAM_MAX, Datagram, Flags, Header, Keys, Mac, Refused, Secrets, View};

#[test]
fn integers_are_written_as_the_peers_write_them() {
    let Some(vectors) = vectors() else { return };
    let mut beyond = 0;
    for case in list(&vectors, "posint_encode") {
        let (n, hex) = (number(&case["n"]), octets(&case["hex"]));
        let mut buf = [0; posint::LEN_MAX];
        match u64::try_from(n).ok().filter(|n| *n <= posint::MAX) {
            Some(n) => {
                let used = posint::encode(n, &mut buf).expect("fits");
                assert_eq!(buf[..used], hex, "{n}");
                assert_eq!(posint::len(n), used, "{n}");
                assert_eq!(posint::decode(&hex), Ok((n, used)), "{n}");
            }
            None => {
                beyond += 1;
                assert_eq!(posint::decode(&hex), Err(PosintError::TooLarge), "{n}");
            }
        }
    }
    assert!(beyond > 5, "{beyond} beyond the limit");
}

#[test]
fn integers_in_longer_forms_are_read_as_the_peers_read_them() {
    let Some(vectors) = vectors() else { return };
    for case in list(&vectors, "posint_decode") {
        let expected = match &case["n"] {
            n if n.is_null() => Err(PosintError::Incomplete),
            n if number(n) > u128::from(posint::MAX) => Err(PosintError::TooLarge),
            n => Ok((number(n) as u64, number(&case["used"]) as usize)),
        };
        assert_eq!(posint::decode(&octets(&case["hex"])), expected, "{case}");
    }
}

#[test]
fn macs_are_those_of_the_peers_and_not_those_of_rfc_2104() {
    let Some(vectors) = vectors() else { return };
    let (mut refused, mut differ) = (0, 0);
    for case in list(&vectors, "mac") {
        let (sender, receiver) = (octets(&case["sender_secret"]), octets(&case["receiver_secret"]));
        let message = octets(&case["message"]);
        let tag = Mac::new(&sender, &receiver).tag(&message);
        assert_eq!(tag[..], octets(&case["mac"]), "{case}");
        assert_ne!(tag[..], octets(&case["rfc2104_hmac_sha1"]), "{case}");
        // through configuration: what it refuses can still be asked for by name
        refused += u32::from(Secrets::new(sender.clone(), receiver.clone()).is_err());
        let twenty = sender.len() + receiver.len() == 20;
        differ += u32::from(twenty);
        assert_eq!(octets(&case["mac_java"]) != tag, twenty, "{case}");
        let keys = Keys::new(&Secrets::allow_unsafe(sender, receiver));
        assert_eq!(keys.send.tag(&message), tag);
    }
    assert!(refused > 10 && differ > 0, "{refused} refused, {differ} with 20 octets");
}

#[test]
fn datagrams_are_written_and_read_to_the_octet() {
    let Some(vectors) = vectors() else { return };
    for case in list(&vectors, "datagrams") {
        let mac = Mac::new(&octets(&case["sender_secret"]), &octets(&case["receiver_secret"]));
        let field = |name: &str| number(&case[name]) as u64;
        let header = Header {
            flags: Flags::from_bits(field("flags") as u8),
            seq: field("seq"),
            ack: field("ack"),
            win: field("win"),
        };
        let datagram = Datagram { header, data: octets(&case["data"]) };
        let golden = octets(&case["datagram"]);
        let mut buf = [0; DATAGRAM_MAX];
        let len = datagram.emit(&mac, &mut buf).expect("fits");
        assert_eq!(buf[..len], golden);
        assert_eq!(View::open(&mac, &golden).expect("authentic").to_owned(), datagram);
        let mut forged = golden.clone();
        forged[0] ^= 0x01;
        assert_eq!(View::open(&mac, &forged), Err(Refused::Forged));
    }
}

#[test]
fn every_datagram_of_the_conversations_is_read_and_written_back() {
    let Some(vectors) = vectors() else { return };
    let mut count = 0;
    for conversation in list(&vectors, "conversations") {
        let secret = |end: &str| octets(&conversation["endpoints"][end]["secret"]);
        let macs = [("A", "B"), ("B", "A")].map(|(from, to)| (from, Mac::new(&secret(from), &secret(to))));
        for case in list(conversation, "datagrams") {
            let from = case["from"].as_str().expect("an end");
            let (_, mac) = macs.iter().find(|(end, _)| *end == from).expect("A or B");
            let golden = octets(&case["hex"]);
            let view = View::open(mac, &golden).expect("authentic");
            let header = view.header;
            assert_eq!(u128::from(header.flags.bits()), number(&case["flags"]));
            assert_eq!(u128::from(header.seq), number(&case["seq"]));
            assert_eq!(u128::from(header.ack), number(&case["ack"]));
            let mut buf = [0; DATAGRAM_MAX];
            let len = view.to_owned().emit(mac, &mut buf).expect("fits");
            assert_eq!(buf[..len], golden, "{case}");
            count += 1;
        }
    }
    assert!(count > 1000, "{count} datagrams");
}
