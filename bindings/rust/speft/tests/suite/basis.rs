//! A basis of gradients: found again where it is known, and what it says of itself.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::host::*;
use speft::*;

const ROWS: usize = 6;
const COLUMNS: usize = 9;
/// How large the gradients are along each direction.
const SIZES: [f64; ROWS] = [8.0, 5.0, 3.0, 2.0, 1.0, 0.5];

/// The rows of a Householder reflection, of the sign that a basis has: orthogonal, and nothing like the axes.
fn reflection(seed: u64, size: usize) -> Vec<Vec<f64>> {
    let mut axis: Vec<f64> = numbers(seed, size).into_iter().map(f64::from).collect();
    axis[0] += 2.0;
    let squares: f64 = axis.iter().map(|entry| entry * entry).sum();
    let entry = |row: usize, column: usize| f64::from(row == column) - 2.0 * axis[row] * axis[column] / squares;
    let row = |row| {
        let entries: Vec<f64> = (0..size).map(|column| entry(row, column)).collect();
        let largest = entries.iter().copied().max_by(|one, other| one.abs().total_cmp(&other.abs())).unwrap();
        entries.iter().map(|entry| entry * largest.signum()).collect()
    };
    (0..size).map(row).collect()
}

/// Gradients that are diagonal in the basis of these directions, of entries ±`SIZES`: their singular vectors, and those
/// of their stack, are these, by construction.
fn gradients(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let signs = numbers(200, 8 * ROWS);
    let entry = |step: usize, row: usize, column: usize| -> f64 {
        let along = |q: usize| left[q][row] * SIZES[q] * f64::from(signs[step * ROWS + q].signum()) * right[q][column];
        (0..ROWS).map(along).sum()
    };
    let gradient = |step| (0..ROWS * COLUMNS).map(|i| entry(step, i / COLUMNS, i % COLUMNS) as f32).collect();
    (0..8).map(gradient).collect()
}

fn dense(values: &[f32]) -> Gradient<'_> {
    Gradient::dense(TensorView::new(values, [ROWS, COLUMNS]).unwrap())
}

fn fitted(builder: BasisBuilder<'_>, gradients: &[Vec<f32>]) -> Basis {
    let mut basis = builder.build().unwrap();
    gradients.iter().for_each(|gradient| basis.observe(&dense(gradient)).unwrap());
    basis.fit().unwrap();
    basis
}

/// The rows of one of its matrices.
fn rows(matrix: &TensorView<'_>) -> Vec<Vec<f64>> {
    let values = matrix.as_slice::<f32>().unwrap();
    values.chunks(matrix.shape()[1] as usize).map(|row| row.iter().copied().map(f64::from).collect()).collect()
}

fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// The bits of U and V.
fn matrix_bits(basis: &Basis) -> [Vec<u32>; 2] {
    let (u, v) = basis.matrices().unwrap();
    [u, v].map(|matrix| bits(matrix.as_slice().unwrap()))
}

/// Sums of squares, up to 8 · 64, are in float32: they are some 1e-4 off, and vectors that over the distance of two
/// eigenvalues, which is 8 · 0.75 at least.
const CLOSE: f64 = 1e-4;

#[test]
fn is_the_one_that_the_gradients_were_made_of() {
    let (left, right) = (reflection(201, ROWS), reflection(202, COLUMNS));
    let basis = fitted(Basis::builder(&cpu(), ROWS, COLUMNS), &gradients(&left, &right));
    let (u, v) = basis.matrices().unwrap();
    assert_eq!((u.shape(), v.shape()), (&[9, 9][..], &[6, 6][..]));
    assert_eq!((u.data_type(), v.device()), (DataType::Float32, Device::Cpu));
    let (u, v) = (rows(&u), rows(&v));
    for (found, made) in v.iter().zip(&left).chain(u.iter().zip(&right).take(ROWS)) {
        found.iter().zip(made).for_each(|(found, made)| assert!((found - made).abs() < CLOSE, "{found} {made}"));
    }
    // What the gradients do not span completes it; an entry is rounded once, so a product of 9 is off by 9 roundings.
    for (row, one) in u.iter().enumerate() {
        for (column, other) in u.iter().enumerate() {
            let off = (product(one, other) - f64::from(row == column)).abs();
            assert!(off <= 9.0 * f64::from(f32::EPSILON), "{off}");
        }
    }
    let state = basis.state().unwrap();
    let fit = state.fit.unwrap();
    assert_eq!(state.observations, 8);
    assert_eq!((fit.row_directions, fit.column_directions), (6, 6));
    assert_eq!((fit.row_share, fit.column_share), (1.0, 1.0));
}

#[test]
fn keeps_the_leading_directions() {
    let context = cpu();
    let (left, right) = (reflection(203, ROWS), reflection(204, COLUMNS));
    let builder = Basis::builder(&context, ROWS, COLUMNS).row_directions(2).column_directions(3);
    let basis = fitted(builder, &gradients(&left, &right));
    let (u, v) = basis.matrices().unwrap();
    assert_eq!((u.shape(), v.shape()), (&[3, 9][..], &[2, 6][..]));
    let all = SIZES.map(|size| size * size);
    let share = |kept: usize| all[..kept].iter().sum::<f64>() / all.iter().sum::<f64>();
    let fit = basis.state().unwrap().fit.unwrap();
    assert_eq!((fit.row_directions, fit.column_directions), (6, 6)); // of the gradients, not of what is kept
    // Sums of 8 gradients' squares, in float32.
    assert!((fit.row_share - share(2)).abs() < 1e-6 && (fit.column_share - share(3)).abs() < 1e-6, "{fit:?}");
}

/// Small integers: all sums are exact, so that the bits are the same.
#[test]
fn activations_are_as_good_as_their_product() {
    let context = cpu();
    let integers = |seed, count| -> Vec<f32> { numbers(seed, count).iter().map(|x| (x * 8.0).round()).collect() };
    let (x, dy) = (integers(205, 5 * COLUMNS), integers(206, 5 * ROWS));
    let entry = |i: usize| (0..5).map(|t| dy[t * ROWS + i / COLUMNS] * x[t * COLUMNS + i % COLUMNS]).sum::<f32>();
    let halved: Vec<f32> = (0..ROWS * COLUMNS).map(|i| entry(i) / 2.0).collect();
    let wide = TensorView::new(&x, [5, COLUMNS]).unwrap();
    let narrow = TensorView::new(&dy, [5, ROWS]).unwrap();
    let forms = [
        dense(&halved),
        Gradient::activations(wide.clone(), narrow.clone()).scale(0.5),
        Gradient::activations(narrow, wide).layout(Layout::InOut).scale(0.5),
    ];
    let [expected, found @ ..] = forms.map(|form| {
        let mut basis = Basis::new(&context, ROWS, COLUMNS).unwrap();
        basis.observe(&form).unwrap();
        basis.fit().unwrap();
        matrix_bits(&basis)
    });
    assert_eq!(found, [expected.clone(), expected]);
}

#[test]
fn observes_further_and_is_fitted_again() {
    let context = cpu();
    let gradients = gradients(&reflection(207, ROWS), &reflection(208, COLUMNS));
    let mut basis = fitted(Basis::builder(&context, ROWS, COLUMNS), &gradients[..3]);
    gradients[3..].iter().for_each(|gradient| basis.observe(&dense(gradient)).unwrap());
    assert_eq!(basis.state().unwrap().observations, 8);
    assert_eq!(basis.state().unwrap().fit, None);
    refused(basis.matrices().map(|_| ()), Status::InvalidState, "again");
    basis.fit().unwrap();
    let expected = fitted(Basis::builder(&context, ROWS, COLUMNS), &gradients);
    assert_eq!(matrix_bits(&basis), matrix_bits(&expected));
}

#[test]
fn a_fit_reports_can_be_cancelled_and_panics() {
    let gradients = gradients(&reflection(209, ROWS), &reflection(210, COLUMNS));
    let mut basis = fitted(Basis::builder(&cpu(), ROWS, COLUMNS), &gradients);
    let before = matrix_bits(&basis);
    let mut half =
        |progress: Progress| if progress.done == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    refused(basis.fit_with(&mut half), Status::Cancelled, "basis");
    let panic = catch_unwind(AssertUnwindSafe(|| basis.fit_with(&mut |_| panic!("from the report")))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"from the report"));
    assert_eq!(matrix_bits(&basis), before); // those of the last fit
    basis.observe(&dense(&gradients[0])).unwrap();
    refused(basis.fit_with(&mut half), Status::Cancelled, "basis");
    assert_eq!(basis.state().unwrap().fit, None);
    let mut seen = Vec::new();
    let mut listen = |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    basis.fit_with(&mut listen).unwrap();
    assert_eq!(seen, [0, 1, 2].map(|done| Progress { done, total: 2 }));
}

#[test]
fn refuses_options_by_name() {
    let context = cpu();
    let refuse = |builder: BasisBuilder<'_>, status, words| refused(builder.build(), status, words);
    let of = |rows, columns| Basis::builder(&context, rows, columns);
    let argument = Status::InvalidArgument;
    refused(Basis::new(&context, 0, 4), argument, "rows and columns must be 1 or more; got 0 and 4");
    refuse(of(4, 0), argument, "got 4 and 0");
    refuse(of(usize::MAX, 4), argument, "rows must be below 2^63");
    refuse(of(4, usize::MAX), argument, "columns must be below 2^63");
    refuse(of(4, 1 << 40), Status::Unsupported, "2^30");
    refuse(of(6, 9).row_directions(7), argument, "row_directions must be between 0 and 6; got 7");
    refuse(of(6, 9).column_directions(10), argument, "column_directions");
    refuse(of(6, 9).row_directions(0), argument, "row_directions must be at least 1; got 0");
    refuse(of(6, 9).column_directions(usize::MAX), argument, "column_directions must be below 2^63");
}

#[test]
fn refuses_gradients_by_name_and_adds_nothing() {
    let values = numbers(211, ROWS * COLUMNS);
    let mut basis = Basis::new(&cpu(), ROWS, COLUMNS).unwrap();
    refused(basis.fit(), Status::InvalidState, "no gradient");
    refused(basis.matrices().map(|_| ()), Status::InvalidState, "speft_fit_basis");
    let zeros = vec![0.0_f32; ROWS * COLUMNS];
    basis.observe(&dense(&zeros)).unwrap();
    refused(basis.fit(), Status::InvalidArgument, "all of them are 0");
    basis.observe(&dense(&values)).unwrap();
    basis.fit().unwrap();
    let before = matrix_bits(&basis);

    let mut refuse = |gradient: Gradient<'_>, words: &str| {
        refused(basis.observe(&gradient), Status::InvalidArgument, words);
        assert_eq!(basis.state().unwrap().observations, 2);
        assert_eq!(matrix_bits(&basis), before); // still fitted
    };
    let view = |rows: usize, columns: usize| TensorView::new(&values[..rows * columns], [rows, columns]).unwrap();
    let broken = |value| values.iter().enumerate().map(|(i, &x)| if i == 7 { value } else { x }).collect::<Vec<f32>>();
    refuse(Gradient::dense(view(COLUMNS, ROWS)), "[6, 9]");
    refuse(dense(&broken(f32::NAN)), "NaN");
    refuse(dense(&broken(f32::INFINITY)), "infinity");
    refuse(Gradient::values(values[..3].into()), "VALUES");
    refuse(Gradient::inputs(view(1, COLUMNS)), "dy");
    refuse(Gradient::activations(view(2, COLUMNS), view(3, ROWS)), "dy");
    refuse(Gradient::dense(view(ROWS, COLUMNS).with_strides([1, 6]).unwrap()), "contiguous");
    refuse(Gradient::dense(TensorView::new(&[0_i64; 54], [ROWS, COLUMNS]).unwrap()), "int64");
    refuse(dense(&values).scale(0.0), "scale must not be 0");
    let elsewhere = RawTensor::new(0x1000 as *mut _, DataType::Float32, [ROWS, COLUMNS]).unwrap();
    // SAFETY: the library refuses the device, and does not read it.
    let elsewhere = unsafe { TensorView::from_raw(elsewhere.on(Device::Other(9, 0))) };
    refuse(Gradient::dense(elsewhere), "device");
}

#[test]
fn calls_that_meet_a_fit_are_busy() {
    let context = cpu();
    let values = numbers(212, ROWS * COLUMNS);
    let mut basis = Basis::new(&context, ROWS, COLUMNS).unwrap();
    basis.observe(&dense(&values)).unwrap();
    let mut others = Some((context, Basis::new(&cpu(), 2, 2).unwrap()));
    let mut sibling = Some(Basis::new(&others.as_ref().unwrap().0, ROWS, COLUMNS).unwrap());
    let mut met = 0;
    // The report holds the fit open until the other thread has come back.
    let mut meet = |_: Progress| {
        met += 1;
        let ((home, stranger), mut near) = (others.take().unwrap(), sibling.take().unwrap());
        let values = &values;
        let back = std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                refused(near.state(), Status::Busy, "");
                refused(near.observe(&dense(values)), Status::Busy, "");
                refused(Basis::new(&home, 2, 2), Status::Busy, "");
                assert_eq!(stranger.state().unwrap().observations, 0); // of another context
                ((home, stranger), near)
            });
            thread.join().unwrap()
        });
        (others, sibling) = (Some(back.0), Some(back.1));
        ControlFlow::Continue(())
    };
    basis.fit_with(&mut meet).unwrap();
    assert_eq!(met, 3);
    assert_eq!(sibling.unwrap().state().unwrap().observations, 0);
}

#[test]
fn outlives_its_context() {
    let context = cpu();
    let mut basis = Basis::new(&context, ROWS, COLUMNS).unwrap();
    drop(context);
    std::thread::spawn(move || {
        basis.observe(&dense(&numbers(213, ROWS * COLUMNS))).unwrap();
        basis.fit().unwrap();
    })
    .join()
    .unwrap();
}
