// The k largest scores in one pass over the data. A sample gives a bound that some more than k scores should reach;
// the pass keeps the key and the index of those that do; and among these survivors the k-th largest is found exactly.
// Whether the bound was good is known by counting: when too few reach it, or too many, the reference selects instead.
#include <algorithm>
#include <atomic>
#include <limits>
#include <span>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/score_keys.h"
#include "backends/cpu/selection/kth_largest.h"
#include "backends/cpu/selection/right_factors.h"
#include "backends/cpu/selection/score_bound.h"
#include "core/base/score_bracket.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t most_lines = 8192;  // of a sample

// What one run of scalars gives.
struct Run {
    std::uint64_t first = 0;  // of its survivors
    std::uint64_t place = 0;  // of its first index in the result
    std::uint32_t count = 0;  // of its survivors
    std::uint32_t highest = 0;
    std::uint32_t equal = 0;  // survivors with the threshold's key
    std::uint32_t taken = 0;  // how many of `equal` are selected
};

// How the work is cut and how large its arrays are: by the sizes of the tensors alone.
struct Plan {
    Pieces runs{longest_run};
    std::vector<std::uint64_t> ends;  // of each tensor, in the order of all scalars
    ScoreSample sample;
    ScoreBracket bracket;
    std::vector<std::uint64_t> right_begin{0};  // of each tensor among all right factors, and past the last

    explicit Plan(const speft_select_top &arguments)
        : ends(sum_counts(arguments)), sample(ends.back(), most_lines),
          bracket(arguments.scores, arguments.tensors, ends.back(), arguments.k, sample) {
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) {
            runs.add(arguments.scores[tensor].count);
            right_begin.push_back(right_begin.back() + count_right_factors(arguments.scores[tensor]));
        }
    }

    std::uint64_t total() const { return ends.back(); }

    // 8 bytes for each survivor (1.5·k to 2·k of them, when k is 1% of millions), 32 for each run, the sample, 512 KiB,
    // and the right factors once more.
    std::uint64_t scratch_bytes() const {
        return static_cast<std::uint64_t>(runs.count()) * sizeof(Run) +
               (sample.size() + 2 * bracket.capacity) * sizeof(std::uint32_t) + right_begin.back() * sizeof(float);
    }

private:
    static std::vector<std::uint64_t> sum_counts(const speft_select_top &arguments) {
        std::vector<std::uint64_t> sums;
        std::uint64_t sum = 0;
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor)
            sums.push_back(sum += arguments.scores[tensor].count);
        return sums;
    }
};

class BracketedTop {
public:
    BracketedTop(const speft_backend_device &device, const speft_select_top &arguments, const ScoreFilter &filter,
                 void *scratch)
        : device_(device), arguments_(arguments), filter_(filter), plan_(arguments),
          runs_(static_cast<Run *>(scratch)),
          sample_(reinterpret_cast<std::uint32_t *>(runs_ + plan_.runs.count())),
          keys_(sample_ + plan_.sample.size()), indices_(keys_ + plan_.bracket.capacity),
          right_(reinterpret_cast<float *>(indices_ + plan_.bracket.capacity)) {
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor)
            zero_bits_ = std::min(zero_bits_, count_zero_bits(arguments.scores[tensor]));
    }

    void run() {
        prepare_factors();
        find_bound();
        collect_survivors();
        const std::uint64_t survivors = reserved_.load();
        if (survivors < arguments_.k || survivors > plan_.bracket.capacity) return select_by_reference();
        *arguments_.eligible = plan_.total() - nans_.load();
        find_threshold(survivors);
        count_ties();
        place_runs();
        write();
    }

private:
    void prepare_factors() {
        for (std::uint64_t tensor = 0; tensor < arguments_.tensors; ++tensor)
            prepare_right_factors(device_, arguments_.scores[tensor], right_ + plan_.right_begin[tensor]);
    }

    void find_bound() {
        constexpr std::uint64_t lines_a_task = 256;
        for_each_piece(device_, Pieces(lines_a_task, plan_.sample.lines), [&](Piece piece, std::int64_t) {
            for (std::uint64_t line = piece.begin; line < piece.end; ++line) sample_line(line);
        });
        const KeyRange all{0, std::numeric_limits<std::uint32_t>::max(), zero_bits_};
        bound_ = std::max(lowest_key,
                          find_kth_largest(device_, {sample_, plan_.sample.size()}, plan_.bracket.bound_rank, all));
        for (std::uint64_t tensor = 0; tensor < arguments_.tensors; ++tensor)
            bounds_.emplace_back(arguments_.scores[tensor], bound_);
    }

    // A line may go on in the next tensor. Past the last there are keys of 0, which are never selected.
    void sample_line(std::uint64_t line) {
        std::uint32_t *const keys = sample_ + line * ScoreSample::line;
        std::fill_n(keys, ScoreSample::line, 0u);
        std::uint64_t at = plan_.sample.begin_of(line);
        const std::uint64_t end = std::min(at + ScoreSample::line, plan_.total());
        auto tensor = static_cast<std::uint64_t>(std::upper_bound(plan_.ends.begin(), plan_.ends.end(), at) -
                                                 plan_.ends.begin());
        for (std::uint64_t taken = 0; at < end; ++tensor) {
            const std::uint64_t tensor_begin = tensor > 0 ? plan_.ends[tensor - 1] : 0;
            const std::uint64_t count = std::min(end, plan_.ends[tensor]) - at;
            compute_keys(arguments_.scores[tensor], at - tensor_begin, count, keys + taken);
            taken += count;
            at += count;
        }
    }

    // ---- the pass over the data ----

    // body(index) for the runs of [begin, end): several neighbours a task, for the sake of the memory's prefetching.
    template <class Body>
    void for_each_run(std::int64_t begin, std::int64_t end, Body &&body) {
        constexpr std::int64_t runs_a_task = 8;
        parallel_for(device_, (end - begin + runs_a_task - 1) / runs_a_task, [&](std::int64_t task) {
            const std::int64_t first = begin + task * runs_a_task;
            for (std::int64_t run = first; run < std::min(first + runs_a_task, end); ++run) body(run);
        });
    }

    // With reports in between, at each of which the host may cancel.
    void collect_survivors() {
        constexpr std::int64_t runs_a_report = 16384;
        const std::int64_t count = plan_.runs.count();
        for (std::int64_t begin = 0; begin < count; begin += runs_a_report) {
            const std::int64_t end = std::min(begin + runs_a_report, count);
            for_each_run(begin, end, [&](std::int64_t run) { collect(run); });
            report(end, count);
        }
    }

    void collect(std::int64_t index) {
        if (reserved_.load(std::memory_order_relaxed) > plan_.bracket.capacity) return;
        const Piece piece = plan_.runs[index];
        const speft_score &score = arguments_.scores[piece.array];
        const auto size = static_cast<std::uint32_t>(piece.end - piece.begin);
        const std::uint32_t whole = size - size % run_step;
        Offsets offsets;
        alignas(64) float scores[longest_run];  // where they are filtered directly, only those past `whole`
        const bool direct = is_filtered_directly(score);
        if (!direct) compute_run(piece, whole, scores);
        Filtered found = direct ? bounds_[piece.array].filter(filter_, piece.begin, whole, offsets)
                                : filter_.values(scores, whole, score_of(bound_), offsets);
        if (whole < size) compute_scores(score, piece.begin + whole, size - whole, scores + whole);
        for (std::uint32_t offset = whole; offset < size; ++offset) {
            const std::uint32_t key = rank_key(scores[offset]);
            found.nans += key == 0;
            if (key >= bound_) offsets[found.count++] = static_cast<std::uint16_t>(offset);
        }
        if (found.nans > 0) nans_.fetch_add(found.nans, std::memory_order_relaxed);

        Run &run = runs_[index];
        run = {.first = reserved_.fetch_add(found.count, std::memory_order_relaxed), .count = found.count};
        if (run.first + run.count > plan_.bracket.capacity) return;
        std::uint32_t *const indices = indices_ + run.first, *const keys = keys_ + run.first;
        for (std::uint32_t i = 0; i < found.count; ++i)
            indices[i] = static_cast<std::uint32_t>(piece.begin + offsets[i]);
        if (direct)
            compute_keys(score, {indices, found.count}, keys);
        else
            for (std::uint32_t i = 0; i < found.count; ++i) keys[i] = rank_key(scores[offsets[i]]);
        for (std::uint32_t i = 0; i < found.count; ++i) run.highest = std::max(run.highest, keys[i]);
    }

    // The scores of the first `count` scalars of a run. An excluded one counts as no number.
    void compute_run(Piece piece, std::uint32_t count, float *scores) const {
        const speft_score &score = arguments_.scores[piece.array];
        filter_.scores(score, piece.begin, count, right_ + plan_.right_begin[piece.array], scores);
        for (const std::uint32_t index : find_excluded(score, piece.begin, count))
            scores[index - piece.begin] = std::numeric_limits<float>::quiet_NaN();
    }

    void report(std::int64_t done, std::int64_t total) const {
        const speft_progress *progress = arguments_.progress;
        if (progress && progress->report(progress->user, done, total) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }

    // ---- among the survivors ----

    void find_threshold(std::uint64_t survivors) {
        std::uint32_t highest = bound_;
        for (std::int64_t run = 0; run < plan_.runs.count(); ++run) highest = std::max(highest, runs_[run].highest);
        threshold_ = find_kth_largest(device_, {keys_, survivors}, arguments_.k, {bound_, highest, zero_bits_});
    }

    // Until ties are settled `taken` counts the survivors above the threshold.
    void count_ties() {
        for_each_run(0, plan_.runs.count(), [&](std::int64_t index) {
            Run &run = runs_[index];
            const std::uint32_t *const keys = keys_ + run.first;
            std::uint32_t above = 0, equal = 0;
            for (std::uint32_t i = 0; i < run.count; ++i) {
                above += keys[i] > threshold_;
                equal += keys[i] == threshold_;
            }
            run.equal = equal;
            run.taken = above;
        });
    }

    // Ties go to the smaller tensor, then to the smaller index: to the earlier run.
    void place_runs() {
        std::uint64_t ties = arguments_.k;
        for (std::int64_t index = 0; index < plan_.runs.count(); ++index) ties -= runs_[index].taken;
        std::fill_n(arguments_.counts, arguments_.tensors, 0);
        std::uint64_t place = 0;
        for (std::int64_t index = 0; index < plan_.runs.count(); ++index) {
            Run &run = runs_[index];
            const std::uint32_t above = run.taken;
            run.place = place;
            run.taken = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.equal, ties));
            ties -= run.taken;
            place += above + run.taken;
            arguments_.counts[plan_.runs[index].array] += above + run.taken;
        }
    }

    // A loop ends with the last index of its run, so that writing before it is known whether an index counts does no
    // harm, and costs less than branches that nothing predicts.
    void write() {
        for_each_run(0, plan_.runs.count(), [&](std::int64_t index) {
            const Run &run = runs_[index];
            const std::uint64_t end = index + 1 < plan_.runs.count() ? runs_[index + 1].place : arguments_.k;
            const std::uint32_t *const keys = keys_ + run.first, *const indices = indices_ + run.first;
            std::uint32_t ties = 0;
            std::uint64_t place = run.place;
            for (std::uint64_t i = 0; place < end; ++i) {
                const bool tie = keys[i] == threshold_;
                arguments_.indices[place] = indices[i];
                place += (keys[i] > threshold_) | (tie & (ties < run.taken));
                ties += tie;
            }
        });
    }

    // ---- when the bound was no good ----

    // The same work again, and more: `done` goes on, and `total` grows.
    struct Continuation {
        const speft_progress *progress;
        std::int64_t done;

        static std::int32_t report(void *user, std::int64_t done, std::int64_t total) {
            const auto &self = *static_cast<const Continuation *>(user);
            return self.progress->report(self.progress->user, self.done + done, self.done + total);
        }
    };

    void select_by_reference() {
        Continuation continuation{arguments_.progress, plan_.runs.count()};
        const speft_progress progress = {
            .struct_size = sizeof progress, .user = &continuation, .report = Continuation::report};
        speft_select_top again = arguments_;
        if (again.progress) again.progress = &progress;
        select_top(device_, again);
    }

    const speft_backend_device &device_;
    const speft_select_top &arguments_;
    const ScoreFilter &filter_;
    const Plan plan_;
    Run *const runs_;
    std::uint32_t *const sample_;
    std::uint32_t *const keys_;  // of the survivors; those of a run in rising order of their indices
    std::uint32_t *const indices_;
    float *const right_;  // factors of all tensors, prepared
    unsigned zero_bits_ = 32;  // of every key
    std::uint32_t bound_ = 0;
    std::vector<ScoreBound> bounds_;  // `bound_` for each tensor
    std::atomic<std::uint64_t> reserved_{0};
    std::atomic<std::uint64_t> nans_{0};  // and excluded
    std::uint32_t threshold_ = 0;
};

}  // namespace

const char *refuse_to_bracket(const speft_select_top &arguments) {
    std::uint64_t total = 0;
    for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) total += arguments.scores[tensor].count;
    return arguments.k > 0 && arguments.k <= total / 8 ? nullptr : "it selects none, or more than one of eight";
}

std::uint64_t select_top_bracketed_scratch(const speft_backend_device &, const speft_select_top &arguments) {
    return Plan(arguments).scratch_bytes();
}

void select_top_bracketed(const speft_backend_device &device, const speft_select_top &arguments, void *scratch,
                          const ScoreFilter &filter) {
    BracketedTop(device, arguments, filter, scratch).run();
}

}  // namespace speft::cpu
