package org.speft;

/** Scores of the host's own, for {@link Selection#SCORE_FUNCTION}. */
@FunctionalInterface
public interface ScoreFunction {
    /**
     * Called for each sparse parameter while the masks are chosen, in their order, on the thread of that call. What it
     * throws cancels the call and comes out of it. The tensors are lent until it returns; buffers on them must not be
     * used afterwards.
     *
     * @param name of the parameter
     * @param weights of the parameter's type and shape, to be read
     * @param gradient the mean of what was observed, float32, to be read; null where there was nothing
     * @param scores float32 of the same shape, to be filled
     */
    void compute(String name, Tensor weights, Tensor gradient, Tensor scores);
}
