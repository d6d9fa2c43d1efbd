//! The adapter: the C calls as methods.

use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use speft_sys as sys;

use crate::basis::Basis;
use crate::binding::{Bound, WeightsMut};
use crate::builder::AdapterBuilder;
use crate::callback::{Pinned, Report, Reporter};
use crate::communicator::Link;
use crate::context::{Context, Host};
use crate::error::{Error, Result, call, to_i64};
use crate::gradient::Gradient;
use crate::linear::LinearOptions;
use crate::native::empty;
use crate::optimizer::StepOptions;
use crate::options::{Role, Selection};
use crate::parameter::Parameter;
use crate::quantization::QuantizedMut;
use crate::score::Scorer;
use crate::storage::{LoadOptions, SaveOptions, Source, Target};
use crate::tensor::{RawTensor, TensorView, TensorViewMut};

/// Which parameter of an adapter: its position, or its name.
pub trait Which: sealed::Sealed {
    /// Its position among `parameters`.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is not there. Positions are the library's to check.
    fn position(&self, parameters: &[Parameter]) -> Result<i64>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for usize {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl Which for usize {
    fn position(&self, _: &[Parameter]) -> Result<i64> {
        to_i64("parameter", *self)
    }
}

impl Which for str {
    fn position(&self, parameters: &[Parameter]) -> Result<i64> {
        let found = parameters.iter().position(|parameter| parameter.name() == self);
        found.map(|position| position as i64).ok_or_else(|| {
            let names: Vec<_> = parameters.iter().map(Parameter::name).collect();
            Error::refuse(format!("parameter must be one of ({}); got {self:?}", names.join(", ")))
        })
    }
}

impl Which for String {
    fn position(&self, parameters: &[Parameter]) -> Result<i64> {
        self.as_str().position(parameters)
    }
}

impl<T: Which + ?Sized> Which for &T {
    fn position(&self, parameters: &[Parameter]) -> Result<i64> {
        (**self).position(parameters)
    }
}

/// Where an adapter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterState {
    /// Whether the masks are chosen, or came from a file.
    pub selected: bool,
    /// Whether the weights hold all that was learned now: round(θ0+δ), of parameters in a basis round(W+Vᵀ·Δ̃·U), and
    /// quantized ones that quantized anew.
    pub merged: bool,
    /// Whether steps can be taken: as [`Adapter::attach`] leaves it. Where no parameter is in a basis or quantized the
    /// same as `merged`.
    pub attached: bool,
    /// The method; `None` for one that this version of the crate does not know.
    pub selection: Option<Selection>,
    /// Updates so far.
    pub steps: i64,
    /// Batches that the selection has seen.
    pub observations: i64,
    /// Over all sparse parameters.
    pub selected_scalars: i64,
    /// Those and the dense ones.
    pub trained_scalars: i64,
    /// All scalars of the sparse parameters: the denominator of the density.
    pub targeted_scalars: i64,
    /// No longer selected, but changed: dynamic masks.
    pub settled_scalars: i64,
    /// The step after which the masks move next, the present one when that is due; `None`: they do not, or by each
    /// step's own gradient.
    pub next_reselection: Option<i64>,
    /// Whether [`Adapter::reselect`] has to come before the next step: of SparseGrad and MeProp once a gradient has
    /// arrived.
    pub reselection_due: bool,
}

/// What a reselection moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reselection {
    /// After which step it came.
    pub step: i64,
    /// Scalars that are no longer selected; with dynamic masks they are settled.
    pub dropped: i64,
    /// Scalars that are newly selected.
    pub grown: i64,
    /// Scalars of the settled set, now.
    pub settled: i64,
}

/// What quantizing anew has left of the deltas.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Requantization {
    /// Scalars with a delta.
    pub deltas: i64,
    /// Of those, how many have got another code; a new scale alone does not count.
    pub changed: i64,
    /// ‖ŵ−w‖/‖w‖ over the blocks that were quantized anew: w = dequantized+δ, ŵ as it is dequantized now.
    pub relative_error: f64,
}

/// Which of the scalars that a reselection moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Those that are no longer selected.
    Dropped,
    /// Those that are newly selected.
    Grown,
}

/// For each targeted parameter a mask, deltas, the original values and the optimizer's state.
///
/// The host lends its weights, and gets them back to read: for each call that touches them with [`bind`](Self::bind),
/// whose guard ends the loan, or for longer with [`bind_raw`](Self::bind_raw) and a promise. Eleven calls touch them:
/// [`select`](Self::select), [`step`](Self::step), [`reselect`](Self::reselect), [`merge`](Self::merge),
/// [`attach`](Self::attach), [`unmerge`](Self::unmerge), [`linear_forward`](Self::linear_forward),
/// [`linear_backward`](Self::linear_backward), [`linear_forward_each`](Self::linear_forward_each),
/// [`leave_bases`](Self::leave_bases) and [`ordinary_share`](Self::ordinary_share). On the adapter itself they mean the
/// raw bindings, on the guard the lent ones.
///
/// Quantized weights are lent by [`bind_weights`](Self::bind_weights) and [`bind_quantized`](Self::bind_quantized).
/// Their deltas are trained beside them.
///
/// A call that fails leaves the adapter and the weights as they were. An adapter can be sent to another thread; a call
/// that meets another on the same context is `Busy`.
///
/// Dropping an adapter leaves the weights as they are, merged or not.
///
/// ```
/// use speft::{Adapter, Context, DataType, Gradient, Parameter, Selection, TensorView, TensorViewMut};
///
/// let context = Context::new()?;
/// let mut weights = vec![0.5_f32; 12];
/// let slopes: Vec<f32> = (0..12).map(|index| index as f32).collect();
/// let gradient = Gradient::dense(TensorView::new(&slopes, [3, 4])?);
///
/// let mut adapter = Adapter::builder(&context)
///     .selection(Selection::Gradient)
///     .budget(2)
///     .parameter(Parameter::sparse("w", [3, 4], DataType::Float32))
///     .build()?;
/// adapter.observe("w", &gradient)?;
/// adapter.finish_observation(1.0)?;
/// {
///     let mut bound = adapter.bind([TensorViewMut::new(&mut weights, [3, 4])?])?;
///     bound.select()?;
///     bound.accumulate("w", &gradient)?;
///     bound.step(speft::Hyperparameters::new().learning_rate(0.1))?;
/// }
/// assert_eq!(adapter.mask("w")?, [10, 11]);
/// assert!(weights[11] < 0.5 && weights[9] == 0.5);
/// # speft::Result::Ok(())
/// ```
pub struct Adapter {
    handle: NonNull<sys::speft_adapter>,
    host: Arc<Host>,
    parameters: Vec<Parameter>,
    _callbacks: Callbacks,
    /// Positions whose memory is lent by a guard, perhaps one that is gone without having ended its loan: forgotten, or
    /// met by another call.
    lent: Vec<i64>,
    /// Of that guard.
    loan: u64,
}

/// What C points to as long as the adapter lives.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub _score: Option<Pinned<Scorer>>,
    pub _communicator: Option<Pinned<Link>>,
}

/// The loan of raw bindings, which nobody ends.
const RAW: u64 = 0;

// SAFETY: the library takes calls from any thread, and what the host gave for callbacks is Send.
unsafe impl Send for Adapter {}

impl Adapter {
    /// Declares the parameters and the options of a new one.
    pub fn builder(context: &Context) -> AdapterBuilder<'_> {
        AdapterBuilder::new(context)
    }

    /// What a call that makes an adapter has made.
    pub(crate) fn open(
        answer: Result<()>,
        handle: *mut sys::speft_adapter,
        host: &Arc<Host>,
        callbacks: Callbacks,
    ) -> Result<Self> {
        let made = answer.map(|()| Self {
            handle: NonNull::new(handle).expect("an adapter was made"),
            host: Arc::clone(host),
            parameters: Vec::new(),
            _callbacks: callbacks,
            lent: Vec::new(),
            loan: RAW,
        });
        host.panics.resume(); // and lets go of what was made
        let mut adapter = made?;
        // SAFETY: the adapter lives.
        let count = unsafe { sys::speft_count_parameters(adapter.as_ptr()) };
        for position in 0..count {
            let mut info = empty!(speft_parameter);
            adapter.call(|adapter, error| {
                // SAFETY: the adapter lives; the struct tells its size.
                unsafe { sys::speft_get_parameter(adapter, position, &mut info, error) }
            })?;
            // SAFETY: the library has filled it.
            adapter.parameters.push(unsafe { Parameter::from_native(&info) }?);
        }
        Ok(adapter)
    }

    // ---- what is in it ----

    /// Its parameters. Their positions here are what calls take.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Where it stands.
    ///
    /// # Errors
    /// `Busy`.
    pub fn state(&self) -> Result<AdapterState> {
        let mut state = empty!(speft_adapter_state);
        // SAFETY: the adapter lives; the struct tells its size.
        self.call(|adapter, error| unsafe { sys::speft_get_adapter_state(adapter, &mut state, error) })?;
        Ok(AdapterState {
            selected: state.selected != 0,
            merged: state.merged != 0,
            attached: state.attached != 0,
            selection: Selection::from_code(state.method),
            steps: state.steps,
            observations: state.observations,
            selected_scalars: state.selected_scalars,
            trained_scalars: state.trained_scalars,
            targeted_scalars: state.targeted_scalars,
            settled_scalars: state.settled_scalars,
            next_reselection: (state.next_reselection != 0).then_some(state.next_reselection),
            reselection_due: state.reselection_due != 0,
        })
    }

    /// k of one parameter: the length of its mask, deltas and gradient. Of a dense parameter all of its scalars.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn selected_count(&self, parameter: impl Which) -> Result<usize> {
        let position = self.position(parameter)?;
        let mut count = 0;
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_get_selected_count(adapter, position, &mut count, error) })?;
        Ok(count as usize)
    }

    /// The flat indices that are selected, strictly increasing.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn mask(&self, parameter: impl Which) -> Result<Vec<i64>> {
        let position = self.position(parameter)?;
        self.indices(self.selected_count(position as usize)?, |adapter, indices, error| {
            // SAFETY: the adapter lives; the tensor is as long as the mask.
            unsafe { sys::speft_get_mask(adapter, position, indices, error) }
        })
    }

    /// The number of updates behind the moments of each selected scalar, in the mask's order.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn ages(&self, parameter: impl Which) -> Result<Vec<i64>> {
        let position = self.position(parameter)?;
        self.indices(self.selected_count(position as usize)?, |adapter, ages, error| {
            // SAFETY: the adapter lives; the tensor is as long as the mask.
            unsafe { sys::speft_get_ages(adapter, position, ages, error) }
        })
    }

    /// The flat indices that the last reselection has dropped or grown, increasing.
    ///
    /// # Errors
    /// `InvalidState` before the selection, and without [`Schedule::track_moves`](crate::Schedule::track_moves).
    pub fn moved(&self, parameter: impl Which, which: Moved) -> Result<Vec<i64>> {
        let position = self.position(parameter)?;
        let which = match which {
            Moved::Dropped => sys::SPEFT_MOVED_DROPPED,
            Moved::Grown => sys::SPEFT_MOVED_GROWN,
        };
        let mut count = 0;
        // SAFETY: the adapter lives; NULL only counts.
        self.call(|adapter, error| unsafe {
            sys::speft_get_moved(adapter, position, which, &mut count, std::ptr::null(), error)
        })?;
        self.indices(count as usize, |adapter, indices, error| {
            // SAFETY: the adapter lives; the tensor is as long as was counted.
            unsafe { sys::speft_get_moved(adapter, position, which, std::ptr::null_mut(), indices, error) }
        })
    }

    /// The deltas, `[k]` in the mask's order, float32 or what [`DeltaType`](crate::DeltaType) says; of a dense
    /// parameter the float32 values that it is trained as. Lent.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn deltas(&self, parameter: impl Which) -> Result<TensorView<'_>> {
        let position = self.position(parameter)?;
        let deltas = self.lend(|adapter, tensor, error| {
            // SAFETY: the adapter lives.
            unsafe { sys::speft_get_deltas(adapter, position, tensor, error) }
        })?;
        // SAFETY: the deltas stay until a call that takes the adapter exclusively.
        Ok(unsafe { TensorView::from_raw(deltas) })
    }

    /// What rounding θ0+δ to the weight's type takes from what was learned, as a share of Σ|δ|, of one parameter.
    ///
    /// # Errors
    /// `InvalidArgument` for a dense parameter, and for one in a basis; `InvalidState` while the original bits are not
    /// known: a loaded adapter, before its first merge.
    pub fn rounding_loss(&self, parameter: impl Which) -> Result<f64> {
        self.measure_rounding_loss(self.position(parameter)?)
    }

    /// The same over all sparse parameters that are in no basis.
    ///
    /// # Errors
    /// As of [`rounding_loss`](Self::rounding_loss).
    pub fn total_rounding_loss(&self) -> Result<f64> {
        self.measure_rounding_loss(-1)
    }

    /// What [`merge`](Self::merge) has left of the deltas of one parameter with quantized weights.
    ///
    /// # Errors
    /// `InvalidState` but while merged; `InvalidArgument` for a parameter whose weights are dense.
    pub fn requantization(&self, parameter: impl Which) -> Result<Requantization> {
        self.measure_requantization(self.position(parameter)?)
    }

    /// The same over all parameters with quantized weights.
    ///
    /// # Errors
    /// As of [`requantization`](Self::requantization).
    pub fn total_requantization(&self) -> Result<Requantization> {
        self.measure_requantization(-1)
    }

    // ---- the host's weights ----

    /// Lends the weights of all parameters, in their order, until the guard is dropped.
    ///
    /// # Errors
    /// `InvalidArgument` when there are not as many as parameters, or for a wrong shape, type or device;
    /// `InvalidState` when another adapter is merged into the same memory. Nothing is bound then.
    pub fn bind<'a>(&'a mut self, weights: impl IntoIterator<Item = TensorViewMut<'a>>) -> Result<Bound<'a>> {
        self.bind_weights(weights.into_iter().map(WeightsMut::Dense))
    }

    /// The same where some of the weights are quantized. Those stay as they are until [`merge`](Self::merge): their
    /// deltas are trained beside them, and their layers compute with [`linear_forward`](Self::linear_forward) and
    /// [`linear_backward`](Self::linear_backward). The parameter's type is what they are dequantized to where a call
    /// takes their values: scores, and the hash of the base in a file.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let (mut codes, mut absmax) = ([0_u8; 4], [0.0_f32; 1]);
    /// # let slopes = [0.0_f32, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    /// let mut weights =
    ///     QuantizedMut::new(Quantization::Nf4, 64, codes.as_mut_slice().into(), absmax.as_mut_slice().into());
    /// context.quantize(&TensorView::new(&[0.0_f32, 4.0, 0.0, 0.0, -4.0, 0.0, 0.0, 0.0], [2, 4])?, &mut weights)?;
    /// let mut adapter = Adapter::builder(&context)
    ///     .selection(Selection::Magnitude)
    ///     .budget(1)
    ///     .parameter(Parameter::sparse("w", [2, 4], DataType::Float32))
    ///     .build()?;
    /// let mut bound = adapter.bind_weights([weights.into()])?;
    /// bound.select()?;
    /// bound.accumulate("w", &Gradient::dense(TensorView::new(&slopes, [2, 4])?))?;
    /// bound.step(Hyperparameters::new().learning_rate(0.5))?;
    /// let (x, mut y) = ([1.0_f32; 4], [0.0_f32; 2]);
    /// let (x, mut out) = (TensorView::new(&x, [1, 4])?, TensorViewMut::new(&mut y, [1, 2])?);
    /// bound.linear_forward("w", LinearOptions::new(), &x, &mut out)?;
    /// assert!((y[0] - 4.5).abs() < 1e-5 && y[1] == -4.0);
    /// bound.merge()?;
    /// assert_eq!(bound.requantization("w")?.deltas, 1);
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As of [`bind`](Self::bind). `InvalidArgument` also for scales that are negative or not finite; `InvalidState`
    /// also for quantized weights in place of dense ones, or the reverse, while attached or merged; `Unsupported` for
    /// quantized weights of a parameter in a basis.
    pub fn bind_weights<'a>(&'a mut self, weights: impl IntoIterator<Item = WeightsMut<'a>>) -> Result<Bound<'a>> {
        let weights: Vec<_> = weights.into_iter().collect();
        if weights.len() != self.parameters.len() {
            return Err(Error::refuse(format!(
                "weights must have one tensor for each of the {} parameters; got {}",
                self.parameters.len(),
                weights.len()
            )));
        }
        static LOANS: AtomicU64 = AtomicU64::new(RAW + 1);
        self.end_loan()?;
        self.loan = LOANS.fetch_add(1, Ordering::Relaxed);
        for (position, lent) in weights.iter().enumerate() {
            // Said before it is done: whatever happens, the next call that touches weights ends the loan first.
            self.lent.push(position as i64);
            let bound = match lent {
                WeightsMut::Dense(view) => self.bind_dense(position as i64, view.as_raw()),
                WeightsMut::Quantized(quantized) => self.bind_codes(position as i64, quantized),
            };
            if let Err(error) = bound {
                self.end_loan()?;
                return Err(error);
            }
        }
        Ok(Bound::new(self, weights))
    }

    /// Lends the memory of one parameter until it is bound again, unbound, or the adapter is gone. Nothing is read or
    /// written here. It may be bound to other memory before any call, if the contents have moved with it.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let mut weights = vec![0.5_f32, -2.0, 1.0, 3.0];
    /// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(2)
    /// #     .parameter(Parameter::sparse("w", [4], DataType::Float32)).build()?;
    /// use speft::RawTensor;
    ///
    /// let raw = RawTensor::new(weights.as_mut_ptr().cast(), DataType::Float32, [4])?;
    /// // SAFETY: the weights outlive the adapter, and nobody uses them during its calls.
    /// unsafe { adapter.bind_raw("w", &raw) }?;
    /// adapter.select()?;
    /// assert_eq!(weights[3], 3.0); // the host's to read, between calls
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Safety
    /// Until then, while [`select`](Self::select), [`step`](Self::step), [`reselect`](Self::reselect),
    /// [`merge`](Self::merge), [`attach`](Self::attach), [`unmerge`](Self::unmerge),
    /// [`linear_forward`](Self::linear_forward), [`linear_backward`](Self::linear_backward),
    /// [`linear_forward_each`](Self::linear_forward_each), [`leave_bases`](Self::leave_bases) or
    /// [`ordinary_share`](Self::ordinary_share) run on this adapter, the memory is there, is as large as the shape and
    /// type say, and nobody else reads or writes it. Between such calls it is the host's to read and, with care for
    /// what the adapter has written there, to write; it may even be freed, if it is unbound or bound anew before the
    /// next one.
    ///
    /// # Errors
    /// `InvalidArgument` for a wrong shape, type or device; `InvalidState` when it overlaps memory that another adapter
    /// is merged into.
    pub unsafe fn bind_raw(&mut self, parameter: impl Which, weights: &RawTensor) -> Result<()> {
        let position = self.position(parameter)?;
        self.bind_dense(position, weights)?;
        self.lent.retain(|&lent| lent != position);
        Ok(())
    }

    /// The same with quantized weights, which [`bind_weights`](Self::bind_weights) tells of. Several adapters may be
    /// bound to the same ones and be served together by [`linear_forward_each`](Self::linear_forward_each).
    ///
    /// # Safety
    /// As of [`bind_raw`](Self::bind_raw), for each of the tensors, tables too, even when `weights` and what it borrows
    /// are gone as far as the compiler sees. Only [`merge`](Self::merge), [`attach`](Self::attach) and
    /// [`unmerge`](Self::unmerge) write to them; here their scales are read.
    ///
    /// # Errors
    /// As of [`bind_weights`](Self::bind_weights).
    pub unsafe fn bind_quantized(&mut self, parameter: impl Which, weights: &QuantizedMut<'_>) -> Result<()> {
        let position = self.position(parameter)?;
        self.bind_codes(position, weights)?;
        self.lent.retain(|&lent| lent != position);
        Ok(())
    }

    /// Ends the loan of one parameter's memory, and gives up the claim on it.
    ///
    /// # Errors
    /// `InvalidArgument` for a position that is not there; `Busy`.
    pub fn unbind(&mut self, parameter: impl Which) -> Result<()> {
        let position = self.position(parameter)?;
        self.unbind_position(position)?;
        self.lent.retain(|&lent| lent != position);
        Ok(())
    }

    /// Trains a parameter in a basis, which is fitted no more until the adapter is gone; `None`: the ordinary basis.
    /// Where the method is [`Selection::Sparsegrad`], which needs one for each of its sparse parameters; several may
    /// share it.
    ///
    /// The mask, the deltas Δ̃ and [`Gradient::values`] are those of the matrix `[row_directions, column_directions]`,
    /// row-major; other gradients are of W, and are brought into the basis here. W stays as it is and Δ̃ beside it: the
    /// host's layer computes with [`linear_forward`](Self::linear_forward) and
    /// [`linear_backward`](Self::linear_backward). Weight decay pulls Δ̃ to 0, whichever its kind.
    ///
    /// ```
    /// use speft::*;
    ///
    /// let context = Context::new()?;
    /// let (mut weights, slopes) = ([0.5_f32; 6], [0.0_f32, 2.0, 0.0, 0.0, 0.0, -1.0]);
    /// let gradient = Gradient::dense(TensorView::new(&slopes, [2, 3])?);
    /// let mut basis = Basis::new(&context, 2, 3)?;
    /// basis.observe(&gradient)?;
    /// basis.fit()?;
    /// let mut adapter = Adapter::builder(&context)
    ///     .selection(Selection::Sparsegrad)
    ///     .budget(1)
    ///     .parameter(Parameter::sparse("w", [2, 3], DataType::Float32))
    ///     .build()?;
    /// adapter.bind_basis("w", Some(&basis))?;
    ///
    /// let mut bound = adapter.bind([TensorViewMut::new(&mut weights, [2, 3])?])?;
    /// bound.select()?; // no scalar yet
    /// bound.accumulate("w", &gradient)?;
    /// bound.reselect()?; // the largest of V·dW·Uᵀ
    /// bound.step(Hyperparameters::new().learning_rate(0.25))?;
    /// let x = [0.0_f32, 1.0, 0.0];
    /// let mut y = [0.0_f32; 2];
    /// bound.linear_forward("w", LinearOptions::new(), &TensorView::new(&x, [1, 3])?,
    ///     &mut TensorViewMut::new(&mut y, [1, 2])?)?;
    /// assert!((y[0] - 0.25).abs() < 1e-6 && y[1] == 0.5);
    /// assert_eq!(bound.weights::<f32>("w")?, [0.5; 6]); // until they are merged
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `InvalidState`: after an observation or the selection; the basis is not fitted; another method.
    /// `InvalidArgument`: a basis of another shape or context; a dense parameter.
    pub fn bind_basis(&mut self, parameter: impl Which, basis: Option<&Basis>) -> Result<()> {
        let position = self.position(parameter)?;
        let basis = basis.map_or(std::ptr::null_mut(), Basis::as_ptr);
        // SAFETY: the adapter lives, and so does the basis.
        self.call(|adapter, error| unsafe { sys::speft_bind_basis(adapter, position, basis, error) })
    }

    // ---- selection ----

    /// Announces the weight, above 0, of the batch whose gradients follow: its number of examples, say; 1 for equal
    /// batches. Optional: it saves an accumulator a parameter.
    ///
    /// # Errors
    /// `InvalidState` after the selection, unless masks are dynamic, or when a batch is open.
    pub fn begin_observation(&mut self, weight: f64) -> Result<()> {
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_begin_observation(adapter, weight, error) })
    }

    /// Adds a gradient to what a parameter has received in this batch. Accepted and dropped where the method needs
    /// none.
    ///
    /// # Errors
    /// `InvalidState` after the selection, unless masks are dynamic; `InvalidArgument` for values at a mask.
    pub fn observe(&mut self, parameter: impl Which, gradient: &Gradient<'_>) -> Result<()> {
        let position = self.position(parameter)?;
        gradient.with_native(|gradient| {
            // SAFETY: the adapter lives; the views borrow what they show.
            self.call(|adapter, error| unsafe { sys::speft_observe(adapter, position, gradient, error) })
        })
    }

    /// Closes the batch. `weight` is its weight, or 0 for the announced one.
    ///
    /// # Errors
    /// `InvalidState` when a sparse parameter received nothing in this batch, which the message names; the batch stays
    /// open.
    pub fn finish_observation(&mut self, weight: f64) -> Result<()> {
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_finish_observation(adapter, weight, error) })
    }

    /// Forgets all that was observed, an open batch included: after a backward pass that failed half-way, say.
    ///
    /// # Errors
    /// `InvalidState` after the selection, unless masks are dynamic.
    pub fn clear_observations(&mut self) -> Result<()> {
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_clear_observations(adapter, error) })
    }

    /// The mask of one parameter, for [`Selection::Mask`]: strictly increasing flat indices. Copied.
    ///
    /// # Errors
    /// `InvalidArgument` when they do not increase or are outside of the parameter; `InvalidState` after the selection.
    pub fn set_mask(&mut self, parameter: impl Which, indices: &[i64]) -> Result<()> {
        let position = self.position(parameter)?;
        let view = TensorView::from(indices);
        // SAFETY: the adapter lives; the indices are copied.
        self.call(|adapter, error| unsafe {
            sys::speft_set_mask(adapter, position, view.as_raw().native().as_ptr(), error)
        })
    }

    /// The scores of one parameter, for [`Selection::Scores`]: float32, of its shape. Copied.
    ///
    /// # Errors
    /// `InvalidArgument` for another shape or type; `InvalidState` after the selection.
    pub fn set_scores(&mut self, parameter: impl Which, scores: &TensorView<'_>) -> Result<()> {
        let position = self.position(parameter)?;
        // SAFETY: the adapter lives; the scores are copied.
        self.call(|adapter, error| unsafe {
            sys::speft_set_scores(adapter, position, scores.as_raw().native().as_ptr(), error)
        })
    }

    /// The weights that [`Selection::WeightChange`] measures from and returns to: of the parameter's type and shape.
    /// Copied.
    ///
    /// # Errors
    /// `InvalidArgument` for another shape or type; `InvalidState` after the selection.
    pub fn set_reference(&mut self, parameter: impl Which, original: &TensorView<'_>) -> Result<()> {
        let position = self.position(parameter)?;
        // SAFETY: the adapter lives; the weights are copied.
        self.call(|adapter, error| unsafe {
            sys::speft_set_reference(adapter, position, original.as_raw().native().as_ptr(), error)
        })
    }

    /// Chooses the masks. The weights, which must be bound, equal round(θ0+δ) from here on. The larger score wins, then
    /// the earlier parameter, then the smaller index; NaN is never selected. SparseGrad's and MeProp's masks are empty
    /// until [`reselect`](Self::reselect), unless their curve is [`Rate::None`](crate::Rate::None).
    ///
    /// # Errors
    /// `InvalidState`: already selected; nothing observed where the method needs it; weights not bound; no basis where
    /// the method needs it.
    /// `InvalidArgument`: fewer scalars can be selected than the budget asks for.
    pub fn select(&mut self) -> Result<()> {
        self.select_on(RAW, None)
    }

    /// The same, with reports on the way.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let mut weights = vec![0.5_f32, -2.0, 1.0, 3.0];
    /// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(2)
    /// #     .parameter(Parameter::sparse("w", [4], DataType::Float32)).build()?;
    /// use std::ops::ControlFlow;
    ///
    /// let mut bound = adapter.bind([weights.as_mut_slice().into()])?;
    /// bound.select_with(&mut |progress| {
    ///     eprintln!("{} of {}", progress.done, progress.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// Also `Cancelled`, by the report. The observations are still there then.
    pub fn select_with(&mut self, progress: &mut Report<'_>) -> Result<()> {
        self.select_on(RAW, Some(progress))
    }

    /// Chooses again while training, when that is due: to be called after every step where masks move. What has been
    /// accumulated is cleared. `None`: nothing was due.
    ///
    /// [`Selection::Sparsegrad`] and [`Selection::Meprop`] choose by each step's own gradient, so that it comes before
    /// the step: once the whole gradient is accumulated, and before [`gradient`](Self::gradient) and
    /// [`clip_gradient`](Self::clip_gradient). The gradient stays, and is 0 but for what it has selected.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let mut weights = vec![0.5_f32, -2.0, 1.0, 3.0];
    /// # let slopes = [4.0_f32, 1.0, 2.0, 3.0];
    /// # let gradient = Gradient::dense(slopes[..].into());
    /// let mut adapter = Adapter::builder(&context)
    ///     .selection(Selection::SpielAg)
    ///     .schedule(Schedule::new().reselect_every(20).window(5))
    ///     .budget(2)
    ///     .parameter(Parameter::sparse("w", [4], DataType::Float32))
    ///     .build()?;
    /// let mut bound = adapter.bind([weights.as_mut_slice().into()])?;
    /// bound.select()?;
    /// for step in 1..=5 {
    ///     bound.accumulate("w", &gradient)?;
    ///     bound.step(Hyperparameters::new())?;
    ///     assert_eq!(bound.reselect()?.is_some(), step == 5);
    /// }
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `InvalidState`: not selected; not [attached](Self::attach); weights not bound, or changed behind the adapter;
    /// nothing observed where the method needs it. `InvalidArgument`: fewer scalars can be selected than are asked for.
    /// All is as before then.
    pub fn reselect(&mut self) -> Result<Option<Reselection>> {
        self.reselect_on(RAW, None)
    }

    /// The same, with reports on the way.
    ///
    /// # Errors
    /// Also `Cancelled`, by the report.
    pub fn reselect_with(&mut self, progress: &mut Report<'_>) -> Result<Option<Reselection>> {
        self.reselect_on(RAW, Some(progress))
    }

    // ---- training ----

    /// Adds a gradient to the k values that a parameter has accumulated, as each layer's gradient arrives. Of SparseGrad
    /// and MeProp it is kept whole, until [`reselect`](Self::reselect).
    ///
    /// # Errors
    /// `InvalidState` before the selection, and where the scalars of this step are selected already.
    pub fn accumulate(&mut self, parameter: impl Which, gradient: &Gradient<'_>) -> Result<()> {
        let position = self.position(parameter)?;
        gradient.with_native(|gradient| {
            // SAFETY: the adapter lives; the views borrow what they show.
            self.call(|adapter, error| unsafe { sys::speft_accumulate(adapter, position, gradient, error) })
        })
    }

    /// The accumulated values, float32 `[k]`, lent to be read and written: clipping, all-reduce, unscaling. Zeros when
    /// nothing has been accumulated since the last clear; writing them does not count as a gradient.
    ///
    /// # Errors
    /// `InvalidState` before the selection, and before a reselection that selects by this gradient.
    pub fn gradient(&mut self, parameter: impl Which) -> Result<TensorViewMut<'_>> {
        let position = self.position(parameter)?;
        let gradient = self.lend(|adapter, tensor, error| {
            // SAFETY: the adapter lives.
            unsafe { sys::speft_get_gradient(adapter, position, tensor, error) }
        })?;
        // SAFETY: the view borrows the adapter exclusively.
        Ok(unsafe { TensorViewMut::from_raw(gradient) })
    }

    /// Forgets what all parameters have accumulated.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn clear_gradients(&mut self) -> Result<()> {
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_clear_gradient(adapter, -1, error) })
    }

    /// Forgets what one parameter has accumulated.
    ///
    /// # Errors
    /// `InvalidState` before the selection.
    pub fn clear_gradient(&mut self, parameter: impl Which) -> Result<()> {
        let position = self.position(parameter)?;
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_clear_gradient(adapter, position, error) })
    }

    /// Scales all gradients, sparse and dense together, so that their 2-norm is at most `max_norm`, and returns the norm
    /// before. Infinity only measures.
    ///
    /// # Errors
    /// `InvalidArgument` when the norm is not finite; `InvalidState` before a reselection that selects by this gradient.
    /// Nothing is scaled then.
    pub fn clip_gradient(&mut self, max_norm: f64) -> Result<f64> {
        let mut norm = 0.0;
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_clip_gradient(adapter, max_norm, &mut norm, error) })?;
        Ok(norm)
    }

    /// One update of the deltas and the weights by what was accumulated, which is then cleared. Takes
    /// [`Hyperparameters`](crate::Hyperparameters), or [`StepOptions`] where there are groups.
    ///
    /// # Errors
    /// `InvalidState`: not selected; not [attached](Self::attach); a reselection is due; weights not bound; no gradient.
    pub fn step(&mut self, options: impl Into<StepOptions>) -> Result<()> {
        self.step_on(RAW, &options.into())
    }

    /// Writes round(θ0+δ) into the weights. Does nothing when merged already. The first merge after a load keeps the
    /// original bits.
    ///
    /// A parameter in a basis becomes round(W+Vᵀ·Δ̃·U), all of it. Of a quantized one the blocks that have a delta are
    /// dequantized, added to and quantized anew, by the scale that they had or that of their new maximum, whichever has
    /// the smaller error: [`requantization`](Self::requantization) tells what is left of the deltas. Of both the adapter
    /// keeps a copy of all that was there until it is unmerged or attached, and cannot be trained meanwhile.
    ///
    /// # Errors
    /// `InvalidArgument` for another base model than the one it was trained on; `InvalidState`: not selected; weights
    /// not bound; another adapter is merged into the same memory.
    pub fn merge(&mut self) -> Result<()> {
        self.merge_on(RAW)
    }

    /// Puts what was learned into effect as training needs it, which is how [`select`](Self::select) leaves it: merged,
    /// but parameters that are trained beside their weights, in a basis or quantized, have their original bits, and
    /// their layers compute with [`linear_forward`](Self::linear_forward). Does nothing when attached already. Where
    /// there is no such parameter it is [`merge`](Self::merge).
    ///
    /// # Errors
    /// As of [`merge`](Self::merge) and [`unmerge`](Self::unmerge).
    pub fn attach(&mut self) -> Result<()> {
        self.attach_on(RAW)
    }

    /// Writes the original bits back. Does nothing when unmerged already.
    ///
    /// # Errors
    /// `InvalidState`, with nothing written, when a weight is no longer what this adapter wrote there.
    pub fn unmerge(&mut self) -> Result<()> {
        self.unmerge_on(RAW)
    }

    /// out = x·(W+Δ)ᵀ, for parameters in a basis or with quantized weights, and for adapters that are unmerged: x
    /// `[tokens, in]`, out `[tokens, out]`, float32, bfloat16 or float16. Δ is the sparse delta, or Vᵀ·Δ̃·U in a basis.
    /// In a basis no matrix of W's size is formed for few tokens; quantized weights are dequantized a tile at a time.
    ///
    /// # Errors
    /// `InvalidState`: before the selection; where Δ is in the weights, whose own product has it already (merged, or
    /// attached and not trained beside them); weights not bound, or those of a loaded adapter not checked by a first
    /// [`attach`](Self::attach), unless it is [`delta_only`](LinearOptions::delta_only). `InvalidArgument`: a dense
    /// parameter; one that has not 2 axes; tensors of other shapes.
    pub fn linear_forward(
        &mut self,
        parameter: impl Which,
        options: LinearOptions,
        x: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let position = self.position(parameter)?;
        self.multiply_on(RAW, sys::speft_linear_forward, position, options, x, out)
    }

    /// out = dy·(W+Δ), the gradient of the layer's inputs: dy `[tokens, out]`, out `[tokens, in]`.
    ///
    /// # Errors
    /// As of [`linear_forward`](Self::linear_forward).
    pub fn linear_backward(
        &mut self,
        parameter: impl Which,
        options: LinearOptions,
        dy: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let position = self.position(parameter)?;
        self.multiply_on(RAW, sys::speft_linear_backward, position, options, dy, out)
    }

    /// A batch whose rows are served by different adapters over one base: out\[t\] = x\[t\]·(W+Δ)ᵀ for each row t, with
    /// the Δ of the one of `served`, an adapter and its parameter, that `choice\[t\]` names; `None`: W alone. Each
    /// adapter is as for [`linear_forward`](Self::linear_forward) and, unless it is
    /// [`delta_only`](LinearOptions::delta_only), bound to the same W by [`bind_raw`](Self::bind_raw) or
    /// [`bind_quantized`](Self::bind_quantized). The products with W and with Δ are rounded to the type of `out` one by
    /// one.
    ///
    /// # Errors
    /// As of [`linear_forward`](Self::linear_forward). `InvalidArgument` also for no adapter; a choice that is not
    /// there; adapters of several contexts, or bound to different weights: the message names the first.
    pub fn linear_forward_each<P: Which>(
        served: &mut [(&mut Adapter, P)],
        options: LinearOptions,
        x: &TensorView<'_>,
        choice: &[Option<usize>],
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let (mut adapters, mut positions) = (Vec::new(), Vec::new());
        for (adapter, parameter) in served.iter_mut() {
            positions.push(adapter.position(&*parameter)?);
            adapter.keep_only(RAW)?;
            adapters.push(adapter.as_ptr());
        }
        let rows = choice.iter().map(|row| row.map_or(Ok(-1), |at| to_i64("choice", at)));
        let rows = rows.collect::<Result<Vec<i64>>>()?;
        let choice = TensorView::from(rows.as_slice());
        let (inputs, chosen, outputs) = (x.as_raw().native(), choice.as_raw().native(), out.as_raw().native());
        // SAFETY: the adapters live, and so do the bound weights; the views borrow what they show, `out` exclusively.
        let multiply = |error: *mut *mut sys::speft_error| unsafe {
            sys::speft_linear_forward_each(
                adapters.as_ptr(),
                positions.as_ptr(),
                adapters.len() as i64,
                &options.native(),
                inputs.as_ptr(),
                chosen.as_ptr(),
                outputs.as_ptr(),
                error,
            )
        };
        match served {
            [] => call(multiply), // refused
            [(first, _), ..] => first.host.call(multiply),
        }
    }

    /// A new adapter without bases: of each parameter in a basis the share `density`, in (0, 1], of its scalars with
    /// the largest |ΔW|, ΔW = Vᵀ·Δ̃·U, as ordinary deltas; other parameters as they are. It is selected, unmerged and
    /// bound to nothing, as after [`load`](Self::load), with [`Selection::Mask`]. Beside it how much of Σ ΔW² over
    /// those parameters it keeps; 1 where ΔW is 0. This adapter stays as it is.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let (mut weights, slopes) = ([0.5_f32; 6], [0.0_f32, 2.0, 0.0, 0.0, 0.0, -1.0]);
    /// # let gradient = Gradient::dense(TensorView::new(&slopes, [2, 3])?);
    /// # let mut basis = Basis::new(&context, 2, 3)?;
    /// # basis.observe(&gradient)?;
    /// # basis.fit()?;
    /// # let mut adapter = Adapter::builder(&context).selection(Selection::Sparsegrad).budget(1)
    /// #     .parameter(Parameter::sparse("w", [2, 3], DataType::Float32)).build()?;
    /// # adapter.bind_basis("w", Some(&basis))?;
    /// # let mut bound = adapter.bind([TensorViewMut::new(&mut weights, [2, 3])?])?;
    /// # bound.select()?;
    /// # bound.accumulate("w", &gradient)?;
    /// # bound.reselect()?;
    /// # bound.step(Hyperparameters::new().learning_rate(0.25))?;
    /// let (mut ordinary, share) = bound.leave_bases(0.2)?;
    /// assert_eq!(share, 1.0); // all that was learned is in one scalar
    /// drop(bound);
    /// assert_eq!(ordinary.mask("w")?, [1]);
    /// ordinary.bind([TensorViewMut::new(&mut weights, [2, 3])?])?.merge()?;
    /// assert!((weights[1] - 0.25).abs() < 1e-6);
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `InvalidState`: before the selection; no parameter in a basis; merged; weights not bound, or those of a loaded
    /// adapter not checked by a first [`attach`](Self::attach). `InvalidArgument`: another density; fewer scalars of a
    /// ΔW are not NaN.
    pub fn leave_bases(&mut self, density: f64) -> Result<(Adapter, f64)> {
        self.leave_bases_on(RAW, density)
    }

    /// That share alone, and no adapter made.
    ///
    /// # Errors
    /// As of [`leave_bases`](Self::leave_bases).
    pub fn ordinary_share(&mut self, density: f64) -> Result<f64> {
        self.ordinary_share_on(RAW, density)
    }

    // ---- files ----

    /// Writes masks, deltas, bases, names, options and the base's hash to a safetensors file; not the optimizer's state.
    ///
    /// # Errors
    /// `InvalidState` before the selection; `Io` when it cannot be written: the old file is untouched.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(path.as_ref(), SaveOptions::new())
    }

    /// The same, anywhere, with options.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// # let mut weights = vec![0.5_f32, -2.0, 1.0, 3.0];
    /// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(2)
    /// #     .parameter(Parameter::sparse("w", [4], DataType::Float32)).build()?;
    /// # adapter.bind([weights.as_mut_slice().into()])?.select()?;
    /// use speft::{Format, SaveOptions, Source};
    ///
    /// let mut file = Vec::new();
    /// adapter.save_with(&mut file, SaveOptions::new().format(Format::Compact))?;
    /// let loaded = Adapter::load(&context, Source::Bytes(&file))?;
    /// assert_eq!(loaded.mask("w")?, adapter.mask("w")?);
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As of [`save`](Self::save). What a writer returned is the error's source.
    pub fn save_with<'a>(&self, target: impl Into<Target<'a>>, options: SaveOptions<'_>) -> Result<()> {
        options.with_native(target.into(), |options, path| {
            // SAFETY: the adapter lives; the structs and the path live through the call.
            self.call(|adapter, error| unsafe { sys::speft_save_adapter(adapter, options, path, error) })
        })
    }

    /// As [`save`](Self::save), exact, with what training needs beside: the original bits, the optimizer's state, and
    /// what has been accumulated. Resuming is as if training had never stopped.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn save_checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_checkpoint_with(path.as_ref(), SaveOptions::new())
    }

    /// The same, anywhere, with options.
    ///
    /// # Errors
    /// As of [`save_with`](Self::save_with); `InvalidArgument` for [`Format::Compact`](crate::Format::Compact).
    pub fn save_checkpoint_with<'a>(&self, target: impl Into<Target<'a>>, options: SaveOptions<'_>) -> Result<()> {
        options.with_native(target.into(), |options, path| {
            // SAFETY: the adapter lives; the structs and the path live through the call.
            self.call(|adapter, error| unsafe { sys::speft_save_checkpoint(adapter, options, path, error) })
        })
    }

    /// A new adapter with a file's parameters, masks, deltas and bases: selected, unmerged, not bound. Bind every
    /// parameter, then [`merge`](Self::merge), or [`attach`](Self::attach) where one is in a basis. It can be trained
    /// on, with the masks as they are; the optimizer starts afresh.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `Corrupt` when it is not such a file, or a bit of it has flipped; `Unsupported` when
    /// it is of another format.
    pub fn load<'a>(context: &Context, source: impl Into<Source<'a>>) -> Result<Self> {
        Self::load_with(context, source, LoadOptions::new())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// Also `Cancelled`, by the report.
    pub fn load_with<'a>(context: &Context, source: impl Into<Source<'a>>, options: LoadOptions<'_>) -> Result<Self> {
        Self::read(context, source.into(), options, sys::speft_load_adapter)
    }

    /// The adapter of a checkpoint, with its training state: selected, unmerged, not bound.
    /// [`merge`](Self::merge) takes weights in either state, the original bits or the merged ones.
    ///
    /// # Errors
    /// As of [`load`](Self::load); `InvalidArgument` for a file that [`save`](Self::save) wrote.
    pub fn load_checkpoint<'a>(context: &Context, source: impl Into<Source<'a>>) -> Result<Self> {
        Self::load_checkpoint_with(context, source, LoadOptions::new())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// Also `Cancelled`, by the report.
    pub fn load_checkpoint_with<'a>(
        context: &Context,
        source: impl Into<Source<'a>>,
        options: LoadOptions<'_>,
    ) -> Result<Self> {
        Self::read(context, source.into(), options, sys::speft_load_checkpoint)
    }

    /// The C handle, which this adapter goes on owning.
    pub fn as_ptr(&self) -> *mut sys::speft_adapter {
        self.handle.as_ptr()
    }

    // ---- what touches weights, on whose loan ----

    pub(crate) fn select_on(&mut self, loan: u64, progress: Option<&mut Report<'_>>) -> Result<()> {
        self.keep_only(loan)?;
        Reporter::new(progress).with(|progress| {
            // SAFETY: the adapter lives, and so do the bound weights.
            self.call(|adapter, error| unsafe { sys::speft_select(adapter, progress, error) })
        })
    }

    pub(crate) fn reselect_on(&mut self, loan: u64, progress: Option<&mut Report<'_>>) -> Result<Option<Reselection>> {
        self.keep_only(loan)?;
        let mut moved = empty!(speft_reselection);
        Reporter::new(progress).with(|progress| {
            // SAFETY: the adapter lives, and so do the bound weights; the struct tells its size.
            self.call(|adapter, error| unsafe { sys::speft_reselect(adapter, progress, &mut moved, error) })
        })?;
        Ok((moved.due != 0).then_some(Reselection {
            step: moved.step,
            dropped: moved.dropped,
            grown: moved.grown,
            settled: moved.settled,
        }))
    }

    pub(crate) fn step_on(&mut self, loan: u64, options: &StepOptions) -> Result<()> {
        self.keep_only(loan)?;
        options.with_native(|options| {
            // SAFETY: the adapter lives, and so do the bound weights.
            self.call(|adapter, error| unsafe { sys::speft_step(adapter, options, error) })
        })
    }

    pub(crate) fn merge_on(&mut self, loan: u64) -> Result<()> {
        self.keep_only(loan)?;
        // SAFETY: the adapter lives, and so do the bound weights.
        self.call(|adapter, error| unsafe { sys::speft_merge(adapter, error) })
    }

    pub(crate) fn attach_on(&mut self, loan: u64) -> Result<()> {
        self.keep_only(loan)?;
        // SAFETY: the adapter lives, and so do the bound weights.
        self.call(|adapter, error| unsafe { sys::speft_attach(adapter, error) })
    }

    pub(crate) fn unmerge_on(&mut self, loan: u64) -> Result<()> {
        self.keep_only(loan)?;
        // SAFETY: the adapter lives, and so do the bound weights.
        self.call(|adapter, error| unsafe { sys::speft_unmerge(adapter, error) })
    }

    pub(crate) fn multiply_on(
        &mut self,
        loan: u64,
        multiply: Multiply,
        position: i64,
        options: LinearOptions,
        inputs: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        self.keep_only(loan)?;
        let (inputs, outputs) = (inputs.as_raw().native(), out.as_raw().native());
        // SAFETY: the adapter lives, and so do the bound weights; the views borrow what they show, `out` exclusively.
        self.call(|adapter, error| unsafe {
            multiply(adapter, position, &options.native(), inputs.as_ptr(), outputs.as_ptr(), error)
        })
    }

    pub(crate) fn leave_bases_on(&mut self, loan: u64, density: f64) -> Result<(Adapter, f64)> {
        self.keep_only(loan)?;
        let (mut handle, mut share) = (std::ptr::null_mut(), 0.0);
        // SAFETY: the adapter lives, and so do the bound weights.
        let answer =
            call(|error| unsafe { sys::speft_leave_bases(self.as_ptr(), density, &mut handle, &mut share, error) });
        Ok((Self::open(answer, handle, &self.host, Callbacks::default())?, share))
    }

    pub(crate) fn ordinary_share_on(&mut self, loan: u64, density: f64) -> Result<f64> {
        self.keep_only(loan)?;
        let mut share = 0.0;
        // SAFETY: the adapter lives, and so do the bound weights; NULL makes no adapter.
        self.call(|adapter, error| unsafe {
            sys::speft_leave_bases(adapter, density, std::ptr::null_mut(), &mut share, error)
        })?;
        Ok(share)
    }

    /// The loan that runs.
    pub(crate) fn loan(&self) -> u64 {
        self.loan
    }

    /// Ends a loan whose guard is gone, so that memory of which nobody knows whether it still is there is not touched.
    fn keep_only(&mut self, loan: u64) -> Result<()> {
        if self.lent.is_empty() || self.loan == loan { Ok(()) } else { self.end_loan() }
    }

    pub(crate) fn end_loan(&mut self) -> Result<()> {
        while let Some(&position) = self.lent.last() {
            self.unbind_position(position)?;
            self.lent.pop();
        }
        self.loan = RAW;
        Ok(())
    }

    // ---- inside ----

    pub(crate) fn call(
        &self,
        function: impl FnOnce(*mut sys::speft_adapter, *mut *mut sys::speft_error) -> sys::speft_status,
    ) -> Result<()> {
        self.host.call(|error| function(self.handle.as_ptr(), error))
    }

    pub(crate) fn position(&self, parameter: impl Which) -> Result<i64> {
        parameter.position(&self.parameters)
    }

    fn bind_dense(&self, position: i64, weights: &RawTensor) -> Result<()> {
        let data = weights.native();
        let weights = sys::speft_weights {
            struct_size: size_of::<sys::speft_weights>() as u32,
            kind: sys::SPEFT_WEIGHTS_DENSE,
            data: data.as_ptr(),
            quantization: std::ptr::null(),
        };
        // SAFETY: the adapter lives; the structs are copied, and the memory is not touched.
        self.call(|adapter, error| unsafe { sys::speft_bind_weights(adapter, position, &weights, error) })
    }

    fn bind_codes(&self, position: i64, weights: &QuantizedMut<'_>) -> Result<()> {
        weights.as_view().with_native(|weights| {
            // SAFETY: the adapter lives; the structs are copied; the memory, of which the scales are read, is there.
            self.call(|adapter, error| unsafe { sys::speft_bind_weights(adapter, position, weights, error) })
        })
    }

    fn unbind_position(&self, position: i64) -> Result<()> {
        // SAFETY: the adapter lives; NULL unbinds.
        self.call(|adapter, error| unsafe { sys::speft_bind_weights(adapter, position, std::ptr::null(), error) })
    }

    fn measure_rounding_loss(&self, position: i64) -> Result<f64> {
        let mut share = 0.0;
        // SAFETY: the adapter lives.
        self.call(|adapter, error| unsafe { sys::speft_measure_rounding_loss(adapter, position, &mut share, error) })?;
        Ok(share)
    }

    fn measure_requantization(&self, position: i64) -> Result<Requantization> {
        let mut done = empty!(speft_requantization);
        // SAFETY: the adapter lives; the struct tells its size.
        self.call(|adapter, error| unsafe { sys::speft_get_requantization(adapter, position, &mut done, error) })?;
        Ok(Requantization { deltas: done.deltas, changed: done.changed, relative_error: done.relative_error })
    }

    fn indices(
        &self,
        count: usize,
        fill: impl FnOnce(
            *mut sys::speft_adapter,
            *const sys::speft_tensor,
            *mut *mut sys::speft_error,
        ) -> sys::speft_status,
    ) -> Result<Vec<i64>> {
        let mut indices = vec![0_i64; count];
        let view = TensorViewMut::from(indices.as_mut_slice());
        self.call(|adapter, error| fill(adapter, view.as_raw().native().as_ptr(), error))?;
        Ok(indices)
    }

    fn lend(
        &self,
        get: impl FnOnce(*mut sys::speft_adapter, *mut sys::speft_tensor, *mut *mut sys::speft_error) -> sys::speft_status,
    ) -> Result<RawTensor> {
        // SAFETY: numbers and pointers, for which zeros are valid.
        let mut tensor: sys::speft_tensor = unsafe { std::mem::zeroed() };
        self.call(|adapter, error| get(adapter, &mut tensor, error))?;
        // SAFETY: the library has filled it.
        unsafe { RawTensor::from_native(&tensor) }
    }

    fn read(context: &Context, source: Source<'_>, mut options: LoadOptions<'_>, load: Load) -> Result<Self> {
        let (score, native) = options.score.take().map(|score| Scorer::pin(score, &context.host)).unzip();
        let mut handle = std::ptr::null_mut();
        let answer = options.with_native(source, native.as_ref(), |options, path| {
            // SAFETY: the context lives; the structs and the path live through the call.
            call(|error| unsafe { load(context.as_ptr(), options, path, &mut handle, error) })
        });
        Self::open(answer, handle, &context.host, Callbacks { _score: score, _communicator: None })
    }
}

/// `speft_load_adapter` or `speft_load_checkpoint`.
type Load = unsafe extern "C" fn(
    *mut sys::speft_context,
    *const sys::speft_load_options,
    *const std::ffi::c_char,
    *mut *mut sys::speft_adapter,
    *mut *mut sys::speft_error,
) -> sys::speft_status;

/// `speft_linear_forward` or `speft_linear_backward`.
pub(crate) type Multiply = unsafe extern "C" fn(
    *mut sys::speft_adapter,
    i64,
    *const sys::speft_linear_options,
    *const sys::speft_tensor,
    *const sys::speft_tensor,
    *mut *mut sys::speft_error,
) -> sys::speft_status;

impl Drop for Adapter {
    fn drop(&mut self) {
        // SAFETY: it is destroyed once. What C calls of the host goes after it.
        unsafe { sys::speft_destroy_adapter(self.as_ptr()) };
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sparse = self.parameters.iter().filter(|parameter| parameter.role() == Role::Sparse).count();
        formatter
            .debug_struct("Adapter")
            .field("sparse", &sparse)
            .field("dense", &(self.parameters.len() - sparse))
            .field("state", &self.state())
            .finish()
    }
}
