//! VUT beside QUIC and TCP on simulated bad networks, in virtual time: the same run of a seed on any machine.
//!
//! ```text
//! vut_wan grid       30 MB over the grid, and what is held of the bars
//! vut_wan short      100 KB over the grid
//! vut_wan check      two paths for which figures of the rivals with default settings are known
//! vut_wan messages   small messages, alone and beside a bulk transfer
//! vut_wan fair       who gets what of a link that is shared
//!
//!   --quick          a few cells          --others         cells that nothing was tuned on
//!   --cells A,B      mbit/rtt/loss[/reorder] each          --only X,Y       these transports
//!   --seeds N        runs of each cell (5; 40 for short)   --octets N       another size
//!   --with FILE      rows of it are not run again          --csv FILE       all rows are written there
//! ```
//!
//! Every peer has an initial window of ten datagrams, where it can be set (smoltcp begins with two segments), and receive windows
//! that fit the path. Handshakes are in. Loss and reordering are in both directions.

mod fair;
mod grid;
mod messages;
mod ours;
mod quic;
mod setup;
mod tcp;
mod world;

use grid::{Table, transfer};
use setup::{Cell, Transport};

/// What the command line says.
pub struct Options {
    words: Vec<String>,
}

impl Options {
    fn value(&self, key: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == key)?;
        self.words.get(at + 1).map(String::as_str)
    }

    fn has(&self, key: &str) -> bool {
        self.words.iter().any(|word| word == key)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.value(key).map_or(default, |text| text.parse().expect("a number"))
    }

    fn cells(&self) -> Vec<Cell> {
        if let Some(text) = self.value("--cells") {
            return text.split(',').map(|cell| Cell::of(cell).expect("mbit/rtt/loss/reorder")).collect();
        }
        match (self.has("--quick"), self.has("--others")) {
            (true, _) => setup::quick(),
            (_, true) => setup::others(),
            _ => setup::grid(),
        }
    }

    fn transports(&self) -> Vec<Transport> {
        match self.value("--only") {
            Some(text) => text.split(',').map(|name| Transport::of(name).expect("a transport")).collect(),
            None => Transport::ALL.to_vec(),
        }
    }
}

fn run_grid(options: &Options, octets: u64, seeds: u64) {
    let (cells, transports) = (options.cells(), options.transports());
    let (octets, seeds) = (options.number("--octets", octets), options.number("--seeds", seeds));
    let mut table = options.value("--with").map_or_else(Table::default, |path| Table::read(path).expect("a file"));
    table.fill(&cells, &transports, octets, seeds);
    let shown: Vec<_> = Transport::ALL
        .into_iter()
        .filter(|transport| cells.iter().any(|cell| table.get(*cell, *transport, octets).is_some()))
        .collect();
    table.print(&cells, &shown, octets);
    table.judge(&cells, octets);
    if let Some(path) = options.value("--csv") {
        std::fs::write(path, table.csv()).expect("written");
    }
}

/// The rivals as they come, on two paths for which it is known what they reach.
fn check() {
    let known = [
        (Transport::QuinnCubic, Cell::new(100.0, 80.0, 1.0, 0.0), 1.7),
        (Transport::QuinnBbr, Cell::new(100.0, 80.0, 1.0, 0.0), 62.0),
        (Transport::SmoltcpCubic, Cell::new(100.0, 80.0, 1.0, 0.0), 1.6),
        (Transport::QuinnCubic, Cell::new(100.0, 20.0, 0.0, 1.0), 7.4),
        (Transport::QuinnBbr, Cell::new(100.0, 20.0, 0.0, 1.0), 91.0),
    ];
    for (transport, cell, expected) in known {
        let mut rates: Vec<f64> = (1..=3)
            .map(|seed| {
                let outcome = transfer(transport, cell, 30_000_000, None, seed);
                let took = outcome.done.map_or(300.0, |done| done.as_secs_f64());
                outcome.received as f64 * 8e-6 / took
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("{} in {cell}: {:.2} Mbit/s, known {expected}", transport.name(), rates[1]);
    }
}

fn main() {
    let options = Options { words: std::env::args().skip(1).collect() };
    match options.words.first().map(String::as_str) {
        Some("grid") => run_grid(&options, 30_000_000, 5),
        Some("short") => run_grid(&options, 100_000, 40),
        Some("check") => check(),
        Some("messages") => messages::run(&options),
        Some("fair") => fair::run(&options),
        _ => eprintln!("vut_wan grid|short|check|messages|fair [--quick] [--csv FILE] ..."),
    }
}
