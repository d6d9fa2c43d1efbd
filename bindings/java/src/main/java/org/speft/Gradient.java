package org.speft;

import java.nio.Buffer;
import java.nio.LongBuffer;
import org.speft.internal.CapiConstants;
import org.speft.internal.speft_gradient;

/**
 * One contribution to a parameter's gradient, in whichever form the host has it. Immutable; the memory is free for
 * reuse when the call that takes it returns. Elements are float32, bfloat16 or float16, whatever the parameter's are.
 */
public final class Gradient {
    private final int kind;
    private final Source dense;
    private final Source x;
    private final Source dy;
    private final Source values;
    private final Layout layout;
    private final double scale;
    private final Tensor exampleOffsets;

    /** Memory that becomes a tensor where the parameter, and so its shape, is known. */
    private interface Source {
        Tensor view(Parameter parameter, long selected);
    }

    private Gradient(int kind, Source dense, Source x, Source dy, Source values, Layout layout, double scale,
            Tensor exampleOffsets) {
        this.kind = kind;
        this.dense = dense;
        this.x = x;
        this.dy = dy;
        this.values = values;
        this.layout = layout;
        this.scale = scale;
        this.exampleOffsets = exampleOffsets;
    }

    /**
     * dL/dW.
     *
     * @param gradient of the parameter's shape
     * @return a gradient
     */
    public static Gradient dense(Tensor gradient) {
        return dense(given("dense", gradient));
    }

    /**
     * dL/dW, of the parameter's shape.
     *
     * @param gradient direct, in native order: float32 in a {@link java.nio.FloatBuffer}; the parameter's 16-bit type
     *     in a {@link java.nio.ShortBuffer}; the parameter's type in a {@link java.nio.ByteBuffer}
     * @return a gradient
     */
    public static Gradient dense(Buffer gradient) {
        Tensor.requireNonNull("dense", gradient);
        return dense((parameter, selected) -> Tensor.of("dense", typeIn(gradient, parameter), gradient,
                parameter.shapeInside()));
    }

    /**
     * dL/dW, of the parameter's shape and type, at an address.
     *
     * @param address of the first scalar
     * @param count how many scalars there are: all of the parameter
     * @return a gradient
     */
    public static Gradient dense(long address, long count) {
        return dense((parameter, selected) -> at("dense", parameter, address, count));
    }

    /**
     * Input and output gradient of a linear layer: dL/dW is their product over the tokens. No dense dL/dW is formed
     * after the selection.
     *
     * @param x [tokens, in]
     * @param dy [tokens, out]
     * @return a gradient
     */
    public static Gradient activations(Tensor x, Tensor dy) {
        return new Gradient(CapiConstants.SPEFT_GRADIENT_ACTIVATIONS, null, given("x", x), given("dy", dy), null,
                Layout.OUT_IN, 1, null);
    }

    /**
     * The inputs of a linear layer, all that {@link Selection#WANDA} observes.
     *
     * @param x [tokens, in]
     * @return a gradient
     */
    public static Gradient inputs(Tensor x) {
        return new Gradient(CapiConstants.SPEFT_GRADIENT_ACTIVATIONS, null, given("x", x), null, null, Layout.OUT_IN, 1,
                null);
    }

    /**
     * dL/dW at the mask.
     *
     * @param values [k], in the mask's order
     * @return a gradient
     */
    public static Gradient values(Tensor values) {
        return values(given("values", values));
    }

    /**
     * dL/dW at the mask, [k] in the mask's order.
     *
     * @param values direct, in native order, as for {@link #dense(Buffer)}
     * @return a gradient
     */
    public static Gradient values(Buffer values) {
        Tensor.requireNonNull("values", values);
        return values((parameter, selected) -> Tensor.of("values", typeIn(values, parameter), values, selected));
    }

    /**
     * The same, multiplied when it is added: by 1/tokens, or by the inverse of a loss scale.
     *
     * @param factor not 0
     * @return a new gradient
     */
    public Gradient scale(double factor) {
        if (factor == 0) throw new InvalidArgumentException("scale must not be 0");
        return new Gradient(kind, dense, x, dy, values, layout, factor, exampleOffsets);
    }

    /**
     * The same for a linear layer whose weight lies in another way.
     *
     * @param order of the weight's axes; [out, in] unless it is given
     * @return a new gradient
     */
    public Gradient layout(Layout order) {
        Tensor.requireNonNull("layout", order);
        return new Gradient(kind, dense, x, dy, values, order, scale, exampleOffsets);
    }

    /**
     * The same with its examples, for {@link Selection#FISHER}: each then counts by the square of its own gradient.
     * Under a loss that is a mean over examples, the scale is their number.
     *
     * @param offsets [examples + 1]: the first token of each example, and the number of tokens at the end
     * @return a new gradient
     */
    public Gradient exampleOffsets(long... offsets) {
        return exampleOffsets(Tensor.copyOf(offsets));
    }

    /**
     * The same with its examples, in memory of the host's.
     *
     * @param offsets as above; direct, in native order
     * @return a new gradient
     */
    public Gradient exampleOffsets(LongBuffer offsets) {
        return exampleOffsets(Tensor.of("exampleOffsets", DType.INT64, offsets));
    }

    private Gradient exampleOffsets(Tensor offsets) {
        return new Gradient(kind, dense, x, dy, values, layout, scale, offsets);
    }

    private static Gradient dense(Source dense) {
        return new Gradient(CapiConstants.SPEFT_GRADIENT_DENSE, dense, null, null, null, Layout.OUT_IN, 1, null);
    }

    private static Gradient values(Source values) {
        return new Gradient(CapiConstants.SPEFT_GRADIENT_VALUES, null, null, null, values, Layout.OUT_IN, 1, null);
    }

    private static Source given(String noun, Tensor tensor) {
        Tensor.requireNonNull(noun, tensor);
        return (parameter, selected) -> tensor;
    }

    /** The parameter's own type, or float32 where the buffer is of floats. */
    private static DType typeIn(Buffer buffer, Parameter parameter) {
        return buffer instanceof java.nio.FloatBuffer ? DType.FLOAT32 : parameter.dtype();
    }

    private static Tensor at(String noun, Parameter parameter, long address, long count) {
        if (count != parameter.count()) {
            throw new InvalidArgumentException(noun + " must have the " + parameter.count() + " scalars of '"
                    + parameter.name() + "', got " + count);
        }
        return Tensor.ofAddress(noun, parameter.dtype(), address, parameter.shapeInside());
    }

    boolean needsSelectedCount() {
        return values != null;
    }

    /** @param selected the length of the parameter's mask, where that is needed */
    speft_gradient toNative(Arena arena, Parameter parameter, long selected) {
        speft_gradient struct = arena.own(new speft_gradient());
        struct.setKind(kind);
        struct.setScale(scale);
        struct.setLayout(layout.code);
        if (dense != null) struct.setDense(arena.view(dense.view(parameter, selected)));
        if (x != null) struct.setX(arena.view(x.view(parameter, selected)));
        if (dy != null) struct.setDy(arena.view(dy.view(parameter, selected)));
        if (values != null) struct.setValues(arena.view(values.view(parameter, selected)));
        if (exampleOffsets != null) struct.setExample_offsets(arena.view(exampleOffsets));
        return struct;
    }
}
