//! The tests of this crate, against the installed library.

mod binding;
mod callbacks;
mod context;
#[cfg(feature = "dlpack")]
mod dlpack;
mod files;
mod host;
mod life;
mod moving;
mod refusals;
mod selection;
mod threads;
mod unsupported;
