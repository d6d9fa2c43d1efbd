package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.LinkedHashMap;
import java.util.Map;
import org.speft.SpeftException;

/**
 * Fine-tunes a language model sparsely and in other ways, and compares them: start here, with --help.
 *
 * <p>Each method is trained, and each adapter reloaded, in a JVM of its own: its peak memory is its own, and no state
 * passes from one to the other.
 */
public final class Main {
    private static final int BAD_INPUT = 2;

    private Main() {}

    /**
     * Runs the comparison; ends with status 2 and one line if something that was given cannot be used.
     *
     * @param arguments as --help lists them
     * @throws Exception a bug, or a machine that fails
     */
    public static void main(String[] arguments) throws Exception {
        try {
            System.exit(run(arguments));
        } catch (InputException | SpeftException failure) {
            System.err.println("error: " + failure.getMessage());
            System.exit(BAD_INPUT);
        }
    }

    private static int run(String... arguments) throws IOException, InterruptedException {
        // How this program starts itself.
        if (arguments.length == 3 && arguments[0].equals("train")) {
            Training.run(Settings.read(Path.of(arguments[1])), arguments[2]);
            return 0;
        }
        if (arguments.length == 3 && arguments[0].equals("verify")) {
            Verification.run(Settings.read(Path.of(arguments[1])), arguments[2]);
            return 0;
        }
        CommandLine line = CommandLine.parse(arguments);
        if (line.wantsHelp()) {
            System.out.print(CommandLine.help());
            return 0;
        }
        line.check();
        return compare(line.settings(), line.methods());
    }

    /** Trains and checks all methods; the exit status is 1 if a check failed. */
    private static int compare(Settings settings, List<String> methods) throws IOException, InterruptedException {
        long started = System.nanoTime();
        Dataset dataset = Dataset.load(settings);
        System.out.printf(
                "%,d texts to train on, %,d held out, %d labels; %d steps of %d%n",
                dataset.train().size(),
                dataset.heldOut().size(),
                Dataset.LABELS,
                settings.steps(),
                settings.batchSize());
        Path settingsFile = settings.write();
        List<Training.Result> results = new ArrayList<>();
        for (String name : methods) {
            Files.createDirectories(settings.methodDirectory(name));
            startAgain("train", settingsFile, name);
            results.add(Training.result(settings, name));
        }
        Map<String, Boolean> checks = check(settings, settingsFile, results);
        Report report = new Report(
                results,
                checks,
                (System.nanoTime() - started) * 1e-9,
                dataset.train().size(),
                dataset.heldOut().size(),
                settings);
        Path file = Path.of(settings.out(), "report.json");
        report.write(file);
        System.out.printf("%n%s%n%s has the figures, beside the adapters%n", report.table(), file);
        return checks.containsValue(false) ? 1 : 0;
    }

    /**
     * Whether every sparse adapter gave the same predictions when reloaded, and the weights when unmerged.
     *
     * <p>Unmerging is checked on the model that was trained, and on the one that the adapter was loaded onto.
     */
    private static Map<String, Boolean> check(Settings settings, Path settingsFile, List<Training.Result> results)
            throws IOException, InterruptedException {
        Map<String, Boolean> checks = new LinkedHashMap<>();
        for (Training.Result result : results) {
            if (Method.isSparse(result.name())) {
                startAgain("verify", settingsFile, result.name());
                Verification.Answers answers = Verification.answers(settings, result.name());
                checks.merge(Report.RELOAD_IDENTICAL, answers.reloadIdentical(), Boolean::logicalAnd);
                checks.merge(
                        Report.UNMERGE_BIT_EXACT,
                        answers.unmergeBitExact() && result.unmergeBitExact(),
                        Boolean::logicalAnd);
            }
        }
        return checks;
    }

    /** This program once more, in a fresh JVM; if that fails it has said why, and this one ends with its status. */
    private static void startAgain(String what, Path settings, String method)
            throws IOException, InterruptedException {
        ProcessBuilder process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Main.class.getName(),
                        what,
                        settings.toString(),
                        method)
                .inheritIO();
        // Between its loops PyTorch's threads sleep, instead of keeping libspeft's from the cores.
        process.environment().putIfAbsent("OMP_WAIT_POLICY", "passive");
        int status = process.start().waitFor();
        if (status != 0) {
            System.exit(status);
        }
    }
}
