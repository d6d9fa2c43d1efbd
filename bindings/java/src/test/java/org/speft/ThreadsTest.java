package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Contexts side by side, and one context used by two threads at once. */
class ThreadsTest {
    private static List<float[]> train(int seed) {
        List<float[]> results = new ArrayList<>();
        try (Context context = Context.builder().threads(2).open();
                Adapter adapter = Adapter.builder(context).selection(Selection.SPIEL_AG).budget(500).seed(seed)
                        .totalSteps(20).reselectEvery(4).sparse("w", DType.FLOAT32, 128, 128).open()) {
            Tensor weights = Numbers.tensor(seed, 128, 128);
            adapter.bindWeights(0, weights);
            adapter.select();
            for (int step = 0; step < 12; ++step) {
                adapter.accumulate(0, Gradient.activations(Numbers.tensor(seed + step, 32, 128),
                        Numbers.tensor(seed - step, 32, 128)));
                adapter.step(new Hyperparameters().lr(0.01));
                adapter.reselect();
            }
            results.add(weights.toFloats());
            results.add(adapter.deltas(0));
        }
        return results;
    }

    @Test
    void two_contexts_side_by_side_give_what_they_give_alone() throws Exception {
        List<List<float[]>> alone = List.of(train(100), train(200));
        ExecutorService pool = Executors.newFixedThreadPool(2);
        try {
            List<Callable<List<float[]>>> tasks = List.of(() -> train(100), () -> train(200));
            List<Future<List<float[]>>> together = pool.invokeAll(tasks);
            for (int i = 0; i < 2; ++i) {
                for (int j = 0; j < 2; ++j) assertArrayEquals(alone.get(i).get(j), together.get(i).get().get(j));
            }
        } finally {
            pool.shutdown();
        }
    }

    /** What a call throws in another thread, while this one waits for it. */
    private static Throwable inAnotherThread(Runnable call) {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                call.run();
            } catch (Throwable failure) {
                thrown.set(failure);
            }
        });
        thread.start();
        try {
            thread.join();
        } catch (InterruptedException failure) {
            throw new AssertionError(failure);
        }
        return thrown.get();
    }

    private static void assertBusy(Throwable failure) {
        assertEquals(BusyException.class, failure == null ? null : failure.getClass());
        assertEquals(6, ((BusyException) failure).status());
    }

    @Test
    void a_call_that_meets_another_is_busy() {
        try (Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3))) {
            int[] calls = {0};
            scene.adapter.select((done, total) -> {
                ++calls[0];
                assertBusy(inAnotherThread(() -> scene.adapter.state()));
                assertBusy(inAnotherThread(() -> scene.adapter.bindWeights(0, scene.weights[0])));
                assertBusy(inAnotherThread(scene.context::synchronize));
                assertBusy(inAnotherThread(() -> Scene.declare(Adapter.builder(scene.context).budget(1)).open()));
                assertBusy(assertThrows(BusyException.class, scene.adapter::state)); // and from this thread as well
                return false;
            });
            assertTrue(calls[0] > 0);
            scene.step();
            assertEquals(1, scene.adapter.state().steps());
        }
    }

    @Test
    void a_score_function_holds_its_context() {
        Adapter[] adapter = new Adapter[1];
        ScoreFunction function = (name, weights, gradient, scores) -> {
            assertBusy(inAnotherThread(() -> adapter[0].state()));
            scores.floats().put(weights.floats());
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(3).score(function))) {
            adapter[0] = scene.adapter;
            scene.adapter.select();
            assertEquals(3, scene.adapter.state().selectedScalars());
        }
    }

    @Test
    void copies_and_moving_masks_exclude_each_other() {
        try (Scene scene = new Scene(Selection.RANDOM, builder -> builder.budget(6).reselectEvery(1))) {
            scene.adapter.select();
            scene.step();
            scene.adapter.reselect((done, total) -> {
                assertBusy(inAnotherThread(() -> scene.adapter.deltas(0)));
                return false;
            });
            assertNull(inAnotherThread(() -> scene.adapter.deltas(0)));
        }
    }

    @Test
    void what_a_callback_has_thrown_comes_out_of_its_own_thread() {
        Kept kept = new Kept() {};
        ArithmeticException mine = new ArithmeticException();
        kept.keep(mine);
        kept.keep(new ArithmeticException("afterwards"));
        assertNull(inAnotherThread(kept::rethrow)); // of a call that got BUSY meanwhile
        assertEquals(mine, assertThrows(ArithmeticException.class, kept::rethrow));
        assertEquals("afterwards", mine.getSuppressed()[0].getMessage());
        kept.rethrow(); // once
    }

    @Test
    void calls_from_many_threads_are_done_or_busy() throws Exception {
        try (Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3)).selected()) {
            ExecutorService pool = Executors.newFixedThreadPool(4);
            try {
                List<Future<Integer>> done = new ArrayList<>();
                for (int thread = 0; thread < 4; ++thread) {
                    done.add(pool.submit(() -> {
                        int successes = 0;
                        for (int i = 0; i < 500; ++i) {
                            try {
                                scene.adapter.accumulate(0, Gradient.dense(scene.gradients[0]));
                                ++successes;
                            } catch (BusyException another) {
                                Thread.onSpinWait();
                            }
                        }
                        return successes;
                    }));
                }
                int successes = 0;
                for (Future<Integer> each : done) successes += each.get();
                // Each was added exactly once, as float32 sums tell that have one order only.
                float expected = 0;
                float slope = scene.gradients[0].toFloats()[(int) scene.adapter.mask(0)[0]];
                for (int i = 0; i < successes; ++i) expected += slope;
                assertEquals(expected, scene.adapter.gradient(0)[0]);
            } finally {
                pool.shutdown();
            }
        }
    }
}
