//! VUT, in either profile: the endpoint as it is.

use crate::world::Peer;
use bytes::Bytes;
use std::collections::VecDeque;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::Address;
use versile_io::proto::time::Time;
use versile_io::proto::vut::congestion::MakeController;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{Config, Endpoint, Event, Fresh, Setup};

pub struct Ours {
    endpoint: Endpoint<Address>,
    peer: Address,
    window: u64,
    read: u64,
    buffer: Vec<u8>,
    left: Bytes,
    failure: Option<String>,
}

/// Both ends; datagrams have at most `largest` octets, and `window` is what a reader lets the peer be ahead.
pub fn pair(mode: Mode, make: MakeController, largest: u16, window: u64, seed: u64, start: Time) -> [Box<dyn Peer>; 2] {
    let secrets = Secrets::new([0xA1; 32], [0xB2; 32]).expect("safe");
    let sides = [Address { host: 1, port: 1 }, Address { host: 2, port: 2 }];
    [0, 1].map(|side: usize| {
        let mut rng = Rng::new(seed * 2 + side as u64 + 77);
        let mut octets = [0; Fresh::LEN];
        octets.fill_with(|| rng.bits() as u8);
        let secrets = if side == 0 { secrets.clone() } else { secrets.swapped() };
        let config = Config {
            controller: make,
            send_buffer: window.max(1 << 20) * 2,
            queued_segments: 1 << 18,
            ..Config::default()
        };
        let peer = sides[1 - side];
        let setup = Setup { mode, largest, config, ..Setup::new(secrets, peer, Fresh::new(octets)) };
        let mut endpoint = Endpoint::new(setup, start).expect("safe");
        endpoint.set_read_limit(start, window);
        let (buffer, left) = (vec![0; 1 << 16], Bytes::new());
        Box::new(Ours { endpoint, peer, window, read: 0, buffer, left, failure: None }) as Box<dyn Peer>
    })
}

impl Peer for Ours {
    fn receive(&mut self, now: Time, data: &mut [u8]) {
        self.endpoint.handle_datagram(now, self.peer, data);
    }

    fn transmit(&mut self, now: Time, out: &mut VecDeque<Vec<u8>>) {
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut self.buffer) {
            out.extend(self.buffer[..transmit.octets].chunks(transmit.segment).map(<[u8]>::to_vec));
        }
    }

    fn due(&mut self, now: Time) -> Option<Time> {
        self.endpoint.poll_timeout(now)
    }

    fn expire(&mut self, now: Time) {
        self.endpoint.handle_timeout(now);
    }

    fn is_ready(&self) -> bool {
        // data may leave with the first packet, before the peer has answered
        self.endpoint.credit() > 0
    }

    fn write(&mut self, _: Time, data: &[u8]) -> usize {
        let taken = data.len().min(usize::try_from(self.endpoint.credit()).unwrap_or(usize::MAX));
        if taken > 0 && self.endpoint.write(Bytes::copy_from_slice(&data[..taken])).is_err() {
            return 0;
        }
        taken
    }

    fn finish(&mut self, now: Time) {
        self.endpoint.finish(now);
    }

    fn read(&mut self, now: Time, buf: &mut [u8]) -> usize {
        if self.left.is_empty() {
            let Some(data) = self.endpoint.read(now, buf.len()) else { return 0 };
            self.left = data;
        }
        let taken = self.left.split_to(self.left.len().min(buf.len()));
        buf[..taken.len()].copy_from_slice(&taken);
        self.read += taken.len() as u64;
        self.endpoint.set_read_limit(now, self.read + self.window);
        taken.len()
    }

    fn failure(&mut self) -> Option<String> {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Closed(reason) = event
                && !matches!(reason, versile_io::proto::vut::CloseReason::Ended { .. })
            {
                self.failure = Some(format!("{reason:?}"));
            }
        }
        self.failure.clone()
    }
}
