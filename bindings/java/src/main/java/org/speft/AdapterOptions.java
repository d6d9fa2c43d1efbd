package org.speft;

import org.speft.internal.speft_adapter_options;
import org.speft.internal.speft_communicator;
import org.speft.internal.speft_optimizer_options;
import org.speft.internal.speft_schedule_options;
import org.speft.internal.speft_selection_options;

/** What {@link Adapter.Builder} has been told; 0 and null: not given. */
final class AdapterOptions {
    Selection selection = Selection.GRADIENT;
    Scope scope = Scope.GLOBAL;
    double density;
    long budget;
    long rank;
    long modelScalars;
    RandomDraw random = RandomDraw.EXACT;
    long seed;
    long approximationRank;
    Mean mean = Mean.SIGNED;
    double threshold;
    ScoreFunction score;
    Optimizer optimizer;
    Age age = Age.COMMON;
    StateType state = StateType.FLOAT32;
    DeltaType deltaType = DeltaType.FLOAT32;
    boolean moving;
    long totalSteps;
    long reselectEvery;
    long window;
    double rate;
    RateSchedule schedule = RateSchedule.DEFAULT;
    long candidates;
    Drop drop = Drop.MAGNITUDE;
    boolean keepMoments;
    long settledLimit;
    boolean trackMoves;
    int processRank;
    int processes;

    /** @param scoreReference of the score function; 0: none */
    speft_adapter_options toNative(Arena arena, long scoreReference) {
        speft_selection_options chosen = arena.own(new speft_selection_options());
        chosen.setMethod(selection.code);
        chosen.setScope(scope.code);
        chosen.setRandom(random.code);
        chosen.setDensity(density);
        chosen.setBudget(budget);
        chosen.setRank(rank);
        chosen.setModel_scalars(modelScalars);
        chosen.setSeed(seed);
        chosen.setApproximation_rank(approximationRank);
        chosen.setMean(mean.code);
        chosen.setThreshold(threshold);
        chosen.setScore(arena.score(scoreReference));
        if (moving) chosen.setSchedule(scheduleToNative(arena));
        speft_optimizer_options moved = arena.own(new speft_optimizer_options());
        moved.setKind((optimizer == null ? defaultOptimizer() : optimizer).code);
        moved.setAge(age.code);
        moved.setState(state.code);
        speft_adapter_options options = arena.own(new speft_adapter_options());
        options.setDelta_type(deltaType.code);
        options.setSelection(chosen);
        options.setOptimizer(moved);
        if (processes != 0) {
            speft_communicator communicator = arena.own(new speft_communicator());
            communicator.setRank(processRank);
            communicator.setSize(processes);
            options.setCommunicator(communicator);
        }
        return options;
    }

    private speft_schedule_options scheduleToNative(Arena arena) {
        speft_schedule_options struct = arena.own(new speft_schedule_options());
        struct.setSchedule(schedule.code);
        struct.setTotal_steps(totalSteps);
        struct.setReselect_every(reselectEvery);
        struct.setWindow(window);
        struct.setRate(rate);
        struct.setCandidates(candidates);
        struct.setDrop(drop.code);
        struct.setKeep_moments(keepMoments ? 1 : 0);
        struct.setSettled_limit(settledLimit);
        struct.setTrack_moves(trackMoves ? 1 : 0);
        return struct;
    }

    /** SpIEL-MA grows by the moments of SM3. */
    private Optimizer defaultOptimizer() {
        return selection == Selection.SPIEL_MA ? Optimizer.SM3 : Optimizer.ADAMW;
    }
}
