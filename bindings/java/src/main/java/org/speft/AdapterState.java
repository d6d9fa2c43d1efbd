package org.speft;

import java.util.OptionalLong;

/**
 * Where an adapter stands.
 *
 * @param selected whether the masks are chosen, or came from a file
 * @param merged whether the weights hold round(θ0+δ) now, those in a basis and quantized ones too
 * @param attached whether steps can be taken: as {@link Adapter#select} and {@link Adapter#attach} leave it
 * @param selection the method
 * @param steps updates so far
 * @param observations batches that the selection has seen
 * @param selectedScalars over all sparse parameters
 * @param trainedScalars those and the dense ones
 * @param targetedScalars all scalars of the sparse parameters, the denominator of the density
 * @param settledScalars no longer selected, but changed by then: dynamic masks
 * @param nextReselection the step after which the masks move next, the present one when that is due; empty: they do not
 * @param reselectionDue whether {@link Adapter#reselect} has to come before the next step
 */
public record AdapterState(boolean selected, boolean merged, boolean attached, Selection selection, long steps,
        long observations, long selectedScalars, long trainedScalars, long targetedScalars, long settledScalars,
        OptionalLong nextReselection, boolean reselectionDue) {}
