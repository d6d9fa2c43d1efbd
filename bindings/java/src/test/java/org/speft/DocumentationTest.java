package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The examples compile as they are printed, and do what they say. */
class DocumentationTest {
    @TempDir
    Path folder;

    private String compileAndRun(String source) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter messages = new StringWriter();
        URI name = URI.create("string:///Example.java");
        JavaFileObject file = new SimpleJavaFileObject(name, JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                return source;
            }
        };
        boolean compiled = compiler.getTask(messages, null, null,
                List.of("-Xlint:all", "-Werror", "-d", folder.toString(), "-cp", ForkedJvm.CLASSES.get(0)), null,
                List.of(file)).call();
        assertTrue(compiled, messages::toString);
        List<String> classPath = new ArrayList<>(List.of(folder.toString(), ForkedJvm.CLASSES.get(0)));
        List<String> options = List.of("-Dorg.speft.library.path=" + ForkedJvm.NATIVES);
        ForkedJvm.Result result = ForkedJvm.run(classPath, options, "Example", folder.toFile());
        assertEquals(0, result.exit(), result.output());
        return result.output();
    }

    private static String first(String text, String pattern) {
        Matcher matcher = Pattern.compile(pattern, Pattern.DOTALL).matcher(text);
        assertTrue(matcher.find(), pattern);
        return matcher.group(1);
    }

    @Test
    void the_example_of_the_readme_prints_what_it_says() throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        assertEquals("0.50 -0.25\n", compileAndRun(first(readme, "test: java-example -->\n```java\n(.*?)```")));
        try (Context context = Context.open();
                Adapter saved = Adapter.load(context, folder.resolve("adapter.safetensors"))) {
            assertEquals(2, saved.state().selectedScalars());
        }
    }

    @Test
    void the_example_of_the_package_runs() throws IOException {
        String source = Files.readString(Path.of("src/main/java/org/speft/package-info.java"));
        String body = first(source, "<pre>\\{@code\n(.*?)\n \\* \\}</pre>").replaceAll("(?m)^ \\* ?", "");
        String output = compileAndRun("import java.nio.file.Path;\nimport org.speft.*;\npublic class Example {\n"
                + "    public static void main(String[] arguments) {\n" + body
                + "\n        System.out.println(weights.floats().get(10) + \" \" + weights.floats().get(33));\n"
                + "    }\n}\n");
        assertEquals("0.0 0.0\n", output);
        assertTrue(new File(folder.toFile(), "adapter.safetensors").isFile());
    }

    @Test
    void the_example_of_the_adapter_compiles_and_runs() throws IOException {
        String source = Files.readString(Path.of("src/main/java/org/speft/Adapter.java"));
        String body = first(source, "<pre>\\{@code\n(.*?)\n \\* \\}</pre>").replaceAll("(?m)^ \\* ?", "");
        StringBuilder buffers = new StringBuilder();
        for (String name : List.of("queryBuffer:384*384", "headBuffer:2*384", "queryGradient:384*384",
                "headGradient:2*384")) {
            String[] parts = name.split(":");
            buffers.append("var ").append(parts[0]).append(" = Tensor.allocate(DType.FLOAT32, ").append(parts[1])
                    .append(").floats();\n");
        }
        compileAndRun("import java.nio.file.Path;\nimport org.speft.*;\npublic class Example {\n"
                + "    public static void main(String[] arguments) {\n" + buffers + body + "\n    }\n}\n");
    }

    @Test
    void the_example_of_the_basis_trains() throws IOException {
        String source = Files.readString(Path.of("src/main/java/org/speft/Basis.java"));
        String body = first(source, "<pre>\\{@code\n(.*?)\n \\* \\}</pre>").replaceAll("(?m)^ \\* ?", "");
        String output = compileAndRun("import org.speft.*;\npublic class Example {\n"
                + "    private static Tensor filled(long rows, long columns) {\n"
                + "        float[] values = new float[(int) (rows * columns)];\n"
                + "        for (int i = 0; i < values.length; ++i) values[i] = (float) Math.sin(i * i);\n"
                + "        return Tensor.copyOf(values, rows, columns);\n    }\n"
                + "    public static void main(String[] arguments) {\n"
                + "        Tensor weights = filled(96, 64), x = filled(20, 64), dy = filled(20, 96);\n"
                + "        Tensor y = Tensor.allocate(DType.FLOAT32, 20, 96);\n"
                + "        Tensor dx = Tensor.allocate(DType.FLOAT32, 20, 64);\n"
                + body + "\n        System.out.println(java.util.Arrays.equals(weights.toFloats(), "
                + "filled(96, 64).toFloats()));\n    }\n}\n");
        assertEquals("false\n", output);
    }
}
