package org.speft;

import java.util.function.UnaryOperator;

/** A small model: two sparse parameters and a dense one, bound, with a gradient for each. */
final class Scene implements AutoCloseable {
    static final long[][] SHAPES = {{4, 6}, {3, 5}, {5}};
    static final String[] NAMES = {"query.weight", "value.weight", "bias"};

    final Context context;
    final Adapter adapter;
    final Tensor[] weights = new Tensor[3];
    final Tensor[] gradients = new Tensor[3];

    Scene(Selection selection, UnaryOperator<Adapter.Builder> options) {
        this(Context.open("cpu"), selection, options);
    }

    /** Owns the context from here on. */
    Scene(Context context, Selection selection, UnaryOperator<Adapter.Builder> options) {
        this.context = context;
        adapter = options.apply(declare(Adapter.builder(context).selection(selection))).open();
        for (int i = 0; i < 3; ++i) {
            weights[i] = Numbers.tensor(i + 1, SHAPES[i]);
            gradients[i] = Numbers.tensor(i + 11, SHAPES[i]);
            adapter.bindWeights(i, weights[i]);
        }
    }

    static Adapter.Builder declare(Adapter.Builder builder) {
        return builder.sparse(NAMES[0], DType.FLOAT32, SHAPES[0]).sparse(NAMES[1], DType.FLOAT32, SHAPES[1])
                .dense(NAMES[2], DType.FLOAT32, SHAPES[2]);
    }

    void observe() {
        for (int i = 0; i < 3; ++i) adapter.observe(i, Gradient.dense(gradients[i]));
        adapter.finishObservation();
    }

    Scene selected() {
        observe();
        adapter.select();
        return this;
    }

    void accumulate() {
        for (int i = 0; i < 3; ++i) adapter.accumulate(i, Gradient.dense(gradients[i]));
    }

    void step() {
        accumulate();
        adapter.step(new Hyperparameters().lr(0.01));
    }

    @Override
    public void close() {
        adapter.close();
        context.close();
    }
}
