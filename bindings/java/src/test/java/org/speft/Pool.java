package org.speft;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/** Direct buffers as an allocator, which counts them. */
final class Pool implements Allocator {
    private final Map<Long, ByteBuffer> buffers = new HashMap<>();
    private long live;
    private long most;
    private boolean refusing;
    private Error failure;

    @Override
    public synchronized long allocate(long bytes, long alignment, long stream) {
        if (refusing) {
            if (failure != null) throw failure;
            return 0;
        }
        ByteBuffer buffer = ByteBuffer.allocateDirect((int) (bytes + alignment));
        long address = Tensor.of(DType.UINT8, buffer.order(java.nio.ByteOrder.nativeOrder())).address();
        address = (address + alignment - 1) / alignment * alignment;
        buffers.put(address, buffer);
        live += bytes;
        most = Math.max(most, live);
        return address;
    }

    @Override
    public synchronized void deallocate(long address, long bytes, long stream) {
        if (buffers.remove(address) == null) throw new AssertionError("not ours: " + address);
        live -= bytes;
    }

    synchronized long live() {
        return live;
    }

    synchronized long most() {
        return most;
    }

    /** @param thrown null to return 0 instead */
    synchronized void refuse(Error thrown) {
        refusing = true;
        failure = thrown;
    }

    synchronized void accept() {
        refusing = false;
    }
}
