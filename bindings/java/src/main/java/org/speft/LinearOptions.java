package org.speft;

import org.speft.internal.speft_linear_options;

/**
 * How a linear layer is computed: {@code new LinearOptions().layout(Layout.IN_OUT).accumulate(true)}.
 *
 * @param layout of its weight
 * @param deltaOnly Δ in place of W+Δ, for hosts with a product of their own
 * @param accumulate whether the result is added to what the output holds
 */
public record LinearOptions(Layout layout, boolean deltaOnly, boolean accumulate) {
    /** [out, in], W+Δ, written over the output. */
    public LinearOptions() {
        this(Layout.OUT_IN, false, false);
    }

    /**
     * Checks what can be checked here.
     *
     * @param layout of its weight
     * @param deltaOnly Δ in place of W+Δ, for hosts with a product of their own
     * @param accumulate whether the result is added to what the output holds
     */
    public LinearOptions {
        Tensor.requireNonNull("layout", layout);
    }

    /**
     * The same for a weight that lies in another way.
     *
     * @param order of the weight's axes
     * @return a new record
     */
    public LinearOptions layout(Layout order) {
        return new LinearOptions(order, deltaOnly, accumulate);
    }

    /**
     * The same of Δ alone, or of W+Δ.
     *
     * @param only whether it is Δ alone
     * @return a new record
     */
    public LinearOptions deltaOnly(boolean only) {
        return new LinearOptions(layout, only, accumulate);
    }

    /**
     * The same, adding to the output or writing over it.
     *
     * @param add whether it is added
     * @return a new record
     */
    public LinearOptions accumulate(boolean add) {
        return new LinearOptions(layout, deltaOnly, add);
    }

    speft_linear_options toNative(Arena arena) {
        speft_linear_options struct = arena.own(new speft_linear_options());
        struct.setLayout(layout.code);
        struct.setDelta_only(deltaOnly ? 1 : 0);
        struct.setAccumulate(accumulate ? 1 : 0);
        return struct;
    }
}
