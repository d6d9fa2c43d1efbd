package org.speft;

/**
 * One of the adapters of {@link Adapter#linearForwardEach}.
 *
 * @param adapter which
 * @param parameter the position of the layer's weight among its parameters
 */
public record Served(Adapter adapter, int parameter) {
    /**
     * Checks what can be checked here.
     *
     * @param adapter which
     * @param parameter the position of the layer's weight among its parameters
     */
    public Served {
        Tensor.requireNonNull("adapter", adapter);
    }
}
