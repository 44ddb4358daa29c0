//! Ctrl-C: most commands end at once and leave nothing half-written; training first saves.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::run_dir;

/// Whether a command runs that stops by itself when asked to.
static GRACEFUL: AtomicBool = AtomicBool::new(false);
/// Whether it was asked to.
static STOP: AtomicBool = AtomicBool::new(false);

/// While it lives, the first Ctrl-C only sets [`requested`]; a second one ends the program.
pub(crate) struct Graceful(());

/// Begins a part that stops by itself when asked to.
pub(crate) fn graceful() -> Graceful {
    GRACEFUL.store(true, Ordering::SeqCst);
    Graceful(())
}

impl Drop for Graceful {
    fn drop(&mut self) {
        GRACEFUL.store(false, Ordering::SeqCst);
    }
}

/// Whether Ctrl-C was pressed in a part that is [`graceful`].
pub(crate) fn requested() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Catches Ctrl-C for the rest of the program.
pub(crate) fn catch_ctrl_c() {
    let handler = || {
        let mut stderr = std::io::stderr();
        if GRACEFUL.load(Ordering::SeqCst) && !STOP.swap(true, Ordering::SeqCst) {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(stderr, "\nstopping once the run is saved; Ctrl-C again ends it at once");
            return;
        }
        run_dir::remove_unfinished();
        let _ = writeln!(stderr, "\nerror: interrupted; no results were written");
        std::process::exit(1);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::debug!("Ctrl-C cannot be caught here: {error}");
    }
}
