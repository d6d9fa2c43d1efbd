package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** A basis of gradients: found again where it is known, and what it says of itself. */
class BasisTest {
    private static final int ROWS = 6;
    private static final int COLUMNS = 9;

    /** How large the gradients are along each direction. */
    private static final double[] SIZES = {8, 5, 3, 2, 1, 0.5};

    private final double[][] left = reflection(1, ROWS);
    private final double[][] right = reflection(2, COLUMNS);
    private final List<Tensor> gradients = gradients();
    private final Context context = Context.builder().backend("cpu").threads(2).open();

    @AfterEach
    void close() {
        context.close();
    }

    /** The rows of a Householder reflection, of the sign that a basis has: orthogonal, and nothing like the axes. */
    private static double[][] reflection(long seed, int size) {
        float[] axis = Numbers.floats(seed, size);
        axis[0] += 2;
        double squares = 0;
        for (float entry : axis) squares += (double) entry * entry;
        double[][] rows = new double[size][size];
        for (int r = 0; r < size; ++r) {
            double largest = 0;
            for (int c = 0; c < size; ++c) {
                rows[r][c] = (r == c ? 1 : 0) - 2 * (double) axis[r] * axis[c] / squares;
                if (Math.abs(rows[r][c]) > Math.abs(largest)) largest = rows[r][c];
            }
            for (int c = 0; c < size; ++c) rows[r][c] *= Math.signum(largest);
        }
        return rows;
    }

    /**
     * Gradients that are diagonal in the basis of these directions, of entries ±SIZES: their singular vectors, and
     * those of their stack, are these, by construction.
     */
    private List<Tensor> gradients() {
        SplittableRandom random = new SplittableRandom(3);
        List<Tensor> found = new ArrayList<>();
        for (int step = 0; step < 8; ++step) {
            double[] values = new double[ROWS * COLUMNS];
            for (int q = 0; q < ROWS; ++q) {
                double size = random.nextBoolean() ? SIZES[q] : -SIZES[q];
                for (int i = 0; i < values.length; ++i) {
                    values[i] += left[q][i / COLUMNS] * size * right[q][i % COLUMNS];
                }
            }
            Tensor gradient = Tensor.allocate(DType.FLOAT32, ROWS, COLUMNS);
            for (int i = 0; i < values.length; ++i) gradient.floats().put(i, (float) values[i]);
            found.add(gradient);
        }
        return found;
    }

    private Basis observed(BasisOptions options, int from, int to) {
        Basis basis = new Basis(context, options);
        for (Tensor gradient : gradients.subList(from, to)) basis.observe(Gradient.dense(gradient));
        return basis;
    }

    private Basis fitted() {
        Basis basis = observed(new BasisOptions(ROWS, COLUMNS), 0, 8);
        basis.fit();
        return basis;
    }

    @Test
    void is_the_one_that_the_gradients_were_made_of() {
        try (Basis basis = fitted()) {
            assertArrayEquals(new long[] {COLUMNS, COLUMNS}, basis.lendU().shape());
            assertArrayEquals(new long[] {ROWS, ROWS}, basis.lendV().shape());
            float[] u = basis.u();
            float[] v = basis.v();
            // Sums of squares, up to 8 · 64, are in float32: they are some 1e-4 off, and vectors that over the distance
            // of two eigenvalues, which is 8 · 0.75 at least.
            for (int q = 0; q < ROWS; ++q) {
                for (int r = 0; r < ROWS; ++r) assertEquals(left[q][r], v[q * ROWS + r], 1e-4);
                for (int c = 0; c < COLUMNS; ++c) assertEquals(right[q][c], u[q * COLUMNS + c], 1e-4);
            }
            // What the gradients do not span completes it; an entry is rounded once, so a product of 9 is off by 9
            // roundings.
            for (int one = 0; one < COLUMNS; ++one) {
                for (int other = 0; other < COLUMNS; ++other) {
                    double product = 0;
                    for (int c = 0; c < COLUMNS; ++c) product += (double) u[one * COLUMNS + c] * u[other * COLUMNS + c];
                    assertEquals(one == other ? 1 : 0, product, 9 * Math.ulp(1f));
                }
            }
            assertEquals(new BasisState(true, 8, 6, 6, 1, 1), basis.state());
        }
    }

    @Test
    void keeps_the_leading_directions() {
        try (Basis basis = observed(new BasisOptions(ROWS, COLUMNS).rowDirections(2).columnDirections(3), 0, 8)) {
            basis.fit();
            assertArrayEquals(new long[] {3, COLUMNS}, basis.lendU().shape());
            assertArrayEquals(new long[] {2, ROWS}, basis.lendV().shape());
            double[] squares = new double[ROWS + 1]; // of the first 0, 1, …
            for (int q = 0; q < ROWS; ++q) squares[q + 1] = squares[q] + SIZES[q] * SIZES[q];
            BasisState state = basis.state();
            assertEquals(6, state.rowDirections()); // of the gradients, not of what is kept
            assertEquals(6, state.columnDirections());
            // Sums of 8 gradients' squares, in float32.
            assertEquals(squares[2] / squares[6], state.rowShare(), 1e-6);
            assertEquals(squares[3] / squares[6], state.columnShare(), 1e-6);
        }
    }

    /** Small integers: all sums are exact, so that the bits are the same. */
    @Test
    void activations_are_as_good_as_their_product() {
        int tokens = 5;
        float[] x = integers(4, tokens * COLUMNS);
        float[] dy = integers(5, tokens * ROWS);
        float[] product = new float[ROWS * COLUMNS];
        for (int i = 0; i < product.length; ++i) {
            for (int t = 0; t < tokens; ++t) {
                product[i] += dy[t * ROWS + i / COLUMNS] * x[t * COLUMNS + i % COLUMNS] / 2;
            }
        }
        Tensor wide = Tensor.copyOf(x, tokens, COLUMNS);
        Tensor narrow = Tensor.copyOf(dy, tokens, ROWS);
        List<float[]> found = new ArrayList<>();
        for (Gradient gradient : List.of(Gradient.dense(Tensor.copyOf(product, ROWS, COLUMNS).floats()),
                Gradient.activations(wide, narrow).scale(0.5),
                Gradient.activations(narrow, wide).layout(Layout.IN_OUT).scale(0.5))) {
            try (Basis basis = new Basis(context, ROWS, COLUMNS)) {
                basis.observe(gradient);
                basis.fit();
                found.add(basis.u());
                found.add(basis.v());
            }
        }
        for (int i = 2; i < 6; ++i) assertArrayEquals(found.get(i % 2), found.get(i));
    }

    private static float[] integers(long seed, int count) {
        float[] values = Numbers.floats(seed, count);
        for (int i = 0; i < count; ++i) values[i] = Math.round(8 * values[i]);
        return values;
    }

    @Test
    void observes_further_and_is_fitted_again() {
        try (Basis basis = observed(new BasisOptions(ROWS, COLUMNS), 0, 3); Basis expected = fitted()) {
            basis.fit();
            Tensor lent = basis.lendU();
            FloatBuffer buffer = lent.floats();
            for (Tensor gradient : gradients.subList(3, 8)) basis.observe(Gradient.dense(gradient));
            assertEquals(new BasisState(false, 8, 0, 0, 0, 0), basis.state());
            assertRefused(InvalidStateException.class, "again", basis::u);
            assertRefused(InvalidStateException.class, "again", basis::lendV);
            basis.fit();
            assertArrayEquals(expected.u(), basis.u());
            assertArrayEquals(expected.v(), basis.v());
            assertRefused(IllegalStateException.class, "the U was lent until the basis was fitted again", lent::floats);
            float[] written = new float[COLUMNS * COLUMNS];
            buffer.get(written);
            assertArrayEquals(expected.u(), written); // the same memory
        }
    }

    @Test
    void a_fit_reports_is_cancelled_and_throws() {
        try (Basis basis = fitted()) {
            float[] before = basis.u();
            Tensor lent = basis.lendV();
            assertRefused(CancelledException.class, "basis", () -> basis.fit((done, total) -> done == 1));
            ArithmeticException mine = new ArithmeticException("mine");
            assertSame(mine, assertThrows(ArithmeticException.class, () -> basis.fit((done, total) -> {
                throw mine;
            })));
            assertArrayEquals(before, basis.u()); // those of the last fit
            assertArrayEquals(basis.v(), lent.toFloats());
            basis.observe(Gradient.dense(gradients.get(0)));
            assertRefused(CancelledException.class, "basis", () -> basis.fit((done, total) -> true));
            assertFalse(basis.state().fitted());
            List<Long> seen = new ArrayList<>();
            basis.fit((done, total) -> {
                assertEquals(2, total);
                seen.add(done);
                return false;
            });
            assertEquals(List.of(0L, 1L, 2L), seen);
        }
    }

    @Test
    void refuses_options_by_name() {
        refuseOptions("rows and columns must be 1 or more; got 0 and 4", new BasisOptions(0, 4));
        refuseOptions("got 4 and -1", new BasisOptions(4, -1));
        refuseOptions("row_directions must be between 0 and 6; got 7", new BasisOptions(6, 9).rowDirections(7));
        refuseOptions("column_directions", new BasisOptions(6, 9).columnDirections(-1));
        assertRefused(UnsupportedException.class, "2^30", () -> new Basis(context, 4, 1L << 40));
        assertRefused(InvalidArgumentException.class, "context must not be null", () -> new Basis(null, 4, 6));
        assertRefused(InvalidArgumentException.class, "options must not be null", () -> new Basis(context, null));
    }

    private void refuseOptions(String words, BasisOptions options) {
        assertRefused(InvalidArgumentException.class, words, () -> new Basis(context, options));
    }

    @Test
    void refuses_gradients_by_name_and_adds_nothing() {
        try (Basis basis = new Basis(context, ROWS, COLUMNS)) {
            assertRefused(InvalidStateException.class, "no gradient", basis::fit);
            assertRefused(InvalidStateException.class, "speft_fit_basis", basis::u);
            basis.observe(Gradient.dense(Tensor.allocate(DType.FLOAT32, ROWS, COLUMNS)));
            assertRefused(InvalidArgumentException.class, "all of them are 0", basis::fit);
            basis.observe(Gradient.dense(gradients.get(0)));
            basis.fit();
            float[] before = basis.u();

            float[] values = gradients.get(1).toFloats();
            FloatBuffer heap = FloatBuffer.wrap(values);
            FloatBuffer swapped = ByteBuffer.allocateDirect(4 * values.length)
                    .order(ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? ByteOrder.BIG_ENDIAN
                            : ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
            for (Map.Entry<String, Gradient> refused : List.of(
                    Map.entry("infinity", broken(Float.POSITIVE_INFINITY)), Map.entry("NaN", broken(Float.NaN)),
                    Map.entry("[6, 9]", Gradient.dense(Tensor.copyOf(values, COLUMNS, ROWS))),
                    Map.entry("int64", Gradient.dense(Tensor.allocate(DType.INT64, ROWS, COLUMNS))),
                    Map.entry("contiguous", Gradient.dense(gradients.get(1).strides(1, ROWS))),
                    Map.entry("values at a mask", Gradient.values(Tensor.copyOf(values, values.length))),
                    Map.entry("values at a mask", Gradient.values(gradients.get(1).floats())),
                    Map.entry("dy", Gradient.inputs(Numbers.tensor(6, 2, COLUMNS))),
                    Map.entry("dy", Gradient.activations(Numbers.tensor(6, 2, COLUMNS), Numbers.tensor(7, 3, ROWS))),
                    Map.entry("dense", Gradient.dense(heap)), Map.entry("dense", Gradient.dense(swapped)),
                    Map.entry("dense", Gradient.dense(1, 7)))) {
                assertRefused(InvalidArgumentException.class, refused.getKey(),
                        () -> basis.observe(refused.getValue()));
            }
            assertRefused(InvalidArgumentException.class, "gradient must not be null", () -> basis.observe(null));
            assertEquals(2, basis.state().observations());
            assertArrayEquals(before, basis.u()); // still fitted
        }
    }

    private Gradient broken(float value) {
        Tensor copy = Tensor.copyOf(gradients.get(1).toFloats(), ROWS, COLUMNS);
        copy.floats().put(7, value);
        return Gradient.dense(copy);
    }

    @Test
    void calls_that_meet_a_fit_are_busy() {
        try (Basis first = fitted(); Basis second = new Basis(context, ROWS, COLUMNS);
                Context elsewhere = Context.open("cpu"); Basis stranger = new Basis(elsewhere, ROWS, COLUMNS)) {
            int[] met = {0};
            Gradient gradient = Gradient.dense(gradients.get(0));
            // The progress holds the fit open until the other thread has come back.
            first.fit((done, total) -> {
                Thread thread = new Thread(() -> {
                    for (Executable call : new Executable[] {first::state, first::u, first::lendV, first::fit,
                        () -> second.observe(gradient), () -> new Basis(context, 4, 6)}) {
                        assertThrows(BusyException.class, call);
                        ++met[0];
                    }
                    stranger.observe(gradient);
                });
                thread.start();
                try {
                    thread.join();
                } catch (InterruptedException failure) {
                    throw new AssertionError(failure);
                }
                assertThrows(BusyException.class, first::v); // and from this thread as well
                return false;
            });
            assertEquals(3 * 6, met[0]);
            assertTrue(first.state().fitted());
            assertEquals(0, second.state().observations());
            assertEquals(3, stranger.state().observations());
        }
    }

    @Test
    void every_method_of_a_closed_basis_says_so() throws Exception {
        Basis basis = fitted();
        Tensor lent = basis.lendU();
        basis.close();
        basis.close();
        Map<Class<?>, Object> arguments = Map.of(Gradient.class, Gradient.dense(gradients.get(0)), Progress.class,
                (Progress) (done, total) -> false);
        for (Method method : Basis.class.getMethods()) {
            if (method.getDeclaringClass() != Basis.class || method.getName().equals("close")) continue;
            Object[] given = new Object[method.getParameterCount()];
            for (int i = 0; i < given.length; ++i) given[i] = arguments.get(method.getParameterTypes()[i]);
            Throwable failure = assertThrows(InvocationTargetException.class, () -> method.invoke(basis, given),
                    method::toString).getCause();
            assertEquals(IllegalStateException.class, failure.getClass(), () -> method + ": " + failure);
            assertEquals("the basis has been closed", failure.getMessage());
        }
        assertRefused(IllegalStateException.class, "closed", lent::toFloats);
    }

    @Test
    void its_progress_may_close_it() {
        Pool pool = new Pool();
        try (Context pooled = Context.builder().backend("cpu").allocator(pool).open()) {
            Basis basis = new Basis(pooled, ROWS, COLUMNS);
            basis.observe(Gradient.dense(gradients.get(0)));
            basis.fit((done, total) -> {
                basis.close();
                return false;
            });
            assertThrows(IllegalStateException.class, basis::state);
        }
        assertEquals(0, pool.live());
    }

    @Test
    void takes_memory_of_the_hosts_and_gives_it_back() {
        Pool pool = new Pool();
        Context pooled = Context.builder().backend("cpu").allocator(pool).open();
        Basis basis = new Basis(pooled, ROWS, COLUMNS);
        pooled.close(); // the basis keeps the allocator
        Gradient gradient = Gradient.dense(gradients.get(0));
        pool.refuse(null);
        assertRefused(OutOfMemoryException.class, "allocate", () -> basis.observe(gradient));
        AssertionError mine = new AssertionError("mine");
        pool.refuse(mine);
        assertSame(mine, assertThrows(AssertionError.class, () -> basis.observe(gradient)));
        pool.accept();
        assertEquals(0, basis.state().observations());
        basis.observe(gradient);
        basis.fit();
        assertTrue(pool.live() > 0);

        FloatBuffer lent = basis.lendU().floats();
        float[] expected = basis.u();
        basis.close();
        float[] values = new float[expected.length];
        lent.duplicate().get(values);
        assertArrayEquals(expected, values);
        assertTrue(pool.live() > 0);
        lent = null;
        CloseTest.collectUntil(() -> pool.live() == 0);
    }

    @Test
    void what_is_dropped_is_let_go_of() {
        Pool pool = new Pool();
        for (int i = 0; i < 10; ++i) {
            Basis basis = new Basis(Context.builder().backend("cpu").allocator(pool).open(), ROWS, COLUMNS);
            basis.observe(Gradient.dense(gradients.get(0)));
        }
        CloseTest.collectUntil(() -> pool.live() == 0);
    }

    private static void assertRefused(Class<? extends Throwable> type, String words, Executable call) {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(words), message);
    }
}
