//! A basis in which gradients are sparse: SparseGrad's.

use std::ptr::NonNull;
use std::sync::Arc;

use speft_sys as sys;

use crate::callback::{Report, Reporter};
use crate::context::{Context, Host};
use crate::error::{Error, Result, call, to_i64};
use crate::gradient::Gradient;
use crate::native::{defaults, empty};
use crate::tensor::{RawTensor, TensorView};

/// Where a basis stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BasisState {
    /// Gradients so far.
    pub observations: i64,
    /// What the last fit found; `None` before the first one, and after a gradient that is not in it yet.
    pub fit: Option<BasisFit>,
}

/// What a fit found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BasisFit {
    /// How many directions the gradients' columns span, kept or not; the other rows of V are arbitrary.
    pub row_directions: usize,
    /// How many directions the gradients' rows span, kept or not; the other rows of U are arbitrary.
    pub column_directions: usize,
    /// The share of Σ dW² that the rows of V hold: 1 where all are kept.
    pub row_share: f64,
    /// The share of Σ dW² that the rows of U hold: 1 where all are kept.
    pub column_share: f64,
}

/// How a [`Basis`] is made: for which matrices, and how much of it is kept.
#[derive(Clone, Debug)]
#[must_use]
pub struct BasisBuilder<'a> {
    context: &'a Context,
    rows: usize,
    columns: usize,
    row_directions: Option<usize>,
    column_directions: Option<usize>,
}

impl BasisBuilder<'_> {
    /// How many rows V has, the leading ones, at most as many as the matrices; without it, as many.
    pub fn row_directions(mut self, row_directions: usize) -> Self {
        self.row_directions = Some(row_directions);
        self
    }

    /// How many rows U has, the leading ones, at most as many as the matrices have columns; without it, as many.
    pub fn column_directions(mut self, column_directions: usize) -> Self {
        self.column_directions = Some(column_directions);
        self
    }

    /// Makes the basis, which keeps the context's device alive.
    ///
    /// # Errors
    /// `InvalidArgument` for a side of 0, no directions, or more than there are; `Unsupported` for sides above 2^30.
    pub fn build(self) -> Result<Basis> {
        let options = native_options(self.rows, self.columns, self.row_directions, self.column_directions)?;
        let context = self.context;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the context lives.
        let answer = call(|error| unsafe { sys::speft_create_basis(context.as_ptr(), &options, &mut handle, error) });
        let made = answer.map(|()| {
            let handle = NonNull::new(handle).expect("a basis was made");
            Basis { handle, host: Arc::clone(&context.host) }
        });
        context.host.panics.resume(); // and lets go of what was made
        made
    }
}

fn native_options(
    rows: usize,
    columns: usize,
    row_directions: Option<usize>,
    column_directions: Option<usize>,
) -> Result<sys::speft_basis_options> {
    let mut options: sys::speft_basis_options = defaults!(speft_basis_options_init);
    options.rows = to_i64("rows", rows)?;
    options.columns = to_i64("columns", columns)?;
    options.row_directions = directions("row_directions", row_directions)?;
    options.column_directions = directions("column_directions", column_directions)?;
    Ok(options)
}

/// A basis that a memory plan takes some parameters to share: see
/// [`AdapterBuilder::plan_memory_in_bases`](crate::AdapterBuilder::plan_memory_in_bases).
#[derive(Clone, Debug)]
#[must_use]
pub struct PlannedBasis {
    pub(crate) parameters: Vec<usize>,
    row_directions: Option<usize>,
    column_directions: Option<usize>,
}

impl PlannedBasis {
    /// One of the parameters at these positions, which have one shape; all directions.
    pub fn new(parameters: impl Into<Vec<usize>>) -> Self {
        Self { parameters: parameters.into(), row_directions: None, column_directions: None }
    }

    /// As [`BasisBuilder::row_directions`].
    pub fn row_directions(mut self, row_directions: usize) -> Self {
        self.row_directions = Some(row_directions);
        self
    }

    /// As [`BasisBuilder::column_directions`].
    pub fn column_directions(mut self, column_directions: usize) -> Self {
        self.column_directions = Some(column_directions);
        self
    }

    /// For matrices of this shape.
    pub(crate) fn native(&self, shape: &[usize]) -> Result<sys::speft_basis_options> {
        let &[rows, columns] = shape else {
            return Err(Error::refuse(format!("a basis is for matrices, and a parameter of one has shape {shape:?}")));
        };
        native_options(rows, columns, self.row_directions, self.column_directions)
    }
}

/// C takes 0 for all of them.
fn directions(argument: &str, directions: Option<usize>) -> Result<i64> {
    match directions {
        None => Ok(0),
        Some(0) => Err(Error::refuse(format!("{argument} must be at least 1; got 0"))),
        Some(directions) => to_i64(argument, directions),
    }
}

/// Orthogonal U and V in which the gradients dW of one kind of matrix are sparse: V dW Uᵀ (SparseGrad).
///
/// V's rows are the eigenvectors of Σ dW dWᵀ and U's those of Σ dWᵀ dW, over the gradients of several steps and layers.
/// The sums are kept, in float32, and no gradients: 4 bytes × (rows² + columns² + rows·columns).
/// [`Adapter::bind_basis`](crate::Adapter::bind_basis) trains in a basis.
///
/// ```
/// use speft::{Basis, Context, Gradient, TensorView};
///
/// let mut basis = Basis::new(&Context::new()?, 2, 3)?;
/// let gradients = [[0.0_f32, 2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, -1.0]];
/// for gradient in &gradients {
///     basis.observe(&Gradient::dense(TensorView::new(gradient, [2, 3])?))?;
/// }
/// basis.fit()?;
/// let (u, v) = basis.matrices()?;
/// assert_eq!(v.as_slice::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
/// assert_eq!(u.as_slice::<f32>()?[..6], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]); // the third row is what is left
/// assert_eq!(basis.state()?.fit.unwrap().column_directions, 2);
/// # speft::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Basis {
    handle: NonNull<sys::speft_basis>,
    host: Arc<Host>,
}

// SAFETY: the library takes calls from any thread.
unsafe impl Send for Basis {}

impl Basis {
    /// For matrices of `rows` × `columns`, as a host's weight has them; all directions are kept.
    ///
    /// # Errors
    /// As of [`BasisBuilder::build`].
    pub fn new(context: &Context, rows: usize, columns: usize) -> Result<Self> {
        Self::builder(context, rows, columns).build()
    }

    /// The same, for matrices whose whole basis would be too large.
    pub fn builder(context: &Context, rows: usize, columns: usize) -> BasisBuilder<'_> {
        BasisBuilder { context, rows, columns, row_directions: None, column_directions: None }
    }

    /// Adds the gradient of one of the matrices, dense or from activations. Its scale weighs it, by the square.
    ///
    /// # Errors
    /// `InvalidArgument` for another shape, for values at a mask, for a NaN or an infinity; nothing is added then.
    pub fn observe(&mut self, gradient: &Gradient<'_>) -> Result<()> {
        gradient.with_native(|gradient| {
            // SAFETY: the basis lives; the views borrow what they show.
            self.host.call(|error| unsafe { sys::speft_observe_basis(self.as_ptr(), gradient, error) })
        })
    }

    /// Finds U and V: as rows, eigenvalues falling, the largest |entry| of each row positive. More can be observed
    /// afterwards, and fitted again. After a failure they are as before.
    ///
    /// # Errors
    /// `InvalidState` when nothing was observed, or an adapter trains in it; `InvalidArgument` when all gradients were 0.
    pub fn fit(&mut self) -> Result<()> {
        self.fit_reporting(None)
    }

    /// The same, reporting how many of the two sides are done.
    ///
    /// # Errors
    /// As of [`fit`](Self::fit); `Cancelled`, by the report.
    pub fn fit_with(&mut self, progress: &mut Report<'_>) -> Result<()> {
        self.fit_reporting(Some(progress))
    }

    fn fit_reporting(&mut self, progress: Option<&mut Report<'_>>) -> Result<()> {
        Reporter::new(progress).with(|progress| {
            // SAFETY: the basis lives, and its matrices are lent to nobody.
            self.host.call(|error| unsafe { sys::speft_fit_basis(self.as_ptr(), progress, error) })
        })
    }

    /// U `[column_directions, columns]` and V `[row_directions, rows]`, float32 on the context's device, lent until the
    /// next gradient or fit.
    ///
    /// # Errors
    /// `InvalidState` when it is not fitted, or not since the last gradient.
    pub fn matrices(&self) -> Result<(TensorView<'_>, TensorView<'_>)> {
        // SAFETY: numbers and pointers, for which zeros are valid.
        let (mut u, mut v): (sys::speft_tensor, sys::speft_tensor) = unsafe { std::mem::zeroed() };
        // SAFETY: the basis lives, lends the matrices as long, and writes to them in a fit alone, which needs `&mut`.
        unsafe {
            self.host.call(|error| sys::speft_get_basis(self.as_ptr(), &mut u, &mut v, error))?;
            Ok((TensorView::from_raw(RawTensor::from_native(&u)?), TensorView::from_raw(RawTensor::from_native(&v)?)))
        }
    }

    /// Where it stands.
    ///
    /// # Errors
    /// `Busy`.
    pub fn state(&self) -> Result<BasisState> {
        let mut state = empty!(speft_basis_state);
        // SAFETY: the basis lives; the struct tells its size.
        self.host.call(|error| unsafe { sys::speft_get_basis_state(self.as_ptr(), &mut state, error) })?;
        let fit = BasisFit {
            row_directions: state.row_directions as usize,
            column_directions: state.column_directions as usize,
            row_share: state.row_share,
            column_share: state.column_share,
        };
        Ok(BasisState { observations: state.observations, fit: (state.fitted != 0).then_some(fit) })
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
