package org.speft.examples.sentiment;

import ai.djl.Device;
import ai.djl.Model;
import ai.djl.ModelException;
import ai.djl.engine.Engine;
import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.nn.core.Linear;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import ai.djl.training.initializer.UniformInitializer;
import ai.djl.training.loss.Loss;
import ai.djl.training.loss.SoftmaxCrossEntropyLoss;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A pretrained encoder, traced by PyTorch, with a new linear head: one logit a label.
 *
 * <p>Parameters have the names that the Python demo gives them, "encoder.…" and "head.…", so that its adapters fit here
 * and ours fit there.
 */
final class Classifier implements AutoCloseable {
    static final String HEAD = "head.";

    private final Model model;
    private final Block encoder;
    private final Linear head = Linear.builder().setUnits(Dataset.LABELS).build();
    private final ParameterStore store;
    private final Loss loss = new SoftmaxCrossEntropyLoss();
    private final Map<String, Parameter> parameters = new LinkedHashMap<>();

    /** Loads the encoder and makes a head from the settings' seed. Nothing is trained yet. */
    Classifier(Settings settings) throws IOException {
        configureEngine(settings);
        model = Model.newInstance("model", Device.cpu(), "PyTorch");
        try {
            model.load(Path.of(settings.model()), "model", Map.of("trainParam", "true"));
        } catch (ModelException | EngineException failure) {
            throw new InputException("--model " + settings.model() + ": PyTorch cannot load model.pt ("
                    + failure.getMessage().lines().findFirst().orElse("") + ")");
        }
        encoder = model.getBlock();
        store = new ParameterStore(model.getNDManager(), false);
        encoder.getParameters().forEach(entry -> parameters.put(entry.getValue().getName(), entry.getValue()));

        if (targets().isEmpty()) {
            throw new InputException("--model " + settings.model() + ": model.pt has no parameters encoder.encoder.…,"
                    + " as examples/python/torchscript/trace.py names them");
        }
        long features = array(targets().get(0)).getShape().get(1);
        Engine.getInstance().setRandomSeed(settings.seed());
        for (Parameter parameter : head.getParameters().values()) { // as torch.nn.Linear begins
            parameter.setInitializer(new UniformInitializer((float) (1 / Math.sqrt(features))));
        }
        head.initialize(model.getNDManager(), DataType.FLOAT32, new Shape(1, features));
        head.getParameters().values().forEach(parameter -> parameters.put(HEAD + parameter.getName(), parameter));
        train(Set.of());
    }

    /** Before the first use of the engine: no network, as many threads as asked for, the module as it is written. */
    private static void configureEngine(Settings settings) {
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("ai.djl.pytorch.num_threads", Integer.toString(settings.threads()));
        // What the optimizer makes of a module depends on the lengths of texts that it has seen. Without it the same
        // texts give the same bits in every process.
        System.setProperty("ai.djl.pytorch.graph_optimizer", "false");
    }

    /** The names of the encoder's matrices: attention and feed-forward, but no embedding and not the head. */
    List<String> targets() {
        return parameters.keySet().stream()
                .filter(name -> name.startsWith("encoder.encoder.") && array(name).getShape().dimension() == 2)
                .toList();
    }

    List<String> names() {
        return List.copyOf(parameters.keySet());
    }

    List<String> headNames() {
        return parameters.keySet().stream().filter(name -> name.startsWith(HEAD)).toList();
    }

    /** The weights themselves; the classifier owns them. */
    NDArray array(String name) {
        return parameters.get(name).getArray();
    }

    Parameter parameter(String name) {
        return parameters.get(name);
    }

    /** Asks for the gradients of these parameters and of no others. */
    void train(Collection<String> names) {
        Set<String> trained = new HashSet<>(names);
        parameters.forEach((name, parameter) -> parameter.freeze(!trained.contains(name)));
    }

    /** Adds the gradients of the mean loss over a batch to what the trained parameters have, and returns the loss. */
    float backward(Batches.Batch batch) {
        try (NDManager manager = model.getNDManager().newSubManager();
                GradientCollector collector = Engine.getInstance().newGradientCollector()) {
            NDArray logits = forward(manager, batch);
            NDArray mean = loss.evaluate(new NDList(manager.create(batch.labels())), new NDList(logits));
            collector.backward(mean);
            return mean.getFloat();
        }
    }

    /** The logits of a batch, row after row. */
    float[] predict(Batches.Batch batch) {
        try (NDManager manager = model.getNDManager().newSubManager()) {
            return forward(manager, batch).toFloatArray();
        }
    }

    /**
     * The arrays made on the way end with the manager. Within a gradient collector they can be differentiated.
     *
     * <p>The blocks are always told that they train: a traced module does the same either way, and DJL's guard around
     * inference is one that PyTorch warns of.
     */
    private NDArray forward(NDManager manager, Batches.Batch batch) {
        NDList inputs = new NDList(manager.create(batch.tokens()), manager.create(batch.mask()));
        NDList features = encoder.forward(store, inputs, true);
        return head.forward(store, features, true).singletonOrThrow();
    }

    @Override
    public void close() {
        model.close();
    }
}
