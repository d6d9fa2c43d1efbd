package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Bad input gives a clear error that names it, and changes nothing. */
class RefusalsTest {
    private static final ByteOrder WRONG =
            ByteOrder.nativeOrder() == ByteOrder.BIG_ENDIAN ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN;

    private Scene scene;
    private Adapter adapter;

    @BeforeEach
    void open() {
        scene = new Scene(Selection.SNIP, builder -> builder.budget(7));
        adapter = scene.adapter;
    }

    @AfterEach
    void close() {
        scene.close();
    }

    private static SpeftException refused(String part, Executable call) {
        SpeftException failure = assertThrows(InvalidArgumentException.class, call);
        assertTrue(failure.getMessage().contains(part), failure.getMessage());
        assertEquals(1, failure.status());
        return failure;
    }

    private static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    static Stream<Arguments> buffers() {
        return Stream.of(Arguments.of("a heap FloatBuffer", FloatBuffer.allocate(24)),
                Arguments.of("a heap ByteBuffer", ByteBuffer.allocate(96).order(ByteOrder.nativeOrder())),
                Arguments.of("byte order", direct(96).order(WRONG).asFloatBuffer()),
                Arguments.of("byte order", direct(96).order(WRONG)),
                Arguments.of("24 elements", direct(92).asFloatBuffer()),
                Arguments.of("24 elements", direct(100).asFloatBuffer()),
                Arguments.of("96 bytes", direct(95)),
                Arguments.of("FLOAT32, got ShortBuffer", direct(96).asShortBuffer()),
                Arguments.of("FLOAT32, got LongBuffer", direct(192).asLongBuffer()),
                Arguments.of("FLOAT32, got IntBuffer", direct(96).asIntBuffer()),
                Arguments.of("must not be null", null));
    }

    @ParameterizedTest
    @MethodSource("buffers")
    void weights_that_cannot_be_used_in_place(String part, Buffer buffer) {
        String message = refused(part, () -> adapter.bindWeights(0, buffer)).getMessage();
        assertTrue(message.startsWith("the weights of 'query.weight' must"), message);
        scene.selected(); // what was bound before still is
    }

    @ParameterizedTest
    @MethodSource("buffers")
    void gradients_that_cannot_be_read(String part, Buffer buffer) {
        // A buffer of 16-bit numbers can be a gradient of any 16-bit parameter, not of this one.
        String message = refused(part, () -> adapter.observe(0, Gradient.dense(buffer))).getMessage();
        assertTrue(message.startsWith("dense must"), message);
        scene.selected();
        message = refused(part.replaceAll("24 elements|96 bytes", "must have"),
                () -> adapter.accumulate(0, Gradient.values(buffer))).getMessage();
        assertTrue(message.startsWith("values must"), message);
        assertEquals(0, adapter.state().steps());
    }

    @Test
    void read_only_memory_is_refused_where_it_is_written() {
        FloatBuffer readOnly = direct(96).asFloatBuffer().asReadOnlyBuffer();
        refused("'query.weight' must be writable, got a read-only", () -> adapter.bindWeights(0, readOnly));
        refused("must be writable", () -> adapter.bindWeights(0, Tensor.of(readOnly, 4, 6)));
        refused("y must be writable", () -> adapter.linearForward(0, new LinearOptions(), scene.weights[0],
                Tensor.of(readOnly, 4, 6)));
        refused("dx must be writable", () -> adapter.linearBackward(0, new LinearOptions(), scene.weights[0],
                Tensor.of(readOnly, 4, 6)));
        refused("into must be writable", () -> scene.context.dequantize(
                new Quantized(Quantized.Kind.NF4, scene.weights[0], scene.weights[0], 64), Tensor.of(readOnly)));
        adapter.observe(0, Gradient.dense(readOnly)); // read, not written
    }

    @Test
    void transposed_memory_is_refused() {
        Tensor transposed = Numbers.tensor(1, 4, 6).strides(1, 4);
        refused("contiguous", () -> adapter.bindWeights(0, transposed));
        refused("contiguous", () -> adapter.observe(0, Gradient.dense(transposed)));
        adapter.bindWeights(0, Numbers.tensor(1, 4, 6).strides(6, 1)); // as row-major ones are
        refused("strides must have 2 axes", () -> Numbers.tensor(1, 4, 6).strides(6));
    }

    @Test
    void shapes_and_types_are_the_parameters() {
        refused("shape", () -> adapter.bindWeights(0, Numbers.tensor(1, 6, 4)));
        refused("bfloat16", () -> adapter.bindWeights(0, Tensor.allocate(DType.BFLOAT16, 4, 6)));
        refused("shape", () -> adapter.observe(0, Gradient.dense(Numbers.tensor(1, 3, 5))));
        refused("x", () -> adapter.observe(0, Gradient.activations(Numbers.tensor(1, 2, 5), Numbers.tensor(1, 2, 4))));
        refused("dy", () -> adapter.observe(0, Gradient.activations(Numbers.tensor(1, 2, 6), Numbers.tensor(1, 3, 4))));
        refused("dy", () -> adapter.observe(0, Gradient.inputs(Numbers.tensor(1, 2, 6)))); // only Wanda does without
        refused("must have 24 scalars, got 23", () -> adapter.bindWeights(0, 4096, 23));
        refused("must not be 0", () -> adapter.bindWeights(0, 0, 24));
        refused("must have the 24 scalars of 'query.weight', got 25",
                () -> adapter.observe(0, Gradient.dense(4096, 25)));
        refused("must not be 0", () -> Tensor.ofAddress(DType.FLOAT32, 0, 5));
        refused("indices", () -> {
            try (Scene given = new Scene(Selection.MASK, builder -> builder)) {
                given.adapter.setMask(0, Tensor.allocate(DType.FLOAT32, 3));
            }
        });
        refused("strictly increase", () -> {
            try (Scene given = new Scene(Selection.MASK, builder -> builder)) {
                given.adapter.setMask(0, 3, 2);
            }
        });
        refused("scores", () -> {
            try (Scene given = new Scene(Selection.SCORES, builder -> builder.budget(1))) {
                given.adapter.setScores(0, Numbers.tensor(1, 6, 4));
            }
        });
    }

    @Test
    void tensors_are_of_what_they_say() {
        refused("buffer must be a buffer of BFLOAT16, got FloatBuffer",
                () -> Tensor.of(DType.BFLOAT16, direct(8).asFloatBuffer()));
        refused("buffer must have 3 elements", () -> Tensor.of(direct(8).asFloatBuffer(), 3));
        refused("negative", () -> Tensor.of(direct(8).asFloatBuffer(), -1, -2));
        refused("too many scalars", () -> Tensor.ofAddress(DType.FLOAT32, 8, 1L << 40, 1L << 40).count());
        refused("less than 2 GiB", () -> Tensor.allocate(DType.FLOAT32, 1 << 20, 1 << 10));
        refused("a buffer ends at 2 GiB", () -> Tensor.ofAddress(DType.FLOAT32, 8, 1 << 20, 1 << 10).bytes());
        refused("values must have 4 elements", () -> Tensor.copyOf(new float[3], 2, 2));
        refused("it is FLOAT32", () -> Numbers.tensor(1, 2).longs());
        refused("it is FLOAT32", () -> Numbers.tensor(1, 2).shorts());
        refused("it is INT64", () -> Tensor.copyOf(1L).floats());
        refused("over FloatBuffer", () -> Tensor.of(direct(8).asFloatBuffer()).bytes());
    }

    @Test
    void tensors_show_the_memory_they_are_over() {
        ShortBuffer shorts = direct(8).asShortBuffer().put(1, (short) 7);
        assertEquals(7, Tensor.of(DType.FLOAT16, shorts.position(1)).shorts().get(0));
        LongBuffer longs = direct(16).asLongBuffer().put(1, 7);
        assertEquals(7, Tensor.of(longs).longs().get(1));
        assertEquals(7, Tensor.of(longs).toLongs()[1]);
        FloatBuffer floats = direct(16).asFloatBuffer().put(2, 7);
        Tensor tensor = Tensor.of(floats, 2, 2);
        assertEquals(7, tensor.floats().get(2));
        assertEquals(7, Tensor.ofAddress(DType.FLOAT32, tensor.address(), 2, 2).floats().get(2));
        assertEquals("Tensor(FLOAT32, [2, 2])", tensor.toString());
        assertArrayEquals(new float[] {1, -2}, Tensor.of(DType.BFLOAT16,
                direct(4).asShortBuffer().put(0, (short) 0x3f80).put(1, (short) 0xc000)).toFloats());
    }

    @Test
    void names_and_positions_are_known() {
        String message = refused("got 'other'", () -> adapter.position("other")).getMessage();
        assertTrue(message.contains("query.weight, value.weight, bias"), message);
        for (int position : new int[] {-1, 3}) {
            for (Executable call : new Executable[] {() -> adapter.bindWeights(position, scene.weights[0]),
                () -> adapter.bindWeights(position, scene.weights[0].floats()), () -> adapter.unbindWeights(position),
                () -> adapter.observe(position, Gradient.dense(scene.gradients[0])),
                () -> adapter.accumulate(position, Gradient.dense(scene.gradients[0])),
                () -> adapter.clearGradient(position), () -> adapter.measureRoundingLoss(position),
                () -> adapter.setScores(position, scene.weights[0].floats())}) {
                refused("parameter must be in [0, 3), got " + position, call);
            }
            refused("parameter", () -> adapter.selectedCount(position));
            refused("parameter", () -> adapter.lendGradient(position));
        }
        refused("name", () -> Adapter.builder(scene.context).budget(1).sparse("a\0b", DType.FLOAT32, 1).open());
        refused("'w'", () -> Adapter.builder(scene.context).budget(1).sparse("w", DType.FLOAT32, 1)
                .sparse("w", DType.FLOAT32, 1).open());
        refused("parameters must not be empty", () -> Adapter.builder(scene.context).budget(1).open());
        refused("dtype", () -> Adapter.builder(scene.context).budget(1).sparse("w", DType.INT64, 1).open());
    }

    @Test
    void options_are_checked() {
        Adapter.Builder builder = Adapter.builder(scene.context);
        refused("density must be in (0, 1], got 0", () -> builder.density(0));
        refused("budget must be at least 1, got 0", () -> builder.budget(0));
        refused("rank must be", () -> builder.rank(0));
        refused("modelScalars must be", () -> builder.modelScalars(0));
        refused("approximationRank must be", () -> builder.approximationRank(0));
        refused("threshold must be above 0, got 0", () -> builder.threshold(0));
        refused("totalSteps must be", () -> builder.totalSteps(0));
        refused("reselectEvery must be", () -> builder.reselectEvery(0));
        refused("window must be", () -> builder.window(0));
        refused("rate must be", () -> builder.rate(0));
        refused("candidates must be", () -> builder.candidates(0));
        refused("settledLimit must be", () -> builder.settledLimit(0));
        refused("communicator must have at least 1", () -> builder.communicator(0, 0));
        refused("selection must not be null", () -> builder.selection(null));
        refused("density", () -> Scene.declare(Adapter.builder(scene.context).density(1.5)).open());
        refused("density", () -> Scene.declare(Adapter.builder(scene.context).density(0.5).budget(3)).open());
        refused("density", () -> Scene.declare(Adapter.builder(scene.context)).open());
        refused("score", () -> Scene.declare(Adapter.builder(scene.context).selection(Selection.SCORE_FUNCTION)
                .budget(1)).open());
        refused("scale must not be 0", () -> Gradient.dense(scene.gradients[0]).scale(0));
        refused("gradientScale must not be 0", () -> new StepOptions().gradientScale(0));
        refused("decay must not be null", () -> new Hyperparameters().decay(null));
        refused("threads", () -> Context.builder().threads(-1).open());
        refused("threads must be at least 1", () -> Context.builder().parallelFor(Runnable::run, 0));
        refused("block must have 2 axes",
                () -> Parameter.sparse("w", DType.FLOAT32, 2, 2).block(new long[] {1}, new long[] {1}));
        scene.selected();
        refused("learning", () -> {
            scene.accumulate();
            adapter.step(new Hyperparameters().lr(Double.NaN));
        });
        refused("max_norm", () -> adapter.clipGradient(-1));
    }

    @Test
    void the_order_of_calls_is_kept() {
        assertThrows(InvalidStateException.class, adapter::step);
        assertThrows(InvalidStateException.class, () -> adapter.mask(0));
        assertThrows(InvalidStateException.class, () -> adapter.deltas(0));
        assertThrows(InvalidStateException.class, () -> adapter.toBytes(Format.EXACT));
        assertThrows(InvalidStateException.class, adapter::select);
        InvalidStateException failure = assertThrows(InvalidStateException.class, () -> {
            adapter.observe(0, Gradient.dense(scene.gradients[0]));
            adapter.finishObservation();
        });
        assertTrue(failure.getMessage().contains("value.weight"), failure.getMessage());
        adapter.clearObservations();
        adapter.unbindWeights(1);
        scene.observe();
        failure = assertThrows(InvalidStateException.class, adapter::select);
        assertTrue(failure.getMessage().contains("value.weight"), failure.getMessage());
        adapter.bindWeights(1, scene.weights[1]);
        adapter.select();
        assertThrows(InvalidStateException.class, adapter::select);
        scene.weights[0].floats().put((int) adapter.mask(0)[0], 99f);
        failure = assertThrows(InvalidStateException.class, adapter::unmerge);
        assertTrue(failure.getMessage().contains("changed behind"), failure.getMessage());
    }

    @Test
    void a_buffer_of_integers_is_no_tensor() {
        IntBuffer integers = direct(8).asIntBuffer();
        for (DType dtype : DType.values()) {
            refused("got IntBuffer", () -> Tensor.of(dtype, integers));
        }
    }
}
