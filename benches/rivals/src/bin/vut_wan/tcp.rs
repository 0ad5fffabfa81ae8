//! smoltcp's TCP. It makes IP packets, so nothing is added to them.

use crate::world::Peer;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::collections::VecDeque;
use std::time::Duration;
use versile_io::proto::time::Time;

/// Packets that wait in the device before the stack is asked again.
const WAITING: usize = 64;

#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

struct Incoming(Vec<u8>);
struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl smoltcp::phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl smoltcp::phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Incoming(packet), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        (self.outgoing.len() < WAITING).then_some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

pub struct Tcp {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// Something has happened since the stack was asked what to send.
    stale: bool,
}

/// Its clock begins later, and has microseconds.
fn at(now: Time) -> Instant {
    let micros = i64::try_from(now.since_start().as_micros()).unwrap_or(i64::MAX / 2);
    Instant::from_micros(1_000_000 + micros)
}

pub fn pair(window: usize) -> [Box<dyn Peer>; 2] {
    [true, false].map(|client| {
        let me = if client { 1 } else { 2 };
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from(me);
        let mut interface = Interface::new(config, &mut wire, at(Time::ZERO));
        interface.update_ip_addrs(|list| {
            list.push(IpCidr::new(IpAddress::v4(10, 0, 0, me), 24)).expect("there is room for one");
        });
        let (receives, sends) = if client { (65_536, window) } else { (window, 65_536) };
        let buffer = |octets| tcp::SocketBuffer::new(vec![0; octets]);
        let mut socket = tcp::Socket::new(buffer(receives), buffer(sends));
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        socket.set_nagle_enabled(false);
        if !client {
            socket.listen(2000).expect("a port");
        }
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(socket);
        if client {
            let to = (IpAddress::v4(10, 0, 0, 2), 2000);
            let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
            socket.connect(interface.context(), to, 40_000).expect("begins");
        }
        Box::new(Tcp { wire, interface, sockets, handle, stale: true }) as Box<dyn Peer>
    })
}

impl Tcp {
    fn poll(&mut self, now: Time) {
        self.interface.poll(at(now), &mut self.wire, &mut self.sockets);
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

impl Peer for Tcp {
    fn receive(&mut self, now: Time, data: &mut [u8]) {
        self.wire.incoming.push_back(data.to_vec());
        self.poll(now);
        self.stale = true;
    }

    fn transmit(&mut self, now: Time, out: &mut VecDeque<Vec<u8>>) {
        while self.stale || !self.wire.outgoing.is_empty() {
            if self.stale {
                self.poll(now);
                self.stale = !self.wire.outgoing.is_empty();
            }
            out.append(&mut self.wire.outgoing);
        }
    }

    fn due(&mut self, now: Time) -> Option<Time> {
        let due = self.interface.poll_at(at(now), &self.sockets)?;
        let micros = u64::try_from(due.total_micros() - 1_000_000).unwrap_or(0);
        // never before the next tick of its clock
        let least = now.since_start() + Duration::from_micros(1);
        Some(Time::after_start(Duration::from_micros(micros).max(least)))
    }

    fn expire(&mut self, now: Time) {
        self.poll(now);
        self.stale = true;
    }

    fn is_ready(&self) -> bool {
        self.sockets.get::<tcp::Socket<'_>>(self.handle).may_send()
    }

    fn write(&mut self, _: Time, data: &[u8]) -> usize {
        let taken = self.socket().send_slice(data).unwrap_or(0);
        self.stale |= taken > 0;
        taken
    }

    fn finish(&mut self, _: Time) {
        self.socket().close();
        self.stale = true;
    }

    fn read(&mut self, _: Time, buf: &mut [u8]) -> usize {
        let socket = self.socket();
        if !socket.can_recv() {
            return 0;
        }
        let taken = socket.recv_slice(buf).unwrap_or(0);
        self.stale |= taken > 0;
        taken
    }

    fn failure(&mut self) -> Option<String> {
        None
    }
}
