package org.speft;

/** Told now and then how far long work has come. */
@FunctionalInterface
public interface Progress {
    /**
     * Called on the thread of the call. What it throws cancels the call and comes out of it. Calls into the same
     * context get {@link BusyException}.
     *
     * @param done how much is done, in units of the work: bytes of a file, parameters of a selection
     * @param total of how much
     * @return true to cancel: the call then throws {@link CancelledException}
     */
    boolean report(long done, long total);
}
