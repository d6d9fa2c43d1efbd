package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.OptionalLong;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Masks that move while training. */
class MovingMasksTest {
    private static final UnaryOperator<Adapter.Builder> SPIEL = builder -> builder.budget(6).seed(3).totalSteps(10)
            .reselectEvery(2).window(1).rate(0.5).schedule(RateSchedule.CONSTANT).drop(Drop.CHANGE).trackMoves(true);

    @ParameterizedTest
    @EnumSource(names = {"SPIEL_AG", "SPIEL_MA"})
    void spiel_drops_and_grows(Selection selection) {
        UnaryOperator<Adapter.Builder> options = selection == Selection.SPIEL_MA ? SPIEL
                : builder -> SPIEL.apply(builder).candidates(12);
        try (Scene scene = new Scene(selection, options)) {
            Adapter adapter = scene.adapter;
            adapter.select();
            assertEquals(OptionalLong.of(1), adapter.state().nextReselection());
            assertNull(adapter.reselect());
            long[][] before = {adapter.mask(0), adapter.mask(1)};
            scene.step();
            assertTrue(adapter.state().reselectionDue());
            scene.accumulate();
            assertThrows(InvalidStateException.class, adapter::step);
            long[] units = {0, 0};
            Reselection moved = adapter.reselect((done, total) -> {
                units[0] = done;
                units[1] = total;
                return false;
            });
            assertEquals(1, moved.step());
            assertEquals(6, moved.dropped()); // all, the first time
            assertEquals(6, moved.grown());
            assertEquals(0, moved.settled());
            assertEquals(units[1], units[0]);
            for (int i = 0; i < 2; ++i) {
                TreeSet<Long> mask = new TreeSet<>();
                for (long index : before[i]) mask.add(index);
                for (long index : adapter.dropped(i)) assertTrue(mask.remove(index));
                for (long index : adapter.grown(i)) assertTrue(mask.add(index));
                assertArrayEquals(adapter.mask(i), mask.stream().mapToLong(Long::longValue).toArray());
            }
            scene.step();
            scene.step();
            assertEquals(3, adapter.reselect().grown()); // ξ·k
        }
    }

    @Test
    void dynamic_masks_settle_what_leaves() {
        try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(6).seed(3).reselectEvery(1)
                .keepMoments(true).settledLimit(4).trackMoves(true))) {
            Adapter adapter = scene.adapter;
            float[] before = scene.weights[0].toFloats();
            adapter.select();
            scene.step();
            Reselection moved = adapter.reselect();
            assertEquals(moved.dropped(), moved.grown());
            assertEquals(Math.min(4, moved.dropped()), moved.settled());
            assertEquals(moved.settled(), adapter.state().settledScalars());
            adapter.unmerge();
            assertArrayEquals(before, scene.weights[0].toFloats());
        }
    }

    @Test
    void dynamic_masks_by_gradients_are_observed_again() {
        try (Scene scene = new Scene(Selection.GRADIENT, builder -> builder.budget(6).reselectEvery(1))) {
            scene.selected();
            scene.step();
            assertThrows(InvalidStateException.class, scene.adapter::reselect);
            scene.adapter.beginObservation(3);
            for (int i = 0; i < 2; ++i) {
                scene.adapter.observe(i, Gradient.dense(Numbers.tensor(50 + i, Scene.SHAPES[i])));
            }
            scene.adapter.finishObservation();
            assertTrue(scene.adapter.reselect().grown() > 0);
            assertThrows(InvalidStateException.class, () -> scene.adapter.dropped(0)); // not tracked
        }
    }

    @Test
    void a_score_function_moves_masks() {
        float[] sign = {1};
        ScoreFunction function = (name, weights, gradient, scores) -> {
            float[] values = weights.toFloats();
            for (int i = 0; i < values.length; ++i) values[i] = sign[0] * i;
            scores.floats().put(values);
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION,
                builder -> builder.budget(2).scope(Scope.PER_TENSOR).score(function).reselectEvery(1))) {
            scene.adapter.select();
            assertArrayEquals(new long[] {22, 23}, scene.adapter.mask(0));
            scene.step();
            sign[0] = -1;
            scene.adapter.reselect();
            assertArrayEquals(new long[] {0, 1}, scene.adapter.mask(0));
        }
    }

    @Test
    void what_was_lent_before_is_refused_after() {
        try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(6).seed(3).reselectEvery(1))) {
            scene.adapter.select();
            Tensor deltas = scene.adapter.lendDeltas(0);
            Tensor gradient = scene.adapter.lendGradient(0);
            scene.step();
            assertNull(failureOf(deltas));
            scene.adapter.reselect();
            assertTrue(failureOf(deltas).contains("deltas"), failureOf(deltas));
            assertTrue(failureOf(gradient).contains("gradient"), failureOf(gradient));
            assertEquals(scene.adapter.mask(0).length, scene.adapter.lendDeltas(0).count());
        }
    }

    private static String failureOf(Tensor lent) {
        try {
            lent.toFloats();
            return null;
        } catch (IllegalStateException failure) {
            return failure.getMessage();
        }
    }

    @Test
    void a_cancelled_reselection_changes_nothing() {
        try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(6).seed(3).reselectEvery(1))) {
            scene.adapter.select();
            scene.step();
            long[] mask = scene.adapter.mask(0);
            Tensor deltas = scene.adapter.lendDeltas(0);
            float[] values = deltas.toFloats();
            assertThrows(CancelledException.class, () -> scene.adapter.reselect((done, total) -> true));
            assertArrayEquals(mask, scene.adapter.mask(0));
            assertArrayEquals(values, deltas.toFloats());
            assertTrue(scene.adapter.reselect() != null && !Arrays.equals(mask, scene.adapter.mask(0)));
        }
    }
}
