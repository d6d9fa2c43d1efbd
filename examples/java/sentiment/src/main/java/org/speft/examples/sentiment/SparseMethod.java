package org.speft.examples.sentiment;

import ai.djl.ndarray.NDArray;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.speft.Adapter;
import org.speft.AdapterState;
import org.speft.Context;
import org.speft.DType;
import org.speft.Gradient;
import org.speft.Hyperparameters;
import org.speft.Reselection;
import org.speft.Scope;
import org.speft.Selection;

/**
 * A few chosen scalars of the encoder's matrices, by libspeft; the head is trained in full beside them, by the same
 * adapter.
 *
 * <p>DJL has no hook into the backward pass: gradients are dense, and are handed over after it. Neither they nor the
 * weights are copied: the adapter looks at DJL's own memory. The arrays belong to the classifier, which outlives this.
 */
final class SparseMethod implements Method {
    private static final String FILE = "adapter.safetensors";

    private final Classifier classifier;
    private final Context context;
    private final Adapter adapter;
    private final Schedule schedule;
    /** Of the adapter's parameters, which libspeft knows by their position here. */
    private final List<String> names;

    private final List<Reselection> reselections = new ArrayList<>();

    /** The learning rate, falling linearly to zero. */
    private record Schedule(double learningRate, int steps) {
        double at(long step) {
            return learningRate * (1 - (double) step / steps);
        }
    }

    /** Binds the weights of a new or loaded adapter. */
    private SparseMethod(Classifier classifier, Context context, Adapter adapter, Schedule schedule) {
        this.classifier = classifier;
        this.context = context;
        this.adapter = adapter;
        this.schedule = schedule;
        names = adapter.parameters().stream().map(parameter -> parameter.name()).toList();
        for (int i = 0; i < names.size(); i++) {
            adapter.bindWeights(i, DirectMemory.of(classifier.array(names.get(i))));
        }
    }

    /** A new adapter: nothing is chosen yet. */
    static SparseMethod create(String name, Classifier classifier, Settings settings) {
        boolean moves = name.equals("spiel-ag");
        Context context = Context.builder().backend("cpu").threads(settings.threads()).open();
        Adapter.Builder options = Adapter.builder(context)
                .selection(switch (name) {
                    case "random" -> Selection.RANDOM;
                    case "gradient" -> Selection.GRADIENT;
                    case "spiel-ag" -> Selection.SPIEL_AG;
                    default -> throw new IllegalArgumentException(name);
                })
                .scope(moves ? Scope.PER_TENSOR : Scope.GLOBAL) // SpIEL starts with the same share of each matrix
                .density(settings.density())
                .seed(settings.seed());
        if (moves) {
            options.totalSteps(settings.steps());
        }
        for (String target : classifier.targets()) {
            options.sparse(target, DType.FLOAT32, classifier.array(target).getShape().getShape());
        }
        for (String dense : classifier.headNames()) {
            options.dense(dense, DType.FLOAT32, classifier.array(dense).getShape().getShape());
        }
        List<String> trained = new ArrayList<>(classifier.targets());
        trained.addAll(classifier.headNames());
        classifier.train(trained);
        Schedule schedule = new Schedule(LEARNING_RATES.get(name), settings.steps());
        return new SparseMethod(classifier, context, options.open(), schedule);
    }

    /** The adapter that was saved in a directory, merged into a classifier with the pretrained weights. */
    static SparseMethod load(Path directory, Classifier classifier, Settings settings) {
        Context context = openContext(settings);
        Adapter adapter = Adapter.load(context, directory.resolve(FILE));
        SparseMethod method = new SparseMethod(classifier, context, adapter, new Schedule(0, 1));
        adapter.merge();
        return method;
    }

    private static Context openContext(Settings settings) {
        return Context.builder().backend("cpu").threads(settings.threads()).open();
    }

    @Override
    public void prepare(List<Batches.Batch> batches) {
        if (adapter.state().selection() == Selection.GRADIENT) {
            for (Batches.Batch batch : batches) {
                classifier.backward(batch);
                handOver(adapter::observe);
                adapter.finishObservation(1);
            }
        }
        adapter.select();
    }

    @Override
    public float step(Batches.Batch batch) {
        float loss = classifier.backward(batch);
        handOver(adapter::accumulate);
        double rate = schedule.at(adapter.state().steps());
        adapter.step(new Hyperparameters().lr(rate));
        if (adapter.state().reselectionDue()) {
            reselections.add(adapter.reselect());
        }
        return loss;
    }

    /** What has moved in the masks, each time that they have. */
    List<Reselection> reselections() {
        return List.copyOf(reselections);
    }

    /** Adapter.observe or Adapter.accumulate. */
    private interface Taker {
        void take(int position, Gradient gradient);
    }

    /** Gives the gradient of every parameter to libspeft, and clears it in DJL. */
    private void handOver(Taker taker) {
        for (int i = 0; i < names.size(); i++) {
            try (NDArray gradient = classifier.array(names.get(i)).getGradient()) {
                taker.take(i, Gradient.dense(gradient.toByteBuffer(true)));
                gradient.subi(gradient);
            }
        }
    }

    @Override
    public long trained() {
        return adapter.state().trainedScalars();
    }

    @Override
    public double density() {
        AdapterState state = adapter.state();
        return (double) state.selectedScalars() / state.targetedScalars();
    }

    @Override
    public Path save(Path directory) {
        Path path = directory.resolve(FILE);
        adapter.save(path);
        return path;
    }

    /** Takes the adapter off, and tells whether every weight is, bit for bit, that of a newly loaded classifier. */
    boolean unmergesExactly(Settings settings) throws IOException {
        adapter.unmerge();
        try (Classifier fresh = new Classifier(settings)) {
            return fresh.names().stream().allMatch(name -> {
                ByteBuffer original = DirectMemory.of(fresh.array(name));
                return original.equals(DirectMemory.of(classifier.array(name)));
            });
        }
    }

    @Override
    public void close() {
        adapter.close();
        context.close();
        classifier.train(List.of());
    }
}
