//! A loan of the host's weights.

use std::ops::{Deref, DerefMut};

use speft_sys as sys;

use crate::adapter::{Adapter, Reselection, Which};
use crate::callback::Report;
use crate::error::{Error, Result};
use crate::linear::LinearOptions;
use crate::optimizer::StepOptions;
use crate::quantization::{Quantized, QuantizedMut};
use crate::tensor::{Element, TensorView, TensorViewMut};

/// The weights of one parameter, lent: dense ones are trained in place, quantized ones beside them.
#[derive(Debug)]
#[non_exhaustive]
pub enum WeightsMut<'a> {
    /// Of the parameter's shape and type.
    Dense(TensorViewMut<'a>),
    /// As many scalars as the parameter has.
    Quantized(Box<QuantizedMut<'a>>),
}

impl<'a> From<TensorViewMut<'a>> for WeightsMut<'a> {
    fn from(weights: TensorViewMut<'a>) -> Self {
        Self::Dense(weights)
    }
}

impl<'a> From<QuantizedMut<'a>> for WeightsMut<'a> {
    fn from(weights: QuantizedMut<'a>) -> Self {
        Self::Quantized(Box::new(weights))
    }
}

/// An [`Adapter`] whose weights are lent until this is dropped: what [`Adapter::bind`] and [`Adapter::bind_weights`]
/// return.
///
/// It is the adapter with the lent weights: the calls that touch weights are its own, all but
/// [`Adapter::linear_forward_each`], which serves several adapters; the others are the adapter's. In between the
/// weights can be read here.
///
/// ```
/// # use speft::{Adapter, Context, DataType, Parameter, Selection, TensorViewMut};
/// # let context = Context::new()?;
/// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(1)
/// #     .parameter(Parameter::sparse("w", [2], DataType::Float32)).build()?;
/// let mut weights = [1.0_f32, 2.0];
/// let mut bound = adapter.bind([weights.as_mut_slice().into()])?;
/// bound.select()?;
/// assert_eq!(bound.weights::<f32>("w")?, [1.0, 2.0]);
/// drop(bound);
/// assert!(adapter.unmerge().is_err()); // the weights are the host's again
/// # speft::Result::Ok(())
/// ```
///
/// The weights cannot be used elsewhere in the meantime:
///
/// ```compile_fail
/// # use speft::{Adapter, Context, DataType, Parameter, Selection};
/// # let context = Context::new()?;
/// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(1)
/// #     .parameter(Parameter::sparse("w", [2], DataType::Float32)).build()?;
/// let mut weights = [1.0_f32, 2.0];
/// let mut bound = adapter.bind([weights.as_mut_slice().into()])?;
/// weights[0] = 3.0;
/// bound.select()?;
/// # speft::Result::Ok(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Bound<'a> {
    adapter: &'a mut Adapter,
    weights: Vec<WeightsMut<'a>>,
    /// An adapter that was swapped in, or bound once more behind this guard, is on another loan.
    loan: u64,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(adapter: &'a mut Adapter, weights: Vec<WeightsMut<'a>>) -> Self {
        let loan = adapter.loan();
        Self { adapter, weights, loan }
    }

    /// The weights of one parameter, to be read: by a forward pass, say.
    ///
    /// # Errors
    /// `InvalidArgument` when they are not of type `T` or quantized, or there is no such parameter.
    pub fn weights<T: Element>(&self, parameter: impl Which) -> Result<&[T]> {
        let position = self.find(parameter)?;
        match &self.weights[position] {
            WeightsMut::Dense(weights) => weights.as_slice(),
            WeightsMut::Quantized(_) => Err(refuse_quantized(self.adapter, position)),
        }
    }

    /// The same, to be written. Selected weights that are no longer what the adapter wrote there make it refuse to
    /// unmerge and to reselect.
    ///
    /// # Errors
    /// As of [`weights`](Self::weights).
    pub fn weights_mut<T: Element>(&mut self, parameter: impl Which) -> Result<&mut [T]> {
        let position = self.find(parameter)?;
        match &mut self.weights[position] {
            WeightsMut::Dense(weights) => weights.as_mut_slice(),
            WeightsMut::Quantized(_) => Err(refuse_quantized(self.adapter, position)),
        }
    }

    /// The quantized weights of one parameter, to be read: by
    /// [`Context::dequantize`](crate::Context::dequantize), say.
    ///
    /// # Errors
    /// `InvalidArgument` when they are dense, or there is no such parameter.
    pub fn quantized(&self, parameter: impl Which) -> Result<Quantized<'_>> {
        let position = self.find(parameter)?;
        match &self.weights[position] {
            WeightsMut::Quantized(weights) => Ok(weights.as_view()),
            WeightsMut::Dense(_) => {
                let name = self.adapter.parameters()[position].name();
                Err(Error::refuse(format!("the weights of {name:?} are dense")))
            }
        }
    }

    /// [`Adapter::select`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn select(&mut self) -> Result<()> {
        self.adapter.select_on(self.loan, None)
    }

    /// [`Adapter::select_with`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn select_with(&mut self, progress: &mut Report<'_>) -> Result<()> {
        self.adapter.select_on(self.loan, Some(progress))
    }

    /// [`Adapter::reselect`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn reselect(&mut self) -> Result<Option<Reselection>> {
        self.adapter.reselect_on(self.loan, None)
    }

    /// [`Adapter::reselect_with`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn reselect_with(&mut self, progress: &mut Report<'_>) -> Result<Option<Reselection>> {
        self.adapter.reselect_on(self.loan, Some(progress))
    }

    /// [`Adapter::step`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn step(&mut self, options: impl Into<StepOptions>) -> Result<()> {
        self.adapter.step_on(self.loan, &options.into())
    }

    /// [`Adapter::merge`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn merge(&mut self) -> Result<()> {
        self.adapter.merge_on(self.loan)
    }

    /// [`Adapter::attach`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn attach(&mut self) -> Result<()> {
        self.adapter.attach_on(self.loan)
    }

    /// [`Adapter::unmerge`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn unmerge(&mut self) -> Result<()> {
        self.adapter.unmerge_on(self.loan)
    }

    /// [`Adapter::linear_forward`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn linear_forward(
        &mut self,
        parameter: impl Which,
        options: LinearOptions,
        x: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let position = self.adapter.position(parameter)?;
        self.adapter.multiply_on(self.loan, sys::speft_linear_forward, position, options, x, out)
    }

    /// [`Adapter::linear_backward`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn linear_backward(
        &mut self,
        parameter: impl Which,
        options: LinearOptions,
        dy: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let position = self.adapter.position(parameter)?;
        self.adapter.multiply_on(self.loan, sys::speft_linear_backward, position, options, dy, out)
    }

    /// [`Adapter::leave_bases`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn leave_bases(&mut self, density: f64) -> Result<(Adapter, f64)> {
        self.adapter.leave_bases_on(self.loan, density)
    }

    /// [`Adapter::ordinary_share`] on the lent weights.
    ///
    /// # Errors
    /// As of the adapter's.
    pub fn ordinary_share(&mut self, density: f64) -> Result<f64> {
        self.adapter.ordinary_share_on(self.loan, density)
    }

    fn find(&self, parameter: impl Which) -> Result<usize> {
        let position = self.adapter.position(parameter)? as usize;
        if position < self.weights.len() {
            return Ok(position);
        }
        Err(Error::refuse(format!("parameter must be below {}; got {position}", self.weights.len())))
    }
}

fn refuse_quantized(adapter: &Adapter, position: usize) -> Error {
    Error::refuse(format!("the weights of {:?} are quantized", adapter.parameters()[position].name()))
}

impl Deref for Bound<'_> {
    type Target = Adapter;

    fn deref(&self) -> &Adapter {
        self.adapter
    }
}

impl DerefMut for Bound<'_> {
    fn deref_mut(&mut self) -> &mut Adapter {
        self.adapter
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        if self.adapter.loan() == self.loan {
            // Where another thread's call on the context is in the way, the next call on this adapter that would touch
            // weights does it first.
            _ = self.adapter.end_loan();
        }
    }
}
