package org.speft;

import org.speft.internal.CapiConstants;

/** How scalars are chosen: the largest of a score of each, with θ the weight and g the mean of what was observed. */
public enum Selection {
    /** The same probability for each, from the seed and the parameter's name. */
    RANDOM(CapiConstants.SPEFT_SELECT_RANDOM),

    /** |θ| */
    MAGNITUDE(CapiConstants.SPEFT_SELECT_MAGNITUDE),

    /** |g| */
    GRADIENT(CapiConstants.SPEFT_SELECT_GRADIENT),

    /** |g·θ| */
    SNIP(CapiConstants.SPEFT_SELECT_SNIP),

    /** The masks are given, with {@link Adapter#setMask}. */
    MASK(CapiConstants.SPEFT_SELECT_GIVEN_MASK),

    /** The scores are given, with {@link Adapter#setScores}. */
    SCORES(CapiConstants.SPEFT_SELECT_GIVEN_SCORES),

    /** −g·θ */
    FORCE(CapiConstants.SPEFT_SELECT_FORCE),

    /** (g·θ)² */
    TAYLOR_FO(CapiConstants.SPEFT_SELECT_TAYLOR_FO),

    /** The mean of g², with g the gradient of one observation, or of one example by {@link Gradient#exampleOffsets}. */
    FISHER(CapiConstants.SPEFT_SELECT_FISHER),

    /** g·|θ|, where g is observed as ∂R/∂|θ|, R the sum of the outputs of the network of absolute weights without its
     * non-linearities. */
    SYNFLOW(CapiConstants.SPEFT_SELECT_SYNFLOW),

    /** −h·θ, where h, observed in place of gradients, is the loss's Hessian times the mean gradient. */
    GRASP(CapiConstants.SPEFT_SELECT_GRASP),

    /** h·θ: the sign of GRaSP's public code. */
    GRASP_CODE(CapiConstants.SPEFT_SELECT_GRASP_CODE),

    /** |θ − θ0|, θ0 given with {@link Adapter#setReference}, to which the weights then return (LT-SFT). */
    WEIGHT_CHANGE(CapiConstants.SPEFT_SELECT_WEIGHT_CHANGE),

    /** |entry| of the best approximation of the weight matrix of a rank (LIFT). */
    LOW_RANK(CapiConstants.SPEFT_SELECT_LOW_RANK),

    /** |θ|·‖x‖, x the inputs that the weight multiplies, from activations only. */
    WANDA(CapiConstants.SPEFT_SELECT_WANDA),

    /** Random at first; then masks move to where gradients accumulate (SpIEL). */
    SPIEL_AG(CapiConstants.SPEFT_SELECT_SPIEL_AG),

    /** Random at first; then masks move to where SM3, the optimizer it requires, has the largest second moments. */
    SPIEL_MA(CapiConstants.SPEFT_SELECT_SPIEL_MA),

    /**
     * The largest |V dW Uᵀ| of each step's own gradient, in the {@link Basis} of each parameter; see {@link
     * Adapter#reselect()}. For AdamW and Adam. With {@link RateSchedule#NONE} chosen once instead, by the mean of what
     * was observed, for other optimizers too.
     */
    SPARSEGRAD(CapiConstants.SPEFT_SELECT_SPARSEGRAD),

    /** The largest |g| of each step's own gradient: as {@link #SPARSEGRAD}, without a basis. */
    MEPROP(CapiConstants.SPEFT_SELECT_MEPROP),

    /** −|θ| */
    SMALLEST_MAGNITUDE(CapiConstants.SPEFT_SELECT_SMALLEST_MAGNITUDE),

    /** A {@link ScoreFunction} of the host's own. */
    SCORE_FUNCTION(CapiConstants.SPEFT_SELECT_SCORE_FUNCTION);

    final int code;

    Selection(int code) {
        this.code = code;
    }

    static Selection of(int code) {
        for (Selection value : values()) if (value.code == code) return value;
        throw new AssertionError("libspeft knows a Selection that this package does not: " + code);
    }
}
