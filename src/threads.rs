//! Threads beside the workers, which the system may refuse, and what a thread said that panicked.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// The system gives no thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the system allows no more threads: take fewer workers (-w), or raise the limit (of processes: ulimit -u; of memory: \
     ulimit -v)"
)]
pub struct NoThread;

/// Lets a thread of that name work. The work is lost where there is none: what must not be lost is handed over later.
///
/// # Errors
/// [`NoThread`].
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NoThread> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|_| NoThread)
}

/// Threads that are asked for beyond those that are needed: those that have ended may still count for an instant.
const SPARE: usize = 2;

/// Checks that the system gives so many threads, as far as can be told before they are needed.
///
/// # Errors
/// [`NoThread`].
pub(crate) fn check(count: usize) -> Result<(), NoThread> {
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock();
    let waiting = |_| {
        let gate = gate.clone();
        start("room", move || drop(gate.lock()))
    };
    let mut threads = Vec::new();
    let all = (0..count.saturating_add(SPARE)).map(waiting).try_for_each(|thread| {
        threads.push(thread?);
        Ok(())
    });
    drop(shut);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    all
}

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no more is known")
}

/// The same in one line.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let lines = said(panic).lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_threads_are_always_there() {
        assert_eq!(check(3), Ok(()));
    }

    #[test]
    fn words_of_a_panic_are_one_line() {
        assert_eq!(words(&"index 5"), "index 5");
        assert_eq!(words(&"left: 1\n\n  right: 2\n".to_owned()), "left: 1; right: 2");
        assert_eq!(words(&7), "no more is known");
    }
}
