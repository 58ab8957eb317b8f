//! CPU time and memory of the broker's process, read from /proc.
//!
//! Invariant: a broker is named by exactly one process; two with the same name are an error, not a guess.

use std::fs;

use crate::error::{Error, Result};

const NS_PER_S: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pid(pub u32);

impl Pid {
    /// CPU time of all threads, the ended ones too, in nanoseconds. The kernel counts in ticks of 10 ms.
    pub fn cpu_ns(self) -> Result<u64> {
        let ticks = stat_cpu_ticks(&self.read("stat")?)
            .ok_or_else(|| Error::Protocol(format!("/proc/{}/stat is not understood", self.0)))?;
        Ok(ticks * (NS_PER_S / system_value(libc::_SC_CLK_TCK)))
    }

    pub fn rss_bytes(self) -> Result<u64> {
        let pages = statm_resident_pages(&self.read("statm")?)
            .ok_or_else(|| Error::Protocol(format!("/proc/{}/statm is not understood", self.0)))?;
        Ok(pages * system_value(libc::_SC_PAGESIZE))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).map_err(|error| Error::io(format!("broker process: {path}"), &error))
    }

    /// The one process with this name (as in /proc/PID/comm, or the file name of its program).
    pub fn of_name(name: &str) -> Result<Self> {
        let entries = fs::read_dir("/proc").map_err(|error| Error::io("/proc", &error))?;
        let own = std::process::id();
        let pids: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own && is_named(*pid, name))
            .collect();
        match pids.as_slice() {
            [] => Err(Error::Input(format!("no process is named {name}"))),
            [pid] => Ok(Self(*pid)),
            several => {
                Err(Error::Input(format!("several processes are named {name}: {several:?}; use --pid")))
            }
        }
    }
}

fn is_named(pid: u32, name: &str) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    comm.trim_end() == name || program.file_name().is_some_and(|file| file == name)
}

fn system_value(name: libc::c_int) -> u64 {
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(1).max(1)
}

/// The memory of all processes of a group.
pub fn rss_bytes_of_group(group: u32) -> Result<u64> {
    let entries = fs::read_dir("/proc").map_err(|error| Error::io("/proc", &error))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid));
    // A process may end while we look.
    let is_in = |pid: &Pid| pid.read("stat").is_ok_and(|stat| stat_group(&stat) == Some(group));
    Ok(pids.filter(is_in).filter_map(|pid| pid.rss_bytes().ok()).sum())
}

/// Field 5.
fn stat_group(stat: &str) -> Option<u32> {
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(2)?.parse().ok()
}

/// utime and stime: fields 14 and 15. The name in field 2 may contain spaces and parentheses.
fn stat_cpu_ticks(stat: &str) -> Option<u64> {
    let behind_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn statm_resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Raises the soft limit of open files to the hard one and says what it is.
pub fn raise_open_files_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_contain_anything() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 700 30 5 6 20 0 8 0 9";
        assert_eq!(stat_cpu_ticks(stat), Some(730));
        assert_eq!(stat_group(stat), Some(42));
        assert_eq!(stat_cpu_ticks("42 (a) S 1"), None);
        assert_eq!(stat_cpu_ticks(""), None);
    }

    #[test]
    fn resident_is_the_second_field() {
        assert_eq!(statm_resident_pages("1000 250 30 1 0 60 0\n"), Some(250));
        assert_eq!(statm_resident_pages("1000"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = Pid(std::process::id());
        assert!(own.rss_bytes().is_ok_and(|bytes| bytes > 100_000));
        assert!(own.cpu_ns().is_ok());
        // SAFETY: getpgrp touches no memory.
        let group = unsafe { libc::getpgrp() };
        assert!(rss_bytes_of_group(group.cast_unsigned()).is_ok_and(|bytes| bytes > 100_000));
        assert!(Pid(u32::MAX).cpu_ns().is_err());
        assert!(Pid::of_name("no such process name").is_err());
    }
}
