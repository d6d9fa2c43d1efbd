package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ReportTest {
    @Test
    void theTableHasALineAMethodAndTheChecks() {
        Settings settings = CommandLine.parse().settings();
        List<Training.Result> methods = List.of(
                new Training.Result("head-only", 0.79, 0.4512, 770, 0, 3456, 0, 0.127, 1_090_000_000, null),
                new Training.Result("random", 0.8631, 0.3, 53_854, 0.005, 338_111, 1, 0.303, 1_457_000_000, true));
        Map<String, Boolean> checks = Map.of(Report.RELOAD_IDENTICAL, false);
        assertEquals(
                """
                method     accuracy   loss  trained scalars  density  adapter file  time of a step  peak memory
                -----------------------------------------------------------------------------------------------
                head-only     79.0%  0.451              770    0.00%        3.5 kB          127 ms     1,090 MB
                random        86.3%  0.300           53,854    0.50%        338 kB          303 ms     1,457 MB

                predictions after reloading the adapter in a fresh process: DIFFERENT
                90 s in all""",
                new Report(methods, checks, 89.7, 8000, 1000, settings).table());
    }

    @Test
    void accuracyCountsTheLargestLogitAndLossIsTheCrossEntropy() {
        List<Dataset.Row> rows = List.of(new Dataset.Row("", 0), new Dataset.Row("", 1));
        Evaluation evaluation = Evaluation.of(new float[][] {{0, 1}, {1, 1 + (float) Math.log(3)}}, rows);
        assertEquals(0.5, evaluation.accuracy());
        assertEquals((Math.log(1 + Math.E) + Math.log(4.0 / 3)) / 2, evaluation.loss(), 1e-7); // of float32 logits
    }
}
