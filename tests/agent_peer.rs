//! What a peer says of itself, how it prints, and that a look-up gives every address once, in order, or a named error.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use versile_io::agent::resolve::{Preference, ResolveError, resolve_all};
use versile_io::component::peer::{IpVersion, Peer, UnixName};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn unix(path: &str) -> Peer {
    UnixName::Path(PathBuf::from(path)).into()
}

#[test]
fn prints_as_people_write_it() {
    let process = Peer::Process { program: "cat".into(), pid: 123 };
    let cases = [
        (Peer::tcp(addr("10.0.0.2:80")), "tcp 10.0.0.2:80"),
        (Peer::tcp(addr("[::1]:80")), "tcp [::1]:80"),
        (Peer::Udp(addr("10.0.0.2:53")), "udp 10.0.0.2:53"),
        (Peer::Vut(addr("10.0.0.2:4000")), "vut 10.0.0.2:4000"),
        (unix("/run/x.sock"), "unix /run/x.sock"),
        (unix("@odd"), "unix ./@odd"),
        (UnixName::Abstract(b"name".to_vec()).into(), "unix @name"),
        (UnixName::Abstract(b"\0\xff".to_vec()).into(), "unix @\\x00\\xff"),
        (UnixName::Unnamed.into(), "unix unnamed"),
        (Peer::Pipe, "pipe"),
        (Peer::File("/x".into()), "file /x"),
        (Peer::File("/a\nb".into()), "file /a\\nb"),
        (process, "process cat[123]"),
        (Peer::Fd(3), "fd 3"),
    ];
    for (peer, text) in cases {
        assert_eq!(peer.to_string(), text);
    }
}

#[test]
fn the_alternate_form_names_what_was_asked_for() {
    let peer = Peer::tcp(addr("10.0.0.2:80")).with_requested("web.example", 80);
    assert_eq!(format!("{peer:#}"), "tcp web.example:80 (10.0.0.2:80)");
    assert_eq!(peer.to_string(), "tcp 10.0.0.2:80");
    assert_eq!(peer.requested(), Some(("web.example", 80)));
    assert_eq!(Peer::Pipe.with_requested("web.example", 80), Peer::Pipe);
}

#[test]
fn only_what_is_certainly_here_is_local() {
    let local = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
    assert!(local.iter().all(|text| Peer::tcp(addr(text)).is_local()));
    let elsewhere = ["10.0.0.2:1", "0.0.0.0:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"];
    assert!(!elsewhere.iter().any(|text| Peer::tcp(addr(text)).is_local()));
    assert!(unix("/x").is_local() && Peer::Pipe.is_local());
    assert!(!Peer::Fd(3).is_local() && !Peer::File("/x".into()).is_local());
}

#[test]
fn says_version_host_and_whether_it_is_bound() {
    let v4 = Peer::from(addr("10.0.0.2:0"));
    assert_eq!((v4.ip_version(), v4.is_bound()), (Some(IpVersion::V4), false));
    assert_eq!(v4.host().as_deref(), Some("10.0.0.2"));
    let v6 = Peer::Udp(addr("[fe80::1%7]:5"));
    assert_eq!((v6.ip_version(), v6.is_bound()), (Some(IpVersion::V6), true));
    assert_eq!(v6.host().as_deref(), Some("fe80::1%7"));
    assert_eq!(unix("/x").host().as_deref(), Some("/x"));
    assert!(unix("/x").is_bound() && !Peer::from(UnixName::Unnamed).is_bound());
    assert_eq!(Peer::Pipe.ip_version(), None);
    assert_eq!(Peer::Pipe.host(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn takes_the_names_of_real_unix_sockets() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let bound: Peer = listener.local_addr().expect("an address").into();
    assert_eq!(bound, Peer::Unix(UnixName::Path(path)));

    let (one, _other) = UnixStream::pair().expect("a pair");
    assert_eq!(Peer::from(one.peer_addr().expect("an address")), Peer::Unix(UnixName::Unnamed));

    let name = SocketAddr::from_abstract_name(b"a\0b").expect("a name");
    assert_eq!(Peer::from(name), Peer::Unix(UnixName::Abstract(b"a\0b".to_vec())));
}

#[tokio::test]
async fn a_numeric_host_is_one_peer_that_keeps_what_was_asked() {
    let found = resolve_all("[::1]", 80, Preference::Any).await.expect("found");
    assert_eq!(found, [Peer::tcp(addr("[::1]:80")).with_requested("[::1]", 80)]);
}

#[tokio::test]
async fn localhost_is_found_and_each_address_once() {
    let found = resolve_all("localhost", 7, Preference::SEED).await.expect("found");
    assert!(found.iter().all(|peer| peer.is_local() && peer.requested() == Some(("localhost", 7))));
    let unique: std::collections::HashSet<_> = found.iter().collect();
    assert_eq!(unique.len(), found.len());
}

#[tokio::test]
async fn an_address_that_is_left_out_is_an_error_of_its_own() {
    let error = resolve_all("10.0.0.2", 80, Preference::Ipv6Only).await.expect_err("left out");
    assert!(matches!(error, ResolveError::NoAddress { excluded: 1, preference: Preference::Ipv6Only, .. }));
    assert_eq!(error.host(), "10.0.0.2");
}

#[tokio::test]
async fn a_failed_lookup_names_the_host_and_keeps_the_source() {
    // A zero byte in a name is refused before any server is asked.
    let error = resolve_all("no\0such", 80, Preference::Any).await.expect_err("no such host");
    assert!(matches!(error, ResolveError::Lookup { .. }));
    assert!(error.to_string().contains(r"no\0such"), "{error}");
    assert!(error.source().is_some());
}
