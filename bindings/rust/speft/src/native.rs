//! C structs, filled with their defaults.

/// A C options struct as its `_init` fills it.
macro_rules! defaults {
    ($init:ident) => {{
        let mut options = std::mem::MaybeUninit::zeroed();
        // SAFETY: `_init` writes a whole struct of the size that it is told, and zeros are valid in all of them.
        unsafe {
            speft_sys::$init(options.as_mut_ptr(), $crate::native::size_of_pointee(options.as_ptr()));
            options.assume_init()
        }
    }};
}

/// A zeroed C struct that tells its size, for a call to fill.
macro_rules! empty {
    ($type:ident) => {{
        // SAFETY: all of C's structs are numbers and pointers, for which zeros are valid.
        let mut made: speft_sys::$type = unsafe { std::mem::zeroed() };
        made.struct_size = size_of::<speft_sys::$type>() as u32;
        made
    }};
}

/// The size of what a pointer points to, as `struct_size` has it.
pub(crate) const fn size_of_pointee<T>(_: *const T) -> u32 {
    size_of::<T>() as u32
}

pub(crate) use {defaults, empty};
