//! A run allocates nothing. This needs a global allocator that counts, which would count what other tests in the same
//! process allocate, so it is a binary with this one test.
#![allow(unsafe_code, reason = "a global allocator that counts")]
#![allow(clippy::unwrap_used)]

#[path = "runtime/moves.rs"]
mod moves;
#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "runtime/reference.rs"]
mod reference;

use reference::{Random, Zeros, conv};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use yolo_runtime::{Network, Op, Options, Output, Plan};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn runs_allocate_nothing() {
    let mut random = Random::new(1);
    let ops = vec![
        Op::Conv(conv("a", 0, [3, 8], [3, 3], &mut random, Zeros::None)),
        Op::Conv(conv("b", 1, [8, 8], [3, 3], &mut random, Zeros::Share(0.7))),
        Op::MaxPool { input: 2, size: 5 },
        Op::Concat { inputs: vec![2, 3] },
        Op::Conv(conv("c", 4, [16, 8], [1, 1], &mut random, Zeros::Share(0.7))),
    ];
    let network = Network { batch: 1, input: [3, 32, 48], ops, output: Output::Maps(vec![5]) };
    let plan = Plan::new(network, &Options { threads: 2, ..Options::default() }).unwrap();
    let image = random.numbers(plan.input_len());
    let mut output = vec![0.0; plan.output_len()];
    plan.run(&image, &mut output).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..10 {
        plan.run(&image, &mut output).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
}
