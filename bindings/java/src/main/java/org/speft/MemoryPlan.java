package org.speft;

/**
 * The most that an adapter has at one time, in bytes of the device, its scratch included.
 *
 * @param observation while gradients are observed, two accumulators a sparse parameter
 * @param announcedObservation the same where {@link Adapter#beginObservation} announces each batch: one of them
 * @param selection while {@link Adapter#select} runs, after announced observations
 * @param training from the selection on, while gradients arrive and steps are taken
 * @param reselection while {@link Adapter#reselect} runs; 0 where masks do not move
 * @param fitting while bases are made: observed, fitted and bound, and none is closed; 0 without bases
 * @param products while {@link Adapter#linearForward} or {@link Adapter#linearBackward} runs, and gradients of the other
 *     parameters are held
 * @param merging while an adapter with bases is merged, and as long as it is; 0 without bases
 */
public record MemoryPlan(long observation, long announcedObservation, long selection, long training,
        long reselection, long fitting, long products, long merging) {}
