package org.speft.examples.sentiment;

import ai.djl.ndarray.NDArray;
import ai.djl.training.optimizer.Optimizer;
import ai.djl.training.tracker.Tracker;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The pretrained encoder as it is; only the new head learns, by DJL's own optimizer. */
final class HeadOnly implements Method {
    private final Classifier classifier;
    private final Optimizer optimizer;

    HeadOnly(Classifier classifier, double learningRate, int steps) {
        this.classifier = classifier;
        Tracker falling = update -> (float) (learningRate * (1 - (update - 1.0) / steps)); // the first update is 1
        optimizer = Optimizer.adamW().optWeightDecays(0).optLearningRateTracker(falling).build();
        classifier.train(classifier.headNames());
    }

    @Override
    public void prepare(List<Batches.Batch> batches) {
        // All of the head is trained: there is nothing to choose.
    }

    @Override
    public float step(Batches.Batch batch) {
        float loss = classifier.backward(batch);
        for (String name : classifier.headNames()) {
            NDArray weights = classifier.array(name);
            try (NDArray gradient = weights.getGradient()) {
                optimizer.update(name, weights, gradient); // and clears the gradient
            }
        }
        return loss;
    }

    @Override
    public long trained() {
        return classifier.headNames().stream().mapToLong(name -> classifier.array(name).size()).sum();
    }

    @Override
    public double density() {
        return 0;
    }

    @Override
    public Path save(Path directory) throws IOException {
        Path path = directory.resolve("head.params");
        try (DataOutputStream file = new DataOutputStream(Files.newOutputStream(path))) {
            for (String name : classifier.headNames()) {
                classifier.parameter(name).save(file);
            }
        }
        return path;
    }

    @Override
    public void close() {
        classifier.train(List.of());
    }
}
