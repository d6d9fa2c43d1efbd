package org.speft;

import org.speft.internal.speft_hyperparameters;

/**
 * How one group of parameters moves in a step: {@code new Hyperparameters().lr(1e-3).weightDecay(0.01)}.
 *
 * @param lr the learning rate; 1e-3 unless it is given
 * @param beta1 AdamW's, Adam's and Lion's decay of the first moment; 0.9
 * @param beta2 of the second; 0.999
 * @param eps AdamW's and Adam's, added to the root of the second moment; 1e-8
 * @param weightDecay strength of the decay; 0. It is decoupled, but Adam's and SGD's is added to the gradient
 * @param decay what it pulls to; the original
 * @param momentum SGD's, in [0, 1); 0
 */
public record Hyperparameters(double lr, double beta1, double beta2, double eps, double weightDecay, Decay decay,
        double momentum) {
    /** The defaults. */
    public Hyperparameters() {
        this(1e-3, 0.9, 0.999, 1e-8, 0, Decay.ORIGINAL, 0);
    }

    /**
     * Checks what can be checked here.
     *
     * @param lr the learning rate
     * @param beta1 AdamW's, Adam's and Lion's decay of the first moment
     * @param beta2 of the second
     * @param eps AdamW's and Adam's, added to the root of the second moment
     * @param weightDecay strength of the decay
     * @param decay what it pulls to
     * @param momentum SGD's, in [0, 1)
     */
    public Hyperparameters {
        Tensor.requireNonNull("decay", decay);
    }

    /**
     * The same with another learning rate.
     *
     * @param value above or at 0
     * @return a new record
     */
    public Hyperparameters lr(double value) {
        return new Hyperparameters(value, beta1, beta2, eps, weightDecay, decay, momentum);
    }

    /**
     * The same with other betas.
     *
     * @param first in [0, 1)
     * @param second in [0, 1)
     * @return a new record
     */
    public Hyperparameters betas(double first, double second) {
        return new Hyperparameters(lr, first, second, eps, weightDecay, decay, momentum);
    }

    /**
     * The same with another ε.
     *
     * @param value above 0
     * @return a new record
     */
    public Hyperparameters eps(double value) {
        return new Hyperparameters(lr, beta1, beta2, value, weightDecay, decay, momentum);
    }

    /**
     * The same with another weight decay.
     *
     * @param value above or at 0
     * @return a new record
     */
    public Hyperparameters weightDecay(double value) {
        return new Hyperparameters(lr, beta1, beta2, eps, value, decay, momentum);
    }

    /**
     * The same with a decay to something else.
     *
     * @param value what it pulls to
     * @return a new record
     */
    public Hyperparameters decay(Decay value) {
        return new Hyperparameters(lr, beta1, beta2, eps, weightDecay, value, momentum);
    }

    /**
     * The same with another momentum.
     *
     * @param value in [0, 1)
     * @return a new record
     */
    public Hyperparameters momentum(double value) {
        return new Hyperparameters(lr, beta1, beta2, eps, weightDecay, decay, value);
    }

    speft_hyperparameters toNative(Arena arena) {
        speft_hyperparameters struct = arena.own(new speft_hyperparameters());
        struct.setDecay(decay.code);
        struct.setLearning_rate(lr);
        struct.setBeta1(beta1);
        struct.setBeta2(beta2);
        struct.setEpsilon(eps);
        struct.setWeight_decay(weightDecay);
        struct.setMomentum(momentum);
        return struct;
    }
}
