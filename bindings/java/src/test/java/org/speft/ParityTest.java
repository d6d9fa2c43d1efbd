package org.speft;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** What C has recorded is the same here, to the bit. */
class ParityTest {
    private static final String VARIABLE = "SPEFT_PARITY_CASES";

    @TestFactory
    Stream<DynamicTest> every_recorded_life_is_the_same() throws IOException {
        String folder = System.getenv(VARIABLE);
        assumeTrue(folder != null, VARIABLE + " does not name the folder of recorded cases");
        List<Path> cases;
        try (Stream<Path> files = Files.list(Path.of(folder))) {
            cases = files.filter(file -> Files.exists(file.resolve("case.txt"))).sorted().toList();
        }
        assertFalse(cases.isEmpty(), VARIABLE + " names a folder without cases: " + folder);
        return cases.stream().map(file -> DynamicTest.dynamicTest(file.getFileName().toString(), () -> play(file)));
    }

    private static void play(Path folder) throws IOException {
        try (ParityCase recorded = new ParityCase(folder)) {
            recorded.play();
        }
    }

    private static final String LIFE = """
            context threads=1
            parameter name=w role=sparse dtype=float32 shape=2,2
            selection method=mask scope=global random=exact density=0 budget=0 rank=0 seed=0 model_scalars=0 \
            approximation_rank=0 mean=signed threshold=0
            optimizer kind=sgd age=common state=float32 delta_type=float32
            create
            bind 0 weights.bin
            mask 0 mask.bin
            select
            accumulate 0 values values.bin
            step lr=1 beta1=0 beta2=0 eps=1 weight_decay=0 decay=original momentum=0
            expect-mask 0 mask.bin
            """;

    private static void write(Path folder, String text) throws IOException {
        Files.write(folder.resolve("weights.bin"), new byte[16]);
        Files.write(folder.resolve("mask.bin"), new byte[] {2, 0, 0, 0, 0, 0, 0, 0});
        Files.write(folder.resolve("values.bin"), new byte[] {0, 0, (byte) 0x80, 0x3f}); // 1
        Files.write(folder.resolve("expected.bin"), new byte[] {0, 0, (byte) 0x80, (byte) 0xbf}); // −1
        Files.writeString(folder.resolve("case.txt"), text);
    }

    @Test
    void a_case_is_played_as_it_is_written(@TempDir Path folder) throws IOException {
        write(folder, LIFE + "expect-deltas 0 expected.bin\n");
        play(folder);
    }

    @Test
    void a_difference_is_found(@TempDir Path folder) throws IOException {
        for (String difference : List.of("expect-deltas 0 values.bin", "expect-weights 0 weights.bin",
                "expect-gradient 0 values.bin", "expect-mask 0 weights.bin")) {
            write(folder, LIFE + difference + "\n");
            assertNames(difference, folder);
        }
    }

    @Test
    void what_is_not_known_is_an_error(@TempDir Path folder) throws IOException {
        for (String line : List.of("dance", "context threads=1 colour=red", "context", "select now", "context threads",
                "reload loosely", "accumulate 0 sideways values.bin")) {
            write(folder, LIFE + line + "\n");
            assertNames(line, folder);
        }
    }

    private static void assertNames(String line, Path folder) {
        AssertionError failure = assertThrows(AssertionError.class, () -> play(folder));
        assertTrue(failure.getMessage().endsWith(": " + line), failure.getMessage());
    }
}
