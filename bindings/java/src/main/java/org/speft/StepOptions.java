package org.speft;

import java.util.List;
import org.speft.internal.speft_hyperparameters;
import org.speft.internal.speft_step_options;

/**
 * How one step is made: {@code new StepOptions().groups(body, head).keepGradient(true)}.
 *
 * @param groups the hyperparameters of each group of parameters; empty for the defaults
 * @param keepGradient whether the accumulated gradient stays after the step
 * @param allowMissing whether a parameter that has never received a gradient since the selection is skipped; it is an
 *     error otherwise. One that has, but not since the last clear, stays as it is
 * @param gradientScale multiplies every gradient; not 0
 * @param control memory for captured CUDA graphs; {@link UnsupportedException} in this version unless null
 */
public record StepOptions(List<Hyperparameters> groups, boolean keepGradient, boolean allowMissing,
        double gradientScale, Tensor control) {
    /** The defaults. */
    public StepOptions() {
        this(List.of(), false, false, 1, null);
    }

    /**
     * Checks what can be checked here.
     *
     * @param groups the hyperparameters of each group of parameters
     * @param keepGradient whether the accumulated gradient stays after the step
     * @param allowMissing whether a parameter that has never received a gradient since the selection is skipped
     * @param gradientScale multiplies every gradient
     * @param control memory for captured CUDA graphs
     */
    public StepOptions {
        groups = List.copyOf(groups);
        if (gradientScale == 0) throw new InvalidArgumentException("gradientScale must not be 0");
    }

    /**
     * The same with hyperparameters.
     *
     * @param each one for each group; one alone is for all groups
     * @return a new record
     */
    public StepOptions groups(Hyperparameters... each) {
        return new StepOptions(List.of(each), keepGradient, allowMissing, gradientScale, control);
    }

    /**
     * The same, keeping the gradient or not.
     *
     * @param keep whether it stays after the step
     * @return a new record
     */
    public StepOptions keepGradient(boolean keep) {
        return new StepOptions(groups, keep, allowMissing, gradientScale, control);
    }

    /**
     * The same, allowing parameters without a gradient or not.
     *
     * @param allow whether they are skipped
     * @return a new record
     */
    public StepOptions allowMissing(boolean allow) {
        return new StepOptions(groups, keepGradient, allow, gradientScale, control);
    }

    /**
     * The same with another scale.
     *
     * @param factor of every gradient; not 0
     * @return a new record
     */
    public StepOptions gradientScale(double factor) {
        return new StepOptions(groups, keepGradient, allowMissing, factor, control);
    }

    /**
     * The same with a control buffer.
     *
     * @param memory see above
     * @return a new record
     */
    public StepOptions control(Tensor memory) {
        return new StepOptions(groups, keepGradient, allowMissing, gradientScale, memory);
    }

    speft_step_options toNative(Arena arena) {
        speft_step_options struct = arena.own(new speft_step_options());
        struct.setKeep_gradient(keepGradient ? 1 : 0);
        struct.setAllow_missing(allowMissing ? 1 : 0);
        struct.setGradient_scale(gradientScale);
        struct.setControl(arena.view(control));
        if (!groups.isEmpty()) {
            long[] addresses = groups.stream().map(group -> group.toNative(arena))
                    .mapToLong(speft_hyperparameters::getCPtr).toArray();
            struct.setGroups(arena.longs(addresses));
            struct.setGroup_count(addresses.length);
        }
        return struct;
    }
}
