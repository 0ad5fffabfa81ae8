//! `fd:N`: descriptors that whoever started the tool has opened. The one file of the crate with `unsafe`.
//!
//! They are taken before the tool opens anything of its own, so that a number which nobody has opened cannot name a
//! descriptor of the tool.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The descriptors of a command line, by number.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    taken: Mutex<BTreeMap<i32, Taken>>,
    often: bool,
}

#[derive(Debug)]
struct Taken {
    fd: OwnedFd,
    /// How many addresses have yet to claim it; none: it is cloned for whoever comes.
    claims: Option<usize>,
}

impl Inherited {
    /// Takes each number; one that comes twice is taken once. `often`: each may be claimed any number of times. Called
    /// before anything is opened.
    ///
    /// # Errors
    ///
    /// With its number, a descriptor that is not open.
    pub(super) fn take(numbers: impl IntoIterator<Item = i32>, often: bool) -> Result<Self, (i32, io::Error)> {
        let mut taken: BTreeMap<i32, Taken> = BTreeMap::new();
        for number in numbers {
            if let Some(known) = taken.get_mut(&number) {
                known.claims = known.claims.map(|claims| claims + 1);
                continue;
            }
            let fd = own(number).map_err(|error| (number, error))?;
            taken.insert(number, Taken { fd, claims: (!often).then_some(1) });
        }
        Ok(Self { taken: Mutex::new(taken), often })
    }

    /// Whether streams are made any number of times.
    pub(super) fn is_often(&self) -> bool {
        self.often
    }

    /// The descriptor for one address: the very one for the last that claims it, so that nothing of it stays open when
    /// that address is over.
    ///
    /// # Errors
    ///
    /// The operating system's, of making a copy.
    pub(super) fn claim(&self, number: i32) -> io::Result<OwnedFd> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = all.get_mut(&number) else { return Err(rustix::io::Errno::BADF.into()) };
        match &mut taken.claims {
            Some(claims) if *claims > 1 => *claims -= 1,
            Some(_) => return all.remove(&number).map(|taken| taken.fd).ok_or_else(|| rustix::io::Errno::BADF.into()),
            None => {}
        }
        taken.fd.try_clone()
    }
}

/// Makes an inherited descriptor our own, closed in programs that are started.
fn own(number: i32) -> io::Result<OwnedFd> {
    match number {
        // the standard streams stay what they are for the rest of the process
        0 => return std::io::stdin().as_fd().try_clone_to_owned(),
        1 => return std::io::stdout().as_fd().try_clone_to_owned(),
        2 => return std::io::stderr().as_fd().try_clone_to_owned(),
        _ => {}
    }
    // asking by name opens nothing
    if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
        return Err(rustix::io::Errno::BADF.into());
    }
    #[expect(
        unsafe_code,
        reason = "a number becomes a descriptor nowhere else: it is open, and nothing in this process has opened it, \
                  since this runs first; each number is taken once"
    )]
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_open_is_a_bad_descriptor() {
        let (number, error) = Inherited::take([1_000_003], false).expect_err("not open");
        assert_eq!((number, error.raw_os_error()), (1_000_003, Some(rustix::io::Errno::BADF.raw_os_error())));
    }

    #[test]
    fn what_is_claimed_twice_is_copied_once() {
        let inherited = Inherited::take([2, 2], false).expect("open");
        inherited.claim(2).expect("a copy");
        inherited.claim(2).expect("the one");
        inherited.claim(2).expect_err("none is left");
    }

    #[test]
    fn what_is_claimed_often_is_always_there() {
        let inherited = Inherited::take([2], true).expect("open");
        for _ in 0..3 {
            inherited.claim(2).expect("a copy");
        }
    }
}
