//! Panics of the tensor library, which reports most of what goes wrong on a device by one, as errors.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::Once;

/// A panic that was caught.
#[derive(Clone, Debug)]
pub struct Panic {
    /// What it says.
    pub message: String,
    /// Source file and line.
    pub place: String,
}

/// The first panic since somebody began to catch; those that follow from it say less.
static FIRST: Mutex<Option<Panic>> = Mutex::new(None);

thread_local! {
    /// How many calls of [`catching`] surround this code.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What `work` returns, or the first panic in it or in a thread that it waits for. Nothing is printed, unless
/// `YOLO_LOG=debug` asks for it.
///
/// # Errors
/// The panic.
pub fn catching<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    remember_panics();
    let is_outermost = DEPTH.get() == 0;
    if is_outermost {
        take_first();
    }
    DEPTH.set(DEPTH.get() + 1);
    // What the work has changed is not looked at after a panic.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    outcome.map_err(|payload| take_first().unwrap_or_else(|| Panic::of(payload.as_ref(), String::new())))
}

impl Panic {
    fn of(payload: &(dyn std::any::Any + Send), place: String) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { message: text.unwrap_or_else(|| "it did not say why".to_owned()), place }
    }
}

fn take_first() -> Option<Panic> {
    FIRST.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}

/// Has panics kept instead of printed, once and for all.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let panic = Panic::of(info.payload(), place);
            let mut first = FIRST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            first.get_or_insert(panic);
            drop(first);
            if tracing::enabled!(tracing::Level::DEBUG) || cfg!(test) {
                usual(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// One test, since panics of tests that run beside it would be taken for its own.
    #[test]
    fn panics_are_caught_and_the_first_one_counts() {
        assert_eq!(catching(|| 3).unwrap(), 3);
        let panic = catching(|| -> i32 { panic!("on purpose: {}", 7) }).unwrap_err();
        assert_eq!(panic.message, "on purpose: 7");
        assert!(panic.place.contains("panics.rs"), "{}", panic.place);
        let panic = catching(|| {
            let other = std::thread::spawn(|| panic!("the cause"));
            assert!(other.join().is_ok(), "the consequence");
        })
        .unwrap_err();
        assert_eq!(panic.message, "the cause");
        let nested = catching(|| catching(|| panic!("inside")).unwrap_err().message).unwrap();
        assert_eq!(nested, "inside");
    }
}
