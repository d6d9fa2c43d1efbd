package org.speft;

import java.util.concurrent.locks.ReentrantLock;
import org.speft.internal.Capi;
import org.speft.internal.speft_basis_state;
import org.speft.internal.speft_tensor;

/**
 * Orthogonal U and V in which the gradients dW of one kind of matrix are sparse: V dW Uᵀ (SparseGrad). The rows of V
 * are the eigenvectors of Σ dW dWᵀ, those of U of Σ dWᵀ dW, over the gradients of several steps and layers. The sums
 * are kept, in float32, and no gradients. An adapter that trains in it leaves the weights as they are:
 *
 * <pre>{@code
 * try (Context context = Context.open("cpu"); Basis basis = new Basis(context, 96, 64);
 *         Adapter adapter = Adapter.builder(context).selection(Selection.SPARSEGRAD).density(0.01)
 *                 .sparse("up.weight", DType.FLOAT32, 96, 64).open()) {
 *     basis.observe(Gradient.activations(x, dy)); // of several steps, and of layers that share it
 *     basis.fit();
 *     adapter.bindWeights(0, weights);
 *     adapter.bindBasis(0, basis);
 *     adapter.select();
 *     adapter.linearForward(0, x, y); // once a step, in place of the layer's own products
 *     adapter.linearBackward(0, dy, dx);
 *     adapter.accumulate(0, Gradient.activations(x, dy));
 *     adapter.reselect(); // the step's gradient is complete: its largest entries in the basis are trained
 *     adapter.step(new Hyperparameters().lr(1e-3));
 *     adapter.merge(); // the trained weights, for the layer's own products
 * }
 * }</pre>
 *
 * <p>A call that throws a {@link SpeftException} has changed nothing. It may be used from any thread, one call at a
 * time: see {@link Context}. After {@link #close} every method throws {@link IllegalStateException}.
 */
public final class Basis extends Owner implements AutoCloseable {
    private final Handle handle;
    private final Parameter matrix;

    /** Held while results are copied, and while a fit writes to them; never waited for. */
    private final ReentrantLock matrices = new ReentrantLock();

    private volatile Loan loan = Loan.ofFit();

    /**
     * For matrices of one shape; all directions are kept.
     *
     * @param context where it lives
     * @param rows of each matrix
     * @param columns of each matrix
     * @throws InvalidArgumentException sizes below 1
     */
    public Basis(Context context, long rows, long columns) {
        this(context, new BasisOptions(rows, columns));
    }

    /**
     * The same, for matrices whose whole basis would be too large.
     *
     * @param context where it lives
     * @param options the matrices' shape, and how many directions are kept
     * @throws InvalidArgumentException sizes below 1, or more directions than there are
     */
    public Basis(Context context, BasisOptions options) {
        Tensor.requireNonNull("context", context);
        Tensor.requireNonNull("options", options);
        matrix = Parameter.sparse("basis", DType.FLOAT32, options.rows(), options.columns());
        long address;
        try (Arena arena = new Arena()) {
            var struct = options.toNative(arena);
            address = arena.call(context, owner -> Capi.speft_create_basis(owner, struct));
        }
        handle = new Handle("basis", address, context.handle().callbacks(), basis -> {}, Capi::speft_destroy_basis);
        handle.follow(this);
    }

    /**
     * Where it stands.
     *
     * @return its state now
     */
    public BasisState state() {
        try (Arena arena = new Arena()) {
            speft_basis_state state = arena.own(new speft_basis_state());
            arena.call(this, basis -> Capi.speft_get_basis_state(basis, state));
            return new BasisState(state.getFitted() != 0, state.getObservations(), state.getRow_directions(),
                    state.getColumn_directions(), state.getRow_share(), state.getColumn_share());
        }
    }

    /**
     * Adds the gradient of one of the matrices. Its scale weighs it, by the square.
     *
     * @param gradient dense, or from activations
     * @throws InvalidArgumentException another shape, values at a mask, a NaN or an infinity
     */
    public void observe(Gradient gradient) {
        Tensor.requireNonNull("gradient", gradient);
        if (gradient.needsSelectedCount()) {
            throw new InvalidArgumentException("gradient must be dense or from activations, got values at a mask");
        }
        try (Arena arena = new Arena()) {
            var struct = gradient.toNative(arena, matrix, 0);
            arena.call(this, basis -> Capi.speft_observe_basis(basis, struct));
        }
    }

    /**
     * Finds U and V: rows, eigenvalues falling, the largest |entry| of each positive. More can be observed afterwards,
     * and fitted again.
     *
     * @throws InvalidStateException nothing was observed; an adapter trains in it
     * @throws InvalidArgumentException all gradients were 0
     */
    public void fit() {
        fit(null);
    }

    /**
     * The same with a progress.
     *
     * @param progress counts the two sides; may be null
     * @throws CancelledException by the progress; U and V are as before
     */
    public void fit(Progress progress) {
        try (Arena arena = new Arena()) {
            var struct = arena.progress(progress);
            withMatrices(() -> {
                arena.call(this, basis -> Capi.speft_fit_basis(basis, struct));
                loan.end();
                loan = Loan.ofFit();
            });
        }
    }

    /**
     * U.
     *
     * @return [columnDirections, columns], row-major, a copy
     * @throws InvalidStateException not fitted since the last gradient
     */
    public float[] u() {
        return copy("U");
    }

    /**
     * V.
     *
     * @return [rowDirections, rows], row-major, a copy
     * @throws InvalidStateException not fitted since the last gradient
     */
    public float[] v() {
        return copy("V");
    }

    /**
     * U without a copy: lent, to be read. After the next {@link #fit} the tensor throws, and buffers taken from it
     * before hold what that fit has found. After {@link #close} such buffers stay valid as long as they are reachable.
     *
     * @return float32 [columnDirections, columns]
     * @throws InvalidStateException not fitted since the last gradient
     */
    public Tensor lendU() {
        return lend("U");
    }

    /**
     * V without a copy. How long it is valid: as {@link #lendU}.
     *
     * @return float32 [rowDirections, rows]
     * @throws InvalidStateException not fitted since the last gradient
     */
    public Tensor lendV() {
        return lend("V");
    }

    /** Lets go of the basis. A call that runs ends first. Twice is fine. */
    @Override
    public void close() {
        loan.end();
        handle.close();
    }

    @Override
    Handle handle() {
        return handle;
    }

    private Tensor lend(String noun) {
        try (Arena arena = new Arena()) {
            Loan current = loan;
            speft_tensor u = arena.own(new speft_tensor());
            speft_tensor v = arena.own(new speft_tensor());
            Tensor[] lent = new Tensor[1];
            arena.call(this, basis -> {
                Capi.speft_get_basis(basis, u, v);
                lent[0] = Tensor.lent(noun.equals("U") ? u : v, noun, true, current, handle);
                return 0;
            });
            return lent[0];
        }
    }

    private float[] copy(String noun) {
        float[][] values = new float[1][];
        withMatrices(() -> values[0] = lend(noun).toFloats());
        return values[0];
    }

    private void withMatrices(Runnable action) {
        if (!matrices.tryLock()) throw new BusyException("the basis is fitted or read in another thread", "", 0);
        try {
            action.run();
        } finally {
            matrices.unlock();
        }
    }
}
