package org.speft.examples.sentiment;

import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;

/**
 * Movie-review snippets in parts that share none; the rows, their order and their parts are those of the Python demo.
 *
 * @param train rows to train on
 * @param heldOut rows to judge by
 */
record Dataset(List<Row> train, List<Row> heldOut) {
    static final int LABELS = 2;
    private static final String RESOURCES = "/hutto_ICWSM_2014.tar.gz";
    private static final String SNIPPETS = "/movieReviewSnippets_GroundTruth.txt";
    /** Ratings run from -4 to 4; nearer to 0 the raters did not agree on a polarity. */
    private static final double CLEAR_RATING = 0.5;

    private static final int LARGEST_EVALUATION = 1000;

    /**
     * One text.
     *
     * @param text a snippet
     * @param label 0: negative, 1: positive
     */
    record Row(String text, int label) {}

    /** Reads and splits the rows; the split depends on the rows alone, never on the seed of a run. */
    static Dataset load(Settings settings) throws IOException {
        List<Row> rows = read(Path.of(settings.data()));
        new PythonRandom("split").shuffle(rows);
        if (settings.maxRows() != null) {
            rows = rows.subList(0, Math.min(rows.size(), settings.maxRows()));
        }
        int size = Math.min(LARGEST_EVALUATION, rows.size() / 5);
        if (size == 0) {
            throw new InputException("--max-rows: expected at least 5 rows, of which a fifth is held out, got "
                    + rows.size());
        }
        // Between the two are the rows that the Python demo chose its learning rates on.
        return new Dataset(rows.subList(2 * size, rows.size()), rows.subList(0, size));
    }

    /** The human-rated snippets in vaderSentiment's source distribution: an archive in an archive. */
    private static List<Row> read(Path distribution) throws IOException {
        byte[] content;
        try (InputStream file = new BufferedInputStream(Files.newInputStream(distribution))) {
            content = member(new ByteArrayInputStream(member(file, RESOURCES)), SNIPPETS);
        } catch (IOException failure) {
            throw new InputException("--data " + distribution + ": " + failure.getMessage());
        }
        List<Row> rows = new ArrayList<>();
        for (String line : new String(content, StandardCharsets.UTF_8).lines().toList()) {
            String[] columns = line.split("\t", -1); // number, rating, text
            if (columns.length != 3) {
                throw new InputException("--data " + distribution + ": expected three columns in '" + line + "'");
            }
            double rating = Double.parseDouble(columns[1]);
            if (Math.abs(rating) >= CLEAR_RATING) {
                rows.add(new Row(columns[2], rating > 0 ? 1 : 0));
            }
        }
        return rows;
    }

    /** The member of a .tar.gz whose path ends so. */
    private static byte[] member(InputStream archive, String ending) throws IOException {
        TarArchiveInputStream members = new TarArchiveInputStream(new GzipCompressorInputStream(archive));
        for (TarArchiveEntry entry = members.getNextEntry(); entry != null; entry = members.getNextEntry()) {
            if (entry.getName().endsWith(ending)) {
                return members.readAllBytes();
            }
        }
        throw new IOException("it has no file " + ending);
    }
}
