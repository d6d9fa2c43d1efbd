package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.lang.ref.WeakReference;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;

/** The end of contexts and adapters: use after it, at it, and without it. */
class CloseTest {
    private static final Set<String> USABLE = Set.of("close", "toString", "parameters", "position", "context");

    private static Map<Class<?>, Object> arguments(Scene scene) {
        Tensor tensor = Numbers.tensor(1, 4, 6);
        Quantized quantized = new Quantized(Quantized.Kind.NF4, tensor, tensor, 64);
        Basis basis = new Basis(Context.open("cpu"), 4, 6); // both are collected
        return Map.ofEntries(Map.entry(int.class, 0), Map.entry(long.class, 24L), Map.entry(double.class, 1.0),
                Map.entry(Tensor.class, tensor), Map.entry(Buffer.class, tensor.floats()),
                Map.entry(FloatBuffer.class, tensor.floats()), Map.entry(Quantized.class, quantized),
                Map.entry(Gradient.class, Gradient.dense(tensor)), Map.entry(long[].class, new long[] {1}),
                Map.entry(Progress.class, (Progress) (done, total) -> false),
                Map.entry(Hyperparameters.class, new Hyperparameters()),
                Map.entry(StepOptions.class, new StepOptions()), Map.entry(LinearOptions.class, new LinearOptions()),
                Map.entry(Path.class, Path.of("adapter")), Map.entry(Format.class, Format.EXACT),
                Map.entry(OutputStream.class, new ByteArrayOutputStream()), Map.entry(String.class, "add_values"),
                Map.entry(Basis.class, basis), Map.entry(Context.class, scene.context),
                Map.entry(ByteBuffer.class, ByteBuffer.allocate(8)),
                Map.entry(ScoreFunction.class, (ScoreFunction) (n, w, g, s) -> {}));
    }

    @Test
    void every_method_of_a_closed_adapter_says_so() throws Exception {
        Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3));
        try (scene.context) {
            scene.adapter.close();
            scene.adapter.close();
            assertEquals("Adapter(closed)", scene.adapter.toString());
            assertEquals(3, scene.adapter.parameters().size());
            Map<Class<?>, Object> arguments = arguments(scene);
            for (Method method : Adapter.class.getMethods()) {
                if (method.getDeclaringClass() != Adapter.class || Modifier.isStatic(method.getModifiers())) continue;
                if (USABLE.contains(method.getName())) continue;
                Object[] given = new Object[method.getParameterCount()];
                for (int i = 0; i < given.length; ++i) {
                    Class<?> type = method.getParameterTypes()[i];
                    assertTrue(arguments.containsKey(type), "an argument for " + method);
                    given[i] = arguments.get(type);
                }
                assertClosed("adapter", method, scene.adapter, given);
            }
        }
    }

    @Test
    void every_method_of_a_closed_context_says_so() throws Exception {
        Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3));
        scene.context.close();
        scene.context.close();
        assertEquals("Context(closed)", scene.context.toString());
        Map<Class<?>, Object> arguments = arguments(scene);
        for (Class<?> kind : new Class<?>[] {Context.class, Adapter.class}) {
            for (Method method : kind.getMethods()) {
                if (method.getDeclaringClass() != kind || USABLE.contains(method.getName())) continue;
                // Methods of the context, and those of Adapter that load into one.
                if (Modifier.isStatic(method.getModifiers()) != (kind == Adapter.class)) continue;
                if (method.getName().equals("builder")) continue;
                List<Class<?>> types = List.of(method.getParameterTypes());
                if (kind == Adapter.class && !types.contains(Context.class)) continue;
                Object[] given = new Object[method.getParameterCount()];
                for (int i = 0; i < given.length; ++i) given[i] = arguments.get(types.get(i));
                assertClosed("context", method, scene.context, given);
            }
        }
        Adapter.Builder builder = Scene.declare(Adapter.builder(scene.context).budget(1));
        assertThrows(IllegalStateException.class, builder::open);
        assertThrows(IllegalStateException.class, () -> builder.planMemory(0));
        assertThrows(IllegalStateException.class, () -> new Basis(scene.context, 4, 6));
        // Its adapter keeps what it needs.
        scene.adapter.select();
        scene.step();
        assertEquals(1, scene.adapter.state().steps());
        scene.adapter.close();
    }

    private static void assertClosed(String noun, Method method, Object target, Object[] given) {
        Throwable failure = assertThrows(InvocationTargetException.class, () -> method.invoke(target, given),
                method::toString).getCause();
        assertEquals(IllegalStateException.class, failure.getClass(), () -> method + ": " + failure);
        assertEquals("the " + noun + " has been closed", failure.getMessage());
    }

    @Test
    void a_call_ends_before_its_adapter_does() throws Exception {
        Pool pool = new Pool();
        Scene scene = new Scene(Context.builder().allocator(pool).open(), Selection.MAGNITUDE,
                builder -> builder.budget(3));
        float[] before = scene.weights[0].toFloats();
        int[] calls = {0};
        scene.adapter.select((done, total) -> {
            ++calls[0];
            Thread closing = new Thread(() -> {
                scene.adapter.close();
                scene.context.close();
            });
            closing.start();
            try {
                closing.join(); // it does not wait for us
            } catch (InterruptedException failure) {
                throw new AssertionError(failure);
            }
            assertThrows(IllegalStateException.class, scene.adapter::state);
            return false;
        });
        assertTrue(calls[0] > 0);
        assertThrows(IllegalStateException.class, scene.adapter::state);
        assertEquals(0, pool.live());
        assertArrayEquals(before, scene.weights[0].toFloats()); // deltas of 0
    }

    @Test
    void a_callback_may_close_what_it_was_called_for() {
        Pool pool = new Pool();
        Scene scene = new Scene(Context.builder().allocator(pool).open(), Selection.SCORE_FUNCTION,
                builder -> builder.budget(3).score((name, weights, gradient, scores) -> {
                    scores.floats().put(weights.floats());
                    CLOSING.get().close();
                }));
        CLOSING.set(scene);
        scene.adapter.select();
        CLOSING.remove();
        assertThrows(IllegalStateException.class, scene.adapter::state);
        assertEquals(0, pool.live());
    }

    private static final ThreadLocal<Scene> CLOSING = new ThreadLocal<>();

    @Test
    void closing_among_calls_is_safe() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(3);
        try {
            for (int round = 0; round < 200; ++round) {
                Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3)).selected();
                CyclicBarrier start = new CyclicBarrier(3);
                List<Future<?>> ends = new ArrayList<>();
                for (int thread = 0; thread < 2; ++thread) {
                    ends.add(threads.submit(() -> {
                        start.await();
                        for (;;) {
                            try {
                                scene.step();
                                scene.adapter.deltas(0);
                            } catch (BusyException | InvalidStateException another) {
                                continue; // or its step has taken our gradient
                            } catch (IllegalStateException closed) {
                                return null;
                            }
                        }
                    }));
                }
                start.await();
                scene.close();
                for (Future<?> end : ends) end.get();
            }
        } finally {
            threads.shutdown();
        }
    }

    @Test
    void what_was_lent_outlives_the_adapter() {
        Pool pool = new Pool();
        Context context = Context.builder().allocator(pool).open();
        Scene scene = new Scene(context, Selection.MAGNITUDE, builder -> builder.budget(30)).selected();
        scene.step();
        Tensor lent = scene.adapter.lendDeltas(0);
        FloatBuffer deltas = lent.floats();
        float[] expected = scene.adapter.deltas(0);
        scene.adapter.close();
        assertThrows(IllegalStateException.class, lent::floats);
        lent = null;
        System.gc();
        float[] values = new float[expected.length];
        deltas.duplicate().get(values);
        assertArrayEquals(expected, values);
        assertTrue(pool.live() > 0);

        // The weights are free for another adapter, although the first has not gone.
        try (Adapter second = Scene.declare(Adapter.builder(context).selection(Selection.MAGNITUDE).budget(3)).open()) {
            for (int i = 0; i < 3; ++i) second.bindWeights(i, scene.weights[i]);
            second.select();
        }
        context.close();
        deltas = null;
        collectUntil(() -> pool.live() == 0);
    }

    @Test
    void what_is_dropped_is_let_go_of() {
        Pool pool = new Pool();
        for (int i = 0; i < 10; ++i) {
            new Scene(Context.builder().allocator(pool).open(), Selection.MAGNITUDE, builder -> builder.budget(3))
                    .selected();
        }
        collectUntil(() -> pool.live() == 0);
    }

    @Test
    void bound_memory_is_kept_reachable() {
        try (Context context = Context.open("cpu"); Adapter adapter = Adapter.builder(context)
                .selection(Selection.MAGNITUDE).budget(1).sparse("w", DType.FLOAT32, 4).open()) {
            WeakReference<Object> memory = bindNew(adapter);
            for (int i = 0; i < 5; ++i) System.gc();
            assertTrue(memory.get() != null);
            adapter.select();
            adapter.unmerge();
            adapter.unbindWeights(0);
            collectUntil(() -> memory.get() == null);
        }
    }

    private static WeakReference<Object> bindNew(Adapter adapter) {
        FloatBuffer memory = Numbers.tensor(1, 4).floats();
        adapter.bindWeights(0, memory);
        return new WeakReference<>(memory);
    }

    /** Collections until something has happened; a minute of them when it does not. */
    static void collectUntil(BooleanSupplier happened) {
        for (int i = 0; i < 6000 && !happened.getAsBoolean(); ++i) {
            System.gc();
            try {
                Thread.sleep(10);
            } catch (InterruptedException failure) {
                throw new AssertionError(failure);
            }
        }
        assertTrue(happened.getAsBoolean());
    }
}
