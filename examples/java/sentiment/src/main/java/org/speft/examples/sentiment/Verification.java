package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Puts a saved adapter onto fresh weights, in a process of its own.
 *
 * <p>Compares its logits with those of the model that was trained, then takes the adapter off and compares every weight
 * with the pretrained one, both bit by bit. Leaves the answers in the method's directory (verified.json).
 */
final class Verification {
    private Verification() {}

    /**
     * What was found.
     *
     * @param reloadIdentical whether the predictions are those of the model that was trained
     * @param unmergeBitExact whether all weights are the pretrained ones again
     */
    record Answers(boolean reloadIdentical, boolean unmergeBitExact) {}

    static void run(Settings settings, String name) throws IOException {
        Dataset dataset = Dataset.load(settings);
        Path directory = settings.methodDirectory(name);
        byte[] trained = Files.readAllBytes(directory.resolve("logits.bin"));
        try (Classifier classifier = new Classifier(settings);
                SparseMethod method = SparseMethod.load(directory, classifier, settings)) {
            byte[] loaded = Training.bits(Evaluation.predict(classifier, dataset.heldOut(), settings));
            Settings.writeJson(
                    directory.resolve("verified.json"),
                    new Answers(Arrays.equals(loaded, trained), method.unmergesExactly(settings)));
        }
    }

    static Answers answers(Settings settings, String name) throws IOException {
        Path path = settings.methodDirectory(name).resolve("verified.json");
        return Settings.JSON.fromJson(Files.readString(path), Answers.class);
    }
}
