#![doc = include_str!("../README.md")]
#![no_std]

/// All that `speft/speft.h` declares.
// C's names and comments, as they are; what has none is explained beside it.
#[allow(missing_docs, non_camel_case_types, rustdoc::all, clippy::all)]
mod bindings;

pub use bindings::*;
