//! What the library declares and does not have yet: `Unsupported`, by name, and nothing else happens.

use std::ffi::c_void;

use crate::host::*;
use speft::*;

/// One of so many processes.
struct Alone(i32);

impl Communicator for Alone {
    fn rank(&self) -> i32 {
        0
    }

    fn size(&self) -> i32 {
        self.0
    }

    fn all_reduce(&self, _: TensorViewMut<'_>, _: *mut c_void) -> std::result::Result<(), ()> {
        Err(())
    }

    fn all_gather(&self, _: TensorView<'_>, _: TensorViewMut<'_>, _: *mut c_void) -> std::result::Result<(), ()> {
        Err(())
    }

    fn broadcast(&self, _: TensorViewMut<'_>, _: i32, _: *mut c_void) -> std::result::Result<(), ()> {
        Err(())
    }
}

#[test]
fn several_processes() {
    let context = cpu();
    let mut layer = Layer::new(133, [6, 4]);
    let two = builder(&context, &layer).budget(5).communicator(Alone(2)).build();
    refused(two, Status::Unsupported, "communicator of size 2");
    let mut adapter = builder(&context, &layer).budget(5).communicator(Alone(1)).build().unwrap();
    train(&mut adapter, &mut layer, 1); // one process has nobody to ask
}

#[test]
fn parts_of_parameters() {
    let context = cpu();
    for part in [Part::Range { offset: 0, extent: 12 }, Part::Block { offset: vec![0, 0], extent: vec![3, 4] }] {
        let parameter = Parameter::sparse("w", [6, 4], DataType::Float32).part(part);
        let made = Adapter::builder(&context).parameter(parameter).budget(1).build();
        refused(made, Status::Unsupported, "part");
    }
}
