//! Tensors of other frameworks, in and out, by [DLPack](https://dmlc.github.io/dlpack/latest/): without a copy.
//!
//! ```
//! use speft::dlpack::{Exported, Imported};
//!
//! let exported = Exported::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
//! let pointer = exported.into_raw(); // what a framework's `from_dlpack` takes, and its `to_dlpack` gives
//! // SAFETY: the pointer is used once.
//! let imported = unsafe { Imported::from_raw(pointer) }?;
//! assert_eq!(imported.view().as_slice::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
//! # speft::Result::Ok(())
//! ```

use std::any::Any;
use std::ffi::c_void;
use std::ptr::NonNull;

use speft_sys as sys;

use crate::error::{Error, Result};
use crate::tensor::{Element, RawTensor, TensorView, TensorViewMut};

/// DLPack's plain tensor; the library's own has the same layout.
pub type DLTensor = sys::speft_tensor;

/// The version of DLPack that a producer speaks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DLPackVersion {
    /// Another number is another layout.
    pub major: u32,
    /// What was added since.
    pub minor: u32,
}

/// A tensor that knows how it is released: DLPack 1.
#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensorVersioned {
    /// Of the producer.
    pub version: DLPackVersion,
    /// The producer's.
    pub manager_ctx: *mut c_void,
    /// Releases all of it.
    pub deleter: Option<unsafe extern "C" fn(*mut DLManagedTensorVersioned)>,
    /// [`READ_ONLY`], [`IS_COPIED`].
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DLTensor,
}

/// The same before DLPack 1: it cannot say that it is read-only.
#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensor {
    /// The tensor.
    pub dl_tensor: DLTensor,
    /// The producer's.
    pub manager_ctx: *mut c_void,
    /// Releases all of it.
    pub deleter: Option<unsafe extern "C" fn(*mut DLManagedTensor)>,
}

/// A flag: it must not be written.
pub const READ_ONLY: u64 = 1;
/// A flag: it is the producer's copy of something.
pub const IS_COPIED: u64 = 2;

/// The version that is spoken here.
pub const VERSION: DLPackVersion = DLPackVersion { major: 1, minor: 0 };

/// A tensor of another framework; dropping it gives it back.
#[derive(Debug)]
pub struct Imported {
    owned: Owned,
    tensor: RawTensor,
    read_only: bool,
}

#[derive(Debug)]
enum Owned {
    Versioned(NonNull<DLManagedTensorVersioned>),
    Unversioned(NonNull<DLManagedTensor>),
}

impl Imported {
    /// Takes a tensor over. On failure it stays the caller's.
    ///
    /// # Safety
    /// `managed` is NULL, or a tensor as DLPack defines it, which nobody else releases; its memory lives until then,
    /// and is written by nobody while views of it are there.
    ///
    /// # Errors
    /// `InvalidArgument` for NULL, for another major version, and for a type that this crate does not know.
    pub unsafe fn from_raw(managed: *mut DLManagedTensorVersioned) -> Result<Self> {
        let managed = NonNull::new(managed).ok_or_else(null)?;
        // SAFETY: the caller's promise; only the version may be read before it is known.
        let version = unsafe { (*managed.as_ptr()).version };
        if version.major != VERSION.major {
            return Err(Error::refuse(format!(
                "the DLPack tensor must be of version {}; got {}.{}",
                VERSION.major, version.major, version.minor
            )));
        }
        // SAFETY: the caller's promise.
        let (tensor, flags) = unsafe { (read(&(*managed.as_ptr()).dl_tensor)?, (*managed.as_ptr()).flags) };
        Ok(Self { owned: Owned::Versioned(managed), tensor, read_only: flags & READ_ONLY != 0 })
    }

    /// The same for a tensor from before DLPack 1; the caller says whether it may be written.
    ///
    /// # Safety
    /// As of [`from_raw`](Self::from_raw).
    ///
    /// # Errors
    /// As of [`from_raw`](Self::from_raw).
    pub unsafe fn from_unversioned(managed: *mut DLManagedTensor, read_only: bool) -> Result<Self> {
        let managed = NonNull::new(managed).ok_or_else(null)?;
        // SAFETY: the caller's promise.
        let tensor = unsafe { read(&(*managed.as_ptr()).dl_tensor) }?;
        Ok(Self { owned: Owned::Unversioned(managed), tensor, read_only })
    }

    /// To be read.
    pub fn view(&self) -> TensorView<'_> {
        // SAFETY: it lives as long as `self`.
        unsafe { TensorView::from_raw(self.tensor.clone()) }
    }

    /// To be read and written.
    ///
    /// # Errors
    /// `InvalidArgument` when it is read-only.
    pub fn view_mut(&mut self) -> Result<TensorViewMut<'_>> {
        if self.read_only {
            return Err(Error::refuse("the DLPack tensor must be writable; it is read-only"));
        }
        // SAFETY: it lives as long as `self`, which is borrowed exclusively.
        Ok(unsafe { TensorViewMut::from_raw(self.tensor.clone()) })
    }

    /// Its address, for [`Adapter::bind_raw`](crate::Adapter::bind_raw).
    pub fn as_raw(&self) -> &RawTensor {
        &self.tensor
    }

    /// Whether it must not be written.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: it was taken over, and is released once.
        unsafe {
            match self.owned {
                Owned::Versioned(managed) => {
                    if let Some(deleter) = (*managed.as_ptr()).deleter {
                        deleter(managed.as_ptr());
                    }
                }
                Owned::Unversioned(managed) => {
                    if let Some(deleter) = (*managed.as_ptr()).deleter {
                        deleter(managed.as_ptr());
                    }
                }
            }
        }
    }
}

fn null() -> Error {
    Error::refuse("the DLPack tensor must not be NULL")
}

/// # Safety
/// A tensor as DLPack defines it.
unsafe fn read(tensor: &DLTensor) -> Result<RawTensor> {
    if tensor.ndim < 0 {
        return Err(Error::refuse(format!("the DLPack tensor must have 0 axes or more; got {}", tensor.ndim)));
    }
    // SAFETY: the caller's promise.
    unsafe { RawTensor::from_native(tensor) }
}

/// A tensor for another framework, which releases it when it has done with it.
#[derive(Debug)]
pub struct Exported(NonNull<DLManagedTensorVersioned>);

/// What an exported tensor consists of.
struct Owner {
    managed: DLManagedTensorVersioned,
    tensor: RawTensor,
    _memory: Option<Box<dyn Any + Send>>,
}

impl Exported {
    /// Gives values away, row-major, of this shape.
    ///
    /// # Errors
    /// `InvalidArgument` when the shape has not as many elements as there are values.
    pub fn from_vec<T: Element>(mut values: Vec<T>, shape: impl AsRef<[usize]>) -> Result<Self> {
        // A vector's values stay where they are when the vector moves.
        let tensor = TensorViewMut::new(&mut values, shape)?.as_raw().clone();
        Ok(Self::new(tensor, 0, Some(Box::new(values))))
    }

    /// Lends memory, read-only: an adapter's deltas, say.
    ///
    /// # Safety
    /// The consumer has released it before the view's lifetime ends.
    pub unsafe fn lend(view: &TensorView<'_>) -> Self {
        Self::new(view.as_raw().clone(), READ_ONLY, None)
    }

    /// Lends memory to be written: an adapter's gradient, say.
    ///
    /// # Safety
    /// The consumer has released it before the view's lifetime ends, and nobody else reads or writes it until then.
    pub unsafe fn lend_mut(view: &mut TensorViewMut<'_>) -> Self {
        Self::new(view.as_raw().clone(), 0, None)
    }

    /// What a consumer takes over: it calls the deleter.
    pub fn into_raw(self) -> *mut DLManagedTensorVersioned {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    fn new(tensor: RawTensor, flags: u64, memory: Option<Box<dyn Any + Send>>) -> Self {
        let managed = DLManagedTensorVersioned {
            version: VERSION,
            manager_ctx: std::ptr::null_mut(),
            deleter: Some(release),
            flags,
            // SAFETY: numbers and pointers, for which zeros are valid.
            dl_tensor: unsafe { std::mem::zeroed() },
        };
        let owner = Box::into_raw(Box::new(Owner { managed, tensor, _memory: memory }));
        // SAFETY: the owner was just made, and its shape stays where it is.
        unsafe {
            (*owner).managed.manager_ctx = owner.cast();
            (*owner).managed.dl_tensor = *(*owner).tensor.native().as_ptr();
            Self(NonNull::new_unchecked(&raw mut (*owner).managed))
        }
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: nobody has taken it over.
        unsafe { release(self.0.as_ptr()) };
    }
}

unsafe extern "C" fn release(managed: *mut DLManagedTensorVersioned) {
    // SAFETY: it is one of `Exported::new`'s, released once.
    drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Owner>()) });
}
