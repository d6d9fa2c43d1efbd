/**
 * Sparse parameter-efficient fine-tuning: trains a small set of chosen scalars of a model's weights, in place.
 *
 * <p>The host owns the model, the data and automatic differentiation; libspeft owns which weights move, how they move,
 * and what is kept of it. Weights and gradients are direct buffers, or addresses: nothing is copied.
 *
 * <pre>{@code
 * Tensor weights = Tensor.copyOf(new float[64], 8, 8), slopes = Tensor.allocate(DType.FLOAT32, 8, 8);
 * slopes.floats().put(10, -0.5f).put(33, 0.25f); // the loss is Σ (weight − target)² / 2; two targets are not 0
 * try (Context context = Context.open(); Adapter adapter = Adapter.builder(context)
 *         .selection(Selection.GRADIENT).budget(2).sparse("w", DType.FLOAT32, 8, 8).open()) {
 *     adapter.bindWeights(0, weights);
 *     adapter.observe(0, Gradient.dense(slopes)); // what the selection needs, once or more a batch
 *     adapter.finishObservation();
 *     adapter.select(); // the two scalars with the largest mean gradients
 *     adapter.accumulate(0, Gradient.dense(slopes)); // and this with each new gradient
 *     adapter.step(new Hyperparameters().lr(0.1)); // AdamW moves the two weights in place
 *     adapter.save(Path.of("adapter.safetensors"));
 *     adapter.unmerge(); // the weights have their original bits again
 * }
 * }</pre>
 *
 * <p>Start with {@link org.speft.Adapter}, which tells an adapter's whole life. Words: a <i>parameter</i> is one named
 * tensor of the model; its <i>mask</i> the strictly increasing flat indices of the scalars that are trained; a
 * <i>delta</i> what is added to one of them; the <i>density</i> the share of the targeted scalars that is selected.
 *
 * <p>Every failure is a {@link org.speft.SpeftException}, of a subclass for each status of the C library; a call that
 * fails has changed nothing. The native library is looked for in the folder that the system property {@code
 * org.speft.library.path} names, then in the jar with the platform's classifier, then in {@code java.library.path}.
 */
package org.speft;
