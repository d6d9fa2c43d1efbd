//! The tests of this crate, against the installed library.

mod basis;
mod binding;
mod callbacks;
mod context;
#[cfg(feature = "dlpack")]
mod dlpack;
mod files;
mod host;
mod life;
mod linear;
mod meprop;
mod moving;
mod quantization;
mod refusals;
mod selection;
mod sparsegrad;
mod threads;
mod unsupported;
