package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * One method in a process of its own.
 *
 * <p>Leaves in the method's directory what was trained, the figures (result.json), all losses (losses.json), and the
 * logits on the held-out rows (logits.bin), for {@link Verification} to compare.
 */
final class Training {
    private Training() {}

    /**
     * The figures of one method.
     *
     * @param name the method's
     * @param accuracy on the held-out rows
     * @param loss on the held-out rows
     * @param trained all trained scalars
     * @param density trained scalars of the targeted matrices over all their scalars
     * @param adapterBytes the size of what is kept
     * @param secondsPreparing the time of choosing what to train
     * @param secondsPerStep the mean over all steps
     * @param peakRssBytes the most memory until the last step
     * @param unmergeBitExact whether taking the adapter off gave every weight its bits again; null without an adapter
     */
    record Result(
            String name,
            double accuracy,
            double loss,
            long trained,
            double density,
            long adapterBytes,
            double secondsPreparing,
            double secondsPerStep,
            long peakRssBytes,
            Boolean unmergeBitExact) {}

    static void run(Settings settings, String name) throws IOException {
        Dataset dataset = Dataset.load(settings);
        Batches batches = new Batches(dataset.train(), settings);
        Path directory = settings.methodDirectory(name);
        try (Classifier classifier = new Classifier(settings);
                Method method = Method.open(name, classifier, settings)) {
            Progress preparing = new Progress(name, 1);
            method.prepare(shuffled(batches, settings.salienceBatches(), "salience", settings));
            double secondsPreparing = preparing.seconds();

            Progress progress = new Progress(name, settings.steps());
            float[] losses = new float[settings.steps()];
            int taken = 0;
            for (Batches.Batch batch : shuffled(batches, settings.steps(), "training", settings)) {
                losses[taken] = method.step(batch);
                progress.advance(losses[taken++]);
            }
            double secondsPerStep = progress.seconds() / settings.steps();
            long peakMemory = Progress.peakMemory();

            float[][] logits = Evaluation.predict(classifier, dataset.heldOut(), settings);
            Evaluation evaluation = Evaluation.of(logits, dataset.heldOut());
            Path kept = method.save(directory);
            Files.write(directory.resolve("logits.bin"), bits(logits));
            Settings.writeJson(directory.resolve("losses.json"), losses);
            Settings.writeJson(
                    directory.resolve("result.json"),
                    new Result(
                            name,
                            evaluation.accuracy(),
                            evaluation.loss(),
                            method.trained(),
                            method.density(),
                            Files.size(kept),
                            secondsPreparing,
                            secondsPerStep,
                            peakMemory,
                            method instanceof SparseMethod sparse ? sparse.unmergesExactly(settings) : null));
        }
    }

    private static List<Batches.Batch> shuffled(Batches batches, int count, String purpose, Settings settings) {
        return batches.shuffled(count, settings.batchSize(), purpose + " " + settings.seed());
    }

    static Result result(Settings settings, String name) throws IOException {
        Path path = settings.methodDirectory(name).resolve("result.json");
        return Settings.JSON.fromJson(Files.readString(path), Result.class);
    }

    /** The logits as they are in memory: comparing these tells -0 from 0. */
    static byte[] bits(float[][] logits) {
        int size = logits.length * Dataset.LABELS * Float.BYTES;
        ByteBuffer bytes = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
        for (float[] row : logits) {
            for (float logit : row) {
                bytes.putInt(Float.floatToRawIntBits(logit));
            }
        }
        return bytes.array();
    }
}
