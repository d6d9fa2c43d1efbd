//! Closures that C calls. A panic never crosses C: it is kept, the callback answers as after a failure, and it goes on
//! in the caller when the call has returned.

use std::any::Any;
use std::ffi::c_void;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use speft_sys as sys;

type Payload = Box<dyn Any + Send>;

/// Where the first panic of callbacks waits for the call to return.
#[derive(Default)]
pub(crate) struct Panics(Mutex<Option<Payload>>);

impl Panics {
    /// Runs a callback; `None` when it panicked.
    pub fn catch<R>(&self, callback: impl FnOnce() -> R) -> Option<R> {
        catch_unwind(AssertUnwindSafe(callback)).map_err(|payload| _ = self.slot().get_or_insert(payload)).ok()
    }

    /// Goes on with a panic that was caught.
    pub fn resume(&self) {
        let caught = self.slot().take();
        if let Some(payload) = caught {
            resume_unwind(payload);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slot().is_none()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Payload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that C points to until it is dropped: a `Box` that may not be moved from under a pointer.
pub(crate) struct Pinned<T>(std::ptr::NonNull<T>);

impl<T> Pinned<T> {
    pub fn new(value: T) -> Self {
        Self(Box::leak(Box::new(value)).into())
    }

    pub fn user(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a Box and is dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: it owns the value, as a Box does.
unsafe impl<T: Send> Send for Pinned<T> {}

/// How far long work has come, in units of the work (of a file, bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub done: i64,
    /// What there is.
    pub total: i64,
}

/// What long work reports to; `ControlFlow::Break(())` cancels it.
pub type Report<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// A [`Report`] as C calls it, for the length of one call.
pub(crate) struct Reporter<'a, 'b> {
    report: Option<&'a mut Report<'b>>,
    panics: Panics,
}

impl<'a, 'b> Reporter<'a, 'b> {
    pub fn new(report: Option<&'a mut Report<'b>>) -> Self {
        Self { report, panics: Panics::default() }
    }

    /// Runs `call` with the C struct, or NULL where nobody listens, and goes on with a panic of the report.
    pub fn with<R>(&mut self, call: impl FnOnce(*const sys::speft_progress) -> R) -> R {
        if self.report.is_none() {
            return call(std::ptr::null());
        }
        let native = sys::speft_progress {
            struct_size: size_of::<sys::speft_progress>() as u32,
            user: std::ptr::from_mut(self).cast(),
            report: Some(report_progress),
        };
        let answer = call(&native);
        self.panics.resume();
        answer
    }
}

unsafe extern "C" fn report_progress(user: *mut c_void, done: i64, total: i64) -> i32 {
    // SAFETY: `user` is the Reporter of the call that runs on this thread, which touches it no more until then.
    let reporter = unsafe { &mut *user.cast::<Reporter<'_, '_>>() };
    let Some(report) = &mut reporter.report else { return 0 };
    if !reporter.panics.is_empty() {
        return 1;
    }
    match reporter.panics.catch(|| report(Progress { done, total })) {
        Some(ControlFlow::Continue(())) => 0,
        Some(ControlFlow::Break(())) | None => 1,
    }
}
