package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Plays a life that another language has recorded, command by command; tests/parity/README.md has the commands. */
final class ParityCase implements AutoCloseable {
    private static final String[] BINDING = {"kind", "block", "absmax_block"};
    private static final String[] ONCE = {"codes", "absmax"};
    private static final String[] TWICE = {"codes", "absmax", "absmax_absmax", "absmax_offset"};
    private static final List<String> ACTIVATIONS = List.of("tokens", "scale", "layout", "x", "dy");

    private final Path folder;
    private final List<Parameter> parameters = new ArrayList<>();
    private final Map<Integer, Tensor> weights = new HashMap<>();
    private final Map<Integer, Quantized> codes = new HashMap<>();
    private final Map<Integer, Basis> bases = new HashMap<>();
    private Context context;
    private Adapter.Builder builder;
    private Adapter adapter;

    ParityCase(Path folder) {
        this.folder = folder;
    }

    void play() throws IOException {
        for (String line : Files.readAllLines(folder.resolve("case.txt"))) {
            try {
                play(line.split(" ", -1));
            } catch (RuntimeException | AssertionError failure) {
                throw new AssertionError(folder.getFileName() + ": " + line, failure);
            }
        }
    }

    private void play(String[] words) throws IOException {
        switch (words[0]) {
            case "context" -> {
                Map<String, String> keys = keys(words, 1, "threads");
                context = Context.builder().threads(Integer.parseInt(keys.get("threads"))).open();
            }
            case "parameter" -> parameters.add(parameter(keys(words, 1, "name", "role", "dtype", "shape")));
            case "selection" -> select(keys(words, 1, "method", "scope", "random", "density", "budget", "rank", "seed",
                    "model_scalars", "approximation_rank", "mean", "threshold"));
            case "schedule" -> schedule(keys(words, 1, "schedule", "total_steps", "reselect_every", "window", "rate",
                    "candidates", "drop", "keep_moments", "settled_limit", "track_moves"));
            case "optimizer" -> optimize(keys(words, 1, "kind", "age", "state", "delta_type"));
            case "create" -> adapter = plain(words, 1, builder.parameters(parameters)).open();
            case "bind" -> {
                int position = position(plain(words, 3, words));
                Parameter parameter = parameters.get(position);
                weights.put(position, read(words[2], parameter.dtype(), parameter.shape()));
                adapter.bindWeights(position, weights.get(position));
            }
            case "bind-quantized" -> bindQuantized(position(words), words);
            case "mask" -> adapter.setMask(position(plain(words, 3, words)), vector(words[2], DType.INT64));
            case "scores" -> adapter.setScores(position(plain(words, 3, words)),
                    read(words[2], DType.FLOAT32, parameters.get(position(words)).shape()));
            case "reference" -> adapter.setReference(position(plain(words, 3, words)),
                    read(words[2], parameters.get(position(words)).dtype(), parameters.get(position(words)).shape()));
            case "basis" -> {
                Map<String, String> keys = keys(words, 2, "row_directions", "column_directions");
                long[] shape = parameters.get(position(words)).shape();
                bases.put(position(words), new Basis(context, new BasisOptions(shape[0], shape[1],
                        Long.parseLong(keys.get("row_directions")), Long.parseLong(keys.get("column_directions")))));
            }
            case "observe-basis" -> bases.get(position(words)).observe(gradient(words));
            case "fit-basis" -> bases.get(position(plain(words, 2, words))).fit();
            case "bind-basis" -> adapter.bindBasis(position(plain(words, 2, words)), bases.get(position(words)));
            case "begin" -> adapter.beginObservation(Double.parseDouble(plain(words, 2, words)[1]));
            case "observe" -> adapter.observe(position(words), gradient(words));
            case "finish" -> adapter.finishObservation(Double.parseDouble(plain(words, 2, words)[1]));
            case "select" -> plain(words, 1, adapter).select();
            case "accumulate" -> adapter.accumulate(position(words), gradient(words));
            case "clip" -> adapter.clipGradient(Double.parseDouble(plain(words, 2, words)[1]));
            case "step" -> step(keys(words, 1, "lr", "beta1", "beta2", "eps", "weight_decay", "decay", "momentum"));
            case "reselect" -> plain(words, 1, adapter).reselect();
            case "unmerge" -> plain(words, 1, adapter).unmerge();
            case "attach" -> plain(words, 1, adapter).attach();
            case "merge" -> plain(words, 1, adapter).merge();
            case "reload" -> {
                adapter.unmerge();
                byte[] content = adapter.toBytes(choose(Format.class, plain(words, 2, words)[1]));
                adapter.close();
                resume(Adapter.load(context, ByteBuffer.wrap(content), null));
            }
            case "checkpoint" -> {
                Path file = Files.createTempFile("parity", ".safetensors");
                plain(words, 1, adapter).saveCheckpoint(file);
                adapter.close();
                resume(Adapter.loadCheckpoint(context, file));
                Files.delete(file);
            }
            case "expect-mask" -> assertArrayEquals(longs(plain(words, 3, words)[2]), adapter.mask(position(words)));
            case "expect-moved" -> {
                int position = position(plain(words, 4, words));
                long[] moved = switch (words[2]) {
                    case "dropped" -> adapter.dropped(position);
                    case "grown" -> adapter.grown(position);
                    default -> throw new AssertionError("unknown: " + words[2]);
                };
                assertArrayEquals(longs(words[3]), moved);
            }
            case "expect-deltas" -> assertBytes(plain(words, 3, words)[2], adapter.lendDeltas(position(words)));
            case "expect-weights" -> assertBytes(plain(words, 3, words)[2], weights.get(position(words)));
            case "expect-quantized" -> {
                Quantized weights = codes.get(position(words));
                boolean twice = weights.absmaxAbsmax() != null;
                Map<String, String> keys = keys(words, 2, twice ? TWICE : ONCE);
                assertBytes(keys.get("codes"), weights.codes());
                assertBytes(keys.get("absmax"), weights.absmax());
                if (twice) {
                    assertBytes(keys.get("absmax_absmax"), weights.absmaxAbsmax());
                    assertBytes(keys.get("absmax_offset"), weights.absmaxOffset());
                }
            }
            case "expect-requantization" -> {
                Map<String, String> keys = keys(words, 2, "deltas", "changed", "relative_error");
                assertEquals(new Requantization(Long.parseLong(keys.get("deltas")),
                        Long.parseLong(keys.get("changed")), Double.parseDouble(keys.get("relative_error"))),
                        adapter.measureRequantization(position(words)));
            }
            case "expect-gradient" -> assertBytes(plain(words, 3, words)[2], adapter.lendGradient(position(words)));
            case "expect-basis" -> {
                Map<String, String> keys = keys(words, 2, "u", "v");
                assertArrayEquals(vector(keys.get("u"), DType.FLOAT32).toFloats(), bases.get(position(words)).u());
                assertArrayEquals(vector(keys.get("v"), DType.FLOAT32).toFloats(), bases.get(position(words)).v());
            }
            case "expect-linear" -> expectLinear(parameters.get(position(words)), position(words),
                    keys(words, 2, "tokens", "x", "y"));
            default -> throw new AssertionError("unknown command: " + words[0]);
        }
    }

    private void bindQuantized(int position, String[] words) throws IOException {
        boolean twice = words.length > 2 + BINDING.length + ONCE.length;
        List<String> expected = new ArrayList<>(List.of(BINDING));
        expected.addAll(List.of(twice ? TWICE : ONCE));
        Map<String, String> keys = keys(words, 2, expected.toArray(String[]::new));
        Quantized.Kind kind = choose(Quantized.Kind.class, keys.get("kind"));
        boolean whole = kind == Quantized.Kind.INT8;
        Tensor values = whole ? read(keys.get("codes"), DType.INT8, parameters.get(position).shape())
                : vector(keys.get("codes"), DType.UINT8);
        codes.put(position, new Quantized(kind, values, vector(keys.get("absmax"), twice ? DType.UINT8 : DType.FLOAT32),
                Integer.parseInt(keys.get("block")), null,
                twice ? vector(keys.get("absmax_absmax"), DType.FLOAT32) : null, null,
                Integer.parseInt(keys.get("absmax_block")),
                twice ? vector(keys.get("absmax_offset"), DType.FLOAT32) : null));
        adapter.bindWeights(position, codes.get(position));
    }

    private void resume(Adapter loaded) {
        adapter = loaded;
        weights.forEach(adapter::bindWeights);
        codes.forEach(adapter::bindWeights);
        adapter.merge();
    }

    private void expectLinear(Parameter parameter, int position, Map<String, String> keys) throws IOException {
        long tokens = Long.parseLong(keys.get("tokens"));
        long[] shape = parameter.shape();
        Tensor x = read(keys.get("x"), parameter.dtype(), tokens, shape[1]);
        int bytes = Math.toIntExact(tokens * shape[0]) * parameter.dtype().bytes();
        Tensor y = Tensor.of(parameter.dtype(), ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder()), tokens,
                shape[0]);
        adapter.linearForward(position, new LinearOptions(), x, y);
        assertBytes(keys.get("y"), y);
    }

    private static Parameter parameter(Map<String, String> keys) {
        long[] shape = Arrays.stream(keys.get("shape").split(",")).mapToLong(Long::parseLong).toArray();
        DType dtype = choose(DType.class, keys.get("dtype"));
        return switch (choose(Role.class, keys.get("role"))) {
            case SPARSE -> Parameter.sparse(keys.get("name"), dtype, shape);
            case DENSE -> Parameter.dense(keys.get("name"), dtype, shape);
        };
    }

    private void select(Map<String, String> keys) {
        builder = Adapter.builder(context).selection(choose(Selection.class, keys.get("method")))
                .scope(choose(Scope.class, keys.get("scope"))).random(choose(RandomDraw.class, keys.get("random")))
                .seed(Long.parseUnsignedLong(keys.get("seed"))).mean(choose(Mean.class, keys.get("mean")));
        if (given(keys, "density")) builder.density(Double.parseDouble(keys.get("density")));
        if (given(keys, "threshold")) builder.threshold(Double.parseDouble(keys.get("threshold")));
        if (given(keys, "budget")) builder.budget(Long.parseLong(keys.get("budget")));
        if (given(keys, "rank")) builder.rank(Long.parseLong(keys.get("rank")));
        if (given(keys, "model_scalars")) builder.modelScalars(Long.parseLong(keys.get("model_scalars")));
        if (given(keys, "approximation_rank")) {
            builder.approximationRank(Long.parseLong(keys.get("approximation_rank")));
        }
    }

    private void schedule(Map<String, String> keys) {
        builder.schedule(choose(RateSchedule.class, keys.get("schedule"))).drop(choose(Drop.class, keys.get("drop")))
                .keepMoments(given(keys, "keep_moments")).trackMoves(given(keys, "track_moves"));
        if (given(keys, "total_steps")) builder.totalSteps(Long.parseLong(keys.get("total_steps")));
        if (given(keys, "reselect_every")) builder.reselectEvery(Long.parseLong(keys.get("reselect_every")));
        if (given(keys, "window")) builder.window(Long.parseLong(keys.get("window")));
        if (given(keys, "rate")) builder.rate(Double.parseDouble(keys.get("rate")));
        if (given(keys, "candidates")) builder.candidates(Long.parseLong(keys.get("candidates")));
        if (given(keys, "settled_limit")) builder.settledLimit(Long.parseLong(keys.get("settled_limit")));
    }

    private void optimize(Map<String, String> keys) {
        builder.optimizer(choose(Optimizer.class, keys.get("kind"))).age(choose(Age.class, keys.get("age")))
                .state(choose(StateType.class, keys.get("state")))
                .deltaType(choose(DeltaType.class, keys.get("delta_type")));
    }

    private void step(Map<String, String> keys) {
        adapter.step(new Hyperparameters(Double.parseDouble(keys.get("lr")), Double.parseDouble(keys.get("beta1")),
                Double.parseDouble(keys.get("beta2")), Double.parseDouble(keys.get("eps")),
                Double.parseDouble(keys.get("weight_decay")), choose(Decay.class, keys.get("decay")),
                Double.parseDouble(keys.get("momentum"))));
    }

    private Gradient gradient(String[] words) throws IOException {
        Parameter parameter = parameters.get(position(words));
        long[] shape = parameter.shape();
        switch (words[2]) {
            case "dense":
                return Gradient.dense(read(plain(words, 4, words)[3], parameter.dtype(), shape));
            case "values":
                return Gradient.values(vector(plain(words, 4, words)[3], DType.FLOAT32));
            case "activations":
                break;
            default:
                throw new AssertionError("unknown: " + words[2]);
        }
        boolean examples = words.length == 3 + ACTIVATIONS.size() + 1;
        List<String> expected = new ArrayList<>(ACTIVATIONS);
        if (examples) expected.add("example_offsets");
        Map<String, String> keys = keys(words, 3, expected.toArray(String[]::new));
        Layout layout = choose(Layout.class, keys.get("layout"));
        int rows = layout == Layout.OUT_IN ? 0 : 1;
        long tokens = Long.parseLong(keys.get("tokens"));
        Gradient gradient = Gradient.activations(read(keys.get("x"), parameter.dtype(), tokens, shape[1 - rows]),
                read(keys.get("dy"), parameter.dtype(), tokens, shape[rows])).layout(layout)
                .scale(Double.parseDouble(keys.get("scale")));
        return examples ? gradient.exampleOffsets(longs(keys.get("example_offsets"))) : gradient;
    }

    // ---- words ----

    private static boolean given(Map<String, String> keys, String key) {
        return Double.parseDouble(keys.get(key)) != 0;
    }

    /** `result`, when there are just so many words. */
    private static <T> T plain(String[] words, int count, T result) {
        assertEquals(count, words.length, "words");
        return result;
    }

    private static int position(String[] words) {
        return Integer.parseInt(words[1]);
    }

    /** All of these keys, and no other. */
    private static Map<String, String> keys(String[] words, int from, String... expected) {
        Map<String, String> keys = new HashMap<>();
        for (String word : Arrays.asList(words).subList(from, words.length)) {
            String[] pair = word.split("=", 2);
            assertEquals(2, pair.length, word);
            if (!List.of(expected).contains(pair[0])) throw new AssertionError("unknown key: " + pair[0]);
            assertEquals(null, keys.put(pair[0], pair[1]), "twice: " + pair[0]);
        }
        assertEquals(expected.length, keys.size(), "keys");
        return keys;
    }

    /** Names are Python's: those of the enums in lower case, with other dashes. */
    private static <E extends Enum<E>> E choose(Class<E> kind, String name) {
        for (E value : kind.getEnumConstants()) {
            if (value.name().toLowerCase(Locale.ROOT).replace('_', '-').equals(name.replace('_', '-'))) return value;
        }
        throw new AssertionError("unknown " + kind.getSimpleName() + ": " + name);
    }

    // ---- arrays ----

    private Tensor read(String file, DType dtype, long... shape) throws IOException {
        byte[] bytes = Files.readAllBytes(folder.resolve(file));
        ByteBuffer memory = ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder()).put(bytes).flip();
        return Tensor.of(dtype, memory, shape);
    }

    private Tensor vector(String file, DType dtype) throws IOException {
        return read(file, dtype, Files.size(folder.resolve(file)) / dtype.bytes());
    }

    private long[] longs(String file) throws IOException {
        return vector(file, DType.INT64).toLongs();
    }

    private void assertBytes(String file, Tensor tensor) throws IOException {
        byte[] actual = new byte[tensor.dtype().bytes() * (int) tensor.count()];
        tensor.bytes().get(actual);
        assertArrayEquals(Files.readAllBytes(folder.resolve(file)), actual);
    }

    @Override
    public void close() {
        if (adapter != null) adapter.close();
        bases.values().forEach(Basis::close);
        if (context != null) context.close();
    }
}
