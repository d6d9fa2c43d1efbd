package org.speft;

import java.io.OutputStream;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongSupplier;
import java.util.function.LongUnaryOperator;
import org.speft.internal.Capi;
import org.speft.internal.Memory;
import org.speft.internal.speft_progress;
import org.speft.internal.speft_score_function;
import org.speft.internal.speft_tensor;
import org.speft.internal.speft_writer;

/** What the arguments of one call need in native memory, freed when it is closed, and what must stay until then. */
final class Arena implements AutoCloseable {
    private final List<Runnable> frees = new ArrayList<>();
    private final List<Object> borrowed = new ArrayList<>();
    private final List<Kept> callbacks = new ArrayList<>();

    Arena() {
        NativeLibrary.load();
    }

    @Override
    public void close() {
        Reference.reachabilityFence(borrowed);
        for (Runnable free : frees) free.run();
    }

    /** Calls a function; what a callback has thrown in it comes out instead of the failure that follows from it. */
    long call(Owner owner, LongUnaryOperator function) {
        try {
            return call(() -> owner.handle().call(function), owner.handle().callbacks());
        } finally {
            Reference.reachabilityFence(owner);
        }
    }

    /** The same where there is no handle yet. */
    long call(LongSupplier function, List<Kept> others) {
        try {
            return function.getAsLong();
        } finally {
            for (Kept callback : callbacks) callback.rethrow();
            for (Kept callback : others) callback.rethrow();
        }
    }

    <T extends AutoCloseable> T own(T struct) {
        frees.add(() -> {
            try {
                struct.close();
            } catch (Exception impossible) {
                throw new AssertionError(impossible);
            }
        });
        return struct;
    }

    long memory(long bytes) {
        long address = Capi.allocate_zeroed(bytes);
        frees.add(() -> Capi.free_zeroed(address));
        return address;
    }

    /** The address of a string in UTF-8; 0 for null. */
    long string(String noun, String text) {
        if (text == null) return 0;
        if (text.indexOf('\0') >= 0) throw new InvalidArgumentException(noun + " must not have a NUL character");
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long address = memory(bytes.length + 1L);
        Memory.view(address, bytes.length).put(bytes);
        return address;
    }

    /** The address of a copy; 0 for null. */
    long longs(long[] values) {
        if (values == null) return 0;
        long address = memory(8L * values.length);
        Memory.view(address, 8L * values.length).asLongBuffer().put(values);
        return address;
    }

    /** A view on a tensor's memory; null for null. */
    speft_tensor view(Tensor tensor) {
        if (tensor == null) return null;
        borrowed.add(tensor);
        speft_tensor view = own(new speft_tensor());
        long[] shape = tensor.shapeInside();
        view.fill(tensor.address(), tensor.dtype().code, tensor.dtype().bits, shape.length, longs(shape),
                longs(tensor.stridesOrNull()));
        return view;
    }

    /** The same where the library writes. */
    speft_tensor writable(String noun, Tensor tensor) {
        requireWritable(noun, tensor);
        return view(tensor);
    }

    static void requireWritable(String noun, Tensor tensor) {
        Tensor.requireNonNull(noun, tensor);
        if (tensor.isReadOnly()) throw new InvalidArgumentException(noun + " must be writable, got a read-only buffer");
    }

    speft_progress progress(Progress progress) {
        if (progress == null) return null;
        speft_progress struct = own(new speft_progress());
        struct.aim(reference(new Callbacks.Reporting(progress)));
        return struct;
    }

    speft_writer writer(OutputStream stream) {
        speft_writer struct = own(new speft_writer());
        struct.aim(reference(new Callbacks.Writing(stream)));
        return struct;
    }

    /** `reference` is the score function's own, which outlives this; 0 gives null. */
    speft_score_function score(long reference) {
        if (reference == 0) return null;
        speft_score_function struct = own(new speft_score_function());
        struct.aim(reference);
        return struct;
    }

    /** A file's content in native memory; a direct buffer is taken as it is. */
    ByteBuffer content(ByteBuffer bytes) {
        ByteBuffer direct = bytes;
        if (!bytes.isDirect()) {
            direct = ByteBuffer.allocateDirect(bytes.remaining()).put(bytes.duplicate()).flip();
        }
        borrowed.add(direct);
        return direct.order(ByteOrder.nativeOrder());
    }

    /** A reference for the length of the call. */
    long reference(Kept callback) {
        callbacks.add(callback);
        long reference = Capi.keep_reference(callback);
        frees.add(() -> Capi.delete_reference(reference));
        return reference;
    }
}
