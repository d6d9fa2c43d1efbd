package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Training in a basis: the weight stays as it is, and Vᵀ Δ̃ U beside it. */
class SparseGradTest {
    private static final int ROWS = 5;
    private static final int COLUMNS = 7;
    private static final int BUDGET = 8;
    private static final int TOKENS = 6;
    private static final Hyperparameters RATE = new Hyperparameters().lr(0.1);

    /**
     * Three products one after another, in float32 and in any order, whose sums have at most 35 terms; the basis keeps
     * norms, so that all values stay below 8.
     */
    private static final double TOLERANCE = 3 * 35 * Math.ulp(8f);

    private final Context context = Context.builder().backend("cpu").threads(2).open();
    private final Tensor weight = Numbers.tensor(1, ROWS, COLUMNS);
    private final Tensor bias = Numbers.tensor(2, ROWS);
    private final float[] original = weight.toFloats();

    @AfterEach
    void close() {
        context.close();
    }

    private Basis fitted(BasisOptions options) {
        Basis basis = new Basis(context, options);
        for (int step = 0; step < 4; ++step) {
            basis.observe(Gradient.dense(Numbers.tensor(20 + step, options.rows(), options.columns())));
        }
        basis.fit();
        return basis;
    }

    private Basis fitted() {
        return fitted(new BasisOptions(ROWS, COLUMNS));
    }

    private Adapter made(UnaryOperator<Adapter.Builder> options) {
        Adapter adapter = options.apply(Adapter.builder(context).selection(Selection.SPARSEGRAD)
                .sparse("w", DType.FLOAT32, ROWS, COLUMNS).dense("bias", DType.FLOAT32, ROWS)).open();
        bind(adapter);
        return adapter;
    }

    private Adapter made() {
        return made(builder -> builder.budget(BUDGET));
    }

    private void bind(Adapter adapter) {
        adapter.bindWeights(0, weight);
        adapter.bindWeights(1, bias);
    }

    private static Tensor inputs(int step) {
        return Numbers.tensor(40 + step, TOKENS, COLUMNS);
    }

    private static Tensor slopes(int step) {
        return Numbers.tensor(60 + step, TOKENS, ROWS);
    }

    private static void arrive(Adapter adapter, int step) {
        adapter.accumulate(0, Gradient.activations(inputs(step), slopes(step)));
        adapter.accumulate(1, Gradient.dense(Numbers.tensor(80 + step, ROWS)));
    }

    private static void train(Adapter adapter, int from, int to) {
        for (int step = from; step < to; ++step) {
            arrive(adapter, step);
            adapter.reselect();
            adapter.step(RATE);
        }
    }

    private Adapter trained(Basis basis) {
        Adapter adapter = made();
        adapter.bindBasis(0, basis);
        adapter.select();
        train(adapter, 0, 3);
        return adapter;
    }

    /** V dW Uᵀ. */
    private static double[] turned(double[] gradient, Basis basis) {
        float[] u = basis.u();
        float[] v = basis.v();
        int kept = u.length / COLUMNS;
        double[] turned = new double[v.length / ROWS * kept];
        for (int i = 0; i < turned.length; ++i) {
            for (int j = 0; j < gradient.length; ++j) {
                turned[i] += (double) v[i / kept * ROWS + j / COLUMNS] * gradient[j]
                        * u[i % kept * COLUMNS + j % COLUMNS];
            }
        }
        return turned;
    }

    /** Vᵀ Δ̃ U of the first parameter. */
    private static double[] turnedBack(Adapter adapter, float[] u, float[] v) {
        int kept = u.length / COLUMNS;
        long[] mask = adapter.mask(0);
        float[] deltas = adapter.deltas(0);
        double[] change = new double[ROWS * COLUMNS];
        for (int at = 0; at < mask.length; ++at) {
            int row = (int) mask[at] / kept;
            int column = (int) mask[at] % kept;
            for (int j = 0; j < change.length; ++j) {
                change[j] += (double) v[row * ROWS + j / COLUMNS] * deltas[at] * u[column * COLUMNS + j % COLUMNS];
            }
        }
        return change;
    }

    private double[] changed(Adapter adapter, Basis basis) {
        double[] sum = turnedBack(adapter, basis.u(), basis.v());
        for (int j = 0; j < sum.length; ++j) sum[j] += original[j];
        return sum;
    }

    private static float[] forward(Adapter adapter, Tensor x) {
        Tensor y = Tensor.allocate(DType.FLOAT32, x.shape()[0], ROWS);
        adapter.linearForward(0, x, y);
        return y.toFloats();
    }

    @Test
    void a_memory_plan_counts_a_shared_basis_once() {
        try (Context context = Context.open("cpu")) {
            Adapter.Builder builder = Adapter.builder(context).selection(Selection.SPARSEGRAD).density(0.1)
                    .sparse("first", DType.FLOAT32, 64, 32).sparse("second", DType.FLOAT32, 64, 32);
            BasisOptions all = new BasisOptions(64, 32);
            MemoryPlan shared = builder.planMemory(8, List.of(new PlannedBasis(all, 0, 1)));
            MemoryPlan own = builder.planMemory(8, List.of(new PlannedBasis(all, 0), new PlannedBasis(all, 1)));
            // U, V, and V transposed.
            assertEquals(4 * (32 * 32 + 2 * 64 * 64), own.training() - shared.training());
            assertTrue(own.fitting() > shared.fitting());
            assertTrue(shared.merging() > shared.training());
            PlannedBasis few = new PlannedBasis(all.rowDirections(8).columnDirections(4), 0, 1);
            assertTrue(builder.planMemory(8, List.of(few)).training() < shared.training());
            assertRefused(InvalidArgumentException.class, "'first'", () -> builder.planMemory(8));
            assertRefused(InvalidArgumentException.class, "no parameter 2",
                    () -> builder.planMemory(8, List.of(new PlannedBasis(all, 0, 1, 2))));
            assertRefused(InvalidArgumentException.class, "parameter 0 has two",
                    () -> builder.planMemory(8, List.of(new PlannedBasis(all, 0, 1), new PlannedBasis(all, 0))));
        }
    }

    private static void assertRefused(Class<? extends SpeftException> type, String words, Executable call) {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(words), message);
    }

    @Test
    void each_step_trains_the_largest_of_its_gradient_in_the_basis() {
        try (Basis basis = fitted(); Adapter adapter = made()) {
            adapter.bindBasis(0, basis);
            adapter.select();
            assertTrue(adapter.state().selected());
            assertTrue(adapter.state().attached());
            assertFalse(adapter.state().merged());
            TreeSet<Long> mask = new TreeSet<>();
            for (int step = 0; step < 3; ++step) {
                arrive(adapter, step);
                assertTrue(adapter.state().reselectionDue());
                assertRefused(InvalidStateException.class, "speft_reselect", () -> adapter.step(RATE));
                double[] gradient = new double[ROWS * COLUMNS];
                float[] x = inputs(step).toFloats();
                float[] dy = slopes(step).toFloats();
                for (int j = 0; j < gradient.length; ++j) {
                    for (int token = 0; token < TOKENS; ++token) {
                        gradient[j] += (double) dy[token * ROWS + j / COLUMNS] * x[token * COLUMNS + j % COLUMNS];
                    }
                }
                double[] expected = turned(gradient, basis);
                List<Integer> largest = IntStream.range(0, expected.length).boxed()
                        .sorted(Comparator.comparingDouble(i -> -Math.abs(expected[i]))).toList();
                // Rounding decides nothing here.
                assertTrue(Math.abs(expected[largest.get(BUDGET - 1)]) - Math.abs(expected[largest.get(BUDGET)])
                        > 2 * TOLERANCE);
                for (int i : largest.subList(0, BUDGET)) mask.add((long) i);
                adapter.reselect();
                long[] selected = mask.stream().mapToLong(Long::longValue).toArray();
                assertArrayEquals(selected, adapter.mask(0));
                float[] found = adapter.gradient(0);
                for (int at = 0; at < selected.length; ++at) {
                    boolean now = largest.subList(0, BUDGET).contains((int) selected[at]);
                    assertEquals(now ? expected[(int) selected[at]] : 0, found[at], now ? TOLERANCE : 0);
                }
                adapter.step(RATE);
                assertArrayEquals(original, weight.toFloats());
            }
            assertTrue(mask.size() > BUDGET);
        }
    }

    /** Through the basis, and with ΔW made, which for many tokens is less work. */
    @ParameterizedTest
    @ValueSource(ints = {1, 3, 400})
    void linear_layers_apply_it(int tokens) {
        try (Basis basis = fitted(); Adapter adapter = trained(basis)) {
            double[] sum = changed(adapter, basis);
            double[] change = turnedBack(adapter, basis.u(), basis.v());
            double most = 0;
            for (double entry : change) most = Math.max(most, Math.abs(entry));
            assertTrue(most > 0.1); // far above the tolerance
            Tensor x = Numbers.tensor(7, tokens, COLUMNS);
            Tensor dy = Numbers.tensor(8, tokens, ROWS);
            Tensor y = Tensor.allocate(DType.FLOAT32, tokens, ROWS);
            Tensor dx = Tensor.allocate(DType.FLOAT32, tokens, COLUMNS);
            adapter.linearForward(0, x, y);
            LinearTest.assertClose(LinearTest.product(x.toFloats(), sum, ROWS, COLUMNS, true), y, TOLERANCE);
            adapter.linearBackward(0, dy, dx);
            LinearTest.assertClose(LinearTest.product(dy.toFloats(), sum, ROWS, COLUMNS, false), dx, TOLERANCE);

            float[] forward = y.toFloats();
            adapter.linearBackward(0, new LinearOptions().layout(Layout.IN_OUT), x, y);
            assertArrayEquals(forward, y.toFloats());
            adapter.linearForward(0, new LinearOptions().deltaOnly(true), x, y);
            double[] expected = LinearTest.product(x.toFloats(), change, ROWS, COLUMNS, true);
            LinearTest.assertClose(expected, y, TOLERANCE);
            adapter.linearForward(0, new LinearOptions().deltaOnly(true).accumulate(true), x, y);
            for (int i = 0; i < expected.length; ++i) expected[i] *= 2;
            LinearTest.assertClose(expected, y, 2 * TOLERANCE);
        }
    }

    @Test
    void a_merge_writes_it_and_what_follows_restores_the_bits() {
        try (Basis basis = fitted(); Adapter adapter = trained(basis)) {
            float[] head = bias.toFloats();
            float[] applied = forward(adapter, inputs(9));
            adapter.merge();
            assertTrue(adapter.state().merged());
            assertFalse(adapter.state().attached());
            float[] merged = weight.toFloats();
            LinearTest.assertClose(changed(adapter, basis), weight, TOLERANCE);
            assertRefused(InvalidStateException.class, "speft_attach", () -> adapter.linearForward(0, inputs(9),
                    Tensor.allocate(DType.FLOAT32, TOKENS, ROWS)));
            arrive(adapter, 3);
            assertRefused(InvalidStateException.class, "speft_attach", adapter::reselect);
            adapter.clearGradient();

            adapter.attach();
            assertTrue(adapter.state().attached());
            assertFalse(adapter.state().merged());
            assertArrayEquals(original, weight.toFloats());
            assertArrayEquals(head, bias.toFloats());
            assertArrayEquals(applied, forward(adapter, inputs(9)));

            adapter.merge();
            assertArrayEquals(merged, weight.toFloats());
            weight.floats().put(3, 99);
            assertRefused(InvalidStateException.class, "changed behind", adapter::attach);
            assertRefused(InvalidStateException.class, "changed behind", adapter::unmerge);
            weight.floats().put(3, merged[3]);
            adapter.unmerge();
            assertFalse(adapter.state().attached());
            assertFalse(adapter.state().merged());
            assertArrayEquals(original, weight.toFloats());
            assertArrayEquals(Numbers.floats(2, ROWS), bias.toFloats());
            assertArrayEquals(applied, forward(adapter, inputs(9)));
            arrive(adapter, 3);
            assertRefused(InvalidStateException.class, "speft_attach", adapter::reselect);
            adapter.attach();
            adapter.reselect();
            adapter.step(RATE);
        }
    }

    @Test
    void files_bring_the_basis(@TempDir Path folder) {
        Path file = folder.resolve("adapter");
        Path checkpoint = folder.resolve("checkpoint");
        float[] merged;
        float[] applied;
        float[] further;
        try (Basis basis = fitted(); Adapter adapter = trained(basis)) {
            adapter.save(file);
            adapter.saveCheckpoint(checkpoint);
            applied = forward(adapter, inputs(9));
            adapter.merge();
            merged = weight.toFloats();
            adapter.attach();
            train(adapter, 3, 5);
            further = forward(adapter, inputs(9));
            adapter.unmerge();
        }
        try (Adapter loaded = Adapter.load(context, file)) {
            bind(loaded);
            assertRefused(InvalidStateException.class, "speft_attach", () -> forward(loaded, inputs(9)));
            loaded.attach();
            assertArrayEquals(original, weight.toFloats());
            assertArrayEquals(applied, forward(loaded, inputs(9)));
            loaded.merge();
            assertArrayEquals(merged, weight.toFloats());
            loaded.unmerge();
        }
        try (Adapter resumed = Adapter.loadCheckpoint(context, checkpoint)) {
            bind(resumed);
            resumed.attach();
            train(resumed, 3, 5);
            assertArrayEquals(further, forward(resumed, inputs(9)));
            resumed.unmerge();
        }
        try (Adapter loaded = Adapter.load(context, file)) {
            bind(loaded);
            weight.floats().put(0, 99);
            assertRefused(InvalidArgumentException.class, "is this the right model", loaded::attach);
        }
    }

    @Test
    void it_leaves_the_basis_with_the_largest_of_its_delta() {
        try (Basis basis = fitted(); Adapter adapter = made()) {
            adapter.bindBasis(0, basis);
            adapter.select();
            assertEquals(1, adapter.measureOrdinaryShare(0.5)); // of nothing
            train(adapter, 0, 3);
            float[] head = bias.toFloats();
            double[] change = turnedBack(adapter, basis.u(), basis.v());
            double all = 0;
            for (double entry : change) all += entry * entry;
            for (int count : new int[] {change.length, 9}) {
                double density = (double) count / change.length;
                try (OrdinaryAdapter left = adapter.leaveBases(density)) {
                    Adapter ordinary = left.adapter();
                    assertEquals(left.share(), adapter.measureOrdinaryShare(density));
                    assertTrue(ordinary.state().selected());
                    assertFalse(ordinary.state().merged());
                    assertEquals(Selection.MASK, ordinary.state().selection());
                    assertEquals(adapter.parameters(), ordinary.parameters());
                    long[] mask = ordinary.mask(0);
                    assertEquals(count, mask.length);
                    float[] deltas = ordinary.deltas(0);
                    double[] rest = change.clone();
                    double[] expected = LinearTest.widened(original);
                    double kept = 0;
                    double least = Double.POSITIVE_INFINITY;
                    for (int at = 0; at < count; ++at) {
                        double entry = change[(int) mask[at]];
                        assertEquals(entry, deltas[at], TOLERANCE);
                        expected[(int) mask[at]] += entry;
                        rest[(int) mask[at]] = 0;
                        kept += entry * entry;
                        least = Math.min(least, Math.abs(entry));
                    }
                    for (double entry : rest) assertTrue(Math.abs(entry) <= least + 2 * TOLERANCE);
                    assertEquals(kept / all, left.share(), TOLERANCE);

                    assertRefused(InvalidStateException.class, "bound", ordinary::merge);
                    adapter.unmerge();
                    assertArrayEquals(original, weight.toFloats());
                    bind(ordinary);
                    ordinary.merge();
                    LinearTest.assertClose(expected, weight, TOLERANCE);
                    assertArrayEquals(head, bias.toFloats()); // a dense parameter goes along
                    ordinary.unmerge();
                    assertArrayEquals(original, weight.toFloats());
                }
            }
            assertRefused(InvalidArgumentException.class, "density", () -> adapter.leaveBases(0));
            assertRefused(InvalidArgumentException.class, "density", () -> adapter.measureOrdinaryShare(1.5));
            adapter.merge();
            assertRefused(InvalidStateException.class, "merged", () -> adapter.leaveBases(1));
            adapter.unmerge();
            adapter.unbindWeights(0);
            assertRefused(InvalidStateException.class, "bound", () -> adapter.measureOrdinaryShare(1));
        }
    }

    @Test
    void several_parameters_share_one_of_the_leading_directions() {
        Tensor second = Numbers.tensor(3, ROWS, COLUMNS);
        BasisOptions options = new BasisOptions(ROWS, COLUMNS).rowDirections(3).columnDirections(4);
        try (Basis basis = fitted(options); Adapter adapter = Adapter.builder(context).selection(Selection.SPARSEGRAD)
                .density(1).optimizer(Optimizer.SGD).schedule(RateSchedule.NONE)
                .sparse("w", DType.FLOAT32, ROWS, COLUMNS).sparse("other", DType.FLOAT32, ROWS, COLUMNS).open()) {
            adapter.bindWeights(0, weight);
            adapter.bindWeights(1, second);
            for (int i = 0; i < 2; ++i) adapter.bindBasis(i, basis);
            assertRefused(InvalidStateException.class, "no observation", adapter::select);
            Tensor gradient = Numbers.tensor(9, ROWS, COLUMNS);
            for (int i = 0; i < 2; ++i) adapter.observe(i, Gradient.dense(gradient));
            adapter.finishObservation();
            assertRefused(InvalidStateException.class, "observations", () -> adapter.bindBasis(0, null));
            adapter.select();
            assertEquals(2 * 3 * 4, adapter.state().selectedScalars());
            assertEquals(3 * 4, adapter.selectedCount(1));
            adapter.accumulate(0, Gradient.dense(gradient));
            double[] expected = turned(LinearTest.widened(gradient.toFloats()), basis);
            float[] found = adapter.gradient(0);
            for (int i = 0; i < 12; ++i) assertEquals(expected[i], found[i], TOLERANCE);
            adapter.accumulate(1, Gradient.values(Tensor.copyOf(found, 12)));
            adapter.step(new Hyperparameters().lr(0.5));
            for (int i = 0; i < 12; ++i) assertEquals(-0.5f * found[i], adapter.deltas(0)[i]);
            assertArrayEquals(adapter.deltas(0), adapter.deltas(1));
            double[] outputs = LinearTest.product(inputs(0).toFloats(), changed(adapter, basis), ROWS, COLUMNS, true);
            LinearTest.assertClose(outputs, Tensor.copyOf(forward(adapter, inputs(0))), TOLERANCE);
        }
    }

    @Test
    void a_basis_is_refused_by_name() {
        Adapter adapter = made();
        try (Basis basis = fitted(); Basis other = fitted(new BasisOptions(COLUMNS, ROWS));
                Basis unfitted = new Basis(context, ROWS, COLUMNS); Context elsewhere = Context.open("cpu");
                Basis stranger = new Basis(elsewhere, ROWS, COLUMNS);
                Adapter magnitude = made(builder -> builder.budget(BUDGET).selection(Selection.MAGNITUDE))) {
            assertRefused(InvalidArgumentException.class, "[7, 5]", () -> adapter.bindBasis(0, other));
            assertRefused(InvalidArgumentException.class, "dense parameter", () -> adapter.bindBasis(1, basis));
            assertRefused(InvalidArgumentException.class, "parameter", () -> adapter.bindBasis(2, basis));
            assertRefused(InvalidArgumentException.class, "context", () -> adapter.bindBasis(0, stranger));
            assertRefused(InvalidStateException.class, "not fitted", () -> adapter.bindBasis(0, unfitted));
            assertRefused(InvalidStateException.class, "sparsegrad", () -> magnitude.bindBasis(0, basis));
            assertRefused(InvalidStateException.class, "'w' has no basis", adapter::select);
            adapter.bindBasis(0, basis);
            assertRefused(InvalidStateException.class, "an adapter trains in the basis", basis::fit);
            adapter.bindBasis(0, null);
            basis.fit();
            assertRefused(InvalidStateException.class, "'w' has no basis", adapter::select);
            adapter.bindBasis(0, basis);
            adapter.select();
            assertRefused(InvalidStateException.class, "before the selection", () -> adapter.bindBasis(0, null));
            assertRefused(InvalidArgumentException.class, "beside its weights", () -> adapter.measureRoundingLoss(0));
            adapter.close();
            basis.fit();
        }
        assertRefused(InvalidArgumentException.class, "SPEFT_DELTA_FLOAT32",
                () -> made(builder -> builder.budget(1).deltaType(DeltaType.BFLOAT16)));
        assertRefused(UnsupportedException.class, "rows and columns",
                () -> made(builder -> builder.budget(1).schedule(RateSchedule.NONE).optimizer(Optimizer.SM3)));
    }

    @Test
    void the_basis_lives_as_long_as_the_adapter() {
        Pool pool = new Pool();
        Context pooled = Context.builder().backend("cpu").allocator(pool).open();
        Basis basis = new Basis(pooled, ROWS, COLUMNS);
        basis.observe(Gradient.dense(Numbers.tensor(20, ROWS, COLUMNS)));
        basis.fit();
        float[] u = basis.u();
        float[] v = basis.v();
        Adapter adapter = Adapter.builder(pooled).selection(Selection.SPARSEGRAD).budget(BUDGET)
                .sparse("w", DType.FLOAT32, ROWS, COLUMNS).dense("bias", DType.FLOAT32, ROWS).open();
        bind(adapter);
        adapter.bindBasis(0, basis);
        basis.close();
        pooled.close();
        adapter.select();
        train(adapter, 0, 2);
        adapter.merge();
        double[] expected = turnedBack(adapter, u, v);
        for (int j = 0; j < expected.length; ++j) expected[j] += original[j];
        LinearTest.assertClose(expected, weight, TOLERANCE);
        adapter.unmerge();
        assertTrue(pool.live() > 0);
        adapter.close();
        CloseTest.collectUntil(() -> pool.live() == 0); // what was lent, too
    }
}
