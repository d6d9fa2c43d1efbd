package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** From the declaration of parameters to the original bits. */
class LifeTest {
    @Test
    void selects_trains_saves_and_takes_back(@TempDir Path folder) {
        try (Scene scene = new Scene(Selection.SNIP, builder -> builder.budget(7))) {
            Adapter adapter = scene.adapter;
            float[] before = scene.weights[0].toFloats();
            scene.observe();
            adapter.select();
            assertEquals(7, adapter.selectedCount(0) + adapter.selectedCount(1));
            assertEquals(5, adapter.selectedCount(2));
            assertTrue(adapter.state().merged());
            assertTrue(adapter.state().attached());
            for (int step = 0; step < 3; ++step) scene.step();
            AdapterState state = adapter.state();
            assertEquals(3, state.steps());
            assertEquals(Selection.SNIP, state.selection());
            assertEquals(7, state.selectedScalars());
            assertEquals(12, state.trainedScalars());
            assertEquals(39, state.targetedScalars());

            float[] trained = scene.weights[0].toFloats();
            long[] mask = adapter.mask(0);
            float[] deltas = adapter.deltas(0);
            float[] expected = before.clone();
            for (int i = 0; i < mask.length; ++i) expected[(int) mask[i]] += deltas[i];
            assertArrayEquals(expected, trained);

            Path file = folder.resolve("adapter.safetensors");
            adapter.save(file);
            adapter.unmerge();
            assertArrayEquals(before, scene.weights[0].toFloats());
            assertFalse(adapter.state().merged());
            assertFalse(adapter.state().attached());
            adapter.close();
            try (Adapter loaded = Adapter.load(scene.context, file)) {
                for (int i = 0; i < 3; ++i) loaded.bindWeights(i, scene.weights[i]);
                loaded.merge();
                assertArrayEquals(trained, scene.weights[0].toFloats());
                assertArrayEquals(mask, loaded.mask(0));
                assertArrayEquals(deltas, loaded.deltas(0));
            }
        }
    }
}
