package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Every method chooses the scalars with the largest scores, by arithmetic that is written out here. */
class SelectionTest {
    private static final int BUDGET = 7;

    private interface Score {
        float of(float weight, float gradient);
    }

    static Stream<Arguments> saliences() {
        return Stream.of(Arguments.of(Selection.MAGNITUDE, (Score) (w, g) -> Math.abs(w)),
                Arguments.of(Selection.SMALLEST_MAGNITUDE, (Score) (w, g) -> -Math.abs(w)),
                Arguments.of(Selection.GRADIENT, (Score) (w, g) -> Math.abs(g)),
                Arguments.of(Selection.SNIP, (Score) (w, g) -> Math.abs(g * w)),
                Arguments.of(Selection.FORCE, (Score) (w, g) -> -g * w),
                Arguments.of(Selection.TAYLOR_FO, (Score) (w, g) -> Math.abs(g * w)),
                Arguments.of(Selection.FISHER, (Score) (w, g) -> g * g),
                Arguments.of(Selection.SYNFLOW, (Score) (w, g) -> Math.abs(g * w)),
                Arguments.of(Selection.GRASP, (Score) (w, g) -> -g * w),
                Arguments.of(Selection.GRASP_CODE, (Score) (w, g) -> g * w),
                // Of full rank, so that the approximation is the matrix itself.
                Arguments.of(Selection.LOW_RANK, (Score) (w, g) -> Math.abs(w)));
    }

    @ParameterizedTest
    @MethodSource("saliences")
    void a_salience_selects_the_largest(Selection selection, Score score) {
        try (Scene scene = new Scene(selection, builder -> builder.budget(BUDGET))) {
            List<float[]> scores = new ArrayList<>();
            for (int i = 0; i < 2; ++i) {
                float[] weights = scene.weights[i].toFloats();
                float[] gradients = scene.gradients[i].toFloats();
                float[] each = new float[weights.length];
                for (int j = 0; j < each.length; ++j) each[j] = score.of(weights[j], gradients[j]);
                scores.add(each);
            }
            scene.selected();
            assertMasks(largest(scores), scene.adapter);
        }
    }

    @Test
    void wanda_scales_magnitudes_by_its_inputs() {
        try (Scene scene = new Scene(Selection.WANDA, builder -> builder.budget(BUDGET))) {
            List<float[]> scores = new ArrayList<>();
            for (int i = 0; i < 2; ++i) {
                int columns = (int) Scene.SHAPES[i][1];
                Tensor x = Numbers.tensor(i + 21, 9, columns);
                scene.adapter.observe(i, Gradient.inputs(x));
                float[] inputs = x.toFloats();
                float[] squares = new float[columns];
                for (int j = 0; j < inputs.length; ++j) squares[j % columns] += inputs[j] * inputs[j];
                float[] each = scene.weights[i].toFloats();
                for (int j = 0; j < each.length; ++j) {
                    each[j] = Math.abs(each[j]) * (float) Math.sqrt(squares[j % columns]);
                }
                scores.add(each);
            }
            scene.adapter.finishObservation();
            scene.adapter.select();
            assertMasks(largest(scores), scene.adapter);
        }
    }

    @Test
    void fisher_counts_examples_by_their_own_gradients() {
        // Two examples of one token: the gradients are outer products, and their squares are added.
        float[] x = {1, 2, 3, 4, -1, 2, -3, 4};
        float[] dy = {1, -2, 3, 0.5f, 2, -1};
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).selection(Selection.FISHER).budget(4)
                        .sparse("w", DType.FLOAT32, 3, 4).open()) {
            adapter.bindWeights(0, Numbers.tensor(1, 3, 4));
            adapter.observe(0, Gradient.activations(Tensor.copyOf(x, 2, 4), Tensor.copyOf(dy, 2, 3))
                    .exampleOffsets(0, 1, 2));
            adapter.finishObservation();
            adapter.select();
            float[] scores = new float[12];
            for (int example = 0; example < 2; ++example) {
                for (int j = 0; j < 12; ++j) {
                    float gradient = dy[example * 3 + j / 4] * x[example * 4 + j % 4];
                    scores[j] += gradient * gradient;
                }
            }
            assertArrayEquals(largest(List.of(scores), 4).get(0), adapter.mask(0));
        }
    }

    @Test
    void weight_change_selects_what_training_moved_and_rewinds() {
        try (Scene scene = new Scene(Selection.WEIGHT_CHANGE, builder -> builder.budget(BUDGET))) {
            List<float[]> scores = new ArrayList<>();
            for (int i = 0; i < 2; ++i) {
                Tensor original = Numbers.tensor(i + 31, Scene.SHAPES[i]);
                scene.adapter.setReference(i, i == 0 ? original : Numbers.tensor(i + 31, Scene.SHAPES[i]));
                float[] each = scene.weights[i].toFloats();
                float[] start = original.toFloats();
                for (int j = 0; j < each.length; ++j) each[j] = Math.abs(each[j] - start[j]);
                scores.add(each);
            }
            scene.adapter.select();
            assertMasks(largest(scores), scene.adapter);
            assertArrayEquals(Numbers.floats(31, 24), scene.weights[0].toFloats());
        }
    }

    @Test
    void a_reference_comes_in_a_buffer_too() {
        try (Scene scene = new Scene(Selection.WEIGHT_CHANGE, builder -> builder.budget(BUDGET))) {
            for (int i = 0; i < 2; ++i) scene.adapter.setReference(i, Numbers.tensor(i + 31, Scene.SHAPES[i]).floats());
            scene.adapter.select();
            assertArrayEquals(Numbers.floats(31, 24), scene.weights[0].toFloats());
        }
    }

    @Test
    void masks_and_scores_are_given() {
        try (Scene scene = new Scene(Selection.MASK, builder -> builder)) {
            scene.adapter.setMask(0, 1, 5, 23);
            scene.adapter.setMask(1);
            scene.adapter.select();
            assertArrayEquals(new long[] {1, 5, 23}, scene.adapter.mask(0));
            assertArrayEquals(new long[0], scene.adapter.mask(1));
            assertArrayEquals(new float[0], scene.adapter.deltas(1));
            assertEquals(0, scene.adapter.lendGradient(1).floats().remaining());
        }
        try (Scene scene = new Scene(Selection.SCORES, builder -> builder.budget(BUDGET))) {
            List<float[]> scores = List.of(Numbers.floats(41, 24), Numbers.floats(42, 15));
            scene.adapter.setScores(0, Tensor.copyOf(scores.get(0), Scene.SHAPES[0]));
            scene.adapter.setScores(1, Tensor.copyOf(scores.get(1)).floats());
            scene.adapter.select();
            assertMasks(largest(scores), scene.adapter);
        }
    }

    @Test
    void a_score_function_sees_weights_and_mean_gradients() {
        List<String> asked = new ArrayList<>();
        ScoreFunction function = (name, weights, gradient, scores) -> {
            asked.add(name);
            assertTrue(weights.isReadOnly() && weights.floats().isReadOnly() && gradient.isReadOnly());
            float[] products = weights.toFloats();
            float[] slopes = gradient.toFloats();
            for (int i = 0; i < products.length; ++i) products[i] = Math.abs(products[i] * slopes[i]);
            scores.floats().put(products);
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(BUDGET).score(function));
                Scene snip = new Scene(Selection.SNIP, builder -> builder.budget(BUDGET))) {
            scene.selected();
            snip.selected();
            assertEquals(List.of(Scene.NAMES[0], Scene.NAMES[1]), asked);
            for (int i = 0; i < 2; ++i) assertArrayEquals(snip.adapter.mask(i), scene.adapter.mask(i));
        }
    }

    @Test
    void a_score_function_without_observations_gets_no_gradient() {
        ScoreFunction function = (name, weights, gradient, scores) -> {
            assertEquals(null, gradient);
            scores.floats().put(weights.floats());
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(BUDGET).score(function))) {
            List<float[]> scores = List.of(scene.weights[0].toFloats(), scene.weights[1].toFloats());
            scene.adapter.select();
            assertMasks(largest(scores), scene.adapter);
        }
    }

    @Test
    void what_a_score_function_was_lent_ends_with_it() {
        Tensor[] escaped = new Tensor[1];
        ScoreFunction function = (name, weights, gradient, scores) -> {
            escaped[0] = scores;
            scores.floats().put(weights.floats());
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(BUDGET).score(function))) {
            scene.adapter.select();
            IllegalStateException failure =
                    org.junit.jupiter.api.Assertions.assertThrows(IllegalStateException.class, escaped[0]::floats);
            assertTrue(failure.getMessage().contains("scores"), failure.getMessage());
        }
    }

    @Test
    void random_masks_follow_the_seed() {
        long[][] masks = new long[3][];
        long[] seeds = {5, 5, 6};
        for (int i = 0; i < 3; ++i) {
            long seed = seeds[i];
            try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(BUDGET).seed(seed))) {
                scene.adapter.select();
                masks[i] = scene.adapter.mask(0);
                assertEquals(BUDGET, scene.adapter.state().selectedScalars());
            }
        }
        assertArrayEquals(masks[0], masks[1]);
        assertFalse(Arrays.equals(masks[0], masks[2]));
        try (Scene scene = new Scene(Selection.RANDOM,
                builder -> builder.density(1).random(RandomDraw.BERNOULLI))) {
            scene.adapter.select();
            assertEquals(39, scene.adapter.state().selectedScalars());
        }
    }

    @Test
    void a_seed_has_64_bits() {
        long[][] masks = new long[2][];
        for (int i = 0; i < 2; ++i) {
            long seed = i == 0 ? -1 : Integer.MAX_VALUE;
            try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(BUDGET).seed(seed))) {
                scene.adapter.select();
                masks[i] = scene.adapter.mask(0);
            }
        }
        assertFalse(Arrays.equals(masks[0], masks[1]));
    }

    static Stream<Arguments> budgets() {
        return Stream.of(budget(b -> b.density(0.25), 9), // ⌊0.25·39⌋
                budget(b -> b.density(0.05).modelScalars(100), 5),
                budget(b -> b.rank(1), 4 + 6 + 3 + 5),
                budget(b -> b.budget(4).scope(Scope.PER_TENSOR), 8),
                budget(b -> b.budget(2).scope(Scope.PER_ROW), 2 * (4 + 3)));
    }

    private static Arguments budget(UnaryOperator<Adapter.Builder> options, int expected) {
        return Arguments.of(options, expected);
    }

    @ParameterizedTest
    @MethodSource("budgets")
    void a_budget_is_counted_as_asked(UnaryOperator<Adapter.Builder> options, int expected) {
        try (Scene scene = new Scene(Selection.MAGNITUDE, options)) {
            scene.adapter.select();
            assertEquals(expected, scene.adapter.state().selectedScalars());
        }
    }

    @Test
    void a_mean_of_absolutes_does_not_cancel() {
        try (Scene scene = new Scene(Selection.GRADIENT, builder -> builder.budget(1).mean(Mean.ABSOLUTE))) {
            for (int batch = 0; batch < 2; ++batch) {
                float[] slopes = new float[24];
                slopes[3] = batch == 0 ? 5 : -5; // cancels, signed
                slopes[7] = 1;
                scene.adapter.beginObservation(1);
                scene.adapter.observe(0, Gradient.dense(Tensor.copyOf(slopes, 4, 6)));
                scene.adapter.observe(1, Gradient.dense(Tensor.allocate(DType.FLOAT32, 3, 5)));
                scene.adapter.finishObservation();
            }
            assertEquals(2, scene.adapter.state().observations());
            scene.adapter.select();
            assertArrayEquals(new long[] {3}, scene.adapter.mask(0));
        }
    }

    @Test
    void cleared_observations_do_not_count() {
        try (Scene scene = new Scene(Selection.GRADIENT, builder -> builder.budget(1))) {
            scene.adapter.beginObservation(2);
            scene.adapter.observe(0, Gradient.dense(scene.gradients[0]));
            scene.adapter.clearObservations();
            float[] slopes = new float[24];
            slopes[9] = 1e-3f;
            scene.adapter.observe(0, Gradient.dense(Tensor.copyOf(slopes, 4, 6)));
            scene.adapter.observe(1, Gradient.dense(Tensor.allocate(DType.FLOAT32, 3, 5)));
            scene.adapter.finishObservation();
            scene.adapter.select();
            assertArrayEquals(new long[] {9}, scene.adapter.mask(0));
        }
    }

    @ParameterizedTest
    @EnumSource
    void every_method_is_made(Selection selection) {
        UnaryOperator<Adapter.Builder> options = selection == Selection.MASK ? b -> b
                : selection == Selection.SCORE_FUNCTION ? b -> b.budget(2).score((n, w, g, s) -> {}) : b -> b.budget(2);
        try (Scene scene = new Scene(selection, options)) {
            assertEquals(selection, scene.adapter.state().selection());
        }
    }

    private static List<long[]> largest(List<float[]> scores) {
        return largest(scores, BUDGET);
    }

    /** The masks of the largest scores of all together. */
    static List<long[]> largest(List<float[]> scores, int budget) {
        record Scalar(int parameter, int index, float score) {}
        List<Scalar> all = new ArrayList<>();
        for (int i = 0; i < scores.size(); ++i) {
            for (int j = 0; j < scores.get(i).length; ++j) all.add(new Scalar(i, j, scores.get(i)[j]));
        }
        all.sort(Comparator.comparingDouble(scalar -> -scalar.score()));
        List<long[]> masks = new ArrayList<>();
        for (int i = 0; i < scores.size(); ++i) {
            TreeSet<Long> mask = new TreeSet<>();
            for (Scalar scalar : all.subList(0, budget)) if (scalar.parameter() == i) mask.add((long) scalar.index());
            masks.add(mask.stream().mapToLong(Long::longValue).toArray());
        }
        return masks;
    }

    private static void assertMasks(List<long[]> expected, Adapter adapter) {
        for (int i = 0; i < expected.size(); ++i) assertArrayEquals(expected.get(i), adapter.mask(i), Scene.NAMES[i]);
    }
}
