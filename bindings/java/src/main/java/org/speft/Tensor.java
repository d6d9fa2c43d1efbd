package org.speft;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.util.Arrays;
import org.speft.internal.Capi;
import org.speft.internal.Memory;
import org.speft.internal.speft_dtype;
import org.speft.internal.speft_tensor;

/**
 * A view on memory, of the host's or of the library's; nothing is copied.
 *
 * <p>Buffers are direct, in the machine's byte order, and count from their position to their limit; a heap buffer, a
 * buffer in another order, or one that has not as many elements as the shape is refused. A tensor of the host's keeps
 * its buffer reachable. Memory at an address is the host's to keep.
 *
 * <p>One that the library has lent says in its method until when. Its buffers keep the memory from being freed when the
 * adapter is closed, but not when the masks move: do not keep a buffer beyond that.
 */
public final class Tensor {
    private final DType dtype;
    private final long[] shape;
    private final long[] strides;
    private final Buffer buffer;
    private final long address;
    private final boolean readOnly;
    private final String noun;
    private final Loan loan;

    private Tensor(DType dtype, long[] shape, long[] strides, Buffer buffer, long address, boolean readOnly,
            String noun, Loan loan) {
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides;
        this.buffer = buffer;
        this.address = address;
        this.readOnly = readOnly;
        this.noun = noun;
        this.loan = loan;
    }

    /**
     * float32 numbers.
     *
     * @param buffer direct, in native order
     * @param shape row-major; none for [remaining]
     * @return a view on the buffer's memory
     * @throws InvalidArgumentException heap memory, another byte order, or another number of elements
     */
    public static Tensor of(FloatBuffer buffer, long... shape) {
        return of(DType.FLOAT32, (Buffer) buffer, shape);
    }

    /**
     * int64 numbers.
     *
     * @param buffer direct, in native order
     * @param shape row-major; none for [remaining]
     * @return a view on the buffer's memory
     * @throws InvalidArgumentException heap memory, another byte order, or another number of elements
     */
    public static Tensor of(LongBuffer buffer, long... shape) {
        return of(DType.INT64, (Buffer) buffer, shape);
    }

    /**
     * Numbers of any type.
     *
     * @param dtype the type of the elements
     * @param buffer direct, in native order: a {@link ByteBuffer}, or the buffer that {@link DType} names
     * @param shape row-major; none for [remaining elements]
     * @return a view on the buffer's memory
     * @throws InvalidArgumentException heap memory, another byte order, another number of elements, or a buffer of
     *     another type
     */
    public static Tensor of(DType dtype, Buffer buffer, long... shape) {
        return of("buffer", dtype, buffer, shape);
    }

    /**
     * Memory at an address, which the host keeps as long as it is used: for arrays above 2 GiB, or of other native
     * libraries.
     *
     * @param dtype the type of the elements
     * @param address of the first element
     * @param shape row-major; {@code count} alone is a vector
     * @return a view on the memory
     * @throws InvalidArgumentException the address is 0
     */
    public static Tensor ofAddress(DType dtype, long address, long... shape) {
        return ofAddress("address", dtype, address, shape);
    }

    /**
     * New memory, zeroed, which lives as long as something refers to it.
     *
     * @param dtype the type of the elements
     * @param shape row-major
     * @return a tensor of its own
     * @throws InvalidArgumentException more than 2 GiB
     */
    public static Tensor allocate(DType dtype, long... shape) {
        long bytes = dtype.bytes() * count(shape);
        if (bytes > Integer.MAX_VALUE) {
            throw new InvalidArgumentException("shape must be of less than 2 GiB, got " + Arrays.toString(shape));
        }
        ByteBuffer memory = ByteBuffer.allocateDirect((int) bytes).order(ByteOrder.nativeOrder());
        return new Tensor(dtype, shape.clone(), null, memory, 0, false, "tensor", null);
    }

    /**
     * A copy of float32 numbers.
     *
     * @param values what it holds
     * @param shape row-major; none for [length]
     * @return a tensor of its own
     * @throws InvalidArgumentException another number of elements
     */
    public static Tensor copyOf(float[] values, long... shape) {
        Tensor tensor = allocate(DType.FLOAT32, shape.length == 0 ? new long[] {values.length} : shape);
        if (tensor.count() != values.length) throw wrongCount("values", values.length, shape);
        tensor.floats().put(values);
        return tensor;
    }

    /**
     * A copy of int64 numbers.
     *
     * @param values what it holds: indices
     * @return a tensor of its own, [length]
     */
    public static Tensor copyOf(long... values) {
        Tensor tensor = allocate(DType.INT64, values.length);
        tensor.longs().put(values);
        return tensor;
    }

    /**
     * The same memory with strides.
     *
     * @param elements one for each axis, counted in elements
     * @return a view that libspeft refuses by name unless it is row-major contiguous
     */
    public Tensor strides(long... elements) {
        if (elements.length != shape.length) {
            throw new InvalidArgumentException("strides must have " + shape.length + " axes, got "
                    + Arrays.toString(elements));
        }
        return new Tensor(dtype, shape, elements.clone(), buffer, address, readOnly, noun, loan);
    }

    /**
     * The type of the elements.
     *
     * @return their type
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
     * The number of elements.
     *
     * @return the product of the shape
     */
    public long count() {
        return count(shape);
    }

    /**
     * Whether it can only be read.
     *
     * @return true for a read-only buffer, and for what the library lends to be read
     */
    public boolean isReadOnly() {
        return readOnly;
    }

    /**
     * Where its first element is.
     *
     * @return the address
     * @throws IllegalStateException lent, and no longer valid
     */
    public long address() {
        checkLoan();
        return buffer == null ? address : addressOf(buffer);
    }

    /**
     * Its memory.
     *
     * @return a direct buffer in native order, read-only where the tensor is
     * @throws IllegalStateException lent, and no longer valid
     * @throws InvalidArgumentException more than 2 GiB: use {@link #address()}
     */
    public ByteBuffer bytes() {
        checkLoan();
        ByteBuffer bytes;
        if (buffer instanceof ByteBuffer whole) {
            bytes = whole.slice().order(ByteOrder.nativeOrder());
        } else if (buffer != null) {
            throw new InvalidArgumentException("bytes() needs a tensor over a ByteBuffer, this one is over "
                    + nameOf(buffer) + ": ask for its elements");
        } else {
            long size = dtype.bytes() * count();
            if (size > Integer.MAX_VALUE) {
                throw new InvalidArgumentException("a buffer ends at 2 GiB, and this tensor has " + size
                        + " bytes: use address()");
            }
            bytes = Memory.view(address, size);
        }
        return readOnly ? bytes.asReadOnlyBuffer().order(ByteOrder.nativeOrder()) : bytes;
    }

    /**
     * Its memory as float32 numbers.
     *
     * @return a direct buffer, read-only where the tensor is
     * @throws InvalidArgumentException the elements are of another type
     * @throws IllegalStateException lent, and no longer valid
     */
    public FloatBuffer floats() {
        require(DType.FLOAT32);
        if (buffer instanceof FloatBuffer floats) return floats.slice();
        return bytes().asFloatBuffer();
    }

    /**
     * Its memory as the bits of 16-bit numbers.
     *
     * @return a direct buffer, read-only where the tensor is
     * @throws InvalidArgumentException the elements have not 16 bits
     * @throws IllegalStateException lent, and no longer valid
     */
    public ShortBuffer shorts() {
        require(DType.BFLOAT16, DType.FLOAT16);
        if (buffer instanceof ShortBuffer shorts) return shorts.slice();
        return bytes().asShortBuffer();
    }

    /**
     * Its memory as int64 numbers.
     *
     * @return a direct buffer, read-only where the tensor is
     * @throws InvalidArgumentException the elements are of another type
     * @throws IllegalStateException lent, and no longer valid
     */
    public LongBuffer longs() {
        require(DType.INT64);
        if (buffer instanceof LongBuffer longs) return longs.slice();
        return bytes().asLongBuffer();
    }

    /**
     * A copy of its numbers; bfloat16 ones are widened, which is exact.
     *
     * @return [count]
     * @throws InvalidArgumentException neither float32 nor bfloat16
     * @throws IllegalStateException lent, and no longer valid
     */
    public float[] toFloats() {
        require(DType.FLOAT32, DType.BFLOAT16);
        float[] values = new float[Math.toIntExact(count())];
        if (dtype == DType.FLOAT32) {
            floats().get(values);
        } else {
            ShortBuffer bits = shorts();
            for (int i = 0; i < values.length; ++i) values[i] = Float.intBitsToFloat(bits.get(i) << 16);
        }
        return values;
    }

    /**
     * A copy of its numbers.
     *
     * @return [count]
     * @throws InvalidArgumentException not int64
     */
    public long[] toLongs() {
        long[] values = new long[Math.toIntExact(count())];
        longs().get(values);
        return values;
    }

    @Override
    public String toString() {
        return "Tensor(" + dtype + ", " + Arrays.toString(shape) + (readOnly ? ", read-only)" : ")");
    }

    // ---- inside ----

    static Tensor of(String noun, DType dtype, Buffer buffer, long... shape) {
        requireNonNull(noun, buffer);
        requireType(noun, dtype, buffer);
        requireDirect(noun, buffer);
        if (orderOf(buffer) != ByteOrder.nativeOrder()) {
            throw new InvalidArgumentException(noun + " must be in the machine's byte order, " + ByteOrder.nativeOrder()
                    + ", got " + orderOf(buffer) + ": create it with order(ByteOrder.nativeOrder())");
        }
        long bytes = (long) buffer.remaining() * elementSize(buffer);
        long[] whole = shape.length == 0 ? new long[] {bytes / dtype.bytes()} : shape.clone();
        if (bytes != dtype.bytes() * count(whole)) {
            if (buffer instanceof ByteBuffer) {
                throw new InvalidArgumentException(noun + " must have " + dtype.bytes() * count(whole) + " bytes for "
                        + dtype + " of shape " + Arrays.toString(whole) + ", got " + bytes);
            }
            throw wrongCount(noun, buffer.remaining(), whole);
        }
        return new Tensor(dtype, whole, null, buffer, 0, buffer.isReadOnly(), noun, null);
    }

    static Tensor ofAddress(String noun, DType dtype, long address, long... shape) {
        if (address == 0) throw new InvalidArgumentException(noun + " must not be 0");
        return new Tensor(dtype, shape.clone(), null, null, address, false, noun, null);
    }

    /** What a C tensor tells, as long as `loan` lasts. */
    static Tensor lent(long view, String noun, boolean readOnly, Loan loan) {
        return lent(new speft_tensor(view, false), noun, readOnly, loan, null);
    }

    /** The same for an adapter's memory, which then stays as long as a buffer on it does. */
    static Tensor lent(speft_tensor view, String noun, boolean readOnly, Loan loan, Handle owner) {
        speft_dtype type = view.getDtype();
        DType dtype = DType.of(type.getCode(), type.getBits());
        long[] shape = Memory.longs(view.getShape(), view.getNdim());
        long address = view.getData() + view.getByte_offset();
        long bytes = dtype.bytes() * count(shape);
        if (owner == null || bytes > Integer.MAX_VALUE) {
            return new Tensor(dtype, shape, null, null, address, readOnly, noun, loan);
        }
        ByteBuffer memory = Memory.view(address, bytes);
        owner.lend(memory);
        return new Tensor(dtype, shape, null, memory, 0, readOnly, noun, loan);
    }

    boolean hasStrides() {
        return strides != null;
    }

    long[] stridesOrNull() {
        return strides;
    }

    long[] shapeInside() {
        return shape;
    }

    static void requireNonNull(String noun, Object given) {
        if (given == null) throw new InvalidArgumentException(noun + " must not be null");
    }

    static long count(long[] shape) {
        long count = 1;
        for (long size : shape) {
            if (size < 0) {
                throw new InvalidArgumentException("shape must not be negative, got " + Arrays.toString(shape));
            }
            try {
                count = Math.multiplyExact(count, size);
            } catch (ArithmeticException tooMany) {
                throw new InvalidArgumentException("shape has too many scalars: " + Arrays.toString(shape));
            }
        }
        return count;
    }

    private void checkLoan() {
        if (loan != null) loan.check(noun);
    }

    private void require(DType... expected) {
        if (!Arrays.asList(expected).contains(dtype)) {
            throw new InvalidArgumentException("the tensor must be " + Arrays.toString(expected) + ", it is " + dtype);
        }
    }

    private static InvalidArgumentException wrongCount(String noun, long elements, long[] shape) {
        return new InvalidArgumentException(noun + " must have " + count(shape) + " elements for shape "
                + Arrays.toString(shape) + ", got " + elements);
    }

    private static void requireType(String noun, DType dtype, Buffer buffer) {
        boolean fits = buffer instanceof ByteBuffer || switch (dtype) {
            case FLOAT32 -> buffer instanceof FloatBuffer;
            case BFLOAT16, FLOAT16 -> buffer instanceof ShortBuffer;
            case INT64 -> buffer instanceof LongBuffer;
            case INT8, UINT8 -> false;
        };
        if (!fits) {
            throw new InvalidArgumentException(noun + " must be a buffer of " + dtype + ", got " + nameOf(buffer));
        }
    }

    private static void requireDirect(String noun, Buffer buffer) {
        if (!buffer.isDirect()) {
            throw new InvalidArgumentException(noun + " must be a direct buffer, got a heap " + nameOf(buffer)
                    + ": allocate it with ByteBuffer.allocateDirect");
        }
    }

    private static long addressOf(Buffer buffer) {
        NativeLibrary.load();
        return Capi.address_of(buffer) + (long) buffer.position() * elementSize(buffer);
    }

    private static ByteOrder orderOf(Buffer buffer) {
        if (buffer instanceof FloatBuffer floats) return floats.order();
        if (buffer instanceof ShortBuffer shorts) return shorts.order();
        if (buffer instanceof LongBuffer longs) return longs.order();
        return ((ByteBuffer) buffer).order();
    }

    private static int elementSize(Buffer buffer) {
        if (buffer instanceof FloatBuffer) return Float.BYTES;
        if (buffer instanceof ShortBuffer) return Short.BYTES;
        return buffer instanceof LongBuffer ? Long.BYTES : Byte.BYTES;
    }

    private static String nameOf(Buffer buffer) {
        for (Class<?> kind = buffer.getClass(); kind != null; kind = kind.getSuperclass()) {
            if (java.lang.reflect.Modifier.isPublic(kind.getModifiers())) return kind.getSimpleName();
        }
        throw new AssertionError(buffer.getClass());
    }
}
