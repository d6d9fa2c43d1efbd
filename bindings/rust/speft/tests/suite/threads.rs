//! One call at a time in a context, from any thread; contexts side by side.

use std::ops::ControlFlow;

use crate::host::*;
use speft::*;

/// What a training run ends with.
fn run(seed: u64) -> (Vec<i64>, Vec<u32>) {
    let context = cpu();
    let mut layer = Layer::new(seed, [64, 48]);
    let mut adapter = builder(&context, &layer).selection(Selection::Snip).density(0.1).build().unwrap();
    train(&mut adapter, &mut layer, 20);
    (adapter.mask("w").unwrap(), bits(&layer.weights))
}

#[test]
fn contexts_in_two_threads_give_what_they_give_alone() {
    let alone = [run(120), run(121)];
    let threads = [120, 121].map(|seed| std::thread::spawn(move || run(seed)));
    assert_eq!(threads.map(|thread| thread.join().unwrap()), alone);
}

/// An address that may cross threads: what `Adapter: !Sync` forbids, C allows.
struct Shared(*mut sys::speft_adapter);
// SAFETY: the library takes calls from any thread, and tells those that meet another.
unsafe impl Send for Shared {}

#[test]
fn a_call_that_meets_another_is_busy() {
    let context = cpu();
    let (mut layer, mut other) = (Layer::new(122, [6, 4]), Layer::new(123, [6, 4]));
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut second = Some(builder(&context, &other).selection(Selection::Magnitude).budget(5).build().unwrap());
    let mut context = Some(context);
    let handle = adapter.as_ptr();
    let mut met = 0;
    // The report holds the first call open until the others have come back.
    let mut meet = |_: Progress| {
        met += 1;
        let (mut sibling, home, shared) = (second.take().unwrap(), context.take().unwrap(), Shared(handle));
        let thread = std::thread::spawn(move || {
            let shared = shared; // as a whole
            refused(sibling.state(), Status::Busy, "");
            refused(sibling.select(), Status::Busy, "");
            refused(home.synchronize(), Status::Busy, "");
            // SAFETY: the adapter lives as long as the call that this thread is in.
            let status = unsafe { sys::speft_unmerge(shared.0, std::ptr::null_mut()) };
            assert_eq!(Status::from_code(status), Status::Busy);
            (sibling, home)
        });
        let (sibling, home) = thread.join().unwrap();
        (second, context) = (Some(sibling), Some(home));
        ControlFlow::Continue(())
    };
    layer.bound(&mut adapter).select_with(&mut meet).unwrap();
    assert!(met > 0);
    assert!(adapter.state().unwrap().selected);
    other.bound(&mut second.unwrap()).select().unwrap(); // nothing was done to the others
}

#[test]
fn a_loan_that_could_not_end_is_ended_by_the_next_call() {
    let context = cpu();
    let (mut layer, mut other) = (Layer::new(124, [6, 4]), Layer::new(125, [6, 4]));
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut second = builder(&context, &other).selection(Selection::Magnitude).budget(5).build().unwrap();
    {
        let mut bound = Some(other.bound(&mut second));
        let mut end = |_: Progress| {
            drop(bound.take()); // its unbinding meets the selection
            ControlFlow::Continue(())
        };
        layer.bound(&mut adapter).select_with(&mut end).unwrap();
    }
    let freed = std::mem::take(&mut other.weights);
    drop(freed);
    refused(second.select(), Status::InvalidState, "bound");
}

#[test]
fn calls_from_callbacks_are_busy() {
    let context = cpu();
    let mut layer = Layer::new(126, [6, 4]);
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut busy = Vec::new();
    layer
        .bound(&mut adapter)
        .select_with(&mut |_| {
            busy.push(context.synchronize().unwrap_err().status());
            let made = Adapter::builder(&context).parameter(Parameter::sparse("v", [2], DataType::Float32)).budget(1);
            busy.push(made.build().unwrap_err().status());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(!busy.is_empty() && busy.iter().all(|&status| status == Status::Busy));
}

#[test]
fn adapters_are_dropped_while_a_sibling_is_in_a_call() {
    let context = cpu();
    let mut layer = Layer::new(127, [6, 4]);
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut others: Vec<_> = (0..4).map(|_| builder(&context, &layer).budget(1).build().unwrap()).collect();
    let mut context = Some(context);
    layer
        .bound(&mut adapter)
        .select_with(&mut |_| {
            let (gone, home) = (others.pop(), context.take());
            std::thread::spawn(move || drop((gone, home))).join().unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
    step(&mut adapter, &mut layer);
}
