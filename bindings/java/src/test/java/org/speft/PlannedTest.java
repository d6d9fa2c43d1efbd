package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the C API declares and this version does not have: refused by name, and nothing else happens. */
class PlannedTest {
    private Scene scene;
    private Adapter adapter;

    @BeforeEach
    void train() {
        scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(7)).selected();
        adapter = scene.adapter;
    }

    @AfterEach
    void close() {
        scene.step(); // all is as it was
        assertEquals(1, adapter.state().steps());
        scene.close();
    }

    private static void unsupported(String part, Executable call) {
        UnsupportedException failure = assertThrows(UnsupportedException.class, call);
        assertTrue(failure.getMessage().contains(part), failure.getMessage());
        assertEquals(3, failure.status());
    }

    @Test
    void several_processes() {
        unsupported("communicator", () -> Scene.declare(Adapter.builder(scene.context).budget(1).communicator(1, 2))
                .open());
        Scene.declare(Adapter.builder(scene.context).budget(1).communicator(0, 1)).open().close();
    }

    @Test
    void parts_of_parameters() {
        Parameter whole = Parameter.sparse("w", DType.FLOAT32, 4, 6);
        for (Parameter part : new Parameter[] {whole.range(3, 5), whole.block(new long[] {0, 3}, new long[] {4, 3})}) {
            unsupported("'w'", () -> Adapter.builder(scene.context).budget(1).parameter(part).open());
        }
    }

    @Test
    void streams_and_control_buffers() {
        unsupported("stream", () -> scene.context.setStream(64));
        unsupported("stream", () -> Context.builder().backend("cpu").stream(64).open());
        scene.context.setStream(0);
        scene.accumulate();
        unsupported("control", () -> adapter.step(new StepOptions().control(Tensor.allocate(DType.FLOAT32, 4))));
        adapter.clearGradient();
    }
}
