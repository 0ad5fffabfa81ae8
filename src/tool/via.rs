//! `--via STAGE`: what the data passes on its way, as values and as components.
//!
//! ```text
//!   stage ::= NAME ":" VALUE        throttle:10MiB/s   limit:1GiB   chunk:64KiB   buffer:4MiB   spill:1GiB,dir=/var/tmp
//!           | TEE ":" ADDRESS       tee:file:dump.bin   tee-drop:tcp:127.0.0.1:9000
//! ```
//!
//! The names stand once, in `STAGES`; the help and the error lines are written from them.

use super::address::{AddressError, Spec, Target};
use super::size::{self, SizeError};
use super::suggest;
use crate::agent::spill::{Spill, SpillOptions, spill};
use crate::component::block::{AfterLimit, Branch, Buffer, Chunker, Limiter, Rate, Throttle, throttle};
use crate::component::stock::Filter;
use crate::component::{InletRef, OutletRef};
use crate::proto::link::Window;
use bytes::Bytes;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// One stage.
///
/// ```
/// use versile_io::tool::via::Stage;
/// assert!("throttle:10MiB/s".parse::<Stage>().is_ok());
/// let error = "throtle:1MiB/s".parse::<Stage>().expect_err("not a stage");
/// assert!(error.to_string().contains(r#"did you mean "throttle"?"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// At most so many bytes a second, and a tenth of that at once.
    Throttle(NonZeroU64),
    /// Aborts if more bytes come.
    Limit(NonZeroU64),
    /// Pieces of this size.
    Chunk(NonZeroUsize),
    /// Lets so many bytes wait.
    Buffer(NonZeroU64),
    /// Lets so many bytes wait in a file.
    Spill {
        /// At most so many.
        bytes: NonZeroU64,
        /// Where the file is made. It has no name, and is gone when it is closed.
        dir: PathBuf,
    },
    /// A copy of what passes goes to an address.
    Tee {
        /// Which; one that can be written.
        to: Box<Spec>,
        /// What happens when it is slow or fails.
        copy: Copies,
    },
}

/// What a copy that is slow or fails does to the data that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// The data waits for the copy, and ends with it: the copy is whole.
    Whole,
    /// The data goes on, and the copy goes without.
    WithGaps,
}

impl Copies {
    pub(super) fn branch(self) -> Branch {
        match self {
            Self::Whole => Branch::wait(),
            Self::WithGaps => Branch::drop(),
        }
    }
}

/// A row of the help.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) form: &'static str,
    pub(crate) about: &'static str,
}

/// Every stage.
pub(crate) const STAGES: &[Row] = &[
    Row { name: "throttle", form: "throttle:SIZE/s", about: "at most so much a second, a tenth of it at once" },
    Row { name: "limit", form: "limit:SIZE", about: "abort if more comes" },
    Row { name: "chunk", form: "chunk:SIZE", about: "pass on in pieces of this size" },
    Row { name: "buffer", form: "buffer:SIZE", about: "let so much wait for a slow reader" },
    Row { name: "spill", form: "spill:SIZE,dir=DIR", about: "the same, in a file in DIR" },
    Row { name: "tee", form: "tee:ADDRESS", about: "a copy to ADDRESS; waits for it and fails with it" },
    Row { name: "tee-drop", form: "tee-drop:ADDRESS", about: "a copy that goes without what it has no room for" },
];

/// Why a text is not a stage, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageError {
    /// The word before the colon is not known.
    #[error("unknown stage {given:?}{hint}; accepted: {accepted}")]
    Unknown {
        /// The word.
        given: String,
        /// `, did you mean ...?`, or nothing.
        hint: String,
        /// The names of all stages.
        accepted: String,
    },
    /// Nothing stands behind the name.
    #[error("{name}: the value is missing, accepted: {form}")]
    Missing {
        /// The stage.
        name: &'static str,
        /// Its form.
        form: &'static str,
    },
    /// The address of a tee is none.
    #[error("{name}: {source}")]
    Address {
        /// The stage.
        name: &'static str,
        /// What is wrong with it.
        source: Box<AddressError>,
    },
    /// The address of a tee cannot take a copy.
    #[error("{name}: {address:?} cannot take a copy, accepted: file, fifo, exec, tcp or unix, to write")]
    Unfit {
        /// The stage.
        name: &'static str,
        /// The address.
        address: String,
    },
    /// The value of a throttle is no rate.
    #[error("{name}: {given:?} is not a rate, accepted: {form}")]
    Rate {
        /// The stage.
        name: &'static str,
        /// The value.
        given: String,
        /// Its form.
        form: &'static str,
    },
    /// The value is not a size.
    #[error("{name}: {source}")]
    Size {
        /// The stage.
        name: &'static str,
        /// What is wrong with it.
        source: SizeError,
    },
    /// The value is 0, or more than the memory of a process.
    #[error("{name}: {given:?} is out of range, accepted: at least 1")]
    Range {
        /// The stage.
        name: &'static str,
        /// The value.
        given: String,
    },
}

impl FromStr for Stage {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let Some(row) = STAGES.iter().find(|row| row.name == name) else {
            let names = || STAGES.iter().map(|row| row.name);
            let hint = suggest::nearest(name, names()).map(|near| format!(", did you mean {near:?}?"));
            let accepted = names().collect::<Vec<_>>().join(", ");
            return Err(StageError::Unknown { given: name.to_owned(), hint: hint.unwrap_or_default(), accepted });
        };
        let name = row.name;
        if value.is_empty() {
            return Err(StageError::Missing { name, form: row.form });
        }
        if let "tee" | "tee-drop" = name {
            let copy = if name == "tee" { Copies::Whole } else { Copies::WithGaps };
            let to: Spec = value.parse().map_err(|e| StageError::Address { name, source: Box::new(e) })?;
            return match takes_a_copy(&to.target) {
                true => Ok(Self::Tee { to: Box::new(to), copy }),
                false => Err(StageError::Unfit { name, address: value.to_owned() }),
            };
        }
        let (value, dir) = match value.split_once(",dir=") {
            Some((size, dir)) if name == "spill" && !dir.is_empty() => (size, Some(PathBuf::from(dir))),
            _ if name == "spill" => return Err(StageError::Missing { name, form: row.form }),
            _ => (value, None),
        };
        let rate = || StageError::Rate { name, given: value.to_owned(), form: row.form };
        let number = if name == "throttle" { value.strip_suffix("/s").ok_or_else(rate)? } else { value };
        let bytes = size::parse_size(number).map_err(|source| StageError::Size { name, source })?;
        let range = || StageError::Range { name, given: value.to_owned() };
        let bytes = NonZeroU64::new(bytes).ok_or_else(range)?;
        Ok(match name {
            "throttle" => Self::Throttle(bytes),
            "limit" => Self::Limit(bytes),
            "chunk" => Self::Chunk(NonZeroUsize::try_from(bytes).map_err(|_| range())?),
            "spill" => Self::Spill { bytes, dir: dir.unwrap_or_default() },
            _ => Self::Buffer(bytes),
        })
    }
}

impl Stage {
    /// Starts the stage on the current arbiter; `None` for a tee, whose address is to be opened first.
    pub(super) fn start(&self) -> Option<(InletRef<Bytes>, OutletRef<Bytes>)> {
        Some(match self {
            Self::Throttle(per_second) => {
                let Throttle { inlet, outlet } = throttle(Rate::new(*per_second));
                (inlet, outlet)
            }
            Self::Spill { bytes, dir } => {
                let Spill { inlet, outlet, .. } = spill(SpillOptions::new(bytes.get(), dir));
                (inlet, outlet)
            }
            Self::Tee { .. } => return None,
            Self::Limit(bytes) => ports(Limiter::new(bytes.get(), AfterLimit::Fail).0),
            Self::Chunk(size) => ports(Chunker::bytes(*size)),
            Self::Buffer(bytes) => ports(Buffer::new(Window::of(bytes.get()))),
        })
    }
}

/// True for what can be opened again for each direction, to be written.
fn takes_a_copy(target: &Target) -> bool {
    match target {
        Target::File { options, .. } => options.offset.is_none(),
        Target::Fifo { .. } | Target::Exec { .. } | Target::Tcp { .. } | Target::Unix { .. } => true,
        // a pair of secrets is for one connection
        Target::Vut { .. } => false,
        Target::Stdio | Target::Fd { .. } | Target::TcpListen { .. } | Target::UnixListen { .. } => false,
    }
}

fn ports<F: Filter<In = Bytes, Out = Bytes>>(filter: F) -> (InletRef<Bytes>, OutletRef<Bytes>) {
    let (inlet, outlet, _) = filter.start();
    (inlet, outlet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read() {
        let n = |n| NonZeroU64::new(n).expect("not 0");
        let tee = |to: &str, copy| Stage::Tee { to: Box::new(to.parse().expect("an address")), copy };
        for (text, stage) in [
            ("throttle:10MiB/s", Stage::Throttle(n(10 << 20))),
            ("throttle:7/s", Stage::Throttle(n(7))),
            ("limit:1GB", Stage::Limit(n(1_000_000_000))),
            ("chunk:64KiB", Stage::Chunk(NonZeroUsize::new(64 << 10).expect("not 0"))),
            ("buffer:1", Stage::Buffer(n(1))),
            ("spill:1KiB,dir=/a,b", Stage::Spill { bytes: n(1024), dir: "/a,b".into() }),
            ("tee:file:a,append", tee("file:a,append", Copies::Whole)),
            ("tee-drop:tcp:b:1", tee("tcp:b:1", Copies::WithGaps)),
        ] {
            assert_eq!(text.parse(), Ok(stage), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_stage_is_told_in_one_line() {
        for (text, told) in [
            ("", r#"unknown stage ""; accepted: throttle, limit, chunk, buffer, spill, tee, tee-drop"#),
            ("limmit:5", r#"unknown stage "limmit", did you mean "limit"?; accepted: throttle, "#),
            ("tee", "tee: the value is missing, accepted: tee:ADDRESS"),
            ("tee:fil:a", r#"tee: unknown kind of address "fil", did you mean "file"?"#),
            ("tee:-", r#"tee: "-" cannot take a copy, accepted: file, fifo, exec, tcp or unix, to write"#),
            ("tee-drop:tcp-listen::1", r#"tee-drop: "tcp-listen::1" cannot take a copy"#),
            ("tee:file:a,offset=5", r#"tee: "file:a,offset=5" cannot take a copy"#),
            ("spill:5", "spill: the value is missing, accepted: spill:SIZE,dir=DIR"),
            ("spill:0,dir=/", r#"spill: "0" is out of range, accepted: at least 1"#),
            ("limit", "limit: the value is missing, accepted: limit:SIZE"),
            ("throttle:10MiB", r#"throttle: "10MiB" is not a rate, accepted: throttle:SIZE/s"#),
            ("throttle:0/s", r#"throttle: "0/s" is out of range, accepted: at least 1"#),
            ("chunk:0", r#"chunk: "0" is out of range, accepted: at least 1"#),
            ("buffer:x\ny", r#"buffer: "x\ny" does not start with a whole number, accepted: "#),
        ] {
            let error = text.parse::<Stage>().expect_err(text).to_string();
            assert!(error.starts_with(told) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
