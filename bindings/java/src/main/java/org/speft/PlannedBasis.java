package org.speft;

import java.util.List;

/**
 * A basis that {@link Adapter.Builder#planMemory(long, List)} takes some parameters to share.
 *
 * @param options the shape of the parameters, and how many directions are kept
 * @param parameters their positions
 */
public record PlannedBasis(BasisOptions options, List<Integer> parameters) {
    /**
     * Of these parameters.
     *
     * @param options the shape of the parameters, and how many directions are kept
     * @param parameters their positions
     */
    public PlannedBasis(BasisOptions options, Integer... parameters) {
        this(options, List.of(parameters));
    }

    /**
     * Copies the positions.
     *
     * @param options the shape of the parameters, and how many directions are kept
     * @param parameters their positions
     */
    public PlannedBasis {
        Tensor.requireNonNull("options", options);
        Tensor.requireNonNull("parameters", parameters);
        parameters = List.copyOf(parameters);
    }
}
