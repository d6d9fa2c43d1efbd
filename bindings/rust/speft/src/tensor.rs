//! Views on the host's memory. A view owns nothing, and passes to the library without a copy.

use std::ffi::c_void;
use std::marker::PhantomData;

use half::{bf16, f16};
use speft_sys as sys;

use crate::error::{Error, Result, to_i64};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// `f32`
    Float32,
    /// [`half::f16`]
    Float16,
    /// [`half::bf16`]
    BFloat16,
    /// `i64`
    Int64,
    /// `i8`
    Int8,
    /// `u8`
    UInt8,
    /// `u16`
    UInt16,
}

impl DataType {
    const ALL: [Self; 7] =
        [Self::Float32, Self::Float16, Self::BFloat16, Self::Int64, Self::Int8, Self::UInt8, Self::UInt16];

    /// Its name, `"float32"` say.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Int64 => "int64",
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
        }
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::BFloat16 | Self::UInt16 => 2,
            Self::Int64 => 8,
            Self::Int8 | Self::UInt8 => 1,
        }
    }

    pub(crate) fn to_native(self) -> sys::speft_dtype {
        let code = match self {
            Self::Float32 | Self::Float16 => sys::SPEFT_CODE_FLOAT,
            Self::BFloat16 => sys::SPEFT_CODE_BFLOAT,
            Self::Int64 | Self::Int8 => sys::SPEFT_CODE_INT,
            Self::UInt8 | Self::UInt16 => sys::SPEFT_CODE_UINT,
        };
        sys::speft_dtype { code: code as u8, bits: 8 * self.size() as u8, lanes: 1 }
    }

    pub(crate) fn from_native(native: sys::speft_dtype) -> Result<Self> {
        let same = |other: sys::speft_dtype| (other.code, other.bits, other.lanes);
        Self::ALL.into_iter().find(|known| same(known.to_native()) == same(native)).ok_or_else(|| {
            Error::refuse(format!(
                "dtype must be one that this crate knows; got code {}, {} bits, {} lanes",
                native.code, native.bits, native.lanes
            ))
        })
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for DataType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::refuse(format!("dtype must be one of ({names}); got {name:?}"))
        })
    }
}

/// A Rust type that tensors can have as elements.
///
/// # Safety
/// Any bits are a value of it, and [`Element::DATA_TYPE`] is what it is.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// What the library calls it.
    const DATA_TYPE: DataType;
}

macro_rules! elements {
    ($($type:ty = $name:ident),+) => {
        // SAFETY: numbers without invalid bits, and their own names.
        $(unsafe impl Element for $type { const DATA_TYPE: DataType = DataType::$name; })+
    };
}
elements!(f32 = Float32, f16 = Float16, bf16 = BFloat16, i64 = Int64, i8 = Int8, u8 = UInt8, u16 = UInt16);

/// Where memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The host's own memory.
    Cpu,
    /// That of a CUDA device, by its number.
    Cuda(i32),
    /// Host memory that is pinned for a CUDA device.
    CudaHost(i32),
    /// Another of DLPack's device types, and its number: the library refuses it by name.
    Other(i32, i32),
}

impl Device {
    pub(crate) fn to_native(self) -> sys::speft_device {
        let (type_, id) = match self {
            Self::Cpu => (sys::SPEFT_DEVICE_CPU, 0),
            Self::Cuda(id) => (sys::SPEFT_DEVICE_CUDA, id),
            Self::CudaHost(id) => (sys::SPEFT_DEVICE_CUDA_HOST, id),
            Self::Other(type_, id) => (type_, id),
        };
        sys::speft_device { type_, id }
    }

    pub(crate) fn from_native(native: sys::speft_device) -> Self {
        match native.type_ {
            sys::SPEFT_DEVICE_CPU => Self::Cpu,
            sys::SPEFT_DEVICE_CUDA => Self::Cuda(native.id),
            sys::SPEFT_DEVICE_CUDA_HOST => Self::CudaHost(native.id),
            other => Self::Other(other, native.id),
        }
    }

    fn is_host(self) -> bool {
        matches!(self, Self::Cpu | Self::CudaHost(_))
    }
}

/// C's view of a [`RawTensor`], whose shape it borrows.
#[derive(Clone, Copy)]
pub(crate) struct Native<'a> {
    tensor: sys::speft_tensor,
    shown: PhantomData<&'a RawTensor>,
}

impl Native<'_> {
    pub fn as_ptr(&self) -> *const sys::speft_tensor {
        &self.tensor
    }
}

/// A tensor by its address, with nothing said of how long the memory lives: what
/// [`Adapter::bind_raw`](crate::Adapter::bind_raw) takes.
#[derive(Clone, Debug)]
pub struct RawTensor {
    data: *mut c_void,
    device: Device,
    data_type: DataType,
    shape: Vec<i64>,
    strides: Option<Vec<i64>>,
}

impl RawTensor {
    /// A row-major contiguous tensor in host memory at `data`. Nothing is read here.
    ///
    /// # Errors
    /// `InvalidArgument` for a size that is no `i64`.
    pub fn new(data: *mut c_void, data_type: DataType, shape: impl AsRef<[usize]>) -> Result<Self> {
        let shape = shape.as_ref().iter().map(|&size| to_i64("shape", size)).collect::<Result<_>>()?;
        Ok(Self { data, device: Device::Cpu, data_type, shape, strides: None })
    }

    /// The same on another device.
    pub fn on(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// With steps from element to element along each axis. Anything but row-major contiguous is refused by the calls
    /// that take it.
    ///
    /// # Errors
    /// `InvalidArgument` when there are not as many as axes.
    pub fn with_strides(mut self, strides: impl AsRef<[i64]>) -> Result<Self> {
        let strides = strides.as_ref();
        if strides.len() != self.shape.len() {
            return Err(Error::refuse(format!(
                "strides must have {} entries, one an axis; got {}",
                self.shape.len(),
                strides.len()
            )));
        }
        self.strides = Some(strides.to_vec());
        Ok(self)
    }

    /// The address.
    pub fn data(&self) -> *mut c_void {
        self.data
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The type of its elements.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The size of each axis.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1i64, |product, &size| product.saturating_mul(size)) as usize
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// C's view of it, which points into `self`.
    pub(crate) fn native(&self) -> Native<'_> {
        let tensor = sys::speft_tensor {
            data: self.data,
            device: self.device.to_native(),
            ndim: self.shape.len() as i32,
            dtype: self.data_type.to_native(),
            shape: self.shape.as_ptr().cast_mut(),
            strides: self.strides.as_ref().map_or(std::ptr::null_mut(), |strides| strides.as_ptr().cast_mut()),
            byte_offset: 0,
        };
        Native { tensor, shown: PhantomData }
    }

    /// What C's view shows.
    ///
    /// # Safety
    /// `shape` and `strides` are arrays of `ndim`, or NULL where that is 0 or contiguous; the data is not touched.
    pub(crate) unsafe fn from_native(native: &sys::speft_tensor) -> Result<Self> {
        let array = |pointer: *const i64| match native.ndim {
            0 => Vec::new(),
            // SAFETY: the caller's promise.
            axes => unsafe { std::slice::from_raw_parts(pointer, axes as usize) }.to_vec(),
        };
        Ok(Self {
            data: native.data.wrapping_byte_add(native.byte_offset as usize),
            device: Device::from_native(native.device),
            data_type: DataType::from_native(native.dtype)?,
            shape: array(native.shape),
            strides: (!native.strides.is_null()).then(|| array(native.strides)),
        })
    }

    fn of_slice<T: Element>(data: *const T, len: usize, shape: &[usize]) -> Result<Self> {
        let expected = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if expected != Some(len) {
            return Err(Error::refuse(format!("shape {shape:?} must have as many elements as the slice; got {len}")));
        }
        Self::new(data.cast_mut().cast(), T::DATA_TYPE, shape)
    }

    /// Strides of 1 element steps by row, or none at all.
    fn is_contiguous(&self) -> bool {
        let Some(strides) = &self.strides else { return true };
        let mut expected = 1i64;
        self.shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size <= 1 || stride == expected;
            expected = size.saturating_mul(expected);
            fits
        }) || self.is_empty()
    }

    /// The address of its elements as Rust has them: in host memory, contiguous, of type `T`.
    fn elements<T: Element>(&self) -> Result<*mut T> {
        let problem = if !self.device.is_host() {
            format!("the tensor must lie in host memory to be a slice; it is on {:?}", self.device)
        } else if self.data_type != T::DATA_TYPE {
            format!("the tensor must be {} to be such a slice; it is {}", T::DATA_TYPE, self.data_type)
        } else if !self.is_contiguous() {
            format!("the tensor must be row-major contiguous to be a slice; its strides are {:?}", self.strides)
        } else if self.is_empty() {
            return Ok(std::ptr::NonNull::dangling().as_ptr());
        } else {
            return Ok(self.data.cast());
        };
        Err(Error::refuse(problem))
    }

    /// The same bits under another name: 16-bit integers as bfloat16, say.
    fn reinterpret(mut self, data_type: DataType) -> Result<Self> {
        if data_type.size() != self.data_type.size() {
            return Err(Error::refuse(format!(
                "the bits of {} cannot be read as {data_type}: their sizes differ",
                self.data_type
            )));
        }
        self.data_type = data_type;
        Ok(self)
    }
}

/// What both kinds of view tell.
macro_rules! describe {
    () => {
        /// The type of its elements.
        pub fn data_type(&self) -> DataType {
            self.raw.data_type
        }

        /// Where it lies.
        pub fn device(&self) -> Device {
            self.raw.device
        }

        /// The size of each axis.
        pub fn shape(&self) -> &[i64] {
            &self.raw.shape
        }

        /// How many elements it has.
        pub fn len(&self) -> usize {
            self.raw.len()
        }

        /// Whether it has no elements.
        pub fn is_empty(&self) -> bool {
            self.raw.is_empty()
        }

        /// Its address, which may be taken as long as the view lives.
        pub fn as_raw(&self) -> &RawTensor {
            &self.raw
        }

        /// With steps from element to element along each axis, as other frameworks describe their memory. Anything
        /// but row-major contiguous is refused by the calls that take it.
        ///
        /// # Errors
        /// `InvalidArgument` when there are not as many as axes.
        pub fn with_strides(self, strides: impl AsRef<[i64]>) -> Result<Self> {
            Ok(Self { raw: self.raw.with_strides(strides)?, ..self })
        }

        /// The same bits as another type of the same size: `u16` as bfloat16, for hosts without such a type.
        ///
        /// # Errors
        /// `InvalidArgument` when the sizes differ.
        pub fn reinterpret(self, data_type: DataType) -> Result<Self> {
            Ok(Self { raw: self.raw.reinterpret(data_type)?, ..self })
        }
    };
}

/// A tensor to be read.
///
/// ```
/// use speft::TensorView;
///
/// let gradient = vec![0.5_f32; 12];
/// let view = TensorView::new(&gradient, [3, 4])?;
/// assert_eq!((view.shape(), view.data_type()), (&[3, 4][..], speft::DataType::Float32));
/// # speft::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    raw: RawTensor,
    lent: PhantomData<&'a [u8]>,
}

// SAFETY: a shared slice of plain numbers.
unsafe impl Send for TensorView<'_> {}
// SAFETY: the same.
unsafe impl Sync for TensorView<'_> {}

impl<'a> TensorView<'a> {
    /// Row-major, of this shape.
    ///
    /// # Errors
    /// `InvalidArgument` when the shape has not as many elements as the slice.
    pub fn new<T: Element>(data: &'a [T], shape: impl AsRef<[usize]>) -> Result<Self> {
        Ok(Self { raw: RawTensor::of_slice(data.as_ptr(), data.len(), shape.as_ref())?, lent: PhantomData })
    }

    /// A tensor by its address.
    ///
    /// # Safety
    /// The memory is there, is that large, and nobody writes to it as long as `'a`.
    pub unsafe fn from_raw(raw: RawTensor) -> Self {
        Self { raw, lent: PhantomData }
    }

    /// The elements, in row-major order.
    ///
    /// # Errors
    /// `InvalidArgument` when they are not of type `T`, not in host memory or not contiguous.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T]> {
        let data = self.raw.elements::<T>()?;
        // SAFETY: the view borrows that many elements for that long.
        Ok(unsafe { std::slice::from_raw_parts(data, self.raw.len()) })
    }

    describe!();
}

impl<'a, T: Element> From<&'a [T]> for TensorView<'a> {
    /// One axis.
    fn from(data: &'a [T]) -> Self {
        Self::new(data, [data.len()]).expect("the shape is the slice's")
    }
}

/// A tensor to be read and written.
#[derive(Debug)]
pub struct TensorViewMut<'a> {
    raw: RawTensor,
    lent: PhantomData<&'a mut [u8]>,
}

// SAFETY: an exclusive slice of plain numbers.
unsafe impl Send for TensorViewMut<'_> {}
// SAFETY: a shared reference to it only reads.
unsafe impl Sync for TensorViewMut<'_> {}

impl<'a> TensorViewMut<'a> {
    /// Row-major, of this shape.
    ///
    /// # Errors
    /// `InvalidArgument` when the shape has not as many elements as the slice.
    pub fn new<T: Element>(data: &'a mut [T], shape: impl AsRef<[usize]>) -> Result<Self> {
        let len = data.len();
        Ok(Self { raw: RawTensor::of_slice(data.as_mut_ptr().cast_const(), len, shape.as_ref())?, lent: PhantomData })
    }

    /// A tensor by its address.
    ///
    /// # Safety
    /// The memory is there, is that large, and nobody else reads or writes it as long as `'a`.
    pub unsafe fn from_raw(raw: RawTensor) -> Self {
        Self { raw, lent: PhantomData }
    }

    /// The elements, in row-major order.
    ///
    /// # Errors
    /// `InvalidArgument` when they are not of type `T`, not in host memory or not contiguous.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let data = self.raw.elements::<T>()?;
        // SAFETY: the view borrows that many elements at least as long as `self`.
        Ok(unsafe { std::slice::from_raw_parts(data, self.raw.len()) })
    }

    /// The elements, in row-major order, to be written.
    ///
    /// # Errors
    /// As of [`as_slice`](Self::as_slice).
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        let data = self.raw.elements::<T>()?;
        // SAFETY: the view borrows that many elements exclusively, at least as long as `self`.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, self.raw.len()) })
    }

    /// The same, to be read.
    pub fn as_view(&self) -> TensorView<'_> {
        TensorView { raw: self.raw.clone(), lent: PhantomData }
    }

    describe!();
}

impl<'a, T: Element> From<&'a mut [T]> for TensorViewMut<'a> {
    /// One axis.
    fn from(data: &'a mut [T]) -> Self {
        let len = data.len();
        Self::new(data, [len]).expect("the shape is the slice's")
    }
}
