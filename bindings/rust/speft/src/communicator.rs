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

#[cfg(test)]
mod tests {
    use super::*;

    /// One of three processes, whose parts are all its own; the root of a broadcast is refused.
    struct Three;

    impl Communicator for Three {
        fn rank(&self) -> i32 {
            1
        }

        fn size(&self) -> i32 {
            3
        }

        fn all_reduce(&self, mut values: TensorViewMut<'_>, _: *mut c_void) -> std::result::Result<(), ()> {
            values.as_mut_slice::<f32>().unwrap().iter_mut().for_each(|value| *value *= 3.0);
            Ok(())
        }

        fn all_gather(
            &self,
            part: TensorView<'_>,
            mut all: TensorViewMut<'_>,
            _: *mut c_void,
        ) -> std::result::Result<(), ()> {
            let part = part.as_slice::<f32>().unwrap();
            all.as_mut_slice::<f32>().unwrap().chunks_mut(part.len()).for_each(|place| place.copy_from_slice(part));
            Ok(())
        }

        fn broadcast(&self, _: TensorViewMut<'_>, root: i32, _: *mut c_void) -> std::result::Result<(), ()> {
            assert!(root == 0, "from the broadcast");
            Err(())
        }
    }

    // The library has no call yet that needs one.
    #[test]
    fn what_c_calls_reaches_the_communicator() {
        let host = Arc::new(Host::default());
        let (_pinned, native) = Link::pin(Box::new(Three), &host);
        assert_eq!((native.rank, native.size), (1, 3));
        let (mut part, mut all) = ([1.0_f32, 2.0], [0.0_f32; 6]);
        let view = |values: &mut [f32]| -> (Vec<i64>, sys::speft_tensor) {
            let mut shape = vec![values.len() as i64];
            // SAFETY: numbers and pointers, for which zeros are valid.
            let mut tensor: sys::speft_tensor = unsafe { std::mem::zeroed() };
            tensor.data = values.as_mut_ptr().cast();
            tensor.device.type_ = sys::SPEFT_DEVICE_CPU;
            tensor.dtype = crate::DataType::Float32.to_native();
            (tensor.ndim, tensor.shape) = (1, shape.as_mut_ptr());
            (shape, tensor)
        };
        let ((_shape, mut part_view), (_shapes, mut all_view)) = (view(&mut part), view(&mut all));
        // SAFETY: the views show arrays that live, and `user` is the Link.
        unsafe {
            assert_eq!(native.all_reduce.unwrap()(native.user, &mut part_view, std::ptr::null_mut()), 0);
            let gathered = native.all_gather.unwrap()(native.user, &part_view, &mut all_view, std::ptr::null_mut());
            assert_eq!(gathered, 0);
            assert_eq!(native.broadcast.unwrap()(native.user, &mut part_view, 0, std::ptr::null_mut()), 1);
            assert!(host.panics.is_empty());
            assert_eq!(native.broadcast.unwrap()(native.user, &mut part_view, 2, std::ptr::null_mut()), 1);
            part_view.dtype.lanes = 2; // no type of this crate
            assert_eq!(native.all_reduce.unwrap()(native.user, &mut part_view, std::ptr::null_mut()), 1);
        }
        assert_eq!(all, [3.0, 6.0, 3.0, 6.0, 3.0, 6.0]);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.panics.resume())).is_err());
    }
}
