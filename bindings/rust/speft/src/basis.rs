//! A basis in which gradients are sparse (SparseGrad). `Unsupported` in this version.

use std::ptr::NonNull;
use std::sync::Arc;

use speft_sys as sys;

use crate::callback::{Report, Reporter};
use crate::context::{Context, Host};
use crate::error::{Result, call, to_i64};
use crate::gradient::Gradient;
use crate::native::defaults;
use crate::tensor::{RawTensor, TensorView};

/// Orthogonal U and V for the matrices of one kind, fitted to their gradients. `Unsupported` in this version, when made.
#[derive(Debug)]
pub struct Basis {
    handle: NonNull<sys::speft_basis>,
    host: Arc<Host>,
}

// SAFETY: the library takes calls from any thread.
unsafe impl Send for Basis {}

impl Basis {
    /// For matrices of `rows` × `columns`.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn new(context: &Context, rows: usize, columns: usize) -> Result<Self> {
        let mut options: sys::speft_basis_options = defaults!(speft_basis_options_init);
        options.rows = to_i64("rows", rows)?;
        options.columns = to_i64("columns", columns)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the context lives.
        let answer = call(|error| unsafe { sys::speft_create_basis(context.as_ptr(), &options, &mut handle, error) });
        let made = answer.map(|()| {
            let handle = NonNull::new(handle).expect("a basis was made");
            Self { handle, host: Arc::clone(&context.host) }
        });
        context.host.panics.resume(); // and lets go of what was made
        made
    }

    /// Adds the gradient of one of the matrices: dense, or from activations.
    ///
    /// # Errors
    /// `InvalidArgument` for another shape.
    pub fn observe(&mut self, gradient: &Gradient<'_>) -> Result<()> {
        gradient.with_native(|gradient| {
            // SAFETY: the basis lives; the views borrow what they show.
            self.host.call(|error| unsafe { sys::speft_observe_basis(self.as_ptr(), gradient, error) })
        })
    }

    /// Computes the eigenvectors: as rows, eigenvalues falling, the largest |entry| of each row positive.
    ///
    /// # Errors
    /// `InvalidState` when nothing was observed; `Cancelled`, by the report.
    pub fn fit(&mut self, progress: Option<&mut Report<'_>>) -> Result<()> {
        Reporter::new(progress).with(|progress| {
            // SAFETY: the basis lives.
            self.host.call(|error| unsafe { sys::speft_fit_basis(self.as_ptr(), progress, error) })
        })
    }

    /// U `[columns, columns]` and V `[rows, rows]`, float32, lent.
    ///
    /// # Errors
    /// `InvalidState` before [`fit`](Self::fit).
    pub fn matrices(&self) -> Result<(TensorView<'_>, TensorView<'_>)> {
        // SAFETY: numbers and pointers, for which zeros are valid.
        let (mut u, mut v): (sys::speft_tensor, sys::speft_tensor) = unsafe { std::mem::zeroed() };
        // SAFETY: the basis lives, and lends the matrices as long.
        unsafe {
            self.host.call(|error| sys::speft_get_basis(self.as_ptr(), &mut u, &mut v, error))?;
            Ok((TensorView::from_raw(RawTensor::from_native(&u)?), TensorView::from_raw(RawTensor::from_native(&v)?)))
        }
    }

    /// The C handle, which this basis goes on owning.
    pub fn as_ptr(&self) -> *mut sys::speft_basis {
        self.handle.as_ptr()
    }
}

impl Drop for Basis {
    fn drop(&mut self) {
        // SAFETY: it is destroyed once.
        unsafe { sys::speft_destroy_basis(self.as_ptr()) };
    }
}
