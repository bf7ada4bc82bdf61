//! What a program costs: whole processes, measured by the system.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::AnyError;

/// What a run cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// User and system time in seconds, of the process and of its children that it waited for.
    pub(crate) cpu: f64,
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// Largest resident set in bytes.
    pub(crate) memory: u64,
}

/// The median, the least and the most of some figure.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// As tables show it: the median, and the range in brackets.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, least, most } = self;
        write!(f, "{median:.2} ({least:.2}-{most:.2})")
    }
}

/// Processor time, wall time and peak memory of runs; `None` where there is none.
pub(crate) fn spreads(costs: &[Cost]) -> Option<[Spread; 3]> {
    Some([
        spread(costs, |cost| cost.cpu)?,
        spread(costs, |cost| cost.wall)?,
        spread(costs, |cost| cost.memory as f64)?,
    ])
}

/// `None` where nothing was measured.
pub(crate) fn spread(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> Option<Spread> {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    Some(Spread { median: values[values.len() / 2], least, most })
}

/// Runs a program to its end. What it says goes to a file in the folder; the last line of that is the error of a run
/// that failed.
#[allow(clippy::disallowed_methods)] // Wall time is what is measured.
pub(crate) fn run(command: &mut Command, stdin: Stdio, folder: &Path) -> Result<Cost, AnyError> {
    let said = folder.join("said");
    let begin = Instant::now();
    let file = File::create(&said)?;
    let child = command.stdin(stdin).stdout(file.try_clone()?).stderr(file).spawn()?;
    let (status, cpu, memory) = wait(&child)?;
    let wall = begin.elapsed().as_secs_f64();
    if status != 0 {
        let said = std::fs::read(said)?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return Err(said.lines().last().unwrap_or("it failed without a word").to_owned().into());
    }
    Ok(Cost { cpu, wall, memory })
}

/// Waits for a child: its status, its user and system time in seconds, its largest resident set in bytes. The standard
/// library tells the first only.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn wait(child: &Child) -> Result<(i32, f64, u64), AnyError> {
    let mut status = 0;
    // SAFETY: both pointers are to owned values that outlive the call; an all-zero rusage is a valid one.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage), usage)
    };
    if waited < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as u64 * 1024))
}

#[cfg(not(target_os = "linux"))]
fn wait(_: &Child) -> Result<(i32, f64, u64), AnyError> {
    Err("what a child used is known on Linux only".into())
}
