//! Looking up a host: every address of it, not one, so that a caller can try the next when the first is dead.
//!
//! The order is a [`Preference`]. At most [`MAX_LOOKUPS`] look-ups run in the process at a time; a further one waits. A
//! look-up that nobody waits for any longer keeps its place until the resolver returns, because it keeps its thread too.

use crate::component::Peer;
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Which addresses of a host are used, and in which order. Within a family the resolver's order is kept.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// All, as the resolver gives them.
    #[default]
    Any,
    /// All, IPv4 before IPv6.
    Ipv4First,
    /// All, IPv6 before IPv4.
    Ipv6First,
    /// IPv4 and no other.
    Ipv4Only,
    /// IPv6 and no other.
    Ipv6Only,
}

impl Preference {
    /// The order of Versile's own reactor, for who comes from there: IPv4 always goes before IPv6, and of IPv4 the
    /// resolver's first. It is the same as [`Preference::Ipv4First`]. Versile takes one address by this order and stops
    /// there; [`resolve_all`] gives the rest too.
    pub const SEED: Self = Self::Ipv4First;

    /// False for an address of a family that is not used.
    pub(super) fn lets(self, addr: SocketAddr) -> bool {
        match self {
            Self::Ipv4Only => addr.is_ipv4(),
            Self::Ipv6Only => addr.is_ipv6(),
            _ => true,
        }
    }

    /// Drops repeated addresses and those of an unwanted family, and puts the rest in order.
    fn arrange(self, found: impl IntoIterator<Item = SocketAddr>) -> Arranged {
        let mut seen = HashSet::new();
        let (mut wanted, mut later, mut excluded) = (Vec::new(), Vec::new(), 0);
        for addr in found.into_iter().filter(|addr| seen.insert(*addr)) {
            match (self, addr) {
                (Self::Any, _)
                | (Self::Ipv4First | Self::Ipv4Only, SocketAddr::V4(_))
                | (Self::Ipv6First | Self::Ipv6Only, SocketAddr::V6(_)) => wanted.push(addr),
                (Self::Ipv4First | Self::Ipv6First, _) => later.push(addr),
                (Self::Ipv4Only | Self::Ipv6Only, _) => excluded += 1,
            }
        }
        wanted.append(&mut later);
        Arranged { addrs: wanted, excluded }
    }
}

/// Why a look-up gave no address.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The resolver failed. A name that does not exist and a resolver that cannot be reached both come here; the text of
    /// the source says which. Trying again later can help.
    #[error("cannot look up host {host:?} (port {port})")]
    Lookup {
        /// The host that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// What the resolver said.
        source: io::Error,
    },
    /// The resolver answered, and no address was left. Trying again with another [`Preference`] can help if `excluded` is
    /// not 0.
    #[error("host {host:?} (port {port}) has no address to use ({excluded} left out as not {preference:?})")]
    NoAddress {
        /// The host that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// The preference that was in force.
        preference: Preference,
        /// How many addresses the preference left out.
        excluded: usize,
    },
}

impl ResolveError {
    /// The host that was asked for.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Lookup { host, .. } | Self::NoAddress { host, .. } => host,
        }
    }
}

/// How many look-ups run at a time in the process. Each holds one thread of tokio's blocking pool (512 by default) until
/// the resolver returns, which takes half a minute when name servers are dead: 16 leaves the pool to files.
pub const MAX_LOOKUPS: usize = 16;

/// All addresses of a host, each as a TCP peer that keeps what was asked for.
///
/// The result is never empty and holds no address twice. See [`resolve_addrs`] for what `host` can be, for errors and
/// for cancelling.
///
/// # Errors
///
/// As [`resolve_addrs`].
pub async fn resolve_all(host: &str, port: u16, preference: Preference) -> Result<Vec<Peer>, ResolveError> {
    let addrs = resolve_addrs(host, port, preference).await?;
    Ok(addrs.into_iter().map(|addr| Peer::tcp(addr).with_requested(host, port)).collect())
}

/// All addresses of a host, in order; what [`resolve_all`] is built on, for agents that are not TCP.
///
/// `host` is a name or a numeric address; an IPv6 address may stand in brackets. A numeric address needs no resolver and
/// does not wait. Must be called in a tokio runtime. There is no time-out: put one around it.
///
/// Cancel safety: dropping the future gives up the answer. A resolver call that has begun goes on and keeps its place
/// among the [`MAX_LOOKUPS`] until it returns.
///
/// # Errors
///
/// [`ResolveError::Lookup`] if the resolver fails, [`ResolveError::NoAddress`] if it gives nothing that `preference`
/// lets through.
pub async fn resolve_addrs(host: &str, port: u16, preference: Preference) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = match numeric(host, port) {
        Some(addr) => vec![addr],
        None => ask_resolver(&LOOKUPS, bare(host).to_owned(), port, system_resolver)
            .await
            .map_err(|source| ResolveError::Lookup { host: host.to_owned(), port, source })?,
    };
    let Arranged { addrs, excluded } = preference.arrange(found);
    if addrs.is_empty() {
        return Err(ResolveError::NoAddress { host: host.to_owned(), port, preference, excluded });
    }
    Ok(addrs)
}

/// The address that is written as one, for which nobody has to be asked.
pub(super) fn numeric(host: &str, port: u16) -> Option<SocketAddr> {
    bare(host).parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port))
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// What [`Preference::arrange`] leaves.
#[derive(Debug, PartialEq, Eq)]
struct Arranged {
    addrs: Vec<SocketAddr>,
    excluded: usize,
}

/// The places for look-ups. A place goes with the thread that does the look-up, not with the future that waits for it:
/// `tokio::net::lookup_host` under a semaphore would give the place up on cancel while the thread still runs.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS)));

/// Runs `resolver` on the blocking pool when a place is free.
async fn ask_resolver<F>(places: &Arc<Semaphore>, host: String, port: u16, resolver: F) -> io::Result<Vec<SocketAddr>>
where
    F: FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
{
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let lookup = move || {
        let _place = place;
        resolver(&host, port)
    };
    tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
}

fn system_resolver(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn arranged(preference: Preference) -> Arranged {
        preference.arrange(addrs(&["[::1]:9", "10.0.0.1:9", "[::2]:9", "10.0.0.1:9", "10.0.0.2:9", "[::1]:9"]))
    }

    #[test]
    fn any_keeps_the_order_and_drops_repeats() {
        let all = addrs(&["[::1]:9", "10.0.0.1:9", "[::2]:9", "10.0.0.2:9"]);
        assert_eq!(arranged(Preference::Any), Arranged { addrs: all, excluded: 0 });
    }

    #[test]
    fn first_puts_a_family_ahead_and_keeps_the_order_within() {
        let v4 = addrs(&["10.0.0.1:9", "10.0.0.2:9", "[::1]:9", "[::2]:9"]);
        assert_eq!(arranged(Preference::Ipv4First).addrs, v4);
        assert_eq!(arranged(Preference::SEED).addrs, v4);
        let v6 = addrs(&["[::1]:9", "[::2]:9", "10.0.0.1:9", "10.0.0.2:9"]);
        assert_eq!(arranged(Preference::Ipv6First).addrs, v6);
    }

    #[test]
    fn only_counts_what_it_leaves_out() {
        let v4 = addrs(&["10.0.0.1:9", "10.0.0.2:9"]);
        assert_eq!(arranged(Preference::Ipv4Only), Arranged { addrs: v4, excluded: 2 });
        let v6 = addrs(&["[::1]:9", "[::2]:9"]);
        assert_eq!(arranged(Preference::Ipv6Only), Arranged { addrs: v6, excluded: 2 });
    }

    #[tokio::test]
    async fn a_cancelled_lookup_keeps_its_place_until_the_resolver_returns() {
        let places = Arc::new(Semaphore::new(1));
        let (entered, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let gates = (Arc::clone(&entered), Arc::clone(&release));
        let slow = move |_: &str, _: u16| {
            gates.0.wait();
            gates.1.wait();
            Ok(Vec::new())
        };
        let inner = Arc::clone(&places);
        let waiting = tokio::spawn(async move { ask_resolver(&inner, "slow".into(), 1, slow).await });
        tokio::task::spawn_blocking(move || entered.wait()).await.expect("entered");
        waiting.abort();
        assert!(waiting.await.expect_err("aborted").is_cancelled());
        assert_eq!(places.available_permits(), 0);
        tokio::task::spawn_blocking(move || release.wait()).await.expect("released");
        let freed = tokio::time::timeout(std::time::Duration::from_secs(10), places.acquire()).await;
        assert!(freed.expect("the place is free in time").is_ok());
    }

    #[tokio::test]
    async fn lookups_wait_for_a_place() {
        let places = Arc::new(Semaphore::new(2));
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let lookups: Vec<_> = (0..20)
            .map(|_| {
                let (places, running, peak) = (Arc::clone(&places), Arc::clone(&running), Arc::clone(&peak));
                tokio::spawn(async move {
                    let resolver = move |_: &str, _: u16| {
                        peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(Vec::new())
                    };
                    ask_resolver(&places, "many".into(), 1, resolver).await
                })
            })
            .collect();
        for lookup in lookups {
            lookup.await.expect("no panic").expect("no error");
        }
        assert!((1..=2).contains(&peak.load(Ordering::SeqCst)));
    }
}
