package org.speft.examples.sentiment;

import ai.djl.ndarray.NDArray;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The memory of DJL's arrays, as direct buffers without a copy. */
final class DirectMemory {
    private DirectMemory() {}

    /**
     * A buffer that is the array's memory: what is written to it changes the array.
     *
     * <p>DJL gives a copy, silently, where an array is not contiguous. A write tells the two apart: a second buffer
     * shows it when both are the array's memory.
     *
     * @throws IllegalArgumentException if DJL gives a copy
     */
    static ByteBuffer of(NDArray array) {
        ByteBuffer memory = array.toByteBuffer(true).order(ByteOrder.nativeOrder());
        byte original = memory.get(0);
        memory.put(0, (byte) ~original);
        boolean shared = array.toByteBuffer(true).get(0) != original;
        memory.put(0, original);
        if (!shared) {
            throw new IllegalArgumentException("'" + array.getName()
                    + "': expected a contiguous array, of which DJL gives the memory and no copy");
        }
        return memory;
    }
}
