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

pub use adapter::{Adapter, AdapterState, Moved, Reselection, Which};
pub use basis::Basis;
pub use binding::Bound;
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
