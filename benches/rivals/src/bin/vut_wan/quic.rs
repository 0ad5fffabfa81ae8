//! quinn-proto.

use crate::world::Peer;
use bytes::{Bytes, BytesMut};
use quinn_proto::congestion::{BbrConfig, CubicConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ServerConfig,
    StreamEvent, StreamId, TransportConfig, VarInt,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use versile_io::proto::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Cubic,
    Bbr,
}

/// What a connection is set up with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub controller: Controller,
    /// Receive and send windows, and an initial window of ten datagrams; none: all as quinn has it.
    pub window: Option<u64>,
    /// The largest datagram that is searched for.
    pub largest: u16,
}

/// Ten of the datagrams that it begins with.
const INITIAL: u64 = 12_000;

fn credentials() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static MADE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let made = rcgen::CertificateParams::new(vec!["sim".to_owned()]).expect("a name").self_signed(&key);
        (made.expect("signed").der().clone(), key.serialize_der())
    })
}

fn transport(settings: Settings) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    match settings.controller {
        Controller::Cubic => {
            let mut cubic = CubicConfig::default();
            if settings.window.is_some() {
                cubic.initial_window(INITIAL);
            }
            transport.congestion_controller_factory(Arc::new(cubic));
        }
        Controller::Bbr => {
            let mut bbr = BbrConfig::default();
            if settings.window.is_some() {
                bbr.initial_window(INITIAL);
            }
            transport.congestion_controller_factory(Arc::new(bbr));
        }
    }
    if let Some(window) = settings.window {
        let most = VarInt::from_u64(window).expect("it fits");
        transport.stream_receive_window(most).receive_window(most).send_window(window);
    }
    let mut search = quinn_proto::MtuDiscoveryConfig::default();
    search.upper_bound(settings.largest);
    transport.mtu_discovery_config(Some(search)).max_idle_timeout(None);
    Arc::new(transport)
}

pub struct Quic {
    origin: Instant,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    out: VecDeque<Vec<u8>>,
    peer: SocketAddr,
    connected: bool,
    sends: Option<StreamId>,
    receives: Option<StreamId>,
    left: Bytes,
    failure: Option<String>,
}

pub fn pair(settings: Settings, seed: u64, start: Time) -> [Box<dyn Peer>; 2] {
    let origin = Instant::now(); // what virtual time is added to
    let (certificate, key) = credentials();
    let key = PrivateKeyDer::Pkcs8(key.clone().into());
    let transport = transport(settings);
    let mut server = ServerConfig::with_single_cert(vec![certificate.clone()], key).expect("good");
    server.transport_config(transport.clone());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("good");
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).expect("good");
    client.transport_config(transport);
    let config = |side: u8| {
        let mut bytes = [side; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut config = EndpointConfig::default();
        config.rng_seed(Some(bytes));
        Arc::new(config)
    };
    let here = |host| SocketAddr::from(([10, 0, 0, host], 1000));
    let mut first = Endpoint::new(config(1), None, true, None);
    let second = Endpoint::new(config(2), Some(Arc::new(server)), true, None);
    let connection = first.connect(origin + start.since_start(), client, here(2), "sim").expect("begins");
    let make = |endpoint, connection, peer| {
        Box::new(Quic {
            origin,
            endpoint,
            connection,
            out: VecDeque::new(),
            peer,
            connected: false,
            sends: None,
            receives: None,
            left: Bytes::new(),
            failure: None,
        }) as Box<dyn Peer>
    };
    [make(first, Some(connection), here(2)), make(second, None, here(1))]
}

impl Quic {
    fn at(&self, now: Time) -> Instant {
        self.origin + now.since_start()
    }

    fn drive(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::Stream(StreamEvent::Opened { dir }) if self.receives.is_none() => {
                    self.receives = connection.streams().accept(dir);
                }
                Event::ConnectionLost { reason } => self.failure = Some(reason.to_string()),
                _ => {}
            }
        }
    }
}

impl Peer for Quic {
    fn receive(&mut self, now: Time, data: &mut [u8]) {
        let mut answer = Vec::new();
        let now = self.at(now);
        match self.endpoint.handle(now, self.peer, None, None, BytesMut::from(&*data), &mut answer) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                if let Ok(made) = self.endpoint.accept(incoming, now, &mut Vec::new(), None) {
                    self.connection = Some(made);
                }
            }
            Some(DatagramEvent::Response(transmit)) => self.out.push_back(answer[..transmit.size].to_vec()),
            None => {}
        }
        self.drive();
    }

    fn transmit(&mut self, now: Time, out: &mut VecDeque<Vec<u8>>) {
        out.append(&mut self.out);
        let now = self.at(now);
        let mut buffer = Vec::with_capacity(16 * 1500);
        while let Some((_, connection)) = &mut self.connection {
            buffer.clear();
            let Some(transmit) = connection.poll_transmit(now, 10, &mut buffer) else { break };
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            out.extend(buffer[..transmit.size].chunks(segment).map(<[u8]>::to_vec));
            self.drive();
        }
    }

    fn due(&mut self, _: Time) -> Option<Time> {
        let due = self.connection.as_mut()?.1.poll_timeout()?;
        Some(Time::after_start(due.saturating_duration_since(self.origin)))
    }

    fn expire(&mut self, now: Time) {
        let now = self.at(now);
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.drive();
    }

    fn is_ready(&self) -> bool {
        self.connected
    }

    fn write(&mut self, _: Time, data: &[u8]) -> usize {
        let Some((_, connection)) = &mut self.connection else { return 0 };
        if self.sends.is_none() {
            self.sends = connection.streams().open(Dir::Uni);
        }
        self.sends.map_or(0, |stream| connection.send_stream(stream).write(data).unwrap_or(0))
    }

    fn finish(&mut self, _: Time) {
        if let (Some((_, connection)), Some(stream)) = (&mut self.connection, self.sends) {
            // refused only by a stream that the peer has stopped, which it does not
            let _ = connection.send_stream(stream).finish();
        }
    }

    fn read(&mut self, _: Time, buf: &mut [u8]) -> usize {
        if self.left.is_empty() {
            let (Some((_, connection)), Some(stream)) = (&mut self.connection, self.receives) else { return 0 };
            let mut stream = connection.recv_stream(stream);
            let Ok(mut chunks) = stream.read(true) else { return 0 };
            let next = chunks.next(buf.len());
            let _ = chunks.finalize();
            let Ok(Some(chunk)) = next else { return 0 };
            self.left = chunk.bytes;
        }
        let taken = self.left.split_to(self.left.len().min(buf.len()));
        buf[..taken.len()].copy_from_slice(&taken);
        taken.len()
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.clone()
    }
}
