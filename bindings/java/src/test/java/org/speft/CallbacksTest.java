package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** From the library into Java: what is called, and what becomes of exceptions. */
class CallbacksTest {
    /** Not an exception that anybody could expect. */
    private static final class Surprise extends Error {
        private static final long serialVersionUID = 1;
    }

    @Test
    void what_a_progress_throws_comes_out_and_cancels() {
        try (Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3))) {
            for (RuntimeException failure : new RuntimeException[] {new IllegalStateException("mine"),
                new ArithmeticException("mine")}) {
                Progress progress = (done, total) -> {
                    throw failure;
                };
                assertSame(failure, assertThrows(RuntimeException.class, () -> scene.adapter.select(progress)));
                assertTrue(!scene.adapter.state().selected());
            }
            Surprise surprise = new Surprise();
            assertSame(surprise, assertThrows(Surprise.class, () -> scene.adapter.select((done, total) -> {
                throw surprise;
            })));
            assertThrows(CancelledException.class, () -> scene.adapter.select((done, total) -> true));
            scene.adapter.select((done, total) -> false);
        }
    }

    @Test
    void a_progress_without_stack_is_cancelled_as_any_other() {
        try (Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3))) {
            Progress endless = new Progress() {
                @Override
                public boolean report(long done, long total) {
                    return report(done, total + 1);
                }
            };
            assertThrows(StackOverflowError.class, () -> scene.adapter.select(endless));
            scene.adapter.select();
        }
    }

    @Test
    void what_a_score_function_throws_comes_out_and_cancels() {
        boolean[] broken = {true};
        Surprise surprise = new Surprise();
        ScoreFunction function = (name, weights, gradient, scores) -> {
            if (broken[0]) throw surprise;
            scores.floats().put(weights.floats());
        };
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(3).score(function))) {
            assertSame(surprise, assertThrows(Surprise.class, () -> scene.adapter.select()));
            broken[0] = false;
            scene.adapter.select();
            assertEquals(3, scene.adapter.state().selectedScalars());
        }
    }

    @Test
    void a_score_function_lives_as_long_as_its_adapter() {
        int[] calls = {0};
        try (Scene scene = new Scene(Selection.SCORE_FUNCTION, builder -> builder.budget(3).reselectEvery(1)
                .score((name, weights, gradient, scores) -> {
                    ++calls[0];
                    scores.floats().put(weights.floats());
                }))) {
            scene.adapter.select();
            scene.step();
            System.gc();
            scene.adapter.reselect();
            assertEquals(4, calls[0]);
        }
    }

    @Test
    void a_logger_hears_of_the_backend() {
        List<String> lines = new ArrayList<>();
        List<LogLevel> levels = new ArrayList<>();
        try (Context context = Context.builder().logger((level, message) -> {
            levels.add(level);
            lines.add(message);
        }, LogLevel.DEBUG).open()) {
            assertEquals("cpu", context.backend());
        }
        assertTrue(lines.stream().anyMatch(line -> line.contains("cpu")), lines.toString());
        assertTrue(levels.contains(LogLevel.INFO));
        lines.clear();
        Context.builder().logger((level, message) -> lines.add(message), LogLevel.WARNING).open().close();
        assertEquals(List.of(), lines);
    }

    @Test
    void what_a_logger_throws_comes_out() {
        Surprise surprise = new Surprise();
        Context.Builder builder = Context.builder().logger((level, message) -> {
            throw surprise;
        }, LogLevel.INFO);
        assertSame(surprise, assertThrows(Surprise.class, builder::open));
        assertSame(surprise, assertThrows(Surprise.class, builder::open));
    }

    /** Large enough that operations are split. */
    private static float[] train(Context context) {
        try (context; Adapter adapter = Adapter.builder(context).selection(Selection.GRADIENT).density(0.1)
                .sparse("w", DType.FLOAT32, 512, 512).open()) {
            Tensor weights = Numbers.tensor(1, 512, 512);
            adapter.bindWeights(0, weights);
            adapter.observe(0, Gradient.activations(Numbers.tensor(2, 64, 512), Numbers.tensor(3, 64, 512)));
            adapter.finishObservation();
            adapter.select();
            for (int step = 0; step < 2; ++step) {
                adapter.accumulate(0, Gradient.dense(Numbers.tensor(4 + step, 512, 512)));
                adapter.step(new Hyperparameters().lr(0.1));
            }
            return weights.toFloats();
        }
    }

    @Test
    void an_executor_runs_the_work_and_changes_nothing() {
        float[] expected = train(Context.builder().threads(1).open());
        AtomicInteger tasks = new AtomicInteger();
        ExecutorService pool = Executors.newFixedThreadPool(2);
        try {
            assertArrayEquals(expected, train(Context.builder().parallelFor(task -> {
                tasks.incrementAndGet();
                pool.execute(task);
            }, 3).open()));
        } finally {
            pool.shutdown();
        }
        assertTrue(tasks.get() > 0);
        // Now closed: the calling thread does all of it.
        assertArrayEquals(expected, train(Context.builder().parallelFor(pool, 3).open()));
    }

    @Test
    void an_executor_may_be_late_or_run_in_the_caller() {
        float[] expected = train(Context.builder().threads(1).open());
        List<Runnable> late = new ArrayList<>();
        assertArrayEquals(expected, train(Context.builder().parallelFor(late::add, 4).open()));
        assertTrue(!late.isEmpty());
        late.forEach(Runnable::run); // there is nothing left to do, and nothing to do it with
        assertArrayEquals(expected, train(Context.builder().parallelFor(Runnable::run, 4).open()));
    }

    @Test
    void what_an_executor_throws_comes_out_after_the_work() {
        Surprise surprise = new Surprise();
        AtomicInteger rejected = new AtomicInteger();
        assertSame(surprise, assertThrows(Surprise.class, () -> train(Context.builder().parallelFor(task -> {
            if (rejected.incrementAndGet() == 1) throw new RejectedExecutionException(); // of no importance
            throw surprise;
        }, 2).open())));
        assertTrue(rejected.get() > 1);
    }

    @Test
    void an_interrupt_is_kept_for_later() {
        ExecutorService pool = Executors.newFixedThreadPool(1);
        try {
            Thread.currentThread().interrupt();
            float[] interrupted = train(Context.builder().parallelFor(pool, 2).open());
            assertTrue(Thread.interrupted());
            assertArrayEquals(train(Context.builder().threads(1).open()), interrupted);
        } finally {
            pool.shutdown();
        }
    }

    @Test
    void an_allocator_gives_all_memory_and_gets_it_back() {
        Pool pool = new Pool();
        float[] expected = train(Context.builder().open());
        assertArrayEquals(expected, train(Context.builder().allocator(pool).open()));
        assertTrue(pool.most() > 0);
        assertEquals(0, pool.live());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void an_allocator_that_has_nothing_left_fails_the_call(boolean throwing) {
        Surprise surprise = new Surprise();
        Pool pool = new Pool();
        try (Context context = Context.builder().allocator(pool).open();
                Adapter adapter = Adapter.builder(context).selection(Selection.GRADIENT).budget(1)
                        .sparse("w", DType.FLOAT32, 8).open()) {
            adapter.bindWeights(0, Numbers.tensor(1, 8));
            pool.refuse(throwing ? surprise : null);
            Gradient gradient = Gradient.dense(Numbers.tensor(2, 8));
            if (throwing) assertSame(surprise, assertThrows(Surprise.class, () -> adapter.observe(0, gradient)));
            else assertThrows(OutOfMemoryException.class, () -> adapter.observe(0, gradient));
            pool.accept();
            adapter.observe(0, gradient);
            adapter.finishObservation();
            adapter.select();
        }
        assertEquals(0, pool.live());
    }
}
