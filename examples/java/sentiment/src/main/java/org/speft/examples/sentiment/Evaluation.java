package org.speft.examples.sentiment;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/**
 * How well a classifier does.
 *
 * @param accuracy the share of rows whose label has the largest logit
 * @param loss the mean cross entropy
 */
record Evaluation(double accuracy, double loss) {
    private static final int BATCH = 64;

    /** The logits of all rows, in the rows' order. */
    static float[][] predict(Classifier classifier, List<Dataset.Row> rows, Settings settings) throws IOException {
        float[][] logits = new float[rows.size()][];
        for (Batches.Batch batch : new Batches(rows, settings).inOrderOfLength(BATCH)) {
            float[] found = classifier.predict(batch);
            for (int i = 0; i < batch.size(); i++) {
                logits[batch.positions()[i]] =
                        Arrays.copyOfRange(found, i * Dataset.LABELS, (i + 1) * Dataset.LABELS);
            }
        }
        return logits;
    }

    static Evaluation of(float[][] logits, List<Dataset.Row> rows) {
        int correct = 0;
        double loss = 0;
        for (int row = 0; row < logits.length; row++) {
            int label = rows.get(row).label();
            float own = logits[row][label];
            double sum = 0;
            boolean largest = true;
            for (int other = 0; other < logits[row].length; other++) {
                sum += Math.exp(logits[row][other] - own);
                largest &= other == label || logits[row][other] < own;
            }
            correct += largest ? 1 : 0;
            loss += Math.log(sum);
        }
        return new Evaluation((double) correct / logits.length, loss / logits.length);
    }
}
