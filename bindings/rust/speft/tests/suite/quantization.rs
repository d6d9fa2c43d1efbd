//! Weights to codes and back.

use crate::host::*;
use speft::*;

#[test]
fn weights_come_back_from_their_codes() {
    let context = cpu();
    let weights: Vec<f32> = (0..96_u8).map(|i| f32::from(i).sin()).collect();
    for (kind, half_step) in [(Quantization::Nf4, 0.152), (Quantization::Fp4, 0.167)] {
        let (mut codes, mut absmax, mut after) = ([0_u8; 48], [0.0_f32; 2], [0.0_f32; 96]);
        let mut into = QuantizedMut::new(kind, 64, (&mut codes[..]).into(), (&mut absmax[..]).into());
        context.quantize(&weights[..].into(), &mut into).unwrap();
        let quantized = Quantized::new(kind, 64, codes[..].into(), absmax[..].into());
        context.dequantize(&quantized, &mut TensorViewMut::from(&mut after[..])).unwrap();
        for (&was, &is) in weights.iter().zip(&after) {
            assert!((was - is).abs() <= half_step, "{was} {is}");
        }
    }
}

#[test]
fn quantized_scales_and_levels_are_read() {
    let context = cpu();
    let levels: Vec<f32> = (0..16_u8).map(|i| f32::from(i) / 16.0).collect();
    let scales: Vec<f32> = (0..=255_u8).map(|i| f32::from(i) / 256.0).collect();
    let (codes, absmax) = ([0x0f_u8; 32], [128_u8; 1]);
    let quantized = Quantized::new(Quantization::Nf4, 64, codes[..].into(), absmax[..].into())
        .levels(levels[..].into())
        .nested(256, [4.0_f32; 1][..].into(), scales[..].into(), [6.0_f32; 1][..].into());
    let mut after = [0.0_f32; 64];
    context.dequantize(&quantized, &mut TensorViewMut::from(&mut after[..])).unwrap();
    assert_eq!(after[..2], [0.0, 15.0 / 16.0 * (0.5 * 4.0 + 6.0)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let context = cpu();
    let (mut codes, mut absmax) = ([7_u8; 47], [7.0_f32; 2]);
    let mut into = QuantizedMut::new(Quantization::Nf4, 64, (&mut codes[..]).into(), (&mut absmax[..]).into());
    refused(context.quantize(&[1.0_f32; 96][..].into(), &mut into), Status::InvalidArgument, "must have 48");
    assert_eq!((codes, absmax), ([7; 47], [7.0; 2]));
}
