package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** 10,000 adapters leave nothing behind, whether they are closed or only dropped. */
class LeakTest {
    /**
     * How much the resident set may grow from the second thousand adapters to the tenth, in kB. An adapter that is left
     * behind has 64 original values, deltas, indices and two moments, names and bookkeeping: above 2 kB, and so 16 MB
     * of 8,000. Of the arguments of its calls there are more than 30 blocks of 32 bytes at least: 8 MB. What malloc
     * holds ready for the adapters that wait for the collector moves by up to 3.5 MB, to and fro: the least of ten
     * samples is taken, and what is left of it is below 4 MB.
     */
    private static final long BOUND = 4096;

    /** Interpreted, with a heap that is resident from the beginning: what grows then is native memory. */
    private static final List<String> STEADY = List.of("-Xint", "-Xms48m", "-Xmx48m", "-XX:+AlwaysPreTouch",
            "-XX:+UseSerialGC", "-Dorg.speft.library.path=" + ForkedJvm.NATIVES);

    /** Prints how much it has grown. */
    static final class Many {
        private Many() {}

        public static void main(String[] arguments) throws IOException {
            boolean closing = Boolean.parseBoolean(arguments[0]);
            Tensor weights = Numbers.tensor(1, 32, 32);
            Tensor gradient = Numbers.tensor(2, 32, 32);
            long begin = Long.MAX_VALUE;
            long end = Long.MAX_VALUE;
            try (Context context = Context.builder().threads(1).open()) {
                for (int made = 1; made <= 10_000; ++made) {
                    Adapter adapter = Adapter.builder(context).selection(Selection.SNIP).budget(64)
                            .sparse("w", DType.FLOAT32, 32, 32).open();
                    adapter.bindWeights(0, weights);
                    adapter.observe(0, Gradient.dense(gradient));
                    adapter.finishObservation();
                    adapter.select((done, total) -> false);
                    adapter.accumulate(0, Gradient.dense(gradient));
                    adapter.step(new Hyperparameters().lr(0.01));
                    adapter.lendDeltas(0).floats().get(0);
                    adapter.unmerge(); // a dropped one would else keep the weights from the next
                    if (closing) adapter.close();
                    if (made % 100 != 0) continue;
                    System.gc();
                    if (made > 1_000 && made <= 2_000) begin = Math.min(begin, resident());
                    if (made > 9_000) end = Math.min(end, resident());
                }
                System.out.println(end - begin);
            }
        }

        private static long resident() throws IOException {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmRSS:")) return Long.parseLong(line.replaceAll("\\D", ""));
            }
            throw new AssertionError("no VmRSS");
        }
    }

    @ParameterizedTest(name = "closed: {0}")
    @ValueSource(booleans = {true, false})
    void adapters_leave_nothing_behind(boolean closing) throws IOException {
        ForkedJvm.Result result = ForkedJvm.run(ForkedJvm.CLASSES, STEADY, Many.class, String.valueOf(closing));
        assertEquals(0, result.exit(), result.output());
        long growth = Long.parseLong(result.output().strip());
        assertTrue(growth < BOUND, "grew by " + growth + " kB");
    }
}
