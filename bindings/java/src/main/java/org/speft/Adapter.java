package org.speft;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.FileSystems;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.function.ToLongFunction;
import org.speft.internal.Capi;
import org.speft.internal.CapiConstants;
import org.speft.internal.Memory;
import org.speft.internal.speft_adapter_options;
import org.speft.internal.speft_adapter_state;
import org.speft.internal.speft_basis_options;
import org.speft.internal.speft_load_options;
import org.speft.internal.speft_memory_plan;
import org.speft.internal.speft_parameter;
import org.speft.internal.speft_requantization;
import org.speft.internal.speft_reselection;
import org.speft.internal.speft_save_options;
import org.speft.internal.speft_tensor;
import org.speft.internal.speft_weights;

/**
 * For each targeted parameter a mask, deltas, the original values and the optimizer's state.
 *
 * <p>Its life:
 *
 * <pre>{@code
 * try (Context context = Context.open("cpu");
 *         Adapter adapter = Adapter.builder(context).selection(Selection.SNIP).density(0.005)
 *                 .sparse("query.weight", DType.FLOAT32, 384, 384).dense("head.weight", DType.FLOAT32, 2, 384)
 *                 .open()) {
 *     adapter.bindWeights(0, queryBuffer); // the host's memory, trained in place
 *     adapter.bindWeights(1, headBuffer);
 *     adapter.observe(0, Gradient.dense(queryGradient)); // once or more a batch, each sparse parameter
 *     adapter.finishObservation(); // once a batch
 *     adapter.select(); // the masks are chosen
 *     adapter.accumulate(0, Gradient.dense(queryGradient)); // or activations, or values at the mask
 *     adapter.accumulate(1, Gradient.dense(headGradient));
 *     adapter.step(new Hyperparameters().lr(1e-3));
 *     adapter.save(Path.of("adapter.safetensors"));
 *     adapter.unmerge(); // the original bits are back
 * }
 * }</pre>
 *
 * <p>Parameters are known by their position, which {@link #position} finds by name. Tensors are row-major contiguous,
 * on the context's device. A call that throws a {@link SpeftException} has changed nothing. It may be used from any
 * thread, one call at a time: see {@link Context}. After {@link #close} every method throws {@link
 * IllegalStateException}.
 */
public final class Adapter extends Owner implements AutoCloseable {
    private final Context context;
    private final Handle handle;
    private final List<Parameter> parameters;
    private final Map<String, Integer> positions = new HashMap<>();

    /** What is bound, by position; the handle has it, too, so that it lives as long as the native adapter. */
    private final Object[] bound;

    /** Held while results are copied, and while masks move, which frees what is being copied; never waited for. */
    private final ReentrantLock masks = new ReentrantLock();

    private volatile Loan loan = Loan.ofMasks();
    private volatile boolean announced;

    /** Takes over the native adapter, and the reference to its score function (0: none). */
    private Adapter(Context context, long address, Callbacks.Scoring scoring, long reference) {
        this.context = context;
        int count = (int) Capi.speft_count_parameters(address);
        Object[] memory = new Object[count];
        bound = memory;
        List<Kept> callbacks = new ArrayList<>(context.handle().callbacks());
        if (scoring != null) callbacks.add(scoring);
        handle = new Handle("adapter", address, callbacks, adapter -> unbind(adapter, memory), adapter -> {
            Capi.speft_destroy_adapter(adapter);
            if (reference != 0) Capi.delete_reference(reference);
        });
        handle.follow(this);
        List<Parameter> found = new ArrayList<>();
        try {
            for (int position = 0; position < count; ++position) {
                found.add(readParameter(position));
                positions.put(found.get(position).name(), position);
            }
        } catch (RuntimeException | Error failure) { // another thread's call on the context, say
            handle.close();
            throw failure;
        }
        parameters = List.copyOf(found);
        if (scoring != null) scoring.setParameters(parameters);
    }

    /**
     * To make one.
     *
     * @param context where it will live
     * @return a builder with the defaults and no parameters
     */
    public static Builder builder(Context context) {
        Tensor.requireNonNull("context", context);
        return new Builder(context);
    }

    /**
     * The adapter in a file that {@link #save(Path)} wrote: selected, unmerged, and bound to nothing. Bind every one of
     * its {@link #parameters}, then {@link #merge}, or {@link #attach} to train on; the optimizer starts afresh, after
     * a checkpoint too. Bases are in the file.
     *
     * @param context where it will live
     * @param path of the file
     * @return to be closed
     * @throws IOFailureException the file cannot be read
     * @throws CorruptException it is damaged, or no adapter
     * @throws UnsupportedException it is of another format
     */
    public static Adapter load(Context context, Path path) {
        return load(context, path, null);
    }

    /**
     * The same with a progress.
     *
     * @param context where it will live
     * @param path of the file
     * @param progress counts bytes; may be null
     * @return to be closed
     */
    public static Adapter load(Context context, Path path, Progress progress) {
        return read(Capi::speft_load_adapter, context, path, null, progress, null);
    }

    /**
     * The same from a file's content.
     *
     * @param context where it will live
     * @param content from the position to the limit; a heap buffer is copied
     * @param progress counts bytes; may be null
     * @return to be closed
     */
    public static Adapter load(Context context, ByteBuffer content, Progress progress) {
        Tensor.requireNonNull("content", content);
        return read(Capi::speft_load_adapter, context, null, content, progress, null);
    }

    /**
     * The adapter in a file that {@link #saveCheckpoint(Path)} wrote, to resume as if training had never stopped. Bind
     * its {@link #parameters} and {@link #attach}, as after {@link #load(Context, Path)}; here the weights may hold the
     * merged bits already, as a checkpoint of the model does. What is passed at each step is not in the file.
     *
     * @param context where it will live
     * @param path of the file
     * @return to be closed
     * @throws InvalidArgumentException {@link #save(Path)} wrote the file, without a training state
     */
    public static Adapter loadCheckpoint(Context context, Path path) {
        return loadCheckpoint(context, path, null, null);
    }

    /**
     * The same with a progress and a score function.
     *
     * @param context where it will live
     * @param path of the file
     * @param progress counts bytes; may be null
     * @param score of masks that move by a score function, which no file has; may be null
     * @return to be closed
     */
    public static Adapter loadCheckpoint(Context context, Path path, Progress progress, ScoreFunction score) {
        return read(Capi::speft_load_checkpoint, context, path, null, progress, score);
    }

    /**
     * The same from a file's content.
     *
     * @param context where it will live
     * @param content from the position to the limit; a heap buffer is copied
     * @param progress counts bytes; may be null
     * @param score of masks that move by a score function, which no file has; may be null
     * @return to be closed
     */
    public static Adapter loadCheckpoint(Context context, ByteBuffer content, Progress progress, ScoreFunction score) {
        Tensor.requireNonNull("content", content);
        return read(Capi::speft_load_checkpoint, context, null, content, progress, score);
    }

    // ---- what is in it ----

    /**
     * Where it lives.
     *
     * @return its context
     */
    public Context context() {
        return context;
    }

    /**
     * Its parameters, in the order of their positions.
     *
     * @return unmodifiable
     */
    public List<Parameter> parameters() {
        return parameters;
    }

    /**
     * The position of a parameter.
     *
     * @param name of the parameter
     * @return from 0
     * @throws InvalidArgumentException there is none of this name
     */
    public int position(String name) {
        Integer position = positions.get(name);
        if (position != null) return position;
        throw new InvalidArgumentException("parameter must be one of "
                + parameters.stream().map(Parameter::name).toList() + ", got '" + name + "'");
    }

    /**
     * Where it stands.
     *
     * @return as of now
     */
    public AdapterState state() {
        try (Arena arena = new Arena()) {
            speft_adapter_state state = arena.own(new speft_adapter_state());
            arena.call(this, adapter -> Capi.speft_get_adapter_state(adapter, state));
            long next = state.getNext_reselection();
            return new AdapterState(state.getSelected() != 0, state.getMerged() != 0, state.getAttached() != 0,
                    Selection.of(state.getMethod()), state.getSteps(), state.getObservations(),
                    state.getSelected_scalars(), state.getTrained_scalars(), state.getTargeted_scalars(),
                    state.getSettled_scalars(),
                    next == 0 ? OptionalLong.empty() : OptionalLong.of(next), state.getReselection_due() != 0);
        }
    }

    /**
     * k of one parameter, the length of its mask, deltas and gradient; of a dense one all its scalars.
     *
     * @param parameter its position
     * @return k
     * @throws InvalidStateException before {@link #select}
     */
    public long selectedCount(int parameter) {
        try (Arena arena = new Arena()) {
            return arena.call(this, adapter -> Capi.speft_get_selected_count(adapter, parameter));
        }
    }

    /**
     * The strictly increasing flat indices that were selected: into the parameter, or into the entries [row direction,
     * column direction] of the basis that it trains in.
     *
     * @param parameter its position
     * @return [k], a copy
     * @throws InvalidStateException before {@link #select}
     */
    public long[] mask(int parameter) {
        return indices(selectedCount(parameter), (adapter, view) -> Capi.speft_get_mask(adapter, parameter, view));
    }

    /**
     * How many updates are behind the moments of each selected scalar. All are the parameter's own count unless ages
     * are kept {@link Age#PER_WEIGHT}, as masks that move need it.
     *
     * @param parameter its position
     * @return [k] in the mask's order, a copy
     * @throws InvalidStateException before {@link #select}
     */
    public long[] ages(int parameter) {
        return indices(selectedCount(parameter), (adapter, view) -> Capi.speft_get_ages(adapter, parameter, view));
    }

    /**
     * The flat indices that left the mask in the last reselection. None before the first one, and of an adapter from a
     * file.
     *
     * @param parameter its position
     * @return rising, a copy
     * @throws InvalidStateException before {@link #select}, or without {@link Builder#trackMoves}
     */
    public long[] dropped(int parameter) {
        return moved(parameter, CapiConstants.SPEFT_MOVED_DROPPED);
    }

    /**
     * The flat indices that came into the mask in the last reselection, as {@link #dropped}.
     *
     * @param parameter its position
     * @return rising, a copy
     * @throws InvalidStateException before {@link #select}, or without {@link Builder#trackMoves}
     */
    public long[] grown(int parameter) {
        return moved(parameter, CapiConstants.SPEFT_MOVED_GROWN);
    }

    /**
     * What is added to the selected scalars; of a dense parameter the values that it is trained as; in a basis the
     * entries of Δ̃, where ΔW = Vᵀ Δ̃ U.
     *
     * @param parameter its position
     * @return [k] in the mask's order, a copy; bfloat16 deltas are widened, which is exact
     * @throws InvalidStateException before {@link #select}
     */
    public float[] deltas(int parameter) {
        return copied(() -> lendDeltas(parameter));
    }

    /**
     * The same without a copy: lent, to be read, float32 or what {@link Builder#deltaType} says. Ask for it again after
     * each {@link #reselect} that has moved the masks: the tensor then throws, and buffers taken from it before must
     * not be used. After {@link #close} such buffers stay valid as long as they are reachable.
     *
     * @param parameter its position
     * @return [k] in the mask's order
     * @throws InvalidStateException before {@link #select}
     */
    public Tensor lendDeltas(int parameter) {
        return lend(parameter, "deltas", true, Capi::speft_get_deltas);
    }

    /**
     * The share of Σ|δ| that rounding θ0+δ to the weight's type loses. bfloat16 weights around 0.02 lose 0.4% of deltas
     * around 0.01, and a third of those around 0.0001.
     *
     * @param parameter the position of a sparse one
     * @return in [0, 1], mostly
     * @throws InvalidArgumentException of a dense parameter, or of one in a basis, whose deltas are not rounded
     * @throws InvalidStateException before {@link #select}, or of an adapter from a file before its first {@link
     *     #merge}
     */
    public double measureRoundingLoss(int parameter) {
        requirePosition(parameter);
        return roundingLoss(parameter);
    }

    /**
     * The same of all sparse parameters together.
     *
     * @return in [0, 1], mostly
     * @throws InvalidStateException before {@link #select}, or of an adapter from a file before its first {@link
     *     #merge}
     */
    public double measureRoundingLoss() {
        return roundingLoss(-1);
    }

    /**
     * What {@link #merge} has left of the deltas of quantized weights.
     *
     * @param parameter the position of a quantized one
     * @return of its last merge
     * @throws InvalidStateException not merged
     * @throws InvalidArgumentException its weights are dense
     */
    public Requantization measureRequantization(int parameter) {
        requirePosition(parameter);
        return requantization(parameter);
    }

    /**
     * The same of all parameters with quantized weights together.
     *
     * @return of the last merge
     * @throws InvalidStateException not merged
     */
    public Requantization measureRequantization() {
        return requantization(-1);
    }

    // ---- weights ----

    /**
     * Lends the memory of one parameter, which is trained in place: only {@link #select}, {@link #step}, {@link
     * #reselect}, {@link #merge}, {@link #attach} and {@link #unmerge} touch it, while they run; linear layers and
     * {@link #leaveBases} read it. It may be bound to other memory any time: the contents must have moved with it. The
     * buffer is kept reachable until then, or until it is unbound; whatever owns memory at an address, or behind
     * another library's buffer, is the host's to keep.
     *
     * @param parameter its position
     * @param weights of the parameter's shape and type, writable
     * @throws InvalidArgumentException another shape, type or stride; read-only
     * @throws InvalidStateException another adapter is merged into overlapping memory, and this one is merged too
     */
    public void bindWeights(int parameter, Tensor weights) {
        String noun = weightsOf(parameter);
        try (Arena arena = new Arena()) {
            speft_weights struct = arena.own(new speft_weights());
            struct.setKind(CapiConstants.SPEFT_WEIGHTS_DENSE);
            struct.setData(arena.writable(noun, weights));
            bind(arena, parameter, struct, weights);
        }
    }

    /**
     * The same in a buffer of the parameter's shape and type.
     *
     * @param parameter its position
     * @param weights direct, in native order, writable: a {@link ByteBuffer}, a {@link FloatBuffer} of float32, or a
     *     {@link java.nio.ShortBuffer} of a 16-bit type
     * @throws InvalidArgumentException heap memory, read-only, another byte order, or another number of elements
     */
    public void bindWeights(int parameter, Buffer weights) {
        String noun = weightsOf(parameter);
        Parameter known = parameters.get(parameter);
        bindWeights(parameter, Tensor.of(noun, known.dtype(), weights, known.shapeInside()));
    }

    /**
     * The same at an address: for weights above 2 GiB, or of other native libraries.
     *
     * @param parameter its position
     * @param address of the first scalar; the host keeps the memory
     * @param count how many scalars there are: all of the parameter
     * @throws InvalidArgumentException another number of scalars
     */
    public void bindWeights(int parameter, long address, long count) {
        String noun = weightsOf(parameter);
        Parameter known = parameters.get(parameter);
        if (count != known.count()) {
            throw new InvalidArgumentException(noun + " must have " + known.count() + " scalars, got " + count);
        }
        bindWeights(parameter, Tensor.ofAddress(noun, known.dtype(), address, known.shapeInside()));
    }

    /**
     * The same of quantized weights, whose deltas are trained beside them: the host's layer computes with {@link
     * #linearForward(int, Tensor, Tensor)} and {@link #linearBackward(int, Tensor, Tensor)}, and only {@link #merge},
     * {@link #attach} and {@link #unmerge} write to codes and scales. The parameter's type is what they are dequantized
     * to where a call takes their values: scores, and the hash of the base in a file.
     *
     * @param parameter its position
     * @param weights as many scalars as the parameter has; all but tables of levels writable
     * @throws InvalidArgumentException another size or type; read-only; scales that are negative or not finite
     * @throws InvalidStateException another adapter is merged into overlapping memory, and this one is merged too; or
     *     they take the place of dense weights, or dense ones theirs, before {@link #unmerge}
     * @throws UnsupportedException a parameter in a basis
     */
    public void bindWeights(int parameter, Quantized weights) {
        Tensor.requireNonNull(weightsOf(parameter), weights);
        try (Arena arena = new Arena()) {
            weights.requireWritable();
            bind(arena, parameter, weights.toNative(arena), weights);
        }
    }

    /**
     * Gives the memory of one parameter back to the host. A call that needs it is then {@link InvalidStateException}.
     *
     * @param parameter its position
     */
    public void unbindWeights(int parameter) {
        requirePosition(parameter);
        try (Arena arena = new Arena()) {
            bind(arena, parameter, null, null);
        }
    }

    /**
     * Trains a parameter in a basis: {@link Selection#SPARSEGRAD} needs one for each sparse parameter, shared or not.
     * The mask, the deltas Δ̃ and {@linkplain Gradient#values(Tensor) values} are then entries of [row directions,
     * column directions]; gradients of other kinds stay those of the weight. The weight keeps its bits, and the host's
     * layer computes with {@link #linearForward(int, Tensor, Tensor)} and {@link #linearBackward(int, Tensor, Tensor)},
     * until {@link #merge}.
     *
     * <p>The basis lives as long as the adapter and what that has lent, whether it is closed or not, and is not fitted
     * again meanwhile.
     *
     * @param parameter its position
     * @param basis fitted to matrices of the parameter's shape; null for the ordinary one
     * @throws InvalidStateException after {@link #select} or an observation; the basis is not fitted since its last
     *     gradient; another selection than {@link Selection#SPARSEGRAD}
     * @throws InvalidArgumentException matrices of another shape; a dense parameter; a basis of another context
     */
    public void bindBasis(int parameter, Basis basis) {
        try (Arena arena = new Arena()) {
            if (basis == null) {
                arena.call(this, adapter -> Capi.speft_bind_basis(adapter, parameter, 0));
            } else {
                arena.call(this, adapter -> arena.call(basis,
                        address -> Capi.speft_bind_basis(adapter, parameter, address)));
            }
        }
    }

    /**
     * Makes a new adapter without bases: of each parameter in a basis a share of its scalars, those with the largest
     * |ΔW|, ΔW = Vᵀ Δ̃ U, as ordinary deltas; other parameters as they are. It is selected, unmerged and bound to
     * nothing, as after {@link #load(Context, Path)}, with {@link Selection#MASK}. This adapter stays as it is.
     *
     * @param density the share of the scalars, in (0, 1]
     * @return the adapter, to be closed, and how much of ΔW it keeps
     * @throws InvalidStateException before {@link #select}; no parameter is in a basis; merged; weights not bound; of
     *     an adapter from a file, before its first {@link #attach}
     * @throws InvalidArgumentException another density, or fewer scalars of a ΔW are not NaN
     */
    public OrdinaryAdapter leaveBases(double density) {
        double[] share = new double[1];
        try (Arena arena = new Arena()) {
            Adapter ordinary = make(context, null,
                    none -> arena.call(this, adapter -> Capi.speft_leave_bases(adapter, density, share)));
            return new OrdinaryAdapter(ordinary, share[0]);
        }
    }

    /**
     * How much of Σ ΔW² over the parameters in a basis {@link #leaveBases} would keep; no adapter is made.
     *
     * @param density the share of the scalars, in (0, 1]
     * @return in [0, 1]; 1 where ΔW is 0
     * @throws InvalidStateException as of {@link #leaveBases}
     * @throws InvalidArgumentException as of {@link #leaveBases}
     */
    public double measureOrdinaryShare(double density) {
        try (Arena arena = new Arena()) {
            double[] share = new double[1];
            arena.call(this, adapter -> Capi.measure_ordinary_share(adapter, density, share));
            return share[0];
        }
    }

    /**
     * Writes round(θ0+δ) into the bound weights; nothing to do when merged already, as after {@link #select} and every
     * step where no parameter is in a basis or quantized. One in a basis becomes round(W + Vᵀ Δ̃ U), all of it; of a
     * quantized one the blocks that have a delta are dequantized, added to and quantized anew, by the scale that they
     * had or that of their new maximum, whichever has the smaller error; {@link #measureRequantization(int)} tells what
     * is left of the deltas. Of both a copy of what was there is kept until {@link #attach} or {@link #unmerge}, and no
     * step can be taken meanwhile.
     *
     * @throws InvalidArgumentException an adapter from a file meets another base model than it was trained on
     * @throws InvalidStateException not selected, not bound, or another adapter is merged into the same memory
     */
    public void merge() {
        try (Arena arena = new Arena()) {
            arena.call(this, Capi::speft_merge);
        }
    }

    /**
     * Puts what was learned into effect as training needs it, and as {@link #select} leaves it: merged, but parameters
     * in a basis and quantized ones have their original bits, and linear layers apply their deltas. Nothing to do when
     * attached already; without such a parameter it is {@link #merge}.
     *
     * @throws InvalidArgumentException an adapter from a file meets another base model than it was trained on
     * @throws InvalidStateException not selected, not bound, another adapter is merged into the same memory, or merged
     *     weights are no longer what this adapter wrote there; nothing is written
     */
    public void attach() {
        try (Arena arena = new Arena()) {
            arena.call(this, Capi::speft_attach);
        }
    }

    /**
     * Writes the original bits back; nothing to do when unmerged already.
     *
     * @throws InvalidStateException a weight is no longer what this adapter wrote there; nothing is written
     */
    public void unmerge() {
        try (Arena arena = new Arena()) {
            arena.call(this, Capi::speft_unmerge);
        }
    }

    // ---- selection ----

    /**
     * Announces the weight of the batch whose gradients follow. Optional: it saves one accumulator.
     *
     * @param weight above 0: the batch's number of examples, say; 1 for equal batches
     * @throws InvalidStateException after {@link #select}, unless masks are dynamic; or when a batch is open
     */
    public void beginObservation(double weight) {
        try (Arena arena = new Arena()) {
            arena.call(this, adapter -> Capi.speft_begin_observation(adapter, weight));
            announced = true;
        }
    }

    /**
     * Adds a gradient to what a parameter has received in this batch. It is dropped where the selection needs no
     * gradients, and for dense parameters.
     *
     * @param parameter its position
     * @param gradient dense, or from activations
     * @throws InvalidStateException after {@link #select}, unless masks are dynamic
     */
    public void observe(int parameter, Gradient gradient) {
        requirePosition(parameter);
        Tensor.requireNonNull("gradient", gradient);
        try (Arena arena = new Arena()) {
            var struct = gradient.toNative(arena, parameters.get(parameter), 0);
            arena.call(this, adapter -> Capi.speft_observe(adapter, parameter, struct));
        }
    }

    /**
     * Closes one batch, with the announced weight, or 1. Means over batches are Σwg/Σw.
     *
     * @throws InvalidStateException a sparse parameter received nothing; the message names it, and the batch stays open
     */
    public void finishObservation() {
        finishObservation(announced ? 0 : 1);
    }

    /**
     * Closes one batch.
     *
     * @param weight above 0, or 0 for the announced one
     * @throws InvalidStateException a sparse parameter received nothing; the message names it, and the batch stays open
     */
    public void finishObservation(double weight) {
        try (Arena arena = new Arena()) {
            arena.call(this, adapter -> Capi.speft_finish_observation(adapter, weight));
            announced = false;
        }
    }

    /**
     * Forgets all that was observed, an open batch included: after a backward pass that failed, say.
     *
     * @throws InvalidStateException after {@link #select}, unless masks are dynamic
     */
    public void clearObservations() {
        try (Arena arena = new Arena()) {
            arena.call(this, Capi::speft_clear_observations);
            announced = false;
        }
    }

    /**
     * Gives the mask of one parameter, for {@link Selection#MASK}.
     *
     * @param parameter its position
     * @param indices flat, strictly increasing; none for an empty mask
     * @throws InvalidArgumentException not increasing, or outside of the parameter
     * @throws InvalidStateException after {@link #select}
     */
    public void setMask(int parameter, long... indices) {
        setMask(parameter, Tensor.copyOf(indices));
    }

    /**
     * The same from a tensor.
     *
     * @param parameter its position
     * @param indices int64 [k]; copied
     */
    public void setMask(int parameter, Tensor indices) {
        give(indices, "indices", (adapter, view) -> Capi.speft_set_mask(adapter, parameter, view));
    }

    /**
     * Gives the scores of one parameter, for {@link Selection#SCORES}; the largest win.
     *
     * @param parameter its position
     * @param scores float32, of the parameter's shape; copied
     * @throws InvalidStateException after {@link #select}
     */
    public void setScores(int parameter, Tensor scores) {
        give(scores, "scores", (adapter, view) -> Capi.speft_set_scores(adapter, parameter, view));
    }

    /**
     * The same in a buffer.
     *
     * @param parameter its position
     * @param scores of the parameter's shape; direct, in native order; copied
     */
    public void setScores(int parameter, FloatBuffer scores) {
        requirePosition(parameter);
        setScores(parameter, Tensor.of("scores", DType.FLOAT32, scores, parameters.get(parameter).shapeInside()));
    }

    /**
     * Gives the weights that {@link Selection#WEIGHT_CHANGE} measures from and returns to.
     *
     * @param parameter its position
     * @param original of the parameter's type and shape; copied
     * @throws InvalidStateException after {@link #select}
     */
    public void setReference(int parameter, Tensor original) {
        give(original, "original", (adapter, view) -> Capi.speft_set_reference(adapter, parameter, view));
    }

    /**
     * The same in a buffer.
     *
     * @param parameter its position
     * @param original of the parameter's type and shape; direct, in native order; copied
     */
    public void setReference(int parameter, Buffer original) {
        requirePosition(parameter);
        Parameter known = parameters.get(parameter);
        setReference(parameter, Tensor.of("original", known.dtype(), original, known.shapeInside()));
    }

    /**
     * Chooses the masks. The weights, which must be bound, equal round(θ0+δ) from here on. The larger score wins, then
     * the earlier parameter, then the smaller index. NaN is never selected. Masks of {@link Selection#SPARSEGRAD} and
     * {@link Selection#MEPROP} that each step selects are empty at first: {@link #reselect} fills them.
     *
     * @throws InvalidStateException already selected; nothing observed where the selection needs it; weights not bound;
     *     a sparse parameter has no basis where the selection needs one
     * @throws InvalidArgumentException fewer scalars can be selected than the budget asks for
     */
    public void select() {
        select(null);
    }

    /**
     * The same with a progress.
     *
     * @param progress may be null
     * @throws CancelledException by the progress
     */
    public void select(Progress progress) {
        try (Arena arena = new Arena()) {
            var struct = arena.progress(progress);
            arena.call(this, adapter -> Capi.speft_select(adapter, struct));
        }
    }

    /**
     * Chooses again while training, when that is due: to be called after every step where masks move. The next step is
     * refused as long as one is due. What has been accumulated is cleared, and what was lent before is no longer valid.
     *
     * <p>With {@link Selection#SPARSEGRAD} and {@link Selection#MEPROP} it comes before each step, when the gradient of
     * the step is complete: it selects the k largest |g|. The mask is the union of all so far, and the gradient is 0 in
     * the rest of it; such weights do not move in the step, nor do their moments.
     *
     * @return what moved, or null when none was due
     * @throws InvalidStateException not selected; unmerged, or merged with parameters in a basis; weights not bound, or
     *     changed behind the adapter; nothing observed since the last selection where the method needs it
     * @throws InvalidArgumentException fewer scalars can be selected than are asked for; all is as before then
     */
    public Reselection reselect() {
        return reselect(null);
    }

    /**
     * The same with a progress.
     *
     * @param progress may be null
     * @return what moved, or null when none was due
     * @throws CancelledException by the progress
     */
    public Reselection reselect(Progress progress) {
        try (Arena arena = new Arena()) {
            var struct = arena.progress(progress);
            speft_reselection moved = arena.own(new speft_reselection());
            withMasks(() -> {
                arena.call(this, adapter -> Capi.speft_reselect(adapter, struct, moved));
                if (moved.getDue() == 0) return;
                loan.end();
                loan = Loan.ofMasks();
            });
            if (moved.getDue() == 0) return null;
            return new Reselection(moved.getStep(), moved.getDropped(), moved.getGrown(), moved.getSettled());
        }
    }

    // ---- training ----

    /**
     * Adds a gradient to the k values that a parameter has accumulated.
     *
     * @param parameter its position
     * @param gradient dense, from activations, or values of the mask (not of a dense parameter, nor where the step's
     *     scalars are selected by it)
     * @throws InvalidStateException before {@link #select}; where the step's scalars are selected by its gradient, from
     *     {@link #reselect} to {@link #step} or {@link #clearGradient()}
     */
    public void accumulate(int parameter, Gradient gradient) {
        requirePosition(parameter);
        Tensor.requireNonNull("gradient", gradient);
        try (Arena arena = new Arena()) {
            long selected = gradient.needsSelectedCount() ? selectedCount(parameter) : 0;
            var struct = gradient.toNative(arena, parameters.get(parameter), selected);
            arena.call(this, adapter -> Capi.speft_accumulate(adapter, parameter, struct));
        }
    }

    /**
     * The accumulated values.
     *
     * @param parameter its position
     * @return [k] in the mask's order, a copy; zeros when nothing has been accumulated since the last clear
     * @throws InvalidStateException before {@link #select}, or before {@link #reselect} where it selects the step's
     *     scalars
     */
    public float[] gradient(int parameter) {
        return copied(() -> lendGradient(parameter));
    }

    /**
     * The same without a copy: lent, to be read and written, as clipping and all-reduce do. Writing does not count as a
     * gradient where nothing has been accumulated. How long it is valid: as {@link #lendDeltas}.
     *
     * @param parameter its position
     * @return float32 [k] in the mask's order
     * @throws InvalidStateException as of {@link #gradient}
     */
    public Tensor lendGradient(int parameter) {
        return lend(parameter, "gradient", false, Capi::speft_get_gradient);
    }

    /**
     * Forgets what a parameter has accumulated.
     *
     * @param parameter its position
     */
    public void clearGradient(int parameter) {
        requirePosition(parameter);
        clear(parameter);
    }

    /** Forgets what all parameters have accumulated. */
    public void clearGradient() {
        clear(-1);
    }

    /**
     * Scales all gradients, sparse and dense together, so that their 2-norm is at most a bound, as PyTorch's
     * clip_grad_norm_ does.
     *
     * @param maxNorm above 0; {@link Double#POSITIVE_INFINITY} only measures
     * @return the norm before
     * @throws InvalidArgumentException the norm is not finite; nothing is scaled then
     * @throws InvalidStateException as of {@link #gradient}
     */
    public double clipGradient(double maxNorm) {
        try (Arena arena = new Arena()) {
            double[] norm = new double[1];
            arena.call(this, adapter -> Capi.speft_clip_gradient(adapter, maxNorm, norm));
            return norm[0];
        }
    }

    /**
     * One update of the deltas and of the weights, with the default hyperparameters, by what was accumulated, which is
     * then cleared.
     *
     * @throws InvalidStateException not selected, not attached, weights not bound, no gradient, a reselection is due
     */
    public void step() {
        step(new StepOptions());
    }

    /**
     * The same with hyperparameters.
     *
     * @param all of all parameters
     */
    public void step(Hyperparameters all) {
        step(new StepOptions().groups(all));
    }

    /**
     * The same with options.
     *
     * @param options hyperparameters of groups, and more
     */
    public void step(StepOptions options) {
        Tensor.requireNonNull("options", options);
        try (Arena arena = new Arena()) {
            var struct = options.toNative(arena);
            arena.call(this, adapter -> Capi.speft_step(adapter, struct));
        }
    }

    /**
     * y = x (W+Δ)ᵀ, where Δ is not in the weight W: of a parameter in a basis or a quantized one, unless it is
     * {@linkplain #merge merged}, and of any while the adapter is {@linkplain #unmerge unmerged}. W lies [out, in].
     *
     * @param parameter the position of a sparse one
     * @param x [tokens, in]; float32, bfloat16 or float16
     * @param y [tokens, out], written, so that it overlaps no other memory; float32, bfloat16 or float16
     * @throws InvalidArgumentException another shape; a dense parameter; a weight that has not two axes
     * @throws InvalidStateException before {@link #select}; Δ is in the weight, whose own product has it; the weight is
     *     not bound; of an adapter from a file, before its first {@link #attach} or {@link #merge}
     */
    public void linearForward(int parameter, Tensor x, Tensor y) {
        linearForward(parameter, new LinearOptions(), x, y);
    }

    /**
     * The same of a weight that lies in another way, of Δ alone, or added to what y holds.
     *
     * @param parameter the position of a sparse one
     * @param options layout and more
     * @param x [tokens, in]
     * @param y [tokens, out], written
     */
    public void linearForward(int parameter, LinearOptions options, Tensor x, Tensor y) {
        Tensor.requireNonNull("options", options);
        try (Arena arena = new Arena()) {
            var struct = options.toNative(arena);
            var in = arena.view(x);
            var out = arena.writable("y", y);
            arena.call(this, adapter -> Capi.speft_linear_forward(adapter, parameter, struct, in, out));
        }
    }

    /**
     * dx = dy (W+Δ), the gradient of the inputs of {@link #linearForward(int, Tensor, Tensor)}, which says when there
     * is one.
     *
     * @param parameter the position of a sparse one
     * @param dy [tokens, out]; float32, bfloat16 or float16
     * @param dx [tokens, in], written, so that it overlaps no other memory; float32, bfloat16 or float16
     */
    public void linearBackward(int parameter, Tensor dy, Tensor dx) {
        linearBackward(parameter, new LinearOptions(), dy, dx);
    }

    /**
     * The same of a weight that lies in another way, of Δ alone, or added to what dx holds.
     *
     * @param parameter the position of a sparse one
     * @param options layout and more
     * @param dy [tokens, out]
     * @param dx [tokens, in], written
     */
    public void linearBackward(int parameter, LinearOptions options, Tensor dy, Tensor dx) {
        Tensor.requireNonNull("options", options);
        try (Arena arena = new Arena()) {
            var struct = options.toNative(arena);
            var in = arena.view(dy);
            var out = arena.writable("dx", dx);
            arena.call(this, adapter -> Capi.speft_linear_backward(adapter, parameter, struct, in, out));
        }
    }

    /**
     * A batch whose rows are served by different adapters over one base: y[t] = x[t] (W+Δ)ᵀ for each row t, with the Δ
     * of the one of {@code served} that {@code choice[t]} names. Each adapter is as for {@link #linearForward(int,
     * Tensor, Tensor)}, and bound to the same W. The products with W and with Δ are rounded to y's type one by one.
     *
     * @param served all of one context
     * @param x [tokens, in]; float32, bfloat16 or float16
     * @param choice of each row, an index into {@code served}; -1 for W alone
     * @param y [tokens, out], written, so that it overlaps no other memory; float32, bfloat16 or float16
     * @throws InvalidArgumentException as of {@link #linearForward(int, Tensor, Tensor)}; no adapter; a choice that is
     *     not there; adapters of several contexts or, named, of another weight
     * @throws InvalidStateException as of {@link #linearForward(int, Tensor, Tensor)}
     */
    public static void linearForwardEach(List<Served> served, Tensor x, long[] choice, Tensor y) {
        linearForwardEach(served, new LinearOptions(), x, choice, y);
    }

    /**
     * The same of a weight that lies in another way, of Δ alone (no W is needed then), or added to what y holds.
     *
     * @param served all of one context
     * @param options layout and more
     * @param x [tokens, in]
     * @param choice of each row, an index into {@code served}; -1 for W alone
     * @param y [tokens, out], written
     */
    public static void linearForwardEach(List<Served> served, LinearOptions options, Tensor x, long[] choice,
            Tensor y) {
        Tensor.requireNonNull("served", served);
        Tensor.requireNonNull("options", options);
        Tensor.requireNonNull("choice", choice);
        try (Arena arena = new Arena()) {
            List<Served> all = List.copyOf(served);
            long positions = arena.longs(all.stream().mapToLong(Served::parameter).toArray());
            var chosen = arena.view(Tensor.ofAddress(DType.INT64, arena.longs(choice), choice.length));
            var struct = options.toNative(arena);
            var in = arena.view(x);
            var out = arena.writable("y", y);
            callEach(arena, all, new long[all.size()], 0, adapters -> Capi.speft_linear_forward_each(
                    arena.longs(adapters), positions, adapters.length, struct, in, chosen, out));
        }
    }

    /** Makes one call on all adapters from {@code at} on, at whose end all handles are still there. */
    private static long callEach(Arena arena, List<Served> served, long[] handles, int at,
            ToLongFunction<long[]> function) {
        if (at == served.size()) return function.applyAsLong(handles);
        return arena.call(served.get(at).adapter(), adapter -> {
            handles[at] = adapter;
            return callEach(arena, served, handles, at + 1, function);
        });
    }

    // ---- files ----

    /**
     * Writes masks, deltas, names, options and the base's hash to a safetensors file; no optimizer state. It is written
     * to a temporary name and renamed: a crash leaves the old file or the new one.
     *
     * @param path of the file
     * @throws InvalidStateException before {@link #select}
     * @throws IOFailureException it cannot be written; the old file is untouched
     */
    public void save(Path path) {
        save(path, Format.EXACT, null);
    }

    /**
     * The same with a format and a progress.
     *
     * @param path of the file
     * @param format how exactly deltas are kept
     * @param progress counts bytes; may be null
     * @throws CancelledException by the progress; the old file is untouched
     */
    public void save(Path path, Format format, Progress progress) {
        write(Capi::speft_save_adapter, path, null, format, progress);
    }

    /**
     * The same to a stream, which is neither flushed nor closed. What it has taken when the call fails is the caller's
     * to discard.
     *
     * @param stream gets the file's bytes in order
     * @param format how exactly deltas are kept
     * @param progress counts bytes; may be null
     * @throws IOException of the stream, as it is
     */
    public void save(OutputStream stream, Format format, Progress progress) throws IOException {
        Tensor.requireNonNull("stream", stream);
        write(Capi::speft_save_adapter, null, stream, format, progress);
    }

    /**
     * The same in memory.
     *
     * @param format how exactly deltas are kept
     * @return the file's content
     */
    public byte[] toBytes(Format format) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        write(Capi::speft_save_adapter, null, content, format, null);
        return content.toByteArray();
    }

    /**
     * As {@link #save(Path)}, with what training needs beside: resuming is as if it had never stopped. That is the
     * original bits, the optimizer's state, and what has been accumulated since the last clear.
     *
     * @param path of the file
     * @throws InvalidStateException before {@link #select}, or while a reselection is due
     */
    public void saveCheckpoint(Path path) {
        saveCheckpoint(path, null);
    }

    /**
     * The same with a progress.
     *
     * @param path of the file
     * @param progress counts bytes; may be null
     */
    public void saveCheckpoint(Path path, Progress progress) {
        write(Capi::speft_save_checkpoint, path, null, Format.EXACT, progress);
    }

    /**
     * The same to a stream, as {@link #save(OutputStream, Format, Progress)}.
     *
     * @param stream gets the file's bytes in order
     * @param progress counts bytes; may be null
     * @throws IOException of the stream, as it is
     */
    public void saveCheckpoint(OutputStream stream, Progress progress) throws IOException {
        Tensor.requireNonNull("stream", stream);
        write(Capi::speft_save_checkpoint, null, stream, Format.EXACT, progress);
    }

    // ---- its end ----

    /**
     * Lets go of the adapter and of the weights, which stay as they are, merged or not. A call that runs ends first.
     * Twice is fine.
     */
    @Override
    public void close() {
        loan.end();
        handle.close();
    }

    @Override
    public String toString() {
        if (handle.isClosed()) return "Adapter(closed)";
        AdapterState state = state();
        return "Adapter(" + parameters.size() + " parameters, " + state.selection() + ", " + state.selectedScalars()
                + " of " + state.targetedScalars() + " scalars selected, " + state.steps() + " steps)";
    }

    // ---- inside ----

    @Override
    Handle handle() {
        return handle;
    }

    private interface Call {
        long apply(long adapter, speft_tensor view);
    }

    private interface Lending {
        long apply(long adapter, long parameter, speft_tensor view);
    }

    private interface Reading {
        long apply(long context, speft_load_options options, long path);
    }

    private interface Saving {
        long apply(long adapter, speft_save_options options, long path);
    }

    /** Closed, but a lent buffer still needs it: at least the weights are free for others. */
    private static void unbind(long adapter, Object[] bound) {
        try {
            for (int position = 0; position < bound.length; ++position) {
                Capi.speft_bind_weights(adapter, position, null);
                bound[position] = null;
            }
        } catch (BusyException another) {
            // Another adapter's call runs in this context: the rest is freed with the last buffer.
        }
    }

    private static Adapter read(Reading function, Context context, Path path, ByteBuffer content, Progress progress,
            ScoreFunction score) {
        Tensor.requireNonNull("context", context);
        try (Arena arena = new Arena()) {
            Callbacks.Scoring scoring = score == null ? null : new Callbacks.Scoring(score, List.of());
            speft_load_options options = arena.own(new speft_load_options());
            options.setProgress(arena.progress(progress));
            if (content != null) {
                ByteBuffer bytes = arena.content(content);
                options.setBytes(Capi.address_of(bytes) + bytes.position());
                options.setSize(bytes.remaining());
            }
            long file = content == null ? arena.string("path", nameOf(path)) : 0;
            return make(context, scoring, reference -> {
                options.setScore(arena.score(reference));
                return arena.call(context, address -> function.apply(address, options, file));
            });
        }
    }

    private interface Making {
        long apply(long reference);
    }

    /** Makes a native adapter, with a reference to its score function that is deleted with it. */
    private static Adapter make(Context context, Callbacks.Scoring scoring, Making making) {
        long reference = scoring == null ? 0 : Capi.keep_reference(scoring);
        long made = 0;
        try {
            made = making.apply(reference);
        } finally {
            if (made == 0 && reference != 0) Capi.delete_reference(reference);
        }
        return new Adapter(context, made, scoring, reference);
    }

    private void write(Saving function, Path path, OutputStream stream, Format format, Progress progress) {
        Tensor.requireNonNull("format", format);
        try (Arena arena = new Arena()) {
            speft_save_options options = arena.own(new speft_save_options());
            options.setFormat(format.code);
            options.setProgress(arena.progress(progress));
            if (stream != null) options.setWriter(arena.writer(stream));
            long file = stream == null ? arena.string("path", nameOf(path)) : 0;
            arena.call(this, adapter -> function.apply(adapter, options, file));
        }
    }

    private static String nameOf(Path path) {
        Tensor.requireNonNull("path", path);
        if (path.getFileSystem() == FileSystems.getDefault()) return path.toString();
        throw new InvalidArgumentException("path must be of the default file system, got one of " + path.getFileSystem()
                + ": use a stream, or the content");
    }

    private Parameter readParameter(int position) {
        try (Arena arena = new Arena()) {
            speft_parameter info = arena.own(new speft_parameter());
            arena.call(this, adapter -> Capi.speft_get_parameter(adapter, position, info));
            return Parameter.of(info);
        }
    }

    private void bind(Arena arena, int parameter, speft_weights struct, Object memory) {
        arena.call(this, adapter -> Capi.speft_bind_weights(adapter, parameter, struct));
        bound[parameter] = memory;
    }

    private void give(Tensor tensor, String noun, Call call) {
        Tensor.requireNonNull(noun, tensor);
        try (Arena arena = new Arena()) {
            speft_tensor view = arena.view(tensor);
            arena.call(this, adapter -> call.apply(adapter, view));
        }
    }

    private long[] indices(long count, Call call) {
        try (Arena arena = new Arena()) {
            long address = arena.memory(8 * count);
            speft_tensor view = arena.view(Tensor.ofAddress(DType.INT64, address, count));
            arena.call(this, adapter -> call.apply(adapter, view));
            return Memory.longs(address, Math.toIntExact(count));
        }
    }

    private long[] moved(int parameter, int which) {
        try (Arena arena = new Arena()) {
            long count = arena.call(this, adapter -> Capi.speft_get_moved(adapter, parameter, which, null));
            return indices(count, (adapter, view) -> Capi.speft_get_moved(adapter, parameter, which, view));
        }
    }

    private Tensor lend(int parameter, String noun, boolean readOnly, Lending lending) {
        try (Arena arena = new Arena()) {
            Loan current = loan;
            speft_tensor view = arena.own(new speft_tensor());
            Tensor[] lent = new Tensor[1];
            arena.call(this, adapter -> {
                lending.apply(adapter, parameter, view);
                lent[0] = Tensor.lent(view, noun, readOnly, current, handle);
                return 0;
            });
            return lent[0];
        }
    }

    private float[] copied(Supplier<Tensor> lending) {
        float[][] values = new float[1][];
        withMasks(() -> values[0] = lending.get().toFloats());
        return values[0];
    }

    private void withMasks(Runnable action) {
        if (!masks.tryLock()) {
            throw new BusyException("the masks move, or are being read, in another thread", "", 0);
        }
        try {
            action.run();
        } finally {
            masks.unlock();
        }
    }

    private double roundingLoss(int parameter) {
        try (Arena arena = new Arena()) {
            double[] share = new double[1];
            arena.call(this, adapter -> Capi.speft_measure_rounding_loss(adapter, parameter, share));
            return share[0];
        }
    }

    private Requantization requantization(int parameter) {
        try (Arena arena = new Arena()) {
            speft_requantization done = arena.own(new speft_requantization());
            arena.call(this, adapter -> Capi.speft_get_requantization(adapter, parameter, done));
            return new Requantization(done.getDeltas(), done.getChanged(), done.getRelative_error());
        }
    }

    private void clear(int parameter) {
        try (Arena arena = new Arena()) {
            arena.call(this, adapter -> Capi.speft_clear_gradient(adapter, parameter));
        }
    }

    private String weightsOf(int parameter) {
        requirePosition(parameter);
        return "the weights of '" + parameters.get(parameter).name() + "'";
    }

    private void requirePosition(int parameter) {
        if (parameter < 0 || parameter >= parameters.size()) {
            throw new InvalidArgumentException("parameter must be in [0, " + parameters.size() + "), got " + parameter);
        }
    }

    /** Chooses what an adapter is of, and how. */
    public static final class Builder {
        private final Context context;
        private final List<Parameter> parameters = new ArrayList<>();
        private final AdapterOptions options = new AdapterOptions();

        private Builder(Context context) {
            this.context = context;
        }

        /**
         * Adds a parameter of which a mask is trained.
         *
         * @param name unique within the adapter, not empty
         * @param dtype float32, bfloat16 or float16
         * @param shape of the whole parameter
         * @return this
         */
        public Builder sparse(String name, DType dtype, long... shape) {
            return parameter(Parameter.sparse(name, dtype, shape));
        }

        /**
         * Adds a parameter of which all is trained, as a new head is.
         *
         * @param name unique within the adapter, not empty
         * @param dtype float32, bfloat16 or float16
         * @param shape of the whole parameter
         * @return this
         */
        public Builder dense(String name, DType dtype, long... shape) {
            return parameter(Parameter.dense(name, dtype, shape));
        }

        /**
         * Adds a parameter.
         *
         * @param parameter its position is the number of those before it
         * @return this
         */
        public Builder parameter(Parameter parameter) {
            Tensor.requireNonNull("parameter", parameter);
            parameters.add(parameter);
            return this;
        }

        /**
         * Adds parameters.
         *
         * @param more in the order of their positions
         * @return this
         */
        public Builder parameters(List<Parameter> more) {
            more.forEach(this::parameter);
            return this;
        }

        /**
         * How scalars are chosen.
         *
         * @param method {@link Selection#GRADIENT} unless it is given
         * @return this
         */
        public Builder selection(Selection method) {
            Tensor.requireNonNull("selection", method);
            options.selection = method;
            return this;
        }

        /**
         * Over what they are ranked.
         *
         * @param over {@link Scope#GLOBAL} unless it is given
         * @return this
         */
        public Builder scope(Scope over) {
            Tensor.requireNonNull("scope", over);
            options.scope = over;
            return this;
        }

        /**
         * The share of the sparse parameters' scalars to select. Exactly one of density, budget and rank is given, but
         * for {@link Selection#MASK}, which needs none.
         *
         * @param share in (0, 1]
         * @return this
         */
        public Builder density(double share) {
            requireGiven("density", share, "in (0, 1]");
            options.density = share;
            return this;
        }

        /**
         * Their number instead: of all, of each parameter, or of each row, as the scope says.
         *
         * @param count at least 1
         * @return this
         */
        public Builder budget(long count) {
            requireGiven("budget", count, "at least 1");
            options.budget = count;
            return this;
        }

        /**
         * As many as low-rank factors of this rank would have: rank·(rows + columns) a parameter.
         *
         * @param number at least 1
         * @return this
         */
        public Builder rank(long number) {
            requireGiven("rank", number, "at least 1");
            options.rank = number;
            return this;
        }

        /**
         * Of how many scalars the density is a share, frozen ones included.
         *
         * @param count at least 1; the sparse parameters' unless it is given
         * @return this
         */
        public Builder modelScalars(long count) {
            requireGiven("modelScalars", count, "at least 1");
            options.modelScalars = count;
            return this;
        }

        /**
         * How random masks are drawn.
         *
         * @param draw {@link RandomDraw#EXACT} unless it is given
         * @return this
         */
        public Builder random(RandomDraw draw) {
            Tensor.requireNonNull("random", draw);
            options.random = draw;
            return this;
        }

        /**
         * The seed of random masks, which are a function of it and of the parameters' names.
         *
         * @param number 64 bits; 0 unless it is given
         * @return this
         */
        public Builder seed(long number) {
            options.seed = number;
            return this;
        }

        /**
         * The rank of {@link Selection#LOW_RANK}.
         *
         * @param number at least 1; 128 unless it is given
         * @return this
         */
        public Builder approximationRank(long number) {
            requireGiven("approximationRank", number, "at least 1");
            options.approximationRank = number;
            return this;
        }

        /**
         * What mean of gradients counts.
         *
         * @param of {@link Mean#SIGNED} unless it is given
         * @return this
         */
        public Builder mean(Mean of) {
            Tensor.requireNonNull("mean", of);
            options.mean = of;
            return this;
        }

        /**
         * Where each step selects, with {@link Selection#SPARSEGRAD} and {@link Selection#MEPROP}: of its k largest |g|
         * only those of at least this size. The gradient is as accumulated, before any clipping.
         *
         * @param size above 0; k are selected unless it is given
         * @return this
         */
        public Builder threshold(double size) {
            requireGiven("threshold", size, "above 0");
            options.threshold = size;
            return this;
        }

        /**
         * The scores of {@link Selection#SCORE_FUNCTION}.
         *
         * @param function called while the masks are chosen
         * @return this
         */
        public Builder score(ScoreFunction function) {
            Tensor.requireNonNull("score", function);
            options.score = function;
            return this;
        }

        /**
         * How the selected scalars move.
         *
         * @param kind {@link Optimizer#ADAMW} unless it is given; {@link Optimizer#SM3} with {@link Selection#SPIEL_MA}
         * @return this
         */
        public Builder optimizer(Optimizer kind) {
            Tensor.requireNonNull("optimizer", kind);
            options.optimizer = kind;
            return this;
        }

        /**
         * How updates are counted.
         *
         * @param counted {@link Age#COMMON} unless it is given
         * @return this
         */
        public Builder age(Age counted) {
            Tensor.requireNonNull("age", counted);
            options.age = counted;
            return this;
        }

        /**
         * How moments and velocities are kept.
         *
         * @param type {@link StateType#FLOAT32} unless it is given
         * @return this
         */
        public Builder state(StateType type) {
            Tensor.requireNonNull("state", type);
            options.state = type;
            return this;
        }

        /**
         * How deltas are kept.
         *
         * @param type {@link DeltaType#FLOAT32} unless it is given
         * @return this
         */
        public Builder deltaType(DeltaType type) {
            Tensor.requireNonNull("deltaType", type);
            options.deltaType = type;
            return this;
        }

        /**
         * T: at and after it nothing moves, and towards it the rate falls.
         *
         * @param count at least 1; not known unless it is given, and the rate stays
         * @return this
         */
        public Builder totalSteps(long count) {
            requireGiven("totalSteps", count, "at least 1");
            options.moving = true;
            options.totalSteps = count;
            return this;
        }

        /**
         * S: SpIEL reselects after step {@code window} and after every S steps from there on. With any other method but
         * given masks and scores and {@link Selection#WEIGHT_CHANGE}, the masks are dynamic: after every S steps the
         * host observes again, where the method needs it, and calls {@link Adapter#reselect}; scalars that leave stay
         * as trained. {@link Selection#SPARSEGRAD} and {@link Selection#MEPROP} select at each step, and have no S.
         *
         * @param steps at least 1; 20 or T for SpIEL, never for others, unless it is given
         * @return this
         */
        public Builder reselectEvery(long steps) {
            requireGiven("reselectEvery", steps, "at least 1");
            options.moving = true;
            options.reselectEvery = steps;
            return this;
        }

        /**
         * γ: the steps before a reselection over which {@link Selection#SPIEL_AG} averages gradients.
         *
         * @param steps in [1, S]; 5 unless it is given
         * @return this
         */
        public Builder window(long steps) {
            requireGiven("window", steps, "at least 1");
            options.moving = true;
            options.window = steps;
            return this;
        }

        /**
         * ξ, of SpIEL: the share of the selected scalars that a reselection replaces. The first one replaces all.
         *
         * @param share in (0, 1]; 0.2 unless it is given
         * @return this
         */
        public Builder rate(double share) {
            requireGiven("rate", share, "in (0, 1]");
            options.moving = true;
            options.rate = share;
            return this;
        }

        /**
         * How SpIEL's rate falls; and whether {@link Selection#SPARSEGRAD} and {@link Selection#MEPROP} select at each
         * step ({@link RateSchedule#DEFAULT}) or once ({@link RateSchedule#NONE}).
         *
         * @param curve {@link RateSchedule#DEFAULT} unless it is given
         * @return this
         */
        public Builder schedule(RateSchedule curve) {
            Tensor.requireNonNull("schedule", curve);
            options.moving = true;
            options.schedule = curve;
            return this;
        }

        /**
         * K: how many scalars {@link Selection#SPIEL_AG} follows in a window, of all parameters together.
         *
         * @param count at least k; k unless it is given
         * @return this
         */
        public Builder candidates(long count) {
            requireGiven("candidates", count, "at least 1");
            options.moving = true;
            options.candidates = count;
            return this;
        }

        /**
         * Which scalars SpIEL drops.
         *
         * @param those {@link Drop#MAGNITUDE} unless it is given
         * @return this
         */
        public Builder drop(Drop those) {
            Tensor.requireNonNull("drop", those);
            options.moving = true;
            options.drop = those;
            return this;
        }

        /**
         * Whether scalars that stay selected in dynamic masks keep their moments. SpIEL's do.
         *
         * @param keep false unless it is given
         * @return this
         */
        public Builder keepMoments(boolean keep) {
            options.moving = true;
            options.keepMoments = keep;
            return this;
        }

        /**
         * The most settled scalars: of more, those that changed least regain their original bits. With {@link
         * Selection#SPARSEGRAD} and {@link Selection#MEPROP} the most of the mask beside those of the step.
         *
         * @param count at least 1; any number unless it is given
         * @return this
         */
        public Builder settledLimit(long count) {
            requireGiven("settledLimit", count, "at least 1");
            options.moving = true;
            options.settledLimit = count;
            return this;
        }

        /**
         * Whether {@link Adapter#dropped} and {@link Adapter#grown} tell what the last reselection moved: 4 bytes a
         * scalar.
         *
         * @param track false unless it is given
         * @return this
         */
        public Builder trackMoves(boolean track) {
            options.moving = true;
            options.trackMoves = track;
            return this;
        }

        /**
         * The processes that train the adapter together. A size above 1 is {@link UnsupportedException} in this
         * version.
         *
         * @param rank of this process, in [0, size)
         * @param size how many there are
         * @return this
         */
        public Builder communicator(int rank, int size) {
            if (size < 1) throw new InvalidArgumentException("communicator must have at least 1 process, got " + size);
            options.processRank = rank;
            options.processes = size;
            return this;
        }

        /**
         * Makes the adapter.
         *
         * @return to be closed
         * @throws InvalidArgumentException the message names the parameter or the option
         * @throws UnsupportedException the message names what this version does not have
         */
        public Adapter open() {
            try (Arena arena = new Arena()) {
                Callbacks.Scoring scoring = scoring();
                long pointers = pointers(arena);
                return make(context, scoring, reference -> {
                    speft_adapter_options struct = options.toNative(arena, reference);
                    return arena.call(context, address ->
                            Capi.speft_create_adapter(address, struct, pointers, parameters.size()));
                });
            }
        }

        /**
         * What such an adapter would need; nothing is allocated for it. Given masks have no size yet: plan for {@link
         * Selection#RANDOM} ones of the same budget.
         *
         * @param tokens of one gradient from activations, at most; 0 for any number
         * @return bytes
         */
        public MemoryPlan planMemory(long tokens) {
            return planMemory(tokens, List.of());
        }

        /**
         * The same for {@link Selection#SPARSEGRAD}, which needs a basis for each of its sparse parameters.
         *
         * @param tokens of one gradient from activations, at most; 0 for any number
         * @param bases each once, however many parameters share it
         * @return bytes
         * @throws InvalidArgumentException a parameter without a basis or with two, or one of another shape
         */
        public MemoryPlan planMemory(long tokens, List<PlannedBasis> bases) {
            Tensor.requireNonNull("bases", bases);
            try (Arena arena = new Arena()) {
                speft_memory_plan plan = arena.own(new speft_memory_plan());
                plan.setTokens(tokens);
                plan.setBases(pointers(arena, bases));
                Callbacks.Scoring scoring = scoring();
                long reference = scoring == null ? 0 : arena.reference(scoring);
                speft_adapter_options struct = options.toNative(arena, reference);
                long pointers = pointers(arena);
                arena.call(context, address ->
                        Capi.speft_plan_memory(address, struct, pointers, parameters.size(), plan));
                return new MemoryPlan(plan.getObservation(), plan.getAnnounced_observation(), plan.getSelection(),
                        plan.getTraining(), plan.getReselection(), plan.getFitting(), plan.getProducts(),
                        plan.getMerging());
            }
        }

        /** For each parameter the basis that it is in; the address of nothing where there are none. */
        private long pointers(Arena arena, List<PlannedBasis> bases) {
            if (bases.isEmpty()) return 0;
            long[] addresses = new long[parameters.size()];
            for (PlannedBasis basis : bases) {
                long address = speft_basis_options.getCPtr(basis.options().toNative(arena));
                for (int position : basis.parameters()) {
                    if (position < 0 || position >= addresses.length)
                        throw new InvalidArgumentException("bases: there is no parameter " + position);
                    if (addresses[position] != 0)
                        throw new InvalidArgumentException("bases: parameter " + position + " has two");
                    addresses[position] = address;
                }
            }
            return arena.longs(addresses);
        }

        private Callbacks.Scoring scoring() {
            return options.score == null ? null : new Callbacks.Scoring(options.score, List.copyOf(parameters));
        }

        private long pointers(Arena arena) {
            if (parameters.isEmpty()) throw new InvalidArgumentException("parameters must not be empty");
            return arena.longs(parameters.stream().map(parameter -> parameter.toNative(arena))
                    .mapToLong(speft_parameter::getCPtr).toArray());
        }

        /** C says "not given" by 0, so that a 0 that was given is refused here. */
        private static void requireGiven(String noun, double value, String expected) {
            if (value == 0) throw new InvalidArgumentException(noun + " must be " + expected + ", got 0");
        }
    }
}
