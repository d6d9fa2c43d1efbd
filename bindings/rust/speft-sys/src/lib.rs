#![doc = include_str!("../README.md")]
#![no_std]

/// All that `speft/speft.h` declares: C's names and comments, as they are.
#[allow(missing_docs, non_camel_case_types, rustdoc::all, clippy::all)]
#[rustfmt::skip] // as bindgen writes it
mod bindings;

pub use bindings::*;
