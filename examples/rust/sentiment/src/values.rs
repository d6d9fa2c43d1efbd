//! The memory behind candle's tensors, read as slices.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The float32 values of a tensor that lies row after row, without gaps.
pub fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(values), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
        bail!("expected contiguous float32 values, got {:?} of layout {layout:?}", storage.dtype());
    };
    Ok(&values[from..to])
}

/// Lends the values of `tensor` to `body`, copied only where they do not lie in order.
pub fn with_values<T>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => body(values(storage, layout)?),
        _ => bail!("expected a tensor on the CPU"),
    }
}
