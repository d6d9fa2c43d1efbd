//! Scores of the host's own.

use std::ffi::c_void;
use std::ops::ControlFlow;
use std::sync::Arc;

use speft_sys as sys;

use crate::callback::Pinned;
use crate::context::Host;
use crate::error::Result;
use crate::tensor::{RawTensor, TensorView, TensorViewMut};

/// What a score function gets: one sparse parameter, to be scored.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scoring<'a> {
    /// The parameter's position.
    pub parameter: usize,
    /// The bound weights.
    pub weights: TensorView<'a>,
    /// The float32 mean of what was observed, if anything was.
    pub gradient: Option<TensorView<'a>>,
    /// float32, of the same shape, to be filled. The largest are selected.
    pub scores: TensorViewMut<'a>,
}

/// Scores of the host's own; `ControlFlow::Break(())` ends the selection with `Cancelled`.
pub type ScoreFunction = Box<dyn FnMut(Scoring<'_>) -> ControlFlow<()> + Send>;

/// A [`ScoreFunction`] as C calls it, for the life of an adapter.
pub(crate) struct Scorer {
    function: ScoreFunction,
    host: Arc<Host>,
}

impl Scorer {
    /// What the adapter keeps, and C's struct that points to it.
    pub fn pin(function: ScoreFunction, host: &Arc<Host>) -> (Pinned<Self>, sys::speft_score_function) {
        let pinned = Pinned::new(Self { function, host: Arc::clone(host) });
        let native = sys::speft_score_function {
            struct_size: size_of::<sys::speft_score_function>() as u32,
            reserved: 0,
            compute: Some(compute),
            user: pinned.user(),
        };
        (pinned, native)
    }
}

/// C's views of one call.
struct Views {
    weights: *const sys::speft_tensor,
    gradient: *const sys::speft_tensor,
    scores: *const sys::speft_tensor,
}

impl Views {
    /// # Safety
    /// They are those of a call that runs.
    unsafe fn scoring(&self, parameter: i64) -> Result<Scoring<'_>> {
        // SAFETY: the caller's promise: the library lends them for the call, and `scores` to nobody else.
        unsafe {
            Ok(Scoring {
                parameter: parameter as usize,
                weights: TensorView::from_raw(RawTensor::from_native(&*self.weights)?),
                gradient: match self.gradient.as_ref() {
                    Some(gradient) => Some(TensorView::from_raw(RawTensor::from_native(gradient)?)),
                    None => None,
                },
                scores: TensorViewMut::from_raw(RawTensor::from_native(&*self.scores)?),
            })
        }
    }
}

unsafe extern "C" fn compute(
    user: *mut c_void,
    parameter: i64,
    weights: *const sys::speft_tensor,
    gradient: *const sys::speft_tensor,
    scores: *const sys::speft_tensor,
) -> i32 {
    // SAFETY: `user` is the Scorer of an adapter that lives, which is in one call at a time.
    let scorer = unsafe { &mut *user.cast::<Scorer>() };
    let views = Views { weights, gradient, scores };
    let function = &mut scorer.function;
    // SAFETY: this is the call.
    let answer =
        scorer.host.panics.catch(|| function(unsafe { views.scoring(parameter) }.expect("the library's types")));
    match answer {
        Some(ControlFlow::Continue(())) => 0,
        Some(ControlFlow::Break(())) | None => 1,
    }
}
