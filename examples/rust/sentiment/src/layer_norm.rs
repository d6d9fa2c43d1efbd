//! Layer normalization with a gradient. `candle_nn::LayerNorm` runs a fused operation that has none: behind it autograd
//! sees a constant, and every layer before it silently stays as it is.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::values::{values, with_values};

/// y = (x − mean) / √(variance + ε) · weight + bias over the last axis. Weight and bias, [features], are frozen.
#[derive(Clone)]
pub struct LayerNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub epsilon: f64,
}

impl LayerNorm {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self.clone())
    }

    /// Mean and 1/√(variance + ε) of one row, summed in float64.
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let count = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, (1.0 / (variance + self.epsilon).sqrt()) as f32)
    }
}

impl CustomOp1 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = Vec::with_capacity(x.len());
        with_values(&self.weight, |weight| {
            with_values(&self.bias, |bias| {
                for row in x.chunks_exact(weight.len()) {
                    let (mean, scale) = self.moments(row);
                    let scaled = row.iter().zip(weight).zip(bias);
                    y.extend(scaled.map(|((x, weight), bias)| (x - mean) * scale * weight + bias));
                }
                Ok(())
            })
        })?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// dx = (g − mean(g) − n·mean(g·n)) / √(variance + ε), with n the normalized row and g = dy·weight.
    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = Vec::with_capacity(x.elem_count());
        with_values(x, |x| {
            with_values(dy, |dy| {
                with_values(&self.weight, |weight| {
                    let features = weight.len();
                    for (x, dy) in x.chunks_exact(features).zip(dy.chunks_exact(features)) {
                        let (mean, scale) = self.moments(x);
                        let row =
                            || x.iter().zip(dy).zip(weight).map(|((x, dy), weight)| ((x - mean) * scale, dy * weight));
                        let (mut sum, mut product) = (0f64, 0f64);
                        for (normalized, g) in row() {
                            sum += f64::from(g);
                            product += f64::from(g * normalized);
                        }
                        let (g_mean, slope) = ((sum / features as f64) as f32, (product / features as f64) as f32);
                        dx.extend(row().map(|(normalized, g)| (g - g_mean - normalized * slope) * scale));
                    }
                    Ok(())
                })
            })
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Result, Tensor, Var};

    use super::LayerNorm;
    use crate::python_random::MersenneTwister;

    const FEATURES: usize = 16;

    /// A sum of y with different factors, so that every dy is another.
    fn weighted_sum(norm: &LayerNorm, x: &Tensor, factors: &Tensor) -> Result<Tensor> {
        (norm.forward(x)? * factors)?.sum_all()
    }

    #[test]
    fn gradient_is_that_of_finite_differences() -> Result<()> {
        let mut random = MersenneTwister::from_number(1);
        let mut tensor =
            |rows: usize| Tensor::from_vec(random.uniform(rows * FEATURES, 1.0), (rows, FEATURES), &Device::Cpu);
        let (x, factors) = (Var::from_tensor(&tensor(3)?)?, tensor(3)?);
        let norm = LayerNorm { weight: tensor(1)?.squeeze(0)?, bias: tensor(1)?.squeeze(0)?, epsilon: 1e-12 };
        let gradients = weighted_sum(&norm, &x, &factors)?.backward()?;
        let gradient = gradients.get(&x).expect("a gradient for x").flatten_all()?.to_vec1::<f32>()?;

        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let step = 1.0 / 128.0; // a power of two: x ± step is exact or nearly so
        for (position, slope) in gradient.iter().enumerate() {
            let moved = |by: f32| -> Result<f32> {
                let mut values = values.clone();
                values[position] += by;
                weighted_sum(&norm, &Tensor::from_vec(values, x.shape(), &Device::Cpu)?, &factors)?.to_scalar()
            };
            let difference = (moved(step)? - moved(-step)?) / (2.0 * step);
            // Sums around 1 have errors around 1e-6, which the division by 2/128 makes 1e-4; the curve's third
            // derivative, a few units, times step²/6 is as much.
            assert!((difference - slope).abs() < 1e-3, "{position}: {slope}, by differences {difference}");
        }
        Ok(())
    }
}
