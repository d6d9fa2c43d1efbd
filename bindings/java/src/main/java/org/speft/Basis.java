package org.speft;

import java.util.List;
import org.speft.internal.Capi;
import org.speft.internal.speft_basis_options;
import org.speft.internal.speft_tensor;

/**
 * A basis in which gradients are sparse (SparseGrad): orthogonal U and V for the matrices of one kind, fitted to their
 * gradients. {@link UnsupportedException} in this version, when made.
 */
public final class Basis extends Owner implements AutoCloseable {
    private final Handle handle;
    private final Parameter matrix;
    private final Loan loan = Loan.ofMasks();

    /**
     * For matrices of one shape.
     *
     * @param context where it lives
     * @param rows of each matrix
     * @param columns of each matrix
     * @throws UnsupportedException in this version
     */
    public Basis(Context context, long rows, long columns) {
        this(create(context, rows, columns), rows, columns);
    }

    Basis(long address, long rows, long columns) {
        matrix = Parameter.sparse("basis", DType.FLOAT32, rows, columns);
        handle = new Handle("basis", address, List.of(), basis -> {}, Capi::speft_destroy_basis);
        handle.follow(this);
    }

    private static long create(Context context, long rows, long columns) {
        try (Arena arena = new Arena()) {
            speft_basis_options options = arena.own(new speft_basis_options());
            options.setRows(rows);
            options.setColumns(columns);
            return arena.call(context, address -> Capi.speft_create_basis(address, options));
        }
    }

    /**
     * Accumulates Σ dW dWᵀ and Σ dWᵀ dW of one gradient of one of the matrices.
     *
     * @param gradient dense, or from activations
     */
    public void observe(Gradient gradient) {
        try (Arena arena = new Arena()) {
            var struct = gradient.toNative(arena, matrix, 0);
            arena.call(this, basis -> Capi.speft_observe_basis(basis, struct));
        }
    }

    /**
     * Computes the eigenvectors: rows, eigenvalues falling, the largest |entry| of each positive.
     *
     * @param progress may be null
     */
    public void fit(Progress progress) {
        try (Arena arena = new Arena()) {
            var struct = arena.progress(progress);
            arena.call(this, basis -> Capi.speft_fit_basis(basis, struct));
        }
    }

    /**
     * U [columns, columns] and V [rows, rows], float32, lent until the basis is closed.
     *
     * @return U and V
     */
    public List<Tensor> matrices() {
        try (Arena arena = new Arena()) {
            speft_tensor u = arena.own(new speft_tensor());
            speft_tensor v = arena.own(new speft_tensor());
            arena.call(this, basis -> Capi.speft_get_basis(basis, u, v));
            return List.of(Tensor.lent(u, "U", true, loan, handle), Tensor.lent(v, "V", true, loan, handle));
        }
    }

    /** Lets go of the basis; adapters that train in it keep it. Twice is fine. */
    @Override
    public void close() {
        loan.end();
        handle.close();
    }

    @Override
    Handle handle() {
        return handle;
    }
}
