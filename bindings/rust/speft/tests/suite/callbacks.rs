//! What the library calls: it is used, its answers count, and its panics come out of the call.

use std::alloc::Layout as Block;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::host::*;
use speft::*;

/// The words of a panic that a call ends in.
#[track_caller]
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(call)) else { panic!("the panic did not come out") };
    payload.downcast_ref::<&str>().expect("a literal").to_string()
}

fn observed(context: &Context, layer: &Layer) -> Adapter {
    let mut adapter = builder(context, layer).budget(5).build().unwrap();
    adapter.observe("w", &layer.gradient()).unwrap();
    adapter.finish_observation(1.0).unwrap();
    adapter
}

#[test]
fn progress_reports_cancels_and_panics() {
    let context = cpu();
    let mut layer = Layer::new(80, [6, 4]);
    let mut adapter = observed(&context, &layer);
    let cancelled = layer.bound(&mut adapter).select_with(&mut |_| ControlFlow::Break(()));
    refused(cancelled, Status::Cancelled, "cancel");
    let words = panic_of(|| layer.bound(&mut adapter).select_with(&mut |_| panic!("from the report")));
    assert_eq!(words, "from the report");
    assert!(!adapter.state().unwrap().selected);

    let mut seen = Vec::new();
    let mut listen = |progress: Progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    layer.bound(&mut adapter).select_with(&mut listen).unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|progress| 0 <= progress.done && progress.done <= progress.total));
}

#[test]
fn scores_can_end_a_selection_and_panic() {
    let context = cpu();
    let mut layer = Layer::new(81, [6, 4]);
    let original = layer.weights.clone();
    let calls = Arc::new(AtomicUsize::new(0));
    let made = builder(&context, &layer).budget(5).score_function({
        let calls = Arc::clone(&calls);
        move |mut scoring| {
            assert!(scoring.gradient.is_none());
            match calls.fetch_add(1, SeqCst) {
                0 => panic!("from the score"),
                1 => return ControlFlow::Break(()),
                _ => scoring.scores.as_mut_slice::<f32>().unwrap().fill(1.0),
            }
            ControlFlow::Continue(())
        }
    });
    let mut adapter = made.build().unwrap();
    assert_eq!(panic_of(|| layer.bound(&mut adapter).select()), "from the score");
    refused(layer.bound(&mut adapter).select(), Status::Cancelled, "score");
    assert!(!adapter.state().unwrap().selected);
    assert_eq!(bits(&layer.weights), bits(&original));
    layer.bound(&mut adapter).select().unwrap();
    assert_eq!(adapter.mask("w").unwrap(), [0, 1, 2, 3, 4]); // of equals the first
    assert_eq!(Arc::strong_count(&calls), 2);
    drop(adapter);
    assert_eq!(Arc::strong_count(&calls), 1); // what it captured is released with the adapter
}

#[test]
fn the_log_hears_what_it_asked_for() {
    let lines = |level| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let context = Context::builder().backend("cpu").logger(level, {
            let heard = Arc::clone(&heard);
            move |level, line| heard.lock().unwrap().push((level, line.to_owned()))
        });
        let context = context.build().unwrap();
        let mut layer = Layer::new(82, [6, 4]);
        let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
        drop(context); // the adapter keeps the log
        train(&mut adapter, &mut layer, 1);
        drop(adapter);
        Arc::into_inner(heard).expect("the closure is released with the last of them").into_inner().unwrap()
    };
    let info = lines(Level::Info);
    assert!(info.iter().any(|(level, line)| *level == Level::Info && line.contains("cpu")));
    assert!(info.iter().all(|(_, line)| !line.is_empty() && !line.contains('\n')));
    assert!(lines(Level::Warning).is_empty());
}

#[test]
fn a_panic_of_the_log_comes_out_of_the_call_that_wrote() {
    let kept = Arc::new(());
    let made = Context::builder().backend("cpu").logger(Level::Debug, {
        let kept = Arc::clone(&kept);
        move |_, _| {
            assert_eq!(Arc::strong_count(&kept), 0, "from the log");
        }
    });
    let payload = catch_unwind(AssertUnwindSafe(|| made.build())).unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("from the log"));
    assert_eq!(Arc::strong_count(&kept), 1); // the context that was made is released
}

/// Memory of its own, counted; none while it is empty, and a panic when it says so.
#[derive(Default)]
struct Pool {
    blocks: Mutex<HashMap<usize, Block>>,
    given: AtomicUsize,
    empty: AtomicBool,
    broken: AtomicBool,
}

struct Handle(Arc<Pool>);

// SAFETY: blocks of the global allocator, of the size and alignment that was asked for.
unsafe impl Allocator for Handle {
    fn allocate(&self, bytes: u64, alignment: u64, stream: *mut c_void) -> *mut c_void {
        assert!(!self.0.broken.load(SeqCst), "from the pool");
        assert!(stream.is_null());
        if self.0.empty.load(SeqCst) {
            return std::ptr::null_mut();
        }
        let block = Block::from_size_align(bytes.max(1) as usize, alignment as usize).unwrap();
        // SAFETY: its size is not 0.
        let memory = unsafe { std::alloc::alloc(block) };
        self.0.given.fetch_add(1, SeqCst);
        self.0.blocks.lock().unwrap().insert(memory as usize, block);
        memory.cast()
    }

    unsafe fn deallocate(&self, memory: *mut c_void, bytes: u64, _: *mut c_void) {
        let block = self.0.blocks.lock().unwrap().remove(&(memory as usize)).expect("a block of this pool");
        assert_eq!(block.size() as u64, bytes.max(1));
        // SAFETY: it was allocated so.
        unsafe { std::alloc::dealloc(memory.cast(), block) };
    }
}

#[test]
fn memory_comes_from_the_hosts_allocator() {
    let pool = Arc::new(Pool::default());
    let context = Context::builder().backend("cpu").allocator(Handle(Arc::clone(&pool))).build().unwrap();
    let mut layer = Layer::new(84, [6, 4]);
    let mut adapter = observed(&context, &layer);

    pool.empty.store(true, SeqCst);
    refused(layer.bound(&mut adapter).select(), Status::OutOfMemory, "allocate");
    pool.empty.store(false, SeqCst);
    pool.broken.store(true, SeqCst);
    assert_eq!(panic_of(|| layer.bound(&mut adapter).select()), "from the pool");
    pool.broken.store(false, SeqCst);
    layer.bound(&mut adapter).select().unwrap();
    assert!(pool.given.load(SeqCst) > 0);

    drop(context); // the adapter keeps the allocator
    step(&mut adapter, &mut layer);
    drop(adapter);
    assert!(pool.blocks.lock().unwrap().is_empty());
    assert_eq!(Arc::strong_count(&pool), 1);
}

/// The mask and deltas of a layer that is large enough to be shared out, on the host's loop.
fn train_on(parallel_for: impl Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync + 'static) -> (Vec<i64>, Vec<u32>) {
    let context = Context::builder().backend("cpu").parallel_for(2, parallel_for).build().unwrap();
    let mut layer = Layer::new(85, [512, 512]);
    let mut adapter = builder(&context, &layer).density(0.25).build().unwrap();
    train(&mut adapter, &mut layer, 1);
    (adapter.mask("w").unwrap(), bits(adapter.deltas("w").unwrap().as_slice().unwrap()))
}

#[test]
fn work_runs_on_the_hosts_loop_whatever_it_leaves_out() {
    let runs = Arc::new(AtomicUsize::new(0));
    let expected = train_on({
        let runs = Arc::clone(&runs);
        move |count, body| {
            runs.fetch_add(count, SeqCst);
            (0..count).for_each(body);
        }
    });
    assert!(runs.load(SeqCst) > 1);
    let threaded = train_on(|count, body| {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..count / 2).for_each(body));
            (count / 2..count).rev().for_each(body);
        });
    });
    assert_eq!(threaded, expected);
    assert_eq!(train_on(|_, _| {}), expected); // lazy
    assert_eq!(train_on(|count, body| (0..2 * count).for_each(|index| body(index / 2))), expected); // overeager
}

#[test]
fn a_panic_of_the_loop_comes_out_when_the_work_is_done() {
    let armed = Arc::new(AtomicBool::new(false));
    let context = Context::builder().backend("cpu").parallel_for(2, {
        let armed = Arc::clone(&armed);
        move |count, body| {
            assert!(!armed.load(SeqCst), "from the loop");
            (0..count).for_each(body);
        }
    });
    let context = context.build().unwrap();
    let mut layer = Layer::new(86, [512, 512]);
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).density(0.25).build().unwrap();
    armed.store(true, SeqCst);
    assert_eq!(panic_of(|| layer.bound(&mut adapter).select()), "from the loop");
    assert_eq!(adapter.mask("w").unwrap(), largest(1 << 16, |index| layer.weights[index].abs(), 1 << 18));

    let outside = Context::builder().backend("cpu").parallel_for(2, |count, body| body(count)).build().unwrap();
    let mut adapter = builder(&outside, &layer).selection(Selection::Random).density(0.25).build().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| layer.bound(&mut adapter).select())).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("parallel_for: the index must be below"));
}
