//! One parameter of the model, as an adapter knows it.

use std::ffi::CString;

use speft_sys as sys;

use crate::error::{Result, c_text, text, to_i64};
use crate::native::defaults;
use crate::options::Role;
use crate::tensor::DataType;

/// What this process holds of a parameter. Anything but [`Part::Whole`] is `Unsupported` in this version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// All of it.
    Whole,
    /// So many scalars of the flattened parameter, from `offset` on.
    Range {
        /// The first.
        offset: i64,
        /// How many.
        extent: i64,
    },
    /// A block.
    Block {
        /// Where it begins along each axis.
        offset: Vec<i64>,
        /// How long it is along each axis.
        extent: Vec<i64>,
    },
}

/// One parameter of the model: its name, shape and type, and how it is trained.
///
/// ```
/// use speft::{DataType, Parameter};
///
/// let query = Parameter::sparse("encoder.0.query.weight", [384, 384], DataType::Float32);
/// let head = Parameter::dense("head.weight", [2, 384], DataType::Float32).group(1);
/// assert_eq!((query.name(), head.shape()), ("encoder.0.query.weight", &[2, 384][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    data_type: DataType,
    role: Role,
    group: i32,
    part: Part,
}

impl Parameter {
    /// One of which a mask of scalars is trained. Its name is unique within an adapter, and not empty; its type is
    /// float32, bfloat16 or float16; it has fewer than 2^32 scalars.
    pub fn sparse(name: impl Into<String>, shape: impl Into<Vec<usize>>, data_type: DataType) -> Self {
        Self { name: name.into(), shape: shape.into(), data_type, role: Role::Sparse, group: 0, part: Part::Whole }
    }

    /// One that is trained in full, as a new head is.
    pub fn dense(name: impl Into<String>, shape: impl Into<Vec<usize>>, data_type: DataType) -> Self {
        Self { role: Role::Dense, ..Self::sparse(name, shape, data_type) }
    }

    /// Which of a step's [`Hyperparameters`](crate::Hyperparameters) apply to it; 0 unless there are several.
    pub fn group(mut self, group: i32) -> Self {
        self.group = group;
        self
    }

    /// What this process holds of it.
    pub fn part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of the whole parameter.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of its scalars.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// How it is trained.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How many scalars it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no scalars.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the library tells of one.
    ///
    /// # Safety
    /// `info` was filled by `speft_get_parameter`, of an adapter that still lives.
    pub(crate) unsafe fn from_native(info: &sys::speft_parameter) -> Result<Self> {
        let shape = match info.ndim {
            0 => Vec::new(),
            // SAFETY: the caller's promise.
            axes => unsafe { std::slice::from_raw_parts(info.shape, axes as usize) }
                .iter()
                .map(|&size| size as usize)
                .collect(),
        };
        Ok(Self {
            // SAFETY: the caller's promise.
            name: unsafe { text(info.name) },
            shape,
            data_type: DataType::from_native(info.dtype)?,
            // Later roles would be of parameters trained in another way: a mask is the least that all have.
            role: Role::from_code(info.role).unwrap_or(Role::Sparse),
            group: info.group,
            part: Part::Whole,
        })
    }
}

/// C's structs of several parameters, and what they point to.
pub(crate) struct NativeParameters {
    pointers: Vec<*const sys::speft_parameter>,
    /// What the pointers show; it never grows.
    _structs: Vec<(sys::speft_parameter, Arrays)>,
}

struct Arrays {
    name: CString,
    shape: Vec<i64>,
    offset: Vec<i64>,
    extent: Vec<i64>,
}

impl NativeParameters {
    pub fn new(parameters: &[Parameter]) -> Result<Self> {
        let structs = parameters.iter().map(make).collect::<Result<Vec<_>>>()?;
        Ok(Self { pointers: structs.iter().map(|made| &raw const made.0).collect(), _structs: structs })
    }

    pub fn pointers(&self) -> *const *const sys::speft_parameter {
        self.pointers.as_ptr()
    }

    pub fn count(&self) -> i64 {
        self.pointers.len() as i64
    }
}

fn make(parameter: &Parameter) -> Result<(sys::speft_parameter, Arrays)> {
    let (part, offset, extent) = match &parameter.part {
        Part::Whole => (sys::SPEFT_PART_WHOLE, vec![], vec![]),
        Part::Range { offset, extent } => (sys::SPEFT_PART_RANGE, vec![*offset], vec![*extent]),
        Part::Block { offset, extent } => (sys::SPEFT_PART_BLOCK, offset.clone(), extent.clone()),
    };
    let shape = parameter.shape.iter().map(|&size| to_i64("shape", size)).collect::<Result<_>>()?;
    let arrays = Arrays { name: c_text("name", &parameter.name)?, shape, offset, extent };
    let mut native: sys::speft_parameter = defaults!(speft_parameter_init);
    native.role = parameter.role.code();
    native.name = arrays.name.as_ptr();
    native.shape = arrays.shape.as_ptr();
    native.ndim = arrays.shape.len() as i32;
    native.dtype = parameter.data_type.to_native();
    native.part = part;
    native.group = parameter.group;
    if part != sys::SPEFT_PART_WHOLE {
        native.offset = arrays.offset.as_ptr();
        native.extent = arrays.extent.as_ptr();
    }
    Ok((native, arrays))
}
