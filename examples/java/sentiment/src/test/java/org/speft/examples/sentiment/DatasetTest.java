package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetTest {
    private static final Settings EVERYTHING = Reference.settings();
    private final Reference reference = Reference.read();

    DatasetTest() throws IOException {}

    @Test
    void rowsAndTheirPartsArePythons() throws IOException {
        Dataset dataset = Dataset.load(EVERYTHING);
        assertTexts(reference.train().texts(), dataset.train());
        assertEquals(reference.train().labels(), dataset.train().stream().map(Dataset.Row::label).toList());
        assertTexts(reference.heldOut().texts(), dataset.heldOut());
        assertEquals(reference.heldOut().labels(), dataset.heldOut().stream().map(Dataset.Row::label).toList());
    }

    @Test
    void fewRowsArePythons() throws IOException {
        Dataset dataset = Dataset.load(few());
        assertTexts(reference.fewTrain(), dataset.train());
        assertTexts(reference.fewHeldOut(), dataset.heldOut());
    }

    @Test
    void tokensArePythons() throws IOException {
        assertTokens(reference.train());
        assertTokens(reference.heldOut());
    }

    @Test
    void trainingBatchesComeInPythonsOrder() throws IOException {
        List<Batches.Batch> batches = new Batches(Dataset.load(few()).train(), few()).shuffled(50, 32, "training 0");
        assertPositions(reference.shuffled(), batches);
    }

    @Test
    void evaluationBatchesComeInPythonsOrder() throws IOException {
        List<Batches.Batch> batches = new Batches(Dataset.load(few()).heldOut(), few()).inOrderOfLength(64);
        assertPositions(reference.inOrder(), batches);
    }

    @Test
    void shorterTextsArePaddedAndMasked() throws IOException {
        List<Dataset.Row> rows = List.of(new Dataset.Row("good", 1), new Dataset.Row("not good at all", 0));
        Batches.Batch batch = new Batches(rows, EVERYTHING).inOrderOfLength(2).get(0);
        assertArrayEquals(new long[] {1, 0}, batch.labels());
        assertArrayEquals(new long[] {1, 1, 1, 0, 0, 0}, batch.mask()[0]);
        assertArrayEquals(new long[] {0, 0, 0}, Arrays.copyOfRange(batch.tokens()[0], 3, 6));
        assertArrayEquals(new long[] {1, 1, 1, 1, 1, 1}, batch.mask()[1]);
    }

    @Test
    void aFileThatIsNoArchiveIsRefusedByName(@TempDir Path directory) throws IOException {
        Path file = Files.writeString(directory.resolve("reviews"), "good\n");
        Settings settings = CommandLine.parse("--data", file.toString()).settings();
        InputException failure = assertThrows(InputException.class, () -> Dataset.load(settings));
        assertTrue(failure.getMessage().startsWith("--data " + file), failure.getMessage());
    }

    @Test
    void tooFewRowsAreRefusedByName() {
        Settings settings = Reference.settings("--max-rows", "4");
        InputException failure = assertThrows(InputException.class, () -> Dataset.load(settings));
        assertTrue(failure.getMessage().startsWith("--max-rows: expected at least 5 rows"), failure.getMessage());
    }

    private Settings few() {
        return Reference.settings("--max-rows", Integer.toString(reference.maxRows()));
    }

    /** One by one: the message is about the first that differs. */
    private static void assertTexts(List<String> expected, List<Dataset.Row> rows) {
        assertEquals(expected.size(), rows.size());
        for (int i = 0; i < rows.size(); i++) {
            assertEquals(expected.get(i), rows.get(i).text());
        }
    }

    private static void assertTokens(Reference.Rows expected) throws IOException {
        List<Dataset.Row> rows = expected.texts().stream().map(text -> new Dataset.Row(text, 0)).toList();
        int compared = 0;
        for (Batches.Batch batch : new Batches(rows, EVERYTHING).inOrderOfLength(64)) {
            for (int i = 0; i < batch.size(); i++, compared++) {
                long[] tokens = expected.tokens().get(batch.positions()[i]);
                int length = (int) Arrays.stream(batch.mask()[i]).sum();
                assertArrayEquals(tokens, Arrays.copyOf(batch.tokens()[i], length));
            }
        }
        assertEquals(expected.tokens().size(), compared);
    }

    private static void assertPositions(List<int[]> expected, List<Batches.Batch> batches) {
        assertEquals(expected.size(), batches.size());
        for (int i = 0; i < batches.size(); i++) {
            assertArrayEquals(expected.get(i), batches.get(i).positions());
        }
    }
}
