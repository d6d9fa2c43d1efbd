package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients in every form, clipping, and what a step does with them. */
class TrainingTest {
    private static Scene given(UnaryOperator<Adapter.Builder> options) {
        Scene scene = new Scene(Selection.MASK, options);
        scene.adapter.setMask(0, 2, 7, 20);
        scene.adapter.setMask(1, 0);
        scene.adapter.select();
        return scene;
    }

    private static Scene given() {
        return given(builder -> builder);
    }

    private static float[] at(Tensor tensor, long... mask) {
        float[] values = new float[mask.length];
        for (int i = 0; i < mask.length; ++i) values[i] = tensor.toFloats()[(int) mask[i]];
        return values;
    }

    @Test
    void every_form_of_a_gradient_gives_the_same_values() {
        try (Scene scene = given()) {
            Tensor gradient = scene.gradients[0];
            float[] expected = at(gradient, 2, 7, 20);
            ByteBuffer bytes = ByteBuffer.allocateDirect(96).order(ByteOrder.nativeOrder());
            bytes.asFloatBuffer().put(gradient.floats());
            for (Gradient form : new Gradient[] {Gradient.dense(gradient), Gradient.dense(gradient.floats()),
                Gradient.dense(bytes), Gradient.dense(gradient.address(), 24), Gradient.values(Tensor.copyOf(expected)),
                Gradient.values(Tensor.copyOf(expected).floats())}) {
                scene.adapter.accumulate(0, form);
                assertArrayEquals(expected, scene.adapter.gradient(0));
                scene.adapter.clearGradient(0);
                assertArrayEquals(new float[3], scene.adapter.gradient(0));
            }
        }
    }

    @Test
    void activations_are_multiplied_at_the_mask() {
        // Small integers, so that sums are exact in any order.
        float[] x = {1, 2, 3, 4, 5, 6, -1, 0, 2, 1, 1, 1};
        float[] dy = {1, -1, 2, 3, 2, 2, 0, 1};
        try (Scene scene = given()) {
            Tensor in = Tensor.copyOf(x, 2, 6);
            Tensor out = Tensor.copyOf(dy, 2, 4);
            scene.adapter.accumulate(0, Gradient.activations(in, out).scale(0.5));
            float[] expected = new float[3];
            long[] mask = {2, 7, 20};
            for (int i = 0; i < 3; ++i) {
                int row = (int) mask[i] / 6;
                int column = (int) mask[i] % 6;
                for (int token = 0; token < 2; ++token) expected[i] += dy[token * 4 + row] * x[token * 6 + column];
                expected[i] *= 0.5f;
            }
            assertArrayEquals(expected, scene.adapter.gradient(0));

            // The other layout: the same layer with its weight turned, whose rows are inputs.
            scene.adapter.clearGradient();
            scene.adapter.accumulate(0, Gradient.activations(Tensor.copyOf(dy, 2, 4), Tensor.copyOf(x, 2, 6))
                    .layout(Layout.IN_OUT).scale(0.5));
            assertArrayEquals(expected, scene.adapter.gradient(0));
        }
    }

    @Test
    void a_window_of_a_buffer_is_taken() {
        try (Scene scene = given()) {
            FloatBuffer all = Tensor.allocate(DType.FLOAT32, 100).floats();
            all.put(30, scene.gradients[0].toFloats());
            scene.adapter.accumulate(0, Gradient.dense(all.position(30).limit(54)));
            assertArrayEquals(at(scene.gradients[0], 2, 7, 20), scene.adapter.gradient(0));
            scene.adapter.clearGradient(0);
            scene.adapter.accumulate(0, Gradient.dense(all.position(20).slice().position(10).limit(34)));
            assertArrayEquals(at(scene.gradients[0], 2, 7, 20), scene.adapter.gradient(0));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
    void weights_are_trained_in_place_in_every_type(DType dtype) {
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).selection(Selection.MASK).sparse("w", dtype, 4, 2).open()) {
            Tensor weights = Tensor.allocate(dtype, 4, 2); // zeros
            if (dtype == DType.FLOAT32) adapter.bindWeights(0, weights.bytes());
            else adapter.bindWeights(0, weights.shorts());
            adapter.setMask(0, 3);
            adapter.select();
            adapter.accumulate(0, Gradient.dense(Tensor.copyOf(new float[] {0, 0, 0, 1, 0, 0, 0, 0}, 4, 2)));
            adapter.step(new Hyperparameters().lr(0.5)); // AdamW's first step is lr, to within ε
            int bits = switch (dtype) {
                case FLOAT32 -> weights.bytes().getInt(12);
                default -> weights.shorts().get(3);
            };
            int half = switch (dtype) {
                case FLOAT32 -> Float.floatToRawIntBits(adapter.deltas(0)[0]);
                case BFLOAT16 -> (short) 0xbf00;
                default -> (short) 0xb800;
            };
            assertEquals(half, bits);
            assertEquals(-0.5f, adapter.deltas(0)[0], 1e-6f); // ε over the root of the second moment
            assertEquals(0, weights.bytes().get(0));
            adapter.unmerge();
            assertEquals(0, dtype == DType.FLOAT32 ? weights.bytes().getInt(12) : weights.shorts().get(3));
        }
    }

    @Test
    void gradients_of_16_bits_need_no_float32() {
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).selection(Selection.MASK).sparse("w", DType.BFLOAT16, 4, 2)
                        .open()) {
            adapter.bindWeights(0, Numbers.bfloat16(1, 4, 2));
            adapter.setMask(0, 0, 7);
            adapter.select();
            Tensor gradient = Numbers.bfloat16(2, 4, 2);
            adapter.accumulate(0, Gradient.dense(gradient.shorts()));
            assertArrayEquals(at(gradient, 0, 7), adapter.gradient(0));
            Tensor values = Tensor.allocate(DType.BFLOAT16, 2);
            values.shorts().put(0, (short) 0x3f80).put(1, (short) 0x4000);
            adapter.clearGradient();
            adapter.accumulate(0, Gradient.values(values.shorts()));
            assertArrayEquals(new float[] {1, 2}, adapter.gradient(0));
        }
    }

    @Test
    void weights_are_bound_by_address() {
        try (Scene scene = new Scene(Selection.MASK, builder -> builder)) {
            Tensor memory = Numbers.tensor(9, 4, 6);
            float[] before = memory.toFloats();
            scene.adapter.bindWeights(0, memory.address(), 24);
            scene.adapter.setMask(0, 11);
            scene.adapter.setMask(1, 1);
            scene.adapter.select();
            scene.step();
            float[] after = memory.toFloats();
            assertTrue(after[11] != before[11]);
            after[11] = before[11];
            assertArrayEquals(before, after);
        }
    }

    @Test
    void lent_gradients_are_written_in_place() {
        try (Scene scene = given()) {
            scene.accumulate();
            Tensor lent = scene.adapter.lendGradient(0);
            assertArrayEquals(new long[] {3}, lent.shape());
            lent.floats().put(0, 42f);
            assertEquals(42f, scene.adapter.gradient(0)[0]);
            Tensor deltas = scene.adapter.lendDeltas(0);
            assertTrue(deltas.isReadOnly() && deltas.floats().isReadOnly());
            scene.adapter.step();
            assertArrayEquals(deltas.toFloats(), scene.adapter.deltas(0));
        }
    }

    @Test
    void clipping_is_over_all_parameters() {
        try (Scene scene = given()) {
            scene.adapter.accumulate(0, Gradient.values(Tensor.copyOf(new float[] {3, 0, 0})));
            scene.adapter.accumulate(1, Gradient.values(Tensor.copyOf(new float[] {4})));
            assertEquals(5, scene.adapter.clipGradient(Double.POSITIVE_INFINITY));
            assertArrayEquals(new float[] {3, 0, 0}, scene.adapter.gradient(0));
            assertEquals(5, scene.adapter.clipGradient(1));
            assertEquals(1, scene.adapter.clipGradient(Double.POSITIVE_INFINITY), 1e-6); // PyTorch's own 1e-6
        }
    }

    @Test
    void step_options_do_what_they_say() {
        try (Scene scene = given(builder -> builder.optimizer(Optimizer.SGD))) {
            scene.accumulate();
            float[] gradient = scene.adapter.gradient(0);
            Hyperparameters rate = new Hyperparameters().lr(0.5);
            scene.adapter.step(new StepOptions().groups(rate).keepGradient(true).gradientScale(2));
            float[] moved = new float[3];
            for (int i = 0; i < 3; ++i) moved[i] = -gradient[i]; // 0.5·2: exact
            assertArrayEquals(moved, scene.adapter.deltas(0));
            assertArrayEquals(gradient, scene.adapter.gradient(0));
            scene.adapter.clearGradient();
        }
        try (Scene scene = given()) {
            scene.adapter.accumulate(0, Gradient.dense(scene.gradients[0]));
            InvalidStateException failure = assertThrows(InvalidStateException.class, scene.adapter::step);
            assertTrue(failure.getMessage().contains(Scene.NAMES[1]), failure.getMessage());
            scene.adapter.step(new StepOptions().allowMissing(true));
            assertArrayEquals(new float[1], scene.adapter.deltas(1));
        }
    }

    @Test
    void groups_have_hyperparameters_of_their_own() {
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).selection(Selection.MASK).optimizer(Optimizer.SGD)
                        .parameter(Parameter.sparse("a", DType.FLOAT32, 2))
                        .parameter(Parameter.sparse("b", DType.FLOAT32, 2).group(1)).open()) {
            assertEquals(1, adapter.parameters().get(1).group());
            for (int i = 0; i < 2; ++i) {
                adapter.bindWeights(i, Tensor.allocate(DType.FLOAT32, 2));
                adapter.setMask(i, 0);
            }
            adapter.select();
            for (int i = 0; i < 2; ++i) adapter.accumulate(i, Gradient.values(Tensor.copyOf(new float[] {1})));
            adapter.step(new StepOptions().groups(new Hyperparameters().lr(0.5), new Hyperparameters().lr(0.25)));
            assertArrayEquals(new float[] {-0.5f}, adapter.deltas(0));
            assertArrayEquals(new float[] {-0.25f}, adapter.deltas(1));
        }
    }

    static Stream<Optimizer> optimizers() {
        return Stream.of(Optimizer.values());
    }

    @ParameterizedTest
    @MethodSource("optimizers")
    void every_optimizer_goes_down_the_slope(Optimizer optimizer) {
        Hyperparameters hyperparameters = new Hyperparameters().lr(0.125).betas(0.5, 0.75).eps(1e-6).weightDecay(0.5)
                .decay(Decay.AFTER).momentum(optimizer == Optimizer.SGD ? 0.5 : 0);
        try (Scene scene = given(builder -> builder.optimizer(optimizer))) {
            for (int step = 0; step < 2; ++step) {
                scene.accumulate();
                scene.adapter.step(hyperparameters);
            }
            float[] slopes = at(scene.gradients[0], 2, 7, 20);
            float[] deltas = scene.adapter.deltas(0);
            for (int i = 0; i < 3; ++i) assertTrue(deltas[i] * slopes[i] < 0, optimizer + ": " + deltas[i]);
        }
    }

    @ParameterizedTest
    @EnumSource
    void decay_pulls_to_where_it_says(Decay decay) {
        try (Scene scene = given(builder -> builder.optimizer(Optimizer.SGD))) {
            float weight = scene.weights[0].toFloats()[2];
            float slope = scene.gradients[0].toFloats()[2];
            scene.accumulate();
            scene.adapter.step(new Hyperparameters().lr(0.5).weightDecay(0.25).decay(decay));
            float expected = switch (decay) {
                case ORIGINAL -> -(0.5f * slope); // the delta was 0
                case ZERO -> -(0.5f * (slope + 0.25f * weight));
                case AFTER -> -(0.5f * slope) - 0.125f * -(0.5f * slope);
            };
            assertEquals(expected, scene.adapter.deltas(0)[0]);
        }
    }

    @ParameterizedTest
    @EnumSource
    void moments_are_kept_as_asked(StateType state) {
        try (Scene scene = given(builder -> builder.state(state).age(Age.PER_WEIGHT))) {
            scene.step();
            scene.step();
            assertArrayEquals(new long[] {2, 2, 2}, scene.adapter.ages(0));
        }
    }

    @Test
    void bfloat16_deltas_are_lent_as_such() {
        try (Scene scene = given(builder -> builder.deltaType(DeltaType.BFLOAT16))) {
            scene.step();
            Tensor deltas = scene.adapter.lendDeltas(0);
            assertEquals(DType.BFLOAT16, deltas.dtype());
            assertEquals(Float.intBitsToFloat(deltas.shorts().get(0) << 16), scene.adapter.deltas(0)[0]);
            assertEquals(DType.FLOAT32, scene.adapter.lendDeltas(2).dtype());
        }
    }

    @Test
    void rounding_loss_is_measured() {
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).selection(Selection.MASK).optimizer(Optimizer.SGD)
                        .sparse("w", DType.BFLOAT16, 2).open()) {
            Tensor weights = Tensor.allocate(DType.BFLOAT16, 2);
            weights.shorts().put(0, (short) 0x3f80); // 1, whose next neighbours are 2^-8 below and 2^-7 above
            adapter.bindWeights(0, weights);
            adapter.setMask(0, 0);
            adapter.select();
            adapter.accumulate(0, Gradient.values(Tensor.copyOf(new float[] {-0x1p-10f})));
            adapter.step(new Hyperparameters().lr(1));
            assertEquals(1, adapter.measureRoundingLoss(0)); // all of 2^-10 is lost
            assertEquals(1, adapter.measureRoundingLoss());
        }
    }

    @Test
    void memory_is_planned_before_anything_is_made() {
        try (Context context = Context.open("cpu")) {
            MemoryPlan plan = Scene.declare(Adapter.builder(context).budget(7)).planMemory(0);
            assertTrue(plan.observation() > plan.announcedObservation());
            assertTrue(plan.training() > 0 && plan.selection() > 0);
            assertEquals(0, plan.reselection());
            MemoryPlan moving = Scene.declare(Adapter.builder(context).selection(Selection.SCORE_FUNCTION)
                    .score((n, w, g, s) -> {}).budget(7).reselectEvery(2)).planMemory(16);
            assertTrue(moving.reselection() > 0);
            assertTrue(plan.products() > 0);
            assertEquals(0, plan.fitting() + plan.merging());
        }
    }

    @Test
    void parameters_are_read_back() {
        try (Scene scene = given()) {
            assertEquals(Parameter.sparse(Scene.NAMES[1], DType.FLOAT32, 3, 5), scene.adapter.parameters().get(1));
            assertEquals(Parameter.dense(Scene.NAMES[2], DType.FLOAT32, 5), scene.adapter.parameters().get(2));
            assertEquals(1, scene.adapter.position(Scene.NAMES[1]));
            assertEquals(scene.context, scene.adapter.context());
            assertTrue(scene.adapter.toString().contains("4 of 39"), scene.adapter.toString());
        }
        // Four bytes of UTF-8, where the JVM's own variety has six.
        try (Context context = Context.open("cpu");
                Adapter adapter = Adapter.builder(context).budget(1).sparse("θ🙂", DType.FLOAT32, 2).open()) {
            assertEquals("θ🙂", adapter.parameters().get(0).name());
        }
    }
}
