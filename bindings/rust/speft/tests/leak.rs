//! 10,000 adapters, made, used and dropped, leave nothing behind. Alone in its process, as it measures all of it.

use speft::*;

const SHAPE: [usize; 2] = [32, 32];

fn live(context: &Context, weights: &mut [f32], slopes: &[f32]) {
    let mut adapter = Adapter::builder(context)
        .parameter(Parameter::sparse("w", SHAPE, DataType::Float32))
        .density(0.5)
        .score_function(|mut scoring| {
            scoring.scores.as_mut_slice::<f32>().unwrap().fill(1.0);
            std::ops::ControlFlow::Continue(())
        })
        .build()
        .unwrap();
    let gradient = Gradient::dense(TensorView::new(slopes, SHAPE).unwrap());
    adapter.observe("w", &gradient).unwrap();
    adapter.finish_observation(1.0).unwrap();
    let mut bound = adapter.bind([TensorViewMut::new(weights, SHAPE).unwrap()]).unwrap();
    bound.select().unwrap();
    bound.accumulate("w", &gradient).unwrap();
    bound.step(Hyperparameters::new()).unwrap();
    bound.unmerge().unwrap();
    assert!(bound.accumulate("v", &gradient).is_err()); // errors are released as well
    assert!(bound.set_mask("w", &[0]).is_err());
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn ten_thousand_adapters_leave_nothing_behind() {
    let context = Context::builder().backend("cpu").threads(1).build().unwrap();
    let (mut weights, slopes) = (vec![0.25_f32; 1024], vec![0.5_f32; 1024]);
    for _ in 0..1_000 {
        live(&context, &mut weights, &slopes);
    }
    let early = resident();
    for _ in 1_000..10_000 {
        live(&context, &mut weights, &slopes);
    }
    let grown = resident().saturating_sub(early);
    // The smallest block that malloc gives has 32 bytes: one of them left by each of the 9,000 is more than this.
    assert!(grown < 9_000 * 32, "grown by {grown} bytes");
}
