//! How several processes talk. `Unsupported` in this version where there is more than one.

use std::ffi::c_void;
use std::sync::Arc;

use speft_sys as sys;

use crate::callback::Pinned;
use crate::context::Host;
use crate::error::Result;
use crate::tensor::{RawTensor, TensorView, TensorViewMut};

/// The host's own engine (NCCL, MPI). Tensors lie on the context's device; `stream` is the context's. `Err(())` ends the
/// call that asked.
#[allow(clippy::result_unit_err)]
pub trait Communicator: Send + Sync {
    /// Which of the processes this is.
    fn rank(&self) -> i32;
    /// How many there are.
    fn size(&self) -> i32;
    /// Sums in place.
    fn all_reduce(&self, values: TensorViewMut<'_>, stream: *mut c_void) -> std::result::Result<(), ()>;
    /// `all` is `[size, …]`: the parts of all ranks in order.
    fn all_gather(
        &self,
        part: TensorView<'_>,
        all: TensorViewMut<'_>,
        stream: *mut c_void,
    ) -> std::result::Result<(), ()>;
    /// The values of process `root`, to all.
    fn broadcast(&self, values: TensorViewMut<'_>, root: i32, stream: *mut c_void) -> std::result::Result<(), ()>;
}

/// A [`Communicator`] as C calls it, for the life of an adapter.
pub(crate) struct Link {
    communicator: Box<dyn Communicator>,
    host: Arc<Host>,
}

impl Link {
    /// What the adapter keeps, and C's struct that points to it.
    pub fn pin(communicator: Box<dyn Communicator>, host: &Arc<Host>) -> (Pinned<Self>, sys::speft_communicator) {
        let (rank, size) = (communicator.rank(), communicator.size());
        let pinned = Pinned::new(Self { communicator, host: Arc::clone(host) });
        let native = sys::speft_communicator {
            struct_size: size_of::<sys::speft_communicator>() as u32,
            rank,
            size,
            user: pinned.user(),
            all_reduce: Some(all_reduce),
            all_gather: Some(all_gather),
            broadcast: Some(broadcast),
            release: None, // the adapter owns it
        };
        (pinned, native)
    }
}

/// Runs one of the functions; anything but 0 tells the library that it failed.
///
/// # Safety
/// `user` is the Link of an adapter that lives.
unsafe fn answer(
    user: *mut c_void,
    function: impl FnOnce(&dyn Communicator) -> Result<std::result::Result<(), ()>>,
) -> i32 {
    // SAFETY: the caller's promise.
    let link = unsafe { &*user.cast::<Link>() };
    match link.host.panics.catch(|| function(&*link.communicator)) {
        Some(Ok(Ok(()))) => 0,
        Some(Ok(Err(()))) | Some(Err(_)) | None => 1,
    }
}

/// # Safety
/// The library lends the tensor for the call, to be written.
unsafe fn lent_mut<'a>(tensor: *const sys::speft_tensor) -> Result<TensorViewMut<'a>> {
    // SAFETY: the caller's promise.
    unsafe { Ok(TensorViewMut::from_raw(RawTensor::from_native(&*tensor)?)) }
}

unsafe extern "C" fn all_reduce(user: *mut c_void, values: *mut sys::speft_tensor, stream: *mut c_void) -> i32 {
    // SAFETY: this is the call.
    unsafe { answer(user, |link| Ok(link.all_reduce(lent_mut(values)?, stream))) }
}

unsafe extern "C" fn all_gather(
    user: *mut c_void,
    part: *const sys::speft_tensor,
    all: *mut sys::speft_tensor,
    stream: *mut c_void,
) -> i32 {
    // SAFETY: this is the call.
    unsafe {
        answer(user, |link| {
            let part = TensorView::from_raw(RawTensor::from_native(&*part)?);
            Ok(link.all_gather(part, lent_mut(all)?, stream))
        })
    }
}

unsafe extern "C" fn broadcast(
    user: *mut c_void,
    values: *mut sys::speft_tensor,
    root: i32,
    stream: *mut c_void,
) -> i32 {
    // SAFETY: this is the call.
    unsafe { answer(user, |link| Ok(link.broadcast(lent_mut(values)?, root, stream))) }
}
