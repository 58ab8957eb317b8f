//! Monotonic time in nanoseconds and a sleep that ends on time.
//!
//! Invariant: sender and receiver live in one process and read the same clock, so a difference of two readings
//! is a latency.

use std::hint;

/// The kernel is asked to wake us this much early; the rest is spun.
const SPIN_NS: u64 = 30_000;
const NS_PER_S: u64 = 1_000_000_000;

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill; the clock ids used here exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * NS_PER_S + time.tv_nsec as u64
}

pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time of this process, all threads.
pub fn own_cpu_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Lets this thread's sleeps end on time: by default the kernel may add 50 us to join wake-ups.
pub fn ask_for_precise_sleep() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Returns at `deadline_ns` or just after it.
pub fn sleep_until_ns(deadline_ns: u64) {
    let early_ns = deadline_ns.saturating_sub(SPIN_NS);
    if now_ns() < early_ns {
        let time = libc::timespec {
            tv_sec: (early_ns / NS_PER_S) as libc::time_t,
            tv_nsec: (early_ns % NS_PER_S) as libc::c_long,
        };
        // SAFETY: `time` is a valid timespec; no remainder is asked for. A signal ends the sleep early, the spin
        // below then takes longer.
        unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
    }
    while now_ns() < deadline_ns {
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_never_ends_early() {
        for delay_ns in [0, 1_000, 200_000, 2_000_000] {
            let deadline_ns = now_ns() + delay_ns;
            sleep_until_ns(deadline_ns);
            assert!(now_ns() >= deadline_ns);
        }
    }
}
