//! Signals: what ends a run, and what does not.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

#[cfg(unix)]
use crate::threads;

/// What a process gives that was asked twice to end.
const AT_ONCE: i32 = 130;

/// The flag that is set when the process is asked to end, one for all of its runs.
///
/// # Errors
/// If signals cannot be caught.
pub(super) fn stop() -> io::Result<Arc<AtomicBool>> {
    static STOP: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
    let mut known = STOP.lock().expect("nobody panics while signals are caught");
    match &*known {
        Some(stop) => Ok(stop.clone()),
        None => Ok(known.insert(catch()?).clone()),
    }
}

/// A flag that ctrl-c, SIGTERM and the end of the terminal (SIGHUP, where there is one) set. Whoever asks again when a
/// second has passed ends the process at once; until then it is one request that came by several ways: `timeout` tells
/// the process and its group, a terminal everybody who sits at it.
#[cfg(unix)]
fn catch() -> io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};

    let (stop, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (asked, ask) = std::os::unix::net::UnixStream::pair()?;
    let by_terminal = (!is_ignored(SIGHUP) && has_terminal()).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(by_terminal) {
        register_conditional_shutdown(signal, AT_ONCE, again.clone())?;
        register(signal, stop.clone())?;
        signal_hook::low_level::pipe::register(signal, ask.try_clone()?)?;
    }
    threads::start("signals", move || allow_after_a_second(asked, &again)).map_err(io::Error::other)?;
    // Those who rotate logs are used to ask for new ones by one of these. They are followed unasked, and the run goes on:
    // a service that ended by it would not be begun anew, as nothing went wrong.
    let by_rotation = (by_terminal.is_none() && !is_ignored(SIGHUP)).then_some(SIGHUP);
    for signal in by_rotation.into_iter().chain([SIGUSR1, SIGUSR2]) {
        register(signal, Arc::default())?;
    }
    Ok(stop)
}

/// A file that grows beyond what the process may write (`ulimit -f`) fails as one on a full disk does, and ends nothing
/// else: whoever writes it says so, and leaves nothing half done.
#[cfg(unix)]
pub(super) fn survive_large_files() -> io::Result<()> {
    register(libc::SIGXFSZ, Arc::default()).map(|_| ())
}

/// No such limit is known here.
#[cfg(not(unix))]
pub(super) fn survive_large_files() -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn allow_after_a_second(mut asked: std::os::unix::net::UnixStream, again: &AtomicBool) {
    use std::io::Read;

    if asked.read_exact(&mut [0]).is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(1));
        again.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// A flag that ctrl-c and SIGTERM set; asked twice, the process ends at once.
#[cfg(not(unix))]
fn catch() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, AT_ONCE, stop.clone())?;
        register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Whether the process has a controlling terminal, whose end SIGHUP would tell; services have none.
#[cfg(unix)]
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether who started the process asked that a signal should not reach it, as `nohup` does.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: plain numbers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the old action is written to a value that outlives the call; none is set.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
