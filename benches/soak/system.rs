//! What the system says of a process: memory, descriptors, time.

use std::time::Duration;

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    // less the one that reads the list
    std::fs::read_dir("/proc/self/fd").expect("Linux").count() - 1
}

/// The same, once what tokio opens with the first runtime of a process and keeps is there (its signal pipe).
pub(crate) fn descriptors_at_first() -> usize {
    drop(actix_rt::System::new());
    descriptors()
}

/// CPU time that a process has used, all its threads.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Lifts the bound on descriptors as far as it goes. The bound.
pub(crate) fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // refused, it stays what it was, and connections that do not fit are told as errors
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
