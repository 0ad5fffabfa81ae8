//! What cannot be saved: one copy at each end, the cipher and the header mask.

use super::{Cost, Report};
use std::time::{Duration, Instant};
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::keys::{Aead, ConnectionKeys, Secret};
use versile_io::proto::vut::native::packet::{ConnectionId, HEADER, OVERHEAD, Opener, Sealer};
use versile_io::proto::vut::native::role::{Role, Secrets};

const ID: ConnectionId = ConnectionId([1; 8]);
const BATCH: usize = 65_507;

pub fn measure(size: u16, octets: u64) -> Report {
    let secrets = Secrets::new(&[1; 16], &[2; 16]).expect("fit");
    let keys = ConnectionKeys::derive(&secrets, b"own", b"peer", &Secret::new([3; 32]), Aead::Aes128Gcm);
    let (mut sealer, mut opener) = (Sealer::new(&keys, Role::Lo), Opener::new(&keys, Role::Lo, ID));
    let size = usize::from(size);
    let (from, mut to, mut batch) = (vec![7; BATCH], vec![0; BATCH], vec![0; BATCH / size * size]);
    let mut report = Report { size, ..Report::default() };
    let mut costs = [Cost::default(); 4];
    while report.octets < octets {
        let start = Instant::now();
        for (datagram, data) in batch.chunks_mut(size).zip(from.chunks(size - OVERHEAD)) {
            datagram[HEADER..HEADER + data.len()].copy_from_slice(data);
            // key updates need acknowledgements
            sealer.on_acknowledged(sealer.next_number().saturating_sub(1));
            sealer.seal(ID, datagram).expect("sealed");
        }
        let middle = Instant::now();
        for (datagram, data) in batch.chunks_mut(size).zip(to.chunks_mut(size - OVERHEAD)) {
            let opened = opener.open(datagram, Time::ZERO, Duration::from_millis(1)).expect("opened");
            data.copy_from_slice(&datagram[opened.frames][..data.len()]);
            report.octets += data.len() as u64;
            report.datagrams[0] += 1;
        }
        costs[0].time += middle - start;
        costs[1].time += middle.elapsed();
    }
    report.costs = costs;
    report
}
