//! Tensors of other frameworks, in and out.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::host::*;
use speft::dlpack::*;
use speft::*;

/// A producer of float32 `[6, 4]`: what another framework hands over.
struct Producer {
    values: Vec<f32>,
    shape: [i64; 2],
    strides: Option<[i64; 2]>,
    released: AtomicUsize,
}

impl Producer {
    fn new() -> Self {
        Self { values: numbers(140, 24), shape: [6, 4], strides: None, released: AtomicUsize::new(0) }
    }

    fn tensor(&mut self) -> DLTensor {
        DLTensor {
            data: self.values.as_mut_ptr().cast(),
            device: sys::speft_device { type_: sys::SPEFT_DEVICE_CPU, id: 0 },
            ndim: 2,
            dtype: sys::speft_dtype { code: sys::SPEFT_CODE_FLOAT as u8, bits: 32, lanes: 1 },
            shape: self.shape.as_mut_ptr(),
            strides: self.strides.as_mut().map_or(std::ptr::null_mut(), |strides| strides.as_mut_ptr()),
            byte_offset: 0,
        }
    }

    fn versioned(&mut self, version: DLPackVersion, flags: u64) -> DLManagedTensorVersioned {
        let manager_ctx = (&raw const self.released).cast_mut().cast::<c_void>();
        DLManagedTensorVersioned { version, manager_ctx, deleter: Some(count), flags, dl_tensor: self.tensor() }
    }

    fn released(&self) -> usize {
        self.released.load(SeqCst)
    }
}

unsafe extern "C" fn count(managed: *mut DLManagedTensorVersioned) {
    // SAFETY: the producer lives.
    unsafe { &*(*managed).manager_ctx.cast::<AtomicUsize>() }.fetch_add(1, SeqCst);
}

unsafe extern "C" fn count_unversioned(managed: *mut DLManagedTensor) {
    // SAFETY: the producer lives.
    unsafe { &*(*managed).manager_ctx.cast::<AtomicUsize>() }.fetch_add(1, SeqCst);
}

#[test]
fn weights_of_another_framework_are_trained_in_place() {
    let context = cpu();
    let mut producer = Producer::new();
    let original = producer.values.clone();
    let slopes = numbers(141, 24);
    let mut managed = producer.versioned(VERSION, 0);
    // SAFETY: a tensor as DLPack has it, released once, by `imported`.
    let mut imported = unsafe { Imported::from_raw(&mut managed) }.unwrap();
    let parameter = Parameter::sparse("w", [6, 4], imported.view().data_type());
    let mut adapter =
        Adapter::builder(&context).parameter(parameter).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut bound = adapter.bind([imported.view_mut().unwrap()]).unwrap();
    bound.select().unwrap();
    bound.accumulate("w", &Gradient::dense(TensorView::new(&slopes, [6, 4]).unwrap())).unwrap();
    bound.step(Hyperparameters::new()).unwrap();
    drop(bound);
    let changed = imported.view().as_slice::<f32>().unwrap().iter().zip(&original).filter(|(new, old)| new != old);
    assert_eq!(changed.count(), 5);
    assert_eq!(imported.as_raw().data(), producer.values.as_ptr().cast_mut().cast());
    assert_eq!(producer.released(), 0);
    drop(imported);
    assert_eq!(producer.released(), 1);
}

#[test]
fn read_only_tensors_are_read_only() {
    let mut producer = Producer::new();
    let mut managed = producer.versioned(VERSION, READ_ONLY | IS_COPIED);
    // SAFETY: a tensor as DLPack has it, released once, by `imported`.
    let mut imported = unsafe { Imported::from_raw(&mut managed) }.unwrap();
    assert!(imported.is_read_only());
    refused(imported.view_mut().map(|_| ()), Status::InvalidArgument, "writable; it is read-only");
    assert_eq!(imported.view().as_slice::<f32>().unwrap(), numbers(140, 24));
}

#[test]
fn tensors_before_version_1_are_taken_at_the_callers_word() {
    let mut producer = Producer::new();
    let manager_ctx = (&raw const producer.released).cast_mut().cast::<c_void>();
    for read_only in [true, false] {
        let mut managed =
            DLManagedTensor { dl_tensor: producer.tensor(), manager_ctx, deleter: Some(count_unversioned) };
        // SAFETY: a tensor as DLPack has it, released once, by `imported`.
        let mut imported = unsafe { Imported::from_unversioned(&mut managed, read_only) }.unwrap();
        assert_eq!(imported.view_mut().is_err(), read_only);
    }
    assert_eq!(producer.released(), 2);
}

#[test]
fn what_is_refused_stays_the_producers() {
    let mut producer = Producer::new();
    // SAFETY: nobody releases what is refused.
    unsafe {
        refused(Imported::from_raw(std::ptr::null_mut()), Status::InvalidArgument, "NULL");
        refused(Imported::from_unversioned(std::ptr::null_mut(), false), Status::InvalidArgument, "NULL");
        let mut later = producer.versioned(DLPackVersion { major: 2, minor: 1 }, 0);
        refused(Imported::from_raw(&mut later), Status::InvalidArgument, "version 1; got 2.1");
        let mut complex = producer.versioned(VERSION, 0);
        complex.dl_tensor.dtype.code = 5;
        refused(Imported::from_raw(&mut complex), Status::InvalidArgument, "code 5, 32 bits");
        let mut negative = producer.versioned(VERSION, 0);
        negative.dl_tensor.ndim = -1;
        refused(Imported::from_raw(&mut negative), Status::InvalidArgument, "axes");
    }
    assert_eq!(producer.released(), 0);
}

#[test]
fn strides_and_offsets_are_respected() {
    let mut producer = Producer::new();
    producer.strides = Some([1, 6]); // a transposed matrix
    let mut managed = producer.versioned(VERSION, 0);
    // SAFETY: a tensor as DLPack has it, released once, by `imported`.
    let imported = unsafe { Imported::from_raw(&mut managed) }.unwrap();
    refused(imported.view().as_slice::<f32>().map(|_| ()), Status::InvalidArgument, "contiguous");

    let mut producer = Producer::new();
    producer.strides = Some([4, 1]);
    producer.shape = [3, 4];
    let mut managed = producer.versioned(VERSION, 0);
    managed.dl_tensor.byte_offset = 3 * 4 * 4;
    // SAFETY: the same, of the lower half.
    let imported = unsafe { Imported::from_raw(&mut managed) }.unwrap();
    assert_eq!(imported.view().as_slice::<f32>().unwrap(), &numbers(140, 24)[12..]);
}

#[test]
fn tensors_go_out_owned_or_lent() {
    let context = cpu();
    let mut layer = Layer::new(142, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
    train(&mut adapter, &mut layer, 1);
    adapter.accumulate("w", &layer.gradient()).unwrap();
    let deltas = adapter.deltas("w").unwrap();
    // SAFETY: the consumers are dropped before what they look at.
    unsafe {
        let lent = Imported::from_raw(Exported::lend(&deltas).into_raw()).unwrap();
        assert!(lent.is_read_only());
        assert_eq!(lent.view().as_slice::<f32>().unwrap(), deltas.as_slice::<f32>().unwrap());
    }
    let mut gradient = adapter.gradient("w").unwrap();
    // SAFETY: the same.
    unsafe {
        let mut lent = Imported::from_raw(Exported::lend_mut(&mut gradient).into_raw()).unwrap();
        lent.view_mut().unwrap().as_mut_slice::<f32>().unwrap().fill(0.5);
    }
    assert_eq!(gradient.as_slice::<f32>().unwrap(), [0.5; 5]);
    drop(Exported::from_vec(vec![1_i64, 2], [2]).unwrap()); // nobody took it
    refused(Exported::from_vec(vec![1.0_f32; 3], [2]), Status::InvalidArgument, "got 3");
}
