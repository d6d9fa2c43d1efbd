#include "core/storage/adapter_record.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <string_view>

#include "core/base/scalar_type.h"
#include "core/base/status.h"
#include "core/base/tensor_view.h"
#include "core/base/utf8.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/shape.h"
#include "speft/adapter.h"
#include "speft/backend.h"

namespace speft {

namespace {

std::string name_in_words(const ParameterRecord &parameter) { return "parameter " + quote(parameter.name); }

std::uint64_t check_shape(const ParameterRecord &parameter) {
    const std::optional<std::uint64_t> count = count_scalars(parameter.shape);
    if (!count || *count >= std::uint64_t{1} << 32)
        throw Defect(name_in_words(parameter) + " has shape " + shorten(describe(parameter.shape)) +
                     ", expected sizes >= 0 and fewer than 2^32 scalars");
    return *count;
}

void check_name(const std::string &name) {
    if (name.empty()) throw Defect("a parameter has an empty name");
    if (!is_utf8(name)) throw Defect("parameter name " + quote(name) + " is not valid UTF-8");
    if (name.find('\0') != name.npos) throw Defect("parameter name " + quote(name) + " contains a NUL");
}

void check_mask(const ParameterRecord &parameter, std::uint64_t size) {
    std::uint64_t next = 0;
    for (const std::uint32_t index : parameter.indices) {
        if (index < next || index >= size)
            throw Defect("index " + std::to_string(index) + " of " + name_in_words(parameter) +
                         " must rise and stay below " + std::to_string(size));
        next = std::uint64_t{index} + 1;
    }
}

void check_deltas(const ParameterRecord &parameter) {
    const bool dense = parameter.role == SPEFT_ROLE_DENSE;
    if (dense && !parameter.indices.empty()) throw Defect(name_in_words(parameter) + " is dense but has indices");
    const std::uint64_t expected = dense ? check_shape(parameter) : parameter.indices.size();
    if (parameter.deltas.size() != expected)
        throw Defect(name_in_words(parameter) + " has " + std::to_string(parameter.deltas.size()) +
                     " deltas, expected " + std::to_string(expected));
}

// Whether rounding to bfloat16 would change it.
bool fits_bfloat16(float value) { return (std::bit_cast<std::uint32_t>(value) & 0xffffu) == 0; }

void check_delta_type(const AdapterRecord &record, const ParameterRecord &parameter) {
    if (record.delta_type != SPEFT_SCALAR_BFLOAT16 || parameter.role == SPEFT_ROLE_DENSE) return;
    if (!std::ranges::all_of(parameter.deltas, fits_bfloat16))
        throw Defect(name_in_words(parameter) + " has a delta that bfloat16 does not hold");
}

void check_rising(const std::vector<std::uint32_t> &values, std::uint64_t limit, const std::string &what) {
    std::uint64_t next = 0;
    for (const std::uint32_t value : values) {
        if (value < next || value >= limit)
            throw Defect(what + " must rise and stay below " + std::to_string(limit) + ", got " +
                         std::to_string(value));
        next = std::uint64_t{value} + 1;
    }
}

void check_length(const ParameterRecord &parameter, const char *what, std::uint64_t length, std::uint64_t expected) {
    if (length != expected)
        throw Defect(name_in_words(parameter) + " has " + std::to_string(length) + what + ", expected " +
                     std::to_string(expected));
}

void check_training(const ParameterRecord &parameter, const ParameterTraining &training, bool originals_known) {
    const std::uint64_t count = parameter.deltas.size();
    // In a basis a delta belongs to no weight alone.
    const std::uint64_t width = parameter.basis ? 0 : size_of(static_cast<ScalarType>(parameter.scalar_type));
    check_rising(training.settled, parameter.indices.size(), "what is settled of " + name_in_words(parameter));
    const std::uint64_t active = count - training.settled.size();
    check_length(parameter, " bytes of originals", training.originals.size(), originals_known ? count * width : 0);
    check_length(parameter, " values of a gradient", training.gradient.size(),
                 training.received == Received::pending ? active : 0);
    if (!training.last_deltas.empty())
        check_length(parameter, " last deltas", training.last_deltas.size(), active);
}

void check_candidates(const ParameterRecord &parameter, const CandidateRecord &candidates) {
    const std::uint64_t size = parameter.role == SPEFT_ROLE_DENSE ? 0 : check_shape(parameter);
    check_rising(candidates.indices, size, "candidates of " + name_in_words(parameter));
    check_length(parameter, " sums of candidates", candidates.sums.size(), candidates.indices.size());
    check_length(parameter, " squares of candidates", candidates.squares.size(), candidates.indices.size());
    if (!candidates.gradient.empty())
        check_length(parameter, " gradients of candidates", candidates.gradient.size(), candidates.indices.size());
    for (const std::uint32_t index : candidates.indices)
        if (std::ranges::binary_search(parameter.indices, index))
            throw Defect("candidate " + std::to_string(index) + " of " + name_in_words(parameter) +
                         " is selected already");
}

void check_training(const AdapterRecord &record, const TrainingRecord &training) {
    if (training.parameters.size() != record.parameters.size())
        throw Defect("there is a training state of " + std::to_string(training.parameters.size()) +
                     " parameters, expected " + std::to_string(record.parameters.size()));
    if (!training.candidates.empty() && training.candidates.size() != record.parameters.size())
        throw Defect("there are candidates of " + std::to_string(training.candidates.size()) +
                     " parameters, expected " + std::to_string(record.parameters.size()));
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        check_training(record.parameters[i], training.parameters[i], training.originals_known);
        if (!training.parameters[i].settled.empty() && selects_by_step(record.selection))
            throw Defect("scalars of " + name_in_words(record.parameters[i]) +
                         " are settled, where masks of each step have none");
        if (!training.candidates.empty()) check_candidates(record.parameters[i], training.candidates[i]);
    }
}

void check_basis(const BasisRecord &basis) {
    const auto check = [](const char *side, std::uint64_t directions, std::uint64_t size) {
        if (size < 1 || size >= std::uint64_t{1} << 32 || directions < 1 || directions > size)
            throw Defect("a basis has " + std::to_string(directions) + " directions of " + std::to_string(size) + " " +
                         side + ", expected at least 1, at most as many as there are, and fewer than 2^32");
    };
    check("rows", basis.row_directions, basis.rows);
    check("columns", basis.column_directions, basis.columns);
}

void check_place(const AdapterRecord &record, const ParameterRecord &parameter) {
    const bool wanted = record.selection.method == SPEFT_SELECT_SPARSEGRAD && parameter.role == SPEFT_ROLE_SPARSE;
    if (!parameter.basis) {
        if (wanted && check_shape(parameter) > 0)
            throw Defect(name_in_words(parameter) + " of sparsegrad has no basis");
        return;
    }
    if (!wanted) throw Defect(name_in_words(parameter) + " has a basis, and is no sparse one of sparsegrad");
    if (*parameter.basis >= record.bases.size())
        throw Defect(name_in_words(parameter) + " has the basis " + std::to_string(*parameter.basis) + " of " +
                     std::to_string(record.bases.size()));
    const BasisRecord &basis = record.bases[*parameter.basis];
    if (parameter.shape.size() != 2 || static_cast<std::uint64_t>(parameter.shape[0]) != basis.rows ||
        static_cast<std::uint64_t>(parameter.shape[1]) != basis.columns)
        throw Defect(name_in_words(parameter) + " has shape " + shorten(describe(parameter.shape)) +
                     ", which is not that of its basis");
}

// The options must be what an adapter could have been created with.
void check_options(const AdapterRecord &record) {
    const SelectionOptions &selection = record.selection;
    try {
        check_schedule(selection.method, selection.schedule);
        check_pairing(selection, record.optimizer, static_cast<ScalarType>(record.delta_type));
    } catch (const Failure &failure) {
        throw Defect(failure.what());
    }
    if (!(selection.threshold >= 0) || std::isinf(selection.threshold))
        throw Defect("threshold must be finite and >= 0, got " + std::to_string(selection.threshold));
    if (selection.approximation_rank < 0)
        throw Defect("approximation_rank must be >= 0, got " + std::to_string(selection.approximation_rank));
}

}  // namespace

std::uint64_t count_trainable(const AdapterRecord &record, std::size_t parameter) {
    const ParameterRecord &stored = record.parameters[parameter];
    if (!stored.basis) return *count_scalars(stored.shape);
    const BasisRecord &basis = record.bases[*stored.basis];
    return basis.row_directions * basis.column_directions;
}

std::uint64_t count_trained(const AdapterRecord &record) {
    std::uint64_t count = 0;
    for (const ParameterRecord &parameter : record.parameters) count += parameter.deltas.size();
    return count;
}

void check_declarations(const AdapterRecord &record) {
    if (!(record.selection.density >= 0 && record.selection.density <= 1))
        throw Defect("density must be in [0, 1], got " + std::to_string(record.selection.density));
    if (record.selection.budget < 0) throw Defect("budget must be >= 0, got " + std::to_string(record.selection.budget));
    if (record.selection.rank < 0) throw Defect("rank must be >= 0, got " + std::to_string(record.selection.rank));
    if ((record.selection.density > 0) + (record.selection.budget > 0) + (record.selection.rank > 0) > 1)
        throw Defect("more than one of density, budget and rank is given");
    if (record.selection.model_scalars < 0)
        throw Defect("model_scalars must be >= 0, got " + std::to_string(record.selection.model_scalars));
    check_options(record);
    if (record.steps < 0) throw Defect("steps must be >= 0, got " + std::to_string(record.steps));

    for (const BasisRecord &basis : record.bases) check_basis(basis);
    std::vector<bool> used(record.bases.size());
    std::uint64_t scalars = 0;
    std::set<std::string_view> names;
    for (const ParameterRecord &parameter : record.parameters) {
        check_name(parameter.name);
        if (!names.insert(parameter.name).second) throw Defect("two parameters are named " + quote(parameter.name));
        if (parameter.role != SPEFT_ROLE_SPARSE && parameter.role != SPEFT_ROLE_DENSE)
            throw Defect(name_in_words(parameter) + " has the unknown role " + std::to_string(parameter.role));
        if (parameter.group < 0)
            throw Defect(name_in_words(parameter) + " has group " + std::to_string(parameter.group) +
                         ", expected one >= 0");
        scalars += check_shape(parameter);
        check_place(record, parameter);
        if (parameter.basis) used[*parameter.basis] = true;
    }
    if (const auto unused = std::ranges::find(used, false); unused != used.end())
        throw Defect("no parameter is in basis " + std::to_string(unused - used.begin()));
    if (scalars == 0) throw Defect("there is no parameter with a scalar");
}

void check_record(const AdapterRecord &record) {
    check_declarations(record);
    for (const BasisRecord &basis : record.bases)
        if (basis.u.size() != basis.column_directions * basis.columns ||
            basis.v.size() != basis.row_directions * basis.rows)
            throw Defect("a basis has vectors of another length than it says");
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        const ParameterRecord &parameter = record.parameters[i];
        check_mask(parameter, count_trainable(record, i));
        check_deltas(parameter);
        check_delta_type(record, parameter);
    }
    if (record.training) check_training(record, *record.training);
}

}  // namespace speft
