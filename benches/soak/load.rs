//! The load: users who open connections through the relays, and the server behind them. Both check every byte, and how each
//! connection ends: an orderly end must arrive as one, and a reset must not.

use crate::pattern;
use crate::plan::{Plan, Script};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A read or write that takes longer has lost its wake-up, or the relay is stuck. Longer than any planned stall.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest piece that is written or read at a time.
const PIECE: usize = 64 * 1024;

/// Loopback addresses that are used in turn, so that ports do not run out while old connections are in TIME_WAIT.
const ADDRESSES: u8 = 8;

/// One of the addresses.
pub(crate) fn address(number: u64) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 1 + (number % u64::from(ADDRESSES)) as u8).into()
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) users: usize,
    /// Bytes a second, all users together, each direction counted once.
    pub(crate) rate: u64,
    /// Pauses are so many times shorter than in a long run.
    pub(crate) haste: u32,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Open now, as the users see it.
    pub(crate) open: u64,
    /// Ended as planned, told by the users and by the server.
    pub(crate) done: u64,
    pub(crate) served: u64,
    /// Of those done: reset as planned.
    pub(crate) resets: u64,
    /// Received and found right.
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
}

/// What users and servers share. One thread.
#[derive(Debug)]
pub(crate) struct World {
    load: Load,
    tally: Cell<Tally>,
    stopped: Cell<bool>,
    stop: Notify,
    /// When the next piece may leave.
    next: Cell<Instant>,
    told: RefCell<Vec<String>>,
    scratch: RefCell<Box<[u8]>>,
}

/// How receiving went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Broken,
}

type Checked<T = ()> = Result<T, String>;

impl World {
    pub(crate) fn new(load: Load) -> Rc<Self> {
        Rc::new(Self {
            load,
            tally: Cell::default(),
            stopped: Cell::new(false),
            stop: Notify::new(),
            next: Cell::new(Instant::now()),
            told: RefCell::default(),
            scratch: RefCell::new(vec![0; PIECE].into()),
        })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// What went wrong since the last time.
    pub(crate) fn take_told(&self) -> Vec<String> {
        self.told.take()
    }

    /// No new connections; pauses end.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.stop.notify_waiters();
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }

    fn judge(&self, who: &str, plan: Plan, went: Checked, change: impl FnOnce(&mut Tally)) {
        match went {
            Ok(()) => self.count(change),
            Err(what) => {
                self.count(|tally| tally.errors += 1);
                self.told.borrow_mut().push(format!("{who}: {what}; {plan:?}"));
            }
        }
    }

    async fn nap(&self, long: Duration) {
        let stop = self.stop.notified();
        if !self.stopped.get() {
            tokio::select! {
                () = stop => {}
                () = tokio::time::sleep(long) => {}
            }
        }
    }

    /// Waits for this piece's turn under the rate of all together.
    async fn pace(&self, bytes: usize) {
        let turn = self.next.get().max(Instant::now());
        self.next.set(turn + Duration::from_secs_f64(bytes as f64 / self.load.rate as f64));
        tokio::time::sleep_until(turn).await;
    }

    /// Listens, and serves each connection. Its port.
    pub(crate) fn serve(self: &Rc<Self>) -> io::Result<u16> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([0, 0, 0, 0], 0)))?;
        let listener = socket.listen(4096)?;
        let port = listener.local_addr()?.port();
        let world = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let world = world.clone();
                tokio::task::spawn_local(async move { world.serve_one(stream).await });
            }
        });
        Ok(port)
    }

    async fn serve_one(&self, mut stream: TcpStream) {
        let mut seed = [0; 8];
        if stream.read_exact(&mut seed).await.is_err() {
            // the client has reset it at once, which its own verdict covers
            return self.count(|tally| tally.served += 1);
        }
        let plan = Plan::of(u64::from_be_bytes(seed), self.load.haste);
        let (up, down) = plan.seeds();
        let went = match plan.script {
            Script::ServerResets => self.reset(stream, plan.cut, down, up, plan.up).await,
            Script::ClientResets => self.be_reset(&mut stream, (down, plan.down), (up, plan.up)).await,
            Script::Chat | Script::Idle => self.answer(&mut stream, plan).await,
            Script::ServerStalls => self.exchange(&mut stream, (down, plan.down), (up, plan.up), plan.pause).await,
            Script::Exchange | Script::ClientStalls => {
                self.exchange(&mut stream, (down, plan.down), (up, plan.up), Duration::ZERO).await
            }
        };
        self.judge("server", plan, went, |tally| tally.served += 1);
    }

    /// Connection after connection to one of the relays.
    pub(crate) async fn use_relays(&self, relays: &[u16]) {
        while !self.stopped.get() {
            self.nap(Duration::from_millis(fastrand::u64(0..1_000)) / self.load.haste).await;
            let plan = Plan::of(fastrand::u64(..), self.load.haste);
            let relay = SocketAddr::new(address(fastrand::u64(..)), relays[fastrand::usize(..relays.len())]);
            self.count(|tally| tally.open += 1);
            let went = self.use_one(relay, plan).await;
            self.count(|tally| tally.open -= 1);
            self.judge("user", plan, went, |tally| {
                tally.done += 1;
                tally.resets += u64::from(matches!(plan.script, Script::ClientResets | Script::ServerResets));
            });
        }
    }

    async fn use_one(&self, relay: SocketAddr, plan: Plan) -> Checked {
        let mut stream = within("connect", TcpStream::connect(relay)).await?.map_err(|e| format!("connect: {e}"))?;
        let hello = stream.write_all(&plan.seed.to_be_bytes()).await;
        hello.map_err(|e| format!("the first bytes: {e}"))?;
        let (up, down) = plan.seeds();
        match plan.script {
            Script::ClientResets => self.reset(stream, plan.cut, up, down, plan.down).await,
            Script::ServerResets => self.be_reset(&mut stream, (up, plan.up), (down, plan.down)).await,
            Script::Chat | Script::Idle => self.talk(&mut stream, plan).await,
            Script::ClientStalls => self.exchange(&mut stream, (up, plan.up), (down, plan.down), plan.pause).await,
            Script::Exchange | Script::ServerStalls => {
                self.exchange(&mut stream, (up, plan.up), (down, plan.down), Duration::ZERO).await
            }
        }
    }

    /// Each message is answered by as many bytes; then both end.
    async fn talk(&self, stream: &mut TcpStream, plan: Plan) -> Checked {
        let (up, down) = plan.seeds();
        let (mut reader, mut writer) = stream.split();
        let mut at = 0;
        for number in 0..plan.talks() {
            self.nap(plan.pause).await;
            let size = plan.message(number);
            self.send(&mut writer, up, at, at + size).await?;
            self.receive_exactly(&mut reader, down, at, at + size).await?;
            at += size;
        }
        writer.shutdown().await.map_err(|e| format!("our end: {e}"))?;
        self.receive_end(&mut reader).await
    }

    async fn answer(&self, stream: &mut TcpStream, plan: Plan) -> Checked {
        let (up, down) = plan.seeds();
        let (mut reader, mut writer) = stream.split();
        let mut at = 0;
        for number in 0..plan.talks() {
            let size = plan.message(number);
            // the other side pauses as long as a pause may be
            self.nap_while(&reader, plan.pause).await;
            self.receive_exactly(&mut reader, up, at, at + size).await?;
            self.send(&mut writer, down, at, at + size).await?;
            at += size;
        }
        self.receive_end(&mut reader).await?;
        writer.shutdown().await.map_err(|e| format!("our end: {e}"))
    }

    /// Waits until something comes, for at most the pause of the other side.
    async fn nap_while(&self, reader: &ReadHalf<'_>, pause: Duration) {
        // what comes of it the next read tells
        let _ = tokio::time::timeout(pause, reader.readable()).await;
    }

    async fn exchange(&self, stream: &mut TcpStream, ours: (u64, u64), theirs: (u64, u64), stall: Duration) -> Checked {
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            self.send(&mut writer, ours.0, 0, ours.1).await?;
            writer.shutdown().await.map_err(|e| format!("our end: {e}"))
        };
        let receiving = async {
            self.nap(stall).await;
            match self.receive(&mut reader, theirs.0, theirs.1).await? {
                (at, End::Orderly) if at == theirs.1 => Ok(()),
                (at, end) => Err(format!("{end:?} after {at} of {}", theirs.1)),
            }
        };
        tokio::try_join!(sending, receiving).map(drop)
    }

    /// Resets the connection after so many of our bytes. What comes meanwhile is checked.
    async fn reset(&self, mut stream: TcpStream, cut: u64, ours: u64, theirs: u64, size: u64) -> Checked {
        {
            let (mut reader, mut writer) = stream.split();
            let sending = self.send(&mut writer, ours, 0, cut);
            let receiving = async {
                match self.receive(&mut reader, theirs, size).await {
                    // nobody but we resets
                    Ok((at, end)) if end == End::Broken || at != size => {
                        Err(format!("{end:?} after {at} of {size}, before our reset"))
                    }
                    Ok(_) => std::future::pending().await,
                    Err(what) => Err(what),
                }
            };
            tokio::select! {
                biased;
                sent = sending => sent?,
                wrong = receiving => wrong?,
            }
        }
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|e| format!("linger: {e}"))
    }

    /// The other side resets the connection: an orderly end must not arrive.
    async fn be_reset(&self, stream: &mut TcpStream, ours: (u64, u64), theirs: (u64, u64)) -> Checked {
        let (mut reader, mut writer) = stream.split();
        let sending = async { self.send(&mut writer, ours.0, 0, ours.1).await.is_ok() };
        let receiving = self.receive(&mut reader, theirs.0, theirs.1);
        // whichever call comes first is told of the reset, and the other sees an end
        match tokio::join!(sending, receiving) {
            (true, Ok((at, End::Orderly))) => Err(format!("an orderly end after {at} of a connection that was reset")),
            (_, received) => received.map(drop),
        }
    }

    async fn send(&self, writer: &mut WriteHalf<'_>, seed: u64, from: u64, to: u64) -> Checked {
        let (mut at, mut piece) = (from, Vec::new());
        while at < to {
            let n = (to - at).min(fastrand::u64(1..=PIECE as u64)) as usize;
            self.pace(n).await;
            piece.resize(n, 0);
            pattern::fill(seed, at, &mut piece);
            let sent = within("write", writer.write_all(&piece)).await?;
            sent.map_err(|e| format!("write after {at} of {to}: {e}"))?;
            at += n as u64;
        }
        Ok(())
    }

    async fn receive_exactly(&self, reader: &mut ReadHalf<'_>, seed: u64, from: u64, to: u64) -> Checked {
        let mut piece = vec![0; (to - from) as usize];
        let read = within("read", reader.read_exact(&mut piece)).await?;
        read.map_err(|e| format!("read of {from} to {to}: {e}"))?;
        self.check(seed, from, &piece)
    }

    async fn receive_end(&self, reader: &mut ReadHalf<'_>) -> Checked {
        match within("the end", reader.read(&mut [0])).await? {
            Ok(0) => Ok(()),
            Ok(_) => Err("more than was sent".to_owned()),
            Err(e) => Err(format!("instead of the end: {e}")),
        }
    }

    /// All that comes. Where it ended, and how.
    async fn receive(&self, reader: &mut ReadHalf<'_>, seed: u64, size: u64) -> Checked<(u64, End)> {
        let (mut at, mut piece) = (0, Vec::new());
        loop {
            within("data", reader.readable()).await?.map_err(|e| format!("readiness: {e}"))?;
            // held only while something comes: an idle user must not cost 64 KiB
            piece.resize(PIECE, 0);
            match reader.try_read(&mut piece) {
                Ok(0) => return Ok((at, End::Orderly)),
                Ok(n) => {
                    self.check(seed, at, &piece[..n])?;
                    at += n as u64;
                    if at > size {
                        return Err(format!("{at} bytes of {size}"));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => piece = Vec::new(),
                Err(_) => return Ok((at, End::Broken)),
            }
        }
    }

    fn check(&self, seed: u64, at: u64, piece: &[u8]) -> Checked {
        self.count(|tally| tally.bytes += piece.len() as u64);
        match pattern::differs(seed, at, piece, &mut self.scratch.borrow_mut()) {
            Some(place) => Err(format!("wrong byte at {place}")),
            None => Ok(()),
        }
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Checked<T> {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.map_err(|_| format!("{what}: nothing for {} s", PATIENCE.as_secs()))
}
