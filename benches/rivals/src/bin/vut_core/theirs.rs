//! Two endpoints of quinn-proto, driven as quinn drives them: datagrams that arrive are copied into one owned buffer a batch.

use super::Pair;
use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    MtuDiscoveryConfig, ServerConfig, StreamId, TransportConfig, VarInt,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WINDOW: u32 = 8 << 20;
const CHUNK: usize = 65_536;
const BATCH: usize = 65_507;
/// As near as this it comes to the size.
const STEP: u16 = 20;

struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    peer: SocketAddr,
}

pub struct Ends {
    ends: [End; 2],
    now: Instant,
    chunk: Bytes,
    stream: Option<StreamId>,
    reading: Option<StreamId>,
    buffer: Vec<u8>,
    /// Octets of each transmit and of its datagrams.
    batches: Vec<(usize, usize)>,
    read: u64,
    sent: [u64; 2],
    size: u16,
}

fn transport(size: u16) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    // a server may not send datagrams of more than three times what the client's first has: larger ones are found by probes
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(size).minimum_change(STEP);
    transport.initial_mtu(size.min(1452)).mtu_discovery_config((size > 1452).then_some(search));
    transport.stream_receive_window(VarInt::from_u32(WINDOW)).receive_window(VarInt::from_u32(WINDOW));
    transport.send_window(u64::from(WINDOW)).max_concurrent_uni_streams(VarInt::from_u32(1));
    Arc::new(transport)
}

fn configs(size: u16) -> (ClientConfig, ServerConfig) {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("AES-128-GCM")));
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).expect("AES-128-GCM")));
    client.transport_config(transport(size));
    server.transport_config(transport(size));
    (client, server)
}

impl Ends {
    pub fn new(size: u16) -> Self {
        let (client, server) = configs(size);
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(65_527).expect("a size");
        let config = Arc::new(config);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut a = Endpoint::new(config.clone(), None, true, None);
        let b = Endpoint::new(config, Some(Arc::new(server)), true, None);
        let now = Instant::now();
        let connection = a.connect(now, client, address(2), "localhost").expect("a connection");
        let mut this = Self {
            ends: [
                End { endpoint: a, connection: Some(connection), peer: address(2) },
                End { endpoint: b, connection: None, peer: address(1) },
            ],
            now,
            chunk: Bytes::from(vec![7; CHUNK]),
            stream: None,
            reading: None,
            buffer: Vec::with_capacity(4 * BATCH),
            batches: Vec::new(),
            read: 0,
            sent: [0; 2],
            size,
        };
        for _ in 0..10_000 {
            this.send();
            this.receive();
            this.answer();
            this.heed();
            this.tick();
            let Some((_, connection)) = &mut this.ends[0].connection else { continue };
            let size = connection.stats().path.current_mtu;
            // probes leave only while there is nothing else
            if size + STEP > this.size {
                this.stream = connection.streams().open(Dir::Uni);
            }
            if this.stream.is_some() {
                this.size = size;
                return this;
            }
        }
        panic!("not connected, or no datagrams of {size} octets");
    }

    fn transmit(&mut self, end: usize, batches: usize) {
        self.buffer.clear();
        self.batches.clear();
        let Some((_, connection)) = &mut self.ends[end].connection else { return };
        let segments = (BATCH / usize::from(self.size)).clamp(1, 64);
        for _ in 0..batches {
            let before = self.buffer.len();
            // it wants an empty buffer
            let mut rest = self.buffer.split_off(before);
            rest.reserve(BATCH);
            let Some(transmit) = connection.poll_transmit(self.now, segments, &mut rest) else { break };
            if before == 0 {
                self.buffer = rest;
            } else {
                self.buffer.extend_from_slice(&rest[..transmit.size]);
            }
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            self.sent[end] += transmit.size.div_ceil(segment) as u64;
            self.batches.push((transmit.size, segment));
        }
    }

    fn handle(&mut self, end: usize) {
        let End { endpoint, connection, peer } = &mut self.ends[end];
        let mut at = 0;
        let mut response = Vec::new();
        for &(octets, segment) in &self.batches {
            let mut data = BytesMut::from(&self.buffer[at..at + octets]);
            at += octets;
            while !data.is_empty() {
                let datagram = data.split_to(segment.min(data.len()));
                match endpoint.handle(self.now, *peer, None, None, datagram, &mut response) {
                    Some(DatagramEvent::ConnectionEvent(_, event)) => {
                        connection.as_mut().expect("a connection").1.handle_event(event);
                    }
                    Some(DatagramEvent::NewConnection(incoming)) => {
                        let accepted = endpoint.accept(incoming, self.now, &mut response, None);
                        *connection = Some(accepted.map_err(|error| error.cause).expect("accepted"));
                    }
                    Some(DatagramEvent::Response(_)) | None => {}
                }
            }
        }
        let Some((handle, connection)) = connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            assert!(!matches!(event, Event::ConnectionLost { .. }), "{event:?}");
        }
    }
}

impl Pair for Ends {
    fn send(&mut self) -> bool {
        if let (Some(stream), Some((_, connection))) = (self.stream, &mut self.ends[0].connection) {
            let mut stream = connection.send_stream(stream);
            while stream.write_chunks(&mut [self.chunk.clone()]).is_ok_and(|written| written.bytes > 0) {}
        }
        self.transmit(0, 1);
        !self.batches.is_empty()
    }

    fn receive(&mut self) {
        self.handle(1);
        let Some((_, connection)) = &mut self.ends[1].connection else { return };
        if self.reading.is_none() {
            self.reading = connection.streams().accept(Dir::Uni);
        }
        let Some(reading) = self.reading else { return };
        let mut stream = connection.recv_stream(reading);
        let mut chunks = stream.read(true).expect("a stream");
        while let Ok(Some(chunk)) = chunks.next(CHUNK) {
            self.read += chunk.bytes.len() as u64;
        }
        let _ = chunks.finalize();
    }

    fn answer(&mut self) {
        self.transmit(1, usize::MAX);
    }

    fn heed(&mut self) {
        self.handle(0);
    }

    fn tick(&mut self) {
        self.now += Duration::from_micros(20);
        for end in &mut self.ends {
            let Some((_, connection)) = &mut end.connection else { continue };
            if connection.poll_timeout().is_some_and(|at| at <= self.now) {
                connection.handle_timeout(self.now);
            }
        }
    }

    fn done(&self) -> (u64, [u64; 2], usize) {
        (self.read, self.sent, self.size.into())
    }
}
