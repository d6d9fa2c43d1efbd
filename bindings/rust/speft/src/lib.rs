#![doc = include_str!("../README.md")]

mod adapter;
mod basis;
mod binding;
mod builder;
mod callback;
mod communicator;
mod context;
#[cfg(feature = "dlpack")]
pub mod dlpack;
mod error;
mod gradient;
mod linear;
mod names;
mod native;
mod optimizer;
mod options;
mod parameter;
mod quantization;
mod score;
mod storage;
mod tensor;

pub use adapter::{Adapter, AdapterState, Moved, Requantization, Reselection, Which};
pub use basis::{Basis, BasisBuilder, BasisFit, BasisState, PlannedBasis};
pub use binding::{Bound, WeightsMut};
pub use builder::{AdapterBuilder, MemoryPlan, Schedule};
pub use callback::{Progress, Report};
pub use communicator::Communicator;
pub use context::{Allocator, Backend, Context, ContextBuilder, backends, operations};
pub use error::{Error, Result, Status};
pub use gradient::Gradient;
pub use half;
pub use linear::LinearOptions;
pub use optimizer::{Hyperparameters, OptimizerOptions, StepOptions};
pub use options::{
    Age, Decay, DeltaType, DropBy, Format, Layout, Level, Mean, Optimizer, Quantization, Random, Rate, Role, Scope,
    Selection, State,
};
pub use parameter::{Parameter, Part};
pub use quantization::{Quantized, QuantizedMut};
pub use score::{ScoreFunction, Scoring};
pub use speft_sys as sys;
pub use storage::{LoadOptions, SaveOptions, Source, Target};
pub use tensor::{DataType, Device, Element, RawTensor, TensorView, TensorViewMut};

/// The release of the library that is linked, `"0.1.0"` say.
pub fn version() -> &'static str {
    // SAFETY: it takes nothing; the string is static.
    unsafe { error::static_text(sys::speft_version()) }.unwrap_or_default()
}

/// The binary interface of the library that is linked. A [`Context`] is refused where it is not the one that this crate
/// was written for.
pub fn abi_version() -> u32 {
    // SAFETY: it takes nothing.
    unsafe { sys::speft_abi_version() }
}

/// What the compiler has to refuse: a handle that two threads share, a handle that was let go of, lent deltas or
/// matrices after a call that may move or write them.
///
/// ```compile_fail
/// fn share<T: Sync>() {}
/// share::<speft::Context>();
/// ```
///
/// ```compile_fail
/// fn share<T: Sync>() {}
/// share::<speft::Adapter>();
/// ```
///
/// ```compile_fail
/// fn share<T: Sync>() {}
/// share::<speft::Basis>();
/// ```
///
/// ```compile_fail
/// # fn refused(adapter: speft::Adapter) {
/// drop(adapter);
/// adapter.state();
/// # }
/// ```
///
/// ```compile_fail
/// # fn refused(mut adapter: speft::Adapter) -> speft::Result<()> {
/// let deltas = adapter.deltas("w")?;
/// adapter.reselect()?;
/// deltas.len();
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// # fn refused(mut adapter: speft::Adapter) -> speft::Result<()> {
/// let deltas = adapter.deltas("w")?;
/// adapter.attach()?;
/// deltas.len();
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// # fn refused(mut basis: speft::Basis) -> speft::Result<()> {
/// let (u, v) = basis.matrices()?;
/// basis.fit()?;
/// (u.len(), v.len());
/// # Ok(())
/// # }
/// ```
///
/// ```
/// # fn fitted(mut basis: speft::Basis) -> speft::Result<()> {
/// let (u, v) = basis.matrices()?;
/// (u.len(), v.len());
/// basis.fit()?;
/// # Ok(())
/// # }
/// # fn accepted(mut adapter: speft::Adapter) -> speft::Result<()> {
/// adapter.deltas("w")?.len();
/// adapter.reselect()?;
/// adapter.attach()?;
/// # Ok(())
/// # }
/// fn send<T: Send>() {}
/// send::<speft::Context>();
/// send::<speft::Adapter>();
/// send::<speft::Bound>();
/// send::<speft::Basis>();
/// ```
#[cfg(doctest)]
struct Refused;
