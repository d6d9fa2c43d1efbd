package org.speft;

/**
 * Where a basis stands. What follows {@code observations} is 0 until it is fitted.
 *
 * @param fitted whether it was fitted, and has observed nothing since
 * @param observations gradients so far
 * @param rowDirections how many directions the gradients' columns span, kept or not; other rows of V are arbitrary
 * @param columnDirections how many directions the gradients' rows span, kept or not; other rows of U are arbitrary
 * @param rowShare of Σ dW², what the rows of V hold: 1 where all are kept
 * @param columnShare of Σ dW², what the rows of U hold: 1 where all are kept
 */
public record BasisState(boolean fitted, long observations, long rowDirections, long columnDirections, double rowShare,
        double columnShare) {}
