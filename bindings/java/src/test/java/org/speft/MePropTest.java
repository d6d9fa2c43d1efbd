package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Masks that each step's own gradient selects, of weights in place. */
class MePropTest {
    private static final Hyperparameters RATE = new Hyperparameters().lr(0.01).weightDecay(0.1);

    private static Scene selected(UnaryOperator<Adapter.Builder> options) {
        Scene scene = new Scene(Selection.MEPROP, options);
        scene.adapter.select();
        return scene;
    }

    /** The gradients of a step, the same in every scene. */
    private static void arrive(Scene scene, int step) {
        for (int i = 0; i < 3; ++i) scene.gradients[i] = Numbers.tensor(100 * (step + 1) + i, Scene.SHAPES[i]);
        scene.accumulate();
    }

    private static Reselection train(Scene scene, int step) {
        arrive(scene, step);
        Reselection moved = scene.adapter.reselect();
        scene.adapter.step(RATE);
        return moved;
    }

    /** The masks of the largest |g| of what has arrived. */
    private static List<long[]> largest(Scene scene, int budget) {
        List<float[]> sizes = new ArrayList<>();
        for (int i = 0; i < 2; ++i) {
            float[] values = scene.gradients[i].toFloats();
            for (int j = 0; j < values.length; ++j) values[j] = Math.abs(values[j]);
            sizes.add(values);
        }
        return SelectionTest.largest(sizes, budget);
    }

    private static long[] toArray(TreeSet<Long> indices) {
        return indices.stream().mapToLong(Long::longValue).toArray();
    }

    private static void assertRefused(Class<? extends SpeftException> type, String words, Executable call) {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(words), message);
    }

    @Test
    void of_density_1_is_ordinary_adamw() {
        try (Scene moving = selected(builder -> builder.density(1));
                Scene fixed = new Scene(Selection.MASK, builder -> builder.age(Age.PER_WEIGHT))) {
            for (int i = 0; i < 2; ++i) {
                fixed.adapter.setMask(i, LongStream.range(0, fixed.weights[i].count()).toArray());
            }
            fixed.adapter.select();
            for (int step = 0; step < 4; ++step) {
                assertEquals(step == 0 ? 39 : 0, train(moving, step).grown());
                arrive(fixed, step);
                fixed.adapter.step(RATE);
            }
            for (int i = 0; i < 3; ++i) {
                assertArrayEquals(fixed.weights[i].toFloats(), moving.weights[i].toFloats());
                assertArrayEquals(fixed.adapter.mask(i), moving.adapter.mask(i));
                assertArrayEquals(fixed.adapter.deltas(i), moving.adapter.deltas(i));
                assertArrayEquals(fixed.adapter.ages(i), moving.adapter.ages(i));
            }
        }
    }

    /** Each weight, alone in an adapter that only the steps reach that select it, is trained to the same bits. */
    @Test
    void a_step_moves_the_largest_of_its_gradient_alone() {
        try (Scene scene = selected(builder -> builder.budget(5).trackMoves(true))) {
            Adapter adapter = scene.adapter;
            float[][] before = {scene.weights[0].toFloats(), scene.weights[1].toFloats()};
            assertEquals(0, adapter.state().selectedScalars());
            assertEquals(5, adapter.state().trainedScalars()); // the dense ones
            List<TreeMap<Long, List<Float>>> received = List.of(new TreeMap<>(), new TreeMap<>());
            for (int step = 0; step < 6; ++step) {
                arrive(scene, step);
                List<long[]> largest = largest(scene, 5);
                Reselection moved = adapter.reselect();
                assertEquals(step, moved.step());
                assertEquals(0, moved.dropped());
                assertEquals(moved.grown(), adapter.grown(0).length + adapter.grown(1).length);
                for (int i = 0; i < 2; ++i) {
                    TreeSet<Long> known = new TreeSet<>(received.get(i).keySet());
                    TreeSet<Long> grown = new TreeSet<>();
                    for (long index : largest.get(i)) {
                        if (!known.contains(index)) grown.add(index);
                        received.get(i).computeIfAbsent(index, unused -> new ArrayList<>())
                                .add(scene.gradients[i].floats().get((int) index));
                    }
                    assertArrayEquals(toArray(grown), adapter.grown(i));
                    long[] mask = toArray(new TreeSet<>(received.get(i).keySet()));
                    assertArrayEquals(mask, adapter.mask(i));
                    TreeSet<Long> selected = new TreeSet<>();
                    for (long index : largest.get(i)) selected.add(index);
                    float[] gradient = adapter.gradient(i);
                    float[] slopes = scene.gradients[i].toFloats();
                    for (int j = 0; j < mask.length; ++j) {
                        assertEquals(selected.contains(mask[j]) ? slopes[(int) mask[j]] : 0, gradient[j]);
                    }
                }
                adapter.step(RATE);
            }
            for (int i = 0; i < 2; ++i) {
                float[] expected = before[i].clone();
                int at = 0;
                for (long index : received.get(i).keySet()) {
                    List<Float> gradients = received.get(i).get(index);
                    expected[(int) index] = trainedAlone(scene.context, before[i][(int) index], gradients);
                    assertEquals(gradients.size(), adapter.ages(i)[at++]);
                }
                assertArrayEquals(expected, scene.weights[i].toFloats());
            }
            adapter.unmerge();
            for (int i = 0; i < 2; ++i) assertArrayEquals(before[i], scene.weights[i].toFloats());
        }
    }

    private static float trainedAlone(Context context, float weight, List<Float> gradients) {
        Tensor memory = Tensor.copyOf(new float[] {weight}, 1);
        try (Adapter alone = Adapter.builder(context).selection(Selection.MASK).sparse("w", DType.FLOAT32, 1).open()) {
            alone.bindWeights(0, memory);
            alone.setMask(0, 0);
            alone.select();
            for (float gradient : gradients) {
                alone.accumulate(0, Gradient.values(Tensor.copyOf(new float[] {gradient}, 1)));
                alone.step(RATE);
            }
        }
        return memory.floats().get(0);
    }

    @Test
    void a_threshold_lets_a_step_select_fewer() {
        float threshold = 0.875f;
        try (Scene scene = selected(builder -> builder.budget(5).threshold(threshold))) {
            int fewer = 0;
            for (int step = 0; step < 5; ++step) {
                for (int i = 0; i < 3; ++i) {
                    scene.gradients[i] = Numbers.tensor(100 * (step + 1) + i, Scene.SHAPES[i]);
                    float[] slopes = scene.gradients[i].toFloats();
                    for (int j = 0; j < slopes.length; ++j) slopes[j] *= step == 4 ? 0.125f : 1; // none is left
                    scene.gradients[i] = Tensor.copyOf(slopes, Scene.SHAPES[i]);
                }
                scene.accumulate();
                List<long[]> largest = largest(scene, 5);
                float[][] before = {scene.weights[0].toFloats(), scene.weights[1].toFloats()};
                scene.adapter.reselect();
                scene.adapter.step(RATE);
                int selected = 0;
                for (int i = 0; i < 2; ++i) {
                    float[] slopes = scene.gradients[i].toFloats();
                    long[] expected = LongStream.of(largest.get(i))
                            .filter(index -> Math.abs(slopes[(int) index]) >= threshold).toArray();
                    float[] now = scene.weights[i].toFloats();
                    float[] then = before[i];
                    long[] moved = LongStream.range(0, now.length)
                            .filter(index -> now[(int) index] != then[(int) index]).toArray();
                    assertArrayEquals(expected, moved);
                    selected += expected.length;
                }
                fewer += 5 - selected;
            }
            assertTrue(fewer > 5); // an earlier step, too
            assertTrue(scene.adapter.state().selectedScalars() > 0);
        }
    }

    @Test
    void a_limit_lets_the_least_changed_of_the_others_go() {
        record Other(int parameter, long index, float delta) {}
        try (Scene scene = selected(builder -> builder.budget(3).settledLimit(2).trackMoves(true))) {
            Adapter adapter = scene.adapter;
            float[][] before = {scene.weights[0].toFloats(), scene.weights[1].toFloats()};
            int left = 0;
            for (int step = 0; step < 6; ++step) {
                arrive(scene, step);
                List<long[]> largest = largest(scene, 3);
                List<Other> others = new ArrayList<>();
                List<TreeSet<Long>> expected = new ArrayList<>();
                for (int i = 0; i < 2; ++i) {
                    TreeSet<Long> mask = new TreeSet<>();
                    for (long index : largest.get(i)) mask.add(index);
                    expected.add(mask);
                    long[] known = adapter.mask(i);
                    float[] deltas = adapter.deltas(i);
                    for (int j = 0; j < known.length; ++j) {
                        if (!mask.contains(known[j])) others.add(new Other(i, known[j], deltas[j]));
                    }
                }
                others.sort(Comparator.comparingDouble(other -> -Math.abs(other.delta())));
                int staying = Math.min(2, others.size());
                for (Other other : others.subList(0, staying)) expected.get(other.parameter()).add(other.index());
                Reselection moved = adapter.reselect();
                assertEquals(others.size() - staying, moved.dropped());
                for (int i = 0; i < 2; ++i) assertArrayEquals(toArray(expected.get(i)), adapter.mask(i));
                for (Other other : others.subList(staying, others.size())) {
                    float now = scene.weights[other.parameter()].floats().get((int) other.index());
                    assertEquals(before[other.parameter()][(int) other.index()], now);
                    ++left;
                }
                adapter.step(RATE.eps(1)); // a first update is then as large as the gradient, and no two are equal
            }
            assertTrue(left > 0);
        }
    }

    @Test
    void the_selection_comes_between_a_gradient_and_its_use() {
        try (Scene scene = selected(builder -> builder.budget(5))) {
            Adapter adapter = scene.adapter;
            assertNull(adapter.reselect());
            assertRefused(InvalidStateException.class, "gradient", adapter::step);
            arrive(scene, 0);
            assertTrue(adapter.state().reselectionDue());
            Tensor lent = adapter.lendDeltas(2);
            for (Executable call : new Executable[] {adapter::step, () -> adapter.gradient(0),
                () -> adapter.lendGradient(2), () -> adapter.clipGradient(1),
                () -> adapter.saveCheckpoint(new ByteArrayOutputStream(), null)}) {
                assertRefused(InvalidStateException.class, "speft_reselect", call);
            }
            assertEquals(5, adapter.reselect().grown());
            assertFalse(adapter.state().reselectionDue());
            assertNull(adapter.reselect());
            assertThrows(IllegalStateException.class, lent::toFloats);
            assertRefused(InvalidStateException.class, "speft_clear_gradient", () -> arrive(scene, 0));
            double squares = 0;
            for (int i = 0; i < 3; ++i) for (float value : adapter.gradient(i)) squares += (double) value * value;
            // Squares of float32 are exact in float64; their sum has 10 roundings, as that of the library.
            assertEquals(Math.sqrt(squares), adapter.clipGradient(Double.POSITIVE_INFINITY), 20 * Math.ulp(4.0));
            adapter.clearGradient();
            train(scene, 0);
            long selected = adapter.selectedCount(0);
            assertRefused(InvalidArgumentException.class, "DENSE or ACTIVATIONS",
                    () -> adapter.accumulate(0, Gradient.values(Tensor.allocate(DType.FLOAT32, selected))));
            assertEquals(1, adapter.state().steps());
            adapter.unmerge();
            assertFalse(adapter.state().attached());
            arrive(scene, 1);
            assertRefused(InvalidStateException.class, "unmerged", adapter::reselect);
            adapter.attach(); // without a basis it is the same as a merge
            assertTrue(adapter.state().attached());
            assertTrue(adapter.state().merged());
            adapter.reselect();
            adapter.step();
        }
    }

    @Test
    void without_a_schedule_it_is_chosen_once_by_observations() {
        UnaryOperator<Adapter.Builder> options = builder -> builder.budget(7).optimizer(Optimizer.SGD);
        try (Scene once = new Scene(Selection.MEPROP, builder -> options.apply(builder).schedule(RateSchedule.NONE));
                Scene ordinary = new Scene(Selection.GRADIENT, options)) {
            assertRefused(InvalidStateException.class, "no observation", once.adapter::select);
            once.selected().step();
            ordinary.selected().step();
            assertNull(once.adapter.reselect());
            for (int i = 0; i < 3; ++i) {
                assertArrayEquals(ordinary.adapter.mask(i), once.adapter.mask(i));
                assertArrayEquals(ordinary.weights[i].toFloats(), once.weights[i].toFloats());
            }
        }
    }

    @Test
    void options_of_other_methods_are_refused() {
        refuse("SPEFT_OPTIMIZER_ADAMW", builder -> builder.optimizer(Optimizer.SGD));
        refuse("SPEFT_STATE_FLOAT32", builder -> builder.state(StateType.BLOCKS8));
        refuse("SPEFT_SCHEDULE_NONE", builder -> builder.schedule(RateSchedule.LINEAR));
        refuse("reselect_every", builder -> builder.reselectEvery(2));
        refuse("window", builder -> builder.window(1));
        refuse("settled_limit", builder -> builder.schedule(RateSchedule.NONE).settledLimit(3));
        refuse("per row", builder -> builder.scope(Scope.PER_ROW));
        refuse("threshold", builder -> builder.threshold(-1));
        refuse("threshold", builder -> builder.selection(Selection.MAGNITUDE).threshold(0.5));
    }

    private static void refuse(String words, UnaryOperator<Adapter.Builder> options) {
        try (Context context = Context.open("cpu")) {
            Adapter.Builder builder = options.apply(Scene.declare(Adapter.builder(context).selection(Selection.MEPROP)
                    .budget(1)));
            assertRefused(InvalidArgumentException.class, words, builder::open);
        }
    }

    @Test
    void a_checkpoint_goes_on_as_if_it_had_never_stopped(@TempDir Path folder) throws IOException {
        try (Scene scene = selected(builder -> builder.budget(5).settledLimit(4));
                Scene fresh = new Scene(Selection.MAGNITUDE, builder -> builder.budget(1))) {
            train(scene, 0);
            train(scene, 1);
            Path file = folder.resolve("checkpoint");
            scene.adapter.saveCheckpoint(file);
            try (Adapter resumed = Adapter.loadCheckpoint(fresh.context, file)) {
                for (int i = 0; i < 3; ++i) resumed.bindWeights(i, fresh.weights[i]);
                resumed.attach();
                for (int step = 2; step < 5; ++step) {
                    train(scene, step);
                    for (int i = 0; i < 3; ++i) resumed.accumulate(i, Gradient.dense(scene.gradients[i]));
                    resumed.reselect();
                    resumed.step(RATE);
                }
                for (int i = 0; i < 3; ++i) {
                    assertArrayEquals(scene.weights[i].toFloats(), fresh.weights[i].toFloats());
                    assertArrayEquals(scene.adapter.mask(i), resumed.mask(i));
                    assertArrayEquals(scene.adapter.ages(i), resumed.ages(i));
                }
            }
        }
    }
}
