//! What the system allows the process, as far as it may change that by itself.

/// Allows as many open files as may be asked for: captures that overlap in time are open together, and the limit that
/// processes begin with (1024, mostly) is that low for the sake of programs that use select(2), which this one does not.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) fn allow_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written to a value that outlives the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known && limit.rlim_cur < limit.rlim_max {
        let before = limit.rlim_cur;
        // macOS may name no highest one and refuse more than this.
        for most in [limit.rlim_max, limit.rlim_max.min(10_240)] {
            limit.rlim_cur = most;
            // SAFETY: the limit is read from a value that outlives the call. Where it is refused the one before holds.
            if most > before && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
                break;
            }
        }
    }
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(super) fn allow_open_files() {}
