package org.speft.examples.sentiment;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/** Tokenized rows, from which batches are cut: the same, in the same order, as those of the Python demo. */
final class Batches {
    private static final int SORTED_TOGETHER = 16;

    /**
     * Texts of one step.
     *
     * @param tokens token numbers, as many in each text; 0 beyond a shorter text's end
     * @param mask 1 where there is a token
     * @param labels one a text
     * @param positions where the texts stand in the rows that the batch was cut from
     */
    record Batch(long[][] tokens, long[][] mask, long[] labels, int[] positions) {
        int size() {
            return labels.length;
        }
    }

    private final long[][] tokens;
    private final List<Dataset.Row> rows;

    Batches(List<Dataset.Row> rows, Settings settings) throws IOException {
        this.rows = rows;
        try (HuggingFaceTokenizer tokenizer = openTokenizer(settings)) {
            Encoding[] encodings = tokenizer.batchEncode(rows.stream().map(Dataset.Row::text).toList());
            tokens = Arrays.stream(encodings).map(Encoding::getIds).toArray(long[][]::new);
        }
    }

    private static HuggingFaceTokenizer openTokenizer(Settings settings) throws IOException {
        Map<String, String> options = Map.of(
                "truncation", "true",
                "maxLength", Integer.toString(settings.maxTokens()),
                "padding", "false");
        try {
            return HuggingFaceTokenizer.newInstance(Path.of(settings.model(), "tokenizer.json"), options);
        } catch (RuntimeException failure) { // as which DJL throws whatever its tokenizers have to say
            throw new InputException("--model " + settings.model() + ": tokenizer.json cannot be used ("
                    + failure.getMessage() + ")");
        }
    }

    /** Every row once: for evaluation. */
    List<Batch> inOrderOfLength(int size) {
        List<Integer> order = new ArrayList<>();
        for (int row = 0; row < rows.size(); row++) {
            order.add(row);
        }
        order.sort(byLength());
        return cut(order, size).stream().map(this::batch).toList();
    }

    /**
     * As many batches as asked for, going through all rows before any comes again.
     *
     * <p>Texts of similar length share a batch, which halves the padding: sixteen batches' worth of shuffled rows are
     * sorted by length, cut, and the cuts shuffled.
     */
    List<Batch> shuffled(int count, int size, String seed) {
        PythonRandom random = new PythonRandom(seed);
        List<Integer> order = new ArrayList<>();
        while (order.size() < count * size) {
            Arrays.stream(random.permutation(rows.size())).forEach(order::add);
        }
        List<Batch> batches = new ArrayList<>();
        for (List<Integer> pool : cut(order.subList(0, count * size), SORTED_TOGETHER * size)) {
            pool.sort(byLength());
            List<List<Integer>> cuts = cut(pool, size);
            random.shuffle(cuts);
            cuts.forEach(rows -> batches.add(batch(rows)));
        }
        return batches;
    }

    private Comparator<Integer> byLength() {
        return Comparator.comparingInt(row -> tokens[row].length);
    }

    /** Pieces of `size`; the last may be shorter. */
    private static List<List<Integer>> cut(List<Integer> order, int size) {
        List<List<Integer>> pieces = new ArrayList<>();
        for (int start = 0; start < order.size(); start += size) {
            pieces.add(order.subList(start, Math.min(start + size, order.size())));
        }
        return pieces;
    }

    private Batch batch(List<Integer> chosen) {
        int longest = chosen.stream().mapToInt(row -> tokens[row].length).max().orElseThrow();
        long[][] padded = new long[chosen.size()][];
        long[][] mask = new long[chosen.size()][longest];
        long[] labels = new long[chosen.size()];
        for (int i = 0; i < padded.length; i++) {
            long[] row = tokens[chosen.get(i)];
            padded[i] = Arrays.copyOf(row, longest); // padded with 0, which is [PAD]
            Arrays.fill(mask[i], 0, row.length, 1);
            labels[i] = rows.get(chosen.get(i)).label();
        }
        return new Batch(padded, mask, labels, chosen.stream().mapToInt(Integer::intValue).toArray());
    }
}
