package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** A way to fine-tune a classifier. It says what of it is trained, and what is kept of it. */
interface Method extends AutoCloseable {
    /** In the order of the table. */
    List<String> NAMES = List.of("head-only", "random", "gradient", "spiel-ag");

    /** Those of the Python demo, where they were chosen as the best on its validation rows. */
    Map<String, Double> LEARNING_RATES =
            Map.of("head-only", 2e-2, "random", 1e-2, "gradient", 4e-3, "spiel-ag", 1e-2);

    /** Makes the classifier ready to be tuned in this way. */
    static Method open(String name, Classifier classifier, Settings settings) {
        return isSparse(name)
                ? SparseMethod.create(name, classifier, settings)
                : new HeadOnly(classifier, LEARNING_RATES.get(name), settings.steps());
    }

    static boolean isSparse(String name) {
        return !name.equals("head-only");
    }

    /** Chooses what to train, by the gradients of a few batches where it needs them. */
    void prepare(List<Batches.Batch> batches);

    /** One update by the gradients of a batch; the learning rate falls linearly to zero. Returns the batch's loss. */
    float step(Batches.Batch batch);

    /** All trained scalars, the head's among them. */
    long trained();

    /** Trained scalars of the targeted matrices over all their scalars. */
    double density();

    /** Writes, into a directory, what must be kept to have the tuned classifier again, and returns the file. */
    Path save(Path directory) throws IOException;

    @Override
    void close();
}
