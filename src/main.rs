//! The front door: parse, run, print the error, exit code.

#[cfg(target_os = "linux")]
mod allocator;

use std::process::ExitCode;
use std::sync::Once;

use netweir::cli::{Cli, ERROR, advised, one_line};
use netweir::flow::region::NoRoom;

static TOLD: Once = Once::new();

fn main() -> ExitCode {
    // What panics is told with its place at once; nothing that comes after it says more.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if netweir::reading::is_guarded() {
            return;
        }
        if let Some(room) = panic.payload().downcast_ref::<NoRoom>() {
            // Several workers may miss it at once.
            TOLD.call_once(|| {
                eprintln!("netweir: {room}");
                std::process::exit(ERROR.into());
            });
        }
        report(panic);
        eprintln!("netweir: this is a defect of netweir; please report the lines above");
        std::process::exit(101);
    }));
    match Cli::read().and_then(|asked| asked.run().map_err(|error| advised(&error))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netweir: {}", one_line(&error));
            ExitCode::from(ERROR)
        }
    }
}
