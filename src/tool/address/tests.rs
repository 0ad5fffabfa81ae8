//! Addresses as tables, good and bad, and what must hold of any.

use super::grammar::{COMMON, KINDS, Key, Kind};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn parse(text: &str) -> Spec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<Spec>().expect_err(text).to_string()
}

fn plain(target: Target) -> Spec {
    Spec { target, options: Options::default() }
}

#[test]
fn targets_are_read() {
    let tcp = |host: &str, port| Target::Tcp { host: host.to_owned(), port, options: TcpOptions::default() };
    let listen = |host: Option<&str>, port| Target::TcpListen {
        host: host.map(str::to_owned),
        port,
        options: TcpListenOptions::default(),
    };
    let unix = |name| Target::Unix { name, options: UnixOptions::default() };
    let unix_listen = |name| Target::UnixListen { name, options: UnixListenOptions::default() };
    let file = |path: &str| Target::File { path: path.into(), options: FileOptions::default() };
    let exec = |command: &str| Target::Exec { command: command.to_owned(), options: ExecOptions::default() };
    let path = |path: &str| UnixName::Path(path.into());
    let name = |name: &str| UnixName::Abstract(name.to_owned());
    for (text, target) in [
        ("tcp:example.org:80", tcp("example.org", 80)),
        ("tcp:127.0.0.1:65535", tcp("127.0.0.1", 65_535)),
        ("tcp:[::1]:443", tcp("::1", 443)),
        ("tcp:[fe80::1%eth0]:443", tcp("fe80::1%eth0", 443)),
        ("tcp-listen:127.0.0.1:8080", listen(Some("127.0.0.1"), 8080)),
        ("tcp-listen::8080", listen(None, 8080)),
        ("tcp-listen::0", listen(None, 0)),
        ("tcp-listen:[::]:8080", listen(Some("::"), 8080)),
        ("unix:/run/a.sock", unix(path("/run/a.sock"))),
        ("unix:@bus", unix(name("bus"))),
        ("unix:a:b", unix(path("a:b"))),
        ("unix-listen:./@a", unix_listen(path("./@a"))),
        ("stdio", Target::Stdio),
        ("-", Target::Stdio),
        ("file:a b", file("a b")),
        (r"file:a\,b", file("a,b")),
        (r"file:C\a", file(r"C\a")),
        ("fifo:/tmp/p", Target::Fifo { path: "/tmp/p".into(), options: FifoOptions::default() }),
        ("exec:tr a-z A-Z", exec("tr a-z A-Z")),
        (r"exec:printf 'a\n:%s\,' x", exec(r"printf 'a\n:%s,' x")),
        ("fd:3", Target::Fd { number: 3 }),
    ] {
        assert_eq!(parse(text), plain(target), "{text}");
    }
}

#[test]
fn options_are_read_as_types() {
    let Spec { target: Target::Tcp { options, .. }, options: common } = parse(
        "tcp:a:1,window=1MiB,nodelay,keepalive=30s,timeout=500ms,prefer=ipv6,bind=10.0.0.1,half-close=in,sndbuf=4KiB,rcvbuf=8KiB",
    ) else {
        panic!("not tcp");
    };
    assert_eq!(common.window, Some(1 << 20));
    assert_eq!(
        options,
        TcpOptions {
            nodelay: true,
            keepalive: Some(Duration::from_secs(30)),
            timeout: Some(Duration::from_millis(500)),
            prefer: Prefer::Ipv6,
            bind: Some("10.0.0.1:0".parse().expect("an address")),
            half_close: HalfClose::In,
            buffers: Buffers { send: Some(4_096), receive: Some(8_192) },
        }
    );
    let Target::UnixListen { options, .. } = parse("unix-listen:s,backlog=5,max=2,mode=0600,unlink").target else {
        panic!("not unix-listen");
    };
    assert_eq!(options.queue, Queue { backlog: Some(5), max: Some(2) });
    assert_eq!((options.mode, options.unlink), (Some(0o600), true));
    let Target::File { options, .. } = parse("file:f,append,nocreate,offset=1KiB").target else { panic!("not file") };
    assert_eq!((options.append, options.create, options.offset), (true, Create::Never, Some(1_024)));
}

/// Each mistake, and how the message for it begins.
#[test]
fn mistakes_are_told_in_one_line() {
    for (text, message) in [
        ("", "the address is empty, accepted: tcp:HOST:PORT, tcp-listen:[HOST]:PORT, unix:PATH"),
        (
            "tpc:a:1",
            r#"unknown kind of address "tpc", did you mean "tcp"?; accepted: tcp, tcp-listen, unix, unix-listen, stdio, file, "#,
        ),
        ("tcp-lisen::1", r#"unknown kind of address "tcp-lisen", did you mean "tcp-listen"?; accepted: tcp, "#),
        ("/tmp/x", r#"unknown kind of address "/tmp/x", did you mean "file:/tmp/x"?; accepted: "#),
        ("example.org:80", r#"unknown kind of address "example.org", did you mean "tcp:example.org:80"?; "#),
        ("a\nb", r#"unknown kind of address "a\nb"; accepted: "#),
        ("tcp", "tcp: the host is missing, accepted: tcp:HOST:PORT"),
        ("tcp:", "tcp: the host is missing, accepted: tcp:HOST:PORT"),
        ("tcp:a", "tcp: the port is missing, accepted: tcp:HOST:PORT"),
        ("tcp:a:", "tcp: the port is missing, accepted: tcp:HOST:PORT"),
        ("tcp:[::1]", "tcp: the port is missing, accepted: tcp:HOST:PORT"),
        ("tcp::80", "tcp: the host is missing, accepted: tcp:HOST:PORT"),
        ("tcp:a:0", r#"tcp: the port "0" is out of range, accepted: a number from 1 to 65535"#),
        ("tcp:a:65536", r#"tcp: the port "65536" is out of range, accepted: a number from 1 to 65535"#),
        ("tcp:a:+80", r#"tcp: the port "+80" is out of range"#),
        ("tcp:a:http", r#"tcp: the port "http" is out of range"#),
        ("tcp-listen::70000", r#"tcp-listen: the port "70000" is out of range, accepted: a number from 0 to 65535"#),
        ("tcp:::1:80", r#"tcp: "::1:80" is not a host"#),
        ("tcp:::1", r#"tcp: "::1" is not a host"#),
        ("tcp:[::1:80", r#"tcp: "[::1:80" is not a host, accepted: a name, an IPv4 address, or an IPv6 address in br"#),
        ("tcp:[a.b]:80", r#"tcp: "[a.b]:80" is not a host"#),
        ("tcp:[::1]80", r#"tcp: "[::1]80" is not a host"#),
        ("tcp:a b:80", r#"tcp: "a b:80" is not a host"#),
        ("unix:", "unix: the path is missing, accepted: unix:PATH"),
        ("unix:@", "unix: the abstract name is missing, accepted: unix:PATH"),
        ("unix:a\0b", "unix: the path holds a zero byte"),
        ("stdio:x", r#"stdio: "x" is too much, accepted: stdio"#),
        ("file:", "file: the path is missing, accepted: file:PATH"),
        ("file:,append", "file: the path is missing, accepted: file:PATH"),
        ("fifo", "fifo: the path is missing, accepted: fifo:PATH"),
        ("exec:", "exec: the command is missing, accepted: exec:COMMAND"),
        ("fd:", "fd: the number is missing, accepted: fd:NUMBER"),
        ("fd:-1", r#"fd: "-1" is not a descriptor, accepted: a number from 0 to 2147483647"#),
        ("fd:9999999999", r#"fd: "9999999999" is not a descriptor"#),
        (
            "tcp:a:1,nodely",
            r#"tcp: unknown option "nodely", did you mean "nodelay"?; accepted: window=SIZE, nodelay, "#,
        ),
        ("file:f,backlog=1", r#"file: unknown option "backlog"; accepted: window=SIZE, append, nocreate, excl, mode="#),
        ("fd:3,nodelay", r#"fd: unknown option "nodelay"; accepted: window=SIZE"#),
        ("-,x", r#"stdio: unknown option "x"; accepted: window=SIZE"#),
        ("tcp:a:1,", r#"tcp: unknown option ""; accepted: "#),
        ("tcp:a:1,nodelay,nodelay", r#"tcp: option "nodelay" is given twice, accepted: once"#),
        ("tcp:a:1,window=1,window=1", r#"tcp: option "window" is given twice, accepted: once"#),
        ("tcp:a:1,nodelay=yes", r#"tcp: option "nodelay" takes no value but has "yes", accepted: nodelay"#),
        ("tcp:a:1,timeout", r#"tcp: option "timeout" has no value, accepted: timeout=DURATION"#),
        ("tcp:a:1,prefer=", r#"tcp: option "prefer" has no value, accepted: prefer=ipv4|ipv6|any"#),
        ("tcp:a:1,window=0", r#"tcp: option "window" has the bad value "0", accepted: bytes, or a whole number with "#),
        ("tcp:a:1,window=lots", r#"tcp: option "window" has the bad value "lots", accepted: bytes, or"#),
        ("tcp:a:1,sndbuf=2GiB", r#"tcp: option "sndbuf" has the bad value "2GiB", accepted: bytes, or"#),
        (
            "tcp:a:1,timeout=10",
            r#"tcp: option "timeout" has the bad value "10", accepted: a whole number with ms, s, m or h"#,
        ),
        ("tcp:a:1,timeout=0s", r#"tcp: option "timeout" has the bad value "0s""#),
        (
            "tcp:a:1,keepalive=500ms",
            r#"tcp: option "keepalive" has the bad value "500ms", accepted: whole seconds from 1s"#,
        ),
        ("tcp:a:1,prefer=v4", r#"tcp: option "prefer" has the bad value "v4", accepted: ipv4, ipv6, any"#),
        (
            "tcp:a:1,bind=here",
            r#"tcp: option "bind" has the bad value "here", accepted: an IP address, IP:PORT or [IPV6]"#,
        ),
        (
            "tcp-listen::1,max=0",
            r#"tcp-listen: option "max" has the bad value "0", accepted: a number from 1 to 2147483647"#,
        ),
        (
            "tcp-listen::1,half-close=yes",
            r#"tcp-listen: option "half-close" has the bad value "yes", accepted: both, none, i"#,
        ),
        (
            "unix-listen:s,mode=0888",
            r#"unix-listen: option "mode" has the bad value "0888", accepted: an octal number from"#,
        ),
        (
            "unix-listen:@s,unlink",
            "unix-listen: unlink and an abstract name contradict one another, accepted: one of them",
        ),
        ("file:f,nocreate,excl", "file: nocreate and excl contradict one another, accepted: one of them"),
        ("file:f,offset=-1", r#"file: option "offset" has the bad value "-1""#),
        ("vut:a:1", r#"vut: option "bind" is missing, accepted: bind=ADDR"#),
        (
            "vut:a:1,bind=10.0.0.1,secret-file=a,peer-secret-file=b",
            r#"vut: option "bind" has the bad value "10.0.0.1", accepted: IP:PORT or [IPV6]:PORT, the port not 0"#,
        ),
        ("vut:a:1,bind=10.0.0.1:5", r#"vut: option "secret-file" is missing, accepted: secret-file=PATH"#),
        (
            "vut:a:1,bind=10.0.0.1:5,secret-file=a",
            r#"vut: option "peer-secret-file" is missing, accepted: peer-secret-file=PATH"#,
        ),
        ("vut:a:1,secret=0a0b", r#"vut: unknown option "secret"; accepted: window=SIZE, bind=ADDR, secret-file=PATH"#),
        ("exec:x,stderr=pipe", r#"exec: option "stderr" has the bad value "pipe", accepted: inherit, null"#),
    ] {
        let told = error(text);
        assert!(told.starts_with(message), "{text:?} is told\n  {told}\nnot\n  {message}");
        assert!(!told.contains('\n'), "{told}");
    }
}

#[test]
fn names_of_unix_sockets_end_at_107_bytes() {
    for prefix in ["unix:", "unix:@", "unix-listen:"] {
        parse(&format!("{prefix}{}", "x".repeat(107)));
        let told = error(&format!("{prefix}{}", "x".repeat(108)));
        assert!(told.ends_with("has 108 bytes, accepted: at most 107"), "{told}");
    }
    // Bytes, not characters.
    error(&format!("unix:{}", "\u{e9}".repeat(54)));
}

/// A value for each option that is not its default, so that it is printed again.
fn example(key: Key) -> String {
    let value = match key {
        Key::Window | Key::SndBuf | Key::RcvBuf | Key::Offset => "64KiB",
        Key::KeepAlive | Key::Timeout => "10s",
        Key::Prefer => "ipv6",
        Key::Bind => "10.0.0.1:5",
        Key::SecretFile | Key::PeerSecretFile => r"dir/a\,b",
        Key::VutMode => "auto",
        Key::Unproven => "refuse",
        Key::HalfClose => "out",
        Key::Backlog | Key::Max => "7",
        Key::Mode => "0640",
        Key::Stderr => "null",
        Key::NoDelay | Key::ReusePort | Key::Unlink | Key::Append | Key::NoCreate | Key::Excl | Key::Create => {
            return key.row().name.to_owned();
        }
    };
    format!("{}={value}", key.row().name)
}

const VUT_NEEDS: [Key; 3] = [Key::SecretFile, Key::PeerSecretFile, Key::Bind];

/// The table, the parser and the printer know the same options: none is accepted and then forgotten.
#[test]
fn every_option_of_every_kind_arrives() {
    for row in KINDS {
        let form = row.form.replace("[HOST]", "").replace("HOST", "a").replace("PORT", "1").replace("NUMBER", "3");
        let needed: Vec<Key> = row.all_keys().filter(|key| row.kind == Kind::Vut && VUT_NEEDS.contains(key)).collect();
        let address = needed.iter().fold(form, |address, key| format!("{address},{}", example(*key)));
        for key in row.all_keys() {
            let more = if needed.contains(&key) { String::new() } else { format!(",{}", example(key)) };
            let spec = parse(&format!("{address}{more}"));
            let printed = spec.to_string();
            assert!(printed.contains(&format!(",{}", example(key))), "{printed}");
            assert_eq!(parse(&printed), spec);
        }
        assert_eq!(parse(&address).target.kind(), row.kind);
    }
    assert_eq!(COMMON, [Key::Window]);
}

#[test]
fn targets_know_their_directions() {
    for (text, two_way, listens, read, written) in [
        ("tcp:a:1", true, false, None, None),
        ("tcp-listen::1", true, true, None, None),
        ("unix-listen:s", true, true, None, None),
        ("file:f", false, false, None, None),
        ("fifo:f", false, false, None, None),
        ("-", true, false, Some(0), Some(1)),
        ("fd:5", true, false, Some(5), Some(5)),
    ] {
        let target = parse(text).target;
        let told = (target.is_two_way(), target.listens(), target.descriptor_read(), target.descriptor_written());
        assert_eq!(told, (two_way, listens, read, written), "{text}");
    }
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9][a-z0-9.-]{0,12}", any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string())]
}

fn words<T: options::Word + std::fmt::Debug>() -> impl Strategy<Value = T> {
    prop::sample::select(T::WORDS).prop_map(|(_, meaning)| meaning)
}

fn times() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1..u64::from(u32::MAX)).prop_map(Duration::from_millis))
}

fn keepalives() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1_u64..=32_767).prop_map(Duration::from_secs))
}

fn buffers() -> impl Strategy<Value = Buffers> {
    let size = || prop::option::of(1..=Buffers::MOST);
    (size(), size()).prop_map(|(send, receive)| Buffers { send, receive })
}

fn queues() -> impl Strategy<Value = Queue> {
    let count = || prop::option::of(1..=Queue::MOST);
    (count(), count()).prop_map(|(backlog, max)| Queue { backlog, max })
}

fn modes() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(0..=0o7777_u32)
}

/// Text with a liking for what could be taken for something else.
fn texts() -> impl Strategy<Value = String> {
    r"[a-z/=:,\\ é@]{0,20}".prop_map(|text| format!("./{text}"))
}

fn unix_names() -> impl Strategy<Value = UnixName> {
    prop_oneof![
        texts().prop_map(|path| UnixName::Path(path.into())),
        texts().prop_map(|name| UnixName::Abstract(name.replace("./", "@"))),
    ]
}

fn targets() -> impl Strategy<Value = Target> {
    let tcp = (
        (hosts(), 1..=u16::MAX, any::<bool>(), keepalives(), times()),
        (words(), prop::option::of(any::<std::net::SocketAddr>()), words(), buffers()),
    )
        .prop_map(|((host, port, nodelay, keepalive, timeout), (prefer, bind, half_close, buffers))| Target::Tcp {
            host,
            port,
            // A flow label has no text form.
            options: TcpOptions {
                nodelay,
                keepalive,
                timeout,
                prefer,
                bind: bind.map(|bind| std::net::SocketAddr::new(bind.ip(), bind.port())),
                half_close,
                buffers,
            },
        });
    let tcp_listen = (
        (prop::option::of(hosts()), any::<u16>(), any::<bool>(), keepalives()),
        (queues(), any::<bool>(), words(), buffers()),
    )
        .prop_map(|((host, port, nodelay, keepalive), (queue, reuseport, half_close, buffers))| {
            Target::TcpListen {
                host,
                port,
                options: TcpListenOptions { nodelay, keepalive, queue, reuseport, half_close, buffers },
            }
        });
    let unix = (unix_names(), times(), words())
        .prop_map(|(name, timeout, half_close)| Target::Unix { name, options: UnixOptions { timeout, half_close } });
    let unix_listen = (unix_names(), queues(), modes(), any::<bool>(), words()).prop_map(
        |(name, queue, mode, unlink, half_close)| {
            let file = matches!(name, UnixName::Path(_));
            let options = UnixListenOptions { queue, mode: mode.filter(|_| file), unlink: unlink && file, half_close };
            Target::UnixListen { name, options }
        },
    );
    let create = prop::sample::select(vec![Create::IfMissing, Create::Never, Create::Always]);
    let offset = prop::option::of(0..=i64::MAX as u64);
    let file = (texts(), any::<bool>(), create, modes(), offset).prop_map(|(path, append, create, mode, offset)| {
        Target::File { path: path.into(), options: FileOptions { append, create, mode, offset } }
    });
    let fifo = (texts(), any::<bool>())
        .prop_map(|(path, create)| Target::Fifo { path: path.into(), options: FifoOptions { create } });
    let exec =
        (texts(), words()).prop_map(|(command, stderr)| Target::Exec { command, options: ExecOptions { stderr } });
    let fd = (0..=i32::MAX).prop_map(|number| Target::Fd { number });
    let vut = (
        (hosts(), 1..=u16::MAX, any::<std::net::IpAddr>(), 1..=u16::MAX, texts(), texts()),
        (words(), keepalives(), times(), words(), words(), words()),
    )
        .prop_map(
            |((host, port, ip, bind_port, ours, theirs), (mode, keepalive, timeout, prefer, half_close, unproven))| {
                let options = VutOptions {
                    bind: std::net::SocketAddr::new(ip, bind_port),
                    secret_file: ours.into(),
                    peer_secret_file: theirs.into(),
                    mode,
                    keepalive,
                    timeout,
                    prefer,
                    half_close,
                    unproven,
                };
                Target::Vut { host, port, options }
            },
        );
    prop_oneof![tcp, tcp_listen, unix, unix_listen, Just(Target::Stdio), file, fifo, exec, fd, vut]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(target in targets(), window in prop::option::of(1..=u64::MAX)) {
        let spec = Spec { target, options: Options { window } };
        let text = spec.to_string();
        prop_assert_eq!(text.parse::<Spec>(), Ok(spec), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused_in_one_line(text in any::<String>(), kind in 0..KINDS.len()) {
        for text in [text.clone(), format!("{}:{text}", KINDS[kind].name)] {
            if let Err(error) = text.parse::<Spec>() {
                let told = error.to_string();
                prop_assert!(!told.contains(char::is_control), "{:?}", told);
            }
        }
    }
}
