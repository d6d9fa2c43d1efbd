package org.speft;

/**
 * What {@link Adapter#leaveBases} has made.
 *
 * @param adapter without bases, to be closed
 * @param share of Σ ΔW² over the parameters that were in a basis, how much of it the adapter keeps; 1 where ΔW is 0
 */
public record OrdinaryAdapter(Adapter adapter, double share) implements AutoCloseable {
    /** Closes the adapter. */
    @Override
    public void close() {
        adapter.close();
    }
}
