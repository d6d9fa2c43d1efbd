package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Small cases; {@link DatasetTest} compares long ones with Python. */
class PythonRandomTest {
    @Test
    void theSameSeedGivesTheSamePermutation() {
        assertArrayEquals(new PythonRandom("seed").permutation(1000), new PythonRandom("seed").permutation(1000));
    }

    @Test
    void aPermutationHasEveryNumberOnce() {
        int[] sorted = IntStream.of(new PythonRandom("seed").permutation(1000)).sorted().toArray();
        assertArrayEquals(IntStream.range(0, 1000).toArray(), sorted);
    }

    @Test
    void oneThingStaysWhereItIs() {
        List<String> list = new ArrayList<>(List.of("alone"));
        new PythonRandom("seed").shuffle(list);
        assertEquals(List.of("alone"), list);
    }
}
