//! Unix stream sockets: by path or abstract name, and pairs.
//!
//! A Unix socket has no reset: its other side sees an ordinary end where a TCP peer would see that data is missing.

use super::io::UnixIo;
use super::stream::{Opened, Stream, StreamSettings, may_connect};
use super::tcp::CONNECT_TIMEOUT;
use crate::component::Peer;
use crate::component::peer::UnixName;
use crate::component::port::Asker;
use crate::proto::link::Reason;
use bytes::Bytes;
use futures_util::FutureExt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// Options of a Unix connection.
#[derive(Clone, Debug)]
pub struct UnixOptions {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What all streams have in common.
    pub stream: StreamSettings,
}

impl Default for UnixOptions {
    fn default() -> Self {
        Self { connect_timeout: CONNECT_TIMEOUT, stream: StreamSettings::default() }
    }
}

/// A connection to be made to a Unix socket when something is wanted of it, after asking the consumer whether it may.
pub fn connect(name: UnixName, options: UnixOptions) -> Stream {
    let peer = Peer::Unix(name.clone());
    let settings = options.stream;
    let label = peer.to_string();
    let opener = move |chain: Asker<Bytes>, _| {
        async move {
            may_connect(&chain, &peer).await?;
            let action = format!("connect {peer}");
            let limit = options.connect_timeout;
            match tokio::time::timeout(limit, connect_to(&name)).await {
                Ok(Ok(stream)) => Ok(opened(stream, peer)),
                Ok(Err(error)) => Err(Reason::io(action, error)),
                Err(_) => Err(Reason::TimedOut { waiting_for: action.into(), after: limit }),
            }
        }
        .boxed_local()
    };
    Stream::to_open(label, settings, Box::new(opener)).for_a_socket()
}

async fn connect_to(name: &UnixName) -> io::Result<UnixStream> {
    match name {
        UnixName::Path(path) => UnixStream::connect(path).await,
        // tokio takes an abstract name as a path with a leading zero byte
        UnixName::Abstract(bytes) => {
            let mut raw = vec![0];
            raw.extend_from_slice(bytes);
            UnixStream::connect(std::ffi::OsStr::from_bytes(&raw)).await
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "an unnamed socket cannot be connected to")),
    }
}

/// A connection that somebody else made or accepted.
pub fn from_stream(stream: UnixStream, options: &UnixOptions) -> Stream {
    let peer = stream.peer_addr().map_or(Peer::Unix(UnixName::Unnamed), |addr| Peer::Unix(addr.into()));
    from_peer(stream, peer, options)
}

/// The same, where it is known who is at the other side.
pub(crate) fn from_peer(stream: UnixStream, peer: Peer, options: &UnixOptions) -> Stream {
    let name: Arc<str> = peer.to_string().into();
    Stream::opened(opened(stream, peer), options.stream).named(name)
}

fn opened(stream: UnixStream, peer: Peer) -> Opened {
    Opened { io: Box::new(UnixIo::from(stream)), peer }
}

/// Two connected Unix streams: the seed's `create_native_pair`.
///
/// # Errors
///
/// The operating system's.
pub fn pair(options: &UnixOptions) -> io::Result<(Stream, Stream)> {
    let (a, b) = UnixStream::pair()?;
    Ok((from_stream(a, options), from_stream(b, options)))
}
