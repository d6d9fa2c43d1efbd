//! What can go wrong.

use std::ffi::{CStr, CString, c_char};
use std::fmt;

use speft_sys as sys;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// An argument has a wrong value, shape, type or device. The message names it, with expected and actual.
    InvalidArgument,
    /// There is not enough memory on the host or on the device.
    OutOfMemory,
    /// The request is well formed, but this version or this backend has no code for it.
    Unsupported,
    /// A backend, device or driver is not there.
    Unavailable,
    /// The call comes at the wrong time: a step before the selection, say.
    InvalidState,
    /// Another call runs on the same context, or this is a call from inside a callback. Nothing was done.
    Busy,
    /// The operating system refused a read or a write. [`Error::native_code`] is its errno.
    Io,
    /// A file is damaged or is not what it says.
    Corrupt,
    /// The device failed; the context can no longer be used.
    Device,
    /// A callback asked to stop.
    Cancelled,
    /// A defect of libspeft. Please report the message.
    Internal,
    /// One that a later library has added: a failure like the others.
    Unknown(i32),
}

impl Status {
    /// The status of a failed call, by its number.
    pub fn from_code(code: i32) -> Self {
        match code {
            sys::SPEFT_INVALID_ARGUMENT => Self::InvalidArgument,
            sys::SPEFT_OUT_OF_MEMORY => Self::OutOfMemory,
            sys::SPEFT_UNSUPPORTED => Self::Unsupported,
            sys::SPEFT_UNAVAILABLE => Self::Unavailable,
            sys::SPEFT_INVALID_STATE => Self::InvalidState,
            sys::SPEFT_BUSY => Self::Busy,
            sys::SPEFT_IO => Self::Io,
            sys::SPEFT_CORRUPT => Self::Corrupt,
            sys::SPEFT_DEVICE => Self::Device,
            sys::SPEFT_CANCELLED => Self::Cancelled,
            sys::SPEFT_INTERNAL => Self::Internal,
            other => Self::Unknown(other),
        }
    }

    /// Its number in C.
    pub fn code(self) -> i32 {
        match self {
            Self::InvalidArgument => sys::SPEFT_INVALID_ARGUMENT,
            Self::OutOfMemory => sys::SPEFT_OUT_OF_MEMORY,
            Self::Unsupported => sys::SPEFT_UNSUPPORTED,
            Self::Unavailable => sys::SPEFT_UNAVAILABLE,
            Self::InvalidState => sys::SPEFT_INVALID_STATE,
            Self::Busy => sys::SPEFT_BUSY,
            Self::Io => sys::SPEFT_IO,
            Self::Corrupt => sys::SPEFT_CORRUPT,
            Self::Device => sys::SPEFT_DEVICE,
            Self::Cancelled => sys::SPEFT_CANCELLED,
            Self::Internal => sys::SPEFT_INTERNAL,
            Self::Unknown(code) => code,
        }
    }

    /// The library's name for it, `"INVALID_ARGUMENT"` say; `"UNKNOWN"` for one that the library does not know.
    pub fn name(self) -> &'static str {
        // SAFETY: any number is allowed; the string is static.
        unsafe { static_text(sys::speft_get_status_name(self.code())) }.unwrap_or("UNKNOWN")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A call that failed; nothing was changed by it.
///
/// ```
/// let error = speft::Context::builder().backend("abacus").build().unwrap_err();
/// assert_eq!(error.status(), speft::Status::Unavailable);
/// assert!(error.message().contains("abacus"));
/// ```
#[derive(Debug)]
pub struct Error {
    status: Status,
    message: String,
    backend: String,
    native_code: i64,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What every fallible call returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What kind of failure it was.
    pub fn status(&self) -> Status {
        self.status
    }

    /// One line for a person: what was expected, what came, what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The backend in which it happened, `"cpu"` say, or `""` above the backends.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The errno, cudaError_t or the like behind it, or 0.
    pub fn native_code(&self) -> i64 {
        self.native_code
    }

    /// A wrong argument, found before the library is asked.
    pub(crate) fn refuse(message: impl Into<String>) -> Self {
        Self::with_status(Status::InvalidArgument, message)
    }

    pub(crate) fn with_status(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), backend: String::new(), native_code: 0, source: None }
    }

    pub(crate) fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Makes a fallible call of the C library: `function` gets the place for the error object.
pub(crate) fn call(function: impl FnOnce(*mut *mut sys::speft_error) -> sys::speft_status) -> Result<()> {
    let mut error = std::ptr::null_mut();
    let status = function(&mut error);
    if status == sys::SPEFT_OK {
        return Ok(());
    }
    // SAFETY: a failed call has left an owned object, or NULL, which all four take. The texts are copied before it is
    // destroyed, which nothing does twice.
    unsafe {
        let made = Error {
            status: Status::from_code(match sys::speft_get_error_status(error) {
                sys::SPEFT_OK => status,
                told => told,
            }),
            message: text(sys::speft_get_error_message(error)),
            backend: text(sys::speft_get_error_backend(error)),
            native_code: sys::speft_get_error_native_code(error),
            source: None,
        };
        sys::speft_destroy_error(error);
        Err(made)
    }
}

/// A copy of C's text; of NULL it is empty.
///
/// # Safety
/// `text` is NULL or ends in 0.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// C's text in static storage; `None` for NULL.
///
/// # Safety
/// `text` is NULL or ends in 0, and lives for ever.
pub(crate) unsafe fn static_text(text: *const c_char) -> Option<&'static str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise. The library's own names are ASCII.
    Some(unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("?"))
}

/// `text` for C; `argument` names it where it has a 0 inside.
pub(crate) fn c_text(argument: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::refuse(format!("{argument} must have no NUL byte; got {text:?}")))
}

/// A size or position for C.
pub(crate) fn to_i64(argument: &str, value: impl TryInto<i64> + fmt::Display + Copy) -> Result<i64> {
    value.try_into().map_err(|_| Error::refuse(format!("{argument} must be below 2^63; got {value}")))
}
