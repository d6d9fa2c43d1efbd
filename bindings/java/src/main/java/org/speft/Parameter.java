package org.speft;

import java.util.Arrays;
import java.util.Objects;
import org.speft.internal.CapiConstants;
import org.speft.internal.Memory;
import org.speft.internal.speft_parameter;

/**
 * One parameter of the model, as an adapter knows it. Immutable:
 * {@code Parameter.sparse("encoder.0.query.weight", DType.FLOAT32, 384, 384)}.
 */
public final class Parameter {
    private final String name;
    private final DType dtype;
    private final long[] shape;
    private final Role role;
    private final int group;
    private final int part;
    private final long[] offset;
    private final long[] extent;

    private Parameter(String name, DType dtype, long[] shape, Role role, int group, int part, long[] offset,
            long[] extent) {
        Tensor.requireNonNull("name", name);
        Tensor.requireNonNull("dtype", dtype);
        Tensor.requireNonNull("shape", shape);
        Tensor.requireNonNull("role", role);
        this.name = name;
        this.dtype = dtype;
        this.shape = shape.clone();
        this.role = role;
        this.group = group;
        this.part = part;
        this.offset = offset;
        this.extent = extent;
    }

    /**
     * A parameter of which a mask is trained.
     *
     * @param name unique within the adapter, not empty
     * @param dtype float32, bfloat16 or float16
     * @param shape of the whole parameter
     * @return the parameter
     */
    public static Parameter sparse(String name, DType dtype, long... shape) {
        return new Parameter(name, dtype, shape, Role.SPARSE, 0, CapiConstants.SPEFT_PART_WHOLE, null, null);
    }

    /**
     * A parameter of which all is trained, as a new head is.
     *
     * @param name unique within the adapter, not empty
     * @param dtype float32, bfloat16 or float16
     * @param shape of the whole parameter
     * @return the parameter
     */
    public static Parameter dense(String name, DType dtype, long... shape) {
        return new Parameter(name, dtype, shape, Role.DENSE, 0, CapiConstants.SPEFT_PART_WHOLE, null, null);
    }

    /**
     * The same in another group of hyperparameters.
     *
     * @param number which of those of a step apply to it, from 0
     * @return a new parameter
     */
    public Parameter group(int number) {
        return new Parameter(name, dtype, shape, role, number, part, offset, extent);
    }

    /**
     * The same, of which this process holds a range of the flattened scalars. {@link UnsupportedException} in this
     * version, when an adapter is made.
     *
     * @param first the first scalar
     * @param count how many
     * @return a new parameter
     */
    public Parameter range(long first, long count) {
        return new Parameter(name, dtype, shape, role, group, CapiConstants.SPEFT_PART_RANGE, new long[] {first},
                new long[] {count});
    }

    /**
     * The same, of which this process holds a block. {@link UnsupportedException} in this version, when an adapter is
     * made.
     *
     * @param first the first index of each axis
     * @param count how many of each axis
     * @return a new parameter
     */
    public Parameter block(long[] first, long[] count) {
        if (first.length != shape.length || count.length != shape.length) {
            throw new InvalidArgumentException("block must have " + shape.length + " axes, got "
                    + Arrays.toString(first) + " and " + Arrays.toString(count));
        }
        return new Parameter(name, dtype, shape, role, group, CapiConstants.SPEFT_PART_BLOCK, first.clone(),
                count.clone());
    }

    /**
     * Its name.
     *
     * @return unique within the adapter
     */
    public String name() {
        return name;
    }

    /**
     * The type of its elements.
     *
     * @return float32, bfloat16 or float16
     */
    public DType dtype() {
        return dtype;
    }

    /**
     * The size of each axis.
     *
     * @return a copy
     */
    public long[] shape() {
        return shape.clone();
    }

    /**
     * How many scalars it has.
     *
     * @return the product of the shape
     */
    public long count() {
        return Tensor.count(shape);
    }

    /**
     * What is trained of it.
     *
     * @return a mask, or all
     */
    public Role role() {
        return role;
    }

    /**
     * Which hyperparameters of a step apply to it.
     *
     * @return from 0
     */
    public int group() {
        return group;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Parameter that && name.equals(that.name) && dtype == that.dtype
                && Arrays.equals(shape, that.shape) && role == that.role && group == that.group && part == that.part
                && Arrays.equals(offset, that.offset) && Arrays.equals(extent, that.extent);
    }

    @Override
    public int hashCode() {
        return Objects.hash(name, dtype, Arrays.hashCode(shape), role, group);
    }

    @Override
    public String toString() {
        return "Parameter(" + name + ", " + dtype + ", " + Arrays.toString(shape) + ", " + role + ")";
    }

    long[] shapeInside() {
        return shape;
    }

    speft_parameter toNative(Arena arena) {
        speft_parameter struct = arena.own(new speft_parameter());
        struct.setName(arena.string("name", name));
        struct.setRole(role.code);
        struct.setShape(arena.longs(shape));
        struct.setNdim(shape.length);
        struct.getDtype().setCode((short) dtype.code);
        struct.getDtype().setBits((short) dtype.bits);
        struct.getDtype().setLanes(1);
        struct.setGroup(group);
        struct.setPart(part);
        struct.setOffset(arena.longs(offset));
        struct.setExtent(arena.longs(extent));
        return struct;
    }

    static Parameter of(speft_parameter struct) {
        return new Parameter(Memory.string(struct.getName()),
                DType.of(struct.getDtype().getCode(), struct.getDtype().getBits()),
                Memory.longs(struct.getShape(), struct.getNdim()), Role.of(struct.getRole()), struct.getGroup(),
                struct.getPart(), null, null);
    }
}
